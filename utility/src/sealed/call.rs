//! Calling homes that say where they are reached, so that they need not hold a poll open. The poll is turned round: the home's answer to
//! "what have you?" is its poll, and what it is told answers that, so that a command still answers a nonce of the home's own.
//!
//! A home is called when there is news for it and it does not poll by itself, and once a report period in any case. docs/decisions/0024 says why.

use std::collections::HashMap;
use std::time::Duration;

use daemon_kit::clock;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::limits::MESSAGE_BYTES_MAX;
use secure_http::{Kind, Receiver, answer_challenge};
use secure_link::HttpClient;
use tokio::sync::broadcast::Receiver as Hints;
use tokio::sync::broadcast::error::RecvError;
use utility_wire::endpoints::{CALLED, COMMANDED};
use utility_wire::{Message as _, Poll, UnixTime};

use super::receive::{Ended, Read};
use super::senders::Sender;
use super::{Homes, wall};
use crate::events::Target;
use crate::limits::{
    CALL_AGAIN_FIRST, CALL_AGAIN_LAST, CALL_GAP_S, CALL_TIMEOUT, CALLS_AT_ONCE_MAX, CALLS_LOOK_EVERY, CALLS_READ_EVERY,
    POLLING_S, SENDERS_MAX,
};
use crate::membership::Own;
use crate::sites::{Site, SiteId, until_next};
use crate::store::{Hint, Reachable, StoreError};

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("this utility is not a member of a KMC")]
    Candidate,
    #[error("its keys are not known")]
    Unknown,
    #[error(transparent)]
    Http(#[from] secure_link::HttpError),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer was not taken")]
    Answer,
    #[error("its answer is of another kind")]
    Kind,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Service(#[from] crate::service::ServiceError),
}

/// When a home is called next, time since boot.
#[derive(Clone, Copy, Debug, Default)]
struct Next {
    at: Duration,
    failures: u32,
    /// A call is under way, and whether something happened meanwhile.
    calling: bool,
    again: bool,
}

/// Who is called when.
#[derive(Debug, Default)]
struct Calls {
    next: HashMap<SiteId, Next>,
    /// Homes that can be called, as last read, and when that was.
    reachable: Vec<Reachable>,
    read_at: Option<Duration>,
}

/// Calls homes for as long as the server runs. `hints` tells what changes.
pub async fn call_homes(homes: Homes, mut hints: Hints<Hint>) {
    let mut calls = Calls::default();
    let mut under_way = FuturesUnordered::new();
    let mut look = Duration::ZERO;
    loop {
        let boot = clock::boottime();
        if boot >= look {
            look = boot + CALLS_LOOK_EVERY;
            homes.plan(&mut calls, None).await;
        }
        let due: Vec<SiteId> =
            calls.next.iter().filter(|(_, n)| !n.calling && n.at <= boot).map(|(site, _)| site.clone()).collect();
        for site in due.into_iter().take(CALLS_AT_ONCE_MAX.saturating_sub(under_way.len())) {
            if let Some(n) = calls.next.get_mut(&site) {
                (n.calling, n.again) = (true, false);
                under_way.push(homes.call(site));
            }
        }
        let soonest = calls.next.values().filter(|n| !n.calling).map(|n| n.at).min();
        let wake = soonest.map_or(look, |at| if under_way.len() < CALLS_AT_ONCE_MAX { at.min(look) } else { look });
        tokio::select! {
            hint = hints.recv() => match hint {
                Ok(Hint::Log | Hint::Keys(_)) => {}
                Ok(hint) => homes.plan(&mut calls, Some(&hint)).await,
                Err(RecvError::Lagged(_)) => homes.plan(&mut calls, Some(&Hint::All)).await,
                Err(RecvError::Closed) => return,
            },
            Some((site, called)) = under_way.next() => homes.called(&mut calls.next, &site, called),
            () = tokio::time::sleep(wake.saturating_sub(boot)) => {}
        }
    }
}

impl Homes {
    /// Which homes are to be called: those that a hint concerns at once, the others in their period. Those that poll by now are left alone.
    async fn plan(&self, calls: &mut Calls, hint: Option<&Hint>) {
        if self.0.member.own().is_none() {
            return;
        }
        let (boot, now) = (clock::boottime(), crate::app::wall());
        if calls.read_at.is_none_or(|at| at + CALLS_READ_EVERY <= boot) {
            match self.reachable().await {
                Ok(all) => (calls.reachable, calls.read_at) = (all, Some(boot)),
                Err(error) => return tracing::debug!(%error, "homes to call are not known now"),
            }
            let Calls { next, reachable, .. } = calls;
            next.retain(|site, n| n.calling || reachable.binary_search_by(|r| r.site.id.cmp(site)).is_ok());
        }
        for Reachable { site, .. } in &calls.reachable {
            let period = Duration::from_secs(until_next(&site.id, self.0.service.periods().report_s, now).into());
            let n = calls.next.entry(site.id.clone()).or_insert(Next { at: boot + period, ..Next::default() });
            if hint.is_some_and(|hint| concerns(site, hint)) {
                n.again = true;
                if n.failures == 0 && !n.calling {
                    n.at = n.at.min(boot);
                }
            }
        }
    }

    /// All that can be called and do not poll by themselves, by UUID.
    async fn reachable(&self) -> Result<Vec<Reachable>, StoreError> {
        let silent_since = UnixTime::new(wall().0.saturating_sub(POLLING_S));
        let mut all: Vec<Reachable> = Vec::new();
        while all.len() < SENDERS_MAX {
            let after = all.last().map(|r| r.site.id.to_string()).unwrap_or_default();
            let page = self.0.service.store().reachable(silent_since, &after).await?;
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        Ok(all)
    }

    fn called(&self, next: &mut HashMap<SiteId, Next>, site: &SiteId, called: Result<bool, CallError>) {
        let Some(n) = next.get_mut(site) else { return };
        n.calling = false;
        let boot = clock::boottime();
        match called {
            Ok(true) => {
                self.0.metrics.calls.add();
                let period = until_next(site, self.0.service.periods().report_s, crate::app::wall());
                let wait = if n.again { CALL_GAP_S } else { period.into() };
                (n.at, n.failures) = (boot + Duration::from_secs(wait), 0);
            }
            // Too soon after the last call, perhaps another replica's: whether that one told everything shows the next.
            Ok(false) => n.at = boot + Duration::from_secs(CALL_GAP_S),
            Err(error) => {
                self.0.metrics.calls_failed.add();
                let doubled = CALL_AGAIN_FIRST.saturating_mul(1 << n.failures.min(16));
                (n.at, n.failures) = (boot + doubled.min(CALL_AGAIN_LAST), n.failures + 1);
                let cause = std::error::Error::source(&error).map(|c| format!(": {c}")).unwrap_or_default();
                tracing::debug!(%site, error = format!("{error}{cause}"), failures = n.failures, "home not called");
            }
        }
    }

    async fn call(&self, site: SiteId) -> (SiteId, Result<bool, CallError>) {
        let called = self.talk(&site).await;
        (site, called)
    }

    /// Whether it was called, and not too soon.
    async fn talk(&self, site: &SiteId) -> Result<bool, CallError> {
        let store = self.0.service.store();
        if !store.begin_call(site, CALL_GAP_S, crate::app::wall()).await? {
            return Ok(false);
        }
        let own = self.0.member.own().ok_or(CallError::Candidate)?;
        let host = store.channel(site).await?.flatten().and_then(|channel| channel.host).ok_or(CallError::Unknown)?;
        let party = site.as_str().parse().map_err(|_| CallError::Unknown)?;
        let sender = self.0.senders.known(&party).await.ok().flatten().ok_or(CallError::Unknown)?;
        let asked = self.exchange(&own, &sender, &host, CALLED, (None, Kind::Poll, &[])).await;
        let read = match asked {
            Err(CallError::Http(error)) => {
                // It may have moved.
                let _ = self.0.senders.look_again(&own, &sender).await;
                return Err(error.into());
            }
            read => read?,
        };
        let body = read.content(Kind::Poll).ok_or(CallError::Kind)?;
        let poll = Poll { wait_s: 0, ..Poll::decode(body).map_err(|_| CallError::Kind)? };
        let taken = self.0.service.handle_poll(read.taking(), &poll).await?;
        read.sender.set_window(taken.window);
        let command = self.0.service.next_commands(site, &poll, self.0.member.policy()).await?;
        if command.limits.is_none() && command.controls.is_empty() && command.current == poll.have {
            return Ok(true);
        }
        let told = (Some((taken.number, read.cti)), Kind::Command, &command.encode()[..]);
        let read = self.exchange(&own, &read.sender, &host, COMMANDED, told).await?;
        let window = store.take_number(read.taking()).await?.window;
        read.sender.set_window(window);
        if read.kind == Kind::Ack && read.body.is_some() { Ok(true) } else { Err(CallError::Kind) }
    }

    /// Says something to a home, and takes its answer as far as reading it.
    async fn exchange(
        &self,
        own: &std::sync::Arc<Own>,
        sender: &Sender,
        host: &str,
        path: &str,
        (answers, kind, body): (Option<(u64, secure_http::Nonce)>, Kind, &[u8]),
    ) -> Result<Read, CallError> {
        let number = match answers {
            Some((number, _)) => number,
            None => self.0.service.store().next_number(&sender.site).await?,
        };
        let to = sender.newest().ok_or(CallError::Unknown)?;
        let sealed = {
            let _place = self.place().await.map_err(|_| CallError::Answer)?;
            own.seal(number, to, (kind, answers.map(|(_, cti)| cti)), body, wall()).map_err(|_| CallError::Answer)?
        };
        self.0.senders.sent(sender.party, sealed.cti);
        let http = HttpClient::new(host).answering_within(CALL_TIMEOUT);
        let mut answer = http.post(path, CONTENT_TYPE_SIGN1, sealed.bytes.clone(), None).await?;
        let cookie = answer.challenge.as_deref().and_then(|challenge| answer_challenge(challenge, &sealed.bytes));
        if let (429, Some(cookie)) = (answer.status.as_u16(), cookie) {
            answer = http.post(path, CONTENT_TYPE_SIGN1, sealed.bytes, Some(&cookie)).await?;
        }
        if answer.status.as_u16() != 200 {
            return Err(CallError::Status(answer.status.as_u16()));
        }
        let mut receiver = Receiver::new();
        // As under load: there is nobody to explain anything to.
        let at = (wall(), clock::boottime());
        let read = self.steps(own, &mut receiver, &answer.body, MESSAGE_BYTES_MAX, true, at).await;
        self.0.metrics.sealed_steps(&receiver.steps());
        let read = match read {
            Ok(read) => read,
            Err(Ended::Refused(_) | Ended::Told(_)) => return Err(CallError::Answer),
        };
        if read.sender.party == sender.party && read.answers == Some(sealed.cti) {
            Ok(read)
        } else {
            Err(CallError::Answer)
        }
    }
}

/// Whether a hint is about something that a home is told.
fn concerns(site: &Site, hint: &Hint) -> bool {
    match hint {
        Hint::Site(id) => id == site.id.as_str(),
        Hint::Zone(zone) => zone == site.zone.as_str(),
        Hint::Group(group) => Target::of(site).iter().any(|t| matches!(t, Target::Group(g) if g.as_str() == group)),
        Hint::All => true,
        Hint::Log | Hint::Keys(_) => false,
    }
}
