//! A home's plan as a mixed integer program, in the MPS format that every solver reads: what our plans are measured against. Written
//! from the problem alone, so that it checks the planner's reckoning too.

use std::collections::BTreeMap;
use std::fmt::Write;

use heg::plan::{Load, Plan, Problem, Span, Work};

use super::instances::SLOT_S;

#[derive(Default)]
struct Model {
    costs: Vec<f64>,
    rows: Vec<Row>,
    /// Our plan in these variables.
    values: Vec<bool>,
}

/// Variables with their factors.
type Terms = Vec<(usize, f64)>;

struct Row {
    sense: char,
    right: f64,
    terms: Terms,
}

impl Model {
    /// A variable with its cost, and what it is in our plan.
    fn binary(&mut self, cost: f64, value: bool) -> usize {
        self.costs.push(cost);
        self.values.push(value);
        self.costs.len() - 1
    }

    fn row(&mut self, sense: char, right: f64, terms: Terms) {
        self.rows.push(Row { sense, right, terms });
    }

    fn mps(&self) -> String {
        let mut out = String::from("NAME plan\nROWS\n N cost\n");
        let mut columns: Vec<Terms> = vec![Vec::new(); self.costs.len()];
        for (r, Row { sense, terms, .. }) in self.rows.iter().enumerate() {
            let _infallible = writeln!(out, " {sense} r{r}");
            for (column, factor) in terms {
                columns[*column].push((r, *factor));
            }
        }
        out.push_str("COLUMNS\n M1 'MARKER' 'INTORG'\n");
        for (c, (cost, column)) in self.costs.iter().zip(&columns).enumerate() {
            let _infallible = writeln!(out, " x{c} cost {cost}");
            for (row, factor) in column {
                let _infallible = writeln!(out, " x{c} r{row} {factor}");
            }
        }
        out.push_str(" M2 'MARKER' 'INTEND'\nRHS\n");
        for (r, Row { right, .. }) in self.rows.iter().enumerate() {
            let _infallible = writeln!(out, " R r{r} {right}");
        }
        out.push_str("BOUNDS\n");
        for c in 0..self.costs.len() {
            let _infallible = writeln!(out, " BV B x{c}");
        }
        out.push_str("ENDATA\n");
        out
    }
}

/// The program: least cost, in hundredths of the currency, with no more undone in any class than `plan` leaves. For slots of
/// a quarter hour, windows at their edges and energy in whole slots, as the generated homes have them.
///
/// Second: our plan in its variables, 0 or 1 a line, for a solver to begin with.
pub(crate) fn mps(problem: &Problem, plan: &Plan) -> (String, String) {
    let mut model = Model::default();
    let mut draws: Vec<Terms> = vec![Vec::new(); problem.slots.len()];
    let mut undone: BTreeMap<_, (f64, Terms)> = BTreeMap::new();
    for (load, planned) in problem.loads.iter().zip(&plan.loads) {
        let runs: Vec<Span> = planned.runs.iter().map(|run| run.span).collect();
        let class = undone.entry(load.importance).or_default();
        class.0 += plan.dropped.iter().filter(|d| d.id == load.id).map(|d| f64::from(d.missing_ppm)).sum::<f64>();
        match &load.work {
            Work::Cycle { .. } => cycle(&mut model, problem, load, &runs, &mut draws, &mut class.1),
            _ => runs_of(&mut model, problem, load, &runs, &mut draws, class),
        }
    }
    for (slot, terms) in problem.slots.iter().zip(draws) {
        if let Some(cap) = slot.cap_w {
            model.row('L', f64::from(cap) - f64::from(slot.base_w), terms);
        }
    }
    for (most, terms) in undone.into_values() {
        // Parts of a millionth are rounded in the planner.
        model.row('L', most + 0.5 * terms.len() as f64, terms);
    }
    let values = model.values.iter().map(|value| if *value { "1\n" } else { "0\n" }).collect();
    (model.mps(), values)
}

/// Hundredths of the currency for a watt through a whole slot.
fn per_watt(problem: &Problem, slot: usize) -> f64 {
    problem.slots[slot].price.unwrap_or(0) as f64 / 1e6 * 100.0 / 1000.0 * SLOT_S as f64 / 3600.0
}

fn cycle(model: &mut Model, problem: &Problem, load: &Load, ours: &[Span], draws: &mut [Terms], undone: &mut Terms) {
    let Work::Cycle { phases, earliest, deadline, .. } = &load.work else { return };
    let watts: Vec<f64> = phases
        .iter()
        .flat_map(|p| std::iter::repeat_n(f64::from(p.watts), (i64::from(p.seconds) / SLOT_S) as usize))
        .collect();
    let (first, end) = ((earliest / SLOT_S) as usize, ((deadline / SLOT_S) as usize).min(problem.slots.len()));
    let mut one = Vec::new();
    for start in first..(end + 1).saturating_sub(watts.len()) {
        let cost = watts.iter().enumerate().map(|(k, w)| w * per_watt(problem, start + k)).sum();
        let chosen = model.binary(cost, ours.iter().any(|run| run.start == start as i64 * SLOT_S));
        one.push((chosen, 1.0));
        watts.iter().enumerate().for_each(|(k, w)| draws[start + k].push((chosen, *w)));
    }
    let dropped = model.binary(0.0, ours.is_empty());
    one.push((dropped, 1.0));
    undone.push((dropped, 1e6));
    model.row('E', 1.0, one);
}

/// On and off per slot: energy and presence.
fn runs_of(
    model: &mut Model,
    problem: &Problem,
    load: &Load,
    ours: &[Span],
    draws: &mut [Terms],
    undone: &mut (f64, Terms),
) {
    let n = problem.slots.len();
    let all = (0, n as i64 * SLOT_S);
    let (watts, window, needed) = match &load.work {
        Work::Energy { watts, energy_wh, earliest, deadline } => (
            *watts,
            (*earliest, *deadline),
            Some((u64::from(*energy_wh) * 3600 / u64::from(*watts) / SLOT_S as u64) as f64),
        ),
        Work::Presence { watts, .. } => (*watts, all, None),
        Work::Cycle { .. } => return,
    };
    let (first, end) = ((window.0 / SLOT_S) as usize, ((window.1 / SLOT_S) as usize).min(n));
    let is_on = |s: usize| ours.iter().any(|run| run.within(problem.slots[s].span).is_some());
    let on: Vec<usize> =
        (first..end).map(|s| model.binary(f64::from(watts) * per_watt(problem, s), is_on(s))).collect();
    on.iter().enumerate().for_each(|(j, x)| draws[first + j].push((*x, f64::from(watts))));
    let begins = |s: usize| is_on(s) && (s == first || !is_on(s - 1));
    let starts: Vec<usize> = (first..end).map(|s| model.binary(load.start_cost as f64 / 1e4, begins(s))).collect();
    for j in 0..on.len() {
        // A start where it was off before.
        let mut begin = vec![(starts[j], -1.0), (on[j], 1.0)];
        if j > 0 {
            begin.push((on[j - 1], -1.0));
        }
        model.row('L', 0.0, begin);
    }
    let slots = |seconds: u32| (i64::from(seconds) / SLOT_S) as usize;
    let (least_on, least_off) = (slots(load.min_on_s), slots(load.min_off_s));
    for j in 0..on.len() {
        if least_on > 1 {
            let mut row: Vec<_> = (j.saturating_sub(least_on - 1)..=j).map(|t| (starts[t], 1.0)).collect();
            row.push((on[j], -1.0));
            if let Some(needed) = needed {
                // It stops by itself when it has its energy.
                let had_all = (first..first + j).filter(|s| is_on(*s)).count() as f64 >= needed;
                let full = model.binary(0.0, had_all);
                let mut had: Vec<_> = on[..j].iter().map(|x| (*x, -1.0)).collect();
                had.push((full, needed));
                model.row('L', 0.0, had);
                row.push((full, -1.0));
            }
            model.row('L', 0.0, row);
        }
        if least_off > 1 && j >= least_off {
            let mut row: Vec<_> = (j + 1 - least_off..=j).map(|t| (starts[t], 1.0)).collect();
            row.push((on[j - least_off], 1.0));
            model.row('L', 1.0, row);
        }
    }
    if least_on > 1 && needed.is_some() {
        // A run begun too late for its minimum time can only be the one that ends the work.
        for start in &starts[(on.len() + 1).saturating_sub(least_on)..] {
            let needed = needed.unwrap_or(0.0);
            let mut row: Vec<_> = on.iter().map(|x| (*x, -1.0)).collect();
            row.push((*start, needed));
            model.row('L', 0.0, row);
        }
    }
    match (&load.work, needed) {
        (_, Some(needed)) => {
            model.row('L', needed, on.iter().map(|x| (*x, 1.0)).collect());
            undone.0 -= 1e6;
            undone.1.extend(on.iter().map(|x| (*x, -1e6 / needed)));
        }
        (Work::Presence { wanted, .. }, None) => {
            let wanted: Vec<usize> =
                (0..n).filter(|s| wanted.iter().any(|w| w.within(problem.slots[*s].span).is_some())).collect();
            undone.0 -= 1e6;
            undone.1.extend(wanted.iter().map(|s| (on[*s], -1e6 / wanted.len() as f64)));
        }
        _ => {}
    }
}
