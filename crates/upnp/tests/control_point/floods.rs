//! Bad weather: nonsense, floods, forgers.

use bytes::Bytes;
use http::{Request, Response};
use proptest::prelude::*;
use upnp::limits::{SSDP_DEVICES_MAX, SUBSCRIBES_IN_FLIGHT_MAX};
use upnp::net::{Channel, HttpError};

use crate::bench::{
    Bench, SWITCH, address, alive, callback_of, description, granted, ip, is_ready, ok, property, udn, urn,
};

#[test]
fn ten_thousand_bogus_devices_are_bounded_and_a_real_one_is_served_in_between() {
    let (mut bench, callback) = Bench::with_light();
    let mut in_flight_max = 0;
    for n in 0..10_000u32 {
        // From 100 hosts, each with many names; none serves a description.
        let from = 2 + n % 100;
        let usn = format!("USN: uuid:bogus-{n}::upnp:rootdevice");
        let location = format!("LOCATION: http://{}:{}/x", std::net::IpAddr::from(ip(from)), 1024 + n % 60_000);
        bench.hear(from, &alive(from, &[&usn, &location]));
        in_flight_max = in_flight_max.max(bench.requests.len());
        if n % 10 == 0 {
            bench.advance_s(1);
            for get in core::mem::take(&mut bench.requests) {
                bench.fail(&get, if n % 20 == 0 { HttpError::Timeout } else { HttpError::Connect("refused".into()) });
            }
        }
        if n % 1000 == 0 {
            let seq = n / 1000 + 1;
            assert_eq!(bench.notify(&callback, "uuid:s1", seq, property("Status", "1")), 200);
            bench.hear(1, &alive(1, &[]));
        }
    }
    assert!(in_flight_max <= 40, "{in_flight_max}");
    assert!(bench.cp.device(&udn(1)).is_some());
    let known = format!("{:?}", bench.cp);
    assert!(known.matches("uuid:bogus-").count() < 20 * SSDP_DEVICES_MAX);
    // The real one is called as ever.
    bench.requests.clear();
    bench.cp.call(&udn(1), &urn(SWITCH), "GetStatus", vec![], bench.now).unwrap();
    bench.drain();
    assert_eq!(bench.take("POST").to, address(1));
}

#[test]
fn a_new_device_is_read_soon_while_a_flood_from_one_host_goes_on() {
    let mut bench = Bench::new();
    for n in 0..5000u32 {
        let usn = format!("USN: uuid:bogus-{n}::upnp:rootdevice");
        bench.hear(9, &alive(9, &[&usn]));
    }
    bench.hear(1, &alive(1, &[]));
    assert!(bench.requests.iter().any(|r| r.to == address(1)));
}

#[test]
fn a_hundred_and_sixty_devices_are_read_and_subscribed_through_the_slots() {
    let mut bench = Bench::new();
    for n in 1..=160 {
        bench.hear(n, &alive(n, &[]));
    }
    let mut most = 0;
    while !bench.requests.is_empty() {
        most = most.max(bench.requests.len());
        let request = bench.requests.remove(0);
        let std::net::IpAddr::V4(host) = request.to.ip() else { panic!("IPv4") };
        let n = u32::from(host.octets()[2]) * 200 + u32::from(host.octets()[3]) - 1;
        match request.request.method().as_str() {
            "GET" => bench.answer(&request, ok(description(n))),
            _ => bench.answer(&request, granted(&format!("uuid:{n}"), "Second-1800")),
        }
    }
    assert_eq!((bench.count(is_ready), bench.count(crate::bench::is_subscribed)), (160, 160));
    assert!(most <= SUBSCRIBES_IN_FLIGHT_MAX + 8, "{most}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_datagram_panics(
        events in any::<bool>(),
        start in proptest::sample::select(vec!["", "NOTIFY * HTTP/1.1\r\n", "NOTIFY * HTTP/1.0\r\nUSN: uuid:light-1::", "HTTP/1.1 200 OK\r\nST: "]),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let (mut bench, _) = Bench::with_light();
        let payload = [start.as_bytes(), &bytes].concat();
        let channel = if events { Channel::Events } else { Channel::Ssdp };
        bench.datagram(channel, (ip(1), 1900).into(), &payload);
        bench.advance_s(10);
    }

    #[test]
    fn no_answer_panics(
        status in 100u16..600,
        headers in proptest::collection::vec(("(SID|TIMEOUT|X)", "[ -~]{0,40}"), 0..4),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        xml in any::<bool>(),
        steps in 1usize..12,
    ) {
        let mut bench = Bench::new();
        bench.hear(1, &alive(1, &[]));
        let mut response = Response::builder().status(status);
        for (name, value) in &headers {
            response = response.header(name.as_str(), value.as_str());
        }
        let response = response.body(Bytes::from(body)).unwrap();
        for _ in 0..steps {
            bench.advance_s(50);
            if !bench.requests.is_empty() {
                let request = bench.requests.remove(0);
                match request.request.method().as_str() {
                    "GET" if xml => bench.answer(&request, ok(description(1))),
                    _ => bench.answer(&request, response.clone()),
                }
            }
            if bench.cp.device(&udn(1)).is_some() {
                let _ = bench.cp.call(&udn(1), &urn(SWITCH), "GetStatus", vec![], bench.now);
                bench.drain();
            }
        }
    }

    #[test]
    fn no_request_panics(
        method in "(NOTIFY|GET|POST|SUBSCRIBE|M-SEARCH)",
        path in "/callback/[0-9a-z/%]{0,12}",
        ours in any::<bool>(),
        headers in proptest::collection::vec(("(SID|SEQ|NT|NTS|HOST)", "(upnp:event|upnp:propchange|uuid:s1|[0-9]{1,11}|[ -~]{0,20})"), 0..8),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let (mut bench, callback) = Bench::with_light();
        let mut request = Request::builder().method(method.as_str()).uri(if ours { callback.as_str() } else { path.as_str() });
        for (name, value) in &headers {
            request = request.header(name.as_str(), value.as_str());
        }
        if let Ok(request) = request.body(Bytes::from(body)) {
            bench.request_from(address(1), request);
        }
        bench.advance_s(2000);
    }

    /// Whatever order grants, failures and events come in: what is delivered is in order, and the machine always has a next
    /// step.
    #[test]
    fn a_subscription_always_recovers(ops in proptest::collection::vec((0u8..6, 0u32..4), 1..60)) {
        let mut bench = Bench::new();
        bench.hear(1, &alive(1, &[]));
        bench.serve_description(1);
        let (mut sid, mut seq, mut granted_sids) = (String::from("uuid:none"), 0, 0);
        let mut callback = None;
        for (op, skip) in ops {
            bench.hear(1, &alive(1, &[]));
            match op {
                0 | 1 if !bench.requests.is_empty() => {
                    let request = bench.requests.remove(0);
                    if request.request.headers().contains_key("callback") {
                        callback = Some(callback_of(&request));
                        granted_sids += 1;
                        (sid, seq) = (format!("uuid:{granted_sids}"), 0);
                    }
                    bench.answer(&request, granted(&sid, "Second-60"));
                }
                2 if !bench.requests.is_empty() => {
                    let request = bench.requests.remove(0);
                    bench.fail_to_connect(&request);
                }
                3 | 4 => {
                    if let Some(callback) = callback.clone() {
                        seq += skip;
                        bench.notify(&callback, &sid, seq, property("Status", &seq.to_string()));
                        seq += 1;
                    }
                }
                _ => bench.advance_s(u64::from(skip) * 20),
            }
        }
        // From here on the device behaves.
        for _ in 0..100 {
            while !bench.requests.is_empty() {
                let request = bench.requests.remove(0);
                if request.request.headers().contains_key("callback") {
                    callback = Some(callback_of(&request));
                    granted_sids += 1;
                    (sid, seq) = (format!("uuid:{granted_sids}"), 0);
                }
                bench.answer(&request, granted(&sid, "Second-1800"));
            }
            bench.advance_s(7);
            bench.hear(1, &alive(1, &[]));
        }
        bench.events.clear();
        bench.notify(callback.as_deref().unwrap(), &sid, seq, property("Status", "last"));
        prop_assert_eq!(bench.delivered(), ["Status=last"]);
    }
}
