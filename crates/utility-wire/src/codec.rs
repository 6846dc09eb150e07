//! Values to bytes and back, strictly: a value has exactly one encoding, and nothing else decodes to it.

use minicbor::{Decoder, Encoder};

use crate::limits::MESSAGE_BYTES_MAX;

/// Why bytes were not taken as a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Written by a later version.
    #[error("is of version {found}; this program knows up to {known}")]
    Version {
        /// Its version.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// Not what has to stand at that place.
    #[error("holds something else than it must at byte {at}")]
    Malformed {
        /// Offset in the message.
        at: usize,
    },
    /// A value outside its range.
    #[error("{what} at byte {at}")]
    Value {
        /// Offset behind the value.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Right in content, not in its one encoding: a number not in its shortest form, an indefinite length.
    #[error("is not in its one deterministic form")]
    NotDeterministic,
    /// Something follows the end.
    #[error("goes on after its end at byte {at}")]
    Trailing {
        /// Offset of the first byte too many.
        at: usize,
    },
    /// Longer than any message.
    #[error("is longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
}

/// Reads what is expected, one item after the other.
pub(crate) struct Reader<'a> {
    decoder: Decoder<'a>,
}

impl<'a> Reader<'a> {
    pub(crate) fn at(&self) -> usize {
        self.decoder.position()
    }

    pub(crate) fn value(&self, what: &'static str) -> WireError {
        WireError::Value { at: self.at(), what }
    }

    fn item<T>(&mut self, read: fn(&mut Decoder<'a>) -> Result<T, minicbor::decode::Error>) -> Result<T, WireError> {
        let at = self.at();
        read(&mut self.decoder).map_err(|_| WireError::Malformed { at })
    }

    /// The head of an array of exactly so many items.
    pub(crate) fn array(&mut self, items: u64) -> Result<(), WireError> {
        let at = self.at();
        if self.item(Decoder::array)? == Some(items) { Ok(()) } else { Err(WireError::Malformed { at }) }
    }

    /// The head of an array of up to so many items.
    pub(crate) fn array_up_to(&mut self, items_max: usize) -> Result<usize, WireError> {
        let at = self.at();
        let items = self.item(Decoder::array)?.ok_or(WireError::Malformed { at })?;
        usize::try_from(items).ok().filter(|n| *n <= items_max).ok_or(self.value("more items than allowed"))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, WireError> {
        self.item(Decoder::str)
    }
}

pub(crate) type Writer = Encoder<Vec<u8>>;

/// Writing to a vector never fails.
pub(crate) const NEVER: &str = "writing to a vector never fails";

/// Something with a place in a message.
pub(crate) trait Wire: Sized {
    fn write(&self, w: &mut Writer);
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError>;
}

macro_rules! plain {
    ($($kind:ty: $method:ident),*) => {$(
        impl Wire for $kind {
            fn write(&self, w: &mut Writer) {
                w.$method(*self).expect(NEVER);
            }
            fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
                r.item(Decoder::$method)
            }
        }
    )*};
}
plain!(u8: u8, u16: u16, u32: u32, u64: u64, i64: i64, bool: bool);

/// `null` or the value.
impl<T: Wire> Wire for Option<T> {
    fn write(&self, w: &mut Writer) {
        match self {
            Some(value) => value.write(w),
            None => _ = w.null().expect(NEVER),
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        if r.decoder.datatype().is_ok_and(|kind| kind == minicbor::data::Type::Null) {
            r.item(Decoder::null)?;
            return Ok(None);
        }
        T::read(r).map(Some)
    }
}

/// The domain's words, as their text.
macro_rules! as_word {
    ($($kind:ty),*) => {$(
        impl $crate::codec::Wire for $kind {
            fn write(&self, w: &mut $crate::codec::Writer) {
                w.str(self.as_str()).expect($crate::codec::NEVER);
            }
            fn read(r: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::WireError> {
                r.text()?.parse().map_err(|_| r.value("an unknown word"))
            }
        }
    )*};
}
as_word!(energy_model::PowerState, energy_model::Importance, energy_model::Flexibility);

impl Wire for energy_model::Watts {
    fn write(&self, w: &mut Writer) {
        self.count().write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        u32::read(r).map(Self::new)
    }
}

impl Wire for energy_model::WattHours {
    fn write(&self, w: &mut Writer) {
        self.count().write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        u32::read(r).map(Self::new)
    }
}

/// Declares a structure that travels as an array of its fields in the order declared.
macro_rules! record {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$fdoc:meta])* pub $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$fdoc])* pub $field: $kind,)* }

        impl $crate::codec::Wire for $name {
            fn write(&self, w: &mut $crate::codec::Writer) {
                w.array([$(stringify!($field)),*].len() as u64).expect($crate::codec::NEVER);
                $($crate::codec::Wire::write(&self.$field, w);)*
            }
            fn read(r: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::WireError> {
                r.array([$(stringify!($field)),*].len() as u64)?;
                Ok(Self { $($field: $crate::codec::Wire::read(r)?,)* })
            }
        }
    };
}

/// Declares a choice that travels as its number.
macro_rules! numbered {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them, in the order declared.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// Its number on the wire.
            pub const fn number(self) -> u8 { match self { $(Self::$variant => $number,)* } }
        }

        impl $crate::codec::Wire for $name {
            fn write(&self, w: &mut $crate::codec::Writer) {
                $crate::codec::Wire::write(&self.number(), w);
            }
            fn read(r: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::WireError> {
                match u8::read(r)? {
                    $($number => Ok(Self::$variant),)*
                    _ => Err(r.value("an unknown choice")),
                }
            }
        }
    };
}

mod sealed {
    pub trait Sealed {}
}

/// What travels by itself: a whole body of a sealed message, or a broadcast object.
pub trait Message: sealed::Sealed + Sized {
    /// The version written, and the latest read.
    const VERSION: u64;

    /// Its bytes: the one encoding of this value.
    fn encode(&self) -> Vec<u8>;

    /// From bytes.
    ///
    /// # Errors
    /// Anything but what [`encode`](Self::encode) writes.
    fn decode(bytes: &[u8]) -> Result<Self, WireError>;
}

macro_rules! messages {
    ($($kind:ty),*) => {$(
        impl sealed::Sealed for $kind {}
        impl Message for $kind {
            const VERSION: u64 = 1;
            fn encode(&self) -> Vec<u8> {
                let mut w = Encoder::new(Vec::new());
                w.array(2).and_then(|w| w.u64(Self::VERSION)).expect(NEVER);
                self.write(&mut w);
                w.into_writer()
            }
            fn decode(bytes: &[u8]) -> Result<Self, WireError> {
                if bytes.len() > MESSAGE_BYTES_MAX {
                    return Err(WireError::TooLarge);
                }
                let mut r = Reader { decoder: Decoder::new(bytes) };
                r.array(2)?;
                let found = u64::read(&mut r)?;
                if found != Self::VERSION {
                    return Err(WireError::Version { found, known: Self::VERSION });
                }
                let value = Self::read(&mut r)?;
                if r.at() < bytes.len() {
                    return Err(WireError::Trailing { at: r.at() });
                }
                // The decoder is lenient about the form of numbers and lengths; this is what makes it strict.
                if value.encode() == bytes { Ok(value) } else { Err(WireError::NotDeterministic) }
            }
        }
    )*};
}
messages!(
    crate::Report,
    crate::ReportAnswer,
    crate::Poll,
    crate::Command,
    crate::PriceIndex,
    crate::PriceSeries,
    crate::LimitSet
);
