//! Problems as RFC 9457 has them, and what each error of ours is on the wire.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::api::ProblemView;
use crate::events::EventError;
use crate::quota::retry_after_s;
use crate::store::StoreError;

/// An answer with a status of 400 or more.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// What is right in form and wrong in content.
    pub(crate) fn refused(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 429, or 503, with when to try again.
    pub(crate) fn later(status: StatusCode, code: &'static str, detail: impl Into<String>, after: Duration) -> Self {
        Self { retry_after: Some(after), ..Self::new(status, code, detail) }
    }
}

/// What the database says is mapped to the wire here and nowhere else.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        match error {
            StoreError::UnknownSite(_) => Self::new(StatusCode::NOT_FOUND, "unknown-site", detail),
            StoreError::UnknownAppliance { .. } => Self::new(StatusCode::NOT_FOUND, "unknown-appliance", detail),
            StoreError::UnknownEvent(_) => Self::new(StatusCode::NOT_FOUND, "unknown-event", detail),
            StoreError::UnknownOperator(_) => Self::new(StatusCode::NOT_FOUND, "unknown-operator", detail),
            StoreError::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", detail),
            StoreError::TooMany(_) => Self::new(StatusCode::CONFLICT, "too-many", detail),
            StoreError::Event(EventError::NoConsent(_)) => Self::new(StatusCode::CONFLICT, "no-consent", detail),
            StoreError::Event(EventError::NotLive(..)) => Self::new(StatusCode::CONFLICT, "not-live", detail),
            StoreError::Event(_) => Self::refused("refused", detail),
            StoreError::Busy => Self::later(StatusCode::TOO_MANY_REQUESTS, "busy", detail, Duration::from_secs(2)),
            StoreError::Unavailable(_) => {
                Self::later(StatusCode::SERVICE_UNAVAILABLE, "database", detail, Duration::from_secs(5))
            }
            _ => {
                tracing::error!(error = detail, "the database failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "database", "the database failed; the log says why")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let view = ProblemView {
            r#type: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code.to_owned(),
        };
        let body = serde_json::to_vec(&view).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, retry_after_s(after).into());
        }
        response
    }
}

pub(super) async fn no_such_page() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this address")
}

pub(super) async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this address does not take that method")
}
