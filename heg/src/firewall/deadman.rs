//! The dead man's switch: a change that nobody confirms in time is taken back, since whoever made it may have cut himself off. PURE.
//!
//! What is on the disk decides after a crash: a change that waits there when somebody starts was never confirmed.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use upnp::time::BootTime;

use super::settings::{Mode, Settings};
use super::shape::Remembered;

/// What is kept on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Record {
    /// The settings in force, once somebody confirmed them or they were the first.
    pub confirmed: Option<Settings>,
    /// Settings that were put in force and wait to be confirmed.
    pub waiting: Option<Settings>,
    /// Which interface was seen on which side.
    pub seen: Remembered,
    /// Sources of SSH connections that were open at the last change.
    pub ssh: BTreeSet<IpAddr>,
}

/// Where the last change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing waits.
    Confirmed,
    /// The new rules are being put in place.
    Applying,
    /// They are in place and wait to be confirmed until then.
    Waiting(BootTime),
    /// They were not confirmed, or could not be put in place; the ones before are back.
    RolledBack,
}

/// Nothing waits to be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no change waits to be confirmed")]
pub struct NothingWaits;

/// Another change is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a change waits to be confirmed already: confirm it, or wait until it is taken back")]
pub struct ChangeWaits;

/// The switch. Whoever owns it writes [`Self::record`] to the disk after each call and before the rules are changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadMan {
    record: Record,
    phase: Phase,
}

impl DeadMan {
    /// From what is on the disk. The first settings ever need no confirmation, as nobody is there to give it; who is
    /// connected by SSH stays allowed.
    pub fn restore(record: Record, configured: &Settings) -> Self {
        let interrupted = record.waiting.is_some();
        let confirmed = record.confirmed.clone().unwrap_or_else(|| configured.clone());
        let record = Record { confirmed: Some(confirmed), waiting: None, ..record };
        Self { record, phase: if interrupted { Phase::RolledBack } else { Phase::Confirmed } }
    }

    /// What belongs on the disk.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Where the last change stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The settings that the rules are made of.
    pub fn in_force(&self) -> Settings {
        self.record.waiting.clone().or_else(|| self.record.confirmed.clone()).unwrap_or_default()
    }

    /// The settings that come back if nobody confirms.
    pub fn confirmed(&self) -> Settings {
        self.record.confirmed.clone().unwrap_or_default()
    }

    /// Begins a change.
    ///
    /// # Errors
    /// Another one waits.
    pub fn propose(&mut self, settings: Settings) -> Result<(), ChangeWaits> {
        if self.record.waiting.is_some() {
            return Err(ChangeWaits);
        }
        self.record.waiting = Some(settings);
        self.phase = Phase::Applying;
        Ok(())
    }

    /// How long a change waits: as its own settings say.
    pub fn confirm_within(&self) -> Duration {
        Duration::from_secs(self.in_force().confirm_within_s.into())
    }

    /// The rules of the change are in place: its time runs from here. True if that was new.
    pub fn applied(&mut self, now: BootTime) -> bool {
        let applying = self.phase == Phase::Applying;
        if applying {
            self.phase = Phase::Waiting(now + self.confirm_within());
        }
        applying
    }

    /// Somebody can still reach us, and says so.
    ///
    /// # Errors
    /// Nothing waits.
    pub fn confirm(&mut self) -> Result<(), NothingWaits> {
        let Phase::Waiting(_) = self.phase else { return Err(NothingWaits) };
        self.record.confirmed = self.record.waiting.take();
        self.phase = Phase::Confirmed;
        Ok(())
    }

    /// Takes a change back. True if there was one.
    pub fn roll_back(&mut self) -> bool {
        let waited = self.record.waiting.take().is_some();
        if waited {
            self.phase = Phase::RolledBack;
        }
        waited
    }

    /// No rules from now on, confirmed, whatever waited.
    pub fn switch_off(&mut self) {
        self.record.waiting = None;
        self.record.confirmed = Some(Settings { mode: Mode::Off, ..self.confirmed() });
        self.phase = Phase::Confirmed;
    }

    /// Keeps what was found out: sides of interfaces, sources of SSH connections. True if it is new.
    pub fn note(&mut self, seen: Remembered, ssh: BTreeSet<IpAddr>) -> bool {
        let new = self.record.seen != seen || self.record.ssh != ssh;
        (self.record.seen, self.record.ssh) = (seen, ssh);
        new
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        match self.phase {
            Phase::Waiting(until) => Some(until),
            _ => None,
        }
    }

    /// Lets time pass; true if a change was taken back.
    pub fn handle_timeout(&mut self, now: BootTime) -> bool {
        self.poll_timeout().is_some_and(|until| until <= now) && self.roll_back()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(s: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(s))
    }

    fn settings(port: u16) -> Settings {
        Settings { wan_tcp: vec![port], ..Settings::default() }
    }

    #[test]
    fn the_first_settings_are_in_force_and_a_later_file_changes_nothing_by_itself() {
        let first = DeadMan::restore(Record::default(), &settings(1));
        assert_eq!((first.in_force(), first.phase()), (settings(1), Phase::Confirmed));
        let again = DeadMan::restore(first.record().clone(), &settings(2));
        assert_eq!((again.in_force(), again.phase()), (settings(1), Phase::Confirmed));
    }

    #[test]
    fn a_change_holds_once_confirmed_and_is_taken_back_after_a_minute_otherwise() {
        let mut dead_man = DeadMan::restore(Record::default(), &settings(1));
        assert_eq!(dead_man.confirm(), Err(NothingWaits));
        dead_man.propose(settings(2)).unwrap();
        assert_eq!(
            (dead_man.propose(settings(3)), dead_man.confirm()),
            (Err(ChangeWaits), Err(NothingWaits)),
            "not in place yet"
        );
        assert!(dead_man.applied(at(100)) && !dead_man.applied(at(130)), "the time runs once");
        assert!(!dead_man.handle_timeout(at(159)));
        assert_eq!(dead_man.in_force(), settings(2));
        assert!(dead_man.handle_timeout(at(160)) && !dead_man.handle_timeout(at(161)));
        assert_eq!((dead_man.in_force(), dead_man.phase()), (settings(1), Phase::RolledBack));
        dead_man.propose(settings(3)).unwrap();
        dead_man.applied(at(200));
        dead_man.confirm().unwrap();
        assert!(!dead_man.handle_timeout(at(9999)));
        assert_eq!((dead_man.in_force(), dead_man.phase()), (settings(3), Phase::Confirmed));
    }

    #[test]
    fn no_rules_are_a_change_like_any_other_and_taken_back_unless_confirmed() {
        let off = Settings { mode: Mode::Off, ..settings(1) };
        let mut dead_man = DeadMan::restore(Record::default(), &settings(1));
        dead_man.propose(off.clone()).unwrap();
        dead_man.applied(at(10));
        assert_eq!(dead_man.in_force().mode, Mode::Off);
        let crashed = DeadMan::restore(dead_man.record().clone(), &settings(1));
        assert_eq!((crashed.in_force(), crashed.phase()), (settings(1), Phase::RolledBack));
        assert!(dead_man.handle_timeout(at(70)));
        assert_eq!(dead_man.in_force(), settings(1));
        dead_man.propose(off).unwrap();
        dead_man.applied(at(100));
        dead_man.confirm().unwrap();
        assert_eq!(DeadMan::restore(dead_man.record().clone(), &settings(1)).in_force().mode, Mode::Off);
    }

    #[test]
    fn off_at_once_needs_no_confirmation_and_outlives_a_restart() {
        let mut dead_man = DeadMan::restore(Record::default(), &settings(1));
        dead_man.propose(settings(2)).unwrap();
        dead_man.switch_off();
        assert_eq!(dead_man.poll_timeout(), None);
        let again = DeadMan::restore(dead_man.record().clone(), &settings(1));
        assert_eq!((again.in_force().mode, again.in_force().wan_tcp), (Mode::Off, vec![1]));
    }

    proptest! {
        /// Whatever happens in whatever order: after a crash at any moment, what is in force was confirmed or was the first.
        #[test]
        fn a_crash_at_any_moment_leaves_confirmed_settings(steps in proptest::collection::vec((0u8..5, 0u64..40), 0..40)) {
            let mut dead_man = DeadMan::restore(Record::default(), &settings(1));
            let (mut now, mut good, mut next) = (0, vec![settings(1)], 2);
            for (step, seconds) in steps {
                now += seconds;
                dead_man.handle_timeout(at(now));
                match step {
                    0 if dead_man.propose(settings(next)).is_ok() => next += 1,
                    1 => drop(dead_man.applied(at(now))),
                    2 if dead_man.confirm().is_ok() => good.push(dead_man.confirmed()),
                    3 => drop(dead_man.roll_back()),
                    _ => {}
                }
                // What is on the disk survives the round trip through its text.
                let text = serde_json::to_vec(dead_man.record()).unwrap();
                let crashed = DeadMan::restore(serde_json::from_slice(&text).unwrap(), &settings(9));
                prop_assert_eq!(Some(&crashed.in_force()), good.last());
                if let Phase::Waiting(until) = dead_man.phase() {
                    prop_assert!(until > at(now) && until <= at(now + 60));
                }
            }
        }
    }
}
