//! Waking by the network (IO): asks network drivers, and arms them, by generic netlink.
//!
//! Requests of `ethtool` (linux/ethtool_netlink.h) and `nl80211` (linux/nl80211.h), written and read here because no
//! well-kept crate has these two.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use netlink_packet_core::{NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NlasIterator};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::limits::{NETLINK_ANSWER_WITHIN, NETLINK_BYTES_MAX};

const NLMSG_HEADER_BYTES: usize = 16;
const GENL_HEADER_BYTES: usize = 4;
const NLMSG_ERROR: u16 = 2;
/// The controller that knows the numbers of all families.
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

const ETHTOOL_MSG_WOL_GET: u8 = 9;
const ETHTOOL_MSG_WOL_SET: u8 = 10;
const ETHTOOL_A_WOL_HEADER: u16 = 1;
const ETHTOOL_A_WOL_MODES: u16 = 2;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_HEADER_FLAGS: u16 = 3;
const ETHTOOL_FLAG_COMPACT_BITSETS: u32 = 1;
const ETHTOOL_A_BITSET_SIZE: u16 = 2;
const ETHTOOL_A_BITSET_VALUE: u16 = 4;
const ETHTOOL_A_BITSET_MASK: u16 = 5;
/// Bit 5 of the wake-on modes (linux/ethtool.h).
const WAKE_MAGIC: u32 = 1 << 5;
const WAKE_MODES: u32 = 8;

const NL80211_CMD_GET_WOWLAN: u8 = 73;
const NL80211_CMD_SET_WOWLAN: u8 = 74;
const NL80211_ATTR_IFINDEX: u16 = 3;
const NL80211_ATTR_WOWLAN_TRIGGERS: u16 = 117;
const NL80211_WOWLAN_TRIG_MAGIC_PKT: u16 = 3;

/// What a link's driver says about waking by magic packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ability {
    /// It wakes.
    Armed,
    /// It could, and is not set to.
    Disarmed,
    /// It cannot.
    No,
    /// It could not be asked.
    Unknown,
}

/// A generic netlink socket with the numbers of the two families.
#[derive(Debug)]
pub struct Waker {
    socket: OwnedFd,
    ethtool: Option<u16>,
    nl80211: Option<u16>,
    sequence: u32,
    refused: bool,
}

impl Waker {
    /// Opens the socket and looks the families up; a kernel without one of them is no error.
    ///
    /// # Errors
    /// The kernel gives no generic netlink socket.
    pub fn new() -> io::Result<Self> {
        let socket = nix::sys::socket::socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkGeneric,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let micros = i64::try_from(NETLINK_ANSWER_WITHIN.as_micros()).unwrap_or(i64::MAX);
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::microseconds(micros))?;
        let mut waker = Self { socket, ethtool: None, nl80211: None, sequence: 0, refused: false };
        waker.ethtool = waker.family("ethtool")?;
        waker.nl80211 = waker.family("nl80211")?;
        Ok(waker)
    }

    /// What the driver of the link says.
    pub fn look(&mut self, index: u32, wireless: bool) -> Ability {
        let asked = if wireless { self.look_wireless(index) } else { self.look_wired(index) };
        match asked {
            Ok(ability) => ability,
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EOPNOTSUPP | Errno::ENODEV) => Ability::No,
                Some(Errno::EPERM) => {
                    self.refused = true;
                    Ability::Unknown
                }
                _ => {
                    tracing::debug!(index, %error, "wake ability not read");
                    Ability::Unknown
                }
            },
        }
    }

    /// Whether a driver was not asked for want of the right to (CAP_NET_ADMIN).
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Sets the link to wake by magic packet; other wake-up causes stay as they are on a wired link.
    ///
    /// # Errors
    /// No right (CAP_NET_ADMIN), or the driver refuses.
    pub fn arm(&mut self, index: u32, wireless: bool) -> io::Result<()> {
        if wireless {
            let family = self.nl80211.ok_or(Errno::EOPNOTSUPP)?;
            let mut body = Vec::new();
            attribute(&mut body, NL80211_ATTR_IFINDEX, &index.to_ne_bytes());
            let mut triggers = Vec::new();
            attribute(&mut triggers, NL80211_WOWLAN_TRIG_MAGIC_PKT, &[]);
            attribute(&mut body, NL80211_ATTR_WOWLAN_TRIGGERS | NLA_F_NESTED, &triggers);
            return self.request(family, NL80211_CMD_SET_WOWLAN, &body).map(drop);
        }
        let family = self.ethtool.ok_or(Errno::EOPNOTSUPP)?;
        let mut modes = Vec::new();
        attribute(&mut modes, ETHTOOL_A_BITSET_SIZE, &WAKE_MODES.to_ne_bytes());
        attribute(&mut modes, ETHTOOL_A_BITSET_VALUE, &WAKE_MAGIC.to_ne_bytes());
        attribute(&mut modes, ETHTOOL_A_BITSET_MASK, &WAKE_MAGIC.to_ne_bytes());
        let mut body = ethtool_header(index);
        attribute(&mut body, ETHTOOL_A_WOL_MODES | NLA_F_NESTED, &modes);
        self.request(family, ETHTOOL_MSG_WOL_SET, &body).map(drop)
    }

    fn look_wired(&mut self, index: u32) -> io::Result<Ability> {
        let Some(family) = self.ethtool else { return Ok(Ability::Unknown) };
        let answer = self.request(family, ETHTOOL_MSG_WOL_GET, &ethtool_header(index))?;
        let modes = find(&answer, ETHTOOL_A_WOL_MODES).unwrap_or_default();
        let bits = |kind| find(&modes, kind).and_then(|v| v.get(..4)?.try_into().ok()).map_or(0, u32::from_ne_bytes);
        Ok(match (bits(ETHTOOL_A_BITSET_MASK) & WAKE_MAGIC != 0, bits(ETHTOOL_A_BITSET_VALUE) & WAKE_MAGIC != 0) {
            (true, true) => Ability::Armed,
            (true, false) => Ability::Disarmed,
            (false, _) => Ability::No,
        })
    }

    fn look_wireless(&mut self, index: u32) -> io::Result<Ability> {
        let Some(family) = self.nl80211 else { return Ok(Ability::Unknown) };
        let mut body = Vec::new();
        attribute(&mut body, NL80211_ATTR_IFINDEX, &index.to_ne_bytes());
        let answer = self.request(family, NL80211_CMD_GET_WOWLAN, &body)?;
        let triggers = find(&answer, NL80211_ATTR_WOWLAN_TRIGGERS).unwrap_or_default();
        let armed = find(&triggers, NL80211_WOWLAN_TRIG_MAGIC_PKT).is_some();
        Ok(if armed { Ability::Armed } else { Ability::Disarmed })
    }

    /// The number of a family; none where the kernel lacks it.
    fn family(&mut self, name: &str) -> io::Result<Option<u16>> {
        let mut body = Vec::new();
        attribute(&mut body, CTRL_ATTR_FAMILY_NAME, &[name.as_bytes(), &[0]].concat());
        match self.request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &body) {
            Ok(answer) => {
                let id = find(&answer, CTRL_ATTR_FAMILY_ID);
                Ok(id.and_then(|v| v.get(..2)?.try_into().ok()).map(u16::from_ne_bytes))
            }
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request and gives the attributes of its answer; empty when it is only acknowledged.
    fn request(&mut self, family: u16, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = message(family, command, self.sequence, attributes);
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty())?;
        let mut answer = Vec::new();
        let mut buffer = vec![0; NETLINK_BYTES_MAX];
        loop {
            let len = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            match read(&buffer[..len], self.sequence) {
                Read::Answer(attributes) => answer = attributes,
                Read::Done => return Ok(answer),
                Read::Refused(errno) => return Err(errno.into()),
                Read::NotOurs => {}
            }
        }
    }
}

fn ethtool_header(index: u32) -> Vec<u8> {
    let mut header = Vec::new();
    attribute(&mut header, ETHTOOL_A_HEADER_DEV_INDEX, &index.to_ne_bytes());
    attribute(&mut header, ETHTOOL_A_HEADER_FLAGS, &ETHTOOL_FLAG_COMPACT_BITSETS.to_ne_bytes());
    let mut body = Vec::new();
    attribute(&mut body, ETHTOOL_A_WOL_HEADER | NLA_F_NESTED, &header);
    body
}

/// Writes an attribute, padded to four bytes.
fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    out.extend(len.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The value of the first attribute of that kind.
fn find(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    NlasIterator::new(attributes).map_while(Result::ok).find(|a| a.kind() == kind).map(|a| a.value().to_vec())
}

fn message(family: u16, command: u8, sequence: u32, attributes: &[u8]) -> Vec<u8> {
    let len = NLMSG_HEADER_BYTES + GENL_HEADER_BYTES + attributes.len();
    let mut out = Vec::with_capacity(len);
    out.extend(u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes());
    out.extend(family.to_ne_bytes());
    out.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(0u32.to_ne_bytes());
    out.extend([command, 1, 0, 0]);
    out.extend(attributes);
    out
}

#[derive(Debug, PartialEq, Eq)]
enum Read {
    Answer(Vec<u8>),
    Done,
    Refused(Errno),
    NotOurs,
}

/// Reads one answer; the kernel sends each, and the acknowledgement after it, in a datagram of its own.
fn read(bytes: &[u8], sequence: u32) -> Read {
    let number = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    if number(8) != Some(sequence) {
        return Read::NotOurs;
    }
    let kind = bytes.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    if kind == Some(NLMSG_ERROR) {
        let code = number(NLMSG_HEADER_BYTES).unwrap_or(0).cast_signed();
        return if code == 0 { Read::Done } else { Read::Refused(Errno::from_raw(code.wrapping_neg())) };
    }
    Read::Answer(bytes.get(NLMSG_HEADER_BYTES + GENL_HEADER_BYTES..).unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_asked_and_a_link_without_the_ability_says_no() {
        let mut waker = Waker::new().unwrap();
        assert!(waker.family("no such family").unwrap().is_none());
        if waker.ethtool.is_some() {
            // The loopback interface has index 1 in every network namespace, and no driver that wakes.
            assert_eq!(waker.look(1, false), Ability::No);
        }
        assert_eq!(
            waker.look(u32::MAX >> 1, false),
            if waker.ethtool.is_some() { Ability::No } else { Ability::Unknown }
        );
    }

    #[test]
    fn attributes_are_padded_and_found_again() {
        let mut out = Vec::new();
        attribute(&mut out, 2, b"abc");
        attribute(&mut out, 7, &[9]);
        assert_eq!(out.len(), 16);
        assert_eq!(find(&out, 7).unwrap(), [9]);
        assert_eq!(find(&out, 8), None);
    }

    #[test]
    fn a_broken_answer_is_not_a_panic() {
        let whole = message(5, 9, 1, &ethtool_header(2));
        for len in 0..whole.len() {
            read(&whole[..len], 1);
            find(&whole[..len], 2);
        }
        assert_eq!(read(&whole, 2), Read::NotOurs);
        let mut refused = message(NLMSG_ERROR, 0, 1, &[]);
        refused[16..20].copy_from_slice(&(-(Errno::EPERM as i32)).to_ne_bytes());
        assert_eq!(read(&refused, 1), Read::Refused(Errno::EPERM));
    }
}
