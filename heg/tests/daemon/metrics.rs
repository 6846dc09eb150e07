//! `/metrics` of the built daemon: on the control socket always, on the LAN where the configuration says so.

use std::io::{Read, Write};
use std::net::TcpStream;

use daemon_kit::control::client;
use energy_model::PowerState;
use heg::metrics::FAMILIES;

use crate::house::{Appliance, DEADLINE, Gateway, Home, wait};

const BASE: &str =
    "[network]\nloopback = true\nipv6 = false\ninterfaces = ['lo']\n[tariff]\ncurrency = 'EUR'\nprice = 0.40\n";

fn on_the_socket(home: &Home) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client::get(&home.socket, "/metrics")).unwrap().text()
}

/// Head and body of what the gateway's own HTTP port answers.
fn on_the_lan(gateway: &Gateway<'_>, method: &str, host: &str) -> (String, String) {
    let port = gateway.json(&["status"])["http-port"].as_u64().unwrap() as u16;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let host = if host.is_empty() { format!("127.0.0.1:{port}") } else { host.to_owned() };
    write!(stream, "{method} /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

const STANDBY: &str = "heg_appliances{state=\"standby\"}";

fn number(text: &str, name: &str) -> f64 {
    let line =
        text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}: {text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn every_number_is_on_the_socket_and_on_the_lan_only_where_that_is_configured() {
    let home = Home::new();
    home.write_config(BASE);
    let gateway = home.start();
    let tv = Appliance::start(PowerState::On);
    gateway.wait_for(&tv, |a| a["state"] == "ON" && a["flexibility"] == "StandbyAble" && a["subscribed"] == true);
    gateway.expect(0, &["rule", "add", tv.udn.bare(), "price-max", "0.30"], "done");
    gateway.expect(0, &["rule", "add", tv.udn.bare(), "plan", "yes"], "done");
    gateway.wait_for(&tv, |a| a["state"] == "Standby");
    let text = wait("the numbers", || {
        let text = on_the_socket(&home);
        text.contains("heg_commands_total{outcome=\"done\"} 1\n").then_some(text)
    });
    for family in FAMILIES {
        assert!(text.contains(&format!("# TYPE {} ", family.name)), "{}: {text}", family.name);
    }
    for sample in [
        &format!("heg_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
        "heg_price_per_kwh{currency=\"EUR\"} 0.4",
        "heg_decisions_total{cause=\"price\"} 1",
        "heg_limits_state{state=\"autonomous\"} 1",
        "heg_utility_enrolled 0",
        "heg_rules 2",
        "heg_firewall_up 0",
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample}: {text}");
    }
    // Appliances of tests beside this one are seen here too.
    for some in [
        STANDBY,
        "heg_events_received_total",
        "heg_plans_total",
        "heg_journal_rows",
        "heg_store_bytes",
        "heg_resident_memory_bytes",
    ] {
        assert!(number(&text, some) > 0.0, "{some}: {text}");
    }

    let (head, _) = on_the_lan(&gateway, "GET", "");
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    home.write_config(&format!("{BASE}[metrics]\nlan = true\n"));
    gateway.signal("HUP");
    let (head, body) = wait("the metrics on the LAN", || {
        let answer = on_the_lan(&gateway, "GET", "");
        answer.0.starts_with("HTTP/1.1 200").then_some(answer)
    });
    assert!(head.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(number(&body, STANDBY) > 0.0, "{body}");
    // A page of the Internet in somebody's browser does not read it by a name of its own.
    let (head, body) = on_the_lan(&gateway, "GET", "rebound.example");
    assert!(!head.starts_with("HTTP/1.1 200") && !body.contains("heg_"), "{head}");
    assert!(on_the_lan(&gateway, "POST", "").0.starts_with("HTTP/1.1 405"));
    gateway.stop();
}
