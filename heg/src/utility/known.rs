//! What the utility has told: limits and prices. Kept on disk, so that it is there without the utility.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use utility_wire::{EventId, Limit, LimitSet, List, Message as _, PriceIndex, PriceSeries, UnixTime, Versions, ZoneId};

use super::{Object, Slot};
use crate::limits::PRICE_SERIES_KEPT_MAX;

/// Limits and prices.
#[derive(Debug)]
pub struct Known {
    zone: Option<ZoneId>,
    limits: LimitSet,
    /// Version up to which the zone's series are here.
    prices: u64,
    /// What the utility says is current.
    prices_current: u64,
    /// The zone's series as last listed.
    listed: Option<Vec<u64>>,
    series: BTreeMap<u64, PriceSeries>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            zone: None,
            limits: LimitSet { target: None, version: 0, limits: List::empty() },
            prices: 0,
            prices_current: 0,
            listed: None,
            series: BTreeMap::new(),
        }
    }
}

impl Known {
    /// The limit that holds at `home` (its UUID) at `at`.
    pub fn limit_in_force(&self, home: &str, at: UnixTime) -> Option<&Limit> {
        self.limits.in_force(home, at)
    }

    /// All limits that are not over, as the utility sent them.
    pub fn limits(&self) -> &LimitSet {
        &self.limits
    }

    /// The home's price zone, once the utility has told it.
    pub fn zone(&self) -> Option<&ZoneId> {
        self.zone.as_ref()
    }

    /// Price series, the newest first: where several have a price for an instant the first goes.
    pub fn series(&self) -> impl Iterator<Item = &PriceSeries> {
        self.series.values().rev()
    }

    /// The price at an instant and the series it is from.
    pub fn price_at(&self, at: UnixTime) -> Option<(i64, &PriceSeries)> {
        self.series().find_map(|series| Some((series.at(at)?, series)))
    }

    /// Until when there are prices without a gap from `at` on.
    pub fn prices_until(&self, at: UnixTime) -> Option<UnixTime> {
        let mut until = None;
        // Each turn goes beyond a series, so there are at most as many.
        for _ in 0..=self.series.len() {
            let from = until.unwrap_or(at);
            match self.series.values().filter(|s| s.at(from).is_some()).map(PriceSeries::end).max() {
                Some(end) => until = Some(end),
                None => break,
            }
        }
        until
    }

    /// What a poll says is here.
    pub(super) fn have(&self, policy: u32) -> Versions {
        Versions { prices: self.prices, limits: self.limits.version, policy: policy.into() }
    }

    /// Another set of limits. Gives those that are new, and those that are called off now and were not.
    pub(super) fn set_limits(&mut self, set: LimitSet) -> (Vec<Limit>, Vec<Limit>) {
        let before: BTreeMap<EventId, bool> = self.limits.limits.iter().map(|l| (l.id, l.cancelled)).collect();
        self.limits = set;
        let new = self.limits.limits.iter().filter(|l| !before.contains_key(&l.id)).cloned().collect();
        let called_off = |l: &&Limit| l.cancelled && before.get(&l.id) == Some(&false);
        (new, self.limits.limits.iter().filter(called_off).cloned().collect())
    }

    /// The utility names zone and price version. Says whether the zone is another now: the prices of the old one are gone then.
    pub(super) fn told(&mut self, zone: ZoneId, prices_current: u64) -> Vec<u64> {
        let mut gone = Vec::new();
        if self.zone.as_ref() != Some(&zone) {
            gone.extend(std::mem::take(&mut self.series).into_keys());
            (self.zone, self.prices) = (Some(zone), 0);
            self.listed = None;
        }
        if self.prices_current != prices_current {
            self.prices_current = prices_current;
            self.listed = None;
        }
        gone
    }

    /// What is to be fetched next.
    pub(super) fn wanted(&self) -> Option<Object> {
        let zone = self.zone.clone()?;
        if self.prices == self.prices_current {
            return None;
        }
        let Some(listed) = &self.listed else { return Some(Object::Index(zone)) };
        listed.iter().find(|v| !self.series.contains_key(v)).map(|version| Object::Series(zone, *version))
    }

    /// An index came. Gives the versions of series that are not listed any more, or says that it is an old one.
    pub(super) fn listed(&mut self, index: &PriceIndex) -> Result<Vec<u64>, &'static str> {
        if self.zone.as_ref() != Some(&index.zone) {
            return Err("it lists the prices of another zone");
        }
        let newest = index.series.iter().map(|s| s.version).max().unwrap_or(0);
        if newest < self.prices_current && !index.series.is_empty() {
            return Err("it is older than what the utility says is current");
        }
        let mut versions: Vec<u64> = index.series.iter().map(|s| s.version).collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        versions.truncate(PRICE_SERIES_KEPT_MAX);
        let gone: Vec<u64> = self.series.keys().filter(|v| !versions.contains(v)).copied().collect();
        self.series.retain(|v, _| versions.contains(v));
        self.listed = Some(versions);
        self.settle();
        Ok(gone)
    }

    /// A series came.
    pub(super) fn add(&mut self, version: u64, series: PriceSeries) -> Result<(), &'static str> {
        if self.zone.as_ref() != Some(series.zone()) || series.version() != version {
            return Err("it is another series than was asked for");
        }
        self.series.insert(version, series);
        self.settle();
        Ok(())
    }

    /// Everything listed is here: so far are prices known.
    fn settle(&mut self) {
        if self.listed.is_some() && self.wanted().is_none() {
            self.prices = self.prices_current;
        }
    }

    pub(super) fn zone_row(&self) -> Option<(Slot, Vec<u8>)> {
        let zone = self.zone.as_ref()?;
        Some((Slot::Zone, format!("{zone} {}", self.prices).into_bytes()))
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (Slot, Vec<u8>)> {
        let limits = (self.limits.version > 0).then(|| (Slot::Limits, self.limits.encode()));
        let series = self.series.iter().map(|(version, series)| (Slot::Prices(*version), series.encode()));
        self.zone_row().into_iter().chain(limits).chain(series)
    }

    /// Takes a row from the store; `None` when it makes no sense.
    pub(super) fn restore(&mut self, slot: &Slot, value: &[u8]) -> Option<()> {
        match slot {
            Slot::Limits => self.limits = LimitSet::decode(value).ok()?,
            Slot::Prices(version) if self.series.len() < PRICE_SERIES_KEPT_MAX => {
                self.series.insert(*version, PriceSeries::decode(value).ok()?);
            }
            Slot::Zone => {
                let (zone, prices) = str::from_utf8(value).ok()?.split_once(' ')?;
                (self.zone, self.prices) = (Some(zone.parse().ok()?), prices.parse().ok()?);
                self.prices_current = self.prices;
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use utility_wire::{Per, PriceEntry};

    use super::*;

    const START: u64 = 1_800_000_000;

    fn series(version: u64, start: u64, prices: &[i64]) -> PriceSeries {
        let money = ("SEK".parse().unwrap(), Per::KilowattHour);
        PriceSeries::new("SE3".parse().unwrap(), version, money, UnixTime::new(start), 900, prices.to_vec()).unwrap()
    }

    fn index(series: &[&PriceSeries]) -> PriceIndex {
        let entry = |s: &&PriceSeries| PriceEntry { version: s.version(), start: s.start(), end: s.end() };
        PriceIndex { zone: "SE3".parse().unwrap(), series: List::fill(series.iter().map(entry)) }
    }

    #[test]
    fn series_are_fetched_one_by_one_and_a_correction_goes_before_what_it_corrects() {
        let (today, correction) = (series(1, START, &[10, 20, 30]), series(2, START + 900, &[99]));
        let mut known = Known::default();
        known.told("SE3".parse().unwrap(), 2);
        assert_eq!(known.wanted(), Some(Object::Index("SE3".parse().unwrap())));
        assert!(known.listed(&index(&[&today])).is_err(), "a cache's old copy");
        known.listed(&index(&[&correction, &today])).unwrap();
        assert_eq!(known.wanted(), Some(Object::Series("SE3".parse().unwrap(), 2)));
        known.add(2, correction).unwrap();
        assert_eq!(known.have(0).prices, 0, "not all of it");
        assert!(known.add(1, series(7, START, &[1])).is_err());
        known.add(1, today).unwrap();
        assert_eq!((known.wanted(), known.have(0).prices), (None, 2));
        let at = |s| known.price_at(UnixTime::new(START + s)).map(|(price, _)| price);
        assert_eq!((at(0), at(900), at(1800), at(2700)), (Some(10), Some(99), Some(30), None));
        assert_eq!(known.prices_until(UnixTime::new(START)), Some(UnixTime::new(START + 2700)));
        assert_eq!(known.prices_until(UnixTime::new(START + 2700)), None);

        let mut again = Known::default();
        for (slot, value) in known.rows() {
            again.restore(&slot, &value).unwrap();
        }
        assert_eq!(again.have(0), known.have(0));
        assert_eq!(again.price_at(UnixTime::new(START)).map(|(price, _)| price), Some(10));
        // In another zone other prices hold.
        assert_eq!(again.told("SE4".parse().unwrap(), 2), [1, 2]);
        assert_eq!(again.price_at(UnixTime::new(START)), None);
    }

    #[test]
    fn a_zone_whose_prices_are_all_over_has_none_and_is_not_asked_for_again() {
        let mut known = Known::default();
        known.told("SE3".parse().unwrap(), 9);
        known.listed(&index(&[])).unwrap();
        assert_eq!((known.wanted(), known.have(0).prices), (None, 9));
    }
}
