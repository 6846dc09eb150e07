//! The control point side of SSDP (UDA 1.1, section 1): searches, and keeps track of which devices are there and where.
//!
//! In: interfaces, datagrams, time, `search`, `forget`, `resumed`. Out: [`TrackerEvent`]s and searches. A device is known by
//! its UDN; each way to it (interface and address) is a path with an expiry of its own, and one of them is in use. A path
//! in use is left only when it fails or the device says that it moved, so that a device on IPv4 and IPv6 stays in one place.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use super::endpoint::{Endpoint, endpoints, is_neighbour_host};
use super::known::{Change, Heard, Known, Path};
use super::message::{self, ByeBye, Presence, SsdpMessage, Target, Update};
use super::rate::{Rate, SourceLimiter};
use crate::ids::Udn;
use crate::limits::{
    SSDP_DEVICES_MAX, SSDP_DEVICES_PER_SOURCE_MAX, SSDP_MAX_AGE_BELIEVED_MAX_S, SSDP_MAX_AGE_BELIEVED_MIN_S,
    SSDP_MAX_AGE_LEAST_S, SSDP_MX_MAX_S, SSDP_NEW_PER_SOURCE_BURST, SSDP_NEW_PER_SOURCE_EVERY_MS, SSDP_NEW_TOTAL_BURST,
    SSDP_NEW_TOTAL_EVERY_MS, SSDP_SEARCH_EVERY_MIN_S, SSDP_STATIC_HOSTS_MAX, SSDP_TARGETS_MAX,
};
use crate::net::{Channel, Datagram, Effect, Interface, InterfaceId, SSDP_PORT, Transmit};
use crate::time::{BootTime, earliest};
use crate::url::HttpUrl;

/// Copies of a search that has a cause: start, a new interface, resume, a caller's wish.
const COPIES_WITH_CAUSE: u32 = 3;
/// Copies of the periodic search: the next one is its repetition, and each copy costs an answer of every device.
const COPIES_PERIODIC: u32 = 1;
/// A search waits this long at random, so that control points woken by the same event do not ask together.
const SEARCH_SPREAD: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(100));
/// Time between the copies of a search.
const SEARCH_COPY_GAP: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(600));
/// A timer that comes this much too late means that the machine slept.
const LATE_MEANS_SLEPT: Duration = Duration::from_secs(30);
/// After sleep, devices whose max-age ran out meanwhile get this long, beyond MX, to answer.
const GRACE_AFTER_SLEEP: Duration = Duration::from_secs(5);

/// What a [`Tracker`] looks for.
#[derive(Clone, Debug)]
pub struct TrackerConfig {
    /// Devices that matter, the first [`SSDP_TARGETS_MAX`] of them. Other devices are neither remembered nor reported.
    pub targets: Vec<Target>,
    /// USER-AGENT: `OS/version UPnP/1.1 product/version`.
    pub user_agent: String,
    /// MX of searches, 1 to 5 seconds; others are brought into it.
    pub mx: u8,
    /// Time between periodic searches, a tenth more or less at random; at least [`SSDP_SEARCH_EVERY_MIN_S`].
    pub search_every: Duration,
    /// Seed of all random times.
    pub seed: u64,
}

/// Where and how a device was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The device.
    pub udn: Udn,
    /// Its description; the scope id of a link-local address is set.
    pub location: HttpUrl,
    /// Interface it was heard on.
    pub interface: InterfaceId,
    /// Our own address toward it: what a callback URL must name.
    pub local: IpAddr,
    /// BOOTID.UPNP.ORG; UDA 1.0 devices have none.
    pub boot_id: Option<u32>,
    /// CONFIGID.UPNP.ORG; UDA 1.0 devices have none.
    pub config_id: Option<u32>,
    /// SERVER.
    pub server: Option<String>,
}

/// Why a device is no longer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoneWhy {
    /// It said `ssdp:byebye` and did not come back within a second.
    ByeBye,
    /// It was not heard of for its max-age, sleep of this machine included.
    Expired,
}

/// What became known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackerEvent {
    /// A device that matters is there for the first time, or again.
    Appeared(Sighting),
    /// The device started anew (another BOOTID; for a device without one, alive right after byebye) or has another
    /// configuration (CONFIGID): its subscriptions are lost, its description may differ.
    Rebooted(Sighting),
    /// The same device, not rebooted, at another LOCATION, or our own address toward it changed.
    Moved(Sighting),
    /// The device left.
    Gone {
        /// The device.
        udn: Udn,
        /// How it left.
        why: GoneWhy,
    },
}

/// The SSDP side of one control point.
#[derive(Debug)]
pub struct Tracker {
    targets: Vec<Target>,
    user_agent: String,
    mx: u8,
    search_every: Duration,
    rng: fastrand::Rng,
    interfaces: Vec<Interface>,
    endpoints: Vec<Endpoint>,
    static_hosts: BTreeSet<IpAddr>,
    devices: BTreeMap<Udn, Known>,
    limiter: SourceLimiter,
    /// Searches to send, on one interface or, with `None`, on all and to the static hosts.
    rounds: BTreeSet<(BootTime, Option<InterfaceId>)>,
    search_at: Option<BootTime>,
    /// Not later than the first deadline of any device.
    wake_at: Option<BootTime>,
    events: VecDeque<TrackerEvent>,
    effects: VecDeque<Effect>,
}

impl Tracker {
    /// A tracker that knows nobody and waits for its first interface.
    pub fn new(config: TrackerConfig, now: BootTime) -> Self {
        let per_source =
            Rate { burst: SSDP_NEW_PER_SOURCE_BURST, every: Duration::from_millis(SSDP_NEW_PER_SOURCE_EVERY_MS) };
        let total = Rate { burst: SSDP_NEW_TOTAL_BURST, every: Duration::from_millis(SSDP_NEW_TOTAL_EVERY_MS) };
        let mut targets = config.targets;
        targets.truncate(SSDP_TARGETS_MAX);
        Self {
            targets,
            user_agent: config.user_agent,
            mx: config.mx.clamp(1, SSDP_MX_MAX_S as u8),
            search_every: config.search_every.max(Duration::from_secs(SSDP_SEARCH_EVERY_MIN_S)),
            rng: fastrand::Rng::with_seed(config.seed),
            interfaces: Vec::new(),
            endpoints: Vec::new(),
            static_hosts: BTreeSet::new(),
            devices: BTreeMap::new(),
            limiter: SourceLimiter::new(per_source, total, now),
            rounds: BTreeSet::new(),
            search_at: None,
            wake_at: None,
            events: VecDeque::new(),
            effects: VecDeque::new(),
        }
    }

    /// Takes the interfaces as they are now: searches on what is new, and leaves paths that lead nowhere any more.
    pub fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime) {
        self.interfaces = interfaces.to_vec();
        let before = core::mem::replace(&mut self.endpoints, endpoints(interfaces));
        self.rounds.retain(|(_, on)| on.is_none_or(|on| interfaces.iter().any(|i| i.id == on)));
        let news = self.endpoints.iter().filter(|e| !before.contains(e)).map(|e| e.interface);
        let news: BTreeSet<InterfaceId> = news.collect();
        if !news.is_empty() && (before.is_empty() || !self.static_hosts.is_empty()) {
            // A search that was under way went nowhere, or not where the static hosts are.
            self.rounds.clear();
            self.search(now);
        } else {
            for interface in news {
                self.plan_search(Some(interface), COPIES_WITH_CAUSE, now);
            }
        }
        self.reconsider_paths(now);
    }

    /// Takes a datagram of the SSDP port, or the answer to a search.
    pub fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime) {
        // The searches of others need no reading.
        if datagram.channel != Channel::Ssdp || datagram.payload.starts_with(b"M-SEARCH ") {
            return;
        }
        let Some(interface) = self.interfaces.iter().find(|i| i.id == datagram.interface) else {
            return;
        };
        let ip = datagram.from.ip().to_canonical();
        if !is_neighbour_host(interface, datagram.from) && !self.static_hosts.contains(&ip) {
            return;
        }
        let Some(local) = interface.address_toward(ip) else { return };
        let from = Source { interface: datagram.interface, ip, local };
        match message::parse(&datagram.payload) {
            Ok(SsdpMessage::Alive(presence)) => self.present(presence, from, now),
            // Answers are unicast by nature; one to the group would be a way to speak to all control points at once.
            Ok(SsdpMessage::Answer(presence)) if !datagram.multicast => self.present(presence, from, now),
            Ok(SsdpMessage::ByeBye(byebye)) => self.leaving(&byebye, from, now),
            Ok(SsdpMessage::Update(update)) => self.updating(&update, from),
            Ok(SsdpMessage::Answer(_) | SsdpMessage::Search(_)) | Err(_) => {}
        }
    }

    /// Searches on every interface and asks every static host, three times within about a second. A search that is under
    /// way is not doubled.
    pub fn search(&mut self, now: BootTime) {
        if self.rounds.iter().all(|(_, on)| on.is_some()) {
            self.plan_search(None, COPIES_WITH_CAUSE, now);
        }
        self.plan_periodic_search(now);
    }

    /// Asks this host too, now and at every search, by unicast: for devices that multicast does not reach (another
    /// network, a container bridge). Its answers are taken although it is no neighbour. Returns whether there was room
    /// for it among the [`SSDP_STATIC_HOSTS_MAX`].
    pub fn search_host(&mut self, host: IpAddr, now: BootTime) -> bool {
        let host = host.to_canonical();
        let known = self.static_hosts.contains(&host);
        if !known && self.static_hosts.len() >= SSDP_STATIC_HOSTS_MAX {
            return false;
        }
        self.static_hosts.insert(host);
        self.search(now);
        true
    }

    /// The machine has slept. Devices whose max-age ran out meanwhile get a few seconds to answer a new search before they
    /// count as gone. Noticed by itself from a timer that comes far too late; calling it as well does no harm.
    pub fn resumed(&mut self, now: BootTime) {
        let until = now + Duration::from_secs(self.mx.into()) + GRACE_AFTER_SLEEP;
        for known in self.devices.values_mut() {
            known.keep_until(until);
        }
        self.wake_at = self.devices.values().filter_map(Known::deadline).min();
        self.search(now);
    }

    /// Drops a device without an event, for one that turned out to be none: its description cannot be read. If it is heard
    /// of again, it appears anew.
    pub fn forget(&mut self, udn: &Udn) {
        self.devices.remove(udn);
    }

    /// Where a known device is.
    pub fn sighting(&self, udn: &Udn) -> Option<Sighting> {
        self.devices.get(udn).map(|known| known.sighting(udn))
    }

    /// How many devices are known.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether no device is known.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<TrackerEvent> {
        self.events.pop_front()
    }

    /// The next order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let round = self.rounds.first().map(|(at, _)| *at);
        earliest(round, earliest(self.search_at, self.wake_at))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: BootTime) {
        if self.poll_timeout().is_some_and(|due| now.since(due) >= LATE_MEANS_SLEPT) {
            self.resumed(now);
        }
        if self.search_at.is_some_and(|at| at <= now) {
            self.plan_search(None, COPIES_PERIODIC, now);
            self.plan_periodic_search(now);
        }
        while let Some((_, on)) = self.rounds.first().copied().filter(|(at, _)| *at <= now) {
            self.rounds.pop_first();
            self.send_search(on);
        }
        if self.wake_at.is_some_and(|at| at <= now) {
            self.settle(now);
        }
    }

    /// Alive or an answer.
    fn present(&mut self, presence: Presence, from: Source, now: BootTime) {
        let location = match presence.location.as_ref().map(|l| l.resolve(from.ip)) {
            Some(Ok(url)) => Some(url.with_scope(from.interface.0)),
            // Someone speaks for another host: not believed at all.
            Some(Err(_)) => return,
            None => None,
        };
        let max_age = presence
            .max_age
            .unwrap_or(Duration::from_secs(SSDP_MAX_AGE_LEAST_S))
            .clamp(Duration::from_secs(SSDP_MAX_AGE_BELIEVED_MIN_S), Duration::from_secs(SSDP_MAX_AGE_BELIEVED_MAX_S));
        let expires = now + max_age;
        if let Some(known) = self.devices.get_mut(&presence.udn) {
            let path = match location {
                Some(location) => {
                    Path { location, interface: from.interface, local: from.local, expires, usable: true }
                }
                // Without LOCATION it still is a sign of life of a way that is known.
                None => match known.path_from(from.interface, from.ip) {
                    Some(path) => Path { expires, ..path.clone() },
                    None => return,
                },
            };
            let heard =
                Heard { path, boot_id: presence.boot_id, config_id: presence.config_id, server: presence.server };
            let change = known.hear(heard, now);
            if let Some(event) = change.and_then(|change| known.tell(&presence.udn, change, now)) {
                self.events.push_back(event);
            }
            self.wake_at = earliest(self.wake_at, known.deadline());
        } else if let Some(location) = location {
            let path = Path { location, interface: from.interface, local: from.local, expires, usable: true };
            self.appear(presence, path, from, now);
        }
    }

    fn appear(&mut self, presence: Presence, path: Path, from: Source, now: BootTime) {
        let matters = presence.target.as_ref().is_some_and(|t| self.targets.iter().any(|wanted| wanted.wants(t)));
        if !matters {
            return;
        }
        // Who is known stays: a flood of new names finds the doors shut, and finds no one thrown out for it.
        let from_there = self.devices.values().filter(|known| known.in_use().location.address().ip() == from.ip);
        if self.devices.len() >= SSDP_DEVICES_MAX
            || from_there.count() >= SSDP_DEVICES_PER_SOURCE_MAX
            || !self.limiter.allow(from.ip, now)
        {
            return;
        }
        let heard = Heard { path, boot_id: presence.boot_id, config_id: presence.config_id, server: presence.server };
        let known = Known::new(heard, now);
        self.wake_at = earliest(self.wake_at, known.deadline());
        self.events.push_back(TrackerEvent::Appeared(known.sighting(&presence.udn)));
        self.devices.insert(presence.udn, known);
    }

    fn leaving(&mut self, byebye: &ByeBye, from: Source, now: BootTime) {
        if let Some(known) = self.devices.get_mut(&byebye.udn)
            && known.path_from(from.interface, from.ip).is_some()
        {
            known.leave(now);
            self.wake_at = earliest(self.wake_at, known.deadline());
        }
    }

    fn updating(&mut self, update: &Update, from: Source) {
        if let Some(known) = self.devices.get_mut(&update.udn)
            && let Some(next) = update.next_boot_id
        {
            // The update may already come from the new address; then its LOCATION must say so.
            let own = update.location.as_ref().is_some_and(|l| l.resolve(from.ip).is_ok());
            if own || known.path_from(from.interface, from.ip).is_some() {
                known.expect_boot_id(update.boot_id, next);
            }
        }
    }

    /// Interfaces changed: own addresses toward devices, and which paths still lead anywhere.
    fn reconsider_paths(&mut self, now: BootTime) {
        for (udn, known) in &mut self.devices {
            let mut change = None;
            for path in known.paths_mut() {
                let ip = path.location.address().ip();
                let interface = self.interfaces.iter().find(|i| i.id == path.interface);
                let local = interface
                    .filter(|i| i.is_neighbour(ip) || self.static_hosts.contains(&ip))
                    .and_then(|i| i.address_toward(ip));
                path.usable = local.is_some();
                if let Some(local) = local.filter(|local| *local != path.local) {
                    path.local = local;
                    change = Some(Change::Moved);
                }
            }
            let switched = known.prefer_usable(now);
            if let Some(event) = switched.or(change).and_then(|change| known.tell(udn, change, now)) {
                self.events.push_back(event);
            }
            self.wake_at = earliest(self.wake_at, known.deadline());
        }
    }

    /// Looks at every device: who said goodbye, who expired, what is owed.
    fn settle(&mut self, now: BootTime) {
        let events = &mut self.events;
        self.devices.retain(|udn, known| match known.settle(udn, now) {
            Ok(event) => {
                events.extend(event);
                true
            }
            Err(why) => {
                events.push_back(TrackerEvent::Gone { udn: udn.clone(), why });
                false
            }
        });
        self.wake_at = self.devices.values().filter_map(Known::deadline).min();
    }

    fn plan_periodic_search(&mut self, now: BootTime) {
        let range = (self.search_every.mul_f64(0.9), self.search_every.mul_f64(1.1));
        self.search_at = Some(now + self.random(range));
    }

    fn plan_search(&mut self, on: Option<InterfaceId>, copies: u32, now: BootTime) {
        let mut at = now + self.random(SEARCH_SPREAD);
        for copy in 0..copies {
            if copy > 0 {
                at = at + self.random(SEARCH_COPY_GAP);
            }
            self.rounds.insert((at, on));
        }
    }

    fn send_search(&mut self, on: Option<InterfaceId>) {
        let groups = self.endpoints.iter().filter(|e| on.is_none_or(|on| on == e.interface));
        let mut to: Vec<(InterfaceId, SocketAddr)> = groups.map(|e| (e.interface, e.group)).collect();
        if on.is_none() {
            to.extend(self.static_hosts.iter().flat_map(|host| self.ways_to(*host)));
        }
        for (interface, to) in to {
            for target in &self.targets {
                let payload = message::write_search(to, target, self.mx, &self.user_agent);
                self.effects.push_back(Effect::Send(Transmit { interface, channel: Channel::Ssdp, to, payload }));
            }
        }
    }

    /// The interfaces a unicast to `host` leaves from: those on its network, else one of its family (routed).
    fn ways_to(&self, host: IpAddr) -> Vec<(InterfaceId, SocketAddr)> {
        let to = |interface: &Interface| match host {
            IpAddr::V6(a) if a.is_unicast_link_local() => SocketAddrV6::new(a, SSDP_PORT, 0, interface.id.0).into(),
            _ => SocketAddr::new(host, SSDP_PORT),
        };
        let direct = self.interfaces.iter().filter(|i| i.is_neighbour(host));
        let ways: Vec<_> = direct.map(|i| (i.id, to(i))).collect();
        if ways.is_empty() {
            let routed = self.interfaces.iter().find(|i| i.address_toward(host).is_some());
            return routed.map(|i| (i.id, to(i))).into_iter().collect();
        }
        ways
    }

    fn random(&mut self, (from, to): (Duration, Duration)) -> Duration {
        from + (to - from).mul_f64(self.rng.f64())
    }
}

/// Where a datagram came from.
#[derive(Clone, Copy)]
struct Source {
    interface: InterfaceId,
    ip: IpAddr,
    /// Our address toward it.
    local: IpAddr,
}
