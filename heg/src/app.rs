//! The daemon: binds everything and runs the one loop. Each turn takes one event, hands it to the machine it is for, and carries
//! out what they all order until they order nothing more.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use daemon_kit::clock::{self, BootTimer, WallClockChanges};
use daemon_kit::control::{ControlRequest, ControlServer, ControlStream};
use daemon_kit::exit::Exit;
use daemon_kit::logging::Logging;
use daemon_kit::signals::{Signal, Signals};
use daemon_kit::systemd::Systemd;
use daemon_kit::{boot_counter, identity, state_dir};
use http::StatusCode;
use nix::time::{ClockId, clock_gettime};
use upnp::device::{ActionCall, Handled, RootDevice, not_found, presentation_response};
use upnp::ids::Udn;
use upnp::net::{Channel, HttpAnswer, IncomingRequest, Interface, Owner};
use upnp::time::{BootTime, earliest};
use upnp_net::{InterfaceFilter, Net, NetConfig, NetEvent, Responder};

use crate::api::routes::{self, Route, RouteError};
use crate::api::{ApplianceView, CommandView, EntryView, OutcomeView, RegistrationView, StatusView, WatchLine};
use crate::config::Config;
use crate::control_point::Appliances;
use crate::device::{self, Identity};
use crate::gateway::{AskError, AskId, Effect, Gateway, Input, Reply};
use crate::journal::Entry;
use crate::limits::{ASKS_MAX, CONTROL_WAITING_MAX, DRAIN_WITHIN, RECENT_ENTRIES, WATCHERS_MAX};
use crate::neighbours;
use crate::now::Now;
use crate::page::Page;
use crate::registrations::Key;
use crate::store::batch::{Pending, Settled};
use crate::store::worker::{Done, Worker};
use crate::store::{self, JournalQuery};
use crate::wake::Waker;

/// Permission bits of the control socket: owner and group.
const SOCKET_MODE: u32 = 0o660;
/// A difference between boot time and awake time that grows by more than this in a turn was sleep.
const SLEPT_MIN: Duration = Duration::from_secs(2);

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting; once it runs nothing does.
pub fn run(config: Config, named: Option<PathBuf>, logging: Logging) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(Exit::OsErr)?;
    runtime.block_on(async {
        let mut app = App::start(config, named, logging).await?;
        while app.tick().await {}
        app.drain().await;
        Ok(Exit::Ok)
    })
}

/// Somebody who waits for an answer of the gateway.
enum Asker {
    Soap(Box<ActionCall>, Responder),
    Control(ControlRequest),
}

struct App {
    config: Config,
    named: Option<PathBuf>,
    logging: Logging,
    identity: (Udn, String),
    state_dir: PathBuf,
    boot_id: u32,
    net: Net,
    interfaces: Vec<Interface>,
    control: ControlServer,
    signals: Signals,
    systemd: Systemd,
    timer: BootTimer,
    wall_clock: WallClockChanges,
    gateway: Gateway,
    appliances: Appliances,
    device: RootDevice,
    worker: Worker<ControlRequest>,
    pending: Pending<(AskId, Reply)>,
    waker: Waker,
    askers: BTreeMap<AskId, Asker>,
    next_ask: u64,
    watchers: Vec<ControlStream>,
    recent: VecDeque<Entry>,
    troubles: Vec<String>,
    started: BootTime,
    asleep: Duration,
    ready: bool,
}

/// What a turn of the loop waits for.
enum Event {
    Net(NetEvent),
    Control(ControlRequest),
    Signal(Signal),
    Store(Done<ControlRequest>),
    WallClock,
    Due,
}

impl App {
    async fn start(config: Config, named: Option<PathBuf>, logging: Logging) -> anyhow::Result<Self> {
        let state_dir = config.state_dir();
        state_dir::ensure(&state_dir)?;
        let uuid = identity::load_or_create(&state_dir)?;
        let udn = Udn::parse(&format!("uuid:{uuid}")).context("identity")?;
        let boot_id = boot_counter::next(&state_dir)?;
        let now = now();
        let (worker, start) = Worker::open(&state_dir.join(store::FILE), config.retention(), now.wall)
            .with_context(|| format!("database {}", state_dir.join(store::FILE).display()))?;
        let control = ControlServer::bind(&config.socket(), SOCKET_MODE).await.context(Exit::Unavailable)?;
        let net = Net::bind(net_config(&config)).await.context(Exit::Unavailable)?;
        let [seed_device, seed_control] = seeds()?;
        let name = config.device.friendly_name.clone().unwrap_or_else(default_name);
        let server = format!("Linux/{} UPnP/1.1 heg-gateway/{}", kernel("osrelease"), env!("CARGO_PKG_VERSION"));
        let identity = Identity { udn: udn.clone(), friendly_name: name.clone(), server: server.clone(), boot_id };
        let us = uuid.parse().context("identity")?;
        tracing::info!(%udn, name, port = net.http_port(), socket = %control.path().display(), state = %state_dir.display(), "started");
        Ok(Self {
            device: device::root_device(&config, identity, net.http_port(), seed_device, now.boot),
            appliances: Appliances::new(&config, us, server, net.http_port(), seed_control, now.boot),
            gateway: Gateway::new(config.settings(clock::zone()), start.restored, now),
            pending: Pending::new(Duration::from_secs(config.store.write_every_s.into())),
            identity: (udn, name),
            state_dir,
            boot_id,
            net,
            interfaces: Vec::new(),
            control,
            signals: Signals::new().context(Exit::OsErr)?,
            systemd: Systemd::from_env(),
            timer: BootTimer::new().context(Exit::OsErr)?,
            wall_clock: WallClockChanges::new().context(Exit::OsErr)?,
            worker,
            waker: Waker::default(),
            askers: BTreeMap::new(),
            next_ask: 1,
            watchers: Vec::new(),
            recent: start.recent.into(),
            troubles: start.set_aside.into_iter().collect(),
            started: now.boot,
            asleep: asleep(),
            ready: false,
            config,
            named,
            logging,
        })
    }

    /// One turn; `false` when it is time to end.
    async fn tick(&mut self) -> bool {
        let event = self.next_event().await;
        let now = now();
        self.notice_sleep(now);
        let going_on = match event {
            Event::Net(event) => {
                self.net_event(event, now);
                true
            }
            Event::Control(request) => {
                self.control_request(request, now);
                true
            }
            Event::Store(done) => {
                self.stored(done, now);
                true
            }
            Event::WallClock => {
                tracing::info!(now = %now.wall, "the wall clock was set");
                self.gateway.handle(Input::ClockChanged, now);
                true
            }
            Event::Signal(Signal::Reload) => {
                self.reload(now);
                true
            }
            Event::Signal(Signal::Terminate | Signal::Interrupt) => false,
            Event::Due => true,
        };
        self.settle(now);
        self.systemd.status(&self.status_line());
        self.systemd.watchdog(now.boot.since_boot());
        going_on
    }

    async fn next_event(&mut self) -> Event {
        let due = self.poll_timeout().map(BootTime::since_boot);
        let due = due.into_iter().chain(self.systemd.watchdog_due()).min();
        tokio::select! {
            event = self.net.next() => Event::Net(event),
            request = self.control.next() => Event::Control(request),
            signal = self.signals.next() => Event::Signal(signal),
            done = self.worker.next() => Event::Store(done),
            () = self.wall_clock.next() => Event::WallClock,
            () = self.timer.until(due) => Event::Due,
        }
    }

    fn poll_timeout(&self) -> Option<BootTime> {
        let machines = earliest(self.appliances.machine_ref().poll_timeout(), self.device.poll_timeout());
        earliest(machines, earliest(self.gateway.poll_timeout(), self.pending.poll_timeout()))
    }

    /// Lets time pass in the machines whose time has come, and carries out orders until there are no more.
    fn settle(&mut self, now: Now) {
        let due = |at: Option<BootTime>| at.is_some_and(|at| at <= now.boot);
        if due(self.appliances.machine_ref().poll_timeout()) {
            self.appliances.machine().handle_timeout(now.boot);
        }
        if due(self.device.poll_timeout()) {
            self.device.handle_timeout(now.boot);
        }
        if due(self.gateway.poll_timeout()) {
            self.gateway.handle_timeout(now);
        }
        loop {
            while let Some(effect) = self.appliances.machine().poll_effect() {
                self.net.apply(effect);
            }
            while let Some(effect) = self.device.poll_effect() {
                self.net.apply(effect);
            }
            let mut any = false;
            while let Some(input) = self.appliances.poll_input() {
                self.gateway.handle(input, now);
                any = true;
            }
            while let Some(effect) = self.gateway.poll_effect() {
                self.carry_out(effect, now);
                any = true;
            }
            if !any {
                break;
            }
        }
        if let Some(batch) = self.pending.take(now.boot) {
            self.worker.write(batch, now.wall);
        }
        if self.device.boot_id() != self.boot_id {
            self.boot_id = self.device.boot_id();
            if let Err(error) = boot_counter::record(&self.state_dir, self.boot_id) {
                tracing::warn!(%error, "boot counter not written");
            }
        }
    }

    fn net_event(&mut self, event: NetEvent, now: Now) {
        match event {
            NetEvent::Interfaces(interfaces) => self.interfaces_changed(interfaces, now),
            NetEvent::Datagram(datagram) => {
                if datagram.channel == Channel::Ssdp {
                    self.device.handle_datagram(&datagram, now.boot);
                }
                self.appliances.machine().handle_datagram(&datagram, now.boot);
            }
            NetEvent::Request(request, responder) => self.http_request(request, responder, now),
            NetEvent::Answer(answer) => self.http_answer(answer, now),
        }
    }

    fn interfaces_changed(&mut self, interfaces: Vec<Interface>, now: Now) {
        for interface in &interfaces {
            let addresses: Vec<_> = interface.addresses.iter().map(|a| a.address.to_string()).collect();
            tracing::info!(interface = interface.name, addresses = addresses.join(" "), "in use");
        }
        if interfaces.is_empty() {
            tracing::warn!("no usable network interface; waiting for one");
        }
        self.device.handle_interfaces(&interfaces, now.boot);
        self.appliances.machine().handle_interfaces(&interfaces, now.boot);
        self.interfaces = interfaces;
        // Always the first event: everything is bound now.
        if !std::mem::replace(&mut self.ready, true) {
            self.systemd.ready(&self.status_line());
        }
    }

    fn http_request(&mut self, request: IncomingRequest, responder: Responder, now: Now) {
        match self.device.handle_request(&request, now.boot) {
            Handled::Response(response) => responder.send(response),
            Handled::Presentation => {
                let html = self.page(now);
                responder.send(presentation_response(html));
            }
            Handled::NotMine => {
                let response = self.appliances.machine().handle_request(&request, now.boot);
                responder.send(response.unwrap_or_else(not_found));
            }
            Handled::Action(call) => self.action(call, responder, now),
        }
    }

    fn action(&mut self, call: ActionCall, responder: Responder, now: Now) {
        let soap = self.askers.values().filter(|a| matches!(a, Asker::Soap(..))).count();
        let request = match device::request(&call) {
            Ok(_) if soap >= ASKS_MAX => {
                let busy = Reply::No(AskError::Busy);
                return responder.send(device::response(&call, busy));
            }
            Ok(request) => request,
            Err(error) => return responder.send(call.respond(Err(error))),
        };
        let (from, (caller, request)) = (call.peer.ip(), request);
        let ask = self.ask(Asker::Soap(Box::new(call), responder));
        self.gateway.handle(Input::ApplianceAsks { ask, from, caller, request }, now);
    }

    fn ask(&mut self, asker: Asker) -> AskId {
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.askers.insert(ask, asker);
        ask
    }

    fn http_answer(&mut self, answer: HttpAnswer, now: Now) {
        match answer.id.owner {
            Owner::Device => self.device.handle_answer(answer, now.boot),
            Owner::ControlPoint => self.appliances.machine().handle_answer(answer, now.boot),
        }
    }

    fn carry_out(&mut self, effect: Effect, now: Now) {
        match effect {
            Effect::Call { call, udn, order } => {
                if let Some(input) = self.appliances.call(call, &udn, order, now.boot) {
                    self.gateway.handle(input, now);
                }
            }
            Effect::SendMagicPacket { mac, address, secure_on } => {
                self.waker.send(&self.interfaces, mac, address, secure_on);
            }
            Effect::LookUpNeighbour(address) => {
                let mac = neighbours::mac_of(address).unwrap_or_else(|error| {
                    tracing::debug!(%address, %error, "neighbour table not read");
                    None
                });
                self.gateway.handle(Input::NeighbourLooked { address, mac }, now);
            }
            Effect::Search => self.appliances.machine().search(now.boot),
            Effect::SaveAppliance(udn) => {
                let profile = self.gateway.registry().get(&udn).map(|a| a.profile().clone());
                self.pending.appliance(udn, profile, now.boot);
            }
            Effect::DropAppliance(udn) => {
                self.tell(&WatchLine::Forgotten { udn: udn.to_string() });
                self.pending.appliance(udn, None, now.boot);
            }
            Effect::SaveRegistration { ask, registration } => {
                self.pending.registration(registration.key(), Some(registration), ask, now.boot);
            }
            Effect::DropRegistration { ask, key } => self.pending.registration(key, None, ask, now.boot),
            Effect::Journal(entry) => {
                self.tell(&WatchLine::Journal { entry: EntryView::new(&self.gateway, &entry) });
                if self.recent.len() >= RECENT_ENTRIES {
                    self.recent.pop_front();
                }
                self.recent.push_back(entry.clone());
                self.pending.entry(entry, now.boot);
            }
            Effect::Answer { ask, reply } => self.pending.reply((ask, reply), now.boot),
            Effect::Changed(udn) => {
                if self.watchers.is_empty() {
                    return;
                }
                if let Some(appliance) = self.gateway.registry().get(&udn) {
                    let appliance = Box::new(ApplianceView::new(&self.gateway, appliance));
                    self.tell(&WatchLine::Appliance { appliance });
                }
            }
        }
    }

    /// Tells everybody who watches; who does not keep up is cut off by the stream itself.
    fn tell(&mut self, line: &WatchLine) {
        self.watchers.retain_mut(|watcher| watcher.send(line).is_ok());
    }

    fn stored(&mut self, done: Done<ControlRequest>, now: Now) {
        match done {
            Done::Written(result) => {
                let Settled { saved, replies } = self.pending.written(result, now.boot);
                for (ask, result) in saved {
                    self.gateway.handle(Input::Saved { ask, result }, now);
                }
                for (ask, reply) in replies {
                    self.answer(ask, reply);
                }
            }
            Done::BeganAnew(batch, note) => {
                self.troubles.push(note);
                self.pending.began_anew(batch, now.boot);
                self.write_everything(now);
            }
            Done::Journal(request, Ok(entries)) => {
                let views: Vec<_> = entries.iter().map(|entry| EntryView::new(&self.gateway, entry)).collect();
                request.respond_json(StatusCode::OK, &views);
            }
            Done::Journal(request, Err(why)) => {
                request.respond_error(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "database",
                    format!("the journal cannot be read: {why}"),
                );
            }
        }
    }

    /// After the database was begun anew: all that is known goes into it.
    fn write_everything(&mut self, now: Now) {
        for appliance in self.gateway.registry().iter() {
            self.pending.appliance(appliance.udn().clone(), Some(appliance.profile().clone()), now.boot);
        }
        for registration in self.gateway.registrations().iter() {
            self.pending.registration(registration.key(), Some(registration.clone()), None, now.boot);
        }
        self.pending.last_reg(self.gateway.registrations().last_reg());
    }

    fn answer(&mut self, ask: AskId, reply: Reply) {
        match self.askers.remove(&ask) {
            Some(Asker::Soap(call, responder)) => responder.send(device::response(&call, reply)),
            Some(Asker::Control(request)) => respond(request, reply),
            None => {}
        }
    }

    fn control_request(&mut self, request: ControlRequest, now: Now) {
        let route = match routes::route(&request, &self.gateway) {
            Ok(route) => route,
            Err(error) => return refuse(request, error),
        };
        match route {
            Route::Status => {
                let status = self.status(now);
                request.respond_json(StatusCode::OK, &status);
            }
            Route::Appliances => {
                let views: Vec<_> =
                    self.gateway.registry().iter().map(|a| ApplianceView::new(&self.gateway, a)).collect();
                request.respond_json(StatusCode::OK, &views);
            }
            Route::Appliance(udn) => match self.gateway.registry().get(&udn) {
                Some(appliance) => {
                    request.respond_json(StatusCode::OK, &ApplianceView::new(&self.gateway, appliance));
                }
                None => refuse(request, AskError::UnknownAppliance(udn).into()),
            },
            Route::Registrations(udn) => {
                let all = self.gateway.registrations().iter();
                let views: Vec<_> =
                    all.filter(|r| udn.as_ref().is_none_or(|u| r.udn == *u)).map(RegistrationView::new).collect();
                request.respond_json(StatusCode::OK, &views);
            }
            Route::Journal(query) => self.journal(query, request, now),
            Route::Watch => self.watch(request),
            Route::Ask(_) if self.askers.len() >= CONTROL_WAITING_MAX + ASKS_MAX => {
                refuse(request, AskError::Busy.into());
            }
            Route::Ask(wanted) => {
                let uid = request.peer.uid;
                let ask = self.ask(Asker::Control(request));
                self.gateway.handle(Input::PersonAsks { ask, uid, wanted }, now);
            }
        }
    }

    /// What is not written yet belongs to the journal too, so it is written first.
    fn journal(&mut self, query: JournalQuery, request: ControlRequest, now: Now) {
        if let Some(batch) = self.pending.take_early() {
            self.worker.write(batch, now.wall);
        }
        self.worker.journal(query, request);
    }

    fn watch(&mut self, request: ControlRequest) {
        self.watchers.retain(ControlStream::is_open);
        if self.watchers.len() >= WATCHERS_MAX {
            return refuse(request, AskError::Busy.into());
        }
        let Some(mut stream) = request.stream() else { return };
        let appliances = self.gateway.registry().iter().map(|a| Box::new(ApplianceView::new(&self.gateway, a)));
        let lines = appliances.map(|appliance| WatchLine::Appliance { appliance }).chain([WatchLine::Ready]);
        if lines.into_iter().all(|line| stream.send(&line).is_ok()) {
            self.watchers.push(stream);
        }
    }

    fn status_line(&self) -> String {
        let mut line = self.gateway.status_line();
        for trouble in self.troubles() {
            line += "; ";
            line += &trouble;
        }
        line
    }

    fn troubles(&self) -> Vec<String> {
        let mut troubles: Vec<_> = self.pending.trouble().into_iter().collect();
        troubles.extend(self.troubles.iter().cloned());
        if self.interfaces.is_empty() {
            troubles.push("no usable network interface".to_owned());
        }
        troubles
    }

    fn status(&self, now: Now) -> StatusView {
        let count = self.gateway.registry().count();
        let name_of = |udn: &Udn| match self.gateway.registry().get(udn) {
            Some(appliance) => self.gateway.name_of(appliance).to_owned(),
            None => udn.bare().to_owned(),
        };
        let address =
            |i: &Interface| i.addresses.iter().map(|a| format!("{} {}", i.name, a.address)).collect::<Vec<_>>();
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            udn: self.identity.0.to_string(),
            name: self.identity.1.clone(),
            status: self.status_line(),
            interfaces: self.interfaces.iter().flat_map(address).collect(),
            http_port: self.net.http_port(),
            uptime_s: now.boot.since(self.started).as_secs(),
            time_zone: zone_name(self.gateway.zone(), now),
            on: count.on,
            off: count.off,
            standby: count.standby,
            unknown: count.unknown,
            registrations: self.gateway.registrations().iter().count(),
            subscribers: self.device.subscribers(),
            commands: self
                .gateway
                .commands()
                .iter()
                .map(|c| CommandView {
                    udn: c.udn.to_string(),
                    name: name_of(&c.udn),
                    action: c.verb.action(),
                    cause: c.cause.to_string(),
                })
                .collect(),
            troubles: self.troubles(),
            recent: self.recent.iter().map(|entry| EntryView::new(&self.gateway, entry)).collect(),
        }
    }

    fn page(&self, now: Now) -> String {
        let recent: Vec<_> = self.recent.iter().cloned().collect();
        let status = self.status_line();
        let (udn, name) = (self.identity.0.as_str(), &self.identity.1);
        Page { name, udn, status: &status, gateway: &self.gateway, recent: &recent, now: now.wall }.html()
    }

    /// SIGHUP: a configuration that is wrong changes nothing.
    fn reload(&mut self, now: Now) {
        self.systemd.reloading();
        match Config::load(self.named.as_deref()) {
            Ok(config) => {
                self.troubles.retain(|t| !t.starts_with(NOT_RELOADED) && !t.starts_with(NEEDS_RESTART));
                let fixed = self.config.needs_restart(&config);
                if !fixed.is_empty() {
                    let trouble = format!("{NEEDS_RESTART} {}", fixed.join(", "));
                    tracing::warn!("{trouble}");
                    self.troubles.push(trouble);
                }
                self.logging.set(&config.log.level);
                self.pending.set_every(Duration::from_secs(config.store.write_every_s.into()));
                self.worker.retain(config.retention());
                self.gateway.handle(Input::Configured(config.settings(clock::zone())), now);
                // What needs a restart stays as it is running, so that the next reload still tells.
                let Config { log, commands, store, appliance, .. } = config;
                self.config.discovery.poll_every_s = config.discovery.poll_every_s;
                self.config = Config { log, commands, store, appliance, ..self.config.clone() };
                tracing::info!("configuration read again");
            }
            Err(error) => {
                tracing::warn!(%error, "configuration not taken; the old one stays");
                self.troubles.retain(|t| !t.starts_with(NOT_RELOADED));
                self.troubles.push(format!("{NOT_RELOADED}: {error}"));
            }
        }
        self.systemd.ready(&self.status_line());
    }

    /// This machine slept: everybody is told anew, and subscriptions are renewed at once.
    fn notice_sleep(&mut self, now: Now) {
        let asleep = asleep();
        if asleep.saturating_sub(self.asleep) > SLEPT_MIN {
            tracing::info!(seconds = asleep.saturating_sub(self.asleep).as_secs(), "this machine slept");
            self.device.resumed(now.boot);
            self.appliances.machine().resumed(now.boot);
        }
        self.asleep = asleep;
    }

    /// Says goodbye, gives subscriptions back, writes what waits; all within [`DRAIN_WITHIN`].
    async fn drain(mut self) {
        self.systemd.stopping();
        let begun = now();
        self.appliances.machine().stop(begun.boot);
        self.device.stop(begun.boot);
        self.settle(begun);
        let until = begun.boot + DRAIN_WITHIN;
        loop {
            let now = now();
            let said = self.appliances.machine_ref().idle() && self.device.poll_timeout().is_none();
            let quiet = said && !self.pending.is_in_flight();
            if quiet || now.boot >= until {
                break;
            }
            let due = earliest(self.poll_timeout(), Some(until)).map(BootTime::since_boot);
            tokio::select! {
                event = self.net.next() => match event {
                    NetEvent::Answer(answer) => self.http_answer(answer, now),
                    // Dropping the responder answers 503.
                    NetEvent::Request(..) | NetEvent::Datagram(_) | NetEvent::Interfaces(_) => {}
                },
                done = self.worker.next() => self.stored(done, now),
                () = self.timer.until(due) => {}
            }
            self.settle(now);
        }
        if let Some(batch) = self.pending.take_early() {
            self.worker.write(batch, now().wall);
        }
        self.worker.close();
        tracing::info!("stopped");
    }
}

const NOT_RELOADED: &str = "the configuration was not reloaded";
const NEEDS_RESTART: &str = "a restart is needed for changes to";

/// Answers somebody at the control socket.
fn respond(request: ControlRequest, reply: Reply) {
    let done = |reason: String, reg_id, kept_by: Option<&str>| OutcomeView {
        outcome: "done".to_owned(),
        reason,
        code: None,
        reg_id,
        kept_by: kept_by.map(str::to_owned),
    };
    let view = match reply {
        Reply::Outcome(outcome) => outcome.into(),
        Reply::Registered(reg) => done(String::new(), Some(reg.number()), Some("gateway")),
        Reply::Withdrawn(Key::Here(reg)) => done(String::new(), Some(reg.number()), Some("gateway")),
        Reply::Withdrawn(Key::There(_, reg)) => done(String::new(), Some(reg.number()), Some("appliance")),
        Reply::Forgotten => done(String::new(), None, None),
        Reply::No(error) => return refuse(request, error.into()),
    };
    request.respond_json(StatusCode::OK, &view);
}

fn refuse(request: ControlRequest, error: RouteError) {
    request.respond_error(error.status, error.code, error.message);
}

fn net_config(config: &Config) -> NetConfig {
    let network = &config.network;
    NetConfig {
        http_port: network.http_port,
        interfaces: InterfaceFilter {
            include: network.interfaces.clone(),
            exclude: network.exclude_interfaces.clone(),
            loopback: network.loopback,
        },
        ipv6: network.ipv6,
        multicast_ttl: network.multicast_ttl,
        ..NetConfig::default()
    }
}

fn now() -> Now {
    Now { boot: BootTime::from_duration(clock::boottime()), wall: clock::wall() }
}

/// How long this machine has slept since it booted.
fn asleep() -> Duration {
    let awake = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    clock::boottime().saturating_sub(awake)
}

fn seeds() -> anyhow::Result<[u64; 2]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("no random numbers: {e}")).context(Exit::OsErr)?;
    let (a, b) = bytes.split_at(8);
    Ok([a, b].map(|half| half.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))))
}

/// A name of the kernel's own (`/proc/sys/kernel`).
fn kernel(what: &str) -> String {
    let path = Path::new("/proc/sys/kernel").join(what);
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_else(|_| "unknown".to_owned())
}

fn default_name() -> String {
    format!("Energy gateway on {}", kernel("hostname"))
}

fn zone_name(zone: &jiff::tz::TimeZone, now: Now) -> String {
    match zone.iana_name() {
        Some(name) => name.to_owned(),
        None if zone.to_offset(now.wall).is_zero() => "UTC".to_owned(),
        None => format!("UTC{}", zone.to_offset(now.wall)),
    }
}
