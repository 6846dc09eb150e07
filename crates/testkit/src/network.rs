//! A network in memory: hosts on segments, datagrams that may be lost, late or doubled, HTTP between hosts, all in virtual
//! time and from one seed.
//!
//! [`SimNetwork`] plays the driver for state machines of the `upnp` kind: it carries out their effects and wakes them. It
//! goes from wake-up to wake-up, never in fixed steps, so that an hour of a quiet house costs nothing. A host that asks to be
//! woken at once, over and over, is a bug and panics here instead of burning a processor later.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use bytes::Bytes;
use http::Response;
use upnp::Effect;
use upnp::net::{
    Channel, Datagram, EVENT_PORT, HttpAnswer, HttpError, HttpRequest, IncomingRequest, Interface, RequestId,
    SSDP_PORT, Transmit,
};
use upnp::time::{BootTime, earliest};

/// What runs on a simulated host: the face of a sans-IO program.
pub trait Host {
    /// The host's interfaces, at the start and after every change.
    fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime);
    /// A datagram arrived.
    fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime);
    /// A request arrived. `None` when the answer will come from [`poll_response`](Self::poll_response) later.
    fn handle_request(&mut self, request: IncomingRequest, id: ReplyTo, now: BootTime) -> Option<Response<Bytes>>;
    /// The answer to a request of this host.
    fn handle_answer(&mut self, answer: HttpAnswer, now: BootTime);
    /// Time has passed.
    fn handle_timeout(&mut self, now: BootTime);
    /// The next order.
    fn poll_effect(&mut self) -> Option<Effect>;
    /// The next answer to a request that was not answered at once.
    fn poll_response(&mut self) -> Option<(ReplyTo, Response<Bytes>)> {
        None
    }
    /// When to be woken.
    fn poll_timeout(&self) -> Option<BootTime>;
}

/// Names a host of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(usize);

/// Names a request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(u64);

/// A broadcast domain: a switch with what is plugged into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment(pub u32);

/// What goes wrong, and how often.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Share of datagrams lost, each receiver for itself, 0 to 1.
    pub loss: f64,
    /// Share of datagrams that arrive twice, 0 to 1.
    pub duplication: f64,
    /// Time on the way, from and to; datagrams overtake one another.
    pub delay: (Duration, Duration),
    /// Share of requests that find no connection, 0 to 1.
    pub connect_failure: f64,
    /// Share of requests that are carried out but whose answer is lost with the connection, 0 to 1.
    pub reply_loss: f64,
}

impl Default for Faults {
    /// A good cable.
    fn default() -> Self {
        Self {
            loss: 0.0,
            duplication: 0.0,
            delay: (Duration::from_micros(200), Duration::from_millis(1)),
            connect_failure: 0.0,
            reply_loss: 0.0,
        }
    }
}

/// What a host is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Running.
    Up,
    /// The program is not running, the host is: connections are refused.
    Stopped,
    /// Frozen, with its link down: nothing is received, no timer fires, peers get no answer. It wakes where it was.
    Asleep,
}

/// What a host has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams sent; a multicast is one.
    pub datagrams: u64,
    /// Their contents, bytes.
    pub datagram_bytes: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests answered.
    pub responses: u64,
}

/// A connection attempt to a host that is not there fails after this, as ARP gives up.
const NO_SUCH_HOST_AFTER: Duration = Duration::from_secs(3);
/// Wake-ups of one host at one instant that count as a loop without end.
const WAKEUPS_AT_ONCE_MAX: u32 = 1000;

struct Station<H> {
    program: H,
    power: Power,
    links: Vec<(Segment, Interface, bool)>,
    http_port: u16,
    traffic: Traffic,
    /// As its program said last; also in `wakeups`.
    due: Option<BootTime>,
    /// Wake-ups at the present instant.
    woken: (BootTime, u32),
}

enum Arrival {
    Datagram { to: HostId, datagram: Datagram },
    Request { from: HostId, number: u64, incoming: IncomingRequest, to: HostId },
    Answer { number: u64, result: Result<Response<Bytes>, HttpError> },
}

/// A request under way.
struct Exchange {
    from: HostId,
    id: RequestId,
    deadline: BootTime,
    body_bytes_max: usize,
}

/// Hosts, the segments between them, and virtual time.
pub struct SimNetwork<H> {
    now: BootTime,
    rng: fastrand::Rng,
    faults: Faults,
    stations: Vec<Station<H>>,
    arrivals: BTreeMap<(BootTime, u64), Arrival>,
    wakeups: BTreeSet<(BootTime, HostId)>,
    exchanges: BTreeMap<u64, Exchange>,
    next: u64,
}

impl<H: Host> SimNetwork<H> {
    /// A network without hosts.
    pub fn new(seed: u64) -> Self {
        Self {
            now: BootTime::ZERO,
            rng: fastrand::Rng::with_seed(seed),
            faults: Faults::default(),
            stations: Vec::new(),
            arrivals: BTreeMap::new(),
            wakeups: BTreeSet::new(),
            exchanges: BTreeMap::new(),
            next: 0,
        }
    }

    /// What goes wrong from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Now.
    pub fn now(&self) -> BootTime {
        self.now
    }

    /// Adds a host that listens for HTTP on `http_port` of all its addresses, and tells it its interfaces.
    pub fn add(&mut self, program: H, http_port: u16, links: Vec<(Segment, Interface)>) -> HostId {
        let id = HostId(self.stations.len());
        let links = links.into_iter().map(|(segment, interface)| (segment, interface, true)).collect();
        self.stations.push(Station {
            program,
            power: Power::Up,
            links,
            http_port,
            traffic: Traffic::default(),
            due: None,
            woken: (BootTime::ZERO, 0),
        });
        self.tell_interfaces(id);
        id
    }

    /// The program of a host, to look at.
    pub fn host(&self, id: HostId) -> &H {
        &self.stations[id.0].program
    }

    /// All hosts, in the order they were added.
    pub fn hosts(&self) -> impl Iterator<Item = (HostId, &H)> {
        self.stations.iter().enumerate().map(|(i, s)| (HostId(i), &s.program))
    }

    /// Does something to a program, then carries out what it orders.
    pub fn with<R>(&mut self, id: HostId, f: impl FnOnce(&mut H, BootTime) -> R) -> R {
        let now = self.now();
        let result = f(&mut self.stations[id.0].program, now);
        self.carry_out(id);
        result
    }

    /// What a host is doing.
    pub fn power(&self, id: HostId) -> Power {
        self.stations[id.0].power
    }

    /// Freezes a host or stops its program. What it had under way gets no answer.
    pub fn set_power(&mut self, id: HostId, power: Power) {
        let before = core::mem::replace(&mut self.stations[id.0].power, power);
        if before == Power::Asleep {
            let now = self.now();
            let dead = self.exchanges.iter().filter(|(_, e)| e.from == id && e.deadline <= now);
            for number in dead.map(|(number, _)| *number).collect::<Vec<_>>() {
                self.arrive(now, Arrival::Answer { number, result: Err(HttpError::Timeout) });
            }
        }
        if power == Power::Up {
            self.carry_out(id);
        } else {
            self.set_wakeup(id);
        }
    }

    /// Starts another program on a host (it booted, or was updated), which is told its interfaces. Returns the old one.
    pub fn replace(&mut self, id: HostId, program: H) -> H {
        self.exchanges.retain(|_, e| e.from != id);
        let old = core::mem::replace(&mut self.stations[id.0].program, program);
        self.stations[id.0].power = Power::Up;
        self.tell_interfaces(id);
        old
    }

    /// Gives a host other links or addresses, and tells it.
    pub fn set_links(&mut self, id: HostId, links: Vec<(Segment, Interface)>) {
        self.stations[id.0].links = links.into_iter().map(|(segment, interface)| (segment, interface, true)).collect();
        self.tell_interfaces(id);
    }

    /// Pulls or plugs the cables of a host without telling it: what a switch or a radio link does.
    pub fn set_connected(&mut self, id: HostId, connected: bool) {
        for (.., up) in &mut self.stations[id.0].links {
            *up = connected;
        }
    }

    /// What a host has sent so far.
    pub fn traffic(&self, id: HostId) -> Traffic {
        self.stations[id.0].traffic
    }

    /// When something happens next.
    pub fn next_wakeup(&self) -> Option<BootTime> {
        let arrival = self.arrivals.keys().next().map(|(at, _)| *at);
        earliest(arrival, self.wakeups.first().map(|(at, _)| *at))
    }

    /// Goes to the next wake-up and does all that is due. False when nothing will ever happen again.
    pub fn step(&mut self) -> bool {
        let Some(next) = self.next_wakeup() else {
            return false;
        };
        self.now = self.now.max(next);
        let now = self.now();
        while let Some(entry) = self.arrivals.first_entry().filter(|e| e.key().0 <= now) {
            let arrival = entry.remove();
            self.deliver(arrival);
        }
        while let Some((_, id)) = self.wakeups.first().copied().filter(|(at, _)| *at <= now) {
            let station = &mut self.stations[id.0];
            station.note_wakeup(now);
            station.program.handle_timeout(now);
            self.carry_out(id);
        }
        true
    }

    /// Goes on until `condition` holds; false when it does not by `deadline`, which is then the time.
    pub fn run_until(&mut self, deadline: BootTime, mut condition: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if condition(self) {
                return true;
            }
            if self.next_wakeup().is_none_or(|next| next > deadline) {
                self.now = self.now.max(deadline);
                return false;
            }
            self.step();
        }
    }

    /// Goes on for a while.
    pub fn run_for(&mut self, time: Duration) {
        let deadline = self.now() + time;
        self.run_until(deadline, |_| false);
    }

    fn tell_interfaces(&mut self, id: HostId) {
        let interfaces: Vec<_> = self.stations[id.0].links.iter().map(|(_, i, _)| i.clone()).collect();
        self.with(id, |program, now| program.handle_interfaces(&interfaces, now));
    }

    fn carry_out(&mut self, id: HostId) {
        while let Some(effect) = self.stations[id.0].program.poll_effect() {
            match effect {
                Effect::Send(transmit) => self.transmit(id, &transmit),
                Effect::Request(request) => self.request(id, request),
                // There are no connections here, so none is cold.
                Effect::KeepConnected(_) => {}
            }
        }
        while let Some((ReplyTo(number), response)) = self.stations[id.0].program.poll_response() {
            self.respond(id, number, response);
        }
        self.set_wakeup(id);
    }

    fn set_wakeup(&mut self, id: HostId) {
        let station = &mut self.stations[id.0];
        let due = if station.power == Power::Up { station.program.poll_timeout() } else { None };
        if let Some(before) = core::mem::replace(&mut station.due, due) {
            self.wakeups.remove(&(before, id));
        }
        self.wakeups.extend(due.map(|due| (due, id)));
    }

    fn transmit(&mut self, from: HostId, transmit: &Transmit) {
        let station = &mut self.stations[from.0];
        station.traffic.datagrams += 1;
        station.traffic.datagram_bytes += transmit.payload.len() as u64;
        let Some((segment, interface, true)) = station.links.iter().find(|(_, i, _)| i.id == transmit.interface) else {
            return;
        };
        let (segment, to_ip) = (*segment, transmit.to.ip());
        let Some(source) = source_address(interface, to_ip) else {
            return;
        };
        let (channel, port) = match transmit.to.port() {
            SSDP_PORT => (Channel::Ssdp, SSDP_PORT),
            EVENT_PORT => (Channel::Events, EVENT_PORT),
            _ => return,
        };
        let multicast = to_ip.is_multicast();
        let mut receivers = Vec::new();
        for (index, station) in self.stations.iter().enumerate() {
            for (on, interface, up) in &station.links {
                let addressed = multicast || interface.addresses.iter().any(|a| a.address == to_ip);
                // Link-local multicast reaches the sender's own other programs too.
                if *on == segment && *up && addressed {
                    receivers.push((HostId(index), interface.id));
                }
            }
        }
        for (to, interface) in receivers {
            let from = with_scope(SocketAddr::new(source, port), interface.0);
            let payload = transmit.payload.clone();
            let datagram = Datagram { interface, channel, multicast, from, payload };
            if self.chance(self.faults.loss) {
                continue;
            }
            let copies = if self.chance(self.faults.duplication) { 2 } else { 1 };
            for _ in 0..copies {
                let at = self.now() + self.delay();
                self.arrive(at, Arrival::Datagram { to, datagram: datagram.clone() });
            }
        }
    }

    fn request(&mut self, from: HostId, request: HttpRequest) {
        self.stations[from.0].traffic.requests += 1;
        let number = self.number();
        let (now, to) = (self.now(), request.to);
        let deadline = now + request.within;
        let exchange = Exchange { from, id: request.id, deadline, body_bytes_max: request.response_body_bytes_max };
        self.exchanges.insert(number, exchange);
        // Whatever becomes of it, an answer is due by the deadline.
        self.arrive(deadline, Arrival::Answer { number, result: Err(HttpError::Timeout) });
        let fail_at = |at: BootTime, why: &str| {
            let error = if at >= deadline { HttpError::Timeout } else { HttpError::Connect(why.to_owned()) };
            (at.min(deadline), Arrival::Answer { number, result: Err(error) })
        };
        let found = self.route(from, to.ip());
        let (at, arrival) = match found {
            None => fail_at(now + NO_SUCH_HOST_AFTER, "no route to host"),
            Some((target, _)) if self.stations[target.0].power == Power::Asleep => {
                fail_at(now + NO_SUCH_HOST_AFTER, "no route to host")
            }
            Some((target, _))
                if self.stations[target.0].power == Power::Stopped
                    || self.stations[target.0].http_port != to.port()
                    || self.chance(self.faults.connect_failure) =>
            {
                fail_at(now + self.delay(), "connection refused")
            }
            Some((target, own)) => {
                let peer = SocketAddr::new(own, 32_768 + (number % 28_000) as u16);
                let incoming = IncomingRequest { peer, local: to, request: request.request };
                (now + self.delay(), Arrival::Request { from, number, incoming, to: target })
            }
        };
        self.arrive(at, arrival);
    }

    fn respond(&mut self, from: HostId, number: u64, response: Response<Bytes>) {
        self.stations[from.0].traffic.responses += 1;
        let Some(body_bytes_max) = self.exchanges.get(&number).map(|e| e.body_bytes_max) else {
            return; // too late, or the asker is gone
        };
        let result = if self.chance(self.faults.reply_loss) {
            Err(HttpError::Broken("connection reset".into()))
        } else if response.body().len() > body_bytes_max {
            Err(HttpError::TooLarge)
        } else {
            Ok(response)
        };
        let at = self.now() + self.delay();
        self.arrive(at, Arrival::Answer { number, result });
    }

    fn deliver(&mut self, arrival: Arrival) {
        let now = self.now();
        match arrival {
            Arrival::Datagram { to, datagram } => {
                if self.is_reachable(to) {
                    self.stations[to.0].program.handle_datagram(&datagram, now);
                    self.carry_out(to);
                }
            }
            Arrival::Request { from, number, incoming, to } => {
                // A host that fell asleep meanwhile answers nothing; the deadline does.
                if self.is_reachable(to) && self.is_reachable(from) {
                    let answer = self.stations[to.0].program.handle_request(incoming, ReplyTo(number), now);
                    if let Some(response) = answer {
                        self.respond(to, number, response);
                    }
                    self.carry_out(to);
                }
            }
            Arrival::Answer { number, result } => {
                let Some(exchange) = self.exchanges.get(&number) else {
                    return;
                };
                let (from, deadline) = (exchange.from, exchange.deadline);
                if self.stations[from.0].power == Power::Asleep {
                    return; // when it wakes, the connection is dead
                }
                if now < deadline && result.is_ok() && !self.is_reachable(from) {
                    return; // the cable is out; the deadline answers
                }
                let Some(exchange) = self.exchanges.remove(&number) else {
                    return;
                };
                if self.stations[from.0].power == Power::Up {
                    self.stations[from.0].program.handle_answer(HttpAnswer { id: exchange.id, result }, now);
                    self.carry_out(from);
                }
            }
        }
    }

    /// The host with that address on a segment `from` shares, and the address it sees `from` under.
    fn route(&self, from: HostId, to: IpAddr) -> Option<(HostId, IpAddr)> {
        for (segment, own, up) in &self.stations[from.0].links {
            for (index, station) in self.stations.iter().enumerate() {
                let has_it = |(on, interface, connected): &(Segment, Interface, bool)| {
                    on == segment && *connected && interface.addresses.iter().any(|a| a.address == to)
                };
                if *up && station.links.iter().any(has_it) {
                    return Some((HostId(index), source_address(own, to)?));
                }
            }
        }
        None
    }

    fn is_reachable(&self, id: HostId) -> bool {
        let station = &self.stations[id.0];
        station.power == Power::Up && station.links.iter().any(|(.., up)| *up)
    }

    fn arrive(&mut self, at: BootTime, arrival: Arrival) {
        let number = self.number();
        self.arrivals.insert((at, number), arrival);
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn delay(&mut self) -> Duration {
        let (from, to) = self.faults.delay;
        from + to.saturating_sub(from).mul_f64(self.rng.f64())
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.f64() < share
    }
}

impl<H> Station<H> {
    fn note_wakeup(&mut self, now: BootTime) {
        self.woken = if self.woken.0 == now { (now, self.woken.1 + 1) } else { (now, 1) };
        assert!(self.woken.1 < WAKEUPS_AT_ONCE_MAX, "a host asks for a wake-up at {now:?} without end");
    }
}

impl<H> fmt::Debug for SimNetwork<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimNetwork").field("now", &self.now).field("hosts", &self.stations.len()).finish()
    }
}

/// The own address a kernel would send from: of the receiver's family, and link-local toward link-local.
fn source_address(interface: &Interface, to: IpAddr) -> Option<IpAddr> {
    let is_link_local = |a: &IpAddr| match a {
        IpAddr::V4(_) => false,
        IpAddr::V6(a) => a.is_unicast_link_local(),
    };
    let to_link_local = match to {
        IpAddr::V4(_) => false,
        IpAddr::V6(a) => a.is_unicast_link_local() || (a.is_multicast() && a.segments()[0] & 0xf == 2),
    };
    let own = interface.addresses.iter().map(|a| a.address).filter(|a| a.is_ipv4() == to.is_ipv4());
    own.clone().find(|a| is_link_local(a) == to_link_local).or_else(|| own.clone().next())
}

fn with_scope(address: SocketAddr, scope_id: u32) -> SocketAddr {
    match address {
        SocketAddr::V6(a) if a.ip().is_unicast_link_local() => SocketAddrV6::new(*a.ip(), a.port(), 0, scope_id).into(),
        other => other,
    }
}
