//! Outgoing connections kept for the next request to the same peer.
//!
//! A kept connection is a bare socket without HTTP state. Ages count on CLOCK_BOOTTIME: after a sleep of the machine a
//! connection is as old as its peer thinks.
//!
//! To some peers a connection is to stay open as long as they are told ([`Pool::keep`]). The latest idle connection to each of
//! them outlives the idle time; where there is none, [`Pool::tend`] names the peer and its caller opens one. A connection its
//! peer has closed is noticed at once, by the reactor that watches the socket anyway: an idle machine is not woken to look.
//!
//! Nobody is pressed: a connection without a request is opened only to a peer that has held one before, after a pause that
//! doubles, and no more once it has closed a few of them soon. Then the connection of the next request decides anew.

use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::time::{ClockId, clock_gettime};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::client::ClientLimits;
use crate::limits::{
    ACKNOWLEDGED_WITHIN, POOL_MAX, POOL_PER_HOST_MAX, SOON_CLOSED_MAX, STANDING_MAX, STANDING_PER_HOST_MAX,
};

/// Idle connections by peer.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: ClientLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first; no peer without a connection.
    idle: BTreeMap<SocketAddr, VecDeque<Kept>>,
    /// Those to stay connected to.
    standing: BTreeMap<SocketAddr, Standing>,
}

#[derive(Debug)]
struct Kept {
    stream: TcpStream,
    since: Duration,
}

/// What is known of a peer to stay connected to.
#[derive(Debug, Default)]
struct Standing {
    /// It held a connection without a request, so one is opened where there is none.
    holds: bool,
    /// Connections in a row that it closed, or that could not be opened.
    setbacks: u32,
    /// None is opened before.
    not_before: Duration,
    /// One is being opened.
    opening: bool,
}

/// What is to be done about the connections.
#[derive(Debug, Default)]
pub(crate) struct Tended {
    /// Peers to open a connection to; each is to be reported by [`Pool::opened`].
    pub(crate) open: Vec<SocketAddr>,
    /// When to come again at the latest.
    pub(crate) again_after: Option<Duration>,
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(limits: ClientLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete in itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to `peer` used last, if one is left that looks alive.
    pub(crate) fn take(&self, peer: SocketAddr) -> Option<TcpStream> {
        let now = boottime();
        let State { idle, standing } = &mut *self.state();
        let mut standing = standing.get_mut(&peer);
        let of_peer = idle.get_mut(&peer)?;
        let mut found = None;
        while let Some(kept) = of_peer.pop_back() {
            let (age, quiet) = (kept.age(now), is_quiet(&kept.stream));
            match &mut standing {
                Some(standing) if quiet => standing.held(age, &self.limits),
                Some(standing) => standing.lost(age, now, &self.limits),
                None => {}
            }
            if quiet && (standing.is_some() || age <= self.limits.idle) {
                found = Some(kept.stream);
                break;
            }
        }
        if of_peer.is_empty() {
            idle.remove(&peer);
        }
        found
    }

    /// Keeps a connection that has carried an answer; the oldest gives way when there are too many.
    pub(crate) fn put(&self, peer: SocketAddr, stream: TcpStream) {
        if self.limits.idle.is_zero() {
            return;
        }
        let mut state = self.state();
        if let Some(standing) = state.standing.get_mut(&peer) {
            standing.setbacks = 0;
        }
        state.put(peer, stream, &self.limits);
    }

    /// The peers to stay connected to from now on, instead of those named before. Beyond the caps the newcomers are left out.
    pub(crate) fn keep(&self, peers: &BTreeSet<SocketAddr>) {
        if self.limits.idle.is_zero() {
            return;
        }
        let standing = &mut self.state().standing;
        standing.retain(|peer, _| peers.contains(peer));
        for peer in peers {
            let of_host = standing.keys().filter(|p| p.ip() == peer.ip()).count();
            if standing.len() < STANDING_MAX && of_host < STANDING_PER_HOST_MAX {
                standing.entry(*peer).or_default();
            }
        }
    }

    /// Closes connections that have been idle too long, and says to whom one is to be opened. None is to a peer for which
    /// `in_use` holds: its connection comes back from its request.
    pub(crate) fn tend(&self, in_use: impl Fn(&SocketAddr) -> bool) -> Tended {
        let now = boottime();
        let State { idle, standing } = &mut *self.state();
        let mut tended = Tended::default();
        let mut again_at = None::<Duration>;
        let mut again = |at: Duration| again_at = Some(again_at.map_or(at, |first| first.min(at)));
        idle.retain(|peer, of_peer| {
            let exempt = usize::from(standing.contains_key(peer));
            while of_peer.len() > exempt && of_peer.front().is_some_and(|k| k.age(now) >= self.limits.idle) {
                of_peer.pop_front();
            }
            if of_peer.len() > exempt {
                of_peer.front().into_iter().for_each(|k| again(k.since + self.limits.idle));
            }
            !of_peer.is_empty()
        });
        for (peer, standing) in standing {
            if !standing.holds || standing.opening || idle.contains_key(peer) || in_use(peer) {
                continue;
            }
            if standing.not_before > now {
                again(standing.not_before);
            } else {
                standing.opening = true;
                tended.open.push(*peer);
            }
        }
        tended.again_after = again_at.map(|at| at.saturating_sub(now));
        tended
    }

    /// What came of opening a connection to `peer`; none when it failed.
    pub(crate) fn opened(&self, peer: SocketAddr, stream: Option<TcpStream>) {
        let mut state = self.state();
        let State { idle, standing } = &mut *state;
        // Whom nobody wants any more is let go.
        let Some(standing) = standing.get_mut(&peer) else { return };
        standing.opening = false;
        match stream {
            // A request was faster.
            Some(_) if idle.contains_key(&peer) => {}
            Some(stream) => state.put(peer, stream, &self.limits),
            None => standing.setback(boottime(), &self.limits),
        }
    }

    /// Ready when a connection that was to stay has been closed by its peer, or broke; it is no longer kept then.
    pub(crate) fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<()> {
        let State { idle, standing } = &mut *self.state();
        let mut lost = Poll::Pending;
        for (peer, standing) in standing {
            let Some(of_peer) = idle.get_mut(peer) else { continue };
            let now = boottime();
            let mut oldest = Duration::ZERO;
            of_peer.retain(|kept| {
                let quiet = poll_disturbed(&kept.stream, cx).is_pending();
                if !quiet {
                    oldest = oldest.max(kept.age(now));
                }
                quiet
            });
            if of_peer.is_empty() {
                idle.remove(peer);
                standing.lost(oldest, now, &self.limits);
                tracing::debug!(%peer, held_s = oldest.as_secs(), again = standing.holds, "connection lost");
                lost = Poll::Ready(());
            }
        }
        lost
    }

    /// Closes all, because addresses changed: a connection from an address that is gone would only time out. Those that are to
    /// stay are opened again at once.
    pub(crate) fn clear(&self) {
        let now = boottime();
        let State { idle, standing } = &mut *self.state();
        for (peer, standing) in standing {
            let held = idle.get(peer).into_iter().flatten().filter(|k| is_quiet(&k.stream)).map(|k| k.age(now));
            held.for_each(|age| standing.held(age, &self.limits));
            (standing.setbacks, standing.not_before) = (0, Duration::ZERO);
        }
        idle.clear();
    }
}

impl State {
    /// Keeps a connection, the latest of its peer. Where there are too many the oldest gives way that nobody wants to stay.
    fn put(&mut self, peer: SocketAddr, stream: TcpStream, limits: &ClientLimits) {
        if self.standing.contains_key(&peer) {
            probe(&stream, limits.probe_after);
        }
        if self.idle.values().map(VecDeque::len).sum::<usize>() >= POOL_MAX {
            let spare = self.idle.iter().filter(|(peer, of)| of.len() > 1 || !self.standing.contains_key(peer));
            let oldest = spare.filter_map(|(peer, of)| Some((of.front()?.since, *peer))).min();
            if let Some((_, oldest)) = oldest
                && let Some(of_peer) = self.idle.get_mut(&oldest)
            {
                of_peer.pop_front();
                if of_peer.is_empty() {
                    self.idle.remove(&oldest);
                }
            }
        }
        let of_peer = self.idle.entry(peer).or_default();
        of_peer.push_back(Kept { stream, since: boottime() });
        if of_peer.len() > POOL_PER_HOST_MAX {
            of_peer.pop_front();
        }
    }
}

impl Kept {
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.since)
    }
}

impl Standing {
    /// The peer has held a connection for this long.
    fn held(&mut self, age: Duration, limits: &ClientLimits) {
        self.holds |= age >= limits.holds_after;
    }

    /// The peer closed a connection after this long, or it broke.
    fn lost(&mut self, age: Duration, now: Duration, limits: &ClientLimits) {
        self.held(age, limits);
        let soon = age < limits.held_well_after;
        if !soon {
            self.setbacks = 0;
        }
        self.setback(now, limits);
        if soon && self.setbacks >= SOON_CLOSED_MAX {
            self.holds = false;
        }
    }

    /// The next one is opened after a pause, each twice as long as the one before.
    fn setback(&mut self, now: Duration, limits: &ClientLimits) {
        let doubled = 1_u32.checked_shl(self.setbacks).unwrap_or(u32::MAX);
        self.not_before = now + limits.reopen_after.saturating_mul(doubled).min(limits.reopen_after_max);
        self.setbacks = self.setbacks.saturating_add(1);
    }
}

/// Has the kernel ask a silent peer whether it is still there. With a time-out for what is sent (TCP_USER_TIMEOUT) it counts no
/// probes: one that has no answer when the next is due ends the connection.
fn probe(stream: &TcpStream, after: Duration) {
    let probes = TcpKeepalive::new().with_time(after).with_interval(ACKNOWLEDGED_WITHIN);
    if let Err(e) = SockRef::from(stream).set_tcp_keepalive(&probes) {
        tracing::debug!(%e, "no probes on a connection that is to stay");
    }
}

/// Ready when the connection is no longer quiet; else whoever polls is woken when that changes.
fn poll_disturbed(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
    // What the reactor says may be outdated: only reading tells.
    while let Poll::Ready(ready) = stream.poll_read_ready(cx) {
        if ready.is_err() || !is_quiet(stream) {
            return Poll::Ready(());
        }
    }
    Poll::Pending
}

/// Neither closed by the peer nor with bytes nobody asked for.
fn is_quiet(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}

fn boottime() -> Duration {
    // The clock exists on every Linux; without it nothing would be kept.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn peer(host: u8, port: u16) -> SocketAddr {
        ([192, 0, 2, host], port).into()
    }

    /// How long after a moment one is opened again.
    fn pause(standing: &Standing, now: Duration) -> Duration {
        standing.not_before - now
    }

    #[test]
    fn the_pause_before_another_try_doubles_up_to_a_minute_and_is_short_again_after_a_connection_that_lasted() {
        let (limits, now) = (ClientLimits::default(), 1000 * S);
        let mut standing = Standing::default();
        let pauses = (0..40).map(|_| {
            standing.setback(now, &limits);
            pause(&standing, now).as_secs()
        });
        assert!(pauses.eq([1, 2, 4, 8, 16, 32].into_iter().chain([60; 34])));

        standing.lost(60 * S, now, &limits);

        assert_eq!((standing.holds, pause(&standing, now)), (true, S));
    }

    #[test]
    fn who_closes_right_after_its_answer_never_counts_as_one_that_holds_and_who_closes_soon_three_times_no_more() {
        let (limits, now) = (ClientLimits::default(), 1000 * S);
        let mut standing = Standing::default();
        standing.lost(S / 10, now, &limits);
        assert!(!standing.holds);

        let mut standing = Standing::default();
        let held = [(); 4].map(|()| {
            standing.lost(20 * S, now, &limits);
            standing.holds
        });
        assert_eq!(held, [true, true, false, false]);

        standing.lost(100 * S, now, &limits);
        assert!(standing.holds, "then it held one well");
    }

    #[test]
    fn of_too_many_peers_those_known_before_stay_and_no_host_takes_all_places() {
        let pool = Pool::new(ClientLimits::default());
        let standing = || pool.state().standing.keys().copied().collect::<BTreeSet<_>>();
        let known = peer(200, 5000);
        pool.keep(&[known].into());

        let flood = (0..500).map(|i| peer(1, 2000 + i));
        pool.keep(&flood.clone().chain([known]).collect());
        assert_eq!((standing().len(), standing().contains(&known)), (1 + STANDING_PER_HOST_MAX, true));

        let many = (1..100).flat_map(|host| [peer(host, 5000), peer(host, 6000)]);
        pool.keep(&many.chain([known]).collect());
        assert_eq!((standing().len(), standing().contains(&known)), (STANDING_MAX, true));

        pool.keep(&BTreeSet::new());
        assert!(standing().is_empty());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_full_pool_gives_up_the_oldest_connection_that_is_not_to_stay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, _other_end) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stream = one.unwrap().into_std().unwrap();
        let stream = || TcpStream::from_std(stream.try_clone().unwrap()).unwrap();
        let pool = Pool::new(ClientLimits::default());
        let (stays, oldest, newest) = (peer(1, 5000), peer(2, 1), peer(2, POOL_MAX as u16));
        pool.keep(&[stays].into());
        pool.put(stays, stream());
        (1..=POOL_MAX as u16).for_each(|port| pool.put(peer(2, port), stream()));

        assert!(pool.take(stays).is_some() && pool.take(newest).is_some());
        assert!(pool.take(oldest).is_none());
    }
}
