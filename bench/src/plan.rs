//! The planner against the optimum: greedy and default budget on generated homes with real prices, with times and memory.

mod instances;
mod milp;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use heg::plan::{Improver, Plan, Problem};

use crate::memory;

const SIZES: [usize; 5] = [10, 20, 40, 80, 160];
const SEEDS: std::ops::RangeInclusive<u64> = 1..=4;
/// HiGHS may take so long for each home.
const ORACLE_S: u64 = 20;

/// What the oracle found, hundredths of the currency.
struct Optimum {
    cost: f64,
    bound: f64,
    seconds: f64,
}

/// Prints the section. `oracle` is a Python that has highspy; without it the plans are measured against their own bounds.
pub(crate) fn print(oracle: Option<&Path>) -> Result<()> {
    println!("## Plans\n");
    println!(
        "| loads | seed | undone | first plan ms | its cost | default budget ms | cost | own bound | HiGHS {ORACLE_S} s | its bound | first over HiGHS | default over HiGHS | over best bound |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let idle = memory::of(std::process::id())?;
    let (mut most, mut over_oracle, mut over_bound) = (idle.rss, Vec::new(), Vec::new());
    let (mut firsts, mut wholes) = (Vec::new(), Vec::new());
    for loads in SIZES {
        for seed in SEEDS {
            let problem = instances::home(loads, seed)?;
            let (first, first_ms, plan, whole_ms) = planned(&problem)?;
            most = most.max(memory::of(std::process::id())?.rss);
            check(&problem, &plan)?;
            let optimum = oracle.map(|python| solve(python, &problem, &plan)).transpose()?;
            let cents = |micro: i64| micro as f64 / 1e4;
            let own = cents(plan.lower_bound.context("no bound")?);
            let cost = cents(plan.cost);
            let best_bound = optimum.as_ref().map_or(own, |o| o.bound.max(own));
            let above = |cost: f64, other: f64| (cost / other - 1.0) * 100.0;
            let same_work = first.dropped == plan.dropped;
            let (found, bound, first_over, over) = match &optimum {
                Some(o) => {
                    over_oracle.push(above(cost, o.cost));
                    let proven = if o.seconds < ORACLE_S as f64 {
                        format!(" (optimal, {:.1} s)", o.seconds)
                    } else {
                        String::new()
                    };
                    let first_over = if same_work {
                        format!("{:.2} %", above(cents(first.cost), o.cost))
                    } else {
                        "other work".into()
                    };
                    (
                        format!("{:.1}{proven}", o.cost),
                        format!("{:.1}", o.bound),
                        first_over,
                        format!("{:+.2} %", above(cost, o.cost)),
                    )
                }
                None => ("-".into(), "-".into(), "-".into(), "-".into()),
            };
            over_bound.push(above(cost, best_bound));
            firsts.push(first_ms);
            wholes.push((loads, whole_ms));
            println!(
                "| {loads} | {seed} | {} | {first_ms:.2} | {:.1} | {whole_ms:.0} | {cost:.1} | {own:.1} | {found} | {bound} | {first_over} | {over} | {:.2} % |",
                plan.dropped.len(),
                cents(first.cost),
                above(cost, best_bound),
            );
        }
    }
    let largest = |values: &[f64]| values.iter().copied().fold(f64::MIN, f64::max);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    if !over_oracle.is_empty() {
        println!(
            "\nDefault budget over HiGHS: mean {:+.2} %, worst {:+.2} %.",
            mean(&over_oracle),
            largest(&over_oracle)
        );
    }
    println!("Over the best bound known: mean {:.2} %, worst {:.2} %.", mean(&over_bound), largest(&over_bound));
    let at_most: Vec<f64> = wholes.iter().filter(|(loads, _)| *loads == 160).map(|(_, ms)| *ms).collect();
    println!(
        "Longest first plan {:.2} ms, longest whole plan of 160 loads {:.0} ms.",
        largest(&firsts),
        largest(&at_most)
    );
    println!("Memory: {} kB resident before the first plan, at most {most} kB after any.\n", idle.rss);
    Ok(())
}

/// The first plan, its milliseconds (least of five), the whole plan, its milliseconds (least of three).
fn planned(problem: &Problem) -> Result<(Plan, f64, Plan, f64)> {
    let ms = |from: Instant| from.elapsed().as_secs_f64() * 1000.0;
    let mut first: Option<(Plan, f64)> = None;
    for _ in 0..5 {
        let from = Instant::now();
        let plan = Improver::new(problem)?.plan();
        let took = ms(from);
        first = Some((plan, first.map_or(took, |(_, least)| least.min(took))));
    }
    let mut whole: Option<(Plan, f64)> = None;
    for _ in 0..3 {
        let from = Instant::now();
        let plan = heg::plan::plan(problem)?;
        let took = ms(from);
        if let Some((before, _)) = &whole {
            ensure!(*before == plan, "two plans of one problem differ");
        }
        whole = Some((plan, whole.map_or(took, |(_, least)| least.min(took))));
    }
    let ((first, first_ms), (whole, whole_ms)) = first.zip(whole).context("no plan")?;
    Ok((first, first_ms, whole, whole_ms))
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

fn solve(python: &Path, problem: &Problem, plan: &Plan) -> Result<Optimum> {
    let path = PathBuf::from(std::env::temp_dir()).join(format!("plan-{}.mps", std::process::id()));
    std::fs::write(&path, milp::mps(problem, plan))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("plan-oracle.py");
    let limit = Duration::from_secs(ORACLE_S).as_secs().to_string();
    let out = Command::new(python).arg(script).arg(&path).arg(limit).output();
    std::fs::remove_file(&path)?;
    let out = out.with_context(|| format!("running {}", python.display()))?;
    ensure!(out.status.success(), "the oracle: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout)?;
    let last = text.lines().last().context("the oracle said nothing")?;
    let numbers: Vec<f64> =
        last.split(' ').map(str::parse).collect::<Result<_, _>>().with_context(|| last.to_owned())?;
    let [cost, bound, seconds] = numbers[..] else { anyhow::bail!("the oracle said {last}") };
    Ok(Optimum { cost, bound, seconds })
}
