//! The endpoints over HTTP: sizes, content types, and refusals that say nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use daemon_kit::clock;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use secure_http::limits::{MESSAGE_BYTES_MAX, REPORT_BYTES_MAX};
use secure_http::{CHALLENGE_HEADER, COOKIE_HEADER, Refusal};
use tokio::time::timeout;

use super::receive::{Ended, Refused, Request};
use super::{Homes, locked};
use crate::console::Peer;
use crate::limits::{BODY_TIMEOUT, LOAD_RETRY};
use crate::quota::retry_after_s;

/// Whether a sealed message was answered on this connection; put into each request by whoever accepted it.
#[derive(Clone, Debug, Default)]
pub struct Trusted(Arc<AtomicBool>);

/// What a request is for.
#[derive(Clone, Copy)]
enum Endpoint {
    Report,
    Poll,
    Key,
}

pub(super) async fn report(State(homes): State<Homes>, request: HttpRequest) -> Response {
    answer(homes, Endpoint::Report, request).await
}

pub(super) async fn poll(State(homes): State<Homes>, request: HttpRequest) -> Response {
    answer(homes, Endpoint::Poll, request).await
}

pub(super) async fn key(State(homes): State<Homes>, request: HttpRequest) -> Response {
    answer(homes, Endpoint::Key, request).await
}

/// Whether homes are served: enrolled, and the database answers.
pub(super) async fn health(State(homes): State<Homes>) -> Response {
    let answers = homes.0.service.store().last_change().await.is_ok();
    match homes.0.member.own() {
        Some(_) if answers => (StatusCode::OK, "ok\n").into_response(),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "not enrolled at a KMC\n").into_response(),
    }
}

pub(super) async fn no_such_page() -> Response {
    problem(StatusCode::NOT_FOUND)
}

pub(super) async fn no_such_method() -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED)
}

/// Counts whoever asks, whatever is asked for, before anything is looked up for it.
pub(super) async fn count(State(homes): State<Homes>, request: HttpRequest, next: Next) -> Response {
    let counted = locked(&homes.0.gate).count(asker(&homes, &request), clock::boottime());
    match counted {
        Ok(()) => next.run(request).await,
        Err(after) => homes.refused(Refused::Later(after)),
    }
}

/// The address that asks, by a proxy's word where it is one of ours.
fn asker(homes: &Homes, request: &HttpRequest) -> IpAddr {
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |p| p.0).to_canonical();
    if homes.0.proxies.contains(&peer) { forwarded(request.headers()).unwrap_or(peer) } else { peer }
}

async fn answer(homes: Homes, endpoint: Endpoint, request: HttpRequest) -> Response {
    let trusted = request.extensions().get::<Trusted>().cloned().unwrap_or_default();
    homes.0.metrics.sealed_requests.add();
    let answered = match read(&homes, &trusted, endpoint, request).await {
        Ok(request) => match endpoint {
            Endpoint::Report => homes.report(&request).await,
            Endpoint::Poll => homes.poll(&request).await,
            Endpoint::Key => homes.key(&request).await,
        },
        Err(refused) => Err(Ended::Refused(refused)),
    };
    match answered {
        Ok(bytes) => {
            trusted.0.store(true, Ordering::Relaxed);
            homes.0.metrics.sealed_answers.add();
            sealed(bytes)
        }
        Err(Ended::Told(bytes)) => sealed(bytes),
        Err(Ended::Refused(refused)) => homes.refused(refused),
    }
}

/// The request within its bounds.
async fn read(homes: &Homes, trusted: &Trusted, endpoint: Endpoint, request: HttpRequest) -> Result<Request, Refused> {
    let peer = asker(homes, &request);
    let (head, body) = request.into_parts();
    let content_type = text_of(&head.headers, header::CONTENT_TYPE);
    if !content_type.is_some_and(|has| secure_http::endpoints::same_media_type(&has, CONTENT_TYPE_SIGN1)) {
        return Err(Refusal::MediaType.into());
    }
    let cookie = text_of(&head.headers, HeaderName::from_static(COOKIE_HEADER));
    let trusted = trusted.0.load(Ordering::Relaxed);
    // Who was answered may report more than a stranger; whether a cookie is right shows when the body is there.
    let cap = match endpoint {
        Endpoint::Report if trusted || cookie.is_some() => REPORT_BYTES_MAX,
        _ => MESSAGE_BYTES_MAX,
    };
    if body.size_hint().lower() > cap as u64 {
        return Err(Refusal::TooLong.into());
    }
    let body = match timeout(BODY_TIMEOUT, Limited::new(body, cap).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Refusal::TooLong.into()),
        // Broken, or too slow: nobody reads what is said to that.
        _ => return Err(Refusal::Malformed.into()),
    };
    Ok(Request { peer, cookie, trusted, body })
}

impl Homes {
    fn refused(&self, refused: Refused) -> Response {
        let metrics = &self.0.metrics;
        tracing::debug!(?refused, "sealed request refused");
        match refused {
            Refused::Stranger(refusal) => {
                metrics.sealed_refused.add();
                locked(&self.0.gate).refused(clock::boottime());
                problem(StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST))
            }
            Refused::Cookie(challenge) => {
                metrics.sealed_challenged.add();
                let mut response = later(StatusCode::TOO_MANY_REQUESTS, LOAD_RETRY);
                if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                    response.headers_mut().insert(HeaderName::from_static(CHALLENGE_HEADER), challenge);
                }
                response
            }
            Refused::Later(after) => {
                metrics.sealed_later.add();
                later(StatusCode::TOO_MANY_REQUESTS, after)
            }
            Refused::Unavailable(after) => {
                metrics.sealed_later.add();
                later(StatusCode::SERVICE_UNAVAILABLE, after)
            }
        }
    }
}

fn sealed(bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_SIGN1));
    // What is sealed is for one reader and one time.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn later(status: StatusCode, after: Duration) -> Response {
    let mut response = problem(status);
    response.headers_mut().insert(header::RETRY_AFTER, retry_after_s(after).into());
    response
}

/// A problem (RFC 9457) without detail.
fn problem(status: StatusCode) -> Response {
    let mut response = (status, format!("{{\"status\":{}}}", status.as_u16())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// For whom a proxy asks: the last address that it names is the one it saw itself, the others are anybody's word.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// A header's only value; none where there are several, since different readers would take different ones.
fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_forwarded_addresses_the_last_counts_and_nonsense_does_not() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", HeaderValue::from_static(value));
            }
            forwarded(&headers).map(|ip| ip.to_string())
        };
        assert_eq!(of(&["198.51.100.1, 192.0.2.7"]).as_deref(), Some("192.0.2.7"));
        assert_eq!(of(&["198.51.100.1", "2001:db8::7"]).as_deref(), Some("2001:db8::7"));
        assert_eq!(of(&["::ffff:192.0.2.7"]).as_deref(), Some("192.0.2.7"));
        assert_eq!((of(&[]), of(&["unknown"]), of(&["192.0.2.7, "])), (None, None, None));
    }
}
