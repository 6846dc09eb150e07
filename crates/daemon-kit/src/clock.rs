//! The clocks: time since boot with sleep included (CLOCK_BOOTTIME), wall time and the home's zone at the edge.
//!
//! A daemon reads [`boottime`] once per turn of its loop and passes it down; it waits with a [`BootTimer`], which unlike
//! tokio's own timers goes on while the machine is suspended. When somebody sets the wall clock, [`WallClockChanges`]
//! says so, and whoever has planned by [`next_occurrence`] plans anew.

use std::io;
use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};
use nix::errno::Errno;
use nix::libc;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerSetTimeFlags};
use nix::time::{ClockId as Clock, clock_gettime};

use crate::timerfd::Timer;

/// Time since the machine booted, sleep included (CLOCK_BOOTTIME).
pub fn boottime() -> Duration {
    clock_gettime(Clock::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME is there since Linux 2.6.39").into()
}

/// The wall clock, in UTC.
pub fn wall() -> Timestamp {
    Timestamp::now()
}

/// The zone of this machine (`TZ`, else `/etc/localtime`); UTC when it has none. Read it again after SIGHUP.
pub fn zone() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

/// No such time zone on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time zone known here (is tzdata installed?)")]
pub struct ZoneError(String);

/// A clock by its IANA name (`Europe/Stockholm`) or as POSIX rule (`CET-1CEST,M3.5.0,M10.5.0/3`).
///
/// # Errors
/// Neither.
pub fn zone_named(name: &str) -> Result<TimeZone, ZoneError> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).or_else(|_| TimeZone::posix(name)).map_err(|_| ZoneError(name.to_owned()))
}

/// Local time of day at `now`, in seconds since midnight: 0..=86399.
pub fn seconds_since_midnight(zone: &TimeZone, now: Timestamp) -> u32 {
    let time = zone.to_datetime(now).time();
    time.hour() as u32 * 3600 + time.minute() as u32 * 60 + time.second() as u32
}

/// The first instant after `now` (never `now` itself) at which the local clock comes to the time of day given in
/// seconds since midnight (modulo 86400).
///
/// Clock changes: a time that the day skips comes at the instant of the jump, when the clock is first past it; of a
/// time that the day has twice only the first counts, so that nothing is done twice a day.
pub fn next_occurrence(seconds_since_midnight: u32, zone: &TimeZone, now: Timestamp) -> Timestamp {
    let s = seconds_since_midnight % 86_400;
    let time = Time::constant((s / 3600) as i8, (s / 60 % 60) as i8, (s % 60) as i8, 0);
    // Yesterday too: where a whole day is skipped (a move across the date line), today's time may come by its jump.
    let mut day = zone.to_datetime(now).date().yesterday().unwrap_or(Date::MIN);
    loop {
        let at = occurrence_on(day, time, zone);
        if let Some(at) = at
            && at > now
        {
            return at;
        }
        match day.tomorrow() {
            Ok(tomorrow) => day = tomorrow,
            Err(_) => return Timestamp::MAX,
        }
    }
}

/// When the clock comes to `time` on `day`; `None` beyond the range of timestamps.
fn occurrence_on(day: Date, time: Time, zone: &TimeZone) -> Option<Timestamp> {
    let local = zone.to_ambiguous_timestamp(day.to_datetime(time));
    match local.offset() {
        // Read with the offset of before the jump, the time falls after the jump: less than a gap's length.
        AmbiguousOffset::Gap { before, .. } => {
            let past = before.to_timestamp(day.to_datetime(time)).ok()?;
            let jump = zone.preceding(past.checked_add(1.second()).ok()?).next();
            Some(jump.map_or(past, |transition| transition.timestamp()))
        }
        _ => local.earlier().ok(),
    }
}

/// A timer on CLOCK_BOOTTIME: what comes due during sleep is there at once after it. It does not wake the machine.
#[derive(Debug)]
pub struct BootTimer {
    timer: Timer,
    /// What the kernel's timer is set to.
    armed: Option<Duration>,
}

impl BootTimer {
    /// A timer in the current tokio runtime. Fails when no file descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { timer: Timer::new(ClockId::CLOCK_BOOTTIME)?, armed: None })
    }

    /// Waits until `at` (time since boot) has come; `None` waits for ever, a time in the past not at all. Cancel safe:
    /// a dropped call leaves nothing behind, and the next one may name another time.
    pub async fn until(&mut self, at: Option<Duration>) {
        let Some(at) = at else {
            return std::future::pending().await;
        };
        if at <= boottime() {
            return;
        }
        if self.armed != Some(at) {
            let expiration = Expiration::OneShot(TimeSpec::from_duration(at));
            if let Err(error) = self.timer.set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME) {
                // Only for a time beyond the kernel's range, some hundred years from now.
                tracing::debug!(%error, ?at, "time cannot be waited for");
                return std::future::pending().await;
            }
            self.armed = Some(at);
        }
        while at > boottime() {
            if let Err(error) = self.timer.expired().await {
                tracing::debug!(%error, "timer not read");
                tokio::time::sleep(at.saturating_sub(boottime())).await;
            }
        }
        self.armed = None;
    }
}

/// A moment that is not reached: the year 2106, or the last one that a C library with seconds of 32 bits can name.
const FAR_S: libc::time_t = (i32::MAX as libc::time_t).saturating_mul(2);

/// Tells that the wall clock was set, by a person, by NTP's step or by the clock chip after sleep; slow adjustment is
/// not told.
#[derive(Debug)]
pub struct WallClockChanges {
    timer: Timer,
}

impl WallClockChanges {
    /// Watches from now on. Fails when no file descriptor is left.
    pub fn new() -> io::Result<Self> {
        let changes = Self { timer: Timer::new(ClockId::CLOCK_REALTIME)? };
        changes.arm()?;
        Ok(changes)
    }

    /// The kernel cancels an absolute timer on CLOCK_REALTIME, however far off, when that clock jumps (timerfd_create(2)).
    fn arm(&self) -> Result<(), Errno> {
        let far = TimeSpec::new(FAR_S, 0);
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        self.timer.set(Expiration::OneShot(far), flags)
    }

    /// Waits for the next change; several before the call are one. Cancel safe.
    pub async fn next(&mut self) {
        if let Err(error) = self.timer.expired().await {
            tracing::warn!(%error, "changes of the wall clock are no longer seen");
            return std::future::pending().await;
        }
        if let Err(error) = self.arm() {
            tracing::warn!(%error, "changes of the wall clock are no longer seen");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn next(time: &str, zone: &TimeZone, now: &str) -> String {
        let time: Time = time.parse().unwrap();
        let s = time.hour() as u32 * 3600 + time.minute() as u32 * 60 + time.second() as u32;
        next_occurrence(s, zone, now.parse().unwrap()).to_string()
    }

    #[test]
    fn the_next_occurrence_is_after_now_and_never_now() {
        let utc = TimeZone::UTC;
        assert_eq!(next("07:00:00", &utc, "2026-05-01T06:59:59.9Z"), "2026-05-01T07:00:00Z");
        assert_eq!(next("07:00:00", &utc, "2026-05-01T07:00:00Z"), "2026-05-02T07:00:00Z");
        assert_eq!(next("00:00:00", &berlin(), "2026-05-01T06:00:00Z"), "2026-05-01T22:00:00Z");
        assert_eq!(next("07:00:00", &berlin(), "2026-05-01T23:00:00Z"), "2026-05-02T05:00:00Z");
    }

    #[test]
    fn a_time_skipped_by_the_clock_change_comes_at_the_jump() {
        // 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
        assert_eq!(next("02:30:00", &berlin(), "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(next("02:00:00", &berlin(), "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(next("03:00:00", &berlin(), "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(next("02:30:00", &berlin(), "2026-03-29T01:00:00Z"), "2026-03-30T00:30:00Z");
    }

    #[test]
    fn a_time_the_day_has_twice_comes_once_at_its_first() {
        // 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC.
        assert_eq!(next("02:30:00", &berlin(), "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(next("02:30:00", &berlin(), "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z");
        assert_eq!(next("02:30:00", &berlin(), "2026-10-25T00:45:00Z"), "2026-10-26T01:30:00Z");
    }

    #[test]
    fn local_time_of_day_is_in_the_zone_given() {
        assert_eq!(seconds_since_midnight(&berlin(), "2026-07-01T22:00:01.7Z".parse().unwrap()), 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_timer_comes_due_in_order_and_is_cancel_safe() {
        let mut timer = BootTimer::new().unwrap();
        let start = boottime();
        // A far time, dropped, must not delay a near one; the past is due at once; never is never.
        tokio::select! {
            () = timer.until(Some(start + Duration::from_secs(3600))) => panic!("an hour has not passed"),
            () = tokio::task::yield_now() => {}
        }
        timer.until(Some(start + Duration::from_millis(30))).await;
        assert!(boottime() >= start + Duration::from_millis(30));
        timer.until(Some(Duration::ZERO)).await;
        tokio::select! {
            () = timer.until(None) => panic!("never came"),
            () = tokio::task::yield_now() => {}
        }
        timer.until(Some(boottime() + Duration::from_millis(5))).await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn without_a_set_clock_no_change_is_told() {
        let mut changes = WallClockChanges::new().unwrap();
        tokio::select! {
            () = changes.next() => panic!("nobody set the clock"),
            () = tokio::task::yield_now() => {}
        }
    }
}
