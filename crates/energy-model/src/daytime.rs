//! Times of day and daily windows, local to the home: `HH:MM:SS` without a date and without a zone.
//!
//! When such a time comes next as an instant depends on the zone and its clock changes; that is worked out at the edge
//! (`daemon-kit`). Here is only the arithmetic of a day of 24 hours.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

const DAY_S: u32 = 24 * 60 * 60;

/// Why a time of day or a window was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// Not of the form `HH:MM:SS` with two digits each.
    #[error("expected a time of day as HH:MM:SS")]
    Form,
    /// Hour above 23, minute or second above 59. The end of a day is `00:00:00` of the next.
    #[error("a time of day runs from 00:00:00 to 23:59:59")]
    Range,
    /// Start equal to end, which could mean no time or all day.
    #[error("a daily window needs an end other than its start")]
    EmptyWindow,
}

/// A local time of day, to the second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TimeOfDay {
    seconds: u32,
}

impl TimeOfDay {
    /// 00:00:00.
    pub const MIDNIGHT: Self = Self { seconds: 0 };

    /// From hour (0..=23), minute and second (0..=59 each).
    pub const fn new(hour: u8, minute: u8, second: u8) -> Result<Self, TimeError> {
        if hour > 23 || minute > 59 || second > 59 {
            return Err(TimeError::Range);
        }
        Ok(Self { seconds: hour as u32 * 3600 + minute as u32 * 60 + second as u32 })
    }

    /// From seconds since midnight, 0..=86399.
    pub const fn from_seconds(seconds: u32) -> Result<Self, TimeError> {
        if seconds < DAY_S { Ok(Self { seconds }) } else { Err(TimeError::Range) }
    }

    /// Hour, 0..=23.
    pub const fn hour(self) -> u8 {
        (self.seconds / 3600) as u8
    }

    /// Minute, 0..=59.
    pub const fn minute(self) -> u8 {
        (self.seconds / 60 % 60) as u8
    }

    /// Second, 0..=59.
    pub const fn second(self) -> u8 {
        (self.seconds % 60) as u8
    }

    /// Seconds since midnight, 0..=86399.
    pub const fn seconds_since_midnight(self) -> u32 {
        self.seconds
    }

    /// Time until the clock shows `later` next, by a clock that is not changed meanwhile: 0 when it shows it now.
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_secs(((later.seconds + DAY_S - self.seconds) % DAY_S) as u64)
    }
}

impl FromStr for TimeOfDay {
    type Err = TimeError;
    fn from_str(s: &str) -> Result<Self, TimeError> {
        let &[h1, h2, b':', m1, m2, b':', s1, s2] = s.as_bytes() else {
            return Err(TimeError::Form);
        };
        let two = |tens: u8, ones: u8| match (tens, ones) {
            (b'0'..=b'9', b'0'..=b'9') => Ok((tens - b'0') * 10 + (ones - b'0')),
            _ => Err(TimeError::Form),
        };
        Self::new(two(h1, h2)?, two(m1, m2)?, two(s1, s2)?)
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = TimeError;
    fn try_from(s: String) -> Result<Self, TimeError> {
        s.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.hour(), self.minute(), self.second())
    }
}

impl fmt::Debug for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A span of every day, from its start to just before its end; it crosses midnight when the end is the smaller.
/// Text form: `HH:MM:SS-HH:MM:SS`; as a table in configuration and JSON: `start` and `end`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Ends", into = "Ends")]
pub struct DailyWindow {
    start: TimeOfDay,
    end: TimeOfDay,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Ends {
    start: TimeOfDay,
    end: TimeOfDay,
}

impl DailyWindow {
    /// From `start` to just before `end`. Equal ends are refused: nobody can tell whether they mean never or always.
    pub fn new(start: TimeOfDay, end: TimeOfDay) -> Result<Self, TimeError> {
        if start == end { Err(TimeError::EmptyWindow) } else { Ok(Self { start, end }) }
    }

    /// First second of the window.
    pub const fn start(self) -> TimeOfDay {
        self.start
    }

    /// First second after the window.
    pub const fn end(self) -> TimeOfDay {
        self.end
    }

    /// Whether it ends on the day after it starts. A window that ends at 00:00:00 does.
    pub fn crosses_midnight(self) -> bool {
        self.end < self.start
    }

    /// Whether `now` is in the window; its start is, its end is not.
    pub fn contains(self, now: TimeOfDay) -> bool {
        if self.crosses_midnight() { now >= self.start || now < self.end } else { now >= self.start && now < self.end }
    }

    /// Length of the window, under 24 hours.
    pub const fn length(self) -> Duration {
        self.start.until(self.end)
    }

    /// Time until the window starts next: 0 when it starts now, under 24 hours. In the window it is tomorrow's start.
    pub const fn next_start(self, now: TimeOfDay) -> Duration {
        now.until(self.start)
    }

    /// Time until the window ends next: over 0, at most 24 hours. In the window it is this window's end.
    pub const fn next_end(self, now: TimeOfDay) -> Duration {
        let until = now.until(self.end);
        if until.is_zero() { Duration::from_secs(DAY_S as u64) } else { until }
    }

    /// Whether some second of the day is in both windows.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.start) || other.contains(self.start)
    }
}

impl FromStr for DailyWindow {
    type Err = TimeError;
    fn from_str(s: &str) -> Result<Self, TimeError> {
        let (start, end) = s.split_once('-').ok_or(TimeError::Form)?;
        Self::new(start.trim().parse()?, end.trim().parse()?)
    }
}

impl TryFrom<Ends> for DailyWindow {
    type Error = TimeError;
    fn try_from(ends: Ends) -> Result<Self, TimeError> {
        Self::new(ends.start, ends.end)
    }
}

impl From<DailyWindow> for Ends {
    fn from(window: DailyWindow) -> Self {
        Self { start: window.start, end: window.end }
    }
}

impl fmt::Display for DailyWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

impl fmt::Debug for DailyWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(s: &str) -> TimeOfDay {
        s.parse().unwrap()
    }

    #[test]
    fn a_time_is_two_digits_each_and_within_a_day() {
        assert_eq!(at("23:59:59").seconds_since_midnight(), 86_399);
        assert_eq!(at("07:08:09").to_string(), "07:08:09");
        assert_eq!(TimeOfDay::from_seconds(86_399), Ok(at("23:59:59")));
        assert_eq!(TimeOfDay::from_seconds(86_400), Err(TimeError::Range));
        for bad in ["24:00:00", "23:60:00", "23:59:60"] {
            assert_eq!(bad.parse::<TimeOfDay>(), Err(TimeError::Range), "{bad}");
        }
        for bad in ["", "7:00:00", "07:00", "07:00:00 ", "07:00:00.5", "07-00-00", "+7:00:00", "０7:0:00", "0a:00:00"]
        {
            assert_eq!(bad.parse::<TimeOfDay>(), Err(TimeError::Form), "{bad}");
        }
    }

    #[test]
    fn a_window_holds_its_start_and_not_its_end_also_across_midnight() {
        let day: DailyWindow = "08:00:00-18:00:00".parse().unwrap();
        assert!(day.contains(at("08:00:00")) && day.contains(at("17:59:59")) && !day.contains(at("18:00:00")));
        let night: DailyWindow = "22:00:00-06:00:00".parse().unwrap();
        for inside in ["22:00:00", "23:59:59", "00:00:00", "05:59:59"] {
            assert!(night.contains(at(inside)), "{inside}");
        }
        assert!(!night.contains(at("06:00:00")) && !night.contains(at("21:59:59")) && night.crosses_midnight());
        assert!(!day.overlaps(night));
        assert!(night.overlaps("05:00:00-07:00:00".parse().unwrap()));
    }

    #[test]
    fn a_window_with_equal_ends_is_refused() {
        assert_eq!("08:00:00-08:00:00".parse::<DailyWindow>(), Err(TimeError::EmptyWindow));
    }

    #[test]
    fn the_next_start_and_end_are_counted_from_now() {
        let night: DailyWindow = "22:00:00-06:00:00".parse().unwrap();
        let hours = |h: u64| Duration::from_secs(h * 3600);
        assert_eq!((night.next_start(at("20:00:00")), night.next_end(at("20:00:00"))), (hours(2), hours(10)));
        assert_eq!((night.next_start(at("22:00:00")), night.next_end(at("22:00:00"))), (hours(0), hours(8)));
        assert_eq!((night.next_start(at("01:00:00")), night.next_end(at("01:00:00"))), (hours(21), hours(5)));
        assert_eq!((night.next_start(at("06:00:00")), night.next_end(at("06:00:00"))), (hours(16), hours(24)));
        assert_eq!(night.length(), hours(8));
    }

    fn any_time() -> impl Strategy<Value = TimeOfDay> {
        (0u8..24, 0u8..60, 0u8..60).prop_map(|(h, m, s)| TimeOfDay::new(h, m, s).unwrap())
    }

    proptest! {
        #[test]
        fn every_time_reads_back_as_written(time in any_time()) {
            prop_assert_eq!(time.to_string().parse::<TimeOfDay>(), Ok(time));
        }

        #[test]
        fn now_is_inside_exactly_when_the_end_comes_before_the_next_start(
            now in any_time(), start in any_time(), end in any_time()
        ) {
            prop_assume!(start != end);
            let window = DailyWindow::new(start, end).unwrap();
            let inside = window.next_start(now).is_zero() || window.next_end(now) < window.next_start(now);
            prop_assert_eq!(window.contains(now), inside);
        }

        #[test]
        fn overlap_is_the_same_seen_from_either_window(
            a in any_time(), b in any_time(), c in any_time(), d in any_time(), now in any_time()
        ) {
            prop_assume!(a != b && c != d);
            let (x, y) = (DailyWindow::new(a, b).unwrap(), DailyWindow::new(c, d).unwrap());
            prop_assert_eq!(x.overlaps(y), y.overlaps(x));
            prop_assert!(!(x.contains(now) && y.contains(now)) || x.overlaps(y));
        }

        #[test]
        fn no_text_makes_parsing_panic(s in ".{0,12}") {
            let _ = s.parse::<TimeOfDay>();
            let _ = s.parse::<DailyWindow>();
        }
    }
}
