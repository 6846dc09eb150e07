//! What a gateway asks for by a poll, what it is told to do, and what came of it.

use core::fmt;
use core::str::FromStr;

use energy_model::PowerState;

use crate::codec::{NEVER, Reader, Wire, WireError, Writer};
use crate::limits::{CONTROLS_MAX, OUTCOMES_MAX, REASON_BYTES_MAX};
use crate::{ApplianceId, EventId, LimitSet, List, Text, UnixTime, ZoneId};

record! {
    /// "Is there anything for me?" The answer comes when there is, at the latest after the wait asked for.
    pub struct Poll {
        /// How long the answer may be held back, seconds, up to [`WAIT_S_MAX`](crate::limits::WAIT_S_MAX).
        pub wait_s: u16,
        /// What the gateway already has.
        pub have: Versions,
        /// What came of earlier commands.
        pub outcomes: List<Outcome, OUTCOMES_MAX>,
    }
}

record! {
    /// Versions of what a gateway keeps: the utility's and its own are equal, or there is something to fetch.
    pub struct Versions {
        /// Latest price series of the home's zone; 0 for none.
        pub prices: u64,
        /// Limits of the home and its groups.
        pub limits: u64,
        /// Security policy.
        pub policy: u64,
    }
}

record! {
    /// Answer to a poll.
    pub struct Command {
        /// What is current at the utility.
        pub current: Versions,
        /// All limits that hold or will hold for this home, where they differ from what the gateway has.
        pub limits: Option<LimitSet>,
        /// Direct orders. Each comes again until its outcome is told.
        pub controls: List<Control, CONTROLS_MAX>,
        /// The next poll is welcome after so many seconds; 0: at once.
        pub poll_after_s: u32,
        /// The home's price zone: under its name the price series are found.
        pub zone: ZoneId,
    }
}

/// The state that direct control asks of an appliance.
pub type Action = PowerState;

record! {
    /// A direct order to one appliance whose people allow it.
    pub struct Control {
        /// Its number; an order that is known by its number is not carried out twice.
        pub id: EventId,
        /// Which appliance.
        pub appliance: ApplianceId,
        /// What to do.
        pub action: Action,
        /// From this instant on it must not be begun.
        pub expires: UnixTime,
    }
}

record! {
    /// What came of a control or limit. Telling it again changes nothing.
    pub struct Outcome {
        /// Of which.
        pub id: EventId,
        /// When.
        pub at: UnixTime,
        /// What.
        pub kind: OutcomeKind,
    }
}

/// What came of a control or limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// It is here and will be looked at.
    Received,
    /// It is in force here (limits).
    Started,
    /// It was carried out and confirmed, or is over.
    Done,
    /// It was not carried out.
    Refused(Refusal),
    /// It came too late.
    Expired,
}

record! {
    /// Why not.
    pub struct Refusal {
        /// For programs.
        pub code: RefusalCode,
        /// For people.
        pub reason: Text<REASON_BYTES_MAX>,
    }
}

/// Why a home did not obey: below 100 the gateway's own reasons, 800 to 899 the appliance's UPnP error. Others are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefusalCode(u16);

/// The gateway's own reasons, each declared once with its word.
const CODES: &[(RefusalCode, &str)] = &[
    (RefusalCode::NO_CONSENT, "no-consent"),
    (RefusalCode::OPTED_OUT, "opted-out"),
    (RefusalCode::UNKNOWN_APPLIANCE, "unknown-appliance"),
    (RefusalCode::NO_STANDBY_PERIOD, "no-standby-period"),
    (RefusalCode::UNREACHABLE, "unreachable"),
    (RefusalCode::TIMED_OUT, "timed-out"),
    (RefusalCode::FAILED, "failed"),
    (RefusalCode::SUPERSEDED, "superseded"),
];

impl RefusalCode {
    /// The people at home do not let the utility control that appliance.
    pub const NO_CONSENT: Self = Self(1);
    /// A person overrode it for now.
    pub const OPTED_OUT: Self = Self(2);
    /// No such appliance.
    pub const UNKNOWN_APPLIANCE: Self = Self(3);
    /// An appliance asked not to be sent to standby now.
    pub const NO_STANDBY_PERIOD: Self = Self(4);
    /// The appliance does not answer.
    pub const UNREACHABLE: Self = Self(5);
    /// Sent, and not confirmed in time.
    pub const TIMED_OUT: Self = Self(6);
    /// The appliance answered with another fault.
    pub const FAILED: Self = Self(7);
    /// A later order took its place.
    pub const SUPERSEDED: Self = Self(8);

    /// From its number.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CODES.iter().find(|(code, _)| code == self) {
            Some((_, word)) => f.pad(word),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl FromStr for RefusalCode {
    type Err = core::num::ParseIntError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match CODES.iter().find(|(_, word)| *word == s) {
            Some((code, _)) => Ok(*code),
            None => s.parse().map(Self),
        }
    }
}

impl Wire for RefusalCode {
    fn write(&self, w: &mut Writer) {
        self.0.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        u16::read(r).map(Self)
    }
}

/// An array whose first item says which.
impl Wire for OutcomeKind {
    fn write(&self, w: &mut Writer) {
        let (number, refusal) = match self {
            Self::Received => (1u8, None),
            Self::Started => (2, None),
            Self::Done => (3, None),
            Self::Refused(refusal) => (4, Some(refusal)),
            Self::Expired => (5, None),
        };
        w.array(2).expect(NEVER);
        number.write(w);
        match refusal {
            Some(refusal) => refusal.write(w),
            None => _ = w.null().expect(NEVER),
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        r.array(2)?;
        let number = u8::read(r)?;
        match (number, Option::<Refusal>::read(r)?) {
            (1, None) => Ok(Self::Received),
            (2, None) => Ok(Self::Started),
            (3, None) => Ok(Self::Done),
            (4, Some(refusal)) => Ok(Self::Refused(refusal)),
            (5, None) => Ok(Self::Expired),
            _ => Err(r.value("an unknown outcome")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_code_reads_back_from_its_word_or_number() {
        for code in CODES.iter().map(|(code, _)| *code).chain([RefusalCode::new(802)]) {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
        assert!("soon".parse::<RefusalCode>().is_err());
    }
}
