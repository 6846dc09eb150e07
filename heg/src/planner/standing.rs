//! What the planner knows of one appliance.
#![forbid(unsafe_code)]

use energy_model::{PowerState, RegId};

use super::exchange::Control;
use super::work::{Work, cycle_s};
use crate::commands::Verb;
use crate::journal::Cause;
use crate::limits::{
    COMMANDED_WITHIN_S, LATE_OBEYED_S, MEASURED_KEPT_S, ORDER_S_MAX, PLAN_RETRY_FIRST_S, PLAN_RETRY_MAX_S,
    PLAN_WATTS_MAX, WOKEN_KEPT_S,
};
use crate::rules::load::{Load, Task};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// As a load, under the rules of the moment.
    pub(super) load: Load,
    /// Whether it is on; `None`: unknown.
    pub(super) on: Option<bool>,
    /// Since when, s.
    pub(super) since: i64,
    /// What it draws while on, W.
    pub(super) power_w: u32,
    /// What it was measured to draw when it was last on, W, and until when that counts once it is off.
    pub(super) measured: Option<(u32, i64)>,
    /// What the plan last switched it to, while it is so.
    pub(super) ours: Option<bool>,
    /// It is on, or was when it was switched off, for its work or window alone: when that is over it has no reason to be on.
    pub(super) for_work: bool,
    /// An order of ours under way.
    pub(super) ordered: Option<(bool, Cause)>,
    /// An order of ours that nobody knows to have been obeyed: to what, and until when a change of state counts as its.
    pub(super) late: Option<(bool, i64)>,
    /// What the store has of its pause.
    pub(super) kept_pause: Option<Pause>,
    /// The command that ended last: to what, for whom, and until when a change of state counts as its.
    pub(super) commanded: Option<(bool, Cause, i64)>,
    /// It has refused, or did not answer.
    pub(super) unwilling: Option<Unwilling>,
    /// It was woken by this registration, and is not sent back to sleep before then.
    pub(super) woken: Option<(RegId, i64)>,
    /// What the utility has ordered.
    pub(super) control: Option<Control>,
    /// What it is to do.
    pub(super) work: Option<Work>,
    /// The start that was told last.
    pub(super) told_start: Option<i64>,
    /// What was told last to be left undone, so much.
    pub(super) told_dropped: Option<u32>,
}

/// What the plan or a control has done with an appliance that a restart must not forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// It is ordered off for a while, and that may not have happened.
    Ordered,
    /// It is off, and is to go on again.
    Off,
    /// It is on for its work alone, and is to go off when that is done.
    Work,
}

impl Pause {
    /// As it is kept.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Off => "yes",
            Self::Work => "work",
        }
    }

    /// From what was kept.
    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Ordered, Self::Off, Self::Work].into_iter().find(|pause| pause.word() == word)
    }
}

/// An order that was not obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unwilling {
    /// Not asked again before.
    pub(super) until: i64,
    /// Whether that time has come and was noticed.
    pub(super) over: bool,
    /// How often in a row.
    pub(super) times: u32,
    /// Why, in its words.
    pub(super) why: Box<str>,
}

impl Unwilling {
    /// Once more, later than the last time.
    pub(super) fn again(before: Option<&Self>, why: &str, now: i64) -> Self {
        let times = before.map_or(0, |b| b.times) + 1;
        let delay = (PLAN_RETRY_FIRST_S << (times - 1).min(8)).min(PLAN_RETRY_MAX_S);
        Self { until: now + delay, over: false, times, why: why.into() }
    }
}

impl Standing {
    /// An appliance not seen before.
    pub(super) fn new(load: Load) -> Self {
        Self {
            load,
            on: None,
            since: 0,
            power_w: 0,
            measured: None,
            ours: None,
            for_work: false,
            ordered: None,
            late: None,
            kept_pause: None,
            commanded: None,
            unwilling: None,
            woken: None,
            control: None,
            work: None,
            told_start: None,
            told_dropped: None,
        }
    }

    /// What the plan has to reckon with while it is on, W: what it says of itself, or more where more was measured.
    pub(super) fn planned_w(&self, at: i64) -> u32 {
        let measured =
            self.measured.filter(|(_, until)| self.on == Some(true) || *until > at).map_or(0, |(watts, _)| watts);
        self.load.power_w.max(measured).min(PLAN_WATTS_MAX)
    }

    /// Whether it was switched off for a while, and is to go on again when the reason for that is gone.
    pub(super) fn is_paused(&self) -> bool {
        self.ours == Some(false) && !self.for_work
    }

    /// Whether there is nothing for it to do now, although that is what it is switched on for.
    pub(super) fn is_idle(&self, at: i64) -> bool {
        let idle = self.work.as_ref().is_none_or(|work| work.done || work.start > at);
        matches!(self.load.task, Ok(Task::Energy { .. })) && idle
    }

    /// Whether a cycle is running, the plan's or one that somebody has started.
    pub(super) fn runs_cycle(&self, at: i64) -> bool {
        let Ok(Task::Cycle { phases, .. }) = &self.load.task else { return false };
        let began = self.work.as_ref().and_then(|work| work.began).unwrap_or(self.since);
        self.on == Some(true) && began.max(self.since) + cycle_s(phases) > at
    }

    /// Whether there is work for it later, and nothing holds it on until then.
    pub(super) fn awaits_work(&self, at: i64) -> bool {
        let held = self.since + i64::from(self.load.minimum_on_s) > at;
        self.work.as_ref().is_some_and(|work| !work.done && work.start > at) && !held
    }

    /// What a restart must not forget of it, as it has to be in the store.
    pub(super) fn pause(&self) -> Option<Pause> {
        if self.for_work {
            return (self.on != Some(false)).then_some(Pause::Work);
        }
        let ordered = self.ordered.map(|(to, _)| to) == Some(false) || self.late.is_some_and(|(to, _)| !to);
        match self.ours {
            Some(false) => Some(Pause::Off),
            _ => ordered.then_some(Pause::Ordered),
        }
    }

    /// Forgets what cannot be that far ahead: the clock was, and is no more.
    pub(super) fn mend_times(&mut self, at: i64) {
        let within = |until: i64, most: i64| until <= at + most;
        self.since = self.since.min(at);
        self.unwilling = self.unwilling.take().filter(|u| within(u.until, PLAN_RETRY_MAX_S));
        self.control = self.control.filter(|c| within(c.until, ORDER_S_MAX));
        self.late = self.late.filter(|(_, until)| within(*until, LATE_OBEYED_S));
        self.commanded = self.commanded.filter(|(.., until)| within(*until, COMMANDED_WITHIN_S));
        self.woken = self.woken.filter(|(_, until)| within(*until, WOKEN_KEPT_S));
        self.measured = self.measured.filter(|(_, until)| within(*until, MEASURED_KEPT_S));
        if self.work.as_mut().is_some_and(|work| !work.mend_times(at)) {
            self.work = None;
        }
    }

    /// Whether it is not to be asked now.
    pub(super) fn is_unwilling(&self, now: i64) -> bool {
        self.unwilling.as_ref().is_some_and(|u| u.until > now)
    }

    /// Whether off is Standby.
    pub(super) fn sleeps(&self) -> bool {
        matches!(self.load.task, Ok(Task::Presence { standby: true, .. }))
    }

    /// The command that switches it.
    pub(super) fn verb(&self, on: bool) -> Verb {
        match on {
            true => Verb::On,
            false if self.sleeps() => Verb::Standby,
            false => Verb::Off,
        }
    }
}

/// Whether a state is on; `None`: unknown.
pub(super) fn is_on(state: Option<PowerState>) -> Option<bool> {
    state.map(|state| state == PowerState::On)
}

/// To what a command switches; `None`: not about operation.
pub(super) fn switches(verb: Verb) -> Option<bool> {
    match verb {
        Verb::On | Verb::Wake => Some(true),
        Verb::Off | Verb::Standby => Some(false),
        Verb::Period(_) | Verb::Withdraw(_) => None,
    }
}
