//! `heg-gateway simulate`: what the planner would have made of a home's loads under given prices, for people.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use daemon_kit::exit::Exit;
use daemon_kit::{clock, state_dir};
use jiff::Timestamp;
use tariff::price_file::{self, Expected};
use utility_wire::PriceSeries;

use super::{Figures, House, REACTION_S, repeated};
use crate::config::Config;
use crate::plan::Span;
use crate::plan::slots::PriceSpan;
use crate::rules::units;

/// Days that can be simulated: some years.
pub const DAYS_MAX: u32 = 1500;

/// Runs the home of `config` for `days` under the prices of `files`, one after the other and then again from the first.
///
/// # Errors
/// A price file that is not taken, with its line; no load; no prices.
pub fn run(config: &Config, files: &[PathBuf], days: u32) -> anyhow::Result<Exit> {
    let zone = config.tariff.zone.clone().unwrap_or_else(clock::zone);
    let expected = Expected {
        zone: config.tariff.price_zone.clone(),
        time_zone: zone.clone(),
        money: config.tariff.currency.map(|currency| (currency, config.tariff.per)),
        whole_days: config.tariff.whole_days,
    };
    let mut series = Vec::with_capacity(files.len());
    for file in files {
        let bytes = state_dir::read_bounded(file, tariff::limits::PRICE_FILE_BYTES_MAX as u64)?;
        let bytes = bytes.with_context(|| format!("{} is not there", file.display())).context(Exit::NoInput)?;
        let text = String::from_utf8_lossy(&bytes);
        let read = price_file::read(&text, &expected).with_context(|| file.display().to_string());
        series.push(read.context(Exit::DataErr)?);
    }
    let Some(first) = series.first() else { bail!(anyhow::anyhow!("--prices names no file").context(Exit::Usage)) };
    let currency = first.currency().to_string();
    let prices: Vec<PriceSpan> = series.iter().flat_map(spans).collect();
    let start = prices.first().map_or(0, |p| p.span.start);
    let end = start + i64::from(days) * 86_400;
    let moment = |at: i64| Timestamp::from_second(at).context(Exit::DataErr);
    let mut house = House::new(config, zone, moment(start)?).context(Exit::Config)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{:<12}{:>10}{:>12}{:>12}{:>12}", "DAY", "kWh", "COST", "AT ONCE", "SAVED")?;
    for day in (start..end).step_by(86_400) {
        // Tomorrow's prices are known from noon on; the planner gets them with the day's own, as most of it lies ahead.
        house.prices(repeated_from(&prices, start, day), &currency);
        house.run_to(moment(day + 86_400)?, |_, _| {});
    }
    for (day, sums) in house.planner().days() {
        let (cost, at_once, saved) = (units(sums.cost), units(sums.at_once), units(sums.saved()));
        writeln!(out, "{day:<12}{:>10.2}{cost:>12.2}{at_once:>12.2}{saved:>12.2}", sums.energy_ws as f64 / 3.6e6)?;
    }
    let figures = house.figures();
    let (cost, at_once, saved) = (units(figures.sums.cost), units(figures.sums.at_once), units(figures.sums.saved()));
    let kwh = figures.sums.energy_ws as f64 / 3.6e6;
    writeln!(out, "{:<12}{kwh:>10.2}{cost:>12.2}{at_once:>12.2}{saved:>12.2}  {currency}", "all")?;
    told(&mut out, &house.figures())?;
    Ok(Exit::Ok)
}

/// What was switched, and what is not as it should be.
fn told(out: &mut impl io::Write, figures: &Figures) -> io::Result<()> {
    let Figures { switched, switched_most, switched_back, dropped, entries, findings, .. } = figures;
    writeln!(
        out,
        "{switched} switchings, at most {switched_most} of one appliance in a day, {switched_back} of them back within five minutes; \
         {entries} journal entries"
    )?;
    writeln!(
        out,
        "{} works asked for: {} not done in time, {} more under a limit; {dropped} times one was given up in part or whole",
        findings.works, findings.undone, findings.undone_limited
    )?;
    writeln!(
        out,
        "comfort: {} switched off against keep-on, off for {} s in windows of `only`",
        findings.comfort_broken, findings.missed_s
    )?;
    writeln!(
        out,
        "limit and fuse: exceeded for {} s longer than {REACTION_S} s at a time, and for {} s by what may not be switched off or was just being",
        findings.over_limit_s, findings.over_excused_s
    )
}

/// The prices from `day` on for two days.
fn repeated_from(prices: &[PriceSpan], start: i64, day: i64) -> Vec<PriceSpan> {
    let until = day + 2 * 86_400;
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
