//! A plan, and what decided each part of it.
#![forbid(unsafe_code)]

use std::fmt;

use super::problem::{Before, LoadId, Span};

/// The input that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The cheapest time there is, or a price above what the load may pay.
    Price,
    /// The home's cap leaves no room at a better time.
    Cap,
    /// It is wanted then, or not wanted outside.
    Window,
    /// There is no other time before its deadline.
    Deadline,
    /// It was running and is not to be interrupted.
    Frozen,
    /// As the plan before; another time would save too little.
    Hysteresis,
    /// Minimum time on or off, or what a start costs.
    MinimumTime,
    /// It must not be off then (NoStandbyPeriod), or it is of the class that is never switched off.
    Kept,
    /// A person ordered it.
    Override,
    /// Nobody says when it is to run, so it is left on.
    LeftOn,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Price => "price",
            Self::Cap => "cap",
            Self::Window => "window",
            Self::Deadline => "deadline",
            Self::Frozen => "running cycle",
            Self::Hysteresis => "plan kept",
            Self::MinimumTime => "minimum time",
            Self::Kept => "not to be switched off",
            Self::Override => "ordered by a person",
            Self::LeftOn => "left on",
        })
    }
}

/// A stretch of time in which a load is on, or off although wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// When.
    pub span: Span,
    /// What decided.
    pub why: Why,
}

/// What one load does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPlan {
    /// Which.
    pub id: LoadId,
    /// When it is on.
    pub runs: Vec<Run>,
    /// When it is off although wanted.
    pub pauses: Vec<Run>,
    /// What it draws while on, watt-seconds.
    pub energy_ws: u64,
    /// What that costs, starts included, millionths of the currency.
    pub cost: i64,
}

/// Why something is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Even alone it can't be done between its earliest start, its deadline and the end of the time planned.
    WindowTooShort,
    /// Its power alone is more than the cap leaves in its window.
    CapBelowPower,
    /// Other loads take what the cap leaves: of more or equal importance, running, ordered on, or on for a minimum time.
    CapTaken,
    /// It has to stay off for its minimum time first.
    MinimumTime,
    /// A person ordered it off.
    Override,
    /// The appliance has refused, or did not answer, and is not asked again yet.
    NotAsked,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WindowTooShort => "not enough time before its deadline",
            Self::CapBelowPower => "the cap is below its power",
            Self::CapTaken => "the cap is taken by other loads",
            Self::MinimumTime => "its minimum time off has not passed",
            Self::Override => "ordered off by a person",
            Self::NotAsked => "it is not asked again yet",
        })
    }
}

/// Work that isn't done, wholly or in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Whose.
    pub id: LoadId,
    /// How much of it, millionths.
    pub missing_ppm: u32,
    /// Why.
    pub reason: DropReason,
}

/// Time in which the cap can't be kept, whatever the plan does: base load, running cycles and what must not be off exceed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverCap {
    /// When.
    pub span: Span,
    /// By how much, watts.
    pub watts: u32,
}

/// What is to run when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Every load, in the order of the problem.
    pub loads: Vec<LoadPlan>,
    /// What isn't done.
    pub dropped: Vec<Dropped>,
    /// Where the cap is exceeded by what the plan doesn't decide.
    pub over_cap: Vec<OverCap>,
    /// Time without a price; planned as if it were the dearest one known.
    pub unpriced: Vec<Span>,
    /// What the loads cost, starts included, millionths of the currency.
    pub cost: i64,
    /// No plan that drops as little costs less; `None` before the bound is worked out.
    pub lower_bound: Option<i64>,
    /// Search done so far, of the budget.
    pub rebuilds: u32,
}

impl Plan {
    /// How far above the bound the cost is at most, millionths of the bound's size; `None` where that is not known: before the bound is worked
    /// out, and where work is left undone, of which the bound says too little.
    pub fn gap_ppm(&self) -> Option<u64> {
        let bound = self.lower_bound.filter(|_| self.dropped.is_empty())?;
        let above = u128::from(self.cost.abs_diff(bound)) * 1_000_000;
        Some(u64::try_from(above / u128::from(bound.unsigned_abs().max(1))).unwrap_or(u64::MAX))
    }

    /// Its runs, as the next problem wants to know them.
    pub fn as_before(&self) -> Vec<Before> {
        let runs = |load: &LoadPlan| load.runs.iter().map(|r| r.span).collect();
        self.loads.iter().map(|load| Before { id: load.id, runs: runs(load) }).collect()
    }
}
