//! The sealed channel's memory: gateways' statements, what was taken from each home, the numbers of what was sent to it, evidence.
//!
//! A message is taken in with one transaction that moves the home's window, stores what it says and what shows who said it, and gives out
//! the number of its answer.

use secure_http::{Serial, Statement, Window, WindowError};
use serde_json::json;
use utility_wire::{BatchState, Outcome, Report, UnixTime};

use super::backend::{Hint, Row, Tx, Value};
use super::events::take_outcome;
use super::log::note;
use super::sites::{SITE_COLUMNS, read_site, site_by_id, take_report};
use super::{Store, StoreError};
use crate::limits::{EVIDENCE_PAGE_MAX, PAGE_MAX, STATEMENTS_PER_SITE_MAX};
use crate::sites::{Site, SiteId};

/// What is known of a home's keys and messages.
#[derive(Clone, Debug)]
pub struct Channel {
    /// How often its keys began anew, from 1: a new enrolment is another lineage, a roll-over is not.
    pub lineage: u64,
    /// Which of the numbers of this lineage were taken.
    pub window: Window,
    /// Statements of this lineage, the newest first.
    pub statements: Vec<Believed>,
    /// Where it is reached, if it says so.
    pub host: Option<String>,
    /// An operator lets its next statement in without its old keys' word until then; 1970 where none does.
    pub renew_until: UnixTime,
}

/// A statement that was believed.
#[derive(Clone, Debug)]
pub struct Believed {
    /// The statement.
    pub statement: Statement,
    /// Another key has taken over: messages under this one are taken until then.
    pub until: Option<UnixTime>,
}

/// A statement that is to be believed from now on.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// The home.
    pub site: SiteId,
    /// Its statement.
    pub statement: Statement,
    /// Serial of the newest known so far, on which this was decided; none where none was.
    pub after: Option<Serial>,
    /// It begins a lineage: its old keys, if any, did not vouch for it.
    pub anew: bool,
    /// Messages under the key before are taken until then.
    pub overlap_until: UnixTime,
    /// Where the home is reached now.
    pub host: Option<String>,
    /// Statements above it, as evidence: issuing, root.
    pub above: Vec<Statement>,
}

/// A message whose signature and seal are right, to be taken in.
#[derive(Clone, Debug)]
pub struct Taking {
    /// Whose it is.
    pub site: SiteId,
    /// Lineage of its keys.
    pub lineage: u64,
    /// Its number.
    pub seq: u64,
    /// It answers a message of ours: a lost window begins anew with it.
    pub answers: bool,
    /// Now.
    pub now: UnixTime,
    /// It is a poll: the home comes by itself and need not be called.
    pub poll: bool,
    /// What shows who said it, where that may matter one day.
    pub evidence: Option<Proof>,
}

/// A signed message as it came, with what is needed to show what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Statement of the key that signed it.
    pub serial: Serial,
    /// The message.
    pub message: Vec<u8>,
    /// Salt before the body.
    pub salt: [u8; 16],
    /// What was sealed.
    pub body: Vec<u8>,
}

/// What taking a message in gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken<T> {
    /// What came of it.
    pub effect: T,
    /// Number of the answer.
    pub number: u64,
    /// The window now.
    pub window: Window,
}

/// A message kept as evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// When it was taken.
    pub taken: UnixTime,
    /// Lineage of its keys.
    pub lineage: u64,
    /// Its number.
    pub seq: u64,
    /// The message and what shows its content.
    pub proof: Proof,
}

/// A home that can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// Which.
    pub site: Site,
    /// Where: host or address, and port.
    pub host: String,
}

impl Store {
    /// What is known of a home's keys; the inner `None`: nothing yet, the outer: there is no such site.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn channel(&self, site: &SiteId) -> Result<Option<Option<Channel>>, StoreError> {
        let site = site.clone();
        self.read(move |tx| {
            Box::pin(async move {
                if site_by_id(tx, &site).await?.is_none() {
                    return Ok(None);
                }
                channel(tx, &site).await.map(Some)
            })
        })
        .await
    }

    /// Believes a statement from now on, and no longer those that it takes the place of.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when something else was believed meanwhile: decide again.
    pub async fn adopt(&self, adoption: Adoption, now: UnixTime) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone().await?;
                adopt(tx, &adoption, now).await
            })
        })
        .await
    }

    /// Lets a home's next statement in although its old keys do not vouch for it, until then: it was given a new token, good for so long.
    ///
    /// # Errors
    /// There is no such site.
    pub async fn renew_keys(
        &self,
        site: &SiteId,
        (by, why): (&str, &str),
        until: UnixTime,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let (site, by, why) = (site.clone(), by.to_owned(), why.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone().await?;
                if site_by_id(tx, &site).await?.is_none() {
                    return Err(StoreError::UnknownSite(site.to_string()));
                }
                let sql = "UPDATE channel SET renew = $1 WHERE site = $2";
                tx.execute(sql, &[until.seconds().into(), site.as_str().into()]).await?;
                note(tx, now, &by, "site.keys", site.as_str(), &json!({ "reason": why })).await?;
                tx.hint(Hint::Site(site.to_string()));
                Ok(())
            })
        })
        .await
    }

    /// Takes a sealed report in: window, content, evidence and the number of the answer, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::Replay`]: it was taken before. There is no such site.
    pub async fn take_report(&self, taking: Taking, report: &Report) -> Result<Taken<BatchState>, StoreError> {
        let report = report.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let (number, window) = take(tx, &taking).await?;
                let effect = take_report(tx, &taking.site, &report, taking.now).await?;
                if effect == BatchState::Stored {
                    keep(tx, &taking).await?;
                }
                Ok(Taken { effect, number, window })
            })
        })
        .await
    }

    /// Takes a poll in, with the outcomes in it: how many were of something unknown, and so passed over.
    ///
    /// # Errors
    /// [`StoreError::Replay`]: it was taken before. There is no such site.
    pub async fn take_poll(&self, taking: Taking, outcomes: Vec<Outcome>) -> Result<Taken<usize>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                if !outcomes.is_empty() {
                    // Outcomes stand in the log, whose order comes before everything else that is waited for.
                    tx.alone().await?;
                }
                let (number, window) = take(tx, &taking).await?;
                let site = site_by_id(tx, &taking.site).await?;
                let site = site.ok_or_else(|| StoreError::UnknownSite(taking.site.to_string()))?;
                let mut effect = 0;
                for outcome in &outcomes {
                    match take_outcome(tx, &site, outcome, taking.now).await {
                        Ok(()) => {}
                        Err(StoreError::UnknownEvent(_)) => effect += 1,
                        Err(error) => return Err(error),
                    }
                }
                if !outcomes.is_empty() {
                    keep(tx, &taking).await?;
                }
                Ok(Taken { effect, number, window })
            })
        })
        .await
    }

    /// Uses a message's number up, whatever else is wrong with it.
    ///
    /// # Errors
    /// [`StoreError::Replay`]: it was taken before.
    pub async fn take_number(&self, taking: Taking) -> Result<Taken<()>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let (number, window) = take(tx, &taking).await?;
                Ok(Taken { effect: (), number, window })
            })
        })
        .await
    }

    /// The number of a message to a home that answers nothing that was taken.
    ///
    /// # Errors
    /// There is no such site, or nothing is known of its keys.
    pub async fn next_number(&self, site: &SiteId) -> Result<u64, StoreError> {
        let site = site.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE channel SET sent = sent + 1 WHERE site = $1 RETURNING sent";
                let rows = tx.query(sql, &[site.as_str().into()]).await?;
                rows.first().ok_or_else(|| StoreError::UnknownSite(site.to_string()))?.u64(0)
            })
        })
        .await
    }

    /// Where a home is reached, as its KMC or it itself says now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_host(&self, site: &SiteId, host: Option<&str>) -> Result<(), StoreError> {
        let (site, host) = (site.clone(), host.map(str::to_owned));
        self.write(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE channel SET host = $1 WHERE site = $2";
                tx.execute(sql, &[host.into(), site.as_str().into()]).await.map(|_| ())
            })
        })
        .await
    }

    /// Homes that can be called and have not polled since then: behind `after` by UUID, a page of them.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn reachable(&self, silent_since: UnixTime, after: &str) -> Result<Vec<Reachable>, StoreError> {
        let after = after.to_owned();
        self.read(move |tx| {
            Box::pin(async move {
                let sql = format!(
                    "SELECT {SITE_COLUMNS}, host FROM site JOIN channel ON channel.site = site.id
                     WHERE host IS NOT NULL AND (polled IS NULL OR polled < $1) AND id > $2 ORDER BY id LIMIT $3"
                );
                let rows = tx.query(&sql, &[silent_since.seconds().into(), after.into(), PAGE_MAX.into()]).await?;
                rows.iter().map(|row| Ok(Reachable { site: read_site(row)?, host: row.text(7)?.to_owned() })).collect()
            })
        })
        .await
    }

    /// Takes a call of a home for this replica, if none was begun within the last `gap_s` seconds.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_call(&self, site: &SiteId, gap_s: u64, now: UnixTime) -> Result<bool, StoreError> {
        let site = site.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE channel SET called = $1 WHERE site = $2 AND (called IS NULL OR called <= $3 OR called > $4)";
                let before = now.seconds().saturating_sub(gap_s);
                // By a clock that was ahead.
                let ahead = now.seconds() + gap_s;
                let params = [now.seconds().into(), site.as_str().into(), before.into(), ahead.into()];
                Ok(tx.execute(sql, &params).await? > 0)
            })
        })
        .await
    }

    /// Messages of a home kept as evidence, behind `after` (when taken, number), oldest first; a page of them.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn evidence(&self, site: &SiteId, after: (UnixTime, u64)) -> Result<Vec<Evidence>, StoreError> {
        let site = site.clone();
        self.read(move |tx| {
            Box::pin(async move {
                let sql = "SELECT taken, lineage, seq, serial, message, salt, body FROM evidence
                    WHERE site = $1 AND (taken > $2 OR taken = $2 AND seq > $3) ORDER BY taken, seq LIMIT $4";
                let params = [site.as_str().into(), after.0.seconds().into(), after.1.into(), EVIDENCE_PAGE_MAX.into()];
                tx.query(sql, &params).await?.iter().map(evidence).collect()
            })
        })
        .await
    }

    /// All statements of a home that were ever believed, and those above them, as signed: lineage (0 for those above) and bytes.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn statements(&self, site: &SiteId) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let site = site.clone();
        self.read(move |tx| {
            Box::pin(async move {
                let sql = "SELECT lineage, content FROM statement WHERE subject = $1 OR subject = '' ORDER BY lineage, serial";
                let rows = tx.query(sql, &[site.as_str().into()]).await?;
                rows.iter().map(|row| Ok((row.u64(0)?, row.bytes(1)?.to_owned()))).collect()
            })
        })
        .await
    }
}

/// Moves the window over the message's number and takes the answer's. First of all, so that two messages of one home go one after the
/// other.
async fn take(tx: &mut dyn Tx, taking: &Taking) -> Result<(u64, Window), StoreError> {
    let sql = "UPDATE channel SET sent = sent + 1, polled = CASE WHEN CAST($1 AS BIGINT) = 1 THEN CAST($2 AS BIGINT) ELSE polled END
        WHERE site = $3 AND lineage = $4 RETURNING sent, taken";
    let params = [taking.poll.into(), taking.now.seconds().into(), taking.site.as_str().into(), taking.lineage.into()];
    let rows = tx.query(sql, &params).await?;
    let Some(row) = rows.first() else {
        return match site_by_id(tx, &taking.site).await? {
            // Another lineage took over while the message was looked at: it is of the past.
            Some(_) => Err(StoreError::Replay),
            None => Err(StoreError::UnknownSite(taking.site.to_string())),
        };
    };
    let window = match stored_window(row, 1)?.commit(taking.seq) {
        Ok(window) => window,
        Err(WindowError::Lost) if taking.answers => Window::anchor(taking.seq),
        Err(_) => return Err(StoreError::Replay),
    };
    let sql = "UPDATE channel SET taken = $1 WHERE site = $2";
    tx.execute(sql, &[window.to_bytes().to_vec().into(), taking.site.as_str().into()]).await?;
    Ok((row.u64(0)?, window))
}

async fn keep(tx: &mut dyn Tx, taking: &Taking) -> Result<(), StoreError> {
    let Some(proof) = &taking.evidence else { return Ok(()) };
    let sql = "INSERT INTO evidence (site, taken, seq, lineage, serial, message, salt, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let params = [
        taking.site.as_str().into(),
        taking.now.seconds().into(),
        taking.seq.into(),
        taking.lineage.into(),
        proof.serial.0.into(),
        proof.message.clone().into(),
        proof.salt.to_vec().into(),
        proof.body.clone().into(),
    ];
    tx.execute(sql, &params).await.map(|_| ())
}

async fn channel(tx: &mut dyn Tx, site: &SiteId) -> Result<Option<Channel>, StoreError> {
    let sql = "SELECT lineage, taken, host, renew FROM channel WHERE site = $1";
    let rows = tx.query(sql, &[site.as_str().into()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let lineage = row.u64(0)?;
    let sql = "SELECT content, until FROM statement WHERE subject = $1 AND lineage = $2 ORDER BY serial DESC LIMIT $3";
    let params = [site.as_str().into(), lineage.into(), STATEMENTS_PER_SITE_MAX.into()];
    let statements = tx.query(sql, &params).await?;
    let believed = |row: &Row| {
        let statement = Statement::from_store(row.bytes(0)?).map_err(|_| StoreError::Row { column: 0 })?;
        Ok(Believed { statement, until: row.opt_u64(1)?.map(UnixTime::new) })
    };
    Ok(Some(Channel {
        lineage,
        window: stored_window(row, 1)?,
        statements: statements.iter().map(believed).collect::<Result<_, StoreError>>()?,
        host: row.opt_text(2)?.map(str::to_owned),
        renew_until: UnixTime::new(row.u64(3)?),
    }))
}

/// The caller must be alone.
async fn adopt(tx: &mut dyn Tx, adoption: &Adoption, now: UnixTime) -> Result<(), StoreError> {
    let (site, statement) = (&adoption.site, &adoption.statement);
    if site_by_id(tx, site).await?.is_none() {
        return Err(StoreError::UnknownSite(site.to_string()));
    }
    let known = channel(tx, site).await?;
    let newest = known.as_ref().and_then(|known| known.statements.first()).map(|b| b.statement.serial());
    let renewed = known.as_ref().is_none_or(|known| now < known.renew_until);
    if newest != adoption.after || (adoption.anew && !renewed) {
        return Err(StoreError::Conflict(format!("the keys of {site} are others by now")));
    }
    let lineage = known.as_ref().map_or(0, |known| known.lineage) + u64::from(adoption.anew);
    if adoption.anew {
        let sql = "INSERT INTO channel (site, lineage, taken, sent, renew) VALUES ($1, $2, $3, 0, 0)
            ON CONFLICT (site) DO UPDATE SET lineage = excluded.lineage, taken = excluded.taken, renew = 0";
        let params = [site.as_str().into(), lineage.into(), Window::new().to_bytes().to_vec().into()];
        tx.execute(sql, &params).await?;
    }
    let host = adoption.host.clone();
    tx.execute("UPDATE channel SET host = $1, renew = 0 WHERE site = $2", &[host.into(), site.as_str().into()]).await?;
    let sql = "UPDATE statement SET until = $1 WHERE subject = $2 AND lineage = $3 AND until IS NULL AND kid <> $4";
    let kid = Value::from(statement.kid().0.to_vec());
    let params = [adoption.overlap_until.seconds().into(), site.as_str().into(), lineage.into(), kid];
    tx.execute(sql, &params).await?;
    put_statement(tx, site.as_str(), lineage, statement, now).await?;
    for above in &adoption.above {
        put_statement(tx, "", 0, above, now).await?;
    }
    let detail = json!({ "serial": statement.serial().0, "lineage": lineage, "anew": adoption.anew });
    note(tx, now, "server", "site.statement", site.as_str(), &detail).await?;
    tx.hint(Hint::Site(site.to_string()));
    Ok(())
}

async fn put_statement(
    tx: &mut dyn Tx,
    subject: &str,
    lineage: u64,
    statement: &Statement,
    now: UnixTime,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO statement (subject, lineage, serial, kid, content, taken) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT DO NOTHING";
    let params = [
        subject.into(),
        lineage.into(),
        statement.serial().0.into(),
        statement.kid().0.to_vec().into(),
        statement.raw().to_vec().into(),
        now.seconds().into(),
    ];
    tx.execute(sql, &params).await.map(|_| ())
}

/// A damaged window takes nothing.
fn stored_window(row: &Row, i: usize) -> Result<Window, StoreError> {
    let bytes: [u8; Window::BYTES] = row.bytes(i)?.try_into().map_err(|_| StoreError::Row { column: i })?;
    Ok(Window::from_bytes(bytes))
}

fn evidence(row: &Row) -> Result<Evidence, StoreError> {
    Ok(Evidence {
        taken: UnixTime::new(row.u64(0)?),
        lineage: row.u64(1)?,
        seq: row.u64(2)?,
        proof: Proof {
            serial: Serial(row.u64(3)?),
            message: row.bytes(4)?.to_owned(),
            salt: row.bytes(5)?.try_into().map_err(|_| StoreError::Row { column: 5 })?,
            body: row.bytes(6)?.to_owned(),
        },
    })
}
