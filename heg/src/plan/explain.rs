//! From the search's result to the plan: instants instead of slots, and what decided each part.
#![forbid(unsafe_code)]

use super::board::Board;
use super::energy::Energy;
use super::grid::NANO;
use super::job::{Kind, Placement, Scratch, View};
use super::outcome::{DropReason, Dropped, LoadPlan, OverCap, Plan, Run, Why};
use super::presence::Presence;
use super::problem::{Slot, Span, Work};
use super::setup::Setup;

/// `kept` names the loads that stand where they do by the plan before; `lower` is the bound for what can be chosen.
pub(super) fn plan(setup: &Setup, board: &Board, kept: &[bool], lower: Option<i64>, rebuilds: u32) -> Plan {
    let mut scratch = Scratch::default();
    let settled: i64 = setup.facts.iter().filter_map(|f| f.settled.as_ref()).map(|s| s.cost).sum();
    let mut dropped = Vec::new();
    let loads = (0..setup.loads.len()).map(|i| {
        let load = Explained { setup, i, placement: &board.placed[i], kept: kept[i], room: &board.room };
        dropped.extend(load.dropped(&mut scratch));
        load.plan(&mut scratch)
    });
    let loads = loads.collect();
    let exceeded = setup.grid.slots.iter().zip(&board.room).filter(|(_, room)| **room < 0);
    let over =
        |(slot, room): (&Slot, &i64)| OverCap { span: slot.span, watts: u32::try_from(-room).unwrap_or(u32::MAX) };
    // Where a choice had to exceed the cap, plans are not compared by it, and the bound says nothing.
    let lower = lower.filter(|_| board.room.iter().zip(&setup.room).all(|(left, room)| *left >= (*room).min(0)));
    Plan {
        loads,
        dropped,
        over_cap: exceeded.map(over).collect(),
        unpriced: setup.grid.unpriced(),
        cost: rounded_up(board.score.1 + settled),
        lower_bound: lower.map(|lower| (lower + settled).div_euclid(NANO)),
        rebuilds,
    }
}

fn rounded_up(nano: i64) -> i64 {
    -(-nano).div_euclid(NANO)
}

struct Explained<'a> {
    setup: &'a Setup,
    i: usize,
    placement: &'a Placement,
    kept: bool,
    /// What all loads together leave.
    room: &'a [i64],
}

impl Explained<'_> {
    fn plan(&self, scratch: &mut Scratch) -> LoadPlan {
        let facts = &self.setup.facts[self.i];
        let (runs, pauses, energy_ws) = match &self.setup.jobs[self.i].kind {
            Kind::Fixed => {
                let runs = facts.settled.iter().map(|s| Run { span: s.span, why: s.why }).collect();
                let pauses = self.unaffordable(facts.asked.clone());
                (runs, pauses, facts.settled.as_ref().map_or(0, |s| s.energy_ws))
            }
            Kind::Cycle(_) => self.cycle(),
            Kind::Energy(energy) => self.energy(energy, scratch),
            Kind::Presence(presence) => self.presence(presence),
        };
        let cost = self.placement.cost + facts.settled.as_ref().map_or(0, |s| s.cost);
        LoadPlan {
            id: self.setup.loads[self.i].id,
            runs,
            pauses,
            energy_ws: u64::try_from(energy_ws).unwrap_or(0),
            cost: rounded_up(cost),
        }
    }

    fn cycle(&self) -> (Vec<Run>, Vec<Run>, i64) {
        let job = &self.setup.jobs[self.i];
        let (Kind::Cycle(cycle), Some(start), Work::Cycle { phases, .. }) =
            (&job.kind, self.placement.start, &self.setup.loads[self.i].work)
        else {
            return (Vec::new(), self.never_begun(), 0);
        };
        let at = cycle.instant(&self.setup.grid, start);
        let seconds: i64 = phases.iter().map(|p| i64::from(p.seconds)).sum();
        let why = if self.kept {
            Why::Hysteresis
        } else if cycle.choices() == 1 {
            Why::Deadline
        } else if self.placement.cost == self.setup.facts[self.i].alone.cost {
            Why::Price
        } else {
            Why::Cap
        };
        let energy = phases.iter().map(|p| i64::from(p.watts) * i64::from(p.seconds)).sum();
        let mut pauses = Vec::new();
        self.held_up(cycle.earliest(), &mut pauses);
        let waits = Span { start: cycle.earliest(), end: at }.within(self.setup.grid.span());
        pauses.extend(waits.map(|span| Run { span, why }));
        (vec![Run { span: Span { start: at, end: at + seconds }, why }], pauses, energy)
    }

    /// A cycle for which there is no place.
    fn never_begun(&self) -> Vec<Run> {
        let Work::Cycle { earliest, deadline, .. } = &self.setup.loads[self.i].work else { return Vec::new() };
        let why = match self.reason(&mut Scratch::default()) {
            DropReason::CapBelowPower | DropReason::CapTaken => Why::Cap,
            DropReason::WindowTooShort => Why::Window,
            DropReason::MinimumTime | DropReason::NotAsked => Why::MinimumTime,
            DropReason::Override => Why::Override,
        };
        let span = Span { start: *earliest, end: *deadline }.within(self.setup.grid.span());
        span.into_iter().map(|span| Run { span, why }).collect()
    }

    /// What has to pass before work may begin that is there already: a minimum time off, or a person's order.
    fn held_up(&self, until: i64, pauses: &mut Vec<Run>) {
        let load = &self.setup.loads[self.i];
        let (Work::Cycle { earliest, .. } | Work::Energy { earliest, .. }) = &load.work else { return };
        let Some(span) = (Span { start: *earliest, end: until }).within(self.setup.grid.span()) else { return };
        let is_full = |watts| self.setup.grid.touched(span).any(|slot| self.room[slot] < i64::from(watts));
        let why = match (load.ordered, &load.work) {
            (Some(ordered), _) if !ordered.on => Why::Override,
            // Who orders it on all the same has to hear that others have taken what it would draw.
            (Some(_), Work::Energy { watts, .. }) if is_full(*watts) => Why::Cap,
            _ => Why::MinimumTime,
        };
        pauses.push(Run { span, why });
    }

    fn energy(&self, energy: &Energy, scratch: &mut Scratch) -> (Vec<Run>, Vec<Run>, i64) {
        let grid = &self.setup.grid;
        let alone = &self.setup.facts[self.i].alone.slots;
        let alone_view = View { room: None, extra: None, miss: None };
        let free = energy.unhurt().place(alone_view, scratch).slots;
        let ordered = self.setup.loads[self.i].ordered.filter(|o| o.on);
        let within = |slots: &[u16], js: &std::ops::Range<usize>| {
            let mut js = js.clone().filter(|j| *j >= energy.forced);
            js.all(|j| slots.binary_search(&((energy.first() + j) as u16)).is_ok())
        };
        // What it does whatever comes, and what was chosen, have reasons of their own.
        let parts = energy.runs(grid, self.placement).into_iter().flat_map(|(span, js)| {
            if js.start >= energy.forced || js.end <= energy.forced {
                return vec![(span, js)];
            }
            let edge = energy.part(grid, energy.forced).start;
            let (forced, chosen) = (js.start..energy.forced, energy.forced..js.end);
            vec![(Span { end: edge, ..span }, forced), (Span { start: edge, ..span }, chosen)]
        });
        let parts: Vec<_> = parts.collect();
        let pauses = self.pauses(energy, &parts, alone, &free);
        let runs = parts.into_iter().map(|(span, js)| {
            let why = if js.start < energy.forced {
                if ordered.is_some() { Why::Override } else { Why::MinimumTime }
            } else if self.kept {
                Why::Hysteresis
            } else if alone.len() + energy.forced >= energy.width() {
                Why::Deadline
            } else if !within(alone, &js) {
                Why::Cap
            } else if within(&free, &js) {
                Why::Price
            } else {
                Why::MinimumTime
            };
            Run { span, why }
        });
        let runs: Vec<Run> = runs.collect();
        let seconds: i64 = runs.iter().map(|r| r.span.seconds()).sum();
        (runs, pauses, seconds * energy.watts)
    }

    /// When an amount of energy is not taken although it is not all there yet, and why. `alone` is where it would be taken without a cap,
    /// `free` without minimum times too.
    fn pauses(
        &self,
        energy: &Energy,
        runs: &[(Span, std::ops::Range<usize>)],
        alone: &[u16],
        free: &[u16],
    ) -> Vec<Run> {
        let grid = &self.setup.grid;
        let ordered = self.setup.loads[self.i].ordered.filter(|o| o.on).map(|o| o.until);
        let mut pauses = Vec::new();
        self.held_up(energy.window.start, &mut pauses);
        // Once it has all, it is off because there is nothing to be done.
        let last = if self.placement.missing > 0 { energy.width() } else { runs.last().map_or(0, |(_, js)| js.end) };
        for j in (0..last).filter(|j| !runs.iter().any(|(_, js)| js.contains(j))) {
            let slot = energy.first() + j;
            let (span, full) = (energy.part(grid, j), self.room[slot] < energy.watts);
            let is_in = |slots: &[u16]| slots.binary_search(&(slot as u16)).is_ok();
            let why = if full && (is_in(alone) || self.placement.missing > 0 || ordered.is_some_and(|o| span.start < o))
            {
                Why::Cap
            } else if self.kept {
                Why::Hysteresis
            } else if is_in(alone) {
                Why::Cap
            } else if is_in(free) {
                Why::MinimumTime
            } else {
                Why::Price
            };
            extend(&mut pauses, Run { span, why });
        }
        pauses
    }

    fn presence(&self, presence: &Presence) -> (Vec<Run>, Vec<Run>, i64) {
        let (setup, facts) = (self.setup, &self.setup.facts[self.i]);
        let ordered = setup.loads[self.i].ordered.filter(|o| o.on);
        let (mut runs, mut pauses): (Vec<Run>, Vec<Run>) = (Vec::new(), Vec::new());
        let mut seconds = 0;
        let mut placed = self.placement.slots.iter().map(|s| usize::from(*s)).peekable();
        let timed = setup.loads[self.i].min_on_s > 0 || setup.loads[self.i].min_off_s > 0;
        let mut was_on = false;
        for (slot, in_slot) in setup.grid.slots.iter().enumerate() {
            let span = in_slot.span;
            let parts = |spans: &[Span]| spans.iter().filter_map(|s| s.within(span)).collect::<Vec<_>>();
            if placed.next_if_eq(&slot).is_none() {
                was_on = false;
                let alone = facts.alone.slots.binary_search(&(slot as u16)).is_ok();
                let why = if !presence.is_wanted(slot) {
                    Why::Price
                } else if (alone || ordered.is_some_and(|o| span.start < o.until)) && self.room[slot] < presence.watts {
                    Why::Cap
                } else if self.kept {
                    Why::Hysteresis
                } else if alone {
                    Why::Cap
                } else {
                    Why::MinimumTime
                };
                parts(&facts.asked).into_iter().for_each(|span| extend(&mut pauses, Run { span, why }));
                continue;
            }
            let why = if presence.is_forced(slot) {
                match (parts(&facts.kept).is_empty(), ordered.is_some()) {
                    (false, _) => Why::Kept,
                    (true, true) => Why::Override,
                    (true, false) => Why::MinimumTime,
                }
            } else if self.kept {
                Why::Hysteresis
            } else if presence.is_wanted(slot) {
                Why::Window
            } else {
                Why::MinimumTime
            };
            seconds += presence.seconds(slot);
            let on = if timed || !presence.is_wanted(slot) { vec![span] } else { parts(&presence.wanted) };
            for span in on {
                match runs.last_mut() {
                    // One run is one decision: to start it. But what holds it on for a while has an end, behind which something else decides.
                    Some(last) if was_on && last.span.end == span.start && (last.why == why || !holds(last.why)) => {
                        last.span.end = span.end;
                    }
                    _ => runs.push(Run { span, why }),
                }
                was_on = true;
            }
        }
        (runs, pauses, seconds * presence.watts)
    }

    /// What was asked of a load that the price leaves nothing to do.
    fn unaffordable(&self, asked: Vec<Span>) -> Vec<Run> {
        let whole = self.setup.grid.span();
        asked.into_iter().filter_map(|s| s.within(whole)).map(|span| Run { span, why: Why::Price }).collect()
    }

    fn dropped(&self, scratch: &mut Scratch) -> Option<Dropped> {
        let missing_ppm = Some(self.placement.missing).filter(|missing| *missing > 0)?;
        Some(Dropped { id: self.setup.loads[self.i].id, missing_ppm, reason: self.reason(scratch) })
    }

    /// Why not all of its work is done.
    fn reason(&self, scratch: &mut Scratch) -> DropReason {
        let Setup { jobs, facts, loads, under_cap, .. } = self.setup;
        let missing = self.placement.missing;
        let mut before_others = || {
            let view = View { room: Some(under_cap), extra: None, miss: None };
            jobs[self.i].place(view, scratch).missing
        };
        if loads[self.i].ordered.is_some_and(|o| !o.on) {
            DropReason::Override
        } else if facts[self.i].alone.missing >= missing {
            if matches!(jobs[self.i].kind, Kind::Presence(_)) {
                DropReason::MinimumTime
            } else {
                DropReason::WindowTooShort
            }
        } else if before_others() >= missing {
            DropReason::CapBelowPower
        } else {
            DropReason::CapTaken
        }
    }
}

/// Whether it is on for that reason whatever comes, for as long as that holds.
fn holds(why: Why) -> bool {
    matches!(why, Why::Override | Why::MinimumTime | Why::Kept)
}

/// Adds a run, joined to the last one where they touch and have one reason.
fn extend(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.why == run.why && last.span.end == run.span.start => last.span.end = run.span.end,
        _ => runs.push(run),
    }
}
