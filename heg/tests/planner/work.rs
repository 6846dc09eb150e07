//! Charges and cycles: that they begin, that they end, and what they draw meanwhile.

use super::*;

/// A car that charges only when somebody asks for it.
const SELDOM: &str = "[[load]]\nudn = 'uuid:car'\nplan = 'yes'\nkind = 'Interruptible'\npower-w = 4000\n";

#[test]
fn a_charge_asked_for_by_rule_ends_when_it_is_done_and_does_not_begin_again() {
    for restart in [false, true] {
        let mut house = House::new(SELDOM, "18:30:00");
        house.find("car", Flexibility::Interruptible, 4000, Off);
        house.rule(r#"{"kind":"charge","energy-wh":8000,"appliance":"uuid:car","until":"2026-11-28T07:00:00Z"}"#);
        house.run_to("28T03:15:00");
        assert_eq!(house.state("car"), On);
        if restart {
            house.planner.stop(house.now);
            house.run_minutes(0);
            house.restart();
        }
        house.run_to("29T12:00:00");
        let switched = house.switched();
        assert_eq!(switched, ["28T02:00 car on price", "28T04:00 car off window"], "{restart}");
        assert_eq!(house.entry("plan work").ending, Ending::Done);
        assert!(!house.rows.keys().any(|slot| slot.key().starts_with("paused")), "{:?}", house.rows);
        let used: u64 = house.planner.days().map(|(_, sums)| sums.energy_ws).sum();
        assert_eq!(used, 8000 * 3600);
    }
}

#[test]
fn a_full_car_that_does_not_go_off_is_asked_again_after_a_restart_and_what_it_draws_is_counted() {
    let mut house = House::new(SELDOM, "01:30:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    house.rule(r#"{"kind":"charge","energy-wh":4000,"appliance":"uuid:car","until":"2026-11-27T04:00:00Z"}"#);
    house.run_to("27T03:30:00");
    house.appliance("car").refuses = Some("the plug is locked");
    house.run_to("27T04:30:00");
    assert_eq!(house.state("car"), On);
    house.appliance("car").refuses = None;
    house.restart();
    house.run_to("27T05:00:00");
    assert_eq!(house.state("car"), Off, "{:?}", house.switched());
    let used: u64 = house.planner.days().map(|(_, sums)| sums.energy_ws).sum();
    assert!(
        (6999 * 3600..7030 * 3600).contains(&used),
        "4 kWh asked for, and three quarters of an hour too long: {used}"
    );
}

#[test]
fn what_a_charge_was_switched_off_for_does_not_go_on_when_its_time_is_over() {
    let config = format!("{SELDOM}{NO_FLOOR}");
    let mut house = House::new(&config, "01:30:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    house.rule(r#"{"kind":"charge","energy-wh":8000,"appliance":"uuid:car","until":"2026-11-27T04:00:00Z"}"#);
    house.run_to("27T03:00:00");
    house.limit(Some(1000));
    house.run_to("27T05:00:00");
    house.limit(None);
    house.run_to("27T12:00:00");
    assert_eq!(house.state("car"), Off, "{:?}", house.switched());
    // What a hand has switched on, with no work to do, goes on after a limit.
    house.tell("car", On);
    house.limit(Some(1000));
    house.run_minutes(10);
    assert_eq!(house.state("car"), Off);
    house.limit(None);
    house.run_minutes(30);
    assert_eq!(house.state("car"), On, "{:?}", house.switched());
}

#[test]
fn a_car_that_is_on_before_its_charge_begins_takes_room_under_the_fuse() {
    let pump = "[[load]]\nudn = 'uuid:pump'\nplan = 'limits'\n";
    let mut house = House::new(&format!("{SELDOM}{pump}[plan]\nfuse-w = 4500\n"), "12:00:00");
    house.find("car", Flexibility::Interruptible, 3600, Off);
    house.importance = Importance::Low;
    house.find("pump", Flexibility::Curtailable, 1000, On);
    let from = r#""from":"2026-11-27T16:00:00Z","until":"2026-11-28T07:00:00Z""#;
    house.rule(&format!(r#"{{"kind":"charge","energy-wh":4000,"appliance":"uuid:car",{from}}}"#));
    house.run_minutes(10);
    house.tell("car", On);
    house.run_minutes(1);
    assert_eq!([house.state("car"), house.state("pump")], [On, Off], "{:?}", house.switched());
    // The hand's order is over: the car waits for its charge, of which the plan says when.
    house.run_to("27T15:00:00");
    assert_eq!([house.state("car"), house.state("pump")], [Off, On], "{:?}", house.switched());
    let runs = |house: &House| house.planner.planned().find(|p| p.udn == &udn("car")).map_or(0, |p| p.runs.len());
    assert_eq!(runs(&house), 1);
    house.run_to("28T12:00:00");
    assert_eq!(house.entry("plan work").ending, Ending::Done);
    assert_eq!(house.state("car"), Off, "{:?}", house.switched());
}

#[test]
fn a_limit_counts_a_car_that_is_on_before_its_charge_begins() {
    let mut house = House::new(&format!("{SELDOM}{PUMP}{NO_FLOOR}"), "12:00:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    house.importance = Importance::Low;
    house.find("pump", Flexibility::Curtailable, 1000, On);
    let from = r#""from":"2026-11-27T16:00:00Z","until":"2026-11-28T07:00:00Z""#;
    house.rule(&format!(r#"{{"kind":"charge","energy-wh":4000,"appliance":"uuid:car",{from}}}"#));
    house.tell("car", On);
    house.run_minutes(10);
    house.limit(Some(4500));
    house.run_minutes(1);
    assert_eq!(house.switched(), ["27T12:10 pump off utility:7"]);
}

#[test]
fn a_cycle_stopped_by_hand_is_not_done_and_what_was_asked_for_begins_again_after_a_while() {
    let washer = WASHER.split("every-day").next().unwrap();
    let mut house = House::new(washer, "12:00:00");
    house.find("washer", Flexibility::Deferrable, 2000, Off);
    house.rule(r#"{"kind":"run","appliance":"uuid:washer","until":"2026-11-27T23:00:00Z"}"#);
    house.run_to("27T12:30:00");
    assert_eq!(house.switched(), ["27T12:00 washer on price"]);
    house.tell("washer", Off);
    let ended = house.entry("plan work");
    assert_eq!((ended.ending, &*ended.reason), (Ending::Dropped, "ended after 30 of 120 min"));
    let sums = *house.planner.days().next().unwrap().1;
    assert_eq!((sums.energy_ws, sums.saved()), (1000 * 3600, 0), "half an hour of 2 kW is paid for");
    house.run_to("27T14:29:00");
    assert_eq!(house.switched().len(), 1, "who has stopped it wants it so");
    house.run_to("27T23:00:00");
    assert_eq!(house.switched().len(), 2, "{:?}", house.switched());
    assert_eq!(house.entry("plan work").ending, Ending::Done);
    // One that is over a little sooner than it says is done.
    house.tell("washer", Off);
    house.rule(r#"{"kind":"run","appliance":"uuid:washer","until":"2026-11-28T10:00:00Z"}"#);
    house.run_to("28T04:40:00");
    house.tell("washer", Off);
    house.run_to("28T10:00:00");
    assert_eq!((house.entry("plan work").ending, house.switched().len()), (Ending::Done, 3));
}

#[test]
fn a_person_s_command_and_a_restart_do_not_make_a_stopped_cycle_a_done_one() {
    for by_command in [true, false] {
        let mut house = House::new(WASHER, "20:00:00");
        house.find("washer", Flexibility::Deferrable, 2000, Off);
        house.run_to("28T03:10:00");
        if by_command {
            house.ask(Wanted::Command(udn("washer"), Verb::Off));
        } else {
            house.appliance("washer").state = Off;
            house.restart();
        }
        house.run_to("28T07:00:00");
        let ended = house.entry("plan work");
        assert_eq!((ended.ending, &*ended.reason), (Ending::Dropped, "ended after 10 of 120 min"), "{by_command}");
        house.run_to("29T03:01:00");
        assert_eq!(house.switched().last().unwrap(), "29T03:00 washer on price", "{:?}", house.switched());
    }
}

#[test]
fn the_utility_may_not_stop_a_cycle_that_runs() {
    let mut house = House::new(WASHER, "20:00:00");
    house.find("washer", Flexibility::Deferrable, 2000, Off);
    let off = |house: &House| house.planner.forbids(&house.gateway, &udn("washer"), false, house.now.wall.as_second());
    assert_eq!(off(&house), None);
    house.run_to("28T03:10:00");
    assert_eq!(off(&house).as_deref(), Some("a cycle is running, and is not interrupted"));
    house.run_to("28T05:10:00");
    assert_eq!(off(&house), None, "it is over, though it has not gone off");
}

#[test]
fn what_is_not_used_is_no_saving_and_what_a_limit_pauses_is_not_counted_at_all() {
    let mut house = House::new(&format!("{PUMP}price-max = 0.35\n{NO_FLOOR}"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.run_to("27T23:00:00");
    // From 17:00 to 20:00 at 38, 42 and 40 cents.
    let off = house.entry("plan off");
    assert_eq!(&*off.reason, "0.3800 EUR/kWh now; on again at 2026-11-27 20:00:00+00:00; saves 1.2000 EUR");
    let sums = |house: &House| *house.planner.days().last().unwrap().1;
    assert_eq!((sums(&house).saved(), sums(&house).not_used), (0, 1_200_000));
    house.limit(Some(500));
    house.run_to("27T23:30:00");
    assert_eq!(house.state("pump"), Off);
    assert_eq!((sums(&house).saved(), sums(&house).not_used), (0, 1_200_000));
    assert!(!house.entry("plan off").reason.contains("saves"), "{}", house.entry("plan off").reason);
    // Above its price until nobody knows when: only this hour is reckoned.
    let mut house = House::new(&format!("{PUMP}price-max = 0.05\n"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.run_minutes(1);
    assert_eq!(&*house.entry("plan off").reason, "0.1200 EUR/kWh now; saves 0.1200 EUR");
}

#[test]
fn what_a_charge_takes_is_counted_over_a_power_cut_and_over_a_time_out_of_sight() {
    for killed in [true, false] {
        let mut house = House::new(CAR, "18:30:00");
        house.find("car", Flexibility::Interruptible, 4000, Off);
        house.run_to("28T02:20:00");
        if killed {
            house.run_to("28T03:15:00");
            house.restart();
        } else {
            house.unseen_for("car", 60);
        }
        house.run_to("28T06:00:00");
        assert_eq!(house.switched(), ["28T02:00 car on price", "28T04:00 car off window"], "{killed}");
        let used: u64 = house.planner.days().map(|(_, sums)| sums.energy_ws).sum();
        assert_eq!(used, 8000 * 3600, "{killed}");
    }
}

#[test]
fn a_charge_that_is_found_off_after_a_power_cut_is_given_what_nobody_saw_it_take() {
    let mut house = House::new(CAR, "18:30:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    house.run_to("28T02:20:00");
    house.appliance("car").state = Off;
    house.restart();
    house.run_to("28T07:00:00");
    let taken: Vec<_> = house.journal.iter().filter(|e| &*e.action == "plan work").map(|e| e.ending).collect();
    assert_eq!((taken, house.state("car")), (vec![Ending::Done], Off), "{:?}", house.switched());
    let on: Vec<_> = house.switched().into_iter().filter(|s| s.contains("car on")).collect();
    assert_eq!(on.len(), 2, "{:?}", house.switched());
}

#[test]
fn work_is_planned_to_be_done_a_little_before_its_deadline_unless_its_time_is_too_short_for_that() {
    let washer =
        "[[load]]\nudn = 'uuid:washer'\nplan = 'yes'\nkind = 'Deferrable'\nphases = [{ minutes = 60, watts = 2000 }]\n";
    let nightly = format!("{washer}every-day = {{ start = '22:00:00', end = '04:00:00' }}\n");
    let mut house = House::new(&nightly, "20:00:00");
    house.find("washer", Flexibility::Deferrable, 2000, Off);
    house.run_hours(10);
    // From 03:00 it would be cheapest, and done as its time is over; 02:45 is the latest that leaves a little.
    assert_eq!(house.switched(), ["28T02:45 washer on window"]);
    let mut house = House::new(washer, "20:00:00");
    house.find("washer", Flexibility::Deferrable, 2000, Off);
    house.rule(r#"{"kind":"run","appliance":"uuid:washer","until":"2026-11-27T21:00:30Z"}"#);
    house.run_minutes(1);
    assert_eq!(house.state("washer"), On, "{:?}", house.journal);
    let mut house = House::new(&CAR.replace("07:00:00", "04:00:00"), "18:30:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    house.run_hours(14);
    let off = house.switched().pop().unwrap();
    assert!(off.ends_with("car off window") && *off < *"28T03:58:01", "{:?}", house.switched());
    assert_eq!(house.entry("plan work").ending, Ending::Done);
}

#[test]
fn what_is_left_undone_of_a_charge_is_told_once_and_of_the_whole_of_it() {
    let mut house = House::new(SELDOM, "18:30:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    house.rule(r#"{"kind":"charge","energy-wh":8000,"appliance":"uuid:car","until":"2026-11-27T20:00:00Z"}"#);
    house.run_hours(2);
    let without: Vec<_> = house.journal.iter().filter(|e| e.action.starts_with("plan without")).collect();
    assert_eq!(without.iter().map(|e| &*e.action).collect::<Vec<_>>(), ["plan without 25 %"]);
}

#[test]
fn a_charge_that_goes_off_early_goes_on_when_a_hands_time_is_over_and_is_full_when_it_goes_off_again_soon() {
    for full in [false, true] {
        let mut house = House::new(CAR, "18:30:00");
        house.find("car", Flexibility::Interruptible, 4000, Off);
        house.run_to("28T02:15:00");
        house.tell("car", Off);
        house.run_minutes(1);
        let stopped = house.entry("plan work");
        assert_eq!((stopped.ending, &*stopped.reason), (Ending::Observed, "went off with 1000 of 8000 Wh taken"));
        assert!(matches!(house.ruler("car"), Ruler::OrderOff(_)));
        house.run_to("28T04:14:00");
        assert_eq!(house.state("car"), Off, "what a hand has switched off stays off for a while");
        house.run_to("28T04:20:00");
        assert_eq!(house.state("car"), On, "{:?}", house.switched());
        if full {
            house.tell("car", Off);
        }
        house.run_to("28T07:30:00");
        let done = house.entry("plan work");
        assert_eq!((done.ending, house.state("car")), (Ending::Done, Off), "{full}");
        assert_eq!(done.reason.starts_with("went off with 1333 of 8000 Wh taken"), full, "{}", done.reason);
    }
}

#[test]
fn a_charge_that_is_asked_for_does_not_wait_for_five_minutes_to_pass() {
    let mut house = House::new(SELDOM, "12:00:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    let rule =
        house.rule(r#"{"kind":"charge","energy-wh":8000,"appliance":"uuid:car","until":"2026-11-27T14:00:00Z"}"#);
    house.run_minutes(30);
    house.change(Change::Remove(rule));
    house.run_for(Duration::from_secs(20));
    assert_eq!(house.state("car"), Off);
    house.rule(r#"{"kind":"charge","energy-wh":4000,"appliance":"uuid:car","until":"2026-11-27T13:31:00Z"}"#);
    house.run_for(Duration::from_secs(10));
    assert_eq!(house.state("car"), On, "{:?}", house.switched());
    house.run_to("27T13:35:00");
    assert_eq!(house.entry("plan work").ending, Ending::Done);
}

#[test]
fn a_charge_goes_on_into_the_part_of_a_quarter_hour_before_its_deadline() {
    let mut house = House::new(SELDOM, "12:40:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    house.rule(r#"{"kind":"charge","energy-wh":3600,"appliance":"uuid:car","until":"2026-11-27T13:38:00Z"}"#);
    house.run_hours(1);
    assert_eq!(house.switched(), ["27T12:40 car on window", "27T13:34 car off window"]);
    assert_eq!(house.entry("plan work").ending, Ending::Done);
}
