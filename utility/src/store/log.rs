//! The log of changes: who did what, when. Every operator's change, every rule's, every outcome that a home told. It is the audit, and
//! what `watch` shows.

use serde_json::Value as Json;
use utility_wire::UnixTime;

use super::backend::{Hint, Tx};
use super::{Store, StoreError};
use crate::limits::PAGE_MAX;

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its number, from 1 up without a break.
    pub id: u64,
    /// When.
    pub at: UnixTime,
    /// Who: `operator:NAME`, `rule:NAME`, `site:UUID` or `server`.
    pub actor: String,
    /// What: `limit.make`, `price.publish` and so on.
    pub action: String,
    /// To what.
    pub subject: String,
    /// How.
    pub detail: Json,
}

/// Writes a change down. The caller must be alone.
pub(super) async fn note(
    tx: &mut dyn Tx,
    now: UnixTime,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &Json,
) -> Result<u64, StoreError> {
    let sql = "INSERT INTO change (id, at, actor, action, subject, detail)
        VALUES ((SELECT coalesce(max(id), 0) + 1 FROM change), $1, $2, $3, $4, $5) RETURNING id";
    let params = [now.seconds().into(), actor.into(), action.into(), subject.into(), detail.to_string().into()];
    let rows = tx.query(sql, &params).await?;
    tx.hint(Hint::Log);
    rows.first().ok_or(StoreError::Row { column: 0 })?.u64(0)
}

impl Store {
    /// Changes after number `since`, oldest first; at most `limit`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn changes(&self, since: u64, limit: u32) -> Result<Vec<Change>, StoreError> {
        self.read(move |tx| {
            Box::pin(async move {
                let sql =
                    "SELECT id, at, actor, action, subject, detail FROM change WHERE id > $1 ORDER BY id LIMIT $2";
                changes(tx, sql, since, limit).await
            })
        })
        .await
    }

    /// The latest changes, oldest first; at most `limit`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn latest_changes(&self, limit: u32) -> Result<Vec<Change>, StoreError> {
        self.read(move |tx| {
            Box::pin(async move {
                let sql =
                    "SELECT id, at, actor, action, subject, detail FROM change WHERE id > $1 ORDER BY id DESC LIMIT $2";
                let mut all = changes(tx, sql, 0, limit).await?;
                all.reverse();
                Ok(all)
            })
        })
        .await
    }

    /// Number of the latest change; 0 for none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn last_change(&self) -> Result<u64, StoreError> {
        self.read(|tx| {
            Box::pin(async move {
                let rows = tx.query("SELECT coalesce(max(id), 0) FROM change", &[]).await?;
                rows.first().ok_or(StoreError::Row { column: 0 })?.u64(0)
            })
        })
        .await
    }

    /// Writes down a change that is not one of the database's own: a reload, an order to the server itself.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note(
        &self,
        now: UnixTime,
        actor: &str,
        action: &str,
        subject: &str,
        detail: Json,
    ) -> Result<(), StoreError> {
        let (actor, action, subject) = (actor.to_owned(), action.to_owned(), subject.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone().await?;
                note(tx, now, &actor, &action, &subject, &detail).await.map(|_| ())
            })
        })
        .await
    }
}

async fn changes(tx: &mut dyn Tx, sql: &str, since: u64, limit: u32) -> Result<Vec<Change>, StoreError> {
    let rows = tx.query(sql, &[since.into(), limit.min(PAGE_MAX).into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Change {
                id: row.u64(0)?,
                at: UnixTime::new(row.u64(1)?),
                actor: row.text(2)?.to_owned(),
                action: row.text(3)?.to_owned(),
                subject: row.text(4)?.to_owned(),
                detail: serde_json::from_str(row.text(5)?).map_err(|_| StoreError::Row { column: 5 })?,
            })
        })
        .collect()
}
