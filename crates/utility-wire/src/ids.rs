//! What things are called on the wire.

use core::fmt;
use core::str::FromStr;

use crate::codec::{NEVER, Reader, Wire, WireError, Writer};
use crate::limits::{APPLIANCE_ID_BYTES_MAX, INTERVAL_S_MAX, ZONE_BYTES_MAX};

/// Why a name was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct IdError(&'static str);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $bytes_max:expr, $expected:literal, $fits:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(s: &str) -> Result<Self, IdError> {
                let fits: fn(&str) -> bool = $fits;
                if s.is_empty() || s.len() > $bytes_max || !fits(s) { Err(IdError($expected)) } else { Ok(Self(s.into())) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Wire for $name {
            fn write(&self, w: &mut Writer) {
                w.str(&self.0).expect(NEVER);
            }
            fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
                r.text()?.parse().map_err(|_| r.value(concat!("expected ", $expected)))
            }
        }
    };
}

name!(
    /// An appliance of a home: its UDN without `uuid:`, or a foreign device's name. Up to [`APPLIANCE_ID_BYTES_MAX`] bytes.
    ApplianceId, APPLIANCE_ID_BYTES_MAX, "1 to 128 printable ASCII characters without quotes, < > and &",
    |s| s.bytes().all(|b| b.is_ascii_graphic() && !b"<>&\"'".contains(&b))
);
name!(
    /// A price zone (`SE3`) or a group of homes by the grid's hierarchy (`north/feeder-7/t3`). Up to [`ZONE_BYTES_MAX`] bytes;
    /// a group holds all whose names go on with `/` behind it.
    ZoneId, ZONE_BYTES_MAX, "1 to 64 of letters, digits, - _ . with single / between parts",
    |s| s.split('/').all(|part| {
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    })
);

impl ZoneId {
    /// Whether `other` is this group or within it.
    pub fn holds(&self, other: &Self) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// This group and all that hold it, the largest first.
    pub fn and_above(&self) -> Vec<Self> {
        let cuts = self.0.bytes().enumerate().filter(|(_, b)| *b == b'/').map(|(at, _)| at);
        cuts.chain([self.0.len()]).map(|end| Self(self.0[..end].into())).collect()
    }
}

/// A limit's or control's number, from 1 up, given by the utility and never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(core::num::NonZeroU64);

impl EventId {
    /// From the number; 0 is none.
    pub fn new(number: u64) -> Option<Self> {
        core::num::NonZeroU64::new(number).map(Self)
    }

    /// The number, never 0.
    pub const fn number(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for EventId {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        s.parse().map(Self).map_err(|_| IdError("a number from 1 up"))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Wire for EventId {
    fn write(&self, w: &mut Writer) {
        self.number().write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Self::new(u64::read(r)?).ok_or(r.value("an event has a number from 1 up"))
    }
}

/// An instant: seconds since 1970-01-01T00:00:00Z, before the year 10000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The latest: 9999-12-31T23:59:59Z.
    pub const MAX: Self = Self(253_402_300_799);

    /// From seconds; a later one than [`MAX`](Self::MAX) is it.
    pub const fn new(seconds: u64) -> Self {
        if seconds > Self::MAX.0 { Self::MAX } else { Self(seconds) }
    }

    /// Seconds since 1970.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// So many seconds later.
    pub const fn plus(self, seconds: u64) -> Self {
        Self::new(self.0.saturating_add(seconds))
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Wire for UnixTime {
    fn write(&self, w: &mut Writer) {
        self.0.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let seconds = u64::read(r)?;
        if seconds > Self::MAX.0 { Err(r.value("an instant beyond the year 9999")) } else { Ok(Self(seconds)) }
    }
}

/// Length of a consumption interval: 1 to [`INTERVAL_S_MAX`] seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IntervalLength(u32);

impl IntervalLength {
    /// From seconds; `None` outside the range.
    pub fn new(seconds: u32) -> Option<Self> {
        (1..=INTERVAL_S_MAX).contains(&seconds).then_some(Self(seconds))
    }

    /// Seconds.
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

impl Wire for IntervalLength {
    fn write(&self, w: &mut Writer) {
        self.0.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Self::new(u32::read(r)?).ok_or(r.value("an interval lasts from a second to a day"))
    }
}

/// A currency: three capital letters (ISO 4217).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CurrencyCode([u8; 3]);

impl CurrencyCode {
    /// The letters.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl FromStr for CurrencyCode {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        match <[u8; 3]>::try_from(s.as_bytes()) {
            Ok(letters) if letters.iter().all(u8::is_ascii_uppercase) => Ok(Self(letters)),
            _ => Err(IdError("a currency of three capital letters")),
        }
    }
}

impl fmt::Display for CurrencyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for CurrencyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Wire for CurrencyCode {
    fn write(&self, w: &mut Writer) {
        w.str(self.as_str()).expect(NEVER);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        r.text()?.parse().map_err(|_| r.value("expected a currency of three capital letters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_holds_itself_and_what_is_below_it_only() {
        let id = |s: &str| s.parse::<ZoneId>().unwrap();
        assert!(id("north").holds(&id("north/feeder-7")) && id("north").holds(&id("north")));
        assert!(!id("north").holds(&id("northern")) && !id("north/feeder-7").holds(&id("north")));
        assert_eq!(id("a/b/c").and_above(), [id("a"), id("a/b"), id("a/b/c")]);
    }

    #[test]
    fn names_that_could_break_a_path_or_a_log_line_are_refused() {
        for bad in ["", "/", "a//b", "a/", "/a", "a/../b", ".", "a b", "é", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<ZoneId>().is_err(), "{bad:?}");
        }
        for bad in ["", "a b", "<", "\"", &"x".repeat(129)] {
            assert!(bad.parse::<ApplianceId>().is_err(), "{bad:?}");
        }
        assert!("sek".parse::<CurrencyCode>().is_err() && "EURO".parse::<CurrencyCode>().is_err());
        assert!("0".parse::<EventId>().is_err());
    }
}
