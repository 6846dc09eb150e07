//! The body of a NOTIFY. What we write of what we read is read back as the same.
#![no_main]
use libfuzzer_sys::fuzz_target;
use upnp::gena::propertyset;

fuzz_target!(|data: &[u8]| {
    if let Ok(set) = propertyset::parse(data) {
        let pairs: Vec<(&str, &str)> = set.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let _ = propertyset::parse(&propertyset::write(&pairs));
    }
});
