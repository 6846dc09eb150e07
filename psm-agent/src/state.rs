//! Fuses facts about the machine and its operation into one power state (PURE).
//!
//! In: [`Fact`]s, each stamped on CLOCK_BOOTTIME where it was learned, from any number of sources and in any order.
//! Out: [`Change`]s of the power state, in order and without repeats.
//!
//! What is known is kept in `registers`: does the machine sleep and is it going down, each as the kernel tells it and as the
//! others (logind, the service manager) do, and does the operation run. In each the newest stamp wins, so that two sources that
//! tell of the same suspend make one change, and a fact that arrives late changes nothing that a newer one already settled.
//! The power state is a function of them:
//!
//! | going down | asleep | operation | state |
//! |---|---|---|---|
//! | yes | - | - | OFF |
//! | no | yes | - | Standby |
//! | no | no | off | OFF |
//! | no | no | on, or not known | ON |
#![forbid(unsafe_code)]

mod fact;
mod registers;
#[cfg(test)]
mod tests;

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;

use energy_model::PowerState;
use serde::Serialize;
use upnp::time::BootTime;

pub use self::fact::{Fact, Observation, Operation, Source};
use self::registers::{GoingDown, Register, Sleep};
use crate::kernel::Deed;
use crate::limits::ORDER_EXPLAINS_CHANGE_WITHIN;

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
    /// What a process asked of the kernel, where the kernel told of it first.
    pub deed: Option<Deed>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.asked, self.deed, self.source) {
            (Some(asked), _, source) => write!(f, "{asked}, seen by {source}"),
            (None, Some(deed), source) => write!(f, "{deed}, seen by {source}"),
            (None, None, Source::Logind) => f.write_str("through logind, seen by logind"),
            (None, None, source) => write!(f, "local, seen by {source}"),
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
    sleep: Sleep,
    going_down: GoingDown,
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
            sleep: Sleep::default(),
            going_down: GoingDown::default(),
            operation: Register::default(),
            reported: PowerState::On,
            since: now,
            given: None,
            changes: VecDeque::new(),
        }
    }

    /// Takes a fact from a source.
    pub fn handle_fact(&mut self, fact: Fact) {
        let Fact { at, source, what, deed } = fact;
        let kernel = source == Source::Kernel;
        let by_logind = deed.is_some_and(|d| d.is_by_logind());
        match what {
            Observation::SleepBegins if kernel => self.sleep.kernel_says(true, by_logind, at),
            Observation::SleepEnds if kernel => self.sleep.kernel_says(false, by_logind, at),
            Observation::SleepDoubted => self.sleep.doubt_kernel(),
            Observation::SleepBegins => self.sleep.logind_says(true, at),
            Observation::SleepEnds => self.sleep.logind_says(false, at),
            Observation::ShutdownBegins if kernel => self.going_down.kernel_says(true, deed.map(|d| d.pid), at),
            Observation::ShutdownCancelled if kernel => self.going_down.kernel_says(false, deed.map(|d| d.pid), at),
            Observation::ShutdownBegins => self.going_down.others_say(true, at),
            Observation::ShutdownCancelled => self.going_down.others_say(false, at),
            Observation::Operation(seen) => self.sees(seen, at),
        }
        let to = self.fused();
        if to == self.reported {
            return;
        }
        let at = at.max(self.since);
        // What we order goes by logind or the driver; what another process does at the same time is its own.
        let may_be_ours = deed.is_none_or(|d| d.is_by_logind());
        let explains = |g: &mut Given| g.leads_to == to && at.since(g.at) <= ORDER_EXPLAINS_CHANGE_WITHIN;
        let asked = self.given.take_if(|g| may_be_ours && explains(g));
        let cause = Cause { source, asked: asked.map(|g| g.asked), deed };
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
        self.sleep.is_asleep()
    }

    /// Whether the kernel's last word is that the machine sleeps.
    pub fn kernel_says_asleep(&self) -> bool {
        self.sleep.kernel.value
    }

    /// Whether logind's last word is that the machine sleeps: until it takes that back it takes no new order and no lock.
    pub fn logind_says_asleep(&self) -> bool {
        self.sleep.logind.value
    }

    /// Whether the machine is going down.
    pub fn is_going_down(&self) -> bool {
        self.going_down.is_going_down()
    }

    fn sees(&mut self, operation: Operation, at: BootTime) {
        self.operation.set(operation, at);
    }

    fn fused(&self) -> PowerState {
        match (self.is_going_down(), self.is_asleep(), self.operation.value) {
            (true, _, _) => PowerState::Off,
            (false, true, _) => PowerState::Standby,
            (false, false, Operation::Off) => PowerState::Off,
            (false, false, Operation::On | Operation::Unknown) => PowerState::On,
        }
    }
}
