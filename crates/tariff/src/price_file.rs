//! Day-ahead prices from a file, CSV or JSON: read exactly, refused with the line where something is wrong.
//!
//! A file is a table of slots: their start, perhaps their end, and a price. Times name their offset from UTC; a file whose times could mean
//! two instants is refused, not guessed. Slots follow each other without gap or overlap and have one length; unless told otherwise a
//! file covers whole days of the zone, which have 23, 24 or 25 hours.
#![forbid(unsafe_code)]

use jiff::civil::Time;
use jiff::fmt::temporal::{DateTimeParser, Pieces, PiecesOffset};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use serde_json::value::RawValue;
use utility_wire::{CurrencyCode, Per, PriceError, PriceSeries, UnixTime, ZoneId};

use crate::limits::{PRICE_FILE_BYTES_MAX, PRICE_ROWS_MAX};
use crate::price::{NotAPrice, Price, unit};

/// What is known of a file beside its content.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The price zone it is for.
    pub zone: ZoneId,
    /// The zone's clock: days begin by it.
    pub time_zone: TimeZone,
    /// The currency, for a file that does not say.
    pub currency: Option<CurrencyCode>,
    /// The energy that prices are for, for a file that does not say.
    pub per: Option<Per>,
    /// Whether it has to cover whole days.
    pub whole_days: bool,
}

/// A file that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {wrong}")]
pub struct TariffError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub wrong: Wrong,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// Larger than any publication.
    #[error("the file has more than {PRICE_FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// More slots than a publication has.
    #[error("there are more than {PRICE_ROWS_MAX} prices")]
    TooMany,
    /// No slot at all.
    #[error("there is no price in the file")]
    Empty,
    /// Not of the form it should have.
    #[error("{0}")]
    Form(String),
    /// No time, or none that can be read.
    #[error("{0:?} is no time; expected one as 2026-11-22T17:15:00+01:00")]
    Time(String),
    /// A time without an offset could be two instants, or none, when clocks change.
    #[error("{0:?} does not say its offset from UTC, as 2026-11-22T17:15:00+01:00 or ...Z")]
    NoOffset(String),
    /// An offset that the zone does not have then.
    #[error("wrong time zone: {time} has the offset {found}, the zone then has {expected}")]
    Offset {
        /// The time as written.
        time: String,
        /// Its offset.
        found: String,
        /// The zone's.
        expected: String,
    },
    /// Days of another zone.
    #[error("wrong time zone: prices {what} at {found} by the zone's clock, expected midnight")]
    NotMidnight {
        /// "begin" or "end".
        what: &'static str,
        /// When, by the zone's clock.
        found: String,
    },
    /// Nothing for a while.
    #[error("there is a gap: no price from {from} to {to}")]
    Gap {
        /// Where prices end.
        from: Timestamp,
        /// Where they go on.
        to: Timestamp,
    },
    /// Two prices for a while.
    #[error("it overlaps the slot before, which ends at {until}")]
    Overlap {
        /// Where that ends.
        until: Timestamp,
    },
    /// A slot that begins before the one above it.
    #[error("wrong order: {start} is not after {before}")]
    Order {
        /// Its start.
        start: Timestamp,
        /// That one's start.
        before: Timestamp,
    },
    /// A slot of another length.
    #[error("the slot lasts {found} s, the others {expected} s")]
    Length {
        /// Its length.
        found: i64,
        /// Theirs.
        expected: i64,
    },
    /// A slot that ends where it begins, or before.
    #[error("the slot ends before it begins")]
    Turned,
    /// No price that can be read or kept.
    #[error("{0:?} is no price: {1}")]
    Price(String, NotAPrice),
    /// Made for another zone.
    #[error("the file is for zone {found}, not {expected}")]
    Zone {
        /// Its zone.
        found: String,
        /// The one wanted.
        expected: ZoneId,
    },
    /// Right line by line, and no series.
    #[error(transparent)]
    Series(#[from] PriceError),
}

impl Wrong {
    fn at(self, line: usize) -> TariffError {
        TariffError { line, wrong: self }
    }
}

/// Reads a price file; one that begins with `{` or `[` is JSON, anything else CSV. The series has version 0.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn read(text: &str, expected: &Expected) -> Result<PriceSeries, TariffError> {
    if text.len() > PRICE_FILE_BYTES_MAX {
        return Err(Wrong::TooLarge.at(1));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[']) { json(text, expected) } else { csv(text, expected) }
}

/// A slot as written.
struct Slot {
    line: usize,
    start: Timestamp,
    end: Option<Timestamp>,
    /// Thousandths of the currency per megawatt-hour.
    milli: i64,
}

/// A CSV file: a head with the names of its columns, then a slot a line. `#` begins a comment.
fn csv(text: &str, expected: &Expected) -> Result<PriceSeries, TariffError> {
    let mut lines = (1..).zip(text.lines()).filter(|(_, l)| !l.trim().is_empty() && !l.trim_start().starts_with('#'));
    let (line, head) = lines.next().ok_or(Wrong::Empty.at(1))?;
    let columns = Columns::of(head, expected).map_err(|wrong| wrong.at(line))?;
    let mut slots = Vec::new();
    for (line, text) in lines {
        if slots.len() >= PRICE_ROWS_MAX {
            return Err(Wrong::TooMany.at(line));
        }
        slots.push(columns.slot(line, text, expected).map_err(|wrong| wrong.at(line))?);
    }
    series(slots, columns.currency, line, expected)
}

/// Where things stand in a line of CSV.
struct Columns {
    separator: char,
    count: usize,
    start: usize,
    end: Option<usize>,
    price: usize,
    utc: bool,
    currency: CurrencyCode,
    per: Per,
}

impl Columns {
    /// Names: `start` or `start_utc`, optional `end` or `end_utc`, and `price` or `CURRENCY_per_mwh` or `..._kwh`. Others are passed over.
    fn of(head: &str, expected: &Expected) -> Result<Self, Wrong> {
        let separator = if head.contains(';') { ';' } else { ',' };
        let names: Vec<String> = head.split(separator).map(|n| unquoted(n).to_ascii_lowercase()).collect();
        let place = |wanted: &[&str]| names.iter().position(|n| wanted.contains(&n.as_str()));
        let missing = |what: &str| Wrong::Form(format!("the head has no column {what}"));
        let start = place(&["start", "start_utc"]).ok_or_else(|| missing("start or start_utc"))?;
        let named = names.iter().enumerate().find_map(|(i, name)| Some((i, money(name)?)));
        let said = expected.currency.zip(expected.per);
        let (price, (currency, per)) = match (named, place(&["price"]), said) {
            (Some(named), ..) => named,
            (None, Some(price), Some(said)) => (price, said),
            (None, Some(_), None) => {
                let wrong = "the column price does not say its currency and unit; name it as sek_per_mwh, or give them";
                return Err(Wrong::Form(wrong.to_owned()));
            }
            (None, None, _) => return Err(missing("for the price, as sek_per_mwh")),
        };
        Ok(Self {
            separator,
            count: names.len(),
            start,
            end: place(&["end", "end_utc"]),
            price,
            utc: names[start].ends_with("_utc"),
            currency,
            per,
        })
    }

    fn slot(&self, line: usize, text: &str, expected: &Expected) -> Result<Slot, Wrong> {
        let fields: Vec<&str> = text.split(self.separator).map(unquoted).collect();
        if fields.len() != self.count {
            let wrong = format!("there are {} columns, the head has {}", fields.len(), self.count);
            return Err(Wrong::Form(wrong));
        }
        let zone = if self.utc { &TimeZone::UTC } else { &expected.time_zone };
        let price = fields[self.price];
        // Where columns are parted by semicolons, a comma is a decimal one.
        let price = if self.separator == ';' { price.replace(',', ".") } else { price.to_owned() };
        Ok(Slot {
            line,
            start: instant(fields[self.start], zone)?,
            end: self.end.map(|end| instant(fields[end], zone)).transpose()?,
            milli: milli(&price, self.per)?,
        })
    }
}

fn unquoted(field: &str) -> &str {
    let field = field.trim();
    field.strip_prefix('"').and_then(|f| f.strip_suffix('"')).unwrap_or(field)
}

/// `sek_per_mwh` as currency and unit.
fn money(name: &str) -> Option<(CurrencyCode, Per)> {
    let (currency, per) = name.split_once("_per_")?;
    Some((currency.to_ascii_uppercase().parse().ok()?, unit(per)?))
}

/// A JSON file: `{"zone": .., "currency": .., "per": "MWh", "slots": [..]}` or only the slots, each `{"start": .., "end": .., "price": ..}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonFile<'a> {
    zone: Option<String>,
    currency: Option<String>,
    per: Option<String>,
    #[serde(borrow)]
    slots: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSlot<'a> {
    start: String,
    end: Option<String>,
    #[serde(borrow)]
    price: &'a RawValue,
}

fn json(text: &str, expected: &Expected) -> Result<PriceSeries, TariffError> {
    // A text that breaks off after a line's end breaks off on that line, not on one that is not there.
    let lines = text.lines().count().max(1);
    let wrong = |error: &serde_json::Error| Wrong::Form(reason(error)).at(error.line().min(lines));
    let file = if text.trim_start().starts_with('[') {
        let slots = serde_json::from_str(text).map_err(|e| wrong(&e))?;
        JsonFile { zone: None, currency: None, per: None, slots }
    } else {
        serde_json::from_str(text).map_err(|e| wrong(&e))?
    };
    let (currency, per) = file.check(expected).map_err(|wrong| wrong.at(1))?;
    let mut slots = Vec::new();
    for raw in &file.slots {
        // Each value is a part of the text, so where it stands says its line.
        let offset = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let line = text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
        if slots.len() >= PRICE_ROWS_MAX {
            return Err(Wrong::TooMany.at(line));
        }
        let slot: JsonSlot<'_> =
            serde_json::from_str(raw.get()).map_err(|e| Wrong::Form(reason(&e)).at(line + e.line() - 1))?;
        let read = || {
            Ok(Slot {
                line,
                start: instant(&slot.start, &expected.time_zone)?,
                end: slot.end.as_deref().map(|end| instant(end, &expected.time_zone)).transpose()?,
                milli: milli(slot.price.get(), per)?,
            })
        };
        slots.push(read().map_err(|wrong: Wrong| wrong.at(line))?);
    }
    series(slots, currency, 1, expected)
}

impl JsonFile<'_> {
    fn check(&self, expected: &Expected) -> Result<(CurrencyCode, Per), Wrong> {
        if let Some(zone) = &self.zone
            && zone != expected.zone.as_str()
        {
            return Err(Wrong::Zone { found: zone.clone(), expected: expected.zone.clone() });
        }
        let currency = self
            .currency
            .as_ref()
            .map(|currency| currency.parse().map_err(|e| Wrong::Form(format!("currency {currency:?}: {e}"))));
        let per = self
            .per
            .as_ref()
            .map(|per| unit(per).ok_or_else(|| Wrong::Form(format!("per {per:?}: expected MWh or kWh"))));
        let missing = |what: &str| Wrong::Form(format!("{what} has to be given, in the file or beside it"));
        let currency = currency.transpose()?.or(expected.currency).ok_or_else(|| missing("currency"))?;
        let per = per.transpose()?.or(expected.per).ok_or_else(|| missing("per"))?;
        Ok((currency, per))
    }
}

/// What serde says, without the position that is told otherwise.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned()
}

/// An instant, written with the offset that `zone` has then, or as UTC.
fn instant(text: &str, zone: &TimeZone) -> Result<Timestamp, Wrong> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let not = || Wrong::Time(text.chars().take(40).collect());
    let pieces: Pieces<'_> = PARSER.parse_pieces(text).map_err(|_| not())?;
    let time = pieces.time().ok_or_else(not)?;
    let Some(offset) = pieces.offset() else { return Err(Wrong::NoOffset(text.to_owned())) };
    let (offset, zulu) = match offset {
        PiecesOffset::Zulu => (Offset::UTC, true),
        PiecesOffset::Numeric(numeric) => (numeric.offset(), false),
        _ => return Err(not()),
    };
    let at = offset.to_timestamp(pieces.date().to_datetime(time)).map_err(|_| not())?;
    let then = zone.to_offset(at);
    if offset != then && !zulu && !offset.is_zero() {
        let (found, expected) = (offset.to_string(), then.to_string());
        return Err(Wrong::Offset { time: text.to_owned(), found, expected });
    }
    Ok(at)
}

/// A decimal number as thousandths per megawatt-hour, exactly.
fn milli(text: &str, per: Per) -> Result<i64, Wrong> {
    let price = Price::parse(text, per).map_err(|why| Wrong::Price(text.chars().take(40).collect(), why))?;
    Ok(price.count())
}

/// Checks that slots follow each other, and makes a series of them.
fn series(
    slots: Vec<Slot>,
    currency: CurrencyCode,
    head: usize,
    expected: &Expected,
) -> Result<PriceSeries, TariffError> {
    let first = slots.first().ok_or(Wrong::Empty.at(head))?;
    let end_of_first = match (first.end, slots.get(1)) {
        (Some(end), _) => end,
        (None, Some(second)) => second.start,
        (None, None) => {
            return Err(Wrong::Form("a single slot has to say its end".to_owned()).at(first.line));
        }
    };
    if end_of_first <= first.start {
        let wrong = match first.end {
            Some(_) => Wrong::Turned.at(first.line),
            None => Wrong::Order { start: end_of_first, before: first.start }.at(slots[1].line),
        };
        return Err(wrong);
    }
    let length = end_of_first.as_second() - first.start.as_second();
    let mut until = end_of_first;
    for pair in slots.windows(2) {
        let (before, slot) = (&pair[0], &pair[1]);
        follows(before, slot, until, length).map_err(|wrong| wrong.at(slot.line))?;
        until = slot.end.unwrap_or(slot.start + length.seconds());
    }
    let last = slots.last().map_or(head, |slot| slot.line);
    if expected.whole_days {
        midnight("begin", first.start, expected).map_err(|wrong| wrong.at(first.line))?;
        midnight("end", until, expected).map_err(|wrong| wrong.at(last))?;
    }
    let start =
        u64::try_from(first.start.as_second()).map_err(|_| Wrong::Time(first.start.to_string()).at(first.line))?;
    let slot_s = u32::try_from(length).map_err(|_| Wrong::Series(PriceError::Slot).at(first.line))?;
    let prices = slots.iter().map(|slot| slot.milli).collect();
    let money = (currency, Per::MegawattHour);
    PriceSeries::new(expected.zone.clone(), 0, money, UnixTime::new(start), slot_s, prices)
        .map_err(|error| Wrong::Series(error).at(last))
}

fn follows(before: &Slot, slot: &Slot, until: Timestamp, length: i64) -> Result<(), Wrong> {
    if slot.start <= before.start {
        return Err(Wrong::Order { start: slot.start, before: before.start });
    }
    if slot.start > until {
        return Err(Wrong::Gap { from: until, to: slot.start });
    }
    if slot.start < until {
        return Err(Wrong::Overlap { until });
    }
    match slot.end {
        Some(end) if end <= slot.start => Err(Wrong::Turned),
        Some(end) if end.as_second() - slot.start.as_second() != length => {
            Err(Wrong::Length { found: end.as_second() - slot.start.as_second(), expected: length })
        }
        _ => Ok(()),
    }
}

fn midnight(what: &'static str, at: Timestamp, expected: &Expected) -> Result<(), Wrong> {
    let local = expected.time_zone.to_datetime(at);
    if local.time() == Time::midnight() {
        return Ok(());
    }
    Err(Wrong::NotMidnight { what, found: local.strftime("%Y-%m-%d %H:%M:%S").to_string() })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Sweden's clock, written out so that the test needs no zone files.
    fn sweden() -> Expected {
        let time_zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        Expected { zone: "SE3".parse().unwrap(), time_zone, currency: None, per: None, whole_days: true }
    }

    /// A day of `slots` slots from local midnight, times written in UTC.
    fn day(start: &str, slots: i64, minutes: i64) -> String {
        let start: Timestamp = start.parse().unwrap();
        let mut text = "start_utc,end_utc,sek_per_mwh\n".to_owned();
        for i in 0..slots {
            let at = start + (i * minutes).minutes();
            writeln!(text, "{at},{},{}.5", at + minutes.minutes(), i - 3).unwrap();
        }
        text
    }

    fn wrong(text: &str) -> String {
        read(text, &sweden()).unwrap_err().to_string()
    }

    #[test]
    fn a_day_of_quarters_halves_or_hours_is_read_with_its_negative_prices() {
        for (slots, minutes) in [(96, 15), (48, 30), (24, 60)] {
            let series = read(&day("2026-01-14T23:00:00Z", slots, minutes), &sweden()).unwrap();
            assert_eq!((series.prices_milli().len() as i64, i64::from(series.slot_s())), (slots, minutes * 60));
            assert_eq!(series.prices_milli()[..4], [-3500, -2500, -1500, 500]);
            assert_eq!((series.currency().as_str(), series.per()), ("SEK", Per::MegawattHour));
        }
    }

    #[test]
    fn days_of_23_and_25_hours_are_whole_and_their_neighbours_lengths_are_not() {
        // 29 March 2026 has 23 hours, 25 October 2026 has 25.
        let quarters = |start, n| read(&day(start, n, 15), &sweden()).map(|s| s.prices_milli().len());
        assert_eq!(quarters("2026-03-28T23:00:00Z", 92), Ok(92));
        assert_eq!(quarters("2026-10-24T22:00:00Z", 100), Ok(100));
        for (start, n, end) in [
            ("2026-03-28T23:00:00Z", 96, "2026-03-30 01:00:00"),
            ("2026-10-24T22:00:00Z", 96, "2026-10-25 23:00:00"),
            ("2026-01-14T23:00:00Z", 92, "2026-01-15 23:00:00"),
        ] {
            let error = quarters(start, n).unwrap_err();
            assert_eq!(error.line, n as usize + 1);
            assert_eq!(error.wrong, Wrong::NotMidnight { what: "end", found: end.to_owned() });
        }
    }

    #[test]
    fn a_file_by_another_zones_clock_is_refused_at_its_first_slot() {
        assert_eq!(
            wrong(&day("2026-01-15T00:00:00Z", 96, 15)),
            "line 2: wrong time zone: prices begin at 2026-01-15 01:00:00 by the zone's clock, expected midnight"
        );
        let part = Expected { whole_days: false, ..sweden() };
        assert!(read(&day("2026-01-15T00:00:00Z", 96, 15), &part).is_ok());
    }

    #[test]
    fn local_times_need_the_offset_that_the_zone_has_then() {
        let head = "start,eur_per_kwh\n";
        let hours = |rows: &str| Expected { whole_days: false, ..sweden() }.try_read(&format!("{head}{rows}"));
        // Through the change to winter time: 02:00 comes twice.
        let through =
            "2026-10-25T02:00:00+02:00,0.1\n2026-10-25T02:00:00+01:00,0.25\n2026-10-25T03:00:00+01:00,-0.01\n";
        assert_eq!(hours(through).unwrap().prices_milli(), [100_000, 250_000, -10_000]);
        assert_eq!(
            hours("2026-10-25T02:00:00+02:00,0\n2026-10-25T03:00:00+02:00,0\n").unwrap_err().to_string(),
            "line 3: wrong time zone: 2026-10-25T03:00:00+02:00 has the offset +02, the zone then has +01"
        );
        assert_eq!(
            hours("2026-10-25T02:00:00,0\n2026-10-25T03:00:00,0\n").unwrap_err().to_string(),
            "line 2: \"2026-10-25T02:00:00\" does not say its offset from UTC, as 2026-11-22T17:15:00+01:00 or ...Z"
        );
        let utc = format!("start_utc,eur_per_kwh\n{through}");
        assert!(wrong(&utc).starts_with("line 2: wrong time zone: 2026-10-25T02:00:00+02:00 has the offset +02"));
    }

    impl Expected {
        fn try_read(&self, text: &str) -> Result<PriceSeries, TariffError> {
            read(text, self)
        }
    }

    #[test]
    fn a_gap_an_overlap_a_wrong_order_or_length_is_named_with_its_line() {
        let sound = day("2026-01-14T23:00:00Z", 96, 15);
        let lines: Vec<String> = sound.lines().map(str::to_owned).collect();
        let with = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = lines.clone();
            change(&mut lines);
            wrong(&lines.join("\n"))
        };
        // Line 11 is the tenth slot.
        assert_eq!(
            with(&|l| _ = l.remove(10)),
            "line 11: there is a gap: no price from 2026-01-15T01:15:00Z to 2026-01-15T01:30:00Z"
        );
        assert_eq!(
            with(&|l| l.swap(10, 11)),
            "line 11: there is a gap: no price from 2026-01-15T01:15:00Z to 2026-01-15T01:30:00Z"
        );
        assert_eq!(
            with(&|l| l.insert(10, lines[10].clone())),
            "line 12: wrong order: 2026-01-15T01:15:00Z is not after 2026-01-15T01:15:00Z"
        );
        assert_eq!(
            with(&|l| l[10] = "2026-01-15T01:15:00Z,2026-01-15T01:29:59Z,1".to_owned()),
            "line 11: the slot lasts 899 s, the others 900 s"
        );
        assert_eq!(
            with(&|l| l[10] = "2026-01-15T01:10:00Z,2026-01-15T01:30:00Z,1".to_owned()),
            "line 11: it overlaps the slot before, which ends at 2026-01-15T01:15:00Z"
        );
        assert_eq!(
            with(&|l| l[10] = "2026-01-15T01:15:00Z,2026-01-15T01:00:00Z,1".to_owned()),
            "line 11: the slot ends before it begins"
        );
        // Without ends, the first two slots say the length; what follows must keep it.
        let starts = "start_utc,sek_per_mwh\n2026-01-14T23:00:00Z,1\n2026-01-14T23:15:00Z,1\n2026-01-14T23:45:00Z,1\n";
        assert!(wrong(starts).starts_with("line 4: there is a gap: no price from 2026-01-14T23:30:00Z"));
        let turned = "start_utc,sek_per_mwh\n2026-01-14T23:15:00Z,1\n2026-01-14T23:00:00Z,1\n";
        assert!(wrong(turned).starts_with("line 3: wrong order"), "{}", wrong(turned));
    }

    #[test]
    fn comments_quotes_semicolons_decimal_commas_and_further_columns_are_read() {
        let part = Expected { whole_days: false, ..sweden() };
        let text = "\u{feff}# from the exchange\nArea;Start;\"EUR_per_MWh\"\n\nSE3;2026-01-15T00:00Z;\"12,5\"\nSE3;2026-01-15T01:00Z;-0,999\n";
        assert_eq!(part.try_read(text).unwrap().prices_milli(), [12_500, -999]);
        let named = Expected { currency: Some("EUR".parse().unwrap()), per: Some(Per::KilowattHour), ..part };
        let plain = "start,price\r\n2026-01-15T00:00Z,0.123456\r\n2026-01-15T01:00Z,1\r\n";
        assert_eq!(named.try_read(plain).unwrap().prices_milli(), [123_456, 1_000_000]);
    }

    #[test]
    fn what_is_no_table_of_prices_is_refused_with_its_line() {
        for (text, want) in [
            ("", "line 1: there is no price in the file"),
            ("[\n", "line 1: EOF while parsing a list"),
            ("start,end\n", "line 1: the head has no column for the price, as sek_per_mwh"),
            ("when,sek_per_mwh\n", "line 1: the head has no column start or start_utc"),
            (
                "start,price\n",
                "line 1: the column price does not say its currency and unit; name it as sek_per_mwh, or give them",
            ),
            ("start,sek_per_mwh\n", "line 1: there is no price in the file"),
            ("start,sek_per_mwh\n2026-01-15T00:00Z,1\n", "line 2: a single slot has to say its end"),
            ("start,sek_per_mwh\n2026-01-15T00:00Z\n", "line 2: there are 1 columns, the head has 2"),
            ("start,sek_per_mwh\nsoon,1\n", "line 2: \"soon\" is no time; expected one as 2026-11-22T17:15:00+01:00"),
            (
                "start,sek_per_mwh\n2026-01-15T00:00Z,\n",
                "line 2: \"\" is no price: expected a decimal number, as -12.34",
            ),
            (
                "start,sek_per_mwh\n2026-01-15T00:00Z,1e3\n",
                "line 2: \"1e3\" is no price: expected a decimal number, as -12.34",
            ),
            (
                "start,sek_per_mwh\n2026-01-15T00:00Z,NaN\n",
                "line 2: \"NaN\" is no price: expected a decimal number, as -12.34",
            ),
            (
                "start,sek_per_mwh\n2026-01-15T00:00Z,0.0001\n",
                "line 2: \"0.0001\" is no price: it has more decimals than can be kept (3 per MWh, 6 per kWh)",
            ),
            (
                "start,sek_per_mwh\n2026-01-15T00:00Z,99999999999999999999\n",
                "line 2: \"99999999999999999999\" is no price: it is too large",
            ),
        ] {
            assert_eq!(wrong(text), want, "{text:?}");
        }
        let long = day("2026-01-14T23:00:00Z", 400, 15);
        assert_eq!(wrong(&long), "line 390: there are more than 388 prices");
        assert_eq!(wrong(&"x".repeat(PRICE_FILE_BYTES_MAX + 1)), "line 1: the file has more than 262144 bytes");
        let mad = "start,end,sek_per_mwh\n2026-01-14T23:00Z,2026-01-15T23:00Z,99999999\n";
        assert_eq!(wrong(mad), "line 2: a price is more than 1000000 from zero");
    }

    #[test]
    fn json_is_read_in_both_forms_and_refused_with_the_line_of_the_slot() {
        let part = Expected { whole_days: false, ..sweden() };
        let file = |slots: &str| {
            format!("{{\n\"zone\": \"SE3\", \"currency\": \"SEK\", \"per\": \"MWh\",\n\"slots\": [\n{slots}\n]}}")
        };
        let slots = "{\"start\": \"2026-01-15T00:00Z\", \"price\": 556.68},\n{\"start\": \"2026-01-15T01:00:00+01:00\", \"price\": -1}";
        let same = slots.replace("01:00:00+01:00", "02:00:00+01:00");
        assert_eq!(part.try_read(&file(&same)).unwrap().prices_milli(), [556_680, -1000]);
        let named = Expected { currency: Some("EUR".parse().unwrap()), per: Some(Per::KilowattHour), ..part.clone() };
        assert_eq!(named.try_read(&format!("[{same}]")).unwrap().prices_milli(), [556_680_000, -1_000_000]);

        let wrong = |text: &str| part.try_read(text).unwrap_err().to_string();
        assert!(wrong(&file(slots)).starts_with("line 5: wrong order"), "{}", wrong(&file(slots)));
        assert_eq!(
            wrong(&file("{\"start\": 7, \"price\": 1}")),
            "line 4: invalid type: integer `7`, expected a string"
        );
        assert!(wrong(&file("{\"start\": \"x\",\n\"cost\": 1}")).starts_with("line 5: unknown field `cost`"));
        assert_eq!(
            wrong(&file("{\"start\": \"2026-01-15T00:00Z\", \"price\": \"1\"}")),
            "line 4: \"\\\"1\\\"\" is no price: expected a decimal number, as -12.34"
        );
        assert_eq!(wrong(&file("{]")), "line 4: key must be a string");
        assert_eq!(wrong(&format!("[{same}]")), "line 1: currency has to be given, in the file or beside it");
        assert_eq!(wrong(&file(&same).replace("SE3", "SE4")), "line 1: the file is for zone SE4, not SE3");
        assert_eq!(wrong(&"[".repeat(10_000)), "line 1: EOF while parsing a list");
    }

    #[test]
    fn currency_and_unit_of_a_json_file_are_each_taken_from_where_they_are_said() {
        let part = Expected { whole_days: false, ..sweden() };
        let read = |head: &str, currency: Option<&str>, per| {
            let slot = "{\"start\": \"2026-01-15T00:00Z\", \"end\": \"2026-01-15T01:00Z\", \"price\": 2}";
            let beside = Expected { currency: currency.map(|c| c.parse().unwrap()), per, ..part.clone() };
            let series = beside.try_read(&format!("{{{head}\"slots\": [{slot}]}}")).map_err(|e| e.to_string())?;
            Ok::<_, String>((series.currency().to_string(), series.prices_milli()[0]))
        };
        let (sek, eur) = ("\"currency\": \"SEK\", ", "EUR");
        let kwh = Some(Per::KilowattHour);
        assert_eq!(read(sek, None, kwh), Ok(("SEK".into(), 2_000_000)), "the file its currency, the unit beside it");
        assert_eq!(read(sek, Some(eur), kwh), Ok(("SEK".into(), 2_000_000)), "the file goes before");
        assert_eq!(read("\"per\": \"MWh\", ", Some(eur), kwh), Ok(("EUR".into(), 2000)), "the other way round");
        assert_eq!(read("", Some(eur), kwh), Ok(("EUR".into(), 2_000_000)));
        let missing = |what: &str| Err(format!("line 1: {what} has to be given, in the file or beside it"));
        assert_eq!(read(sek, Some(eur), None), missing("per"));
        assert_eq!(read("\"per\": \"MWh\", ", None, kwh), missing("currency"));
    }
}
