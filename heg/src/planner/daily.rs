//! Daily windows in local time as spans of instants. Days of 23 and 25 hours are what `next_occurrence` makes of them.
#![forbid(unsafe_code)]

use daemon_kit::clock::next_occurrence;
use energy_model::DailyWindow;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::plan::Span;

/// Longer than any day, and than any window in it.
const LOOK_BACK_S: i64 = 26 * 3600;

/// The spans of a daily window that touch `within`, in order.
pub(crate) fn spans(window: DailyWindow, zone: &TimeZone, within: Span) -> Vec<Span> {
    let (start, end) = (window.start().seconds_since_midnight(), window.end().seconds_since_midnight());
    let mut spans = Vec::new();
    let mut cursor = within.start - LOOK_BACK_S;
    // Each turn goes on to the next day, so this ends.
    while let Ok(after) = Timestamp::from_second(cursor) {
        let from = next_occurrence(start, zone, after);
        let until = next_occurrence(end, zone, from);
        let span = Span { start: from.as_second(), end: until.as_second() };
        if span.start >= within.end || span.start <= cursor {
            break;
        }
        cursor = span.start;
        if span.end > within.start {
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

    fn window(text: &str) -> DailyWindow {
        text.parse().unwrap()
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
