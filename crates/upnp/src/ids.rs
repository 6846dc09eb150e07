//! Names on the wire: UDN, URN of device and service types, SID.

use core::fmt;
use std::sync::Arc;

use crate::limits::NAME_BYTES_MAX;

/// Why a name from outside was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Empty, too long, or a character that may not stand in a header or an XML attribute.
    #[error("not a name of 1 to {NAME_BYTES_MAX} printable characters")]
    Characters,
    /// The fixed part of the form is missing.
    #[error("expected the form {0}")]
    Form(&'static str),
}

fn printable(s: &str) -> Result<&str, NameError> {
    let s = s.trim();
    let ok = !s.is_empty()
        && s.len() <= NAME_BYTES_MAX
        && s.bytes().all(|b| (0x21..0x7f).contains(&b) && !b"<>&\"'".contains(&b));
    if ok { Ok(s) } else { Err(NameError::Characters) }
}

/// Unique Device Name: `uuid:` and an identifier (UDA 1.1, 1.1.4). Foreign devices use identifiers that are no UUID
/// (WeMo: `uuid:Socket-1_0-...`), so any printable name of at most [`NAME_BYTES_MAX`] bytes is taken. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Udn(Arc<str>);

impl Udn {
    /// Takes `uuid:NAME`; the prefix in any case.
    pub fn parse(s: &str) -> Result<Self, NameError> {
        let s = printable(s)?;
        match s.get(..5) {
            Some(p) if p.eq_ignore_ascii_case("uuid:") && s.len() > 5 => Ok(Self(format!("uuid:{}", &s[5..]).into())),
            _ => Err(NameError::Form("uuid:NAME")),
        }
    }

    /// The whole name with its `uuid:` prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without the `uuid:` prefix.
    pub fn bare(&self) -> &str {
        &self.0[5..]
    }
}

impl fmt::Display for Udn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Udn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a [`TypeUrn`] names a device or a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `urn:DOMAIN:device:NAME:VERSION`
    Device,
    /// `urn:DOMAIN:service:NAME:VERSION`
    Service,
}

/// A device or service type: `urn:DOMAIN:device|service:NAME:VERSION` (UDA 1.1, 2.3 and 2.5).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeUrn {
    domain: Arc<str>,
    kind: Kind,
    name: Arc<str>,
    version: u32,
}

impl TypeUrn {
    /// Takes the text of a `deviceType` or `serviceType` element, an ST or an NT.
    pub fn parse(s: &str) -> Result<Self, NameError> {
        const FORM: NameError = NameError::Form("urn:DOMAIN:device|service:NAME:VERSION");
        let s = printable(s)?;
        let mut parts = s.split(':');
        let (urn, domain, kind, name, version) = (parts.next(), parts.next(), parts.next(), parts.next(), parts.next());
        if !urn.is_some_and(|u| u.eq_ignore_ascii_case("urn")) || parts.next().is_some() {
            return Err(FORM);
        }
        let kind = match kind {
            Some("device") => Kind::Device,
            Some("service") => Kind::Service,
            _ => return Err(FORM),
        };
        let (Some(domain), Some(name), Some(version)) = (domain, name, version) else {
            return Err(FORM);
        };
        if domain.is_empty() || name.is_empty() || !version.bytes().all(|b| b.is_ascii_digit()) {
            return Err(FORM);
        }
        let version = version.parse().map_err(|_| FORM)?;
        Ok(Self { domain: domain.into(), kind, name: name.into(), version })
    }

    /// Vendor domain with dots as hyphens, for example `schemas-upnp-org`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Device or service.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The type's own name, for example `PowerManagement`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version; a higher one offers all of a lower one.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The same type in another version.
    pub fn with_version(&self, version: u32) -> Self {
        Self { version, ..self.clone() }
    }

    /// Whether something of this type can serve who asked for `wanted`: same type, same or higher version.
    pub fn serves(&self, wanted: &Self) -> bool {
        self.kind == wanted.kind
            && self.name == wanted.name
            && self.domain == wanted.domain
            && self.version >= wanted.version
    }
}

impl fmt::Display for TypeUrn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Device => "device",
            Kind::Service => "service",
        };
        write!(f, "urn:{}:{kind}:{}:{}", self.domain, self.name, self.version)
    }
}

impl fmt::Debug for TypeUrn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Subscription identifier, kept as the publisher wrote it (async_upnp_client leaves `uuid:` out); compared byte for
/// byte (UDA 1.1, 4.1.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid(Arc<str>);

impl Sid {
    /// Takes the value of a SID header.
    pub fn parse(s: &str) -> Result<Self, NameError> {
        Ok(Self(printable(s)?.into()))
    }

    /// As on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A random (version 4) UUID from the caller's random bits, as lower-case text without a prefix.
pub fn uuid_v4(random: u128) -> String {
    let b = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        b >> 96,
        (b >> 80) & 0xffff,
        (b >> 64) & 0xffff,
        (b >> 48) & 0xffff,
        b & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_version_serves_a_lower_one_and_not_the_other_way() {
        let v1 = TypeUrn::parse("urn:schemas-upnp-org:device:BinaryLight:1").unwrap();
        let v2 = v1.with_version(2);
        assert!(v2.serves(&v1) && v1.serves(&v1) && !v1.serves(&v2));
        assert_eq!(v2.to_string(), "urn:schemas-upnp-org:device:BinaryLight:2");
    }

    #[test]
    fn names_that_could_break_a_header_or_xml_are_refused() {
        for bad in ["", "uuid:", "uid:a", "uuid:a\r\nb", "uuid:<a>", "uuid:a b", &format!("uuid:{}", "a".repeat(300))] {
            assert!(Udn::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["urn:a:device:b", "urn:a:thing:b:1", "urn:a:device:b:-1", "urn:a:device:b:1:2", "urn::device:b:1"] {
            assert!(TypeUrn::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Udn::parse(" UUID:Socket-1_0-38323636 ").unwrap().bare(), "Socket-1_0-38323636");
    }

    #[test]
    fn a_made_uuid_is_of_version_4_and_variant_1() {
        for random in [0, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let u = uuid_v4(random);
            assert_eq!((u.len(), &u[14..15]), (36, "4"));
            assert!("89ab".contains(&u[19..20]));
        }
    }
}
