//! A package's life on Debian 12 and 13: installed, booted, watched over, killed, reloaded, upgraded, removed, purged.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use testkit::lab::{Lab, Lan};

use crate::container::{Container, Debian, test};
use crate::limits::{SOON, WATCHDOG_S, WATCHDOG_S_MAX};

const INSTALL: &str = "DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o Dpkg::Options::=--force-confold install";
/// Those that run, and as whom; `heg-kmc` waits for its keys.
const SERVICES: [(&str, &str); 4] =
    [("heg-gateway", "heg"), ("psm-agent", "psm-agent"), ("heg-utility", "heg-utility"), ("heg-kmc", "heg-kmc")];
/// Its place on the LAN.
const NUMBER: u8 = 1;
/// Stands for whoever brings up the network (systemd-networkd, ifupdown, NetworkManager), and keeps the rules it found.
const NETWORK: &str = "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\nAfter=network-pre.target local-fs.target\n\
    Before=network.target shutdown.target\nWants=network.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
    ExecStart=sh -c \"nft list ruleset >/run/lab-network\"\n[Install]\nWantedBy=multi-user.target\n";

#[test]
fn packages_live_and_go_without_a_trace_on_debian_12() {
    test(|lab, lan| life(lab, lan, Debian::Twelve));
}

#[test]
fn packages_live_and_go_without_a_trace_on_debian_13() {
    test(|lab, lan| life(lab, lan, Debian::Thirteen));
}

fn life(lab: &mut Lab, lan: &Lan, debian: Debian) -> Result<()> {
    let machine = Container::boot(lab, lan, "box", NUMBER, debian)?;
    let before = files(&machine)?;
    machine.run(&format!("{INSTALL} /debs/old/*.deb"))?;
    first_run(&machine)?;
    let init = format!("utilityctl init --host {}", lan.ipv4(NUMBER));
    machine.run(&init)?;
    machine.wait_status("heg-kmc", &["answering"], SOON)?;
    let machine = boots(machine)?;
    locked_in(&machine)?;
    agent_is_not_root(&machine)?;
    work_that_is_missing(&machine)?;
    let udn = identity(&machine)?;
    reload(&machine)?;
    wrong_configuration(&machine)?;
    forwards_again(&machine)?;
    comes_back(&machine)?;
    ensure!(identity(&machine)? == udn, "another gateway came back");
    upgrade(&machine, &udn, &init)?;
    remove(&machine)?;
    let left: Vec<_> = files(&machine)?.difference(&before).cloned().collect();
    ensure!(left.is_empty(), "left after the purge: {left:#?}");
    machine.power_off()
}

/// What a person sees who has just installed it.
fn first_run(machine: &Container) -> Result<()> {
    for unit in ["heg-firewall", "heg-gateway", "psm-agent", "heg-utility"] {
        machine
            .wait_for(&format!("{unit} to be active"), &format!("systemctl is-active {unit}"), |s| s == "active\n")?;
        machine.ensure_active(unit)?;
        ensure!(machine.run(&format!("systemctl is-enabled {unit}"))?.trim() == "enabled", "{unit} is not enabled");
    }
    ensure!(machine.property("heg-kmc", "ConditionResult")? == "no", "heg-kmc has not been looked at");
    ensure!(machine.property("heg-kmc", "ActiveState")? == "inactive", "heg-kmc runs without keys");
    // The work is there to be filled, and nothing switches it on by itself.
    ensure!(machine.property("appliance.target", "UnitFileState")? == "disabled", "appliance.target is enabled");
    ensure!(machine.property("appliance.target", "ActiveState")? == "inactive", "appliance.target was started");
    // Both are on this machine, so each finds the other.
    machine.wait_status(
        "heg-gateway",
        &["1 appliance: 1 OFF", "host0", "hegctl enrol TOKEN", "firewall as host"],
        SOON,
    )?;
    machine.wait_status(
        "psm-agent",
        &[
            "OFF",
            "appliance.target, which holds nothing yet",
            "driver = \"machine\"",
            "gateway found: Energy gateway on box",
            "hegctl appliances",
        ],
        SOON,
    )?;
    machine.wait_status("heg-utility", &["0 sites", "utilityctl init"], SOON)?;
    let status = machine.run("systemctl status --no-pager heg-gateway psm-agent heg-utility")?;
    for words in ["Home energy gateway", "Status: \"1 appliance", "man:heg-gateway(8)", "man:psm-agent(8)"] {
        ensure!(status.contains(words), "no {words:?} in {status}");
    }
    // By the polkit rule: a user that is not root and has no session gets none otherwise.
    machine
        .wait_for("the delay lock", "psm-agent status", |text| text.contains("delay lock held"))
        .with_context(|| machine.journal("psm-agent -u polkit"))?;
    // By the service beside the agent: no card of a container wakes anything.
    machine
        .wait_for("the network cards asked", "cat /run/psm-agent-wake/links.json", |text| text.contains(":\"no\""))?;
    let rules = machine.run("nft list table inet heg")?;
    ensure!(rules.contains("chain"), "no rules: {rules}");
    // The source package's own test of this, which autopkgtest leaves out where it has a chroot only.
    machine.run("AUTOPKGTEST_TMP=/tmp sh /debs/services").map(drop)
}

/// All comes up by itself, and the rules are in place before anybody brings up the network.
fn boots(machine: Container) -> Result<Container> {
    let unit = "/etc/systemd/system/lab-network.service";
    machine.run(&format!("cat >{unit} <<'END'\n{NETWORK}END\nsystemctl -q enable lab-network"))?;
    let machine = machine.boot_again()?;
    let found = machine.run("cat /run/lab-network")?;
    ensure!(found.contains("table inet heg"), "when the network came up there were no rules of ours: {found}");
    let names =
        ["heg-firewall.service", "network-pre.target", "lab-network.service", "network.target", "heg-gateway.service"];
    let at = |name: &&str| -> Result<u64> {
        let text = machine.property(name, "ActiveEnterTimestampMonotonic")?;
        text.parse().with_context(|| format!("{name} became active at {text:?}"))
    };
    let times = names.iter().map(at).collect::<Result<Vec<_>>>()?;
    ensure!(times[0] > 0 && times.is_sorted(), "not one after the other: {names:?} at {times:?}");
    for (unit, _) in SERVICES {
        machine
            .wait_for(&format!("{unit} to be active"), &format!("systemctl is-active {unit}"), |s| s == "active\n")?;
        machine.ensure_active(unit)?;
    }
    followed(&machine)?;
    machine.run(&format!("systemctl -q disable lab-network; rm {unit}; systemctl daemon-reload"))?;
    Ok(machine)
}

/// Nobody is root, nobody has more than the units say, and what is secret is readable by its owner alone.
fn locked_in(machine: &Container) -> Result<()> {
    for (unit, user) in SERVICES {
        let pid = machine.property(unit, "MainPID")?;
        let owner = machine.run(&format!("ps -o user:20= -p {pid}"))?;
        ensure!(owner.trim() == user, "{unit} runs as {owner}");
        let capabilities = machine.run(&format!("sed -n 's/^CapEff:\\t0*//p' /proc/{pid}/status"))?;
        // CAP_NET_BIND_SERVICE (10), CAP_NET_ADMIN (12), CAP_NET_RAW (13); the agent has given up what loads its probe, and has none.
        let wanted = match unit {
            "heg-gateway" => "3400",
            _ => "",
        };
        ensure!(capabilities.trim() == wanted, "{unit} has {capabilities}");
        let filter = machine.run(&format!("sed -n 's/^Seccomp:\\t//p' /proc/{pid}/status"))?;
        ensure!(filter.trim() == "2", "{unit} has no filter on system calls");
    }
    let modes = "stat -c '%n %a %U:%G' /etc/heg/heg-gateway.toml /etc/heg/heg-utility.toml /etc/heg/heg-kmc.toml /var/lib/heg \
        /var/lib/psm-agent /var/lib/heg-utility /var/lib/heg-kmc /run/heg/control.sock";
    let modes = machine.run(modes)?;
    let wanted = "/etc/heg/heg-gateway.toml 640 root:heg\n/etc/heg/heg-utility.toml 640 root:heg-utility\n\
        /etc/heg/heg-kmc.toml 640 root:heg-kmc\n/var/lib/heg 700 heg:heg\n/var/lib/psm-agent 700 psm-agent:psm-agent\n\
        /var/lib/heg-utility 700 heg-utility:heg-utility\n/var/lib/heg-kmc 700 heg-kmc:heg-kmc\n/run/heg/control.sock 660 heg:heg\n";
    ensure!(modes == wanted, "{modes}");
    Ok(())
}

/// The agent's user may switch the appliance's work, and can't have systemd run anything of its choice as root for that.
fn agent_is_not_root(machine: &Container) -> Result<()> {
    let agent = "runuser -u psm-agent -- ";
    for verb in ["start", "stop"] {
        machine.run(&format!("{agent}systemctl --no-ask-password {verb} appliance.target"))?;
    }
    for unit in ["appliance-x", "appliance", "appliance.target.service", "psm-agent-wake"] {
        machine.run(&format!("! {agent}systemd-run --no-ask-password --unit={unit} touch /run/owned"))?;
    }
    machine.run(&format!("! {agent}systemctl --no-ask-password stop heg-gateway"))?;
    machine.run("test ! -e /run/owned")?;
    machine.ensure_active("heg-gateway")
}

/// Work that the configuration names and nobody has is told, and seen once it is there.
fn work_that_is_missing(machine: &Container) -> Result<()> {
    machine.run("cp -p /etc/psm/psm-agent.toml /root; printf \"[operation]\\nunit = 'pump.service'\\nlook-every-s = 1\\n\" >>/etc/psm/psm-agent.toml")?;
    machine.run("systemctl restart psm-agent")?;
    let missing = "no operation: unit pump.service does not exist; see [operation] in psm-agent.toml(5)";
    machine.wait_status("psm-agent", &["ON", missing], SOON)?;
    machine
        .run("printf '[Service]\\nExecStart=sleep 1h\\n' >/run/systemd/system/pump.service; systemctl daemon-reload")?;
    machine.wait_status("psm-agent", &["OFF", "sources: ", "operation,"], SOON)?;
    machine.run("rm /run/systemd/system/pump.service; systemctl daemon-reload")?;
    machine.run("mv /root/psm-agent.toml /etc/psm/; systemctl restart psm-agent")?;
    followed(machine)
}

fn identity(machine: &Container) -> Result<String> {
    let status = machine.json("hegctl --json status")?;
    Ok(status.get("udn").and_then(|udn| udn.as_str()).context("no udn")?.to_owned())
}

/// A reload takes a change over, and a wrong change leaves what was.
fn reload(machine: &Container) -> Result<()> {
    let pids = SERVICES.map(|(unit, _)| machine.property(unit, "MainPID"));
    machine.run("systemctl reload heg-gateway psm-agent heg-utility")?;
    machine.run("printf '[nonsense]\\n' >>/etc/heg/heg-gateway.toml; systemctl reload heg-gateway")?;
    machine.wait_status("heg-gateway", &["the configuration was not reloaded", "nonsense"], SOON)?;
    machine.run("sed -i '/nonsense/d' /etc/heg/heg-gateway.toml; systemctl reload heg-gateway")?;
    machine.wait_status("heg-gateway", &["1 appliance: 1 OFF"], SOON)?;
    for ((unit, _), pid) in SERVICES.iter().zip(pids) {
        ensure!(machine.property(unit, "MainPID")? == pid?, "{unit} was started again");
        machine.ensure_active(unit)?;
    }
    Ok(())
}

/// A wrong configuration is not tried again and again, and the last lines say what is wrong and where.
fn wrong_configuration(machine: &Container) -> Result<()> {
    for (unit, file) in [
        ("heg-gateway", "/etc/heg/heg-gateway.toml"),
        ("psm-agent", "/etc/psm/psm-agent.toml"),
        ("heg-utility", "/etc/heg/heg-utility.toml"),
        ("heg-kmc", "/etc/heg/heg-kmc.toml"),
    ] {
        machine.run(&format!("printf '[nonsense]\\n' >>{file}; ! systemctl restart {unit} 2>/dev/null"))?;
        ensure!(machine.property(unit, "ActiveState")? == "failed", "{unit} runs: {}", machine.journal(unit));
        let status = machine.run(&format!("systemctl status --no-pager --lines=5 {unit}; true"))?;
        ensure!(status.contains(file) && status.contains("nonsense"), "{status}");
        machine.run(&format!("sed -i '/nonsense/d' {file}; systemctl start {unit}"))?;
        machine.ensure_active(unit)?;
    }
    Ok(())
}

/// What the firewall's unit has switched off for want of rules, the daemon switches on again, though it is not root.
fn forwards_again(machine: &Container) -> Result<()> {
    for switch in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        machine.run(&format!(
            "echo 0 >/proc/sys/{switch}; echo 'proc/sys/{switch} 1' >/run/heg-firewall/forwarding; \
             chown heg:heg /run/heg-firewall/forwarding; systemctl restart heg-gateway"
        ))?;
        machine.wait_for("forwarding to be on", &format!("cat /proc/sys/{switch}"), |text| text == "1\n")?;
        machine.wait_for("its note to be gone", "ls /run/heg-firewall", str::is_empty)?;
        machine.run(&format!("echo 0 >/proc/sys/{switch}"))?;
    }
    Ok(())
}

/// Killed, and hung: back at once, the appliance followed as before.
fn comes_back(machine: &Container) -> Result<()> {
    for (unit, _) in SERVICES {
        let pid = machine.property(unit, "MainPID")?;
        machine.run(&format!("kill -KILL {pid}"))?;
        machine.wait_again(unit, &pid, SOON)?;
        followed(machine)?;
        let drop_in = format!("/run/systemd/system/{unit}.service.d");
        machine.run(&format!(
            "mkdir -p {drop_in}; printf '[Service]\\nWatchdogSec={WATCHDOG_S}\\n' >{drop_in}/lab.conf; \
             systemctl daemon-reload; systemctl restart {unit}"
        ))?;
        let pid = machine.property(unit, "MainPID")?;
        machine.run(&format!("kill -STOP {pid}"))?;
        machine.wait_again(unit, &pid, WATCHDOG_S_MAX)?;
        ensure!(machine.journal(unit).contains("atchdog timeout"), "{unit}: {}", machine.journal(unit));
        followed(machine)?;
        machine.run(&format!("rm -r {drop_in}; systemctl daemon-reload; systemctl restart {unit}"))?;
        followed(machine)?;
    }
    Ok(())
}

/// The gateway hears the appliance's events.
fn followed(machine: &Container) -> Result<()> {
    let show = "hegctl --json show box";
    machine.wait_for("the appliance to be followed", show, |text| {
        let Ok(shown) = serde_json::from_str::<serde_json::Value>(text) else { return false };
        shown.get("subscribed").and_then(serde_json::Value::as_bool) == Some(true)
    })?;
    Ok(())
}

/// From the version before to this one: settings and state stay, services run the new program.
fn upgrade(machine: &Container, udn: &str, init: &str) -> Result<()> {
    machine.run("printf '[device]\\nfriendly-name = \"Cellar\"\\n' >>/etc/heg/heg-gateway.toml")?;
    machine.run("hegctl rule add box plan limits")?;
    machine.run("systemctl start appliance.target")?;
    let pids = SERVICES.map(|(unit, _)| machine.property(unit, "MainPID"));
    machine.run(&format!("{INSTALL} /debs/new/*.deb"))?;
    for ((unit, _), pid) in SERVICES.iter().zip(pids) {
        machine.wait_again(unit, &pid?, SOON)?;
        machine.ensure_active(unit)?;
    }
    let status = machine.json("hegctl --json status")?;
    ensure!(status["udn"] == udn, "another gateway after the upgrade: {status}");
    ensure!(status["name"] == "Cellar", "the configuration was not kept: {status}");
    let rules = machine.run("hegctl rule list")?;
    ensure!(rules.contains("limits"), "the rule is lost: {rules}");
    machine.run("nft list table inet heg >/dev/null")?;
    let work = machine.property("appliance.target", "ActiveState")?;
    ensure!(work == "active", "the upgrade stopped the work: {}", machine.journal("appliance.target -u psm-agent"));
    machine.run("systemctl stop appliance.target")?;
    let keys = machine.run(init)?;
    ensure!(keys.contains("was there"), "the centre's keys are lost: {keys}");
    followed(machine)
}

/// Removed, settings and state stay; purged, nothing does.
fn remove(machine: &Container) -> Result<()> {
    machine.run("DEBIAN_FRONTEND=noninteractive apt-get -y -qq remove heg-gateway psm-agent heg-utility")?;
    for (unit, _) in SERVICES {
        let state = machine.property(unit, "ActiveState")?;
        ensure!(state == "inactive", "{unit} is {state} after its removal");
    }
    machine.run("! nft list table inet heg 2>/dev/null")?;
    machine.run("test -e /etc/heg/heg-gateway.toml -a -e /var/lib/heg/heg.db -a -e /var/lib/psm-agent/agent.json")?;
    machine.run("DEBIAN_FRONTEND=noninteractive apt-get -y -qq purge heg-gateway psm-agent heg-utility")?;
    let failed = machine.run("systemctl --failed --no-legend --plain")?;
    ensure!(failed.trim().is_empty(), "failed units: {failed}");
    Ok(())
}

/// Every file of the machine, apart from what apt and the users' database keep for themselves.
fn files(machine: &Container) -> Result<BTreeSet<String>> {
    let listed = machine.run(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/tmp -o -path /var/lib/apt -o -path /var/cache \
         -o -path /var/log -o -path /var/lib/dpkg \\) -prune -o -print; find /run/systemd/system /run/heg* /run/psm* 2>/dev/null; true",
    )?;
    let kept = |line: &&str| {
        !["/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/.pwd.lock"].contains(line)
    };
    // What systemd itself leaves when a unit of a package goes.
    let of_systemd = |line: &&str| !line.starts_with("/var/lib/systemd/deb-systemd-helper");
    Ok(listed.lines().filter(kept).filter(of_systemd).map(str::to_owned).collect())
}
