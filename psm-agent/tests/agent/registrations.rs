//! Registrations and StandbyPeriods: on the disk before they are told, taken back where it is full, withdrawn, kept.

use std::time::Duration;

use psm_agent::agent::Effect;
use psm_agent::safety::Order;
use psm_agent::state::{Observation, Operation};

use crate::fixture::{Fixture, GATEWAY, NOON, OTHER, quiet};

#[test]
fn a_period_that_joined_a_suspend_which_fails_tries_again() {
    let mut f = Fixture::new("");
    f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "12:01:00"), ("StopTime", "14:00:00")]);
    f.pass(Duration::from_secs(58));
    f.call(OTHER, "GoToStandby", &[]);
    let (id, _) = f.gathered();
    f.circumstances(id, quiet());
    f.pass(Duration::from_secs(3));
    assert!(!f.has(|e| matches!(e, Effect::Gather(..))), "it is under way already");
    f.agent.handle_suspended(id, Err("a driver refuses".into()), f.now);
    f.pass(Duration::from_secs(600));
    assert_eq!(f.gathered().1, Order::Standby);
}

#[test]
fn a_standby_period_is_on_disk_before_its_number_is_told_and_begins_by_itself() {
    let mut f = Fixture::new("");
    let number = f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "13:00:00"), ("StopTime", "14:00:00")]);
    assert!(matches!(f.seen.first(), Some(Effect::Store)));
    let reg_id = f.reg_id(number, "StandbyPeriod");
    f.pass(Duration::from_secs(3601));
    let (id, order) = f.gathered();
    assert_eq!(order, Order::Standby);
    f.circumstances(id, quiet());
    assert!(f.has(|e| matches!(e, Effect::Suspend(_))));
    f.fact(Observation::SleepBegins);
    let alarm = f.seen.iter().find_map(|e| if let Effect::SetAlarm(ahead) = e { Some(ahead.as_secs()) } else { None });
    assert!(matches!(alarm, Some(3590..=3600)), "the alarm rings at StopTime: {alarm:?}");
    let cause = f.agent.status().events.last().unwrap().cause.clone();
    assert_eq!(cause, format!("StandbyPeriod {reg_id}, seen by logind"));
}

#[test]
fn on_a_full_disk_a_standby_period_is_answered_with_why_and_taken_back() {
    let mut f = Fixture::new("");
    let period = [("StartTime", "13:00:00"), ("StopTime", "14:00:00")];
    f.disk_full = true;
    let number = f.call(GATEWAY, "StandbyPeriod", &period);
    let reason = "not registered: the state cannot be written: no space left on device";
    assert_eq!(f.refusal(number, "StandbyPeriod"), (501, reason.into()));
    let status = f.agent.status();
    assert!(status.registrations.is_empty() && f.agent.saved().registrations.is_empty());
    let last = status.refusals.last().unwrap();
    assert_eq!((last.action.as_str(), last.reason.as_str()), ("StandbyPeriod", reason));
    f.pass(Duration::from_secs(3700));
    assert!(!f.has(|e| matches!(e, Effect::Gather(..))), "it does not begin either");
    f.disk_full = false;
    let number = f.call(GATEWAY, "StandbyPeriod", &period);
    f.reg_id(number, "StandbyPeriod");
    assert_eq!(f.agent.saved().registrations.len(), 1);
}

#[test]
fn on_a_full_disk_a_period_that_is_on_does_not_send_the_machine_to_sleep() {
    let mut f = Fixture::new("");
    f.disk_full = true;
    let number = f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "11:00:00"), ("StopTime", "14:00:00")]);
    assert_eq!(f.refusal(number, "StandbyPeriod").0, 501);
    let (id, _) = f.gathered();
    f.circumstances(id, quiet());
    assert!(!f.has(|e| matches!(e, Effect::Suspend(_))));
}

#[test]
fn on_a_full_disk_a_number_that_is_not_covered_is_never_told_and_known_callers_are_served() {
    let mut f = Fixture::new("");
    f.disk_full = true;
    for _ in 0..2 {
        let number = f.call(GATEWAY, "GetPowerState", &[]);
        assert_eq!(f.refusal(number, "GetPowerState").0, 501);
    }
    let number = f.call(GATEWAY, "GoToStandby", &[]);
    let (id, _) = f.gathered();
    f.circumstances(id, quiet());
    assert_eq!(f.refusal(number, "GoToStandby").0, 501);
    assert!(!f.has(|e| matches!(e, Effect::Suspend(_))), "what is answered as failed is not done");
    f.disk_full = false;
    let number = f.call(GATEWAY, "GetPowerState", &[]);
    let known = f.reg_id(number, "GetPowerState");
    f.disk_full = true;
    let number = f.call(GATEWAY, "GetPowerState", &[]);
    assert_eq!(f.reg_id(number, "GetPowerState"), known);
}

#[test]
fn on_a_full_disk_a_withdrawal_fails_and_the_period_stays() {
    let mut f = Fixture::new("");
    let number = f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "13:00:00"), ("StopTime", "14:00:00")]);
    let reg_id = f.reg_id(number, "StandbyPeriod");
    f.disk_full = true;
    let number = f.call(GATEWAY, "Withdraw", &[("RegID", &reg_id)]);
    assert_eq!(f.refusal(number, "Withdraw").0, 501);
    assert_eq!(f.agent.saved().registrations.len(), 1);
    f.disk_full = false;
    let number = f.call(GATEWAY, "Withdraw", &[("RegID", &reg_id)]);
    assert_eq!(f.answer(number, "Withdraw").unwrap().unwrap(), []);
}

#[test]
fn a_standby_period_without_length_is_a_wrong_value() {
    let mut f = Fixture::new("");
    let number = f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "13:00:00"), ("StopTime", "13:00:00")]);
    assert_eq!(f.refusal(number, "StandbyPeriod").0, 600);
}

#[test]
fn withdraw_of_an_unknown_or_foreign_number_is_an_error_and_never_a_silent_success() {
    let mut f = Fixture::new("");
    let number = f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "13:00:00"), ("StopTime", "14:00:00")]);
    let reg_id = f.reg_id(number, "StandbyPeriod");
    for (caller, reg_id, code) in [(OTHER, reg_id.as_str(), 821), (GATEWAY, "4000000000", 820)] {
        let number = f.call(caller, "Withdraw", &[("RegID", reg_id)]);
        assert_eq!(f.refusal(number, "Withdraw").0, code);
    }
    let number = f.call(GATEWAY, "Withdraw", &[("RegID", &reg_id)]);
    assert_eq!(f.answer(number, "Withdraw").unwrap().unwrap(), []);
    let number = f.call(GATEWAY, "Withdraw", &[("RegID", &reg_id)]);
    assert_eq!(f.refusal(number, "Withdraw").0, 820);
}

#[test]
fn registrations_survive_a_restart_with_their_numbers() {
    let mut f = Fixture::new("");
    let number = f.call(GATEWAY, "StandbyPeriod", &[("StartTime", "22:00:00"), ("StopTime", "06:00:00")]);
    let reg_id = f.reg_id(number, "StandbyPeriod");
    let mut again = Fixture::with("", f.agent.saved(), Operation::Off, NOON);
    let number = again.call(GATEWAY, "GetPowerState", &[]);
    assert_ne!(again.reg_id(number, "GetPowerState"), reg_id);
    let number = again.call(GATEWAY, "Withdraw", &[("RegID", &reg_id)]);
    assert!(again.answer(number, "Withdraw").unwrap().is_ok());
}
