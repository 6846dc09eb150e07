//! What appliances (Table II) and people ask for: checked, written down first, answered then.

use std::collections::BTreeMap;
use std::net::IpAddr;

use energy_model::{DailyWindow, MacAddress, RefusalKind, RegId};
use energy_services::errors;
use upnp::ids::Udn;

use super::{AskError, AskId, Effect, Gateway, Reply, Request, Waiter, Wanted};
use crate::commands::{Outcome, Verb};
use crate::journal::{Cause, Ending};
use crate::limits::ASKS_MAX;
use crate::now::Now;
use crate::registrations::{DueWake, Key, Registrant, Registration, RegistrationError, Wish};
use crate::registry::Appliance;

/// Asks that wait for the disk or the neighbour table.
#[derive(Debug, Default)]
pub(super) struct Requests {
    saving: BTreeMap<AskId, (Saving, Cause)>,
    held: Vec<Held>,
}

#[derive(Debug)]
enum Saving {
    Enter(Registration),
    Remove(Key),
}

/// A call from an address that is not the one its caller is known by, until the kernel says whose card that is.
#[derive(Debug)]
struct Held {
    ask: AskId,
    from: IpAddr,
    caller: Udn,
    request: Request,
}

/// Whether a caller is who it says it is.
enum Identity {
    Proven,
    NeedsCard,
    Wrong(String),
}

impl Gateway {
    pub(super) fn appliance_asks(&mut self, ask: AskId, from: IpAddr, caller: Udn, request: Request, now: Now) {
        let from = from.to_canonical();
        // A UUID is compared without regard to case; from here on it is spelt as the appliance announces it.
        let known =
            self.registry.iter().map(Appliance::udn).find(|udn| udn.as_str().eq_ignore_ascii_case(caller.as_str()));
        let caller = known.cloned().unwrap_or(caller);
        match self.identity(&caller, from) {
            Identity::Proven => self.granted(ask, from, caller, request, now),
            Identity::NeedsCard if self.requests.held.len() >= ASKS_MAX => self.refuse(ask, AskError::Busy),
            Identity::NeedsCard => {
                self.requests.held.push(Held { ask, from, caller, request });
                self.effects.push_back(Effect::LookUpNeighbour(from));
            }
            Identity::Wrong(why) => self.not_authorized(ask, &caller, request, why, now),
        }
    }

    /// A caller not known yet is taken at its word and bound to its address; a known one must call from its address, or from
    /// another address of the same network card (IPv4 and IPv6, a new lease).
    fn identity(&self, caller: &Udn, from: IpAddr) -> Identity {
        let Some(appliance) = self.registry.get(caller) else { return Identity::Proven };
        let profile = appliance.profile();
        match (profile.address, profile.mac) {
            (None, _) => Identity::Proven,
            (Some(known), _) if known.to_canonical() == from => Identity::Proven,
            (Some(_), Some(_)) => Identity::NeedsCard,
            (Some(known), None) => Identity::Wrong(format!("{caller} is known at {known}, not at {from}")),
        }
    }

    pub(super) fn neighbour_looked(&mut self, address: IpAddr, mac: Option<MacAddress>, now: Now) {
        if let Some(mac) = mac {
            let nameless: Vec<_> = self
                .registry
                .iter()
                .filter(|a| a.profile().address == Some(address) && a.profile().mac.is_none())
                .map(|a| a.udn().clone())
                .collect();
            for udn in nameless {
                self.amend(&udn, |p| p.mac = Some(mac));
            }
        }
        let held = std::mem::take(&mut self.requests.held);
        let (settled, waiting) = held.into_iter().partition(|h| h.from == address.to_canonical());
        self.requests.held = waiting;
        for Held { ask, from, caller, request } in settled {
            let known = self.registry.get(&caller).and_then(|a| a.profile().mac);
            if mac.is_some() && mac == known {
                self.granted(ask, from, caller, request, now);
            } else {
                let why = format!("{caller} is known under another address and network card than {from}");
                self.not_authorized(ask, &caller, request, why, now);
            }
        }
    }

    fn granted(&mut self, ask: AskId, from: IpAddr, caller: Udn, request: Request, now: Now) {
        if self.registry.get(&caller).is_none() {
            let kept = &self.registrations;
            if self.registry.called(&caller, from, now, |udn| kept.of(udn).next().is_some()).is_none() {
                return self.refuse(ask, AskError::Registration(RegistrationError::Full));
            }
            self.effects.push_back(Effect::SaveAppliance(caller.clone()));
            self.effects.push_back(Effect::LookUpNeighbour(from));
        }
        match request {
            Request::WakeUpTime(at) => self.register(ask, &caller, Registrant::Appliance, Wish::WakeUp(at), now),
            Request::NoStandbyPeriod(w) => self.register(ask, &caller, Registrant::Appliance, Wish::NoStandby(w), now),
            Request::Withdraw(reg) => match self.registrations.own(&caller, reg).map(Registration::key) {
                Ok(key) => self.remove(ask, key, Cause::Appliance),
                Err(error) => {
                    let (action, reason) = (format!("Withdraw {reg}"), error.to_string());
                    self.journal(Some(&caller), &action, Cause::Appliance, Ending::Declined, &reason, now);
                    self.refuse(ask, error.into());
                }
            },
        }
    }

    fn not_authorized(&mut self, ask: AskId, caller: &Udn, request: Request, why: String, now: Now) {
        tracing::warn!(%caller, why, "call refused");
        let action = match request {
            Request::WakeUpTime(at) => Wish::WakeUp(at).to_string(),
            Request::NoStandbyPeriod(w) => Wish::NoStandby(w).to_string(),
            Request::Withdraw(reg) => format!("Withdraw {reg}"),
        };
        self.journal(Some(caller), &action, Cause::Appliance, Ending::Declined, &why, now);
        self.refuse(ask, AskError::NotAuthorized(why));
    }

    pub(super) fn person_asks(&mut self, ask: AskId, uid: u32, wanted: Wanted, now: Now) {
        let cause = Cause::Person(uid);
        match wanted {
            Wanted::Command(udn, verb) => self.command(Waiter::Ask(ask), &udn, verb, cause, now),
            Wanted::Register(udn, wish) if self.registry.get(&udn).is_some() => {
                self.register(ask, &udn, Registrant::Person(uid), wish, now);
            }
            Wanted::Register(udn, _) => self.refuse(ask, AskError::UnknownAppliance(udn)),
            Wanted::Withdraw(reg, udn) => match self.registrations.named(reg, udn.as_ref()).map(Registration::key) {
                Ok(Key::There(udn, reg)) => self.command(Waiter::Ask(ask), &udn, Verb::Withdraw(reg), cause, now),
                Ok(key) => self.remove(ask, key, cause),
                Err(error) => self.refuse(ask, error.into()),
            },
            Wanted::Forget(udn) => match self.registry.get(&udn).map(Appliance::is_reachable) {
                None => self.refuse(ask, AskError::UnknownAppliance(udn)),
                Some(true) => self.refuse(ask, AskError::StillThere),
                Some(false) => self.forget(ask, &udn, cause, now),
            },
        }
    }

    pub(super) fn command(&mut self, waiter: Waiter, udn: &Udn, verb: Verb, cause: Cause, now: Now) {
        let Some(target) = self.registry.get(udn) else {
            return self.not_begun(waiter, AskError::UnknownAppliance(udn.clone()));
        };
        let forbidden = match verb {
            Verb::Standby => self.standby_forbidden(udn, now),
            Verb::Period(window) => self
                .registrations
                .forbids_period(udn, window)
                .map(|r| Outcome::new(Ending::Declined, format!("{} (RegID {}) overlaps it", r.wish, r.reg))),
            _ => None,
        };
        if let Some(outcome) = forbidden {
            *self.counts.commands.entry(outcome.ending).or_default() += 1;
            self.journal(Some(udn), &verb.action(), cause, outcome.ending, &outcome.reason, now);
            self.effects.push_back(Effect::Ended { udn: udn.clone(), verb, cause, outcome: outcome.clone() });
            return self.tell(waiter, outcome);
        }
        if matches!(verb, Verb::Period(_))
            && let Err(error) = self.registrations.room_for(udn)
        {
            return self.not_begun(waiter, error.into());
        }
        self.commands.start(target, verb, cause, Some(waiter), now.boot);
    }

    fn not_begun(&mut self, waiter: Waiter, error: AskError) {
        match waiter {
            Waiter::Ask(ask) => self.refuse(ask, error),
            Waiter::Utility(_) | Waiter::Planner => self.tell(waiter, Outcome::new(Ending::Failed, error.to_string())),
        }
    }

    fn forget(&mut self, ask: AskId, udn: &Udn, cause: Cause, now: Now) {
        let keys: Vec<_> = self.registrations.of(udn).map(Registration::key).collect();
        for key in keys {
            self.registrations.remove(&key);
            self.effects.push_back(Effect::DropRegistration { ask: None, key });
        }
        let under_way: Vec<_> = self.commands.iter().filter(|c| c.udn == *udn).map(|c| c.id).collect();
        for id in under_way {
            self.commands.close(id, Outcome::new(Ending::Superseded, "the appliance was forgotten"));
        }
        self.registry.forget(udn);
        self.effects.push_back(Effect::DropAppliance(udn.clone()));
        self.journal(Some(udn), "forget", cause, Ending::Done, "", now);
        self.effects.push_back(Effect::Answer { ask, reply: Reply::Forgotten });
    }

    fn register(&mut self, ask: AskId, udn: &Udn, by: Registrant, wish: Wish, now: Now) {
        if self.requests.saving.len() >= ASKS_MAX {
            return self.refuse(ask, AskError::Busy);
        }
        match self.registrations.draft(udn, by, wish, now) {
            Err(error) => self.refuse(ask, error.into()),
            Ok(registration) => {
                let cause = match by {
                    Registrant::Appliance => Cause::Appliance,
                    Registrant::Person(uid) => Cause::Person(uid),
                };
                let on_disk = self.registrations.get(&registration.key()).is_some();
                if on_disk {
                    return self.effects.push_back(Effect::Answer { ask, reply: Reply::Registered(registration.reg) });
                }
                self.requests.saving.insert(ask, (Saving::Enter(registration.clone()), cause));
                self.effects.push_back(Effect::SaveRegistration { ask: Some(ask), registration });
            }
        }
    }

    fn remove(&mut self, ask: AskId, key: Key, cause: Cause) {
        if self.requests.saving.len() >= ASKS_MAX {
            return self.refuse(ask, AskError::Busy);
        }
        self.requests.saving.insert(ask, (Saving::Remove(key.clone()), cause));
        self.effects.push_back(Effect::DropRegistration { ask: Some(ask), key });
    }

    pub(super) fn saved(&mut self, ask: AskId, result: Result<(), String>, now: Now) {
        let Some((saving, cause)) = self.requests.saving.remove(&ask) else { return };
        if let Err(why) = result {
            let told = match &saving {
                Saving::Enter(registration) => Some((registration.udn.clone(), registration.wish.to_string())),
                Saving::Remove(key) => {
                    self.registrations.get(key).map(|r| (r.udn.clone(), format!("Withdraw {}", r.reg)))
                }
            };
            if let Some((udn, action)) = told {
                self.journal(Some(&udn), &action, cause, Ending::Failed, &format!("not stored: {why}"), now);
            }
            return self.refuse(ask, AskError::NotStored(why));
        }
        let reply = match saving {
            Saving::Enter(registration) => {
                let Registration { reg, udn, wish, .. } = registration.clone();
                self.registrations.enter(registration);
                let reason = format!("RegID {reg}");
                self.journal(Some(&udn), &wish.to_string(), cause, Ending::Registered, &reason, now);
                if let Wish::NoStandby(window) = wish {
                    self.clear_periods(&udn, window, Cause::Registration(reg), now);
                }
                self.effects.push_back(Effect::Changed(udn));
                Reply::Registered(reg)
            }
            Saving::Remove(key) => {
                if let Some(Registration { reg, udn, wish, .. }) = self.registrations.remove(&key) {
                    let reason = format!("RegID {reg}");
                    self.journal(Some(&udn), &wish.to_string(), cause, Ending::Withdrawn, &reason, now);
                    self.effects.push_back(Effect::Changed(udn));
                }
                Reply::Withdrawn(key)
            }
        };
        self.effects.push_back(Effect::Answer { ask, reply });
    }

    /// A new no-standby window goes before standby periods the appliance keeps: those that overlap it are withdrawn.
    fn clear_periods(&mut self, udn: &Udn, window: DailyWindow, cause: Cause, now: Now) {
        for reg in self.registrations.periods_overlapping(udn, window) {
            if let Some(target) = self.registry.get(udn) {
                self.commands.start(target, Verb::Withdraw(reg), cause, None, now.boot);
            }
        }
    }

    /// The appliance took a standby period: remembered, so that it can be shown and withdrawn.
    pub(super) fn period_kept(&mut self, udn: &Udn, window: DailyWindow, cause: Cause, outcome: &Outcome, now: Now) {
        let Some(reg) = outcome.reg else { return };
        let by = match cause {
            Cause::Person(uid) => Registrant::Person(uid),
            _ => Registrant::Appliance,
        };
        let wish = Wish::Standby(window);
        let registration = Registration { reg, udn: udn.clone(), by, wish, made: now.wall, due: None };
        self.registrations.enter(registration.clone());
        self.effects.push_back(Effect::SaveRegistration { ask: None, registration });
        self.effects.push_back(Effect::Changed(udn.clone()));
    }

    /// The appliance withdrew a standby period, or no longer knows it: either way it is gone.
    pub(super) fn period_withdrawn(&mut self, udn: &Udn, reg: RegId, outcome: &mut Outcome) {
        let unknown_there = outcome.code == Some(errors::code(RefusalKind::UnknownRegId).0);
        if outcome.ending != Ending::Done && !unknown_there {
            return;
        }
        if unknown_there {
            *outcome = Outcome::new(Ending::Done, "the appliance no longer knew it");
        }
        let key = Key::There(udn.clone(), reg);
        self.registrations.remove(&key);
        self.effects.push_back(Effect::DropRegistration { ask: None, key });
        self.effects.push_back(Effect::Changed(udn.clone()));
    }

    /// A wake-up's time has come.
    pub(super) fn wake_due(&mut self, due: DueWake, now: Now) {
        let cause = Cause::Registration(due.reg);
        let Some(target) = self.registry.get(&due.udn) else {
            self.registrations.wakes_closed(&due.udn, now);
            return;
        };
        if due.missed {
            let reason = format!("it was due at {} and the gateway was not running or its clock was wrong", due.due);
            self.journal(Some(&due.udn), "wake", cause, Ending::Failed, &reason, now);
            if let Some(registration) = self.registrations.get(&Key::Here(due.reg)).cloned() {
                self.effects.push_back(Effect::SaveRegistration { ask: None, registration });
            }
            return;
        }
        self.commands.start(target, Verb::Wake, cause, None, now.boot);
    }

    fn refuse(&mut self, ask: AskId, error: AskError) {
        self.effects.push_back(Effect::Answer { ask, reply: Reply::No(error) });
    }
}
