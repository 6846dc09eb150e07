//! What a firewall has to know of the network: every link with its kind, master, addresses and routes, and when they change.
//!
//! Unlike [`crate::Net`], which speaks only of what it uses, this tells of everything the kernel has, used or not.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{Emitable, NLM_F_DUMP, NlasIterator};
use netlink_packet_route::link::LinkHeader;
use netlink_packet_route::route::RouteMessage;
use nix::libc;
use upnp::net::InterfaceAddress;

use crate::limits::DUMP_TRIES_MAX;
use crate::netlink::{self, Notifications};

/// Bytes of a route message before its attributes (`struct rtmsg`, rtnetlink(7)).
const ROUTE_HEADER_BYTES: usize = 12;

/// One network link as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkLink {
    /// Kernel name, for example `eth0`.
    pub name: String,
    /// Switched on (IFF_UP); the cable may be out.
    pub up: bool,
    /// The loopback interface.
    pub loopback: bool,
    /// Has one other end (`ppp0`, `tun0`).
    pub point_to_point: bool,
    /// The driver's name of a link made by software: `bridge`, `veth`, `wireguard`, `vlan`; none for a card.
    pub kind: Option<String>,
    /// The bridge or bond it is a port of.
    pub master: Option<String>,
    /// Its addresses, those not yet usable included.
    pub addresses: Vec<InterfaceAddress>,
    /// Networks reached without a router, with their prefix lengths in bits; no multicast, no whole Internet.
    pub on_link: Vec<(IpAddr, u8)>,
    /// A route to everywhere leads out of it, in whatever table: tunnels to a provider have one of their own.
    pub default_route: bool,
}

/// All links, by name.
///
/// # Errors
/// The kernel's word. It answers at once: nothing waits.
pub fn network_links() -> io::Result<Vec<NetworkLink>> {
    let mut interrupted = None;
    for _ in 0..DUMP_TRIES_MAX {
        match try_links() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => interrupted = Some(e),
            done => return done,
        }
    }
    Err(interrupted.unwrap_or_else(|| io::ErrorKind::Interrupted.into()))
}

fn try_links() -> io::Result<Vec<NetworkLink>> {
    let socket = netlink::open(0)?;
    let mut links: BTreeMap<u32, (NetworkLink, Option<u32>)> = BTreeMap::new();
    netlink::request(&socket, libc::RTM_GETLINK, NLM_F_DUMP, &LinkHeader::default(), |kind, payload| {
        if kind == libc::RTM_NEWLINK
            && let Some((index, link, master)) = link(payload)
        {
            links.insert(index, (link, master));
        }
    })?;
    let (_, addresses) = netlink::tables()?;
    for a in addresses {
        if let Some((link, _)) = links.get_mut(&a.index) {
            link.addresses.push(InterfaceAddress { address: a.address, prefix_len: a.prefix_len });
        }
    }
    netlink::request(&socket, libc::RTM_GETROUTE, NLM_F_DUMP, &RouteMessage::default(), |kind, payload| {
        if kind == libc::RTM_NEWROUTE
            && let Some(route) = route(payload)
        {
            for index in route.links {
                let Some((link, _)) = links.get_mut(&index) else { continue };
                match route.to {
                    None => link.default_route = true,
                    Some(network) if route.direct && !network.0.is_multicast() && !link.on_link.contains(&network) => {
                        link.on_link.push(network);
                    }
                    Some(_) => {}
                }
            }
        }
    })?;
    let names: BTreeMap<u32, String> = links.iter().map(|(index, (link, _))| (*index, link.name.clone())).collect();
    let mut all: Vec<NetworkLink> = links
        .into_values()
        .map(|(link, master)| NetworkLink { master: master.and_then(|m| names.get(&m).cloned()), ..link })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn link(payload: &[u8]) -> Option<(u32, NetworkLink, Option<u32>)> {
    let header = LinkHeader::parse(payload).ok()?;
    let is = |flag: libc::c_int| header.flags.bits() & flag as u32 != 0;
    let (mut name, mut kind, mut master) = (None, None, None);
    for attribute in NlasIterator::new(payload.get(header.buffer_len()..)?).map_while(Result::ok) {
        match attribute.kind() {
            libc::IFLA_IFNAME => name = text(attribute.value()),
            libc::IFLA_MASTER => master = attribute.value().first_chunk().map(|b| u32::from_ne_bytes(*b)),
            libc::IFLA_LINKINFO => {
                kind = NlasIterator::new(attribute.value())
                    .map_while(Result::ok)
                    .find(|a| a.kind() == libc::IFLA_INFO_KIND)
                    .and_then(|a| text(a.value()));
            }
            _ => {}
        }
    }
    let link = NetworkLink {
        name: name?,
        up: is(libc::IFF_UP),
        loopback: is(libc::IFF_LOOPBACK),
        point_to_point: is(libc::IFF_POINTOPOINT),
        kind,
        ..NetworkLink::default()
    };
    Some((header.index, link, master))
}

fn text(value: &[u8]) -> Option<String> {
    String::from_utf8(value.strip_suffix(&[0]).unwrap_or(value).to_vec()).ok()
}

struct Route {
    /// None for a route to everywhere, or to so much that it comes to the same.
    to: Option<(IpAddr, u8)>,
    links: Vec<u32>,
    /// No router in between.
    direct: bool,
}

/// A unicast route of the main table, or one to everywhere of any table.
fn route(payload: &[u8]) -> Option<Route> {
    let [family, bits, _, _, table, _, _, kind, ..] = *payload.first_chunk::<ROUTE_HEADER_BYTES>()?;
    if kind != libc::RTN_UNICAST {
        return None;
    }
    let (mut table, mut to, mut links, mut direct) = (u32::from(table), None, Vec::new(), true);
    let number = |value: &[u8]| value.first_chunk().map(|b| u32::from_ne_bytes(*b));
    for attribute in NlasIterator::new(&payload[ROUTE_HEADER_BYTES..]).map_while(Result::ok) {
        let value = attribute.value();
        match attribute.kind() {
            libc::RTA_TABLE => table = number(value).unwrap_or(table),
            libc::RTA_OIF => links.extend(number(value)),
            libc::RTA_GATEWAY | libc::RTA_VIA => direct = false,
            libc::RTA_DST if i32::from(family) == libc::AF_INET => {
                to = value.first_chunk().map(|b| IpAddr::V4(Ipv4Addr::from(*b)));
            }
            libc::RTA_DST => to = value.first_chunk().map(|b| IpAddr::V6(Ipv6Addr::from(*b))),
            // Several ways: each is a `struct rtnexthop` of 8 bytes with its length first and its link last, then attributes.
            libc::RTA_MULTIPATH => {
                direct = false;
                let mut rest = value;
                while let Some(hop) = rest.first_chunk::<8>() {
                    links.push(u32::from_ne_bytes([hop[4], hop[5], hop[6], hop[7]]));
                    let length = usize::from(u16::from_ne_bytes([hop[0], hop[1]])).next_multiple_of(4);
                    rest = rest.get(length.max(8)..).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    // Tunnels take the Internet over in halves, 0.0.0.0/1 and 128.0.0.0/1 or ::/1 and 8000::/1; 2000::/3 is all of IPv6 in use.
    let whole = if i32::from(family) == libc::AF_INET { 1 } else { 3 };
    let to = match (to, bits) {
        (_, bits) if bits <= whole => None,
        (Some(to), bits) => Some((to, bits)),
        (None, _) => return None,
    };
    let local = table == u32::from(libc::RT_TABLE_LOCAL);
    (table == u32::from(libc::RT_TABLE_MAIN) || (to.is_none() && !local)).then_some(Route { to, links, direct })
}

/// Says that links, addresses or routes have changed.
#[derive(Debug)]
pub struct NetworkWatch(Notifications);

impl NetworkWatch {
    /// Starts to watch; read [`network_links`] after it, so that no change falls between. In a tokio runtime.
    ///
    /// # Errors
    /// The kernel's word.
    pub fn open() -> io::Result<Self> {
        Notifications::of_routes_too().map(Self)
    }

    /// Waits for the next change. Changes come in bursts: let them settle before reading. Cancel safe.
    ///
    /// # Errors
    /// The socket is lost; open another one.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.0.noticed().await.map(drop)
    }
}

/// Says that somebody has deleted a table of the kernel's packet filter.
#[derive(Debug)]
pub struct TablesWatch(Notifications);

impl TablesWatch {
    /// Starts to watch. Needs CAP_NET_ADMIN; in a tokio runtime.
    ///
    /// # Errors
    /// The kernel's word; it may have no nftables.
    pub fn open() -> io::Result<Self> {
        Notifications::of_packet_filter().map(Self)
    }

    /// Waits until a table is deleted, whoever did it and whatever is in its place. Cancel safe.
    ///
    /// # Errors
    /// The socket is lost; open another one.
    pub async fn deleted(&mut self) -> io::Result<()> {
        self.0.table_deleted().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_loopback_is_there_with_its_address_and_no_default_route() {
        let links = network_links().unwrap();
        let lo = links.iter().find(|l| l.loopback).unwrap();
        assert_eq!((lo.name.as_str(), lo.default_route, &lo.kind), ("lo", false, &None));
        assert!(!lo.up || lo.addresses.iter().any(|a| a.address.is_loopback()), "{lo:?}");
    }

    #[test]
    fn a_deleted_table_is_seen_among_the_messages_of_a_transaction() {
        let message = |kind: u16, body: usize| {
            let mut bytes = (16 + body as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.resize((16 + body).next_multiple_of(4), 0);
            bytes
        };
        let (new_rule, deleted) = (0x0a06, 0x0a02);
        let told = |messages: &[Vec<u8>]| netlink::tells_of_deleted_table(&messages.concat());
        assert!(told(&[message(new_rule, 33), message(deleted, 24), message(new_rule, 4)]));
        assert!(!told(&[message(new_rule, 33), message(new_rule, 0)]) && !told(&[]));
        assert!(!told(&[vec![0; 40]]) && !told(&[vec![0xff; 40]]), "nonsense ends");
    }

    #[test]
    fn routes_are_read_with_their_network_way_and_links() {
        let route_of = |family: u8, bits: u8, attributes: &[(u16, &[u8])]| {
            let mut bytes = vec![family, bits, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
            for (kind, value) in attributes {
                bytes.extend((value.len() as u16 + 4).to_ne_bytes());
                bytes.extend(kind.to_ne_bytes());
                bytes.extend(*value);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            route(&bytes)
        };
        let (dst, oif, gateway) = (libc::RTA_DST, libc::RTA_OIF, libc::RTA_GATEWAY);
        let lan = route_of(2, 24, &[(dst, &[10, 0, 0, 0]), (oif, &3u32.to_ne_bytes())]).unwrap();
        assert_eq!((lan.to, lan.links, lan.direct), (Some(([10, 0, 0, 0].into(), 24)), vec![3], true));
        let all = route_of(2, 0, &[(gateway, &[10, 0, 0, 1]), (oif, &3u32.to_ne_bytes())]).unwrap();
        assert_eq!((all.to, all.direct), (None, false));
        let mut hops = Vec::new();
        for link in [4u32, 5] {
            hops.extend(16u16.to_ne_bytes());
            hops.extend([0, 0]);
            hops.extend(link.to_ne_bytes());
            hops.extend([8, 0, 5, 0, 10, 0, 0, 1]);
        }
        assert_eq!(route_of(10, 0, &[(libc::RTA_MULTIPATH, &hops)]).unwrap().links, [4, 5]);
        assert!(route_of(2, 24, &[(libc::RTA_TABLE, &255u32.to_ne_bytes()), (dst, &[10, 0, 0, 0])]).is_none());
        // A tunnel's own table, and the Internet in halves.
        let table = 51820u32.to_ne_bytes();
        assert_eq!(route_of(2, 0, &[(libc::RTA_TABLE, &table), (oif, &3u32.to_ne_bytes())]).unwrap().to, None);
        assert_eq!(route_of(2, 1, &[(dst, &[128, 0, 0, 0]), (oif, &3u32.to_ne_bytes())]).unwrap().to, None);
        assert!(route_of(2, 24, &[(libc::RTA_TABLE, &table), (dst, &[10, 0, 0, 0])]).is_none());
        assert!(route(&[2, 24]).is_none());
    }
}
