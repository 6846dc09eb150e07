//! What the headers of a SUBSCRIBE ask for: how long, and where to.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, StatusCode, Uri};

use crate::limits::{
    CALLBACK_BYTES_MAX, CALLBACK_PORT_MIN, CALLBACK_URLS_MAX, SUBSCRIPTION_DEFAULT_S, SUBSCRIPTION_MAX_S,
    SUBSCRIPTION_MIN_S,
};
use crate::url::HttpUrl;

/// What a SUBSCRIBE or UNSUBSCRIBE is refused with.
pub(super) struct Refused(pub(super) StatusCode);

/// The one value of a header; an error where there are several, or one that is no text.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refused> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|v| v.to_str().map(str::trim));
    match (first, values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(value)),
        _ => Err(Refused(StatusCode::BAD_REQUEST)),
    }
}

/// Seconds granted for a TIMEOUT header: what it asks for within our bounds, the default for none, `infinite` (gone since
/// UDA 1.1) and anything else.
pub(super) fn granted(timeout: Option<&str>) -> u32 {
    let asked = timeout.and_then(|t| {
        let (unit, seconds) = t.split_once('-')?;
        let digits = !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit());
        (unit.eq_ignore_ascii_case("second") && digits).then(|| seconds.parse().unwrap_or(u32::MAX))
    });
    asked.map_or(SUBSCRIPTION_DEFAULT_S, |s| s.clamp(SUBSCRIPTION_MIN_S, SUBSCRIPTION_MAX_S))
}

/// The usable URLs of a CALLBACK header; none at all where the header is malformed or beyond its caps. A usable one leads
/// to the subscriber's own address and to no system port, so that nobody can aim our events at others (CVE-2020-12695), nor
/// at ourselves.
pub(super) fn callbacks(header: &str, peer: SocketAddr, local: SocketAddr) -> Box<[HttpUrl]> {
    let mut usable = Vec::new();
    let mut rest = header;
    let mut seen = 0;
    if header.len() > CALLBACK_BYTES_MAX {
        return usable.into();
    }
    while !rest.is_empty() {
        let Some((url, tail)) = rest.strip_prefix('<').and_then(|r| r.split_once('>')) else { return Box::default() };
        rest = tail.trim_start();
        seen += 1;
        if seen > CALLBACK_URLS_MAX {
            return Box::default();
        }
        if let Ok(url) = HttpUrl::parse(url)
            && url.address().ip() == peer.ip().to_canonical()
            && url.address().port() >= CALLBACK_PORT_MIN
            && (url.address().ip() != local.ip().to_canonical() || url.address().port() != local.port())
            && url.path().parse::<Uri>().is_ok()
        {
            usable.push(match peer {
                SocketAddr::V6(peer) => url.with_scope(peer.scope_id()),
                SocketAddr::V4(_) => url,
            });
        }
    }
    usable.into()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::*;

    #[test]
    fn timeouts_are_clamped_and_junk_gets_the_default() {
        for (asked, got) in [
            (None, 1800),
            (Some("Second-1800"), 1800),
            (Some("second-3600"), 3600),
            (Some("Second-1"), 1800),
            (Some("Second-0"), 1800),
            (Some("Second-99999999999999999999"), SUBSCRIPTION_MAX_S),
            (Some("Second-infinite"), 1800),
            (Some("infinite"), 1800),
            (Some("Second-0:30:00"), 1800),
            (Some("Second--5"), 1800),
            (Some("Second-"), 1800),
            (Some("1800"), 1800),
            (Some(""), 1800),
        ] {
            assert_eq!(granted(asked), got, "{asked:?}");
        }
    }

    #[test]
    fn only_urls_to_the_subscriber_itself_are_usable() {
        let peer: SocketAddr = "192.0.2.7:40000".parse().unwrap();
        let local: SocketAddr = "192.0.2.1:49200".parse().unwrap();
        let count = |header: &str| callbacks(header, peer, local).len();
        assert_eq!(count("<http://192.0.2.7:5000/a>"), 1);
        assert_eq!(count("<http://192.0.2.7:5000/a><http://192.0.2.7:5001/b>  <http://10.0.0.1:5000/c>"), 2);
        assert_eq!(count("<http://[::ffff:192.0.2.7]:5000/>"), 1);
        for bad in [
            "",
            "http://192.0.2.7:5000/",
            "<http://192.0.2.7:5000/",
            "<>",
            "<http://192.0.2.7:5000/> x",
            "<http://192.0.2.7/>",
            "<http://192.0.2.7:1023/>",
            "<http://192.0.2.7:70536/>",
            "<http://192.0.2.8:5000/>",
            "<http://192.0.2.1:49200/>",
            "<http://127.0.0.1:5000/>",
            "<http://[::1]:5000/>",
            "<http://host:5000/>",
            "<ftp://192.0.2.7:5000/>",
            "<https://192.0.2.7:5000/>",
            "<http://192.0.2.7@10.0.0.1:5000/>",
            &"<http://192.0.2.7:5000/>".repeat(CALLBACK_URLS_MAX + 1),
            &format!("<http://192.0.2.7:5000/{}>", "a".repeat(CALLBACK_BYTES_MAX)),
        ] {
            assert_eq!(count(bad), 0, "{bad}");
        }
        let same_host =
            |port| callbacks(&format!("<http://192.0.2.1:{port}/>"), "192.0.2.1:40000".parse().unwrap(), local);
        assert_eq!((same_host(5000).len(), same_host(49200).len()), (1, 0));
    }

    #[test]
    fn a_link_local_callback_gets_the_scope_of_its_subscriber() {
        let peer = SocketAddrV6::new("fe80::7".parse().unwrap(), 40000, 0, 3).into();
        let urls = callbacks("<http://[fe80::7]:5000/>", peer, "[fe80::1]:49200".parse().unwrap());
        assert!(matches!(urls[0].address(), SocketAddr::V6(a) if a.scope_id() == 3));
    }
}
