//! The database's files: how they are opened, what they need of the disk, and where they go when they are damaged.
//!
//! A write-ahead log: a changed page goes to the card once, and once more when the log is copied into the database, thousands of changes
//! later. Three things keep every promise over a power cut:
//! - `synchronous=EXTRA`: a commit waits until the log is on the disk (and, where the rollback journal is still in use, its directory).
//! - `psow=0`: no commit is written into a sector in which an earlier one ends, so that a sector torn by the cut holds nothing that was
//!   acknowledged. SQLite otherwise trusts the disk not to touch its neighbours; an SD card rewrites whole sectors.
//! - A database page is such a sector: what a cut tears while the log is copied, the log still holds.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{FILE, StoreError};
use crate::limits::{LOG_PAGES, SET_ASIDE_MAX};

/// What SQLite puts beside a database: the rollback journal, or the write-ahead log and its index.
const JOURNAL: &str = "-journal";
const LOG: &str = "-wal";
const INDEX: &str = "-shm";

/// A page and its header in the log, bytes.
const FRAME_BYTES: u32 = 4096 + 24;

/// Opens the database, makes it where there is none, and looks whether it is sound. Nothing of it has changed if it is not.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    // SQLite makes files that everybody may read; this one says when people are at home. Before there is a connection: closing any
    // descriptor of a file takes the process's locks on it away.
    let private = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    private.map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    match sound(path, "NORMAL") {
        Err(StoreError::Full(error) | StoreError::Sqlite(error)) => {
            // The index takes room on the disk; who is alone with the database keeps it in its own memory. Nobody can copy it then.
            tracing::warn!(path = %path.display(), %error, "database not opened so that others may read it; trying alone");
            sound(path, "EXCLUSIVE")
        }
        opened => opened,
    }
}

fn sound(path: &Path, locking: &str) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri(path), flags)?;
    // What is damaged is set aside as it was found: its log is not copied into it when it is closed.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // A second gateway on the same file waits and then fails; the control socket stops it earlier.
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.execute_batch(&format!(
        "PRAGMA locking_mode={locking}; PRAGMA cache_size=-64; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=ON;
         PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA synchronous=EXTRA;"
    ))?;
    check(&connection)?;
    write_ahead(&connection, path)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(connection)
}

/// Changes a database of an earlier version in its place. Where that cannot be, it stays as it is, which is as safe.
fn write_ahead(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let mode = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get::<_, String>(0));
    match mode.map_err(StoreError::from) {
        Ok(mode) if mode == "wal" => {}
        Err(error @ StoreError::Damaged(_)) => return Err(error),
        other => tracing::warn!(path = %path.display(), ?other, "database goes on with a rollback journal"),
    }
    connection.execute_batch(&format!("PRAGMA wal_autocheckpoint={LOG_PAGES}"))?;
    connection.pragma_update(None, "journal_size_limit", LOG_PAGES * FRAME_BYTES)?;
    Ok(())
}

/// The file's name for SQLite, with the word that no sector survives what is written beside it.
fn uri(path: &Path) -> String {
    let mut uri = String::from(if path.is_absolute() { "file://" } else { "file:" });
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri + "?psow=0"
}

/// Reads every page once: damage is better found now than by the first wrong answer.
fn check(connection: &Connection) -> Result<(), StoreError> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(StoreError::Damaged(rusqlite::Error::SqliteFailure(code, Some(verdict))))
}

/// Bytes that the database takes, its log with it.
pub(super) fn bytes(path: &Path) -> u64 {
    let of = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    of(path) + of(&beside(path, LOG))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Renames a damaged database, with its rollback journal or its log, and forgets the oldest such beyond [`SET_ASIDE_MAX`]. The database
/// goes first: a log without its database is never read, and a database without its log would be an old one.
pub(super) fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf, StoreError> {
    let failed = |source| StoreError::SetAside { path: path.to_owned(), source };
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or(FILE);
    let aside = |n: u32| path.with_file_name(format!("{name}.damaged-{}-{n}", now.as_second()));
    let target = (0..1000).map(aside).find(|p| !p.exists()).unwrap_or_else(|| aside(0));
    fs::rename(path, &target).map_err(failed)?;
    for suffix in [JOURNAL, LOG] {
        let companion = beside(path, suffix);
        match fs::metadata(&companion) {
            Ok(file) if file.len() > 0 => fs::rename(&companion, beside(&target, suffix)).map_err(failed)?,
            Ok(_) => fs::remove_file(&companion).map_err(failed)?,
            Err(_) => {}
        }
    }
    // The index says nothing that the log does not say, and is made anew.
    let index = beside(path, INDEX);
    if index.is_file() {
        fs::remove_file(index).map_err(failed)?;
    }
    forget_oldest(path, name);
    Ok(target)
}

fn forget_oldest(path: &Path, name: &str) {
    let Some(dir) = path.parent().and_then(|dir| fs::read_dir(dir).ok()) else { return };
    let prefix = format!("{name}.damaged-");
    let is_database = |name: &str| name.starts_with(&prefix) && ![JOURNAL, LOG].iter().any(|s| name.ends_with(s));
    let mut old: Vec<_> = dir
        .filter_map(Result::ok)
        .map(|file| file.path())
        .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(is_database))
        .collect();
    old.sort();
    let surplus = old.len().saturating_sub(SET_ASIDE_MAX);
    for path in old.into_iter().take(surplus) {
        for file in [path.clone(), beside(&path, JOURNAL), beside(&path, LOG)].into_iter().filter(|file| file.exists())
        {
            if let Err(error) = fs::remove_file(&file) {
                tracing::warn!(path = %file.display(), %error, "old damaged database not removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_directory_of_any_name_is_found() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a b", "a?psow=1", "100%#1", "%41"].map(OsStr::new).into_iter().chain([OsStr::from_bytes(b"\xff")])
        {
            let path = dir.path().join(name).join(FILE);
            fs::create_dir(path.parent().unwrap()).unwrap();
            let connection = open(&path).unwrap();
            connection.execute_batch("CREATE TABLE t (x)").unwrap();
            assert!(bytes(&path) > 0, "{name:?}");
        }
        assert_eq!(uri(Path::new("state/heg.db")), "file:state/heg.db?psow=0");
        assert_eq!(uri(Path::new("//a/b")), "file:////a/b?psow=0");
    }
}
