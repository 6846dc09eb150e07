//! Magic packets (AMD's Magic Packet, 1995), by every way that may reach a sleeper. IO.
//!
//! As UDP to the broadcast address of the appliance's network and to 255.255.255.255, port 9, and as an Ethernet frame of type
//! 0x0842, which needs no IP address at all. The frame needs CAP_NET_RAW; without it the UDP ways remain and that is said once.
//! Nothing is heard back: whether it woke is for the appliance to say.
#![expect(unsafe_code, reason = "a link-layer address (sockaddr_ll) has no safe constructor")]

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;

use energy_model::MacAddress;
use nix::libc;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use upnp::net::{Interface, InterfaceAddress};

/// UDP port of magic packets ("discard").
const PORT: u16 = 9;
/// EtherType of magic packets.
const ETHER_TYPE: u16 = 0x0842;

/// The password some network cards want at the end of a magic packet: six bytes (`aa:bb:cc:dd:ee:ff`) or four (`192.0.2.1`).
#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct SecureOn {
    bytes: [u8; 6],
    len: u8,
}

/// A text that is no [`SecureOn`] password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a SecureOn password of six hexadecimal bytes (aa:bb:cc:dd:ee:ff) or four decimal ones (1.2.3.4)")]
pub struct SecureOnError;

impl FromStr for SecureOn {
    type Err = SecureOnError;
    fn from_str(s: &str) -> Result<Self, SecureOnError> {
        if let Ok(four) = s.parse::<Ipv4Addr>() {
            let [a, b, c, d] = four.octets();
            return Ok(Self { bytes: [a, b, c, d, 0, 0], len: 4 });
        }
        let mut bytes = [0; 6];
        let mut parts = s.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = part.and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or(SecureOnError)?;
        }
        if parts.next().is_some() { Err(SecureOnError) } else { Ok(Self { bytes, len: 6 }) }
    }
}

impl TryFrom<String> for SecureOn {
    type Error = SecureOnError;
    fn try_from(s: String) -> Result<Self, SecureOnError> {
        s.parse()
    }
}

impl fmt::Debug for SecureOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecureOn(..)")
    }
}

/// The packet: six bytes of ones, the address sixteen times, the password if there is one. 102 to 108 bytes.
pub fn magic_packet(mac: MacAddress, secure_on: Option<SecureOn>) -> Vec<u8> {
    let mut packet = vec![0xff; 6];
    for _ in 0..16 {
        packet.extend(mac.octets());
    }
    if let Some(password) = secure_on {
        packet.extend(&password.bytes[..usize::from(password.len)]);
    }
    packet
}

/// The interfaces a sleeper at `address` may hear: the one on whose network that address is, else all.
fn interfaces_toward(interfaces: &[Interface], address: Option<IpAddr>) -> Vec<&Interface> {
    let near: Vec<_> = interfaces.iter().filter(|i| address.is_some_and(|a| i.is_neighbour(a))).collect();
    if near.is_empty() { interfaces.iter().collect() } else { near }
}

/// The broadcast address of an IPv4 network with room for hosts.
fn broadcast(network: &InterfaceAddress) -> Option<Ipv4Addr> {
    match network.address {
        IpAddr::V4(a) if network.prefix_len < 31 => {
            let host_bits = u32::MAX.checked_shr(network.prefix_len.into()).unwrap_or(0);
            Some(Ipv4Addr::from(u32::from(a) | host_bits))
        }
        _ => None,
    }
}

/// Sends magic packets.
#[derive(Debug, Default)]
pub struct Waker {
    frames_refused: bool,
}

impl Waker {
    /// Sends one packet by every way. Says how many ways took it; an error on one does not stop the others.
    pub fn send(
        &mut self,
        interfaces: &[Interface],
        mac: MacAddress,
        address: Option<IpAddr>,
        secure_on: Option<SecureOn>,
    ) -> usize {
        let packet = magic_packet(mac, secure_on);
        let mut sent = 0;
        for interface in interfaces_toward(interfaces, address) {
            match send_datagrams(interface, &packet) {
                Ok(n) => sent += n,
                Err(error) => tracing::debug!(interface = interface.name, %error, "magic packet not sent by UDP"),
            }
            match send_frame(interface, &packet) {
                Ok(()) => sent += 1,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    if !self.frames_refused {
                        tracing::warn!("no right to send Ethernet frames (CAP_NET_RAW); waking by UDP only");
                        self.frames_refused = true;
                    }
                }
                Err(error) => tracing::debug!(interface = interface.name, %error, "magic packet not sent as frame"),
            }
        }
        tracing::debug!(%mac, sent, "magic packet");
        sent
    }
}

fn send_datagrams(interface: &Interface, packet: &[u8]) -> io::Result<usize> {
    let Some(own) = interface.addresses.iter().find_map(|a| match a.address {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }) else {
        return Ok(0);
    };
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.set_broadcast(true)?;
    // Without this 255.255.255.255 leaves by the default route whatever the source address.
    if let Err(error) = socket.bind_device(Some(interface.name.as_bytes())) {
        tracing::debug!(interface = interface.name, %error, "socket not bound to its interface");
    }
    socket.bind(&SocketAddr::from((own, 0)).into())?;
    let networks = interface.addresses.iter().filter_map(broadcast);
    let mut sent = 0;
    let mut refused = None;
    for target in networks.chain([Ipv4Addr::BROADCAST]) {
        match socket.send_to(packet, &SocketAddrV4::new(target, PORT).into()) {
            Ok(_) => sent += 1,
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if sent == 0 => Err(error),
        _ => Ok(sent),
    }
}

fn send_frame(interface: &Interface, packet: &[u8]) -> io::Result<()> {
    // With SOCK_DGRAM the kernel writes the Ethernet header: our address, the target's and the type.
    let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), None)?;
    socket.send_to(packet, &broadcast_frame_address(interface.id.0)?)?;
    Ok(())
}

/// `ff:ff:ff:ff:ff:ff` on an interface, for frames of type 0x0842 (packet(7)).
fn broadcast_frame_address(interface: u32) -> io::Result<SockAddr> {
    let index = i32::try_from(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the storage is zeroed, at least as large as and aligned for a sockaddr_ll (it holds any socket address), and
    // the length reported is that of a sockaddr_ll, all of whose fields are set or zero.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, len| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = libc::AF_PACKET as libc::sa_family_t;
            (*link).sll_protocol = ETHER_TYPE.to_be();
            (*link).sll_ifindex = index;
            (*link).sll_halen = 6;
            (&mut (*link).sll_addr)[..6].fill(0xff);
            *len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })?
    };
    Ok(address)
}

#[cfg(test)]
mod tests {
    use upnp::net::InterfaceId;

    use super::*;

    fn network(address: &str, prefix_len: u8) -> InterfaceAddress {
        InterfaceAddress { address: address.parse().unwrap(), prefix_len }
    }

    #[test]
    fn a_magic_packet_is_ones_then_the_address_sixteen_times_then_the_password() {
        let mac: MacAddress = "00:11:22:33:44:55".parse().unwrap();
        let bare = magic_packet(mac, None);
        assert_eq!((bare.len(), &bare[..6]), (102, &[0xff; 6][..]));
        assert!(bare[6..].chunks(6).all(|c| c == mac.octets()));
        let with = magic_packet(mac, Some("01:02:03:04:05:0a".parse().unwrap()));
        assert_eq!((&with[..102], &with[102..]), (&bare[..], &[1, 2, 3, 4, 5, 10][..]));
        assert_eq!(magic_packet(mac, Some("192.0.2.1".parse().unwrap()))[102..], [192, 0, 2, 1]);
    }

    #[test]
    fn a_password_of_another_form_is_refused_and_a_good_one_never_shown() {
        for bad in
            ["", "01:02:03:04:05", "01:02:03:04:05:06:07", "0102030405zz", "1:2:3:4:5:6", "1.2.3", "+1:02:03:04:05:06"]
        {
            assert_eq!(bad.parse::<SecureOn>(), Err(SecureOnError), "{bad:?}");
        }
        assert_eq!(format!("{:?}", "01:02:03:04:05:06".parse::<SecureOn>().unwrap()), "SecureOn(..)");
    }

    #[test]
    fn the_broadcast_address_is_that_of_the_interfaces_own_network() {
        assert_eq!(broadcast(&network("10.88.0.254", 24)), Some(Ipv4Addr::new(10, 88, 0, 255)));
        assert_eq!(broadcast(&network("192.168.3.4", 22)), Some(Ipv4Addr::new(192, 168, 3, 255)));
        assert_eq!(broadcast(&network("10.0.0.1", 0)), Some(Ipv4Addr::BROADCAST));
        for none in [network("10.0.0.1", 31), network("10.0.0.1", 32), network("fe80::1", 64)] {
            assert_eq!(broadcast(&none), None);
        }
    }

    #[test]
    fn a_sleeper_is_called_on_its_own_network_and_on_all_when_that_is_not_known() {
        let interface = |id, address| Interface {
            id: InterfaceId(id),
            name: format!("eth{id}"),
            addresses: vec![network(address, 24)],
        };
        let both = [interface(1, "10.0.1.1"), interface(2, "10.0.2.1")];
        let toward = |a: Option<&str>| -> Vec<u32> {
            interfaces_toward(&both, a.map(|a| a.parse().unwrap())).iter().map(|i| i.id.0).collect()
        };
        assert_eq!(toward(Some("10.0.2.9")), [2]);
        assert_eq!(toward(Some("10.0.3.9")), [1, 2]);
        assert_eq!(toward(None), [1, 2]);
    }

    #[test]
    fn a_frames_address_is_a_whole_link_layer_address() {
        let address = broadcast_frame_address(7).unwrap();
        assert_eq!((address.domain(), address.len() as usize), (Domain::PACKET, size_of::<libc::sockaddr_ll>()));
    }
}
