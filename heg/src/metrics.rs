//! What a monitoring program reads: every number of the gateway, in Prometheus's text form (version 0.0.4). PURE.
//!
//! Each family is declared once, in [`FAMILIES`], with its type and what it says; docs/metrics.md lists them, and a test holds the two
//! together. Labels come from fixed sets of words and a currency's code, so the text stays short however large the home is. Units are those of
//! the names: seconds, bytes, watts, and money in the tariff's currency. What is not known has no sample.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

/// `Content-Type` of [`Readings::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What may be done with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from the daemon's start on.
    Counter,
    /// It is what it is now.
    Gauge,
}

/// One name with all its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// The metric's name.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
}

macro_rules! families {
    ($($id:ident: $kind:ident $name:literal $labels:tt $help:literal;)*) => {
        $(const $id: Family = Family { name: $name, kind: Kind::$kind, help: $help, labels: &$labels };)*

        /// All families, in the order of the text.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
}

families! {
    BUILD: Gauge "heg_build_info" ["version"] "Always 1; which version this is.";
    STARTED: Gauge "heg_start_time_seconds" [] "When the daemon was started, seconds since 1970.";
    MEMORY: Gauge "heg_resident_memory_bytes" [] "Memory that the daemon holds.";
    TROUBLES: Gauge "heg_troubles" [] "Things that are not well now, as in the status.";
    APPLIANCES: Gauge "heg_appliances" ["state"] "Appliances by their state.";
    REACHABLE: Gauge "heg_appliances_reachable" [] "Appliances that can be talked to now.";
    EVENTS: Counter "heg_events_received_total" [] "State variables that appliances told by events.";
    COMMANDS: Counter "heg_commands_total" ["outcome"] "Commands to appliances by how they ended.";
    UNDER_WAY: Gauge "heg_commands_under_way" [] "Commands under way.";
    REFUSALS: Counter "heg_refusals_total" ["by"] "What was refused, by the appliance or here.";
    DECISIONS: Counter "heg_decisions_total" ["cause"] "Decisions of the planner by the input that decided.";
    REGISTRATIONS: Gauge "heg_registrations" [] "Registrations of appliances and people.";
    RULES: Gauge "heg_rules" [] "Rules of people and configuration.";
    PLANS: Counter "heg_plans_total" [] "Plans made.";
    PLAN_MADE: Gauge "heg_plan_made_time_seconds" [] "When the plan that is followed was made, seconds since 1970.";
    PLAN_TOOK: Gauge "heg_plan_duration_seconds" [] "From the beginning of the last plan to its end, other work of the daemon included.";
    PLAN_COST: Gauge "heg_plan_cost" ["currency"] "What the plan that is followed costs.";
    PLAN_GAP: Gauge "heg_plan_gap_ratio" [] "How far the plan is above the least possible cost at most; absent while that is not known, as where work is left undone.";
    PLAN_LOADS: Gauge "heg_plan_loads" [] "Appliances in the plan, and those that are not asked again yet.";
    PLAN_UNDONE: Gauge "heg_plan_undone_loads" [] "Of those, whose work is left undone, wholly or in part.";
    PRICE: Gauge "heg_price_per_kwh" ["currency"] "What a kWh costs now.";
    PRICES_UNTIL: Gauge "heg_prices_until_time_seconds" [] "Until when prices are known, seconds since 1970.";
    PRICES_STALE: Gauge "heg_prices_stale" [] "Whether prices are not as new as they should be.";
    LIMIT: Gauge "heg_limit_watts" ["cause"] "What the home may draw now; none without a limit.";
    LIMITS: Gauge "heg_limits_state" ["state"] "1 for where the home stands with limits.";
    OVER: Gauge "heg_limit_exceeded_watts" [] "By how much the plan exceeds what the home may draw now, by what is not to be switched off.";
    PLANNED: Gauge "heg_power_planned_watts" [] "What the appliances in the plan are to draw now.";
    OBSERVED: Gauge "heg_power_observed_watts" [] "What all appliances that say so draw.";
    SAVED: Gauge "heg_savings" ["span", "currency"] "Saved against running at once, this local day and month.";
    COST: Gauge "heg_cost" ["span", "currency"] "What the planned appliances cost, this local day and month.";
    ENERGY: Gauge "heg_energy_kwh" ["span"] "What the planned appliances used, this local day and month.";
    ENROLLED: Gauge "heg_utility_enrolled" [] "Whether the gateway is enrolled with a utility.";
    CONNECTED: Gauge "heg_utility_connected" [] "Whether the utility is heard as it should be.";
    HEARD: Gauge "heg_utility_last_contact_time_seconds" [] "When the utility was last heard, seconds since 1970.";
    CLOCK: Gauge "heg_utility_clock_known" [] "Whether the key management centre's time is known.";
    CLOCK_OFF: Gauge "heg_utility_clock_offset_seconds" [] "That time less the machine's own.";
    KEY_AGE: Gauge "heg_utility_key_age_seconds" ["key"] "Age of the gateway's keys.";
    STATEMENT: Gauge "heg_utility_statement_until_time_seconds" [] "Until when the gateway's own statement holds, seconds since 1970.";
    REPORTS: Gauge "heg_utility_reports_waiting" [] "Reports that the utility has not acknowledged.";
    CONTROLS: Gauge "heg_utility_controls_under_way" [] "Controls of the utility under way.";
    SUBSCRIBERS: Gauge "heg_subscribers" [] "Control points subscribed to the gateway's own device.";
    WATCHERS: Gauge "heg_watchers" [] "Programs that watch at the control socket.";
    JOURNAL: Counter "heg_journal_entries_total" [] "Journal entries made.";
    JOURNAL_ROWS: Gauge "heg_journal_rows" [] "Journal entries in the database.";
    STORE: Gauge "heg_store_bytes" [] "Size of the database.";
    WRITES: Counter "heg_store_writes_total" [] "Transactions written to the database.";
    FIREWALL: Gauge "heg_firewall_up" [] "Whether the firewall's rules are in place.";
    DROPPED_PACKETS: Counter "heg_firewall_dropped_packets_total" ["reason"] "Packets dropped by the firewall.";
    DROPPED_BYTES: Counter "heg_firewall_dropped_bytes_total" ["reason"] "Bytes dropped by the firewall.";
}

/// Sums of a day or month.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Money {
    /// Saved against running at once.
    pub saved: f64,
    /// Paid.
    pub cost: f64,
    /// Energy, kWh.
    pub energy_kwh: f64,
}

/// The plan that is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PlanReadings {
    /// When it was made, seconds since 1970.
    pub made: i64,
    /// What it costs.
    pub cost: f64,
    /// How far above the least possible cost it is at most, as a ratio.
    pub gap: Option<f64>,
    /// By how much it exceeds the limit now, W.
    pub over_w: u32,
    /// What they are to draw now, W.
    pub planned_w: u64,
}

/// The dealings with the utility.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UtilityReadings {
    /// Whether it is heard as it should be.
    pub connected: bool,
    /// When it was last heard, seconds since 1970.
    pub heard: Option<u64>,
    /// The key management centre's time less the machine's own, seconds.
    pub clock_off: Option<i64>,
    /// Age of each key by its word, seconds.
    pub key_ages: Vec<(&'static str, u64)>,
    /// Until when the own statement holds, seconds since 1970.
    pub statement_until: Option<u64>,
    /// Reports not acknowledged.
    pub reports: usize,
    /// Controls under way.
    pub controls: usize,
}

/// All numbers at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// Version of the daemon.
    pub version: &'static str,
    /// When it was started, seconds since 1970.
    pub started: i64,
    /// Memory it holds, bytes.
    pub memory: Option<u64>,
    /// Things not well.
    pub troubles: usize,
    /// Appliances by the word for their state.
    pub appliances: Vec<(&'static str, usize)>,
    /// Appliances that can be talked to.
    pub reachable: usize,
    /// Events taken.
    pub events: u64,
    /// Commands by the word for how they ended.
    pub commands: Vec<(&'static str, u64)>,
    /// Commands under way.
    pub under_way: usize,
    /// Decisions by the word for what decided.
    pub decisions: BTreeMap<&'static str, u64>,
    /// Registrations.
    pub registrations: usize,
    /// Rules.
    pub rules: usize,
    /// Plans made.
    pub plans: u64,
    /// How long the last one took, seconds.
    pub plan_took: Option<f64>,
    /// The plan that is followed.
    pub plan: Option<PlanReadings>,
    /// Appliances in it, and those not asked again yet; of these, whose work is left undone.
    pub planned: (usize, usize),
    /// ISO 4217; empty while it is not known.
    pub currency: String,
    /// What a kWh costs now.
    pub price: Option<f64>,
    /// Until when prices are known, seconds since 1970.
    pub prices_until: Option<i64>,
    /// Whether prices are not as new as they should be; none where there are none.
    pub prices_stale: Option<bool>,
    /// What the home may draw, W, with the word for why.
    pub limit: Option<(&'static str, u32)>,
    /// Where the home stands with limits.
    pub limits: &'static str,
    /// What all appliances that say so draw, W.
    pub observed_w: u64,
    /// Sums by the word for their span.
    pub sums: Vec<(&'static str, Money)>,
    /// The dealings with the utility; none where the gateway is not enrolled.
    pub utility: Option<UtilityReadings>,
    /// Subscriptions to the gateway's own device.
    pub subscribers: usize,
    /// Programs that watch.
    pub watchers: usize,
    /// Journal entries made.
    pub journal: u64,
    /// Journal entries in the database.
    pub journal_rows: u64,
    /// Size of the database, bytes.
    pub store_bytes: u64,
    /// Transactions written.
    pub writes: u64,
    /// Whether the firewall's rules are in place.
    pub firewall: bool,
    /// What it dropped: reason, packets, bytes.
    pub dropped: Vec<(&'static str, u64, u64)>,
}

/// Where a home may stand with limits.
pub const LIMIT_STATES: [&str; 4] = ["autonomous", "start", "controlled", "failsafe"];

impl Readings {
    /// Prometheus's text form.
    pub fn text(&self) -> String {
        let mut out = Text(String::with_capacity(8192));
        out.one(BUILD, &[self.version], 1);
        out.plain(STARTED, self.started);
        out.maybe(MEMORY, self.memory);
        out.plain(TROUBLES, self.troubles);
        out.by_word(APPLIANCES, &self.appliances);
        out.plain(REACHABLE, self.reachable);
        out.plain(EVENTS, self.events);
        out.by_word(COMMANDS, &self.commands);
        out.plain(UNDER_WAY, self.under_way);
        let ended = |word: &str| self.commands.iter().find(|(w, _)| *w == word).map_or(0, |(_, n)| *n);
        out.by_word(REFUSALS, &[("appliance", ended("refused")), ("gateway", ended("declined"))]);
        out.by_word(DECISIONS, &self.decisions.iter().map(|(word, n)| (*word, *n)).collect::<Vec<_>>());
        out.plain(REGISTRATIONS, self.registrations);
        out.plain(RULES, self.rules);
        self.plan(&mut out);
        out.maybe_with(PRICE, &[&self.currency], self.price);
        out.maybe(PRICES_UNTIL, self.prices_until);
        out.maybe(PRICES_STALE, self.prices_stale.map(u8::from));
        out.head(LIMIT);
        if let Some((cause, watts)) = self.limit {
            out.sample(LIMIT, &[cause], watts);
        }
        out.by_word(LIMITS, &LIMIT_STATES.map(|state| (state, u8::from(state == self.limits))));
        out.plain(OVER, self.plan.map_or(0, |plan| plan.over_w));
        out.plain(PLANNED, self.plan.map_or(0, |plan| plan.planned_w));
        out.plain(OBSERVED, self.observed_w);
        for (family, pick) in [(SAVED, (|m| m.saved) as fn(&Money) -> f64), (COST, |m| m.cost)] {
            out.head(family);
            self.sums.iter().for_each(|(span, money)| out.sample(family, &[span, &self.currency], pick(money)));
        }
        out.by_word(ENERGY, &self.sums.iter().map(|(span, money)| (*span, money.energy_kwh)).collect::<Vec<_>>());
        self.utility(&mut out);
        out.plain(SUBSCRIBERS, self.subscribers);
        out.plain(WATCHERS, self.watchers);
        out.plain(JOURNAL, self.journal);
        out.plain(JOURNAL_ROWS, self.journal_rows);
        out.plain(STORE, self.store_bytes);
        out.plain(WRITES, self.writes);
        out.plain(FIREWALL, u8::from(self.firewall));
        out.by_word(DROPPED_PACKETS, &self.dropped.iter().map(|(w, n, _)| (*w, *n)).collect::<Vec<_>>());
        out.by_word(DROPPED_BYTES, &self.dropped.iter().map(|(w, _, n)| (*w, *n)).collect::<Vec<_>>());
        out.0
    }

    fn plan(&self, out: &mut Text) {
        out.plain(PLANS, self.plans);
        out.maybe(PLAN_MADE, self.plan.map(|plan| plan.made));
        out.maybe(PLAN_TOOK, self.plan_took);
        out.maybe_with(PLAN_COST, &[&self.currency], self.plan.map(|plan| plan.cost));
        out.maybe(PLAN_GAP, self.plan.and_then(|plan| plan.gap));
        out.plain(PLAN_LOADS, self.planned.0);
        out.plain(PLAN_UNDONE, self.planned.1);
    }

    fn utility(&self, out: &mut Text) {
        let utility = self.utility.as_ref();
        out.plain(ENROLLED, u8::from(utility.is_some()));
        out.maybe(CONNECTED, utility.map(|u| u8::from(u.connected)));
        out.maybe(HEARD, utility.and_then(|u| u.heard));
        out.maybe(CLOCK, utility.map(|u| u8::from(u.clock_off.is_some())));
        out.maybe(CLOCK_OFF, utility.and_then(|u| u.clock_off));
        out.by_word(KEY_AGE, utility.map_or(&[], |u| &u.key_ages));
        out.maybe(STATEMENT, utility.and_then(|u| u.statement_until));
        out.maybe(REPORTS, utility.map(|u| u.reports));
        out.maybe(CONTROLS, utility.map(|u| u.controls));
    }
}

/// The text as it grows. Writing to a string does not fail.
struct Text(String);

impl Text {
    fn head(&mut self, family: Family) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(self.0, "# HELP {} {}\n# TYPE {} {kind}", family.name, family.help, family.name);
    }

    fn sample(&mut self, family: Family, values: &[&str], value: impl Display) {
        let labels: Vec<String> =
            family.labels.iter().zip(values).map(|(label, word)| format!("{label}=\"{}\"", escaped(word))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{}{labels} {value}", family.name);
    }

    fn one(&mut self, family: Family, values: &[&str], value: impl Display) {
        self.head(family);
        self.sample(family, values, value);
    }

    fn plain(&mut self, family: Family, value: impl Display) {
        self.one(family, &[], value);
    }

    fn maybe(&mut self, family: Family, value: Option<impl Display>) {
        self.maybe_with(family, &[], value);
    }

    fn maybe_with(&mut self, family: Family, values: &[&str], value: Option<impl Display>) {
        self.head(family);
        if let Some(value) = value {
            self.sample(family, values, value);
        }
    }

    fn by_word(&mut self, family: Family, samples: &[(&str, impl Display)]) {
        self.head(family);
        samples.iter().for_each(|(word, value)| self.sample(family, &[word], value));
    }
}

/// A label's value as the text form wants it.
fn escaped(word: &str) -> String {
    word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::ruleset::COUNTERS;

    fn full() -> Readings {
        let money = Money { saved: 0.36, cost: -0.1, energy_kwh: 2.5 };
        Readings {
            version: "1.2.3",
            memory: Some(5_000_000),
            appliances: vec![("on", 3), ("off", 1), ("standby", 0), ("unknown", 2)],
            commands: vec![("done", 9), ("refused", 4), ("declined", 1)],
            decisions: [("price", 5), ("limit", 1)].into(),
            plans: 12,
            plan_took: Some(0.25),
            plan: Some(PlanReadings { gap: Some(0.001), over_w: 200, ..PlanReadings::default() }),
            planned: (3, 1),
            currency: "S\"E\\K\n".into(),
            price: Some(-0.05),
            prices_until: Some(1_800_000_000),
            prices_stale: Some(true),
            limit: Some(("limit", 4200)),
            limits: "controlled",
            sums: vec![("day", money), ("month", money)],
            utility: Some(UtilityReadings {
                connected: true,
                heard: Some(1_800_000_000),
                clock_off: Some(-3600),
                key_ages: vec![("signing", 60), ("sealing", 61)],
                statement_until: Some(1_900_000_000),
                ..UtilityReadings::default()
            }),
            firewall: true,
            dropped: vec![("flood_ssdp", 7, 700)],
            ..Readings::default()
        }
    }

    type Sample<'a> = (&'a str, Vec<(String, String)>, f64);

    /// A name, labels in braces with their quotes, a number; or what is wrong.
    fn sample(line: &str) -> Result<Sample<'_>, String> {
        let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).ok_or("no value")?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            loop {
                let (label, after) = rest.split_once("=\"").ok_or("a label without a value")?;
                if label.is_empty() || !label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    return Err(format!("label {label:?}"));
                }
                let (mut value, mut chars) = (String::new(), after.char_indices());
                let end = loop {
                    match chars.next().ok_or("a value without an end")? {
                        (i, '"') => break i,
                        (_, '\\') => value.push(chars.next().ok_or("nothing escaped")?.1),
                        (_, c) => value.push(c),
                    }
                };
                labels.push((label.to_owned(), value));
                rest = &after[end + 1..];
                match rest.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => break,
                }
            }
            rest = rest.strip_prefix('}').ok_or("no closing brace")?;
        }
        let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
        Ok((name, labels, value.parse().map_err(|e| format!("{value:?}: {e}"))?))
    }

    /// Every family once, with help and type before its samples, each sample with the family's labels and none twice.
    fn check(text: &str) -> BTreeMap<String, f64> {
        let mut samples = BTreeMap::new();
        let mut families = FAMILIES.iter();
        let mut family: Option<&Family> = None;
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let next = families.next().unwrap();
                assert_eq!(help, format!("{} {}", next.name, next.help));
                family = Some(next);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let kind_word = if family.unwrap().kind == Kind::Counter { "counter" } else { "gauge" };
                assert_eq!(kind, format!("{} {kind_word}", family.unwrap().name));
            } else {
                let (name, labels, value) = sample(line).unwrap_or_else(|why| panic!("{line}: {why}"));
                assert_eq!(name, family.unwrap().name, "{line}");
                let names: Vec<_> = labels.iter().map(|(label, _)| &label[..]).collect();
                assert_eq!(names, family.unwrap().labels, "{line}");
                assert!(value.is_finite(), "{line}");
                assert_eq!(samples.insert(line.rsplit_once(' ').unwrap().0.to_owned(), value), None, "{line} is twice");
            }
        }
        assert_eq!(families.next(), None, "a family is not written");
        samples
    }

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let samples = check(&full().text());
        for (sample, value) in [
            ("heg_build_info{version=\"1.2.3\"}", 1.0),
            ("heg_appliances{state=\"on\"}", 3.0),
            ("heg_commands_total{outcome=\"refused\"}", 4.0),
            ("heg_refusals_total{by=\"gateway\"}", 1.0),
            ("heg_price_per_kwh{currency=\"S\\\"E\\\\K\\n\"}", -0.05),
            ("heg_limit_watts{cause=\"limit\"}", 4200.0),
            ("heg_limits_state{state=\"controlled\"}", 1.0),
            ("heg_limits_state{state=\"failsafe\"}", 0.0),
            ("heg_utility_clock_offset_seconds", -3600.0),
            ("heg_firewall_dropped_bytes_total{reason=\"flood_ssdp\"}", 700.0),
        ] {
            assert_eq!(samples.get(sample), Some(&value), "{sample}");
        }
    }

    #[test]
    fn what_is_not_known_has_no_sample_and_what_is_not_there_is_no_zero() {
        let samples = check(&Readings::default().text());
        for name in ["heg_price_per_kwh", "heg_limit_watts", "heg_utility_connected", "heg_plan_made_time_seconds"] {
            assert!(!samples.keys().any(|sample| sample.starts_with(name)), "{name}");
        }
        assert_eq!(samples.get("heg_utility_enrolled"), Some(&0.0));
    }

    #[test]
    fn names_follow_the_rules_and_docs_list_them_all() {
        let docs = include_str!("../../docs/metrics.md");
        let gateway = docs.split("\n## ").find(|section| section.starts_with("The gateway\n")).unwrap();
        let mut rows = gateway.lines().filter(|line| line.starts_with("| `heg_"));
        for family in FAMILIES {
            assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
            assert!(family.name.starts_with("heg_") && family.help.ends_with('.'), "{}", family.name);
            let labels = if family.labels.is_empty() { "-".to_owned() } else { family.labels.join(", ") };
            let kind = if family.kind == Kind::Counter { "counter" } else { "gauge" };
            assert_eq!(rows.next(), Some(&*format!("| `{}` | {kind} | {labels} | {} |", family.name, family.help)));
        }
        assert_eq!(rows.next(), None);
        let reasons: Vec<_> = COUNTERS.iter().map(|(name, what)| format!("{name} ({what})")).collect();
        let reasons = format!("| `reason` | {} |", reasons.join("; "));
        assert!(docs.contains(&reasons), "docs/metrics.md lacks\n{reasons}");
    }

    #[test]
    fn the_text_stays_short() {
        assert!(full().text().len() < 16 * 1024, "{}", full().text().len());
    }
}
