//! Whose signature is checked when many call: a budget for everybody, and one for those who bring a cookie. PURE.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::limits::{CALLS_BURST, CALLS_PER_S};

/// How many signatures may be checked now.
#[derive(Clone, Copy, Debug)]
struct Budget {
    /// Thousandths of a check.
    left_milli: u64,
    at: Duration,
}

impl Budget {
    fn full(at: Duration) -> Self {
        Self { left_milli: CALLS_BURST * 1000, at }
    }

    fn spend(&mut self, now: Duration) -> bool {
        let gained = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        self.left_milli = self.left_milli.saturating_add(gained.saturating_mul(CALLS_PER_S)).min(CALLS_BURST * 1000);
        self.at = now;
        let enough = self.left_milli >= 1000;
        if enough {
            self.left_milli -= 1000;
        }
        enough
    }
}

/// Who is let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    anybody: Budget,
    with_cookie: Budget,
}

impl Gate {
    /// Nobody has called yet. `now` is time since boot.
    pub(super) fn new(now: Duration) -> Self {
        Self { anybody: Budget::full(now), with_cookie: Budget::full(now) }
    }

    /// Whether one more may be looked at though it brings nothing: there is no load.
    pub(super) fn admits_anybody(&mut self, now: Duration) -> bool {
        self.anybody.spend(now)
    }

    /// Whether one more with a right cookie may be looked at.
    pub(super) fn admits_cookie(&mut self, now: Duration) -> bool {
        self.with_cookie.spend(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_without_cookies_leaves_room_for_who_brings_one() {
        let mut gate = Gate::new(Duration::ZERO);
        let mut checked = 0;
        for ms in 0..10_000 {
            checked += u64::from(gate.admits_anybody(Duration::from_millis(ms)));
        }
        assert_eq!(checked, CALLS_BURST + 10 * CALLS_PER_S - 1);
        let now = Duration::from_secs(10);
        assert!(gate.admits_anybody(now) && !gate.admits_anybody(now), "the last one of ten seconds");
        assert!(gate.admits_cookie(now));
    }
}
