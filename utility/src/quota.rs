//! How much one token or address may ask for: a bucket that fills at a steady rate.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

/// What a bucket holds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    left: f64,
    at: Duration,
}

/// Buckets by key, up to a number; the one longest untouched gives way.
#[derive(Clone, Debug)]
pub struct Quotas {
    per_s: f64,
    burst: f64,
    buckets_max: usize,
    buckets: BTreeMap<String, Bucket>,
}

impl Quotas {
    /// Buckets that hold `burst` and fill at `per_s`.
    pub fn new(per_s: f64, burst: u32, buckets_max: usize) -> Self {
        Self {
            per_s: per_s.max(f64::MIN_POSITIVE),
            burst: f64::from(burst.max(1)),
            buckets_max,
            buckets: BTreeMap::new(),
        }
    }

    /// Takes one from `key`'s bucket at `now` (any steady clock).
    ///
    /// # Errors
    /// It is empty: how long until there is one again.
    pub fn take(&mut self, key: &str, now: Duration) -> Result<(), Duration> {
        let left = self.left(key, now);
        if left < 1.0 {
            return Err(self.until(left));
        }
        self.put(key, Bucket { left: left - 1.0, at: now });
        Ok(())
    }

    /// As [`take`](Self::take), without taking.
    ///
    /// # Errors
    /// As there.
    pub fn look(&self, key: &str, now: Duration) -> Result<(), Duration> {
        let left = self.left(key, now);
        if left < 1.0 { Err(self.until(left)) } else { Ok(()) }
    }

    fn left(&self, key: &str, now: Duration) -> f64 {
        self.buckets.get(key).map_or(self.burst, |bucket| {
            (bucket.left + now.saturating_sub(bucket.at).as_secs_f64() * self.per_s).min(self.burst)
        })
    }

    fn until(&self, left: f64) -> Duration {
        Duration::try_from_secs_f64((1.0 - left) / self.per_s).unwrap_or(Duration::MAX)
    }

    fn put(&mut self, key: &str, bucket: Bucket) {
        if self.buckets.len() >= self.buckets_max && !self.buckets.contains_key(key) {
            let oldest = self.buckets.iter().min_by_key(|(_, b)| b.at).map(|(key, _)| key.clone());
            oldest.into_iter().for_each(|key| _ = self.buckets.remove(&key));
        }
        self.buckets.insert(key.to_owned(), bucket);
    }
}

/// A delay as whole seconds for Retry-After (RFC 9110, 10.2.3), at least one.
pub fn retry_after_s(delay: Duration) -> u64 {
    delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_at_the_rate() {
        let mut quotas = Quotas::new(2.0, 3, 10);
        let mut take = |at| quotas.take("anna", s(at));
        assert_eq!([take(0.0), take(0.0), take(0.0)], [Ok(()); 3]);
        assert_eq!(take(0.0), Err(s(0.5)));
        assert_eq!(take(0.25), Err(s(0.25)));
        assert_eq!(take(0.5), Ok(()));
        assert!(take(0.5).is_err());
        assert_eq!([take(100.0), take(100.0), take(100.0)], [Ok(()); 3]);
        assert!(take(100.0).is_err(), "the bucket holds no more than its burst");
    }

    #[test]
    fn one_who_asks_too_much_takes_nothing_from_others_and_few_are_remembered() {
        let mut quotas = Quotas::new(1.0, 1, 2);
        assert!(quotas.take("a", s(0.0)).is_ok() && quotas.take("b", s(0.1)).is_ok());
        assert!(quotas.take("a", s(0.2)).is_err() && quotas.look("b", s(0.2)).is_err());
        assert!(quotas.take("c", s(0.3)).is_ok());
        assert_eq!(quotas.buckets.keys().collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn retry_after_is_whole_seconds_rounded_up() {
        assert_eq!([0.0, 0.2, 1.0, 1.2].map(|x| retry_after_s(s(x))), [1, 1, 1, 2]);
    }
}
