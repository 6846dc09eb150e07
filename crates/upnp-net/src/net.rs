//! The driver itself: holds the sockets that the usable interfaces call for, and passes values both ways.

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};
use upnp::net::{Channel, Datagram, Effect, HttpAnswer, IncomingRequest, Interface, InterfaceId, Transmit};
use upnp::net::{EVENT_PORT, EVENT_V4, EVENT_V6_LINK, SSDP_PORT, SSDP_V4, SSDP_V6_LINK, SSDP_V6_SITE};

use crate::client::Client;
use crate::config::{InterfaceFilter, NetConfig};
use crate::interfaces::{InterfaceWatch, usable_now};
use crate::limits;
use crate::server::{self, Listener, Responder, Server};
use crate::sockets::{self, Endpoint, Role, scoped};

/// Why the driver cannot start. Once it has started, nothing stops it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The kernel's interface tables cannot be read or watched.
    #[error("cannot read the network interfaces")]
    Interfaces(#[source] io::Error),
    /// The HTTP port is taken or not allowed on one of the addresses.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// No port is free on all addresses.
    #[error("no TCP port is free on all addresses")]
    NoFreePort,
}

/// What comes in from the network.
#[derive(Debug)]
pub enum NetEvent {
    /// The usable interfaces, all of them: as found at start (always the first event), and whenever they change. The sockets
    /// fit them already.
    Interfaces(Vec<Interface>),
    /// A datagram on one of the two UPnP multicast services.
    Datagram(Datagram),
    /// An HTTP request, whole, and the way to answer it.
    Request(IncomingRequest, Responder),
    /// What came of an [`Effect::Request`].
    Answer(HttpAnswer),
}

type EndpointKey = (InterfaceId, Role);

/// The network driver of one daemon. Lives on a tokio current-thread runtime with time and io enabled.
#[derive(Debug)]
pub struct Net {
    config: NetConfig,
    http_port: u16,
    interfaces: Vec<Interface>,
    /// [`NetEvent::Interfaces`] is due.
    announce: bool,
    watch: InterfaceWatch,
    /// The watch failed and is set up again then.
    rewatch_at: Option<Instant>,
    endpoints: BTreeMap<EndpointKey, Endpoint>,
    /// By address alone: a listener stays when its address moves to another link.
    listeners: BTreeMap<SocketAddr, Listener>,
    /// What could not be bound, said once in the log.
    unbound: BTreeSet<SocketAddr>,
    retry_at: Option<Instant>,
    retry_after: Duration,
    datagrams: mpsc::Receiver<Datagram>,
    /// Kept so that the channel never closes; each endpoint has its own.
    datagrams_in: mpsc::Sender<Datagram>,
    server: Arc<Server>,
    requests: mpsc::Receiver<(IncomingRequest, Responder)>,
    client: Client,
    client_due: Option<Instant>,
    /// A request or an answer has come since `client_due` was set.
    client_changed: bool,
    alarm: Alarm,
}

impl Net {
    /// Reads the interfaces, binds every socket they call for and begins to watch for changes.
    ///
    /// Without any usable interface it starts all the same and waits for one. It fails when the tables cannot be read, and
    /// when the HTTP port is taken by another program; a UDP socket that cannot be bound is tried again later.
    pub async fn bind(config: NetConfig) -> Result<Self, NetError> {
        let watch = InterfaceWatch::open().map_err(NetError::Interfaces)?;
        let interfaces = usable_now(&config.interfaces, config.ipv6).map_err(NetError::Interfaces)?;
        let http_port = match config.http_port {
            0 => free_port(&interfaces)?,
            port => port,
        };
        let (datagrams_in, datagrams) = mpsc::channel(limits::DATAGRAMS_QUEUED_MAX);
        let (server, requests) = Server::new(config.server.clone());
        let mut net = Self {
            client: Client::new(config.client.clone()),
            config,
            http_port,
            interfaces,
            announce: true,
            watch,
            rewatch_at: None,
            endpoints: BTreeMap::new(),
            listeners: BTreeMap::new(),
            unbound: BTreeSet::new(),
            retry_at: None,
            retry_after: limits::BIND_RETRY_MIN,
            datagrams,
            datagrams_in,
            server,
            requests,
            client_due: None,
            client_changed: false,
            alarm: Alarm::new(),
        };
        net.bind_listeners(&mut |address, source| match source.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(NetError::Listen { address, source }),
            _ => Ok(()),
        })?;
        net.bind_all();
        Ok(net)
    }

    /// The TCP port of the HTTP listeners, the same on every address and for the life of this value.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// The usable interfaces as of the latest [`NetEvent::Interfaces`].
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Uses other interfaces or addresses from now on; [`NetEvent::Interfaces`] follows if that changes anything.
    pub fn set_interfaces(&mut self, filter: InterfaceFilter) {
        if self.config.interfaces != filter {
            self.config.interfaces = filter;
            self.watch.again();
        }
    }

    /// Waits for the next event. Cancel safe: an event is either returned or still to come.
    pub async fn next(&mut self) -> NetEvent {
        loop {
            if core::mem::take(&mut self.announce) {
                return NetEvent::Interfaces(self.interfaces.clone());
            }
            if core::mem::take(&mut self.client_changed) {
                self.tend_client(Instant::now());
            }
            let due = [self.watch.settles_at(), self.retry_at, self.rewatch_at, self.client_due];
            self.alarm.set(due.into_iter().flatten().min());
            // Fair among the branches, so that a flood on one of them delays the others but never stops them.
            tokio::select! {
                Some(datagram) = self.datagrams.recv() => {
                    tracing::trace!(
                        target: "upnp::traffic", from = %datagram.from, multicast = datagram.multicast,
                        payload = %datagram.payload.escape_ascii(), "datagram in"
                    );
                    return NetEvent::Datagram(datagram);
                }
                Some((request, responder)) = self.requests.recv() => {
                    tracing::trace!(
                        target: "upnp::traffic", peer = %request.peer, method = %request.request.method(),
                        uri = %request.request.uri(), "request in"
                    );
                    return NetEvent::Request(request, responder);
                }
                answer = self.client.answer() => {
                    self.client_changed = true;
                    if let Some(answer) = answer {
                        tracing::trace!(target: "upnp::traffic", id = ?answer.id, result = ?status(&answer), "answer in");
                        return NetEvent::Answer(answer);
                    }
                }
                noticed = self.watch.noticed(), if self.rewatch_at.is_none() => {
                    if let Err(e) = noticed {
                        tracing::warn!(%e, "lost sight of interface changes, will look again");
                        self.rewatch_at = Some(Instant::now() + limits::BIND_RETRY_MAX);
                    }
                }
                () = self.alarm.rings() => self.act_in_time(Instant::now()),
            }
        }
    }

    /// Carries out an order. Never waits; what comes of it comes out of [`Self::next`].
    pub fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Send(transmit) => self.send(&transmit),
            Effect::Request(request) => {
                tracing::trace!(
                    target: "upnp::traffic", to = %request.to, method = %request.request.method(),
                    uri = %request.request.uri(), "request out"
                );
                let from = source_toward(&self.interfaces, request.to);
                self.client.request(request, from);
                self.client_changed = true;
            }
            Effect::KeepConnected(peers) => {
                tracing::debug!(?peers, "to stay connected to");
                self.client.keep(&peers);
                self.client_changed = true;
            }
        }
    }

    fn send(&self, transmit: &Transmit) {
        let Transmit { interface, to, .. } = *transmit;
        let source = self.interfaces.iter().find(|i| i.id == interface).and_then(|i| source_for(i, to.ip()));
        let Some(source) = source else {
            tracing::debug!(?interface, %to, "no address to send from");
            return;
        };
        // See the sockets' module for which leaves from where.
        let answers = transmit.channel == Channel::Ssdp && !to.ip().is_multicast() && to.port() != SSDP_PORT;
        let service = || self.endpoints.get(&(interface, Role::Service(source))).filter(|_| answers);
        let Some(endpoint) = service().or_else(|| self.endpoints.get(&(interface, Role::Search(source)))) else {
            tracing::debug!(?interface, %to, "no socket to send from");
            return;
        };
        match endpoint.send(to, &transmit.payload) {
            Ok(()) => tracing::trace!(
                target: "upnp::traffic", %to, payload = %transmit.payload.escape_ascii(), "datagram out"
            ),
            Err(e) => tracing::debug!(%e, ?interface, %to, "datagram not sent"),
        }
    }

    fn tend_client(&mut self, now: Instant) {
        self.client_due = self.client.tend(now, |to| source_toward(&self.interfaces, to));
    }

    fn act_in_time(&mut self, now: Instant) {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if passed(self.rewatch_at) {
            match InterfaceWatch::open() {
                Ok(watch) => {
                    (self.watch, self.rewatch_at) = (watch, None);
                    self.watch.again();
                }
                Err(_) => self.rewatch_at = Some(now + limits::BIND_RETRY_MAX),
            }
        }
        if let Some(removed) = self.watch.poll_settled(now) {
            self.refresh(&removed);
        }
        if passed(self.retry_at) {
            self.bind_all();
        }
        if passed(self.client_due) {
            self.tend_client(now);
        }
    }

    /// Fits the sockets to the interfaces as they are now.
    fn refresh(&mut self, removed: &BTreeSet<InterfaceId>) {
        let interfaces = match usable_now(&self.config.interfaces, self.config.ipv6) {
            Ok(interfaces) => interfaces,
            Err(e) => {
                tracing::debug!(%e, "cannot read the network interfaces, will try again");
                return self.watch.again();
            }
        };
        // A link that was removed took its memberships along, even if one of the same index is back.
        self.endpoints.retain(|(interface, _), _| !removed.contains(interface));
        if interfaces != self.interfaces {
            tracing::debug!(?interfaces, "interfaces changed");
            self.interfaces = interfaces;
            self.announce = true;
            self.client.forget_connections();
            self.client_changed = true;
        }
        self.retry_after = limits::BIND_RETRY_MIN;
        self.bind_all();
    }

    /// Closes what is not called for any more, binds what is missing, and plans another try for what cannot be bound.
    fn bind_all(&mut self) {
        let wanted = wanted_endpoints(&self.interfaces);
        self.endpoints.retain(|key, _| wanted.contains(key));
        let mut failed = Vec::new();
        for key @ (interface, role) in wanted {
            if self.endpoints.contains_key(&key) {
                continue;
            }
            match Endpoint::open(role, interface, self.config.multicast_ttl, self.datagrams_in.clone()) {
                Ok(endpoint) => drop(self.endpoints.insert(key, endpoint)),
                Err(e) => failed.push((role.bound_to(interface), e)),
            }
        }
        let listening = self.bind_listeners(&mut |address, e| -> Result<(), core::convert::Infallible> {
            failed.push((address, e));
            Ok(())
        });
        match listening {
            Ok(()) => {}
        }
        let before = core::mem::take(&mut self.unbound);
        for (address, e) in failed {
            if !before.contains(&address) {
                tracing::warn!(%address, %e, "cannot bind, will go on trying");
            }
            self.unbound.insert(address);
        }
        for address in before.difference(&self.unbound) {
            tracing::debug!(%address, "bound, or not needed any more");
        }
        self.retry_at = (!self.unbound.is_empty()).then(|| Instant::now() + self.retry_after);
        self.retry_after = if self.unbound.is_empty() {
            limits::BIND_RETRY_MIN
        } else {
            (self.retry_after * 2).min(limits::BIND_RETRY_MAX)
        };
    }

    fn bind_listeners<E>(&mut self, failed: &mut dyn FnMut(SocketAddr, io::Error) -> Result<(), E>) -> Result<(), E> {
        let own =
            |i: &Interface| i.addresses.iter().map(|a| listening_address(i.id, a.address, self.http_port)).collect();
        let wanted: BTreeSet<SocketAddr> = self.interfaces.iter().flat_map::<Vec<_>, _>(own).collect();
        self.listeners.retain(|address, _| wanted.contains(address));
        for address in wanted {
            if self.listeners.contains_key(&address) {
                continue;
            }
            match Listener::open(address, &self.server) {
                Ok(listener) => {
                    tracing::debug!(%address, "listening");
                    self.listeners.insert(address, listener);
                }
                Err(e) => failed(address, e)?,
            }
        }
        Ok(())
    }
}

fn listening_address(interface: InterfaceId, address: IpAddr, port: u16) -> SocketAddr {
    scoped(SocketAddr::new(address, port), interface)
}

impl Drop for Net {
    fn drop(&mut self) {
        self.server.close();
    }
}

fn wanted_endpoints(interfaces: &[Interface]) -> BTreeSet<EndpointKey> {
    let v4_groups = [Role::Group(SSDP_V4.into(), SSDP_PORT), Role::Group(EVENT_V4.into(), EVENT_PORT)];
    let v6_groups = [
        Role::Group(SSDP_V6_LINK.into(), SSDP_PORT),
        Role::Group(SSDP_V6_SITE.into(), SSDP_PORT),
        Role::Group(EVENT_V6_LINK.into(), EVENT_PORT),
    ];
    let of_interface = |i: &Interface| {
        let has = |v4: bool| i.addresses.iter().any(|a| a.address.is_ipv4() == v4);
        let own = i.addresses.iter().flat_map(|a| [Role::Service(a.address), Role::Search(a.address)]);
        let groups = v4_groups.into_iter().filter(|_| has(true)).chain(v6_groups.into_iter().filter(|_| has(false)));
        own.chain(groups).map(|role| (i.id, role)).collect::<Vec<_>>()
    };
    interfaces.iter().flat_map(of_interface).collect()
}

/// The address of ours a datagram to `to` leaves from: for an IPv6 group one of its scope, link-local or wider (UDA 1.1, annex
/// A: what is announced in a group has an address of the group's scope), else the one a neighbour is told.
fn source_for(interface: &Interface, to: IpAddr) -> Option<IpAddr> {
    let fits = |own: &IpAddr| match (own, to) {
        (IpAddr::V6(own), IpAddr::V6(to)) if to.is_multicast() => {
            own.is_unicast_link_local() == sockets::is_link_local_group(&to)
        }
        _ => false,
    };
    interface.addresses.iter().map(|a| a.address).find(fits).or_else(|| interface.address_toward(to))
}

/// The address a peer knows us by: ours on the one interface that reaches it. Where several do, or none does directly, the
/// routing table chooses.
fn source_toward(interfaces: &[Interface], to: SocketAddr) -> Option<IpAddr> {
    let scope = match to {
        SocketAddr::V6(a) => a.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    let mut reaching = interfaces.iter().filter(|i| if scope == 0 { i.is_neighbour(to.ip()) } else { i.id.0 == scope });
    let interface = reaching.next()?;
    match reaching.next() {
        None => interface.addresses.iter().find(|a| a.contains(to.ip())).map(|a| a.address),
        Some(_) => None,
    }
}

/// A TCP port that is free on all addresses of the interfaces, or on the loopback address where there is no interface.
fn free_port(interfaces: &[Interface]) -> Result<u16, NetError> {
    let own = |i: &Interface| i.addresses.iter().map(|a| listening_address(i.id, a.address, 0)).collect();
    let mut addresses: Vec<SocketAddr> = interfaces.iter().flat_map::<Vec<_>, _>(own).collect();
    if addresses.is_empty() {
        addresses.push((Ipv4Addr::LOCALHOST, 0).into());
    }
    for _ in 0..limits::FREE_PORT_TRIES_MAX {
        // An address that vanishes meanwhile cannot be bound at all; any other one will do to find a port.
        let Some(port) = addresses.iter().find_map(|a| server::free_port(*a).ok()) else { continue };
        let taken = |a: &mut SocketAddr| {
            a.set_port(port);
            matches!(server::free_port(*a), Err(e) if e.kind() == io::ErrorKind::AddrInUse)
        };
        if !addresses.iter_mut().any(taken) {
            return Ok(port);
        }
        addresses.iter_mut().for_each(|a| a.set_port(0));
    }
    Err(NetError::NoFreePort)
}

fn status(answer: &HttpAnswer) -> Result<u16, String> {
    answer.result.as_ref().map(|r| r.status().as_u16()).map_err(ToString::to_string)
}

/// One timer for everything the driver has to do in time.
#[derive(Debug)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    at: Option<Instant>,
}

impl Alarm {
    fn new() -> Self {
        Self { sleep: None, at: None }
    }

    fn set(&mut self, at: Option<Instant>) {
        if self.at == at {
            return;
        }
        self.at = at;
        match (&mut self.sleep, at) {
            (Some(sleep), Some(at)) => sleep.as_mut().reset(at),
            (None, Some(at)) => self.sleep = Some(Box::pin(sleep_until(at))),
            (_, None) => self.sleep = None,
        }
    }

    /// Waits for the time set; for ever if none is. Cancel safe.
    async fn rings(&mut self) {
        match &mut self.sleep {
            Some(sleep) => {
                core::future::poll_fn(|cx| sleep.as_mut().poll(cx)).await;
                (self.sleep, self.at) = (None, None);
            }
            None => core::future::pending().await,
        }
    }
}
