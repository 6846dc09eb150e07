//! From the wire's instants to those of the calendar, and back.
#![forbid(unsafe_code)]

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use utility_wire::UnixTime;

/// The same instant; the calendar ends a day earlier than the wire, where it is the calendar's last.
pub fn instant(at: UnixTime) -> Timestamp {
    i64::try_from(at.seconds()).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(Timestamp::MAX)
}

/// The same instant in whole seconds; before 1970 it is 1970.
pub fn unix(at: Timestamp) -> UnixTime {
    UnixTime::new(u64::try_from(at.as_second()).unwrap_or(0))
}

/// The first instant of a day by the zone's clock; 00:00 or, where clocks skip it, the end of what they skip.
pub(crate) fn midnight(day: Date, zone: &TimeZone) -> Timestamp {
    zone.to_ambiguous_timestamp(day.to_datetime(jiff::civil::Time::midnight())).compatible().unwrap_or(Timestamp::MAX)
}
