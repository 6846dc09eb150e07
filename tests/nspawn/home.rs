//! A home of three machines, each with what its package brings: gateway, appliance, and the utility with its key management centre.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::container::{Container, Debian, test};
use crate::limits::{PRICES_S_MAX, SOON};

const INSTALL: &str = "DEBIAN_FRONTEND=noninteractive apt-get -y -qq install";
const GATEWAY_NUMBER: u8 = 1;
const UTILITY_NUMBER: u8 = 3;

#[test]
fn three_machines_form_a_home_by_installing_packages() {
    test(|lab, lan| {
        let gateway = Container::boot(lab, lan, "gateway", GATEWAY_NUMBER, Debian::Twelve)?;
        let freezer = Container::boot(lab, lan, "freezer", 2, Debian::Thirteen)?;
        let server = Container::boot(lab, lan, "server", UTILITY_NUMBER, Debian::Thirteen)?;
        gateway.run(&format!("{INSTALL} /debs/new/heg-gateway.deb"))?;
        gateway.wait_status(
            "heg-gateway",
            &["no appliance found yet", "install psm-agent", "hegctl enrol TOKEN"],
            SOON,
        )?;
        freezer.run(&format!("{INSTALL} /debs/new/psm-agent.deb"))?;
        freezer.wait_status("psm-agent", &["gateway found: Energy gateway on gateway"], SOON)?;
        gateway.wait_status("heg-gateway", &["1 appliance: 1 OFF"], SOON)?;
        obeys(&gateway, &freezer)?;
        // The way out that a machine has; by it the utility finds its own address.
        server.run(&format!("ip route add default via {}", lan.ipv4(GATEWAY_NUMBER)))?;
        let price = joins(&gateway, &server, &lan.ipv4(UTILITY_NUMBER).to_string())?;
        gateway.wait_within("a price at home", "hegctl --json prices", PRICES_S_MAX, |text| text.contains(&price))?;
        for (machine, unit) in
            [(&gateway, "heg-gateway"), (&freezer, "psm-agent"), (&server, "heg-utility"), (&server, "heg-kmc")]
        {
            machine.ensure_active(unit)?;
        }
        for machine in [gateway, freezer, server] {
            machine.power_off()?;
        }
        Ok(())
    });
}

/// A command to the gateway switches the appliance's work, through systemd, by an agent that is not root.
fn obeys(gateway: &Container, freezer: &Container) -> Result<()> {
    freezer
        .run("printf \"[operation]\\nlook-every-s = 1\\n\" >>/etc/psm/psm-agent.toml; systemctl restart psm-agent")?;
    freezer.wait_status(
        "psm-agent",
        &["OFF", "appliance.target, which holds nothing yet", "driver = \"machine\""],
        SOON,
    )?;
    let unit = "/etc/systemd/system/compressor.service";
    let text =
        "[Unit]\\nPartOf=appliance.target\\n[Service]\\nExecStart=sleep 1h\\n[Install]\\nWantedBy=appliance.target\\n";
    freezer.run(&format!("printf '{text}' >{unit}; systemctl -q enable compressor"))?;
    freezer.wait_status("psm-agent", &["OFF; operation: unit appliance.target; gateway found"], SOON)?;
    for (command, state, told) in [("on", "active", "1 ON"), ("off", "inactive", "1 OFF")] {
        gateway.run(&format!("hegctl {command} freezer"))?;
        for work in ["appliance.target", "compressor"] {
            ensure!(freezer.property(work, "ActiveState")? == state, "{command} left {work} as it was");
        }
        gateway.wait_status("heg-gateway", &[told], SOON)?;
    }
    Ok(())
}

/// From packages to a member of a utility: one command there, one for the home, one at the home. A price that is to come.
fn joins(gateway: &Container, server: &Container, address: &str) -> Result<String> {
    server.run(&format!("{INSTALL} /debs/new/heg-utility.deb"))?;
    server.wait_status("heg-utility", &["utilityctl init"], SOON)?;
    let said = server.run("utilityctl init")?;
    for words in ["made now", address, "utilityctl site add", "utilityctl price publish", "heg-kmc root export"] {
        ensure!(said.contains(words), "no {words:?} in {said}");
    }
    let again = server.run("utilityctl init")?;
    ensure!(again.contains("was there"), "{again}");
    keys_apart(server)?;
    server.wait_status("heg-utility", &["0 sites", "utilityctl site add"], SOON)?;
    server.wait_status("heg-kmc", &["answering", address], SOON)?;

    let status = gateway.json("hegctl --json status")?;
    let udn = status["udn"].as_str().context("no udn")?;
    let uuid = udn.trim_start_matches("uuid:");
    let added = server.run(&format!("utilityctl --json site add {uuid} --zone SE3 --group north/a --no-qr"))?;
    let token = token_of(&added).with_context(|| added.clone())?;
    gateway.run(&format!("hegctl enrol {token}"))?;
    gateway.wait_status("heg-gateway", &["utility connected"], SOON)?;
    let price = "17.25";
    server.run(&format!(
        "day=$(date -u +%F); {{ echo start,price; for hour in $(seq -w 0 23); do echo $day\"T$hour:00:00Z,{price}\"; done; }} \
         >/root/prices.csv; utilityctl price publish /root/prices.csv --zone SE3 --time-zone UTC0 --currency SEK --per kWh --part-of-day"
    ))?;
    Ok(price.to_owned())
}

/// The last document that is printed has the token.
fn token_of(printed: &str) -> Option<String> {
    let values = serde_json::Deserializer::from_str(printed).into_iter::<Value>();
    values.flatten().filter_map(|value| Some(value.get("token")?.as_str()?.to_owned())).last()
}

/// Whoever has the utility's server does not have the centre's keys.
fn keys_apart(server: &Container) -> Result<()> {
    let modes = server.run("stat -c '%a %U' /var/lib/heg-kmc /var/lib/heg-kmc/kmc.db")?;
    ensure!(modes == "700 heg-kmc\n600 heg-kmc\n", "{modes}");
    server
        .run("! setpriv --reuid heg-utility --regid heg-utility --clear-groups ls /var/lib/heg-kmc 2>/dev/null")
        .map(drop)
}
