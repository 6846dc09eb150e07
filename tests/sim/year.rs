//! Days of a home of twenty appliances, those on which clocks change among them: nothing against its people, nothing over its limit
//! beyond the reaction time, and little for its SD card. The year is a benchmark (`bench/run year`).

use std::path::Path;
use std::sync::Mutex;

use energy_model::PowerState;
use heg::gateway::Request;
use heg::simulate::Findings;
use home_bench::year::faults::Event;
use home_bench::year::prices::Prices;
use home_bench::year::{Outcome, Run, run};
use jiff::civil::date;
use jiff::tz::TimeZone;

/// Without optimisation a day takes a second or two.
const DAYS: i64 = 2;
const HOUR: i64 = 3600;
/// Bytes on a day: a fifth more than what is the goal in the mean of a year, for single days on which more happens.
const DISK_BYTES_MAX: u64 = 6_000_000;
/// Times a day that an appliance may be switched at the most: once an hour.
const SWITCHED_MAX: u64 = 24;

#[test]
fn a_gateway_that_is_restarted_under_a_limit_in_a_cycle_and_with_a_control_goes_on_as_before() {
    let day = date(2023, 1, 10).at(0, 0, 0, 0).to_zoned(zone()).expect("a day").timestamp().as_second();
    let awake = Request::NoStandbyPeriod("09:00:00-16:00:00".parse().expect("a window"));
    let outcome = lived_with(
        (2023, 1, 10),
        false,
        vec![
            (9 * HOUR, Event::Request("uuid:console", Some(awake))),
            (10 * HOUR, Event::Period("uuid:disks", Some("13:00:00-15:00:00".parse().expect("a window")))),
            (10 * HOUR + 1800, Event::Control("pool-pump", PowerState::Off)),
            (10 * HOUR + 1801, Event::Restart { orderly: false }),
            (17 * HOUR, Event::Limit { start: day + 17 * HOUR, for_s: 7200, watts: 4200 }),
            (17 * HOUR + 2400, Event::Restart { orderly: false }),
            (17 * HOUR + 4000, Event::Restart { orderly: true }),
            (26 * HOUR, Event::Restart { orderly: false }),
        ],
    );
    good(&outcome);
    let times = |what: &str| outcome.events.iter().find(|(name, _)| *name == what).map_or(0, |(_, times)| *times);
    assert_eq!((times("gateway restarted"), times("gateway killed and restarted")), (1, 3));
    assert_eq!(times("gateway restarted under a limit"), 2, "{:?}", outcome.events);
    assert_eq!(times("gateway restarted with a control under way"), 1, "{:?}", outcome.events);
    assert_eq!(outcome.figures.findings.undone_limited + outcome.figures.findings.undone_disturbed, 0);
}

#[test]
fn around_the_day_of_23_hours_with_failing_machines_nothing_is_against_the_people_or_over_the_limit() {
    let outcome = lived((2023, 3, 26), true);
    good(&outcome);
    // The day on which an hour is skipped.
    assert!(outcome.days.iter().any(|day| day.minutes.len() < 24 * 60), "no day has 23 hours");
}

#[test]
fn around_the_day_of_25_hours_with_failing_machines_nothing_is_against_the_people_or_over_the_limit() {
    let outcome = lived((2023, 10, 29), true);
    good(&outcome);
    assert!(outcome.days.iter().any(|day| day.minutes.len() >= 25 * 60), "no day has 25 hours");
}

#[test]
fn where_nothing_fails_every_work_is_done_in_time_and_money_is_saved() {
    let outcome = lived((2023, 6, 1), false);
    good(&outcome);
    let figures = &outcome.figures;
    let Findings { works, over_excused_s, .. } = figures.findings;
    assert!(works > 5, "{figures:?}");
    assert_eq!(figures.findings, Findings { works, over_excused_s, ..Findings::default() });
    assert!(figures.sums.saved() * 100 > figures.sums.at_once, "less than a hundredth was saved: {figures:?}");
}

/// The kernel counts the writing of the whole process: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn zone() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone")
}

fn lived(from: (i16, i8, i8), faults: bool) -> Outcome {
    lived_with(from, faults, Vec::new())
}

fn lived_with(from: (i16, i8, i8), faults: bool, also: Vec<(i64, Event)>) -> Outcome {
    let zone = zone();
    let first = date(from.0, from.1, from.2);
    let prices = Prices::built(&zone, first, DAYS).expect("prices");
    // Not in memory, where the kernel counts no writing.
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a directory");
    run(&Run { first, days: DAYS, faults, seed: 7, also }, &prices, &zone, dir.path()).expect("some days")
}

#[track_caller]
fn good(outcome: &Outcome) {
    let figures = &outcome.figures;
    let findings = &figures.findings;
    println!("{figures:?}\n{:?}", outcome.events);
    let faults = &outcome.faults;
    assert_eq!((findings.undone, findings.comfort_broken, findings.missed_s), (0, 0, 0), "{faults:?}");
    assert_eq!((findings.over_limit_s, outcome.wrong_cap), (0, 0), "{faults:?}");
    assert_eq!((findings.needless_s, findings.turned_away), (0, 0), "{faults:?}");
    // Excuses are the exception.
    assert!(findings.undone_limited + findings.undone_disturbed <= findings.works / 10, "{figures:?}");
    assert!(findings.over_excused_s < 600, "{figures:?}");
    assert!(figures.switched_most <= SWITCHED_MAX, "{figures:?}");
    for day in &outcome.days {
        assert!(day.disk_bytes < DISK_BYTES_MAX, "{} bytes on {}", day.disk_bytes, day.date);
        assert!(day.disk_bytes > 0, "no writing was counted on {}", day.date);
    }
}
