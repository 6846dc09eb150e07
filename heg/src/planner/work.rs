//! The work of a cycle or a charge: what is to be done by when, and how far it is.
#![forbid(unsafe_code)]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use upnp::ids::Udn;

use super::daily;
use super::savings::Sums;
use super::tariff::Tariff;
use crate::limits::{PLAN_AHEAD_MAX_S, WORK_AHEAD_MAX_S};
use crate::plan::{Phase, Span};
use crate::rules::book::Book;
use crate::rules::load::Task;
use crate::rules::{RuleId, What};

/// Work that is to be done once between two instants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Work {
    /// The rule that asks for it, by its number; none: `every-day`.
    pub(super) rule: Option<u32>,
    /// It may be begun from then on.
    pub(super) start: i64,
    /// It is to be done by then.
    pub(super) end: i64,
    /// Energy to take, Wh; 0 for a cycle.
    pub(super) need_wh: u32,
    /// Since when it has been running.
    pub(super) began: Option<i64>,
    /// Energy taken, W s.
    pub(super) taken_ws: u64,
    /// Until when that is counted, where it was on then, s since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) counted: Option<i64>,
    /// What that cost, millionths of the currency.
    pub(super) cost: i64,
    /// Whether every price was known.
    pub(super) priced: bool,
    /// It went off once by itself, or by a hand, with little taken.
    #[serde(default)]
    pub(super) stopped: bool,
    /// Whether it is done.
    pub(super) done: bool,
    /// The beginning of the last daily window whose work is done or over; that is not asked for again.
    pub(super) past: Option<i64>,
}

impl Work {
    fn new(rule: Option<u32>, span: Span, need_wh: u32) -> Self {
        let Span { start, end } = span;
        Self {
            rule,
            start,
            end,
            need_wh,
            began: None,
            taken_ws: 0,
            counted: None,
            cost: 0,
            priced: true,
            stopped: false,
            done: false,
            past: None,
        }
    }

    /// It is done, or its time is over.
    pub(super) fn close(&mut self) {
        self.done = true;
        if self.rule.is_none() {
            self.past = self.past.max(Some(self.start));
        }
    }

    /// What a cycle cost that went off `lasted` seconds after it began; nothing of it is saved.
    pub(super) fn interrupted(&self, phases: &[Phase], lasted: i64, tariff: &Tariff) -> Sums {
        let mut left = u32::try_from(lasted).unwrap_or(0);
        let ran = phases.iter().map(|phase| {
            let seconds = phase.seconds.min(left);
            left -= seconds;
            Phase { seconds, ..*phase }
        });
        let ran: Vec<Phase> = ran.collect();
        let cost = self.began.and_then(|began| cycle_cost(&ran, began, tariff)).unwrap_or(0);
        Sums { cost, at_once: cost, energy_ws: cycle_ws(&ran), not_used: 0 }
    }

    /// Takes back what a clock that was ahead has said; `false`: it is of another time altogether.
    pub(super) fn mend_times(&mut self, at: i64) -> bool {
        let ahead = at + WORK_AHEAD_MAX_S;
        self.past = self.past.filter(|past| *past <= ahead);
        self.began = self.began.map(|began| began.min(at));
        self.counted = self.counted.filter(|counted| *counted <= at);
        self.rule.is_some() || self.start <= ahead
    }

    /// What it still needs, Wh.
    pub(super) fn left_wh(&self) -> u32 {
        let left_ws = (u64::from(self.need_wh) * 3600).saturating_sub(self.taken_ws);
        u32::try_from(left_ws.div_ceil(3600)).unwrap_or(u32::MAX)
    }

    /// What it used, where it is not known what that cost.
    pub(super) fn used(&self, task: &Task) -> Sums {
        let energy_ws = match task {
            Task::Cycle { phases, .. } if self.began.is_some() => cycle_ws(phases),
            Task::Cycle { .. } => 0,
            Task::Energy { .. } | Task::Presence { .. } => self.taken_ws,
        };
        Sums { cost: self.cost, at_once: self.cost, energy_ws, not_used: 0 }
    }

    /// What it cost, and what it would have cost at once; `None` where a price is not known.
    pub(super) fn sums(&self, task: &Task, power_w: u32, tariff: &Tariff) -> Option<Sums> {
        match task {
            Task::Cycle { .. } if self.began.is_none() => Some(Sums::default()),
            Task::Cycle { phases, .. } => self.began.and_then(|began| {
                let (cost, energy_ws) = (cycle_cost(phases, began, tariff)?, cycle_ws(phases));
                Some(Sums { cost, at_once: cycle_cost(phases, self.start, tariff)?, energy_ws, not_used: 0 })
            }),
            Task::Energy { .. } | Task::Presence { .. } => {
                let seconds = self.taken_ws / u64::from(power_w.max(1));
                let span = Span { start: self.start, end: self.start + i64::try_from(seconds).unwrap_or(0) };
                let at_once = tariff.cost(span, power_w).filter(|_| self.priced);
                at_once.map(|at_once| Sums { cost: self.cost, at_once, energy_ws: self.taken_ws, not_used: 0 })
            }
        }
    }
}

/// What a cycle costs when it begins at `start`.
pub(super) fn cycle_cost(phases: &[Phase], start: i64, tariff: &Tariff) -> Option<i64> {
    let mut at = start;
    phases.iter().try_fold(0i64, |sum, phase| {
        let span = Span { start: at, end: at + i64::from(phase.seconds) };
        at = span.end;
        Some(sum.saturating_add(tariff.cost(span, phase.watts)?))
    })
}

/// How long a cycle takes, s.
pub(super) fn cycle_s(phases: &[Phase]) -> i64 {
    phases.iter().map(|p| i64::from(p.seconds)).sum()
}

fn cycle_ws(phases: &[Phase]) -> u64 {
    phases.iter().map(|p| u64::from(p.seconds) * u64::from(p.watts)).sum()
}

/// The work that comes first of what rules and the configuration ask for. `last` is what there was before: its progress goes on where it is
/// still asked for, and it is not asked for again once it is done.
pub(super) fn next(udn: &Udn, task: &Task, book: &Book, zone: &TimeZone, at: i64, last: Option<&Work>) -> Option<Work> {
    let every_day = match task {
        Task::Presence { .. } => return None,
        Task::Cycle { every_day, .. } => every_day.map(|window| (window, 0)),
        Task::Energy { every_day } => *every_day,
    };
    let now = Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH);
    let asked = book.coming(udn, now).filter_map(|rule| {
        let need_wh = match (&rule.what, task) {
            (What::Run, Task::Cycle { .. }) => 0,
            (What::Charge(energy), Task::Energy { .. }) => *energy,
            _ => return None,
        };
        let RuleId::Made(number) = rule.id else { return None };
        let start = [rule.from, rule.made].into_iter().flatten().max()?.as_second();
        Some(Work::new(Some(number), Span { start, end: rule.until?.as_second() }, need_wh))
    });
    let ahead = Span { start: at, end: at + PLAN_AHEAD_MAX_S };
    let daily = every_day.into_iter().flat_map(|(window, need_wh)| {
        daily::spans(window, zone, ahead).into_iter().map(move |span| Work::new(None, span, need_wh))
    });
    let same = |work: &Work| last.filter(|last| last.rule == work.rule && last.start == work.start);
    let past = last.and_then(|last| last.past);
    let daily = daily.filter(|work| past.is_none_or(|past| work.start > past));
    let open = asked.chain(daily).filter(|work| work.end > at && same(work).is_none_or(|last| !last.done));
    let first = open.min_by_key(|work| (work.end, work.start))?;
    let progress = same(&first).cloned();
    let progress =
        progress.map_or(first.clone(), |progress| Work { end: first.end, need_wh: first.need_wh, ..progress });
    Some(Work { past, ..progress })
}
