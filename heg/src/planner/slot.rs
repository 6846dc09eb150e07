//! Under which name each thing the planner keeps lies in the database.
#![forbid(unsafe_code)]

use upnp::ids::Udn;

/// A row of the database's table `planner`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// A rule by its number: JSON.
    Rule(u32),
    /// The last number given to a rule, decimal.
    LastRule,
    /// That the utility has stated a limit once: `yes`.
    Engaged,
    /// Limits from which load comes back, when each ended and its watts: JSON.
    Ended,
    /// How far an appliance's work of the day is done: JSON.
    Work(Udn),
    /// That the plan or a control has switched an appliance off, and it is to go on again: `yes`; `ordered` while nobody knows whether it went
    /// off. Or that it is on for its work alone: `work`.
    Paused(Udn),
    /// When each load runs by the plan: JSON.
    Plan,
    /// What a day cost, `2026-11-27`: JSON.
    Day(Box<str>),
    /// What an appliance cost in a month, `2026-11`: JSON.
    Month(Box<str>, Udn),
}

impl Slot {
    /// Its key.
    pub fn key(&self) -> String {
        match self {
            Self::Rule(number) => format!("rule {number}"),
            Self::LastRule => "last-rule".into(),
            Self::Engaged => "engaged".into(),
            Self::Ended => "ended".into(),
            Self::Work(udn) => format!("work {udn}"),
            Self::Paused(udn) => format!("paused {udn}"),
            Self::Plan => "plan".into(),
            Self::Day(day) => format!("day {day}"),
            Self::Month(month, udn) => format!("month {month} {udn}"),
        }
    }

    /// From its key; `None` for one that this version does not know.
    pub fn parse(key: &str) -> Option<Self> {
        Some(match key.split_once(' ') {
            None if key == "plan" => Self::Plan,
            None if key == "last-rule" => Self::LastRule,
            None if key == "engaged" => Self::Engaged,
            None if key == "ended" => Self::Ended,
            Some(("rule", number)) => Self::Rule(number.parse().ok()?),
            Some(("work", udn)) => Self::Work(Udn::parse(udn).ok()?),
            Some(("paused", udn)) => Self::Paused(Udn::parse(udn).ok()?),
            Some(("day", day)) => Self::Day(day.into()),
            Some(("month", rest)) => {
                let (month, udn) = rest.split_once(' ')?;
                Self::Month(month.into(), Udn::parse(udn).ok()?)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_reads_back_from_its_key() {
        let udn = || Udn::parse("uuid:tv").unwrap();
        for slot in [
            Slot::Rule(7),
            Slot::LastRule,
            Slot::Engaged,
            Slot::Ended,
            Slot::Work(udn()),
            Slot::Paused(udn()),
            Slot::Plan,
            Slot::Day("2026-11-27".into()),
            Slot::Month("2026-11".into(), udn()),
        ] {
            assert_eq!(Slot::parse(&slot.key()), Some(slot));
        }
        for bad in ["", "rule", "rule x", "work tv", "month 2026-11", "colour blue"] {
            assert_eq!(Slot::parse(bad), None, "{bad}");
        }
    }
}
