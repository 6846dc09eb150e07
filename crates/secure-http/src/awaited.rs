//! Own messages whose answers are awaited. An answer is fresh because it names one of them, whatever the clocks say; each is answered
//! once at most.

use core::time::Duration;

use crate::limits::{AWAITED_MAX, AWAITED_S};
use crate::names::{Nonce, PartyId};

/// The identifiers of messages sent, to whom, and until when (time since boot). In memory only: after a restart nothing is awaited. A
/// gateway has one for all it talks to; a server one for each gateway, so that none takes the places of others.
#[derive(Clone, Debug, Default)]
pub struct Awaited {
    entries: Vec<(Nonce, PartyId, Duration)>,
}

impl Awaited {
    /// Awaits nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A message with this identifier goes out to `to`. Where [`AWAITED_MAX`] are awaited, the one sent first is given up.
    pub fn sent(&mut self, cti: Nonce, to: PartyId, boot: Duration) {
        self.entries.retain(|(_, _, until)| boot < *until);
        if self.entries.len() >= AWAITED_MAX {
            self.entries.remove(0);
        }
        self.entries.push((cti, to, boot + Duration::from_secs(AWAITED_S)));
    }

    /// Whether an answer of `from` to it is awaited.
    pub fn is_awaited(&self, answers: Nonce, from: &PartyId, boot: Duration) -> bool {
        self.entries.iter().any(|(cti, to, until)| *cti == answers && to == from && boot < *until)
    }

    /// An answer to it was taken; there is no second.
    pub fn answered(&mut self, answers: Nonce) {
        self.entries.retain(|(cti, ..)| *cti != answers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(last: char) -> PartyId {
        format!("2fac1234-31f8-41b4-a222-08002b34c00{last}").parse().unwrap()
    }

    #[test]
    fn an_answer_is_awaited_from_whom_was_asked_for_a_while_and_once() {
        let mut awaited = Awaited::new();
        let (nonce, start) = (Nonce([1; 8]), Duration::from_secs(5));
        awaited.sent(nonce, party('1'), start);
        assert!(awaited.is_awaited(nonce, &party('1'), start));
        assert!(!awaited.is_awaited(nonce, &party('2'), start));
        assert!(!awaited.is_awaited(Nonce([2; 8]), &party('1'), start));
        assert!(!awaited.is_awaited(nonce, &party('1'), start + Duration::from_secs(AWAITED_S)));
        awaited.answered(nonce);
        assert!(!awaited.is_awaited(nonce, &party('1'), start));
    }

    #[test]
    fn the_first_is_given_up_when_too_many_are_awaited() {
        let mut awaited = Awaited::new();
        for i in 0..=AWAITED_MAX as u8 {
            awaited.sent(Nonce([i; 8]), party('1'), Duration::ZERO);
        }
        assert!(!awaited.is_awaited(Nonce([0; 8]), &party('1'), Duration::ZERO));
        assert!(awaited.is_awaited(Nonce([1; 8]), &party('1'), Duration::ZERO));
        assert_eq!(awaited.entries.len(), AWAITED_MAX);
    }
}
