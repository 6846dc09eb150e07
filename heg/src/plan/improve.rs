//! The search: a part of the plan is taken out and put in again otherwise, and what comes out is kept if it is better, or for a while
//! if it is nearly as good (ruin and recreate). Choices come from a seed, so the same search always finds the same plan.
#![forbid(unsafe_code)]

use super::board::{Board, Score};
use super::bound::Bound;
use super::greedy;
use super::job::{Kind, Placement, Scratch};
use super::pair;
use super::setup::Setup;

/// Loads taken out at a time, at most, but for a few at random.
const TAKEN_MAX: usize = 10;
/// Those at random.
const STRANGERS: usize = 2;
/// One rebuild in so many places two interruptible loads together.
const PAIR_ONE_IN: usize = 24;
/// Heat at the start of a search.
pub(super) const HEAT_MOST: i64 = 1000;
/// At that heat, a plan may be worse by this part of the distance to the bound and still be gone on from.
const WORSE_PART: i64 = 10;
/// One slot in so many is made dear where a load is kept from some.
const BARRED_ONE_IN: usize = 8;
/// How dear, at most: so many times the usual price.
const BARRED_TIMES: i64 = 64;

/// SplitMix64: the same numbers on every machine and in every version, which no crate promises.
pub(super) struct Choices(pub(super) u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// One of 0..`below`.
    pub(super) fn below(&mut self, below: usize) -> usize {
        ((u128::from(self.next()) * below as u128) >> 64) as usize
    }
}

pub(super) struct Search {
    /// The best plan so far.
    pub(super) best: Board,
    current: Board,
    choices: Choices,
    /// Loads that have a choice.
    movable: Vec<usize>,
    /// Interruptible loads without minimum times.
    plain: Vec<usize>,
    /// Prices of the bound.
    prices: Option<Vec<i64>>,
    /// Added to the cost of watts while putting in.
    extra: Vec<i64>,
    /// Usual cost of a watt through a slot.
    watt: i64,
    /// The most that is added at random.
    noise_max: i64,
    taken: Vec<usize>,
    before: Vec<(usize, Placement)>,
}

impl Search {
    pub(super) fn new(setup: &Setup, first: Board, seed: u64) -> Self {
        let has_choice = |i: &usize| !matches!(setup.jobs[*i].kind, Kind::Fixed);
        Self {
            current: first.clone(),
            best: first,
            choices: Choices(seed),
            movable: (0..setup.jobs.len()).filter(has_choice).collect(),
            plain: (0..setup.jobs.len())
                .filter(|i| matches!(&setup.jobs[*i].kind, Kind::Energy(energy) if energy.is_plain()))
                .collect(),
            prices: None,
            extra: vec![0; setup.grid.len()],
            watt: usual_watt(setup),
            noise_max: setup.extra_max / 2,
            taken: Vec::new(),
            before: Vec::new(),
        }
    }

    /// Whether every load already has the best it could have alone: nothing can be better then.
    pub(super) fn is_perfect(&self, setup: &Setup) -> bool {
        let alone = |i: &usize| {
            let (placed, alone) = (&self.best.placed[*i], &setup.facts[*i].alone);
            (placed.missing, placed.cost) == (alone.missing, alone.cost)
        };
        self.movable.iter().all(alone)
    }

    /// Takes another plan as the current one, if it is better.
    pub(super) fn offer(&mut self, board: Board) {
        if board.score < self.best.score {
            self.best = board.clone();
            self.current = board;
        }
    }

    /// From the prices of the bound: plans built with them, and their use in what follows.
    pub(super) fn learn(&mut self, setup: &Setup, bound: &Bound, order: &[usize], scratch: &mut Scratch) {
        let Some(prices) = bound.prices() else { return };
        let prices = prices.to_vec();
        self.offer(greedy::build(setup, order, Some(&prices), scratch));
        self.prices = Some(prices);
    }

    /// One rebuild. `heat`, up to [`HEAT_MOST`], says how much worse a plan may be and still be gone on from, as a part of the
    /// distance `apart` to the bound; it counts squared.
    pub(super) fn rebuild(&mut self, setup: &Setup, heat: i64, apart: i64, scratch: &mut Scratch) {
        if self.movable.is_empty() {
            return;
        }
        if self.plain.len() > 1 && self.choices.below(PAIR_ONE_IN) == 0 {
            self.pair(setup, scratch);
            return;
        }
        self.choose(setup);
        let before: Score = self.current.score;
        self.before.clear();
        for i in &self.taken {
            let placement = self.current.take(&setup.jobs, *i);
            self.before.push((*i, placement));
        }
        self.arrange(setup);
        let lure = self.choices.below(4);
        for at in 0..self.taken.len() {
            let extra = self.lure(lure);
            self.current.place(setup, self.taken[at], extra.then_some(&self.extra), scratch);
        }
        let after = self.current.score;
        let heat = i128::from(heat) * i128::from(heat) * i128::from(apart);
        let worse = heat / i128::from(HEAT_MOST * HEAT_MOST * WORSE_PART);
        let allowed = before.1.saturating_add(i64::try_from(worse).unwrap_or(0));
        let kept = after.0 < before.0 || (after.0 == before.0 && after.1 <= allowed);
        if !kept {
            for i in &self.taken {
                self.current.take(&setup.jobs, *i);
            }
            while let Some((i, placement)) = self.before.pop() {
                self.current.put(&setup.jobs, i, placement);
            }
        } else if after < self.best.score {
            self.best.clone_from(&self.current);
        }
    }

    /// Two interruptible loads put where they are best together.
    fn pair(&mut self, setup: &Setup, scratch: &mut Scratch) {
        let one = self.plain[self.choices.below(self.plain.len())];
        let other = self.plain[self.choices.below(self.plain.len())];
        let (Kind::Energy(a), Kind::Energy(b)) = (&setup.jobs[one].kind, &setup.jobs[other].kind) else { return };
        let apart = a.slots().end.min(b.slots().end) <= a.slots().start.max(b.slots().start);
        let undone = self.current.placed[one].missing > 0 || self.current.placed[other].missing > 0;
        if one == other || apart || undone {
            return;
        }
        let before = [one, other].map(|i| self.current.take(&setup.jobs, i));
        let after = pair::place(a, b, &self.current.room, &mut scratch.on).unwrap_or(before);
        for (i, placement) in [one, other].into_iter().zip(after) {
            self.current.put(&setup.jobs, i, placement);
        }
        if self.current.score < self.best.score {
            self.best.clone_from(&self.current);
        }
    }

    /// What is added to the cost of watts for one load, if anything: the prices of the bound, which say where room is scarce, and a little at
    /// random or a few slots barred, so that loads don't all want the same.
    fn lure(&mut self, kind: usize) -> bool {
        let Self { prices, choices, extra, watt, noise_max, .. } = self;
        let prices = prices.as_deref();
        match kind {
            0 => return false,
            1 => {
                let most = watt.saturating_mul(BARRED_TIMES).min(*noise_max) as usize + 1;
                for extra in extra {
                    *extra = if choices.below(BARRED_ONE_IN) == 0 { choices.below(most) as i64 } else { 0 };
                }
            }
            2 => match prices {
                Some(prices) => extra.copy_from_slice(prices),
                None => return false,
            },
            _ => {
                let most = (*watt).min(*noise_max) as usize / (1 + choices.below(40)) + 1;
                for (slot, extra) in extra.iter_mut().enumerate() {
                    *extra = prices.map_or(0, |prices| prices[slot]) + choices.below(most) as i64;
                }
            }
        }
        true
    }

    /// Which loads are taken out: one that has it worse than it could alone, those that stand where it would be best, and some at random.
    fn choose(&mut self, setup: &Setup) {
        let Self { current, choices, movable, taken, .. } = self;
        let count = 2 + choices.below(TAKEN_MAX - 1);
        taken.clear();
        let worse = |i: usize| {
            let (placed, alone) = (&current.placed[i], &setup.facts[i].alone);
            (placed.missing - alone.missing.min(placed.missing), placed.cost - alone.cost)
        };
        let mut first = movable[choices.below(movable.len())];
        for _ in 0..3 {
            let other = movable[choices.below(movable.len())];
            if worse(other) > worse(first) {
                first = other;
            }
        }
        taken.push(first);
        let wanted = &setup.facts[first].alone.slots;
        if !wanted.is_empty() {
            let slot = wanted[choices.below(wanted.len())];
            let from = choices.below(movable.len());
            for step in 0..movable.len() {
                let i = movable[(from + step) % movable.len()];
                if taken.len() >= count {
                    break;
                }
                if i != first && current.placed[i].slots.binary_search(&slot).is_ok() {
                    taken.push(i);
                }
            }
        }
        for _ in 0..STRANGERS {
            let other = movable[choices.below(movable.len())];
            if !taken.contains(&other) {
                taken.push(other);
            }
        }
    }

    /// The order in which they are put in again: at random, every other time the important first.
    fn arrange(&mut self, setup: &Setup) {
        let Self { choices, taken, .. } = self;
        for at in (1..taken.len()).rev() {
            taken.swap(at, choices.below(at + 1));
        }
        if choices.below(2) == 0 {
            taken.sort_by_key(|i| setup.jobs[*i].class);
        }
    }
}

fn usual_watt(setup: &Setup) -> i64 {
    let grid = &setup.grid;
    let all: i64 = (0..grid.len()).map(|s| grid.cost(s, grid.slots[s].span.seconds()).abs()).sum();
    all / grid.len() as i64
}
