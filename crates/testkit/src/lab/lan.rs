//! A LAN of the lab: a bridge as the switch, and veth pairs as the cables. A virtual machine is plugged in by a tap.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use anyhow::{Context, Result};

use super::host::Host;
use super::run;

/// A bridge without multicast snooping: every host sees every group's packets, as behind the simplest switch.
#[derive(Debug, Clone)]
pub struct Lan {
    bridge: String,
    number: u8,
}

impl Lan {
    pub(crate) fn new(number: u8) -> Result<Lan> {
        let bridge = format!("lan{number}");
        run(Command::new("ip").args(["link", "add", &bridge, "type", "bridge", "mcast_snooping", "0"]))?;
        run(Command::new("ip").args(["link", "set", &bridge, "up"]))?;
        Ok(Lan { bridge, number })
    }

    /// The IPv4 address of host `number` on this LAN.
    pub fn ipv4(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 88, self.number, number)
    }

    /// The IPv6 unique local address of host `number` on this LAN.
    pub fn ipv6(&self, number: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd88, 0, 0, u16::from(self.number), 0, 0, 0, u16::from(number))
    }

    pub(crate) fn attach(&self, host: &Host, ifname: &str, number: u8) -> Result<Link> {
        let port = format!("p{}-{}-{ifname}", self.number, host.number());
        let mac = self.mac(number);
        let holder = host.holder().to_string();
        let mac_text = mac_text(&mac);
        run(Command::new("ip").args([
            "link", "add", &port, "type", "veth", "peer", "name", ifname, "address", &mac_text, "netns", &holder,
        ]))?;
        run(Command::new("ip").args(["link", "set", &port, "master", &self.bridge, "up"]))?;
        let index = index_of(&port)?;
        let link = Link { holder, ifname: ifname.to_owned(), port, index, mac, lan: self.clone(), number };
        link.address("add", number)?;
        link.in_host(&["link", "set", ifname, "up"])?;
        Ok(link)
    }

    pub(crate) fn tap(&self, number: u8) -> Result<Tap> {
        let name = format!("tap{}-{number}", self.number);
        run(Command::new("ip").args(["tuntap", "add", "dev", &name, "mode", "tap"]))?;
        run(Command::new("ip").args(["link", "set", &name, "master", &self.bridge, "up"]))?;
        let index = index_of(&name)?;
        Ok(Tap { name, index, mac: self.mac(number), ipv4: self.ipv4(number) })
    }

    fn mac(&self, number: u8) -> [u8; 6] {
        [0x52, 0x54, 0x00, 0x88, self.number, number]
    }
}

/// A host's interface, and the cable from it to the LAN.
#[derive(Debug, Clone)]
pub struct Link {
    holder: String,
    ifname: String,
    port: String,
    index: usize,
    mac: [u8; 6],
    lan: Lan,
    number: u8,
}

impl Link {
    /// The interface's name on the host.
    pub fn ifname(&self) -> &str {
        &self.ifname
    }

    /// The interface's hardware address.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The interface's IPv4 address.
    pub fn ipv4(&self) -> IpAddr {
        IpAddr::V4(self.lan.ipv4(self.number))
    }

    /// The interface's IPv6 unique local address.
    pub fn ipv6(&self) -> IpAddr {
        IpAddr::V6(self.lan.ipv6(self.number))
    }

    /// Interface number of the switch's side, by which the watcher tells the senders apart.
    pub(crate) fn port_index(&self) -> usize {
        self.index
    }

    /// Pulls the cable: the host sees no carrier, and nothing passes.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn pull(&self) -> Result<()> {
        run(Command::new("ip").args(["link", "set", &self.port, "down"])).map(drop)
    }

    /// Plugs the cable in again.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn plug(&self) -> Result<()> {
        run(Command::new("ip").args(["link", "set", &self.port, "up"])).map(drop)
    }

    /// Gives the interface the addresses of another host number, as a DHCP server would: the new ones come, then the
    /// old ones go.
    ///
    /// # Errors
    /// When the kernel refuses an address.
    pub fn renumber(&mut self, number: u8) -> Result<()> {
        self.address("add", number)?;
        self.address("del", self.number)?;
        self.number = number;
        Ok(())
    }

    fn address(&self, verb: &str, number: u8) -> Result<()> {
        let (v4, v6) = (format!("{}/24", self.lan.ipv4(number)), format!("{}/64", self.lan.ipv6(number)));
        self.in_host(&["address", verb, &v4, "dev", &self.ifname])?;
        if verb == "add" {
            // The lab never gives an address twice, so the second of waiting for others' objections is saved.
            self.in_host(&["address", verb, &v6, "dev", &self.ifname, "nodad"])
        } else {
            self.in_host(&["address", verb, &v6, "dev", &self.ifname])
        }
    }

    fn in_host(&self, arguments: &[&str]) -> Result<()> {
        run(Command::new("nsenter").args(["--target", &self.holder, "--net", "ip"]).args(arguments)).map(drop)
    }
}

/// The switch's side of a virtual machine's cable. What the machine says of itself is its own affair; `mac` and `ipv4` are
/// what the LAN has for it.
#[derive(Debug, Clone)]
pub struct Tap {
    name: String,
    index: usize,
    mac: [u8; 6],
    ipv4: Ipv4Addr,
}

impl Tap {
    /// The tap's name, in the network namespace of the lab itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hardware address for the machine's card.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The address for the machine.
    pub fn ipv4(&self) -> Ipv4Addr {
        self.ipv4
    }

    /// Interface number, by which the watcher tells the senders apart.
    pub(crate) fn port_index(&self) -> usize {
        self.index
    }
}

/// A hardware address as `52:54:00:88:00:01`.
pub fn mac_text(mac: &[u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Number of an interface of the lab itself.
fn index_of(port: &str) -> Result<usize> {
    let read = std::fs::read_to_string(format!("/sys/class/net/{port}/ifindex"));
    read.ok().and_then(|text| text.trim().parse().ok()).map_or_else(|| index_by_ip(port), Ok)
}

/// `ip -o link show` starts with the number. Used where /sys shows another namespace's interfaces.
fn index_by_ip(port: &str) -> Result<usize> {
    let text = run(Command::new("ip").args(["-o", "link", "show", "dev", port]))?;
    text.split(':').next().and_then(|n| n.trim().parse().ok()).with_context(|| format!("no number in {text:?}"))
}
