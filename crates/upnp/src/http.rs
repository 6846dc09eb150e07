//! What our device asks of every HTTP request before it looks at anything else: whose name the peer thinks it is talking
//! to, from which site a browser comes, what kind of body it brings (SECURITY.md).

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, ALLOW, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};

use crate::url::authority_address;

/// Content type of every XML body of UPnP.
pub const TEXT_XML: HeaderValue = HeaderValue::from_static("text/xml; charset=\"utf-8\"");

/// Whether a Content-Type is `text/xml`, with no charset or with UTF-8.
pub fn is_xml_utf8(value: &HeaderValue) -> bool {
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';');
    let is_xml = parts.next().is_some_and(|t| t.trim().eq_ignore_ascii_case("text/xml"));
    is_xml
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                value.trim().trim_matches(['"', '\'']).eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

/// Why a request is not for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Foreign {
    /// No Host on HTTP/1.1, two of them, or one that is no authority: 400.
    #[error("Host is missing or malformed")]
    BadHost,
    /// A Host that is not ours (DNS rebinding): 421.
    #[error("Host is not this device")]
    OtherHost,
    /// A page of another site sends its reader's browser to us: 403.
    #[error("Origin is not this device")]
    OtherOrigin,
}

impl Foreign {
    /// The status it is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadHost => StatusCode::BAD_REQUEST,
            Self::OtherHost => StatusCode::MISDIRECTED_REQUEST,
            Self::OtherOrigin => StatusCode::FORBIDDEN,
        }
    }
}

/// Holds a request to the address it came in on: Host (and the authority of an absolute request target) must be the
/// literal `local`, or one of `names` with any port; an Origin, where there is one, likewise. HTTP/1.0 may leave Host out: no
/// browser does.
pub fn check_origin(request: &Request<Bytes>, local: SocketAddr, names: &[String]) -> Result<(), Foreign> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            let host = host.to_str().map_err(|_| Foreign::BadHost)?.trim();
            if host.is_empty() {
                return Err(Foreign::BadHost);
            }
            is_ours(host, local, names).then_some(()).ok_or(Foreign::OtherHost)?;
        }
        (None, _) if request.version() <= Version::HTTP_10 => {}
        _ => return Err(Foreign::BadHost),
    }
    if let Some(authority) = request.uri().authority()
        && !is_ours(authority.as_str(), local, names)
    {
        return Err(Foreign::OtherHost);
    }
    for origin in headers.get_all(ORIGIN) {
        let host = origin.to_str().ok().and_then(|o| o.trim().strip_prefix("http://"));
        if !host.is_some_and(|h| is_ours(h, local, names)) {
            return Err(Foreign::OtherOrigin);
        }
    }
    Ok(())
}

fn is_ours(authority: &str, local: SocketAddr, names: &[String]) -> bool {
    if let Ok(address) = authority_address(authority) {
        return address.ip() == local.ip().to_canonical() && address.port() == local.port();
    }
    let (name, port) = match authority.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (authority, None),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    port.is_none_or(|p| p.parse::<u16>().is_ok()) && names.iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

/// 405 with the methods that would do.
pub fn method_not_allowed(allow: &'static str) -> Response<Bytes> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// 404, for a path that nothing on this device answers to.
pub fn not_found() -> Response<Bytes> {
    empty(StatusCode::NOT_FOUND)
}

/// An XML document to GET or HEAD (the length alone for HEAD). Who sends Accept-Language is told the one language there is
/// (UDA 1.1, 2.1).
pub fn document(request: &Request<Bytes>, xml: &Bytes) -> Response<Bytes> {
    let body = if request.method() == Method::HEAD { Bytes::new() } else { xml.clone() };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, TEXT_XML);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(xml.len()));
    language(request.headers(), headers);
    response
}

fn language(asked: &HeaderMap, answer: &mut HeaderMap) {
    if asked.contains_key(ACCEPT_LANGUAGE) {
        answer.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    }
}
