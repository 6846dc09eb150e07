//! What can be seen of the planner: for the control socket, the page and the status.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use energy_model::Flexibility;
use upnp::ids::Udn;

use super::decisions::Decision;
use super::savings::Sums;
use super::{Planner, standing::Standing};
use crate::gateway::Gateway;
use crate::journal::Entry;
use crate::plan::{Dropped, LoadPlan, Plan, Run};
use crate::rules::Rule;
use crate::rules::book::Book;
use crate::rules::load::{Load, Task, misfit};
use crate::rules::precedence::Ruling;

/// One load of the plan.
#[derive(Clone, Copy, Debug)]
pub struct PlannedLoad<'a> {
    /// Whose.
    pub udn: &'a Udn,
    /// When it is on.
    pub runs: &'a [Run],
    /// When it is off although wanted.
    pub pauses: &'a [Run],
    /// What it is to cost, millionths of the currency.
    pub cost: i64,
    /// What of it is left undone.
    pub dropped: Option<Dropped>,
}

/// One appliance as the planner sees it.
#[derive(Clone, Debug)]
pub struct Sight<'a> {
    /// As a load.
    pub load: &'a Load,
    /// Whether it is on; `None`: unknown.
    pub on: Option<bool>,
    /// Who decides now, and what.
    pub ruling: Ruling,
    /// In a sentence; also whose say ended before.
    pub because: String,
    /// Until when that holds, seconds since 1970; `None`: not known, or without an end.
    pub until: Option<i64>,
    /// Until when it is left alone, seconds since 1970, and why.
    pub unwilling: Option<(i64, &'a str)>,
    /// Its place in the plan.
    pub plan: Option<PlannedLoad<'a>>,
}

impl Planner {
    /// All rules.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Sums of the home by local day, the oldest first.
    pub fn days(&self) -> impl Iterator<Item = (&str, &Sums)> {
        self.ledger.days()
    }

    /// Sums by month and appliance, the oldest month first.
    pub fn months(&self) -> impl Iterator<Item = (&str, &Udn, &Sums)> {
        self.ledger.months()
    }

    /// The tariff's currency, ISO 4217; empty while it is not known.
    pub fn currency(&self) -> &str {
        self.tariff.currency()
    }

    /// The price at an instant, millionths of the currency per kWh.
    pub fn price(&self, at: i64) -> Option<i64> {
        self.tariff.at(at)
    }

    /// The plan that is followed, and when it was made, seconds since 1970.
    pub fn plan(&self) -> Option<(&Plan, i64)> {
        self.current.as_ref().map(|current| (&current.plan, current.made))
    }

    /// Plans made since the start, and how long the last one took, other work of the loop included.
    pub fn made(&self) -> (u64, Option<Duration>) {
        self.made
    }

    /// Decisions since the start, by the word for what decided.
    pub fn decisions_by_kind(&self) -> &BTreeMap<&'static str, u64> {
        self.decisions.counts()
    }

    /// What the loads of the plan are to draw at an instant, W.
    pub fn planned_w(&self, at: i64) -> u64 {
        let watts = |(udn, load): (&Udn, &LoadPlan)| {
            let run = load.runs.iter().find(|run| (run.span.start..run.span.end).contains(&at))?;
            let standing = self.standings.get(udn)?;
            let Ok(Task::Cycle { phases, .. }) = &standing.load.task else { return Some(standing.load.power_w) };
            let mut end = run.span.start;
            let phase = phases.iter().find(|phase| {
                end += i64::from(phase.seconds);
                at < end
            });
            phase.map(|phase| phase.watts)
        };
        let current = self.current.iter().flat_map(|c| c.whose.iter().zip(&c.plan.loads));
        current.filter_map(watts).map(u64::from).sum()
    }

    /// By how much the plan exceeds the limit at an instant, W, by what is not to be switched off.
    pub fn over_w(&self, at: i64) -> u32 {
        let over = self.current.iter().flat_map(|c| &c.plan.over_cap);
        let now = over.filter(|over| (over.span.start..over.span.end).contains(&at));
        now.map(|over| over.watts).max().unwrap_or(0)
    }

    /// Its loads.
    pub fn planned(&self) -> impl Iterator<Item = PlannedLoad<'_>> {
        let current = self.current.iter();
        current.flat_map(|c| {
            c.whose.iter().zip(&c.plan.loads).map(|(udn, load)| PlannedLoad {
                udn,
                runs: &load.runs,
                pauses: &load.pauses,
                cost: load.cost,
                dropped: c.plan.dropped.iter().find(|d| d.id == load.id).copied(),
            })
        })
    }

    /// What is known of an appliance at `at`; `None` while it was not seen.
    pub fn sight(&self, gateway: &Gateway, udn: &Udn, at: i64) -> Option<Sight<'_>> {
        let standing: &Standing = self.standings.get(udn)?;
        let ruling = self.ruling(gateway, udn, at);
        let because = self.because(gateway, udn, ruling, at);
        let until = self.until(gateway, udn, ruling.by, at);
        let unwilling = standing.unwilling.as_ref().filter(|u| u.until > at).map(|u| (u.until, &*u.why));
        let plan = self.planned().find(|p| p.udn == udn);
        Some(Sight { load: &standing.load, on: standing.on, ruling, because, until, unwilling, plan })
    }

    /// Takes an entry of the journal from before the start, for the last decisions.
    pub fn remember(&mut self, entry: &Entry) {
        self.decisions.remember(entry);
    }

    /// Why a rule has no effect on an appliance of that kind, for people; `None`: it has.
    pub fn misfit(&self, udn: &Udn, rule: &Rule, kind: Flexibility) -> Option<String> {
        misfit(&rule.what, kind, self.settings.loads.get(udn))
    }

    /// The last decisions about an appliance, the oldest first.
    pub fn decisions(&self, udn: &Udn) -> impl Iterator<Item = &Decision> {
        self.decisions.of(udn)
    }

    /// What is not well, each a sentence.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles: Vec<String> =
            self.trouble.iter().map(|why| format!("no plan could be made: {why}")).collect();
        if let Some(over) = self.current.as_ref().and_then(|c| c.plan.over_cap.first()) {
            troubles.push(format!(
                "the limit is exceeded by {} W from {:.0} on, by what is not to be switched off",
                over.watts,
                super::build::timestamp(over.span.start)
            ));
        }
        troubles
    }
}

/// An amount for people: `0.1234 EUR`.
pub(super) fn money(micros: i64, currency: &str) -> String {
    // To a hundredth of a cent.
    let rounded = (micros.unsigned_abs() + 50) / 100;
    let sign = if micros < 0 && rounded > 0 { "-" } else { "" };
    format!("{sign}{}.{:04} {currency}", rounded / 10_000, rounded % 10_000).trim_end().to_owned()
}

/// A price for people: `0.1234 EUR/kWh`.
pub(super) fn price_words(micros: i64, currency: &str) -> String {
    format!("{}/kWh", money(micros, currency))
}
