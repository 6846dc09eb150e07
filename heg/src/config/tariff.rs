//! `[tariff]`: where prices come from without a utility, and what a time-of-use table says.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use daemon_kit::clock::zone_named;
use energy_model::{DailyWindow, TimeOfDay};
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use tariff::limits::{BILLING_SLOT_S_MAX, HOLIDAYS_MAX, PERIODS_MAX};
use tariff::price_file::Expected;
use tariff::time_of_use::{Days, Holidays, Months, Period};
use tariff::{Price, Source, Table, Terms, unit};
use utility_wire::{CurrencyCode, Per, ZoneId};

use crate::limits::{FEED_EVERY, PRICE_FILE_EVERY};
use crate::prices::{Settings, Watched};
use crate::rules::window::Clock;

/// `[tariff]`, checked.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Keys")]
pub struct Tariff {
    /// By whose clock; the machine's where none is named.
    pub zone: Option<TimeZone>,
    /// The price zone a file has to be for, where it names one.
    pub price_zone: ZoneId,
    /// The currency of all prices.
    pub currency: Option<CurrencyCode>,
    /// The energy a price is for, in this section and in files that do not say.
    pub per: Per,
    /// What is looked at, and how often.
    pub watch: Option<(Place, Duration)>,
    /// Whether a file or feed has to cover whole days.
    pub whole_days: bool,
    /// When tomorrow's prices are known.
    pub expected_by: Option<TimeOfDay>,
    /// A file or feed not confirmed for so long is stale, s.
    pub stale_after_s: u64,
    /// Prices are billed by slots of so many seconds.
    pub billing_slot_s: Option<u32>,
    /// Price for all other times.
    pub otherwise: Option<Price>,
    /// The time-of-use table.
    pub periods: Vec<Period>,
    /// Its holidays.
    pub holidays: Holidays,
}

/// Where prices are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// A server.
    Url(FeedUrl),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// `http://HOST[:PORT]/PATH[?QUERY]`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct FeedUrl {
    /// Name or address, with its port where it has one.
    pub host: String,
    /// Path and query.
    pub path: String,
}

/// A text that is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a URL as http://192.0.2.1:8080/prices.json; for https put a proxy in between, see heg-gateway.toml(5)"
)]
pub struct FeedUrlError;

impl TryFrom<String> for FeedUrl {
    type Error = FeedUrlError;
    fn try_from(text: String) -> Result<Self, FeedUrlError> {
        let uri: http::Uri = text.parse().map_err(|_| FeedUrlError)?;
        let host = uri.authority().filter(|a| !a.host().is_empty() && !a.as_str().contains('@'));
        match (uri.scheme_str(), host) {
            (Some("http"), Some(host)) => {
                let path = uri.path_and_query().map_or("/", |path| path.as_str());
                Ok(Self { host: host.to_string(), path: path.to_owned() })
            }
            _ => Err(FeedUrlError),
        }
    }
}

impl fmt::Display for FeedUrl {
    /// Without the query, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.host, self.path.split('?').next().unwrap_or_default())
    }
}

impl fmt::Debug for FeedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The section as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Keys {
    zone: Option<String>,
    price_zone: String,
    currency: Option<String>,
    per: String,
    file: Option<PathBuf>,
    url: Option<FeedUrl>,
    every_s: Option<u32>,
    whole_days: bool,
    expected_by: Option<Clock>,
    stale_after_h: u32,
    billing_slot_min: Option<u32>,
    price: Option<Number>,
    holidays: Vec<String>,
    period: Vec<PeriodKeys>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            zone: None,
            price_zone: "home".to_owned(),
            currency: None,
            per: "kWh".to_owned(),
            file: None,
            url: None,
            every_s: None,
            whole_days: true,
            expected_by: None,
            stale_after_h: 36,
            billing_slot_min: None,
            price: None,
            holidays: Vec::new(),
            period: Vec::new(),
        }
    }
}

/// `[[tariff.period]]`
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PeriodKeys {
    #[serde(default)]
    days: Vec<String>,
    #[serde(default)]
    months: Vec<String>,
    from: Option<Clock>,
    to: Option<Clock>,
    price: Number,
}

impl Default for Tariff {
    fn default() -> Self {
        Self {
            zone: None,
            price_zone: no_zone(),
            currency: None,
            per: Per::KilowattHour,
            watch: None,
            whole_days: true,
            expected_by: None,
            stale_after_s: 36 * 3600,
            billing_slot_s: None,
            otherwise: None,
            periods: Vec::new(),
            holidays: Holidays::default(),
        }
    }
}

fn no_zone() -> ZoneId {
    "home".parse().expect("four letters")
}

impl TryFrom<Keys> for Tariff {
    type Error = String;
    fn try_from(keys: Keys) -> Result<Self, String> {
        let said = |key: &str, error: &dyn fmt::Display| format!("{key}: {error}");
        let per = unit(&keys.per).ok_or("per: expected kWh or MWh")?;
        let watch = match (keys.file, keys.url) {
            (Some(_), Some(_)) => return Err("url: file is given too".to_owned()),
            (Some(path), None) => Some((Place::File(path), PRICE_FILE_EVERY)),
            (None, Some(url)) => Some((Place::Url(url), FEED_EVERY)),
            (None, None) => None,
        };
        if keys.every_s.is_some_and(|s| !(1..=86_400).contains(&s)) {
            return Err("every-s: expected 1 to 86400".to_owned());
        }
        if !(1..=24 * 31).contains(&keys.stale_after_h) {
            return Err("stale-after-h: expected 1 to 744".to_owned());
        }
        let day_min = BILLING_SLOT_S_MAX / 60;
        if keys.billing_slot_min.is_some_and(|m| m == 0 || m > day_min || !day_min.is_multiple_of(m)) {
            return Err(format!("billing-slot-min: expected a divisor of {day_min}, as 15, 30 or 60"));
        }
        if (keys.price.is_some() || !keys.period.is_empty()) && keys.currency.is_none() {
            return Err("currency: a price has to say it, as \"SEK\"".to_owned());
        }
        if keys.period.len() > PERIODS_MAX {
            return Err(format!("period: expected at most {PERIODS_MAX}"));
        }
        if keys.holidays.len() > HOLIDAYS_MAX {
            return Err(format!("holidays: expected at most {HOLIDAYS_MAX}"));
        }
        let mut holidays = Holidays::default();
        for day in &keys.holidays {
            holidays.add(day).map_err(|e| format!("holidays: {day:?}: {e}"))?;
        }
        let period = |(i, period): (usize, PeriodKeys)| period.read(per).map_err(|e| format!("period {}: {e}", i + 1));
        Ok(Self {
            zone: keys.zone.map(|name| zone_named(&name)).transpose().map_err(|e| said("zone", &e))?,
            price_zone: keys.price_zone.parse().map_err(|e| said("price-zone", &e))?,
            currency: keys.currency.map(|c| c.parse()).transpose().map_err(|e| said("currency", &e))?,
            per,
            watch: watch.map(|(place, every)| (place, keys.every_s.map_or(every, |s| Duration::from_secs(s.into())))),
            whole_days: keys.whole_days,
            expected_by: keys.expected_by.map(|by| by.0),
            stale_after_s: u64::from(keys.stale_after_h) * 3600,
            billing_slot_s: keys.billing_slot_min.map(|m| m * 60),
            otherwise: keys.price.map(|price| price.read(per)).transpose().map_err(|e| said("price", &e))?,
            periods: keys.period.into_iter().enumerate().map(period).collect::<Result<_, String>>()?,
            holidays,
        })
    }
}

impl PeriodKeys {
    fn read(self, per: Per) -> Result<Period, String> {
        let days = self.days.iter().map(|d| d.parse().map_err(|e| format!("days: {d:?}: {e}")));
        let days = days.collect::<Result<Vec<Days>, String>>()?.into_iter().reduce(Days::and);
        let months = self.months.iter().map(|m| m.parse().map_err(|e| format!("months: {m:?}: {e}")));
        let months = months.collect::<Result<Vec<Months>, String>>()?.into_iter().reduce(Months::and);
        let bound = |time: Option<Clock>| time.map_or(TimeOfDay::MIDNIGHT, |t| t.0);
        let (from, to) = (bound(self.from), bound(self.to));
        let window = match DailyWindow::new(from, to) {
            Ok(window) => Some(window),
            // From the day's start to its end.
            Err(_) if from == TimeOfDay::MIDNIGHT => None,
            Err(_) => return Err("from and to are the same".to_owned()),
        };
        Ok(Period {
            days: days.unwrap_or(Days::ALL),
            months: months.unwrap_or(Months::ALL),
            window,
            price: self.price.read(per).map_err(|e| format!("price: {e}"))?,
        })
    }
}

impl Tariff {
    /// What the pure part is told; `system` is the machine's own zone.
    pub fn settings(&self, system: TimeZone) -> Settings {
        let zone = self.zone.clone().unwrap_or(system);
        let used = self.otherwise.is_some() || !self.periods.is_empty();
        let table = used.then(|| Table {
            zone: zone.clone(),
            otherwise: self.otherwise,
            periods: self.periods.clone(),
            holidays: self.holidays.clone(),
        });
        let watched = self.watch.as_ref().map(|(place, _)| Watched {
            source: match place {
                Place::File(_) => Source::File,
                Place::Url(_) => Source::Feed,
            },
            name: place.to_string(),
            expected: Expected {
                zone: self.price_zone.clone(),
                time_zone: zone.clone(),
                currency: self.currency,
                per: Some(self.per),
                whole_days: self.whole_days,
            },
        });
        let terms = Terms {
            zone,
            table,
            billing_slot_s: self.billing_slot_s,
            expected_by: self.expected_by,
            stale_after_s: Some(self.stale_after_s),
        };
        Settings { terms, currency: self.currency, watched }
    }
}

/// A number as it is written, so that no digit is lost: `0.31`, `-2`, or as a string.
struct Number(String);

impl Number {
    fn read(&self, per: Per) -> Result<Price, String> {
        let price = Price::parse(&self.0, per).map_err(|e| format!("{:?}: {e}", self.0))?;
        if price.is_sensible() { Ok(price) } else { Err(format!("{:?}: it is too large", self.0)) }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a price, as 0.31")
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Number, E> {
                Ok(Number(v.to_string()))
            }
            // The shortest decimal number that reads back as this one is the one that was written, up to 15 digits.
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Number, E> {
                Ok(Number(v.to_string()))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Number, E> {
                Ok(Number(v.to_owned()))
            }
        }
        d.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn load(text: &str) -> Result<Tariff, String> {
        let path = std::path::Path::new("heg.toml");
        daemon_kit::config::parse::<Config>(text, path).map(|c| c.tariff).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_section_is_the_default_and_has_no_prices() {
        assert_eq!(load("").unwrap(), Tariff::default());
        assert_eq!(load("[tariff]\n").unwrap(), Tariff::default());
        let settings = Tariff::default().settings(TimeZone::UTC);
        assert!(settings.watched.is_none() && settings.terms.table.is_none());
    }

    #[test]
    fn a_table_is_read_to_the_last_digit_with_the_first_period_first() {
        let text = "[tariff]\nzone = 'CET-1CEST,M3.5.0,M10.5.0/3'\ncurrency = 'SEK'\nprice = -0.000001\nholidays = ['12-25']\n\
            [[tariff.period]]\ndays = ['workdays']\nmonths = ['nov', 'dec']\nfrom = '06:00'\nto = '22:00:00'\nprice = 0.31\n\
            [[tariff.period]]\nprice = '2'\nto = '24:00'\n[[tariff.period]]\nfrom = '22:00'\nprice = 1";
        let tariff = load(text).unwrap();
        let count = |p: &Period| p.price.count();
        assert_eq!(tariff.periods.iter().map(count).collect::<Vec<_>>(), [310_000, 2_000_000, 1_000_000]);
        assert_eq!(tariff.otherwise, Some(Price::micro_per_kwh(-1)));
        let windows: Vec<_> = tariff.periods.iter().map(|p| p.window.map(|w| w.to_string())).collect();
        assert_eq!(windows, [Some("06:00:00-22:00:00".into()), None, Some("22:00:00-00:00:00".into())]);
        let settings = tariff.settings(TimeZone::UTC);
        // 1 December 2026 is a Tuesday; 06:00 in winter is 05:00 UTC.
        let at = |text: &str| tariff::unix(text.parse().unwrap());
        let table = settings.terms.table.unwrap();
        let price = |text| table.at(at(text)).map(Price::count);
        assert_eq!((price("2026-12-01T05:00:00Z"), price("2026-12-01T04:59:59Z")), (Some(310_000), Some(2_000_000)));
        assert_eq!(price("2026-12-25T12:00:00Z"), Some(2_000_000));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, want) in [
            ("zone = 'Mars'", "zone: \"Mars\" is no time zone known here"),
            ("price-zone = 'a b'", "price-zone: expected 1 to 64"),
            ("currency = 'kr'", "currency: expected a currency of three capital letters"),
            ("per = 'Wh'", "per: expected kWh or MWh"),
            ("file = 'a'\nurl = 'http://b/'", "url: file is given too"),
            ("url = 'https://b/'", "for https put a proxy in between"),
            ("url = 'http://me@b/'", "expected a URL as http://"),
            ("every-s = 0", "every-s: expected 1 to 86400"),
            ("expected-by = '2pm'", "\"2pm\" is no time of day"),
            ("stale-after-h = 0", "stale-after-h: expected 1 to 744"),
            ("billing-slot-min = 7", "billing-slot-min: expected a divisor of 1440"),
            ("price = 1", "currency: a price has to say it"),
            ("currency = 'SEK'\nprice = 0.1234567", "price: \"0.1234567\": it has more decimals than can be kept"),
            ("currency = 'SEK'\nprice = 1001", "it is too large"),
            ("currency = 'SEK'\nprice = nan", "price: \"NaN\": expected a decimal number"),
            ("holidays = ['xmas']", "holidays: \"xmas\": expected a date"),
            (
                "currency = 'SEK'\n[[tariff.period]]\nprice = 1\ndays = ['monday']",
                "period 1: days: \"monday\": expected mon",
            ),
            (
                "currency = 'SEK'\n[[tariff.period]]\nprice = 1\nmonths = ['may', 'x']",
                "period 1: months: \"x\": expected jan",
            ),
            (
                "currency = 'SEK'\n[[tariff.period]]\nprice = 1\nfrom = '06:00'\nto = '06:00'",
                "from and to are the same",
            ),
            ("[[tariff.period]]\nfrom = '06:00'", "missing field `price`"),
            ("[[tariff.period]]\nprice = 1\nday = ['mon']", "unknown key, did you mean `days`"),
        ] {
            let error = load(&format!("[tariff]\n{text}")).unwrap_err();
            assert!(error.starts_with("heg.toml:") && error.contains(want), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_query_of_a_feed_is_asked_for_and_not_shown() {
        let tariff = load("[tariff]\nurl = 'http://localhost:8080/day?token=secret'\nevery-s = 60").unwrap();
        let Some((Place::Url(url), every)) = &tariff.watch else { panic!() };
        assert_eq!(
            (url.host.as_str(), url.path.as_str(), every.as_secs()),
            ("localhost:8080", "/day?token=secret", 60)
        );
        assert_eq!(tariff.settings(TimeZone::UTC).watched.unwrap().name, "http://localhost:8080/day");
        assert!(!format!("{tariff:?}").contains("secret"));
    }
}
