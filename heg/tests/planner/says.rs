//! Whose say it is, over restarts and after its end: controls of the utility, orders and rules of people, limits; and that the reason names it.

use super::*;

const LIMITS: &str = "[[rule]]\nkind = 'plan'\nplan = 'limits'\n[plan]\nfloor-w = 0\n";

fn id(number: u64) -> EventId {
    EventId::new(number).unwrap()
}

impl House {
    fn control(&mut self, number: u64, name: &str, verb: Verb) {
        self.gateway.handle(Input::UtilityOrders { id: id(number), udn: udn(name), verb }, self.now);
        self.run_minutes(0);
    }

    /// A home with a boiler that is on, and that the utility has ordered off.
    fn under_control(consent: &str) -> Self {
        let mut house = Self::new(&format!("[[rule]]\nkind = 'plan'\nplan = '{consent}'\n"), "00:00:00");
        house.find("boiler", Flexibility::Curtailable, 1000, On);
        house.control(9, "boiler", Verb::Off);
        assert_eq!(house.state("boiler"), Off);
        house
    }

    /// The gateway does not run for so long.
    fn away_for(&mut self, seconds: u64) {
        self.now.wall += Duration::from_secs(seconds);
        self.now.boot = self.now.boot + Duration::from_secs(seconds);
    }

    /// As [`Self::restart`], with appliances as they were known, and what the utility had ordered off and nobody heard the end of.
    fn restart_after_a_kill(&mut self, ordered_off: &[&str]) {
        let appliances = self.gateway.registry().iter().map(|a| a.profile().clone()).collect();
        self.gateway = Gateway::new(settings(), Restored { appliances, ..Restored::default() }, self.now);
        let rows = std::mem::take(&mut self.rows).into_iter().collect();
        self.planner = Planner::new("home", self.config.planning(TimeZone::UTC), rows, self.now);
        ordered_off.iter().for_each(|name| self.planner.cut_short(&udn(name), id(9), Off));
        self.prices();
        for name in self.machines.keys().cloned().collect::<Vec<_>>() {
            self.found(&name);
        }
    }

    fn keeps(&self, word: &str) -> bool {
        self.rows.keys().any(|slot| slot.key().starts_with(word))
    }
}

#[test]
fn a_control_holds_until_its_end_over_a_restart_and_the_reason_says_whose_it_is_and_later_was() {
    for consent in ["yes", "limits", "no"] {
        let mut house = House::under_control(consent);
        let why = "the utility ordered it off (control 9) until 2026-11-27 02:00:00+00:00";
        assert_eq!(house.why("boiler"), why, "{consent}");
        house.run_minutes(30);
        house.restart();
        for _ in 0..89 {
            house.run_minutes(1);
            assert_eq!((house.state("boiler"), house.ruler("boiler")), (Off, Ruler::Control(id(9))), "{consent}");
        }
        assert_eq!(house.why("boiler"), why, "{consent}");
        let sight = house.planner.sight(&house.gateway, &udn("boiler"), house.now.wall.as_second()).unwrap();
        assert_eq!(sight.until, Some(at("27T02:00:00").as_second()));
        house.run_minutes(2);
        assert_eq!(house.state("boiler"), On, "{consent}: {:?}", house.switched());
        assert!(!house.keeps("control") && house.keeps("ended"));
        assert_eq!(house.entry("control over").cause, Cause::Utility(id(9)));
        let decided = house.planner.decisions(&udn("boiler")).last().unwrap().because.clone();
        let over = "control 9 of the utility (off) ended at 2026-11-27 02:00:00+00:00; now ";
        assert!(decided.starts_with(over), "{consent}: {decided}");
        // Also after another restart, and not for ever.
        house.restart();
        assert!(house.why("boiler").starts_with(over), "{consent}: {}", house.why("boiler"));
        house.run_hours(24);
        assert!(!house.why("boiler").contains("control 9") && !house.keeps("ended"), "{}", house.why("boiler"));
    }
}

#[test]
fn the_last_decisions_are_there_after_a_restart_from_the_journal() {
    let mut house =
        House::new("[[load]]\nudn = 'uuid:pump'\nplan = 'yes'\nprice-max = 0.35\n[plan]\nfloor-w = 0\n", "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.run_to("27T17:30:00");
    house.ask(Wanted::Command(udn("pump"), Verb::On));
    house.limit(Some(900));
    house.run_minutes(1);
    house.limit(None);
    house.control(9, "pump", Verb::Off);
    house.run_minutes(30);
    let decided = |house: &House| -> Vec<_> {
        let words = |d: &planner::Decision| {
            let outcome = d.outcome.as_ref().map(|(ending, _)| ending.to_string()).unwrap_or_default();
            format!("{} {} {} {outcome}", d.act, d.kind, d.cause)
        };
        house.planner.decisions(&udn("pump")).map(words).collect()
    };
    let before = decided(&house);
    for decision in ["plan off price price done", "plan on person person:1000 done", "plan off limit utility:7 done"] {
        assert!(before.iter().any(|d| d == decision), "{decision}: {before:?}");
    }
    house.restart();
    assert_eq!(decided(&house), before);
    assert!(house.planner.decisions_by_kind().is_empty(), "they are counted since the start");
    let because = house.planner.decisions(&udn("pump")).next().unwrap().because.clone();
    assert!(because.starts_with("0.3800 EUR/kWh now; on again at"), "{because}");
}

#[test]
fn a_control_whose_end_comes_while_the_gateway_is_away_ends_properly() {
    let mut house = House::under_control("no");
    house.run_minutes(30);
    house.away_for(4 * 3600);
    house.restart();
    house.run_minutes(5);
    assert_eq!(house.state("boiler"), On, "{:?}", house.switched());
    let why = house.why("boiler");
    assert!(why.starts_with("control 9 of the utility (off) ended at 2026-11-27 02:00:00+00:00; now"), "{why}");
    assert!(!house.keeps("control") && !house.keeps("paused"), "{:?}", house.rows);
}

#[test]
fn who_goes_before_the_utility_ends_its_control_and_is_named() {
    // Somebody switches it on by hand: it stays so, with or without a rule of it.
    for consent in ["limits", "no"] {
        let mut house = House::under_control(consent);
        house.run_minutes(10);
        house.tell("boiler", On);
        house.run_minutes(200);
        assert_eq!((house.state("boiler"), house.switched().len()), (On, 0), "{consent}");
        let entry = house.entry("control over");
        let said = "control 9 of the utility (off) ended at 2026-11-27 00:10:00+00:00, as it was switched on since";
        assert_eq!(&*entry.reason, said, "{consent}");
    }
    // An opt-out and a consent that is taken back: it goes on again.
    for (consent, end) in [("limits", "as user 1000 opted out (rule 1)"), ("no", "as the home no longer allows it")] {
        let mut house = House::under_control(consent);
        house.run_minutes(10);
        match consent {
            "limits" => _ = house.rule(r#"{"kind":"opt-out","of":"utility","appliance":"uuid:boiler"}"#),
            _ => house.feed(planner::Input::ConsentGone(udn("boiler"))),
        }
        house.run_minutes(6);
        assert_eq!(house.state("boiler"), On, "{end}: {:?}", house.switched());
        let why = house.why("boiler");
        let said = format!("control 9 of the utility (off) ended at 2026-11-27 00:10:00+00:00, {end}; now");
        assert!(why.starts_with(&said), "{why}");
        assert!(!house.keeps("control"));
    }
}

#[test]
fn what_a_control_was_switching_off_when_the_gateway_died_goes_on_again() {
    for obeyed in [true, false] {
        let mut house = House::new("", "12:00:00");
        house.find("boiler", Flexibility::Curtailable, 3000, On);
        house.find("lamp", Flexibility::Curtailable, 60, Off);
        house.appliance("boiler").slow = true;
        house.control(9, "boiler", Verb::Off);
        assert_eq!(house.held.len(), 1, "the order is on its way");
        house.held.clear();
        house.appliance("boiler").slow = false;
        house.appliance("boiler").state = if obeyed { Off } else { On };
        house.restart_after_a_kill(&["boiler", "lamp"]);
        house.run_minutes(2);
        assert_eq!((house.state("boiler"), house.state("lamp")), (On, Off), "{obeyed}: {:?}", house.switched());
        assert_eq!(house.switched().len(), usize::from(obeyed));
        assert!(house.planner.book().iter().next().is_none(), "nobody's hand was there");
        let why = house.why("boiler");
        assert!(
            why.starts_with(
                "control 9 of the utility (off) was cut short by a restart at 2026-11-27 12:00:00+00:00; now"
            ),
            "{why}"
        );
        house.run_hours(2);
        assert!(!house.keeps("paused") && house.state("boiler") == On, "{:?}", house.rows);
    }
}

#[test]
fn the_reason_names_the_person_the_limit_or_the_request_with_its_end_and_then_whose_it_was() {
    let pump = "[[load]]\nudn = 'uuid:pump'\nplan = 'yes'\nprice-max = 0.35\n[plan]\nfloor-w = 0\n";
    let mut house = House::new(pump, "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.rule(r#"{"kind":"off","appliance":"uuid:pump","until":"2026-11-27T13:00:00Z"}"#);
    house.run_minutes(10);
    assert_eq!(house.why("pump"), "user 1000 ordered it off until 2026-11-27 13:00:00+00:00 (rule 1)");
    house.run_to("27T13:16:00");
    assert_eq!(house.state("pump"), On);
    let why = house.why("pump");
    assert!(why.starts_with("the order off (rule 1, by user 1000) ended at 2026-11-27 13:00:00+00:00; now"), "{why}");
    house.run_to("27T17:10:00");
    assert_eq!(
        house.why("pump"),
        "the order off (rule 1, by user 1000) ended at 2026-11-27 13:00:00+00:00; now planned by price: 0.3800 EUR/kWh now; on again at \
         2026-11-27 20:00:00+00:00"
    );
    house.tell("pump", On);
    let by_hand = "it was switched on by hand, or by itself, and is left so until 2026-11-27 19:10:00+00:00 (rule 2)";
    assert_eq!(house.why("pump"), by_hand);
    house.restart();
    house.run_minutes(1);
    assert_eq!(house.why("pump"), by_hand, "also after a restart");
    let order = RuleId::Made(2);
    house.change(Change::Remove(order));
    house.run_minutes(1);
    let why = house.why("pump");
    assert!(
        why.starts_with(
            "the order on (rule 2, by hand) was removed by user 1000 at 2026-11-27 17:11:00+00:00; now planned by price"
        ),
        "{why}"
    );
    house.ask(Wanted::Command(udn("pump"), Verb::On));
    assert_eq!(house.why("pump"), "user 1000 ordered it on until 2026-11-27 19:12:00+00:00 (rule 3)");
    house.rule(r#"{"kind":"opt-out","appliance":"uuid:pump"}"#);
    house.change(Change::Remove(RuleId::Made(3)));
    let why = house.why("pump");
    assert!(why.ends_with("now user 1000 has taken it out of the plan until the rule is removed (rule 4)"), "{why}");
}

#[test]
fn a_limit_is_named_with_its_end_and_when_it_is_over_that_it_was() {
    let mut house = House::new(LIMITS, "12:00:00");
    house.importance = Importance::Low;
    house.find("heater", Flexibility::Curtailable, 3000, On);
    house.importance = Importance::Critical;
    house.find("freezer", Flexibility::Curtailable, 200, On);
    house.limit_for(Some(1000), Some(3600));
    house.run_minutes(1);
    let held = "limit 7 of the utility leaves no room: 1000 W for the home until 2026-11-27 13:00:00+00:00";
    assert!(house.why("heater").starts_with(held), "{}", house.why("heater"));
    let decided = house.planner.decisions(&udn("heater")).last().unwrap().because.clone();
    assert!(decided.starts_with(held), "{decided}");
    assert_eq!(house.why("freezer"), "it is of class Critical (says appliance), which is not switched off");
    house.run_to("27T13:01:00");
    let why = house.why("heater");
    assert!(
        why.starts_with("limit 7 of the utility ended at 2026-11-27 13:00:00+00:00; now load comes back after a limit"),
        "{why}"
    );
    house.run_to("27T13:30:00");
    assert_eq!(house.state("heater"), On);
    let why = house.why("heater");
    assert!(why.starts_with("limit 7 of the utility ended at 2026-11-27 13:00:00+00:00; now"), "{why}");
    house.limit(Some(1000));
    house.run_minutes(1);
    let why = house.why("heater");
    assert!(
        why.starts_with("limit 7 of the utility leaves no room: 1000 W for the home until it is called off"),
        "{why}"
    );
}

#[test]
fn a_request_and_a_refusal_are_named_too() {
    let mut house = House::new(LIMITS, "12:00:00");
    house.find("nas", Flexibility::StandbyAble, 3000, On);
    house.ask_appliance("nas", Request::NoStandbyPeriod("11:00:00-16:00:00".parse().unwrap()));
    house.limit(Some(1000));
    house.run_minutes(1);
    let why = "NoStandbyPeriod of the appliance itself (RegID 1) forbids standby until 2026-11-27 16:00:00+00:00";
    assert_eq!((house.ruler("nas"), house.why("nas")), (Ruler::Request(RegId::new(1).unwrap()), why.to_owned()));
    house.appliance("nas").refuses = Some("a backup is running");
    house.run_to("27T16:01:00");
    assert_eq!(house.why("nas"), "refused: a backup is running; it is asked again at 2026-11-27 16:05:00+00:00");
}

#[test]
fn a_cycle_that_only_rules_describe_is_planned_also_after_a_restart_and_no_more_when_they_are_removed() {
    let mut house = House::new("", "20:00:00");
    // It says of itself that it may be switched off, and draws 5 W; who knows it knows better.
    house.find("washer", Flexibility::Curtailable, 5, Off);
    let kind = house.rule(
        r#"{"kind":"kind","appliance":"uuid:washer","flexibility":"Deferrable",
            "phases":[{"minutes":60,"watts":2000},{"minutes":60,"watts":500}]}"#,
    );
    let rule = r#"{"kind":"every-day","appliance":"uuid:washer","window":{"start":"22:00:00","end":"06:00:00"}}"#;
    let every_day = house.rule(rule);
    house.rule(r#"{"kind":"plan","appliance":"uuid:washer","plan":"yes"}"#);
    house.run_hours(1);
    house.restart();
    house.run_hours(9);
    assert_eq!(house.switched(), ["28T03:00 washer on price"]);
    assert_eq!(&*house.entry("plan work").reason, "saved 0.3600 EUR against running at once");
    house.tell("washer", Off);
    house.change(Change::Remove(every_day));
    house.run_hours(24);
    assert_eq!(house.switched().len(), 1, "nobody asks for it any more");
    // Once, from then until then: earliest start and deadline.
    house.rule(
        r#"{"kind":"run","appliance":"uuid:washer","from":"2026-11-29T09:00:00Z","until":"2026-11-29T15:00:00Z"}"#,
    );
    house.run_to("29T15:00:00");
    assert_eq!(house.switched()[1..], ["29T12:00 washer on price"]);
    house.change(Change::Remove(kind));
    house.run_minutes(1);
    let load = |house: &House| house.planner.sight(&house.gateway, &udn("washer"), 0).unwrap().load.clone();
    assert_eq!(load(&house).kind, Some((Flexibility::Curtailable, heg::rules::Source::Appliance)));
}

#[test]
fn a_rule_that_says_nothing_about_such_a_load_is_refused_with_the_reason() {
    let mut house = House::new("", "12:00:00");
    house.find("tv", Flexibility::StandbyAble, 100, On);
    let refused = |house: &mut House, json: &str| {
        house.change(Change::Add(serde_json::from_str(json).unwrap()));
        match house.replies.last() {
            Some(Reply::No(error)) => error.to_string(),
            other => panic!("{json}: {other:?}"),
        }
    };
    let charge = r#"{"kind":"charge","appliance":"uuid:tv","energy-wh":800,"until":"2026-11-28T12:00:00Z"}"#;
    let why = refused(&mut house, charge);
    assert!(why.contains("is for a load of kind Interruptible; this one is StandbyAble"), "{why}");
    house.rule(r#"{"kind":"kind","appliance":"uuid:tv","flexibility":"Interruptible"}"#);
    house.rule(charge);
    let daily = r#"{"kind":"every-day","appliance":"uuid:tv","window":{"start":"22:00:00","end":"06:00:00"}}"#;
    let why = refused(&mut house, daily);
    assert!(why.contains("how much energy it takes each day is not said"), "{why}");
    let only = r#"{"kind":"only","appliance":"uuid:tv","window":{"start":"22:00:00","end":"06:00:00"}}"#;
    assert!(refused(&mut house, only).contains("Curtailable or StandbyAble"));
    // What was said of all has no effect on it, and whoever asks why is told.
    let all = house.rule(r#"{"kind":"price-max","price":0.3}"#);
    let rule = house.planner.book().get(all).unwrap();
    let idle = house.planner.misfit(&udn("tv"), rule, Flexibility::Interruptible).unwrap_or_default();
    assert!(idle.contains("Curtailable or StandbyAble"), "{idle}");
    // And who has said when, but not that it may be planned, learns what is missing.
    house.rule(charge);
    let Some(Reply::Rule(_, note)) = house.replies.last() else { panic!() };
    assert!(note.contains("plan yes"), "{note}");
    house.rule(r#"{"kind":"plan","appliance":"uuid:tv","plan":"yes"}"#);
    house.rule(charge);
    assert!(matches!(house.replies.last(), Some(Reply::Rule(_, note)) if note.is_empty()));
    // Of one that was never seen nobody knows.
    house.rule(&only.replace("uuid:tv", "uuid:stranger"));
}
