//! Sites, what they reported, and when they were last heard.

use energy_model::{WattHours, Watts};
use serde_json::json;
use utility_wire::{ApplianceReport, BatchState, Consumption, Gap, Report, UnixTime, ZoneId};

use super::backend::{Row, Tx, Value};
use super::decisions::put_decisions;
use super::log::note;
use super::{Store, StoreError, places};
use crate::limits::{PAGE_MAX, PRUNE_ROWS, STORE_ROWS_AT_ONCE};
use crate::sites::{Appliance, Site, SiteId};

/// Which sites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteQuery {
    /// In this group or below.
    pub group: Option<ZoneId>,
    /// Behind this one, by UUID.
    pub after: Option<SiteId>,
    /// At most so many.
    pub limit: u32,
}

/// Whether a site was taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// Now.
    New,
    /// It was there, the same.
    Already,
}

/// Consumption of a meter in an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterInterval {
    /// Start.
    pub start: UnixTime,
    /// Length, seconds.
    pub length_s: u32,
    /// Energy; `None`: it is lost.
    pub energy: Option<WattHours>,
}

pub(super) const SITE_COLUMNS: &str = "id, name, zone, grp, added, last_contact, last_report";
const APPLIANCE_COLUMNS: &str = "id, name, state, since, power, rated, importance, flexibility, consents";

impl Store {
    /// Takes a site up. The same again is no change.
    ///
    /// # Errors
    /// It is there with another name, zone or group.
    pub async fn add_site(&self, site: &Site, by: &str, now: UnixTime) -> Result<Added, StoreError> {
        let (site, by) = (site.clone(), by.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone().await?;
                if let Some(there) = site_by_id(tx, &site.id).await? {
                    let same = (&there.name, &there.zone, &there.group) == (&site.name, &site.zone, &site.group);
                    let differs =
                        || StoreError::Conflict(format!("site {} is there with another name, zone or group", site.id));
                    return if same { Ok(Added::Already) } else { Err(differs()) };
                }
                let sql = "INSERT INTO site (id, name, zone, grp, added) VALUES ($1, $2, $3, $4, $5)";
                let params = [
                    site.id.as_str().into(),
                    site.name.as_str().into(),
                    site.zone.as_str().into(),
                    site.group.as_str().into(),
                    now.seconds().into(),
                ];
                tx.execute(sql, &params).await?;
                note(tx, now, &by, "site.add", site.id.as_str(), &facts(&site)).await?;
                Ok(Added::New)
            })
        })
        .await
    }

    /// Changes a site's name, zone and group.
    ///
    /// # Errors
    /// There is no such site.
    pub async fn change_site(&self, site: &Site, by: &str, now: UnixTime) -> Result<(), StoreError> {
        let (site, by) = (site.clone(), by.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                tx.alone().await?;
                let sql = "UPDATE site SET name = $1, zone = $2, grp = $3 WHERE id = $4";
                let params = [
                    site.name.as_str().into(),
                    site.zone.as_str().into(),
                    site.group.as_str().into(),
                    site.id.as_str().into(),
                ];
                if tx.execute(sql, &params).await? == 0 {
                    return Err(StoreError::UnknownSite(site.id.to_string()));
                }
                note(tx, now, &by, "site.change", site.id.as_str(), &facts(&site)).await?;
                tx.hint(super::Hint::Site(site.id.to_string()));
                Ok(())
            })
        })
        .await
    }

    /// A site; `None`: there is none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn site(&self, id: &SiteId) -> Result<Option<Site>, StoreError> {
        let id = id.clone();
        self.read(move |tx| Box::pin(async move { site_by_id(tx, &id).await })).await
    }

    /// Sites by UUID.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sites(&self, query: &SiteQuery) -> Result<Vec<Site>, StoreError> {
        let query = query.clone();
        self.read(move |tx| {
            Box::pin(async move {
                let sql = format!(
                    "SELECT {SITE_COLUMNS} FROM site
                     WHERE id > $1 AND ($2 = '' OR grp = $2 OR substr(grp, 1, length($2) + 1) = $2 || '/') ORDER BY id LIMIT $3"
                );
                let after = query.after.as_ref().map_or("", SiteId::as_str);
                let group = query.group.as_ref().map_or("", ZoneId::as_str);
                let rows = tx.query(&sql, &[after.into(), group.into(), query.limit.min(PAGE_MAX).into()]).await?;
                rows.iter().map(read_site).collect()
            })
        })
        .await
    }

    /// How many sites there are, and how many of them were heard since `since`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count_sites(&self, since: UnixTime) -> Result<(u64, u64), StoreError> {
        self.read(move |tx| {
            Box::pin(async move {
                let sql = "SELECT count(*), count(CASE WHEN last_contact >= $1 THEN 1 END) FROM site";
                let rows = tx.query(sql, &[since.seconds().into()]).await?;
                let row = rows.first().ok_or(StoreError::Row { column: 0 })?;
                Ok((row.u64(0)?, row.u64(1)?))
            })
        })
        .await
    }

    /// Appliances of a site, by identifier.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn appliances(&self, site: &SiteId) -> Result<Vec<Appliance>, StoreError> {
        let site = site.clone();
        self.read(move |tx| {
            Box::pin(async move {
                let sql = format!("SELECT {APPLIANCE_COLUMNS} FROM appliance WHERE site = $1 ORDER BY id");
                tx.query(&sql, &[site.as_str().into()]).await?.iter().map(appliance).collect()
            })
        })
        .await
    }

    /// What a meter (an appliance; `None`: the home) used from one instant to another, in order, with what is lost.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn consumption(
        &self,
        site: &SiteId,
        meter: Option<&utility_wire::ApplianceId>,
        (from, to): (UnixTime, UnixTime),
        limit: u32,
    ) -> Result<Vec<MeterInterval>, StoreError> {
        let (site, meter) = (site.clone(), meter.map_or("", |m| m.as_str()).to_owned());
        self.read(move |tx| {
            Box::pin(async move {
                let sql = "SELECT start, length, wh FROM consumption
                     WHERE site = $1 AND meter = $2 AND start >= $3 AND start < $4
                     UNION ALL SELECT start, stop - start, NULL FROM gap
                     WHERE site = $1 AND meter = $2 AND start >= $3 AND start < $4 ORDER BY 1 LIMIT $5";
                let params = [
                    site.as_str().into(),
                    meter.into(),
                    from.seconds().into(),
                    to.seconds().into(),
                    limit.min(PAGE_MAX).into(),
                ];
                let rows = tx.query(sql, &params).await?;
                let interval = |row: &Row| {
                    Ok(MeterInterval {
                        start: UnixTime::new(row.u64(0)?),
                        length_s: u32::try_from(row.u64(1)?).unwrap_or(u32::MAX),
                        energy: row.opt_u32(2)?.map(WattHours::new),
                    })
                };
                rows.iter().map(interval).collect()
            })
        })
        .await
    }

    /// Notes when sites were heard, all in one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn heard(&self, contacts: Vec<(SiteId, UnixTime)>) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                for (site, at) in contacts {
                    let sql = "UPDATE site SET last_contact = $1 WHERE id = $2 AND (last_contact IS NULL OR last_contact < $1)";
                    tx.execute(sql, &[at.seconds().into(), site.as_str().into()]).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Forgets some consumption, gaps, decisions and batches from before `keep`, [`PRUNE_ROWS`] of each, so that nobody waits long; how many went.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn prune(&self, keep: UnixTime) -> Result<u64, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let mut gone = 0;
                for (table, key, time) in [
                    ("consumption", "site, meter, start", "start"),
                    ("gap", "site, meter, start", "stop"),
                    ("decision", "site, batch, n", "at"),
                    ("batch", "site, number", "taken"),
                    ("evidence", "site, taken, seq, lineage", "taken"),
                ] {
                    let sql = format!(
                        "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {time} < $1 LIMIT $2)"
                    );
                    gone += tx.execute(&sql, &[keep.seconds().into(), PRUNE_ROWS.into()]).await?;
                }
                Ok(gone)
            })
        })
        .await
    }
}

pub(super) async fn take_report(
    tx: &mut dyn Tx,
    id: &SiteId,
    report: &Report,
    now: UnixTime,
) -> Result<BatchState, StoreError> {
    // First of all, so that two reports of one site go one after the other.
    let sql = "UPDATE site SET last_contact = CASE WHEN last_contact > $1 THEN last_contact ELSE $1 END,
        last_report = CASE WHEN last_report > $1 THEN last_report ELSE $1 END WHERE id = $2";
    if tx.execute(sql, &[now.seconds().into(), id.as_str().into()]).await? == 0 {
        return Err(StoreError::UnknownSite(id.to_string()));
    }
    let sql = "INSERT INTO batch (site, number, taken) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    if tx.execute(sql, &[id.as_str().into(), report.batch.into(), now.seconds().into()]).await? == 0 {
        return Ok(BatchState::Duplicate);
    }
    for appliance in report.appliances.iter() {
        put_appliance(tx, id, appliance, report.made).await?;
    }
    if report.complete {
        // Those named have this report's time, or a later one.
        let sql = "DELETE FROM appliance WHERE site = $1 AND made < $2";
        tx.execute(sql, &[id.as_str().into(), report.made.seconds().into()]).await?;
    }
    // What is known goes before what is lost.
    for gap in report.gaps.iter() {
        put_gap(tx, id, gap).await?;
    }
    for run in report.consumption.iter() {
        put_consumption(tx, id, run).await?;
    }
    put_decisions(tx, id, report).await?;
    Ok(BatchState::Stored)
}

/// A batch that was long on its way does not undo what a later one said.
async fn put_appliance(tx: &mut dyn Tx, site: &SiteId, a: &ApplianceReport, made: UnixTime) -> Result<(), StoreError> {
    let sql = "INSERT INTO appliance (site, id, name, state, since, power, rated, importance, flexibility, consents, made)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (site, id) DO UPDATE SET name = excluded.name, state = excluded.state, since = excluded.since,
        power = excluded.power, rated = excluded.rated, importance = excluded.importance, flexibility = excluded.flexibility,
        consents = excluded.consents, made = excluded.made WHERE appliance.made <= excluded.made";
    let params = [
        site.as_str().into(),
        a.id.as_str().into(),
        a.name.as_str().into(),
        a.state.map(|s| s.as_str()).into(),
        a.since.seconds().into(),
        a.power.map(Watts::count).into(),
        a.rated.map(Watts::count).into(),
        a.importance.map(|i| i.as_str()).into(),
        a.flexibility.map(|f| f.as_str()).into(),
        a.consents.into(),
        made.seconds().into(),
    ];
    tx.execute(sql, &params).await.map(|_| ())
}

async fn put_gap(tx: &mut dyn Tx, site: &SiteId, gap: &Gap) -> Result<(), StoreError> {
    let sql = "INSERT INTO gap (site, meter, start, stop, reason) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (site, meter, start) DO UPDATE SET stop = excluded.stop, reason = excluded.reason";
    let params = [
        site.as_str().into(),
        gap.of.as_ref().map_or("", |m| m.as_str()).into(),
        gap.start.seconds().into(),
        gap.end.seconds().into(),
        u32::from(gap.reason.number()).into(),
    ];
    tx.execute(sql, &params).await.map(|_| ())
}

/// A run of intervals takes the place of whatever is there of another length, and of gaps that it fills.
async fn put_consumption(tx: &mut dyn Tx, site: &SiteId, run: &Consumption) -> Result<(), StoreError> {
    let meter = run.of.as_ref().map_or("", |m| m.as_str());
    let length = run.interval.seconds();
    let at = |i: usize| run.start.plus(i as u64 * u64::from(length)).seconds();
    let span: [Value; 5] =
        [site.as_str().into(), meter.into(), at(0).into(), at(run.energy.len()).into(), length.into()];
    let sql = "DELETE FROM consumption WHERE site = $1 AND meter = $2 AND start >= $3 AND start < $4 AND length <> $5";
    tx.execute(sql, &span).await?;
    let sql = "DELETE FROM gap WHERE site = $1 AND meter = $2 AND start >= $3 AND stop <= $4";
    tx.execute(sql, &span[..4]).await?;
    let rows: Vec<[Value; 5]> = run
        .energy
        .iter()
        .enumerate()
        .map(|(i, wh)| [site.as_str().into(), meter.into(), at(i).into(), length.into(), wh.count().into()])
        .collect();
    // Whole chunks share one statement; what is left over goes row by row, so that there are only two statements to prepare.
    let (chunks, rest) = rows.as_chunks::<STORE_ROWS_AT_ONCE>();
    for chunk in chunks.iter().map(<[_; STORE_ROWS_AT_ONCE]>::as_slice).chain(rest.chunks(1)) {
        let sql = format!(
            "INSERT INTO consumption (site, meter, start, length, wh) VALUES {}
             ON CONFLICT (site, meter, start) DO UPDATE SET length = excluded.length, wh = excluded.wh",
            places(chunk.len(), 5)
        );
        tx.execute(&sql, &chunk.concat()).await?;
    }
    Ok(())
}

pub(super) async fn site_by_id(tx: &mut dyn Tx, id: &SiteId) -> Result<Option<Site>, StoreError> {
    let sql = format!("SELECT {SITE_COLUMNS} FROM site WHERE id = $1");
    tx.query(&sql, &[id.as_str().into()]).await?.first().map(read_site).transpose()
}

pub(super) async fn appliance_by_id(tx: &mut dyn Tx, site: &SiteId, id: &str) -> Result<Appliance, StoreError> {
    let sql = format!("SELECT {APPLIANCE_COLUMNS} FROM appliance WHERE site = $1 AND id = $2");
    let rows = tx.query(&sql, &[site.as_str().into(), id.into()]).await?;
    let unknown = || StoreError::UnknownAppliance { site: site.to_string(), appliance: id.to_owned() };
    appliance(rows.first().ok_or_else(unknown)?)
}

fn facts(site: &Site) -> serde_json::Value {
    json!({ "name": site.name, "zone": site.zone.as_str(), "group": site.group.as_str() })
}

pub(super) fn read_site(row: &Row) -> Result<Site, StoreError> {
    Ok(Site {
        id: row.parsed(0)?,
        name: row.text(1)?.to_owned(),
        zone: row.parsed(2)?,
        group: row.parsed(3)?,
        added: UnixTime::new(row.u64(4)?),
        last_contact: row.opt_u64(5)?.map(UnixTime::new),
        last_report: row.opt_u64(6)?.map(UnixTime::new),
    })
}

fn appliance(row: &Row) -> Result<Appliance, StoreError> {
    Ok(Appliance {
        id: row.parsed(0)?,
        name: row.text(1)?.to_owned(),
        state: row.opt_parsed(2)?,
        since: UnixTime::new(row.u64(3)?),
        power: row.opt_u32(4)?.map(Watts::new),
        rated: row.opt_u32(5)?.map(Watts::new),
        importance: row.opt_parsed(6)?,
        flexibility: row.opt_parsed(7)?,
        consents: row.int(8)? != 0,
    })
}
