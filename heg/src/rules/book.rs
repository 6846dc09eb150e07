//! All rules, each with its weight and its end.
//!
//! What was said at `hegctl` goes before the configuration, what is said of one appliance before what is said of all, and what was said
//! last before what was said earlier.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use upnp::ids::Udn;

use super::form::{RuleError, RuleForm};
use super::window::Window;
use super::{Author, Rule, RuleId, What};
use crate::limits::{LOAD_WINDOWS_MAX, ORDER_S_MAX, RULES_MAX};

/// Why a rule was not taken or not removed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BookError {
    /// It makes no sense.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// No room.
    #[error("there are {RULES_MAX} rules already; remove one first")]
    Full,
    /// Nothing by that name.
    #[error("there is no rule {0}")]
    Unknown(RuleId),
    /// The file is its place.
    #[error("rule {0} is in the configuration file; change it there")]
    Configured(RuleId),
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Book {
    config: Vec<Rule>,
    made: BTreeMap<u32, Rule>,
    last: u32,
}

impl Book {
    /// No rules; numbers go on after `last`.
    pub fn new(last: u32) -> Self {
        Self { last, ..Self::default() }
    }

    /// Takes the rules of the configuration in place of those it had.
    pub fn configure(&mut self, config: Vec<Rule>) {
        self.config = config;
    }

    /// Takes a rule from the store.
    pub fn restore(&mut self, number: u32, rule: Rule) {
        self.last = self.last.max(number);
        if self.made.len() < RULES_MAX {
            self.made.insert(number, rule);
        }
    }

    /// The last number given.
    pub fn last(&self) -> u32 {
        self.last
    }

    /// The rules of the configuration as written there.
    ///
    /// # Errors
    /// The first that makes no sense, by its place from 1.
    pub fn read(forms: &[RuleForm]) -> Result<Vec<Rule>, (usize, RuleError)> {
        let rule = |(i, form): (usize, &RuleForm)| {
            let id = RuleId::Config(u16::try_from(i + 1).unwrap_or(u16::MAX));
            form.rule(id, Author::Config, None).map_err(|e| (i + 1, e))
        };
        forms.iter().enumerate().map(rule).collect()
    }

    /// All, also those that do not hold now: the configuration's, then the others in order of their making.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.config.iter().chain(self.made.values())
    }

    /// The rule of that name.
    pub fn get(&self, id: RuleId) -> Option<&Rule> {
        match id {
            RuleId::Config(_) => self.config.iter().find(|r| r.id == id),
            RuleId::Made(number) => self.made.get(&number),
        }
    }

    /// Those about one appliance that hold now, the weightiest first.
    pub fn of<'a>(&'a self, udn: &'a Udn, now: Timestamp) -> impl Iterator<Item = &'a Rule> {
        self.made_of(udn).chain(self.configured_of(udn)).filter(move |r| r.holds(now))
    }

    /// Those about one appliance that have not ended, the weightiest first.
    pub fn coming<'a>(&'a self, udn: &'a Udn, now: Timestamp) -> impl Iterator<Item = &'a Rule> {
        self.made_of(udn).chain(self.configured_of(udn)).filter(move |r| !r.is_over(now))
    }

    fn made_of<'a>(&'a self, udn: &'a Udn) -> impl Iterator<Item = &'a Rule> {
        let own = self.made.values().rev().filter(move |r| r.appliance.as_ref() == Some(udn));
        own.chain(self.made.values().rev().filter(|r| r.appliance.is_none()))
    }

    fn configured_of<'a>(&'a self, udn: &'a Udn) -> impl Iterator<Item = &'a Rule> {
        let own = self.config.iter().rev().filter(move |r| r.appliance.as_ref() == Some(udn));
        own.chain(self.config.iter().rev().filter(|r| r.appliance.is_none()))
    }

    /// The weightiest rule about an appliance that holds now and that `pick` picks.
    pub fn weightiest<'a>(&'a self, udn: &'a Udn, now: Timestamp, pick: fn(&What) -> bool) -> Option<&'a Rule> {
        self.of(udn, now).find(|r| pick(&r.what))
    }

    /// The windows in which an appliance is to run: all of those whose weight is the greatest.
    pub fn windows(&self, udn: &Udn, now: Timestamp) -> Vec<Window> {
        let weight = |r: &Rule| (matches!(r.id, RuleId::Made(_)), r.appliance.is_some());
        let first = self.weightiest(udn, now, |what| matches!(what, What::Only(_))).map(weight);
        let same = self.of(udn, now).filter(|r| Some(weight(r)) == first);
        let windows = same.filter_map(|r| match r.what {
            What::Only(window) => Some(window),
            _ => None,
        });
        windows.take(LOAD_WINDOWS_MAX).collect()
    }

    /// A new rule. An order takes the place of earlier orders to the same appliance; those are given back.
    pub fn add(&mut self, form: &RuleForm, by: Author, now: Timestamp) -> Result<(Rule, Vec<Rule>), BookError> {
        let rule = form.rule(RuleId::Made(self.last.saturating_add(1)), by, Some(now))?;
        let order = |what: &What| matches!(what, What::Order { .. });
        let replaced = |old: &&Rule| order(&old.what) && order(&rule.what) && old.appliance == rule.appliance;
        let replaced: Vec<Rule> = self.made.values().filter(replaced).cloned().collect();
        if self.made.len() - replaced.len() >= RULES_MAX {
            return Err(BookError::Full);
        }
        self.made.retain(|_, old| !replaced.contains(old));
        self.last = self.last.saturating_add(1);
        self.made.insert(self.last, rule.clone());
        Ok((rule, replaced))
    }

    /// Takes a rule out.
    pub fn remove(&mut self, id: RuleId) -> Result<Rule, BookError> {
        match id {
            RuleId::Made(number) => self.made.remove(&number).ok_or(BookError::Unknown(id)),
            RuleId::Config(_) if self.get(id).is_some() => Err(BookError::Configured(id)),
            RuleId::Config(_) => Err(BookError::Unknown(id)),
        }
    }

    /// Takes out what has ended, and what is about an appliance that is no more.
    pub fn expire(&mut self, now: Timestamp, gone: Option<&Udn>) -> Vec<Rule> {
        let over = |r: &Rule| r.is_over(now) || (gone.is_some() && r.appliance.as_ref() == gone);
        let ended: Vec<Rule> = self.made.values().filter(|r| over(r)).cloned().collect();
        self.made.retain(|_, r| !over(r));
        ended
    }

    /// Takes out orders that were made after `now`, by a clock that was ahead, and end later than an order may.
    pub fn expire_orders_of_later(&mut self, now: Timestamp) -> Vec<Rule> {
        let last = now.as_second() + ORDER_S_MAX;
        let later = |r: &Rule| {
            let order = matches!(r.what, What::Order { .. }) && r.made.is_some_and(|made| made > now);
            order && r.until.is_some_and(|until| until.as_second() > last)
        };
        let ended: Vec<Rule> = self.made.values().filter(|r| later(r)).cloned().collect();
        self.made.retain(|_, r| !later(r));
        ended
    }

    /// When a rule begins or ends next.
    pub fn next_edge(&self, now: Timestamp) -> Option<Timestamp> {
        self.iter().flat_map(|r| [r.from, r.until]).flatten().filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use energy_model::{Flexibility, Importance, Watts};

    use super::*;
    use crate::registry::Facts;
    use crate::rules::form::Kind;
    use crate::rules::load::{Load, LoadForm, Obstacle, Task};
    use crate::rules::{Consent, Source};

    const TV: &str = "uuid:tv";

    fn at(text: &str) -> Timestamp {
        format!("2026-11-27T{text}Z").parse().unwrap()
    }

    fn tv() -> Udn {
        Udn::parse(TV).unwrap()
    }

    fn form(json: &str) -> RuleForm {
        serde_json::from_str(json).unwrap()
    }

    fn say(book: &mut Book, json: &str) -> RuleId {
        book.add(&form(json), Author::Person(1000), at("12:00:00")).unwrap().0.id
    }

    fn load(text: &str) -> Result<crate::rules::load::Settings, String> {
        let form: LoadForm = toml_like(text);
        form.check().map_err(|e| e.to_string())
    }

    fn toml_like(json: &str) -> LoadForm {
        serde_json::from_str(json).unwrap()
    }

    fn facts(flexibility: Flexibility) -> Facts {
        let (minimum_on_s, minimum_off_s) = (300, 60);
        let (rated_power, importance) = (Watts::new(120), Importance::High);
        Facts { rated_power, importance, flexibility, minimum_on_s, minimum_off_s }
    }

    #[test]
    fn a_person_goes_before_the_configuration_and_one_appliance_before_all() {
        let mut book = Book::new(6);
        let consent = |book: &Book| Load::new(&tv(), None, None, book, at("12:00:00")).consent;
        assert_eq!(consent(&book), (Consent::No, Source::Default), "nobody consents by saying nothing");
        let config = [r#"{"kind":"plan","plan":"yes","appliance":"uuid:tv"}"#, r#"{"kind":"plan","plan":"limits"}"#];
        book.configure(Book::read(&config.map(form)).unwrap());
        assert_eq!(consent(&book), (Consent::Yes, Source::Rule(RuleId::Config(1))));
        let all = say(&mut book, r#"{"kind":"plan","plan":"no"}"#);
        assert_eq!((all, consent(&book)), (RuleId::Made(7), (Consent::No, Source::Rule(all))));
        let one = say(&mut book, r#"{"kind":"plan","plan":"limits","appliance":"uuid:tv"}"#);
        say(&mut book, r#"{"kind":"plan","plan":"yes"}"#);
        assert_eq!(consent(&book), (Consent::Limits, Source::Rule(one)));
        assert_eq!(book.remove(RuleId::Config(1)), Err(BookError::Configured(RuleId::Config(1))));
        assert_eq!(book.remove(RuleId::Config(9)), Err(BookError::Unknown(RuleId::Config(9))));
        assert_eq!(book.remove(one).unwrap().id, one);
        assert_eq!(consent(&book).0, Consent::Yes);
    }

    #[test]
    fn rules_end_and_an_order_takes_the_place_of_the_one_before() {
        let mut book = Book::default();
        say(&mut book, r#"{"kind":"on","appliance":"uuid:tv","until":"2026-11-27T14:00:00Z"}"#);
        let off = form(r#"{"kind":"off","appliance":"uuid:tv","until":"2026-11-27T13:00:00Z"}"#);
        let (off, replaced) = book.add(&off, Author::Hand, at("12:01:00")).unwrap();
        assert_eq!((replaced.len(), book.iter().count()), (1, 1));
        assert_eq!(book.next_edge(at("12:01:00")), off.until);
        assert!(book.expire(at("12:59:59"), None).is_empty());
        assert_eq!(book.expire(at("13:00:00"), None), [off]);
        say(&mut book, r#"{"kind":"opt-out","appliance":"uuid:tv"}"#);
        say(&mut book, r#"{"kind":"opt-out"}"#);
        assert_eq!(book.expire(at("13:00:00"), Some(&tv())).len(), 1, "a forgotten appliance takes its rules along");
        for n in 1..RULES_MAX {
            say(&mut book, &format!(r#"{{"kind":"price-max","price":0.{n}}}"#));
        }
        let one_more = book.add(&RuleForm::new(Kind::OptOut), Author::Hand, at("13:00:00"));
        assert_eq!(one_more, Err(BookError::Full));
    }

    #[test]
    fn windows_of_the_greatest_weight_hold_together() {
        let mut book = Book::default();
        let only = |of: &str, start: &str| {
            format!(r#"{{"kind":"only"{of},"window":{{"start":"{start}:00:00","end":"23:00:00"}}}}"#)
        };
        book.configure(Book::read(&[form(&only(r#","appliance":"uuid:tv""#, "01"))]).unwrap());
        say(&mut book, &only("", "02"));
        say(&mut book, &only("", "03"));
        let starts = |book: &Book| {
            let windows = book.windows(&tv(), at("12:00:00"));
            windows.iter().map(|w| w.daily.start().hour()).collect::<Vec<_>>()
        };
        assert_eq!(starts(&book), [3, 2]);
        say(&mut book, &only(r#","appliance":"uuid:tv""#, "04"));
        assert_eq!(starts(&book), [4]);
    }

    #[test]
    fn a_load_is_what_the_appliance_says_unless_the_home_knows_better() {
        let book = Book::default();
        let merged = |facts: Option<&Facts>, said: &str| {
            let said = (!said.is_empty()).then(|| load(said).unwrap());
            Load::new(&tv(), facts, said.as_ref(), &book, at("12:00:00"))
        };
        assert_eq!(merged(None, "").task, Err(Obstacle::KindUnknown));
        assert_eq!(merged(Some(&facts(Flexibility::Fixed)), "").task, Err(Obstacle::Fixed));
        assert_eq!(merged(Some(&facts(Flexibility::Deferrable)), "").task, Err(Obstacle::CycleUnknown));
        let told = merged(Some(&facts(Flexibility::StandbyAble)), "");
        assert!(matches!(told.task, Ok(Task::Presence { standby: true, .. })));
        assert_eq!((told.power_w, told.minimum_on_s, told.minimum_off_s), (120, 300, 60));
        assert_eq!(told.importance, (Importance::High, Source::Appliance));
        let known = merged(
            Some(&facts(Flexibility::StandbyAble)),
            r#"{"udn":"uuid:tv","kind":"Deferrable","importance":"Low","minimum-on-s":0,
                "phases":[{"minutes":30,"watts":2000}],"every-day":{"start":"22:00:00","end":"06:00:00"}}"#,
        );
        let Ok(Task::Cycle { phases, every_day: Some(_) }) = &known.task else { panic!("{known:?}") };
        assert_eq!((phases[0].seconds, known.minimum_on_s, known.minimum_off_s), (1800, 0, 60));
        assert_eq!(known.importance, (Importance::Low, Source::Config));
        let unmeasured = merged(None, r#"{"udn":"uuid:tv","kind":"Curtailable"}"#);
        assert_eq!(unmeasured.task, Err(Obstacle::PowerUnknown));
    }

    #[test]
    fn what_a_load_is_may_come_from_the_appliance_the_configuration_or_a_rule_and_the_rule_goes_first() {
        let mut book = Book::default();
        let said = load(
            r#"{"udn":"uuid:tv","kind":"Curtailable","importance":"Low","power-w":200,"minimum-on-s":30,"minimum-off-s":40,
                "start-cost":0.5,"only":[{"start":"08:00:00","end":"09:00:00","days":"mon"}],
                "keep-on":[{"start":"10:00:00","end":"11:00:00"}]}"#,
        )
        .unwrap();
        let of = |book: &Book, said: Option<&crate::rules::load::Settings>| {
            let load = Load::new(&tv(), Some(&facts(Flexibility::Curtailable)), said, book, at("12:00:00"));
            let Ok(Task::Presence { only, .. }) = load.task else { panic!("{load:?}") };
            let numbers = (load.power_w, load.minimum_on_s, load.minimum_off_s, load.start_cost);
            (load.importance.0, numbers, only.len(), load.keep_on.len())
        };
        assert_eq!(of(&book, None), (Importance::High, (120, 300, 60, 0), 0, 0));
        assert_eq!(of(&book, Some(&said)), (Importance::Low, (200, 30, 40, 500_000), 1, 1));
        for json in [
            r#"{"kind":"importance","importance":"Critical","appliance":"uuid:tv"}"#,
            r#"{"kind":"power","watts":250,"appliance":"uuid:tv"}"#,
            r#"{"kind":"minimum-on","seconds":1,"appliance":"uuid:tv"}"#,
            r#"{"kind":"minimum-off","seconds":2,"appliance":"uuid:tv"}"#,
            r#"{"kind":"start-cost","price":0.25,"appliance":"uuid:tv"}"#,
            r#"{"kind":"only","window":{"start":"18:00:00","end":"19:00:00"},"appliance":"uuid:tv"}"#,
            r#"{"kind":"keep-on","window":{"start":"18:00:00","end":"18:30:00"},"appliance":"uuid:tv"}"#,
        ] {
            say(&mut book, json);
        }
        assert_eq!(of(&book, Some(&said)), (Importance::Critical, (250, 1, 2, 250_000), 1, 2));
        assert_eq!(of(&book, None), (Importance::Critical, (250, 1, 2, 250_000), 1, 1));
    }

    #[test]
    fn what_is_wrong_with_a_load_is_said() {
        for (json, want) in [
            (r#"{"udn":"tv"}"#, "udn \"tv\""),
            (r#"{"udn":"uuid:tv","power-w":0}"#, "`power-w` is out of bounds: expected 1 to 90000"),
            (r#"{"udn":"uuid:tv","power-w":5,"rest-w":6}"#, "`rest-w` is out of bounds: expected 0 to 5"),
            (r#"{"udn":"uuid:tv","start-cost":-1}"#, "`start-cost` is out of bounds: expected 0 to 1000"),
            (r#"{"udn":"uuid:tv","kind":"Deferrable"}"#, "a load of kind Deferrable needs `phases`"),
            (r#"{"udn":"uuid:tv","phases":[{"minutes":1,"watts":1}]}"#, "`phases` needs `kind = \"Deferrable\"`"),
            (r#"{"udn":"uuid:tv","kind":"Fixed","price-max":1}"#, "`price-max` does not go with a load of kind Fixed"),
            (
                r#"{"udn":"uuid:tv","kind":"Interruptible","every-day":{"start":"22:00:00","end":"06:00:00"}}"#,
                "a load of kind Interruptible needs `energy-wh`",
            ),
        ] {
            let error = load(json).unwrap_err();
            assert!(error.contains(want), "{json}: {error}");
        }
    }
}
