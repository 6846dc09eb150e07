//! A home in virtual time: the gateway's minds as they run, over machines that do as they are told, or don't. PURE.
//!
//! In: the configuration's `[[load]]`s and `[[rule]]`s and what a running gateway knows, each appliance as a machine, prices, the utility's
//! word, and what people and machines do beside
//! ([`House::press`], [`House::set_conduct`], [`House::ask`], [`House::request`]). Out: [`Figures`]; what the gateway writes, which goes to
//! whoever lets time pass; and what it asks the utility, if it has one ([`House::poll_question`]). The process may end and begin again from
//! what was written ([`House::restart`]).
//!
//! | file | what |
//! |---|---|
//! | `known` | what a running gateway says of its appliances and rules |
//! | `machine` | a machine, and what it draws |
//! | `wire` | what machines answer and ask |
//! | `judge` | what came of it, by looking at the machines alone |
//! | `command` | `heg-gateway simulate` (IO) |
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use energy_model::PowerState;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use upnp::time::BootTime;

use crate::config::Config;
use crate::gateway::{AskId, Gateway, Input, Request, Restored};
use crate::home;
use crate::home::minds::{self, Minds};
use crate::journal::{Ending, Entry};
use crate::now::Now;
use crate::plan::Span;
use crate::plan::slots::PriceSpan;
use crate::planner::{self, Act, Change, Decision, Planner, Sums};
use crate::prices::{HomePrices, News};
use crate::rules::form::{Kind, RuleForm};
use crate::rules::load::{Load, Task};
use crate::rules::{Consent, What};
use crate::store::batch::Batch;
use crate::utility::{self, Question, Utility};

pub mod command;
mod judge;
mod known;
mod machine;
mod wire;

pub use judge::{Fault, Findings, REACTION_S};
pub use known::Known;
pub use machine::Conduct;

use judge::{Judge, May};
use machine::Machine;

/// Turns at one instant before something is wrong: a plan takes some hundreds.
const TURNS_MAX: u32 = 1_000_000;
/// A machine that is switched on again by the planner so soon after it was switched off is counted, s.
const SOON_S: i64 = 300;
/// Machines are found so long after a process of the gateway has begun, s.
const FOUND_AFTER_S: i64 = 3;
/// Under this name the home draws its delays, and the utility knows it.
pub const HOME: &str = "2fac1234-31f8-41b4-a222-0800cafe0001";
/// The person who lives there.
const UID: u32 = 1000;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Times a machine was ordered on or off by the planner.
    pub switched: u64,
    /// The most times one machine was on a day.
    pub switched_most: u64,
    /// Times one was ordered the other way within five minutes.
    pub switched_back: u64,
    /// Orders of the planner and the utility that were not obeyed.
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
    minds: Minds,
    config: Config,
    now: Now,
    machines: BTreeMap<Udn, Machine>,
    left_out: Vec<(String, String)>,
    planned: usize,
    idle: Vec<Udn>,
    judge: Judge,
    fuse_w: Option<u32>,
    base_w: u32,
    zone: TimeZone,
    switchings: BTreeMap<Udn, Switchings>,
    figures: Figures,
    last_ask: u64,
    /// What machines have asked for that waits for the disk.
    requests: BTreeMap<AskId, (Udn, Request)>,
    written: VecDeque<(Batch, Timestamp)>,
    prices_kept: Option<Vec<u8>>,
    questions: VecDeque<Question>,
    /// When the machines answer the search of a process that has begun again.
    found_at: Option<i64>,
    /// Orders of the planner's under way, by the number of their decision.
    ordered: BTreeSet<u64>,
    /// Money and energy of days that the planner of a process before knew.
    sums: BTreeMap<Box<str>, Sums>,
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
    /// No load says what it is; those that are left out, each with why.
    #[error(
        "there is nothing to simulate: no [[load]] or [[rule]] of the configuration, and no appliance of the gateway that may be planned, \
         says what kind of load it is and its power"
    )]
    NoLoads(Vec<(String, String)>),
}

impl House {
    /// The home of a configuration, each `[[load]]` as a machine, and what `[[rule]]`s of kind `kind` name; `start` is when time begins.
    ///
    /// # Errors
    /// There is no such load.
    pub fn new(config: &Config, zone: TimeZone, start: Timestamp) -> Result<Self, SimulateError> {
        Self::of(config, Known::default(), zone, start)
    }

    /// The home of a configuration and of what a running gateway knows: each appliance of which is known what it is, as a machine. One that
    /// the configuration does not name and that may not be planned is left out: nobody knows when it is on.
    ///
    /// # Errors
    /// There is no such appliance.
    pub fn of(config: &Config, mut known: Known, zone: TimeZone, start: Timestamp) -> Result<Self, SimulateError> {
        let now = Now { boot: BootTime::from_duration(Duration::from_secs(1000)), wall: start };
        let settings = config.planning(zone.clone());
        let (loads, comeback_s) = (settings.loads.clone(), i64::from(settings.comeback.for_s));
        let mut house = Self {
            base_w: settings.base_w,
            fuse_w: settings.fuse_w,
            minds: minds(config, &zone, Restored::default(), now),
            config: config.clone(),
            now,
            machines: BTreeMap::new(),
            left_out: Vec::new(),
            planned: 0,
            idle: Vec::new(),
            judge: Judge::new(zone.clone(), comeback_s),
            zone,
            switchings: BTreeMap::new(),
            figures: Figures::default(),
            last_ask: 0,
            requests: BTreeMap::new(),
            written: VecDeque::new(),
            prices_kept: None,
            questions: VecDeque::new(),
            found_at: None,
            ordered: BTreeSet::new(),
            sums: BTreeMap::new(),
        };
        let mut book = house.minds.planner().book().clone();
        known.enter(&mut book, start);
        house.left_out.append(&mut known.left_out);
        // In the configuration's order, after them those that are known by a rule of kind `kind` alone, and by the gateway alone.
        let mut all: Vec<Udn> = config.load.iter().filter_map(|form| Udn::parse(&form.udn).ok()).collect();
        let by_rule = settings.rules.iter().filter(|rule| matches!(rule.what, What::Kind(..)));
        all.extend(by_rule.filter_map(|rule| rule.appliance.clone()));
        let configured = all.len();
        all.extend(known.appliances.keys().cloned());
        for (place, udn) in all.iter().enumerate() {
            if all[..place].contains(udn) {
                continue;
            }
            let told = known.appliances.get(udn);
            let facts = told.and_then(|told| told.facts);
            let name = told.map_or_else(|| udn.bare(), |told| &told.name).to_owned();
            let load = Load::new(udn, facts.as_ref(), loads.get(udn), &book, start);
            if place >= configured && load.consent.0 == Consent::No {
                house.left_out.push((name, "nobody has said that it may be planned".to_owned()));
                continue;
            }
            let number = u16::try_from(house.machines.len() + 1).unwrap_or(u16::MAX);
            let mut machine = match Machine::new(&load, number, start.as_second()) {
                Ok(machine) => machine,
                Err(why) => {
                    house.left_out.push((name, why));
                    continue;
                }
            };
            machine.name = name;
            if let Some(facts) = facts {
                (machine.facts.minimum_on_s, machine.facts.minimum_off_s) = (facts.minimum_on_s, facts.minimum_off_s);
            }
            house.judge.add(udn.clone(), &load);
            house.planned += usize::from(load.consent.0 == Consent::Yes);
            if matches!(load.task, Ok(Task::Cycle { every_day: None, .. } | Task::Energy { every_day: None })) {
                house.idle.push(udn.clone());
            }
            house.machines.insert(udn.clone(), machine);
            house.found(udn);
        }
        house.judge.look(&house.machines, start.as_second());
        if house.machines.is_empty() {
            return Err(SimulateError::NoLoads(house.left_out));
        }
        house.say(known);
        Ok(house)
    }

    /// What people have said at the gateway, and what it keeps of appliances, is said again.
    fn say(&mut self, known: Known) {
        known.rules.into_iter().for_each(|form| self.ask(form));
        for (udn, told) in known.appliances {
            if self.machines.contains_key(&udn) {
                told.requests.into_iter().for_each(|request| self.request(&udn, Some(request)));
                told.periods.into_iter().for_each(|window| self.period(&udn, Some(window)));
            }
        }
    }

    /// Loads, appliances and rules that are left out, each with why.
    pub fn left_out(&self) -> &[(String, String)] {
        &self.left_out
    }

    /// Machines that are planned by price, time and importance.
    pub fn planned(&self) -> usize {
        self.planned
    }

    /// Machines with cycles or charges that nothing asks for.
    pub fn idle(&self) -> impl Iterator<Item = &str> {
        self.idle.iter().map(|udn| self.name_of(udn))
    }

    /// The name of a machine for people.
    pub fn name_of<'a>(&'a self, udn: &'a Udn) -> &'a str {
        self.machines.get(udn).map_or_else(|| udn.bare(), |machine| &machine.name)
    }

    /// What energy costs is told by a price file from now on, of which `kept` was kept before.
    pub fn set_prices(&mut self, settings: crate::prices::Settings, kept: Option<&[u8]>) {
        self.minds.set_prices(HomePrices::new(settings, kept, self.now));
        self.settle();
    }

    /// News of the price file.
    pub fn price_news(&mut self, news: News) {
        self.minds.handle_prices(news, self.now);
        self.settle();
    }

    /// What is wrong with prices.
    pub fn price_troubles(&self) -> Vec<String> {
        self.minds.prices().troubles()
    }

    /// The prices that are to be found after a restart, where they are others than before.
    pub fn take_prices_kept(&mut self) -> Option<Vec<u8>> {
        self.prices_kept.take()
    }

    /// The process ends in good order; what it still has to write goes to whoever lets time pass.
    pub fn stop(&mut self) {
        self.minds.stop(self.now);
        self.settle();
        if let Some(batch) = self.minds.write_early() {
            self.written.push_back((batch, self.now.wall));
        }
    }

    /// The process begins (again), from what is in the database, of which `decided` are the journal's last decisions. What was not written is
    /// lost, as if its power had been cut.
    pub fn restart(&mut self, restored: Restored, decided: &[Entry]) {
        self.keep_days();
        self.minds = minds(&self.config, &self.zone, restored, self.now);
        self.minds.remember(decided);
        self.requests.clear();
        self.questions.clear();
        self.ordered.clear();
        self.found_at = Some(self.now.wall.as_second() + FOUND_AFTER_S);
        self.settle();
    }

    /// Remembers what days have cost: the planner knows some hundred of them.
    pub fn keep_days(&mut self) {
        for (day, sums) in self.minds.planner().days() {
            self.sums.insert(day.into(), *sums);
        }
    }

    /// A fact about the utility.
    pub fn utility(&mut self, input: utility::Input) {
        self.minds.handle_utility(input, self.now);
        self.settle();
    }

    /// What the gateway asks the utility next.
    pub fn poll_question(&mut self) -> Option<Question> {
        self.questions.pop_front()
    }

    /// What was written since, each with when: the process may end at any time.
    pub fn poll_written(&mut self) -> Option<(Batch, Timestamp)> {
        self.written.pop_front()
    }

    /// Prices from the first of them on, as if they had come from a price file.
    pub fn prices(&mut self, spans: Vec<PriceSpan>, currency: &str) {
        self.feed(planner::Input::Prices { spans, currency: currency.into() });
    }

    /// A fact for the planner: the utility is heard, perhaps with other limits.
    pub fn feed(&mut self, input: planner::Input) {
        self.minds.handle_planner(input, self.now);
        self.settle();
    }

    /// A person asks for work (kinds run and charge), or makes another rule.
    pub fn ask(&mut self, form: RuleForm) {
        self.last_ask += 1;
        let until = form.until.as_ref().and_then(|until| until.parse::<Timestamp>().ok());
        let udn = form.appliance.as_ref().and_then(|udn| Udn::parse(udn).ok());
        let machine = udn.as_ref().and_then(|udn| self.machines.get(udn));
        if let (Kind::Run | Kind::Charge, Some(udn), Some(machine), Some(until)) = (form.kind, &udn, machine, until) {
            let span = Span { start: self.now.wall.as_second(), end: until.as_second() };
            self.judge.asked(udn, machine, span, form.energy_wh.unwrap_or(0));
        }
        self.feed(planner::Input::Asked { ask: AskId(self.last_ask), uid: UID, change: Change::Add(form) });
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
                self.minds.handle(Input::Gone { udn: udn.clone(), why: "its announcements ran out" }, self.now);
            }
            (Conduct::Silent, _) => self.found(udn),
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
        self.minds.planner()
    }

    /// Registry, commands, registrations.
    pub fn gateway(&self) -> &Gateway {
        self.minds.gateway()
    }

    /// What came of it up to now.
    pub fn figures(&self) -> Figures {
        let sum = |sum: Sums, day: &Sums| Sums {
            cost: sum.cost + day.cost,
            at_once: sum.at_once + day.at_once,
            energy_ws: sum.energy_ws + day.energy_ws,
            not_used: sum.not_used + day.not_used,
        };
        let sums = self.days().into_values().fold(Sums::default(), sum);
        Figures { sums, findings: self.judge.findings, ..self.figures }
    }

    /// What was not as it should be, the first of it.
    pub fn faults(&self) -> &[Fault] {
        &self.judge.faults
    }

    /// Money and energy of each day.
    pub fn days(&self) -> BTreeMap<&str, &Sums> {
        // What the present process says of a day goes before what one before it has said.
        self.sums.iter().map(|(day, sums)| (&**day, sums)).chain(self.minds.planner().days()).collect()
    }

    /// Lets time pass until then, or until the gateway asks the utility something; `written` gets what is to be written when it is due.
    pub fn run_to(&mut self, until: Timestamp, mut written: impl FnMut(&Batch, Timestamp)) {
        self.settle();
        loop {
            while let Some((batch, at)) = self.written.pop_front() {
                written(&batch, at);
            }
            if self.now.wall >= until || !self.questions.is_empty() {
                return;
            }
            let end = self.now.boot_at(until);
            let at = self.now.wall.as_second();
            let machines = self.machines.values().filter_map(|machine| machine.next_edge(&self.zone, at));
            let edge = machines
                .chain(self.judge.next_edge(at))
                .chain(self.found_at)
                .min()
                .map(|at| self.now.boot_at(timestamp(at)));
            let next = [self.minds.poll_timeout(), edge].into_iter().flatten().min().unwrap_or(end).min(end);
            // Whole seconds: each turn brings time on.
            let step = next.since(self.now.boot).as_secs_f64().ceil().max(1.0);
            let step = Duration::from_secs(step as u64).min(end.since(self.now.boot));
            let span = Span { start: at, end: (self.now.wall + step).as_second() };
            let cap = self.minds.planner().cap(at);
            let failsafe = cap.is_some_and(|cap| !matches!(cap.cause, crate::envelope::Cause::Limit(_)));
            let may = May { limit_w: cap.map(|cap| cap.watts.count()), failsafe, fuse_w: self.fuse_w };
            self.judge.watch(&self.machines, self.drawn_w(), may, span);
            self.now.boot = self.now.boot + step;
            self.now.wall += step;
            self.machines_go_on();
            self.judge.look(&self.machines, self.now.wall.as_second());
            self.settle();
        }
    }

    /// Until nobody has anything more to say at this instant.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            self.minds.handle_timeout(self.now);
            let more = self.pass_on();
            if !more && self.minds.poll_timeout().is_none_or(|due| due > self.now.boot) {
                return;
            }
        }
        tracing::error!(at = %self.now.wall, "the gateway does not come to an end");
    }

    fn pass_on(&mut self) -> bool {
        let mut any = false;
        while let Some(effect) = self.minds.poll_effect() {
            any = true;
            match effect {
                minds::Effect::Call { call, udn, order } => self.call(call, &udn, order),
                // Whoever is there is found when it comes.
                minds::Effect::Search => {}
                minds::Effect::Outside(effect) => self.carry_out(*effect),
            }
        }
        any
    }

    fn carry_out(&mut self, effect: home::Effect) {
        match effect {
            home::Effect::Write(batch) => {
                self.written.push_back((batch, self.now.wall));
                for (ask, reply) in self.minds.written(Ok(()), self.now) {
                    self.answered(ask, &reply);
                }
            }
            home::Effect::SendMagicPacket { mac, .. } => self.wake(mac),
            home::Effect::LookUpNeighbour(address) => {
                let mac = self.machines.values().find(|m| m.address == address).map(|m| m.mac);
                self.minds.handle(Input::NeighbourLooked { address, mac }, self.now);
            }
            home::Effect::KeepPrices(bytes) => self.prices_kept = Some(bytes),
            home::Effect::Ask(question) => self.questions.push_back(question),
            home::Effect::Journalled(_) => self.figures.entries += 1,
            home::Effect::Decided(decision) => self.decided(&decision),
            home::Effect::Net(_) | home::Effect::Changed(_) | home::Effect::Planned | home::Effect::Forgotten(_) => {}
        }
    }

    /// Counts what the planner and the utility order, and what was not obeyed. What came of an order of the planner's is told as the same
    /// decision again; others' orders are told when they have ended.
    fn decided(&mut self, decision: &Decision) {
        let Decision { id, udn, act, kind, outcome, .. } = decision;
        let at = self.now.wall.as_second();
        let on = match act {
            Act::On => true,
            Act::Off => false,
            Act::Drop(_) => return self.figures.dropped += u64::from(outcome.is_none()),
            Act::Start(_) => return,
        };
        let Some((ending, _)) = outcome else {
            self.ordered.insert(*id);
            self.count(udn, on);
            if !on {
                self.judge.ordered_off(udn, at);
            }
            return;
        };
        let of_utility = *kind == "control";
        let obeyed = matches!(ending, Ending::Done | Ending::Already);
        self.figures.refused += u64::from(!obeyed && (self.ordered.remove(id) || of_utility));
        if of_utility && obeyed {
            self.judge.disturbed(udn, at);
            if !on {
                self.judge.ordered_off(udn, at);
            }
        }
    }

    fn count(&mut self, udn: &Udn, on: bool) {
        let at = self.now.wall.as_second();
        let today = self.zone.to_datetime(self.now.wall).date().day_of_year();
        let of = self.switchings.entry(udn.clone()).or_default();
        of.all += 1;
        of.day = if of.day.0 == today { (today, of.day.1 + 1) } else { (today, 1) };
        let back = of.last.is_some_and(|(was, since)| was != on && at - since < SOON_S);
        of.last = Some((on, at));
        self.figures.switched += 1;
        self.figures.switched_most = self.figures.switched_most.max(of.day.1);
        self.figures.switched_back += u64::from(back);
    }
}

/// The gateway's minds, as they were left.
fn minds(config: &Config, zone: &TimeZone, mut restored: Restored, now: Now) -> Minds {
    let (planned, rows) = (std::mem::take(&mut restored.planner), std::mem::take(&mut restored.utility));
    let seed = u64::try_from(now.wall.as_second()).unwrap_or(0);
    Minds::new(
        Gateway::new(config.settings(zone.clone()), restored, now),
        Utility::new(HOME, config.utility_settings(), rows, seed, now),
        Planner::new(HOME, config.planning(zone.clone()), planned, now),
        Duration::from_secs(config.store.write_every_s.into()),
        now,
    )
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
