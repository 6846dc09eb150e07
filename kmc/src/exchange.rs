//! One request and its answer as values, and the one place where what went wrong becomes an HTTP status. PURE.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use secure_http::code_points::{CONTENT_TYPE_ENCRYPT0, CONTENT_TYPE_SIGN1};
use secure_http::{Malformed, Reason, Refusal, endpoints};

/// What of a request matters here; everything else in its head is dropped where it is read.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub peer: IpAddr,
    /// Whether it is a GET or HEAD; else a POST.
    pub reads: bool,
    /// Path, without query.
    pub path: String,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `HEG-Cookie`.
    pub cookie: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
    /// Whole body, at most `MESSAGE_BYTES_MAX`.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`; empty for no body.
    pub content_type: &'static str,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Cache-Control: max-age` (seconds).
    pub max_age_s: Option<u64>,
    /// `Retry-After` (seconds).
    pub retry_after_s: Option<u64>,
    /// `HEG-Cookie-Challenge`.
    pub challenge: Option<String>,
    /// `Allow`.
    pub allow: Option<&'static str>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A sealed answer: the status is the same whatever is in it.
    pub fn sealed(body: Vec<u8>) -> Self {
        Self { status: 200, content_type: CONTENT_TYPE_SIGN1, body, ..Self::default() }
    }

    /// Plain text.
    pub fn text(status: u16, content_type: &'static str, body: String) -> Self {
        Self { status, content_type, body: body.into_bytes(), ..Self::default() }
    }
}

/// Why a request gets no sealed answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Before its sender was known: see [`Refusal`].
    #[error("refused: {0:?}")]
    Stranger(Refusal),
    /// Under load: a cookie is wanted, here is what to make one with.
    #[error("a cookie is wanted")]
    Cookie(String),
    /// Too often; come again after so many seconds.
    #[error("too often")]
    TooOften(u64),
    /// No such path.
    #[error("no such path")]
    NoPath,
    /// The path takes the other method.
    #[error("wrong method")]
    Method(&'static str),
    /// The database or a computation failed. Logged where it happened.
    #[error("a fault of this centre")]
    Fault,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Stranger(refusal)
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self::Stranger(reason.into())
    }
}

impl From<Malformed> for Refused {
    fn from(_: Malformed) -> Self {
        Self::Stranger(Refusal::Malformed)
    }
}

impl From<Refused> for Response {
    /// A problem (RFC 9457) without detail.
    fn from(refused: Refused) -> Self {
        let mut response = Self { content_type: "application/problem+json", ..Self::default() };
        response.status = match refused {
            Refused::Stranger(refusal) => refusal.status(),
            Refused::Cookie(challenge) => {
                response.challenge = Some(challenge);
                response.retry_after_s = Some(crate::limits::LOAD_RETRY_S);
                429
            }
            Refused::TooOften(after_s) => {
                response.retry_after_s = Some(after_s);
                429
            }
            Refused::NoPath => 404,
            Refused::Method(allow) => {
                response.allow = Some(allow);
                405
            }
            Refused::Fault => 500,
        };
        response.body = format!("{{\"status\":{}}}", response.status).into_bytes();
        response
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET` [`endpoints::ROOT`]
    Root,
    /// `GET` [`endpoints::POLICY`]
    Policy,
    /// `GET` [`endpoints::REVOCATIONS`]
    Revocations,
    /// `POST` [`endpoints::ENROL`]
    Enrol,
    /// `POST` [`endpoints::ENROL_CONFIRM`]
    EnrolConfirm,
    /// `POST` [`endpoints::KEY`]
    Key,
    /// `POST` [`endpoints::ROLLOVER`]
    Rollover,
    /// `POST` [`endpoints::TIME`]
    Time,
    /// `POST` [`endpoints::ORDER`]
    Order,
}

/// What a request is for, by path, method and content type.
///
/// # Errors
/// 404, 405 and 415.
pub fn endpoint(request: &Request) -> Result<Endpoint, Refused> {
    let (endpoint, content_type) = match request.path.as_str() {
        endpoints::ROOT => (Endpoint::Root, None),
        endpoints::POLICY => (Endpoint::Policy, None),
        endpoints::REVOCATIONS => (Endpoint::Revocations, None),
        endpoints::ENROL => (Endpoint::Enrol, Some(CONTENT_TYPE_ENCRYPT0)),
        endpoints::ENROL_CONFIRM => (Endpoint::EnrolConfirm, Some(CONTENT_TYPE_SIGN1)),
        endpoints::KEY => (Endpoint::Key, Some(CONTENT_TYPE_SIGN1)),
        endpoints::ROLLOVER => (Endpoint::Rollover, Some(CONTENT_TYPE_SIGN1)),
        endpoints::TIME => (Endpoint::Time, Some(CONTENT_TYPE_SIGN1)),
        endpoints::ORDER => (Endpoint::Order, Some(CONTENT_TYPE_SIGN1)),
        _ => return Err(Refused::NoPath),
    };
    match content_type {
        None if request.reads => Ok(endpoint),
        None => Err(Refused::Method("GET, HEAD")),
        Some(_) if request.reads => Err(Refused::Method("POST")),
        Some(wanted)
            if request
                .content_type
                .as_deref()
                .is_some_and(|has| secure_http::endpoints::same_media_type(has, wanted)) =>
        {
            Ok(endpoint)
        }
        Some(_) => Err(Refusal::MediaType.into()),
    }
}

/// Whether one of the tags in `If-None-Match` is this one, or any will do. Weak tags count as strong ones: the bytes are the same.
pub fn matches(if_none_match: &str, etag: &str) -> bool {
    if_none_match.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(reads: bool, path: &str, content_type: Option<&str>) -> Request {
        Request {
            peer: IpAddr::from([192, 0, 2, 1]),
            reads,
            path: path.to_owned(),
            content_type: content_type.map(str::to_owned),
            cookie: None,
            if_none_match: None,
            body: Vec::new(),
        }
    }

    #[test]
    fn each_path_takes_its_method_and_content_type() {
        let of = |reads, path, content_type| endpoint(&request(reads, path, content_type));
        assert_eq!(of(true, "/kmc/v1/policy", None), Ok(Endpoint::Policy));
        assert_eq!(of(false, "/kmc/v1/policy", None), Err(Refused::Method("GET, HEAD")));
        assert_eq!(of(true, "/kmc/v1/enrol", None), Err(Refused::Method("POST")));
        assert_eq!(of(false, "/kmc/v1/key", Some("Application/COSE;cose-type=cose-sign1")), Ok(Endpoint::Key));
        assert_eq!(of(false, "/kmc/v1/enrol", Some(CONTENT_TYPE_SIGN1)), Err(Refusal::MediaType.into()));
        assert_eq!(of(false, "/kmc/v1/key", None), Err(Refusal::MediaType.into()));
        assert_eq!(of(true, "/kmc/v1/policy/", None), Err(Refused::NoPath));
    }

    #[test]
    fn a_refusal_says_its_status_and_nothing_else() {
        for reason in [Reason::UnknownKey, Reason::Signature, Reason::Revoked, Reason::Stale, Reason::Replay] {
            assert_eq!(Response::from(Refused::from(reason)), Response::from(Refused::from(Reason::Audience)));
        }
        let busy = Response::from(Refused::TooOften(7));
        assert_eq!((busy.status, busy.retry_after_s, busy.challenge), (429, Some(7), None));
        assert_eq!(busy.body, b"{\"status\":429}");
    }

    #[test]
    fn an_etag_is_found_among_others() {
        assert!(matches("\"a\", W/\"b\"", "\"b\"") && matches("*", "\"b\"") && !matches("\"a\"", "\"b\""));
    }
}
