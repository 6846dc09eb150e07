//! Daily windows in local time as spans of instants. Days of 23 and 25 hours are what `next_occurrence` makes of them; a window that lies in
//! the hour which such a day skips does not come on it.
#![forbid(unsafe_code)]

use daemon_kit::clock::next_occurrence;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::plan::Span;
use crate::rules::window::Window;

/// Longer than any day, and than any window in it.
const LOOK_BACK_S: i64 = 26 * 3600;

/// The spans of a window that touch `within`, in order.
pub(crate) fn spans(window: impl Into<Window>, zone: &TimeZone, within: Span) -> Vec<Span> {
    let Window { daily: window, days } = window.into();
    let (start, end) = (window.start().seconds_since_midnight(), window.end().seconds_since_midnight());
    let mut spans = Vec::new();
    let mut cursor = within.start - LOOK_BACK_S;
    // Each turn goes on to the next day, so this ends.
    while let Ok(after) = Timestamp::from_second(cursor) {
        let from = next_occurrence(start, zone, after);
        // Begin and end may both come with the clock's jump.
        let same_day = Timestamp::from_second(from.as_second() - i64::from(start < end)).unwrap_or(from);
        let until = next_occurrence(end, zone, same_day);
        let span = Span { start: from.as_second(), end: until.as_second() };
        if span.start >= within.end || span.start <= cursor {
            break;
        }
        cursor = span.start;
        if span.start < span.end && span.end > within.start && days.hold(zone.to_datetime(from).weekday()) {
            spans.push(span);
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    fn window(text: &str) -> Window {
        text.parse::<energy_model::DailyWindow>().unwrap().into()
    }

    #[test]
    fn a_window_over_midnight_is_there_from_the_evening_before() {
        let within = Span { start: at("2026-11-27T01:00:00Z"), end: at("2026-11-28T23:00:00Z") };
        let found = spans(window("22:00:00-06:00:00"), &TimeZone::UTC, within);
        assert_eq!(
            found,
            [
                Span { start: at("2026-11-26T22:00:00Z"), end: at("2026-11-27T06:00:00Z") },
                Span { start: at("2026-11-27T22:00:00Z"), end: at("2026-11-28T06:00:00Z") },
                Span { start: at("2026-11-28T22:00:00Z"), end: at("2026-11-29T06:00:00Z") },
            ]
        );
    }

    #[test]
    fn a_window_of_some_days_is_there_on_the_days_it_begins() {
        // From a Thursday to the Wednesday after; the zone is ten hours ahead, so that its days are not those of UTC.
        let zone = TimeZone::posix("AEST-10").unwrap();
        let within = Span { start: at("2026-11-26T00:00:00Z"), end: at("2026-12-03T00:00:00Z") };
        let nights = |days: &str| {
            let window = Window { days: days.parse().unwrap(), ..window("22:00:00-06:00:00") };
            let local = |at: i64| zone.to_datetime(Timestamp::from_second(at).unwrap()).to_string();
            spans(window, &zone, within).into_iter().map(|s| local(s.start)[..10].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(nights("fri"), ["2026-11-27"]);
        assert_eq!(nights("sat,sun"), ["2026-11-28", "2026-11-29"]);
        assert_eq!(nights("mon-fri").len() + nights("sat,sun").len(), nights("mon-sun").len());
        // Friday's night goes on into Saturday.
        let saturday = Span { start: at("2026-11-27T16:00:00Z"), end: at("2026-11-27T16:00:01Z") };
        let fridays = Window { days: "fri".parse().unwrap(), ..window("22:00:00-06:00:00") };
        assert_eq!(spans(fridays, &zone, saturday).len(), 1);
    }

    #[test]
    fn on_a_sunday_of_23_or_25_hours_a_sundays_window_is_there_once_by_the_clock() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let sundays = |window_text: &str, day: &str| {
            let window = Window { days: "sun".parse().unwrap(), ..window(window_text) };
            let start = at(&format!("{day}T00:00:00Z")) - 6 * 3600;
            let found = spans(window, &zone, Span { start, end: start + 36 * 3600 });
            found.iter().map(|s| (s.start - start - 6 * 3600, s.seconds())).collect::<Vec<_>>()
        };
        // Clocks go from 02:00 to 03:00 at 01:00 UTC on the 29th of March, and from 03:00 to 02:00 on the 25th of October.
        assert_eq!(sundays("00:00:00-12:00:00", "2026-03-29"), [(-3600, 11 * 3600)]);
        assert_eq!(sundays("00:00:00-12:00:00", "2026-10-25"), [(-7200, 13 * 3600)]);
        assert_eq!(sundays("04:00:00-05:00:00", "2026-03-29"), [(7200, 3600)]);
    }

    #[test]
    fn what_lies_in_the_hour_that_a_spring_day_skips_does_not_come_on_it_and_does_not_last_until_the_next() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let within = Span { start: at("2026-03-27T23:00:00Z"), end: at("2026-03-30T22:00:00Z") };
        let minutes = |text: &str| {
            let found = spans(window(text), &zone, within);
            found.iter().map(|s| (s.start - within.start, s.seconds() / 60)).collect::<Vec<_>>()
        };
        // Saturday, the Sunday that has no hour from 02:00 on, Monday.
        let (saturday, sunday, monday) = (2 * 3600, 26 * 3600, 49 * 3600);
        assert_eq!(minutes("02:00:00-03:00:00"), [(saturday, 60), (monday, 60)]);
        assert_eq!(minutes("02:15:00-02:45:00"), [(saturday + 900, 30), (monday + 900, 30)]);
        assert_eq!(minutes("02:30:00-03:00:00"), [(saturday + 1800, 30), (monday + 1800, 30)]);
        assert_eq!(minutes("02:30:00-03:30:00"), [(saturday + 1800, 60), (sunday, 30), (monday + 1800, 60)]);
        assert_eq!(minutes("01:30:00-02:30:00"), [(saturday - 1800, 60), (sunday - 1800, 30), (monday - 1800, 60)]);
        // From 03:00 to 02:30 of the next day: on Saturday up to the jump, and on from there.
        let all = minutes("03:00:00-02:30:00");
        assert_eq!(all[1..3], [(saturday + 3600, 23 * 60), (sunday, 23 * 60 + 30)], "{all:?}");
    }

    #[test]
    fn on_the_days_clocks_change_a_window_is_an_hour_longer_or_shorter() {
        // POSIX form, so that the test needs no time zone database.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let hours = |day: &str| {
            let start = at(&format!("{day}T12:00:00Z"));
            let found = spans(window("22:00:00-06:00:00"), &zone, Span { start, end: start + 12 * 3600 });
            found.iter().map(|s| s.seconds() / 3600).collect::<Vec<_>>()
        };
        assert_eq!([hours("2026-03-28"), hours("2026-10-24"), hours("2026-11-27")], [[7], [9], [8]]);
    }
}
