//! Directed scenes, and a day of a large house.

use core::time::Duration;
use std::time::Instant;

use energy_model::PowerState;
use heg::commands::Verb;
use heg::journal::Ending;
use psm_agent::config::Config;
use testkit::network::Faults;

use crate::appliance::{Body, Leaving, Machine};
use crate::house::{House, calendar};

const MINUTE: Duration = Duration::from_secs(60);

fn house(seed: u64, appliances: u8, at: &str, each: impl Fn(u8, &mut Config)) -> House {
    let calendar = calendar(at, "CET-1CEST,M3.5.0,M10.5.0/3");
    let machine = |n: u8| {
        let mut config = Config::default();
        each(n, &mut config);
        Machine::new(&format!("Appliance {n}"), n, config, calendar.clone(), seed)
    };
    let machines = (1..=appliances).map(machine).collect();
    let mut house = House::new(seed, machines, calendar.clone(), heg::config::Config::default());
    house.settle(2 * MINUTE);
    house.check(true);
    house
}

#[test]
fn an_appliance_whose_last_event_is_lost_becomes_unknown_and_is_known_again_when_it_wakes() {
    let mut house = house(1, 2, "2026-01-05T10:00:00Z", |_, _| {});
    assert_eq!(house.believed(0), Some(PowerState::On));
    house.set_cable(0, false);
    house.leave(0, Leaving::ToSleep);
    house.pass(10 * Duration::from_secs(1));
    assert_eq!(house.machine(0).body, Body::Asleep, "a dead network does not keep it awake");
    assert_eq!(house.believed(0), Some(PowerState::On), "nobody can know yet");
    house.settle(30 * MINUTE);
    assert_eq!(house.believed(0), None, "silence after ON is Unknown, not OFF");
    house.check(true);
    let ask = house.command(0, Verb::On);
    house.settle(MINUTE);
    assert_eq!(house.outcome(ask).unwrap().ending, Ending::Done, "woken all the same");
    house.check(true);
}

#[test]
fn a_gateway_that_restarts_while_an_appliance_sleeps_still_knows_it_and_wakes_it() {
    let mut house = house(2, 3, "2026-01-05T10:00:00Z", |_, _| {});
    house.command(1, Verb::Standby);
    house.settle(MINUTE);
    house.check(true);
    assert_eq!(house.believed(1), Some(PowerState::Standby));
    for gently in [true, false] {
        house.restart_gateway(gently, 20 * Duration::from_secs(1));
        assert_eq!(house.believed(1), Some(PowerState::Standby), "remembered, though nobody can ask it");
        house.settle(5 * MINUTE);
        house.check(true);
        assert_eq!(house.machine(1).body, Body::Asleep, "nobody woke it by asking");
    }
    let ask = house.command(1, Verb::Wake);
    house.settle(MINUTE);
    assert_eq!(house.outcome(ask).unwrap().ending, Ending::Done);
    assert_eq!(house.believed(1), Some(PowerState::On));
    house.check(true);
}

#[test]
fn a_reply_of_logind_that_is_read_only_after_the_sleep_is_not_waited_on() {
    let mut house = house(5, 1, "2026-01-05T10:00:00Z", |_, _| {});
    house.with(0, |a, _| a.machine.signal_first = Some(true));
    house.command(0, Verb::Standby);
    house.settle(MINUTE);
    assert_eq!(house.machine(0).body, Body::Asleep);
    house.rouse(0);
    house.pass(Duration::from_secs(1));
    house.with(0, |a, now| a.switch_by_hand(false, now));
    let ask = house.command(0, Verb::On);
    house.settle(MINUTE);
    assert_eq!(house.outcome(ask).unwrap().ending, Ending::Done, "it is not going to sleep any more");
    assert!(house.status(0).unwrap().refusals.is_empty());
}

#[test]
fn events_that_come_late_twice_and_out_of_order_leave_the_last_state_standing() {
    let mut house = house(3, 2, "2026-01-05T10:00:00Z", |_, _| {});
    let delay = (Duration::from_millis(1), Duration::from_millis(1500));
    house.set_faults(Some(Faults { duplication: 0.9, delay, reply_loss: 0.4, ..Faults::default() }));
    for round in 0..40 {
        house.with(0, |a, now| a.switch_by_hand(round % 2 == 0, now));
        house.with(1, |a, now| a.switch_by_hand(round % 3 == 0, now));
        let pause = Duration::from_millis(house.rng.u64(10..4000));
        house.pass(pause);
    }
    house.settle(15 * MINUTE);
    house.check(false);
    assert_eq!(house.believed(0), Some(PowerState::Off));
    assert_eq!(house.believed(1), Some(PowerState::On));
}

#[test]
fn twenty_appliances_live_a_day_of_23_hours_by_their_wake_up_times_and_quiet_windows() {
    let begun = Instant::now();
    let mut house = house(4, 20, "2026-03-28T18:00:00Z", |n, config| {
        let minute = 10 * (u32::from(n) % 6);
        config.schedule.wake_up_time = vec![format!("06:{minute:02}:00").parse().unwrap()];
        config.schedule.no_standby_period = vec!["07:00:00-09:00:00".parse().unwrap()];
    });
    // In the evening all are sent to bed.
    for n in 0..house.len() {
        house.command(n, Verb::Standby);
    }
    house.settle(MINUTE);
    house.check(true);
    assert!((0..20).all(|n| house.machine(n).body == Body::Asleep));
    // Clocks go forward at 02:00; all are up by seven.
    house.run_until(house.now() + 12 * 60 * MINUTE, |h| h.time().hour() == 7);
    assert_eq!(house.wakes_checked, 20, "each was woken at its own time");
    house.settle(MINUTE);
    house.check(true);
    assert!((0..20).all(|n| house.machine(n).body == Body::Awake));
    // Nobody sends them back before nine.
    let asks: Vec<_> = (0..house.len()).map(|n| house.command(n, Verb::Standby)).collect();
    house.settle(MINUTE);
    assert!(asks.iter().all(|ask| house.outcome(*ask).unwrap().ending == Ending::Declined));
    house.check(true);
    house.run_until(house.now() + 24 * 60 * MINUTE, |h| h.time().hour() == 19);
    house.settle(MINUTE);
    house.check(true);
    let passed = house.now().since_boot();
    assert!((23 * 3600..25 * 3600).contains(&passed.as_secs()), "{passed:?}");
    eprintln!("a day of 20 appliances took {:?}", begun.elapsed());
}
