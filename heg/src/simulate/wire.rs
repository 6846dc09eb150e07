//! What machines answer when they are called, and what they ask of the gateway: UPnP without its bytes.
#![forbid(unsafe_code)]

use energy_model::{DailyWindow, MacAddress, PowerState, RefusalKind, RegId, WakeMethod, Watts};
use energy_services::errors;
use upnp::ids::Udn;

use super::machine::Machine;
use super::{Conduct, House, UID};
use crate::commands::{CallFailure, Verb};
use crate::gateway::{Answer, AskId, CallTag, Input, Order, Reply, Request, Wanted};
use crate::registry::{Found, Offers};

/// A machine that obeys late does so after this time, s.
const LATE_S: i64 = 20;

impl House {
    /// It is there, and answers.
    pub(super) fn found(&mut self, udn: &Udn) {
        let Some(machine) = self.machines.get(udn) else { return };
        let (name, maker, model) = (machine.name.clone(), String::new(), String::new());
        let offers = Offers { power_management: true, appliance_info: true };
        let found = Found { udn: udn.clone(), name, maker, model, address: machine.address, offers };
        self.minds.handle(Input::Found(found), self.now);
        self.tell_power(udn);
    }

    /// A machine asks of the gateway what an appliance may ask (Table II). A withdrawal is of what it asked for first, if anything.
    pub fn request(&mut self, udn: &Udn, request: Option<Request>) {
        let Some(machine) = self.machines.get(udn).filter(|m| m.conduct != Conduct::Silent) else { return };
        let first = || machine.registered.first().map(|(reg, _)| Request::Withdraw(*reg));
        let Some(request) = request.or_else(first) else { return };
        self.last_ask += 1;
        let (ask, from, caller) = (AskId(self.last_ask), machine.address, udn.clone());
        self.requests.insert(ask, (udn.clone(), request));
        self.minds.handle(Input::ApplianceAsks { ask, from, caller, request }, self.now);
        self.settle();
    }

    /// A person has the machine sleep by itself in this window of each day, or (none) no more.
    pub fn period(&mut self, udn: &Udn, window: Option<DailyWindow>) {
        let kept = self.machines.get(udn).and_then(|m| m.periods.first()).map(|(reg, _)| *reg);
        let wanted = match (window, kept) {
            (Some(window), _) => Wanted::Command(udn.clone(), Verb::Period(window)),
            (None, Some(reg)) => Wanted::Withdraw(reg, Some(udn.clone())),
            (None, None) => return,
        };
        self.last_ask += 1;
        self.minds.handle(Input::PersonAsks { ask: AskId(self.last_ask), uid: UID, wanted }, self.now);
        self.settle();
    }

    /// The gateway answers a machine.
    pub(super) fn answered(&mut self, ask: AskId, reply: &Reply) {
        let Some((udn, request)) = self.requests.remove(&ask) else { return };
        let Some(machine) = self.machines.get_mut(&udn) else { return };
        match (reply, request) {
            (Reply::Registered(reg), request) => {
                machine.registered.retain(|(known, _)| known != reg);
                machine.registered.push((*reg, request));
            }
            (Reply::Withdrawn(_), Request::Withdraw(reg)) => machine.registered.retain(|(known, _)| *known != reg),
            _ => self.judge.turned_away(&udn, self.now.wall.as_second()),
        }
    }

    /// Cycles that end, orders that are obeyed late, machines that sleep and wake by themselves.
    pub(super) fn machines_go_on(&mut self) {
        let (at, zone) = (self.now.wall.as_second(), self.zone.clone());
        if self.found_at.take_if(|due| *due <= at).is_some() {
            let there = self.machines.iter().filter(|(_, m)| m.conduct != Conduct::Silent);
            let there: Vec<Udn> = there.map(|(udn, _)| udn.clone()).collect();
            there.iter().for_each(|udn| self.found(udn));
        }
        let due = |m: &mut Machine| {
            let ended = m.ends().filter(|end| *end <= at).map(|_| PowerState::Off);
            let by_itself = m.by_itself(&zone, at);
            ended.or(m.later.filter(|later| later.1 <= at).map(|later| later.0)).or(by_itself)
        };
        let due: Vec<_> = self.machines.iter_mut().filter_map(|(udn, m)| Some((udn.clone(), due(m)?))).collect();
        for (udn, state) in due {
            let woken = self.machines.get(&udn).is_some_and(|m| m.state == PowerState::Standby);
            if woken && self.machines.get(&udn).is_some_and(|m| m.conduct != Conduct::Silent) {
                self.found(&udn);
            }
            self.switch(&udn, state);
        }
        let told: Vec<Udn> = self.machines.iter().filter(|(_, m)| m.is_on()).map(|(udn, _)| udn.clone()).collect();
        told.iter().for_each(|udn| self.tell_power(udn));
    }

    pub(super) fn switch(&mut self, udn: &Udn, state: PowerState) {
        let Some(machine) = self.machines.get_mut(udn) else { return };
        machine.switch(state, self.now.wall.as_second());
        if machine.conduct != Conduct::Silent {
            self.minds.handle(Input::PowerStateTold { udn: udn.clone(), state }, self.now);
            self.tell_power(udn);
        }
    }

    /// Its event of what it draws, where that is news. One that sleeps tells nothing.
    fn tell_power(&mut self, udn: &Udn) {
        let at = self.now.wall.as_second();
        let Some(machine) = self.machines.get_mut(udn) else { return };
        let watts = machine.watts(at);
        let silent = machine.conduct == Conduct::Silent || machine.state == PowerState::Standby;
        if silent || machine.told_w.replace(watts) == Some(watts) {
            return;
        }
        let input = Input::InfoTold { udn: udn.clone(), power: Some(Watts::new(watts)), refusal: None };
        self.minds.handle(input, self.now);
    }

    /// A magic packet wakes; what was in operation before it slept is so again.
    pub(super) fn wake(&mut self, mac: MacAddress) {
        let asleep = |m: &Machine| m.state == PowerState::Standby && m.conduct == Conduct::Obeys;
        let woken = self.machines.iter().find(|(_, m)| m.mac == mac && asleep(m));
        if let Some(udn) = woken.map(|(udn, _)| udn.clone()) {
            self.found(&udn);
            self.switch(&udn, PowerState::On);
        }
    }

    pub(super) fn call(&mut self, call: CallTag, udn: &Udn, order: Order) {
        let at = self.now.wall.as_second();
        let Some(machine) = self.machines.get_mut(udn) else { return };
        let to = match order {
            Order::OperationOn => Some(PowerState::On),
            Order::OperationOff => Some(PowerState::Off),
            Order::GoToStandby => Some(PowerState::Standby),
            _ => None,
        };
        let fault = |kind: RefusalKind, reason: &str| {
            Err(CallFailure::Fault { code: errors::code(kind).0, reason: reason.into() })
        };
        let mut refusal = None;
        let result = match (machine.conduct, order, to) {
            (Conduct::Silent, ..) => Err(CallFailure::NoAnswer("no answer".into())),
            (_, Order::GetPowerState, _) => Ok(Answer::PowerState(machine.state)),
            (_, Order::WakeUpMethod, _) => Ok(Answer::WakeMethod(WakeMethod::Wol)),
            (_, Order::GetApplianceInfo, _) => {
                Ok(Answer::Info { facts: machine.facts, mac: Some(machine.mac), wake_method: None })
            }
            (_, Order::StandbyPeriod(window), _) => {
                machine.last_reg += 1;
                let reg = RegId::new(machine.last_reg).ok();
                machine.periods.extend(reg.map(|reg| (reg, window)));
                Ok(Answer::Obeyed(reg))
            }
            (_, Order::Withdraw(reg), _) => {
                let before = machine.periods.len();
                machine.periods.retain(|(known, _)| *known != reg);
                if machine.periods.len() < before {
                    Ok(Answer::Obeyed(None))
                } else {
                    fault(RefusalKind::UnknownRegId, "no such registration")
                }
            }
            (Conduct::Refuses, _, Some(state)) if state != machine.state => {
                let (code, action) = (errors::code(RefusalKind::BusyUnit).0, named(order));
                refusal = Some(format!("{code} {action} in the middle of something"));
                fault(RefusalKind::BusyUnit, "in the middle of something")
            }
            _ => Ok(Answer::Obeyed(None)),
        };
        if to == Some(PowerState::Standby) && machine.forbids_standby(&self.zone, at) {
            self.judge.requested_in_vain(udn, at);
        }
        match (&result, to, machine.conduct) {
            (Ok(_), Some(state), Conduct::Late) => machine.later = Some((state, at + LATE_S)),
            (Ok(_), Some(state), _) => self.switch(udn, state),
            _ => {}
        }
        if refusal.is_some() {
            self.minds.handle(Input::InfoTold { udn: udn.clone(), power: None, refusal }, self.now);
        }
        self.minds.handle(Input::Answered { call, result }, self.now);
    }
}

/// The action's name.
fn named(order: Order) -> &'static str {
    match order {
        Order::OperationOn => "OperationOn",
        Order::OperationOff => "OperationOff",
        Order::GoToStandby => "GoToStandby",
        _ => "another action",
    }
}
