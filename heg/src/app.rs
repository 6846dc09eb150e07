//! The daemon: binds everything and runs the one loop. Each turn takes one event, hands it to the machine it is for, and carries
//! out what they all order until they order nothing more.

mod firewall;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use daemon_kit::clock::{self, BootTimer, WallClockChanges};
use daemon_kit::control::{ControlRequest, ControlServer, ControlStream};
use daemon_kit::exit::Exit;
use daemon_kit::logging::Logging;
use daemon_kit::memory::{self, Trim};
use daemon_kit::signals::{Signal, Signals};
use daemon_kit::systemd::Systemd;
use daemon_kit::{boot_counter, identity, state_dir};
use http::StatusCode;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use upnp::device::{ActionCall, presentation_response};
use upnp::ids::Udn;
use upnp::net::{IncomingRequest, Interface};
use upnp::time::{BootTime, earliest};
use upnp_net::{InterfaceFilter, Net, NetConfig, NetEvent, Responder};

use crate::api::planning::{DecisionView, PlanView, RuleView, SavingsView, WhyView};
use crate::api::prices::PricesView;
use crate::api::routes::{self, Route, RouteError};
use crate::api::utility::{EnrolBody, UtilityView};
use crate::api::{ApplianceView, CommandView, EntryView, OutcomeView, RegistrationView, StatusView, WatchLine};
use crate::config::Config;
use crate::control_point::Appliances;
use crate::device::{self, Identity};
use crate::firewall::{Firewall, Woken};
use crate::gateway::{AskError, AskId, Gateway, Input, Reply};
use crate::home::{Effect, Home, Incoming};
use crate::journal::Entry;
use crate::limits::{ASKS_MAX, CONTROL_WAITING_MAX, DRAIN_WITHIN, PRICES_KEPT_BYTES_MAX, RECENT_ENTRIES, WATCHERS_MAX};
use crate::neighbours;
use crate::now::Now;
use crate::page::Page;
use crate::planner::{self, Planner};
use crate::price_feed::PriceFeed;
use crate::prices::{HomePrices, News};
use crate::registrations::Key;
use crate::rules::Rule;
use crate::store::worker::{Done, Worker};
use crate::store::{self, JournalQuery};
use crate::utility::{self, Utility};
use crate::utility_client::{Happened, UtilityClient};
use crate::wake::Waker;

/// Permission bits of the control socket: owner and group.
const SOCKET_MODE: u32 = 0o660;
/// Prices of a file or feed over a restart, in the state directory.
const PRICES_FILE: &str = "prices.json";
/// In the status line, for those who would have one.
const NO_UTILITY: &str = "no utility, `hegctl enrol TOKEN` joins one";
/// A difference between boot time and awake time that grows by more than this in a turn was sleep.
const SLEPT_MIN: Duration = Duration::from_secs(2);

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting; once it runs nothing does.
pub fn run(config: Config, named: Option<PathBuf>, logging: Logging) -> anyhow::Result<Exit> {
    memory::keep_heaps_short();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().on_thread_park(memory::when_parked).build().context(Exit::OsErr)?;
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
    home: Home,
    client: UtilityClient,
    worker: Worker<ControlRequest>,
    price_news: mpsc::Receiver<News>,
    price_seed: u64,
    waker: Waker,
    firewall: Firewall,
    askers: BTreeMap<AskId, Asker>,
    next_ask: u64,
    watchers: Vec<ControlStream>,
    recent: VecDeque<Entry>,
    troubles: Vec<String>,
    started: BootTime,
    asleep: Duration,
    ready: bool,
    trim: Trim,
}

/// What a turn of the loop waits for.
enum Event {
    Net(NetEvent),
    Control(ControlRequest),
    Signal(Signal),
    Store(Done<ControlRequest>),
    Utility(Happened),
    Prices(News),
    WallClock,
    Firewall(Woken),
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
        let (worker, mut start) = Worker::open(&state_dir.join(store::FILE), config.retention(), now.wall)
            .with_context(|| format!("database {}", state_dir.join(store::FILE).display()))?;
        let control = ControlServer::bind(&config.socket(), SOCKET_MODE).await.context(Exit::Unavailable)?;
        // Before anything listens; where that fails, only addresses out of the Internet's reach are listened on.
        let mut firewall =
            Firewall::start(config.firewall.clone(), &state_dir, config.network.http_port, now.boot).await;
        let mut net_config = net_config(&config);
        net_config.interfaces = firewall.interfaces(net_config.interfaces);
        let net = Net::bind(net_config).await.context(Exit::Unavailable)?;
        let [seed_device, seed_control, seed_utility] = seeds()?;
        let name = config.device.friendly_name.clone().unwrap_or_else(default_name);
        let server = format!("Linux/{} UPnP/1.1 heg-gateway/{}", kernel("osrelease"), env!("CARGO_PKG_VERSION"));
        let identity = Identity { udn: udn.clone(), friendly_name: name.clone(), server: server.clone(), boot_id };
        let us = uuid.parse().context("identity")?;
        let me = uuid.parse().context("identity")?;
        let rows = std::mem::take(&mut start.restored.utility);
        let mut client = UtilityClient::open(&state_dir, me, config.utility.reachable.clone(), &rows)?;
        let mut sealed_port = None;
        if let Some(address) = config.utility.listen {
            let bound = client.listen(address).await.with_context(|| format!("utility.listen {address}"));
            let bound = bound.context(Exit::Unavailable)?;
            sealed_port = Some(bound.port());
            tracing::info!(address = %bound, "the utility may call");
        }
        let kept = kept_prices(&state_dir);
        let prices = HomePrices::new(config.tariff.settings(clock::zone()), kept.as_deref(), now);
        let [price_seed, ..] = seeds()?;
        let price_news = watch_prices(&config, price_seed).context(Exit::OsErr)?;
        firewall.listening(net.http_port(), sealed_port, now.boot).await;
        tracing::info!(%udn, name, port = net.http_port(), socket = %control.path().display(), state = %state_dir.display(), "started");
        let planned = std::mem::take(&mut start.restored.planner);
        Ok(Self {
            home: Home::new(
                Gateway::new(config.settings(clock::zone()), start.restored, now),
                Appliances::new(&config, us, server, net.http_port(), seed_control, now.boot),
                device::root_device(&config, identity, net.http_port(), seed_device, now.boot),
                Utility::new(me.as_str(), config.utility_settings(), rows, seed_utility, now),
                Planner::new(&uuid, config.planning(clock::zone()), planned, now),
                Duration::from_secs(config.store.write_every_s.into()),
                now,
            )
            .with_prices(prices),
            client,
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
            price_news,
            price_seed,
            waker: Waker::default(),
            firewall,
            askers: BTreeMap::new(),
            next_ask: 1,
            watchers: Vec::new(),
            recent: start.recent.into(),
            troubles: start.set_aside.into_iter().collect(),
            started: now.boot,
            asleep: asleep(),
            ready: false,
            trim: Trim::when_parked(now.boot.since_boot()),
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
            Event::Utility(happened) => {
                self.client.handle(happened, now);
                true
            }
            Event::Prices(news) => {
                self.home.handle_prices(news, now);
                true
            }
            Event::WallClock => {
                tracing::info!(now = %now.wall, "the wall clock was set");
                self.home.handle(Input::ClockChanged, now);
                true
            }
            Event::Firewall(woken) => {
                self.firewall.woken(woken, now.boot);
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
        self.systemd.status(&self.status_line(now));
        self.systemd.watchdog(now.boot.since_boot());
        self.trim.turn(now.boot.since_boot());
        going_on
    }

    async fn next_event(&mut self) -> Event {
        let due = earliest(self.home.poll_timeout(), self.firewall.poll_timeout()).map(BootTime::since_boot);
        let due = due.into_iter().chain(self.systemd.watchdog_due()).chain(self.trim.due());
        let due = due.chain(self.client.due(now())).min();
        tokio::select! {
            event = self.net.next() => Event::Net(event),
            request = self.control.next() => Event::Control(request),
            signal = self.signals.next() => Event::Signal(signal),
            done = self.worker.next() => Event::Store(done),
            happened = self.client.next() => Event::Utility(happened),
            Some(news) = self.price_news.recv() => Event::Prices(news),
            () = self.wall_clock.next() => Event::WallClock,
            woken = self.firewall.next() => Event::Firewall(woken),
            () = self.timer.until(due) => Event::Due,
        }
    }

    /// Lets time pass, and carries out orders until there are no more.
    fn settle(&mut self, now: Now) {
        self.home.handle_timeout(now);
        self.tend_firewall(now);
        loop {
            while let Some(effect) = self.home.poll_effect() {
                self.carry_out(effect, now);
            }
            if self.client.is_called() {
                let poll = self.home.utility_calls(now);
                self.client.answer_call(poll, now);
            }
            self.client.turn(now);
            if let Some((path, bytes)) = self.client.poll_keep() {
                self.worker.keep(path, bytes);
            }
            let Some(input) = self.client.poll_input() else { break };
            self.home.handle_utility(input, now);
        }
        if self.home.boot_id() != self.boot_id {
            self.boot_id = self.home.boot_id();
            if let Err(error) = boot_counter::record(&self.state_dir, self.boot_id) {
                tracing::warn!(%error, "boot counter not written");
            }
        }
    }

    fn net_event(&mut self, event: NetEvent, now: Now) {
        match event {
            NetEvent::Interfaces(interfaces) => self.interfaces_changed(interfaces, now),
            NetEvent::Datagram(datagram) => self.home.handle_datagram(&datagram, now),
            NetEvent::Request(request, responder) => self.http_request(request, responder, now),
            NetEvent::Answer(answer) => self.home.handle_answer(answer, now),
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
        self.home.handle_interfaces(&interfaces, now);
        self.interfaces = interfaces;
        // Always the first event: everything is bound now.
        if !std::mem::replace(&mut self.ready, true) {
            self.systemd.ready(&self.status_line(now));
        }
    }

    fn http_request(&mut self, request: IncomingRequest, responder: Responder, now: Now) {
        match self.home.handle_request(&request, now) {
            Incoming::Answered(response) => responder.send(response),
            Incoming::Page => {
                let html = self.page(now);
                responder.send(presentation_response(html));
            }
            Incoming::Asked(call) => self.action(call, responder, now),
        }
    }

    fn action(&mut self, call: Box<ActionCall>, responder: Responder, now: Now) {
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
        let ask = self.ask(Asker::Soap(call, responder));
        self.home.handle(Input::ApplianceAsks { ask, from, caller, request }, now);
    }

    fn ask(&mut self, asker: Asker) -> AskId {
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.askers.insert(ask, asker);
        ask
    }

    fn carry_out(&mut self, effect: Effect, now: Now) {
        match effect {
            Effect::Net(effect) => self.net.apply(effect),
            Effect::SendMagicPacket { mac, address, secure_on } => {
                self.waker.send(&self.interfaces, mac, address, secure_on);
            }
            Effect::LookUpNeighbour(address) => {
                let mac = neighbours::mac_of(address).unwrap_or_else(|error| {
                    tracing::debug!(%address, %error, "neighbour table not read");
                    None
                });
                self.home.handle(Input::NeighbourLooked { address, mac }, now);
            }
            Effect::Write(batch) => self.worker.write(batch, now.wall),
            Effect::KeepPrices(bytes) => self.worker.keep_prices(self.state_dir.join(PRICES_FILE), bytes),
            Effect::Journalled(entry) => {
                self.tell(&WatchLine::Journal { entry: EntryView::new(self.home.gateway(), &entry) });
                if self.recent.len() >= RECENT_ENTRIES {
                    self.recent.pop_front();
                }
                self.recent.push_back(entry);
            }
            Effect::Decided(decision) => {
                let decision = DecisionView::new(self.home.gateway(), &decision);
                self.tell(&WatchLine::Decision { decision });
            }
            Effect::Ask(question) => self.client.ask(question, now),
            Effect::Forgotten(udn) => {
                self.firewall.registry_changed();
                self.tell(&WatchLine::Forgotten { udn: udn.to_string() });
            }
            Effect::Changed(udn) => {
                self.firewall.registry_changed();
                if self.watchers.is_empty() {
                    return;
                }
                if let Some(appliance) = self.home.gateway().registry().get(&udn) {
                    let appliance = Box::new(ApplianceView::new(self.home.gateway(), appliance));
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
                for (ask, reply) in self.home.written(result, now) {
                    self.answer(ask, reply);
                }
            }
            Done::BeganAnew(batch, note) => {
                self.troubles.push(note);
                self.home.began_anew(batch, now);
            }
            Done::Kept(result) => self.client.kept(result, now),
            Done::Journal(request, Ok(entries)) => {
                let views: Vec<_> = entries.iter().map(|entry| EntryView::new(self.home.gateway(), entry)).collect();
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

    fn answer(&mut self, ask: AskId, reply: Reply) {
        match self.askers.remove(&ask) {
            Some(Asker::Soap(call, responder)) => responder.send(device::response(&call, reply)),
            Some(Asker::Control(request)) => respond(request, reply),
            None => {}
        }
    }

    fn control_request(&mut self, request: ControlRequest, now: Now) {
        let route = match routes::route(&request, self.home.gateway()) {
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
                    self.home.gateway().registry().iter().map(|a| ApplianceView::new(self.home.gateway(), a)).collect();
                request.respond_json(StatusCode::OK, &views);
            }
            Route::Appliance(udn) => match self.home.gateway().registry().get(&udn) {
                Some(appliance) => {
                    request.respond_json(StatusCode::OK, &ApplianceView::new(self.home.gateway(), appliance));
                }
                None => refuse(request, AskError::UnknownAppliance(udn).into()),
            },
            Route::Registrations(udn) => {
                let all = self.home.gateway().registrations().iter();
                let views: Vec<_> =
                    all.filter(|r| udn.as_ref().is_none_or(|u| r.udn == *u)).map(RegistrationView::new).collect();
                request.respond_json(StatusCode::OK, &views);
            }
            Route::Journal(query) => self.journal(query, request, now),
            Route::Prices => request.respond_json(StatusCode::OK, &PricesView::new(self.home.prices(), now)),
            Route::Rules(udn) => {
                let gateway = self.home.gateway();
                let about = |r: &&Rule| udn.as_ref().is_none_or(|udn| r.is_about(udn));
                let rules = self.home.planner().book().iter().filter(about);
                request
                    .respond_json(StatusCode::OK, &rules.map(|r| RuleView::new(gateway, r, now)).collect::<Vec<_>>());
            }
            Route::Plan => {
                let view = PlanView::new(self.home.planner(), self.home.gateway(), now);
                request.respond_json(StatusCode::OK, &view);
            }
            Route::Savings => {
                let view = SavingsView::new(self.home.planner(), self.home.gateway());
                request.respond_json(StatusCode::OK, &view);
            }
            Route::Why(udn) => match WhyView::new(self.home.planner(), self.home.gateway(), &udn, now) {
                Some(view) => request.respond_json(StatusCode::OK, &view),
                None => refuse(request, AskError::Busy.into()),
            },
            Route::Change(_) if self.askers.len() >= CONTROL_WAITING_MAX + ASKS_MAX => {
                refuse(request, AskError::Busy.into());
            }
            Route::Change(change) => {
                let uid = request.peer.uid;
                let ask = self.ask(Asker::Control(request));
                self.home.handle_planner(planner::Input::Asked { ask, uid, change }, now);
            }
            Route::Watch => self.watch(request),
            Route::Firewall(ask) => self.ask_firewall(ask, request, now),
            Route::Utility => {
                let view = UtilityView::new(self.home.utility(), &self.client, self.home.gateway(), now);
                request.respond_json(StatusCode::OK, &view);
            }
            Route::Enrol(EnrolBody { token, replace }) => match self.client.may_enrol(&token, replace) {
                Ok(token) => self.client.enrol(&token, request),
                Err(error) => refuse(request, error.into()),
            },
            Route::Consent(of, yes) => {
                let uid = request.peer.uid;
                let ask = self.ask(Asker::Control(request));
                self.home.handle_utility(utility::Input::Said { ask, uid, of, yes }, now);
            }
            Route::Ask(_) if self.askers.len() >= CONTROL_WAITING_MAX + ASKS_MAX => {
                refuse(request, AskError::Busy.into());
            }
            Route::Ask(wanted) => {
                let uid = request.peer.uid;
                let ask = self.ask(Asker::Control(request));
                self.home.handle(Input::PersonAsks { ask, uid, wanted }, now);
            }
        }
    }

    /// What is not written yet belongs to the journal too, so it is written first.
    fn journal(&mut self, query: JournalQuery, request: ControlRequest, now: Now) {
        if let Some(batch) = self.home.write_early() {
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
        let appliances =
            self.home.gateway().registry().iter().map(|a| Box::new(ApplianceView::new(self.home.gateway(), a)));
        let lines = appliances.map(|appliance| WatchLine::Appliance { appliance }).chain([WatchLine::Ready]);
        if lines.into_iter().all(|line| stream.send(&line).is_ok()) {
            self.watchers.push(stream);
        }
    }

    fn status_line(&self, now: Now) -> String {
        let mut line = match self.home.gateway().registry().is_empty() {
            true => "no appliance found yet: install psm-agent on one, `hegctl appliances` shows it".to_owned(),
            false => self.home.gateway().status_line(),
        };
        let names: Vec<_> = self.interfaces.iter().map(|i| i.name.as_str()).collect();
        if !names.is_empty() {
            line += "; on ";
            line += &names.join(" ");
        }
        line += "; ";
        line += &self.home.utility().status(now).unwrap_or_else(|| NO_UTILITY.to_owned());
        if let Some(firewall) = self.firewall.summary() {
            line += "; ";
            line += &firewall;
        }
        if let Some(prices) = self.home.prices().status() {
            line += "; ";
            line += &prices;
        }
        for trouble in self.troubles() {
            line += "; ";
            line += &trouble;
        }
        line
    }

    fn troubles(&self) -> Vec<String> {
        let mut troubles: Vec<_> = self.home.trouble().into_iter().collect();
        troubles.extend(self.client.trouble());
        troubles.extend(self.home.planner().troubles());
        let prices = self.home.prices();
        troubles.extend(prices.stale().into_iter().chain(prices.troubles()));
        troubles.extend(self.troubles.iter().cloned());
        if self.interfaces.is_empty() {
            troubles.push("no usable network interface".to_owned());
        }
        troubles.extend(self.firewall.trouble());
        troubles
    }

    fn status(&self, now: Now) -> StatusView {
        let count = self.home.gateway().registry().count();
        let name_of = |udn: &Udn| match self.home.gateway().registry().get(udn) {
            Some(appliance) => self.home.gateway().name_of(appliance).to_owned(),
            None => udn.bare().to_owned(),
        };
        let address =
            |i: &Interface| i.addresses.iter().map(|a| format!("{} {}", i.name, a.address)).collect::<Vec<_>>();
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            udn: self.identity.0.to_string(),
            name: self.identity.1.clone(),
            status: self.status_line(now),
            interfaces: self.interfaces.iter().flat_map(address).collect(),
            http_port: self.net.http_port(),
            uptime_s: now.boot.since(self.started).as_secs(),
            time_zone: zone_name(self.home.gateway().zone(), now),
            on: count.on,
            off: count.off,
            standby: count.standby,
            unknown: count.unknown,
            registrations: self.home.gateway().registrations().iter().count(),
            subscribers: self.home.subscribers(),
            commands: self
                .home
                .gateway()
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
            recent: self.recent.iter().map(|entry| EntryView::new(self.home.gateway(), entry)).collect(),
        }
    }

    fn page(&self, now: Now) -> String {
        let recent: Vec<_> = self.recent.iter().cloned().collect();
        let status = self.status_line(now);
        let (udn, name) = (self.identity.0.as_str(), &self.identity.1);
        Page { name, udn, status: &status, gateway: self.home.gateway(), recent: &recent, now: now.wall }.html()
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
                self.home.set_write_every(Duration::from_secs(config.store.write_every_s.into()));
                self.worker.retain(config.retention());
                self.home.handle(Input::Configured(config.settings(clock::zone())), now);
                self.take_tariff(&config, now);
                self.home.handle_planner(planner::Input::Configured(config.planning(clock::zone())), now);
                self.home.handle_utility(utility::Input::Configured(config.utility_settings()), now);
                // What needs a restart stays as it is running, so that the next reload still tells.
                let Config { log, commands, store, tariff, appliance, firewall, mut utility, plan, load, rule, .. } =
                    config;
                self.firewall.configured(firewall.clone());
                self.config.discovery.poll_every_s = config.discovery.poll_every_s;
                (utility.listen, utility.reachable) =
                    (self.config.utility.listen, self.config.utility.reachable.clone());
                self.config = Config {
                    log,
                    commands,
                    store,
                    tariff,
                    utility,
                    appliance,
                    firewall,
                    plan,
                    load,
                    rule,
                    ..self.config.clone()
                };
                tracing::info!("configuration read again");
            }
            Err(error) => {
                tracing::warn!(%error, "configuration not taken; the old one stays");
                self.troubles.retain(|t| !t.starts_with(NOT_RELOADED));
                self.troubles.push(format!("{NOT_RELOADED}: {error}"));
            }
        }
        self.systemd.ready(&self.status_line(now));
    }

    /// Another tariff: whoever looks at the file or feed of before stops.
    fn take_tariff(&mut self, config: &Config, now: Now) {
        if self.config.tariff == config.tariff && config.tariff.zone.is_some() {
            return;
        }
        self.home.set_tariff(config.tariff.settings(clock::zone()), now);
        match watch_prices(config, self.price_seed) {
            Ok(news) => self.price_news = news,
            Err(error) => tracing::warn!(%error, "prices are not looked for as configured now"),
        }
    }

    /// This machine slept: everybody is told anew, and subscriptions are renewed at once.
    fn notice_sleep(&mut self, now: Now) {
        let asleep = asleep();
        if asleep.saturating_sub(self.asleep) > SLEPT_MIN {
            tracing::info!(seconds = asleep.saturating_sub(self.asleep).as_secs(), "this machine slept");
            self.home.resumed(now);
        }
        self.asleep = asleep;
    }

    /// Says goodbye, gives subscriptions back, writes what waits; all within [`DRAIN_WITHIN`].
    async fn drain(mut self) {
        self.systemd.stopping();
        let begun = now();
        self.home.stop(begun);
        self.settle(begun);
        let until = begun.boot + DRAIN_WITHIN;
        loop {
            let now = now();
            if self.home.is_done() || now.boot >= until {
                break;
            }
            let due = earliest(self.home.poll_timeout(), Some(until)).map(BootTime::since_boot);
            tokio::select! {
                event = self.net.next() => match event {
                    NetEvent::Answer(answer) => self.home.handle_answer(answer, now),
                    // Dropping the responder answers 503.
                    NetEvent::Request(..) | NetEvent::Datagram(_) | NetEvent::Interfaces(_) => {}
                },
                done = self.worker.next() => self.stored(done, now),
                () = self.timer.until(due) => {}
            }
            self.settle(now);
        }
        if let Some(batch) = self.home.write_early() {
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
        Reply::Rule(id) => done(format!("rule {id}"), None, None),
        Reply::Forgotten => done(String::new(), None, None),
        Reply::No(error) => return refuse(request, error.into()),
    };
    request.respond_json(StatusCode::OK, &view);
}

fn refuse(request: ControlRequest, error: RouteError) {
    request.respond_error(error.status, error.code, error.message);
}

/// Prices as they were kept; without them the gateway starts all the same.
fn kept_prices(state_dir: &Path) -> Option<Vec<u8>> {
    state_dir::read_bounded(&state_dir.join(PRICES_FILE), PRICES_KEPT_BYTES_MAX).unwrap_or_else(|error| {
        tracing::warn!(error = %format!("{:#}", anyhow::Error::from(error)), "prices of before cannot be read");
        None
    })
}

/// Starts looking at the price file or feed, if there is one. Where none is, no news comes.
fn watch_prices(config: &Config, seed: u64) -> std::io::Result<mpsc::Receiver<News>> {
    let (sender, news) = mpsc::channel(1);
    if let Some(feed) = PriceFeed::new(&config.tariff, seed)? {
        tokio::spawn(feed.run(sender));
    }
    Ok(news)
}

fn net_config(config: &Config) -> NetConfig {
    let network = &config.network;
    NetConfig {
        http_port: network.http_port,
        interfaces: InterfaceFilter {
            include: network.interfaces.clone(),
            exclude: network.exclude_interfaces.clone(),
            loopback: network.loopback,
            private_only: false,
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

fn seeds() -> anyhow::Result<[u64; 3]> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("no random numbers: {e}")).context(Exit::OsErr)?;
    let mut seeds = [0; 3];
    for (seed, part) in seeds.iter_mut().zip(bytes.chunks_exact(8)) {
        *seed = part.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    }
    Ok(seeds)
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
