//! How somebody new becomes known: a token's request, a challenge, its answer (docs/secure-channel.md, Enrolment).

use rand_core::Rng as _;
use secure_http::{
    Draft, EnrolChallenge, EnrolConfirm, Enrolment, EnrolmentRequest, Kind, Refusal, SealedError, TokenSecret,
    UnixTime, key_id, seal,
};

use super::sealed::{Done, Sent};
use super::{BACKDATE_S, Centre, CentreError, Desk, Now, Stating, wrap};
use crate::exchange::{Refused, Response};
use crate::limits::{ATTEMPTS_PER_HOUR, PENDING_S};
use crate::store::{Change, Contact, Standing, Stated, Token};

const HOUR_S: u64 = 3600;

impl Centre {
    /// A request made with a token. All that fails is refused alike; who has the token finds the reason in the audit log.
    pub(super) fn enrol(&mut self, body: &[u8], now: Now) -> Result<Response, Refused> {
        let request = EnrolmentRequest::parse(body)?;
        let now = now.unix();
        let token = self.attempt(&request, now)?;
        let enrolment = match self.desk.open_enrolment(&request, &token) {
            Some(enrolment) => enrolment,
            None => return Err(Refusal::Refused.into()),
        };
        let change = self.store.begin().map_err(|error| fault(&error.into()))?;
        let bytes = match self.desk.state_new(&change, token, &enrolment, now) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(Refusal::Refused.into()),
            Err(error) => return Err(fault(&error)),
        };
        change.commit().map_err(|error| fault(&error.into()))?;
        self.desk.stored_mark = self.desk.sequence.mark();
        self.counts.sealed += 1;
        Ok(Response::sealed(bytes))
    }

    /// Counts the attempt before anything is computed: on the disk, so that a restart gives none back.
    fn attempt(&mut self, request: &EnrolmentRequest<'_>, now: UnixTime) -> Result<Token, Refused> {
        let change = self.store.begin().map_err(|error| fault(&error.into()))?;
        let found = change.token(request.token()).map_err(|error| fault(&error.into()))?;
        let Some(mut token) = found.filter(|token| token.state == "open" && now < token.until) else {
            return Err(Refusal::Refused.into());
        };
        if now.0 >= token.hour.0 + HOUR_S {
            (token.hour, token.attempts) = (now, 0);
        }
        if token.attempts >= ATTEMPTS_PER_HOUR {
            return Err(Refused::TooOften((token.hour.0 + HOUR_S).saturating_sub(now.0).max(1)));
        }
        token.attempts += 1;
        let detail = format!("attempt {}", token.attempts);
        let stored = change
            .put_token(&token)
            .and_then(|()| change.audit(now, "stranger", "enrolment-attempt", &token.id.to_string(), &detail))
            .and_then(|()| change.commit());
        stored.map_err(|error| fault(&error.into()))?;
        Ok(token)
    }
}

impl Desk {
    fn open_enrolment(&self, request: &EnrolmentRequest<'_>, token: &Token) -> Option<Enrolment> {
        let previous = self.keys.previous().map(|(key, _)| key);
        let mut keys = [Some(self.keys.kem()), previous].into_iter().flatten();
        let key = keys.find(|key| key_id(key.public().to_bytes()) == request.recipient_kid())?;
        let secret = TokenSecret::from_bytes(*wrap(&token.wrapped?, token.id, &self.storage));
        // A storage key that is not the one the token was wrapped with gives another name.
        if secret.id() != token.id {
            tracing::error!(token = %token.id, "a token does not unwrap: the storage key is another");
            return None;
        }
        request.open(key, &secret).ok()
    }

    /// States the new keys, pending, and gives the answer with the challenge. None, and nothing changed but the audit log, where the token
    /// may not do that.
    fn state_new(
        &mut self,
        change: &Change<'_>,
        mut token: Token,
        enrolment: &Enrolment,
        now: UnixTime,
    ) -> Result<Option<Vec<u8>>, CentreError> {
        let party = enrolment.party;
        let active = change.active(&party)?;
        let why = if token.uuid.is_some_and(|uuid| uuid != party) {
            Some("the token is another party's")
        } else if party == self.id || (active.is_some() && !token.renews) {
            Some("the party has a statement in force")
        } else if change.is_anothers(&party, key_id(enrolment.sig.to_bytes()))? {
            Some("the key is another party's")
        } else {
            None
        };
        if let Some(why) = why {
            tracing::info!(%party, token = %token.id, why, "enrolment refused");
            return Ok(None);
        }
        change.drop_pending(UnixTime(now.0.saturating_sub(PENDING_S)), Some(token.id))?;
        let stating = Stating {
            subject: party,
            role: token.role,
            sig: &enrolment.sig,
            kem: &enrolment.kem,
            previous: active.as_ref(),
            seconds: self.settings.statement_s - BACKDATE_S,
        };
        let statement = self.state(change, &stating, now)?;
        let mut challenge = [0; 16];
        self.rng.fill_bytes(&mut challenge);
        let serial = statement.serial();
        let stated = Stated {
            standing: Standing::Pending,
            made: now,
            sig_since: now,
            kem_since: now,
            lineage: serial,
            overlap_until: None,
            succession: None,
            token: Some(token.id),
            challenge: Some(challenge),
            statement,
        };
        change.add(self.issuer(), &stated)?;
        change.add_evidence(&party, serial, &enrolment.evidence, now)?;
        token.uuid = Some(party);
        change.put_token(&token)?;
        change.audit(now, party.as_str(), "stated-pending", &serial.0.to_string(), &token.id.to_string())?;
        let body = EnrolChallenge { statement: stated.statement.raw().to_vec(), challenge }.encode();
        let draft = Draft {
            kind: Kind::EnrolConfirm,
            answers: Some(enrolment.nonce),
            seq: self.next_seq(change)?,
            policy: self.policy.version(),
            issued: now,
            lifetime_s: self.policy.rules().message_s,
            body: &body,
        };
        let sealed = seal(&draft, (self.id, self.keys.sig()), (party, &enrolment.kem), &mut self.rng);
        match sealed {
            Ok(sealed) => Ok(Some(sealed.bytes)),
            Err(secure_http::SealError::Crypto(error)) => Err(error.into()),
            Err(_) => Err(CentreError::Incomplete("room for an answer")),
        }
    }

    /// The challenge came back, signed with the new key: the statement is in force, its token used, and one that it takes the place of
    /// revoked, all at once.
    pub(super) fn confirm(
        &mut self,
        change: &Change<'_>,
        from: &Stated,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Sent, CentreError> {
        let Ok(confirm) = EnrolConfirm::decode(body) else { return Ok(Sent::error(SealedError::Unsupported)) };
        let right = from.challenge.is_some_and(|wanted| secure_http::crypto::equal(&wanted, &confirm.challenge));
        if !right {
            return Ok(Sent::error(SealedError::Forbidden));
        }
        let mut sent = Sent::statements(vec![&from.statement, self.authority.issuing()], None);
        // The answer to the first may have been lost on the way.
        if from.standing == Standing::Active {
            return Ok(sent);
        }
        let (party, serial) = (from.statement.subject(), from.statement.serial());
        let token = from.token.map(|id| change.token(id)).transpose()?.flatten();
        let Some(mut token) = token.filter(|token| token.state == "open") else {
            return Ok(Sent::error(SealedError::Forbidden));
        };
        if let Some(old) = change.active(&party)? {
            if !token.renews {
                return Ok(Sent::error(SealedError::Forbidden));
            }
            change.revoke(&old, "enrolled anew", now)?;
            let detail = format!("enrolled anew as {}", serial.0);
            change.audit(now, "kmc", "revoked", &old.statement.serial().0.to_string(), &detail)?;
            sent.renewed.revocations = Some(self.next_revocations(change, now)?);
        }
        change.set_standing(serial, Standing::Active, None)?;
        // Where it is reached it has to say anew: it may be another machine.
        change.set_contact(&party, &Contact { utility: token.utility, host: None })?;
        (token.state, token.wrapped) = ("used".to_owned(), None);
        change.put_token(&token)?;
        change.audit(now, party.as_str(), "enrolled", &serial.0.to_string(), &token.premises)?;
        sent.done = Done::Enrolled;
        Ok(sent)
    }
}

/// Logs what went wrong inside, which nobody outside is told.
pub(super) fn fault(error: &CentreError) -> Refused {
    tracing::error!(%error, "request not answered");
    Refused::Fault
}
