//! Gateway and planner together in virtual time, over appliances that obey, refuse, and are switched by hand.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

use std::collections::BTreeMap;
use std::time::Duration;

use energy_model::{Flexibility, Importance, PowerState, RegId, WakeMethod, Watts};
use heg::commands::{CallFailure, Patience, Verb};
use heg::config::Config;
use heg::gateway::{Answer, AskId, Effect, Gateway, Input, Order, Reply, Request, Restored, Settings, Wanted};
use heg::journal::{Cause, Ending, Entry};
use heg::now::Now;
use heg::plan::Span;
use heg::plan::slots::PriceSpan;
use heg::planner::{self, Change, Planner};
use heg::registry::{Facts, Found, Offers};
use heg::rules::precedence::Ruler;
use heg::rules::{Author, RuleId};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use upnp::time::BootTime;
use utility_wire::{EventId, Limit, LimitSet, UnixTime};

#[path = "planner_tests/says.rs"]
mod says;

use PowerState::{Off, On, Standby};

#[path = "planner_tests/clock.rs"]
mod clock;
#[path = "planner_tests/limits.rs"]
mod limits;
#[path = "planner_tests/work.rs"]
mod work;

/// Prices of a day in cents, hour by hour: cheap at night and at noon, dear in the evening.
const CENTS: [i64; 24] =
    [20, 18, 12, 10, 14, 20, 28, 32, 30, 24, 18, 14, 12, 14, 18, 24, 30, 38, 42, 40, 34, 28, 26, 22];

/// Limits as low as the tests like.
const NO_FLOOR: &str = "[plan]\nfloor-w = 0\n";
const PUMP: &str = "[[load]]\nudn = 'uuid:pump'\nplan = 'yes'\n";
const WASHER: &str = "[[load]]\nudn = 'uuid:washer'\nplan = 'yes'\nkind = 'Deferrable'
    phases = [{ minutes = 60, watts = 2000 }, { minutes = 60, watts = 500 }]
    every-day = { start = '22:00:00', end = '06:00:00' }\n";
const CAR: &str = "[[load]]\nudn = 'uuid:car'\nplan = 'yes'\nkind = 'Interruptible'\npower-w = 4000\nenergy-wh = 8000
    every-day = { start = '18:00:00', end = '07:00:00' }\n";

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
        house.why("pump").starts_with("0.4200 EUR/kWh now; on again at 2026-11-27T20:00:00Z"),
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
fn under_a_limit_the_less_important_gives_way_and_comes_back_in_its_turn() {
    let limits = "[[rule]]\nkind = 'plan'\nplan = 'limits'\n[plan]\ncomeback-w-per-minute = 500\n";
    let mut house = House::new(limits, "12:00:00");
    house.importance = Importance::Low;
    house.find("heater", Flexibility::Curtailable, 3000, On);
    house.importance = Importance::High;
    house.find("cooker", Flexibility::Curtailable, 3000, On);
    house.run_hours(1);
    assert!(house.switched().is_empty(), "prices are not their matter");
    house.limit(Some(4200));
    house.run_minutes(1);
    assert_eq!(house.switched(), ["27T13:00 heater off utility:7"]);
    let why = "limit 7 of the utility leaves no room: 4200 W for the home until it is called off";
    assert_eq!(house.why("heater"), why);
    house.run_hours(1);
    house.limit(None);
    house.run_hours(1);
    let switched = house.switched();
    assert_eq!(switched.len(), 2, "{switched:?}");
    // 300 W of the rest and 6000 W need 6300 W: from 4200 W on, at 500 W a minute, not before five minutes; slots are a quarter long.
    assert_eq!(switched[1], "27T14:15 heater on plan");
}

#[test]
fn a_refusal_is_taken_and_asked_again_later_and_what_is_forbidden_is_not_asked_at_all() {
    let rule = "[[rule]]\nkind = 'plan'\nplan = 'limits'\n";
    let mut house = House::new(&format!("{NO_FLOOR}{rule}"), "12:00:00");
    house.find("nas", Flexibility::StandbyAble, 3000, On);
    house.appliance("nas").refuses = Some("a backup is running");
    house.limit(Some(1000));
    house.run_to("27T13:59:00");
    let asked: Vec<String> = house.switched();
    // At once, then after 5, 10, 20 and 40 minutes.
    let times: Vec<&str> = asked.iter().map(|s| &s[3..8]).collect();
    assert_eq!(times, ["12:00", "12:05", "12:15", "12:35", "13:15"]);
    assert_eq!(house.ruler("nas"), Ruler::Appliance);
    let refused = house.planner.decisions(&udn("nas")).last().unwrap().outcome.clone().unwrap();
    assert_eq!((refused.0, &*refused.1), (Ending::Refused, "a backup is running"));
    assert_eq!(house.planner.troubles().len(), 1, "{:?}", house.planner.troubles());
    house.appliance("nas").refuses = None;
    house.ask_appliance("nas", Request::NoStandbyPeriod("13:00:00-16:00:00".parse().unwrap()));
    house.run_to("27T15:59:00");
    assert_eq!(house.switched().len(), 5, "a registration is honoured before it has to be refused");
    assert_eq!(house.ruler("nas"), Ruler::Request(RegId::new(1).unwrap()));
    house.run_to("27T16:01:00");
    assert_eq!((house.switched().len(), house.state("nas")), (6, Standby));
}

#[test]
fn without_word_of_the_utility_the_failsafe_limit_is_kept_and_lifted_again() {
    let mut house = House::new("[[rule]]\nkind = 'plan'\nplan = 'limits'\n", "12:00:00");
    house.find("boiler", Flexibility::Curtailable, 6000, On);
    house.limit(Some(9000));
    let heard = planner::Input::Heard { next_within: Duration::from_secs(60), limits: None };
    house.feed(heard.clone());
    house.run_to("27T12:03:00");
    assert_eq!(house.switched(), ["27T12:02 boiler off failsafe"]);
    assert_eq!(house.state("boiler"), Off);
    house.feed(heard);
    house.run_to("27T12:04:30");
    assert_eq!((house.state("boiler"), house.switched().len()), (Off, 1), "all homes are let go at once");
    for minute in 5..17 {
        house.run_to(&format!("27T12:{minute:02}:00"));
        house.feed(planner::Input::Heard { next_within: Duration::from_secs(60), limits: None });
    }
    assert_eq!((house.state("boiler"), house.switched().len()), (On, 2), "9000 W are allowed again");
}

#[test]
fn a_person_goes_before_the_plan_and_a_limit_before_a_persons_on() {
    let mut house = House::new(&format!("{PUMP}price-max = 0.35\n{NO_FLOOR}"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 3000, On);
    let opt_out = house.rule(r#"{"kind":"opt-out","appliance":"uuid:pump"}"#);
    house.run_to("27T18:00:00");
    assert!(house.switched().is_empty());
    assert_eq!(house.ruler("pump"), Ruler::OptOut(opt_out));
    house.change(Change::Remove(opt_out));
    house.run_to("27T18:01:00");
    assert_eq!(house.switched(), ["27T18:00 pump off price"]);
    let on = house.rule(r#"{"kind":"on","appliance":"uuid:pump","until":"2026-11-27T19:00:00Z"}"#);
    house.run_to("27T18:30:00");
    assert_eq!(house.switched().last().unwrap(), &format!("27T18:01 pump on rule:{on}"));
    house.limit(Some(2000));
    house.run_to("27T18:31:00");
    assert_eq!(house.switched().last().unwrap(), "27T18:30 pump off utility:7");
    house.limit(None);
    let off = house.rule(r#"{"kind":"off","appliance":"uuid:pump","until":"2026-11-27T21:00:00Z"}"#);
    house.run_to("27T20:59:00");
    assert_eq!((house.ruler("pump"), house.state("pump")), (Ruler::OrderOff(off), Off));
    house.run_to("27T21:16:00");
    assert_eq!(house.state("pump"), On, "it goes on when the order is over: {:?}", house.switched());
}

#[test]
fn what_a_person_ordered_with_hegctl_holds_for_a_while_too() {
    let mut house = House::new(&format!("{PUMP}price-max = 0.35\n"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 3000, On);
    house.run_to("27T17:30:00");
    assert_eq!(house.state("pump"), Off);
    house.ask(Wanted::Command(udn("pump"), Verb::On));
    house.run_to("27T19:00:00");
    assert_eq!((house.state("pump"), house.switched().len()), (On, 1));
    let rule = house.planner.book().iter().next().unwrap();
    assert_eq!((rule.by, rule.until), (Author::Person(1000), Some(at("27T19:30:00"))));
}

#[test]
fn a_persons_on_that_joins_the_plans_on_holds_for_a_while_all_the_same() {
    let mut house = House::new(&format!("{PUMP}price-max = 0.35\n"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 3000, On);
    house.run_to("27T19:59:00");
    assert_eq!(house.state("pump"), Off);
    house.appliance("pump").slow = true;
    house.run_to("27T20:00:05");
    assert_eq!((house.held.len(), house.state("pump")), (1, Off), "the plan's own order is under way");
    house.ask(Wanted::Command(udn("pump"), Verb::On));
    assert_eq!(house.held.len(), 1, "there is one command for both");
    house.answers("pump");
    let rule = house.planner.book().iter().next().expect("a person's command leaves an order").clone();
    assert_eq!((rule.by, rule.until), (Author::Person(1000), Some(at("27T22:00:05"))));
    assert!(matches!(house.ruler("pump"), Ruler::OrderOn(_)));
    let causes: Vec<_> = house.journal.iter().filter(|e| &*e.action == "OperationOn").map(|e| e.cause).collect();
    assert_eq!(causes, [Cause::Price, Cause::Person(1000)], "the journal has both who wanted it");
    let decision = house.planner.decisions(&udn("pump")).find(|d| d.cause == Cause::Price && d.act == planner::Act::On);
    assert_eq!(decision.unwrap().outcome.as_ref().unwrap().0, Ending::Done);
}

#[test]
fn a_wrong_clock_of_the_machine_does_not_shift_a_limit() {
    for off in ["27T09:00:00", "27T15:00:00"] {
        let mut house = House::new("[[rule]]\nkind = 'plan'\nplan = 'limits'\n", "12:00:00");
        house.find("boiler", Flexibility::Curtailable, 6000, On);
        let true_time = at("27T12:00:00").as_second() as u64;
        house.now.wall = at(off);
        house.feed(planner::Input::ClockChanged);
        house.feed(planner::Input::Time(UnixTime::new(true_time)));
        let limit = Limit {
            id: EventId::new(7).unwrap(),
            supersedes: None,
            start: UnixTime::new(true_time + 1800),
            duration_s: Some(3600),
            watts: Watts::new(4200),
            priority: 0,
            randomise_s: 0,
            cancelled: false,
        };
        let limits = Some(LimitSet { target: None, version: 1, limits: vec![limit].try_into().unwrap() });
        house.feed(planner::Input::Heard { next_within: Duration::from_secs(30 * 86_400), limits });
        house.run_minutes(29);
        assert_eq!(house.state("boiler"), On, "{off}: it has not begun");
        house.run_minutes(2);
        assert_eq!(house.state("boiler"), Off, "{off}: it has begun");
        house.run_minutes(57);
        assert_eq!(house.planner.cap(house.now.wall.as_second()).map(|c| c.watts), Some(Watts::new(4200)), "{off}");
        house.run_minutes(3);
        assert_eq!(house.planner.cap(house.now.wall.as_second()), None, "{off}: it is over");
    }
}

#[test]
fn how_a_limit_is_kept_is_told_when_it_begins_is_exceeded_and_ends() {
    let limits = "[[rule]]\nkind = 'plan'\nplan = 'limits'\n";
    let mut house = House::new(limits, "12:00:00");
    house.find("heater", Flexibility::Curtailable, 3000, On);
    house.importance = Importance::Critical;
    house.find("pump", Flexibility::Curtailable, 5000, On);
    house.limit(Some(4200));
    house.run_minutes(5);
    let id = EventId::new(7);
    let told = |house: &House| house.limited.iter().map(|l| (l.accepted, l.holds, l.over_w)).collect::<Vec<_>>();
    assert_eq!(told(&house), [(true, id, 0)], "nobody is quicker than that");
    house.run_minutes(6);
    assert_eq!(
        told(&house).last(),
        Some(&(true, id, 1100)),
        "300 W of the rest and 5000 W of what is never switched off"
    );
    house.tell("pump", Off);
    house.run_minutes(1);
    assert_eq!(told(&house).last(), Some(&(true, id, 0)));
    // On again for a while: an excess counts from when it begins.
    house.tell("pump", On);
    house.run_minutes(8);
    house.tell("pump", Off);
    house.run_minutes(4);
    house.tell("pump", On);
    house.run_minutes(8);
    assert_eq!(told(&house).last(), Some(&(true, id, 0)));
    house.run_minutes(4);
    assert_eq!(told(&house).last(), Some(&(true, id, 1100)));
    assert_eq!(house.limited.last().unwrap().held_w, 4200);
    house.limit(None);
    house.run_minutes(1);
    assert_eq!(told(&house).last(), Some(&(true, None, 0)));
    let mut house = House::new("[plan]\nlimits = false\n", "12:00:00");
    house.limit(Some(4200));
    house.run_minutes(1);
    assert_eq!(told(&house), [(false, None, 0)]);
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
fn rules_work_and_sums_are_there_after_a_restart() {
    let mut house = House::new(CAR, "18:30:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    house.find("pump", Flexibility::Curtailable, 1000, On);
    let rule = house.rule(r#"{"kind":"plan","plan":"yes","appliance":"uuid:pump"}"#);
    house.run_to("28T03:00:00");
    let rows = house.rows.clone();
    house.planner.stop(house.now);
    house.run_minutes(0);
    assert!(house.rows.len() >= rows.len());
    let all: BTreeMap<String, String> = house.planner.rows().into_iter().map(|(slot, v)| (slot.key(), v)).collect();
    house.restart();
    let again: BTreeMap<String, String> = house.planner.rows().into_iter().map(|(slot, v)| (slot.key(), v)).collect();
    for key in ["rule 1", "last-rule", "day 2026-11-27", "day 2026-11-28"] {
        assert_eq!(again.get(key), all.get(key), "{key}");
        assert!(all.contains_key(key), "{key}");
    }
    assert_eq!(house.planner.book().iter().next().unwrap().id, rule);
    house.run_to("28T05:00:00");
    let done = house.entry("plan work");
    assert_eq!((done.at, done.ending), (at("28T04:00:00"), Ending::Done), "half of it was taken before the restart");
}

#[test]
fn what_the_plan_has_paused_goes_on_also_when_the_gateway_restarts_meanwhile() {
    let mut house = House::new(&format!("{PUMP}price-max = 0.35\n"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.run_to("27T18:30:00");
    assert_eq!(house.state("pump"), Off);
    house.restart();
    house.run_to("27T20:30:00");
    assert_eq!(house.state("pump"), On, "{:?}", house.switched());
    assert!(!house.rows.keys().any(|slot| slot.key().starts_with("paused")), "{:?}", house.rows);
}

#[test]
fn who_switches_a_paused_appliance_on_while_it_is_not_seen_is_not_overruled() {
    let mut house = House::new(&format!("{PUMP}price-max = 0.35\n"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.run_to("27T18:30:00");
    house.machines.get_mut("pump").unwrap().state = On;
    house.restart();
    house.run_to("27T19:30:00");
    assert_eq!((house.state("pump"), house.switched().len()), (On, 1), "{:?}", house.switched());
}

#[test]
fn a_clock_that_is_set_back_switches_nobody() {
    let mut house = House::new(&format!("{PUMP}price-max = 0.35\n"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.run_to("27T16:30:00");
    house.now.wall = at("27T15:30:00");
    house.feed(planner::Input::ClockChanged);
    house.run_to("27T16:59:00");
    assert_eq!((house.state("pump"), house.switched().len()), (On, 0), "{:?}", house.switched());
    house.run_to("27T17:01:00");
    assert_eq!(house.switched(), ["27T17:00 pump off price"]);
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
fn what_obeys_late_is_the_plans_doing_and_goes_on_again() {
    // It confirms and does nothing yet, is not heard at all, or vanishes meanwhile.
    for (ending, silent) in [(Ending::TimedOut, false), (Ending::Unreachable, false), (Ending::Unreachable, true)] {
        let mut house = House::new("[[rule]]\nkind = 'plan'\nplan = 'limits'\n[plan]\nfloor-w = 0\n", "12:00:00");
        house.find("boiler", Flexibility::Curtailable, 3000, On);
        house.limit(Some(1000));
        house.appliance("boiler").slow = ending == Ending::Unreachable;
        house.appliance("boiler").dawdles = true;
        house.run_minutes(3);
        let given_up = house.planner.decisions(&udn("boiler")).last().unwrap().outcome.clone().unwrap();
        assert_eq!(given_up.0, ending);
        if silent {
            house.gateway.handle(Input::Gone { udn: udn("boiler"), why: "byebye" }, house.now);
            house.run_minutes(0);
        }
        house.held.clear();
        house.appliance("boiler").slow = false;
        house.appliance("boiler").dawdles = false;
        house.tell("boiler", Off);
        assert!(
            house.planner.book().iter().all(|rule| rule.by != Author::Hand),
            "nobody's hand was there: {ending} {silent}"
        );
        house.run_minutes(30);
        house.limit(None);
        house.run_hours(1);
        assert_eq!(house.state("boiler"), On, "{ending} {silent}: {:?}", house.switched());
    }
}

#[test]
fn what_is_ordered_off_goes_on_again_though_the_gateway_dies_before_it_hears_of_it() {
    for obeyed in [true, false] {
        let mut house = House::new("[[rule]]\nkind = 'plan'\nplan = 'limits'\n[plan]\nfloor-w = 0\n", "12:00:00");
        house.find("boiler", Flexibility::Curtailable, 3000, On);
        house.appliance("boiler").slow = true;
        house.limit(Some(1000));
        house.run_for(Duration::from_secs(10));
        assert_eq!(house.held.len(), 1, "the order is on its way");
        house.held.clear();
        house.appliance("boiler").slow = false;
        house.appliance("boiler").state = if obeyed { Off } else { On };
        house.restart();
        house.run_minutes(10);
        assert!(house.planner.book().iter().all(|rule| rule.by != Author::Hand), "nobody's hand was there: {obeyed}");
        house.limit(None);
        house.run_hours(2);
        assert_eq!(house.state("boiler"), On, "{obeyed}: {:?}", house.switched());
        assert!(!house.rows.keys().any(|slot| slot.key().starts_with("paused")), "{:?}", house.rows);
    }
}

#[test]
fn an_order_that_is_refused_leaves_nothing_to_go_on_again() {
    let mut house = House::new("[[rule]]\nkind = 'plan'\nplan = 'limits'\n[plan]\nfloor-w = 0\n", "12:00:00");
    house.find("nas", Flexibility::StandbyAble, 3000, On);
    house.appliance("nas").refuses = Some("a backup is running");
    house.limit(Some(1000));
    house.run_minutes(1);
    assert_eq!(house.switched().len(), 1);
    assert!(!house.rows.keys().any(|slot| slot.key().starts_with("paused")), "{:?}", house.rows);
}

#[test]
fn what_the_utility_switched_off_goes_on_when_its_control_is_over() {
    for consent in ["yes", "limits", "no"] {
        let rule = format!("[[rule]]\nkind = 'plan'\nplan = '{consent}'\n");
        let mut house = House::new(&rule, "00:00:00");
        for (name, state) in [("boiler", On), ("lamp", Off)] {
            house.find(name, Flexibility::Curtailable, 1000, state);
            let order = Input::UtilityOrders { id: EventId::new(9).unwrap(), udn: udn(name), verb: Verb::Off };
            house.gateway.handle(order, house.now);
        }
        house.run_minutes(119);
        assert_eq!(house.state("boiler"), Off, "{consent}");
        house.restart();
        house.run_minutes(120);
        assert_eq!((house.state("boiler"), house.state("lamp")), (On, Off), "{consent}: {:?}", house.switched());
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
fn over_the_fuse_what_was_just_switched_on_goes_off_at_once() {
    let config = format!("{PUMP}price-max = 0.35\n[plan]\nfuse-w = 5000\n");
    let mut house = House::new(&config, "19:00:00");
    house.find("pump", Flexibility::Curtailable, 3000, On);
    house.importance = Importance::Critical;
    house.find("oven", Flexibility::Curtailable, 3000, Off);
    house.run_to("27T20:01:00");
    assert_eq!((house.state("pump"), house.switched().len()), (On, 2), "{:?}", house.switched());
    house.tell("oven", On);
    house.run_minutes(1);
    assert_eq!(house.state("pump"), Off, "{:?}", house.switched());
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

// A house.

struct Machine {
    state: PowerState,
    facts: Facts,
    refuses: Option<&'static str>,
    /// Answers to orders wait for [`House::answers`].
    slow: bool,
    /// It says yes and stays as it is.
    dawdles: bool,
}

struct House {
    config: Config,
    gateway: Gateway,
    planner: Planner,
    now: Now,
    machines: BTreeMap<String, Machine>,
    journal: Vec<Entry>,
    rows: BTreeMap<planner::Slot, String>,
    ordered: Vec<(Timestamp, Udn, Verb, Cause)>,
    importance: Importance,
    replies: Vec<Reply>,
    limited: Vec<planner::Limited>,
    /// How often another plan was followed.
    plans: usize,
    /// Calls that are not answered yet, of an appliance that takes its time.
    held: Vec<(heg::gateway::CallTag, Udn, Order)>,
}

fn udn(name: &str) -> Udn {
    Udn::parse(&format!("uuid:{name}")).unwrap()
}

fn at(text: &str) -> Timestamp {
    format!("2026-11-{text}Z").parse().unwrap()
}

impl House {
    /// On the 27th of November 2026, at that time.
    fn new(config: &str, time: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heg.toml");
        std::fs::write(&path, config).unwrap();
        let config = Config::load(Some(&path)).unwrap();
        let wall = at(&format!("27T{time}"));
        let now = Now { boot: BootTime::from_duration(Duration::from_secs(1000)), wall };
        let (gateway, planner) = (gateway(now), Planner::new("home", config.planning(TimeZone::UTC), vec![], now));
        let mut house = Self {
            config,
            gateway,
            planner,
            now,
            machines: BTreeMap::new(),
            journal: vec![],
            rows: BTreeMap::new(),
            ordered: vec![],
            importance: Importance::Normal,
            replies: vec![],
            limited: vec![],
            plans: 0,
            held: vec![],
        };
        house.prices();
        house
    }

    fn prices(&mut self) {
        let midnight = at("27T00:00:00").as_second();
        let price = |hour: i64| {
            let start = midnight + hour * 3600;
            PriceSpan { span: Span { start, end: start + 3600 }, price: CENTS[hour as usize % 24] * 10_000 }
        };
        let spans = (0..96).map(price).collect();
        self.feed(planner::Input::Prices { spans, currency: "EUR".into() });
    }

    fn restart(&mut self) {
        let rows = std::mem::take(&mut self.rows).into_iter().collect();
        self.gateway = gateway(self.now);
        self.planner = Planner::new("home", self.config.planning(TimeZone::UTC), rows, self.now);
        self.prices();
        for name in self.machines.keys().cloned().collect::<Vec<_>>() {
            self.found(&name);
        }
        self.journal.iter().for_each(|entry| self.planner.remember(entry));
    }

    fn find(&mut self, name: &str, flexibility: Flexibility, watts: u32, state: PowerState) {
        let (minimum_on_s, minimum_off_s, importance) = (0, 0, self.importance);
        let facts = Facts { rated_power: Watts::new(watts), importance, flexibility, minimum_on_s, minimum_off_s };
        self.machines.insert(name.into(), Machine { state, facts, refuses: None, slow: false, dawdles: false });
        self.found(name);
    }

    fn found(&mut self, name: &str) {
        let found = Found {
            udn: udn(name),
            name: name.into(),
            maker: "Example".into(),
            model: "1".into(),
            address: [192, 0, 2, 7].into(),
            offers: Offers { power_management: true, appliance_info: true },
        };
        self.gateway.handle(Input::Found(found), self.now);
        self.settle();
    }

    fn appliance(&mut self, name: &str) -> &mut Machine {
        self.machines.get_mut(name).unwrap()
    }

    fn state(&self, name: &str) -> PowerState {
        self.machines[name].state
    }

    /// It was switched by hand.
    fn tell(&mut self, name: &str, state: PowerState) {
        self.appliance(name).state = state;
        self.gateway.handle(Input::PowerStateTold { udn: udn(name), state }, self.now);
        self.settle();
    }

    /// It says what it draws.
    fn measure(&mut self, name: &str, watts: u32) {
        let power = Some(Watts::new(watts));
        self.gateway.handle(Input::InfoTold { udn: udn(name), power, refusal: None }, self.now);
        self.settle();
    }

    fn limit(&mut self, watts: Option<u32>) {
        self.limit_for(watts, None);
    }

    fn limit_for(&mut self, watts: Option<u32>, duration_s: Option<u32>) {
        let limit = |watts| Limit {
            id: EventId::new(7).unwrap(),
            supersedes: None,
            start: UnixTime::new(self.now.wall.as_second() as u64),
            duration_s,
            watts: Watts::new(watts),
            priority: 0,
            randomise_s: 0,
            cancelled: false,
        };
        let limits: Vec<Limit> = watts.map(limit).into_iter().collect();
        let limits = Some(LimitSet { target: None, version: 1, limits: limits.try_into().unwrap() });
        // So that the failsafe is no matter here.
        let next_within = Duration::from_secs(30 * 86_400);
        self.feed(planner::Input::Heard { next_within, limits });
    }

    fn rule(&mut self, json: &str) -> RuleId {
        self.change(Change::Add(serde_json::from_str(json).unwrap()));
        let Some(Reply::Rule(id, _)) = self.replies.last() else { panic!("{:?}", self.replies) };
        *id
    }

    fn change(&mut self, change: Change) {
        self.feed(planner::Input::Asked { ask: AskId(1), uid: 1000, change });
    }

    fn feed(&mut self, input: planner::Input) {
        self.planner.handle(input, self.now);
        self.settle();
    }

    fn ask(&mut self, wanted: Wanted) {
        self.gateway.handle(Input::PersonAsks { ask: AskId(2), uid: 1000, wanted }, self.now);
        self.settle();
    }

    fn ask_appliance(&mut self, name: &str, request: Request) {
        let from = [192, 0, 2, 7].into();
        self.gateway.handle(Input::ApplianceAsks { ask: AskId(3), from, caller: udn(name), request }, self.now);
        self.settle();
    }

    fn ruler(&self, name: &str) -> Ruler {
        self.planner.ruling(&self.gateway, &udn(name), self.now.wall.as_second()).by
    }

    fn why(&self, name: &str) -> String {
        self.planner.sight(&self.gateway, &udn(name), self.now.wall.as_second()).unwrap().because
    }

    fn entry(&self, action: &str) -> &Entry {
        let found = self.journal.iter().rev().find(|e| &*e.action == action);
        found.unwrap_or_else(|| panic!("no {action} in {:#?}", self.journal))
    }

    /// Orders of the planner: `27T18:00 pump off price`.
    fn switched(&self) -> Vec<String> {
        let words = |(at, udn, verb, cause): &(Timestamp, Udn, Verb, Cause)| {
            let to = if *verb == Verb::On { "on" } else { "off" };
            format!("{} {} {to} {cause}", &at.to_string()[8..16], udn.bare())
        };
        self.ordered.iter().map(words).collect()
    }

    fn run_minutes(&mut self, minutes: u64) {
        self.run_for(Duration::from_secs(minutes * 60));
    }

    fn run_hours(&mut self, hours: u64) {
        self.run_for(Duration::from_secs(hours * 3600));
    }

    fn run_to(&mut self, time: &str) {
        let ahead = at(time).duration_since(self.now.wall);
        self.run_for(ahead.unsigned_abs());
    }

    fn run_for(&mut self, length: Duration) {
        let end = self.now.boot + length;
        self.settle();
        for _ in 0..100_000 {
            let due = [self.gateway.poll_timeout(), self.planner.poll_timeout()].into_iter().flatten().min();
            let next = due.unwrap_or(end).min(end).max(self.now.boot);
            self.now.wall += next.since(self.now.boot);
            self.now.boot = next;
            self.settle();
            if next == end {
                return;
            }
        }
        panic!("time does not pass");
    }

    /// Until nobody has anything more to say at this moment.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            self.gateway.handle_timeout(self.now);
            let now = self.now.boot;
            let planning = self.planner.poll_timeout().is_some_and(|due| due <= now);
            if planning {
                self.planner.handle_timeout(&self.gateway, self.now);
            }
            let any = self.pass_on();
            if !planning && !any {
                return;
            }
        }
        panic!("they do not come to an end");
    }

    fn pass_on(&mut self) -> bool {
        let mut any = false;
        while let Some(effect) = self.gateway.poll_effect() {
            any = true;
            match effect {
                Effect::Call { call, udn, order } => self.call(call, &udn, order),
                Effect::Journal(entry) => self.journal.push(entry),
                Effect::Ended { udn, verb, cause, outcome } => {
                    self.planner.handle(planner::Input::Ended { udn, verb, cause, outcome }, self.now);
                }
                Effect::Changed(udn) => self.planner.handle(planner::Input::Appliance(udn), self.now),
                Effect::SaveRegistration { ask: Some(ask), .. } => {
                    self.gateway.handle(Input::Saved { ask, result: Ok(()) }, self.now);
                }
                _ => {}
            }
        }
        while let Some(effect) = self.planner.poll_effect() {
            any = true;
            match effect {
                planner::Effect::Order { udn, verb, cause } => {
                    self.ordered.push((self.now.wall, udn.clone(), verb, cause));
                    self.gateway.handle(Input::PlannerOrders { udn, verb, cause }, self.now);
                }
                planner::Effect::Save { slot, value, .. } => match value {
                    Some(value) => _ = self.rows.insert(slot, value),
                    None => _ = self.rows.remove(&slot),
                },
                planner::Effect::Journal(entry) => self.journal.push(entry),
                planner::Effect::Answer { reply, .. } => self.replies.push(reply),
                planner::Effect::Limited(limited) => self.limited.push(limited),
                planner::Effect::Planned => self.plans += 1,
                planner::Effect::Decided(_) => {}
            }
        }
        any
    }

    fn call(&mut self, call: heg::gateway::CallTag, of: &Udn, order: Order) {
        let now = self.now;
        let machine = self.machines.get_mut(of.bare()).unwrap();
        if machine.slow && !matches!(order, Order::GetPowerState | Order::WakeUpMethod | Order::GetApplianceInfo) {
            return self.held.push((call, of.clone(), order));
        }
        let to = match order {
            Order::OperationOn => Some(On),
            Order::OperationOff => Some(Off),
            Order::GoToStandby => Some(Standby),
            _ => None,
        };
        let result = match (order, to, machine.refuses) {
            (Order::GetPowerState, ..) => Ok(Answer::PowerState(machine.state)),
            (Order::WakeUpMethod, ..) => Ok(Answer::WakeMethod(WakeMethod::Wol)),
            (Order::GetApplianceInfo, ..) => Ok(Answer::Info { facts: machine.facts, mac: None, wake_method: None }),
            (_, Some(_), Some(why)) => Err(CallFailure::Fault { code: 801, reason: why.into() }),
            _ => Ok(Answer::Obeyed(None)),
        };
        if let (Ok(_), Some(state), false) = (&result, to, machine.dawdles) {
            machine.state = state;
            self.gateway.handle(Input::PowerStateTold { udn: of.clone(), state }, now);
        }
        self.gateway.handle(Input::Answered { call, result }, now);
    }
}

impl House {
    /// The slow appliance carries out what it was ordered.
    fn answers(&mut self, name: &str) {
        self.appliance(name).slow = false;
        for (call, udn, order) in std::mem::take(&mut self.held) {
            self.call(call, &udn, order);
        }
        self.settle();
    }
}

fn gateway(now: Now) -> Gateway {
    Gateway::new(settings(), Restored::default(), now)
}

fn settings() -> Settings {
    let patience = Patience { command: Duration::from_secs(20), wake: Duration::from_secs(90) };
    let (poll_every, overrides) = (Duration::from_secs(300), BTreeMap::new());
    Settings { poll_every, patience, overrides, zone: TimeZone::UTC }
}
