//! What waits to be written, and who waits for it. PURE: the writing itself is the worker's.
//!
//! Ordinary changes gather for a few seconds and go in one transaction. A registration or a finished command goes at
//! once: whoever asked is answered when it is on the disk, or told that it is not. When the disk is full everything else
//! stays here, the latest state of each thing once and the journal up to a bound, and is tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use upnp::ids::Udn;
use upnp::time::BootTime;

use crate::gateway::AskId;
use crate::journal::Entry;
use crate::limits::{JOURNAL_PENDING_MAX, STORE_RETRY_FIRST, STORE_RETRY_MAX};
use crate::registrations::{Key, Registration};
use crate::registry::Profile;

/// Changes for one transaction. `None` takes the thing out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Appliances, as they are now.
    pub appliances: BTreeMap<Udn, Option<Profile>>,
    /// Registrations, as they are now.
    pub registrations: BTreeMap<Key, Option<Registration>>,
    /// Journal entries, oldest first.
    pub journal: Vec<Entry>,
    /// The last RegID ever given, where everything is written afresh; else 0.
    pub last_reg: u32,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.appliances.is_empty() && self.registrations.is_empty() && self.journal.is_empty()
    }

    /// Puts what was not written before what came since.
    fn put_back(&mut self, mut older: Self) {
        older.appliances.append(&mut self.appliances);
        older.registrations.append(&mut self.registrations);
        older.journal.append(&mut self.journal);
        older.last_reg = older.last_reg.max(self.last_reg);
        *self = older;
    }
}

/// What to do for those who waited, now that a batch is written or was not.
#[derive(Debug)]
pub struct Settled<R> {
    /// Registrations asked for, with what came of the writing.
    pub saved: Vec<(AskId, Result<(), String>)>,
    /// Answers that were to go out after the writing. They go out even if it failed: the thing has happened.
    pub replies: Vec<R>,
}

/// What waits to be written. `R` is an answer that goes out afterwards.
#[derive(Debug)]
pub struct Pending<R> {
    batch: Batch,
    asks: Vec<(AskId, Key)>,
    replies: Vec<R>,
    due: Option<BootTime>,
    in_flight: Option<InFlight<R>>,
    every: Duration,
    failures: u32,
    trouble: Option<String>,
    lost_entries: u64,
}

#[derive(Debug)]
struct InFlight<R> {
    asks: Vec<(AskId, Key)>,
    replies: Vec<R>,
}

impl<R> Pending<R> {
    /// Nothing waits; ordinary changes are written at most `every` so often.
    pub fn new(every: Duration) -> Self {
        Self {
            batch: Batch::default(),
            asks: Vec::new(),
            replies: Vec::new(),
            due: None,
            in_flight: None,
            every,
            failures: 0,
            trouble: None,
            lost_entries: 0,
        }
    }

    /// Takes another distance between writes.
    pub fn set_every(&mut self, every: Duration) {
        self.every = every;
    }

    /// What is wrong with writing now, for the status.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.as_ref()?;
        let lost = self.lost_entries;
        Some(if lost > 0 { format!("{trouble}; {lost} journal entries lost") } else { trouble.clone() })
    }

    /// An appliance as it is now, or that it is gone.
    pub fn appliance(&mut self, udn: Udn, profile: Option<Profile>, now: BootTime) {
        self.batch.appliances.insert(udn, profile);
        self.soon(now);
    }

    /// A registration as it is now, or that it is gone; at once if somebody waits.
    pub fn registration(&mut self, key: Key, registration: Option<Registration>, ask: Option<AskId>, now: BootTime) {
        self.batch.registrations.insert(key.clone(), registration);
        match ask {
            Some(ask) => {
                self.asks.push((ask, key));
                self.due = Some(now);
            }
            None => self.soon(now),
        }
    }

    /// The last RegID ever given, where everything is written afresh.
    pub fn last_reg(&mut self, last_reg: u32) {
        self.batch.last_reg = last_reg;
    }

    /// A journal entry.
    pub fn entry(&mut self, entry: Entry, now: BootTime) {
        self.batch.journal.push(entry);
        self.bound_journal();
        self.soon(now);
    }

    /// An answer that goes out when everything before it is written.
    pub fn reply(&mut self, reply: R, now: BootTime) {
        self.replies.push(reply);
        self.due = Some(now);
    }

    fn soon(&mut self, now: BootTime) {
        self.due.get_or_insert(now + if self.failures > 0 { self.retry_delay() } else { self.every });
    }

    fn bound_journal(&mut self) {
        let surplus = self.batch.journal.len().saturating_sub(JOURNAL_PENDING_MAX);
        self.batch.journal.drain(..surplus);
        self.lost_entries += surplus as u64;
    }

    fn retry_delay(&self) -> Duration {
        (STORE_RETRY_FIRST * (1 << self.failures.saturating_sub(1).min(10))).min(STORE_RETRY_MAX)
    }

    /// When [`Self::take`] has something.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        if self.in_flight.is_some() { None } else { self.due }
    }

    /// The batch that is due, if no other is being written. [`Self::written`] must follow.
    pub fn take(&mut self, now: BootTime) -> Option<Batch> {
        if self.in_flight.is_some() || self.due.is_none_or(|due| due > now) {
            return None;
        }
        self.due = None;
        let (asks, replies) = (std::mem::take(&mut self.asks), std::mem::take(&mut self.replies));
        self.in_flight = Some(InFlight { asks, replies });
        Some(std::mem::take(&mut self.batch))
    }

    /// The batch was written, or comes back with the reason.
    pub fn written(&mut self, result: Result<(), (Batch, String)>, now: BootTime) -> Settled<R> {
        let InFlight { asks, replies } = self.in_flight.take().unwrap_or(InFlight { asks: vec![], replies: vec![] });
        let outcome = match result {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    tracing::info!("the database is written again");
                }
                self.failures = 0;
                self.lost_entries = 0;
                Ok(())
            }
            Err((mut batch, why)) => {
                // Who waits is told no, so what it wanted must not be written later.
                for (_, key) in &asks {
                    batch.registrations.remove(key);
                }
                self.failures = self.failures.saturating_add(1);
                if self.trouble.is_none() {
                    tracing::warn!(why, "the database cannot be written; going on without it and trying again");
                }
                self.trouble = Some(format!("database not written: {why}"));
                self.batch.put_back(batch);
                self.bound_journal();
                if !self.batch.is_empty() && self.asks.is_empty() && self.replies.is_empty() {
                    self.due = Some(now + self.retry_delay());
                }
                Err(why)
            }
        };
        Settled { saved: asks.into_iter().map(|(ask, _)| (ask, outcome.clone())).collect(), replies }
    }
}
