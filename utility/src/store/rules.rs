//! What rules remember. A step and what it orders are one transaction, based on the memory it was worked out from: of several replicas
//! that see the same reading one takes the step, and none takes it twice after a crash.

use serde_json::json;
use utility_wire::UnixTime;

use super::backend::{Row, Tx};
use super::events::{cancel_limit, make_limit};
use super::log::note;
use super::{RuleMemory, Store, StoreError};
use crate::rules::{Memory, Order, Step};

impl Store {
    /// What a rule remembers; a fresh memory for one that never took a step.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rule_memory(&self, name: &str) -> Result<RuleMemory, StoreError> {
        let name = name.to_owned();
        self.read(move |tx| Box::pin(async move { memory(tx, &name).await })).await
    }

    /// Takes a rule's step: its order and its memory, both or none. `false`: another replica took a step meanwhile, and nothing was done.
    ///
    /// # Errors
    /// The order cannot be carried out.
    pub async fn take_step(&self, name: &str, base: u64, step: &Step, now: UnixTime) -> Result<bool, StoreError> {
        let (name, step) = (name.to_owned(), step.clone());
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone().await?;
                if memory(tx, &name).await?.version != base {
                    return Ok(false);
                }
                let (mut next, actor) = (step.memory, format!("rule:{name}"));
                match step.order {
                    Some(Order::Make(draft)) => {
                        let mut draft = *draft;
                        // What it would take the place of may have been called off by hand, or be over.
                        if let Some(old) = draft.supersedes
                            && !live(tx, old, now).await?
                        {
                            draft.supersedes = None;
                        }
                        // A reading that comes late still limits from now on for the whole length.
                        draft.start = draft.start.max(now);
                        let id = make_limit(tx, draft, &actor, now).await?;
                        next.made(id);
                    }
                    Some(Order::Cancel(id)) if live(tx, id, now).await? => cancel_limit(tx, id, &actor, now).await?,
                    Some(Order::Cancel(id)) => {
                        note(tx, now, &actor, "rule.release", &id.to_string(), &json!({ "why": step.why })).await?;
                    }
                    None => {}
                }
                let text = serde_json::to_string(&next).map_err(|_| StoreError::Row { column: 2 })?;
                let sql = "INSERT INTO rule_memory (name, version, memory, why) VALUES ($1, $2, $3, $4)
                    ON CONFLICT (name) DO UPDATE SET version = excluded.version, memory = excluded.memory, why = excluded.why";
                tx.execute(sql, &[name.into(), (base + 1).into(), text.into(), step.why.into()]).await?;
                Ok(true)
            })
        })
        .await
    }
}

async fn memory(tx: &mut dyn Tx, name: &str) -> Result<RuleMemory, StoreError> {
    let rows = tx.query("SELECT version, memory, why FROM rule_memory WHERE name = $1", &[name.into()]).await?;
    let read = |row: &Row| {
        let memory = serde_json::from_str(row.text(1)?).map_err(|_| StoreError::Row { column: 1 })?;
        Ok(RuleMemory { version: row.u64(0)?, memory, why: row.text(2)?.to_owned() })
    };
    let fresh = RuleMemory { version: 0, memory: Memory::default(), why: String::new() };
    rows.first().map_or(Ok(fresh), read)
}

async fn live(tx: &mut dyn Tx, id: utility_wire::EventId, now: UnixTime) -> Result<bool, StoreError> {
    Ok(super::events::limit_by_id(tx, id).await?.check_live(now).is_ok())
}
