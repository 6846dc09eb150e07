//! Steady SSDP traffic of one appliance, in virtual time: what its advertiser sends in a day without events, with IP and Ethernet headers.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use energy_services::{appliance_info, low_power_device, power_management};
use upnp::Effect;
use upnp::device::{DeviceConfig, RootDevice};
use upnp::ids::{TypeUrn, Udn, uuid_v4};
use upnp::net::{Interface, InterfaceAddress, InterfaceId};
use upnp::time::BootTime;

/// UDP 8, IPv4 20, Ethernet 14 bytes.
const HEADERS_V4: usize = 42;
/// UDP 8, IPv6 40, Ethernet 14 bytes.
const HEADERS_V6: usize = 62;
const DAY: Duration = Duration::from_secs(86_400);

/// Bits per second, averaged over a day that begins an hour after the start.
pub(crate) fn bits_per_second(addresses: &[IpAddr]) -> Result<f64> {
    let mut device = RootDevice::new(
        DeviceConfig {
            udn: Udn::parse(&format!("uuid:{}", uuid_v4(7)))?,
            device_type: TypeUrn::parse(energy_services::MANAGED_APPLIANCE)?,
            friendly_name: "Washing machine".to_owned(),
            manufacturer: "Maker".to_owned(),
            manufacturer_url: String::new(),
            model_name: "Model".to_owned(),
            model_description: String::new(),
            model_number: String::new(),
            services: vec![
                &power_management::DECLARATION,
                &appliance_info::DECLARATION,
                &low_power_device::DECLARATION,
            ],
            server: "Linux/6.12.43 UPnP/1.1 psm-agent/0.1.0".to_owned(),
            http_port: 49152,
            boot_id: 1,
            max_age: Duration::from_secs(upnp::limits::SSDP_MAX_AGE_DEFAULT_S),
            host_names: Vec::new(),
            seed: 1,
        },
        BootTime::ZERO,
    );
    let interface = Interface {
        id: InterfaceId(2),
        name: "eth0".to_owned(),
        addresses: addresses.iter().map(|a| InterfaceAddress { address: *a, prefix_len: 64 }).collect(),
    };
    device.handle_interfaces(&[interface], BootTime::ZERO);
    let begin = BootTime::ZERO + Duration::from_secs(3600);
    let end = begin + DAY;
    let mut now = BootTime::ZERO;
    let mut bytes = 0;
    while now < end {
        while let Some(effect) = device.poll_effect() {
            if let (Effect::Send(t), true) = (effect, now >= begin) {
                bytes += t.payload.len() + if t.to.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
            }
        }
        let Some(next) = device.poll_timeout() else { break };
        now = next.max(now + Duration::from_millis(1));
        device.handle_timeout(now);
    }
    #[expect(clippy::cast_precision_loss, reason = "a day's bytes are far below 2^52")]
    Ok(bytes as f64 * 8.0 / DAY.as_secs_f64())
}
