//! One rule at a time.

use energy_model::Importance;
use heg::plan::{
    Before, DropReason, Load, LoadId, Now, Override, Phase, Problem, ProblemError, Slot, Why, Work, plan, seed,
};

use crate::home::{QUARTER, cycle, energy, load, presence, problem, quarters, runs, slots, span};

const NORMAL: Importance = Importance::Normal;

fn dropped(plan: &heg::plan::Plan) -> Vec<(u32, u32, DropReason)> {
    plan.dropped.iter().map(|d| (d.id.0, d.missing_ppm, d.reason)).collect()
}

#[test]
fn work_goes_where_it_is_cheapest_and_says_so() {
    let prices = [500_000, 100_000, 400_000, 100_000, 100_000, 600_000];
    let loads = vec![load(1, NORMAL, cycle(&[1000, 1000], 0, 5)), load(2, NORMAL, energy(2000, 3, 0, 5))];
    let plan = plan(&problem(slots(&prices, None), loads)).expect("a plan");
    assert_eq!(quarters(&plan, 1), [(3, 5)]);
    assert_eq!(quarters(&plan, 2), [(1, 2), (3, 5)]);
    assert!(plan.loads.iter().flat_map(|l| &l.runs).all(|r| r.why == Why::Price));
    // 0.5 kWh and 1.5 kWh at 0.10.
    assert_eq!((plan.loads[0].cost, plan.loads[1].cost, plan.cost), (50_000, 150_000, 200_000));
    assert_eq!((plan.lower_bound, plan.gap_ppm()), (Some(200_000), Some(0)));
}

#[test]
fn a_price_of_zero_is_a_price_and_one_below_zero_is_better() {
    let loads = vec![load(1, NORMAL, energy(1000, 1, 0, 3)), load(2, NORMAL, energy(1000, 1, 0, 2))];
    let plan = plan(&problem(slots(&[100_000, 0, 50_000, -80_000], None), loads)).expect("a plan");
    assert_eq!((quarters(&plan, 1), quarters(&plan, 2)), (vec![(3, 4)], vec![(1, 2)]));
    assert_eq!(plan.cost, -20_000, "a quarter of a kWh is paid for");
    assert!(plan.unpriced.is_empty());
}

#[test]
fn time_without_a_price_is_named_and_used_only_where_nothing_else_is_left() {
    let mut slots = slots(&[300_000, 0, 500_000, 200_000], None);
    slots[1].price = None;
    let loads = vec![load(1, NORMAL, energy(1000, 2, 0, 3)), load(2, NORMAL, energy(1000, 4, 0, 3))];
    let plan = plan(&problem(slots, loads)).expect("a plan");
    assert_eq!(plan.unpriced, [span(QUARTER, 2 * QUARTER)]);
    assert_eq!(quarters(&plan, 1), [(0, 1), (3, 4)]);
    assert_eq!(quarters(&plan, 2), [(0, 4)]);
    assert_eq!(runs(&plan, 2)[0].why, Why::Deadline);
}

#[test]
fn of_two_that_want_the_same_time_one_gives_way_to_the_cap() {
    let loads = vec![load(1, NORMAL, cycle(&[1000], 0, 3)), load(2, Importance::High, cycle(&[1000], 0, 3))];
    let plan = plan(&problem(slots(&[400_000, 100_000, 200_000, 300_000], Some(1500)), loads)).expect("a plan");
    let mut both = [quarters(&plan, 1), quarters(&plan, 2)];
    both.sort();
    assert_eq!(both, [[(1, 2)], [(2, 3)]]);
    let mut why = [runs(&plan, 1)[0].why, runs(&plan, 2)[0].why];
    why.sort_by_key(|w| w.to_string());
    assert_eq!(why, [Why::Cap, Why::Price]);
    assert!(plan.dropped.is_empty());
}

#[test]
fn the_less_important_is_dropped_however_much_cheaper_the_other_way_round_were() {
    // The important one is dear and large, the others together cheap.
    let loads = vec![
        load(1, Importance::Low, cycle(&[1000, 1000], 0, 1)),
        load(2, Importance::Normal, cycle(&[900, 900], 0, 1)),
        load(3, Importance::High, cycle(&[2000, 2000], 0, 1)),
    ];
    let plan = plan(&problem(slots(&[2_000_000, 2_000_000], Some(2000)), loads)).expect("a plan");
    assert_eq!(quarters(&plan, 3), [(0, 2)]);
    assert_eq!(dropped(&plan), [(1, 1_000_000, DropReason::CapTaken), (2, 1_000_000, DropReason::CapTaken)]);
}

#[test]
fn dropping_is_never_done_to_save_money() {
    let loads = vec![load(1, Importance::Low, energy(2000, 4, 0, 3))];
    let plan = plan(&problem(slots(&[900_000_000; 4], None), loads)).expect("a plan");
    assert!(plan.dropped.is_empty());
    assert_eq!(quarters(&plan, 1), [(0, 4)]);
}

#[test]
fn what_is_dropped_says_whether_window_or_cap_is_too_small() {
    let loads = vec![
        load(1, NORMAL, cycle(&[500, 500, 500], 0, 1)),
        load(2, NORMAL, cycle(&[3000], 0, 3)),
        load(3, NORMAL, energy(1000, 4, 0, 2)),
    ];
    let plan = plan(&problem(slots(&[100_000; 4], Some(2000)), loads)).expect("a plan");
    assert_eq!(
        dropped(&plan),
        [
            (1, 1_000_000, DropReason::WindowTooShort),
            (2, 1_000_000, DropReason::CapBelowPower),
            (3, 250_000, DropReason::WindowTooShort)
        ]
    );
    assert_eq!(quarters(&plan, 3), [(0, 3)], "as much as there is time for");
    assert_eq!(plan.gap_ppm(), None, "of what is left undone the bound says too little");
}

#[test]
fn a_running_cycle_goes_on_over_a_cap_that_falls_and_the_excess_is_named() {
    let phases = vec![Phase { seconds: 1800, watts: 2000 }, Phase { seconds: 900, watts: 100 }];
    let running = Work::Cycle { phases, earliest: -900, deadline: 9000, running_since: Some(-900) };
    let mut slots = slots(&[900_000, 100_000, 100_000], Some(3000));
    slots[0].cap_w = Some(1500);
    let loads = vec![load(1, Importance::Low, running), load(2, Importance::High, cycle(&[1000], 0, 2))];
    let plan = plan(&problem(slots, loads)).expect("a plan");
    assert_eq!(runs(&plan, 1), [heg::plan::Run { span: span(0, 1800), why: Why::Frozen }]);
    assert_eq!(plan.over_cap, [heg::plan::OverCap { span: span(0, 900), watts: 500 }]);
    assert_eq!(quarters(&plan, 2), [(1, 2)]);
    assert_eq!(plan.loads[0].energy_ws, 2000 * 900 + 100 * 900, "what is still to come");
}

#[test]
fn a_plan_is_kept_where_leaving_it_saves_too_little_and_left_where_it_saves_enough() {
    let home = |keep| {
        let mut problem = problem(
            slots(&[110_000, 100_000, 300_000, 300_000], None),
            vec![load(1, NORMAL, cycle(&[1000], 0, 3)), load(2, NORMAL, energy(1000, 1, 0, 3))],
        );
        let before = |id| Before { id: LoadId(id), runs: vec![span(0, 900)] };
        problem.before = vec![before(1), before(2)];
        problem.keep_unless_saves = keep;
        plan(&problem).expect("a plan")
    };
    // A quarter of a kWh at 0.01 less: 2500.
    let kept = home(5000);
    assert_eq!((quarters(&kept, 1), quarters(&kept, 2)), (vec![(0, 1)], vec![(0, 1)]));
    assert_eq!((runs(&kept, 1)[0].why, runs(&kept, 2)[0].why), (Why::Hysteresis, Why::Hysteresis));
    let left = home(2000);
    assert_eq!((quarters(&left, 1), quarters(&left, 2)), (vec![(1, 2)], vec![(1, 2)]));
    assert_eq!(runs(&left, 1)[0].why, Why::Price);
}

#[test]
fn work_left_undone_by_the_plan_before_is_still_looked_for_a_place() {
    // Alone each is cheapest in the middle, where there is room for one; side by side both fit.
    let washers = [1, 2].map(|id| load(id, Importance::Normal, cycle(&[1000, 1000], 0, 3)));
    let mut problem = problem(slots(&[90_000, 10_000, 10_000, 90_000], Some(1000)), washers.to_vec());
    problem.before = vec![Before { id: LoadId(1), runs: vec![span(QUARTER, 3 * QUARTER)] }];
    // No money would be worth moving it.
    problem.keep_unless_saves = 1_000_000;
    let plan = plan(&problem).expect("a plan");
    assert_eq!(dropped(&plan), []);
    let mut both = [quarters(&plan, 1), quarters(&plan, 2)].concat();
    both.sort_unstable();
    assert_eq!(both, [(0, 2), (2, 4)]);
}

#[test]
fn a_plan_before_that_no_longer_fits_is_left() {
    let mut problem =
        problem(slots(&[100_000, 200_000, 300_000, 300_000], Some(500)), vec![load(1, NORMAL, cycle(&[1000], 0, 3))]);
    problem.slots[1].cap_w = Some(2000);
    problem.before = vec![Before { id: LoadId(1), runs: vec![span(0, 900)] }];
    problem.keep_unless_saves = 1_000_000_000;
    let plan = plan(&problem).expect("a plan");
    assert_eq!(quarters(&plan, 1), [(1, 2)]);
}

#[test]
fn minimum_times_make_one_run_of_two_and_say_so() {
    let prices = [100_000, 300_000, 100_000, 300_000, 900_000, 900_000];
    let mut timed = load(1, NORMAL, energy(1000, 2, 0, 5));
    timed.min_on_s = 1800;
    let plan = plan(&problem(slots(&prices, None), vec![timed])).expect("a plan");
    assert_eq!(quarters(&plan, 1), [(0, 2)]);
    assert_eq!(runs(&plan, 1)[0].why, Why::MinimumTime);
}

#[test]
fn what_was_switched_on_just_now_stays_on_and_what_was_switched_off_stays_off() {
    let mut on = load(1, NORMAL, energy(1000, 3, 0, 5));
    (on.min_on_s, on.now) = (1800, Now::On(Some(-300)));
    let mut off = load(2, NORMAL, presence(500, 0, 5));
    (off.min_off_s, off.now) = (1800, Now::Off(Some(-300)));
    let plan = plan(&problem(slots(&[900_000, 900_000, 100_000, 100_000, 100_000, 100_000], None), vec![on, off]))
        .expect("a plan");
    assert_eq!(quarters(&plan, 1), [(0, 2), (2, 3)], "two slots of its minimum time, and no second start");
    assert_eq!([runs(&plan, 1)[0].why, runs(&plan, 1)[1].why], [Why::MinimumTime, Why::Price]);
    assert_eq!(quarters(&plan, 2), [(2, 6)]);
    assert_eq!(plan.loads[1].pauses, [heg::plan::Run { span: span(0, 1800), why: Why::MinimumTime }]);
    assert_eq!(dropped(&plan), [(2, 333_332, DropReason::MinimumTime)]);
}

#[test]
fn what_must_not_sleep_stays_on_at_any_price_and_over_any_cap_and_the_rest_sleeps() {
    let wanted = vec![span(0, 4 * QUARTER)];
    let machine = Work::Presence {
        watts: 200,
        rest_w: 5,
        wanted,
        kept: vec![span(QUARTER, 2 * QUARTER)],
        price_max: Some(250_000),
    };
    let mut slots = slots(&[100_000, 900_000, 900_000, 200_000], Some(1000));
    slots[1].cap_w = Some(100);
    slots[3].cap_w = Some(150);
    let plan = plan(&problem(slots, vec![load(1, Importance::Low, machine)])).expect("a plan");
    let decided: Vec<_> = plan.loads[0].runs.iter().map(|r| (r.span, r.why)).collect();
    assert_eq!(decided, [(span(0, 2 * QUARTER), Why::Window)], "one run, begun because it is wanted");
    let pauses: Vec<_> = plan.loads[0].pauses.iter().map(|r| (r.span.start / QUARTER, r.why)).collect();
    assert_eq!(pauses, [(2, Why::Price), (3, Why::Cap)]);
    assert_eq!(plan.over_cap, [heg::plan::OverCap { span: span(QUARTER, 2 * QUARTER), watts: 100 }]);
    assert_eq!(dropped(&plan), [(1, 333_333, DropReason::CapBelowPower)], "too dear is not dropped");
}

#[test]
fn critical_presence_is_never_switched_off() {
    let loads =
        vec![load(1, Importance::Critical, presence(300, 0, 3)), load(2, Importance::High, presence(300, 0, 3))];
    let plan = plan(&problem(slots(&[100_000; 4], Some(400)), loads)).expect("a plan");
    assert_eq!(quarters(&plan, 1), [(0, 4)]);
    assert_eq!(runs(&plan, 1)[0].why, Why::Kept);
    assert_eq!(dropped(&plan), [(2, 1_000_000, DropReason::CapTaken)], "alone it would have room");
}

#[test]
fn a_persons_order_goes_before_price_and_window_but_not_before_the_cap() {
    let order = |on, quarters: i64| Some(Override { on, until: quarters * QUARTER });
    let ordered = |load: Load, ordered| Load { ordered, ..load };
    let loads = vec![
        ordered(load(1, NORMAL, energy(1000, 3, 0, 5)), order(true, 2)),
        ordered(load(2, NORMAL, cycle(&[500], 0, 5)), order(true, 1)),
        ordered(load(3, NORMAL, presence(300, 3, 4)), order(true, 2)),
        ordered(load(4, NORMAL, presence(300, 0, 5)), order(false, 4)),
        ordered(load(5, NORMAL, cycle(&[500], 0, 5)), order(false, 4)),
        ordered(load(6, NORMAL, energy(2900, 1, 0, 5)), order(true, 1)),
    ];
    let prices = [900_000, 900_000, 100_000, 100_000, 500_000, 500_000];
    let plan = plan(&problem(slots(&prices, Some(3000)), loads)).expect("a plan");
    assert_eq!(quarters(&plan, 1)[0].0, 0);
    assert_eq!(runs(&plan, 1)[0].why, Why::Override);
    assert_eq!((quarters(&plan, 2), runs(&plan, 2)[0].why), (vec![(0, 1)], Why::Override));
    assert_eq!((quarters(&plan, 3), runs(&plan, 3)[0].why), (vec![(0, 2), (3, 5)], Why::Override));
    assert_eq!(quarters(&plan, 4), [(4, 6)]);
    assert_eq!(quarters(&plan, 5), [(4, 5)]);
    assert!(quarters(&plan, 6)[0].0 > 0, "the others leave it no room at once");
}

#[test]
fn what_waits_says_whether_price_cap_or_a_minimum_time_keeps_it_waiting() {
    let pauses = |plan: &heg::plan::Plan, id: usize| -> Vec<_> {
        plan.loads[id - 1].pauses.iter().map(|r| (r.span.start / QUARTER, r.span.end / QUARTER, r.why)).collect()
    };
    // The cooker takes the cheap slot that the car would have.
    let prices = [300_000, 100_000, 400_000, 200_000];
    let loads = vec![
        load(1, NORMAL, energy(2000, 1, 0, 3)),
        load(2, Importance::High, presence(1500, 1, 1)),
        load(3, NORMAL, cycle(&[500], 0, 3)),
    ];
    let plan = plan(&problem(slots(&prices, Some(3000)), loads.clone())).expect("a plan");
    assert_eq!(quarters(&plan, 1), [(3, 4)]);
    assert_eq!(pauses(&plan, 1), [(0, 1, Why::Price), (1, 2, Why::Cap), (2, 3, Why::Price)]);
    assert_eq!((quarters(&plan, 3), pauses(&plan, 3)), (vec![(1, 2)], vec![(0, 1, Why::Price)]));
    let mut barred = loads;
    (barred[0].min_off_s, barred[0].now) = (1800, Now::Off(Some(0)));
    let held = heg::plan::plan(&problem(slots(&prices, None), barred)).expect("a plan");
    assert_eq!(pauses(&held, 1), [(0, 2, Why::MinimumTime), (2, 3, Why::Price)]);
    // For one there is no room at all: it waits for that all the time.
    let never = vec![load(1, NORMAL, energy(4000, 1, 0, 3)), load(2, NORMAL, cycle(&[4000], 1, 3))];
    let never = heg::plan::plan(&problem(slots(&prices, Some(3000)), never)).expect("a plan");
    assert_eq!((pauses(&never, 1), pauses(&never, 2)), (vec![(0, 4, Why::Cap)], vec![(1, 4, Why::Cap)]));
}

#[test]
fn where_a_persons_order_ends_another_reason_begins() {
    let order = |load: Load| Load { ordered: Some(Override { on: true, until: 2 * QUARTER }), ..load };
    let loads = vec![order(load(1, NORMAL, presence(300, 0, 3))), order(load(2, NORMAL, energy(1000, 4, 0, 3)))];
    let plan = plan(&problem(slots(&[100_000; 4], None), loads)).expect("a plan");
    for (id, then) in [(1, Why::Window), (2, Why::Deadline)] {
        let decided: Vec<_> = runs(&plan, id).iter().map(|r| (r.span, r.why)).collect();
        let (ordered, after) = (span(0, 2 * QUARTER), span(2 * QUARTER, 4 * QUARTER));
        assert_eq!(decided, [(ordered, Why::Override), (after, then)], "{id}");
    }
}

#[test]
fn days_of_23_and_25_hours_are_planned_slot_by_slot() {
    for count in [92, 100] {
        let prices: Vec<i64> = (0..count).map(|i| 100_000 + (i * 37 % count) * 1000).collect();
        let last = count - 1;
        let mut loads =
            vec![load(0, NORMAL, energy(1000, 8, 0, last)), load(1, NORMAL, cycle(&[800; 4], count / 2, last))];
        loads.extend((2..8).map(|i| load(i, NORMAL, cycle(&[700, 700], 0, last))));
        let plan = plan(&problem(slots(&prices, Some(1500)), loads)).expect("a plan");
        assert!(plan.dropped.is_empty());
        assert_eq!(quarters(&plan, 0).iter().map(|(a, b)| b - a).sum::<i64>(), 8);
        assert!(quarters(&plan, 1)[0].0 >= count / 2);
    }
}

#[test]
fn a_slot_that_has_begun_is_used_for_what_is_left_of_it() {
    // Seven minutes of the first quarter hour are left, and the car is charging.
    let mut slots = slots(&[100_000, 500_000, 500_000, 500_000], None);
    slots[0].span.start = 480;
    let mut car = load(1, NORMAL, energy(4000, 2, 0, 3));
    car.now = Now::On(Some(0));
    let plan = plan(&problem(slots, vec![car])).expect("a plan");
    assert_eq!(runs(&plan, 1)[0].span.start, 480);
    let seconds: i64 = runs(&plan, 1).iter().map(|r| r.span.seconds()).sum();
    assert_eq!(seconds, 1800);
    assert!(plan.dropped.is_empty());
}

#[test]
fn a_deadline_within_a_slot_leaves_what_of_the_slot_is_before_it() {
    let mut charge =
        load(1, NORMAL, Work::Energy { watts: 3600, energy_wh: 1600, earliest: 0, deadline: 2 * QUARTER - 120 });
    charge.now = Now::On(Some(0));
    let plan = plan(&problem(slots(&[100_000, 100_000, 100_000], None), vec![charge])).expect("a plan");
    assert!(plan.dropped.is_empty(), "{:?}", plan.dropped);
    assert_eq!(runs(&plan, 1).iter().map(|run| run.span).collect::<Vec<_>>(), [span(0, 1600)]);
}

#[test]
fn who_is_ordered_on_in_its_minimum_time_off_hears_of_the_cap_where_others_have_taken_the_room() {
    let why = |others: Vec<Load>| {
        let mut heater = load(1, NORMAL, energy(2000, 2, 0, 3));
        heater.now = Now::Off(Some(0));
        (heater.min_off_s, heater.ordered) = (QUARTER as u32, Some(Override { on: true, until: 4 * QUARTER }));
        let loads = std::iter::once(heater).chain(others).collect();
        let plan = plan(&problem(slots(&[100_000; 4], Some(4200)), loads)).expect("a plan");
        let heater = plan.loads.iter().find(|load| load.id == LoadId(1)).expect("the heater");
        heater.pauses.iter().map(|pause| (pause.span, pause.why)).next()
    };
    assert_eq!(why(vec![]), Some((span(0, QUARTER), Why::MinimumTime)));
    assert_eq!(why(vec![load(2, NORMAL, energy(2300, 1, 0, 0))]), Some((span(0, QUARTER), Why::Cap)));
}

#[test]
fn a_seed_differs_by_home_and_by_plan() {
    let seeds = [seed("a", 1), seed("a", 2), seed("b", 1)];
    assert_eq!(seed("a", 1), seeds[0]);
    assert!(seeds[0] != seeds[1] && seeds[0] != seeds[2] && seeds[1] != seeds[2]);
}

#[test]
fn a_home_without_loads_has_an_empty_plan() {
    let plan = plan(&problem(slots(&[1], None), Vec::new())).expect("a plan");
    assert_eq!((plan.loads.len(), plan.cost, plan.lower_bound), (0, 0, Some(0)));
}

#[test]
fn numbers_beyond_their_bounds_are_refused_by_name() {
    let good = || problem(slots(&[1, 2], None), vec![load(7, NORMAL, cycle(&[100], 0, 1))]);
    let refused = |change: fn(&mut Problem)| {
        let mut problem = good();
        change(&mut problem);
        plan(&problem).expect_err("refused")
    };
    assert_eq!(refused(|p| p.slots.clear()), ProblemError::Slots(0));
    assert_eq!(refused(|p| p.slots[1].span.start += 1), ProblemError::SlotsApart(1));
    assert_eq!(refused(|p| p.slots[1].span.end = i64::MAX), ProblemError::SlotLength(1));
    assert_eq!(refused(|p| p.slots[0].price = Some(i64::MIN + 1)), ProblemError::Price(0));
    assert_eq!(refused(|p| p.loads.push(p.loads[0].clone())), ProblemError::Twice(LoadId(7)));
    assert_eq!(refused(|p| p.loads[0].start_cost = -1), ProblemError::Load(LoadId(7), "the start cost"));
    let text = refused(|p| p.loads[0].work = cycle(&[], 0, 1)).to_string();
    assert_eq!(text, "load 7: the number of phases is out of bounds");
    assert_eq!(
        refused(|p| p.loads[0].now = Now::On(Some(i64::MIN))),
        ProblemError::Load(LoadId(7), "the instant of its state")
    );
    let most = Slot { price: Some(1_000_000_000), ..good().slots[0] };
    let many = |p: &mut Problem| {
        let long = |i: i64| Slot {
            span: span(i * 90_000, (i + 1) * 90_000),
            price: Some(1_000_000_000),
            cap_w: None,
            base_w: 0,
        };
        p.slots = (0..800).map(long).collect();
        p.loads = (0..1000).map(|i| load(i, NORMAL, energy(90_000, 4, 0, 1))).collect();
    };
    let mut large = good();
    many(&mut large);
    assert_eq!(plan(&large).expect_err("refused"), ProblemError::TooLarge);
    assert!(plan(&Problem { slots: vec![most], ..good() }).is_ok(), "each number may be as large as its bound");
}
