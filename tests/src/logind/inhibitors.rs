//! The inhibitor locks of the lab's logind: who holds what, and what that blocks or delays.
//!
//! Source: the "Inhibitor Locks" page of systemd and org.freedesktop.login1(5).

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

/// What a lock can be about. The order is the one in which logind names them.
const KINDS: [&str; 8] = [
    "shutdown",
    "sleep",
    "idle",
    "handle-power-key",
    "handle-suspend-key",
    "handle-hibernate-key",
    "handle-lid-switch",
    "handle-reboot-key",
];

/// The kinds that a delay lock may name; the others can only be blocked.
const DELAYABLE: [&str; 2] = ["shutdown", "sleep"];

/// Why a lock is not given.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidLock {
    /// An unknown kind, or none.
    #[error("Invalid what specification {0}")]
    What(String),
    /// Neither `block` nor `delay`.
    #[error("Invalid mode specification {0}")]
    Mode(String),
    /// Only sleep and shutdown can be delayed.
    #[error("Delay inhibitors only supported for shutdown and sleep")]
    NotDelayable,
}

/// `block` forbids, `delay` asks for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The operation is not started.
    Block,
    /// The operation waits, up to `InhibitDelayMaxUSec`.
    Delay,
}

impl Mode {
    /// The word on the bus.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Block => "block",
            Mode::Delay => "delay",
        }
    }
}

/// One lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    kinds: BTreeSet<&'static str>,
    /// The program's own name.
    pub who: String,
    /// Its reason, for people.
    pub why: String,
    /// Block or delay.
    pub mode: Mode,
    /// The caller's user number.
    pub uid: u32,
    /// The caller's process number.
    pub pid: u32,
}

impl Lock {
    /// Reads the arguments of `Inhibit`.
    ///
    /// # Errors
    /// [`InvalidLock`], with logind's own wording.
    pub fn parse(what: &str, who: &str, why: &str, mode: &str, uid: u32, pid: u32) -> Result<Lock, InvalidLock> {
        let mode = match mode {
            "block" => Mode::Block,
            "delay" => Mode::Delay,
            other => return Err(InvalidLock::Mode(other.to_owned())),
        };
        let mut kinds = BTreeSet::new();
        for word in what.split(':') {
            let Some(kind) = KINDS.iter().find(|k| **k == word) else { return Err(InvalidLock::What(what.to_owned())) };
            kinds.insert(*kind);
        }
        if mode == Mode::Delay && kinds.iter().any(|k| !DELAYABLE.contains(k)) {
            return Err(InvalidLock::NotDelayable);
        }
        Ok(Lock { kinds, who: who.to_owned(), why: why.to_owned(), mode, uid, pid })
    }

    /// The kinds as on the bus: `shutdown:sleep`.
    pub fn what(&self) -> String {
        in_order(&self.kinds)
    }
}

/// All locks held.
#[derive(Debug, Default)]
pub struct Inhibitors {
    next: u64,
    locks: BTreeMap<u64, Lock>,
}

impl Inhibitors {
    /// Takes a lock; the number is for [`Inhibitors::release`].
    pub fn take(&mut self, lock: Lock) -> u64 {
        self.next += 1;
        self.locks.insert(self.next, lock);
        self.next
    }

    /// Gives a lock back.
    pub fn release(&mut self, number: u64) -> Option<Lock> {
        self.locks.remove(&number)
    }

    /// True if a lock of this mode names this kind.
    pub fn holds(&self, mode: Mode, kind: &str) -> bool {
        self.locks.values().any(|lock| lock.mode == mode && lock.kinds.contains(kind))
    }

    /// `BlockInhibited` or `DelayInhibited`: every kind that some lock names.
    pub fn inhibited(&self, mode: Mode) -> String {
        let of_mode = self.locks.values().filter(|lock| lock.mode == mode);
        in_order(&of_mode.flat_map(|lock| lock.kinds.iter().copied()).collect())
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Lock> {
        self.locks.values()
    }
}

fn in_order(kinds: &BTreeSet<&'static str>) -> String {
    KINDS.iter().copied().filter(|kind| kinds.contains(kind)).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_in_loginds_order_whatever_was_given() {
        let lock = Lock::parse("sleep:shutdown", "psm-agent", "events", "delay", 0, 7).unwrap();
        assert_eq!(lock.what(), "shutdown:sleep");
    }

    #[test]
    fn a_delay_of_anything_but_sleep_and_shutdown_is_refused() {
        assert_eq!(Lock::parse("idle", "a", "b", "delay", 0, 0), Err(InvalidLock::NotDelayable));
        assert!(Lock::parse("idle", "a", "b", "block", 0, 0).is_ok());
    }

    #[test]
    fn unknown_words_are_refused() {
        assert!(matches!(Lock::parse("sleeping", "a", "b", "block", 0, 0), Err(InvalidLock::What(_))));
        assert!(matches!(Lock::parse("", "a", "b", "block", 0, 0), Err(InvalidLock::What(_))));
        assert!(matches!(Lock::parse("sleep", "a", "b", "soon", 0, 0), Err(InvalidLock::Mode(_))));
    }

    #[test]
    fn modes_are_counted_apart_and_end_with_their_last_lock() {
        let mut all = Inhibitors::default();
        let delay = all.take(Lock::parse("sleep", "a", "", "delay", 0, 0).unwrap());
        let block = all.take(Lock::parse("sleep:idle", "b", "", "block", 0, 0).unwrap());
        assert!(all.holds(Mode::Delay, "sleep") && !all.holds(Mode::Delay, "shutdown"));
        assert_eq!(all.inhibited(Mode::Block), "sleep:idle");
        all.release(block);
        assert_eq!((all.inhibited(Mode::Block), all.inhibited(Mode::Delay)), (String::new(), "sleep".to_owned()));
        all.release(delay);
        assert!(!all.holds(Mode::Delay, "sleep"));
    }
}
