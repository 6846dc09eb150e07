//! `heg-gateway simulate`: what the planner would have made of a home's loads under given prices, for people.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use daemon_kit::control::client::{self, ClientError};
use daemon_kit::exit::Exit;
use daemon_kit::{clock, state_dir};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use tariff::price_file::{self, Expected};
use utility_wire::PriceSeries;

use super::{Fault, Figures, Findings, House, Known, REACTION_S, SimulateError, repeated};
use crate::api::ApplianceView;
use crate::api::planning::RuleView;
use crate::config::Config;
use crate::plan::Span;
use crate::plan::slots::PriceSpan;
use crate::planner::Sums;
use crate::rules::units;
use crate::store::batch::Batch;

/// Days that can be simulated: some years.
pub const DAYS_MAX: u32 = 1500;
/// More days than this are shown by month.
const DAYS_SHOWN_MAX: usize = 62;
const FAULTS_SHOWN_MAX: usize = 20;
/// Prices of the next day are known from then on by the clock, as in the markets of Europe.
const PUBLISHED_HOUR: i8 = 13;
const DAY_S: i64 = 86_400;
/// What is said where no machine may be planned.
const ALLOW: &str = "no load has `plan = \"yes\"`; say so in [[load]], or with hegctl rule add ID plan yes";
/// What one write of the database comes to on an SD card (docs/benchmarks.md, "A home through a year").
const WRITE_BYTES: f64 = 21e3;

/// Runs the home of `config`, and of the gateway that runs by it, for `days` under the prices of `files`, one after the other and then
/// again from the first.
///
/// # Errors
/// A price file that is not taken, with its line; no load; no prices.
pub fn run(config: &Config, files: &[PathBuf], days: u32) -> anyhow::Result<Exit> {
    match simulate(config, files, days) {
        // Whoever read has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(Exit::Ok),
        ended => ended,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn simulate(config: &Config, files: &[PathBuf], days: u32) -> anyhow::Result<Exit> {
    let zone = config.zone(clock::zone());
    let expected = Expected {
        zone: config.tariff.price_zone.clone(),
        time_zone: zone.clone(),
        currency: config.tariff.currency,
        per: Some(config.tariff.per),
        whole_days: config.tariff.whole_days,
    };
    let mut series = Vec::with_capacity(files.len());
    for file in files {
        let bytes = state_dir::read_bounded(file, tariff::limits::PRICE_FILE_BYTES_MAX as u64)?;
        let bytes = bytes.with_context(|| format!("{} is not there", file.display())).context(Exit::NoInput)?;
        let text = String::from_utf8_lossy(&bytes);
        let read = price_file::read(&text, &expected).with_context(|| file.display().to_string());
        let read = read.context(Exit::DataErr)?;
        // As the daemon: by one currency, the tariff's where it says one.
        let wanted = config.tariff.currency.or(series.first().map(PriceSeries::currency));
        if let Some(wanted) = wanted.filter(|wanted| *wanted != read.currency()) {
            let (file, found) = (file.display(), read.currency());
            let whose = if config.tariff.currency.is_some() { "the tariff is" } else { "those of the first file are" };
            bail!(anyhow::anyhow!("{file}: prices are in {found}, {whose} in {wanted}").context(Exit::DataErr));
        }
        series.push(read);
    }
    let Some(first) = series.first() else { bail!(anyhow::anyhow!("--prices names no file").context(Exit::Usage)) };
    let currency = first.currency().to_string();
    let prices: Vec<PriceSpan> = series.iter().flat_map(spans).collect();
    let start = prices.first().map_or(0, |p| p.span.start);
    let moment = |at: i64| Timestamp::from_second(at).context(Exit::DataErr);
    let mut out = io::stdout().lock();
    let known_there = match ask_gateway(config)? {
        Ok(known) => {
            let (appliances, rules) = known.counts();
            writeln!(out, "from the running gateway: {appliances} appliances, {rules} rules that hold for good")?;
            known
        }
        Err(error) => {
            writeln!(out, "by the configuration alone, no gateway is asked: {error}")?;
            Known::default()
        }
    };
    let mut house = match House::of(config, known_there, zone.clone(), moment(start)?) {
        Err(SimulateError::NoLoads(all)) => {
            left_out(&mut out, &all)?;
            return Err(SimulateError::NoLoads(all)).context(Exit::Config);
        }
        Ok(house) => house,
    };
    left_out(&mut out, house.left_out())?;
    if house.planned() == 0 {
        writeln!(out, "nothing is planned: {ALLOW}")?;
    }
    for name in house.idle() {
        writeln!(
            out,
            "{} does nothing: its work is asked for by `every-day`, of [[load]] or hegctl rule add ID every-day",
            clean(name)
        )?;
    }
    let first = zone.to_datetime(moment(start)?).date();
    let mut written = Written::default();
    for day in 0..i64::from(days) {
        let date = first.checked_add(day.days()).context(Exit::DataErr)?;
        let hour = |date: Date, hour: i8| {
            let at = date.at(hour, 0, 0, 0).to_zoned(zone.clone()).context(Exit::DataErr);
            anyhow::Ok(at?.timestamp().as_second())
        };
        let (midnight, tomorrow) = (hour(date, 0)?.max(start), hour(date.tomorrow().context(Exit::DataErr)?, 0)?);
        let published = hour(date, PUBLISHED_HOUR)?;
        // Of tomorrow nothing is known before its prices are published.
        house.prices(known(&prices, start, midnight, tomorrow), &currency);
        house.run_to(moment(published)?, |batch, _| written.add(batch));
        house.prices(known(&prices, start, midnight, tomorrow + DAY_S), &currency);
        house.run_to(moment(tomorrow)?, |batch, _| written.add(batch));
        house.keep_days();
    }
    let figures = house.figures();
    sums(&mut out, &house, &currency)?;
    told(&mut out, &figures, u64::from(days))?;
    writeln!(
        out,
        "database: {} writes a day, about {:.1} MB on an SD card; {} journal entries",
        written.transactions / u64::from(days.max(1)),
        written.transactions as f64 / f64::from(days.max(1)) * WRITE_BYTES / 1e6,
        figures.entries
    )?;
    faults(&mut out, &house, &zone)?;
    Ok(Exit::Ok)
}

/// What the gateway that runs by this configuration knows, asked as `hegctl` does; or why there is no answer.
fn ask_gateway(config: &Config) -> anyhow::Result<Result<Known, ClientError>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(Exit::OsErr)?;
    let socket = config.socket();
    Ok(runtime.block_on(async {
        let appliances: Vec<ApplianceView> = client::get(&socket, "/v1/appliances").await?.json()?;
        let rules: Vec<RuleView> = client::get(&socket, "/v1/rules").await?.json()?;
        Ok(Known::new(&appliances, &rules))
    }))
}

fn left_out(out: &mut impl io::Write, all: &[(String, String)]) -> io::Result<()> {
    all.iter().try_for_each(|(what, why)| writeln!(out, "left out: {}: {why}", clean(what)))
}

/// Names come from the network: no control character of theirs reaches the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// What the database would have been told to write.
#[derive(Default)]
struct Written {
    transactions: u64,
}

impl Written {
    fn add(&mut self, batch: &Batch) {
        self.transactions += u64::from(!batch.is_empty());
    }
}

/// Each day, or each month where there are many, and all together.
fn sums(out: &mut impl io::Write, house: &House, currency: &str) -> io::Result<()> {
    let mut rows: BTreeMap<&str, Sums> = BTreeMap::new();
    let days = house.days();
    let length = if days.len() > DAYS_SHOWN_MAX { "2026-11".len() } else { "2026-11-27".len() };
    for (day, sums) in days {
        let row = rows.entry(day.get(..length).unwrap_or(day)).or_default();
        row.cost += sums.cost;
        row.at_once += sums.at_once;
        row.energy_ws += sums.energy_ws;
    }
    let all = house.figures().sums;
    writeln!(out, "{:<12}{:>10}{:>12}{:>12}{:>12}", "", "kWh", "COST", "AT ONCE", "SAVED")?;
    for (name, sums) in rows.iter().map(|(name, sums)| (*name, sums)).chain([("all", &all)]) {
        let (cost, at_once, saved) = (units(sums.cost), units(sums.at_once), units(sums.saved()));
        writeln!(out, "{name:<12}{:>10.2}{cost:>12.2}{at_once:>12.2}{saved:>12.2}", sums.energy_ws as f64 / 3.6e6)?;
    }
    let percent = if all.at_once > 0 { all.saved() as f64 / all.at_once as f64 * 100.0 } else { 0.0 };
    writeln!(
        out,
        "\nin {currency}: what the planned appliances cost, and would have cost had each run as soon as it may; {percent:.1} % saved\n"
    )
}

/// What was switched, and what is not as it should be.
fn told(out: &mut impl io::Write, figures: &Figures, days: u64) -> io::Result<()> {
    let Figures { switched, switched_most, switched_back, dropped, findings, .. } = figures;
    let Findings { works, undone, undone_limited, comfort_broken, missed_s, needless_s, .. } = findings;
    writeln!(
        out,
        "switched: {switched} times, {:.1} a day; one appliance at most {switched_most} times in a day; {switched_back} times back within \
         five minutes",
        *switched as f64 / days.max(1) as f64
    )?;
    writeln!(
        out,
        "work: {works} cycles and charges asked for; {undone} not done in time, and {undone_limited} that the fuse left no time for; \
         {dropped} times a plan had to leave some undone"
    )?;
    writeln!(
        out,
        "comfort: {comfort_broken} times off against keep-on, {missed_s} s off when it was to run, {needless_s} s on with nothing to do"
    )?;
    writeln!(
        out,
        "fuse: exceeded for {} s for longer than {REACTION_S} s at a time, and for {} s by what was just being switched or may not be",
        findings.over_limit_s, findings.over_excused_s
    )
}

/// When what was not as it should be.
fn faults(out: &mut impl io::Write, house: &House, zone: &TimeZone) -> io::Result<()> {
    let faults = house.faults();
    for Fault { at, udn, what } in faults.iter().take(FAULTS_SHOWN_MAX) {
        let at = Timestamp::from_second(*at).map(|at| zone.to_datetime(at).to_string()).unwrap_or_default();
        writeln!(
            out,
            "not as it should be: {at} {} {what}",
            clean(udn.as_ref().map_or("the home", |udn| house.name_of(udn)))
        )?;
    }
    let more = faults.len().saturating_sub(FAULTS_SHOWN_MAX);
    if more > 0 { writeln!(out, "not as it should be: {more} more") } else { Ok(()) }
}

/// The prices of a day and up to `until`.
fn known(prices: &[PriceSpan], start: i64, day: i64, until: i64) -> Vec<PriceSpan> {
    repeated(prices, start, until).into_iter().filter(|p| p.span.end > day).collect()
}

fn spans(series: &PriceSeries) -> Vec<PriceSpan> {
    let second = |at: utility_wire::UnixTime| i64::try_from(at.seconds()).unwrap_or(i64::MAX);
    let (start, end, slot) = (second(series.start()), second(series.end()), i64::from(series.slot_s().max(1)));
    let price = |at: i64| {
        let milli = series.at(utility_wire::UnixTime::new(u64::try_from(at).ok()?))?;
        let span = Span { start: at, end: (at + slot).min(end) };
        Some(PriceSpan { span, price: tariff::Price::of(milli, series.per()).count() })
    };
    (0..).map(|n| start + n * slot).take_while(|at| *at < end).filter_map(price).collect()
}
