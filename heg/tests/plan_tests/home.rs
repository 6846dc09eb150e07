//! Small problems in few words.

use energy_model::Importance;
use heg::plan::{Budget, Load, LoadId, Now, Phase, Plan, Problem, Run, Slot, Span, Work};

pub(crate) const QUARTER: i64 = 900;

pub(crate) fn span(start: i64, end: i64) -> Span {
    Span { start, end }
}

/// Slots of a quarter hour with those prices, millionths per kWh.
pub(crate) fn slots(prices: &[i64], cap_w: Option<u32>) -> Vec<Slot> {
    let slot = |(i, price): (i64, &i64)| Slot {
        span: span(i * QUARTER, (i + 1) * QUARTER),
        price: Some(*price),
        cap_w,
        base_w: 0,
    };
    (0..).zip(prices).map(slot).collect()
}

pub(crate) fn problem(slots: Vec<Slot>, loads: Vec<Load>) -> Problem {
    let budget = Budget { bound_steps: 40, rebuilds: 400 };
    Problem { slots, loads, before: Vec::new(), keep_unless_saves: 0, seed: 1, budget }
}

pub(crate) fn load(id: u32, importance: Importance, work: Work) -> Load {
    Load {
        id: LoadId(id),
        importance,
        work,
        min_on_s: 0,
        min_off_s: 0,
        start_cost: 0,
        now: Now::Off(None),
        ordered: None,
    }
}

/// Phases of whole quarter hours, from `first` slot on and ended by the end of slot `last`.
pub(crate) fn cycle(watts: &[u32], first: i64, last: i64) -> Work {
    let phases = watts.iter().map(|w| Phase { seconds: QUARTER as u32, watts: *w }).collect();
    Work::Cycle { phases, earliest: first * QUARTER, deadline: (last + 1) * QUARTER, running_since: None }
}

/// As much energy as that many quarter hours give.
pub(crate) fn energy(watts: u32, quarters: u32, first: i64, last: i64) -> Work {
    Work::Energy { watts, energy_wh: watts * quarters / 4, earliest: first * QUARTER, deadline: (last + 1) * QUARTER }
}

pub(crate) fn presence(watts: u32, first: i64, last: i64) -> Work {
    let wanted = vec![span(first * QUARTER, (last + 1) * QUARTER)];
    Work::Presence { watts, rest_w: 0, wanted, kept: Vec::new(), price_max: None }
}

pub(crate) fn runs(plan: &Plan, id: u32) -> &[Run] {
    plan.loads.iter().find(|l| l.id == LoadId(id)).map_or(&[], |l| &l.runs)
}

/// Runs in quarter hours.
pub(crate) fn quarters(plan: &Plan, id: u32) -> Vec<(i64, i64)> {
    runs(plan, id).iter().map(|r| (r.span.start / QUARTER, r.span.end / QUARTER)).collect()
}
