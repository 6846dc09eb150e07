//! What the gateway says of its firewall, and what it is given to read.

use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use energy_model::MacAddress;
use heg::registry::{KnownBy, Profile};
use heg::store::{self, Retention, Store, batch::Batch};
use house_tests::house::House;
use serde_json::Value;
use testkit::lab::{Host, wait_until};
use upnp::ids::Udn;

use crate::homes::{GATEWAY, SOON};

/// The utility may call this gateway.
pub(super) const CALLED: &str = "[utility]\nlisten = '[::]:8444'\n";

pub(super) fn firewall(house: &House) -> Result<Value> {
    house.gateway().json(&["firewall"])
}

pub(super) fn wait_firewall(house: &House, what: &str, so: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = String::new();
    let found = wait_until("", SOON, || {
        let told = firewall(house);
        last = format!("{told:?}");
        told.ok().filter(|f| so(f))
    });
    found.with_context(|| format!("{what}: {last}"))
}

pub(super) fn http_port(firewall: &Value) -> Result<u16> {
    firewall["http-port"].as_u64().and_then(|p| u16::try_from(p).ok()).with_context(|| format!("no port in {firewall}"))
}

/// Writes `[firewall]` of the gateway's configuration file.
pub(super) fn configure(house: &House, firewall: &str) -> Result<()> {
    let file = house.gateway().host().dir().join("heg-gateway.toml");
    fs::write(&file, format!("{GATEWAY}{CALLED}[firewall]\n{firewall}")).context("writing the configuration")
}

/// A GET over the control socket, as a monitoring program sends it.
pub(super) fn control_get(host: &Host, socket: &str, path: &str) -> Result<String> {
    let inside = socket.strip_prefix("/run/").context("a socket below /run")?;
    let mut stream = std::os::unix::net::UnixStream::connect(host.dir().join("run").join(inside))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(answer)
}

pub(super) fn fill_registry(house: &House, appliances: u16) -> Result<()> {
    let file = house.gateway().host().dir().join("lib/heg").join(store::FILE);
    let now = daemon_kit::clock::wall();
    let retention = Retention { age: Duration::from_secs(86_400), entries: 1000 };
    let mut database = Store::open(&file, retention, now)?.store;
    let mut batch = Batch::default();
    for n in 0..appliances {
        let [high, low] = n.to_be_bytes();
        let udn = Udn::parse(&format!("uuid:00000000-0000-4000-8000-{n:012}"))?;
        let profile = Profile {
            udn: udn.clone(),
            name: format!("appliance {n}").into(),
            maker: "".into(),
            model: "".into(),
            address: None,
            mac: Some(MacAddress::new([0x02, 0, 0, 1, high, low])?),
            wake_method: None,
            facts: None,
            power: None,
            state: None,
            since: now,
            last_known: None,
            last_seen: None,
            known_by: KnownBy::Discovery,
            last_refusal: "".into(),
        };
        batch.appliances.insert(udn, Some(profile));
    }
    database.write(&batch, now)?;
    Ok(())
}
