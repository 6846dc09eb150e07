//! The control point side: what real devices do, and what forgers try.

use std::net::IpAddr;
use std::time::Duration;

use upnp::ids::Udn;
use upnp::limits::SSDP_SEARCH_EVERY_MIN_S;
use upnp::net::{Datagram, InterfaceId};
use upnp::ssdp::{AdvertiserConfig, GoneWhy, Sighting, TrackerConfig, TrackerEvent};
use upnp::url::HttpUrl;

use crate::wire::{
    APPLIANCE, DEVICE, Device, POWER, Says, Watcher, appeared, carried, config, dual_stack, head, interface, lan, ms,
    tracker_config,
};

const HOUR: u64 = 3_600_000;

#[test]
fn a_search_leaves_at_start_three_times_to_every_group_for_every_target() {
    let mut watcher = Watcher::new(&[APPLIANCE, "upnp:rootdevice"], &dual_stack());
    watcher.run(2_000);
    assert_eq!(watcher.sent.len(), 3 * 3 * 2);
    assert!(ms(watcher.sent[0].at) <= 100);
    let want = head(&[
        "M-SEARCH * HTTP/1.1",
        "HOST: 239.255.255.250:1900",
        "MAN: \"ssdp:discover\"",
        "MX: 3",
        &format!("ST: {APPLIANCE}"),
        "USER-AGENT: Linux/6.1 UPnP/1.1 heg/0.1.0",
    ]);
    assert_eq!(watcher.sent[0].text(), want);
    assert_eq!(watcher.sent[2].header("HOST"), Some("[ff02::c]:1900"));
}

#[test]
fn a_search_is_repeated_periodically_with_some_jitter() {
    let mut watcher = Watcher::new(&[APPLIANCE], &lan());
    watcher.run(10 * HOUR);
    let times: Vec<u64> = watcher.sent[3..].iter().map(|s| ms(s.at)).collect();
    assert!((38..=42).contains(&times.len()), "{} searches in ten hours", times.len());
    assert!(times.windows(2).all(|w| (800_000..1_000_000).contains(&(w[1] - w[0]))));
}

#[test]
fn mx_and_the_time_between_searches_are_kept_in_bounds() {
    for (mx, want) in [(0, "1"), (1, "1"), (5, "5"), (9, "5")] {
        let fast = TrackerConfig { mx, search_every: Duration::ZERO, ..tracker_config(&[APPLIANCE]) };
        let mut watcher = Watcher::with(fast, &lan());
        watcher.run(HOUR);
        assert!(watcher.sent.iter().all(|s| s.header("MX") == Some(want)));
        let least = SSDP_SEARCH_EVERY_MIN_S as usize;
        assert!(watcher.sent.len() <= 3 + 3600 * 10 / (least * 9), "{} searches", watcher.sent.len());
    }
}

#[test]
fn searching_over_and_over_does_not_multiply_the_searches() {
    let mut watcher = Watcher::new(&[APPLIANCE], &lan());
    for _ in 0..1_000 {
        watcher.machine.search(watcher.now);
        watcher.run(10);
    }
    assert!((15..60).contains(&watcher.sent.len()), "{} searches in ten seconds", watcher.sent.len());
}

#[test]
fn a_device_appears_once_with_all_that_is_known_of_it() {
    let mut watcher = Watcher::new(&[APPLIANCE], &lan());
    for _ in 0..3 {
        watcher.receive(&Says { more: &["CONFIGID.UPNP.ORG: 12"], ..Says::default() }.alive());
        watcher.receive(&Says { nt: "upnp:rootdevice", ..Says::default() }.alive());
        watcher.receive(&Says { nt: DEVICE, ..Says::default() }.answer());
    }
    watcher.run(10_000);
    let sighting = Sighting {
        udn: Udn::parse(DEVICE).unwrap(),
        location: HttpUrl::parse("http://10.88.0.5:49152/d.xml").unwrap(),
        interface: InterfaceId(2),
        local: [10, 88, 0, 1].into(),
        boot_id: Some(7),
        config_id: Some(12),
        server: Some("Linux/5.10 UPnP/1.1 thing/1.0".into()),
    };
    assert_eq!(watcher.machine.sighting(&sighting.udn), Some(sighting.clone()));
    assert_eq!(watcher.events, [TrackerEvent::Appeared(sighting)]);
}

#[test]
fn only_devices_with_a_wanted_target_are_remembered() {
    for (wanted, nt, want) in [
        (APPLIANCE, APPLIANCE, 1),
        (APPLIANCE, "urn:heg-energy-org:device:ManagedAppliance:2", 1),
        ("urn:heg-energy-org:device:ManagedAppliance:2", APPLIANCE, 0),
        (APPLIANCE, POWER, 0),
        (POWER, POWER, 1),
        (APPLIANCE, "upnp:rootdevice", 0),
        ("upnp:rootdevice", "upnp:rootdevice", 1),
        ("uuid:4F2B7C1E-9D35-4A86-B0C7-2E61F8D94A03", DEVICE, 1),
        ("ssdp:all", "upnp:rootdevice", 1),
        ("ssdp:all", "roku:ecp", 0),
    ] {
        let mut watcher = Watcher::new(&[wanted], &lan());
        watcher.receive(&Says { nt, ..Says::default() }.alive());
        assert_eq!((watcher.events.len(), watcher.machine.len()), (want, want), "{nt} for {wanted}");
    }
}

#[test]
fn a_device_that_has_boot_id_minus_one_never_seems_to_reboot() {
    let mut watcher = Watcher::new(&[APPLIANCE], &lan());
    let gupnp = Says { boot_id: Some("-1"), ..Says::default() };
    for _ in 0..10 {
        watcher.receive(&gupnp.alive());
        watcher.run(60_000);
    }
    assert_eq!(watcher.news(), ["appeared http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn another_boot_id_is_a_reboot_and_the_same_one_is_not() {
    let mut watcher = appeared();
    watcher.receive(&Says::default().alive());
    assert!(watcher.news().is_empty());
    for _ in 0..3 {
        watcher.receive(&Says { boot_id: Some("8"), ..Says::default() }.alive());
        watcher.run(200);
    }
    assert_eq!(watcher.news(), ["rebooted http://10.88.0.5:49152/d.xml"]);
    watcher.run(60_000);
    // A device whose counter began anew.
    watcher.receive(&Says { boot_id: Some("1"), ..Says::default() }.alive());
    assert_eq!(watcher.news(), ["rebooted http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn a_late_copy_with_the_boot_id_before_is_no_reboot() {
    let mut watcher = appeared();
    watcher.receive(&Says { boot_id: Some("8"), ..Says::default() }.alive());
    watcher.run(300);
    watcher.receive(&Says { boot_id: Some("7"), ..Says::default() }.answer());
    watcher.run(10_000);
    assert_eq!(watcher.news(), ["rebooted http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn another_configuration_must_be_read_anew() {
    let mut watcher = appeared();
    watcher.receive(&Says { more: &["CONFIGID.UPNP.ORG: 1"], ..Says::default() }.alive());
    assert!(watcher.news().is_empty(), "one that was not known before is no change");
    watcher.receive(&Says { more: &["CONFIGID.UPNP.ORG: 2"], ..Says::default() }.alive());
    assert_eq!(watcher.news(), ["rebooted http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn the_boot_id_an_update_announced_is_no_reboot() {
    let mut watcher = appeared();
    watcher.receive(&Says::default().update(8));
    watcher.receive(&Says { boot_id: Some("8"), ..Says::default() }.alive());
    // A late copy of the update.
    watcher.receive(&Says::default().update(8));
    watcher.receive(&Says { boot_id: Some("8"), ..Says::default() }.alive());
    watcher.run(10_000);
    assert!(watcher.news().is_empty());
    let udn = Udn::parse(DEVICE).unwrap();
    assert_eq!(watcher.machine.sighting(&udn).unwrap().boot_id, Some(8));
    watcher.receive(&Says { boot_id: Some("9"), ..Says::default() }.alive());
    assert_eq!(watcher.news(), ["rebooted http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn an_update_from_a_boot_id_that_is_not_the_devices_excuses_nothing() {
    let mut watcher = appeared();
    watcher.receive(&Says { boot_id: Some("5"), ..Says::default() }.update(9));
    watcher.receive(&Says { boot_id: Some("9"), ..Says::default() }.alive());
    assert_eq!(watcher.news(), ["rebooted http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn back_on_another_port_or_path_is_a_move() {
    // WeMo plugs come back on 49152, 49153, 49154 as they like.
    let mut watcher = appeared();
    for (location, want) in [
        ("http://10.88.0.5:49153/d.xml", "moved http://10.88.0.5:49153/d.xml from 10.88.0.1"),
        ("http://10.88.0.5:49153/other.xml", "moved http://10.88.0.5:49153/other.xml from 10.88.0.1"),
    ] {
        watcher.receive(&Says { location: Some(location), ..Says::default() }.alive());
        watcher.receive(&Says { location: Some(location), ..Says::default() }.alive());
        assert_eq!(watcher.news(), [want]);
        watcher.run(5_000);
    }
}

#[test]
fn back_on_another_address_is_a_move_also_without_any_boot_id() {
    let mut watcher = appeared();
    watcher.receive(&elsewhere().alive());
    assert_eq!(watcher.news(), ["moved http://10.88.0.6:49152/d.xml from 10.88.0.1"]);
}

#[test]
fn a_device_with_two_addresses_on_one_network_does_not_flip_flop() {
    let mut watcher = appeared();
    let mut moves = 0;
    for _ in 0..20 {
        watcher.receive(&elsewhere().alive());
        watcher.receive(&Says::default().alive());
        watcher.run(600_000);
        moves += watcher.news().len();
    }
    assert_eq!(moves, 1, "only when the second address was heard of for the first time");
}

#[test]
fn a_dual_stack_device_is_one_device_and_stays_where_it_was_found() {
    let mut watcher = Watcher::new(&[APPLIANCE], &dual_stack());
    for _ in 0..20 {
        for says in dual_stack_device() {
            watcher.receive(&says.alive());
            watcher.receive(&Says { nt: "upnp:rootdevice", ..says }.answer());
        }
        watcher.run(600_000);
    }
    assert_eq!(watcher.news(), ["appeared http://10.88.0.5:49152/d.xml"]);
    assert_eq!(watcher.machine.len(), 1);
}

#[test]
fn when_one_way_to_a_device_expires_another_is_taken() {
    let mut watcher = Watcher::new(&[APPLIANCE], &dual_stack());
    let [four, link, wide] = dual_stack_device();
    for says in [&four, &link, &wide] {
        watcher.receive(&says.alive());
    }
    for _ in 0..4 {
        watcher.run(600_000);
        watcher.receive(&link.alive());
    }
    assert_eq!(
        watcher.news(),
        ["appeared http://10.88.0.5:49152/d.xml", "moved http://[fe80::5]:49152/d.xml from fe80::1"]
    );
    let at = watcher.machine.sighting(&Udn::parse(DEVICE).unwrap()).unwrap().location.address();
    assert_eq!(at.to_string(), "[fe80::5%2]:49152", "with the scope to connect with");
    watcher.run(1_900_000);
    assert_eq!(watcher.news(), ["gone Expired"]);
}

#[test]
fn an_address_lost_in_an_update_is_left_for_one_that_answers() {
    let mut watcher = Watcher::new(&[APPLIANCE], &dual_stack());
    let [four, link, _] = dual_stack_device();
    watcher.receive(&four.alive());
    watcher.receive(&link.alive());
    watcher.run(10_000);
    // IPv4 is gone; only IPv6 speaks.
    watcher.receive(&link.update(8));
    watcher.receive(&Says { boot_id: Some("8"), ..link }.alive());
    watcher.run(10_000);
    assert_eq!(
        watcher.news(),
        ["appeared http://10.88.0.5:49152/d.xml", "moved http://[fe80::5]:49152/d.xml from fe80::1"]
    );
}

#[test]
fn byebye_is_believed_after_a_second() {
    let mut watcher = appeared();
    watcher.receive(&Says::default().byebye());
    watcher.run(900);
    watcher.receive(&Says::default().byebye());
    assert!(watcher.news().is_empty());
    watcher.run(101);
    assert_eq!(watcher.news(), ["gone ByeBye"]);
    assert!(watcher.machine.is_empty());
    watcher.receive(&Says::default().alive());
    assert_eq!(watcher.news(), ["appeared http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn byebye_and_alive_within_a_second_is_a_reboot_only_if_the_boot_id_says_so() {
    for (boot_id, want) in [("7", vec![]), ("8", vec!["rebooted http://10.88.0.5:49152/d.xml"])] {
        let mut watcher = appeared();
        watcher.receive(&Says { boot_id: Some(boot_id), ..Says::default() }.byebye());
        watcher.run(800);
        watcher.receive(&Says { boot_id: Some(boot_id), ..Says::default() }.alive());
        watcher.run(60_000);
        assert_eq!(watcher.news(), want);
    }
}

#[test]
fn a_device_without_boot_id_that_leaves_and_is_back_has_started_anew() {
    // libupnp has no BOOTID; its subscriptions are gone after a restart and nothing else tells.
    let mut watcher = Watcher::new(&[APPLIANCE], &lan());
    let libupnp = Says { boot_id: None, max_age: Some(100), ..Says::default() };
    watcher.receive(&libupnp.alive());
    watcher.run(5_000);
    watcher.receive(&libupnp.byebye());
    watcher.run(200);
    watcher.receive(&libupnp.alive());
    watcher.receive(&libupnp.alive());
    watcher.run(60_000);
    assert_eq!(watcher.news(), ["appeared http://10.88.0.5:49152/d.xml", "rebooted http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn a_message_without_location_keeps_a_known_device_and_makes_no_new_one() {
    let mut watcher = Watcher::new(&[APPLIANCE], &lan());
    let bare = Says { location: None, ..Says::default() };
    watcher.receive(&bare.alive());
    assert!(watcher.news().is_empty());
    watcher.receive(&Says::default().alive());
    for _ in 0..10 {
        watcher.run(1_000_000);
        watcher.receive(&bare.alive());
    }
    assert_eq!(watcher.news(), ["appeared http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn a_device_is_gone_when_its_max_age_has_passed() {
    for (max_age, believed) in
        [(Some(100), 100), (Some(1800), 1800), (None, 1800), (Some(0), 60), (Some(u32::MAX), 86_400)]
    {
        let mut watcher = Watcher::new(&[APPLIANCE], &lan());
        watcher.receive(&Says { max_age, ..Says::default() }.alive());
        watcher.news();
        watcher.run(believed * 1000 - 1);
        assert!(watcher.news().is_empty(), "{max_age:?}");
        watcher.run(1);
        assert_eq!(watcher.news(), ["gone Expired"], "{max_age:?}");
    }
}

#[test]
fn one_message_of_any_name_keeps_the_device() {
    // async_upnp_client announces one name each 30 s, in turn.
    let mut watcher = Watcher::new(&[APPLIANCE], &lan());
    watcher.receive(&Says { max_age: Some(100), ..Says::default() }.alive());
    for n in 0..100 {
        watcher.run(30_000);
        let nt = ["upnp:rootdevice", DEVICE, APPLIANCE, POWER, "urn:x:service:unheard:1"][n % 5];
        watcher.receive(&Says { nt, max_age: Some(100), ..Says::default() }.alive());
    }
    assert_eq!(watcher.news(), ["appeared http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn max_age_runs_on_while_the_machine_sleeps_but_devices_get_a_moment_to_answer() {
    let mut watcher = appeared();
    watcher.receive(&Says { udn: "uuid:silent", ..Says::default() }.alive());
    watcher.run(1_000);
    watcher.news();
    watcher.sent.clear();
    watcher.sleep(2 * HOUR);
    assert!(watcher.news().is_empty());
    watcher.run(2_000);
    assert_eq!(watcher.sent.len(), 3, "it asks who is there");
    watcher.receive(&Says::default().answer());
    watcher.run(10_000);
    let silent = TrackerEvent::Gone { udn: Udn::parse("uuid:silent").unwrap(), why: GoneWhy::Expired };
    assert_eq!(watcher.events, [silent]);
}

#[test]
fn resumed_asks_at_once_and_spares_who_expired_during_sleep() {
    let mut watcher = appeared();
    watcher.sent.clear();
    watcher.now = watcher.now + Duration::from_secs(3 * 3600);
    watcher.machine.resumed(watcher.now);
    watcher.run(2_000);
    assert_eq!(watcher.sent.len(), 3);
    watcher.receive(&Says { boot_id: Some("8"), ..Says::default() }.answer());
    watcher.run(60_000);
    assert_eq!(watcher.news(), ["rebooted http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn our_own_new_address_moves_the_callback() {
    let mut watcher = appeared();
    watcher.interfaces(&[interface(2, &["10.88.0.99/24"])]);
    assert_eq!(watcher.news(), ["moved http://10.88.0.5:49152/d.xml from 10.88.0.99"]);
    watcher.receive(&Says::default().alive());
    assert!(watcher.news().is_empty());
}

#[test]
fn a_lost_interface_is_left_for_another_way_and_does_not_make_devices_gone() {
    let mut watcher = Watcher::new(&[APPLIANCE], &[lan(), vec![interface(3, &["10.88.0.2/24"])]].concat());
    let first = Says::default().alive();
    watcher.receive(&first);
    for _ in 0..10 {
        watcher.receive(&Datagram { interface: InterfaceId(3), ..first.clone() });
        watcher.receive(&first);
    }
    watcher.run(10_000);
    assert_eq!(watcher.news(), ["appeared http://10.88.0.5:49152/d.xml"], "two ways to one device, one of them in use");
    watcher.interfaces(&[interface(3, &["10.88.0.2/24"])]);
    assert_eq!(watcher.news(), ["moved http://10.88.0.5:49152/d.xml from 10.88.0.2"]);
    watcher.interfaces(&[]);
    watcher.run(10_000);
    watcher.interfaces(&[interface(3, &["10.88.0.2/24"])]);
    watcher.receive(&Datagram { interface: InterfaceId(3), ..first });
    watcher.run(10_000);
    assert!(watcher.news().is_empty(), "back as it was");
}

#[test]
fn a_device_heard_on_another_interface_after_its_own_was_lost_has_moved() {
    let mut watcher = appeared();
    watcher.interfaces(&[interface(3, &["10.88.0.2/24"])]);
    watcher.receive(&Datagram { interface: InterfaceId(3), ..Says::default().alive() });
    assert_eq!(watcher.news(), ["moved http://10.88.0.5:49152/d.xml from 10.88.0.2"]);
}

#[test]
fn a_new_interface_is_searched_and_the_old_one_left_alone() {
    let mut watcher = appeared();
    watcher.sent.clear();
    watcher.interfaces(&[lan(), vec![interface(3, &["192.0.2.1/24"])]].concat());
    watcher.run(5_000);
    assert_eq!(watcher.sent.len(), 3);
    assert!(watcher.sent.iter().all(|s| s.transmit.interface == InterfaceId(3)));
}

#[test]
fn a_forgotten_device_appears_anew() {
    let mut watcher = appeared();
    watcher.machine.forget(&Udn::parse(DEVICE).unwrap());
    watcher.run(HOUR);
    assert!(watcher.news().is_empty(), "nobody is told what he did himself");
    watcher.receive(&Says::default().alive());
    assert_eq!(watcher.news(), ["appeared http://10.88.0.5:49152/d.xml"]);
}

#[test]
fn our_device_is_seen_by_our_tracker_through_its_whole_life() {
    let house = [interface(2, &["10.88.0.9/24", "fe80::9/64", "2001:db8::9/64"])];
    for seed in 0..20 {
        let mut watcher = Watcher::with(TrackerConfig { seed, ..tracker_config(&[APPLIANCE]) }, &house);
        let mut device = Device::new(AdvertiserConfig { seed, ..config() }, &dual_stack());
        together(&mut device, &mut watcher, 60_000);
        let [TrackerEvent::Appeared(found)] = &watcher.events.split_off(0)[..] else { panic!("not found") };
        assert_eq!(found.boot_id, Some(7));

        together(&mut device, &mut watcher, 24 * HOUR);
        assert!(watcher.news().is_empty(), "a day in peace");

        device.interfaces(&[interface(2, &["10.88.0.77/24"])]);
        together(&mut device, &mut watcher, 60_000);
        assert_eq!(watcher.news(), ["moved http://10.88.0.77:49152/description.xml from 10.88.0.9"]);

        device.resumed();
        together(&mut device, &mut watcher, 60_000);
        assert_eq!(watcher.news(), ["rebooted http://10.88.0.77:49152/description.xml"]);

        device.stop();
        together(&mut device, &mut watcher, 60_000);
        assert_eq!(watcher.news(), ["gone ByeBye"]);
    }
}

#[test]
fn a_restart_of_our_device_is_one_reboot_and_never_gone() {
    let mut watcher = Watcher::new(&[APPLIANCE], &[interface(2, &["10.88.0.9/24"])]);
    let mut device = Device::new(config(), &lan());
    together(&mut device, &mut watcher, 10_000);
    watcher.news();
    // Killed without a word, and started again.
    let mut device = Device::new(AdvertiserConfig { boot_id: 8, ..config() }, &lan());
    together(&mut device, &mut watcher, 10_000);
    assert_eq!(watcher.news(), ["rebooted http://10.88.0.1:49152/description.xml"]);
}

/// The same device at another address.
fn elsewhere() -> Says<'static> {
    Says { from: "10.88.0.6:1900", location: Some("http://10.88.0.6:49152/d.xml"), ..Says::default() }
}

/// One device on IPv4, link-local and wider IPv6.
fn dual_stack_device() -> [Says<'static>; 3] {
    [
        Says::default(),
        Says { from: "[fe80::5]:1900", location: Some("http://[fe80::5]:49152/d.xml"), ..Says::default() },
        Says { from: "[2001:db8::5]:1900", location: Some("http://[2001:db8::5]:49152/d.xml"), ..Says::default() },
    ]
}

/// Lets both run on one wire for a while, datagrams delivered at once.
fn together(device: &mut Device, watcher: &mut Watcher, ms: u64) {
    let start = device.now.max(watcher.now);
    let end = start + Duration::from_millis(ms);
    loop {
        deliver(device, watcher);
        let next = [device.machine.poll_timeout(), watcher.machine.poll_timeout()];
        let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= end) else { break };
        let next = next.max(device.now).max(watcher.now);
        device.run(next.since(device.now).as_millis() as u64);
        watcher.run(next.since(watcher.now).as_millis() as u64);
        // Milliseconds cut off: step over the rest.
        device.run(1);
        watcher.run(1);
    }
    device.run(end.since(device.now).as_millis() as u64);
    watcher.run(end.since(watcher.now).as_millis() as u64);
    deliver(device, watcher);
}

fn deliver(device: &mut Device, watcher: &mut Watcher) {
    for sent in std::mem::take(&mut watcher.sent) {
        let six = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 9]);
        let source = if sent.to().is_ipv4() { [10, 88, 0, 9].into() } else { six };
        device.receive(&carried(&sent, source));
    }
    for sent in std::mem::take(&mut device.sent) {
        let location = sent.header("LOCATION").and_then(|l| HttpUrl::parse(l).ok());
        let four = || [10, 88, 0, 77].into();
        let source = location.map_or_else(four, |l| l.address().ip());
        watcher.receive(&carried(&sent, source));
    }
}
