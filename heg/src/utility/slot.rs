//! Under which name each thing that is kept of the utility lies in the database.
#![forbid(unsafe_code)]

use upnp::ids::Udn;
use utility_wire::EventId;

/// A row of the database's table `utility`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// Which utility all the rest is of: its UUID.
    Peer,
    /// The numbers taken from it: 24 bytes (docs/secure-channel.md, "Receiving").
    Window,
    /// When it was last heard: seconds since 1970, decimal.
    Heard,
    /// The home's price zone, a space, and the version up to which its series are here.
    Zone,
    /// The limits, as they came.
    Limits,
    /// A price series by its version, as it came.
    Prices(u64),
    /// A limit or control that came, and what came of it: JSON.
    Event(EventId),
    /// A report that is not acknowledged, as it is sent.
    Batch(u64),
    /// Up to when consumption has gone into reports: seconds since 1970, decimal.
    Covered,
    /// What a person said of direct control by the utility, of one appliance or of all: `yes` or `no`.
    Consent(Option<Udn>),
}

impl Slot {
    /// Its key.
    pub fn key(&self) -> String {
        match self {
            Self::Peer => "peer".into(),
            Self::Window => "window".into(),
            Self::Heard => "heard".into(),
            Self::Zone => "zone".into(),
            Self::Limits => "limits".into(),
            Self::Prices(version) => format!("prices {version}"),
            Self::Event(id) => format!("event {id}"),
            Self::Batch(number) => format!("batch {number}"),
            Self::Covered => "covered".into(),
            Self::Consent(None) => "consent".into(),
            Self::Consent(Some(udn)) => format!("consent {udn}"),
        }
    }

    /// From its key; `None` for one that this version does not know.
    pub fn parse(key: &str) -> Option<Self> {
        Some(match key.split_once(' ') {
            None => match key {
                "peer" => Self::Peer,
                "window" => Self::Window,
                "heard" => Self::Heard,
                "zone" => Self::Zone,
                "limits" => Self::Limits,
                "covered" => Self::Covered,
                "consent" => Self::Consent(None),
                _ => return None,
            },
            Some(("prices", version)) => Self::Prices(version.parse().ok()?),
            Some(("event", id)) => Self::Event(id.parse().ok()?),
            Some(("batch", number)) => Self::Batch(number.parse().ok()?),
            Some(("consent", udn)) => Self::Consent(Some(Udn::parse(udn).ok()?)),
            Some(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_reads_back_from_its_key() {
        let udn = Udn::parse("uuid:tv").unwrap();
        let id = EventId::new(7).unwrap();
        for slot in [
            Slot::Peer,
            Slot::Window,
            Slot::Heard,
            Slot::Zone,
            Slot::Limits,
            Slot::Prices(3),
            Slot::Event(id),
            Slot::Batch(u64::MAX),
            Slot::Covered,
            Slot::Consent(None),
            Slot::Consent(Some(udn)),
        ] {
            assert_eq!(Slot::parse(&slot.key()), Some(slot));
        }
        for bad in ["", "prices", "prices x", "event 0", "consent tv", "color blue"] {
            assert_eq!(Slot::parse(bad), None, "{bad}");
        }
    }
}
