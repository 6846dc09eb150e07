//! The centre without sockets and clocks: what it knows, what it answers, what runs out. One request at a time; each is one change of the
//! database, which is on the disk before the answer goes out.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use getrandom::SysRng;
use jiff::Timestamp;
use rand_core::UnwrapErr;
use secure_http::crypto::{CryptoError, SigningKey};
use secure_http::{
    Admission, Authority, CookieSecrets, Flood, KeyAnswer, KeyId, OwnKeys, PartyId, Policy, PolicyError, PolicyState,
    Receiver, RevocationError, RevocationList, Role, Rules, Sequence, StatementDraft, StatementError, UnixTime,
    Validity, key_id, peek_issuer,
};
use zeroize::Zeroizing;

use crate::exchange::{self, Endpoint, Refused, Request, Response};
use crate::keyring::{KeyBytes, Keyring, KeyringError, Purpose};
use crate::limits::{BACKDATE_S, HOUSEKEEPING_S, ISSUING_WARN_DAYS, LOAD, PENDING_S, POLICY_DAYS};
use crate::store::{Change, Standing, Stated, Store, StoreError, issuer_id};

mod admin;
mod enrol;
mod founding;
mod orders;
mod sealed;
#[cfg(test)]
mod tests;

pub use admin::{AdminError, NewToken};
pub use founding::{Founding, RootError, export_root, found, import_root, recover, sign_issuing};
pub use orders::Power;

const DAY_S: u64 = 86_400;
/// The number in the database up to which the centre's own messages may be numbered.
const SEQUENCE: &str = "sequence";

/// Both clocks, read once a turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Time since boot, sleep included.
    pub boot: Duration,
    /// Wall clock.
    pub wall: Timestamp,
}

impl Now {
    /// Seconds since 1970; 0 for a clock before that.
    pub fn unix(self) -> UnixTime {
        UnixTime(u64::try_from(self.wall.as_second()).unwrap_or(0))
    }
}

/// Why the centre can't do what it has to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CentreError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key file.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// A statement that it would issue, or one of its own.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// A policy that it would issue.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A list that it would issue.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    /// A computation.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Something that `init` makes is missing in the database.
    #[error("the database holds no {0}")]
    Incomplete(&'static str),
}

/// What an operator may set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where gateways reach the centre, for tokens.
    pub host: String,
    /// Lifetime of a party's statement (seconds).
    pub statement_s: u64,
    /// How long messages of rolled-over keys are taken (seconds).
    pub overlap_s: u64,
    /// How long evidence is kept (seconds).
    pub evidence_s: u64,
    /// Messages archived at most.
    pub evidence_rows: u64,
    /// Requests of one peer a minute.
    pub per_minute: u32,
    /// Whether cookies are wanted at all times.
    pub always_cookies: bool,
    /// What utilities may order.
    pub utilities_may: BTreeSet<Power>,
}

/// What became of requests since the start, for /metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered by a signed object.
    pub broadcasts: u64,
    /// Answered by a sealed message that is no error.
    pub sealed: u64,
    /// Answered by a sealed error.
    pub sealed_errors: u64,
    /// Refused before the sender was known.
    pub refused: u64,
    /// Told to come with a cookie.
    pub challenged: u64,
    /// Told to come later.
    pub limited: u64,
    /// Faults of this centre.
    pub faults: u64,
    /// Statements that became active by enrolment.
    pub enrolled: u64,
    /// Statements that became active by roll-over.
    pub rolled_over: u64,
    /// Orders of utilities that were carried out.
    pub orders_done: u64,
    /// Orders of utilities that were refused, with a reason.
    pub orders_refused: u64,
}

/// All but the database: what is in memory, and made anew from it at each start.
struct Desk {
    settings: Settings,
    keyring: Keyring,
    rng: UnwrapErr<SysRng>,
    id: PartyId,
    authority: Authority,
    issuing: SigningKey,
    own: Stated,
    keys: OwnKeys,
    storage: KeyBytes,
    policy: PolicyState,
    revocations: RevocationList,
    sequence: Sequence,
    /// The mark that is on the disk.
    stored_mark: u64,
}

/// The key management centre.
pub struct Centre {
    store: Store,
    desk: Desk,
    receiver: Receiver,
    cookies: CookieSecrets,
    flood: Flood,
    counts: Counts,
    housekeeping_due: Duration,
    /// What goes wrong now, for status and log.
    troubles: Vec<String>,
}

impl Centre {
    /// From its directory. What has run out since is renewed.
    ///
    /// # Errors
    /// No centre there, another process has it, a key is missing, or the files do not belong together.
    pub fn open(mut store: Store, keyring: Keyring, settings: Settings, now: Now) -> Result<Self, CentreError> {
        let change = store.begin()?;
        let desk = Desk::load(&change, keyring, settings, now)?;
        drop(change);
        let mut rng = UnwrapErr(SysRng);
        let mut centre = Self {
            store,
            receiver: Receiver::new(),
            cookies: CookieSecrets::new(now.unix(), &mut rng),
            flood: Flood::new(desk.settings.per_minute, LOAD),
            desk,
            counts: Counts::default(),
            housekeeping_due: Duration::ZERO,
            troubles: Vec::new(),
        };
        centre.handle_timeout(now);
        Ok(centre)
    }

    /// Its name.
    pub fn id(&self) -> PartyId {
        self.desk.id
    }

    /// What became of requests since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What goes wrong now.
    pub fn troubles(&self) -> &[String] {
        &self.troubles
    }

    /// Where gateways reach it, once the port is known.
    pub fn set_host(&mut self, host: String) {
        self.desk.settings.host = host;
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next, as time since boot.
    pub fn poll_timeout(&self) -> Duration {
        self.housekeeping_due
    }

    /// Renews what is half over and removes what has run out.
    pub fn handle_timeout(&mut self, now: Now) {
        if now.boot < self.housekeeping_due {
            return;
        }
        self.housekeeping_due = now.boot + Duration::from_secs(HOUSEKEEPING_S);
        self.cookies.turn(now.unix(), &mut self.desk.rng);
        let mut troubles = Vec::new();
        if let Err(error) = self.housekeeping(now.unix()) {
            troubles.push(error.to_string());
        }
        let issuing = self.desk.authority.issuing().validity();
        if !issuing.contains(now.unix().plus(ISSUING_WARN_DAYS * DAY_S)) {
            let days = issuing.until().0.saturating_sub(now.unix().0) / DAY_S;
            troubles.push(format!("the issuing key ends in {days} days: heg-kmc root sign-issuing"));
        }
        for trouble in troubles.iter().filter(|t| !self.troubles.contains(t)) {
            tracing::warn!("{trouble}");
        }
        self.troubles = troubles;
    }

    fn housekeeping(&mut self, now: UnixTime) -> Result<(), CentreError> {
        let change = self.store.begin()?;
        let renewed = self.desk.renew(&change, now)?;
        change.drop_pending(UnixTime(now.0.saturating_sub(PENDING_S)), None)?;
        let oldest = UnixTime(now.0.saturating_sub(self.desk.settings.evidence_s));
        let pruned = change.prune_evidence(oldest, self.desk.settings.evidence_rows)?;
        change.commit()?;
        self.desk.take(renewed);
        self.desk.keys.retire(now);
        if pruned > 0 {
            tracing::debug!(pruned, "evidence removed");
        }
        Ok(())
    }

    /// Answers a request from outside, with so many more waiting.
    pub fn handle(&mut self, request: &Request, waiting: usize, now: Now) -> Response {
        let result = self.answer(request, waiting, now);
        match &result {
            Ok(_) => {}
            Err(Refused::Cookie(_)) => self.counts.challenged += 1,
            Err(Refused::TooOften(_)) => self.counts.limited += 1,
            Err(Refused::Fault) => self.counts.faults += 1,
            Err(refused) => {
                self.counts.refused += 1;
                self.flood.refused(now.boot.as_secs());
                tracing::debug!(peer = %request.peer, path = request.path, %refused, "request refused");
            }
        }
        result.unwrap_or_else(Response::from)
    }

    fn answer(&mut self, request: &Request, waiting: usize, now: Now) -> Result<Response, Refused> {
        let loaded = self.flood.is_under_load(waiting, now.boot.as_secs()) || self.desk.settings.always_cookies;
        let endpoint = exchange::endpoint(request)?;
        if request.body.len() > secure_http::limits::MESSAGE_BYTES_MAX {
            return Err(secure_http::Refusal::TooLong.into());
        }
        self.flood.count(request.peer, now.boot.as_secs()).map_err(Refused::TooOften)?;
        let broadcast = match endpoint {
            Endpoint::Root => Some((self.desk.root_answer(), "application/cbor")),
            Endpoint::Policy => {
                let policy = self.desk.policy.policy().ok_or(Refused::Fault)?;
                Some((policy.raw().to_vec(), secure_http::code_points::CONTENT_TYPE_SIGN1))
            }
            Endpoint::Revocations => {
                Some((self.desk.revocations.raw().to_vec(), secure_http::code_points::CONTENT_TYPE_SIGN1))
            }
            _ => None,
        };
        if let Some((body, content_type)) = broadcast {
            self.counts.broadcasts += 1;
            return Ok(self.broadcast(request, body, content_type));
        }
        if loaded {
            self.ask_for_cookie(request, now)?;
        }
        match endpoint {
            Endpoint::Enrol => self.enrol(&request.body, now),
            _ => self.sealed(endpoint, &request.body, loaded, now),
        }
    }

    /// A signed object: any cache may keep it, and who has it already gets no body.
    fn broadcast(&self, request: &Request, body: Vec<u8>, content_type: &'static str) -> Response {
        let digest = secure_http::crypto::sha256(&[&body]);
        let etag = format!("\"{}\"", hex(&digest[..16]));
        let max_age_s = Some(self.desk.policy.rules().refresh_s.min(300));
        if request.if_none_match.as_deref().is_some_and(|tags| exchange::matches(tags, &etag)) {
            return Response { status: 304, etag: Some(etag), max_age_s, ..Response::default() };
        }
        Response { status: 200, content_type, etag: Some(etag), max_age_s, body, ..Response::default() }
    }

    fn ask_for_cookie(&mut self, request: &Request, now: Now) -> Result<(), Refused> {
        self.cookies.turn(now.unix(), &mut self.desk.rng);
        let issuer = peek_issuer(&request.body);
        let header = request.cookie.as_deref().unwrap_or_default();
        let served = match self.cookies.check(header, issuer.as_ref(), request.peer, &request.body) {
            Admission::Known => true,
            Admission::Address => self.flood.admit_stranger(request.peer, now.boot.as_secs()),
            Admission::None => false,
        };
        if served { Ok(()) } else { Err(Refused::Cookie(self.challenge(request.peer))) }
    }

    fn challenge(&self, peer: IpAddr) -> String {
        self.cookies.challenge(peer)
    }
}

/// What a renewal has made, to be taken over once it is on the disk.
#[derive(Default)]
struct Renewed {
    own: Option<(Stated, OwnKeys)>,
    policy: Option<Policy>,
    revocations: Option<RevocationList>,
}

impl Desk {
    fn load(change: &Change<'_>, keyring: Keyring, settings: Settings, now: Now) -> Result<Self, CentreError> {
        let part = |role, name| change.own(role)?.ok_or(CentreError::Incomplete(name));
        let root = part(Role::Root, "root statement")?.statement;
        let issuing = part(Role::Issuing, "issuing statement")?.statement;
        let own = part(Role::Kmc, "statement of its own")?;
        // Our own files: only that they belong together is asked, since a centre whose issuing key has ended must still say so.
        let fingerprint = secure_http::Fingerprint::of(root.sig());
        let authority = Authority::establish(fingerprint, root.raw(), issuing.raw(), None)?;
        let policy = change.policy()?.ok_or(CentreError::Incomplete("policy"))?;
        let revocations = change.revocations()?.ok_or(CentreError::Incomplete("revocation list"))?;
        let mark = change.number(SEQUENCE)?;
        let keys = own_keys(change, &keyring, &own, policy.rules(), now.unix())?;
        Ok(Self {
            issuing: keyring.signing(Purpose::Issuing, issuing.kid())?,
            storage: keyring.keys(Purpose::Storage)?.swap_remove(0),
            keyring,
            settings,
            rng: UnwrapErr(SysRng),
            id: root.kmc(),
            authority,
            own,
            keys,
            policy: PolicyState::new(Some(policy)),
            revocations,
            sequence: Sequence::after(mark),
            stored_mark: mark,
        })
    }

    /// The identifier of the issuing key, as the issuer of statements.
    fn issuer(&self) -> KeyId {
        issuer_id(self.authority.issuing())
    }

    fn root_answer(&self) -> Vec<u8> {
        let statements =
            [&self.own.statement, self.authority.issuing(), self.authority.root()].map(|s| s.raw().to_vec());
        let revocations = self.revocations.version();
        KeyAnswer { statements: statements.into(), succession: None, revocations, host: None, path: Vec::new() }
            .encode()
    }

    /// What of the centre's own is half over, or no longer signed with the issuing key in use, is made anew.
    fn renew(&mut self, change: &Change<'_>, now: UnixTime) -> Result<Renewed, CentreError> {
        let mut renewed = Renewed::default();
        if !self.authority.holds(now) {
            return Err(StatementError::NotValid.into());
        }
        let rules = self.policy.rules();
        let policy = self.policy.policy().ok_or(CentreError::Incomplete("policy"))?;
        if policy.validity().half() <= now || Policy::verify(policy.raw(), &self.authority).is_err() {
            let policy = self.next_policy(policy.validity().seconds(), &rules, now)?;
            change.add_policy(&policy, now)?;
            change.audit(now, "kmc", "policy-renewed", &policy.version().to_string(), "")?;
            renewed.policy = Some(policy);
        }
        // Signed anew each week, so that what a thief holds back shows its age.
        let aged = self.revocations.issued().plus(7 * DAY_S) <= now;
        if aged || RevocationList::verify(self.revocations.raw(), &self.authority).is_err() {
            renewed.revocations = Some(self.next_revocations(change, now)?);
        }
        let statement = &self.own.statement;
        let new_kem = self.own.kem_since.plus(rules.kem_key_s) <= now;
        if new_kem
            || statement.validity().half() <= now
            || self.authority.statement(statement.raw(), Some(now)).is_err()
        {
            renewed.own = Some(self.renew_own(change, new_kem, &rules, now)?);
        }
        Ok(renewed)
    }

    /// The centre's own next statement. With a new sealing key, and a new signing key when that has had its time too, each on the disk
    /// before the statement.
    fn renew_own(
        &mut self,
        change: &Change<'_>,
        new_kem: bool,
        rules: &Rules,
        now: UnixTime,
    ) -> Result<(Stated, OwnKeys), CentreError> {
        let new_sig = new_kem && self.own.sig_since.plus(rules.sig_key_s) <= now;
        let old = &self.own.statement;
        let mut sig = old.kid();
        let mut kem = key_id(old.kem().ok_or(CentreError::Incomplete("sealing key of its own"))?.to_bytes());
        if new_kem {
            let key = secure_http::crypto::KemKey::generate(&mut self.rng);
            self.keyring.add(Purpose::Kem, &key.to_bytes(), &mut self.rng)?;
            kem = key_id(key.public().to_bytes());
        }
        if new_sig {
            let key = SigningKey::generate(&mut self.rng);
            self.keyring.add(Purpose::Sig, &key.to_bytes(), &mut self.rng)?;
            sig = key_id(key.public().to_bytes());
        }
        let (sig, kem) = (self.keyring.signing(Purpose::Sig, sig)?, self.keyring.sealing(kem)?);
        let issuing = self.authority.issuing().validity();
        let statement = self.state(
            change,
            &Stating {
                subject: self.id,
                role: Role::Kmc,
                sig: sig.public(),
                kem: kem.public(),
                previous: Some(&self.own),
                seconds: secure_http::limits::STATEMENT_S_MAX - BACKDATE_S,
            },
            now,
        )?;
        debug_assert!(issuing.contains(statement.validity().from()));
        let stated = Stated {
            standing: Standing::Active,
            made: now,
            sig_since: if new_sig { now } else { self.own.sig_since },
            kem_since: if new_kem { now } else { self.own.kem_since },
            lineage: self.own.lineage,
            overlap_until: None,
            succession: None,
            token: None,
            challenge: None,
            statement,
        };
        change.set_standing(self.own.statement.serial(), Standing::Superseded, None)?;
        change.add(self.issuer(), &stated)?;
        change.audit(now, "kmc", "own-statement", self.id.as_str(), if new_kem { "new keys" } else { "" })?;
        let keys = own_keys(change, &self.keyring, &stated, rules, now)?;
        Ok((stated, keys))
    }

    /// Takes over what is on the disk now.
    fn take(&mut self, renewed: Renewed) {
        if let Some((own, keys)) = renewed.own {
            (self.own, self.keys) = (own, keys);
        }
        if let Some(policy) = renewed.policy {
            self.policy = PolicyState::new(Some(policy));
        }
        if let Some(list) = renewed.revocations {
            self.revocations = list;
        }
    }

    fn next_policy(&self, seconds: u64, rules: &Rules, now: UnixTime) -> Result<Policy, CentreError> {
        issue_policy(self.id, self.policy.version() + 1, seconds, rules, &self.issuing, now)
    }

    /// The list of what is revoked now, under the next version.
    fn next_revocations(&self, change: &Change<'_>, now: UnixTime) -> Result<RevocationList, CentreError> {
        let version = self.revocations.version() + 1;
        let list = RevocationList::issue(self.id, version, now, change.revoked(now)?, &self.issuing)?;
        change.add_revocations(&list, now)?;
        Ok(list)
    }

    /// Issues a party's statement with the next number. Not stored yet.
    fn state(
        &self,
        change: &Change<'_>,
        stating: &Stating<'_>,
        now: UnixTime,
    ) -> Result<secure_http::Statement, CentreError> {
        let issuing = self.authority.issuing().validity();
        let from = UnixTime(now.0.saturating_sub(BACKDATE_S)).max(issuing.from());
        if !issuing.contains(now) {
            return Err(StatementError::NotValid.into());
        }
        let validity = Validity::new(from, now.plus(stating.seconds)).ok_or(StatementError::NotValid)?;
        let draft = StatementDraft {
            kmc: self.id,
            subject: stating.subject,
            role: stating.role,
            serial: change.next_serial()?,
            validity,
            sig: stating.sig,
            kem: Some(stating.kem),
            previous: stating.previous.map(|stated| stated.statement.serial()),
            link: change.link_of(self.issuer())?,
        };
        Ok(draft.issue(&self.issuing)?)
    }

    /// The next number of the centre's own messages; on the disk with this change, if it has to be.
    fn next_seq(&mut self, change: &Change<'_>) -> Result<u64, StoreError> {
        let seq = self.sequence.take().ok_or(StoreError::Damaged("no number is left for messages"))?;
        if self.sequence.mark() != self.stored_mark {
            change.set_number(SEQUENCE, self.sequence.mark())?;
        }
        Ok(seq)
    }
}

/// What a new statement is to say.
struct Stating<'a> {
    subject: PartyId,
    role: Role,
    sig: &'a secure_http::crypto::VerifyingKey,
    kem: &'a secure_http::crypto::KemPublicKey,
    previous: Option<&'a Stated>,
    seconds: u64,
}

/// The keys that a statement of the centre's own names, and the sealing key before it as long as somebody may not know the new one: twice
/// the time after which everybody asks, and the skew.
fn own_keys(
    change: &Change<'_>,
    keyring: &Keyring,
    own: &Stated,
    rules: &Rules,
    now: UnixTime,
) -> Result<OwnKeys, CentreError> {
    let kid = |stated: &Stated| stated.statement.kem().map(|kem| key_id(kem.to_bytes()));
    let current = kid(own).ok_or(CentreError::Incomplete("sealing key of its own"))?;
    let until = own.kem_since.plus(2 * rules.refresh_s + rules.skew_s);
    let mut before = own.statement.previous();
    let mut previous = None;
    while let Some(serial) = before.filter(|_| now < until && previous.is_none()) {
        let Some(stated) = change.statement(serial)? else { break };
        if let Some(kid) = kid(&stated).filter(|kid| *kid != current) {
            previous = Some((keyring.sealing(kid)?, until));
        }
        before = stated.statement.previous();
    }
    let sig = keyring.signing(Purpose::Sig, own.statement.kid())?;
    Ok(OwnKeys::new(sig, keyring.sealing(current)?, previous))
}

fn issue_policy(
    kmc: PartyId,
    version: u32,
    seconds: u64,
    rules: &Rules,
    issuing: &SigningKey,
    now: UnixTime,
) -> Result<Policy, CentreError> {
    let from = UnixTime(now.0.saturating_sub(BACKDATE_S));
    let validity = Validity::new(from, from.plus(seconds)).ok_or(PolicyError::BelowFloor)?;
    Ok(Policy::issue(kmc, version, validity, rules, issuing)?)
}

/// The lifetime of a policy that nobody has set (seconds).
const POLICY_S: u64 = POLICY_DAYS * DAY_S;

/// A token's secret with the storage key taken off or put on: it is random, and no two tokens share a name.
fn wrap(secret: &[u8; 16], id: secure_http::TokenId, storage: &KeyBytes) -> Zeroizing<[u8; 16]> {
    let pad = secure_http::crypto::hmac_sha256(storage.as_ref(), &[b"heg-kmc-token/1", &id.0]);
    Zeroizing::new(std::array::from_fn(|i| secret[i] ^ pad[i]))
}

/// Bytes in hexadecimal, lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
