//! Controls: written down, decided on, carried out, and their ends told.

use std::time::Duration;

use energy_model::{DailyWindow, PowerState};
use heg::commands::CallFailure;
use heg::gateway::{self, AskId, Order};
use heg::journal::{Cause, Ending};
use heg::limits::EVENTS_OPEN_MAX;
use heg::utility::{Allowed, Failure, Input, Slot};
use utility_wire::{Control, List, OutcomeKind, RefusalCode};

use crate::house::{CommandExt, House, T0, id, kinds, udn};

#[test]
fn a_control_is_written_down_then_carried_out_and_its_end_is_told_until_a_poll_with_it_was_answered() {
    let mut house = House::with_tv(Allowed::All);
    house.hold_disk = true;
    house.answer_poll(house.command().with_control(7, PowerState::Off, 600));
    assert!(house.calls.is_empty() && house.polls.is_empty(), "nothing before it is on the disk");
    house.disk_answers();
    assert!(house.calls.is_empty(), "nor before the disk says that it is about to be ordered");
    house.disk_answers();
    assert_eq!(house.orders(), [Order::OperationOff]);
    // The next poll says that it is here.
    house.pass(1);
    assert_eq!(kinds(&house.polls[0]), [(7, OutcomeKind::Received)]);
    house.hold_disk = false;
    house.carried_out(Order::OperationOff, PowerState::Off);
    // Nobody waits for the end of a long poll: another takes its place.
    house.pass(2);
    assert_eq!(kinds(house.polls.last().unwrap()), [(7, OutcomeKind::Done)]);
    // The answer is lost: the same is told again, and the same control again changes nothing.
    house.fail_poll(Failure::NoAnswer("connection reset".into()));
    house.until_poll();
    assert_eq!(kinds(house.polls.last().unwrap()), [(7, OutcomeKind::Done)]);
    house.answer_poll(house.command().with_control(7, PowerState::Off, 600));
    house.until_poll();
    assert!(kinds(house.polls.last().unwrap()).is_empty());
    assert!(house.orders().is_empty(), "an order known by its number is not carried out twice");
    let done = house.journal.iter().find(|e| &*e.action == "OperationOff").unwrap();
    assert_eq!((done.cause, done.ending), (Cause::Utility(id(7)), Ending::Done));
}

#[test]
fn an_outcome_right_after_a_poll_has_begun_does_not_wait_for_something_else_to_happen() {
    let mut house = House::with_tv(Allowed::All);
    house.answer_poll(house.command().with_control(7, PowerState::Standby, 600));
    house.until_poll();
    house.answer(Order::GoToStandby, Err(CallFailure::Fault { code: 802, reason: "a film is on".into() }));
    if house.polls.last().is_none_or(|poll| kinds(poll).iter().all(|(_, kind)| *kind == OutcomeKind::Received)) {
        let wait = house.utility.poll_timeout().unwrap().since(house.now.boot);
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
    }
    house.pass(2);
    assert!(matches!(kinds(house.polls.last().unwrap())[..], [(7, OutcomeKind::Refused(_))]));
}

#[test]
fn without_consent_nothing_is_sent_and_the_utility_is_told_why() {
    let mut house = House::with_tv(Allowed::None);
    house.answer_poll(house.command().with_control(7, PowerState::Off, 600));
    house.pass(2);
    assert!(house.orders().is_empty());
    let refusal = house.refusal(7);
    assert_eq!(refusal.0, RefusalCode::NO_CONSENT);
    let entry = house.journal.iter().find(|e| &*e.action == "OperationOff").unwrap();
    assert_eq!((entry.cause, entry.ending), (Cause::Utility(id(7)), Ending::Declined));
    assert_eq!(house.declined, [udn("tv")], "for whoever asks why");
    // A person allows it: the next one is carried out, and the utility learns of the consent.
    house.feed(Input::Said { ask: AskId(1), uid: 1000, of: Some(udn("tv")), yes: true });
    house.answer_poll(house.command().with_control(8, PowerState::Off, 600));
    house.pass(2);
    assert_eq!(house.orders(), [Order::OperationOff]);
    assert_eq!(house.disk.get(&Slot::Consent(Some(udn("tv")))).map(Vec::as_slice), Some(&b"yes"[..]));
    assert!(house.restart(10).utility.consent().allows(&udn("tv")), "also after a restart");
}

#[test]
fn an_appliance_that_is_not_there_and_one_that_refuses_are_told_with_their_reasons() {
    let mut house = House::with_tv(Allowed::All);
    let mut command = house.command().with_control(7, PowerState::Standby, 600);
    let stranger = Control { id: id(8), appliance: "kettle".parse().unwrap(), ..command.controls[0].clone() };
    command.controls = List::fill([command.controls[0].clone(), stranger]);
    house.answer_poll(command);
    house.answer(Order::GoToStandby, Err(CallFailure::Fault { code: 802, reason: "a film is on".into() }));
    house.pass(2);
    assert_eq!(house.refusal(7), (RefusalCode::new(802), "a film is on".into()));
    assert_eq!(house.refusal(8).0, RefusalCode::UNKNOWN_APPLIANCE);
    assert_eq!(house.utility.last_refusal().unwrap().1, "802: a film is on");
}

#[test]
fn in_a_window_without_standby_the_utility_gets_the_registration_as_its_reason() {
    let mut house = House::with_tv(Allowed::All);
    let all_day = DailyWindow::new("00:00:00".parse().unwrap(), "23:59:59".parse().unwrap()).unwrap();
    let request = gateway::Request::NoStandbyPeriod(all_day);
    let from = "10.0.0.1".parse().unwrap();
    house.gateway_handles(gateway::Input::ApplianceAsks { ask: AskId(5), from, caller: udn("tv"), request });
    house.gateway_handles(gateway::Input::Saved { ask: AskId(5), result: Ok(()) });
    house.answer_poll(house.command().with_control(7, PowerState::Standby, 600));
    house.pass(2);
    let (code, reason) = house.refusal(7);
    assert_eq!(code, RefusalCode::NO_STANDBY_PERIOD);
    assert!(reason.starts_with("NoStandbyPeriod 00:00:00 23:59:59 (RegID "), "{reason}");
}

#[test]
fn a_control_that_comes_too_late_is_expired_and_without_a_clock_nobody_judges() {
    let mut house = House::with_tv(Allowed::All);
    house.answer_poll(house.command().with_control(7, PowerState::Off, 0));
    house.pass(2);
    assert!(house.orders().is_empty());
    assert_eq!(kinds(house.polls.last().unwrap()), [(7, OutcomeKind::Expired)]);
    house.answer_poll(house.command());

    // Here before a restart, and not begun; the time is not known after it.
    house.hold_disk = true;
    house.answer_poll(house.command().with_control(8, PowerState::Off, 600));
    let mut house = house.restart_without_time(30);
    house.find_tv();
    house.pass(3600);
    assert!(house.orders().is_empty(), "who does not know the time can't say that it is not too late");
    house.link(T0 + 90);
    assert_eq!(house.orders(), [Order::OperationOff]);
}

#[test]
fn a_control_under_way_at_a_restart_is_not_ordered_twice_and_one_not_begun_is_begun() {
    for written in [true, false] {
        let mut house = House::with_tv(Allowed::All);
        house.hold_disk = true;
        house.answer_poll(house.command().with_control(7, PowerState::Off, 600));
        if written {
            house.disk_answers();
            house.disk_answers();
            assert_eq!(house.orders(), [Order::OperationOff]);
            // It is carried out, and the power fails before its end is written.
            let disk = house.disk.clone();
            house.tv_is(PowerState::Off);
            house.disk = disk;
        }
        let mut house = house.restart(60);
        house.hold_disk = false;
        if written {
            assert!(house.orders().is_empty(), "somebody may have switched it on since");
            house.until_poll();
            let (code, reason) = house.refusal(7);
            assert_eq!(code, RefusalCode::TIMED_OUT);
            assert!(reason.contains("restarted while it was carried out"), "{reason}");
            assert!(house.journal.iter().any(|e| e.cause == Cause::Utility(id(7)) && e.ending == Ending::TimedOut));
        } else {
            assert_eq!(house.orders(), [Order::OperationOff]);
            house.carried_out(Order::OperationOff, PowerState::Off);
            house.until_poll();
            assert_eq!(kinds(house.polls.last().unwrap()), [(7, OutcomeKind::Done)]);
        }
        // What was told and not acknowledged is told again by the next process.
        let mut house = house.restart(10);
        house.until_poll();
        assert_eq!(kinds(house.polls.last().unwrap()).len(), 1);
        house.answer_poll(house.command());
        house.until_poll();
        assert!(kinds(house.polls.last().unwrap()).is_empty());
    }
    // Too late to begin.
    let mut house = House::with_tv(Allowed::All);
    house.hold_disk = true;
    house.answer_poll(house.command().with_control(7, PowerState::Off, 600));
    let mut house = house.restart(3600);
    house.until_poll();
    assert!(house.orders().is_empty());
    assert_eq!(house.refusal(7).0, RefusalCode::TIMED_OUT);
}

#[test]
fn on_a_full_disk_a_control_is_refused_and_not_carried_out() {
    let mut house = House::with_tv(Allowed::All);
    house.full = true;
    house.answer_poll(house.command().with_control(7, PowerState::Off, 600));
    house.pass(2);
    assert!(house.orders().is_empty());
    assert_eq!(house.refusal(7), (RefusalCode::FAILED, "it cannot be stored now: the disk is full".into()));
}

#[test]
fn a_flood_of_controls_does_not_grow_what_is_kept() {
    let mut house = House::with_tv(Allowed::None);
    house.hold_disk = true;
    for n in 0..20 {
        let mut command = house.command();
        let control = |i: u64| house.command().with_control(1 + n * 32 + i, PowerState::Off, 600).controls[0].clone();
        command.controls = List::fill((0..32).map(control));
        house.feed(Input::Commanded(command));
    }
    assert_eq!(house.utility.controls().count(), EVENTS_OPEN_MAX);
}
