//! Broadcast objects: the bytes as stored, for homes and for any HTTP cache between. Nobody has to say who they are: everybody gets the same.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Console;
use super::problem::Problem;
use crate::limits::CACHE_AGE_S;

/// A series under its version never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

pub(super) async fn object(
    State(console): State<Console>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    console.0.metrics.broadcast.add();
    let object = console.0.service.broadcast(&path).await?;
    let Some(object) = object else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", "there is no such object"));
    };
    let age = if path.contains('@') {
        HeaderValue::from_static(IMMUTABLE)
    } else {
        HeaderValue::from_str(&format!("public, max-age={CACHE_AGE_S}, stale-if-error=86400"))
            .unwrap_or(HeaderValue::from_static("public"))
    };
    let etag = HeaderValue::from_str(&object.etag).map_err(|_| Problem::bad("the object has no sound tag"))?;
    let mut response = if matches(&headers, &object.etag) {
        console.0.metrics.not_modified.add();
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/cbor"))];
        (kind, object.content).into_response()
    };
    response.headers_mut().insert(header::ETAG, etag);
    response.headers_mut().insert(header::CACHE_CONTROL, age);
    Ok(response)
}

/// Whether If-None-Match names the tag (RFC 9110, 13.1.2: weak comparison, a list, or `*`).
fn matches(headers: &HeaderMap, etag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list_weak_or_strong_and_any_is_any() {
        let names = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(value).unwrap());
            matches(&headers, "\"ab\"")
        };
        assert!(names("\"ab\"") && names("\"x\", W/\"ab\"") && names("*"));
        assert!(!names("\"abc\"") && !names("ab") && !names(""));
        assert!(!matches(&HeaderMap::new(), "\"ab\""));
    }
}
