//! Which flow is due, and when the next one will be.

use core::time::Duration;

use secure_http::crypto::SigningKey;
use secure_http::{Role, UnixTime};

use super::{Membership, copies};
use crate::job::Flow;

impl Membership {
    /// Time since boot at which [`begin`](Self::begin) has something to do; none while a job is under way, and after a refused token.
    pub fn due(&self, boot: Duration) -> Option<Duration> {
        if self.working || self.refused {
            return None;
        }
        let next = if self.flow(boot).is_some() { boot } else { self.next_due(boot) };
        Some(next.max(self.not_before))
    }

    fn next_due(&self, boot: Duration) -> Duration {
        let mut at = vec![self.due.refresh];
        if !self.keeps_time {
            at.push(self.due.clock);
        }
        if self.role == Role::Gateway {
            at.push(self.due.peer);
        }
        // What goes by the calendar is looked at by it.
        if let (Some(now), Some(statement)) = (self.now(boot), &self.statement) {
            let rules = self.policy.rules();
            let until = |then: UnixTime| boot + Duration::from_secs(then.0.saturating_sub(now.0));
            at.push(until(statement.validity().half()).max(self.due.restate));
            at.push(until(before_end(self.kem_since, rules.kem_key_s)).max(self.due.roll_over));
            at.push(until(before_end(self.sig_since, rules.sig_key_s)).max(self.due.roll_over));
            at.extend(self.keys.previous().map(|(_, until_)| until(until_)));
        }
        at.into_iter().min().unwrap_or(boot).max(boot)
    }

    /// The flow that is due now, most needed first.
    pub(super) fn flow(&self, boot: Duration) -> Option<Flow> {
        let Some(statement) = &self.statement else {
            return self.token.is_some().then_some(Flow::Enrol);
        };
        if !self.keeps_time && (!self.clock.is_synced() || self.due.clock <= boot) {
            return Some(Flow::SetClock);
        }
        let now = self.now(boot);
        if self.policy.version() == 0 {
            return (self.due.refresh <= boot).then_some(Flow::Refresh);
        }
        let half = now.is_some_and(|now| statement.validity().half() <= now);
        if (half || self.restate_now) && self.due.restate <= boot {
            return Some(Flow::Restate);
        }
        if let Some(next) = self.next.as_ref().filter(|_| self.due.roll_over <= boot) {
            return copies(next).map(|(sig, kem)| Flow::RollOver { sig, kem });
        }
        let told =
            self.announced.as_ref() == Some(&self.reachable) || (self.announced.is_none() && self.reachable.is_none());
        if (self.old_sig.is_some() || !told) && self.due.announce <= boot {
            let old = self.old_sig.as_ref().and_then(|key| SigningKey::from_bytes(&key.to_bytes()).ok());
            return Some(Flow::Announce { old, host: self.reachable.clone() });
        }
        if self.due.refresh <= boot {
            return Some(Flow::Refresh);
        }
        let rolls = |now| self.ages(now).iter().any(|aged| *aged);
        // The old key's word for the last new ones has to be at the KMC before there are others, or peers lose the way.
        let free = self.next.is_none() && self.old_sig.is_none();
        if free && (self.roll_now || now.is_some_and(rolls)) && self.due.roll_over <= boot {
            return Some(Flow::MakeKeys);
        }
        (self.role == Role::Gateway && self.due.peer <= boot).then_some(Flow::Peer)
    }

    /// Whether signing and sealing key are so old that others have to take their place.
    pub(super) fn ages(&self, now: UnixTime) -> [bool; 2] {
        let rules = self.policy.rules();
        let aged = |since, lifetime_s| before_end(since, lifetime_s) <= now;
        [aged(self.sig_since, rules.sig_key_s), aged(self.kem_since, rules.kem_key_s)]
    }
}

/// The time at which a key of that age is replaced: an eighth of its life is left for a KMC that does not answer.
fn before_end(since: UnixTime, lifetime_s: u64) -> UnixTime {
    since.plus(lifetime_s - lifetime_s / 8)
}
