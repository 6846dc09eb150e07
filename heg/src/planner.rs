//! The planner: which appliance is to be on when, and the orders that make it so.
//!
//! PURE. [`Input`]s are facts (prices came, an appliance changed, a command ended, a person made a rule), [`Effect`]s are orders. A plan is
//! made from all that is known ([`crate::plan`]), improved in slices, and carried out by difference: what each appliance is to be by
//! [`precedence`](crate::rules::precedence), less what it is. Nothing is ordered twice: an appliance that refuses, is not reached or is
//! switched by hand is an input of the next plan.
//!
//! | file | what |
//! |---|---|
//! | `build` | the problem that is planned |
//! | `standing` | what is known of one appliance |
//! | `work` | cycles and charges that are to be done |
//! | `observe` | what changed, and whose doing it was |
//! | `control` | controls of the utility's, and whose say has ended |
//! | `reconcile` | what each is to be now, and the orders |
//! | `because` | why, for people |
//! | `changes` | of the rules |
//! | `decisions` | what was decided and why |
//! | `savings` | what it cost, and would have cost |
//! | `tariff`, `daily` | prices, daily windows |
//! | `exchange` | what goes in and out |
//! | `sight` | what can be seen from outside |
//! | `slot` | under which name a thing is kept |
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use energy_model::RegId;
use upnp::ids::Udn;
use upnp::time::{BootTime, earliest};
use utility_wire::{LimitSet, UnixTime};

use crate::envelope::{self, Cap, Envelope};
use crate::gateway::{AskError, Gateway, Reply};
use crate::journal::{Cause, Ending, Entry};
use crate::limits::{
    CLOCK_KNOWN_FROM, ENDED_LIMITS_MAX, LIMIT_REACTION_S, PLAN_AHEAD_MAX_S, PLAN_APART_S, PLAN_ROLL_S, PLAN_SLOT_S,
    PLAN_STEPS_PER_TURN, REASON_BYTES_MAX, SAVINGS_WRITE_EVERY_S, START_FINDS_WITHIN_S, bounded,
};
use crate::now::Now;
use crate::plan::slots::LimitSpan;
use crate::plan::{Improver, LoadPlan, Plan, Span};
use crate::rules::book::Book;
use crate::rules::load::Load;
use crate::rules::{Consent, Rule, RuleId};

mod because;
mod build;
mod changes;
mod control;
pub(crate) mod daily;
mod decisions;
mod exchange;
mod observe;
mod reconcile;
mod savings;
mod sight;
mod slot;
mod standing;
mod tariff;
mod work;

pub use decisions::{Act, Decision};
pub use exchange::{Change, Effect, Input, Limited, Settings, Soon};
pub use savings::Sums;
pub use sight::{PlannedLoad, Sight};
pub use slot::Slot;

use build::timestamp;
use changes::{KeptRule, kept_rule, rule_slot};
use control::{Control, Ended};
use decisions::Decisions;
use savings::Ledger;
use standing::{Left, Pause, Standing};
use tariff::Tariff;

/// Rows of the store.
pub type Rows = Vec<(Slot, String)>;

/// Whose, when it runs, and whether something of it is left undone.
type Seen<'a> = (&'a Udn, Vec<(i64, i64)>, bool);

/// The plan that is followed.
#[derive(Debug)]
struct Current {
    plan: Plan,
    /// Whose the plan's loads are, in its order.
    whose: Vec<Udn>,
    made: i64,
    /// First instant behind what is planned.
    until: i64,
}

impl Current {
    /// Whether that instant is one that it plans.
    fn covers(&self, at: i64) -> bool {
        (self.made..self.until).contains(&at)
    }

    /// What of it can be seen from `at` on: who runs when, and what is left undone. That time goes on, and the plan reaches further, is no news.
    fn seen_from(&self, at: i64) -> Vec<Seen<'_>> {
        let end = |end: i64| if end >= self.until { i64::MAX } else { end };
        let runs = |load: &LoadPlan| {
            let ahead = load.runs.iter().map(|run| (run.span.start.max(at), end(run.span.end)));
            ahead.filter(|(start, end)| start < end).collect()
        };
        let undone = |load: &LoadPlan| self.plan.dropped.iter().any(|d| d.id == load.id);
        self.whose.iter().zip(&self.plan.loads).map(|(udn, load)| (udn, runs(load), undone(load))).collect()
    }

    fn of(&self, udn: &Udn) -> Option<&LoadPlan> {
        self.plan.loads.get(self.whose.iter().position(|w| w == udn)?)
    }
}

/// A plan that is being improved.
struct Drawing {
    improver: Improver,
    whose: Vec<Udn>,
    at: i64,
    /// First instant behind what is planned.
    until: i64,
    begun: BootTime,
}

impl std::fmt::Debug for Drawing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drawing").field("at", &self.at).finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Planner {
    home: Box<str>,
    settings: Settings,
    book: Book,
    tariff: Tariff,
    envelope: Envelope,
    /// What the home may draw from each instant on, as far as is known.
    caps: Vec<(i64, Option<Cap>)>,
    /// The limit that held last.
    last_cap: Option<Cap>,
    /// Since when the utility's limits are exceeded, by what is not to be switched off.
    over_since: Option<i64>,
    /// The key management centre's time at a moment since boot.
    clock: Option<(BootTime, UnixTime)>,
    /// The machine's wall clock less that time, s.
    shift: i64,
    /// What the utility's side was told last of limits.
    limited: Limited,
    /// Limits that have ended, for as long as load comes back.
    ended: Vec<LimitSpan>,
    standings: BTreeMap<Udn, Standing>,
    /// What the store has of appliances not seen since the start.
    restored: BTreeMap<Udn, Left>,
    /// When each load runs by the last plan.
    runs: BTreeMap<Udn, Vec<Span>>,
    current: Option<Current>,
    drawing: Option<Drawing>,
    plan_number: u64,
    /// Plans made since the start, and how long the last one took.
    made: (u64, Option<Duration>),
    /// When a plan was last begun, of whatever there was to plan.
    begun: Option<i64>,
    /// A plan is to be made, not before then.
    plan_due: Option<i64>,
    changed: BTreeSet<Udn>,
    /// Rules, configuration or clock changed: everything is looked at anew.
    all_changed: bool,
    decisions: Decisions,
    ledger: Ledger,
    accounted: Option<i64>,
    write_savings_at: i64,
    trouble: Option<Box<str>>,
    /// When the process began.
    started: BootTime,
    /// The second of the last whole turn, and whether something has come in since.
    turned: Option<i64>,
    has_news: bool,
    due: Option<i64>,
    effects: VecDeque<Effect>,
    last: Now,
}

impl Planner {
    /// As it was left. `home` is the gateway's UUID, from which plans draw.
    pub fn new(home: &str, settings: Settings, rows: Rows, now: Now) -> Self {
        let engaged = rows.iter().any(|(slot, _)| *slot == Slot::Engaged);
        let mut planner = Self {
            home: home.into(),
            book: Book::default(),
            tariff: Tariff::default(),
            envelope: Envelope::new(home.into(), settings.terms, None, engaged, now.boot),
            caps: Vec::new(),
            last_cap: None,
            over_since: None,
            clock: None,
            shift: 0,
            limited: Limited::default(),
            ended: Vec::new(),
            standings: BTreeMap::new(),
            restored: BTreeMap::new(),
            runs: BTreeMap::new(),
            current: None,
            drawing: None,
            plan_number: u64::try_from(now.wall.as_second()).unwrap_or(0),
            made: (0, None),
            begun: None,
            plan_due: Some(now.wall.as_second()),
            changed: BTreeSet::new(),
            all_changed: true,
            decisions: Decisions::default(),
            ledger: Ledger::default(),
            accounted: None,
            write_savings_at: now.wall.as_second() + SAVINGS_WRITE_EVERY_S,
            trouble: None,
            started: now.boot,
            turned: None,
            has_news: true,
            due: Some(now.wall.as_second()),
            effects: VecDeque::new(),
            last: now,
            settings,
        };
        let last = rows.iter().find(|(slot, _)| *slot == Slot::LastRule).and_then(|(_, number)| number.parse().ok());
        planner.book = Book::new(last.unwrap_or(0));
        for (slot, value) in rows {
            if planner.restore(&slot, &value).is_none() {
                tracing::warn!(key = slot.key(), "a stored row is not understood and left out");
            }
        }
        planner.book.configure(planner.settings.rules.clone());
        planner.mend_times(now.wall.as_second());
        planner
    }

    fn restore(&mut self, slot: &Slot, value: &str) -> Option<()> {
        match slot {
            Slot::Rule(number) => {
                let kept: KeptRule = serde_json::from_str(value).ok()?;
                let rule = kept.form.rule(RuleId::Made(*number), kept.by.parse().ok()?, None).ok()?;
                self.book.restore(*number, Rule { made: Some(kept.made.parse().ok()?), ..rule });
            }
            Slot::LastRule => _ = value.parse::<u32>().ok()?,
            // Looked for before.
            Slot::Engaged => {}
            Slot::Comeback => {
                let rows: Vec<(i64, u32)> = serde_json::from_str(value).ok()?;
                self.ended = rows.into_iter().take(ENDED_LIMITS_MAX).map(|(at, watts)| ended(at, watts)).collect();
            }
            Slot::Work(udn) => self.left(udn).work = Some(serde_json::from_str(value).ok()?),
            Slot::Paused(udn) => self.left(udn).pause = Some(Pause::parse(value)?),
            Slot::Control(udn) => self.left(udn).control = Some(Control::parse(value)?),
            Slot::Ended(udn) => self.left(udn).ended = Some(Ended::parse(value)?),
            Slot::Plan => {
                let runs: Vec<(String, Vec<(i64, i64)>)> = serde_json::from_str(value).ok()?;
                for (udn, runs) in runs {
                    let runs = runs.into_iter().map(|(start, end)| Span { start, end }).collect();
                    self.runs.insert(Udn::parse(&udn).ok()?, runs);
                }
            }
            Slot::Day(_) | Slot::Month(..) => self.ledger.restore(slot, value)?,
        }
        Some(())
    }

    fn left(&mut self, udn: &Udn) -> &mut Left {
        self.restored.entry(udn.clone()).or_default()
    }

    /// Everything that has to be in the store, for one that was begun anew.
    pub fn rows(&self) -> Rows {
        let rules = self.book.iter().filter_map(|rule| Some((rule_slot(rule)?, kept_rule(rule)?)));
        let last = (Slot::LastRule, self.book.last().to_string());
        let seen = self.standings.iter().map(|(udn, standing)| (udn, standing.left()));
        let left = seen.chain(self.restored.iter().map(|(udn, left)| (udn, left.clone())));
        let left = left.flat_map(|(udn, left)| left.rows(udn));
        let plan = self.plan_row().map(|row| (Slot::Plan, row));
        let engaged = self.envelope.is_engaged().then(|| (Slot::Engaged, "yes".to_owned()));
        let comeback = self.comeback_row().map(|row| (Slot::Comeback, row));
        rules.chain([last]).chain(engaged).chain(comeback).chain(left).chain(plan).chain(self.ledger.rows()).collect()
    }

    /// Takes a fact.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.last = now;
        let at = now.wall.as_second();
        self.due = Some(at);
        self.has_news = true;
        match input {
            Input::Prices { spans, currency } => {
                self.tariff.set(spans, &currency, at);
                self.replan(at);
            }
            Input::Heard { next_within, limits } => {
                let engaged = self.envelope.is_engaged();
                self.envelope.heard(next_within, now.boot);
                self.envelope.stated(limits);
                if !engaged && self.envelope.is_engaged() {
                    self.save(Slot::Engaged, Some("yes".to_owned()), Soon::Soon);
                }
            }
            Input::Time(time) => self.clock = Some((now.boot, time)),
            Input::UtilityGone => {
                if self.envelope.is_engaged() {
                    self.save(Slot::Engaged, None, Soon::Soon);
                }
                self.envelope.forget();
                let controlled: Vec<Udn> = self.controlled().cloned().collect();
                controlled
                    .iter()
                    .for_each(|udn| self.control_ends(udn, at, ", as the home has left that utility", now));
            }
            Input::ConsentGone(udn) => self.control_ends(&udn, at, ", as the home no longer allows it", now),
            Input::Appliance(udn) => _ = self.changed.insert(udn),
            Input::Forgotten(udn) => self.forgotten(&udn, at),
            Input::Ended { udn, verb, cause, outcome } => self.command_ended(&udn, verb, cause, &outcome, now),
            Input::Asked { ask, uid, change } => {
                let reply = match self.change(uid, change, now) {
                    Ok(rule) => Reply::Rule(rule, self.note_on(rule, now)),
                    Err(error) => Reply::No(AskError::Rule(error)),
                };
                self.effects.push_back(Effect::Answer { ask, reply });
            }
            Input::ClockChanged => {
                self.accounted = None;
                self.mend_times(at);
                // A plan is by the clock: with another one nobody is switched by the old plan.
                (self.current, self.drawing, self.plan_due) = (None, None, None);
                self.everything_changed(at);
            }
            Input::Configured(settings) => {
                self.book.configure(settings.rules.clone());
                self.envelope.set_terms(settings.terms, now.boot);
                self.settings = settings;
                self.everything_changed(at);
            }
        }
    }

    /// Forgets what a clock that was ahead has put off: it would hold until that time comes.
    fn mend_times(&mut self, at: i64) {
        // Of a machine that does not know the year nothing can be said to be ahead.
        if at < CLOCK_KNOWN_FROM {
            return;
        }
        self.standings.values_mut().for_each(|standing| standing.mend_times(at));
        self.restored.values_mut().for_each(|left| left.mend_times(at));
        let past = |since: i64| (since <= at).then_some(since);
        (self.over_since, self.begun) = (self.over_since.and_then(past), self.begun.and_then(past));
        self.ended.retain(|limit| limit.span.end <= at);
        self.write_savings_at = self.write_savings_at.min(at + SAVINGS_WRITE_EVERY_S);
        for rule in self.book.expire_orders_of_later(timestamp(at)) {
            tracing::info!(rule = %rule.id, "an order that a wrong clock has dated is dropped");
            self.unsave(&rule);
        }
    }

    fn everything_changed(&mut self, at: i64) {
        self.all_changed = true;
        self.replan(at);
    }

    /// The limits that were in the store, at the start.
    pub fn stored_limits(&mut self, limits: LimitSet, now: Now) {
        let engaged = self.envelope.is_engaged();
        self.envelope = Envelope::new(self.home.to_string(), self.settings.terms, Some(limits), engaged, now.boot);
    }

    /// What the home may draw now and later.
    fn look_at_limits(&mut self, now: Now) {
        let at = now.wall.as_second();
        self.envelope.handle_timeout(now.boot);
        let unix = |at: i64| UnixTime::new(u64::try_from(at).unwrap_or(0));
        let second = |at: UnixTime| i64::try_from(at.seconds()).unwrap_or(i64::MAX);
        // The utility means its own time, however wrong this machine's clock is. Before that is known the machine's has to do: no more than the
        // failsafe limit is drawn then anyway.
        if let Some((since, time)) = self.clock {
            let shift = at - second(time.plus(now.boot.since(since).as_secs()));
            // The two do not turn at the same moment.
            if (shift - self.shift).abs() > 1 {
                self.shift = shift;
            }
        }
        let time = at - self.shift;
        let ahead = self.envelope.ahead(unix(time), unix(time + PLAN_AHEAD_MAX_S));
        let start = |at: UnixTime| second(at).saturating_add(self.shift);
        let caps: Vec<_> = ahead.into_iter().map(|(from, cap)| (start(from), cap)).collect();
        let cap = caps.first().and_then(|(_, cap)| *cap);
        // Homes under one limit are let go together: more comes back little by little, also where the limit only rises.
        if let Some(last) = self.last_cap
            && cap.is_none_or(|cap| cap.watts > last.watts)
        {
            self.limit_ended(last, at);
            self.replan(at);
        }
        if self.last_cap != cap {
            tracing::info!(watts = cap.map(|c| c.watts.count()), cause = ?cap.map(|c| c.cause), "limit");
        }
        self.last_cap = cap;
        // The first holds since some time already.
        let same = caps.len() == self.caps.len()
            && caps
                .iter()
                .zip(&self.caps)
                .enumerate()
                .all(|(i, (new, old))| new.1 == old.1 && (i == 0 || new.0 == old.0));
        if !same {
            self.caps = caps;
            self.replan(at);
        }
    }

    /// Tells the utility's side how limits are kept, where that is news.
    fn tell_limits(&mut self, gateway: &Gateway, at: i64) {
        let (holds, held_w) = match self.cap(at) {
            Some(Cap { cause: envelope::Cause::Limit(id), watts }) => (Some(id), watts.count()),
            _ => (None, 0),
        };
        // What is running may take a while to go off, and what is asked again soon is no excess that lasts.
        let over_w =
            if holds.is_some() { self.over_w(at).max(self.drawn_w(gateway).saturating_sub(held_w)) } else { 0 };
        self.over_since = if over_w > 0 { self.over_since.or(Some(at)) } else { None };
        let over_w = if self.over_since.is_some_and(|since| at >= since + LIMIT_REACTION_S) { over_w } else { 0 };
        let limited = Limited { accepted: self.settings.terms.accepted, holds, held_w, over_w };
        if limited != self.limited {
            self.limited = limited;
            self.effects.push_back(Effect::Limited(limited));
        }
    }

    fn limit_ended(&mut self, cap: Cap, at: i64) {
        let comeback = i64::from(self.settings.comeback.for_s);
        self.ended.retain(|limit| limit.span.end + comeback > at);
        self.limit_ended_for(cap.cause, at);
        // The latest counts for longest.
        self.ended.drain(..self.ended.len().saturating_sub(ENDED_LIMITS_MAX - 1));
        self.ended.push(ended(at, cap.watts.count()));
        self.save(Slot::Comeback, self.comeback_row(), Soon::Soon);
    }

    /// Limits from which load comes back: when each ended, and its watts.
    fn comeback_row(&self) -> Option<String> {
        let rows: Vec<(i64, u32)> = self.ended.iter().map(|limit| (limit.span.end, limit.watts)).collect();
        if rows.is_empty() { None } else { serde_json::to_string(&rows).ok() }
    }

    /// Where the home stands with limits.
    pub fn envelope(&self) -> envelope::State {
        self.envelope.state()
    }

    /// The limit that holds at an instant.
    pub fn cap(&self, at: i64) -> Option<Cap> {
        let next = self.caps.partition_point(|(start, _)| *start <= at);
        self.caps.get(next.checked_sub(1)?)?.1
    }

    fn forgotten(&mut self, udn: &Udn, at: i64) {
        let work = self.standings.remove(udn).and_then(|standing| standing.work);
        let restored = self.restored.remove(udn).and_then(|left| left.work);
        for slot in [Slot::Paused, Slot::Control, Slot::Ended] {
            self.save(slot(udn.clone()), None, Soon::Lazily);
        }
        if work.or(restored).is_some() {
            self.save(Slot::Work(udn.clone()), None, Soon::Lazily);
        }
        self.decisions.forget(udn);
        self.runs.remove(udn);
        for rule in self.book.expire(timestamp(at), Some(udn)) {
            self.unsave(&rule);
        }
        self.replan(at);
    }

    fn save(&mut self, slot: Slot, value: Option<String>, soon: Soon) {
        self.effects.push_back(Effect::Save { slot, value, soon });
    }

    fn journal(&mut self, udn: Option<&Udn>, action: &str, cause: Cause, ending: Ending, reason: &str, now: Now) {
        let reason = bounded(reason, REASON_BYTES_MAX);
        let (at, udn, action) = (now.wall, udn.cloned(), action.into());
        self.effects.push_back(Effect::Journal(Entry { at, udn, action, cause, ending, reason }));
    }

    /// A plan is to be made: at once, or a little after the one before.
    fn replan(&mut self, at: i64) {
        let made = self.current.as_ref().map_or(i64::MIN, |current| current.made);
        self.plan_due = Some(at.max(made.saturating_add(PLAN_APART_S)));
        self.due = Some(at);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, gateway: &Gateway, now: Now) {
        self.last = now;
        let at = now.wall.as_second();
        // While a plan is improved a second has many turns, in which nothing else happens.
        let limits_due = self.envelope.poll_timeout().is_some_and(|due| due <= now.boot);
        let changed = self.all_changed || !self.changed.is_empty();
        if self.turned != Some(at) || self.has_news || changed || limits_due {
            (self.turned, self.has_news) = (Some(at), false);
            self.look_at_limits(now);
            self.account(at);
            self.observe(gateway, now);
            self.pass_time(now);
        }
        // Also while there is nothing to plan: a window or work that was too far away comes nearer.
        let stale = self.begun.is_some_and(|begun| at >= next_roll(begun));
        if stale && self.may_plan() && self.drawing.is_none() && self.plan_due.is_none() {
            self.replan(at);
        }
        if self.plan_due.is_some_and(|due| due <= at) {
            self.begin(gateway, at);
        }
        if let Some(drawing) = &mut self.drawing
            && !drawing.improver.step(PLAN_STEPS_PER_TURN)
        {
            self.adopt(now);
        }
        if self.drawing.is_none() {
            self.reconcile(gateway, now);
            self.tell_limits(gateway, at);
        }
        if at >= self.write_savings_at {
            self.write_savings(at);
        }
        self.due = self.next_due(at);
    }

    /// Whether somebody has said yes to anything.
    fn may_plan(&self) -> bool {
        self.standings.values().any(|standing| standing.load.consent.0 != Consent::No)
    }

    fn begin(&mut self, gateway: &Gateway, at: i64) {
        (self.plan_due, self.begun) = (None, Some(at));
        self.plan_number += 1;
        let begun = self.last.boot;
        let drawing = self.problem(gateway, at).map_err(|e| e.to_string()).and_then(|(problem, whose)| {
            if whose.is_empty() && self.caps.iter().all(|(_, cap)| cap.is_none()) {
                return Ok(None);
            }
            let until = problem.slots.last().map_or(at, |slot| slot.span.end);
            let improver = Improver::new(&problem).map_err(|e| e.to_string())?;
            Ok(Some(Drawing { improver, whose, at, until, begun }))
        });
        match drawing {
            Ok(Some(drawing)) => {
                self.drawing = Some(drawing);
                self.trouble = None;
            }
            Ok(None) => (self.current, self.drawing, self.trouble) = (None, None, None),
            Err(why) => {
                tracing::warn!(why, "no plan; the one before stays");
                self.trouble = Some(why.into());
                self.plan_due = Some(at + i64::from(PLAN_SLOT_S));
            }
        }
    }

    fn adopt(&mut self, now: Now) {
        let Some(Drawing { improver, whose, at, until, begun }) = self.drawing.take() else { return };
        self.made = (self.made.0 + 1, Some(now.boot.since(begun)));
        let mut plan = improver.plan();
        self.of_whole_works(&mut plan, &whose);
        tracing::debug!(
            loads = whose.len(),
            cost = plan.cost,
            gap_ppm = plan.gap_ppm(),
            dropped = plan.dropped.len(),
            over_cap = plan.over_cap.len(),
            "plan"
        );
        let before = self.plan_row();
        let seen = self.current.as_ref().map(|current| current.seen_from(at));
        // Those that were not seen since the start have their place all the same.
        self.runs.retain(|udn, runs| !self.standings.contains_key(udn) && runs.iter().any(|run| run.end > at));
        self.runs.extend(whose.iter().cloned().zip(plan.as_before().into_iter().map(|b| b.runs)));
        let current = Current { plan, whose, made: at, until };
        if seen != Some(current.seen_from(at)) {
            self.effects.push_back(Effect::Planned);
        }
        self.current = Some(current);
        let row = self.plan_row();
        if row != before {
            self.save(Slot::Plan, row, Soon::Lazily);
        }
        self.tell_plan(now);
    }

    /// What is left undone of a charge is told as a part of the whole of it: of what is still to come it grows with each step.
    fn of_whole_works(&self, plan: &mut Plan, whose: &[Udn]) {
        for dropped in &mut plan.dropped {
            let udn = plan.loads.iter().position(|load| load.id == dropped.id).and_then(|place| whose.get(place));
            let work = udn.and_then(|udn| self.standings.get(udn)?.work.as_ref());
            if let Some(work) = work.filter(|work| !work.done && work.need_wh > 0) {
                let of_whole = u64::from(dropped.missing_ppm) * u64::from(work.left_wh()) / u64::from(work.need_wh);
                dropped.missing_ppm = u32::try_from(of_whole).unwrap_or(u32::MAX).clamp(1, 1_000_000);
            }
        }
    }

    /// Runs of cycles and charges that have not begun: what hysteresis has to know after a restart. The rest is made anew as well.
    fn plan_row(&self) -> Option<String> {
        let works = self.runs.iter().filter(|(udn, _)| self.standings.get(*udn).is_none_or(|s| s.work.is_some()));
        let runs = |runs: &[Span]| runs.iter().map(|run| (run.start, run.end)).collect::<Vec<_>>();
        let rows: Vec<_> = works.map(|(udn, spans)| (udn.to_string(), runs(spans))).collect();
        if rows.is_empty() { None } else { serde_json::to_string(&rows).ok() }
    }

    fn write_savings(&mut self, at: i64) {
        self.write_savings_at = at + SAVINGS_WRITE_EVERY_S;
        let open = |standing: &Standing| standing.work.as_ref().is_some_and(|w| !w.done && w.taken_ws > 0);
        let charging: Vec<Udn> = self.standings.iter().filter(|(_, s)| open(s)).map(|(udn, _)| udn.clone()).collect();
        charging.iter().for_each(|udn| self.save_work(udn));
        for (slot, value) in self.ledger.take_unsaved() {
            self.save(slot, value, Soon::Lazily);
        }
    }

    /// Writes what otherwise is written by the hour: the daemon ends.
    pub fn stop(&mut self, now: Now) {
        self.last = now;
        self.account(now.wall.as_second());
        self.write_savings(now.wall.as_second());
    }

    fn next_due(&self, at: i64) -> Option<i64> {
        if self.drawing.is_some() || !self.changed.is_empty() || self.all_changed {
            return Some(at);
        }
        let edge = (self.current.is_some() || self.may_plan()).then(|| next_roll(at));
        let runs = self.current.iter().flat_map(|c| &c.plan.loads).flat_map(|l| &l.runs);
        let runs = runs.flat_map(|run| [run.span.start, run.span.end]);
        let finding = self.finds_until(at);
        let of_standings = self.standings.values().flat_map(|s| {
            let work = s.work.as_ref().filter(|w| !w.done);
            let over = s.control.map(|c| c.until);
            [
                s.unwilling.as_ref().map(|u| u.until),
                work.map(|w| w.start),
                work.map(|w| w.end),
                over,
                s.woken.map(|w| w.1),
                s.late.map(|(_, until)| until + 1),
                finding.filter(|_| !s.heard),
            ]
        });
        // One within a second is there when that is over.
        let whole = |edge: jiff::Timestamp| edge.as_second() + i64::from(edge.subsec_nanosecond() > 0);
        let rules = self.book.next_edge(timestamp(at)).map(whole);
        let charging = || self.standings.values().any(|s| s.work.as_ref().is_some_and(|w| !w.done && w.taken_ws > 0));
        let savings = (self.ledger.is_unsaved() || charging()).then_some(self.write_savings_at);
        let caps = self.caps.iter().map(|(start, _)| *start);
        let reacted = self.over_since.map(|since| since + LIMIT_REACTION_S);
        let some = [edge, rules, savings, reacted].into_iter().chain(of_standings).flatten();
        some.chain(runs).chain(caps).filter(|due| *due > at).chain(self.plan_due).min()
    }

    /// Until when those that were not heard since the start are waited for, s since 1970; `None`: that time is over.
    fn finds_until(&self, at: i64) -> Option<i64> {
        let since = i64::try_from(self.last.boot.since(self.started).as_secs()).unwrap_or(i64::MAX);
        (since < START_FINDS_WITHIN_S).then(|| at + START_FINDS_WITHIN_S - since)
    }

    /// When [`Self::handle_timeout`] wants to be called; never for `None`.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        earliest(self.due.map(|due| self.last.boot_at(timestamp(due))), self.envelope.poll_timeout())
    }

    /// The next order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The registration that forbids an appliance to be sent to standby now: its own, a person's, or one that has just woken it.
    fn requested(&self, gateway: &Gateway, udn: &Udn, at: i64) -> Option<RegId> {
        let standing = self.standings.get(udn)?;
        let woken = standing.woken.filter(|(_, until)| *until > at).map(|(reg, _)| reg);
        gateway.registrations().forbids_standby(udn, timestamp(at)).map(|r| r.reg).or(woken)
    }

    fn new_load(&self, gateway: &Gateway, udn: &Udn, now: Now) -> Load {
        let facts = gateway.registry().get(udn).and_then(|a| a.profile().facts.as_ref());
        Load::new(udn, facts, self.settings.loads.get(udn), &self.book, now.wall)
    }
}

/// A limit that ended at that moment.
fn ended(at: i64, watts: u32) -> LimitSpan {
    LimitSpan { span: Span { start: at - 1, end: at }, watts }
}

/// When a plan is made anew though nothing has changed: time has gone on, and the plan reaches further.
fn next_roll(at: i64) -> i64 {
    at.div_euclid(PLAN_ROLL_S) * PLAN_ROLL_S + PLAN_ROLL_S
}
