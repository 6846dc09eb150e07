//! Subscriptions and events, byte for byte where peers are known to trip.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use upnp::Effect;
use upnp::device::RootDevice;
use upnp::limits::{SUBSCRIPTION_MAX_S, SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_PER_PEER_MAX};
use upnp::net::{Channel, HttpError, InterfaceId};
use upnp::time::BootTime;

use crate::fixture::*;

const EVENT: &str = "/PowerManagement/event";
const HERE: &str = "<http://192.0.2.7:5000/cb>";

fn addresses(texts: &[&str]) -> BTreeSet<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The peers that are to be kept connected, where that is told.
fn kept(effects: Vec<Effect>) -> Option<BTreeSet<SocketAddr>> {
    effects.into_iter().find_map(|e| if let Effect::KeepConnected(peers) = e { Some(peers) } else { None })
}

fn pairs(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn a_new_subscription_is_answered_byte_for_byte() {
    let mut wire = Wire::new();
    let response = wire.answer(
        "SUBSCRIBE /PowerManagement/event HTTP/1.1\r\nHOST: 192.0.2.1:49200\r\nUSER-AGENT: x\r\n\
         CALLBACK: <http://192.0.2.7:5000/cb>\r\nNT: upnp:event\r\nTIMEOUT: Second-3600\r\n\r\n",
    );
    let sid = response.headers()["sid"].to_str().unwrap();
    assert_eq!((sid.len(), &sid[..5]), (41, "uuid:"));
    assert_eq!(
        bytes_of(&response),
        format!(
            "HTTP/1.1 200 OK\r\nSERVER: Linux/6.12 UPnP/1.1 psm-agent/0.1.0\r\nSID: {sid}\r\nTIMEOUT: Second-3600\r\n\
             CONTENT-LENGTH: 0\r\n\r\n"
        )
    );
}

#[test]
fn a_renewal_keeps_the_sid_and_starts_nothing_new_byte_for_byte() {
    let mut wire = Wire::new();
    let sid = wire.subscribe(EVENT, PEER, HERE);
    let first = wire.notify();
    wire.answered(&first, 200);
    for (asked, granted) in [
        ("TIMEOUT: Second-1800\r\n", 1800),
        ("TIMEOUT: Second-7200\r\n", 7200),
        ("TIMEOUT: Second-0:30:00\r\n", 1800),
        ("Timeout:Second-3601\r\n", 3601),
        ("TIMEOUT: infinite\r\n", 1800),
        ("", 1800),
    ] {
        let response = wire.answer(&format!(
            "SUBSCRIBE /PowerManagement/event HTTP/1.1\r\nHOST: 192.0.2.1:49200\r\nSID: {sid}\r\n{asked}\r\n"
        ));
        assert_eq!(
            bytes_of(&response),
            format!(
                "HTTP/1.1 200 OK\r\nSERVER: Linux/6.12 UPnP/1.1 psm-agent/0.1.0\r\nSID: {sid}\r\n\
                 TIMEOUT: Second-{granted}\r\nCONTENT-LENGTH: 0\r\n\r\n"
            ),
            "{asked}"
        );
        assert!(wire.notifies().is_empty(), "no second initial event");
    }
    assert_eq!(wire.device.subscribers(), 1);
}

#[test]
fn the_first_event_has_seq_0_and_all_evented_variables_byte_for_byte() {
    let mut wire = Wire::new();
    wire.set(&POWER, "PowerState", "ON");
    let sid = wire.subscribe(EVENT, PEER, "<http://192.0.2.7:5000/cb?id=1>");
    assert!(wire.device.events_pending());
    let notify = wire.notify();
    assert_eq!((notify.to, notify.within), (address("192.0.2.7:5000"), Duration::from_secs(30)));
    let request = &notify.request;
    let head: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
    assert_eq!((request.method().as_str(), request.uri().to_string()), ("NOTIFY", "/cb?id=1".to_owned()));
    assert_eq!(
        head,
        [
            ("host", "192.0.2.7:5000"),
            ("content-type", "text/xml; charset=\"utf-8\""),
            ("nt", "upnp:event"),
            ("nts", "upnp:propchange"),
            ("sid", &*sid),
            ("seq", "0"),
        ]
    );
    assert_eq!(
        std::str::from_utf8(request.body()).unwrap(),
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<e:propertyset xmlns:e=\"urn:schemas-upnp-org:event-1-0\">\
         <e:property><PowerState>ON</PowerState></e:property><e:property><LastRefusal></LastRefusal></e:property>\
         <e:property><Power>0</Power></e:property></e:propertyset>"
    );
    assert!(wire.device.events_pending(), "in flight");
    wire.answered(&notify, 200);
    assert!(!wire.device.events_pending());
}

#[test]
fn no_event_is_ordered_before_the_subscription_is_answered() {
    let mut wire = Wire::new();
    assert!(wire.effects().is_empty());
    wire.set(&POWER, "PowerState", "ON");
    assert!(wire.effects().is_empty(), "nobody to tell");
    // The reply is in hand before effects are asked for; the first event is ready without waiting for a timer.
    wire.subscribe(EVENT, PEER, HERE);
    assert_eq!(seq(&wire.notify()), 0);
}

#[test]
fn variables_have_a_value_of_their_type_before_they_are_set() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, HERE);
    assert_eq!(variables(&wire.notify()), pairs(&[("PowerState", "OFF"), ("LastRefusal", ""), ("Power", "0")]));
    wire.subscribe("/SwitchPower/event", PEER, HERE);
    assert_eq!(variables(&wire.notify()), pairs(&[("Status", "0")]));
}

#[test]
fn a_change_goes_to_the_subscribers_of_its_service_alone_with_the_next_seq() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, HERE);
    wire.subscribe("/SwitchPower/event", PEER, HERE);
    for first in wire.notifies() {
        wire.answered(&first, 200);
    }
    wire.set(&LAMP, "Status", "1");
    let notify = wire.notify();
    assert_eq!((seq(&notify), variables(&notify)), (1, pairs(&[("Status", "1")])));
    wire.answered(&notify, 200);
    wire.set(&LAMP, "Status", "1");
    assert!(wire.notifies().is_empty(), "no change");
    wire.set(&POWER, "RegID", "5");
    assert!(wire.notifies().is_empty(), "not evented");
    wire.set(&LAMP, "Status", "0");
    assert_eq!(seq(&wire.notify()), 2);
}

#[test]
fn one_notify_is_in_flight_and_what_changes_meanwhile_goes_out_in_one_with_the_latest_values() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, HERE);
    let first = wire.notify();
    wire.set(&POWER, "PowerState", "ON");
    wire.set(&POWER, "LastRefusal", "801 OperationOff busy");
    wire.set(&POWER, "PowerState", "Standby");
    assert!(wire.notifies().is_empty());
    wire.answered(&first, 200);
    let second = wire.notify();
    assert_eq!(seq(&second), 1);
    assert_eq!(variables(&second), pairs(&[("PowerState", "Standby"), ("LastRefusal", "801 OperationOff busy")]));
    wire.answered(&second, 200);
    assert!(wire.notifies().is_empty() && !wire.device.events_pending());
}

#[test]
fn a_change_before_the_first_event_is_in_it() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, HERE);
    wire.set(&POWER, "PowerState", "Standby");
    let first = wire.notify();
    assert_eq!((seq(&first), &*variables(&first)[0].1), (0, "Standby"));
    wire.answered(&first, 200);
    assert!(wire.notifies().is_empty());
}

#[test]
fn several_changes_at_once_are_one_event_in_declared_order() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, HERE);
    let first = wire.notify();
    wire.answered(&first, 200);
    let changes = [("LastRefusal", "x".to_owned()), ("PowerState", "ON".to_owned())];
    wire.device.set_variables(&POWER, &changes, wire.now);
    assert_eq!(variables(&wire.notify()), pairs(&[("PowerState", "ON"), ("LastRefusal", "x")]));
}

#[test]
fn a_hundred_subscribers_share_one_body() {
    let mut wire = Wire::new();
    for i in 0..100 {
        wire.subscribe(EVENT, PEER, &format!("<http://192.0.2.7:5000/{i}>"));
    }
    for first in wire.notifies() {
        wire.answered(&first, 200);
    }
    wire.set(&POWER, "PowerState", "ON");
    let all = wire.notifies();
    assert_eq!(all.len(), 100);
    let bodies: std::collections::BTreeSet<_> = all.iter().map(|n| n.request.body().as_ptr()).collect();
    assert_eq!(bodies.len(), 1);
}

#[test]
fn a_moderated_variable_is_told_at_most_once_in_its_time_with_the_latest_value() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, HERE);
    let first = wire.notify();
    wire.answered(&first, 200);
    wire.until(at(10));
    wire.set(&POWER, "Power", "100");
    let told = wire.notify();
    assert_eq!(variables(&told), pairs(&[("Power", "100")]));
    wire.answered(&told, 200);
    for watts in ["110", "120", "130"] {
        wire.until(wire.now + Duration::from_secs(1));
        wire.set(&POWER, "Power", watts);
        assert!(wire.notifies().is_empty());
    }
    assert!(!wire.device.events_pending(), "a held value does not keep a machine awake");
    wire.set(&POWER, "PowerState", "ON");
    let state = wire.notify();
    assert_eq!(variables(&state), pairs(&[("PowerState", "ON")]), "others do not wait for it");
    wire.answered(&state, 200);
    wire.until(at(15));
    let told = wire.notify();
    assert_eq!(variables(&told), pairs(&[("Power", "130")]));
    wire.answered(&told, 200);
    wire.until(at(60));
    assert!(wire.notifies().is_empty());
}

#[test]
fn a_failed_delivery_goes_on_to_the_next_callback_with_the_same_seq() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, "<http://192.0.2.7:5000/a><http://192.0.2.7:5001/b><http://192.0.2.7:5002/c>");
    let first = wire.notify();
    wire.failed(&first, HttpError::Connect("refused".to_owned()));
    wire.until(at(3));
    let second = wire.notify();
    assert_eq!((second.to.port(), seq(&second), second.within), (5001, 0, Duration::from_secs(30)));
    assert_eq!(second.request.body(), first.request.body());
    wire.answered(&second, 404);
    let third = wire.notify();
    assert_eq!((third.to.port(), seq(&third), third.within), (5002, 0, Duration::from_secs(27)));
    wire.answered(&third, 200);
    wire.set(&POWER, "PowerState", "ON");
    assert_eq!(wire.notify().to.port(), 5002, "the one that worked comes first");
}

#[test]
fn when_no_callback_works_the_event_is_dropped_and_the_subscription_lives_on() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, "<http://192.0.2.7:5000/a><http://192.0.2.7:5001/b>");
    for _ in 0..2 {
        let notify = wire.notify();
        wire.failed(&notify, HttpError::Timeout);
    }
    assert!(wire.notifies().is_empty() && !wire.device.events_pending());
    assert_eq!(wire.device.subscribers(), 1);
    wire.set(&POWER, "PowerState", "ON");
    let next = wire.notify();
    assert_eq!(seq(&next), 1, "the gap tells the subscriber");
}

#[test]
fn thirty_seconds_are_the_limit_of_all_attempts_together() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, "<http://192.0.2.7:5000/a><http://192.0.2.7:5001/b>");
    let first = wire.notify();
    wire.until(at(30));
    wire.failed(&first, HttpError::Timeout);
    assert!(wire.notifies().is_empty() && !wire.device.events_pending());
}

#[test]
fn a_busy_driver_gets_the_same_event_again_a_little_later() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, HERE);
    let first = wire.notify();
    wire.failed(&first, HttpError::Busy);
    assert!(wire.notifies().is_empty() && wire.device.events_pending());
    wire.until(at(1));
    let again = wire.notify();
    assert_eq!((seq(&again), again.to), (0, first.to));
    assert_ne!(again.id, first.id);
    wire.failed(&again, HttpError::Busy);
    let mut attempts = 0;
    while wire.now < at(31) {
        wire.until(wire.now + Duration::from_millis(20));
        for notify in wire.notifies() {
            attempts += 1;
            wire.failed(&notify, HttpError::Busy);
        }
    }
    assert!(attempts > 100, "{attempts}");
    wire.until(at(80));
    assert!(wire.notifies().is_empty() && !wire.device.events_pending(), "given up after 30 s");
}

#[test]
fn a_412_from_the_subscriber_ends_the_subscription() {
    let mut wire = Wire::new();
    let sid = wire.subscribe(EVENT, PEER, "<http://192.0.2.7:5000/a><http://192.0.2.7:5001/b>");
    let first = wire.notify();
    wire.set(&POWER, "PowerState", "ON");
    wire.answered(&first, 412);
    assert_eq!(wire.device.subscribers(), 0);
    assert!(wire.notifies().is_empty() && !wire.device.events_pending());
    assert_eq!(wire.status(&request("SUBSCRIBE", EVENT, &[&format!("SID: {sid}")], "")), 412);
}

#[test]
fn a_subscription_that_is_not_renewed_ends_and_its_sid_is_412() {
    let mut wire = Wire::new();
    let sid = wire.subscribe(EVENT, PEER, HERE);
    let first = wire.notify();
    wire.answered(&first, 200);
    wire.until(at(1799));
    assert_eq!(wire.device.subscribers(), 1);
    assert_eq!(wire.status(&request("SUBSCRIBE", EVENT, &[&format!("SID: {sid}")], "")), 200);
    wire.until(at(1799 + 1799));
    assert_eq!(wire.device.subscribers(), 1);
    wire.until(at(1799 + 1800));
    assert_eq!(wire.device.subscribers(), 0);
    assert_eq!(wire.status(&request("SUBSCRIBE", EVENT, &[&format!("SID: {sid}")], "")), 412);
    wire.set(&POWER, "PowerState", "ON");
    assert!(wire.notifies().is_empty());
}

#[test]
fn after_unsubscribe_nothing_goes_out_and_a_late_answer_is_harmless() {
    let mut wire = Wire::new();
    let sid = wire.subscribe(EVENT, PEER, HERE);
    let first = wire.notify();
    let response = wire.answer(&request("UNSUBSCRIBE", EVENT, &[&format!("SID: {sid}")], ""));
    assert_eq!(
        bytes_of(&response),
        "HTTP/1.1 200 OK\r\nSERVER: Linux/6.12 UPnP/1.1 psm-agent/0.1.0\r\nCONTENT-LENGTH: 0\r\n\r\n"
    );
    wire.set(&POWER, "PowerState", "ON");
    wire.answered(&first, 200);
    wire.answered(&first, 200);
    assert!(wire.notifies().is_empty() && !wire.device.events_pending());
    let queued = wire.subscribe(EVENT, PEER, HERE);
    assert_eq!(wire.status(&request("UNSUBSCRIBE", EVENT, &[&format!("SID: {queued}")], "")), 200);
    assert!(wire.notifies().is_empty(), "not even the first event");
}

#[test]
fn a_sid_is_good_only_at_its_own_service_and_for_its_own_subscriber() {
    let mut wire = Wire::new();
    let sid = wire.subscribe(EVENT, PEER, HERE);
    let header = format!("SID: {sid}");
    for method in ["SUBSCRIBE", "UNSUBSCRIBE"] {
        assert_eq!(wire.status(&request(method, "/SwitchPower/event", &[&header], "")), 412, "{method}");
        let other = wire.send_from("192.0.2.8:40000", DEVICE, &request(method, EVENT, &[&header], ""));
        assert_eq!(answered(other).status(), 412, "{method}");
    }
    assert_eq!(wire.device.subscribers(), 1);
}

#[test]
fn subscriptions_are_capped_for_each_peer_and_in_all() {
    let mut wire = Wire::new();
    let raw = |i: usize, port: usize| {
        request("SUBSCRIBE", EVENT, &["NT: upnp:event", &format!("CALLBACK: <http://192.0.2.{i}:{port}/>")], "")
    };
    let mut send = |host: usize, port: usize| {
        answered(wire.send_from(&format!("192.0.2.{host}:40000"), DEVICE, &raw(host, port))).status().as_u16()
    };
    for port in 0..SUBSCRIPTIONS_PER_PEER_MAX {
        assert_eq!(send(7, 2000 + port), 200);
    }
    assert_eq!(send(7, 9999), 503, "one peer's share");
    for i in SUBSCRIPTIONS_PER_PEER_MAX..SUBSCRIPTIONS_MAX {
        assert_eq!(send(8 + i % 200, 2000 + i), 200);
    }
    assert_eq!(send(250, 9999), 503, "all");
    assert_eq!(wire.device.subscribers(), SUBSCRIPTIONS_MAX);
    assert_eq!(wire.notifies().len(), SUBSCRIPTIONS_MAX);
    wire.until(at(u64::from(SUBSCRIPTION_MAX_S) + 1));
    assert_eq!(wire.device.subscribers(), 0);
    wire.subscribe(EVENT, PEER, HERE);
}

#[test]
fn a_thousand_cycles_of_subscribing_leave_nothing_behind() {
    let mut wire = Wire::new();
    for i in 0..1000 {
        let sid = wire.subscribe(EVENT, PEER, HERE);
        for notify in wire.notifies() {
            if i % 3 == 0 {
                wire.failed(&notify, HttpError::Timeout);
            } else {
                wire.answered(&notify, 200);
            }
        }
        assert_eq!(wire.status(&request("UNSUBSCRIBE", EVENT, &[&format!("SID: {sid}")], "")), 200);
    }
    assert_eq!(wire.device.subscribers(), 0);
    assert!(!wire.device.events_pending());
}

#[test]
fn a_multicast_variable_goes_to_every_interface_and_family_byte_for_byte() {
    let mut wire = Wire::new();
    wire.device.handle_interfaces(&[eth0()], wire.now);
    wire.set(&POWER, "LastRefusal", "x");
    let sent = |wire: &mut Wire| -> Vec<_> {
        wire.effects()
            .into_iter()
            .filter_map(|e| match e {
                Effect::Send(t) if t.channel == Channel::Events => Some(t),
                _ => None,
            })
            .collect()
    };
    assert!(sent(&mut wire).is_empty(), "not a multicast variable");
    wire.set(&POWER, "PowerState", "Standby");
    assert!(wire.device.events_pending());
    let events = sent(&mut wire);
    assert!(!wire.device.events_pending());
    let to: Vec<_> = events.iter().map(|t| (t.interface, t.to.to_string())).collect();
    let here = InterfaceId(2);
    assert_eq!(to, [(here, "239.255.255.246:7900".to_owned()), (here, "[ff02::130%2]:7900".to_owned())]);
    let body = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<e:propertyset xmlns:e=\"urn:schemas-upnp-org:event-1-0\">\
                <e:property><PowerState>Standby</PowerState></e:property></e:propertyset>";
    assert_eq!(
        std::str::from_utf8(&events[0].payload).unwrap(),
        format!(
            "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.246:7900\r\nCONTENT-TYPE: text/xml; charset=\"utf-8\"\r\n\
             USN: uuid:4d696e69-444c-4e80-9d41-b827eb54e939::urn:heg-energy-org:service:PowerManagement:1\r\n\
             SVCID: urn:heg-energy-org:serviceId:PowerManagement\r\nNT: upnp:event\r\nNTS: upnp:propchange\r\nSEQ: 0\r\n\
             LVL: upnp:/info\r\nBOOTID.UPNP.ORG: {}\r\nCONTENT-LENGTH: {}\r\n\r\n{body}",
            wire.device.boot_id(),
            body.len()
        )
    );
    wire.set(&POWER, "PowerState", "ON");
    let next = sent(&mut wire);
    assert!(next.iter().all(|t| std::str::from_utf8(&t.payload).unwrap().contains("\r\nSEQ: 1\r\n")));
}

#[test]
fn the_multicast_event_is_ordered_before_the_unicast_ones() {
    let mut wire = Wire::new();
    wire.device.handle_interfaces(&[eth0()], wire.now);
    wire.subscribe(EVENT, PEER, HERE);
    let first = wire.notifies().remove(0);
    wire.answered(&first, 200);
    wire.set(&POWER, "PowerState", "Standby");
    let effects = wire.effects();
    assert!(matches!(effects[..], [Effect::Send(_), Effect::Send(_), Effect::Request(_)]), "{effects:?}");
}

#[test]
fn each_peer_is_to_be_kept_connected_as_long_as_it_has_a_subscription() {
    let mut wire = Wire::new();
    let here = ["192.0.2.7:5000"];
    let sid = wire.subscribe(EVENT, PEER, HERE);
    let effects = wire.effects();
    assert!(matches!(effects[..], [Effect::Request(_), Effect::KeepConnected(_)]), "events first: {effects:?}");
    assert_eq!(kept(effects), Some(addresses(&here)));

    wire.subscribe("/SwitchPower/event", PEER, HERE);
    assert_eq!(kept(wire.effects()), None, "the same peer");
    wire.subscribe(EVENT, "[fe80::7%2]:40000", "<http://[fe80::7]:5000/>");
    assert_eq!(kept(wire.effects()), Some(addresses(&["192.0.2.7:5000", "[fe80::7%2]:5000"])));

    assert_eq!(wire.status(&request("UNSUBSCRIBE", EVENT, &[&format!("SID: {sid}")], "")), 200);
    assert_eq!(kept(wire.effects()), None, "it has another");
    wire.set(&LAMP, "Status", "1");
    assert_eq!(kept(wire.effects()), None);
    wire.until(at(1800));
    assert_eq!(kept(wire.effects()), Some(addresses(&[])), "all ran out");
}

#[test]
fn a_peer_that_answers_412_or_on_another_url_is_kept_connected_no_longer_or_there() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, "<http://192.0.2.7:5000/><http://192.0.2.7:6000/>");
    let first = wire.notify();
    wire.failed(&first, HttpError::Timeout);
    let effects = wire.effects();
    let [Effect::Request(second), Effect::KeepConnected(peers)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((second.to.port(), peers), (6000, &addresses(&["192.0.2.7:6000"])));

    wire.answered(second, 412);
    assert_eq!(kept(wire.effects()), Some(addresses(&[])));
}

#[test]
fn after_stop_and_after_a_sleep_nobody_without_a_subscription_is_kept_connected() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, HERE);
    assert!(kept(wire.effects()).is_some());
    wire.now = at(6000);
    wire.device.resumed(wire.now);
    assert_eq!(kept(wire.effects()), Some(addresses(&[])), "ran out in sleep");

    wire.subscribe(EVENT, PEER, HERE);
    assert!(kept(wire.effects()).is_some());
    wire.now = at(6600);
    wire.device.resumed(wire.now);
    assert_eq!(kept(wire.effects()), None, "goes on");
    wire.device.stop(wire.now);
    assert_eq!(kept(wire.effects()), Some(addresses(&[])));
}

#[test]
fn after_sleep_a_subscription_that_ran_out_is_gone_and_a_new_one_replaces_the_old() {
    let mut wire = Wire::new();
    wire.subscribe(EVENT, PEER, HERE);
    wire.subscribe(EVENT, PEER, HERE);
    assert_eq!(wire.device.subscribers(), 2, "two are two as long as nobody slept");
    for first in wire.notifies() {
        wire.answered(&first, 200);
    }
    wire.now = at(600);
    let before = wire.device.boot_id();
    wire.device.resumed(wire.now);
    assert!(wire.device.boot_id() > before);
    wire.set(&POWER, "PowerState", "ON");
    assert_eq!(wire.notifies().len(), 2, "they are told of the waking");
    wire.subscribe(EVENT, PEER, HERE);
    assert_eq!(wire.device.subscribers(), 1, "old ones give way");
    wire.now = at(6000);
    wire.device.resumed(wire.now);
    assert_eq!(wire.device.subscribers(), 0, "ran out in sleep");
}

#[test]
fn after_stop_nothing_is_told_and_nobody_is_taken() {
    let mut wire = Wire::new();
    wire.device.handle_interfaces(&[eth0()], wire.now);
    wire.subscribe(EVENT, PEER, HERE);
    wire.device.stop(wire.now);
    assert_eq!(wire.device.subscribers(), 0);
    wire.set(&POWER, "PowerState", "ON");
    assert!(wire.notifies().is_empty() && !wire.device.events_pending());
    let raw = request("SUBSCRIBE", EVENT, &["NT: upnp:event", &format!("CALLBACK: {HERE}")], "");
    assert_eq!(wire.status(&raw), 503);
}

#[test]
fn sids_differ_and_come_from_the_seed() {
    let sids = || {
        let mut wire = Wire { device: RootDevice::new(config(), BootTime::ZERO), now: BootTime::ZERO };
        (0..20).map(|_| wire.subscribe(EVENT, PEER, HERE)).collect::<Vec<_>>()
    };
    let first = sids();
    assert_eq!(first, sids());
    assert_eq!(first.iter().collect::<std::collections::BTreeSet<_>>().len(), 20);
}
