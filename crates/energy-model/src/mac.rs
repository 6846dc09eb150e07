//! The hardware address of an appliance's network interface.

use core::fmt;
use core::str::FromStr;

/// Why a hardware address was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MacError {
    /// Not six pairs of hexadecimal digits, all parted by `:` or all by `-`.
    #[error("expected a MAC address as aa:bb:cc:dd:ee:ff")]
    Form,
    /// All zero, or a group (multicast, broadcast) address.
    #[error("not the address of one interface: all zero, multicast or broadcast")]
    NotOneInterface,
}

/// A 48-bit EUI of one interface: never zero, never a group address. Written in lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// From its bytes in the order of transmission.
    pub fn new(octets: [u8; 6]) -> Result<Self, MacError> {
        if octets == [0; 6] || octets[0] & 1 == 1 { Err(MacError::NotOneInterface) } else { Ok(Self(octets)) }
    }

    /// Its bytes in the order of transmission.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for MacAddress {
    type Err = MacError;
    fn from_str(s: &str) -> Result<Self, MacError> {
        let separator = *s.as_bytes().get(2).ok_or(MacError::Form)?;
        if s.len() != 17 || !s.is_ascii() || !matches!(separator, b':' | b'-') {
            return Err(MacError::Form);
        }
        let mut octets = [0; 6];
        for (octet, pair) in octets.iter_mut().zip(s.as_bytes().chunks(3)) {
            if pair.get(2).is_some_and(|&b| b != separator) {
                return Err(MacError::Form);
            }
            let digit = |b: u8| char::from(b).to_digit(16).ok_or(MacError::Form);
            *octet = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Self::new(octets)
    }
}

impl TryFrom<String> for MacAddress {
    type Error = MacError;
    fn try_from(s: String) -> Result<Self, MacError> {
        s.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_usual_ways_of_writing_are_read() {
        let mac: MacAddress = "52:54:00:AB:cd:0f".parse().unwrap();
        assert_eq!("52-54-00-ab-CD-0F".parse(), Ok(mac));
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:0f");
    }

    #[test]
    fn what_is_not_the_address_of_one_interface_is_refused() {
        for bad in ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb"] {
            assert_eq!(bad.parse::<MacAddress>(), Err(MacError::NotOneInterface), "{bad}");
        }
        for bad in [
            "",
            "52",
            "52:54:00:ab:cd",
            "52:54-00:ab:cd:0f",
            "52:54:00:ab:cd:0f:11",
            "5254.00ab.cd0f",
            "+2:54:00:ab:cd:0f",
            "éé:54:00:ab:cd:0",
        ] {
            assert_eq!(bad.parse::<MacAddress>(), Err(MacError::Form), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_address_reads_back_as_written(octets in any::<[u8; 6]>()) {
            if let Ok(mac) = MacAddress::new(octets) {
                prop_assert_eq!(mac.to_string().parse::<MacAddress>(), Ok(mac));
            }
        }

        #[test]
        fn no_text_makes_parsing_panic(s in ".{0,20}") {
            let _ = s.parse::<MacAddress>();
        }
    }
}
