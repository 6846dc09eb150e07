//! An IPv4 or IPv6 network: `192.168.1.0/24`, `fd00::/8`, or one address. PURE.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network by its first address and prefix length; no bit is set beyond the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

/// A text that is no [`Prefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address or a network like 192.0.2.0/24 or 2001:db8::/48")]
pub struct PrefixError;

impl Prefix {
    /// The network of `bits` bits that `address` is in; `None` when the family has fewer bits.
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(a) => {
                let low = 32u32.checked_sub(bits.into())?;
                IpAddr::V4(Ipv4Addr::from(u32::from(a) & u32::MAX.checked_shl(low).unwrap_or(0)))
            }
            IpAddr::V6(a) => {
                let low = 128u32.checked_sub(bits.into())?;
                IpAddr::V6(Ipv6Addr::from(u128::from(a) & u128::MAX.checked_shl(low).unwrap_or(0)))
            }
        };
        Some(Self { address, bits })
    }

    /// One address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Prefix length.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// Whether every address of `other` is in it too.
    pub fn covers(self, other: Self) -> bool {
        self.bits <= other.bits && Self::new(other.address, self.bits) == Some(self)
    }
}

/// The same addresses with no network inside another: the kernel's interval sets take no overlap.
pub fn merged(prefixes: impl IntoIterator<Item = Prefix>) -> Vec<Prefix> {
    let mut all: Vec<Prefix> = prefixes.into_iter().collect();
    all.sort_by_key(|p| (p.bits, p.address));
    let mut kept: Vec<Prefix> = Vec::new();
    for prefix in all {
        if !kept.iter().any(|k| k.covers(prefix)) {
            kept.push(prefix);
        }
    }
    kept.sort();
    kept
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;
    fn from_str(s: &str) -> Result<Self, PrefixError> {
        match s.split_once('/') {
            None => s.parse().map(Self::host).map_err(|_| PrefixError),
            Some((address, bits)) => {
                let address = address.parse().map_err(|_| PrefixError)?;
                let bits = bits.parse().map_err(|_| PrefixError)?;
                // A bit beyond the prefix is a slip of the pen, and which one was meant can't be known.
                Self::new(address, bits).filter(|p| p.address == address).ok_or(PrefixError)
            }
        }
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;
    fn try_from(s: String) -> Result<Self, PrefixError> {
        s.parse()
    }
}

impl From<Prefix> for String {
    fn from(p: Prefix) -> Self {
        p.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(s: &str) -> Prefix {
        s.parse().unwrap()
    }

    #[test]
    fn networks_are_read_and_written_and_wrong_ones_refused() {
        for (text, want) in
            [("10.0.0.0/8", "10.0.0.0/8"), ("::/0", "::/0"), ("192.0.2.7", "192.0.2.7/32"), ("fd00::1", "fd00::1/128")]
        {
            assert_eq!(p(text).to_string(), want);
        }
        for bad in ["", "10.0.0.1/8", "10.0.0.0/33", "fd00::/129", "10.0.0.0/-1", "example.org", "10.0.0.0/8/8"] {
            assert_eq!(bad.parse::<Prefix>(), Err(PrefixError), "{bad:?}");
        }
    }

    #[test]
    fn a_network_inside_another_is_merged_into_it() {
        let all = ["192.168.1.0/24", "192.168.0.0/16", "fd00::1", "fd00::/64", "10.0.0.0/8", "192.168.1.0/24"].map(p);
        assert_eq!(merged(all), ["10.0.0.0/8", "192.168.0.0/16", "fd00::/64"].map(p));
        assert!(p("0.0.0.0/0").covers(p("255.255.255.255")) && !p("0.0.0.0/0").covers(p("::1")));
    }
}
