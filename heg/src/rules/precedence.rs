//! Who decides over one appliance at one moment: one function, and the table of it ([`RANKS`], docs/precedence.md).
//!
//! Never against the people at home. But a limit they have agreed to holds for what may be switched off, and an appliance that refuses
//! is left alone: it knows why.
#![forbid(unsafe_code)]

use std::fmt;

use energy_model::RegId;
use utility_wire::EventId;

use super::{RuleId, Source};
use crate::envelope;
use crate::plan::Why;

/// Everybody who may have a say, the weightiest first: a word, when it has a say, what it decides.
pub const RANKS: [(&str, &str, &str); 10] = [
    ("appliance", "it has refused, or does not answer, and is not to be asked again yet", "left as it is"),
    ("request", "it is on, and a NoStandbyPeriod of its own or of a person's forbids standby now", "stays on"),
    ("order-off", "a person has ordered it off, or switched it off by hand, and that has not ended", "off"),
    ("comfort", "it is on, and is of class Critical, or a person's rule keeps it on now", "stays on"),
    ("limit", "a limit the home has agreed to, or its fuse, leaves no room for it", "off"),
    ("order-on", "a person has ordered it on, or switched it on by hand, and that has not ended", "on"),
    ("control", "the utility has ordered it, as it may by the home's consent, and that has not ended", "as ordered"),
    ("opt-out", "a person has taken it out of the plan, and it is not still off from before", "left as it is"),
    ("plan", "price, windows, deadline and importance", "as planned"),
    ("nobody", "nobody has a say", "left as it is"),
];

/// What leaves no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// A limit of the utility's, or the failsafe.
    By(envelope::Cause),
    /// Load is coming back after one.
    Comeback,
    /// The home's fuse or contract.
    Fuse,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::By(cause) => cause.fmt(f),
            Self::Comeback => f.write_str("the way back after a limit"),
            Self::Fuse => f.write_str("the home's fuse"),
        }
    }
}

/// What each has to say at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// It is not to be asked again yet.
    pub unwilling: bool,
    /// It is on, and this registration forbids standby.
    pub request: Option<RegId>,
    /// A person's order: on or off, by which rule.
    pub order: Option<(bool, RuleId)>,
    /// It is on and is to stay so, and who says that; [`Source::Default`] is its class.
    pub comfort: Option<Source>,
    /// There is no room for it under this limit.
    pub limit: Option<Limited>,
    /// What the utility has ordered.
    pub control: Option<(bool, EventId)>,
    /// It is out of the plan by this rule, and not off by what was decided before.
    pub opt_out: Option<RuleId>,
    /// What the plan says, and what decided there.
    pub plan: Option<(bool, Why)>,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruler {
    /// The appliance, by refusing.
    Appliance,
    /// Its registration.
    Request(RegId),
    /// A person's order to switch off.
    OrderOff(RuleId),
    /// A rule of comfort, or its class.
    Comfort(Source),
    /// A limit.
    Limit(Limited),
    /// A person's order to switch on.
    OrderOn(RuleId),
    /// The utility.
    Control(EventId),
    /// A person who took it out.
    OptOut(RuleId),
    /// The plan.
    Plan(Why),
    /// Nobody.
    Nobody,
}

impl Ruler {
    /// The place of [`Self::Control`].
    pub const CONTROL_RANK: usize = 6;

    /// Its place in [`RANKS`], from 0.
    pub fn rank(&self) -> usize {
        match self {
            Self::Appliance => 0,
            Self::Request(_) => 1,
            Self::OrderOff(_) => 2,
            Self::Comfort(_) => 3,
            Self::Limit(_) => 4,
            Self::OrderOn(_) => 5,
            Self::Control(_) => Self::CONTROL_RANK,
            Self::OptOut(_) => 7,
            Self::Plan(_) => 8,
            Self::Nobody => 9,
        }
    }

    /// Its word in [`RANKS`].
    pub fn word(&self) -> &'static str {
        RANKS[self.rank()].0
    }
}

impl fmt::Display for Ruler {
    /// `limit: limit 7`, `order-on, rule 3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Request(reg) => write!(f, ", RegID {reg}"),
            Self::OrderOff(id) | Self::OrderOn(id) | Self::OptOut(id) => write!(f, ", rule {id}"),
            Self::Comfort(Source::Default | Source::Appliance) => f.write_str(", class Critical"),
            Self::Comfort(source) => write!(f, ", {source}"),
            Self::Limit(cause) => write!(f, ": {cause}"),
            Self::Control(id) => write!(f, " {id}"),
            Self::Plan(why) => write!(f, ", {why}"),
            Self::Appliance | Self::Nobody => Ok(()),
        }
    }
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// On or off; `None`: left as it is.
    pub on: Option<bool>,
    /// By whom.
    pub by: Ruler,
}

/// Who decides over an appliance of which `claims` is all there is to say. Reads as [`RANKS`] does.
pub fn decide(claims: &Claims) -> Ruling {
    let rule = |on, by| Ruling { on, by };
    match *claims {
        Claims { unwilling: true, .. } => rule(None, Ruler::Appliance),
        Claims { request: Some(reg), .. } => rule(Some(true), Ruler::Request(reg)),
        Claims { order: Some((false, id)), .. } => rule(Some(false), Ruler::OrderOff(id)),
        Claims { comfort: Some(source), .. } => rule(Some(true), Ruler::Comfort(source)),
        Claims { limit: Some(cause), .. } => rule(Some(false), Ruler::Limit(cause)),
        Claims { order: Some((true, id)), .. } => rule(Some(true), Ruler::OrderOn(id)),
        Claims { control: Some((on, id)), .. } => rule(Some(on), Ruler::Control(id)),
        Claims { opt_out: Some(id), .. } => rule(None, Ruler::OptOut(id)),
        Claims { plan: Some((on, why)), .. } => rule(Some(on), Ruler::Plan(why)),
        _ => rule(None, Ruler::Nobody),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_who_have_a_say_the_weightiest_decides() {
        let id = RuleId::Made(1);
        let event = EventId::new(1).unwrap();
        let all: [fn(&mut Claims); 8] = [
            |c| c.unwilling = true,
            |c| c.request = RegId::new(1).ok(),
            |c| c.order = Some((false, RuleId::Made(1))),
            |c| c.comfort = Some(Source::Default),
            |c| c.limit = Some(Limited::By(envelope::Cause::Failsafe)),
            |c| c.order = c.order.or(Some((true, RuleId::Made(1)))),
            |c| c.control = EventId::new(1).map(|id| (false, id)),
            |c| c.opt_out = Some(RuleId::Made(1)),
        ];
        for plan in [None, Some((true, Why::Price))] {
            for set in 0..1usize << all.len() {
                let mut claims = Claims { plan, ..Claims::default() };
                let said: Vec<usize> = (0..all.len()).filter(|i| set >> i & 1 == 1).collect();
                said.iter().for_each(|i| all[*i](&mut claims));
                let lowest = said.first().copied().unwrap_or(if plan.is_some() { 8 } else { 9 });
                assert_eq!(decide(&claims).by.rank(), lowest, "{claims:?}");
            }
        }
        let order = |on| Claims { order: Some((on, id)), control: Some((!on, event)), ..Claims::default() };
        assert_eq!([true, false].map(|on| decide(&order(on)).on), [Some(true), Some(false)]);
    }

    #[test]
    fn the_table_in_docs_says_the_same() {
        let docs = include_str!("../../../docs/precedence.md");
        let mut rest = docs;
        for (i, (word, when, what)) in RANKS.iter().enumerate() {
            let row = format!("| {} | {word} | {when} | {what} |\n", i + 1);
            let (_, after) = rest.split_once(&row).unwrap_or_else(|| panic!("docs/precedence.md lacks {row:?}"));
            rest = after;
        }
        assert!(!rest.contains("| 11 |"));
    }
}
