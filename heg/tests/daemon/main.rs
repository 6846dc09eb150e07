//! The built programs, heg-gateway and hegctl, with an appliance played by this process on the loopback interface.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

mod house;
mod metrics;
mod peer;
mod planning;
mod utility;

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use energy_model::{PowerState, RefusalKind};
use serde_json::Value;

use house::{Appliance, DEADLINE, Home, Told, uid, wait};

#[test]
fn an_appliance_is_found_watched_and_commanded_and_every_ending_has_its_exit_code() {
    let home = Home::new();
    let gateway = home.start();
    let tv = Appliance::start(PowerState::On);

    // Found, its state known, its events subscribed to.
    let view = gateway.wait_for(&tv, |a| a["state"] == "ON" && a["subscribed"] == true && a["rated-power-w"] == 90);
    assert_eq!((&view["name"], &view["mac"]), (&"Test TV".into(), &"02:00:00:00:00:09".into()));

    // A change is told by the appliance's own event.
    tv.order(Told::State(PowerState::Off));
    gateway.wait_for(&tv, |a| a["state"] == "OFF");

    // Obeyed and confirmed: 0. By the beginning of the UDN as well as by the whole.
    let bare = tv.udn.bare();
    gateway.expect(0, &["on", bare], "done");
    gateway.expect(0, &["off", &bare[..30]], "done");
    assert_eq!(tv.calls_of("OperationO"), ["OperationOn", "OperationOff"]);

    // Refused by the appliance, with its reason, and asked once only: 2.
    tv.order(Told::Refuse(RefusalKind::ActiveSession, "a film is on"));
    gateway.expect(2, &["standby", bare], "refused (802): a film is on");
    assert_eq!(tv.calls_of("GoToStandby").len(), 1);

    // Declined by the gateway on the appliance's own wish: 3.
    tv.order(Told::Obey);
    let reg = gateway
        .asked_by(&tv, "NoStandbyPeriod", "<StartTime>00:00:00</StartTime><StopTime>23:59:59</StopTime>")
        .unwrap();
    gateway.expect(
        3,
        &["standby", bare],
        &format!("declined: NoStandbyPeriod 00:00:00 23:59:59 (RegID {reg}) forbids it now"),
    );
    assert_eq!(tv.calls_of("GoToStandby").len(), 1);

    // Withdraw: an unknown number and one of others is a fault, the own one is not.
    assert_eq!(gateway.asked_by(&tv, "Withdraw", "<RegID>4711</RegID>").unwrap_err(), 820);
    gateway.asked_by(&tv, "Withdraw", &format!("<RegID>{reg}</RegID>")).unwrap();
    gateway.expect(0, &["standby", bare], "done");

    // Asleep: unreachable is 4, a wake that nobody hears is 5.
    gateway.wait_for(&tv, |a| a["state"] == "Standby" && a["reachable"] == false);
    tv.order(Told::Vanish);
    gateway.expect(4, &["off", bare], "unreachable: it is asleep (Standby); wake it first");
    gateway.expect(5, &["wake", bare], "timed-out: not awake after");

    // Names that fit nothing or nothing sensible.
    gateway.expect(66, &["show", "kettle"], "no appliance is called \"kettle\"");
    gateway.expect(66, &["withdraw", "4711"], "no registration has RegID 4711");
    gateway.expect(64, &["fly", "tv"], "unrecognized subcommand");

    // All of it is in the journal, with cause and reason.
    let journal = gateway.json(&["journal", "--appliance", bare]);
    let has = |action: &str, outcome: &str| {
        let fits = |e: &&Value| e["action"] == action && e["outcome"] == outcome;
        journal
            .as_array()
            .unwrap()
            .iter()
            .find(fits)
            .unwrap_or_else(|| panic!("{action} {outcome}: {journal:#}"))
            .clone()
    };
    let uid = format!("person:{}", uid());
    assert_eq!(has("OperationOn", "done")["cause"], Value::from(uid.clone()));
    assert_eq!(has("GoToStandby", "refused")["reason"], "a film is on");
    assert_eq!(has("GoToStandby", "declined")["cause"], Value::from(uid));
    assert_eq!(has("NoStandbyPeriod 00:00:00 23:59:59", "registered")["cause"], "appliance");
    assert_eq!(has("wake", "timed-out")["name"], "Test TV");

    gateway.stop();
    let out = home.hegctl(&["status"]);
    assert_eq!(out.status.code(), Some(69), "no gateway runs");
}

#[test]
fn nothing_acknowledged_is_lost_when_the_gateway_is_killed() {
    let home = Home::new();
    let mut gateway = home.start();
    let tv = Appliance::start(PowerState::On);
    gateway.wait_for(&tv, |a| a["state"] == "ON");
    let bare = tv.udn.bare();

    let by_appliance = gateway.asked_by(&tv, "WakeUpTime", "<Time>06:30:00</Time>").unwrap();
    let by_person = gateway.json(&["schedule", bare, "wake", "07:15"])["reg-id"].as_u64().unwrap() as u32;
    let there = gateway.json(&["schedule", bare, "standby", "22:00", "05:00"]);
    assert_eq!((&there["kept-by"], &there["reg-id"]), (&"appliance".into(), &77.into()));
    gateway.expect(0, &["off", bare], "done");
    gateway.kill();

    gateway = home.start();
    let view = gateway.wait_for(&tv, |a| a["state"] == "OFF");
    let mut kept: Vec<_> =
        view["registrations"].as_array().unwrap().iter().map(|r| r["reg-id"].as_u64().unwrap() as u32).collect();
    kept.sort();
    assert_eq!(kept, [by_appliance, by_person, 77]);
    let journal = gateway.json(&["journal"]);
    assert!(journal.as_array().unwrap().iter().any(|e| e["action"] == "OperationOff" && e["outcome"] == "done"));

    // The same wish again, after the restart, is the same registration; a new one has a new number.
    gateway.wait_for(&tv, |a| a["reachable"] == true);
    assert_eq!(gateway.asked_by(&tv, "WakeUpTime", "<Time>06:30:00</Time>").unwrap(), by_appliance);
    assert!(gateway.asked_by(&tv, "WakeUpTime", "<Time>06:31:00</Time>").unwrap() > by_person);

    // Withdrawn wherever it is kept.
    gateway.expect(0, &["withdraw", "77"], "done");
    assert_eq!(tv.calls_of("Withdraw").len(), 1);
    gateway.expect(0, &["withdraw", &by_person.to_string()], "done");
    gateway.stop();
}

#[test]
fn a_damaged_database_and_a_broken_reload_are_told_and_stop_nothing() {
    let home = Home::new();
    std::fs::create_dir_all(home.dir.path().join("state")).unwrap();
    std::fs::write(home.dir.path().join("state/heg.db"), "not a database".repeat(500)).unwrap();
    let gateway = home.start();
    let status = gateway.json(&["status"]);
    assert!(status["troubles"][0].as_str().unwrap().starts_with("the database was damaged"), "{status}");
    assert!(status["status"].as_str().unwrap().contains("damaged"), "{status}");

    std::fs::write(&home.config, "[discovery]\npoll-every-s = 'often'").unwrap();
    gateway.signal("HUP");
    wait("the reload to be refused", || {
        let status = gateway.json(&["status"]);
        let told = status["troubles"].to_string().contains("discovery.poll-every-s");
        told.then_some(())
    });
    home.write_config("[network]\nloopback = true\nhttp-port = 1\n");
    gateway.signal("HUP");
    wait("the restart to be asked for", || {
        let troubles = gateway.json(&["status"])["troubles"].to_string();
        (troubles.contains("a restart is needed for changes to [network]") && !troubles.contains("often")).then_some(())
    });
    gateway.stop();
}

#[test]
fn a_second_gateway_on_the_same_socket_and_a_wrong_configuration_end_with_a_clear_error() {
    let home = Home::new();
    let gateway = home.start();
    let second = Command::new(env!("CARGO_BIN_EXE_heg-gateway")).arg("--config").arg(&home.config).output().unwrap();
    assert_eq!(second.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&second.stderr).contains("is in use"), "{second:?}");
    gateway.stop();

    std::fs::write(&home.config, "[netwrok]\n").unwrap();
    let check =
        Command::new(env!("CARGO_BIN_EXE_heg-gateway")).arg("--check").arg("--config").arg(&home.config).output();
    let check = check.unwrap();
    assert_eq!(check.status.code(), Some(78));
    let text = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(text.contains("heg.toml:1:2: netwrok: unknown key, did you mean `network`?"), "{text}");
}

#[test]
fn a_completion_script_is_printed_for_each_shell_and_a_full_disk_is_an_error_without_a_panic() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let out = Command::new(env!("CARGO_BIN_EXE_hegctl")).args(["completion", shell]).output().unwrap();
        assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("no-standby"), "{shell}");
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_hegctl")).args(["completion", "bash"]).stdout(full).output().unwrap();
    assert_eq!(out.status.code(), Some(74), "{out:?}");
}

#[test]
fn a_wrong_command_line_is_json_too_where_json_is_asked_for() {
    for (line, said) in [
        ("--json frobnicate", "frobnicate"),
        ("show --json", "<ID>"),
        ("on tv --json --quickly", "--quickly"),
        ("--json", "requires a subcommand"),
        ("--json schedule tv wake 25:00", "25:00"),
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_hegctl")).args(line.split(' ')).output().unwrap();
        assert_eq!(out.status.code(), Some(64), "{line}");
        let body: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{line}: {e}: {out:?}"));
        assert_eq!(body["code"], "usage", "{line}");
        let error = body["error"].as_str().unwrap();
        assert!(error.contains(said) && !error.contains("Usage") && !error.contains('\n'), "{line}: {error}");
        assert!(!out.stderr.is_empty(), "{line}: people are told as ever");
    }
    let out = Command::new(env!("CARGO_BIN_EXE_hegctl")).args(["show"]).output().unwrap();
    assert!(out.status.code() == Some(64) && out.stdout.is_empty(), "{out:?}");
    let out = Command::new(env!("CARGO_BIN_EXE_hegctl")).args(["--json", "--help"]).output().unwrap();
    assert!(out.status.success() && !out.stdout.starts_with(b"{"), "{out:?}");
}

#[test]
fn watch_shows_what_is_and_then_what_changes() {
    let home = Home::new();
    let gateway = home.start();
    let tv = Appliance::start(PowerState::On);
    gateway.wait_for(&tv, |a| a["state"] == "ON" && a["subscribed"] == true);
    let mut watch = home.command(&["--json", "watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let out = watch.stdout.take().unwrap();
    let (lines_in, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(out)).map_while(Result::ok) {
            let _ = lines_in.send(serde_json::from_str::<Value>(&line).unwrap());
        }
    });
    let next = |kind: &str| loop {
        let line = lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line {kind}"));
        let ours = line["appliance"]["udn"] == tv.udn.as_str() || line["entry"]["udn"] == tv.udn.as_str();
        if line["kind"] == kind && (ours || kind == "ready") {
            return line;
        }
    };
    assert_eq!(next("appliance")["appliance"]["state"], "ON");
    next("ready");
    tv.order(Told::State(PowerState::Standby));
    assert_eq!(next("journal")["entry"]["action"], "PowerState Standby");
    assert_eq!(next("appliance")["appliance"]["state"], "Standby");
    watch.kill().unwrap();
    watch.wait().unwrap();
    gateway.stop();
}
