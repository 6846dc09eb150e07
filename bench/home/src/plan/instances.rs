//! Homes to plan for, made from a seed, with real day-ahead prices.

use anyhow::{Context, Result};
use energy_model::Importance;
use heg::plan::{Budget, Load, LoadId, Now, Phase, Problem, Slot, Span, Work, plan};
use home_bench::draw::Draw;

/// Slots of a quarter hour: 36 hours.
pub(crate) const SLOTS: usize = 144;
pub(crate) const SLOT_S: i64 = 900;
const PRICES: &str = include_str!("../../../data/prices.csv");
/// Least cap, watts: what a controllable connection keeps under a utility's limit.
const CAP_LEAST: u32 = 4200;
/// Grid fees and taxes on top of the market's price, millionths per kWh.
const FEES: i64 = 400_000;

/// Prices of a series by quarter hour, millionths per kWh; begun anew where it is shorter than asked.
pub(crate) fn prices(series: &str, from: usize, count: usize) -> Result<Vec<i64>> {
    let mut quarters = Vec::new();
    for line in PRICES.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [name, _, seconds, price] = fields[..] else { anyhow::bail!("bad line {line}") };
        if name == series {
            let price: f64 = price.parse().context("a price")?;
            let repeat = seconds.parse::<usize>().context("seconds")? / SLOT_S as usize;
            quarters.extend(std::iter::repeat_n((price * 1000.0).round() as i64 + FEES, repeat));
        }
    }
    anyhow::ensure!(!quarters.is_empty(), "no series {series}");
    Ok((from..from + count).map(|i| quarters[i % quarters.len()]).collect())
}

/// A home of that many loads. Seed 1 and 2 have SE3's prices of November 2024 (24 and 36 hours before the end of the series), 3 the
/// quarter-hour ones of October 2025, 4 those of NL.
pub(crate) fn home(loads: usize, seed: u64) -> Result<Problem> {
    let (series, from) = match seed {
        1 => ("SE3-2024-11", 0),
        2 => ("SE3-2024-11", 48),
        3 => ("SE3-2025-10", 0),
        _ => ("NL-2024-11", 0),
    };
    let prices = prices(series, from, SLOTS)?;
    let budget = Budget::for_loads(loads);
    let mut draw = Draw::new(seed * 1000 + loads as u64);
    let slot = |i: usize| Span { start: i as i64 * SLOT_S, end: (i as i64 + 1) * SLOT_S };
    let slots: Vec<Slot> =
        (0..SLOTS).map(|i| Slot { span: slot(i), price: Some(prices[i]), cap_w: None, base_w: 400 }).collect();
    let loads = (0..loads).map(|i| load(i, &mut draw)).collect();
    let none = Budget { bound_steps: 0, rebuilds: 0 };
    let mut problem = Problem { slots, loads, before: Vec::new(), keep_unless_saves: 0, seed, budget: none };
    let peak = peak(&problem)?;
    for (i, slot) in problem.slots.iter_mut().enumerate() {
        let evening = (16 * 4..20 * 4).contains(&(i % 96));
        let cap = if evening { peak / 2 * 6 / 10 } else { peak / 2 };
        slot.cap_w = Some(cap.max(CAP_LEAST));
    }
    problem.budget = budget;
    Ok(problem)
}

/// The highest power of all when each runs at its best time.
fn peak(problem: &Problem) -> Result<u32> {
    let plan = plan(problem)?;
    let mut watts = [0u32; SLOTS];
    for (load, planned) in problem.loads.iter().zip(&plan.loads) {
        for run in &planned.runs {
            for (i, slot) in watts.iter_mut().enumerate() {
                *slot += power_within(&load.work, run.span, problem.slots[i].span);
            }
        }
    }
    Ok(watts.iter().max().copied().unwrap_or(0) + 400)
}

/// Highest power in `slot` of a run.
pub(crate) fn power_within(work: &Work, run: Span, slot: Span) -> u32 {
    slot.within(run).map_or(0, |part| power(work, part.start - run.start, part.seconds()))
}

/// Highest power within `seconds` from `into` a run on.
fn power(work: &Work, into: i64, seconds: i64) -> u32 {
    match work {
        Work::Cycle { phases, .. } => {
            let (mut at, mut most) = (0, 0);
            for phase in phases {
                let end = at + i64::from(phase.seconds);
                if at < into + seconds && into < end {
                    most = most.max(phase.watts);
                }
                at = end;
            }
            most
        }
        Work::Energy { watts, .. } | Work::Presence { watts, .. } => *watts,
    }
}

fn load(number: usize, draw: &mut Draw) -> Load {
    let importance = draw.one_of(&[Importance::High, Importance::Normal, Importance::Normal, Importance::Low]);
    let quarters = |q: i64| q * SLOT_S;
    let begin = draw.between(0, 40);
    let window = |begin: i64, length: i64| (quarters(begin), quarters((begin + length).min(SLOTS as i64)));
    let phase = |quarters: u32, watts: u32| Phase { seconds: quarters * SLOT_S as u32, watts };
    let (mut min_on_s, mut min_off_s, mut start_cost) = (0, 0, 0);
    let work = match number % 7 {
        0 => {
            let phases = vec![phase(1, 60), phase(2, 2000), phase(2, 80), phase(1, 2000), phase(2, 50)];
            let (earliest, deadline) = window(begin, draw.between(20, 90));
            Work::Cycle { phases, earliest, deadline, running_since: None }
        }
        1 => {
            let phases =
                vec![phase(2, draw.one_of(&[1800, 2000, 2200])), phase(draw.one_of(&[2, 3, 4]), 200), phase(1, 450)];
            let (earliest, deadline) = window(begin, draw.between(16, 80));
            Work::Cycle { phases, earliest, deadline, running_since: None }
        }
        2 => {
            let phases = vec![phase(draw.one_of(&[3, 5]), draw.one_of(&[900, 2400]))];
            let (earliest, deadline) = window(begin + 20, draw.between(12, 60));
            Work::Cycle { phases, earliest, deadline, running_since: None }
        }
        // Water heater: pauses of at least half an hour, if any.
        3 => {
            (min_on_s, min_off_s) = (1800, 1800);
            let (watts, slots) = (draw.one_of(&[1500, 2000, 3000]), draw.between(6, 12));
            let (earliest, deadline) = window(begin, draw.between(40, 90));
            Work::Energy { watts, energy_wh: watts / 4 * slots as u32, earliest, deadline }
        }
        // Car, charged over night.
        4 => {
            let (watts, slots) = (draw.one_of(&[2300, 3680, 3680, 7360]), draw.between(6, 22));
            let (earliest, deadline) = window(60 + draw.between(0, 20), draw.between(36, 60));
            Work::Energy { watts, energy_wh: watts / 4 * slots as u32, earliest, deadline }
        }
        // Pump or dehumidifier: short runs are bad for it.
        5 => {
            (min_on_s, min_off_s, start_cost) = (2700, 900, 20_000);
            let (watts, slots) = (draw.one_of(&[300, 500, 700]), draw.between(6, 20));
            let (earliest, deadline) = window(begin, draw.between(48, 100));
            Work::Energy { watts, energy_wh: watts / 4 * slots as u32, earliest, deadline }
        }
        // Something that is wanted, but can be without: rests of half an hour.
        _ => {
            (min_on_s, min_off_s) = (900, 1800);
            let span = |begin: i64, length: i64| {
                let (start, end) = window(begin, length);
                Span { start, end }
            };
            let wanted = vec![span(begin, draw.between(4, 16)), span(begin + 60, draw.between(4, 16))];
            let watts = draw.one_of(&[80, 150, 600]);
            Work::Presence { watts, rest_w: 0, wanted, kept: Vec::new(), price_max: None }
        }
    };
    Load {
        id: LoadId(number as u32),
        importance,
        work,
        min_on_s,
        min_off_s,
        start_cost,
        now: Now::Off(None),
        ordered: None,
    }
}
