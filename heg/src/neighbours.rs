//! The kernel's neighbour table (ARP and NDP) over NETLINK_ROUTE: which network card is behind an address. IO.
//!
//! The kernel answers at once and from memory, so nothing here waits for the network.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use energy_model::MacAddress;
use netlink_packet_core::{
    Emitable, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, Parseable,
};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourHeader, NeighbourMessage};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;

use crate::limits::{NETLINK_BYTES_MAX, NETLINK_DATAGRAMS_MAX};

const HEADER_BYTES: usize = 16;

/// The MAC address behind `address`; `None` where the table has none that is one card's.
///
/// # Errors
/// What the kernel said.
pub fn mac_of(address: IpAddr) -> io::Result<Option<MacAddress>> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(1, 0))?;
    let request = dump_request();
    sendto(socket.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut buffer = vec![0; NETLINK_BYTES_MAX];
    let mut found = None;
    for _ in 0..NETLINK_DATAGRAMS_MAX {
        let n = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if take(&buffer[..n], address, &mut found)? {
            return Ok(found);
        }
    }
    Ok(found)
}

fn dump_request() -> Vec<u8> {
    let body = NeighbourHeader::default();
    let mut header = NetlinkHeader::default();
    header.length = (HEADER_BYTES + body.buffer_len()) as u32;
    header.message_type = libc::RTM_GETNEIGH;
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut bytes = vec![0; header.length as usize];
    header.emit(&mut bytes);
    body.emit(&mut bytes[HEADER_BYTES..]);
    bytes
}

/// Takes the messages of one datagram; `true` at the end of the dump.
fn take(mut bytes: &[u8], address: IpAddr, found: &mut Option<MacAddress>) -> io::Result<bool> {
    while bytes.len() >= HEADER_BYTES {
        let message = NetlinkBuffer::new_checked(bytes).map_err(io::Error::other)?;
        match message.message_type() {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return Err(io::Error::other("the kernel refused to list neighbours")),
            libc::RTM_NEWNEIGH => *found = found.or_else(|| mac_in(message.payload(), address)),
            _ => {}
        }
        // Messages are aligned to four bytes (netlink(7)).
        let next = (message.length() as usize).next_multiple_of(4).min(bytes.len());
        bytes = &bytes[next.max(HEADER_BYTES)..];
    }
    Ok(false)
}

fn mac_in(payload: &[u8], address: IpAddr) -> Option<MacAddress> {
    let neighbour = NeighbourMessage::parse(payload).ok()?;
    let is_it = neighbour.attributes.iter().any(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => IpAddr::V4(*ip) == address,
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => IpAddr::V6(*ip) == address,
        _ => false,
    });
    let card = |a: &NeighbourAttribute| match a {
        NeighbourAttribute::LinkLayerAddress(bytes) => {
            <[u8; 6]>::try_from(bytes.as_slice()).ok().and_then(|octets| MacAddress::new(octets).ok())
        }
        _ => None,
    };
    if is_it { neighbour.attributes.iter().find_map(card) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_nobody_has_is_behind_no_card() {
        assert_eq!(mac_of("192.0.2.77".parse().unwrap()).unwrap(), None);
        assert_eq!(mac_of("2001:db8::77".parse().unwrap()).unwrap(), None);
    }

    #[test]
    fn a_neighbour_message_gives_the_card_of_its_address_only() {
        let mut message = NeighbourMessage::default();
        message.header.family = netlink_packet_route::AddressFamily::Inet;
        message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet([10, 0, 0, 1].into())));
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]));
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        assert_eq!(mac_in(&bytes, [10, 0, 0, 1].into()), "02:00:00:00:00:01".parse().ok());
        assert_eq!(mac_in(&bytes, [10, 0, 0, 2].into()), None);
        assert_eq!(mac_in(&bytes[..7], [10, 0, 0, 1].into()), None);
    }
}
