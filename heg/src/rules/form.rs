//! A rule as it is written: in the configuration, in JSON, in the database. One flat form; which keys go with which kind is checked here.
#![forbid(unsafe_code)]

use std::fmt;

use energy_model::{Flexibility, Importance};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use upnp::ids::{NameError, Udn};

use super::load::{self, PhaseForm};
use super::window::Window;
use super::{Author, Consent, OptOut, Rule, RuleId, What, micros, units};
use crate::limits::{
    ORDER_S_MAX, PLAN_DURATION_S_MAX, PLAN_ENERGY_WH_MAX, PLAN_PRICE_MAX, PLAN_START_COST_MAX, PLAN_WATTS_MAX,
    RULE_AHEAD_S_MAX,
};

/// The kinds of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// [`What::Plan`]; key `plan`.
    Plan,
    /// [`What::Kind`]; key `flexibility`, and for a cycle `phases`.
    Kind,
    /// [`What::EveryDay`]; key `window`, and for a charge `energy-wh`.
    EveryDay,
    /// [`What::Importance`]; key `importance`.
    Importance,
    /// [`What::PriceMax`]; key `price`.
    PriceMax,
    /// [`What::Only`]; key `window`.
    Only,
    /// [`What::KeepOn`]; key `window`.
    KeepOn,
    /// [`What::Run`].
    Run,
    /// [`What::Charge`]; key `energy-wh`.
    Charge,
    /// [`What::Power`]; key `watts`.
    Power,
    /// [`What::RestPower`]; key `watts`.
    RestPower,
    /// [`What::MinimumOn`]; key `seconds`.
    MinimumOn,
    /// [`What::MinimumOff`]; key `seconds`.
    MinimumOff,
    /// [`What::StartCost`]; key `price`.
    StartCost,
    /// [`What::OptOut`]; key `of`, which may be left out.
    OptOut,
    /// [`What::Order`], on.
    On,
    /// [`What::Order`], off.
    Off,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plan => "plan",
            Self::Kind => "kind",
            Self::EveryDay => "every-day",
            Self::Importance => "importance",
            Self::PriceMax => "price-max",
            Self::Only => "only",
            Self::KeepOn => "keep-on",
            Self::Run => "run",
            Self::Charge => "charge",
            Self::Power => "power",
            Self::RestPower => "rest-power",
            Self::MinimumOn => "minimum-on",
            Self::MinimumOff => "minimum-off",
            Self::StartCost => "start-cost",
            Self::OptOut => "opt-out",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// `[[rule]]`, and the body of `POST /v1/rules`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RuleForm {
    /// What it is about.
    pub kind: Kind,
    /// About which appliance, by its UDN; without it about each one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appliance: Option<String>,
    /// What the gateway may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Consent>,
    /// What may be done with its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flexibility: Option<Flexibility>,
    /// The steps of its cycle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseForm>,
    /// Importance class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<Importance>,
    /// Price per kWh, or of a start, in the tariff's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<f64>,
    /// Hours of some days, local time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Energy, Wh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_wh: Option<u32>,
    /// Power, W.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watts: Option<u32>,
    /// Time, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// Out of what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<OptOut>,
    /// From when on, RFC 3339; without it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until when, RFC 3339; without it until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A key that this kind needs.
    #[error("a rule of kind {0} needs `{1}`")]
    Missing(Kind, &'static str),
    /// A key that this kind has no use for.
    #[error("`{1}` does not go with a rule of kind {0}")]
    Foreign(Kind, &'static str),
    /// `appliance` is no UDN.
    #[error("appliance {0:?}: {1}")]
    Appliance(String, NameError),
    /// `from` or `until` is no moment.
    #[error("{0} = {1:?}: expected a moment as RFC 3339, 2026-12-24T18:00:00Z")]
    Moment(&'static str, String),
    /// Out of reach.
    #[error("price: expected -1000 to 1000 per kWh")]
    Price,
    /// Out of reach.
    #[error("price: a start costs 0 to 1000")]
    StartCost,
    /// Out of reach.
    #[error("watts: expected 1 to {PLAN_WATTS_MAX}")]
    Watts,
    /// Out of reach.
    #[error("watts: expected 0 to {PLAN_WATTS_MAX}")]
    RestWatts,
    /// Out of reach: which key, and what is expected.
    #[error("{0}: expected {1}")]
    Phases(&'static str, String),
    /// Steps of something that has none.
    #[error("`phases` are the steps of a cycle: they go with Deferrable, not with {0}")]
    NoCycle(Flexibility),
    /// Out of reach.
    #[error("seconds: expected at most {PLAN_DURATION_S_MAX}")]
    Seconds,
    /// Out of reach.
    #[error("energy-wh: expected 1 to {PLAN_ENERGY_WH_MAX}")]
    Energy,
    /// It would never hold.
    #[error("it would be over before it begins")]
    Over,
    /// An order without a near end.
    #[error("an order on or off ends within 7 days; for longer say when it is to run, or take it out of the plan")]
    Long,
    /// A moment that no plan reaches.
    #[error("`until` is more than a year ahead")]
    Far,
}

impl RuleForm {
    /// Nothing but its kind.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            appliance: None,
            plan: None,
            flexibility: None,
            phases: Vec::new(),
            importance: None,
            price: None,
            window: None,
            energy_wh: None,
            watts: None,
            seconds: None,
            of: None,
            from: None,
            until: None,
        }
    }

    /// In words for the journal: `plan yes`, `only 22:00:00-06:00:00 mon-fri`.
    pub fn words(&self) -> String {
        let mut words = self.kind.to_string();
        let plan = self.plan.map(|v| v.to_string());
        let flexibility = self.flexibility.map(|v| v.to_string());
        let phases = (!self.phases.is_empty()).then(|| load::phase_words(&self.phases));
        let class = self.importance.map(|v| v.to_string());
        let price = self.price.map(|v| v.to_string());
        let window = self.window.map(|v| v.to_string());
        let energy = self.energy_wh.map(|v| format!("{v} Wh"));
        let watts = self.watts.map(|v| format!("{v} W"));
        let seconds = self.seconds.map(|v| format!("{v} s"));
        let of = self.of.map(|v| v.to_string());
        for word in [plan, flexibility, phases, class, price, window, energy, watts, seconds, of].into_iter().flatten()
        {
            words = words + " " + &word;
        }
        words
    }

    /// The rule it is, made by `by` under the name `id`. `now` is when it was made, where that is known.
    pub fn rule(&self, id: RuleId, by: Author, now: Option<Timestamp>) -> Result<Rule, RuleError> {
        let what = self.what()?;
        let appliance = |text: &String| Udn::parse(text).map_err(|e| RuleError::Appliance(text.clone(), e));
        let appliance = self.appliance.as_ref().map(appliance).transpose()?;
        let (from, until) = (moment("from", &self.from)?, moment("until", &self.until)?);
        let start = [from, now].into_iter().flatten().max();
        if let (Some(start), Some(until)) = (start, until) {
            let seconds = until.as_second() - start.as_second();
            match what {
                _ if seconds <= 0 => return Err(RuleError::Over),
                What::Order { .. } if seconds > ORDER_S_MAX => return Err(RuleError::Long),
                _ if seconds > RULE_AHEAD_S_MAX => return Err(RuleError::Far),
                _ => {}
            }
        }
        let once = matches!(what, What::Run | What::Charge(_) | What::Order { .. });
        if once && until.is_none() {
            return Err(RuleError::Missing(self.kind, "until"));
        }
        let of_one = matches!(
            what,
            What::Kind(..)
                | What::EveryDay(..)
                | What::Importance(_)
                | What::Power(_)
                | What::RestPower(_)
                | What::MinimumOn(_)
                | What::MinimumOff(_)
                | What::StartCost(_)
        );
        if (once || of_one) && appliance.is_none() {
            return Err(RuleError::Missing(self.kind, "appliance"));
        }
        Ok(Rule { id, appliance, what, from, until, by, made: now })
    }

    fn what(&self) -> Result<What, RuleError> {
        let kind = self.kind;
        let missing = |key| RuleError::Missing(kind, key);
        let keys = [
            ("plan", self.plan.is_some(), kind == Kind::Plan),
            ("flexibility", self.flexibility.is_some(), kind == Kind::Kind),
            ("phases", !self.phases.is_empty(), kind == Kind::Kind),
            ("importance", self.importance.is_some(), kind == Kind::Importance),
            ("price", self.price.is_some(), matches!(kind, Kind::PriceMax | Kind::StartCost)),
            ("window", self.window.is_some(), matches!(kind, Kind::Only | Kind::KeepOn | Kind::EveryDay)),
            ("energy-wh", self.energy_wh.is_some(), matches!(kind, Kind::Charge | Kind::EveryDay)),
            ("watts", self.watts.is_some(), matches!(kind, Kind::Power | Kind::RestPower)),
            ("seconds", self.seconds.is_some(), matches!(kind, Kind::MinimumOn | Kind::MinimumOff)),
            ("of", self.of.is_some(), kind == Kind::OptOut),
        ];
        if let Some((key, ..)) = keys.into_iter().find(|(_, said, fits)| *said && !fits) {
            return Err(RuleError::Foreign(kind, key));
        }
        let seconds = || match self.seconds.ok_or(missing("seconds"))? {
            seconds @ 0..=PLAN_DURATION_S_MAX => Ok(seconds),
            _ => Err(RuleError::Seconds),
        };
        let energy = |energy: u32| match energy {
            1..=PLAN_ENERGY_WH_MAX => Ok(energy),
            _ => Err(RuleError::Energy),
        };
        Ok(match kind {
            Kind::Kind => {
                let flexibility = self.flexibility.ok_or(missing("flexibility"))?;
                if !self.phases.is_empty() && flexibility != Flexibility::Deferrable {
                    return Err(RuleError::NoCycle(flexibility));
                }
                load::check_phases(&self.phases).map_err(|(key, want)| RuleError::Phases(key, want))?;
                What::Kind(flexibility, self.phases.clone().into())
            }
            Kind::EveryDay => {
                let window = self.window.ok_or(missing("window"))?;
                What::EveryDay(window, self.energy_wh.map(energy).transpose()?)
            }
            Kind::RestPower => match self.watts.ok_or(missing("watts"))? {
                watts @ 0..=PLAN_WATTS_MAX => What::RestPower(watts),
                _ => return Err(RuleError::RestWatts),
            },
            Kind::Power => match self.watts.ok_or(missing("watts"))? {
                watts @ 1..=PLAN_WATTS_MAX => What::Power(watts),
                _ => return Err(RuleError::Watts),
            },
            Kind::MinimumOn => What::MinimumOn(seconds()?),
            Kind::MinimumOff => What::MinimumOff(seconds()?),
            Kind::StartCost => {
                let cost = micros(self.price.ok_or(missing("price"))?, PLAN_START_COST_MAX);
                What::StartCost(cost.filter(|cost| *cost >= 0).ok_or(RuleError::StartCost)?)
            }
            Kind::Plan => What::Plan(self.plan.ok_or(missing("plan"))?),
            Kind::Importance => What::Importance(self.importance.ok_or(missing("importance"))?),
            Kind::PriceMax => {
                let price = self.price.ok_or(missing("price"))?;
                What::PriceMax(micros(price, PLAN_PRICE_MAX).ok_or(RuleError::Price)?)
            }
            Kind::Only => What::Only(self.window.ok_or(missing("window"))?),
            Kind::KeepOn => What::KeepOn(self.window.ok_or(missing("window"))?),
            Kind::Run => What::Run,
            Kind::Charge => What::Charge(energy(self.energy_wh.ok_or(missing("energy-wh"))?)?),
            Kind::OptOut => What::OptOut(self.of.unwrap_or_default()),
            Kind::On => What::Order { on: true },
            Kind::Off => What::Order { on: false },
        })
    }
}

impl From<&Rule> for RuleForm {
    fn from(rule: &Rule) -> Self {
        let new = |kind| Self {
            appliance: rule.appliance.as_ref().map(ToString::to_string),
            from: rule.from.map(|at| at.to_string()),
            until: rule.until.map(|at| at.to_string()),
            ..Self::new(kind)
        };
        match rule.what {
            What::Plan(plan) => Self { plan: Some(plan), ..new(Kind::Plan) },
            What::Kind(flexibility, ref phases) => {
                Self { flexibility: Some(flexibility), phases: phases.to_vec(), ..new(Kind::Kind) }
            }
            What::EveryDay(window, energy_wh) => Self { window: Some(window), energy_wh, ..new(Kind::EveryDay) },
            What::Importance(class) => Self { importance: Some(class), ..new(Kind::Importance) },
            What::PriceMax(price) => Self { price: Some(units(price)), ..new(Kind::PriceMax) },
            What::Only(window) => Self { window: Some(window), ..new(Kind::Only) },
            What::KeepOn(window) => Self { window: Some(window), ..new(Kind::KeepOn) },
            What::Run => new(Kind::Run),
            What::Charge(energy) => Self { energy_wh: Some(energy), ..new(Kind::Charge) },
            What::Power(watts) => Self { watts: Some(watts), ..new(Kind::Power) },
            What::RestPower(watts) => Self { watts: Some(watts), ..new(Kind::RestPower) },
            What::MinimumOn(seconds) => Self { seconds: Some(seconds), ..new(Kind::MinimumOn) },
            What::MinimumOff(seconds) => Self { seconds: Some(seconds), ..new(Kind::MinimumOff) },
            What::StartCost(cost) => Self { price: Some(units(cost)), ..new(Kind::StartCost) },
            What::OptOut(of) => Self { of: Some(of), ..new(Kind::OptOut) },
            What::Order { on } => new(if on { Kind::On } else { Kind::Off }),
        }
    }
}

fn moment(key: &'static str, text: &Option<String>) -> Result<Option<Timestamp>, RuleError> {
    let parse = |text: &String| text.parse().map_err(|_| RuleError::Moment(key, text.clone()));
    text.as_ref().map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-27T12:00:00Z";

    fn read(json: &str) -> Result<Rule, String> {
        let form: RuleForm = serde_json::from_str(json).map_err(|e| e.to_string())?;
        let now = Some(NOW.parse().unwrap());
        form.rule(RuleId::Made(7), Author::Person(1000), now).map_err(|e| e.to_string())
    }

    #[test]
    fn a_rule_reads_back_from_its_own_form() {
        for json in [
            r#"{"kind":"plan","plan":"yes"}"#,
            r#"{"kind":"plan","plan":"limits","appliance":"uuid:tv"}"#,
            r#"{"kind":"kind","flexibility":"StandbyAble","appliance":"uuid:tv"}"#,
            r#"{"kind":"kind","flexibility":"Deferrable","phases":[{"minutes":15,"watts":2000}],"appliance":"uuid:tv"}"#,
            r#"{"kind":"every-day","window":{"start":"22:00:00","end":"06:00:00"},"appliance":"uuid:tv"}"#,
            r#"{"kind":"every-day","window":{"start":"22:00:00","end":"06:00:00"},"energy-wh":8000,"appliance":"uuid:tv"}"#,
            r#"{"kind":"rest-power","watts":0,"appliance":"uuid:tv"}"#,
            r#"{"kind":"importance","importance":"Low","appliance":"uuid:tv"}"#,
            r#"{"kind":"price-max","price":-0.25}"#,
            r#"{"kind":"only","window":{"start":"22:00:00","end":"06:00:00"}}"#,
            r#"{"kind":"keep-on","window":{"start":"18:00:00","end":"23:00:00","days":"sat,sun"}}"#,
            r#"{"kind":"power","watts":2000,"appliance":"uuid:tv"}"#,
            r#"{"kind":"minimum-on","seconds":600,"appliance":"uuid:tv"}"#,
            r#"{"kind":"minimum-off","seconds":0,"appliance":"uuid:tv"}"#,
            r#"{"kind":"start-cost","price":0.05,"appliance":"uuid:tv"}"#,
            r#"{"kind":"run","appliance":"uuid:tv","from":"2026-11-27T20:00:00Z","until":"2026-11-28T06:00:00Z"}"#,
            r#"{"kind":"charge","appliance":"uuid:tv","energy-wh":8000,"until":"2026-11-28T06:00:00Z"}"#,
            r#"{"kind":"opt-out","of":"utility","until":"2026-11-28T06:00:00Z"}"#,
            r#"{"kind":"on","appliance":"uuid:tv","until":"2026-11-27T14:00:00Z"}"#,
            r#"{"kind":"off","appliance":"uuid:tv","until":"2026-11-27T14:00:00Z"}"#,
        ] {
            let rule = read(json).unwrap();
            let again = RuleForm::from(&rule).rule(rule.id, rule.by, rule.made).unwrap();
            assert_eq!(rule, again, "{json}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_said() {
        for (json, want) in [
            (r#"{"kind":"fly"}"#, "unknown variant `fly`"),
            (r#"{"kind":"plan","colour":"red"}"#, "unknown field `colour`"),
            (r#"{"kind":"kind","appliance":"uuid:tv"}"#, "a rule of kind kind needs `flexibility`"),
            (r#"{"kind":"kind","flexibility":"Deferrable"}"#, "a rule of kind kind needs `appliance`"),
            (
                r#"{"kind":"kind","flexibility":"Fixed","phases":[{"minutes":1,"watts":1}],"appliance":"uuid:tv"}"#,
                "`phases` are the steps of a cycle: they go with Deferrable, not with Fixed",
            ),
            (
                r#"{"kind":"kind","flexibility":"Deferrable","phases":[{"minutes":0,"watts":1}],"appliance":"uuid:tv"}"#,
                "phases.minutes: expected 1 to 10080",
            ),
            (
                r#"{"kind":"kind","flexibility":"Deferrable","phases":[{"minutes":1,"watts":90001}],"appliance":"uuid:tv"}"#,
                "phases.watts: expected 0 to 90000",
            ),
            (r#"{"kind":"plan","plan":"yes","phases":[{"minutes":1,"watts":1}]}"#, "`phases` does not go with"),
            (r#"{"kind":"every-day","appliance":"uuid:tv"}"#, "a rule of kind every-day needs `window`"),
            (r#"{"kind":"rest-power","watts":90001,"appliance":"uuid:tv"}"#, "watts: expected 0 to"),
            (r#"{"kind":"plan"}"#, "a rule of kind plan needs `plan`"),
            (r#"{"kind":"plan","plan":"yes","price":1}"#, "`price` does not go with a rule of kind plan"),
            (r#"{"kind":"plan","plan":"yes","appliance":"tv"}"#, "appliance \"tv\""),
            (r#"{"kind":"importance","importance":"Low"}"#, "a rule of kind importance needs `appliance`"),
            (r#"{"kind":"power","watts":0,"appliance":"uuid:tv"}"#, "watts: expected 1 to"),
            (r#"{"kind":"minimum-on","seconds":4000000000,"appliance":"uuid:tv"}"#, "seconds: expected at most"),
            (r#"{"kind":"minimum-on","seconds":60}"#, "a rule of kind minimum-on needs `appliance`"),
            (r#"{"kind":"start-cost","price":-1,"appliance":"uuid:tv"}"#, "a start costs 0 to 1000"),
            (r#"{"kind":"price-max","price":1e9}"#, "expected -1000 to 1000"),
            (r#"{"kind":"only","window":{"start":"22:00:00","end":"22:00:00"}}"#, "window"),
            (
                r#"{"kind":"charge","appliance":"uuid:tv","energy-wh":0,"until":"2026-11-28T06:00:00Z"}"#,
                "expected 1 to",
            ),
            (r#"{"kind":"run","appliance":"uuid:tv"}"#, "a rule of kind run needs `until`"),
            (r#"{"kind":"run","appliance":"uuid:tv","until":"tomorrow"}"#, "expected a moment as RFC 3339"),
            (r#"{"kind":"run","appliance":"uuid:tv","until":"2026-11-27T11:00:00Z"}"#, "before it begins"),
            (r#"{"kind":"run","appliance":"uuid:tv","until":"2028-11-27T11:00:00Z"}"#, "more than a year ahead"),
            (r#"{"kind":"on","appliance":"uuid:tv","until":"2026-12-27T11:00:00Z"}"#, "ends within 7 days"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(want), "{json}: {error}");
        }
    }
}
