//! Where SSDP multicasts go: one endpoint per interface and group, with the own address that is told there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::net::{Interface, InterfaceAddress, InterfaceId, SSDP_PORT, SSDP_V4, SSDP_V6_LINK, SSDP_V6_SITE};

/// A multicast group on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Endpoint {
    /// Interface to send from.
    pub(super) interface: InterfaceId,
    /// Group and port; scope id set for IPv6.
    pub(super) group: SocketAddr,
    /// Own address a LOCATION in this group names.
    pub(super) local: IpAddr,
}

/// The endpoints of `interfaces`: the IPv4 group where there is an IPv4 address, the link-local IPv6 group with a link-local
/// address, the site-local IPv6 group with a wider one (UDA 1.1, annex A.2: the LOCATION must be of the group's scope).
pub(super) fn endpoints(interfaces: &[Interface]) -> Vec<Endpoint> {
    let mut all = Vec::with_capacity(interfaces.len());
    for interface in interfaces {
        let first = |wanted: fn(&IpAddr) -> bool| interface.addresses.iter().map(|a| a.address).find(wanted);
        let six = |group: Ipv6Addr| SocketAddr::V6(SocketAddrV6::new(group, SSDP_PORT, 0, interface.id.0));
        let mut add = |group, local: Option<IpAddr>| {
            all.extend(local.map(|local| Endpoint { interface: interface.id, group, local }));
        };
        add((SSDP_V4, SSDP_PORT).into(), first(IpAddr::is_ipv4));
        add(six(SSDP_V6_LINK), first(is_v6_link_local).or_else(|| first(IpAddr::is_ipv6)));
        add(six(SSDP_V6_SITE), first(is_v6_wide));
    }
    all
}

fn is_v6_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(a) if a.is_unicast_link_local())
}

fn is_v6_wide(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(a) if !a.is_unicast_link_local() && !a.is_loopback())
}

/// Whether `from` is a host on a directly connected network of `interface`: not a group, not a broadcast or network
/// address (an answer to those would be multiplied), not port 0.
pub(super) fn is_neighbour_host(interface: &Interface, from: SocketAddr) -> bool {
    let ip = from.ip().to_canonical();
    from.port() != 0
        && !ip.is_multicast()
        && !ip.is_unspecified()
        && interface.addresses.iter().any(|a| a.contains(ip) && !is_subnet_edge(a, ip))
}

/// The all-zeros or all-ones host of an IPv4 network of more than two hosts.
fn is_subnet_edge(network: &InterfaceAddress, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) if network.prefix_len < 31 => {
            let hosts = u32::MAX >> network.prefix_len;
            let host = u32::from(ip) & hosts;
            host == hosts || host == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eth0(addresses: &[(&str, u8)]) -> Interface {
        let addresses = addresses
            .iter()
            .map(|(a, prefix_len)| InterfaceAddress { address: a.parse().unwrap(), prefix_len: *prefix_len })
            .collect();
        Interface { id: InterfaceId(3), name: "eth0".into(), addresses }
    }

    #[test]
    fn each_group_gets_an_address_of_its_own_scope() {
        let all = endpoints(&[eth0(&[("2001:db8::5", 64), ("fe80::5", 64), ("10.88.0.5", 24), ("10.99.0.5", 24)])]);
        let text: Vec<_> = all.iter().map(|e| format!("{} {}", e.group, e.local)).collect();
        assert_eq!(
            text,
            ["239.255.255.250:1900 10.88.0.5", "[ff02::c%3]:1900 fe80::5", "[ff05::c%3]:1900 2001:db8::5"]
        );
    }

    #[test]
    fn broadcast_network_group_and_foreign_addresses_are_no_neighbour_hosts() {
        let eth0 = eth0(&[("10.88.0.5", 24), ("fe80::5", 64)]);
        for good in ["10.88.0.1:1900", "10.88.0.254:50000", "[fe80::9]:4000", "[::ffff:10.88.0.1]:1900"] {
            assert!(is_neighbour_host(&eth0, good.parse().unwrap()), "{good}");
        }
        for bad in [
            "10.88.0.255:1900",
            "10.88.0.0:1900",
            "10.88.1.1:1900",
            "10.88.0.1:0",
            "239.255.255.250:1900",
            "0.0.0.0:1900",
            "[2001:db8::1]:1900",
        ] {
            assert!(!is_neighbour_host(&eth0, bad.parse().unwrap()), "{bad}");
        }
        let point_to_point =
            Interface { addresses: vec![InterfaceAddress { address: [10, 0, 0, 0].into(), prefix_len: 31 }], ..eth0 };
        assert!(is_neighbour_host(&point_to_point, "10.0.0.1:1900".parse().unwrap()));
    }
}
