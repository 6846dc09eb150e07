//! Who and what a message speaks of: parties, keys, nonces, serials, kinds, instants.

use core::fmt;
use core::str::FromStr;

use rand_core::CryptoRng;

use crate::cbor::{Malformed, Reader};

/// Why a name was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a UUID in lower case without prefix")]
pub struct PartyIdError;

/// A gateway, a utility or a KMC: its UUID as 36 characters in lower case (RFC 9562, 4), the only form that is taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartyId([u8; 36]);

impl PartyId {
    /// The 36 characters.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("only ASCII is taken")
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, PartyIdError> {
        let bytes: [u8; 36] = bytes.try_into().map_err(|_| PartyIdError)?;
        let well_formed = bytes.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        });
        if well_formed { Ok(Self(bytes)) } else { Err(PartyIdError) }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_bytes(reader.text()?.as_bytes()).map_err(|_| Malformed::Unexpected)
    }
}

impl FromStr for PartyId {
    type Err = PartyIdError;
    fn from_str(s: &str) -> Result<Self, PartyIdError> {
        Self::from_bytes(s.as_bytes())
    }
}

impl fmt::Display for PartyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for PartyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! eight_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 8]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", u64::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}
eight_bytes! {
    /// The first 8 bytes of a key's thumbprint (RFC 9679): a hint which key is meant, never a proof.
    KeyId
}
eight_bytes! {
    /// 8 random bytes: identifies a message, and its answer names them (`irt`).
    Nonce
}
eight_bytes! {
    /// The first 8 bytes of a token's hash: says which token an enrolment request was made with.
    TokenId
}

impl Nonce {
    /// A new one.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut bytes = [0; 8];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

/// The number of a statement: the KMC counts them upwards from 1, over all parties. 8 bytes, big endian, as `cti`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub u64);

/// Seconds since 1970-01-01 UTC, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// So many seconds later.
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// From when until when something holds: the first second is in it, the last is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    from: UnixTime,
    until: UnixTime,
}

impl Validity {
    /// From `from` to just before `until`; none when that is no time at all.
    pub fn new(from: UnixTime, until: UnixTime) -> Option<Self> {
        (from < until).then_some(Self { from, until })
    }

    /// Its first second.
    pub fn from(self) -> UnixTime {
        self.from
    }

    /// The first second after it.
    pub fn until(self) -> UnixTime {
        self.until
    }

    /// Whether it holds then.
    pub fn contains(self, time: UnixTime) -> bool {
        self.from <= time && time < self.until
    }

    /// Its length in seconds, at least 1.
    pub fn seconds(self) -> u64 {
        self.until.0 - self.from.0
    }

    /// When half of it is over: a statement is asked for anew from then on.
    pub fn half(self) -> UnixTime {
        self.from.plus(self.seconds() / 2)
    }
}

macro_rules! numbered {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $number,)*
        }

        impl $name {
            /// Each with its number on the wire, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its number on the wire.
            pub fn number(self) -> u64 {
                self as u64
            }

            /// The one with that number.
            pub fn from_number(number: u64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use numbered;

numbered! {
    /// What a message is.
    pub enum Kind {
        /// A gateway tells what happened.
        Report = 1,
        /// A gateway asks for commands, and waits.
        Poll = 2,
        /// The utility orders something; only ever the answer to a poll.
        Command = 3,
        /// The answer to a report and to whatever else needs no answer of its own.
        Ack = 4,
        /// Asks the KMC for a party's statement.
        KeyRequest = 5,
        /// Statements.
        KeyStatement = 6,
        /// A policy.
        Policy = 7,
        /// A new gateway introduces itself. Stands in the sealed request, which is no message of this form.
        Enrol = 8,
        /// The KMC's challenge to a new gateway, and the gateway's answer.
        EnrolConfirm = 9,
        /// A party's new keys.
        Rollover = 10,
        /// Asks for the time, and tells it.
        Time = 11,
        /// A refusal.
        Error = 12,
        /// A list of revoked statements.
        RevocationList = 13,
        /// A utility orders a token, a revocation or a policy of the KMC.
        Order = 14,
    }
}

numbered! {
    /// What a statement's subject is.
    pub enum Role {
        /// The KMC's key in the safe: states issuing keys and nothing else.
        Root = 1,
        /// The KMC's key in use: states parties, signs policies and revocation lists.
        Issuing = 2,
        /// The KMC as somebody to send messages to.
        Kmc = 3,
        /// A utility.
        Utility = 4,
        /// A home's gateway.
        Gateway = 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_is_a_uuid_in_the_one_form_that_everybody_writes() {
        let id: PartyId = "2fac1234-31f8-41b4-a222-08002b34c003".parse().unwrap();
        assert_eq!(id.as_str(), "2fac1234-31f8-41b4-a222-08002b34c003");
        for other in [
            "2FAC1234-31f8-41b4-a222-08002b34c003",
            "uuid:2fac1234-31f8-41b4-a222-08002b34c003",
            "2fac1234-31f8-41b4-a222-08002b34c00",
            "2fac1234_31f8-41b4-a222-08002b34c003",
            "2fac1234-31f8-41b4-a222-08002b34cé3",
        ] {
            assert_eq!(other.parse::<PartyId>(), Err(PartyIdError), "{other}");
        }
    }

    #[test]
    fn a_validity_holds_its_first_second_and_not_its_last() {
        let validity = Validity::new(UnixTime(100), UnixTime(200)).unwrap();
        assert!(validity.contains(UnixTime(100)) && validity.contains(UnixTime(199)));
        assert!(!validity.contains(UnixTime(99)) && !validity.contains(UnixTime(200)));
        assert_eq!(validity.half(), UnixTime(150));
        assert_eq!(Validity::new(UnixTime(200), UnixTime(200)), None);
    }

    #[test]
    fn kinds_and_roles_have_the_numbers_of_the_specification() {
        for (number, kind) in (1..).zip(Kind::ALL) {
            assert_eq!((kind.number(), Kind::from_number(number)), (number, Some(*kind)));
        }
        assert_eq!((Kind::ALL.len(), Kind::from_number(0), Kind::from_number(15)), (14, None, None));
        for (number, role) in (1..).zip(Role::ALL) {
            assert_eq!((role.number(), Role::from_number(number)), (number, Some(*role)));
        }
    }
}
