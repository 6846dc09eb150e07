//! Prices of several sources as one: which goes before which, what nobody has a price for and why, and what is not as new as it should be.
//!
//! What the utility publishes goes before a file or feed, and that before a time-of-use table, instant by instant. Nothing is made up: an
//! instant for which no source has a price is in a gap, and prices that are stale still hold where they are.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use energy_model::TimeOfDay;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use utility_wire::{CurrencyCode, PriceSeries, UnixTime};

use crate::limits::{SERIES_PER_SOURCE_MAX, SPAN_S_MAX};
use crate::price::Price;
use crate::time::{instant, midnight, unix};
use crate::time_of_use::Table;

/// Where a price is from; the first goes before the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Series that the utility publishes.
    Utility,
    /// A file that somebody writes.
    File,
    /// A server that is asked.
    Feed,
    /// The time-of-use table.
    Table,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Utility => "utility",
            Self::File => "file",
            Self::Feed => "feed",
            Self::Table => "table",
        })
    }
}

/// What does not come with the prices.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// The zone by whose clock days and billing slots begin.
    pub zone: TimeZone,
    /// The time-of-use table.
    pub table: Option<Table>,
    /// Where prices are billed by longer slots than they are published for: that many seconds. A series' price is then the mean over the billing
    /// slot by the zone's clock; of one that is not wholly known there is none.
    pub billing_slot_s: Option<u32>,
    /// Tomorrow's prices are known by this time by the zone's clock.
    pub expected_by: Option<TimeOfDay>,
    /// A source not confirmed for so many seconds is stale.
    pub stale_after_s: Option<u64>,
}

impl Terms {
    /// Nothing but a clock.
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, table: None, billing_slot_s: None, expected_by: None, stale_after_s: None }
    }
}

/// A price and where it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priced {
    /// The price.
    pub price: Price,
    /// Whose.
    pub source: Source,
}

/// A span with one price, or with none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// First instant.
    pub from: UnixTime,
    /// First instant after it.
    pub until: UnixTime,
    /// Its price; `None` in a gap.
    pub priced: Option<Priced>,
}

/// Why there is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No source has told anything.
    Nothing,
    /// Later than what is published.
    NotYet,
    /// Earlier than what is published.
    Passed,
    /// Left out between what is published.
    LeftOut,
    /// Only a part of the billing slot has prices, so its mean is not known.
    PartOfBillingSlot,
    /// No period of the time-of-use table fits, and it has no price for other times.
    NoPeriod,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing has been published",
            Self::NotYet => "not published yet",
            Self::Passed => "before the first price published",
            Self::LeftOut => "left out of what was published",
            Self::PartOfBillingSlot => "only a part of the billing slot has prices",
            Self::NoPeriod => "no period of the time-of-use table fits",
        })
    }
}

/// A span without a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First instant.
    pub from: UnixTime,
    /// First instant after it.
    pub until: UnixTime,
    /// Why.
    pub why: Missing,
}

/// What is not as new as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The day's publication is late.
    Late {
        /// Prices should reach to then.
        wanted: UnixTime,
        /// And reach to then; `None`: there is none for now.
        until: Option<UnixTime>,
    },
    /// A source was not confirmed for longer than is allowed.
    Old {
        /// Which.
        source: Source,
        /// When it was last.
        confirmed: UnixTime,
    },
}

/// What a source has told.
#[derive(Clone, Debug)]
struct Published {
    /// The newest first.
    series: Vec<PriceSeries>,
    confirmed: UnixTime,
}

/// The prices of a home.
#[derive(Clone, Debug)]
pub struct Prices {
    terms: Terms,
    published: BTreeMap<Source, Published>,
}

/// A price of one source: until when it holds, and what tells it from the next.
#[derive(Clone, Copy)]
struct Raw {
    price: Price,
    until: UnixTime,
    slot: (usize, UnixTime),
}

impl Published {
    /// The newest series with a price goes; it holds until its slot ends or a newer series begins.
    fn at(&self, at: UnixTime) -> Option<Raw> {
        let newest = |(i, series): (usize, &PriceSeries)| Some((i, series.at(at)?));
        let (i, milli) = self.series.iter().enumerate().find_map(newest)?;
        let series = &self.series[i];
        let slot_s = u64::from(series.slot_s());
        let start = series.start().plus((at.seconds() - series.start().seconds()) / slot_s * slot_s);
        let newer = self.series[..i].iter().map(PriceSeries::start).filter(|start| *start > at);
        let until = newer.chain([start.plus(slot_s)]).min().unwrap_or(at);
        Some(Raw { price: Price::of(milli, series.per()), until, slot: (i, start) })
    }

    fn edges(&self) -> impl Iterator<Item = UnixTime> + '_ {
        self.series.iter().flat_map(|s| s.slots().map(|(at, _)| at).chain([s.end()]))
    }

    /// Whether a series has a price for an instant of the span.
    fn touches(&self, from: UnixTime, until: UnixTime) -> bool {
        self.series.iter().any(|s| s.start() < until && from < s.end())
    }
}

impl Prices {
    /// No source has told anything yet.
    pub fn new(terms: Terms) -> Self {
        Self { terms, published: BTreeMap::new() }
    }

    /// What does not come with the prices.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Other terms from now on.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// All of a source's series, the newest first: those known before are forgotten. Nothing for [`Source::Table`].
    pub fn set(&mut self, source: Source, mut series: Vec<PriceSeries>, confirmed: UnixTime) {
        series.truncate(SERIES_PER_SOURCE_MAX);
        if series.is_empty() {
            self.published.remove(&source);
        } else {
            self.published.insert(source, Published { series, confirmed });
        }
    }

    /// Another series of a source; it goes before those known. `false` when the newest says the same: the source is confirmed then, and that
    /// is all.
    pub fn add(&mut self, source: Source, series: PriceSeries, confirmed: UnixTime) -> bool {
        let known = self.published.entry(source).or_insert_with(|| Published { series: Vec::new(), confirmed });
        known.confirmed = confirmed;
        let newest = known.series.first();
        if newest.is_some_and(|s| s.clone().with_version(series.version()) == series) {
            return false;
        }
        // What another covers whole is never asked again.
        known.series.retain(|s| s.start() < series.start() || series.end() < s.end());
        known.series.insert(0, series);
        known.series.truncate(SERIES_PER_SOURCE_MAX);
        true
    }

    /// Forgets the series of a source that are over.
    pub fn forget_over(&mut self, source: Source, now: UnixTime) {
        if let Some(published) = self.published.get_mut(&source) {
            published.series.retain(|s| s.end() > now);
        }
    }

    /// A source was looked at and says what it said before.
    pub fn confirm(&mut self, source: Source, at: UnixTime) {
        if let Some(published) = self.published.get_mut(&source) {
            published.confirmed = at;
        }
    }

    /// A source's series, the newest first.
    pub fn series(&self, source: Source) -> &[PriceSeries] {
        self.published.get(&source).map_or(&[], |p| &p.series)
    }

    /// When a source was last confirmed.
    pub fn confirmed(&self, source: Source) -> Option<UnixTime> {
        self.published.get(&source).map(|p| p.confirmed)
    }

    /// The currency of a source's newest series.
    pub fn currency(&self, source: Source) -> Option<CurrencyCode> {
        self.series(source).first().map(PriceSeries::currency)
    }

    /// The price at an instant.
    pub fn at(&self, at: UnixTime) -> Option<Priced> {
        self.slots(at, at.plus(1)).first().and_then(|slot| slot.priced)
    }

    /// Every slot from one instant to just before another, in order and without a hole: one that nobody has a price for has `None`. At most
    /// [`SPAN_S_MAX`] seconds are worked out.
    pub fn slots(&self, from: UnixTime, until: UnixTime) -> Vec<Slot> {
        let until = until.min(from.plus(SPAN_S_MAX));
        let mut slots: Vec<(Slot, Option<(usize, UnixTime)>)> = Vec::new();
        let edges: Vec<UnixTime> = self.edges(from, until).into_iter().chain([until]).collect();
        for pair in edges.windows(2) {
            let found = self.published.iter().find_map(|(source, published)| {
                let raw = self.billed(published, pair[0])?;
                Some((Priced { price: raw.price, source: *source }, Some(raw.slot)))
            });
            let of_table = || Some((self.terms.table.as_ref()?.at(pair[0])?, Source::Table));
            let found = found.or_else(|| of_table().map(|(price, source)| (Priced { price, source }, None)));
            let (priced, key) = found.map_or((None, None), |(priced, key)| (Some(priced), key));
            match slots.last_mut() {
                Some((last, last_key)) if last.priced == priced && *last_key == key => last.until = pair[1],
                _ => slots.push((Slot { from: pair[0], until: pair[1], priced }, key)),
            }
        }
        slots.into_iter().map(|(slot, _)| slot).collect()
    }

    /// Every span in which nobody has a price, with the reason.
    pub fn gaps(&self, from: UnixTime, until: UnixTime) -> Vec<Gap> {
        let mut gaps: Vec<Gap> = Vec::new();
        for slot in self.slots(from, until).into_iter().filter(|slot| slot.priced.is_none()) {
            // One gap may have several reasons, each for a part.
            let parts: Vec<UnixTime> =
                self.ends().into_iter().filter(|at| slot.from < *at && *at < slot.until).collect();
            let bounds: Vec<UnixTime> = [slot.from].into_iter().chain(parts).chain([slot.until]).collect();
            for pair in bounds.windows(2) {
                let why = self.why(pair[0]);
                match gaps.last_mut() {
                    Some(last) if last.until == pair[0] && last.why == why => last.until = pair[1],
                    _ => gaps.push(Gap { from: pair[0], until: pair[1], why }),
                }
            }
        }
        gaps
    }

    /// From `now` on without a gap: whose price holds now, and until when that source has one. `None` for when: beyond what is worked out.
    pub fn coverage(&self, now: UnixTime) -> Option<(Source, Option<UnixTime>)> {
        let slots = self.slots(now, now.plus(SPAN_S_MAX));
        let source = slots.first()?.priced?.source;
        let other = slots.iter().find(|slot| slot.priced.is_none_or(|p| p.source != source));
        Some((source, other.map(|slot| slot.from)))
    }

    /// What is not as new as it should be. A time-of-use table is never stale, and does not stand in for a publication that is late.
    pub fn stale(&self, now: UnixTime) -> Vec<Stale> {
        let mut stale = Vec::new();
        if let Some(after_s) = self.terms.stale_after_s {
            let watched = self.published.iter().filter(|(source, _)| **source != Source::Utility);
            let old = watched.filter(|(_, p)| p.confirmed.plus(after_s) <= now);
            stale.extend(old.map(|(source, p)| Stale::Old { source: *source, confirmed: p.confirmed }));
        }
        if let Some(wanted) = self.wanted(now) {
            let until = self.published_until(now);
            if until.is_none_or(|until| until < wanted) {
                stale.push(Stale::Late { wanted, until });
            }
        }
        stale
    }

    /// When [`stale`](Self::stale) or [`coverage`](Self::coverage) next say something else, should nothing come.
    pub fn next_change(&self, now: UnixTime) -> Option<UnixTime> {
        let coverage = self.coverage(now).and_then(|(_, until)| until);
        let published = self.published_until(now);
        let old = self
            .terms
            .stale_after_s
            .into_iter()
            .flat_map(|s| self.published.values().map(move |p| p.confirmed.plus(s)));
        let expected = self.terms.expected_by.into_iter().flat_map(|by| self.expected_around(now, by));
        let starts = self.published.values().flat_map(|p| &p.series).map(PriceSeries::start);
        coverage.into_iter().chain(published).chain(old).chain(expected).chain(starts).filter(|at| *at > now).min()
    }

    /// Until when there are published prices without a gap from `now` on.
    fn published_until(&self, now: UnixTime) -> Option<UnixTime> {
        let mut at = now;
        // Each turn goes to the end of a slot, and there are so many.
        while let Some(raw) = self.published.values().find_map(|p| p.at(at)) {
            at = raw.until;
        }
        (at > now).then_some(at)
    }

    /// To where published prices should reach.
    fn wanted(&self, now: UnixTime) -> Option<UnixTime> {
        let by = self.terms.expected_by?;
        let local = self.terms.zone.to_datetime(instant(now));
        let shown = local.hour() as u32 * 3600 + local.minute() as u32 * 60 + local.second() as u32;
        let days = if shown >= by.seconds_since_midnight() { 2 } else { 1 };
        Some(unix(midnight(local.date().checked_add(days.days()).ok()?, &self.terms.zone)))
    }

    /// Today's and tomorrow's time of publication, and midnight.
    fn expected_around(&self, now: UnixTime, by: TimeOfDay) -> Vec<UnixTime> {
        let zone = &self.terms.zone;
        let today = zone.to_datetime(instant(now)).date();
        let at = |days: i32| {
            let day = today.checked_add(days.days()).ok()?.at(by.hour() as i8, by.minute() as i8, by.second() as i8, 0);
            zone.to_ambiguous_timestamp(day).compatible().ok().map(unix)
        };
        let tomorrow = today.tomorrow().ok().map(|day| unix(midnight(day, zone)));
        at(0).into_iter().chain(at(1)).chain(tomorrow).collect()
    }

    fn edges(&self, from: UnixTime, until: UnixTime) -> BTreeSet<UnixTime> {
        let within = |at: &UnixTime| from < *at && *at < until;
        let mut edges: BTreeSet<UnixTime> = self.published.values().flat_map(Published::edges).filter(within).collect();
        if let Some(len) = self.terms.billing_slot_s
            && self.published.values().any(|p| p.touches(from, until))
        {
            let mut at = from;
            // A billing slot lasts a minute at least, so this is bounded by the span; outside of the series nothing is billed by it.
            let last = self.published.values().flat_map(|p| &p.series).map(PriceSeries::end).max();
            while at < until && last.is_some_and(|last| at < last) {
                at = self.billing_slot(at, len).1;
                edges.extend(Some(at).filter(within));
            }
        }
        if let Some(table) = &self.terms.table {
            edges.extend(table.edges(from, until));
        }
        if from < until {
            edges.insert(from);
        }
        edges
    }

    /// A source's price as it is billed.
    fn billed(&self, published: &Published, at: UnixTime) -> Option<Raw> {
        let raw = published.at(at)?;
        let Some(len) = self.terms.billing_slot_s else { return Some(raw) };
        let (from, until) = self.billing_slot(at, len);
        let (mut sum, mut at) = (0i128, from);
        while at < until {
            let part = published.at(at)?;
            let end = part.until.min(until);
            sum += i128::from(part.price.count()) * i128::from(end.seconds() - at.seconds());
            at = end;
        }
        let seconds = i128::from(until.seconds() - from.seconds());
        // To the nearest, a half up.
        let mean = (2 * sum + seconds).div_euclid(2 * seconds);
        let price = Price::micro_per_kwh(i64::try_from(mean).ok()?);
        Some(Raw { price, until, slot: (0, from) })
    }

    /// The billing slot an instant is in: by the zone's clock, and cut short where that is changed.
    fn billing_slot(&self, at: UnixTime, len: u32) -> (UnixTime, UnixTime) {
        let (zone, now) = (&self.terms.zone, instant(at));
        let offset = i64::from(zone.to_offset(now).seconds());
        let into = (now.as_second() + offset).rem_euclid(i64::from(len));
        let start = now.as_second() - into;
        let end = start + i64::from(len);
        let second = |s: i64| Timestamp::from_second(s).unwrap_or(Timestamp::MAX);
        let before = zone.preceding(second(now.as_second() + 1)).next().map(|t| t.timestamp().as_second());
        let after = zone.following(now).next().map(|t| t.timestamp().as_second());
        let start = before.map_or(start, |change| start.max(change));
        let end = after.map_or(end, |change| end.min(change));
        (unix(second(start)), unix(second(end)))
    }

    /// Starts and ends of all series, and edges of billing slots next to them.
    fn ends(&self) -> BTreeSet<UnixTime> {
        let series = || self.published.values().flat_map(|p| &p.series);
        let mut ends: BTreeSet<UnixTime> = series().flat_map(|s| [s.start(), s.end()]).collect();
        if let Some(len) = self.terms.billing_slot_s {
            ends.extend(series().map(|s| self.billing_slot(s.start(), len).1));
            ends.extend(series().map(|s| self.billing_slot(s.end(), len).0));
        }
        ends
    }

    fn why(&self, at: UnixTime) -> Missing {
        let series = || self.published.values().flat_map(|p| &p.series);
        let (Some(first), Some(last)) = (series().map(PriceSeries::start).min(), series().map(PriceSeries::end).max())
        else {
            return match (self.published.is_empty(), &self.terms.table) {
                // All that was published is over and forgotten.
                (false, _) => Missing::NotYet,
                (true, Some(_)) => Missing::NoPeriod,
                (true, None) => Missing::Nothing,
            };
        };
        if self.published.values().any(|p| p.at(at).is_some()) {
            Missing::PartOfBillingSlot
        } else if at >= last {
            Missing::NotYet
        } else if at < first {
            Missing::Passed
        } else {
            Missing::LeftOut
        }
    }
}

#[cfg(test)]
mod tests;
