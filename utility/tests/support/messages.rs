//! Reports and outcomes as if a home had sent them.

use utility::sites::SiteId;
use utility::store::{Store, StoreError};
use utility_wire::{BatchState, Outcome, Report, UnixTime};

use crate::keys::taking;

/// Takes a report in.
pub(crate) async fn take_report(
    store: &Store,
    site: &SiteId,
    report: &Report,
    now: UnixTime,
) -> Result<BatchState, StoreError> {
    let taking = taking(store, site, now).await;
    store.take_report(taking, report).await.map(|taken| taken.effect)
}

/// Takes an outcome in.
pub(crate) async fn take_outcome(
    store: &Store,
    site: &SiteId,
    outcome: &Outcome,
    now: UnixTime,
) -> Result<(), StoreError> {
    let taking = taking(store, site, now).await;
    match store.take_poll(taking, vec![outcome.clone()]).await?.effect {
        0 => Ok(()),
        _ => Err(StoreError::UnknownEvent(outcome.id.to_string())),
    }
}
