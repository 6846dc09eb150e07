//! Any datagram on port 1900.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = upnp::ssdp::message::parse(data);
});
