//! On the way to sleep or to the end, and back: the last event, the lock, alarms, doubts.

use std::time::Duration;

use energy_model::{PowerState, RefusalKind};
use psm_agent::agent::Effect;
use psm_agent::limits::{ANNOUNCEMENT_WITHIN, LAST_EVENT_WITHIN, SLEEP_DOUBTED_EVERY};
use psm_agent::state::{Fact, Observation, Operation, Source};
use psm_agent::store::Saved;
use upnp::soap::SoapError;

use crate::fixture::{Fixture, GATEWAY, NOON, quiet};

#[test]
fn the_delay_lock_is_released_when_the_last_event_is_delivered_and_not_before() {
    let mut f = Fixture::new("");
    f.subscribe();
    f.fact(Observation::SleepBegins);
    assert!(!f.lets_go(), "nobody has heard yet");
    let bodies = f.deliver();
    assert!(bodies.iter().any(|b| b.contains("<PowerState>Standby</PowerState>")), "{bodies:?}");
    assert!(f.lets_go());
}

#[test]
fn a_subscriber_that_does_not_answer_holds_the_machine_up_only_so_long() {
    let mut f = Fixture::new("");
    f.subscribe();
    f.fact(Observation::SleepBegins);
    f.pass(LAST_EVENT_WITHIN - Duration::from_millis(1));
    assert!(!f.lets_go());
    f.pass(Duration::from_millis(2));
    assert!(f.lets_go());
}

#[test]
fn after_sleep_the_lock_is_taken_again_under_a_new_boot_id_and_the_operation_decides_the_state() {
    let mut f = Fixture::new("");
    f.subscribe();
    let boot_id = f.agent.boot_id();
    f.fact(Observation::SleepBegins);
    f.deliver();
    f.seen.clear();
    f.now = f.now + Duration::from_secs(3600);
    f.fact(Observation::SleepEnds);
    assert!(f.agent.boot_id() > boot_id);
    assert_eq!(f.state(), PowerState::Off);
    assert!(f.has(|e| matches!(e, Effect::TakeDelayLock)) && f.has(|e| matches!(e, Effect::ClearAlarm)));
}

#[test]
fn a_lost_end_of_sleep_is_asked_for() {
    let mut f = Fixture::new("");
    f.fact(Observation::SleepBegins);
    f.seen.clear();
    f.pass(SLEEP_DOUBTED_EVERY);
    assert!(f.has(|e| matches!(e, Effect::AskWhetherAsleep)));
}

#[test]
fn links_that_change_in_a_sleep_that_logind_told_of_raise_the_question_at_once() {
    let mut f = Fixture::new("");
    f.agent.handle_links_changed();
    f.fact(Observation::SleepBegins);
    f.seen.clear();
    f.agent.handle_links_changed();
    f.pump();
    assert!(f.has(|e| matches!(e, Effect::AskWhetherAsleep)));
    f.seen.clear();
    f.agent.handle_fact(Fact::new(f.now, Source::Kernel, Observation::SleepBegins), f.now);
    f.agent.handle_links_changed();
    f.pump();
    assert!(!f.has(|e| matches!(e, Effect::AskWhetherAsleep)), "the kernel will say when it is over");
}

#[test]
fn a_sleep_of_the_kernels_that_never_comes_is_over_when_it_is_doubted() {
    let mut f = Fixture::new("");
    f.subscribe();
    // A suspend that fails before anything is frozen, as one that comes during another, has no end.
    f.agent.handle_fact(Fact::new(f.now, Source::Kernel, Observation::SleepBegins), f.now);
    f.pump();
    f.deliver();
    assert_eq!(f.state(), PowerState::Standby);
    f.pass(SLEEP_DOUBTED_EVERY);
    assert_eq!(f.state(), PowerState::Off);
    assert!(f.deliver().iter().any(|b| b.contains("<PowerState>OFF</PowerState>")));
    assert!(!f.has(|e| matches!(e, Effect::AskWhetherAsleep)), "logind knows nothing of it");
}

#[test]
fn the_last_event_goes_out_before_anything_is_written_or_set() {
    let mut f = Fixture::new("");
    f.subscribe();
    f.agent.handle_fact(Fact::new(f.now, Source::Kernel, Observation::SleepBegins), f.now);
    let order: Vec<_> = std::iter::from_fn(|| f.agent.poll_effect())
        .map(|effect| match effect {
            Effect::Net(upnp::Effect::Request(r)) if r.request.method() == "NOTIFY" => "event",
            Effect::Net(upnp::Effect::Send(_)) => "multicast event",
            Effect::Net(_) => "other",
            Effect::Store => "store",
            _ => "rest",
        })
        .filter(|what| *what != "other")
        .collect();
    let store = order.iter().position(|what| *what == "store").expect("the state is written");
    let told: Vec<_> = order[..store].to_vec();
    assert!(told.contains(&"event") && told.contains(&"multicast event") && !told.contains(&"rest"), "{order:?}");
    assert!(!order[store..].iter().any(|what| what.contains("event")), "{order:?}");
}

#[test]
fn an_order_whose_facts_come_when_the_machine_already_goes_is_not_left_for_the_next_waking() {
    let mut f = Fixture::with("", Saved::default(), Operation::On, NOON);
    let sleep = f.call(GATEWAY, "GoToStandby", &[]);
    let (id, _) = f.gathered();
    // Somebody closes the lid meanwhile.
    f.fact(Observation::SleepBegins);
    f.circumstances(id, quiet());
    assert!(!f.has(|e| matches!(e, Effect::Suspend(_))));
    f.reg_id(sleep, "GoToStandby");
    f.fact(Observation::SleepEnds);
    let off = f.call(GATEWAY, "OperationOff", &[]);
    let (id, _) = f.gathered();
    f.fact(Observation::SleepBegins);
    f.circumstances(id, quiet());
    assert!(!f.has(|e| matches!(e, Effect::Switch(..))));
    assert_eq!(f.refusal(off, "OperationOff"), (810, "it is going to sleep just now".into()));
}

#[test]
fn how_long_a_caller_wants_it_to_sleep_counts_for_the_sleep_he_asked_for_and_no_other() {
    let alarm = |f: &mut Fixture| {
        f.seen.clear();
        f.fact(Observation::SleepBegins);
        f.seen.iter().find_map(|e| if let Effect::SetAlarm(ahead) = e { Some(ahead.as_secs()) } else { None })
    };
    let mut f = Fixture::new("");
    f.go_to_sleep("600");
    let (id, _) = f.gathered();
    f.circumstances(id, quiet());
    f.agent.handle_suspended(id, Ok(()), f.now);
    assert_eq!(alarm(&mut f), Some(600));
    f.fact(Observation::SleepEnds);
    assert_eq!(alarm(&mut f), None);
    f.fact(Observation::SleepEnds);

    // Nothing came of it.
    f.go_to_sleep("600");
    let (id, _) = f.gathered();
    f.circumstances(id, quiet());
    f.agent.handle_suspended(id, Err("a driver refuses".into()), f.now);
    assert_eq!(alarm(&mut f), None);
    f.fact(Observation::SleepEnds);
    // It was refused, for another order is under way.
    f.call(GATEWAY, "OperationOn", &[]);
    let refused = f.go_to_sleep("600");
    assert!(matches!(f.answer(refused, "GoToSleep"), Some(Err(SoapError::Fault(_)))));
    assert_eq!(alarm(&mut f), None);
}

#[test]
fn a_suspend_that_logind_accepts_and_forgets_is_told_as_failed() {
    let mut f = Fixture::new("");
    f.call(GATEWAY, "GoToStandby", &[]);
    let (id, _) = f.gathered();
    f.circumstances(id, quiet());
    f.agent.handle_suspended(id, Ok(()), f.now);
    f.pass(ANNOUNCEMENT_WITHIN);
    assert_eq!(f.agent.status().refusals.last().map(|r| r.kind), Some(RefusalKind::OperationFailed));
    // And the next one is free to try.
    f.call(GATEWAY, "GoToStandby", &[]);
    f.gathered();
}

#[test]
fn going_down_says_off_then_byebye_then_lets_the_machine_go() {
    let mut f = Fixture::with("", Saved::default(), Operation::On, NOON);
    f.subscribe();
    f.fact(Observation::ShutdownBegins);
    assert!(!f.lets_go());
    assert!(f.deliver().iter().any(|b| b.contains("<PowerState>OFF</PowerState>")));
    assert!(f.lets_go());
}

#[test]
fn a_shutdown_that_is_called_off_brings_the_device_back_as_after_a_restart() {
    let mut f = Fixture::with("", Saved::default(), Operation::On, NOON);
    f.fact(Observation::ShutdownBegins);
    f.fact(Observation::ShutdownCancelled);
    assert_eq!(f.state(), PowerState::On);
    assert!(f.agent.boot_id() > 7);
    f.subscribe();
    f.fact(Observation::SleepBegins);
    assert!(f.deliver().iter().any(|b| b.contains("<PowerState>Standby</PowerState>")));
}

#[test]
fn a_service_that_is_stopped_says_goodbye_without_saying_off() {
    let mut f = Fixture::with("", Saved::default(), Operation::On, NOON);
    f.subscribe();
    f.agent.handle_stop(false, f.now);
    f.pump();
    f.pass(Duration::from_secs(2));
    assert!(f.deliver().is_empty(), "no event");
    assert!(f.agent.is_done());
    assert_eq!(f.state(), PowerState::On);
}
