//! The one kind of instant of the pure crates: time since boot, sleep included (CLOCK_BOOTTIME).

use core::ops::Add;
use core::time::Duration;

/// An instant on CLOCK_BOOTTIME, as the time since the machine booted. Unlike `std::time::Instant` on Linux it goes on
/// while the machine is suspended, so that leases and deadlines expire during sleep as their peers see them expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(Duration);

impl BootTime {
    /// The boot of the machine; also where virtual time starts in tests.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The instant `since_boot` after the boot.
    pub const fn from_duration(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// Time since the boot.
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

/// The earlier of two optional wake-up times; `None` means never.
pub fn earliest(a: Option<BootTime>, b: Option<BootTime>) -> Option<BootTime> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
