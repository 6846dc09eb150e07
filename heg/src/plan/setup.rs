//! From a problem to what the search works on: what is settled beforehand is taken off the cap, the rest becomes jobs.
#![forbid(unsafe_code)]

use energy_model::Importance;

use super::cycle::{Cycle, footprint};
use super::energy::{self, Energy};
use super::grid::Grid;
use super::job::{Job, Kind, Loss, NEVER, Placement, Scratch, View};
use super::outcome::Why;
use super::presence::{self, Presence};
use crate::limits::PLAN_STEPS_PER_ENERGY;

use super::problem::{Load, Now, Phase, Problem, ProblemError, Span, Work};

/// Room where there is no cap; more than all loads together draw.
const NO_CAP: i64 = 1 << 40;

/// A run settled beforehand.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) span: Span,
    pub(super) energy_ws: i64,
    pub(super) cost: i64,
    pub(super) why: Why,
}

/// What is known of a load beside its job.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) settled: Option<Settled>,
    /// Presence: when it is wanted, before price has its say.
    pub(super) asked: Vec<Span>,
    /// Presence: when it must not be off.
    pub(super) kept: Vec<Span>,
    /// The best it could do without a cap.
    pub(super) alone: Placement,
}

pub(super) struct Setup {
    pub(super) grid: Grid,
    pub(super) loads: Vec<Load>,
    pub(super) jobs: Vec<Job>,
    pub(super) facts: Vec<Facts>,
    /// Watts that jobs may share in each slot.
    pub(super) room: Vec<i64>,
    /// The same before what is settled, ordered on or held on for a minimum time is taken off.
    pub(super) under_cap: Vec<i64>,
    /// The most that may be added to the cost of a watt in a slot, so that sums stay within 64 bits.
    pub(super) extra_max: i64,
    /// Work that can't be done even without a cap, by class.
    pub(super) unavoidable: Loss,
}

impl Setup {
    pub(super) fn new(problem: &Problem) -> Result<Self, ProblemError> {
        problem.check()?;
        let grid = Grid::new(problem.slots.clone());
        let extra_max = in_64_bits(&grid, &problem.loads)?;
        let rest: i64 = problem.loads.iter().map(rest_w).sum();
        let room = grid.slots.iter().map(|s| s.cap_w.map_or(NO_CAP, |cap| i64::from(cap) - i64::from(s.base_w) - rest));
        let room: Vec<i64> = room.collect();
        let mut setup = Self {
            under_cap: room.clone(),
            room,
            jobs: Vec::with_capacity(problem.loads.len()),
            facts: Vec::with_capacity(problem.loads.len()),
            unavoidable: Loss::default(),
            extra_max,
            loads: problem.loads.clone(),
            grid,
        };
        for load in &problem.loads {
            setup.add(load);
        }
        for i in 0..setup.loads.len() {
            setup.order(i);
        }
        let mut scratch = Scratch::default();
        for (job, facts) in setup.jobs.iter().zip(&mut setup.facts) {
            facts.alone = job.place(View { room: None, extra: None, miss: None }, &mut scratch);
            setup.unavoidable[job.class] += u64::from(facts.alone.missing);
        }
        Ok(setup)
    }

    fn add(&mut self, load: &Load) {
        let mut facts = Facts::default();
        let start = self.grid.span().start;
        let ordered_off = load.ordered.filter(|o| !o.on).map(|o| o.until);
        let (mut forced_until, mut barred_until) = (None, ordered_off);
        match load.now {
            Now::On(since) if ordered_off.is_none() => forced_until = since.map(|s| s + i64::from(load.min_on_s)),
            Now::Off(Some(since)) => barred_until = barred_until.max(Some(since + i64::from(load.min_off_s))),
            Now::On(_) | Now::Off(None) => {}
        }
        let start_cost = load.start_cost * super::grid::NANO;
        let on = matches!(load.now, Now::On(_));
        let kind = match &load.work {
            Work::Cycle { phases, running_since: Some(since), .. } => {
                facts.settled = self.settle(phases, *since, Why::Frozen);
                Kind::Fixed
            }
            Work::Cycle { phases, earliest, deadline, .. } => {
                let earliest = (*earliest).max(start).max(barred_until.unwrap_or(start));
                Kind::Cycle(Cycle::new(&self.grid, phases, earliest, *deadline, start_cost))
            }
            Work::Energy { watts, energy_wh, earliest, deadline } => {
                let earliest = (*earliest).max(start).max(barred_until.unwrap_or(start));
                let window = Span { start: earliest, end: *deadline };
                let (min_on_s, min_off_s) = (load.min_on_s, load.min_off_s);
                let wish = energy::Wish {
                    watts: *watts,
                    energy_wh: *energy_wh,
                    window,
                    on,
                    forced_until,
                    start_cost,
                    min_on_s,
                    min_off_s,
                };
                Energy::new(&self.grid, &wish).map_or(Kind::Fixed, |energy| {
                    let forced = energy.first()..energy.first() + energy.forced;
                    self.room[forced].iter_mut().for_each(|room| *room -= energy.watts);
                    Kind::Energy(energy)
                })
            }
            Work::Presence { watts, rest_w, wanted, kept, price_max } => {
                let ordered = load.ordered.map(|o| (o.on, Span { start, end: o.until }));
                let mut must = kept.clone();
                if load.importance == Importance::Critical {
                    must.extend(wanted);
                }
                let mut asked: Vec<Span> = wanted.iter().chain(kept).copied().collect();
                match ordered {
                    Some((true, span)) => asked.push(span),
                    Some((false, span)) => (asked, must) = (after(&asked, span.end), after(&must, span.end)),
                    None => {}
                }
                (facts.asked, facts.kept) = (joined(asked), joined(must));
                let paid = ordered.filter(|(on, _)| *on).map(|(_, span)| span);
                let wish = presence::Wish {
                    watts: watts - rest_w,
                    wanted: self.affordable(&facts, paid, *price_max),
                    kept: &facts.kept,
                    on,
                    forced_until,
                    barred_until,
                    start_cost,
                    min_on_s: load.min_on_s,
                    min_off_s: load.min_off_s,
                };
                Presence::new(&self.grid, wish).map_or(Kind::Fixed, |presence| {
                    presence.forced().for_each(|slot| self.room[slot] -= presence.watts);
                    Kind::Presence(presence)
                })
            }
        };
        self.jobs.push(Job { class: load.importance as usize, kind });
        self.facts.push(facts);
    }

    /// A run of phases that is settled, taken off the cap.
    fn settle(&mut self, phases: &[Phase], since: i64, why: Why) -> Option<Settled> {
        let length: i64 = phases.iter().map(|p| i64::from(p.seconds)).sum();
        let span = Span { start: since, end: since + length }.within(self.grid.span())?;
        let (first, draws) = footprint(&self.grid, phases, since);
        let (mut energy_ws, mut cost) = (0, 0);
        for (slot, (peak, energy)) in (first..).zip(&draws) {
            self.room[slot] -= i64::from(*peak);
            energy_ws += energy;
            cost += self.grid.cost(slot, *energy);
        }
        Some(Settled { span, energy_ws, cost, why })
    }

    /// What a person ordered on, as far as the cap has room for it.
    fn order(&mut self, i: usize) {
        let Some(until) = self.loads[i].ordered.filter(|o| o.on).map(|o| o.until) else { return };
        let run_s = i64::from(self.loads[i].min_on_s);
        let Self { grid, room, jobs, .. } = self;
        match &mut jobs[i].kind {
            Kind::Cycle(cycle) => {
                let now = View { room: Some(room), extra: None, miss: None };
                let Work::Cycle { phases, .. } = &self.loads[i].work else { return };
                let starts_now = cycle.start_at(grid, grid.span().start);
                let phases = phases.clone();
                if let Some(number) = starts_now.filter(|n| cycle.fits(*n, now)) {
                    let start_cost = cycle.at(number).cost;
                    let settled = self.settle(&phases, self.grid.span().start, Why::Override);
                    self.facts[i].settled = settled.map(|s| Settled { cost: start_cost, ..s });
                    self.jobs[i].kind = Kind::Fixed;
                }
            }
            Kind::Energy(energy) => {
                let before = energy.forced;
                energy.force(grid, until.max(grid.span().start + run_s), room);
                let added = energy.first() + before..energy.first() + energy.forced;
                room[added].iter_mut().for_each(|room| *room -= energy.watts);
                // When its work is done it stays on all the same.
                if energy.forced > 0 && energy.ends_in_forced() {
                    let rest = energy.first() + energy.forced..grid.len();
                    let rest = rest.take_while(|s| grid.slots[*s].span.start < until && room[*s] >= energy.watts);
                    rest.collect::<Vec<_>>().into_iter().for_each(|slot| room[slot] -= energy.watts);
                }
            }
            Kind::Presence(presence) => {
                let watts = presence.watts;
                let already: Vec<usize> = presence.forced().collect();
                presence.force(|slot| grid.slots[slot].span.start < until && room[slot] >= watts);
                let added: Vec<usize> = presence.forced().filter(|s| !already.contains(s)).collect();
                added.into_iter().for_each(|slot| room[slot] -= presence.watts);
            }
            Kind::Fixed => {}
        }
    }

    /// What is asked without the slots whose price is above `price_max`; what must not be off, and `paid`, at any price.
    fn affordable(&self, facts: &Facts, paid: Option<Span>, price_max: Option<i64>) -> Vec<Span> {
        let Some(max) = price_max else { return facts.asked.clone() };
        let mut found = facts.kept.clone();
        found.extend(paid);
        for slot in self.grid.slots.iter().filter(|s| s.price.is_none_or(|p| p <= max)) {
            found.extend(facts.asked.iter().filter_map(|w| w.within(slot.span)));
        }
        joined(found)
    }
}

fn rest_w(load: &Load) -> i64 {
    if let Work::Presence { rest_w, .. } = &load.work { i64::from(*rest_w) } else { 0 }
}

/// What of `spans` is after `end`.
fn after(spans: &[Span], end: i64) -> Vec<Span> {
    spans.iter().map(|s| Span { start: s.start.max(end), end: s.end }).collect()
}

/// In order, overlapping and touching ones joined, empty ones left out.
fn joined(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|s| s.start < s.end);
    spans.sort_unstable();
    let mut found: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match found.last_mut() {
            Some(last) if last.end >= span.start => last.end = last.end.max(span.end),
            _ => found.push(span),
        }
    }
    found
}

/// Checks that no sum of costs can leave 64 bits: each load at its highest power all the time, with a start in each slot, and what the
/// search of one load multiplies that with. The most that may be added to the cost of a watt is what is left.
fn in_64_bits(grid: &Grid, loads: &[Load]) -> Result<i64, ProblemError> {
    let slots = grid.len() as i128;
    let watt: i128 = (0..grid.len()).map(|s| i128::from(grid.cost(s, grid.slots[s].span.seconds()).abs())).sum();
    let watts = |load: &Load| match &load.work {
        Work::Cycle { phases, .. } => phases.iter().map(|p| p.watts).max().unwrap_or(0),
        Work::Energy { watts, .. } | Work::Presence { watts, .. } => *watts,
    };
    let most = |load: &Load| watt * i128::from(watts(load)) + slots * i128::from(load.start_cost * super::grid::NANO);
    let never = i128::from(NEVER);
    let times = 8 * (slots + i128::from(PLAN_STEPS_PER_ENERGY));
    let all: i128 = loads.iter().map(most).sum();
    let each = loads.iter().map(most).max().unwrap_or(0) * times;
    if all.max(each) >= never {
        return Err(ProblemError::TooLarge);
    }
    let watts = loads.iter().map(watts).max().unwrap_or(0).max(1);
    let extra = never / (times * slots * i128::from(watts));
    Ok(i64::try_from(extra).unwrap_or(i64::MAX))
}
