//! Finding devices and reading their descriptions.

use upnp::control_point::{ControlPointConfig, ControlPointEvent, ReadyCause};
use upnp::ids::Udn;
use upnp::net::{Channel, HttpError, Interface, InterfaceAddress};
use upnp::ssdp::GoneWhy;
use upnp::url::HttpUrl;

use crate::bench::{
    Bench, DIMMING, SWITCH, address, alive, byebye, config, description, description_of, eth0, ip, is_gone, is_lost,
    is_ready, ok, status, udn, urn,
};

fn causes(bench: &Bench) -> Vec<ReadyCause> {
    let cause = |e: &ControlPointEvent| match e {
        ControlPointEvent::Ready { cause, .. } => Some(*cause),
        _ => None,
    };
    bench.events.iter().filter_map(cause).collect()
}

#[test]
fn a_decent_device_is_read_once_and_ready() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.hear(1, &alive(1, &[]));
    }
    assert_eq!(bench.asked("GET"), 1);
    bench.serve_description(1);
    assert_eq!(causes(&bench), [ReadyCause::Appeared]);
    let known = bench.cp.device(&udn(1)).unwrap();
    assert_eq!((&*known.friendly_name, &*known.manufacturer, &*known.model_name), ("Lamp", "Maker", "Bulb"));
    assert_eq!(
        (known.boot_id, known.config_id, known.server.as_deref()),
        (Some(1), Some(1), Some("Linux/6.1 UPnP/1.1 light/1"))
    );
    assert_eq!(known.service(&urn(DIMMING)).unwrap().control_url.to_string(), "http://10.88.0.2:8080/dim/control");
    assert_eq!(bench.cp.local_address_toward(&udn(1)), Some([10, 88, 0, 254].into()));
}

#[test]
fn libupnp_announcing_twice_every_20_seconds_with_a_short_max_age_is_read_once_and_ages_out() {
    let mut bench = Bench::new();
    let changes = [
        "CACHE-CONTROL: max-age=100",
        "BOOTID.UPNP.ORG",
        "CONFIGID.UPNP.ORG",
        "SERVER: Linux/6.1, UPnP/1.0, Portable SDK for UPnP devices/17.2.0",
    ];
    let message = alive(1, &changes);
    bench.hear(1, &message);
    bench.serve_description(1);
    for _ in 0..60 {
        bench.advance_s(20);
        bench.hear(1, &message);
        bench.hear(1, &message);
        bench.requests.retain(|r| r.request.method() != "SUBSCRIBE");
    }
    assert_eq!((bench.asked("GET"), bench.count(is_ready), bench.count(is_gone)), (0, 1, 0));
    bench.advance_s(99);
    assert_eq!(bench.count(is_gone), 0);
    bench.advance_s(2);
    let gone = |e: &ControlPointEvent| matches!(e, ControlPointEvent::Gone { why: GoneWhy::Expired, .. });
    assert_eq!(bench.count(gone), 1);
}

#[test]
fn aup_announcing_one_type_every_30_seconds_is_kept() {
    let mut bench = Bench::new();
    bench.hear(1, &alive(1, &[]));
    bench.serve_description(1);
    for round in 0..200 {
        bench.advance_s(30);
        let nt = ["upnp:rootdevice", "uuid:light-1", "urn:schemas-upnp-org:device:BinaryLight:1"][round % 3];
        let usn = if nt.starts_with("uuid") { nt.to_owned() } else { format!("uuid:light-1::{nt}") };
        bench.hear(1, &alive(1, &[&format!("NT: {nt}"), &format!("USN: {usn}")]));
    }
    assert_eq!((bench.count(is_ready), bench.count(is_gone)), (1, 0));
}

#[test]
fn gupnp_with_bootid_minus_one_is_a_device_without_bootid() {
    let mut bench = Bench::new();
    let message = alive(1, &["BOOTID.UPNP.ORG: -1", "CONFIGID.UPNP.ORG: -1"]);
    bench.hear(1, &message);
    bench.serve_description(1);
    bench.advance_s(10);
    bench.hear(1, &message);
    assert_eq!((bench.cp.device(&udn(1)).unwrap().boot_id, bench.asked("GET"), bench.count(is_ready)), (None, 0, 1));
}

#[test]
fn a_device_without_bootid_that_leaves_and_returns_is_taken_for_rebooted_and_read_again() {
    let mut bench = Bench::new();
    let message = alive(1, &["BOOTID.UPNP.ORG", "CONFIGID.UPNP.ORG"]);
    bench.hear(1, &message);
    bench.serve_description(1);
    bench.advance_s(60);
    bench.hear(1, &byebye(1));
    bench.hear(1, &message);
    bench.advance_s(5);
    bench.serve_description(1);
    assert_eq!((causes(&bench), bench.count(is_gone)), (vec![ReadyCause::Appeared, ReadyCause::Rebooted], 0));
}

#[test]
fn wemo_with_an_odd_udn_and_no_namespace_is_read() {
    let mut bench = Bench::new();
    let udn = Udn::parse("uuid:Socket-1_0-38323636-4558-4dda-9188-cda0e6cc3dc0").unwrap();
    bench.hear(1, &alive(1, &[&format!("USN: {udn}::upnp:rootdevice"), "BOOTID.UPNP.ORG", "CONFIGID.UPNP.ORG"]));
    let get = bench.take("GET");
    bench.answer(&get, ok(description_of(&udn, "").replace(" xmlns=\"urn:schemas-upnp-org:device-1-0\"", "")));
    assert!(bench.cp.device(&udn).is_some());
}

#[test]
fn a_description_is_read_whatever_content_type_and_server_it_comes_with() {
    for headers in [
        &[][..],
        &[("Content-Type", "text/xml"), ("Server", "Linux/6.1, UPnP/1.0, Portable SDK for UPnP devices/17.2.0")],
        &[("Content-Type", "text/xml"), ("Server", "Python/3.11 aiohttp/3.9")],
        &[("Content-Type", "application/octet-stream"), ("Server", "")],
        &[("Content-Type", "text/html; charset=iso-8859-1")],
    ] {
        let mut bench = Bench::new();
        bench.hear(1, &alive(1, &[]));
        let get = bench.take("GET");
        let mut response = ok(description(1));
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        bench.answer(&get, response);
        assert_eq!(bench.count(is_ready), 1, "{headers:?}");
    }
}

#[test]
fn a_location_with_host_null_means_the_sender() {
    let mut bench = Bench::new();
    bench.hear(1, &alive(1, &["LOCATION: http://(null):49152/desc.xml"]));
    let get = bench.take("GET");
    assert_eq!(get.to, (ip(1), 49152).into());
    assert_eq!(get.request.headers()["host"], "10.88.0.2:49152");
}

#[test]
fn a_location_on_another_host_is_never_asked() {
    let mut bench = Bench::new();
    for location in [
        "http://10.88.0.99:8080/desc.xml",
        "http://127.0.0.1/x",
        "http://[::ffff:10.88.0.99]/",
        "http://evil.example/",
        "ftp://10.88.0.2/",
    ] {
        bench.hear(1, &alive(1, &[&format!("LOCATION: {location}")]));
    }
    assert!(bench.requests.is_empty());
}

#[test]
fn urls_are_read_relative_rooted_absolute_and_with_urlbase() {
    for (n, (more, control, want)) in [
        ("", "/switch/control", "http://10.88.0.HOST:8080/switch/control"),
        ("", "switch/control", "http://10.88.0.HOST:8080/switch/control"),
        ("", "http://10.88.0.HOST:9090/c?x=1", "http://10.88.0.HOST:9090/c?x=1"),
        ("<URLBase>http://10.88.0.HOST:9000/base/</URLBase>", "control", "http://10.88.0.HOST:9000/base/control"),
        ("<URLBase>http://10.88.0.77:9000/</URLBase>", "control", "http://10.88.0.HOST:8080/control"),
        (
            "<specVersion><major>9</major></specVersion><vendor:x xmlns:vendor=\"v\"><device/></vendor:x>",
            "control",
            "http://10.88.0.HOST:8080/control",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let n = n as u32 + 1;
        let mut bench = Bench::new();
        bench.hear(n, &alive(n, &[]));
        let get = bench.take("GET");
        let host = |s: &str| s.replace("HOST", &(n + 1).to_string());
        bench.answer(&get, ok(description_of(&udn(n), &host(more)).replace("/switch/control", &host(control))));
        let known = bench.cp.device(&udn(n)).unwrap_or_else(|| panic!("{more} {control}: {:?}", bench.events));
        assert_eq!(known.service(&urn(SWITCH)).unwrap().control_url.to_string(), host(want), "{more} {control}");
    }
}

#[test]
fn control_and_event_urls_on_another_host_are_not_used() {
    let mut bench = Bench::new();
    bench.hear(1, &alive(1, &[]));
    let get = bench.take("GET");
    let text =
        description(1).replace("/switch/control", "http://10.88.0.99/c").replace("/dim/event", "http://10.88.0.99/e");
    bench.answer(&get, ok(text));
    let known = bench.cp.device(&udn(1)).unwrap();
    assert!(known.service(&urn(SWITCH)).is_none());
    assert!(known.service(&urn(DIMMING)).unwrap().event_url.is_none());
    assert!(bench.requests.is_empty());
}

#[test]
fn a_description_of_another_device_is_refused() {
    let mut bench = Bench::new();
    bench.hear(1, &alive(1, &[]));
    let get = bench.take("GET");
    bench.answer(&get, ok(description(2)));
    let text = bench.events.iter().find_map(|e| match e {
        ControlPointEvent::DescriptionFailed { error, .. } => Some(error.clone()),
        _ => None,
    });
    assert!(text.unwrap().contains("uuid:light-2"));
    assert!(bench.cp.device(&udn(1)).is_none() && bench.cp.device(&udn(2)).is_none());
}

#[test]
fn an_embedded_device_that_was_announced_is_found_in_its_roots_description() {
    let mut bench = Bench::new();
    let inner = Udn::parse("uuid:inner").unwrap();
    bench.hear(1, &alive(1, &["USN: UUID:INNER::upnp:rootdevice"]));
    let get = bench.take("GET");
    let embedded = description_of(&inner, "");
    let embedded = &embedded[embedded.find("<device>").unwrap()..embedded.find("</root>").unwrap()];
    let text = description(1).replace("</serviceList>", &format!("</serviceList><deviceList>{embedded}</deviceList>"));
    bench.answer(&get, ok(text));
    let udn = Udn::parse("uuid:INNER").unwrap();
    assert_eq!(bench.cp.device(&udn).unwrap().services.len(), 2);
}

#[test]
fn failures_are_told_once_and_tried_again_ever_more_rarely() {
    let mut bench = Bench::new();
    bench.hear(1, &alive(1, &[]));
    let mut times = Vec::new();
    for answer in 0..12 {
        let deadline = bench.now + core::time::Duration::from_secs(400);
        while bench.asked("GET") == 0 {
            assert!(bench.now < deadline, "not tried again");
            bench.advance_s(1);
            if answer % 4 == 0 {
                bench.hear(1, &alive(1, &[]));
            }
        }
        times.push(bench.now);
        let get = bench.take("GET");
        match answer % 4 {
            0 => bench.fail_to_connect(&get),
            1 => bench.answer(&get, status(500)),
            2 => bench.answer(&get, ok("<root><device>")),
            _ => bench.fail(&get, HttpError::TooLarge),
        }
    }
    let failed = |e: &ControlPointEvent| matches!(e, ControlPointEvent::DescriptionFailed { .. });
    assert_eq!((bench.count(failed), bench.count(is_ready)), (1, 0));
    let gaps: Vec<_> = times.windows(2).map(|w| w[1].since(w[0]).as_secs()).collect();
    assert!(gaps[0] <= 6 && gaps[10] >= 200 && gaps[10] <= 301, "{gaps:?}");
    bench.advance_s(301);
    bench.hear(1, &alive(1, &[]));
    bench.serve_description(1);
    assert_eq!(bench.count(is_ready), 1);
}

#[test]
fn dead_devices_never_stall_the_rest() {
    let mut bench = Bench::new();
    for n in 100..140 {
        bench.hear(n, &alive(n, &[]));
    }
    // Nobody answers; after the first round half the slots are kept for newcomers.
    for _ in 0..20 {
        bench.advance_s(4);
        for get in core::mem::take(&mut bench.requests) {
            bench.fail(&get, HttpError::Timeout);
        }
    }
    bench.advance_s(60);
    assert!(bench.asked("GET") >= 1);
    let at_once = bench.asked("GET");
    assert!(at_once <= 4, "{at_once}");
    bench.hear(1, &alive(1, &[]));
    assert!(bench.requests.iter().any(|r| r.to == address(1)), "the live one is asked at once");
}

#[test]
fn a_host_with_many_devices_gets_two_fetches_at_a_time() {
    let mut bench = Bench::new();
    for n in 1..=50 {
        let location = format!("LOCATION: http://{}:{}/desc.xml", "10.88.0.9", 9000 + n);
        bench.datagram(Channel::Ssdp, ([10, 88, 0, 9], 1900).into(), alive(n, &[&location]).as_bytes());
    }
    assert_eq!(bench.asked("GET"), 2);
    bench.hear(60, &alive(60, &[]));
    assert_eq!(bench.asked("GET"), 3);
    let mut read = 0;
    while bench.asked("GET") > 0 {
        let get = bench.take("GET");
        let n = if get.to == address(60) { 60 } else { u32::from(get.to.port()) - 9000 };
        bench.answer(&get, ok(description(n)));
        read += 1;
    }
    assert_eq!((read, bench.count(is_ready)), (51, 51));
}

#[test]
fn a_reboot_with_the_same_configid_is_not_read_again_and_with_another_or_none_it_is() {
    let mut bench = Bench::new();
    bench.hear(1, &alive(1, &[]));
    bench.serve_description(1);
    bench.advance_s(60);
    bench.hear(1, &alive(1, &["BOOTID.UPNP.ORG: 2"]));
    assert_eq!((causes(&bench), bench.asked("GET")), (vec![ReadyCause::Appeared, ReadyCause::Rebooted], 0));
    bench.advance_s(60);
    bench.hear(1, &alive(1, &["BOOTID.UPNP.ORG: 3", "CONFIGID.UPNP.ORG: 2"]));
    bench.serve_description(1);
    assert_eq!((bench.count(is_ready), bench.cp.device(&udn(1)).unwrap().config_id), (3, Some(2)));

    let mut bench = Bench::new();
    bench.hear(1, &alive(1, &["CONFIGID.UPNP.ORG"]));
    bench.serve_description(1);
    bench.advance_s(60);
    bench.hear(1, &alive(1, &["BOOTID.UPNP.ORG: 2", "CONFIGID.UPNP.ORG"]));
    bench.serve_description(1);
    assert_eq!(causes(&bench), [ReadyCause::Appeared, ReadyCause::Rebooted]);
}

#[test]
fn a_device_on_another_port_is_read_and_subscribed_there() {
    let (mut bench, _) = Bench::with_light();
    bench.advance_s(60);
    bench.hear(1, &alive(1, &["LOCATION: http://10.88.0.2:49153/desc.xml"]));
    let get = bench.take("GET");
    assert_eq!(get.to.port(), 49153);
    bench.answer(&get, ok(description(1)));
    assert_eq!(causes(&bench), [ReadyCause::Moved]);
    assert_eq!(bench.take("SUBSCRIBE").to.port(), 49153);
}

#[test]
fn an_answer_from_before_the_reboot_is_not_believed() {
    let mut bench = Bench::new();
    bench.hear(1, &alive(1, &[]));
    let old = bench.take("GET");
    bench.advance_s(2);
    bench.hear(1, &alive(1, &["BOOTID.UPNP.ORG: 2"]));
    bench.answer(&old, ok(description(1).replace("Lamp", "Old")));
    assert_eq!(bench.count(is_ready), 0);
    bench.serve_description(1);
    assert_eq!(causes(&bench), [ReadyCause::Appeared]);
    assert_eq!(&*bench.cp.device(&udn(1)).unwrap().friendly_name, "Lamp");
}

#[test]
fn byebye_is_gone_without_unsubscribing() {
    let (mut bench, callback) = Bench::with_light();
    bench.hear(1, &byebye(1));
    bench.advance_s(2);
    let gone = |e: &ControlPointEvent| matches!(e, ControlPointEvent::Gone { why: GoneWhy::ByeBye, .. });
    assert_eq!((bench.count(gone), bench.requests.len()), (1, 0));
    assert_eq!(bench.notify(&callback, "uuid:s1", 1, crate::bench::property("Status", "1")), 412);
}

#[test]
fn a_device_the_application_never_heard_of_leaves_in_silence() {
    let mut bench = Bench::new();
    bench.hear(1, &alive(1, &[]));
    bench.hear(1, &byebye(1));
    bench.advance_s(3);
    assert!(bench.events.is_empty());
    let get = bench.take("GET");
    bench.answer(&get, ok(description(1)));
    assert!(bench.events.is_empty() && bench.cp.device(&udn(1)).is_none());
}

fn static_config() -> ControlPointConfig {
    ControlPointConfig {
        static_devices: vec![HttpUrl::parse("http://10.88.0.2:8080/desc.xml").expect("a valid URL")],
        ..config()
    }
}

#[test]
fn a_configured_device_is_read_and_subscribed_without_ssdp() {
    let mut bench = Bench::with(static_config());
    bench.serve_description(1);
    assert_eq!(causes(&bench), [ReadyCause::Appeared]);
    assert_eq!(bench.asked("SUBSCRIBE"), 1);
    bench.advance_s(4000);
    assert_eq!((bench.count(is_gone), bench.asked("GET")), (0, 0));
}

#[test]
fn a_configured_device_that_is_not_there_is_tried_on_and_told_once() {
    let mut bench = Bench::with(static_config());
    for _ in 0..5 {
        let get = bench.take("GET");
        bench.fail_to_connect(&get);
        bench.advance_s(301);
    }
    let failed = |e: &ControlPointEvent| matches!(e, ControlPointEvent::StaticFailed { .. });
    assert_eq!(bench.count(failed), 1);
    bench.serve_description(1);
    assert_eq!(bench.count(is_ready), 1);
}

#[test]
fn a_configured_device_that_dies_is_gone_after_three_tries_and_back_when_it_is_back() {
    let mut bench = Bench::with(static_config());
    bench.serve_description(1);
    let subscribe = bench.take("SUBSCRIBE");
    bench.fail_to_connect(&subscribe);
    for _ in 0..3 {
        let get = bench.take("GET");
        bench.fail_to_connect(&get);
        bench.advance_s(30);
    }
    assert_eq!(bench.count(is_gone), 1);
    bench.serve_description(1);
    assert_eq!(causes(&bench), [ReadyCause::Appeared, ReadyCause::Appeared]);
}

#[test]
fn a_configured_device_that_ssdp_finds_too_is_one_device() {
    let mut bench = Bench::with(static_config());
    bench.serve_description(1);
    bench.hear(1, &alive(1, &[]));
    bench.advance_s(5);
    assert_eq!((bench.count(is_ready), bench.asked("GET"), bench.asked("SUBSCRIBE")), (1, 0, 1));
    assert_eq!(bench.cp.device(&udn(1)).unwrap().boot_id, Some(1));
    bench.hear(1, &byebye(1));
    bench.advance_s(2);
    assert_eq!(bench.count(is_gone), 1);
    bench.advance_s(10);
    bench.serve_description(1);
    assert_eq!(bench.count(is_ready), 2);
}

#[test]
fn an_own_address_that_changes_makes_new_subscriptions_after_giving_back_the_old() {
    let (mut bench, _) = Bench::with_light();
    bench.advance_s(60);
    bench.cp.handle_interfaces(&[eth0([10, 88, 0, 200])], bench.now);
    bench.drain();
    bench.advance_s(2);
    let unsubscribe = bench.take("UNSUBSCRIBE");
    assert_eq!(unsubscribe.request.headers()["sid"], "uuid:s1");
    bench.answer(&unsubscribe, status(200));
    let subscribe = bench.take("SUBSCRIBE");
    assert!(
        subscribe.request.headers()["callback"].to_str().unwrap().starts_with("<http://10.88.0.200:50000/callback/")
    );
    assert_eq!(bench.count(is_lost), 0);
}

#[test]
fn waking_from_sleep_searches_and_tries_again_what_had_failed() {
    let mut bench = Bench::new();
    bench.hear(1, &alive(1, &[]));
    for _ in 0..6 {
        if bench.asked("GET") > 0 {
            let get = bench.take("GET");
            bench.fail_to_connect(&get);
        }
        bench.advance_s(30);
    }
    bench.requests.clear();
    bench.searches.clear();
    bench.cp.resumed(bench.now);
    bench.drain();
    assert!(bench.asked("GET") <= 1);
    bench.advance_s(1);
    assert!(!bench.searches.is_empty());
}

#[test]
fn a_link_local_device_is_asked_with_its_scope_and_told_a_callback_without() {
    let mut bench = Bench::new();
    let addresses = ["10.88.0.254", "fe80::fe"].map(|a| InterfaceAddress {
        address: a.parse().unwrap(),
        prefix_len: if a.starts_with("fe80") { 64 } else { 16 },
    });
    let both = Interface { addresses: addresses.to_vec(), ..eth0([10, 88, 0, 254]) };
    bench.cp.handle_interfaces(&[both], bench.now);
    bench.drain();
    let message = alive(1, &["LOCATION: http://[fe80::1]:8080/desc.xml"]);
    bench.datagram(Channel::Ssdp, "[fe80::1%2]:1900".parse().unwrap(), message.as_bytes());
    let get = bench.take("GET");
    assert_eq!(
        (get.to.to_string(), &get.request.headers()["host"]),
        ("[fe80::1%2]:8080".into(), &"[fe80::1]:8080".parse().unwrap())
    );
    bench.answer(&get, ok(description(1)));
    let subscribe = bench.take("SUBSCRIBE");
    assert_eq!(subscribe.to.to_string(), "[fe80::1%2]:8080");
    assert!(
        subscribe.request.headers()["callback"].to_str().unwrap().starts_with("<http://[fe80::fe]:50000/callback/")
    );
    assert_eq!(bench.cp.local_address_toward(&udn(1)), Some("fe80::fe".parse().unwrap()));
}
