//! The receiver's steps with a home's message, cheapest first, up to what it holds. What takes computing (signature, opening) is done in
//! the task that has one of the few places for it; whoever finds no place to wait is told to come later.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daemon_kit::clock;
use secure_http::limits::{MESSAGE_BYTES_MAX, REPORT_BYTES_MAX};
use secure_http::{
    Kind, Nonce, Opened, Receiver, Refusal, SealedError, Sender as Entitled, Situation, Statement, Stopped, UnixTime,
    Window,
};
use tokio::sync::SemaphorePermit;

use super::gate::Shown;
use super::senders::{Sender, Unfound};
use super::{Homes, locked};
use crate::limits::{LOAD_RETRY, UNAVAILABLE_RETRY};
use crate::membership::Own;
use crate::metrics::Held;
use crate::store::{Proof, StoreError, Taking};

/// A request as it came, its body within the cap.
pub(super) struct Request {
    pub(super) peer: IpAddr,
    pub(super) cookie: Option<String>,
    /// Somebody was answered on this connection.
    pub(super) trusted: bool,
    pub(super) body: Bytes,
}

/// Why a request gets no sealed answer.
#[derive(Debug)]
pub(super) enum Refused {
    /// 400, 401, 413, 415.
    Stranger(Refusal),
    /// 429 with a challenge.
    Cookie(String),
    /// 429.
    Later(Duration),
    /// 503: not a member, or no database.
    Unavailable(Duration),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Stranger(refusal)
    }
}

impl From<Unfound> for Refused {
    fn from(unfound: Unfound) -> Self {
        match unfound {
            Unfound::Unknown => Self::Stranger(Refusal::Refused),
            Unfound::Later(after) => Self::Later(after),
            Unfound::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UnknownSite(_) => Self::Stranger(Refusal::Refused),
            StoreError::Busy => Self::Later(LOAD_RETRY),
            error => {
                tracing::warn!(%error, "a home's message was not taken");
                Self::Unavailable(UNAVAILABLE_RETRY)
            }
        }
    }
}

/// Where a message got: it is from that home, and this is in it. Its number is taken with what is done about it.
pub(super) struct Read {
    pub(super) own: Arc<Own>,
    pub(super) sender: Arc<Sender>,
    pub(super) now: UnixTime,
    pub(super) cti: Nonce,
    /// What of ours it answers.
    pub(super) answers: Option<Nonce>,
    pub(super) kind: Kind,
    /// `None`: it did not open.
    pub(super) body: Option<Opened>,
    taking: Taking,
}

impl Read {
    /// What goes into the transaction with the effect.
    pub(super) fn taking(&self) -> Taking {
        self.taking.clone()
    }
}

/// A message that stops on the way ends either without a word or with a sealed one.
pub(super) enum Ended {
    Refused(Refused),
    Told(Vec<u8>),
}

impl<T: Into<Refused>> From<T> for Ended {
    fn from(refused: T) -> Self {
        Self::Refused(refused.into())
    }
}

impl Homes {
    /// All steps. The body is read by then, within what `trusted` and a cookie allow.
    pub(super) async fn receive(&self, request: &Request) -> Result<Read, Ended> {
        let shared = &*self.0;
        let own = shared.member.own().ok_or(Refused::Unavailable(UNAVAILABLE_RETRY))?;
        let (boot, now) = (clock::boottime(), super::wall());
        let loaded = self.admit(request, (now, boot))?;
        let cap = if request.body.len() > MESSAGE_BYTES_MAX { REPORT_BYTES_MAX } else { MESSAGE_BYTES_MAX };

        let mut receiver = Receiver::new();
        let raw = &request.body[..];
        let result = self.steps(&own, &mut receiver, raw, cap, loaded, (now, boot)).await;
        shared.metrics.sealed_steps(&receiver.steps());
        result
    }

    /// Whether it is served at all; whether there is a flood.
    fn admit(&self, request: &Request, at: (UnixTime, Duration)) -> Result<bool, Refused> {
        let shared = &*self.0;
        let waiting = crate::limits::WORK_WAITING_MAX - shared.waiting.available_permits();
        let mut gate = locked(&shared.gate);
        let loaded = gate.is_under_load(waiting, at.1);
        let long = request.body.len() > MESSAGE_BYTES_MAX;
        if !loaded && (!long || request.trusted) {
            return Ok(false);
        }
        match gate.admit((request.peer, request.cookie.as_deref(), &request.body), loaded, at) {
            Shown::Known => Ok(loaded),
            Shown::Wanted(challenge) => Err(Refused::Cookie(challenge)),
            Shown::Nothing if long && !request.trusted => Err(Refusal::TooLong.into()),
            Shown::Nothing => Ok(loaded),
        }
    }

    pub(super) async fn steps(
        &self,
        own: &Arc<Own>,
        receiver: &mut Receiver,
        raw: &[u8],
        cap: usize,
        loaded: bool,
        (now, boot): (UnixTime, Duration),
    ) -> Result<Read, Ended> {
        let shared = &*self.0;
        let parsed = receiver.parse(raw, cap).map_err(|stopped| stopped.refusal())?;
        let (party, kid) = parsed.sender();
        let cached = shared.senders.cached(&party);
        let fresh = {
            // The window belongs to the keys: one that is not known yet may begin anew.
            let by_key = cached.as_ref().filter(|known| known.by_kid(kid, now).is_some());
            let window = by_key.map_or(Window::new(), |known| known.window());
            let awaited = shared.senders.awaited(&party);
            let rules = own.policy.rules();
            let at = Situation { me: &own.id, now: Some(now), boot, awaited: &awaited, window: &window, rules: &rules };
            receiver.check(parsed, &at)
        };
        let fresh = match fresh {
            Ok(fresh) => fresh,
            Err(stopped) => return Err(self.explain(own, receiver, stopped, cached, loaded, now).await),
        };
        let sender = shared.senders.find(own, &party, kid, now).await?;
        let verified = {
            let _place = self.place().await?;
            let stated = sender.by_kid(kid, now);
            let entitled = stated.map(|statement| Entitled { statement, revoked: own.is_revoked(statement) });
            receiver.verify(fresh, entitled, Some(now), &own.policy)
        };
        let verified = match verified {
            Ok(verified) => verified,
            Err(stopped) => return Err(self.explain(own, receiver, stopped, Some(sender), loaded, now).await),
        };
        let head = verified.head().clone();
        let within_quota = locked(&shared.quotas).take(sender.site.as_str(), boot);
        if let Err(after) = within_quota {
            return Err(self.told_busy(own, &sender, head.cti, after, now).await);
        }
        let mut awaited = shared.senders.awaited(&party);
        let committed = match receiver.commit(verified, &sender.window(), &mut awaited) {
            Ok((committed, _)) => {
                if head.answers.is_some() {
                    shared.senders.answered(&party, awaited);
                }
                committed
            }
            Err(stopped) => return Err(self.explain(own, receiver, stopped, Some(sender), loaded, now).await),
        };
        let opened = {
            let _place = self.place().await?;
            receiver.open(committed, &own.keys)
        };
        let serial = sender.by_kid(kid, now).map(Statement::serial).ok_or(Refusal::Refused)?;
        let body = match opened {
            Ok(opened) => Some(opened),
            Err(Stopped { reason, .. }) => {
                tracing::debug!(site = %sender.site, %reason, "sealed message not opened");
                None
            }
        };
        let evidence = body.as_ref().map(|opened| Proof {
            serial,
            message: raw.to_vec(),
            salt: opened.salt,
            body: opened.body.to_vec(),
        });
        let taking = Taking {
            site: sender.site.clone(),
            lineage: sender.lineage,
            seq: head.seq,
            answers: head.answers.is_some(),
            now: utility_wire::UnixTime::new(now.0),
            // One that answers a call does not come by itself.
            poll: head.kind == Kind::Poll && head.answers.is_none(),
            evidence,
        };
        Ok(Read { own: own.clone(), sender, now, cti: head.cti, answers: head.answers, kind: head.kind, body, taking })
    }

    /// A place to compute at, waiting for one if there are not too many who do.
    pub(super) async fn place(&self) -> Result<SemaphorePermit<'_>, Refused> {
        let _waiting = self.0.waiting.try_acquire().map_err(|_| Refused::Later(LOAD_RETRY))?;
        let _counted = Held::new(&self.0.metrics.work_waiting);
        self.0.places.acquire().await.map_err(|_| Refused::Later(LOAD_RETRY))
    }

    /// Tells a home whose signature is right why its message stopped; everybody else nothing, and under load nobody anything.
    async fn explain(
        &self,
        own: &Own,
        receiver: &mut Receiver,
        stopped: Stopped<'_>,
        sender: Option<Arc<Sender>>,
        loaded: bool,
        now: UnixTime,
    ) -> Ended {
        tracing::debug!(reason = %stopped.reason, "sealed message stopped");
        self.0.metrics.sealed_stopped.add();
        let (Some(head), false) = (stopped.envelope().map(|e| e.head().clone()), loaded) else {
            return stopped.refusal().into();
        };
        let sender = match sender {
            Some(sender) => sender,
            None => match self.0.senders.known(&head.issuer).await {
                Ok(Some(sender)) => sender,
                Ok(None) => return stopped.refusal().into(),
                Err(error) => return Refused::from(error).into(),
            },
        };
        let error = {
            let place = match self.place().await {
                Ok(place) => place,
                Err(refused) => return refused.into(),
            };
            let stated = sender.by_kid(head.kid, now);
            let entitled = stated.map(|statement| Entitled { statement, revoked: own.is_revoked(statement) });
            let error = receiver.explain(&stopped, entitled, &own.policy, now);
            drop(place);
            error
        };
        match error {
            // A replay that is one in the database was counted there; this one is told the same.
            Ok(error) => {
                // A recorded message costs who sends it again nothing, and us a signature checked and one made: a flood too, if many.
                locked(&self.0.gate).refused(clock::boottime());
                if matches!(error, SealedError::Policy { .. }) {
                    // It may have heard of a newer one sooner than we.
                    self.0.member.claimed(head.policy, clock::boottime());
                }
                self.told(own, &sender, head.cti, error, now).await
            }
            Err(refusal) => refusal.into(),
        }
    }

    async fn told_busy(&self, own: &Own, sender: &Sender, cti: Nonce, after: Duration, now: UnixTime) -> Ended {
        let after_s = crate::quota::retry_after_s(after);
        self.told(own, sender, cti, SealedError::Busy { after_s }, now).await
    }

    /// A sealed error that takes no number of the home's.
    pub(super) async fn told(
        &self,
        own: &Own,
        sender: &Sender,
        cti: Nonce,
        error: SealedError,
        now: UnixTime,
    ) -> Ended {
        let number = match self.0.service.store().next_number(&sender.site).await {
            Ok(number) => number,
            Err(error) => return error.into(),
        };
        match self.sealed(own, sender, number, (Kind::Error, cti), &error.encode(), now).await {
            Ok(bytes) => {
                self.0.metrics.sealed_error(&error);
                Ended::Told(bytes)
            }
            Err(refused) => refused.into(),
        }
    }

    /// A message to a home under its newest key; it may answer it.
    pub(super) async fn sealed(
        &self,
        own: &Own,
        sender: &Sender,
        number: u64,
        (kind, answers): (Kind, Nonce),
        body: &[u8],
        now: UnixTime,
    ) -> Result<Vec<u8>, Refused> {
        let to = sender.newest().ok_or(Refusal::Refused)?;
        let _place = self.place().await?;
        match own.seal(number, to, (kind, Some(answers)), body, now) {
            Ok(sealed) => {
                if kind == Kind::Error {
                    // A home whose window is lost here is heard again when it answers this.
                    self.0.senders.sent(sender.party, sealed.cti);
                }
                Ok(sealed.bytes)
            }
            Err(error) => {
                tracing::error!(site = %sender.site, %error, "an answer was not made");
                Err(Refused::Unavailable(UNAVAILABLE_RETRY))
            }
        }
    }
}
