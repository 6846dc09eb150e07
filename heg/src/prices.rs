//! What energy costs at home: takes what a price file or feed and the utility tell, and says what is known, until when, and what is not well.
//!
//! PURE. In: [`News`] of whoever looks at the file or asks the feed, the utility's series, the clocks. Out: [`Effect`]s, which are entries of
//! the journal and what is to be on the disk. A document that is wrong changes nothing: what was known stays.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tariff::price_file::{self, Expected};
use tariff::{Prices, Source, Stale, Terms, instant, unix};
use upnp::time::BootTime;
use utility_wire::{CurrencyCode, PriceSeries, UnixTime};

use crate::journal::{Cause, Ending, Entry};
use crate::limits::{PLAN_AHEAD_MAX_S, PRICES_KEPT_S, PRICES_ROLL_S, REASON_BYTES_MAX, bounded};
use crate::now::Now;
use crate::plan::Span;
use crate::plan::slots::PriceSpan;

mod kept;

/// What the configuration decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Clock, time-of-use table, billing, when prices are stale.
    pub terms: Terms,
    /// The currency of all prices, where it is configured; prices in another one are refused.
    pub currency: Option<CurrencyCode>,
    /// A file or feed that is looked at.
    pub watched: Option<Watched>,
}

impl Settings {
    /// Nothing configured.
    pub fn nothing(zone: TimeZone) -> Self {
        Self { terms: Terms::new(zone), currency: None, watched: None }
    }
}

/// A file or feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// Which of the two.
    pub source: Source,
    /// Its path or address, for people.
    pub name: String,
    /// What is known of its documents beside their content.
    pub expected: Expected,
}

/// What came of looking at the file or asking the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Another document than before.
    Document {
        /// Its text.
        text: String,
        /// When it was written or fetched.
        at: Timestamp,
    },
    /// The document of before, written or fetched again.
    Same {
        /// When.
        at: Timestamp,
    },
    /// Nothing can be had; why, in words.
    Failed(String),
}

/// An order to the shell around this module.
#[derive(Clone, Debug)]
pub enum Effect {
    /// An entry for the journal.
    Journal(Entry),
    /// What is to be on the disk; [`HomePrices::new`] takes it after a restart.
    Keep(Vec<u8>),
}

/// The prices of a home and where they come from.
#[derive(Debug)]
pub struct HomePrices {
    settings: Settings,
    prices: Prices,
    /// Whether the file or feed has been looked at since the start: before that nothing is late.
    looked: bool,
    /// Why the last look came to nothing.
    failure: Option<String>,
    /// What is wrong with the document that is there now.
    refused: Option<String>,
    /// Why series of the utility are left out.
    foreign: Option<String>,
    stale: Vec<Stale>,
    checked: Now,
    next: Option<UnixTime>,
    effects: VecDeque<Effect>,
}

impl HomePrices {
    /// As they were left: `kept` is what was ordered to be kept last. What is damaged, or of another file or feed than is configured now, is
    /// passed over.
    pub fn new(settings: Settings, kept: Option<&[u8]>, now: Now) -> Self {
        let mut home = Self {
            prices: Prices::new(settings.terms.clone()),
            settings,
            looked: false,
            failure: None,
            refused: None,
            foreign: None,
            stale: Vec::new(),
            checked: now,
            next: None,
            effects: VecDeque::new(),
        };
        if let (Some(watched), Some(bytes)) = (&home.settings.watched, kept) {
            match kept::read(bytes) {
                Ok(kept) if kept.of == watched.key() => home.prices.set(watched.source, kept.series, kept.confirmed),
                Ok(kept) => tracing::info!(of = kept.of, "prices of before are of another file or feed"),
                Err(error) => tracing::warn!(%error, "prices of before cannot be read; they are fetched again"),
            }
        }
        home.check(now);
        home
    }

    /// The prices.
    pub fn prices(&self) -> &Prices {
        &self.prices
    }

    /// The currency of all prices, once it is known.
    pub fn currency(&self) -> Option<CurrencyCode> {
        let told = || [Source::Utility, Source::File, Source::Feed].into_iter().find_map(|s| self.prices.currency(s));
        self.settings.currency.or_else(told)
    }

    /// Until when prices are known without a gap; none where there is none for now, or no end is known.
    pub fn until(&self) -> Option<UnixTime> {
        self.prices.coverage(unix(self.checked.wall)).and_then(|(_, until)| until)
    }

    /// What the planner goes by: the prices as far ahead as it plans, and those of the last days, by which it reckons what was used. Gaps stay gaps.
    pub fn for_plan(&self, now: Now) -> Vec<PriceSpan> {
        let at = now.wall.as_second();
        let unix = |at: i64| UnixTime::new(u64::try_from(at).unwrap_or(0));
        let second = |at: UnixTime| i64::try_from(at.seconds()).unwrap_or(i64::MAX);
        let slots =
            self.prices.slots(unix(at - at.rem_euclid(PRICES_ROLL_S) - PRICES_KEPT_S), unix(at + PLAN_AHEAD_MAX_S));
        let span = |slot: &tariff::Slot| Span { start: second(slot.from), end: second(slot.until) };
        slots
            .iter()
            .filter_map(|slot| Some(PriceSpan { span: span(slot), price: slot.priced?.price.count() }))
            .collect()
    }

    /// Whether there is anything to say of prices.
    pub fn is_used(&self) -> bool {
        let told = !self.prices.series(Source::Utility).is_empty();
        self.settings.watched.is_some() || self.settings.terms.table.is_some() || told
    }

    /// Another configuration.
    pub fn configure(&mut self, settings: Settings, now: Now) {
        let key = |s: &Settings| s.watched.as_ref().map(Watched::key);
        if key(&self.settings) != key(&settings) {
            // What was read elsewhere, or as other money, says nothing now.
            for source in [Source::File, Source::Feed] {
                self.prices.set(source, Vec::new(), unix(now.wall));
            }
            self.looked = false;
        }
        (self.failure, self.refused) = (None, None);
        self.prices.set_terms(settings.terms.clone());
        self.settings = settings;
        self.check(now);
    }

    /// News of the file or feed.
    pub fn handle(&mut self, news: News, now: Now) {
        let Some(watched) = self.settings.watched.clone() else { return };
        self.looked = true;
        match news {
            News::Document { text, at } => {
                self.failure = None;
                match self.read(&text, &watched) {
                    Ok(series) => {
                        self.refused = None;
                        self.take(&watched, series, unix(at), now);
                    }
                    Err(why) => {
                        tracing::info!(of = watched.name, why, "prices refused");
                        self.journal(Ending::Failed, &format!("{}: {why}", watched.name), now);
                        self.refused = Some(why);
                    }
                }
            }
            News::Same { at } => {
                self.failure = None;
                // One that was refused confirms nothing.
                if self.refused.is_none() {
                    self.prices.confirm(watched.source, unix(at));
                }
            }
            News::Failed(why) => self.failure = Some(why),
        }
        self.check(now);
    }

    /// All series that the utility has published and that are not over, the newest first. Those in another currency are left out.
    pub fn told_by_utility(&mut self, series: Vec<PriceSeries>, now: Now) {
        let wanted = self.settings.currency;
        let (ours, foreign): (Vec<_>, Vec<_>) =
            series.into_iter().partition(|s| wanted.is_none_or(|wanted| s.currency() == wanted));
        self.foreign = foreign.first().zip(wanted).map(|(series, wanted)| {
            format!("the utility's prices are in {}, the tariff is in {wanted}: they are left out", series.currency())
        });
        self.prices.set(Source::Utility, ours, unix(now.wall));
        self.check(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Now) {
        if now.wall < self.checked.wall || self.next.is_some_and(|next| instant(next) <= now.wall) {
            self.check(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, as the clocks stood at the last input: each hour at least, where there
    /// are prices.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        self.next.map(|next| self.checked.boot_at(instant(next)))
    }

    /// The next order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// How it stands, for the status line: `prices until 2026-11-29 00:00 from file`.
    pub fn status(&self) -> Option<String> {
        self.is_used().then(|| match self.prices.coverage(unix(self.checked.wall)) {
            Some((source, Some(until))) => format!("prices until {} from {source}", self.local(until)),
            Some((source, None)) => format!("prices from {source}"),
            None => "no price for now".to_owned(),
        })
    }

    /// What is not as new as it should be, each a sentence.
    pub fn stale(&self) -> Vec<String> {
        self.stale.iter().map(|stale| self.said(stale)).collect()
    }

    /// What is not well beside that, each a sentence.
    pub fn troubles(&self) -> Vec<String> {
        let name = self.settings.watched.as_ref().map_or("", |w| &w.name);
        let refused = self.refused.as_ref().map(|why| format!("prices refused: {name}: {why}"));
        let failure = self.failure.as_ref().map(|why| format!("prices cannot be had: {why}"));
        refused.into_iter().chain(failure).chain(self.foreign.clone()).collect()
    }

    fn read(&self, text: &str, watched: &Watched) -> Result<PriceSeries, String> {
        let series = price_file::read(text, &watched.expected).map_err(|error| error.to_string())?;
        match self.settings.currency {
            Some(wanted) if series.currency() != wanted => {
                Err(format!("prices are in {}, the tariff is in {wanted}", series.currency()))
            }
            _ => Ok(series),
        }
    }

    fn take(&mut self, watched: &Watched, series: PriceSeries, at: UnixTime, now: Now) {
        let (count, slot_s) = (series.prices_milli().len(), series.slot_s());
        let span = format!("{} to {}", self.local(series.start()), self.local(series.end()));
        if !self.prices.add(watched.source, series, at) {
            return;
        }
        self.prices.forget_over(watched.source, unix(now.wall));
        tracing::info!(of = watched.name, count, slot_s, span, "prices");
        let slots = if slot_s.is_multiple_of(60) { format!("{} min", slot_s / 60) } else { format!("{slot_s} s") };
        self.journal(Ending::Observed, &format!("{}: {count} prices of {slots}, {span}", watched.name), now);
        let kept = kept::Kept { of: watched.key(), confirmed: at, series: self.prices.series(watched.source).to_vec() };
        self.effects.push_back(Effect::Keep(kept::write(&kept)));
    }

    /// Looks again at what is stale, and journals what has become so.
    fn check(&mut self, now: Now) {
        let time = unix(now.wall);
        let judged = self.looked || self.settings.watched.is_none();
        let stale = if judged { self.prices.stale(time) } else { Vec::new() };
        let new: Vec<String> = stale.iter().filter(|s| !self.stale.contains(s)).map(|s| self.said(s)).collect();
        for said in new {
            tracing::info!(stale = said, "prices");
            self.journal(Ending::Observed, &format!("stale: {said}"), now);
        }
        self.stale = stale;
        self.checked = now;
        // The planner has the prices of the hours ahead ([`Self::for_plan`]): with each hour there is one more, from a table without end too.
        let hour = now.wall.as_second().div_euclid(PRICES_ROLL_S) * PRICES_ROLL_S + PRICES_ROLL_S;
        let hour = Timestamp::from_second(hour).ok().filter(|_| self.is_used()).map(unix);
        self.next = self.prices.next_change(time).into_iter().chain(hour).min();
    }

    fn said(&self, stale: &Stale) -> String {
        match *stale {
            Stale::Late { wanted, until: Some(until) } => {
                format!("prices should be known until {}, and are until {}", self.local(wanted), self.local(until))
            }
            Stale::Late { wanted, until: None } => {
                format!("prices should be known until {}, and there is none published for now", self.local(wanted))
            }
            Stale::Old { source, confirmed } => {
                format!("prices of the {source} were last confirmed {}", self.local(confirmed))
            }
        }
    }

    fn local(&self, at: UnixTime) -> String {
        self.settings.terms.zone.to_datetime(instant(at)).strftime("%Y-%m-%d %H:%M").to_string()
    }

    fn journal(&mut self, ending: Ending, reason: &str, now: Now) {
        self.effects.push_back(Effect::Journal(Entry {
            at: now.wall,
            udn: None,
            action: "prices".into(),
            cause: Cause::Gateway,
            ending,
            reason: bounded(reason, REASON_BYTES_MAX),
        }));
    }
}

impl Watched {
    /// What its prices are worth only together with: where they are from, and what was read into them.
    fn key(&self) -> String {
        let Expected { zone, currency, per, .. } = &self.expected;
        let currency = currency.map(|currency| currency.to_string()).unwrap_or_default();
        let per = per.map(|per| format!("{per:?}")).unwrap_or_default();
        format!("{} {zone} {currency} {per}", self.name)
    }
}

#[cfg(test)]
mod tests;
