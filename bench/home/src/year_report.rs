//! The year as a section of docs/benchmarks.md, and its plots.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use heg::simulate::Fault;
use home_bench::year::prices::Prices;
use home_bench::year::{self, Day, Outcome, Run};
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

use crate::svg::{Axis, COLOURS, Plot};

/// The year that is simulated where no file of prices says another.
const FIRST: Date = date(2023, 1, 1);
/// Brussels, written so that it needs no time zone database.
const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
const SEED: u64 = 1;
/// Bytes a day that an SD card of the smallest sort bears for decades.
const GOAL_BYTES: f64 = 5e6;
/// So many of what is not as it should be are named.
const FAULTS_SHOWN_MAX: usize = 20;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What was asked for on the command line.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// A file of prices, `start_utc,eur_per_mwh`.
    pub(crate) prices: Option<&'a Path>,
    /// Fewer days than a year.
    pub(crate) days: Option<i64>,
    /// Where plots go.
    pub(crate) plots: Option<&'a Path>,
    /// Where the database goes: not a file system in memory, whose writing the kernel does not count.
    pub(crate) disk: &'a Path,
}

/// Prints the section.
pub(crate) fn print(wanted: &Wanted<'_>) -> Result<()> {
    let zone = TimeZone::posix(ZONE)?;
    let days = wanted.days.unwrap_or(365);
    let (prices, first) = match wanted.prices {
        Some(path) => {
            let prices = Prices::read(path)?;
            let first = zone.to_datetime(jiff::Timestamp::from_second(prices.span().0)?).date();
            (prices, first)
        }
        None => (Prices::built(&zone, FIRST, days)?, FIRST),
    };
    let dir = tempfile::tempdir_in(wanted.disk)?;
    let began = nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    let run = Run { first, days, faults: true, seed: SEED, also: Vec::new() };
    let outcome = year::run(&run, &prices, &zone, dir.path())?;
    let took = nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)? - began;
    let counted = outcome.days.iter().all(|day| day.disk_bytes > 0);
    ensure!(
        counted,
        "the kernel counts no writing to {}: is it in memory? --disk names another place",
        wanted.disk.display()
    );

    println!("## A home through a year\n");
    println!(
        "{days} days from {first} in virtual time (Central European time, with its changes of clocks), {} s of the processor: 20 appliances",
        took.tv_sec()
    );
    println!(
        "(bench/home/src/year/home.toml), the gateway's own minds (registry, commands, registrations, planner, envelope, rules, journal, prices,"
    );
    println!(
        "dealings with the utility) and database over simulated machines, in a home that belongs to a utility: it is polled and reported to at the"
    );
    println!(
        "default periods, and states limits and controls. Prices: {}, by the hour, and 150 EUR/MWh of fees. What happens is drawn from a seed.\n",
        prices.name
    );
    println!("| what happened | times |\n|---|---|");
    for (what, times) in &outcome.events {
        println!("| {what} | {times} |");
    }
    println!(
        "| minutes under a limit | {} |\n| of them by failsafe, as the utility was not heard | {} |\n",
        outcome.limited.0, outcome.limited.1
    );
    savings(&outcome);
    findings(&outcome);
    written(&outcome);
    if let Some(plots) = wanted.plots {
        std::fs::create_dir_all(plots)?;
        std::fs::write(plots.join("year-savings.svg"), plot_savings(&outcome))?;
        std::fs::write(plots.join("year-switchings.svg"), plot_switchings(&outcome))?;
        std::fs::write(plots.join("year-disk.svg"), plot_disk(&outcome))?;
        std::fs::write(plots.join("year-limit.svg"), plot_limit(&outcome)?)?;
        for (file, what) in [
            ("year-savings", "what was paid and what it would have cost at once, by month"),
            ("year-limit", "a day with a limit"),
            ("year-switchings", "orders by appliance"),
            ("year-disk", "bytes to the disk by day"),
        ] {
            println!("![{what}](plots/{file}.svg)\n");
        }
    }
    Ok(())
}

fn months(outcome: &Outcome) -> BTreeMap<(i16, i8), (f64, f64, f64)> {
    let mut months = BTreeMap::new();
    for Day { date, sums, .. } in &outcome.days {
        let month: &mut (f64, f64, f64) = months.entry((date.year(), date.month())).or_default();
        month.0 += sums.cost as f64 / 1e6;
        month.1 += sums.at_once as f64 / 1e6;
        month.2 += sums.energy_ws as f64 / 3.6e6;
    }
    months
}

fn savings(outcome: &Outcome) {
    println!("Savings against running at once, of the appliances' own cost (EUR):\n");
    println!("| month | kWh | paid | at once | saved | % |\n|---|---|---|---|---|---|");
    let mut all = (0.0, 0.0, 0.0);
    let row = |name: &str, (paid, at_once, kwh): (f64, f64, f64)| {
        let percent = (1.0 - paid / at_once) * 100.0;
        println!("| {name} | {kwh:.0} | {paid:.2} | {at_once:.2} | {:.2} | {percent:.1} |", at_once - paid);
    };
    for ((year, month), sums) in months(outcome) {
        all = (all.0 + sums.0, all.1 + sums.1, all.2 + sums.2);
        row(&format!("{year}-{month:02}"), sums);
    }
    row("all", all);
    println!();
}

fn findings(outcome: &Outcome) {
    let figures = &outcome.figures;
    let f = &figures.findings;
    println!("| looked at from outside | | goal |\n|---|---|---|");
    let rows: [(&str, u64, &str); 13] = [
        ("works asked for", f.works, ""),
        ("not done in time, without excuse", f.undone, "0"),
        ("not done in time, a limit left too little of it", f.undone_limited, "named"),
        (
            "not done in time, the failsafe limit, which nobody can foresee, left too little of what remained",
            f.undone_failsafe,
            "named",
        ),
        ("not done in time, the machine refused, was gone or was switched by hand", f.undone_disturbed, "named"),
        ("switched off although it was to stay on", f.comfort_broken, "0"),
        ("requests of machines that were not taken", f.turned_away, "0"),
        ("seconds off although it was to run, without excuse", f.missed_s as u64, "0"),
        ("seconds on with nothing to do, without excuse", f.needless_s as u64, "0"),
        ("seconds over limit or fuse beyond the reaction time (60 s)", f.over_limit_s as u64, "0"),
        ("seconds over limit or fuse within it, or by what may not be switched off", f.over_excused_s as u64, ""),
        ("minutes in which another limit held than the rules of LPC say", outcome.wrong_cap, "0"),
        ("orders not obeyed", figures.refused, ""),
    ];
    for (what, count, goal) in rows {
        println!("| {what} | {count} | {goal} |");
    }
    for Fault { at, udn, what } in outcome.faults.iter().take(FAULTS_SHOWN_MAX) {
        let at = jiff::Timestamp::from_second(*at).map_or_else(|_| at.to_string(), |at| at.to_string());
        println!("\n- {at}: {} {what}", udn.as_ref().map_or("the home", |udn| udn.bare()));
    }
    let days = outcome.days.len().max(1) as f64;
    println!(
        "\nSwitched {} times, {:.1} a day; one appliance at most {} times on a day; {} times back within five minutes.\n",
        figures.switched,
        figures.switched as f64 / days,
        figures.switched_most,
        figures.switched_back
    );
}

fn written(outcome: &Outcome) {
    let sum = |of: fn(&Day) -> u64| outcome.days.iter().map(of).sum::<u64>() as f64 / outcome.days.len().max(1) as f64;
    let most = outcome.days.iter().map(|day| day.disk_bytes).max().unwrap_or(0);
    println!(
        "Written to the disk: {:.2} MB a day, {:.2} MB on the worst (pages, as the kernel counts them for the process in /proc/self/io; the file",
        sum(|day| day.disk_bytes) / 1e6,
        most as f64 / 1e6
    );
    println!(
        "system's own come on top); {:.2} MB by calls; {:.0} transactions a day; {} journal entries in all. Goal: under 5 MB. In it are the",
        sum(|day| day.written_bytes) / 1e6,
        sum(|day| day.transactions),
        outcome.figures.entries
    );
    let days = outcome.days.len().max(1) as f64;
    println!(
        "file of kept prices, {:.1} kB a day, and that of the membership at the key management centre, {:.1} kB a day: bytes of its usual size,",
        outcome.beside.prices as f64 / days / 1e3,
        outcome.beside.membership as f64 / days / 1e3
    );
    println!("whenever the client writes it, which itself is not run, as it needs a centre.\n");
}

fn plot_savings(outcome: &Outcome) -> String {
    let months: Vec<_> = months(outcome).into_iter().collect();
    let most = months.iter().map(|(_, sums)| sums.0.max(sums.1)).fold(1.0, f64::max);
    let least = months.iter().map(|(_, sums)| sums.0.min(sums.1)).fold(0.0, f64::min);
    let name = |(year, month): (i16, i8)| format!("{} {year}", MONTHS[usize::try_from(month - 1).unwrap_or(0)]);
    let ticks = months.iter().enumerate().map(|(i, (month, _))| (i as f64 + 0.5, name(*month)));
    let x = Axis::linear("", 0.0, months.len() as f64).with_ticks(ticks.collect());
    let mut plot = Plot::new("Cost of what is planned, by month", x, Axis::linear("EUR", least, most * 1.05));
    plot.named("at once", COLOURS[3]);
    plot.named("as planned", COLOURS[0]);
    plot.bars(months.iter().enumerate().map(|(i, (_, sums))| (i as f64 + 0.12, i as f64 + 0.49, sums.1)), COLOURS[3]);
    plot.bars(months.iter().enumerate().map(|(i, (_, sums))| (i as f64 + 0.51, i as f64 + 0.88, sums.0)), COLOURS[0]);
    plot.finish()
}

fn plot_switchings(outcome: &Outcome) -> String {
    let days = outcome.days.len().max(1) as f64;
    let all: Vec<(String, f64)> = outcome.switchings.iter().map(|(name, n)| (name.clone(), *n as f64 / days)).collect();
    let most = all.iter().map(|(_, n)| *n).fold(0.1, f64::max);
    let ticks = all.iter().enumerate().map(|(i, (name, _))| (i as f64 + 0.5, name.clone()));
    let x = Axis::linear("", 0.0, all.len() as f64).with_names(ticks.collect());
    let mut plot =
        Plot::new("Orders of the planner a day, by appliance", x, Axis::linear("orders a day", 0.0, most * 1.05));
    plot.bars(all.iter().enumerate().map(|(i, (_, n))| (i as f64 + 0.15, i as f64 + 0.85, *n)), COLOURS[0]);
    plot.finish()
}

fn plot_disk(outcome: &Outcome) -> String {
    let days = &outcome.days;
    let y = Axis::linear("MB a day", 0.0, GOAL_BYTES / 1e6 * 1.1);
    let ticks = days.iter().enumerate().filter(|(_, day)| day.date.day() == 1);
    let ticks = ticks.map(|(i, day)| (i as f64, MONTHS[usize::try_from(day.date.month() - 1).unwrap_or(0)].to_owned()));
    let x = Axis::linear("day", 0.0, days.len() as f64).with_ticks(ticks.collect());
    let mut plot = Plot::new("Written to the disk by a home with a utility, 20 appliances", x, y);
    plot.named("pages written", COLOURS[0]);
    plot.named("goal", COLOURS[1]);
    plot.line(days.iter().enumerate().map(|(i, day)| (i as f64, day.disk_bytes as f64 / 1e6)), COLOURS[0], false);
    plot.line([(0.0, GOAL_BYTES / 1e6), (days.len() as f64, GOAL_BYTES / 1e6)], COLOURS[1], true);
    plot.finish()
}

/// The day on which limits took most away: the one with the most minutes near its limit.
fn plot_limit(outcome: &Outcome) -> Result<String> {
    let near = |(drawn, cap): &(u32, Option<u32>)| cap.is_some_and(|cap| drawn + 500 > cap);
    let limited = |day: &&Day| day.minutes.iter().filter(|minute| near(minute)).count();
    let day = outcome.days.iter().max_by_key(limited).context("no day")?;
    let most = day.minutes.iter().map(|(drawn, _)| *drawn).max().unwrap_or(0);
    let hours = day.minutes.len() as f64 / 60.0;
    let ticks = (0..=8).map(|n| (f64::from(n * 3), format!("{}:00", n * 3)));
    let x = Axis::linear("hours of the day", 0.0, hours).with_ticks(ticks.collect());
    let y = Axis::linear("kW", 0.0, f64::from(most.max(6000)) / 1e3 * 1.05);
    let mut plot = Plot::new(&format!("What the home draws under its limit, {}", day.date), x, y);
    plot.named("drawn", COLOURS[0]);
    plot.named("limit", COLOURS[1]);
    let minutes = || day.minutes.iter().enumerate().map(|(i, minute)| (i as f64 / 60.0, minute));
    plot.line(minutes().map(|(at, (drawn, _))| (at, f64::from(*drawn) / 1e3)), COLOURS[0], false);
    let mut held: Vec<(f64, f64)> = Vec::new();
    for (at, (_, cap)) in minutes() {
        match cap {
            Some(cap) => held.push((at, f64::from(*cap) / 1e3)),
            None if !held.is_empty() => plot.line(std::mem::take(&mut held), COLOURS[1], false),
            None => {}
        }
    }
    plot.line(held, COLOURS[1], false);
    Ok(plot.finish())
}
