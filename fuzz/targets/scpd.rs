//! The service description of a foreign device.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = upnp::scpd::parse(data);
});
