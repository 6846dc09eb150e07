//! The time planned: what a watt costs in each slot.
#![forbid(unsafe_code)]

use super::problem::{Slot, Span};

/// Steps of money inside the planner in a millionth of the currency: rounding then shows nowhere.
pub(super) const NANO: i64 = 1000;

pub(super) struct Grid {
    pub(super) slots: Vec<Slot>,
    /// Prices with the unknown ones filled in, millionths per kWh.
    prices: Vec<i64>,
}

impl Grid {
    /// A slot without a price counts as the dearest known one: work goes where the price is known, as far as it can.
    pub(super) fn new(slots: Vec<Slot>) -> Self {
        let dearest = slots.iter().filter_map(|s| s.price).max().unwrap_or(0);
        let prices = slots.iter().map(|s| s.price.unwrap_or(dearest)).collect();
        Self { slots, prices }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Money for `watt_seconds` in a slot. The bounds of a problem keep the product within 64 bits.
    pub(super) fn cost(&self, slot: usize, watt_seconds: i64) -> i64 {
        // millionths per kWh x Ws / 3 600 000 x 1000
        (watt_seconds * self.prices[slot]).div_euclid(3600)
    }

    /// The whole time.
    pub(super) fn span(&self) -> Span {
        let end = self.slots.last().map_or(0, |s| s.span.end);
        Span { start: self.slots.first().map_or(0, |s| s.span.start), end }
    }

    /// The slot that holds `at`, or the last one before it.
    pub(super) fn slot_at(&self, at: i64) -> usize {
        self.slots.partition_point(|s| s.span.start <= at).saturating_sub(1)
    }

    /// Slots that have a part within `span`.
    pub(super) fn touched(&self, span: Span) -> std::ops::Range<usize> {
        let first = self.slots.partition_point(|s| s.span.end <= span.start);
        let last = self.slots.partition_point(|s| s.span.start < span.end);
        first..last.max(first)
    }

    /// Time without a price, neighbours joined.
    pub(super) fn unpriced(&self) -> Vec<Span> {
        let mut found: Vec<Span> = Vec::new();
        for slot in self.slots.iter().filter(|s| s.price.is_none()) {
            match found.last_mut() {
                Some(last) if last.end == slot.span.start => last.end = slot.span.end,
                _ => found.push(slot.span),
            }
        }
        found
    }
}
