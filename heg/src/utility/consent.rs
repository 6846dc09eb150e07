//! Which appliances the utility may control directly. The home's people decide: what they said at `hegctl consent` goes before the
//! configuration, and what is said of one appliance before what is said of all.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use upnp::ids::Udn;

use super::Slot;

/// `[utility] consent`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// No appliance.
    #[default]
    None,
    /// Every appliance, also those that come later.
    All,
    /// These.
    These(BTreeSet<Udn>),
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> serde::de::Visitor<'de> for Form {
            type Value = Allowed;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"none\", \"all\" or a list of UDNs")
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Allowed, E> {
                match word {
                    "none" => Ok(Allowed::None),
                    "all" => Ok(Allowed::All),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
                }
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Allowed, A::Error> {
                let mut udns = BTreeSet::new();
                while let Some(text) = list.next_element::<String>()? {
                    udns.insert(Udn::parse(&text).map_err(|e| serde::de::Error::custom(format!("{text:?}: {e}")))?);
                }
                Ok(Allowed::These(udns))
            }
        }
        d.deserialize_any(Form)
    }
}

/// What the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// `[utility] consent`
    pub allowed: Allowed,
    /// `[[appliance]] utility-control`
    pub appliances: BTreeMap<Udn, bool>,
}

/// All that was said about it.
#[derive(Clone, Debug, Default)]
pub struct Consent {
    configured: Configured,
    all: Option<bool>,
    said: BTreeMap<Udn, bool>,
}

impl Consent {
    /// Whether the utility may control that appliance.
    pub fn allows(&self, udn: &Udn) -> bool {
        let said = self.said.get(udn).copied().or(self.all);
        said.or_else(|| self.configured.appliances.get(udn).copied()).unwrap_or_else(|| {
            match &self.configured.allowed {
                Allowed::None => false,
                Allowed::All => true,
                Allowed::These(udns) => udns.contains(udn),
            }
        })
    }

    pub(super) fn configure(&mut self, configured: Configured) {
        self.configured = configured;
    }

    pub(super) fn restore(&mut self, of: Option<Udn>, value: &[u8]) -> Option<()> {
        let yes = match value {
            b"yes" => true,
            b"no" => false,
            _ => return None,
        };
        match of {
            Some(udn) => _ = self.said.insert(udn, yes),
            None => self.all = Some(yes),
        }
        Some(())
    }

    /// A person speaks. What is said of all appliances takes the place of what was said of each. Gives what has to be stored.
    pub(super) fn say(&mut self, of: Option<Udn>, yes: bool) -> Vec<(Slot, Option<Vec<u8>>)> {
        let mut rows: Vec<_> = Vec::new();
        match &of {
            Some(udn) => _ = self.said.insert(udn.clone(), yes),
            None => {
                self.all = Some(yes);
                let said = std::mem::take(&mut self.said);
                rows.extend(said.into_keys().map(|udn| (Slot::Consent(Some(udn)), None)));
            }
        }
        rows.push((Slot::Consent(of), Some(if yes { &b"yes"[..] } else { b"no" }.to_vec())));
        rows
    }

    /// An appliance was forgotten. Gives what has to be taken out.
    pub(super) fn forget(&mut self, udn: &Udn) -> Option<Slot> {
        self.said.remove(udn).map(|_| Slot::Consent(Some(udn.clone())))
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (Slot, Vec<u8>)> {
        let word = |yes: &bool| if *yes { &b"yes"[..] } else { b"no" }.to_vec();
        let one = self.said.iter().map(move |(udn, yes)| (Slot::Consent(Some(udn.clone())), word(yes)));
        self.all.iter().map(move |yes| (Slot::Consent(None), word(yes))).chain(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_goes_before_the_configuration_and_one_appliance_before_all() {
        let [tv, nas, pump] = ["tv", "nas", "pump"].map(|name| Udn::parse(&format!("uuid:{name}")).unwrap());
        let mut consent = Consent::default();
        assert!(!consent.allows(&tv), "nobody consents by saying nothing");
        let allowed = Allowed::These([tv.clone()].into());
        consent.configure(Configured { allowed, appliances: [(nas.clone(), true)].into() });
        assert_eq!([&tv, &nas, &pump].map(|udn| consent.allows(udn)), [true, true, false]);
        let rows = consent.say(Some(tv.clone()), false);
        assert_eq!(rows, [(Slot::Consent(Some(tv.clone())), Some(b"no".to_vec()))]);
        assert_eq!([&tv, &nas, &pump].map(|udn| consent.allows(udn)), [false, true, false]);
        let rows = consent.say(None, true);
        assert_eq!(rows[0], (Slot::Consent(Some(tv.clone())), None), "all is all");
        assert_eq!([&tv, &nas, &pump].map(|udn| consent.allows(udn)), [true, true, true]);
        let mut again = Consent::default();
        for (slot, value) in consent.rows() {
            let Slot::Consent(of) = slot else { panic!("{slot:?}") };
            again.restore(of, &value).unwrap();
        }
        assert!(again.allows(&pump));
        assert_eq!(again.restore(None, b"perhaps"), None);
    }
}
