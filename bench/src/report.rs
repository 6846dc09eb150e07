//! Runs the benchmarks and prints their tables.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::lab::{Host, Lab, Lan, Process, wait_until};

use crate::events::{self, Delays, median};
use crate::memory::{self, Memory};
use crate::{peers, soap, start, traffic};

const PASSES: usize = 3;
const CONNECTIONS: [usize; 3] = [1, 8, 32];
const SUBSCRIBERS: usize = 100;
const APPLIANCES: [u16; 4] = [1, 20, 80, 160];
/// Memory is read so long after the last appliance was found: what the first minute needed has been given back then.
const SETTLE: Duration = Duration::from_secs(45);

/// All benchmarks, or those named in `only`.
pub(crate) fn print(only: &[String]) -> Result<()> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|o| o == name);
    let mut lab = Lab::new()?;
    let lan = lab.lan()?;
    let device = lab.host("device")?;
    let point = lab.host("point")?;
    lab.attach(&device, "eth0", &lan, 1)?;
    lab.attach(&point, "eth0", &lan, 2)?;
    let appliance = lab.host("appliance")?;
    lab.attach(&appliance, "eth0", &lan, 3)?;
    for host in [&device, &point] {
        host.run("ip", &["route", "add", "239.0.0.0/8", "dev", "eth0"])?;
    }
    // libupnp gives up when it meets an address that is still tentative.
    for host in [&device, &point] {
        wait_until("settled addresses", Duration::from_secs(10), || {
            let out = host.run("ip", &["-6", "address", "show", "dev", "eth0"]).ok()?;
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            (text.contains("fe80") && !text.contains("tentative")).then_some(())
        })?;
    }
    let result = (|| {
        if wanted("soap") {
            soap_table(&lab, &lan, &device, &point)?;
        }
        if wanted("events") {
            events_table(&lab, &lan, &device, &point)?;
        }
        if wanted("start") {
            start_table(&lab, &device)?;
        }
        if wanted("traffic") {
            traffic_table()?;
        }
        if wanted("memory") {
            memory_table(&lab, &device, &point, &appliance)?;
        }
        Ok(())
    })();
    if result.is_err() {
        eprintln!("{}", lab.logs());
    }
    result
}

fn soap_table(lab: &Lab, lan: &Lan, device: &Host, point: &Host) -> Result<()> {
    let address = IpAddr::V4(lan.ipv4(1));
    let peers = peers::peers(lab, address);
    let _running: Vec<Process> = peers.iter().map(|p| p.start(device, address)).collect::<Result<_>>()?;
    println!(
        "## SOAP actions per second\n\nMedian of {PASSES} passes of {} s, the peers in turn.\n",
        soap::PASS.as_secs()
    );
    println!("| connections | {} |", peers.iter().map(|p| p.name).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---|".repeat(peers.len()));
    for connections in CONNECTIONS {
        let mut rates = vec![Vec::new(); peers.len()];
        for _ in 0..PASSES {
            for (peer, rates) in peers.iter().zip(&mut rates) {
                let to = SocketAddr::new(address, peer.port);
                let request = peer.request(to, peer.get.0, peer.get.1);
                let rate = point.in_network(|| soap::rate(to, &request, connections));
                rates.push(rate.with_context(|| peer.name)?);
            }
        }
        let cells: Vec<_> = rates.into_iter().map(|r| format!("{:.0}", median(r))).collect();
        println!("| {connections} | {} |", cells.join(" | "));
    }
    println!();
    Ok(())
}

fn events_table(lab: &Lab, lan: &Lan, device: &Host, point: &Host) -> Result<()> {
    let address = IpAddr::V4(lan.ipv4(1));
    let mut subscribers = Vec::new();
    for number in 0..SUBSCRIBERS {
        let ip = lan.ipv4(u8::try_from(100 + number).context("a host number")?);
        let added = point.run("ip", &["address", "add", &format!("{ip}/24"), "dev", "eth0"])?;
        ensure!(added.status.success(), "adding {ip}");
        subscribers.push(IpAddr::V4(ip));
    }
    println!(
        "## State change to NOTIFY, milliseconds\n\nFrom sending the SOAP action that changes the state to the arrival; median over 25 changes. Goal: faster than libupnp at each.\n"
    );
    println!("| device | 1 subscriber | first of {SUBSCRIBERS} | 50th | {SUBSCRIBERS}th |\n|---|---|---|---|---|");
    for peer in peers::peers(lab, address) {
        let one = measure(&peer, device, point, address, &subscribers[..1])?;
        let all = measure(&peer, device, point, address, &subscribers)?;
        println!("| {} | {:.2} | {:.2} | {:.2} | {:.2} |", peer.name, one.first, all.first, all.middle, all.last);
    }
    println!();
    Ok(())
}

fn measure(peer: &peers::Peer, device: &Host, point: &Host, address: IpAddr, subscribers: &[IpAddr]) -> Result<Delays> {
    let _process = peer.start(device, address)?;
    point.in_network(|| events::delays(peer, address, subscribers)).with_context(|| peer.name)
}

fn start_table(lab: &Lab, device: &Host) -> Result<()> {
    println!(
        "## Start of the process to the first ssdp:alive, milliseconds\n\nMedian of 9 starts. Goal: under 100.\n\n| program | ms |\n|---|---|"
    );
    for (program, arguments) in [("psm-agent", &[][..]), ("heg-gateway", &[])] {
        println!("| {program} | {:.0} |", start::to_first_alive(lab, device, program, arguments)?);
    }
    println!();
    Ok(())
}

fn traffic_table() -> Result<()> {
    let v4: IpAddr = [10, 88, 0, 1].into();
    let v6: [IpAddr; 2] = ["fe80::1".parse().context("address")?, "fd88::1".parse().context("address")?];
    println!(
        "## Steady SSDP traffic of one appliance, bit/s\n\nA day in virtual time, IP and Ethernet headers included. Goal: under 100.\n"
    );
    println!("| addresses | bit/s |\n|---|---|");
    println!("| IPv4 | {:.0} |", traffic::bits_per_second(&[v4])?);
    println!("| IPv4, IPv6 link-local and unique local | {:.0} |\n", traffic::bits_per_second(&[v4, v6[0], v6[1]])?);
    Ok(())
}

fn memory_table(lab: &Lab, device: &Host, point: &Host, appliance: &Host) -> Result<()> {
    println!(
        "## Memory, kB\n\nRead {} s after the last appliance was found. One appliance is a psm-agent (without D-Bus) on a host of its own, the",
        SETTLE.as_secs()
    );
    println!(
        "others are one process on another host. Goals: gateway under 4.87 MB RSS at one appliance, under 6 MB at 160, at"
    );
    println!("most 8 kB each; agent under 4.5 MB.\n");
    println!(
        "| appliances | gateway RSS | PSS | private dirty | agent RSS | PSS | private dirty |\n|---|---|---|---|---|---|---|"
    );
    let mut gateway_rows = Vec::new();
    for count in APPLIANCES {
        let others = format!("--count={}", count - 1);
        let _devices =
            device.start("devices", device.command(lab.program("house-bench")).args(["appliances", &others]))?;
        let agent = appliance.start("psm-agent", &mut appliance.command(lab.program("psm-agent")))?;
        let gateway = point.start("heg-gateway", &mut point.command(lab.program("heg-gateway")))?;
        wait_until(&format!("{count} appliances ON"), Duration::from_secs(120), || {
            let out = point.command(lab.program("hegctl")).args(["--json", "appliances"]).output().ok()?;
            let text = String::from_utf8_lossy(&out.stdout);
            (text.matches("\"ON\"").count() >= usize::from(count)).then_some(())
        })
        .with_context(|| gateway.log())?;
        let (of_agent, of_gateway) = settled(agent.pid(), gateway.pid())?;
        println!("| {count} | {} | {} |", cells(of_gateway), cells(of_agent));
        gateway_rows.push((count, of_gateway));
        drop(gateway);
        // A registry of the last round would be read back.
        let _gone = std::fs::remove_dir_all(point.dir().join("lib/heg"));
    }
    if let [(first, a), .., (last, b)] = gateway_rows.as_slice() {
        let per = f64::from(u32::try_from(b.rss.saturating_sub(a.rss)).unwrap_or(u32::MAX)) / f64::from(last - first);
        println!("\nGateway: {per:.1} kB RSS per appliance between {first} and {last}.\n");
    }
    Ok(())
}

fn cells(m: Memory) -> String {
    format!("{} | {} | {}", m.rss, m.pss, m.private_dirty)
}

/// The memory of both after the settling time.
fn settled(agent: u32, gateway: u32) -> Result<(Memory, Memory)> {
    let until = std::time::Instant::now() + SETTLE;
    while std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok((memory::of(agent)?, memory::of(gateway)?))
}
