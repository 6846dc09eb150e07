//! One subscription seen from the subscriber (UDA 1.1, 4.1 and 4.2): when to SUBSCRIBE, renew and UNSUBSCRIBE, which
//! NOTIFY to take, and the requests and headers for it.
//!
//! In: grants, failures and NOTIFYs. Out: an [`Order`] at a time, the [`Verdict`] on a NOTIFY, and the time of the next
//! order. Strict in what tells one subscription from another (SID, SEQ), lenient in how peers write it.

use core::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};

use crate::ids::Sid;
use crate::limits::{
    BACKLOG_EVENTS_MAX, LEASE_ASKED, LEASE_MAX, LEASE_MIN, LEASE_UNSAID, SUBSCRIBE_BACKOFF_FIRST, SUBSCRIBE_BACKOFF_MAX,
};
use crate::net::HttpError;
use crate::request::request;
use crate::time::BootTime;
use crate::url::HttpUrl;

/// Why a SUBSCRIBE or a renewal failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// No HTTP answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The publisher said no.
    #[error("the device answered with status {0}")]
    Status(u16),
    /// A grant without a usable SID.
    #[error("the device granted a subscription without a SID")]
    NoSid,
    /// An event is missing between the last one and this one.
    #[error("event SEQ {got} came where {due} was due")]
    Gap {
        /// SEQ due.
        due: u32,
        /// SEQ received.
        got: u32,
    },
    /// The lease ran out before it was renewed (the host slept).
    #[error("the subscription ran out")]
    Expired,
}

/// What the publisher granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The subscription's id; a renewal's reply may leave it out.
    pub sid: Option<Sid>,
    /// For how long, within [`LEASE_MIN`] and [`LEASE_MAX`].
    pub lease: Duration,
}

impl Grant {
    /// Reads the reply to a SUBSCRIBE or a renewal.
    pub fn parse<B>(response: &Response<B>) -> Result<Self, SubscribeError> {
        if !response.status().is_success() {
            return Err(SubscribeError::Status(response.status().as_u16()));
        }
        let text = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok());
        let sid = text("sid").and_then(|s| Sid::parse(s).ok());
        let lease = text("timeout").and_then(parse_timeout).unwrap_or(LEASE_UNSAID);
        Ok(Self { sid, lease: lease.clamp(LEASE_MIN, LEASE_MAX) })
    }
}

/// A TIMEOUT as devices write it: `Second-1800`, `1800`, `Second-0:30:00`, `Second-infinite`, `infinite`.
fn parse_timeout(value: &str) -> Option<Duration> {
    let value = value.trim();
    let value = match value.get(..7) {
        Some(prefix) if prefix.eq_ignore_ascii_case("second-") => &value[7..],
        _ => value,
    };
    if value.eq_ignore_ascii_case("infinite") {
        return Some(LEASE_MAX);
    }
    let mut seconds: u64 = 0;
    for part in value.split(':') {
        let digits = part.split('.').next().filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))?;
        // More digits than fit are a very long time.
        let number = digits.parse::<u64>().unwrap_or(u64::MAX);
        seconds = seconds.saturating_mul(60).saturating_add(number);
    }
    Some(Duration::from_secs(seconds))
}

/// The headers of a NOTIFY that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyHead {
    /// Subscription it is for.
    pub sid: Sid,
    /// Event key.
    pub seq: u32,
}

impl NotifyHead {
    /// Reads the headers of a NOTIFY. The error is the status to answer (UDA 1.1, 4.2.1): 400 where NT, NTS or SEQ is
    /// missing or unreadable, 412 where NT or NTS is another one or SID is missing.
    pub fn parse(headers: &HeaderMap) -> Result<Self, StatusCode> {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
        let (Some(nt), Some(nts)) = (text("nt"), text("nts")) else {
            return Err(StatusCode::BAD_REQUEST);
        };
        if nt != "upnp:event" || nts != "upnp:propchange" {
            return Err(StatusCode::PRECONDITION_FAILED);
        }
        let sid = text("sid").and_then(|s| Sid::parse(s).ok()).ok_or(StatusCode::PRECONDITION_FAILED)?;
        let seq = text("seq").and_then(|s| s.parse().ok()).ok_or(StatusCode::BAD_REQUEST)?;
        Ok(Self { sid, seq })
    }
}

/// What the machine wants sent; its answer goes to [`Subscription::granted`] or [`Subscription::failed`], that of an
/// [`Order::Unsubscribe`] nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A new subscription.
    Subscribe,
    /// A longer lease for this one.
    Renew(Sid),
    /// An end to this one.
    Unsubscribe(Sid),
}

/// What to do with a NOTIFY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer 200 and deliver it.
    Deliver,
    /// Answer 200 and deliver it: it is news, but an earlier event was lost, so the machine now subscribes afresh.
    DeliverAfterGap(SubscribeError),
    /// Answer 200 and drop it: it came before.
    Repeat,
    /// Answer 200 and drop it: older than what was delivered; the machine now subscribes afresh.
    Stale(SubscribeError),
    /// The SUBSCRIBE is not answered yet: give it to [`Subscription::hold`].
    Hold,
    /// Answer 412: not a subscription of ours (any more).
    Unknown,
}

/// An event that came before the reply to its SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldEvent {
    /// Its headers.
    pub head: NotifyHead,
    /// Its variables.
    pub variables: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
enum Phase {
    /// SUBSCRIBE is due at a time.
    Wanted { due: BootTime },
    /// SUBSCRIBE is in flight.
    Asking,
    /// Granted.
    Active { lease: Lease, renew_at: BootTime },
    /// Granted, renewal in flight.
    Renewing { lease: Lease },
    /// Nothing more is wanted.
    Stopped,
}

#[derive(Clone, Debug)]
struct Lease {
    sid: Sid,
    /// SEQ of the last event taken.
    last: Option<u32>,
    expires: BootTime,
}

/// A subscription to one service, from the first SUBSCRIBE on until [`stop`](Self::stop).
#[derive(Clone, Debug)]
pub struct Subscription {
    phase: Phase,
    /// A SID that the publisher may still serve and that is to be given back.
    farewell: Option<Sid>,
    /// SUBSCRIBEs failed in a row.
    failures: u8,
    /// Fresh starts because of a gap, since the last renewal.
    gaps: u8,
    held: Vec<HeldEvent>,
}

impl Subscription {
    /// Wants a SUBSCRIBE at once.
    pub fn new(now: BootTime) -> Self {
        Self { phase: Phase::Wanted { due: now }, farewell: None, failures: 0, gaps: 0, held: Vec::new() }
    }

    /// Whether a lease is held.
    pub fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Active { .. } | Phase::Renewing { .. })
    }

    /// SUBSCRIBEs failed in a row; who failed least goes first when slots are scarce.
    pub fn failures(&self) -> u8 {
        self.failures
    }

    /// When [`next_order`](Self::next_order) has something to say; none while a request is in flight or nothing is wanted.
    pub fn due(&self) -> Option<BootTime> {
        if self.farewell.is_some() {
            return Some(BootTime::ZERO);
        }
        match &self.phase {
            Phase::Wanted { due } => Some(*due),
            Phase::Active { renew_at, .. } => Some(*renew_at),
            Phase::Asking | Phase::Renewing { .. } | Phase::Stopped => None,
        }
    }

    /// The next request, which is in flight from now on. An unsubscription comes before the subscription that replaces it.
    pub fn next_order(&mut self, now: BootTime) -> Option<Order> {
        if let Some(sid) = self.farewell.take() {
            return Some(Order::Unsubscribe(sid));
        }
        match &self.phase {
            Phase::Wanted { due } if *due <= now => {
                self.phase = Phase::Asking;
                Some(Order::Subscribe)
            }
            Phase::Active { lease, renew_at } if *renew_at <= now => {
                if lease.expires <= now {
                    self.phase = Phase::Asking;
                    return Some(Order::Subscribe);
                }
                let lease = lease.clone();
                let order = Order::Renew(lease.sid.clone());
                self.phase = Phase::Renewing { lease };
                Some(order)
            }
            _ => None,
        }
    }

    /// The SUBSCRIBE or renewal in flight was granted. The renewal is set at a random point between half and three
    /// quarters of the lease, so that many subscriptions spread out and one failure leaves time for another try. A grant
    /// without a SID is a failure for a new subscription.
    pub fn granted(&mut self, grant: Grant, now: BootTime, rng: &mut fastrand::Rng) -> Result<(), SubscribeError> {
        let renewal = matches!(self.phase, Phase::Renewing { .. });
        let (sid, last) = match (core::mem::replace(&mut self.phase, Phase::Stopped), grant.sid) {
            (Phase::Asking, Some(sid)) => (sid, None),
            (Phase::Asking, None) => {
                self.phase = Phase::Asking;
                self.failed(&SubscribeError::NoSid, now, rng);
                return Err(SubscribeError::NoSid);
            }
            // Another SID means that the publisher made a new subscription of the renewal.
            (Phase::Renewing { lease }, Some(sid)) if sid != lease.sid => (sid, None),
            (Phase::Renewing { lease }, _) => (lease.sid, lease.last),
            // Stopped while the request was out: what was granted is given back.
            (other, sid) => {
                self.phase = other;
                self.farewell = self.farewell.take().or(sid);
                return Ok(());
            }
        };
        let lease_ms = u64::try_from(grant.lease.as_millis()).unwrap_or(u64::MAX);
        let renew_at = now + Duration::from_millis(rng.u64(lease_ms / 2..=lease_ms / 4 * 3));
        self.phase = Phase::Active { lease: Lease { sid, last, expires: now + grant.lease }, renew_at };
        self.failures = 0;
        if renewal {
            self.gaps = 0;
        }
        Ok(())
    }

    /// The SUBSCRIBE or renewal in flight failed. A failed renewal is followed by a fresh SUBSCRIBE at once; failed
    /// SUBSCRIBEs by another after a growing, jittered time.
    pub fn failed(&mut self, error: &SubscribeError, now: BootTime, rng: &mut fastrand::Rng) {
        self.held = Vec::new();
        match &self.phase {
            Phase::Renewing { lease } => {
                // The publisher is there but did not say that it knows no such SID: it may go on sending.
                if matches!(error, SubscribeError::Status(status) if *status != 412) {
                    self.farewell = Some(lease.sid.clone());
                }
                self.phase = Phase::Wanted { due: now };
            }
            Phase::Asking => {
                self.phase = Phase::Wanted { due: now + backoff(self.failures, rng) };
                self.failures = self.failures.saturating_add(1);
            }
            _ => {}
        }
    }

    /// Judges a NOTIFY by SID and SEQ and takes note of it.
    pub fn notified(&mut self, head: &NotifyHead, now: BootTime, rng: &mut fastrand::Rng) -> Verdict {
        let lease = match &mut self.phase {
            Phase::Active { lease, .. } | Phase::Renewing { lease } if lease.sid == head.sid => lease,
            Phase::Asking => return Verdict::Hold,
            _ => return Verdict::Unknown,
        };
        let due = match lease.last {
            None => 0,
            Some(u32::MAX) => 1,
            Some(last) => last + 1,
        };
        let wrapped_to_0 = lease.last == Some(u32::MAX) && head.seq == 0;
        // A publisher that starts with another number than 0 once more does so always.
        let odd_start = lease.last.is_none() && self.gaps > 0;
        if head.seq == due || wrapped_to_0 || odd_start {
            lease.last = Some(head.seq);
            return Verdict::Deliver;
        }
        if lease.last == Some(head.seq) {
            return Verdict::Repeat;
        }
        let gap = SubscribeError::Gap { due, got: head.seq };
        self.farewell = Some(lease.sid.clone());
        let wait = if self.gaps == 0 { Duration::ZERO } else { backoff(self.gaps, rng) };
        self.gaps = self.gaps.saturating_add(1);
        // A renewal in flight is for the SID that is given up: its answer changes nothing.
        self.phase = Phase::Wanted { due: now + wait };
        if head.seq > due { Verdict::DeliverAfterGap(gap) } else { Verdict::Stale(gap) }
    }

    /// Keeps an event that beat the reply to its SUBSCRIBE; false when [`BACKLOG_EVENTS_MAX`] are kept already (answer 503,
    /// the gap will show in SEQ).
    pub fn hold(&mut self, event: HeldEvent) -> bool {
        let room = self.held.len() < BACKLOG_EVENTS_MAX && matches!(self.phase, Phase::Asking);
        if room {
            self.held.push(event);
        }
        room
    }

    /// After [`granted`](Self::granted): the events held, oldest first, to be judged by [`notified`](Self::notified).
    pub fn take_held(&mut self) -> Vec<HeldEvent> {
        core::mem::take(&mut self.held)
    }

    /// Renews at once (the host was asleep, the lease may be forgotten over there).
    pub fn renew_now(&mut self, now: BootTime) {
        match &mut self.phase {
            Phase::Active { renew_at, .. } => *renew_at = now,
            Phase::Wanted { due } => *due = now,
            _ => {}
        }
        self.failures = 0;
    }

    /// Gives the present subscription back and wants a new one at once (the callback address changed).
    pub fn start_afresh(&mut self, now: BootTime) {
        self.farewell = self.active_sid().or(self.farewell.take());
        self.phase = Phase::Wanted { due: now };
        self.held = Vec::new();
        self.failures = 0;
    }

    /// Wants nothing more than to unsubscribe.
    pub fn stop(&mut self) {
        self.farewell = self.active_sid().or(self.farewell.take());
        self.phase = Phase::Stopped;
        self.held = Vec::new();
    }

    fn active_sid(&self) -> Option<Sid> {
        match &self.phase {
            Phase::Active { lease, .. } | Phase::Renewing { lease } => Some(lease.sid.clone()),
            _ => None,
        }
    }
}

/// Time to wait after `failures` earlier ones in a row: doubling from [`SUBSCRIBE_BACKOFF_FIRST`] to
/// [`SUBSCRIBE_BACKOFF_MAX`], less up to a quarter at random.
fn backoff(failures: u8, rng: &mut fastrand::Rng) -> Duration {
    let doubled = SUBSCRIBE_BACKOFF_FIRST.saturating_mul(1 << failures.min(16));
    let ms = u64::try_from(doubled.min(SUBSCRIBE_BACKOFF_MAX).as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(ms - rng.u64(0..=ms / 4))
}

/// A SUBSCRIBE for a new subscription (UDA 1.1, 4.1.2).
pub fn subscribe_request(event_url: &HttpUrl, callback: &HttpUrl, user_agent: &str) -> Request<Bytes> {
    request(
        "SUBSCRIBE",
        event_url,
        &[
            ("USER-AGENT", user_agent),
            ("CALLBACK", &format!("<{callback}>")),
            ("NT", "upnp:event"),
            ("TIMEOUT", &format!("Second-{}", LEASE_ASKED.as_secs())),
        ],
        Bytes::new(),
    )
}

/// A SUBSCRIBE that renews (UDA 1.1, 4.1.3): no NT and no CALLBACK.
pub fn renew_request(event_url: &HttpUrl, sid: &Sid) -> Request<Bytes> {
    let timeout = format!("Second-{}", LEASE_ASKED.as_secs());
    request("SUBSCRIBE", event_url, &[("SID", sid.as_str()), ("TIMEOUT", &timeout)], Bytes::new())
}

/// An UNSUBSCRIBE (UDA 1.1, 4.1.4).
pub fn unsubscribe_request(event_url: &HttpUrl, sid: &Sid) -> Request<Bytes> {
    request("UNSUBSCRIBE", event_url, &[("SID", sid.as_str())], Bytes::new())
}
