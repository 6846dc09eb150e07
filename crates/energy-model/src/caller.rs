//! Who calls an action: the `UUID` and `Address` arguments of the paper's Tables I and II.

use core::fmt;
use core::str::FromStr;

use crate::limits::{CALLER_ADDRESS_BYTES_MAX, CALLER_ID_BYTES_MAX};

/// Why a caller's identifier or address was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallerError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than the bound (bytes).
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// A space, a control character, a byte outside ASCII, or one of `< > & " '`.
    #[error("holds a character other than printable ASCII without spaces, quotes, < > and &")]
    Character,
}

fn checked(s: &str, bytes_max: usize) -> Result<&str, CallerError> {
    let s = s.trim();
    if s.is_empty() {
        Err(CallerError::Empty)
    } else if s.len() > bytes_max {
        Err(CallerError::TooLong(bytes_max))
    } else if s.bytes().all(|b| b.is_ascii_graphic() && !b"<>&\"'".contains(&b)) {
        Ok(s)
    } else {
        Err(CallerError::Character)
    }
}

/// The caller's UUID, without the `uuid:` prefix (which may be there or not when it is read). One in the form of
/// RFC 4122 is kept in lower case, so that the same caller always compares equal; foreign devices also use names that
/// are no UUID, and those are kept as they are. At most [`CALLER_ID_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CallerId(Box<str>);

impl CallerId {
    /// The identifier without prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether it has the form 8-4-4-4-12 of hexadecimal digits.
fn is_uuid(s: &str) -> bool {
    s.len() == 36
        && s.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

impl FromStr for CallerId {
    type Err = CallerError;
    fn from_str(s: &str) -> Result<Self, CallerError> {
        let s = s.trim();
        let bare = match s.get(..5) {
            Some(prefix) if prefix.eq_ignore_ascii_case("uuid:") => &s[5..],
            _ => s,
        };
        let bare = checked(bare, CALLER_ID_BYTES_MAX)?;
        Ok(Self(if is_uuid(bare) { bare.to_ascii_lowercase().into() } else { bare.into() }))
    }
}

/// The caller's own address as it wrote it: an IP literal or a host name, at most [`CALLER_ADDRESS_BYTES_MAX`] bytes.
/// It is kept for people and journals; nothing is ever sent to it, because anybody could write anything there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CallerAddress(Box<str>);

impl CallerAddress {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CallerAddress {
    type Err = CallerError;
    fn from_str(s: &str) -> Result<Self, CallerError> {
        checked(s, CALLER_ADDRESS_BYTES_MAX).map(|s| Self(s.into()))
    }
}

impl From<core::net::IpAddr> for CallerAddress {
    fn from(address: core::net::IpAddr) -> Self {
        Self(address.to_string().into())
    }
}

macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl TryFrom<String> for $name {
            type Error = CallerError;
            fn try_from(s: String) -> Result<Self, CallerError> {
                s.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
as_text!(CallerId CallerAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_is_equal_to_itself_however_it_writes_its_uuid() {
        let bare: CallerId = "2fac1234-31f8-11b4-a222-08002b34c003".parse().unwrap();
        let prefixed: CallerId = " UUID:2FAC1234-31F8-11B4-A222-08002B34C003".parse().unwrap();
        assert_eq!(bare, prefixed);
        assert_ne!("Socket-1".parse::<CallerId>(), "socket-1".parse::<CallerId>());
    }

    #[test]
    fn a_caller_that_could_break_a_log_line_or_xml_is_refused() {
        assert_eq!("uuid:".parse::<CallerId>(), Err(CallerError::Empty));
        assert_eq!("a\nb".parse::<CallerId>(), Err(CallerError::Character));
        assert_eq!("<a>".parse::<CallerAddress>(), Err(CallerError::Character));
        assert_eq!("é".parse::<CallerAddress>(), Err(CallerError::Character));
        assert_eq!("a".repeat(300).parse::<CallerId>(), Err(CallerError::TooLong(CALLER_ID_BYTES_MAX)));
        assert!("fe80::1%eth0".parse::<CallerAddress>().is_ok());
    }
}
