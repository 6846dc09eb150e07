//! Virtual time: time since boot, which only goes on when a test says so, and a wall clock beside it that can be set.

use core::time::Duration;

use upnp::time::BootTime;

/// The two clocks of a simulated machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualClock {
    boot: BootTime,
    /// Wall time of the boot, as time since the Unix epoch.
    booted_at: Duration,
}

impl VirtualClock {
    /// A machine that boots at this wall time, given as time since the Unix epoch.
    pub const fn new(wall: Duration) -> Self {
        Self { boot: BootTime::ZERO, booted_at: wall }
    }

    /// Time since boot, sleep included.
    pub const fn now(&self) -> BootTime {
        self.boot
    }

    /// Wall time, as time since the Unix epoch.
    pub fn wall(&self) -> Duration {
        self.booted_at.saturating_add(self.boot.since_boot())
    }

    /// Goes on to `to`; a time that has passed changes nothing.
    pub fn advance_to(&mut self, to: BootTime) {
        self.boot = self.boot.max(to);
    }

    /// Sets the wall clock, as a person or NTP does; time since boot is untouched.
    pub fn set_wall(&mut self, wall: Duration) {
        self.booted_at = wall.saturating_sub(self.boot.since_boot());
    }
}

impl Default for VirtualClock {
    /// Boots at 2026-01-05 00:00:00 UTC, a Monday.
    fn default() -> Self {
        Self::new(Duration::from_secs(1_767_571_200))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_wall_clock_leaves_time_since_boot_alone() {
        let mut clock = VirtualClock::default();
        clock.advance_to(BootTime::ZERO + Duration::from_secs(90));
        clock.set_wall(Duration::from_secs(1_000_000));
        clock.advance_to(BootTime::ZERO + Duration::from_secs(100));
        clock.advance_to(BootTime::ZERO + Duration::from_secs(50));
        assert_eq!(clock.now().since_boot().as_secs(), 100);
        assert_eq!(clock.wall().as_secs(), 1_000_010);
    }
}
