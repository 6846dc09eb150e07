use std::time::Duration;

use energy_model::Watts;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use utility_wire::{EventId, Limit, LimitSet, UnixTime};

use super::*;
use crate::commands::Verb;
use crate::config::Config;
use crate::device::{Identity, root_device};
use crate::gateway::{Answer, CallTag, Order, Restored};
use crate::registry::{Found, Offers};

const ID: &str = "2fac1234-31f8-41b4-a222-0800cafe0001";
const TABLE: &str =
    "[tariff]\ncurrency = 'EUR'\nprice = 0.2\n[[tariff.period]]\nfrom = '17:00'\nto = '20:00'\nprice = 0.4\n";

fn start() -> Now {
    Now { boot: BootTime::from_duration(Duration::from_secs(1000)), wall: "2026-11-27T12:10:00Z".parse().unwrap() }
}

fn home(config: &str, now: Now) -> Home {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("heg.toml");
    std::fs::write(&path, config).unwrap();
    let config = Config::load(Some(&path)).unwrap();
    let udn = Udn::parse(&format!("uuid:{ID}")).unwrap();
    let identity = Identity { udn, friendly_name: "home".into(), server: "test".into(), boot_id: 1 };
    Home::new(
        Gateway::new(config.settings(TimeZone::UTC), Restored::default(), now),
        Appliances::new(&config, ID.parse().unwrap(), "test".into(), 4004, 1, now.boot),
        root_device(&config, identity, 4004, 2, now.boot),
        Utility::new(ID, config.utility_settings(), vec![], 3, now),
        Planner::new(ID, config.planning(TimeZone::UTC), vec![], now),
        Duration::from_secs(300),
        now,
    )
    .with_prices(HomePrices::new(config.tariff.settings(TimeZone::UTC), None, now))
}

/// Lets time pass; what is to be written is written at once.
fn pass(home: &mut Home, now: &mut Now, length: Duration) {
    let end = now.boot + length;
    for _ in 0..100_000 {
        let batch = loop {
            match home.poll_effect() {
                Some(Effect::Write(batch)) => break Some(batch),
                Some(_) => {}
                None => break None,
            }
        };
        if batch.is_some() {
            home.written(Ok(()), *now);
            continue;
        }
        if now.boot == end {
            return;
        }
        let next = home.poll_timeout().unwrap_or(end).min(end).max(now.boot);
        now.wall += next.since(now.boot);
        now.boot = next;
        home.handle_timeout(*now);
    }
    panic!("time does not pass");
}

#[test]
fn a_time_of_use_table_alone_goes_on_after_days_and_under_another_clock() {
    let mut now = start();
    let mut home = home(TABLE, now);
    let price = |home: &Home, wall: Timestamp| home.planner().price(wall.as_second());
    assert_eq!(price(&home, now.wall), Some(200_000));
    pass(&mut home, &mut now, Duration::from_secs(72 * 3600));
    assert_eq!(price(&home, now.wall), Some(200_000));
    let evening: Timestamp = "2026-12-01T18:00:00Z".parse().unwrap();
    assert_eq!(price(&home, evening), Some(400_000), "it is known ahead as well");
    for year in ["2027", "2025"] {
        now.wall = format!("{year}-11-30T12:10:00Z").parse().unwrap();
        home.handle(Input::ClockChanged, now);
        pass(&mut home, &mut now, Duration::from_secs(1));
        assert_eq!(price(&home, now.wall), Some(200_000), "{year}");
    }
}

/// The next call of that sort.
fn call(home: &mut Home, wanted: Order) -> Option<CallTag> {
    while let Some(effect) = home.minds.poll_effect() {
        match effect {
            minds::Effect::Call { call, order, .. } if order == wanted => return Some(call),
            _ => {}
        }
    }
    None
}

#[test]
fn that_something_goes_on_again_is_on_the_disk_before_it_is_ordered_off() {
    let mut now = start();
    let mut home = home(
        "[[load]]\nudn = 'uuid:boiler'\nplan = 'limits'\nkind = 'Curtailable'\npower-w = 3000\n[plan]\nfloor-w = 0\n",
        now,
    );
    let udn = Udn::parse("uuid:boiler").unwrap();
    let offers = Offers { power_management: true, appliance_info: false };
    let (name, maker, model) = ("boiler".into(), "Maker".into(), "Model".into());
    let found = Found { udn: udn.clone(), name, maker, model, address: [192, 0, 2, 7].into(), offers };
    home.handle(Input::Found(found), now);
    let asked = call(&mut home, Order::GetPowerState).unwrap();
    let on = Ok(Answer::PowerState(energy_model::PowerState::On));
    home.handle(Input::Answered { call: asked, result: on }, now);
    let limit = Limit {
        id: EventId::new(7).unwrap(),
        supersedes: None,
        start: UnixTime::new(u64::try_from(now.wall.as_second()).unwrap()),
        duration_s: None,
        watts: Watts::new(1000),
        priority: 0,
        randomise_s: 0,
        cancelled: false,
    };
    let limits = Some(LimitSet { target: None, version: 1, limits: vec![limit].try_into().unwrap() });
    home.handle_planner(planner::Input::Heard { next_within: Duration::from_secs(86_400), limits }, now);
    let paused = planner::Slot::Paused(udn);
    let mut written = None;
    for _ in 0..1000 {
        now.boot = now.boot + Duration::from_millis(100);
        now.wall += Duration::from_millis(100);
        home.handle_timeout(now);
        while let Some(effect) = home.poll_effect() {
            if let Effect::Write(batch) = effect {
                written = batch.planner.get(&paused).cloned();
            }
        }
        assert!(home.gateway().commands().iter().next().is_none(), "ordered before it is written");
        if written.is_some() {
            break;
        }
        if home.minds.pending.is_in_flight() {
            home.written(Ok(()), now);
        }
    }
    assert_eq!(written, Some(Some("ordered".to_owned())));
    // A disk that is full does not keep a limit from being kept.
    home.written(Err((Box::default(), "the disk is full".into())), now);
    assert_eq!(home.gateway().commands().iter().map(|c| c.verb).collect::<Vec<_>>(), [Verb::Off]);
}
