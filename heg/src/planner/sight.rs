//! What can be seen of the planner: for the control socket, the page and the status.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use energy_model::Flexibility;
use upnp::ids::Udn;

use super::decisions::Decision;
use super::savings::Sums;
use super::{Current, Planner, standing::Standing};
use crate::gateway::Gateway;
use crate::journal::Entry;
use crate::plan::{DropReason, Dropped, LoadId, LoadPlan, Plan, Run, Why};
use crate::rules::book::Book;
use crate::rules::load::{Load, Task, misfit};
use crate::rules::precedence::{Limited, Ruling};
use crate::rules::{Consent, Rule};

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
    /// Until when it is not asked again, seconds since 1970, and why: the plan has no place for it meanwhile.
    pub unwilling: Option<(i64, &'a str)>,
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

    /// Its loads, and those that have none in it because they are not asked again yet.
    pub fn planned(&self) -> impl Iterator<Item = PlannedLoad<'_>> {
        let at = self.last.wall.as_second();
        let whose = move |udn: &Udn| self.current.as_ref().is_some_and(|current| current.of(udn).is_some());
        let unwilling = self.standings.iter().filter_map(move |(udn, standing)| {
            let refused = standing.unwilling.as_ref().filter(|u| u.until > at && !whose(udn))?;
            let may = standing.load.consent.0 != Consent::No && standing.load.task.is_ok();
            // Who has only to be switched off leaves nothing undone.
            let open = standing.work.as_ref().is_some_and(|work| !work.done && work.start <= at && at < work.end);
            let undone = may && standing.on == Some(false) && (open || standing.is_paused());
            let whole = Dropped { id: LoadId(u32::MAX), missing_ppm: 1_000_000, reason: DropReason::NotAsked };
            let (dropped, unwilling) = (undone.then_some(whole), Some((refused.until, &*refused.why)));
            may.then_some(PlannedLoad { udn, runs: &[], pauses: &[], cost: 0, dropped, unwilling })
        });
        let current = self.current.iter();
        let planned = current.flat_map(|c| {
            c.whose.iter().zip(&c.plan.loads).map(|(udn, load)| PlannedLoad {
                udn,
                runs: &load.runs,
                pauses: &load.pauses,
                cost: load.cost,
                dropped: c.plan.dropped.iter().find(|d| d.id == load.id).copied(),
                unwilling: None,
            })
        });
        planned.chain(unwilling)
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
        troubles.extend(self.current.as_ref().and_then(|current| self.excess(current)));
        troubles
    }

    /// By how much the plan exceeds what the home may draw, which limit that is, and what stays on all the same.
    fn excess(&self, current: &Current) -> Option<String> {
        let over = current.plan.over_cap.first()?;
        let at = over.span.start;
        let what = match self.limited(at) {
            Limited::By(cause) => cause.to_string(),
            Limited::Comeback => "what may come back after a limit".to_owned(),
            Limited::Fuse => "the home's fuse".to_owned(),
        };
        let holds = |run: &&Run| (run.span.start..run.span.end).contains(&at);
        let stays = [
            (Why::Kept, "what is not to be switched off"),
            (Why::Frozen, "a cycle that is running"),
            (Why::MinimumTime, "a minimum time"),
            (Why::Override, "what a person has ordered on"),
        ];
        let runs: Vec<Why> =
            current.plan.loads.iter().filter_map(|l| l.runs.iter().find(holds)).map(|r| r.why).collect();
        let mut by: Vec<_> = stays.into_iter().filter(|(why, _)| runs.contains(why)).map(|(_, words)| words).collect();
        if by.is_empty() {
            by.push("what is not planned");
        }
        Some(format!("{what} is exceeded by {} W from {} on, by {}", over.watts, self.local(at), by.join(" and ")))
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
