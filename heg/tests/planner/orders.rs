//! Orders: what people say goes before the plan, and appliances that refuse or obey late.

use super::*;

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
fn an_order_ends_in_the_second_in_which_it_ends_also_within_it() {
    let mut house = House::new(PUMP, "12:02:00");
    house.find("pump", Flexibility::Curtailable, 3000, On);
    house.rule(r#"{"kind":"off","appliance":"uuid:pump","until":"2026-11-27T12:08:20.4Z"}"#);
    house.run_to("27T12:08:20");
    assert_eq!(house.state("pump"), Off);
    house.run_to("27T12:08:21");
    assert!(house.planner.book().iter().next().is_none());
    assert_eq!(house.state("pump"), On, "{:?}", house.switched());
    house.rule(
        r#"{"kind":"off","appliance":"uuid:pump","from":"2026-11-27T12:09:40.7Z","until":"2026-11-27T12:12:00Z"}"#,
    );
    house.run_to("27T12:09:41");
    assert_eq!(house.state("pump"), Off, "{:?}", house.switched());
}
