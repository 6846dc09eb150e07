//! What a request brings: query and body, bounded, refused as a problem.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tariff::limits::PRICE_FILE_BYTES_MAX;
use tokio::time::timeout;

use super::Console;
use super::problem::Problem;
use crate::limits::{BODY_BYTES_MAX, BODY_TIMEOUT};

/// A part of the path, in its own type.
pub(super) struct Part<T>(pub(super) T);

impl<T: std::str::FromStr<Err: std::fmt::Display> + Send> FromRequestParts<Console> for Part<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        let Path(text) =
            Path::<String>::from_request_parts(parts, console).await.map_err(|e| Problem::bad(e.body_text()))?;
        text.parse().map(Self).map_err(|e| Problem::bad(format!("{text:?}: {e}")))
    }
}

/// The query.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Console> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, console).await;
        query.map(|Query(value)| Self(value)).map_err(|e| Problem::bad(e.body_text()))
    }
}

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Console> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &Console) -> Result<Self, Problem> {
        let body = whole(request, BODY_BYTES_MAX).await?;
        serde_json::from_slice(&body).map(Self).map_err(|e| Problem::bad(e.to_string()))
    }
}

/// A file as body.
pub(super) struct File(pub(super) String);

impl FromRequest<Console> for File {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &Console) -> Result<Self, Problem> {
        let body = whole(request, PRICE_FILE_BYTES_MAX).await?;
        String::from_utf8(body.into()).map(Self).map_err(|_| Problem::bad("the file is not UTF-8 text"))
    }
}

async fn whole(request: Request, bytes_max: usize) -> Result<Bytes, Problem> {
    let body = Limited::new(request.into_body(), bytes_max).collect();
    match timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("the body may have {bytes_max} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail))
        }
        Ok(Err(_)) => Err(Problem::bad("the body was cut off")),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come in time")),
    }
}
