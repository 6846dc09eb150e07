//! The control point toward the home energy gateway (PURE): finds gateways and keeps this appliance's own wishes registered
//! there (Table II: WakeUpTime, NoStandbyPeriod, Withdraw).
//!
//! In: the wishes of the configuration and of the command line, and what the network says. Out: UPnP effects, answers for
//! the command line, and the registrations to be stored. What is wanted and what each gateway has confirmed are compared
//! after every input; the difference is the next call, one at a time per gateway. A gateway that restarted has
//! confirmed nothing yet, so it is told again; what it still knew it answers with the same number.
#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use energy_model::{CallerAddress, CallerId, DailyWindow, RefusalKind, RegId, TimeOfDay};
use energy_services::energy_gateway::{self, NoStandbyPeriod, WakeUpTime, Withdraw};
use energy_services::{Action, Refusal, home_energy_gateway};
use serde::{Deserialize, Serialize};
use upnp::control_point::{CallError, CallId, ControlPoint, ControlPointConfig, ControlPointEvent, ReadyCause};
use upnp::error::{ErrorCode, UpnpError};
use upnp::ids::Udn;
use upnp::net::{Datagram, HttpAnswer, IncomingRequest, Interface};
use upnp::ssdp::Target;
use upnp::time::{BootTime, earliest};
use upnp::url::HttpUrl;

use crate::limits::{
    GATEWAY_RETRY_FIRST, GATEWAY_RETRY_LONGEST, GATEWAY_SEARCH_EVERY, GATEWAYS_MAX, REQUEST_ANSWER_WITHIN,
    REQUESTS_WAITING_MAX, WISH_RETRY_FIRST, WISH_RETRY_LONGEST, WISHES_MAX,
};

/// What this appliance asks of a gateway, every day until it is withdrawn. Text form: `wake-up-time HH:MM:SS`,
/// `no-standby-period HH:MM:SS-HH:MM:SS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// Be woken at that time.
    WakeUpTime(TimeOfDay),
    /// Not be sent to standby in that window.
    NoStandbyPeriod(DailyWindow),
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WakeUpTime(time) => write!(f, "wake-up-time {time}"),
            Self::NoStandbyPeriod(window) => write!(f, "no-standby-period {window}"),
        }
    }
}

/// Where a wish comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// `[schedule]`.
    Configuration,
    /// `psm-agent request`.
    CommandLine,
}

/// A registration at a gateway, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Registered {
    /// The gateway's UDN.
    pub gateway: String,
    /// What for.
    pub wish: Wish,
    /// The number it gave.
    pub reg_id: RegId,
}

/// Names a request of the command line that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The answer to a request of the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RequestAnswer {
    /// What was asked, or withdrawn.
    pub wish: Wish,
    /// The number the first gateway gave, where it is registered.
    pub reg_id: Option<RegId>,
    /// What each gateway said.
    pub gateways: Vec<RequestAtGateway>,
}

/// What came of a request at one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RequestAtGateway {
    /// The gateway's UDN.
    pub gateway: String,
    /// The registration's number, where it is registered.
    pub reg_id: Option<RegId>,
    /// Why it is not, or not yet.
    pub error: Option<String>,
}

/// Why a request of the command line was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Too many wishes.
    #[error("there are {WISHES_MAX} wishes already; withdraw one first")]
    Full,
    /// Too many requests wait.
    #[error("{REQUESTS_WAITING_MAX} requests wait for a gateway already")]
    Busy,
    /// No gateway gave that number.
    #[error("no registration {0} of this appliance is known")]
    Unknown(u32),
    /// The wish is of the configuration.
    #[error("registration {0} comes from the configuration; remove it there and reload")]
    OfConfiguration(RegId),
}

/// What is known of a gateway's part, for `status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GatewayStatus {
    /// UDN.
    pub udn: String,
    /// Its name for people.
    pub name: String,
    /// Where its description is; none while it is not on the network.
    pub location: Option<String>,
    /// Registrations there.
    pub registrations: Vec<Registered>,
    /// Wishes it refused, with its reason.
    pub refused: Vec<(String, String)>,
    /// The last failure, while it lasts.
    pub error: Option<String>,
}

/// What is under way at a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Register(Wish),
    Withdraw(RegId),
}

/// A wish that a gateway refused.
#[derive(Debug)]
struct Refused {
    why: String,
    /// How often in a row.
    times: u32,
    /// When it is asked again; never by itself where the cause does not pass.
    again_at: Option<BootTime>,
    /// It is time to ask again.
    due: bool,
}

#[derive(Debug, Default)]
struct Gateway {
    name: String,
    location: Option<HttpUrl>,
    /// Numbers it gave, also before its last restart.
    registered: BTreeMap<Wish, RegId>,
    /// Wishes it confirmed since it was last found or restarted.
    confirmed: BTreeSet<Wish>,
    refused: BTreeMap<Wish, Refused>,
    /// Numbers that stand for nothing any more.
    surplus: BTreeSet<RegId>,
    job: Option<(CallId, Job)>,
    failures: u32,
    retry_at: Option<BootTime>,
    error: Option<String>,
}

impl Gateway {
    /// The next call that brings what it has registered nearer to `wishes`.
    fn next_job(&self, wishes: &BTreeMap<Wish, Origin>) -> Option<Job> {
        let open = |wish: &&Wish| !self.confirmed.contains(wish) && !self.refused.contains_key(wish);
        // Behind those never asked, the longest waiting first: one that is refused again and again keeps none from its turn.
        let again = || {
            let due = self.refused.iter().filter(|(wish, r)| r.due && wishes.contains_key(wish));
            due.min_by_key(|(_, r)| r.again_at).map(|(wish, _)| *wish)
        };
        let unwanted = || self.registered.iter().find(|(wish, _)| !wishes.contains_key(wish)).map(|(_, id)| *id);
        let withdraw = self.surplus.first().copied().or_else(unwanted).map(Job::Withdraw);
        withdraw.or_else(|| wishes.keys().find(open).copied().or_else(again).map(Job::Register))
    }

    /// Whether the wish's fate here is known.
    fn settled(&self, wish: Wish, wanted: bool) -> bool {
        if wanted {
            self.confirmed.contains(&wish) || self.refused.contains_key(&wish)
        } else {
            !self.registered.contains_key(&wish) && self.surplus.is_empty()
        }
    }
}

/// A request of the command line that waits.
#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    wish: Wish,
    wanted: bool,
    until: BootTime,
}

/// The control point and the wishes.
#[derive(Debug)]
pub struct GatewayLink {
    control_point: ControlPoint,
    own: CallerId,
    wishes: BTreeMap<Wish, Origin>,
    gateways: BTreeMap<Udn, Gateway>,
    waiting: Vec<Waiting>,
    answers: VecDeque<(Ticket, RequestAnswer)>,
    changed: bool,
}

impl GatewayLink {
    /// A link that searches as soon as it is told of interfaces. `stored`: wishes of the command line and registrations
    /// of an earlier run.
    pub fn new(
        own: CallerId,
        user_agent: String,
        callback_port: u16,
        static_gateways: Vec<HttpUrl>,
        stored: (Vec<Wish>, Vec<Registered>),
        seed: u64,
        now: BootTime,
    ) -> Self {
        let control_point = ControlPoint::new(
            ControlPointConfig {
                targets: vec![Target::Type(home_energy_gateway())],
                subscribe: vec![],
                user_agent,
                callback_port,
                mx: 2,
                search_every: GATEWAY_SEARCH_EVERY,
                static_devices: static_gateways,
                seed,
            },
            now,
        );
        let (wishes, registered) = stored;
        let wishes = wishes.into_iter().take(WISHES_MAX).map(|w| (w, Origin::CommandLine)).collect();
        let mut gateways = BTreeMap::<Udn, Gateway>::new();
        for r in registered {
            let Ok(udn) = Udn::parse(&r.gateway) else { continue };
            if gateways.len() < GATEWAYS_MAX || gateways.contains_key(&udn) {
                gateways.entry(udn).or_default().registered.insert(r.wish, r.reg_id);
            }
        }
        Self { control_point, own, wishes, gateways, waiting: Vec::new(), answers: VecDeque::new(), changed: false }
    }

    /// The wishes of the configuration, at start and after a reload; those no longer there are withdrawn.
    pub fn set_configured(&mut self, configured: impl IntoIterator<Item = Wish>, now: BootTime) {
        self.wishes.retain(|_, origin| *origin == Origin::CommandLine);
        for wish in configured {
            self.wishes.insert(wish, Origin::Configuration);
        }
        for gateway in self.gateways.values_mut() {
            gateway.confirmed.retain(|wish| self.wishes.contains_key(wish));
            // A person who reloads wants it tried again.
            gateway.refused.clear();
        }
        self.reconcile(now);
    }

    /// A request of the command line; the answer comes by [`poll_answer`](Self::poll_answer) when all gateways on the network
    /// have spoken, or after a while.
    ///
    /// # Errors
    /// No room.
    pub fn request(&mut self, wish: Wish, ticket: Ticket, now: BootTime) -> Result<(), RequestError> {
        if self.waiting.len() >= REQUESTS_WAITING_MAX {
            return Err(RequestError::Busy);
        }
        if self.wishes.len() >= WISHES_MAX && !self.wishes.contains_key(&wish) {
            return Err(RequestError::Full);
        }
        if let std::collections::btree_map::Entry::Vacant(entry) = self.wishes.entry(wish) {
            entry.insert(Origin::CommandLine);
            self.changed = true;
        }
        for gateway in self.gateways.values_mut() {
            gateway.refused.remove(&wish);
        }
        self.wait(wish, true, ticket, now);
        Ok(())
    }

    /// Withdraws a registration by the number a gateway gave; answered like [`request`](Self::request).
    ///
    /// # Errors
    /// Unknown number, or one of the configuration.
    pub fn withdraw(&mut self, number: u32, ticket: Ticket, now: BootTime) -> Result<(), RequestError> {
        if self.waiting.len() >= REQUESTS_WAITING_MAX {
            return Err(RequestError::Busy);
        }
        let of_gateway =
            |g: &Gateway| g.registered.iter().find(|(_, id)| id.number() == number).map(|(w, id)| (*w, *id));
        let (wish, reg_id) = self.gateways.values().find_map(of_gateway).ok_or(RequestError::Unknown(number))?;
        if self.wishes.get(&wish) == Some(&Origin::Configuration) {
            return Err(RequestError::OfConfiguration(reg_id));
        }
        self.wishes.remove(&wish);
        self.changed = true;
        for gateway in self.gateways.values_mut() {
            gateway.confirmed.remove(&wish);
            gateway.refused.remove(&wish);
        }
        self.wait(wish, false, ticket, now);
        Ok(())
    }

    fn wait(&mut self, wish: Wish, wanted: bool, ticket: Ticket, now: BootTime) {
        self.waiting.push(Waiting { ticket, wish, wanted, until: now + REQUEST_ANSWER_WITHIN });
        // A person waits: what failed before is tried at once.
        for gateway in self.gateways.values_mut() {
            gateway.retry_at = None;
        }
        self.reconcile(now);
    }

    /// The next answer to a request of the command line.
    pub fn poll_answer(&mut self) -> Option<(Ticket, RequestAnswer)> {
        self.answers.pop_front()
    }

    /// Whether wishes or registrations differ from what was last taken by [`stored`](Self::stored).
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// What must survive a restart: the command line's wishes, and the gateways' numbers.
    pub fn stored(&mut self) -> (Vec<Wish>, Vec<Registered>) {
        self.changed = false;
        let wishes = self.wishes.iter().filter(|(_, o)| **o == Origin::CommandLine).map(|(w, _)| *w).collect();
        (wishes, self.gateways.iter().flat_map(|(udn, g)| registrations(udn, g)).collect())
    }

    /// The wishes, with where they come from.
    pub fn wishes(&self) -> impl Iterator<Item = (Wish, Origin)> {
        self.wishes.iter().map(|(wish, origin)| (*wish, *origin))
    }

    /// The gateways known, on the network or not.
    pub fn gateways(&self) -> impl Iterator<Item = GatewayStatus> {
        self.gateways.iter().map(|(udn, g)| GatewayStatus {
            udn: udn.to_string(),
            name: g.name.clone(),
            location: g.location.as_ref().map(|l| format!("http://{}{}", l.authority(), l.path())),
            registrations: registrations(udn, g).collect(),
            refused: g.refused.iter().map(|(wish, r)| (wish.to_string(), r.why.clone())).collect(),
            error: g.error.clone(),
        })
    }

    /// The interface toward the first gateway on the network.
    pub fn interface(&self) -> Option<u32> {
        self.control_point.devices().next().map(|d| d.interface.0)
    }

    /// The network interfaces as they are now.
    pub fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime) {
        self.control_point.handle_interfaces(interfaces, now);
        self.take_events(now);
    }

    /// A datagram.
    pub fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime) {
        self.control_point.handle_datagram(datagram, now);
        self.take_events(now);
    }

    /// A request that is not for the device.
    pub fn handle_request(&mut self, request: &IncomingRequest, now: BootTime) -> Option<http::Response<bytes::Bytes>> {
        self.control_point.handle_request(request, now)
    }

    /// The answer to a request of the control point.
    pub fn handle_answer(&mut self, answer: HttpAnswer, now: BootTime) {
        self.control_point.handle_answer(answer, now);
        self.take_events(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: BootTime) {
        self.control_point.handle_timeout(now);
        for gateway in self.gateways.values_mut() {
            gateway.retry_at.take_if(|at| *at <= now);
            for refused in gateway.refused.values_mut() {
                refused.due |= refused.again_at.is_some_and(|at| at <= now);
            }
        }
        self.take_events(now);
    }

    /// The machine has slept: searches and goes on where it was.
    pub fn resumed(&mut self, now: BootTime) {
        self.control_point.resumed(now);
        self.take_events(now);
    }

    /// Ends: what runs is finished, nothing new begins.
    pub fn stop(&mut self, now: BootTime) {
        self.control_point.stop(now);
    }

    /// Whether nothing is under way.
    pub fn idle(&self) -> bool {
        self.control_point.idle()
    }

    /// The next order to the driver.
    pub fn poll_effect(&mut self) -> Option<upnp::Effect> {
        self.control_point.poll_effect()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let retry = self.gateways.values().filter_map(|g| g.retry_at).min();
        let answer = self.waiting.iter().map(|w| w.until).min();
        let refused = self.gateways.values().flat_map(|g| g.refused.values());
        let again = refused.filter(|r| !r.due).filter_map(|r| r.again_at).min();
        earliest(earliest(self.control_point.poll_timeout(), again), earliest(retry, answer))
    }

    fn take_events(&mut self, now: BootTime) {
        while let Some(event) = self.control_point.poll_event() {
            match event {
                ControlPointEvent::Ready { udn, device, cause } => {
                    if !self.gateways.contains_key(&udn) && !self.make_room() {
                        tracing::debug!(%udn, "one gateway too many, ignored");
                        continue;
                    }
                    let gateway = self.gateways.entry(udn.clone()).or_default();
                    gateway.name = device.friendly_name.to_string();
                    gateway.location = Some(device.location.clone());
                    gateway.retry_at = None;
                    gateway.failures = 0;
                    gateway.error = None;
                    if cause != ReadyCause::Moved {
                        gateway.confirmed.clear();
                        gateway.refused.clear();
                    }
                    tracing::info!(%udn, name = gateway.name, ?cause, "gateway");
                }
                ControlPointEvent::Gone { udn, why } => {
                    tracing::info!(%udn, ?why, "gateway gone");
                    if let Some(gateway) = self.gateways.get_mut(&udn) {
                        gateway.location = None;
                        gateway.job = None;
                    }
                }
                ControlPointEvent::CallDone { call, udn, result } => self.call_done(call, &udn, result, now),
                ControlPointEvent::DescriptionFailed { udn, error } => {
                    tracing::info!(%udn, error, "gateway's description not read; it is tried again");
                }
                ControlPointEvent::StaticFailed { location, error } => {
                    tracing::warn!(?location, error, "configured gateway not reached");
                }
                // Nothing is subscribed to: the gateway's service has no events.
                ControlPointEvent::Subscribed { .. }
                | ControlPointEvent::SubscriptionLost { .. }
                | ControlPointEvent::Event { .. } => {}
            }
        }
        self.reconcile(now);
    }

    /// Makes room for one more gateway. First goes one that is neither on the network nor holds a registration, then one that
    /// was asked and gave none (a made-up one, or one of no use), last one that is away: it may be restarting.
    fn make_room(&mut self) -> bool {
        if self.gateways.len() < GATEWAYS_MAX {
            return true;
        }
        let rank = |g: &Gateway| match (g.location.is_none(), g.registered.is_empty()) {
            (true, true) => Some(0),
            (false, true) if g.failures > 0 || !g.refused.is_empty() => Some(1),
            (true, false) => Some(2),
            _ => None,
        };
        let useless = self.gateways.iter().filter_map(|(udn, g)| Some((rank(g)?, udn))).min();
        let useless = useless.map(|(_, udn)| udn.clone());
        useless.is_some_and(|udn| self.gateways.remove(&udn).is_some())
    }

    /// Gives each gateway on the network its next call, and the command line what is settled.
    fn reconcile(&mut self, now: BootTime) {
        for (udn, gateway) in &mut self.gateways {
            if gateway.location.is_none() || gateway.job.is_some() || gateway.retry_at.is_some() {
                continue;
            }
            let Some(job) = gateway.next_job(&self.wishes) else { continue };
            let local = self.control_point.local_address_toward(udn);
            let Some(address) = local.and_then(|a| a.to_string().parse::<CallerAddress>().ok()) else { continue };
            let (name, arguments) = call(job, self.own.clone(), address);
            match self.control_point.call(udn, &energy_gateway::service_type(), name, arguments, now) {
                Ok(id) => gateway.job = Some((id, job)),
                Err(error) => put_off(gateway, error.to_string(), now),
            }
        }
        let (gateways, wishes) = (&self.gateways, &self.wishes);
        let (open, settled): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().partition(|w| {
            let present = || gateways.values().filter(|g| g.location.is_some());
            w.until > now && !present().all(|g| g.settled(w.wish, w.wanted))
        });
        self.waiting = open;
        for w in settled {
            let wanted = wishes.contains_key(&w.wish);
            let at = |(udn, g): (&Udn, &Gateway)| RequestAtGateway {
                gateway: udn.to_string(),
                reg_id: g.registered.get(&w.wish).copied(),
                error: g.refused.get(&w.wish).map(|r| r.why.clone()).or_else(|| {
                    let late = g.error.clone().unwrap_or_else(|| "no answer yet; it is tried again".to_owned());
                    (!g.settled(w.wish, wanted)).then_some(late)
                }),
            };
            let present = gateways.iter().filter(|(_, g)| g.location.is_some());
            let gateways: Vec<_> = present.map(at).collect();
            let reg_id = gateways.iter().find_map(|g| g.reg_id);
            self.answers.push_back((w.ticket, RequestAnswer { wish: w.wish, reg_id, gateways }));
        }
    }

    fn call_done(&mut self, call: CallId, udn: &Udn, result: Result<Vec<(String, String)>, CallError>, now: BootTime) {
        let Some(gateway) = self.gateways.get_mut(udn) else { return };
        let Some((_, job)) = gateway.job.take_if(|(id, _)| *id == call) else { return };
        match (job, result) {
            (Job::Register(wish), Ok(arguments)) => match reg_id(wish, &arguments) {
                Ok(reg_id) => {
                    tracing::info!(%udn, %wish, %reg_id, "registered with the gateway");
                    let before = gateway.registered.insert(wish, reg_id);
                    gateway.surplus.extend(before.filter(|before| *before != reg_id));
                    gateway.confirmed.insert(wish);
                    gateway.refused.remove(&wish);
                    self.changed |= before != Some(reg_id);
                    succeed(gateway);
                }
                Err(why) => {
                    tracing::warn!(%udn, %wish, why, "the gateway's answer is not understood");
                    gateway.refused.insert(wish, Refused { why, times: 1, again_at: None, due: false });
                }
            },
            (Job::Withdraw(reg_id), Ok(_)) => {
                tracing::info!(%udn, %reg_id, "withdrawn from the gateway");
                forget(gateway, reg_id);
                self.changed = true;
                succeed(gateway);
            }
            (Job::Withdraw(reg_id), Err(CallError::Fault(fault))) => {
                // Unknown there, or another's by now: either way it no longer stands for us. Another fault will not
                // get better by asking again, and the number must not block what comes after it.
                if !Refusal::of(&fault)
                    .is_some_and(|r| matches!(r.kind, RefusalKind::UnknownRegId | RefusalKind::ForeignRegId))
                {
                    tracing::warn!(%udn, %reg_id, %fault, "not withdrawn from the gateway");
                }
                forget(gateway, reg_id);
                self.changed = true;
                succeed(gateway);
            }
            (Job::Register(wish), Err(CallError::Fault(fault))) => {
                refuse(gateway, wish, &fault, now);
                let again_at = gateway.refused.get(&wish).and_then(|r| r.again_at);
                tracing::warn!(%udn, %wish, %fault, again_s = again_at.map(|at| at.since(now).as_secs()), "the gateway refused");
                succeed(gateway);
            }
            // Anything else may be better next time: the gateway may be restarting.
            (_, Err(error)) => put_off(gateway, error.to_string(), now),
        }
    }
}

fn registrations(udn: &Udn, gateway: &Gateway) -> impl Iterator<Item = Registered> {
    let udn = udn.to_string();
    gateway.registered.iter().map(move |(wish, reg_id)| Registered {
        gateway: udn.clone(),
        wish: *wish,
        reg_id: *reg_id,
    })
}

fn succeed(gateway: &mut Gateway) {
    gateway.failures = 0;
    gateway.error = None;
}

fn put_off(gateway: &mut Gateway, error: String, now: BootTime) {
    let pause = GATEWAY_RETRY_FIRST.saturating_mul(2u32.saturating_pow(gateway.failures.min(16)));
    tracing::debug!(name = gateway.name, error, ?pause, "call to the gateway failed");
    gateway.retry_at = Some(now + pause.min(GATEWAY_RETRY_LONGEST).max(Duration::from_millis(1)));
    gateway.failures = gateway.failures.saturating_add(1);
    gateway.error = Some(error);
}

/// Keeps a refusal; one that may pass is asked again, later each time.
fn refuse(gateway: &mut Gateway, wish: Wish, fault: &UpnpError, now: BootTime) {
    let passing = matches!(fault.code, ErrorCode::ACTION_FAILED | ErrorCode::OUT_OF_MEMORY | ErrorCode::DEVICE_BUSY);
    let before = gateway.refused.get(&wish).map_or(0, |r| r.times);
    let pause = WISH_RETRY_FIRST.saturating_mul(2u32.saturating_pow(before.min(16))).min(WISH_RETRY_LONGEST);
    let again_at = passing.then(|| now + pause);
    let refused = Refused { why: fault.to_string(), times: before.saturating_add(1), again_at, due: false };
    gateway.refused.insert(wish, refused);
}

fn forget(gateway: &mut Gateway, reg_id: RegId) {
    let Gateway { registered, confirmed, surplus, .. } = gateway;
    surplus.remove(&reg_id);
    registered.retain(|wish, id| {
        let stays = *id != reg_id;
        if !stays {
            // Confirmed after it was taken back, while its call was under way: wished again it must be told again.
            confirmed.remove(wish);
        }
        stays
    });
}

/// A job as an action with its arguments.
fn call(job: Job, uuid: CallerId, address: CallerAddress) -> (&'static str, Vec<(String, String)>) {
    match job {
        Job::Register(Wish::WakeUpTime(time)) => (WakeUpTime::NAME, WakeUpTime { uuid, address, time }.arguments()),
        Job::Register(Wish::NoStandbyPeriod(window)) => {
            let (start_time, stop_time) = (window.start(), window.end());
            (NoStandbyPeriod::NAME, NoStandbyPeriod { uuid, address, start_time, stop_time }.arguments())
        }
        Job::Withdraw(reg_id) => (Withdraw::NAME, Withdraw { uuid, address, reg_id }.arguments()),
    }
}

/// The number in a gateway's reply.
fn reg_id(wish: Wish, arguments: &[(String, String)]) -> Result<RegId, String> {
    match wish {
        Wish::WakeUpTime(_) => WakeUpTime::decode_reply(arguments).map(|r| r.reg_id),
        Wish::NoStandbyPeriod(_) => NoStandbyPeriod::decode_reply(arguments).map(|r| r.reg_id),
    }
    .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
