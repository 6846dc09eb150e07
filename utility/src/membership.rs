//! The utility as a member of a KMC: its own keys and everything it knows from there, one row of the database that all replicas share.
//!
//! The row is encrypted under a key from a file, so that a copy of the database is not a copy of the keys. A replica that is going to talk
//! to the KMC first takes the row for itself, for as long as that lasts, and reads it again if another has written it: numbers of messages
//! and new keys are then given out once. [`Member::own`] is what messages need of it, without a lock.
//!
//! A flow that has begun runs to its end in a task of its own, whoever waited for it and has gone meanwhile: cut off in the middle, it would
//! keep the row from everybody, and what the KMC has done would not be known here.

mod vault;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use daemon_kit::clock;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use secure_http::{
    Authority, Broadcast, Clock, Draft, EnrolmentToken, Kind, Nonce, Order, Ordered, OwnKeys, PartyId, PolicyState,
    RevocationList, Role, SealError, Sealed, Standing, Statement, UnixTime, seal,
};
use secure_link::{FetchedKey, Job, LinkError, Membership, News};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::limits::{CLAIM_EVERY, DRAIN_WITHIN, HELD_FOR_S, HELD_LOOK_EVERY, HELD_LOOKS_MAX};
use crate::store::{Held, Store, StoreError};
pub use vault::{Vault, VaultError};

/// Why nothing came of a flow with the KMC.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// Not enrolled yet.
    #[error(
        "this utility is not enrolled at a KMC: utilityctl enrol TOKEN, with a token of heg-kmc token new --role utility"
    )]
    Candidate,
    /// Enrolled already.
    #[error("this utility is enrolled already, as {0}")]
    Enrolled(PartyId),
    /// Nothing can be done at once: a job is not due, or another replica does it.
    #[error("another replica is talking to the KMC; try again")]
    Busy,
    /// It did not answer lately, so that it is not asked again yet.
    #[error("the KMC did not answer lately and is not asked again yet; try again later")]
    Waiting,
    /// A task ended in the middle, by a fault of ours.
    #[error("what was begun did not come to its end; the log says why")]
    CutOff,
    /// The flow failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The KMC refuses an order, and says why.
    #[error("{0}")]
    Refused(String),
    /// The row in the database can't be read with this key.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The row holds something else.
    #[error(transparent)]
    Record(#[from] secure_link::RecordError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What messages need of the membership, as of the last flow with the KMC.
#[derive(Debug)]
pub struct Own {
    /// The own name.
    pub id: PartyId,
    /// The own keys.
    pub keys: Arc<OwnKeys>,
    /// The own statement.
    pub statement: Statement,
    /// The policy followed.
    pub policy: PolicyState,
    /// The list gone by.
    pub revocations: Option<RevocationList>,
    /// Who is believed.
    pub authority: Authority,
}

impl Own {
    /// Version of the revocation list; 0 for none yet.
    pub fn revocations_version(&self) -> u64 {
        self.revocations.as_ref().map_or(0, RevocationList::version)
    }

    /// Whether a statement is on it.
    pub fn is_revoked(&self, statement: &Statement) -> bool {
        self.revocations.as_ref().is_some_and(|list| list.contains(statement.serial()))
    }

    /// A message to the holder of a statement, with a number that was given out for it.
    ///
    /// # Errors
    /// A body that is too long.
    pub fn seal(
        &self,
        number: u64,
        to: &Statement,
        (kind, answers): (Kind, Option<Nonce>),
        body: &[u8],
        now: UnixTime,
    ) -> Result<Sealed, SealError> {
        let draft = Draft {
            kind,
            answers,
            seq: number,
            policy: self.policy.version(),
            issued: now,
            lifetime_s: self.policy.rules().message_s,
            body,
        };
        let kem = to.kem().ok_or(SealError::Crypto(secure_http::crypto::CryptoError::Fault))?;
        seal(&draft, (self.id, self.keys.sig()), (to.subject(), kem), &mut UnwrapErr(SysRng))
    }

    /// A broadcast object with the utility's signature.
    ///
    /// # Errors
    /// A fault of the computation, or an object that is too long.
    pub fn sign(&self, content: &[u8]) -> Result<Vec<u8>, secure_http::BroadcastError> {
        Broadcast::sign(content, self.keys.sig())
    }
}

/// The membership as this replica last knew it.
#[derive(Debug, Default)]
struct Known {
    membership: Option<Membership>,
    /// Version of the row.
    version: u64,
    /// A flow is under way. Where it was cut off, what is in memory may not be what is in the row.
    adrift: bool,
}

/// What was heard of newer versions and not asked for yet.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    policy: u32,
    revocations: u64,
    /// A home's word for one is taken again from then on, time since boot.
    claims_from: Duration,
}

/// The utility's membership, shared by all that need it.
#[derive(Debug)]
pub struct Member {
    store: Store,
    vault: Vault,
    /// This process among the replicas.
    replica: String,
    reachable: Option<String>,
    /// One flow with the KMC at a time.
    known: Arc<Mutex<Known>>,
    told: std::sync::Mutex<Told>,
    own: RwLock<Option<Arc<Own>>>,
    policy: watch::Sender<u64>,
}

/// Runs something to its end, also when whoever waits for it goes.
///
/// # Errors
/// Its own.
pub(crate) async fn to_its_end<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<MemberError> + Send + 'static,
{
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a task ended in the middle");
            Err(MemberError::CutOff.into())
        }
    }
}

impl Member {
    /// On the database; `vault` encrypts the row, `reachable` is where homes find this utility.
    pub fn new(store: Store, vault: Vault, reachable: Option<String>) -> Self {
        let replica = Nonce::generate(&mut UnwrapErr(SysRng)).to_string();
        let policy = watch::Sender::new(0);
        let (known, told, own) = (Arc::default(), std::sync::Mutex::default(), RwLock::default());
        Self { store, vault, replica, reachable, known, told, own, policy }
    }

    /// Version of the policy that is followed, and when it changes; 0 for none.
    pub fn policy(&self) -> watch::Receiver<u64> {
        self.policy.subscribe()
    }

    /// What messages need; none until enrolled.
    pub fn own(&self) -> Option<Arc<Own>> {
        self.own.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the row, if another replica has written it or nothing was read yet.
    ///
    /// # Errors
    /// The database, or a row that this key does not open.
    pub async fn look(&self) -> Result<(), MemberError> {
        // Whoever has it reads the row first.
        let Ok(mut known) = self.known.try_lock() else { return Ok(()) };
        // No row has that version.
        let seen = if known.adrift { u64::MAX } else { known.version };
        if let Some(row) = self.store.membership(seen).await? {
            self.read(&mut known, &row)?;
        }
        Ok(())
    }

    /// Enrols with a token: makes the keys, stores them, and lets the KMC state them.
    ///
    /// # Errors
    /// Enrolled already, or what the KMC says.
    pub async fn enrol(self: &Arc<Self>, token: &EnrolmentToken, id: PartyId) -> Result<PartyId, MemberError> {
        let (this, mut known, token) = (self.clone(), self.turn().await, token.clone());
        to_its_end(async move {
            // As the row has it: whatever was waited for, an operator does not wait for.
            if known.membership.as_ref().is_some_and(|m| m.statement().is_none()) {
                (known.membership, known.adrift) = (None, true);
            }
            let before = this.hold(&mut known).await?;
            let result = this.enrol_held(&mut known, &token, id).await;
            this.release(&known, before).await?;
            result
        })
        .await
    }

    async fn enrol_held(&self, known: &mut Known, token: &EnrolmentToken, id: PartyId) -> Result<PartyId, MemberError> {
        if let Some(membership) = known.membership.as_ref().filter(|m| m.statement().is_some()) {
            return Err(MemberError::Enrolled(membership.id()));
        }
        // Keys that the KMC may have stated with this very token, so that only the answer was lost, are not made anew.
        if known.membership.as_ref().is_none_or(|begun| !is_with(begun, token)) {
            let clock = Clock::from_wall(wall(), clock::boottime());
            let mut membership = Membership::candidate(token, id, Role::Utility, clock, &mut UnwrapErr(SysRng));
            membership.set_reachable(self.reachable.clone());
            known.membership = Some(membership);
        }
        // Enrolment, policy and list, and where homes find us: all that is due now.
        for _ in 0..FLOWS_MAX {
            match self.work(known, |m| m.begin(clock::boottime(), &mut UnwrapErr(SysRng))).await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    let stated = known.membership.as_ref().is_some_and(|m| m.statement().is_some());
                    if stated {
                        tracing::warn!(%error, "enrolled, and not everything else is there yet; trying again");
                        break;
                    }
                    if known.membership.as_ref().is_some_and(Membership::is_refused) {
                        // Only another token helps; nothing of this one is kept.
                        known.membership = None;
                        self.put(known).await?;
                    }
                    // Else it goes on by itself: the KMC may have stated the keys although its answer did not come.
                    return Err(error);
                }
            }
        }
        self.publish(known);
        let enrolled = known.membership.as_ref().filter(|m| m.statement().is_some());
        enrolled.map(Membership::id).ok_or(MemberError::Waiting)
    }

    /// Does what is due: refreshes policy and list, has the keys stated anew, rolls them over. `None`: nothing was due, or another
    /// replica is at it.
    ///
    /// # Errors
    /// What failed. It is tried again later by itself.
    pub async fn maintain(self: &Arc<Self>) -> Result<Option<News>, MemberError> {
        let (this, mut known) = (self.clone(), self.turn().await);
        to_its_end(async move { this.maintain_in_turn(&mut known).await }).await
    }

    async fn maintain_in_turn(&self, known: &mut Known) -> Result<Option<News>, MemberError> {
        let boot = clock::boottime();
        let told = *self.heard();
        let adrift = known.adrift;
        let due = known.membership.as_mut().and_then(|m| {
            m.follow_wall(wall(), boot);
            m.told(told.policy, told.revocations);
            m.due(boot)
        });
        if !adrift && due.is_none_or(|due| due > boot) {
            return Ok(None);
        }
        let before = match self.hold(known).await {
            Ok(before) => before,
            Err(MemberError::Busy) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Perhaps what was read just now does not know of it.
        let told = std::mem::take(&mut *self.heard());
        self.heard().claims_from = told.claims_from;
        if let Some(membership) = &mut known.membership {
            membership.told(told.policy, told.revocations);
        }
        let result = self.work(known, |m| m.begin(clock::boottime(), &mut UnwrapErr(SysRng))).await;
        self.release(known, before).await?;
        result
    }

    /// Has new keys made and stated now, whatever their age: after a suspicion. When it returns they are in force.
    ///
    /// # Errors
    /// The KMC does not answer, or did not lately.
    pub async fn roll_over(self: &Arc<Self>) -> Result<(), MemberError> {
        let (this, mut known) = (self.clone(), self.turn().await);
        to_its_end(async move {
            let before = this.hold(&mut known).await?;
            let result = this.roll_over_held(&mut known).await;
            this.release(&known, before).await?;
            result
        })
        .await
    }

    async fn roll_over_held(&self, known: &mut Known) -> Result<(), MemberError> {
        let serial = |known: &Known| known.membership.as_ref().and_then(|m| m.statement()).map(Statement::serial);
        let Some(before) = serial(known) else { return Err(MemberError::Candidate) };
        if let Some(membership) = &mut known.membership {
            membership.want_new_keys();
        }
        // What else is due, the keys, and then the old one's word for them.
        for _ in 0..FLOWS_MAX {
            match self.work(known, |m| m.begin(clock::boottime(), &mut UnwrapErr(SysRng))).await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) if serial(known) == Some(before) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "the new keys are in force, and not everything else is there yet; trying again");
                    break;
                }
            }
        }
        if serial(known) == Some(before) { Err(MemberError::Waiting) } else { Ok(()) }
    }

    /// When [`maintain`](Self::maintain) has something to do, as time since boot; none where it has not, or something is under way.
    pub fn due(&self, boot: Duration) -> Option<Duration> {
        let mut known = self.known.try_lock().ok()?;
        if known.adrift {
            return Some(boot);
        }
        let told = *self.heard();
        let membership = known.membership.as_mut()?;
        // The calendar goes on when the wall clock is set.
        membership.follow_wall(wall(), boot);
        membership.told(told.policy, told.revocations);
        membership.due(boot)
    }

    /// What is not well between this utility and its KMC.
    pub fn trouble(&self) -> Option<String> {
        let known = self.known.try_lock().ok()?;
        let membership = known.membership.as_ref()?;
        let boot = clock::boottime();
        let lapsed = membership.standing(boot) == Standing::LocalOnly;
        let trouble = membership.trouble().map(|trouble| trouble.text.clone());
        match (trouble, lapsed) {
            (Some(trouble), true) => {
                Some(format!("homes are not served, since no policy or statement holds: {trouble}"))
            }
            (None, true) => Some("homes are not served, since no policy or statement holds".to_owned()),
            (trouble, false) => trouble,
        }
    }

    /// A party's statement, from the KMC, with the way to it from the one that is known.
    ///
    /// # Errors
    /// The KMC does not answer, or has none.
    pub async fn fetch(self: &Arc<Self>, party: PartyId, known: Option<&Statement>) -> Result<FetchedKey, MemberError> {
        let known = known.cloned();
        match self.beside(move |m| m.fetch(party, known.as_ref())).await? {
            News::Fetched(fetched) => Ok(*fetched),
            _ => Err(MemberError::Busy),
        }
    }

    /// Orders something of the KMC; its answer in words.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub async fn order(self: &Arc<Self>, order: Order) -> Result<String, MemberError> {
        match self.beside(move |m| m.order(order)).await? {
            News::Ordered(Ordered::Done(text)) => Ok(text),
            News::Ordered(Ordered::Refused(why)) => Err(MemberError::Refused(why)),
            _ => Err(MemberError::Busy),
        }
    }

    async fn beside(
        self: &Arc<Self>,
        begin: impl FnOnce(&mut Membership) -> Option<Job> + Send + 'static,
    ) -> Result<News, MemberError> {
        let (this, mut known) = (self.clone(), self.turn().await);
        to_its_end(async move {
            if known.membership.is_none() {
                return Err(MemberError::Candidate);
            }
            let before = this.hold(&mut known).await?;
            let result = this.work(&mut known, begin).await;
            this.release(&known, before).await?;
            result?.ok_or(MemberError::Candidate)
        })
        .await
    }

    /// The turn for a flow. Whoever goes while waiting for it begins none.
    async fn turn(&self) -> OwnedMutexGuard<Known> {
        self.known.clone().lock_owned().await
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There may be newer versions than these: what is newer than what is known is asked for with the next [`maintain`](Self::maintain).
    pub fn told(&self, policy: u32, revocations: u64) {
        let mut told = self.heard();
        (told.policy, told.revocations) = (told.policy.max(policy), told.revocations.max(revocations));
    }

    /// A home follows that version of the policy, it says. One that says what is not so makes us ask every [`CLAIM_EVERY`] at most.
    pub(crate) fn claimed(&self, policy: u32, boot: Duration) {
        let known = *self.policy.borrow();
        let mut told = self.heard();
        if u64::from(policy) > known && boot >= told.claims_from {
            (told.policy, told.claims_from) = (told.policy.max(policy), boot + CLAIM_EVERY);
        }
    }

    /// At the end of the process: a flow under way may come to its end for a little while, then the row is given back in any case.
    pub async fn stop(&self) {
        let _turn = tokio::time::timeout(DRAIN_WITHIN, self.turn()).await;
        if let Err(error) = self.store.release_membership(&self.replica, None).await {
            tracing::debug!(%error, "the membership's row was not given back");
        }
    }

    /// One job of a row that is held: what it changes is on the disk before it runs, and what comes of it before anybody hears.
    async fn work(
        &self,
        known: &mut Known,
        begin: impl FnOnce(&mut Membership) -> Option<Job>,
    ) -> Result<Option<News>, MemberError> {
        let membership = known.membership.as_mut().ok_or(MemberError::Candidate)?;
        let Some(job) = begin(membership) else { return Ok(None) };
        known.adrift = true;
        if membership.take_unstored() {
            self.put(known).await?;
        }
        let done = job.run(clock::boottime, UnwrapErr(SysRng)).await;
        let membership = known.membership.as_mut().ok_or(MemberError::Candidate)?;
        let news = membership.finish(done, clock::boottime(), &mut UnwrapErr(SysRng));
        if membership.take_unstored() {
            self.put(known).await?;
        }
        known.adrift = false;
        self.publish(known);
        Ok(Some(news?))
    }

    /// Takes the row for this replica, waiting a little for another that has it, and reads it if it changed.
    /// Gives the version it then has.
    async fn hold(&self, known: &mut Known) -> Result<u64, MemberError> {
        for _ in 0..HELD_LOOKS_MAX {
            let now = wall().0;
            match self.store.hold_membership(&self.replica, now, now + HELD_FOR_S).await? {
                Held::Mine(row) => {
                    let other = row.version != known.version || known.adrift;
                    if other && let Err(error) = self.read(known, &row) {
                        self.store.release_membership(&self.replica, None).await?;
                        return Err(error);
                    }
                    return Ok(known.version);
                }
                Held::Others => tokio::time::sleep(HELD_LOOK_EVERY).await,
            }
        }
        Err(MemberError::Busy)
    }

    async fn release(&self, known: &Known, before: u64) -> Result<(), MemberError> {
        let changed = (known.version != before).then_some(known.version);
        Ok(self.store.release_membership(&self.replica, changed).await?)
    }

    async fn put(&self, known: &mut Known) -> Result<(), MemberError> {
        let version = known.version + 1;
        let record = match &known.membership {
            Some(membership) => self.vault.lock(&membership.record(), version)?,
            None => Vec::new(),
        };
        match self.store.put_membership(&self.replica, known.version, record).await {
            Ok(()) => {
                known.version = version;
                Ok(())
            }
            Err(error) => {
                if let Some(membership) = &mut known.membership {
                    membership.not_stored();
                }
                Err(error.into())
            }
        }
    }

    fn read(&self, known: &mut Known, row: &crate::store::MembershipRow) -> Result<(), MemberError> {
        let before = known.membership.take();
        // A row that is not understood is read again, and never written over as if there were none.
        (known.version, known.adrift) = (row.version, true);
        if !row.record.is_empty() {
            let record = self.vault.unlock(&row.record, row.version)?;
            let mut membership = Membership::from_record(&record, Some((wall(), clock::boottime())))?;
            membership.set_reachable(self.reachable.clone());
            // When something is due, and how long is waited after failures, is not in the row.
            if let Some(before) = before.filter(|before| before.id() == membership.id()) {
                membership.carry_on(&before);
            }
            known.membership = Some(membership);
        }
        known.adrift = false;
        self.publish(known);
        Ok(())
    }

    fn publish(&self, known: &Known) {
        let own = known.membership.as_ref().and_then(|m| {
            Some(Arc::new(Own {
                id: m.id(),
                keys: m.keys().clone(),
                statement: m.statement()?.clone(),
                policy: m.policy().clone(),
                revocations: m.revocations().cloned(),
                authority: m.authority()?.clone(),
            }))
        });
        let version = own.as_ref().map_or(0, |own| u64::from(own.policy.version()));
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = own;
        // Polls that wait are told.
        self.policy.send_if_modified(|known| std::mem::replace(known, version) != version);
    }
}

/// Whether an enrolment that was begun goes on with that token: its secret is in the record until it is done.
fn is_with(begun: &Membership, token: &EnrolmentToken) -> bool {
    let secret = token.secret().as_bytes();
    begun.kmc_host() == token.host() && begun.record().windows(secret.len()).any(|window| window == secret)
}

/// Flows that are due at once after an enrolment: itself, policy and list, announcement, and one to see that nothing is left. After a
/// wish for other keys: those that are due anyway, keys made before, new ones, and the word of the old.
const FLOWS_MAX: usize = 6;

fn wall() -> UnixTime {
    UnixTime(u64::try_from(clock::wall().as_second()).unwrap_or(0))
}
