//! Orders and what is said of them: judged, carried out, refused, evented, shown.

use std::time::Duration;

use bytes::Bytes;
use energy_model::{PowerState, RefusalKind};
use http::StatusCode;
use psm_agent::agent::Effect;
use psm_agent::commands::Circumstances;
use psm_agent::safety::{Inhibitor, Order, Supply};
use psm_agent::state::{Fact, Observation, Operation, Source};
use psm_agent::store::Saved;

use crate::fixture::{Fixture, GATEWAY, NOON, OTHER, config, quiet};

#[test]
fn go_to_standby_is_answered_with_its_number_before_the_machine_is_suspended() {
    let mut f = Fixture::new("");
    let number = f.call(GATEWAY, "GoToStandby", &[]);
    let (id, order) = f.gathered();
    assert_eq!(order, Order::Standby);
    f.circumstances(id, quiet());
    let name = |e: &Effect| match e {
        Effect::Store => "store",
        Effect::Answer(..) => "answer",
        Effect::Suspend(_) => "suspend",
        _ => "other",
    };
    let order: Vec<_> = f.seen.iter().map(name).collect();
    assert_eq!(order, ["store", "answer", "suspend"], "the number is on disk before it is told");
    assert_eq!(f.reg_id(number, "GoToStandby"), "1");
}

#[test]
fn a_refusal_carries_its_code_and_reason_and_is_kept() {
    let mut f = Fixture::new("");
    let number = f.call(GATEWAY, "GoToStandby", &[]);
    let (id, _) = f.gathered();
    let lock = Inhibitor { what: "sleep".into(), who: "backup".into(), why: "nightly".into(), mode: "block".into() };
    f.circumstances(id, Circumstances { inhibitors: Ok(vec![lock]), ..quiet() });
    assert_eq!(f.refusal(number, "GoToStandby"), (801, "backup holds a lock: nightly".into()));
    assert!(!f.has(|e| matches!(e, Effect::Suspend(_))));
    let status = f.agent.status();
    let last = status.refusals.last().unwrap();
    assert_eq!((last.kind, last.action.as_str()), (RefusalKind::BlockInhibitor, "GoToStandby"));
    assert_eq!(last.by, format!("command of {GATEWAY}"));
}

#[test]
fn a_refusal_is_evented_with_code_action_and_reason() {
    let mut f = Fixture::new("");
    f.subscribe_to("/ApplianceInfo/event");
    f.call(GATEWAY, "GoToStandby", &[]);
    let (id, _) = f.gathered();
    f.circumstances(id, Circumstances { possible: Err("no system bus".into()), ..quiet() });
    let bodies = f.deliver();
    let wanted = "<LastRefusal>809 GoToStandby cannot suspend without logind: no system bus</LastRefusal>";
    assert!(bodies.iter().any(|b| b.contains(wanted)), "{bodies:?}");
}

#[test]
fn an_order_that_is_fulfilled_already_succeeds_at_once() {
    let mut f = Fixture::with("safety.minimum-on-time-s = 3600", Saved::default(), Operation::On, NOON);
    let number = f.call(GATEWAY, "OperationOn", &[]);
    let first = f.reg_id(number, "OperationOn");
    let number = f.call(GATEWAY, "OperationOn", &[]);
    assert_eq!(f.reg_id(number, "OperationOn"), first, "and keeps its number");
}

#[test]
fn an_operation_is_switched_and_its_new_state_told_with_who_asked() {
    let mut f = Fixture::new("");
    f.subscribe();
    let number = f.call(GATEWAY, "OperationOn", &[]);
    let (id, _) = f.gathered();
    f.circumstances(id, quiet());
    assert!(f.has(|e| matches!(e, Effect::Switch(_, true))));
    assert!(f.answer(number, "OperationOn").is_none(), "not before it runs");
    f.agent.handle_switched(id, Ok(Operation::On), f.now);
    f.pump();
    assert_eq!(f.state(), PowerState::On);
    assert!(f.deliver().iter().any(|b| b.contains("<PowerState>ON</PowerState>")));
    f.reg_id(number, "OperationOn");
    let cause = f.agent.status().events.last().unwrap().cause.clone();
    assert!(cause.starts_with("command of"), "{cause}");
}

#[test]
fn a_driver_that_fails_is_a_refusal_with_its_words() {
    let mut f = Fixture::new("");
    let number = f.call(GATEWAY, "OperationOn", &[]);
    let (id, _) = f.gathered();
    f.circumstances(id, quiet());
    f.agent.handle_switched(id, Err("appliance.target is failed".into()), f.now);
    f.pump();
    assert_eq!(f.refusal(number, "OperationOn"), (800, "appliance.target is failed".into()));
    assert_eq!(f.state(), PowerState::Off);
}

#[test]
fn two_contrary_orders_at_once_are_not_both_carried_out() {
    let mut f = Fixture::with("", Saved::default(), Operation::On, NOON);
    f.call(GATEWAY, "OperationOff", &[]);
    let number = f.call(OTHER, "GoToStandby", &[]);
    assert_eq!(f.refusal(number, "GoToStandby"), (810, "OperationOff is under way".into()));
}

#[test]
fn two_callers_that_want_standby_make_one_suspend() {
    let mut f = Fixture::new("");
    let first = f.call(GATEWAY, "GoToStandby", &[]);
    let second = f.call(OTHER, "GoToStandby", &[]);
    for _ in 0..2 {
        let (id, _) = f.gathered();
        f.circumstances(id, quiet());
    }
    assert_eq!(f.seen.iter().filter(|e| matches!(e, Effect::Suspend(_))).count(), 1);
    assert_ne!(f.reg_id(first, "GoToStandby"), f.reg_id(second, "GoToStandby"));
}

#[test]
fn mains_that_are_gone_are_told_whoever_sees_it_first() {
    let low = Supply { on_battery: true, percent: Some(10) };
    let mut f = Fixture::new("safety.battery-percent-min = 20");
    f.subscribe_to("/LowPowerDevice/event");
    f.call(GATEWAY, "OperationOn", &[]);
    let (id, _) = f.gathered();
    f.circumstances(id, Circumstances { supply: low, ..quiet() });
    let bodies = f.deliver();
    assert!(bodies.iter().any(|b| b.contains("<BatteryLow>1</BatteryLow>")), "{bodies:?}");
    f.agent.handle_reading(None, low, f.now);
    f.pump();
    f.agent.handle_config(&config("safety.battery-percent-min = 5"), f.now);
    f.pump();
    f.pass(Duration::from_secs(5));
    let bodies = f.deliver();
    assert!(bodies.iter().any(|b| b.contains("<BatteryLow>0</BatteryLow>")), "{bodies:?}");
}

#[test]
fn a_look_that_began_before_the_operation_was_switched_does_not_undo_it() {
    let mut f = Fixture::new("");
    let begun = f.now;
    f.pass(Duration::from_millis(20));
    f.call(GATEWAY, "OperationOn", &[]);
    let (id, _) = f.gathered();
    f.circumstances(id, quiet());
    f.agent.handle_switched(id, Ok(Operation::On), f.now);
    let seen = Fact::new(begun, Source::Operation, Observation::Operation(Operation::Off));
    f.agent.handle_fact(seen, f.now);
    f.pump();
    assert_eq!(f.state(), PowerState::On);
}

#[test]
fn the_minimum_off_time_counts_the_time_before_a_restart() {
    const RULE: &str = "safety.minimum-off-time-s = 60";
    let mut first = Fixture::new(RULE);
    first.pass(Duration::from_secs(10));
    let saved = first.agent.saved();
    for (restart_at, allowed) in [("2026-06-01T12:00:20Z", false), ("2026-06-01T12:01:10Z", true)] {
        let mut f = Fixture::with(RULE, saved.clone(), Operation::Off, restart_at);
        let number = f.call(GATEWAY, "OperationOn", &[]);
        let (id, _) = f.gathered();
        f.circumstances(id, quiet());
        assert_eq!(f.has(|e| matches!(e, Effect::Switch(_, true))), allowed, "{restart_at}");
        if !allowed {
            assert_eq!(f.refusal(number, "OperationOn").0, 804);
        }
    }
}

#[test]
fn the_page_shows_the_state_and_takes_no_orders() {
    let mut f = Fixture::new("device.friendly-name = '<b>Pump</b>'");
    let number = f.request("GET", "/", &[], Bytes::new());
    let page = f.response(number).unwrap();
    let html = String::from_utf8(page.body().to_vec()).unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(html.contains("&lt;b&gt;Pump&lt;/b&gt;") && !html.contains("<b>Pump") && html.contains("OFF for"));
    assert!(!html.contains("<form") && !html.contains("http"));
    let number = f.request("POST", "/", &[], Bytes::new());
    assert_eq!(f.response(number).map(|r| r.status()), Some(StatusCode::METHOD_NOT_ALLOWED));
}
