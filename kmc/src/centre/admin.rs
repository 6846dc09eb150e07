//! What an operator asks of a running centre.

use secure_http::limits::REVOKED_MAX;
use secure_http::{
    EnrolmentToken, Fingerprint, PartyId, Policy, RevocationList, Role, Rules, Serial, TokenError, TokenId,
    TokenSecret, UnixTime,
};

use super::{Centre, CentreError, DAY_S, Desk, wrap};
use crate::limits::{TEXT_BYTES_MAX, TOKEN_DAYS_MAX, TOKENS_OPEN_MAX};
use crate::store::{AuditEntry, Change, Contact, Standing, Stated, StoreError, Token};

/// Why an operator's wish is not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// No such token, statement or party in force.
    #[error("there is no {0}")]
    Unknown(String),
    /// It can't be as asked.
    #[error("{0}")]
    Wrong(&'static str),
    /// A text that is wrong, and where.
    #[error("{0}")]
    Text(String),
    /// Too many of something.
    #[error("{0}")]
    Full(&'static str),
    /// The address in the configuration can't stand in a token.
    #[error("the centre's own address (kmc.host): {0}")]
    Host(#[from] TokenError),
    /// The centre.
    #[error(transparent)]
    Centre(#[from] CentreError),
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self::Centre(error.into())
    }
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it enrols: a gateway or a utility.
    pub role: Role,
    /// Whom; the first request made with it says so where none is named.
    pub uuid: Option<PartyId>,
    /// The utility that a gateway is to belong to; where none is named and there is only one, that.
    pub utility: Option<PartyId>,
    /// Where.
    pub premises: String,
    /// How long it is good (days).
    pub days: u32,
}

impl Centre {
    /// Makes a token. Its secret is in what is given back and, wrapped, in the database, and nowhere else.
    ///
    /// # Errors
    /// A role or text that can't be, too many open tokens, or the database.
    pub fn new_token(
        &mut self,
        wanted: &NewToken,
        actor: &str,
        now: UnixTime,
    ) -> Result<(Token, EnrolmentToken), AdminError> {
        let change = self.store.begin()?;
        let made = self.desk.make_token(&change, wanted, actor, now)?;
        change.commit()?;
        Ok(made)
    }

    /// The newest tokens.
    ///
    /// # Errors
    /// The database.
    pub fn tokens(&mut self) -> Result<Vec<Token>, AdminError> {
        Ok(self.store.begin()?.tokens()?)
    }

    /// Makes an open token worthless.
    ///
    /// # Errors
    /// No open token of that name, or the database.
    pub fn revoke_token(&mut self, id: TokenId, actor: &str, now: UnixTime) -> Result<Token, AdminError> {
        let change = self.store.begin()?;
        let found = change.token(id)?.filter(|token| token.state == "open");
        let mut token = found.ok_or_else(|| AdminError::Unknown(format!("open token {id}")))?;
        (token.state, token.wrapped) = ("revoked".to_owned(), None);
        change.put_token(&token)?;
        // What it has begun does not come to an end.
        change.drop_pending(UnixTime(0), Some(id))?;
        change.audit(now, actor, "token-revoked", &id.to_string(), "")?;
        change.commit()?;
        Ok(token)
    }

    /// Statements whose subject begins so, newest first.
    ///
    /// # Errors
    /// The database.
    pub fn statements(&mut self, subject: &str) -> Result<Vec<Stated>, AdminError> {
        Ok(self.store.begin()?.statements(subject)?)
    }

    /// The statement of that serial, or the one in force of that party.
    ///
    /// # Errors
    /// There is none, or the database.
    pub fn statement(&mut self, which: &str) -> Result<Stated, AdminError> {
        let change = self.store.begin()?;
        let found = match (which.parse::<u64>(), which.parse::<PartyId>()) {
            (Ok(serial), _) if i64::try_from(serial).is_ok() => change.statement(Serial(serial))?,
            (_, Ok(party)) => change.active(&party)?,
            _ => None,
        };
        found.ok_or_else(|| AdminError::Unknown(format!("statement {which}")))
    }

    /// Revokes a statement: from now on nothing signed with its key is taken here, and everybody learns it from the list.
    ///
    /// # Errors
    /// No such statement, one of the centre's own, one revoked already, a full list, or the database.
    pub fn revoke(&mut self, which: &str, reason: &str, actor: &str, now: UnixTime) -> Result<Stated, AdminError> {
        let stated = self.statement(which)?;
        let change = self.store.begin()?;
        let list = self.desk.revoke_stated(&change, &stated, reason, actor, now)?;
        change.commit()?;
        self.desk.revocations = list;
        Ok(stated)
    }

    /// What is known of a party beside its statements.
    ///
    /// # Errors
    /// The database.
    pub fn contact(&mut self, party: &PartyId) -> Result<Contact, AdminError> {
        Ok(self.store.begin()?.contact(party)?)
    }

    /// The policy in force.
    pub fn policy(&self) -> Option<&Policy> {
        self.desk.policy.policy()
    }

    /// Signs a policy with these rules under the next version.
    ///
    /// # Errors
    /// Rules below the floor, or the database.
    pub fn set_policy(
        &mut self,
        rules: &Rules,
        seconds: u64,
        actor: &str,
        now: UnixTime,
    ) -> Result<&Policy, AdminError> {
        let change = self.store.begin()?;
        let policy = self.desk.make_policy(&change, rules, seconds, actor, now)?;
        change.commit()?;
        self.desk.policy = secure_http::PolicyState::new(Some(policy));
        self.desk.policy.policy().ok_or(AdminError::Wrong("no policy"))
    }

    /// The newest entries of the audit log from then on, and the first that does not follow from the one before, if any.
    ///
    /// # Errors
    /// The database.
    pub fn audit(&mut self, since: UnixTime) -> Result<(Vec<AuditEntry>, Option<u64>), AdminError> {
        let change = self.store.begin()?;
        Ok((change.audit_log(since)?, change.audit_break()?))
    }

    /// What there is in the database, for status and metrics: statements in force by role, open tokens, evidence, last audit entry.
    ///
    /// # Errors
    /// The database.
    pub fn holdings(&mut self, now: UnixTime) -> Result<Holdings, AdminError> {
        let change = self.store.begin()?;
        Ok(Holdings {
            active: change.active_counts()?,
            open_tokens: change.open_tokens(now)?,
            evidence: change.evidence_count()?,
            audit: change.last_audit()?,
            revoked: change.revoked(now)?.len(),
        })
    }

    /// Root, issuing and own statement as they are now.
    pub fn own_statements(&self) -> [&secure_http::Statement; 3] {
        [self.desk.authority.root(), self.desk.authority.issuing(), &self.desk.own.statement]
    }

    /// Version of the revocation list.
    pub fn revocations_version(&self) -> u64 {
        self.desk.revocations.version()
    }

    /// How many sealed messages got how far.
    pub fn steps(&self) -> secure_http::Steps {
        self.receiver.steps()
    }
}

/// What operators may do and, within bounds, utilities: as part of a change that is under way, taken over when that is on the disk.
impl Desk {
    pub(super) fn make_token(
        &mut self,
        change: &Change<'_>,
        wanted: &NewToken,
        actor: &str,
        now: UnixTime,
    ) -> Result<(Token, EnrolmentToken), AdminError> {
        if !matches!(wanted.role, Role::Gateway | Role::Utility) {
            return Err(AdminError::Wrong("a token is for a gateway or a utility"));
        }
        if wanted.premises.len() > TEXT_BYTES_MAX || wanted.premises.chars().any(char::is_control) {
            return Err(AdminError::Wrong("premises: at most 256 bytes, without control characters"));
        }
        if !(1..=TOKEN_DAYS_MAX).contains(&wanted.days) {
            return Err(AdminError::Wrong("days: expected 1 to 366"));
        }
        let utility = match (wanted.role, &wanted.utility) {
            (Role::Gateway, Some(utility)) => match change.active(utility)?.map(|found| found.statement.role()) {
                Some(Role::Utility) => Some(*utility),
                _ => return Err(AdminError::Unknown(format!("utility {utility} in force"))),
            },
            (Role::Gateway, None) => change.sole_utility()?,
            (_, Some(_)) => return Err(AdminError::Wrong("a utility belongs to no other")),
            (_, None) => None,
        };
        if change.open_tokens(now)? >= TOKENS_OPEN_MAX {
            return Err(AdminError::Full("too many tokens are open"));
        }
        let secret = TokenSecret::generate(&mut self.rng);
        let fingerprint = Fingerprint::of(self.authority.root().sig());
        let printed = EnrolmentToken::new(&self.settings.host, secret.clone(), fingerprint)?;
        let renews = match &wanted.uuid {
            Some(uuid) => change.active(uuid)?.is_some(),
            None => false,
        };
        let token = Token {
            id: secret.id(),
            wrapped: Some(*wrap(secret.as_bytes(), secret.id(), &self.storage)),
            role: wanted.role,
            uuid: wanted.uuid,
            renews,
            premises: wanted.premises.clone(),
            state: "open".to_owned(),
            made: now,
            until: now.plus(u64::from(wanted.days) * DAY_S),
            hour: UnixTime(0),
            attempts: 0,
            utility,
        };
        change.put_token(&token)?;
        change.audit(now, actor, "token-made", &token.id.to_string(), &token.premises)?;
        Ok((token, printed))
    }

    pub(super) fn revoke_stated(
        &self,
        change: &Change<'_>,
        stated: &Stated,
        reason: &str,
        actor: &str,
        now: UnixTime,
    ) -> Result<RevocationList, AdminError> {
        if reason.len() > TEXT_BYTES_MAX || reason.chars().any(char::is_control) {
            return Err(AdminError::Wrong("reason: at most 256 bytes, without control characters"));
        }
        if !matches!(stated.statement.role(), Role::Gateway | Role::Utility) {
            return Err(AdminError::Wrong("the centre does not revoke itself"));
        }
        if stated.standing == Standing::Revoked {
            return Err(AdminError::Wrong("it is revoked already"));
        }
        // The statement, and those before it under which its keys still had a say.
        let added = 1 + change.revoked_with(stated, now)?.len();
        if change.revoked(now)?.len() + added > REVOKED_MAX {
            return Err(AdminError::Full(
                "the revocation list is full: there is no room for all statements of that party",
            ));
        }
        change.revoke(stated, reason, now)?;
        let list = self.next_revocations(change, now)?;
        let (serial, party) = (stated.statement.serial().0, stated.statement.subject());
        change.audit(now, actor, "revoked", &format!("{serial} ({party})"), reason)?;
        tracing::info!(serial, %party, reason, actor, "revoked");
        Ok(list)
    }

    pub(super) fn make_policy(
        &self,
        change: &Change<'_>,
        rules: &Rules,
        seconds: u64,
        actor: &str,
        now: UnixTime,
    ) -> Result<Policy, AdminError> {
        let policy = self.next_policy(seconds, rules, now)?;
        change.add_policy(&policy, now)?;
        change.audit(now, actor, "policy-set", &policy.version().to_string(), "")?;
        Ok(policy)
    }
}

/// See [`Centre::holdings`].
#[derive(Clone, Debug)]
pub struct Holdings {
    /// Statements in force: number of the role, how many.
    pub active: Vec<(u64, u64)>,
    /// Tokens that could still be used.
    pub open_tokens: u32,
    /// Messages archived.
    pub evidence: u64,
    /// Newest entry of the audit log.
    pub audit: Option<AuditEntry>,
    /// Statements on the revocation list.
    pub revoked: usize,
}
