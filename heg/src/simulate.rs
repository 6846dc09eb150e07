//! A home in virtual time: gateway and planner as they run, over machines that do as they are told. PURE.
//!
//! In: the configuration's `[[load]]`s, each as a machine, and prices by the day. Out: [`Figures`]. What the gateway would write goes to
//! whoever looks at [`House::take_batch`].
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use energy_model::{Flexibility, Importance, MacAddress, PowerState, WakeMethod, Watts};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use upnp::time::BootTime;

use crate::commands::Verb;
use crate::config::Config;
use crate::gateway::{self, Answer, AskId, CallTag, Gateway, Input, Order, Reply, Restored};
use crate::now::Now;
use crate::plan::Span;
use crate::plan::slots::PriceSpan;
use crate::planner::{self, Act, Planner, Sums};
use crate::registry::{Facts, Found, Offers};
use crate::rules::load::{Load, LoadForm};
use crate::store::batch::{Batch, Pending};

pub mod command;

/// Turns at one instant before something is wrong: a plan takes some hundreds.
const TURNS_MAX: u32 = 1_000_000;
/// A limit is kept within this, s: planning waits for changes to gather, and commands take their time.
pub const REACTION_S: i64 = 60;

/// A machine.
#[derive(Clone, Debug)]
struct Machine {
    facts: Facts,
    state: PowerState,
    since: i64,
    /// It goes off by itself after so long.
    cycle_s: Option<i64>,
    rest_w: u32,
    mac: MacAddress,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Times a machine was switched by the planner.
    pub switched: u64,
    /// The most times one machine was switched on a day.
    pub switched_most: u64,
    /// Works that were not done in time, or not wholly.
    pub undone: u64,
    /// Times a machine was switched off that was to stay on.
    pub comfort_broken: u64,
    /// Time in which a limit was exceeded, longer than [`REACTION_S`] after it began, s.
    pub over_limit_s: i64,
    /// Journal entries.
    pub entries: u64,
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
    loads: BTreeMap<Udn, Load>,
    base_w: u32,
    zone: TimeZone,
    over_since: Option<i64>,
    switched_today: BTreeMap<Udn, u64>,
    figures: Figures,
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
        let base_w = settings.base_w;
        let planner = Planner::new("simulated", settings, Vec::new(), now);
        let mut house = Self {
            gateway: Gateway::new(config.settings(zone.clone()), Restored::default(), now),
            loads: BTreeMap::new(),
            planner,
            pending: Pending::new(Duration::from_secs(config.store.write_every_s.into())),
            now,
            machines: BTreeMap::new(),
            base_w,
            zone,
            over_since: None,
            switched_today: BTreeMap::new(),
            figures: Figures::default(),
        };
        let settings = config.planning(house.zone.clone());
        for form in &config.load {
            let number = u16::try_from(house.machines.len()).unwrap_or(u16::MAX);
            let Some((udn, machine)) = machine(form, number, start.as_second()) else { continue };
            let load = Load::new(&udn, Some(&machine.facts), settings.loads.get(&udn), house.planner.book(), start);
            house.loads.insert(udn.clone(), load);
            house.machines.insert(udn.clone(), machine);
            house.found(udn);
        }
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

    /// The utility is heard, perhaps with other limits.
    pub fn feed(&mut self, input: planner::Input) {
        self.planner.handle(input, self.now);
        self.settle();
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
        };
        Figures { sums: self.planner.days().fold(Sums::default(), sum), ..self.figures }
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
            let machines = self.machines.values().filter_map(Machine::ends).min();
            let machines = machines.map(|at| self.now.boot_at(timestamp(at)));
            let due = [self.gateway.poll_timeout(), self.planner.poll_timeout(), self.pending.poll_timeout(), machines];
            // Whole seconds: each turn brings time on.
            let next = due.into_iter().flatten().min().unwrap_or(end).min(end);
            let step = next.since(self.now.boot).max(Duration::from_secs(1)).min(end.since(self.now.boot));
            self.watch_limit();
            self.now.boot = self.now.boot + step;
            self.now.wall += step;
            self.end_cycles();
            self.settle();
            if let Some(batch) = self.take_batch() {
                written(&batch, self.now.wall);
            }
        }
    }

    /// Whether what is drawn now is more than may be.
    fn watch_limit(&mut self) {
        let at = self.now.wall.as_second();
        let drawn: u32 = self.machines.values().map(Machine::watts).sum::<u32>().saturating_add(self.base_w);
        let over = self.planner.cap(at).is_some_and(|cap| drawn > cap.watts.count());
        match (over, self.over_since) {
            (true, None) => self.over_since = Some(at),
            (false, Some(since)) => {
                self.figures.over_limit_s += (at - since - REACTION_S).max(0);
                self.over_since = None;
            }
            _ => {}
        }
    }

    fn end_cycles(&mut self) {
        let at = self.now.wall.as_second();
        let over = |m: &Machine| m.ends().is_some_and(|end| end <= at);
        let ended: Vec<Udn> = self.machines.iter().filter(|(_, m)| over(m)).map(|(udn, _)| udn.clone()).collect();
        for udn in ended {
            self.switch(&udn, PowerState::Off);
        }
    }

    fn switch(&mut self, udn: &Udn, state: PowerState) {
        if let Some(machine) = self.machines.get_mut(udn) {
            (machine.state, machine.since) = (state, self.now.wall.as_second());
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
                    self.figures.undone += u64::from(matches!(decision.act, Act::Drop(_)));
                }
                planner::Effect::Answer { .. } | planner::Effect::Limited(_) | planner::Effect::Planned => {}
            }
        }
        any
    }

    /// Counts an order, and whether it takes away what a person's rule keeps.
    fn count(&mut self, udn: &Udn, verb: Verb) {
        self.figures.switched += 1;
        let today = self.zone.to_datetime(self.now.wall).date().day();
        let key = self.switched_today.entry(udn.clone()).or_default();
        // The day in the upper half, the count in the lower.
        let day = u64::from(today.unsigned_abs()) << 32;
        *key = if *key & !0xffff_ffff == day { *key + 1 } else { day + 1 };
        self.figures.switched_most = self.figures.switched_most.max(*key & 0xffff_ffff);
        let time = self.zone.to_datetime(self.now.wall);
        let kept = self.loads.get(udn).is_some_and(|load| {
            load.importance.0 == Importance::Critical || load.keep_on.iter().any(|(window, _)| window.contains(time))
        });
        self.figures.comfort_broken += u64::from(kept && matches!(verb, Verb::Off | Verb::Standby));
    }

    /// A magic packet wakes; what was in operation before it slept is so again.
    fn wake(&mut self, mac: MacAddress) {
        let woken = self.machines.iter().find(|(_, m)| m.mac == mac && m.state == PowerState::Standby);
        if let Some(udn) = woken.map(|(udn, _)| udn.clone()) {
            self.found(udn.clone());
            self.switch(&udn, PowerState::On);
        }
    }

    fn call(&mut self, call: CallTag, udn: &Udn, order: Order) {
        let Some(machine) = self.machines.get(udn) else { return };
        let (state, facts, mac) = (machine.state, machine.facts, machine.mac);
        let result = match order {
            Order::GetPowerState => Answer::PowerState(state),
            Order::WakeUpMethod => Answer::WakeMethod(WakeMethod::Wol),
            Order::GetApplianceInfo => Answer::Info { facts, mac: Some(mac), wake_method: None },
            _ => Answer::Obeyed(None),
        };
        let to = match order {
            Order::OperationOn => Some(PowerState::On),
            Order::OperationOff => Some(PowerState::Off),
            Order::GoToStandby => Some(PowerState::Standby),
            _ => None,
        };
        if let Some(state) = to {
            self.switch(udn, state);
        }
        self.gateway.handle(Input::Answered { call, result: Ok(result) }, self.now);
    }
}

impl Machine {
    /// When it goes off by itself.
    fn ends(&self) -> Option<i64> {
        self.cycle_s.filter(|_| self.state == PowerState::On).map(|length| self.since + length)
    }

    fn watts(&self) -> u32 {
        if self.state == PowerState::On { self.facts.rated_power.count() } else { self.rest_w }
    }
}

/// A load as a machine; `None` where it does not say what it is.
fn machine(form: &LoadForm, number: u16, at: i64) -> Option<(Udn, Machine)> {
    let settings = form.check().ok()?;
    let [high, low] = number.to_be_bytes();
    let mac = MacAddress::new([2, 0, 0, 0, high, low]).ok()?;
    let flexibility = form.kind?;
    let largest = form.phases.iter().map(|p| p.watts).max();
    let rated_power = Watts::new(form.power_w.or(largest)?);
    let facts = Facts {
        rated_power,
        importance: form.importance.unwrap_or(Importance::Normal),
        flexibility,
        minimum_on_s: 0,
        minimum_off_s: 0,
    };
    let runs_always = matches!(flexibility, Flexibility::Curtailable | Flexibility::StandbyAble | Flexibility::Fixed);
    let state = if runs_always && form.only.is_empty() { PowerState::On } else { PowerState::Off };
    let cycle_s =
        (flexibility == Flexibility::Deferrable).then(|| form.phases.iter().map(|p| i64::from(p.minutes) * 60).sum());
    Some((settings.udn().clone(), Machine { facts, state, since: at, cycle_s, rest_w: form.rest_w, mac }))
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
