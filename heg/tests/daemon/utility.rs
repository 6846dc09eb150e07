//! heg-gateway and hegctl with a utility and a key management centre that this process plays, on the loopback interface.

use energy_model::{PowerState, RefusalKind, Watts};
use secure_http::SealedError;
use secure_http::code_points::CONTENT_TYPE_SIGN1;
use serde_json::Value;
use utility_wire::{
    Limit, LimitSet, List, Message as _, OutcomeKind, Per, PriceEntry, PriceIndex, PriceSeries, RefusalCode, UnixTime,
};

use utility_wire::endpoints;

use crate::house::{Appliance, Gateway, Home, Told, wait};
use crate::peer::{Peer, control, exchange, now};

const NETWORK: &str = "[network]\nloopback = true\nipv6 = false\ninterfaces = ['lo']\n";

fn home() -> Home {
    let home = Home::new();
    home.write_config(&format!("{NETWORK}[utility]\nspread-s = 0\n"));
    home
}

fn utility(gateway: &Gateway<'_>, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    wait(what, || Some(gateway.json(&["utility"])).filter(|view| so(view)))
}

#[test]
fn from_the_token_on_everything_comes_by_itself_and_the_utility_does_what_the_home_allows() {
    let (home, peer) = (home(), Peer::start());
    let gateway = home.start();
    let tv = Appliance::start(PowerState::On);
    gateway.wait_for(&tv, |a| a["state"] == "ON" && a["subscribed"] == true);

    gateway.expect(64, &["enrol", "HEG1:misread"], "expected HEG1:<host>:<token>:<fingerprint>");
    gateway.expect(0, &["enrol", peer.token()], &format!("done: enrolled at {}", peer.address));
    gateway.expect(1, &["enrol", peer.token()], "--replace enrols it anew");
    gateway.expect(77, &["enrol", "--replace", peer.token()], "refused the token");
    let view = utility(&gateway, "the utility", |v| v["heard"].is_string());
    assert_eq!((&view["utility"], &view["address"]), (&Peer::utility().into(), &peer.address.as_str().into()));
    assert_eq!((&view["policy"], &view["lost"]), (&4.into(), &false.into()));

    // The first report names everything.
    let report = wait("a report", || peer.script().reports.first().cloned());
    assert!(report.complete);
    let told = report.appliances.iter().find(|a| a.id.as_str() == tv.udn.bare()).unwrap().clone();
    assert_eq!((told.state, told.power, told.consents), (Some(PowerState::On), Some(Watts::new(5)), false));

    // Not without consent.
    let outcome = |number: u64| {
        wait("an outcome", || {
            let is_end = |k: &OutcomeKind| !matches!(k, OutcomeKind::Received);
            peer.script().outcomes.iter().find(|o| o.id.number() == number && is_end(&o.kind)).map(|o| o.kind.clone())
        })
    };
    let refused = |kind| match kind {
        OutcomeKind::Refused(refusal) => (refusal.code, refusal.reason.to_string()),
        other => panic!("{other:?}"),
    };
    peer.script().controls.push(control(7, tv.udn.bare(), PowerState::Off));
    assert_eq!(refused(outcome(7)).0, RefusalCode::NO_CONSENT);
    assert!(tv.calls_of("OperationOff").is_empty());
    gateway.expect(66, &["consent", "kettle", "yes"], "no appliance is called");
    gateway.expect(64, &["consent", "perhaps"], "expected yes or no");
    gateway.expect(0, &["consent", tv.udn.bare(), "yes"], "done");
    wait("the consent to be told", || {
        let script = peer.script();
        script.reports.iter().any(|r| r.appliances.iter().any(|a| a.consents)).then_some(())
    });
    peer.script().controls.push(control(8, tv.udn.bare(), PowerState::Off));
    assert_eq!(outcome(8), OutcomeKind::Done);
    assert_eq!(tv.calls_of("OperationOff").len(), 1);
    tv.order(Told::Refuse(RefusalKind::ActiveSession, "a film is on"));
    peer.script().controls.push(control(9, tv.udn.bare(), PowerState::Standby));
    assert_eq!(refused(outcome(9)), (RefusalCode::new(802), "a film is on".into()));

    // A lost answer costs nothing: the same report again, and no order twice.
    peer.script().lose_answers = 2;
    tv.order(Told::Obey);
    tv.order(Told::State(PowerState::On));
    peer.script().controls.push(control(10, tv.udn.bare(), PowerState::Off));
    assert_eq!(outcome(10), OutcomeKind::Done);
    assert_eq!(tv.calls_of("OperationOff").len(), 2);

    // Answers that another key signed, and errors, change nothing.
    peer.script().forge = 1;
    peer.script().controls.push(control(11, tv.udn.bare(), PowerState::On));
    assert_eq!(outcome(11), OutcomeKind::Done);
    peer.script().error = Some(SealedError::Replay);
    wait("the error to be answered", || peer.script().answered_error.then_some(()));

    let journal = gateway.json(&["journal"]);
    let has = |action: &str, cause: &str, outcome: &str| {
        let fits = |e: &&Value| e["action"] == action && e["cause"] == cause && e["outcome"] == outcome;
        assert!(journal.as_array().unwrap().iter().any(|e| fits(&e)), "{action} {cause} {outcome}: {journal:#}");
    };
    has("OperationOff", "utility:7", "declined");
    has("control OFF", "utility:8", "observed");
    has("OperationOff", "utility:8", "done");
    has("GoToStandby", "utility:9", "refused");
    has("utility met", "gateway", "observed");
    let status = gateway.json(&["status"]);
    assert!(status["status"].as_str().unwrap().contains("utility connected"), "{status}");
    gateway.stop();
}

#[test]
fn a_control_holds_after_a_kill_until_the_home_ends_it_and_the_gateway_says_whose_it_is() {
    let (home, peer) = (home(), Peer::start());
    let mut gateway = home.start();
    let tv = Appliance::start(PowerState::On);
    let bare = tv.udn.bare();
    gateway.wait_for(&tv, |a| a["state"] == "ON" && a["flexibility"] == "StandbyAble");
    gateway.expect(0, &["enrol", peer.token()], "done");
    gateway.expect(0, &["consent", bare, "yes"], "done");
    // Whoever may switch it off for a limit lets it go on again, were it not for the control.
    gateway.expect(0, &["rule", "add", bare, "plan", "limits"], "done");
    peer.script().controls.push(control(7, bare, PowerState::Off));
    wait("the end of the control", || {
        let script = peer.script();
        script.outcomes.iter().any(|o| o.id.number() == 7 && o.kind == OutcomeKind::Done).then_some(())
    });
    let before = gateway.json(&["why", bare]);
    assert_eq!((&before["ruler"], &before["wanted"]), (&"control 7".into(), &"off".into()), "{before:#}");
    gateway.kill();

    gateway = home.start();
    gateway.wait_for(&tv, |a| a["state"] == "OFF" && a["subscribed"] == true);
    let after = gateway.json(&["why", bare]);
    for key in ["ruler", "wanted", "because", "until"] {
        assert_eq!(after[key], before[key], "{key}: {after:#}");
    }
    assert!(after["because"].as_str().unwrap().starts_with("the utility ordered it off (control 7) until 20"));
    assert!(after["until"].is_string(), "{after:#}");
    let decision = &after["decisions"][0];
    let said = ["act", "cause", "outcome"].map(|key| decision[key].as_str().unwrap_or_default());
    assert_eq!(said, ["off", "utility:7", "done"], "{after:#}");
    assert!(tv.calls_of("OperationOn").is_empty());
    gateway.expect(0, &["consent", bare, "no"], "done");
    gateway.wait_for(&tv, |a| a["state"] == "ON");
    gateway.expect(0, &["why", bare], "control 7 of the utility (off) ended at 20");
    gateway.expect(0, &["why", bare], "as the home no longer allows it; now ");
    gateway.stop();
}

#[test]
fn limits_prices_and_what_was_not_acknowledged_outlive_the_process_and_the_network() {
    let (home, mut peer) = (home(), Peer::start());
    let gateway = home.start();
    gateway.expect(0, &["enrol", peer.token()], "done");
    let quarter = now().0 / 900 * 900;
    let money = ("SEK".parse().unwrap(), Per::KilowattHour);
    let zone: utility_wire::ZoneId = "SE3".parse().unwrap();
    let series = PriceSeries::new(zone.clone(), 3, money, UnixTime::new(quarter), 900, vec![-1500, -1500, 42]).unwrap();
    let entry = PriceEntry { version: 3, start: series.start(), end: series.end() };
    let limit = Limit {
        id: utility_wire::EventId::new(5).unwrap(),
        supersedes: None,
        start: UnixTime::new(quarter),
        duration_s: None,
        watts: Watts::new(4200),
        priority: 2,
        randomise_s: 0,
        cancelled: false,
    };
    {
        let mut script = peer.script();
        script.objects.push(("SE3".into(), PriceIndex { zone, series: List::fill([entry]) }.encode()));
        script.objects.push(("SE3@3".into(), series.encode()));
        script.limits = Some(LimitSet { target: None, version: 1, limits: List::fill([limit]) });
        script.prices = 3;
    }
    let known = |v: &Value| v["limit"]["watts"] == 4200 && v["price"] == "-1.500 SEK/kWh";
    utility(&gateway, "limit and price", known);
    // Whoever reads the journal has what waits written first: prices too.
    gateway.json(&["journal"]);
    wait("the limit's reception", || peer.script().outcomes.iter().any(|o| o.id.number() == 5).then_some(()));
    gateway.kill();

    // Nobody there: neither utility nor key management centre, so not even the time.
    let gateway = peer.while_away(|| {
        let gateway = home.start();
        let view = gateway.json(&["utility"]);
        assert_eq!((&view["time"], &view["enrolled"]), (&Value::Null, &true.into()), "{view:#}");
        assert_eq!((&view["limits"][0]["watts"], &view["zone"]), (&4200.into(), &"SE3".into()));
        assert!(view["stale"].to_string().contains("the time is not known"), "{view:#}");
        gateway.expect(0, &["status"], "utility: the time is not known yet");
        gateway
    });
    let view = utility(&gateway, "the utility again", |v| known(v) && v["stale"] == serde_json::json!([]));
    assert_eq!(view["prices-until"], jiff_text(quarter + 2700).as_str());
    gateway.stop();
}

#[test]
fn without_a_key_management_centre_an_enrolment_goes_on_by_itself_and_survives_a_restart() {
    let (home, mut peer) = (home(), Peer::start());
    let token = peer.token().to_owned();
    let gateway = home.start();
    let gateway = peer.while_away(|| {
        gateway.expect(75, &["enrol", &token], "not enrolled yet");
        assert_eq!(gateway.json(&["utility"])["enrolling"], true);
        gateway.kill();
        home.start()
    });
    utility(&gateway, "the enrolment", |v| v["enrolled"] == true && v["heard"].is_string());
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(home.dir.path().join("state").join(name)).map(|m| m.permissions().mode() & 0o777).ok()
    };
    wait("the candidate's file to go", || mode("membership-candidate").is_none().then_some(()));
    assert_eq!(mode("membership"), Some(0o600));
    gateway.stop();
}

#[test]
fn a_utility_without_time_is_left_alone_for_as_long_as_it_says() {
    let (home, peer) = (home(), Peer::start());
    let gateway = home.start();
    gateway.expect(0, &["enrol", peer.token()], "done");
    wait("a poll", || (peer.script().polls > 0).then_some(()));
    peer.script().busy.extend([3600; 2]);
    let view = utility(&gateway, "the refusal", |v| v["last-failure"].to_string().contains("no time for 3600 s"));
    assert!(view["last-failure"].is_string());
    gateway.stop();
}

#[test]
fn a_utility_that_calls_the_gateway_is_answered_and_nobody_else_is() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let (home, mut peer) = (Home::new(), Peer::start());
    let utility_section = format!(
        "[utility]\nspread-s = 0\npoll = false\nconsent = 'all'\nlisten = '{address}'\nreachable = '{address}'\n"
    );
    home.write_config(&format!("{NETWORK}{utility_section}"));
    let gateway = home.start();
    let tv = Appliance::start(PowerState::On);
    gateway.wait_for(&tv, |a| a["state"] == "ON");
    // Before it is enrolled it talks to nobody.
    assert_eq!(exchange(&address, endpoints::CALLED, CONTENT_TYPE_SIGN1, b"x").0, 401);
    gateway.expect(0, &["enrol", peer.token()], "done");
    wait("the address to be announced", || peer.script().calls.contains(&address).then_some(()));
    wait("a report", || peer.script().reports.first().map(drop));

    let order = control(7, tv.udn.bare(), PowerState::Off);
    peer.script().controls.push(order);
    let (poll, _) = peer.with_world(|world| {
        let have = utility_wire::Poll { wait_s: 0, have: nothing(), outcomes: List::empty() };
        world.call(&address, |world| world.command(&have))
    });
    assert!(poll.outcomes.is_empty());
    wait("the order", || (tv.calls_of("OperationOff").len() == 1).then_some(()));
    gateway.wait_for(&tv, |a| a["state"] == "OFF");
    let told = wait("the outcome", || {
        let have = utility_wire::Poll { wait_s: 0, have: nothing(), outcomes: List::empty() };
        let (poll, _) = peer.with_world(|world| world.call(&address, |world| world.command(&have)));
        poll.outcomes.iter().find(|o| o.kind == OutcomeKind::Done).cloned()
    });
    assert_eq!(told.id.number(), 7);
    assert_eq!(tv.calls_of("OperationOff").len(), 1, "an order known by its number is not carried out twice");
    assert_eq!(peer.script().polls, 0, "it was told not to ask");

    // Wrong in form, place, kind, size or signature: a status and nothing else.
    let forged = peer.with_world(|world| world.forged());
    let big = vec![0; 20_000];
    for (path, kind, body, status) in [
        (endpoints::CALLED, CONTENT_TYPE_SIGN1, &b"nonsense"[..], 400),
        (endpoints::CALLED, CONTENT_TYPE_SIGN1, &forged, 401),
        (endpoints::CALLED, CONTENT_TYPE_SIGN1, &big, 413),
        (endpoints::CALLED, "text/plain", b"x", 415),
        ("/", CONTENT_TYPE_SIGN1, b"x", 404),
    ] {
        let (got, answer) = exchange(&address, path, kind, body);
        assert_eq!(got, status, "{path} {kind}");
        assert_eq!(String::from_utf8_lossy(&answer), format!("{{\"status\":{status}}}"));
    }
    // A flood of forgeries wants cookies, and the gateway goes on.
    let statuses: Vec<_> =
        (0..60).map(|_| exchange(&address, endpoints::CALLED, CONTENT_TYPE_SIGN1, &forged).0).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    gateway.expect(0, &["status"], "utility");
    gateway.stop();
}

#[test]
fn a_utility_that_lost_its_keys_and_count_is_heard_again_with_the_root_keys_word() {
    let (home, mut peer) = (home(), Peer::start());
    let gateway = home.start();
    let tv = Appliance::start(PowerState::On);
    gateway.wait_for(&tv, |a| a["state"] == "ON");
    gateway.expect(0, &["enrol", peer.token()], "done");
    let polled = |peer: &Peer| {
        let before = peer.script().polls;
        wait("polls", || (peer.script().polls > before + 2).then_some(()));
    };
    peer.with_world(crate::peer::World::count_on);
    polled(&peer);
    peer.with_world(crate::peer::World::recover);
    // Its numbers begin at 1 again, far below what was taken under its old key.
    peer.script().controls.push(control(7, tv.udn.bare(), PowerState::Off));
    wait("the control to be answered", || peer.script().outcomes.iter().any(|o| o.id.number() == 7).then_some(()));
    gateway.stop();
}

fn nothing() -> utility_wire::Versions {
    utility_wire::Versions { prices: 0, limits: 0, policy: 0 }
}

fn jiff_text(seconds: u64) -> String {
    jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap().to_string()
}
