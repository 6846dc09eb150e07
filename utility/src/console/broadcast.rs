//! Broadcast objects: the stored bytes under the utility's signature, for homes and for any HTTP cache between. Nobody has to say who they
//! are: everybody gets the same. A signature has no randomness, so all replicas give the same bytes and the same tag.
//!
//! Until the utility is enrolled it has no key to sign with; then the bytes go out as they are stored, and no home takes them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secure_http::code_points::CONTENT_TYPE_SIGN1;

use super::Console;
use super::locked;
use super::problem::Problem;
use crate::limits::{CACHE_AGE_S, CACHE_OBJECTS_MAX, CACHE_VERSION_AGE_S, OBJECT_PATH_BYTES_MAX};
use crate::membership::Own;
use crate::store::{Object, etag_of};

/// Objects with their signature, by path, as long as neither they nor the key are others.
#[derive(Debug, Default)]
pub(super) struct Signed(Mutex<BTreeMap<String, Entry>>);

#[derive(Clone, Debug)]
struct Entry {
    kid: secure_http::KeyId,
    plain_etag: String,
    object: Object,
}

impl Signed {
    fn of(&self, own: &Own, path: &str, plain: Object) -> Result<Object, Problem> {
        let kid = own.statement.kid();
        let known = locked(&self.0).get(path).cloned();
        if let Some(entry) = known.filter(|e| e.kid == kid && e.plain_etag == plain.etag) {
            return Ok(entry.object);
        }
        let content = own.sign(&plain.content).map_err(|error| {
            tracing::error!(path, %error, "a broadcast object was not signed");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the object was not signed; the log says why")
        })?;
        let object = Object { version: plain.version, etag: etag_of(&content), content: content.into() };
        let mut all = locked(&self.0);
        if all.len() >= CACHE_OBJECTS_MAX {
            all.clear();
        }
        all.insert(path.to_owned(), Entry { kid, plain_etag: plain.etag, object: object.clone() });
        Ok(object)
    }
}

pub(super) async fn object(
    State(console): State<Console>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    console.0.metrics.broadcast.add();
    let none = || Problem::new(StatusCode::NOT_FOUND, "not-found", "there is no such object");
    if path.len() > OBJECT_PATH_BYTES_MAX {
        return Err(none());
    }
    let object = console.0.service.broadcast(&path).await?.ok_or_else(none)?;
    let (object, kind) = match console.0.member.own() {
        Some(own) => (console.0.signed.of(&own, &path, object)?, CONTENT_TYPE_SIGN1),
        None => (object, "application/cbor"),
    };
    // A series under its version never changes, but its signature does with the key.
    let age_s = if path.contains('@') { CACHE_VERSION_AGE_S } else { CACHE_AGE_S };
    let age = HeaderValue::from_str(&format!("public, max-age={age_s}, stale-if-error=86400"))
        .unwrap_or(HeaderValue::from_static("public"));
    let etag = HeaderValue::from_str(&object.etag).map_err(|_| Problem::bad("the object has no sound tag"))?;
    let mut response = if matches(&headers, &object.etag) {
        console.0.metrics.not_modified.add();
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
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
