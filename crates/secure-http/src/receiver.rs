//! What happens to a message that comes in, cheapest step first. Each step takes the value of the one before, so that none can be left
//! out; what a step needs from a store is passed to it, so that the caller may fetch it in between.
//!
//! | step | function | refuses |
//! |---|---|---|
//! | size | [`Receiver::parse`] | what is over the cap |
//! | cookie, under load | [`CookieSecrets::check`](crate::CookieSecrets::check) with [`peek_issuer`](crate::peek_issuer) | strangers |
//! | form | [`Receiver::parse`] | what is not exactly a message |
//! | audience, freshness, window looked at | [`Receiver::check`] | what is for others, old, early, or taken before |
//! | sender's key, revocation, policy version | [`Receiver::verify`] | unknown keys |
//! | signature | [`Receiver::verify`] | forgeries |
//! | window moved | [`Receiver::commit`] | what was taken meanwhile |
//! | opening, commitment | [`Receiver::open`] | what was sealed to another key or by another sender |
//!
//! Before the signature has been checked every refusal looks the same ([`Refusal`]); a sender whose signature is right is told why
//! ([`Receiver::explain`]).

use core::time::Duration;

use zeroize::Zeroizing;

use crate::awaited::Awaited;
use crate::bodies::SealedError;
use crate::cbor::Malformed;
use crate::envelope::{Envelope, Head};
use crate::limits::{MESSAGE_LIFETIME_S_MAX, SALT_BYTES};
use crate::names::{KeyId, Kind, PartyId, Role, UnixTime};
use crate::own_keys::OwnKeys;
use crate::policy::{PolicyState, Rules, Standing};
use crate::statement::Statement;
use crate::window::{Window, WindowError};

/// How many messages got to each step since the start: for operators, and for tests that a refused message went no further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Came in.
    pub offered: u64,
    /// Had the form of a message.
    pub parsed: u64,
    /// Were for this party, fresh, and not taken before.
    pub fresh: u64,
    /// Had a known sender with a key that holds, and the right policy: their signatures were checked.
    pub known: u64,
    /// Had a right signature.
    pub verified: u64,
    /// Moved the window: they were then decrypted.
    pub committed: u64,
    /// Could be read.
    pub opened: u64,
}

/// Why a message was refused. For logs and counters; what the sender is told is [`Refusal`] or [`SealedError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Over the cap.
    #[error("the message is too long")]
    TooLong,
    /// Not exactly a message.
    #[error("the message {0}")]
    Malformed(#[from] Malformed),
    /// For another party.
    #[error("the message is for another party")]
    Audience,
    /// Its time is over by more than the skew.
    #[error("the message is stale")]
    Stale,
    /// Made later than now and the skew.
    #[error("the message is from the future")]
    Future,
    /// It is to be good for longer than the policy allows.
    #[error("the message is to be good for too long")]
    Lifetime,
    /// This machine does not know the time, and the message answers nothing it asked.
    #[error("the time is not known here")]
    Unsynced,
    /// Answers something that nobody asked, or a kind that is only ever an answer answers nothing.
    #[error("the message answers nothing that was asked")]
    NotAwaited,
    /// See [`WindowError::Replay`].
    #[error("the message was taken before")]
    Replay,
    /// See [`WindowError::Lost`].
    #[error("the state of this sender is lost")]
    WindowLost,
    /// No statement for this sender and key.
    #[error("the sender's key is not known")]
    UnknownKey,
    /// The statement was revoked.
    #[error("the sender's key is revoked")]
    Revoked,
    /// The statement does not hold now.
    #[error("the sender's key does not hold now")]
    KeyNotValid,
    /// No policy holds here: until one does, only the KMC is listened to.
    #[error("no policy holds")]
    NoPolicy,
    /// Made under another policy than the one followed here.
    #[error("the sender follows another policy")]
    Policy,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Signature,
    /// Sealed to a key that this party has no longer, or never had.
    #[error("the message is sealed to a key that is not here")]
    OtherKey,
    /// It does not open, or is not what its sender committed to.
    #[error("the message can't be opened")]
    Sealed,
}

/// What a sender that has not shown who it is is told: the same for all reasons of a sort. As HTTP problem (RFC 9457) without detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: not a message.
    Malformed,
    /// 401: unknown key, wrong signature, revoked, not fresh, for others.
    Refused,
    /// 413: too long.
    TooLong,
    /// 415: another content type.
    MediaType,
    /// 429: a cookie is wanted; goes with a challenge.
    Busy,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Refused => 401,
            Self::TooLong => 413,
            Self::MediaType => 415,
            Self::Busy => 429,
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::TooLong => Self::TooLong,
            Reason::Malformed(_) => Self::Malformed,
            _ => Self::Refused,
        }
    }
}

/// Where a message stopped. One that could be read so far is kept, so that its sender may be told why.
#[derive(Clone, Debug)]
pub struct Stopped<'a> {
    /// Why.
    pub reason: Reason,
    /// Boxed, so that what went well is not carried in the space of what did not.
    envelope: Option<Box<Envelope<'a>>>,
}

impl<'a> Stopped<'a> {
    fn at(reason: Reason, envelope: Envelope<'a>) -> Self {
        Self { reason, envelope: Some(Box::new(envelope)) }
    }

    /// The message, unchecked, if it had the form of one.
    pub fn envelope(&self) -> Option<&Envelope<'a>> {
        self.envelope.as_deref()
    }

    /// What a sender is told that has not shown who it is.
    pub fn refusal(&self) -> Refusal {
        self.reason.into()
    }
}

/// What the receiver knows when a message comes in.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Its own name.
    pub me: &'a PartyId,
    /// The time, or none while UNSYNCED.
    pub now: Option<UnixTime>,
    /// Time since boot: how long answers are awaited goes by it.
    pub boot: Duration,
    /// What it asked.
    pub awaited: &'a Awaited,
    /// The sender's window, from the store; a new one for a sender without.
    pub window: &'a Window,
    /// The rules it follows.
    pub rules: &'a Rules,
}

/// What the receiver knows of a sender, looked up by (name, key identifier).
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// Its statement.
    pub statement: &'a Statement,
    /// Whether the statement is on the revocation list.
    pub revoked: bool,
}

/// A message of the right form.
#[derive(Clone, Debug)]
pub struct Parsed<'a>(Envelope<'a>);

impl Parsed<'_> {
    /// By what to look the sender up. Not believed yet.
    pub fn sender(&self) -> (PartyId, KeyId) {
        let head = self.0.head();
        (head.issuer, head.kid)
    }

    /// The header. Not believed yet.
    pub fn head(&self) -> &Head {
        self.0.head()
    }
}

/// A message for this party that is fresh, as far as its header says.
#[derive(Clone, Debug)]
pub struct Fresh<'a>(Envelope<'a>);

/// A message whose sender is known and signed it.
#[derive(Clone, Debug)]
pub struct Verified<'a>(Envelope<'a>);

impl Verified<'_> {
    /// The header, signed by who it says.
    pub fn head(&self) -> &Head {
        self.0.head()
    }
}

/// A message whose number is taken: it is now opened, and if that fails its number stays taken.
#[derive(Clone, Debug)]
pub struct Committed<'a>(Envelope<'a>);

/// The raw signed message and the statement of the key that signed it: together they show a third party who said what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The message as it came. Its header commits to the plaintext, so that the plaintext can be shown beside it.
    pub message: Vec<u8>,
    /// The sender's statement.
    pub statement: Vec<u8>,
}

/// A message that can be acted on.
#[derive(Debug)]
pub struct Opened {
    /// The header.
    pub head: Head,
    /// What was sealed. Overwritten when dropped.
    pub body: Zeroizing<Vec<u8>>,
    /// What stood before it: with body and header it shows a third party that this is what the sender committed to
    /// ([`Head::commits_to`]).
    pub salt: [u8; SALT_BYTES],
}

/// Takes messages in, step by step, and counts how far they got.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    steps: Steps,
}

impl Receiver {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages got how far.
    pub fn steps(&self) -> Steps {
        self.steps
    }

    /// Size and form. `bytes_max` is [`MESSAGE_BYTES_MAX`](crate::limits::MESSAGE_BYTES_MAX), or
    /// [`REPORT_BYTES_MAX`](crate::limits::REPORT_BYTES_MAX) for a sender that was answered before.
    pub fn parse<'a>(&mut self, raw: &'a [u8], bytes_max: usize) -> Result<Parsed<'a>, Stopped<'a>> {
        self.steps.offered += 1;
        if raw.len() > bytes_max {
            return Err(Stopped { reason: Reason::TooLong, envelope: None });
        }
        let envelope =
            Envelope::parse(raw).map_err(|malformed| Stopped { reason: malformed.into(), envelope: None })?;
        self.steps.parsed += 1;
        Ok(Parsed(envelope))
    }

    /// Audience, freshness, and a look at the window, which nothing here changes.
    ///
    /// A message that answers one of our own nonces is fresh by that, whatever the clocks say; any other needs a known time. A lost window
    /// lets through only what answers a nonce.
    pub fn check<'a>(&mut self, parsed: Parsed<'a>, at: &Situation<'_>) -> Result<Fresh<'a>, Stopped<'a>> {
        match freshness(parsed.head(), at) {
            Ok(()) => {
                self.steps.fresh += 1;
                Ok(Fresh(parsed.0))
            }
            Err(reason) => Err(Stopped::at(reason, parsed.0)),
        }
    }

    /// The sender's key, and with it the signature over the bytes that came.
    ///
    /// `now` is none while UNSYNCED: then it is not asked whether statement and policy hold. `policy` is the state of the receiver: while
    /// none holds only the KMC gets through. A sender under another policy gets through with what it needs to learn this one.
    pub fn verify<'a>(
        &mut self,
        fresh: Fresh<'a>,
        sender: Option<Sender<'_>>,
        now: Option<UnixTime>,
        policy: &PolicyState,
    ) -> Result<Verified<'a>, Stopped<'a>> {
        let envelope = fresh.0;
        let statement = match entitled(envelope.head(), sender, now, policy) {
            Ok(statement) => statement,
            Err(reason) => return Err(Stopped::at(reason, envelope)),
        };
        self.steps.known += 1;
        if envelope.verify(statement.sig()).is_err() {
            return Err(Stopped::at(Reason::Signature, envelope));
        }
        self.steps.verified += 1;
        Ok(Verified(envelope))
    }

    /// Takes the message's number. The window that comes back is to be stored in one transaction with what the message does, and only if
    /// the stored one is still the one passed in: a message that arrived twice at once is then taken once. The answered nonce is awaited no
    /// longer.
    pub fn commit<'a>(
        &mut self,
        verified: Verified<'a>,
        window: &Window,
        awaited: &mut Awaited,
    ) -> Result<(Committed<'a>, Window), Stopped<'a>> {
        let envelope = verified.0;
        let seq = envelope.head().seq;
        let next = match window.commit(seq) {
            Ok(next) => next,
            // A lost window is set up again by an answer to our own nonce, and by nothing else.
            Err(WindowError::Lost) if envelope.head().answers.is_some() => Window::anchor(seq),
            Err(WindowError::Lost) => return Err(Stopped::at(Reason::WindowLost, envelope)),
            Err(WindowError::Replay) => return Err(Stopped::at(Reason::Replay, envelope)),
        };
        if let Some(answers) = envelope.head().answers {
            awaited.answered(answers);
        }
        self.steps.committed += 1;
        Ok((Committed(envelope), next))
    }

    /// Opens the message with the key it was sealed to, and compares what comes out with what its sender committed to.
    pub fn open<'a>(&mut self, committed: Committed<'a>, keys: &OwnKeys) -> Result<Opened, Stopped<'a>> {
        let envelope = committed.0;
        let Some(key) = keys.kem_of(envelope.recipient_kid()) else {
            return Err(Stopped::at(Reason::OtherKey, envelope));
        };
        match envelope.open(key) {
            Ok((salt, body)) => {
                self.steps.opened += 1;
                Ok(Opened { head: envelope.head().clone(), body, salt })
            }
            Err(_) => Err(Stopped::at(Reason::Sealed, envelope)),
        }
    }

    /// What to tell the sender of a message that stopped: checks its signature first, for that alone, so a server under load skips this and
    /// answers with [`Stopped::refusal`]. Nothing is decrypted and no number taken.
    ///
    /// `time` is the server's time, for the answer.
    pub fn explain(
        &mut self,
        stopped: &Stopped<'_>,
        sender: Option<Sender<'_>>,
        policy: &PolicyState,
        time: UnixTime,
    ) -> Result<SealedError, Refusal> {
        let error = match stopped.reason {
            Reason::Stale | Reason::Future | Reason::Lifetime => SealedError::Stale { time },
            Reason::Replay | Reason::WindowLost | Reason::NotAwaited => SealedError::Replay,
            Reason::Policy | Reason::NoPolicy => SealedError::Policy { current: policy.version() },
            Reason::KeyNotValid | Reason::OtherKey => SealedError::KeyExpired,
            Reason::Sealed => SealedError::Unsupported,
            _ => return Err(stopped.refusal()),
        };
        let (Some(envelope), Some(sender)) = (&stopped.envelope, sender) else { return Err(Refusal::Refused) };
        let theirs = is_of(sender.statement, envelope.head()) && !sender.revoked;
        if theirs && envelope.verify(sender.statement.sig()).is_ok() { Ok(error) } else { Err(Refusal::Refused) }
    }
}

impl Verified<'_> {
    /// What to archive of it.
    pub fn evidence(&self, statement: &Statement) -> Evidence {
        Evidence { message: self.0.raw().to_vec(), statement: statement.raw().to_vec() }
    }
}

fn freshness(head: &Head, at: &Situation<'_>) -> Result<(), Reason> {
    if head.audience != *at.me {
        return Err(Reason::Audience);
    }
    match head.answers {
        Some(answers) => {
            if !at.awaited.is_awaited(answers, &head.issuer, at.boot) {
                return Err(Reason::NotAwaited);
            }
        }
        None if head.kind == Kind::Command => return Err(Reason::NotAwaited),
        None => {
            let now = at.now.ok_or(Reason::Unsynced)?;
            if head.expires.plus(at.rules.skew_s) <= now {
                return Err(Reason::Stale);
            }
            if head.issued > now.plus(at.rules.skew_s) {
                return Err(Reason::Future);
            }
            // What the policy says comes with the policy: under another one the sender can't know.
            if head.expires > head.issued.plus(MESSAGE_LIFETIME_S_MAX) {
                return Err(Reason::Lifetime);
            }
        }
    }
    match at.window.peek(head.seq) {
        Ok(()) => Ok(()),
        Err(WindowError::Lost) if head.answers.is_some() => Ok(()),
        Err(WindowError::Lost) => Err(Reason::WindowLost),
        Err(WindowError::Replay) => Err(Reason::Replay),
    }
}

fn entitled<'s>(
    head: &Head,
    sender: Option<Sender<'s>>,
    now: Option<UnixTime>,
    policy: &PolicyState,
) -> Result<&'s Statement, Reason> {
    let sender = sender.ok_or(Reason::UnknownKey)?;
    let statement = sender.statement;
    if !is_of(statement, head) {
        return Err(Reason::UnknownKey);
    }
    if sender.revoked {
        return Err(Reason::Revoked);
    }
    if now.is_some_and(|now| !statement.validity().contains(now)) {
        return Err(Reason::KeyNotValid);
    }
    if now.is_some() && policy.standing(now) == Standing::LocalOnly && statement.role() != Role::Kmc {
        return Err(Reason::NoPolicy);
    }
    // What a party needs to learn a policy has to get through whatever it follows, or one that is behind would stay behind.
    let before_policy = matches!(
        head.kind,
        Kind::KeyRequest
            | Kind::KeyStatement
            | Kind::Policy
            | Kind::EnrolConfirm
            | Kind::Time
            | Kind::Error
            | Kind::RevocationList
    );
    let same_policy = head.policy == policy.version();
    if !same_policy && !before_policy {
        return Err(Reason::Policy);
    }
    if same_policy && head.answers.is_none() && head.expires > head.issued.plus(policy.rules().message_s) {
        return Err(Reason::Lifetime);
    }
    Ok(statement)
}

/// Whether it is the statement of the party and key that the header names.
fn is_of(statement: &Statement, head: &Head) -> bool {
    statement.subject() == head.issuer && statement.kid() == head.kid
}
