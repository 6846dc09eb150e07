//! What the people at home say about their appliances: what may be planned, when it is to run, at what price, what goes first.
//!
//! PURE. One model for the configuration (`[[load]]`, `[[rule]]`), `hegctl rule` and whatever comes later:
//!
//! | file | what |
//! |---|---|
//! | `form` | a rule as it is written, and what is wrong with it |
//! | `load` | an appliance as something that can be planned: what it says, the configuration and the rules together |
//! | `book` | all rules, in order of their weight, with their ends |
//! | `window` | hours of some days of the week |
//! | `precedence` | who decides over an appliance at one moment; docs/precedence.md |
//!
//! Nothing is switched on or off by the gateway's own account before somebody at home has said yes ([`Consent`]).
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use energy_model::{Flexibility, Importance};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use upnp::ids::Udn;

use self::load::PhaseForm;
use self::window::Window;

pub mod book;
pub mod form;
pub mod load;
pub mod precedence;
pub mod window;

/// Names a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleId {
    /// The configuration's, by its place there from 1: `c1`.
    Config(u16),
    /// One that was made while running; its number is not given again: `7`.
    Made(u32),
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(place) => write!(f, "c{place}"),
            Self::Made(number) => write!(f, "{number}"),
        }
    }
}

/// A text that is no [`RuleId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a rule's number, or c and a number for one of the configuration")]
pub struct RuleIdError;

impl FromStr for RuleId {
    type Err = RuleIdError;
    fn from_str(s: &str) -> Result<Self, RuleIdError> {
        let id = match s.strip_prefix('c') {
            Some(place) => place.parse().ok().filter(|n| *n > 0).map(Self::Config),
            None => s.parse().ok().filter(|n| *n > 0).map(Self::Made),
        };
        id.filter(|id| id.to_string() == s).ok_or(RuleIdError)
    }
}

/// Who made a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Whoever wrote the configuration file.
    Config,
    /// A person or program at the control socket, by user id.
    Person(u32),
    /// Whoever switched the appliance by hand; the gateway made a rule of it.
    Hand,
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Person(uid) => write!(f, "person:{uid}"),
            Self::Hand => f.write_str("hand"),
        }
    }
}

impl FromStr for Author {
    type Err = RuleIdError;
    fn from_str(s: &str) -> Result<Self, RuleIdError> {
        match s.split_once(':') {
            None if s == "config" => Ok(Self::Config),
            None if s == "hand" => Ok(Self::Hand),
            Some(("person", uid)) => uid.parse().map(Self::Person).map_err(|_| RuleIdError),
            _ => Err(RuleIdError),
        }
    }
}

/// What the gateway may do with an appliance on its own account. The order is that of giving more away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// Nothing. So it is until somebody says otherwise.
    #[default]
    No,
    /// Switch it off, and on again, where a limit the home has agreed to leaves no room for it.
    Limits,
    /// Plan it by price, time and importance too.
    Yes,
}

impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::No => "no",
            Self::Limits => "limits",
            Self::Yes => "yes",
        })
    }
}

/// Out of what an appliance is taken for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptOut {
    /// Planning by price, time and importance.
    Plan,
    /// Orders of the utility.
    Utility,
    /// Both. A limit the home has agreed to holds all the same.
    #[default]
    All,
}

impl fmt::Display for OptOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plan => "plan",
            Self::Utility => "utility",
            Self::All => "all",
        })
    }
}

impl OptOut {
    /// Whether it is out of planning.
    pub fn of_plan(self) -> bool {
        self != Self::Utility
    }

    /// Whether it is out of the utility's orders.
    pub fn of_utility(self) -> bool {
        self != Self::Plan
    }
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// What the gateway may do on its own account.
    Plan(Consent),
    /// What may be done with its work, instead of what it says itself; of a cycle the steps too, where they are said.
    Kind(Flexibility, Box<[PhaseForm]>),
    /// Its cycle runs, or so much energy (Wh) is taken, once in each such window.
    EveryDay(Window, Option<u32>),
    /// Its importance, instead of what it says itself.
    Importance(Importance),
    /// It is not to run above this price, millionths of the currency per kWh.
    PriceMax(i64),
    /// It is to run in this window and not outside.
    Only(Window),
    /// It is not to be switched off in this window.
    KeepOn(Window),
    /// Its cycle is to run once between the rule's beginning and its end.
    Run,
    /// It is to take so much energy between the rule's beginning and its end, Wh.
    Charge(u32),
    /// What it draws while on, W, instead of what it says itself.
    Power(u32),
    /// What it draws while off or in standby, W.
    RestPower(u32),
    /// Once on it stays on for so long, s, instead of what it says itself.
    MinimumOn(u32),
    /// Once off it stays off for so long, s, instead of what it says itself.
    MinimumOff(u32),
    /// What a start costs, millionths of the currency.
    StartCost(i64),
    /// It is left out for a while.
    OptOut(OptOut),
    /// A person's order, until the rule's end.
    Order {
        /// On or off.
        on: bool,
    },
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// About which appliance; `None`: about each one.
    pub appliance: Option<Udn>,
    /// What it says.
    pub what: What,
    /// It holds from then on; `None`: at once.
    pub from: Option<Timestamp>,
    /// It holds until then; `None`: until it is removed.
    pub until: Option<Timestamp>,
    /// Who made it.
    pub by: Author,
    /// When it was made; none of the configuration.
    pub made: Option<Timestamp>,
}

impl Rule {
    /// Whether it has begun and not ended.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && !self.is_over(now)
    }

    /// Whether it has ended.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether it is about that appliance.
    pub fn is_about(&self, udn: &Udn) -> bool {
        self.appliance.as_ref().is_none_or(|of| of == udn)
    }
}

/// Where a value of a load comes from, the weightiest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The appliance says so (ApplianceInfo:1).
    Appliance,
    /// `[[load]]`
    Config,
    /// A rule.
    Rule(RuleId),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Appliance => f.write_str("appliance"),
            Self::Config => f.write_str("config"),
            Self::Rule(id) => write!(f, "rule:{id}"),
        }
    }
}

/// Millionths of the currency, from a number in whole units; `None` beyond `most`.
fn micros(units: f64, most: i64) -> Option<i64> {
    let micros = (units * 1e6).round();
    (micros.abs() <= most as f64).then_some(micros as i64)
}

/// A number in whole units, from millionths of the currency.
pub fn units(micros: i64) -> f64 {
    micros as f64 / 1e6
}
