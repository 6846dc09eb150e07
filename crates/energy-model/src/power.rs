//! Power and energy in whole units, as the `ui4` arguments of `ApplianceInfo` carry them.

use core::fmt;
use core::iter::Sum;
use core::num::ParseIntError;
use core::ops::Add;
use core::str::FromStr;

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        /// Sums saturate. Text form: the bare number; the unit is for `Debug`.
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(u32);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// So many of the unit.
            pub const fn new(count: u32) -> Self {
                Self(count)
            }

            /// How many of the unit.
            pub const fn count(self) -> u32 {
                self.0
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, rhs: Self) -> Self {
                Self(self.0.saturating_add(rhs.0))
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self::ZERO, Add::add)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;
            fn from_str(s: &str) -> Result<Self, ParseIntError> {
                s.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{} ", $unit), self.0)
            }
        }
    };
}

quantity! {
    /// Electrical power in watts.
    Watts, "W"
}
quantity! {
    /// Electrical energy in watt-hours.
    WattHours, "Wh"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_beyond_the_range_stays_at_its_end() {
        let sum: Watts = [Watts::new(u32::MAX), Watts::new(5)].into_iter().sum();
        assert_eq!(sum.count(), u32::MAX);
        assert_eq!(format!("{sum} {:?}", WattHours::new(7)), "4294967295 7 Wh");
    }

    #[test]
    fn a_negative_or_huge_number_is_refused() {
        assert!(
            "-1".parse::<Watts>().is_err() && "4294967296".parse::<Watts>().is_err() && "".parse::<Watts>().is_err()
        );
    }
}
