//! The description document of a foreign device.
#![no_main]
use libfuzzer_sys::fuzz_target;
use upnp::description::Description;
use upnp::url::HttpUrl;

fuzz_target!(|data: &[u8]| {
    let base = HttpUrl::new(([192, 0, 2, 1], 49152).into(), "/description.xml");
    if let Ok(description) = Description::parse(data, &base) {
        for service in description.services() {
            assert_eq!(service.control_url.address().ip(), base.address().ip(), "a control URL on another host");
        }
    }
});
