//! A window of the day on some days of the week, local time: `22:00:00-06:00:00 mon-fri`. PURE.
//!
//! The day is the one on which the window begins: Friday's night ends on Saturday. When that is as instants, also on the days clocks change,
//! is worked out in the planner.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use energy_model::daytime::TimeError;
use energy_model::{DailyWindow, TimeOfDay};
use jiff::civil::{DateTime, Weekday};
use serde::{Deserialize, Serialize};

const WORDS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Days of the week, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "Words")]
pub struct Days(u8);

/// Days as they may be written: `"mon-fri"`, or `["mon", "wed"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Several(Vec<String>),
}

/// No days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected days as mon, mon-fri or sat,sun (mon, tue, wed, thu, fri, sat, sun)")]
pub struct DaysError;

impl Days {
    /// All of them.
    pub const ALL: Self = Self(0x7f);

    /// Whether that day is one of them.
    pub fn hold(self, day: Weekday) -> bool {
        self.0 & 1 << day.to_monday_zero_offset() != 0
    }

    fn has(self, day: usize) -> bool {
        self.0 & 1 << (day % 7) != 0
    }
}

impl FromStr for Days {
    type Err = DaysError;
    /// Days and ranges of days, with commas between; a range may go over Sunday.
    fn from_str(s: &str) -> Result<Self, DaysError> {
        let day = |word: &str| WORDS.iter().position(|w| *w == word).ok_or(DaysError);
        let mut days = 0;
        for part in s.split(',') {
            let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
            let (first, last) = (day(first)?, day(last)?);
            let length = (last + 7 - first) % 7;
            (first..=first + length).for_each(|day| days |= 1 << (day % 7));
        }
        Ok(Self(days))
    }
}

impl fmt::Display for Days {
    /// As it is read: runs of three days and more as ranges.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("mon-sun");
        }
        // From the first day of a run on, so that a run over Sunday is one.
        let start = (0..7).find(|day| self.has(*day) && !self.has(*day + 6)).unwrap_or(0);
        let (mut day, mut between) = (start, "");
        while day < start + 7 {
            if !self.has(day) {
                day += 1;
                continue;
            }
            let run = (day..start + 7).take_while(|d| self.has(*d)).count();
            let (first, last) = (WORDS[day % 7], WORDS[(day + run - 1) % 7]);
            match run {
                1 => write!(f, "{between}{first}")?,
                2 => write!(f, "{between}{first},{last}")?,
                _ => write!(f, "{between}{first}-{last}")?,
            }
            between = ",";
            day += run;
        }
        Ok(())
    }
}

impl From<Days> for String {
    fn from(days: Days) -> Self {
        days.to_string()
    }
}

impl TryFrom<Words> for Days {
    type Error = DaysError;
    fn try_from(words: Words) -> Result<Self, DaysError> {
        match words {
            Words::One(text) => text.parse(),
            Words::Several(all) => all.join(",").parse(),
        }
    }
}

/// A time of day as people write it: `HH:MM` or `HH:MM:SS`; `24:00` is the end of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Clock(pub TimeOfDay);

/// No time of day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time of day, as 06:00 or 06:00:00")]
pub struct ClockError(String);

impl TryFrom<String> for Clock {
    type Error = ClockError;
    fn try_from(text: String) -> Result<Self, ClockError> {
        let whole = if text.len() == "06:00".len() { format!("{text}:00") } else { text.clone() };
        if whole == "24:00:00" {
            return Ok(Self(TimeOfDay::MIDNIGHT));
        }
        whole.parse().map(Self).map_err(|_| ClockError(text))
    }
}

impl From<Clock> for String {
    fn from(clock: Clock) -> Self {
        clock.0.to_string()
    }
}

/// See the module. As a table in configuration and JSON: `start`, `end` and, where it isn't every day, `days`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Form", try_from = "Form")]
pub struct Window {
    /// The window of the day.
    pub daily: DailyWindow,
    /// On which days it begins.
    pub days: Days,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    start: Clock,
    end: Clock,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    days: Option<Days>,
}

impl Window {
    /// Whether it holds when clocks show that.
    pub fn contains(self, at: DateTime) -> bool {
        let time = at.time();
        let of = |n: i8| u32::from(n.unsigned_abs());
        let seconds = of(time.hour()) * 3600 + of(time.minute()) * 60 + of(time.second());
        let Ok(time) = TimeOfDay::from_seconds(seconds) else { return false };
        let began_yesterday = self.daily.crosses_midnight() && time < self.daily.end();
        let day = if began_yesterday { at.date().weekday().previous() } else { at.date().weekday() };
        self.daily.contains(time) && self.days.hold(day)
    }
}

impl From<DailyWindow> for Window {
    fn from(daily: DailyWindow) -> Self {
        Self { daily, days: Days::ALL }
    }
}

impl From<Window> for Form {
    fn from(window: Window) -> Self {
        let days = Some(window.days).filter(|days| *days != Days::ALL);
        Self { start: Clock(window.daily.start()), end: Clock(window.daily.end()), days }
    }
}

impl TryFrom<Form> for Window {
    type Error = TimeError;
    fn try_from(form: Form) -> Result<Self, TimeError> {
        let daily = DailyWindow::new(form.start.0, form.end.0)?;
        Ok(Self { daily, days: form.days.unwrap_or(Days::ALL) })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.daily)?;
        if self.days == Days::ALL { Ok(()) } else { write!(f, " {}", self.days) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_read_back_as_they_are_shown_and_a_range_may_go_over_sunday() {
        for (text, shown) in [
            ("mon-fri", "mon-fri"),
            ("sat,sun", "sat,sun"),
            ("sun, sat", "sat,sun"),
            ("fri-mon", "fri-mon"),
            ("mon,wed-fri", "mon,wed-fri"),
            ("tue", "tue"),
            ("mon-sun", "mon-sun"),
            ("tue-mon", "mon-sun"),
        ] {
            let days: Days = text.parse().unwrap();
            assert_eq!(days.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(days), "{text}");
        }
        for set in 1..=0x7f {
            assert_eq!(Days(set).to_string().parse(), Ok(Days(set)), "{set:b}");
        }
        let weekend: Days = "sat,sun".parse().unwrap();
        assert!(weekend.hold(Weekday::Sunday) && !weekend.hold(Weekday::Monday));
        for bad in ["", "monday", "mon-", "mon;tue", "Mon", "0", "mon,,tue"] {
            assert_eq!(bad.parse::<Days>(), Err(DaysError), "{bad:?}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        let window: Window = serde_json::from_str(r#"{"start":"22:00:00","end":"06:00:00","days":"fri"}"#).unwrap();
        let holds = |text: &str| window.contains(text.parse().unwrap());
        // The 27th is a Friday.
        assert_eq!(
            ["2026-11-27T05:00", "2026-11-27T22:00", "2026-11-28T05:59:59", "2026-11-28T06:00", "2026-11-28T22:00"]
                .map(holds),
            [false, true, true, false, false]
        );
    }

    #[test]
    fn a_window_is_a_table_that_may_leave_its_days_out() {
        let read = |json: &str| serde_json::from_str::<Window>(json).map_err(|e| e.to_string());
        let every_day = read(r#"{"start":"22:00:00","end":"06:00:00"}"#).unwrap();
        assert_eq!((every_day.to_string(), every_day.days), ("22:00:00-06:00:00".into(), Days::ALL));
        for json in [
            r#"{"start":"22:00:00","end":"06:00:00","days":"mon-fri"}"#,
            r#"{"start":"22:00:00","end":"06:00:00","days":["mon","tue-fri"]}"#,
        ] {
            let window = read(json).unwrap();
            assert_eq!(window.to_string(), "22:00:00-06:00:00 mon-fri");
            let again = serde_json::to_string(&window).unwrap();
            assert_eq!(again, r#"{"start":"22:00:00","end":"06:00:00","days":"mon-fri"}"#);
        }
        for (json, shown) in [
            (r#"{"start":"22:00","end":"06:00:30"}"#, "22:00:00-06:00:30"),
            (r#"{"start":"22:00","end":"24:00"}"#, "22:00:00-00:00:00"),
        ] {
            assert_eq!(read(json).unwrap().to_string(), shown, "seconds may be left out");
        }
        for (bad, want) in [
            (r#"{"start":"22:00:00","end":"22:00:00"}"#, "an end other than its start"),
            (r#"{"start":"22","end":"06:00:00"}"#, "\"22\" is no time of day, as 06:00 or 06:00:00"),
            (r#"{"start":"22:00","end":"25:00"}"#, "\"25:00\" is no time of day"),
            (r#"{"start":"22:00:00","end":"06:00:00","days":"someday"}"#, "expected days"),
            (r#"{"start":"22:00:00","end":"06:00:00","on":"mon"}"#, "unknown field"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(want), "{bad}: {error}");
        }
    }
}
