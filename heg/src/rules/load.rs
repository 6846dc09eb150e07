//! An appliance as something that can be planned: what ApplianceInfo:1 says of it, what `[[load]]` says, and the rules, put together.
#![forbid(unsafe_code)]

use std::fmt;

use energy_model::{Flexibility, Importance};
use serde::{Deserialize, Serialize};
use upnp::ids::{NameError, Udn};

use super::book::Book;
use super::window::Window;
use super::{Consent, Source, What, micros};
use crate::limits::{
    LOAD_WINDOWS_MAX, PLAN_DURATION_S_MAX, PLAN_ENERGY_WH_MAX, PLAN_PHASES_MAX, PLAN_PRICE_MAX, PLAN_START_COST_MAX,
    PLAN_WATTS_MAX,
};
use crate::plan::Phase;
use crate::registry::Facts;

/// One step of a cycle, in `[[load]]` and in a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PhaseForm {
    /// How long, minutes.
    pub minutes: u32,
    /// Its largest power, W.
    pub watts: u32,
}

/// What is wrong with the steps of a cycle: the key, and what is expected.
pub(super) fn check_phases(phases: &[PhaseForm]) -> Result<(), (&'static str, String)> {
    let minutes_max = PLAN_DURATION_S_MAX / 60;
    if phases.len() > PLAN_PHASES_MAX {
        return Err(("phases", format!("at most {PLAN_PHASES_MAX}")));
    }
    for phase in phases {
        if !(1..=minutes_max).contains(&phase.minutes) {
            return Err(("phases.minutes", format!("1 to {minutes_max}")));
        }
        if phase.watts > PLAN_WATTS_MAX {
            return Err(("phases.watts", format!("0 to {PLAN_WATTS_MAX}")));
        }
    }
    Ok(())
}

/// `15 min 2000 W, 50 min 150 W`.
pub(super) fn phase_words(phases: &[PhaseForm]) -> String {
    let words: Vec<_> = phases.iter().map(|p| format!("{} min {} W", p.minutes, p.watts)).collect();
    words.join(", ")
}

fn steps(phases: &[PhaseForm]) -> Vec<Phase> {
    phases.iter().map(|p| Phase { seconds: p.minutes * 60, watts: p.watts }).collect()
}

/// `[[load]]`: what is known at home of an appliance's work.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LoadForm {
    /// Which appliance: its UDN.
    pub udn: String,
    /// What may be done with its work, instead of what it says itself.
    pub kind: Option<Flexibility>,
    /// What the gateway may do on its own account.
    pub plan: Option<Consent>,
    /// Importance class, instead of what it says itself.
    pub importance: Option<Importance>,
    /// Power while on, W, instead of what it says itself.
    pub power_w: Option<u32>,
    /// Power while off or in standby, W.
    #[serde(default)]
    pub rest_w: u32,
    /// The steps of its cycle.
    #[serde(default)]
    pub phases: Vec<PhaseForm>,
    /// What it takes each day, Wh.
    pub energy_wh: Option<u32>,
    /// Its cycle runs, or its energy is taken, once a day from the window's start to its end.
    pub every_day: Option<Window>,
    /// It runs in these daily windows and not outside.
    #[serde(default)]
    pub only: Vec<Window>,
    /// It is not switched off in these daily windows.
    #[serde(default)]
    pub keep_on: Vec<Window>,
    /// It doesn't run above this price per kWh.
    pub price_max: Option<f64>,
    /// Once on it stays on for so long, instead of what it says itself.
    pub minimum_on_s: Option<u32>,
    /// Once off it stays off for so long, instead of what it says itself.
    pub minimum_off_s: Option<u32>,
    /// What a start costs, in the tariff's currency.
    #[serde(default)]
    pub start_cost: f64,
}

/// What is wrong with a `[[load]]`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// `udn` is none.
    #[error("udn {0:?}: {1}")]
    Udn(String, NameError),
    /// A number beyond its bound.
    #[error("`{0}` is out of bounds: expected {1}")]
    Bounds(&'static str, String),
    /// A key that says nothing about a load of this kind.
    #[error("`{0}` does not go with a load of kind {1}")]
    Foreign(&'static str, Flexibility),
    /// A key that a load of this kind needs.
    #[error("a load of kind {1} needs `{0}`")]
    Missing(&'static str, Flexibility),
    /// A key whose meaning depends on `kind`.
    #[error("`{0}` needs `kind = \"{1}\"`")]
    Kind(&'static str, &'static str),
}

/// A [`LoadForm`] that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    form: LoadForm,
    udn: Udn,
    phases: Vec<Phase>,
    price_max: Option<i64>,
    start_cost: i64,
}

impl Settings {
    /// Which appliance.
    pub fn udn(&self) -> &Udn {
        &self.udn
    }
}

impl LoadForm {
    /// Finds numbers out of bounds, and keys that do not go together.
    pub fn check(&self) -> Result<Settings, LoadError> {
        let udn = Udn::parse(&self.udn).map_err(|e| LoadError::Udn(self.udn.clone(), e))?;
        let most = |key, value: Option<u32>, least: u32, most: u32| match value {
            Some(n) if !(least..=most).contains(&n) => Err(LoadError::Bounds(key, format!("{least} to {most}"))),
            _ => Ok(()),
        };
        most("power-w", self.power_w, 1, PLAN_WATTS_MAX)?;
        most("rest-w", Some(self.rest_w), 0, self.power_w.unwrap_or(PLAN_WATTS_MAX))?;
        most("energy-wh", self.energy_wh, 1, PLAN_ENERGY_WH_MAX)?;
        most("minimum-on-s", self.minimum_on_s, 0, PLAN_DURATION_S_MAX)?;
        most("minimum-off-s", self.minimum_off_s, 0, PLAN_DURATION_S_MAX)?;
        for (key, count, bound) in
            [("only", self.only.len(), LOAD_WINDOWS_MAX), ("keep-on", self.keep_on.len(), LOAD_WINDOWS_MAX)]
        {
            if count > bound {
                return Err(LoadError::Bounds(key, format!("at most {bound}")));
            }
        }
        check_phases(&self.phases).map_err(|(key, want)| LoadError::Bounds(key, want))?;
        let money = |key, value: f64, least: i64, most| match micros(value, most) {
            Some(micros) if micros >= least => Ok(micros),
            _ => Err(LoadError::Bounds(key, format!("{} to {}", least / 1_000_000, most / 1_000_000))),
        };
        let price_max = self.price_max.map(|p| money("price-max", p, -PLAN_PRICE_MAX, PLAN_PRICE_MAX)).transpose()?;
        let start_cost = money("start-cost", self.start_cost, 0, PLAN_START_COST_MAX)?;
        self.check_kind()?;
        let phases = steps(&self.phases);
        Ok(Settings { form: self.clone(), udn, phases, price_max, start_cost })
    }

    fn check_kind(&self) -> Result<(), LoadError> {
        use Flexibility::{Curtailable, Deferrable, Interruptible, StandbyAble};
        let keys: [(&'static str, bool, &[Flexibility]); 6] = [
            ("phases", !self.phases.is_empty(), &[Deferrable]),
            ("energy-wh", self.energy_wh.is_some(), &[Interruptible]),
            ("every-day", self.every_day.is_some(), &[Deferrable, Interruptible]),
            ("only", !self.only.is_empty(), &[Curtailable, StandbyAble]),
            ("keep-on", !self.keep_on.is_empty(), &[Curtailable, StandbyAble]),
            ("price-max", self.price_max.is_some(), &[Curtailable, StandbyAble]),
        ];
        for (key, said, kinds) in keys {
            match self.kind {
                Some(kind) if said && !kinds.contains(&kind) => return Err(LoadError::Foreign(key, kind)),
                // Windows and prices fit two kinds, which the appliance may tell itself.
                None if said && kinds.len() == 1 => return Err(LoadError::Kind(key, kinds[0].as_str())),
                _ => {}
            }
        }
        match self.kind {
            Some(kind @ Deferrable) if self.phases.is_empty() => Err(LoadError::Missing("phases", kind)),
            Some(kind @ Interruptible) if self.every_day.is_some() && self.energy_wh.is_none() => {
                Err(LoadError::Missing("energy-wh", kind))
            }
            _ => Ok(()),
        }
    }
}

/// What a load's work is.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// On or off: curtailable, or able to sleep.
    Presence {
        /// Off is Standby, not OFF.
        standby: bool,
        /// It runs in these windows and not outside; none: nobody says when it is to run, it is only paused and let go on.
        only: Vec<Window>,
        /// It doesn't run above this price, millionths of the currency per kWh.
        price_max: Option<(i64, Source)>,
    },
    /// A cycle that is not interrupted.
    Cycle {
        /// Its steps.
        phases: Vec<Phase>,
        /// It runs once in each such window.
        every_day: Option<Window>,
    },
    /// Energy, with pauses.
    Energy {
        /// What it takes in each such window, Wh.
        every_day: Option<(Window, u32)>,
    },
}

/// Why an appliance can't be planned, whatever the rules allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Neither it nor the configuration says what may be done with its work.
    KindUnknown,
    /// Its work can't be moved.
    Fixed,
    /// Nobody says what it draws.
    PowerUnknown,
    /// Nobody says what its cycle looks like.
    CycleUnknown,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KindUnknown => "nothing says how its use can be moved; name its kind: hegctl rule add ID kind",
            Self::Fixed => "its use cannot be moved: it is of kind Fixed",
            Self::PowerUnknown => "nothing says what it draws; name its power: hegctl rule add ID power",
            Self::CycleUnknown => "nothing says what its cycle looks like; name its steps: hegctl rule add ID kind Deferrable 15m:2000 ...",
        })
    }
}

/// An appliance as a load, as things stand now.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// What the gateway may do on its own account, and who says so.
    pub consent: (Consent, Source),
    /// What may be done with its work, and who says so; `None`: nobody.
    pub kind: Option<(Flexibility, Source)>,
    /// Its work, or why it can't be planned.
    pub task: Result<Task, Obstacle>,
    /// Its importance, and who says so.
    pub importance: (Importance, Source),
    /// It is not switched off in these windows.
    pub keep_on: Vec<(Window, Source)>,
    /// Power while on, W.
    pub power_w: u32,
    /// Power while off, W.
    pub rest_w: u32,
    /// Once on it stays on for so long, s.
    pub minimum_on_s: u32,
    /// Once off it stays off for so long, s.
    pub minimum_off_s: u32,
    /// Whether a person has said the minimum time on, by rule or configuration.
    pub minimum_on_named: bool,
    /// Whether a person has said the minimum time off.
    pub minimum_off_named: bool,
    /// What a start costs, millionths of the currency.
    pub start_cost: i64,
}

impl Load {
    /// The appliance `udn`, of which ApplianceInfo:1 says `facts` and the configuration `said`, under the rules of `book` at `now`.
    pub fn new(udn: &Udn, facts: Option<&Facts>, said: Option<&Settings>, book: &Book, now: jiff::Timestamp) -> Self {
        let form = said.map(|s| &s.form);
        let in_config = |consent: Consent| (consent, Source::Config);
        let rule = |pick: fn(&What) -> bool| book.weightiest(udn, now, pick).map(|r| (&r.what, Source::Rule(r.id)));
        let consent = match rule(|what| matches!(what, What::Plan(_))) {
            Some((What::Plan(consent), source)) => (*consent, source),
            _ => form.and_then(|f| f.plan).map_or((Consent::No, Source::Default), in_config),
        };
        let importance = match rule(|what| matches!(what, What::Importance(_))) {
            Some((What::Importance(class), source)) => (*class, source),
            _ => match (form.and_then(|f| f.importance), facts) {
                (Some(class), _) => (class, Source::Config),
                (None, Some(facts)) => (facts.importance, Source::Appliance),
                (None, None) => (Importance::Normal, Source::Default),
            },
        };
        let kept = form.into_iter().flat_map(|f| &f.keep_on).map(|w| (*w, Source::Config));
        let by_rule = book.of(udn, now).filter_map(|r| match r.what {
            What::KeepOn(window) => Some((window, Source::Rule(r.id))),
            _ => None,
        });
        let rated = facts.map(|f| f.rated_power.count()).filter(|w| *w > 0);
        let number = |pick: fn(&What) -> Option<u32>| book.of(udn, now).find_map(|rule| pick(&rule.what));
        let of_rule = number(|what| if let What::Power(watts) = what { Some(*watts) } else { None });
        let power_w = of_rule.or(form.and_then(|f| f.power_w)).or(rated).unwrap_or(0).min(PLAN_WATTS_MAX);
        let rest_w = number(|what| if let What::RestPower(watts) = what { Some(*watts) } else { None });
        let seconds = |rule: Option<u32>, said: Option<u32>, told: Option<u32>| {
            rule.or(said).or(told).unwrap_or(0).min(PLAN_DURATION_S_MAX)
        };
        let on_s = number(|what| if let What::MinimumOn(seconds) = what { Some(*seconds) } else { None });
        let off_s = number(|what| if let What::MinimumOff(seconds) = what { Some(*seconds) } else { None });
        let cost =
            book.of(udn, now).find_map(|rule| if let What::StartCost(cost) = rule.what { Some(cost) } else { None });
        let kind = kind(udn, facts.map(|f| f.flexibility), said, book, now);
        Self {
            consent,
            kind,
            task: task(udn, kind.map(|(kind, _)| kind), said, book, now, power_w),
            importance,
            keep_on: kept.chain(by_rule).take(LOAD_WINDOWS_MAX).collect(),
            power_w,
            rest_w: rest_w.unwrap_or(form.map_or(0, |f| f.rest_w)).min(power_w),
            minimum_on_s: seconds(on_s, form.and_then(|f| f.minimum_on_s), facts.map(|f| f.minimum_on_s)),
            minimum_off_s: seconds(off_s, form.and_then(|f| f.minimum_off_s), facts.map(|f| f.minimum_off_s)),
            minimum_on_named: on_s.or(form.and_then(|f| f.minimum_on_s)).is_some(),
            minimum_off_named: off_s.or(form.and_then(|f| f.minimum_off_s)).is_some(),
            start_cost: cost.unwrap_or(said.map_or(0, |s| s.start_cost)),
        }
    }
}

/// What may be done with an appliance's work, and who says so: a rule, else the configuration, else itself (`told`).
pub fn kind(
    udn: &Udn,
    told: Option<Flexibility>,
    said: Option<&Settings>,
    book: &Book,
    now: jiff::Timestamp,
) -> Option<(Flexibility, Source)> {
    let by_rule = book.of(udn, now).find_map(|rule| match rule.what {
        What::Kind(kind, _) => Some((kind, Source::Rule(rule.id))),
        _ => None,
    });
    let in_config = || Some((said?.form.kind?, Source::Config));
    by_rule.or_else(in_config).or(told.map(|kind| (kind, Source::Appliance)))
}

/// Why a rule that says `what` says nothing about a load of a kind, for people; `None`: it fits.
pub fn misfit(what: &What, kind: Flexibility, said: Option<&Settings>) -> Option<String> {
    use Flexibility::{Curtailable, Deferrable, Interruptible, StandbyAble};
    let energy_said = said.is_some_and(|s| s.form.energy_wh.is_some());
    let (word, kinds): (_, &[Flexibility]) = match what {
        What::Run => ("run", &[Deferrable]),
        What::Charge(_) => ("charge", &[Interruptible]),
        What::EveryDay(..) => ("every-day", &[Deferrable, Interruptible]),
        What::Only(_) => ("only", &[Curtailable, StandbyAble]),
        What::PriceMax(_) => ("price-max", &[Curtailable, StandbyAble]),
        _ => return None,
    };
    match (what, kind) {
        (What::EveryDay(_, Some(_)), Deferrable) => {
            Some("a cycle takes what its steps take: no `energy-wh`".to_owned())
        }
        (What::EveryDay(_, None), Interruptible) if !energy_said => {
            Some("how much energy it takes each day is not said: `energy-wh`".to_owned())
        }
        _ if kinds.contains(&kind) => None,
        _ => {
            let fits: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
            Some(format!(
                "a rule of kind {word} is for a load of kind {}; this one is {kind}, unless another `hegctl rule add ID kind` says otherwise",
                fits.join(" or ")
            ))
        }
    }
}

fn task(
    udn: &Udn,
    kind: Option<Flexibility>,
    said: Option<&Settings>,
    book: &Book,
    now: jiff::Timestamp,
    power_w: u32,
) -> Result<Task, Obstacle> {
    let form = said.map(|s| &s.form);
    let by_rule = book.of(udn, now).find_map(|rule| match rule.what {
        What::EveryDay(window, energy_wh) => Some((window, energy_wh)),
        _ => None,
    });
    let every_day = by_rule.map(|(window, _)| window).or(form.and_then(|f| f.every_day));
    let energy_wh = by_rule.and_then(|(_, energy_wh)| energy_wh).or(form.and_then(|f| f.energy_wh));
    match kind.ok_or(Obstacle::KindUnknown)? {
        Flexibility::Fixed => Err(Obstacle::Fixed),
        Flexibility::Deferrable => {
            let by_rule = book.of(udn, now).find_map(|rule| match &rule.what {
                What::Kind(_, phases) if !phases.is_empty() => Some(steps(phases)),
                _ => None,
            });
            match by_rule.or_else(|| Some(said?.phases.clone()).filter(|p| !p.is_empty())) {
                Some(phases) => Ok(Task::Cycle { phases, every_day }),
                None => Err(Obstacle::CycleUnknown),
            }
        }
        _ if power_w == 0 => Err(Obstacle::PowerUnknown),
        Flexibility::Interruptible => Ok(Task::Energy { every_day: every_day.zip(energy_wh) }),
        kind @ (Flexibility::Curtailable | Flexibility::StandbyAble) => {
            let only = book.windows(udn, now);
            let only = if only.is_empty() { form.map(|f| f.only.clone()).unwrap_or_default() } else { only };
            let dearest = book.weightiest(udn, now, |what| matches!(what, What::PriceMax(_)));
            let price_max = match dearest.map(|r| (&r.what, r.id)) {
                Some((What::PriceMax(price), id)) => Some((*price, Source::Rule(id))),
                _ => said.and_then(|s| s.price_max).map(|price| (price, Source::Config)),
            };
            Ok(Task::Presence { standby: kind == Flexibility::StandbyAble, only, price_max })
        }
    }
}
