//! The planner: which load runs when, from prices, a cap over all loads, windows, deadlines, minimum times and importance.
//!
//! PURE: plain data in, plain data out, no clock, no random source; equal problems give equal plans on every machine, because the search
//! is counted and seeded and reckons in whole numbers only. There is always a plan: what doesn't fit is dropped by importance and named.
//!
//! [`Improver::new`] has a first plan at once; [`Improver::step`] improves it in slices, so that a loop can do other things between;
//! [`plan`] does all of it. A bound below which no plan can go is worked out too, and the gap to it shown. docs/decisions/0050 says why so.
//!
//! Whoever keeps a plan makes a new one when prices or caps change, when an appliance or a person says something new, and when a slot
//! begins. The plan before goes into the problem ([`Plan::as_before`]): running cycles stay, and what would save too little isn't moved.
#![forbid(unsafe_code)]

mod board;
mod bound;
mod cycle;
mod energy;
mod explain;
mod greedy;
mod grid;
mod improve;
mod job;
mod keep;
pub mod outcome;
mod pair;
mod presence;
pub mod problem;
mod setup;
pub mod slots;

use bound::Bound;
use improve::{HEAT_MOST, Search};
use job::Scratch;
use setup::Setup;

pub use outcome::{DropReason, Dropped, LoadPlan, OverCap, Plan, Run, Why};
pub use problem::{Before, Budget, Load, LoadId, Now, Override, Phase, Problem, ProblemError, Slot, Span, Work};

/// The seed of a home's plan: the same plan number draws otherwise in another home, and the next plan otherwise than this one.
pub fn seed(home: &str, plan_number: u64) -> u64 {
    // FNV-1a; the generator mixes it further.
    let bytes = home.bytes().chain(plan_number.to_be_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The plan of a problem, with its whole budget.
pub fn plan(problem: &Problem) -> Result<Plan, ProblemError> {
    let mut improver = Improver::new(problem)?;
    improver.step(u32::MAX);
    Ok(improver.plan())
}

/// A plan that gets better with each step.
pub struct Improver {
    setup: Setup,
    search: Search,
    bound: Bound,
    order: Vec<usize>,
    scratch: Scratch,
    keep: keep::Keep,
    budget: Budget,
    rebuilds: u32,
    bound_steps: u32,
    /// A plan no further from the bound than this is not improved: leaving the plan before must save more.
    good_enough: i64,
    /// The plan before could be gone on from.
    goes_on: bool,
    /// Undone work for which the bound was last worked out.
    aimed: Option<job::Loss>,
}

impl Improver {
    /// With a first plan, made at once.
    pub fn new(problem: &Problem) -> Result<Self, ProblemError> {
        let setup = Setup::new(problem)?;
        let mut scratch = Scratch::default();
        let order = greedy::order(&setup);
        let first = greedy::build(&setup, &order, None, &mut scratch);
        let mut search = Search::new(&setup, first, problem.seed);
        let mut keep = keep::Keep::new(&setup, problem);
        let before = keep.board(&setup, &order, &mut scratch);
        let goes_on = before.is_some();
        if let Some(board) = before {
            search.offer(board);
        }
        let bound = Bound::new(&setup);
        let budget = problem.budget;
        // Where each has what is best for it alone there is nothing to search for.
        let rebuilds = if search.is_perfect(&setup) { budget.rebuilds } else { 0 };
        let (bound_steps, aimed, good_enough) = (0, None, keep.unless_saves());
        Ok(Self {
            setup,
            search,
            bound,
            order,
            scratch,
            keep,
            budget,
            rebuilds,
            bound_steps,
            good_enough,
            goes_on,
            aimed,
        })
    }

    /// Goes on for so many steps; false when the budget is used up or nothing can be better. A step takes well under a millisecond, one
    /// that raises the bound about as long as a first plan.
    pub fn step(&mut self, steps: u32) -> bool {
        for _ in 0..steps {
            if !self.one() {
                return false;
            }
        }
        true
    }

    fn one(&mut self) -> bool {
        // First a little search, so that undone work is about what it will be; then the bound, which guides the rest. The plan before has been
        // searched already.
        let bound_from = if self.goes_on { 0 } else { self.budget.rebuilds / 8 };
        if self.rebuilds >= bound_from && self.bound_steps < self.budget.bound_steps {
            self.raise_bound();
            if self.bound_steps == self.budget.bound_steps {
                self.search.learn(&self.setup, &self.bound, &self.order, &mut self.scratch);
            }
            return true;
        }
        if self.rebuilds < self.budget.rebuilds {
            let left = i64::from(self.budget.rebuilds - self.rebuilds);
            let heat = HEAT_MOST * left / i64::from(self.budget.rebuilds);
            let apart = self.apart();
            if apart.is_some_and(|apart| apart <= self.good_enough) {
                self.rebuilds = self.budget.rebuilds;
                return true;
            }
            let apart = apart.unwrap_or(0);
            self.search.rebuild(&self.setup, heat, apart, &mut self.scratch);
            self.rebuilds += 1;
            return true;
        }
        // What is left undone has changed since: the bound is about other plans.
        if self.aimed.is_some_and(|loss| loss != self.search.best.score.0)
            && self.bound_steps < 2 * self.budget.bound_steps
        {
            if self.bound_steps == self.budget.bound_steps {
                self.bound.aim(&self.setup, &self.search.best.score);
            }
            self.raise_bound();
            return true;
        }
        false
    }

    /// How far the best plan can be from the cheapest, once a bound is known.
    fn apart(&self) -> Option<i64> {
        let (loss, cost) = self.search.best.score;
        self.bound.lower(&loss).map(|lower| (cost - lower).max(0))
    }

    fn raise_bound(&mut self) {
        let score = &self.search.best.score;
        if self.aimed.is_none() {
            self.bound.aim(&self.setup, score);
            self.aimed = Some(score.0);
        }
        self.bound.step(&self.setup, score, &mut self.scratch);
        self.bound_steps += 1;
        if self.apart().is_some_and(|apart| apart <= self.good_enough) {
            // Proven: nothing is cheaper, by so much that it would be changed for it.
            self.bound_steps = self.budget.bound_steps.max(self.bound_steps);
            self.rebuilds = self.budget.rebuilds;
        }
    }

    /// The best plan so far.
    pub fn plan(&self) -> Plan {
        let (board, kept) = self.keep.kept(&self.setup, &self.search.best);
        let lower = self.bound.lower(&board.score.0);
        explain::plan(&self.setup, &board, &kept, lower, self.rebuilds)
    }
}
