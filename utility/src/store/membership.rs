//! The membership's row: one for all replicas, held by one of them at a time while it talks to the KMC.

use super::backend::{Hint, Row};
use super::{Store, StoreError};
use crate::limits::HELD_SKEW_S;

/// The row as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipRow {
    /// Grows with each writing.
    pub version: u64,
    /// Encrypted; empty: there is no membership.
    pub record: Vec<u8>,
}

/// Whose the row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The asker's, and this is in it.
    Mine(MembershipRow),
    /// Another replica's.
    Others,
}

impl Store {
    /// The row, if it has another version than `known`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn membership(&self, known: u64) -> Result<Option<MembershipRow>, StoreError> {
        self.read(move |tx| {
            Box::pin(async move {
                let sql = "SELECT version, record FROM membership WHERE id = 1 AND version <> $1";
                tx.query(sql, &[known.into()]).await?.first().map(read).transpose()
            })
        })
        .await
    }

    /// Takes the row for a replica until it gives it back, at most until `until`, if it is nobody else's at `now` (seconds since 1970).
    /// One held for long beyond `until` was taken by a clock that was ahead, and is nobody's.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn hold_membership(&self, replica: &str, now: u64, until: u64) -> Result<Held, StoreError> {
        let replica = replica.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let sql = "INSERT INTO membership (id, version, record, holder, held_until) VALUES (1, 0, $1, '', 0)
                    ON CONFLICT DO NOTHING";
                tx.execute(sql, &[Vec::new().into()]).await?;
                let sql = "UPDATE membership SET holder = $1, held_until = $2
                    WHERE id = 1 AND (holder = $1 OR held_until < $3 OR held_until > $4) RETURNING version, record";
                let rows =
                    tx.query(sql, &[replica.into(), until.into(), now.into(), (until + HELD_SKEW_S).into()]).await?;
                rows.first().map_or(Ok(Held::Others), |row| read(row).map(Held::Mine))
            })
        })
        .await
    }

    /// Writes the row, if it is that replica's and still what it was.
    ///
    /// # Errors
    /// [`StoreError::Conflict`]: it is not.
    pub async fn put_membership(&self, replica: &str, known: u64, record: Vec<u8>) -> Result<(), StoreError> {
        let replica = replica.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE membership SET version = version + 1, record = $1 WHERE id = 1 AND holder = $2 AND version = $3";
                if tx.execute(sql, &[record.into(), replica.into(), known.into()]).await? == 0 {
                    return Err(StoreError::Conflict("another replica took the membership over".to_owned()));
                }
                Ok(())
            })
        })
        .await
    }

    /// Gives the row back; `changed` is its version where it is another than before: other replicas look at it then.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn release_membership(&self, replica: &str, changed: Option<u64>) -> Result<(), StoreError> {
        let replica = replica.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE membership SET held_until = 0 WHERE id = 1 AND holder = $1";
                tx.execute(sql, &[replica.into()]).await?;
                if let Some(version) = changed {
                    tx.hint(Hint::Keys(version));
                }
                Ok(())
            })
        })
        .await
    }
}

fn read(row: &Row) -> Result<MembershipRow, StoreError> {
    Ok(MembershipRow { version: row.u64(0)?, record: row.bytes(1)?.to_owned() })
}
