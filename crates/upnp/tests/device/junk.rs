//! Whatever comes in, no parser panics and nothing grows. The shapes that once broke other stacks come first.

use bytes::Bytes;
use http::StatusCode;
use proptest::prelude::*;
use upnp::description::Description;
use upnp::gena::propertyset;
use upnp::net::IncomingRequest;
use upnp::url::HttpUrl;
use upnp::{scpd, soap, xml};

use crate::fixture::*;

fn base() -> HttpUrl {
    HttpUrl::parse("http://192.0.2.9:80/desc.xml").unwrap()
}

/// Every reader of a document from the network.
fn read_all(bytes: &[u8]) {
    let _ = Description::parse(bytes, &base());
    let _ = scpd::parse(bytes);
    let _ = propertyset::parse(bytes);
    let _ = soap::parse_response(StatusCode::OK, bytes, "Get");
    let _ = soap::parse_response(StatusCode::INTERNAL_SERVER_ERROR, bytes, "Get");
    let _ = xml::parse(bytes, xml::Caps::SOAP_STRICT);
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static("text/xml"));
    headers.insert("soapaction", http::HeaderValue::from_static("urn:a#b"));
    let _ = soap::parse_request(&headers, bytes);
}

/// libupnp 1.3 to 1.6.17 (CVE-2012-5958 to -5965) copied these into arrays on the stack.
#[test]
fn overlong_names_overflow_nothing() {
    let long = "A".repeat(100_000);
    for name in
        [&*long, &format!("uuid:{long}"), &format!("uuid:schemas:device:{long}:1"), &format!("urn:{long}:service:x:1")]
    {
        let mut wire = Wire::new();
        let callback = "CALLBACK: <http://192.0.2.7:5000/>";
        assert_eq!(wire.status(&request("SUBSCRIBE", "/PowerManagement/event", &[&format!("SID: {name}")], "")), 412);
        assert_eq!(
            wire.status(&request("SUBSCRIBE", "/PowerManagement/event", &[callback, &format!("NT: {name}")], "")),
            412
        );
        let type_ = "CONTENT-TYPE: text/xml";
        let raw = request(
            "POST",
            "/PowerManagement/control",
            &[type_, &format!("SOAPACTION: \"{name}#x\"")],
            &envelope("<x/>"),
        );
        assert_eq!(wire.status(&raw), 500);
        let description = format!("<root><device><UDN>{name}</UDN><deviceType>{name}</deviceType></device></root>");
        assert!(Description::parse(description.as_bytes(), &base()).is_err());
    }
}

/// pupnp #177: a NULL dereference by SUBSCRIBE with a header cut short.
#[test]
fn a_malformed_subscribe_is_refused() {
    let mut wire = Wire::new();
    for headers in [
        &["CALLBACK: <", "NT: upnp:event"][..],
        &["CALLBACK: >", "NT: upnp:event"],
        &["CALLBACK: <http://", "NT: upnp:event"],
        &["CALLBACK: <http://>", "NT: upnp:event"],
        &["CALLBACK: <http://192.0.2.7:5000", "NT: upnp:event"],
        &["CALLBACK: <<http://192.0.2.7:5000/>>", "NT: upnp:event"],
        &["CALLBACK: <http://192.0.2.7:5000/><", "NT: upnp:event"],
        &["CALLBACK:", "NT:", "TIMEOUT:"],
        &["SID: uuid:", "TIMEOUT: Second-"],
    ] {
        assert_eq!(wire.status(&request("SUBSCRIBE", "/PowerManagement/event", headers, "")), 412, "{headers:?}");
    }
}

/// CVE-2016-8863: a SUBSCRIBE with a body of its own. CVE-2016-6255: a POST that becomes a file.
#[test]
fn bodies_where_none_belong_change_nothing() {
    let mut wire = Wire::new();
    let body = "x".repeat(10_000);
    let headers = ["CALLBACK: <http://192.0.2.7:5000/>", "NT: upnp:event"];
    assert_eq!(wire.status(&request("SUBSCRIBE", "/PowerManagement/event", &headers, &body)), 200);
    for method in ["POST", "PUT"] {
        assert_eq!(wire.status(&request(method, "/testfile", &[], &body)), 404, "{method}");
        assert_eq!(wire.status(&request(method, "/description.xml", &[], &body)), 405, "{method}");
    }
}

/// CVE-2019-12107: an event made larger than its buffer by long values.
#[test]
fn an_event_of_any_size_is_written_whole() {
    let mut wire = Wire::new();
    wire.device.handle_interfaces(&[eth0()], wire.now);
    wire.subscribe("/PowerManagement/event", "192.0.2.7:40000", "<http://192.0.2.7:5000/>");
    let long = "&".repeat(5_000);
    wire.set(&POWER, "LastRefusal", &long);
    wire.set(&POWER, "PowerState", &long);
    let first = wire.notifies().remove(0);
    assert_eq!(variables(&first)[1].1, long);
    assert!(wire.effects().is_empty(), "what fits no datagram is not cut");
}

/// CVE-2020-12695 (CallStranger), CVE-2021-33516 and CVE-2021-29462 (rebinding) and CVE-2026-41682 (port cut to 16 bits) are
/// rows of the probes; this holds the last one for every way in.
#[test]
fn ports_are_never_cut_to_16_bits() {
    for port in ["65536", "65616", "4294967376", "-1", "0", ""] {
        assert!(HttpUrl::parse(&format!("http://192.0.2.9:{port}/")).is_err());
        assert!(base().join(&format!("http://192.0.2.9:{port}/")).is_err());
    }
}

/// libtorrent #8714 and rebinding through a description: every URL stays on the host the description came from.
#[test]
fn a_description_cannot_send_us_to_another_host() {
    let of = |url_base: &str, control: &str| {
        let text = format!(
            "<root xmlns=\"urn:schemas-upnp-org:device-1-0\">{url_base}<device><deviceType>urn:a:device:b:1</deviceType>\
             <UDN>uuid:x</UDN><presentationURL>{control}</presentationURL><serviceList><service>\
             <serviceType>urn:a:service:b:1</serviceType><serviceId>urn:a:serviceId:b</serviceId><SCPDURL>{control}</SCPDURL>\
             <controlURL>{control}</controlURL><eventSubURL>{control}</eventSubURL></service></serviceList></device></root>"
        );
        Description::parse(text.as_bytes(), &base()).unwrap().root
    };
    for foreign in [
        "http://198.51.100.1/c",
        "http://127.0.0.1/c",
        "http://[::1]/c",
        "http://[::ffff:127.0.0.1]/c",
        "http://localhost/c",
        "//198.51.100.1/c",
        "https://192.0.2.9/c",
        "file:///etc/passwd",
        "http://192.0.2.9@198.51.100.1/c",
        "",
    ] {
        let root = of("", foreign);
        assert!(root.services.is_empty() && root.presentation_url.is_none(), "{foreign}");
        if !foreign.is_empty() {
            let root = of(&format!("<URLBase>{foreign}</URLBase>"), "c");
            assert_eq!(root.services[0].control_url.to_string(), "http://192.0.2.9:80/c", "{foreign}");
        }
    }
    let root = of("<URLBase>http://192.0.2.9:5000/dir/</URLBase>", "c");
    assert_eq!(root.services[0].control_url.to_string(), "http://192.0.2.9:5000/dir/c");
}

#[test]
fn what_real_devices_write_is_read() {
    // fauxmo and WeMo: no namespace, a UDN that is no UUID; a Latin-1 umlaut; a lone ampersand; unknown elements; NULs at
    // the end; a service without an event URL; one whose type is unusable.
    let mut text = b"<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\r\n<root><a:x xmlns:a=\"urn:a\"><b/></a:x><device>\
        <deviceType>urn:Belkin:device:controllee:1</deviceType><friendlyName> K\xfcche & Bad &copy; </friendlyName>\
        <UDN>uuid:Socket-1_0-38323636-4558-4dda-9188-cda0e6cc3dc0</UDN><unknown><deep/></unknown><serviceList>\
        <service><serviceType>urn:Belkin:service:basicevent:1</serviceType><serviceId/>\
        <controlURL>/upnp/control/basicevent1</controlURL><eventSubURL></eventSubURL></service>\
        <service><serviceType>nonsense</serviceType><controlURL>/x</controlURL></service></serviceList>\
        <deviceList><device><UDN>broken</UDN></device><device><deviceType>urn:a:device:c:1</deviceType><UDN>uuid:y</UDN>\
        </device></deviceList></device></root>"
        .to_vec();
    text.extend([0, 0]);
    let read = Description::parse(&text, &base()).unwrap();
    assert_eq!(read.root.friendly_name, "K\u{fc}che & Bad &copy;");
    assert_eq!(read.root.udn.bare(), "Socket-1_0-38323636-4558-4dda-9188-cda0e6cc3dc0");
    assert_eq!((read.root.services.len(), read.devices().count()), (1, 2));
    assert_eq!((&read.root.services[0].event_url, &read.root.services[0].scpd_url), (&None, &None));
}

#[test]
fn documents_beyond_the_caps_are_refused_and_cut() {
    let devices = "<device><deviceType>urn:a:device:b:1</deviceType><UDN>uuid:x</UDN></device>".repeat(100);
    let long = "x".repeat(10_000);
    let text = format!(
        "<root><device><deviceType>urn:a:device:b:1</deviceType><UDN>uuid:x</UDN><friendlyName>{long}</friendlyName>\
         <deviceList>{devices}</deviceList></device></root>"
    );
    let read = Description::parse(text.as_bytes(), &base()).unwrap();
    assert_eq!(read.devices().count(), upnp::limits::DEVICES_MAX);
    assert_eq!(read.root.friendly_name.len(), upnp::limits::DESCRIPTION_TEXT_BYTES_MAX);
    let large = format!("<root>{}</root>", " ".repeat(300_000));
    assert!(Description::parse(large.as_bytes(), &base()).is_err());
    for bad in [
        "<a>".repeat(30) + &"</a>".repeat(30),
        format!("<a>{}</a>", "<b/>".repeat(5000)),
        format!("<a {}/>", (0..20).map(|i| format!("a{i}=\"\" ")).collect::<String>()),
        "<!DOCTYPE a><a/>".to_owned(),
    ] {
        assert!(xml::parse(bad.as_bytes(), xml::Caps::DESCRIPTION).is_err(), "{}", &bad[..bad.len().min(60)]);
    }
}

fn markup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<".to_owned()),
        Just(">".to_owned()),
        Just("</".to_owned()),
        Just("/>".to_owned()),
        Just("&".to_owned()),
        Just(";".to_owned()),
        Just("&#x0;".to_owned()),
        Just("&amp;".to_owned()),
        Just("\"".to_owned()),
        Just("=".to_owned()),
        Just("<![CDATA[".to_owned()),
        Just("]]>".to_owned()),
        Just("<!--".to_owned()),
        Just("-->".to_owned()),
        Just("<?".to_owned()),
        Just("?>".to_owned()),
        Just("<!DOCTYPE".to_owned()),
        Just("xmlns:a".to_owned()),
        Just("<root>".to_owned()),
        Just("</root>".to_owned()),
        Just("<device>".to_owned()),
        Just("</device>".to_owned()),
        Just("<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">".to_owned()),
        Just("<s:Body>".to_owned()),
        Just("</s:Body>".to_owned()),
        Just("</s:Envelope>".to_owned()),
        Just("<e:property>".to_owned()),
        Just(":".to_owned()),
        "[a-z ]{0,5}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|p| p.concat())
}

fn any_value() -> impl Strategy<Value = String> {
    "[\\x20-\\x7e]{0,60}"
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_all(&bytes);
    }

    #[test]
    fn no_markup_makes_a_reader_panic(text in markup()) {
        read_all(text.as_bytes());
    }

    #[test]
    fn a_document_cut_or_changed_anywhere_does_not_panic(at in 0usize..4000, byte in any::<u8>(), cut in any::<bool>()) {
        let mut wire = Wire::new();
        for path in ["/description.xml", "/PowerManagement/scpd.xml"] {
            let mut body = wire.answer(&request("GET", path, &[], "")).into_body().to_vec();
            let at = at % body.len();
            if cut { body.truncate(at) } else { body[at] = byte }
            read_all(&body);
        }
    }

    #[test]
    fn no_request_makes_the_device_panic(
        method in prop_oneof!["GET|HEAD|POST|SUBSCRIBE|UNSUBSCRIBE|NOTIFY|M-SEARCH", "[A-Z]{1,9}"],
        path in prop_oneof!["/|/description.xml|/PowerManagement/(scpd.xml|control|event)", "/[\\x21\\x24-\\x3b\\x41-\\x5a]{0,30}"],
        headers in proptest::collection::vec(
            (prop_oneof!["host|nt|sid|callback|timeout|soapaction|content-type|origin"], any_value()), 0..8),
        own_host in any::<bool>(),
        body in markup(),
    ) {
        let mut builder = http::Request::builder().method(&*method).uri(&*path);
        if own_host {
            builder = builder.header("host", DEVICE);
        }
        for (name, value) in &headers {
            builder = builder.header(&**name, &**value);
        }
        if let Ok(request) = builder.body(Bytes::from(body)) {
            let mut wire = Wire::new();
            let incoming = IncomingRequest { peer: address(PEER), local: address(DEVICE), request };
            let _ = wire.device.handle_request(&incoming, at(1));
            prop_assert!(wire.device.subscribers() <= 1);
        }
    }

    #[test]
    fn any_text_survives_an_event_and_a_call(text in any::<String>()) {
        // XML 1.0 has no form for these characters: they arrive as U+FFFD.
        let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..);
        let expected: String = text.chars().map(|c| if legal(c) { c } else { '\u{fffd}' }).collect();
        let event = propertyset::write(&[("A", &text)]);
        prop_assert_eq!(&propertyset::parse(&event).unwrap()[0].1, &expected);
        let call = soap::write_response("urn:a:service:b:1", "Get", &[("A", &text)]);
        prop_assert_eq!(&soap::parse_response(StatusCode::OK, &call, "Get").unwrap()[0].1, &expected);
    }
}
