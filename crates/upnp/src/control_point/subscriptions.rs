//! Subscriptions of all devices: which request next, NOTIFYs to the callback path, multicast events.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::multicast::{LastMulticast, MulticastEvent};
use super::{CALLBACK_PATH, ControlPoint, ControlPointEvent, Device, Flight};
use crate::gena::propertyset;
use crate::gena::subscriber::{
    Grant, HeldEvent, NotifyHead, Order, SubscribeError, Subscription, Verdict, renew_request, subscribe_request,
    unsubscribe_request,
};
use crate::ids::{TypeUrn, Udn};
use crate::limits::{
    EVENTS_QUEUED_MAX, SUBSCRIBE_BODY_BYTES_MAX, SUBSCRIBE_WITHIN, SUBSCRIBES_IN_FLIGHT_MAX, UNSUBSCRIBE_WITHIN,
    XML_EVENT_BYTES_MAX,
};
use crate::net::{Datagram, HttpError, IncomingRequest};
use crate::time::BootTime;
use crate::url::HttpUrl;

/// The subscription to one service of a device.
#[derive(Debug)]
pub(super) struct ServiceSubscription {
    /// The number in the callback URL.
    pub(super) callback: u32,
    /// Index into the device's services.
    service: u16,
    machine: Subscription,
    multicast: Option<LastMulticast>,
    told: Told,
}

/// What the application was last told of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Subscribed,
    Lost,
}

impl ServiceSubscription {
    /// Our address toward the device changed.
    pub(super) fn start_afresh(&mut self, now: BootTime) {
        self.machine.start_afresh(now);
        self.told = Told::Nothing;
    }

    pub(super) fn renew_now(&mut self, now: BootTime) {
        self.machine.renew_now(now);
    }

    pub(super) fn stop(&mut self) {
        self.machine.stop();
    }
}

impl ControlPoint {
    /// Replaces the subscriptions of a device by new ones to each of its services that is wanted.
    pub(super) fn subscribe_to_all(&mut self, udn: &Udn, now: BootTime) {
        let Some(device) = self.devices.get_mut(udn) else {
            return;
        };
        for old in device.subscriptions.drain(..) {
            self.callbacks.remove(&old.callback);
        }
        let Some(known) = &device.known else {
            return;
        };
        let mut made = Vec::new();
        for (service, index) in known.services.iter().zip(0u16..) {
            let wanted = self.cfg.subscribe.iter().any(|wanted| service.service_type.serves(wanted));
            if service.event_url.is_none() || !wanted {
                continue;
            }
            while self.callbacks.contains_key(&self.next_callback) {
                self.next_callback = self.next_callback.wrapping_add(1);
            }
            let callback = self.next_callback;
            self.next_callback = self.next_callback.wrapping_add(1);
            self.callbacks.insert(callback, udn.clone());
            made.push(ServiceSubscription {
                callback,
                service: index,
                machine: Subscription::new(now),
                multicast: None,
                told: Told::Nothing,
            });
        }
        made.shrink_to_fit();
        device.subscriptions = made;
    }

    /// Sends what is due while there are slots: one request per device, those that failed least first.
    pub(super) fn pump_subscriptions(&mut self, now: BootTime) {
        if self.slots.subscribes >= SUBSCRIBES_IN_FLIGHT_MAX {
            return;
        }
        let mut due: Vec<_> = self
            .devices
            .iter()
            .filter_map(|(udn, device)| {
                let (due, index, failures) = device.next_subscription()?;
                (due <= now).then(|| (device.unreachable || failures > 0, failures, due, udn.clone(), index))
            })
            .collect();
        due.sort_unstable_by_key(|(failing, failures, due, ..)| (*failing, *failures, *due));
        for (failing, _, _, udn, index) in due {
            let limit = if failing { SUBSCRIBES_IN_FLIGHT_MAX / 2 } else { SUBSCRIBES_IN_FLIGHT_MAX };
            if self.slots.subscribes >= limit {
                return;
            }
            self.send_order(&udn, index, now);
        }
    }

    fn send_order(&mut self, udn: &Udn, index: usize, now: BootTime) {
        let Some(device) = self.devices.get_mut(udn) else {
            return;
        };
        let Some(known) = &device.known else {
            return;
        };
        let s = &mut device.subscriptions[index];
        let service = &known.services[usize::from(s.service)];
        let Some(url) = service.event_url.clone() else {
            return;
        };
        let Some(order) = s.machine.next_order(now) else {
            return;
        };
        let (udn, epoch, callback) = (udn.clone(), device.epoch, s.callback);
        let (request, within) = match &order {
            Order::Subscribe => {
                if s.told == Told::Subscribed {
                    s.told = Told::Lost;
                    let error = SubscribeError::Expired.to_string();
                    let service_type = service.service_type.clone();
                    self.events.push_back(ControlPointEvent::SubscriptionLost {
                        udn: udn.clone(),
                        service_type,
                        error,
                    });
                }
                let own = SocketAddr::new(device.sighting.local, self.cfg.callback_port);
                let own = HttpUrl::new(own, &format!("{CALLBACK_PATH}{callback}"));
                (subscribe_request(&url, &own, &self.cfg.user_agent), SUBSCRIBE_WITHIN)
            }
            Order::Renew(sid) => (renew_request(&url, sid), SUBSCRIBE_WITHIN),
            Order::Unsubscribe(sid) => (unsubscribe_request(&url, sid), UNSUBSCRIBE_WITHIN),
        };
        device.subscribe_in_flight = true;
        self.slots.subscribes += 1;
        let flight = match order {
            Order::Unsubscribe(_) => Flight::Unsubscribe { udn, epoch },
            Order::Subscribe | Order::Renew(_) => Flight::Subscribe { udn, epoch, callback },
        };
        self.send(flight, &url, request, within, SUBSCRIBE_BODY_BYTES_MAX);
    }

    /// When the next request comes due; those that wait for a slot are woken by an answer.
    pub(super) fn subscriptions_due(&self) -> Option<BootTime> {
        let due = self.devices.values().filter_map(|d| d.next_subscription()).map(|(due, ..)| due);
        due.filter(|due| *due > self.pumped_at).min()
    }

    /// Whether some subscription waits to be given back.
    pub(super) fn farewells_left(&self) -> bool {
        self.devices.values().any(|d| d.next_subscription().is_some())
    }

    /// The answer to a SUBSCRIBE or renewal.
    pub(super) fn subscribe_answered(
        &mut self,
        udn: &Udn,
        epoch: u32,
        callback: u32,
        answer: Result<Response<Bytes>, HttpError>,
        now: BootTime,
    ) {
        self.slots.subscribes -= 1;
        let Some(device) = self.devices.get_mut(udn).filter(|d| d.epoch == epoch) else {
            return;
        };
        device.subscribe_in_flight = false;
        let Some(s) = device.subscriptions.iter_mut().find(|s| s.callback == callback) else {
            return;
        };
        let granted = answer
            .map_err(SubscribeError::from)
            .and_then(|r| Grant::parse(&r))
            .and_then(|grant| s.machine.granted(grant, now, &mut self.rng));
        match granted {
            Ok(()) => {
                let held = s.machine.take_held();
                if s.machine.is_active() && s.told != Told::Subscribed {
                    s.told = Told::Subscribed;
                    let service_type = device.service_type(callback);
                    self.events.extend(
                        service_type
                            .map(|service_type| ControlPointEvent::Subscribed { udn: udn.clone(), service_type }),
                    );
                }
                for event in held {
                    self.take_event(udn, callback, &event.head, event.variables, now);
                }
            }
            Err(error) => {
                s.machine.failed(&error, now, &mut self.rng);
                if matches!(error, SubscribeError::Status(404 | 410)) {
                    self.doubt_description(udn, now);
                }
                self.tell_lost(udn, callback, &error);
            }
        }
    }

    /// The answer to an UNSUBSCRIBE: whatever it is, that subscription is over.
    pub(super) fn unsubscribe_answered(&mut self, udn: &Udn, epoch: u32) {
        self.slots.subscribes -= 1;
        if let Some(device) = self.devices.get_mut(udn).filter(|d| d.epoch == epoch) {
            device.subscribe_in_flight = false;
        }
    }

    /// A request to our HTTP server. `None` where its path is not under `/callback/`.
    pub fn handle_request(&mut self, incoming: &IncomingRequest, now: BootTime) -> Option<Response<Bytes>> {
        let number = incoming.request.uri().path().strip_prefix(CALLBACK_PATH)?;
        let status = match number.parse() {
            _ if incoming.request.method().as_str() != "NOTIFY" => StatusCode::METHOD_NOT_ALLOWED,
            Ok(callback) => self.notified(callback, incoming, now),
            Err(_) => StatusCode::PRECONDITION_FAILED,
        };
        self.pump(now);
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("NOTIFY"));
        }
        Some(response)
    }

    /// Judges a NOTIFY. SID says which subscription it is for, and only the publisher and we know it; the sender's address counts
    /// only while there is no SID yet, as a device with several interfaces may send from any of them.
    fn notified(&mut self, callback: u32, incoming: &IncomingRequest, now: BootTime) -> StatusCode {
        let head = match NotifyHead::parse(incoming.request.headers()) {
            Ok(head) => head,
            Err(status) => return status,
        };
        let body = incoming.request.body();
        if body.len() > XML_EVENT_BYTES_MAX {
            return StatusCode::PAYLOAD_TOO_LARGE;
        }
        if self.events.len() >= EVENTS_QUEUED_MAX {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let Some(udn) = self.callbacks.get(&callback).cloned() else {
            return StatusCode::PRECONDITION_FAILED;
        };
        let Some(device) = self.devices.get_mut(&udn) else {
            return StatusCode::PRECONDITION_FAILED;
        };
        let from_device = incoming.peer.ip().to_canonical() == device.sighting.location.address().ip();
        let Some(s) = device.subscriptions.iter_mut().find(|s| s.callback == callback) else {
            return StatusCode::PRECONDITION_FAILED;
        };
        let verdict = s.machine.notified(&head, now, &mut self.rng);
        match verdict {
            Verdict::Unknown => StatusCode::PRECONDITION_FAILED,
            Verdict::Hold if !from_device => StatusCode::PRECONDITION_FAILED,
            Verdict::Hold => match propertyset::parse(body) {
                Err(_) => StatusCode::BAD_REQUEST,
                Ok(variables) => match s.machine.hold(HeldEvent { head, variables }) {
                    true => StatusCode::OK,
                    false => StatusCode::SERVICE_UNAVAILABLE,
                },
            },
            verdict => {
                let variables = propertyset::parse(body);
                let status = if variables.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
                self.act_on(&udn, callback, verdict, variables.ok());
                status
            }
        }
    }

    /// An event that was held until its subscription was granted.
    fn take_event(
        &mut self,
        udn: &Udn,
        callback: u32,
        head: &NotifyHead,
        variables: Vec<(String, String)>,
        now: BootTime,
    ) {
        let Some(device) = self.devices.get_mut(udn) else {
            return;
        };
        let Some(s) = device.subscriptions.iter_mut().find(|s| s.callback == callback) else {
            return;
        };
        let verdict = s.machine.notified(head, now, &mut self.rng);
        self.act_on(udn, callback, verdict, Some(variables));
    }

    fn act_on(&mut self, udn: &Udn, callback: u32, verdict: Verdict, variables: Option<Vec<(String, String)>>) {
        let Some(service_type) = self.devices.get(udn).and_then(|d| d.service_type(callback)) else {
            return;
        };
        let deliver = matches!(verdict, Verdict::Deliver | Verdict::DeliverAfterGap(_));
        if let Some(variables) = variables.filter(|_| deliver) {
            let udn = udn.clone();
            self.events.push_back(ControlPointEvent::Event { udn, service_type, variables, multicast: false });
        }
        if let Verdict::DeliverAfterGap(error) | Verdict::Stale(error) = verdict {
            self.tell_lost(udn, callback, &error);
        }
    }

    fn tell_lost(&mut self, udn: &Udn, callback: u32, error: &SubscribeError) {
        if self.stopping {
            return;
        }
        let Some(device) = self.devices.get_mut(udn) else {
            return;
        };
        let Some(service_type) = device.service_type(callback) else {
            return;
        };
        let told = device.subscriptions.iter_mut().find(|s| s.callback == callback).map(|s| &mut s.told);
        if let Some(told) = told.filter(|t| **t != Told::Lost) {
            *told = Told::Lost;
            let (udn, error) = (udn.clone(), error.to_string());
            self.events.push_back(ControlPointEvent::SubscriptionLost { udn, service_type, error });
        }
    }

    /// A datagram of port 7900. It is believed if it comes from the address the device is at and was not delivered before.
    pub(super) fn take_multicast(&mut self, datagram: &Datagram) {
        let Some(event) = MulticastEvent::parse(&datagram.payload) else {
            return;
        };
        let Some(device) = self.devices.get_mut(&event.udn) else {
            return;
        };
        let Some(known) = &device.known else {
            return;
        };
        let from_device = datagram.from.ip().to_canonical() == device.sighting.location.address().ip();
        let from_earlier_boot = matches!((event.boot_id, device.sighting.boot_id), (Some(e), Some(d)) if e < d);
        if !from_device || from_earlier_boot || self.events.len() >= EVENTS_QUEUED_MAX {
            return;
        }
        let service_type = |s: &ServiceSubscription| &known.services[usize::from(s.service)].service_type;
        let subscription = device.subscriptions.iter_mut().find(|s| {
            let offered = service_type(s);
            offered.serves(&event.service_type) || event.service_type.serves(offered)
        });
        let Some(s) = subscription else {
            return;
        };
        if !LastMulticast::is_news(s.multicast, event.seq, event.boot_id) {
            return;
        }
        let Ok(variables) = propertyset::parse(event.body) else {
            return;
        };
        s.multicast = Some(LastMulticast::new(event.seq, event.boot_id));
        let service_type = service_type(s).clone();
        self.events.push_back(ControlPointEvent::Event { udn: event.udn, service_type, variables, multicast: true });
    }
}

impl Device {
    /// The subscription whose next request comes first: when, its index, and how often it failed.
    fn next_subscription(&self) -> Option<(BootTime, usize, u8)> {
        if self.subscribe_in_flight || self.known.is_none() {
            return None;
        }
        let due = self.subscriptions.iter().enumerate();
        due.filter_map(|(index, s)| Some((s.machine.due()?, index, s.machine.failures()))).min()
    }

    fn service_type(&self, callback: u32) -> Option<TypeUrn> {
        let s = self.subscriptions.iter().find(|s| s.callback == callback)?;
        Some(self.known.as_ref()?.services.get(usize::from(s.service))?.service_type.clone())
    }
}
