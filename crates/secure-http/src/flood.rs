//! Who is served when many ask: a count for each peer, the signs of a flood, and how many strangers are let through during one. For the
//! servers of sealed messages.

use core::net::{IpAddr, Ipv6Addr};
use std::collections::BTreeMap;

/// When a server is under load, and what it then lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadLimits {
    /// Requests waiting from which on it is under load: then it asks for cookies before it checks signatures.
    pub queue: usize,
    /// Refusals in a second from which on it is under load: honest senders make next to none.
    pub refusals_per_s: u32,
    /// How long it counts as under load after the last such second (seconds).
    pub hold_s: u64,
    /// Under load: requests with an address cookie that are served per second for one neighbourhood (/24, /56).
    pub neighbourhood_per_s: u32,
    /// Peers whose requests are counted apart; beyond that all others share one count.
    pub peers_max: usize,
}

/// Tokens of a peer, in thousandths, and when they were counted (seconds since boot).
#[derive(Clone, Copy, Debug)]
struct Bucket {
    milli: u64,
    at: u64,
}

/// Counts requests. Times are whole seconds since boot.
#[derive(Debug)]
pub struct Flood {
    limits: LoadLimits,
    per_minute: u32,
    peers: BTreeMap<Ipv6Addr, Bucket>,
    refusals: (u64, u32),
    load_until: u64,
    neighbourhoods: (u64, BTreeMap<Ipv6Addr, u32>),
}

impl Flood {
    /// Lets each peer ask so often a minute, all of it at once if it likes.
    pub fn new(per_minute: u32, limits: LoadLimits) -> Self {
        Self {
            limits,
            per_minute,
            peers: BTreeMap::new(),
            refusals: (0, 0),
            load_until: 0,
            neighbourhoods: (0, BTreeMap::new()),
        }
    }

    /// Counts a request of that peer (an IPv4 address, or a /64 of IPv6); an error says after how many seconds to come again.
    pub fn count(&mut self, peer: IpAddr, now: u64) -> Result<(), u64> {
        let full = u64::from(self.per_minute) * 1000;
        let mut key = prefix(peer, 128, 64);
        if !self.peers.contains_key(&key) && self.peers.len() >= self.limits.peers_max {
            // Who has all its tokens back is as good as unknown.
            self.peers.retain(|_, b| refilled(*b, full, now) < full);
            if self.peers.len() >= self.limits.peers_max {
                key = Ipv6Addr::UNSPECIFIED;
            }
        }
        let bucket = self.peers.entry(key).or_insert(Bucket { milli: full, at: now });
        *bucket = Bucket { milli: refilled(*bucket, full, now), at: now };
        match bucket.milli.checked_sub(1000) {
            Some(rest) => {
                bucket.milli = rest;
                Ok(())
            }
            None => Err((1000 - bucket.milli).div_ceil((full / 60).max(1)).max(1)),
        }
    }

    /// A request was refused before its sender was known.
    pub fn refused(&mut self, now: u64) {
        if self.refusals.0 != now {
            self.refusals = (now, 0);
        }
        self.refusals.1 = self.refusals.1.saturating_add(1);
        if self.refusals.1 >= self.limits.refusals_per_s {
            self.load_until = now + self.limits.hold_s;
        }
    }

    /// Whether cookies are wanted now, with so many requests waiting.
    pub fn is_under_load(&mut self, waiting: usize, now: u64) -> bool {
        if waiting >= self.limits.queue {
            self.load_until = now + self.limits.hold_s;
        }
        now < self.load_until
    }

    /// Under load: whether a stranger who shows that it receives at its address is served. So many a second for each neighbourhood.
    pub fn admit_stranger(&mut self, peer: IpAddr, now: u64) -> bool {
        if self.neighbourhoods.0 != now {
            self.neighbourhoods = (now, BTreeMap::new());
        }
        let LoadLimits { neighbourhood_per_s, peers_max, .. } = self.limits;
        let places = &mut self.neighbourhoods.1;
        if places.len() >= peers_max {
            return false;
        }
        let served = places.entry(prefix(peer, 120, 56)).or_insert(0);
        *served = served.saturating_add(1);
        *served <= neighbourhood_per_s
    }
}

fn refilled(bucket: Bucket, full: u64, now: u64) -> u64 {
    let passed = now.saturating_sub(bucket.at);
    bucket.milli.saturating_add(passed.saturating_mul(full / 60)).min(full)
}

/// The first bits of an address; IPv4 as mapped, whose own bits begin at 96.
fn prefix(peer: IpAddr, v4_bits: u32, v6_bits: u32) -> Ipv6Addr {
    let (address, bits) = match peer.to_canonical() {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped(), v4_bits),
        IpAddr::V6(v6) => (v6, v6_bits),
    };
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LoadLimits =
        LoadLimits { queue: 16, refusals_per_s: 32, hold_s: 5, neighbourhood_per_s: 8, peers_max: 4096 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_that_asks_too_often_waits_and_the_others_do_not() {
        let mut flood = Flood::new(60, LIMITS);
        for _ in 0..60 {
            assert_eq!(flood.count(ip("192.0.2.1"), 10), Ok(()));
        }
        assert_eq!(flood.count(ip("192.0.2.1"), 10), Err(1));
        assert_eq!(flood.count(ip("192.0.2.2"), 10), Ok(()));
        assert_eq!(flood.count(ip("192.0.2.1"), 11), Ok(()), "one comes back each second");
        assert_eq!(flood.count(ip("::ffff:192.0.2.1"), 11), Err(1), "the same peer by another name");
        let mut slow = Flood::new(1, LIMITS);
        assert_eq!((slow.count(ip("192.0.2.1"), 0), slow.count(ip("192.0.2.1"), 0)), (Ok(()), Err(63)));
    }

    #[test]
    fn a_network_of_one_subscriber_is_one_peer() {
        let mut flood = Flood::new(2, LIMITS);
        assert_eq!(flood.count(ip("2001:db8:1:2::1"), 0), Ok(()));
        assert_eq!(flood.count(ip("2001:db8:1:2:ffff::7"), 0), Ok(()));
        assert!(flood.count(ip("2001:db8:1:2::3"), 0).is_err());
        assert_eq!(flood.count(ip("2001:db8:1:3::1"), 0), Ok(()));
    }

    #[test]
    fn the_table_of_peers_is_bounded_and_forgets_who_has_been_quiet() {
        let mut flood = Flood::new(60, LIMITS);
        for i in 0..LIMITS.peers_max as u32 + 500 {
            flood.count(IpAddr::V4(core::net::Ipv4Addr::from_bits(0x0a00_0000 + i)), 5).unwrap_or_default();
        }
        assert!(flood.peers.len() <= LIMITS.peers_max + 1);
        flood.count(ip("192.0.2.1"), 500).unwrap();
        assert_eq!(flood.peers.len(), 1);
    }

    #[test]
    fn refusals_and_a_queue_are_load_for_a_while() {
        let mut flood = Flood::new(60, LIMITS);
        for _ in 0..LIMITS.refusals_per_s - 1 {
            flood.refused(7);
        }
        flood.refused(8);
        assert!(!flood.is_under_load(0, 8), "not within one second");
        for _ in 0..LIMITS.refusals_per_s {
            flood.refused(9);
        }
        assert!(flood.is_under_load(0, 9 + LIMITS.hold_s - 1) && !flood.is_under_load(0, 9 + LIMITS.hold_s));
        assert!(flood.is_under_load(LIMITS.queue, 100) && flood.is_under_load(0, 101));
    }

    #[test]
    fn under_load_a_neighbourhood_gets_its_share_and_no_more() {
        let mut flood = Flood::new(60, LIMITS);
        let served = (0..100).filter(|i| flood.admit_stranger(ip(&format!("192.0.2.{i}")), 3)).count();
        assert_eq!(served, LIMITS.neighbourhood_per_s as usize);
        assert!(flood.admit_stranger(ip("192.0.3.1"), 3) && flood.admit_stranger(ip("192.0.2.1"), 4));
    }
}
