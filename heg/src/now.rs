//! Both clocks of one moment, read together once per turn of the loop.
#![forbid(unsafe_code)]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use upnp::time::BootTime;

/// A moment: timers run on `boot` (sleep included), schedules and the journal on `wall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// CLOCK_BOOTTIME.
    pub boot: BootTime,
    /// CLOCK_REALTIME, UTC. It may jump in either direction between two moments.
    pub wall: Timestamp,
}

impl Now {
    /// When `wall` will be, on the boot clock, as the two clocks stand to each other at this moment; a past time is now.
    pub fn boot_at(&self, wall: Timestamp) -> BootTime {
        self.boot + wall.duration_since(self.wall).try_into().unwrap_or_default()
    }
}

/// A moment for people: local date and time, with its offset from UTC where that hour comes twice.
pub fn local(at: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned(zone.clone());
    let twice = zone.to_ambiguous_timestamp(at.datetime()).is_ambiguous();
    at.strftime(if twice { "%Y-%m-%d %H:%M:%S%:z" } else { "%Y-%m-%d %H:%M:%S" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_that_comes_twice_is_told_apart() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let words = |at: &str| local(at.parse().unwrap(), &zone);
        assert_eq!(words("2027-10-30T23:30:00Z"), "2027-10-31 01:30:00");
        assert_eq!(words("2027-10-31T00:30:00Z"), "2027-10-31 02:30:00+02:00");
        assert_eq!(words("2027-10-31T01:00:00Z"), "2027-10-31 02:00:00+01:00");
        assert_eq!(words("2027-10-31T02:00:00Z"), "2027-10-31 03:00:00");
        assert_eq!(words("2027-03-28T01:00:00Z"), "2027-03-28 03:00:00", "after the hour that is left out");
    }
}
