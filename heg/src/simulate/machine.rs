//! A machine of the simulated home: what it is, what it does when told to, and what it has drawn.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr};

use daemon_kit::clock::next_occurrence;
use energy_model::{DailyWindow, Flexibility, MacAddress, PowerState, RegId, TimeOfDay, Watts};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::gateway::Request;
use crate::plan::{Phase, Span};
use crate::registry::Facts;
use crate::rules::load::{Load, Obstacle, Task};
use crate::rules::window::Window;

/// How a machine takes orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conduct {
    /// It does as it is told.
    #[default]
    Obeys,
    /// It refuses to be switched, as one in the middle of something does.
    Refuses,
    /// It says that it obeys, and does so a while later.
    Late,
    /// It does not answer, and what happens to it is not told.
    Silent,
}

impl Conduct {
    /// Whether it keeps the planner from having its way.
    pub(super) fn hinders(self) -> bool {
        matches!(self, Self::Refuses | Self::Silent)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// For people.
    pub(super) name: String,
    pub(super) facts: Facts,
    pub(super) state: PowerState,
    pub(super) since: i64,
    /// The steps of its cycle, after which it goes off by itself; none: it stays as it is.
    phases: Vec<Phase>,
    rest_w: u32,
    pub(super) mac: MacAddress,
    pub(super) address: IpAddr,
    /// What it has registered at the gateway, in order.
    pub(super) registered: Vec<(RegId, Request)>,
    /// Windows in which it sleeps by itself, and the last number it gave.
    pub(super) periods: Vec<(RegId, DailyWindow)>,
    pub(super) last_reg: u32,
    /// It has gone to sleep in the window that holds.
    slept: bool,
    /// What it told last of its power, W.
    pub(super) told_w: Option<u32>,
    pub(super) conduct: Conduct,
    /// What it has drawn while on up to `since`, W s.
    drawn_ws: u64,
    /// What it will be, and when: it obeys late.
    pub(super) later: Option<(PowerState, i64)>,
    /// The last cycle that went to its end.
    pub(super) last_cycle: Option<Span>,
}

impl Machine {
    /// A load as a machine, one of those that are off by themselves as off.
    ///
    /// # Errors
    /// Nobody says what it is.
    pub(super) fn new(load: &Load, number: u16, at: i64) -> Result<Self, String> {
        let [high, low] = number.to_be_bytes();
        let mac = MacAddress::new([2, 0, 0, 0, high, low]).map_err(|error| error.to_string())?;
        let (flexibility, _) = load.kind.ok_or_else(|| Obstacle::KindUnknown.to_string())?;
        let (phases, windows) = match &load.task {
            Ok(Task::Cycle { phases, .. }) => (phases.clone(), false),
            Ok(Task::Presence { only, .. }) => (Vec::new(), !only.is_empty()),
            Ok(Task::Energy { .. }) | Err(Obstacle::Fixed) => (Vec::new(), false),
            Err(obstacle) => return Err(obstacle.to_string()),
        };
        let largest = phases.iter().map(|p| p.watts).max();
        let power = Some(load.power_w).filter(|watts| *watts > 0).or(largest);
        let facts = Facts {
            rated_power: Watts::new(power.ok_or_else(|| Obstacle::PowerUnknown.to_string())?),
            importance: load.importance.0,
            flexibility,
            minimum_on_s: 0,
            minimum_off_s: 0,
        };
        let always = matches!(flexibility, Flexibility::Curtailable | Flexibility::StandbyAble | Flexibility::Fixed);
        let state = if always && !windows { PowerState::On } else { PowerState::Off };
        Ok(Self {
            name: String::new(),
            facts,
            state,
            since: at,
            phases,
            rest_w: load.rest_w,
            mac,
            address: Ipv4Addr::new(198, 18, high, low).into(),
            registered: Vec::new(),
            periods: Vec::new(),
            last_reg: 0,
            slept: false,
            told_w: None,
            conduct: Conduct::Obeys,
            drawn_ws: 0,
            later: None,
            last_cycle: None,
        })
    }

    pub(super) fn is_on(&self) -> bool {
        self.state == PowerState::On
    }

    /// Whether it has cycles.
    pub(super) fn has_cycles(&self) -> bool {
        !self.phases.is_empty()
    }

    /// It is in this state from now on.
    pub(super) fn switch(&mut self, state: PowerState, at: i64) {
        self.drawn_ws = self.drawn_ws(at);
        if self.is_on() && self.has_cycles() && self.ends().is_some_and(|end| end <= at) {
            self.last_cycle = Some(Span { start: self.since, end: at });
        }
        (self.state, self.since, self.later) = (state, at, None);
    }

    /// Whether it is on for as long as nobody switches it off.
    pub(super) fn runs_always(&self) -> bool {
        matches!(self.facts.flexibility, Flexibility::Curtailable | Flexibility::StandbyAble | Flexibility::Fixed)
    }

    /// How long its cycle takes, s.
    pub(super) fn cycle_s(&self) -> i64 {
        self.phases.iter().map(|p| i64::from(p.seconds)).sum()
    }

    /// When it goes off by itself.
    pub(super) fn ends(&self) -> Option<i64> {
        (self.is_on() && self.has_cycles()).then_some(self.since + self.cycle_s())
    }

    /// When it next draws something else, ends, or sleeps or wakes by itself.
    pub(super) fn next_edge(&self, zone: &TimeZone, at: i64) -> Option<i64> {
        let edges = self.phases.iter().scan(self.since, |edge, phase| {
            *edge += i64::from(phase.seconds);
            Some(*edge)
        });
        let phase = edges.filter(|_| self.is_on()).find(|edge| *edge > at);
        let windows = self.periods.iter().flat_map(|(_, window)| [window.start(), window.end()]);
        let period = windows.filter_map(|time| next(time, zone, at));
        phase.into_iter().chain(self.later.map(|(_, due)| due)).chain(period).min()
    }

    /// What it is to be by its standby periods, where that begins or ends now: it goes to sleep once in each and wakes at its end.
    pub(super) fn by_itself(&mut self, zone: &TimeZone, at: i64) -> Option<PowerState> {
        let sleeps = self.periods.iter().any(|(_, window)| holds(*window, zone, at));
        match (sleeps, std::mem::replace(&mut self.slept, sleeps), self.state) {
            (true, false, PowerState::On) => Some(PowerState::Standby),
            (false, true, PowerState::Standby) => Some(PowerState::On),
            _ => None,
        }
    }

    /// Whether it has registered that it is not to be sent to standby now.
    pub(super) fn forbids_standby(&self, zone: &TimeZone, at: i64) -> bool {
        let forbids = |request: &Request| matches!(request, Request::NoStandbyPeriod(w) if holds(*w, zone, at));
        self.registered.iter().any(|(_, request)| forbids(request))
    }

    /// What it draws now, W.
    pub(super) fn watts(&self, at: i64) -> u32 {
        if !self.is_on() {
            return self.rest_w;
        }
        let mut end = self.since;
        let phase = self.phases.iter().find(|phase| {
            end += i64::from(phase.seconds);
            at < end
        });
        phase.map_or_else(|| self.facts.rated_power.count(), |phase| phase.watts)
    }

    /// What it has drawn while on, W s; a machine with cycles is not asked.
    pub(super) fn drawn_ws(&self, at: i64) -> u64 {
        let seconds = if self.is_on() { u64::try_from(at - self.since).unwrap_or(0) } else { 0 };
        self.drawn_ws + u64::from(self.facts.rated_power.count()) * seconds
    }
}

fn next(time: TimeOfDay, zone: &TimeZone, at: i64) -> Option<i64> {
    let after = Timestamp::from_second(at).ok()?;
    Some(next_occurrence(time.seconds_since_midnight(), zone, after).as_second())
}

fn holds(window: DailyWindow, zone: &TimeZone, at: i64) -> bool {
    Timestamp::from_second(at).is_ok_and(|at| Window::from(window).contains(zone.to_datetime(at)))
}
