//! The utility, as the home hears it: answers to polls and reports at the periods that are its defaults, limits, controls, and hours in which
//! it is not heard. And its word again, from which the limit follows by the rules of docs/protocol.md alone.

use anyhow::{Context, Result};
use energy_model::{PowerState, Watts};
use heg::simulate::HOME;
use heg::utility::{Failure, Input, Link, Question};
use utility_wire::{
    BatchState, Command, Control, EventId, Limit, LimitSet, OutcomeKind, Poll, ReportAnswer, UnixTime, Versions,
};

/// The utility's own name.
const PEER: &str = "5a0c1234-31f8-41b4-a222-0800cafe0002";
/// Without an answer for so long the failsafe limit holds, s.
const LOST_AFTER_S: i64 = 120;
/// What holds then, and below which no limit goes, W.
const FAILSAFE_W: u32 = 4200;
/// Limits begin later by a part of this, s.
const RANDOMISE_S: u16 = 600;
/// Between reports, s: the default of the utility's server.
const REPORT_S: i64 = 300;
/// The home's place in that period, s.
const REPORT_PHASE_S: i64 = 137;
/// Until an answer is there, s, and until none is waited for any more.
const ANSWER_S: i64 = 1;
const PATIENCE_S: i64 = 20;
/// Until a control must not be begun any more, s.
const CONTROL_S: i64 = 900;

/// See the module.
#[derive(Debug)]
pub(super) struct Utility {
    limits: Vec<Limit>,
    version: u64,
    /// Controls whose end is not known yet.
    controls: Vec<Control>,
    last_event: u64,
    lost_until: i64,
    poll: Option<(Poll, i64)>,
    report: Option<(u64, i64)>,
    number: u64,
    /// Messages of the home's since the last block of numbers.
    pub(super) messages: u64,
    /// What the home has been told.
    told: Vec<Limit>,
    heard: i64,
    engaged: bool,
    /// The home's process was told nothing yet.
    fresh: bool,
}

impl Utility {
    pub(super) fn new(at: i64) -> Self {
        Self {
            limits: Vec::new(),
            version: 1,
            controls: Vec::new(),
            last_event: 0,
            lost_until: 0,
            poll: None,
            report: None,
            number: 0,
            messages: 0,
            told: Vec::new(),
            heard: at,
            engaged: false,
            fresh: true,
        }
    }

    /// The way to it stands: what the key management centre has said.
    pub(super) fn link(at: i64) -> Input {
        let time = UnixTime::new(at as u64);
        let peer = Some(PEER.to_owned());
        Input::Link(Link { enrolled: true, peer, hindrance: None, policy: 1, time: Some(time) })
    }

    /// The home's process has ended and begun again.
    pub(super) fn restarted(&mut self, at: i64) {
        (self.poll, self.report) = (None, None);
        (self.fresh, self.heard) = (true, at);
    }

    /// It is not heard until then.
    pub(super) fn lose(&mut self, until: i64) {
        self.lost_until = self.lost_until.max(until);
    }

    fn next_event(&mut self) -> Result<EventId> {
        self.last_event += 1;
        EventId::new(self.last_event).context("an event's number")
    }

    /// It states another limit.
    pub(super) fn limit(&mut self, at: i64, start: i64, for_s: u32, watts: u32) -> Result<()> {
        let id = self.next_event()?;
        self.version += 1;
        self.limits.retain(|limit| limit.over().is_none_or(|over| over > UnixTime::new(at as u64)));
        self.limits.push(Limit {
            id,
            supersedes: None,
            start: UnixTime::new(start as u64),
            duration_s: Some(for_s),
            watts: Watts::new(watts),
            priority: 0,
            randomise_s: RANDOMISE_S,
            cancelled: false,
        });
        Ok(())
    }

    /// It orders an appliance.
    pub(super) fn control(&mut self, at: i64, appliance: &str, action: PowerState) -> Result<()> {
        let (id, appliance) = (self.next_event()?, appliance.parse().context("an appliance's name")?);
        self.controls.push(Control { id, appliance, action, expires: UnixTime::new((at + CONTROL_S) as u64) });
        Ok(())
    }

    /// Whether a control is on its way or being carried out.
    pub(super) fn controls(&self) -> bool {
        !self.controls.is_empty()
    }

    /// The home asks.
    pub(super) fn ask(&mut self, question: Question, at: i64) {
        self.messages += 1;
        match question {
            Question::Poll(poll) => {
                if at >= self.lost_until {
                    let over = |id: EventId| {
                        let mut ends = poll.outcomes.iter().filter(|o| o.id == id).map(|o| &o.kind);
                        ends.any(|kind| !matches!(kind, OutcomeKind::Received | OutcomeKind::Started))
                    };
                    self.controls.retain(|control| !over(control.id));
                }
                let until = at + i64::from(poll.wait_s);
                self.poll = Some((poll, until));
            }
            Question::Report { batch, .. } => self.report = Some((batch, at)),
            // Prices come by a file.
            Question::Fetch(_) => {}
        }
    }

    fn has_news(&self, poll: &Poll) -> bool {
        poll.have.limits != self.version || !self.controls.is_empty()
    }

    /// When its next answer is due.
    pub(super) fn due(&self, at: i64) -> Option<i64> {
        let wait = |asked: i64| if asked < self.lost_until { asked + PATIENCE_S } else { asked + ANSWER_S };
        let poll = self.poll.as_ref().map(|(poll, until)| {
            let held = if self.has_news(poll) && at >= self.lost_until { at } else { *until };
            // What is held when it is lost never comes.
            wait(held)
        });
        poll.into_iter().chain(self.report.map(|(_, asked)| wait(asked))).min().map(|due| due.max(at + 1))
    }

    /// What comes now.
    pub(super) fn answers(&mut self, at: i64) -> Result<Vec<Input>> {
        let mut answers = Vec::new();
        let lost = at < self.lost_until;
        if let Some((poll, until)) = self.poll.take() {
            let news = self.has_news(&poll);
            if lost && at >= until + PATIENCE_S {
                answers.push(Input::Polled(Err(Failure::NoAnswer("no answer".into()))));
            } else if !lost && (news || at >= until) {
                self.heard = at;
                let set = LimitSet {
                    target: None,
                    version: self.version,
                    limits: self.limits.clone().try_into().unwrap_or_else(|_| utility_wire::List::empty()),
                };
                let limits = (poll.have.limits != self.version).then_some(set);
                if limits.is_some() {
                    self.told.clone_from(&self.limits);
                    self.engaged |= !self.told.is_empty();
                }
                self.fresh = false;
                answers.push(self.counted());
                answers.push(Input::Polled(Ok(Command {
                    current: Versions { prices: 0, limits: self.version, policy: 1 },
                    limits,
                    controls: utility_wire::List::fill(self.controls.clone()),
                    poll_after_s: 0,
                    zone: "BE".parse().context("a zone")?,
                })));
            } else {
                self.poll = Some((poll, until));
            }
        }
        if let Some((batch, asked)) = self.report.take() {
            if !lost && at >= asked + ANSWER_S {
                let next = (at - REPORT_PHASE_S).div_euclid(REPORT_S) * REPORT_S + REPORT_S + REPORT_PHASE_S;
                let answer = ReportAnswer { batch, state: BatchState::Stored, report_after_s: (next - at) as u32 };
                answers.push(self.counted());
                answers.push(Input::Reported { batch, result: Ok(answer) });
            } else if lost && at >= asked + PATIENCE_S {
                let result = Err(Failure::NoAnswer("no answer".into()));
                answers.push(Input::Reported { batch, result });
            } else {
                self.report = Some((batch, asked));
            }
        }
        Ok(answers)
    }

    /// The numbers taken from it, after one more.
    fn counted(&mut self) -> Input {
        self.number += 1;
        let mut window = [0xff; 24];
        window[..8].copy_from_slice(&self.number.to_be_bytes());
        Input::Window(window)
    }

    /// What the home may draw by what it was told, W.
    pub(super) fn cap(&self, at: i64) -> Option<u32> {
        let unix = UnixTime::new(at as u64);
        let holds = |limit: &&Limit| {
            let (start, end) = limit.window(HOME);
            start <= unix && end.is_none_or(|end| unix < end)
        };
        let limit = self.told.iter().rfind(holds).map(|limit| limit.watts.count().max(FAILSAFE_W));
        let failsafe = self.engaged && (self.fresh || at - self.heard >= LOST_AFTER_S);
        if failsafe { Some(limit.unwrap_or(FAILSAFE_W).min(FAILSAFE_W)) } else { limit }
    }
}
