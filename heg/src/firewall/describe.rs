//! What a plan means, in words. PURE.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::ruleset::Plan;
use super::settings::{LanInput, Mode, Ssh};

/// A line for each thing a person should know before it is put in force.
pub(super) fn lines(plan: &Plan, forwarding: bool) -> Vec<String> {
    let (s, shape) = (&plan.settings, &plan.shape);
    let names = |set: &BTreeSet<String>| match set.is_empty() {
        true => "none".to_owned(),
        false => set.iter().cloned().collect::<Vec<_>>().join(" "),
    };
    if s.mode == Mode::Off {
        return vec!["off: no rules of the gateway's own".to_owned()];
    }
    let word = if shape.router { "router" } else { "host on the LAN" };
    let mut lines = vec![format!("shape: {word}; {}", shape.why)];
    let ports = plan.http_port.map_or("not known yet".to_owned(), |p| p.to_string());
    let networks: Vec<String> = shape.prefixes.iter().map(ToString::to_string).collect();
    lines.push(format!(
        "the gateway's own ports (UDP 1900 and 7900, TCP {ports}): only from {} on {}",
        if networks.is_empty() { "link-local addresses".to_owned() } else { networks.join(" ") },
        names(&shape.lan),
    ));
    if let Some(port) = plan.sealed_port {
        let named: Vec<String> = s.utility_addresses.iter().map(ToString::to_string).collect();
        let from = if named.is_empty() { "everywhere".to_owned() } else { named.join(" ") };
        lines.push(format!("the endpoint for the utility's calls (TCP {port}): from {from}, at a bounded rate"));
    }
    if !shape.router && shape.wan.is_empty() {
        lines.push("everything else: as it was".to_owned());
        return lines;
    }
    if shape.router {
        lines.push(match s.lan_input {
            LanInput::Keep => format!("other services toward {}: as they were", names(&shape.inside())),
            LanInput::Closed => format!(
                "other services toward {}: closed, save for SSH, DHCP, DNS, mDNS{}",
                names(&shape.inside()),
                numbers(&s.lan_tcp, &s.lan_udp)
            ),
        });
        lines.push(format!(
            "forwarded: from {} everywhere{}; from elsewhere only what belongs to a connection from inside",
            names(&shape.inside()),
            if s.masquerade { ", IPv4 behind the WAN's address" } else { "" }
        ));
        if !forwarding {
            lines.push("note: the kernel forwards nothing (net.ipv4.ip_forward and its like are 0)".to_owned());
        }
    }
    let elsewhere = if shape.router { "every other interface" } else { "these" };
    lines.push(format!(
        "WAN {}, and {elsewhere}: closed, save for DHCP, needed ICMP{}",
        names(&shape.wan),
        numbers(&s.wan_tcp, &s.wan_udp)
    ));
    let ports: BTreeSet<_> = plan.ssh_ports.difference(&s.wan_tcp.iter().copied().collect()).copied().collect();
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let from: Vec<String> = plan.ssh.iter().map(ToString::to_string).collect();
    lines.push(match (s.ssh, from.is_empty()) {
        _ if ports.is_empty() => return lines,
        (Ssh::Keep, false) => format!("SSH on the WAN side (TCP {}): only from {}", ports.join(" "), from.join(" ")),
        (Ssh::Keep, true) => {
            format!("SSH on the WAN side (TCP {}): closed, as nobody is connected from there", ports.join(" "))
        }
        (Ssh::Lan, _) => format!("SSH on the WAN side (TCP {}): closed", ports.join(" ")),
    });
    lines
}

fn numbers(tcp: &[u16], udp: &[u16]) -> String {
    let list = |name: &str, ports: &[u16]| match ports.is_empty() {
        true => String::new(),
        false => format!(", {name} {}", ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
    };
    list("TCP", tcp) + &list("UDP", udp)
}
