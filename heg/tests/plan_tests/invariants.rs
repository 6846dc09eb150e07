//! What holds for every plan, on homes of any shape.

use energy_model::Importance;
use heg::plan::{
    Before, Budget, Improver, Load, LoadPlan, Now, Override, Phase, Plan, Problem, Run, Slot, Span, Work, plan,
};
use proptest::prelude::*;

use crate::home::{load, span};

/// Slots of uneven lengths, some without price or cap.
fn slots() -> impl Strategy<Value = Vec<Slot>> {
    let length = prop::sample::select(vec![900i64, 900, 900, 3600, 423, 60]);
    let price = prop::option::weighted(0.9, -100_000i64..1_000_000);
    let cap = prop::option::weighted(0.9, 1000u32..8000);
    prop::collection::vec((length, price, cap, 0u32..600), 12..60).prop_map(|all| {
        let mut at = 1_700_000_100;
        let mut slot = |(length, price, cap_w, base_w)| {
            let start = at;
            at += length;
            Slot { span: span(start, at), price, cap_w, base_w }
        };
        all.into_iter().map(&mut slot).collect()
    })
}

fn work() -> impl Strategy<Value = Work> {
    let at = 1_699_999_000i64..1_700_030_000;
    let watts = 100u32..4000;
    prop_oneof![
        (prop::collection::vec((300u32..3000, 50u32..2500), 1..5), at.clone(), 3000i64..30_000, any::<bool>())
            .prop_map(|(phases, earliest, length, running)| Work::Cycle {
                phases: phases.into_iter().map(|(seconds, watts)| Phase { seconds, watts }).collect(),
                earliest,
                deadline: earliest + length,
                running_since: running.then_some(1_700_000_000),
            }),
        (watts.clone(), 0u32..9000, at.clone(), 600i64..40_000).prop_map(|(watts, energy_wh, earliest, length)| {
            Work::Energy { watts, energy_wh, earliest, deadline: earliest + length }
        }),
        (watts, at, 600i64..20_000, prop::option::of(0i64..900_000), any::<bool>()).prop_map(
            |(watts, start, length, price_max, kept)| Work::Presence {
                watts,
                rest_w: watts / 20,
                wanted: vec![span(start, start + length), span(start + length + 4000, start + 2 * length)],
                kept: if kept { vec![span(start, start + length / 2)] } else { Vec::new() },
                price_max,
            }
        ),
    ]
}

/// Work, class, minimum times, whether on and since how long, an order and for how long.
type Drawn = (Work, usize, u32, u32, (bool, Option<i64>), Option<(bool, i64)>);

fn homes(settled: bool) -> impl Strategy<Value = Problem> {
    let seconds = prop::sample::select(vec![0u32, 600, 1800, 3600]);
    let now = (any::<bool>(), prop::option::of(0i64..4000));
    let one =
        (work(), 0usize..4, seconds.clone(), seconds, now, prop::option::weighted(0.1, (any::<bool>(), 0i64..9000)));
    (slots(), prop::collection::vec(one, 1..14), any::<u64>()).prop_map(move |(slots, all, seed)| {
        let now = slots[0].span.start;
        let make = |(i, (work, class, min_on_s, min_off_s, (on, since), ordered)): (u32, Drawn)| {
            let since = since.map(|s| now - s);
            let mut load = Load {
                min_on_s,
                min_off_s,
                now: if on { Now::On(since) } else { Now::Off(since) },
                ordered: ordered.map(|(on, s)| Override { on, until: now + s }),
                ..load(i, Importance::ALL[class], work)
            };
            if !settled {
                unsettle(&mut load);
            }
            load
        };
        let loads = (0..).zip(all).map(make).collect();
        let budget = Budget { bound_steps: 5, rebuilds: 60 };
        Problem { slots, loads, before: Vec::new(), keep_unless_saves: 0, seed, budget }
    })
}

/// Takes away all that a plan can't choose.
fn unsettle(load: &mut Load) {
    (load.now, load.ordered) = (Now::Off(None), None);
    load.importance = load.importance.max(Importance::High);
    match &mut load.work {
        Work::Cycle { running_since, .. } => *running_since = None,
        Work::Presence { kept, rest_w, .. } => (*kept, *rest_w) = (Vec::new(), 0),
        Work::Energy { .. } => {}
    }
}

/// Highest power of a load in `slot`.
fn draws(load: &Load, planned: &LoadPlan, slot: Span) -> u32 {
    let in_run = |run: &Span| -> u32 {
        let Some(part) = run.within(slot) else { return 0 };
        match &load.work {
            Work::Cycle { phases, running_since, .. } => {
                let (mut at, mut most) = (running_since.unwrap_or(run.start), 0);
                for phase in phases {
                    let phase_span = span(at, at + i64::from(phase.seconds));
                    most = if phase_span.within(part).is_some() { most.max(phase.watts) } else { most };
                    at = phase_span.end;
                }
                most
            }
            Work::Energy { watts, .. } => *watts,
            Work::Presence { watts, rest_w, .. } => watts - rest_w,
        }
    };
    planned.runs.iter().map(|r| in_run(&r.span)).max().unwrap_or(0)
}

fn the_cap_is_kept(problem: &Problem, plan: &Plan) -> Result<(), TestCaseError> {
    for slot in &problem.slots {
        let rest: u32 =
            problem.loads.iter().map(|l| if let Work::Presence { rest_w, .. } = l.work { rest_w } else { 0 }).sum();
        let all = problem.loads.iter().zip(&plan.loads);
        let drawn: u32 = slot.base_w + rest + all.map(|(load, planned)| draws(load, planned, slot.span)).sum::<u32>();
        let over = plan.over_cap.iter().find(|o| o.span == slot.span).map_or(0, |o| o.watts);
        prop_assert!(slot.cap_w.is_none_or(|cap| drawn <= cap + over), "{drawn} W in {:?}, {over} over", slot);
    }
    Ok(())
}

fn windows_and_minimum_times_are_kept(problem: &Problem, plan: &Plan) -> Result<(), TestCaseError> {
    let end = problem.slots.last().expect("slots").span.end;
    for (load, planned) in problem.loads.iter().zip(&plan.loads) {
        let reasons =
            |all: &[Run]| all.windows(2).all(|two| two[0].span.end != two[1].span.start || two[0].why != two[1].why);
        prop_assert!(
            reasons(&planned.runs) && reasons(&planned.pauses),
            "what touches has another reason: {planned:?}"
        );
        let mut runs: Vec<Span> = Vec::new();
        for run in &planned.runs {
            prop_assert!(run.span.start < run.span.end);
            prop_assert!(planned.pauses.iter().all(|pause| pause.span.within(run.span).is_none()), "{planned:?}");
            match runs.last_mut() {
                Some(last) if last.end == run.span.start => last.end = run.span.end,
                _ => runs.push(run.span),
            }
        }
        prop_assert!(runs.windows(2).all(|two| two[0].end < two[1].start), "runs apart and in order: {runs:?}");
        match &load.work {
            Work::Cycle { phases, earliest, deadline, .. } => {
                let length: i64 = phases.iter().map(|p| i64::from(p.seconds)).sum();
                prop_assert!(runs.len() <= 1 && runs.iter().all(|r| r.seconds() == length));
                prop_assert!(runs.iter().all(|r| r.start >= *earliest && r.end <= *deadline));
                continue;
            }
            Work::Energy { earliest, deadline, .. } => {
                prop_assert!(runs.iter().all(|r| r.start >= *earliest && r.end <= *deadline));
            }
            Work::Presence { .. } => {}
        }
        let done = plan.dropped.iter().all(|d| d.id != load.id);
        for (i, run) in runs.iter().enumerate() {
            let last = i + 1 == runs.len();
            let stops_by_itself = last && ((matches!(load.work, Work::Energy { .. }) && done) || run.end == end);
            prop_assert!(run.seconds() >= i64::from(load.min_on_s) || stops_by_itself, "{run:?} of {load:?}");
        }
        let pauses = runs.windows(2).map(|two| two[1].start - two[0].end);
        prop_assert!(pauses.min().is_none_or(|p| p >= i64::from(load.min_off_s)), "{runs:?} of {load:?}");
    }
    Ok(())
}

fn the_bound_and_the_costs_agree(problem: &Problem, plan: &Plan) -> Result<(), TestCaseError> {
    prop_assert!(plan.lower_bound.is_none_or(|lower| lower <= plan.cost), "{:?} {}", plan.lower_bound, plan.cost);
    let sum: i64 = plan.loads.iter().map(|l| l.cost).sum();
    prop_assert!((sum - plan.cost).abs() <= problem.loads.len() as i64);
    let named = |unpriced: &Span| plan.unpriced.iter().any(|u| u.within(*unpriced) == Some(*unpriced));
    prop_assert!(problem.slots.iter().filter(|s| s.price.is_none()).all(|s| named(&s.span)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_plan_chooses_keeps_cap_windows_and_minimum_times(problem in homes(false)) {
        let plan = plan(&problem).expect("a plan");
        let base_over = problem.slots.iter().filter(|s| s.cap_w.is_some_and(|cap| s.base_w > cap)).count();
        prop_assert_eq!(plan.over_cap.len(), base_over, "only the base load may exceed the cap");
        the_cap_is_kept(&problem, &plan)?;
        windows_and_minimum_times_are_kept(&problem, &plan)?;
        the_bound_and_the_costs_agree(&problem, &plan)?;
    }

    #[test]
    fn whatever_is_asked_there_is_a_plan_the_same_each_time_and_in_slices(problem in homes(true)) {
        let whole = plan(&problem).expect("a plan");
        prop_assert_eq!(&whole, &plan(&problem).expect("a plan"));
        let mut improver = Improver::new(&problem).expect("a plan");
        let mut steps = 0;
        while improver.step(7) {
            steps += 7;
            prop_assert!(steps < 1000, "the budget is used up");
        }
        prop_assert_eq!(&whole, &improver.plan());
        the_cap_is_kept(&problem, &whole)?;
        the_bound_and_the_costs_agree(&problem, &whole)?;
    }

    #[test]
    fn a_plan_made_again_is_the_plan_before_when_little_can_be_saved(mut problem in homes(false)) {
        let first = plan(&problem).expect("a plan");
        problem.before = first.as_before();
        problem.keep_unless_saves = i64::MAX;
        problem.seed ^= 0xffff;
        let second = plan(&problem).expect("a plan");
        let runs = |plan: &Plan| plan.as_before();
        let less_undone = first.dropped.len() > second.dropped.len() || second.dropped != first.dropped;
        prop_assert!(less_undone || runs(&first) == runs(&second), "{:?}\n{:?}", first, second);
        let _: Vec<Before> = runs(&second);
    }
}
