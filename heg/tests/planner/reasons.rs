//! That the reason given is the one: of what waits, is left on, is kept off, left undone or not asked; and that its times are those of the home.

use heg::api::planning::PlanView;
use heg::plan::{DropReason, Why};
use heg::planner::PlannedLoad;
use heg::rules::precedence::Limited;

use super::*;

impl House {
    /// With another configuration, or in another zone.
    fn configure(&mut self, config: &str, zone: TimeZone) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heg.toml");
        std::fs::write(&path, config).unwrap();
        self.config = Config::load(Some(&path)).unwrap();
        self.feed(planner::Input::Configured(self.config.planning(zone)));
        self.run_minutes(1);
    }

    fn planned(&self, name: &str) -> Option<PlannedLoad<'_>> {
        let udn = udn(name);
        self.planner.planned().find(|load| *load.udn == udn)
    }

    /// A car that charges from 02:00 to 04:00, and a pump that is more important.
    fn charging(config: &str) -> Self {
        let mut house = Self::new(&format!("{CAR}{PUMP}{config}"), "18:30:00");
        house.find("car", Flexibility::Interruptible, 4000, Off);
        house.importance = Importance::High;
        house.find("pump", Flexibility::Curtailable, 1000, On);
        house.run_to("28T03:00:00");
        assert_eq!(house.switched(), ["28T02:00 car on price"]);
        house
    }
}

#[test]
fn what_the_fuse_keeps_off_says_so_and_no_window() {
    let mut house = House::charging("");
    house.configure(&format!("{CAR}{PUMP}[plan]\nfuse-w = 4500\n"), TimeZone::UTC);
    assert_eq!(house.switched().last().unwrap(), "28T03:00 car off fuse");
    assert_eq!(house.ruler("car"), Ruler::Limit(Limited::Fuse));
    let why = house.why("car");
    assert!(why.starts_with("the home's fuse leaves no room: 4500 W for the home"), "{why}");
    let last = house.planner.decisions(&udn("car")).last().unwrap().clone();
    assert_eq!((last.kind, last.cause), ("fuse", Cause::Fuse));
    let left = house.journal.iter().find(|e| e.ending == Ending::Dropped).expect("what is left undone");
    assert_eq!((left.cause, &*left.reason), (Cause::Fuse, "the cap is taken by other loads"), "alone it has room");
    assert!(house.planner.decisions_by_kind()["fuse"] >= 2);
    house.tell("pump", Off);
    house.run_minutes(6);
    assert_eq!(house.state("car"), On, "{:?}", house.switched());
}

#[test]
fn what_goes_on_again_after_the_fuse_left_no_room_says_that_it_was_the_fuse() {
    let mut house = House::new(&format!("{PUMP}[plan]\nfuse-w = 5000\n"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 3000, On);
    house.importance = Importance::Critical;
    house.find("oven", Flexibility::Curtailable, 3000, Off);
    house.run_minutes(10);
    house.tell("oven", On);
    house.run_minutes(10);
    house.tell("oven", Off);
    house.run_hours(1);
    let switched = house.switched();
    assert_eq!(switched.len(), 2, "{switched:?}");
    assert!(switched[0].ends_with("pump off fuse") && switched[1].ends_with("pump on fuse"), "{switched:?}");
    assert_eq!(&*house.planner.decisions(&udn("pump")).last().unwrap().because, "there is room for it again");
}

#[test]
fn what_a_limit_keeps_off_says_by_which_number_and_when_that_is_over() {
    let mut house = House::charging(NO_FLOOR);
    house.limit(Some(2000));
    house.run_minutes(1);
    assert_eq!(house.switched().last().unwrap(), "28T03:00 car off utility:7");
    let why = house.why("car");
    assert!(why.starts_with("limit 7 of the utility leaves no room: 2000 W for the home"), "{why}");
    assert_eq!(house.planner.decisions_by_kind().get("window"), None);
    house.limit(None);
    house.run_minutes(1);
    let why = house.why("car");
    assert!(why.starts_with("limit 7 of the utility ended at 2026-11-28 03:01:00+00:00; now"), "{why}");
}

#[test]
fn what_waits_for_its_hour_says_when_it_is_and_for_what_price() {
    let mut house = House::new(&format!("{CAR}{WASHER}"), "18:30:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    house.find("washer", Flexibility::Deferrable, 2000, Off);
    house.run_minutes(1);
    let waits = "0.4200 EUR/kWh now; on at 2026-11-28 02:00:00+00:00; 0.1200 EUR/kWh then";
    assert_eq!((house.ruler("car"), &*house.why("car")), (Ruler::Plan(Why::Price), waits));
    // Its time has not begun.
    assert_eq!(house.ruler("washer"), Ruler::Plan(Why::Window));
    house.run_to("27T22:10:00");
    let waits = "0.2600 EUR/kWh now; on at 2026-11-28 03:00:00+00:00; 0.1000 EUR/kWh then";
    assert_eq!((house.ruler("washer"), &*house.why("washer")), (Ruler::Plan(Why::Price), waits));
    // Whoever starts it by hand has started it.
    house.tell("washer", On);
    house.run_minutes(30);
    assert_eq!((house.state("washer"), house.switched().len()), (On, 0), "{:?}", house.switched());
}

#[test]
fn what_is_simply_on_is_left_on_and_no_limit_is_made_up() {
    let limits = "[[rule]]\nkind = 'plan'\nplan = 'limits'\nappliance = 'uuid:tv'\n";
    let mut house = House::new(&format!("{PUMP}{limits}"), "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.find("tv", Flexibility::StandbyAble, 100, On);
    house.run_minutes(1);
    let left_on = (Ruler::Plan(Why::LeftOn), "nobody says when it is to run, so it is left on");
    assert_eq!((house.ruler("pump"), &*house.why("pump")), left_on);
    let left_on = (Ruler::Plan(Why::LeftOn), "it is left on: nothing but a limit may switch it off");
    assert_eq!((house.ruler("tv"), &*house.why("tv")), left_on);
}

#[test]
fn times_in_reasons_are_those_of_the_home_with_their_offset() {
    let mut house = House::new(PUMP, "12:00:00");
    house.find("pump", Flexibility::Curtailable, 1000, On);
    house.configure(PUMP, TimeZone::get("Europe/Berlin").unwrap());
    house.rule(r#"{"kind":"off","appliance":"uuid:pump","until":"2026-11-27T13:00:00Z"}"#);
    house.run_minutes(1);
    assert_eq!(house.why("pump"), "user 1000 ordered it off until 2026-11-27 14:00:00+01:00 (rule 1)");
    assert_eq!(&*house.entry("rule 1: off").reason, "until 2026-11-27 14:00:00+01:00");
    house.change(Change::Remove(RuleId::Made(1)));
    house.run_minutes(6);
    let why = house.why("pump");
    assert!(
        why.starts_with("the order off (rule 1, by user 1000) was removed by user 1000 at 2026-11-27 13:02:00+01:00;"),
        "{why}"
    );
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let words = heg::journal::action_words("plan start 2026-11-28T03:00:00Z", &berlin);
    assert_eq!(words, "plan start 2026-11-28 04:00:00");
    assert_eq!(heg::journal::action_words("plan on", &berlin), "plan on");
}

#[test]
fn what_is_asked_for_in_vain_is_answered_so_and_its_end_is_in_the_journal() {
    let note = |house: &House| match house.replies.last() {
        Some(Reply::Rule(_, note)) => note.clone(),
        other => panic!("{other:?}"),
    };
    let undone = |house: &House, rule: RuleId| -> Vec<String> {
        let of = |e: &&Entry| e.ending == Ending::Dropped && e.cause == Cause::Rule(rule);
        house.journal.iter().filter(of).map(|e| e.reason.to_string()).collect()
    };
    // A cycle that nobody knows.
    let mut house = House::new("[[load]]\nudn = 'uuid:washer'\nplan = 'yes'\n", "12:00:00");
    house.find("washer", Flexibility::Deferrable, 2000, Off);
    let rule = house.rule(r#"{"kind":"run","appliance":"uuid:washer","until":"2026-11-27T14:00:00Z"}"#);
    assert!(note(&house).starts_with("but nothing says what its cycle looks like"), "{}", note(&house));
    house.run_hours(3);
    let told = undone(&house, rule);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("not done by 2026-11-27 14:00:00+00:00: nothing says what its cycle"), "{told:?}");
    // One that is out of the plan.
    let mut house = House::new(CAR, "08:00:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    house.rule(r#"{"kind":"opt-out","appliance":"uuid:car","until":"2026-11-27T12:00:00Z"}"#);
    let rule =
        house.rule(r#"{"kind":"charge","appliance":"uuid:car","energy-wh":2000,"until":"2026-11-27T11:00:00Z"}"#);
    let out = "but it is taken out of the plan until 2026-11-27 12:00:00+00:00 by rule 1: hegctl rule remove 1";
    assert_eq!(note(&house), out);
    // And one that is not there.
    let far = house.rule(r#"{"kind":"run","appliance":"uuid:stranger","until":"2026-11-27T11:00:00Z"}"#);
    house.run_hours(4);
    assert_eq!(undone(&house, rule).len(), 1, "{:#?}", house.journal);
    assert_eq!(
        undone(&house, far),
        ["not done by 2026-11-27 11:00:00+00:00: it was not seen since the gateway's start"]
    );
}

#[test]
fn what_is_not_asked_again_yet_is_named_in_the_plan_as_left_undone() {
    let mut house = House::new(WASHER, "20:00:00");
    house.find("washer", Flexibility::Deferrable, 2000, Off);
    house.appliance("washer").refuses = Some("its door is open");
    house.run_to("28T03:01:00");
    let load = house.planned("washer").expect("it is in the plan");
    assert_eq!(load.dropped.map(|d| (d.missing_ppm, d.reason)), Some((1_000_000, DropReason::NotAsked)));
    let (until, why) = load.unwilling.unwrap();
    assert_eq!((until, why), (at("28T03:05:00").as_second(), "refused: its door is open"));
    let view = PlanView::new(&house.planner, &house.gateway, house.now);
    let dropped = view.loads.iter().find(|l| l.udn == "uuid:washer").unwrap().dropped.clone();
    assert_eq!(dropped, Some((100, "it is not asked again yet".to_owned())));
    house.appliance("washer").refuses = None;
    house.run_to("28T03:06:00");
    assert_eq!((house.state("washer"), house.planned("washer").unwrap().dropped), (On, None));
}

#[test]
fn an_excess_names_what_is_exceeded_and_what_stays_on() {
    let mut house = House::new("[[rule]]\nkind = 'plan'\nplan = 'limits'\n[plan]\nfuse-w = 5000\n", "12:00:00");
    house.importance = Importance::Critical;
    house.find("oven", Flexibility::Curtailable, 6000, On);
    house.run_minutes(1);
    let troubles = house.planner.troubles();
    assert!(troubles[0].starts_with("the home's fuse is exceeded by 1300 W from 2026-11-27 12:00:0"), "{troubles:?}");
    assert!(troubles[0].ends_with("+00:00 on, by what is not to be switched off"), "{troubles:?}");
    let load = "[[load]]\nudn = 'uuid:heater'\nplan = 'yes'\nminimum-on-s = 1800\n[plan]\nfloor-w = 0\n";
    let mut house = House::new(load, "12:00:00");
    house.find("heater", Flexibility::Curtailable, 3000, Off);
    house.tell("heater", On);
    house.run_minutes(1);
    let order = house.planner.book().iter().next().unwrap().id;
    house.change(Change::Remove(order));
    house.limit(Some(1000));
    house.run_minutes(1);
    let troubles = house.planner.troubles();
    assert!(troubles[0].starts_with("limit 7 is exceeded by 2300 W from"), "{troubles:?}");
    assert!(troubles[0].ends_with(" on, by a minimum time"), "{troubles:?}");
}

#[test]
fn time_without_a_price_is_shown_with_the_plan() {
    let mut house = House::new(CAR, "18:30:00");
    house.find("car", Flexibility::Interruptible, 4000, Off);
    let (start, end) = (at("27T18:00:00").as_second(), at("28T01:00:00").as_second());
    let spans = vec![PriceSpan { span: Span { start, end }, price: 300_000 }];
    house.feed(planner::Input::Prices { spans, currency: "EUR".into() });
    house.run_minutes(1);
    let view = PlanView::new(&house.planner, &house.gateway, house.now);
    let from: Vec<&str> = view.unpriced.iter().map(|span| &*span.start).collect();
    assert_eq!(from, ["2026-11-28T01:00:00.000Z"]);
}
