//! Messages of the utility, step by step as docs/secure-channel.md has them.

use std::time::Duration;

use secure_http::limits::REPORT_BYTES_MAX;
use secure_http::{
    Awaited, Nonce, Opened, PartyId, Reason, Receiver, Refusal, SealedError, Sender, Situation, Stopped, Window,
};
use secure_link::Membership;

/// What came, and what is awaited.
#[derive(Debug, Default)]
pub(super) struct Received {
    receiver: Receiver,
    awaited: Awaited,
}

/// A message that was not taken.
#[derive(Debug)]
pub(super) struct Refused {
    /// Why.
    pub(super) reason: Reason,
    /// The utility's key may be another now.
    pub(super) suspect: bool,
    /// What its sender is told, where that was asked for.
    pub(super) told: Result<(SealedError, Nonce), Refusal>,
}

impl Received {
    /// A message with that name goes out to `to`, and its answer is awaited.
    pub(super) fn awaits(&mut self, cti: Nonce, to: PartyId, boot: Duration) {
        self.awaited.sent(cti, to, boot);
    }

    /// Takes a message in. The window moves when its signature is right: it has to be stored with what the message does. With `explain`
    /// a refused sender whose signature is right is to be told why.
    pub(super) fn open(
        &mut self,
        raw: &[u8],
        membership: &Membership,
        window: &mut Window,
        explain: bool,
        boot: Duration,
    ) -> Result<Opened, Refused> {
        let (me, now, rules) = (membership.id(), membership.now(boot), membership.policy().rules());
        let peer = membership.peer();
        let sender = peer.map(|p| Sender { statement: &p.statement, revoked: membership.is_revoked(&p.statement) });
        let Self { receiver, awaited } = self;
        let mut steps = || {
            let parsed = receiver.parse(raw, REPORT_BYTES_MAX)?;
            let situation = Situation { me: &me, now, boot, awaited, window, rules: &rules };
            let fresh = receiver.check(parsed, &situation)?;
            let verified = receiver.verify(fresh, sender, now, membership.policy())?;
            let (committed, next) = receiver.commit(verified, window, awaited)?;
            *window = next;
            receiver.open(committed, membership.keys())
        };
        let stopped: Stopped<'_> = match steps() {
            Ok(opened) => return Ok(opened),
            Err(stopped) => stopped,
        };
        let reason = stopped.reason;
        // A utility that lost its keys has lost count too: then its numbers stop the message before its key is looked at.
        let other_key = stopped.envelope().zip(peer).is_some_and(|(envelope, peer)| {
            let head = envelope.head();
            head.issuer == peer.statement.subject() && head.kid != peer.statement.kid()
        });
        let suspect = other_key || matches!(reason, Reason::UnknownKey | Reason::KeyNotValid | Reason::Revoked);
        let told = match (stopped.envelope().map(|envelope| envelope.head().cti), now) {
            (Some(cti), Some(now)) if explain => {
                receiver.explain(&stopped, sender, membership.policy(), now).map(|error| (error, cti))
            }
            _ => Err(stopped.refusal()),
        };
        Err(Refused { reason, suspect, told })
    }
}
