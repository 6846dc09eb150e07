//! SQLite: one file, no set-up. A thread of its own writes, another reads, so that a slow disk stops no task.
//!
//! The writer takes all work that waits into one transaction, each piece behind a savepoint: a piece that fails takes back only itself,
//! and the disk is waited for once for all of them. An answer is given after that, so what was answered is on the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql, params_from_iter};
use tokio::sync::{broadcast, oneshot};

use super::StoreError;
use super::backend::{Backend, Hint, Row, Tx, Value, Work};
use crate::limits::{HINTS_MAX, STORE_GROUP_MAX, STORE_QUEUE_MAX};

/// "HEGU", so that `file` and we tell our databases from others.
const APPLICATION_ID: i32 = 0x4845_4755;
/// Another process on the same file, as `sqlite3` in a person's hands, is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

struct Job {
    work: Work,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

pub(crate) struct Sqlite {
    writer: Worker,
    reader: Worker,
    hints: broadcast::Sender<Hint>,
}

/// A thread with a connection of its own. It ends, and closes the file, with its owner.
struct Worker {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a thread of the database panicked");
        }
    }
}

impl Sqlite {
    /// Opens or makes the file and brings it to the newest of `migrations`.
    pub(crate) fn open(path: &Path, migrations: &[&str]) -> Result<Self, StoreError> {
        let hints = broadcast::Sender::new(HINTS_MAX);
        create(path)?;
        let mut connection = connect(path)?;
        migrate(&mut connection, path, migrations)?;
        let writer = start("store-writer", connection, hints.clone(), write_loop)?;
        let reader = start("store-reader", connect(path)?, hints.clone(), read_loop)?;
        Ok(Self { writer, reader, hints })
    }
}

/// Before the first connection: closing any descriptor of the file takes this process's locks on it away, and a program that then
/// copies the database takes itself for the only one and removes the log with what was written since.
fn create(path: &Path) -> Result<(), StoreError> {
    // SQLite makes files that everybody may read; this one says when people are at home.
    use std::os::unix::fs::OpenOptionsExt as _;
    let private = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    private.map(drop).map_err(|source| StoreError::Open { path: path.to_owned(), source })
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // A write-ahead log lets the reader go on; FULL makes each commit wait for the disk.
    connection.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))?;
    connection.execute_batch(
        "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;
         PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16384;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = migrations.len() as u32;
    if found > known {
        return Err(StoreError::TooNew { what: path.display().to_string(), found, known });
    }
    for step in &migrations[found as usize..] {
        transaction.execute_batch(&step.replace("BYTEA", "BLOB"))?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    Ok(())
}

fn start(
    name: &str,
    mut connection: Connection,
    hints: broadcast::Sender<Hint>,
    run: fn(&mut Connection, &Receiver<Job>, &broadcast::Sender<Hint>),
) -> Result<Worker, StoreError> {
    let (jobs, queue) = sync_channel(STORE_QUEUE_MAX);
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || run(&mut connection, &queue, &hints))
        .map_err(|source| StoreError::Open { path: PathBuf::from(name), source })?;
    Ok(Worker { jobs: Some(jobs), thread: Some(thread) })
}

/// One transaction for all that waits, up to a bound; answers after the commit.
fn write_loop(connection: &mut Connection, queue: &Receiver<Job>, hints: &broadcast::Sender<Hint>) {
    while let Ok(first) = queue.recv() {
        let mut told = Vec::new();
        let mut answers = Vec::new();
        let begun = connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from);
        let mut next = Some(first);
        while let Some(job) = next {
            let result = match &begun {
                Ok(()) => piece(connection, job.work, &mut told),
                Err(_) => Err(StoreError::Unavailable("the database is locked by another program".to_owned())),
            };
            answers.push((job.answer, result));
            next = if answers.len() < STORE_GROUP_MAX { queue.try_recv().ok() } else { None };
        }
        let committed = match begun {
            Ok(()) => connection.execute_batch("COMMIT").map_err(StoreError::from),
            Err(_) => Ok(()),
        };
        if let Err(error) = &committed {
            tracing::warn!(%error, "a transaction was not committed");
            // It may have ended by itself; then there is nothing to take back.
            let _ = connection.execute_batch("ROLLBACK");
            told.clear();
        }
        for (answer, result) in answers {
            let result = match (&committed, result) {
                (Err(error), Ok(())) => Err(StoreError::Unavailable(error.to_string())),
                (_, result) => result,
            };
            // Whoever asked may have gone away.
            let _ = answer.send(result);
        }
        for hint in told {
            // Nobody may be listening.
            let _ = hints.send(hint);
        }
    }
}

fn piece(connection: &mut Connection, work: Work, told: &mut Vec<Hint>) -> Result<(), StoreError> {
    connection.execute_batch("SAVEPOINT piece")?;
    let mut tx = Transaction { connection: &mut *connection, hints: Vec::new() };
    let result = run(work, &mut tx);
    let mut hints = tx.hints;
    match result {
        Ok(()) => {
            connection.execute_batch("RELEASE piece")?;
            told.append(&mut hints);
            Ok(())
        }
        Err(error) => {
            connection.execute_batch("ROLLBACK TO piece; RELEASE piece")?;
            Err(error)
        }
    }
}

/// Work waits for nothing but the database, and this one answers at once: one look at the future ends it.
fn run(work: Work, tx: &mut Transaction<'_>) -> Result<(), StoreError> {
    work(tx).now_or_never().unwrap_or_else(|| Err(StoreError::Unavailable("work waited for something else".to_owned())))
}

fn read_loop(connection: &mut Connection, queue: &Receiver<Job>, _hints: &broadcast::Sender<Hint>) {
    while let Ok(job) = queue.recv() {
        let result = connection.execute_batch("BEGIN").map_err(StoreError::from).and_then(|()| {
            let result = run(job.work, &mut Transaction { connection: &mut *connection, hints: Vec::new() });
            let ended = connection.execute_batch("ROLLBACK").map_err(StoreError::from);
            result.and(ended)
        });
        // Whoever asked may have gone away.
        let _ = job.answer.send(result);
    }
}

/// By a reference that may change hands: work asks for that because PostgreSQL's transactions move between threads.
struct Transaction<'c> {
    connection: &'c mut Connection,
    hints: Vec<Hint>,
}

impl Transaction<'_> {
    fn rows(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(params))?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let values = (0..columns).map(|i| row.get_ref(i).map_err(StoreError::from).and_then(value));
            all.push(Row(values.collect::<Result<_, _>>()?));
        }
        Ok(all)
    }
}

fn value(value: ValueRef<'_>) -> Result<Value, StoreError> {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(i) => Ok(Value::Int(i)),
        ValueRef::Text(t) => Ok(Value::Text(String::from_utf8_lossy(t).into_owned())),
        ValueRef::Blob(b) => Ok(Value::Bytes(b.to_owned())),
        ValueRef::Real(_) => Err(StoreError::Row { column: 0 }),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(i) => ValueRef::Integer(*i),
            Self::Text(t) => ValueRef::Text(t.as_bytes()),
            Self::Bytes(b) => ValueRef::Blob(b),
        }))
    }
}

impl Tx for Transaction<'_> {
    fn query<'a>(&'a mut self, sql: &'a str, params: &'a [Value]) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        let rows = self.rows(sql, params);
        Box::pin(std::future::ready(rows))
    }

    fn execute<'a>(&'a mut self, sql: &'a str, params: &'a [Value]) -> BoxFuture<'a, Result<u64, StoreError>> {
        let changed = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params_from_iter(params)))
            .map(|n| n as u64)
            .map_err(StoreError::from);
        Box::pin(std::future::ready(changed))
    }

    /// There is one writer anyway.
    fn alone(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn hint(&mut self, hint: Hint) {
        self.hints.push(hint);
    }
}

impl Sqlite {
    fn submit(&self, to: &Worker, work: Work) -> BoxFuture<'_, Result<(), StoreError>> {
        let (answer, answered) = oneshot::channel();
        let sent = to.jobs.as_ref().map(|jobs| jobs.try_send(Job { work, answer }));
        Box::pin(async move {
            match sent {
                Some(Ok(())) => answered
                    .await
                    .unwrap_or_else(|_| Err(StoreError::Unavailable("the database has stopped".to_owned()))),
                Some(Err(TrySendError::Full(_))) => Err(StoreError::Busy),
                Some(Err(TrySendError::Disconnected(_))) | None => {
                    Err(StoreError::Unavailable("the database has stopped".to_owned()))
                }
            }
        })
    }
}

impl Backend for Sqlite {
    fn write(&self, work: Work) -> BoxFuture<'_, Result<(), StoreError>> {
        self.submit(&self.writer, work)
    }

    fn read(&self, work: Work) -> BoxFuture<'_, Result<(), StoreError>> {
        self.submit(&self.reader, work)
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }

    fn name(&self) -> &'static str {
        "sqlite"
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Unavailable("the disk is full".to_owned()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Sqlite(error),
        }
    }
}
