//! Prices, and the broadcast objects: bytes that every home gets as they are.

use secure_http::crypto::sha256;
use serde_json::json;
use utility_wire::limits::SERIES_MAX;
use utility_wire::{List, Message as _, PriceEntry, PriceIndex, PriceSeries, UnixTime, ZoneId};

use super::backend::{Hint, Row, Tx};
use super::log::note;
use super::{Store, StoreError};
use crate::limits::PAGE_MAX;

/// A broadcast object as stored and served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Grows when its content changes.
    pub version: u64,
    /// What is served.
    pub content: bytes::Bytes,
    /// Its entity tag with quotes (RFC 9110, 8.8.3).
    pub etag: String,
}

/// A published series with who published it.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedPrices {
    /// The prices.
    pub series: PriceSeries,
    /// When.
    pub published: UnixTime,
    /// By whom.
    pub by: String,
}

/// Path of the index of a zone's series.
pub(crate) fn index_path(zone: &ZoneId) -> String {
    format!("prices/{zone}")
}

/// Path of a series, whose content never changes. A zone's name has no `@`, so that no zone can take another's place.
pub(crate) fn series_path(zone: &ZoneId, version: u64) -> String {
    format!("prices/{zone}@{version}")
}

/// Path of a group's limits.
pub(crate) fn limits_path(group: &ZoneId) -> String {
    format!("limits/{group}")
}

impl Store {
    /// Publishes a series under the zone's next version, which it returns. Where it covers what an earlier one covered it goes before it.
    ///
    /// # Errors
    /// It is over, or too many that are not over are published already.
    pub async fn publish_prices(&self, series: &PriceSeries, by: &str, now: UnixTime) -> Result<u64, StoreError> {
        let (series, by) = (series.clone(), by.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                if series.end() <= now {
                    return Err(StoreError::Conflict("the prices are over already".to_owned()));
                }
                tx.alone().await?;
                let zone = series.zone().clone();
                if live(tx, &zone, now).await?.len() >= SERIES_MAX {
                    return Err(StoreError::TooMany("price series that are not over"));
                }
                let rows =
                    tx.query("SELECT coalesce(max(version), 0) + 1 FROM price WHERE zone = $1", &[zone.as_str().into()]).await?;
                let version = rows.first().ok_or(StoreError::Row { column: 0 })?.u64(0)?;
                let series = series.with_version(version);
                let content = series.encode();
                let sql = "INSERT INTO price (zone, version, start, stop, published, publisher, content) VALUES ($1, $2, $3, $4, $5, $6, $7)";
                let params = [
                    zone.as_str().into(),
                    version.into(),
                    series.start().seconds().into(),
                    series.end().seconds().into(),
                    now.seconds().into(),
                    by.as_str().into(),
                    content.clone().into(),
                ];
                tx.execute(sql, &params).await?;
                put_object(tx, &series_path(&zone, version), version, content, now).await?;
                let entry = |p: &PublishedPrices| PriceEntry {
                    version: p.series.version(),
                    start: p.series.start(),
                    end: p.series.end(),
                };
                let index = PriceIndex { zone: zone.clone(), series: List::fill(live(tx, &zone, now).await?.iter().map(entry)) };
                put_object(tx, &index_path(&zone), version, index.encode(), now).await?;
                let detail = json!({
                    "version": version, "start": series.start().seconds(), "end": series.end().seconds(), "slot-s": series.slot_s(),
                    "slots": series.prices_milli().len(), "currency": series.currency().as_str(),
                });
                note(tx, now, &by, "price.publish", zone.as_str(), &detail).await?;
                tx.hint(Hint::Zone(zone.to_string()));
                Ok(version)
            })
        })
        .await
    }

    /// Series of a zone that are not over, the newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn prices(&self, zone: &ZoneId, now: UnixTime) -> Result<Vec<PublishedPrices>, StoreError> {
        let zone = zone.clone();
        self.read(move |tx| Box::pin(async move { live(tx, &zone, now).await })).await
    }

    /// Version of a zone's newest series; 0 for none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn price_version(&self, zone: &ZoneId) -> Result<u64, StoreError> {
        let zone = zone.clone();
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx
                    .query("SELECT coalesce(max(version), 0) FROM price WHERE zone = $1", &[zone.as_str().into()])
                    .await?;
                rows.first().ok_or(StoreError::Row { column: 0 })?.u64(0)
            })
        })
        .await
    }

    /// A broadcast object; `None`: there is none at that path.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn object(&self, path: &str) -> Result<Option<Object>, StoreError> {
        let path = path.to_owned();
        self.read(move |tx| {
            Box::pin(async move {
                let rows =
                    tx.query("SELECT version, content, etag FROM object WHERE path = $1", &[path.into()]).await?;
                let object = |row: &Row| {
                    let content = row.bytes(1)?.to_owned().into();
                    Ok(Object { version: row.u64(0)?, content, etag: row.text(2)?.to_owned() })
                };
                rows.first().map(object).transpose()
            })
        })
        .await
    }
}

async fn live(tx: &mut dyn Tx, zone: &ZoneId, now: UnixTime) -> Result<Vec<PublishedPrices>, StoreError> {
    let sql =
        "SELECT content, published, publisher FROM price WHERE zone = $1 AND stop > $2 ORDER BY version DESC LIMIT $3";
    let rows = tx.query(sql, &[zone.as_str().into(), now.seconds().into(), PAGE_MAX.into()]).await?;
    let published = |row: &Row| {
        Ok(PublishedPrices {
            series: PriceSeries::decode(row.bytes(0)?).map_err(|_| StoreError::Row { column: 0 })?,
            published: UnixTime::new(row.u64(1)?),
            by: row.text(2)?.to_owned(),
        })
    };
    rows.iter().map(published).collect()
}

/// A strong entity tag with quotes.
pub(crate) fn etag_of(content: &[u8]) -> String {
    let hex: String = sha256(&[content]).iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("\"{hex}\"")
}

/// Puts a broadcast object at its path. The caller must be alone.
pub(super) async fn put_object(
    tx: &mut dyn Tx,
    path: &str,
    version: u64,
    content: Vec<u8>,
    now: UnixTime,
) -> Result<(), StoreError> {
    let etag = etag_of(&content);
    let sql = "INSERT INTO object (path, version, content, etag, made) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (path) DO UPDATE SET version = excluded.version, content = excluded.content, etag = excluded.etag, made = excluded.made";
    let params = [path.into(), version.into(), content.into(), etag.into(), now.seconds().into()];
    tx.execute(sql, &params).await.map(|_| ())
}
