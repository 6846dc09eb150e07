//! Interruptible work: an amount of energy by a deadline. Exact for one load, by dynamic programming backwards over slots and the
//! steps of energy still missing, with minimum times as jumps.
#![forbid(unsafe_code)]

use std::ops::Range;

use super::grid::Grid;
use super::job::{NEVER, Placement, Scratch, View, WHOLE};
use super::problem::Span;
use crate::limits::PLAN_STEPS_PER_ENERGY;

/// What being on in one slot gives and costs, depending on how much is still missing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Costs {
    /// Room in the slot.
    free: bool,
    /// Steps the slot gives.
    steps: u32,
    /// The whole slot.
    full: i64,
    /// One step of it, should the work be done before its end.
    step: i64,
    /// The last step of all, which may be shorter.
    last: i64,
    /// What its power costs beyond its energy.
    extra: i64,
}

impl Costs {
    /// Cost with `missing` > 0 steps to go, and what is missing afterwards. The load stops by itself in its last slot.
    #[inline(always)]
    pub(super) fn taken(&self, missing: usize) -> (i64, usize) {
        if missing > self.steps as usize {
            (self.full + self.extra, missing - self.steps as usize)
        } else {
            (self.step * (missing as i64 - 1) + self.last + self.extra, 0)
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Energy {
    pub(super) watts: i64,
    /// Seconds to be on.
    seconds: i64,
    /// Seconds of a step.
    step_s: i64,
    start_cost: i64,
    min_on_s: i64,
    min_off_s: i64,
    pub(super) window: Span,
    /// Slots of the window.
    slots: Range<usize>,
    /// So many slots from the first on it stays on, whatever comes: minimum time, or a person's order.
    pub(super) forced: usize,
    /// It is on at the start, so going on is no new start.
    on: bool,
    cells: Vec<Cell>,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    costs: Costs,
    /// The first slot at whose start a run begun here may end; one past the window's end plus one where it never may.
    run_end: u16,
    /// The first slot at which it may be on again after going off at the start of this one.
    pause_end: u16,
}

/// The wish of an interruptible load.
pub(super) struct Wish {
    pub(super) watts: u32,
    pub(super) energy_wh: u32,
    pub(super) window: Span,
    pub(super) on: bool,
    pub(super) forced_until: Option<i64>,
    pub(super) start_cost: i64,
    pub(super) min_on_s: u32,
    pub(super) min_off_s: u32,
}

impl Energy {
    /// `None` where nothing is left to be done.
    pub(super) fn new(grid: &Grid, wish: &Wish) -> Option<Self> {
        let watts = i64::from(wish.watts);
        let seconds = (i64::from(wish.energy_wh) * 3600 + watts - 1) / watts;
        if seconds == 0 {
            return None;
        }
        let whole = grid.span();
        let window = wish.window.within(whole).unwrap_or(Span { start: whole.start, end: whole.start });
        let slots = grid.touched(window);
        let on = wish.on && window.start == whole.start;
        let until = if on { wish.forced_until } else { None };
        let forced = until.map_or(0, |until| slots.clone().take_while(|s| grid.slots[*s].span.start < until).count());
        // As much of each as is in the window: a deadline need not be at a slot's end.
        let lengths = || slots.clone().map(|s| grid.slots[s].span.within(window).map_or(0, Span::seconds));
        let mut energy = Self {
            watts,
            seconds,
            step_s: step_seconds(lengths, seconds),
            start_cost: wish.start_cost,
            min_on_s: i64::from(wish.min_on_s),
            min_off_s: i64::from(wish.min_off_s),
            window,
            slots,
            forced: 0,
            on,
            cells: Vec::new(),
        };
        energy.cells = (0..energy.width()).map(|j| energy.cell(grid, j)).collect();
        energy.forced = energy.slots_needed(forced);
        Some(energy)
    }

    /// Of the first `count` slots those that are on before the work is done.
    fn slots_needed(&self, count: usize) -> usize {
        let mut missing = self.steps();
        let mut used = 0;
        while used < count && missing > 0 {
            missing = missing.saturating_sub(self.steps_in(used));
            used += 1;
        }
        used
    }

    /// Forces it on from its first slot for as long as `until` says and `room` has.
    pub(super) fn force(&mut self, grid: &Grid, until: i64, room: &[i64]) {
        let wanted = self.slots.clone().take_while(|s| grid.slots[*s].span.start < until && room[*s] >= self.watts);
        let count = wanted.count();
        self.forced = self.forced.max(self.slots_needed(count));
    }

    /// Whether the work is done in the slots in which it stays on whatever comes.
    pub(super) fn ends_in_forced(&self) -> bool {
        self.forced == self.slots_needed(self.width())
    }

    /// Whether it may be on in any slots, without minimum times, start cost or anything settled.
    pub(super) fn is_plain(&self) -> bool {
        self.min_on_s == 0 && self.min_off_s == 0 && self.start_cost == 0 && self.forced == 0
    }

    /// Slots of the window.
    pub(super) fn slots(&self) -> Range<usize> {
        self.slots.clone()
    }

    /// What `slot` gives and costs; `None` outside the window.
    pub(super) fn costs_in(&self, slot: usize) -> Option<Costs> {
        self.slots.contains(&slot).then(|| self.cells[slot - self.slots.start].costs)
    }

    /// First slot of the window.
    pub(super) fn first(&self) -> usize {
        self.slots.start
    }

    pub(super) fn width(&self) -> usize {
        self.slots.len()
    }

    /// The part of a slot within the window.
    pub(super) fn part(&self, grid: &Grid, j: usize) -> Span {
        let slot = grid.slots[self.slots.start + j].span;
        Span { start: slot.start.max(self.window.start), end: slot.end.min(self.window.end) }
    }

    pub(super) fn steps(&self) -> usize {
        ((self.seconds + self.step_s - 1) / self.step_s) as usize
    }

    fn steps_in(&self, j: usize) -> usize {
        self.cells[j].costs.steps as usize
    }

    /// Seconds that `missing` steps stand for; the last step may be shorter.
    fn seconds_of(&self, missing: usize) -> i64 {
        let last = self.seconds - (self.steps() as i64 - 1) * self.step_s;
        if missing == 0 { 0 } else { (missing as i64 - 1) * self.step_s + last }
    }

    fn missing(&self, steps: usize) -> u32 {
        (self.seconds_of(steps) * i64::from(WHOLE) / self.seconds) as u32
    }

    fn cell(&self, grid: &Grid, j: usize) -> Cell {
        let slot = self.slots.start + j;
        let part = self.part(grid, j);
        let (mut run_end, mut pause_end) = (j + 1, j);
        while run_end <= self.width() && self.part(grid, run_end - 1).end - part.start < self.min_on_s {
            run_end += 1;
        }
        while pause_end < self.width() && self.part(grid, pause_end).start - part.start < self.min_off_s {
            pause_end += 1;
        }
        let costs = Costs {
            free: true,
            steps: (part.seconds() / self.step_s) as u32,
            full: grid.cost(slot, self.watts * part.seconds()),
            step: grid.cost(slot, self.watts * self.step_s),
            last: grid.cost(slot, self.watts * self.seconds_of(1)),
            extra: 0,
        };
        Cell { costs, run_end: run_end as u16, pause_end: pause_end as u16 }
    }

    #[inline(always)]
    fn costs(&self, j: usize, view: View<'_>) -> Costs {
        let slot = self.slots.start + j;
        Costs { free: view.fits(slot, self.watts), extra: view.extra(slot, self.watts), ..self.cells[j].costs }
    }

    /// The forced slots: what is missing after them, and their cost.
    fn after_forced(&self) -> (usize, i64) {
        let view = View { room: None, extra: None, miss: None };
        let (mut missing, mut cost) = (self.steps(), if self.on || self.forced == 0 { 0 } else { self.start_cost });
        for j in 0..self.forced {
            let (spent, left) = self.costs(j, view).taken(missing);
            cost += spent;
            missing = left;
            if missing == 0 {
                break;
            }
        }
        (missing, cost)
    }

    #[inline(always)]
    fn run_end(&self, j: usize) -> usize {
        usize::from(self.cells[j].run_end)
    }

    /// As in [`Cell`]; the window's end is followed by nothing.
    #[inline(always)]
    fn pause_end(&self, j: usize) -> usize {
        self.cells.get(j).map_or(j, |cell| usize::from(cell.pause_end))
    }

    pub(super) fn place(&self, view: View<'_>, scratch: &mut Scratch) -> Placement {
        let (missing, _) = self.after_forced();
        let forced = (0..self.forced).map(|j| (self.slots.start + j) as u16);
        let mut slots: Vec<u16> = forced.collect();
        if missing > 0 {
            self.search(view, missing, scratch, &mut slots);
        }
        let slots_from = |j: &u16| usize::from(*j) - self.slots.start;
        let (missing, cost) = self.reckon(slots.iter().map(slots_from));
        Placement { slots: slots.split_off(self.forced), start: None, missing: self.missing(missing), cost }
    }

    /// Steps missing and cost with all those slots, the forced ones among them.
    fn reckon(&self, slots: impl Iterator<Item = usize>) -> (usize, i64) {
        let view = View { room: None, extra: None, miss: None };
        let (mut missing, mut cost) = (self.steps(), 0);
        let mut next = self.on.then_some(0);
        for j in slots {
            if next != Some(j) {
                cost += self.start_cost;
            }
            next = Some(j + 1);
            if missing > 0 {
                let (spent, left) = self.costs(j, view).taken(missing);
                cost += spent;
                missing = left;
            }
        }
        (missing, cost)
    }

    fn search(&self, view: View<'_>, missing: usize, scratch: &mut Scratch, slots: &mut Vec<u16>) {
        let (width, row) = (self.width(), missing + 1);
        let Scratch { on, off, costs, .. } = scratch;
        costs.clear();
        costs.extend((0..width).map(|j| self.costs(j, view)));
        let dear = costs.iter().map(|c| c.full.abs() + c.extra + self.start_cost).sum::<i64>() + 1;
        for table in [&mut *on, &mut *off] {
            table.clear();
            table.resize((width + 1) * row, 0);
        }
        for r in 1..row {
            // Without a price, one step more is dearer than everything that could be saved.
            let undone = view.miss.map_or(2 * dear * r as i64, |miss| miss * i64::from(self.missing(r)));
            on[width * row + r] = undone;
            off[width * row + r] = undone;
        }
        let plain = self.min_on_s == 0 && self.min_off_s == 0 && self.start_cost == 0;
        for j in (self.forced..width).rev() {
            let (this, next) = (j * row, (j + 1) * row);
            let cost = costs[j];
            if plain {
                // On and off are the same then; one table does.
                let (head, tail) = off.split_at_mut(next);
                plain_row(&mut head[this..], &tail[..row], cost);
                continue;
            }
            let (run_end, pause_end) = (self.run_end(j), self.pause_end(j));
            for r in 1..row {
                let stay = if cost.free {
                    let (spent, left) = cost.taken(r);
                    (spent + on[next + left]).min(NEVER)
                } else {
                    NEVER
                };
                let begin = if run_end == j + 1 { stay } else { self.run(costs, on, row, j, run_end, r) };
                off[this + r] = off[next + r].min(begin.saturating_add(self.start_cost));
                on[this + r] = stay.min(off[pause_end * row + r]);
            }
        }
        let on = if plain { &*off } else { &*on };
        self.trace(costs, on, off, missing, slots);
    }

    /// Cost of a run from `j` at least up to `end`, and of the best after it.
    fn run(&self, costs: &[Costs], on: &[i64], row: usize, j: usize, end: usize, mut missing: usize) -> i64 {
        let mut total = 0;
        for cost in &costs[j..end.min(costs.len())] {
            if !cost.free {
                return NEVER;
            }
            let (spent, left) = cost.taken(missing);
            total += spent;
            missing = left;
            if missing == 0 {
                return total;
            }
        }
        if end > costs.len() { NEVER } else { (total + on[end * row + missing]).min(NEVER) }
    }

    /// Follows the tables forward from the end of the forced slots.
    fn trace(&self, costs: &[Costs], on: &[i64], off: &[i64], missing: usize, slots: &mut Vec<u16>) {
        let (width, row) = (self.width(), missing + 1);
        let (mut j, mut missing) = (self.forced, missing);
        let mut running = self.on || self.forced > 0;
        while j < width && missing > 0 {
            let end = if running {
                let (spent, left) = costs[j].taken(missing);
                if !costs[j].free || spent + on[(j + 1) * row + left] > off[self.pause_end(j) * row + missing] {
                    running = false;
                    j = self.pause_end(j);
                    continue;
                }
                j + 1
            } else {
                let end = self.run_end(j);
                let begin = self.run(costs, on, row, j, end, missing).saturating_add(self.start_cost);
                if begin > off[(j + 1) * row + missing] || begin >= NEVER {
                    j += 1;
                    continue;
                }
                end
            };
            while j < end.min(width) && missing > 0 {
                slots.push((self.slots.start + j) as u16);
                missing = costs[j].taken(missing).1;
                j += 1;
            }
            running = true;
        }
    }

    /// What those slots give, should a load be on in them by an earlier plan; `None` where a minimum time is not kept.
    pub(super) fn placed(&self, slots: &[u16]) -> Option<Placement> {
        let free = self.slots.start + self.forced..self.slots.end;
        let free = slots.iter().map(|s| usize::from(*s)).filter(|s| free.contains(s)).map(|s| s - self.slots.start);
        let mut js: Vec<usize> = (0..self.forced).chain(free).collect();
        // What is on after the work is done is not kept.
        let mut missing = self.steps();
        js.retain(|j| {
            let needed = missing > 0;
            missing = missing.saturating_sub(self.steps_in(*j));
            needed
        });
        let (missing, cost) = self.reckon(js.iter().copied());
        // Where the run began, if it did in this plan, and where it would go on.
        let (mut begun, mut next) = (None, self.on.then_some(0));
        for j in &js {
            if next != Some(*j) {
                if let Some(off) = next
                    && (begun.is_some_and(|b| self.run_end(b) > off) || self.pause_end(off) > *j)
                {
                    return None;
                }
                begun = Some(*j);
            }
            next = Some(j + 1);
        }
        if missing > 0 && begun.zip(next).is_some_and(|(b, end)| self.run_end(b) > end) {
            return None;
        }
        let chosen = js.iter().skip(self.forced).map(|j| (self.slots.start + j) as u16).collect();
        Some(Placement { slots: chosen, start: None, missing: self.missing(missing), cost })
    }

    /// The same without minimum times and start cost.
    pub(super) fn unhurt(&self) -> Self {
        let cell = |(j, cell): (usize, &Cell)| Cell { run_end: j as u16 + 1, pause_end: j as u16, ..*cell };
        let cells = self.cells.iter().enumerate().map(cell).collect();
        Self { min_on_s: 0, min_off_s: 0, start_cost: 0, cells, ..self.clone() }
    }

    /// Runs with their spans and the seconds in them, forced slots included; the last ends when the work is done.
    pub(super) fn runs(&self, grid: &Grid, placement: &Placement) -> Vec<(Span, Range<usize>)> {
        let all = (0..self.forced).chain(placement.slots.iter().map(|s| usize::from(*s) - self.slots.start));
        let mut missing = self.steps();
        let mut runs: Vec<(Span, Range<usize>)> = Vec::new();
        for j in all {
            let mut part = self.part(grid, j);
            let steps = self.steps_in(j);
            if missing <= steps {
                part.end = part.start + self.seconds_of(missing);
            }
            missing = missing.saturating_sub(steps);
            match runs.last_mut() {
                Some((span, js)) if js.end == j => (span.end, js.end) = (part.end, j + 1),
                _ => runs.push((part, j..j + 1)),
            }
        }
        runs
    }
}

/// One slot where on and off are the same.
fn plain_row(this: &mut [i64], next: &[i64], cost: Costs) {
    if !cost.free {
        this[1..].copy_from_slice(&next[1..]);
        return;
    }
    for r in 1..this.len() {
        let (spent, left) = cost.taken(r);
        this[r] = next[r].min(spent + next[left]);
    }
}

/// Seconds of a step: what divides all slots, but if that makes too many steps, an equal part of the usual slot.
fn step_seconds<I: Iterator<Item = i64>>(lengths: impl Fn() -> I, seconds: i64) -> i64 {
    let common = lengths().fold(0, gcd).max(1);
    if seconds / common < PLAN_STEPS_PER_ENERGY {
        return common;
    }
    let mut sorted: Vec<i64> = lengths().collect();
    sorted.sort_unstable();
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(1);
    let parts = (1..=PLAN_STEPS_PER_ENERGY).rev().find(|m| seconds * m / usual <= PLAN_STEPS_PER_ENERGY).unwrap_or(1);
    (usual / parts).max(1)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
