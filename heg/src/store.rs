//! The database: appliances, registrations, what is kept of the utility and of the plan, and the journal over a restart. IO, one database,
//! one connection. What was acknowledged is there after a power cut. A damaged one is set aside under a new name, never overwritten;
//! `file` says how both are held.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use daemon_kit::exit::Exit;
use energy_model::{DailyWindow, RegId, TimeOfDay, Watts};
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, params};
use upnp::ids::Udn;

use crate::gateway::Restored;
use crate::journal::Entry;
use crate::limits::{
    DECIDED_LOOKED_THROUGH, DECIDED_MAX, JOURNAL_LEAP_ENTRIES, JOURNAL_LEAP_FRESH_MS, JOURNAL_LEAP_MS,
    PRUNE_MANY_EVERY, PRUNE_OLD_EVERY,
};
use crate::planner;
use crate::registrations::{Key, Registrant, Registration, Wish};
use crate::registry::{Facts, KnownBy, Profile};
use crate::utility::Slot;

pub mod batch;
mod file;
#[cfg(test)]
mod tests;
pub mod worker;

use batch::Batch;

/// File in the state directory.
pub const FILE: &str = "heg.db";

/// `PRAGMA application_id`: "HEG1", so that `file` and we can tell whose database it is.
const APPLICATION_ID: i32 = 0x4845_4731;

/// Each step takes the schema from the version before it to its own (its place in the list, from 1).
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE appliance (
        udn TEXT PRIMARY KEY, name TEXT NOT NULL, maker TEXT NOT NULL, model TEXT NOT NULL, address TEXT, mac TEXT,
        wake_method TEXT, rated_power INTEGER, importance TEXT, flexibility TEXT, minimum_on INTEGER, minimum_off INTEGER,
        state TEXT, since INTEGER NOT NULL, last_known TEXT, last_seen INTEGER, known_by TEXT NOT NULL,
        last_refusal TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE registration (
        place TEXT NOT NULL, udn TEXT NOT NULL, reg INTEGER NOT NULL, wish TEXT NOT NULL, start TEXT NOT NULL, stop TEXT,
        registrant TEXT NOT NULL, made INTEGER NOT NULL, due INTEGER, PRIMARY KEY (place, udn, reg)
    ) WITHOUT ROWID;
    CREATE TABLE journal (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, udn TEXT, action TEXT NOT NULL, cause TEXT NOT NULL,
        ending TEXT NOT NULL, reason TEXT NOT NULL
    );
",
    "CREATE TABLE utility (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL);",
    "CREATE TABLE planner (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;",
];

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room on the disk.
    #[error("the disk is full")]
    Full(#[source] rusqlite::Error),
    /// The file is damaged, or no database.
    #[error("the database is damaged")]
    Damaged(#[source] rusqlite::Error),
    /// It was written by a later version of this program.
    #[error("{path} has schema {found}, made by a later version; this one knows up to {known}", path = path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
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
    /// The damaged file could not be moved out of the way.
    #[error("cannot set {path} aside", path = path.display())]
    SetAside {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Anything else SQLite says.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
}

impl StoreError {
    /// How the daemon ends that could not open it.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Damaged(_) | Self::TooNew { .. } => Exit::DataErr,
            _ => Exit::IoErr,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error),
            _ => Self::Sqlite(error),
        }
    }
}

/// How long the journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Entries older than this go.
    pub age: Duration,
    /// Beyond this many the oldest go.
    pub entries: u32,
}

/// Which part of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalQuery {
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Only of this appliance.
    pub udn: Option<Udn>,
    /// At most so many, the latest.
    pub limit: u32,
}

/// The open database.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
    retention: Retention,
    pruned: Option<Timestamp>,
    /// Journal entries that it holds.
    journal_rows: u64,
}

/// A database opened: what it holds, and what had to be done for it.
#[derive(Debug)]
pub struct Opened {
    /// The database.
    pub store: Store,
    /// What it held.
    pub restored: Restored,
    /// Where a damaged predecessor was put, with the reason; for log and status.
    pub set_aside: Option<String>,
}

impl Store {
    /// Opens or makes the database at `path`. One that is damaged is renamed and an empty one made in its place; RegIDs then go
    /// on from the minutes since 1970, above any number given before.
    pub fn open(path: &Path, retention: Retention, now: Timestamp) -> Result<Opened, StoreError> {
        match Self::open_sound(path, retention) {
            Ok((store, restored)) => Ok(Opened { store, restored, set_aside: None }),
            Err(StoreError::Damaged(error)) => {
                let aside = file::set_aside(path, now)?;
                let note = format!(
                    "the database was damaged ({error}); it is now {} and a new one was begun",
                    aside.display()
                );
                tracing::error!(path = %path.display(), aside = %aside.display(), %error, "database damaged and set aside");
                let (store, mut restored) = Self::open_sound(path, retention)?;
                restored.last_reg = u32::try_from(now.as_second() / 60).unwrap_or(0);
                put_last_reg(&store.connection, restored.last_reg)?;
                Ok(Opened { store, restored, set_aside: Some(note) })
            }
            Err(error) => Err(error),
        }
    }

    fn open_sound(path: &Path, retention: Retention) -> Result<(Self, Restored), StoreError> {
        let connection = file::open(path)?;
        let mut store = Self { path: path.to_owned(), connection, retention, pruned: None, journal_rows: 0 };
        store.migrate()?;
        let rows: u32 = store.connection.query_row("SELECT count(*) FROM journal", [], |row| row.get(0))?;
        store.journal_rows = rows.into();
        let restored = store.restore()?;
        Ok((store, restored))
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let known = MIGRATIONS.len() as u32;
        let found: u32 = self.connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > known {
            return Err(StoreError::TooNew { path: self.path.clone(), found, known });
        }
        for (version, step) in (1u32..).zip(MIGRATIONS).skip(found as usize) {
            let transaction = self.connection.transaction()?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.commit()?;
        }
        // Of earlier versions, which do without as well: each entry was written a second time for it, and what is searched by time is read
        // through as quickly. On a full disk it goes another time.
        match self.connection.execute_batch("DROP INDEX IF EXISTS journal_at").map_err(StoreError::from) {
            Err(error @ (StoreError::Damaged(_) | StoreError::Sqlite(_))) => Err(error),
            _ => Ok(()),
        }
    }

    fn restore(&self) -> Result<Restored, StoreError> {
        let last_reg = self
            .connection
            .query_row("SELECT value FROM meta WHERE key = 'last-reg'", [], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        Ok(Restored {
            appliances: self.rows("SELECT * FROM appliance", profile)?,
            registrations: self.rows("SELECT * FROM registration", registration)?,
            last_reg,
            planner: self.rows("SELECT * FROM planner", planner_row)?,
            utility: self.rows("SELECT * FROM utility", utility_row)?,
        })
    }

    /// Rows that make no sense (edited by hand, written by a program we do not know) are left out and logged.
    fn rows<T>(
        &self,
        sql: &str,
        read: fn(&Row<'_>) -> Result<Option<T>, rusqlite::Error>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            match read(row) {
                Ok(Some(value)) => all.push(value),
                Ok(None)
                | Err(rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::IntegralValueOutOfRange(..)) => {
                    tracing::warn!(sql, "a stored row is not understood and left out");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    /// Writes a batch in one transaction: all of it is on the disk afterwards, or nothing of it.
    pub fn write(&mut self, batch: &Batch, now: Timestamp) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let transaction = self.connection.transaction()?;
        for (udn, profile) in &batch.appliances {
            match profile {
                Some(profile) => put_profile(&transaction, profile)?,
                None => {
                    transaction.execute("DELETE FROM appliance WHERE udn = ?1", [udn.as_str()])?;
                }
            }
        }
        for (key, registration) in &batch.registrations {
            match registration {
                Some(registration) => put_registration(&transaction, registration)?,
                None => {
                    let (place, udn, reg) = key_columns(key);
                    let sql = "DELETE FROM registration WHERE place = ?1 AND (?2 = '' OR udn = ?2) AND reg = ?3";
                    transaction.execute(sql, params![place, udn, reg])?;
                }
            }
        }
        for (slot, value) in &batch.planner {
            let key = slot.key();
            match value {
                Some(value) => transaction.execute(
                    "INSERT INTO planner VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
                    params![key, value],
                )?,
                None => transaction.execute("DELETE FROM planner WHERE key = ?1", [key])?,
            };
        }
        for (slot, value) in &batch.utility {
            let key = slot.key();
            match value {
                Some(value) => transaction.execute(
                    "INSERT INTO utility VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
                    params![key, value],
                )?,
                None => transaction.execute("DELETE FROM utility WHERE key = ?1", [key])?,
            };
        }
        if batch.last_reg > 0 {
            put_last_reg(&transaction, batch.last_reg)?;
        }
        let rows = self.journal_rows + batch.journal.len() as u64;
        let since = self.pruned.map(|at| now.duration_since(at).unsigned_abs());
        let old = since.is_none_or(|since| since >= PRUNE_OLD_EVERY);
        let many = rows > self.retention.entries.into() && since.is_none_or(|since| since >= PRUNE_MANY_EVERY);
        let prune = (old || many) && !batch.journal.is_empty();
        let leapt = prune && clock_has_leapt(&transaction, now)?;
        for entry in &batch.journal {
            put_entry(&transaction, entry)?;
        }
        let mut gone = 0;
        if prune {
            let oldest = now.checked_sub(self.retention.age).unwrap_or(Timestamp::UNIX_EPOCH);
            // After a leap of the clock only their number counts: it may be set back, and by such a clock all are old.
            if !leapt {
                gone += transaction.execute("DELETE FROM journal WHERE at < ?1", [oldest.as_millisecond()])?;
            }
            let sql = "DELETE FROM journal WHERE id <= (SELECT MAX(id) FROM journal) - ?1";
            gone += transaction.execute(sql, [self.retention.entries])?;
        }
        transaction.commit()?;
        self.journal_rows = rows.saturating_sub(gone as u64);
        if prune {
            self.pruned = Some(now);
        }
        Ok(())
    }

    /// Journal entries that it holds, and the size of its files, bytes.
    pub fn size(&self) -> (u64, u64) {
        (self.journal_rows, file::bytes(&self.path))
    }

    /// The latest entries that fit, oldest first.
    pub fn journal(&self, query: &JournalQuery) -> Result<Vec<Entry>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT * FROM (SELECT * FROM journal WHERE at >= ?1 AND (?2 = '' OR udn = ?2) ORDER BY id DESC LIMIT ?3)
             ORDER BY id",
        )?;
        let since = query.since.map_or(i64::MIN, Timestamp::as_millisecond);
        let udn = query.udn.as_ref().map_or("", Udn::as_str);
        let mut rows = statement.query(params![since, udn, query.limit])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.extend(entry(row)?);
        }
        Ok(entries)
    }

    /// The latest entries of which decisions are made, oldest first: orders, and what the planner decided. Older ones are not looked through.
    pub fn decided(&self) -> Result<Vec<Entry>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT * FROM (SELECT * FROM journal WHERE id > (SELECT MAX(id) FROM journal) - ?1 AND udn IS NOT NULL
             AND (action LIKE 'plan %' OR action IN ('OperationOn', 'OperationOff', 'GoToStandby'))
             ORDER BY id DESC LIMIT ?2) ORDER BY id",
        )?;
        let mut rows = statement.query([DECIDED_LOOKED_THROUGH, DECIDED_MAX])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.extend(entry(row)?);
        }
        Ok(entries)
    }

    /// Takes another retention; it counts from the next pruning.
    pub fn set_retention(&mut self, retention: Retention) {
        self.retention = retention;
        self.pruned = None;
    }

    /// Bounds the file to its present size, as a full disk does.
    #[cfg(test)]
    fn fill_disk(&self, full: bool) {
        let pages: i64 = self.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let limit = if full { pages } else { 1_000_000 };
        self.connection.query_row(&format!("PRAGMA max_page_count={limit}"), [], |_| Ok(())).unwrap();
    }
}

fn put_profile(transaction: &Transaction<'_>, p: &Profile) -> Result<(), rusqlite::Error> {
    let facts = p.facts.as_ref();
    transaction.execute(
        "INSERT OR REPLACE INTO appliance VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18)",
        params![
            p.udn.as_str(),
            &*p.name,
            &*p.maker,
            &*p.model,
            p.address.map(|a| a.to_string()),
            p.mac.map(|m| m.to_string()),
            p.wake_method.map(|m| m.as_str()),
            facts.map(|f| f.rated_power.count()),
            facts.map(|f| f.importance.as_str()),
            facts.map(|f| f.flexibility.as_str()),
            facts.map(|f| f.minimum_on_s),
            facts.map(|f| f.minimum_off_s),
            p.state.map(|s| s.as_str()),
            p.since.as_millisecond(),
            p.last_known.map(|s| s.as_str()),
            p.last_seen.map(Timestamp::as_millisecond),
            match p.known_by {
                KnownBy::Discovery => "discovery",
                KnownBy::OwnRequest => "own-request",
            },
            &*p.last_refusal,
        ],
    )?;
    Ok(())
}

fn profile(row: &Row<'_>) -> Result<Option<Profile>, rusqlite::Error> {
    let Ok(udn) = Udn::parse(&row.get::<_, String>("udn")?) else { return Ok(None) };
    let facts = match (row.get("rated_power")?, word(row, "importance")?, word(row, "flexibility")?) {
        (Some(power), Some(importance), Some(flexibility)) => Some(Facts {
            rated_power: Watts::new(power),
            importance,
            flexibility,
            minimum_on_s: row.get::<_, Option<u32>>("minimum_on")?.unwrap_or(0),
            minimum_off_s: row.get::<_, Option<u32>>("minimum_off")?.unwrap_or(0),
        }),
        _ => None,
    };
    Ok(Some(Profile {
        udn,
        name: row.get::<_, String>("name")?.into(),
        maker: row.get::<_, String>("maker")?.into(),
        model: row.get::<_, String>("model")?.into(),
        address: word(row, "address")?,
        mac: word(row, "mac")?,
        wake_method: word(row, "wake_method")?,
        facts,
        power: None,
        state: word(row, "state")?,
        since: moment(row, "since")?.unwrap_or(Timestamp::UNIX_EPOCH),
        last_known: word(row, "last_known")?,
        last_seen: moment(row, "last_seen")?,
        known_by: if row.get::<_, String>("known_by")? == "discovery" {
            KnownBy::Discovery
        } else {
            KnownBy::OwnRequest
        },
        last_refusal: row.get::<_, String>("last_refusal")?.into(),
    }))
}

/// A registration kept here is found by its number alone, so its UDN is no part of its key.
fn key_columns(key: &Key) -> (&'static str, &str, u32) {
    match key {
        Key::Here(reg) => ("gateway", "", reg.number()),
        Key::There(udn, reg) => ("appliance", udn.as_str(), reg.number()),
    }
}

fn put_registration(transaction: &Transaction<'_>, r: &Registration) -> Result<(), rusqlite::Error> {
    let key = r.key();
    let (place, _, reg) = key_columns(&key);
    let (wish, start, stop) = match r.wish {
        Wish::WakeUp(at) => ("WakeUpTime", at, None),
        Wish::NoStandby(w) => ("NoStandbyPeriod", w.start(), Some(w.end())),
        Wish::Standby(w) => ("StandbyPeriod", w.start(), Some(w.end())),
    };
    let registrant = match r.by {
        Registrant::Appliance => "appliance".to_owned(),
        Registrant::Person(uid) => format!("person:{uid}"),
    };
    transaction.execute(
        "INSERT OR REPLACE INTO registration VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)",
        params![
            place,
            r.udn.as_str(),
            reg,
            wish,
            start.to_string(),
            stop.map(|t| t.to_string()),
            registrant,
            r.made.as_millisecond(),
            r.due.map(Timestamp::as_millisecond)
        ],
    )?;
    if place == "gateway" {
        put_last_reg(transaction, reg)?;
    }
    Ok(())
}

/// The last RegID ever given only goes up.
fn put_last_reg(connection: &Connection, reg: u32) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO meta VALUES ('last-reg', ?1) ON CONFLICT (key) DO UPDATE SET value = MAX(value, ?1)";
    connection.execute(sql, [reg])?;
    Ok(())
}

fn registration(row: &Row<'_>) -> Result<Option<Registration>, rusqlite::Error> {
    let udn = Udn::parse(&row.get::<_, String>("udn")?).ok();
    let reg = RegId::new(row.get("reg")?).ok();
    let (start, stop) = (word::<TimeOfDay>(row, "start")?, word::<TimeOfDay>(row, "stop")?);
    let window = start.zip(stop).and_then(|(start, stop)| DailyWindow::new(start, stop).ok());
    let wish = match row.get::<_, String>("wish")?.as_str() {
        "WakeUpTime" => start.map(Wish::WakeUp),
        "NoStandbyPeriod" => window.map(Wish::NoStandby),
        "StandbyPeriod" => window.map(Wish::Standby),
        _ => None,
    };
    let registrant = row.get::<_, String>("registrant")?;
    let by = match registrant.strip_prefix("person:") {
        Some(uid) => uid.parse().ok().map(Registrant::Person),
        None => (registrant == "appliance").then_some(Registrant::Appliance),
    };
    let (Some(udn), Some(reg), Some(wish), Some(by)) = (udn, reg, wish, by) else { return Ok(None) };
    let made = moment(row, "made")?.unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Some(Registration { reg, udn, by, wish, made, due: moment(row, "due")? }))
}

fn planner_row(row: &Row<'_>) -> Result<Option<(planner::Slot, String)>, rusqlite::Error> {
    Ok(planner::Slot::parse(&row.get::<_, String>("key")?).zip(Some(row.get("value")?)))
}

fn utility_row(row: &Row<'_>) -> Result<Option<(Slot, Vec<u8>)>, rusqlite::Error> {
    Ok(Slot::parse(&row.get::<_, String>("key")?).zip(Some(row.get("value")?)))
}

/// Whether the clock has gone on by a leap within the last days, as the journal before this moment tells it.
fn clock_has_leapt(transaction: &Transaction<'_>, now: Timestamp) -> Result<bool, rusqlite::Error> {
    let mut statement = transaction.prepare("SELECT at FROM journal ORDER BY id DESC LIMIT ?1")?;
    let before = statement.query_map([JOURNAL_LEAP_ENTRIES], |row| row.get::<_, i64>(0))?;
    let mut later = now.as_millisecond();
    for at in before {
        let at = at?;
        let fresh = now.as_millisecond().saturating_sub(later) < JOURNAL_LEAP_FRESH_MS;
        if fresh && later.saturating_sub(at) > JOURNAL_LEAP_MS {
            return Ok(true);
        }
        later = at;
    }
    Ok(false)
}

fn put_entry(transaction: &Transaction<'_>, e: &Entry) -> Result<(), rusqlite::Error> {
    let mut statement = transaction
        .prepare("INSERT INTO journal (at, udn, action, cause, ending, reason) VALUES (?1,?2,?3,?4,?5,?6)")?;
    let udn = e.udn.as_ref().map(Udn::as_str);
    let cause = e.cause.to_string();
    statement.execute(params![e.at.as_millisecond(), udn, &*e.action, cause, e.ending.as_str(), &*e.reason])?;
    Ok(())
}

fn entry(row: &Row<'_>) -> Result<Option<Entry>, rusqlite::Error> {
    let (Some(at), Some(cause), Some(ending)) = (moment(row, "at")?, word(row, "cause")?, word(row, "ending")?) else {
        return Ok(None);
    };
    Ok(Some(Entry {
        at,
        udn: row.get::<_, Option<String>>("udn")?.and_then(|u| Udn::parse(&u).ok()),
        action: row.get::<_, String>("action")?.into(),
        cause,
        ending,
        reason: row.get::<_, String>("reason")?.into(),
    }))
}

fn word<T: FromStr>(row: &Row<'_>, column: &str) -> Result<Option<T>, rusqlite::Error> {
    Ok(row.get::<_, Option<String>>(column)?.and_then(|text| text.parse().ok()))
}

fn moment(row: &Row<'_>, column: &str) -> Result<Option<Timestamp>, rusqlite::Error> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(|ms| Timestamp::from_millisecond(ms).ok()))
}
