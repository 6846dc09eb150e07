//! The gateway's firewall with real packets: what the Internet sees of a home, what the home sees of its gateway, and what becomes
//! of both when the rules change, the daemon dies, or `nft` is missing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use energy_model::MacAddress;
use heg::registry::{KnownBy, Profile};
use heg::store::{self, Retention, Store, batch::Batch};
use house_tests::house::{House, succeeded};
use serde_json::{Value, json};
use testkit::lab::frame::Payload;
use testkit::lab::{Frame, Host, sandbox, wait_until};
use upnp::ids::Udn;

use crate::homes::{GATEWAY, SOON, tv, wait_subscribed};

const GATEWAY_WAN: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
const GATEWAY_WAN6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1));
/// The person at home, away: has an SSH connection open when the rules come.
const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
/// Whoever scans.
const SCANNER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 66));
const FLOODER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));
const SCANNER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x66));
/// Nothing comes back within this: silence. Round trips in the lab take well under a millisecond.
const SILENCE: Duration = Duration::from_millis(400);

/// The utility may call this gateway.
const CALLED: &str = "[utility]\nlisten = '[::]:8444'\n";
/// Ports of a thorough scan.
const ALL_WELL_KNOWN: RangeInclusive<u16> = 1..=1024;
/// Ports of a quick one.
const SOME: RangeInclusive<u16> = 1..=100;

/// What other programs keep in the kernel: a firewall of its own, and a container engine.
const FOREIGN: &str = r#"
table inet firewalld {
    set trusted { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }
    chain filter_INPUT { type filter hook input priority filter + 10; policy accept; ct state invalid drop; ip saddr @trusted accept; }
}
table ip nat {
    chain DOCKER { tcp dport 9999 dnat to 172.17.0.2:80
    }
    chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump DOCKER; }
    chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
    }
}
table ip filter {
    chain DOCKER-USER { return
    }
    chain FORWARD { type filter hook forward priority filter; policy accept; jump DOCKER-USER; }
}
"#;

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
            nft(house.gateway().host(), &["flush", "ruleset"])?;
            let foreign_again = put_foreign_tables(house)?;
            // Without anybody who asks for it, and long before the minute after which it is looked for anyway.
            wait_until("the table", Duration::from_secs(5), || {
                nft(house.gateway().host(), &["list", "table", "inet", "heg"]).ok()
            })?;
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

/// Everything around the gateway: an Internet of one host, and a neighbour at home.
struct Street {
    internet: Host,
    neighbour: Host,
    home: Ipv4Addr,
    appliance: Ipv4Addr,
    appliance6: Ipv6Addr,
}

impl Street {
    fn around(house: &mut House) -> Result<Self> {
        let lan = house.lan().clone();
        let neighbour = house.lab_mut().host("neighbour")?;
        house.lab().attach(&neighbour, "eth0", &lan, 20)?;
        shell(
            &neighbour,
            &format!("ip route add default via {}; ip -6 route add default via {}", lan.ipv4(1), lan.ipv6(1)),
        )?;
        let (wan, internet) = (house.lab_mut().lan()?, house.lab_mut().host("internet")?);
        house.lab().attach(&internet, "eth0", &wan, 9)?;
        let gateway = house.gateway().host();
        house.lab().attach(gateway, "wan0", &wan, 1)?;
        shell(
            gateway,
            "ip addr add 203.0.113.1/24 dev wan0; ip addr add 2001:db8:ffff::1/64 dev wan0 nodad
             echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding",
        )?;
        shell(
            &internet,
            &format!(
                "for n in 9 66 77; do ip addr add 203.0.113.$n/24 dev eth0; ip addr add 2001:db8:ffff::$n/64 dev eth0 nodad; done
                 ip route add 10.88.0.0/24 via 203.0.113.1 src {SCANNER}; ip -6 route add fd88::/64 via 2001:db8:ffff::1"
            ),
        )?;
        for port in [22, 80, 8080] {
            serve_echo(gateway, port)?;
        }
        serve_echo(&internet, 5000)?;
        Ok(Self { internet, neighbour, home: lan.ipv4(1), appliance: lan.ipv4(2), appliance6: lan.ipv6(2) })
    }

    fn connect(&self, from: IpAddr, to: SocketAddr) -> Result<TcpStream> {
        self.internet.in_network(|| connect(Some(from), to, SOON))
    }

    /// A scan of every address of gateway and appliance finds nothing but `open`, and no word comes back.
    fn ensure_silent(&self, house: &House, open: &[u16], ports: RangeInclusive<u16>) -> Result<()> {
        // The daemon may be dead; its last port is then as good as any.
        let http = firewall(house).ok().and_then(|f| http_port(&f).ok()).unwrap_or(49200);
        // The utility may call, and nobody else gets more than an answer there.
        let open = &[open, &[8444]].concat();
        let well_known: Vec<u16> = ports.chain([http, 8444, 1900, 5000, 7900, 8080, 8443, 9999]).collect();
        let few = [22, 53, 80, http];
        let own6 = |text: &str| text.parse::<IpAddr>().map_err(anyhow::Error::from);
        let targets: Vec<(IpAddr, &[u16])> = vec![
            (GATEWAY_WAN, &well_known),
            (GATEWAY_WAN6, &well_known),
            (self.home.into(), &few),
            (self.appliance.into(), &few),
            (own6("fd88::1")?, &few),
            (self.appliance6.into(), &few),
        ];
        let watcher = house.lab().watcher();
        let before = watcher.mark();
        self.internet.in_network(|| {
            for (address, source) in [(GATEWAY_WAN, SCANNER), (GATEWAY_WAN6, SCANNER6), (self.appliance.into(), SCANNER)] {
                let socket = UdpSocket::bind((source, 0))?;
                for port in [53, 67, 547, 1900, 5353, 7900] {
                    let search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n";
                    socket.send_to(search.as_bytes(), (address, port))?;
                }
            }
            let found = scan(&targets)?;
            let expected: Vec<(IpAddr, u16)> = [GATEWAY_WAN, GATEWAY_WAN6].iter().flat_map(|a| open.iter().map(|p| (*a, *p))).collect();
            ensure!(found == expected, "found {found:?} instead of {expected:?}");
            Ok(())
        })?;
        let spoke: Vec<Frame> = watcher.since(before).into_iter().filter(|f| speaks_to_scanner(f, open)).collect();
        ensure!(spoke.is_empty(), "{} frames came back, the first: {:?}", spoke.len(), spoke[0].payload());
        Ok(())
    }

    fn ensure_open_to_the_home(&self, house: &House) -> Result<()> {
        let http = http_port(&firewall(house)?)?;
        self.neighbour.in_network(|| {
            for port in [22, 80, http] {
                connect(None, (self.home, port).into(), SOON).with_context(|| format!("port {port}"))?;
                connect(None, SocketAddr::new("fd88::1".parse()?, port), SOON)
                    .with_context(|| format!("port {port}, IPv6"))?;
            }
            // Out to the Internet, with answers back, in both families.
            echo(&mut connect(None, (AWAY, 5000).into(), SOON).context("out by IPv4")?)?;
            let away6 = SocketAddr::new("2001:db8:ffff::9".parse()?, 5000);
            echo(&mut connect(None, away6, SOON).context("out by IPv6")?)
        })?;
        house.gateway().hegctl_ok(&["on", "tv"])?;
        house.wait_state("tv", "ON", SOON)?;
        house.gateway().hegctl_ok(&["off", "tv"])?;
        house.wait_state("tv", "OFF", SOON)?;
        Ok(())
    }

    /// Another router at home announces itself, and the provider gives out another prefix.
    fn ensure_a_stray_route_and_new_networks_shut_nobody_out(&self, house: &House) -> Result<()> {
        let host = house.gateway().host();
        let neighbour = house.lan().ipv4(20);
        shell(
            host,
            &format!(
                "ip route add default via {neighbour} dev eth0 metric 5000; ip addr add 2001:db8:77::1/64 dev eth0 nodad"
            ),
        )?;
        let has = |f: &Value| f["networks"].to_string().contains("2001:db8:77::/64");
        let told = wait_firewall(house, "the new prefix", has)?;
        ensure!(told["wan"][0] == "wan0" && told["wan"][1].is_null() && told["lan"][0] == "eth0", "{told}");
        self.ensure_open_to_the_home(house)?;
        let http = http_port(&told)?;
        shell(&self.neighbour, "ip addr add 2001:db8:77::20/64 dev eth0 nodad")?;
        self.neighbour.in_network(|| {
            connect(Some("2001:db8:77::20".parse()?), SocketAddr::new("2001:db8:77::1".parse()?, http), SOON)
        })?;
        shell(host, &format!("ip route del default via {neighbour} dev eth0; ip addr del 2001:db8:77::1/64 dev eth0"))?;
        wait_firewall(house, "the prefix to be gone", |f| !has(f)).map(drop)
    }

    /// Connections through and to the gateway go on while rules and sets are replaced under them.
    fn ensure_no_connection_is_lost(&self, house: &House) -> Result<()> {
        let through = self.neighbour.in_network(|| connect(None, (AWAY, 5000).into(), SOON))?;
        let to_gateway = self.neighbour.in_network(|| connect(None, (self.home, 22).into(), SOON))?;
        let talks = [Talk::begin(through)?, Talk::begin(to_gateway)?];
        for round in 0..8 {
            let wan_tcp = if round % 2 == 0 { "wan-tcp = [8080]\n" } else { "" };
            configure(house, &format!("{wan_tcp}masquerade = true\n"))?;
            let before = talks.each_ref().map(Talk::count);
            house.gateway().hegctl_ok(&["firewall", "apply", "--confirmed"])?;
            shell(
                house.gateway().host(),
                &format!("ip addr {} 10.77.0.1/24 dev eth0", if round % 2 == 0 { "add" } else { "del" }),
            )?;
            wait_until("words after the change", SOON, || {
                let now = talks.each_ref().map(Talk::count);
                (now[0] > before[0] + 5 && now[1] > before[1] + 5).then_some(())
            })?;
            if round == 6 {
                self.ensure_silent(house, &[8080], SOME)?;
            }
        }
        for talk in talks {
            talk.end()?;
        }
        let seen = self.neighbour.in_network(|| {
            let mut stream = connect(None, (AWAY, 5000).into(), SOON)?;
            stream.write_all(b"who?\n")?;
            let mut answer = [0; 64];
            let length = stream.read(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        })?;
        ensure!(seen.starts_with("203.0.113.1"), "masqueraded as {seen}");
        Ok(())
    }

    fn ensure_floods_are_dropped(&self, house: &House) -> Result<()> {
        let http = http_port(&firewall(house)?)?;
        self.neighbour.in_network(|| {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for _ in 0..5000 {
                let _full = socket.send_to(b"NOTIFY * HTTP/1.1\r\n\r\n", (self.home, 1900));
            }
            let mut stream = connect(None, (self.home, http).into(), SOON)?;
            stream.set_nodelay(true)?;
            let subscribe = format!("SUBSCRIBE /x HTTP/1.1\r\nHost: {}:{http}\r\n\r\n", self.home);
            let mut answers = 0;
            let mut slow = false;
            while !slow && answers < 2000 {
                let begun = Instant::now();
                stream.write_all(subscribe.as_bytes())?;
                ensure!(stream.read(&mut [0; 4096])? > 0, "closed after {answers}");
                answers += 1;
                // What is dropped is sent again by the kernel, after a fifth of a second: the flood is slowed down.
                slow = begun.elapsed() > Duration::from_millis(150);
            }
            ensure!(slow, "{answers} SUBSCRIBEs went through at full speed");
            let targets = vec![http; 800];
            scan(&[(self.home.into(), &targets)]).map(drop)
        })?;
        let taken = self.internet.in_network(|| {
            let tries = (0..30).map(|_| connect(Some(FLOODER), (GATEWAY_WAN, 8444).into(), Duration::from_millis(50)));
            Ok(tries.filter(Result::is_ok).count())
        })?;
        ensure!((1..=15).contains(&taken), "{taken} of a flood of 30 calls were taken");
        let metrics = || -> Result<BTreeMap<String, u64>> {
            let socket = "/run/heg/control.sock";
            let text = control_get(house.gateway().host(), socket, "/metrics")?;
            let samples = text.lines().filter(|l| l.starts_with("heg_firewall_dropped_packets_total"));
            Ok(samples
                .filter_map(|l| Some((l.split('"').nth(1)?.to_owned(), l.rsplit(' ').next()?.parse().ok()?)))
                .collect())
        };
        let counted = metrics()?;
        let reasons =
            ["flood_ssdp", "flood_connections", "flood_subscribe", "flood_sealed", "dropped_wan", "dropped_forward"];
        for reason in reasons {
            ensure!(counted.get(reason).is_some_and(|n| *n > 0), "{reason} in {counted:?}");
        }
        // Over, and forgotten.
        wait_until("the gateway's answer", SOON, || {
            self.neighbour.in_network(|| connect(None, (self.home, http).into(), SILENCE)).ok()
        })?;
        house.gateway().hegctl_ok(&["on", "tv"])?;
        house.wait_state("tv", "ON", SOON).map(drop)
    }

    /// Not confirmed in time, or the daemon killed before: the rules before come back, and nothing else was open meanwhile.
    fn ensure_changes_are_taken_back(&self, house: &mut House) -> Result<()> {
        let door: SocketAddr = (GATEWAY_WAN, 8080).into();
        let try_door = |street: &Self| street.internet.in_network(|| connect(Some(SCANNER), door, SILENCE)).is_ok();
        ensure!(!try_door(self), "closed before");
        configure(house, "masquerade = true\nwan-tcp = [8080]\nconfirm-within-s = 5\n")?;
        house.gateway().hegctl_ok(&["firewall", "apply"])?;
        ensure!(try_door(self), "open while it waits");
        let status = house.gateway().json(&["status"])?["status"].to_string();
        ensure!(status.contains("hegctl firewall confirm"), "{status}");
        wait_until("the door closed again", SOON, || (!try_door(self)).then_some(()))?;
        ensure!(firewall(house)?["change"] == "rolled-back");

        house.gateway().hegctl_ok(&["firewall", "apply"])?;
        house.gateway_mut().kill()?;
        self.ensure_silent(house, &[8080], SOME).context("after a crash with a change that waits")?;
        house.gateway_mut().start()?;
        wait_until("the door closed by the next start", SOON, || (!try_door(self)).then_some(()))?;
        wait_firewall(house, "an answer", |f| f["change"] == "rolled-back" && f["shape"] == "router")?;
        let journal = house.gateway().json(&["journal"])?.to_string();
        ensure!(journal.matches("firewall rollback").count() == 2, "{journal}");
        self.ensure_off_is_taken_back(house)?;
        let refused = house.gateway().hegctl(&["firewall", "confirm"])?;
        ensure!(refused.status.code() == Some(1), "{refused:?}");
        Ok(())
    }
}

impl Street {
    /// Without rules too it takes a word from whoever still gets through.
    fn ensure_off_is_taken_back(&self, house: &mut House) -> Result<()> {
        let rules = |house: &House| nft(house.gateway().host(), &["list", "table", "inet", "heg"]).is_ok();
        configure(house, "masquerade = true\nconfirm-within-s = 5\n")?;
        house.gateway().hegctl_ok(&["firewall", "apply", "--confirmed"])?;
        house.gateway().hegctl_ok(&["firewall", "off"])?;
        ensure!(!rules(house), "rules while off");
        let waits = firewall(house)?;
        ensure!(waits["state"] == "off" && waits["change"] == "waiting", "{waits}");
        wait_firewall(house, "the rules again", |f| f["state"] == "in-place" && f["change"] == "rolled-back")?;
        ensure!(rules(house), "no rules after the time was over");
        self.ensure_silent(house, &[], SOME).context("after an unconfirmed off")?;
        house.gateway().hegctl_ok(&["firewall", "off", "--confirmed"])?;
        let off = firewall(house)?;
        ensure!(!rules(house) && off["state"] == "off" && off["change"] == "confirmed", "{off}");
        house.gateway().hegctl_ok(&["firewall", "apply", "--confirmed"])?;
        ensure!(rules(house), "no rules after they were applied again");
        Ok(())
    }
}

/// A connection over which something is said all the time.
struct Talk {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<()>>,
}

impl Talk {
    fn begin(mut stream: TcpStream) -> Result<Self> {
        let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&count), Arc::clone(&stop));
        let thread = std::thread::Builder::new().spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                echo(&mut stream)?;
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })?;
        Ok(Self { count, stop, thread })
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the talk panicked"))?
    }
}

/// Says something and hears it back.
fn echo(stream: &mut TcpStream) -> Result<()> {
    let said = [0x5a; 1024];
    stream.write_all(&said)?;
    let mut heard = [0; 1024];
    stream.read_exact(&mut heard)?;
    ensure!(said == heard, "something else came back");
    Ok(())
}

/// Sends everything back; to a question it says who asked.
fn serve_echo(host: &Host, port: u16) -> Result<()> {
    let listener = host.in_network(|| Ok(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?))?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let peer = stream.peer_addr().map(|a| a.ip().to_canonical().to_string()).unwrap_or_default();
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    let answer =
                        if buffer[..length].starts_with(b"who?") { peer.as_bytes() } else { &buffer[..length] };
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(())
}

fn connect(from: Option<IpAddr>, to: SocketAddr, within: Duration) -> Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = runtime.block_on(async {
        let socket = if to.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
        if let Some(from) = from {
            socket.bind((from, 0).into())?;
        }
        tokio::time::timeout(within, socket.connect(to)).await.context("no answer")?.context("connecting")
    })?;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    Ok(stream)
}

/// The ports from which anything came back, a refusal included. All are tried at once, as a fast scanner does.
fn scan(targets: &[(IpAddr, &[u16])]) -> Result<Vec<(IpAddr, u16)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut found = Vec::new();
    // Few enough for the usual limit of open files.
    const AT_ONCE: usize = 900;
    let all: Vec<(IpAddr, u16)> = targets.iter().flat_map(|(a, ports)| ports.iter().map(|p| (*a, *p))).collect();
    for some in all.chunks(AT_ONCE) {
        runtime.block_on(async {
            let mut tries = tokio::task::JoinSet::new();
            for (address, port) in some.iter().copied() {
                tries.spawn(async move {
                    let connecting = async {
                        if address.is_ipv4() && !address.to_string().starts_with("203.") {
                            return tokio::net::TcpStream::connect((address, port)).await.map(drop);
                        }
                        let (socket, from) = match address {
                            IpAddr::V4(_) => (tokio::net::TcpSocket::new_v4()?, SCANNER),
                            IpAddr::V6(_) => (tokio::net::TcpSocket::new_v6()?, SCANNER6),
                        };
                        socket.bind((from, 0).into())?;
                        socket.connect((address, port).into()).await.map(drop)
                    };
                    let answer = tokio::time::timeout(SILENCE, connecting).await;
                    let refused = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionRefused;
                    match answer {
                        Ok(Ok(())) => Ok(Some((address, port))),
                        Ok(Err(error)) if refused(&error) => Ok(Some((address, port))),
                        Ok(Err(error)) => Err(error),
                        Err(_silence) => Ok(None),
                    }
                });
            }
            while let Some(tried) = tries.join_next().await {
                found.extend(tried?.context("scanning")?);
            }
            anyhow::Ok(())
        })?;
    }
    found.sort();
    Ok(found)
}

/// Whether the gateway or an appliance answered whoever scans; neighbour discovery is no answer.
fn speaks_to_scanner(frame: &Frame, open: &[u16]) -> bool {
    let scanner = |ip: IpAddr| ip == SCANNER || ip == SCANNER6;
    match (&*frame.sender, frame.payload()) {
        ("internet", _) => false,
        (_, Payload::Tcp { to, from, .. }) => scanner(to.ip()) && !open.contains(&from.port()),
        (_, Payload::Udp { to, .. }) => scanner(to.ip()),
        (_, Payload::Other { ether_type: 0x0800, data }) => data.get(16..20).is_some_and(|to| [203, 0, 113, 66] == *to),
        // ICMPv6 errors are below 128, an echo's answer is 129 (RFC 4443).
        (_, Payload::Other { ether_type: 0x86dd, data }) => {
            data.get(24..40).is_some_and(|to| matches!(SCANNER6, IpAddr::V6(a) if a.octets() == *to))
                && data.get(40).is_some_and(|kind| *kind < 128 || *kind == 129)
        }
        _ => false,
    }
}

fn put_foreign_tables(house: &House) -> Result<Vec<String>> {
    let host = house.gateway().host();
    let file = host.dir().join("foreign.nft");
    fs::write(&file, FOREIGN)?;
    nft(host, &["-f", &file.display().to_string()])?;
    foreign_tables(house)
}

/// Every table but ours, with the kernel's own numbers for each rule.
fn foreign_tables(house: &House) -> Result<Vec<String>> {
    let host = house.gateway().host();
    [["inet", "firewalld"], ["ip", "nat"], ["ip", "filter"]]
        .iter()
        .map(|[family, name]| nft(host, &["-a", "list", "table", family, name]))
        .collect()
}

fn nft(host: &Host, arguments: &[&str]) -> Result<String> {
    succeeded(host.run("nft", arguments)?).with_context(|| format!("nft {arguments:?}"))
}

/// Where `nft` is.
fn nft_program() -> Result<std::path::PathBuf> {
    let dirs = ["/usr/sbin", "/sbin", "/usr/bin"].map(std::path::Path::new);
    dirs.iter().map(|dir| dir.join("nft")).find(|path| path.exists()).context("nft is not installed")
}

/// An `nft` that runs `first` before the real one, with what it was given in `$input`; the `PATH` by which it is found.
fn wrap_nft(host: &Host, name: &str, first: &str) -> Result<String> {
    const REAL: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    let dir = host.dir().join(name);
    fs::create_dir(&dir)?;
    let script = format!("#!/bin/sh\n{REAL}\ninput=$(cat)\n{first}\nprintf %s \"$input\" | nft \"$@\"\n");
    fs::write(dir.join("nft"), script)?;
    fs::set_permissions(dir.join("nft"), fs::Permissions::from_mode(0o755))?;
    Ok(format!("PATH={}", dir.display()))
}

fn shell(host: &Host, script: &str) -> Result<()> {
    succeeded(host.run("sh", &["-ec", script])?).with_context(|| script.to_owned()).map(drop)
}

fn firewall(house: &House) -> Result<Value> {
    house.gateway().json(&["firewall"])
}

fn wait_firewall(house: &House, what: &str, so: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = String::new();
    let found = wait_until("", SOON, || {
        let told = firewall(house);
        last = format!("{told:?}");
        told.ok().filter(|f| so(f))
    });
    found.with_context(|| format!("{what}: {last}"))
}

fn http_port(firewall: &Value) -> Result<u16> {
    firewall["http-port"].as_u64().and_then(|p| u16::try_from(p).ok()).with_context(|| format!("no port in {firewall}"))
}

/// Writes `[firewall]` of the gateway's configuration file.
fn configure(house: &House, firewall: &str) -> Result<()> {
    let file = house.gateway().host().dir().join("heg-gateway.toml");
    fs::write(&file, format!("{GATEWAY}{CALLED}[firewall]\n{firewall}")).context("writing the configuration")
}

/// A GET over the control socket, as a monitoring program sends it.
fn control_get(host: &Host, socket: &str, path: &str) -> Result<String> {
    let inside = socket.strip_prefix("/run/").context("a socket below /run")?;
    let mut stream = std::os::unix::net::UnixStream::connect(host.dir().join("run").join(inside))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(answer)
}

fn fill_registry(house: &House, appliances: u16) -> Result<()> {
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
