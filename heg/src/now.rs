//! Both clocks of one moment, read together once per turn of the loop.
#![forbid(unsafe_code)]

use jiff::Timestamp;
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
