//! The gateway's firewall: one nftables table of our own, kept in step with settings, network and registry. IO.
//!
//! [`Firewall`] compares what the kernel should have with what it has and puts the difference in place, one run of `nft` at a
//! time; the loop never waits for it. In: facts (network, appliances, port, time) and what people ask over the control socket.
//! Out: rules in the kernel, answers, journal entries, and which interfaces the gateway may show itself on. The rules stay in the
//! kernel when this process ends, however it ends.

pub mod command;
pub mod deadman;
mod describe;
pub mod forwarding;
pub mod nft;
mod orders;
pub mod prefix;
mod report;
pub mod ruleset;
pub mod settings;
pub mod shape;
pub mod ssh;
mod state;

use std::collections::{BTreeSet, VecDeque};
use std::future::{Future, pending};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use daemon_kit::control::ControlRequest;
use energy_model::MacAddress;
use http::StatusCode;
use upnp::time::{BootTime, earliest};
use upnp_net::{InterfaceFilter, NetworkWatch, TablesWatch};

use self::deadman::{DeadMan, Phase};
use self::forwarding::Forwarding;
use self::nft::{NftError, Replaced};
pub use self::orders::Ask;
use self::prefix::Prefix;
use self::ruleset::{Counts, Feature, Plan};
use self::settings::{Mode, Settings, Ssh};
use self::shape::{Facts, Remembered, Shape, detect};
use crate::journal::Cause;
use crate::limits::{
    FIREWALL_LOOK_EVERY, FIREWALL_RETRY_FIRST, FIREWALL_SETTLE, FIREWALL_SETTLE_MAX, FIREWALL_SSH_SOURCES_MAX,
};

/// Something for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What was done.
    pub action: &'static str,
    /// For whom.
    pub cause: Cause,
    /// Why.
    pub reason: String,
}

/// What [`Firewall::next`] waited for.
#[derive(Debug)]
pub struct Woken(Wake);

#[derive(Debug)]
enum Wake {
    Done(Done),
    Network(bool),
    TableDeleted(bool),
}

#[derive(Debug)]
enum Done {
    /// And, when it failed, whether older rules are there.
    Replaced(Box<Plan>, String, Result<Replaced, (NftError, bool)>),
    Changed(Box<Plan>, Result<(), NftError>),
    Looked(Result<Option<Counts>, NftError>),
    Removed(Result<(), NftError>),
}

type Job = Pin<Box<dyn Future<Output = Done>>>;

/// What our table in the kernel is made of.
#[derive(Debug)]
struct InKernel {
    plan: Plan,
    features: BTreeSet<Feature>,
    mark: String,
}

/// The firewall.
pub struct Firewall {
    state_file: PathBuf,
    configured: Settings,
    dead_man: DeadMan,
    facts: Facts,
    shape: Shape,
    seen: Remembered,
    ssh: BTreeSet<IpAddr>,
    ssh_ports: BTreeSet<u16>,
    /// Why these may not be all.
    ssh_trouble: Option<String>,
    http_port: Option<u16>,
    sealed_port: Option<u16>,
    appliances: BTreeSet<MacAddress>,
    utility: BTreeSet<IpAddr>,
    in_kernel: Option<InKernel>,
    /// Our table may be there although it should not.
    to_be_removed: bool,
    counts: Counts,
    job: Option<Job>,
    watch: Option<NetworkWatch>,
    tables: Option<TablesWatch>,
    /// First and latest change of a burst not yet acted upon.
    touched: Option<(BootTime, BootTime)>,
    network_changed: bool,
    registry_changed: bool,
    retry: Option<(BootTime, Duration)>,
    look_at: BootTime,
    failure: Option<String>,
    /// Forwarding could not be switched off or on as the rules need it.
    forwarding_trouble: Option<String>,
    not_stored: Option<String>,
    askers: VecDeque<(Ask, ControlRequest)>,
    /// Who made the change that is under way.
    by: Cause,
    /// Why the last change was taken back.
    rolled_back: String,
    /// On, without rules, and the WAN side, as [`Self::poll_shown`] saw them last.
    shown: (bool, bool, BTreeSet<String>),
    notes: VecDeque<Note>,
    /// Requests for metrics, to be answered with the counters as they are now.
    scrapes: VecDeque<ControlRequest>,
}

impl std::fmt::Debug for Firewall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Firewall")
            .field("shape", &self.shape)
            .field("phase", &self.dead_man.phase())
            .finish_non_exhaustive()
    }
}

impl Firewall {
    /// Takes up what is on the disk, and puts the rules in place before anything listens. What keeps it from that is told by
    /// [`Self::trouble`], and [`Self::interfaces`] then keeps the gateway out of reach of the Internet.
    pub async fn start(configured: Settings, state_dir: &Path, http_port: u16, now: BootTime) -> Self {
        let state_file = state_dir.join(state::FILE);
        let (record, damage) = state::read(&state_file);
        let (first, interrupted) = (record.confirmed.is_none(), record.waiting.is_some());
        let dead_man = DeadMan::restore(record, &configured);
        let mut firewall = Self {
            state_file,
            seen: dead_man.record().seen.clone(),
            ssh: dead_man.record().ssh.clone(),
            configured,
            dead_man,
            ssh_ports: BTreeSet::new(),
            ssh_trouble: None,
            facts: Facts::default(),
            shape: Shape::default(),
            http_port: (http_port != 0).then_some(http_port),
            sealed_port: None,
            appliances: BTreeSet::new(),
            utility: BTreeSet::new(),
            in_kernel: None,
            to_be_removed: false,
            counts: Counts::new(),
            job: None,
            watch: None,
            tables: None,
            touched: None,
            network_changed: false,
            registry_changed: true,
            retry: None,
            look_at: now,
            failure: damage,
            forwarding_trouble: None,
            not_stored: None,
            askers: VecDeque::new(),
            by: Cause::Gateway,
            rolled_back: String::new(),
            shown: Default::default(),
            notes: VecDeque::new(),
            scrapes: VecDeque::new(),
        };
        if interrupted {
            firewall.note_rollback("the gateway ended before the change was confirmed");
            firewall.store();
        }
        if firewall.is_off() {
            return firewall;
        }
        firewall.open_watch();
        firewall.open_tables_watch();
        firewall.read_network();
        firewall.shape_anew();
        // The first settings are in force from now on, whatever the file says later.
        if first {
            firewall.store();
        }
        firewall.begin_job(now);
        firewall.settle(now).await;
        firewall
    }

    /// Waits for a run of `nft` to end or the network to change. Cancel safe.
    pub async fn next(&mut self) -> Woken {
        let Self { job, watch, tables, .. } = self;
        let running = async {
            match job {
                Some(job) => job.await,
                None => pending().await,
            }
        };
        let changed = async {
            match watch {
                Some(watch) => watch.changed().await.is_ok(),
                None => pending().await,
            }
        };
        let deleted = async {
            match tables {
                Some(tables) => tables.deleted().await.is_ok(),
                None => pending().await,
            }
        };
        let wake = tokio::select! {
            done = running => Wake::Done(done),
            sound = deleted => Wake::TableDeleted(sound),
            sound = changed => Wake::Network(sound),
        };
        if let Wake::Done(_) = wake {
            self.job = None;
        }
        Woken(wake)
    }

    /// Takes what [`Self::next`] gave.
    pub fn woken(&mut self, woken: Woken, now: BootTime) {
        match woken.0 {
            Wake::Done(done) => self.done(done, now),
            Wake::Network(sound) => {
                if !sound {
                    self.open_watch();
                }
                self.network_changed = true;
                self.touch(now);
            }
            Wake::TableDeleted(sound) => {
                if !sound {
                    self.open_tables_watch();
                }
                // It may have been ours. Tables are deleted in bursts, and by ourselves too.
                self.look_at = self.look_at.min(now + FIREWALL_SETTLE);
            }
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let settled = self.touched.map(|(first, latest)| (latest + FIREWALL_SETTLE).min(first + FIREWALL_SETTLE_MAX));
        let idle = self.job.is_none();
        let look = self.look_due();
        let retry = self.retry.map(|(at, _)| at);
        // While a run is under way its end is what is waited for: a time that is past would keep the loop from seeing it.
        let [settled, look, retry] = [settled, look, retry].map(|at| at.filter(|_| idle));
        [settled, look, retry].into_iter().fold(self.dead_man.poll_timeout(), earliest)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: BootTime) {
        if self.dead_man.handle_timeout(now) {
            self.taken_back("nobody confirmed it in time", now);
        }
        let settled = self
            .touched
            .is_some_and(|(first, latest)| latest + FIREWALL_SETTLE <= now || first + FIREWALL_SETTLE_MAX <= now);
        if settled && self.job.is_none() {
            self.touched = None;
            if std::mem::take(&mut self.network_changed) {
                self.read_network();
                self.shape_anew();
            }
            self.begin_job(now);
        }
        if self.job.is_none() && self.retry.is_some_and(|(at, _)| at <= now) {
            self.begin_job(now);
        }
        if self.job.is_none() && self.look_due().is_some_and(|at| at <= now) {
            self.look_at = now + FIREWALL_LOOK_EVERY;
            self.job = Some(Box::pin(async { Done::Looked(nft::counts().await) }));
        }
    }

    /// Waits until the rules know the HTTP server's port and that of the endpoint for sealed messages; once, at the start.
    pub async fn listening(&mut self, http_port: u16, sealed_port: Option<u16>, now: BootTime) {
        (self.http_port, self.sealed_port) = (Some(http_port), sealed_port);
        self.begin_job(now);
        self.settle(now).await;
    }

    /// Runs what is under way to its end, and what follows from it.
    async fn settle(&mut self, now: BootTime) {
        const RUNS_MAX: usize = 3;
        for _ in 0..RUNS_MAX {
            let Some(job) = self.job.take() else { return };
            self.done(job.await, now);
        }
    }

    /// Something in the registry is not as it was.
    pub fn registry_changed(&mut self) {
        self.registry_changed = true;
    }

    /// Whether [`Self::set_appliances`] should be called.
    pub fn wants_appliances(&self) -> bool {
        self.registry_changed && !self.is_off()
    }

    /// The network cards of the appliances in the registry.
    pub fn set_appliances(&mut self, cards: BTreeSet<MacAddress>, now: BootTime) {
        self.registry_changed = false;
        if self.appliances != cards {
            self.appliances = cards;
            self.touch(now);
        }
    }

    /// From where the utility has called, proved by its signature.
    pub fn set_utility(&mut self, addresses: BTreeSet<IpAddr>, now: BootTime) {
        if self.utility != addresses {
            self.utility = addresses;
            self.touch(now);
        }
    }

    /// The configuration file was read again. Its settings wait until a person applies them.
    pub fn configured(&mut self, settings: Settings) {
        self.configured = settings;
    }

    /// Where the gateway may show itself: never toward the Internet; and as long as no rules guard it, only on addresses that
    /// the Internet cannot reach.
    pub fn interfaces(&self, mut filter: InterfaceFilter) -> InterfaceFilter {
        if !self.is_off() {
            filter.exclude.extend(self.shape.wan.iter().cloned());
            filter.private_only |= self.in_kernel.is_none();
        }
        filter
    }

    /// Whether [`Self::interfaces`] may say something else than when this was last asked.
    pub fn poll_shown(&mut self) -> bool {
        let shown = (!self.is_off(), self.in_kernel.is_none(), self.shape.wan.clone());
        let changed = shown != self.shown;
        self.shown = shown;
        changed
    }

    /// The next entry for the journal.
    pub fn poll_note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    fn is_off(&self) -> bool {
        self.dead_man.in_force().mode == Mode::Off
    }

    fn differs(&self) -> bool {
        let in_force = self.dead_man.in_force();
        // Off by `hegctl firewall off` is a wish of its own and is told as such.
        in_force != self.configured && in_force.mode != Mode::Off
    }

    /// When the counters are to be read: at once when somebody asks for them.
    fn look_due(&self) -> Option<BootTime> {
        if self.askers.iter().any(|(ask, _)| matches!(ask, Ask::Status | Ask::Metrics)) {
            return Some(BootTime::ZERO);
        }
        (!self.is_off() && self.retry.is_none()).then_some(self.look_at)
    }

    fn touch(&mut self, now: BootTime) {
        self.touched = Some((self.touched.map_or(now, |(first, _)| first), now));
    }

    /// Sees the network and the tables change, where they are not watched already.
    fn watch_all(&mut self) {
        if self.watch.is_none() {
            self.open_watch();
        }
        if self.tables.is_none() {
            self.open_tables_watch();
        }
    }

    fn open_watch(&mut self) {
        self.watch = NetworkWatch::open()
            .inspect_err(|error| tracing::warn!(%error, "the firewall does not see changes of the network"))
            .ok();
    }

    fn open_tables_watch(&mut self) {
        self.tables = TablesWatch::open()
            .inspect_err(
                |error| tracing::warn!(%error, "that the firewall's table is gone is seen after a minute only"),
            )
            .ok();
    }

    fn read_network(&mut self) {
        match state::facts() {
            Ok(facts) => self.facts = facts,
            Err(error) => tracing::warn!(%error, "the network cannot be read; the firewall stays as it is"),
        }
    }

    /// The shape that fits settings and network now.
    fn shape_anew(&mut self) {
        let settings = self.dead_man.in_force();
        let shape = detect(&settings, &self.facts, &self.seen);
        self.ssh_ports = ssh::ports(&settings.ssh_ports);
        self.ssh_trouble = ssh::trouble();
        if shape != self.shape {
            tracing::info!(router = shape.router, wan = ?shape.wan, lan = ?shape.lan, why = shape.why, "shape of the firewall");
        }
        let other = (shape.router, &shape.wan) != (self.shape.router, &self.shape.wan);
        self.seen = shape.remember(&self.facts, &self.seen);
        self.shape = shape;
        if other {
            self.keep_ssh_sources();
        }
        if matches!(self.dead_man.phase(), Phase::Confirmed | Phase::RolledBack)
            && self.dead_man.note(self.seen.clone(), self.ssh.clone())
        {
            self.store();
        }
    }

    fn shape_text(&self) -> String {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
        match self.shape.router {
            true => format!("router, WAN {}, LAN {}", list(&self.shape.wan), list(&self.shape.lan)),
            false => format!("host, LAN {}", list(&self.shape.lan)),
        }
    }

    fn open_ssh(&self) -> BTreeSet<IpAddr> {
        let settings = self.dead_man.in_force();
        if settings.ssh == Ssh::Lan {
            return BTreeSet::new();
        }
        let mut sources = ssh::sources(&ssh::ports(&settings.ssh_ports)).unwrap_or_else(|error| {
            tracing::warn!(%error, "open SSH connections cannot be listed");
            BTreeSet::new()
        });
        // Whoever is at home is let in anyway.
        sources.retain(|source| !self.shape.prefixes.iter().any(|home| home.covers(Prefix::host(*source))));
        sources
    }

    /// Who is logged in now stays allowed beside those who were at the last change.
    fn keep_ssh_sources(&mut self) {
        let open = self.open_ssh();
        for source in open {
            if self.ssh.len() < FIREWALL_SSH_SOURCES_MAX {
                self.ssh.insert(source);
            }
        }
    }

    fn store(&mut self) {
        self.not_stored = match state::write(&self.state_file, self.dead_man.record()) {
            Ok(()) => None,
            Err(error) => Some(format!("the firewall's state was not stored: {error}")),
        };
    }

    /// The plan that should be in the kernel; none when it is off.
    fn wanted(&self) -> Option<Plan> {
        let settings = self.dead_man.in_force();
        (settings.mode != Mode::Off).then(|| Plan {
            shape: self.shape.clone(),
            settings,
            http_port: self.http_port,
            sealed_port: self.sealed_port,
            appliances: self.appliances.clone(),
            ssh: self.ssh.clone(),
            ssh_ports: self.ssh_ports.clone(),
            utility: self.utility.clone(),
        })
    }

    /// Begins to put the difference between wanted and present in place, unless a run is under way; then it is looked at again
    /// when that has ended.
    fn begin_job(&mut self, now: BootTime) {
        if self.job.is_some() {
            return self.touch(now);
        }
        let Some(plan) = self.wanted() else {
            if self.to_be_removed || self.in_kernel.is_some() {
                self.job = Some(Box::pin(async { Done::Removed(nft::remove().await) }));
            }
            return;
        };
        match &self.in_kernel {
            Some(kernel) if kernel.plan == plan => self.in_step(now),
            Some(kernel) => match plan.sets_since(&kernel.plan, &kernel.features) {
                Some(text) => {
                    self.job = Some(Box::pin(async move { Done::Changed(Box::new(plan), nft::apply(&text).await) }));
                }
                None => self.replace(plan),
            },
            None => self.replace(plan),
        }
    }

    fn replace(&mut self, plan: Plan) {
        let mut random = [0; 8];
        // Only to know our own table again: where there is no randomness the next look puts it in place once more.
        let _ = getrandom::fill(&mut random);
        let mark = format!("made_{:016x}", u64::from_ne_bytes(random));
        self.job = Some(Box::pin(async move {
            let result = match nft::replace(&plan, &mark).await {
                Ok(replaced) => Ok(replaced),
                Err(error) => Err((error, nft::is_guarded().await)),
            };
            Done::Replaced(Box::new(plan), mark, result)
        }));
    }

    /// What is in the kernel is what is wanted.
    fn in_step(&mut self, now: BootTime) {
        self.failure = None;
        self.retry = None;
        self.change_in_place(now);
        self.answer_all(|ask| matches!(ask, Ask::Apply { .. }), now);
    }

    /// The time of a change that waits to be confirmed runs from here.
    fn change_in_place(&mut self, now: BootTime) {
        if !self.dead_man.applied(now) {
            return;
        }
        let (action, what) =
            if self.is_off() { ("firewall off", String::new()) } else { ("firewall apply", self.shape_text()) };
        self.note(action, self.by, what);
        let at_once = self.askers.iter().any(|(ask, _)| *ask == Ask::Apply { confirmed: true });
        if at_once && self.dead_man.confirm().is_ok() {
            self.confirmed(self.by);
        }
    }

    fn done(&mut self, done: Done, now: BootTime) {
        match done {
            Done::Replaced(plan, mark, Ok(Replaced { features, counts })) => {
                tracing::debug!(mark, "firewall in place");
                self.counts = counts;
                self.in_kernel = Some(InKernel { plan: *plan, features, mark });
                self.look_at = now + FIREWALL_LOOK_EVERY;
                self.release_forwarding();
                self.begin_job(now);
            }
            Done::Changed(plan, Ok(())) => {
                if let Some(kernel) = &mut self.in_kernel {
                    kernel.plan = *plan;
                }
                self.begin_job(now);
            }
            Done::Changed(_, Err(error)) => {
                tracing::debug!(%error, "sets not changed; the table is made anew");
                match self.wanted() {
                    Some(plan) => self.replace(plan),
                    None => self.begin_job(now),
                }
            }
            Done::Replaced(plan, _, Err((error, guarded))) => {
                // Again each time: other programs switch forwarding on as they start.
                if plan.shape.router && self.in_kernel.is_none() && !guarded {
                    self.hold_forwarding();
                }
                self.failed(&error, now);
            }
            Done::Looked(Ok(counts)) => self.looked(counts, now),
            Done::Looked(Err(error)) => {
                tracing::debug!(%error, "counters not read");
                self.answer_all(|ask| matches!(ask, Ask::Status | Ask::Metrics), now);
            }
            Done::Removed(Ok(())) => {
                self.in_kernel = None;
                self.to_be_removed = false;
                (self.watch, self.tables) = (None, None);
                self.failure = None;
                self.retry = None;
                self.release_forwarding();
                self.change_in_place(now);
                self.answer_all(|_| true, now);
            }
            Done::Removed(Err(error)) => {
                self.release_forwarding();
                self.failed(&error, now);
            }
        }
    }

    fn looked(&mut self, counts: Option<Counts>, now: BootTime) {
        let ours = match (&counts, &self.in_kernel) {
            (Some(counts), Some(kernel)) => counts.contains_key(&kernel.mark),
            _ => false,
        };
        if ours {
            self.counts = counts.unwrap_or_default();
            self.look_at = now + FIREWALL_LOOK_EVERY;
        } else if self.in_kernel.take().is_some() {
            let reason = match counts {
                Some(_) => "somebody else put it in place",
                None => "somebody took it away",
            };
            tracing::warn!(reason, "the firewall's table was not ours any more and is made anew");
            self.note("firewall restore", Cause::Gateway, reason.to_owned());
        }
        // The kernel does not say when it begins to forward.
        if !self.is_off() {
            self.read_network();
            self.shape_anew();
        }
        self.begin_job(now);
        self.answer_all(|ask| matches!(ask, Ask::Status | Ask::Metrics), now);
    }

    fn hold_forwarding(&mut self) {
        self.forwarding_trouble = match Forwarding::default().hold() {
            Ok(false) => return,
            Ok(true) => {
                tracing::warn!(
                    "a router without rules lets everybody through: forwarding is switched off until they are in place"
                );
                None
            }
            Err(error) => Some(format!("forwarding was not switched off as it should be: {error}")),
        };
    }

    fn release_forwarding(&mut self) {
        self.forwarding_trouble = match Forwarding::default().release() {
            Ok(false) => None,
            Ok(true) => {
                tracing::info!("forwarding is switched on again");
                None
            }
            Err(error) => Some(format!("forwarding is still switched off: {error}")),
        };
    }

    fn failed(&mut self, error: &NftError, now: BootTime) {
        let why = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        if self.failure.as_deref() != Some(&why) {
            tracing::error!(why, "firewall not put in place; the kernel keeps the rules it had");
        }
        self.failure = Some(why.clone());
        for (ask, request) in std::mem::take(&mut self.askers) {
            match ask {
                Ask::Status | Ask::Metrics => self.answer(ask, request, now),
                _ => request.respond_error(StatusCode::INTERNAL_SERVER_ERROR, "firewall", why.clone()),
            }
        }
        if self.dead_man.phase() == Phase::Applying && self.dead_man.roll_back() {
            return self.taken_back(&why, now);
        }
        let wait = self.retry.map_or(FIREWALL_RETRY_FIRST, |(_, wait)| (wait * 2).min(FIREWALL_LOOK_EVERY));
        self.retry = Some((now + wait, wait));
    }

    /// The settings before are in force again.
    fn taken_back(&mut self, why: &str, now: BootTime) {
        self.store();
        self.seen = self.dead_man.record().seen.clone();
        self.ssh = self.dead_man.record().ssh.clone();
        self.note_rollback(why);
        self.retry = None;
        self.to_be_removed = self.is_off();
        if !self.is_off() {
            self.watch_all();
        }
        self.read_network();
        self.shape_anew();
        self.keep_ssh_sources();
        // Appliances were not followed while there were no rules.
        self.registry_changed = true;
        self.begin_job(now);
    }

    fn note_rollback(&mut self, why: &str) {
        tracing::warn!(why, "a change of the firewall was taken back");
        self.rolled_back = why.to_owned();
        self.note("firewall rollback", Cause::Gateway, why.to_owned());
    }

    fn note(&mut self, action: &'static str, cause: Cause, reason: String) {
        self.notes.push_back(Note { action, cause, reason });
    }

    fn answer_all(&mut self, which: impl Fn(&Ask) -> bool, now: BootTime) {
        let (ready, others) = std::mem::take(&mut self.askers).into_iter().partition(|(ask, _)| which(ask));
        self.askers = others;
        let ready: VecDeque<_> = ready;
        for (ask, request) in ready {
            self.answer(ask, request, now);
        }
    }

    fn answer(&mut self, ask: Ask, request: ControlRequest, now: BootTime) {
        match ask {
            Ask::Metrics => self.scrapes.push_back(request),
            _ => request.respond_json(StatusCode::OK, &self.view(now)),
        }
    }
}
