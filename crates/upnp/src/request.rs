//! The head of an HTTP request to a device: origin-form target, HOST first, then what the caller adds.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};

use crate::url::HttpUrl;

/// A request for `url`. A header whose name or value may not stand in HTTP is left out (all names and nearly all values are
/// constants of this crate; a SID or path from outside is held to printable characters where it is parsed).
pub(crate) fn request(method: &str, url: &HttpUrl, headers: &[(&str, &str)], body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap_or_default();
    *request.uri_mut() = target(url.path());
    let out = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&url.authority()) {
        out.insert(header::HOST, host);
    }
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            out.insert(name, value);
        }
    }
    request
}

/// The path as devices write it where HTTP can carry it, else with its odd characters percent-encoded.
fn target(path: &str) -> Uri {
    path.parse().or_else(|_| encoded(path).parse()).unwrap_or_default()
}

fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/?&=%:;,+-._~!$*'()@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_characters_of_a_path_are_carried_or_encoded_never_a_panic() {
        for byte in 0x21u8..0x7f {
            if byte == b'#' {
                continue; // a fragment, dropped by the URL parser
            }
            let url = HttpUrl::parse(&format!("http://192.0.2.1:81/a{}b", char::from(byte))).unwrap();
            let request = request("GET", &url, &[("X", "y")], Bytes::new());
            assert!(request.uri().path().starts_with("/a"), "{:?} -> {}", char::from(byte), request.uri());
            assert_eq!(request.headers()["host"], "192.0.2.1:81");
        }
    }
}
