//! The UDP sockets of one address or one multicast group, each tied to one interface.
//!
//! - *Group* sockets are bound to the group's address and port and are members on their interface only. Every program of the
//!   host has its own (SO_REUSEADDR), and each gets a copy of every datagram.
//! - *Service* sockets are bound to one of our addresses, port 1900: unicast searches come here. Of several programs on a host
//!   the kernel gives these to one only, the latest to start.
//! - *Search* sockets are bound to one of our addresses and a port that is ours alone: what we send starts here, so that
//!   answers, which come to the sender's port, reach us and not another program of this host.
//!
//! An answer to a unicast search leaves from the service socket it came to, because a firewall on the searcher's side lets
//! only that pass; it is told by its destination, which is not port 1900.
//!
//! Nothing is bound to the wildcard address, so nothing is received from an interface that is not used.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use bytes::Bytes;
use nix::libc;
use nix::sys::socket::{self as sys, ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use upnp::net::{Channel, Datagram, InterfaceId, SSDP_PORT};

use crate::limits::DATAGRAM_BYTES_MAX;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Member of this group at this port.
    Group(IpAddr, u16),
    /// Unicast searches to this address of ours.
    Service(IpAddr),
    /// Everything sent from this address of ours, and the answers to it.
    Search(IpAddr),
}

impl Role {
    pub(crate) fn bound_to(self, interface: InterfaceId) -> SocketAddr {
        match self {
            Self::Group(group, port) => scoped(SocketAddr::new(group, port), interface),
            Self::Service(address) => scoped(SocketAddr::new(address, SSDP_PORT), interface),
            Self::Search(address) => scoped(SocketAddr::new(address, 0), interface),
        }
    }
}

/// The address with the interface as its scope id where it needs one (link-local IPv6, unicast or multicast).
pub(crate) fn scoped(address: SocketAddr, interface: InterfaceId) -> SocketAddr {
    match address {
        SocketAddr::V6(a) if a.ip().is_unicast_link_local() || is_link_local_group(a.ip()) => {
            SocketAddrV6::new(*a.ip(), a.port(), 0, interface.0).into()
        }
        _ => address,
    }
}

/// Link-local scope (RFC 4291, 2.7), whatever the flags.
pub(crate) fn is_link_local_group(a: &Ipv6Addr) -> bool {
    a.segments()[0] & 0xff0f == 0xff02
}

/// An open socket and the task that reads it; closed when dropped.
#[derive(Debug)]
pub(crate) struct Endpoint {
    socket: Arc<UdpSocket>,
    role: Role,
    interface: InterfaceId,
    reader: AbortHandle,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Leaves the group now. The socket closes only when its task is dropped, and leaving then would undo the membership
        // of its successor if that is on another link of the same index.
        let (socket, index) = (socket2::SockRef::from(&*self.socket), self.interface.0);
        let _ = match self.role {
            Role::Group(IpAddr::V4(group), _) => {
                socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
            }
            Role::Group(IpAddr::V6(group), _) => socket.leave_multicast_v6(&group, index),
            Role::Service(_) | Role::Search(_) => Ok(()),
        };
        self.reader.abort();
    }
}

impl Endpoint {
    /// Opens the socket of `role` on `interface` and starts to read it into `received`.
    pub(crate) fn open(
        role: Role,
        interface: InterfaceId,
        multicast_ttl: u8,
        received: mpsc::Sender<Datagram>,
    ) -> io::Result<Self> {
        let address = role.bound_to(interface);
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        match address {
            SocketAddr::V4(_) => {
                sys::setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
                // An emulated kernel (qemu-user) does not have it; the interface of every datagram is checked anyway.
                let _ = socket.set_multicast_all_v4(false);
                // Several of our programs run on one host and must hear each other.
                socket.set_multicast_loop_v4(true)?;
                socket.set_multicast_ttl_v4(multicast_ttl.into())?;
            }
            SocketAddr::V6(_) => {
                sys::setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                socket.set_only_v6(true)?;
                // Only since Linux 4.20; the interface of every datagram is checked anyway.
                let _ = socket.set_multicast_all_v6(false);
                socket.set_multicast_loop_v6(true)?;
                socket.set_multicast_hops_v6(multicast_ttl.into())?;
                socket.set_multicast_if_v6(interface.0)?;
            }
        }
        if !matches!(role, Role::Search(_)) {
            socket.set_reuse_address(true)?;
        }
        socket.bind(&address.into())?;
        match role {
            Role::Group(IpAddr::V4(group), _) => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface.0))?;
            }
            Role::Group(IpAddr::V6(group), _) => socket.join_multicast_v6(&group, interface.0)?,
            Role::Service(_) | Role::Search(_) => {}
        }
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        let reader = tokio::spawn(read(Arc::clone(&socket), role, interface, received)).abort_handle();
        Ok(Self { socket, role, interface, reader })
    }

    /// Sends out of this socket's interface, whatever the routing table says. Does not wait: when the socket's buffer is full
    /// the datagram is lost, as it may be on the wire.
    pub(crate) fn send(&self, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let to = scoped(to, self.interface);
        let payload = [io::IoSlice::new(payload)];
        let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let destination = SockaddrStorage::from(to);
        match to {
            SocketAddr::V4(_) => {
                // Without the source here the kernel would choose one, though the socket is bound.
                let source = match self.role.bound_to(self.interface).ip() {
                    IpAddr::V4(own) if !own.is_multicast() => own,
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                let out = libc::in_pktinfo {
                    ipi_ifindex: self.interface.0 as libc::c_int,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                sys::sendmsg(fd, &payload, &[ControlMessage::Ipv4PacketInfo(&out)], flags, Some(&destination))?;
            }
            SocketAddr::V6(a) => {
                // Here an unspecified source leaves the bound one in place.
                let out = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: [0; 16] },
                    ipi6_ifindex: self.interface.0,
                };
                let hops = 1;
                let control = [ControlMessage::Ipv6PacketInfo(&out), ControlMessage::Ipv6HopLimit(&hops)];
                let control = if is_link_local_group(a.ip()) { &control[..] } else { &control[..1] };
                sys::sendmsg(fd, &payload, control, flags, Some(&destination))?;
            }
        }
        Ok(())
    }
}

/// Reads datagrams until the socket is closed. When `received` is full it waits, so that the kernel's buffer fills and then
/// drops: a flood costs the loop no more than its share.
async fn read(socket: Arc<UdpSocket>, role: Role, interface: InterfaceId, received: mpsc::Sender<Datagram>) {
    loop {
        if let Err(e) = socket.readable().await {
            tracing::debug!(%e, ?role, "socket lost");
            return;
        }
        // A place first, then the datagram: what finds no place stays in the kernel's buffer.
        let Ok(place) = received.reserve().await else { return };
        match socket.try_io(Interest::READABLE, || receive(&socket)) {
            Ok(Some(raw)) => {
                if let Some(datagram) = accept(raw, role, interface) {
                    place.send(datagram);
                }
            }
            Ok(None) => tracing::trace!(?role, "datagram too long"),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            // An ICMP error for something sent earlier; the socket goes on.
            Err(e) => tracing::trace!(%e, ?role, "socket error"),
        }
    }
}

/// A datagram with the interface it came in by.
struct Raw {
    came_by: u32,
    from: SocketAddr,
    payload: Bytes,
}

/// Reads one datagram; `None` when it is too long or without its control message.
fn receive(socket: &UdpSocket) -> io::Result<Option<Raw>> {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let Scratch { payload, control } = scratch;
        let mut into = [IoSliceMut::new(payload)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = sys::recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut into, Some(control), flags)?;
        let came_by = message.cmsgs()?.find_map(|c| match c {
            ControlMessageOwned::Ipv4PacketInfo(i) => u32::try_from(i.ipi_ifindex).ok(),
            ControlMessageOwned::Ipv6PacketInfo(i) => Some(i.ipi6_ifindex),
            _ => None,
        });
        let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
        let (from, length) = (message.address.as_ref().and_then(address), message.bytes);
        let (Some(came_by), Some(from), true) = (came_by, from, whole) else { return Ok(None) };
        Ok(Some(Raw { came_by, from, payload: Bytes::copy_from_slice(&payload[..length]) }))
    })
}

fn address(a: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || a.as_sockaddr_in().map(|a| SocketAddr::V4((*a).into()));
    a.as_sockaddr_in6().map(|a| SocketAddr::V6((*a).into())).or_else(v4)
}

/// Read buffers of all sockets of this thread; a datagram is copied out at its true size.
struct Scratch {
    payload: Vec<u8>,
    control: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { payload: vec![0; DATAGRAM_BYTES_MAX], control: nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo) }
    }
}

/// Sorts a datagram to its interface; `None` for one that came in by another interface than its socket is for.
fn accept(raw: Raw, role: Role, interface: InterfaceId) -> Option<Datagram> {
    // What this host sends to itself comes by the loopback interface (always index 1), to an address of ours all the same.
    const LOOPBACK: u32 = 1;
    let ours = raw.came_by == interface.0 || raw.came_by == LOOPBACK;
    let (channel, multicast) = match role {
        Role::Group(_, SSDP_PORT) => (Channel::Ssdp, true),
        Role::Group(..) => (Channel::Events, true),
        Role::Service(_) | Role::Search(_) => (Channel::Ssdp, false),
    };
    ours.then(|| Datagram { interface, channel, multicast, from: raw.from, payload: raw.payload })
}
