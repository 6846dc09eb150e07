//! A machine of the simulated home: what it is, what it does when told to, and what it has drawn.
#![forbid(unsafe_code)]

use energy_model::{Flexibility, Importance, MacAddress, PowerState, Watts};
use upnp::ids::Udn;

use crate::plan::{Phase, Span};
use crate::registry::Facts;
use crate::rules::load::LoadForm;

/// How a machine takes orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conduct {
    /// It does as it is told.
    #[default]
    Obeys,
    /// It refuses to be switched, as one in the middle of something does.
    Refuses,
    /// It does not answer, and what happens to it is not told.
    Silent,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) facts: Facts,
    pub(super) state: PowerState,
    pub(super) since: i64,
    /// The steps of its cycle, after which it goes off by itself; none: it stays as it is.
    phases: Vec<Phase>,
    rest_w: u32,
    pub(super) mac: MacAddress,
    pub(super) conduct: Conduct,
    /// What it has drawn while on up to `since`, W s.
    drawn_ws: u64,
    /// The last cycle that went to its end.
    pub(super) last_cycle: Option<Span>,
}

impl Machine {
    /// A load as a machine; `None` where it does not say what it is.
    pub(super) fn new(form: &LoadForm, number: u16, at: i64) -> Option<(Udn, Self)> {
        let settings = form.check().ok()?;
        let [high, low] = number.to_be_bytes();
        let mac = MacAddress::new([2, 0, 0, 0, high, low]).ok()?;
        let flexibility = form.kind?;
        let largest = form.phases.iter().map(|p| p.watts).max();
        let facts = Facts {
            rated_power: Watts::new(form.power_w.or(largest)?),
            importance: form.importance.unwrap_or(Importance::Normal),
            flexibility,
            minimum_on_s: 0,
            minimum_off_s: 0,
        };
        let always = matches!(flexibility, Flexibility::Curtailable | Flexibility::StandbyAble | Flexibility::Fixed);
        let state = if always && form.only.is_empty() { PowerState::On } else { PowerState::Off };
        let cycle = flexibility == Flexibility::Deferrable;
        let phases = form.phases.iter().map(|p| Phase { seconds: p.minutes * 60, watts: p.watts });
        let machine = Self {
            facts,
            state,
            since: at,
            phases: phases.filter(|_| cycle).collect(),
            rest_w: form.rest_w,
            mac,
            conduct: Conduct::Obeys,
            drawn_ws: 0,
            last_cycle: None,
        };
        Some((settings.udn().clone(), machine))
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
        (self.state, self.since) = (state, at);
    }

    /// When it goes off by itself.
    pub(super) fn ends(&self) -> Option<i64> {
        let length = self.phases.iter().map(|p| i64::from(p.seconds)).sum::<i64>();
        (self.is_on() && self.has_cycles()).then_some(self.since + length)
    }

    /// When it next draws something else, or ends.
    pub(super) fn next_edge(&self, at: i64) -> Option<i64> {
        let edges = self.phases.iter().scan(self.since, |edge, phase| {
            *edge += i64::from(phase.seconds);
            Some(*edge)
        });
        edges.filter(|_| self.is_on()).find(|edge| *edge > at)
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
