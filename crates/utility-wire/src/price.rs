//! Prices of a zone over consecutive slots of one length.

use crate::codec::{Reader, Wire, WireError, Writer};
use crate::limits::{PRICE_MILLI_MAX, SERIES_MAX, SLOT_S_MAX, SLOT_S_MIN, SLOTS_MAX};
use crate::{CurrencyCode, List, UnixTime, ZoneId};

numbered! {
    /// The energy a price is for.
    pub enum Per {
        /// A kilowatt-hour.
        KilowattHour = 1,
        /// A megawatt-hour, as markets quote.
        MegawattHour = 2,
    }
}

/// Why a series was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PriceError {
    /// No slot.
    #[error("there is no price")]
    Empty,
    /// More than [`SLOTS_MAX`] slots.
    #[error("there are more than {SLOTS_MAX} prices")]
    TooMany,
    /// Slots under a minute or over a day.
    #[error("a slot has to last from {SLOT_S_MIN} to {SLOT_S_MAX} seconds")]
    Slot,
    /// A price beyond all reason.
    #[error("a price is more than {} from zero", PRICE_MILLI_MAX / 1000)]
    Price,
}

/// Prices of a zone, slot after slot without a gap: slot *i* lasts from `start` + *i* x `slot_s` to just before the next. A series with a
/// greater version goes before an older one wherever both have a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceSeries {
    zone: ZoneId,
    version: u64,
    currency: CurrencyCode,
    per: Per,
    start: UnixTime,
    slot_s: u32,
    prices_milli: List<i64, SLOTS_MAX>,
}

impl PriceSeries {
    /// From its parts; prices in thousandths of the currency, which may be negative.
    ///
    /// # Errors
    /// See [`PriceError`].
    pub fn new(
        zone: ZoneId,
        version: u64,
        (currency, per): (CurrencyCode, Per),
        start: UnixTime,
        slot_s: u32,
        prices_milli: Vec<i64>,
    ) -> Result<Self, PriceError> {
        let prices_milli = List::try_from(prices_milli).map_err(|_| PriceError::TooMany)?;
        let series = Self { zone, version, currency, per, start, slot_s, prices_milli };
        series.checked()
    }

    fn checked(self) -> Result<Self, PriceError> {
        if self.prices_milli.is_empty() {
            Err(PriceError::Empty)
        } else if !(SLOT_S_MIN..=SLOT_S_MAX).contains(&self.slot_s) {
            Err(PriceError::Slot)
        } else if self.prices_milli.iter().any(|p| !(-PRICE_MILLI_MAX..=PRICE_MILLI_MAX).contains(p)) {
            Err(PriceError::Price)
        } else {
            Ok(self)
        }
    }

    /// Where they hold.
    pub fn zone(&self) -> &ZoneId {
        &self.zone
    }

    /// Grows with each publication in the zone.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The same prices under another version.
    pub fn with_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// The money.
    pub fn currency(&self) -> CurrencyCode {
        self.currency
    }

    /// The energy each price is for.
    pub fn per(&self) -> Per {
        self.per
    }

    /// Start of the first slot.
    pub fn start(&self) -> UnixTime {
        self.start
    }

    /// Length of each slot, seconds.
    pub fn slot_s(&self) -> u32 {
        self.slot_s
    }

    /// First instant after the last slot.
    pub fn end(&self) -> UnixTime {
        self.start.plus(self.prices_milli.len() as u64 * u64::from(self.slot_s))
    }

    /// Prices in order, thousandths of the currency.
    pub fn prices_milli(&self) -> &[i64] {
        &self.prices_milli
    }

    /// Each slot's start and price.
    pub fn slots(&self) -> impl Iterator<Item = (UnixTime, i64)> + '_ {
        let at = |i: usize| self.start.plus(i as u64 * u64::from(self.slot_s));
        self.prices_milli.iter().enumerate().map(move |(i, price)| (at(i), *price))
    }

    /// The price at an instant, thousandths of the currency; `None` outside the series.
    pub fn at(&self, now: UnixTime) -> Option<i64> {
        let since = now.seconds().checked_sub(self.start.seconds())?;
        self.prices_milli.get(usize::try_from(since / u64::from(self.slot_s)).ok()?).copied()
    }
}

impl Wire for PriceSeries {
    fn write(&self, w: &mut Writer) {
        w.array(7).expect(crate::codec::NEVER);
        self.zone.write(w);
        self.version.write(w);
        self.currency.write(w);
        self.per.write(w);
        self.start.write(w);
        self.slot_s.write(w);
        self.prices_milli.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        r.array(7)?;
        let series = Self {
            zone: Wire::read(r)?,
            version: Wire::read(r)?,
            currency: Wire::read(r)?,
            per: Wire::read(r)?,
            start: Wire::read(r)?,
            slot_s: Wire::read(r)?,
            prices_milli: Wire::read(r)?,
        };
        series.checked().map_err(|_| r.value("prices out of range"))
    }
}

record! {
    /// Which series of a zone are not over: the broadcast object by which a home finds what to fetch.
    pub struct PriceIndex {
        /// The zone.
        pub zone: ZoneId,
        /// Its series, the newest first.
        pub series: List<PriceEntry, SERIES_MAX>,
    }
}

record! {
    /// A series that can be fetched. Its bytes never change.
    pub struct PriceEntry {
        /// Its version.
        pub version: u64,
        /// Start of its first slot.
        pub start: UnixTime,
        /// End of its last slot.
        pub end: UnixTime,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(slot_s: u32, prices: Vec<i64>) -> Result<PriceSeries, PriceError> {
        let money = ("SEK".parse().unwrap(), Per::MegawattHour);
        PriceSeries::new("SE3".parse().unwrap(), 1, money, UnixTime::new(1_000_000), slot_s, prices)
    }

    #[test]
    fn a_price_holds_from_its_slot_to_just_before_the_next() {
        let s = series(900, vec![10, -5, 0]).unwrap();
        let at = |t| s.at(UnixTime::new(t));
        assert_eq!((at(999_999), at(1_000_000), at(1_000_899), at(1_000_900)), (None, Some(10), Some(10), Some(-5)));
        assert_eq!((at(1_002_699), at(1_002_700)), (Some(0), None));
        assert_eq!(s.end().seconds(), 1_002_700);
        assert_eq!(s.slots().last(), Some((UnixTime::new(1_001_800), 0)));
    }

    #[test]
    fn no_series_without_prices_sensible_slots_and_sensible_prices() {
        assert_eq!(series(900, vec![]), Err(PriceError::Empty));
        assert_eq!(series(900, vec![0; SLOTS_MAX + 1]), Err(PriceError::TooMany));
        assert_eq!(series(0, vec![1]), Err(PriceError::Slot));
        assert_eq!(series(86_401, vec![1]), Err(PriceError::Slot));
        assert_eq!(series(900, vec![-PRICE_MILLI_MAX - 1]), Err(PriceError::Price));
    }
}
