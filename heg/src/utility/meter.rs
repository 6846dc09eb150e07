//! Energy from power: what each appliance drew in each quarter of an hour, as far as it was seen.
//!
//! Appliances tell their power whenever it changes. What they drew is that power times the time until the next word; an appliance that sleeps
//! draws nothing. A quarter in which the power was not known for more than a tenth of the time is a gap, not a guess.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use energy_model::WattHours;
use upnp::time::BootTime;
use utility_wire::{ApplianceId, UnixTime};

use crate::limits::{METER_INTERVAL_S, METER_LATE_MAX, METER_UNKNOWN_MAX};

/// One appliance's meter.
#[derive(Clone, Copy, Debug)]
struct Meter {
    watts: Option<u32>,
    /// It was known once: an appliance that never tells has no gaps either.
    tells: bool,
    /// Up to when the two below count.
    at: BootTime,
    /// Of this quarter, and what was below a watt-hour in the one before.
    watt_ms: u64,
    known: Duration,
}

/// A quarter that is over: energy per appliance, `None` where it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) start: UnixTime,
    pub(super) energy: Vec<(ApplianceId, Option<WattHours>)>,
}

/// The meters of the home.
#[derive(Debug, Default)]
pub(super) struct Meters {
    by_appliance: BTreeMap<ApplianceId, Meter>,
    /// The quarter under way: its start, and its end on the boot clock.
    quarter: Option<(UnixTime, BootTime)>,
}

impl Meter {
    fn account(&mut self, now: BootTime) {
        let span = now.since(self.at);
        if let Some(watts) = self.watts {
            let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            self.watt_ms = self.watt_ms.saturating_add(u64::from(watts).saturating_mul(ms));
            self.known += span;
        }
        self.at = now;
    }

    fn close(&mut self, now: BootTime, lasted: Duration) -> Option<WattHours> {
        const WATT_MS_PER_WH: u64 = 3_600_000;
        self.account(now);
        let known = std::mem::take(&mut self.known);
        if lasted.saturating_sub(known) > METER_UNKNOWN_MAX {
            self.watt_ms = 0;
            return None;
        }
        let wh = self.watt_ms / WATT_MS_PER_WH;
        self.watt_ms %= WATT_MS_PER_WH;
        Some(WattHours::new(u32::try_from(wh).unwrap_or(u32::MAX)))
    }
}

impl Meters {
    /// The power of an appliance is that from now on; `None`: not known.
    pub(super) fn power(&mut self, of: &ApplianceId, watts: Option<u32>, now: BootTime) {
        match self.by_appliance.get_mut(of) {
            Some(meter) if meter.watts == watts => {}
            Some(meter) => {
                meter.account(now);
                meter.watts = watts;
                meter.tells |= watts.is_some();
            }
            None => {
                let meter = Meter { watts, tells: watts.is_some(), at: now, watt_ms: 0, known: Duration::ZERO };
                self.by_appliance.insert(of.clone(), meter);
            }
        }
    }

    /// An appliance is gone for good.
    pub(super) fn forget(&mut self, of: &ApplianceId) {
        self.by_appliance.remove(of);
    }

    /// When a quarter ends.
    pub(super) fn poll_timeout(&self) -> Option<BootTime> {
        self.quarter.map(|(_, end)| end)
    }

    /// Lets time pass; gives the quarter that is over. Quarters that passed while nobody looked (this machine slept) are given by nobody.
    pub(super) fn turn(&mut self, now: BootTime, time: UnixTime) -> Option<Closed> {
        let (start, end) = match self.quarter {
            Some((_, end)) if now < end => return None,
            Some(quarter) => quarter,
            None => {
                self.begin(now, time);
                return None;
            }
        };
        let late = now.since(end);
        let lasted = Duration::from_secs(METER_INTERVAL_S.into());
        let quarter = |(of, meter): (&ApplianceId, &mut Meter)| {
            let energy = meter.close(if late <= METER_LATE_MAX { now } else { end.min(meter.at) }, lasted);
            (of.clone(), energy)
        };
        let energy = self.by_appliance.iter_mut().filter(|(_, meter)| meter.tells).map(quarter).collect();
        self.begin(now, time);
        Some(Closed { start, energy })
    }

    /// Begins to count in the quarter that is under way.
    fn begin(&mut self, now: BootTime, time: UnixTime) {
        let into = time.seconds() % u64::from(METER_INTERVAL_S);
        let start = UnixTime::new(time.seconds() - into);
        self.quarter = Some((start, now + Duration::from_secs(u64::from(METER_INTERVAL_S) - into)));
        for meter in self.by_appliance.values_mut() {
            (meter.at, meter.known) = (now, Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole quarter of an hour, in seconds since 1970.
    const T0: u64 = 1_800_000_000;

    fn boot(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    fn turn(meters: &mut Meters, seconds: u64) -> Option<(u64, Vec<Option<u32>>)> {
        let closed = meters.turn(boot(seconds), UnixTime::new(T0 + seconds))?;
        Some((closed.start.seconds() - T0, closed.energy.iter().map(|(_, e)| e.map(WattHours::count)).collect()))
    }

    #[test]
    fn energy_is_power_times_time_and_what_is_below_a_watt_hour_is_not_lost() {
        let tv: ApplianceId = "tv".parse().unwrap();
        let mut meters = Meters::default();
        meters.power(&tv, Some(100), boot(0));
        // One that never tells what it draws is in no report.
        meters.power(&"kettle".parse().unwrap(), None, boot(0));
        assert_eq!(turn(&mut meters, 0), None);
        assert_eq!(meters.poll_timeout(), Some(boot(900)));
        meters.power(&tv, Some(400), boot(450));
        assert_eq!(turn(&mut meters, 900), Some((0, vec![Some(62)])), "62.5 Wh");
        meters.power(&tv, Some(2), boot(900));
        assert_eq!(turn(&mut meters, 1800), Some((900, vec![Some(1)])), "0.5 Wh of before and 0.5 Wh");
    }

    #[test]
    fn a_quarter_that_was_not_seen_is_not_made_up() {
        let tv: ApplianceId = "tv".parse().unwrap();
        let mut meters = Meters::default();
        meters.power(&tv, Some(100), boot(0));
        turn(&mut meters, 0);
        meters.power(&tv, None, boot(800));
        assert_eq!(turn(&mut meters, 900), Some((0, vec![None])));
        meters.power(&tv, Some(100), boot(980));
        assert_eq!(turn(&mut meters, 1800), Some((900, vec![Some(22)])), "80 s unknown is let pass, and not filled up");
        // Asleep over more than an hour: what was on when nobody looked nobody knows.
        assert_eq!(turn(&mut meters, 7000), Some((1800, vec![None])));
        assert_eq!(turn(&mut meters, 7200), Some((6300, vec![None])), "it began in the middle");
        assert_eq!(turn(&mut meters, 8100), Some((7200, vec![Some(25)])));
    }
}
