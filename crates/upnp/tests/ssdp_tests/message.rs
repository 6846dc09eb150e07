//! The parser against what real peers send, and against what nobody should.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use upnp::limits::{SSDP_DATAGRAM_BYTES_MAX, SSDP_TEXT_BYTES_MAX};
use upnp::ssdp::message::Presence;
use upnp::ssdp::{SsdpMessage, SsdpParseError, Target, parse};

use crate::wire::head;

#[test]
fn a_libupnp_alive_without_bootid_is_read() {
    let alive = alive(&[
        "HOST: 239.255.255.250:1900",
        "CACHE-CONTROL: max-age=100",
        "LOCATION: http://10.88.0.1:49152/tvdevicedesc.xml",
        "OPT: \"http://schemas.upnp.org/upnp/1/0/\"; ns=01",
        "01-NLS: 6a3f1c9e-1dd2-11b2-8f2c-a1b2c3d4e5f6",
        "NT: upnp:rootdevice",
        "NTS: ssdp:alive",
        "SERVER: Linux/6.18, UPnP/1.0, Portable SDK for UPnP devices/17.2.0",
        "X-User-Agent: redsonic",
        "USN: uuid:Upnp-TVEmulator-1_0-1234567890001::upnp:rootdevice",
    ]);
    assert_eq!(alive.target, Some(Target::RootDevice));
    assert_eq!(alive.udn.bare(), "Upnp-TVEmulator-1_0-1234567890001");
    assert_eq!(alive.max_age, Some(Duration::from_secs(100)));
    assert_eq!((alive.boot_id, alive.config_id, alive.search_port), (None, None, None));
}

#[test]
fn a_gupnp_bootid_of_minus_one_counts_as_none() {
    let alive = alive(&[
        "NT: upnp:rootdevice",
        "NTS: ssdp:alive",
        "USN: uuid:a::upnp:rootdevice",
        "BOOTID.UPNP.ORG: -1",
        "CONFIGID.UPNP.ORG: -1",
    ]);
    assert_eq!((alive.boot_id, alive.config_id), (None, None));
}

#[test]
fn a_wemo_answer_with_its_odd_udn_is_read() {
    let text = head(&[
        "HTTP/1.1 200 OK",
        "CACHE-CONTROL: max-age=86400",
        "DATE: Sun, 22 Nov 2026 10:00:00 GMT",
        "EXT:",
        "LOCATION: http://10.88.0.7:49153/setup.xml",
        "SERVER: Unspecified, UPnP/1.0, Unspecified",
        "ST: urn:Belkin:device:controllee:1",
        "USN: uuid:Socket-1_0-221517K0101769::urn:Belkin:device:controllee:1",
    ]);
    let Ok(SsdpMessage::Answer(answer)) = parse(text.as_bytes()) else { panic!("no answer") };
    assert_eq!(answer.udn.bare(), "Socket-1_0-221517K0101769");
    assert_eq!(answer.target, Some(Target::parse("urn:Belkin:device:controllee:1").unwrap()));
}

#[test]
fn a_location_on_null_means_the_sender() {
    let alive = alive(&["NT: uuid:a", "NTS: ssdp:alive", "USN: uuid:a", "LOCATION: http://(null):49152/d.xml"]);
    let url = alive.location.unwrap().resolve(IpAddr::from([10, 88, 0, 9])).unwrap();
    assert_eq!(url.to_string(), "http://10.88.0.9:49152/d.xml");
}

#[test]
fn a_location_on_any_other_host_than_the_sender_is_refused() {
    for location in [
        "http://10.88.0.10:49152/d.xml",
        "http://127.0.0.1:49152/d.xml",
        "http://[::ffff:127.0.0.1]:49152/d.xml",
        "http://device.example/d.xml",
        "https://10.88.0.9/d.xml",
        "http://10.88.0.9:0/d.xml",
        "http://10.88.0.9:65616/d.xml",
        "http://10.88.0.9@10.88.0.10/d.xml",
        "/d.xml",
    ] {
        let line = format!("LOCATION: {location}");
        let alive = alive(&["NT: uuid:a", "NTS: ssdp:alive", "USN: uuid:a", &line]);
        assert!(alive.location.unwrap().resolve([10, 88, 0, 9].into()).is_err(), "{location}");
    }
}

#[test]
fn names_in_any_case_spaces_and_missing_final_line_are_forgiven() {
    for text in [
        "NOTIFY * HTTP/1.1\r\nnt:uuid:a\r\nnts:   ssdp:alive  \r\nuSn:\tuuid:a\r\ncache-control: no-cache=\"Ext\", max-age = \"1801\"\r\n\r\n",
        "NOTIFY * HTTP/1.1\nNT: uuid:a\nNTS: ssdp:alive\nUSN: uuid:a\nCACHE-CONTROL: MAX-AGE=1801\n\n",
        "NOTIFY * HTTP/1.1\r\nNT: uuid:a\r\nNTS: ssdp:alive\r\nUSN: uuid:a\r\nCACHE-CONTROL:max-age=1801",
        "NOTIFY * HTTP/1.1\r\nNT: uuid:a\r\nNTS: ssdp:alive\r\nUSN: uuid:a\r\nCACHE-CONTROL:max-age=1801\r\n",
        "NOTIFY * HTTP/1.0\r\n: nameless\r\nNT: uuid:a\r\nNTS: ssdp:alive\r\nUSN: uuid:a\r\nCACHE-CONTROL: max-age=1801\r\n\r\n",
    ] {
        match parse(text.as_bytes()) {
            Ok(SsdpMessage::Alive(alive)) => assert_eq!(alive.max_age, Some(Duration::from_secs(1801)), "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn usn_and_nt_stand_in_for_each_other() {
    let only_usn = alive(&["NTS: ssdp:alive", "USN: uuid:a::urn:x:service:y:2"]);
    assert_eq!(only_usn.target, Some(Target::parse("urn:x:service:y:2").unwrap()));
    let only_nt = alive(&["NTS: ssdp:alive", "NT: uuid:a"]);
    assert_eq!(only_nt.udn.bare(), "a");
    let neither = notify(&["NTS: ssdp:alive", "NT: upnp:rootdevice"]);
    assert_eq!(neither, Err(SsdpParseError::Header("USN")));
}

#[test]
fn a_target_of_unknown_form_is_a_sign_of_life_all_the_same() {
    let alive = alive(&["NTS: ssdp:alive", "NT: roku:ecp", "USN: uuid:roku:ecp:P0A070000007"]);
    assert_eq!(alive.target, None);
}

#[test]
fn headers_of_reboot_and_search_port_are_read_within_their_ranges() {
    for (value, boot, port) in [
        ("1", Some(1), Some(1)),
        ("0", Some(0), None),
        ("2147483647", Some(2_147_483_647), None),
        ("49152", Some(49_152), Some(49_152)),
        ("65536", Some(65_536), None),
        ("99999999999", None, None),
        ("+1", None, None),
        ("0x10", None, None),
        ("", None, None),
    ] {
        let (b, p) = (format!("BOOTID.UPNP.ORG: {value}"), format!("SEARCHPORT.UPNP.ORG: {value}"));
        let alive = alive(&["NT: uuid:a", "NTS: ssdp:alive", "USN: uuid:a", &b, &p]);
        assert_eq!((alive.boot_id, alive.search_port), (boot, port), "{value}");
    }
}

#[test]
fn a_long_server_is_cut_at_a_character() {
    let line = format!("SERVER: {}", "é".repeat(SSDP_TEXT_BYTES_MAX));
    let alive = alive(&["NT: uuid:a", "NTS: ssdp:alive", "USN: uuid:a", &line]);
    assert_eq!(alive.server.unwrap().len(), SSDP_TEXT_BYTES_MAX);
}

#[test]
fn byebye_and_update_are_read() {
    let byebye = notify(&["NT: uuid:a", "NTS: ssdp:byebye", "USN: uuid:a", "BOOTID.UPNP.ORG: 3"]);
    assert!(matches!(byebye, Ok(SsdpMessage::ByeBye(b)) if b.boot_id == Some(3)));
    let update =
        notify(&["NT: uuid:a", "NTS: ssdp:update", "USN: uuid:a", "BOOTID.UPNP.ORG: 3", "NEXTBOOTID.UPNP.ORG: 4"]);
    assert!(matches!(update, Ok(SsdpMessage::Update(u)) if (u.boot_id, u.next_boot_id) == (Some(3), Some(4))));
}

#[test]
fn what_is_no_ssdp_message_is_an_error_with_its_reason() {
    let long_name = format!("uuid:{}", "A".repeat(1500));
    for (text, want) in [
        (head(&["GET / HTTP/1.1", "HOST: x"]), SsdpParseError::Request),
        (head(&["NOTIFY /path HTTP/1.1", "NTS: ssdp:alive", "USN: uuid:a"]), SsdpParseError::Request),
        (head(&["HTTP/1.1 404 Not Found", "USN: uuid:a"]), SsdpParseError::Status(404)),
        (head(&["NOTIFY * HTTP/1.1", "NT: uuid:a", "USN: uuid:a"]), SsdpParseError::Header("NTS")),
        (head(&["NOTIFY * HTTP/1.1", "NTS: ssdp:other", "USN: uuid:a"]), SsdpParseError::Header("NTS")),
        (head(&["NOTIFY * HTTP/1.1", "NTS: ssdp:alive", &format!("USN: {long_name}")]), SsdpParseError::Header("USN")),
        (head(&["M-SEARCH * HTTP/1.1", "MX: 1", "ST: ssdp:all"]), SsdpParseError::Header("MAN")),
        (head(&["M-SEARCH * HTTP/1.1", "MAN: ssdp:discover", "ST: ssdp:all"]), SsdpParseError::Header("MAN")),
        (head(&["M-SEARCH * HTTP/1.1", "MAN: \"ssdp:discover\"", "MX: 1"]), SsdpParseError::Header("ST")),
        ("x".repeat(SSDP_DATAGRAM_BYTES_MAX + 1), SsdpParseError::TooLong),
        (String::new(), SsdpParseError::Incomplete),
    ] {
        assert_eq!(parse(text.as_bytes()), Err(want), "{text}");
    }
    assert!(matches!(parse(b"\xff\xfe\x00\x01"), Err(SsdpParseError::Http(_))));
}

#[test]
fn names_long_enough_to_break_old_stacks_are_refused_not_kept() {
    // The stack overflows of libupnp 1.3 to 1.6.17 (CVE-2012-5958 to 5965) came through ST and USN.
    for st in [
        format!("uuid:schemas:device:{}:anything", "A".repeat(600)),
        format!("uuid:{}::upnp:rootdevice", "A".repeat(300)),
        format!("urn:schemas-upnp-org:service:{}:1", "A".repeat(300)),
        format!("urn:schemas:device:{}", ":".repeat(300)),
    ] {
        let text = head(&["M-SEARCH * HTTP/1.1", "MAN: \"ssdp:discover\"", "MX: 1", &format!("ST: {st}")]);
        assert!(matches!(parse(text.as_bytes()), Ok(SsdpMessage::Search(s)) if s.target.is_none()), "{st}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..2100)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_spoiled_message_never_panics_the_parser(
        at in 0usize..400, byte in any::<u8>(), cut in 0usize..400,
    ) {
        let mut text = head(&[
            "NOTIFY * HTTP/1.1",
            "HOST: 239.255.255.250:1900",
            "CACHE-CONTROL: max-age=1800",
            "LOCATION: http://10.88.0.1:49152/description.xml",
            "NT: urn:heg-energy-org:service:PowerManagement:1",
            "NTS: ssdp:alive",
            "USN: uuid:4f2b7c1e::urn:heg-energy-org:service:PowerManagement:1",
            "BOOTID.UPNP.ORG: 1",
        ])
        .into_bytes();
        let end = text.len();
        text[at % end] = byte;
        text.truncate(end - cut % end);
        if let Ok(SsdpMessage::Alive(alive)) = parse(&text) {
            let _ = alive.location.map(|l| l.resolve([10, 88, 0, 1].into()));
        }
    }

    #[test]
    fn header_values_of_any_text_are_read_without_panic(
        nt in ".{0,300}", usn in ".{0,300}", location in ".{0,300}", age in ".{0,40}",
    ) {
        let text = format!(
            "NOTIFY * HTTP/1.1\r\nNTS: ssdp:alive\r\nNT: {nt}\r\nUSN: {usn}\r\nLOCATION: {location}\r\nCACHE-CONTROL: {age}\r\n\r\n"
        );
        if let Ok(SsdpMessage::Alive(alive)) = parse(text.as_bytes()) {
            let _ = alive.location.map(|l| l.resolve([10, 88, 0, 1].into()));
        }
    }
}

fn notify(lines: &[&str]) -> Result<SsdpMessage, SsdpParseError> {
    parse(head(&[&["NOTIFY * HTTP/1.1"], lines].concat()).as_bytes())
}

fn alive(lines: &[&str]) -> Presence {
    match notify(lines) {
        Ok(SsdpMessage::Alive(alive)) => alive,
        other => panic!("{other:?}"),
    }
}
