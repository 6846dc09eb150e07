//! Demand limits with what homes answered, and direct controls.

use energy_model::Watts;
use serde_json::json;
use utility_wire::limits::{CONTROLS_MAX, LIMITS_MAX, REASON_BYTES_MAX};
use utility_wire::{
    Control, EventId, Limit, LimitSet, List, Message as _, Outcome, OutcomeKind, RefusalCode, Text, UnixTime,
};

use super::backend::{Hint, Row, Tx, Value};
use super::log::note;
use super::prices::{limits_path, put_object};
use super::sites::{appliance_by_id, site_by_id};
use super::{Store, StoreError, next_event};
use crate::events::{ControlDraft, Ended, LimitDraft, Progress, StoredControl, StoredLimit, Target};
use crate::limits::{CONTROLS_PER_SITE_MAX, LIMIT_S_MAX, PAGE_MAX};
use crate::sites::{Site, SiteId};

const LIMIT_COLUMNS: &str =
    "id, target, start, duration, watts, priority, randomise, supersedes, made, made_by, reason, ended, superseded_by";
const CONTROL_COLUMNS: &str =
    "id, site, appliance, action, expires, made, made_by, reason, progress, progressed, code, why";

impl Store {
    /// Makes a limit; its number.
    ///
    /// # Errors
    /// It makes no sense, what it supersedes is not there or not live, or its target has too many.
    pub async fn make_limit(&self, draft: &LimitDraft, by: &str, now: UnixTime) -> Result<EventId, StoreError> {
        let (draft, by) = (draft.clone(), by.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone().await?;
                make_limit(tx, draft, &by, now).await
            })
        })
        .await
    }

    /// Calls a limit off.
    ///
    /// # Errors
    /// There is none, or it is not live.
    pub async fn cancel_limit(&self, id: EventId, by: &str, now: UnixTime) -> Result<(), StoreError> {
        let by = by.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone().await?;
                cancel_limit(tx, id, &by, now).await
            })
        })
        .await
    }

    /// Limits, the latest first: of a target only, or of all.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn limits(&self, target: Option<&Target>, limit: u32) -> Result<Vec<StoredLimit>, StoreError> {
        let target = target.map(ToString::to_string).unwrap_or_default();
        self.read(move |tx| {
            Box::pin(async move {
                let sql = format!(
                    "SELECT {LIMIT_COLUMNS} FROM demand_limit WHERE ($1 = '' OR target = $1) ORDER BY id DESC LIMIT $2"
                );
                let rows = tx.query(&sql, &[target.into(), limit.min(PAGE_MAX).into()]).await?;
                rows.iter().map(stored_limit).collect()
            })
        })
        .await
    }

    /// What homes answered to a limit: how many said what, and those who refused, with their reason.
    ///
    /// # Errors
    /// There is no such limit.
    pub async fn responses(&self, id: EventId) -> Result<Responses, StoreError> {
        self.read(move |tx| {
            Box::pin(async move {
                limit_by_id(tx, id).await?;
                let sql = "SELECT kind, count(*) FROM limit_response WHERE id = $1 GROUP BY kind ORDER BY kind";
                let counts = tx.query(sql, &[id.number().into()]).await?;
                let counts = counts.iter().map(|row| Ok((row.text(0)?.to_owned(), row.u64(1)?)));
                let counts = counts.collect::<Result<_, StoreError>>()?;
                let sql = "SELECT site, code, reason FROM limit_response WHERE id = $1 AND kind = 'refused' ORDER BY site LIMIT $2";
                let rows = tx.query(sql, &[id.number().into(), PAGE_MAX.into()]).await?;
                let refused = |row: &Row| {
                    let code = u16::try_from(row.int(1)?).map_err(|_| StoreError::Row { column: 1 })?;
                    Ok((row.parsed(0)?, RefusalCode::new(code), row.text(2)?.to_owned()))
                };
                Ok(Responses { counts, refused: rows.iter().map(refused).collect::<Result<_, StoreError>>()? })
            })
        })
        .await
    }

    /// All that holds or will hold for a home, with its version, if that is not `have`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn limits_for(
        &self,
        site: &Site,
        have: u64,
        now: UnixTime,
    ) -> Result<(u64, Option<LimitSet>), StoreError> {
        let targets = Target::of(site);
        self.read(move |tx| {
            Box::pin(async move {
                let mut version = 0;
                for target in &targets {
                    version = version.max(version_of(tx, target).await?);
                }
                if version == have {
                    return Ok((version, None));
                }
                let mut told = Vec::new();
                for target in &targets {
                    told.extend(told_of(tx, target, now).await?);
                }
                // Where there are more than anybody can follow, the weightiest.
                told.sort_by_key(|l| std::cmp::Reverse((l.priority, l.id)));
                told.truncate(LIMITS_MAX);
                told.sort_by_key(|l| l.id);
                Ok((version, Some(LimitSet { target: None, version, limits: List::fill(told) })))
            })
        })
        .await
    }

    /// Orders an appliance; the control's number.
    ///
    /// # Errors
    /// No such home or appliance, no consent, or too many under way.
    pub async fn make_control(&self, draft: &ControlDraft, by: &str, now: UnixTime) -> Result<EventId, StoreError> {
        let (draft, by) = (draft.clone(), by.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone().await?;
                if site_by_id(tx, &draft.site).await?.is_none() {
                    return Err(StoreError::UnknownSite(draft.site.to_string()));
                }
                let appliance = appliance_by_id(tx, &draft.site, draft.appliance.as_str()).await?;
                draft.check(&appliance)?;
                let sql = "SELECT count(*) FROM control WHERE site = $1 AND progress IN ('queued', 'sent', 'received') AND expires > $2";
                let rows = tx.query(sql, &[draft.site.as_str().into(), now.seconds().into()]).await?;
                if rows.first().ok_or(StoreError::Row { column: 0 })?.u64(0)? >= CONTROLS_PER_SITE_MAX as u64 {
                    return Err(StoreError::TooMany("controls of this home under way"));
                }
                let id = next_event(tx).await?;
                let control = draft.made(id, &by, now);
                put_control(tx, &control).await?;
                let detail = json!({
                    "site": control.site.as_str(), "appliance": control.control.appliance.as_str(),
                    "action": control.control.action.as_str(), "expires": control.control.expires.seconds(), "reason": control.reason,
                });
                note(tx, now, &by, "control.make", &id.to_string(), &detail).await?;
                tx.hint(Hint::Site(control.site.to_string()));
                Ok(id)
            })
        })
        .await
    }

    /// Calls a control off. A home that has it already may still carry it out, and will say so.
    ///
    /// # Errors
    /// There is none, or it has ended.
    pub async fn cancel_control(&self, id: EventId, by: &str, now: UnixTime) -> Result<(), StoreError> {
        let by = by.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone().await?;
                let control = control_by_id(tx, id).await?.ok_or_else(|| unknown("control", id))?;
                let progress = control.progress(now);
                if progress.is_final() {
                    return Err(StoreError::Conflict(format!("control {id} is {}", progress.as_str())));
                }
                set_progress(tx, id, &Progress::Cancelled, now).await?;
                note(tx, now, &by, "control.cancel", &id.to_string(), &json!({})).await?;
                Ok(())
            })
        })
        .await
    }

    /// Controls, the latest first: of a home only, or of all.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn controls(&self, site: Option<&SiteId>, limit: u32) -> Result<Vec<StoredControl>, StoreError> {
        let site = site.map(ToString::to_string).unwrap_or_default();
        self.read(move |tx| {
            Box::pin(async move {
                let sql = format!(
                    "SELECT {CONTROL_COLUMNS} FROM control WHERE ($1 = '' OR site = $1) ORDER BY id DESC LIMIT $2"
                );
                let rows = tx.query(&sql, &[site.into(), limit.min(PAGE_MAX).into()]).await?;
                rows.iter().map(stored_control).collect()
            })
        })
        .await
    }

    /// Controls that a home has to be told now, noted as sent.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take_controls(&self, site: &SiteId, now: UnixTime) -> Result<Vec<Control>, StoreError> {
        let (of, until) = (site.clone(), now);
        let due = self.read(move |tx| Box::pin(async move { due_controls(tx, &of, until).await })).await?;
        if due.iter().any(|c| c.progress == Progress::Queued) {
            let ids: Vec<EventId> =
                due.iter().filter(|c| c.progress == Progress::Queued).map(|c| c.control.id).collect();
            self.write(move |tx| {
                Box::pin(async move {
                    for id in ids {
                        let sql = "UPDATE control SET progress = 'sent', progressed = $1 WHERE id = $2 AND progress = 'queued'";
                        tx.execute(sql, &[now.seconds().into(), id.number().into()]).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        }
        Ok(due.into_iter().map(|c| c.control).collect())
    }
}

/// Takes an outcome in; [`StoreError::UnknownEvent`] comes before anything is changed.
pub(super) async fn take_outcome(
    tx: &mut dyn Tx,
    site: &Site,
    outcome: &Outcome,
    now: UnixTime,
) -> Result<(), StoreError> {
    match control_by_id(tx, outcome.id).await?.filter(|c| c.site == site.id) {
        Some(_) => control_outcome(tx, site, outcome, now).await,
        None => limit_outcome(tx, site, outcome).await,
    }
}

/// What homes answered to a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Responses {
    /// How many said what.
    pub counts: Vec<(String, u64)>,
    /// Who refused, and why.
    pub refused: Vec<(SiteId, RefusalCode, String)>,
}

async fn control_outcome(tx: &mut dyn Tx, site: &Site, outcome: &Outcome, now: UnixTime) -> Result<(), StoreError> {
    tx.alone().await?;
    // Read again: now nobody else changes it.
    let control = control_by_id(tx, outcome.id).await?.ok_or_else(|| unknown("control", outcome.id))?;
    let Some(progress) = control.told(&outcome.kind) else { return Ok(()) };
    set_progress(tx, outcome.id, &progress, now).await?;
    let mut detail = json!({ "site": site.id.as_str(), "progress": progress.as_str(), "at": outcome.at.seconds() });
    if let Progress::Refused(code, reason) = &progress {
        detail["code"] = code.to_string().into();
        detail["reason"] = reason.as_str().into();
    }
    note(tx, now, &format!("site:{}", site.id), "control.outcome", &outcome.id.to_string(), &detail).await?;
    Ok(())
}

/// One row a home and limit, the latest word: a million homes answer every limit, so these are counted and not logged.
async fn limit_outcome(tx: &mut dyn Tx, site: &Site, outcome: &Outcome) -> Result<(), StoreError> {
    let limit = limit_by_id(tx, outcome.id).await?;
    if !Target::of(site).contains(&limit.target) {
        return Err(unknown("limit", outcome.id));
    }
    let (kind, code, reason) = match &outcome.kind {
        OutcomeKind::Received => ("received", None, ""),
        OutcomeKind::Started => ("started", None, ""),
        OutcomeKind::Done => ("done", None, ""),
        OutcomeKind::Expired => ("expired", None, ""),
        OutcomeKind::Refused(refusal) => ("refused", Some(u32::from(refusal.code.number())), refusal.reason.as_str()),
    };
    let sql = "INSERT INTO limit_response (id, site, at, kind, code, reason) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (id, site) DO UPDATE SET at = excluded.at, kind = excluded.kind, code = excluded.code, reason = excluded.reason
        WHERE limit_response.at <= excluded.at";
    let params = [
        outcome.id.number().into(),
        site.id.as_str().into(),
        outcome.at.seconds().into(),
        kind.into(),
        code.into(),
        reason.into(),
    ];
    tx.execute(sql, &params).await.map(|_| ())
}

/// Makes a limit. The caller must be alone.
pub(super) async fn make_limit(
    tx: &mut dyn Tx,
    draft: LimitDraft,
    by: &str,
    now: UnixTime,
) -> Result<EventId, StoreError> {
    let old = match draft.supersedes {
        Some(id) => Some(limit_by_id(tx, id).await?),
        None => None,
    };
    draft.check(old.as_ref(), now)?;
    if let Target::Site(site) = &draft.target
        && site_by_id(tx, site).await?.is_none()
    {
        return Err(StoreError::UnknownSite(site.to_string()));
    }
    if told_of(tx, &draft.target, now).await?.len() >= LIMITS_MAX {
        return Err(StoreError::TooMany("limits of this target that are not over"));
    }
    let id = next_event(tx).await?;
    let made = draft.made(id, by, now);
    put_limit(tx, &made).await?;
    if let Some(old) = old {
        let sql = "UPDATE demand_limit SET ended = $1, superseded_by = $2 WHERE id = $3";
        tx.execute(sql, &[now.seconds().into(), id.number().into(), old.limit.id.number().into()]).await?;
    }
    let limit = &made.limit;
    let detail = json!({
        "target": made.target.to_string(), "watts": limit.watts.count(), "start": limit.start.seconds(), "duration-s": limit.duration_s,
        "priority": limit.priority, "randomise-s": limit.randomise_s, "supersedes": limit.supersedes.map(EventId::number),
        "reason": made.reason,
    });
    let version = note(tx, now, by, "limit.make", &id.to_string(), &detail).await?;
    changed(tx, &made.target, version, now).await?;
    Ok(id)
}

/// Calls a limit off. The caller must be alone.
pub(super) async fn cancel_limit(tx: &mut dyn Tx, id: EventId, by: &str, now: UnixTime) -> Result<(), StoreError> {
    let limit = limit_by_id(tx, id).await?;
    limit.check_live(now)?;
    tx.execute("UPDATE demand_limit SET ended = $1 WHERE id = $2", &[now.seconds().into(), id.number().into()]).await?;
    let detail = json!({ "target": limit.target.to_string() });
    let version = note(tx, now, by, "limit.cancel", &id.to_string(), &detail).await?;
    changed(tx, &limit.target, version, now).await
}

/// The target's limits have another version now, and their broadcast object is made anew.
async fn changed(tx: &mut dyn Tx, target: &Target, version: u64, now: UnixTime) -> Result<(), StoreError> {
    let sql = "INSERT INTO limit_version (target, version) VALUES ($1, $2)
        ON CONFLICT (target) DO UPDATE SET version = excluded.version";
    tx.execute(sql, &[target.to_string().into(), version.into()]).await?;
    match target {
        Target::Site(site) => tx.hint(Hint::Site(site.to_string())),
        Target::Group(group) => {
            let limits = List::fill(told_of(tx, target, now).await?);
            let set = LimitSet { target: Some(group.clone()), version, limits };
            put_object(tx, &limits_path(group), version, set.encode(), now).await?;
            tx.hint(Hint::Group(group.to_string()));
        }
    }
    Ok(())
}

async fn version_of(tx: &mut dyn Tx, target: &Target) -> Result<u64, StoreError> {
    let rows = tx.query("SELECT version FROM limit_version WHERE target = $1", &[target.to_string().into()]).await?;
    rows.first().map_or(Ok(0), |row| row.u64(0))
}

/// What homes are told of a target's limits.
async fn told_of(tx: &mut dyn Tx, target: &Target, now: UnixTime) -> Result<Vec<Limit>, StoreError> {
    let sql = format!(
        "SELECT {LIMIT_COLUMNS} FROM demand_limit WHERE target = $1 AND superseded_by IS NULL AND
         (start + duration + randomise > $2 OR duration IS NULL AND (ended IS NULL OR ended > $3)) ORDER BY id"
    );
    let week_ago = now.seconds().saturating_sub(LIMIT_S_MAX.into());
    let rows = tx.query(&sql, &[target.to_string().into(), now.seconds().into(), week_ago.into()]).await?;
    let told = rows.iter().map(|row| Ok(stored_limit(row)?.told(now)));
    told.filter_map(Result::transpose).collect()
}

async fn put_limit(tx: &mut dyn Tx, made: &StoredLimit) -> Result<(), StoreError> {
    let l = &made.limit;
    let sql = format!(
        "INSERT INTO demand_limit ({LIMIT_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, NULL, NULL)"
    );
    let params = [
        l.id.number().into(),
        made.target.to_string().into(),
        l.start.seconds().into(),
        l.duration_s.into(),
        l.watts.count().into(),
        u32::from(l.priority).into(),
        u32::from(l.randomise_s).into(),
        l.supersedes.map(EventId::number).into(),
        made.made.seconds().into(),
        made.by.as_str().into(),
        made.reason.as_str().into(),
    ];
    tx.execute(&sql, &params).await.map(|_| ())
}

pub(super) async fn limit_by_id(tx: &mut dyn Tx, id: EventId) -> Result<StoredLimit, StoreError> {
    let sql = format!("SELECT {LIMIT_COLUMNS} FROM demand_limit WHERE id = $1");
    let rows = tx.query(&sql, &[id.number().into()]).await?;
    stored_limit(rows.first().ok_or_else(|| unknown("limit", id))?)
}

fn unknown(what: &str, id: EventId) -> StoreError {
    StoreError::UnknownEvent(format!("{what} {id}"))
}

fn event(row: &Row, i: usize) -> Result<EventId, StoreError> {
    EventId::new(row.u64(i)?).ok_or(StoreError::Row { column: i })
}

fn stored_limit(row: &Row) -> Result<StoredLimit, StoreError> {
    let small = |i: usize| row.u32(i);
    Ok(StoredLimit {
        target: row.parsed(1)?,
        limit: Limit {
            id: event(row, 0)?,
            supersedes: row.opt_u64(7)?.and_then(EventId::new),
            start: UnixTime::new(row.u64(2)?),
            duration_s: row.opt_u32(3)?,
            watts: Watts::new(row.u32(4)?),
            priority: u8::try_from(small(5)?).map_err(|_| StoreError::Row { column: 5 })?,
            randomise_s: u16::try_from(small(6)?).map_err(|_| StoreError::Row { column: 6 })?,
            cancelled: false,
        },
        made: UnixTime::new(row.u64(8)?),
        by: row.text(9)?.to_owned(),
        reason: row.text(10)?.to_owned(),
        ended: row
            .opt_u64(11)?
            .map(|at| -> Result<_, StoreError> {
                Ok(Ended { at: UnixTime::new(at), superseded_by: row.opt_u64(12)?.and_then(EventId::new) })
            })
            .transpose()?,
    })
}

async fn due_controls(tx: &mut dyn Tx, site: &SiteId, now: UnixTime) -> Result<Vec<StoredControl>, StoreError> {
    let sql = format!(
        "SELECT {CONTROL_COLUMNS} FROM control WHERE site = $1 AND progress IN ('queued', 'sent') AND expires > $2 ORDER BY id LIMIT $3"
    );
    let rows = tx.query(&sql, &[site.as_str().into(), now.seconds().into(), (CONTROLS_MAX as u64).into()]).await?;
    let all = rows.iter().map(stored_control).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().filter(|c| c.is_due(now)).collect())
}

async fn control_by_id(tx: &mut dyn Tx, id: EventId) -> Result<Option<StoredControl>, StoreError> {
    let sql = format!("SELECT {CONTROL_COLUMNS} FROM control WHERE id = $1");
    tx.query(&sql, &[id.number().into()]).await?.first().map(stored_control).transpose()
}

async fn put_control(tx: &mut dyn Tx, c: &StoredControl) -> Result<(), StoreError> {
    let sql =
        format!("INSERT INTO control ({CONTROL_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, '')");
    let params = [
        c.control.id.number().into(),
        c.site.as_str().into(),
        c.control.appliance.as_str().into(),
        c.control.action.as_str().into(),
        c.control.expires.seconds().into(),
        c.made.seconds().into(),
        c.by.as_str().into(),
        c.reason.as_str().into(),
        c.progress.as_str().into(),
        c.progressed.seconds().into(),
    ];
    tx.execute(&sql, &params).await.map(|_| ())
}

async fn set_progress(tx: &mut dyn Tx, id: EventId, progress: &Progress, now: UnixTime) -> Result<(), StoreError> {
    let (code, why) = match progress {
        Progress::Refused(code, why) => (Value::from(u32::from(code.number())), why.as_str()),
        _ => (Value::Null, ""),
    };
    let why = Text::<REASON_BYTES_MAX>::cut(why);
    let sql = "UPDATE control SET progress = $1, progressed = $2, code = $3, why = $4 WHERE id = $5";
    let params = [progress.as_str().into(), now.seconds().into(), code, why.as_str().into(), id.number().into()];
    tx.execute(sql, &params).await.map(|_| ())
}

fn stored_control(row: &Row) -> Result<StoredControl, StoreError> {
    let progress = match row.text(8)? {
        "queued" => Progress::Queued,
        "sent" => Progress::Sent,
        "received" => Progress::Received,
        "done" => Progress::Done,
        "expired" => Progress::Expired,
        "cancelled" => Progress::Cancelled,
        "refused" => {
            let code = u16::try_from(row.int(10)?).map_err(|_| StoreError::Row { column: 10 })?;
            Progress::Refused(RefusalCode::new(code), row.text(11)?.to_owned())
        }
        _ => return Err(StoreError::Row { column: 8 }),
    };
    Ok(StoredControl {
        site: row.parsed(1)?,
        control: Control {
            id: event(row, 0)?,
            appliance: row.parsed(2)?,
            action: row.parsed(3)?,
            expires: UnixTime::new(row.u64(4)?),
        },
        made: UnixTime::new(row.u64(5)?),
        by: row.text(6)?.to_owned(),
        reason: row.text(7)?.to_owned(),
        progress,
        progressed: UnixTime::new(row.u64(9)?),
    })
}
