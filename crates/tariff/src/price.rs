//! A price of energy, exact.
#![forbid(unsafe_code)]

use std::fmt;

use utility_wire::Per;
use utility_wire::limits::PRICE_MILLI_MAX;

/// A price: millionths of the currency per kilowatt-hour, which are as many thousandths per megawatt-hour. It may be negative, and 0 is a
/// price like any other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(i64);

/// A text that is no price, or none that can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAPrice {
    /// Something else.
    #[error("expected a decimal number, as -12.34")]
    Form,
    /// Digits that would be lost.
    #[error("it has more decimals than can be kept (3 per MWh, 6 per kWh)")]
    TooFine,
    /// Beyond all reason.
    #[error("it is too large")]
    TooLarge,
}

impl Price {
    /// From millionths per kilowatt-hour.
    pub const fn micro_per_kwh(count: i64) -> Self {
        Self(count)
    }

    /// Millionths per kilowatt-hour.
    pub const fn count(self) -> i64 {
        self.0
    }

    /// From a number of a series: thousandths of the currency for that energy.
    pub const fn of(milli: i64, per: Per) -> Self {
        match per {
            Per::MegawattHour => Self(milli),
            Per::KilowattHour => Self(milli.saturating_mul(1000)),
        }
    }

    /// From a decimal number of the currency for that energy, exactly.
    ///
    /// # Errors
    /// See [`NotAPrice`].
    pub fn parse(text: &str, per: Per) -> Result<Self, NotAPrice> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || digits.ends_with('.') {
            return Err(NotAPrice::Form);
        }
        let places = match per {
            Per::MegawattHour => 3,
            Per::KilowattHour => 6,
        };
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > places {
            return Err(NotAPrice::TooFine);
        }
        let value: i64 = format!("{whole}{fraction:0<places$}").parse().map_err(|_| NotAPrice::TooLarge)?;
        Ok(Self(if negative { -value } else { value }))
    }

    /// Whether it is within what a series may hold.
    pub fn is_sensible(self) -> bool {
        self.0.unsigned_abs() <= PRICE_MILLI_MAX.unsigned_abs()
    }
}

impl fmt::Display for Price {
    /// Of the currency per kilowatt-hour, with all its decimals and at least two: `-0.3125`, `0.00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.unsigned_abs() / 1_000_000, self.0.unsigned_abs() % 1_000_000);
        let fraction = format!("{fraction:06}");
        let kept = fraction.trim_end_matches('0').len().max(2);
        f.pad(&format!("{sign}{whole}.{}", &fraction[..kept]))
    }
}

impl fmt::Debug for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A unit of energy by its name, `kWh` or `MWh`.
pub fn unit(name: &str) -> Option<Per> {
    match name.to_ascii_lowercase().as_str() {
        "kwh" => Some(Per::KilowattHour),
        "mwh" => Some(Per::MegawattHour),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_price_is_the_same_per_kilowatt_hour_and_per_megawatt_hour() {
        assert_eq!(Price::parse("556.68", Per::MegawattHour), Price::parse("0.55668", Per::KilowattHour));
        assert_eq!(Price::of(-5, Per::KilowattHour), Price::of(-5000, Per::MegawattHour));
        for (micro, text) in
            [(0, "0.00"), (-1, "-0.000001"), (310_000, "0.31"), (-1_500_000, "-1.50"), (55_668, "0.055668")]
        {
            assert_eq!(Price::micro_per_kwh(micro).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same_price(micro in -PRICE_MILLI_MAX..=PRICE_MILLI_MAX) {
            let price = Price::micro_per_kwh(micro);
            prop_assert_eq!(Price::parse(&price.to_string(), Per::KilowattHour), Ok(price));
        }
    }
}
