//! What the planned appliances cost, and what they would have cost had each run at once.
//!
//! At once means: a cycle or a charge from the beginning of its time on. What is paused for its price is not done later: what that would have cost
//! is a sum of its own, nobody's saving by moving; what a limit pauses is none at all. Time without a known price is not counted on any side. Kept by day for the whole home, and by month for each appliance.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use upnp::ids::Udn;

use super::slot::Slot;
use crate::limits::{APPLIANCES_MAX, SAVING_DAYS_KEPT, SAVING_MONTHS_KEPT};

/// Sums of a day or month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sums {
    /// What was paid, millionths of the currency.
    pub cost: i64,
    /// What would have been paid, millionths of the currency.
    pub at_once: i64,
    /// Energy used, W s.
    pub energy_ws: u64,
    /// What was not used, because of the price or its hours, would have cost so much, millionths of the currency.
    #[serde(default)]
    pub not_used: i64,
}

impl Sums {
    /// What was saved by moving it, millionths of the currency; less than nothing where the plan cost more.
    pub fn saved(&self) -> i64 {
        self.at_once - self.cost
    }

    fn add(&mut self, other: Self) {
        self.cost = self.cost.saturating_add(other.cost);
        self.at_once = self.at_once.saturating_add(other.at_once);
        self.energy_ws = self.energy_ws.saturating_add(other.energy_ws);
        self.not_used = self.not_used.saturating_add(other.not_used);
    }
}

/// All sums.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    days: BTreeMap<Box<str>, Sums>,
    months: BTreeMap<(Box<str>, Udn), Sums>,
    unsaved: BTreeSet<Slot>,
}

impl Ledger {
    /// Takes a row from the store.
    pub(super) fn restore(&mut self, slot: &Slot, value: &str) -> Option<()> {
        let sums = serde_json::from_str(value).ok()?;
        match slot {
            Slot::Day(day) => _ = self.days.insert(day.clone(), sums),
            Slot::Month(month, udn) => _ = self.months.insert((month.clone(), udn.clone()), sums),
            _ => return None,
        }
        Some(())
    }

    /// Enters what an appliance cost at `at`.
    pub(super) fn add(&mut self, udn: &Udn, sums: Sums, at: i64, zone: &TimeZone) {
        if sums == Sums::default() {
            return;
        }
        let date = Timestamp::from_second(at).map(|at| zone.to_datetime(at).date().to_string()).unwrap_or_default();
        let month = date.get(..7).unwrap_or_default();
        self.days.entry(date.as_str().into()).or_default().add(sums);
        self.months.entry((month.into(), udn.clone())).or_default().add(sums);
        self.unsaved.extend([Slot::Day(date.as_str().into()), Slot::Month(month.into(), udn.clone())]);
    }

    /// Whether [`Self::rows`] has something that is not in the store.
    pub(super) fn is_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// The rows that are other than in the store, and those to be taken out because they are old.
    pub(super) fn take_unsaved(&mut self) -> Vec<(Slot, Option<String>)> {
        let mut rows: Vec<_> =
            std::mem::take(&mut self.unsaved).into_iter().map(|slot| (slot.clone(), self.value(&slot))).collect();
        while self.days.len() > SAVING_DAYS_KEPT
            && let Some((day, _)) = self.days.pop_first()
        {
            rows.push((Slot::Day(day), None));
        }
        let months: BTreeSet<Box<str>> = self.months.keys().map(|(month, _)| month.clone()).collect();
        let old = months.len().saturating_sub(SAVING_MONTHS_KEPT);
        let last_old = old.checked_sub(1).and_then(|last| months.into_iter().nth(last));
        while let Some(first) = self.months.first_entry()
            && (Some(&first.key().0) <= last_old.as_ref() || self.months.len() > SAVING_MONTHS_KEPT * APPLIANCES_MAX)
            && let Some(((month, udn), _)) = self.months.pop_first()
        {
            rows.push((Slot::Month(month, udn), None));
        }
        rows
    }

    fn value(&self, slot: &Slot) -> Option<String> {
        let sums = match slot {
            Slot::Day(day) => self.days.get(day),
            Slot::Month(month, udn) => self.months.get(&(month.clone(), udn.clone())),
            _ => None,
        };
        sums.and_then(|sums| serde_json::to_string(sums).ok())
    }

    /// All rows, for a store that was begun anew.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Slot, String)> {
        let days = self.days.keys().map(|day| Slot::Day(day.clone()));
        let slots = days.chain(self.months.keys().map(|(month, udn)| Slot::Month(month.clone(), udn.clone())));
        slots.filter_map(|slot| self.value(&slot).map(|value| (slot, value)))
    }

    /// Days, the oldest first.
    pub(super) fn days(&self) -> impl Iterator<Item = (&str, &Sums)> {
        self.days.iter().map(|(day, sums)| (&**day, sums))
    }

    /// Months, the oldest first, by appliance.
    pub(super) fn months(&self) -> impl Iterator<Item = (&str, &Udn, &Sums)> {
        self.months.iter().map(|((month, udn), sums)| (&**month, udn, sums))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_are_local_and_come_back_from_their_rows() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let tv = Udn::parse("uuid:tv").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        let sums = Sums { cost: 10, at_once: 15, energy_ws: 100, not_used: 3 };
        let mut ledger = Ledger::default();
        ledger.add(&tv, sums, at("2026-10-31T22:59:59Z"), &zone);
        ledger.add(&tv, sums, at("2026-10-31T23:00:00Z"), &zone);
        ledger.add(&tv, sums, at("2026-11-01T12:00:00Z"), &zone);
        let days: Vec<_> = ledger.days().map(|(day, s)| (day.to_owned(), s.saved())).collect();
        assert_eq!(days, [("2026-10-31".to_owned(), 5), ("2026-11-01".to_owned(), 10)]);
        let mut again = Ledger::default();
        let rows = ledger.take_unsaved();
        assert_eq!(rows.len(), 4);
        for (slot, value) in rows {
            again.restore(&slot, &value.unwrap()).unwrap();
        }
        assert_eq!(again.rows().collect::<Vec<_>>(), ledger.rows().collect::<Vec<_>>());
        assert_eq!(
            again.months().map(|(month, _, s)| (month, s.saved())).collect::<Vec<_>>(),
            [("2026-10", 5), ("2026-11", 10)]
        );
        assert!(!ledger.is_unsaved());
    }

    #[test]
    fn what_is_old_goes() {
        let tv = Udn::parse("uuid:tv").unwrap();
        let sums = Sums { cost: 1, ..Sums::default() };
        let mut ledger = Ledger::default();
        for day in 0..1000 {
            ledger.add(&tv, sums, day * 86_400, &TimeZone::UTC);
            ledger.take_unsaved();
        }
        assert_eq!((ledger.days.len(), ledger.months.len()), (SAVING_DAYS_KEPT, SAVING_MONTHS_KEPT));
        assert_eq!(ledger.days().last().unwrap().0, "1972-09-26");
    }
}
