//! The gateway's mind: registry, commands and registrations behind one face.
//!
//! PURE. [`Input`]s are facts (an event came, a call was answered, a person wants something), [`Effect`]s are orders (call, send a
//! magic packet, write, answer). Nothing here waits: an answer that needs the disk or the network comes when the fact does.
//! The caller reads the clocks once per turn of its loop and passes them in.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};

use energy_model::{PowerState, RegIdCounter};
use jiff::tz::TimeZone;
use upnp::ids::Udn;
use upnp::time::{BootTime, earliest};

use crate::commands::{CallFailure, Closed, CommandId, Commands, Need, Outcome, Verb};
use crate::journal::{Cause, Ending, Entry};
use crate::limits::{REASON_BYTES_MAX, bounded};
use crate::now::Now;
use crate::planner;
use crate::registrations::{Registration, Registrations};
use crate::registry::{Appliance, Found, Profile, Question, Registry, ResolveError, Ticket, Transition, state_word};
use crate::utility::Rows;

mod exchange;
mod requests;

pub use exchange::{
    Answer, AskError, AskId, CallTag, Effect, Input, Order, Override, Reply, Request, Settings, Waiter, Wanted,
};

#[derive(Clone, Debug)]
enum Purpose {
    Question(Udn, Question, Ticket),
    Command(CommandId, Udn),
    Check(CommandId, Udn, Ticket),
}

/// The gateway.
#[derive(Debug)]
pub struct Gateway {
    registry: Registry,
    commands: Commands<Waiter>,
    registrations: Registrations,
    settings: Settings,
    calls: BTreeMap<CallTag, Purpose>,
    next_call: u64,
    requests: requests::Requests,
    counts: Counts,
    effects: VecDeque<Effect>,
    last: Now,
}

/// What was counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// State variables told by events.
    pub events: u64,
    /// Commands by how they ended.
    pub commands: BTreeMap<Ending, u64>,
}

/// What the store held at the start.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// Appliances.
    pub appliances: Vec<Profile>,
    /// Registrations.
    pub registrations: Vec<Registration>,
    /// The last RegID ever given out, 0 for none.
    pub last_reg: u32,
    /// What is kept of the utility; not this module's.
    pub utility: Rows,
    /// What the planner keeps; not this module's.
    pub planner: planner::Rows,
}

impl Gateway {
    /// The gateway as it was left.
    pub fn new(settings: Settings, restored: Restored, now: Now) -> Self {
        let mut registry = Registry::new(settings.poll_every);
        let counter = RegIdCounter::after(restored.last_reg);
        let mut registrations = Registrations::new(counter, settings.zone.clone());
        for profile in restored.appliances {
            registry.restore(profile, now);
        }
        for registration in restored.registrations {
            registrations.restore(registration);
        }
        registrations.clock_changed(now);
        let mut gateway = Self {
            registry,
            commands: Commands::new(settings.patience),
            registrations,
            settings,
            calls: BTreeMap::new(),
            next_call: 1,
            requests: requests::Requests::default(),
            counts: Counts::default(),
            effects: VecDeque::new(),
            last: now,
        };
        gateway.apply_overrides();
        gateway.handle_timeout(now);
        gateway
    }

    /// All appliances.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All registrations.
    pub fn registrations(&self) -> &Registrations {
        &self.registrations
    }

    /// Commands under way.
    pub fn commands(&self) -> &Commands<Waiter> {
        &self.commands
    }

    /// What was counted since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The local time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.settings.zone
    }

    /// How the appliance is called at home.
    pub fn name_of<'a>(&'a self, appliance: &'a Appliance) -> &'a str {
        let given = self.settings.overrides.get(appliance.udn()).and_then(|o| o.name.as_deref());
        given.unwrap_or_else(|| appliance.name())
    }

    /// The one appliance `text` names; see [`Registry::resolve`].
    ///
    /// # Errors
    /// Nothing by that name, or several.
    pub fn resolve(&self, text: &str) -> Result<&Appliance, ResolveError> {
        self.registry.resolve(text, |appliance| self.name_of(appliance))
    }

    /// Takes a fact.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.last = now;
        match input {
            Input::Found(found) => self.found(found, now),
            Input::Gone { udn, why } => {
                let transition = self.registry.gone(&udn, now);
                self.state_changed(&udn, transition, Cause::Gateway, why, now);
                self.effects.push_back(Effect::Changed(udn));
            }
            Input::Subscription { udn, live } => {
                if self.registry.subscribed(&udn, live) {
                    self.effects.push_back(Effect::Changed(udn));
                }
            }
            Input::PowerStateTold { udn, state } => {
                self.counts.events += 1;
                self.state_told(&udn, state, now);
            }
            Input::InfoTold { udn, power, refusal } => {
                self.counts.events += 1;
                self.registry.heard(&udn, now);
                // Power is live only: it changes too often for the disk.
                if self.registry.amend(&udn, |p| p.power = power.or(p.power)) {
                    self.effects.push_back(Effect::Changed(udn.clone()));
                }
                if let Some(text) = refusal {
                    self.amend(&udn, |p| p.last_refusal = bounded(&text, REASON_BYTES_MAX));
                }
            }
            Input::Answered { call, result } => self.answered(call, result, now),
            Input::NeighbourLooked { address, mac } => self.neighbour_looked(address, mac, now),
            Input::ApplianceAsks { ask, from, caller, request } => self.appliance_asks(ask, from, caller, request, now),
            Input::PersonAsks { ask, uid, wanted } => self.person_asks(ask, uid, wanted, now),
            Input::UtilityOrders { id, udn, verb } => {
                self.command(Waiter::Utility(id), &udn, verb, Cause::Utility(id), now);
            }
            Input::PlannerOrders { udn, verb, cause } => self.command(Waiter::Planner, &udn, verb, cause, now),
            Input::Saved { ask, result } => self.saved(ask, result, now),
            Input::ClockChanged => self.registrations.clock_changed(now),
            Input::Configured(settings) => self.configured(settings, now),
        }
        self.handle_timeout(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.last = now;
        for due in self.registrations.take_due(now) {
            self.wake_due(due, now);
        }
        self.run_commands(now);
        for (udn, question, ticket) in self.registry.questions_due(now) {
            let order = match question {
                Question::PowerState => Order::GetPowerState,
                Question::WakeUpMethod => Order::WakeUpMethod,
                Question::ApplianceInfo => Order::GetApplianceInfo,
            };
            self.call(udn.clone(), order, Purpose::Question(udn, question, ticket));
        }
    }

    /// When [`Self::handle_timeout`] wants to be called; never for `None`.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let at = earliest(self.registry.poll_timeout(), self.commands.poll_timeout());
        earliest(at, self.registrations.poll_timeout(self.last))
    }

    /// The next order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// One line for `systemctl status`.
    pub fn status_line(&self) -> String {
        let mut line = self.registry.count().to_string();
        let (commands, registrations) = (self.commands.iter().count(), self.registrations.iter().count());
        if commands > 0 {
            line += &format!("; {commands} command{} under way", if commands == 1 { "" } else { "s" });
        }
        if registrations > 0 {
            line += &format!("; {registrations} registration{}", if registrations == 1 { "" } else { "s" });
        }
        line
    }

    fn configured(&mut self, settings: Settings, now: Now) {
        self.registry.set_poll_every(settings.poll_every);
        self.commands.set_patience(settings.patience);
        self.registrations.set_zone(settings.zone.clone(), now);
        self.settings = settings;
        self.apply_overrides();
    }

    /// A MAC address from the configuration goes before one that was found.
    fn apply_overrides(&mut self) {
        let macs: Vec<_> = self.settings.overrides.iter().filter_map(|(udn, o)| Some((udn.clone(), o.mac?))).collect();
        for (udn, mac) in macs {
            self.amend(&udn, |p| p.mac = Some(mac));
        }
    }

    fn found(&mut self, found: Found, now: Now) {
        let (udn, address) = (found.udn.clone(), found.address);
        let kept = &self.registrations;
        if self.registry.found(found, now, |udn| kept.of(udn).next().is_some()).is_none() {
            tracing::warn!(%udn, "the registry is full; this appliance is not taken up");
            return;
        }
        self.apply_overrides();
        if self.registry.get(&udn).is_some_and(|a| a.profile().mac.is_none()) {
            self.effects.push_back(Effect::LookUpNeighbour(address));
        }
        self.effects.push_back(Effect::SaveAppliance(udn.clone()));
        self.effects.push_back(Effect::Changed(udn));
    }

    fn state_told(&mut self, udn: &Udn, state: PowerState, now: Now) {
        let was_reachable = self.registry.get(udn).is_some_and(Appliance::is_reachable);
        let transition = self.registry.state_told(udn, state, now);
        let is_reachable = self.registry.get(udn).is_some_and(Appliance::is_reachable);
        self.state_changed(udn, transition, Cause::Appliance, "", now);
        if transition.is_none() && was_reachable != is_reachable {
            self.effects.push_back(Effect::Changed(udn.clone()));
        }
        self.commands.state_seen(udn, state, true, now.boot);
    }

    /// Journals a change of state and says that the appliance looks different.
    fn state_changed(&mut self, udn: &Udn, transition: Option<Transition>, cause: Cause, why: &str, now: Now) {
        let Some(Transition { from, to }) = transition else { return };
        tracing::info!(%udn, from = state_word(from), to = state_word(to), why, "power state");
        self.journal(Some(udn), &format!("PowerState {}", state_word(to)), cause, Ending::Observed, why, now);
        self.effects.push_back(Effect::SaveAppliance(udn.clone()));
        self.effects.push_back(Effect::Changed(udn.clone()));
    }

    fn amend(&mut self, udn: &Udn, change: impl FnOnce(&mut Profile)) {
        if self.registry.amend(udn, change) {
            self.effects.push_back(Effect::SaveAppliance(udn.clone()));
            self.effects.push_back(Effect::Changed(udn.clone()));
        }
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

    fn call(&mut self, udn: Udn, order: Order, purpose: Purpose) {
        let call = CallTag(self.next_call);
        self.next_call += 1;
        self.calls.insert(call, purpose);
        self.effects.push_back(Effect::Call { call, udn, order });
    }

    fn answered(&mut self, call: CallTag, result: Result<Answer, CallFailure>, now: Now) {
        match self.calls.remove(&call) {
            Some(Purpose::Question(udn, question, ticket)) => {
                self.question_answered(udn, question, ticket, result, now)
            }
            Some(Purpose::Command(id, udn)) => {
                let result = result.map(|answer| match answer {
                    Answer::Obeyed(reg) => reg,
                    _ => None,
                });
                if result.is_ok() {
                    self.registry.heard(&udn, now);
                }
                if let Some(target) = self.registry.get(&udn) {
                    self.commands.call_answered(id, result, target, now.boot);
                }
            }
            Some(Purpose::Check(id, udn, ticket)) => {
                let trouble = match result {
                    Ok(Answer::PowerState(state)) => {
                        self.state_answered(&udn, state, ticket, now);
                        None
                    }
                    Ok(_) => Some("it answered something else".to_owned()),
                    Err(failure) => Some(failure.to_string()),
                };
                self.commands.check_answered(id, trouble, now.boot);
            }
            None => {}
        }
    }

    fn question_answered(
        &mut self,
        udn: Udn,
        question: Question,
        ticket: Ticket,
        result: Result<Answer, CallFailure>,
        now: Now,
    ) {
        let settled = !matches!(result, Err(CallFailure::NoAnswer(_)));
        match result {
            Ok(Answer::PowerState(state)) => self.state_answered(&udn, state, ticket, now),
            Ok(Answer::WakeMethod(method)) => self.amend(&udn, |p| p.wake_method = Some(method)),
            Ok(Answer::Info { facts, mac, wake_method }) => {
                let forced = self.settings.overrides.get(&udn).and_then(|o| o.mac);
                self.amend(&udn, |p| {
                    p.facts = Some(facts);
                    p.mac = forced.or(mac).or(p.mac);
                    p.wake_method = wake_method.or(p.wake_method);
                });
            }
            Ok(Answer::Obeyed(_)) => {}
            Err(failure) => tracing::debug!(%udn, ?question, %failure, "no answer"),
        }
        let was_reachable = self.registry.get(&udn).is_some_and(Appliance::is_reachable);
        let lost = self.registry.question_closed(&udn, question, ticket, settled, now);
        self.state_changed(&udn, lost, Cause::Gateway, "it no longer answers", now);
        if was_reachable && self.registry.get(&udn).is_some_and(|a| !a.is_reachable()) {
            tracing::info!(%udn, "contact lost");
            self.effects.push_back(Effect::Changed(udn));
            // It may be back at another address.
            self.effects.push_back(Effect::Search);
        }
    }

    fn state_answered(&mut self, udn: &Udn, state: PowerState, ticket: Ticket, now: Now) {
        let Some(before) = self.registry.get(udn) else { return };
        if before.ticket() != ticket {
            return;
        }
        let was_reachable = before.is_reachable();
        let transition = self.registry.state_answered(udn, state, ticket, now);
        self.state_changed(udn, transition, Cause::Appliance, "it answered so when asked", now);
        if transition.is_none() && !was_reachable {
            self.effects.push_back(Effect::Changed(udn.clone()));
        }
        self.commands.state_seen(udn, state, false, now.boot);
    }

    fn run_commands(&mut self, now: Now) {
        // A turn closes at least one command or asks for nothing more, so this ends.
        loop {
            for need in self.commands.needs(now.boot) {
                self.meet(need, now);
            }
            let mut any = false;
            while let Some(closed) = self.commands.poll_closed() {
                any = true;
                self.command_closed(closed, now);
            }
            if !any {
                break;
            }
        }
    }

    fn meet(&mut self, need: Need, now: Now) {
        let id = match need {
            Need::Search => return self.effects.push_back(Effect::Search),
            Need::Call(id) | Need::Check(id) | Need::Packet(id) => id,
        };
        let Some(command) = self.commands.get(id) else { return };
        let (udn, verb) = (command.udn.clone(), command.verb);
        match need {
            Need::Call(_) => {
                let order = match verb {
                    Verb::On => Order::OperationOn,
                    Verb::Off => Order::OperationOff,
                    Verb::Standby => {
                        // Looked at again for each sending: the window may have begun meanwhile.
                        if let Some(outcome) = self.standby_forbidden(&udn, now) {
                            return self.commands.close(id, outcome);
                        }
                        Order::GoToStandby
                    }
                    Verb::Period(window) => Order::StandbyPeriod(window),
                    Verb::Withdraw(reg) => Order::Withdraw(reg),
                    Verb::Wake => Order::GetPowerState,
                };
                self.call(udn.clone(), order, Purpose::Command(id, udn));
            }
            Need::Check(_) => {
                let Some(ticket) = self.registry.get(&udn).map(Appliance::ticket) else { return };
                self.call(udn.clone(), Order::GetPowerState, Purpose::Check(id, udn, ticket));
            }
            Need::Packet(_) => {
                self.registry.ask_state_now(&udn, now);
                let Some(profile) = self.registry.get(&udn).map(Appliance::profile) else { return };
                let Some(mac) = profile.mac else { return };
                let secure_on = self.settings.overrides.get(&udn).and_then(|o| o.secure_on);
                self.effects.push_back(Effect::SendMagicPacket { mac, address: profile.address, secure_on });
            }
            Need::Search => {}
        }
    }

    /// What to say to a GoToStandby that a NoStandbyPeriod forbids now.
    fn standby_forbidden(&self, udn: &Udn, now: Now) -> Option<Outcome> {
        let window = self.registrations.forbids_standby(udn, now.wall)?;
        Some(Outcome::new(Ending::Declined, format!("{} (RegID {}) forbids it now", window.wish, window.reg)))
    }

    fn tell(&mut self, waiter: Waiter, outcome: Outcome) {
        match waiter {
            Waiter::Ask(ask) => self.effects.push_back(Effect::Answer { ask, reply: Reply::Outcome(outcome) }),
            Waiter::Utility(id) => self.effects.push_back(Effect::ControlEnded { id, outcome }),
            Waiter::Planner => {}
        }
    }

    fn command_closed(&mut self, closed: Closed<Waiter>, now: Now) {
        let Closed { command, mut outcome } = closed;
        let udn = &command.udn;
        match (command.verb, command.cause) {
            (Verb::Period(window), cause) if outcome.ending == Ending::Done => {
                self.period_kept(udn, window, cause, &outcome, now)
            }
            (Verb::Withdraw(reg), _) => self.period_withdrawn(udn, reg, &mut outcome),
            (Verb::Wake | Verb::On, _) => {
                for registration in self.registrations.wakes_closed(udn, now) {
                    self.effects.push_back(Effect::SaveRegistration { ask: None, registration });
                }
            }
            _ => {}
        }
        let ending = outcome.ending;
        *self.counts.commands.entry(ending).or_default() += 1;
        // Whoever joined it wanted the same for a reason of their own, and each is told of its end.
        for (verb, cause) in [(command.verb, command.cause)].into_iter().chain(command.joined) {
            self.journal(Some(&command.udn), &verb.action(), cause, ending, &outcome.reason, now);
            let udn = command.udn.clone();
            self.effects.push_back(Effect::Ended { udn, verb, cause, outcome: outcome.clone() });
        }
        for waiter in command.waiters {
            self.tell(waiter, outcome.clone());
        }
    }
}

impl std::fmt::Display for CallFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fault { code, reason } => write!(f, "UPnPError {code}: {reason}"),
            Self::NoAnswer(why) | Self::Unusable(why) => f.write_str(why),
        }
    }
}
