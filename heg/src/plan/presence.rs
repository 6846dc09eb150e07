//! Loads that are wanted on in windows and may be off: exact for one load, by dynamic programming backwards over slots and on or off.
#![forbid(unsafe_code)]

use super::grid::Grid;
use super::job::{Placement, Scratch, View, WHOLE};
use super::problem::Span;

/// "Not possible"; sums of a few stay far from overflow.
const NEVER: i128 = i128::MAX / 16;

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// Seconds it is on when it is on in this slot.
    on_s: u32,
    /// Undone work when it is off.
    missing: u32,
    /// What being on costs.
    cost: i64,
    /// It is on, whatever comes.
    forced: bool,
    /// It can't be on: minimum time off, or a person's order.
    barred: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Presence {
    /// Watts beyond what it draws anyway.
    pub(super) watts: i64,
    cells: Vec<Cell>,
    start_cost: i64,
    on: bool,
    /// For each slot: where a run begun there may end, where a pause begun there may end.
    run_end: Vec<u16>,
    pause_end: Vec<u16>,
    pub(super) wanted: Vec<Span>,
}

/// The wish of such a load.
pub(super) struct Wish<'a> {
    pub(super) watts: u32,
    /// In order, not overlapping.
    pub(super) wanted: Vec<Span>,
    pub(super) kept: &'a [Span],
    pub(super) on: bool,
    pub(super) forced_until: Option<i64>,
    pub(super) barred_until: Option<i64>,
    pub(super) start_cost: i64,
    pub(super) min_on_s: u32,
    pub(super) min_off_s: u32,
}

impl Presence {
    /// `None` where it isn't wanted at all and needs nothing.
    pub(super) fn new(grid: &Grid, wish: Wish<'_>) -> Option<Self> {
        let watts = i64::from(wish.watts);
        let whole = grid.span();
        let wanted_s: i64 = wish.wanted.iter().filter_map(|w| w.within(whole)).map(Span::seconds).sum();
        let timed = wish.min_on_s > 0 || wish.min_off_s > 0;
        let cell = |slot: usize| {
            let span = grid.slots[slot].span;
            let within = |spans: &[Span]| spans.iter().filter_map(|w| w.within(span)).map(Span::seconds).sum::<i64>();
            let wanted = within(&wish.wanted);
            // With minimum times it runs whole slots: a run then is as long as its slots say.
            let on_s = if wanted == 0 || timed { span.seconds() } else { wanted };
            let cost = grid.cost(slot, watts * on_s);
            let barred = wish.barred_until.is_some_and(|until| span.start < until);
            Cell {
                on_s: on_s as u32,
                missing: (wanted * i64::from(WHOLE) / wanted_s.max(1)) as u32,
                // Nobody is paid for running what isn't wanted, or it would be run for the pay.
                cost: if wanted == 0 { cost.max(1) } else { cost },
                forced: !barred
                    && (within(wish.kept) > 0 || wish.forced_until.is_some_and(|until| wish.on && span.start < until)),
                barred,
            }
        };
        let cells: Vec<Cell> = (0..grid.len()).map(cell).collect();
        if cells.iter().all(|c| c.missing == 0 && !c.forced) {
            return None;
        }
        let until = |s: usize, seconds: u32| {
            let from = grid.slots[s].span.start;
            grid.slots.partition_point(|slot| slot.span.start - from < i64::from(seconds)) as u16
        };
        Some(Self {
            watts,
            start_cost: wish.start_cost,
            on: wish.on,
            run_end: (0..grid.len()).map(|s| until(s, wish.min_on_s).max(s as u16 + 1)).collect(),
            pause_end: (0..grid.len()).map(|s| until(s, wish.min_off_s).max(s as u16)).collect(),
            cells,
            wanted: wish.wanted,
        })
    }

    pub(super) fn is_forced(&self, slot: usize) -> bool {
        self.cells[slot].forced
    }

    /// Slots it is on in whatever comes.
    pub(super) fn forced(&self) -> impl Iterator<Item = usize> {
        self.cells.iter().enumerate().filter(|(_, c)| c.forced).map(|(s, _)| s)
    }

    /// Forces every wanted slot that `when` says and that is possible.
    pub(super) fn force(&mut self, when: impl Fn(usize) -> bool) {
        for (slot, cell) in self.cells.iter_mut().enumerate() {
            cell.forced |= cell.missing > 0 && !cell.barred && when(slot);
        }
    }

    /// Cost of being on in `slot` in this view.
    fn spent(&self, slot: usize, view: View<'_>) -> i128 {
        let cell = &self.cells[slot];
        if cell.forced {
            return i128::from(cell.cost);
        }
        if cell.barred || !view.fits(slot, self.watts) {
            return NEVER;
        }
        i128::from(cell.cost) + i128::from(view.extra(slot, self.watts))
    }

    /// What being off in `slot` is worth.
    fn lost(&self, slot: usize, dear: i128, view: View<'_>) -> i128 {
        let cell = &self.cells[slot];
        if cell.forced {
            return NEVER;
        }
        i128::from(cell.missing) * view.miss.map_or(dear, i128::from)
    }

    pub(super) fn place(&self, view: View<'_>, scratch: &mut Scratch) -> Placement {
        // Where the cap and what must not be off leave no way to keep a minimum time, the cap gives way: the appliance would refuse.
        self.search(view, scratch).or_else(|| self.search(View { room: None, ..view }, scratch)).unwrap_or_else(|| {
            // Orders that contradict each other: only what is forced.
            self.reckon(self.forced().map(|s| s as u16).collect())
        })
    }

    fn search(&self, view: View<'_>, scratch: &mut Scratch) -> Option<Placement> {
        let n = self.cells.len();
        let most =
            |(s, c): (usize, &Cell)| i128::from(c.cost.abs() + self.start_cost) + i128::from(view.extra(s, self.watts));
        let dear = self.cells.iter().enumerate().map(most).sum::<i128>() + 1;
        let rows = &mut scratch.wide;
        rows.clear();
        rows.resize(n + 1, Row::default());
        for s in (0..n).rev() {
            rows[s].spent = self.spent(s, view);
            rows[s].lost = self.lost(s, dear, view);
            rows[s].off = self.run(rows, s).min(wait(rows, s));
            rows[s].on = stay(rows, s).min(self.leave(rows, s));
        }
        let (mut s, mut on) = (0, self.on);
        if (if on { rows[0].on } else { rows[0].off }) >= NEVER {
            return None;
        }
        let mut slots = Vec::new();
        while s < n {
            let end = if on {
                if stay(rows, s) > self.leave(rows, s) {
                    on = false;
                    s = usize::from(self.pause_end[s]);
                    continue;
                }
                s + 1
            } else if self.run(rows, s) <= wait(rows, s) {
                usize::from(self.run_end[s])
            } else {
                s += 1;
                continue;
            };
            on = true;
            slots.extend((s..end.min(n)).map(|s| s as u16));
            s = end;
        }
        Some(self.reckon(slots))
    }

    /// From off at the start of `s`: on at once, for the minimum time at least.
    fn run(&self, rows: &[Row], s: usize) -> i128 {
        let end = usize::from(self.run_end[s]).min(self.cells.len());
        let spent = rows[s..end].iter().fold(i128::from(self.start_cost), |sum, row| add(sum, row.spent));
        add(spent, rows[end].on)
    }

    /// From on: off at the start of `s`, for the minimum time at least.
    fn leave(&self, rows: &[Row], s: usize) -> i128 {
        let end = usize::from(self.pause_end[s]).min(self.cells.len());
        add(rows[s..end].iter().fold(0, |sum, row| add(sum, row.lost)), rows[end].off)
    }

    fn reckon(&self, slots: Vec<u16>) -> Placement {
        let mut missing: u32 = self.cells.iter().map(|c| c.missing).sum();
        let (mut cost, mut next) = (0, self.on.then_some(0));
        for s in &slots {
            let cell = &self.cells[usize::from(*s)];
            missing -= cell.missing;
            cost += cell.cost + if next == Some(*s) { 0 } else { self.start_cost };
            next = Some(s + 1);
        }
        Placement { slots, start: None, missing, cost }
    }

    /// Placed in those slots by an earlier plan; `None` where that isn't possible now.
    pub(super) fn placed(&self, slots: &[u16]) -> Option<Placement> {
        let is_on = |s: usize| slots.binary_search(&(s as u16)).is_ok();
        if self.cells.iter().enumerate().any(|(s, c)| (c.forced && !is_on(s)) || (c.barred && is_on(s))) {
            return None;
        }
        let n = self.cells.len();
        let (mut on, mut free_from) = (self.on, 0);
        for s in 0..n {
            if is_on(s) == on {
                continue;
            }
            if s < free_from {
                return None;
            }
            on = !on;
            free_from = usize::from(if on { self.run_end[s] } else { self.pause_end[s] });
        }
        Some(self.reckon(slots.to_vec()))
    }

    /// Seconds it is on in `slot` when it is on there.
    pub(super) fn seconds(&self, slot: usize) -> i64 {
        i64::from(self.cells[slot].on_s)
    }

    /// Whether it is wanted in `slot`.
    pub(super) fn is_wanted(&self, slot: usize) -> bool {
        self.cells[slot].missing > 0
    }
}

/// One slot in the search: what being on costs and being off is worth, and the best from here to the end after being on or off before.
#[derive(Clone, Copy, Default)]
pub(super) struct Row {
    spent: i128,
    lost: i128,
    on: i128,
    off: i128,
}

/// From off: off for this slot too.
fn wait(rows: &[Row], s: usize) -> i128 {
    add(rows[s].lost, rows[s + 1].off)
}

/// From on: on for this slot too.
fn stay(rows: &[Row], s: usize) -> i128 {
    add(rows[s].spent, rows[s + 1].on)
}

fn add(a: i128, b: i128) -> i128 {
    (a + b).min(NEVER)
}
