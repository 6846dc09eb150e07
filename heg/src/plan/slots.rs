//! Slots of a plan, cut from prices, limits and base load, each of which has edges of its own.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::problem::{Slot, Span};
use crate::limits::{PLAN_HOLE_CLOSED_S, PLAN_PRICE_SPANS_MAX, PLAN_SLOTS_MAX, PLAN_SPANS_MAX};

/// A price for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceSpan {
    /// When.
    pub span: Span,
    /// Millionths of the currency per kWh.
    pub price: i64,
}

/// A limit on what the home draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSpan {
    /// When, with this home's draw of the randomised start in it (`utility_wire::draw_s`); one that does not end by itself ends at [`i64::MAX`].
    pub span: Span,
    /// At most this, watts.
    pub watts: u32,
}

/// How fast load may come back when a limit has ended: all at once it would make the next peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comeback {
    /// The cap rises from the limit by so much a minute, watts.
    pub watts_per_minute: u32,
    /// For so long, seconds.
    pub for_s: u32,
}

/// What is known of the time to plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook<'a> {
    /// From when until when.
    pub span: Span,
    /// Longest slot, seconds; edges are at its multiples, which for a quarter hour are the clock's everywhere.
    pub slot_s: u32,
    /// Prices, each span with its own length, in any order.
    pub prices: &'a [PriceSpan],
    /// Limits, current ones, coming ones and those just ended.
    pub limits: &'a [LimitSpan],
    /// What the home's fuse or contract allows at any time, watts.
    pub always_w: Option<u32>,
    /// How load comes back after a limit.
    pub comeback: Option<Comeback>,
    /// What is drawn by what isn't planned, watts; nothing where nothing is said.
    pub base: &'a [(Span, u32)],
    /// Other instants at which something changes, such as the end of a minimum time.
    pub edges: &'a [i64],
}

/// Why no slots can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlotsError {
    /// Nothing to plan.
    #[error("the time to plan is empty or its slots have no length")]
    Empty,
    /// More than a plan may have.
    #[error("more than {PLAN_SLOTS_MAX} slots, {PLAN_PRICE_SPANS_MAX} prices or {PLAN_SPANS_MAX} limits")]
    TooMany,
    /// Two prices for one time, from the start of the second on.
    #[error("two prices for the time from {0} on")]
    TwoPrices(i64),
    /// Two base loads for one time.
    #[error("two base loads for the time from {0} on")]
    TwoBases(i64),
}

/// Cuts slots at every edge. Time without a price keeps none ([`Slot::price`]), but a hole of a few seconds is closed.
pub fn cut(outlook: &Outlook<'_>) -> Result<Vec<Slot>, SlotsError> {
    let Outlook { span, slot_s, .. } = *outlook;
    let step = i64::from(slot_s);
    if span.start >= span.end || step == 0 {
        return Err(SlotsError::Empty);
    }
    let many = outlook.prices.len() > PLAN_PRICE_SPANS_MAX
        || outlook.limits.len().max(outlook.base.len()) > PLAN_SPANS_MAX
        || span.end.saturating_sub(span.start) / step > PLAN_SLOTS_MAX as i64;
    if many {
        return Err(SlotsError::TooMany);
    }
    let prices = closed(outlook.prices, step)?;
    let mut base = outlook.base.to_vec();
    base.sort_unstable();
    if let Some(pair) = base.windows(2).find(|pair| pair[1].0.start < pair[0].0.end) {
        return Err(SlotsError::TwoBases(pair[1].0.start));
    }
    let limits: Vec<(Span, u32)> = outlook.limits.iter().map(|limit| (limit.span, limit.watts)).collect();
    let mut edges = BTreeSet::from([span.start, span.end]);
    let first = span.start.div_euclid(step) * step + step;
    let grid = (0..).map(|k| first + k * step).take_while(|edge| *edge < span.end);
    let spans = prices.iter().map(|p| p.span).chain(limits.iter().chain(&base).map(|(s, _)| *s));
    let spans = spans.flat_map(|s| [s.start, s.end]);
    let all = grid.chain(spans).chain(outlook.edges.iter().copied());
    edges.extend(all.filter(|e| (span.start..span.end).contains(e)));
    if edges.len() > PLAN_SLOTS_MAX + 1 {
        return Err(SlotsError::TooMany);
    }
    let edges: Vec<i64> = edges.into_iter().collect();
    let slot = |pair: &[i64]| {
        let at = pair[0];
        Slot {
            span: Span { start: at, end: pair[1] },
            price: prices.iter().find(|p| holds(p.span, at)).map(|p| p.price),
            cap_w: cap(outlook, &limits, at),
            base_w: base.iter().find(|(s, _)| holds(*s, at)).map_or(0, |(_, watts)| *watts),
        }
    };
    Ok(edges.windows(2).map(slot).collect())
}

fn holds(span: Span, at: i64) -> bool {
    (span.start..span.end).contains(&at)
}

/// Prices in order, small holes closed, also one before the clock's next edge: tariffs lose their last quarter hour that way.
fn closed(prices: &[PriceSpan], step: i64) -> Result<Vec<PriceSpan>, SlotsError> {
    let mut prices: Vec<PriceSpan> = prices.iter().filter(|p| p.span.start < p.span.end).copied().collect();
    prices.sort_unstable_by_key(|p| p.span);
    for i in 0..prices.len() {
        let end = prices[i].span.end;
        let edge = end.saturating_sub(1).div_euclid(step).saturating_add(1).saturating_mul(step);
        let next = prices.get(i + 1).map(|p| p.span.start);
        if let Some(start) = next.filter(|start| *start < end) {
            return Err(SlotsError::TwoPrices(start));
        }
        let near = |at: &i64| at.saturating_sub(end) <= PLAN_HOLE_CLOSED_S;
        prices[i].span.end = next.filter(near).or(Some(edge).filter(near)).unwrap_or(end);
    }
    Ok(prices)
}

/// The lowest of what holds at `at`: fuse, limits, and the way back from each that has ended. A slot is held to its first second's, so
/// that load never comes back sooner.
fn cap(outlook: &Outlook<'_>, limits: &[(Span, u32)], at: i64) -> Option<u32> {
    let limited = limits.iter().filter_map(|(span, watts)| {
        if holds(*span, at) {
            return Some(*watts);
        }
        let comeback = outlook.comeback?;
        let since = at.checked_sub(span.end).filter(|since| (0..i64::from(comeback.for_s)).contains(since))?;
        let risen = i64::from(comeback.watts_per_minute) * since / 60;
        Some(u32::try_from(i64::from(*watts) + risen).unwrap_or(u32::MAX))
    });
    limited.chain(outlook.always_w).min()
}
