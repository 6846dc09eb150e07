//! What people order of an appliance, and when that counts as done.

use std::time::Duration;

use energy_model::PowerState::{Off, On, Standby};
use heg::commands::{CallFailure, Outcome, Verb};
use heg::gateway::{Answer, Order};
use heg::journal::{Cause, Ending};

use crate::home::{Home, PATIENCE, no_answer, obeyed};

#[test]
fn a_command_is_done_when_the_appliance_says_so_itself() {
    let mut home = Home::with_tv(On);
    let ask = home.person("tv", Verb::Off);
    home.answer(Order::OperationOff, obeyed());
    assert_eq!(home.reply(ask), None, "obeyed is not yet done");
    home.tell("tv", Off);
    assert_eq!(home.outcome(ask), Outcome::new(Ending::Done, ""), "without a RegID: nothing was registered");
    let entry = home.journal.last().unwrap();
    assert_eq!((&*entry.action, entry.cause, entry.ending), ("OperationOff", Cause::Person(1000), Ending::Done));
}

#[test]
fn a_command_without_an_answer_is_sent_again_with_growing_pauses_until_its_deadline() {
    let mut home = Home::with_tv(On);
    let ask = home.person("tv", Verb::Off);
    let started = home.now.boot;
    let mut sent_at = vec![];
    while home.reply(ask).is_none() {
        if !home.calls.is_empty() {
            sent_at.push(home.now.boot.since(started).as_secs());
            home.answer(Order::OperationOff, Err(no_answer()));
        }
        home.step();
    }
    assert_eq!(sent_at, [0, 1, 3, 7, 15]);
    let outcome = home.outcome(ask);
    assert_eq!(outcome.ending, Ending::Unreachable);
    assert_eq!(outcome.reason, "no answer to 5 attempts: connection refused");
    assert_eq!(home.now.boot.since(started), PATIENCE.command);
}

#[test]
fn a_fault_is_an_answer_and_is_never_sent_again() {
    let mut home = Home::with_tv(On);
    for (code, ending) in [(801, Ending::Refused), (501, Ending::Failed), (612, Ending::Failed)] {
        let ask = home.person("tv", Verb::Off);
        home.answer(Order::OperationOff, Err(CallFailure::Fault { code, reason: "a film is on".into() }));
        let outcome = home.outcome(ask);
        assert_eq!((outcome.ending, outcome.code), (ending, Some(code)));
        assert!(outcome.reason.ends_with("a film is on"), "{}", outcome.reason);
        home.sleep(Duration::from_secs(60));
        assert!(home.orders().is_empty(), "{code}");
    }
}

#[test]
fn a_lost_event_is_healed_by_asking_for_the_state() {
    let mut home = Home::with_tv(On);
    let ask = home.person("tv", Verb::Off);
    home.answer(Order::OperationOff, obeyed());
    home.sleep(Duration::from_secs(5));
    home.answer(Order::GetPowerState, Ok(Answer::PowerState(Off)));
    assert_eq!(home.outcome(ask).ending, Ending::Done);
}

#[test]
fn a_command_obeyed_but_not_carried_out_is_sent_again_and_at_last_times_out() {
    let mut home = Home::with_tv(On);
    let ask = home.person("tv", Verb::Off);
    let mut sent = 0;
    while home.reply(ask).is_none() {
        match home.calls.first().map(|(_, _, order)| *order) {
            Some(Order::OperationOff) => {
                sent += 1;
                home.answer(Order::OperationOff, obeyed());
            }
            Some(Order::GetPowerState) => home.answer(Order::GetPowerState, Ok(Answer::PowerState(On))),
            _ => home.step(),
        }
    }
    assert!(sent > 1);
    assert_eq!(home.outcome(ask).ending, Ending::TimedOut);
}

#[test]
fn standby_is_done_by_the_event_though_sleep_swallows_the_reply() {
    let mut home = Home::with_tv(On);
    let ask = home.person("tv", Verb::Standby);
    home.tell("tv", Standby);
    assert_eq!(home.outcome(ask).ending, Ending::Done);
    home.answer(Order::GoToStandby, Err(no_answer()));
    home.sleep(Duration::from_secs(60));
    assert!(home.orders().is_empty());
    let again = home.person("tv", Verb::Standby);
    assert_eq!(home.outcome(again).ending, Ending::Already);
}

#[test]
fn two_who_want_the_same_wait_for_one_command_and_a_contrary_order_replaces_it() {
    let mut home = Home::with_tv(On);
    let first = home.person("tv", Verb::Off);
    let second = home.person("tv", Verb::Off);
    assert_eq!(home.orders(), [Order::OperationOff]);
    let third = home.person("tv", Verb::On);
    assert_eq!((home.outcome(first).ending, home.outcome(second).ending), (Ending::Superseded, Ending::Superseded));
    home.answer(Order::OperationOn, obeyed());
    assert_eq!(home.outcome(third).ending, Ending::Done);
}

#[test]
fn a_command_for_a_sleeper_other_than_on_says_to_wake_it_first() {
    let mut home = Home::asleep();
    let ask = home.person("tv", Verb::Off);
    let outcome = home.outcome(ask);
    assert_eq!((outcome.ending, &*outcome.reason), (Ending::Unreachable, "it is asleep (Standby); wake it first"));
}
