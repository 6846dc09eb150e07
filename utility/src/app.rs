//! The server: opens the database, binds everything and runs the one loop. Requests are answered in tasks of their own; what happens by
//! time or by the power system's word happens in the loop.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use daemon_kit::clock::{self, BootTimer};
use daemon_kit::exit::Exit;
use daemon_kit::logging::Logging;
use daemon_kit::signals::{Signal, Signals};
use daemon_kit::state_dir;
use daemon_kit::systemd::Systemd;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use secure_link::News;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use utility_wire::UnixTime;

use crate::config::{ADMIN_TOKEN, Config};
use crate::console::{Console, Peer};
use crate::feed::{Feed, Source};
use crate::limits::{
    BUFFER_BYTES, CONNECTIONS_MAX, CONTACTS_EVERY, DRAIN_WITHIN, HEAD_TIMEOUT, HEADERS_MAX, HOME_CONNECTIONS_MAX,
    HOME_CONNECTIONS_PER_PEER_MAX, LOOK_EVERY, MEMBER_LOOK_EVERY, PRUNE_EVERY, PRUNE_NEXT,
};
use crate::membership::{Member, MemberError, Vault};
use crate::metrics::{Held, Metrics};
use crate::rules::{Reading, Rules};
use crate::sealed::{Homes, Trusted, call_homes};
use crate::service::Service;
use crate::store::{Hint, Role, Store, StoreError, Token};

const DATABASE: &str = "utility.db";
const NOT_RELOADED: &str = "the configuration was not reloaded";
const NEEDS_RESTART: &str = "a restart is needed for changes to";
const NO_READINGS: &str = "the power system's readings cannot be had";
const NO_MEMBER: &str = "the membership at the KMC";
const NOT_ENROLLED: &str = "homes are not served: this utility is not enrolled at a KMC; `utilityctl init` sets one up on this \
    machine, `utilityctl enrol TOKEN` takes another";
const NOT_FOUND: &str = "homes can't find this utility: homes.reachable is not set";
const RULE_FAILED: &str = "a rule's order was not carried out";

/// The wall clock, as homes are told it.
pub fn wall() -> UnixTime {
    UnixTime::new(u64::try_from(clock::wall().as_second()).unwrap_or(0))
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting; once it runs nothing does.
pub fn run(config: Config, named: Option<PathBuf>, logging: Logging) -> anyhow::Result<Exit> {
    // No core dump and no other process of this user shows the keys (PR_SET_DUMPABLE).
    nix::sys::prctl::set_dumpable(false).context("memory can't be kept from other processes").context(Exit::OsErr)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context(Exit::OsErr)?;
    runtime.block_on(async {
        let mut app = App::start(config, named, logging).await?;
        while app.tick().await {}
        app.drain().await;
        Ok(Exit::Ok)
    })
}

struct App {
    config: Config,
    named: Option<PathBuf>,
    logging: Logging,
    service: Arc<Service>,
    metrics: Arc<Metrics>,
    console: Console,
    member: Arc<Member>,
    homes: Homes,
    /// What came of what was due at the KMC.
    maintained: mpsc::Receiver<Result<Option<News>, MemberError>>,
    maintaining: mpsc::Sender<Result<Option<News>, MemberError>>,
    /// Something of it is under way.
    at_kmc: bool,
    rules: Arc<Rules>,
    /// What the feed last brought that no rule has looked at.
    readings: mpsc::Receiver<Result<Vec<Reading>, String>>,
    hints: broadcast::Receiver<Hint>,
    signals: Signals,
    systemd: Systemd,
    timer: BootTimer,
    due: Due,
    troubles: BTreeMap<&'static str, String>,
    accepting: Vec<JoinHandle<()>>,
    places: [(Arc<Semaphore>, usize); 2],
    stopping: watch::Sender<bool>,
}

/// When things are next due, time since boot.
struct Due {
    contacts: Duration,
    prune: Duration,
    count: Duration,
    member: Duration,
}

/// What a turn of the loop waits for.
enum Event {
    Signal(Signal),
    Readings(Result<Vec<Reading>, String>),
    Hint(Result<Hint, broadcast::error::RecvError>),
    Maintained(Result<Option<News>, MemberError>),
    Due,
}

impl App {
    async fn start(config: Config, named: Option<PathBuf>, logging: Logging) -> anyhow::Result<Self> {
        let state_dir = config.state_dir();
        state_dir::ensure(&state_dir)?;
        let store = open(&config, &state_dir).await?;
        let vault = Vault::open(&config.key_file()).context(Exit::NoInput)?;
        let for_operators = bind(&config.console.listen).await?;
        let for_homes = bind(&config.homes.listen).await?;
        let made = first_operator(&store, &state_dir).await?;
        if let Some(path) = made {
            tracing::info!(file = %path.display(), "operator admin made; the token is in the file");
        }
        let metrics = Arc::new(Metrics::default());
        let service = Arc::new(Service::new(store, metrics.clone(), config.periods(), wall));
        let (stopping, stop) = watch::channel(false);
        let member = Arc::new(Member::new(service.store().clone(), vault, config.homes.reachable.clone()));
        let console = Console::new(service.clone(), metrics.clone(), member.clone(), &config, wall, stop.clone());
        let per_minute = (config.homes.requests_per_minute, config.homes.proxies.clone());
        let homes = Homes::new(service.clone(), metrics.clone(), member.clone(), per_minute, stop.clone());
        let rules = Arc::new(config.rules().map_err(|e| anyhow::anyhow!(e).context(Exit::Config))?);
        console.set_rules(rules.clone());
        let (readings, feed) = mpsc::channel(1);
        if let Some(source) = source(&config) {
            let every = Duration::from_secs(config.power_system.every_s.into());
            tokio::spawn(look(Feed::new(source, every), readings));
        }
        let places = [CONNECTIONS_MAX, HOME_CONNECTIONS_MAX].map(|max| (Arc::new(Semaphore::new(max)), max));
        if config.homes.call {
            tokio::spawn(call_homes(homes.clone(), service.store().hints()));
        }
        let (maintaining, maintained) = mpsc::channel(1);
        let now = clock::boottime();
        let hints = service.store().hints();
        let mut app = Self {
            config,
            named,
            logging,
            service,
            metrics,
            console,
            member,
            homes,
            maintained,
            maintaining,
            at_kmc: false,
            rules,
            readings: feed,
            hints,
            signals: Signals::new().context(Exit::OsErr)?,
            systemd: Systemd::from_env(),
            timer: BootTimer::new().context(Exit::OsErr)?,
            due: Due { contacts: now + CONTACTS_EVERY, prune: now, count: now, member: now },
            troubles: BTreeMap::new(),
            accepting: Vec::new(),
            places,
            stopping,
        };
        app.look_at_membership().await;
        app.show_troubles();
        // Nobody is answered before that is known.
        app.serve(for_operators, for_homes)?;
        let (store, state, rules) = (app.service.store().backend(), state_dir.display(), app.rules.len());
        tracing::info!(store, %state, rules, "started");
        app.systemd.ready(&app.status_line());
        Ok(app)
    }

    /// Takes connections from now on.
    fn serve(&mut self, for_operators: Vec<TcpListener>, for_homes: Vec<TcpListener>) -> anyhow::Result<()> {
        let per_peer = [CONNECTIONS_MAX, HOME_CONNECTIONS_PER_PEER_MAX];
        let served = [
            ("operators", for_operators, self.console.router()),
            ("homes", for_homes, self.homes.router(self.console.broadcast_router())),
        ];
        for (((whom, listeners, router), (places, _)), per_peer_max) in
            served.into_iter().zip(&mut self.places).zip(per_peer)
        {
            let peers = Peers::default();
            for listener in listeners {
                let address = listener.local_addr().context(Exit::OsErr)?;
                tracing::info!(whom, %address, "listening");
                let listening = Listening {
                    router: router.clone(),
                    metrics: self.metrics.clone(),
                    places: places.clone(),
                    peers: peers.clone(),
                    per_peer_max,
                    proxies: self.config.homes.proxies.clone().into(),
                    stopping: self.stopping.subscribe(),
                };
                self.accepting.push(tokio::spawn(accept(listener, listening)));
            }
        }
        Ok(())
    }

    /// One turn; `false` when it is time to end.
    async fn tick(&mut self) -> bool {
        let event = self.next_event().await;
        let going_on = match event {
            Event::Signal(Signal::Reload) => {
                self.reload().await;
                true
            }
            Event::Signal(Signal::Terminate | Signal::Interrupt) => false,
            Event::Readings(read) => {
                self.read(read).await;
                true
            }
            Event::Hint(hint) => {
                self.hinted(hint).await;
                true
            }
            Event::Maintained(done) => {
                self.at_kmc = false;
                match done {
                    Ok(Some(news)) => tracing::info!(?news, "done with the KMC"),
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, "not done with the KMC; trying again"),
                }
                true
            }
            Event::Due => true,
        };
        let now = clock::boottime();
        self.let_time_pass(now).await;
        self.show_troubles();
        self.systemd.status(&self.status_line());
        self.systemd.watchdog(now);
        going_on
    }

    fn show_troubles(&self) {
        self.console.set_troubles(self.troubles.values().cloned().collect());
    }

    /// Something changed, here or at another replica.
    async fn hinted(&mut self, hint: Result<Hint, broadcast::error::RecvError>) {
        match hint {
            Ok(Hint::Log) => {}
            Ok(Hint::Site(site)) => self.homes.forget(&site),
            Ok(Hint::Keys(_)) => self.look_at_membership().await,
            Ok(Hint::Group(_) | Hint::Zone(_)) => self.service.forget_objects(),
            Ok(Hint::All) | Err(_) => {
                self.service.forget_objects();
                self.homes.forget_all();
                self.look_at_membership().await;
            }
        }
    }

    /// Takes over what another replica has written of the membership, and says how it stands.
    async fn look_at_membership(&mut self) {
        let looked = self.member.look().await;
        let trouble = match (&looked, self.member.own()) {
            (Err(error), _) => Some(error.to_string()),
            (Ok(()), None) => Some(NOT_ENROLLED.to_owned()),
            (Ok(()), Some(_)) => self.member.trouble().or_else(|| {
                let silent = self.config.homes.reachable.is_none() && !self.config.homes.listen.is_empty();
                silent.then(|| NOT_FOUND.to_owned())
            }),
        };
        match trouble {
            Some(trouble) => {
                if self.troubles.get(NO_MEMBER) != Some(&trouble) {
                    tracing::warn!("{trouble}");
                }
                self.troubles.insert(NO_MEMBER, trouble);
            }
            None => _ = self.troubles.remove(NO_MEMBER),
        }
    }

    async fn next_event(&mut self) -> Event {
        let due = [self.due.contacts, self.due.prune, self.due.count, self.due.member];
        let due = due.into_iter().chain(self.systemd.watchdog_due()).min();
        tokio::select! {
            signal = self.signals.next() => Event::Signal(signal),
            Some(read) = self.readings.recv() => Event::Readings(read),
            hint = self.hints.recv() => Event::Hint(hint),
            Some(done) = self.maintained.recv() => Event::Maintained(done),
            () = self.timer.until(due) => Event::Due,
        }
    }

    async fn let_time_pass(&mut self, now: Duration) {
        if now >= self.due.member {
            self.due.member = now + MEMBER_LOOK_EVERY;
            self.look_at_membership().await;
            if !self.at_kmc && self.member.due(now).is_some_and(|due| due <= now) {
                self.at_kmc = true;
                let (member, done) = (self.member.clone(), self.maintaining.clone());
                tokio::spawn(async move {
                    let result = member.maintain().await;
                    // The loop has ended otherwise.
                    let _ = done.send(result).await;
                });
            }
        }
        if now >= self.due.contacts {
            self.due.contacts = now + CONTACTS_EVERY;
            if let Err(error) = self.service.write_contacts().await {
                tracing::warn!(%error, "times of last contact not written; trying again");
            }
        }
        if now >= self.due.count {
            self.due.count = now + LOOK_EVERY;
            // Should a hint have been lost.
            self.service.forget_objects();
            let since = wall().seconds().saturating_sub(u64::from(self.config.homes.report_every_s) * 2);
            match self.service.store().count_sites(UnixTime::new(since)).await {
                Ok((sites, live)) => {
                    self.metrics.sites.set(sites);
                    self.metrics.sites_live.set(live);
                }
                Err(error) => tracing::warn!(%error, "sites not counted"),
            }
        }
        if now >= self.due.prune {
            self.due.prune = now + PRUNE_EVERY;
            let keep = UnixTime::new(wall().seconds().saturating_sub(self.config.keep().as_secs()));
            match self.service.store().prune(keep).await {
                Ok(0) => {}
                Ok(rows) => {
                    self.due.prune = now + PRUNE_NEXT;
                    tracing::debug!(rows, "old consumption forgotten");
                }
                Err(error) => tracing::warn!(%error, "old consumption not forgotten; trying again in an hour"),
            }
        }
    }

    /// What the power system said, or that it cannot be heard.
    async fn read(&mut self, read: Result<Vec<Reading>, String>) {
        let readings = match read {
            Ok(readings) => readings,
            Err(error) => {
                self.metrics.feed_failures.add();
                if self.troubles.insert(NO_READINGS, format!("{NO_READINGS}: {error}")).is_none() {
                    tracing::warn!(error, "{NO_READINGS}");
                }
                return;
            }
        };
        self.troubles.remove(NO_READINGS);
        for reading in &readings {
            self.metrics.readings.add();
            self.metrics.reading_at.set(self.metrics.reading_at.value().max(reading.at.seconds()));
        }
        match follow(&self.rules, self.service.store(), &readings).await {
            Ok(orders) => {
                self.troubles.remove(RULE_FAILED);
                (0..orders).for_each(|_| self.metrics.rule_orders.add());
            }
            Err((rule, error)) => {
                tracing::warn!(rule, %error, "{RULE_FAILED}");
                self.troubles.insert(RULE_FAILED, format!("{RULE_FAILED}: {rule}: {error}"));
            }
        }
    }

    /// SIGHUP: a configuration that is wrong changes nothing.
    async fn reload(&mut self) {
        self.systemd.reloading();
        let loaded = Config::load(self.named.as_deref()).map_err(|e| e.to_string());
        let loaded = loaded.and_then(|config| config.rules().map(|rules| (config, rules)));
        match loaded {
            Ok((config, rules)) => {
                self.troubles.remove(NOT_RELOADED);
                self.troubles.remove(NEEDS_RESTART);
                let fixed = self.config.needs_restart(&config);
                if !fixed.is_empty() {
                    let trouble = format!("{NEEDS_RESTART} {}", fixed.join(", "));
                    tracing::warn!("{trouble}");
                    self.troubles.insert(NEEDS_RESTART, trouble);
                }
                self.logging.set(&config.log.level);
                self.service.set_periods(config.periods());
                self.console.configure(&config);
                self.rules = Arc::new(rules);
                self.console.set_rules(self.rules.clone());
                // What needs a restart stays as it is running, so that the next reload still tells.
                let Config { log, homes, rules, price_zone, .. } = config;
                self.config = Config { log, homes, rules, price_zone, ..self.config.clone() };
                let detail = json!({ "rules": self.rules.len() });
                if let Err(error) = self.service.store().note(wall(), "server", "server.reload", "", detail).await {
                    tracing::warn!(%error, "the reload is not in the log of changes");
                }
                tracing::info!(rules = self.rules.len(), "configuration read again");
            }
            Err(error) => {
                tracing::warn!(error, "configuration not taken; the old one stays");
                self.troubles.insert(NOT_RELOADED, format!("{NOT_RELOADED}: {error}"));
            }
        }
        self.systemd.ready(&self.status_line());
    }

    fn status_line(&self) -> String {
        let (sites, live) = (self.metrics.sites.value(), self.metrics.sites_live.value());
        let troubles: Vec<_> = self.troubles.values().map(|t| format!("; {t}")).collect();
        let next = match sites {
            0 if troubles.is_empty() => "; no home yet, `utilityctl site add` takes one up",
            _ => "",
        };
        let (rules, store) = (self.rules.len(), self.service.store().backend());
        format!("{sites} sites, {live} live, {rules} rules, {store}{}{next}", troubles.concat())
    }

    /// Lets requests under way end, within [`DRAIN_WITHIN`], and writes what is not written.
    async fn drain(mut self) {
        self.systemd.stopping();
        for task in &self.accepting {
            task.abort();
        }
        // Whoever watches is answered now.
        self.stopping.send_replace(true);
        let all_gone = async {
            for (places, max) in &self.places {
                drop(places.acquire_many(u32::try_from(*max).unwrap_or(u32::MAX)).await);
            }
        };
        if tokio::time::timeout(DRAIN_WITHIN, all_gone).await.is_err() {
            tracing::info!("some requests were cut off");
        }
        self.member.stop().await;
        if let Err(error) = self.service.write_contacts().await {
            tracing::warn!(%error, "times of last contact not written");
        }
        tracing::info!("stopped");
    }
}

async fn open(config: &Config, state_dir: &Path) -> anyhow::Result<Store> {
    let exit = |error: &StoreError| match error {
        StoreError::Damaged(_) | StoreError::TooNew { .. } => Exit::DataErr,
        StoreError::Connection(_) => Exit::Config,
        StoreError::Unavailable(_) => Exit::Unavailable,
        _ => Exit::IoErr,
    };
    match config.postgres()? {
        Some(connection) => {
            let store = Store::postgres(&connection, config.store.connections).await;
            store
                .map_err(|e| (exit(&e), e))
                .map_err(|(exit, e)| anyhow::Error::new(e).context("PostgreSQL").context(exit))
        }
        None => {
            let path = state_dir.join(DATABASE);
            let store = Store::sqlite(&path).map_err(|e| (exit(&e), e));
            store.map_err(|(exit, e)| anyhow::Error::new(e).context(path.display().to_string()).context(exit))
        }
    }
}

/// Where nobody may do anything yet, an admin whose token is in a file for the owner of the state directory.
async fn first_operator(store: &Store, state_dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    if !store.operators().await?.is_empty() {
        return Ok(None);
    }
    let mut random = [0; 40];
    getrandom::fill(&mut random).map_err(|e| anyhow::anyhow!("no random numbers: {e}")).context(Exit::OsErr)?;
    let token = Token::new(&random);
    let path = state_dir.join(ADMIN_TOKEN);
    // First the file: a token that is known and not written would lock everybody out.
    state_dir::write_atomically(&path, format!("{}\n", token.reveal()).as_bytes())?;
    match store.add_operator("admin", Role::Admin, &token, "server", wall()).await {
        Ok(()) => Ok(Some(path)),
        // Another replica was faster.
        Err(StoreError::Conflict(_)) => {
            std::fs::remove_file(&path).context("removing a token that is not used")?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn source(config: &Config) -> Option<Source> {
    let of = &config.power_system;
    of.file.clone().map(Source::File).or_else(|| of.url.clone().map(Source::Url))
}

/// Hands on what the feed brings; waits while the loop is busy.
async fn look(mut feed: Feed, readings: mpsc::Sender<Result<Vec<Reading>, String>>) {
    while readings.send(feed.next().await).await.is_ok() {}
}

/// Lets the rules step through readings; how many orders they gave.
async fn follow(rules: &Rules, store: &Store, readings: &[Reading]) -> Result<u64, (String, StoreError)> {
    let mut orders = 0;
    for rule in rules.iter() {
        let failed = |error| (rule.name().to_owned(), error);
        let concerned: Vec<_> = readings.iter().filter(|r| rule.concerns(r)).collect();
        if concerned.is_empty() {
            continue;
        }
        let mut known = store.rule_memory(rule.name()).await.map_err(failed)?;
        for reading in concerned {
            let Some(step) = rule.step(&known.memory, reading) else { continue };
            tracing::debug!(rule = rule.name(), why = step.why, "rule");
            if store.take_step(rule.name(), known.version, &step, wall()).await.map_err(failed)? && step.order.is_some()
            {
                tracing::info!(rule = rule.name(), why = step.why, "rule");
                orders += 1;
            }
            known = store.rule_memory(rule.name()).await.map_err(failed)?;
        }
    }
    Ok(orders)
}

async fn bind(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Connections by peer. The lock is held for a look-up, never over a wait.
type Peers = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

/// What connections of one sort share.
#[derive(Clone)]
struct Listening {
    router: Router,
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
    peers: Peers,
    per_peer_max: usize,
    /// Many may stand behind one of these.
    proxies: Arc<[IpAddr]>,
    stopping: watch::Receiver<bool>,
}

/// Who counts as one peer: an address, or all that a connection's own IPv6 network has (a /64).
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(ip) => std::net::Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// A connection's place among those of its peer.
struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Place {
    fn take(of: &Listening, peer: IpAddr) -> Option<Self> {
        let proxy = of.proxies.contains(&peer);
        let peer = network(peer);
        let mut table = of.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = table.entry(peer).or_insert(0);
        if *count >= of.per_peer_max && !proxy {
            return None;
        }
        *count += 1;
        Some(Self { peers: of.peers.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = table.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.peer);
            }
        }
    }
}

/// Takes connections, as many at once as there are places; others wait in the kernel's queue.
async fn accept(listener: TcpListener, listening: Listening) {
    loop {
        let Ok(place) = listening.places.clone().acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // One peer too many is closed without a word: a word costs more than its connection.
        let Some(among_peers) = Place::take(&listening, from.ip().to_canonical()) else { continue };
        let listening = listening.clone();
        tokio::spawn(async move {
            let _held = Held::new(&listening.metrics.connections);
            serve(stream, from, listening.router, listening.stopping).await;
            drop((place, among_peers));
        });
    }
}

async fn serve(stream: TcpStream, from: SocketAddr, router: Router, mut stopping: watch::Receiver<bool>) {
    // Several answers on one connection would else wait for the other end's delayed acknowledgements, 40 ms each time.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%from, %error, "small answers may be late");
    }
    let router = router.layer(axum::Extension(Peer(from.ip()))).layer(axum::Extension(Trusted::default()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let stop = async { drop(stopping.wait_for(|stopping| *stopping).await) };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%from, %error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_are_one_peer_and_those_of_ipv4_are_not() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::7"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::7"), of("2001:db8:1:3::7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
    }
}
