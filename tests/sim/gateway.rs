//! The simulated gateway: the real core of heg-gateway, a disk in memory, and those who ask it.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use bytes::Bytes;
use energy_model::MacAddress;
use heg::config::Config;
use heg::control_point::Appliances;
use heg::device::{self, Identity};
use heg::gateway::{AskId, Gateway, Input, Reply, Restored, Wanted};
use heg::home::{Effect, Home, Incoming};
use heg::journal::Entry;
use heg::now::Now;
use heg::planner::Planner;
use heg::registrations::{Key, Wish, local_time};
use heg::store::batch::Batch;
use heg::utility::Utility;
use http::{Response, StatusCode};
use testkit::network::ReplyTo;
use upnp::device::{ActionCall, not_found, presentation_response};
use upnp::ids::Udn;
use upnp::net::{Datagram, HttpAnswer, IncomingRequest, Interface};
use upnp::time::{BootTime, earliest};

use crate::appliance::Calendar;

pub(crate) const HTTP_PORT: u16 = 49_160;
const UUID: &str = "99999999-9999-4999-8999-999999999999";

/// What is on the disk, as the database keeps it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    appliances: BTreeMap<Udn, heg::registry::Profile>,
    registrations: BTreeMap<Key, heg::registrations::Registration>,
    pub(crate) journal: Vec<Entry>,
    last_reg: u32,
}

impl Disk {
    fn write(&mut self, batch: Batch) {
        for (udn, profile) in batch.appliances {
            match profile {
                // Power is live only, it has no column.
                Some(profile) => drop(self.appliances.insert(udn, heg::registry::Profile { power: None, ..profile })),
                None => drop(self.appliances.remove(&udn)),
            }
        }
        for (key, registration) in batch.registrations {
            if let (Key::Here(reg), Some(_)) = (&key, &registration) {
                self.last_reg = self.last_reg.max(reg.number());
            }
            match registration {
                Some(registration) => drop(self.registrations.insert(key, registration)),
                None => drop(self.registrations.remove(&key)),
            }
        }
        self.journal.extend(batch.journal);
        self.last_reg = self.last_reg.max(batch.last_reg);
    }

    fn restored(&self) -> Restored {
        Restored {
            appliances: self.appliances.values().cloned().collect(),
            registrations: self.registrations.values().cloned().collect(),
            last_reg: self.last_reg,
            ..Restored::default()
        }
    }
}

enum Asker {
    Soap(Box<ActionCall>, ReplyTo),
    Person,
}

/// What outlives the gateway's process.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) config: Config,
    pub(crate) calendar: Calendar,
    pub(crate) disk: Disk,
    pub(crate) boot_id: u32,
    pub(crate) rng: fastrand::Rng,
    /// The kernel's neighbour table.
    pub(crate) neighbours: BTreeMap<IpAddr, MacAddress>,
    pub(crate) next_ask: u64,
    /// Who was answered what; over all processes.
    pub(crate) replies: BTreeMap<AskId, Vec<(BootTime, Reply)>>,
    pub(crate) journal: Vec<Entry>,
    /// Against the rules of the house.
    pub(crate) complaints: Vec<String>,
}

pub(crate) struct GatewayHost {
    pub(crate) kept: Kept,
    home: Home,
    writing: Option<(BootTime, Batch)>,
    asked: BTreeMap<AskId, Asker>,
    responses: VecDeque<(ReplyTo, Response<Bytes>)>,
    /// Magic packets to be delivered by the house.
    pub(crate) packets: Vec<MacAddress>,
    pub(crate) stopping: bool,
    now: BootTime,
}

impl GatewayHost {
    pub(crate) fn start(mut kept: Kept, now: BootTime) -> Self {
        kept.boot_id += 1;
        let udn = Udn::parse(&format!("uuid:{UUID}")).expect("a UDN");
        let server = "Linux/6.1 UPnP/1.1 heg-gateway/0.1.0".to_owned();
        let identity = Identity { udn, friendly_name: "Gateway".into(), server: server.clone(), boot_id: kept.boot_id };
        let (device_seed, control_seed) = (kept.rng.u64(..), kept.rng.u64(..));
        let both = Now { boot: now, wall: kept.calendar.at(now) };
        let config = &kept.config;
        let us = UUID.parse().expect("a caller");
        let home = Home::new(
            Gateway::new(config.settings(kept.calendar.zone.clone()), kept.disk.restored(), both),
            Appliances::new(config, us, server, HTTP_PORT, control_seed, now),
            device::root_device(config, identity, HTTP_PORT, device_seed, now),
            Utility::new(UUID, config.utility_settings(), Vec::new(), 1, both),
            Planner::new(UUID, config.planning(kept.calendar.zone.clone()), Vec::new(), both),
            Duration::from_secs(config.store.write_every_s.into()),
            both,
        );
        Self {
            kept,
            home,
            writing: None,
            asked: BTreeMap::new(),
            responses: VecDeque::new(),
            packets: Vec::new(),
            stopping: false,
            now,
        }
    }

    pub(crate) fn mind(&self) -> &Gateway {
        self.home.gateway()
    }

    fn both(&mut self, now: BootTime) -> Now {
        self.now = now;
        Now { boot: now, wall: self.kept.calendar.at(now) }
    }

    fn ask(&mut self, asker: Asker) -> AskId {
        self.kept.next_ask += 1;
        let ask = AskId(self.kept.next_ask);
        self.asked.insert(ask, asker);
        ask
    }

    /// A person asks; each under a user id of its own, so that the journal tells them apart.
    pub(crate) fn person_asks(&mut self, wanted: Wanted, now: BootTime) -> AskId {
        let both = self.both(now);
        let ask = self.ask(Asker::Person);
        self.home.handle(Input::PersonAsks { ask, uid: uid(ask), wanted }, both);
        ask
    }

    /// The service is stopped: goodbyes are said.
    pub(crate) fn stop(&mut self, now: BootTime) {
        let both = self.both(now);
        self.stopping = true;
        self.home.stop(both);
    }

    pub(crate) fn is_done(&self) -> bool {
        self.home.is_done()
    }

    /// The end of a service that was stopped: what waits is written.
    pub(crate) fn flush(&mut self) {
        if let Some((_, batch)) = self.writing.take() {
            self.kept.disk.write(batch);
        }
        if let Some(batch) = self.home.write_early() {
            self.kept.disk.write(batch);
        }
    }

    fn answer(&mut self, ask: AskId, reply: Reply) {
        match self.asked.remove(&ask) {
            Some(Asker::Soap(call, to)) => self.responses.push_back((to, device::response(&call, reply))),
            Some(Asker::Person) => self.kept.replies.entry(ask).or_default().push((self.now, reply)),
            None => self.kept.complaints.push(format!("{ask:?} answered again: {reply:?}")),
        }
    }

    pub(crate) fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime) {
        let both = self.both(now);
        self.home.handle_interfaces(interfaces, both);
    }

    pub(crate) fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime) {
        let both = self.both(now);
        if !self.stopping {
            self.home.handle_datagram(datagram, both);
        }
    }

    pub(crate) fn handle_request(
        &mut self,
        request: &IncomingRequest,
        to: ReplyTo,
        now: BootTime,
    ) -> Option<Response<Bytes>> {
        let both = self.both(now);
        if self.stopping {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return Some(response);
        }
        match self.home.handle_request(request, both) {
            Incoming::Answered(response) => Some(response),
            Incoming::Other => Some(not_found()),
            Incoming::Page => Some(presentation_response("page".into())),
            Incoming::Asked(call) => match device::request(&call) {
                Err(error) => Some(call.respond(Err(error))),
                Ok((caller, request)) => {
                    let from = call.peer.ip();
                    let ask = self.ask(Asker::Soap(call, to));
                    self.home.handle(Input::ApplianceAsks { ask, from, caller, request }, both);
                    None
                }
            },
        }
    }

    pub(crate) fn handle_answer(&mut self, answer: HttpAnswer, now: BootTime) {
        let both = self.both(now);
        self.home.handle_answer(answer, both);
    }

    pub(crate) fn handle_timeout(&mut self, now: BootTime) {
        let both = self.both(now);
        if let Some((_, batch)) = self.writing.take_if(|(at, _)| *at <= now) {
            self.kept.disk.write(batch);
            for (ask, reply) in self.home.written(Ok(()), both) {
                self.answer(ask, reply);
            }
        }
        self.home.handle_timeout(both);
    }

    pub(crate) fn poll_effect(&mut self) -> Option<upnp::Effect> {
        while let Some(effect) = self.home.poll_effect() {
            match effect {
                Effect::Net(effect) => {
                    self.check_order(&effect);
                    return Some(effect);
                }
                Effect::SendMagicPacket { mac, .. } => self.packets.push(mac),
                Effect::LookUpNeighbour(address) => {
                    let mac = self.kept.neighbours.get(&address).copied();
                    let both = self.both(self.now);
                    self.home.handle(Input::NeighbourLooked { address, mac }, both);
                }
                Effect::Write(batch) => {
                    let takes = Duration::from_millis(self.kept.rng.u64(0..40));
                    self.writing = Some((self.now + takes, batch));
                }
                Effect::Journalled(entry) => self.kept.journal.push(entry),
                // This house has no utility.
                Effect::Ask(_)
                | Effect::Decided(_)
                | Effect::Planned
                | Effect::Changed(_)
                | Effect::Forgotten(_)
                | Effect::KeepPrices(_) => {}
            }
        }
        None
    }

    /// GoToStandby must never leave within a window in which the appliance is wanted. Looked at here by the plain rule.
    fn check_order(&mut self, effect: &upnp::Effect) {
        let upnp::Effect::Request(request) = effect else { return };
        let action = request.request.headers().get("soapaction").and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !action.contains("#GoToStandby") {
            return;
        }
        let time = local_time(self.kept.calendar.at(self.now), &self.kept.calendar.zone);
        let mind = self.home.gateway();
        let to: BTreeSet<_> = mind
            .registry()
            .iter()
            .filter(|a| a.profile().address == Some(request.to.ip()))
            .map(|a| a.udn().clone())
            .collect();
        for r in mind.registrations().iter().filter(|r| to.contains(&r.udn)) {
            if let Wish::NoStandby(window) = r.wish
                && window.contains(time)
            {
                self.kept.complaints.push(format!("GoToStandby sent at {time} within {window} to {}", r.udn));
            }
        }
    }

    pub(crate) fn poll_response(&mut self) -> Option<(ReplyTo, Response<Bytes>)> {
        self.responses.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<BootTime> {
        earliest(self.home.poll_timeout(), self.writing.as_ref().map(|(at, _)| *at))
    }
}

/// The user id a person asks under.
pub(crate) fn uid(ask: AskId) -> u32 {
    u32::try_from(ask.0).unwrap_or(u32::MAX)
}
