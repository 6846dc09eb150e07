//! How the device puts its announcements together; SSDP itself is tested where it is made.

use upnp::Effect;
use upnp::net::{Channel, Datagram, InterfaceId};

use crate::fixture::*;

fn ssdp(wire: &mut Wire) -> Vec<String> {
    let text = |e| match e {
        Effect::Send(t) if t.channel == Channel::Ssdp => Some(String::from_utf8(t.payload.to_vec()).unwrap()),
        _ => None,
    };
    wire.effects().into_iter().filter_map(text).collect()
}

#[test]
fn it_announces_its_description_types_and_numbers() {
    let mut wire = Wire::new();
    wire.device.handle_interfaces(&[eth0()], wire.now);
    wire.until(at(10));
    let sent = ssdp(&mut wire);
    let alive: Vec<_> = sent.iter().filter(|m| m.contains("ssdp:alive")).collect();
    for part in [
        "LOCATION: http://192.0.2.1:49200/description.xml\r\n",
        &format!("CONFIGID.UPNP.ORG: {}\r\n", wire.device.config_id()),
        &format!("BOOTID.UPNP.ORG: {}\r\n", wire.device.boot_id()),
        &format!("SERVER: {SERVER}\r\n"),
    ] {
        assert!(alive.iter().any(|m| m.contains(part)), "{part} in {alive:?}");
    }
    for nt in ["upnp:rootdevice", config().udn.as_str(), POWER.service_type, QUIET.service_type, LAMP.service_type] {
        assert!(alive.iter().any(|m| m.contains(&format!("\r\nNT: {nt}\r\n"))), "{nt}");
    }
}

#[test]
fn it_answers_a_search_and_says_goodbye() {
    let mut wire = Wire::new();
    wire.device.handle_interfaces(&[eth0()], wire.now);
    wire.until(at(30));
    wire.effects();
    let search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
                  ST: urn:heg-energy-org:service:PowerManagement:1\r\n\r\n";
    let mut datagram = Datagram {
        interface: InterfaceId(2),
        channel: Channel::Ssdp,
        multicast: true,
        from: address("192.0.2.7:50000"),
        payload: search.into(),
    };
    wire.datagram(&datagram);
    wire.until(at(32));
    assert!(ssdp(&mut wire).iter().any(|m| m.starts_with("HTTP/1.1 200 OK\r\n")));
    datagram.channel = Channel::Events;
    wire.datagram(&datagram);
    wire.until(at(34));
    assert!(ssdp(&mut wire).is_empty(), "not a search on the event channel");
    wire.device.stop(wire.now);
    wire.until(at(40));
    assert!(ssdp(&mut wire).iter().all(|m| m.contains("ssdp:byebye")));
}
