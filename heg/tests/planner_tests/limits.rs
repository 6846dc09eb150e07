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
