//! A year of prices by the hour: real ones from a file, or, where there is none, days of `bench/data` one after the other.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

const HOUR: i64 = 3600;
const DATA: &str = include_str!("../../../data/prices.csv");
/// What a home pays on top of the market's price, per MWh.
const FEES: f64 = 150.0;
/// Crowns to a euro in the autumn of 2024, to have the days of `bench/data` in one currency.
const SEK: f64 = 11.5;

/// Prices of the market, euros per MWh.
#[derive(Clone, Debug)]
pub struct Prices {
    by_hour: BTreeMap<i64, f64>,
    /// For people.
    pub name: String,
}

impl Prices {
    /// From a file of lines `start_utc,eur_per_mwh`, an hour each.
    ///
    /// # Errors
    /// A line that is something else, or a gap.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let mut by_hour = BTreeMap::new();
        for (number, line) in text.lines().enumerate().skip(1) {
            let (start, price) = line.split_once(',').with_context(|| format!("line {}", number + 1))?;
            let start: Timestamp = start.parse().with_context(|| format!("line {}", number + 1))?;
            by_hour.insert(start.as_second(), price.trim().parse().with_context(|| format!("line {}", number + 1))?);
        }
        let hours: Vec<i64> = by_hour.keys().copied().collect();
        ensure!(hours.len() > 24, "{}: less than two days", path.display());
        ensure!(hours.windows(2).all(|pair| pair[1] - pair[0] == HOUR), "{}: a gap", path.display());
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { by_hour, name })
    }

    /// The four days of `bench/data`, in turn, from a date on for so many days, each hour by the zone's clock.
    ///
    /// # Errors
    /// The data are not what they were.
    pub fn built(zone: &TimeZone, first: Date, days: i64) -> Result<Self> {
        let mut real = Vec::new();
        for (series, rate) in [("SE3-2024-11", SEK), ("SE3-2025-10", SEK), ("NL-2024-11", 1.0)] {
            let mut hours = Vec::new();
            for line in DATA.lines().skip(1).filter(|line| line.starts_with(series)) {
                let fields: Vec<&str> = line.split(',').collect();
                let [_, start, _, price] = fields[..] else { anyhow::bail!("bad line {line}") };
                let price: f64 = price.parse()?;
                // Of quarter hours the first is taken.
                if start.parse::<i64>()? % HOUR == 0 {
                    hours.push(price / rate);
                }
            }
            real.extend(hours.chunks_exact(24).map(<[f64]>::to_vec));
        }
        ensure!(!real.is_empty(), "no whole day in bench/data");
        let start = first.to_zoned(zone.clone())?.timestamp().as_second();
        let end = first.checked_add(days.days())?.to_zoned(zone.clone())?.timestamp().as_second();
        let mut by_hour = BTreeMap::new();
        for at in (start..end).step_by(HOUR as usize) {
            let local = zone.to_datetime(Timestamp::from_second(at)?);
            let day = usize::try_from(i64::from(first.until(local.date())?.get_days()))?;
            by_hour.insert(at, real[day % real.len()][usize::try_from(local.hour())?]);
        }
        let name = format!("built of {} real days, in turn", real.len());
        Ok(Self { by_hour, name })
    }

    /// The first instant there is a price for, and the first there is none for.
    pub fn span(&self) -> (i64, i64) {
        let first = self.by_hour.keys().next().copied().unwrap_or(0);
        (first, self.by_hour.keys().next_back().map_or(0, |last| last + HOUR))
    }

    /// A day as it is published, fees included: a price file.
    ///
    /// # Errors
    /// A date beyond the calendar.
    pub fn day(&self, date: Date, zone: &TimeZone) -> Result<String> {
        let midnight = |date: Date| anyhow::Ok(date.to_zoned(zone.clone())?.timestamp().as_second());
        let (start, end) = (midnight(date)?, midnight(date.tomorrow()?)?);
        let mut text = "start_utc,eur_per_mwh\n".to_owned();
        for (at, price) in self.by_hour.range(start..end) {
            text += &format!("{},{:.2}\n", Timestamp::from_second(*at)?, price + FEES);
        }
        Ok(text)
    }
}
