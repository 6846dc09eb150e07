//! Sealed messages of homes: `/u/v1/report`, `/u/v1/poll`, `/u/v1/key`, on a listener of their own.
//!
//! A message goes through the receiver's steps in their order, cheapest first; `receive.rs` has them. What it does, the window that
//! keeps it from being taken twice, what shows who said it and the number of its answer are one transaction. docs/secure-channel.md is
//! the specification.

mod answer;
mod call;
mod gate;
mod receive;
mod routes;
mod senders;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::routing::{get, post};
use secure_http::PartyId;
use tokio::sync::{Semaphore, watch};
use utility_wire::endpoints::{KEY, POLL, REPORT};

use crate::limits::{SENDERS_MAX, SITE_BURST, SITE_PER_S, WORK_WAITING_MAX};
use crate::membership::Member;
use crate::metrics::Metrics;
use crate::quota::Quotas;
use crate::service::Service;
use crate::sites::SiteId;
use gate::Gate;
use senders::Senders;

pub use call::call_homes;
pub use routes::Trusted;

/// The endpoints for homes. Cheap to clone.
#[derive(Clone)]
pub struct Homes(Arc<Shared>);

struct Shared {
    service: Arc<Service>,
    metrics: Arc<Metrics>,
    member: Arc<Member>,
    senders: Senders,
    gate: Mutex<Gate>,
    proxies: Vec<IpAddr>,
    quotas: Mutex<Quotas>,
    polls: answer::Polls,
    /// One signature, opening or sealing at a time for each; they run in the task that has the place.
    places: Semaphore,
    /// Places to wait for one.
    waiting: Semaphore,
    stopping: watch::Receiver<bool>,
}

impl std::fmt::Debug for Homes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Homes")
    }
}

impl Homes {
    /// On the service and the membership. `peer_per_minute` requests of an address are served, where `proxies` name the address for whom
    /// they ask; held polls end when `stopping` turns true.
    pub fn new(
        service: Arc<Service>,
        metrics: Arc<Metrics>,
        member: Arc<Member>,
        (peer_per_minute, proxies): (u32, Vec<IpAddr>),
        stopping: watch::Receiver<bool>,
    ) -> Self {
        // One core is left to everything else, where there is more than one.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let gate = Gate::new(peer_per_minute, service.now());
        Self(Arc::new(Shared {
            senders: Senders::new(service.store().clone(), member.clone(), metrics.clone()),
            service,
            metrics,
            member,
            gate: Mutex::new(gate),
            proxies,
            quotas: Mutex::new(Quotas::new(SITE_PER_S, SITE_BURST, SENDERS_MAX)),
            polls: answer::Polls::default(),
            places: Semaphore::new(cores.saturating_sub(1).max(1)),
            waiting: Semaphore::new(WORK_WAITING_MAX),
            stopping,
        }))
    }

    /// All routes, and the broadcast objects of `broadcast`.
    pub fn router(&self, broadcast: Router) -> Router {
        Router::new()
            .route(REPORT, post(routes::report))
            .route(POLL, post(routes::poll))
            .route(KEY, post(routes::key))
            .route("/healthz", get(routes::health))
            .fallback(routes::no_such_page)
            .method_not_allowed_fallback(routes::no_such_method)
            .with_state(self.clone())
            .merge(broadcast)
            .layer(axum::middleware::from_fn_with_state(self.clone(), routes::count))
    }

    /// Something of a home changed, perhaps at another replica: its keys are read again.
    pub fn forget(&self, site: &str) {
        if let Ok(party) = site.parse() {
            self.0.senders.forget(&party);
        }
    }

    /// Anything may have changed.
    pub fn forget_all(&self) {
        self.0.senders.forget_all();
    }
}

/// A party as the utility calls it, should it be a home.
pub(crate) fn site(party: &PartyId) -> Option<SiteId> {
    party.as_str().parse().ok()
}

fn wall() -> secure_http::UnixTime {
    secure_http::UnixTime(crate::app::wall().seconds())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
