//! What a program asks of itself on the machine it is to run on: can parties that have just met seal a message, check it and open it?
//!
//! Nothing here is a shortcut: keys are fresh, statements are issued and verified, and the message goes through every step of
//! [`Receiver`](crate::Receiver). Wrong results of a compiler or a processor show up here, before a home depends on them.

use core::time::Duration;

use rand_core::CryptoRng;

use crate::awaited::Awaited;
use crate::crypto::{DIGEST_BYTES, KemKey, SigningKey};
use crate::envelope::{Draft, SealError, seal};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::names::{Kind, PartyId, Role, Serial, UnixTime, Validity};
use crate::own_keys::OwnKeys;
use crate::policy::{Policy, PolicyState, Rules};
use crate::receiver::{Opened, Reason, Receiver, Sender, Situation};
use crate::statement::{Authority, Fingerprint, Statement, StatementDraft};
use crate::window::Window;

/// Names of the parties; they meet nobody else.
const KMC: &str = "00000000-0000-4000-8000-000000000001";
const UTILITY: &str = "00000000-0000-4000-8000-000000000002";
const HOME: &str = "00000000-0000-4000-8000-000000000003";
/// How long everything that is issued holds, seconds: longer than the test takes.
const HOLDS_S: u64 = 3600;
/// One bit is changed in every so many bytes: each header field and the signature are met, in seconds also on a slow processor.
const CHANGED_EVERY: usize = 24;
/// What is sealed.
const BODY: &[u8] = b"a report of a home to its utility";

/// What went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfTested {
    /// Bytes of the sealed message.
    pub sealed_bytes: usize,
    /// How many forgeries of it were refused.
    pub refused: usize,
}

/// What did not do what it must.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfTestError {
    /// Keys, statements or policy of the parties do not come about.
    #[error("keys and statements of the parties: {0}")]
    Parties(String),
    /// No message could be made.
    #[error("sealing")]
    Seal(#[from] SealError),
    /// A sound message was refused.
    #[error("a sound message was refused")]
    Refused(#[from] Reason),
    /// It opened as something else.
    #[error("the message opened as something else")]
    Different,
    /// A changed message, or one that came again, was taken.
    #[error("{0} was taken")]
    Taken(&'static str),
}

/// Makes a KMC, a utility and a home with keys from `rng`, seals a message of the home, and has the utility take it: once, and unchanged only.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn self_test(rng: &mut impl CryptoRng, now: UnixTime) -> Result<SelfTested, SelfTestError> {
    let parties = Parties::meet(rng, now).map_err(|error| SelfTestError::Parties(error.to_string()))?;
    let (home, utility) = (&parties.home, &parties.utility);
    let version = parties.policy.version();
    let draft =
        Draft { kind: Kind::Report, answers: None, seq: 1, policy: version, issued: now, lifetime_s: 60, body: BODY };
    let to = utility.statement.kem().ok_or_else(|| SelfTestError::Parties("no key to seal to".to_owned()))?;
    let sealed = seal(&draft, (home.id, home.keys.sig()), (utility.id, to), rng)?.bytes;

    let (mut changed, mut refused) = (sealed.clone(), 0);
    for at in (0..changed.len()).step_by(CHANGED_EVERY) {
        changed[at] ^= 1;
        if parties.take(&changed, &Window::new(), now).is_ok() {
            return Err(SelfTestError::Taken("a changed message"));
        }
        changed[at] ^= 1;
        refused += 1;
    }
    let (opened, window) = parties.take(&sealed, &Window::new(), now)?;
    if *opened.body != BODY || opened.head.issuer != home.id || !opened.head.commits_to(&opened.salt, BODY) {
        return Err(SelfTestError::Different);
    }
    match parties.take(&sealed, &window, now) {
        Err(Reason::Replay) => Ok(SelfTested { sealed_bytes: sealed.len(), refused }),
        Err(reason) => Err(reason.into()),
        Ok(_) => Err(SelfTestError::Taken("a message that came again")),
    }
}

struct Party {
    id: PartyId,
    keys: OwnKeys,
    statement: Statement,
}

struct Parties {
    home: Party,
    utility: Party,
    policy: PolicyState,
}

impl Parties {
    fn meet(rng: &mut impl CryptoRng, now: UnixTime) -> Result<Self, Box<dyn core::error::Error>> {
        let kmc: PartyId = KMC.parse()?;
        let validity = Validity::new(now, now.plus(HOLDS_S)).ok_or("no span of time")?;
        let (root, issuing) = (SigningKey::generate(rng), SigningKey::generate(rng));
        let issue = |(subject, role), serial, sig: &SigningKey, kem: Option<&KemKey>, by: &SigningKey| {
            let (sig, kem) = (sig.public(), kem.map(KemKey::public));
            let (serial, link) = (Serial(serial), [0; DIGEST_BYTES]);
            StatementDraft { kmc, subject, role, serial, validity, sig, kem, previous: None, link }.issue(by)
        };
        let root_statement = issue((kmc, Role::Root), 1, &root, None, &root)?;
        let issuing_statement = issue((kmc, Role::Issuing), 2, &issuing, None, &root)?;
        let fingerprint = Fingerprint::of(root.public());
        let authority = Authority::establish(fingerprint, root_statement.raw(), issuing_statement.raw(), Some(now))?;
        let mut party = |name: &str, role, serial| -> Result<Party, Box<dyn core::error::Error>> {
            let (id, keys) = (name.parse()?, OwnKeys::generate(rng));
            let issued = issue((id, role), serial, keys.sig(), Some(keys.kem()), &issuing)?;
            // As it comes over the wire, so that its signature is checked.
            let statement = authority.statement(issued.raw(), Some(now))?;
            Ok(Party { id, keys, statement })
        };
        let (utility, home) = (party(UTILITY, Role::Utility, 3)?, party(HOME, Role::Gateway, 4)?);
        let issued = Policy::issue(kmc, 1, validity, &Rules::default(), &issuing)?;
        let policy = PolicyState::default().adopt(Policy::verify(issued.raw(), &authority)?, now)?;
        Ok(Self { home, utility, policy })
    }

    /// All steps of the utility's with a message of the home.
    fn take(&self, raw: &[u8], window: &Window, now: UnixTime) -> Result<(Opened, Window), Reason> {
        let (mut receiver, mut awaited) = (Receiver::new(), Awaited::new());
        let rules = self.policy.rules();
        let (me, now, boot) = (&self.utility.id, Some(now), Duration::ZERO);
        let sender = Some(Sender { statement: &self.home.statement, revoked: false });
        let parsed = receiver.parse(raw, MESSAGE_BYTES_MAX).map_err(|stopped| stopped.reason)?;
        let at = Situation { me, now, boot, awaited: &awaited, window, rules: &rules };
        let fresh = receiver.check(parsed, &at).map_err(|stopped| stopped.reason)?;
        let verified = receiver.verify(fresh, sender, now, &self.policy).map_err(|stopped| stopped.reason)?;
        let (committed, window) = receiver.commit(verified, window, &mut awaited).map_err(|stopped| stopped.reason)?;
        Ok((receiver.open(committed, &self.utility.keys).map_err(|stopped| stopped.reason)?, window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seeded;

    #[test]
    fn parties_with_fresh_keys_understand_each_other_and_nobody_else() {
        let tested = self_test(&mut Seeded::new(3), UnixTime(1_900_000_000)).unwrap();
        assert_eq!(tested.refused, tested.sealed_bytes.div_ceil(CHANGED_EVERY));
    }

    #[test]
    fn a_message_is_taken_only_by_whom_it_is_sealed_to() {
        let (mut rng, now) = (Seeded::new(4), UnixTime(1_900_000_000));
        let (mut parties, others) = (Parties::meet(&mut rng, now).unwrap(), Parties::meet(&mut rng, now).unwrap());
        let draft =
            Draft { kind: Kind::Report, answers: None, seq: 1, policy: 1, issued: now, lifetime_s: 60, body: BODY };
        let to = (parties.utility.id, parties.utility.statement.kem().unwrap());
        let raw = seal(&draft, (parties.home.id, parties.home.keys.sig()), to, &mut rng).unwrap().bytes;
        parties.utility.keys = others.utility.keys;
        assert_eq!(parties.take(&raw, &Window::new(), now).unwrap_err(), Reason::OtherKey);
    }
}
