//! Registration numbers: what `Withdraw` names (the paper's `RegID`).

use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;

use crate::limits::REG_ID_BLOCK;

/// Why a registration number was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a registration number from 1 to 4294967295")]
pub struct RegIdError;

/// A registration number: a `ui4` other than zero, unique on the side that gave it out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct RegId(NonZeroU32);

impl RegId {
    /// From the number; 0 is none.
    pub const fn new(number: u32) -> Result<Self, RegIdError> {
        match NonZeroU32::new(number) {
            Some(number) => Ok(Self(number)),
            None => Err(RegIdError),
        }
    }

    /// The number, never 0.
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl FromStr for RegId {
    type Err = RegIdError;
    fn from_str(s: &str) -> Result<Self, RegIdError> {
        s.parse().map_err(|_| RegIdError).and_then(Self::new)
    }
}

impl TryFrom<u32> for RegId {
    type Error = RegIdError;
    fn try_from(number: u32) -> Result<Self, RegIdError> {
        Self::new(number)
    }
}

impl From<RegId> for u32 {
    fn from(id: RegId) -> Self {
        id.number()
    }
}

impl fmt::Display for RegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Gives out registration numbers upwards, wrapping past zero, never one that is still live.
///
/// To be unique across restarts without a write for each number, the owner stores [`mark`](Self::mark): all numbers up
/// to it count as given out. It moves once in [`REG_ID_BLOCK`] numbers; when it has moved it must be on disk *before*
/// the number is used.
/// ```
/// use energy_model::RegIdCounter;
/// let mut counter = RegIdCounter::after(0);
/// let stored = counter.mark();
/// let id = counter.next(|_| false).expect("not all numbers are live");
/// assert_eq!(id.number(), 1);
/// assert_ne!(counter.mark(), stored, "so write it, then answer with the number");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegIdCounter {
    last: u32,
    /// Numbers after `last` that the mark on disk already covers.
    covered: u32,
}

impl RegIdCounter {
    /// Goes on after the stored mark; 0 for a first start.
    pub const fn after(mark: u32) -> Self {
        Self { last: mark, covered: 0 }
    }

    /// The next number that is not live; `None` only when each of the 2^32-1 numbers is.
    pub fn next(&mut self, is_live: impl Fn(RegId) -> bool) -> Option<RegId> {
        for _ in 0..=u32::MAX {
            if self.covered == 0 {
                self.covered = REG_ID_BLOCK;
            }
            self.last = self.last.wrapping_add(1);
            self.covered -= 1;
            if let Ok(id) = RegId::new(self.last)
                && !is_live(id)
            {
                return Some(id);
            }
        }
        None
    }

    /// What must be on disk now: the end of the block that holds the last number given out.
    pub const fn mark(&self) -> u32 {
        self.last.wrapping_add(self.covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_registration() {
        assert_eq!("0".parse::<RegId>(), Err(RegIdError));
        assert_eq!("-1".parse::<RegId>(), Err(RegIdError));
        assert_eq!("4294967295".parse::<RegId>().map(RegId::number), Ok(u32::MAX));
    }

    #[test]
    fn numbers_wrap_past_zero_and_skip_live_ones() {
        let mut counter = RegIdCounter::after(u32::MAX - 1);
        let live = [1, 2];
        let mut next = || counter.next(|id| live.contains(&id.number())).unwrap().number();
        assert_eq!([next(), next(), next()], [u32::MAX, 3, 4]);
    }

    #[test]
    fn a_restart_after_any_number_of_ids_never_repeats_one() {
        for given_out in 0..(2 * REG_ID_BLOCK + 3) {
            let mut counter = RegIdCounter::after(17);
            let (mut stored, mut highest) = (counter.mark(), 17);
            for _ in 0..given_out {
                highest = counter.next(|_| false).unwrap().number();
                stored = counter.mark();
            }
            assert!(RegIdCounter::after(stored).next(|_| false).unwrap().number() > highest);
        }
    }

    #[test]
    fn the_mark_moves_once_in_a_block() {
        let mut counter = RegIdCounter::after(0);
        let mut marks = std::collections::BTreeSet::new();
        for _ in 0..REG_ID_BLOCK * 3 {
            counter.next(|_| false).unwrap();
            marks.insert(counter.mark());
        }
        assert_eq!(marks.len(), 3);
    }
}
