//! What is counted, in Prometheus's text form (version 0.0.4). Each metric is declared once, below.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

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
    reports: "counter" "heg_utility_reports_total" "Reports stored.",
    duplicates: "counter" "heg_utility_reports_duplicate_total" "Reports that were stored before.",
    polls: "counter" "heg_utility_polls_total" "Polls answered.",
    polls_waiting: "gauge" "heg_utility_polls_waiting" "Polls that wait for something to happen.",
    outcomes: "counter" "heg_utility_outcomes_total" "Outcomes of controls and limits taken in.",
    sites: "gauge" "heg_utility_sites" "Sites known.",
    sites_live: "gauge" "heg_utility_sites_live" "Sites heard within two report periods.",
    readings: "counter" "heg_utility_readings_total" "Readings of the power system taken.",
    reading_at: "gauge" "heg_utility_reading_time_seconds" "Time of the latest reading, seconds since 1970.",
    feed_failures: "counter" "heg_utility_feed_failures_total" "Times that the power system's feed could not be read.",
    rule_orders: "counter" "heg_utility_rule_orders_total" "Limits made or taken back by rules.",
    store_failures: "counter" "heg_utility_store_failures_total" "Requests that the database did not answer.",
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
