//! How good a plan can be at best: the cap is given up and its watts sold at a price per slot instead (Lagrangian relaxation).
//!
//! Each load then chooses for itself, exactly; what they pay together, less the worth of the room, is a lower bound for any prices, and
//! the prices are raised where more is bought than there is (subgradient steps). Undone work has a price per class too: the bound holds
//! for the plans that leave no more undone than the one it is asked for. Whole numbers throughout, so it is the same on every machine.
#![forbid(unsafe_code)]

use super::board::Score;
use super::job::{Loss, Scratch, View};
use super::setup::Setup;

/// Steps without a better bound until the step is halved.
const PATIENCE: u32 = 4;
/// Step lengths are counted in this part.
const LENGTH_ONE: i128 = 1 << 16;

pub(super) struct Bound {
    /// Price of a watt by slot.
    prices: Vec<i64>,
    /// Direction of the last step: the new one leans on it, which keeps it from swinging.
    lean: Vec<i64>,
    /// Price of undone work by class.
    miss: [i64; 4],
    /// The best bound so far, without what undone work is worth, and its prices.
    best: Option<(i64, Vec<i64>, [i64; 4])>,
    length: i128,
    since_better: u32,
}

impl Bound {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            prices: vec![0; setup.grid.len()],
            lean: vec![0; setup.grid.len()],
            miss: [0; 4],
            best: None,
            length: LENGTH_ONE,
            since_better: 0,
        }
    }

    /// No plan that leaves no more undone than `loss` in any class costs less.
    pub(super) fn lower(&self, loss: &Loss) -> Option<i64> {
        let (value, _, miss) = self.best.as_ref()?;
        Some(value - worth(miss, loss))
    }

    /// The prices of the best bound.
    pub(super) fn prices(&self) -> Option<&[i64]> {
        self.best.as_ref().map(|(_, prices, _)| prices.as_slice())
    }

    /// Starts anew from the prices it has, for a plan with other undone work.
    pub(super) fn aim(&mut self, setup: &Setup, score: &Score) {
        let alone: i64 = setup.facts.iter().map(|f| f.alone.cost.abs()).sum();
        let most = (1 << 56) / (i64::from(super::job::WHOLE) * setup.jobs.len().max(1) as i64);
        for class in 0..self.miss.len() {
            // What can be done wholly must be: its price is beyond any cost. Else about what a load costs, to begin with.
            let whole = score.0[class] <= setup.unavoidable[class];
            let price =
                if whole { alone / 50_000 + 1 } else { 4 * alone / (1_000_000 * setup.jobs.len().max(1) as i64) + 1 };
            self.miss[class] = price.min(most.max(1));
        }
        self.best = None;
        self.length = LENGTH_ONE;
        self.since_better = 0;
    }

    /// One step for the plan of that score.
    pub(super) fn step(&mut self, setup: &Setup, score: &Score, scratch: &mut Scratch) {
        let room = |slot: usize| setup.room[slot].max(0);
        let mut bought = vec![0i64; setup.grid.len()];
        let mut undone = Loss::default();
        let mut value: i64 = 0;
        for job in &setup.jobs {
            let view = View { room: None, extra: Some(&self.prices), miss: Some(self.miss[job.class]) };
            let placement = job.place(view, scratch);
            value += job.value(&placement, view);
            undone[job.class] += u64::from(placement.missing);
            job.draws(&placement, |slot, watts| bought[slot] += watts);
        }
        value -= self.prices.iter().enumerate().filter(|(_, p)| **p > 0).map(|(slot, p)| p * room(slot)).sum::<i64>();
        let bound = value - worth(&self.miss, &score.0);
        if self.lower(&score.0).is_none_or(|best| bound > best) {
            self.best = Some((value, self.prices.clone(), self.miss));
            self.since_better = 0;
        } else {
            self.since_better += 1;
            if self.since_better >= PATIENCE {
                self.length = (self.length * 2 / 3).max(1);
                self.since_better = 0;
            }
        }
        self.raise(setup, score, &bought, &undone, bound);
    }

    fn raise(&mut self, setup: &Setup, score: &Score, bought: &[i64], undone: &Loss, bound: i64) {
        let mut norm: i128 = 0;
        for (slot, lean) in self.lean.iter_mut().enumerate() {
            let over = bought[slot] - setup.room[slot].max(0);
            *lean = if self.prices[slot] == 0 && over <= 0 { 0 } else { over + *lean / 2 };
            norm += i128::from(*lean) * i128::from(*lean);
        }
        let apart = i128::from((score.1 - bound).max(1));
        if norm > 0 {
            for (price, lean) in self.prices.iter_mut().zip(&self.lean) {
                let step = apart * self.length / LENGTH_ONE * i128::from(*lean) / norm;
                *price = (i128::from(*price) + step).clamp(0, i128::from(setup.extra_max / 2)) as i64;
            }
        }
        for (class, (price, undone)) in self.miss.iter_mut().zip(undone).enumerate() {
            let aim = score.0[class];
            if aim > setup.unavoidable[class] {
                *price = if *undone > aim { *price + *price / 8 + 1 } else { (*price - *price / 10).max(1) };
            }
        }
    }
}

fn worth(miss: &[i64; 4], loss: &Loss) -> i64 {
    miss.iter().zip(loss).map(|(price, loss)| price * *loss as i64).sum()
}
