//! SSDP messages as values: read from datagrams of every quality, written as UDA 1.1 (sections 1.2 and 1.3) wants them.
//!
//! Reading is lenient where a control point must live with real peers (a BOOTID of -1, a missing ST, a LOCATION on
//! `(null)`, no final blank line) and strict where our device answers: a search without a proper MAN is not a search.
//! CONTENT-LENGTH, DATE and EXT of peers carry nothing we use and are not kept.

use core::fmt::{self, Display, Write};
use core::time::Duration;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::ids::{NameError, TypeUrn, Udn};
use crate::limits::{SSDP_DATAGRAM_BYTES_MAX, SSDP_HEADERS_MAX, SSDP_TEXT_BYTES_MAX};
use crate::url::{HttpUrl, UrlError};

/// What an NT or ST header names (UDA 1.1, tables 1-1 to 1-3 and 1.3.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// `ssdp:all`: everything; only in searches.
    All,
    /// `upnp:rootdevice`: root devices.
    RootDevice,
    /// `uuid:NAME`: one device.
    Device(Udn),
    /// `urn:DOMAIN:device|service:NAME:VERSION`: devices or services of that type, of that version or higher.
    Type(TypeUrn),
}

impl Target {
    /// Takes the value of an NT or ST header.
    pub fn parse(s: &str) -> Result<Self, NameError> {
        let s = s.trim();
        let begins = |prefix: &str| s.get(..prefix.len()).is_some_and(|p| p.eq_ignore_ascii_case(prefix));
        if s.eq_ignore_ascii_case("ssdp:all") {
            Ok(Self::All)
        } else if s.eq_ignore_ascii_case("upnp:rootdevice") {
            Ok(Self::RootDevice)
        } else if begins("uuid:") {
            Udn::parse(s).map(Self::Device)
        } else {
            TypeUrn::parse(s).map(Self::Type)
        }
    }

    /// Whether what was announced as `announced` is what this target asks for. UUIDs compare without regard to case.
    pub fn wants(&self, announced: &Self) -> bool {
        match (self, announced) {
            (Self::All, _) => true,
            (Self::Type(wanted), Self::Type(offered)) => offered.serves(wanted),
            (Self::Device(wanted), Self::Device(offered)) => wanted.bare().eq_ignore_ascii_case(offered.bare()),
            (wanted, offered) => wanted == offered,
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("ssdp:all"),
            Self::RootDevice => f.write_str("upnp:rootdevice"),
            Self::Device(udn) => Display::fmt(udn, f),
            Self::Type(urn) => Display::fmt(urn, f),
        }
    }
}

/// A Unique Service Name (UDA 1.1, 1.1.4): the device, and what of it is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usn {
    /// The device.
    pub udn: Udn,
    /// What stands after `::`; the device itself where nothing stands there, `None` where it is no target we know.
    pub target: Option<Target>,
}

impl Usn {
    /// Takes `uuid:NAME` or `uuid:NAME::TARGET`.
    pub fn parse(s: &str) -> Result<Self, NameError> {
        let s = s.trim();
        let (name, target) = match s.split_once("::") {
            Some((name, target)) => (name, Some(target)),
            None => (s, None),
        };
        let udn = Udn::parse(name)?;
        let target = match target {
            Some(t) => Target::parse(t).ok(),
            None => Some(Target::Device(udn.clone())),
        };
        Ok(Self { udn, target })
    }
}

/// A LOCATION as it came; judged against the sender with [`Location::resolve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(Box<str>);

impl Location {
    /// The URL a datagram from `from` may name: on `from`'s own address (anything else could send us to any host). Some
    /// stacks write `(null)` for a host they failed to find; that can only mean the sender.
    pub fn resolve(&self, from: IpAddr) -> Result<HttpUrl, UrlError> {
        let from = from.to_canonical();
        let url = match self.0.strip_prefix("http://(null)") {
            Some(rest) => {
                let host = match from {
                    IpAddr::V4(a) => a.to_string(),
                    IpAddr::V6(a) => format!("[{a}]"),
                };
                HttpUrl::parse(&format!("http://{host}{rest}"))?
            }
            None => HttpUrl::parse(&self.0)?,
        };
        if url.address().ip() == from { Ok(url) } else { Err(UrlError::OtherHost) }
    }

    /// As it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A device is there: `ssdp:alive`, or the answer to a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// NT or ST; taken from the USN where the header is missing. `None` for a target of no form we know.
    pub target: Option<Target>,
    /// The device.
    pub udn: Udn,
    /// LOCATION; missing in broken peers.
    pub location: Option<Location>,
    /// `max-age` of CACHE-CONTROL.
    pub max_age: Option<Duration>,
    /// SERVER, at most [`SSDP_TEXT_BYTES_MAX`] bytes of it.
    pub server: Option<String>,
    /// BOOTID.UPNP.ORG; `None` where missing or not a number (gupnp's -1).
    pub boot_id: Option<u32>,
    /// CONFIGID.UPNP.ORG.
    pub config_id: Option<u32>,
    /// SEARCHPORT.UPNP.ORG: where unicast searches go when not to port 1900.
    pub search_port: Option<u16>,
}

/// A device or a part of it leaves: `ssdp:byebye`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByeBye {
    /// NT, as in [`Presence::target`].
    pub target: Option<Target>,
    /// The device.
    pub udn: Udn,
    /// BOOTID.UPNP.ORG.
    pub boot_id: Option<u32>,
}

/// A device is about to change its BOOTID without having rebooted: `ssdp:update` (UDA 1.1, 1.2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// NT, as in [`Presence::target`].
    pub target: Option<Target>,
    /// The device.
    pub udn: Udn,
    /// LOCATION.
    pub location: Option<Location>,
    /// BOOTID.UPNP.ORG, as it was until now.
    pub boot_id: Option<u32>,
    /// NEXTBOOTID.UPNP.ORG, in force from now on.
    pub next_boot_id: Option<u32>,
    /// CONFIGID.UPNP.ORG.
    pub config_id: Option<u32>,
}

/// `M-SEARCH` with its MAN in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// ST; `None` for a target of no form we know.
    pub target: Option<Target>,
    /// MX in seconds, as sent; `None` where missing, 0 or not a number.
    pub mx: Option<u32>,
    /// USER-AGENT, at most [`SSDP_TEXT_BYTES_MAX`] bytes of it.
    pub user_agent: Option<String>,
}

/// A datagram on the SSDP port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SsdpMessage {
    /// `NOTIFY` with `ssdp:alive`.
    Alive(Presence),
    /// `NOTIFY` with `ssdp:byebye`.
    ByeBye(ByeBye),
    /// `NOTIFY` with `ssdp:update`.
    Update(Update),
    /// `M-SEARCH`.
    Search(Search),
    /// `HTTP/1.1 200 OK`: the answer to a search.
    Answer(Presence),
}

/// Why a datagram is no SSDP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SsdpParseError {
    /// Longer than [`SSDP_DATAGRAM_BYTES_MAX`].
    #[error("more than {SSDP_DATAGRAM_BYTES_MAX} bytes")]
    TooLong,
    /// Not an HTTP message head.
    #[error("not an HTTP message: {0}")]
    Http(httparse::Error),
    /// The head breaks off.
    #[error("the head is not complete")]
    Incomplete,
    /// Another method than NOTIFY and M-SEARCH, or another target than `*`.
    #[error("neither NOTIFY * nor M-SEARCH *")]
    Request,
    /// An answer with another status than 200.
    #[error("answer with status {0}")]
    Status(u16),
    /// A header that the message cannot do without is missing or not understood.
    #[error("{0} is missing or wrong")]
    Header(&'static str),
}

/// Reads a datagram of the SSDP port. Never panics, never allocates more than a small multiple of the datagram.
pub fn parse(datagram: &[u8]) -> Result<SsdpMessage, SsdpParseError> {
    if datagram.len() > SSDP_DATAGRAM_BYTES_MAX {
        return Err(SsdpParseError::TooLong);
    }
    match parse_head(datagram) {
        // Some peers leave out the blank line that ends the head.
        Err(SsdpParseError::Incomplete) => parse_head(&[datagram, b"\r\n\r\n"].concat()),
        parsed => parsed,
    }
}

fn parse_head(head: &[u8]) -> Result<SsdpMessage, SsdpParseError> {
    let mut buffer = [httparse::EMPTY_HEADER; SSDP_HEADERS_MAX];
    let mut config = httparse::ParserConfig::default();
    config
        .ignore_invalid_headers_in_requests(true)
        .ignore_invalid_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true);
    let whole = |status: httparse::Status<usize>| match status {
        httparse::Status::Complete(_) => Ok(()),
        httparse::Status::Partial => Err(SsdpParseError::Incomplete),
    };
    if head.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP/")) {
        let mut response = httparse::Response::new(&mut buffer);
        whole(config.parse_response(&mut response, head).map_err(SsdpParseError::Http)?)?;
        return match response.code {
            Some(200) => Ok(SsdpMessage::Answer(presence(&Headers(response.headers), "ST")?)),
            code => Err(SsdpParseError::Status(code.unwrap_or_default())),
        };
    }
    let mut request = httparse::Request::new(&mut buffer);
    whole(config.parse_request(&mut request, head).map_err(SsdpParseError::Http)?)?;
    let (method, path) = (request.method, request.path);
    let headers = Headers(request.headers);
    match (method, path) {
        (Some("NOTIFY"), Some("*")) => notify(&headers),
        (Some("M-SEARCH"), Some("*")) => search(&headers).map(SsdpMessage::Search),
        _ => Err(SsdpParseError::Request),
    }
}

fn notify(headers: &Headers<'_>) -> Result<SsdpMessage, SsdpParseError> {
    match headers.text("NTS") {
        Some(nts) if nts.eq_ignore_ascii_case("ssdp:alive") => Ok(SsdpMessage::Alive(presence(headers, "NT")?)),
        Some(nts) if nts.eq_ignore_ascii_case("ssdp:byebye") => {
            let (udn, target) = who(headers, "NT")?;
            Ok(SsdpMessage::ByeBye(ByeBye { target, udn, boot_id: headers.number("BOOTID.UPNP.ORG") }))
        }
        Some(nts) if nts.eq_ignore_ascii_case("ssdp:update") => {
            let (udn, target) = who(headers, "NT")?;
            Ok(SsdpMessage::Update(Update {
                target,
                udn,
                location: headers.location(),
                boot_id: headers.number("BOOTID.UPNP.ORG"),
                next_boot_id: headers.number("NEXTBOOTID.UPNP.ORG"),
                config_id: headers.number("CONFIGID.UPNP.ORG"),
            }))
        }
        _ => Err(SsdpParseError::Header("NTS")),
    }
}

fn search(headers: &Headers<'_>) -> Result<Search, SsdpParseError> {
    // The quotes belong to the value (UDA 1.1, 1.3.2).
    if headers.text("MAN") != Some("\"ssdp:discover\"") {
        return Err(SsdpParseError::Header("MAN"));
    }
    let st = headers.text("ST").ok_or(SsdpParseError::Header("ST"))?;
    Ok(Search {
        target: Target::parse(st).ok(),
        mx: headers.number("MX").filter(|mx| *mx > 0),
        user_agent: headers.capped("USER-AGENT"),
    })
}

fn presence(headers: &Headers<'_>, target_name: &'static str) -> Result<Presence, SsdpParseError> {
    let (udn, target) = who(headers, target_name)?;
    Ok(Presence {
        target,
        udn,
        location: headers.location(),
        max_age: headers.text("CACHE-CONTROL").and_then(max_age),
        server: headers.capped("SERVER"),
        boot_id: headers.number("BOOTID.UPNP.ORG"),
        config_id: headers.number("CONFIGID.UPNP.ORG"),
        search_port: headers
            .number("SEARCHPORT.UPNP.ORG")
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0),
    })
}

/// The device and the target: from USN and NT or ST, each standing in for the other where one is missing.
fn who(headers: &Headers<'_>, target_name: &'static str) -> Result<(Udn, Option<Target>), SsdpParseError> {
    let named = headers.text(target_name).map(Target::parse);
    let usn = headers.text("USN").and_then(|usn| Usn::parse(usn).ok());
    match (usn, named) {
        (Some(usn), Some(named)) => Ok((usn.udn, named.ok())),
        (Some(usn), None) => Ok((usn.udn, usn.target)),
        (None, Some(Ok(Target::Device(udn)))) => Ok((udn.clone(), Some(Target::Device(udn)))),
        (None, _) => Err(SsdpParseError::Header("USN")),
    }
}

/// The seconds of `max-age=N` among other directives; spaces and quotes around the number are forgiven.
fn max_age(cache_control: &str) -> Option<Duration> {
    cache_control.split(',').find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let named = name.trim().eq_ignore_ascii_case("max-age");
        let seconds = value.trim().trim_matches('"').parse::<u32>().ok()?;
        named.then_some(Duration::from_secs(seconds.into()))
    })
}

struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    /// The trimmed value of the first header of that name; `None` where it is empty or not UTF-8.
    fn text(&self, name: &str) -> Option<&'a str> {
        let header = self.0.iter().find(|h| h.name.trim_end().eq_ignore_ascii_case(name))?;
        core::str::from_utf8(header.value).ok().map(str::trim).filter(|v| !v.is_empty())
    }

    fn number(&self, name: &str) -> Option<u32> {
        // `parse` would take a leading plus sign.
        self.text(name).filter(|v| v.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
    }

    fn location(&self) -> Option<Location> {
        let text = self.text("LOCATION")?;
        (text.len() <= crate::limits::URL_BYTES_MAX).then(|| Location(text.into()))
    }

    fn capped(&self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        let printable = text.chars().filter(|c| !c.is_control());
        let mut kept = String::with_capacity(text.len().min(SSDP_TEXT_BYTES_MAX));
        for c in printable {
            if kept.len() + c.len_utf8() > SSDP_TEXT_BYTES_MAX {
                break;
            }
            kept.push(c);
        }
        Some(kept)
    }
}

/// What our device says of itself in every message.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) nt: &'a dyn Display,
    pub(super) usn: &'a dyn Display,
    pub(super) boot_id: u32,
    pub(super) config_id: u32,
}

/// `ssdp:alive` (UDA 1.1, 1.2.2). SEARCHPORT.UPNP.ORG is left out: we listen on 1900.
pub(super) fn write_alive(
    told: Told<'_>,
    group: SocketAddr,
    location: &HttpUrl,
    max_age: Duration,
    server: &str,
) -> Bytes {
    head(
        "NOTIFY * HTTP/1.1",
        &[
            ("HOST", &host(group)),
            ("CACHE-CONTROL", &format_args!("max-age={}", max_age.as_secs())),
            ("LOCATION", location),
            ("NT", told.nt),
            ("NTS", &"ssdp:alive"),
            ("SERVER", &server),
            ("USN", told.usn),
            ("BOOTID.UPNP.ORG", &told.boot_id),
            ("CONFIGID.UPNP.ORG", &told.config_id),
        ],
    )
}

/// `ssdp:byebye` (UDA 1.1, 1.2.3).
pub(super) fn write_byebye(told: Told<'_>, group: SocketAddr) -> Bytes {
    head(
        "NOTIFY * HTTP/1.1",
        &[
            ("HOST", &host(group)),
            ("NT", told.nt),
            ("NTS", &"ssdp:byebye"),
            ("USN", told.usn),
            ("BOOTID.UPNP.ORG", &told.boot_id),
            ("CONFIGID.UPNP.ORG", &told.config_id),
        ],
    )
}

/// `ssdp:update` (UDA 1.1, 1.2.4): `told.boot_id` ends, `next_boot_id` begins.
pub(super) fn write_update(told: Told<'_>, group: SocketAddr, location: &HttpUrl, next_boot_id: u32) -> Bytes {
    head(
        "NOTIFY * HTTP/1.1",
        &[
            ("HOST", &host(group)),
            ("LOCATION", location),
            ("NT", told.nt),
            ("NTS", &"ssdp:update"),
            ("USN", told.usn),
            ("BOOTID.UPNP.ORG", &told.boot_id),
            ("CONFIGID.UPNP.ORG", &told.config_id),
            ("NEXTBOOTID.UPNP.ORG", &next_boot_id),
        ],
    )
}

/// The answer to a search (UDA 1.1, 1.3.3). DATE is only recommended there, and a crate without a wall clock has none to
/// tell; what a receiver needs, max-age, counts from the receipt.
pub(super) fn write_answer(told: Told<'_>, location: &HttpUrl, max_age: Duration, server: &str) -> Bytes {
    head(
        "HTTP/1.1 200 OK",
        &[
            ("CACHE-CONTROL", &format_args!("max-age={}", max_age.as_secs())),
            ("EXT", &""),
            ("LOCATION", location),
            ("SERVER", &server),
            ("ST", told.nt),
            ("USN", told.usn),
            ("BOOTID.UPNP.ORG", &told.boot_id),
            ("CONFIGID.UPNP.ORG", &told.config_id),
        ],
    )
}

/// `M-SEARCH` (UDA 1.1, 1.3.2). A unicast search needs no MX, but libupnp devices drop one that has none.
pub(super) fn write_search(to: SocketAddr, target: &Target, mx: u8, user_agent: &str) -> Bytes {
    head(
        "M-SEARCH * HTTP/1.1",
        &[("HOST", &host(to)), ("MAN", &"\"ssdp:discover\""), ("MX", &mx), ("ST", target), ("USER-AGENT", &user_agent)],
    )
}

/// `IP:PORT` for a HOST header: always with the port, never with a scope id.
fn host(to: SocketAddr) -> SocketAddr {
    SocketAddr::new(to.ip(), to.port())
}

fn head(start: &str, headers: &[(&str, &dyn Display)]) -> Bytes {
    let mut text = String::with_capacity(512);
    text.push_str(start);
    for (name, value) in headers {
        // Writing to a String does not fail.
        let _ = write!(text, "\r\n{name}: {value}");
    }
    text.push_str("\r\n\r\n");
    Bytes::from(text)
}
