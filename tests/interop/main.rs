//! Our programs against foreign UPnP stacks, on hosts of the lab. `make interop` brings the stacks and runs this; without them
//! (`LIBUPNP_BIN`, `AUP_PYTHON`, `RUPNP_PEER`, `SEALED_PYTHON` not set) each test is skipped with one line.

mod sealed;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::lab::{Host, Lab, Process, sandbox, wait_until};

const SOON: Duration = Duration::from_secs(20);
const APPLIANCE: &str = "urn:heg-energy-org:device:ManagedAppliance:1";
const POWER: &str = "urn:heg-energy-org:service:PowerManagement:1";
const CALLER: &str = "2fac1234-31f8-11b4-a222-08002b34c003";

/// A foreign program, or none with a line that says so.
fn peer(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from).filter(|p| p.exists());
    if path.is_none() {
        eprintln!("SKIPPED: {variable} names nothing; run `make interop`");
    }
    path
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

struct Home {
    lab: Lab,
    ours: Host,
    theirs: Host,
}

fn home() -> Result<Home> {
    let mut lab = Lab::new()?;
    let lan = lab.lan()?;
    let ours = lab.host("ours")?;
    let theirs = lab.host("theirs")?;
    for (host, number) in [(&ours, 1), (&theirs, 2)] {
        lab.attach(host, "eth0", &lan, number)?;
        // Foreign stacks send to multicast groups through the routing table.
        let route = host.run("ip", &["route", "add", "239.0.0.0/8", "dev", "eth0"])?;
        ensure!(route.status.success(), "{}", text(&route));
    }
    // libupnp gives up when it meets an address that is still tentative.
    wait_until("settled addresses", SOON, || {
        let out = text(&theirs.run("ip", &["-6", "address", "show", "dev", "eth0"]).ok()?);
        (out.contains("fe80") && !out.contains("tentative")).then_some(())
    })?;
    Ok(Home { lab, ours, theirs })
}

/// Where gssdp-discover finds `target` from the foreign host.
fn location(home: &Home, target: &str) -> Result<String> {
    wait_until(&format!("gssdp-discover finds {target}"), SOON, || {
        let out = home.theirs.run("timeout", &["5", "gssdp-discover", "-i", "eth0", "-t", target, "-n", "2"]).ok()?;
        let out = text(&out);
        if !out.contains(target) {
            return None;
        }
        let line = out.lines().find(|l| l.trim_start().starts_with("Location:"))?;
        Some(line.split_once("Location:")?.1.trim().to_owned())
    })
}

fn start_agent(home: &Home) -> Result<Process> {
    home.ours.start("psm-agent", &mut home.ours.command(home.lab.program("psm-agent")))
}

/// The lines a control point of ours prints, until all of `wanted` have been seen.
fn events(process: &Process, wanted: &[&dyn Fn(&Value) -> bool]) -> Result<Vec<Value>> {
    wait_until("the control point's events", SOON, || {
        let all: Vec<Value> = process.log().lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        wanted.iter().all(|w| all.iter().any(w)).then_some(all)
    })
    .with_context(|| format!("it printed:\n{}", process.log()))
}

fn upnp_client(python: &Path) -> PathBuf {
    python.with_file_name("upnp-client")
}

#[test]
fn home_assistants_stack_finds_calls_and_subscribes_to_our_appliance() {
    let Some(python) = peer("AUP_PYTHON") else { return };
    sandbox::test(|| {
        let home = home()?;
        let _agent = start_agent(&home)?;
        let location = location(&home, APPLIANCE)?;
        let client = upnp_client(&python);
        let client = client.to_str().context("a path in UTF-8")?;

        let search = ["12", client, "search", "--bind", "10.88.0.2", "--search_target", APPLIANCE];
        let found = text(&home.theirs.run("timeout", &search)?);
        ensure!(found.contains(&location) && found.contains(APPLIANCE), "search: {found}");

        let uuid = format!("UUID={CALLER}");
        let call =
            ["12", client, "call-action", &location, "PowerManagement/GetPowerState", &uuid, "Address=10.88.0.2"];
        let called = text(&home.theirs.run("timeout", &call)?);
        let called: Value = serde_json::from_str(called.lines().next().unwrap_or_default()).context(called.clone())?;
        ensure!(called["out_parameters"]["PowerState"] == "ON", "call: {called}");
        ensure!(called["out_parameters"]["RegID"].as_u64().is_some_and(|n| n > 0), "call: {called}");

        let refused = [
            "12",
            client,
            "call-action",
            &location,
            "PowerManagement/Withdraw",
            &uuid,
            "Address=10.88.0.2",
            "RegID=4000000",
        ];
        let refused = text(&home.theirs.run("timeout", &refused)?);
        ensure!(refused.contains("upnp error: 820"), "a refusal reaches it as such: {refused}");

        let events = text(&home.theirs.run("timeout", &["6", client, "subscribe", &location, "PowerManagement"])?);
        ensure!(events.contains("PowerState") && events.contains("ON"), "subscribe: {events}");
        Ok(())
    });
}

#[test]
fn rupnp_finds_and_calls_our_appliance() {
    let Some(rupnp) = peer("RUPNP_PEER") else { return };
    sandbox::test(|| {
        let home = home()?;
        let _agent = start_agent(&home)?;
        location(&home, APPLIANCE)?;
        let arguments = format!("<UUID>{CALLER}</UUID><Address>10.88.0.2</Address>");
        let reply = home.theirs.run(&rupnp, &[APPLIANCE, POWER, "GetPowerState", &arguments])?;
        ensure!(text(&reply).contains("PowerState=ON"), "{}", text(&reply));
        Ok(())
    });
}

#[test]
fn gssdp_finds_our_gateway_and_its_service() {
    let Some(_all) = peer("AUP_PYTHON") else { return };
    sandbox::test(|| {
        let home = home()?;
        let _gateway = home.ours.start("heg-gateway", &mut home.ours.command(home.lab.program("heg-gateway")))?;
        let device = location(&home, "urn:heg-energy-org:device:HomeEnergyGateway:1")?;
        let service = location(&home, "urn:heg-energy-org:service:EnergyGateway:1")?;
        ensure!(device == service, "{device} and {service}");
        Ok(())
    });
}

#[test]
fn our_control_point_works_with_a_device_of_home_assistants_stack() {
    let Some(python) = peer("AUP_PYTHON") else { return };
    sandbox::test(|| {
        let home = home()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/aup_light.py");
        let light = home.theirs.start("light", home.theirs.command(&python).arg(script).args(["10.88.0.2", "8000"]))?;
        wait_until("the light serves", SOON, || light.log().contains("serving").then_some(()))?;
        let point = home.ours.start(
            "point",
            home.ours.command(home.lab.program("bare-control-point")).args([
                "--target=urn:schemas-upnp-org:device:BinaryLight:1",
                "--subscribe=urn:schemas-upnp-org:service:SwitchPower:1",
                "--call=urn:schemas-upnp-org:service:SwitchPower:1#SetTarget",
                "--argument=newTargetValue=1",
                "--seconds=25",
            ]),
        )?;
        let status = |want: &'static str| {
            move |e: &Value| e["event"] == "event" && e["variables"].to_string().to_lowercase().contains(want)
        };
        events(
            &point,
            &[
                &|e| e["event"] == "ready" && e["name"] == "Foreign light",
                &|e| e["event"] == "subscribed",
                &|e| e["event"] == "called",
                &|e| status("\"true\"")(e) || status("\"1\"")(e),
            ],
        )?;
        Ok(())
    });
}

#[test]
fn our_control_point_works_with_a_libupnp_device() {
    let (Some(bin), Some(lib), Some(web)) = (peer("LIBUPNP_BIN"), peer("LIBUPNP_LIB"), peer("LIBUPNP_WEB")) else {
        return;
    };
    sandbox::test(|| {
        let home = home()?;
        // The sample device reads commands from its input and ends with it.
        let device = format!(
            "sleep infinity | {} -i eth0 -port 49152 -webdir {}",
            bin.join("tv_device").display(),
            web.display()
        );
        let tv = home.theirs.start(
            "tv_device",
            home.theirs.command("env").arg(format!("LD_LIBRARY_PATH={}", lib.display())).args(["sh", "-c", &device]),
        )?;
        let point = home.ours.start(
            "point",
            home.ours.command(home.lab.program("bare-control-point")).args([
                "--target=urn:schemas-upnp-org:device:tvdevice:1",
                "--subscribe=urn:schemas-upnp-org:service:tvcontrol:1",
                "--call=urn:schemas-upnp-org:service:tvcontrol:1#SetVolume",
                "--argument=Volume=3",
                "--seconds=30",
            ]),
        )?;
        let seen = events(
            &point,
            &[
                &|e| e["event"] == "ready",
                &|e| e["event"] == "subscribed",
                &|e| e["event"] == "called" && e["out"].to_string().contains("\"3\""),
                &|e| e["event"] == "event" && e["variables"].to_string().contains("[\"Volume\",\"3\"]"),
            ],
        )
        .with_context(|| tv.log())?;
        ensure!(seen.iter().any(|e| e["event"] == "event"), "{seen:?}");
        Ok(())
    });
}
