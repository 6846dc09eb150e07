//! Two interruptible loads placed together, exactly: one after the other they can't be led to take turns in slots that hold only one.
#![forbid(unsafe_code)]

use super::energy::{Costs, Energy};
use super::job::{NEVER, Placement};

/// Cells of the table; half a megabyte. Two cars over a night need about half of it.
const CELLS_MAX: usize = 1 << 16;

/// The cheapest way for both to be done wholly in `room`; `None` where there is none or the table would be too large.
pub(super) fn place(a: &Energy, b: &Energy, room: &[i64], table: &mut Vec<i64>) -> Option<[Placement; 2]> {
    let slots = a.slots().start.min(b.slots().start)..a.slots().end.max(b.slots().end);
    let wide = b.steps() + 1;
    let row = (a.steps() + 1) * wide;
    if row.checked_mul(slots.len() + 1)? > CELLS_MAX {
        return None;
    }
    table.clear();
    table.resize(row * (slots.len() + 1), NEVER);
    table[row * slots.len()] = 0;
    for (at, slot) in slots.clone().enumerate().rev() {
        let (this, next) = table[at * row..(at + 2) * row].split_at_mut(row);
        let options = Options::new(a, b, slot, room);
        for (cell, best) in this.iter_mut().enumerate() {
            *best = options.best(next, wide, cell / wide, cell % wide).0;
        }
    }
    let (mut left, mut taken) = ([a.steps(), b.steps()], [Vec::new(), Vec::new()]);
    if table[left[0] * wide + left[1]] >= NEVER {
        return None;
    }
    for (at, slot) in slots.enumerate() {
        let next = &table[(at + 1) * row..(at + 2) * row];
        let (_, on) = Options::new(a, b, slot, room).best(next, wide, left[0], left[1]);
        for (which, costs) in on.into_iter().enumerate() {
            if let Some(costs) = costs {
                taken[which].push(slot as u16);
                left[which] = costs.taken(left[which]).1;
            }
        }
    }
    let [first, second] = taken;
    Some([a.placed(&first)?, b.placed(&second)?])
}

/// What may be on in one slot.
struct Options {
    a: Option<Costs>,
    b: Option<Costs>,
    both: bool,
}

impl Options {
    fn new(a: &Energy, b: &Energy, slot: usize, room: &[i64]) -> Self {
        let of = |load: &Energy| load.costs_in(slot).filter(|_| room[slot] >= load.watts);
        Self { a: of(a), b: of(b), both: room[slot] >= a.watts + b.watts }
    }

    /// The least cost from this slot on with those steps missing, and what is on in it.
    fn best(&self, next: &[i64], wide: usize, a: usize, b: usize) -> (i64, [Option<Costs>; 2]) {
        let mut best = (next[a * wide + b], [None, None]);
        let first = self.a.filter(|_| a > 0).map(|costs| (costs, costs.taken(a)));
        let second = self.b.filter(|_| b > 0).map(|costs| (costs, costs.taken(b)));
        let mut better = |cost: i64, on: [Option<Costs>; 2]| {
            if cost < best.0 {
                best = (cost, on);
            }
        };
        if let Some((costs, (spent, left))) = first {
            better(spent + next[left * wide + b], [Some(costs), None]);
        }
        if let Some((costs, (spent, left))) = second {
            better(spent + next[a * wide + left], [None, Some(costs)]);
        }
        if let (Some((one, (spent, left))), Some((other, (more, rest))), true) = (first, second, self.both) {
            better(spent + more + next[left * wide + rest], [Some(one), Some(other)]);
        }
        best
    }
}
