//! What waits to be written, and who waits for it. PURE: the writing itself is the worker's.
//!
//! Ordinary changes gather for a few seconds and go in one transaction. A registration or a finished command goes at
//! once: whoever asked is answered when it is on the disk, or told that it is not. When the disk is full everything else
//! stays here, the latest state of each thing once and the journal up to a bound, and is tried again.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use upnp::ids::Udn;
use upnp::time::{BootTime, earliest};

use crate::gateway::AskId;
use crate::journal::Entry;
use crate::limits::{
    JOURNAL_PENDING_MAX, STORE_RETRY_FIRST, STORE_RETRY_MAX, WRITE_LAZILY_WITHIN, WRITE_UTILITY_LAZILY_WITHIN,
};
use crate::planner;
use crate::registrations::{Key, Registration};
use crate::registry::Profile;
use crate::utility::{Slot, Soon};

/// Changes for one transaction. `None` takes the thing out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Appliances, as they are now.
    pub appliances: BTreeMap<Udn, Option<Profile>>,
    /// Registrations, as they are now.
    pub registrations: BTreeMap<Key, Option<Registration>>,
    /// Journal entries, oldest first.
    pub journal: Vec<Entry>,
    /// What is kept of the utility.
    pub utility: BTreeMap<Slot, Option<Vec<u8>>>,
    /// What the planner keeps.
    pub planner: BTreeMap<planner::Slot, Option<String>>,
    /// The last RegID ever given, where everything is written afresh; else 0.
    pub last_reg: u32,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.appliances.is_empty()
            && self.registrations.is_empty()
            && self.journal.is_empty()
            && self.utility.is_empty()
            && self.planner.is_empty()
            && self.last_reg == 0
    }

    /// Puts what was not written before what came since.
    fn put_back(&mut self, mut older: Self) {
        older.appliances.append(&mut self.appliances);
        older.registrations.append(&mut self.registrations);
        older.journal.append(&mut self.journal);
        older.utility.append(&mut self.utility);
        older.planner.append(&mut self.planner);
        older.last_reg = older.last_reg.max(self.last_reg);
        *self = older;
    }
}

/// Who waits for everything before to be written, though nobody has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The dealings with the utility, by their ticket.
    Utility(u64),
    /// An order of the planner's, by its number.
    Order(u64),
}

/// What to do for those who waited, now that a batch is written or was not.
#[derive(Debug)]
pub struct Settled<R> {
    /// Registrations asked for, with what came of the writing.
    pub saved: Vec<(AskId, Result<(), String>)>,
    /// Marks that were set, with what came of the writing.
    pub marks: Vec<(Mark, Result<(), String>)>,
    /// Answers that were to go out after the writing. They go out even if it failed: the thing has happened.
    pub replies: Vec<R>,
}

/// What waits to be written. `R` is an answer that goes out afterwards.
#[derive(Debug)]
pub struct Pending<R> {
    batch: Batch,
    asks: Vec<(AskId, Key)>,
    marks: Vec<Mark>,
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
    marks: Vec<Mark>,
    replies: Vec<R>,
    /// Nothing is written: this only lets the replies go, and shows nothing about the disk.
    empty: bool,
}

impl<R> InFlight<R> {
    const NOTHING: Self = Self { asks: Vec::new(), marks: Vec::new(), replies: Vec::new(), empty: true };
}

impl<R> Pending<R> {
    /// Nothing waits; ordinary changes are written at most `every` so often.
    pub fn new(every: Duration) -> Self {
        Self {
            batch: Batch::default(),
            asks: Vec::new(),
            marks: Vec::new(),
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

    /// Something of the utility's as it is now, or that it is gone.
    pub fn utility(&mut self, slot: Slot, value: Option<Vec<u8>>, soon: Soon, now: BootTime) {
        self.batch.utility.insert(slot, value);
        match soon {
            Soon::Soon => self.soon(now),
            Soon::Lazily => self.within(WRITE_UTILITY_LAZILY_WITHIN, now),
        }
    }

    /// Something of the planner's as it is now, or that it is gone.
    pub fn planner(&mut self, slot: planner::Slot, value: Option<String>, soon: planner::Soon, now: BootTime) {
        self.batch.planner.insert(slot, value);
        match soon {
            planner::Soon::Soon => self.soon(now),
            planner::Soon::Lazily => self.within(WRITE_LAZILY_WITHIN, now),
            // While the disk is full it waits with everything else.
            planner::Soon::AtOnce if self.failures == 0 => self.due = Some(now),
            planner::Soon::AtOnce => self.soon(now),
        }
    }

    /// Everything up to here is written at once, and its mark comes back with what came of that.
    pub fn mark(&mut self, mark: Mark, now: BootTime) {
        self.marks.push(mark);
        self.due = Some(now);
    }

    fn soon(&mut self, now: BootTime) {
        self.within(if self.failures > 0 { self.retry_delay() } else { self.every }, now);
    }

    fn within(&mut self, delay: Duration, now: BootTime) {
        self.due = earliest(self.due, Some(now + delay));
    }

    fn bound_journal(&mut self) {
        let surplus = self.batch.journal.len().saturating_sub(JOURNAL_PENDING_MAX);
        self.batch.journal.drain(..surplus);
        self.lost_entries += surplus as u64;
    }

    fn retry_delay(&self) -> Duration {
        (STORE_RETRY_FIRST * (1 << self.failures.saturating_sub(1).min(10))).min(STORE_RETRY_MAX)
    }

    fn nobody_waits(&self) -> bool {
        self.asks.is_empty() && self.marks.is_empty() && self.replies.is_empty()
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
        let marks = std::mem::take(&mut self.marks);
        self.in_flight = Some(InFlight { asks, marks, replies, empty: self.batch.is_empty() });
        Some(std::mem::take(&mut self.batch))
    }

    /// Whether a batch is being written.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Everything that waits, though it is not due: somebody wants to read it, or this is the end.
    pub fn take_early(&mut self) -> Option<Batch> {
        if self.batch.is_empty() && self.nobody_waits() {
            return None;
        }
        self.due = Some(BootTime::ZERO);
        self.take(BootTime::ZERO)
    }

    /// The database was begun anew: `everything` known goes into it, then the batch that was lost with the old one, then
    /// what came since. Whoever waits goes on waiting.
    pub fn began_anew(&mut self, everything: Batch, lost: Batch, now: BootTime) {
        let InFlight { mut asks, mut marks, mut replies, .. } = self.in_flight.take().unwrap_or(InFlight::NOTHING);
        asks.append(&mut self.asks);
        marks.append(&mut self.marks);
        replies.append(&mut self.replies);
        (self.asks, self.marks, self.replies) = (asks, marks, replies);
        self.batch.put_back(lost);
        self.batch.put_back(everything);
        self.due = Some(now);
    }

    /// The batch was written, or comes back with the reason.
    pub fn written(&mut self, result: Result<(), (Box<Batch>, String)>, now: BootTime) -> Settled<R> {
        let InFlight { asks, marks, replies, empty } = self.in_flight.take().unwrap_or(InFlight::NOTHING);
        let outcome = match result {
            Ok(()) if empty => Ok(()),
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
                self.batch.put_back(*batch);
                self.bound_journal();
                if !self.batch.is_empty() && self.nobody_waits() {
                    self.due = Some(now + self.retry_delay());
                }
                Err(why)
            }
        };
        let marks = marks.into_iter().map(|mark| (mark, outcome.clone())).collect();
        Settled { saved: asks.into_iter().map(|(ask, _)| (ask, outcome.clone())).collect(), marks, replies }
    }
}

#[cfg(test)]
mod tests {
    use energy_model::RegId;
    use jiff::Timestamp;

    use super::*;
    use crate::journal::{Cause, Ending};
    use crate::registrations::{Registrant, Wish};

    const EVERY: Duration = Duration::from_secs(5);

    fn t(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    fn entry(action: &str) -> Entry {
        let (cause, ending) = (Cause::Gateway, Ending::Done);
        Entry { at: Timestamp::UNIX_EPOCH, udn: None, action: action.into(), cause, ending, reason: "".into() }
    }

    fn registration(reg: u32) -> Registration {
        Registration {
            reg: RegId::new(reg).unwrap(),
            udn: Udn::parse("uuid:tv").unwrap(),
            by: Registrant::Appliance,
            wish: Wish::WakeUp("06:30:00".parse().unwrap()),
            made: Timestamp::UNIX_EPOCH,
            due: None,
        }
    }

    fn full(batch: Batch) -> Result<(), (Box<Batch>, String)> {
        Err((Box::new(batch), "the disk is full".into()))
    }

    #[test]
    fn ordinary_changes_gather_and_a_registration_goes_at_once_with_them() {
        let mut pending = Pending::<()>::new(EVERY);
        pending.entry(entry("a"), t(0));
        pending.entry(entry("b"), t(3));
        assert!(pending.take(t(4)).is_none());
        let r = registration(1);
        pending.registration(r.key(), Some(r), Some(AskId(1)), t(4));
        let batch = pending.take(t(4)).unwrap();
        assert_eq!((batch.journal.len(), batch.registrations.len()), (2, 1));
        assert!(pending.take(t(100)).is_none(), "one at a time");
        assert_eq!(pending.written(Ok(()), t(5)).saved, [(AskId(1), Ok(()))]);
    }

    #[test]
    fn on_a_full_disk_who_asks_is_told_no_and_the_rest_is_kept_and_tried_again() {
        let mut pending = Pending::new(EVERY);
        let r = registration(1);
        pending.entry(entry("a"), t(0));
        pending.registration(r.key(), Some(r), Some(AskId(1)), t(0));
        pending.reply("answer", t(0));
        let batch = pending.take(t(0)).unwrap();
        pending.entry(entry("b"), t(1));
        let settled = pending.written(full(batch), t(1));
        assert_eq!(settled.saved, [(AskId(1), Err("the disk is full".into()))]);
        assert_eq!(settled.replies, ["answer"], "what was done is told even though it could not be written");
        assert_eq!(pending.trouble().as_deref(), Some("database not written: the disk is full"));
        assert_eq!(pending.poll_timeout(), Some(t(6)));
        let batch = pending.take(t(6)).unwrap();
        assert!(
            batch.registrations.is_empty(),
            "a registration that was refused is not written behind the asker's back"
        );
        assert_eq!(batch.journal.iter().map(|e| &*e.action).collect::<Vec<_>>(), ["a", "b"]);
        pending.written(Ok(()), t(7));
        assert_eq!(pending.trouble(), None);
    }

    #[test]
    fn a_reply_without_anything_to_write_does_not_end_the_trouble() {
        let mut pending = Pending::new(EVERY);
        let r = registration(1);
        pending.registration(r.key(), Some(r), Some(AskId(1)), t(0));
        let batch = pending.take(t(0)).unwrap();
        pending.written(full(batch), t(0));
        pending.reply("not stored", t(0));
        let batch = pending.take(t(0)).unwrap();
        assert!(batch.is_empty());
        assert_eq!(pending.written(Ok(()), t(0)).replies, ["not stored"]);
        assert_eq!(pending.trouble().as_deref(), Some("database not written: the disk is full"));
        pending.entry(entry("a"), t(0));
        let batch = pending.take(t(5)).unwrap();
        assert!(!batch.is_empty());
        pending.written(Ok(()), t(5));
        assert_eq!(pending.trouble(), None);
    }

    #[test]
    fn retries_grow_apart_and_memory_stays_bounded() {
        let mut pending = Pending::<()>::new(EVERY);
        let mut now = t(0);
        let mut waits = vec![];
        for n in 0..10_000 {
            pending.entry(entry(&n.to_string()), now);
        }
        for _ in 0..10 {
            let due = pending.poll_timeout().unwrap();
            waits.push(due.since(now).as_secs());
            now = due;
            let batch = pending.take(now).unwrap();
            assert_eq!(batch.journal.len(), JOURNAL_PENDING_MAX);
            pending.written(full(batch), now);
        }
        assert_eq!(waits, [5, 5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(pending.trouble().unwrap(), "database not written: the disk is full; 8000 journal entries lost");
    }

    #[test]
    fn when_the_database_is_begun_anew_who_waits_goes_on_waiting() {
        let mut pending = Pending::<()>::new(EVERY);
        let r = registration(1);
        pending.registration(r.key(), Some(r), Some(AskId(1)), t(0));
        let batch = pending.take(t(0)).unwrap();
        let (kept, withdrawn) = (registration(2), registration(3));
        pending.registration(withdrawn.key(), None, Some(AskId(2)), t(1));
        let known = [&kept, &withdrawn].map(|r| (r.key(), Some(r.clone())));
        pending.began_anew(Batch { registrations: known.into(), ..Batch::default() }, batch, t(1));

        let batch = pending.take(t(1)).unwrap();
        let written: Vec<_> = batch.registrations.values().map(|r| r.as_ref().map(|r| r.reg.number())).collect();
        assert_eq!(written, [Some(1), Some(2), None], "a withdrawal under way is not undone");
        assert_eq!(pending.written(Ok(()), t(1)).saved, [(AskId(1), Ok(())), (AskId(2), Ok(()))]);
    }
}
