//! When to try next, so that a million homes that lost their utility in one second do not come back in one second.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::limits::{UTILITY_RETRY_FIRST, UTILITY_RETRY_MAX};

/// Draws waiting times.
#[derive(Debug)]
pub(super) struct Pace {
    rng: fastrand::Rng,
    spread: Duration,
    failures: u32,
}

impl Pace {
    pub(super) fn new(spread: Duration, seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), spread, failures: 0 }
    }

    pub(super) fn set_spread(&mut self, spread: Duration) {
        self.spread = spread;
    }

    /// Up to that long.
    pub(super) fn within(&mut self, most: Duration) -> Duration {
        Duration::from_millis(self.rng.u64(0..=u64::try_from(most.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Until the first contact after a start or an outage.
    pub(super) fn first(&mut self) -> Duration {
        self.within(self.spread)
    }

    /// After a failure: anywhere up to a bound that doubles with each. The server's own word goes before it, a quarter more at most.
    pub(super) fn after_failure(&mut self, retry_after_s: Option<u64>) -> Duration {
        let base = self.spread.clamp(UTILITY_RETRY_FIRST, UTILITY_RETRY_MAX);
        let bound = base.saturating_mul(1 << self.failures.min(16)).min(UTILITY_RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        match retry_after_s {
            Some(after_s) => {
                let after = Duration::from_secs(after_s.min(24 * 3600));
                after + self.within((after / 4).max(Duration::from_secs(1)))
            }
            None => self.within(bound).max(Duration::from_secs(1)),
        }
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(super) fn failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_cut_off_together_come_back_apart_and_ask_ever_less() {
        let mut tenths = [0u32; 10];
        for seed in 0..10_000 {
            let mut pace = Pace::new(Duration::from_secs(100), seed);
            let first = pace.after_failure(None).as_secs();
            tenths[(first / 10).min(9) as usize] += 1;
            for _ in 0..40 {
                assert!(pace.after_failure(None) <= UTILITY_RETRY_MAX);
            }
            pace.succeeded();
            assert!(pace.after_failure(None) <= Duration::from_secs(100));
        }
        assert!(tenths.iter().all(|n| n.abs_diff(1000) < 150), "{tenths:?}");
    }

    #[test]
    fn the_servers_word_is_obeyed_and_spread_a_little() {
        let mut pace = Pace::new(Duration::from_secs(1), 1);
        for _ in 0..100 {
            let wait = pace.after_failure(Some(40)).as_secs();
            assert!((40..=50).contains(&wait), "{wait}");
        }
    }
}
