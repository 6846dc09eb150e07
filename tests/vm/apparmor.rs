//! All daemons on the machine, each under the AppArmor profile that its package brings, in force: what they are there for goes well.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::lab::{sandbox, wait_until};

use crate::home::{Home, Setting, test};
use crate::limits::{BOOT_S_MAX, SOON};

/// The machine's place on the LAN; in the image too.
const ADDRESS: &str = "10.88.0.2";
const UNITS: [&str; 4] = ["heg-gateway", "psm-agent", "heg-utility", "heg-kmc"];

#[test]
fn every_daemon_does_its_work_under_its_profile() {
    if !sandbox::is_inside() && std::env::var_os("VM_DEBS").is_none() {
        return sandbox::skip("AppArmor's profiles of gateway, utility and centre need the packages: make vm-deb");
    }
    let agent = "[operation]\nlook-every-s = 1\n";
    test(Setting { agent, state: "OFF", ..Setting::default() }, |home| {
        // Rules by nft, the search by multicast, a command by SOAP to the agent beside it, and what that does by systemd.
        home.launch("systemctl start heg-firewall heg-gateway heg-utility")?.finish(BOOT_S_MAX)?;
        let rules = home.run("nft list table inet heg")?;
        ensure!(rules.contains("chain"), "no rules: {rules}");
        wait_until("the agent found by the gateway beside it", SOON, || {
            let shown: Value = serde_json::from_str(&home.run("hegctl --json show nas").ok()?).ok()?;
            shown.get("subscribed")?.as_bool()?.then_some(())
        })?;
        for (verb, state) in [("on", "active"), ("off", "inactive")] {
            home.run(&format!("hegctl {verb} nas"))?;
            home.wait_unit("appliance.target", state)?;
        }
        home.run("hegctl firewall apply --confirmed")?;
        home.run("systemctl restart heg-firewall")?;
        home.run("heg-gateway self-test")?;
        enrolled(home)?;
        home.run("systemctl reload heg-gateway psm-agent heg-utility")?;
        for program in UNITS {
            home.run(&format!("{program} --check"))?;
            home.ensure_confined(program)?;
        }
        for unit in UNITS {
            home.launch(&format!("systemctl restart {unit}"))?.finish(BOOT_S_MAX)?;
            home.ensure_confined(unit)?;
        }
        let failed = home.run("systemctl --failed --no-legend --plain")?;
        ensure!(failed.is_empty(), "failed units: {failed}");
        Ok(())
    });
}

/// A centre, a utility and a home that are members of each other, all on this machine; a price goes from one to the other.
fn enrolled(home: &Home) -> Result<()> {
    home.launch(&format!("utilityctl init --host {ADDRESS}"))?.finish(BOOT_S_MAX)?;
    let status: Value = serde_json::from_str(&home.run("hegctl --json status")?).context("the gateway's status")?;
    let uuid = status["udn"].as_str().context("no udn")?.trim_start_matches("uuid:").to_owned();
    let added = home.run(&format!("utilityctl --json site add {uuid} --zone SE3 --group north/a --no-qr"))?;
    let token = serde_json::Deserializer::from_str(&added)
        .into_iter::<Value>()
        .flatten()
        .filter_map(|value| Some(value.get("token")?.as_str()?.to_owned()))
        .last();
    home.run(&format!("hegctl enrol {}", token.with_context(|| added.clone())?))?;
    wait_until("the home connected to its utility", SOON, || {
        home.run("systemctl show -P StatusText heg-gateway").ok()?.contains("utility connected").then_some(())
    })
}
