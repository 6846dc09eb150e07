//! A simulated appliance: the real agent core, and around it what the machine, logind and the operation would do.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use energy_model::{MacAddress, PowerState, WakeMethod};
use http::Response;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use psm_agent::agent::{Agent, Effect, RequestNumber, Wake};
use psm_agent::commands::{Circumstances, CommandId};
use psm_agent::config::Config;
use psm_agent::device::Identity;
use psm_agent::gateway_link::{RequestAnswer, Ticket};
use psm_agent::limits::LAST_EVENT_WITHIN;
use psm_agent::safety::{ActiveSession, Inhibitor, Supply};
use psm_agent::schedule::Wall;
use psm_agent::state::{Fact, Observation, Operation, Source};
use psm_agent::store::Saved;
use testkit::network::ReplyTo;
use upnp::net::{Datagram, HttpAnswer, IncomingRequest, Interface};
use upnp::time::{BootTime, earliest};

pub(crate) const HTTP_PORT: u16 = 49_152;
/// logind's InhibitDelayMaxSec.
const INHIBIT_DELAY_MAX: Duration = Duration::from_secs(5);

/// The clock on the wall, which goes with the time since boot.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    pub(crate) booted_at: Timestamp,
    pub(crate) zone: TimeZone,
}

impl Calendar {
    pub(crate) fn at(&self, now: BootTime) -> Timestamp {
        self.booted_at + now.since_boot()
    }

    pub(crate) fn wall(&self, now: BootTime) -> Wall {
        Wall { at: self.at(now), zone: self.zone.clone() }
    }
}

/// What the machine is really doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Awake,
    Asleep,
    Off,
}

/// Where the machine is on its way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    ToSleep,
    ToOff,
}

#[derive(Clone, Debug)]
enum Task {
    Gathered(CommandId),
    Switched(CommandId, bool),
    Suspend(CommandId),
    Suspended(CommandId),
    Looked,
    DelayIsOver,
    Answered,
}

/// The machine with its disk: what outlives the agent's process.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) config: Config,
    pub(crate) mac: MacAddress,
    /// The network card wakes it.
    pub(crate) wakeable: bool,
    pub(crate) has_alarm: bool,
    pub(crate) calendar: Calendar,
    pub(crate) body: Body,
    pub(crate) operation: bool,
    pub(crate) inhibitor: bool,
    pub(crate) session: bool,
    pub(crate) busy: bool,
    pub(crate) operation_stuck: bool,
    pub(crate) suspend_fails: bool,
    /// Whether logind's signal comes before its reply; by chance where not set.
    pub(crate) signal_first: Option<bool>,
    pub(crate) alarm: Option<BootTime>,
    pub(crate) leaving: Option<(Leaving, BootTime)>,
    /// To be carried out by the house.
    pub(crate) departed: Option<Leaving>,
    pub(crate) lock_held: bool,
    /// The lock was released on the agent's own account; the house checks that the last event was heard.
    pub(crate) released_early: bool,
    /// How often an order of the agent changed something.
    pub(crate) changes_by_order: u32,
    /// What was so, and since when.
    pub(crate) history: Vec<(BootTime, PowerState)>,
    disk: Saved,
    boot_id: u32,
    starts: u64,
    rng: fastrand::Rng,
}

impl Machine {
    pub(crate) fn new(name: &str, n: u8, config: Config, calendar: Calendar, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            uuid: format!("{n:08x}-aaaa-4aaa-8aaa-aaaaaaaaaaaa"),
            config,
            mac: MacAddress::new([2, 0, 0, 0, 0, n]).expect("a unicast address"),
            wakeable: true,
            has_alarm: false,
            calendar,
            body: Body::Off,
            operation: true,
            inhibitor: false,
            session: false,
            busy: false,
            operation_stuck: false,
            suspend_fails: false,
            signal_first: None,
            alarm: None,
            leaving: None,
            departed: None,
            lock_held: false,
            released_early: false,
            changes_by_order: 0,
            history: Vec::new(),
            disk: Saved::default(),
            boot_id: 0,
            starts: 0,
            rng: fastrand::Rng::with_seed(seed ^ u64::from(n) << 32),
        }
    }

    /// The state as a person in the room would name it.
    pub(crate) fn truth(&self) -> PowerState {
        match self.body {
            Body::Asleep => PowerState::Standby,
            Body::Off => PowerState::Off,
            Body::Awake if self.operation => PowerState::On,
            Body::Awake => PowerState::Off,
        }
    }

    /// Whether that was its state at some moment since then.
    pub(crate) fn has_been(&self, state: PowerState, since: BootTime) -> bool {
        let ends = self.history.iter().skip(1).map(|(at, _)| *at).chain([BootTime::from_duration(Duration::MAX)]);
        self.history.iter().zip(ends).any(|((_, s), end)| *s == state && end >= since)
    }

    /// Whether it was awake at some moment since then.
    pub(crate) fn was_awake(&self, since: BootTime) -> bool {
        let ends = self.history.iter().skip(1).map(|(at, _)| *at).chain([BootTime::from_duration(Duration::MAX)]);
        // Being off with the power on counts as awake and cannot be told from the state alone.
        let up = |s: PowerState| s != PowerState::Standby;
        self.body == Body::Awake || self.history.iter().zip(ends).any(|((_, s), end)| up(*s) && end >= since)
    }

    pub(crate) fn note(&mut self, now: BootTime) {
        let truth = self.truth();
        if self.history.last().is_none_or(|(_, last)| *last != truth) {
            self.history.push((now, truth));
        }
    }

    fn wake(&self) -> Wake {
        let method = if self.wakeable { WakeMethod::Wol } else { WakeMethod::None };
        Wake { method: Some(method), mac: Some(self.mac), interface: Some("eth0".into()), alarm: self.has_alarm }
    }

    fn circumstances(&self) -> Circumstances {
        let lock = Inhibitor {
            what: "shutdown:sleep".into(),
            who: "Recorder".into(),
            why: "recording".into(),
            mode: "block".into(),
        };
        Circumstances {
            inhibitors: Ok(if self.inhibitor { vec![lock] } else { vec![] }),
            sessions: Ok(if self.session {
                vec![ActiveSession { id: "1".into(), user: "ada".into() }]
            } else {
                vec![]
            }),
            busy: Ok(if self.busy { vec!["backup.service".into()] } else { vec![] }),
            possible: Ok("yes".into()),
            supply: Supply::default(),
        }
    }

    fn seen(&self) -> Operation {
        if self.operation { Operation::On } else { Operation::Off }
    }
}

/// The machine with its agent.
pub(crate) struct Appliance {
    pub(crate) machine: Machine,
    agent: Option<Agent>,
    tasks: BTreeMap<(BootTime, u64), Task>,
    next: u64,
    asked: BTreeMap<RequestNumber, ReplyTo>,
    responses: VecDeque<(ReplyTo, Response<Bytes>)>,
    pub(crate) tickets: BTreeMap<Ticket, Option<RequestAnswer>>,
    now: BootTime,
}

impl Appliance {
    /// The machine with a fresh process of the agent, which goes on with what is on disk.
    pub(crate) fn start(mut machine: Machine, now: BootTime) -> Self {
        machine.body = Body::Awake;
        (machine.leaving, machine.departed, machine.released_early) = (None, None, false);
        machine.starts += 1;
        machine.boot_id += 1;
        machine.lock_held = true;
        let identity = Identity {
            uuid: machine.uuid.clone(),
            boot_id: machine.boot_id,
            http_port: HTTP_PORT,
            host_name: machine.name.clone(),
            system: "Linux/6.1".into(),
            seed: machine.rng.u64(..),
        };
        let saved = machine.disk.clone();
        let agent = Agent::new(&machine.config, &identity, saved, machine.seen(), machine.calendar.wall(now), now);
        let mut agent = agent.expect("a UUID");
        agent.handle_wake(machine.wake());
        agent.handle_reading(None, Supply::default(), now);
        machine.note(now);
        Self {
            machine,
            agent: Some(agent),
            tasks: BTreeMap::new(),
            next: 0,
            asked: BTreeMap::new(),
            responses: VecDeque::new(),
            tickets: BTreeMap::new(),
            now,
        }
    }

    pub(crate) fn agent(&self) -> Option<&Agent> {
        self.agent.as_ref()
    }

    pub(crate) fn agent_mut(&mut self) -> Option<&mut Agent> {
        self.agent.as_mut()
    }

    /// The machine has gone off, or the process has ended.
    pub(crate) fn end_process(&mut self) {
        self.agent = None;
        self.tasks.clear();
        self.asked.clear();
    }

    fn fact(&mut self, source: Source, what: Observation, now: BootTime) {
        self.now = now;
        if let Some(agent) = &mut self.agent {
            agent.handle_fact(Fact::new(now, source, what), now);
        }
    }

    /// The lid is closed, the power button pressed, or logind was asked.
    pub(crate) fn leave(&mut self, where_to: Leaving, now: BootTime) {
        if self.machine.body != Body::Awake || self.machine.leaving.is_some() {
            return;
        }
        self.machine.leaving = Some((where_to, now));
        let what = match where_to {
            Leaving::ToSleep => Observation::SleepBegins,
            Leaving::ToOff => Observation::ShutdownBegins,
        };
        self.fact(Source::Logind, what, now);
        if !self.machine.lock_held || self.agent.is_none() {
            self.machine.departed = Some(where_to);
        }
        self.later(INHIBIT_DELAY_MAX, Task::DelayIsOver);
    }

    /// The machine runs again.
    pub(crate) fn resume(&mut self, now: BootTime) {
        self.machine.body = Body::Awake;
        (self.machine.leaving, self.machine.departed, self.machine.alarm) = (None, None, None);
        self.machine.note(now);
        self.tasks.retain(|_, task| !matches!(task, Task::DelayIsOver));
        self.fact(Source::Logind, Observation::SleepEnds, now);
    }

    /// Somebody turns the knob.
    pub(crate) fn switch_by_hand(&mut self, on: bool, now: BootTime) {
        self.machine.operation = on;
        self.machine.note(now);
        self.fact(Source::Operation, Observation::Operation(self.machine.seen()), now);
    }

    fn later(&mut self, after: Duration, task: Task) {
        self.next += 1;
        self.tasks.insert((self.now + after, self.next), task);
    }

    fn soon(&mut self, task: Task) {
        let ms = self.machine.rng.u64(1..60);
        self.later(Duration::from_millis(ms), task);
    }

    fn carry_out(&mut self, task: Task, now: BootTime) {
        let Some(agent) = &mut self.agent else { return };
        match task {
            Task::Gathered(id) => agent.handle_circumstances(id, self.machine.circumstances(), now),
            Task::Switched(id, _) if self.machine.operation_stuck => {
                agent.handle_switched(id, Err("the motor is stuck".into()), now);
            }
            Task::Switched(id, on) => {
                self.machine.changes_by_order += 1;
                self.machine.operation = on;
                self.machine.note(now);
                agent.handle_switched(id, Ok(self.machine.seen()), now);
            }
            Task::Suspend(id) if self.machine.suspend_fails => {
                agent.handle_suspended(id, Err("the kernel refused".into()), now);
            }
            Task::Suspend(id) => {
                self.machine.changes_by_order += 1;
                // The bus gives signal and reply in either order.
                if self.machine.signal_first.unwrap_or_else(|| self.machine.rng.bool()) {
                    self.leave(Leaving::ToSleep, now);
                    self.soon(Task::Suspended(id));
                } else {
                    agent.handle_suspended(id, Ok(()), now);
                    self.leave(Leaving::ToSleep, now);
                }
            }
            Task::Suspended(id) => agent.handle_suspended(id, Ok(()), now),
            Task::Looked => self.fact(Source::Operation, Observation::Operation(self.machine.seen()), now),
            Task::DelayIsOver => {
                if let Some((where_to, _)) = self.machine.leaving {
                    self.machine.departed = Some(where_to);
                }
            }
            Task::Answered => {
                if self.machine.leaving.is_none() {
                    self.fact(Source::Logind, Observation::SleepEnds, now);
                }
            }
        }
    }

    pub(crate) fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime) {
        self.now = now;
        if let Some(agent) = &mut self.agent {
            agent.handle_interfaces(interfaces, now);
        }
    }

    pub(crate) fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime) {
        self.now = now;
        if let Some(agent) = &mut self.agent {
            agent.handle_datagram(datagram, now);
        }
    }

    pub(crate) fn handle_request(&mut self, request: &IncomingRequest, id: ReplyTo, now: BootTime) {
        self.now = now;
        let Some(agent) = &mut self.agent else { return };
        self.next += 1;
        let number = RequestNumber(self.next);
        self.asked.insert(number, id);
        agent.handle_request(request, number, now);
    }

    pub(crate) fn handle_answer(&mut self, answer: HttpAnswer, now: BootTime) {
        self.now = now;
        if let Some(agent) = &mut self.agent {
            agent.handle_answer(answer, now);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: BootTime) {
        self.now = now;
        while let Some(entry) = self.tasks.first_entry().filter(|e| e.key().0 <= now) {
            let task = entry.remove();
            self.carry_out(task, now);
        }
        if let Some(agent) = &mut self.agent
            && agent.poll_timeout().is_some_and(|at| at <= now)
        {
            agent.handle_timeout(now);
        }
    }

    pub(crate) fn poll_effect(&mut self) -> Option<upnp::Effect> {
        while let Some(effect) = self.agent.as_mut()?.poll_effect() {
            match effect {
                Effect::Net(effect) => return Some(effect),
                Effect::Answer(number, response) => {
                    if let Some(id) = self.asked.remove(&number) {
                        self.responses.push_back((id, response));
                    }
                }
                Effect::Reply(ticket, answer) => {
                    let before = self.tickets.insert(ticket, Some(answer));
                    assert_eq!(before, Some(None), "{}: {ticket:?} answered once", self.machine.name);
                }
                Effect::Store => {
                    self.machine.disk = self.agent.as_mut()?.saved();
                    self.machine.boot_id = self.agent.as_ref()?.boot_id();
                    self.agent.as_mut()?.handle_stored(Ok(()), self.now);
                }
                Effect::Gather(id, _) => self.soon(Task::Gathered(id)),
                Effect::Switch(id, on) => self.soon(Task::Switched(id, on)),
                Effect::Suspend(id) => self.soon(Task::Suspend(id)),
                Effect::Look => self.soon(Task::Looked),
                Effect::LookAtLinks => {
                    let wake = self.machine.wake();
                    self.agent.as_mut()?.handle_wake(wake);
                }
                Effect::Read => self.agent.as_mut()?.handle_reading(None, Supply::default(), self.now),
                Effect::AskWhetherAsleep => self.soon(Task::Answered),
                Effect::SetAlarm(ahead) => self.machine.alarm = Some(self.now + ahead),
                Effect::ClearAlarm => self.machine.alarm = None,
                Effect::TakeDelayLock => self.machine.lock_held = true,
                Effect::ReleaseDelayLock => self.released(),
            }
        }
        None
    }

    fn released(&mut self) {
        self.machine.lock_held = false;
        if let Some((where_to, begun)) = self.machine.leaving
            && self.machine.departed.is_none()
        {
            self.machine.departed = Some(where_to);
            self.machine.released_early = self.now.since(begun) < LAST_EVENT_WITHIN;
        }
    }

    pub(crate) fn poll_response(&mut self) -> Option<(ReplyTo, Response<Bytes>)> {
        self.responses.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<BootTime> {
        let agent = self.agent.as_ref()?.poll_timeout();
        earliest(agent, self.tasks.keys().next().map(|(at, _)| *at))
    }
}
