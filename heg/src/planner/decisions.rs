//! What was decided, when, why, for how much, and what came of it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use jiff::Timestamp;
use upnp::ids::Udn;

use crate::envelope;
use crate::journal::{Cause, Ending, Entry};
use crate::limits::DECISIONS_PER_APPLIANCE;
use crate::plan::Why;
use crate::rules::precedence::{Limited, Ruler};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Switch it on now.
    On,
    /// Switch it off, or send it to standby, now.
    Off,
    /// Start it at this time.
    Start(Timestamp),
    /// Leave work undone, so many millionths of it.
    Drop(u32),
}

impl Act {
    /// From the journal's word for it.
    fn parse(word: &str) -> Option<Self> {
        match word.strip_prefix("plan ")?.split_once(' ') {
            None if word == "plan on" => Some(Self::On),
            None if word == "plan off" => Some(Self::Off),
            Some(("start", at)) => at.parse().ok().map(Self::Start),
            Some(("without", percent)) => {
                let percent: u32 = percent.strip_suffix(" %")?.parse().ok()?;
                Some(Self::Drop(percent.checked_mul(10_000)?))
            }
            _ => None,
        }
    }

    /// From the action that carries it out.
    fn of_order(action: &str) -> Option<Self> {
        match action {
            "OperationOn" => Some(Self::On),
            "OperationOff" | "GoToStandby" => Some(Self::Off),
            _ => None,
        }
    }
}

impl fmt::Display for Act {
    /// The journal's word for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("plan on"),
            Self::Off => f.write_str("plan off"),
            Self::Start(at) => write!(f, "plan start {at:.0}"),
            Self::Drop(ppm) => write!(f, "plan without {} %", ppm.div_ceil(10_000)),
        }
    }
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its number since the start.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// Whose matter.
    pub udn: Udn,
    /// What.
    pub act: Act,
    /// The kind of input that decided, in one word: `price`, `limit`, `fuse`, `control`, `person`...
    pub kind: &'static str,
    /// What decided it.
    pub cause: Cause,
    /// In a sentence.
    pub because: Box<str>,
    /// Against running at once, as reckoned then; millionths of the currency.
    pub saves: Option<i64>,
    /// What came of it; `None` while it is under way.
    pub outcome: Option<(Ending, Box<str>)>,
}

impl Decision {
    /// Who refused, where somebody did.
    pub fn refused_by(&self) -> Option<&'static str> {
        match self.outcome.as_ref()?.0 {
            Ending::Refused => Some("the appliance"),
            Ending::Declined => Some("the gateway"),
            _ => None,
        }
    }

    /// Whether the planner has decided it, and not a person, the utility or a registration.
    pub(super) fn is_own(&self) -> bool {
        others(self.cause).is_none_or(|(kind, _)| kind != self.kind)
    }

    /// Whether a limit has decided it.
    pub(super) fn is_of_limit(&self) -> bool {
        self.is_own() && matches!(self.cause, Cause::Utility(_) | Cause::Failsafe)
    }

    /// Writes it to the log, each part as a field of its own.
    pub fn log(&self) {
        let Self { id, udn, act, kind, cause, because, saves, .. } = self;
        let (outcome, reason) = self.outcome.as_ref().map_or((None, ""), |(ending, why)| (Some(ending.as_str()), why));
        let refused_by = self.refused_by();
        tracing::info!(
            decision = id, %udn, %act, kind, %cause, because, saves_millionths = saves, outcome, refused_by, reason, "decided"
        );
    }
}

/// The last decisions about each appliance.
#[derive(Clone, Debug, Default)]
pub(super) struct Decisions {
    of: BTreeMap<Udn, VecDeque<Decision>>,
    last: u64,
    counts: BTreeMap<&'static str, u64>,
}

impl Decisions {
    /// All since the start, by [`Decision::kind`].
    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Enters a decision under the next number.
    pub(super) fn enter(&mut self, decision: Decision) -> Decision {
        self.last += 1;
        *self.counts.entry(decision.kind).or_default() += 1;
        let decision = Decision { id: self.last, ..decision };
        let of = self.of.entry(decision.udn.clone()).or_default();
        if of.len() >= DECISIONS_PER_APPLIANCE {
            of.pop_front();
        }
        of.push_back(decision.clone());
        decision
    }

    /// What came of the last switching of an appliance.
    pub(super) fn ended(&mut self, udn: &Udn, ending: Ending, reason: &str) -> Option<&Decision> {
        let of = self.of.get_mut(udn)?;
        let open = of.iter_mut().rev().find(|d| matches!(d.act, Act::On | Act::Off) && d.outcome.is_none())?;
        open.outcome = Some((ending, reason.into()));
        Some(open)
    }

    /// From the journal, after a restart: what was decided, or what came of it. Not counted: that was before.
    pub(super) fn remember(&mut self, entry: &Entry) {
        let Some(udn) = entry.udn.clone() else { return };
        let of = self.of.entry(udn.clone()).or_default();
        let own = matches!(entry.ending, Ending::Decided | Ending::Dropped);
        let act = if own { Act::parse(&entry.action) } else { Act::of_order(&entry.action) };
        let Some(act) = act else { return };
        let outcome = (!own).then(|| (entry.ending, entry.reason.clone()));
        let is_its = |d: &&mut Decision| (d.cause, d.act) == (entry.cause, act) && d.outcome.is_none();
        if let (Some(outcome), Some(decision)) = (&outcome, of.iter_mut().rev().find(is_its)) {
            decision.outcome = Some(outcome.clone());
            return;
        }
        let (kind, because) = match entry.cause {
            cause if own => (kind(cause), entry.reason.clone()),
            cause => match others(cause) {
                Some((kind, because)) => (kind, because.into()),
                None => return,
            },
        };
        self.last += 1;
        if of.len() >= DECISIONS_PER_APPLIANCE {
            of.pop_front();
        }
        let (id, at, cause) = (self.last, entry.at, entry.cause);
        of.push_back(Decision { id, at, udn, act, kind, cause, because, saves: None, outcome });
    }

    /// What decided last that an appliance goes off.
    pub(super) fn last_off(&self, udn: &Udn) -> Option<Cause> {
        self.of(udn).filter(|d| d.act == Act::Off).last().map(|d| d.cause)
    }

    /// Those about an appliance, the oldest first.
    pub(super) fn of(&self, udn: &Udn) -> impl Iterator<Item = &Decision> {
        self.of.get(udn).into_iter().flatten()
    }

    /// What an appliance was last switched to, as far as is known: carried out, or under way.
    pub(super) fn switched(&self, udn: &Udn) -> Option<&Decision> {
        let carried_out = |decision: &&Decision| {
            let ending = decision.outcome.as_ref().map(|(ending, _)| ending);
            ending.is_none_or(|ending| matches!(ending, Ending::Done | Ending::Already | Ending::TimedOut))
        };
        self.of(udn).filter(|d| matches!(d.act, Act::On | Act::Off)).filter(carried_out).last()
    }

    /// An appliance is no more.
    pub(super) fn forget(&mut self, udn: &Udn) {
        self.of.remove(udn);
    }
}

/// What a person, the utility or a registration ordered: its kind and, for people, who it was.
pub(super) fn others(cause: Cause) -> Option<(&'static str, String)> {
    match cause {
        Cause::Person(uid) => Some(("person", format!("a person ordered it (user {uid})"))),
        Cause::Utility(id) => Some(("control", format!("the utility ordered it (control {id})"))),
        Cause::Registration(reg) => Some(("registration", format!("its WakeUpTime has come (RegID {reg})"))),
        _ => None,
    }
}

/// The kind of input that decided what the planner orders: where that is the utility's, it is a limit.
pub(super) fn kind(cause: Cause) -> &'static str {
    if let Cause::Utility(_) = cause { "limit" } else { cause.word() }
}

/// The journal's word for who decided. `tight` is what leaves no room now, if anything does.
pub(super) fn cause(by: Ruler, tight: Option<Limited>) -> Cause {
    match by {
        Ruler::Limit(by) => limited(Some(by)),
        Ruler::OrderOff(id) | Ruler::OrderOn(id) | Ruler::OptOut(id) => Cause::Rule(id),
        Ruler::Request(reg) => Cause::Registration(reg),
        Ruler::Comfort(crate::rules::Source::Rule(id)) => Cause::Rule(id),
        Ruler::Control(id) => Cause::Utility(id),
        Ruler::Plan(why) => planned(why, tight),
        Ruler::Appliance => Cause::Appliance,
        Ruler::Comfort(_) | Ruler::Nobody => Cause::Gateway,
    }
}

/// The journal's word for what decided in the plan.
pub(super) fn planned(why: Why, tight: Option<Limited>) -> Cause {
    match why {
        Why::Price => Cause::Price,
        Why::Window | Why::Deadline => Cause::Window,
        Why::Cap => limited(tight),
        Why::Frozen | Why::Hysteresis | Why::MinimumTime | Why::Kept | Why::Override | Why::LeftOn => Cause::Plan,
    }
}

/// The way back after a limit is the plan's own.
fn limited(by: Option<Limited>) -> Cause {
    match by {
        Some(Limited::By(envelope::Cause::Limit(id))) => Cause::Utility(id),
        Some(Limited::By(envelope::Cause::Start | envelope::Cause::Failsafe)) => Cause::Failsafe,
        Some(Limited::Fuse) => Cause::Fuse,
        Some(Limited::Comeback) | None => Cause::Plan,
    }
}
