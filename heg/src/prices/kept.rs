//! The prices of a file or feed as they are kept on the disk: JSON that people can read, checked when it is read again.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use tariff::limits::SERIES_PER_SOURCE_MAX;
use tariff::unit;
use utility_wire::{Per, PriceSeries, UnixTime};

/// What is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// Which file or feed, and what was read into it.
    pub(super) of: String,
    /// When it was last confirmed, as far as was written down.
    pub(super) confirmed: UnixTime,
    /// The newest first.
    pub(super) series: Vec<PriceSeries>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    of: String,
    confirmed: u64,
    series: Vec<Series>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Series {
    price_zone: String,
    currency: String,
    per: String,
    start: u64,
    slot_s: u32,
    prices_milli: Vec<i64>,
}

pub(super) fn write(kept: &Kept) -> Vec<u8> {
    let series = |s: &PriceSeries| Series {
        price_zone: s.zone().to_string(),
        currency: s.currency().to_string(),
        per: match s.per() {
            Per::KilowattHour => "kWh",
            Per::MegawattHour => "MWh",
        }
        .to_owned(),
        start: s.start().seconds(),
        slot_s: s.slot_s(),
        prices_milli: s.prices_milli().to_vec(),
    };
    let file = File {
        of: kept.of.clone(),
        confirmed: kept.confirmed.seconds(),
        series: kept.series.iter().map(series).collect(),
    };
    // Strings, numbers and lists: nothing in it can fail to be written.
    serde_json::to_vec(&file).unwrap_or_default()
}

pub(super) fn read(bytes: &[u8]) -> Result<Kept, String> {
    let file: File = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if file.series.len() > SERIES_PER_SOURCE_MAX {
        return Err(format!("there are more than {SERIES_PER_SOURCE_MAX} series"));
    }
    let series = |s: Series| {
        let zone = s.price_zone.parse().map_err(|e| format!("price-zone: {e}"))?;
        let currency = s.currency.parse().map_err(|e| format!("currency: {e}"))?;
        let per = unit(&s.per).ok_or("per: expected kWh or MWh")?;
        PriceSeries::new(zone, 0, (currency, per), UnixTime::new(s.start), s.slot_s, s.prices_milli)
            .map_err(|e| e.to_string())
    };
    Ok(Kept {
        of: file.of,
        confirmed: UnixTime::new(file.confirmed),
        series: file.series.into_iter().map(series).collect::<Result<_, String>>()?,
    })
}
