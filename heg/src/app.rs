//! The daemon: binds everything and runs the one loop. Each turn takes one event, hands it to the machine it is for, and carries
//! out what they all order until they order nothing more.

mod control;
mod firewall;
mod reload;
mod scrape;
mod status;

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
use upnp::device::{ActionCall, not_found, presentation_response};
use upnp::ids::Udn;
use upnp::net::{IncomingRequest, Interface};
use upnp::time::{BootTime, earliest};
use upnp_net::{InterfaceFilter, Net, NetConfig, NetEvent, Responder};

use crate::api::access::is_near;
use crate::api::planning::{DecisionView, PlanView};
use crate::api::{ApplianceView, EntryView, WatchLine};
use crate::config::Config;
use crate::control_point::Appliances;
use crate::device::{self, Identity};
use crate::firewall::{Firewall, Woken};
use crate::gateway::{AskError, AskId, Gateway, Input, Reply};
use crate::home::{Effect, Home, Incoming};
use crate::journal::Entry;
use crate::limits::{ASKS_MAX, DRAIN_WITHIN, PRICES_KEPT_BYTES_MAX, RECENT_ENTRIES};
use crate::neighbours;
use crate::now::Now;
use crate::planner::Planner;
use crate::price_feed::PriceFeed;
use crate::prices::{HomePrices, News};
use crate::store;
use crate::store::worker::{Done, Worker};
use crate::utility::Utility;
use crate::utility_client::{Happened, UtilityClient};
use crate::wake::Waker;

/// Permission bits of the control socket: owner and group.
const SOCKET_MODE: u32 = 0o660;
/// Prices of a file or feed over a restart, in the state directory.
const PRICES_FILE: &str = "prices.json";
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
    /// Journal entries made since the start.
    journalled: u64,
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
            .map_err(|error| {
                let exit = error.exit();
                anyhow::Error::new(error).context(exit)
            })
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
                Gateway::new(config.settings(config.zone(clock::zone())), start.restored, now),
                Appliances::new(&config, us, server, net.http_port(), seed_control, now.boot),
                device::root_device(&config, identity, net.http_port(), seed_device, now.boot),
                Utility::new(me.as_str(), config.utility_settings(), rows, seed_utility, now),
                Planner::new(&uuid, config.planning(config.zone(clock::zone())), planned, now),
                Duration::from_secs(config.store.write_every_s.into()),
                now,
            )
            .with_prices(prices)
            .with_decisions(&start.decided),
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
            journalled: 0,
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
        self.answer_scrapes(now);
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
        if !is_near(request.peer, request.local, &self.interfaces) {
            return responder.send(not_found());
        }
        match self.home.handle_request(&request, now) {
            Incoming::Answered(response) => responder.send(response),
            Incoming::Page => {
                let html = self.page(now);
                responder.send(presentation_response(html));
            }
            Incoming::Other => responder.send(self.other_path(&request.request, now)),
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
                self.journalled += 1;
                entry.log();
                self.tell(&WatchLine::Journal { entry: EntryView::new(self.home.gateway(), &entry) });
                if self.recent.len() >= RECENT_ENTRIES {
                    self.recent.pop_front();
                }
                self.recent.push_back(entry);
            }
            Effect::Decided(decision) => {
                decision.log();
                let decision = DecisionView::new(self.home.planner(), self.home.gateway(), &decision);
                self.tell(&WatchLine::Decision { decision });
            }
            Effect::Planned if self.watchers.is_empty() => {}
            Effect::Planned => {
                let plan = PlanView::new(self.home.planner(), self.home.gateway(), now);
                self.tell(&WatchLine::Plan { plan: Box::new(plan) });
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
        self.firewall.stop(now().boot).await;
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
