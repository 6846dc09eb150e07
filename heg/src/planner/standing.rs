//! What the planner knows of one appliance.
#![forbid(unsafe_code)]

use energy_model::{PowerState, RegId};
use jiff::tz::TimeZone;
use upnp::ids::Udn;

use super::Slot;
use super::control::{Control, Ended};
use super::decisions::{Act, Decision};
use super::savings::{Ledger, Sums};
use super::tariff::Tariff;
use super::work::{Work, cycle_s};
use crate::commands::Verb;
use crate::journal::Cause;
use crate::limits::{
    ACCOUNT_GAP_MAX_S, COMMANDED_WITHIN_S, LATE_OBEYED_S, MEASURED_KEPT_S, ORDER_S_MAX, PLAN_RETRY_FIRST_S,
    PLAN_RETRY_MAX_S, PLAN_WATTS_MAX, WOKEN_KEPT_S,
};
use crate::plan::Span;
use crate::rules::Consent;
use crate::rules::load::{Load, Task};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// As a load, under the rules of the moment.
    pub(super) load: Load,
    /// Whether it is on; `None`: unknown.
    pub(super) on: Option<bool>,
    /// Since when, s; one that was ON when it fell silent and is ON when it is heard again was so meanwhile.
    pub(super) since: i64,
    /// It was on when it was first seen, and nobody knows since when: its minimum time counts as over.
    pub(super) found_on: bool,
    /// Since when it is out of sight, s, having been on.
    pub(super) unseen_since: Option<i64>,
    /// It was heard since the start.
    pub(super) heard: bool,
    /// It answers, as far as is known.
    pub(super) reachable: bool,
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
    /// Whose say over it ended last.
    pub(super) ended: Option<Ended>,
    /// The limit that holds has switched it off, or keeps it off.
    pub(super) limited: bool,
    /// What it is to do.
    pub(super) work: Option<Work>,
    /// The start that was told last.
    pub(super) told_start: Option<i64>,
    /// What was told last to be left undone, so much.
    pub(super) told_dropped: Option<u32>,
}

/// What the store has of an appliance.
#[derive(Clone, Debug, Default)]
pub(super) struct Left {
    /// Its work.
    pub(super) work: Option<Work>,
    /// Its pause.
    pub(super) pause: Option<Pause>,
    /// The utility's order that holds.
    pub(super) control: Option<Control>,
    /// Whose say over it ended last.
    pub(super) ended: Option<Ended>,
    /// An order of the utility's to switch it off was under way when the gateway ended. The utility's own rows have that.
    pub(super) cut_short: bool,
}

impl Left {
    /// Forgets what cannot be that far ahead: the clock was, and is no more.
    pub(super) fn mend_times(&mut self, at: i64) {
        self.work.take_if(|work| !work.mend_times(at));
        self.control.take_if(|control| control.until > at + ORDER_S_MAX);
        self.ended.take_if(|ended| ended.at > at);
    }

    /// As it is kept.
    pub(super) fn rows(&self, udn: &Udn) -> impl Iterator<Item = (Slot, String)> + use<> {
        let work = self.work.as_ref().and_then(|work| serde_json::to_string(work).ok());
        let rows = [
            (Slot::Work(udn.clone()), work),
            (Slot::Paused(udn.clone()), self.pause.map(|pause| pause.word().to_owned())),
            (Slot::Control(udn.clone()), self.control.and_then(|control| control.row())),
            (Slot::Ended(udn.clone()), self.ended.as_ref().and_then(Ended::row)),
        ];
        rows.into_iter().filter_map(|(slot, row)| Some((slot, row?)))
    }
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
    /// It was not reached.
    pub(super) unreachable: bool,
    /// Why, in its words.
    pub(super) why: Box<str>,
}

impl Unwilling {
    /// Once more, later than the last time.
    pub(super) fn again(before: Option<&Self>, why: &str, unreachable: bool, now: i64) -> Self {
        let times = before.map_or(0, |b| b.times) + 1;
        let delay = (PLAN_RETRY_FIRST_S << (times - 1).min(8)).min(PLAN_RETRY_MAX_S);
        Self { until: now + delay, over: false, times, unreachable, why: why.into() }
    }
}

impl Standing {
    /// An appliance not seen before.
    pub(super) fn new(load: Load) -> Self {
        Self {
            load,
            on: None,
            since: 0,
            found_on: false,
            unseen_since: None,
            heard: false,
            reachable: false,
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
            ended: None,
            limited: false,
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
        self.work.as_ref().is_some_and(|work| !work.done && work.start > at) && !self.is_minimum_on(at)
    }

    /// Whether it stays on for its minimum time.
    pub(super) fn is_minimum_on(&self, at: i64) -> bool {
        !self.found_on && self.since + i64::from(self.load.minimum_on_s) > at
    }

    /// It was so before, and is as it is now by its own word since `told`. Gives since when it has been on out of sight, where that is over.
    pub(super) fn seen(&mut self, was: Option<bool>, decided: Option<&Decision>, told: i64, at: i64) -> Option<i64> {
        match (was, self.on) {
            (was, is) if was == is => None,
            (Some(true), None) => {
                self.unseen_since = Some(at);
                None
            }
            // On before and after, so it was on meanwhile, as far as anybody can know.
            (None, Some(true)) if self.unseen_since.is_some() => self.unseen_since.take(),
            (None, Some(true)) => {
                let from = self.first_seen_on(decided, at);
                self.since = decided.filter(|_| !self.found_on).map_or(told, |decided| decided.at.as_second()).min(at);
                from
            }
            _ => {
                (self.unseen_since, self.found_on) = (None, false);
                // By a clock that has been set back since it would be on its minimum time for hours.
                self.since = told.min(at);
                None
            }
        }
    }

    /// It is on, and was not seen since the start of the gateway: what is known of it from before, by what was last decided and what is in the
    /// store. Since when it has been on, where its work has to count that.
    fn first_seen_on(&mut self, decided: Option<&Decision>, at: i64) -> Option<i64> {
        self.found_on = decided.is_none_or(|decided| decided.act != Act::On);
        let switched = decided.filter(|decided| decided.act == Act::On)?;
        // Who was switched on by the plan stays so for a little while, as without a restart.
        if self.ours.is_none() && switched.is_own() {
            self.ours = Some(true);
        }
        let switched = switched.at.as_second();
        let work = self.work.as_mut().filter(|work| !work.done && matches!(self.load.task, Ok(Task::Energy { .. })))?;
        let from = work.counted.map_or(switched, |counted| counted.max(switched)).max(work.start);
        if work.began.is_none() && from < at.min(work.end) {
            work.began = Some(from);
        }
        Some(from)
    }

    /// Enters energy and money of a time in which it was on.
    pub(super) fn used(&mut self, udn: &Udn, span: Span, tariff: &Tariff, ledger: &mut Ledger, zone: &TimeZone) {
        let energy_ws = u64::from(self.power_w) * u64::try_from(span.seconds()).unwrap_or(0);
        let cost = tariff.cost(span, self.power_w);
        match (&self.load.task, &mut self.work) {
            (Ok(Task::Energy { .. }), Some(work)) if !work.done && work.began.is_some() => {
                work.taken_ws = work.taken_ws.saturating_add(energy_ws);
                work.cost = work.cost.saturating_add(cost.unwrap_or(0));
                work.priced &= cost.is_some();
                work.counted = Some(span.end);
            }
            // Beyond what it was to take: by hand, or because it would not go off.
            (Ok(Task::Energy { .. } | Task::Presence { .. }), _) => {
                let cost = cost.unwrap_or(0);
                ledger.add(udn, Sums { cost, at_once: cost, energy_ws, not_used: 0 }, span.start, zone);
            }
            _ => {}
        }
    }

    /// The same of a time in which it was not seen, before and after which it was on: work takes no more of that than it needs.
    pub(super) fn used_unseen(&mut self, udn: &Udn, span: Span, tariff: &Tariff, ledger: &mut Ledger, zone: &TimeZone) {
        let end = span.end;
        let open = self.work.as_ref().filter(|work| !work.done && work.began.is_some());
        let most_s = match open.filter(|_| matches!(self.load.task, Ok(Task::Energy { .. }))) {
            Some(work) => i64::from(work.left_wh()) * 3600 / i64::from(self.power_w.max(1)) + 1,
            None => ACCOUNT_GAP_MAX_S,
        };
        let span = Span { end: end.min(span.start.saturating_add(most_s)), ..span };
        if self.load.consent.0 == Consent::Yes && span.start < span.end {
            self.used(udn, span, tariff, ledger, zone);
            if let Some(work) = &mut self.work {
                work.counted = work.counted.map(|_| end);
            }
        }
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
        self.unseen_since = self.unseen_since.map(|since| since.min(at));
        self.unwilling = self.unwilling.take().filter(|u| within(u.until, PLAN_RETRY_MAX_S));
        self.control = self.control.filter(|c| within(c.until, ORDER_S_MAX));
        self.late = self.late.filter(|(_, until)| within(*until, LATE_OBEYED_S));
        self.commanded = self.commanded.filter(|(.., until)| within(*until, COMMANDED_WITHIN_S));
        self.woken = self.woken.filter(|(_, until)| within(*until, WOKEN_KEPT_S));
        self.measured = self.measured.filter(|(_, until)| within(*until, MEASURED_KEPT_S));
        self.work.take_if(|work| !work.mend_times(at));
        self.ended.take_if(|ended| ended.at > at);
    }

    /// All of it that has to be in the store.
    pub(super) fn left(&self) -> Left {
        let (work, ended) = (self.work.clone(), self.ended.clone());
        Left { work, pause: self.pause(), control: self.control, ended, cut_short: false }
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
