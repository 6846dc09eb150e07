//! A control point (UDA 1.1): finds devices, reads their descriptions, keeps subscriptions alive and calls actions.
//!
//! In: datagrams, HTTP answers to its requests, NOTIFYs to its callback path. Out: [`ControlPointEvent`]s for the
//! application, [`Effect`]s for the driver. It is lenient with what foreign devices get wrong and keeps every device's
//! trouble to that device: requests of each kind have their own slots, one or two per host, and half the slots are closed
//! to devices that failed last time.
//!
//! A device goes from *sighted* (SSDP, or configured) over *described* ([`ControlPointEvent::Ready`]) to *subscribed*. A new
//! BOOTID, LOCATION or address starts that over at once; the description is read again only if LOCATION or CONFIGID differ
//! or are unknown.

mod calls;
mod event;
mod fetch;
mod known;
mod multicast;
mod subscriptions;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use http::Request;

pub use calls::{CallError, CallId};
pub use event::{ControlPointConfig, ControlPointEvent, ReadyCause};
pub use known::{KnownDevice, KnownService};

use crate::Effect;
use crate::ids::Udn;
use crate::limits::{DESCRIPTION_DOUBTED_AFTER, SEARCH_AGAIN_AFTER};
use crate::net::{Channel, Datagram, HttpAnswer, HttpError, HttpRequest, Interface, Owner, RequestId};
use crate::ssdp::{GoneWhy, Sighting, Tracker, TrackerConfig, TrackerEvent};
use crate::time::{BootTime, earliest};
use crate::url::HttpUrl;
use calls::QueuedCall;
use fetch::{Fetching, Hosts, StaticDevice};
use known::Interner;
use subscriptions::ServiceSubscription;

/// The path under which NOTIFYs are taken; a number follows.
const CALLBACK_PATH: &str = "/callback/";

/// The machine. Driven like all of this crate: `handle_*`, then `poll_effect` and `poll_event` until they are empty.
#[derive(Debug)]
pub struct ControlPoint {
    cfg: ControlPointConfig,
    tracker: Tracker,
    rng: fastrand::Rng,
    interfaces: Vec<Interface>,
    devices: BTreeMap<Udn, Device>,
    statics: Vec<StaticDevice>,
    hosts: Hosts,
    texts: Interner,
    /// Callback numbers in use, and the device each belongs to.
    callbacks: BTreeMap<u32, Udn>,
    flights: BTreeMap<u64, Flight>,
    slots: Slots,
    queued_calls: usize,
    next_request: u64,
    next_call: u64,
    next_callback: u32,
    next_epoch: u32,
    search_again_at: BootTime,
    /// What was due by then is under way or waits for a slot.
    pumped_at: BootTime,
    stopping: bool,
    effects: VecDeque<Effect>,
    events: VecDeque<ControlPointEvent>,
}

/// Requests in flight, by kind.
#[derive(Debug, Default)]
struct Slots {
    fetches: usize,
    subscribes: usize,
    calls: usize,
}

/// A request in flight, and who waits for its answer. Where the device's epoch is another one by then, nobody does.
#[derive(Debug)]
enum Flight {
    Fetch(Fetching),
    Subscribe { udn: Udn, epoch: u32, callback: u32 },
    Unsubscribe { udn: Udn, epoch: u32 },
    Call { udn: Udn, epoch: u32, call: CallId, action: Box<str> },
}

/// A device sighted or configured.
#[derive(Debug)]
struct Device {
    /// Changes when the device starts over, so that answers to what was asked before are told apart.
    epoch: u32,
    sighting: Sighting,
    stage: Stage,
    /// What the next `Ready` will say; none when the description is only read again in doubt.
    pending: Option<ReadyCause>,
    /// The application has heard of it.
    told: bool,
    /// Only configured, not seen by SSDP.
    is_static: bool,
    fetch_failures: u8,
    fetched_at: BootTime,
    known: Option<Arc<KnownDevice>>,
    subscriptions: Vec<ServiceSubscription>,
    subscribe_in_flight: bool,
    calls: VecDeque<QueuedCall>,
    call_in_flight: bool,
    /// The last request of any kind found nobody there.
    unreachable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The description is to be fetched at a time.
    Wanted { due: BootTime },
    /// It is being fetched.
    Fetching,
    /// It was read.
    Ready,
}

impl ControlPoint {
    /// A control point that searches as soon as it is told of interfaces.
    pub fn new(cfg: ControlPointConfig, now: BootTime) -> Self {
        let mut rng = fastrand::Rng::with_seed(cfg.seed);
        let mut tracker = Tracker::new(
            TrackerConfig {
                targets: cfg.targets.clone(),
                user_agent: cfg.user_agent.clone(),
                mx: cfg.mx,
                search_every: cfg.search_every,
                seed: rng.u64(..),
            },
            now,
        );
        for url in &cfg.static_devices {
            // Beyond the tracker's bound a device is known by its description alone.
            tracker.search_host(url.address().ip(), now);
        }
        let mut texts = Interner::default();
        for urn in &cfg.subscribe {
            texts.urn(urn);
        }
        let statics = cfg.static_devices.iter().map(|url| StaticDevice::new(url.clone(), now)).collect();
        Self {
            tracker,
            interfaces: Vec::new(),
            devices: BTreeMap::new(),
            statics,
            hosts: Hosts::default(),
            texts,
            callbacks: BTreeMap::new(),
            flights: BTreeMap::new(),
            slots: Slots::default(),
            queued_calls: 0,
            next_request: 0,
            next_call: 0,
            // Not guessable from outside without a look at one of our requests; SID is what really protects.
            next_callback: rng.u32(1..1 << 24),
            next_epoch: 0,
            search_again_at: now,
            pumped_at: now,
            stopping: false,
            effects: VecDeque::new(),
            events: VecDeque::new(),
            rng,
            cfg,
        }
    }

    /// The interfaces as they are now. Subscriptions whose callback address is no longer ours are made afresh.
    pub fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime) {
        if self.stopping {
            return;
        }
        self.interfaces = interfaces.to_vec();
        self.tracker.handle_interfaces(interfaces, now);
        // Of the others the tracker says that they moved.
        for device in self.devices.values_mut().filter(|d| d.is_static) {
            let sighting = &mut device.sighting;
            let Some(interface) = interfaces.iter().find(|i| i.id == sighting.interface) else {
                continue; // its requests will fail, and it is looked for again
            };
            let Some(local) = interface.address_toward(sighting.location.address().ip()) else {
                continue;
            };
            if local != sighting.local {
                sighting.local = local;
                if let Some(known) = &mut device.known {
                    Arc::make_mut(known).local = local;
                }
                for s in &mut device.subscriptions {
                    s.start_afresh(now);
                }
            }
        }
        self.retry_statics(now);
        self.pump(now);
    }

    /// A datagram of either channel.
    pub fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime) {
        if self.stopping {
            return;
        }
        match datagram.channel {
            Channel::Ssdp => self.tracker.handle_datagram(datagram, now),
            Channel::Events => self.take_multicast(datagram),
        }
        self.pump(now);
    }

    /// The answer to one of our requests; one of [`Owner::Device`] or an unknown one is ignored.
    pub fn handle_answer(&mut self, answer: HttpAnswer, now: BootTime) {
        if answer.id.owner != Owner::ControlPoint {
            return;
        }
        let Some(flight) = self.flights.remove(&answer.id.number) else {
            return;
        };
        let nobody_there = matches!(answer.result, Err(HttpError::Connect(_) | HttpError::Timeout));
        match flight {
            Flight::Fetch(fetching) => self.fetched(fetching, answer.result, now),
            Flight::Subscribe { udn, epoch, callback } => {
                self.note_reachable(&udn, epoch, nobody_there, false, now);
                self.subscribe_answered(&udn, epoch, callback, answer.result, now);
            }
            Flight::Unsubscribe { udn, epoch } => self.unsubscribe_answered(&udn, epoch),
            Flight::Call { udn, epoch, call, action } => {
                self.note_reachable(&udn, epoch, nobody_there, true, now);
                self.call_answered(udn, epoch, call, &action, answer.result, now);
            }
        }
        self.pump(now);
    }

    /// Searches at once on all interfaces, and tries configured devices that are not there.
    pub fn search(&mut self, now: BootTime) {
        if self.stopping {
            return;
        }
        self.tracker.search(now);
        self.retry_statics(now);
        self.pump(now);
    }

    /// The host was asleep: searches, renews every subscription and tries what had failed, all at once.
    pub fn resumed(&mut self, now: BootTime) {
        for device in self.devices.values_mut() {
            device.unreachable = false;
            if let Stage::Wanted { due } = &mut device.stage {
                *due = now;
                device.fetch_failures = 0;
            }
            for s in &mut device.subscriptions {
                s.renew_now(now);
            }
        }
        self.hosts.forgive();
        if !self.stopping {
            self.tracker.resumed(now);
            self.retry_statics(now);
        }
        self.pump(now);
    }

    /// Unsubscribes from everything and does nothing new; calls already made still run. Done when [`idle`](Self::idle).
    pub fn stop(&mut self, now: BootTime) {
        self.stopping = true;
        for device in self.devices.values_mut() {
            for s in &mut device.subscriptions {
                s.stop();
            }
        }
        self.pump(now);
    }

    /// Whether no subscription is to be given back and no call is under way; description fetches do not count.
    pub fn idle(&self) -> bool {
        self.slots.subscribes == 0
            && self.slots.calls == 0
            && self.queued_calls == 0
            && !(self.stopping && self.farewells_left())
    }

    /// The device of that name, if its description was read.
    pub fn device(&self, udn: &Udn) -> Option<&KnownDevice> {
        self.devices.get(udn)?.known.as_deref()
    }

    /// All devices whose description was read, by UDN.
    pub fn devices(&self) -> impl Iterator<Item = &KnownDevice> {
        self.devices.values().filter_map(|d| d.known.as_deref())
    }

    /// Our own address as the device sees it.
    pub fn local_address_toward(&self, udn: &Udn) -> Option<IpAddr> {
        self.devices.get(udn).map(|d| d.sighting.local)
    }

    /// The next event for the application.
    pub fn poll_event(&mut self) -> Option<ControlPointEvent> {
        self.events.pop_front()
    }

    /// The next order to the driver.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front().or_else(|| if self.stopping { None } else { self.tracker.poll_effect() })
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let tracker = if self.stopping { None } else { self.tracker.poll_timeout() };
        let own = [self.fetches_due(), self.subscriptions_due(), self.calls_due()];
        own.into_iter().fold(tracker, earliest)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: BootTime) {
        if !self.stopping {
            self.tracker.handle_timeout(now);
        }
        self.pump(now);
    }

    /// Takes what the tracker found, then starts everything that is due and has a slot.
    fn pump(&mut self, now: BootTime) {
        self.pumped_at = now;
        while let Some(event) = self.tracker.poll_event() {
            match event {
                TrackerEvent::Appeared(s) => self.sighted(s, ReadyCause::Appeared, now),
                TrackerEvent::Rebooted(s) => self.sighted(s, ReadyCause::Rebooted, now),
                TrackerEvent::Moved(s) => self.sighted(s, ReadyCause::Moved, now),
                TrackerEvent::Gone { udn, why } => self.gone(&udn, why, now),
            }
        }
        if !self.stopping {
            self.pump_fetches(now);
        }
        self.pump_subscriptions(now);
        self.pump_calls(now);
    }

    fn sighted(&mut self, sighting: Sighting, cause: ReadyCause, now: BootTime) {
        if self.stopping {
            return;
        }
        if self.found_static(&sighting, now) {
            return;
        }
        self.next_epoch = self.next_epoch.wrapping_add(1);
        let epoch = self.next_epoch;
        let udn = sighting.udn.clone();
        let device = self.devices.entry(udn.clone()).or_insert_with(|| Device::new(sighting.clone(), epoch, now));
        // Who was never ready appears, whatever has happened to it since.
        let cause = if device.known.is_some() { cause } else { ReadyCause::Appeared };
        device.epoch = epoch;
        device.is_static = false;
        device.pending = Some(cause);
        device.fetch_failures = 0;
        device.unreachable = false;
        device.subscribe_in_flight = false;
        device.call_in_flight = false;
        let unchanged = device.stage == Stage::Ready
            && device.known.as_ref().is_some_and(|known| {
                known.location == sighting.location
                    && known.config_id == sighting.config_id
                    && (known.config_id.is_some() || cause != ReadyCause::Rebooted)
            });
        device.sighting = sighting;
        if !unchanged || cause == ReadyCause::Rebooted {
            for s in device.subscriptions.drain(..) {
                self.callbacks.remove(&s.callback);
            }
        }
        match &mut device.known {
            Some(known) if unchanged => {
                let known = Arc::new(known.sighted_again(&device.sighting, &mut self.texts));
                self.described(&udn, known, now);
            }
            _ => device.stage = Stage::Wanted { due: now },
        }
    }

    /// SSDP found a device that is known from the configuration, where it was known to be: nothing is new.
    fn found_static(&mut self, sighting: &Sighting, now: BootTime) -> bool {
        let Some(device) = self.devices.get_mut(&sighting.udn).filter(|d| d.is_static && d.stage == Stage::Ready)
        else {
            return false;
        };
        let Some(known) = device.known.as_ref().filter(|known| known.location == sighting.location) else {
            return false;
        };
        if known.local != sighting.local {
            device.subscriptions.iter_mut().for_each(|s| s.start_afresh(now));
        }
        device.known = Some(Arc::new(known.sighted_again(sighting, &mut self.texts)));
        device.sighting = sighting.clone();
        device.is_static = false;
        true
    }

    /// A description was read, or found to be as before.
    fn described(&mut self, udn: &Udn, known: Arc<KnownDevice>, now: BootTime) {
        let Some(device) = self.devices.get_mut(udn) else {
            return;
        };
        device.stage = Stage::Ready;
        device.fetch_failures = 0;
        device.fetched_at = now;
        let changed = device.known.as_ref() != Some(&known);
        let changed_services = device.known.as_ref().is_none_or(|before| before.services != known.services);
        let cause = device.pending.take().or(changed.then_some(ReadyCause::Moved));
        let Some(cause) = cause else {
            return; // read again in doubt, and nothing is new: subscriptions go on
        };
        device.known = Some(known.clone());
        device.told = true;
        self.events.push_back(ControlPointEvent::Ready { udn: udn.clone(), device: known, cause });
        if device.subscriptions.is_empty() || changed_services {
            self.subscribe_to_all(udn, now);
        } else {
            // Only our address toward it changed: what is subscribed there is given back first.
            device.subscriptions.iter_mut().for_each(|s| s.start_afresh(now));
        }
    }

    fn gone(&mut self, udn: &Udn, why: GoneWhy, now: BootTime) {
        let Some(device) = self.devices.remove(udn) else {
            return;
        };
        self.look_for_static_again(udn, now);
        for s in &device.subscriptions {
            self.callbacks.remove(&s.callback);
        }
        self.queued_calls -= device.calls.len();
        for call in device.calls {
            let result = Err(CallError::UnknownDevice);
            self.events.push_back(ControlPointEvent::CallDone { call: call.id, udn: udn.clone(), result });
        }
        if device.told {
            self.events.push_back(ControlPointEvent::Gone { udn: udn.clone(), why });
        }
    }

    /// A device that cannot be reached may be at another address: asks around instead of trying the dead URL for ever. For a
    /// call each time (somebody wants it), for a subscription only when the device has just become unreachable.
    fn note_reachable(&mut self, udn: &Udn, epoch: u32, nobody_there: bool, is_call: bool, now: BootTime) {
        let Some(device) = self.devices.get_mut(udn).filter(|d| d.epoch == epoch) else {
            return;
        };
        let was_unreachable = core::mem::replace(&mut device.unreachable, nobody_there);
        if !nobody_there || self.stopping || (was_unreachable && !is_call) {
            return;
        }
        if device.is_static {
            self.doubt_static(udn, now);
        } else if now >= self.search_again_at {
            self.search_again_at = now + SEARCH_AGAIN_AFTER;
            self.tracker.search(now);
        }
    }

    /// The description may be outdated: a URL it names is not there.
    fn doubt_description(&mut self, udn: &Udn, now: BootTime) {
        if let Some(device) = self.devices.get_mut(udn).filter(|d| !d.is_static && d.stage == Stage::Ready)
            && now.since(device.fetched_at) >= DESCRIPTION_DOUBTED_AFTER
        {
            device.stage = Stage::Wanted { due: now };
        }
    }

    /// Sends a request; its answer is for `flight`.
    fn send(
        &mut self,
        flight: Flight,
        url: &HttpUrl,
        request: Request<Bytes>,
        within: Duration,
        body_bytes_max: usize,
    ) {
        let number = self.next_request;
        self.next_request += 1;
        self.flights.insert(number, flight);
        self.effects.push_back(Effect::Request(HttpRequest {
            id: RequestId { owner: Owner::ControlPoint, number },
            to: url.address(),
            request,
            within,
            response_body_bytes_max: body_bytes_max,
        }));
    }
}

impl Device {
    fn new(sighting: Sighting, epoch: u32, now: BootTime) -> Self {
        Self {
            epoch,
            sighting,
            stage: Stage::Wanted { due: now },
            pending: Some(ReadyCause::Appeared),
            told: false,
            is_static: false,
            fetch_failures: 0,
            fetched_at: now,
            known: None,
            subscriptions: Vec::new(),
            subscribe_in_flight: false,
            calls: VecDeque::new(),
            call_in_flight: false,
            unreachable: false,
        }
    }
}

/// An error with what caused it, for people.
fn with_causes(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
