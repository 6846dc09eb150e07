//! One flow with the KMC, on a copy of what it needs: it waits for the network while the [`Membership`](crate::Membership) goes on.

use core::time::Duration;
use std::sync::Arc;

use rand_core::CryptoRng;
use secure_http::crypto::{KemPublicKey, SigningKey};
use secure_http::{
    Clock, Fingerprint, Order, Ordered, OwnKeys, PartyId, PolicyState, RevocationList, Role, SealedError, Serial,
    Statement, TokenSecret,
};

use crate::kmc::{At, FetchedKey, Kmc, LinkError, Member};

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Flow {
    Enrol,
    SetClock,
    Refresh,
    Restate,
    /// Becomes a roll-over once the keys are made.
    MakeKeys,
    RollOver {
        sig: Option<SigningKey>,
        kem: KemPublicKey,
    },
    Announce {
        old: Option<SigningKey>,
        host: Option<String>,
    },
    Peer,
    Fetch(PartyId, Option<Serial>),
    Order(Order),
}

impl Flow {
    /// As people call it; failures are told apart by it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Enrol => "enrolment",
            Self::SetClock => "time",
            Self::Refresh => "refresh",
            Self::Restate => "restate",
            Self::MakeKeys | Self::RollOver { .. } => "roll-over",
            Self::Announce { .. } => "announce",
            Self::Peer => "peer",
            Self::Fetch(..) => "fetch",
            Self::Order(_) => "order",
        }
    }
}

/// What a job needs of its membership, as it was when it began.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) id: PartyId,
    pub(crate) role: Role,
    pub(crate) host: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) token: Option<TokenSecret>,
    pub(crate) kmc: Option<Kmc>,
    pub(crate) keys: Arc<OwnKeys>,
    /// Keys that are made, and of which it is not known whether they are stated.
    pub(crate) next: Option<OwnKeys>,
    pub(crate) peer: Option<Serial>,
    pub(crate) statement: Option<Statement>,
    pub(crate) policy: PolicyState,
    pub(crate) revocations: Option<RevocationList>,
    pub(crate) clock: Clock,
    pub(crate) seq: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Enrolled(Statement),
    Clock(Clock),
    Refreshed { policy: Option<PolicyState>, revocations: Option<RevocationList> },
    Own(FetchedKey),
    RolledOver(Statement),
    Announced(Option<String>),
    Peer(FetchedKey),
    Fetched(FetchedKey),
    Ordered(Ordered),
}

/// A flow with the KMC that is to be run.
#[derive(Debug)]
pub struct Job {
    pub(crate) flow: Flow,
    pub(crate) snapshot: Snapshot,
}

/// A flow that has ended, for [`Membership::finish`](crate::Membership::finish).
#[derive(Debug)]
pub struct Done {
    pub(crate) flow: &'static str,
    /// Not one of maintenance.
    pub(crate) beside: bool,
    /// The KMC's statements, where they were asked for.
    pub(crate) kmc: Option<Kmc>,
    pub(crate) outcome: Result<Outcome, LinkError>,
}

impl Job {
    /// Which flow it is, for logs.
    pub fn name(&self) -> &'static str {
        self.flow.name()
    }

    /// Runs it to its end, at most for the time-outs in [`limits`](crate::limits). `boot` is the time since boot, sleep included.
    pub async fn run<R: CryptoRng>(self, boot: fn() -> Duration, mut rng: R) -> Done {
        let Self { flow, mut snapshot } = self;
        let name = flow.name();
        let beside = matches!(flow, Flow::Fetch(..) | Flow::Order(_));
        let met = snapshot.kmc.take();
        let meets = met.is_none() || matches!(flow, Flow::Enrol | Flow::Refresh);
        let kmc = match met {
            Some(kmc) => Ok(kmc),
            None => Kmc::meet(&snapshot.host, snapshot.fingerprint, snapshot.at(boot)).await,
        };
        let (kmc, outcome) = match kmc {
            Ok(mut kmc) => {
                let next = snapshot.next.take();
                let (id, seq, policy) = (snapshot.id, snapshot.seq, snapshot.policy.clone());
                let at = snapshot.at(boot);
                let mut outcome = snapshot.go(flow, &mut kmc, boot, &mut rng).await;
                if let (Err(LinkError::Refused(_)), Some(next)) = (&outcome, &next) {
                    // The old key is heard no more: were the new ones stated, and the answer that said so lost?
                    let member = Member { id, keys: next, policy: &policy };
                    if let Ok(stated) = own_statement(&mut kmc, &member, seq + 1, at, &mut rng).await {
                        outcome = Ok(Outcome::RolledOver(stated));
                    }
                }
                (Some(kmc), outcome)
            }
            Err(error) => (None, Err(error)),
        };
        Done { flow: name, beside, kmc: kmc.filter(|_| meets), outcome }
    }
}

impl Snapshot {
    fn at(&self, boot: fn() -> Duration) -> At {
        let boot = boot();
        At { time: self.clock.now(boot), guess: self.clock.guess(boot), boot }
    }

    async fn go<R: CryptoRng>(
        mut self,
        flow: Flow,
        kmc: &mut Kmc,
        boot: fn() -> Duration,
        rng: &mut R,
    ) -> Result<Outcome, LinkError> {
        let at = self.at(boot);
        let member = Member { id: self.id, keys: &self.keys, policy: &self.policy };
        Ok(match flow {
            Flow::Enrol => Outcome::Enrolled(self.enrol(kmc, at, rng).await?),
            Flow::SetClock => {
                kmc.set_clock(&member, self.seq, &mut self.clock, boot, rng).await?;
                Outcome::Clock(self.clock)
            }
            Flow::Refresh => {
                let policy = kmc.refresh_policy(&self.policy, at).await?;
                match kmc.refresh_revocations(self.revocations.as_ref(), at).await {
                    Ok(revocations) => Outcome::Refreshed { policy, revocations },
                    Err(error) => {
                        // The policy is not kept either, so it has to come again.
                        kmc.forget_tags();
                        return Err(error);
                    }
                }
            }
            Flow::Restate => Outcome::Own(kmc.fetch_key(&member, self.seq, (Some(self.id), None), at, rng).await?),
            // Its keys are made before it begins.
            Flow::MakeKeys => return Err(LinkError::Other),
            Flow::RollOver { sig, kem } => {
                let statement = self.statement.as_ref().ok_or(LinkError::Other)?;
                let sig = sig.as_ref().unwrap_or_else(|| self.keys.sig());
                Outcome::RolledOver(kmc.roll_over(&member, self.seq, statement, sig, &kem, at, rng).await?)
            }
            Flow::Announce { old, host } => {
                let statement = self.statement.as_ref().ok_or(LinkError::Other)?;
                kmc.announce(&member, self.seq, statement, old.as_ref(), host.as_deref(), at, rng).await?;
                Outcome::Announced(host)
            }
            Flow::Peer => Outcome::Peer(kmc.fetch_key(&member, self.seq, (None, self.peer), at, rng).await?),
            Flow::Fetch(party, known) => {
                Outcome::Fetched(kmc.fetch_key(&member, self.seq, (Some(party), known), at, rng).await?)
            }
            Flow::Order(order) => Outcome::Ordered(kmc.order(&member, self.seq, &order, at, rng).await?),
        })
    }

    /// With the token; where that is used up, because the answer to an earlier try was lost, the KMC already states these very keys.
    async fn enrol<R: CryptoRng>(&self, kmc: &mut Kmc, at: At, rng: &mut R) -> Result<Statement, LinkError> {
        let token = self.token.as_ref().ok_or(LinkError::Other)?;
        let refused = match kmc.enrol(token, self.id, &self.keys, self.seq, at, rng).await {
            Ok(enrolled) if enrolled.statement.role() == self.role => return Ok(enrolled.statement),
            Ok(_) => return Err(LinkError::Other),
            Err(refused @ LinkError::Refused(_)) => refused,
            Err(error) => return Err(error),
        };
        let member = Member { id: self.id, keys: &self.keys, policy: &self.policy };
        match own_statement(kmc, &member, self.seq + 1, at, rng).await {
            Ok(stated) if stated.role() == self.role => Ok(stated),
            _ => Err(refused),
        }
    }
}

/// What the KMC states of these very keys, also for who does not know the time yet. Takes up to two numbers.
async fn own_statement<R: CryptoRng>(
    kmc: &mut Kmc,
    member: &Member<'_>,
    seq: u64,
    at: At,
    rng: &mut R,
) -> Result<Statement, LinkError> {
    let asked = (Some(member.id), None);
    let mut stated = kmc.fetch_key(member, seq, asked, at, rng).await;
    if let Err(LinkError::Sealed(SealedError::Stale { time })) = stated {
        stated = kmc.fetch_key(member, seq + 1, asked, At { guess: time, ..at }, rng).await;
    }
    let statement = stated?.statement;
    let ours = statement.sig() == member.keys.sig().public() && statement.kem() == Some(member.keys.kem().public());
    if ours { Ok(statement) } else { Err(LinkError::Other) }
}
