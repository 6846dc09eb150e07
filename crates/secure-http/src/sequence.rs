//! The numbers of our own messages: upwards, never one twice, also across a crash.

use crate::limits::SEQUENCE_BLOCK;

/// Gives out numbers from 1 upwards. The owner stores [`mark`](Self::mark): all numbers up to it count as given out. It moves once in
/// [`SEQUENCE_BLOCK`] numbers; when it has moved it must be on disk *before* the number is used.
/// ```
/// use secure_http::Sequence;
/// let mut sequence = Sequence::after(0);
/// let stored = sequence.mark();
/// assert_eq!(sequence.take(), Some(1));
/// assert_ne!(sequence.mark(), stored, "so write it, then send");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    last: u64,
    mark: u64,
}

impl Sequence {
    /// Goes on after the stored mark; 0 for a first start.
    pub const fn after(mark: u64) -> Self {
        Self { last: mark, mark }
    }

    /// The next number; none when 2^64 messages have been sent.
    pub fn take(&mut self) -> Option<u64> {
        // The last number there is marks a lost window.
        let next = self.last.checked_add(1).filter(|next| *next != u64::MAX)?;
        if next > self.mark {
            self.mark = self.mark.saturating_add(SEQUENCE_BLOCK);
        }
        self.last = next;
        Some(next)
    }

    /// What must be on disk now.
    pub const fn mark(&self) -> u64 {
        self.mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_written_once_a_block_and_no_number_comes_twice_across_restarts() {
        let mut given = Vec::new();
        let mut stored = 0;
        let mut writes = 0;
        for run in 1..=3 {
            let mut sequence = Sequence::after(stored);
            for _ in 0..run * 1000 {
                let seq = sequence.take().unwrap();
                if sequence.mark() != stored {
                    stored = sequence.mark();
                    writes += 1;
                }
                assert!(seq <= stored, "used before it was reserved");
                given.push(seq);
            }
        }
        assert!(given.is_sorted_by(|a, b| a < b));
        assert_eq!(writes, 1 + 2 + 3);
    }

    #[test]
    fn after_the_last_number_there_is_none() {
        let mut sequence = Sequence::after(u64::MAX - 2);
        assert_eq!((sequence.take(), sequence.take()), (Some(u64::MAX - 1), None));
    }
}
