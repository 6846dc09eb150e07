//! What must hold in the house: wake-ups at their time, and everything else once all has come to rest.

use core::time::Duration;
use std::collections::BTreeSet;

use energy_model::{PowerState, TimeOfDay};
use heg::commands::{Outcome, Verb};
use heg::gateway::Reply;
use heg::journal::{Cause, Ending};
use heg::registrations::{Key, Registrant, Wish};
use psm_agent::gateway_link as link;
use upnp::time::BootTime;

use super::{Given, House};
use crate::appliance::Body;
use crate::gateway;

/// A wake-up by registration must be seen within this: the gateway's own patience, and a moment.
const WOKEN_WITHIN: Duration = Duration::from_secs(95);

impl House {
    /// Each wake-up kept by the gateway must lead to a wake at its time.
    pub(super) fn watch_wake_ups(&mut self) {
        let minute = self.wall().as_second() / 60;
        if minute != self.minute {
            self.minute = minute;
            let time = self.time();
            let whole = TimeOfDay::new(time.hour(), time.minute(), 0).expect("a time");
            let steady = !self.faulty && self.gateway_up && self.now() > self.disturbed + Duration::from_secs(120);
            let mind = self.gateway().mind();
            let wanted = |n: &usize| {
                let udn = self.udn(*n);
                let machine = self.machine(*n);
                steady
                    && machine.wakeable
                    && machine.body == Body::Asleep
                    && self.places[*n].connected
                    && mind.registry().get(&udn).is_some_and(|a| a.profile().mac.is_some())
                    && mind.registrations().of(&udn).any(|r| r.wish == Wish::WakeUp(whole))
            };
            let due: Vec<_> = (0..self.len()).filter(wanted).collect();
            let now = self.now();
            self.due.extend(due.into_iter().map(|n| (n, now)));
        }
        let (past, due) = self.due.iter().partition(|(_, at)| *at + WOKEN_WITHIN <= self.now());
        self.due = due;
        let past: Vec<(usize, BootTime)> = past;
        for (n, at) in past {
            self.wakes_checked += 1;
            self.must(self.machine(n).was_awake(at), || format!("{n} was not woken at its WakeUpTime {at:?}"));
        }
    }

    /// Mends the network and lets everything come to rest.
    pub(crate) fn settle(&mut self, time: Duration) {
        for n in 0..self.len() {
            if !self.places[n].connected {
                self.set_cable(n, true);
            }
        }
        if self.faulty {
            self.set_faults(None);
        }
        let rests = |h: &Self| {
            h.gateway().mind().commands().iter().next().is_none()
                && (0..h.len()).all(|n| h.machine(n).leaving.is_none())
        };
        self.run_until(self.now() + Duration::from_secs(300), rests);
        self.pass(time);
        let rested = self.run_until(self.now() + Duration::from_secs(300), rests);
        self.must(rested, || "it does not come to rest".into());
    }

    /// All that must hold when the house is at rest. `calm`: one thing was done at a time, on a good network.
    pub(crate) fn check(&mut self, calm: bool) {
        for n in 0..self.len() {
            self.check_belief(n);
            self.check_wishes(n);
        }
        self.check_numbers();
        self.check_commands(calm);
    }

    fn check_belief(&self, n: usize) {
        let (truth, believed) = (self.machine(n).truth(), self.believed(n));
        let Some(known) = self.gateway().mind().registry().get(&self.udn(n)) else {
            return self.must(self.machine(n).body != Body::Awake, || format!("{n} is not known"));
        };
        match self.machine(n).body {
            Body::Awake => {
                let own = self.status(n).map(|s| s.power_state);
                self.must(own == Some(truth), || format!("{n} is {truth} and its agent says {own:?}"));
                self.must(believed == Some(truth), || format!("{n} is {truth} and believed {believed:?}"));
                self.must(known.is_reachable(), || format!("{n} is awake and not reachable"));
                self.must(known.is_subscribed(), || format!("{n} is awake and not subscribed to"));
            }
            Body::Asleep | Body::Off if self.places[n].heard_last => {
                self.must(believed == Some(truth), || format!("{n} said {truth} and is believed {believed:?}"));
                self.must(!known.is_reachable(), || format!("{n} is away and counts as reachable"));
            }
            Body::Asleep | Body::Off => {
                self.must(believed != Some(PowerState::On), || format!("{n} is away unheard and still believed ON"));
            }
        }
    }

    /// An appliance's own registrations are at the gateway exactly when it wishes them.
    fn check_wishes(&self, n: usize) {
        if self.machine(n).body != Body::Awake {
            return;
        }
        let Some(status) = self.status(n) else { return };
        let udn = self.udn(n);
        let wished: BTreeSet<_> = status.wishes.iter().map(|w| w.wish.clone()).collect();
        let own = self.gateway().mind().registrations().of(&udn).filter(|r| r.by == Registrant::Appliance);
        let registered: BTreeSet<_> = own.filter_map(|r| as_wish(r.wish)).map(|w| w.to_string()).collect();
        self.must(wished == registered, || format!("{n} wishes {wished:?}, registered is {registered:?}"));
        for r in status.gateways.iter().flat_map(|g| &g.registrations) {
            let there = self.gateway().mind().registrations().get(&Key::Here(r.reg_id));
            let same = there.is_some_and(|there| there.udn == udn && as_wish(there.wish) == Some(r.wish));
            self.must(same, || format!("{n} holds RegID {} for {}, the gateway has {there:?}", r.reg_id, r.wish));
        }
    }

    /// A RegID means one thing for good; what people registered is there until it is withdrawn.
    fn check_numbers(&mut self) {
        let all: Vec<_> = self.gateway().mind().registrations().iter().cloned().collect();
        for r in all {
            if r.key() != Key::Here(r.reg) {
                continue;
            }
            let now = (r.udn.clone(), r.wish.to_string(), r.by);
            let before = self.numbers.entry(r.reg.number()).or_insert_with(|| now.clone()).clone();
            self.must(before == now, || format!("RegID {} was {before:?} and is {now:?}", r.reg));
        }
        for (number, (n, wish)) in &self.kept {
            let udn = self.udn(*n);
            let there =
                self.gateway().mind().registrations().of(&udn).any(|r| r.reg.number() == *number && r.wish == *wish);
            self.must(there, || format!("RegID {number} for {n}, {wish}, was confirmed and is gone"));
        }
    }

    fn check_commands(&mut self, calm: bool) {
        for given in core::mem::take(&mut self.given) {
            let Given { ask, appliance: n, verb, at, process, .. } = given;
            let Some((ended, reply)) = self.reply(ask) else {
                self.must(process != self.process, || format!("{ask:?} {verb:?} for {n} was never answered"));
                continue;
            };
            let Reply::Outcome(outcome) = reply else {
                self.must(matches!(reply, Reply::No(_)), || format!("{ask:?} {verb:?} ended with {reply:?}"));
                continue;
            };
            let (udn, action) = (self.udn(n), verb.action());
            let journal = &self.gateway().kept.journal;
            let own: Vec<_> =
                journal.iter().filter(|e| e.cause == Cause::Person(gateway::uid(ask)) && *e.action == action).collect();
            // Who asked for what was under way already has no line of his own.
            let joined = || {
                let serves = |a: &str| a == action || (verb == Verb::Wake && a == "OperationOn");
                let same = |e: &&heg::journal::Entry| e.udn.as_ref() == Some(&udn) && serves(&e.action);
                journal.iter().filter(same).any(|e| e.ending == outcome.ending)
            };
            let written = match own[..] {
                [] => joined(),
                [one] => one.ending == outcome.ending,
                _ => false,
            };
            self.must(written, || format!("{ask:?} {action} for {n} ended {outcome:?}, the journal says {own:?}"));
            if calm {
                self.check_outcome(&given, *ended, outcome);
            }
            let period = matches!(verb, Verb::Period(_) | Verb::Withdraw(_));
            let target = match verb {
                Verb::On => Some(PowerState::On),
                Verb::Off => Some(PowerState::Off),
                Verb::Standby => Some(PowerState::Standby),
                _ => None,
            };
            if let Some(target) = target.filter(|_| outcome.ending == Ending::Done && !period) {
                let so = self.machine(n).has_been(target, at);
                self.must(so, || format!("{ask:?} {action} for {n} is done, and it never was {target}"));
            }
        }
    }

    /// How a command must have ended that was given alone on a good network.
    fn check_outcome(&self, given: &Given, ended: BootTime, outcome: &Outcome) {
        let Given { ask, appliance: n, verb, at, changes_before, truth_before, .. } = *given;
        let machine = self.machine(n);
        let awake_all_along = machine.body == Body::Awake
            && machine.history.iter().all(|(t, s)| *t < at || *s != PowerState::Standby)
            && truth_before != PowerState::Standby;
        let about = || {
            format!("{ask:?} {verb:?} for {n}, {truth_before} before, ended {outcome:?} after {:?}", ended.since(at))
        };
        match outcome.ending {
            Ending::Refused | Ending::Declined => {
                let unchanged = machine.changes_by_order == changes_before;
                self.must(unchanged, || format!("{}, but the appliance was changed", about()));
                if outcome.ending == Ending::Refused && !matches!(verb, Verb::Withdraw(_) | Verb::Period(_)) {
                    let last = self.status(n).and_then(|s| s.refusals.last().cloned());
                    let fits =
                        last.as_ref().is_some_and(|l| Some(l.code) == outcome.code && l.reason == outcome.reason);
                    self.must(fits, || format!("{}; the appliance says {last:?}", about()));
                }
            }
            Ending::Done => {}
            Ending::Already => {
                let fits = match verb {
                    // One that lost power in its sleep tells nobody.
                    Verb::Standby => truth_before == PowerState::Standby || machine.body == Body::Off,
                    Verb::Off => truth_before == PowerState::Off || machine.body == Body::Off,
                    Verb::Wake => truth_before != PowerState::Standby,
                    _ => false,
                };
                self.must(fits, about);
            }
            Ending::Unreachable | Ending::TimedOut => {
                // An order to sleep that was taken and came to nothing is told as not confirmed.
                let came_to_nothing = verb == Verb::Standby && machine.suspend_fails;
                self.must(!awake_all_along || came_to_nothing, about);
            }
            Ending::Failed => self.must(verb == Verb::Wake && !machine.wakeable, about),
            _ => self.broken(&about()),
        }
        let awake = awake_all_along && outcome.ending != Ending::Declined;
        let blocked = match verb {
            Verb::Standby => machine.inhibitor || machine.session || machine.busy,
            Verb::Off => truth_before == PowerState::On && (machine.busy || machine.operation_stuck),
            Verb::On => truth_before == PowerState::Off && machine.operation_stuck,
            _ => false,
        };
        if awake && blocked {
            self.must(outcome.ending == Ending::Refused, about);
        }
    }
}

fn as_wish(wish: Wish) -> Option<link::Wish> {
    match wish {
        Wish::WakeUp(time) => Some(link::Wish::WakeUpTime(time)),
        Wish::NoStandby(window) => Some(link::Wish::NoStandbyPeriod(window)),
        Wish::Standby(_) => None,
    }
}
