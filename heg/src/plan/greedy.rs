//! A plan at once: loads one after the other, each where it is best in the room that is left.
#![forbid(unsafe_code)]

use std::cmp::Reverse;

use super::board::Board;
use super::job::{Kind, Scratch};
use super::setup::Setup;

/// The order in which loads choose: the important before the others, then those with the least choice, then the largest.
pub(super) fn order(setup: &Setup) -> Vec<usize> {
    let mut order: Vec<usize> = (0..setup.jobs.len()).collect();
    order.sort_by_key(|i| {
        let job = &setup.jobs[*i];
        let (choices, watts) = match &job.kind {
            Kind::Fixed => (0, 0),
            Kind::Presence(presence) => (1, presence.watts),
            Kind::Cycle(cycle) => (cycle.choices(), 0),
            Kind::Energy(energy) => {
                (energy.width() - setup.facts[*i].alone.slots.len().min(energy.width()), energy.watts)
            }
        };
        (job.class, choices, Reverse(watts), *i)
    });
    order
}

/// Loads placed in that order, watts being dearer by `extra`.
pub(super) fn build(setup: &Setup, order: &[usize], extra: Option<&[i64]>, scratch: &mut Scratch) -> Board {
    let mut board = Board::empty(setup);
    for i in order {
        board.place(setup, *i, extra, scratch);
    }
    board
}
