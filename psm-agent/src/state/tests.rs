//! Facts in, power states out.

use proptest::prelude::*;

use super::*;

fn t(ms: u64) -> BootTime {
    BootTime::from_duration(Duration::from_millis(ms))
}

fn fact(ms: u64, source: Source, what: Observation) -> Fact {
    Fact::new(t(ms), source, what)
}

fn states(facts: impl IntoIterator<Item = Fact>) -> Vec<(u64, PowerState)> {
    let mut machine = StateMachine::new(BootTime::ZERO);
    facts.into_iter().for_each(|f| machine.handle_fact(f));
    std::iter::from_fn(|| machine.poll_change()).map(|c| (c.at.since_boot().as_millis() as u64, c.to)).collect()
}

#[test]
fn a_suspend_is_standby_and_the_operation_decides_after_it() {
    use Observation::*;
    let changes = states([
        fact(1, Source::Operation, Observation::Operation(super::Operation::Off)),
        fact(5, Source::Logind, SleepBegins),
        fact(90, Source::Logind, SleepEnds),
    ]);
    assert_eq!(changes, [(1, PowerState::Off), (5, PowerState::Standby), (90, PowerState::Off)]);
}

#[test]
fn two_sources_that_tell_of_the_same_suspend_make_one_change() {
    use Observation::*;
    let changes = states([
        fact(5, Source::Logind, SleepBegins),
        fact(7, Source::ServiceManager, SleepBegins),
        fact(90, Source::ServiceManager, SleepEnds),
        fact(93, Source::Logind, SleepEnds),
    ]);
    assert_eq!(changes, [(5, PowerState::Standby), (90, PowerState::On)]);
}

#[test]
fn a_late_report_of_a_suspend_that_is_over_changes_nothing() {
    use Observation::*;
    assert_eq!(states([fact(90, Source::Logind, SleepEnds), fact(5, Source::Operation, SleepBegins)]), []);
}

#[test]
fn going_down_beats_sleep_until_it_is_called_off() {
    use Observation::*;
    let changes = states([
        fact(5, Source::Logind, ShutdownBegins),
        fact(6, Source::Logind, SleepBegins),
        fact(7, Source::Logind, SleepEnds),
        fact(8, Source::Logind, ShutdownCancelled),
    ]);
    assert_eq!(changes, [(5, PowerState::Off), (8, PowerState::On)]);
}

#[test]
fn an_operation_that_stops_while_the_machine_sleeps_shows_on_waking() {
    use Observation::*;
    let changes = states([
        fact(5, Source::Logind, SleepBegins),
        fact(6, Source::Operation, Observation::Operation(super::Operation::Off)),
        fact(9, Source::Logind, SleepEnds),
    ]);
    assert_eq!(changes, [(5, PowerState::Standby), (9, PowerState::Off)]);
}

#[test]
fn a_change_that_follows_an_order_names_who_asked_and_a_later_one_does_not() {
    let mut machine = StateMachine::new(BootTime::ZERO);
    machine.handle_order(PowerState::Standby, Asked::Command("gw".into()), t(1));
    machine.handle_fact(fact(50, Source::Logind, Observation::SleepBegins));
    machine.handle_fact(fact(60, Source::Logind, Observation::SleepEnds));
    machine.handle_fact(fact(70, Source::Logind, Observation::SleepBegins));
    let causes: Vec<_> = std::iter::from_fn(|| machine.poll_change()).map(|c| c.cause.asked).collect();
    assert_eq!(causes, [Some(Asked::Command("gw".into())), None, None]);
}

#[test]
fn an_order_long_past_explains_nothing() {
    let mut machine = StateMachine::new(BootTime::ZERO);
    machine.handle_order(PowerState::Standby, Asked::Schedule(3), t(1));
    let late = t(2) + ORDER_EXPLAINS_CHANGE_WITHIN;
    machine.handle_fact(Fact::new(late, Source::Logind, Observation::SleepBegins));
    assert_eq!(machine.poll_change().unwrap().cause.asked, None);
}

fn deed(name: &str, pid: u32) -> Option<Deed> {
    let record = psm_event::Record {
        boot_ns: 0,
        kind: psm_event::Kind::SuspendEnter as u16,
        begins: 1,
        value: 3,
        pid,
        comm: core::array::from_fn(|i| name.as_bytes().get(i).copied().unwrap_or_default()),
        lost: 0,
    };
    crate::kernel::fact(&record).unwrap().deed
}

fn kernel(ms: u64, what: Observation, name: &str) -> Fact {
    Fact { deed: deed(name, 812), ..fact(ms, Source::Kernel, what) }
}

const LOGINDS: &str = "systemd-sleep";

#[test]
fn a_suspend_that_bypasses_logind_is_told_with_who_did_it_and_over_with_the_thaw() {
    let mut machine = StateMachine::new(BootTime::ZERO);
    machine.handle_fact(kernel(5, Observation::SleepBegins, "rtcwake"));
    machine.handle_fact(kernel(6, Observation::SleepBegins, "rtcwake"));
    machine.handle_fact(kernel(90, Observation::SleepEnds, "rtcwake"));
    machine.handle_fact(kernel(91, Observation::SleepEnds, "rtcwake"));
    let changes: Vec<_> = std::iter::from_fn(|| machine.poll_change()).collect();
    assert_eq!(changes.iter().map(|c| c.to).collect::<Vec<_>>(), [PowerState::Standby, PowerState::On]);
    assert_eq!(changes[0].cause.to_string(), "direct, suspend to memory by rtcwake (pid 812), seen by kernel");
}

#[test]
fn logind_announces_the_kernel_ends_and_loginds_late_end_changes_nothing() {
    use Observation::*;
    let changes = states([
        fact(5, Source::Logind, SleepBegins),
        kernel(900, SleepBegins, LOGINDS),
        kernel(5000, SleepEnds, LOGINDS),
        fact(6800, Source::Logind, SleepEnds),
    ]);
    assert_eq!(changes, [(5, PowerState::Standby), (5000, PowerState::On)]);
}

#[test]
fn an_announcement_that_comes_when_its_sleep_is_over_begins_none() {
    use Observation::*;
    let changes = states([
        kernel(5, SleepBegins, LOGINDS),
        kernel(90, SleepEnds, LOGINDS),
        fact(95, Source::Logind, SleepBegins),
        fact(99, Source::Logind, SleepEnds),
        fact(200, Source::Logind, SleepBegins),
    ]);
    assert_eq!(changes, [(5, PowerState::Standby), (90, PowerState::On), (200, PowerState::Standby)]);
}

#[test]
fn loginds_late_end_does_not_end_the_next_sleep() {
    use Observation::*;
    let changes = states([
        fact(5, Source::Logind, SleepBegins),
        kernel(10, SleepBegins, LOGINDS),
        kernel(90, SleepEnds, LOGINDS),
        kernel(95, SleepBegins, "sh"),
        fact(96, Source::Logind, SleepEnds),
        kernel(300, SleepEnds, "sh"),
    ]);
    let wanted = [(5, PowerState::Standby), (90, PowerState::On), (95, PowerState::Standby), (300, PowerState::On)];
    assert_eq!(changes, wanted);
}

#[test]
fn a_sleep_of_anothers_making_leaves_loginds_announcement_standing() {
    use Observation::*;
    let changes = states([
        fact(5, Source::Logind, SleepBegins),
        kernel(10, SleepBegins, "sh"),
        kernel(90, SleepEnds, "sh"),
        kernel(95, SleepBegins, LOGINDS),
        kernel(300, SleepEnds, LOGINDS),
        fact(310, Source::Logind, SleepEnds),
    ]);
    assert_eq!(changes, [(5, PowerState::Standby), (300, PowerState::On)]);
}

#[test]
fn suspend_then_hibernate_is_awake_between_the_two() {
    use Observation::*;
    let changes = states([
        fact(5, Source::Logind, SleepBegins),
        kernel(10, SleepBegins, LOGINDS),
        kernel(90, SleepEnds, LOGINDS),
        kernel(92, SleepBegins, LOGINDS),
        kernel(300, SleepEnds, LOGINDS),
        fact(310, Source::Logind, SleepEnds),
    ]);
    let wanted = [(5, PowerState::Standby), (90, PowerState::On), (92, PowerState::Standby), (300, PowerState::On)];
    assert_eq!(changes, wanted);
}

#[test]
fn a_thaw_whose_beginning_was_lost_ends_loginds_sleep() {
    use Observation::*;
    let changes = states([fact(5, Source::Logind, SleepBegins), kernel(90, SleepEnds, "kworker/0:1")]);
    assert_eq!(changes, [(5, PowerState::Standby), (90, PowerState::On)]);
}

#[test]
fn loginds_suspend_that_fails_before_the_freeze_ends_with_loginds_word() {
    use Observation::*;
    let changes = states([
        fact(5, Source::Logind, SleepBegins),
        kernel(10, SleepBegins, LOGINDS),
        fact(40, Source::Logind, SleepEnds),
        // A real one afterwards, by somebody else.
        kernel(90, SleepBegins, "sh"),
        kernel(95, SleepEnds, "sh"),
    ]);
    let wanted = [(5, PowerState::Standby), (40, PowerState::On), (90, PowerState::Standby), (95, PowerState::On)];
    assert_eq!(changes, wanted);
}

#[test]
fn a_doubt_takes_back_the_kernels_word_and_no_later_one_and_not_loginds() {
    use Observation::*;
    let doubt = |ms| fact(ms, Source::Agent, SleepDoubted);
    let late = states([
        kernel(5, SleepBegins, "sh"),
        doubt(20_000),
        // It had begun to freeze before the doubt, and is read only now.
        kernel(19_990, SleepBegins, "sh"),
        kernel(90_000, SleepEnds, "sh"),
    ]);
    let wanted =
        [(5, PowerState::Standby), (20_000, PowerState::On), (20_000, PowerState::Standby), (90_000, PowerState::On)];
    assert_eq!(late, wanted);
    let loginds = states([fact(5, Source::Logind, SleepBegins), kernel(9, SleepBegins, LOGINDS), doubt(20_000)]);
    assert_eq!(loginds, [(5, PowerState::Standby)]);
}

#[test]
fn what_another_does_after_our_order_is_not_put_down_to_us() {
    let mut machine = StateMachine::new(BootTime::ZERO);
    machine.handle_order(PowerState::Standby, Asked::Command("gw".into()), t(1));
    machine.handle_fact(kernel(9, Observation::SleepBegins, "rtcwake"));
    assert!(machine.poll_change().unwrap().cause.to_string().starts_with("direct, "));
}

#[test]
fn a_call_of_reboot_that_fails_takes_back_only_itself() {
    let down = |ms, what, pid| Fact { deed: deed("reboot", pid), ..fact(ms, Source::Kernel, what) };
    use Observation::*;
    let changes = states([
        down(5, ShutdownBegins, 7),
        down(6, ShutdownCancelled, 8),
        down(9, ShutdownCancelled, 7),
        fact(10, Source::Logind, ShutdownBegins),
        down(11, ShutdownCancelled, 7),
    ]);
    assert_eq!(changes, [(5, PowerState::Off), (9, PowerState::On), (10, PowerState::Off)]);
}

#[test]
fn our_own_order_is_named_whoever_sees_it_first() {
    for first in [fact(9, Source::Logind, Observation::SleepBegins), kernel(9, Observation::SleepBegins, LOGINDS)] {
        let mut machine = StateMachine::new(BootTime::ZERO);
        machine.handle_order(PowerState::Standby, Asked::Command("gw".into()), t(1));
        machine.handle_fact(first);
        let cause = machine.poll_change().unwrap().cause.to_string();
        assert_eq!(cause, format!("command of gw, seen by {}", first.source));
    }
}

/// A sleep as the kernel makes it and logind may tell it: the facts in the order they arrive.
#[derive(Clone, Debug)]
struct Night {
    by_logind: bool,
    /// logind's announcement is read only after the thaw.
    announced_late: bool,
    /// logind's end is read only in the next night, once that has begun.
    ended_late: bool,
    /// How many records say that it sleeps.
    records: u64,
}

fn any_night() -> impl Strategy<Value = Night> {
    (any::<bool>(), any::<bool>(), any::<bool>(), 1..5_u64).prop_map(
        |(by_logind, announced_late, ended_late, records)| Night { by_logind, announced_late, ended_late, records },
    )
}

/// The reference: sort what was seen by its stamp and read the table in the head of this file.
fn reference(facts: &[Fact]) -> PowerState {
    let mut sorted = facts.to_vec();
    sorted.sort_by_key(|f| f.at);
    let last = |wanted: fn(Observation) -> bool| sorted.iter().rev().map(|f| f.what).find(|w| wanted(*w));
    let down = last(|w| matches!(w, Observation::ShutdownBegins | Observation::ShutdownCancelled));
    let sleep = last(|w| matches!(w, Observation::SleepBegins | Observation::SleepEnds));
    let operation = last(|w| matches!(w, Observation::Operation(_)));
    if down == Some(Observation::ShutdownBegins) {
        PowerState::Off
    } else if sleep == Some(Observation::SleepBegins) {
        PowerState::Standby
    } else if operation == Some(Observation::Operation(Operation::Off)) {
        PowerState::Off
    } else {
        PowerState::On
    }
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let what = prop_oneof![
        Just(Observation::SleepBegins),
        Just(Observation::SleepEnds),
        Just(Observation::ShutdownBegins),
        Just(Observation::ShutdownCancelled),
        Just(Observation::Operation(Operation::On)),
        Just(Observation::Operation(Operation::Off)),
        Just(Observation::Operation(Operation::Unknown)),
    ];
    let source = prop_oneof![Just(Source::Logind), Just(Source::Operation), Just(Source::ServiceManager)];
    (0..40u64, source, what).prop_map(|(ms, source, what)| fact(ms, source, what))
}

proptest! {
    #[test]
    fn every_sleep_is_told_once_whatever_logind_says_and_when(nights in prop::collection::vec(any_night(), 1..12)) {
        use Observation::*;
        let mut facts = Vec::new();
        let mut owed_end = false;
        let mut ms = 0;
        let mut at = || { ms += 10; ms };
        for night in &nights {
            let name = if night.by_logind { LOGINDS } else { "sh" };
            // Two of logind's own do not overlap: it ends one before it announces the next.
            if owed_end && night.by_logind {
                facts.push(fact(at(), Source::Logind, SleepEnds));
                owed_end = false;
            }
            if night.by_logind && !night.announced_late {
                facts.push(fact(at(), Source::Logind, SleepBegins));
            }
            for _ in 0..night.records {
                facts.push(kernel(at(), SleepBegins, name));
            }
            if core::mem::take(&mut owed_end) {
                facts.push(fact(at(), Source::Logind, SleepEnds));
            }
            facts.push(kernel(at(), SleepEnds, name));
            if night.by_logind && night.announced_late {
                facts.push(fact(at(), Source::Logind, SleepBegins));
            }
            if night.by_logind && night.ended_late {
                owed_end = true;
            } else if night.by_logind {
                facts.push(fact(at(), Source::Logind, SleepEnds));
            }
        }
        let told: Vec<_> = states(facts).into_iter().map(|(_, state)| state).collect();
        let wanted: Vec<_> = nights.iter().flat_map(|_| [PowerState::Standby, PowerState::On]).collect();
        prop_assert_eq!(told, wanted);
    }

    #[test]
    fn any_order_of_arrival_ends_where_the_sorted_facts_end(facts in prop::collection::vec(any_fact(), 0..60)) {
        let mut machine = StateMachine::new(BootTime::ZERO);
        for seen in 1..=facts.len() {
            machine.handle_fact(facts[seen - 1]);
            prop_assert_eq!(machine.state(), reference(&facts[..seen]));
        }
        let mut before = (BootTime::ZERO, PowerState::On);
        while let Some(change) = machine.poll_change() {
            prop_assert_eq!(change.from, before.1);
            prop_assert_ne!(change.from, change.to);
            prop_assert!(change.at >= before.0);
            before = (change.at, change.to);
        }
        prop_assert_eq!(machine.state(), before.1);
    }
}
