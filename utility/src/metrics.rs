//! What is counted, in Prometheus's text form (version 0.0.4). Each metric is declared once, below.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use secure_http::{SealedError, Steps};

macro_rules! metrics {
    ($($field:ident: $kind:literal $name:literal $help:literal,)*) => {
        /// All metrics; counters grow, gauges are set.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: Metric,)*
        }

        impl Metrics {
            /// Prometheus's text form.
            pub fn text(&self) -> String {
                let mut out = String::new();
                $(
                    // Writing to a String cannot fail.
                    let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {}\n{} {}", $name, $help, $name, $kind, $name, self.$field.value());
                )*
                out
            }
        }
    };
}

metrics! {
    requests: "counter" "heg_utility_http_requests_total" "Requests answered.",
    refused_unknown: "counter" "heg_utility_http_unauthorized_total" "Requests without a token that is known.",
    refused_quota: "counter" "heg_utility_http_throttled_total" "Requests answered with 429.",
    broadcast: "counter" "heg_utility_broadcast_requests_total" "Requests for broadcast objects.",
    not_modified: "counter" "heg_utility_broadcast_not_modified_total" "Of those, answered with 304.",
    connections: "gauge" "heg_utility_http_connections" "Connections open.",
    watches: "gauge" "heg_utility_watches_waiting" "Operators' watches that wait for a change.",
    reports: "counter" "heg_utility_reports_total" "Reports stored.",
    duplicates: "counter" "heg_utility_reports_duplicate_total" "Reports that were stored before.",
    polls: "counter" "heg_utility_polls_total" "Polls answered.",
    polls_waiting: "gauge" "heg_utility_polls_waiting" "Polls that wait for something to happen.",
    outcomes: "counter" "heg_utility_outcomes_total" "Outcomes of controls and limits taken in.",
    sealed_requests: "counter" "heg_utility_sealed_requests_total" "Requests of homes to the sealed endpoints.",
    sealed_answers: "counter" "heg_utility_sealed_answers_total" "Of those, acknowledged or answered with a command.",
    sealed_refused: "counter" "heg_utility_sealed_refused_total" "Refused before their sender was known (400, 401, 413, 415).",
    sealed_challenged: "counter" "heg_utility_sealed_challenged_total" "Told to come with a cookie.",
    sealed_later: "counter" "heg_utility_sealed_later_total" "Told to come later (429, 503).",
    sealed_stopped: "counter" "heg_utility_sealed_stopped_total" "Messages that stopped at one of the receiver's steps.",
    step_offered: "counter" "heg_utility_sealed_step_offered_total" "Messages that came in.",
    step_parsed: "counter" "heg_utility_sealed_step_parsed_total" "Messages that had the form of one.",
    step_fresh: "counter" "heg_utility_sealed_step_fresh_total" "Messages that were for this utility, fresh, and not seen before.",
    step_known: "counter" "heg_utility_sealed_step_known_total" "Messages whose signature was checked.",
    step_verified: "counter" "heg_utility_sealed_step_verified_total" "Messages whose signature was right.",
    step_committed: "counter" "heg_utility_sealed_step_committed_total" "Messages that were decrypted.",
    step_opened: "counter" "heg_utility_sealed_step_opened_total" "Messages that could be read.",
    error_stale: "counter" "heg_utility_sealed_error_stale_total" "Sealed errors 1: too old or too early.",
    error_replay: "counter" "heg_utility_sealed_error_replay_total" "Sealed errors 2: taken before.",
    error_policy: "counter" "heg_utility_sealed_error_policy_total" "Sealed errors 3: made under another policy.",
    error_key: "counter" "heg_utility_sealed_error_key_expired_total" "Sealed errors 4: a key holds no longer.",
    error_unsupported: "counter" "heg_utility_sealed_error_unsupported_total" "Sealed errors 5: not opened or not understood.",
    error_forbidden: "counter" "heg_utility_sealed_error_forbidden_total" "Sealed errors 6: not allowed.",
    error_busy: "counter" "heg_utility_sealed_error_busy_total" "Sealed errors 7: too often.",
    work_waiting: "gauge" "heg_utility_sealed_waiting" "Messages that wait for their signature to be checked or made.",
    keys_asked: "counter" "heg_utility_keys_asked_total" "Times that the KMC was asked for a home's keys.",
    keys_refused: "counter" "heg_utility_keys_refused_total" "New keys of homes that their old ones did not vouch for.",
    calls: "counter" "heg_utility_calls_total" "Homes called.",
    calls_failed: "counter" "heg_utility_calls_failed_total" "Calls that came to nothing.",
    sites: "gauge" "heg_utility_sites" "Sites known.",
    sites_live: "gauge" "heg_utility_sites_live" "Sites heard within two report periods.",
    readings: "counter" "heg_utility_readings_total" "Readings of the power system taken.",
    reading_at: "gauge" "heg_utility_reading_time_seconds" "Time of the latest reading, seconds since 1970.",
    feed_failures: "counter" "heg_utility_feed_failures_total" "Times that the power system's feed could not be read.",
    rule_orders: "counter" "heg_utility_rule_orders_total" "Limits made or taken back by rules.",
    store_failures: "counter" "heg_utility_store_failures_total" "Requests that the database did not answer.",
}

impl Metrics {
    /// How far a message got.
    pub fn sealed_steps(&self, steps: &Steps) {
        for (metric, count) in [
            (&self.step_offered, steps.offered),
            (&self.step_parsed, steps.parsed),
            (&self.step_fresh, steps.fresh),
            (&self.step_known, steps.known),
            (&self.step_verified, steps.verified),
            (&self.step_committed, steps.committed),
            (&self.step_opened, steps.opened),
        ] {
            (0..count).for_each(|_| metric.add());
        }
    }

    /// A sealed error that a home was told.
    pub fn sealed_error(&self, error: &SealedError) {
        match error {
            SealedError::Stale { .. } => self.error_stale.add(),
            SealedError::Replay => self.error_replay.add(),
            SealedError::Policy { .. } => self.error_policy.add(),
            SealedError::KeyExpired => self.error_key.add(),
            SealedError::Forbidden => self.error_forbidden.add(),
            SealedError::Busy { .. } => self.error_busy.add(),
            _ => self.error_unsupported.add(),
        }
    }
}

/// A number that many may change at once.
#[derive(Debug, Default)]
pub struct Metric(AtomicU64);

impl Metric {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One fewer.
    pub fn take(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// This many.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// How many.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counted for as long as it lives.
#[derive(Debug)]
pub struct Held<'m>(&'m Metric);

impl<'m> Held<'m> {
    /// One more, until dropped.
    pub fn new(metric: &'m Metric) -> Self {
        metric.add();
        Self(metric)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_list_every_metric() {
        let docs = include_str!("../../docs/metrics.md");
        let section = docs.split("\n## ").find(|section| section.starts_with("The utility\n")).unwrap();
        let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| `heg_")).collect();
        let text = Metrics::default().text();
        let lines: Vec<_> = text.lines().collect();
        let told: Vec<_> = lines
            .chunks(3)
            .map(|family| {
                let (name, help) = family[0].trim_start_matches("# HELP ").split_once(' ').unwrap();
                let kind = family[1].rsplit_once(' ').unwrap().1;
                format!("| `{name}` | {kind} | {help} |")
            })
            .collect();
        assert_eq!(rows, told);
    }

    #[test]
    fn every_metric_has_help_type_and_value() {
        let metrics = Metrics::default();
        metrics.reports.add();
        let held = Held::new(&metrics.connections);
        assert!(metrics.text().contains("\nheg_utility_http_connections 1\n"));
        drop(held);
        let text = metrics.text();
        assert!(text.contains("# TYPE heg_utility_reports_total counter\nheg_utility_reports_total 1\n"), "{text}");
        assert!(text.contains("\nheg_utility_http_connections 0\n"));
        assert_eq!(text.lines().count() % 3, 0);
    }
}
