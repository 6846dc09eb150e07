//! Everything around the gateway, an Internet of one host and a neighbour at home, and what must hold there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use house_tests::house::House;
use serde_json::Value;
use testkit::lab::{Frame, Host, wait_until};

use super::daemon::{configure, control_get, firewall, http_port, wait_firewall};
use super::kernel::nft;
use super::traffic::{SCANNER, SCANNER6, SILENCE, Talk, connect, echo, scan, serve_echo, speaks_to_scanner};
use super::{AWAY, GATEWAY_WAN, SOME, shell};
use crate::homes::SOON;

const GATEWAY_WAN6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1));
const FLOODER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));

/// Everything around the gateway: an Internet of one host, and a neighbour at home.
pub(super) struct Street {
    internet: Host,
    neighbour: Host,
    home: Ipv4Addr,
    appliance: Ipv4Addr,
    appliance6: Ipv6Addr,
}

impl Street {
    pub(super) fn around(house: &mut House) -> Result<Self> {
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

    pub(super) fn connect(&self, from: IpAddr, to: SocketAddr) -> Result<TcpStream> {
        self.internet.in_network(|| connect(Some(from), to, SOON))
    }

    /// A scan of every address of gateway and appliance finds nothing but `open`, and no word comes back.
    pub(super) fn ensure_silent(&self, house: &House, open: &[u16], ports: RangeInclusive<u16>) -> Result<()> {
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

    pub(super) fn ensure_open_to_the_home(&self, house: &House) -> Result<()> {
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
    pub(super) fn ensure_a_stray_route_and_new_networks_shut_nobody_out(&self, house: &House) -> Result<()> {
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
        wait_firewall(house, "the prefix to be gone", |f| !has(f))?;
        // A second card of the home comes and goes: nothing that is not there is shown.
        let has = |f: &Value, list: &str| f[list].to_string().contains("lan1");
        shell(
            host,
            "ip link add lan1 type veth peer name lan1p; ip addr add 10.66.0.1/24 dev lan1; ip link set lan1p up; ip link set lan1 up",
        )?;
        wait_firewall(house, "the second card", |f| has(f, "lan"))?;
        shell(host, "ip link del lan1")?;
        let told = wait_firewall(house, "the second card to be gone", |f| !has(f, "lan"))?;
        ensure!(!has(&told, "inner"), "{told}");
        Ok(())
    }

    /// Connections through and to the gateway go on while rules and sets are replaced under them.
    pub(super) fn ensure_no_connection_is_lost(&self, house: &House) -> Result<()> {
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

    pub(super) fn ensure_floods_are_dropped(&self, house: &House) -> Result<()> {
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
    pub(super) fn ensure_changes_are_taken_back(&self, house: &mut House) -> Result<()> {
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
        // One that cannot be stored is not begun, and the reason is told.
        let file = house.gateway().host().dir().join("lib/heg/firewall.json");
        fs::remove_file(&file)?;
        fs::create_dir(&file)?;
        let refused = house.gateway().hegctl(&["firewall", "apply"])?;
        let told = firewall(house)?;
        let said = told["trouble"].to_string().contains("taken back: it could not be stored");
        ensure!(!refused.status.success() && said && !try_door(self), "{refused:?} {told}");
        fs::remove_dir(&file)?;
        self.ensure_off_is_taken_back(house)?;
        let refused = house.gateway().hegctl(&["firewall", "confirm"])?;
        ensure!(refused.status.code() == Some(1), "{refused:?}");
        Ok(())
    }

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
        // One that is killed before it has carried that out does so when it starts again.
        nft(house.gateway().host(), &["add", "table", "inet", "heg"])?;
        house.gateway_mut().kill()?;
        house.gateway_mut().start()?;
        let off = wait_firewall(house, "an answer", |f| f["state"] == "off")?;
        ensure!(!rules(house) && !off["trouble"].to_string().contains("still in place"), "{off}");
        house.gateway().hegctl_ok(&["firewall", "apply", "--confirmed"])?;
        ensure!(rules(house), "no rules after they were applied again");
        Ok(())
    }
}
