//! `--since`: a span back from now, a local date, a local date with a time, or an RFC 3339 moment.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Since {
    Ago(Duration),
    Local(DateTime),
    Moment(Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 90s, 30m, 2h, 7d, a date (2026-11-22), or a date with a time (2026-11-22T07:30)")]
pub(crate) struct SinceError;

impl FromStr for Since {
    type Err = SinceError;
    fn from_str(s: &str) -> Result<Self, SinceError> {
        let unit_s = |c| match c {
            's' => Some(1),
            'm' => Some(60),
            'h' => Some(3600),
            'd' => Some(86_400),
            _ => None,
        };
        if let Some(unit) = s.chars().next_back().and_then(unit_s)
            && let Ok(n) = s[..s.len() - 1].parse::<u32>()
        {
            return Ok(Self::Ago(Duration::from_secs(u64::from(n) * unit)));
        }
        if let Ok(moment) = s.parse() {
            return Ok(Self::Moment(moment));
        }
        // jiff reads the date of a date with a time too, so the longer form goes first.
        let local = if s.len() > 10 { s.parse::<DateTime>() } else { s.parse::<Date>().map(DateTime::from) };
        local.map(Self::Local).map_err(|_| SinceError)
    }
}

impl Since {
    /// The moment meant, as clocks in `zone` stand.
    pub(crate) fn moment(self, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, jiff::Error> {
        match self {
            Self::Ago(span) => now.checked_sub(span),
            Self::Local(local) => zone.to_timestamp(local),
            Self::Moment(at) => Ok(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_dates_and_moments_are_read() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let zone = TimeZone::posix("CET-1").unwrap();
        for (text, want) in [
            ("90s", "2026-11-22T09:58:30Z"),
            ("2h", "2026-11-22T08:00:00Z"),
            ("7d", "2026-11-15T10:00:00Z"),
            ("2026-11-22", "2026-11-21T23:00:00Z"),
            ("2026-11-22T07:30", "2026-11-22T06:30:00Z"),
            ("2026-11-22T07:30:00Z", "2026-11-22T07:30:00Z"),
        ] {
            let at = text.parse::<Since>().unwrap().moment(now, &zone).unwrap();
            assert_eq!(at.to_string(), want, "{text}");
        }
        for bad in ["", "h", "-1h", "soon", "2026-13-01", "1 h", "é"] {
            assert_eq!(bad.parse::<Since>(), Err(SinceError), "{bad:?}");
        }
    }
}
