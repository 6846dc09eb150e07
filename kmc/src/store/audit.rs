//! The audit log: who did what, each entry chained to the one before by its hash.

use rusqlite::{Row, params};
use secure_http::{UnixTime, crypto::sha256};

use super::{Change, Read, StoreError};
use crate::limits::ANSWER_ROWS_MAX;

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number, from 1 without a gap.
    pub seq: u64,
    /// When.
    pub at: UnixTime,
    /// Who: `operator:UID`, a party's UUID, for an order with `/` and the name of who gave it there, or `kmc`.
    pub actor: String,
    /// What.
    pub action: String,
    /// To whom or what.
    pub subject: String,
    /// More, for people.
    pub detail: String,
    /// SHA-256 over the entry before and this one.
    pub hash: [u8; 32],
}

impl AuditEntry {
    /// What its hash has to be after an entry with that hash: each part with its length, so that nothing can move between them.
    fn digest(&self, before: &[u8; 32]) -> [u8; 32] {
        let texts = [&self.actor, &self.action, &self.subject, &self.detail];
        let lengths = texts.map(|text| (text.len() as u64).to_be_bytes());
        let (seq, at) = (self.seq.to_be_bytes(), self.at.0.to_be_bytes());
        let mut parts: Vec<&[u8]> = vec![b"heg-kmc-audit/1", before, &seq, &at];
        for (length, text) in lengths.iter().zip(texts) {
            parts.extend([&length[..], text.as_bytes()]);
        }
        sha256(&parts)
    }
}

impl Change<'_> {
    /// Writes an entry of the audit log, chained to the one before.
    pub fn audit(
        &self,
        now: UnixTime,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        let last = self.last_audit()?;
        let (seq, before) = last.map_or((1, [0; 32]), |last| (last.seq + 1, last.hash));
        let mut entry = AuditEntry {
            seq,
            at: now,
            actor: actor.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail: detail.to_owned(),
            hash: [0; 32],
        };
        entry.hash = entry.digest(&before);
        let sql = "INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.0.execute(sql, params![seq, now.0, actor, action, subject, detail, &entry.hash[..]])?;
        Ok(())
    }

    /// The newest entry.
    pub fn last_audit(&self) -> Result<Option<AuditEntry>, StoreError> {
        Ok(self.many("SELECT * FROM audit ORDER BY seq DESC LIMIT 1", [], audit_entry)?.pop())
    }

    /// The newest entries from then on, oldest first.
    pub fn audit_log(&self, since: UnixTime) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = "SELECT * FROM (SELECT * FROM audit WHERE at >= ?1 ORDER BY seq DESC LIMIT ?2) ORDER BY seq";
        self.many(sql, params![since.0, ANSWER_ROWS_MAX], audit_entry)
    }

    /// The number of the first entry that does not follow from the one before; none when the whole log is sound.
    pub fn audit_break(&self) -> Result<Option<u64>, StoreError> {
        let mut statement = self.0.prepare("SELECT * FROM audit ORDER BY seq")?;
        let mut rows = statement.query([])?;
        let (mut seq, mut before) = (0, [0; 32]);
        while let Some(row) = rows.next()? {
            let entry = audit_entry(row)??;
            if entry.seq != seq + 1 || entry.hash != entry.digest(&before) {
                return Ok(Some(entry.seq));
            }
            (seq, before) = (entry.seq, entry.hash);
        }
        Ok(None)
    }
}

fn audit_entry(row: &Row<'_>) -> Read<AuditEntry> {
    let hash: Vec<u8> = row.get("hash")?;
    let Ok(hash) = hash.try_into() else { return Ok(Err(StoreError::Damaged("the audit log"))) };
    Ok(Ok(AuditEntry {
        seq: row.get("seq")?,
        at: UnixTime(row.get("at")?),
        actor: row.get("actor")?,
        action: row.get("action")?,
        subject: row.get("subject")?,
        detail: row.get("detail")?,
        hash,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn an_audit_log_that_somebody_edits_no_longer_follows() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(dir.path()).unwrap();
        let change = store.begin().unwrap();
        for (action, subject) in [("token", "a"), ("enrol", "b"), ("revoke", "b")] {
            change.audit(UnixTime(5), "operator:0", action, subject, "").unwrap();
        }
        assert_eq!(change.audit_break().unwrap(), None);
        change.0.execute("UPDATE audit SET subject = 'c' WHERE seq = 2", []).unwrap();
        assert_eq!(change.audit_break().unwrap(), Some(2));
        change.0.execute("DELETE FROM audit WHERE seq = 2", []).unwrap();
        assert_eq!(change.audit_break().unwrap(), Some(3), "a gap");
    }
}
