//! What goes in and out of [`Planner`](super::Planner).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use upnp::ids::Udn;
use utility_wire::EventId;

use super::decisions::Decision;
use super::slot::Slot;
use crate::commands::{Outcome, Verb};
use crate::envelope::Cap;
use crate::gateway::{AskId, Reply};
use crate::journal::{Cause, Entry};
use crate::plan::slots::{Comeback, PriceSpan};
use crate::rules::Rule;
use crate::rules::form::RuleForm;
use crate::rules::{RuleId, load};

/// What the configuration decides; may change while running.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[[load]]`
    pub loads: BTreeMap<Udn, load::Settings>,
    /// `[[rule]]`
    pub rules: Vec<Rule>,
    /// What is drawn by what the gateway does not know, W.
    pub base_w: u32,
    /// What the home's fuse or contract allows, W.
    pub fuse_w: Option<u32>,
    /// How load comes back after a limit.
    pub comeback: Comeback,
    /// A plan is kept where another saves no more than this, millionths of the currency.
    pub keep_unless_saves: i64,
    /// An appliance switched by hand is left so for this time, s.
    pub by_hand_s: i64,
    /// Local time.
    pub zone: TimeZone,
}

/// What the utility has ordered of an appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// By which order.
    pub id: EventId,
    /// On or off.
    pub on: bool,
    /// Until when, seconds since 1970.
    pub until: i64,
}

/// A fact.
#[derive(Clone, Debug)]
pub enum Input {
    /// Prices, from the first of them on.
    Prices {
        /// Which.
        spans: Vec<PriceSpan>,
        /// In which currency, ISO 4217.
        currency: Box<str>,
    },
    /// What the home may draw from each instant on, as far as is known: [`Envelope::ahead`](crate::envelope::Envelope::ahead).
    Caps(Vec<(i64, Option<Cap>)>),
    /// The utility has ordered an appliance, with the home's consent.
    Controlled(Udn, Control),
    /// Something about an appliance looks different.
    Appliance(Udn),
    /// An appliance was forgotten.
    Forgotten(Udn),
    /// A command ended, whosever it was.
    Ended {
        /// Whose.
        udn: Udn,
        /// Which.
        verb: Verb,
        /// For whom.
        cause: Cause,
        /// How.
        outcome: Outcome,
    },
    /// A person asks for a change of the rules.
    Asked {
        /// Who waits.
        ask: AskId,
        /// User id.
        uid: u32,
        /// Which.
        change: Change,
    },
    /// The wall clock was set.
    ClockChanged,
    /// The configuration was read again.
    Configured(Settings),
}

/// A change of the rules.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Another rule.
    Add(RuleForm),
    /// One less.
    Remove(RuleId),
}

/// How soon something has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Soon {
    /// With what is written next anyway, or within minutes.
    Lazily,
    /// With the next batch.
    Soon,
}

/// An order to the shell around this module.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Order an appliance; [`Input::Ended`] must follow.
    Order {
        /// Whom.
        udn: Udn,
        /// What.
        verb: Verb,
        /// Why.
        cause: Cause,
    },
    /// Write a row, or take it out.
    Save {
        /// Which.
        slot: Slot,
        /// What; `None` takes it out.
        value: Option<String>,
        /// How soon.
        soon: Soon,
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
    /// Something was decided (for those who watch).
    Decided(Decision),
}
