//! The built programs, heg-utility and utilityctl, on loopback; homes are played by this process.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

#[path = "support/keys.rs"]
mod keys;
#[path = "support/messages.rs"]
mod messages;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::Connection;
use serde_json::{Value, json};
use testkit::lab::sandbox::skip;
use testkit::lab::wait_until;
use testkit::postgres::Cluster;
use utility::app::wall;
use utility::store::Store;
use utility_wire::*;

const HOME: &str = "2fac1234-31f8-41b4-a222-08002b34c003";
const WITHIN: Duration = Duration::from_secs(30);

#[test]
fn a_fleet_is_run_from_the_command_line_and_every_change_is_in_the_audit() {
    let utility = Utility::new("");
    let server = utility.start();
    server.expect(0, &["status"], "sqlite");
    server.expect(0, &["site", "add", HOME, "--zone", "SE3", "--group", "north/feeder-7", "--name", "Anna's"], HOME);
    server.expect(1, &["site", "add", HOME, "--zone", "SE4", "--group", "x"], "is there with another name");
    let other = HOME.replace("c003", "c004");
    let added = server.json(&["site", "add", &other, "--zone", "SE3", "--group", "south"]);
    assert_eq!((&added["id"], &added["token"]), (&json!(other), &json!(null)), "one document, also without a token");
    server.expect(0, &["sites", "--group", "north"], "Anna's");
    assert_eq!(server.json(&["site", "show", &format!("uuid:{HOME}")])["site"]["contact"], "never");
    server.expect(66, &["site", "show", "2fac1234-31f8-41b4-a222-000000000000"], "there is no site");
    server.expect(64, &["site", "show", "anna"], "expected the UUID of a gateway");

    server.expect(0, &["limit", "make", "north", "4200", "--duration", "30m", "--reason", "peak"], "limit 1");
    server.expect(0, &["limit", "make", "north", "9000", "--supersedes", "1", "--randomise", "10m"], "limit 2");
    server.expect(1, &["limit", "cancel", "1"], "limit 1 is superseded");
    server.expect(0, &["limit", "list"], "until cancelled");
    server.expect(0, &["limit", "responses", "2"], "no home has answered yet");
    server.expect(0, &["limit", "cancel", "2"], "cancelled");
    let status: Vec<_> =
        server.json(&["limit", "list"]).as_array().unwrap().iter().map(|l| l["status"].clone()).collect();
    assert_eq!(status, ["cancelled", "superseded"]);
    server.expect(65, &["limit", "make", "north", "1", "--duration", "8d"], "from 1 s to 7 days");
    server.expect(66, &["control", "off", HOME, "freezer"], "has no appliance freezer");

    let audit = server.json(&["audit"]);
    let seen: Vec<_> =
        audit["changes"].as_array().unwrap().iter().map(|c| (c["actor"].clone(), c["action"].clone())).collect();
    let by = |actor: &str, action: &str| (json!(actor), json!(action));
    let admin = "operator:admin";
    let all = ["site.add", "site.add", "limit.make", "limit.make", "limit.cancel"].map(|action| by(admin, action));
    assert_eq!(seen, [&[by("server", "operator.add")][..], &all].concat());

    assert_eq!(server.stop(), Some(0));
    assert_eq!(utility.ctl(&server.url(), &["status"]).status.code(), Some(69), "nobody listens");
}

#[test]
fn price_files_are_published_or_refused_with_the_line_that_is_wrong() {
    let utility = Utility::new("[[price-zone]]\nname = 'SE3'\ntime-zone = 'CET-1CEST,M3.5.0,M10.5.0/3'\n");
    let server = utility.start();
    let sound = day();
    let publish = |text: &str, code, said: &str, more: &[&str]| {
        let file = utility.dir.path().join("prices.csv");
        fs::write(&file, text).unwrap();
        let file = file.to_string_lossy().into_owned();
        server.expect(code, &[&["price", "publish", &file, "--zone", "SE3"], more].concat(), said);
    };
    publish(&sound, 0, "sound: ", &["--dry-run"]);
    assert_eq!(server.get("/b/v1/prices/SE3", "").status, 404, "a dry run publishes nothing");
    publish(&sound, 0, "published as version 1: ", &[]);
    let lines: Vec<&str> = sound.lines().collect();
    let without = |i: usize| [&lines[..i], &lines[i + 1..]].concat().join("\n");
    publish(&without(10), 65, "prices.csv: line 11: there is a gap", &[]);
    publish(&without(1), 65, "prices.csv: line 2: wrong time zone: prices begin at", &[]);
    publish(&sound.replacen("Z,", "+05:00,", 1), 65, "line 2: wrong time zone", &[]);
    publish(&[&lines[..12], &lines[11..]].concat().join("\n"), 65, "line 13: wrong order", &[]);
    publish(&sound, 65, "line 2: wrong time zone", &["--time-zone", "UTC"]);
    publish(&"x".repeat(300_000), 65, "has more than 262144 bytes", &[]);

    let shown = server.json(&["price", "show", "SE3"]);
    assert_eq!(
        (&shown[0]["version"], &shown[0]["currency"], &shown[0]["by"]),
        (&json!(1), &json!("SEK"), &json!("operator:admin"))
    );
    server.expect(0, &["price", "show", "SE3"], "-3.000");
    server.expect(64, &["price", "publish", "/dev/null", "--zone", "SE4"], "zone SE4 is not configured");

    // Homes and caches get the stored bytes, and a tag instead of them when nothing changed.
    let index = server.get("/b/v1/prices/SE3", "");
    let listed = PriceIndex::decode(&index.body).unwrap();
    assert_eq!((index.header("content-type"), listed.series.len()), (Some("application/cbor"), 1));
    assert_eq!(index.header("cache-control"), Some("public, max-age=30, stale-if-error=86400"));
    let etag = index.header("etag").unwrap();
    let again = server.get("/b/v1/prices/SE3", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(etag)));
    let series = server.get("/b/v1/prices/SE3@1", "");
    assert_eq!(PriceSeries::decode(&series.body).unwrap().prices_milli()[0], -3000);
    // Its signature changes with the utility's key, so it is not for ever.
    assert_eq!(series.header("cache-control"), Some("public, max-age=3600, stale-if-error=86400"));
    assert_eq!(server.get(&format!("/b/v1/prices/{}", "x".repeat(300)), "").status, 404);
    publish(&sound, 0, "version 2", &[]);
    wait_until("the new index", WITHIN, || {
        let fresh = server.get("/b/v1/prices/SE3", &format!("If-None-Match: {etag}\r\n"));
        (fresh.status == 200).then_some(())
    })
    .unwrap();
    server.stop();
}

#[test]
fn whoever_has_no_token_no_role_or_asks_too_much_is_turned_away_with_a_problem() {
    let utility = Utility::new("[console]\nlisten = ['127.0.0.1:0']\nrequests-per-s = 0.5\nburst = 8\n");
    let server = utility.start();
    let viewer = server.json(&["operator", "add", "vera", "--role", "viewer"])["token"].as_str().unwrap().to_owned();
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let as_viewer = bearer(&viewer);
    assert_eq!(server.get("/v1/sites", &as_viewer).status, 200);
    let body = r#"{"target": "north", "watts": 1}"#;
    let forbidden = server.ask("POST", "/v1/limits", &as_viewer, body);
    assert_eq!((forbidden.status, forbidden.json()["code"].clone()), (403, json!("forbidden")));
    assert_eq!(server.get("/v1/operators", &as_viewer).status, 403);

    let unknown = server.get("/v1/sites", "");
    assert_eq!((unknown.status, unknown.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(unknown.header("content-type"), Some("application/problem+json"));
    let problem = unknown.json();
    assert_eq!(
        (&problem["status"], &problem["title"], &problem["type"]),
        (&json!(401), &json!("Unauthorized"), &json!("about:blank"))
    );

    // Eight at once for a token, then as the rate allows.
    let throttled = (0..20).map(|_| server.get("/v1/sites", &as_viewer)).find(|a| a.status == 429).unwrap();
    assert!((1..=2).contains(&throttled.header("retry-after").unwrap().parse::<u32>().unwrap()));
    // Others are not touched by that; guessing is stopped by address, before any token is looked at.
    assert_eq!(server.get("/v1/status", &bearer(&server.admin())).status, 200);
    let guessed = bearer(&format!("{}.{}", "0".repeat(16), "0".repeat(64)));
    let stopped = (0..30).map(|_| server.get("/v1/sites", &guessed)).find(|a| a.status == 429).unwrap();
    assert!(stopped.header("retry-after").is_some());
    assert_eq!(server.get("/v1/status", &bearer(&server.admin())).status, 429, "the same address");
    assert_eq!(server.get("/healthz", "").status, 200, "health needs no token");
    server.stop();
}

#[test]
fn what_a_request_brings_is_bounded_and_refused_as_a_problem() {
    let utility = Utility::new("");
    let server = utility.start();
    let admin = format!("Authorization: Bearer {}\r\n", server.admin());
    for (method, path, body, status, code) in [
        ("GET", "/nowhere", "", 404, "not-found"),
        ("PUT", "/v1/sites", "", 405, "method-not-allowed"),
        ("GET", "/v1/sites?grup=x", "", 400, "bad-request"),
        ("GET", "/v1/sites?group=a%20b", "", 400, "bad-request"),
        ("DELETE", "/v1/limits/0", "", 400, "bad-request"),
        ("POST", "/v1/limits", "{", 400, "bad-request"),
        ("POST", "/v1/limits", r#"{"target": "north", "watts": 1, "colour": "red"}"#, 400, "bad-request"),
        ("POST", "/v1/limits", r#"{"target": "north", "watts": -1}"#, 400, "bad-request"),
        ("POST", "/v1/limits", r#"{"target": "north", "watts": 1, "start": "soon"}"#, 400, "bad-request"),
        ("POST", "/v1/limits", r#"{"target": "north", "watts": 1, "supersedes": 9}"#, 404, "unknown-event"),
        ("POST", "/v1/limits", r#"{"target": "north", "watts": 1, "reason": "a\u0007b"}"#, 422, "refused"),
        ("GET", "/b/v1/prices/../../etc/passwd", "", 404, "not-found"),
    ] {
        let answer = server.ask(method, path, &admin, body);
        assert_eq!((answer.status, answer.json()["code"].clone()), (status, json!(code)), "{method} {path} {body}");
    }
    let large = server.ask("POST", "/v1/limits", &admin, &" ".repeat(70_000));
    assert_eq!((large.status, large.json()["code"].clone()), (413, json!("too-large")));

    let metrics = String::from_utf8(server.get("/metrics", "").body).unwrap();
    assert!(metrics.contains("# TYPE heg_utility_http_requests_total counter\n"), "{metrics}");
    server.stop();
}

#[test]
fn watching_tells_a_change_at_once_and_ends_with_the_server() {
    let utility = Utility::new("");
    let server = utility.start();
    let admin = format!("Authorization: Bearer {}\r\n", server.admin());
    let last = server.get("/v1/changes?limit=1", &admin).json()["last"].as_u64().unwrap();
    thread::scope(|scope| {
        let watch = scope.spawn(|| server.get(&format!("/v1/changes?since={last}&wait=50"), &admin).json());
        server.expect(0, &["limit", "make", "north", "4200"], "limit 1");
        let news = watch.join().unwrap();
        assert_eq!((&news["last"], &news["changes"][0]["action"]), (&json!(last + 1), &json!("limit.make")));
    });
    thread::scope(|scope| {
        let watch = scope.spawn(|| server.get(&format!("/v1/changes?since={}&wait=50", last + 1), &admin));
        // From then on it is being answered; a connection may be counted before its request is read.
        wait_until("the watch to wait", WITHIN, || {
            let metrics = String::from_utf8(server.get("/metrics", "").body).unwrap();
            metrics.contains("heg_utility_watches_waiting 1\n").then_some(())
        })
        .unwrap();
        server.signal(Signal::SIGTERM);
        let answer = watch.join().unwrap();
        assert_eq!((answer.status, answer.json()["changes"].clone()), (200, json!([])));
    });
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed_on_sqlite() {
    killed(&Utility::new(""));
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed_on_postgresql() {
    let cluster = match Cluster::installed() {
        Ok(()) => Cluster::start().unwrap(),
        Err(missing) => return skip(missing),
    };
    killed(&Utility::new(&format!("[store]\npostgres = '{}'\n", cluster.database().unwrap())));
}

/// Kills the server in the middle of writing, and looks for everything that it had said was done.
fn killed(utility: &Utility) {
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let server = utility.start();
        let admin = format!("Authorization: Bearer {}\r\n", server.admin());
        let done: Mutex<Vec<String>> = Mutex::default();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for writer in 0..4u32 {
                let (server, admin, done, stop) = (&server, &admin, &done, &stop);
                scope.spawn(move || {
                    for i in 0u32.. {
                        let id = format!("2fac1234-31f8-41b4-{round:04x}-{writer:04x}{i:08x}");
                        let body = json!({ "id": id, "zone": "SE3", "group": "north" }).to_string();
                        match server.try_ask("POST", "/v1/sites", admin, &body) {
                            Some(answer) if answer.status == 201 => done.lock().unwrap().push(id),
                            Some(answer) => panic!("{}: {}", answer.status, answer.json()),
                            None => return assert!(stop.load(Ordering::Relaxed), "refused before the end"),
                        }
                    }
                });
            }
            wait_until("some writes", WITHIN, || (done.lock().unwrap().len() >= 40).then_some(())).unwrap();
            stop.store(true, Ordering::Relaxed);
            server.signal(Signal::SIGKILL);
        });
        server.wait();
        acknowledged.extend(done.into_inner().unwrap());
    }
    let server = utility.start();
    let mut there = Vec::new();
    while let Some(page) = Some(server.json(&sites_after(there.last()))).filter(|p| p[0].is_object()) {
        there.extend(page.as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()));
    }
    let missing: Vec<_> = acknowledged.iter().filter(|id| there.binary_search(id).is_err()).collect();
    assert!(missing.is_empty(), "{} of {} lost: {missing:?}", missing.len(), acknowledged.len());
    // Each is in the log too, once: both or none.
    let last = server.json(&["status"])["last-change"].as_u64().unwrap();
    assert_eq!(last, there.len() as u64 + 1, "a change for each site, and one for the first operator");
    server.stop();
}

fn sites_after(last: Option<&String>) -> Vec<&str> {
    last.map_or(vec!["sites"], |last| vec!["sites", "--after", last])
}

#[test]
fn a_copy_of_the_database_made_while_the_server_runs_holds_everything_and_takes_nothing_away() {
    let utility = Utility::new("");
    let mut server = utility.start();
    let state = utility.dir.path().join("state");
    for count in 1..=3u32 {
        let id = format!("2fac1234-31f8-41b4-a222-00000000000{count}");
        server.expect(0, &["site", "add", &id, "--zone", "SE3", "--group", "north", "--no-token"], "taken up");
        // As sqlite3's .backup does it: another process opens the database, reads all of it, and closes it.
        let copy = utility.dir.path().join(format!("copy-{count}.db"));
        let live = Connection::open(state.join("utility.db")).unwrap();
        live.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).unwrap();
        live.close().unwrap();
        let copied = Connection::open(&copy).unwrap().query_row("SELECT count(*) FROM site", [], |row| row.get(0));
        assert_eq!(copied, Ok(count));
        if count == 2 {
            server.signal(Signal::SIGKILL);
            server.wait();
            server = utility.start();
        }
    }
    assert_eq!(server.json(&["sites"]).as_array().map(Vec::len), Some(3));
    server.stop();
}

#[test]
fn the_power_systems_readings_make_a_limit_by_rule_and_take_it_back() {
    let utility =
        Utility::new("[power-system]\nfile = 'DIR/readings.csv'\nevery-s = 1\n[rules]\nfile = 'DIR/rules.toml'\n");
    let rules = "[[rule]]\nname = 'evening peak'\ngroup = 'north/feeder-7'\nwhen = 'load above 950 kW for 5 min'\nlimit = '4200 W for 30 min'\nuntil = 'load below 900 kW'\n";
    utility.write("rules.toml", rules);
    let begun = wall().seconds();
    let readings = |all: &[(u64, u32)]| {
        let mut text = "at,group,load_w\n".to_owned();
        for (minutes, kw) in all {
            let at = Timestamp::from_second((begun + minutes * 60).cast_signed()).unwrap();
            writeln!(text, "{at},north/feeder-7,{}", kw * 1000).unwrap();
        }
        // As a whole: the server may look at any moment.
        utility.write("readings.new", &text);
        fs::rename(utility.dir.path().join("readings.new"), utility.dir.path().join("readings.csv")).unwrap();
    };
    let server = utility.start();
    wait_until("the missing file to be told", WITHIN, || {
        let troubles = server.json(&["status"])["troubles"].to_string();
        troubles.contains("readings.csv is not there").then_some(())
    })
    .unwrap();
    readings(&[(0, 960), (4, 970), (6, 980)]);
    let limit = server.wait_for(&["limit", "list"], |l| l[0].is_object());
    assert_eq!(
        (&limit[0]["target"], &limit[0]["watts"], &limit[0]["by"]),
        (&json!("north/feeder-7"), &json!(4200), &json!("rule:evening peak"))
    );
    server.expect(0, &["rules", "list"], "load 980 kW");
    let troubles = server.json(&["status"])["troubles"].clone();
    assert_eq!(troubles.as_array().unwrap().len(), 1, "it is not enrolled, and nothing else: {troubles}");
    assert!(troubles[0].as_str().unwrap().contains("utilityctl enrol"), "{troubles}");

    // After a crash the same readings make no second limit, and the next ones go on from where it was.
    server.signal(Signal::SIGKILL);
    server.wait();
    let server = utility.start();
    readings(&[(0, 960), (4, 970), (6, 980), (7, 890)]);
    let limits = server.wait_for(&["limit", "list"], |l| l[0]["status"] == "cancelled");
    assert_eq!(limits.as_array().unwrap().len(), 1);

    // A reload takes rules over; one that is wrong changes nothing and is told.
    utility.write("rules.toml", &rules.replace("950 kW", "950 kV"));
    server.signal(Signal::SIGHUP);
    server.wait_for(&["status"], |s| {
        s["troubles"].to_string().contains("rules.toml: line 1: rule \\\"evening peak\\\": when:")
    });
    utility.write("rules.toml", "");
    server.signal(Signal::SIGHUP);
    server.wait_for(&["status"], |s| s["rules"] == 0 && s["troubles"].as_array().is_some_and(|t| t.len() == 1));
    server.stop();
}

#[test]
fn an_appliance_is_controlled_and_the_command_line_waits_for_its_outcome() {
    let cluster = match Cluster::installed() {
        Ok(()) => Cluster::start().unwrap(),
        Err(missing) => return skip(missing),
    };
    let database = cluster.database().unwrap();
    let utility = Utility::new(&format!("[store]\npostgres = '{database}'\n"));
    let server = utility.start();
    server.expect(0, &["site", "add", HOME, "--zone", "SE3", "--group", "north"], HOME);
    // This process is another replica, and the home.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(Store::postgres(&database, 4)).unwrap();
    let site = runtime.block_on(store.site(&HOME.parse().unwrap())).unwrap().unwrap();
    let freezer = |id: &str, consents| ApplianceReport {
        id: id.parse().unwrap(),
        name: "Freezer".parse().unwrap(),
        state: None,
        since: wall(),
        power: None,
        rated: None,
        importance: None,
        flexibility: None,
        consents,
    };
    let report = Report {
        batch: 1,
        made: wall(),
        complete: true,
        appliances: List::fill([freezer("freezer", true), freezer("cooker", false)]),
        consumption: List::empty(),
        gaps: List::empty(),
        decisions: List::empty(),
    };
    runtime.block_on(messages::take_report(&store, &site.id, &report, wall())).unwrap();
    server.expect(1, &["control", "off", HOME, "cooker"], "the people at home do not let the utility control cooker");

    let refusal = Refusal { code: RefusalCode::new(802), reason: "a film is on".parse().unwrap() };
    for (verb, kind, code, said) in [
        ("off", OutcomeKind::Done, 0, "done"),
        ("standby", OutcomeKind::Refused(refusal), 2, "refused (802): a film is on"),
        ("on", OutcomeKind::Expired, 5, "expired"),
    ] {
        thread::scope(|scope| {
            let ordered = scope.spawn(|| server.expect(code, &["control", verb, HOME, "freezer"], said));
            let control = wait_until("the control", WITHIN, || {
                runtime.block_on(store.take_controls(&site.id, wall())).unwrap().pop()
            });
            let outcome = Outcome { id: control.unwrap().id, at: wall(), kind };
            runtime.block_on(messages::take_outcome(&store, &site.id, &outcome, wall())).unwrap();
            ordered.join().unwrap();
        });
    }
    server.stop();
}

#[test]
fn rules_are_checked_and_tried_without_a_server() {
    let utility = Utility::new("");
    let rules = utility.write(
        "r.toml",
        "[[rule]]\nname = 'peak'\ngroup = 'north'\nwhen = 'load above 950 kW'\nlimit = '4200 W for 30 min'\n",
    );
    let readings = utility.write("l.csv", "at,group,load_w\n2027-01-15T08:00:00Z,north,951000\n");
    let nowhere = "http://127.0.0.1:1";
    let out = utility.ctl(nowhere, &["rules", "check", &rules]);
    assert!(said(&out).contains("when load above 950 kW in north, limit north to 4200 W for 1800 s"), "{}", said(&out));
    let out = utility.ctl(nowhere, &["rules", "dry-run", &rules, &readings]);
    assert!(said(&out).contains("peak  limit: load 951 kW"), "{}", said(&out));
    let wrong = utility.write("w.toml", "[[rule]]\nname = 'peak'\n");
    let out = utility.ctl(nowhere, &["rules", "check", &wrong]);
    assert_eq!(out.status.code(), Some(65));
    assert!(said(&out).contains("w.toml: line 1: missing field `group`"), "{}", said(&out));
}

#[test]
fn a_wrong_configuration_and_a_taken_address_end_with_a_clear_error() {
    let utility = Utility::new("");
    let server = utility.start();
    let listen = format!("[console]\nlisten = ['{}']\n", server.address);
    let second = Utility::new(&listen);
    let out = second.command().output().unwrap();
    assert_eq!(out.status.code(), Some(69));
    assert!(said(&out).contains("cannot listen on 127.0.0.1:"), "{}", said(&out));
    server.stop();

    let wrong = Utility::new("[consol]\n");
    let out = wrong.command().arg("--check").output().unwrap();
    assert_eq!(out.status.code(), Some(78));
    assert!(said(&out).contains("consol: unknown key, did you mean `console`?"), "{}", said(&out));
    assert_eq!(wrong.command().arg("--chekc").output().unwrap().status.code(), Some(64));
    let nowhere = Utility::new("[store]\npostgres = 'host=/nonexistent user=x dbname=x'\n");
    assert_eq!(nowhere.command().output().unwrap().status.code(), Some(69));
}

#[test]
fn a_completion_script_is_printed_for_each_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let out = Command::new(env!("CARGO_BIN_EXE_utilityctl")).args(["completion", shell]).output().unwrap();
        assert!(out.status.success() && said(&out).contains("publish"), "{shell}");
    }
}

/// Prices of tomorrow by Sweden's clock, in quarters.
fn day() -> String {
    let zone = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let today = zone.to_datetime(Timestamp::from_second(wall().seconds().cast_signed()).unwrap()).date();
    let start = today.tomorrow().unwrap().to_zoned(zone).unwrap();
    let (mut at, end) = (start.timestamp(), (&start + 1.day()).timestamp());
    let mut text = "start_utc,end_utc,sek_per_mwh\n".to_owned();
    for i in -3.. {
        if at >= end {
            break;
        }
        writeln!(text, "{at},{},{i}", at + 15.minutes()).unwrap();
        at += 15.minutes();
    }
    text
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// A utility's directory: configuration and state.
struct Utility {
    dir: tempfile::TempDir,
}

impl Utility {
    fn new(config: &str) -> Self {
        let utility = Self { dir: tempfile::tempdir().unwrap() };
        let listen = if config.contains("listen") { "" } else { "[console]\nlisten = ['127.0.0.1:0']\n" };
        let homes = if config.contains("[homes]") { "" } else { "[homes]\nlisten = ['127.0.0.1:0']\n" };
        let text = format!("state-dir = 'DIR/state'\n{listen}{homes}{config}");
        utility.write("utility.toml", &text.replace("DIR", &utility.dir.path().to_string_lossy()));
        utility
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heg-utility"));
        command.arg("--config").arg(self.dir.path().join("utility.toml")).env_remove("STATE_DIRECTORY");
        command
    }

    fn token_file(&self) -> PathBuf {
        self.dir.path().join("state/admin-token")
    }

    fn start(&self) -> Server<'_> {
        let mut child = self.command().stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.by_ref().find_map(|line| line.split_once("address=")?.1.trim().parse().ok());
        lines.by_ref().find(|line| line.contains("started")).unwrap();
        // Read on, so that the server never waits for us.
        thread::spawn(move || lines.for_each(drop));
        Server { utility: self, address: address.unwrap(), child: Mutex::new(child) }
    }

    fn ctl(&self, url: &str, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_utilityctl"));
        command.args(["--server", url, "--token-file"]).arg(self.token_file()).args(args);
        command.output().unwrap()
    }
}

/// A running server.
struct Server<'u> {
    utility: &'u Utility,
    address: SocketAddr,
    child: Mutex<Child>,
}

impl Server<'_> {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn admin(&self) -> String {
        fs::read_to_string(self.utility.token_file()).unwrap().trim().to_owned()
    }

    fn expect(&self, code: i32, args: &[&str], want: &str) {
        let out = self.utility.ctl(&self.url(), args);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", said(&out));
        assert!(said(&out).contains(want), "{args:?}: {}", said(&out));
    }

    fn json(&self, args: &[&str]) -> Value {
        let out = self.utility.ctl(&self.url(), &[&["--json"], args].concat());
        assert!(out.status.success(), "{args:?}: {}", said(&out));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    fn wait_for(&self, args: &[&str], fits: impl Fn(&Value) -> bool) -> Value {
        wait_until(&format!("{args:?}"), WITHIN, || Some(self.json(args)).filter(&fits)).unwrap()
    }

    fn get(&self, path: &str, headers: &str) -> Answer {
        self.ask("GET", path, headers, "")
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        self.try_ask(method, path, headers, body).unwrap()
    }

    /// `None`: the server is gone.
    fn try_ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        // A server that refuses a long body may close before all of it is sent, and its answer counts all the same.
        let _ = stream.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        let Some(end) = end else {
            assert!(bytes.is_empty() || read.is_err(), "half an answer");
            return None;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer { status, head, body: bytes[end + 4..].to_vec() })
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.lock().unwrap().id().cast_signed()), signal).unwrap();
    }

    fn wait(&self) -> Option<i32> {
        self.child.lock().unwrap().wait().unwrap().code()
    }

    fn stop(&self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.wait()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // Only where a test failed is it still there.
        let child = self.child.get_mut().unwrap();
        if child.try_wait().unwrap().is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|l| l.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}
