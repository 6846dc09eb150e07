//! What goes in and out of [`Planner`](super::Planner).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use upnp::ids::Udn;
use utility_wire::{EventId, LimitSet, UnixTime};

use super::decisions::Decision;
use super::slot::Slot;
use crate::commands::{Outcome, Verb};
use crate::envelope::Terms;
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
    /// What the home has agreed to as to limits.
    pub terms: Terms,
    /// Local time.
    pub zone: TimeZone,
}

/// What the utility has ordered of an appliance; it holds for as long as a person's command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control {
    /// By which order.
    pub(super) id: EventId,
    /// On or off.
    pub(super) on: bool,
    /// Until when, seconds since 1970.
    pub(super) until: i64,
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
    /// The utility answered.
    Heard {
        /// When the next answer is due at the latest.
        next_within: Duration,
        /// Which limits there are, where it said others than before.
        limits: Option<LimitSet>,
    },
    /// The key management centre's time, by which limits begin and end.
    Time(UnixTime),
    /// The home belongs to no utility any more, or to another one.
    UtilityGone,
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

/// How the home keeps the utility's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Whether it takes limits at all.
    pub accepted: bool,
    /// The limit that holds; none: there is none, or the failsafe limit holds instead.
    pub holds: Option<EventId>,
    /// How much the home may draw by that limit, W: what the limit says, or the home's floor where that is higher.
    pub held_w: u32,
    /// By how much it is exceeded, W, by what is not to be switched off, or by what appliances are seen to draw; told only when that lasts.
    pub over_w: u32,
}

impl Default for Limited {
    fn default() -> Self {
        Self { accepted: true, holds: None, held_w: 0, over_w: 0 }
    }
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
    /// How the home keeps the utility's limits now, whenever that changes.
    Limited(Limited),
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
    /// Another plan is followed than before (for those who watch): something runs at another time.
    Planned,
}
