//! Which of a sender's numbers have been taken: a sliding window that is stored with the effect of each message.

use crate::limits::WINDOW_BITS;

/// Why a number is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// Taken before, or too far behind to tell.
    #[error("a message with this number has been taken")]
    Replay,
    /// This machine no longer knows what was taken; only an answer to its own nonce says where the sender is.
    #[error("the state of this sender is lost")]
    Lost,
}

/// The numbers taken from one sender: the highest, and which of the 128 up to it. 24 bytes in the store.
///
/// [`peek`](Self::peek) never changes it: only a message whose signature is right may move it ([`commit`](Self::commit)), and that is to
/// be stored in one transaction with what the message did.
/// ```
/// use secure_http::Window;
/// let window = Window::new();
/// let window = window.commit(7)?;
/// assert!(window.peek(7).is_err() && window.peek(6).is_ok());
/// assert_eq!(Window::from_bytes(window.to_bytes()), window);
/// # Ok::<(), secure_http::WindowError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The highest number taken; 0 for none. `u64::MAX`, which no message has, for a lost state.
    top: u64,
    /// Bit i: `top - i` was taken.
    bits: u128,
}

impl Window {
    /// Bytes in the store.
    pub const BYTES: usize = 24;

    /// Nothing taken yet: for a sender that has just been enrolled.
    pub const fn new() -> Self {
        Self { top: 0, bits: 0 }
    }

    /// For a known sender whose window is gone with the store: takes nothing until [`anchor`](Self::anchor).
    pub const fn lost() -> Self {
        Self { top: u64::MAX, bits: 0 }
    }

    /// Whether it is a lost one.
    pub const fn is_lost(&self) -> bool {
        self.top == u64::MAX
    }

    /// Whether `seq` could be taken.
    pub fn peek(&self, seq: u64) -> Result<(), WindowError> {
        if self.is_lost() {
            return Err(WindowError::Lost);
        }
        if seq > self.top {
            return Ok(());
        }
        let behind = self.top - seq;
        if seq == 0 || behind >= u64::from(WINDOW_BITS) || self.bits >> behind & 1 == 1 {
            return Err(WindowError::Replay);
        }
        Ok(())
    }

    /// The window with `seq` taken, for a message whose signature is right.
    pub fn commit(&self, seq: u64) -> Result<Self, WindowError> {
        self.peek(seq)?;
        if seq <= self.top {
            return Ok(Self { top: self.top, bits: self.bits | 1 << (self.top - seq) });
        }
        let ahead = u32::try_from(seq - self.top).unwrap_or(u32::MAX);
        Ok(Self { top: seq, bits: self.bits.checked_shl(ahead).unwrap_or(0) | 1 })
    }

    /// A lost window set up again from a message whose signature is right and that answers a nonce of this machine. Numbers below it
    /// count as taken.
    pub fn anchor(seq: u64) -> Self {
        Self { top: seq, bits: u128::MAX }
    }

    /// For the store: the highest number and the bits, big endian.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.top.to_be_bytes());
        bytes[8..].copy_from_slice(&self.bits.to_be_bytes());
        bytes
    }

    /// From the store. Bytes that no window writes are taken as a lost one, which refuses.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let (mut top, mut bits) = ([0; 8], [0; 16]);
        top.copy_from_slice(&bytes[..8]);
        bits.copy_from_slice(&bytes[8..]);
        let (top, bits) = (u64::from_be_bytes(top), u128::from_be_bytes(bits));
        // The highest number is always marked, and nothing is before a sender's first.
        if (top == 0) == (bits == 0) && bits & 1 == u128::from(top != 0) { Self { top, bits } } else { Self::lost() }
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_may_come_in_any_order_but_once() {
        let mut window = Window::new();
        for seq in [5, 3, 130, 4, 131] {
            window = window.commit(seq).unwrap();
        }
        for taken in [5, 3, 130, 4, 131] {
            assert_eq!(window.commit(taken), Err(WindowError::Replay), "{taken}");
        }
        assert_eq!(window.peek(0), Err(WindowError::Replay));
        assert_eq!(window.peek(2), Err(WindowError::Replay), "129 behind");
        assert_eq!(Window::new().commit(128).unwrap().peek(1), Ok(()), "127 behind");
    }

    #[test]
    fn a_lost_window_refuses_until_it_is_anchored_and_then_all_below() {
        let lost = Window::lost();
        assert_eq!(lost.peek(1_000_000), Err(WindowError::Lost));
        assert_eq!(Window::from_bytes(lost.to_bytes()), lost);
        let window = Window::anchor(2000);
        assert_eq!((window.peek(2000), window.peek(1999)), (Err(WindowError::Replay), Err(WindowError::Replay)));
        assert!(window.commit(2001).is_ok());
    }

    #[test]
    fn damaged_bytes_become_a_window_that_refuses() {
        let mut bytes = Window::new().commit(9).unwrap().to_bytes();
        bytes[23] &= !1;
        assert!(Window::from_bytes(bytes).is_lost());
        assert!(Window::from_bytes([0xff; 24]).is_lost());
    }

    proptest! {
        #[test]
        fn it_takes_exactly_what_a_list_of_all_numbers_would(
            seqs in prop::collection::vec(prop_oneof![1u64..400, 1000u64..1300, (u64::MAX - 300)..u64::MAX - 1], 1..200)
        ) {
            let mut window = Window::new();
            let (mut taken, mut top) = (BTreeSet::new(), 0u64);
            for seq in seqs {
                let fresh = !taken.contains(&seq) && (seq > top || top - seq < 128);
                prop_assert_eq!(window.peek(seq).is_ok(), fresh);
                let before = window;
                if let Ok(next) = window.commit(seq) {
                    taken.insert(seq);
                    top = top.max(seq);
                    window = Window::from_bytes(next.to_bytes());
                    prop_assert_eq!(window, next);
                } else {
                    prop_assert_eq!(window, before);
                }
            }
        }
    }
}
