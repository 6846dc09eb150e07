//! The publisher: takes subscriptions to a device's services and tells subscribers what changed (UDA 1.1, 4.1 to 4.3).
//!
//! In come SUBSCRIBE and UNSUBSCRIBE ([`Publisher::handle_request`]), changes of state variables
//! ([`Publisher::set_variables`]) and the answers to our NOTIFYs. Out go NOTIFY requests, multicast event datagrams, and the
//! peers whose connections are to stay open until the next NOTIFY.
//!
//! A subscription holds no values, only which variables its subscriber has not been told yet. At most one NOTIFY of a
//! subscription is in flight; what changes meanwhile is gathered and goes out in the next one with the latest values, so that
//! a slow subscriber costs one bit per variable and a fast one loses nothing.
//!
//! The first event must follow the reply to its SUBSCRIBE (UDA 1.1, 4.1.2). It is ready in [`Publisher::poll_effect`] as
//! soon as [`Publisher::handle_request`] has returned: who drives this machine hands over the reply before it asks for
//! effects. There is no delay on a timer; the reply is on the wire before the connection for the event is begun.
//!
//! The event before a machine sleeps may be followed by nothing, so what is surest to leave goes first: the datagrams, which
//! need neither a connection nor an address resolution and whose number does not grow with the subscribers; then the NOTIFYs,
//! which are confirmed.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, SERVER};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use super::evented::{Service, Variables};
use super::subscribe::{Refused, callbacks, granted, single};
use crate::http::{TEXT_XML, empty};
use crate::ids::{Sid, Udn, uuid_v4};
use crate::limits::{
    EVENT_DATAGRAM_BYTES_MAX, EVENT_DATAGRAMS_QUEUED_MAX, NOTIFY_ANSWER_BYTES_MAX, NOTIFY_BUSY_RETRY_MS,
    NOTIFY_WITHIN_S, SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_PER_PEER_MAX,
};
use crate::net::{
    Channel, EVENT_PORT, EVENT_V4, EVENT_V6_LINK, Effect, HttpAnswer, HttpError, HttpRequest, IncomingRequest,
    Interface, Owner, RequestId, Transmit,
};
use crate::service::ServiceDecl;
use crate::time::{BootTime, earliest};
use crate::url::HttpUrl;

const NT: HeaderName = HeaderName::from_static("nt");
const NTS: HeaderName = HeaderName::from_static("nts");
const SID: HeaderName = HeaderName::from_static("sid");
const SEQ: HeaderName = HeaderName::from_static("seq");
const CALLBACK: HeaderName = HeaderName::from_static("callback");
const TIMEOUT: HeaderName = HeaderName::from_static("timeout");
const UPNP_EVENT: HeaderValue = HeaderValue::from_static("upnp:event");
const UPNP_PROPCHANGE: HeaderValue = HeaderValue::from_static("upnp:propchange");

/// What a [`Publisher`] publishes.
#[derive(Clone, Debug)]
pub struct PublisherConfig {
    /// The device, for the USN of multicast events.
    pub udn: Udn,
    /// Its services, each with at most 64 evented variables.
    pub services: Vec<&'static ServiceDecl>,
    /// SERVER header.
    pub server: String,
    /// BOOTID.UPNP.ORG of multicast events.
    pub boot_id: u32,
    /// Seeds the SIDs.
    pub seed: u64,
}

/// The subscriptions and evented state of one device.
#[derive(Debug)]
pub struct Publisher {
    udn: Udn,
    server: HeaderValue,
    boot_id: u32,
    rng: fastrand::Rng,
    now: BootTime,
    stopped: bool,
    services: Vec<Service>,
    subscriptions: BTreeMap<Sid, Subscription>,
    /// Subscriptions with something to send and nothing in flight, in the order they became so.
    ready: VecDeque<Sid>,
    in_flight: BTreeMap<u64, Sid>,
    requests: u64,
    interfaces: Vec<Interface>,
    datagrams: VecDeque<Transmit>,
    /// The peers last told to be kept connected,
    kept: BTreeSet<SocketAddr>,
    /// and whether they may be others now.
    kept_doubtful: bool,
}

#[derive(Debug)]
struct Subscription {
    service: usize,
    peer: IpAddr,
    callbacks: Box<[HttpUrl]>,
    /// Index of the callback that worked last.
    preferred: u8,
    /// From before the machine slept: gives way to a new subscription of the same subscriber.
    outdated: bool,
    /// SEQ of the next event.
    seq: u32,
    /// What the subscriber has not been told.
    untold: Variables,
    expires: BootTime,
    delivery: Delivery,
}

#[derive(Debug)]
enum Delivery {
    /// Nothing to send.
    Idle,
    /// In `ready`; a message that already has its SEQ goes first.
    Ready(Option<Message>),
    /// Sent, no answer yet.
    InFlight(Message),
    /// The driver was busy: again then.
    Waits(Message, BootTime),
}

#[derive(Debug)]
struct Message {
    seq: u32,
    body: Bytes,
    /// No attempt begins after it.
    until: BootTime,
    /// Callbacks tried before this one.
    tried: u8,
}

impl Publisher {
    /// A publisher without subscribers. Variables have the least value of their type until they are set.
    ///
    /// # Panics
    /// If a service declares more than 64 evented variables: a declaration is a constant of the program.
    pub fn new(config: PublisherConfig, now: BootTime) -> Self {
        let services = config.services.iter().map(|decl| Service::new(decl)).collect();
        Self {
            udn: config.udn,
            server: HeaderValue::from_str(&config.server).unwrap_or(HeaderValue::from_static("UPnP/1.1")),
            boot_id: config.boot_id,
            rng: fastrand::Rng::with_seed(config.seed),
            now,
            stopped: false,
            services,
            subscriptions: BTreeMap::new(),
            ready: VecDeque::new(),
            in_flight: BTreeMap::new(),
            requests: 0,
            interfaces: Vec::new(),
            datagrams: VecDeque::new(),
            kept: BTreeSet::new(),
            kept_doubtful: false,
        }
    }

    /// The interfaces multicast events go out on.
    pub fn handle_interfaces(&mut self, interfaces: &[Interface]) {
        self.interfaces = interfaces.to_vec();
        self.datagrams.retain(|d| interfaces.iter().any(|i| i.id == d.interface));
    }

    /// BOOTID.UPNP.ORG from now on.
    pub fn set_boot_id(&mut self, boot_id: u32) {
        self.boot_id = boot_id;
    }

    /// Answers a SUBSCRIBE or UNSUBSCRIBE to the event URL of `service`. The reply is to be handed over before the next
    /// [`Self::poll_effect`].
    pub fn handle_request(
        &mut self,
        service: &'static ServiceDecl,
        incoming: &IncomingRequest,
        now: BootTime,
    ) -> Response<Bytes> {
        self.now = now;
        self.expire();
        self.kept_doubtful = true;
        let Some(service) = self.index(service) else { return empty(StatusCode::NOT_FOUND) };
        let answer = match incoming.request.method().as_str() {
            "SUBSCRIBE" => self.subscribe(service, incoming),
            "UNSUBSCRIBE" => self.unsubscribe(service, incoming),
            _ => Err(Refused(StatusCode::METHOD_NOT_ALLOWED)),
        };
        answer.unwrap_or_else(|Refused(status)| empty(status))
    }

    /// Takes new values. Those of evented variables that differ from the old go out, save that a moderated one waits for its
    /// time. Values are not checked against the declaration.
    pub fn set_variables(&mut self, service: &'static ServiceDecl, changes: &[(&'static str, String)], now: BootTime) {
        self.now = now;
        let Some(index) = self.index(service) else { return };
        let service = &mut self.services[index];
        let changed = service.set(changes);
        service.held |= changed;
        self.release(index);
    }

    /// Takes the answer to a NOTIFY.
    pub fn handle_answer(&mut self, answer: HttpAnswer, now: BootTime) {
        self.now = now;
        if answer.id.owner != Owner::Device {
            return;
        }
        let Some(sid) = self.in_flight.remove(&answer.id.number) else { return };
        let Some(subscription) = self.subscriptions.get_mut(&sid) else { return };
        let Delivery::InFlight(message) = core::mem::replace(&mut subscription.delivery, Delivery::Idle) else {
            return;
        };
        match Outcome::of(&answer.result) {
            // The subscriber knows nothing of the subscription (UDA 1.1, 4.2.1): there is nobody to tell.
            Outcome::Unknown => {
                self.subscriptions.remove(&sid);
                self.kept_doubtful = true;
                return;
            }
            Outcome::Told => {}
            Outcome::Busy if now < message.until => {
                let at = (now + Duration::from_millis(NOTIFY_BUSY_RETRY_MS)).min(message.until);
                subscription.delivery = Delivery::Waits(message, at);
                return;
            }
            Outcome::Failed if now < message.until => {
                let tried = message.tried + 1;
                if usize::from(tried) < subscription.callbacks.len() {
                    let next = (usize::from(subscription.preferred) + 1) % subscription.callbacks.len();
                    subscription.preferred = next as u8;
                    self.kept_doubtful = true;
                    subscription.delivery = Delivery::Ready(Some(Message { tried, ..message }));
                    self.ready.push_back(sid);
                    return;
                }
            }
            // Not told in time. The SEQ is spent, so that the subscriber sees the gap and subscribes anew.
            Outcome::Busy | Outcome::Failed => {}
        }
        if subscription.untold != 0 {
            subscription.delivery = Delivery::Ready(None);
            self.ready.push_back(sid);
        }
    }

    /// The machine has slept. Subscriptions that ran out meanwhile end; the others go on, but a subscriber who takes the
    /// new BOOTID for a reboot and subscribes again replaces its old subscription.
    pub fn resumed(&mut self, now: BootTime) {
        self.now = now;
        for subscription in self.subscriptions.values_mut() {
            subscription.outdated = true;
        }
        self.handle_timeout(now);
    }

    /// Ends all subscriptions; nothing is sent from now on and no subscription is taken.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.subscriptions.clear();
        self.kept_doubtful = true;
        self.ready.clear();
        self.in_flight.clear();
        self.datagrams.clear();
    }

    /// Whether some event is queued or not yet answered for. Moderated variables that wait for their time do not count.
    pub fn events_pending(&self) -> bool {
        !self.ready.is_empty()
            || !self.datagrams.is_empty()
            || !self.in_flight.is_empty()
            || self.waits().next().is_some()
    }

    /// Number of subscriptions.
    pub fn subscribers(&self) -> usize {
        self.subscriptions.len()
    }

    /// The next order: datagrams, then NOTIFYs, then the peers to keep connected.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if let Some(datagram) = self.datagrams.pop_front() {
            return Some(Effect::Send(datagram));
        }
        while let Some(sid) = self.ready.pop_front() {
            if let Some(request) = self.notify(&sid) {
                return Some(Effect::Request(request));
            }
        }
        self.keep_connected()
    }

    fn keep_connected(&mut self) -> Option<Effect> {
        if !core::mem::take(&mut self.kept_doubtful) {
            return None;
        }
        let preferred = |s: &Subscription| s.callbacks.get(usize::from(s.preferred)).map(HttpUrl::address);
        let peers: BTreeSet<_> = self.subscriptions.values().filter_map(preferred).collect();
        (peers != self.kept).then(|| {
            self.kept.clone_from(&peers);
            Effect::KeepConnected(peers)
        })
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let expires = self.subscriptions.values().map(|s| s.expires).min();
        let moderated = self.services.iter().filter_map(Service::due).min();
        earliest(earliest(expires, moderated), self.waits().min())
    }

    /// Ends subscriptions that ran out, tells moderated variables whose time has come, tries again where the driver was busy.
    pub fn handle_timeout(&mut self, now: BootTime) {
        self.now = now;
        self.expire();
        for (sid, subscription) in &mut self.subscriptions {
            if matches!(subscription.delivery, Delivery::Waits(_, at) if at <= now)
                && let Delivery::Waits(message, _) = core::mem::replace(&mut subscription.delivery, Delivery::Idle)
            {
                subscription.delivery = Delivery::Ready(Some(message));
                self.ready.push_back(sid.clone());
            }
        }
        for index in 0..self.services.len() {
            self.release(index);
        }
    }

    fn waits(&self) -> impl Iterator<Item = BootTime> {
        self.subscriptions.values().filter_map(|s| match s.delivery {
            Delivery::Waits(_, at) => Some(at),
            _ => None,
        })
    }

    fn index(&self, service: &ServiceDecl) -> Option<usize> {
        self.services.iter().position(|s| s.decl.service_type == service.service_type)
    }

    fn expire(&mut self) {
        let now = self.now;
        let before = self.subscriptions.len();
        self.subscriptions.retain(|_, s| s.expires > now);
        self.kept_doubtful |= self.subscriptions.len() < before;
    }

    fn subscribe(&mut self, service: usize, incoming: &IncomingRequest) -> Result<Response<Bytes>, Refused> {
        let headers = incoming.request.headers();
        let seconds = granted(single(headers, &TIMEOUT)?);
        let expires = self.now + Duration::from_secs(seconds.into());
        if let Some(sid) = single(headers, &SID)? {
            let subscription = self.known(service, sid, incoming)?;
            subscription.expires = expires;
            return Ok(self.granted_response(sid, seconds));
        }
        if single(headers, &NT)? != Some("upnp:event") {
            return Err(Refused(StatusCode::PRECONDITION_FAILED));
        }
        let callback = single(headers, &CALLBACK)?.unwrap_or_default();
        let callbacks = callbacks(callback, incoming.peer, incoming.local);
        if callbacks.is_empty() {
            return Err(Refused(StatusCode::PRECONDITION_FAILED));
        }
        let peer = incoming.peer.ip().to_canonical();
        self.subscriptions
            .retain(|_, s| !(s.outdated && s.service == service && s.peer == peer && *s.callbacks == *callbacks));
        let of_peer = self.subscriptions.values().filter(|s| s.peer == peer).count();
        if self.stopped || self.subscriptions.len() >= SUBSCRIPTIONS_MAX || of_peer >= SUBSCRIPTIONS_PER_PEER_MAX {
            return Err(Refused(StatusCode::SERVICE_UNAVAILABLE));
        }
        let sid = format!("uuid:{}", uuid_v4(self.rng.u128(..)));
        let key = Sid::parse(&sid).map_err(|_| Refused(StatusCode::INTERNAL_SERVER_ERROR))?;
        let untold = self.services[service].all();
        let delivery = Delivery::Ready(None);
        let (preferred, outdated, seq) = (0, false, 0);
        self.subscriptions.insert(
            key.clone(),
            Subscription { service, peer, callbacks, preferred, outdated, seq, untold, expires, delivery },
        );
        self.ready.push_back(key);
        Ok(self.granted_response(&sid, seconds))
    }

    fn unsubscribe(&mut self, service: usize, incoming: &IncomingRequest) -> Result<Response<Bytes>, Refused> {
        let headers = incoming.request.headers();
        let sid = single(headers, &SID)?.ok_or(Refused(StatusCode::PRECONDITION_FAILED))?;
        self.known(service, sid, incoming)?;
        self.subscriptions.retain(|key, _| key.as_str() != sid);
        let mut response = empty(StatusCode::OK);
        response.headers_mut().insert(SERVER, self.server.clone());
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        Ok(response)
    }

    /// The subscription a SID names; it must be of this service and of this peer, and stand without NT and CALLBACK.
    fn known(&mut self, service: usize, sid: &str, incoming: &IncomingRequest) -> Result<&mut Subscription, Refused> {
        let headers = incoming.request.headers();
        if headers.contains_key(NT) || headers.contains_key(CALLBACK) {
            return Err(Refused(StatusCode::BAD_REQUEST));
        }
        let peer = incoming.peer.ip().to_canonical();
        Sid::parse(sid)
            .ok()
            .and_then(|key| self.subscriptions.get_mut(&key))
            .filter(|s| s.service == service && s.peer == peer)
            .ok_or(Refused(StatusCode::PRECONDITION_FAILED))
    }

    fn granted_response(&self, sid: &str, seconds: u32) -> Response<Bytes> {
        let mut response = empty(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert(SERVER, self.server.clone());
        if let Ok(sid) = HeaderValue::from_str(sid) {
            headers.insert(SID, sid);
        }
        if let Ok(timeout) = HeaderValue::from_str(&format!("Second-{seconds}")) {
            headers.insert(TIMEOUT, timeout);
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        response
    }

    /// Tells what is held and whose time has come.
    fn release(&mut self, index: usize) {
        if self.stopped {
            return;
        }
        let (told, multicast) = self.services[index].take_due(self.now);
        if told == 0 {
            return;
        }
        for (sid, subscription) in self.subscriptions.iter_mut().filter(|(_, s)| s.service == index) {
            subscription.untold |= told;
            if matches!(subscription.delivery, Delivery::Idle) {
                subscription.delivery = Delivery::Ready(None);
                self.ready.push_back(sid.clone());
            }
        }
        if multicast != 0 {
            self.multicast(index, multicast);
        }
    }

    fn notify(&mut self, sid: &Sid) -> Option<HttpRequest> {
        let subscription = self.subscriptions.get_mut(sid)?;
        let message = match core::mem::replace(&mut subscription.delivery, Delivery::Idle) {
            Delivery::Ready(Some(message)) => message,
            Delivery::Ready(None) => {
                let seq = subscription.seq;
                subscription.seq = next_seq(seq);
                let untold = core::mem::take(&mut subscription.untold);
                let body = self.services[subscription.service].body(untold);
                Message { seq, body, until: self.now + Duration::from_secs(NOTIFY_WITHIN_S), tried: 0 }
            }
            other => {
                subscription.delivery = other;
                return None;
            }
        };
        let url = subscription.callbacks.get(usize::from(subscription.preferred))?;
        let mut request = Request::new(message.body.clone());
        *request.method_mut() = Method::from_bytes(b"NOTIFY").unwrap_or_default();
        *request.uri_mut() = url.path().parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.reserve(7);
        headers.insert(HOST, HeaderValue::from_str(&url.authority()).ok()?);
        headers.insert(CONTENT_TYPE, TEXT_XML);
        headers.insert(NT, UPNP_EVENT);
        headers.insert(NTS, UPNP_PROPCHANGE);
        headers.insert(SID, HeaderValue::from_str(sid.as_str()).ok()?);
        headers.insert(SEQ, HeaderValue::from(message.seq));
        let (to, within) = (url.address(), message.until.since(self.now));
        subscription.delivery = Delivery::InFlight(message);
        self.requests += 1;
        self.in_flight.insert(self.requests, sid.clone());
        let id = RequestId { owner: Owner::Device, number: self.requests };
        Some(HttpRequest { id, to, request, within, response_body_bytes_max: NOTIFY_ANSWER_BYTES_MAX })
    }

    /// One datagram per interface and family with all of `variables`, or one for each of them where they do not fit.
    fn multicast(&mut self, index: usize, variables: Variables) {
        if self.interfaces.is_empty() {
            return;
        }
        let whole = self.services[index].body(variables);
        if whole.len() <= EVENT_DATAGRAM_BYTES_MAX {
            return self.multicast_body(index, &whole);
        }
        for bit in (0..Variables::BITS).map(|i| 1 << i).filter(|bit| variables & bit != 0) {
            let one = self.services[index].body(bit);
            // What fits no datagram reaches subscribers all the same.
            if one.len() <= EVENT_DATAGRAM_BYTES_MAX {
                self.multicast_body(index, &one);
            }
        }
    }

    fn multicast_body(&mut self, index: usize, body: &Bytes) {
        let service = &mut self.services[index];
        let seq = service.multicast_seq;
        service.multicast_seq = next_seq(seq);
        for interface in &self.interfaces {
            for (v4, host) in [(true, "239.255.255.246:7900"), (false, "[FF02::130]:7900")] {
                if !interface.addresses.iter().any(|a| a.address.is_ipv4() == v4) {
                    continue;
                }
                let to: SocketAddr = if v4 {
                    (EVENT_V4, EVENT_PORT).into()
                } else {
                    SocketAddrV6::new(EVENT_V6_LINK, EVENT_PORT, 0, interface.id.0).into()
                };
                let mut text = String::with_capacity(384 + body.len());
                // Writing to a String cannot fail.
                let _ = write!(
                    text,
                    "NOTIFY * HTTP/1.1\r\nHOST: {host}\r\nCONTENT-TYPE: text/xml; charset=\"utf-8\"\r\n\
                     USN: {}::{}\r\nSVCID: {}\r\nNT: upnp:event\r\nNTS: upnp:propchange\r\nSEQ: {seq}\r\nLVL: upnp:/info\r\n\
                     BOOTID.UPNP.ORG: {}\r\nCONTENT-LENGTH: {}\r\n\r\n",
                    self.udn,
                    service.decl.service_type,
                    service.decl.service_id,
                    self.boot_id,
                    body.len(),
                );
                let mut payload = text.into_bytes();
                payload.extend_from_slice(body);
                if self.datagrams.len() >= EVENT_DATAGRAMS_QUEUED_MAX {
                    self.datagrams.pop_front();
                }
                let (interface, channel) = (interface.id, Channel::Events);
                self.datagrams.push_back(Transmit { interface, channel, to, payload: payload.into() });
            }
        }
    }
}

enum Outcome {
    Told,
    Unknown,
    Busy,
    Failed,
}

impl Outcome {
    fn of(result: &Result<Response<Bytes>, HttpError>) -> Self {
        match result {
            Ok(response) if response.status().is_success() => Self::Told,
            Ok(response) if response.status() == StatusCode::PRECONDITION_FAILED => Self::Unknown,
            Ok(_) => Self::Failed,
            // It was told and had much to say about it.
            Err(HttpError::TooLarge) => Self::Told,
            Err(HttpError::Busy) => Self::Busy,
            Err(_) => Self::Failed,
        }
    }
}

/// SEQ after `seq`: 4294967295 is followed by 1, for 0 is the first event's (UDA 1.1, 4.2.1).
const fn next_seq(seq: u32) -> u32 {
    match seq.checked_add(1) {
        Some(next) => next,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_fits_in_a_kilobyte() {
        let url = size_of::<HttpUrl>() + 64;
        let sid = 2 * (size_of::<Sid>() + 16 + 41);
        assert!(size_of::<Subscription>() + url + sid < 600, "{}", size_of::<Subscription>());
    }

    #[test]
    fn seq_wraps_from_the_largest_number_to_1() {
        assert_eq!((next_seq(0), next_seq(u32::MAX - 1), next_seq(u32::MAX)), (1, u32::MAX, 1));
    }
}
