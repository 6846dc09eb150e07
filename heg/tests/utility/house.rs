//! A home in virtual time, and its utility: facts in, orders out, a disk that may be full, a network that may be gone.

use std::collections::BTreeMap;
use std::time::Duration;

use energy_model::{PowerState, WakeMethod, Watts};
use heg::commands::{CallFailure, Patience};
use heg::gateway::{self, Answer, CallTag, Gateway, Order, Restored};
use heg::journal::Entry;
use heg::now::Now;
use heg::planner::Limited;
use heg::registry::{Found, Offers};
use heg::utility::{
    Allowed, Configured, Effect, Failure, Fetched, Input, Link, Object, Question, Settings, Slot, Utility,
};
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use upnp::time::BootTime;
use utility_wire::{
    BatchState, Command, Control, EventId, Limit, LimitSet, List, Message as _, Outcome, OutcomeKind, Per, Poll,
    PriceEntry, PriceIndex, PriceSeries, RefusalCode, Report, ReportAnswer, UnixTime, Versions,
};

pub(crate) const HOME: &str = "2fac1234-31f8-41b4-a222-08002b34c003";
/// The KMC's time at the start; the wall clock says something else.
pub(crate) const T0: u64 = 1_800_000_000;

pub(crate) struct House {
    pub(crate) gateway: Gateway,
    pub(crate) utility: Utility,
    pub(crate) now: Now,
    pub(crate) allowed: Allowed,
    pub(crate) disk: BTreeMap<Slot, Vec<u8>>,
    pub(crate) full: bool,
    pub(crate) hold_disk: bool,
    pub(crate) tickets: Vec<u64>,
    pub(crate) polls: Vec<Poll>,
    pub(crate) reports: Vec<(u64, Vec<u8>)>,
    pub(crate) fetches: Vec<Object>,
    pub(crate) calls: Vec<(CallTag, Order)>,
    pub(crate) journal: Vec<Entry>,
    pub(crate) declined: Vec<Udn>,
}

pub(crate) trait CommandExt {
    fn with_control(self, number: u64, action: PowerState, within_s: u64) -> Self;
    fn with_prices(self, version: u64) -> Self;
}

impl CommandExt for Command {
    fn with_control(mut self, number: u64, action: PowerState, within_s: u64) -> Self {
        let expires = UnixTime::new(T0 + within_s);
        self.controls = List::fill([Control { id: id(number), appliance: "tv".parse().unwrap(), action, expires }]);
        self
    }

    fn with_prices(mut self, version: u64) -> Self {
        self.current.prices = version;
        self
    }
}

pub(crate) fn now() -> Now {
    let boot = BootTime::from_duration(Duration::from_secs(1000));
    Now { boot, wall: "2026-11-22T10:00:00Z".parse().unwrap() }
}

impl House {
    pub(crate) fn start(disk: BTreeMap<Slot, Vec<u8>>, seed: u64, allowed: Allowed, now: Now) -> Self {
        let settings = Settings {
            poll: true,
            spread: Duration::from_secs(120),
            consent: Configured { allowed: allowed.clone(), appliances: BTreeMap::new() },
        };
        let patience = Patience { command: Duration::from_secs(20), wake: Duration::from_secs(90) };
        let (poll_every, overrides) = (Duration::from_secs(300), BTreeMap::new());
        let gateway_settings = gateway::Settings { poll_every, patience, overrides, zone: TimeZone::UTC };
        let rows = disk.iter().map(|(slot, value)| (slot.clone(), value.clone())).collect();
        let gateway = Gateway::new(gateway_settings, Restored::default(), now);
        let utility = Utility::new(HOME, settings, rows, seed, now);
        Self {
            gateway,
            utility,
            now,
            allowed,
            disk,
            full: false,
            hold_disk: false,
            tickets: vec![],
            polls: vec![],
            reports: vec![],
            fetches: vec![],
            calls: vec![],
            journal: vec![],
            declined: vec![],
        }
    }

    /// A home with a television set that is on, enrolled, whose first poll is under way.
    pub(crate) fn with_tv(allowed: Allowed) -> Self {
        let mut house = Self::start(BTreeMap::new(), 1, allowed, now());
        house.find_tv();
        house.link(T0);
        assert_eq!(house.polls.len(), 1);
        house
    }

    pub(crate) fn find_tv(&mut self) {
        self.find("tv");
        self.answer(Order::GetPowerState, Ok(Answer::PowerState(PowerState::On)));
        self.answer(Order::WakeUpMethod, Ok(Answer::WakeMethod(WakeMethod::Wol)));
    }

    pub(crate) fn find(&mut self, name: &str) {
        self.gateway_handles(gateway::Input::Found(Found {
            udn: udn(name),
            name: name.into(),
            maker: "Maker".into(),
            model: "Model".into(),
            address: "10.0.0.1".parse().unwrap(),
            offers: Offers { power_management: true, appliance_info: false },
        }));
    }

    pub(crate) fn tv_is(&mut self, state: PowerState) {
        self.gateway_handles(gateway::Input::PowerStateTold { udn: udn("tv"), state });
    }

    /// How the planner keeps limits.
    pub(crate) fn keeps(&mut self, holds: Option<u64>, over_w: u32) {
        self.holds(holds, 4200, over_w);
    }

    pub(crate) fn holds(&mut self, holds: Option<u64>, held_w: u32, over_w: u32) {
        self.feed(Input::Limited(Limited { accepted: true, holds: holds.map(id), held_w, over_w }));
    }

    /// The poll under way is answered without news; what the next one tells.
    pub(crate) fn next_poll(&mut self, limits: u64) -> Vec<(u64, OutcomeKind)> {
        self.answer_poll(self.command_of(limits));
        self.until_poll();
        kinds(self.polls.last().unwrap())
    }

    /// A command with no news, from a utility whose limits have that version.
    pub(crate) fn command_of(&self, limits: u64) -> Command {
        let mut command = self.command();
        command.current.limits = limits;
        command
    }

    pub(crate) fn power(&mut self, watts: u32) {
        let power = Some(Watts::new(watts));
        self.gateway_handles(gateway::Input::InfoTold { udn: udn("tv"), power, refusal: None });
    }

    pub(crate) fn ready(&self, time: u64) -> Link {
        let peer = Some("2fac1234-31f8-41b4-a222-0800cafe0001".into());
        Link { enrolled: true, peer, hindrance: None, policy: 1, time: Some(UnixTime::new(time)) }
    }

    pub(crate) fn link(&mut self, time: u64) {
        self.feed(Input::Link(self.ready(time)));
    }

    pub(crate) fn restart(self, away_s: u64) -> Self {
        self.restart_with(2, away_s)
    }

    pub(crate) fn restart_with(self, seed: u64, away_s: u64) -> Self {
        let time = self.utility.time(self.now).unwrap().seconds() + away_s;
        let mut house = self.reborn(seed, away_s);
        house.find_tv();
        house.link(time);
        house
    }

    pub(crate) fn restart_without_time(self, away_s: u64) -> Self {
        self.reborn(2, away_s)
    }

    /// Another process on another boot, with what was on the disk.
    pub(crate) fn reborn(self, seed: u64, away_s: u64) -> Self {
        let wall = self.now.wall.checked_add(Duration::from_secs(away_s)).unwrap();
        let now = Now { boot: BootTime::from_duration(Duration::from_secs(20)), wall };
        Self::start(self.disk, seed, self.allowed, now)
    }

    pub(crate) fn feed(&mut self, input: Input) {
        self.utility.handle(input, &self.gateway, self.now);
        self.drain();
    }

    pub(crate) fn gateway_handles(&mut self, input: gateway::Input) {
        self.gateway.handle(input, self.now);
        self.drain();
    }

    pub(crate) fn drain(&mut self) {
        loop {
            if let Some(effect) = self.gateway.poll_effect() {
                match effect {
                    gateway::Effect::Call { call, order, .. } => self.calls.push((call, order)),
                    gateway::Effect::ControlEnded { id, outcome } => {
                        self.utility.handle(Input::Ended { id, outcome }, &self.gateway, self.now);
                    }
                    gateway::Effect::Changed(udn) => {
                        self.utility.handle(Input::Appliance(udn), &self.gateway, self.now);
                    }
                    gateway::Effect::Journal(entry) => self.journal.push(entry),
                    _ => {}
                }
            } else if let Some(effect) = self.utility.poll_effect() {
                match effect {
                    Effect::Ask(Question::Poll(poll)) => self.polls.push(poll),
                    Effect::Ask(Question::Report { batch, body }) => self.reports.push((batch, body)),
                    Effect::Ask(Question::Fetch(object)) => self.fetches.push(object),
                    Effect::Order { id, udn, verb } => {
                        self.gateway.handle(gateway::Input::UtilityOrders { id, udn, verb }, self.now);
                    }
                    Effect::Save { slot, value, .. } => match value {
                        Some(value) => _ = self.disk.insert(slot, value),
                        None => _ = self.disk.remove(&slot),
                    },
                    Effect::Flush { ticket } if self.hold_disk => self.tickets.push(ticket),
                    Effect::Flush { ticket } => self.saved(ticket),
                    Effect::Journal(entry) => self.journal.push(entry),
                    Effect::Declined { udn, .. } => self.declined.push(udn),
                    Effect::Answer { .. } => {}
                }
            } else {
                return;
            }
        }
    }

    pub(crate) fn saved(&mut self, ticket: u64) {
        let result = if self.full { Err("the disk is full".into()) } else { Ok(()) };
        self.utility.handle(Input::Saved { ticket, result }, &self.gateway, self.now);
    }

    pub(crate) fn disk_answers(&mut self) {
        for ticket in std::mem::take(&mut self.tickets) {
            self.saved(ticket);
        }
        self.drain();
    }

    pub(crate) fn command(&self) -> Command {
        Command {
            current: Versions { prices: 0, limits: 0, policy: 1 },
            limits: None,
            controls: List::empty(),
            poll_after_s: 0,
            zone: "SE3".parse().unwrap(),
        }
    }

    pub(crate) fn answer_poll(&mut self, command: Command) {
        self.polls.clear();
        self.feed(Input::Polled(Ok(command)));
    }

    pub(crate) fn fail_poll(&mut self, failure: Failure) {
        self.polls.clear();
        self.feed(Input::Polled(Err(failure)));
    }

    pub(crate) fn fail_all(&mut self, why: &str) {
        if !self.polls.is_empty() {
            self.fail_poll(Failure::NoAnswer(why.into()));
        }
        for (batch, _) in std::mem::take(&mut self.reports) {
            self.feed(Input::Reported { batch, result: Err(Failure::NoAnswer(why.into())) });
        }
    }

    pub(crate) fn answer_reports(&mut self, report_after_s: u32) -> Vec<Report> {
        let mut all = vec![];
        for (batch, body) in std::mem::take(&mut self.reports) {
            all.push(Report::decode(&body).unwrap());
            let answer = ReportAnswer { batch, state: BatchState::Stored, report_after_s };
            self.feed(Input::Reported { batch, result: Ok(answer) });
        }
        all
    }

    pub(crate) fn serve_prices(&mut self, version: u64, prices: &[i64]) {
        for _ in 0..4 {
            self.pass(120);
            let Some(object) = self.fetches.pop() else { return };
            let fetched = match &object {
                Object::Index(zone) => {
                    Fetched::Index(PriceIndex { zone: zone.clone(), series: List::fill([entry(version, prices)]) })
                }
                Object::Series(..) => Fetched::Series(series(version, prices)),
            };
            // Prices hold from the time of the test's start.
            self.feed(Input::Fetched { object, result: Ok(fetched) });
        }
    }

    pub(crate) fn orders(&self) -> Vec<Order> {
        let commands = [Order::OperationOn, Order::OperationOff, Order::GoToStandby];
        self.calls.iter().map(|(_, order)| *order).filter(|order| commands.contains(order)).collect()
    }

    pub(crate) fn answer(&mut self, order: Order, result: Result<Answer, CallFailure>) {
        let at = self.calls.iter().rposition(|(_, o)| *o == order).unwrap_or_else(|| panic!("{order:?} not called"));
        let (call, _) = self.calls.remove(at);
        self.gateway_handles(gateway::Input::Answered { call, result });
    }

    pub(crate) fn carried_out(&mut self, order: Order, state: PowerState) {
        self.answer(order, Ok(Answer::Obeyed(None)));
        self.gateway_handles(gateway::Input::PowerStateTold { udn: udn("tv"), state });
    }

    pub(crate) fn refusal(&self, number: u64) -> (RefusalCode, String) {
        let told = |o: &&Outcome| o.id == id(number);
        match self.polls.last().unwrap().outcomes.iter().find(told).map(|o| o.kind.clone()) {
            Some(OutcomeKind::Refused(refusal)) => (refusal.code, refusal.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn step(&mut self, most: Duration) {
        let due = [self.gateway.poll_timeout(), self.utility.poll_timeout()].into_iter().flatten().min();
        let at = due.unwrap_or(self.now.boot + most).min(self.now.boot + most);
        let ahead = at.since(self.now.boot).max(Duration::from_millis(1));
        self.now.boot = self.now.boot + ahead;
        self.now.wall = self.now.wall.checked_add(ahead).unwrap();
        self.gateway.handle_timeout(self.now);
        self.drain();
        self.utility.handle_timeout(&self.gateway, self.now);
        self.drain();
        // The television set answers when it is asked how it is.
        while let Some(at) = self.calls.iter().position(|(_, o)| *o == Order::GetPowerState) {
            let (call, _) = self.calls.remove(at);
            let state = self.gateway.registry().get(&udn("tv")).and_then(|a| a.state()).unwrap_or(PowerState::On);
            self.gateway_handles(gateway::Input::Answered { call, result: Ok(Answer::PowerState(state)) });
        }
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        let until = self.now.boot + Duration::from_secs(seconds);
        while self.now.boot < until {
            self.step(until.since(self.now.boot));
        }
    }

    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        for _ in 0..100_000 {
            if is(self) {
                return;
            }
            self.step(Duration::from_secs(3600));
        }
        panic!("no {what}");
    }

    pub(crate) fn until_poll(&mut self) {
        self.until("poll", |house| !house.polls.is_empty());
    }

    pub(crate) fn wait_for_poll(&mut self) -> u64 {
        let begun = self.now.boot;
        self.until_poll();
        self.now.boot.since(begun).as_secs()
    }

    pub(crate) fn until_report(&mut self) {
        self.until("report", |house| !house.reports.is_empty());
    }

    pub(crate) fn until_fetch(&mut self) {
        self.until("fetch", |house| !house.fetches.is_empty());
    }
}

pub(crate) fn kinds(poll: &Poll) -> Vec<(u64, OutcomeKind)> {
    poll.outcomes.iter().map(|o| (o.id.number(), o.kind.clone())).collect()
}

pub(crate) fn id(number: u64) -> EventId {
    EventId::new(number).unwrap()
}

pub(crate) fn udn(name: &str) -> Udn {
    Udn::parse(&format!("uuid:{name}")).unwrap()
}

pub(crate) fn limits(version: u64, all: &[(u64, u64, Option<u32>, u32)]) -> LimitSet {
    let limit = |(number, start, duration_s, watts): &(u64, u64, Option<u32>, u32)| Limit {
        id: id(*number),
        supersedes: None,
        start: UnixTime::new(T0 + start),
        duration_s: *duration_s,
        watts: Watts::new(*watts),
        priority: 0,
        randomise_s: 0,
        cancelled: false,
    };
    LimitSet { target: None, version, limits: List::fill(all.iter().map(limit)) }
}

pub(crate) fn series(version: u64, prices: &[i64]) -> PriceSeries {
    let money = ("SEK".parse().unwrap(), Per::KilowattHour);
    PriceSeries::new("SE3".parse().unwrap(), version, money, UnixTime::new(T0), 900, prices.to_vec()).unwrap()
}

pub(crate) fn entry(version: u64, prices: &[i64]) -> PriceEntry {
    let series = series(version, prices);
    PriceEntry { version, start: series.start(), end: series.end() }
}
