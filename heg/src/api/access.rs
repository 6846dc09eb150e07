//! Who may do what, whatever way they come: the one check, before anything asked for is looked at.
//!
//! | who | reads | changes | metrics |
//! |---|---|---|---|
//! | whoever opens the control socket (owner and group, mode 0660) | yes | yes, under their user id | yes |
//! | somebody on the LAN, at the gateway's own HTTP server | no | no | where the configuration says so |
//!
//! A change carries its [`Caller`] on into rules and journal. What appliances ask by UPnP is not this module's: an appliance is known by
//! address and network card ([`gateway`](crate::gateway)).
//!
//! Who is not of the home gets no answer from that server at all, whatever the firewall does ([`is_near`]).
#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};

use upnp::net::Interface;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A person or program at the control socket, by user id (SO_PEERCRED).
    Socket(u32),
    /// Somebody on the LAN, of whom nothing is known.
    Lan,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// To see something of the home.
    Read,
    /// To change something, or to have an appliance do something.
    Change,
    /// To see the numbers for a monitoring program.
    Metrics,
}

/// Whether `caller` may. `metrics_on_lan` is what the configuration says of that.
pub fn may(caller: Caller, act: Act, metrics_on_lan: bool) -> bool {
    match (caller, act) {
        (Caller::Socket(_), Act::Read | Act::Change | Act::Metrics) => true,
        (Caller::Lan, Act::Metrics) => metrics_on_lan,
        (Caller::Lan, Act::Read | Act::Change) => false,
    }
}

/// Whether `peer` is of the home: by a private or link-local address, or by a network of the interface that has `local`, where it came in.
/// A network of all addresses (a line that is dialled) makes nobody near.
pub fn is_near(peer: SocketAddr, local: SocketAddr, interfaces: &[Interface]) -> bool {
    let (peer, local) = (peer.ip().to_canonical(), local.ip().to_canonical());
    let private = match peer {
        IpAddr::V4(a) => a.is_private() || a.is_link_local() || a.is_loopback(),
        IpAddr::V6(a) => a.is_unique_local() || a.is_unicast_link_local() || a.is_loopback(),
    };
    let came_in_by = interfaces.iter().filter(|i| i.addresses.iter().any(|a| a.address == local));
    private || came_in_by.flat_map(|i| &i.addresses).any(|a| a.prefix_len > 0 && a.contains(peer))
}

#[cfg(test)]
mod tests {
    use upnp::net::{InterfaceAddress, InterfaceId};

    use super::*;

    #[test]
    fn a_peer_from_the_internet_is_not_near_and_one_in_a_network_of_the_interface_is() {
        let interface = |id, addresses: &[(&str, u8)]| Interface {
            id: InterfaceId(id),
            name: format!("eth{id}"),
            addresses: addresses
                .iter()
                .map(|(a, prefix_len)| InterfaceAddress { address: a.parse().unwrap(), prefix_len: *prefix_len })
                .collect(),
        };
        let interfaces = [
            interface(1, &[("192.168.1.1", 24), ("2001:db8:1::1", 64)]),
            interface(2, &[("203.0.113.5", 28), ("2001:db8:2::1", 64)]),
            interface(3, &[("198.51.100.1", 0)]),
        ];
        let near = |peer: &str, local: &str| {
            is_near(
                SocketAddr::new(peer.parse().unwrap(), 40_000),
                SocketAddr::new(local.parse().unwrap(), 80),
                &interfaces,
            )
        };
        for (peer, local) in [
            ("192.168.1.7", "192.168.1.1"),
            ("10.9.0.3", "192.168.1.1"),
            ("169.254.3.4", "192.168.1.1"),
            ("::ffff:192.168.1.7", "::ffff:192.168.1.1"),
            ("fe80::7", "fe80::1"),
            ("fd00::7", "2001:db8:1::1"),
            ("2001:db8:1::9", "2001:db8:1::1"),
            ("203.0.113.6", "203.0.113.5"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert!(near(peer, local), "{peer} at {local}");
        }
        for (peer, local) in [
            ("8.8.8.8", "203.0.113.5"),
            ("::ffff:8.8.8.8", "::ffff:203.0.113.5"),
            ("203.0.113.20", "203.0.113.5"),
            ("2001:db8:9::1", "2001:db8:2::1"),
            ("2001:db8:9::1", "2001:db8:1::1"),
            ("203.0.113.6", "192.168.1.1"),
            ("8.8.8.8", "198.51.100.1"),
        ] {
            assert!(!near(peer, local), "{peer} at {local}");
        }
    }

    #[test]
    fn the_lan_sees_no_more_than_the_configuration_says_and_changes_nothing() {
        for act in [Act::Read, Act::Change, Act::Metrics] {
            assert!(may(Caller::Socket(1000), act, false));
            assert!(!may(Caller::Lan, act, false));
            assert_eq!(may(Caller::Lan, act, true), act == Act::Metrics);
        }
    }
}
