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
