//! Multicast events (UDA 1.1, 4.3): one datagram that tells all who listen.

use crate::ids::{TypeUrn, Udn};
use crate::limits::XML_EVENT_BYTES_MAX;
use crate::ssdp::Target;
use crate::ssdp::message::Usn;

const HEADERS_MAX: usize = 32;

/// A multicast event as it came.
#[derive(Debug)]
pub(super) struct MulticastEvent<'a> {
    pub(super) udn: Udn,
    pub(super) service_type: TypeUrn,
    pub(super) seq: u32,
    pub(super) boot_id: Option<u32>,
    pub(super) body: &'a [u8],
}

impl<'a> MulticastEvent<'a> {
    /// Reads a datagram of port 7900. `None` for anything that is not a whole event of a service: there is nobody to tell.
    pub(super) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(head) = request.parse(datagram).ok()? else {
            return None;
        };
        let text = |name: &str| {
            let header = request.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name))?;
            core::str::from_utf8(header.value).ok().map(str::trim)
        };
        if request.method? != "NOTIFY" || text("NT")? != "upnp:event" || text("NTS")? != "upnp:propchange" {
            return None;
        }
        let usn = Usn::parse(text("USN")?).ok()?;
        let Some(Target::Type(service_type)) = usn.target else {
            return None;
        };
        let rest = &datagram[head..];
        let body = match text("CONTENT-LENGTH") {
            Some(length) => rest.get(..length.parse().ok()?)?,
            None => rest,
        };
        (body.len() <= XML_EVENT_BYTES_MAX).then_some(())?;
        Some(Self {
            udn: usn.udn,
            service_type,
            seq: text("SEQ")?.parse().ok()?,
            boot_id: text("BOOTID.UPNP.ORG").and_then(|b| b.parse().ok()),
            body,
        })
    }
}

/// The last multicast event of a service that was delivered; its SEQ counts apart from that of the subscription.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastMulticast {
    boot_id: Option<u32>,
    seq: u32,
}

/// How far behind the last SEQ a datagram may be to count as a late one rather than as one of a restarted counter, where
/// no BOOTID tells.
const LATE_MAX: u32 = 16;

impl LastMulticast {
    /// Whether an event is news after `last`: not a repeat (each is sent several times and on several interfaces), not a late
    /// one of before, not one of an earlier boot.
    pub(super) fn is_news(last: Option<Self>, seq: u32, boot_id: Option<u32>) -> bool {
        let Some(last) = last else {
            return true;
        };
        match (last.boot_id, boot_id) {
            (Some(before), Some(now)) if before != now => now > before,
            (Some(_), Some(_)) => seq != last.seq && seq.wrapping_sub(last.seq) < u32::MAX / 2,
            _ => last.seq.wrapping_sub(seq) > LATE_MAX,
        }
    }

    pub(super) fn new(seq: u32, boot_id: Option<u32>) -> Self {
        Self { boot_id, seq }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(headers: &str, body: &str) -> Vec<u8> {
        format!("NOTIFY * HTTP/1.0\r\n{headers}\r\n{body}").into_bytes()
    }

    const HEADERS: &str = "HOST: 239.255.255.246:7900\r\nUSN: uuid:a::urn:x-org:service:S:1\r\nSVCID: urn:x-org:serviceId:S\r\n\
        NT: upnp:event\r\nNTS: upnp:propchange\r\nSEQ: 3\r\nLVL: upnp:/info\r\nBOOTID.UPNP.ORG: 7\r\n";

    #[test]
    fn a_whole_event_is_read() {
        let bytes = datagram(&format!("{HEADERS}CONTENT-LENGTH: 4\r\n"), "<a/>more");
        let event = MulticastEvent::parse(&bytes).unwrap();
        assert_eq!((event.udn.as_str(), event.seq, event.boot_id), ("uuid:a", 3, Some(7)));
        assert_eq!((event.service_type.name(), event.body), ("S", &b"<a/>"[..]));
    }

    #[test]
    fn an_event_cut_short_or_of_no_service_is_dropped() {
        for bytes in [
            datagram(&format!("{HEADERS}CONTENT-LENGTH: 5\r\n"), "<a/>"),
            datagram(&HEADERS.replace("::urn:x-org:service:S:1", ""), "<a/>"),
            datagram(&HEADERS.replace("SEQ: 3", "SEQ: -1"), "<a/>"),
            datagram(&HEADERS.replace("upnp:event", "upnp:rootdevice"), "<a/>"),
            b"NOTIFY".to_vec(),
            Vec::new(),
        ] {
            assert!(MulticastEvent::parse(&bytes).is_none(), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn copies_and_latecomers_are_no_news_and_a_reboot_is() {
        let last = |seq, boot| Some(LastMulticast::new(seq, boot));
        assert!(LastMulticast::is_news(None, 0, None));
        assert!(!LastMulticast::is_news(last(5, Some(1)), 5, Some(1)));
        assert!(!LastMulticast::is_news(last(5, Some(1)), 4, Some(1)));
        assert!(LastMulticast::is_news(last(u32::MAX, Some(1)), 0, Some(1)));
        assert!(
            LastMulticast::is_news(last(5, Some(1)), 0, Some(2))
                && !LastMulticast::is_news(last(0, Some(2)), 9, Some(1))
        );
        assert!(!LastMulticast::is_news(last(5, None), 3, None) && LastMulticast::is_news(last(50, None), 0, None));
        assert!(LastMulticast::is_news(last(5, None), 6, None) && !LastMulticast::is_news(last(5, None), 5, None));
    }
}
