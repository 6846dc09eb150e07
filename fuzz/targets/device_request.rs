//! Whole HTTP requests and datagrams at a device: first byte chooses method and path, the rest is headers, a blank line, the body.
#![no_main]
use std::time::Duration;

use bytes::Bytes;
use energy_services::{appliance_info, low_power_device, power_management};
use libfuzzer_sys::fuzz_target;
use upnp::device::{DeviceConfig, RootDevice};
use upnp::ids::{TypeUrn, Udn};
use upnp::net::{Channel, Datagram, IncomingRequest, Interface, InterfaceAddress, InterfaceId};
use upnp::time::BootTime;

fn device() -> RootDevice {
    let mut device = RootDevice::new(
        DeviceConfig {
            udn: Udn::parse("uuid:2fac1234-31f8-41b4-a222-08002b34c003").expect("a constant"),
            device_type: TypeUrn::parse(energy_services::MANAGED_APPLIANCE).expect("a constant"),
            friendly_name: "f".into(),
            manufacturer: "m".into(),
            manufacturer_url: String::new(),
            model_name: "n".into(),
            model_description: String::new(),
            model_number: String::new(),
            services: vec![&power_management::DECLARATION, &appliance_info::DECLARATION, &low_power_device::DECLARATION],
            server: "Linux/6 UPnP/1.1 fuzz/0".into(),
            http_port: 49152,
            boot_id: 1,
            max_age: Duration::from_secs(1800),
            host_names: Vec::new(),
            seed: 1,
        },
        BootTime::ZERO,
    );
    let addresses = vec![InterfaceAddress { address: [192, 0, 2, 1].into(), prefix_len: 24 }];
    device.handle_interfaces(&[Interface { id: InterfaceId(2), name: "eth0".into(), addresses }], BootTime::ZERO);
    device
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    let mut device = device();
    let from = ([192, 0, 2, 7], 40000).into();
    if choice == 0xff {
        let payload = Bytes::copy_from_slice(rest);
        let datagram = Datagram { interface: InterfaceId(2), channel: Channel::Ssdp, multicast: true, from, payload };
        device.handle_datagram(&datagram, BootTime::ZERO);
    } else {
        let method = ["GET", "POST", "SUBSCRIBE", "UNSUBSCRIBE", "HEAD", "NOTIFY"][usize::from(choice & 7) % 6];
        let path = ["/PowerManagement/control", "/PowerManagement/event", "/description.xml", "/ApplianceInfo/control", "/", "/x"]
            [usize::from(choice >> 3) % 6];
        let end = rest.windows(2).position(|w| w == b"\n\n").unwrap_or(rest.len());
        let mut request = http::Request::builder().method(method).uri(path);
        for line in rest[..end].split(|b| *b == b'\n') {
            let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
            request = request.header(&line[..colon], &line[colon + 1..]);
        }
        let body = Bytes::copy_from_slice(rest.get(end + 2..).unwrap_or_default());
        let Ok(request) = request.body(body) else { return };
        let incoming = IncomingRequest { peer: from, local: ([192, 0, 2, 1], 49152).into(), request };
        let _ = device.handle_request(&incoming, BootTime::ZERO);
    }
    for _ in 0..12 {
        while device.poll_effect().is_some() {}
        let Some(next) = device.poll_timeout() else { break };
        device.handle_timeout(next);
    }
});
