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
    RevocationList, Role, SealError, Sealed, SealedError, Sequence, Standing, Statement, StatementError, TokenSecret,
    UnixTime, seal,
};

use crate::job::{Done, Flow, Job, Outcome, Snapshot};
use crate::kmc::{FetchedKey, Kmc, LinkError};
use crate::limits::{CLOCK_EVERY, OVERLAP_S, PEER_AGAIN, RETRY_FIRST, RETRY_LAST};

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

    /// The utility's key is not what it was: ask for it at once, but not more often than every [`PEER_AGAIN`].
    pub fn suspect_peer(&mut self, boot: Duration) {
        self.due.peer = self.due.peer.min(boot + PEER_AGAIN);
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
    fn flow(&self, boot: Duration) -> Option<Flow> {
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
    fn ages(&self, now: UnixTime) -> [bool; 2] {
        let rules = self.policy.rules();
        let aged = |since, lifetime_s| before_end(since, lifetime_s) <= now;
        [aged(self.sig_since, rules.sig_key_s), aged(self.kem_since, rules.kem_key_s)]
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

    /// Takes in what came of a job; then store, if [`take_unstored`](Self::take_unstored) says so. After a failure the same is tried
    /// again later, twice as late each time.
    ///
    /// # Errors
    /// What failed. A failed [`fetch`](Self::fetch) or [`order`](Self::order) delays nothing else.
    pub fn finish<R: CryptoRng + ?Sized>(
        &mut self,
        done: Done,
        boot: Duration,
        rng: &mut R,
    ) -> Result<News, LinkError> {
        let beside = done.beside;
        if !beside {
            self.working = false;
        }
        if let Some(kmc) = done.kmc {
            self.meet(kmc);
        }
        let result = done.outcome.and_then(|outcome| self.apply(outcome, boot, rng));
        match &result {
            Ok(_) if beside => self.not_before = Duration::ZERO,
            Err(error) if beside => self.learn_from(error),
            Ok(_) => {
                self.failures = 0;
                self.not_before = Duration::ZERO;
                self.trouble = None;
            }
            Err(error) => self.failed(error, done.flow, boot, rng),
        }
        result
    }

    fn meet(&mut self, kmc: Kmc) {
        let same = self.kmc.as_ref().is_some_and(|known| known.statements() == kmc.statements());
        self.unstored |= !same;
        self.kmc = Some(kmc);
    }

    fn apply<R: CryptoRng + ?Sized>(
        &mut self,
        outcome: Outcome,
        boot: Duration,
        rng: &mut R,
    ) -> Result<News, LinkError> {
        Ok(match outcome {
            Outcome::Enrolled(statement) => {
                let since = statement.validity().from();
                (self.sig_since, self.kem_since) = (since, since);
                self.statement = Some(statement);
                self.token = None;
                self.unstored = true;
                News::Enrolled
            }
            Outcome::Clock(clock) => {
                self.clock = clock;
                self.due.clock = boot + jittered(CLOCK_EVERY, rng);
                let holds = |now| self.kmc.as_ref().is_some_and(|kmc| kmc.authority().holds(now));
                if !self.now(boot).is_some_and(holds) {
                    // What was believed before the time was known is asked for again.
                    self.due.refresh = Duration::ZERO;
                }
                News::ClockSet
            }
            Outcome::Refreshed { policy, revocations } => {
                let every = Duration::from_secs(self.policy.rules().refresh_s);
                self.due.refresh = boot + jittered(every, rng);
                let news = News::Refreshed { policy: policy.is_some(), revocations: revocations.is_some() };
                self.unstored |= policy.is_some() || revocations.is_some();
                if let Some(policy) = policy {
                    self.policy = policy;
                }
                self.revocations = revocations.or(self.revocations.take());
                news
            }
            Outcome::Own(fetched) => {
                let (keys, statement) = (&self.keys, fetched.statement);
                let ours = statement.sig() == keys.sig().public() && statement.kem() == Some(keys.kem().public());
                if !ours {
                    return Err(LinkError::Other);
                }
                self.restate_now = false;
                // Half over and not stated anew: not before long.
                self.due.restate = boot + jittered(Duration::from_secs(self.policy.rules().refresh_s), rng);
                let other = self.statement.as_ref().is_none_or(|known| known.serial() < statement.serial());
                if other {
                    self.statement = Some(statement);
                    self.unstored = true;
                }
                News::Restated(other)
            }
            Outcome::RolledOver(statement) => {
                self.rolled_over(statement, boot)?;
                News::RolledOver
            }
            Outcome::Announced(host) => {
                self.announced = Some(host);
                self.old_sig = None;
                self.unstored = true;
                News::Announced
            }
            Outcome::Peer(fetched) => News::Peer(self.take_peer(fetched, boot, rng)?),
            Outcome::Fetched(fetched) => News::Fetched(Box::new(fetched)),
            Outcome::Ordered(text) => News::Ordered(text),
        })
    }

    fn rolled_over(&mut self, statement: Statement, boot: Duration) -> Result<(), LinkError> {
        let Some(next) = self.next.take() else { return Err(LinkError::Other) };
        let now = self.now(boot).unwrap_or_else(|| self.clock.guess(boot));
        let until = now.plus(OVERLAP_S + self.policy.rules().skew_s);
        self.old_sig = Some(SigningKey::from_bytes(&self.keys.sig().to_bytes())?);
        if next.sig.is_some() {
            self.sig_since = now;
        }
        self.kem_since = now;
        self.replace_keys(|keys| keys.roll(next.sig, next.kem, until));
        self.statement = Some(statement);
        self.due.announce = Duration::ZERO;
        self.unstored = true;
        Ok(())
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

    /// Whether the utility's statement is another now. Keys that its old ones do not vouch for are not taken.
    fn take_peer<R: CryptoRng + ?Sized>(
        &mut self,
        fetched: FetchedKey,
        boot: Duration,
        rng: &mut R,
    ) -> Result<bool, LinkError> {
        let statement = fetched.statement;
        if statement.role() != Role::Utility {
            return Err(StatementError::NotEntitled.into());
        }
        if let (Some(known), Some(kmc)) = (&self.peer, &self.kmc) {
            let (proof, path) = (fetched.succession.as_deref(), &fetched.path[..]);
            kmc.authority().succession(&known.statement, &statement, proof, path)?;
        }
        let refresh = Duration::from_secs(self.policy.rules().refresh_s);
        self.due.peer = boot + jittered(refresh, rng);
        let known = self.peer.as_ref();
        let other = known.is_none_or(|p| p.statement.raw() != statement.raw());
        if other || known.is_some_and(|p| p.host != fetched.host) {
            self.peer = Some(Peer { statement: statement.prepared(), host: fetched.host });
            self.unstored = true;
        }
        Ok(other)
    }

    fn learn_from(&mut self, error: &LinkError) {
        match error {
            // Our policy is not the KMC's: first that.
            LinkError::Sealed(SealedError::Policy { .. }) => self.due.refresh = Duration::ZERO,
            LinkError::Sealed(SealedError::Stale { .. }) => self.due.clock = Duration::ZERO,
            _ => {}
        }
    }

    fn failed<R: CryptoRng + ?Sized>(&mut self, error: &LinkError, flow: &'static str, boot: Duration, rng: &mut R) {
        self.failures = self.failures.saturating_add(1);
        let doubled = RETRY_FIRST.saturating_mul(1 << self.failures.min(16).saturating_sub(1)).min(RETRY_LAST);
        let wait = match error {
            LinkError::Busy { after_s } => Duration::from_secs(*after_s).max(doubled),
            _ => doubled,
        };
        let again = boot + jittered(wait, rng);
        self.learn_from(error);
        match error {
            // The centre itself says no to the token; whatever else stands on the way may say other things.
            LinkError::Refused(status) if self.statement.is_none() => {
                self.refused = matches!(status.as_u16(), 400 | 401 | 403);
            }
            LinkError::Sealed(SealedError::Forbidden) if matches!(flow, "roll-over" | "announce") => self.suspect_own(),
            _ => {}
        }
        // One flow that fails must not keep the others waiting; when nobody answers all of them wait.
        match flow {
            _ if matches!(error, LinkError::Http(_) | LinkError::Busy { .. }) => self.not_before = again,
            "peer" => self.due.peer = again,
            "restate" => self.due.restate = again,
            "roll-over" => self.due.roll_over = again,
            "announce" => self.due.announce = again,
            _ => self.not_before = again,
        }
        let since = self.trouble.as_ref().map_or(boot, |trouble| trouble.since);
        self.trouble = Some(Trouble { text: format!("{flow}: {}", chain(error)), since });
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

/// The time at which a key of that age is replaced: an eighth of its life is left for a KMC that does not answer.
fn before_end(since: UnixTime, lifetime_s: u64) -> UnixTime {
    since.plus(lifetime_s - lifetime_s / 8)
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

/// Within a tenth more, so that parties that failed or began together do not come back together.
fn jittered<R: CryptoRng + ?Sized>(wait: Duration, rng: &mut R) -> Duration {
    wait + wait.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX) / 10.0)
}

fn chain(error: &LinkError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
