//! From what is known to a [`Problem`]: slots from prices and limits, loads from appliances, base load from the rest.
#![forbid(unsafe_code)]

use energy_model::Importance;
use jiff::Timestamp;
use upnp::ids::Udn;

use super::standing::{Standing, is_on};
use super::work::{Work, cycle_s};
use super::{Planner, daily};
use crate::gateway::Gateway;
use crate::limits::{
    PLAN_AHEAD_MAX_S, PLAN_AHEAD_MIN_S, PLAN_REBUILDS_PER_PAIR, PLAN_RESERVE_S, PLAN_SLOT_S, PLAN_SWITCH_APART_S,
    PLAN_WINDOWS_MAX,
};
use crate::plan::slots::{LimitSpan, Outlook, SlotsError, cut};
use crate::plan::{self, Before, Budget, LoadId, Now, Override, Phase, Problem, Span};
use crate::registrations::Wish;
use crate::rules::load::Task;
use crate::rules::{Consent, RuleId, What};

impl Planner {
    /// The problem at `at`, and whose its loads are.
    pub(super) fn problem(&self, gateway: &Gateway, at: i64) -> Result<(Problem, Vec<Udn>), SlotsError> {
        let ahead = self.tariff.until().unwrap_or(0).clamp(at + PLAN_AHEAD_MIN_S, at + PLAN_AHEAD_MAX_S);
        let span = Span { start: at, end: ahead };
        let (mut loads, mut whose, mut before) = (Vec::new(), Vec::new(), Vec::new());
        let mut base_w = self.settings.base_w;
        for (udn, standing) in &self.standings {
            let id = LoadId(u32::try_from(loads.len()).unwrap_or(u32::MAX));
            match self.load(gateway, udn, standing, id, span) {
                Some(load) => {
                    before.extend(self.runs.get(udn).map(|runs| Before { id, runs: runs.clone() }));
                    loads.push(load);
                    whose.push(udn.clone());
                }
                None => base_w = base_w.saturating_add(drawn(gateway, udn, standing)),
            }
        }
        // A minimum time or a person's order ends within a quarter hour: what it holds up waits no longer than that.
        let orders = loads.iter().filter_map(|load| Some(load.ordered?.until));
        let edges: Vec<i64> = loads.iter().filter_map(minimum_ends).chain(orders).collect();
        let slots = cut(&Outlook {
            span,
            slot_s: PLAN_SLOT_S,
            prices: &self.tariff.ahead(at),
            limits: &self.limit_spans(),
            always_w: self.settings.fuse_w,
            comeback: Some(self.settings.comeback),
            base: &[(span, base_w)],
            edges: &edges,
        })?;
        let seed = plan::seed(&self.home, self.plan_number);
        let keep_unless_saves = self.settings.keep_unless_saves;
        let budget = Budget::for_loads(loads.len());
        // Few loads can be put together in few ways; each alone is placed exactly at once.
        let pairs = u32::try_from(loads.len() * loads.len()).unwrap_or(u32::MAX);
        let budget = Budget { rebuilds: budget.rebuilds.min(PLAN_REBUILDS_PER_PAIR.saturating_mul(pairs)), ..budget };
        Ok((Problem { slots, loads, before, keep_unless_saves, seed, budget }, whose))
    }

    /// Limits that hold or are coming, and those just ended.
    fn limit_spans(&self) -> Vec<LimitSpan> {
        let ends = self.caps.iter().skip(1).map(|(at, _)| *at).chain([i64::MAX]);
        let ahead = self.caps.iter().zip(ends).filter_map(|((start, cap), end)| {
            cap.map(|cap| LimitSpan { span: Span { start: *start, end }, watts: cap.watts.count() })
        });
        self.ended.iter().copied().chain(ahead).collect()
    }

    /// An appliance as a load of the plan; `None` where the plan has nothing to do with it.
    fn load(&self, gateway: &Gateway, udn: &Udn, standing: &Standing, id: LoadId, span: Span) -> Option<plan::Load> {
        let Standing { load, .. } = standing;
        let watts = standing.planned_w(span.start);
        let (task, on) = (load.task.as_ref().ok()?, standing.on?);
        let ordered = self.order(udn, span.start);
        let planned = self.is_planned(udn, standing, span.start);
        if load.consent.0 == Consent::No || standing.is_unwilling(span.start) {
            return None;
        }
        // A person's order to sleep against a registration: the registration stands.
        let requested = standing.sleeps() && on && self.requested(gateway, udn, span.start).is_some();
        let ordered = ordered.filter(|(to, ..)| *to || !requested);
        let work = match (task, &standing.work) {
            (Task::Cycle { phases, .. }, Some(work)) if !work.done && (planned || work.began.is_some()) => {
                // One that is on and was not begun has to be off before it can be begun.
                if work.start >= span.end || (on && work.began.is_none()) {
                    return None;
                }
                let running_since = work.began.filter(|began| began + cycle_s(phases) > span.start);
                let phases = match work.began {
                    Some(began) => measured(phases, began, span.start, watts, load.power_w),
                    None => phases.clone(),
                };
                let deadline = in_time(work, span.start, cycle_s(&phases));
                plan::Work::Cycle { phases, earliest: work.start, deadline, running_since }
            }
            (Task::Cycle { .. }, _) => return None,
            (Task::Energy { .. }, Some(work)) if !work.done && planned => {
                let ordered_on = ordered.filter(|(to, ..)| *to).map(|(.., until)| until);
                if work.start > span.start
                    && (ordered_on.is_some() || (on && self.is_held_on(standing, span.start, ordered)))
                {
                    // What it draws until its work begins counts, and is none of the work. That is planned again when it has gone off.
                    let wanted = ordered_on.map(|until| Span { start: span.start, end: until.min(span.end) });
                    let kept = if on { self.kept(gateway, udn, standing, span) } else { Vec::new() };
                    let wanted = wanted.into_iter().collect();
                    plan::Work::Presence { watts, rest_w: load.rest_w, wanted, kept, price_max: None }
                } else if work.start >= span.end {
                    return None;
                } else {
                    let deadline = in_time(work, span.start, takes_s(work.left_wh(), watts));
                    plan::Work::Energy { watts, energy_wh: work.left_wh(), earliest: work.start, deadline }
                }
            }
            // On for work that is done, or switched off in the midst of it: there is nothing to go on with.
            (Task::Energy { .. }, _) if planned && standing.for_work && ordered.is_none_or(|(to, ..)| !to) => {
                return None;
            }
            (Task::Energy { .. } | Task::Presence { .. }, _) => {
                let (wanted, price_max) = self.wanted(gateway, udn, standing, planned, span)?;
                let kept = if on { self.kept(gateway, udn, standing, span) } else { Vec::new() };
                plan::Work::Presence { watts, rest_w: load.rest_w, wanted, kept, price_max }
            }
        };
        let since = span.start - standing.since;
        let fresh = standing.ours == Some(on) && ordered.is_none() && since < i64::from(PLAN_SWITCH_APART_S);
        let free = if on { self.is_roomy(gateway, span.start) } else { !begins_since(&work, standing.since) };
        let apart = if fresh && free { PLAN_SWITCH_APART_S } else { 0 };
        // Somebody who says how long means it, less than that too.
        let seconds = |own: u32, named: bool| if named { own } else { own.max(apart) };
        Some(plan::Load {
            id,
            importance: load.importance.0,
            work,
            min_on_s: seconds(load.minimum_on_s, load.minimum_on_named),
            min_off_s: seconds(load.minimum_off_s, load.minimum_off_named),
            start_cost: load.start_cost,
            now: if on {
                Now::On((!standing.found_on).then_some(standing.since))
            } else {
                Now::Off(Some(standing.since))
            },
            ordered: ordered.map(|(on, _, until)| Override { on, until }),
        })
    }

    /// Whether one that is on stays so for now, although it is not time for its work: for its minimum time, or for a rule of comfort.
    fn is_held_on(&self, standing: &Standing, at: i64, ordered: Option<(bool, RuleId, i64)>) -> bool {
        (ordered.is_none() && standing.is_minimum_on(at)) || self.comfort(standing, at).is_some()
    }

    /// Whether nothing has to go off at once: no limit holds, none is being come back from, and the fuse bears what is on.
    fn is_roomy(&self, gateway: &Gateway, at: i64) -> bool {
        let fits = |fuse: u32| self.drawn_w(gateway) <= fuse;
        !self.is_rising(at) && self.cap(at).is_none() && self.settings.fuse_w.is_none_or(fits)
    }

    /// What the home draws, as far as is known: what is on, and the rest, W.
    pub(super) fn drawn_w(&self, gateway: &Gateway) -> u32 {
        let drawn = self.standings.iter().map(|(udn, standing)| drawn(gateway, udn, standing));
        drawn.fold(self.settings.base_w, u32::saturating_add)
    }

    /// When it is wanted on. Where nobody says when, it is wanted for as long as it is on, or was switched off by the plan.
    fn wanted(
        &self,
        gateway: &Gateway,
        udn: &Udn,
        standing: &Standing,
        planned: bool,
        span: Span,
    ) -> Option<(Vec<Span>, Option<i64>)> {
        let ordered_on = self.order(udn, span.start).is_some_and(|(on, ..)| on);
        let goes_on = standing.on == Some(true) || standing.is_paused();
        let open = || if goes_on { vec![span] } else { vec![] };
        let (mut wanted, price_max) = match &standing.load.task {
            Ok(Task::Presence { only, price_max, .. }) if planned => {
                let windows = || only.iter().flat_map(|w| daily::spans(*w, &self.settings.zone, span)).collect();
                (if only.is_empty() { open() } else { windows() }, price_max.map(|(price, _)| price))
            }
            _ => (open(), None),
        };
        for registration in gateway.registrations().of(udn) {
            if let Wish::Standby(window) = registration.wish {
                // It sleeps by itself then.
                wanted = without(wanted, &daily::spans(window, &self.settings.zone, span));
            }
        }
        wanted.truncate(PLAN_WINDOWS_MAX);
        (!wanted.is_empty() || standing.on == Some(true) || ordered_on).then_some((wanted, price_max))
    }

    /// When it must not be switched off.
    fn kept(&self, gateway: &Gateway, udn: &Udn, standing: &Standing, span: Span) -> Vec<Span> {
        let zone = &self.settings.zone;
        let mut kept: Vec<Span> =
            standing.load.keep_on.iter().flat_map(|(window, _)| daily::spans(*window, zone, span)).collect();
        if standing.sleeps() {
            for registration in gateway.registrations().of(udn) {
                if let Wish::NoStandby(window) = registration.wish {
                    kept.extend(daily::spans(window, zone, span));
                }
            }
        }
        kept.extend(standing.woken.map(|(_, until)| Span { start: span.start, end: until }));
        if standing.load.importance.0 == Importance::Critical {
            kept.push(span);
        }
        kept.truncate(PLAN_WINDOWS_MAX);
        kept
    }

    /// Whether price, time and importance may move it now.
    pub(super) fn is_planned(&self, udn: &Udn, standing: &Standing, at: i64) -> bool {
        standing.load.consent.0 == Consent::Yes && self.opted_out(udn, at).is_none()
    }

    /// A person's order that holds: on or off, by which rule, until when.
    pub(super) fn order(&self, udn: &Udn, at: i64) -> Option<(bool, RuleId, i64)> {
        let rule = self.book.weightiest(udn, timestamp(at), |what| matches!(what, What::Order { .. }))?;
        let What::Order { on } = rule.what else { return None };
        Some((on, rule.id, rule.until?.as_second()))
    }

    /// The rule by which it is out of the plan.
    pub(super) fn opted_out(&self, udn: &Udn, at: i64) -> Option<RuleId> {
        let of_plan = |what: &What| matches!(what, What::OptOut(of) if of.of_plan());
        self.book.weightiest(udn, timestamp(at), of_plan).map(|rule| rule.id)
    }
}

/// By when work is planned to be done that takes so long: a little before its time is over, where that leaves enough of it.
fn in_time(work: &Work, at: i64, takes_s: i64) -> i64 {
    let soonest = work.start.max(at).saturating_add(takes_s);
    (work.end - PLAN_RESERVE_S).max(soonest.min(work.end))
}

/// What an appliance draws that is on, or was when it was last heard, and is not in the plan.
fn drawn(gateway: &Gateway, udn: &Udn, standing: &Standing) -> u32 {
    let last_known = || is_on(gateway.registry().get(udn)?.profile().last_known);
    if standing.on.or_else(last_known) == Some(true) { standing.power_w } else { 0 }
}

/// The phases of a cycle that began at `began`, the one that runs at `at` with what is measured where that is more.
fn measured(phases: &[Phase], began: i64, at: i64, watts: u32, rated: u32) -> Vec<Phase> {
    let mut end = began;
    let running = |phase: &Phase| {
        end += i64::from(phase.seconds);
        let now = watts > rated && (end - i64::from(phase.seconds)..end).contains(&at);
        Phase { watts: if now { phase.watts.max(watts) } else { phase.watts }, ..*phase }
    };
    phases.iter().map(running).collect()
}

/// When the minimum time that holds a load now is over.
fn minimum_ends(load: &plan::Load) -> Option<i64> {
    match load.now {
        Now::On(since) => Some(since? + i64::from(load.min_on_s)),
        Now::Off(since) => Some(since? + i64::from(load.min_off_s)),
    }
}

/// Whether it began to be wanted after that instant, within the time in which nothing is switched back, or would be done too late after that.
fn begins_since(work: &plan::Work, since: i64) -> bool {
    let free = since + i64::from(PLAN_SWITCH_APART_S);
    let soon = since..=free;
    match work {
        // What is wanted already has a beginning before, or that of the plan.
        plan::Work::Presence { wanted, .. } => wanted.iter().any(|span| soon.contains(&span.start)),
        plan::Work::Energy { watts, energy_wh, earliest, deadline } => {
            soon.contains(earliest) || free.saturating_add(takes_s(*energy_wh, *watts)) > *deadline
        }
        plan::Work::Cycle { phases, earliest, deadline, .. } => {
            soon.contains(earliest) || free.saturating_add(cycle_s(phases)) > *deadline
        }
    }
}

/// How long an amount of energy takes, s.
fn takes_s(energy_wh: u32, watts: u32) -> i64 {
    i64::try_from((u64::from(energy_wh) * 3600).div_ceil(u64::from(watts.max(1)))).unwrap_or(i64::MAX)
}

/// The instant as the rest of the gateway has it.
pub(super) fn timestamp(at: i64) -> Timestamp {
    Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `spans` without `others`.
fn without(spans: Vec<Span>, others: &[Span]) -> Vec<Span> {
    others.iter().fold(spans, |spans, other| {
        let parts = |span: Span| {
            [
                Span { start: span.start, end: span.end.min(other.start) },
                Span { start: span.start.max(other.end), end: span.end },
            ]
        };
        spans.into_iter().flat_map(parts).filter(|part| part.start < part.end).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: i64, end: i64) -> Span {
        Span { start, end }
    }

    #[test]
    fn what_sleeps_by_itself_is_cut_out_of_what_is_wanted() {
        let cut = without(vec![span(0, 10), span(20, 30)], &[span(8, 22), span(25, 26)]);
        assert_eq!(cut, [span(0, 8), span(22, 25), span(26, 30)]);
        assert!(without(vec![span(0, 10)], &[span(-5, 50)]).is_empty());
    }
}
