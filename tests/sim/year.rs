//! Days of a home of twenty appliances, those on which clocks change among them: nothing against its people, nothing over its limit
//! beyond the reaction time, and little for its SD card. The year is a benchmark (`bench/run year`).

use std::path::Path;

use heg::simulate::Findings;
use home_bench::year::prices::Prices;
use home_bench::year::{Outcome, Run, run};
use jiff::civil::date;
use jiff::tz::TimeZone;

/// Without optimisation a day takes some seconds.
const DAYS: i64 = 3;
/// Bytes a day that an SD card of the smallest sort bears for decades.
const DISK_BYTES_MAX: u64 = 5_000_000;
/// Times a day that an appliance may be switched at the most: once an hour.
const SWITCHED_MAX: u64 = 24;

#[test]
fn around_the_day_of_23_hours_with_failing_machines_nothing_is_against_the_people_or_over_the_limit() {
    let outcome = lived((2023, 3, 25), true);
    good(&outcome);
    // The day on which an hour is skipped.
    assert!(outcome.days.iter().any(|day| day.minutes.len() < 24 * 60), "no day has 23 hours");
}

#[test]
fn around_the_day_of_25_hours_with_failing_machines_nothing_is_against_the_people_or_over_the_limit() {
    let outcome = lived((2023, 10, 28), true);
    good(&outcome);
    assert!(outcome.days.iter().any(|day| day.minutes.len() >= 25 * 60), "no day has 25 hours");
}

#[test]
fn where_nothing_fails_every_work_is_done_in_time_and_money_is_saved() {
    let outcome = lived((2023, 6, 1), false);
    good(&outcome);
    let figures = &outcome.figures;
    let Findings { works, over_excused_s, .. } = figures.findings;
    assert!(works > 10, "{figures:?}");
    assert_eq!(figures.findings, Findings { works, over_excused_s, ..Findings::default() });
    assert!(figures.sums.saved() * 100 > figures.sums.at_once, "less than a hundredth was saved: {figures:?}");
}

fn lived(from: (i16, i8, i8), faults: bool) -> Outcome {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
    let first = date(from.0, from.1, from.2);
    let prices = Prices::built(&zone, first, DAYS).expect("prices");
    // Not in memory, where the kernel counts no writing.
    let dir = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a directory");
    run(&Run { first, days: DAYS, faults, seed: 7 }, &prices, &zone, dir.path()).expect("some days")
}

#[track_caller]
fn good(outcome: &Outcome) {
    let figures = &outcome.figures;
    let findings = &figures.findings;
    println!("{figures:?}\n{:?}", outcome.events);
    assert_eq!((findings.undone, findings.comfort_broken, findings.missed_s), (0, 0, 0), "{figures:?}");
    assert_eq!((findings.over_limit_s, outcome.wrong_cap), (0, 0), "{figures:?}");
    assert!(figures.switched_most <= SWITCHED_MAX, "{figures:?}");
    for day in &outcome.days {
        assert!(day.disk_bytes < DISK_BYTES_MAX, "{} bytes on {}", day.disk_bytes, day.date);
        assert!(day.written_bytes > 0, "nothing was written on {}", day.date);
    }
}
