//! One Ethernet frame as the watcher saw it, and what can be read from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// EtherType of the raw form of a magic packet.
pub const ETHER_TYPE_WAKE_ON_LAN: u16 = 0x0842;
const ETHER_TYPE_IPV4: u16 = 0x0800;
const ETHER_TYPE_IPV6: u16 = 0x86dd;
const BROADCAST: [u8; 6] = [0xff; 6];
/// The discard port, where magic packets are sent to by custom, and echo, the other custom.
const WAKE_PORTS: [u16; 2] = [9, 7];

/// A frame sent by a host.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The kernel's time stamp, wall clock, since 1970.
    pub at: Duration,
    /// The host that sent it.
    pub sender: Arc<str>,
    /// From the destination address on, without checksum.
    pub bytes: Arc<[u8]>,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A UDP datagram.
    Udp {
        /// Sender.
        from: SocketAddr,
        /// Receiver.
        to: SocketAddr,
        /// The datagram.
        data: &'a [u8],
    },
    /// A TCP segment; `data` is empty for a bare acknowledgement.
    Tcp {
        /// Sender.
        from: SocketAddr,
        /// Receiver.
        to: SocketAddr,
        /// The bytes of the stream in it.
        data: &'a [u8],
    },
    /// Anything else, by EtherType.
    Other {
        /// EtherType.
        ether_type: u16,
        /// What follows the EtherType.
        data: &'a [u8],
    },
}

/// A Wake-on-LAN magic packet: six bytes 0xFF, sixteen times the hardware address, and perhaps a SecureOn password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MagicPacket {
    /// Who is to wake.
    pub target: [u8; 6],
    /// The SecureOn password, 4 or 6 bytes, or none.
    pub password: Option<Vec<u8>>,
    /// True for EtherType 0x0842, false for UDP.
    pub raw: bool,
}

impl Frame {
    /// The receiving hardware address.
    pub fn destination(&self) -> [u8; 6] {
        self.address(0)
    }

    /// The sending hardware address.
    pub fn source(&self) -> [u8; 6] {
        self.address(6)
    }

    fn address(&self, at: usize) -> [u8; 6] {
        self.bytes.get(at..at + 6).and_then(|b| b.try_into().ok()).unwrap_or_default()
    }

    /// What it carries. A frame that is cut short or of an unknown kind is [`Payload::Other`].
    pub fn payload(&self) -> Payload<'_> {
        let ether_type = self.bytes.get(12..14).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
        let data = self.bytes.get(14..).unwrap_or_default();
        let packet = match ether_type {
            ETHER_TYPE_IPV4 => ipv4(data),
            ETHER_TYPE_IPV6 => ipv6(data),
            _ => None,
        };
        packet.unwrap_or(Payload::Other { ether_type, data })
    }

    /// The bytes of the datagram or of the stream; empty for anything else.
    pub fn data(&self) -> &[u8] {
        match self.payload() {
            Payload::Udp { data, .. } | Payload::Tcp { data, .. } => data,
            Payload::Other { .. } => &[],
        }
    }

    /// True if the datagram's or stream's bytes hold `text`.
    pub fn says(&self, text: &str) -> bool {
        let data = self.data();
        !text.is_empty() && data.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// The magic packet in it, if it is one that a network card would take: broadcast or addressed to the target, as
    /// EtherType 0x0842 or UDP to port 9 or 7.
    pub fn magic_packet(&self) -> Option<MagicPacket> {
        let (data, raw) = match self.payload() {
            Payload::Other { ether_type: ETHER_TYPE_WAKE_ON_LAN, data } => (data, true),
            Payload::Udp { to, data, .. } if WAKE_PORTS.contains(&to.port()) => (data, false),
            _ => return None,
        };
        let start = data.windows(6).position(|window| window == [0xff; 6])?;
        let after = data.get(start + 6..)?;
        let target: [u8; 6] = after.get(..6)?.try_into().ok()?;
        let repeats = after.get(..16 * 6)?;
        if target == BROADCAST || !repeats.chunks(6).all(|chunk| chunk == target) {
            return None;
        }
        if self.destination() != BROADCAST && self.destination() != target {
            return None;
        }
        let rest = after.get(16 * 6..).unwrap_or_default();
        let password = matches!(rest.len(), 4 | 6).then(|| rest.to_vec());
        Some(MagicPacket { target, password, raw })
    }
}

fn ipv4(data: &[u8]) -> Option<Payload<'_>> {
    let header = usize::from(data.first()? & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([*data.get(2)?, *data.get(3)?]));
    let from = Ipv4Addr::from(<[u8; 4]>::try_from(data.get(12..16)?).ok()?);
    let to = Ipv4Addr::from(<[u8; 4]>::try_from(data.get(16..20)?).ok()?);
    // Short packets are padded on the wire; a total of 0 marks an unsegmented giant.
    let end = if total == 0 { data.len() } else { total.min(data.len()) };
    transport(*data.get(9)?, from.into(), to.into(), data.get(header..end)?)
}

fn ipv6(data: &[u8]) -> Option<Payload<'_>> {
    let from = Ipv6Addr::from(<[u8; 16]>::try_from(data.get(8..24)?).ok()?);
    let to = Ipv6Addr::from(<[u8; 16]>::try_from(data.get(24..40)?).ok()?);
    transport(*data.get(6)?, from.into(), to.into(), data.get(40..)?)
}

fn transport(protocol: u8, from: IpAddr, to: IpAddr, segment: &[u8]) -> Option<Payload<'_>> {
    let port = |at: usize| Some(u16::from_be_bytes([*segment.get(at)?, *segment.get(at + 1)?]));
    let (from, to) = (SocketAddr::new(from, port(0)?), SocketAddr::new(to, port(2)?));
    match protocol {
        17 => Some(Payload::Udp { from, to, data: segment.get(8..)? }),
        6 => {
            let header = usize::from(segment.get(12)? >> 4) * 4;
            Some(Payload::Tcp { from, to, data: segment.get(header..)? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLEEPER: [u8; 6] = [0x52, 0x54, 0, 0x88, 0, 2];

    #[test]
    fn a_raw_magic_packet_is_read_with_its_password() {
        let mut body = pattern(SLEEPER);
        body.extend_from_slice(&[1, 2, 3, 4, 5, 6]);
        let magic = frame(BROADCAST, ETHER_TYPE_WAKE_ON_LAN, &body).magic_packet();
        assert_eq!(magic, Some(MagicPacket { target: SLEEPER, password: Some(vec![1, 2, 3, 4, 5, 6]), raw: true }));
    }

    #[test]
    fn a_udp_magic_packet_counts_only_to_the_customary_ports() {
        let magic = frame(BROADCAST, ETHER_TYPE_IPV4, &udp(9, &pattern(SLEEPER))).magic_packet();
        assert_eq!(magic, Some(MagicPacket { target: SLEEPER, password: None, raw: false }));
        assert_eq!(frame(BROADCAST, ETHER_TYPE_IPV4, &udp(1900, &pattern(SLEEPER))).magic_packet(), None);
    }

    #[test]
    fn a_pattern_with_one_wrong_repeat_is_no_magic_packet() {
        let mut body = pattern(SLEEPER);
        body[6 + 6 * 7] ^= 1;
        assert_eq!(frame(BROADCAST, ETHER_TYPE_WAKE_ON_LAN, &body).magic_packet(), None);
        assert_eq!(frame(BROADCAST, ETHER_TYPE_WAKE_ON_LAN, &pattern(SLEEPER)[..101]).magic_packet(), None);
    }

    #[test]
    fn a_magic_packet_addressed_to_another_card_wakes_nobody() {
        assert_eq!(frame([2, 0, 0, 0, 0, 9], ETHER_TYPE_WAKE_ON_LAN, &pattern(SLEEPER)).magic_packet(), None);
        assert!(frame(SLEEPER, ETHER_TYPE_WAKE_ON_LAN, &pattern(SLEEPER)).magic_packet().is_some());
    }

    #[test]
    fn frames_cut_short_anywhere_are_read_without_panic() {
        let whole = frame(BROADCAST, ETHER_TYPE_IPV4, &udp(9, &pattern(SLEEPER)));
        for len in 0..whole.bytes.len() {
            let cut = Frame { bytes: whole.bytes[..len].into(), ..whole.clone() };
            let _read = (cut.payload(), cut.magic_packet(), cut.destination(), cut.says("x"));
        }
    }

    fn pattern(target: [u8; 6]) -> Vec<u8> {
        let mut body = vec![0xff; 6];
        (0..16).for_each(|_| body.extend_from_slice(&target));
        body
    }

    fn udp(port: u16, data: &[u8]) -> Vec<u8> {
        let total = u16::try_from(20 + 8 + data.len()).unwrap().to_be_bytes();
        let mut packet = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 17, 0, 0, 10, 88, 0, 1, 255, 255, 255, 255];
        packet.extend_from_slice(&[0x30, 0x39]);
        packet.extend_from_slice(&port.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(data);
        packet
    }

    fn frame(destination: [u8; 6], ether_type: u16, body: &[u8]) -> Frame {
        let mut bytes = destination.to_vec();
        bytes.extend_from_slice(&[0x52, 0x54, 0, 0x88, 0, 1]);
        bytes.extend_from_slice(&ether_type.to_be_bytes());
        bytes.extend_from_slice(body);
        Frame { at: Duration::ZERO, sender: "gateway".into(), bytes: bytes.into() }
    }
}
