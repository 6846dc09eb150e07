//! `[firewall]` of the configuration: what a person may set, and what does not go together. PURE.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use super::prefix::Prefix;
use crate::limits::FIREWALL_LIST_MAX;

/// Bytes of an interface name (IFNAMSIZ less the zero).
const INTERFACE_NAME_BYTES_MAX: usize = 15;

/// Which shape the rules have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Found out from interfaces, addresses and routes.
    #[default]
    Auto,
    /// The home's router: WAN on one side, LAN on the other.
    Router,
    /// A host on the LAN.
    Host,
    /// No rules at all.
    Off,
}

/// What becomes of services on the LAN side that are not the gateway's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LanInput {
    /// They stay as they were.
    #[default]
    Keep,
    /// Closed, save for SSH, DHCP, DNS, mDNS and the ports named.
    Closed,
}

/// What becomes of SSH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ssh {
    /// Open on the LAN side; on the WAN side for sources with a connection open when the rules were changed.
    #[default]
    Keep,
    /// Open on the LAN side only.
    Lan,
}

/// `[firewall]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Which shape.
    pub mode: Mode,
    /// Interfaces toward the Internet; none: those with a default route.
    pub wan_interfaces: Vec<String>,
    /// Interfaces of the home; none: those with a private address.
    pub lan_interfaces: Vec<String>,
    /// As router: hide the LAN's IPv4 addresses behind the WAN's.
    pub masquerade: bool,
    /// Other services on the LAN side.
    pub lan_input: LanInput,
    /// TCP ports open on the LAN side where `lan_input` is closed.
    pub lan_tcp: Vec<u16>,
    /// The same for UDP.
    pub lan_udp: Vec<u16>,
    /// TCP ports open on the WAN side.
    pub wan_tcp: Vec<u16>,
    /// The same for UDP.
    pub wan_udp: Vec<u16>,
    /// SSH.
    pub ssh: Ssh,
    /// Ports on which SSH is served.
    pub ssh_ports: Vec<u16>,
    /// Whom the endpoint for sealed messages (`utility.listen`) is open to; none: everybody, each at a bounded rate.
    pub utility_addresses: Vec<Prefix>,
    /// A change that nobody confirms within this is taken back, s.
    pub confirm_within_s: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            wan_interfaces: vec![],
            lan_interfaces: vec![],
            masquerade: false,
            lan_input: LanInput::Keep,
            lan_tcp: vec![],
            lan_udp: vec![],
            wan_tcp: vec![],
            wan_udp: vec![],
            ssh: Ssh::Keep,
            ssh_ports: vec![22],
            utility_addresses: vec![],
            confirm_within_s: 60,
        }
    }
}

impl Settings {
    /// Finds values that are no interface or port, and keys that do not go together: key and what is wrong.
    ///
    /// # Errors
    /// The first such key.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let names = [("wan-interfaces", &self.wan_interfaces), ("lan-interfaces", &self.lan_interfaces)];
        for (key, list) in names {
            if list.len() > FIREWALL_LIST_MAX {
                return Err((key, format!("expected at most {FIREWALL_LIST_MAX}")));
            }
            if let Some(name) = list.iter().find(|n| !is_interface_name(n)) {
                return Err((key, format!("{name:?} is no interface name")));
            }
        }
        if let Some(both) = self.lan_interfaces.iter().find(|i| self.wan_interfaces.contains(i)) {
            return Err(("lan-interfaces", format!("{both} is in `wan-interfaces` too")));
        }
        let ports = [
            ("lan-tcp", &self.lan_tcp),
            ("lan-udp", &self.lan_udp),
            ("wan-tcp", &self.wan_tcp),
            ("wan-udp", &self.wan_udp),
            ("ssh-ports", &self.ssh_ports),
        ];
        for (key, list) in ports {
            if list.len() > FIREWALL_LIST_MAX {
                return Err((key, format!("expected at most {FIREWALL_LIST_MAX}")));
            }
            if list.contains(&0) {
                return Err((key, "expected ports from 1 to 65535".to_owned()));
            }
        }
        if self.utility_addresses.len() > FIREWALL_LIST_MAX {
            return Err(("utility-addresses", format!("expected at most {FIREWALL_LIST_MAX}")));
        }
        if !(5..=3600).contains(&self.confirm_within_s) {
            return Err(("confirm-within-s", "expected 5 to 3600".to_owned()));
        }
        if self.masquerade && self.mode == Mode::Host {
            return Err(("masquerade", "only a router can; `mode` is \"host\"".to_owned()));
        }
        Ok(())
    }
}

/// What the kernel takes as a name; quotes and white space would moreover need care in every message.
fn is_interface_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '"' | '*' | '\\' | ':');
    !name.is_empty() && name.len() <= INTERFACE_NAME_BYTES_MAX && name.chars().all(fine) && !matches!(name, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_names_ports_and_pairs_are_refused_by_key() {
        let check = |change: fn(&mut Settings)| {
            let mut s = Settings::default();
            change(&mut s);
            s.check().map_err(|(key, _)| key)
        };
        assert_eq!(check(|_| {}), Ok(()));
        assert_eq!(check(|s| s.wan_interfaces = vec!["eth0 ".into()]), Err("wan-interfaces"));
        assert_eq!(check(|s| s.lan_interfaces = vec!["averylonginterface".into()]), Err("lan-interfaces"));
        assert_eq!(check(|s| s.lan_interfaces = vec!["eth*".into()]), Err("lan-interfaces"));
        assert_eq!(check(|s| s.confirm_within_s = 4), Err("confirm-within-s"));
        assert_eq!(check(|s| s.wan_tcp = vec![22, 0]), Err("wan-tcp"));
        assert_eq!(check(|s| s.ssh_ports = vec![22; 65]), Err("ssh-ports"));
        assert_eq!(check(|s| (s.masquerade, s.mode) = (true, Mode::Host)), Err("masquerade"));
        let both = |s: &mut Settings| (s.wan_interfaces, s.lan_interfaces) = (vec!["a".into()], vec!["a".into()]);
        assert_eq!(check(both), Err("lan-interfaces"));
    }
}
