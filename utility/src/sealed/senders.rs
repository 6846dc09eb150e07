//! Whose keys are whose: what the database knows, kept for the next message, and asked of the KMC when a home comes with a key that is
//! not known. Only for homes that are taken up, one question per home at a time and not soon again, and so many a second in all: strangers
//! can't make us ask more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daemon_kit::clock;
use secure_http::{Awaited, KeyAnswer, KeyId, Nonce, PartyId, Role, Statement, UnixTime, Window, canonical_host};
use secure_link::FetchedKey;
use tokio::sync::Semaphore;

use super::{locked, site};
use crate::limits::{
    ASK_AGAIN_FIRST, ASK_AGAIN_LAST, ASK_BURST, ASK_PER_S, ASK_WAITING_MAX, ASK_WITHIN, OVERLAP_S, RESTATE_AGAIN,
    SEALING_KEY_AGAIN, SENDERS_MAX,
};
use crate::membership::{Member, MemberError, Own};
use crate::metrics::Metrics;
use crate::quota::Quotas;
use crate::sites::SiteId;
use crate::store::{Adoption, Believed, Channel, Store, StoreError};

/// A home whose keys are known.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) site: SiteId,
    pub(crate) party: PartyId,
    pub(crate) lineage: u64,
    statements: Vec<Believed>,
    /// As last seen; what counts is in the database.
    window: Mutex<Window>,
}

/// Why the KMC is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The key is not known.
    Key,
    /// The sealing key is so old that the home has another by now, which nothing in its messages shows.
    SealingKey,
    /// The statement is half over, and stated anew by now; until it is over it does.
    Statement,
}

impl Sender {
    /// What the KMC may know better of this key, if something.
    fn wanted(&self, own: &Own, kid: KeyId, now: UnixTime) -> Option<Wanted> {
        let Some(statement) = self.by_kid(kid, now) else { return Some(Wanted::Key) };
        let newest = self.newest()?;
        let first = self.statements.iter().map(|b| &b.statement).rfind(|s| s.kem() == newest.kem())?;
        let lifetime_s = own.policy.rules().kem_key_s;
        if first.validity().from().plus(lifetime_s - lifetime_s / 8) <= now {
            return Some(Wanted::SealingKey);
        }
        (statement.validity().half() <= now).then_some(Wanted::Statement)
    }

    fn new(site: SiteId, party: PartyId, channel: Channel) -> Self {
        Self {
            site,
            party,
            lineage: channel.lineage,
            statements: channel.statements,
            window: Mutex::new(channel.window),
        }
    }

    /// The statement of a key whose messages are taken now.
    pub(crate) fn by_kid(&self, kid: KeyId, now: UnixTime) -> Option<&Statement> {
        let taken = |b: &&Believed| b.until.is_none_or(|until| now.0 < until.seconds());
        self.statements.iter().filter(taken).map(|b| &b.statement).find(|s| s.kid() == kid)
    }

    /// The newest: what is sent to the home is sealed to its key.
    pub(crate) fn newest(&self) -> Option<&Statement> {
        self.statements.first().map(|b| &b.statement)
    }

    pub(crate) fn window(&self) -> Window {
        *locked(&self.window)
    }

    /// The window of a message that was taken in. Two at once may come here in any order: the later one of them counts.
    pub(crate) fn set_window(&self, window: Window) {
        let mut known = locked(&self.window);
        if window.to_bytes() > known.to_bytes() || known.is_lost() {
            *known = window;
        }
    }
}

/// Why a sender's keys are not told.
#[derive(Debug)]
pub(super) enum Unfound {
    /// Not one of our homes, or its keys are not known and the KMC knows no better.
    Unknown,
    /// Too many ask, or the KMC does not answer.
    Later(Duration),
    Store(StoreError),
}

impl From<StoreError> for Unfound {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// When the KMC was last asked for a home's keys, time since boot, and when it may be asked again.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    again: Duration,
    /// The same where a key that is known does for a while.
    later: Duration,
    wait: Duration,
    /// It did not answer.
    away: bool,
}

pub(super) struct Senders {
    store: Store,
    member: Arc<Member>,
    metrics: Arc<Metrics>,
    known: Mutex<HashMap<PartyId, Arc<Sender>>>,
    /// What homes were asked and have not answered, in memory only.
    awaited: Mutex<HashMap<PartyId, Awaited>>,
    asked: Mutex<HashMap<PartyId, Arc<tokio::sync::Mutex<Asked>>>>,
    asking: Semaphore,
    quota: Mutex<Quotas>,
}

impl Senders {
    pub(super) fn new(store: Store, member: Arc<Member>, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            member,
            metrics,
            known: Mutex::default(),
            awaited: Mutex::default(),
            asked: Mutex::default(),
            asking: Semaphore::new(ASK_WAITING_MAX),
            quota: Mutex::new(Quotas::new(ASK_PER_S, ASK_BURST, 1)),
        }
    }

    /// What is in memory.
    pub(super) fn cached(&self, party: &PartyId) -> Option<Arc<Sender>> {
        locked(&self.known).get(party).cloned()
    }

    /// A message with that identifier goes out to a home, which may answer it.
    pub(super) fn sent(&self, party: PartyId, cti: Nonce) {
        let mut all = locked(&self.awaited);
        if all.len() >= SENDERS_MAX {
            // Their answers count as not awaited, and are asked for again.
            all.clear();
        }
        all.entry(party).or_default().sent(cti, party, clock::boottime());
    }

    /// What a home's answers may name.
    pub(super) fn awaited(&self, party: &PartyId) -> Awaited {
        locked(&self.awaited).get(party).cloned().unwrap_or_default()
    }

    /// An answer was taken; there is no second to the same.
    pub(super) fn answered(&self, party: &PartyId, awaited: Awaited) {
        locked(&self.awaited).insert(*party, awaited);
    }

    pub(super) fn forget(&self, party: &PartyId) {
        locked(&self.known).remove(party);
    }

    pub(super) fn forget_all(&self) {
        locked(&self.known).clear();
    }

    /// A home by name and key.
    pub(super) async fn find(
        &self,
        own: &Own,
        party: &PartyId,
        kid: KeyId,
        now: UnixTime,
    ) -> Result<Arc<Sender>, Unfound> {
        let site = site(party).ok_or(Unfound::Unknown)?;
        let known = match self.cached(party) {
            Some(known) => Some(known),
            None => self.read(&site, party).await?,
        };
        let wanted = known.as_ref().map_or(Some(Wanted::Key), |known| known.wanted(own, kid, now));
        let Some(wanted) = wanted else { return known.ok_or(Unfound::Unknown) };
        let asked = tokio::time::timeout(ASK_WITHIN, self.ask(own, &site, party, kid, wanted)).await;
        match asked.unwrap_or(Err(Unfound::Later(ASK_WITHIN))) {
            Ok(Some(known)) => Ok(known),
            Ok(None) => known.ok_or(Unfound::Unknown),
            Err(error) if wanted != Wanted::Key => {
                tracing::debug!(%site, ?error, "statement not renewed; the old one does");
                known.ok_or(Unfound::Unknown)
            }
            Err(error) => Err(error),
        }
    }

    /// What is known of a home, without asking the KMC.
    pub(super) async fn known(&self, party: &PartyId) -> Result<Option<Arc<Sender>>, Unfound> {
        match self.cached(party) {
            Some(known) => Ok(Some(known)),
            None => self.read(&site(party).ok_or(Unfound::Unknown)?, party).await,
        }
    }

    async fn read(&self, site: &SiteId, party: &PartyId) -> Result<Option<Arc<Sender>>, Unfound> {
        let channel = self.store.channel(site).await?.ok_or(Unfound::Unknown)?;
        Ok(channel.map(|channel| self.keep(Sender::new(site.clone(), *party, channel))))
    }

    fn keep(&self, sender: Sender) -> Arc<Sender> {
        let sender = Arc::new(sender);
        let mut known = locked(&self.known);
        if known.len() >= SENDERS_MAX {
            // It fills again from the database.
            known.clear();
        }
        known.insert(sender.party, sender.clone());
        sender
    }

    /// Asks the KMC, unless somebody just did; `None`: there is nothing newer, or it is too soon.
    async fn ask(
        &self,
        own: &Own,
        site: &SiteId,
        party: &PartyId,
        kid: KeyId,
        wanted: Wanted,
    ) -> Result<Option<Arc<Sender>>, Unfound> {
        let _place = self.asking.try_acquire().map_err(|_| Unfound::Later(ASK_AGAIN_FIRST))?;
        let slot = {
            let mut asked = locked(&self.asked);
            if asked.len() >= SENDERS_MAX {
                asked.retain(|_, slot| Arc::strong_count(slot) > 1);
            }
            asked.entry(*party).or_default().clone()
        };
        let mut slot = slot.lock().await;
        let (boot, now) = (clock::boottime(), super::wall());
        let meanwhile = self.cached(party).filter(|known| known.wanted(own, kid, now).is_none());
        if meanwhile.is_some() {
            return Ok(meanwhile);
        }
        let again = if wanted == Wanted::Key { slot.again } else { slot.later };
        if boot < again {
            return if slot.away { Err(Unfound::Later(again - boot)) } else { Ok(None) };
        }
        // Not from memory: another replica may have learnt of the key, and the hint was lost.
        let known = self.read(site, party).await?;
        if let Some(known) = known.as_ref().filter(|known| known.wanted(own, kid, now).is_none()) {
            return Ok(Some(known.clone()));
        }
        let newest = known.and_then(|known| known.newest().cloned());
        locked(&self.quota).take("", boot).map_err(Unfound::Later)?;
        let wait = if slot.wait.is_zero() { ASK_AGAIN_FIRST } else { (slot.wait * 2).min(ASK_AGAIN_LAST) };
        let later = match wanted {
            Wanted::Key => wait,
            Wanted::SealingKey => SEALING_KEY_AGAIN,
            Wanted::Statement => RESTATE_AGAIN,
        };
        *slot = Asked { again: boot + wait, later: boot + later.max(wait), wait, away: false };
        self.metrics.keys_asked.add();
        let fetched = match self.member.fetch(*party, newest.as_ref()).await {
            Ok(fetched) => fetched,
            Err(MemberError::Link(secure_link::LinkError::Sealed(error))) => {
                tracing::debug!(%site, %error, "the KMC has no statement of this home");
                return Ok(None);
            }
            Err(error) => {
                tracing::info!(%site, %error, "the keys of a home can't be had");
                *slot = Asked { again: boot + wait, later: boot + wait, wait, away: true };
                return Err(Unfound::Later(wait));
            }
        };
        if !self.adopt(own, site, party, fetched).await? {
            return Ok(None);
        }
        *slot = Asked::default();
        self.read(site, party).await
    }

    /// Asks the KMC where a home is by now, as far as the quota goes.
    pub(super) async fn look_again(&self, own: &Own, sender: &Sender) -> Result<(), Unfound> {
        locked(&self.quota).take("", clock::boottime()).map_err(Unfound::Later)?;
        self.metrics.keys_asked.add();
        match self.member.fetch(sender.party, sender.newest()).await {
            Ok(fetched) => self.adopt(own, &sender.site, &sender.party, fetched).await.map(|_| ()),
            Err(error) => {
                tracing::debug!(site = %sender.site, %error, "the KMC does not say where a home is");
                Ok(())
            }
        }
    }

    /// What a home says of its own keys, in a message that one of them signed: whether it is believed.
    pub(super) async fn announced(&self, own: &Own, sender: &Sender, answer: KeyAnswer) -> Result<bool, Unfound> {
        let now = super::wall();
        let Some(raw) = answer.statements.first() else { return Ok(false) };
        let Ok(statement) = own.authority.statement(raw, Some(now)) else { return Ok(false) };
        if statement.subject() != sender.party || own.is_revoked(&statement) {
            return Ok(false);
        }
        let KeyAnswer { succession, revocations, host, path, .. } = answer;
        let host = host.as_deref().and_then(canonical_host);
        let fetched = FetchedKey { statement, succession, path, revocations, host };
        let newest = sender.newest().map(Statement::serial);
        let known = newest.is_some_and(|newest| fetched.statement.serial() <= newest);
        let believed = self.adopt(own, &sender.site, &sender.party, fetched).await? || known;
        self.forget(&sender.party);
        Ok(believed)
    }

    /// Goes over to a newer statement, if the old keys vouch for it or an operator said so. Whether it did.
    async fn adopt(&self, own: &Own, site: &SiteId, party: &PartyId, fetched: FetchedKey) -> Result<bool, Unfound> {
        let FetchedKey { statement, succession, path, host, .. } = fetched;
        if statement.role() != Role::Gateway || statement.subject() != *party {
            return Ok(false);
        }
        let channel = self.store.channel(site).await?.ok_or(Unfound::Unknown)?;
        let newest = channel.as_ref().and_then(|c| c.statements.first()).map(|b| &b.statement);
        let now = super::wall();
        let renew = channel.as_ref().is_none_or(|c| now.0 < c.renew_until.seconds());
        if self
            .cached(party)
            .is_some_and(|cached| cached.newest().map(Statement::serial) != newest.map(Statement::serial))
        {
            // Another replica was faster, and its hint did not come.
            self.forget(party);
        }
        let anew = match newest {
            None => true,
            Some(newest) => match own.authority.succession(newest, &statement, succession.as_deref(), &path) {
                Ok(()) if statement.serial() == newest.serial() => {
                    if channel.as_ref().is_some_and(|c| c.host != host) {
                        self.store.set_host(site, host.as_deref()).await?;
                    }
                    return Ok(false);
                }
                Ok(()) => false,
                Err(_) if renew && statement.serial() > newest.serial() => true,
                Err(error) => {
                    self.metrics.keys_refused.add();
                    tracing::warn!(
                        %site, %error, serial = statement.serial().0,
                        "a home's new keys are not taken: its old keys do not vouch for them (utilityctl site token lets them in)"
                    );
                    return Ok(false);
                }
            },
        };
        let overlap_until = utility_wire::UnixTime::new(now.0 + OVERLAP_S + own.policy.rules().skew_s);
        let above = vec![own.authority.issuing().clone(), own.authority.root().clone()];
        let after = newest.map(Statement::serial);
        let adoption = Adoption { site: site.clone(), statement, after, anew, overlap_until, host, above };
        match self.store.adopt(adoption, utility_wire::UnixTime::new(now.0)).await {
            Ok(()) => {
                self.forget(party);
                Ok(true)
            }
            // Another request or replica was faster; what it took is read next.
            Err(StoreError::Conflict(_)) => {
                self.forget(party);
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }
}
