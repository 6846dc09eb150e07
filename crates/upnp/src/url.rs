//! HTTP URLs as UPnP uses them: `http`, a host that is an IP literal, a strictly parsed port.
//!
//! Names are not taken: a description or callback URL that needs DNS is how rebinding and request forgery start
//! (SECURITY.md), and UDA devices announce literals.

use core::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::limits::URL_BYTES_MAX;

/// Why a URL was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Longer than [`URL_BYTES_MAX`], or with spaces or control characters.
    #[error("not a URL of at most {URL_BYTES_MAX} printable characters")]
    Characters,
    /// Another scheme than http.
    #[error("only http:// is spoken in a home network")]
    Scheme,
    /// Host missing, a name, or with user information.
    #[error("the host must be an IP address")]
    Host,
    /// Port 0, above 65535 or not a number.
    #[error("the port must be 1 to 65535")]
    Port,
    /// A relative URL where an absolute one is needed, or one that leads to another host.
    #[error("the URL leads to another host")]
    OtherHost,
}

/// `http://IP[:PORT]/PATH[?QUERY]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpUrl {
    address: SocketAddr,
    path: Box<str>,
}

impl HttpUrl {
    /// The URL of `path` (with its leading `/`) on `address`. A path without the slash gets one.
    pub fn new(address: SocketAddr, path: &str) -> Self {
        let path = if path.starts_with('/') { path.into() } else { format!("/{path}").into() };
        Self { address, path }
    }

    /// Takes an absolute URL; a fragment is dropped, a missing port is 80, a missing path is `/`.
    pub fn parse(s: &str) -> Result<Self, UrlError> {
        let s = s.trim();
        if s.len() > URL_BYTES_MAX || !s.bytes().all(|b| (0x21..0x7f).contains(&b)) {
            return Err(UrlError::Characters);
        }
        let rest = match s.get(..7) {
            Some(p) if p.eq_ignore_ascii_case("http://") => &s[7..],
            _ => return Err(UrlError::Scheme),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        Ok(Self::new(authority_address(authority)?, path))
    }

    /// Resolves `reference` (absolute, rooted or relative) against this URL (RFC 3986, 5.2) and keeps to its host: a control or
    /// event URL on another host is refused with [`UrlError::OtherHost`]. Another port of the same host is allowed.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let reference = reference.trim();
        if reference.len() > URL_BYTES_MAX || !reference.bytes().all(|b| (0x21..0x7f).contains(&b)) {
            return Err(UrlError::Characters);
        }
        if reference.starts_with("//") {
            return Err(UrlError::OtherHost);
        }
        let scheme = reference.split(['/', '?', '#']).next().unwrap_or_default();
        if scheme.contains(':') {
            let url = Self::parse(reference)?;
            let same = url.address.ip() == self.address.ip();
            // The same link-local address needs this URL's scope id, which never travels.
            return if same {
                Ok(Self { address: self.with_port(url.address.port()), ..url })
            } else {
                Err(UrlError::OtherHost)
            };
        }
        let reference = reference.split('#').next().unwrap_or_default();
        if reference.is_empty() {
            return Ok(self.clone());
        }
        if reference.starts_with('/') {
            return Ok(Self::new(self.address, reference));
        }
        let base = self.path.split('?').next().unwrap_or_default();
        if reference.starts_with('?') {
            return Ok(Self::new(self.address, &format!("{base}{reference}")));
        }
        let dir = base.rfind('/').map_or("/", |i| &base[..=i]);
        Ok(Self::new(self.address, &format!("{dir}{reference}")))
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Path and query, with the leading `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same URL with the scope id (interface index) a link-local IPv6 literal needs; other addresses are unchanged.
    pub fn with_scope(self, scope_id: u32) -> Self {
        match self.address {
            SocketAddr::V6(a) if a.ip().is_unicast_link_local() => {
                Self { address: SocketAddrV6::new(*a.ip(), a.port(), 0, scope_id).into(), ..self }
            }
            _ => self,
        }
    }

    /// The authority as a Host header has it: the port is left out when it is 80, an IPv6 literal stands in brackets
    /// and without its scope id.
    pub fn authority(&self) -> String {
        authority_text(self.address)
    }

    fn with_port(&self, port: u16) -> SocketAddr {
        let mut a = self.address;
        a.set_port(port);
        a
    }
}

/// `IP[:PORT]` as in a Host header or a URL, port 80 where none is given. IPv4 in IPv6 clothes is undressed, so that a
/// check on the address sees what will be connected to.
pub fn authority_address(authority: &str) -> Result<SocketAddr, UrlError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']').ok_or(UrlError::Host)?;
            // A scope id in a URL is local to the sender (RFC 6874): dropped, the receiving interface gives ours.
            let host = host.split('%').next().unwrap_or_default();
            let ip: Ipv6Addr = host.parse().map_err(|_| UrlError::Host)?;
            (IpAddr::V6(ip).to_canonical(), tail.strip_prefix(':').map(Some).or((tail.is_empty()).then_some(None)))
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((h, p)) => (h, Some(p)),
                None => (authority, None),
            };
            (IpAddr::V4(host.parse().map_err(|_| UrlError::Host)?), Some(port))
        }
    };
    let port = match port.ok_or(UrlError::Port)? {
        None => 80,
        Some(p) if !p.is_empty() && p.len() <= 5 && p.bytes().all(|b| b.is_ascii_digit()) => {
            p.parse::<u16>().ok().filter(|p| *p != 0).ok_or(UrlError::Port)?
        }
        Some(_) => return Err(UrlError::Port),
    };
    Ok(SocketAddr::new(host, port))
}

/// The text of an authority: `192.0.2.1:8080`, `[2001:db8::1]`.
pub fn authority_text(address: SocketAddr) -> String {
    let host = match address {
        SocketAddr::V4(a) => a.ip().to_string(),
        SocketAddr::V6(a) => format!("[{}]", a.ip()),
    };
    if address.port() == 80 { host } else { format!("{host}:{}", address.port()) }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address: SocketAddr = match self.address {
            SocketAddr::V4(a) => SocketAddrV4::new(*a.ip(), a.port()).into(),
            SocketAddr::V6(a) => SocketAddrV6::new(*a.ip(), a.port(), 0, 0).into(),
        };
        write!(f, "http://{address}{}", self.path)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_outside_1_to_65535_are_refused_and_never_cut_to_16_bits() {
        for bad in [
            "http://192.0.2.1:0/",
            "http://192.0.2.1:65536/",
            "http://192.0.2.1:65616/",
            "http://192.0.2.1:/",
            "http://192.0.2.1:+80/",
            "http://192.0.2.1:8x/",
            "http://[::1]80/",
        ] {
            assert_eq!(HttpUrl::parse(bad), Err(UrlError::Port), "{bad}");
        }
    }

    #[test]
    fn names_user_information_and_other_schemes_are_refused() {
        for bad in [
            "http://evil.example/",
            "http://a@192.0.2.1/",
            "http://(null):49152/x",
            "http://192.0.2.1.:80/",
            "http:///x",
            "http://0x7f.1/",
        ] {
            assert_eq!(HttpUrl::parse(bad), Err(UrlError::Host), "{bad}");
        }
        for bad in ["ftp://192.0.2.1/", "https://192.0.2.1/", "file:///etc/passwd", "/x", ""] {
            assert_eq!(HttpUrl::parse(bad), Err(UrlError::Scheme), "{bad}");
        }
    }

    #[test]
    fn ipv4_in_ipv6_clothes_is_undressed() {
        assert_eq!(
            HttpUrl::parse("http://[::ffff:127.0.0.1]:81/").unwrap().address().ip(),
            IpAddr::from([127, 0, 0, 1])
        );
    }

    #[test]
    fn references_resolve_on_the_same_host_only() {
        let base = HttpUrl::parse("http://192.0.2.1:49152/a/desc.xml?v=1").unwrap();
        for (reference, want) in [
            ("control", "http://192.0.2.1:49152/a/control"),
            ("/control?x=1", "http://192.0.2.1:49152/control?x=1"),
            ("http://192.0.2.1:80/c", "http://192.0.2.1:80/c"),
            ("?v=2", "http://192.0.2.1:49152/a/desc.xml?v=2"),
            ("", "http://192.0.2.1:49152/a/desc.xml?v=1"),
        ] {
            assert_eq!(base.join(reference).unwrap().to_string(), want, "{reference}");
        }
        for bad in ["http://192.0.2.2/c", "//192.0.2.1/c"] {
            assert_eq!(base.join(bad), Err(UrlError::OtherHost), "{bad}");
        }
    }
}
