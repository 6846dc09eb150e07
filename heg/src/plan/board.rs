//! Where every load stands at some moment of the search, and the room that leaves.
#![forbid(unsafe_code)]

use super::job::{Job, Loss, Placement, Scratch, View};
use super::setup::Setup;

/// What plans are compared by: undone work by class, then cost.
pub(super) type Score = (Loss, i64);

#[derive(Clone)]
pub(super) struct Board {
    pub(super) placed: Vec<Placement>,
    pub(super) room: Vec<i64>,
    pub(super) score: Score,
}

impl Board {
    /// Nothing placed.
    pub(super) fn empty(setup: &Setup) -> Self {
        let placed = vec![Placement::default(); setup.jobs.len()];
        Self { placed, room: setup.room.clone(), score: Score::default() }
    }

    /// Takes a load's placement out.
    pub(super) fn take(&mut self, jobs: &[Job], i: usize) -> Placement {
        let placement = std::mem::take(&mut self.placed[i]);
        jobs[i].draws(&placement, |slot, watts| self.room[slot] += watts);
        self.score.0[jobs[i].class] -= u64::from(placement.missing);
        self.score.1 -= placement.cost;
        placement
    }

    /// Puts one in where none is.
    pub(super) fn put(&mut self, jobs: &[Job], i: usize, placement: Placement) {
        jobs[i].draws(&placement, |slot, watts| self.room[slot] -= watts);
        self.score.0[jobs[i].class] += u64::from(placement.missing);
        self.score.1 += placement.cost;
        self.placed[i] = placement;
    }

    /// Places a load as well as the room allows, watts being dearer by `extra`.
    pub(super) fn place(&mut self, setup: &Setup, i: usize, extra: Option<&[i64]>, scratch: &mut Scratch) {
        let view = View { room: Some(&self.room), extra, miss: None };
        let placement = setup.jobs[i].place(view, scratch);
        self.put(&setup.jobs, i, placement);
    }
}
