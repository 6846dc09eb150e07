//! Who is asking, and how much they may ask.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use daemon_kit::clock;
use http::request::Parts;
use http::{StatusCode, header};

use super::problem::Problem;
use super::{Console, Peer, locked};
use crate::store::{Operator, Role, Token};

/// Counts requests.
pub(super) async fn count(State(console): State<Console>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    console.0.metrics.requests.add();
    match response.status() {
        StatusCode::UNAUTHORIZED => console.0.metrics.refused_unknown.add(),
        StatusCode::TOO_MANY_REQUESTS => console.0.metrics.refused_quota.add(),
        _ => {}
    }
    response
}

/// Somebody who may look.
pub(super) struct Viewer;

/// Somebody who may change what homes are told.
pub(super) struct Changer(pub(super) Operator);

/// Somebody who may make operators.
pub(super) struct Admin(pub(super) Operator);

impl FromRequestParts<Console> for Viewer {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        operator(parts, console, Role::Viewer).await.map(|_| Self)
    }
}

impl FromRequestParts<Console> for Changer {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        operator(parts, console, Role::Operator).await.map(Self)
    }
}

impl FromRequestParts<Console> for Admin {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        operator(parts, console, Role::Admin).await.map(Self)
    }
}

/// How an operator stands in the log.
pub(super) fn actor(operator: &Operator) -> String {
    format!("operator:{}", operator.name)
}

/// Whoever a request's token belongs to. An address that keeps guessing is turned away before the database is asked.
async fn operator(parts: &Parts, console: &Console, least: Role) -> Result<Operator, Problem> {
    let now = clock::boottime();
    let peer = parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |p| p.0).to_string();
    let throttled = |after| {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Problem::later(status, "too-many-requests", "too many requests; try again later", after)
    };
    locked(&console.0.by_address).look(&peer, now).map_err(throttled)?;
    let text = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let token = text.and_then(|v| v.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let known = match token.and_then(|(_, token)| Token::parse(token.trim())) {
        Some(token) => console.0.service.store().operator_of(&token).await?,
        None => None,
    };
    let Some(operator) = known else {
        // The bucket may have emptied meanwhile; then the next request hears of it.
        let _ = locked(&console.0.by_address).take(&peer, now);
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "a bearer token of an operator is needed"));
    };
    locked(&console.0.by_token).take(&operator.name, now).map_err(throttled)?;
    if operator.role < least {
        let detail = format!("{} is {}; this needs {least}", operator.name, operator.role);
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail));
    }
    Ok(operator)
}
