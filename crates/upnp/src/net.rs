//! Values that pass between the state machines and a driver: interfaces, datagrams, HTTP requests.

use core::time::Duration;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

/// SSDP multicast group, IPv4 (UDA 1.1, 1.2).
pub const SSDP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// SSDP multicast group, IPv6 link-local scope (UDA 1.1, annex A).
pub const SSDP_V6_LINK: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc);
/// SSDP multicast group, IPv6 site-local scope (UDA 1.1, annex A).
pub const SSDP_V6_SITE: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xc);
/// SSDP port.
pub const SSDP_PORT: u16 = 1900;
/// Multicast eventing group, IPv4 (UDA 1.1, 4.3).
pub const EVENT_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 246);
/// Multicast eventing group, IPv6 link-local scope (UDA 1.1, annex A).
pub const EVENT_V6_LINK: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x130);
/// Multicast eventing port.
pub const EVENT_PORT: u16 = 7900;

/// Kernel interface index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub u32);

/// An IP address and the length of its network prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress {
    /// The host's own address.
    pub address: IpAddr,
    /// Prefix length in bits, 0 to 32 or 128.
    pub prefix_len: u8,
}

impl InterfaceAddress {
    /// Whether `peer` is on the directly connected network of this address.
    pub fn contains(&self, peer: IpAddr) -> bool {
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                prefix_equal(u32::from(a).into(), u32::from(b).into(), 32, self.prefix_len)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => prefix_equal(a.into(), b.into(), 128, self.prefix_len),
            _ => false,
        }
    }
}

fn prefix_equal(a: u128, b: u128, width: u32, len: u8) -> bool {
    let low = width.saturating_sub(len.into());
    low >= 128 || (a ^ b) >> low == 0
}

/// A usable network interface: up, with carrier, multicast-capable, with at least one usable address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Kernel index.
    pub id: InterfaceId,
    /// Kernel name, for example `eth0`.
    pub name: String,
    /// Addresses in the kernel's order, tentative ones left out.
    pub addresses: Vec<InterfaceAddress>,
}

impl Interface {
    /// Whether `peer` is on one of this interface's directly connected networks.
    pub fn is_neighbour(&self, peer: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.contains(peer))
    }

    /// The own address a neighbour `peer` should be told: the one whose network holds it, else the first of its family.
    pub fn address_toward(&self, peer: IpAddr) -> Option<IpAddr> {
        let family = |a: &&InterfaceAddress| a.address.is_ipv4() == peer.is_ipv4();
        self.addresses
            .iter()
            .find(|a| a.contains(peer))
            .or_else(|| self.addresses.iter().find(family))
            .map(|a| a.address)
    }
}

/// Which of the two multicast services of UPnP a datagram belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Port 1900, and unicast answers to our searches.
    Ssdp,
    /// Port 7900, multicast events.
    Events,
}

/// A received datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Where it was received (from IP_PKTINFO).
    pub interface: InterfaceId,
    /// Service it was received for.
    pub channel: Channel,
    /// Destination address was the multicast group.
    pub multicast: bool,
    /// Sender.
    pub from: SocketAddr,
    /// Contents.
    pub payload: Bytes,
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Interface to send from.
    pub interface: InterfaceId,
    /// Service: decides the socket, so that an answer to a search comes back to the searcher's port.
    pub channel: Channel,
    /// Receiver.
    pub to: SocketAddr,
    /// Contents.
    pub payload: Bytes,
}

/// Who asked for an HTTP request, so that the answer finds its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The device side (NOTIFY).
    Device,
    /// The control point side (GET, POST, SUBSCRIBE, UNSUBSCRIBE).
    ControlPoint,
}

/// Names one outgoing HTTP request; unique while it is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// Who asked.
    pub owner: Owner,
    /// Counted by the owner.
    pub number: u64,
}

/// An HTTP request to send. The driver adds nothing to it but framing (Content-Length, Connection).
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// Comes back with the answer.
    pub id: RequestId,
    /// Where to connect; scope id set for link-local addresses.
    pub to: SocketAddr,
    /// Request line (path only), headers with Host, and body.
    pub request: http::Request<Bytes>,
    /// Everything from connecting to the last byte of the answer must happen within this.
    pub within: Duration,
    /// Largest body taken in the answer, bytes.
    pub response_body_bytes_max: usize,
}

/// The answer to an [`HttpRequest`].
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// The request's id.
    pub id: RequestId,
    /// What came of it; a status of any kind is `Ok`.
    pub result: Result<http::Response<Bytes>, HttpError>,
}

/// Why there is no HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection: refused, no route, reset before the request was out.
    #[error("no connection: {0}")]
    Connect(String),
    /// The deadline passed.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke after the request was sent, or the answer is not HTTP.
    #[error("broken answer: {0}")]
    Broken(String),
    /// The answer's head or body is larger than allowed.
    #[error("answer too large")]
    TooLarge,
    /// Too many requests are in flight already.
    #[error("too many requests in flight")]
    Busy,
}

/// An order to the driver.
#[expect(clippy::large_enum_variant, reason = "an order is moved once or twice; boxing would allocate for each NOTIFY")]
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send a datagram; a failure is logged by the driver and otherwise ignored (SSDP repeats).
    Send(Transmit),
    /// Send an HTTP request; exactly one [`HttpAnswer`] with its id comes back.
    Request(HttpRequest),
    /// Keep a connection open to each of these peers and to no other, so that the next request to one of them needs no
    /// handshake: the whole set, told when it changes, at most [`SUBSCRIPTIONS_MAX`](crate::limits::SUBSCRIPTIONS_MAX) of
    /// them. A wish, not a promise: nothing comes back, and a request is sent either way.
    KeepConnected(BTreeSet<SocketAddr>),
}

/// A received HTTP request with where it came from.
#[derive(Clone, Debug)]
pub struct IncomingRequest {
    /// The peer's address.
    pub peer: SocketAddr,
    /// Our address the peer connected to.
    pub local: SocketAddr,
    /// Method, target, headers and the whole body (already bounded by the driver).
    pub request: http::Request<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_whoever_shares_the_prefix() {
        let a = InterfaceAddress { address: [10, 88, 0, 1].into(), prefix_len: 24 };
        assert!(a.contains([10, 88, 0, 254].into()) && !a.contains([10, 88, 1, 1].into()));
        let all = InterfaceAddress { address: [0, 0, 0, 0].into(), prefix_len: 0 };
        assert!(all.contains([192, 0, 2, 1].into()));
        let six = InterfaceAddress { address: "fe80::1".parse().unwrap(), prefix_len: 64 };
        assert!(six.contains("fe80::2".parse().unwrap()) && !six.contains("fe81::2".parse().unwrap()));
    }
}
