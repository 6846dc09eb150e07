//! The control point side against forgers, floods and nonsense.

use proptest::prelude::*;
use upnp::ids::Udn;
use upnp::limits::{SSDP_DEVICES_MAX, SSDP_DEVICES_PER_SOURCE_MAX, SSDP_NEW_TOTAL_BURST};
use upnp::net::{Channel, Datagram, InterfaceId};
use upnp::ssdp::TrackerEvent;

use crate::wire::{APPLIANCE, Says, Watcher, appeared, at, dual_stack, interface, lan};

const HOUR: u64 = 3_600_000;

#[test]
fn a_byebye_in_the_name_of_another_host_is_not_believed() {
    let mut watcher = appeared();
    watcher.receive(&Says { from: "10.88.0.66:1900", ..Says::default() }.byebye());
    watcher.run(10_000);
    assert!(watcher.news().is_empty());
}

#[test]
fn a_location_on_another_host_is_not_believed_neither_for_new_nor_for_known_devices() {
    let mut watcher = appeared();
    for location in ["http://10.88.0.66:80/d.xml", "http://127.0.0.1:80/", "http://evil.example/", "nonsense"] {
        watcher.receive(&Says { location: Some(location), boot_id: Some("8"), ..Says::default() }.alive());
        watcher.receive(&Says { location: Some(location), udn: "uuid:other", ..Says::default() }.alive());
    }
    watcher.run(10_000);
    assert!(watcher.news().is_empty());
    assert_eq!(watcher.machine.len(), 1);
}

#[test]
fn a_location_on_null_is_read_as_the_sender() {
    let mut watcher = Watcher::new(&[APPLIANCE], &lan());
    watcher.receive(&Says { location: Some("http://(null):49152/d.xml"), ..Says::default() }.alive());
    assert_eq!(watcher.news(), ["appeared http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn only_neighbours_are_believed() {
    let mut watcher = Watcher::new(&[APPLIANCE], &lan());
    for from in ["203.0.113.5", "10.88.1.5", "10.88.0.255", "239.255.255.250"] {
        let (from, location) = (format!("{from}:1900"), format!("http://{from}:49152/d.xml"));
        let says = Says { from: &from, location: Some(&location), ..Says::default() };
        watcher.receive(&says.alive());
        watcher.receive(&says.answer());
    }
    let unknown = Datagram { interface: InterfaceId(9), ..Says::default().alive() };
    watcher.receive(&unknown);
    watcher.receive(&Datagram { channel: Channel::Events, ..Says::default().alive() });
    watcher.receive(&Datagram { multicast: true, ..Says::default().answer() });
    assert!(watcher.news().is_empty());
}

#[test]
fn a_static_host_on_another_network_is_asked_by_unicast_and_believed() {
    let mut watcher = Watcher::new(&[APPLIANCE], &lan());
    assert!(watcher.machine.search_host([192, 0, 2, 7].into(), watcher.now));
    watcher.run(2_000);
    let asked: Vec<_> = watcher.sent.iter().filter(|s| s.to() == "192.0.2.7:1900".parse().unwrap()).collect();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].header("HOST"), Some("192.0.2.7:1900"));
    let location = Some("http://192.0.2.7:49152/d.xml");
    watcher.receive(&Says { from: "192.0.2.7:1900", location, ..Says::default() }.answer());
    assert_eq!(watcher.news(), ["appeared http://192.0.2.7:49152/d.xml"]);
    watcher.sent.clear();
    watcher.run(HOUR);
    assert!(watcher.sent.iter().any(|s| s.to() == "192.0.2.7:1900".parse().unwrap()), "and asked again");
}

#[test]
fn a_static_host_named_before_there_is_any_interface_is_asked_when_there_is_one() {
    let mut watcher = Watcher::new(&[APPLIANCE], &[]);
    assert!(watcher.machine.search_host([10, 88, 0, 7].into(), watcher.now));
    watcher.run(60_000);
    assert!(watcher.sent.is_empty());
    watcher.interfaces(&lan());
    watcher.run(2_000);
    let unicast = watcher.sent.iter().filter(|s| s.to() == "10.88.0.7:1900".parse().unwrap()).count();
    assert_eq!((unicast, watcher.sent.len()), (3, 6));
}

#[test]
fn static_hosts_are_bounded_and_link_local_ones_get_their_scope() {
    let mut watcher = Watcher::new(&[APPLIANCE], &dual_stack());
    assert!(watcher.machine.search_host("fe80::9".parse().unwrap(), watcher.now));
    let taken = (0..200).filter(|n| watcher.machine.search_host([192, 0, 2, *n].into(), at(0))).count();
    assert_eq!(taken, 63);
    watcher.run(100);
    assert!(watcher.sent.iter().any(|s| s.to().to_string() == "[fe80::9%2]:1900"));
}

#[test]
fn a_flood_of_10_000_bogus_devices_is_bounded_and_the_known_ones_are_kept() {
    let house = interface(2, &["10.88.0.1/16"]);
    let mut watcher = Watcher::new(&["ssdp:all"], std::slice::from_ref(&house));
    let known: Vec<(String, String, String)> = (0..100)
        .map(|n| (format!("uuid:known-{n}"), format!("10.88.1.{n}:1900"), format!("http://10.88.1.{n}:80/d.xml")))
        .filter(|(_, from, _)| from != "10.88.1.255:1900")
        .collect();
    let say = |watcher: &mut Watcher| {
        for (udn, from, location) in &known {
            watcher.receive(&Says { udn, from, location: Some(location), ..Says::default() }.alive());
        }
    };
    say(&mut watcher);
    assert_eq!(watcher.news().len(), 100);
    for n in 0..10_000_u32 {
        let udn = format!("uuid:bogus-{n}");
        let host = format!("10.88.{}.{}", 16 + n / 250, 1 + n % 250);
        let (from, location) = (format!("{host}:1900"), format!("http://{host}:80/d.xml"));
        watcher.receive(&Says { udn: &udn, from: &from, location: Some(&location), ..Says::default() }.alive());
        watcher.run(20);
    }
    assert!(watcher.machine.len() <= SSDP_DEVICES_MAX);
    assert_eq!(watcher.news().len(), SSDP_DEVICES_MAX - 100);
    watcher.run(1_000_000);
    say(&mut watcher);
    watcher.run(1_000_000);
    for (udn, ..) in &known {
        assert!(watcher.machine.sighting(&Udn::parse(udn).unwrap()).is_some(), "{udn} was thrown out");
    }
    assert_eq!(watcher.machine.len(), 100, "the bogus ones went by themselves");
}

#[test]
fn a_flood_from_one_host_fills_only_its_own_share() {
    let mut watcher = Watcher::new(&["ssdp:all"], &lan());
    for n in 0..10_000 {
        let udn = format!("uuid:bogus-{n}");
        watcher.receive(&Says { udn: &udn, ..Says::default() }.alive());
        watcher.run(100);
    }
    assert_eq!(watcher.machine.len(), SSDP_DEVICES_PER_SOURCE_MAX);
    let location = Some("http://10.88.0.6:1/d.xml");
    watcher.receive(&Says { udn: "uuid:honest", from: "10.88.0.6:1900", location, ..Says::default() }.alive());
    assert!(watcher.machine.sighting(&Udn::parse("uuid:honest").unwrap()).is_some());
}

#[test]
fn a_burst_of_new_devices_is_bounded_in_total() {
    let mut watcher = Watcher::new(&["ssdp:all"], &[interface(2, &["10.88.0.1/16"])]);
    for n in 0..2_000_u32 {
        let udn = format!("uuid:bogus-{n}");
        let host = format!("10.88.{}.7", 1 + n % 200);
        let (from, location) = (format!("{host}:1900"), format!("http://{host}:80/d.xml"));
        watcher.receive(&Says { udn: &udn, from: &from, location: Some(&location), ..Says::default() }.alive());
    }
    assert_eq!(watcher.events.len(), SSDP_NEW_TOTAL_BURST as usize);
}

#[test]
fn a_house_of_160_devices_played_by_one_host_is_found_at_once() {
    let mut watcher = Watcher::new(&[APPLIANCE], &lan());
    for n in 0..160 {
        let (udn, location) = (format!("uuid:{n}"), format!("http://10.88.0.5:{}/d.xml", 50_000 + n));
        watcher.receive(&Says { udn: &udn, location: Some(&location), ..Says::default() }.alive());
    }
    assert_eq!(watcher.news().len(), 160);
}

#[test]
fn a_device_that_changes_all_the_time_gives_one_event_a_second_and_the_last_state() {
    let mut watcher = appeared();
    for n in 0..1_000 {
        let boot_id = format!("{}", 100 + n);
        watcher.receive(&Says { boot_id: Some(&boot_id), ..Says::default() }.alive());
        watcher.run(10);
    }
    watcher.run(2_000);
    assert!((10..=12).contains(&watcher.events.len()), "{} events", watcher.events.len());
    let Some(TrackerEvent::Rebooted(last)) = watcher.events.last() else { panic!("{:?}", watcher.events) };
    assert_eq!(last.boot_id, Some(1_099));
}

proptest! {
    #[test]
    fn no_datagram_and_no_order_of_calls_panics_the_tracker(
        calls in proptest::collection::vec(
            (0u8..12, 0u32..100_000, proptest::collection::vec(any::<u8>(), 0..64)), 0..80,
        ),
    ) {
        let mut watcher = Watcher::new(&["ssdp:all"], &[]);
        for (call, n, bytes) in calls {
            let boot = (n % 3).to_string();
            let (udn, location) = (format!("uuid:{}", n % 5), format!("http://10.88.0.{}:{}/", 5 + n % 3, 80 + n % 2));
            let from = format!("10.88.0.{}:1900", 5 + n % 3);
            let says = Says {
                udn: &udn, from: &from, location: Some(&location), boot_id: Some(&boot), ..Says::default()
            };
            match call {
                0 => watcher.interfaces(&lan()),
                1 => watcher.interfaces(&dual_stack()),
                2 => watcher.interfaces(&[]),
                3 => watcher.receive(&says.byebye()),
                4 => watcher.receive(&says.update(n % 4)),
                5 => watcher.receive(&Datagram { payload: bytes.into(), ..says.alive() }),
                6 => watcher.sleep(u64::from(n) * 100),
                7 => watcher.machine.resumed(watcher.now),
                8 => watcher.machine.forget(&Udn::parse(&udn).unwrap()),
                9 => watcher.machine.search(watcher.now),
                _ => watcher.receive(&says.alive()),
            }
            watcher.run(n.into());
        }
        // Whoever appears is told gone before he appears again, unless forgotten; nobody stays for ever.
        watcher.run(100_000_000);
        prop_assert!(watcher.machine.is_empty());
    }
}
