//! Which interfaces and addresses are used, and when they change.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use nix::libc;
use tokio::time::Instant;
use upnp::net::{Interface, InterfaceAddress, InterfaceId};

use crate::config::InterfaceFilter;
use crate::limits::{ADDRESSES_PER_INTERFACE_MAX, INTERFACES_MAX, SETTLE, SETTLE_MAX};
use crate::netlink::{self, Link, LinkAddress, Notifications};

/// Reads the interfaces that are usable now.
pub(crate) fn usable_now(filter: &InterfaceFilter, ipv6: bool) -> io::Result<Vec<Interface>> {
    let (links, addresses) = netlink::tables()?;
    Ok(usable(&links, &addresses, filter, ipv6))
}

/// Picks the usable interfaces, in the order of their indices, and their usable addresses in the kernel's order.
fn usable(links: &[Link], addresses: &[LinkAddress], filter: &InterfaceFilter, ipv6: bool) -> Vec<Interface> {
    let mut interfaces: Vec<Interface> = links
        .iter()
        .filter(|link| suits(link, filter))
        .map(|link| Interface {
            id: InterfaceId(link.index),
            name: link.name.clone(),
            addresses: addresses
                .iter()
                .filter(|a| a.index == link.index && is_ready(a) && (ipv6 || a.address.is_ipv4()))
                .filter(|a| !filter.private_only || is_private(a.address))
                .map(|a| InterfaceAddress { address: a.address, prefix_len: a.prefix_len })
                .take(ADDRESSES_PER_INTERFACE_MAX)
                .collect(),
        })
        .filter(|interface| !interface.addresses.is_empty())
        .collect();
    interfaces.sort_by_key(|i| i.id);
    if interfaces.len() > INTERFACES_MAX {
        tracing::warn!(found = interfaces.len(), used = INTERFACES_MAX, "too many interfaces, name those to be used");
        interfaces.truncate(INTERFACES_MAX);
    }
    interfaces
}

fn suits(link: &Link, filter: &InterfaceFilter) -> bool {
    let is = |flag: libc::c_int| link.flags & flag as u32 != 0;
    let included = filter.include.contains(&link.name);
    // IFF_RUNNING is the operational state, carrier included (RFC 2863).
    let ready = is(libc::IFF_UP) && is(libc::IFF_RUNNING);
    let kind = if is(libc::IFF_LOOPBACK) {
        filter.loopback
    } else if included {
        true
    } else {
        filter.include.is_empty() && is(libc::IFF_MULTICAST) && !is(libc::IFF_POINTOPOINT)
    };
    ready && kind && !filter.exclude.contains(&link.name)
}

/// Tentative addresses cannot be bound yet, a duplicate one never; deprecated and temporary (privacy) ones come and go, and
/// the stable address of the same prefix is there to be announced.
fn is_ready(a: &LinkAddress) -> bool {
    let unusable = match a.address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED | libc::IFA_F_DEPRECATED | libc::IFA_F_TEMPORARY,
    };
    a.flags & unusable == 0 && !a.address.is_unspecified()
}

/// Whether no router of the Internet leads to it.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_private() || a.is_link_local() || a.is_loopback(),
        IpAddr::V6(a) => a.is_unique_local() || a.is_unicast_link_local() || a.is_loopback(),
    }
}

/// Watches for changes and says when they have settled.
#[derive(Debug)]
pub(crate) struct InterfaceWatch {
    notifications: Notifications,
    removed: BTreeSet<InterfaceId>,
    /// First and latest change not yet acted upon.
    changed: Option<(Instant, Instant)>,
}

impl InterfaceWatch {
    /// Starts to watch; call it before [`usable_now`], so that no change falls between.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { notifications: Notifications::open()?, removed: BTreeSet::new(), changed: None })
    }

    /// Takes in changes as they come; only their settling, seen by [`Self::poll_settled`], matters. Cancel safe.
    pub(crate) async fn noticed(&mut self) -> io::Result<()> {
        let noticed = self.notifications.noticed().await?;
        let now = Instant::now();
        self.changed = Some((self.changed.map_or(now, |(first, _)| first), now));
        if self.removed.len() < INTERFACES_MAX {
            self.removed.extend(noticed.removed.into_iter().map(InterfaceId));
        }
        Ok(())
    }

    /// When [`Self::poll_settled`] will be true if nothing more changes.
    pub(crate) fn settles_at(&self) -> Option<Instant> {
        self.changed.map(|(first, latest)| (latest + SETTLE).min(first + SETTLE_MAX))
    }

    /// Whether changes have settled; if so they count as dealt with, and the links removed meanwhile are handed over.
    pub(crate) fn poll_settled(&mut self, now: Instant) -> Option<BTreeSet<InterfaceId>> {
        self.settles_at().filter(|at| *at <= now)?;
        self.changed = None;
        Some(core::mem::take(&mut self.removed))
    }

    /// Has the tables read again after the usual wait, because the last reading failed.
    pub(crate) fn again(&mut self) {
        let now = Instant::now();
        self.changed.get_or_insert((now, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: libc::c_int = libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_MULTICAST | libc::IFF_BROADCAST;

    #[test]
    fn only_links_that_are_up_with_carrier_and_multicast_are_used() {
        let links = [
            link(1, "lo", libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_LOOPBACK),
            link(2, "eth0", LAN),
            link(3, "nocarrier", LAN & !libc::IFF_RUNNING),
            link(4, "down", LAN & !libc::IFF_UP),
            link(5, "ppp0", LAN | libc::IFF_POINTOPOINT),
            link(6, "dummy0", LAN & !libc::IFF_MULTICAST),
            link(7, "wlan0", LAN),
        ];
        let addresses: Vec<_> = (1..8).map(|i| address(i, &format!("10.0.{i}.1"), 24, 0)).collect();
        let names = |filter: &InterfaceFilter| {
            let found = usable(&links, &addresses, filter, true);
            found.into_iter().map(|i| i.name).collect::<Vec<_>>()
        };

        assert_eq!(names(&InterfaceFilter::default()), ["eth0", "wlan0"]);
        assert_eq!(names(&InterfaceFilter { loopback: true, ..Default::default() }), ["lo", "eth0", "wlan0"]);
        assert_eq!(names(&InterfaceFilter { exclude: vec!["eth0".into()], ..Default::default() }), ["wlan0"]);
        let include = vec!["ppp0".into(), "wlan0".into(), "down".into()];
        assert_eq!(names(&InterfaceFilter { include, ..Default::default() }), ["ppp0", "wlan0"]);
    }

    #[test]
    fn addresses_that_cannot_be_relied_on_are_left_out() {
        let links = [link(2, "eth0", LAN), link(3, "eth1", LAN)];
        let addresses = [
            address(2, "2001:db8::1", 64, 0),
            address(2, "2001:db8::2", 64, libc::IFA_F_TEMPORARY),
            address(2, "2001:db8::3", 64, libc::IFA_F_DEPRECATED),
            address(2, "fe80::1", 64, 0),
            address(2, "192.0.2.1", 24, 0),
            address(2, "192.0.2.2", 24, libc::IFA_F_SECONDARY),
            address(3, "fe80::2", 64, libc::IFA_F_TENTATIVE),
            address(3, "fe80::3", 64, libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED),
        ];

        let both = usable(&links, &addresses, &InterfaceFilter::default(), true);
        let only_v4 = usable(&links, &addresses, &InterfaceFilter::default(), false);

        let texts = |i: &[Interface]| i[0].addresses.iter().map(|a| a.address.to_string()).collect::<Vec<_>>();
        let private = usable(&links, &addresses, &InterfaceFilter { private_only: true, ..Default::default() }, true);
        assert_eq!((both.len(), only_v4.len()), (1, 1), "an interface without a ready address is none");
        assert_eq!(texts(&both), ["2001:db8::1", "fe80::1", "192.0.2.1", "192.0.2.2"]);
        assert_eq!(texts(&only_v4), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(texts(&private), ["fe80::1"], "what the Internet can reach is kept off");
    }

    #[test]
    fn the_kernels_own_tables_are_read() {
        let (links, addresses) = netlink::tables().unwrap();

        let loopback = links.iter().find(|l| l.flags & libc::IFF_LOOPBACK as u32 != 0).unwrap();
        assert_eq!(loopback.name, "lo");
        assert!(addresses.iter().all(|a| links.iter().any(|l| l.index == a.index)));
    }

    fn link(index: u32, name: &str, flags: libc::c_int) -> Link {
        Link { index, name: name.into(), flags: flags as u32 }
    }

    fn address(index: u32, address: &str, prefix_len: u8, flags: u32) -> LinkAddress {
        LinkAddress { index, address: address.parse().unwrap(), prefix_len, flags }
    }
}
