//! A home in virtual time: the gateway, its disk, and whatever it calls.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use energy_model::PowerState::{On, Standby};
use energy_model::{DailyWindow, MacAddress, PowerState, RegId, TimeOfDay, WakeMethod};
use heg::commands::{CallFailure, Outcome, Patience, Verb};
use heg::gateway::{
    Answer, AskError, AskId, CallTag, Effect, Gateway, Input, Order, Reply, Request, Restored, Settings, Wanted,
};
use heg::journal::Entry;
use heg::now::Now;
use heg::registrations::{Key, Registration};
use heg::registry::{Found, Offers, Profile};
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use upnp::time::BootTime;

pub(crate) const POLL: Duration = Duration::from_secs(300);
pub(crate) const PATIENCE: Patience = Patience { command: Duration::from_secs(20), wake: Duration::from_secs(90) };
pub(crate) const MAC: &str = "02:00:00:00:00:01";

pub(crate) struct Home {
    pub(crate) gateway: Gateway,
    pub(crate) now: Now,
    pub(crate) calls: Vec<(CallTag, Udn, Order)>,
    pub(crate) packets: Vec<BootTime>,
    pub(crate) lookups: Vec<IpAddr>,
    pub(crate) searches: usize,
    replies: BTreeMap<AskId, Reply>,
    pub(crate) journal: Vec<Entry>,
    to_disk: Vec<(AskId, Key, Option<Registration>)>,
    profiles: BTreeMap<Udn, Profile>,
    registrations: BTreeMap<Key, Registration>,
    last_reg: u32,
    next_ask: u64,
}

fn settings() -> Settings {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    Settings { poll_every: POLL, patience: PATIENCE, overrides: BTreeMap::new(), zone }
}

impl Home {
    pub(crate) fn new() -> Self {
        let now = Now {
            boot: BootTime::from_duration(Duration::from_secs(1000)),
            wall: "2026-11-22T10:00:00Z".parse().unwrap(),
        };
        Self::start(Restored::default(), now)
    }

    fn start(restored: Restored, now: Now) -> Self {
        let profiles = restored.appliances.iter().map(|p| (p.udn.clone(), p.clone())).collect();
        let registrations = restored.registrations.iter().map(|r| (r.key(), r.clone())).collect();
        let last_reg = restored.last_reg;
        let mut home = Self {
            gateway: Gateway::new(settings(), restored, now),
            now,
            calls: vec![],
            packets: vec![],
            lookups: vec![],
            searches: 0,
            replies: BTreeMap::new(),
            journal: vec![],
            to_disk: vec![],
            profiles,
            registrations,
            last_reg,
            next_ask: 1,
        };
        home.drain();
        home
    }

    /// A home with a television set whose network card is known, in that state.
    pub(crate) fn with_tv(state: PowerState) -> Self {
        let mut home = Self::new();
        home.find("tv");
        home.feed(Input::NeighbourLooked { address: address("tv"), mac: Some(MAC.parse::<MacAddress>().unwrap()) });
        home.answer(Order::GetPowerState, Ok(Answer::PowerState(state)));
        home.answer(Order::WakeUpMethod, Ok(Answer::WakeMethod(WakeMethod::Wol)));
        home
    }

    pub(crate) fn asleep() -> Self {
        let mut home = Self::with_tv(On);
        home.tell("tv", Standby);
        home
    }

    pub(crate) fn restart(self) -> Self {
        let wall = self.now.wall;
        self.restart_at(&wall.to_string())
    }

    pub(crate) fn restart_at(self, wall: &str) -> Self {
        let restored = Restored {
            appliances: self.profiles.into_values().collect(),
            registrations: self.registrations.into_values().collect(),
            last_reg: self.last_reg,
            ..Restored::default()
        };
        Self::start(restored, Now { boot: self.now.boot, wall: wall.parse().unwrap() })
    }

    pub(crate) fn feed(&mut self, input: Input) {
        self.gateway.handle(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.gateway.poll_effect() {
            match effect {
                Effect::Call { call, udn, order } => self.calls.push((call, udn, order)),
                Effect::SendMagicPacket { .. } => self.packets.push(self.now.boot),
                Effect::LookUpNeighbour(address) => self.lookups.push(address),
                Effect::Search => self.searches += 1,
                Effect::SaveAppliance(udn) => {
                    let profile = self.gateway.registry().get(&udn).unwrap().profile().clone();
                    self.profiles.insert(udn, profile);
                }
                Effect::DropAppliance(udn) => drop(self.profiles.remove(&udn)),
                Effect::SaveRegistration { ask: Some(ask), registration } => {
                    self.to_disk.push((ask, registration.key(), Some(registration)));
                }
                Effect::SaveRegistration { ask: None, registration } => {
                    self.write(registration.key(), Some(registration))
                }
                Effect::DropRegistration { ask: Some(ask), key } => self.to_disk.push((ask, key, None)),
                Effect::DropRegistration { ask: None, key } => self.write(key, None),
                Effect::Journal(entry) => self.journal.push(entry),
                Effect::Answer { ask, reply } => drop(self.replies.insert(ask, reply)),
                Effect::ControlEnded { .. } | Effect::Ended { .. } | Effect::Changed(_) => {}
            }
        }
    }

    fn write(&mut self, key: Key, registration: Option<Registration>) {
        if let Key::Here(reg) = key {
            self.last_reg = self.last_reg.max(reg.number());
        }
        match registration {
            Some(registration) => drop(self.registrations.insert(key, registration)),
            None => drop(self.registrations.remove(&key)),
        }
    }

    pub(crate) fn disk(&mut self, result: Result<(), &str>) {
        for (ask, key, registration) in std::mem::take(&mut self.to_disk) {
            if result.is_ok() {
                self.write(key, registration);
            }
            self.feed(Input::Saved { ask, result: result.map_err(str::to_owned) });
        }
    }

    /// To the next time the gateway wants, at most an hour ahead.
    pub(crate) fn step(&mut self) {
        self.step_within(Duration::from_secs(3600));
    }

    pub(crate) fn step_within(&mut self, most: Duration) {
        let at = self.gateway.poll_timeout().unwrap_or(self.now.boot + most).min(self.now.boot + most);
        let ahead = at.since(self.now.boot).max(Duration::from_millis(1));
        self.now.boot = self.now.boot + ahead;
        self.now.wall = self.now.wall.checked_add(ahead).unwrap();
        self.gateway.handle_timeout(self.now);
        self.drain();
    }

    pub(crate) fn sleep(&mut self, span: Duration) {
        let until = self.now.boot + span;
        while self.now.boot < until {
            self.step_within(until.since(self.now.boot));
        }
    }

    /// Sets the wall clock; nothing is told to the gateway.
    pub(crate) fn at(&mut self, wall: &str) {
        self.now.wall = wall.parse().unwrap();
        self.feed(Input::ClockChanged);
    }

    pub(crate) fn find(&mut self, name: &str) {
        self.feed(Input::Found(Found {
            udn: udn(name),
            name: name.into(),
            maker: "Maker".into(),
            model: "Model".into(),
            address: address(name),
            offers: Offers { power_management: true, appliance_info: false },
        }));
    }

    pub(crate) fn tell(&mut self, name: &str, state: PowerState) {
        self.feed(Input::PowerStateTold { udn: udn(name), state });
    }

    pub(crate) fn state(&self, name: &str) -> Option<PowerState> {
        self.gateway.registry().get(&udn(name)).unwrap().state()
    }

    pub(crate) fn is_reachable(&self, name: &str) -> bool {
        self.gateway.registry().get(&udn(name)).unwrap().is_reachable()
    }

    pub(crate) fn orders(&self) -> Vec<Order> {
        self.calls.iter().map(|(_, _, order)| *order).collect()
    }

    pub(crate) fn answer(&mut self, order: Order, result: Result<Answer, CallFailure>) {
        // The latest: an earlier one may be from before the appliance was found again.
        let i = self.calls.iter().rposition(|(_, _, o)| *o == order).unwrap_or_else(|| panic!("{order:?} not called"));
        let (call, _, _) = self.calls.remove(i);
        self.feed(Input::Answered { call, result });
    }

    pub(crate) fn fail_all(&mut self) {
        for (call, _, _) in std::mem::take(&mut self.calls) {
            self.feed(Input::Answered { call, result: Err(no_answer()) });
        }
    }

    pub(crate) fn answer_all(&mut self, state: PowerState) {
        for (call, _, _) in std::mem::take(&mut self.calls) {
            self.feed(Input::Answered { call, result: Ok(Answer::PowerState(state)) });
        }
    }

    pub(crate) fn ask_person(&mut self, wanted: Wanted) -> AskId {
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.feed(Input::PersonAsks { ask, uid: 1000, wanted });
        ask
    }

    pub(crate) fn person(&mut self, name: &str, verb: Verb) -> AskId {
        self.ask_person(Wanted::Command(udn(name), verb))
    }

    pub(crate) fn appliance(&mut self, name: &str, request: Request) -> AskId {
        self.appliance_at(name, address(name), request)
    }

    pub(crate) fn appliance_at(&mut self, name: &str, from: IpAddr, request: Request) -> AskId {
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.feed(Input::ApplianceAsks { ask, from, caller: udn(name), request });
        ask
    }

    pub(crate) fn register(&mut self, name: &str, request: Request) -> RegId {
        let ask = self.appliance(name, request);
        self.disk(Ok(()));
        match self.reply(ask) {
            Some(Reply::Registered(reg)) => reg,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn withdraw(&mut self, name: &str, reg: RegId) -> Result<(), AskError> {
        let ask = self.appliance(name, Request::Withdraw(reg));
        self.disk(Ok(()));
        match self.reply(ask) {
            Some(Reply::Withdrawn(_)) => Ok(()),
            Some(Reply::No(error)) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn reply(&self, ask: AskId) -> Option<Reply> {
        self.replies.get(&ask).cloned()
    }

    pub(crate) fn outcome(&self, ask: AskId) -> Outcome {
        match self.reply(ask) {
            Some(Reply::Outcome(outcome)) => outcome,
            other => panic!("no outcome: {other:?}"),
        }
    }

    /// When the next wake-ups send their first packet; each succeeds at once.
    pub(crate) fn next_wakes(&mut self, n: usize) -> Vec<String> {
        let mut at = vec![];
        while at.len() < n {
            self.packets.clear();
            while self.packets.is_empty() {
                self.step();
            }
            at.push(self.now.wall.to_string());
            self.find("tv");
            self.answer_all(On);
            self.tell("tv", Standby);
            self.calls.clear();
        }
        at
    }
}

pub(crate) fn udn(name: &str) -> Udn {
    Udn::parse(&format!("uuid:{name}")).unwrap()
}

pub(crate) fn address(name: &str) -> IpAddr {
    match name {
        "tv" => "10.0.0.1".parse().unwrap(),
        _ => "10.0.0.2".parse().unwrap(),
    }
}

pub(crate) fn time(text: &str) -> TimeOfDay {
    text.parse().unwrap()
}

pub(crate) fn window(start: &str, end: &str) -> DailyWindow {
    DailyWindow::new(time(start), time(end)).unwrap()
}

pub(crate) fn obeyed() -> Result<Answer, CallFailure> {
    Ok(Answer::Obeyed(None))
}

pub(crate) fn no_answer() -> CallFailure {
    CallFailure::NoAnswer("connection refused".into())
}
