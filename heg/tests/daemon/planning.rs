//! Prices, rules and plan through the built programs.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use energy_model::PowerState;
use serde_json::Value;

use crate::house::{Appliance, DEADLINE, Gateway, Home, Told, uid, wait};

const BASE: &str =
    "[network]\nloopback = true\nipv6 = false\ninterfaces = ['lo']\n[commands]\nwithin-s = 10\nwake-within-s = 3\n";

#[test]
fn what_is_too_dear_is_put_to_sleep_once_somebody_said_yes_and_the_gateway_says_why() {
    let home = Home::new();
    home.write_config(&format!("{BASE}[tariff]\ncurrency = 'EUR'\nprice = 0.40\n"));
    let mut gateway = home.start();
    let tv = Appliance::start(PowerState::On);
    let bare = tv.udn.bare();
    gateway.wait_for(&tv, |a| a["state"] == "ON" && a["flexibility"] == "StandbyAble");

    // Nobody has said yes yet, however dear it is.
    gateway.expect(0, &["rule", "add", bare, "price-max", "0.30"], "done: rule 1");
    gateway.expect(0, &["plan"], "nobody has said that anything may be planned");
    let why = gateway.json(&["why", bare]);
    assert_eq!((&why["ruler"], &why["consent"][0]), (&"nobody".into(), &"no".into()), "{why:#}");

    // Whoever watches sees the plan change.
    let mut watch = home.command(&["--json", "watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let out = watch.stdout.take().unwrap();
    let (seen_in, seen) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = seen_in.send(serde_json::from_str::<Value>(&line).unwrap());
        }
    });
    let next = |kind: &str| loop {
        let line = seen.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line {kind}"));
        if line["kind"] == kind {
            return line;
        }
    };
    next("ready");

    // One word, and it sleeps; why is there in words and as values.
    gateway.expect(0, &["rule", "add", bare, "plan", "yes"], "done: rule 2");
    gateway.wait_for(&tv, |a| a["state"] == "Standby");
    let plan = next("plan")["plan"].clone();
    assert_eq!(
        (&plan["loads"][0]["pauses"][0]["why"], &plan["currency"]),
        (&"price".into(), &"EUR".into()),
        "{plan:#}"
    );
    let decision = next("decision")["decision"].clone();
    assert_eq!((&decision["act"], &decision["kind"]), (&"off".into(), &"price".into()), "{decision:#}");
    watch.kill().unwrap();
    watch.wait().unwrap();
    let log = std::fs::read_to_string(home.dir.path().join("log")).unwrap();
    let decided = log.lines().find(|line| line.contains("decided")).unwrap_or_else(|| panic!("{log}"));
    for field in [bare, "act=plan off", "kind=\"price\"", "cause=price", "because=", "saves_millionths="] {
        assert!(decided.contains(field), "{field}: {decided}");
    }
    assert!(
        log.lines().any(|l| l.contains("journal") && l.contains("action=\"GoToStandby\"") && l.contains("cause=price"))
    );
    gateway.expect(0, &["why", bare], "price: 0.4000 EUR/kWh now");
    let why = gateway.json(&["why", bare]);
    let decision = why["decisions"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&decision["act"], &decision["cause"]), (&"off".into(), &"price".into()), "{why:#}");
    assert_eq!(why["rules"].as_array().unwrap().len(), 2);
    let journal = gateway.json(&["journal", "--appliance", bare]);
    let entry = |action: &str| {
        journal.as_array().unwrap().iter().find(|e| e["action"] == action).cloned().unwrap_or(Value::Null)
    };
    assert_eq!(entry("plan off")["outcome"], "decided", "{journal:#}");
    assert_eq!((&entry("GoToStandby")["cause"], &entry("GoToStandby")["outcome"]), (&"price".into(), &"done".into()));
    assert_eq!(entry("rule 2: plan yes")["cause"], Value::from(format!("person:{}", uid())));
    gateway.expect(0, &["plan"], "off: price");

    // A person's order goes before the plan; after a kill it still does, and is taken back by its number.
    tv.order(Told::State(PowerState::On));
    gateway.wait_for(&tv, |a| a["state"] == "ON");
    let list = wait("the hand's rule", || {
        let list = gateway.json(&["rule", "list", "--appliance", bare]);
        (list.as_array().unwrap().len() == 3).then_some(list)
    });
    assert_eq!((&list[2]["by"], &list[2]["words"]), (&"hand".into(), &"on".into()), "{list:#}");
    gateway.kill();
    gateway = home.start();
    gateway.wait_for(&tv, |a| a["state"] == "ON" && a["flexibility"] == "StandbyAble");
    gateway.expect(0, &["why", bare], "order-on, rule 3");
    gateway.expect(0, &["rule", "remove", "3"], "done");
    gateway.wait_for(&tv, |a| a["state"] == "Standby");

    // What it is may be said by hand as well: kept over a kill, shown, and taken back.
    gateway.expect(64, &["rule", "add", bare, "charge", "500", "--for", "2h"], "is for a load of kind Interruptible");
    gateway.expect(0, &["rule", "add", bare, "kind", "Deferrable", "15m:2000", "50m:150"], "done: rule 4");
    gateway.kill();
    gateway = home.start();
    gateway.expect(0, &["rule", "list"], "kind Deferrable 15 min 2000 W, 50 min 150 W");
    gateway.wait_for(&tv, |a| a["state"] == "Standby");
    let kind = |gateway: &Gateway<'_>| gateway.json(&["why", bare])["kind"].clone();
    assert_eq!(kind(&gateway), serde_json::json!(["Deferrable", "rule:4"]));
    gateway.expect(0, &["why", bare], "no effect here: a rule of kind price-max is for a load of kind Curtailable");
    gateway.expect(0, &["rule", "remove", "4"], "done");
    assert_eq!(kind(&gateway), serde_json::json!(["StandbyAble", "appliance"]));

    // Mistakes are named.
    gateway.expect(66, &["rule", "remove", "99"], "there is no rule 99");
    gateway.expect(66, &["rule", "add", "kettle", "on"], "no appliance is called \"kettle\"");
    gateway.expect(64, &["rule", "add", bare, "run"], "a rule of kind run needs `until`");
    gateway.expect(0, &["savings"], "MONTH");
    gateway.stop();
}

#[test]
fn what_was_said_to_the_running_gateway_is_simulated_and_the_gateway_is_left_alone() {
    let home = Home::new();
    home.write_config(&format!("{BASE}[tariff]\nzone = 'UTC0'\ncurrency = 'EUR'\n[plan]\nfloor-w = 0\n"));
    let file = home.dir.path().join("day.csv");
    let day = |money: &str| {
        let hours = (0..24).map(|hour| format!("2026-11-01T{hour:02}:00Z,0.{:02}\n", 40 - hour));
        std::fs::write(&file, format!("start_utc,{money}_per_kwh\n{}", hours.collect::<String>())).unwrap();
    };
    day("eur");
    let args = ["--prices", file.to_str().unwrap(), "--days", "2"];
    let (code, said) = home.simulate(&args);
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("no gateway is asked: no daemon listens at") && said.contains("nothing to simulate"),
        "{said}"
    );

    let gateway = home.start();
    let washer = Appliance::start(PowerState::On);
    let bare = washer.udn.bare();
    gateway.wait_for(&washer, |a| a["state"] == "ON" && a["flexibility"] == "StandbyAble");
    let (code, said) = home.simulate(&args);
    assert!(code == Some(78) && said.contains("nobody has said that it may be planned"), "{said}");
    // In this order somebody says it who has just been shown how.
    gateway.expect(0, &["rule", "add", bare, "plan", "limits"], "done");
    let (code, said) = home.simulate(&args);
    assert!(code == Some(0) && said.contains("nothing is planned: no load has `plan = \"yes\"`"), "{said}");
    gateway.expect(0, &["rule", "add", bare, "plan", "yes"], "done");
    gateway.expect(0, &["rule", "add", bare, "kind", "Deferrable", "30m:2000"], "done");
    let (code, said) = home.simulate(&args);
    assert!(code == Some(0) && said.contains("does nothing: its work is asked for by `every-day`"), "{said}");
    gateway.expect(0, &["rule", "add", bare, "every-day", "08:00", "20:00"], "done");
    // What the gateway decides by itself goes on meanwhile.
    let said_by_people = || {
        let journal = gateway.json(&["journal"]);
        let by_people =
            journal.as_array().unwrap().iter().filter(|e| e["cause"].as_str().unwrap().starts_with("person"));
        (gateway.json(&["rule", "list"]), by_people.cloned().collect::<Vec<_>>())
    };
    let before = said_by_people();
    let (code, said) = home.simulate(&args);
    assert!(code == Some(0) && said.contains("4 rules that hold for good"), "{said}");
    assert!(said.contains("work: 2 cycles and charges asked for; 0 not done in time"), "{said}");
    assert!(!said.contains("nothing is planned") && !said.contains("does nothing"), "{said}");
    assert_eq!(said_by_people(), before, "looking changes nothing");

    // Other money than the tariff's is refused, as the daemon does; whoever has read enough ends it without an error.
    day("sek");
    let (code, said) = home.simulate(&args);
    assert!(code == Some(65) && said.contains("prices are in SEK, the tariff is in EUR"), "{said}");
    day("eur");
    let mut program = Command::new(env!("CARGO_BIN_EXE_heg-gateway"));
    program.arg("simulate").args(args).arg("--config").arg(&home.config).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");

    // A floor that is seldom meant is named, here and where the configuration is looked at.
    gateway.expect(0, &["status"], "plan.floor-w is 0");
    let mut check = Command::new(env!("CARGO_BIN_EXE_heg-gateway"));
    let checked = check.arg("--check").arg("--config").arg(&home.config).output().unwrap();
    assert!(checked.status.success() && String::from_utf8_lossy(&checked.stdout).contains("note: plan.floor-w is 0"));
    gateway.stop();
}
