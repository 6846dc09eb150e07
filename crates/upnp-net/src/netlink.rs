//! The kernel's link, address and route tables over a NETLINK_ROUTE socket (rtnetlink(7)).
//!
//! Notifications only say *that* something changed; the tables are then read whole. So a lost or misread notification costs
//! nothing (the kernel says when it dropped some, which counts as a change), and one path serves start and every change.
//! Attributes that are not needed are not decoded: a newer kernel's link attribute must not hide the link.

#![expect(unsafe_code, reason = "AsyncFd's constructors are unsafe: they trust that the descriptor stays open")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{Emitable, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NlasIterator, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressHeader;
use netlink_packet_route::link::LinkHeader;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use nix::libc;
use nix::sys::socket as sys;
use nix::sys::socket::{AddressFamily as Family, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::limits::{DUMP_TRIES_MAX, NETLINK_BYTES_MAX, PACKET_FILTER_DATAGRAM_BYTES_MAX};

/// One network link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// IFF_* bits of netdevice(7).
    pub(crate) flags: u32,
}

/// One address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkAddress {
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix_len: u8,
    /// IFA_F_* bits of rtnetlink(7).
    pub(crate) flags: u32,
}

/// Reads all links and their addresses, each in the kernel's order.
pub(crate) fn tables() -> io::Result<(Vec<Link>, Vec<LinkAddress>)> {
    let mut interrupted = None;
    for _ in 0..DUMP_TRIES_MAX {
        match try_tables() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => interrupted = Some(e),
            done => return done,
        }
    }
    Err(interrupted.unwrap_or_else(|| io::ErrorKind::Interrupted.into()))
}

fn try_tables() -> io::Result<(Vec<Link>, Vec<LinkAddress>)> {
    let socket = open(0)?;
    let mut links = Vec::new();
    request(&socket, libc::RTM_GETLINK, NLM_F_DUMP, &LinkHeader::default(), |kind, payload| {
        if kind == libc::RTM_NEWLINK {
            links.extend(link(payload));
        }
    })?;
    let mut addresses = Vec::new();
    request(&socket, libc::RTM_GETADDR, NLM_F_DUMP, &AddressHeader::default(), |kind, payload| {
        if kind == libc::RTM_NEWADDR {
            addresses.extend(address(payload));
        }
    })?;
    Ok((links, addresses))
}

/// The source address and the outgoing link of the kernel's route to `to`.
pub(crate) fn route(to: IpAddr) -> io::Result<(IpAddr, u32)> {
    let socket = open(0)?;
    let mut message = RouteMessage::default();
    let (family, bits, to) = match to {
        IpAddr::V4(a) => (AddressFamily::Inet, 32, RouteAddress::Inet(a)),
        IpAddr::V6(a) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(a)),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = bits;
    message.attributes.push(RouteAttribute::Destination(to));
    let mut found = None;
    request(&socket, libc::RTM_GETROUTE, 0, &message, |kind, payload| {
        if kind == libc::RTM_NEWROUTE {
            found = RouteMessage::parse(payload).ok();
        }
    })?;
    let (mut source, mut link) = (None, None);
    for attribute in found.into_iter().flat_map(|m| m.attributes) {
        match attribute {
            RouteAttribute::PrefSource(RouteAddress::Inet(a)) => source = Some(IpAddr::V4(a)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(a)) => source = Some(IpAddr::V6(a)),
            RouteAttribute::Oif(index) => link = Some(index),
            _ => {}
        }
    }
    source.zip(link).ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
}

/// The kernel's announcements of link and address changes.
#[derive(Debug)]
pub(crate) struct Notifications(AsyncFd<OwnedFd>);

/// What a batch of notifications said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noticed {
    /// Links that were removed; one that is back under the same index is another one.
    pub(crate) removed: Vec<u32>,
}

impl Notifications {
    /// Starts to listen; changes from here on are noticed.
    pub(crate) fn open() -> io::Result<Self> {
        Self::of(libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR)
    }

    /// As [`Self::open`], and of routes too.
    pub(crate) fn of_routes_too() -> io::Result<Self> {
        let addresses = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        Self::of(addresses | libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_ROUTE)
    }

    /// Changes of nftables' tables (nfnetlink group NFNLGRP_NFTABLES); needs CAP_NET_ADMIN.
    pub(crate) fn of_packet_filter() -> io::Result<Self> {
        Self::on(open_of(SockProtocol::NetlinkNetFilter, 1 << (libc::NFNLGRP_NFTABLES - 1))?)
    }

    fn of(groups: libc::c_int) -> io::Result<Self> {
        Self::on(open(groups as u32)?)
    }

    fn on(socket: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is open until it is dropped, always names the same descriptor, and nothing takes it out of the
        // `AsyncFd` that owns it.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self(socket))
    }

    /// Waits for changes and takes up to a bounded number. Cancel safe.
    pub(crate) async fn noticed(&mut self) -> io::Result<Noticed> {
        const MESSAGES_PER_TURN_MAX: usize = 64;
        let mut guard = self.0.readable().await?;
        let mut noticed = Noticed::default();
        for _ in 0..MESSAGES_PER_TURN_MAX {
            // The headers of netlink and of a link are enough; the kernel cuts off the rest.
            let mut headers = [0; 32];
            match guard.try_io(|fd| Ok(sys::recv(fd.as_raw_fd(), &mut headers, MsgFlags::MSG_DONTWAIT)?)) {
                Ok(Ok(n)) if n < headers.len() => {}
                Ok(Ok(_)) => {
                    let kind = NetlinkBuffer::new(&headers).message_type();
                    if kind == libc::RTM_DELLINK
                        && let Ok(link) = LinkHeader::parse(&headers[16..])
                    {
                        noticed.removed.push(link.index);
                    }
                }
                // The kernel dropped some: something changed, and the tables say what.
                Ok(Err(e)) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
                Ok(Err(e)) => return Err(e),
                Err(_would_block) => break,
            }
        }
        Ok(noticed)
    }

    /// Waits until a table of nftables is deleted. Cancel safe.
    pub(crate) async fn table_deleted(&mut self) -> io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            let mut datagram = [0; PACKET_FILTER_DATAGRAM_BYTES_MAX];
            match guard.try_io(|fd| Ok(sys::recv(fd.as_raw_fd(), &mut datagram, MsgFlags::MSG_DONTWAIT)?)) {
                Ok(Ok(n)) if n == datagram.len() || tells_of_deleted_table(&datagram[..n]) => return Ok(()),
                // The kernel cut or dropped some, and what they said is not known.
                Ok(Err(e)) if e.raw_os_error() == Some(libc::ENOBUFS) => return Ok(()),
                Ok(Err(e)) => return Err(e),
                Ok(Ok(_)) | Err(_) => {}
            }
        }
    }
}

/// Whether one of the messages in a datagram of nftables' changes says so: a transaction comes in as few datagrams as hold it.
pub(crate) fn tells_of_deleted_table(mut datagram: &[u8]) -> bool {
    // `delete table` and, of newer kernels, `destroy table` (linux/netfilter/nf_tables.h).
    const DESTROY_TABLE: libc::c_int = 26;
    const DELETED: [libc::c_int; 2] = [libc::NFT_MSG_DELTABLE, DESTROY_TABLE];
    while let Some(header) = datagram.first_chunk::<16>() {
        let message = NetlinkBuffer::new(header);
        let kind = i32::from(message.message_type());
        if DELETED.iter().any(|deleted| libc::NFNL_SUBSYS_NFTABLES << 8 | deleted == kind) {
            return true;
        }
        let length = (message.length() as usize).max(header.len()).next_multiple_of(4);
        datagram = datagram.get(length..).unwrap_or_default();
    }
    false
}

pub(crate) fn open(groups: u32) -> io::Result<OwnedFd> {
    open_of(SockProtocol::NetlinkRoute, groups)
}

fn open_of(protocol: SockProtocol, groups: u32) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = sys::socket(Family::Netlink, SockType::Raw, flags, protocol)?;
    sys::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

/// Sends one request and hands each message of the answer to `each`. The kernel answers within the call: nothing waits.
pub(crate) fn request(
    socket: &OwnedFd,
    message_type: u16,
    flags: u16,
    body: &impl Emitable,
    mut each: impl FnMut(u16, &[u8]),
) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.length = (header.buffer_len() + body.buffer_len()) as u32;
    header.message_type = message_type;
    header.flags = NLM_F_REQUEST | flags;
    let mut buffer = vec![0; NETLINK_BYTES_MAX];
    header.emit(&mut buffer);
    body.emit(&mut buffer[header.buffer_len()..]);
    sys::send(socket.as_raw_fd(), &buffer[..header.length as usize], MsgFlags::empty())?;
    loop {
        let n = sys::recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC)?;
        let received = buffer.get(..n).ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut end = flags & NLM_F_DUMP == 0;
        let mut failure = None;
        each_message(received, |message| {
            if message.flags() & NLM_F_DUMP_INTR != 0 {
                failure = Some(io::ErrorKind::Interrupted.into());
            }
            match message.message_type() {
                NLMSG_DONE => end = true,
                NLMSG_ERROR => failure = error(message.payload()),
                kind => each(kind, message.payload()),
            }
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        if end {
            return Ok(());
        }
    }
}

/// The error code of an NLMSG_ERROR message (netlink(7)); `None` for an acknowledgement.
fn error(payload: &[u8]) -> Option<io::Error> {
    let code = payload.first_chunk().map_or(-libc::EPROTO, |b| i32::from_ne_bytes(*b));
    (code != 0).then(|| io::Error::from_raw_os_error(-code))
}

fn each_message(mut bytes: &[u8], mut each: impl FnMut(NetlinkBuffer<&[u8]>)) {
    while let Ok(message) = NetlinkBuffer::new_checked(bytes) {
        let length = (message.length() as usize).next_multiple_of(4);
        each(message);
        bytes = bytes.get(length..).unwrap_or_default();
    }
}

fn link(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    let attributes = payload.get(header.buffer_len()..)?;
    let name = NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|a| a.kind() == libc::IFLA_IFNAME)
        .and_then(|a| String::from_utf8(a.value().strip_suffix(&[0]).unwrap_or(a.value()).to_vec()).ok())?;
    Some(Link { index: header.index, name, flags: header.flags.bits() })
}

fn address(payload: &[u8]) -> Option<LinkAddress> {
    let header = AddressHeader::parse(payload).ok()?;
    let attributes = payload.get(header.buffer_len()..)?;
    let ip = |value: &[u8]| match header.family {
        AddressFamily::Inet => value.first_chunk().map(|b| IpAddr::V4(Ipv4Addr::from(*b))),
        AddressFamily::Inet6 => value.first_chunk().map(|b| IpAddr::V6(Ipv6Addr::from(*b))),
        _ => None,
    };
    let (mut flags, mut own, mut peer) = (u32::from(header.flags.bits()), None, None);
    for attribute in NlasIterator::new(attributes).map_while(Result::ok) {
        match attribute.kind() {
            // On a point-to-point link IFA_ADDRESS is the other end.
            libc::IFA_LOCAL => own = ip(attribute.value()),
            libc::IFA_ADDRESS => peer = ip(attribute.value()),
            libc::IFA_FLAGS => flags = attribute.value().first_chunk().map_or(flags, |b| u32::from_ne_bytes(*b)),
            _ => {}
        }
    }
    Some(LinkAddress { index: header.index, address: own.or(peer)?, prefix_len: header.prefix_len, flags })
}
