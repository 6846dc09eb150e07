//! The simulated house: appliances and gateway on one network, and what always holds in it.
//!
//! The house plays the world: it lets machines fall asleep once their lock is released, wakes them by magic packet or
//! alarm, and after every step looks at the rules that hold at all times. A rule that is broken ends the test with the seed and the
//! last things that were done.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use bytes::Bytes;
use energy_model::{PowerState, TimeOfDay};
use heg::commands::{Outcome, Verb};
use heg::gateway::{AskId, Reply, Wanted};
use heg::journal::{Cause, Ending};
use heg::registrations::{Key, Registrant, Wish, local_time};
use http::Response;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use psm_agent::agent::Agent;
use psm_agent::gateway_link as link;
use psm_agent::status::Status;
use testkit::network::{Faults, Host, HostId, Power, ReplyTo, Segment, SimNetwork};
use upnp::ids::Udn;
use upnp::net::{Datagram, HttpAnswer, IncomingRequest, Interface, InterfaceAddress, InterfaceId};
use upnp::time::BootTime;

use crate::appliance::{self, Appliance, Body, Calendar, Leaving, Machine};
use crate::gateway::{self, Disk, GatewayHost, Kept};

const LAN: Segment = Segment(0);
/// Things done that are told when a rule is broken.
const TOLD: usize = 60;
/// Appliances of the largest house that speaks IPv6 too.
const BOTH_FAMILIES_MAX: usize = 10;
/// A wake-up by registration must be seen within this: the gateway's own patience, and a moment.
const WOKEN_WITHIN: Duration = Duration::from_secs(95);

/// A program on a host of the house.
pub(crate) enum Program {
    Appliance(Box<Appliance>),
    Gateway(Box<GatewayHost>),
}

impl Host for Program {
    fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime) {
        match self {
            Self::Appliance(a) => a.handle_interfaces(interfaces, now),
            Self::Gateway(g) => g.handle_interfaces(interfaces, now),
        }
    }
    fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime) {
        match self {
            Self::Appliance(a) => a.handle_datagram(datagram, now),
            Self::Gateway(g) => g.handle_datagram(datagram, now),
        }
    }
    fn handle_request(&mut self, request: IncomingRequest, id: ReplyTo, now: BootTime) -> Option<Response<Bytes>> {
        match self {
            Self::Appliance(a) => {
                a.handle_request(&request, id, now);
                None
            }
            Self::Gateway(g) => g.handle_request(&request, id, now),
        }
    }
    fn handle_answer(&mut self, answer: HttpAnswer, now: BootTime) {
        match self {
            Self::Appliance(a) => a.handle_answer(answer, now),
            Self::Gateway(g) => g.handle_answer(answer, now),
        }
    }
    fn handle_timeout(&mut self, now: BootTime) {
        match self {
            Self::Appliance(a) => a.handle_timeout(now),
            Self::Gateway(g) => g.handle_timeout(now),
        }
    }
    fn poll_effect(&mut self) -> Option<upnp::Effect> {
        match self {
            Self::Appliance(a) => a.poll_effect(),
            Self::Gateway(g) => g.poll_effect(),
        }
    }
    fn poll_response(&mut self) -> Option<(ReplyTo, Response<Bytes>)> {
        match self {
            Self::Appliance(a) => a.poll_response(),
            Self::Gateway(g) => g.poll_response(),
        }
    }
    fn poll_timeout(&self) -> Option<BootTime> {
        match self {
            Self::Appliance(a) => a.poll_timeout(),
            Self::Gateway(g) => g.poll_timeout(),
        }
    }
}

/// A command a person gave.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) ask: AskId,
    pub(crate) appliance: usize,
    pub(crate) verb: Verb,
    pub(crate) at: BootTime,
    process: u32,
    changes_before: u32,
    truth_before: PowerState,
}

/// What the house knows of one appliance beside its machine.
#[derive(Debug)]
struct Place {
    id: HostId,
    connected: bool,
    /// Its last event before it went away was surely heard, so the gateway must know exactly.
    heard_last: bool,
}

pub(crate) struct House {
    pub(crate) net: SimNetwork<Program>,
    pub(crate) rng: fastrand::Rng,
    pub(crate) calendar: Calendar,
    gateway: HostId,
    places: Vec<Place>,
    seed: u64,
    story: VecDeque<String>,
    /// Every number the gateway ever gave, and what for.
    numbers: BTreeMap<u32, (Udn, String, Registrant)>,
    /// Registrations made by people that were confirmed and not withdrawn.
    pub(crate) kept: BTreeMap<u32, (usize, Wish)>,
    given: Vec<Given>,
    /// The gateway's processes so far, and whether one crashed.
    process: u32,
    gateway_up: bool,
    faulty: bool,
    /// The last moment at which something in the house was not as it should be.
    disturbed: BootTime,
    minute: i64,
    /// Wake-ups that must be seen: whom, due when.
    due: Vec<(usize, BootTime)>,
    pub(crate) wakes_checked: u32,
    next_ticket: u64,
}

impl House {
    /// A house in which everything has just been switched on. `wall`: the time on the wall then.
    pub(crate) fn new(seed: u64, machines: Vec<Machine>, calendar: Calendar, config: heg::config::Config) -> Self {
        let mut net = SimNetwork::new(seed);
        let mut neighbours = BTreeMap::new();
        for (n, machine) in machines.iter().enumerate() {
            for address in addresses(n + 1) {
                neighbours.insert(address, machine.mac);
            }
        }
        let kept = Kept {
            config,
            calendar: calendar.clone(),
            disk: Disk::default(),
            boot_id: 0,
            rng: fastrand::Rng::with_seed(seed ^ 0x9a7e),
            neighbours,
            next_ask: 0,
            replies: BTreeMap::new(),
            journal: Vec::new(),
            complaints: Vec::new(),
        };
        let now = BootTime::ZERO;
        // Large houses speak one family only, for the sake of time: everything is announced once per family.
        let both = machines.len() <= BOTH_FAMILIES_MAX;
        let gateway = Program::Gateway(Box::new(GatewayHost::start(kept, now)));
        let gateway = net.add(gateway, gateway::HTTP_PORT, vec![(LAN, interface(0, both))]);
        let mut places = Vec::new();
        for (n, machine) in machines.into_iter().enumerate() {
            let program = Program::Appliance(Box::new(Appliance::start(machine, now)));
            let id = net.add(program, appliance::HTTP_PORT, vec![(LAN, interface(n + 1, both))]);
            places.push(Place { id, connected: true, heard_last: false });
        }
        let minute = calendar.at(now).as_second() / 60;
        Self {
            net,
            rng: fastrand::Rng::with_seed(seed ^ 0x5eed),
            calendar,
            gateway,
            places,
            seed,
            story: VecDeque::new(),
            numbers: BTreeMap::new(),
            kept: BTreeMap::new(),
            given: Vec::new(),
            process: 0,
            gateway_up: true,
            faulty: false,
            disturbed: now,
            minute,
            due: Vec::new(),
            wakes_checked: 0,
            next_ticket: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn now(&self) -> BootTime {
        self.net.now()
    }

    pub(crate) fn wall(&self) -> Timestamp {
        self.calendar.at(self.now())
    }

    pub(crate) fn time(&self) -> TimeOfDay {
        local_time(self.wall(), &self.calendar.zone)
    }

    pub(crate) fn gateway(&self) -> &GatewayHost {
        match self.net.host(self.gateway) {
            Program::Gateway(g) => g,
            Program::Appliance(_) => unreachable!("the gateway"),
        }
    }

    pub(crate) fn appliance(&self, n: usize) -> &Appliance {
        match self.net.host(self.places[n].id) {
            Program::Appliance(a) => a,
            Program::Gateway(_) => unreachable!("an appliance"),
        }
    }

    /// What the agent says of itself now.
    pub(crate) fn status(&self, n: usize) -> Option<Status> {
        self.appliance(n).agent().map(Agent::status)
    }

    pub(crate) fn machine(&self, n: usize) -> &Machine {
        &self.appliance(n).machine
    }

    pub(crate) fn udn(&self, n: usize) -> Udn {
        Udn::parse(&format!("uuid:{}", self.machine(n).uuid)).expect("a UDN")
    }

    /// What the gateway believes of an appliance.
    pub(crate) fn believed(&self, n: usize) -> Option<PowerState> {
        self.gateway().mind().registry().get(&self.udn(n)).and_then(|a| a.state())
    }

    pub(crate) fn with<R>(&mut self, n: usize, f: impl FnOnce(&mut Appliance, BootTime) -> R) -> R {
        let result = self.net.with(self.places[n].id, |program, now| match program {
            Program::Appliance(a) => f(a, now),
            Program::Gateway(_) => unreachable!("an appliance"),
        });
        self.react();
        result
    }

    fn with_gateway<R>(&mut self, f: impl FnOnce(&mut GatewayHost, BootTime) -> R) -> R {
        let result = self.net.with(self.gateway, |program, now| match program {
            Program::Gateway(g) => f(g, now),
            Program::Appliance(_) => unreachable!("the gateway"),
        });
        self.react();
        result
    }

    /// Writes into the story.
    pub(crate) fn tell(&mut self, what: impl Into<String>) {
        let line = format!("{} {:?} {}", self.time(), self.now().since_boot(), what.into());
        if self.story.len() >= TOLD {
            self.story.pop_front();
        }
        self.story.push_back(line);
    }

    /// A rule is broken.
    #[track_caller]
    pub(crate) fn broken(&self, rule: &str) -> ! {
        for line in &self.story {
            eprintln!("  {line}");
        }
        for entry in self.gateway().kept.journal.iter().rev().take(25).rev() {
            let who = entry.udn.as_ref().map(Udn::to_string).unwrap_or_default();
            let Ok(at) = Duration::try_from(entry.at.duration_since(self.calendar.booted_at)) else { continue };
            eprintln!("  journal {at:?} {who} {} {} {} {}", entry.action, entry.cause, entry.ending, entry.reason);
        }
        panic!("SIM_SEED={}: at {} {:?}: {rule}", self.seed, self.time(), self.now().since_boot());
    }

    #[track_caller]
    pub(crate) fn must(&self, holds: bool, rule: impl FnOnce() -> String) {
        if !holds {
            self.broken(&rule());
        }
    }

    // What may be done to the house.

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

    // Time.

    fn disturb(&mut self) {
        self.disturbed = self.now();
        self.due.clear();
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.run_until(self.now() + time, |_| false);
    }

    /// Goes on until `condition` holds; false when it does not by `deadline`.
    pub(crate) fn run_until(&mut self, deadline: BootTime, condition: impl Fn(&Self) -> bool) -> bool {
        loop {
            self.react();
            if condition(self) {
                return true;
            }
            let asleep = (0..self.len()).filter(|n| self.machine(*n).body == Body::Asleep);
            let alarm = asleep.filter_map(|n| self.machine(n).alarm).min();
            let next = alarm.into_iter().chain(self.net.next_wakeup()).min().filter(|next| *next <= deadline);
            match next {
                None => {
                    self.net.run_until(deadline, |_| false);
                    self.react();
                    return condition(self);
                }
                Some(next) if alarm == Some(next) => {
                    self.net.run_until(next, |_| false);
                }
                Some(_) => {
                    self.net.step();
                }
            }
        }
    }

    /// Plays the world after each step.
    fn react(&mut self) {
        // Before the packets arrive, so that who sleeps at that moment is seen asleep.
        self.watch_wake_ups();
        let packets = self.net_packets();
        for n in 0..self.len() {
            let machine = self.machine(n);
            if machine.departed.is_some() {
                self.departs(n);
            }
            let machine = self.machine(n);
            let by_packet = machine.wakeable && self.places[n].connected && packets.contains(&machine.mac);
            let by_alarm = machine.alarm.is_some_and(|at| at <= self.now()) && machine.body == Body::Asleep;
            // A lossy network loses magic packets too.
            if by_alarm || (by_packet && !(self.faulty && self.rng.bool())) {
                self.rouse(n);
            }
        }
        if let Some(complaint) = self.gateway().kept.complaints.first() {
            self.broken(complaint);
        }
    }

    fn net_packets(&mut self) -> BTreeSet<energy_model::MacAddress> {
        if self.gateway().packets.is_empty() {
            return BTreeSet::new();
        }
        let packets = self.net.with(self.gateway, |program, _| match program {
            Program::Gateway(g) => core::mem::take(&mut g.packets),
            Program::Appliance(_) => vec![],
        });
        packets.into_iter().collect()
    }

    /// The lock is released or its time is up: the machine sleeps, or is off.
    fn departs(&mut self, n: usize) {
        let healthy = !self.faulty && self.places[n].connected && self.gateway_up && !self.gateway().stopping;
        let subscribed = self.status(n).is_some_and(|s| s.subscribers >= 2)
            && self.gateway().mind().registry().get(&self.udn(n)).is_some_and(|a| a.is_subscribed());
        let early = self.machine(n).released_early;
        let where_to = self.machine(n).departed;
        let told = match where_to {
            Some(Leaving::ToSleep) => PowerState::Standby,
            _ => PowerState::Off,
        };
        let begun = self.machine(n).leaving.map_or(self.now(), |(_, begun)| begun);
        let steady = healthy && subscribed && begun > self.disturbed + Duration::from_secs(60);
        if steady && early {
            // The lock was released before its time was up, so the last event must have been heard by now.
            self.must(self.believed(n) == Some(told), || {
                format!("{n} released its lock while the gateway still believed {:?}", self.believed(n))
            });
        }
        self.places[n].heard_last = self.believed(n) == Some(told);
        if steady {
            self.must(self.places[n].heard_last, || format!("{n} went to {told} unheard on a good network"));
        }
        self.tell(format!("{n} is gone: {told}, heard {}", self.places[n].heard_last));
        self.net.with(self.places[n].id, |program, now| {
            if let Program::Appliance(a) = program {
                (a.machine.departed, a.machine.leaving, a.machine.released_early) = (None, None, false);
                a.machine.body = if where_to == Some(Leaving::ToSleep) { Body::Asleep } else { Body::Off };
                a.machine.note(now);
                if where_to == Some(Leaving::ToOff) {
                    a.end_process();
                }
            }
        });
        self.net.set_power(self.places[n].id, Power::Asleep);
    }

    /// Each wake-up kept by the gateway must lead to a wake at its time.
    fn watch_wake_ups(&mut self) {
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

    // What must hold once all has come to rest.

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

    /// What somebody was answered, once.
    pub(crate) fn reply(&self, ask: AskId) -> Option<&(BootTime, Reply)> {
        let replies = self.gateway().kept.replies.get(&ask).map(Vec::as_slice).unwrap_or_default();
        self.must(replies.len() <= 1, || format!("{ask:?} was answered {} times", replies.len()));
        replies.first()
    }

    pub(crate) fn outcome(&self, ask: AskId) -> Option<&Outcome> {
        match self.reply(ask) {
            Some((_, Reply::Outcome(outcome))) => Some(outcome),
            _ => None,
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

fn addresses(n: usize) -> [IpAddr; 2] {
    let last = u8::try_from(n + 1).expect("a small house");
    [[192, 168, 7, last].into(), format!("fe80::{last:x}").parse().expect("an address")]
}

fn interface(n: usize, both_families: bool) -> Interface {
    let [four, six] = addresses(n);
    let mut addresses = vec![InterfaceAddress { address: four, prefix_len: 24 }];
    if both_families {
        addresses.push(InterfaceAddress { address: six, prefix_len: 64 });
    }
    Interface { id: InterfaceId(2), name: "eth0".into(), addresses }
}

/// A calendar that shows `at` when the house is switched on.
pub(crate) fn calendar(at: &str, zone: &str) -> Calendar {
    let zone = TimeZone::posix(zone).expect("a zone");
    Calendar { booted_at: at.parse().expect("a time"), zone }
}
