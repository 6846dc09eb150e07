//! Subscriptions and events.

use core::time::Duration;

use bytes::Bytes;
use http::Request;
use upnp::control_point::ControlPointEvent;
use upnp::limits::{EVENTS_QUEUED_MAX, XML_EVENT_BYTES_MAX};
use upnp::net::{Channel, HttpError};
use upnp::ssdp::Target;

use crate::bench::{
    Bench, DIMMING, SWITCH, address, alive, callback_of, config, description, granted, is_lost, is_ready,
    is_subscribed, ok, property, status, udn, urn,
};

/// A bench with light 1 read and its SUBSCRIBE not answered.
fn asking() -> Bench {
    let mut bench = Bench::new();
    bench.hear(1, &alive(1, &[]));
    bench.serve_description(1);
    bench
}

#[test]
fn a_subscription_is_asked_for_letter_by_letter_as_uda_wants() {
    let mut bench = asking();
    let subscribe = bench.take("SUBSCRIBE");
    let headers = subscribe.request.headers();
    assert_eq!((subscribe.to, subscribe.request.uri().path()), (address(1), "/switch/event"));
    assert_eq!(
        (&headers["host"], &headers["nt"], &headers["timeout"]),
        (&"10.88.0.2:8080".parse().unwrap(), &"upnp:event".parse().unwrap(), &"Second-1800".parse().unwrap(),)
    );
    assert!(!headers.contains_key("sid") && subscribe.request.body().is_empty());
    assert!(callback_of(&subscribe).starts_with("/callback/"));
    // A literal, of the route to this device: libupnp does not answer for seconds where it must look a name up.
    assert!(headers["callback"].to_str().unwrap().starts_with("<http://10.88.0.254:"), "{headers:?}");
    // Only what was asked for is subscribed to.
    assert_eq!(bench.asked("SUBSCRIBE"), 0);
}

#[test]
fn a_renewal_has_sid_and_timeout_and_nothing_else() {
    let (mut bench, _) = Bench::with_light();
    bench.advance_s(1360);
    let renewal = bench.take("SUBSCRIBE");
    let headers = renewal.request.headers();
    assert_eq!((&headers["sid"], &headers["timeout"]), (&"uuid:s1".parse().unwrap(), &"Second-1800".parse().unwrap()));
    assert!(!headers.contains_key("nt") && !headers.contains_key("callback"));
}

#[test]
fn leases_are_renewed_at_a_random_point_between_half_and_three_quarters() {
    for (timeout, lease_s) in [
        ("Second-1800", 1800),
        ("second-1800", 1800),
        ("1800", 1800),
        ("Second-0:30:00", 1800),
        ("Second-300", 300),
        ("Second-infinite", 1800),
        ("infinite", 1800),
        ("Second-1801", 1800),
        ("Second-86400", 1800),
        ("Second-99999999999999999999", 1800),
        ("Second-1", 10),
        ("Second-0", 10),
        ("Second-", 300),
        ("Second--5", 300),
        ("soon", 300),
        ("", 300),
    ] {
        let mut bench = asking();
        let subscribe = bench.take("SUBSCRIBE");
        bench.answer(&subscribe, granted("uuid:s1", timeout));
        bench.advance(Duration::from_millis(lease_s * 500 - 1));
        assert_eq!(bench.asked("SUBSCRIBE"), 0, "{timeout:?} too early");
        bench.advance(Duration::from_millis(lease_s * 250 + 1));
        assert_eq!(bench.take("SUBSCRIBE").request.headers()["sid"], "uuid:s1", "{timeout:?}");
    }
    let mut bench = asking();
    let subscribe = bench.take("SUBSCRIBE");
    let reply = http::Response::builder().header("SID", "x").body(Bytes::new()).unwrap();
    bench.answer(&subscribe, reply);
    bench.advance_s(226);
    assert_eq!(bench.asked("SUBSCRIBE"), 1, "no TIMEOUT at all");
}

#[test]
fn a_sid_without_uuid_and_a_false_boolean_are_taken_as_they_are() {
    let mut bench = asking();
    let subscribe = bench.take("SUBSCRIBE");
    let callback = callback_of(&subscribe);
    bench.answer(&subscribe, granted("3d1cf8be-aup", "1800"));
    assert_eq!(bench.notify(&callback, "3d1cf8be-aup", 0, property("Status", "False")), 200);
    assert_eq!(bench.delivered(), ["Status=False"]);
    assert_eq!(bench.notify(&callback, "uuid:3d1cf8be-aup", 1, property("Status", "1")), 412);
}

#[test]
fn events_are_delivered_in_order_and_repeats_dropped() {
    let (mut bench, callback) = Bench::with_light();
    for (seq, value) in [(1, "1"), (1, "1"), (2, "0"), (2, "0"), (3, "1")] {
        assert_eq!(bench.notify(&callback, "uuid:s1", seq, property("Status", value)), 200);
    }
    assert_eq!(bench.delivered(), ["Status=1", "Status=0", "Status=1"]);
    assert!(bench.requests.is_empty());
}

#[test]
fn a_gap_in_seq_delivers_gives_back_and_subscribes_afresh() {
    let (mut bench, callback) = Bench::with_light();
    assert_eq!(bench.notify(&callback, "uuid:s1", 2, property("Status", "1")), 200);
    assert_eq!(bench.count(is_lost), 1);
    assert_eq!(bench.delivered(), ["Status=1"]);
    let unsubscribe = bench.take("UNSUBSCRIBE");
    assert_eq!(unsubscribe.request.headers()["sid"], "uuid:s1");
    assert_eq!(bench.notify(&callback, "uuid:s1", 3, property("Status", "0")), 412);
    bench.answer(&unsubscribe, status(200));
    let subscribe = bench.take("SUBSCRIBE");
    assert!(subscribe.request.headers().contains_key("nt"));
    bench.answer(&subscribe, granted("uuid:s2", "Second-1800"));
    assert_eq!(bench.count(is_subscribed), 1);
    assert_eq!(bench.notify(&callback, "uuid:s2", 0, property("Status", "0")), 200);
    assert_eq!(bench.delivered(), ["Status=0"]);
}

#[test]
fn an_older_event_is_not_delivered_and_makes_a_fresh_start() {
    let (mut bench, callback) = Bench::with_light();
    for seq in 1..=5 {
        bench.notify(&callback, "uuid:s1", seq, property("Status", "1"));
    }
    bench.events.clear();
    assert_eq!(bench.notify(&callback, "uuid:s1", 3, property("Status", "old")), 200);
    assert!(bench.delivered().is_empty());
    assert_eq!(bench.asked("UNSUBSCRIBE"), 1);
}

#[test]
fn a_device_that_always_starts_at_seq_1_is_put_up_with_at_the_second_try() {
    let mut bench = asking();
    for (sid, round) in [("uuid:a", 0), ("uuid:b", 1)] {
        let subscribe = bench.take("SUBSCRIBE");
        let callback = callback_of(&subscribe);
        bench.answer(&subscribe, granted(sid, "Second-1800"));
        for seq in 1..=3 {
            let status = bench.notify(&callback, sid, seq, property("Status", "1"));
            assert_eq!(status, if round == 0 && seq > 1 { 412 } else { 200 });
        }
        if round == 0 {
            let unsubscribe = bench.take("UNSUBSCRIBE");
            bench.answer(&unsubscribe, status(200));
        }
    }
    assert_eq!(bench.delivered().len(), 4);
    assert!(bench.requests.is_empty());
}

#[test]
fn seq_wraps_to_1_and_also_to_0() {
    for after in [1, 0] {
        // The machine alone: no device sends four thousand million events in a test.
        use upnp::gena::subscriber::{Grant, NotifyHead, Order, Subscription, Verdict};
        let mut rng = fastrand::Rng::with_seed(1);
        let now = upnp::time::BootTime::ZERO;
        let sid = upnp::ids::Sid::parse("uuid:s").unwrap();
        let mut machine = Subscription::new(now);
        // A first gap makes the machine take the next start as it is.
        for start in [7, u32::MAX] {
            while let Some(order) = machine.next_order(now) {
                if order == Order::Subscribe {
                    break;
                }
            }
            let grant = Grant { sid: Some(sid.clone()), lease: Duration::from_secs(1800) };
            machine.granted(grant, now, &mut rng).unwrap();
            machine.notified(&NotifyHead { sid: sid.clone(), seq: start }, now, &mut rng);
        }
        let verdict = machine.notified(&NotifyHead { sid: sid.clone(), seq: after }, now, &mut rng);
        assert_eq!(verdict, Verdict::Deliver, "after wrap {after}");
        let verdict = machine.notified(&NotifyHead { sid: sid.clone(), seq: after + 1 }, now, &mut rng);
        assert_eq!(verdict, Verdict::Deliver);
    }
}

#[test]
fn a_notify_that_beats_the_reply_is_held_and_delivered_with_it() {
    let mut bench = asking();
    let subscribe = bench.take("SUBSCRIBE");
    let callback = callback_of(&subscribe);
    assert_eq!(bench.notify(&callback, "uuid:s1", 0, property("Status", "0")), 200);
    assert_eq!(bench.notify(&callback, "uuid:s1", 1, property("Status", "1")), 200);
    assert!(bench.delivered().is_empty());
    // The backlog is bounded.
    assert_eq!(bench.notify(&callback, "uuid:s1", 2, property("Status", "0")), 503);
    bench.answer(&subscribe, granted("uuid:s1", "Second-1800"));
    assert!(matches!(
        &bench.events[..],
        [ControlPointEvent::Subscribed { .. }, ControlPointEvent::Event { .. }, ControlPointEvent::Event { .. }]
    ));
    assert_eq!(bench.delivered(), ["Status=0", "Status=1"]);
}

#[test]
fn a_held_notify_of_another_subscription_or_host_is_not_delivered() {
    let mut bench = asking();
    let subscribe = bench.take("SUBSCRIBE");
    let callback = callback_of(&subscribe);
    let forged = Request::builder()
        .method("NOTIFY")
        .uri(&callback)
        .header("NT", "upnp:event")
        .header("NTS", "upnp:propchange")
        .header("SID", "uuid:s1")
        .header("SEQ", "0")
        .body(property("Status", "forged"))
        .unwrap();
    assert_eq!(bench.request_from(address(66), forged).unwrap(), 412);
    assert_eq!(bench.notify(&callback, "uuid:other", 0, property("Status", "other")), 200);
    bench.answer(&subscribe, granted("uuid:s1", "Second-1800"));
    assert!(bench.delivered().is_empty());
    assert_eq!(bench.notify(&callback, "uuid:s1", 0, property("Status", "0")), 200);
    assert_eq!(bench.delivered(), ["Status=0"]);
}

#[test]
fn a_notify_is_answered_by_the_statuses_of_uda() {
    let (mut bench, callback) = Bench::with_light();
    let all = [("NT", "upnp:event"), ("NTS", "upnp:propchange"), ("SID", "uuid:s1"), ("SEQ", "1")];
    let long = "x".repeat(XML_EVENT_BYTES_MAX + 1);
    let cases: &[(&str, &str, &str, &str, u16)] = &[
        // method, header, its value ("" to leave it out), body, status
        ("NOTIFY", "NT", "", "", 400),
        ("NOTIFY", "NTS", "", "", 400),
        ("NOTIFY", "NT", "upnp:rootdevice", "", 412),
        ("NOTIFY", "NTS", "ssdp:alive", "", 412),
        ("NOTIFY", "SID", "", "", 412),
        ("NOTIFY", "SID", "uuid:unknown", "", 412),
        ("NOTIFY", "SEQ", "", "", 400),
        ("NOTIFY", "SEQ", "one", "", 400),
        ("NOTIFY", "SEQ", "-1", "", 400),
        ("NOTIFY", "SEQ", "4294967296", "", 400),
        ("NOTIFY", "X", "y", &long, 413),
        ("GET", "X", "y", "", 405),
        ("POST", "X", "y", "", 405),
        ("SUBSCRIBE", "X", "y", "", 405),
    ];
    for (method, name, value, body, want) in cases {
        let mut request = Request::builder().method(*method).uri(&callback);
        for (n, v) in all {
            let v = if n == *name { value } else { v };
            if !v.is_empty() {
                request = request.header(n, v);
            }
        }
        let body = if body.is_empty() { property("Status", "1") } else { Bytes::copy_from_slice(body.as_bytes()) };
        let got = bench.request_from(address(1), request.body(body).unwrap()).unwrap();
        assert_eq!(got, *want, "{method} {name}: {value:?}");
    }
    assert!(bench.delivered().is_empty());
    for path in ["/callback/", "/callback/999999999", "/callback/x", "/callback/-1", "/callback/1/2"] {
        assert_eq!(bench.notify(path, "uuid:s1", 1, property("Status", "1")), 412, "{path}");
    }
    let elsewhere = Request::builder().method("NOTIFY").uri("/other").body(Bytes::new()).unwrap();
    assert_eq!(bench.request_from(address(1), elsewhere), None);
    // Nothing of this has cost the subscription anything.
    assert_eq!(bench.notify(&callback, "uuid:s1", 1, property("Status", "1")), 200);
    assert_eq!(bench.delivered(), ["Status=1"]);
}

#[test]
fn a_notify_over_http_1_0_without_host_is_taken() {
    let (mut bench, callback) = Bench::with_light();
    let request = Request::builder()
        .method("NOTIFY")
        .version(http::Version::HTTP_10)
        .uri(&callback)
        .header("nt", " upnp:event ")
        .header("nts", "upnp:propchange")
        .header("sid", "uuid:s1 ")
        .header("seq", " 1")
        .body(property("Status", "1"))
        .unwrap();
    assert_eq!(bench.request_from(address(1), request).unwrap(), 200);
    assert_eq!(bench.delivered(), ["Status=1"]);
}

#[test]
fn a_device_may_notify_from_another_of_its_addresses() {
    let (mut bench, callback) = Bench::with_light();
    let request = Request::builder()
        .method("NOTIFY")
        .uri(&callback)
        .header("NT", "upnp:event")
        .header("NTS", "upnp:propchange")
        .header("SID", "uuid:s1")
        .header("SEQ", "1")
        .body(property("Status", "1"))
        .unwrap();
    assert_eq!(bench.request_from("[fe80::2%2]:4000".parse().unwrap_or(address(99)), request).unwrap(), 200);
}

#[test]
fn an_unreadable_event_is_refused_and_the_next_one_taken() {
    let (mut bench, callback) = Bench::with_light();
    assert_eq!(bench.notify(&callback, "uuid:s1", 1, Bytes::from_static(b"<e:propertyset><oops>")), 400);
    assert_eq!(bench.notify(&callback, "uuid:s1", 2, property("Status", "1")), 200);
    assert_eq!(bench.delivered(), ["Status=1"]);
    assert!(bench.requests.is_empty());
}

#[test]
fn a_subscription_refused_with_any_status_is_asked_for_again() {
    // libupnp refuses with 400 what others refuse with 412; async_upnp_client the other way round.
    for code in [400, 404, 412, 500, 503] {
        let mut bench = asking();
        let subscribe = bench.take("SUBSCRIBE");
        bench.answer(&subscribe, status(code));
        assert_eq!(bench.count(is_lost), 1, "{code}");
        bench.advance_s(4);
        let subscribe = bench.take("SUBSCRIBE");
        assert!(subscribe.request.headers().contains_key("callback"), "{code}");
        bench.answer(&subscribe, granted("uuid:s1", "Second-1800"));
        assert_eq!(bench.count(is_subscribed), 1, "{code}");
    }
}

#[test]
fn a_renewal_answered_412_is_followed_by_a_subscription_at_once() {
    for failure in [Some(412), Some(400), Some(500), Some(404), None] {
        let (mut bench, callback) = Bench::with_light();
        bench.advance_s(1360);
        let renewal = bench.take("SUBSCRIBE");
        match failure {
            Some(code) => bench.answer(&renewal, status(code)),
            None => bench.fail(&renewal, HttpError::Timeout),
        }
        assert_eq!(bench.count(is_lost), 1);
        if bench.asked("UNSUBSCRIBE") > 0 {
            assert_ne!(failure, Some(412));
            let unsubscribe = bench.take("UNSUBSCRIBE");
            bench.answer(&unsubscribe, status(412));
        }
        let subscribe = bench.take("SUBSCRIBE");
        assert!(subscribe.request.headers().contains_key("callback"), "{failure:?}");
        bench.answer(&subscribe, granted("uuid:s2", "Second-1800"));
        assert_eq!(bench.notify(&callback, "uuid:s2", 0, property("Status", "1")), 200);
        assert_eq!((bench.count(is_subscribed), bench.delivered().len()), (1, 1));
    }
}

#[test]
fn failing_subscriptions_are_tried_ever_more_rarely_for_ever_and_told_once() {
    let mut bench = asking();
    let mut times = Vec::new();
    for attempt in 0..15 {
        let deadline = bench.now + Duration::from_secs(400);
        while bench.asked("SUBSCRIBE") == 0 {
            assert!(bench.now < deadline, "given up at attempt {attempt}");
            bench.advance_s(1);
        }
        if attempt % 5 == 0 {
            bench.hear(1, &alive(1, &[]));
        }
        times.push(bench.now);
        let subscribe = bench.take("SUBSCRIBE");
        match attempt % 3 {
            0 => bench.fail_to_connect(&subscribe),
            1 => bench.answer(&subscribe, status(503)),
            _ => bench.answer(&subscribe, http::Response::new(Bytes::new())),
        }
    }
    assert_eq!((bench.count(is_lost), bench.count(is_subscribed)), (1, 0));
    let gaps: Vec<_> = times.windows(2).map(|w| w[1].since(w[0]).as_secs()).collect();
    assert!(gaps[0] <= 3 && gaps[13] >= 220 && gaps[13] <= 301, "{gaps:?}");
}

#[test]
fn a_renewal_without_sid_keeps_the_old_one_and_with_another_takes_it() {
    let (mut bench, callback) = Bench::with_light();
    bench.advance_s(1360);
    let renewal = bench.take("SUBSCRIBE");
    bench.answer(&renewal, http::Response::builder().header("TIMEOUT", "Second-1800").body(Bytes::new()).unwrap());
    assert_eq!(bench.notify(&callback, "uuid:s1", 1, property("Status", "1")), 200);
    bench.hear(1, &alive(1, &[]));
    bench.advance_s(1360);
    let renewal = bench.take("SUBSCRIBE");
    bench.answer(&renewal, granted("uuid:new", "Second-1800"));
    assert_eq!(bench.notify(&callback, "uuid:new", 0, property("Status", "0")), 200);
    assert_eq!(bench.notify(&callback, "uuid:s1", 2, property("Status", "0")), 412);
}

#[test]
fn a_lease_that_ran_out_unseen_is_lost_and_asked_for_anew() {
    let (mut bench, _) = Bench::with_light();
    // The host slept: no timer fired.
    bench.now = bench.now + Duration::from_secs(1801);
    bench.hear(1, &alive(1, &[]));
    assert_eq!(bench.count(is_lost), 1);
    assert!(bench.take("SUBSCRIBE").request.headers().contains_key("callback"));
}

#[test]
fn waking_from_sleep_renews_at_once() {
    let (mut bench, _) = Bench::with_light();
    bench.now = bench.now + Duration::from_secs(600);
    bench.cp.resumed(bench.now);
    bench.drain();
    assert_eq!(bench.take("SUBSCRIBE").request.headers()["sid"], "uuid:s1");
}

#[test]
fn a_rebooted_device_is_subscribed_at_once_and_its_old_sid_unknown() {
    let (mut bench, callback) = Bench::with_light();
    bench.advance_s(60);
    bench.hear(1, &alive(1, &["BOOTID.UPNP.ORG: 2"]));
    let subscribe = bench.take("SUBSCRIBE");
    assert_ne!(callback_of(&subscribe), callback);
    assert_eq!((bench.asked("GET"), bench.asked("UNSUBSCRIBE")), (0, 0));
    assert_eq!(bench.notify(&callback, "uuid:s1", 1, property("Status", "1")), 412);
}

#[test]
fn a_missing_event_url_makes_the_description_read_again_if_it_is_old() {
    let mut bench = asking();
    let subscribe = bench.take("SUBSCRIBE");
    bench.answer(&subscribe, status(404));
    assert_eq!(bench.asked("GET"), 0, "the description is fresh");
    let (mut bench, _) = Bench::with_light();
    bench.advance_s(1360);
    let renewal = bench.take("SUBSCRIBE");
    bench.answer(&renewal, status(404));
    let get = bench.take("GET");
    bench.answer(&get, ok(description(1).replace("/switch/event", "/switch/event2")));
    assert_eq!(bench.count(is_ready), 1);
    // What is given back at the old URL is in nobody's way.
    let unsubscribe = bench.take("UNSUBSCRIBE");
    bench.answer(&unsubscribe, status(404));
    assert!(bench.requests.iter().any(|r| r.request.uri().path() == "/switch/event2"), "{:?}", bench.requests);
}

#[test]
fn stopping_gives_back_every_subscription_also_one_granted_meanwhile() {
    let mut bench = Bench::new();
    for n in 1..=40 {
        bench.hear(n, &alive(n, &[]));
    }
    while bench.asked("GET") > 0 {
        let get = bench.take("GET");
        let n = u32::from(get.to.port() == 8080)
            * (u32::from(match get.to.ip() {
                std::net::IpAddr::V4(a) => a.octets()[3],
                std::net::IpAddr::V6(_) => 0,
            }) - 1);
        bench.answer(&get, ok(description(n)));
    }
    assert_eq!(bench.asked("SUBSCRIBE"), 16, "slots");
    let mut asked = 0;
    while asked < 30 {
        let subscribe = bench.take("SUBSCRIBE");
        bench.answer(&subscribe, granted(&format!("uuid:{}", subscribe.to), "Second-1800"));
        asked += 1;
    }
    bench.cp.stop(bench.now);
    bench.drain();
    assert!(!bench.cp.idle());
    let mut given_back = 0;
    while let Some(request) = (!bench.requests.is_empty()).then(|| bench.requests.remove(0)) {
        if request.request.method() == "UNSUBSCRIBE" {
            given_back += 1;
            bench.answer(&request, status(200));
        } else {
            bench.answer(&request, granted(&format!("uuid:{}", request.to), "Second-1800"));
        }
    }
    assert_eq!(given_back, 40);
    assert!(bench.cp.idle());
    assert_eq!(bench.cp.poll_timeout(), None);
    bench.hear(77, &alive(77, &[]));
    assert!(bench.requests.is_empty());
}

#[test]
fn services_of_a_higher_version_are_subscribed_to() {
    let mut bench = Bench::new();
    bench.hear(1, &alive(1, &[]));
    let get = bench.take("GET");
    bench.answer(&get, ok(description(1).replace("SwitchPower:1", "SwitchPower:3")));
    let subscribe = bench.take("SUBSCRIBE");
    bench.answer(&subscribe, granted("uuid:s1", "Second-1800"));
    let told = bench.events.iter().find_map(|e| match e {
        ControlPointEvent::Subscribed { service_type, .. } => Some(service_type.to_string()),
        _ => None,
    });
    assert_eq!(told.unwrap(), SWITCH.replace(":1", ":3"));
}

#[test]
fn an_application_that_takes_no_events_slows_the_device_down() {
    let (mut bench, callback) = Bench::with_light();
    let local = ([10, 88, 0, 254], 50_000).into();
    let mut taken = 0;
    for seq in 1.. {
        let request = Request::builder()
            .method("NOTIFY")
            .uri(&callback)
            .header("NT", "upnp:event")
            .header("NTS", "upnp:propchange")
            .header("SID", "uuid:s1")
            .header("SEQ", seq.to_string())
            .body(property("Status", "1"))
            .unwrap();
        let incoming = upnp::net::IncomingRequest { peer: address(1), local, request };
        let status = bench.cp.handle_request(&incoming, bench.now).unwrap().status();
        if status == 503 {
            break;
        }
        taken += 1;
        assert!(taken <= EVENTS_QUEUED_MAX);
    }
    assert_eq!(taken, EVENTS_QUEUED_MAX);
}

fn multicast(n: u32, seq: u32, boot: &str, value: &str) -> Vec<u8> {
    let body = property("Status", value);
    let mut message = format!(
        "NOTIFY * HTTP/1.0\r\nHOST: 239.255.255.246:7900\r\nCONTENT-TYPE: text/xml; charset=\"utf-8\"\r\n\
         USN: {}::{SWITCH}\r\nSVCID: urn:upnp-org:serviceId:SwitchPower\r\nNT: upnp:event\r\nNTS: upnp:propchange\r\n\
         SEQ: {seq}\r\nLVL: upnp:/info\r\n{boot}CONTENT-LENGTH: {}\r\n\r\n",
        udn(n),
        body.len()
    )
    .into_bytes();
    message.extend_from_slice(&body);
    message
}

#[test]
fn multicast_events_are_delivered_once_in_their_own_count() {
    let (mut bench, callback) = Bench::with_light();
    let boot = "BOOTID.UPNP.ORG: 1\r\n";
    for (seq, value) in [(0, "1"), (0, "1"), (1, "0"), (0, "1"), (1, "0"), (5, "1")] {
        bench.datagram(Channel::Events, (crate::bench::ip(1), 7900).into(), &multicast(1, seq, boot, value));
    }
    let by_multicast = |e: &ControlPointEvent| matches!(e, ControlPointEvent::Event { multicast: true, .. });
    assert_eq!(bench.count(by_multicast), 3);
    assert_eq!(bench.delivered(), ["Status=1", "Status=0", "Status=1"]);
    // The subscription counts by itself.
    assert_eq!(bench.notify(&callback, "uuid:s1", 1, property("Status", "1")), 200);
    assert!(bench.requests.is_empty());
}

#[test]
fn multicast_events_of_strangers_and_of_an_earlier_boot_are_dropped() {
    let (mut bench, _) = Bench::with_light();
    let boot = "BOOTID.UPNP.ORG: 1\r\n";
    let from = |n| (crate::bench::ip(n), 7900).into();
    bench.datagram(Channel::Events, from(2), &multicast(1, 0, boot, "forged"));
    bench.datagram(Channel::Events, from(2), &multicast(2, 0, boot, "unknown"));
    bench.datagram(Channel::Events, from(1), &multicast(1, 0, "BOOTID.UPNP.ORG: 0\r\n", "old"));
    let unwanted = multicast(1, 0, boot, "x");
    let unwanted = String::from_utf8(unwanted).unwrap().replace(SWITCH, DIMMING);
    bench.datagram(Channel::Events, from(1), unwanted.as_bytes());
    bench.datagram(Channel::Events, from(1), &multicast(1, 0, boot, "x")[..200]);
    assert!(bench.delivered().is_empty());
    bench.datagram(Channel::Events, from(1), &multicast(1, 0, "", "1"));
    assert_eq!(bench.delivered(), ["Status=1"]);
}

#[test]
fn a_device_found_through_a_search_for_its_service_is_subscribed_to_all_that_is_wanted() {
    let mut bench = Bench::with(upnp::control_point::ControlPointConfig {
        targets: vec![Target::Type(urn(SWITCH))],
        subscribe: vec![urn(SWITCH), urn(DIMMING)],
        ..config()
    });
    bench.hear(1, &alive(1, &[&format!("NT: {SWITCH}"), &format!("USN: uuid:light-1::{SWITCH}")]));
    bench.serve_description(1);
    // One request at a time per device.
    let first = bench.take("SUBSCRIBE");
    assert_eq!(bench.asked("SUBSCRIBE"), 0);
    bench.answer(&first, granted("uuid:1", "Second-300"));
    let second = bench.take("SUBSCRIBE");
    assert_ne!((first.request.uri(), callback_of(&first)), (second.request.uri(), callback_of(&second)));
    bench.answer(&second, granted("uuid:2", "Second-300"));
    assert_eq!(bench.count(is_subscribed), 2);
}
