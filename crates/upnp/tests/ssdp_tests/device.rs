//! The device side: UDA 1.1, sections 1.2 and 1.3.3, strictly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use upnp::ids::Udn;
use upnp::limits::{
    SSDP_ANSWERS_PER_SOURCE_BURST, SSDP_ANSWERS_TOTAL_BURST, SSDP_ANSWERS_TOTAL_EVERY_MS, SSDP_MAX_AGE_DEFAULT_S,
};
use upnp::net::{Channel, Datagram, Interface, InterfaceId};
use upnp::ssdp::{AdvertiserConfig, Announced};

use crate::wire::{
    APPLIANCE, DEVICE, Device, POWER, SERVER, Sent, config, datagram, dual_stack, head, interface, lan, ms, urn,
};

const FROM: &str = "10.88.0.254:50000";

#[test]
fn the_root_its_embedded_devices_and_their_services_are_announced_as_3_plus_2d_plus_k() {
    let embedded = Announced {
        udn: Udn::parse("uuid:embedded").unwrap(),
        device_type: urn("urn:schemas-upnp-org:device:BinaryLight:1"),
        service_types: vec![urn("urn:schemas-upnp-org:service:SwitchPower:1"); 2],
    };
    let mut device = Device::new(AdvertiserConfig { embedded: vec![embedded], ..config() }, &lan());
    device.run(5_000);
    let names: BTreeSet<String> = device
        .sent
        .iter()
        .filter(|s| s.is("ssdp:alive"))
        .map(|s| format!("{} | {}", s.header("NT").unwrap(), s.header("USN").unwrap()))
        .collect();
    let want: BTreeSet<String> = [
        format!("upnp:rootdevice | {DEVICE}::upnp:rootdevice"),
        format!("{DEVICE} | {DEVICE}"),
        format!("{APPLIANCE} | {DEVICE}::{APPLIANCE}"),
        format!("{POWER} | {DEVICE}::{POWER}"),
        format!("urn:heg-energy-org:service:ApplianceInfo:1 | {DEVICE}::urn:heg-energy-org:service:ApplianceInfo:1"),
        "uuid:embedded | uuid:embedded".to_owned(),
        "urn:schemas-upnp-org:device:BinaryLight:1 | uuid:embedded::urn:schemas-upnp-org:device:BinaryLight:1"
            .to_owned(),
        "urn:schemas-upnp-org:service:SwitchPower:1 | uuid:embedded::urn:schemas-upnp-org:service:SwitchPower:1"
            .to_owned(),
    ]
    .into();
    assert_eq!(names, want);
}

#[test]
fn an_alive_has_these_headers_and_no_searchport() {
    let mut device = Device::new(config(), &lan());
    device.run(1_000);
    let alive = device.sent.iter().find(|s| s.is("ssdp:alive")).unwrap();
    let want = head(&[
        "NOTIFY * HTTP/1.1",
        "HOST: 239.255.255.250:1900",
        "CACHE-CONTROL: max-age=1800",
        "LOCATION: http://10.88.0.1:49152/description.xml",
        "NT: upnp:rootdevice",
        "NTS: ssdp:alive",
        &format!("SERVER: {SERVER}"),
        &format!("USN: {DEVICE}::upnp:rootdevice"),
        "BOOTID.UPNP.ORG: 7",
        "CONFIGID.UPNP.ORG: 4711",
    ]);
    assert_eq!(alive.text(), want);
}

#[test]
fn an_answer_has_these_headers_and_no_date_and_goes_to_the_searchers_port() {
    let mut device = Device::settled(config(), &lan());
    device.receive(&search(FROM, "upnp:rootdevice", Some("1")));
    device.run(1_000);
    let [answer] = device.answers()[..] else { panic!("not one answer") };
    let want = head(&[
        "HTTP/1.1 200 OK",
        "CACHE-CONTROL: max-age=1800",
        "EXT: ",
        "LOCATION: http://10.88.0.1:49152/description.xml",
        &format!("SERVER: {SERVER}"),
        "ST: upnp:rootdevice",
        &format!("USN: {DEVICE}::upnp:rootdevice"),
        "BOOTID.UPNP.ORG: 7",
        "CONFIGID.UPNP.ORG: 4711",
    ]);
    assert_eq!(answer.text(), want);
    assert_eq!(answer.to(), FROM.parse().unwrap());
}

#[test]
fn the_first_alive_leaves_within_100_ms_and_a_byebye_goes_before_it() {
    for seed in 0..200 {
        let mut device = Device::new(AdvertiserConfig { seed, ..config() }, &dual_stack());
        device.run(5_000);
        let first = |nts| device.sent.iter().find(|s| s.is(nts)).map(|s| ms(s.at)).unwrap();
        assert!(first("ssdp:alive") < 100);
        for group in groups(&device.sent) {
            let here = device.sent.iter().filter(|s| s.to() == group);
            let order: Vec<bool> = here.map(|s| s.is("ssdp:byebye")).collect();
            let byebyes = order.iter().take_while(|bye| **bye).count();
            assert_eq!(byebyes, 5, "a byebye for each name, before the first alive");
            assert!(!order[byebyes..].contains(&true), "and none after it");
        }
    }
}

#[test]
fn every_multicast_is_sent_two_or_three_times_a_few_hundred_milliseconds_apart() {
    for seed in 0..50 {
        let mut device = Device::new(AdvertiserConfig { seed, ..config() }, &dual_stack());
        device.run(2_000_000);
        device.stop();
        device.run(1_000);
        let mut times: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
        for s in device.sent.iter().filter(|s| s.is("ssdp:alive") || ms(s.at) >= 2_000_000) {
            times.entry((s.to().to_string(), s.text().to_owned())).or_default().push(ms(s.at));
        }
        for (_, times) in times {
            // Copies are what follows within a second.
            for burst in times.chunk_by(|a, b| b - a < 1_000) {
                assert!((2..=3).contains(&burst.len()), "{burst:?}");
                assert!(burst.windows(2).all(|w| (200..=400).contains(&(w[1] - w[0]))), "{burst:?}");
            }
        }
    }
}

#[test]
fn a_max_age_below_1800_s_is_raised_to_it() {
    let mut device = Device::new(AdvertiserConfig { max_age: Duration::from_secs(60), ..config() }, &lan());
    device.run(1_000);
    assert!(
        device.sent.iter().filter(|s| s.is("ssdp:alive")).all(|s| s.header("CACHE-CONTROL") == Some("max-age=1800"))
    );
}

#[test]
fn the_refresh_comes_at_a_random_time_before_half_of_max_age() {
    let mut all = BTreeSet::new();
    for seed in 0..20 {
        let mut device = Device::new(AdvertiserConfig { seed, ..config() }, &lan());
        device.run(24 * 3600 * 1000);
        let mut starts: Vec<u64> = device.sent.iter().filter(|s| s.is("ssdp:alive")).map(|s| ms(s.at)).collect();
        starts.dedup_by(|b, a| *b - *a < 2_000);
        let intervals: Vec<u64> = starts.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(intervals.len() > 90 && intervals.iter().all(|i| (600_000..900_000).contains(i)), "{intervals:?}");
        all.extend(intervals);
    }
    assert!(all.len() > 1_000, "the times are random: only {} different", all.len());
}

#[test]
fn steady_traffic_of_a_dual_stack_appliance_stays_under_100_bit_per_second_on_the_wire() {
    let root = Announced {
        service_types: vec![
            urn(POWER),
            urn("urn:heg-energy-org:service:ApplianceInfo:1"),
            urn("urn:schemas-upnp-org:service:LowPowerDevice:1"),
            urn("urn:schemas-upnp-org:service:SwitchPower:1"),
        ],
        ..config().root
    };
    for (interfaces, bits_max) in [(lan(), 40.0), (dual_stack(), 100.0)] {
        for seed in 0..5 {
            let max_age = Duration::from_secs(SSDP_MAX_AGE_DEFAULT_S);
            let mut device =
                Device::new(AdvertiserConfig { root: root.clone(), max_age, seed, ..config() }, &interfaces);
            device.run(24 * 3600 * 1000);
            let bits = device.sent.iter().map(|s| bytes_on_the_wire(s) * 8).sum::<usize>() as f64 / (24.0 * 3600.0);
            assert!(bits < bits_max, "{bits:.1} bit/s");
        }
    }
}

#[test]
fn stop_says_byebye_for_every_name_on_every_group_and_nothing_is_answered_after_it() {
    let mut device = Device::settled(config(), &dual_stack());
    device.receive(&search(FROM, "ssdp:all", Some("5")));
    device.stop();
    assert_eq!(device.sent.len(), 15, "the first copy leaves at once");
    device.run(60_000);
    assert_eq!(device.sent.len(), 30);
    assert!(device.sent.iter().all(|s| s.is("ssdp:byebye") && s.header("LOCATION").is_none()));
    assert_eq!(device.machine.poll_timeout(), None);
    device.receive(&search(FROM, "ssdp:all", Some("1")));
    device.receive(&unicast_search(FROM, "ssdp:all"));
    device.interfaces(&lan());
    device.resumed();
    device.stop();
    device.run(3_600_000);
    assert_eq!(device.sent.len(), 30);
}

#[test]
fn a_device_without_interfaces_waits_and_starts_with_the_first_one() {
    let mut device = Device::new(config(), &[]);
    device.run(10_000);
    device.receive(&search(FROM, "ssdp:all", Some("1")));
    assert!(device.sent.is_empty() && device.machine.poll_timeout().is_none());
    device.interfaces(&lan());
    device.run(1_000);
    assert!(device.sent.iter().any(|s| s.is("ssdp:alive")));
    assert_eq!(device.machine.boot_id(), 7);
}

#[test]
fn search_targets_are_answered_as_the_table_says() {
    for (st, want) in [
        ("ssdp:all", 5),
        ("upnp:rootdevice", 1),
        (DEVICE, 1),
        ("uuid:4F2B7C1E-9D35-4A86-B0C7-2E61F8D94A03", 1),
        (APPLIANCE, 1),
        (POWER, 1),
        ("uuid:another", 0),
        ("urn:heg-energy-org:device:ManagedAppliance:2", 0),
        ("urn:heg-energy-org:service:ManagedAppliance:1", 0),
        ("urn:schemas-upnp-org:device:Basic:1", 0),
        ("urn:heg-energy-org:device:ManagedAppliance", 0),
        ("roku:ecp", 0),
        ("", 0),
    ] {
        let mut device = Device::settled(config(), &lan());
        device.receive(&search(FROM, st, Some("2")));
        device.run(6_000);
        assert_eq!(device.sent.len(), want, "{st}");
    }
}

#[test]
fn a_lower_version_is_answered_with_the_version_asked_for() {
    let root = Announced { service_types: vec![urn("urn:x:service:y:3")], ..config().root };
    for (version, want) in [(1, 1), (2, 1), (3, 1), (4, 0)] {
        let mut device = Device::settled(AdvertiserConfig { root: root.clone(), ..config() }, &lan());
        let st = format!("urn:x:service:y:{version}");
        device.receive(&search(FROM, &st, Some("1")));
        device.run(1_000);
        assert_eq!(device.sent.len(), want, "{st}");
        for answer in &device.sent {
            assert_eq!(answer.header("ST"), Some(&*st));
            assert_eq!(answer.header("USN"), Some(&*format!("{DEVICE}::{st}")));
        }
    }
}

#[test]
fn answers_are_spread_over_mx_which_counts_as_5_at_most() {
    for (mx, seconds) in [("1", 1), ("3", 3), ("5", 5), ("6", 5), ("120", 5), ("4294967295", 5)] {
        let mut delays = Vec::new();
        for seed in 0..400 {
            let mut device = Device::settled(AdvertiserConfig { seed, ..config() }, &lan());
            let asked = ms(device.now);
            device.receive(&search(FROM, "upnp:rootdevice", Some(mx)));
            device.run(10_000);
            delays.push(ms(device.sent[0].at) - asked);
        }
        let mean = delays.iter().sum::<u64>() / delays.len() as u64;
        assert!(delays.iter().all(|d| *d <= seconds * 1000), "MX {mx}");
        assert!((seconds * 430..seconds * 570).contains(&mean), "MX {mx}: mean {mean} ms");
        assert!(delays.iter().any(|d| *d < seconds * 100) && delays.iter().any(|d| *d > seconds * 900), "MX {mx}");
    }
}

#[test]
fn a_multicast_search_with_a_bad_or_missing_mx_is_ignored() {
    for mx in [None, Some("0"), Some("-1"), Some("x"), Some("1.5"), Some(""), Some("4294967296")] {
        let mut device = Device::settled(config(), &lan());
        device.receive(&search(FROM, "ssdp:all", mx));
        device.run(10_000);
        assert!(device.sent.is_empty(), "{mx:?}");
    }
}

#[test]
fn a_search_with_a_bad_or_missing_man_is_ignored() {
    for multicast in [true, false] {
        for man in ["MAN: ssdp:discover", "MAN: \"ssdp:other\"", "MAN: 'ssdp:discover'", "MAN:", "X: y"] {
            let mut device = Device::settled(config(), &lan());
            let text = head(&["M-SEARCH * HTTP/1.1", "HOST: 239.255.255.250:1900", man, "MX: 1", "ST: ssdp:all"]);
            device.receive(&datagram(FROM, multicast, &text));
            device.run(10_000);
            assert!(device.sent.is_empty(), "{man}");
        }
    }
}

#[test]
fn a_unicast_search_without_mx_is_answered_within_one_second() {
    for mx in [None, Some("5")] {
        let mut device = Device::settled(config(), &lan());
        let asked = ms(device.now);
        let multicast = search(FROM, "ssdp:all", mx);
        device.receive(&Datagram { multicast: false, ..multicast });
        device.run(10_000);
        assert_eq!(device.sent.len(), 5);
        assert!(device.sent.iter().all(|s| ms(s.at) - asked < 1_000));
    }
}

#[test]
fn only_neighbours_of_the_receiving_interface_are_answered() {
    let two = [interface(2, &["10.88.0.1/24", "fe80::1/64"]), interface(3, &["192.0.2.1/24"])];
    for (on, from, want) in [
        (2, "10.88.0.254:50000", 1),
        (2, "[fe80::9]:50000", 1),
        (2, "10.88.0.1:1900", 1),
        (3, "192.0.2.9:1900", 1),
        (2, "192.0.2.9:1900", 0),
        (3, "10.88.0.254:50000", 0),
        (2, "10.88.1.254:50000", 0),
        (2, "203.0.113.5:80", 0),
        (2, "10.88.0.255:1900", 0),
        (2, "10.88.0.254:0", 0),
        (2, "239.255.255.250:1900", 0),
        (9, "10.88.0.254:50000", 0),
    ] {
        for multicast in [true, false] {
            let mut device = Device::settled(config(), &two);
            let asked = search(from, "upnp:rootdevice", Some("1"));
            device.receive(&Datagram { interface: InterfaceId(on), multicast, ..asked });
            device.run(2_000);
            assert_eq!(device.sent.len(), want, "{from} on {on}");
            assert!(device.sent.iter().all(|s| s.transmit.interface == InterfaceId(on)));
        }
    }
    let mut device = Device::settled(config(), &two);
    device.receive(&Datagram { channel: Channel::Events, ..search(FROM, "ssdp:all", Some("1")) });
    device.run(2_000);
    assert!(device.sent.is_empty());
}

#[test]
fn location_names_the_address_toward_the_searcher() {
    let wide = interface(2, &["10.88.0.1/24", "172.16.0.1/16", "fe80::1/64", "2001:db8::1/64"]);
    let two = [wide, interface(3, &["192.0.2.1/24"])];
    for (on, from, location) in [
        (2, "10.88.0.9:50000", "http://10.88.0.1:49152/description.xml"),
        (2, "172.16.3.9:50000", "http://172.16.0.1:49152/description.xml"),
        (2, "[fe80::9]:50000", "http://[fe80::1]:49152/description.xml"),
        (2, "[2001:db8::9]:50000", "http://[2001:db8::1]:49152/description.xml"),
        (3, "192.0.2.9:50000", "http://192.0.2.1:49152/description.xml"),
    ] {
        let mut device = Device::settled(config(), &two);
        device.receive(&Datagram { interface: InterfaceId(on), ..search(from, "upnp:rootdevice", Some("1")) });
        device.run(2_000);
        assert_eq!(device.sent[0].header("LOCATION"), Some(location));
    }
}

#[test]
fn each_group_hears_a_location_of_its_own_scope() {
    let mut device = Device::new(config(), &dual_stack());
    device.run(5_000);
    let told: BTreeSet<(String, &str, &str)> = device
        .sent
        .iter()
        .filter(|s| s.is("ssdp:alive"))
        .map(|s| (s.to().to_string(), s.header("HOST").unwrap(), s.header("LOCATION").unwrap()))
        .collect();
    let want = [
        ("239.255.255.250:1900", "239.255.255.250:1900", "http://10.88.0.1:49152/description.xml"),
        ("[ff02::c%2]:1900", "[ff02::c]:1900", "http://[fe80::1]:49152/description.xml"),
        ("[ff05::c%2]:1900", "[ff05::c]:1900", "http://[2001:db8::1]:49152/description.xml"),
    ];
    assert_eq!(told, want.map(|(to, host, location)| (to.to_owned(), host, location)).into());
}

#[test]
fn copies_of_a_search_that_waits_for_its_answer_are_answered_once() {
    let mut device = Device::settled(config(), &lan());
    for _ in 0..3 {
        device.receive(&search(FROM, "ssdp:all", Some("5")));
    }
    device.run(6_000);
    assert_eq!(device.sent.len(), 5);
}

#[test]
fn a_flood_of_searches_from_one_source_is_answered_at_a_bounded_rate() {
    let mut device = Device::settled(config(), &lan());
    for n in 0..10_000_u32 {
        let from = format!("10.88.0.254:{}", 1024 + n);
        device.receive(&search(&from, "ssdp:all", Some("1")));
        device.run(1);
    }
    device.run(2_000);
    let allowed = SSDP_ANSWERS_PER_SOURCE_BURST as usize + 10_000 / 200;
    assert!(device.sent.len() <= allowed + 1, "{} answers", device.sent.len());
    device.sent.clear();
    device.receive(&search("10.88.0.9:1900", "upnp:rootdevice", Some("1")));
    device.run(1_000);
    assert_eq!(device.sent.len(), 1, "another source is served all the while");
}

#[test]
fn a_flood_of_searches_from_many_sources_is_bounded_in_total() {
    let mut device = Device::settled(config(), &[interface(2, &["10.0.0.1/8"])]);
    for n in 0..20_000_u32 {
        let from = format!("10.{}.{}.9:1900", 1 + n / 256 % 256, n % 256);
        device.receive(&search(&from, "ssdp:all", Some("1")));
        if n % 4 == 0 {
            device.run(1);
        }
    }
    device.run(10_000);
    let allowed = SSDP_ANSWERS_TOTAL_BURST as usize + 5_000 / SSDP_ANSWERS_TOTAL_EVERY_MS as usize;
    assert!(device.sent.len() <= allowed + 1, "{} answers", device.sent.len());
}

#[test]
fn boot_id_is_constant_in_repeats_and_has_31_bits() {
    let mut device =
        Device::new(AdvertiserConfig { boot_id: u32::MAX, config_id: u32::MAX, ..config() }, &dual_stack());
    device.run(24 * 3600 * 1000);
    assert!(device.sent.iter().all(|s| s.header("BOOTID.UPNP.ORG") == Some("2147483647")));
    assert!(device.sent.iter().all(|s| s.header("CONFIGID.UPNP.ORG") == Some("16777215")));
    device.resumed();
    assert_eq!(device.machine.boot_id(), 0, "the counter wraps within its bits");
}

#[test]
fn resume_announces_a_new_boot_id_within_100_ms_without_byebye_or_update() {
    let mut device = Device::settled(config(), &dual_stack());
    device.receive(&search(FROM, "ssdp:all", Some("5")));
    device.resumed();
    let resumed = ms(device.now);
    device.run(6_000);
    assert_eq!(device.machine.boot_id(), 8);
    assert!(ms(device.sent[0].at) - resumed < 100);
    assert!(device.sent.iter().all(|s| s.is("ssdp:alive") && s.header("BOOTID.UPNP.ORG") == Some("8")));
    assert_eq!(groups(&device.sent).len(), 3);
}

#[test]
fn before_an_address_change_counts_the_update_names_old_and_next_boot_id() {
    for seed in 0..100 {
        let mut device = Device::settled(AdvertiserConfig { seed, ..config() }, &lan());
        device.interfaces(&[interface(2, &["10.88.0.77/24"])]);
        device.run(5_000);
        let updates: Vec<&Sent> = device.sent.iter().filter(|s| s.is("ssdp:update")).collect();
        let alives: Vec<&Sent> = device.sent.iter().filter(|s| s.is("ssdp:alive")).collect();
        assert_eq!((updates.len(), alives.len(), device.sent.len()), (10, 15, 25));
        for update in &updates {
            assert_eq!(update.header("BOOTID.UPNP.ORG"), Some("7"));
            assert_eq!(update.header("NEXTBOOTID.UPNP.ORG"), Some("8"));
            assert_eq!(update.header("CONFIGID.UPNP.ORG"), Some("4711"));
        }
        assert!(updates.iter().all(|u| u.at < alives[0].at), "all updates go before the first alive");
        assert!(alives.iter().all(|a| a.header("BOOTID.UPNP.ORG") == Some("8")));
        assert!(device.sent.iter().all(|s| s.header("LOCATION") == Some("http://10.88.0.77:49152/description.xml")));
        assert_eq!(device.machine.boot_id(), 8);
    }
}

#[test]
fn a_new_interface_hears_alive_and_the_old_one_an_update_first() {
    let mut device = Device::settled(config(), &lan());
    let both: Vec<Interface> = [lan(), vec![interface(3, &["192.0.2.1/24"])]].concat();
    device.interfaces(&both);
    device.run(5_000);
    let on =
        |id, nts: &str| device.sent.iter().filter(|s| s.transmit.interface == InterfaceId(id) && s.is(nts)).count();
    assert_eq!((on(2, "ssdp:update"), on(3, "ssdp:update")), (10, 0));
    assert_eq!((on(2, "ssdp:alive"), on(3, "ssdp:alive")), (15, 15));
}

#[test]
fn an_address_that_is_back_within_a_moment_is_no_change() {
    let mut device = Device::settled(config(), &dual_stack());
    device.interfaces(&lan());
    device.run(100);
    device.interfaces(&dual_stack());
    device.run(10_000);
    assert!(device.sent.is_empty());
    assert_eq!(device.machine.boot_id(), 7);
}

#[test]
fn an_interface_that_only_goes_away_changes_nothing_for_the_others() {
    let mut device = Device::settled(config(), &[lan(), vec![interface(3, &["192.0.2.1/24"])]].concat());
    device.interfaces(&lan());
    device.run(10_000);
    assert!(device.sent.is_empty());
    device.receive(&search(FROM, "upnp:rootdevice", Some("1")));
    device.run(1_000);
    assert_eq!(device.sent.len(), 1);
}

#[test]
fn a_device_that_lost_all_interfaces_is_back_with_the_next_one() {
    let mut device = Device::settled(config(), &lan());
    device.interfaces(&[]);
    device.run(3 * 3_600_000);
    assert!(device.sent.is_empty());
    device.interfaces(&lan());
    device.run(2_000_000);
    assert!(device.sent.iter().all(|s| s.is("ssdp:alive") && s.header("BOOTID.UPNP.ORG") == Some("8")));
    assert!(device.sent.len() > 25, "and refreshes as before");
}

#[test]
fn a_flapping_link_is_announced_at_a_bounded_rate() {
    let mut device = Device::settled(config(), &lan());
    for n in 0..200 {
        device.interfaces(&[interface(2, &[if n % 2 == 0 { "10.88.0.2/24" } else { "10.88.0.3/24" }])]);
        device.run(300);
    }
    device.run(10_000);
    assert!(device.machine.boot_id() - 7 <= 31, "one change each two seconds of the minute at most");
    let last = device.sent.last().unwrap();
    assert_eq!(last.header("LOCATION"), Some("http://10.88.0.3:49152/description.xml"));
}

#[test]
fn what_is_no_search_is_ignored() {
    let mut device = Device::settled(config(), &lan());
    let alive = head(&["NOTIFY * HTTP/1.1", "NT: upnp:rootdevice", "NTS: ssdp:alive", "USN: uuid:a::upnp:rootdevice"]);
    for text in [alive.as_str(), "", "\r\n\r\n", "M-SEARCH * HTTP/1.1", "GET / HTTP/1.1\r\n\r\n"] {
        device.receive(&datagram(FROM, true, text));
    }
    device.run(10_000);
    assert!(device.sent.is_empty());
}

proptest! {
    #[test]
    fn no_datagram_and_no_order_of_calls_panics_the_advertiser(
        calls in proptest::collection::vec((0u8..7, any::<u16>(), proptest::collection::vec(any::<u8>(), 0..64)), 0..60),
    ) {
        let mut device = Device::new(config(), &[]);
        for (call, n, bytes) in calls {
            match call {
                0 => device.interfaces(&lan()),
                1 => device.interfaces(&dual_stack()),
                2 => device.interfaces(&[]),
                3 => device.receive(&search(FROM, "ssdp:all", Some("5"))),
                4 => device.receive(&Datagram { payload: bytes.into(), ..search(FROM, "ssdp:all", None) }),
                5 => device.resumed(),
                _ if n == 0 => device.stop(),
                _ => {}
            }
            device.run(n.into());
        }
        prop_assert!(device.sent.len() < 60 * 200);
    }
}

fn search(from: &str, st: &str, mx: Option<&str>) -> Datagram {
    let mut lines = vec!["M-SEARCH * HTTP/1.1".to_owned(), "HOST: 239.255.255.250:1900".to_owned()];
    lines.push("MAN: \"ssdp:discover\"".to_owned());
    lines.extend(mx.map(|mx| format!("MX: {mx}")));
    lines.push(format!("ST: {st}"));
    datagram(from, true, &head(&lines.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn unicast_search(from: &str, st: &str) -> Datagram {
    Datagram { multicast: false, ..search(from, st, None) }
}

fn groups(sent: &[Sent]) -> BTreeSet<std::net::SocketAddr> {
    sent.iter().map(Sent::to).collect()
}

/// Payload, UDP, IP, and an Ethernet frame with its checksum.
fn bytes_on_the_wire(sent: &Sent) -> usize {
    sent.transmit.payload.len() + 8 + if sent.to().is_ipv4() { 20 } else { 40 } + 18
}
