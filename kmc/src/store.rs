//! The database: statements, tokens, windows, policies, revocations, evidence, audit log. IO, one file, one connection.
//!
//! Write-ahead log with `synchronous=FULL`: what was committed is there after a power cut, and a change costs one sync. The database is
//! locked for one process (`locking_mode=EXCLUSIVE`), so that `heg-kmc init` and `root` never write beside a running daemon.
//! A damaged database is an error and never set aside: a KMC that forgot what it has stated must not go on.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Row, Transaction, TransactionBehavior, params,
};
use secure_http::{
    KeyId, PartyId, Policy, RevocationList, Role, Serial, Statement, TokenId, UnixTime, Window, crypto::sha256, key_id,
};

use crate::limits::{ANSWER_ROWS_MAX, PRUNE_ROWS};

mod audit;

pub use audit::AuditEntry;

/// File in the state directory.
pub const FILE: &str = "kmc.db";

/// `PRAGMA application_id`: "HEGK".
const APPLICATION_ID: i32 = 0x4845_474b;

/// Each step takes the schema from the version before it to its own (its place in the list, from 1).
const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE statement (
        serial INTEGER PRIMARY KEY, subject TEXT NOT NULL, role INTEGER NOT NULL, kid BLOB NOT NULL, issuer BLOB NOT NULL,
        state TEXT NOT NULL, raw BLOB NOT NULL, made INTEGER NOT NULL, until INTEGER NOT NULL, sig_since INTEGER NOT NULL,
        kem_since INTEGER NOT NULL, lineage INTEGER NOT NULL, overlap_until INTEGER, succession BLOB, token BLOB, challenge BLOB
    ) STRICT;
    CREATE INDEX statement_subject ON statement (subject, state);
    CREATE INDEX statement_kid ON statement (kid);
    CREATE UNIQUE INDEX statement_active ON statement (subject, role) WHERE state = 'active';
    CREATE TABLE window (lineage INTEGER PRIMARY KEY, bits BLOB NOT NULL) STRICT;
    CREATE TABLE token (
        id BLOB PRIMARY KEY, wrapped BLOB, role INTEGER NOT NULL, uuid TEXT, renews INTEGER NOT NULL, premises TEXT NOT NULL,
        state TEXT NOT NULL, made INTEGER NOT NULL, until INTEGER NOT NULL, hour INTEGER NOT NULL, attempts INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE policy (version INTEGER PRIMARY KEY, raw BLOB NOT NULL, made INTEGER NOT NULL) STRICT;
    CREATE TABLE revoked (serial INTEGER PRIMARY KEY, at INTEGER NOT NULL, until INTEGER NOT NULL, reason TEXT NOT NULL) STRICT;
    CREATE TABLE revocations (version INTEGER PRIMARY KEY, raw BLOB NOT NULL, made INTEGER NOT NULL) STRICT;
    CREATE TABLE evidence (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, subject TEXT NOT NULL, serial INTEGER NOT NULL, message BLOB NOT NULL
    ) STRICT;
    CREATE INDEX evidence_at ON evidence (at);
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL, hash BLOB NOT NULL
    ) STRICT;
", "
    ALTER TABLE token ADD COLUMN utility TEXT;
    CREATE TABLE contact (party TEXT PRIMARY KEY, utility TEXT, host TEXT) STRICT, WITHOUT ROWID;
"];

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is none: `heg-kmc init` makes it.
    #[error("there is no key management centre in {}: `heg-kmc init` makes one", .0.display())]
    Missing(PathBuf),
    /// There is one already.
    #[error("there is a key management centre in {} already", .0.display())]
    Exists(PathBuf),
    /// Another process has it open.
    #[error("the database is in use: is the daemon running?")]
    InUse,
    /// Written by a later version of this program.
    #[error("the database has schema {found}, made by a later version; this one knows up to {known}")]
    TooNew {
        /// Its schema version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A value in it is none that this program wrote.
    #[error("the database is damaged: {0}")]
    Damaged(&'static str),
    /// The file cannot be made or written.
    #[error("cannot open {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Anything else SQLite says.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged("SQLite can't read it"),
            _ => Self::Sqlite(error),
        }
    }
}

/// What has become of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Waits for the answer to its challenge.
    Pending,
    /// In force.
    Active,
    /// Its keys were rolled over; what is under way is still taken until its overlap is over.
    Superseded,
    /// Revoked.
    Revoked,
}

impl Standing {
    /// Its word in the database and for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Superseded, Self::Revoked].into_iter().find(|s| s.word() == word)
    }
}

/// A statement and what the centre knows of it.
#[derive(Clone, Debug)]
pub struct Stated {
    /// The statement.
    pub statement: Statement,
    /// What has become of it.
    pub standing: Standing,
    /// When it was made.
    pub made: UnixTime,
    /// Since when its signing key is stated.
    pub sig_since: UnixTime,
    /// Since when its sealing key is stated.
    pub kem_since: UnixTime,
    /// Serial of the enrolment it goes back to: all statements of a line share one window.
    pub lineage: Serial,
    /// Until when messages signed with a superseded key are taken.
    pub overlap_until: Option<UnixTime>,
    /// The old key's word for the new ones.
    pub succession: Option<Vec<u8>>,
    /// The token it was enrolled with.
    pub token: Option<TokenId>,
    /// What has to come back before it is active.
    pub challenge: Option<[u8; 16]>,
}

/// A token, as the centre keeps it.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its name.
    pub id: TokenId,
    /// Its secret, wrapped with the storage key; none once it is used or revoked.
    pub wrapped: Option<[u8; 16]>,
    /// What it enrols.
    pub role: Role,
    /// Whom it enrols: fixed by the operator, or by the first request made with it.
    pub uuid: Option<PartyId>,
    /// Whether it may take the place of an active statement: the operator named a UUID that has one.
    pub renews: bool,
    /// Where.
    pub premises: String,
    /// `open`, `used` or `revoked`.
    pub state: String,
    /// When it was made.
    pub made: UnixTime,
    /// From when on it is worth nothing.
    pub until: UnixTime,
    /// Attempts are counted from here on.
    pub hour: UnixTime,
    /// How many in that hour.
    pub attempts: u32,
    /// The utility that a gateway enrolled with it belongs to.
    pub utility: Option<PartyId>,
}

/// What is known of a party beside its statements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The utility that a gateway belongs to.
    pub utility: Option<PartyId>,
    /// Where it says that it is reached.
    pub host: Option<String>,
}

/// The open database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Makes a new database; an error where one is.
    pub fn create(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        if path.exists() {
            return Err(StoreError::Exists(dir.to_owned()));
        }
        let private = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        private.map_err(|source| StoreError::Open { path: path.clone(), source })?;
        Self::opened(&path)
    }

    /// Opens the database of a centre that `init` has made.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Err(StoreError::Missing(dir.to_owned()));
        }
        Self::opened(&path)
    }

    fn opened(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self::prepared(Connection::open_with_flags(path, flags)?)
    }

    fn prepared(connection: Connection) -> Result<Self, StoreError> {
        connection.busy_timeout(Duration::from_secs(1))?;
        connection.execute_batch(
            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;",
        )?;
        connection.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))?;
        connection.execute_batch("PRAGMA synchronous=FULL;")?;
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(StoreError::Damaged("quick_check failed"));
        }
        let mut store = Self { connection };
        store.migrate()?;
        Ok(store)
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let known = MIGRATIONS.len() as u32;
        let found: u32 = self.connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > known {
            return Err(StoreError::TooNew { found, known });
        }
        for (version, step) in (1u32..).zip(MIGRATIONS).skip(found as usize) {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// All that is read and written until [`Change::commit`] is one change; dropped before, nothing of it stays.
    pub fn begin(&mut self) -> Result<Change<'_>, StoreError> {
        Ok(Change(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?))
    }
}

/// A change that is being made. Reading goes through it too, so that what is decided on is what is stored.
#[derive(Debug)]
pub struct Change<'a>(Transaction<'a>);

impl Change<'_> {
    /// On the disk, all of it.
    pub fn commit(self) -> Result<(), StoreError> {
        Ok(self.0.commit()?)
    }

    /// A number by name; 0 where there is none.
    pub fn number(&self, key: &str) -> Result<u64, StoreError> {
        let value: Option<u64> =
            self.0.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()?;
        Ok(value.unwrap_or(0))
    }

    /// Sets a number.
    pub fn set_number(&self, key: &str, value: u64) -> Result<(), StoreError> {
        self.0.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![key, value])?;
        Ok(())
    }

    /// The serial after the last.
    pub fn next_serial(&self) -> Result<Serial, StoreError> {
        Ok(Serial(self.0.query_row("SELECT COALESCE(MAX(serial), 0) + 1 FROM statement", [], |row| row.get(0))?))
    }

    /// Hash of the last statement that the key issued; zeros before its first.
    pub fn link_of(&self, issuer: KeyId) -> Result<[u8; 32], StoreError> {
        let sql = "SELECT raw FROM statement WHERE issuer = ?1 ORDER BY serial DESC LIMIT 1";
        let raw: Option<Vec<u8>> = self.0.query_row(sql, [&issuer.0[..]], |row| row.get(0)).optional()?;
        Ok(raw.map_or([0; 32], |raw| sha256(&[&raw])))
    }

    /// Adds a statement that was issued by that key.
    pub fn add(&self, issuer: KeyId, stated: &Stated) -> Result<(), StoreError> {
        let s = &stated.statement;
        self.0.execute(
            "INSERT INTO statement VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            params![
                s.serial().0,
                s.subject().as_str(),
                s.role().number(),
                &s.kid().0[..],
                &issuer.0[..],
                stated.standing.word(),
                s.raw(),
                stated.made.0,
                s.validity().until().0,
                stated.sig_since.0,
                stated.kem_since.0,
                stated.lineage.0,
                stated.overlap_until.map(|t| t.0),
                stated.succession,
                stated.token.map(|t| t.0.to_vec()),
                stated.challenge.map(|c| c.to_vec()),
            ],
        )?;
        Ok(())
    }

    /// What has become of a statement now.
    pub fn set_standing(
        &self,
        serial: Serial,
        standing: Standing,
        overlap_until: Option<UnixTime>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE statement SET state = ?2, overlap_until = ?3 WHERE serial = ?1";
        self.0.execute(sql, params![serial.0, standing.word(), overlap_until.map(|t| t.0)])?;
        Ok(())
    }

    /// The old key's word for the keys of that statement.
    pub fn set_succession(&self, serial: Serial, proof: &[u8]) -> Result<(), StoreError> {
        self.0.execute("UPDATE statement SET succession = ?2 WHERE serial = ?1", params![serial.0, proof])?;
        Ok(())
    }

    /// The statement of that number.
    pub fn statement(&self, serial: Serial) -> Result<Option<Stated>, StoreError> {
        self.one("SELECT * FROM statement WHERE serial = ?1", params![serial.0])
    }

    /// The statement in force of that party.
    pub fn active(&self, subject: &PartyId) -> Result<Option<Stated>, StoreError> {
        let sql = "SELECT * FROM statement WHERE subject = ?1 AND state = 'active' AND role >= 3";
        self.one(sql, params![subject.as_str()])
    }

    /// The statements of a line between two serials, both left out, oldest first.
    pub fn line(&self, lineage: Serial, after: Serial, before: Serial) -> Result<Vec<Stated>, StoreError> {
        let sql = "SELECT * FROM statement WHERE lineage = ?1 AND serial > ?2 AND serial < ?3 AND state != 'pending' ORDER BY serial";
        self.many(sql, params![lineage.0, after.0, before.0], stated)
    }

    /// The statement in force of that role of the centre itself.
    pub fn own(&self, role: Role) -> Result<Option<Stated>, StoreError> {
        let sql = "SELECT * FROM statement WHERE role = ?1 AND state = 'active' ORDER BY serial DESC LIMIT 1";
        self.one(sql, params![role.number()])
    }

    /// The newest statement of that party and key, whatever has become of it.
    pub fn sender(&self, subject: &PartyId, kid: KeyId) -> Result<Option<Stated>, StoreError> {
        let sql = "SELECT * FROM statement WHERE subject = ?1 AND kid = ?2 ORDER BY serial DESC LIMIT 1";
        self.one(sql, params![subject.as_str(), &kid.0[..]])
    }

    /// Whether that key was ever stated for somebody else.
    pub fn is_anothers(&self, subject: &PartyId, kid: KeyId) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM statement WHERE kid = ?2 AND subject != ?1)";
        Ok(self.0.query_row(sql, params![subject.as_str(), &kid.0[..]], |row| row.get(0))?)
    }

    /// Takes back what waits for its challenge for longer than since `before`, or was made with that token.
    pub fn drop_pending(&self, before: UnixTime, token: Option<TokenId>) -> Result<usize, StoreError> {
        // The number stays taken, and the link of the next statement names it.
        let sql = "UPDATE statement SET state = 'superseded', challenge = NULL
                   WHERE state = 'pending' AND (made <= ?1 OR token = ?2)";
        Ok(self.0.execute(sql, params![before.0, token.map(|t| t.0.to_vec())])?)
    }

    /// Statements of parties, newest first; `text` leaves out those whose subject does not begin so.
    pub fn statements(&self, text: &str) -> Result<Vec<Stated>, StoreError> {
        let sql = "SELECT * FROM statement WHERE substr(subject, 1, length(?1)) = ?1 ORDER BY serial DESC LIMIT ?2";
        self.many(sql, params![text, ANSWER_ROWS_MAX], stated)
    }

    /// How many statements are in force, by role.
    pub fn active_counts(&self) -> Result<Vec<(u64, u64)>, StoreError> {
        let sql = "SELECT role, COUNT(*) FROM statement WHERE state = 'active' GROUP BY role ORDER BY role";
        self.many(sql, [], |row| Ok(Ok((row.get(0)?, row.get(1)?))))
    }

    /// The window of a line of statements; a new one where none is stored.
    pub fn window(&self, lineage: Serial) -> Result<Window, StoreError> {
        let sql = "SELECT bits FROM window WHERE lineage = ?1";
        let bits: Option<Vec<u8>> = self.0.query_row(sql, [lineage.0], |row| row.get(0)).optional()?;
        match bits {
            None => Ok(Window::new()),
            Some(bits) => Ok(Window::from_bytes(bits.try_into().map_err(|_| StoreError::Damaged("a window"))?)),
        }
    }

    /// Stores a window.
    pub fn set_window(&self, lineage: Serial, window: Window) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO window VALUES (?1, ?2)";
        self.0.execute(sql, params![lineage.0, &window.to_bytes()[..]])?;
        Ok(())
    }

    /// Adds or replaces a token.
    pub fn put_token(&self, token: &Token) -> Result<(), StoreError> {
        self.0.execute(
            "INSERT OR REPLACE INTO token VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                &token.id.0[..],
                token.wrapped.map(|w| w.to_vec()),
                token.role.number(),
                token.uuid.map(|uuid| uuid.to_string()),
                token.renews,
                token.premises,
                token.state,
                token.made.0,
                token.until.0,
                token.hour.0,
                token.attempts,
                token.utility.map(|uuid| uuid.to_string()),
            ],
        )?;
        Ok(())
    }

    /// The token of that name.
    pub fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        Ok(self.many("SELECT * FROM token WHERE id = ?1", params![&id.0[..]], token)?.pop())
    }

    /// The newest tokens.
    pub fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.many("SELECT * FROM token ORDER BY made DESC, id LIMIT ?1", params![ANSWER_ROWS_MAX], token)
    }

    /// How many tokens could still be used.
    pub fn open_tokens(&self, now: UnixTime) -> Result<u32, StoreError> {
        let sql = "SELECT COUNT(*) FROM token WHERE state = 'open' AND until > ?1";
        Ok(self.0.query_row(sql, [now.0], |row| row.get(0))?)
    }

    /// The only utility that has a statement in force; none where there are several.
    pub fn sole_utility(&self) -> Result<Option<PartyId>, StoreError> {
        let sql = "SELECT * FROM statement WHERE role = ?1 AND state = 'active' LIMIT 2";
        let found = self.many(sql, params![Role::Utility.number()], stated)?;
        Ok(if let [only] = &found[..] { Some(only.statement.subject()) } else { None })
    }

    /// What is known of a party beside its statements.
    pub fn contact(&self, party: &PartyId) -> Result<Contact, StoreError> {
        let sql = "SELECT utility, host FROM contact WHERE party = ?1";
        let read = |row: &Row<'_>| {
            let utility = row.get::<_, Option<String>>(0)?.map(|uuid| uuid.parse()).transpose();
            let host = row.get(1)?;
            Ok(utility.map_or(Err(StoreError::Damaged("a contact")), |utility| Ok(Contact { utility, host })))
        };
        Ok(self.many(sql, params![party.as_str()], read)?.pop().unwrap_or_default())
    }

    /// Sets it.
    pub fn set_contact(&self, party: &PartyId, contact: &Contact) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO contact VALUES (?1, ?2, ?3)";
        self.0.execute(sql, params![party.as_str(), contact.utility.map(|uuid| uuid.to_string()), contact.host])?;
        Ok(())
    }

    /// The last policy.
    pub fn policy(&self) -> Result<Option<Policy>, StoreError> {
        let sql = "SELECT raw FROM policy ORDER BY version DESC LIMIT 1";
        let raw: Option<Vec<u8>> = self.0.query_row(sql, [], |row| row.get(0)).optional()?;
        raw.map(|raw| Policy::from_store(&raw).map_err(|_| StoreError::Damaged("a policy"))).transpose()
    }

    /// Adds a policy; its version has to be a new one.
    pub fn add_policy(&self, policy: &Policy, now: UnixTime) -> Result<(), StoreError> {
        self.0.execute("INSERT INTO policy VALUES (?1, ?2, ?3)", params![policy.version(), policy.raw(), now.0])?;
        Ok(())
    }

    /// The last revocation list.
    pub fn revocations(&self) -> Result<Option<RevocationList>, StoreError> {
        let sql = "SELECT raw FROM revocations ORDER BY version DESC LIMIT 1";
        let raw: Option<Vec<u8>> = self.0.query_row(sql, [], |row| row.get(0)).optional()?;
        raw.map(|raw| RevocationList::from_store(&raw).map_err(|_| StoreError::Damaged("a revocation list")))
            .transpose()
    }

    /// Adds a list; its version has to be a new one.
    pub fn add_revocations(&self, list: &RevocationList, now: UnixTime) -> Result<(), StoreError> {
        let sql = "INSERT INTO revocations VALUES (?1, ?2, ?3)";
        self.0.execute(sql, params![list.version(), list.raw(), now.0])?;
        Ok(())
    }

    /// Puts a statement among those that hold no longer, and with it [those before it](Self::revoked_with).
    pub fn revoke(&self, stated: &Stated, reason: &str, now: UnixTime) -> Result<(), StoreError> {
        for stated in self.revoked_with(stated, now)?.iter().chain([stated]) {
            let (serial, until) = (stated.statement.serial(), stated.statement.validity().until());
            self.set_standing(serial, Standing::Revoked, None)?;
            let sql = "INSERT OR IGNORE INTO revoked VALUES (?1, ?2, ?3, ?4)";
            self.0.execute(sql, params![serial.0, now.0, until.0, reason])?;
        }
        Ok(())
    }

    /// What is revoked with a statement: those before it of the same keys' line whose time is not over. A peer that has not heard of the
    /// newest goes by one of them.
    pub fn revoked_with(&self, stated: &Stated, now: UnixTime) -> Result<Vec<Stated>, StoreError> {
        let mut line = self.line(stated.lineage, Serial(0), stated.statement.serial())?;
        line.retain(|s| s.statement.validity().until() > now && s.standing != Standing::Revoked);
        Ok(line)
    }

    /// Serials of revoked statements whose time would not be over.
    pub fn revoked(&self, now: UnixTime) -> Result<Vec<Serial>, StoreError> {
        let sql = "SELECT serial FROM revoked WHERE until > ?1 ORDER BY serial";
        self.many(sql, params![now.0], |row| Ok(Ok(Serial(row.get(0)?))))
    }

    /// Archives a signed message as it came.
    pub fn add_evidence(
        &self,
        subject: &PartyId,
        serial: Serial,
        message: &[u8],
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO evidence (at, subject, serial, message) VALUES (?1, ?2, ?3, ?4)";
        self.0.execute(sql, params![now.0, subject.as_str(), serial.0, message])?;
        Ok(())
    }

    /// How many messages are archived.
    pub fn evidence_count(&self) -> Result<u64, StoreError> {
        Ok(self.0.query_row("SELECT COUNT(*) FROM evidence", [], |row| row.get(0))?)
    }

    /// Removes evidence from before then, and the oldest beyond `rows_max`; some at a time. Says how many went.
    pub fn prune_evidence(&self, before: UnixTime, rows_max: u64) -> Result<usize, StoreError> {
        let sql = "DELETE FROM evidence WHERE id IN (SELECT id FROM evidence
                   WHERE at < ?1 OR id <= (SELECT MAX(id) FROM evidence) - ?2 ORDER BY id LIMIT ?3)";
        Ok(self.0.execute(sql, params![before.0, rows_max, PRUNE_ROWS])?)
    }

    fn one(&self, sql: &str, params: impl rusqlite::Params) -> Result<Option<Stated>, StoreError> {
        Ok(self.many(sql, params, stated)?.pop())
    }

    fn many<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl Fn(&Row<'_>) -> Result<Result<T, StoreError>, rusqlite::Error>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.0.prepare(sql)?;
        let mut rows = statement.query(params)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(read(row)??);
        }
        Ok(all)
    }
}

type Read<T> = Result<Result<T, StoreError>, rusqlite::Error>;

fn stated(row: &Row<'_>) -> Read<Stated> {
    let raw: Vec<u8> = row.get("raw")?;
    let state: String = row.get("state")?;
    let time = |name| row.get(name).map(UnixTime);
    let bytes = |name| row.get::<_, Option<Vec<u8>>>(name);
    let (Ok(statement), Some(standing)) = (Statement::from_store(&raw), Standing::from_word(&state)) else {
        return Ok(Err(StoreError::Damaged("a statement")));
    };
    Ok(Ok(Stated {
        statement,
        standing,
        made: time("made")?,
        sig_since: time("sig_since")?,
        kem_since: time("kem_since")?,
        lineage: Serial(row.get("lineage")?),
        overlap_until: row.get::<_, Option<u64>>("overlap_until")?.map(UnixTime),
        succession: bytes("succession")?,
        token: bytes("token")?.and_then(|id| id.try_into().ok()).map(TokenId),
        challenge: bytes("challenge")?.and_then(|challenge| challenge.try_into().ok()),
    }))
}

fn token(row: &Row<'_>) -> Read<Token> {
    let id: Vec<u8> = row.get("id")?;
    let party = |name| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(name)?.map(|u| u.parse()).transpose());
    let (Ok(id), Some(role), Ok(uuid), Ok(utility)) =
        (id.try_into(), Role::from_number(row.get("role")?), party("uuid")?, party("utility")?)
    else {
        return Ok(Err(StoreError::Damaged("a token")));
    };
    Ok(Ok(Token {
        id: TokenId(id),
        wrapped: row.get::<_, Option<Vec<u8>>>("wrapped")?.and_then(|w| w.try_into().ok()),
        role,
        uuid,
        renews: row.get("renews")?,
        premises: row.get("premises")?,
        state: row.get("state")?,
        made: UnixTime(row.get("made")?),
        until: UnixTime(row.get("until")?),
        hour: UnixTime(row.get("hour")?),
        attempts: row.get("attempts")?,
        utility,
    }))
}

/// The identifier of the key that signed a statement's next link: issuing or root.
pub fn issuer_id(statement: &Statement) -> KeyId {
    key_id(statement.sig().to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_open_once_and_belongs_to_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Missing(_))));
        let _first = Store::create(dir.path()).unwrap();
        assert!(matches!(Store::create(dir.path()), Err(StoreError::Exists(_))));
        assert!(matches!(Store::open(dir.path()), Err(StoreError::InUse)));
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_database_of_the_first_version_is_taken_over_with_its_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let first = Connection::open(dir.path().join(FILE)).unwrap();
        first.execute_batch(MIGRATIONS[0]).unwrap();
        first.pragma_update(None, "user_version", 1).unwrap();
        let sql = "INSERT INTO token VALUES (x'0102030405060708', NULL, 5, NULL, 0, 'here', 'used', 1, 2, 0, 0)";
        first.execute(sql, []).unwrap();
        drop(first);
        let mut store = Store::open(dir.path()).unwrap();
        let change = store.begin().unwrap();
        let token = change.token(TokenId([1, 2, 3, 4, 5, 6, 7, 8])).unwrap().unwrap();
        assert_eq!((token.premises.as_str(), token.utility), ("here", None));
        let party: PartyId = "2fac1234-31f8-41b4-a222-08002b34c003".parse().unwrap();
        assert_eq!(change.contact(&party).unwrap(), Contact::default());
        let contact = Contact { utility: Some(party), host: Some("home.example".to_owned()) };
        change.set_contact(&party, &contact).unwrap();
        assert_eq!(change.contact(&party).unwrap(), contact);
    }

    #[test]
    fn what_is_not_committed_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(dir.path()).unwrap();
        store.begin().unwrap().set_number("x", 1).unwrap();
        let change = store.begin().unwrap();
        assert_eq!(change.number("x").unwrap(), 0);
        change.set_number("x", 2).unwrap();
        change.commit().unwrap();
        drop(store);
        assert_eq!(Store::open(dir.path()).unwrap().begin().unwrap().number("x").unwrap(), 2);
    }

    #[test]
    fn evidence_goes_by_age_and_by_number() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(dir.path()).unwrap();
        let change = store.begin().unwrap();
        let party: PartyId = "2fac1234-31f8-41b4-a222-08002b34c003".parse().unwrap();
        for at in 1..=10 {
            change.add_evidence(&party, Serial(1), b"m", UnixTime(at)).unwrap();
        }
        assert_eq!(change.prune_evidence(UnixTime(3), 100).unwrap(), 2);
        assert_eq!(change.prune_evidence(UnixTime(0), 3).unwrap(), 5);
        assert_eq!(change.evidence_count().unwrap(), 3);
    }
}
