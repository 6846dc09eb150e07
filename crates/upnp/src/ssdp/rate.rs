//! Rate limits: a token bucket, and one per source beside one for all.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::limits::SSDP_SOURCES_MAX;
use crate::time::BootTime;

/// How much may pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// At once.
    pub(super) burst: u32,
    /// Then one each.
    pub(super) every: Duration,
}

/// A bucket that holds `burst` tokens and gains one each `every`. Kept as the time at which it will be full again.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: BootTime,
}

impl Bucket {
    /// Takes a token, or says that there is none.
    fn take(&mut self, rate: Rate, now: BootTime) -> bool {
        let full_at = self.full_at.max(now) + rate.every;
        let fits = full_at.since(now) <= rate.every.saturating_mul(rate.burst);
        if fits {
            self.full_at = full_at;
        }
        fits
    }
}

/// Limits per source and in total.
#[derive(Debug)]
pub(super) struct SourceLimiter {
    per_source: Rate,
    total: Rate,
    all: Bucket,
    sources: BTreeMap<IpAddr, Bucket>,
}

impl SourceLimiter {
    pub(super) fn new(per_source: Rate, total: Rate, now: BootTime) -> Self {
        Self { per_source, total, all: Bucket { full_at: now }, sources: BTreeMap::new() }
    }

    /// Whether one more for `source` may pass now; counts it if so.
    pub(super) fn allow(&mut self, source: IpAddr, now: BootTime) -> bool {
        if !self.sources.contains_key(&source) && self.sources.len() >= SSDP_SOURCES_MAX {
            // A full bucket is as good as none. Where every source is busy, new ones wait: the total limit is near anyway.
            self.sources.retain(|_, bucket| bucket.full_at > now);
            if self.sources.len() >= SSDP_SOURCES_MAX {
                return false;
            }
        }
        let bucket = self.sources.entry(source).or_insert(Bucket { full_at: now });
        let before = *bucket;
        if !bucket.take(self.per_source, now) {
            return false;
        }
        if !self.all.take(self.total, now) {
            *bucket = before;
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_SOURCE: Rate = Rate { burst: 3, every: Duration::from_secs(1) };
    const TOTAL: Rate = Rate { burst: 5, every: Duration::from_secs(1) };

    fn at(ms: u64) -> BootTime {
        BootTime::from_duration(Duration::from_millis(ms))
    }

    #[test]
    fn a_source_has_its_burst_then_its_rate_and_all_sources_share_the_total() {
        let mut limiter = SourceLimiter::new(PER_SOURCE, TOTAL, at(0));
        let (a, b) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        assert_eq!((0..9).filter(|_| limiter.allow(a, at(0))).count(), 3);
        assert_eq!((0..9).filter(|_| limiter.allow(b, at(0))).count(), 2, "the total is used up");
        assert!(!limiter.allow(a, at(999)));
        assert!(limiter.allow(a, at(1000)));
        assert!(!limiter.allow(b, at(1000)), "the token of this second is gone");
        assert_eq!((0..9).filter(|_| limiter.allow(b, at(60_000))).count(), 3);
    }

    #[test]
    fn the_sources_remembered_are_bounded_and_idle_ones_make_room() {
        let total = Rate { burst: 1_000_000, every: Duration::from_millis(1) };
        let mut limiter = SourceLimiter::new(PER_SOURCE, total, at(0));
        let source = |n: u32| IpAddr::from(n.to_be_bytes());
        let allowed = (0..10_000).filter(|n| limiter.allow(source(*n), at(0))).count();
        assert_eq!((allowed, limiter.sources.len()), (SSDP_SOURCES_MAX, SSDP_SOURCES_MAX));
        assert!(limiter.allow(source(10_001), at(1000)), "the old ones are idle by now");
        assert_eq!(limiter.sources.len(), 1);
    }
}
