//! Behavioural rules: when the power system says so, homes are limited. A rule is a few words in TOML:
//!
//! ```toml
//! [[rule]]
//! name = "evening peak"
//! group = "north/feeder-7"
//! when = "load above 950 kW for 5 min"
//! limit = "4200 W for 30 min"
//! until = "load below 900 kW for 10 min"
//! ```
//! The power system's readings drive it, by their own times: while none come nothing is decided, and a limit that was made ends by its
//! own length. Between `when` and `until` nothing changes (hysteresis): a limit that runs out there is made anew.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use energy_model::Watts;
use serde::{Deserialize, Serialize};
use utility_wire::limits::RANDOMISE_S_MAX;
use utility_wire::{EventId, UnixTime, ZoneId};

use crate::events::{LimitDraft, Target};
use crate::limits::{LIMIT_S_MAX, NAME_BYTES_MAX, RULE_SPAN_S_MAX, RULES_MAX};

/// What the power system measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Power through a part of the grid, W.
    Load,
    /// Frequency, mHz.
    Frequency,
}

impl Quantity {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Frequency => "frequency",
        }
    }

    /// Its units with their factor, the one it is shown in first.
    const fn units(self) -> &'static [(&'static str, i64)] {
        match self {
            Self::Load => &[("kW", 1000), ("W", 1), ("MW", 1_000_000), ("GW", 1_000_000_000)],
            Self::Frequency => &[("Hz", 1000), ("mHz", 1)],
        }
    }

    /// A value for people.
    pub fn shown(self, value: i64) -> String {
        let (unit, factor) = self.units()[0];
        let (sign, value) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
        let factor = factor.unsigned_abs();
        let fraction = format!("{:03}", value % factor);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{}{point}{fraction} {unit}", value / factor)
    }
}

impl FromStr for Quantity {
    type Err = WordsError;
    fn from_str(s: &str) -> Result<Self, WordsError> {
        [Self::Load, Self::Frequency]
            .into_iter()
            .find(|q| q.as_str() == s)
            .ok_or(WordsError("expected load or frequency"))
    }
}

/// A measurement of the power system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When it was measured.
    pub at: UnixTime,
    /// Where.
    pub group: ZoneId,
    /// What.
    pub quantity: Quantity,
    /// W or mHz.
    pub value: i64,
}

/// Words that are no condition or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WordsError(&'static str);

const CONDITION: WordsError = WordsError("expected as in: load above 950 kW for 5 min, frequency below 49.8 Hz");
const LIMIT: WordsError = WordsError("expected as in: 4200 W for 30 min");
const SPAN: WordsError = WordsError("expected a time as in: 90 s, 5 min, 2 h");

/// `load above 950 kW for 5 min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    quantity: Quantity,
    above: bool,
    value: i64,
    for_s: u32,
}

impl Condition {
    fn holds(self, reading: &Reading) -> bool {
        reading.quantity == self.quantity
            && if self.above { reading.value > self.value } else { reading.value < self.value }
    }
}

impl FromStr for Condition {
    type Err = WordsError;
    fn from_str(s: &str) -> Result<Self, WordsError> {
        let words: Vec<&str> = s.split_whitespace().collect();
        let (what, span) = match words.as_slice() {
            [what @ .., "for", count, unit] => (what, Some((*count, *unit))),
            what => (what, None),
        };
        let &[quantity, side, number, unit] = what else { return Err(CONDITION) };
        let quantity: Quantity = quantity.parse()?;
        let above = match side {
            "above" => true,
            "below" => false,
            _ => return Err(CONDITION),
        };
        let value = amount(number, unit, quantity.units()).ok_or(CONDITION)?;
        Ok(Self { quantity, above, value, for_s: span.map_or(Ok(0), |(count, unit)| seconds(count, unit))? })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.above { "above" } else { "below" };
        write!(f, "{} {side} {}", self.quantity.as_str(), self.quantity.shown(self.value))?;
        if self.for_s > 0 { write!(f, " for {} s", self.for_s) } else { Ok(()) }
    }
}

/// A decimal number with a unit, as a whole number of the smallest.
fn amount(number: &str, unit: &str, units: &[(&str, i64)]) -> Option<i64> {
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit()) || fraction.len() > 9 {
        return None;
    }
    let scale = 10i64.checked_pow(fraction.len() as u32)?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<i64>().ok()?.checked_mul(factor)? };
    if part % scale != 0 {
        return None;
    }
    let value = whole.parse::<i64>().ok()?.checked_mul(factor)?.checked_add(part / scale)?;
    Some(if negative { -value } else { value })
}

/// A count and a unit of time as seconds.
fn seconds(count: &str, unit: &str) -> Result<u32, WordsError> {
    let factor = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => return Err(SPAN),
    };
    let seconds = count.parse::<u32>().ok().and_then(|n| n.checked_mul(factor)).ok_or(SPAN)?;
    if seconds > RULE_SPAN_S_MAX { Err(WordsError("a time in a rule is at most 24 h")) } else { Ok(seconds) }
}

/// `10 min` as seconds.
fn span(words: &str) -> Result<u32, WordsError> {
    match words.split_whitespace().collect::<Vec<_>>().as_slice() {
        [count, unit] => seconds(count, unit),
        _ => Err(SPAN),
    }
}

/// `4200 W for 30 min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LimitWords {
    watts: Watts,
    duration_s: u32,
}

impl FromStr for LimitWords {
    type Err = WordsError;
    fn from_str(s: &str) -> Result<Self, WordsError> {
        let words: Vec<&str> = s.split_whitespace().collect();
        let &[number, unit, "for", count, time] = words.as_slice() else { return Err(LIMIT) };
        let watts = amount(number, unit, Quantity::Load.units()).and_then(|w| u32::try_from(w).ok()).ok_or(LIMIT)?;
        let duration_s = seconds(count, time)?;
        if duration_s == 0 || duration_s > LIMIT_S_MAX {
            Err(LIMIT)
        } else {
            Ok(Self { watts: Watts::new(watts), duration_s })
        }
    }
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    name: String,
    measured: ZoneId,
    group: ZoneId,
    when: Condition,
    until: Option<Condition>,
    limit: LimitWords,
    priority: u8,
    randomise_s: u16,
}

/// The file as written; the words are read afterwards, so that an error names the rule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<toml::Spanned<RuleText>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RuleText {
    name: String,
    group: String,
    measured: Option<String>,
    when: String,
    until: Option<String>,
    limit: String,
    #[serde(default)]
    priority: u8,
    randomise: Option<String>,
}

/// A rules file that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct RulesError {
    /// Line, from 1; of a rule's beginning where one of its values is wrong.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// All rules, in the order of their file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Reads a rules file.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let line_of = |offset: usize| text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
        let file: File = toml::from_str(text).map_err(|error| RulesError {
            line: line_of(error.span().map_or(0, |span| span.start)),
            message: error.message().trim_end().to_owned(),
        })?;
        if file.rule.len() > RULES_MAX {
            return Err(RulesError { line: 1, message: format!("there are more than {RULES_MAX} rules") });
        }
        let mut rules: Vec<Rule> = Vec::new();
        for rule in file.rule {
            let line = line_of(rule.span().start);
            let rule = rule.into_inner().read().map_err(|message| RulesError { line, message })?;
            if rules.iter().any(|r| r.name == rule.name) {
                return Err(RulesError { line, message: format!("there are two rules called {:?}", rule.name) });
            }
            rules.push(rule);
        }
        Ok(Self(rules))
    }

    /// The rules.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl RuleText {
    fn read(self) -> Result<Rule, String> {
        let name = self.name.trim();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(format!("name: expected 1 to {NAME_BYTES_MAX} bytes without control characters"));
        }
        let of = |key: &str, error: &dyn fmt::Display| format!("rule {name:?}: {key}: {error}");
        let group: ZoneId = self.group.parse().map_err(|e| of("group", &e))?;
        let measured = self.measured.map(|m| m.parse().map_err(|e| of("measured", &e))).transpose()?;
        let when: Condition = self.when.parse().map_err(|e| of("when", &e))?;
        let until = self.until.map(|u| u.parse::<Condition>().map_err(|e| of("until", &e))).transpose()?;
        if let Some(until) = until {
            let apart = if when.above { until.value <= when.value } else { until.value >= when.value };
            if until.quantity != when.quantity || until.above == when.above || !apart {
                return Err(of(
                    "until",
                    &"expected the same quantity, from the other side, at `when`'s value or beyond it",
                ));
            }
        }
        let randomise_s = self.randomise.map_or(Ok(0), |r| span(&r).map_err(|e| of("randomise", &e)))?;
        Ok(Rule {
            measured: measured.unwrap_or_else(|| group.clone()),
            group,
            when,
            until,
            limit: self.limit.parse().map_err(|e| of("limit", &e))?,
            priority: self.priority,
            randomise_s: u16::try_from(randomise_s)
                .ok()
                .filter(|s| *s <= RANDOMISE_S_MAX)
                .ok_or_else(|| of("randomise", &format!("expected at most {} min", RANDOMISE_S_MAX / 60)))?,
            name: name.to_owned(),
        })
    }
}

/// What a rule remembers between readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Memory {
    /// The last reading taken, seconds since 1970; older ones are passed over.
    last: u64,
    /// Since when `when` holds without a break.
    since: Option<u64>,
    /// Since when `until` holds without a break.
    released: Option<u64>,
    /// The limit made, and its end.
    limit: Option<(u64, u64)>,
}

impl Memory {
    /// The limit that the rule made and that is not over.
    pub fn limit(&self) -> Option<EventId> {
        self.limit.and_then(|(id, _)| EventId::new(id))
    }

    /// Notes under which number the limit ordered was made.
    pub fn made(&mut self, id: EventId) {
        if let Some((number, _)) = &mut self.limit {
            *number = id.number();
        }
    }
}

/// What a rule wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Make a limit, in place of the rule's last one if there is one.
    Make(Box<LimitDraft>),
    /// Take the limit back.
    Cancel(EventId),
}

/// A rule's answer to a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it remembers from now on.
    pub memory: Memory,
    /// What it wants done.
    pub order: Option<Order>,
    /// Why, for people.
    pub why: String,
}

impl Rule {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The group it limits.
    pub fn group(&self) -> &ZoneId {
        &self.group
    }

    /// The rule in one line.
    pub fn words(&self) -> String {
        let until = self.until.map(|u| format!(", until {u}")).unwrap_or_default();
        let (watts, span) = (self.limit.watts, self.limit.duration_s);
        format!("when {} in {}, limit {} to {watts} W for {span} s{until}", self.when, self.measured, self.group)
    }

    /// Whether a reading matters to it.
    pub fn concerns(&self, reading: &Reading) -> bool {
        reading.quantity == self.when.quantity && reading.group == self.measured
    }

    /// What it makes of a reading; `None`: it does not matter, or it is no newer than the last.
    pub fn step(&self, memory: &Memory, reading: &Reading) -> Option<Step> {
        let now = reading.at.seconds();
        if !self.concerns(reading) || now <= memory.last {
            return None;
        }
        let since = self.when.holds(reading).then(|| memory.since.unwrap_or(now));
        let until = self.until.filter(|u| u.holds(reading));
        let released = until.map(|_| memory.released.unwrap_or(now));
        let mut next = Memory { last: now, since, released, limit: memory.limit };
        let shown = format!("{} {}", self.when.quantity.as_str(), self.when.quantity.shown(reading.value));
        let held = since.is_some_and(|s| now - s >= u64::from(self.when.for_s));
        let (order, why) = match (memory.limit, until, released) {
            (Some((id, _)), Some(until), Some(r)) if now - r >= u64::from(until.for_s) => {
                next.limit = None;
                (EventId::new(id).map(Order::Cancel), format!("{shown}: {until}, the limit is taken back"))
            }
            (Some((id, end)), ..) if now >= end => {
                if self.until.is_some() || held {
                    let why = format!("{shown}: the limit ran out and nothing ends it, it is made anew");
                    (Some(self.make(&mut next, EventId::new(id), reading, &why)), why)
                } else {
                    next.limit = None;
                    (None, format!("{shown}: the limit ran out"))
                }
            }
            (Some(_), ..) => (None, format!("{shown}: the limit stays")),
            (None, ..) if held => {
                let why = format!("{shown}: {}, limited", self.when);
                (Some(self.make(&mut next, None, reading, &why)), why)
            }
            (None, ..) => match since {
                Some(s) => (None, format!("{shown}: for {} s, {} s are needed", now - s, self.when.for_s)),
                None => (None, format!("{shown}: nothing to do")),
            },
        };
        Some(Step { memory: next, order, why })
    }

    fn make(&self, next: &mut Memory, old: Option<EventId>, reading: &Reading, why: &str) -> Order {
        let end = reading.at.plus(self.limit.duration_s.into()).seconds();
        next.limit = Some((old.map_or(0, EventId::number), end));
        Order::Make(Box::new(LimitDraft {
            target: Target::Group(self.group.clone()),
            supersedes: old,
            start: reading.at,
            duration_s: Some(self.limit.duration_s),
            watts: self.limit.watts,
            priority: self.priority,
            randomise_s: self.randomise_s,
            reason: format!("rule {}: {why}", self.name),
        }))
    }
}

/// A line of a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DryStep {
    /// When the reading was taken, seconds since 1970.
    pub at: u64,
    /// The rule.
    pub rule: String,
    /// `limit`, `cancel` or `nothing`.
    pub does: String,
    /// Why.
    pub why: String,
}

/// What the rules would do with these readings, from a fresh start, each step explained. Nothing is done.
pub fn dry_run(rules: &Rules, readings: &[Reading]) -> Vec<DryStep> {
    let mut memories = vec![Memory::default(); rules.len()];
    let mut next_id = (1..).filter_map(EventId::new);
    let mut steps = Vec::new();
    for reading in readings {
        for (rule, memory) in rules.iter().zip(&mut memories) {
            let Some(step) = rule.step(memory, reading) else { continue };
            *memory = step.memory;
            let does = match step.order {
                Some(Order::Make(_)) => {
                    next_id.next().into_iter().for_each(|id| memory.made(id));
                    "limit"
                }
                Some(Order::Cancel(_)) => "cancel",
                None => "nothing",
            };
            let (at, rule, does) = (reading.at.seconds(), rule.name.clone(), does.to_owned());
            steps.push(DryStep { at, rule, does, why: step.why });
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEAK: &str = r#"
[[rule]]
name = "evening peak"
group = "north/feeder-7"
when = "load above 950 kW for 5 min"
limit = "4200 W for 30 min"
until = "load below 900 kW for 10 min"
priority = 5
randomise = "10 min"
"#;

    fn run(rules: &str, minutes_and_kw: &[(u64, i64)]) -> Vec<(u64, String)> {
        let readings: Vec<Reading> = minutes_and_kw
            .iter()
            .map(|(minute, kw)| Reading {
                at: UnixTime::new(1_800_000_000 + minute * 60),
                group: "north/feeder-7".parse().unwrap(),
                quantity: Quantity::Load,
                value: kw * 1000,
            })
            .collect();
        let steps = dry_run(&Rules::parse(rules).unwrap(), &readings);
        steps.into_iter().filter(|s| s.does != "nothing").map(|s| ((s.at - 1_800_000_000) / 60, s.does)).collect()
    }

    fn did(steps: &[(u64, &str)]) -> Vec<(u64, String)> {
        steps.iter().map(|(minute, does)| (*minute, (*does).to_owned())).collect()
    }

    #[test]
    fn a_load_above_the_threshold_for_long_enough_makes_a_limit_and_a_short_peak_does_not() {
        assert_eq!(run(PEAK, &[(0, 960), (4, 960), (5, 960), (6, 990)]), did(&[(5, "limit")]));
        assert_eq!(run(PEAK, &[(0, 960), (4, 949), (5, 960), (9, 960)]), did(&[]));
        assert_eq!(run(PEAK, &[(0, 950), (10, 950)]), did(&[]), "above is not at");
    }

    #[test]
    fn between_the_two_thresholds_nothing_changes_and_a_limit_that_runs_out_is_made_anew() {
        let steps = run(PEAK, &[(0, 960), (5, 960), (10, 920), (34, 920), (35, 920), (64, 920), (65, 920)]);
        assert_eq!(steps, did(&[(5, "limit"), (35, "limit"), (65, "limit")]));
    }

    #[test]
    fn a_load_below_the_lower_threshold_for_long_enough_takes_the_limit_back_once() {
        let steps = run(PEAK, &[(0, 960), (5, 960), (10, 890), (15, 901), (16, 890), (25, 890), (26, 890), (40, 890)]);
        assert_eq!(steps, did(&[(5, "limit"), (26, "cancel")]));
    }

    #[test]
    fn without_until_a_limit_runs_out_and_is_made_anew_only_while_the_load_is_high() {
        let rule = PEAK.replace("until = \"load below 900 kW for 10 min\"\n", "");
        assert_eq!(
            run(&rule, &[(0, 960), (5, 960), (35, 960), (65, 940), (70, 960)]),
            did(&[(5, "limit"), (35, "limit")])
        );
    }

    #[test]
    fn readings_that_are_old_or_of_others_decide_nothing() {
        let rules = Rules::parse(PEAK).unwrap();
        let rule = rules.iter().next().unwrap();
        let reading = |at, group: &str, quantity| Reading {
            at: UnixTime::new(at),
            group: group.parse().unwrap(),
            quantity,
            value: 99_000_000,
        };
        let memory = Memory { last: 100, ..Memory::default() };
        assert!(rule.step(&memory, &reading(100, "north/feeder-7", Quantity::Load)).is_none());
        assert!(rule.step(&memory, &reading(101, "north", Quantity::Load)).is_none());
        assert!(rule.step(&memory, &reading(101, "north/feeder-7", Quantity::Frequency)).is_none());
        assert!(rule.step(&memory, &reading(101, "north/feeder-7", Quantity::Load)).is_some());
    }

    #[test]
    fn every_step_says_why_in_words() {
        let readings = [960, 960, 800].iter().zip([0u64, 300, 400]).map(|(kw, s)| Reading {
            at: UnixTime::new(1_800_000_000 + s),
            group: "north/feeder-7".parse().unwrap(),
            quantity: Quantity::Load,
            value: kw * 1000,
        });
        let steps = dry_run(&Rules::parse(PEAK).unwrap(), &readings.collect::<Vec<_>>());
        let why: Vec<_> = steps.iter().map(|s| s.why.as_str()).collect();
        assert_eq!(
            why,
            [
                "load 960 kW: for 0 s, 300 s are needed",
                "load 960 kW: load above 950 kW for 300 s, limited",
                "load 800 kW: the limit stays"
            ]
        );
    }

    #[test]
    fn a_frequency_is_a_threshold_too() {
        let rule = "[[rule]]\nname = 'f'\ngroup = 'all'\nwhen = 'frequency below 49.8 Hz'\nlimit = '0 W for 5 min'\nuntil = 'frequency above 49.95 Hz'\n";
        let rules = Rules::parse(rule).unwrap();
        let rule = rules.iter().next().unwrap();
        assert_eq!(
            rule.words(),
            "when frequency below 49.8 Hz in all, limit all to 0 W for 300 s, until frequency above 49.95 Hz"
        );
        let reading = Reading {
            at: UnixTime::new(1_800_000_000),
            group: "all".parse().unwrap(),
            quantity: Quantity::Frequency,
            value: 49_799,
        };
        assert!(matches!(rule.step(&Memory::default(), &reading).unwrap().order, Some(Order::Make(_))));
    }

    #[test]
    fn a_rule_that_is_wrong_is_named_with_its_line() {
        let with = |from: &str, to: &str| Rules::parse(&PEAK.replace(from, to)).unwrap_err().to_string();
        for (from, to, want) in [
            ("950 kW", "950 kV", "line 2: rule \"evening peak\": when: expected as in: load above"),
            ("load above", "lode above", "line 2: rule \"evening peak\": when: expected load or frequency"),
            ("5 min\"\nl", "5 days\"\nl", "when: expected a time as in: 90 s, 5 min, 2 h"),
            ("below 900", "below 960", "until: expected the same quantity, from the other side"),
            ("load below", "load above", "until: expected the same quantity, from the other side"),
            ("4200 W for 30 min", "4200 W", "limit: expected as in: 4200 W for 30 min"),
            ("4200 W for", "-1 W for", "limit: expected as in: 4200 W for 30 min"),
            ("4200 W for 30 min", "4200 W for 0 min", "limit: expected as in"),
            ("= \"10 min\"", "= \"2 h\"", "randomise: expected at most 60 min"),
            ("priority = 5", "priority = 300", "line 8: invalid value: integer `300`"),
            ("when =", "wenn =", "unknown field `wenn`"),
            ("north/feeder-7", "north//7", "group: expected 1 to 64 of letters"),
            ("name = \"evening peak\"", "name = \"\"", "line 2: name: expected 1 to 128 bytes"),
        ] {
            assert!(with(from, to).contains(want), "{to}: {}", with(from, to));
        }
        assert!(Rules::parse(&PEAK.repeat(2)).unwrap_err().to_string().contains("two rules called \"evening peak\""));
        assert!(Rules::parse("").unwrap().is_empty());
    }

    #[test]
    fn amounts_are_read_exactly() {
        let load = |n, u| amount(n, u, Quantity::Load.units());
        assert_eq!((load("0.95", "MW"), load("-1.5", "kW"), load("7", "W")), (Some(950_000), Some(-1500), Some(7)));
        for bad in ["", "1e3", "1.", "x", "0.0001", "99999999999999999999", "--1", "+1"] {
            assert!(load(bad, "kW").is_none_or(|_| bad == "1."), "{bad}");
        }
        assert_eq!(Quantity::Load.shown(-1500), "-1.5 kW");
    }
}
