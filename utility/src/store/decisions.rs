//! What was decided in homes, as far as their people let the utility know: kept as it was told, and forgotten with the consumption of its time.

use utility_wire::{ApplianceId, Report, UnixTime};

use super::backend::{Row, Tx};
use super::{Store, StoreError};
use crate::limits::PAGE_MAX;
use crate::sites::SiteId;

/// A decision about an appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at: UnixTime,
    /// About which appliance.
    pub appliance: ApplianceId,
    /// What.
    pub action: String,
    /// By which input.
    pub cause: String,
    /// How it ended.
    pub outcome: String,
    /// Why.
    pub reason: String,
}

impl Store {
    /// The latest decisions in a home, oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn decisions(&self, site: &SiteId, limit: u32) -> Result<Vec<Decision>, StoreError> {
        let site = site.clone();
        self.read(move |tx| {
            Box::pin(async move {
                let sql = "SELECT at, appliance, action, cause, outcome, reason FROM decision
                     WHERE site = $1 ORDER BY at DESC, batch DESC, n DESC LIMIT $2";
                let rows = tx.query(sql, &[site.as_str().into(), limit.min(PAGE_MAX).into()]).await?;
                let decision = |row: &Row| {
                    Ok(Decision {
                        at: UnixTime::new(row.u64(0)?),
                        appliance: row.parsed(1)?,
                        action: row.text(2)?.to_owned(),
                        cause: row.text(3)?.to_owned(),
                        outcome: row.text(4)?.to_owned(),
                        reason: row.text(5)?.to_owned(),
                    })
                };
                rows.iter().rev().map(decision).collect()
            })
        })
        .await
    }
}

/// Those of a report that was not taken before.
pub(super) async fn put_decisions(tx: &mut dyn Tx, site: &SiteId, report: &Report) -> Result<(), StoreError> {
    for (n, d) in (0u32..).zip(report.decisions.iter()) {
        let sql = "INSERT INTO decision (site, batch, n, at, appliance, action, cause, outcome, reason)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
        let params = [
            site.as_str().into(),
            report.batch.into(),
            n.into(),
            d.at.seconds().into(),
            d.of.as_str().into(),
            d.action.as_str().into(),
            d.cause.as_str().into(),
            d.outcome.as_str().into(),
            d.reason.as_str().into(),
        ];
        tx.execute(sql, &params).await?;
    }
    Ok(())
}
