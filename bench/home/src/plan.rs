//! The planner against the optimum: greedy and default budget on generated homes with real prices, with times and memory.

mod instances;
mod milp;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use heg::plan::{Improver, Plan, Problem};
use nix::time::{ClockId, clock_gettime};

use crate::memory;
use crate::svg::{Axis, COLOURS, Plot};

const SIZES: [usize; 5] = [10, 20, 40, 80, 160];
const SEEDS: std::ops::RangeInclusive<u64> = 1..=4;
/// Milliseconds that a first plan and a whole one may take.
const GOALS_MS: (f64, f64) = (5.0, 300.0);

/// What the oracle found, hundredths of the currency.
struct Optimum {
    /// `None` where it found no plan in its time.
    cost: Option<f64>,
    bound: f64,
    seconds: f64,
}

/// What one home gave.
struct Row {
    loads: usize,
    seed: u64,
    first: Plan,
    first_ms: f64,
    plan: Plan,
    whole_ms: f64,
    optimum: Option<Optimum>,
}

impl Row {
    /// The best bound known, hundredths of the currency.
    fn bound(&self) -> f64 {
        let own = self.plan.lower_bound.map_or(f64::MIN, cents);
        self.optimum.as_ref().map_or(own, |o| o.bound.max(own))
    }

    fn print(&self) {
        let Self { loads, seed, first_ms, whole_ms, .. } = self;
        let (first, cost, undone) = (cents(self.first.cost), cents(self.plan.cost), self.plan.dropped.len());
        let oracle = match &self.optimum {
            Some(Optimum { cost: Some(found), bound, seconds }) => {
                // A first plan that leaves other work undone has no cost to compare.
                let same = self.first.dropped == self.plan.dropped;
                let first = if same { format!("{:+.2}", over(first, *found)) } else { "undone".to_owned() };
                let proven = if found - bound < 1e-5 * found.abs() { "optimal" } else { "" };
                format!("{found:.1} | {proven} | {seconds:.0} | {first} | {:+.2}", over(cost, *found))
            }
            Some(Optimum { cost: None, seconds, .. }) => format!("none | | {seconds:.0} | | "),
            None => "- | - | - | - | -".to_owned(),
        };
        let gap = over(cost, self.bound());
        println!("| {loads} | {seed} | {undone} | {first_ms:.1} | {whole_ms:.0} | {cost:.1} | {oracle} | {gap:.2} |");
    }
}

fn cents(micro: i64) -> f64 {
    micro as f64 / 1e4
}

/// Percent.
fn over(cost: f64, other: f64) -> f64 {
    (cost / other - 1.0) * 100.0
}

/// Prints the section. `oracle` is a Python that has highspy, which may take `seconds` of the processor for each home; without it the plans
/// are measured against their own bounds.
pub(crate) fn print(oracle: Option<&Path>, seconds: u64, plots: Option<&Path>) -> Result<()> {
    println!("## Plans\n");
    println!(
        "Generated homes, {} slots of a quarter hour, real day-ahead prices (bench/data), a cap of half the power that all together",
        instances::SLOTS
    );
    println!(
        "would draw at their best times, less in the evening. Cost in hundredths of the currency; milliseconds are of the processor, the least of"
    );
    println!(
        "five first plans and three whole ones. HiGHS: one thread, begun from our plan, {seconds} s of the processor, no more undone than our plan."
    );
    println!(
        "Goals: default budget within 1 % of HiGHS; first plan under 5 ms, default budget under 300 ms at 160 loads; memory under 3 MB above"
    );
    println!("idle.\n");
    println!(
        "| loads | seed | undone | first plan ms | default budget ms | its cost | HiGHS | | s | first over HiGHS % | default over HiGHS % | default over best bound % |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let idle = memory::resident_kb()?;
    let (mut most, mut rows) = (idle, Vec::new());
    for loads in SIZES {
        for seed in SEEDS {
            let problem = instances::home(loads, seed)?;
            let (first, first_ms, plan, whole_ms) = planned(&problem)?;
            most = most.max(memory::resident_kb()?);
            check(&problem, &plan)?;
            let optimum = oracle.map(|python| solve(python, seconds, &problem, &plan)).transpose()?;
            let row = Row { loads, seed, first, first_ms, plan, whole_ms, optimum };
            row.print();
            rows.push(row);
        }
    }
    let largest = |values: &[f64]| values.iter().copied().fold(f64::MIN, f64::max);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let compared = |row: &Row| Some(over(cents(row.plan.cost), row.optimum.as_ref()?.cost?));
    let over_oracle: Vec<f64> = rows.iter().filter_map(compared).collect();
    println!();
    if !over_oracle.is_empty() {
        println!(
            "Default budget over HiGHS: mean {:+.2} %, worst {:+.2} %.",
            mean(&over_oracle),
            largest(&over_oracle)
        );
    }
    let over_bound: Vec<f64> = rows.iter().map(|row| over(cents(row.plan.cost), row.bound())).collect();
    println!("Over the best bound known: mean {:.2} %, worst {:.2} %.", mean(&over_bound), largest(&over_bound));
    let firsts: Vec<f64> = rows.iter().map(|row| row.first_ms).collect();
    let wholes: Vec<f64> = rows.iter().map(|row| row.whole_ms).collect();
    println!("Longest first plan {:.1} ms, longest default budget {:.0} ms.", largest(&firsts), largest(&wholes));
    println!("Memory of the benchmark: {idle} kB resident before the first plan, at most {most} kB after one.\n");
    if let Some(plots) = plots {
        std::fs::create_dir_all(plots)?;
        std::fs::write(plots.join("plan-cost.svg"), plot_cost(&rows))?;
        std::fs::write(plots.join("plan-time.svg"), plot_time(&rows))?;
        println!("![cost over the optimum, by home](plots/plan-cost.svg)\n");
        println!("![time of a plan, by loads](plots/plan-time.svg)\n");
    }
    Ok(())
}

fn plot_cost(rows: &[Row]) -> String {
    let at = |i: usize| i as f64 + 0.5;
    let ticks = rows.iter().enumerate().map(|(i, row)| (at(i), format!("{}/{}", row.loads, row.seed)));
    let x = Axis::linear("home: loads/seed", 0.0, rows.len() as f64).with_ticks(ticks.collect());
    let mut plot = Plot::new("Cost of the plan at the default budget", x, Axis::linear("% above", -0.1, 1.5));
    plot.named("above the best bound known", COLOURS[3]);
    let bars =
        rows.iter().enumerate().map(|(i, row)| (at(i) - 0.3, at(i) + 0.3, over(cents(row.plan.cost), row.bound())));
    plot.bars(bars, COLOURS[3]);
    let found = |row: &Row| row.optimum.as_ref()?.cost;
    if rows.iter().any(|row| found(row).is_some()) {
        plot.named("above HiGHS", COLOURS[0]);
        let dots =
            rows.iter().enumerate().filter_map(|(i, row)| Some((at(i), over(cents(row.plan.cost), found(row)?))));
        plot.dots(dots, COLOURS[0]);
    }
    plot.named("goal: within 1 % of HiGHS", COLOURS[1]);
    plot.line([(0.0, 1.0), (rows.len() as f64, 1.0)], COLOURS[1], true);
    plot.finish()
}

fn plot_time(rows: &[Row]) -> String {
    let ticks = SIZES.iter().map(|loads| (*loads as f64, loads.to_string()));
    let x = Axis::linear("loads", 0.0, 170.0).with_ticks(ticks.collect());
    let mut plot = Plot::new("Time of a plan, milliseconds of the processor", x, Axis::log("ms", 0.05, 1000.0));
    type Milliseconds = fn(&Row) -> f64;
    let times: [(&str, f64, Milliseconds, &'static str); 2] = [
        ("first plan, goal 5 ms", GOALS_MS.0, |row| row.first_ms, COLOURS[2]),
        ("default budget, goal 300 ms", GOALS_MS.1, |row| row.whole_ms, COLOURS[0]),
    ];
    for (name, goal, ms, colour) in times {
        plot.named(name, colour);
        plot.dots(rows.iter().map(|row| (row.loads as f64, ms(row))), colour);
        plot.line([(0.0, goal), (170.0, goal)], colour, true);
    }
    plot.finish()
}

/// The first plan, its milliseconds (least of five), the whole plan, its milliseconds (least of three).
fn planned(problem: &Problem) -> Result<(Plan, f64, Plan, f64)> {
    let (first, first_ms) = least(5, || Ok(Improver::new(problem)?.plan()))?;
    let (whole, whole_ms) = least(3, || Ok(heg::plan::plan(problem)?))?;
    Ok((first, first_ms, whole, whole_ms))
}

/// The plan and the least processor time of `times`, milliseconds.
fn least(times: usize, mut make: impl FnMut() -> Result<Plan>) -> Result<(Plan, f64)> {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let mut found: Option<(Plan, Duration)> = None;
    for _ in 0..times {
        let from = now()?;
        let plan = make()?;
        let took = now()? - from;
        let before = found.map_or(took, |(before, least)| {
            assert!(before == plan, "two plans of one problem differ");
            least.min(took)
        });
        found = Some((plan, before));
    }
    let (plan, took) = found.context("no plan")?;
    Ok((plan, took.as_secs_f64() * 1000.0))
}

/// That the cap is kept, reckoned anew from the runs.
fn check(problem: &Problem, plan: &Plan) -> Result<()> {
    for slot in &problem.slots {
        let mut watts = slot.base_w;
        for (load, planned) in problem.loads.iter().zip(&plan.loads) {
            watts +=
                planned.runs.iter().map(|run| instances::power_within(&load.work, run.span, slot.span)).sum::<u32>();
        }
        ensure!(slot.cap_w.is_none_or(|cap| watts <= cap), "{watts} W in the slot from {}", slot.span.start);
    }
    Ok(())
}

fn solve(python: &Path, seconds: u64, problem: &Problem, plan: &Plan) -> Result<Optimum> {
    let dir = tempfile::tempdir()?;
    let (model, begin) = (dir.path().join("plan.mps"), dir.path().join("begin"));
    let (text, values) = milp::mps(problem, plan);
    std::fs::write(&model, text)?;
    std::fs::write(&begin, values)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("plan-oracle.py");
    let out = Command::new(python).arg(script).args([&model, &begin]).arg(seconds.to_string()).output();
    let out = out.with_context(|| format!("running {}", python.display()))?;
    ensure!(out.status.success(), "the oracle: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout)?;
    let last = text.lines().last().context("the oracle said nothing")?;
    let numbers: Vec<f64> =
        last.split(' ').map(str::parse).collect::<Result<_, _>>().with_context(|| last.to_owned())?;
    let [cost, bound, seconds] = numbers[..] else { anyhow::bail!("the oracle said {last}") };
    Ok(Optimum { cost: Some(cost).filter(|c| c.is_finite()), bound, seconds })
}
