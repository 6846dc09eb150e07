//! When the utility is asked, and what happens when it calls itself or is another one.

use std::collections::BTreeMap;
use std::time::Duration;

use energy_model::PowerState;
use heg::gateway::Order;
use heg::limits::REPORT_QUEUE_BYTES_MAX;
use heg::utility::{Allowed, Failure, Input, Link, Slot};
use upnp::time::BootTime;
use utility_wire::{OutcomeKind, Versions};

use crate::house::{CommandExt, House, T0, id, kinds, limits, now, udn};

#[test]
fn homes_that_start_together_do_not_call_together_and_whoever_enrols_does_not_wait() {
    let mut firsts = vec![];
    for seed in 0..200 {
        let mut house = House::start(BTreeMap::new(), seed, Allowed::None, now());
        house.link(T0);
        assert_eq!(house.polls.len(), 1, "a person waits for it");
        let mut house = house.restart_with(seed, 5);
        assert!(house.polls.is_empty() || house.now.boot == BootTime::ZERO);
        let start = house.now.boot;
        house.until_poll();
        firsts.push(house.now.boot.since(start).as_secs());
    }
    firsts.sort_unstable();
    assert!(firsts[20] < 20 && firsts[100] > 40 && firsts[100] < 80 && firsts[199] <= 120, "{firsts:?}");
}

#[test]
fn the_next_poll_comes_when_the_utility_said_and_after_a_refusal_not_before_it_said() {
    let mut house = House::with_tv(Allowed::None);
    let mut command = house.command();
    command.poll_after_s = 300;
    house.answer_poll(command);
    assert_eq!(house.wait_for_poll(), 300);
    house.fail_poll(Failure::Busy { after_s: 90 });
    let waited = house.wait_for_poll();
    assert!((90..=113).contains(&waited), "{waited}");
    // A utility that answers at once and has nothing to say is not asked more than once a second.
    house.polls.clear();
    for _ in 0..10 {
        house.answer_poll(house.command());
        house.pass(1);
    }
    assert!(house.polls.len() <= 11, "{}", house.polls.len());
}

#[test]
fn an_outage_of_days_ends_without_a_burst_and_nothing_measured_is_lost() {
    let mut house = House::with_tv(Allowed::None);
    house.until_report();
    house.answer_reports(300);
    house.power(400);
    house.fail_poll(Failure::NoAnswer("connection refused".into()));
    // Three days, every attempt fails.
    let (mut polls, mut reports) = (0, 0);
    for _ in 0..3 * 24 * 60 {
        house.pass(60);
        polls += house.polls.len();
        reports += house.reports.len();
        house.fail_all("connection refused");
    }
    assert!(polls < 2000 && reports < 2000, "{polls} polls, {reports} reports");
    let (waiting, since) = house.utility.unacknowledged();
    assert!((1..=8).contains(&waiting), "{waiting}");
    assert!(since.unwrap().seconds() < T0 + 1200);
    let bytes: usize = house.disk.iter().filter(|(slot, _)| matches!(slot, Slot::Batch(_))).map(|(_, v)| v.len()).sum();
    assert!(bytes < REPORT_QUEUE_BYTES_MAX);
    assert!(house.utility.is_lost());
    assert_eq!(house.journal.iter().filter(|e| &*e.action == "utility lost").count(), 1);

    // It is back: batch after batch, apart from one another, until all are told.
    let mut told = vec![];
    let mut at = vec![];
    for _ in 0..4000 {
        house.pass(1);
        if let Some(n) = house.polls.pop() {
            drop(n);
            let mut command = house.command();
            command.poll_after_s = 60;
            house.answer_poll(command);
        }
        if !house.reports.is_empty() {
            at.push(house.now.boot);
            told.extend(house.answer_reports(300));
        }
    }
    assert!(at.windows(2).all(|w| w[1].since(w[0]) >= Duration::from_secs(5)), "no burst");
    assert_eq!(house.utility.unacknowledged().0, 0);
    assert_eq!(house.journal.iter().filter(|e| &*e.action == "utility heard again").count(), 1);
    let quarters: usize = told.iter().flat_map(|r| r.consumption.iter()).map(|run| run.energy.len()).sum();
    assert!((3 * 96..=3 * 96 + 5).contains(&quarters), "{quarters}");
    let energies: Vec<_> = told.iter().flat_map(|r| r.consumption.iter()).flat_map(|run| run.energy.iter()).collect();
    assert!(energies.iter().skip(1).all(|e| e.count() == 100), "400 W are 100 Wh in a quarter");
}

#[test]
fn a_utility_that_calls_gets_the_poll_and_its_answer_is_acted_on_like_any() {
    let mut house = House::with_tv(Allowed::All);
    house.fail_poll(Failure::NoAnswer("behind a wall".into()));
    let poll = house.utility.called(house.now).unwrap();
    assert_eq!(poll.have, Versions { prices: 0, limits: 0, policy: 1 });
    let command = house.command().with_control(7, PowerState::Off, 600);
    house.feed(Input::Commanded(command.clone()));
    house.carried_out(Order::OperationOff, PowerState::Off);
    let poll = house.utility.called(house.now).unwrap();
    assert_eq!(kinds(&poll), [(7, OutcomeKind::Done)]);
    house.feed(Input::Commanded(house.command()));
    assert!(kinds(&house.utility.called(house.now).unwrap()).is_empty());
    house.feed(Input::Commanded(command));
    assert!(house.orders().is_empty(), "known by its number");
}

#[test]
fn enrolled_anew_the_gateway_waits_for_the_name_of_its_utility_and_wastes_no_turn() {
    let mut house = House::with_tv(Allowed::All);
    let mut command = house.command();
    command.limits = Some(limits(5, &[(11, 0, None, 4200)]));
    house.answer_poll(command);
    let nameless = Link { peer: None, hindrance: Some("not named yet".into()), ..house.ready(T0 + 10) };
    house.feed(Input::Link(nameless));
    for _ in 0..100 {
        house.step(Duration::from_secs(3600));
    }
    assert!(house.now.boot.since(now().boot) > Duration::from_secs(3600), "it did not spin");
    // The same utility: what it said holds still.
    house.link(T0 + 8000);
    assert!(house.utility.limit_in_force(house.now).is_some());
}

#[test]
fn with_another_utility_nothing_of_the_old_one_holds() {
    let mut house = House::with_tv(Allowed::All);
    let mut command = house.command();
    command.limits = Some(limits(5, &[(11, 0, None, 4200)]));
    house.answer_poll(command);
    house.keeps(Some(11), 0);
    assert!(house.utility.limit_in_force(house.now).is_some());
    let other = Link { peer: Some("2fac1234-31f8-41b4-a222-0800deadbeef".into()), ..house.ready(T0 + 10) };
    house.feed(Input::Link(other));
    assert!(house.utility.limit_in_force(house.now).is_none());
    assert!(!house.disk.contains_key(&Slot::Limits) && !house.disk.contains_key(&Slot::Event(id(11))));
    // Its limits are numbered anew: that 11 held here is not said of the new 11.
    house.until_poll();
    let mut command = house.command();
    command.limits = Some(limits(1, &[(11, 7200, None, 4200)]));
    command.current.limits = 1;
    house.answer_poll(command);
    house.until_poll();
    assert_eq!(kinds(house.polls.last().unwrap()), [(11, OutcomeKind::Received)]);
    assert!(house.utility.consent().allows(&udn("tv")), "consent is the home's");
}
