//! A home of twenty appliances over some days, with the real planner and the real database: nothing against its people, nothing over its
//! limit, and little for its SD card.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

use std::time::Duration;

use energy_model::Watts;
use heg::api::ApplianceView;
use heg::api::planning::RuleView;
use heg::config::Config;
use heg::plan::Span;
use heg::plan::slots::PriceSpan;
use heg::planner::Input;
use heg::simulate::{Findings, House, Known, SimulateError, repeated};
use heg::store::{JournalQuery, Retention, Store};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use utility_wire::{EventId, Limit, LimitSet, UnixTime};

const DAYS: i64 = 1;
const DAY: i64 = 86_400;
/// Bytes written a day that an SD card of the smallest sort bears for decades.
const WRITTEN_A_DAY_MAX: u64 = 5_000_000;

#[test]
fn twenty_appliances_save_money_keep_their_limit_and_their_comfort_and_spare_the_card() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("heg.toml");
    std::fs::write(&path, home()).unwrap();
    let config = Config::load(Some(&path)).unwrap();
    let start: Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
    let mut house = House::new(&config, TimeZone::UTC, start).unwrap();
    let retention = Retention { age: Duration::from_secs(90 * 86_400), entries: 20_000 };
    let mut store = Store::open(&dir.path().join("heg.db"), retention, start).unwrap().store;

    let before = written();
    for day in 0..DAYS {
        let midnight = start.as_second() + day * DAY;
        house.prices(prices(midnight), "EUR");
        // From 17:00 to 20:00 the grid is short.
        for (hour, watts) in [(0, None), (17, Some(6000)), (20, None)] {
            house.run_to(at(midnight + hour * 3600), |batch, now| store.write(batch, now).unwrap());
            let limits = Some(limits(midnight + hour * 3600, watts, day));
            house.feed(Input::Heard { next_within: Duration::from_secs(DAY as u64), limits });
        }
        house.run_to(at(midnight + DAY), |batch, now| store.write(batch, now).unwrap());
    }
    let a_day = (written() - before) / DAYS as u64;

    let figures = house.figures();
    println!("{figures:?}, {a_day} bytes written a day");
    let Findings { works, over_excused_s, .. } = figures.findings;
    assert_eq!(works, 4, "{figures:?}");
    assert_eq!(
        figures.findings,
        Findings { works, over_excused_s, ..Findings::default() },
        "{figures:?} {:?}",
        house.faults()
    );
    assert_eq!((figures.dropped, figures.refused, figures.switched_back), (0, 0, 0), "{figures:?}");
    assert!(figures.sums.saved() * 20 > figures.sums.at_once, "less than a twentieth was saved: {figures:?}");
    assert_eq!(house.days().len() as i64, DAYS, "what was used before midnight is of the day before");
    assert!(figures.switched_most <= 24, "{figures:?}");
    assert!(a_day < WRITTEN_A_DAY_MAX, "{a_day} bytes a day");
    let kept = store.journal(&JournalQuery { limit: 100_000, ..Default::default() }).unwrap();
    assert_eq!(kept.len() as u64, figures.entries, "every decision is in the database");
}

#[test]
fn what_was_just_begun_gives_way_when_a_hand_on_a_switch_exceeds_the_fuse() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("heg.toml");
    let text = "[plan]\nfuse-w = 5000\n[[rule]]\nkind = 'plan'\nplan = 'yes'\n\
                [[load]]\nudn = 'uuid:car'\nkind = 'Interruptible'\npower-w = 3000\nenergy-wh = 6000\n\
                every-day = { start = '00:30:00', end = '23:00:00' }\n\
                [[load]]\nudn = 'uuid:oven'\nkind = 'Curtailable'\npower-w = 3000\nimportance = 'High'\n\
                only = [{ start = '22:00:00', end = '23:00:00' }]\n";
    std::fs::write(&path, text).unwrap();
    let config = Config::load(Some(&path)).unwrap();
    let start: Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
    let mut house = House::new(&config, TimeZone::UTC, start).unwrap();
    let udn = |name: &str| house.machines().find(|udn| udn.bare() == name).unwrap().clone();
    let (car, oven) = (udn("car"), udn("oven"));
    house.prices(prices(start.as_second()), "EUR");
    let two = start.as_second() + 2 * 3600;
    house.run_to(at(two + 100), |_, _| ());
    assert!(house.is_on(&car), "two o'clock is the cheapest time");
    house.press(&oven, true);
    house.run_to(at(two + 240), |_, _| ());
    assert!(house.is_on(&oven) && !house.is_on(&car), "{:?}", house.figures());
    assert_eq!(house.figures().findings.over_limit_s, 0);
}

#[test]
fn what_a_hand_keeps_on_after_its_charge_is_done_leaves_less_of_the_fuse_to_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("heg.toml");
    let text = "[plan]\nfuse-w = 5000\n[[rule]]\nkind = 'plan'\nplan = 'yes'\n\
                [[load]]\nudn = 'uuid:car'\nkind = 'Interruptible'\npower-w = 3000\nenergy-wh = 1000\n\
                every-day = { start = '00:30:00', end = '23:00:00' }\n\
                [[load]]\nudn = 'uuid:boiler'\nkind = 'Interruptible'\npower-w = 3000\nenergy-wh = 3000\n\
                every-day = { start = '00:30:00', end = '07:00:00' }\n";
    std::fs::write(&path, text).unwrap();
    let config = Config::load(Some(&path)).unwrap();
    let start: Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
    let mut house = House::new(&config, TimeZone::UTC, start).unwrap();
    let car = house.machines().find(|udn| udn.bare() == "car").unwrap().clone();
    house.prices(prices(start.as_second()), "EUR");
    // Three o'clock, at which the boiler would run, is within the two hours for which a hand's word holds.
    let pressed = start.as_second() + 3600 + 3000;
    house.run_to(at(pressed), |_, _| ());
    house.press(&car, true);
    house.run_to(at(pressed + 6600), |_, _| ());
    assert!(house.is_on(&car), "the charge took twenty minutes, and it stays on");
    house.run_to(at(start.as_second() + 8 * 3600), |_, _| ());
    let findings = house.figures().findings;
    assert_eq!((findings.over_limit_s, findings.undone), (0, 0), "{:?}", house.faults());
}

#[test]
fn what_a_running_gateway_knows_is_simulated_as_if_it_stood_in_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("heg.toml");
    let start: Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
    let config = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path)).unwrap()
    };
    let appliance = |name: &str, facts: serde_json::Value, registrations: serde_json::Value| -> ApplianceView {
        let mut view = serde_json::json!({
            "udn": format!("uuid:{name}"), "name": name.to_uppercase(), "state": "ON", "since": "", "reachable": true, "subscribed": true,
            "known-by": "discovery", "maker": "", "model": "", "last-refusal": "", "registrations": registrations
        });
        view.as_object_mut().unwrap().extend(facts.as_object().unwrap().clone());
        serde_json::from_value(view).unwrap()
    };
    let rule = |id: &str, rule: serde_json::Value| -> RuleView {
        let view = serde_json::json!({"id": id, "name": null, "rule": rule, "words": "on", "holds": true, "by": "person:0", "made": null});
        serde_json::from_value(view).unwrap()
    };
    let night = serde_json::json!({
        "reg-id": 3, "kept-by": "gateway", "udn": "uuid:tv", "by": "appliance", "action": "NoStandbyPeriod", "start": "18:00:00",
        "stop": "20:00:00", "made": "2026-11-01T00:00:00Z", "due": null
    });
    let tv = serde_json::json!({"rated-power-w": 150, "importance": "Low", "flexibility": "StandbyAble", "minimum-on-s": 600});
    let appliances = [
        appliance("dishwasher", serde_json::json!({}), serde_json::json!([])),
        appliance("tv", tv.clone(), serde_json::json!([night])),
        appliance("nas", tv, serde_json::json!([])),
    ];
    let mut rules = vec![
        rule("c1", serde_json::json!({"kind": "plan", "plan": "yes"})),
        rule("7", serde_json::json!({"kind": "plan", "plan": "yes", "appliance": "uuid:dishwasher"})),
        rule("8", serde_json::json!({"kind": "plan", "plan": "yes", "appliance": "uuid:tv"})),
        rule("9", serde_json::json!({"kind": "on", "appliance": "uuid:tv", "until": "2026-12-01T00:00:00Z"})),
        rule("10", serde_json::json!({"kind": "price-max", "price": 0.35, "appliance": "uuid:tv"})),
    ];

    // Without its kind the dishwasher is no machine, and the configuration says nothing at all.
    let nothing = House::of(&config(""), Known::new(&appliances[..1], &rules), TimeZone::UTC, start).unwrap_err();
    let SimulateError::NoLoads(left_out) = nothing;
    let of = |left_out: &[(String, String)], what: &str| left_out.iter().find(|(n, _)| n == what).unwrap().1.clone();
    assert!(of(&left_out, "DISHWASHER").contains("hegctl rule add ID kind"), "{left_out:?}");

    let steps = serde_json::json!([{"minutes": 15, "watts": 2000}, {"minutes": 50, "watts": 150}]);
    let kind =
        |of: &str| serde_json::json!({"kind": "kind", "flexibility": "Deferrable", "appliance": of, "phases": steps});
    rules.push(rule("11", kind("uuid:dishwasher")));
    let idle = House::of(&config(""), Known::new(&appliances, &rules), TimeZone::UTC, start).unwrap();
    assert_eq!((idle.planned(), idle.idle().collect::<Vec<_>>()), (2, vec!["DISHWASHER"]));
    let window = serde_json::json!({"start": "08:00", "end": "23:00"});
    let daily = serde_json::json!({"kind": "every-day", "window": window, "appliance": "uuid:dishwasher"});
    rules.push(rule("12", daily));
    let mut house = House::of(&config(""), Known::new(&appliances, &rules), TimeZone::UTC, start).unwrap();
    assert_eq!((house.planned(), house.idle().count()), (2, 0));
    assert!(of(house.left_out(), "NAS").contains("may be planned"), "{:?}", house.left_out());
    assert!(of(house.left_out(), "rule 9: on").contains("a time of its own"), "{:?}", house.left_out());
    let tv = house.machines().find(|udn| udn.bare() == "tv").unwrap().clone();
    house.prices(prices(start.as_second()), "EUR");
    house.run_to(at(start.as_second() + 17 * 3600 + 1800), |_, _| ());
    assert!(!house.is_on(&tv), "17:00 is too dear");
    house.run_to(at(start.as_second() + 18 * 3600 + 1800), |_, _| ());
    assert_eq!(house.gateway().registrations().iter().count(), 1, "what it has registered is registered");
    house.run_to(at(start.as_second() + DAY), |_, _| ());
    let figures = house.figures();
    assert_eq!((figures.findings.works, figures.findings.undone), (1, 0), "{figures:?} {:?}", house.faults());
    assert!(figures.sums.saved() > 0, "{figures:?}");

    // A rule of kind `kind` in the configuration says the same, and one of the gateway goes before what it says.
    let text = "[[load]]\nudn = 'uuid:dishwasher'\nplan = 'yes'\n[[rule]]\nkind = 'kind'\nappliance = 'uuid:dishwasher'\n\
                flexibility = 'Deferrable'\nphases = [{ minutes = 60, watts = 1000 }]\n[[rule]]\nkind = 'every-day'\n\
                appliance = 'uuid:dishwasher'\nwindow = { start = '08:00', end = '23:00' }\n";
    for (known, wh) in [(Known::default(), 1000), (Known::new(&[], &rules), 625)] {
        let mut house = House::of(&config(text), known, TimeZone::UTC, start).unwrap();
        house.prices(prices(start.as_second()), "EUR");
        house.run_to(at(start.as_second() + DAY), |_, _| ());
        let Findings { works, undone, .. } = house.figures().findings;
        assert_eq!((works, undone, house.figures().sums.energy_ws / 3600), (1, 0, wh), "{:?}", house.faults());
    }
}

#[test]
fn what_rules_say_an_appliance_is_goes_for_the_simulated_machine_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("heg.toml");
    let text = "[[load]]\nudn = 'uuid:boiler'\nplan = 'yes'\n\
                [[rule]]\nkind = 'kind'\nappliance = 'uuid:boiler'\nflexibility = 'Interruptible'\n\
                [[rule]]\nkind = 'power'\nappliance = 'uuid:boiler'\nwatts = 2000\n\
                [[rule]]\nkind = 'every-day'\nappliance = 'uuid:boiler'\nwindow = { start = '00:30:00', end = '07:00:00' }\nenergy-wh = 4000\n\
                [[rule]]\nkind = 'kind'\nappliance = 'uuid:washer'\nflexibility = 'Deferrable'\nphases = [{ minutes = 60, watts = 1500 }]\n\
                [[rule]]\nkind = 'every-day'\nappliance = 'uuid:washer'\nwindow = { start = '08:00:00', end = '20:00:00' }\n\
                [[rule]]\nkind = 'plan'\nappliance = 'uuid:washer'\nplan = 'yes'\n\
                [[load]]\nudn = 'uuid:lamp'\n";
    std::fs::write(&path, text).unwrap();
    let config = Config::load(Some(&path)).unwrap();
    let start: Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
    let mut house = House::new(&config, TimeZone::UTC, start).unwrap();
    let left_out: Vec<_> = house.left_out().iter().map(|(udn, _)| udn.as_str()).collect();
    assert_eq!((house.machines().count(), left_out), (2, vec!["lamp"]));
    house.prices(prices(start.as_second()), "EUR");
    house.run_to(at(start.as_second() + DAY), |_, _| ());
    let figures = house.figures();
    assert_eq!((figures.findings, figures.switched), (Findings { works: 2, ..Findings::default() }, 3), "{figures:?}");
    assert_eq!(figures.sums.energy_ws, (4000 + 1500) * 3600);
}

/// Four machines with cycles, two that charge, fourteen that are on or off.
fn home() -> String {
    let mut text = "[plan]\nbase-w = 300\nfloor-w = 0\n[[rule]]\nkind = 'plan'\nplan = 'yes'\n".to_owned();
    for n in 0..4 {
        text += &format!(
            "[[load]]\nudn = 'uuid:washer-{n}'\nkind = 'Deferrable'\nphases = [{{ minutes = 30, watts = 2000 }}, \
             {{ minutes = 60, watts = 300 }}]\nevery-day = {{ start = '08:00:00', end = '23:00:00' }}\n"
        );
    }
    for n in 0..2 {
        text += &format!(
            "[[load]]\nudn = 'uuid:car-{n}'\nkind = 'Interruptible'\npower-w = 3000\nenergy-wh = 6000\n\
             every-day = {{ start = '18:00:00', end = '07:00:00' }}\n"
        );
    }
    for n in 0..14 {
        let extra = match n % 7 {
            0 => "importance = 'Critical'\n",
            1 => "keep-on = [{ start = '17:00:00', end = '21:00:00' }]\n",
            2 | 3 => "price-max = 0.35\nimportance = 'Low'\n",
            _ => "importance = 'Low'\n",
        };
        text += &format!("[[load]]\nudn = 'uuid:small-{n}'\nkind = 'StandbyAble'\npower-w = 150\nrest-w = 1\n{extra}");
    }
    text
}

fn prices(midnight: i64) -> Vec<PriceSpan> {
    let cents = [20, 18, 12, 10, 14, 20, 28, 32, 30, 24, 18, 14, 12, 14, 18, 24, 30, 38, 42, 40, 34, 28, 26, 22]
        .iter()
        .zip(0..);
    let day: Vec<PriceSpan> = cents
        .map(|(cents, hour)| PriceSpan {
            span: Span { start: hour * 3600, end: hour * 3600 + 3600 },
            price: cents * 10_000,
        })
        .collect();
    repeated(&day, midnight, midnight + 2 * DAY)
}

fn limits(start: i64, watts: Option<u32>, day: i64) -> LimitSet {
    let limit = |watts| Limit {
        id: EventId::new(1 + day as u64).unwrap(),
        supersedes: None,
        start: UnixTime::new(start as u64),
        duration_s: Some(3 * 3600),
        watts: Watts::new(watts),
        priority: 0,
        randomise_s: 0,
        cancelled: false,
    };
    let limits: Vec<Limit> = watts.map(limit).into_iter().collect();
    LimitSet { target: None, version: 1, limits: limits.try_into().unwrap() }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Bytes this process has handed to the kernel by write(2) and the like.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}
