//! What may be done to the house: orders and wishes of people, switches, plugs and cables, ends of programs.

use core::time::Duration;

use heg::commands::Verb;
use heg::gateway::{AskId, Wanted};
use psm_agent::gateway_link as link;
use testkit::network::{Faults, Power};

use super::program::Program;
use super::{BOTH_FAMILIES_MAX, Given, House, LAN, interface};
use crate::appliance::{Appliance, Body, Leaving};
use crate::gateway::GatewayHost;

impl House {
    pub(crate) fn command(&mut self, n: usize, verb: Verb) -> AskId {
        let (truth_before, changes_before) = (self.machine(n).truth(), self.machine(n).changes_by_order);
        let (udn, at) = (self.udn(n), self.now());
        let ask = self.with_gateway(|g, now| g.person_asks(Wanted::Command(udn, verb), now));
        self.tell(format!("{ask:?} {} for {n}", verb.action()));
        self.given.push(Given { ask, appliance: n, verb, at, process: self.process, changes_before, truth_before });
        ask
    }

    pub(crate) fn ask(&mut self, wanted: Wanted) -> AskId {
        let told = format!("{wanted:?}");
        let ask = self.with_gateway(|g, now| g.person_asks(wanted, now));
        self.tell(format!("{ask:?} {told}"));
        ask
    }

    pub(crate) fn leave(&mut self, n: usize, where_to: Leaving) {
        self.tell(format!("{n} goes {where_to:?}"));
        self.with(n, |a, now| a.leave(where_to, now));
    }

    /// The power button, or the card that saw its packet, or the clock's alarm.
    pub(crate) fn rouse(&mut self, n: usize) {
        match self.machine(n).body {
            Body::Awake => {}
            Body::Asleep => {
                self.tell(format!("{n} wakes"));
                self.net.set_power(self.places[n].id, Power::Up);
                self.with(n, |a, now| a.resume(now));
            }
            Body::Off => {
                self.tell(format!("{n} boots"));
                self.start_agent(n);
            }
        }
    }

    /// The plug is pulled.
    pub(crate) fn cut_power(&mut self, n: usize) {
        self.tell(format!("{n} loses power"));
        self.places[n].heard_last = false;
        self.with(n, |a, now| {
            a.end_process();
            a.machine.body = Body::Off;
            a.machine.note(now);
        });
        self.net.set_power(self.places[n].id, Power::Asleep);
    }

    /// The agent's process ends without a word and starts again.
    pub(crate) fn crash_agent(&mut self, n: usize) {
        if self.machine(n).body == Body::Awake && self.machine(n).leaving.is_none() {
            self.tell(format!("agent {n} crashes and starts"));
            self.start_agent(n);
        }
    }

    /// The service is restarted: it says goodbye first.
    pub(crate) fn restart_agent(&mut self, n: usize) {
        if self.machine(n).body != Body::Awake || self.machine(n).leaving.is_some() {
            return;
        }
        self.tell(format!("agent {n} is restarted"));
        self.with(n, |a, now| a.agent_mut().expect("a process").handle_stop(false, now));
        let deadline = self.now() + psm_agent::limits::GOODBYE_WITHIN;
        self.run_until(deadline, |h| h.appliance(n).agent().is_none_or(|agent| agent.is_done()));
        if self.machine(n).body == Body::Awake {
            self.start_agent(n);
        }
    }

    fn start_agent(&mut self, n: usize) {
        let id = self.places[n].id;
        let program = Appliance::start(self.machine(n).clone(), self.now());
        self.net.replace(id, Program::Appliance(Box::new(program)));
        self.disturb();
        self.react();
    }

    /// The gateway ends, with goodbyes or without, is away for a while and starts again.
    pub(crate) fn restart_gateway(&mut self, gently: bool, away: Duration) {
        self.tell(format!("gateway is restarted, gently: {gently}, away {away:?}"));
        self.disturb();
        if gently {
            self.with_gateway(|g, now| g.stop(now));
            let deadline = self.now() + heg::limits::DRAIN_WITHIN;
            self.run_until(deadline, |h| h.gateway().is_done());
            self.with_gateway(|g, _| g.flush());
        } else if self.rng.bool() {
            // The write under way came through, or it did not.
            self.with_gateway(|g, _| g.flush());
        }
        self.gateway_up = false;
        self.process += 1;
        self.net.set_power(self.gateway, Power::Stopped);
        self.pass(away);
        let program = GatewayHost::start(self.gateway().kept.clone(), self.now());
        self.gateway_up = true;
        self.net.replace(self.gateway, Program::Gateway(Box::new(program)));
        self.disturb();
        self.react();
    }

    pub(crate) fn set_cable(&mut self, n: usize, connected: bool) {
        self.tell(format!("cable of {n}: {connected}"));
        self.places[n].connected = connected;
        self.net.set_connected(self.places[n].id, connected);
        self.disturb();
    }

    /// The link goes down and comes up, and the host is told.
    pub(crate) fn bounce_link(&mut self, n: usize, down: Duration) {
        self.tell(format!("link of {n} down for {down:?}"));
        if self.machine(n).body != Body::Awake {
            return;
        }
        self.disturb();
        self.places[n].connected = false;
        self.net.set_links(self.places[n].id, vec![]);
        self.pass(down);
        self.places[n].connected = true;
        self.disturb();
        let both = self.len() <= BOTH_FAMILIES_MAX;
        self.net.set_links(self.places[n].id, vec![(LAN, interface(n + 1, both))]);
        self.react();
    }

    pub(crate) fn set_faults(&mut self, faults: Option<Faults>) {
        self.tell(format!("faults {faults:?}"));
        self.disturb();
        self.faulty = faults.is_some();
        self.net.set_faults(faults.unwrap_or_default());
    }

    pub(crate) fn wish(&mut self, n: usize, wish: link::Wish) {
        self.tell(format!("{n} wishes {wish}"));
        self.next_ticket += 1;
        let ticket = link::Ticket(self.next_ticket);
        self.with(n, |a, now| {
            a.tickets.insert(ticket, None);
            let taken = a.agent_mut().map(|agent| agent.handle_wish(wish, ticket, now));
            if !matches!(taken, Some(Ok(()))) {
                a.tickets.remove(&ticket);
            }
        });
    }

    pub(crate) fn unwish(&mut self, n: usize, number: u32) {
        self.tell(format!("{n} withdraws its wish {number}"));
        self.next_ticket += 1;
        let ticket = link::Ticket(self.next_ticket);
        self.with(n, |a, now| {
            a.tickets.insert(ticket, None);
            let taken = a.agent_mut().map(|agent| agent.handle_wish_withdrawn(number, ticket, now));
            if !matches!(taken, Some(Ok(()))) {
                a.tickets.remove(&ticket);
            }
        });
    }
}
