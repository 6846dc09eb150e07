//! The body of a POST to a control URL, then the typed arguments of each of our services.
#![no_main]
use energy_services::{appliance_info, energy_gateway, low_power_device, power_management};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "text/xml; charset=\"utf-8\"".parse().expect("a constant"));
    headers.insert(
        "soapaction",
        "\"urn:heg-energy-org:service:PowerManagement:1#StandbyPeriod\"".parse().expect("a constant"),
    );
    if let Ok(request) = upnp::soap::parse_request(&headers, data) {
        let _ = power_management::Call::decode(&request.action, &request.arguments);
        let _ = energy_gateway::Call::decode(&request.action, &request.arguments);
        let _ = appliance_info::Call::decode(&request.action, &request.arguments);
        let _ = low_power_device::Call::decode(&request.action, &request.arguments);
    }
});
