//! The time of a machine that forgets it: UNSYNCED after each start, until the KMC or the utility has answered our nonce.
//!
//! Time is the time since boot (CLOCK_BOOTTIME, passed in) and an offset. The floor, which is stored, is a time that has certainly passed;
//! no answer moves the clock below it, so that an old recorded answer and an old stolen key reach back no further.

use core::time::Duration;

use crate::limits::{FLOOR_STORE_S, TIME_ANSWER_S};
use crate::names::{Nonce, UnixTime, Validity};

/// Why an answer did not set the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// No request with that nonce is under way.
    #[error("nobody asked with that nonce")]
    NotAsked,
    /// It came so late that nobody can say when it was true.
    #[error("the answer took too long")]
    TooLate,
    /// It is below the floor.
    #[error("the answer is before a time that has passed")]
    BeforeFloor,
    /// It is outside the time in which the answerer's own key holds.
    #[error("the answerer's key does not hold at the time it tells")]
    KeyNotValid,
}

/// A clock without a battery. Times since boot must come from one source that counts sleep.
#[derive(Clone, Debug)]
pub struct Clock {
    floor: UnixTime,
    stored: UnixTime,
    /// Milliseconds from 1970 to the machine's start.
    booted_ms: Option<u64>,
    asked: Option<(Nonce, Duration)>,
}

impl Clock {
    /// After a start: UNSYNCED. `floor` is the stored one, or when this software was built, whichever is later.
    pub fn unsynced(floor: UnixTime) -> Self {
        Self { floor, stored: floor, booted_ms: None, asked: None }
    }

    /// On a machine whose wall clock is kept right by other means (a server): the wall time now, and the time since boot now.
    pub fn from_wall(now: UnixTime, boot: Duration) -> Self {
        let mut clock = Self::unsynced(now);
        clock.booted_ms = Some(now.0.saturating_mul(1000).saturating_sub(millis(boot)));
        clock
    }

    /// Whether it knows the time.
    pub fn is_synced(&self) -> bool {
        self.booted_ms.is_some()
    }

    /// The time, or none while UNSYNCED. Never below the floor.
    pub fn now(&self, boot: Duration) -> Option<UnixTime> {
        let ms = self.booted_ms?.saturating_add(millis(boot));
        Some(UnixTime(ms / 1000).max(self.floor))
    }

    /// What to write as the time of issue: the best guess there is. Nobody relies on it where the guess is wrong: answers are
    /// fresh by the nonce they name.
    pub fn guess(&self, boot: Duration) -> UnixTime {
        self.now(boot).unwrap_or(self.floor)
    }

    /// A time request with this identifier goes out. A new one takes the place of the last.
    pub fn asked(&mut self, cti: Nonce, boot: Duration) {
        self.asked = Some((cti, boot));
    }

    /// Takes the time (milliseconds since 1970) from an opened message of kind `Time` that answers `answers` and was signed with a key
    /// that holds in `key`. Half of the time it took to get here is added.
    pub fn answered(
        &mut self,
        answers: Nonce,
        unix_ms: u64,
        key: Validity,
        boot: Duration,
    ) -> Result<UnixTime, ClockError> {
        let (_, sent) = self.asked.take_if(|(cti, _)| *cti == answers).ok_or(ClockError::NotAsked)?;
        let trip = boot.saturating_sub(sent);
        if trip > Duration::from_secs(TIME_ANSWER_S) {
            return Err(ClockError::TooLate);
        }
        let now_ms = unix_ms.saturating_add(millis(trip) / 2);
        let now = UnixTime(now_ms / 1000);
        if now < self.floor {
            return Err(ClockError::BeforeFloor);
        }
        if !key.contains(now) {
            return Err(ClockError::KeyNotValid);
        }
        self.booted_ms = Some(now_ms.saturating_sub(millis(boot)));
        Ok(now)
    }

    /// A new floor that is to be stored now: when the last one is a day old. Counts as stored once given out.
    pub fn floor_to_store(&mut self, boot: Duration) -> Option<UnixTime> {
        let now = self.now(boot)?;
        if now < self.stored.plus(FLOOR_STORE_S) {
            return None;
        }
        (self.floor, self.stored) = (now, now);
        Some(now)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: UnixTime = UnixTime(1_900_000_000);
    const NONCE: Nonce = Nonce([1; 8]);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn key() -> Validity {
        Validity::new(UnixTime(1_900_000_100), UnixTime(1_900_100_000)).unwrap()
    }

    #[test]
    fn it_is_unsynced_until_its_own_nonce_is_answered() {
        let mut clock = Clock::unsynced(FLOOR);
        assert_eq!(clock.answered(NONCE, 1_900_000_200_000, key(), at(10)), Err(ClockError::NotAsked));
        clock.asked(NONCE, at(10));
        assert_eq!(clock.answered(Nonce([2; 8]), 1_900_000_200_000, key(), at(10)), Err(ClockError::NotAsked));
        assert_eq!((clock.now(at(10)), clock.guess(at(10))), (None, FLOOR));
        // Four seconds on the way: two of them after the answer was true.
        assert_eq!(clock.answered(NONCE, 1_900_000_200_000, key(), at(14)), Ok(UnixTime(1_900_000_202)));
        assert_eq!(clock.now(at(114)), Some(UnixTime(1_900_000_302)));
        assert_eq!(clock.answered(NONCE, 1_900_000_900_000, key(), at(15)), Err(ClockError::NotAsked), "once");
    }

    #[test]
    fn late_answers_early_times_and_keys_that_do_not_hold_then_set_nothing() {
        for (unix_ms, arrives, error) in [
            (1_900_000_200_000, 41, ClockError::TooLate),
            (1_899_999_000_000, 11, ClockError::BeforeFloor),
            (1_900_000_050_000, 11, ClockError::KeyNotValid),
            (1_900_100_000_000, 11, ClockError::KeyNotValid),
        ] {
            let mut clock = Clock::unsynced(FLOOR);
            clock.asked(NONCE, at(10));
            assert_eq!(clock.answered(NONCE, unix_ms, key(), at(arrives)), Err(error));
            assert!(!clock.is_synced());
        }
    }

    #[test]
    fn the_floor_is_stored_once_a_day_and_only_rises() {
        const DAY: u64 = FLOOR_STORE_S;
        let mut clock = Clock::unsynced(FLOOR);
        assert_eq!(clock.floor_to_store(at(5)), None, "unsynced");
        clock.asked(NONCE, at(10));
        clock.answered(NONCE, 1_900_001_000_000, key(), at(10)).unwrap();
        assert_eq!(clock.floor_to_store(at(10 + DAY - 1001)), None);
        assert_eq!(clock.floor_to_store(at(10 + DAY - 1000)), Some(UnixTime(1_900_000_000 + DAY)));
        assert_eq!(clock.floor_to_store(at(10 + 2 * DAY - 1001)), None);
        assert_eq!(clock.floor_to_store(at(10 + 2 * DAY - 1000)), Some(UnixTime(1_900_000_000 + 2 * DAY)));
        // An answer from before the floor is refused, and the clock stays.
        clock.asked(NONCE, at(2 * DAY));
        assert_eq!(clock.answered(NONCE, 1_900_001_500_000, key(), at(2 * DAY)), Err(ClockError::BeforeFloor));
        assert_eq!(clock.now(at(2 * DAY)), Some(UnixTime(1_900_000_990 + 2 * DAY)));
    }

    #[test]
    fn a_server_starts_from_its_wall_clock() {
        let clock = Clock::from_wall(UnixTime(1_900_000_000), at(50));
        assert_eq!(clock.now(at(60)), Some(UnixTime(1_900_000_010)));
    }
}
