//! A control point that hears any datagram, then any description, SUBSCRIBE answer and NOTIFY.
#![no_main]
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use upnp::Effect;
use upnp::control_point::{ControlPoint, ControlPointConfig};
use upnp::ids::TypeUrn;
use upnp::net::{Channel, Datagram, HttpAnswer, IncomingRequest, Interface, InterfaceAddress, InterfaceId};
use upnp::ssdp::message::Target;
use upnp::time::BootTime;

const ALIVE: &[u8] = b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\n\
LOCATION: http://192.0.2.7:80/d.xml\r\nNT: upnp:rootdevice\r\nNTS: ssdp:alive\r\nUSN: uuid:a::upnp:rootdevice\r\n\r\n";

fuzz_target!(|data: &[u8]| {
    let mut point = ControlPoint::new(
        ControlPointConfig {
            targets: vec![Target::RootDevice],
            subscribe: vec![TypeUrn::parse("urn:schemas-upnp-org:service:SwitchPower:1").expect("a constant")],
            user_agent: "Linux/6 UPnP/1.1 fuzz/0".into(),
            callback_port: 5000,
            mx: 1,
            search_every: Duration::from_secs(600),
            static_devices: Vec::new(),
            seed: 1,
        },
        BootTime::ZERO,
    );
    let addresses = vec![InterfaceAddress { address: [192, 0, 2, 1].into(), prefix_len: 24 }];
    point.handle_interfaces(&[Interface { id: InterfaceId(2), name: "eth0".into(), addresses }], BootTime::ZERO);
    let from = ([192, 0, 2, 7], 1900).into();
    let mut now = BootTime::ZERO;
    let mut parts = data.split(|b| *b == 0);
    let hear = |point: &mut ControlPoint, payload: &[u8], channel, now| {
        let payload = Bytes::copy_from_slice(payload);
        point.handle_datagram(&Datagram { interface: InterfaceId(2), channel, multicast: true, from, payload }, now);
    };
    hear(&mut point, ALIVE, Channel::Ssdp, now);
    for _ in 0..60 {
        while let Some(effect) = point.poll_effect() {
            let Effect::Request(request) = effect else { continue };
            let part = parts.next().unwrap_or_default();
            let mut response = http::Response::new(Bytes::copy_from_slice(part));
            if part.first() == Some(&b'S') {
                response.headers_mut().insert("sid", "uuid:s".parse().expect("a constant"));
                response.headers_mut().insert("timeout", "Second-300".parse().expect("a constant"));
            }
            point.handle_answer(HttpAnswer { id: request.id, result: Ok(response) }, now);
        }
        while point.poll_event().is_some() {}
        match parts.next() {
            Some([b'D', rest @ ..]) => hear(&mut point, rest, Channel::Ssdp, now),
            Some([b'E', rest @ ..]) => hear(&mut point, rest, Channel::Events, now),
            Some([b'N', rest @ ..]) => {
                let request = http::Request::builder()
                    .method("NOTIFY")
                    .uri("/callback/1")
                    .header("nt", "upnp:event")
                    .header("nts", "upnp:propchange")
                    .header("sid", "uuid:s")
                    .header("seq", "0")
                    .header("host", "192.0.2.1:5000")
                    .body(Bytes::copy_from_slice(rest))
                    .expect("constants");
                let incoming = IncomingRequest { peer: from, local: ([192, 0, 2, 1], 5000).into(), request };
                let _ = point.handle_request(&incoming, now);
            }
            Some(_) => {}
            None => break,
        }
        if let Some(next) = point.poll_timeout() {
            now = now.max(next);
            point.handle_timeout(now);
        }
    }
});
