//! What a plan is made from, as plain data, and whether it can be planned with.
//!
//! Instants are whole seconds since 1970 in UTC, so that days of 23 and 25 hours are nothing special; spans are half open. Money is in
//! millionths of the currency and signed, power in watts.
#![forbid(unsafe_code)]

use energy_model::Importance;

use crate::limits::{
    APPLIANCES_MAX, PLAN_DURATION_S_MAX, PLAN_ENERGY_WH_MAX, PLAN_INSTANT_MAX, PLAN_PHASES_MAX, PLAN_PRICE_MAX,
    PLAN_SLOT_S_MAX, PLAN_SLOTS_MAX, PLAN_START_COST_MAX, PLAN_WATTS_MAX, PLAN_WINDOWS_MAX,
};

/// From `start` up to, not including, `end`; seconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First second.
    pub start: i64,
    /// The second after the last.
    pub end: i64,
}

impl Span {
    /// Seconds from start to end; nothing for one turned round.
    pub fn seconds(self) -> i64 {
        (self.end - self.start).max(0)
    }

    /// The part of it within `other`.
    pub fn within(self, other: Self) -> Option<Self> {
        let both = Self { start: self.start.max(other.start), end: self.end.min(other.end) };
        (both.start < both.end).then_some(both)
    }
}

/// A stretch of time in which price and cap stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// When. Each slot starts where the one before ends; they need not be of one length.
    pub span: Span,
    /// Price, millionths of the currency per kWh, taxes and fees included. Zero and less are prices like any other; `None` is not known.
    pub price: Option<i64>,
    /// What the whole home may draw, watts; `None` is no cap.
    pub cap_w: Option<u32>,
    /// What is drawn by what is not planned, watts. Generation of the home's own may be taken off it.
    pub base_w: u32,
}

/// Names a load in problem and plan; what it stands for is the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(pub u32);

/// One step of a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// How long.
    pub seconds: u32,
    /// Its power, the largest if it varies.
    pub watts: u32,
}

/// What a load has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Runs its phases once without a pause: a dishwasher, a washing machine.
    Cycle {
        /// Steps in order.
        phases: Vec<Phase>,
        /// It may start from then on.
        earliest: i64,
        /// It must have ended by then.
        deadline: i64,
        /// It has been running since then and isn't to be stopped.
        running_since: Option<i64>,
    },
    /// Needs an amount of energy by a deadline, with pauses as the plan likes: a car, a water heater. It stops by itself when it has it.
    Energy {
        /// Power while on.
        watts: u32,
        /// What it still needs, watt-hours.
        energy_wh: u32,
        /// From then on.
        earliest: i64,
        /// By then.
        deadline: i64,
    },
    /// Should be on in its windows, but may be off: a towel heater, a machine that can sleep.
    Presence {
        /// Power while on.
        watts: u32,
        /// Power while off or in standby; drawn in any case.
        rest_w: u32,
        /// When it is wanted.
        wanted: Vec<Span>,
        /// When it must not be off (NoStandbyPeriod); such time is wanted too.
        kept: Vec<Span>,
        /// Above this price it isn't wanted, millionths of the currency per kWh; never within `kept`.
        price_max: Option<i64>,
    },
}

/// Whether a load runs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// Off, since then if that is known.
    Off(Option<i64>),
    /// On, since then if that is known.
    On(Option<i64>),
}

/// A person's order, above all but the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// On or off.
    pub on: bool,
    /// Until then.
    pub until: i64,
}

/// Something whose running can be planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its name here.
    pub id: LoadId,
    /// A plan drops everything of a lower class before it drops a little of a higher one. Critical presence is never dropped.
    pub importance: Importance,
    /// What it has to do.
    pub work: Work,
    /// Once on it stays on for so long, seconds, unless its work is done.
    pub min_on_s: u32,
    /// Once off it stays off for so long, seconds.
    pub min_off_s: u32,
    /// What a start costs (wear, heat lost), millionths of the currency.
    pub start_cost: i64,
    /// Whether it runs now.
    pub now: Now,
    /// What a person ordered.
    pub ordered: Option<Override>,
}

/// How much is searched. Counted, not timed: the same problem gives the same plan on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Steps by which the lower bound is raised.
    pub bound_steps: u32,
    /// Times a part of the plan is taken out and put in again.
    pub rebuilds: u32,
}

impl Budget {
    /// The default for a home: under 300 ms on a current machine for 160 loads in 144 slots (docs/benchmarks.md). A rebuild takes longer in a
    /// large home, so a small one gets more of them.
    pub fn for_loads(loads: usize) -> Self {
        let loads = u32::try_from(loads.min(APPLIANCES_MAX)).unwrap_or(u32::MAX);
        Self { bound_steps: 60, rebuilds: 2000 + 240_000 / (loads + 20) }
    }
}

/// When a load ran by the plan before, for what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// Which.
    pub id: LoadId,
    /// Its runs.
    pub runs: Vec<Span>,
}

/// Everything a plan depends on: equal problems have equal plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The time planned, from now.
    pub slots: Vec<Slot>,
    /// What can be planned.
    pub loads: Vec<Load>,
    /// The plan before.
    pub before: Vec<Before>,
    /// The plan before is kept where leaving it saves no more than this, millionths of the currency.
    pub keep_unless_saves: i64,
    /// Decides between plans that the search meets, see [`super::seed`].
    pub seed: u64,
    /// How much is searched.
    pub budget: Budget,
}

/// Why there can't be a plan. A problem that is merely hard has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemError {
    /// No slot, or more than [`PLAN_SLOTS_MAX`].
    #[error("{0} slots; a plan has 1 to {PLAN_SLOTS_MAX}")]
    Slots(usize),
    /// A slot is empty, too long or too far away.
    #[error("slot {0} is empty, longer than {PLAN_SLOT_S_MAX} s or out of reach")]
    SlotLength(usize),
    /// A slot doesn't start where the one before ends.
    #[error("slot {0} does not start where the one before it ends")]
    SlotsApart(usize),
    /// A price beyond [`PLAN_PRICE_MAX`].
    #[error("the price of slot {0} is beyond {PLAN_PRICE_MAX} millionths per kWh")]
    Price(usize),
    /// More loads than the registry holds.
    #[error("{0} loads; at most {APPLIANCES_MAX}")]
    Loads(usize),
    /// Two loads of one name.
    #[error("load {} is there twice", .0.0)]
    Twice(LoadId),
    /// A number of a load beyond its bound.
    #[error("load {}: {} is out of bounds", .0.0, .1)]
    Load(LoadId, &'static str),
    /// The costs may not fit 64 bits.
    #[error("powers, prices and lengths are too large to be added up")]
    TooLarge,
}

impl Problem {
    /// Whether every number is within its bound.
    pub fn check(&self) -> Result<(), ProblemError> {
        let slots = self.slots.len();
        if slots == 0 || slots > PLAN_SLOTS_MAX {
            return Err(ProblemError::Slots(slots));
        }
        for (i, slot) in self.slots.iter().enumerate() {
            let Span { start, end } = slot.span;
            if !instant(start) || !instant(end) || end <= start || end - start > PLAN_SLOT_S_MAX {
                return Err(ProblemError::SlotLength(i));
            }
            if i > 0 && self.slots[i - 1].span.end != start {
                return Err(ProblemError::SlotsApart(i));
            }
            if slot.price.is_some_and(|p| p.abs() > PLAN_PRICE_MAX) {
                return Err(ProblemError::Price(i));
            }
        }
        if self.loads.len() > APPLIANCES_MAX {
            return Err(ProblemError::Loads(self.loads.len()));
        }
        let mut ids: Vec<LoadId> = self.loads.iter().map(|l| l.id).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ProblemError::Twice(pair[0]));
        }
        self.loads.iter().try_for_each(|load| load.check().map_err(|what| ProblemError::Load(load.id, what)))
    }
}

fn instant(at: i64) -> bool {
    (-PLAN_INSTANT_MAX..=PLAN_INSTANT_MAX).contains(&at)
}

fn spans(spans: &[Span]) -> bool {
    spans.len() <= PLAN_WINDOWS_MAX && spans.iter().all(|s| instant(s.start) && instant(s.end))
}

impl Load {
    fn check(&self) -> Result<(), &'static str> {
        let bounds = [
            ("a minimum time", self.min_on_s.max(self.min_off_s) <= PLAN_DURATION_S_MAX),
            ("the start cost", (0..=PLAN_START_COST_MAX).contains(&self.start_cost)),
            ("the instant of its state", matches!(self.now, Now::On(at) | Now::Off(at) if at.is_none_or(instant))),
            ("the order", self.ordered.is_none_or(|o| instant(o.until))),
        ];
        let work = match &self.work {
            Work::Cycle { phases, earliest, deadline, running_since } => [
                ("the number of phases", (1..=PLAN_PHASES_MAX).contains(&phases.len())),
                ("a phase", phases.iter().all(|p| p.watts <= PLAN_WATTS_MAX && p.seconds <= PLAN_DURATION_S_MAX)),
                ("the cycle's length", phases.iter().any(|p| p.seconds > 0)),
                ("the window", instant(*earliest) && instant(*deadline) && running_since.is_none_or(instant)),
            ],
            Work::Energy { watts, energy_wh, earliest, deadline } => [
                ("the power", (1..=PLAN_WATTS_MAX).contains(watts)),
                ("the energy", *energy_wh <= PLAN_ENERGY_WH_MAX),
                ("the window", instant(*earliest) && instant(*deadline)),
                ("", true),
            ],
            Work::Presence { watts, rest_w, wanted, kept, price_max } => [
                ("the power", *watts <= PLAN_WATTS_MAX && rest_w <= watts),
                ("the windows", spans(wanted)),
                ("the windows", spans(kept)),
                ("the highest price", price_max.is_none_or(|p| p.abs() <= PLAN_PRICE_MAX)),
            ],
        };
        bounds.into_iter().chain(work).find(|(_, good)| !good).map_or(Ok(()), |(what, _)| Err(what))
    }
}
