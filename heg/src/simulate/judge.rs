//! What came of it, by looking at the machines alone: work that was not done in time, what was switched off that was to stay on, and more
//! drawn than allowed. The planner's own word for it is not asked.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use energy_model::{Flexibility, Importance, TimeOfDay};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use upnp::ids::Udn;

use super::machine::Machine;
use crate::limits::{PLAN_RETRY_MAX_S, PLAN_SWITCH_APART_S};
use crate::plan::Span;
use crate::rules::Consent;
use crate::rules::load::{Load, Task};
use crate::rules::window::Window;

/// A limit is kept within this, s: planning waits for changes to gather, and commands take their time.
pub const REACTION_S: i64 = 60;
/// Energy by which a charge may fall short and still counts as done, W s: a gateway switches by whole seconds.
const SHORT_WS_MAX: u64 = 3600;
/// It looks at the machines at least so often, s.
const LOOK_EVERY_S: i64 = 900;
/// How long a refusal or a person's hand goes on: the gateway asks again in an hour at the latest, and leaves what was switched by hand
/// for two hours by default.
const DISTURBED_S: i64 = 2 * PLAN_RETRY_MAX_S;
/// A machine that has what it needs goes off within this: what is switched is left so for five minutes.
const NEEDLESS_S: i64 = PLAN_SWITCH_APART_S as i64 + REACTION_S;
/// So many beginnings of the failsafe limit are looked at for one work, the first ones.
const ONSETS_MAX: usize = 16;
/// So many faults are kept to be shown, the first ones.
const FAULTS_MAX: usize = 100;
/// A window of one day of the week is found within this, also where a change of clocks skips it once.
const DAYS_LOOKED_AT: usize = 16;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Works that were asked for and whose time is over.
    pub works: u64,
    /// Of those not done in time, or not wholly: without any excuse.
    pub undone: u64,
    /// For which a limit left too little of their time.
    pub undone_limited: u64,
    /// For which the failsafe limit, which nobody can foresee, came when there was just time enough left, and left too little of that.
    pub undone_failsafe: u64,
    /// Whose machine refused, did not answer or was switched by hand in their time.
    pub undone_disturbed: u64,
    /// Times a machine was switched off that was to stay on, or sent to standby although a request forbids it.
    pub comfort_broken: u64,
    /// Time in which a machine was off in a window in which it was to run, or was switched off by the planner where nobody says when it is to
    /// run, longer than [`REACTION_S`] and without excuse, s.
    pub missed_s: i64,
    /// Time in which more was drawn than allowed though something could have been switched off, longer than [`REACTION_S`], s.
    pub over_limit_s: i64,
    /// Time in which a machine took energy that nobody has asked for, or no more, longer than its minimum time and five minutes at a time, s.
    pub needless_s: i64,
    /// Requests of machines that the gateway did not take.
    pub turned_away: u64,
    /// The rest of the time in which more was drawn than allowed: within [`REACTION_S`], or by what may not be switched off, s.
    pub over_excused_s: i64,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When, seconds since 1970.
    pub at: i64,
    /// Whose; none: the home's.
    pub udn: Option<Udn>,
    /// In words.
    pub what: &'static str,
}

/// What a machine is for, as its `[[load]]` and the rules say.
#[derive(Clone, Debug)]
struct Duty {
    every_day: Option<(Window, u64)>,
    only: Vec<Window>,
    keep_on: Vec<Window>,
    price_max: bool,
    critical: bool,
    consent: Consent,
    minimum_on_s: i64,
    /// The daily work that is next or under way.
    daily: Option<Work>,
    /// Asked for by people.
    asked: Vec<Work>,
    /// It refused, was silent or switched by hand, last at this time.
    disturbed: Option<i64>,
    missed_since: Option<i64>,
    needless_since: Option<i64>,
    /// When the first daily work begins that is looked at: a window that began before the simulation did is the planner's alone.
    first_daily: Option<i64>,
    /// The planner has switched it off.
    paused: bool,
}

/// To be done within a time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Work {
    span: Span,
    /// 0: a cycle.
    need_ws: u64,
    /// What the machine had drawn at its start; `None` before it.
    drawn_ws: Option<u64>,
    /// For so long of its time a limit held, or load came back after one, s.
    limited_s: i64,
    /// Each time the failsafe limit began while it could still be done.
    onsets: Vec<Onset>,
}

/// The failsafe limit begins in the time of a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Onset {
    at: i64,
    /// For so long the machine has to run then, s.
    needed_s: i64,
    /// What was limited before, s.
    limited_s: i64,
}

/// What the home may draw, W.
#[derive(Clone, Copy, Debug)]
pub(super) struct May {
    pub(super) limit_w: Option<u32>,
    /// That is the failsafe limit, and not the utility's word.
    pub(super) failsafe: bool,
    pub(super) fuse_w: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Judge {
    duties: BTreeMap<Udn, Duty>,
    zone: TimeZone,
    comeback_s: i64,
    /// A limit held, last at this time.
    limited: Option<i64>,
    /// The failsafe limit holds.
    failsafe: bool,
    over_since: Option<i64>,
    pub(super) findings: Findings,
    pub(super) faults: Vec<Fault>,
}

impl Judge {
    /// Load comes back for `comeback_s` after a limit.
    pub(super) fn new(zone: TimeZone, comeback_s: i64) -> Self {
        Self {
            duties: BTreeMap::new(),
            zone,
            comeback_s,
            limited: None,
            failsafe: false,
            over_since: None,
            findings: Findings::default(),
            faults: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, udn: Udn, load: &Load) {
        let mut duty = Duty {
            every_day: None,
            only: Vec::new(),
            keep_on: load.keep_on.iter().map(|(window, _)| *window).collect(),
            price_max: false,
            critical: load.importance.0 == Importance::Critical,
            consent: load.consent.0,
            minimum_on_s: load.minimum_on_s.into(),
            daily: None,
            asked: Vec::new(),
            disturbed: None,
            missed_since: None,
            needless_since: None,
            first_daily: None,
            paused: false,
        };
        match &load.task {
            Ok(Task::Cycle { every_day, .. }) => duty.every_day = every_day.map(|window| (window, 0)),
            Ok(Task::Energy { every_day }) => {
                duty.every_day = every_day.map(|(window, need_wh)| (window, u64::from(need_wh) * 3600));
            }
            Ok(Task::Presence { only, price_max, .. }) => {
                (duty.only, duty.price_max) = (only.clone(), price_max.is_some());
            }
            Err(_) => {}
        }
        self.duties.insert(udn, duty);
    }

    /// A person has asked for work.
    pub(super) fn asked(&mut self, udn: &Udn, machine: &Machine, span: Span, need_wh: u32) {
        if let Some(duty) = self.duties.get_mut(udn) {
            // Before it may be begun, which is at once at times.
            let drawn_ws = Some(machine.drawn_ws(span.start));
            duty.asked.push(Work {
                span,
                need_ws: u64::from(need_wh) * 3600,
                drawn_ws,
                limited_s: 0,
                onsets: Vec::new(),
            });
        }
    }

    /// Something came between that is not the planner's doing.
    pub(super) fn disturbed(&mut self, udn: &Udn, at: i64) {
        if let Some(duty) = self.duties.get_mut(udn) {
            duty.disturbed = Some(at);
        }
    }

    /// When it has to look again.
    pub(super) fn next_edge(&self, at: i64) -> Option<i64> {
        let works = self.duties.values().flat_map(|duty| duty.daily.iter().chain(&duty.asked));
        let works = works.flat_map(|work| [work.span.start, work.span.end]).filter(|edge| *edge > at);
        // Windows begin and end at the clock's quarters, mostly.
        works.chain([at.div_euclid(LOOK_EVERY_S) * LOOK_EVERY_S + LOOK_EVERY_S]).min()
    }

    /// Works that begin or whose time is over.
    pub(super) fn look(&mut self, machines: &BTreeMap<Udn, Machine>, at: i64) {
        for (udn, duty) in &mut self.duties {
            let Some(machine) = machines.get(udn) else { continue };
            if machine.conduct.hinders() {
                duty.disturbed = Some(at);
            }
            let disturbed = duty.disturbed;
            for work in duty.daily.iter_mut().chain(&mut duty.asked) {
                if work.span.start <= at {
                    work.drawn_ws.get_or_insert(machine.drawn_ws(at));
                }
                if work.span.end > at {
                    continue;
                }
                let findings = &mut self.findings;
                let was_disturbed = disturbed.is_some_and(|last| last + DISTURBED_S >= work.span.start);
                findings.works += 1;
                if !work.is_done(machine, at) {
                    if was_disturbed {
                        findings.undone_disturbed += 1;
                    } else if work.is_excused(machine) {
                        findings.undone_limited += 1;
                    } else if work.was_surprised() {
                        findings.undone_failsafe += 1;
                    } else {
                        findings.undone += 1;
                        let short = work.span.seconds() < work.takes_s(machine);
                        let what = "not done in time";
                        let what = if short { "not done in time, which is shorter than its work" } else { what };
                        note(&mut self.faults, at, Some(udn), what);
                    }
                }
            }
            duty.asked.retain(|work| work.span.end > at);
            if duty.daily.as_ref().is_none_or(|work| work.span.end <= at) {
                let last = duty.daily.as_ref().map_or(at - 1, |work| work.span.start);
                duty.daily = duty.every_day.and_then(|(window, need_ws)| {
                    // A window that began before the simulation did is left out.
                    let span = next_of(window, &self.zone, last.max(at - 1))?;
                    let drawn_ws = (span.start <= at).then(|| machine.drawn_ws(at));
                    Some(Work { span, need_ws, drawn_ws, limited_s: 0, onsets: Vec::new() })
                });
                duty.first_daily = duty.first_daily.or(duty.daily.as_ref().map(|work| work.span.start));
            }
        }
    }

    /// A machine is ordered off by the planner.
    pub(super) fn ordered_off(&mut self, udn: &Udn, at: i64) {
        let Some(duty) = self.duties.get_mut(udn) else { return };
        duty.paused = true;
        if duty.is_kept(&self.zone, at) {
            self.findings.comfort_broken += 1;
            note(&mut self.faults, at, Some(udn), "switched off although it is to stay on");
        }
    }

    /// A machine is sent to standby although a request forbids it.
    pub(super) fn requested_in_vain(&mut self, udn: &Udn, at: i64) {
        self.findings.comfort_broken += 1;
        note(&mut self.faults, at, Some(udn), "sent to standby against its own request");
    }

    /// The gateway does not take what a machine asks for.
    pub(super) fn turned_away(&mut self, udn: &Udn, at: i64) {
        self.findings.turned_away += 1;
        note(&mut self.faults, at, Some(udn), "its request is not taken");
    }

    /// What is drawn over `span`, in which nothing changes, and what may be, by a limit and by the home's fuse.
    pub(super) fn watch(&mut self, machines: &BTreeMap<Udn, Machine>, drawn_w: u32, may: May, span: Span) {
        let at = span.start;
        let most = [may.limit_w, may.fuse_w].into_iter().flatten().min();
        let over = most.is_some_and(|most| drawn_w > most);
        // What has to give way to a hand on a switch comes back after a while, as after a limit.
        if may.limit_w.is_some() || over {
            self.limited = Some(at);
        }
        if !over {
            self.over_since = None;
        } else if self
            .duties
            .iter()
            .any(|(udn, duty)| machines.get(udn).is_some_and(|machine| duty.could_be_off(machine, &self.zone, at)))
        {
            let since = *self.over_since.get_or_insert(at);
            let beyond = Span { start: span.start.max(since + REACTION_S), end: span.end }.seconds();
            if (span.start..span.end).contains(&(since + REACTION_S)) {
                note(&mut self.faults, at, None, "over limit or fuse");
            }
            self.findings.over_limit_s += beyond;
            self.findings.over_excused_s += span.seconds() - beyond;
        } else {
            // From when on it could have been otherwise counts.
            self.over_since = None;
            self.findings.over_excused_s += span.seconds();
        }
        let limited = self.limited.is_some_and(|last| at - last <= self.comeback_s + LOOK_EVERY_S);
        let failsafe = std::mem::replace(&mut self.failsafe, may.failsafe);
        let begins = may.failsafe && !failsafe;
        for (udn, duty) in self.duties.iter_mut().filter(|_| begins) {
            let Some(machine) = machines.get(udn) else { continue };
            duty.daily.iter_mut().chain(&mut duty.asked).for_each(|work| work.failsafe_begins(machine, at));
        }
        let works = self.duties.values_mut().flat_map(|duty| duty.daily.iter_mut().chain(&mut duty.asked));
        for work in works.filter(|_| limited) {
            work.limited_s += span.within(work.span).map_or(0, Span::seconds);
        }
        self.watch_windows(machines, limited, span);
        self.watch_charges(machines, span);
    }

    /// Machines that take energy without anything to do.
    fn watch_charges(&mut self, machines: &BTreeMap<Udn, Machine>, span: Span) {
        let at = span.start;
        for (udn, duty) in &mut self.duties {
            let Some(machine) = machines.get(udn) else { continue };
            let charges = machine.facts.flexibility == Flexibility::Interruptible && duty.consent == Consent::Yes;
            let open = |work: &Work| work.span.start <= at && at < work.span.end && !work.is_done(machine, at);
            let needless = charges
                && machine.is_on()
                && duty.first_daily.is_none_or(|first| first <= at)
                && !duty.was_disturbed_lately(at)
                && !duty.daily.iter().chain(&duty.asked).any(open);
            if !needless {
                duty.needless_since = None;
                continue;
            }
            let since = *duty.needless_since.get_or_insert(at);
            let counts_from = since + duty.minimum_on_s.max(NEEDLESS_S);
            let seconds = Span { start: at.max(counts_from), end: span.end }.seconds();
            if (at..span.end).contains(&counts_from) {
                note(&mut self.faults, at, Some(udn), "on with nothing to do");
            }
            self.findings.needless_s += seconds;
        }
    }

    /// Windows in which a machine is to run, and what nobody wants off.
    fn watch_windows(&mut self, machines: &BTreeMap<Udn, Machine>, limited: bool, span: Span) {
        let at = span.start;
        for (udn, duty) in &mut self.duties {
            let Some(machine) = machines.get(udn) else { continue };
            duty.paused &= !machine.is_on();
            if !machine.runs_always() || duty.price_max || duty.consent != Consent::Yes {
                continue;
            }
            let wanted = if duty.only.is_empty() { duty.paused } else { holds(&duty.only, &self.zone, at) };
            let excused = limited || duty.was_disturbed_lately(at);
            if machine.is_on() || excused || !wanted {
                duty.missed_since = None;
                continue;
            }
            let since = *duty.missed_since.get_or_insert(at);
            let missed = Span { start: at.max(since + REACTION_S), end: span.end }.seconds();
            if (at..span.end).contains(&(since + REACTION_S)) {
                note(&mut self.faults, at, Some(udn), "off although it is to run");
            }
            self.findings.missed_s += missed;
        }
    }
}

impl Duty {
    fn is_kept(&self, zone: &TimeZone, at: i64) -> bool {
        self.critical || holds(&self.keep_on, zone, at)
    }

    fn was_disturbed_lately(&self, at: i64) -> bool {
        self.disturbed.is_some_and(|last| at - last <= DISTURBED_S)
    }

    /// Whether the planner may switch it off now.
    fn could_be_off(&self, machine: &Machine, zone: &TimeZone, at: i64) -> bool {
        let fixed = machine.facts.flexibility == Flexibility::Fixed || machine.has_cycles();
        let bound = machine.conduct.hinders() || at - machine.since < self.minimum_on_s;
        machine.is_on()
            && self.consent >= Consent::Limits
            && !fixed
            && !bound
            && !self.is_kept(zone, at)
            && !self.was_disturbed_lately(at)
    }
}

impl Work {
    /// Whether a limit left less of its time than it needs.
    fn is_excused(&self, machine: &Machine) -> bool {
        self.limited_s > 0 && self.span.seconds() - self.limited_s < self.takes_s(machine)
    }

    /// How long the machine has to run for it, s.
    fn takes_s(&self, machine: &Machine) -> i64 {
        let energy_s = self.need_ws / u64::from(machine.facts.rated_power.count().max(1));
        if self.need_ws > 0 { i64::try_from(energy_s).unwrap_or(i64::MAX) } else { machine.cycle_s() }
    }

    /// The failsafe limit begins: a work that is open, and that could still be done in what is left of its time, may lack that later.
    fn failsafe_begins(&mut self, machine: &Machine, at: i64) {
        let runs = self.need_ws == 0 && machine.is_on();
        if at < self.span.start || at >= self.span.end || runs || self.is_done(machine, at) {
            return;
        }
        let needed_s = match self.need_ws {
            0 => machine.cycle_s(),
            need_ws => {
                let left_ws = need_ws.saturating_sub(machine.drawn_ws(at) - self.drawn_ws.unwrap_or(0));
                i64::try_from(left_ws / u64::from(machine.facts.rated_power.count().max(1))).unwrap_or(i64::MAX)
            }
        };
        if needed_s <= self.span.end - at && self.onsets.len() < ONSETS_MAX {
            self.onsets.push(Onset { at, needed_s, limited_s: self.limited_s });
        }
    }

    /// Whether limits left less of its time, from such a moment on, than it needed then.
    fn was_surprised(&self) -> bool {
        self.onsets.iter().any(|onset| {
            let limited_s = self.limited_s - onset.limited_s;
            self.span.end - onset.at - limited_s < onset.needed_s
        })
    }

    fn is_done(&self, machine: &Machine, at: i64) -> bool {
        if self.need_ws > 0 {
            let drawn = machine.drawn_ws(at) - self.drawn_ws.unwrap_or(0);
            return drawn + SHORT_WS_MAX >= self.need_ws;
        }
        machine.last_cycle.is_some_and(|cycle| cycle.start >= self.span.start && cycle.end <= self.span.end)
    }
}

/// Enters a fault.
fn note(faults: &mut Vec<Fault>, at: i64, udn: Option<&Udn>, what: &'static str) {
    let fault = Fault { at, udn: udn.cloned(), what };
    if faults.len() < FAULTS_MAX {
        faults.push(fault);
    }
}

/// The first span of a daily window that begins after `last`: by the clock of each day, and not by the planner's reckoning. Of a window that
/// a change of clocks skips nothing is left.
fn next_of(window: Window, zone: &TimeZone, last: i64) -> Option<Span> {
    let first = zone.to_datetime(Timestamp::from_second(last).ok()?).date();
    let clock = |date: Date, time: TimeOfDay| {
        let seconds = i64::from(time.seconds_since_midnight());
        let local = date.at(0, 0, 0, 0).checked_add(seconds.seconds()).ok()?;
        Some(zone.to_ambiguous_timestamp(local).compatible().ok()?.as_second())
    };
    let days = std::iter::successors(Some(first), |date| date.tomorrow().ok()).take(DAYS_LOOKED_AT);
    days.filter(|date| window.days.hold(date.weekday())).find_map(|date| {
        let ends = if window.daily.crosses_midnight() { date.tomorrow().ok()? } else { date };
        let span = Span { start: clock(date, window.daily.start())?, end: clock(ends, window.daily.end())? };
        (span.start > last && span.start < span.end).then_some(span)
    })
}

fn holds(windows: &[Window], zone: &TimeZone, at: i64) -> bool {
    let Ok(at) = Timestamp::from_second(at) else { return false };
    windows.iter().any(|window| window.contains(zone.to_datetime(at)))
}

#[cfg(test)]
mod tests {
    use energy_model::PowerState;

    use super::*;
    use crate::rules::book::Book;

    const HOUR: i64 = 3600;

    /// One machine of 2 kW and its judge, at midnight.
    fn one(form: &str) -> (Judge, BTreeMap<Udn, Machine>, Udn) {
        let form = format!("load = [{{ udn = 'uuid:one', plan = 'yes', {form} }}]");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heg.toml");
        std::fs::write(&path, form).unwrap();
        let config = crate::config::Config::load(Some(&path)).unwrap();
        let settings = config.planning(TimeZone::UTC);
        let udn = Udn::parse("uuid:one").unwrap();
        let load = Load::new(&udn, None, settings.loads.get(&udn), &Book::default(), Timestamp::UNIX_EPOCH);
        let machine = Machine::new(&load, 0, 0).unwrap();
        let mut judge = Judge::new(TimeZone::UTC, 900);
        judge.add(udn.clone(), &load);
        let machines = BTreeMap::from([(udn.clone(), machine)]);
        judge.look(&machines, 0);
        (judge, machines, udn)
    }

    fn watched(judge: &mut Judge, machines: &BTreeMap<Udn, Machine>, from: i64, to: i64) {
        let drawn = machines.values().map(|m| m.watts(from)).sum();
        judge.watch(
            machines,
            drawn,
            May { limit_w: Some(1000), failsafe: false, fuse_w: None },
            Span { start: from, end: to },
        );
    }

    #[test]
    fn more_than_the_limit_counts_after_a_minute_and_only_by_what_could_be_off() {
        let (mut judge, mut machines, udn) = one("kind = 'Curtailable', power-w = 2000");
        watched(&mut judge, &machines, 0, 40);
        watched(&mut judge, &machines, 40, 100);
        assert_eq!((judge.findings.over_limit_s, judge.findings.over_excused_s), (40, 60));
        machines.get_mut(&udn).unwrap().switch(PowerState::Off, 100);
        watched(&mut judge, &machines, 100, 1000);
        assert_eq!(judge.findings.over_limit_s, 40);
        let (mut judge, machines, _) = one("kind = 'Curtailable', power-w = 2000, importance = 'Critical'");
        watched(&mut judge, &machines, 0, 500);
        assert_eq!((judge.findings.over_limit_s, judge.findings.over_excused_s), (0, 500));
        judge.ordered_off(&Udn::parse("uuid:one").unwrap(), 500);
        assert_eq!(judge.findings.comfort_broken, 1);
    }

    #[test]
    fn a_charge_is_done_when_its_energy_was_taken_in_its_time_and_its_excuse_is_told() {
        const CAR: &str = "kind = 'Interruptible', power-w = 2000, energy-wh = 4000, \
                           every-day = { start = '01:00:00', end = '05:00:00' }";
        for (hours, disturbed, expected) in [(2, false, (0, 0)), (1, false, (1, 0)), (1, true, (0, 1))] {
            let (mut judge, mut machines, udn) = one(CAR);
            judge.look(&machines, HOUR);
            if disturbed {
                judge.disturbed(&udn, 2 * HOUR);
            }
            machines.get_mut(&udn).unwrap().switch(PowerState::On, 2 * HOUR);
            machines.get_mut(&udn).unwrap().switch(PowerState::Off, (2 + hours) * HOUR);
            judge.look(&machines, 5 * HOUR);
            let Findings { works, undone, undone_disturbed, .. } = judge.findings;
            assert_eq!((works, (undone, undone_disturbed)), (1, expected), "{hours} h");
        }
    }

    #[test]
    fn a_limit_excuses_only_what_it_left_no_time_for() {
        const CAR: &str = "kind = 'Interruptible', power-w = 2000, energy-wh = 4000, \
                           every-day = { start = '01:00:00', end = '05:00:00' }";
        for (limited, expected) in [(HOUR, (1, 0)), (3 * HOUR, (0, 1))] {
            let (mut judge, machines, _) = one(CAR);
            judge.look(&machines, HOUR);
            watched(&mut judge, &machines, HOUR, HOUR + limited);
            judge.look(&machines, 5 * HOUR);
            assert_eq!((judge.findings.undone, judge.findings.undone_limited), expected, "limited for {limited} s");
        }
    }

    #[test]
    fn what_has_no_time_at_all_is_not_excused_by_a_limit_that_never_was() {
        let (mut judge, machines, _) = one(
            "kind = 'Interruptible', power-w = 2000, energy-wh = 4000, every-day = { start = '01:00:00', end = '02:00:00' }",
        );
        judge.look(&machines, HOUR);
        judge.look(&machines, 2 * HOUR);
        assert_eq!((judge.findings.undone, judge.findings.undone_limited), (1, 0));
        assert_eq!(judge.faults[0].what, "not done in time, which is shorter than its work");
    }

    #[test]
    fn a_failsafe_that_came_when_there_was_just_time_enough_is_told_and_excuses_nothing_that_was_late_before() {
        const CAR: &str = "kind = 'Interruptible', power-w = 2000, energy-wh = 4000, \
                           every-day = { start = '01:00:00', end = '05:00:00' }";
        for (begins, failsafe, expected) in [
            (3 * HOUR, true, (0, 1)),
            (3 * HOUR + 600, true, (1, 0)),
            (2 * HOUR, true, (0, 1)),
            (3 * HOUR, false, (1, 0)),
        ] {
            let (mut judge, machines, _) = one(CAR);
            judge.look(&machines, HOUR);
            let may = |limit_w: Option<u32>| May { limit_w, failsafe: failsafe && limit_w.is_some(), fuse_w: None };
            // One that was over long before is no matter.
            judge.watch(&machines, 0, may(Some(4200)), Span { start: 0, end: 60 });
            judge.watch(&machines, 0, may(None), Span { start: 60, end: HOUR });
            judge.watch(&machines, 0, may(None), Span { start: HOUR, end: begins });
            judge.watch(&machines, 0, may(Some(4200)), Span { start: begins, end: begins + 5400 });
            judge.look(&machines, 5 * HOUR);
            let Findings { undone, undone_limited, undone_failsafe, .. } = judge.findings;
            assert_eq!((undone, undone_failsafe, undone_limited), (expected.0, expected.1, 0), "{begins} {failsafe}");
        }
    }

    #[test]
    fn what_nobody_wants_off_is_missed_when_the_planner_has_switched_it_off_and_not_when_a_person_has() {
        for (ordered, missed) in [(true, HOUR - REACTION_S), (false, 0)] {
            let (mut judge, mut machines, udn) = one("kind = 'Curtailable', power-w = 2000");
            if ordered {
                judge.ordered_off(&udn, 0);
            }
            machines.get_mut(&udn).unwrap().switch(PowerState::Off, 0);
            judge.watch(
                &machines,
                0,
                May { limit_w: None, failsafe: false, fuse_w: None },
                Span { start: 0, end: HOUR },
            );
            assert_eq!(judge.findings.missed_s, missed);
        }
    }

    #[test]
    fn a_cycle_begun_before_its_time_or_ended_after_it_is_not_done() {
        const WASHER: &str = "kind = 'Deferrable', phases = [{ minutes = 60, watts = 2000 }], \
                              every-day = { start = '01:00:00', end = '05:00:00' }";
        for (start, undone) in [(0, 1), (HOUR, 0), (4 * HOUR, 0), (4 * HOUR + 60, 1)] {
            let (mut judge, mut machines, udn) = one(WASHER);
            judge.look(&machines, HOUR);
            let machine = machines.get_mut(&udn).unwrap();
            machine.switch(PowerState::On, start);
            let end = machine.ends().unwrap();
            machine.switch(PowerState::Off, end);
            judge.look(&machines, 5 * HOUR);
            assert_eq!(judge.findings.undone, undone, "begun at {start}");
        }
    }

    #[test]
    fn what_takes_energy_with_nothing_to_do_is_needless_after_some_minutes_and_not_by_hand() {
        const CAR: &str = "kind = 'Interruptible', power-w = 2000, energy-wh = 4000, \
                           every-day = { start = '01:00:00', end = '05:00:00' }";
        for (by_hand, needless) in [(false, HOUR - NEEDLESS_S), (true, 0)] {
            let (mut judge, mut machines, udn) = one(CAR);
            judge.look(&machines, HOUR);
            machines.get_mut(&udn).unwrap().switch(PowerState::On, HOUR);
            if by_hand {
                judge.disturbed(&udn, 3 * HOUR);
            }
            let unlimited = May { limit_w: None, failsafe: false, fuse_w: None };
            for (from, to) in [(HOUR, 2 * HOUR), (2 * HOUR, 3 * HOUR), (3 * HOUR, 4 * HOUR)] {
                judge.watch(&machines, 2000, unlimited, Span { start: from, end: to });
            }
            assert_eq!(judge.findings.needless_s, needless);
        }
    }

    #[test]
    fn a_window_in_the_hour_that_clocks_skip_does_not_come_that_day() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let window: Window = "02:00:00-03:00:00".parse::<energy_model::DailyWindow>().unwrap().into();
        let midnight = "2026-03-29T00:00:00+01:00".parse::<Timestamp>().unwrap().as_second();
        let next = next_of(window, &zone, midnight).unwrap();
        assert_eq!(
            (next.start - midnight, next.seconds()),
            (25 * HOUR, HOUR),
            "on the day after, of 23 hours before it"
        );
        assert!((0..23 * HOUR).step_by(60).all(|s| !holds(&[window], &zone, midnight + s)));
        assert!(holds(&[window], &zone, next.start) && !holds(&[window], &zone, next.end));
    }

    #[test]
    fn a_window_in_which_it_is_to_run_is_missed_after_a_minute() {
        let (mut judge, machines, _) =
            one("kind = 'Curtailable', power-w = 2000, only = [{ start = '01:00:00', end = '02:00:00' }]");
        let unlimited = May { limit_w: None, failsafe: false, fuse_w: None };
        for (from, to) in [(0, HOUR), (HOUR, HOUR + 600), (HOUR + 600, 2 * HOUR), (2 * HOUR, 3 * HOUR)] {
            judge.watch(&machines, 0, unlimited, Span { start: from, end: to });
        }
        assert_eq!(judge.findings.missed_s, HOUR - REACTION_S);
    }
}
