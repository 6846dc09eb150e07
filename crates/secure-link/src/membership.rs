//! A party's standing with its KMC: everything it keeps of it, and what is due next.
//!
//! One value, without clock, socket or file. The caller stores [`record`](Membership::record) whenever
//! [`take_unstored`](Membership::take_unstored) says so and before anything made since goes out, and lets it work:
//! ```text
//! due -> begin -> Job -> run (the only part that waits) -> Done -> finish -> News
//! ```
//! One job of maintenance is under way at a time; [`fetch`](Membership::fetch) and [`order`](Membership::order) may run beside it.

use core::time::Duration;
use std::sync::Arc;

use rand_core::CryptoRng;
use secure_http::crypto::{CryptoError, KemKey, SigningKey};
use secure_http::{
    Authority, Clock, Draft, EnrolmentToken, Fingerprint, Kind, Nonce, Order, Ordered, OwnKeys, PartyId, PolicyState,
    RevocationList, Role, SealError, Sealed, Sequence, Standing, Statement, TokenSecret, UnixTime, seal,
};

use crate::job::{Flow, Job, Snapshot};
use crate::kmc::{FetchedKey, Kmc};
use crate::limits::{PEER_AGAIN, PEER_AGAIN_LAST};

mod finish;
mod schedule;

/// What a finished job has changed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum News {
    /// The KMC has stated the keys: the party is a member.
    Enrolled,
    /// The time is known.
    ClockSet,
    /// Policy or revocation list are others, or were found unchanged.
    Refreshed {
        /// Whether a newer policy is followed.
        policy: bool,
        /// Whether a newer list is gone by.
        revocations: bool,
    },
    /// The own statement was asked for; whether it is another now.
    Restated(bool),
    /// New keys are in force.
    RolledOver,
    /// Peers have been told: the old key's word is at the KMC, and where this party is reached.
    Announced,
    /// The utility's statement was asked for; whether it is another now.
    Peer(bool),
    /// A statement that [`Membership::fetch`] asked for.
    Fetched(Box<FetchedKey>),
    /// What the KMC says to an order.
    Ordered(Ordered),
}

/// The utility, as a gateway knows it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its statement, with tables for its keys.
    pub statement: Statement,
    /// Host and port where it is reached, if it has said so.
    pub host: Option<String>,
}

/// Keys that are made and on disk, and not yet stated.
#[derive(Debug)]
pub(crate) struct NextKeys {
    /// None when only the sealing key changes.
    pub(crate) sig: Option<SigningKey>,
    pub(crate) kem: KemKey,
}

/// When the flows are due, by the time since boot. In memory: after a start all are.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    clock: Duration,
    refresh: Duration,
    peer: Duration,
    restate: Duration,
    roll_over: Duration,
    announce: Duration,
}

/// Why a message could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// All numbers have been given out.
    #[error("no number is left for a message")]
    Exhausted,
    /// A root or issuing key: nobody can seal to it.
    #[error("nothing can be sealed to that statement's key")]
    NoKey,
    /// See [`SealError`].
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What is wrong, and since when.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// For people.
    pub text: String,
    /// Time since boot of the first failure in a row.
    pub since: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Membership {
    pub(crate) id: PartyId,
    pub(crate) role: Role,
    pub(crate) host: String,
    pub(crate) fingerprint: Fingerprint,
    /// Until enrolled.
    pub(crate) token: Option<TokenSecret>,
    pub(crate) kmc: Option<Kmc>,
    pub(crate) keys: Arc<OwnKeys>,
    pub(crate) sig_since: UnixTime,
    pub(crate) kem_since: UnixTime,
    pub(crate) statement: Option<Statement>,
    pub(crate) next: Option<NextKeys>,
    /// The signing key before, until its word for the new keys is at the KMC. Also where only the sealing key changed.
    pub(crate) old_sig: Option<SigningKey>,
    pub(crate) policy: PolicyState,
    pub(crate) revocations: Option<RevocationList>,
    pub(crate) sequence: Sequence,
    pub(crate) clock: Clock,
    pub(crate) floor: UnixTime,
    pub(crate) peer: Option<Peer>,
    /// What the KMC was last told of where this party is reached; the outer none: nothing yet.
    pub(crate) announced: Option<Option<String>>,
    reachable: Option<String>,
    /// The wall clock is right here: the KMC's is not asked.
    keeps_time: bool,
    due: Due,
    /// Somebody wants other keys at once.
    roll_now: bool,
    /// The own statement may be another than is known here.
    restate_now: bool,
    /// The peer is asked for because of a message that may have been forged.
    suspects_peer: bool,
    /// So often in a row that was for nothing.
    false_alarms: u32,
    working: bool,
    failures: u32,
    not_before: Duration,
    /// The token was refused: only another one helps.
    refused: bool,
    trouble: Option<Trouble>,
    unstored: bool,
}

impl Membership {
    /// A party that is going to be a member: its keys are made here. Store it; its first job enrols.
    ///
    /// `clock` is [`Clock::unsynced`] on a machine without a clock to rely on, which then asks the KMC, or [`Clock::from_wall`].
    pub fn candidate<R: CryptoRng + ?Sized>(
        token: &EnrolmentToken,
        id: PartyId,
        role: Role,
        clock: Clock,
        rng: &mut R,
    ) -> Self {
        let keys = OwnKeys::generate(rng);
        let (host, fingerprint) = (token.host().to_owned(), token.fingerprint());
        let mut new = Self::bare(id, role, host, fingerprint, keys, Sequence::after(0), clock);
        new.token = Some(token.secret().clone());
        new.unstored = true;
        new
    }

    pub(crate) fn bare(
        id: PartyId,
        role: Role,
        host: String,
        fingerprint: Fingerprint,
        keys: OwnKeys,
        sequence: Sequence,
        clock: Clock,
    ) -> Self {
        Self {
            id,
            role,
            host,
            fingerprint,
            token: None,
            kmc: None,
            keys: Arc::new(keys),
            sig_since: UnixTime(0),
            kem_since: UnixTime(0),
            statement: None,
            next: None,
            old_sig: None,
            policy: PolicyState::default(),
            revocations: None,
            sequence,
            floor: clock.guess(Duration::ZERO),
            keeps_time: clock.is_synced(),
            clock,
            peer: None,
            announced: None,
            reachable: None,
            due: Due::default(),
            roll_now: false,
            restate_now: false,
            suspects_peer: false,
            false_alarms: 0,
            working: false,
            failures: 0,
            not_before: Duration::ZERO,
            refused: false,
            trouble: None,
            unstored: false,
        }
    }

    /// Whether the record has to be written now, before anything that was made since the last time goes out. Asking counts as writing.
    pub fn take_unstored(&mut self) -> bool {
        core::mem::take(&mut self.unstored)
    }

    /// The record could not be written: it still has to be.
    pub fn not_stored(&mut self) {
        self.unstored = true;
    }

    /// Where others reach this party, from the configuration: host or address with port, or none. The KMC is told when it changes.
    pub fn set_reachable(&mut self, host: Option<String>) {
        self.reachable = host;
    }

    /// The wall clock of a machine that keeps it was set.
    pub fn follow_wall(&mut self, now: UnixTime, boot: Duration) {
        if self.keeps_time {
            self.clock = Clock::from_wall(now, boot);
        }
    }

    pub(crate) fn keeps_time(&self) -> bool {
        self.keeps_time
    }

    /// Read again from the store that it shares with others, it goes on as `before` in what is not stored: when which flow is due, how long
    /// it waits after failures, what was wanted.
    pub fn carry_on(&mut self, before: &Self) {
        (self.due, self.not_before, self.failures) = (before.due, before.not_before, before.failures);
        (self.roll_now, self.restate_now, self.trouble) = (before.roll_now, before.restate_now, before.trouble.clone());
        self.reachable.clone_from(&before.reachable);
        let same = |kmc: &&Kmc| self.kmc.as_ref().is_some_and(|known| known.statements() == kmc.statements());
        if let Some(kmc) = before.kmc.as_ref().filter(same) {
            self.kmc = Some(kmc.clone());
        }
    }

    /// Its name.
    pub fn id(&self) -> PartyId {
        self.id
    }

    /// The KMC's address.
    pub fn kmc_host(&self) -> &str {
        &self.host
    }

    /// Whom it believes; none before it has met the KMC.
    pub fn authority(&self) -> Option<&Authority> {
        self.kmc.as_ref().map(Kmc::authority)
    }

    /// Its own statement; none before it is enrolled.
    pub fn statement(&self) -> Option<&Statement> {
        self.statement.as_ref()
    }

    /// Its own keys.
    pub fn keys(&self) -> &Arc<OwnKeys> {
        &self.keys
    }

    /// Since when it signs with its key, and since when messages are sealed to its other one.
    pub fn keys_since(&self) -> (UnixTime, UnixTime) {
        (self.sig_since, self.kem_since)
    }

    /// The policy it follows.
    pub fn policy(&self) -> &PolicyState {
        &self.policy
    }

    /// The list it goes by.
    pub fn revocations(&self) -> Option<&RevocationList> {
        self.revocations.as_ref()
    }

    /// Whether a statement is on that list.
    pub fn is_revoked(&self, statement: &Statement) -> bool {
        self.revocations.as_ref().is_some_and(|list| list.contains(statement.serial()))
    }

    /// A gateway's utility.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time, or none while it is not known.
    pub fn now(&self, boot: Duration) -> Option<UnixTime> {
        self.clock.now(boot)
    }

    /// Whether it may act on what others send: own statement and policy hold, and it is known that they do.
    pub fn standing(&self, boot: Duration) -> Standing {
        let now = self.now(boot);
        let stated = |now| self.statement.as_ref().is_some_and(|s| s.validity().contains(now));
        match now {
            Some(time) if stated(time) => self.policy.standing(now),
            _ => Standing::LocalOnly,
        }
    }

    /// What keeps it from being up to date, if something does.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Whether its token was refused: it is not asked again with it.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// A peer has told which versions there are: what is newer is asked for at once.
    pub fn told(&mut self, policy: u32, revocations: u64) {
        let known = self.revocations.as_ref().map_or(0, RevocationList::version);
        if policy > self.policy.version() || revocations > known {
            self.due.refresh = Duration::ZERO;
            self.not_before = Duration::ZERO;
        }
    }

    /// The utility's key may not be what it was: ask for it soon, after [`PEER_AGAIN`] at first. Anybody can send what looks like a message
    /// under a new key, so each time there is none it takes twice as long, up to [`PEER_AGAIN_LAST`].
    pub fn suspect_peer(&mut self, boot: Duration) {
        let wait = PEER_AGAIN.saturating_mul(1 << self.false_alarms.min(16)).min(PEER_AGAIN_LAST);
        if boot + wait < self.due.peer {
            self.due.peer = boot + wait;
            self.suspects_peer = true;
        }
    }

    /// A peer has another time: ask the KMC for it, which alone is believed.
    pub fn suspect_clock(&mut self) {
        self.due.clock = Duration::ZERO;
    }

    /// The KMC may have stated these keys anew, or a peer says that they hold no longer: ask for the own statement.
    pub fn suspect_own(&mut self) {
        self.restate_now = true;
        self.due.restate = Duration::ZERO;
    }

    /// Goes over to another signing and another sealing key at once, whatever their age: somebody else may know them.
    pub fn want_new_keys(&mut self) {
        self.roll_now = true;
        self.due.roll_over = Duration::ZERO;
    }

    /// The next flow that is due. Afterwards ask [`take_unstored`](Self::take_unstored), store, and only then let the job run.
    pub fn begin<R: CryptoRng + ?Sized>(&mut self, boot: Duration, rng: &mut R) -> Option<Job> {
        if self.working || self.refused || boot < self.not_before {
            return None;
        }
        let over = |now: &UnixTime| self.keys.previous().is_some_and(|(_, until)| until <= *now);
        if let Some(now) = self.now(boot).filter(over) {
            self.replace_keys(|keys| _ = keys.retire(now));
        }
        if let Some(floor) = self.clock.floor_to_store(boot) {
            self.floor = floor;
            self.unstored = true;
        }
        let mut flow = self.flow(boot)?;
        if matches!(flow, Flow::MakeKeys) {
            let both = core::mem::take(&mut self.roll_now) || self.now(boot).is_some_and(|now| self.ages(now)[0]);
            let sig = both.then(|| SigningKey::generate(rng));
            let next = NextKeys { sig, kem: KemKey::generate(rng) };
            let (sig, kem) = copies(&next)?;
            flow = Flow::RollOver { sig, kem };
            self.next = Some(next);
            self.unstored = true;
        }
        let job = self.job(flow)?;
        self.working = true;
        Some(job)
    }

    /// Asks for a party's statement, beside what is under way: for a server that talks to many. `known` is what it goes by so far;
    /// whether it may go over to what comes says [`Authority::succession`].
    pub fn fetch(&mut self, party: PartyId, known: Option<&Statement>) -> Option<Job> {
        self.statement.as_ref()?;
        self.job(Flow::Fetch(party, known.map(Statement::serial)))
    }

    /// Orders something of the KMC, beside what is under way.
    pub fn order(&mut self, order: Order) -> Option<Job> {
        self.statement.as_ref()?;
        self.job(Flow::Order(order))
    }

    fn job(&mut self, flow: Flow) -> Option<Job> {
        let (mut seq, mut next) = (0, None);
        let mut keys = self.keys.clone();
        // What is only fetched has no number: so a look at what is new writes nothing.
        if !matches!(flow, Flow::Refresh) {
            seq = self.take_number()?;
            // It may have to ask three times.
            self.take_number()?;
            self.take_number()?;
            if let Some((made, opens)) = self.next.as_ref().and_then(|next| self.next_keys(next).ok()) {
                next = Some(made);
                keys = Arc::new(opens);
            }
        }
        let snapshot = Snapshot {
            id: self.id,
            role: self.role,
            host: self.host.clone(),
            fingerprint: self.fingerprint,
            token: self.token.clone(),
            kmc: self.kmc.clone(),
            keys,
            next,
            peer: self.peer.as_ref().map(|peer| peer.statement.serial()),
            statement: self.statement.clone(),
            policy: self.policy.clone(),
            revocations: self.revocations.clone(),
            clock: self.clock.clone(),
            seq,
        };
        Some(Job { flow, snapshot })
    }

    /// The keys to come as a party's, and the present ones that open what is sealed to those too.
    fn next_keys(&self, next: &NextKeys) -> Result<(OwnKeys, OwnKeys), CryptoError> {
        let sig = next.sig.as_ref().unwrap_or_else(|| self.keys.sig());
        let kem = || KemKey::from_bytes(&next.kem.to_bytes());
        let made = OwnKeys::new(SigningKey::from_bytes(&sig.to_bytes())?, kem()?, None);
        Ok((made, copy(&self.keys)?.expecting(kem()?)))
    }

    fn take_number(&mut self) -> Option<u64> {
        let before = self.sequence.mark();
        let seq = self.sequence.take()?;
        self.unstored |= self.sequence.mark() != before;
        Some(seq)
    }

    /// Jobs under way keep the keys they began with.
    fn replace_keys(&mut self, change: impl FnOnce(&mut OwnKeys)) {
        let copied = copy(&self.keys);
        if let Ok(mut keys) = copied {
            change(&mut keys);
            self.keys = Arc::new(keys);
            self.unstored = true;
        }
    }

    /// A sealed message to a peer with the next number of its own. Store, if [`take_unstored`](Self::take_unstored) says so, before it
    /// goes out.
    ///
    /// # Errors
    /// A body that is too long, or a key that can't be sealed to.
    pub fn seal<R: CryptoRng + ?Sized>(
        &mut self,
        to: &Statement,
        (kind, answers): (Kind, Option<Nonce>),
        body: &[u8],
        boot: Duration,
        rng: &mut R,
    ) -> Result<Sealed, MessageError> {
        let seq = self.take_number().ok_or(MessageError::Exhausted)?;
        self.seal_numbered(seq, to, (kind, answers), body, boot, rng)
    }

    /// [`seal`](Self::seal) with a number of the caller's, who counts for each recipient by itself.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_numbered<R: CryptoRng + ?Sized>(
        &self,
        seq: u64,
        to: &Statement,
        (kind, answers): (Kind, Option<Nonce>),
        body: &[u8],
        boot: Duration,
        rng: &mut R,
    ) -> Result<Sealed, MessageError> {
        let kem = to.kem().ok_or(MessageError::NoKey)?;
        let draft = Draft {
            kind,
            answers,
            seq,
            policy: self.policy.version(),
            issued: self.clock.guess(boot),
            lifetime_s: self.policy.rules().message_s,
            body,
        };
        Ok(seal(&draft, (self.id, self.keys.sig()), (to.subject(), kem), rng)?)
    }
}

fn copy(keys: &OwnKeys) -> Result<OwnKeys, CryptoError> {
    let sig = SigningKey::from_bytes(&keys.sig().to_bytes())?;
    let kem = KemKey::from_bytes(&keys.kem().to_bytes())?;
    let previous = match keys.previous() {
        Some((key, until)) => Some((KemKey::from_bytes(&key.to_bytes())?, until)),
        None => None,
    };
    Ok(OwnKeys::new(sig, kem, previous))
}

/// For a job: the signing key if it changes, and the sealing key's public half.
fn copies(next: &NextKeys) -> Option<(Option<SigningKey>, secure_http::crypto::KemPublicKey)> {
    let sig = match &next.sig {
        Some(key) => Some(SigningKey::from_bytes(&key.to_bytes()).ok()?),
        None => None,
    };
    Some((sig, next.kem.public().clone()))
}
