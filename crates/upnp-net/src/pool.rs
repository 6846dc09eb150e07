//! Outgoing connections kept for the next request to the same peer.
//!
//! A kept connection is a bare socket without HTTP state. Ages count on CLOCK_BOOTTIME: after a sleep of the machine a
//! connection is as old as its peer thinks.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::time::{ClockId, clock_gettime};
use tokio::net::TcpStream;

use crate::limits::{POOL_MAX, POOL_PER_HOST_MAX};

/// Idle connections by peer.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Duration,
    kept: Mutex<BTreeMap<SocketAddr, VecDeque<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    stream: TcpStream,
    since: Duration,
}

impl Pool {
    /// An empty pool that keeps a connection for `idle` without use.
    pub(crate) fn new(idle: Duration) -> Self {
        Self { idle, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, VecDeque<Kept>>> {
        // Every change is complete in itself.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to `peer` used last, if one is left that looks alive.
    pub(crate) fn take(&self, peer: SocketAddr) -> Option<TcpStream> {
        let now = boottime();
        let mut kept = self.kept();
        let of_peer = kept.get_mut(&peer)?;
        let mut found = None;
        while let Some(k) = of_peer.pop_back() {
            if now.saturating_sub(k.since) <= self.idle && is_quiet(&k.stream) {
                found = Some(k.stream);
                break;
            }
        }
        if of_peer.is_empty() {
            kept.remove(&peer);
        }
        found
    }

    /// Keeps a connection; the oldest gives way when there are too many.
    pub(crate) fn put(&self, peer: SocketAddr, stream: TcpStream) {
        if self.idle.is_zero() {
            return;
        }
        let mut kept = self.kept();
        if kept.values().map(VecDeque::len).sum::<usize>() >= POOL_MAX {
            let oldest = kept.iter().filter_map(|(peer, k)| Some((k.front()?.since, *peer))).min();
            if let Some((_, oldest)) = oldest {
                drop_front(&mut kept, oldest);
            }
        }
        let of_peer = kept.entry(peer).or_default();
        of_peer.push_back(Kept { stream, since: boottime() });
        if of_peer.len() > POOL_PER_HOST_MAX {
            of_peer.pop_front();
        }
    }

    /// Closes connections that have been idle too long, and says after what time to come again.
    pub(crate) fn sweep(&self) -> Option<Duration> {
        let now = boottime();
        let mut kept = self.kept();
        kept.retain(|_, of_peer| {
            of_peer.retain(|k| now.saturating_sub(k.since) < self.idle);
            !of_peer.is_empty()
        });
        let oldest = kept.values().filter_map(|k| Some(k.front()?.since)).min()?;
        Some((oldest + self.idle).saturating_sub(now))
    }

    /// Closes all, because addresses changed: a connection from an address that is gone would only time out.
    pub(crate) fn clear(&self) {
        self.kept().clear();
    }
}

fn drop_front(kept: &mut BTreeMap<SocketAddr, VecDeque<Kept>>, peer: SocketAddr) {
    if let Some(of_peer) = kept.get_mut(&peer) {
        of_peer.pop_front();
        if of_peer.is_empty() {
            kept.remove(&peer);
        }
    }
}

/// Neither closed by the peer nor with bytes nobody asked for.
fn is_quiet(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}

fn boottime() -> Duration {
    // The clock exists on every Linux; without it nothing would be kept.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
}
