//! What comes of a home's message: its effect, with window and evidence in one transaction, and the sealed answer.

use std::collections::HashMap;
use std::sync::Mutex;

use secure_http::{Ack, KeyAnswer, Kind, SealedError};
use tokio::sync::oneshot;
use utility_wire::{Message as _, Poll, Report};

use super::receive::{Ended, Read, Refused, Request};
use super::{Homes, locked};
use crate::service::ServiceError;
use crate::sites::SiteId;
use crate::store::{StoreError, Taken};

/// Polls that are held, one for each home: a later one takes the place of an earlier, whose connection is probably gone.
#[derive(Debug, Default)]
pub(super) struct Polls(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    last: u64,
    by_site: HashMap<SiteId, (u64, oneshot::Sender<()>)>,
}

/// A held poll's place, given up when dropped.
struct Place<'p> {
    polls: &'p Polls,
    site: SiteId,
    number: u64,
    displaced: oneshot::Receiver<()>,
}

impl Polls {
    fn take(&self, site: &SiteId) -> Place<'_> {
        let (told, displaced) = oneshot::channel();
        let mut held = locked(&self.0);
        held.last += 1;
        let number = held.last;
        // Dropping the other's sender tells it.
        held.by_site.insert(site.clone(), (number, told));
        Place { polls: self, site: site.clone(), number, displaced }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut held = locked(&self.polls.0);
        if held.by_site.get(&self.site).is_some_and(|(number, _)| *number == self.number) {
            held.by_site.remove(&self.site);
        }
    }
}

impl Homes {
    /// A report: stored once, then acknowledged.
    pub(super) async fn report(&self, request: &Request) -> Result<Vec<u8>, Ended> {
        let read = self.receive(request).await?;
        let report = read.content(Kind::Report).and_then(|body| Report::decode(body).ok());
        let Some(report) = report else { return self.unsupported(&read).await };
        let taken = match self.0.service.handle_report(read.taking(), &report).await {
            Ok(taken) => taken,
            Err(ServiceError::Report(error)) => {
                tracing::info!(site = %read.sender.site, %error, "a report makes no sense");
                return self.unsupported(&read).await;
            }
            Err(error) => return self.not_taken(&read, error).await,
        };
        read.sender.set_window(taken.window);
        self.acknowledged(&read, taken.number, taken.effect.encode()).await
    }

    /// A poll: its outcomes are stored at once, and then it is held until there is something to say.
    pub(super) async fn poll(&self, request: &Request) -> Result<Vec<u8>, Ended> {
        let read = self.receive(request).await?;
        let poll = read.content(Kind::Poll).and_then(|body| Poll::decode(body).ok());
        let Some(poll) = poll else { return self.unsupported(&read).await };
        let taken = match self.0.service.handle_poll(read.taking(), &poll).await {
            Ok(taken) => taken,
            Err(error) => return self.not_taken(&read, error).await,
        };
        read.sender.set_window(taken.window);
        let service = &self.0.service;
        let policy = || self.0.member.policy();
        let site = &read.sender.site;
        let mut place = self.0.polls.take(site);
        let mut stopping = self.0.stopping.clone();
        let stop = async { drop(stopping.wait_for(|stopping| *stopping).await) };
        let told = tokio::select! {
            told = service.next_commands(site, &poll, policy()) => Some(told),
            _ = &mut place.displaced => None,
            () = stop => None,
        };
        let told = match told {
            Some(told) => told,
            None => service.next_commands(site, &Poll { wait_s: 0, ..poll }, policy()).await,
        };
        let command = match told {
            Ok(command) => command,
            Err(error) => return Err(Refused::from(error).into()),
        };
        // Its keys may have changed while it was held. Ours and the policy are those of when it asked, which it goes by.
        let sender = self.0.senders.cached(&read.sender.party).unwrap_or_else(|| read.sender.clone());
        let answered = (Kind::Command, read.cti);
        Ok(self.sealed(&read.own, &sender, taken.number, answered, &command.encode(), super::wall()).await?)
    }

    /// A home's own new statement, or where it is reached now.
    pub(super) async fn key(&self, request: &Request) -> Result<Vec<u8>, Ended> {
        let read = self.receive(request).await?;
        let answer = read.content(Kind::KeyStatement).and_then(|body| KeyAnswer::decode(body).ok());
        let Some(answer) = answer else { return self.unsupported(&read).await };
        let taken = match self.0.service.store().take_number(read.taking()).await {
            Ok(taken) => taken,
            Err(error) => return self.not_taken(&read, ServiceError::Store(error)).await,
        };
        read.sender.set_window(taken.window);
        if self.0.senders.announced(&read.own, &read.sender, answer).await? {
            self.acknowledged(&read, taken.number, Vec::new()).await
        } else {
            self.answered(&read, taken.number, SealedError::Forbidden).await
        }
    }

    async fn acknowledged(&self, read: &Read, number: u64, body: Vec<u8>) -> Result<Vec<u8>, Ended> {
        let ack = Ack {
            time: read.now,
            policy: read.own.policy.version(),
            revocations: read.own.revocations_version(),
            cookie: Some(locked(&self.0.gate).issue(&read.sender.party, read.now)),
            body,
        };
        // A statement that came with this very message is the one to seal to.
        let sender = self.0.senders.cached(&read.sender.party).unwrap_or_else(|| read.sender.clone());
        Ok(self.sealed(&read.own, &sender, number, (Kind::Ack, read.cti), &ack.encode(), read.now).await?)
    }

    /// A message that did not open, or holds what is not understood, has used its number up.
    async fn unsupported(&self, read: &Read) -> Result<Vec<u8>, Ended> {
        match self.0.service.store().take_number(read.taking()).await {
            Ok(Taken { number, window, .. }) => {
                read.sender.set_window(window);
                self.answered(read, number, SealedError::Unsupported).await
            }
            Err(error) => self.not_taken(read, ServiceError::Store(error)).await,
        }
    }

    async fn answered(&self, read: &Read, number: u64, error: SealedError) -> Result<Vec<u8>, Ended> {
        self.0.metrics.sealed_error(&error);
        let answered = (Kind::Error, read.cti);
        Ok(self.sealed(&read.own, &read.sender, number, answered, &error.encode(), read.now).await?)
    }

    async fn not_taken(&self, read: &Read, error: ServiceError) -> Result<Vec<u8>, Ended> {
        match error {
            ServiceError::Store(StoreError::Replay) => {
                // The database knows of other keys or numbers than this replica.
                self.0.senders.forget(&read.sender.party);
                Err(self.told(&read.own, &read.sender, read.cti, SealedError::Replay, read.now).await)
            }
            error => Err(Refused::from(error).into()),
        }
    }
}

impl Read {
    /// What is in it, if it is of that kind.
    pub(super) fn content(&self, kind: Kind) -> Option<&[u8]> {
        self.body.as_ref().filter(|_| self.kind == kind).map(|opened| &opened.body[..])
    }
}

impl From<ServiceError> for Refused {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Store(error) => error.into(),
            ServiceError::Busy { after_s } => Self::Later(std::time::Duration::from_secs(after_s.into())),
            ServiceError::UnknownSite | ServiceError::Report(_) => Self::Stranger(secure_http::Refusal::Refused),
        }
    }
}
