//! The simulated house: appliances and gateway on one network, and what always holds in it.
//!
//! The house plays the world: it lets machines fall asleep once their lock is released, wakes them by magic packet or
//! alarm, and after every step looks at the rules that hold at all times. A rule that is broken ends the test with the seed and the
//! last things that were done.

mod deeds;
mod program;
mod rules;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use energy_model::{PowerState, TimeOfDay};
use heg::commands::{Outcome, Verb};
use heg::gateway::{AskId, Reply};
use heg::registrations::{Registrant, Wish, local_time};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use psm_agent::agent::Agent;
use psm_agent::status::Status;
use testkit::network::{HostId, Power, Segment, SimNetwork};
use upnp::ids::Udn;
use upnp::net::{Interface, InterfaceAddress, InterfaceId};
use upnp::time::BootTime;

use self::program::Program;
use crate::appliance::{self, Appliance, Body, Calendar, Leaving, Machine};
use crate::gateway::{self, Disk, GatewayHost, Kept};

const LAN: Segment = Segment(0);
/// Things done that are told when a rule is broken.
const TOLD: usize = 60;
/// Appliances of the largest house that speaks IPv6 too.
const BOTH_FAMILIES_MAX: usize = 10;

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
