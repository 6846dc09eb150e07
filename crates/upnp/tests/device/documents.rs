//! Description, SCPD and presentation page.

use std::net::SocketAddr;

use bytes::Bytes;
use upnp::description::Description;
use upnp::device::{Handled, RootDevice, presentation_response};
use upnp::service::Direction;
use upnp::time::BootTime;
use upnp::url::HttpUrl;
use upnp::{scpd, xml};

use crate::fixture::*;

#[test]
fn the_description_reads_back_as_what_the_device_is() {
    let mut wire = Wire::new();
    let response = wire.answer(&request("GET", "/description.xml", &[], ""));
    assert_eq!(response.headers()["content-type"], "text/xml; charset=\"utf-8\"");
    let base = HttpUrl::new(DEVICE.parse::<SocketAddr>().unwrap(), "/description.xml");
    let read = Description::parse(response.body(), &base).unwrap();
    let config = config();
    assert_eq!(read.config_id, Some(wire.device.config_id()));
    assert_eq!((&read.root.udn, &read.root.device_type), (&config.udn, &config.device_type));
    assert_eq!(read.root.friendly_name, config.friendly_name);
    assert_eq!(read.root.presentation_url.unwrap().path(), "/");
    let paths: Vec<_> = read
        .root
        .services
        .iter()
        .map(|s| {
            let path = |url: &Option<HttpUrl>| url.as_ref().map(|u| u.path().to_owned()).unwrap_or_default();
            (s.service_id.clone(), path(&s.scpd_url), s.control_url.path().to_owned(), path(&s.event_url))
        })
        .collect();
    let path = |id: &str, name: &str, event: &str| {
        (id.to_owned(), format!("/{name}/scpd.xml"), format!("/{name}/control"), event.to_owned())
    };
    assert_eq!(
        paths,
        [
            path(POWER.service_id, "PowerManagement", "/PowerManagement/event"),
            path(QUIET.service_id, "Quiet", ""),
            path(LAMP.service_id, "SwitchPower", "/SwitchPower/event"),
        ]
    );
}

#[test]
fn every_scpd_reads_back_as_its_declaration() {
    let mut wire = Wire::new();
    for decl in [&POWER, &QUIET, &LAMP] {
        let response = wire.answer(&request("GET", &format!("/{}/scpd.xml", decl.short_name()), &[], ""));
        let read = scpd::parse(response.body()).unwrap();
        assert_eq!(read.actions.len(), decl.actions.len());
        for (read, decl) in read.actions.iter().zip(decl.actions) {
            let arguments: Vec<_> = read.arguments.iter().map(|a| (&*a.name, a.direction, &*a.variable)).collect();
            let declared: Vec<_> = decl.arguments.iter().map(|a| (a.name, a.direction, a.variable)).collect();
            assert_eq!((&*read.name, arguments), (decl.name, declared));
        }
        let names: Vec<_> = read.variables.iter().map(|v| (&*v.name, &*v.data_type)).collect();
        let declared: Vec<_> = decl.variables.iter().map(|v| (v.name, v.data_type.name())).collect();
        assert_eq!(names, declared);
    }
    let power = scpd::parse(scpd::write(&POWER).as_bytes()).unwrap();
    let state = &power.variables[0];
    assert!(state.send_events && state.multicast);
    assert_eq!(state.allowed, ["OFF", "ON", "Standby"]);
    assert!(!power.variables[3].send_events && !power.variables[1].multicast);
    assert_eq!(power.variables[7].range, Some(("-10".to_owned(), "10".to_owned())));
    assert_eq!(power.actions[0].arguments[3].direction, Direction::Out);
}

#[test]
fn the_first_bytes_of_the_documents_are_as_the_architecture_has_them() {
    let mut wire = Wire::new();
    let id = wire.device.config_id();
    let body = |wire: &mut Wire, path| wire.answer(&request("GET", path, &[], "")).into_body();
    let description = String::from_utf8(body(&mut wire, "/description.xml").to_vec()).unwrap();
    assert!(description.starts_with(&format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<root xmlns=\"urn:schemas-upnp-org:device-1-0\" configId=\"{id}\">\
         <specVersion><major>1</major><minor>1</minor></specVersion><device><deviceType>"
    )));
    let scpd = String::from_utf8(body(&mut wire, "/SwitchPower/scpd.xml").to_vec()).unwrap();
    assert_eq!(
        scpd,
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<scpd xmlns=\"urn:schemas-upnp-org:service-1-0\" configId=\"{id}\">\
             <specVersion><major>1</major><minor>1</minor></specVersion><serviceStateTable><stateVariable \
             sendEvents=\"yes\"><name>Status</name><dataType>boolean</dataType></stateVariable></serviceStateTable></scpd>"
        )
    );
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let mut wire = Wire::new();
    for path in ["/description.xml", "/Quiet/scpd.xml"] {
        let get = wire.answer(&request("GET", path, &[], ""));
        let head = wire.answer(&request("HEAD", path, &[], ""));
        assert_eq!(head.headers(), get.headers());
        assert_eq!(head.headers()["content-length"], get.body().len().to_string().as_str());
        assert!(head.body().is_empty() && !get.body().is_empty());
    }
    assert!(matches!(wire.send(&request("HEAD", "/", &[], "")), Handled::Presentation));
}

#[test]
fn who_asks_for_a_language_is_told_which_one_it_is() {
    let mut wire = Wire::new();
    let asked = wire.answer(&request("GET", "/description.xml", &["ACCEPT-LANGUAGE: de, en;q=0.5"], ""));
    assert_eq!(asked.headers()["content-language"], "en");
    let not = wire.answer(&request("GET", "/description.xml", &[], ""));
    assert!(!not.headers().contains_key("content-language"));
}

#[test]
fn a_get_without_range_or_with_a_query_and_http_1_0_are_served() {
    let mut wire = Wire::new();
    assert_eq!(wire.status("GET /description.xml HTTP/1.0\r\n\r\n"), 200);
    assert_eq!(wire.status(&request("GET", "/description.xml?now", &[], "")), 200);
    assert_eq!(wire.status(&request("GET", "/description.xml", &["RANGE: bytes=0-1"], "")), 200);
}

#[test]
fn the_presentation_page_may_load_frame_and_send_nothing() {
    let mut wire = Wire::new();
    assert!(matches!(wire.send(&request("GET", "/", &[], "")), Handled::Presentation));
    let response = presentation_response("<p>hello</p>".to_owned());
    assert_eq!(response.headers()["content-type"], "text/html; charset=\"utf-8\"");
    assert!(response.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    assert_eq!(response.body(), &Bytes::from("<p>hello</p>"));
}

#[test]
fn configid_changes_if_and_only_if_a_document_does() {
    let id = |change: &dyn Fn(&mut upnp::device::DeviceConfig)| {
        let mut config = config();
        change(&mut config);
        RootDevice::new(config, BootTime::ZERO).config_id()
    };
    let base = id(&|_| {});
    assert!(base < 1 << 24);
    assert_eq!(base, id(&|c| (c.boot_id, c.seed, c.http_port) = (99, 99, 99)));
    assert_ne!(base, id(&|c| c.friendly_name.push('x')));
    assert_ne!(base, id(&|c| c.services.truncate(2)));
}

#[test]
fn the_documents_stand_up_to_a_strict_reader() {
    let mut wire = Wire::new();
    for path in ["/description.xml", "/PowerManagement/scpd.xml", "/Quiet/scpd.xml", "/SwitchPower/scpd.xml"] {
        let response = wire.answer(&request("GET", path, &[], ""));
        xml::parse(response.body(), xml::Caps::SOAP_STRICT).unwrap();
    }
}
