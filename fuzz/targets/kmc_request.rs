//! What a KMC makes of the head of a request: path, content type, tags.
#![no_main]
use kmc::exchange::{Request, Response, endpoint, matches};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|head: (bool, &str, &str, &str)| {
    let (reads, path, content_type, tags) = head;
    let request = Request {
        peer: std::net::IpAddr::from([192, 0, 2, 1]),
        reads,
        path: path.to_owned(),
        content_type: Some(content_type.to_owned()),
        cookie: None,
        if_none_match: Some(tags.to_owned()),
        body: Vec::new(),
    };
    let answer = endpoint(&request).map_err(Response::from);
    assert!(answer.is_ok() || answer.is_err_and(|response| matches!(response.status, 404 | 405 | 415)));
    let _ = matches(tags, "\"x\"");
});
