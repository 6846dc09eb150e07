//! The gateway's minds joined, without UPnP (PURE): registry and commands, planner, prices, the dealings with the utility, and what waits
//! for the disk. What one has for another is passed on, the rest comes out as [`Effect`]s. [`Home`](super::Home) puts UPnP around them,
//! [`simulate`](crate::simulate) machines in virtual time.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use upnp::ids::Udn;
use upnp::time::{BootTime, earliest};

use super::{Effect as Outside, planning};
use crate::commands::Verb;
use crate::gateway::{self, AskId, CallTag, Gateway, Input, Order, Reply};
use crate::journal::{Cause, Entry};
use crate::now::Now;
use crate::plan::slots::PriceSpan;
use crate::planner::{self, Planner};
use crate::prices::{self, HomePrices, News};
use crate::store::batch::{Batch, Mark, Pending, Settled};
use crate::utility::{self, Link, Utility};

/// An order to what is around the minds.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Call an action; [`Input::Answered`] must follow.
    Call {
        /// Comes back with the answer.
        call: CallTag,
        /// On whom.
        udn: Udn,
        /// What.
        order: Order,
    },
    /// Search the network for appliances.
    Search,
    /// To the daemon.
    Outside(Box<Outside>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Minds {
    pub(super) gateway: Gateway,
    pub(super) utility: Utility,
    pub(super) planner: Planner,
    pub(super) prices: HomePrices,
    /// Versions of the utility's price series that the prices have.
    pub(super) told: Vec<u64>,
    /// The prices that the planner has.
    pub(super) planned: Vec<PriceSpan>,
    pub(super) pending: Pending<(AskId, Reply)>,
    /// Orders of the planner's that wait for the disk, by number.
    pub(super) held: BTreeMap<u64, (Udn, Verb, Cause)>,
    pub(super) last_held: u64,
    effects: VecDeque<Outside>,
    pub(super) now: Now,
}

impl Minds {
    /// Joins the parts; ordinary changes are written at most `write_every` so often.
    pub(crate) fn new(
        gateway: Gateway,
        utility: Utility,
        mut planner: Planner,
        write_every: Duration,
        now: Now,
    ) -> Self {
        planner.stored_limits(utility.known().limits().clone(), now);
        planning::controls_of_before(&mut planner, &utility, &gateway, now);
        Self {
            prices: HomePrices::new(prices::Settings::nothing(gateway.zone().clone()), None, now),
            gateway,
            utility,
            planner,
            told: Vec::new(),
            planned: Vec::new(),
            pending: Pending::new(write_every),
            held: BTreeMap::new(),
            last_held: 0,
            effects: VecDeque::new(),
            now,
        }
    }

    /// What was decided before the start: `entries` of the journal, oldest first.
    pub(crate) fn remember(&mut self, entries: &[Entry]) {
        let known = |entry: &&Entry| entry.udn.as_ref().is_some_and(|udn| self.gateway.registry().get(udn).is_some());
        entries.iter().filter(known).for_each(|entry| self.planner.remember(entry));
    }

    /// What energy costs, from now on.
    pub(crate) fn set_prices(&mut self, prices: HomePrices) {
        self.prices = prices;
        self.utility_told(None, None, self.now);
        self.prices_changed(self.now);
    }

    /// Registry, commands, registrations.
    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Rules, plan, decisions, savings.
    pub(crate) fn planner(&self) -> &Planner {
        &self.planner
    }

    /// What energy costs.
    pub(crate) fn prices(&self) -> &HomePrices {
        &self.prices
    }

    /// The dealings with the utility.
    pub(crate) fn utility(&self) -> &Utility {
        &self.utility
    }

    /// News of the price file or feed.
    pub(crate) fn handle_prices(&mut self, news: News, now: Now) {
        self.now = now;
        self.prices.handle(news, now);
        self.prices_changed(now);
    }

    /// A fact about appliances, people's orders or clocks.
    pub(crate) fn handle(&mut self, input: Input, now: Now) {
        self.now = now;
        if matches!(input, Input::ClockChanged) {
            self.planner.handle(planner::Input::ClockChanged, now);
            // Under another clock other hours are ahead, and the hours known so far may be none of them.
            self.prices.handle_timeout(now);
            self.prices_changed(now);
        }
        self.gateway.handle(input, now);
    }

    /// A fact for the planner.
    pub(crate) fn handle_planner(&mut self, input: planner::Input, now: Now) {
        self.now = now;
        self.planner.handle(input, now);
    }

    /// Something the daemon did beside the minds, for the journal.
    pub(crate) fn note(&mut self, entry: Entry, now: Now) {
        self.pending.entry(entry.clone(), now.boot);
        self.effects.push_back(Outside::Journalled(entry));
    }

    /// A fact about the utility.
    pub(crate) fn handle_utility(&mut self, input: utility::Input, now: Now) {
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

    /// A batch was written, or comes back with the reason. Returns the answers that waited for it.
    pub(crate) fn written(&mut self, result: Result<(), (Box<Batch>, String)>, now: Now) -> Vec<(AskId, Reply)> {
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
    pub(crate) fn began_anew(&mut self, batch: Batch, now: Now) {
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

    /// Everything that waits to be written, though it is not due; like [`Outside::Write`].
    pub(crate) fn write_early(&mut self) -> Option<Batch> {
        self.pending.take_early()
    }

    /// The daemon is about to end.
    pub(crate) fn stop(&mut self, now: Now) {
        self.now = now;
        self.planner.stop(now);
    }

    /// Lets time pass in those whose time has come.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        let due = |at: Option<BootTime>| at.is_some_and(|at| at <= now.boot);
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
    pub(crate) fn poll_timeout(&self) -> Option<BootTime> {
        let minds = earliest(self.gateway.poll_timeout(), self.utility.poll_timeout());
        let rest = earliest(self.planner.poll_timeout(), self.pending.poll_timeout());
        earliest(self.prices.poll_timeout(), earliest(minds, rest))
    }

    /// The next order. What the parts have for one another is passed on the way.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        loop {
            if let Some(effect) = self.effects.pop_front() {
                return Some(Effect::Outside(Box::new(effect)));
            }
            if let Some(effect) = self.gateway.poll_effect() {
                if let Some(effect) = self.pass_on(effect) {
                    return Some(effect);
                }
            } else if let Some(effect) = self.utility.poll_effect() {
                self.pass_on_of_utility(effect);
            } else if let Some(effect) = self.planner.poll_effect() {
                self.pass_on_of_planner(effect);
            } else if let Some(effect) = self.prices.poll_effect() {
                match effect {
                    prices::Effect::Journal(entry) => self.journal(entry),
                    prices::Effect::Keep(bytes) => self.effects.push_back(Outside::KeepPrices(bytes)),
                }
            } else {
                return self.pending.take(self.now.boot).map(|batch| Effect::Outside(Box::new(Outside::Write(batch))));
            }
        }
    }

    pub(super) fn push(&mut self, effect: Outside) {
        self.effects.push_back(effect);
    }

    pub(super) fn journal(&mut self, entry: Entry) {
        self.utility.journalled(&entry, self.now);
        self.pending.entry(entry.clone(), self.now.boot);
        self.effects.push_back(Outside::Journalled(entry));
    }

    fn pass_on(&mut self, effect: gateway::Effect) -> Option<Effect> {
        let boot = self.now.boot;
        match effect {
            gateway::Effect::Call { call, udn, order } => return Some(Effect::Call { call, udn, order }),
            gateway::Effect::Search => return Some(Effect::Search),
            gateway::Effect::SendMagicPacket { mac, address, secure_on } => {
                self.effects.push_back(Outside::SendMagicPacket { mac, address, secure_on });
            }
            gateway::Effect::LookUpNeighbour(address) => self.effects.push_back(Outside::LookUpNeighbour(address)),
            gateway::Effect::SaveAppliance(udn) => {
                let profile = self.gateway.registry().get(&udn).map(|a| a.profile().clone());
                self.pending.appliance(udn, profile, boot);
            }
            gateway::Effect::DropAppliance(udn) => {
                self.utility.handle(utility::Input::Forgotten(udn.clone()), &self.gateway, self.now);
                self.planner.handle(planner::Input::Forgotten(udn.clone()), self.now);
                self.effects.push_back(Outside::Forgotten(udn.clone()));
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
                self.effects.push_back(Outside::Changed(udn));
            }
        }
        None
    }

    fn pass_on_of_utility(&mut self, effect: utility::Effect) {
        let boot = self.now.boot;
        match effect {
            utility::Effect::Ask(question) => self.effects.push_back(Outside::Ask(question)),
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
