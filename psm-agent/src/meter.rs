//! Counts energy from power (PURE): each reading holds until the next, sleep included.
#![forbid(unsafe_code)]

use energy_model::{PowerState, WattHours, Watts};
use upnp::time::BootTime;

use crate::config::Appliance;

const WATT_MS_PER_WATT_HOUR: u64 = 3_600_000;

/// Power now and energy so far.
#[derive(Debug)]
pub struct Meter {
    power: Watts,
    since: BootTime,
    watt_ms: u64,
}

impl Meter {
    /// Goes on from stored energy, in watt-milliseconds.
    pub fn new(watt_ms: u64, power: Watts, now: BootTime) -> Self {
        Self { power, since: now, watt_ms }
    }

    /// From now on so much is drawn.
    pub fn set(&mut self, power: Watts, now: BootTime) {
        self.watt_ms = self.watt_ms_at(now);
        self.power = power;
        self.since = now;
    }

    /// Power now.
    pub fn power(&self) -> Watts {
        self.power
    }

    /// Energy so far, in whole watt-hours.
    pub fn energy(&self, now: BootTime) -> WattHours {
        let watt_hours = self.watt_ms_at(now) / WATT_MS_PER_WATT_HOUR;
        // The wire's ui4 holds 4.2 GWh; a counter that wraps there would look like a negative draw.
        WattHours::new(u32::try_from(watt_hours).unwrap_or(u32::MAX))
    }

    /// Energy so far, in watt-milliseconds, for storing.
    pub fn watt_ms_at(&self, now: BootTime) -> u64 {
        let ms = u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX);
        self.watt_ms.saturating_add(ms.saturating_mul(self.power.count().into()))
    }
}

/// What the appliance draws in a state by its configuration, where no meter tells.
pub fn expected(appliance: &Appliance, state: PowerState) -> Watts {
    Watts::new(match state {
        PowerState::On => appliance.rated_power_w,
        PowerState::Off => appliance.idle_power_w,
        PowerState::Standby => appliance.standby_power_w,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn energy_is_power_times_time_and_each_reading_holds_until_the_next() {
        let at = |s| BootTime::from_duration(Duration::from_secs(s));
        let mut meter = Meter::new(WATT_MS_PER_WATT_HOUR, Watts::new(100), at(0));
        meter.set(Watts::new(2000), at(1800));
        assert_eq!(meter.energy(at(1800)), WattHours::new(51));
        assert_eq!(meter.energy(at(5400)), WattHours::new(2051));
        assert_eq!(meter.power(), Watts::new(2000));
    }
}
