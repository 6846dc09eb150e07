//! The flows with a KMC, each one call: what is sent, which answer is taken, and what of it is believed.

use core::time::Duration;

use http::StatusCode;
use rand_core::CryptoRng;
use secure_http::code_points::{CONTENT_TYPE_ENCRYPT0, CONTENT_TYPE_SIGN1};
use secure_http::crypto::{CryptoError, KemPublicKey, SigningKey};
use secure_http::limits::REPORT_BYTES_MAX;
use secure_http::{
    Ack, Authority, Awaited, Clock, ClockError, Draft, EnrolChallenge, EnrolConfirm, Fingerprint, KeyAnswer,
    KeyRequest, Kind, Malformed, Nonce, Opened, Order, Ordered, OwnKeys, PartyId, Policy, PolicyError, PolicyState,
    Reason, Receiver, RevocationError, RevocationList, Role, Rollover, SealError, SealedError, Sender, Serial,
    Situation, Statement, StatementError, Stopped, TimeAnswer, TokenSecret, UnixTime, Vouched, Window,
    answer_challenge, canonical_host, confirm_succession, endpoints, request_enrolment, seal,
};

use crate::http::{Answer, HttpClient, HttpError};

/// Why a flow came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Refused without a word: this sender, key or token is not known there, or the message was not fresh.
    #[error("the KMC refused with status {0}")]
    Refused(StatusCode),
    /// Too often, or too many ask.
    #[error("the KMC has no time for {after_s} s")]
    Busy {
        /// When to come again (seconds).
        after_s: u64,
    },
    /// Refused, and told why.
    #[error("the KMC answered: {0}")]
    Sealed(#[from] SealedError),
    /// The answer is not from this KMC, not to this question, or does not open.
    #[error("the answer was not taken: {0}")]
    Answer(Reason),
    /// The answer is of another kind.
    #[error("the answer is of another kind")]
    Kind,
    /// What is in the answer is not what should be.
    #[error("the answer {0}")]
    Malformed(#[from] Malformed),
    /// A statement in it is not believed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The statement is right, and not the one that was asked for.
    #[error("the KMC stated something else than was asked")]
    Other,
    /// The policy is not followed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The list is not taken.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    /// The time is not taken.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// What is to be announced is no name or address.
    #[error("no host name or address")]
    Host,
    /// The question could not be made.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A computation.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// The clocks, read once by the caller.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The time, or none while UNSYNCED.
    pub time: Option<UnixTime>,
    /// What to write as the time of issue: [`Clock::guess`].
    pub guess: UnixTime,
    /// Time since boot.
    pub boot: Duration,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its name.
    pub id: PartyId,
    /// Its keys.
    pub keys: &'a OwnKeys,
    /// The policy that it follows.
    pub policy: &'a PolicyState,
}

/// What an enrolment gives: to be stored, with the keys, before anything is done with it.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// The own statement, in force.
    pub statement: Statement,
    /// Version of the revocation list.
    pub revocations: u64,
}

/// A party's statement. Before going over to it from one that was known, ask [`Authority::succession`].
#[derive(Clone, Debug)]
pub struct FetchedKey {
    /// Checked up to the root.
    pub statement: Statement,
    /// The old key's word for it.
    pub succession: Option<Vec<u8>>,
    /// The way from the statement that was known: statements in between, each with the word of the key before it.
    pub path: Vec<Vouched>,
    /// Version of the revocation list.
    pub revocations: u64,
    /// Where the party is reached, as it says itself; none when it has not said.
    pub host: Option<String>,
}

/// A KMC that is known by the fingerprint of its root key.
#[derive(Clone, Debug)]
pub struct Kmc {
    http: HttpClient,
    fingerprint: Fingerprint,
    authority: Authority,
    statement: Statement,
    root_etag: Option<String>,
    policy_etag: Option<String>,
    revocations_etag: Option<String>,
}

impl Kmc {
    /// Fetches the statements of a KMC and checks them from the fingerprint on.
    ///
    /// # Errors
    /// No answer, or statements that do not lead back to that root key.
    pub async fn meet(host: &str, fingerprint: Fingerprint, at: At) -> Result<Self, LinkError> {
        let http = HttpClient::new(host);
        let answer = http.get(endpoints::ROOT, None).await?;
        let etag = answer.etag.clone();
        let (authority, statement) = chain(fingerprint, &good(answer)?.body, at.time)?;
        let root_etag = etag;
        Ok(Self { http, fingerprint, authority, statement, root_etag, policy_etag: None, revocations_etag: None })
    }

    /// From the store: what [`statements`](Self::statements) gave.
    ///
    /// # Errors
    /// Statements that do not lead back to that root key, or do not hold.
    pub fn from_store(host: &str, fingerprint: Fingerprint, statements: &[u8], at: At) -> Result<Self, LinkError> {
        let (authority, statement) = chain(fingerprint, statements, at.time)?;
        let http = HttpClient::new(host);
        Ok(Self { http, fingerprint, authority, statement, root_etag: None, policy_etag: None, revocations_etag: None })
    }

    /// Its statements, for the store.
    pub fn statements(&self) -> Vec<u8> {
        let statements = [&self.statement, self.authority.issuing(), self.authority.root()];
        let statements = statements.map(|s| s.raw().to_vec()).into();
        KeyAnswer { statements, succession: None, revocations: 0, host: None, path: Vec::new() }.encode()
    }

    /// Whom it lets one believe.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Its own statement.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Asks for its statements anew: after [`LinkError::Answer`], and each refresh interval. Says whether they are others now; then store
    /// them.
    ///
    /// # Errors
    /// As [`meet`](Self::meet); what was known stays.
    pub async fn refresh(&mut self, at: At) -> Result<bool, LinkError> {
        let answer = self.http.get(endpoints::ROOT, self.root_etag.as_deref()).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(false);
        }
        let answer = good(answer)?;
        let (authority, statement) = chain(self.fingerprint, &answer.body, at.time)?;
        // An old recorded answer leads back to an old key.
        if statement.serial() < self.statement.serial() {
            return Err(StatementError::NotValid.into());
        }
        let changed =
            statement.raw() != self.statement.raw() || authority.issuing().raw() != self.authority.issuing().raw();
        (self.authority, self.statement, self.root_etag) = (authority, statement, answer.etag);
        Ok(changed)
    }

    /// What came with the last answers is not kept: the next ones have to be whole.
    pub fn forget_tags(&mut self) {
        (self.root_etag, self.policy_etag, self.revocations_etag) = (None, None, None);
    }

    /// The policy to follow from now on, if it is a newer one; store [`Policy::raw`] before acting on it.
    ///
    /// # Errors
    /// No answer, or a policy that is not followed: an older one, one below the floor, another signer's.
    pub async fn refresh_policy(&mut self, known: &PolicyState, at: At) -> Result<Option<PolicyState>, LinkError> {
        self.refresh(at).await?;
        let answer = self.http.get(endpoints::POLICY, self.policy_etag.as_deref()).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let answer = good(answer)?;
        let policy = Policy::verify(&answer.body, &self.authority)?;
        let next = known.adopt(policy, at.time.unwrap_or(at.guess))?;
        self.policy_etag = answer.etag;
        Ok((next != *known).then_some(next))
    }

    /// The revocation list to go by from now on, if it is a newer one.
    ///
    /// # Errors
    /// No answer, an older list, or another signer's.
    pub async fn refresh_revocations(
        &mut self,
        known: Option<&RevocationList>,
        at: At,
    ) -> Result<Option<RevocationList>, LinkError> {
        self.refresh(at).await?;
        let answer = self.http.get(endpoints::REVOCATIONS, self.revocations_etag.as_deref()).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let answer = good(answer)?;
        let list = RevocationList::verify(&answer.body, &self.authority)?;
        let next = match known {
            Some(known) => known.succeeded_by(list)?,
            None => list,
        };
        self.revocations_etag = answer.etag;
        Ok((known != Some(&next)).then_some(next))
    }

    /// Enrols new keys with a token: request, challenge, answer. `seq` is the first number of the new keys' messages.
    ///
    /// # Errors
    /// [`LinkError::Refused`] for a token that is wrong, used, too old or another party's; [`LinkError::Busy`] after too many attempts.
    pub async fn enrol<R: CryptoRng + ?Sized>(
        &mut self,
        token: &TokenSecret,
        party: PartyId,
        keys: &OwnKeys,
        seq: u64,
        at: At,
        rng: &mut R,
    ) -> Result<Enrolled, LinkError> {
        let (body, nonce) = request_enrolment(party, keys.sig(), keys.kem().public(), token, self.kem()?, rng)?;
        let answer = self.post(endpoints::ENROL, CONTENT_TYPE_ENCRYPT0, body).await?;
        let policy = PolicyState::default();
        let member = Member { id: party, keys, policy: &policy };
        let opened = self.opened(&member, &answer.body, nonce, Kind::EnrolConfirm, at)?;
        let challenge = EnrolChallenge::decode(&opened.body)?;
        // Who does not know the time has it from this answer: it names our nonce, so it is from now.
        let at = At { guess: at.guess.max(opened.head.issued), ..at };
        let stated = self.authority.statement(&challenge.statement, at.time)?;
        self.is_ours(&stated, party, keys.sig().public().to_bytes(), keys.kem().public().to_bytes())?;
        let body = EnrolConfirm { challenge: challenge.challenge }.encode();
        let asked = (Kind::EnrolConfirm, seq, &body[..]);
        let opened = self.ask(endpoints::ENROL_CONFIRM, &member, asked, Kind::KeyStatement, at, rng).await?;
        let answer = KeyAnswer::decode(&opened.body)?;
        if answer.statements.first().is_none_or(|raw| raw[..] != *stated.raw()) {
            return Err(LinkError::Other);
        }
        Ok(Enrolled { statement: stated, revocations: answer.revocations })
    }

    /// Asks for a party's statement; for one's own too, when half of its time is over. A gateway that names none asks for the utility it
    /// belongs to. `known` is the serial of the statement that is gone by so far.
    ///
    /// # Errors
    /// [`SealedError::Forbidden`] for a party that is not known or not one's business, and as long as the gateway belongs to no utility.
    pub async fn fetch_key<R: CryptoRng + ?Sized>(
        &mut self,
        member: &Member<'_>,
        seq: u64,
        (party, known): (Option<PartyId>, Option<Serial>),
        at: At,
        rng: &mut R,
    ) -> Result<FetchedKey, LinkError> {
        let body = KeyRequest { party, known }.encode();
        let asked = (Kind::KeyRequest, seq, &body[..]);
        let opened = self.ask(endpoints::KEY, member, asked, Kind::KeyStatement, at, rng).await?;
        let fetched = self.stated(&opened, at)?;
        let wanted = match party {
            Some(party) => fetched.statement.subject() == party,
            None => fetched.statement.role() == Role::Utility,
        };
        if wanted { Ok(fetched) } else { Err(LinkError::Other) }
    }

    /// Has the KMC state new keys in place of those in `statement`. `member` still has the old ones, and `sig` is the old one where only
    /// the sealing key changes. The new keys have to be on disk before; asking again with the same ones gives the same answer.
    /// Afterwards send [`announce`](Self::announce) with the old key.
    ///
    /// # Errors
    /// [`SealedError::Forbidden`] when the statement is not the one in force any more: then somebody else has rolled over.
    #[expect(clippy::too_many_arguments, reason = "each is a fact of its own, and the caller has them apart")]
    pub async fn roll_over<R: CryptoRng + ?Sized>(
        &mut self,
        member: &Member<'_>,
        seq: u64,
        statement: &Statement,
        sig: &SigningKey,
        kem: &KemPublicKey,
        at: At,
        rng: &mut R,
    ) -> Result<Statement, LinkError> {
        let body = Rollover::body(member.id, sig, kem, statement.serial())?;
        let asked = (Kind::Rollover, seq, &body[..]);
        let opened = self.ask(endpoints::ROLLOVER, member, asked, Kind::KeyStatement, at, rng).await?;
        let next = self.stated(&opened, at)?.statement;
        self.is_ours(&next, member.id, sig.public().to_bytes(), kem.to_bytes())?;
        Ok(next)
    }

    /// Says where this party is reached from now on (none: nowhere), and brings the old key's word for the statement in force where there is
    /// an old key, so that peers go over to it. `member` has the keys of that statement.
    ///
    /// # Errors
    /// [`SealedError::Forbidden`] when the statement is not the one in force, or that key was not the one before; [`LinkError::Host`].
    #[expect(clippy::too_many_arguments, reason = "each is a fact of its own, and the caller has them apart")]
    pub async fn announce<R: CryptoRng + ?Sized>(
        &mut self,
        member: &Member<'_>,
        seq: u64,
        statement: &Statement,
        old: Option<&SigningKey>,
        host: Option<&str>,
        at: At,
        rng: &mut R,
    ) -> Result<(), LinkError> {
        let host = host.map(|host| canonical_host(host).ok_or(LinkError::Host)).transpose()?;
        let succession = old.map(|old| confirm_succession(statement, old)).transpose()?;
        let body = KeyAnswer {
            statements: vec![statement.raw().to_vec()],
            succession,
            revocations: 0,
            host,
            path: Vec::new(),
        }
        .encode();
        let asked = (Kind::KeyStatement, seq, &body[..]);
        let opened = self.ask(endpoints::KEY, member, asked, Kind::Ack, at, rng).await?;
        Ack::decode(&opened.body)?;
        Ok(())
    }

    /// A utility's order. What comes of it may be a newer list or policy: ask for them afterwards. Asking again after a lost answer is a new
    /// order: a second token, or a revocation of what is revoked already.
    ///
    /// # Errors
    /// [`SealedError::Forbidden`] to anybody but a utility; [`SealedError::Unsupported`] for an order beyond its bounds.
    pub async fn order<R: CryptoRng + ?Sized>(
        &mut self,
        member: &Member<'_>,
        seq: u64,
        order: &Order,
        at: At,
        rng: &mut R,
    ) -> Result<Ordered, LinkError> {
        let body = order.encode();
        let opened = self.ask(endpoints::ORDER, member, (Kind::Order, seq, &body[..]), Kind::Ack, at, rng).await?;
        Ok(Ordered::decode(&Ack::decode(&opened.body)?.body)?)
    }

    /// Sets the clock by the KMC's. `boot` is asked again when the answer is there: the trip counts.
    ///
    /// # Errors
    /// A late answer, or one that the clock does not take.
    pub async fn set_clock<R: CryptoRng + ?Sized>(
        &mut self,
        member: &Member<'_>,
        seq: u64,
        clock: &mut Clock,
        boot: impl Fn() -> Duration,
        rng: &mut R,
    ) -> Result<UnixTime, LinkError> {
        let started = boot();
        let at = At { time: clock.now(started), guess: clock.guess(started), boot: started };
        let (sealed, cti) = self.sealed(member, (Kind::Time, seq, &[]), at, rng)?;
        clock.asked(cti, started);
        let answer = self.post(endpoints::TIME, CONTENT_TYPE_SIGN1, sealed).await?;
        let unix_ms = match self.opened(member, &answer.body, cti, Kind::Time, at) {
            Ok(opened) => TimeAnswer::decode(&opened.body)?.unix_ms,
            // A question that bears a time long past is refused, and the refusal says what time it is: signed, and to our nonce.
            Err(LinkError::Sealed(SealedError::Stale { time })) => time.0.saturating_mul(1000),
            Err(error) => return Err(error),
        };
        Ok(clock.answered(cti, unix_ms, self.statement.validity(), boot())?)
    }

    fn stated(&self, opened: &Opened, at: At) -> Result<FetchedKey, LinkError> {
        let answer = KeyAnswer::decode(&opened.body)?;
        let raw = answer.statements.first().ok_or(Malformed::Unexpected)?;
        // The KMC may have a new issuing key since we asked for its statements: it comes along.
        let statement = match (self.authority.statement(raw, at.time), answer.statements.get(1)) {
            (Err(_), Some(issuing)) => self.authority.reissue(issuing, at.time)?.statement(raw, at.time)?,
            (result, _) => result?,
        };
        let KeyAnswer { succession, revocations, host, path, .. } = answer;
        Ok(FetchedKey { statement, succession, path, revocations, host })
    }

    fn is_ours(&self, stated: &Statement, party: PartyId, sig: &[u8; 65], kem: &[u8; 65]) -> Result<(), LinkError> {
        let same = stated.subject() == party
            && matches!(stated.role(), Role::Gateway | Role::Utility)
            && stated.sig().to_bytes() == sig
            && stated.kem().is_some_and(|stated| stated.to_bytes() == kem);
        if same { Ok(()) } else { Err(LinkError::Other) }
    }

    fn kem(&self) -> Result<&KemPublicKey, LinkError> {
        self.statement.kem().ok_or(LinkError::Other)
    }

    async fn ask<R: CryptoRng + ?Sized>(
        &mut self,
        path: &str,
        member: &Member<'_>,
        asked: (Kind, u64, &[u8]),
        wanted: Kind,
        at: At,
        rng: &mut R,
    ) -> Result<Opened, LinkError> {
        let (sealed, cti) = self.sealed(member, asked, at, rng)?;
        let answer = self.post(path, CONTENT_TYPE_SIGN1, sealed).await?;
        self.opened(member, &answer.body, cti, wanted, at)
    }

    fn sealed<R: CryptoRng + ?Sized>(
        &self,
        member: &Member<'_>,
        (kind, seq, body): (Kind, u64, &[u8]),
        at: At,
        rng: &mut R,
    ) -> Result<(Vec<u8>, Nonce), LinkError> {
        let draft = Draft {
            kind,
            answers: None,
            seq,
            policy: member.policy.version(),
            issued: at.guess,
            lifetime_s: member.policy.rules().message_s,
            body,
        };
        let sealed = seal(&draft, (member.id, member.keys.sig()), (self.authority.kmc(), self.kem()?), rng)?;
        Ok((sealed.bytes, sealed.cti))
    }

    /// Posts, and once more with a cookie where one is wanted.
    async fn post(&self, path: &str, content_type: &'static str, body: Vec<u8>) -> Result<Answer, LinkError> {
        let answer = self.http.post(path, content_type, body.clone(), None).await?;
        let cookie = answer.challenge.as_deref().and_then(|challenge| answer_challenge(challenge, &body));
        match cookie {
            Some(cookie) if answer.status == StatusCode::TOO_MANY_REQUESTS => {
                good(self.http.post(path, content_type, body, Some(&cookie)).await?)
            }
            _ => good(answer),
        }
    }

    /// The receiver's steps with an answer. It is fresh because it names our message, so no window has to be kept.
    fn opened(&self, member: &Member<'_>, raw: &[u8], cti: Nonce, wanted: Kind, at: At) -> Result<Opened, LinkError> {
        let mut receiver = Receiver::new();
        let mut awaited = Awaited::new();
        awaited.sent(cti, self.authority.kmc(), at.boot);
        let (window, rules) = (Window::new(), member.policy.rules());
        let situation = Situation {
            me: &member.id,
            now: at.time,
            boot: at.boot,
            awaited: &awaited,
            window: &window,
            rules: &rules,
        };
        let sender = Some(Sender { statement: &self.statement, revoked: false });
        let stopped = |stopped: Stopped<'_>| LinkError::Answer(stopped.reason);
        let parsed = receiver.parse(raw, REPORT_BYTES_MAX).map_err(stopped)?;
        let fresh = receiver.check(parsed, &situation).map_err(stopped)?;
        let verified = receiver.verify(fresh, sender, at.time, member.policy).map_err(stopped)?;
        let (committed, _) = receiver.commit(verified, &window, &mut awaited).map_err(stopped)?;
        let opened = receiver.open(committed, member.keys).map_err(stopped)?;
        match opened.head.kind {
            // A message of the KMC's to somebody like us, and not our answer.
            _ if opened.head.answers != Some(cti) => Err(LinkError::Answer(Reason::NotAwaited)),
            Kind::Error => Err(SealedError::decode(&opened.body)?.into()),
            kind if kind == wanted => Ok(opened),
            _ => Err(LinkError::Kind),
        }
    }
}

fn good(answer: Answer) -> Result<Answer, LinkError> {
    match answer.status {
        StatusCode::OK => Ok(answer),
        StatusCode::TOO_MANY_REQUESTS => Err(LinkError::Busy { after_s: answer.retry_after_s.unwrap_or(1) }),
        status => Err(LinkError::Refused(status)),
    }
}

/// `[KMC, issuing, root]`, checked from the fingerprint on.
fn chain(fingerprint: Fingerprint, bytes: &[u8], now: Option<UnixTime>) -> Result<(Authority, Statement), LinkError> {
    let answer = KeyAnswer::decode(bytes)?;
    let [kmc, issuing, root] = &answer.statements[..] else { return Err(Malformed::Unexpected.into()) };
    let authority = Authority::establish(fingerprint, root, issuing, now)?;
    let statement = authority.statement(kmc, now)?;
    if statement.role() != Role::Kmc || statement.subject() != authority.kmc() {
        return Err(StatementError::NotEntitled.into());
    }
    Ok((authority, statement))
}
