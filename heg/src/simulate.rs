//! A home in virtual time: gateway and planner as they run, over machines that do as they are told, or don't. PURE.
//!
//! In: the configuration's `[[load]]`s, each as a machine, prices, the utility's word, and what people and machines do beside
//! ([`House::press`], [`House::set_conduct`], [`House::ask`]). Out: [`Figures`]. What the gateway would write goes to whoever looks at
//! [`House::take_batch`].
//!
//! | file | what |
//! |---|---|
//! | `machine` | a machine, and what it draws |
//! | `judge` | what came of it, by looking at the machines alone |
//! | `command` | `heg-gateway simulate` (IO) |
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use energy_model::{MacAddress, PowerState, RefusalKind, WakeMethod};
use energy_services::errors;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use upnp::time::BootTime;

use crate::commands::{CallFailure, Verb};
use crate::config::Config;
use crate::gateway::{self, Answer, AskId, CallTag, Gateway, Input, Order, Reply, Restored};
use crate::journal::Cause;
use crate::now::Now;
use crate::plan::Span;
use crate::plan::slots::PriceSpan;
use crate::planner::{self, Act, Change, Planner, Sums};
use crate::registry::{Found, Offers};
use crate::rules::form::{Kind, RuleForm};
use crate::rules::load::Load;
use crate::store::batch::{Batch, Pending};

pub mod command;
mod judge;
mod machine;

pub use judge::{Findings, REACTION_S};
pub use machine::Conduct;

use judge::{Judge, May};
use machine::Machine;

/// Turns at one instant before something is wrong: a plan takes some hundreds.
const TURNS_MAX: u32 = 1_000_000;
/// A machine that is switched on again by the planner so soon after it was switched off is counted, s.
const SOON_S: i64 = 300;
/// A machine that obeys late does so after this time, s.
const LATE_S: i64 = 20;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Times a machine was ordered on or off by the planner.
    pub switched: u64,
    /// The most times one machine was on a day.
    pub switched_most: u64,
    /// Times one was ordered the other way within five minutes.
    pub switched_back: u64,
    /// Orders that were not obeyed.
    pub refused: u64,
    /// Times the planner said that work has to be left undone, or a part of it.
    pub dropped: u64,
    /// Journal entries.
    pub entries: u64,
    /// What is not as it should be.
    pub findings: Findings,
    /// Money and energy.
    pub sums: Sums,
}

/// See the module.
#[derive(Debug)]
pub struct House {
    gateway: Gateway,
    planner: Planner,
    pending: Pending<(AskId, Reply)>,
    now: Now,
    machines: BTreeMap<Udn, Machine>,
    judge: Judge,
    base_w: u32,
    fuse_w: Option<u32>,
    zone: TimeZone,
    switchings: BTreeMap<Udn, Switchings>,
    figures: Figures,
    last_ask: u64,
}

/// Orders of the planner to one machine.
#[derive(Clone, Copy, Debug, Default)]
struct Switchings {
    all: u64,
    day: (i16, u64),
    last: Option<(bool, i64)>,
}

/// Why there is nothing to simulate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// No load says what it is.
    #[error("no [[load]] of the configuration has `kind` and its power; name at least one")]
    NoLoads,
}

impl House {
    /// The home of a configuration, each `[[load]]` that says what it is as a machine; `start` is when time begins.
    ///
    /// # Errors
    /// There is no such load.
    pub fn new(config: &Config, zone: TimeZone, start: Timestamp) -> Result<Self, SimulateError> {
        let now = Now { boot: BootTime::from_duration(Duration::from_secs(1000)), wall: start };
        let settings = config.planning(zone.clone());
        let (loads, comeback_s) = (settings.loads.clone(), i64::from(settings.comeback.for_s));
        let mut house = Self {
            gateway: Gateway::new(config.settings(zone.clone()), Restored::default(), now),
            base_w: settings.base_w,
            fuse_w: settings.fuse_w,
            planner: Planner::new("simulated", settings, Vec::new(), now),
            pending: Pending::new(Duration::from_secs(config.store.write_every_s.into())),
            now,
            machines: BTreeMap::new(),
            judge: Judge::new(zone.clone(), comeback_s),
            zone,
            switchings: BTreeMap::new(),
            figures: Figures::default(),
            last_ask: 0,
        };
        for form in &config.load {
            let number = u16::try_from(house.machines.len()).unwrap_or(u16::MAX);
            let Some((udn, machine)) = Machine::new(form, number, start.as_second()) else { continue };
            let load = Load::new(&udn, Some(&machine.facts), loads.get(&udn), house.planner.book(), start);
            house.judge.add(udn.clone(), form, load.consent.0);
            house.machines.insert(udn.clone(), machine);
            house.found(udn);
        }
        house.judge.look(&house.machines, start.as_second());
        if house.machines.is_empty() { Err(SimulateError::NoLoads) } else { Ok(house) }
    }

    /// It is there, and answers.
    fn found(&mut self, udn: Udn) {
        let (name, maker, model) = (udn.bare().to_owned(), String::new(), String::new());
        let offers = Offers { power_management: true, appliance_info: true };
        let found = Found { udn, name, maker, model, address: [192, 0, 2, 1].into(), offers };
        self.gateway.handle(Input::Found(found), self.now);
    }

    /// Prices from the first of them on.
    pub fn prices(&mut self, spans: Vec<PriceSpan>, currency: &str) {
        self.feed(planner::Input::Prices { spans, currency: currency.into() });
    }

    /// A fact for the planner: the utility is heard, perhaps with other limits.
    pub fn feed(&mut self, input: planner::Input) {
        self.planner.handle(input, self.now);
        self.settle();
    }

    /// A person asks for work (kinds run and charge), or makes another rule.
    pub fn ask(&mut self, form: RuleForm) {
        self.last_ask += 1;
        let until = form.until.as_ref().and_then(|until| until.parse::<Timestamp>().ok());
        let udn = form.appliance.as_ref().and_then(|udn| Udn::parse(udn).ok());
        if let (Kind::Run | Kind::Charge, Some(udn), Some(until)) = (form.kind, udn, until) {
            let span = Span { start: self.now.wall.as_second(), end: until.as_second() };
            self.judge.asked(&udn, span, form.energy_wh.unwrap_or(0));
        }
        self.feed(planner::Input::Asked { ask: AskId(self.last_ask), uid: 1000, change: Change::Add(form) });
    }

    /// Somebody switches a machine by hand.
    pub fn press(&mut self, udn: &Udn, on: bool) {
        self.judge.disturbed(udn, self.now.wall.as_second());
        self.switch(udn, if on { PowerState::On } else { PowerState::Off });
        self.settle();
    }

    /// From now on a machine takes orders so. One that is silent for good is gone; one that is silent no more is there again.
    pub fn set_conduct(&mut self, udn: &Udn, conduct: Conduct) {
        let Some(machine) = self.machines.get_mut(udn) else { return };
        let before = std::mem::replace(&mut machine.conduct, conduct);
        if before.hinders() || conduct.hinders() {
            self.judge.disturbed(udn, self.now.wall.as_second());
        }
        match (before, conduct) {
            (Conduct::Silent, Conduct::Silent) => {}
            (_, Conduct::Silent) => {
                self.gateway.handle(Input::Gone { udn: udn.clone(), why: "its announcements ran out" }, self.now);
            }
            (Conduct::Silent, _) => self.found(udn.clone()),
            _ => {}
        }
        self.settle();
    }

    /// The machines.
    pub fn machines(&self) -> impl Iterator<Item = &Udn> {
        self.machines.keys()
    }

    /// Whether a machine is on.
    pub fn is_on(&self, udn: &Udn) -> bool {
        self.machines.get(udn).is_some_and(Machine::is_on)
    }

    /// What the home draws now, W.
    pub fn drawn_w(&self) -> u32 {
        let at = self.now.wall.as_second();
        self.machines.values().map(|m| m.watts(at)).sum::<u32>().saturating_add(self.base_w)
    }

    /// Orders of the planner by machine.
    pub fn switchings(&self) -> impl Iterator<Item = (&Udn, u64)> {
        self.switchings.iter().map(|(udn, switchings)| (udn, switchings.all))
    }

    /// The instant it has come to.
    pub fn time(&self) -> Timestamp {
        self.now.wall
    }

    /// The planner.
    pub fn planner(&self) -> &Planner {
        &self.planner
    }

    /// What came of it up to now.
    pub fn figures(&self) -> Figures {
        let sum = |sum: Sums, (_, day): (&str, &Sums)| Sums {
            cost: sum.cost + day.cost,
            at_once: sum.at_once + day.at_once,
            energy_ws: sum.energy_ws + day.energy_ws,
            not_used: sum.not_used + day.not_used,
        };
        let sums = self.planner.days().fold(Sums::default(), sum);
        Figures { sums, findings: self.judge.findings, ..self.figures }
    }

    /// What is to be written, if it is due. It counts as written.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let batch = self.pending.take(self.now.boot)?;
        self.pending.written(Ok(()), self.now.boot);
        Some(batch)
    }

    /// Lets time pass; `written` gets what is to be written when it is due.
    pub fn run_to(&mut self, until: Timestamp, mut written: impl FnMut(&Batch, Timestamp)) {
        self.settle();
        while self.now.wall < until {
            let end = self.now.boot_at(until);
            let at = self.now.wall.as_second();
            let machines = self.machines.values().filter_map(|machine| machine.next_edge(at));
            let edge = machines.chain(self.judge.next_edge(at)).min().map(|at| self.now.boot_at(timestamp(at)));
            let due = [self.gateway.poll_timeout(), self.planner.poll_timeout(), self.pending.poll_timeout(), edge];
            // Whole seconds: each turn brings time on.
            let next = due.into_iter().flatten().min().unwrap_or(end).min(end);
            let step = next.since(self.now.boot).max(Duration::from_secs(1)).min(end.since(self.now.boot));
            let span = Span { start: at, end: (self.now.wall + step).as_second() };
            let limit_w = self.planner.cap(at).map(|cap| cap.watts.count());
            self.judge.watch(&self.machines, self.drawn_w(), May { limit_w, fuse_w: self.fuse_w }, span);
            self.now.boot = self.now.boot + step;
            self.now.wall += step;
            self.end_cycles();
            self.judge.look(&self.machines, self.now.wall.as_second());
            self.settle();
            if let Some(batch) = self.take_batch() {
                written(&batch, self.now.wall);
            }
        }
    }

    fn end_cycles(&mut self) {
        let at = self.now.wall.as_second();
        let over = |m: &Machine| m.ends().is_some_and(|end| end <= at);
        let ended: Vec<Udn> = self.machines.iter().filter(|(_, m)| over(m)).map(|(udn, _)| udn.clone()).collect();
        for udn in ended {
            self.switch(&udn, PowerState::Off);
        }
        let late = self.machines.iter().filter_map(|(udn, m)| Some((udn.clone(), m.later.filter(|l| l.1 <= at)?.0)));
        for (udn, state) in late.collect::<Vec<_>>() {
            self.switch(&udn, state);
        }
    }

    fn switch(&mut self, udn: &Udn, state: PowerState) {
        let Some(machine) = self.machines.get_mut(udn) else { return };
        machine.switch(state, self.now.wall.as_second());
        if machine.conduct != Conduct::Silent {
            self.gateway.handle(Input::PowerStateTold { udn: udn.clone(), state }, self.now);
        }
    }

    /// Until nobody has anything more to say at this instant.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            self.gateway.handle_timeout(self.now);
            let planning = self.planner.poll_timeout().is_some_and(|due| due <= self.now.boot);
            if planning {
                self.planner.handle_timeout(&self.gateway, self.now);
            }
            if !self.pass_on() && !planning {
                return;
            }
        }
        tracing::error!(at = %self.now.wall, "gateway and planner do not come to an end");
    }

    fn pass_on(&mut self) -> bool {
        let (mut any, boot) = (false, self.now.boot);
        while let Some(effect) = self.gateway.poll_effect() {
            any = true;
            match effect {
                gateway::Effect::Call { call, udn, order } => self.call(call, &udn, order),
                gateway::Effect::Journal(entry) => {
                    self.figures.entries += 1;
                    self.pending.entry(entry, boot);
                }
                gateway::Effect::SaveAppliance(udn) => {
                    let profile = self.gateway.registry().get(&udn).map(|a| a.profile().clone());
                    self.pending.appliance(udn, profile, boot);
                }
                gateway::Effect::Ended { udn, verb, cause, outcome } => {
                    let ours = !matches!(cause, Cause::Person(_) | Cause::Registration(_));
                    self.figures.refused += u64::from(ours && !outcome.is_success());
                    self.planner.handle(planner::Input::Ended { udn, verb, cause, outcome }, self.now);
                }
                gateway::Effect::SendMagicPacket { mac, .. } => self.wake(mac),
                gateway::Effect::Changed(udn) => self.planner.handle(planner::Input::Appliance(udn), self.now),
                _ => {}
            }
        }
        while let Some(effect) = self.planner.poll_effect() {
            any = true;
            match effect {
                planner::Effect::Order { udn, verb, cause } => {
                    self.count(&udn, verb);
                    self.gateway.handle(Input::PlannerOrders { udn, verb, cause }, self.now);
                }
                planner::Effect::Save { slot, value, soon } => self.pending.planner(slot, value, soon, boot),
                planner::Effect::Journal(entry) => {
                    self.figures.entries += 1;
                    self.pending.entry(entry, boot);
                }
                planner::Effect::Decided(decision) => {
                    self.figures.dropped += u64::from(matches!(decision.act, Act::Drop(_)));
                }
                planner::Effect::Answer { .. } | planner::Effect::Limited(_) | planner::Effect::Planned => {}
            }
        }
        any
    }

    /// Counts an order, and whether it takes away what is to stay on.
    fn count(&mut self, udn: &Udn, verb: Verb) {
        let (at, on) = (self.now.wall.as_second(), !matches!(verb, Verb::Off | Verb::Standby));
        let today = self.zone.to_datetime(self.now.wall).date().day_of_year();
        let of = self.switchings.entry(udn.clone()).or_default();
        of.all += 1;
        of.day = if of.day.0 == today { (today, of.day.1 + 1) } else { (today, 1) };
        let back = of.last.is_some_and(|(was, since)| was != on && at - since < SOON_S);
        of.last = Some((on, at));
        self.figures.switched += 1;
        self.figures.switched_most = self.figures.switched_most.max(of.day.1);
        self.figures.switched_back += u64::from(back);
        if !on {
            self.judge.ordered_off(udn, at);
        }
    }

    /// A magic packet wakes; what was in operation before it slept is so again.
    fn wake(&mut self, mac: MacAddress) {
        let asleep = |m: &Machine| m.state == PowerState::Standby && m.conduct == Conduct::Obeys;
        let woken = self.machines.iter().find(|(_, m)| m.mac == mac && asleep(m));
        if let Some(udn) = woken.map(|(udn, _)| udn.clone()) {
            self.found(udn.clone());
            self.switch(&udn, PowerState::On);
        }
    }

    fn call(&mut self, call: CallTag, udn: &Udn, order: Order) {
        let Some(machine) = self.machines.get(udn) else { return };
        let (state, facts, mac, conduct) = (machine.state, machine.facts, machine.mac, machine.conduct);
        let to = match order {
            Order::OperationOn => Some(PowerState::On),
            Order::OperationOff => Some(PowerState::Off),
            Order::GoToStandby => Some(PowerState::Standby),
            _ => None,
        };
        let busy = errors::code(RefusalKind::BusyUnit).0;
        let refused = || CallFailure::Fault { code: busy, reason: "in the middle of something".into() };
        let result = match (conduct, order, to) {
            (Conduct::Silent, ..) => Err(CallFailure::NoAnswer("no answer".into())),
            (_, Order::GetPowerState, _) => Ok(Answer::PowerState(state)),
            (_, Order::WakeUpMethod, _) => Ok(Answer::WakeMethod(WakeMethod::Wol)),
            (_, Order::GetApplianceInfo, _) => Ok(Answer::Info { facts, mac: Some(mac), wake_method: None }),
            (Conduct::Refuses, _, Some(_)) => Err(refused()),
            _ => Ok(Answer::Obeyed(None)),
        };
        if to == Some(PowerState::Standby) && self.gateway.registrations().forbids_standby(udn, self.now.wall).is_some()
        {
            self.judge.requested_in_vain();
        }
        match (&result, to) {
            (Ok(_), Some(state)) if conduct == Conduct::Late => {
                let due = self.now.wall.as_second() + LATE_S;
                self.machines.entry(udn.clone()).and_modify(|machine| machine.later = Some((state, due)));
            }
            (Ok(_), Some(state)) => self.switch(udn, state),
            _ => {}
        }
        self.gateway.handle(Input::Answered { call, result }, self.now);
    }
}

fn timestamp(at: i64) -> Timestamp {
    Timestamp::from_second(at).unwrap_or(Timestamp::MAX)
}

/// The prices of days, one after the other from `start` on; after the last of them the first comes again.
pub fn repeated(days: &[PriceSpan], start: i64, until: i64) -> Vec<PriceSpan> {
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return Vec::new() };
    let length = (last.span.end - first.span.start).max(1);
    let turns = 0..=(until - start) / length;
    let shifted = turns.flat_map(|turn| {
        let by = start - first.span.start + turn * length;
        days.iter()
            .map(move |p| PriceSpan { span: Span { start: p.span.start + by, end: p.span.end + by }, price: p.price })
    });
    shifted.filter(|p| p.span.start < until).collect()
}
