//! The system bus (IO): one connection, tried again for ever, and the signals that come over it.
//!
//! `DBUS_SYSTEM_BUS_ADDRESS` is honoured. Without a bus the agent runs on; what needs it says so.
//!
//! Of `org.freedesktop.DBus` it uses `AddMatch`, `GetNameOwner` and the signal `NameOwnerChanged`. What is used of logind and
//! of systemd stands at the head of `logind.rs` and `operation.rs`. A signal counts only when it comes from the owner of
//! the name: any user of the machine may send one that looks the same.

use core::fmt;
use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;

use futures_util::StreamExt as _;
use serde::Serialize;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, DBusError as _, DynamicType, Message, MessageStream};

use crate::limits::{BUS_CALL_WITHIN, BUS_CONNECT_WITHIN, BUS_RETRY_FIRST, BUS_RETRY_LONGEST, BUS_SIGNALS_QUEUED_MAX};

const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";

/// Why a bus call came to nothing, in the words of the one who refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// There is no connection.
    #[error("no system bus: {0}")]
    Absent(String),
    /// The service answered with an error.
    #[error("{text}")]
    Refused {
        /// The error's D-Bus name.
        name: String,
        /// Its text.
        text: String,
    },
    /// No answer, a broken one, or a lost connection.
    #[error("{0}")]
    Failed(String),
}

impl From<zbus::Error> for BusError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, text, _) => {
                let name = name.to_string();
                Self::Refused { text: text.unwrap_or_else(|| name.clone()), name }
            }
            zbus::Error::FDO(error) => {
                let name = error.name().to_string();
                Self::Refused { text: error.description().unwrap_or(&name).to_owned(), name }
            }
            error => Self::Failed(error.to_string()),
        }
    }
}

/// A connection to call by; cheap to clone, without life of its own.
#[derive(Clone)]
pub struct Caller(Connection);

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Caller")
    }
}

impl Caller {
    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    /// The service's refusal, or no answer within [`BUS_CALL_WITHIN`].
    pub async fn call<B>(
        &self,
        service: &str,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<Message, BusError>
    where
        B: Serialize + DynamicType,
    {
        Ok(self.0.call_method(Some(service), path, Some(interface), method, body).await?)
    }

    async fn watch(&self, rule: &str) -> Result<(), BusError> {
        self.call(BUS, BUS_PATH, BUS, "AddMatch", &rule).await.map(drop)
    }

    async fn owner(&self, service: &str) -> Result<Option<String>, BusError> {
        match self.call(BUS, BUS_PATH, BUS, "GetNameOwner", &service).await {
            Ok(reply) => Ok(reply.body().deserialize().map(Some)?),
            Err(BusError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A signal from one of the services watched.
#[derive(Debug)]
pub struct BusSignal {
    /// The service, by its well-known name.
    pub service: &'static str,
    /// Object path, interface, member and arguments.
    pub message: Message,
}

/// What happened on the bus.
#[derive(Debug)]
pub enum BusEvent {
    /// The connection is there, with all matches in place.
    Up,
    /// It is lost, or could not be made; it is tried again.
    Down,
    /// A service came up, or another process took its name: what it held for us is gone.
    Appeared(&'static str),
    /// A service went away.
    Vanished(&'static str),
    /// A signal.
    Signal(BusSignal),
}

/// What to watch.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Well-known name of the service.
    pub service: &'static str,
    /// Object path the signal comes from.
    pub path: String,
    /// Interface.
    pub interface: &'static str,
    /// The signal.
    pub member: &'static str,
}

type Connecting = Pin<Box<dyn Future<Output = Result<(Caller, MessageStream, Owners), BusError>>>>;
type Owners = BTreeMap<&'static str, Option<String>>;

enum Link {
    Down { retry: u32, connecting: Option<Connecting> },
    Up { caller: Caller, stream: Box<MessageStream>, owners: Owners },
}

/// The connection.
pub struct Bus {
    watches: Vec<Watch>,
    link: Link,
    why: String,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("why", &self.why).finish_non_exhaustive()
    }
}

impl Bus {
    /// A bus not yet connected to; [`next`](Self::next) does that.
    pub fn new(watches: Vec<Watch>) -> Self {
        let link = Link::Down { retry: 0, connecting: None };
        Self { watches, link, why: "not connected yet".to_owned() }
    }

    /// The connection, to call by.
    ///
    /// # Errors
    /// Why there is none.
    pub fn caller(&self) -> Result<Caller, BusError> {
        match &self.link {
            Link::Up { caller, .. } => Ok(caller.clone()),
            Link::Down { .. } => Err(BusError::Absent(self.why.clone())),
        }
    }

    /// Whether `service` is running.
    pub fn runs(&self, service: &str) -> bool {
        match &self.link {
            Link::Up { owners, .. } => owners.get(service).is_some_and(Option::is_some),
            Link::Down { .. } => false,
        }
    }

    /// Waits for the next event. Cancel safe.
    pub async fn next(&mut self) -> BusEvent {
        loop {
            match &mut self.link {
                Link::Down { retry, connecting } => {
                    let attempt = connecting.get_or_insert_with(|| Box::pin(connect(*retry, self.watches.clone())));
                    let result = attempt.await;
                    *connecting = None;
                    match result {
                        Ok((caller, stream, owners)) => {
                            self.link = Link::Up { caller, stream: Box::new(stream), owners };
                            return BusEvent::Up;
                        }
                        Err(error) => {
                            *retry = retry.saturating_add(1);
                            let why = error.to_string();
                            if why != self.why {
                                tracing::warn!(%error, "no system bus");
                                self.why = why;
                                return BusEvent::Down;
                            }
                        }
                    }
                }
                Link::Up { stream, owners, .. } => match stream.next().await {
                    Some(Ok(message)) => {
                        if let Some(event) = sort(message, owners) {
                            return event;
                        }
                    }
                    end => {
                        self.why = match end {
                            Some(Err(error)) => error.to_string(),
                            _ => "the connection was closed".to_owned(),
                        };
                        tracing::warn!(why = self.why, "system bus lost");
                        self.link = Link::Down { retry: 1, connecting: None };
                        return BusEvent::Down;
                    }
                },
            }
        }
    }
}

/// Connects after a pause that doubles with each failure, and sets the matches.
async fn connect(retry: u32, watches: Vec<Watch>) -> Result<(Caller, MessageStream, Owners), BusError> {
    if retry > 0 {
        let pause = BUS_RETRY_FIRST * 2u32.saturating_pow((retry - 1).min(16));
        tokio::time::sleep(pause.min(BUS_RETRY_LONGEST)).await;
    }
    let attempt = async {
        let queued = NonZeroUsize::new(BUS_SIGNALS_QUEUED_MAX).unwrap_or(NonZeroUsize::MIN);
        let connection = Builder::system().method_timeout(BUS_CALL_WITHIN).max_queued(queued).build().await?;
        let caller = Caller(connection.clone());
        let mut owners = Owners::new();
        let mut rules = Vec::new();
        for watch in &watches {
            let Watch { service, path, interface, member } = watch;
            if owners.insert(*service, None).is_none() {
                rules.push(format!("type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{service}'"));
            }
            rules.push(format!(
                "type='signal',sender='{service}',path='{path}',interface='{interface}',member='{member}'"
            ));
        }
        for rule in &rules {
            caller.watch(rule).await?;
        }
        // From here on signals queue up; the calls before it brought none of ours.
        let stream = MessageStream::from(&connection);
        for (service, owner) in &mut owners {
            *owner = caller.owner(service).await?;
        }
        Ok((caller, stream, owners))
    };
    match tokio::time::timeout(BUS_CONNECT_WITHIN, attempt).await {
        Ok(result) => result,
        Err(_) => Err(BusError::Failed("no answer from the system bus".to_owned())),
    }
}

/// Takes a signal for what it is; anything else, and signals from the wrong sender, are dropped.
fn sort(message: Message, owners: &mut Owners) -> Option<BusEvent> {
    if message.message_type() != Type::Signal {
        return None;
    }
    let header = message.header();
    let sender = header.sender()?.to_string();
    if sender == BUS {
        if header.member()?.as_str() != "NameOwnerChanged" {
            return None;
        }
        let body = message.body();
        let (name, _, owner): (&str, &str, &str) = body.deserialize().ok()?;
        let (service, known) = owners.iter_mut().find(|(service, _)| **service == name)?;
        *known = (!owner.is_empty()).then(|| owner.to_owned());
        return Some(if known.is_some() { BusEvent::Appeared(service) } else { BusEvent::Vanished(service) });
    }
    let service =
        owners.iter().find(|(_, owner)| owner.as_deref() == Some(sender.as_str())).map(|(service, _)| *service);
    match service {
        Some(service) => {
            drop(header);
            Some(BusEvent::Signal(BusSignal { service, message }))
        }
        None => {
            tracing::debug!(sender, "signal from a stranger dropped");
            None
        }
    }
}
