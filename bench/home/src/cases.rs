//! Test cases of evcc's optimizer, where they map to what is planned here. They are read from a copy that whoever runs this has fetched;
//! nothing of them is kept.
//!
//! A case has batteries, charged and discharged at any power, solar power and two prices. Here are loads of one power that are on or off.
//! So a case maps where every battery is only charged, from the grid too, to a goal that is set; where what is stored beyond the
//! goal is worth less than its price; and where energy has one price in each time step: that of import, that of the export that is given up
//! where there is solar power to spare for all of them, or, for a single load, the mean of both by their shares.

use std::path::Path;

use anyhow::{Context, Result};
use energy_model::Importance;
use heg::plan::{Budget, Load, LoadId, Now, Plan, Problem, Slot, Span, Work, plan};
use serde_json::Value;

/// A case as a problem, with what the other's result costs at the same prices, millionths.
struct Mapped {
    problem: Problem,
    theirs: f64,
}

/// Prints a table of all cases in `dir`.
pub(crate) fn print(dir: &Path) -> Result<()> {
    println!("### evcc's optimizer: its test cases\n");
    println!(
        "Cost of charging by our plan and by the result that the case expects, at the same prices; energy in loads that are on or off.\n"
    );
    println!("| case | maps | ours | theirs | over theirs % |\n|---|---|---|---|---|");
    let mut paths: Vec<_> = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort_unstable();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.split('-').next().unwrap_or_default();
        let case: Value = serde_json::from_slice(&std::fs::read(&path)?).with_context(|| name.clone())?;
        match mapped(&case)? {
            Err(why) => println!("| {number} | no: {why} | | | |"),
            Ok(Mapped { problem, theirs }) => {
                let ours = plan(&problem)?;
                let cost = cost(&problem, &ours) / 1e6;
                let theirs = theirs / 1e6;
                let left = if ours.dropped.is_empty() { "yes" } else { "yes; the goal is out of reach for both" };
                println!("| {number} | {left} | {cost:.4} | {theirs:.4} | {:+.2} |", (cost / theirs - 1.0) * 100.0);
            }
        }
    }
    println!();
    Ok(())
}

fn cost(problem: &Problem, plan: &Plan) -> f64 {
    let watts = |n: usize| match &problem.loads[n].work {
        Work::Energy { watts, .. } => f64::from(*watts),
        _ => 0.0,
    };
    let runs = plan.loads.iter().enumerate().flat_map(|(n, load)| load.runs.iter().map(move |run| (n, run.span)));
    runs.flat_map(|(n, run)| problem.slots.iter().filter_map(move |slot| Some((n, slot, slot.span.within(run)?))))
        .map(|(n, slot, part)| slot.price.unwrap_or(0) as f64 * watts(n) * part.seconds() as f64 / 3.6e6)
        .sum()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

/// The case as a problem, or why it is none.
fn mapped(case: &Value) -> Result<Result<Mapped, &'static str>> {
    let request = &case["request"];
    let series = |name: &str| numbers(&request["time_series"][name]);
    let (steps, base, solar) = (series("dt"), series("gt"), series("ft"));
    let (import, export) = (series("p_N"), series("p_E"));
    let batteries = request["batteries"].as_array().context("no batteries")?;
    let number = |battery: &Value, name: &str| battery[name].as_f64().unwrap_or(0.0);
    if batteries.iter().any(|b| number(b, "d_max") > 0.0) {
        return Ok(Err("a battery that is discharged"));
    }
    if !batteries.iter().all(|b| b["charge_from_grid"] == true) {
        return Ok(Err("charged by solar power alone"));
    }
    if batteries.iter().any(|b| numbers(&b["p_demand"]).iter().any(|wh| *wh > 0.0)) {
        return Ok(Err("a least power in each step"));
    }
    let goal =
        |b: &Value| numbers(&b["s_goal"]).iter().rposition(|wh| *wh > 0.0).map(|at| (at, numbers(&b["s_goal"])[at]));
    if batteries.iter().all(|b| goal(b).is_none()) {
        return Ok(Err("no goal, only a worth of what is stored"));
    }
    let efficiency = request["eta_c"].as_f64().unwrap_or(0.95);
    let most: f64 = batteries.iter().filter(|b| goal(b).is_some()).map(|b| number(b, "c_max")).sum();
    let last = batteries.iter().filter_map(|b| goal(b).map(|(at, _)| at)).max().unwrap_or(0);
    let (mut slots, mut at) = (Vec::new(), 0i64);
    for i in 0..=last {
        let (spare, wanted) = (solar[i] - base[i], most * steps[i] / 3600.0);
        let goals = batteries.iter().filter(|b| goal(b).is_some()).count();
        if spare > 0.0 && spare < wanted && goals > 1 {
            return Ok(Err("solar power for some of the loads"));
        }
        let own = (spare / wanted).clamp(0.0, 1.0);
        let price = own * export[i] + (1.0 - own) * import[i];
        let end = at + steps[i] as i64;
        let base_w = ((base[i] - solar[i]).max(0.0) * 3600.0 / steps[i]).round() as u32;
        let cap_w = request["grid"]["p_max_imp"].as_f64().filter(|_| spare <= 0.0).map(|watts| watts as u32);
        // Per Wh to millionths per kWh.
        let price = Some((price * 1e9).round() as i64);
        slots.push(Slot { span: Span { start: at, end }, price, cap_w, base_w });
        at = end;
    }
    let worth = batteries.iter().map(|b| number(b, "p_a")).fold(0.0, f64::max) * efficiency;
    if slots.iter().any(|slot| (slot.price.unwrap_or(0) as f64) < worth * 1e9) {
        return Ok(Err("what is stored beyond the goal is worth more than it costs"));
    }
    let mut loads = Vec::new();
    let mut theirs = 0.0;
    for (n, battery) in batteries.iter().enumerate() {
        let Some((end, goal)) = goal(battery) else { continue };
        let energy_wh = ((goal - number(battery, "s_initial")).max(0.0) / efficiency).round() as u32;
        loads.push(Load {
            id: LoadId(u32::try_from(n)?),
            importance: Importance::Normal,
            work: Work::Energy {
                watts: number(battery, "c_max") as u32,
                energy_wh,
                earliest: 0,
                deadline: slots[end].span.end,
            },
            min_on_s: 0,
            min_off_s: 0,
            start_cost: 0,
            now: Now::Off(None),
            ordered: None,
        });
        let charged = numbers(&case["expected_response"]["batteries"][n]["charging_power"]);
        // Wh in each step.
        theirs += charged.iter().zip(&slots).map(|(wh, slot)| wh * slot.price.unwrap_or(0) as f64 / 1e3).sum::<f64>();
    }
    let budget = Budget::for_loads(loads.len());
    Ok(Ok(Mapped {
        problem: Problem { slots, loads, before: Vec::new(), keep_unless_saves: 0, seed: 1, budget },
        theirs,
    }))
}
