//! Headers of a SUBSCRIBE answer and of a NOTIFY, one `name:value` a line.
#![no_main]
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use upnp::gena::subscriber::{Grant, NotifyHead};

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n').take(32) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]))
        else {
            continue;
        };
        headers.append(name, value);
    }
    let _ = NotifyHead::parse(&headers);
    let mut response = http::Response::new(Bytes::new());
    *response.headers_mut() = headers;
    let _ = Grant::parse(&response);
});
