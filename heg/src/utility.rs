//! The gateway's dealings with its utility: what is known, what is due, what came and what was answered.
//!
//! PURE. [`Input`]s are facts (a poll was answered, an order ended, time passes), [`Effect`]s are orders (poll, report, fetch, order an
//! appliance, write). The way to the utility, its keys and its signatures are [`crate::utility_client`]'s: only what was checked there gets
//! here. Appliances are looked up in the [`Gateway`] that is passed in.
//!
//! | file | what |
//! |---|---|
//! | `consent` | which appliances the utility may control |
//! | `known` | limits and prices |
//! | `limits` | what came of limits |
//! | `events` | limits and controls that came, until the utility knows what came of them |
//! | `meter`, `reports`, `reporting` | energy, and batches until they are acknowledged |
//! | `pace` | when to try again |
//! | `exchange` | what goes in and out |
//! | `sight` | what can be seen from outside |
//! | `slot` | under which name a thing is kept |
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use energy_model::PowerState;
use jiff::Timestamp;
use upnp::ids::Udn;
use upnp::time::{BootTime, earliest};
use utility_wire::limits::WAIT_S_MAX;
use utility_wire::{Command, EventId, Limit, OutcomeKind, Poll, RefusalCode, UnixTime};

use crate::commands::{Outcome, Verb};
use crate::gateway::{AskId, Gateway, Reply};
use crate::journal::{Cause, Ending, Entry};
use crate::limits::{POLL_APART_MIN, REASON_BYTES_MAX, REPORT_EVERY, UTILITY_AFTER_MAX, UTILITY_LOST_AFTER, bounded};
use crate::now::Now;
use crate::planner::Limited;
use crate::registry::Appliance;

mod consent;
mod events;
mod exchange;
mod known;
mod limits;
mod meter;
mod pace;
mod reporting;
mod reports;
mod sight;
mod slot;

pub use consent::{Allowed, Configured, Consent};
pub use exchange::{Effect, Failure, Fetched, Input, Link, Object, Question, Soon};
pub use known::Known;
pub use slot::Slot;

use events::{CUT_SHORT, Events, Step, Told, refused};
use meter::Meters;
use pace::Pace;
use reports::Reports;

/// What the configuration decides; may change while running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether the utility is asked for news; without that it has to call.
    pub poll: bool,
    /// The first contact after a start or an outage is put off by a random time up to this.
    pub spread: Duration,
    /// Which appliances it may control.
    pub consent: Configured,
}

/// An exchange that is repeated: when it is due, and whether one is under way.
#[derive(Debug)]
struct Turn<T> {
    due: Option<BootTime>,
    under_way: Option<T>,
    pace: Pace,
}

impl<T> Turn<T> {
    fn new(spread: Duration, seed: u64) -> Self {
        Self { due: None, under_way: None, pace: Pace::new(spread, seed) }
    }

    fn is_due(&self, now: BootTime) -> bool {
        self.under_way.is_none() && self.due.is_some_and(|due| due <= now)
    }

    fn poll_timeout(&self) -> Option<BootTime> {
        if self.under_way.is_some() { None } else { self.due }
    }

    fn failed(&mut self, failure: &Failure, now: BootTime) {
        let retry_after_s = match failure {
            Failure::Busy { after_s } => Some(*after_s),
            Failure::NoAnswer(_) | Failure::NotTaken(_) => None,
        };
        self.due = Some(now + self.pace.after_failure(retry_after_s));
    }
}

/// See the module.
#[derive(Debug)]
pub struct Utility {
    home: Box<str>,
    settings: Settings,
    link: Link,
    /// Whose limits, prices and reports these are.
    met: Option<String>,
    /// The time at a moment since boot.
    clock: Option<(BootTime, UnixTime)>,
    consent: Consent,
    known: Known,
    events: Events,
    meters: Meters,
    reports: Reports,
    polls: Turn<Vec<(EventId, Told)>>,
    /// When a poll that is held is begun anew, since there is an outcome to tell.
    poll_anew: Option<BootTime>,
    polled: Option<BootTime>,
    reporting: Turn<u64>,
    fetching: Turn<()>,
    /// What was told to the utility when it called.
    told_to_caller: Vec<(EventId, Told)>,
    every: Duration,
    complete: bool,
    changed: BTreeSet<Udn>,
    states: BTreeMap<Udn, (Option<PowerState>, BootTime)>,
    /// It has acknowledged a report since the start: longer ones may follow.
    acquainted: bool,
    saving: BTreeMap<u64, Vec<EventId>>,
    last_ticket: u64,
    heard: Option<UnixTime>,
    heard_at: BootTime,
    lost: bool,
    covered: Option<UnixTime>,
    started: BootTime,
    last_failure: Option<(Timestamp, Box<str>)>,
    last_refusal: Option<(EventId, Box<str>)>,
    /// How the home keeps limits.
    limited: Limited,
    effects: VecDeque<Effect>,
}

/// Rows of the store.
pub type Rows = Vec<(Slot, Vec<u8>)>;

impl Utility {
    /// As it was left. `home` is the gateway's own UUID, in lower case.
    pub fn new(home: &str, settings: Settings, rows: Rows, seed: u64, now: Now) -> Self {
        let spread = settings.spread;
        let mut utility = Self {
            home: home.into(),
            link: Link { hindrance: Some("not enrolled".into()), ..Link::default() },
            met: None,
            clock: None,
            consent: Consent::default(),
            known: Known::default(),
            events: Events::default(),
            meters: Meters::default(),
            reports: Reports::default(),
            polls: Turn::new(spread, seed),
            poll_anew: None,
            polled: None,
            reporting: Turn::new(spread, seed.wrapping_add(1)),
            fetching: Turn::new(spread, seed.wrapping_add(2)),
            told_to_caller: Vec::new(),
            every: REPORT_EVERY,
            complete: true,
            changed: BTreeSet::new(),
            states: BTreeMap::new(),
            acquainted: false,
            saving: BTreeMap::new(),
            last_ticket: 0,
            heard: None,
            heard_at: now.boot,
            lost: false,
            covered: None,
            started: now.boot,
            last_failure: None,
            last_refusal: None,
            limited: Limited::default(),
            effects: VecDeque::new(),
            settings: Settings::default(),
        };
        for (slot, value) in rows {
            if utility.restore(&slot, &value, now).is_none() {
                tracing::warn!(key = slot.key(), "a stored row is not understood and left out");
            }
        }
        utility.configure(settings);
        utility
    }

    fn restore(&mut self, slot: &Slot, value: &[u8], now: Now) -> Option<()> {
        let number = || str::from_utf8(value).ok()?.parse().ok().map(UnixTime::new);
        match slot {
            // The client's.
            Slot::Window => {}
            Slot::Peer => self.met = Some(str::from_utf8(value).ok()?.to_owned()),
            Slot::Heard => self.heard = Some(number()?),
            Slot::Covered => self.covered = Some(number()?),
            Slot::Zone | Slot::Limits | Slot::Prices(_) => self.known.restore(slot, value)?,
            Slot::Event(id) => {
                if self.events.restore(*id, value)? {
                    self.cut_short(*id, now);
                }
            }
            Slot::Batch(number) => self.reports.restore(*number, value)?,
            Slot::Consent(of) => self.consent.restore(of.clone(), value)?,
        }
        Some(())
    }

    /// Everything that has to be in the store, for one that was begun anew.
    pub fn rows(&self) -> Rows {
        let seconds = |slot, at: Option<UnixTime>| at.map(|at| (slot, at.seconds().to_string().into_bytes()));
        let peer = self.met.as_ref().map(|peer| (Slot::Peer, peer.clone().into_bytes()));
        let times = [seconds(Slot::Heard, self.heard), seconds(Slot::Covered, self.covered)];
        let batches = self.reports.batches().map(|q| (Slot::Batch(q.batch), q.body.clone()));
        let rows = peer.into_iter().chain(times.into_iter().flatten()).chain(self.known.rows());
        rows.chain(self.events.rows()).chain(batches).chain(self.consent.rows()).collect()
    }

    /// Takes a fact.
    pub fn handle(&mut self, input: Input, gateway: &Gateway, now: Now) {
        match input {
            Input::Link(link) => self.linked(link, now),
            Input::Enrolled { by, kmc } => {
                let cause = by.map_or(Cause::Gateway, Cause::Person);
                self.journal(None, "enrolled", cause, Ending::Done, &format!("at {kmc}"), now);
            }
            Input::Window(window) => self.save(Slot::Window, Some(window.to_vec()), Soon::Lazily),
            Input::Polled(Ok(command)) => {
                let note = self.polls.under_way.take().unwrap_or_default();
                self.polls.pace.succeeded();
                let after = Duration::from_secs(command.poll_after_s.into()).min(UTILITY_AFTER_MAX);
                self.polls.due = Some(now.boot + after);
                self.commanded(command, &note, now);
            }
            Input::Polled(Err(failure)) => {
                self.polls.under_way = None;
                self.polls.failed(&failure, now.boot);
                self.failed("poll", &failure, now);
            }
            Input::Commanded(command) => {
                let note = std::mem::take(&mut self.told_to_caller);
                self.commanded(command, &note, now);
            }
            Input::Reported { batch, result } => self.reported(batch, result, now),
            Input::Fetched { object, result } => self.fetched(object, result, now),
            Input::Saved { ticket, result } => {
                let time = self.time(now);
                for id in self.saving.remove(&ticket).unwrap_or_default() {
                    self.events.saved(id, result.as_ref().map_err(String::as_str).copied(), time);
                }
            }
            Input::Ended { id, outcome } => self.ended(id, &outcome, now),
            Input::Limited(limited) => self.limited = limited,
            Input::Appliance(udn) => self.appliance(udn, gateway, now),
            Input::Forgotten(udn) => self.forgotten(&udn),
            Input::Said { ask, uid, of, yes } => self.said(ask, uid, of, yes, gateway, now),
            Input::Configured(settings) => {
                self.configure(settings);
                self.changed.extend(gateway.registry().iter().map(|a| a.udn().clone()));
            }
        }
        self.handle_timeout(gateway, now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, gateway: &Gateway, now: Now) {
        for id in self.events.undecided() {
            self.decide(id, gateway, now);
        }
        self.limits_go_on(now);
        self.meter(now);
        self.listen(now);
        if self.link.hindrance.is_none()
            && let Some(time) = self.time(now)
        {
            self.poll(now, time);
            self.report(gateway, now, time);
            self.fetch(now);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called; never for `None`.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let lost = (self.link.peer.is_some() && !self.lost).then(|| self.heard_at + self.patience());
        let at = earliest(lost, self.meters.poll_timeout().filter(|_| self.link.peer.is_some()));
        let over = self.limit_ends().zip(self.clock).map(|(end, (at, time))| {
            // A moment later, so that no part of a second is left.
            at + Duration::from_secs(end.seconds().saturating_sub(time.seconds()) + 1)
        });
        let at = earliest(at, over);
        if self.link.hindrance.is_some() {
            return at;
        }
        let polls = self.polls.poll_timeout().filter(|_| self.settings.poll && self.saving.is_empty());
        let fetch = self.fetching.poll_timeout().filter(|_| self.known.wanted().is_some());
        [polls, self.poll_anew, self.reporting.poll_timeout(), fetch].into_iter().fold(at, earliest)
    }

    /// The next order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The utility calls and asks what the gateway has: the answer, which [`Input::Commanded`] may follow.
    pub fn called(&mut self, now: Now) -> Option<Poll> {
        let time = self.time(now)?;
        let (outcomes, note) = self.events.outcomes(time);
        self.told_to_caller = note;
        self.is_heard(now);
        Some(Poll { wait_s: 0, have: self.known.have(self.link.policy), outcomes })
    }

    fn configure(&mut self, settings: Settings) {
        self.consent.configure(settings.consent.clone());
        for pace in [&mut self.polls.pace, &mut self.reporting.pace, &mut self.fetching.pace] {
            pace.set_spread(settings.spread);
        }
        self.settings = settings;
        self.withdraw_decisions();
    }

    fn linked(&mut self, link: Link, now: Now) {
        if let Some(time) = link.time {
            self.clock = Some((now.boot, time));
            if self.covered.is_none() {
                self.cover(time);
            }
        }
        let first = self.met.is_none();
        if link.peer.is_some() && link.peer != self.met {
            self.meet(&link, first, now);
        }
        let (was, is) = (self.link.hindrance.is_none(), link.hindrance.is_none());
        if is && !was {
            // Somebody who has just enrolled waits for it; all others take their time.
            let put_off = |pace: &mut Pace| now.boot + if first { Duration::ZERO } else { pace.first() };
            self.polls.due = Some(put_off(&mut self.polls.pace));
            self.reporting.due = Some(put_off(&mut self.reporting.pace));
            self.fetching.due = Some(now.boot);
            self.heard_at = self.heard_at.max(self.polls.due.unwrap_or(now.boot));
        } else if was && !is {
            (self.polls.under_way, self.reporting.under_way, self.fetching.under_way) = (None, None, None);
        }
        self.link = link;
    }

    /// Another utility: nothing of the old one's holds.
    fn meet(&mut self, link: &Link, first: bool, now: Now) {
        let Some(peer) = &link.peer else { return };
        if !first {
            let rows = self.known.rows().chain(self.events.rows()).map(|(slot, _)| slot);
            let mut gone: Vec<_> = rows.collect();
            gone.extend(self.reports.clear().into_iter().map(Slot::Batch));
            gone.extend([Slot::Window, Slot::Heard]);
            for slot in gone {
                self.save(slot, None, Soon::Soon);
            }
            (self.known, self.events, self.heard) = (Known::default(), Events::default(), None);
            self.saving.clear();
            // The new one's limits may have the old one's numbers.
            self.limited = Limited { accepted: self.limited.accepted, ..Limited::default() };
            (self.complete, self.acquainted) = (true, false);
        }
        self.heard_at = now.boot;
        self.met = Some(peer.clone());
        self.save(Slot::Peer, Some(peer.clone().into_bytes()), Soon::Soon);
        self.journal(None, "utility met", Cause::Gateway, Ending::Observed, peer, now);
    }

    fn commanded(&mut self, command: Command, note: &[(EventId, Told)], now: Now) {
        self.is_heard(now);
        let time = self.time(now);
        let mut touched = self.events.told(note);
        let (mut fresh, mut write_now) = (Vec::new(), false);
        if let Some(set) = command.limits
            && set != *self.known.limits()
        {
            let (new, called_off) = self.known.set_limits(set);
            let row = utility_wire::Message::encode(self.known.limits());
            self.save(Slot::Limits, Some(row), Soon::Soon);
            // With the next poll the utility learns that they are here.
            write_now = true;
            for limit in &new {
                self.events.limit(limit.id, time);
                touched.push(limit.id);
                fresh.push(limit.id);
                let reason = self.described(limit);
                self.journal(None, &limited(limit), Cause::Utility(limit.id), Ending::Observed, &reason, now);
            }
            for limit in &called_off {
                self.journal(None, "limit called off", Cause::Utility(limit.id), Ending::Observed, "", now);
            }
        }
        for control in command.controls.iter() {
            if self.events.control(control, time) {
                fresh.push(control.id);
                touched.push(control.id);
                let reason = format!("expires {}", moment(control.expires));
                let udn = Udn::parse(&format!("uuid:{}", control.appliance)).ok();
                let action = format!("control {}", control.action);
                self.journal(udn.as_ref(), &action, Cause::Utility(control.id), Ending::Observed, &reason, now);
            }
        }
        let gone = self.known.told(command.zone, command.current.prices);
        for version in gone {
            self.save(Slot::Prices(version), None, Soon::Soon);
        }
        if self.known.wanted().is_some() && self.fetching.due.is_none_or(|due| due > now.boot) {
            // All homes are told of new prices in the same second.
            self.fetching.due = Some(now.boot + self.fetching.pace.first());
        }
        // Before what is no longer listed goes.
        self.limits_go_on(now);
        self.save_events(touched);
        if write_now || !fresh.is_empty() {
            self.flush(fresh);
        }
    }

    /// Everything up to here is to be on the disk before these go on.
    fn flush(&mut self, events: Vec<EventId>) {
        self.last_ticket += 1;
        self.saving.insert(self.last_ticket, events);
        self.effects.push_back(Effect::Flush { ticket: self.last_ticket });
    }

    fn save_events(&mut self, touched: Vec<EventId>) {
        for id in touched {
            let row = self.events.row(id);
            self.save(Slot::Event(id), row, Soon::Soon);
        }
        let limits = self.known.limits();
        let gone = self.events.prune(|id| limits.limits.iter().any(|l| l.id == id));
        for id in gone {
            self.save(Slot::Event(id), None, Soon::Soon);
        }
    }

    /// Whether a control is carried out: by whom it is for, consent and time.
    fn decide(&mut self, id: EventId, gateway: &Gateway, now: Now) {
        let Some(event) = self.events.get(id) else { return };
        let Some(control) = event.control.clone() else { return };
        let (before_restart, ready) = match event.step {
            Step::Saved { before_restart } => (before_restart, false),
            Step::Ready => (false, true),
            _ => return,
        };
        // Whether it came too late only a clock can tell.
        let Some(time) = self.time(now) else { return };
        let verb = match control.action {
            PowerState::On => Verb::On,
            PowerState::Off => Verb::Off,
            PowerState::Standby => Verb::Standby,
        };
        let udn = gateway
            .registry()
            .iter()
            .map(Appliance::udn)
            .find(|udn| udn.bare().eq_ignore_ascii_case(control.appliance.as_str()));
        let end = match udn {
            _ if control.expires <= time && before_restart => {
                refused(RefusalCode::TIMED_OUT, "the gateway was restarted meanwhile, and now it is too late")
            }
            _ if control.expires <= time => OutcomeKind::Expired,
            _ if self.link.hindrance.is_some() => {
                refused(RefusalCode::FAILED, &self.link.hindrance.clone().unwrap_or_default())
            }
            None => refused(RefusalCode::UNKNOWN_APPLIANCE, "no such appliance is in this home"),
            Some(udn) if !self.consent.allows(udn) => {
                refused(RefusalCode::NO_CONSENT, "the people at home do not let the utility control it")
            }
            Some(_) if !ready => {
                // On the disk first: whoever is restarted in between knows that it may have been carried out.
                self.events.step(id, Step::Ordering);
                self.save_events(vec![id]);
                return self.flush(vec![id]);
            }
            Some(udn) => {
                self.events.step(id, Step::Ordered);
                return self.effects.push_back(Effect::Order { id, udn: udn.clone(), verb });
            }
        };
        let (ending, reason) = match &end {
            OutcomeKind::Refused(refusal) => (Ending::Declined, refusal.reason.to_string()),
            _ => (Ending::Declined, format!("it came too late: it expired {}", moment(control.expires))),
        };
        let of = udn.cloned();
        if let Some(udn) = of.clone() {
            let outcome = Outcome::new(ending, &*reason);
            self.effects.push_back(Effect::Declined { id, udn, verb, outcome });
        }
        self.journal(of.as_ref(), &verb.action(), Cause::Utility(id), ending, &reason, now);
        self.end(id, end, now);
    }

    /// A control was ordered when the gateway ended.
    fn cut_short(&mut self, id: EventId, now: Now) {
        let of = self.events.get(id).and_then(|e| e.control.as_ref());
        let Some((udn, action)) = of.map(|c| (Udn::parse(&format!("uuid:{}", c.appliance)), c.action)) else { return };
        let action = format!("control {action}");
        self.journal(udn.ok().as_ref(), &action, Cause::Utility(id), Ending::TimedOut, CUT_SHORT, now);
    }

    fn ended(&mut self, id: EventId, outcome: &Outcome, now: Now) {
        let refuse = |code: RefusalCode| refused(code, &outcome.reason);
        let end = match outcome.ending {
            Ending::Done | Ending::Already => OutcomeKind::Done,
            Ending::Refused => refuse(outcome.code.map_or(RefusalCode::FAILED, RefusalCode::new)),
            Ending::Declined => refuse(RefusalCode::NO_STANDBY_PERIOD),
            Ending::Unreachable => refuse(RefusalCode::UNREACHABLE),
            Ending::TimedOut => refuse(RefusalCode::TIMED_OUT),
            Ending::Superseded => refuse(RefusalCode::SUPERSEDED),
            _ => refuse(RefusalCode::FAILED),
        };
        self.end(id, end, now);
    }

    fn end(&mut self, id: EventId, end: OutcomeKind, now: Now) {
        if let OutcomeKind::Refused(refusal) = &end {
            self.last_refusal = Some((id, format!("{}: {}", refusal.code, refusal.reason).into()));
        }
        self.events.end(id, end, self.time(now));
        self.save_events(vec![id]);
        // On the disk before the utility knows it, so that what it was told still holds after a power cut.
        if self.events.get(id).is_some_and(|event| event.control.is_some()) {
            self.flush(vec![id]);
        }
    }

    fn poll(&mut self, now: Now, time: UnixTime) {
        self.poll_anew = None;
        if !self.settings.poll || !self.saving.is_empty() {
            return;
        }
        // Whoever gave an order is not left waiting until a long poll ends: it is begun anew with the outcome.
        let (outcomes, note) = self.events.outcomes(time);
        let news = self.events.has_end_to_tell() && self.polls.under_way.as_ref().is_some_and(|sent| *sent != note);
        let apart = self.polled.is_none_or(|at| now.boot >= at + POLL_APART_MIN);
        self.poll_anew = self.polled.filter(|_| news && !apart).map(|at| at + POLL_APART_MIN);
        if news && apart {
            self.polls.under_way = None;
            self.polls.due = Some(now.boot);
        }
        if !self.polls.is_due(now.boot) {
            return;
        }
        if !apart {
            self.polls.due = self.polled.map(|at| at + POLL_APART_MIN);
            return;
        }
        let poll = Poll { wait_s: WAIT_S_MAX, have: self.known.have(self.link.policy), outcomes };
        self.polls.under_way = Some(note);
        self.polled = Some(now.boot);
        self.effects.push_back(Effect::Ask(Question::Poll(poll)));
    }

    fn fetch(&mut self, now: Now) {
        if self.fetching.is_due(now.boot)
            && let Some(object) = self.known.wanted()
        {
            self.fetching.under_way = Some(());
            self.effects.push_back(Effect::Ask(Question::Fetch(object)));
        }
    }

    fn fetched(&mut self, object: Object, result: Result<Fetched, Failure>, now: Now) {
        self.fetching.under_way = None;
        let taken = result.and_then(|fetched| {
            let no = |why: &str| Failure::NoAnswer(format!("prices: {why}"));
            match (object, fetched) {
                (Object::Index(_), Fetched::Index(index)) => {
                    for version in self.known.listed(&index).map_err(no)? {
                        self.save(Slot::Prices(version), None, Soon::Soon);
                    }
                }
                (Object::Series(_, version), Fetched::Series(series)) => {
                    let row = utility_wire::Message::encode(&series);
                    self.known.add(version, series).map_err(no)?;
                    self.save(Slot::Prices(version), Some(row), Soon::Soon);
                }
                _ => return Err(no("it is something else than was asked for")),
            }
            Ok(())
        });
        match taken {
            Ok(()) => {
                self.fetching.pace.succeeded();
                self.fetching.due = Some(now.boot);
                if self.known.wanted().is_none()
                    && let Some((slot, row)) = self.known.zone_row()
                {
                    self.save(slot, Some(row), Soon::Soon);
                    let until = self.time(now).and_then(|time| self.known.prices_until(time));
                    let reason = until.map_or("none for now".into(), |until| format!("until {}", moment(until)));
                    self.journal(None, "prices", Cause::Gateway, Ending::Observed, &reason, now);
                }
            }
            Err(failure) => {
                self.fetching.failed(&failure, now.boot);
                self.failed("prices", &failure, now);
            }
        }
    }

    fn said(&mut self, ask: AskId, uid: u32, of: Option<Udn>, yes: bool, gateway: &Gateway, now: Now) {
        for (slot, value) in self.consent.say(of.clone(), yes) {
            self.save(slot, value, Soon::Soon);
        }
        self.withdraw_decisions();
        let action = if yes { "utility control allowed" } else { "utility control forbidden" };
        let reason = if of.is_none() { "of all appliances" } else { "" };
        self.journal(of.as_ref(), action, Cause::Person(uid), Ending::Done, reason, now);
        match of {
            Some(udn) => _ = self.changed.insert(udn),
            None => self.changed.extend(gateway.registry().iter().map(|a| a.udn().clone())),
        }
        self.urgent(now);
        let also = if yes { "the utility also learns what is decided here about it, and what came of it" } else { "" };
        let reply = Reply::Outcome(Outcome::new(Ending::Done, also));
        self.effects.push_back(Effect::Answer { ask, reply });
    }

    fn is_heard(&mut self, now: Now) {
        self.heard_at = now.boot;
        self.heard = self.time(now).or(self.heard);
        if let Some(heard) = self.heard {
            self.save(Slot::Heard, Some(heard.seconds().to_string().into_bytes()), Soon::Lazily);
        }
        if std::mem::take(&mut self.lost) {
            tracing::info!("the utility is heard again");
            self.journal(None, "utility heard again", Cause::Gateway, Ending::Observed, "", now);
        }
    }

    /// For how long the utility may be silent: two of the times between its answers.
    fn patience(&self) -> Duration {
        let between = match self.polls.due.zip(self.polled) {
            Some((due, polled)) if self.polls.under_way.is_none() => due.since(polled),
            _ => Duration::ZERO,
        };
        if self.polls.pace.failing() { UTILITY_LOST_AFTER } else { UTILITY_LOST_AFTER.max(between * 2) }
    }

    fn listen(&mut self, now: Now) {
        if self.lost || self.link.peer.is_none() || now.boot < self.heard_at + self.patience() {
            return;
        }
        self.lost = true;
        let since = self.heard.map_or("since the start".into(), |heard| format!("since {}", moment(heard)));
        let why = self.link.hindrance.as_deref().or(self.last_failure.as_ref().map(|(_, why)| &**why));
        let reason = why.map_or(since.clone(), |why| format!("{since}: {why}"));
        tracing::info!(reason, "the utility is not heard");
        self.journal(None, "utility lost", Cause::Gateway, Ending::Observed, &reason, now);
    }

    fn failed(&mut self, what: &str, failure: &Failure, now: Now) {
        tracing::debug!(what, %failure, "the utility did not answer as it should");
        self.last_failure = Some((now.wall, bounded(&format!("{what}: {failure}"), REASON_BYTES_MAX)));
    }

    fn save(&mut self, slot: Slot, value: Option<Vec<u8>>, soon: Soon) {
        self.effects.push_back(Effect::Save { slot, value, soon });
    }

    fn journal(&mut self, udn: Option<&Udn>, action: &str, cause: Cause, ending: Ending, reason: &str, now: Now) {
        self.effects.push_back(Effect::Journal(Entry {
            at: now.wall,
            udn: udn.cloned(),
            action: action.into(),
            cause,
            ending,
            reason: bounded(reason, REASON_BYTES_MAX),
        }));
    }

    fn described(&self, limit: &Limit) -> String {
        let (start, end) = limit.window(&self.home);
        let until = end.map_or("until it is called off".into(), |end| format!("to {}", moment(end)));
        format!("from {} {until}, priority {}", moment(start), limit.priority)
    }
}

fn limited(limit: &Limit) -> String {
    format!("limit {} W", limit.watts)
}

/// As people and the API read it: RFC 3339, UTC.
pub fn moment(at: UnixTime) -> String {
    let seconds = i64::try_from(at.seconds()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| "the end of time".to_owned(), |at| at.to_string())
}
