//! The answer of a foreign device to an action.
#![no_main]
use http::StatusCode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for status in [StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR] {
        let _ = upnp::soap::parse_response(status, data, "GetPowerState");
    }
});
