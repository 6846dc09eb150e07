//! Fuses facts about the machine and its operation into one power state (PURE).
//!
//! In: [`Fact`]s, each stamped on CLOCK_BOOTTIME where it was learned, from any number of sources and in any order.
//! Out: [`Change`]s of the power state, in order and without repeats.
//!
//! Three registers hold what is known: does the machine sleep, is it going down, does the operation run. In each the newest
//! stamp wins, so that two sources that tell of the same suspend make one change, and a fact that arrives late changes nothing
//! that a newer one already settled. The power state is a function of the three:
//!
//! | going down | asleep | operation | state |
//! |---|---|---|---|
//! | yes | - | - | OFF |
//! | no | yes | - | Standby |
//! | no | no | off | OFF |
//! | no | no | on, or not known | ON |
#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;

use energy_model::PowerState;
use serde::Serialize;
use upnp::time::BootTime;

use crate::limits::ORDER_EXPLAINS_CHANGE_WITHIN;

/// Who told of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// systemd-logind's signals.
    Logind,
    /// The operation driver.
    Operation,
    /// The service manager, when it stops the agent.
    ServiceManager,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logind => "logind",
            Self::Operation => "operation",
            Self::ServiceManager => "service manager",
        })
    }
}

/// Whether the appliance's work runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// It runs.
    On,
    /// It does not.
    Off,
    /// The driver cannot tell. The machine is up, so the appliance counts as ON.
    #[default]
    Unknown,
}

/// What was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The machine is about to sleep, or sleeps.
    SleepBegins,
    /// The machine is awake again, or did not fall asleep after all.
    SleepEnds,
    /// The machine is about to power off, halt or restart.
    ShutdownBegins,
    /// It stays up after all.
    ShutdownCancelled,
    /// The driver looked at the operation.
    Operation(Operation),
}

/// An observation with its time and source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// When it was so, on CLOCK_BOOTTIME.
    pub at: BootTime,
    /// Who told.
    pub source: Source,
    /// What.
    pub what: Observation,
}

/// On whose behalf the agent itself gave an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// A control point, by the UUID it gave.
    Command(String),
    /// A StandbyPeriod, by its RegID.
    Schedule(u32),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(caller) => write!(f, "command of {caller}"),
            Self::Schedule(reg_id) => write!(f, "StandbyPeriod {reg_id}"),
        }
    }
}

/// Why the power state changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Who told of it first.
    pub source: Source,
    /// The order of ours it follows from; none when a person or another program did it.
    pub asked: Option<Asked>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.asked {
            Some(asked) => write!(f, "{asked}, seen by {}", self.source),
            None => write!(f, "local, seen by {}", self.source),
        }
    }
}

/// A change of the power state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, on CLOCK_BOOTTIME; never before the change before it.
    pub at: BootTime,
    /// The state left.
    pub from: PowerState,
    /// The state entered.
    pub to: PowerState,
    /// Why.
    pub cause: Cause,
}

/// A value and the time it is known to hold from.
#[derive(Clone, Copy, Debug, Default)]
struct Register<T> {
    value: T,
    at: Option<BootTime>,
}

impl<T: Copy + PartialEq> Register<T> {
    /// Takes the value unless a newer one is known. At the same stamp the later arrival wins.
    fn set(&mut self, value: T, at: BootTime) {
        if self.at.is_none_or(|known| known <= at) {
            *self = Self { value, at: Some(at) };
        }
    }
}

/// An order of ours that may explain the next change.
#[derive(Clone, Debug)]
struct Given {
    at: BootTime,
    leads_to: PowerState,
    asked: Asked,
}

/// The fused power state.
#[derive(Debug)]
pub struct StateMachine {
    asleep: Register<bool>,
    going_down: Register<bool>,
    operation: Register<Operation>,
    reported: PowerState,
    since: BootTime,
    given: Option<Given>,
    changes: VecDeque<Change>,
}

impl StateMachine {
    /// A machine that is awake, with an operation nobody has looked at yet.
    pub fn new(now: BootTime) -> Self {
        Self {
            asleep: Register::default(),
            going_down: Register::default(),
            operation: Register::default(),
            reported: PowerState::On,
            since: now,
            given: None,
            changes: VecDeque::new(),
        }
    }

    /// Takes a fact from a source.
    pub fn handle_fact(&mut self, fact: Fact) {
        let Fact { at, source, what } = fact;
        match what {
            Observation::SleepBegins => self.asleep.set(true, at),
            Observation::SleepEnds => self.asleep.set(false, at),
            Observation::ShutdownBegins => self.going_down.set(true, at),
            Observation::ShutdownCancelled => self.going_down.set(false, at),
            Observation::Operation(seen) => self.operation.set(seen, at),
        }
        let to = self.fused();
        if to == self.reported {
            return;
        }
        let at = at.max(self.since);
        let asked = self.given.take_if(|g| g.leads_to == to && at.since(g.at) <= ORDER_EXPLAINS_CHANGE_WITHIN);
        let cause = Cause { source, asked: asked.map(|g| g.asked) };
        self.changes.push_back(Change { at, from: self.reported, to, cause });
        self.reported = to;
        self.since = at;
    }

    /// Notes that the agent gave an order that should lead to `leads_to`, so that the change it brings has a name.
    pub fn handle_order(&mut self, leads_to: PowerState, asked: Asked, now: BootTime) {
        self.given = Some(Given { at: now, leads_to, asked });
    }

    /// The next change not yet taken.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// The power state now.
    pub fn state(&self) -> PowerState {
        self.reported
    }

    /// For how long the power state has held.
    pub fn held_for(&self, now: BootTime) -> Duration {
        now.since(self.since)
    }

    /// When the power state was entered.
    pub fn since(&self) -> BootTime {
        self.since
    }

    /// What the operation driver last saw.
    pub fn operation(&self) -> Operation {
        self.operation.value
    }

    /// Whether the machine is asleep or about to be.
    pub fn is_asleep(&self) -> bool {
        self.asleep.value
    }

    /// Whether the machine is going down.
    pub fn is_going_down(&self) -> bool {
        self.going_down.value
    }

    fn fused(&self) -> PowerState {
        match (self.going_down.value, self.asleep.value, self.operation.value) {
            (true, _, _) => PowerState::Off,
            (false, true, _) => PowerState::Standby,
            (false, false, Operation::Off) => PowerState::Off,
            (false, false, Operation::On | Operation::Unknown) => PowerState::On,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn t(ms: u64) -> BootTime {
        BootTime::from_duration(Duration::from_millis(ms))
    }

    fn fact(ms: u64, source: Source, what: Observation) -> Fact {
        Fact { at: t(ms), source, what }
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
        machine.handle_fact(Fact { at: late, source: Source::Logind, what: Observation::SleepBegins });
        assert_eq!(machine.poll_change().unwrap().cause.asked, None);
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
}
