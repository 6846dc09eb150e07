//! The thread that owns the database, and writes the membership's file: an fsync on an SD card may take seconds, and the loop must not wait for it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use daemon_kit::state_dir;
use jiff::Timestamp;
use tokio::sync::mpsc as to_loop;
use zeroize::Zeroizing;

use super::batch::Batch;
use super::{JournalQuery, Opened, Retention, Store, StoreError};
use crate::gateway::Restored;
use crate::journal::Entry;
use crate::limits::RECENT_ENTRIES;

/// Stack of the thread; SQLite needs under 64 KiB.
const STACK_BYTES: usize = 256 * 1024;

#[derive(Debug)]
enum Job<T> {
    Write(Batch, Timestamp),
    Journal(JournalQuery, T),
    Retain(Retention),
    /// Everything that has to outlive the process of the membership at the key management centre, in a file of its own.
    Keep(PathBuf, Zeroizing<Vec<u8>>),
    /// Prices, in a file of their own: they may be lost without harm, and need no transaction.
    KeepPrices(PathBuf, Vec<u8>),
}

/// What the thread did.
#[derive(Debug)]
pub enum Done<T> {
    /// A batch was written, or comes back with the reason.
    Written(Result<(), (Box<Batch>, String)>),
    /// The database was found damaged while running; it was set aside, and everything must be written afresh. The note is
    /// for the status.
    BeganAnew(Batch, String),
    /// The journal asked for.
    Journal(T, Result<Vec<Entry>, String>),
    /// Whether a file is on the disk.
    Kept(Result<(), String>),
}

/// What the database held at the start.
#[derive(Debug)]
pub struct Start {
    /// Appliances and registrations.
    pub restored: Restored,
    /// The last journal entries, oldest first.
    pub recent: Vec<Entry>,
    /// The last entries about decisions, oldest first.
    pub decided: Vec<Entry>,
    /// Where a damaged predecessor was put.
    pub set_aside: Option<String>,
}

/// How large the database is.
#[derive(Debug, Default)]
pub struct Size {
    journal_rows: AtomicU64,
    bytes: AtomicU64,
    writes: AtomicU64,
}

impl Size {
    /// Journal entries.
    pub fn journal_rows(&self) -> u64 {
        self.journal_rows.load(Ordering::Relaxed)
    }

    /// Its files, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Transactions written since the start.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    fn measure(&self, store: &Store) {
        let (rows, bytes) = store.size();
        self.journal_rows.store(rows, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

/// The loop's end of the thread. `T` names who asked for the journal.
#[derive(Debug)]
pub struct Worker<T> {
    jobs: Option<mpsc::Sender<Job<T>>>,
    done: to_loop::UnboundedReceiver<Done<T>>,
    thread: Option<JoinHandle<()>>,
    size: Arc<Size>,
}

impl<T: Send + 'static> Worker<T> {
    /// Opens the database and starts its thread.
    ///
    /// # Errors
    /// The file cannot be opened, or a later version made it.
    pub fn open(path: &Path, retention: Retention, now: Timestamp) -> Result<(Self, Start), StoreError> {
        let Opened { store, restored, set_aside } = Store::open(path, retention, now)?;
        let recent = store.journal(&JournalQuery { limit: RECENT_ENTRIES as u32, ..Default::default() })?;
        let decided = store.decided()?;
        let size = Arc::new(Size::default());
        size.measure(&store);
        let (jobs, inbox) = mpsc::channel();
        // Not bounded here: one batch is under way at a time, and questions are bounded by the requests that wait.
        let (outbox, done) = to_loop::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("store".into())
            .stack_size(STACK_BYTES)
            .spawn({
                let size = size.clone();
                move || serve(store, &inbox, &outbox, &size)
            })
            .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        Ok((
            Self { jobs: Some(jobs), done, thread: Some(thread), size },
            Start { restored, recent, decided, set_aside },
        ))
    }

    /// Writes a batch; [`Done::Written`] or [`Done::BeganAnew`] follows.
    pub fn write(&self, batch: Batch, now: Timestamp) {
        self.send(Job::Write(batch, now));
    }

    /// Reads the journal; [`Done::Journal`] follows.
    pub fn journal(&self, query: JournalQuery, who: T) {
        self.send(Job::Journal(query, who));
    }

    /// Another retention.
    pub fn retain(&self, retention: Retention) {
        self.send(Job::Retain(retention));
    }

    /// Writes a file of private keys, whole or not at all; [`Done::Kept`] follows.
    pub fn keep(&self, path: PathBuf, bytes: Zeroizing<Vec<u8>>) {
        self.send(Job::Keep(path, bytes));
    }

    /// Writes prices to a file, whole or not at all. They come again, so a failure is only logged.
    pub fn keep_prices(&self, path: PathBuf, bytes: Vec<u8>) {
        self.send(Job::KeepPrices(path, bytes));
    }

    /// How large the database is, after what was written last.
    pub fn size(&self) -> &Size {
        &self.size
    }

    fn send(&self, job: Job<T>) {
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if !sent {
            tracing::error!("the thread of the database has ended");
        }
    }

    /// The next thing done. Cancel safe.
    pub async fn next(&mut self) -> Done<T> {
        match self.done.recv().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// Waits for everything ordered before and closes the database.
    pub fn close(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the database panicked");
        }
    }
}

fn serve<T>(mut store: Store, inbox: &mpsc::Receiver<Job<T>>, outbox: &to_loop::UnboundedSender<Done<T>>, size: &Size) {
    while let Ok(job) = inbox.recv() {
        let done = match job {
            // Somebody waited for what is on the disk already.
            Job::Write(batch, _) if batch.is_empty() => Done::Written(Ok(())),
            Job::Write(batch, now) => match store.write(&batch, now) {
                Ok(()) => {
                    size.writes.fetch_add(1, Ordering::Relaxed);
                    size.measure(&store);
                    Done::Written(Ok(()))
                }
                Err(StoreError::Damaged(error)) => match begin_anew(store, now, &error) {
                    (again, Ok(note)) => {
                        store = again;
                        Done::BeganAnew(batch, note)
                    }
                    (again, Err(why)) => {
                        store = again;
                        Done::Written(Err((Box::new(batch), why)))
                    }
                },
                // What SQLite says of it adds no more than the same words.
                Err(error @ StoreError::Full(_)) => Done::Written(Err((Box::new(batch), error.to_string()))),
                Err(error) => Done::Written(Err((Box::new(batch), chain(&error)))),
            },
            Job::Journal(query, who) => Done::Journal(who, store.journal(&query).map_err(|error| chain(&error))),
            Job::Keep(path, bytes) => Done::Kept(state_dir::write_atomically(&path, &bytes).map_err(|e| chain(&e))),
            Job::Retain(retention) => {
                store.set_retention(retention);
                continue;
            }
            Job::KeepPrices(path, bytes) => {
                if let Err(error) = state_dir::write_atomically(&path, &bytes) {
                    tracing::warn!(error = %format!("{:#}", anyhow::Error::from(error)), "prices not kept");
                }
                continue;
            }
        };
        if outbox.send(done).is_err() {
            break;
        }
    }
}

/// Damage found by a write: the file goes aside as at a start. Where that fails the old connection stays, and the next
/// write tries again.
fn begin_anew(store: Store, now: Timestamp, error: &rusqlite::Error) -> (Store, Result<String, String>) {
    let (path, retention) = (store.path.clone(), store.retention);
    tracing::error!(path = %path.display(), %error, "database damaged");
    let aside = match super::file::set_aside(&path, now) {
        Ok(aside) => aside,
        Err(error) => return (store, Err(chain(&error))),
    };
    match Store::open(&path, retention, now) {
        Ok(Opened { store, .. }) => {
            let note =
                format!("the database was damaged ({error}); it is now {} and a new one was begun", aside.display());
            (store, Ok(note))
        }
        Err(error) => (store, Err(chain(&error))),
    }
}

/// An error with its causes, as `{:#}` of anyhow writes them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
