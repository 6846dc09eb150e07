//! The prices the planner goes by, those of the last days too: what was used has to be paid.
#![forbid(unsafe_code)]

use crate::limits::{PLAN_PRICE_MAX, PLAN_PRICE_SPANS_MAX, PRICES_KEPT_S};
use crate::plan::Span;
use crate::plan::slots::PriceSpan;

/// Prices in order, none for the same time as another.
#[derive(Clone, Debug, Default)]
pub(super) struct Tariff {
    spans: Vec<PriceSpan>,
    currency: Box<str>,
}

impl Tariff {
    /// ISO 4217 code; empty while it is not known.
    pub(super) fn currency(&self) -> &str {
        &self.currency
    }

    /// Prices from the first of them on are these. Those before stay for as long as they are needed.
    pub(super) fn set(&mut self, mut new: Vec<PriceSpan>, currency: &str, now: i64) {
        new.retain(|p| p.span.start < p.span.end && p.span.end > now - PRICES_KEPT_S);
        // What is beyond any tariff would leave the home without a plan.
        new.iter_mut().for_each(|p| p.price = p.price.clamp(-PLAN_PRICE_MAX, PLAN_PRICE_MAX));
        new.sort_unstable_by_key(|p| p.span);
        for i in 1..new.len() {
            new[i - 1].span.end = new[i - 1].span.end.min(new[i].span.start);
        }
        let first = new.first().map_or(now, |p| p.span.start);
        self.spans.retain(|p| p.span.start < first && p.span.end > now - PRICES_KEPT_S);
        if let Some(last) = self.spans.last_mut() {
            last.span.end = last.span.end.min(first);
        }
        self.spans.append(&mut new);
        self.spans.retain(|p| p.span.start < p.span.end);
        self.spans.truncate(PLAN_PRICE_SPANS_MAX);
        self.currency = currency.into();
    }

    /// The price at an instant, millionths of the currency per kWh.
    pub(super) fn at(&self, at: i64) -> Option<i64> {
        let next = self.spans.partition_point(|p| p.span.start <= at);
        let last = self.spans.get(next.checked_sub(1)?)?;
        (at < last.span.end).then_some(last.price)
    }

    /// Until when the price of an instant holds.
    pub(super) fn holds_until(&self, at: i64) -> Option<i64> {
        let next = self.spans.partition_point(|p| p.span.start <= at);
        let last = self.spans.get(next.checked_sub(1)?)?;
        (at < last.span.end).then_some(last.span.end)
    }

    /// Those not over before `from`.
    pub(super) fn ahead(&self, from: i64) -> Vec<PriceSpan> {
        self.spans.iter().filter(|p| p.span.end > from).copied().collect()
    }

    /// Until when there are prices.
    pub(super) fn until(&self) -> Option<i64> {
        self.spans.last().map(|p| p.span.end)
    }

    /// What `watts` cost over `span`, millionths of the currency; `None` where a price is not known for all of it.
    pub(super) fn cost(&self, span: Span, watts: u32) -> Option<i64> {
        let (mut micros, mut seconds) = (0i128, 0);
        let first = self.spans.partition_point(|p| p.span.end <= span.start);
        for price in self.spans[first..].iter().take_while(|p| p.span.start < span.end) {
            let Some(both) = price.span.within(span) else { continue };
            seconds += both.seconds();
            micros += i128::from(price.price) * i128::from(both.seconds()) * i128::from(watts);
        }
        // W s to kWh.
        (seconds == span.seconds()).then(|| i64::try_from(micros / 3_600_000).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(start: i64, end: i64, price: i64) -> PriceSpan {
        PriceSpan { span: Span { start, end }, price }
    }

    #[test]
    fn new_prices_take_the_place_of_old_ones_and_what_was_used_stays_priced() {
        let mut tariff = Tariff::default();
        tariff.set(vec![price(3600, 7200, 200_000), price(0, 3600, 100_000)], "EUR", 0);
        assert_eq!(tariff.cost(Span { start: 1800, end: 5400 }, 1000), Some(150_000));
        assert_eq!(tariff.cost(Span { start: 5400, end: 9000 }, 1000), None, "half of it has no price");
        tariff.set(vec![price(5400, 9000, -50_000)], "EUR", 3600);
        assert_eq!(
            [0, 5399, 5400, 8999, 9000].map(|t| tariff.at(t)),
            [Some(100_000), Some(200_000), Some(-50_000), Some(-50_000), None]
        );
        assert_eq!(tariff.cost(Span { start: 3600, end: 7200 }, 2000), Some(150_000));
        let later = PRICES_KEPT_S + 6000;
        tariff.set(vec![price(later, later + 1, 1)], "EUR", later);
        assert_eq!((tariff.at(0), tariff.at(8000)), (None, Some(-50_000)));
    }
}
