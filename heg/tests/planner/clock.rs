//! Wrong clocks, and what a restart finds.

use super::*;

#[test]
fn what_a_clock_of_another_year_has_put_off_does_not_wait_for_that_year() {
    for restart in [false, true] {
        let mut house = House::new(&format!("{CAR}{PUMP}price-max = 0.35\n{NO_FLOOR}"), "18:30:00");
        house.find("car", Flexibility::Interruptible, 4000, Off);
        house.find("pump", Flexibility::Curtailable, 1000, On);
        let right = house.now;
        house.now.wall = "2030-06-01T18:30:00Z".parse().unwrap();
        house.feed(planner::Input::ClockChanged);
        // The night's charge is done, the pump is switched by hand, and a limit ends.
        house.limit(Some(500));
        house.run_hours(1);
        house.limit(None);
        house.run_hours(14);
        house.tell("pump", Off);
        house.tell("pump", On);
        house.run_minutes(1);
        assert!(house.planner.book().iter().next().is_some());
        house.now.wall = right.wall + house.now.boot.since(right.boot);
        if restart {
            house.restart();
            house.limit(None);
        } else {
            house.feed(planner::Input::ClockChanged);
        }
        assert_eq!(house.now.wall.to_string()[..13], *"2026-11-28T09");
        let before = house.switched().len();
        house.run_to("30T09:00:00");
        let switched = house.switched()[before..].join(", ");
        for wanted in ["28T17:00 pump off price", "28T20:00 pump on price", "29T02:00 car on", "30T02:00 car on"] {
            assert!(switched.contains(wanted), "{restart}: no {wanted} in {switched}");
        }
    }
}

#[test]
fn a_machine_that_does_not_know_the_year_forgets_nothing_of_it() {
    let mut house = House::new(PUMP, "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.tell("pump", Off);
    assert_eq!(house.planner.book().iter().count(), 1);
    let right = house.now.wall;
    house.now.wall = Timestamp::UNIX_EPOCH;
    house.restart();
    assert_eq!(house.planner.book().iter().count(), 1);
    house.now.wall = right;
    house.feed(planner::Input::ClockChanged);
    assert_eq!(house.planner.book().iter().count(), 1);
}

#[test]
fn a_restart_keeps_the_start_of_who_is_found_last() {
    let other = WASHER.replace("washer", "dryer");
    let mut house = House::new(&format!("{WASHER}{other}[plan]\nkeep-unless-saves = 1\n"), "20:00:00");
    house.find("dryer", Flexibility::Deferrable, 2000, Off);
    house.find("washer", Flexibility::Deferrable, 2000, Off);
    house.run_minutes(1);
    let start = |house: &House, name: &str| {
        let planned = house.planner.planned().find(|p| p.udn == &udn(name));
        planned.map(|p| p.runs[0].span.start)
    };
    let kept = start(&house, "washer");
    assert_eq!(kept, Some(at("28T03:00:00").as_second()));
    // Other prices, for which alone nobody would leave the start that is kept.
    let mut rows: BTreeMap<planner::Slot, String> = std::mem::take(&mut house.rows);
    let plan = rows.get(&planner::Slot::Plan).unwrap().clone();
    let moved = plan.replace(&kept.unwrap().to_string(), &(kept.unwrap() - 3600).to_string());
    let moved = moved.replace(&(kept.unwrap() + 7200).to_string(), &(kept.unwrap() + 3600).to_string());
    rows.insert(planner::Slot::Plan, moved);
    house.rows = rows;
    let machines = std::mem::take(&mut house.machines);
    house.restart();
    for name in ["dryer", "washer"] {
        house.machines.insert(
            name.into(),
            Machine { state: Off, slow: false, dawdles: false, refuses: None, facts: machines[name].facts },
        );
        house.found(name);
        house.run_minutes(5);
    }
    for name in ["dryer", "washer"] {
        assert_eq!(start(&house, name), kept.map(|at| at - 3600), "{name}");
    }
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
