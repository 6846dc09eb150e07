//! What the utility keeps: sites and what they told, prices, limits, controls, operators, and a log of every change.
//!
//! [`Store`] is the one face; behind it any backend that can run a piece of work in one transaction (`backend.rs`): SQLite in a file
//! without set-up, or PostgreSQL. The work itself is written once, one file per subject. Whatever a method has answered `Ok` to is on
//! the disk.

mod backend;
mod channel;
mod decisions;
mod events;
mod log;
mod membership;
mod operators;
mod postgres;
mod prices;
mod rules;
mod schema;
mod sites;
mod sqlite;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

pub use backend::Hint;
pub use channel::{Adoption, Believed, Channel, Evidence, Proof, Reachable, Taken, Taking};
pub use decisions::Decision;
pub use events::Responses;
pub use log::Change;
pub use membership::{Held, MembershipRow};
pub use operators::{Operator, Role, RoleError, Token};
pub(crate) use prices::etag_of;
pub use prices::{Object, PublishedPrices};
pub use sites::{Added, MeterInterval, SiteQuery};

use crate::events::EventError;
use crate::rules::Memory;
use backend::{Backend, Tx};

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such site.
    #[error("there is no site {0}")]
    UnknownSite(String),
    /// The home has no such appliance.
    #[error("site {site} has no appliance {appliance}")]
    UnknownAppliance {
        /// The home.
        site: String,
        /// The appliance asked for.
        appliance: String,
    },
    /// There is no such limit or control.
    #[error("there is no {0}")]
    UnknownEvent(String),
    /// There is no such operator.
    #[error("there is no operator {0}")]
    UnknownOperator(String),
    /// It is there already, and differs.
    #[error("{0}")]
    Conflict(String),
    /// The rules of limits and controls forbid it.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A message of this number was taken from that home, or its keys are others by now.
    #[error("the message was taken before")]
    Replay,
    /// More of them than are kept.
    #[error("there are {0} already, which is as many as there may be")]
    TooMany(&'static str),
    /// Too much waits; try again.
    #[error("the database is busy")]
    Busy,
    /// It cannot be reached or written now.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The file is damaged, or no database.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// A row holds something that we did not write.
    #[error("a stored row is not understood (column {column})")]
    Row {
        /// Its column, from 0.
        column: usize,
    },
    /// It was written by a later version of this program.
    #[error("{what} has schema {found}, made by a later version; this one knows up to {known}")]
    TooNew {
        /// File or database.
        what: String,
        /// Its schema version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The file cannot be made or written.
    #[error("cannot open {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a connection string.
    #[error("the connection to PostgreSQL is not understood: {0}")]
    Connection(String),
    /// Anything else SQLite says.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    /// Anything else PostgreSQL says.
    #[error("PostgreSQL: {0}")]
    Postgres(String),
}

/// The open database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.backend.name()).finish()
    }
}

impl Store {
    /// A file, made if it is not there.
    ///
    /// # Errors
    /// It cannot be opened, is damaged, or of a later version.
    pub fn sqlite(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { backend: Arc::new(sqlite::Sqlite::open(path, schema::MIGRATIONS)?) })
    }

    /// A PostgreSQL database, by libpq's `key=value` string or `postgres://` URL, with so many connections. In a tokio runtime.
    ///
    /// # Errors
    /// It cannot be reached, or is of a later version.
    pub async fn postgres(connection: &str, connections: usize) -> Result<Self, StoreError> {
        let config = connection.parse().map_err(|e: tokio_postgres::Error| {
            let why = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
            StoreError::Connection(why)
        })?;
        let backend = postgres::Postgres::open(config, connections, schema::MIGRATIONS).await?;
        Ok(Self { backend: Arc::new(backend) })
    }

    /// `sqlite` or `postgres`.
    pub fn backend(&self) -> &'static str {
        self.backend.name()
    }

    /// What changes from now on, here and at other replicas. A hint only.
    pub fn hints(&self) -> broadcast::Receiver<Hint> {
        self.backend.hints()
    }

    /// Runs work that changes something; when it returns `Ok` the work is on the disk.
    async fn write<T: Send + 'static>(
        &self,
        work: impl for<'t> FnOnce(&'t mut dyn Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (work, result) = slot(work);
        self.backend.write(work).await?;
        taken(&result)
    }

    /// Runs work that only reads.
    async fn read<T: Send + 'static>(
        &self,
        work: impl for<'t> FnOnce(&'t mut dyn Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (work, result) = slot(work);
        self.backend.read(work).await?;
        taken(&result)
    }
}

type Slot<T> = Arc<Mutex<Option<T>>>;

/// Work whose result goes into a slot: a backend knows nothing of results.
fn slot<T: Send + 'static>(
    work: impl for<'t> FnOnce(&'t mut dyn Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
) -> (backend::Work, Slot<T>) {
    let result = Slot::<T>::default();
    let into = result.clone();
    let work: backend::Work = Box::new(move |tx| {
        let done = work(tx);
        Box::pin(async move {
            let value = done.await?;
            *into.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            Ok(())
        })
    });
    (work, result)
}

fn taken<T>(slot: &Slot<T>) -> Result<T, StoreError> {
    let value = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    value.ok_or_else(|| StoreError::Unavailable("the work gave no result".to_owned()))
}

/// What a rule remembers, with the version that a change has to be based on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMemory {
    /// Its version; 0 for none yet.
    pub version: u64,
    /// The memory.
    pub memory: Memory,
    /// Why it last did what it did.
    pub why: String,
}

/// `($1, $2, $3), ($4, ...` for so many rows of so many columns.
fn places(rows: usize, columns: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let separator = if column == 0 { "" } else { ", " };
            text.push_str(&format!("{separator}${}", row * columns + column + 1));
        }
        text.push(')');
    }
    text
}

/// The next number of a limit or control. The caller must be alone.
async fn next_event(tx: &mut dyn Tx) -> Result<utility_wire::EventId, StoreError> {
    let rows = tx.query("UPDATE meta SET value = value + 1 WHERE key = 'event' RETURNING value", &[]).await?;
    let number = rows.first().ok_or(StoreError::Row { column: 0 })?.u64(0)?;
    utility_wire::EventId::new(number).ok_or(StoreError::Row { column: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbered_through() {
        assert_eq!(places(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }
}
