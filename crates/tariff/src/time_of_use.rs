//! Time-of-use tables: which price holds at which time of day, on which days, in which months.
//!
//! Which period holds follows from what the zone's clock shows and from nothing else. So a period that the change to summer time skips is
//! not there on that day, one that autumn doubles holds both times, and one that runs through the change is an hour shorter or longer.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::str::FromStr;

use energy_model::{DailyWindow, TimeOfDay};
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use utility_wire::UnixTime;

use crate::price::Price;
use crate::time::{instant, unix};

/// Days a period is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days {
    /// Bit 0 is Monday.
    weekdays: u8,
    workdays: bool,
    holidays: bool,
}

/// No word for days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected mon, tue, wed, thu, fri, sat, sun, workdays, weekend or holidays")]
pub struct DaysError;

impl FromStr for Days {
    type Err = DaysError;
    /// One word. A weekday is that day whether or not it is a holiday; `workdays` are Monday to Friday that are none; `weekend` is Saturday and
    /// Sunday; `holidays` are those of the table.
    fn from_str(s: &str) -> Result<Self, DaysError> {
        const WORDS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        Ok(match s {
            "workdays" => Self { workdays: true, ..Self::default() },
            "weekend" => Self { weekdays: 0b110_0000, ..Self::default() },
            "holidays" => Self { holidays: true, ..Self::default() },
            _ => Self { weekdays: 1 << WORDS.iter().position(|word| *word == s).ok_or(DaysError)?, ..Self::default() },
        })
    }
}

impl Days {
    /// Every day.
    pub const ALL: Self = Self { weekdays: 0x7f, workdays: false, holidays: false };

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            weekdays: self.weekdays | other.weekdays,
            workdays: self.workdays || other.workdays,
            holidays: self.holidays || other.holidays,
        }
    }

    fn hold(self, day: Date, holiday: bool) -> bool {
        let weekday = day.weekday();
        let working = !holiday && !matches!(weekday, Weekday::Saturday | Weekday::Sunday);
        self.weekdays & 1 << weekday.to_monday_zero_offset() != 0
            || self.workdays && working
            || self.holidays && holiday
    }
}

/// Months a period is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Months(u16);

/// No word for a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected jan, feb, mar, apr, may, jun, jul, aug, sep, oct, nov or dec")]
pub struct MonthsError;

impl FromStr for Months {
    type Err = MonthsError;
    /// One month.
    fn from_str(s: &str) -> Result<Self, MonthsError> {
        const WORDS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        WORDS.iter().position(|word| *word == s).map(|at| Self(1 << at)).ok_or(MonthsError)
    }
}

impl Months {
    /// Every month.
    pub const ALL: Self = Self(0xfff);

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn hold(self, day: Date) -> bool {
        self.0 & 1 << (day.month() - 1) != 0
    }
}

/// Days off, on a date of one year (`2027-03-26`) or every year (`12-25`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holidays {
    once: BTreeSet<Date>,
    yearly: BTreeSet<(i8, i8)>,
}

/// No date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a date as 2027-03-26, or 12-25 for every year")]
pub struct HolidayError;

impl Holidays {
    /// Takes one up.
    ///
    /// # Errors
    /// Not a date of either form.
    pub fn add(&mut self, text: &str) -> Result<(), HolidayError> {
        if text.len() == "2027-03-26".len() {
            self.once.insert(text.parse().map_err(|_| HolidayError)?);
        } else if text.len() == "12-25".len() {
            // A leap year, so that 29 February is a day.
            let day: Date = format!("2028-{text}").parse().map_err(|_| HolidayError)?;
            self.yearly.insert((day.month(), day.day()));
        } else {
            return Err(HolidayError);
        }
        Ok(())
    }

    fn hold(&self, day: Date) -> bool {
        self.once.contains(&day) || self.yearly.contains(&(day.month(), day.day()))
    }
}

/// A price for some hours of some days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// On which days it begins.
    pub days: Days,
    /// In which months it begins.
    pub months: Months,
    /// From when to just before when by the zone's clock; `None`: the whole day. One that crosses midnight belongs to the day it begins on.
    pub window: Option<DailyWindow>,
    /// Its price.
    pub price: Price,
}

/// A time-of-use table. The first period that fits holds; where none does, the price for all other times.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The zone whose clock is meant.
    pub zone: TimeZone,
    /// Price for all other times; without it they have none.
    pub otherwise: Option<Price>,
    /// Periods, the first goes before the others.
    pub periods: Vec<Period>,
    /// Holidays.
    pub holidays: Holidays,
}

impl Table {
    /// The price when the zone's clock shows that.
    fn shown(&self, local: DateTime) -> Option<Price> {
        let (day, time) = (local.date(), time_of_day(local.time()));
        let on = |period: &Period, day: Date| period.months.hold(day) && period.days.hold(day, self.holidays.hold(day));
        let holds = |period: &Period| match period.window {
            None => on(period, day),
            Some(window) if !window.contains(time) => false,
            // After midnight: it began yesterday.
            Some(window) if window.crosses_midnight() && time < window.end() => {
                day.yesterday().is_ok_and(|yesterday| on(period, yesterday))
            }
            Some(_) => on(period, day),
        };
        self.periods.iter().find(|period| holds(period)).map(|period| period.price).or(self.otherwise)
    }

    /// The price at an instant.
    pub fn at(&self, at: UnixTime) -> Option<Price> {
        self.shown(self.zone.to_datetime(instant(at)))
    }

    /// Every instant in the span, its start first, at which the price may change: where a period begins or ends, midnight, a change of
    /// clocks. Between two of them it is one.
    pub fn edges(&self, from: UnixTime, until: UnixTime) -> BTreeSet<UnixTime> {
        let mut edges = BTreeSet::new();
        if from >= until {
            return edges;
        }
        edges.insert(from);
        let (first, last) = (instant(from), instant(until));
        let mut add = |at| {
            if first < at && at < last {
                edges.insert(unix(at));
            }
        };
        let windows = self.periods.iter().filter_map(|p| p.window);
        let times: BTreeSet<TimeOfDay> =
            windows.flat_map(|w| [w.start(), w.end()]).chain([TimeOfDay::MIDNIGHT]).collect();
        let mut day = self.zone.to_datetime(first).date();
        let end = self.zone.to_datetime(last).date();
        while day <= end {
            for time in &times {
                let local = self.zone.to_ambiguous_timestamp(day.to_datetime(civil(*time)));
                match local.offset() {
                    AmbiguousOffset::Unambiguous { .. } => local.earlier().into_iter().for_each(&mut add),
                    AmbiguousOffset::Fold { .. } => {
                        let (earlier, later) = (local.earlier(), local.later());
                        earlier.into_iter().chain(later).for_each(&mut add);
                    }
                    // The clock never shows it: what changes then changes with the clock.
                    AmbiguousOffset::Gap { .. } => {}
                }
            }
            let Ok(tomorrow) = day.tomorrow() else { break };
            day = tomorrow;
        }
        self.zone.following(first).map(|change| change.timestamp()).take_while(|at| *at < last).for_each(&mut add);
        edges
    }
}

fn time_of_day(time: Time) -> TimeOfDay {
    TimeOfDay::new(time.hour() as u8, time.minute() as u8, time.second() as u8).unwrap_or(TimeOfDay::MIDNIGHT)
}

fn civil(time: TimeOfDay) -> Time {
    Time::constant(time.hour() as i8, time.minute() as i8, time.second() as i8, 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STOCKHOLM: &str = "Europe/Stockholm";
    const LORD_HOWE: &str = "Australia/Lord_Howe";
    const NEW_YORK: &str = "America/New_York";

    fn at(text: &str) -> UnixTime {
        unix(text.parse().unwrap())
    }

    fn days(words: &[&str]) -> Days {
        words.iter().map(|w| w.parse::<Days>().unwrap()).fold(Days::default(), Days::and)
    }

    fn period(on: &[&str], window: &str, price: i64) -> Period {
        Period {
            days: if on.is_empty() { Days::ALL } else { days(on) },
            months: Months::ALL,
            window: (!window.is_empty()).then(|| window.parse().unwrap()),
            price: Price::micro_per_kwh(price),
        }
    }

    fn table(zone: &str, periods: Vec<Period>) -> Table {
        let zone = TimeZone::get(zone).expect("zone files (Debian's tzdata)");
        Table { zone, otherwise: Some(Price::micro_per_kwh(1)), periods, holidays: Holidays::default() }
    }

    /// Runs of one price within a span: minutes, and the price.
    fn runs(table: &Table, from: &str, until: &str) -> Vec<(u64, i64)> {
        let edges: Vec<UnixTime> = table.edges(at(from), at(until)).into_iter().chain([at(until)]).collect();
        let mut runs: Vec<(u64, i64)> = Vec::new();
        for pair in edges.windows(2) {
            let (minutes, price) = ((pair[1].seconds() - pair[0].seconds()) / 60, table.at(pair[0]).unwrap().count());
            match runs.last_mut() {
                Some((length, last)) if *last == price => *length += minutes,
                _ => runs.push((minutes, price)),
            }
        }
        runs
    }

    #[test]
    fn a_period_holds_from_its_start_to_just_before_its_end_and_the_first_that_fits_goes() {
        let t =
            table(STOCKHOLM, vec![period(&["workdays"], "06:00:00-22:00:00", 9), period(&[], "12:00:00-13:00:00", 5)]);
        // Friday 27 November 2026, then the weekend.
        let want = vec![(6 * 60, 1), (16 * 60, 9), (14 * 60, 1), (60, 5), (11 * 60, 1)];
        assert_eq!(runs(&t, "2026-11-26T23:00:00Z", "2026-11-28T23:00:00Z"), want);
        assert_eq!(t.at(at("2026-11-27T20:59:59Z")).unwrap().count(), 9);
        assert_eq!(t.at(at("2026-11-27T21:00:00Z")).unwrap().count(), 1);
    }

    #[test]
    fn a_period_across_midnight_belongs_to_the_day_and_the_month_it_begins_on() {
        let mut night = period(&["fri"], "22:00:00-06:00:00", 2);
        let t = table(STOCKHOLM, vec![night.clone()]);
        let want = vec![(22 * 60, 1), (8 * 60, 2), (18 * 60, 1)];
        assert_eq!(runs(&t, "2026-11-26T23:00:00Z", "2026-11-28T23:00:00Z"), want);
        (night.days, night.months) = (Days::ALL, "nov".parse().unwrap());
        let t = table(STOCKHOLM, vec![night]);
        // The last night of November ends in December.
        assert_eq!(runs(&t, "2026-11-30T20:00:00Z", "2026-12-02T00:00:00Z"), [(60, 1), (8 * 60, 2), (19 * 60, 1)]);
    }

    #[test]
    fn holidays_are_no_workdays_and_may_come_every_year() {
        let mut t = table(STOCKHOLM, vec![period(&["holidays"], "", 3), period(&["workdays"], "", 9)]);
        t.holidays.add("12-25").unwrap();
        t.holidays.add("2026-12-24").unwrap();
        // Thursday 24 and Friday 25 December 2026; Thursday 25 December 2031.
        assert_eq!(runs(&t, "2026-12-22T23:00:00Z", "2026-12-27T23:00:00Z"), [(1440, 9), (2880, 3), (2880, 1)]);
        assert_eq!(runs(&t, "2031-12-23T23:00:00Z", "2031-12-25T23:00:00Z"), [(1440, 9), (1440, 3)]);
        let only = Table { periods: vec![period(&["workdays"], "", 9)], ..t };
        assert_eq!(runs(&only, "2026-12-23T23:00:00Z", "2026-12-24T23:00:00Z"), [(1440, 1)]);
        let mut none = Holidays::default();
        for bad in ["", "25-12", "2026-02-30", "12-32", "christmas", "2026-12-2é"] {
            assert_eq!(none.add(bad), Err(HolidayError), "{bad:?}");
        }
    }

    #[test]
    fn without_a_price_for_other_times_they_have_none_and_not_zero() {
        let t = Table { otherwise: None, ..table(STOCKHOLM, vec![period(&[], "06:00:00-22:00:00", 0)]) };
        assert_eq!(t.at(at("2026-11-27T12:00:00Z")), Some(Price::micro_per_kwh(0)));
        assert_eq!(t.at(at("2026-11-27T23:00:00Z")), None);
    }

    #[test]
    fn stockholm_skips_an_hour_in_march_and_has_it_twice_in_october() {
        let day = |periods, from, until| runs(&table(STOCKHOLM, periods), from, until);
        let (march, october) =
            (("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"), ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"));
        // 02:00-03:00 is skipped on 29 March, doubled on 25 October.
        let hour = || vec![period(&[], "02:00:00-03:00:00", 7)];
        assert_eq!(day(hour(), march.0, march.1), [(23 * 60, 1)]);
        assert_eq!(day(hour(), october.0, october.1), [(120, 1), (120, 7), (21 * 60, 1)]);
        // One that runs through the change is an hour shorter, or longer.
        let night = || vec![period(&[], "01:00:00-05:00:00", 7)];
        assert_eq!(day(night(), march.0, march.1), [(60, 1), (180, 7), (19 * 60, 1)]);
        assert_eq!(day(night(), october.0, october.1), [(60, 1), (300, 7), (19 * 60, 1)]);
        // One that begins in the doubled hour begins twice.
        let half = || vec![period(&[], "02:30:00-04:00:00", 7)];
        assert_eq!(day(half(), march.0, march.1), [(120, 1), (60, 7), (20 * 60, 1)]);
        assert_eq!(day(half(), october.0, october.1), [(150, 1), (30, 7), (30, 1), (90, 7), (20 * 60, 1)]);
    }

    #[test]
    fn lord_howe_changes_by_half_an_hour() {
        // 5 April 2026: 02:00 (+11) becomes 01:30 (+10:30) at 15:00 UTC. 4 October 2026: 02:00 becomes 02:30 at 15:30 UTC.
        let periods = || vec![period(&[], "01:30:00-02:15:00", 7)];
        let t = table(LORD_HOWE, periods());
        assert_eq!(runs(&t, "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z"), [(90, 1), (75, 7), (21 * 60 + 45, 1)]);
        assert_eq!(runs(&t, "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"), [(90, 1), (30, 7), (21 * 60 + 30, 1)]);
    }

    #[test]
    fn new_york_changes_at_two_by_its_own_clock() {
        // 8 March 2026 at 07:00 UTC, 1 November 2026 at 06:00 UTC.
        let t = table(NEW_YORK, vec![period(&["sun"], "01:00:00-03:00:00", 7)]);
        assert_eq!(runs(&t, "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"), [(60, 1), (60, 7), (21 * 60, 1)]);
        assert_eq!(runs(&t, "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"), [(60, 1), (180, 7), (21 * 60, 1)]);
    }

    fn any_period() -> impl Strategy<Value = Period> {
        let window = (0u32..96, 0u32..96).prop_map(|(a, b)| {
            let time = |quarters| TimeOfDay::from_seconds(quarters * 900).unwrap();
            DailyWindow::new(time(a), time(b)).ok()
        });
        (0u8..0x80, any::<bool>(), any::<bool>(), 1u16..0x1000, window, 2i64..9).prop_map(
            |(weekdays, workdays, holidays, months, window, price)| Period {
                days: Days { weekdays, workdays, holidays },
                months: Months(months),
                window,
                price: Price::micro_per_kwh(price),
            },
        )
    }

    proptest! {
        /// The reference asks the clock at every quarter of an hour; edges are at quarters, as changes of clocks are in these zones.
        #[test]
        fn between_two_edges_the_price_is_one_in_every_week_of_every_zone(
            zone in prop::sample::select(&[STOCKHOLM, LORD_HOWE, NEW_YORK][..]),
            periods in prop::collection::vec(any_period(), 0..5),
            week in 0u64..52,
        ) {
            let t = table(zone, periods);
            let from = at("2026-01-01T00:00:00Z").plus(week * 7 * 86_400);
            let until = from.plus(7 * 86_400);
            let edges = t.edges(from, until);
            let mut now = None;
            for quarter in 0..7 * 96 {
                let time = from.plus(quarter * 900);
                let price = t.shown(t.zone.to_datetime(instant(time)));
                if edges.contains(&time) {
                    now = Some(price);
                }
                prop_assert_eq!(now, Some(price), "{} {}", zone, instant(time));
            }
            prop_assert!(edges.iter().all(|e| (from..until).contains(e) && e.seconds() % 900 == 0));
        }
    }
}
