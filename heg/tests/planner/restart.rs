//! What is there again after a restart.

use super::*;

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

/// A heater that once on stays on for half an hour, in a home whose people have agreed to limits.
const HEATER: &str =
    "[[load]]\nudn = 'uuid:heater'\nplan = 'yes'\nprice-max = 0.35\nminimum-on-s = 1800\n[plan]\nfloor-w = 0\n";

#[test]
fn what_is_found_on_has_had_its_minimum_time_and_a_limit_does_not_wait_for_it() {
    for seen_before in [false, true] {
        let mut house = House::new(HEATER, "12:00:00");
        if seen_before {
            house.find("heater", Flexibility::Curtailable, 3000, On);
            house.run_hours(1);
            house.restart();
        } else {
            house.find("heater", Flexibility::Curtailable, 3000, On);
        }
        house.limit(Some(1000));
        house.run_minutes(1);
        assert_eq!(house.state("heater"), Off, "{seen_before}: {:?}", house.switched());
    }
}

#[test]
fn out_of_sight_for_a_while_and_still_on_it_does_not_begin_its_minimum_time_again() {
    let mut house = House::new(HEATER, "12:00:00");
    house.find("heater", Flexibility::Curtailable, 3000, Off);
    house.tell("heater", On);
    house.run_hours(1);
    house.unseen_for("heater", 20);
    house.limit(Some(1000));
    house.run_minutes(1);
    assert_eq!(house.state("heater"), Off, "{:?}", house.switched());
}

#[test]
fn what_was_switched_on_just_before_a_restart_has_its_minimum_time_and_its_five_minutes_after_it() {
    let seldom = "[[load]]\nudn = 'uuid:heater'\nplan = 'yes'\nprice-max = 0.35\n";
    for (config, minutes) in [(HEATER, 30), (seldom, 5)] {
        let mut house = House::new(config, "16:00:00");
        house.find("heater", Flexibility::Curtailable, 3000, On);
        house.run_to("27T20:01:00");
        assert_eq!(house.switched(), ["27T17:00 heater off price", "27T20:00 heater on price"]);
        house.restart();
        house.rule(r#"{"kind":"price-max","appliance":"uuid:heater","price":0.2}"#);
        house.run_to(&format!("27T20:{:02}:50", minutes - 1));
        assert_eq!(house.state("heater"), On, "{:?}", house.switched());
        house.run_to(&format!("27T20:{:02}:10", minutes));
        assert_eq!(house.state("heater"), Off, "{:?}", house.switched());
    }
}

#[test]
fn why_names_a_limit_that_ended_while_the_gateway_did_not_run() {
    for stored in [true, false] {
        let mut house = House::new("[[rule]]\nkind = 'plan'\nplan = 'limits'\n[plan]\nfloor-w = 0\n", "12:00:00");
        house.find("boiler", Flexibility::Curtailable, 3000, On);
        house.limit_for(Some(1000), Some(3600));
        house.run_minutes(10);
        assert_eq!(house.state("boiler"), Off);
        house.now.wall += Duration::from_secs(7200);
        house.now.boot = house.now.boot + Duration::from_secs(7200);
        let limits = house.stated.clone().filter(|_| stored);
        house.restart_under(limits);
        house.run_minutes(20);
        let ended = if stored { "at 2026-11-27 13:00:00+00:00" } else { "while the gateway was not running" };
        let decided = house.planner.decisions(&udn("boiler")).last().unwrap().because.clone();
        let words = format!("limit 7 of the utility ended {ended}; now there is room for it again");
        assert_eq!((&*decided, house.state("boiler")), (&*words, On));
    }
}

#[test]
fn what_is_due_at_the_start_is_ordered_when_the_appliance_is_found_and_not_before() {
    let washer =
        "[[load]]\nudn = 'uuid:washer'\nplan = 'yes'\nkind = 'Deferrable'\nphases = [{ minutes = 60, watts = 2000 }]\n";
    for silent_s in [2, 600] {
        let mut house = House::new(washer, "17:00:00");
        house.find("washer", Flexibility::Deferrable, 2000, Off);
        // It becomes dearer from now on.
        let run =
            r#"{"kind":"run","appliance":"uuid:washer","until":"2026-11-27T18:30:00Z","from":"2026-11-27T17:01:00Z"}"#;
        house.rule(run);
        house.run_for(Duration::from_secs(5));
        house.now.wall += Duration::from_secs(90);
        house.now.boot = house.now.boot + Duration::from_secs(90);
        house.restart_unseen();
        house.run_for(Duration::from_secs(silent_s));
        // Nobody is ordered that nobody has heard; after a while it is tried, and not heard of again before it is there.
        assert_eq!(house.switched().is_empty(), silent_s < 60, "{:?}", house.switched());
        house.found("washer");
        house.run_for(Duration::from_secs(10));
        assert_eq!(house.state("washer"), On, "{silent_s}: {:?}", house.switched());
    }
}
