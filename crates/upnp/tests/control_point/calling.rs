//! Calling actions.

use core::time::Duration;

use bytes::Bytes;
use http::Response;
use upnp::control_point::{CallError, CallId, ControlPointEvent};
use upnp::error::{ErrorCode, UpnpError};
use upnp::limits::{CALL_WITHIN, CALLS_IN_FLIGHT_MAX, CALLS_PER_DEVICE_MAX};
use upnp::net::HttpError;
use upnp::soap;

use crate::bench::{Bench, DIMMING, SWITCH, address, alive, byebye, description, ok, status, udn, urn};

type CallResult = Result<Vec<(String, String)>, CallError>;

fn done(bench: &mut Bench) -> Vec<(CallId, CallResult)> {
    let events = core::mem::take(&mut bench.events);
    let done = |e| match e {
        ControlPointEvent::CallDone { call, result, .. } => Some((call, result)),
        _ => None,
    };
    events.into_iter().filter_map(done).collect()
}

fn call(bench: &mut Bench, n: u32) -> Result<CallId, CallError> {
    let result = bench.cp.call(&udn(n), &urn(SWITCH), "GetStatus", vec![], bench.now);
    bench.drain();
    result
}

fn with_status(code: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    Response::builder().status(code).body(body.into()).expect("a valid response")
}

fn reply() -> Bytes {
    soap::write_response(SWITCH, "GetStatus", &[("ResultStatus", "1")])
}

#[test]
fn a_call_is_written_as_uda_wants_and_its_reply_read() {
    let (mut bench, _) = Bench::with_light();
    let arguments = vec![("newTargetValue".to_owned(), "1".to_owned())];
    let id = bench.cp.call(&udn(1), &urn(SWITCH), "SetTarget", arguments, bench.now).unwrap();
    bench.drain();
    let post = bench.take("POST");
    let headers = post.request.headers();
    assert_eq!((post.to, post.request.uri().path(), post.within), (address(1), "/switch/control", CALL_WITHIN));
    assert_eq!(headers["soapaction"], format!("\"{SWITCH}#SetTarget\""));
    assert_eq!(
        (&headers["content-type"], &headers["host"]),
        (&"text/xml; charset=\"utf-8\"".parse().unwrap(), &"10.88.0.2:8080".parse().unwrap(),)
    );
    let sent = soap::parse_request(headers, post.request.body()).unwrap();
    assert_eq!((&*sent.service_type, &*sent.action, sent.arguments.len()), (SWITCH, "SetTarget", 1));
    bench.answer(&post, ok(soap::write_response(SWITCH, "SetTarget", &[])));
    assert_eq!(done(&mut bench), [(id, Ok(vec![]))]);
}

#[test]
fn a_fault_is_a_fault_whatever_its_status() {
    let fault = UpnpError::with(ErrorCode(801), "not now");
    for code in [200, 400, 401, 412, 500, 503] {
        let (mut bench, _) = Bench::with_light();
        let id = call(&mut bench, 1).unwrap();
        let post = bench.take("POST");
        bench.answer(&post, with_status(code, soap::write_fault(&fault)));
        assert_eq!(done(&mut bench), [(id, Err(CallError::Fault(fault.clone())))], "{code}");
    }
}

#[test]
fn a_status_without_a_fault_is_the_status() {
    // aup answers an unknown action so, gupnp with an empty 500; a SOAPACTION they do not like is 404 (libupnp) or 412 (gupnp).
    for (code, body, retryable) in [
        (400, "InvalidAction", false),
        (404, "", false),
        (412, "", false),
        (500, "", false),
        (503, "<html/>", true),
        (301, "", false),
    ] {
        let (mut bench, _) = Bench::with_light();
        call(&mut bench, 1).unwrap();
        let post = bench.take("POST");
        bench.answer(&post, with_status(code, body));
        let (_, result) = done(&mut bench).remove(0);
        assert_eq!(result, Err(CallError::Status(code)));
        assert_eq!(result.unwrap_err().is_retryable(), retryable, "{code}");
    }
}

#[test]
fn nonsense_with_status_200_is_malformed_and_final() {
    for body in
        ["", "hello", "<html/>", "<s:Envelope><s:Body/></s:Envelope>", "<!DOCTYPE x [<!ENTITY a \"b\">]><x>&a;</x>"]
    {
        let (mut bench, _) = Bench::with_light();
        call(&mut bench, 1).unwrap();
        let post = bench.take("POST");
        bench.answer(&post, ok(body));
        let error = done(&mut bench).remove(0).1.unwrap_err();
        assert!(matches!(error, CallError::Malformed(_)) && !error.is_retryable(), "{body:?}: {error}");
    }
}

#[test]
fn a_connection_libupnp_closed_unannounced_is_worth_another_try() {
    let (mut bench, _) = Bench::with_light();
    let id = call(&mut bench, 1).unwrap();
    let post = bench.take("POST");
    bench.fail(&post, HttpError::Broken("closed".into()));
    let (call, result) = done(&mut bench).remove(0);
    assert_eq!((call, result.unwrap_err().is_retryable()), (id, true));
}

#[test]
fn a_call_nobody_takes_makes_the_control_point_search() {
    let (mut bench, _) = Bench::with_light();
    bench.advance_s(60);
    bench.searches.clear();
    for _ in 0..5 {
        call(&mut bench, 1).unwrap();
        let post = bench.take("POST");
        bench.fail_to_connect(&post);
        bench.advance_s(2);
    }
    // One search, three copies, of one target; not one per failure.
    assert_eq!(bench.searches.len(), 3);
    assert!(done(&mut bench).iter().all(|(_, r)| matches!(r, Err(CallError::Http(HttpError::Connect(_))))));
}

#[test]
fn calls_to_a_device_run_one_after_the_other_in_order() {
    let (mut bench, _) = Bench::with_light();
    let ids: Vec<_> = (0..3).map(|_| call(&mut bench, 1).unwrap()).collect();
    for id in ids {
        assert_eq!(bench.asked("POST"), 1);
        let post = bench.take("POST");
        bench.answer(&post, ok(reply()));
        assert_eq!(done(&mut bench)[0].0, id);
    }
}

#[test]
fn the_deadline_counts_from_the_call_and_not_from_its_turn() {
    let (mut bench, _) = Bench::with_light();
    let first = call(&mut bench, 1).unwrap();
    bench.advance_s(10);
    let second = call(&mut bench, 1).unwrap();
    bench.advance_s(15);
    let third = call(&mut bench, 1).unwrap();
    let post = bench.take("POST");
    bench.advance_s(5);
    bench.fail(&post, HttpError::Timeout);
    assert_eq!(done(&mut bench)[0].0, first);
    let post = bench.take("POST");
    assert_eq!(post.within, Duration::from_secs(10));
    bench.advance_s(25);
    let timed_out = done(&mut bench);
    assert_eq!(timed_out, [(third, Err(CallError::Http(HttpError::Timeout)))]);
    bench.answer(&post, ok(reply()));
    assert_eq!(done(&mut bench), [(second, Ok(vec![("ResultStatus".to_owned(), "1".to_owned())]))]);
}

#[test]
fn queues_are_bounded_per_device() {
    let (mut bench, _) = Bench::with_light();
    // One in flight beside those that wait.
    for _ in 0..=CALLS_PER_DEVICE_MAX {
        call(&mut bench, 1).unwrap();
    }
    let error = call(&mut bench, 1).unwrap_err();
    assert_eq!((&error, error.is_retryable()), (&CallError::Busy, true));
}

#[test]
fn unknown_devices_and_services_are_refused_at_once() {
    let (mut bench, _) = Bench::with_light();
    assert_eq!(call(&mut bench, 2), Err(CallError::UnknownDevice));
    let missing = urn("urn:schemas-upnp-org:service:RenderingControl:1");
    assert_eq!(bench.cp.call(&udn(1), &missing, "X", vec![], bench.now), Err(CallError::NoSuchService));
    let newer = urn(DIMMING).with_version(2);
    assert_eq!(bench.cp.call(&udn(1), &newer, "X", vec![], bench.now), Err(CallError::NoSuchService));
    // Sighted, but not read yet.
    bench.hear(3, &alive(3, &[]));
    assert_eq!(call(&mut bench, 3), Err(CallError::UnknownDevice));
}

#[test]
fn waiting_calls_of_a_device_that_leaves_end_and_the_one_in_flight_is_awaited() {
    let (mut bench, _) = Bench::with_light();
    let first = call(&mut bench, 1).unwrap();
    let second = call(&mut bench, 1).unwrap();
    bench.hear(1, &byebye(1));
    bench.advance_s(2);
    assert_eq!(done(&mut bench), [(second, Err(CallError::UnknownDevice))]);
    let post = bench.take("POST");
    bench.answer(&post, ok(reply()));
    assert_eq!(done(&mut bench)[0].0, first);
}

#[test]
fn calls_made_while_a_moved_device_is_read_again_go_to_the_new_place() {
    let (mut bench, _) = Bench::with_light();
    bench.advance_s(60);
    bench.hear(1, &alive(1, &["LOCATION: http://10.88.0.2:9999/desc.xml"]));
    let id = call(&mut bench, 1).unwrap();
    assert_eq!(bench.asked("POST"), 0);
    let get = bench.take("GET");
    bench.answer(&get, ok(description(1)));
    let post = bench.take("POST");
    assert_eq!(post.to.port(), 9999);
    bench.answer(&post, ok(reply()));
    assert_eq!(done(&mut bench)[0].0, id);
}

#[test]
fn dead_devices_hold_at_most_half_of_the_calls_in_flight() {
    let mut bench = Bench::new();
    let lights = 1..=CALLS_IN_FLIGHT_MAX as u32 + 8;
    for n in lights.clone() {
        bench.hear(n, &alive(n, &[]));
        bench.serve_description(n);
        bench.requests.clear();
    }
    // All but the last turn out to be dead.
    let dead: Vec<_> = lights.clone().take(CALLS_IN_FLIGHT_MAX + 7).collect();
    for n in &dead {
        call(&mut bench, *n).unwrap();
        let post = bench.take("POST");
        bench.fail_to_connect(&post);
    }
    for n in &dead {
        call(&mut bench, *n).unwrap();
    }
    assert_eq!(bench.asked("POST"), CALLS_IN_FLIGHT_MAX / 2);
    let last = *lights.end();
    call(&mut bench, last).unwrap();
    assert!(bench.requests.iter().any(|r| r.to == address(last)));
}

#[test]
fn a_stopping_control_point_ends_its_calls_and_takes_no_more() {
    let (mut bench, _) = Bench::with_light();
    call(&mut bench, 1).unwrap();
    call(&mut bench, 1).unwrap();
    bench.cp.stop(bench.now);
    bench.drain();
    assert_eq!(call(&mut bench, 1), Err(CallError::Busy));
    let unsubscribe = bench.take("UNSUBSCRIBE");
    bench.answer(&unsubscribe, status(200));
    for _ in 0..2 {
        assert!(!bench.cp.idle());
        let post = bench.take("POST");
        bench.answer(&post, ok(reply()));
    }
    assert!(bench.cp.idle() && done(&mut bench).len() == 2);
}
