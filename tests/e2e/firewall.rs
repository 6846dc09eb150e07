//! The gateway's firewall with real packets: what the Internet sees of a home, what the home sees of its gateway, and what becomes
//! of both when the rules change, the daemon dies, or `nft` is missing.

mod daemon;
mod kernel;
mod street;
mod traffic;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use house_tests::house::{House, succeeded};
use serde_json::{Value, json};
use testkit::lab::{Host, sandbox, wait_until};

use self::daemon::{CALLED, configure, fill_registry, firewall, http_port, wait_firewall};
use self::kernel::{foreign_tables, nft, nft_program, put_foreign_tables, wrap_nft};
use self::street::Street;
use self::traffic::echo;
use crate::homes::{GATEWAY, SOON, tv, wait_subscribed};

/// The person at home, away: has an SSH connection open when the rules come.
const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const GATEWAY_WAN: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
/// Ports of a thorough scan.
const ALL_WELL_KNOWN: RangeInclusive<u16> = 1..=1024;
/// Ports of a quick one.
const SOME: RangeInclusive<u16> = 1..=100;

#[test]
fn a_router_is_silent_toward_the_internet_and_open_to_its_home_whatever_happens_to_its_rules() {
    sandbox::test(|| {
        House::run(&format!("{GATEWAY}{CALLED}"), |house| {
            house.add(tv())?;
            house.wait_state("tv", "OFF", SOON)?;
            wait_subscribed(house, "tv")?;
            let foreign = put_foreign_tables(house)?;
            let street = Street::around(house)?;
            ensure!(firewall(house)?["shape"] == "host", "{}", firewall(house)?);

            // Logged in from outside while the machine becomes a router.
            let mut away = street.connect(AWAY, (GATEWAY_WAN, 22).into())?;
            echo(&mut away)?;
            shell(house.gateway().host(), "ip route add default via 203.0.113.9")?;
            wait_firewall(house, "a router's shape", |f| f["shape"] == "router" && f["wan"][0] == "wan0")?;
            // Nobody has ordered anything yet: who was logged in still comes in, and nobody else.
            let ensure_let_in = |away: &mut TcpStream| {
                echo(away).context("the connection that was open")?;
                echo(&mut street.connect(AWAY, (GATEWAY_WAN, 22).into())?).context("another one from there")?;
                let told = firewall(house)?;
                ensure!(told["ssh-sources"] == json!([AWAY]), "{told}");
                street.ensure_silent(house, &[], SOME)
            };
            ensure_let_in(&mut away)?;
            house.gateway().hegctl_ok(&["firewall", "apply"])?;
            ensure_let_in(&mut away)?;
            house.gateway().hegctl_ok(&["firewall", "confirm"])?;

            street.ensure_silent(house, &[], ALL_WELL_KNOWN)?;
            street.ensure_open_to_the_home(house)?;
            street.ensure_a_stray_route_and_new_networks_shut_nobody_out(house)?;
            street.ensure_no_connection_is_lost(house)?;
            street.ensure_floods_are_dropped(house)?;
            street.ensure_changes_are_taken_back(house)?;

            ensure!(foreign_tables(house)? == foreign, "other tables were touched");
            // Somebody flushes everything, and his own things come back.
            let dropped = |house: &House| -> Result<u64> {
                let told = firewall(house)?;
                let all = told["dropped"].as_array().context("no list of drops")?;
                Ok(all.iter().filter_map(|reason| reason["packets"].as_u64()).sum())
            };
            street.ensure_silent(house, &[], SOME)?;
            let before = dropped(house)?;
            nft(house.gateway().host(), &["flush", "ruleset"])?;
            let foreign_again = put_foreign_tables(house)?;
            // Without anybody who asks for it, and long before the minute after which it is looked for anyway.
            wait_until("the table", Duration::from_secs(5), || {
                nft(house.gateway().host(), &["list", "table", "inet", "heg"]).ok()
            })?;
            ensure!(before > 0 && dropped(house)? >= before, "{before} packets were dropped, now {}", dropped(house)?);
            street.ensure_silent(house, &[], SOME)?;
            house.gateway_mut().kill()?;
            street.ensure_silent(house, &[], SOME).context("after a crash")?;
            let removed = house.gateway().host().run(house.lab().program("heg-gateway"), &["firewall", "remove"])?;
            succeeded(removed)?;
            let left = nft(house.gateway().host(), &["list", "tables"])?;
            ensure!(!left.contains("heg"), "{left}");
            ensure!(foreign_tables(house)? == foreign_again, "after removal");
            Ok(())
        })
    });
}

#[test]
fn what_nft_or_kernel_lack_is_told_and_never_opens_and_a_thousand_appliances_fit_the_sets() {
    sandbox::test(|| {
        House::run(GATEWAY, |house| {
            let neighbour = house.lab_mut().host("neighbour")?;
            house.lab().attach(&neighbour, "eth0", &house.lan().clone(), 20)?;
            shell(&neighbour, "ip addr add 203.0.113.20/24 dev eth0")?;
            shell(house.gateway().host(), "ip addr add 203.0.113.1/24 dev eth0")?;
            wait_firewall(house, "rules", |f| f["state"] == "in-place")?;
            house.gateway_mut().stop(SOON)?;
            nft(house.gateway().host(), &["delete", "table", "inet", "heg"])?;
            fill_registry(house, 1000)?;
            let (host, lab) = (house.gateway().host(), house.lab());
            let gateway = lab.program("heg-gateway").display().to_string();
            let config = host.dir().join("heg-gateway.toml").display().to_string();

            // A router that cannot be guarded lets nothing through.
            let router = host.dir().join("router.toml").display().to_string();
            fs::write(&router, "state-dir = '/run/new'\n[firewall]\nmode = 'router'\n")?;
            let (v4, v6) = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding");
            shell(host, &format!("echo 1 >{v4}; echo 1 >{v6}"))?;
            let forwards = |digit: u8| shell(host, &format!("grep -q {digit} {v4}; grep -q {digit} {v6}"));
            let baseline =
                host.run("env", &["PATH=/nowhere", &gateway, "--config", &router, "firewall", "baseline"])?;
            let said = String::from_utf8_lossy(&baseline.stderr).into_owned();
            ensure!(baseline.status.code() == Some(69) && said.contains("nft is not installed"), "{baseline:?}");
            ensure!(said.contains("forwarding is switched off"), "{said}");
            forwards(0)?;
            succeeded(host.run(&gateway, &["firewall", "remove"])?)?;
            forwards(1).context("after removal")?;
            // Nor does the daemon let it; with the rules it comes back.
            let absent = wrap_nft(host, "absent", "echo 'Error: Protocol not supported' >&2; exit 1")?;
            fs::write(
                &router,
                format!("state-dir = '/run/other'\n{GATEWAY}[firewall]\nmode = 'router'\nlan-interfaces = ['eth0']\n"),
            )?;
            let mut daemon =
                host.start("unguarded", host.command("env").args([&*absent, &*gateway, "--config", &*router]))?;
            let told = wait_firewall(house, "an answer", |f| f["state"] == "not-in-place")?;
            ensure!(told["trouble"].to_string().contains("Protocol not supported"), "{told}");
            ensure!(told["trouble"].to_string().contains("not guarded toward the Internet until then"), "{told}");
            wait_until("forwarding to be off", SOON, || forwards(0).ok())?;
            fs::remove_file(host.dir().join("absent/nft"))?;
            std::os::unix::fs::symlink(nft_program()?, host.dir().join("absent/nft"))?;
            wait_firewall(house, "the rules", |f| f["state"] == "in-place" && f["shape"] == "router")?;
            wait_until("forwarding to be on again", SOON, || forwards(1).ok())?;
            daemon.kill()?;
            nft(host, &["delete", "table", "inet", "heg"])?;

            let mut daemon =
                host.start("without-nft", host.command("env").args(["PATH=/nowhere", &gateway, "--config", &config]))?;
            let told = wait_firewall(house, "an answer", |f| f["state"] == "not-in-place")?;
            ensure!(told["trouble"].to_string().contains("nft is not installed"), "{told}");
            let port = http_port(&told)?;
            let at_home = house.lan().ipv4(1);
            neighbour.in_network(|| {
                wait_until("the page at home", SOON, || TcpStream::connect((at_home, port)).ok())?;
                let refused = TcpStream::connect((GATEWAY_WAN, port)).map_err(|e| e.kind());
                ensure!(
                    refused.is_err_and(|kind| kind == std::io::ErrorKind::ConnectionRefused),
                    "on a public address"
                );
                Ok(())
            })?;
            daemon.kill()?;

            // A kernel that lacks something: the rest is in place, and what is missing is told.
            let refusal = "echo 'Error: Could not process rule: Operation not supported' >&2; exit 1";
            let poor = wrap_nft(host, "poor", &format!("case \"$input\" in *'\"ih\"'*) {refusal};; esac"))?;
            let mut daemon = host.start("poor", host.command("env").args([&*poor, &*gateway, "--config", &*config]))?;
            let told = wait_firewall(house, "the rest of the rules", |f| f["state"] == "in-place")?;
            ensure!(told["trouble"].to_string().contains("no meter against SUBSCRIBE floods"), "{told}");
            // It takes nothing any more: a change is refused, and what is there stays.
            fs::write(host.dir().join("poor/nft"), "#!/bin/sh\necho 'Error: Cannot allocate memory' >&2\nexit 1\n")?;
            configure(house, "wan-interfaces = ['wan0']\n")?;
            let refused = house.gateway().hegctl(&["firewall", "apply"])?;
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            ensure!(refused.status.code() == Some(69) && said.contains("Cannot allocate memory"), "{refused:?}");
            let told = firewall(house)?;
            ensure!(told["change"] == "rolled-back" && told["state"] == "in-place", "{told}");
            configure(house, "")?;
            daemon.kill()?;
            let before = nft(host, &["-a", "list", "table", "inet", "heg"])?;
            let broken = wrap_nft(host, "broken", "echo 'Error: Cannot allocate memory' >&2; exit 1")?;
            // The same for the baseline.
            let baseline = host.run("env", &[&broken, &gateway, "--config", &config, "firewall", "baseline"])?;
            let said = String::from_utf8_lossy(&baseline.stderr).into_owned();
            ensure!(baseline.status.code() == Some(69) && said.contains("Cannot allocate memory"), "{baseline:?}");
            ensure!(nft(host, &["-a", "list", "table", "inet", "heg"])? == before, "the rules before are gone");

            house.gateway_mut().start()?;
            wait_firewall(house, "1000 appliances", |f| f["appliances"] == 1000)?;
            let host = house.gateway().host();
            let set: Value = serde_json::from_str(&nft(host, &["-j", "list", "set", "inet", "heg", "appliances"])?)?;
            let listed =
                set["nftables"].as_array().and_then(|all| all.last()?["set"]["elem"].as_array()).map_or(0, Vec::len);
            ensure!(listed == 1000, "{listed} in the kernel");
            let rules = house.gateway().json(&["firewall", "plan"])?["rules"].to_string();
            let file = host.dir().join("rules.json");
            fs::write(&file, rules)?;
            let mut times = Vec::new();
            for _ in 0..9 {
                let begun = Instant::now();
                nft(host, &["-j", "-f", &file.display().to_string()])?;
                times.push(begun.elapsed());
            }
            times.sort();
            eprintln!(
                "all rules and 1000 appliances put in place: median {} ms of {}",
                times[4].as_millis(),
                times.len()
            );
            Ok(())
        })
    });
}

#[test]
fn a_change_that_nobody_confirmed_goes_with_the_daemon_also_where_there_were_no_rules_before() {
    sandbox::test(|| {
        House::run(&format!("{GATEWAY}{CALLED}[firewall]\nmode = 'off'\n"), |house| {
            let rules =
                |house: &House| nft(house.gateway().host(), &["list", "table", "inet", "heg"]).unwrap_or_default();
            // Ends it as `end` says, and starts it again.
            let end = |house: &mut House, end: &str, gone: &dyn Fn(&House) -> bool| -> Result<()> {
                if end == "stop" {
                    house.gateway_mut().stop(SOON)?;
                } else {
                    house.gateway_mut().kill()?;
                    ensure!(!gone(house), "{end}: gone already");
                    let config = house.gateway().host().dir().join("heg-gateway.toml").display().to_string();
                    if end != "start" {
                        let arguments = ["--config", &config, "firewall", end];
                        succeeded(house.gateway().host().run(house.lab().program("heg-gateway"), &arguments)?)?;
                    }
                }
                ensure!(end == "start" || gone(house), "{end}: {}", rules(house));
                house.gateway_mut().start()?;
                wait_until("the change to be gone", SOON, || gone(house).then_some(()))?;
                let told = wait_firewall(house, "an answer", |f| f["change"] != "waiting")?;
                ensure!(told["change"] == if end == "stop" { "confirmed" } else { "rolled-back" }, "{end}: {told}");
                Ok(())
            };
            // The first settings are those in force, whatever the file says at a later start.
            wait_firewall(house, "no rules", |f| f["state"] == "off")?;
            configure(house, "mode = 'host'\nwan-interfaces = ['wan0']\n")?;
            house.gateway_mut().stop(SOON)?;
            house.gateway_mut().start()?;
            let told = wait_firewall(house, "an answer", |_| true)?;
            ensure!(told["state"] == "off" && rules(house).is_empty(), "{told}");
            for way in ["start", "baseline", "take-back", "stop"] {
                house.gateway().hegctl_ok(&["firewall", "apply"])?;
                ensure!(!rules(house).is_empty(), "not applied");
                end(house, way, &|house| rules(house).is_empty())?;
            }
            house.gateway().hegctl_ok(&["firewall", "apply", "--confirmed"])?;
            configure(house, "mode = 'host'\nwan-interfaces = ['wan0']\nwan-tcp = [8080]\n")?;
            for way in ["start", "take-back", "stop"] {
                house.gateway().hegctl_ok(&["firewall", "apply"])?;
                ensure!(rules(house).contains("8080"), "not applied: {}", rules(house));
                end(house, way, &|house| !rules(house).is_empty() && !rules(house).contains("8080"))?;
            }
            let journal = house.gateway().json(&["journal"])?.to_string();
            ensure!(journal.matches("stopped before it was confirmed").count() == 2, "{journal}");
            // Nothing waits: nothing is done.
            let mark = |house: &House| rules(house).lines().find(|l| l.contains("counter made_")).map(str::to_owned);
            let before = mark(house);
            let config = house.gateway().host().dir().join("heg-gateway.toml").display().to_string();
            let arguments = ["--config", &config, "firewall", "take-back"];
            succeeded(house.gateway().host().run(house.lab().program("heg-gateway"), &arguments)?)?;
            ensure!(before.is_some() && mark(house) == before, "made anew");
            Ok(())
        })
    });
}

fn shell(host: &Host, script: &str) -> Result<()> {
    succeeded(host.run("sh", &["-ec", script])?).with_context(|| script.to_owned()).map(drop)
}
