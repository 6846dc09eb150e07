//! One load as the search sees it: the ways it can be placed, what each draws, costs and leaves undone.
#![forbid(unsafe_code)]

use super::cycle::Cycle;
use super::energy::Energy;
use super::presence::Presence;

/// All of a load's work, in the steps that missing work is counted in.
pub(super) const WHOLE: u32 = 1_000_000;

/// "Not possible" where costs are compared; two of them may be added.
pub(super) const NEVER: i64 = i64::MAX / 4;

/// Missing work by class, the most important first: compared in that order, before any cost.
pub(super) type Loss = [u64; 4];

/// How one load is placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Placement {
    /// Slots it is on in, as far as that was a choice; a cycle's slots from its first to its last.
    pub(super) slots: Vec<u16>,
    /// Which start of a cycle.
    pub(super) start: Option<u16>,
    /// Work left undone.
    pub(super) missing: u32,
    /// Cost, in thousandths of a millionth.
    pub(super) cost: i64,
}

/// What the placement of one load has to reckon with.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// Watts free in each slot; `None` without a cap.
    pub(super) room: Option<&'a [i64]>,
    /// Added to the cost of each watt in each slot.
    pub(super) extra: Option<&'a [i64]>,
    /// What undone work is worth, for each of its steps; `None`: more than any cost.
    pub(super) miss: Option<i64>,
}

impl View<'_> {
    #[inline(always)]
    pub(super) fn fits(&self, slot: usize, watts: i64) -> bool {
        self.room.is_none_or(|room| room[slot] >= watts)
    }

    #[inline(always)]
    pub(super) fn extra(&self, slot: usize, watts: i64) -> i64 {
        self.extra.map_or(0, |extra| extra[slot] * watts)
    }
}

/// Memory that placing needs, kept from one to the next.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) on: Vec<i64>,
    pub(super) off: Vec<i64>,
    pub(super) costs: Vec<super::energy::Costs>,
    pub(super) wide: Vec<super::presence::Row>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Nothing to choose: running, not to be switched off, or nothing to do.
    Fixed,
    Cycle(Cycle),
    Energy(Energy),
    Presence(Presence),
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Importance, the highest first.
    pub(super) class: usize,
    pub(super) kind: Kind,
}

impl Job {
    /// The best placement in `view`: least undone first (or at its price), then cheapest, then earliest.
    pub(super) fn place(&self, view: View<'_>, scratch: &mut Scratch) -> Placement {
        match &self.kind {
            Kind::Fixed => Placement::default(),
            Kind::Cycle(cycle) => cycle.place(view),
            Kind::Energy(energy) => energy.place(view, scratch),
            Kind::Presence(presence) => presence.place(view, scratch),
        }
    }

    /// Calls `visit` with each slot and the watts drawn there by choice.
    #[inline]
    pub(super) fn draws(&self, placement: &Placement, mut visit: impl FnMut(usize, i64)) {
        match &self.kind {
            Kind::Fixed => {}
            Kind::Cycle(cycle) => {
                if let Some(start) = placement.start {
                    let (first, shape) = cycle.draw(start);
                    shape.iter().enumerate().for_each(|(k, watts)| visit(first + k, i64::from(*watts)));
                }
            }
            Kind::Energy(energy) => placement.slots.iter().for_each(|s| visit(usize::from(*s), energy.watts)),
            Kind::Presence(presence) => {
                let free = placement.slots.iter().filter(|s| !presence.is_forced(usize::from(**s)));
                free.for_each(|s| visit(usize::from(*s), presence.watts));
            }
        }
    }

    /// Cost in `view`: its own, what is added to watts, and undone work at its price.
    pub(super) fn value(&self, placement: &Placement, view: View<'_>) -> i64 {
        let mut value = placement.cost + view.miss.unwrap_or(0) * i64::from(placement.missing);
        if view.extra.is_some() {
            self.draws(placement, |slot, watts| value += view.extra(slot, watts));
        }
        value
    }
}
