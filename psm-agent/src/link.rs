//! The machine's network links (IO): MAC addresses, carrier, and whether the network can wake the machine.
//!
//! Links are told by rtnetlink as they change. Waking is asked of the drivers by generic netlink: `ethtool`
//! (ETHTOOL_MSG_WOL_GET/SET) for wired links, `nl80211` (GET/SET_WOWLAN) for wireless ones, and armed for the magic packet
//! where the configuration asks for it. A driver answers before the request's system call returns, so these few requests
//! are made in place; they come at start and when a link changes.
#![expect(unsafe_code, reason = "AsyncFd's constructors are unsafe: they trust that the descriptor stays open")]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use energy_model::{MacAddress, WakeMethod};
use netlink_packet_core::{Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NlasIterator};
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkLayerType};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::limits::{LINKS_MAX, NETLINK_BYTES_MAX};
use crate::{wake, wake_service};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
/// The multicast group of link changes (RTMGRP_LINK).
const GROUP_LINK: u32 = 1;

/// A network link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Kernel index.
    pub index: u32,
    /// Kernel name.
    pub name: String,
    /// Hardware address.
    pub mac: Option<MacAddress>,
    /// Cable plugged in, or associated.
    pub carrier: bool,
    /// It is a wireless link.
    pub wireless: bool,
    /// What the driver says about waking.
    pub wake: wake::Ability,
}

impl Link {
    /// How the link can wake the machine as it is set now.
    pub fn wake_method(&self) -> WakeMethod {
        match (self.wake, self.wireless) {
            (wake::Ability::Armed, true) => WakeMethod::WoWlan,
            (wake::Ability::Armed, false) => WakeMethod::Wol,
            _ => WakeMethod::None,
        }
    }
}

/// The links, kept current.
#[derive(Debug)]
pub struct Links {
    socket: AsyncFd<OwnedFd>,
    links: BTreeMap<u32, Link>,
    arm: bool,
    waker: Option<wake::Waker>,
    /// Links want to be looked at by somebody who may.
    unasked: bool,
    why_not: Option<String>,
}

impl Links {
    /// Watches from now on and asks for all links; they come with the first [`next`](Self::next). `arm`: set links to
    /// wake by magic packet where they can. Inside a tokio runtime.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub fn new(arm: bool) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            nix::sys::socket::socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP_LINK))?;
        let (waker, why_not) = match wake::Waker::new() {
            Ok(waker) => (Some(waker), None),
            Err(error) => (None, Some(error.to_string())),
        };
        // SAFETY: the descriptor is valid, and nothing closes or replaces it before the `AsyncFd` that owns it is dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        let links = Self { socket, links: BTreeMap::new(), arm, waker, unasked: false, why_not };
        links.ask()?;
        Ok(links)
    }

    /// The links, by index.
    pub fn all(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// Why nothing is known about waking, if so.
    pub fn why_not(&self) -> Option<&str> {
        self.why_not.as_deref()
    }

    /// Whether links are to be armed; the configuration was read again.
    pub fn set_arm(&mut self, arm: bool) {
        if arm && !self.arm {
            self.arm = true;
            self.look_again();
        }
        self.arm = arm;
    }

    /// Asks the drivers again: some forget over a sleep what wakes them.
    pub fn look_again(&mut self) {
        let Self { links, waker: Some(waker), arm, unasked, .. } = self else { return };
        for link in links.values_mut() {
            let seen = ability(waker, link.index, &link.name, link.wireless, *arm);
            *unasked |= waker.is_refused();
            if !waker.is_refused() {
                link.wake = seen;
            }
        }
    }

    /// Whether links changed that this process may not ask about. It is for the caller then to have them asked
    /// ([`crate::wake_service`]).
    pub fn take_unasked(&mut self) -> bool {
        core::mem::take(&mut self.unasked)
    }

    /// What was learned of the links by somebody who may ask, or why nothing was.
    pub fn handle_abilities(&mut self, learned: Result<wake_service::Abilities, String>) {
        match learned {
            Ok(abilities) => {
                self.why_not = None;
                for link in self.links.values_mut() {
                    link.wake = abilities.get(&link.index).copied().unwrap_or(wake::Ability::Unknown);
                }
            }
            Err(why) => {
                if self.why_not.as_ref() != Some(&why) {
                    tracing::warn!(why, "network cards not asked whether they wake this machine");
                }
                self.why_not = Some(why);
            }
        }
    }

    /// Waits for a change of any link. Cancel safe.
    pub async fn next(&mut self) {
        loop {
            let Ok(mut ready) = self.socket.readable().await else {
                return std::future::pending().await;
            };
            let mut buffer = vec![0; NETLINK_BYTES_MAX];
            let got = ready.try_io(|socket| Ok(recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?));
            let changed = match got {
                Err(_would_block) => false,
                Ok(Ok(len)) => self.take(&buffer[..len]),
                // Changes were lost: all links are asked for anew.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    if let Err(error) = self.ask() {
                        tracing::warn!(%error, "links not read");
                    }
                    false
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "links are no longer watched");
                    return std::future::pending().await;
                }
            };
            if changed {
                return;
            }
        }
    }

    /// Asks for all links.
    fn ask(&self) -> io::Result<()> {
        let body = LinkHeader::default();
        let mut header = NetlinkHeader::default();
        header.message_type = RTM_GETLINK;
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let len = header.buffer_len() + body.buffer_len();
        header.length = u32::try_from(len).unwrap_or(u32::MAX);
        let mut bytes = vec![0; len];
        header.emit(&mut bytes);
        body.emit(&mut bytes[header.buffer_len()..]);
        send(self.socket.get_ref().as_raw_fd(), &bytes, MsgFlags::empty())?;
        Ok(())
    }

    /// Takes one datagram of messages; true when a link differs.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let mut changed = false;
        let mut rest = bytes;
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            match (message.message_type(), LinkHeader::parse(message.payload())) {
                (RTM_NEWLINK, Ok(header)) => {
                    let attributes = message.payload().get(header.buffer_len()..).unwrap_or_default();
                    changed |= self.put(&header, attributes);
                }
                (RTM_DELLINK, Ok(header)) => changed |= self.links.remove(&header.index).is_some(),
                _ => {}
            }
            // Messages are padded to four bytes.
            rest = rest.get((message.length() as usize).next_multiple_of(4)..).unwrap_or_default();
        }
        changed
    }

    /// Only the few attributes used are read: the whole of a link message is a language of its own.
    fn put(&mut self, header: &LinkHeader, attributes: &[u8]) -> bool {
        if header.link_layer_type != LinkLayerType::Ether || header.flags.contains(LinkFlags::Loopback) {
            return false;
        }
        let (mut name, mut mac) = (None, None);
        for attribute in NlasIterator::new(attributes).map_while(Result::ok) {
            let value = attribute.value();
            match attribute.kind() {
                IFLA_IFNAME => name = String::from_utf8(value.strip_suffix(&[0]).unwrap_or(value).to_vec()).ok(),
                IFLA_ADDRESS => {
                    mac = <[u8; 6]>::try_from(value).ok().and_then(|octets| MacAddress::new(octets).ok());
                }
                _ => {}
            }
        }
        let Some(name) = name else { return false };
        let known = self.links.get(&header.index);
        if known.is_none() && self.links.len() >= LINKS_MAX {
            return false;
        }
        let carrier = header.flags.contains(LinkFlags::LowerUp);
        let wireless = is_wireless(&name);
        let mut link = Link { index: header.index, name, mac, carrier, wireless, wake: wake::Ability::Unknown };
        match (known, &mut self.waker) {
            (Some(known), _) if known.carrier == link.carrier && known.name == link.name => link.wake = known.wake,
            (_, Some(waker)) => {
                link.wake = ability(waker, link.index, &link.name, link.wireless, self.arm);
                if waker.is_refused() {
                    link.wake = known.map_or(wake::Ability::Unknown, |known| known.wake);
                    self.unasked = true;
                }
            }
            _ => {}
        }
        if known == Some(&link) {
            return false;
        }
        tracing::debug!(name = link.name, carrier, wake = ?link.wake, "link");
        self.links.insert(link.index, link);
        true
    }
}

/// Whether a link is wireless.
pub(crate) fn is_wireless(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).join("phy80211").exists()
}

/// Asks a link's driver, and arms it where that is wanted and possible.
pub(crate) fn ability(waker: &mut wake::Waker, index: u32, name: &str, wireless: bool, arm: bool) -> wake::Ability {
    let seen = waker.look(index, wireless);
    if !(arm && seen == wake::Ability::Disarmed) {
        return seen;
    }
    match waker.arm(index, wireless) {
        Ok(()) => {
            tracing::info!(link = name, "armed to wake by magic packet");
            waker.look(index, wireless)
        }
        Err(error) => {
            tracing::warn!(link = name, %error, "not armed to wake by magic packet");
            seen
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn the_machines_links_are_found_by_netlink() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut links = Links::new(false).unwrap();
            // Ethernet links beside the loopback: a machine may have none, then nothing is told.
            let told = tokio::time::timeout(Duration::from_secs(2), links.next()).await.is_ok();
            let ethernet = std::fs::read_dir("/sys/class/net").unwrap().flatten().filter(|e| {
                let kind = std::fs::read_to_string(e.path().join("type")).unwrap_or_default();
                kind.trim() == "1"
            });
            assert_eq!(told, ethernet.count() > 0);
            for link in links.all() {
                let mac = std::fs::read_to_string(format!("/sys/class/net/{}/address", link.name)).unwrap();
                assert_eq!(link.mac.map(|m| m.to_string().to_lowercase()), Some(mac.trim().to_owned()));
            }
        });
    }

    #[test]
    fn only_an_armed_link_can_wake() {
        let link = |wake, wireless| Link { index: 2, name: "eth0".into(), mac: None, carrier: true, wireless, wake };
        assert_eq!(link(wake::Ability::Armed, false).wake_method(), WakeMethod::Wol);
        assert_eq!(link(wake::Ability::Armed, true).wake_method(), WakeMethod::WoWlan);
        for wake in [wake::Ability::Disarmed, wake::Ability::No, wake::Ability::Unknown] {
            assert_eq!(link(wake, false).wake_method(), WakeMethod::None);
        }
    }
}
