//! What is kept of the plan before: appliances should not be moved about for a saving that nobody notices.
#![forbid(unsafe_code)]

use super::board::Board;
use super::grid::{Grid, NANO};
use super::job::{Job, Kind, Placement, Scratch};
use super::problem::{Problem, Span};
use super::setup::Setup;

pub(super) struct Keep {
    /// Where each load stood in the plan before, as far as that is possible now.
    before: Vec<Option<Placement>>,
    /// The plan before, with what is new since fitted in.
    board: Option<Board>,
    unless_saves: i64,
}

impl Keep {
    pub(super) fn new(setup: &Setup, problem: &Problem) -> Self {
        let runs = |i: usize| {
            let id = problem.loads[i].id;
            problem.before.iter().find(|b| b.id == id).map(|b| b.runs.as_slice())
        };
        let before = |(i, job)| runs(i).and_then(|runs| placed(&setup.grid, job, runs));
        let unless_saves = problem.keep_unless_saves.max(0).saturating_mul(NANO);
        Self { before: setup.jobs.iter().enumerate().map(before).collect(), board: None, unless_saves }
    }

    /// What leaving the plan before has to save.
    pub(super) fn unless_saves(&self) -> i64 {
        self.unless_saves
    }

    /// The plan before, as far as it still fits, and the rest placed around it.
    pub(super) fn board(&mut self, setup: &Setup, order: &[usize], scratch: &mut Scratch) -> Option<Board> {
        if self.before.iter().all(Option::is_none) {
            return None;
        }
        let mut board = Board::empty(setup);
        let mut rest = Vec::new();
        for i in order {
            match &self.before[*i] {
                Some(before) if fits(&setup.jobs[*i], before, &board.room) => {
                    board.put(&setup.jobs, *i, before.clone());
                }
                _ => rest.push(*i),
            }
        }
        for i in rest {
            board.place(setup, i, None, scratch);
        }
        self.board = Some(board.clone());
        Some(board)
    }

    /// `best`, with what is kept; and which loads stand where they do for that reason alone.
    pub(super) fn kept(&self, setup: &Setup, best: &Board) -> (Board, Vec<bool>) {
        let mut kept = vec![false; best.placed.len()];
        if let Some(board) = &self.board
            && board.score.0 <= best.score.0
            && board.score.1 - best.score.1 <= self.unless_saves
        {
            for (i, kept) in kept.iter_mut().enumerate() {
                *kept = board.placed[i] != best.placed[i] && self.before[i].as_ref() == Some(&board.placed[i]);
            }
            return (board.clone(), kept);
        }
        let mut board = best.clone();
        for (i, before) in self.before.iter().enumerate() {
            let Some(before) = before.as_ref().filter(|before| **before != board.placed[i]) else { continue };
            let now = board.take(&setup.jobs, i);
            let little = before.missing <= now.missing && before.cost - now.cost <= self.unless_saves;
            kept[i] = little && fits(&setup.jobs[i], before, &board.room);
            board.put(&setup.jobs, i, if kept[i] { before.clone() } else { now });
        }
        (board, kept)
    }
}

fn fits(job: &Job, placement: &Placement, room: &[i64]) -> bool {
    let mut fits = true;
    job.draws(placement, |slot, watts| fits &= room[slot] >= watts);
    fits
}

fn placed(grid: &Grid, job: &Job, runs: &[Span]) -> Option<Placement> {
    let slots = || {
        let touched = |slot: &usize| runs.iter().any(|r| r.within(grid.slots[*slot].span).is_some());
        (0..grid.len()).filter(touched).map(|s| s as u16).collect::<Vec<_>>()
    };
    match &job.kind {
        Kind::Fixed => None,
        Kind::Cycle(cycle) => cycle.start_at(grid, runs.first()?.start).map(|number| cycle.at(number)),
        Kind::Energy(energy) => energy.placed(&slots()),
        Kind::Presence(presence) => presence.placed(&slots()),
    }
}
