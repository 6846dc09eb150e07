//! Sealed messages: the receiver's steps in their order, then the effect. Window, evidence, effect and the number of the answer are one
//! change, on the disk before the answer goes out.

use secure_http::limits::{MESSAGE_BYTES_MAX, PATH_MAX};
use secure_http::{
    Ack, Awaited, Draft, KeyAnswer, KeyRequest, Kind, Nonce, Opened, PartyId, Policy, Reason, Refusal, Role, Rollover,
    SealError, SealedError, Sender, Serial, Situation, Statement, Stopped, TimeAnswer, UnixTime, Vouched, Window,
    key_id, seal,
};

use super::enrol::fault;
use super::{BACKDATE_S, Centre, CentreError, Desk, Now, Renewed, Stating};
use crate::exchange::{Endpoint, Refused, Response};
use crate::limits::PENDING_S;
use crate::store::{Change, Contact, Standing, Stated};

/// What became of a message that was acted on, for the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Answered,
    Refused,
    Enrolled,
    RolledOver,
    Ordered,
    OrderRefused,
}

/// What is answered, and what in memory goes with it.
pub(super) struct Sent {
    kind: Kind,
    body: Body,
    pub(super) done: Done,
    pub(super) renewed: Renewed,
}

/// What of an answer's body is known before the versions of policy and revocation list are.
enum Body {
    Bytes(Vec<u8>),
    Statements(KeyAnswer),
    Ack(Vec<u8>),
}

impl Sent {
    pub(super) fn error(error: SealedError) -> Self {
        Self { kind: Kind::Error, body: Body::Bytes(error.encode()), done: Done::Refused, renewed: Renewed::default() }
    }

    pub(super) fn statements(statements: Vec<&Statement>, succession: Option<Vec<u8>>) -> Self {
        let statements = statements.into_iter().map(|s| s.raw().to_vec()).collect();
        let (revocations, host, path) = (0, None, Vec::new());
        Self::answer(
            Kind::KeyStatement,
            Body::Statements(KeyAnswer { statements, succession, revocations, host, path }),
        )
    }

    pub(super) fn ack(body: Vec<u8>) -> Self {
        Self::answer(Kind::Ack, Body::Ack(body))
    }

    fn answer(kind: Kind, body: Body) -> Self {
        Self { kind, body, done: Done::Answered, renewed: Renewed::default() }
    }
}

impl Centre {
    /// Takes a sealed message in. Nobody here awaits answers, so all of them are fresh by their time.
    pub(super) fn sealed(
        &mut self,
        endpoint: Endpoint,
        raw: &[u8],
        loaded: bool,
        now: Now,
    ) -> Result<Response, Refused> {
        let (at, time) = (now, now.unix());
        let parsed = self.receiver.parse(raw, MESSAGE_BYTES_MAX).map_err(|stopped| stopped.reason)?;
        let (issuer, kid) = parsed.sender();
        let change = self.store.begin().map_err(|error| fault(&error.into()))?;
        let known = change.sender(&issuer, kid).map_err(|error| fault(&error.into()))?;
        let known = known.filter(|stated| is_taken(stated, endpoint, time));
        let window = match &known {
            Some(stated) => change.window(stated.lineage).map_err(|error| fault(&error.into()))?,
            None => Window::new(),
        };
        drop(change);
        let sender = known
            .as_ref()
            .map(|stated| Sender { statement: &stated.statement, revoked: stated.standing == Standing::Revoked });
        let rules = self.desk.policy.rules();
        let mut awaited = Awaited::new();
        let situation = Situation {
            me: &self.desk.id,
            now: Some(time),
            boot: at.boot,
            awaited: &awaited,
            window: &window,
            rules: &rules,
        };
        let verified = self
            .receiver
            .check(parsed, &situation)
            .and_then(|fresh| self.receiver.verify(fresh, sender, Some(time), &self.desk.policy));
        let verified = match verified {
            Ok(verified) => verified,
            Err(stopped) => return self.explain(&stopped, known.as_ref(), loaded, now),
        };
        let Some(known) = &known else { return Err(Refusal::Refused.into()) };
        let cti = verified.head().cti;
        let (committed, window) = match self.receiver.commit(verified, &window, &mut awaited) {
            Ok(both) => both,
            Err(stopped) => return self.explain(&stopped, Some(known), loaded, now),
        };
        // The number is used up whatever comes out of it.
        let opened = self.receiver.open(committed, &self.desk.keys).map_err(|stopped| stopped.reason);
        let change = self.store.begin().map_err(|error| fault(&error.into()))?;
        let acted = self.desk.act(&change, endpoint, raw, (known, window), (opened.as_ref().ok(), cti), at);
        let (bytes, done, renewed) = acted.map_err(|error| fault(&error))?;
        change.commit().map_err(|error| fault(&error.into()))?;
        self.desk.stored_mark = self.desk.sequence.mark();
        self.desk.take(renewed);
        self.counts.enrolled += u64::from(done == Done::Enrolled);
        self.counts.rolled_over += u64::from(done == Done::RolledOver);
        self.counts.orders_done += u64::from(done == Done::Ordered);
        self.counts.orders_refused += u64::from(done == Done::OrderRefused);
        match done {
            Done::Refused => self.counts.sealed_errors += 1,
            _ => self.counts.sealed += 1,
        }
        Ok(Response::sealed(bytes))
    }

    /// Tells a sender whose signature is right why its message stopped; everybody else nothing. Under load only who asks for the time hears
    /// that its own is wrong, or a home without a clock would stay without as long as the load lasts: the budget of cookies bounds those.
    fn explain(
        &mut self,
        stopped: &Stopped<'_>,
        known: Option<&Stated>,
        loaded: bool,
        now: Now,
    ) -> Result<Response, Refused> {
        tracing::debug!(reason = %stopped.reason, "sealed message stopped");
        let sender =
            known.map(|stated| Sender { statement: &stated.statement, revoked: stated.standing == Standing::Revoked });
        let asks_the_time = stopped.reason == Reason::Stale
            && stopped.envelope().is_some_and(|envelope| envelope.head().kind == Kind::Time);
        if loaded && !asks_the_time {
            return Err(stopped.refusal().into());
        }
        // A recorded message costs who sends it again nothing, and us a signature checked and one made: many of them are a flood too.
        self.flood.refused(now.boot.as_secs());
        let error = self.receiver.explain(stopped, sender, &self.desk.policy, now.unix())?;
        let (Some(envelope), Some(known)) = (stopped.envelope(), known) else {
            return Err(Refusal::Refused.into());
        };
        let change = self.store.begin().map_err(|error| fault(&error.into()))?;
        let sealed =
            self.desk.seal(&change, &known.statement, Kind::Error, envelope.head().cti, &error.encode(), now.unix());
        let bytes = sealed.map_err(|error| fault(&error))?;
        change.commit().map_err(|error| fault(&error.into()))?;
        self.desk.stored_mark = self.desk.sequence.mark();
        self.counts.sealed_errors += 1;
        Ok(Response::sealed(bytes))
    }
}

/// For who goes by an older statement of a party: those in between with which the signing key changed, and the one that vouches for the
/// sealing key, each with the word of the key before it.
fn path(change: &Change<'_>, known: Serial, active: &Stated) -> Result<Vec<Vouched>, CentreError> {
    let party = active.statement.subject();
    let Some(known) = change.statement(known)?.filter(|known| known.statement.subject() == party) else {
        return Ok(Vec::new());
    };
    let line = change.line(active.lineage, known.statement.serial(), active.statement.serial())?;
    let same = |s: &Statement| s.sig() == active.statement.sig() && s.kem() == active.statement.kem();
    // Stated anew, a statement bears no word of its own: that is with the first one of these keys.
    let vouching = if active.succession.is_none() { line.iter().position(|s| same(&s.statement)) } else { None };
    let mut signer = known.statement.kid();
    let mut steps = Vec::new();
    for (at, step) in line.iter().enumerate() {
        let kid = step.statement.kid();
        if kid == signer && vouching != Some(at) {
            continue;
        }
        let Some(proof) = &step.succession else { break };
        steps.push((step.statement.raw().to_vec(), proof.clone()));
        signer = kid;
        if steps.len() == PATH_MAX {
            break;
        }
    }
    Ok(steps)
}

/// Whether messages of that statement's key are taken there at all.
fn is_taken(stated: &Stated, endpoint: Endpoint, now: UnixTime) -> bool {
    match stated.standing {
        Standing::Active | Standing::Revoked => true,
        Standing::Pending => endpoint == Endpoint::EnrolConfirm && now < stated.made.plus(PENDING_S),
        Standing::Superseded => stated.overlap_until.is_some_and(|until| now < until),
    }
}

impl Desk {
    /// Stores window and evidence, does what is asked, and seals the answer.
    fn act(
        &mut self,
        change: &Change<'_>,
        endpoint: Endpoint,
        raw: &[u8],
        (known, window): (&Stated, Window),
        (opened, cti): (Option<&Opened>, Nonce),
        now: Now,
    ) -> Result<(Vec<u8>, Done, Renewed), CentreError> {
        let time = now.unix();
        change.set_window(known.lineage, window)?;
        let sent = match opened {
            None => Sent::error(SealedError::Unsupported),
            Some(opened) => {
                let evident =
                    matches!(opened.head.kind, Kind::Rollover | Kind::EnrolConfirm | Kind::KeyStatement | Kind::Order);
                if evident {
                    change.add_evidence(&opened.head.issuer, known.statement.serial(), raw, time)?;
                }
                match (endpoint, opened.head.kind) {
                    (Endpoint::EnrolConfirm, Kind::EnrolConfirm) => self.confirm(change, known, &opened.body, time)?,
                    (Endpoint::Key, Kind::KeyRequest) => self.key(change, known, &opened.body, time)?,
                    (Endpoint::Key, Kind::KeyStatement) => self.announced(change, known, &opened.body, time)?,
                    (Endpoint::Order, Kind::Order) => self.order(change, known, &opened.body, time)?,
                    (Endpoint::Rollover, Kind::Rollover) => self.roll_over(change, known, &opened.body, time)?,
                    (Endpoint::Time, Kind::Time) if opened.body.is_empty() => {
                        let unix_ms = u64::try_from(now.wall.as_millisecond()).unwrap_or(0);
                        Sent::answer(Kind::Time, Body::Bytes(TimeAnswer { unix_ms }.encode()))
                    }
                    _ => Sent::error(SealedError::Unsupported),
                }
            }
        };
        let revocations = sent.renewed.revocations.as_ref().unwrap_or(&self.revocations).version();
        let policy = sent.renewed.policy.as_ref().map_or(self.policy.version(), Policy::version);
        let body = match sent.body {
            Body::Bytes(bytes) => bytes,
            Body::Statements(answer) => KeyAnswer { revocations, ..answer }.encode(),
            Body::Ack(body) => Ack { time, policy, revocations, cookie: None, body }.encode(),
        };
        // Under the policy of before, which the asker followed when it asked.
        let bytes = self.seal(change, &known.statement, sent.kind, cti, &body, time)?;
        Ok((bytes, sent.done, sent.renewed))
    }

    /// A message of the centre's own to the holder of that statement.
    fn seal(
        &mut self,
        change: &Change<'_>,
        to: &Statement,
        kind: Kind,
        answers: Nonce,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Vec<u8>, CentreError> {
        let kem = to.kem().ok_or(CentreError::Incomplete("sealing key of a party"))?;
        let draft = Draft {
            kind,
            answers: Some(answers),
            seq: self.next_seq(change)?,
            policy: self.policy.version(),
            issued: now,
            lifetime_s: self.policy.rules().message_s,
            body,
        };
        match seal(&draft, (self.id, self.keys.sig()), (to.subject(), kem), &mut self.rng) {
            Ok(sealed) => Ok(sealed.bytes),
            Err(SealError::Crypto(error)) => Err(error.into()),
            Err(_) => Err(CentreError::Incomplete("room for an answer")),
        }
    }

    /// Whose statement a party may have: its own, a utility's, the centre's; a utility anybody's. Where the party is reached comes along. One that is half over, or that an issuing
    /// key before this one signed, is stated anew, as long as its keys are not older than the policy allows.
    fn key(&mut self, change: &Change<'_>, known: &Stated, body: &[u8], now: UnixTime) -> Result<Sent, CentreError> {
        let Ok(request) = KeyRequest::decode(body) else { return Ok(Sent::error(SealedError::Unsupported)) };
        let asker = known.statement.role();
        let party = match request.party {
            Some(party) => Some(party),
            None if asker == Role::Gateway => utility_of(change, &known.statement.subject())?,
            None => None,
        };
        let found = party.map(|party| change.active(&party)).transpose()?.flatten().filter(|found| {
            let own = found.statement.subject() == known.statement.subject();
            own || asker == Role::Utility || matches!(found.statement.role(), Role::Utility | Role::Kmc)
        });
        let Some(found) = found else { return Ok(Sent::error(SealedError::Forbidden)) };
        let found = if found.statement.role() == Role::Kmc { found } else { self.stated_anew(change, found, now)? };
        let host = change.contact(&found.statement.subject())?.host;
        let path = request.known.map(|known| path(change, known, &found)).transpose()?.unwrap_or_default();
        let statements = vec![found.statement.raw().to_vec(), self.authority.issuing().raw().to_vec()];
        let answer = KeyAnswer { statements, succession: found.succession, revocations: 0, host, path };
        Ok(Sent::answer(Kind::KeyStatement, Body::Statements(answer)))
    }

    fn stated_anew(&self, change: &Change<'_>, old: Stated, now: UnixTime) -> Result<Stated, CentreError> {
        let rules = self.policy.rules();
        let statement = &old.statement;
        let due = statement.validity().half() <= now || self.authority.statement(statement.raw(), None).is_err();
        let aged = old.sig_since.plus(rules.sig_key_s) <= now || old.kem_since.plus(rules.kem_key_s) <= now;
        let Some(kem) = statement.kem().filter(|_| due && !aged && statement.validity().contains(now)) else {
            return Ok(old);
        };
        let stating = Stating {
            subject: statement.subject(),
            role: statement.role(),
            sig: statement.sig(),
            kem,
            previous: Some(&old),
            seconds: self.settings.statement_s - BACKDATE_S,
        };
        let next = self.state(change, &stating, now)?;
        change.set_standing(statement.serial(), Standing::Superseded, None)?;
        let stated =
            Stated { statement: next, made: now, succession: None, token: None, challenge: None, ..old.clone() };
        change.add(self.issuer(), &stated)?;
        let (serial, detail) = (stated.statement.serial().0.to_string(), statement.serial().0.to_string());
        change.audit(now, "kmc", "stated-anew", &serial, &format!("{} after {detail}", statement.subject()))?;
        Ok(stated)
    }

    /// New keys: only the key in force may name them, so that one that was stolen and rolled over is worth nothing, and one that was
    /// stolen and not rolled over shows by the roll-over of its owner that fails.
    fn roll_over(
        &mut self,
        change: &Change<'_>,
        known: &Stated,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Sent, CentreError> {
        let party = known.statement.subject();
        let Ok(rollover) = Rollover::verify(body, &party) else { return Ok(Sent::error(SealedError::Unsupported)) };
        let Some(active) = change.active(&party)? else { return Ok(Sent::error(SealedError::Forbidden)) };
        let same = *active.statement.sig() == rollover.sig && active.statement.kem() == Some(&rollover.kem);
        // The answer to the first may have been lost on the way.
        if same && active.statement.previous() == Some(rollover.previous) {
            return Ok(Sent::statements(vec![&active.statement, self.authority.issuing()], active.succession));
        }
        let kid = key_id(rollover.sig.to_bytes());
        let new_sig = kid != active.statement.kid();
        let new_kem = active.statement.kem() != Some(&rollover.kem);
        let used = new_sig && change.sender(&party, kid)?.is_some();
        let allowed = known.statement.serial() == active.statement.serial()
            && rollover.previous == active.statement.serial()
            && !same
            && !used
            && !change.is_anothers(&party, kid)?;
        if !allowed {
            tracing::info!(%party, serial = known.statement.serial().0, "roll-over refused");
            change.audit(now, party.as_str(), "roll-over-refused", &known.statement.serial().0.to_string(), "")?;
            return Ok(Sent::error(SealedError::Forbidden));
        }
        let stating = Stating {
            subject: party,
            role: active.statement.role(),
            sig: &rollover.sig,
            kem: &rollover.kem,
            previous: Some(&active),
            seconds: self.settings.statement_s - BACKDATE_S,
        };
        let statement = self.state(change, &stating, now)?;
        let overlap = Some(now.plus(self.settings.overlap_s));
        change.set_standing(active.statement.serial(), Standing::Superseded, overlap)?;
        let (old, serial) = (active.statement.serial().0, statement.serial().0.to_string());
        let stated = Stated {
            statement,
            made: now,
            sig_since: if new_sig { now } else { active.sig_since },
            kem_since: if new_kem { now } else { active.kem_since },
            succession: None,
            token: None,
            challenge: None,
            ..active
        };
        change.add(self.issuer(), &stated)?;
        change.audit(now, party.as_str(), "rolled-over", &serial, &format!("after {old}"))?;
        let mut sent = Sent::statements(vec![&stated.statement, self.authority.issuing()], None);
        sent.done = Done::RolledOver;
        Ok(sent)
    }

    /// A party says where it is reached, and brings the word of its old key for its new ones, which its peers want to see before they go
    /// over. Only with the key in force: who stole one that was rolled over sends nobody elsewhere.
    fn announced(
        &mut self,
        change: &Change<'_>,
        known: &Stated,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Sent, CentreError> {
        let Ok(answer) = KeyAnswer::decode(body) else { return Ok(Sent::error(SealedError::Unsupported)) };
        let (active, party) = (&known.statement, known.statement.subject());
        if known.standing != Standing::Active || answer.statements != [active.raw()] {
            return Ok(Sent::error(SealedError::Forbidden));
        }
        if let Some(proof) = &answer.succession {
            let before = active.previous().map(|serial| change.statement(serial)).transpose()?.flatten();
            let shown = before
                .is_some_and(|before| self.authority.succession(&before.statement, active, Some(proof), &[]).is_ok());
            if !shown {
                return Ok(Sent::error(SealedError::Forbidden));
            }
            change.set_succession(active.serial(), proof)?;
            change.audit(now, party.as_str(), "succession", &active.serial().0.to_string(), "")?;
        }
        let contact = change.contact(&party)?;
        if contact.host != answer.host {
            let host = answer.host.as_deref().unwrap_or("-");
            change.audit(now, party.as_str(), "reached-at", party.as_str(), host)?;
            change.set_contact(&party, &Contact { host: answer.host, ..contact })?;
        }
        Ok(Sent::ack(Vec::new()))
    }
}

/// The utility that a gateway belongs to: the one that its token named; else, as long as there is only one, that.
pub(super) fn utility_of(change: &Change<'_>, gateway: &PartyId) -> Result<Option<PartyId>, CentreError> {
    match change.contact(gateway)?.utility {
        Some(utility) => Ok(Some(utility)),
        None => Ok(change.sole_utility()?),
    }
}
