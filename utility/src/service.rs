//! What homes may ask of the utility, without a word of HTTP or cryptography: whoever has made sure who is asking calls these.
//!
//! | a home's message | method |
//! |---|---|
//! | report | [`Service::handle_report`] |
//! | poll | [`Service::handle_poll`], then [`Service::next_commands`] |
//! | broadcast object | [`Service::broadcast`] |

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use utility_wire::limits::WAIT_S_MAX;
use utility_wire::{BatchState, Command, List, Outcome, Poll, Report, ReportAnswer, UnixTime, Versions};

use crate::events::Target;
use crate::limits::{CACHE_OBJECTS_MAX, LOOK_EVERY};
use crate::metrics::{Held, Metrics};
use crate::sites::{ReportError, Site, SiteId, examine, until_next};
use crate::store::{Hint, Object, Store, StoreError, Taken, Taking};

/// Why a home's message was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The home is not one of ours.
    #[error("there is no such site")]
    UnknownSite,
    /// The report makes no sense. Sending it again does not help.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Too much at once: come again after so many seconds.
    #[error("busy; try again in {after_s} s")]
    Busy {
        /// Seconds, the home's own spread included.
        after_s: u32,
    },
    /// The database failed. Trying again later may help.
    #[error(transparent)]
    Store(StoreError),
}

/// How homes are asked to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Seconds between two reports of a home.
    pub report_s: u32,
    /// Seconds between two polls of a home; 0: the next at once after each answer (long poll).
    pub poll_s: u32,
}

/// The wall clock.
pub type Clock = fn() -> UnixTime;

/// The utility toward its homes.
#[derive(Debug)]
pub struct Service {
    store: Store,
    metrics: Arc<Metrics>,
    periods: RwLock<Periods>,
    clock: Clock,
    /// Last contact of homes, not yet written.
    heard: Mutex<HashMap<SiteId, UnixTime>>,
    objects: RwLock<Objects>,
}

/// Broadcast objects as last read, until something changes.
#[derive(Debug, Default)]
struct Objects {
    /// How often all were forgotten: what was read before is not kept after.
    age: u64,
    by_path: BTreeMap<String, Object>,
}

impl Service {
    /// On an open database.
    pub fn new(store: Store, metrics: Arc<Metrics>, periods: Periods, clock: Clock) -> Self {
        let (heard, objects) = (Mutex::default(), RwLock::default());
        Self { store, metrics, periods: RwLock::new(periods), clock, heard, objects }
    }

    /// Other periods from now on.
    pub fn set_periods(&self, periods: Periods) {
        *self.periods.write().unwrap_or_else(PoisonError::into_inner) = periods;
    }

    /// How homes are asked to behave.
    pub fn periods(&self) -> Periods {
        *self.periods.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The time, as sealed messages have it.
    pub fn now(&self) -> secure_http::UnixTime {
        secure_http::UnixTime((self.clock)().seconds())
    }

    /// Takes a report in. When this returns `Ok` it is on the disk, once, and the home may forget it.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn handle_report(&self, taking: Taking, report: &Report) -> Result<Taken<ReportAnswer>, ServiceError> {
        let (now, site) = (taking.now, taking.site.clone());
        examine(report, now)?;
        let taken = self.store.take_report(taking, report).await.map_err(|e| self.failed(&site, e))?;
        match taken.effect {
            BatchState::Stored => self.metrics.reports.add(),
            BatchState::Duplicate => self.metrics.duplicates.add(),
        }
        let report_after_s = until_next(&site, self.periods().report_s, now);
        let effect = ReportAnswer { batch: report.batch, state: taken.effect, report_after_s };
        Ok(Taken { effect, number: taken.number, window: taken.window })
    }

    /// Takes a poll in, and what it says came of controls and limits. Telling that again is no error and changes nothing; what is about
    /// something that is not known for that home is passed over, so that the home may forget it.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn handle_poll(&self, taking: Taking, poll: &Poll) -> Result<Taken<()>, ServiceError> {
        let site = taking.site.clone();
        let outcomes: Vec<Outcome> = poll.outcomes.iter().cloned().collect();
        let count = outcomes.len();
        let taken = self.store.take_poll(taking, outcomes).await.map_err(|e| self.failed(&site, e))?;
        (taken.effect..count).for_each(|_| self.metrics.outcomes.add());
        if taken.effect > 0 {
            tracing::debug!(%site, unknown = taken.effect, "outcomes of something unknown");
        }
        Ok(Taken { effect: (), number: taken.number, window: taken.window })
    }

    /// What a home has to be told: at once if there is something, else when there is, at the latest after the wait that the poll
    /// asks for. `policy` is the version of the security policy that is current.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn next_commands(
        &self,
        site: &SiteId,
        poll: &Poll,
        mut policy: watch::Receiver<u64>,
    ) -> Result<Command, ServiceError> {
        // From before the first look, so that nothing falls between.
        let mut hints = self.store.hints();
        let _held = Held::new(&self.metrics.polls_waiting);
        let wait = Duration::from_secs(poll.wait_s.min(WAIT_S_MAX).into());
        let mut deadline = std::pin::pin!(tokio::time::sleep(wait));
        loop {
            let known = self.known(site).await?;
            let version = *policy.borrow_and_update();
            let command = self.look(&known, &poll.have, version).await.map_err(|e| self.failed(site, e))?;
            if let Some(command) = command {
                return Ok(self.answered(site, command));
            }
            tokio::select! {
                () = &mut deadline => {
                    let current = Versions { policy: *policy.borrow(), ..poll.have.clone() };
                    let zone = known.zone;
                    let nothing = Command { current, limits: None, controls: List::empty(), poll_after_s: 0, zone };
                    return Ok(self.answered(site, nothing));
                }
                () = concerning(&known, &mut hints) => {}
                Ok(()) = policy.changed() => {}
            }
        }
    }

    fn answered(&self, site: &SiteId, command: Command) -> Command {
        self.metrics.polls.add();
        let now = (self.clock)();
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(site.clone(), now);
        let poll_after_s = match self.periods().poll_s {
            0 => 0,
            period_s => until_next(site, period_s, now),
        };
        Command { poll_after_s, ..command }
    }

    /// What differs from what the home has; `None`: nothing.
    async fn look(&self, site: &Site, have: &Versions, policy: u64) -> Result<Option<Command>, StoreError> {
        let now = (self.clock)();
        let controls = List::fill(self.store.take_controls(&site.id, now).await?);
        let (version, limits) = self.store.limits_for(site, have.limits, now).await?;
        let current = Versions { prices: self.store.price_version(&site.zone).await?, limits: version, policy };
        let news = limits.is_some() || !controls.is_empty() || current != *have;
        Ok(news.then_some(Command { current, limits, controls, poll_after_s: 0, zone: site.zone.clone() }))
    }

    async fn known(&self, site: &SiteId) -> Result<Site, ServiceError> {
        self.store.site(site).await.map_err(|e| self.failed(site, e))?.ok_or(ServiceError::UnknownSite)
    }

    fn failed(&self, site: &SiteId, error: StoreError) -> ServiceError {
        match error {
            StoreError::UnknownSite(_) => ServiceError::UnknownSite,
            StoreError::Replay => ServiceError::Store(error),
            StoreError::Busy => {
                // Homes that are turned away together do not come back together.
                let after_s = until_next(site, self.periods().report_s.clamp(4, 60), (self.clock)());
                ServiceError::Busy { after_s }
            }
            error => {
                self.metrics.store_failures.add();
                tracing::warn!(%site, %error, "a home's message was not taken");
                ServiceError::Store(error)
            }
        }
    }

    /// A broadcast object by its path; `None`: there is none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn broadcast(&self, path: &str) -> Result<Option<Object>, StoreError> {
        let age = {
            let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(object) = objects.by_path.get(path) {
                return Ok(Some(object.clone()));
            }
            objects.age
        };
        let Some(object) = self.store.object(path).await? else {
            // Not kept: there is no end of paths that anybody may ask for.
            return Ok(None);
        };
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        if objects.age == age {
            if objects.by_path.len() >= CACHE_OBJECTS_MAX {
                objects.by_path.clear();
            }
            objects.by_path.insert(path.to_owned(), object.clone());
        }
        Ok(Some(object))
    }

    /// Broadcast objects may have changed: they are read again when next asked for.
    pub fn forget_objects(&self) {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        objects.age += 1;
        objects.by_path.clear();
    }

    /// Writes down when homes were heard. Those that could not be written are written with the next.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn write_contacts(&self) -> Result<(), StoreError> {
        let heard = std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        if heard.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = heard.iter().map(|(site, at)| (site.clone(), *at)).collect();
        let written = self.store.heard(rows).await;
        if written.is_err() {
            let mut now = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            for (site, at) in heard {
                now.entry(site).or_insert(at);
            }
        }
        written
    }
}

/// Waits for a hint that may concern a home, or for the time after which a lost one is made up for.
async fn concerning(site: &Site, hints: &mut Receiver<Hint>) {
    let targets = Target::of(site);
    let concerns = |hint: &Hint| match hint {
        Hint::Site(id) => id == site.id.as_str(),
        Hint::Zone(zone) => zone == site.zone.as_str(),
        Hint::Group(group) => targets.iter().any(|t| matches!(t, Target::Group(g) if g.as_str() == group)),
        // Of a new policy whoever waits hears when it is known here.
        Hint::Log | Hint::Keys(_) => false,
        Hint::All => true,
    };
    let heard = async {
        loop {
            match hints.recv().await {
                Ok(hint) if !concerns(&hint) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    };
    // Nothing more than a look is lost when it comes for nothing.
    let _ = tokio::time::timeout(LOOK_EVERY, heard).await;
}
