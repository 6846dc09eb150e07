//! The probes every stack was measured with, each with the one answer ours gives.

use crate::fixture::*;

/// `SUBSCRIBE` to PowerManagement with these headers.
fn subscribe(headers: &[&str]) -> String {
    request("SUBSCRIBE", "/PowerManagement/event", headers, "")
}

fn with_callback(callback: &str) -> String {
    subscribe(&[&format!("CALLBACK: {callback}"), "NT: upnp:event", "TIMEOUT: Second-1800"])
}

fn post(headers: &[&str], body: &str) -> String {
    request("POST", "/PowerManagement/control", headers, body)
}

const XML: &str = "CONTENT-TYPE: text/xml; charset=\"utf-8\"";
const NOTHING: &str = "SOAPACTION: \"urn:heg-energy-org:service:PowerManagement:1#Nothing\"";

fn nothing() -> String {
    envelope("<u:Nothing xmlns:u=\"urn:heg-energy-org:service:PowerManagement:1\"/>")
}

#[test]
fn a_callback_elsewhere_than_at_the_subscriber_is_412() {
    let mut wire = Wire::new();
    for (callback, why) in [
        ("<http://198.51.100.1:5000/>", "another network"),
        ("<http://192.0.2.8:5000/>", "another host of the network"),
        ("<http://192.0.2.1:49200/PowerManagement/control>", "the device itself"),
        ("<http://phone.home.arpa:5000/>", "a name"),
        ("<http://localhost:5000/>", "a name for itself"),
        ("<ftp://192.0.2.7:5000/>", "ftp"),
        ("<file:///etc/passwd>", "a file"),
        ("<http://127.0.0.1:5000/>", "loopback"),
        ("<http://[::1]:5000/>", "IPv6 loopback"),
        ("<http://[::ffff:127.0.0.1]:5000/>", "loopback in IPv6 clothes"),
        ("<http://0.0.0.0:5000/>", "nowhere"),
        ("<http://239.255.255.250:1900/>", "a group"),
        ("<http://255.255.255.255:5000/>", "broadcast"),
        ("<http://192.0.2.7:22/>", "a system port"),
        ("<http://192.0.2.7/>", "port 80"),
        ("<http://192.0.2.7:65536/>", "a port above 65535"),
        ("<http://192.0.2.7:70536/>", "a port that is 5000 when cut to 16 bits"),
        ("<http://192.0.2.7:5000@198.51.100.1:5000/>", "user information"),
        ("http://192.0.2.7:5000/", "no brackets"),
        ("<>", "nothing in the brackets"),
        ("", "nothing"),
    ] {
        assert_eq!(wire.status(&with_callback(callback)), 412, "{why}");
    }
    assert_eq!(wire.device.subscribers(), 0);
    assert!(wire.notifies().is_empty());
}

#[test]
fn a_subscription_with_wrong_or_mixed_headers_is_refused() {
    let mut wire = Wire::new();
    let callback = "CALLBACK: <http://192.0.2.7:5000/>";
    let sid = wire.subscribe("/PowerManagement/event", PEER, "<http://192.0.2.7:5000/>");
    let sid = format!("SID: {sid}");
    for (headers, status, why) in [
        (&[callback][..], 412, "no NT"),
        (&[callback, "NT: upnp:propchange"], 412, "wrong NT"),
        (&[callback, "NT:"], 412, "empty NT"),
        (&["NT: upnp:event"], 412, "no CALLBACK"),
        (&[], 412, "nothing at all"),
        (&[&*sid, callback, "NT: upnp:event"], 400, "SID with NT and CALLBACK"),
        (&[&*sid, callback], 400, "SID with CALLBACK"),
        (&[&*sid, "NT: upnp:event"], 400, "SID with NT"),
        (&["SID: uuid:11111111-2222-4333-8444-555555555555"], 412, "unknown SID"),
        (&["SID:"], 412, "empty SID"),
        (&["SID: \u{fc}"], 400, "SID that is no ASCII"),
        (&[&*sid, &*sid], 400, "two SIDs"),
        (&[callback, callback, "NT: upnp:event"], 400, "two CALLBACKs"),
        (&[callback, "NT: upnp:event", "NT: upnp:event"], 400, "two NTs"),
    ] {
        assert_eq!(wire.status(&subscribe(headers)), status, "{why}");
    }
    for (headers, status, why) in [
        (&["SID: uuid:11111111-2222-4333-8444-555555555555"][..], 412, "unknown SID"),
        (&[], 412, "no SID"),
        (&[&*sid, callback], 400, "SID with CALLBACK"),
        (&[&*sid, "NT: upnp:event"], 400, "SID with NT"),
        (&[&*sid], 200, "known SID"),
        (&[&*sid], 412, "SID that is gone"),
    ] {
        assert_eq!(wire.status(&request("UNSUBSCRIBE", "/PowerManagement/event", headers, "")), status, "{why}");
    }
}

#[test]
fn a_foreign_host_is_refused_whatever_the_method() {
    let mut wire = Wire::new();
    let good = [
        power_call("Nothing", ""),
        with_callback("<http://192.0.2.7:5000/>"),
        request("UNSUBSCRIBE", "/PowerManagement/event", &["SID: uuid:x"], ""),
        request("GET", "/description.xml", &[], ""),
        request("HEAD", "/PowerManagement/scpd.xml", &[], ""),
        request("GET", "/", &[], ""),
        request("GET", "/elsewhere", &[], ""),
        request("OPTIONS", "/PowerManagement/control", &[], ""),
    ];
    for host in [
        "attacker.example",
        "attacker.example:49200",
        "192.0.2.1.attacker.example:49200",
        "192.0.2.1",
        "192.0.2.1:80",
        "192.0.2.1:49201",
        "192.0.2.2:49200",
        "127.0.0.1:49200",
        "[::1]:49200",
        "localhost:49200",
        "192.0.2.1:49200@attacker.example",
        "3221225985:49200",
    ] {
        for raw in &good {
            assert_eq!(wire.status(&raw.replace(DEVICE, host)), 421, "{host}: {raw}");
        }
    }
    for raw in &good {
        let (none, empty) = (raw.replace("HOST: 192.0.2.1:49200\r\n", ""), raw.replace("192.0.2.1:49200", ""));
        let two = raw.replace("HOST:", "HOST: 192.0.2.1:49200\r\nHOST:");
        for (raw, why) in [(none, "none"), (empty, "empty"), (two, "two")] {
            assert_eq!(wire.status(&raw), 400, "{why}: {raw}");
        }
    }
    let absolute = request("GET", "http://attacker.example/description.xml", &[], "");
    assert_eq!(wire.status(&absolute), 421, "absolute target");
    assert_eq!(wire.device.subscribers(), 0);
}

#[test]
fn our_own_names_are_taken() {
    let mut wire = Wire::new();
    let get = request("GET", "/description.xml", &[], "");
    for host in [
        "192.0.2.1:49200",
        "washer.home.arpa",
        "Washer.Home.Arpa:49200",
        "washer.home.arpa.:8080",
        "[::ffff:192.0.2.1]:49200",
    ] {
        assert_eq!(wire.status(&get.replace(DEVICE, host)), 200, "{host}");
    }
    assert_eq!(wire.status(&request("GET", "http://192.0.2.1:49200/description.xml", &[], "")), 200);
    assert_eq!(wire.status("GET /description.xml HTTP/1.0\r\n\r\n"), 200, "HTTP/1.0 has no Host");
    assert_eq!(wire.status("GET /description.xml HTTP/1.0\r\nHOST: attacker.example\r\n\r\n"), 421);
    let six = |host: &str, wire: &mut Wire| {
        let raw = get.replace(DEVICE, host);
        answered(wire.send_from("[fe80::7%2]:40000".replace("%2", "").as_str(), "[fe80::1]:49200", &raw)).status()
    };
    assert_eq!(six("[fe80::1]:49200", &mut wire), 200);
    assert_eq!(six("[fe80::1%25eth0]:49200", &mut wire), 200);
    assert_eq!(six("[fe80::2]:49200", &mut wire), 421);
    assert_eq!(six("192.0.2.1:49200", &mut wire), 421, "the address of another request");
}

#[test]
fn a_page_of_another_site_is_refused() {
    let mut wire = Wire::new();
    for origin in ["http://attacker.example", "https://192.0.2.1:49200", "null", "http://192.0.2.1", "http://", ""] {
        let origin = format!("ORIGIN: {origin}");
        for raw in [
            request("GET", "/description.xml", &[&origin], ""),
            request("GET", "/", &[&origin], ""),
            post(&[XML, NOTHING, &origin], &nothing()),
            subscribe(&["CALLBACK: <http://192.0.2.7:5000/>", "NT: upnp:event", &origin]),
        ] {
            assert_eq!(wire.status(&raw), 403, "{raw}");
        }
    }
    assert_eq!(wire.status(&request("GET", "/description.xml", &["ORIGIN: http://192.0.2.1:49200"], "")), 200);
    assert_eq!(wire.status(&request("GET", "/description.xml", &["ORIGIN: http://washer.home.arpa"], "")), 200);
    let preflight = ["ORIGIN: http://attacker.example", "ACCESS-CONTROL-REQUEST-METHOD: POST"];
    assert_eq!(wire.status(&request("OPTIONS", "/PowerManagement/control", &preflight, "")), 403);
}

#[test]
fn an_unknown_action_is_500_with_401() {
    let response = Wire::new().answer(&power_call("Explode", ""));
    assert_eq!((response.status().as_u16(), error_code(&response)), (500, 401));
}

#[test]
fn a_body_that_names_another_service_or_action_than_its_header_is_500_with_401() {
    let mut wire = Wire::new();
    let ours = POWER.service_type;
    for (header, body, why) in [
        (
            format!("{ours}#Nothing"),
            "<u:Nothing xmlns:u=\"urn:attacker:service:PowerManagement:1\"/>".to_owned(),
            "namespace",
        ),
        (format!("{ours}#Nothing"), "<Nothing/>".to_owned(), "no namespace"),
        (format!("{ours}#Nothing"), "<u:Nothing/>".to_owned(), "undeclared prefix"),
        (format!("{ours}#Nothing"), format!("<u:GetPowerState xmlns:u=\"{ours}\"/>"), "action"),
        (format!("{ours}#GetPowerState"), format!("<u:Nothing xmlns:u=\"{ours}\"/>"), "action"),
        ("urn:a:service:b:1#Nothing".to_owned(), format!("<u:Nothing xmlns:u=\"{ours}\"/>"), "service"),
        (
            "urn:a:service:b:1#Nothing".to_owned(),
            "<u:Nothing xmlns:u=\"urn:a:service:b:1\"/>".to_owned(),
            "both, of another",
        ),
        (
            "urn:heg-energy-org:service:PowerManagement:2#Nothing".to_owned(),
            "<u:Nothing xmlns:u=\"urn:heg-energy-org:service:PowerManagement:2\"/>".to_owned(),
            "both, of a higher version",
        ),
        (
            "urn:heg-energy-org:service:PowerManagement:0#Nothing".to_owned(),
            "<u:Nothing xmlns:u=\"urn:heg-energy-org:service:PowerManagement:0\"/>".to_owned(),
            "both, of version 0",
        ),
    ] {
        let response = wire.answer(&post(&[XML, &format!("SOAPACTION: \"{header}\"")], &envelope(&body)));
        assert_eq!((response.status().as_u16(), error_code(&response)), (500, 401), "{why}: {header} {body}");
    }
}

#[test]
fn soapaction_may_lack_its_quotes_and_nothing_else() {
    let mut wire = Wire::new();
    wire.call(&post(&[XML, &NOTHING.replace('"', "")], &nothing()));
    for header in [
        "X: y",
        "SOAPACTION:",
        "SOAPACTION: \"\"",
        "SOAPACTION: \"urn:heg-energy-org:service:PowerManagement:1\"",
        "SOAPACTION: \"#Nothing\"",
        "SOAPACTION: \"urn:heg-energy-org:service:PowerManagement:1#\"",
        "SOAPACTION: \"urn:heg-energy-org:service:PowerManagement:1#Nothing",
        "SOAPACTION: \"urn:heg-energy-org:service:PowerManagement:1#Nothing#Nothing\"",
        "SOAPACTION: urn:a b#Nothing",
        "SOAPACTION: \"\u{fc}#Nothing\"",
    ] {
        assert_eq!(wire.status(&post(&[XML, header], &nothing())), 400, "{header}");
    }
    assert_eq!(wire.status(&post(&[XML, NOTHING, NOTHING], &nothing())), 400, "two of them");
}

#[test]
fn a_body_type_a_browser_sends_unasked_is_415() {
    let mut wire = Wire::new();
    for header in [
        "CONTENT-TYPE: text/plain",
        "CONTENT-TYPE: text/plain; charset=\"utf-8\"",
        "CONTENT-TYPE: application/x-www-form-urlencoded",
        "CONTENT-TYPE: multipart/form-data; boundary=text/xml",
        "CONTENT-TYPE: application/soap+xml",
        "CONTENT-TYPE: text/xml; charset=iso-8859-1",
        "CONTENT-TYPE: text/xmlx",
        "CONTENT-TYPE:",
        "X: y",
    ] {
        assert_eq!(wire.status(&post(&[header, NOTHING], &nothing())), 415, "{header}");
    }
    assert_eq!(wire.status(&post(&[XML, XML, NOTHING], &nothing())), 415, "two of them");
    for header in [
        "CONTENT-TYPE: text/xml",
        "CONTENT-TYPE: Text/XML;charset=UTF-8",
        "CONTENT-TYPE: text/xml; a=b; charset='utf-8'",
    ] {
        wire.call(&post(&[header, NOTHING], &nothing()));
    }
}

#[test]
fn a_body_that_is_no_envelope_with_one_action_is_400() {
    let mut wire = Wire::new();
    let deep = "<a>".repeat(5000);
    let twice = "<u:Nothing xmlns:u=\"urn:heg-energy-org:service:PowerManagement:1\"/>".repeat(2);
    for body in [
        "",
        "UUID=1",
        "{}",
        "<",
        "<s:Envelope",
        "<a></b>",
        "\0",
        &envelope(""),
        &envelope("text"),
        &envelope(&twice),
        &envelope("<u:Nothing").replace("</s:Body></s:Envelope>", ""),
        &nothing().replace(ENVELOPE, "http://www.w3.org/2003/05/soap-envelope"),
        &nothing().replace("s:Body", "s:Corpse"),
        &nothing().replace("Envelope", "Letter"),
        &nothing().replace("</s:Body>", "</s:Body><s:Body/>"),
        &(nothing() + "<a/>"),
        &(nothing() + "tail"),
        &nothing().replace("<?xml version=\"1.0\"?>", "<?xml version=\"1.0\" encoding=\"utf-16\"?>"),
        &nothing().replace("<u:Nothing ", "<u:Nothing a=\"1\" a=\"2\" "),
        &nothing().replace("<u:Nothing ", "<u:Nothing a=\"&b;\" "),
        &deep,
    ] {
        assert_eq!(wire.status(&post(&[XML, NOTHING], body)), 400, "{}", &body[..body.len().min(200)]);
    }
}

#[test]
fn any_doctype_is_400_and_nothing_is_expanded() {
    let mut wire = Wire::new();
    let mut bomb = String::from("<!DOCTYPE b [<!ENTITY a0 \"aaaaaaaaaa\">");
    for i in 1..9 {
        bomb += &format!("<!ENTITY a{i} \"{}\">", format!("&a{};", i - 1).repeat(10));
    }
    bomb += "]>";
    for doctype in [
        bomb.as_str(),
        "<!DOCTYPE x>",
        "<!doctype x>",
        "<!DOCTYPE x SYSTEM \"http://attacker.example/x.dtd\">",
        "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>",
    ] {
        let body = nothing().replace("<?xml version=\"1.0\"?>", &format!("<?xml version=\"1.0\"?>{doctype}"));
        assert_eq!(wire.status(&post(&[XML, NOTHING], &body)), 400, "{doctype}");
        let inside = nothing().replace("<s:Body>", &format!("<s:Body>{doctype}"));
        assert_eq!(wire.status(&post(&[XML, NOTHING], &inside)), 400, "inside: {doctype}");
    }
}

#[test]
fn a_body_beyond_the_cap_is_413() {
    let filler = "a".repeat(70_000);
    let body = nothing().replace("<s:Body>", &format!("<!--{filler}--><s:Body>"));
    assert_eq!(Wire::new().status(&post(&[XML, NOTHING], &body)), 413);
}

#[test]
fn paths_beside_ours_are_404() {
    let mut wire = Wire::new();
    for path in [
        "/../../etc/passwd",
        "/description.xml/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/PowerManagement/../description.xml",
        "//description.xml",
        "/description.xml/",
        "/Description.xml",
        "/PowerManagement",
        "/PowerManagement/",
        "/PowerManagement/control/x",
        "/powermanagement/scpd.xml",
        "/Other/scpd.xml",
        "/Quiet/event",
        "/favicon.ico",
        "/x",
    ] {
        for method in ["GET", "HEAD", "POST", "SUBSCRIBE", "PUT"] {
            assert_eq!(wire.status(&request(method, path, &[], "")), 404, "{method} {path}");
        }
    }
}

#[test]
fn a_wrong_method_is_405_and_names_the_right_ones() {
    let mut wire = Wire::new();
    for (path, allow, wrong) in [
        (
            "/description.xml",
            "GET, HEAD",
            &["POST", "PUT", "DELETE", "SUBSCRIBE", "NOTIFY", "OPTIONS", "TRACE", "get"][..],
        ),
        ("/PowerManagement/scpd.xml", "GET, HEAD", &["POST", "SUBSCRIBE", "OPTIONS"]),
        ("/", "GET, HEAD", &["POST", "PUT", "DELETE", "NOTIFY"]),
        ("/PowerManagement/control", "POST", &["GET", "HEAD", "M-POST", "PUT", "OPTIONS", "SUBSCRIBE"]),
        ("/PowerManagement/event", "SUBSCRIBE, UNSUBSCRIBE", &["GET", "HEAD", "POST", "NOTIFY", "OPTIONS"]),
    ] {
        for method in wrong {
            let response = wire.answer(&request(method, path, &[], ""));
            assert_eq!(response.status(), 405, "{method} {path}");
            assert_eq!(response.headers()["allow"], allow, "{method} {path}");
        }
    }
}

#[test]
fn every_answer_names_its_server_and_never_a_foreign_site() {
    let mut wire = Wire::new();
    for raw in [
        request("GET", "/description.xml", &[], ""),
        request("GET", "/description.xml", &["ORIGIN: http://a.example"], ""),
        request("PUT", "/", &[], ""),
        power_call("Explode", ""),
        with_callback("<http://192.0.2.7:5000/>"),
        with_callback("<http://192.0.2.8:5000/>"),
    ] {
        let response = wire.answer(&raw);
        assert_eq!(response.headers()["server"], SERVER, "{raw}");
        assert!(!response.headers().contains_key("access-control-allow-origin"), "{raw}");
    }
}
