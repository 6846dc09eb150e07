//! Limits, what is measured under them, the way back, and a person's opt-out.

use super::*;

const ALL: &str = "[[rule]]\nkind = 'plan'\nplan = 'limits'\n";

#[test]
fn an_opted_out_appliance_that_was_switched_off_before_or_since_goes_on_and_is_left_alone_then() {
    let out = r#"{"kind":"opt-out","appliance":"uuid:pump","until":"2026-12-04T00:00:00Z"}"#;
    // Paused for its price, then opted out.
    let mut house = House::new(&format!("{PUMP}price-max = 0.35\n{NO_FLOOR}"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.run_to("27T18:00:00");
    assert_eq!(house.state("pump"), Off);
    let rule = house.rule(out);
    house.run_minutes(10);
    assert_eq!((house.state("pump"), house.ruler("pump")), (On, Ruler::OptOut(rule)), "{:?}", house.switched());
    // Opted out, then limited.
    house.limit(Some(500));
    house.run_minutes(10);
    assert_eq!(house.state("pump"), Off, "a limit counts it all the same");
    house.limit(None);
    house.run_hours(1);
    assert_eq!((house.state("pump"), house.ruler("pump")), (On, Ruler::OptOut(rule)), "{:?}", house.switched());
    // What a person has switched off stays off.
    house.tell("pump", Off);
    house.run_hours(5);
    assert_eq!(house.state("pump"), Off, "{:?}", house.switched());
}

#[test]
fn what_is_off_because_its_hours_are_over_does_not_go_on_for_an_opt_out() {
    let lamp = "[[load]]\nudn = 'uuid:lamp'\nplan = 'yes'\nonly = [{ start = '20:00:00', end = '21:00:00' }]\n";
    let mut house = House::new(lamp, "19:00:00");
    house.find("lamp", Flexibility::Curtailable, 100, Off);
    house.run_to("27T21:30:00");
    house.rule(r#"{"kind":"opt-out","appliance":"uuid:lamp"}"#);
    house.run_hours(30);
    assert_eq!(house.switched(), ["27T20:00 lamp on window", "27T21:00 lamp off window"]);
}

#[test]
fn more_than_an_appliance_says_is_planned_with_once_it_is_measured() {
    let mut house = House::new(&format!("{ALL}{NO_FLOOR}"), "12:00:00");
    house.find("heater", Flexibility::Curtailable, 1000, On);
    house.limit(Some(2000));
    house.run_minutes(1);
    assert_eq!(house.state("heater"), On, "it says 1000 W");
    house.measure("heater", 3000);
    house.run_minutes(1);
    assert_eq!(house.state("heater"), Off, "{:?}", house.switched());
    house.run_minutes(50);
    assert_eq!(house.switched().len(), 1, "it is not let on again for what it says");
    house.limit(None);
    house.run_hours(1);
    assert_eq!(house.state("heater"), On);
}

#[test]
fn a_limit_that_appliances_are_seen_to_exceed_is_not_told_as_kept() {
    let mut house = House::new(&format!("[[rule]]\nkind = 'plan'\nplan = 'no'\n{NO_FLOOR}"), "12:00:00");
    house.find("heater", Flexibility::Curtailable, 1000, On);
    house.limit(Some(2000));
    house.run_minutes(20);
    assert_eq!(house.limited.last().unwrap().over_w, 0);
    house.measure("heater", 3000);
    house.run_minutes(20);
    assert_eq!(house.limited.last().unwrap().over_w, 1300, "with 300 W of the rest");
}

#[test]
fn load_comes_back_little_by_little_where_a_limit_is_raised_and_after_a_restart_too() {
    for restart in [false, true] {
        let config = format!("{ALL}{NO_FLOOR}comeback-w-per-minute = 200\n");
        let mut house = House::new(&config, "12:00:00");
        house.find("heater", Flexibility::Curtailable, 3000, On);
        house.limit(Some(1000));
        house.run_minutes(30);
        assert_eq!(house.state("heater"), Off);
        house.limit(Some(9000));
        house.run_minutes(1);
        if restart {
            house.restart();
            house.limit(Some(9000));
        }
        // 2300 W more are 12 minutes at 200 W each; slots are a quarter long.
        house.run_to("27T12:44:00");
        assert_eq!(house.state("heater"), Off, "{restart}: {:?}", house.switched());
        house.run_to("27T13:01:00");
        assert_eq!(house.state("heater"), On, "{restart}: {:?}", house.switched());
    }
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
