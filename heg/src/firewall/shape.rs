//! Which shape this machine has: the home's router, or a host on the LAN; and which interface is on which side. PURE.
//!
//! Being wrong costs more in one direction: a router's rules on a host would shut its other services off from the home. So
//! only a machine that forwards, whose default route leaves by a public address or a dialled line, and that has a private
//! network beside it, is taken for a router. Once it was, it stays one until a person says otherwise: a modem that reboots takes
//! the default route along, and the rules must not open up meanwhile. Nor must they shut the home out because a card was swapped.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use upnp_net::NetworkLink;

use super::prefix::{Prefix, merged};
use super::settings::{Mode, Settings};
use crate::limits::FIREWALL_LIST_MAX;

/// What the kernel says of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Every link.
    pub links: Vec<NetworkLink>,
    /// The kernel forwards between interfaces, in either family.
    pub forwarding: bool,
}

/// What earlier looks found, kept on the disk for the time before the network is up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Remembered {
    /// It was found to be a router.
    pub router: bool,
    /// Interfaces seen toward the Internet.
    pub wan: BTreeSet<String>,
    /// Interfaces seen on the home's side.
    pub inside: BTreeSet<String>,
    /// This machine's own private addresses in the home: by them the home is known again behind another card.
    pub home: BTreeSet<IpAddr>,
}

/// The shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The home's router; else a host on the LAN.
    pub router: bool,
    /// Interfaces toward the Internet.
    pub wan: BTreeSet<String>,
    /// Interfaces of the home.
    pub lan: BTreeSet<String>,
    /// Networks of this machine's own making: containers, virtual machines, tunnels that are not its way to the Internet.
    pub inner: BTreeSet<String>,
    /// The home's networks, none inside another.
    pub prefixes: Vec<Prefix>,
    /// Why this shape, for people.
    pub why: String,
}

impl Remembered {
    /// What stays of it when a person has the rules made anew: nothing, save that a router whose line is down is still one.
    pub fn when_applied(&self, settings: &Settings, facts: &Facts) -> Self {
        let line_is_down = facts.links.iter().all(|link| !link.default_route);
        let lost = self.router && line_is_down && !detect(settings, facts, &Self::default()).router;
        if lost { self.clone() } else { Self::default() }
    }
}

impl Shape {
    /// Everything that is not toward the Internet.
    pub fn inside(&self) -> BTreeSet<String> {
        self.lan.union(&self.inner).cloned().collect()
    }

    /// What to keep of it and of what was known `before`.
    pub fn remember(&self, facts: &Facts, before: &Remembered) -> Remembered {
        let link = |name: &String| facts.links.iter().find(|l| l.name == *name);
        let sure = |name: &String| link(name).is_none_or(|l| is_public(l) || is_dialled(l) || v4(l).next().is_none());
        // A private network with a way out beside a public line may be a cable in the wrong socket: it counts while it lasts.
        let proved = self.wan.iter().any(|name| link(name).is_some_and(|l| is_public(l) || is_dialled(l)));
        let wan = self.wan.iter().filter(|name| !proved || sure(name) || before.wan.contains(*name));
        // What this machine makes for itself is known by its kind; only the home's interfaces may be bare at boot.
        let inside = self.lan.iter().chain(self.inner.intersection(&before.inside));
        // Names that come and go (a modem's stick) must not fill the file: those that are there come first.
        let some = |names: Vec<&String>| -> BTreeSet<String> {
            let (there, gone): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| link(name).is_some());
            there.into_iter().chain(gone).take(FIREWALL_LIST_MAX).cloned().collect()
        };
        let own = |name: &String| link(name).into_iter().flat_map(own_addresses).collect::<Vec<_>>();
        let mut home: BTreeSet<IpAddr> = self.lan.iter().flat_map(own).collect();
        let left = FIREWALL_LIST_MAX.saturating_sub(home.len());
        home.extend(before.home.iter().take(left).copied());
        Remembered { router: self.router, wan: some(wan.collect()), inside: some(inside.collect()), home }
    }
}

/// The shape that fits settings and facts.
pub fn detect(settings: &Settings, facts: &Facts, remembered: &Remembered) -> Shape {
    let links: Vec<&NetworkLink> = facts.links.iter().filter(|l| l.up && !l.loopback && l.master.is_none()).collect();
    let named = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
    let (router, why) = is_router(settings, facts, &links, remembered);
    let mut wan = named(&settings.wan_interfaces);
    if router && settings.wan_interfaces.is_empty() {
        wan = outside(&links, &facts.links, remembered);
        wan.retain(|name| !settings.lan_interfaces.contains(name));
    }
    let is_wan = |l: &NetworkLink| wan.contains(&l.name);
    let lan = if settings.lan_interfaces.is_empty() {
        let home = links.iter().filter(|l| !is_wan(l) && !is_inner(l, &facts.links) && is_home(l));
        home.map(|l| l.name.clone()).collect()
    } else {
        named(&settings.lan_interfaces)
    };
    let mut inner: BTreeSet<String> = links
        .iter()
        .filter(|l| !is_wan(l) && !lan.contains(&l.name) && is_inner(l, &facts.links))
        .map(|l| l.name.clone())
        .collect();
    if router && settings.lan_interfaces.is_empty() {
        // At boot an interface of the home may have no address yet.
        let bare = |name: &String| facts.links.iter().all(|l| l.name != *name || l.addresses.is_empty());
        inner.extend(remembered.inside.iter().filter(|n| !wan.contains(*n) && !lan.contains(*n) && bare(n)).cloned());
    }
    let prefixes = facts.links.iter().filter(|l| lan.contains(&l.name)).flat_map(networks);
    Shape { router, prefixes: merged(prefixes), wan, lan, inner, why }
}

/// The WAN side of a router where nobody has named it. Names are remembered over a line that is down, but a name is no proof:
/// cards are swapped and routes go astray, and the home must not be shut out for it.
fn outside(links: &[&NetworkLink], all: &[NetworkLink], remembered: &Remembered) -> BTreeSet<String> {
    let carries_home = |l: &NetworkLink| !is_public(l) && own_addresses(l).any(|a| remembered.home.contains(&a));
    let out = |l: &NetworkLink| leads_out(l) && !is_inner(l, all);
    let proved = |l: &NetworkLink| l.default_route && out(l) && (is_public(l) || is_dialled(l));
    let another = |l: &NetworkLink, is: &dyn Fn(&NetworkLink) -> bool| links.iter().any(|o| o.name != l.name && is(o));
    // Our own address in the home is the home's side, where it was before or while the Internet is seen elsewhere: alone, a
    // provider could give out the same one.
    let at_home = |l: &NetworkLink| {
        carries_home(l) && (remembered.inside.contains(&l.name) || another(l, &|o| out(o) && !carries_home(o)))
    };
    let is_wan = |l: &NetworkLink| (out(l) || remembered.wan.contains(&l.name)) && !at_home(l);
    let absent = remembered.wan.iter().filter(|name| links.iter().all(|l| l.name != **name));
    let mut wan: BTreeSet<String> =
        absent.cloned().chain(links.iter().filter(|l| is_wan(l)).map(|l| l.name.clone())).collect();
    // Renumbered and swapped at once: what only its name speaks against is the home, if there is no other.
    if !links.iter().any(|l| !wan.contains(&l.name) && !is_inner(l, all) && is_home(l)) {
        let home = |l: &NetworkLink| is_home(l) && own_addresses(l).next().is_some() && !out(l) && another(l, &proved);
        wan.retain(|name| !links.iter().any(|l| l.name == *name && home(l)));
    }
    wan
}

fn is_router(settings: &Settings, facts: &Facts, links: &[&NetworkLink], remembered: &Remembered) -> (bool, String) {
    match settings.mode {
        Mode::Router => return (true, "set by `mode`".to_owned()),
        Mode::Host | Mode::Off => return (false, "set by `mode`".to_owned()),
        Mode::Auto => {}
    }
    let out = links.iter().find(|l| {
        let named = settings.wan_interfaces.contains(&l.name);
        l.default_route && !is_inner(l, &facts.links) && (named || is_public(l) || is_dialled(l))
    });
    let home = links.iter().find(|l| !l.default_route && !is_inner(l, &facts.links) && is_home(l));
    match (facts.forwarding, out, home) {
        (true, Some(out), Some(home)) => (
            true,
            format!("it forwards, its way to the Internet is {}, and {} is a home's network", out.name, home.name),
        ),
        _ if remembered.router => (true, "it was found to be a router before".to_owned()),
        (false, ..) => (false, "it forwards nothing".to_owned()),
        (_, None, _) => (false, "it has no public address of its own".to_owned()),
        (.., None) => (false, "it has no second network".to_owned()),
    }
}

/// It is, or looks like, a way to the Internet.
fn leads_out(link: &NetworkLink) -> bool {
    link.default_route || is_public(link)
}

/// It has an IPv4 address that is not private. An IPv6 one says nothing: every host at home has it.
fn is_public(link: &NetworkLink) -> bool {
    v4(link).any(|a| !is_private(a))
}

/// A line to one other end that is no tunnel: PPP over a modem.
fn is_dialled(link: &NetworkLink) -> bool {
    link.point_to_point && matches!(link.kind.as_deref(), None | Some("ppp"))
}

/// A network of a home: private in IPv4, or without IPv4.
fn is_home(link: &NetworkLink) -> bool {
    !link.point_to_point && !is_public(link) && !link.addresses.is_empty()
}

/// Made by software on this machine for itself: no cable or radio is behind it.
fn is_inner(link: &NetworkLink, all: &[NetworkLink]) -> bool {
    const OWN_KINDS: [&str; 5] = ["dummy", "ifb", "nlmon", "vxlan", "vrf"];
    const TUNNELS: [&str; 6] = ["tun", "wireguard", "gre", "ipip", "sit", "xfrm"];
    // The home's side of a router is often a bridge; one of containers has only their virtual cables.
    const VIRTUAL_CABLES: [&str; 3] = ["veth", "tun", "macvtap"];
    match link.kind.as_deref() {
        Some("bridge") => !all.iter().any(|port| {
            port.master.as_ref() == Some(&link.name)
                && port.kind.as_deref().is_none_or(|k| !VIRTUAL_CABLES.contains(&k))
        }),
        Some(kind) if OWN_KINDS.contains(&kind) => true,
        Some(kind) if TUNNELS.contains(&kind) => !link.default_route,
        _ => false,
    }
}

/// The networks on a link of the home. Link-local ones are the same everywhere and stand in the rules.
fn networks(link: &NetworkLink) -> Vec<Prefix> {
    let of_addresses = link.addresses.iter().map(|a| (a.address, a.prefix_len));
    let networks =
        of_addresses.chain(link.on_link.iter().copied()).filter_map(|(address, bits)| Prefix::new(address, bits));
    let useful = |p: &Prefix| match p.address() {
        _ if p.bits() == 0 => false,
        IpAddr::V4(a) => !a.is_loopback() && !a.is_multicast(),
        IpAddr::V6(a) => !a.is_loopback() && !a.is_multicast() && !a.is_unicast_link_local(),
    };
    networks.filter(useful).collect()
}

fn v4(link: &NetworkLink) -> impl Iterator<Item = Ipv4Addr> + '_ {
    link.addresses.iter().filter_map(|a| match a.address {
        IpAddr::V4(a) => Some(a),
        IpAddr::V6(_) => None,
    })
}

/// Private addresses that somebody gave it: what 169.254/16 and fe80::/10 hold is the same everywhere.
fn own_addresses(link: &NetworkLink) -> impl Iterator<Item = IpAddr> + '_ {
    link.addresses.iter().map(|a| a.address).filter(|a| match a {
        IpAddr::V4(a) => a.is_private(),
        IpAddr::V6(a) => a.is_unique_local(),
    })
}

/// Private (RFC 1918) or made up by the host itself (169.254/16). Addresses shared behind a provider's translation (100.64/10)
/// are the provider's side.
fn is_private(a: Ipv4Addr) -> bool {
    a.is_private() || a.is_link_local() || a.is_loopback()
}

#[cfg(test)]
mod tests {
    use upnp::net::InterfaceAddress;

    use super::*;

    fn link(name: &str, kind: Option<&str>, addresses: &[&str], default_route: bool) -> NetworkLink {
        let addresses = addresses.iter().map(|text| {
            let (address, bits) = text.split_once('/').unwrap();
            InterfaceAddress { address: address.parse().unwrap(), prefix_len: bits.parse().unwrap() }
        });
        NetworkLink {
            name: name.into(),
            up: true,
            kind: kind.map(str::to_owned),
            addresses: addresses.collect(),
            default_route,
            ..NetworkLink::default()
        }
    }

    fn port(name: &str, kind: Option<&str>, of: &str) -> NetworkLink {
        NetworkLink { master: Some(of.into()), ..link(name, kind, &[], false) }
    }

    fn auto(links: Vec<NetworkLink>, forwarding: bool) -> Shape {
        detect(&Settings::default(), &Facts { links, forwarding }, &Remembered::default())
    }

    fn remember(shape: &Shape, links: &[NetworkLink]) -> Remembered {
        shape.remember(&Facts { links: links.to_vec(), forwarding: true }, &Remembered::default())
    }

    /// Sides of `links` by what is known, WAN and then LAN, and what is known after it.
    fn sides(links: &[NetworkLink], known: &mut Remembered) -> (Vec<String>, Vec<String>) {
        let facts = Facts { links: links.to_vec(), forwarding: true };
        let shape = detect(&Settings::default(), &facts, known);
        assert!(shape.router, "{}", shape.why);
        *known = shape.remember(&facts, known);
        (shape.wan.into_iter().collect(), shape.lan.into_iter().collect())
    }

    fn both(wan: &[&str], lan: &[&str]) -> (Vec<String>, Vec<String>) {
        let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        (owned(wan), owned(lan))
    }

    fn names(set: &BTreeSet<String>) -> Vec<&str> {
        set.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_pi_behind_the_providers_router_is_a_host_whatever_runs_on_it() {
        let eth0 = || link("eth0", None, &["192.168.1.7/24", "2001:db8:1::7/64", "fe80::7/64"], true);
        let docker = || link("docker0", Some("bridge"), &["172.17.0.1/16"], false);
        let access_point = || link("wlan0", None, &["192.168.4.1/24"], false);
        let shape = auto(vec![eth0(), docker(), port("veth1", Some("veth"), "docker0")], true);
        assert!(!shape.router, "{}", shape.why);
        assert_eq!(
            (names(&shape.lan), names(&shape.inner), names(&shape.wan)),
            (vec!["eth0"], vec!["docker0"], vec![])
        );
        let texts: Vec<_> = shape.prefixes.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["192.168.1.0/24", "2001:db8:1::/64"]);
        // An access point of its own behind a home's LAN: closing eth0 would cut its services off from the home.
        assert!(!auto(vec![eth0(), access_point()], true).router);
        // Both ways into the same LAN.
        assert!(!auto(vec![eth0(), link("wlan0", None, &["192.168.1.8/24"], true)], false).router);
    }

    #[test]
    fn a_machine_between_a_public_line_and_a_private_network_is_a_router() {
        let wan = || link("eth0", None, &["203.0.113.5/24", "fe80::1/64"], true);
        let lan = || link("br0", Some("bridge"), &["192.168.1.1/24", "fd00::1/64"], false);
        let shape = auto(
            vec![wan(), lan(), port("eth1", None, "br0"), link("wg0", Some("wireguard"), &["10.9.0.1/24"], false)],
            true,
        );
        assert!(shape.router, "{}", shape.why);
        assert_eq!(
            (names(&shape.wan), names(&shape.lan), names(&shape.inner)),
            (vec!["eth0"], vec!["br0"], vec!["wg0"])
        );
        assert!(!auto(vec![wan(), lan(), port("eth1", None, "br0")], false).router, "it forwards nothing");
        let dialled = NetworkLink { point_to_point: true, ..link("ppp0", Some("ppp"), &["100.64.1.2/32"], true) };
        assert!(auto(vec![dialled, link("eth0", None, &["10.0.0.1/24"], false)], true).router);
        // All of the Internet through a tunnel: the tunnel is the way out, and the card below stays one.
        let vpn = NetworkLink { point_to_point: true, ..link("tun0", Some("tun"), &["10.8.0.2/24"], true) };
        assert_eq!(
            names(&auto(vec![vpn, wan(), link("eth1", None, &["10.0.0.1/24"], false)], true).wan),
            ["eth0", "tun0"]
        );
    }

    #[test]
    fn vlans_are_the_home_and_a_tunnel_to_a_provider_is_not_of_our_own_making() {
        let wan = link("eth0.7", Some("vlan"), &["203.0.113.5/24"], true);
        let lan = link("eth0.10", Some("vlan"), &["192.168.10.1/24"], false);
        let guests = link("br-guests", Some("bridge"), &["192.168.20.1/24"], false);
        let card = link("eth0", None, &[], false);
        let tunnel =
            |out| NetworkLink { point_to_point: true, ..link("wg0", Some("wireguard"), &["10.9.0.2/32"], out) };
        let all = |tunnel| {
            let ports = port("eth0.20", Some("vlan"), "br-guests");
            auto(vec![card.clone(), wan.clone(), lan.clone(), guests.clone(), ports, tunnel], true)
        };
        let shape = all(tunnel(false));
        assert_eq!((names(&shape.wan), names(&shape.lan)), (vec!["eth0.7"], vec!["br-guests", "eth0.10"]));
        assert_eq!(names(&shape.inner), ["wg0"], "to who is away from home");
        let shape = all(tunnel(true));
        assert_eq!(
            (names(&shape.wan), names(&shape.inner)),
            (vec!["eth0.7", "wg0"], vec![]),
            "all of the Internet is behind it"
        );
    }

    #[test]
    fn a_server_with_a_public_address_has_no_lan() {
        let shape = auto(vec![link("eth0", None, &["203.0.113.5/24", "2001:db8::5/64"], true)], false);
        assert!(!shape.router && shape.lan.is_empty() && shape.prefixes.is_empty() && shape.wan.is_empty());
    }

    #[test]
    fn a_router_stays_one_while_its_line_is_down_and_before_its_network_is_up() {
        let settings = Settings::default();
        let before = auto(
            vec![link("eth0", None, &["203.0.113.5/24"], true), link("eth1", None, &["192.168.1.1/24"], false)],
            true,
        );
        let remembered = remember(&before, &[]);
        let down =
            vec![link("eth0", None, &["192.168.100.2/24"], false), link("eth1", None, &["192.168.1.1/24"], false)];
        let shape = detect(&settings, &Facts { links: down.clone(), forwarding: true }, &remembered);
        assert_eq!(
            (shape.router, names(&shape.wan), names(&shape.lan)),
            (true, vec!["eth0"], vec!["eth1"]),
            "a modem's own address"
        );
        let bare = vec![link("eth0", None, &[], false), link("eth1", None, &[], false)];
        let shape = detect(&settings, &Facts { links: bare, forwarding: false }, &remembered);
        assert_eq!(
            (shape.router, names(&shape.wan), names(&shape.inside().clone())),
            (true, vec!["eth0"], vec!["eth1"])
        );
        // Forgotten when a person has the rules made anew.
        assert!(!detect(&settings, &Facts { links: down, forwarding: true }, &Remembered::default()).router);
    }

    #[test]
    fn the_home_stays_inside_when_cards_are_swapped_or_a_route_goes_astray() {
        let wan = |name| link(name, None, &["203.0.113.5/24"], true);
        let lan = |name, out| link(name, None, &["192.168.1.1/24", "2001:db8:1::1/64"], out);
        let mut known = Remembered::default();
        assert_eq!(sides(&[wan("eth0"), lan("eth1", false)], &mut known), both(&["eth0"], &["eth1"]));
        let first = known.clone();
        // Another router on the LAN announces itself, also while the line is down, and with another LAN beside.
        assert_eq!(sides(&[wan("eth0"), lan("eth1", true)], &mut known), both(&["eth0"], &["eth1"]));
        let down = link("eth0", None, &[], false);
        assert_eq!(sides(&[down, lan("eth1", true)], &mut known), both(&["eth0"], &["eth1"]));
        let guests = link("eth2", None, &["192.168.2.1/24"], false);
        assert_eq!(sides(&[wan("eth0"), lan("eth1", true), guests], &mut known), both(&["eth0"], &["eth1", "eth2"]));
        // The kernel gives the cards each other's names: at first nothing is on the new line, then its address comes.
        let silent = link("eth1", None, &[], false);
        assert_eq!(sides(&[lan("eth0", false), silent], &mut known).0, ["eth0"], "not before there is a proof");
        assert_eq!(sides(&[lan("eth0", false), wan("eth1")], &mut known), both(&["eth1"], &["eth0"]));
        assert_eq!((names(&known.wan), names(&known.inside)), (vec!["eth1"], vec!["eth0", "eth2"]));
        // Swapped and renumbered, and with what an earlier version has stored.
        let renumbered = || link("eth0", None, &["192.168.50.1/24"], false);
        for stored in [first.clone(), Remembered { home: BTreeSet::new(), ..first.clone() }] {
            assert_eq!(sides(&[renumbered(), wan("eth1")], &mut stored.clone()), both(&["eth1"], &["eth0"]));
        }
        // A provider that gives out our own address of the home does not become the home.
        let taken = link("eth0", None, &["192.168.1.1/24"], true);
        assert_eq!(sides(&[taken, link("eth1", None, &[], false)], &mut first.clone()).0, ["eth0"]);
    }

    #[test]
    fn a_second_line_is_outside_while_it_leads_out_and_a_first_one_also_while_it_is_down() {
        let line = |name| link(name, None, &["203.0.113.5/24"], true);
        let lan = || link("eth1", None, &["192.168.1.1/24"], false);
        let stick = |out| link("usb0", None, &["192.168.8.100/24"], out);
        let mut known = Remembered::default();
        assert_eq!(sides(&[line("eth0"), lan(), stick(true)], &mut known), both(&["eth0", "usb0"], &["eth1"]));
        // It was only a cable in the wrong socket.
        assert_eq!(sides(&[line("eth0"), lan(), stick(false)], &mut known), both(&["eth0"], &["eth1", "usb0"]));
        let mut known = Remembered::default();
        sides(&[line("eth0"), line("eth2"), lan()], &mut known);
        let modem = link("eth0", None, &["192.168.100.2/24"], false);
        assert_eq!(sides(&[modem, line("eth2"), lan()], &mut known), both(&["eth0", "eth2"], &["eth1"]));
    }

    #[test]
    fn settings_applied_while_the_line_is_down_do_not_open_a_router() {
        let lan = || link("eth1", None, &["192.168.1.1/24"], false);
        let mut known = Remembered::default();
        sides(&[link("eth0", None, &["203.0.113.5/24"], true), lan()], &mut known);
        let applied = |links: Vec<NetworkLink>, settings: &Settings| {
            let facts = Facts { links, forwarding: true };
            detect(settings, &facts, &known.when_applied(settings, &facts))
        };
        let down = || vec![link("eth0", None, &[], false), lan()];
        let shape = applied(down(), &Settings::default());
        assert_eq!((shape.router, names(&shape.wan)), (true, vec!["eth0"]));
        assert!(!applied(down(), &Settings { mode: Mode::Host, ..Settings::default() }).router, "said so");
        // Behind another router now.
        assert!(!applied(vec![link("eth0", None, &["192.168.7.2/24"], true), lan()], &Settings::default()).router);
    }

    #[test]
    fn names_that_come_and_go_do_not_fill_the_memory() {
        let mut known = Remembered::default();
        let line = link("eth0", None, &["203.0.113.5/24"], true);
        let lan = link("eth1", None, &["192.168.1.1/24"], false);
        for n in 0..200 {
            let containers = link(&format!("br-{n:012x}"), Some("bridge"), &["172.18.0.1/16"], false);
            let stick = link(&format!("enx{n:08x}"), None, &["198.51.100.7/24"], true);
            sides(&[line.clone(), lan.clone(), containers, stick], &mut known);
        }
        assert_eq!(names(&known.inside), ["eth1"]);
        assert!(known.wan.len() <= FIREWALL_LIST_MAX && known.wan.contains("eth0"), "{}", known.wan.len());
    }

    #[test]
    fn what_is_named_wins_over_what_is_found() {
        let links = vec![link("eth0", None, &["192.168.1.7/24"], true), link("eth1", None, &["192.168.2.1/24"], false)];
        let facts = Facts { links, forwarding: true };
        let named = Settings { wan_interfaces: vec!["eth0".into()], ..Settings::default() };
        let shape = detect(&named, &facts, &Remembered::default());
        assert_eq!((shape.router, names(&shape.wan), names(&shape.lan)), (true, vec!["eth0"], vec!["eth1"]));
        let host = Settings { mode: Mode::Host, lan_interfaces: vec!["eth1".into()], ..Settings::default() };
        let shape = detect(&host, &facts, &shape.remember(&facts, &Remembered::default()));
        assert_eq!((shape.router, names(&shape.wan), names(&shape.lan)), (false, vec![], vec!["eth1"]));
        assert_eq!(shape.prefixes.len(), 1);
    }
}
