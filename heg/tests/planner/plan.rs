//! When what is planned runs: prices, windows, minimum times, and what is told of it.

use super::*;

#[test]
fn without_somebodys_yes_nothing_is_ever_switched() {
    let mut house = House::new(NO_FLOOR, "17:00:00");
    for (name, flexibility) in [("pump", Flexibility::Curtailable), ("tv", Flexibility::StandbyAble)] {
        house.find(name, flexibility, 1500, On);
    }
    house.limit(Some(1000));
    house.run_hours(30);
    assert!(house.switched().is_empty(), "{:?}", house.switched());
    assert!(house.planner.planned().next().is_none());
    assert_eq!(house.ruler("pump"), Ruler::Nobody);
}

#[test]
fn a_cycle_runs_once_in_its_window_when_it_is_cheapest_and_the_journal_says_why() {
    let mut house = House::new(WASHER, "20:00:00");
    house.find("washer", Flexibility::Deferrable, 2000, Off);
    house.run_hours(30);
    // 2 kWh at 10 cents from 03:00, then 0.5 kWh; from 02:00 it would be 12 and then 10.
    assert_eq!(house.switched(), ["28T03:00 washer on price"]);
    let start = house.entry("plan start 2026-11-28T03:00:00Z");
    assert_eq!((start.cause, start.ending), (Cause::Price, Ending::Decided));
    let done = house.entry("plan work");
    assert_eq!((done.cause, done.ending), (Cause::Window, Ending::Done));
    // At 22:00: 2 x 0.26 + 0.5 x 0.22. At 03:00: 2 x 0.10 + 0.5 x 0.14.
    assert_eq!(&*done.reason, "saved 0.3600 EUR against running at once");
    let days: Vec<_> = house.planner.days().map(|(day, sums)| (day.to_owned(), sums.saved())).collect();
    assert_eq!(days, [("2026-11-28".to_owned(), 360_000)]);
    // The washer's own programme has ended; the next night it runs again.
    house.tell("washer", Off);
    house.run_hours(24);
    assert_eq!(house.switched().last().unwrap(), "29T03:00 washer on price");
}

#[test]
fn a_charge_takes_the_cheapest_hours_before_its_deadline_and_stops_when_it_is_full() {
    let mut house = House::new(CAR, "18:30:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    house.run_hours(14);
    assert_eq!(house.switched(), ["28T02:00 car on price", "28T04:00 car off window"]);
    let done = house.entry("plan work");
    // 8 kWh from 18:00 on, two hours at 42 and 40 cents; at night at 12 and 10.
    assert_eq!(&*done.reason, "saved 2.4000 EUR against running at once");
}

#[test]
fn above_its_highest_price_it_pauses_and_goes_on_afterwards_but_a_hand_goes_before_the_plan() {
    let mut house = House::new(&format!("{PUMP}price-max = 0.35\n"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.run_to("27T18:30:00");
    assert_eq!(house.switched(), ["27T17:00 pump off price"]);
    assert!(
        house.why("pump").starts_with("0.4200 EUR/kWh now; on again at 2026-11-27 20:00:00+00:00"),
        "{}",
        house.why("pump")
    );
    house.tell("pump", On);
    house.run_to("27T20:29:00");
    assert_eq!(house.switched().len(), 1, "what a person switched on stays on");
    assert!(matches!(house.ruler("pump"), Ruler::OrderOn(_)));
    let rule = house.planner.book().iter().next().unwrap();
    assert_eq!((rule.by, rule.until), (Author::Hand, Some(at("27T20:30:00"))));
    house.tell("pump", Off);
    house.run_to("27T22:28:00");
    assert_eq!((house.switched().len(), house.state("pump")), (1, Off));
    house.run_to("27T22:31:00");
    assert!(house.planner.book().iter().next().is_none());
    assert_eq!(house.state("pump"), Off, "nobody says when it is to run, so nobody switches it on");
}

#[test]
fn what_is_wanted_on_some_days_runs_on_those() {
    // The 27th is a Friday.
    let lamp = "[[load]]\nudn = 'uuid:lamp'\nplan = 'yes'\nonly = [{ start = '20:00:00', end = '21:00:00', days = 'sat-mon' }]\n";
    let mut house = House::new(lamp, "12:00:00");
    house.find("lamp", Flexibility::Curtailable, 100, Off);
    house.run_hours(24);
    assert!(house.switched().is_empty(), "{:?}", house.switched());
    house.run_hours(12);
    assert_eq!(house.switched(), ["28T20:00 lamp on window", "28T21:00 lamp off window"]);
}

#[test]
fn a_window_that_is_days_away_is_not_slept_through() {
    // The 27th is a Friday.
    let heater = "[[load]]\nudn = 'uuid:heater'\nplan = 'yes'\nonly = [{ start = '06:00:00', end = '08:00:00', days = 'mon-fri' }]\n";
    let mut house = House::new(heater, "07:00:00");
    house.find("heater", Flexibility::Curtailable, 1000, On);
    house.run_to("27T20:00:00");
    assert_eq!(house.switched(), ["27T08:00 heater off window"]);
    house.run_to("30T09:00:00");
    assert_eq!(house.switched()[1..], ["30T06:00 heater on window", "30T08:00 heater off window"]);
}

#[test]
fn those_who_watch_are_told_of_another_plan_and_not_of_the_same_made_anew() {
    let mut house = House::new(&format!("{WASHER}{PUMP}"), "20:10:00");
    house.find("washer", Flexibility::Deferrable, 2000, Off);
    let before = house.plans;
    assert!(before >= 1);
    house.run_hours(5);
    assert!(house.planner.made().0 >= 20, "it is made anew each quarter of an hour");
    assert_eq!(house.plans, before, "and is the same");
    house.rule(r#"{"kind":"price-max","appliance":"uuid:pump","price":0.2}"#);
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.run_minutes(1);
    assert_eq!(house.plans, before + 1);
}

#[test]
fn each_kind_of_decision_is_remembered_with_its_kind_what_it_saves_and_who_refused() {
    let mut house = House::new(&format!("{WASHER}{PUMP}price-max = 0.35\n{NO_FLOOR}"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.run_to("27T17:30:00");
    let last = |house: &House| {
        let d = house.planner.decisions(&udn("pump")).last().unwrap().clone();
        (d.kind, d.cause, d.refused_by(), d.outcome.map(|(ending, _)| ending))
    };
    assert_eq!(last(&house), ("price", Cause::Price, None, Some(Ending::Done)));
    assert!(house.planner.decisions(&udn("pump")).last().unwrap().saves > Some(0));
    house.ask(Wanted::Command(udn("pump"), Verb::On));
    assert_eq!(last(&house), ("person", Cause::Person(1000), None, Some(Ending::Done)));
    house.limit(Some(900));
    house.run_minutes(1);
    assert_eq!(last(&house), ("limit", Cause::Utility(EventId::new(7).unwrap()), None, Some(Ending::Done)));
    house.limit(None);
    house.run_to("27T18:30:00");
    let rule = house.planner.book().iter().next().unwrap().id;
    assert_eq!(
        last(&house),
        ("rule", Cause::Rule(rule), None, Some(Ending::Done)),
        "what was ordered holds for a while"
    );
    house.appliance("pump").refuses = Some("it is draining");
    house.run_to("27T19:35:00");
    assert_eq!(last(&house), ("price", Cause::Price, Some("the appliance"), Some(Ending::Refused)));
    // A control that a person's rule forbids.
    let (verb, cause) = (Verb::Off, Cause::Utility(EventId::new(9).unwrap()));
    let outcome = heg::commands::Outcome::new(Ending::Declined, "a person has opted out (rule 3)");
    house.feed(planner::Input::Ended { udn: udn("pump"), verb, cause, outcome });
    assert_eq!(last(&house), ("control", cause, Some("the gateway"), Some(Ending::Declined)));
    let kinds = house.planner.decisions_by_kind();
    for kind in ["price", "person", "limit", "rule", "control"] {
        assert!(kinds.get(kind).is_some_and(|n| *n > 0), "{kind}: {kinds:?}");
    }
}

#[test]
fn minimum_times_end_when_they_end_and_not_with_the_quarter_hour() {
    let load = "[[load]]\nudn = 'uuid:heater'\nplan = 'yes'\nminimum-off-s = 480\nonly = [{ start = '06:00:00', end = '08:00:00' }]\n";
    let mut house = House::new(load, "05:58:00");
    house.find("heater", Flexibility::Curtailable, 1000, Off);
    house.run_to("27T06:30:00");
    assert_eq!(house.switched(), ["27T06:06 heater on window"]);
}

#[test]
fn for_a_wanted_window_nothing_waits_for_five_minutes_to_pass() {
    let load = "[[load]]\nudn = 'uuid:heater'\nplan = 'yes'\nonly = [{ start = '06:00:00', end = '08:00:00' }]\n";
    let mut house = House::new(load, "05:58:00");
    house.find("heater", Flexibility::Curtailable, 1000, On);
    house.run_to("27T06:30:00");
    assert_eq!(house.switched(), ["27T05:58 heater off window", "27T06:00 heater on window"]);
}

#[test]
fn who_says_that_there_is_no_minimum_time_gets_none() {
    let load = format!("{PUMP}price-max = 0.35\nminimum-on-s = 0\nminimum-off-s = 0\n");
    let mut house = House::new(&load, "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.run_to("27T17:01:00");
    assert_eq!(house.state("pump"), Off);
    house.rule(r#"{"kind":"price-max","appliance":"uuid:pump","price":0.9}"#);
    house.run_minutes(1);
    assert_eq!(house.state("pump"), On, "{:?}", house.switched());
}
