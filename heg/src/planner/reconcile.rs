//! What each appliance is to be now, and the orders that make it so: precedence, less what is observed.
#![forbid(unsafe_code)]

use energy_model::Importance;
use upnp::ids::Udn;

use super::build::timestamp;
use super::decisions::{self, Act, Decision};
use super::sight::{money, price_words};
use super::standing::{Standing, switches};
use super::work::cycle_cost;
use super::{Effect, Planner};
use crate::gateway::Gateway;
use crate::journal::{Cause, Ending};
use crate::now::Now;
use crate::plan::{DropReason, Dropped, Span, Why};
use crate::rules::load::Task;
use crate::rules::precedence::{Claims, Limited, Ruler, Ruling, decide};
use crate::rules::{Consent, Source, What};

impl Planner {
    /// Orders what differs.
    pub(super) fn reconcile(&mut self, gateway: &Gateway, now: Now) {
        let at = now.wall.as_second();
        let (mut orders, mut limited) = (Vec::new(), Vec::new());
        for (udn, standing) in &self.standings {
            let ruling = self.ruling(gateway, udn, at);
            if matches!(ruling.by, Ruler::Limit(Limited::By(_))) && !standing.limited {
                limited.push(udn.clone());
            }
            let (Some(wanted), Some(on)) = (ruling.on, standing.on) else { continue };
            let busy = || gateway.commands().iter().any(|c| c.udn == *udn && switches(c.verb).is_some());
            let awaited = !standing.heard && self.finds_until(at).is_some();
            if wanted == on || awaited || standing.ordered.is_some() || matches!(ruling.by, Ruler::Control(_)) || busy()
            {
                continue;
            }
            orders.push((udn.clone(), wanted, ruling.by));
        }
        for udn in &limited {
            if let Some(standing) = self.standings.get_mut(udn) {
                standing.limited = true;
            }
        }
        for (udn, wanted, by) in orders {
            self.order_now(gateway, &udn, wanted, by, now);
        }
    }

    fn order_now(&mut self, gateway: &Gateway, udn: &Udn, on: bool, by: Ruler, now: Now) {
        let at = now.wall.as_second();
        let again = on && by == Ruler::Plan(Why::Cap) && self.cap(at).is_none();
        let tight = match again {
            // It goes on because of the room there is where there was none.
            true => Some(Limited::Fuse).filter(|_| self.decisions.last_off(udn) == Some(Cause::Fuse)),
            false => self.tight(at),
        };
        let cause = decisions::cause(by, tight);
        let Some(standing) = self.standings.get_mut(udn) else { return };
        let verb = standing.verb(on);
        standing.ordered = Some((on, cause));
        let ruling = Ruling { on: Some(on), by };
        // What goes to the utility as its own doing says nothing of what people have said before.
        let because = match cause {
            Cause::Utility(_) => self.reason(gateway, udn, ruling, at),
            _ => self.because(gateway, udn, ruling, at),
        };
        let decision = Decision {
            id: 0,
            at: now.wall,
            udn: udn.clone(),
            act: if on { Act::On } else { Act::Off },
            kind: decisions::kind(cause),
            cause,
            because: because.into(),
            saves: self.saves(udn, by, on, at),
            outcome: None,
        };
        self.decided(decision, now);
        // Before the order, which goes out when that is written: what is off after a power cut would stay off.
        self.keep_paused(udn);
        // How far its charge is goes into the same write: after a power cut it is reckoned on from there.
        let charges = |standing: &Standing| matches!(standing.load.task, Ok(Task::Energy { .. }));
        if self.standings.get(udn).is_some_and(|s| charges(s) && s.work.as_ref().is_some_and(|work| !work.done)) {
            self.save_work(udn);
        }
        self.effects.push_back(Effect::Order { udn: udn.clone(), verb, cause });
    }

    /// Enters a decision, in the journal too.
    fn decided(&mut self, decision: Decision, now: Now) {
        let saves = decision.saves.filter(|micros| *micros != 0);
        let saves =
            saves.map(|micros| format!("; saves {}", money(micros, self.tariff.currency()))).unwrap_or_default();
        let reason = format!("{}{saves}", decision.because);
        let Decision { udn, act, cause, .. } = &decision;
        let ending = if matches!(act, Act::Drop(_)) { Ending::Dropped } else { Ending::Decided };
        self.journal(Some(udn), &act.to_string(), *cause, ending, &reason, now);
        let decision = self.decisions.enter(decision);
        self.effects.push_back(Effect::Decided(decision));
    }

    /// Who decides over an appliance now, and what.
    pub fn ruling(&self, gateway: &Gateway, udn: &Udn, at: i64) -> Ruling {
        self.standings
            .get(udn)
            .map_or(Ruling { on: None, by: Ruler::Nobody }, |standing| decide(&self.claims(gateway, udn, standing, at)))
    }

    /// Why an order of the utility must not be carried out now, whatever the home's consent; `None`: it may.
    pub fn forbids(&self, gateway: &Gateway, udn: &Udn, on: bool, at: i64) -> Option<String> {
        let standing = self.standings.get(udn)?;
        let of_utility = |what: &What| matches!(what, What::OptOut(of) if of.of_utility());
        if let Some(rule) = self.book.weightiest(udn, timestamp(at), of_utility) {
            return Some(format!("a person has opted out (rule {})", rule.id));
        }
        if !on && standing.runs_cycle(at) {
            return Some("a cycle is running, and is not interrupted".to_owned());
        }
        let unasked = Claims { unwilling: false, control: None, ..self.claims(gateway, udn, standing, at) };
        let ruling = decide(&unasked);
        let outranks = ruling.by.rank() < Ruler::CONTROL_RANK && ruling.on.is_some_and(|wanted| wanted != on);
        outranks.then(|| format!("here goes before it: {}", ruling.by))
    }

    fn claims(&self, gateway: &Gateway, udn: &Udn, standing: &Standing, at: i64) -> Claims {
        let on = standing.on == Some(true);
        let planned = self.is_planned(udn, standing, at);
        let load = self.current.as_ref().filter(|c| c.covers(at)).and_then(|c| Some((c, c.of(udn)?)));
        let holds = |span: Span| (span.start..span.end).contains(&at);
        let run = load.and_then(|(_, load)| load.runs.iter().find(|r| holds(r.span)));
        let pause = load.and_then(|(_, load)| load.pauses.iter().find(|r| holds(r.span)));
        let dropped = load.and_then(|(c, load)| c.plan.dropped.iter().find(|d| d.id == load.id));
        // Each moment in which energy is not taken has its own reason.
        let energy = matches!(standing.load.task, Ok(Task::Energy { .. }));
        let capped = pause.is_some_and(|p| p.why == Why::Cap)
            || dropped.is_some_and(|d| !energy && matches!(d.reason, DropReason::CapTaken | DropReason::CapBelowPower));
        // A cycle goes to its end.
        let cycle = matches!(standing.load.task, Ok(Task::Cycle { .. }));
        let limited = load.is_some() && run.is_none() && capped && !cycle && standing.load.consent.0 >= Consent::Limits;
        let plan = match (load, run) {
            (Some(_), Some(run)) => Some((true, self.why_on(standing, planned, run.why))),
            // One that waits: whoever starts it by hand has started it.
            (Some((_, load)), None) if cycle && planned && standing.on == Some(false) => {
                let ahead = load.runs.iter().any(|run| run.span.start > at);
                pause.map(|p| p.why).or(ahead.then_some(Why::Window)).map(|why| (false, why))
            }
            _ if cycle => None,
            // Beyond limits an appliance that isn't planned is only let go on.
            (Some(_), None) if planned => Some((false, pause.map_or(Why::Window, |p| p.why))),
            // A charge ends when there is no more to do.
            (None, _) if planned && on && standing.is_idle(at) && (standing.for_work || standing.awaits_work(at)) => {
                Some((false, Why::Window))
            }
            // The utility's own say over it ends, also where nothing else is planned: what it switched off goes on.
            (None, _) if standing.is_paused() && standing.load.consent.0 == Consent::No => Some((true, Why::Cap)),
            _ => None,
        };
        Claims {
            unwilling: standing.is_unwilling(at),
            request: if on && standing.sleeps() { self.requested(gateway, udn, at) } else { None },
            order: self.order(udn, at).map(|(on, id, _)| (on, id)),
            comfort: if on { self.comfort(standing, at) } else { None },
            limit: limited.then(|| self.limited(at)),
            control: standing.control.filter(|c| c.until > at).map(|c| (c.on, c.id)),
            // What was switched off before goes on first.
            opt_out: self.opted_out(udn, at).filter(|_| !standing.is_paused()),
            plan,
        }
    }

    /// Why it is on: where nobody says when it is to run it is only let go on, after a price or a limit, or was never off.
    fn why_on(&self, standing: &Standing, planned: bool, why: Why) -> Why {
        match &standing.load.task {
            Ok(Task::Presence { only, price_max, .. }) if why == Why::Window && (only.is_empty() || !planned) => {
                if planned && price_max.is_some() {
                    Why::Price
                } else if standing.on == Some(true) {
                    Why::LeftOn
                } else {
                    Why::Cap
                }
            }
            _ => why,
        }
    }

    /// What leaves no room, where the plan says that nothing is left.
    pub(super) fn limited(&self, at: i64) -> Limited {
        match self.cap(at) {
            Some(cap) => Limited::By(cap.cause),
            None if self.is_rising(at) => Limited::Comeback,
            None => Limited::Fuse,
        }
    }

    /// What leaves no room now, if anything may.
    fn tight(&self, at: i64) -> Option<Limited> {
        let limited = self.limited(at);
        Some(limited).filter(|by| *by != Limited::Fuse || self.settings.fuse_w.is_some())
    }

    /// Whether load comes back after a limit.
    pub(super) fn is_rising(&self, at: i64) -> bool {
        let for_s = i64::from(self.settings.comeback.for_s);
        self.ended.iter().any(|limit| limit.span.end + for_s > at)
    }

    pub(super) fn comfort(&self, standing: &Standing, at: i64) -> Option<Source> {
        if standing.load.importance.0 == Importance::Critical {
            return Some(Source::Default);
        }
        self.keeping(standing, at).map(|(_, source)| source)
    }

    /// Against running at once, as far as can be reckoned now; of a pause for its price, until it goes on or the price changes.
    fn saves(&self, udn: &Udn, by: Ruler, on: bool, at: i64) -> Option<i64> {
        let standing = self.standings.get(udn)?;
        let load = self.current.as_ref()?.of(udn)?;
        match (&standing.load.task, &standing.work) {
            (Ok(Task::Cycle { phases, .. }), Some(work)) if on => {
                Some(cycle_cost(phases, work.start, &self.tariff)? - cycle_cost(phases, at, &self.tariff)?)
            }
            (Ok(Task::Presence { .. }), _) if !on && by == Ruler::Plan(Why::Price) => {
                let next = load.runs.iter().map(|r| r.span.start).find(|start| *start > at);
                let until = next.or_else(|| self.tariff.holds_until(at))?;
                let spared = standing.power_w.saturating_sub(standing.load.rest_w);
                self.tariff.cost(Span { start: at, end: until }, spared)
            }
            _ => None,
        }
    }

    /// What a new plan puts otherwise than the one before, as far as people want to know it: starts, and work left undone.
    pub(super) fn tell_plan(&mut self, now: Now) {
        let at = now.wall.as_second();
        let Some(current) = &self.current else { return };
        let tight = self.tight(at);
        let mut news = Vec::new();
        for (load, udn) in current.plan.loads.iter().zip(&current.whose) {
            let Some(standing) = self.standings.get(udn) else { continue };
            let begun = standing.work.as_ref().is_none_or(|w| w.began.is_some());
            let next = load.runs.iter().find(|r| r.span.start > at).filter(|_| !begun);
            if let Some(run) = next
                && standing.told_start != Some(run.span.start)
            {
                let saves = standing.work.as_ref().and_then(|work| match &standing.load.task {
                    Ok(Task::Cycle { phases, .. }) => {
                        Some(cycle_cost(phases, work.start.max(at), &self.tariff)? - load.cost)
                    }
                    _ => {
                        let seconds = i64::try_from(load.energy_ws / u64::from(standing.load.power_w.max(1))).ok()?;
                        let start = work.start.max(at);
                        let span = Span { start, end: start + seconds };
                        Some(self.tariff.cost(span, standing.load.power_w)? - load.cost)
                    }
                });
                let price = self.tariff.at(run.span.start).map(|p| price_words(p, self.tariff.currency()));
                let because = price.map_or(run.why.to_string(), |price| format!("{}; {price} then", run.why));
                let act = Act::Start(timestamp(run.span.start));
                news.push((udn.clone(), act, decisions::planned(run.why, tight), because, saves));
            }
            let dropped = current.plan.dropped.iter().find(|d| d.id == load.id);
            if let Some(Dropped { missing_ppm, reason, .. }) = dropped
                && standing.told_dropped != Some(percent(*missing_ppm))
            {
                let cause = match reason {
                    DropReason::CapTaken | DropReason::CapBelowPower => decisions::planned(Why::Cap, tight),
                    DropReason::WindowTooShort => Cause::Window,
                    DropReason::MinimumTime | DropReason::NotAsked => Cause::Plan,
                    DropReason::Override => self.order(udn, at).map_or(Cause::Plan, |(_, id, _)| Cause::Rule(id)),
                };
                news.push((udn.clone(), Act::Drop(*missing_ppm), cause, reason.to_string(), None));
            }
            let told_dropped = dropped.map(|d| percent(d.missing_ppm));
            let told_start = next.map(|run| run.span.start);
            if let Some(standing) = self.standings.get_mut(udn) {
                (standing.told_dropped, standing.told_start) = (told_dropped, told_start.or(standing.told_start));
            }
        }
        for (udn, act, cause, because, saves) in news {
            let (at, because) = (now.wall, because.into());
            let kind = decisions::kind(cause);
            self.decided(Decision { id: 0, at, udn, act, kind, cause, because, saves, outcome: None }, now);
        }
    }
}

fn percent(ppm: u32) -> u32 {
    ppm.div_ceil(10_000)
}
