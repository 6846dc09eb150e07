//! The home without IO (PURE): joins the gateway's mind, its planner, its device, its control point, its dealings with the utility and
//! what waits for the disk.
//!
//! In: what the network, the disk, people and the clocks tell. Out: [`Effect`]s, which `app.rs` carries out. Every input brings
//! both clocks; what follows from it is worked out when the effects are taken, all of them before the next input.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use energy_model::MacAddress;
use http::Response;
use upnp::device::{ActionCall, Handled, RootDevice};
use upnp::ids::Udn;
use upnp::net::{Channel, Datagram, HttpAnswer, IncomingRequest, Interface, Owner};
use upnp::time::{BootTime, earliest};
use utility_wire::Poll;

use crate::commands::Verb;
use crate::control_point::Appliances;
use crate::gateway::{self, AskId, Gateway, Input, Reply};
use crate::journal::{Cause, Entry};
use crate::now::Now;
use crate::plan::slots::PriceSpan;
use crate::planner::{self, Decision, Planner};
use crate::prices::{self, HomePrices, News};
use crate::store::batch::{Batch, Mark, Pending, Settled};
use crate::utility::{self, Link, Question, Utility};
use crate::wake::SecureOn;

mod planning;
#[cfg(test)]
mod tests;

/// An order to `app.rs`.
#[derive(Debug)]
pub enum Effect {
    /// To the network driver.
    Net(upnp::Effect),
    /// Send one magic packet by every way there is.
    SendMagicPacket {
        /// To whom.
        mac: MacAddress,
        /// Where it was last, to choose the interface.
        address: Option<IpAddr>,
        /// Password, if it needs one.
        secure_on: Option<SecureOn>,
    },
    /// Look an address up in the neighbour table; [`Input::NeighbourLooked`] must follow.
    LookUpNeighbour(IpAddr),
    /// Write a batch; [`Home::written`] or [`Home::began_anew`] must follow.
    Write(Batch),
    /// Put this where [`HomePrices::new`] finds it after a restart.
    KeepPrices(Vec<u8>),
    /// An entry was made in the journal (it is written by itself).
    Journalled(Entry),
    /// Something about an appliance looks different now.
    Changed(Udn),
    /// The planner has decided something (the journal has it by itself).
    Decided(Decision),
    /// Another plan is followed than before.
    Planned,
    /// An appliance was taken out of the registry.
    Forgotten(Udn),
    /// To the utility; its answer goes to [`Home::handle_utility`].
    Ask(Question),
}

/// What came in by HTTP.
#[derive(Debug)]
pub enum Incoming {
    /// Answered.
    Answered(Response<Bytes>),
    /// A path that is nobody's.
    Other,
    /// The page, to be answered by `upnp::device::presentation_response`.
    Page,
    /// A call of Table II: it goes to [`Home::handle`] as [`Input::ApplianceAsks`] and is answered when its reply comes.
    Asked(Box<ActionCall>),
}

/// The home.
#[derive(Debug)]
pub struct Home {
    gateway: Gateway,
    appliances: Appliances,
    device: RootDevice,
    utility: Utility,
    planner: Planner,
    prices: HomePrices,
    /// Versions of the utility's price series that the prices have.
    told: Vec<u64>,
    /// The prices that the planner has.
    planned: Vec<PriceSpan>,
    pending: Pending<(AskId, Reply)>,
    /// Orders of the planner's that wait for the disk, by number.
    held: BTreeMap<u64, (Udn, Verb, Cause)>,
    last_held: u64,
    effects: VecDeque<Effect>,
    now: Now,
}

impl Home {
    /// Joins the parts; ordinary changes are written at most `write_every` so often.
    pub fn new(
        gateway: Gateway,
        appliances: Appliances,
        device: RootDevice,
        utility: Utility,
        planner: Planner,
        write_every: Duration,
        now: Now,
    ) -> Self {
        let (pending, effects) = (Pending::new(write_every), VecDeque::new());
        let mut planner = planner;
        planner.stored_limits(utility.known().limits().clone(), now);
        planning::controls_of_before(&mut planner, &utility, &gateway, now);
        let prices = HomePrices::new(prices::Settings::nothing(gateway.zone().clone()), None, now);
        let (told, planned) = (Vec::new(), Vec::new());
        let (held, last_held) = (BTreeMap::new(), 0);
        Self {
            gateway,
            appliances,
            device,
            utility,
            planner,
            prices,
            told,
            planned,
            pending,
            held,
            last_held,
            effects,
            now,
        }
    }

    /// The same home, which knows what energy costs.
    #[must_use]
    pub fn with_prices(self, prices: HomePrices) -> Self {
        let mut home = Self { prices, ..self };
        home.utility_told(None, None, home.now);
        home.prices_changed(home.now);
        home
    }

    /// The same home, which knows what was decided before it was started: `entries` of the journal, oldest first.
    #[must_use]
    pub fn with_decisions(mut self, entries: &[Entry]) -> Self {
        let known = |entry: &&Entry| entry.udn.as_ref().is_some_and(|udn| self.gateway.registry().get(udn).is_some());
        entries.iter().filter(known).for_each(|entry| self.planner.remember(entry));
        self
    }

    /// What energy costs.
    pub fn prices(&self) -> &HomePrices {
        &self.prices
    }

    /// News of the price file or feed.
    pub fn handle_prices(&mut self, news: News, now: Now) {
        self.now = now;
        self.prices.handle(news, now);
        self.prices_changed(now);
    }

    /// Another tariff.
    pub fn set_tariff(&mut self, settings: prices::Settings, now: Now) {
        self.now = now;
        self.prices.configure(settings, now);
        self.prices_changed(now);
    }

    /// The mind: registry, commands, registrations.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The dealings with the utility.
    pub fn utility(&self) -> &Utility {
        &self.utility
    }

    /// Subscriptions to the gateway's own device.
    pub fn subscribers(&self) -> usize {
        self.device.subscribers()
    }

    /// BOOTID.UPNP.ORG in force.
    pub fn boot_id(&self) -> u32 {
        self.device.boot_id()
    }

    /// What is wrong with writing now, for the status.
    pub fn trouble(&self) -> Option<String> {
        self.pending.trouble()
    }

    /// Takes another distance between writes.
    pub fn set_write_every(&mut self, every: Duration) {
        self.pending.set_every(every);
    }

    /// A fact for the mind.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.now = now;
        if matches!(input, Input::ClockChanged) {
            self.planner.handle(planner::Input::ClockChanged, now);
            // Under another clock other hours are ahead, and the hours known so far may be none of them.
            self.prices.handle_timeout(now);
            self.prices_changed(now);
        }
        self.gateway.handle(input, now);
    }

    /// Something the daemon did beside the mind, for the journal.
    pub fn note(&mut self, entry: Entry, now: Now) {
        self.pending.entry(entry.clone(), now.boot);
        self.effects.push_back(Effect::Journalled(entry));
    }

    /// A fact about the utility.
    pub fn handle_utility(&mut self, input: utility::Input, now: Now) {
        self.now = now;
        let answer = planning::answer(&input);
        if let utility::Input::Link(Link { time: Some(time), .. }) = &input {
            self.planner.handle(planner::Input::Time(*time), now);
        }
        let before = self.utility.peer().map(str::to_owned);
        let consent = matches!(&input, utility::Input::Said { .. } | utility::Input::Configured(_));
        self.utility.handle(input, &self.gateway, now);
        if consent {
            planning::end_what_is_not_allowed(&mut self.planner, &self.utility, now);
        }
        self.utility_told(answer, before.as_deref(), now);
    }

    /// The utility calls; see [`Utility::called`].
    pub fn utility_calls(&mut self, now: Now) -> Option<Poll> {
        self.now = now;
        self.utility.called(now)
    }

    /// The network interfaces as they are now.
    pub fn handle_interfaces(&mut self, interfaces: &[Interface], now: Now) {
        self.now = now;
        self.device.handle_interfaces(interfaces, now.boot);
        self.appliances.machine().handle_interfaces(interfaces, now.boot);
    }

    /// A datagram.
    pub fn handle_datagram(&mut self, datagram: &Datagram, now: Now) {
        self.now = now;
        if datagram.channel == Channel::Ssdp {
            self.device.handle_datagram(datagram, now.boot);
        }
        self.appliances.machine().handle_datagram(datagram, now.boot);
    }

    /// The answer to a request of ours.
    pub fn handle_answer(&mut self, answer: HttpAnswer, now: Now) {
        self.now = now;
        match answer.id.owner {
            Owner::Device => self.device.handle_answer(answer, now.boot),
            Owner::ControlPoint => self.appliances.machine().handle_answer(answer, now.boot),
        }
    }

    /// A request.
    pub fn handle_request(&mut self, request: &IncomingRequest, now: Now) -> Incoming {
        self.now = now;
        match self.device.handle_request(request, now.boot) {
            Handled::Response(response) => Incoming::Answered(response),
            Handled::Presentation => Incoming::Page,
            Handled::NotMine => {
                let response = self.appliances.machine().handle_request(request, now.boot);
                response.map_or(Incoming::Other, Incoming::Answered)
            }
            Handled::Action(call) => Incoming::Asked(Box::new(call)),
        }
    }

    /// A batch was written, or comes back with the reason. Returns the answers that waited for it.
    pub fn written(&mut self, result: Result<(), (Box<Batch>, String)>, now: Now) -> Vec<(AskId, Reply)> {
        self.now = now;
        let Settled { saved, marks, replies } = self.pending.written(result, now.boot);
        for (mark, result) in marks {
            match mark {
                Mark::Utility(ticket) => {
                    self.utility.handle(utility::Input::Saved { ticket, result }, &self.gateway, now);
                }
                // On a full disk too: a limit is kept all the same.
                Mark::Order(number) => self.order_held(number),
            }
        }
        for (ask, result) in saved {
            self.gateway.handle(Input::Saved { ask, result }, now);
        }
        replies
    }

    /// The database was begun anew instead of writing this batch: all that is known goes into it.
    pub fn began_anew(&mut self, batch: Batch, now: Now) {
        self.now = now;
        let everything = Batch {
            appliances: self.gateway.registry().iter().map(|a| (a.udn().clone(), Some(a.profile().clone()))).collect(),
            registrations: self.gateway.registrations().iter().map(|r| (r.key(), Some(r.clone()))).collect(),
            journal: Vec::new(),
            utility: self.utility.rows().into_iter().map(|(slot, value)| (slot, Some(value))).collect(),
            planner: self.planner.rows().into_iter().map(|(slot, value)| (slot, Some(value))).collect(),
            last_reg: self.gateway.registrations().last_reg(),
        };
        self.pending.began_anew(everything, batch, now.boot);
    }

    /// Everything that waits to be written, though it is not due; like [`Effect::Write`].
    pub fn write_early(&mut self) -> Option<Batch> {
        self.pending.take_early()
    }

    /// This machine slept: everybody is told anew, and subscriptions are renewed at once.
    pub fn resumed(&mut self, now: Now) {
        self.now = now;
        self.device.resumed(now.boot);
        self.appliances.machine().resumed(now.boot);
    }

    /// Says goodbye and gives subscriptions back; [`Self::is_done`] tells when.
    pub fn stop(&mut self, now: Now) {
        self.now = now;
        self.planner.stop(now);
        self.appliances.machine().stop(now.boot);
        self.device.stop(now.boot);
    }

    /// Whether all goodbyes are said and nothing is being written.
    pub fn is_done(&self) -> bool {
        let said = self.appliances.machine_ref().idle() && self.device.poll_timeout().is_none();
        said && !self.pending.is_in_flight()
    }

    /// Lets time pass in the machines whose time has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        let due = |at: Option<BootTime>| at.is_some_and(|at| at <= now.boot);
        if due(self.appliances.machine_ref().poll_timeout()) {
            self.appliances.machine().handle_timeout(now.boot);
        }
        if due(self.device.poll_timeout()) {
            self.device.handle_timeout(now.boot);
        }
        if due(self.gateway.poll_timeout()) {
            self.gateway.handle_timeout(now);
        }
        if due(self.utility.poll_timeout()) {
            self.utility.handle_timeout(&self.gateway, now);
        }
        // Before the planner, whose hour begins at the same moment.
        if due(self.prices.poll_timeout()) {
            self.prices.handle_timeout(now);
            self.prices_changed(now);
        }
        if due(self.planner.poll_timeout()) {
            self.planner.handle_timeout(&self.gateway, now);
        }
    }

    /// When [`Self::handle_timeout`] is due, or there is a batch to write.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let machines = earliest(self.appliances.machine_ref().poll_timeout(), self.device.poll_timeout());
        let minds = earliest(self.gateway.poll_timeout(), self.utility.poll_timeout());
        let rest = earliest(self.planner.poll_timeout(), self.pending.poll_timeout());
        earliest(earliest(machines, self.prices.poll_timeout()), earliest(minds, rest))
    }

    /// The next order. What the parts have for one another is passed on the way.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        loop {
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            if let Some(effect) = self.appliances.machine().poll_effect().or_else(|| self.device.poll_effect()) {
                return Some(Effect::Net(effect));
            }
            if let Some(input) = self.appliances.poll_input() {
                self.gateway.handle(input, self.now);
            } else if let Some(effect) = self.gateway.poll_effect() {
                self.pass_on(effect);
            } else if let Some(effect) = self.utility.poll_effect() {
                self.pass_on_of_utility(effect);
            } else if let Some(effect) = self.planner.poll_effect() {
                self.pass_on_of_planner(effect);
            } else if let Some(effect) = self.prices.poll_effect() {
                match effect {
                    prices::Effect::Journal(entry) => self.journal(entry),
                    prices::Effect::Keep(bytes) => self.effects.push_back(Effect::KeepPrices(bytes)),
                }
            } else {
                return self.pending.take(self.now.boot).map(Effect::Write);
            }
        }
    }

    fn journal(&mut self, entry: Entry) {
        self.utility.journalled(&entry, self.now);
        self.pending.entry(entry.clone(), self.now.boot);
        self.effects.push_back(Effect::Journalled(entry));
    }

    fn pass_on(&mut self, effect: gateway::Effect) {
        let boot = self.now.boot;
        match effect {
            gateway::Effect::Call { call, udn, order } => {
                if let Some(input) = self.appliances.call(call, &udn, order, boot) {
                    self.gateway.handle(input, self.now);
                }
            }
            gateway::Effect::SendMagicPacket { mac, address, secure_on } => {
                self.effects.push_back(Effect::SendMagicPacket { mac, address, secure_on });
            }
            gateway::Effect::LookUpNeighbour(address) => self.effects.push_back(Effect::LookUpNeighbour(address)),
            gateway::Effect::Search => self.appliances.machine().search(boot),
            gateway::Effect::SaveAppliance(udn) => {
                let profile = self.gateway.registry().get(&udn).map(|a| a.profile().clone());
                self.pending.appliance(udn, profile, boot);
            }
            gateway::Effect::DropAppliance(udn) => {
                self.utility.handle(utility::Input::Forgotten(udn.clone()), &self.gateway, self.now);
                self.planner.handle(planner::Input::Forgotten(udn.clone()), self.now);
                self.effects.push_back(Effect::Forgotten(udn.clone()));
                self.pending.appliance(udn, None, boot);
            }
            gateway::Effect::SaveRegistration { ask, registration } => {
                self.pending.registration(registration.key(), Some(registration), ask, boot);
            }
            gateway::Effect::DropRegistration { ask, key } => self.pending.registration(key, None, ask, boot),
            gateway::Effect::Journal(entry) => self.journal(entry),
            gateway::Effect::Answer { ask, reply } => self.pending.reply((ask, reply), boot),
            gateway::Effect::Ended { udn, verb, cause, outcome } => {
                self.planner.handle(planner::Input::Ended { udn, verb, cause, outcome }, self.now);
            }
            gateway::Effect::ControlEnded { id, outcome } => {
                self.utility.handle(utility::Input::Ended { id, outcome }, &self.gateway, self.now);
            }
            gateway::Effect::Changed(udn) => {
                self.utility.handle(utility::Input::Appliance(udn.clone()), &self.gateway, self.now);
                self.planner.handle(planner::Input::Appliance(udn.clone()), self.now);
                self.effects.push_back(Effect::Changed(udn));
            }
        }
    }

    fn pass_on_of_utility(&mut self, effect: utility::Effect) {
        let boot = self.now.boot;
        match effect {
            utility::Effect::Ask(question) => self.effects.push_back(Effect::Ask(question)),
            utility::Effect::Order { id, udn, verb } => self.utility_orders(id, udn, verb),
            utility::Effect::Declined { id, udn, verb, outcome } => {
                let cause = Cause::Utility(id);
                self.planner.handle(planner::Input::Ended { udn, verb, cause, outcome }, self.now);
            }
            utility::Effect::Save { slot, value, soon } => self.pending.utility(slot, value, soon, boot),
            utility::Effect::Flush { ticket } => self.pending.mark(Mark::Utility(ticket), boot),
            utility::Effect::Journal(entry) => self.journal(entry),
            utility::Effect::Answer { ask, reply } => self.pending.reply((ask, reply), boot),
        }
    }
}
