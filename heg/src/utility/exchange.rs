//! What goes in and out of [`Utility`](super::Utility).
#![forbid(unsafe_code)]

use upnp::ids::Udn;
use utility_wire::{Command, EventId, Poll, PriceIndex, PriceSeries, ReportAnswer, UnixTime, ZoneId};

use super::{Settings, Slot};
use crate::commands::{Outcome, Verb};
use crate::gateway::{AskId, Reply};
use crate::journal::Entry;
use crate::planner::Limited;

/// How the way to the utility stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether this gateway has anything to do with a utility.
    pub enrolled: bool,
    /// The utility's UUID, once the KMC has named it.
    pub peer: Option<String>,
    /// Why it can't be talked to now; `None`: it can.
    pub hindrance: Option<String>,
    /// Version of the security policy that is followed.
    pub policy: u32,
    /// The time, as the KMC told it; `None`: not known since the start.
    pub time: Option<UnixTime>,
}

/// A broadcast object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// Which price series of a zone there are.
    Index(ZoneId),
    /// A price series by its version.
    Series(ZoneId, u64),
}

/// A broadcast object whose signature was the utility's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// See [`Object::Index`].
    Index(PriceIndex),
    /// See [`Object::Series`].
    Series(PriceSeries),
}

/// Why a message of ours was not answered as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody answered, or nobody who could be believed.
    NoAnswer(String),
    /// Later.
    Busy {
        /// When, in seconds.
        after_s: u64,
    },
    /// The utility does not take what was sent, and sending it again does not help.
    NotTaken(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAnswer(why) | Self::NotTaken(why) => f.write_str(why),
            Self::Busy { after_s } => write!(f, "the utility has no time for {after_s} s"),
        }
    }
}

/// A fact.
#[derive(Clone, Debug)]
pub enum Input {
    /// How the way stands, whenever that changes.
    Link(Link),
    /// The key management centre has stated this gateway's keys.
    Enrolled {
        /// The person who asked for it; none after a restart meanwhile.
        by: Option<u32>,
        /// The centre's address.
        kmc: String,
    },
    /// A number was taken from the utility. Comes before what its message says, so that both are written together.
    Window([u8; 24]),
    /// What came of [`Question::Poll`].
    Polled(Result<Command, Failure>),
    /// What came of [`Question::Report`].
    Reported {
        /// Which.
        batch: u64,
        /// What.
        result: Result<ReportAnswer, Failure>,
    },
    /// What came of [`Question::Fetch`].
    Fetched {
        /// Which.
        object: Object,
        /// What.
        result: Result<Fetched, Failure>,
    },
    /// The utility answers the word that [`Utility::called`](super::Utility::called) gave it.
    Commanded(Command),
    /// Whether everything up to [`Effect::Flush`] is on the disk.
    Saved {
        /// Which.
        ticket: u64,
        /// Or why not.
        result: Result<(), String>,
    },
    /// What came of [`Effect::Order`].
    Ended {
        /// Which.
        id: EventId,
        /// What.
        outcome: Outcome,
    },
    /// How the home keeps limits now.
    Limited(Limited),
    /// Something about an appliance looks different.
    Appliance(Udn),
    /// An appliance was forgotten.
    Forgotten(Udn),
    /// A person says whether the utility may control an appliance, or all.
    Said {
        /// Who waits.
        ask: AskId,
        /// User id.
        uid: u32,
        /// Which appliance.
        of: Option<Udn>,
        /// Whether it may.
        yes: bool,
    },
    /// The configuration was read again.
    Configured(Settings),
}

/// How soon something has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Soon {
    /// With what is written next anyway, or within minutes.
    Lazily,
    /// With the next batch.
    Soon,
}

/// Something to be sent to the utility.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether there is news; [`Input::Polled`] must follow. One that is under way is given up.
    Poll(Poll),
    /// A report; [`Input::Reported`] must follow.
    Report {
        /// Its number.
        batch: u64,
        /// Its bytes.
        body: Vec<u8>,
    },
    /// A broadcast object is wanted; [`Input::Fetched`] must follow.
    Fetch(Object),
}

/// An order to the shell around this module.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Ask the utility.
    Ask(Question),
    /// Order an appliance; [`Input::Ended`] must follow.
    Order {
        /// For which control.
        id: EventId,
        /// Whom.
        udn: Udn,
        /// What.
        verb: Verb,
    },
    /// An order of the utility's is not carried out (for whoever asks why).
    Declined {
        /// Which control.
        id: EventId,
        /// Whom it was for.
        udn: Udn,
        /// What was ordered.
        verb: Verb,
        /// Why not.
        outcome: Outcome,
    },
    /// Write a row, or take it out.
    Save {
        /// Which.
        slot: Slot,
        /// What; `None` takes it out.
        value: Option<Vec<u8>>,
        /// How soon.
        soon: Soon,
    },
    /// Write everything up to here at once; [`Input::Saved`] must follow.
    Flush {
        /// Comes back with it.
        ticket: u64,
    },
    /// Write a journal entry.
    Journal(Entry),
    /// Answer somebody, once everything ordered before is on the disk.
    Answer {
        /// Whom.
        ask: AskId,
        /// What.
        reply: Reply,
    },
}
