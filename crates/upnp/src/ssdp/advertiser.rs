//! The device side of SSDP (UDA 1.1, sections 1.2 and 1.3.3): says that the device is there, on every interface and group,
//! and answers searches.
//!
//! In: interfaces, datagrams, time, `resumed`, `stop`. Out: datagrams. All messages are written when they leave, so that
//! none tells an address or a BOOTID that is no longer true. A multicast is a *burst*: all `3+2d+k` messages of the device
//! to one group at once, repeated a few hundred milliseconds later; one wake-up each, not one per message.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::endpoint::{Endpoint, endpoints, is_neighbour_host};
use super::message::{self, Search, SsdpMessage, Target, Told};
use super::rate::{Rate, SourceLimiter};
use crate::ids::{TypeUrn, Udn};
use crate::limits::{
    SSDP_ANSWERS_PENDING_MAX, SSDP_ANSWERS_PER_SOURCE_BURST, SSDP_ANSWERS_PER_SOURCE_EVERY_MS,
    SSDP_ANSWERS_TOTAL_BURST, SSDP_ANSWERS_TOTAL_EVERY_MS, SSDP_MAX_AGE_LEAST_S, SSDP_MX_MAX_S,
};
use crate::net::{Channel, Datagram, Effect, Interface, InterfaceId, Transmit};
use crate::time::{BootTime, earliest};
use crate::url::HttpUrl;

/// The first alive leaves within this after the byebye that precedes it: late enough not to overtake it, and within the
/// 100 ms UDA 1.1 (1.2.2) wants for the first announcement.
const FIRST_ALIVE_WITHIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(60));
/// Bursts to different groups are spread over this, so that devices which start together do not speak together.
const SPREAD: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(60));
/// Time between the copies of a burst ("a few hundred milliseconds", UDA 1.1, 1.2.2).
const COPY_GAP: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(400));
/// Copies of what must not be missed: the first alive, and one after a change.
const COPIES_FIRST: u32 = 3;
/// Copies of a refresh, an update and the last byebye: the least of UDA's two to three; a lost one is healed by the next.
const COPIES: u32 = 2;
/// How long addresses must stand still before a change is announced: a lease renewal takes an address away and gives it back.
const CHANGE_SETTLES: Duration = Duration::from_millis(250);
/// Least time between two announced changes: a link that flaps must not flood the house.
const CHANGE_EVERY: Duration = Duration::from_secs(2);
/// BOOTID.UPNP.ORG has 31 bits.
const BOOT_ID_MASK: u32 = 0x7fff_ffff;
/// CONFIGID.UPNP.ORG: 0 to 2^24-1 are the maker's to give.
const CONFIG_ID_MASK: u32 = 0x00ff_ffff;

/// What an [`Advertiser`] announces.
#[derive(Clone, Debug)]
pub struct AdvertiserConfig {
    /// The root device.
    pub root: Announced,
    /// Its embedded devices, all levels.
    pub embedded: Vec<Announced>,
    /// TCP port of the description.
    pub http_port: u16,
    /// Path of the description, for example `/description.xml`.
    pub description_path: String,
    /// SERVER: `OS/version UPnP/1.1 product/version`.
    pub server: String,
    /// How long an announcement holds; at least 1800 s (UDA 1.1, 1.2.2), less is raised to it. See
    /// [`crate::limits::SSDP_MAX_AGE_DEFAULT_S`].
    pub max_age: Duration,
    /// BOOTID.UPNP.ORG of this start, larger than that of every earlier one; cut to 31 bits.
    pub boot_id: u32,
    /// CONFIGID.UPNP.ORG: changes if and only if a description or SCPD changes; cut to 24 bits.
    pub config_id: u32,
    /// Seed of all random times.
    pub seed: u64,
}

/// A device, as far as SSDP tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its name.
    pub udn: Udn,
    /// Its type.
    pub device_type: TypeUrn,
    /// The types of its services; one that stands twice is announced once.
    pub service_types: Vec<TypeUrn>,
}

/// One of the `3+2d+k` combinations of NT and USN (UDA 1.1, tables 1-1 to 1-3).
#[derive(Debug)]
struct Name {
    nt: Target,
    udn: Udn,
}

/// `uuid:NAME` or `uuid:NAME::NT`, with the type in the version that was asked for.
struct UsnText<'a>(&'a Udn, &'a Target);

impl fmt::Display for UsnText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Target::Device(_) => write!(f, "{}", self.0),
            nt => write!(f, "{}::{nt}", self.0),
        }
    }
}

/// Which message a burst consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Burst {
    ByeBye,
    Alive,
    Update { boot_id: u32, next_boot_id: u32 },
}

#[derive(Debug)]
struct PlannedBurst {
    interface: InterfaceId,
    group: SocketAddr,
    burst: Burst,
}

#[derive(Debug)]
struct PendingAnswer {
    interface: InterfaceId,
    to: SocketAddr,
    name: usize,
    /// The version asked for, which the answer repeats; `None` for what has no version.
    version: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// No interface seen yet.
    New,
    /// Announced.
    Running,
    /// Said goodbye.
    Stopped,
}

/// The SSDP side of one root device.
#[derive(Debug)]
pub struct Advertiser {
    names: Vec<Name>,
    http_port: u16,
    description_path: String,
    server: String,
    max_age: Duration,
    boot_id: u32,
    config_id: u32,
    rng: fastrand::Rng,
    life: Life,
    interfaces: Vec<Interface>,
    /// What the last announcement told.
    announced: Vec<Endpoint>,
    change_at: Option<BootTime>,
    changed_at: Option<BootTime>,
    refresh_at: Option<BootTime>,
    /// Keyed by time and by a counter that keeps things of the same instant in order.
    bursts: BTreeMap<(BootTime, u64), PlannedBurst>,
    answers: BTreeMap<(BootTime, u64), PendingAnswer>,
    planned: u64,
    limiter: SourceLimiter,
    effects: VecDeque<Effect>,
}

impl Advertiser {
    /// An advertiser that waits for its first interface.
    pub fn new(config: AdvertiserConfig, now: BootTime) -> Self {
        let per_source = Rate {
            burst: SSDP_ANSWERS_PER_SOURCE_BURST,
            every: Duration::from_millis(SSDP_ANSWERS_PER_SOURCE_EVERY_MS),
        };
        let total = Rate { burst: SSDP_ANSWERS_TOTAL_BURST, every: Duration::from_millis(SSDP_ANSWERS_TOTAL_EVERY_MS) };
        Self {
            names: names(&config.root, &config.embedded),
            http_port: config.http_port,
            description_path: config.description_path,
            server: config.server,
            max_age: config.max_age.max(Duration::from_secs(SSDP_MAX_AGE_LEAST_S)),
            boot_id: config.boot_id & BOOT_ID_MASK,
            config_id: config.config_id & CONFIG_ID_MASK,
            rng: fastrand::Rng::with_seed(config.seed),
            life: Life::New,
            interfaces: Vec::new(),
            announced: Vec::new(),
            change_at: None,
            changed_at: None,
            refresh_at: None,
            bursts: BTreeMap::new(),
            answers: BTreeMap::new(),
            planned: 0,
            limiter: SourceLimiter::new(per_source, total, now),
            effects: VecDeque::new(),
        }
    }

    /// BOOTID.UPNP.ORG now in force. It grows while running (address change, resume): keep it, so that the next start
    /// begins above it.
    pub fn boot_id(&self) -> u32 {
        self.boot_id
    }

    /// Takes the interfaces as they are now. The first ones get byebye and alive; after a later change comes `ssdp:update`
    /// where we were already heard, then alive with the new BOOTID everywhere. Interfaces that only went away change nothing.
    pub fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime) {
        if self.life == Life::Stopped {
            return;
        }
        self.interfaces = interfaces.to_vec();
        let current = endpoints(interfaces);
        self.bursts.retain(|_, b| current.iter().any(|e| (e.interface, e.group) == (b.interface, b.group)));
        self.answers.retain(|_, a| interfaces.iter().any(|i| i.id == a.interface));
        if self.life == Life::New {
            if !current.is_empty() {
                self.begin(current, now);
            }
        } else if current != self.announced {
            let earliest_allowed = self.changed_at.map_or(now, |at| at + CHANGE_EVERY);
            self.change_at.get_or_insert((now + CHANGE_SETTLES).max(earliest_allowed));
        } else {
            self.change_at = None;
        }
    }

    /// Takes a datagram of the SSDP port; only searches from neighbours matter here.
    pub fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime) {
        // In a house of many devices most of what arrives are their announcements; they are not even read.
        let announces = datagram.payload.starts_with(b"NOTIFY ");
        if self.life != Life::Running || datagram.channel != Channel::Ssdp || announces {
            return;
        }
        let neighbour = self
            .interfaces
            .iter()
            .find(|i| i.id == datagram.interface)
            .is_some_and(|i| is_neighbour_host(i, datagram.from));
        if !neighbour {
            return;
        }
        if let Ok(SsdpMessage::Search(search)) = message::parse(&datagram.payload) {
            self.answer(&search, datagram, now);
        }
    }

    /// The machine has slept: peers may have lost us and we have lost their subscriptions, which is what a new BOOTID says.
    pub fn resumed(&mut self, now: BootTime) {
        if self.life == Life::Stopped {
            return;
        }
        self.boot_id = next_boot_id(self.boot_id);
        if self.life == Life::Running {
            self.answers.clear();
            self.bursts.clear();
            self.change_at = None;
            self.changed_at = Some(now);
            self.announced = endpoints(&self.interfaces);
            let first = now + self.random(FIRST_ALIVE_WITHIN);
            self.announce(COPIES_FIRST, first, now);
        }
    }

    /// Says byebye on every interface, at once and once more a little later. After it nothing is answered; when
    /// [`Self::poll_timeout`] is `None` all is said.
    pub fn stop(&mut self, now: BootTime) {
        let was = core::mem::replace(&mut self.life, Life::Stopped);
        if was != Life::Running {
            return;
        }
        self.bursts.clear();
        self.answers.clear();
        self.change_at = None;
        self.refresh_at = None;
        self.announced = endpoints(&self.interfaces);
        for endpoint in self.announced.clone() {
            self.plan(endpoint, Burst::ByeBye, COPIES, now);
        }
        self.handle_timeout(now);
    }

    /// The next order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let first = |key: Option<&(BootTime, u64)>| key.map(|(at, _)| *at);
        let queued = earliest(first(self.bursts.keys().next()), first(self.answers.keys().next()));
        earliest(queued, earliest(self.change_at, self.refresh_at))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: BootTime) {
        if self.change_at.is_some_and(|at| at <= now) {
            self.change(now);
        }
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.announce(COPIES, now, now);
        }
        while let Some(entry) = self.bursts.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let planned = entry.remove();
            self.send_burst(&planned);
        }
        while let Some(entry) = self.answers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let answer = entry.remove();
            self.send_answer(&answer);
        }
    }

    /// First interfaces: byebye, so that nobody trusts what an earlier run said, then alive.
    fn begin(&mut self, current: Vec<Endpoint>, now: BootTime) {
        self.life = Life::Running;
        self.announced = current;
        for endpoint in self.announced.clone() {
            // One copy: a second would come after the alive.
            self.plan(endpoint, Burst::ByeBye, 1, now);
        }
        let first = now + self.random(FIRST_ALIVE_WITHIN);
        self.announce(COPIES_FIRST, first, now);
        self.handle_timeout(now);
    }

    /// Addresses changed and have settled.
    fn change(&mut self, now: BootTime) {
        self.change_at = None;
        let current = endpoints(&self.interfaces);
        let news = current.iter().any(|e| !self.announced.contains(e));
        let before = core::mem::replace(&mut self.announced, current);
        if !news {
            return;
        }
        self.changed_at = Some(now);
        let boot_id = self.boot_id;
        let next_boot_id = next_boot_id(boot_id);
        self.bursts.clear();
        let mut said = now;
        for endpoint in self.announced.clone() {
            if before.iter().any(|e| (e.interface, e.group) == (endpoint.interface, endpoint.group)) {
                let at = now + self.random(SPREAD);
                said = said.max(self.plan(endpoint, Burst::Update { boot_id, next_boot_id }, COPIES, at));
            }
        }
        self.boot_id = next_boot_id;
        // Every copy of the update goes first: after an alive with the new BOOTID, the old one would look like a reboot.
        let first = said + self.random(FIRST_ALIVE_WITHIN);
        self.announce(COPIES_FIRST, first, now);
    }

    /// Plans alive on every endpoint from `at` on, and the refresh after it.
    fn announce(&mut self, copies: u32, at: BootTime, now: BootTime) {
        for (n, endpoint) in self.announced.clone().into_iter().enumerate() {
            // The very first goes out at `at` itself, which keeps the 100 ms.
            let spread = if n == 0 { Duration::ZERO } else { self.random(SPREAD) };
            self.plan(endpoint, Burst::Alive, copies, at + spread);
        }
        // At random before half of max-age (UDA 1.1, 1.2.2), late rather than early: each refresh costs traffic, and two of
        // them still fall into one max-age.
        let wait = (self.max_age.mul_f64(0.375), self.max_age.mul_f64(0.5) - Duration::from_secs(1));
        self.refresh_at = (!self.announced.is_empty()).then(|| now + self.random(wait));
    }

    /// Plans `copies` of a burst and returns the time of the last.
    fn plan(&mut self, endpoint: Endpoint, burst: Burst, copies: u32, at: BootTime) -> BootTime {
        let mut at = at;
        for copy in 0..copies {
            if copy > 0 {
                at = at + self.random(COPY_GAP);
            }
            let planned = PlannedBurst { interface: endpoint.interface, group: endpoint.group, burst };
            self.bursts.insert((at, self.planned), planned);
            self.planned += 1;
        }
        at
    }

    fn random(&mut self, (from, to): (Duration, Duration)) -> Duration {
        from + (to - from).mul_f64(self.rng.f64())
    }

    fn send_burst(&mut self, planned: &PlannedBurst) {
        let key = (planned.interface, planned.group);
        let current = endpoints(&self.interfaces);
        let Some(endpoint) = current.iter().find(|e| (e.interface, e.group) == key) else {
            return;
        };
        let location = self.location(endpoint.local);
        for name in &self.names {
            let told = self.told(&name.nt, &UsnText(&name.udn, &name.nt), |told| match planned.burst {
                Burst::ByeBye => message::write_byebye(told, planned.group),
                Burst::Alive => message::write_alive(told, planned.group, &location, self.max_age, &self.server),
                Burst::Update { boot_id, next_boot_id } => {
                    message::write_update(Told { boot_id, ..told }, planned.group, &location, next_boot_id)
                }
            });
            self.effects.push_back(Effect::Send(Transmit {
                interface: planned.interface,
                channel: Channel::Ssdp,
                to: planned.group,
                payload: told,
            }));
        }
    }

    /// Plans the answers to a search.
    fn answer(&mut self, search: &Search, datagram: &Datagram, now: BootTime) {
        let Some(wanted) = &search.target else { return };
        let delay_max = if datagram.multicast {
            // No MX, no answer: the searcher has not said how long it listens.
            let Some(mx) = search.mx else { return };
            Duration::from_secs(mx.min(SSDP_MX_MAX_S).into())
        } else {
            // Who asks one host alone waits for one answer; UDA 1.1 (1.3.3) gives it one second.
            Duration::ZERO
        };
        let version = match wanted {
            Target::Type(urn) => Some(urn.version()),
            _ => None,
        };
        for name in 0..self.names.len() {
            if !wanted.wants(&self.names[name].nt) {
                continue;
            }
            let same = |a: &PendingAnswer| (a.to, a.name, a.version) == (datagram.from, name, version);
            if self.answers.values().any(same) {
                // A copy of a search that is being answered.
                continue;
            }
            let room = self.answers.len() < SSDP_ANSWERS_PENDING_MAX;
            if !room || !self.limiter.allow(datagram.from.ip(), now) {
                return;
            }
            let at = now + self.random((Duration::ZERO, delay_max));
            let answer = PendingAnswer { interface: datagram.interface, to: datagram.from, name, version };
            self.answers.insert((at, self.planned), answer);
            self.planned += 1;
        }
        self.handle_timeout(now);
    }

    fn send_answer(&mut self, answer: &PendingAnswer) {
        let interface = self.interfaces.iter().find(|i| i.id == answer.interface);
        let Some(local) = interface.and_then(|i| i.address_toward(answer.to.ip().to_canonical())) else {
            return;
        };
        let name = &self.names[answer.name];
        // A lower version asked for is answered with that version (UDA 1.1, 1.3.3), in ST and USN alike.
        let st = match (&name.nt, answer.version) {
            (Target::Type(urn), Some(version)) => Target::Type(urn.with_version(version)),
            (nt, _) => nt.clone(),
        };
        let location = self.location(local);
        let payload = self.told(&st, &UsnText(&name.udn, &st), |told| {
            message::write_answer(told, &location, self.max_age, &self.server)
        });
        self.effects.push_back(Effect::Send(Transmit {
            interface: answer.interface,
            channel: Channel::Ssdp,
            to: answer.to,
            payload,
        }));
    }

    fn told<R>(&self, nt: &Target, usn: &UsnText<'_>, write: impl FnOnce(Told<'_>) -> R) -> R {
        write(Told { nt, usn, boot_id: self.boot_id, config_id: self.config_id })
    }

    fn location(&self, local: IpAddr) -> HttpUrl {
        HttpUrl::new(SocketAddr::new(local, self.http_port), &self.description_path)
    }
}

fn next_boot_id(boot_id: u32) -> u32 {
    boot_id.wrapping_add(1) & BOOT_ID_MASK
}

/// The `3+2d+k` names: three for the root, two for each embedded device, one for each service type of each device.
fn names(root: &Announced, embedded: &[Announced]) -> Vec<Name> {
    let mut names = vec![Name { nt: Target::RootDevice, udn: root.udn.clone() }];
    for device in core::iter::once(root).chain(embedded) {
        let mut add = |nt: Target| {
            if !names.iter().any(|n| n.nt == nt && n.udn == device.udn) {
                names.push(Name { nt, udn: device.udn.clone() });
            }
        };
        add(Target::Device(device.udn.clone()));
        add(Target::Type(device.device_type.clone()));
        for service in &device.service_types {
            add(Target::Type(service.clone()));
        }
    }
    names
}
