//! Cycles that run from start to end: every start at the beginning of a slot is looked at.
#![forbid(unsafe_code)]

use super::grid::Grid;
use super::job::{NEVER, Placement, View, WHOLE};
use super::problem::{Phase, Span};

#[derive(Clone, Debug)]
struct Start {
    slot: u16,
    shape: u16,
    cost: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Cycle {
    starts: Vec<Start>,
    /// Highest watts in each slot from the first on. Starts in slots of equal length share one.
    shapes: Vec<Vec<u32>>,
    earliest: i64,
}

/// What phases begun at `at` draw in each slot from the one that holds `at` (or the first): highest watts and watt-seconds.
pub(super) fn footprint(grid: &Grid, phases: &[Phase], at: i64) -> (usize, Vec<(u32, i64)>) {
    let first = grid.slot_at(at);
    let mut slots: Vec<(u32, i64)> = Vec::new();
    let mut from = at;
    for phase in phases {
        let span = Span { start: from, end: from + i64::from(phase.seconds) };
        for slot in grid.touched(span) {
            let Some(part) = span.within(grid.slots[slot].span) else { continue };
            slots.resize(slots.len().max(slot - first + 1), (0, 0));
            let (peak, energy) = &mut slots[slot - first];
            *peak = (*peak).max(phase.watts);
            *energy += i64::from(phase.watts) * part.seconds();
        }
        from = span.end;
    }
    (first, slots)
}

impl Cycle {
    /// All starts from `earliest` on that end by `deadline` within the time planned.
    pub(super) fn new(grid: &Grid, phases: &[Phase], earliest: i64, deadline: i64, start_cost: i64) -> Self {
        let length: i64 = phases.iter().map(|p| i64::from(p.seconds)).sum();
        let (whole, mut cycle) = (grid.span(), Self { starts: Vec::new(), shapes: Vec::new(), earliest });
        let window = Span { start: earliest, end: deadline.min(whole.end) };
        for slot in grid.touched(window) {
            let at = grid.slots[slot].span.start.max(earliest);
            if at + length > window.end {
                break;
            }
            let (first, draws) = footprint(grid, phases, at);
            let cost = draws.iter().enumerate().map(|(k, (_, energy))| grid.cost(first + k, *energy)).sum::<i64>();
            let shape: Vec<u32> = draws.iter().map(|(peak, _)| *peak).collect();
            if cycle.shapes.last() != Some(&shape) {
                cycle.shapes.push(shape);
            }
            // Slots of a problem, and so shapes, are fewer than 65536.
            let number = (cycle.shapes.len() - 1) as u16;
            cycle.starts.push(Start { slot: first as u16, shape: number, cost: cost + start_cost });
        }
        cycle
    }

    pub(super) fn place(&self, view: View<'_>) -> Placement {
        let mut best = (view.miss.map_or(NEVER, |miss| miss * i64::from(WHOLE)), None);
        for (number, start) in self.starts.iter().enumerate() {
            let value = self.value(start, view, best.0);
            if value < best.0 {
                best = (value, Some(number));
            }
        }
        best.1.map_or_else(Self::undone, |number| self.at(number as u16))
    }

    /// Cost of a start, or [`NEVER`] where it doesn't fit or can't be below `limit`.
    fn value(&self, start: &Start, view: View<'_>, limit: i64) -> i64 {
        // Watts are never paid less than nothing beyond their price, so a start that is dear already needs no further look.
        if start.cost >= limit {
            return NEVER;
        }
        let first = usize::from(start.slot);
        let mut value = start.cost;
        for (k, watts) in self.shapes[usize::from(start.shape)].iter().enumerate() {
            if !view.fits(first + k, i64::from(*watts)) {
                return NEVER;
            }
            value += view.extra(first + k, i64::from(*watts));
        }
        value
    }

    /// Placed at that start.
    pub(super) fn at(&self, number: u16) -> Placement {
        let (first, shape) = self.draw(number);
        let slots = (first..first + shape.len()).map(|s| s as u16).collect();
        Placement { slots, start: Some(number), missing: 0, cost: self.starts[usize::from(number)].cost }
    }

    /// Whether that start fits.
    pub(super) fn fits(&self, number: u16, view: View<'_>) -> bool {
        let (first, shape) = self.draw(number);
        shape.iter().enumerate().all(|(k, watts)| view.fits(first + k, i64::from(*watts)))
    }

    fn undone() -> Placement {
        Placement { missing: WHOLE, ..Placement::default() }
    }

    /// First slot, and watts from there on.
    pub(super) fn draw(&self, number: u16) -> (usize, &[u32]) {
        let start = &self.starts[usize::from(number)];
        (usize::from(start.slot), &self.shapes[usize::from(start.shape)])
    }

    /// When that start is.
    pub(super) fn instant(&self, grid: &Grid, number: u16) -> i64 {
        grid.slots[usize::from(self.starts[usize::from(number)].slot)].span.start.max(self.earliest)
    }

    /// The start at exactly that instant.
    pub(super) fn start_at(&self, grid: &Grid, at: i64) -> Option<u16> {
        (0..self.starts.len() as u16).find(|n| self.instant(grid, *n) == at)
    }

    /// From when on it may start.
    pub(super) fn earliest(&self) -> i64 {
        self.earliest
    }

    /// How many starts there are.
    pub(super) fn choices(&self) -> usize {
        self.starts.len()
    }
}
