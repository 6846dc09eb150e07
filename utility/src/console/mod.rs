//! The operator API over HTTP, the broadcast objects, health and metrics.
//!
//! Who asks is told by a bearer token, what they may do by their role; every change is in the log with their name. Errors are RFC 9457
//! problems. Whatever a request brings is bounded before it is read.

mod access;
mod broadcast;
mod extract;
mod keys;
mod problem;
mod routes;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::routing::{delete, get, post};
use tokio::sync::watch;

use crate::config::{Config, ZoneFacts};
use crate::limits::{FAILED_LOGINS_BURST, FAILED_LOGINS_PER_S, OPERATORS_MAX, SOURCES_MAX};
use crate::membership::Member;
use crate::metrics::Metrics;
use crate::quota::Quotas;
use crate::rules::Rules;
use crate::service::{Clock, Service};

/// Who is at the other end; put into each request by whoever accepted the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// What all requests share.
#[derive(Clone)]
pub struct Console(Arc<Shared>);

struct Shared {
    service: Arc<Service>,
    metrics: Arc<Metrics>,
    member: Arc<Member>,
    signed: broadcast::Signed,
    clock: Clock,
    zones: Mutex<BTreeMap<String, ZoneFacts>>,
    rules: Mutex<Arc<Rules>>,
    troubles: Mutex<Vec<String>>,
    by_token: Mutex<Quotas>,
    by_address: Mutex<Quotas>,
    stopping: watch::Receiver<bool>,
}

impl Console {
    /// On the service, by the configuration. Requests that wait end when `stopping` turns true.
    pub fn new(
        service: Arc<Service>,
        metrics: Arc<Metrics>,
        member: Arc<Member>,
        config: &Config,
        clock: Clock,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let by_token = Quotas::new(config.console.requests_per_s, config.console.burst, OPERATORS_MAX);
        let by_address = Quotas::new(FAILED_LOGINS_PER_S, FAILED_LOGINS_BURST, SOURCES_MAX);
        let console = Self(Arc::new(Shared {
            service,
            metrics,
            member,
            signed: broadcast::Signed::default(),
            clock,
            zones: Mutex::default(),
            rules: Mutex::default(),
            troubles: Mutex::default(),
            by_token: Mutex::new(by_token),
            by_address: Mutex::new(by_address),
            stopping,
        }));
        console.configure(config);
        console
    }

    /// Takes over price zones, now and at a reload.
    pub fn configure(&self, config: &Config) {
        let named = config.price_zone.iter().filter_map(|z| z.name.parse().ok());
        let zones = named.filter_map(|id: utility_wire::ZoneId| Some((id.to_string(), config.zone(&id)?)));
        *locked(&self.0.zones) = zones.collect();
    }

    /// Rules shown from now on.
    pub fn set_rules(&self, rules: Arc<Rules>) {
        *locked(&self.0.rules) = rules;
    }

    /// What is not well, shown from now on.
    pub fn set_troubles(&self, troubles: Vec<String>) {
        *locked(&self.0.troubles) = troubles;
    }

    /// The broadcast objects alone, for homes.
    pub fn broadcast_router(&self) -> Router {
        Router::new().route("/b/v1/{*path}", get(broadcast::object)).with_state(self.clone())
    }

    /// All routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(routes::health))
            .route("/metrics", get(routes::metrics))
            .route("/b/v1/{*path}", get(broadcast::object))
            .route("/v1/status", get(routes::status))
            .route("/v1/sites", get(routes::sites).post(routes::add_site))
            .route("/v1/sites/{id}", get(routes::site).put(routes::change_site))
            .route("/v1/sites/{id}/consumption", get(routes::consumption))
            .route("/v1/sites/{id}/keys", get(keys::site_keys))
            .route("/v1/sites/{id}/token", post(keys::site_token))
            .route("/v1/sites/{id}/revoke", post(keys::site_revoke))
            .route("/v1/sites/{id}/evidence", get(keys::evidence))
            .route("/v1/enrol", post(keys::enrol))
            .route("/v1/keys", get(keys::keys))
            .route("/v1/keys/roll-over", post(keys::roll_over))
            .route("/v1/policy", get(keys::policy).put(keys::set_policy))
            .route("/v1/prices/{zone}", get(routes::prices).post(routes::publish))
            .route("/v1/limits", get(routes::limits).post(routes::make_limit))
            .route("/v1/limits/{id}", delete(routes::cancel_limit))
            .route("/v1/limits/{id}/responses", get(routes::responses))
            .route("/v1/controls", get(routes::controls).post(routes::make_control))
            .route("/v1/controls/{id}", delete(routes::cancel_control))
            .route("/v1/rules", get(routes::rules))
            .route("/v1/changes", get(routes::changes))
            .route("/v1/operators", get(routes::operators).post(routes::add_operator))
            .route("/v1/operators/{name}", delete(routes::remove_operator))
            .fallback(problem::no_such_page)
            .method_not_allowed_fallback(problem::no_such_method)
            .layer(axum::middleware::from_fn_with_state(self.clone(), access::count))
            .with_state(self.clone())
    }
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Console")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
