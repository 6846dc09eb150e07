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
mod job;
pub mod nft;
mod orders;
pub mod prefix;
mod report;
pub mod ruleset;
pub mod settings;
pub mod shape;
pub mod ssh;
mod state;
mod surroundings;

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_kit::control::ControlRequest;
use energy_model::MacAddress;
use upnp::time::{BootTime, earliest};
use upnp_net::{InterfaceFilter, NetworkWatch, TablesWatch};

use self::deadman::DeadMan;
use self::job::{Done, InKernel, Job};
pub use self::orders::Ask;
use self::ruleset::Counts;
use self::settings::{Mode, Settings};
use self::shape::{Facts, Remembered, Shape};
use crate::journal::Cause;
use crate::limits::{FIREWALL_SETTLE, FIREWALL_SETTLE_MAX, NFT_WITHIN};

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
    /// A WAN side without rules, older ones included.
    unguarded: bool,
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
            unguarded: false,
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
        // The first settings are in force from now on, whatever the file says later.
        if first {
            firewall.store();
        }
        if firewall.is_off() {
            firewall.take_leftovers_away(now).await;
            return firewall;
        }
        firewall.open_watch();
        firewall.open_tables_watch();
        firewall.read_network();
        firewall.shape_anew();
        firewall.begin_job(now);
        firewall.settle(now).await;
        firewall
    }

    /// The end: a change that nobody has confirmed goes with the process, as nobody would count its time any more.
    pub async fn stop(&mut self, now: BootTime) {
        let before = self.dead_man.record().clone();
        if !self.dead_man.roll_back() {
            return;
        }
        self.taken_back("the gateway was stopped before it was confirmed", now);
        let settled = tokio::time::timeout(NFT_WITHIN, self.settle(now)).await.is_ok();
        if !settled || !self.is_in_step() {
            // Whoever comes next takes it back.
            self.not_stored = state::write(&self.state_file, &before).err().map(|error| error.to_string());
        }
    }

    /// The process before may have ended between the order to switch off and its being carried out, or with a change that nobody
    /// had confirmed.
    async fn take_leftovers_away(&mut self, now: BootTime) {
        self.to_be_removed = nft::is_guarded().await;
        if self.to_be_removed {
            self.begin_job(now);
            self.settle(now).await;
        }
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
            self.begin_look(now);
        }
    }

    /// Waits until the rules know the HTTP server's port and that of the endpoint for sealed messages; once, at the start.
    pub async fn listening(&mut self, http_port: u16, sealed_port: Option<u16>, now: BootTime) {
        (self.http_port, self.sealed_port) = (Some(http_port), sealed_port);
        self.begin_job(now);
        self.settle(now).await;
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

    fn store(&mut self) {
        self.not_stored = match state::write(&self.state_file, self.dead_man.record()) {
            Ok(()) => None,
            Err(error) => Some(format!("the firewall's state was not stored: {error}")),
        };
    }

    fn note(&mut self, action: &'static str, cause: Cause, reason: String) {
        self.notes.push_back(Note { action, cause, reason });
    }
}
