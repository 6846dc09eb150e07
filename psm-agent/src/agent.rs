//! The agent without IO (PURE): joins the power state, the schedule, the device and the link to the gateway.
//!
//! In: facts about the machine, requests, datagrams, outcomes, the time. Out: [`Effect`]s, which `app.rs` carries out. The order
//! of effects counts: what must be on disk is written before the answer that relies on it, and the delay lock is released
//! only after the last event was delivered or its time ran out.
#![forbid(unsafe_code)]

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use energy_model::{CallerId, MacAddress, WakeMethod, Watts};
use energy_services::Refusal;
use energy_services::appliance_info::LastRefusal;
use http::Response;
use jiff::Timestamp;
use upnp::ids::{NameError, Udn};
use upnp::net::{Datagram, HttpAnswer, IncomingRequest, Interface, Owner};
use upnp::time::{BootTime, earliest};

use crate::commands::{Command, CommandId, Expected, Unstored};
use crate::config::{Appliance, Config, DriverKind};
use crate::device::{Device, Identity, Incoming};
use crate::gateway_link::{GatewayLink, RequestAnswer, RequestError, Ticket, Wish};
use crate::limits::{
    ENERGY_STORED_EVERY, GATEWAY_WAKES_WITHIN, HISTORY_MAX, LAST_EVENT_WITHIN, METER_EVERY, SLEEP_DOUBTED_EVERY,
    STORE_LATE,
};
use crate::meter::{self, Meter};
use crate::page;
use crate::safety::{Order, Rules, Supply};
use crate::schedule::{self, Schedule, Wall};
use crate::state::{Change, Fact, Observation, Operation, Source, StateMachine};
use crate::status::{EventRecord, RefusalRecord, SourceStatus, rfc3339};
use crate::store::{LastState, Saved};

/// Names a request that is answered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestNumber(pub u64);

/// An order to `app.rs`.
#[derive(Debug)]
pub enum Effect {
    /// To the network driver.
    Net(upnp::Effect),
    /// Answer a request.
    Answer(RequestNumber, Response<Bytes>),
    /// Answer a request of the command line.
    Reply(Ticket, RequestAnswer),
    /// Write [`Agent::saved`], and tell what came of it by [`Agent::handle_stored`] before the next order is taken: answers
    /// that rely on it follow only then.
    Store,
    /// Gather what an order is judged by: [`Agent::handle_circumstances`].
    Gather(CommandId, Order),
    /// Switch the operation: [`Agent::handle_switched`].
    Switch(CommandId, bool),
    /// Let logind suspend: [`Agent::handle_suspended`].
    Suspend(CommandId),
    /// Look at the operation; what is seen is a [`Fact`].
    Look,
    /// Ask the network drivers again: [`Agent::handle_wake`].
    LookAtLinks,
    /// Read meter and power supplies: [`Agent::handle_reading`].
    Read,
    /// Ask logind whether the machine sleeps; if not, that is a [`Fact`].
    AskWhetherAsleep,
    /// Set the wake alarm to so long from now.
    SetAlarm(Duration),
    /// Clear it.
    ClearAlarm,
    /// Take logind's delay lock, if it is not held.
    TakeDelayLock,
    /// Release it: the machine may sleep or go down.
    ReleaseDelayLock,
}

/// How the machine can be woken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// By the network.
    pub method: Option<WakeMethod>,
    /// The address a magic packet names.
    pub mac: Option<MacAddress>,
    /// The link it belongs to.
    pub interface: Option<String>,
    /// There is a clock with an alarm.
    pub alarm: bool,
}

/// The last event is being delivered before the machine sleeps or goes down.
#[derive(Debug)]
struct Drain {
    until: BootTime,
    expired: bool,
}

/// Since when the appliance works (ON) or does not.
#[derive(Debug)]
struct Worked {
    working: bool,
    since: BootTime,
    /// Time before this process began, as far as it is known.
    before: Duration,
}

/// The agent.
#[derive(Debug)]
pub struct Agent {
    pub(crate) state: StateMachine,
    pub(crate) schedule: Schedule,
    pub(crate) device: Device,
    pub(crate) gateway: GatewayLink,
    pub(crate) rules: Rules,
    pub(crate) appliance: Appliance,
    pub(crate) wake: Wake,
    pub(crate) supply: Supply,
    pub(crate) meter: Meter,
    pub(crate) off_is_power_off: bool,
    pub(crate) commands: BTreeMap<CommandId, Command>,
    pub(crate) next_command: u64,
    pub(crate) expected: Option<Expected>,
    /// How long a LowPowerDevice:1 caller wants the next sleep to last.
    pub(crate) sleep_for: Option<Duration>,
    pub(crate) events: VecDeque<EventRecord>,
    pub(crate) refusals: VecDeque<RefusalRecord>,
    pub(crate) effects: VecDeque<Effect>,
    /// Answers that rely on the next [`Effect::Store`].
    pub(crate) unstored: Vec<Unstored>,
    pub(crate) now: BootTime,
    /// What the operation driver drives, for people.
    pub(crate) driver: String,
    pub(crate) sources: Vec<SourceStatus>,
    worked: Worked,
    has_meter: bool,
    interfaces: Vec<Interface>,
    drain: Option<Drain>,
    doubt_at: Option<BootTime>,
    read_at: BootTime,
    energy_stored_at: BootTime,
    store_at: Option<BootTime>,
    stored_mark: u32,
    stopping: Option<Drain>,
}

impl Agent {
    /// An agent that goes on with what was saved. `operation` is the first look at it.
    ///
    /// # Errors
    /// The identity is no UUID.
    pub fn new(
        config: &Config,
        identity: &Identity,
        saved: Saved,
        operation: Operation,
        wall: Wall,
        now: BootTime,
    ) -> Result<Self, NameError> {
        let udn = Udn::parse(&format!("uuid:{}", identity.uuid))?;
        let own: CallerId = udn.bare().parse().map_err(|_| NameError::Form("a UUID that may name a caller"))?;
        let mut state = StateMachine::new(now);
        state.handle_fact(Fact::new(now, Source::Operation, Observation::Operation(operation)));
        while state.poll_change().is_some() {}
        let working = state.state() == energy_model::PowerState::On;
        let same = saved.last_state.filter(|l| (l.state == energy_model::PowerState::On) == working);
        let before = same.and_then(|l| wall.at.duration_since(l.since).try_into().ok()).unwrap_or(Duration::ZERO);
        let power = meter::expected(&config.appliance, state.state());
        let gateway = GatewayLink::new(
            own,
            identity.product(),
            identity.http_port,
            config.network.gateways.clone(),
            (saved.wishes, saved.gateways),
            identity.seed.rotate_left(32),
            now,
        );
        let mut agent = Self {
            device: Device::new(config, identity, udn, now),
            schedule: Schedule::new(saved.reg_id_mark, saved.registrations, wall, now),
            gateway,
            rules: config.rules(),
            appliance: config.appliance.clone(),
            wake: Wake::default(),
            supply: Supply::default(),
            meter: Meter::new(saved.watt_ms, power, now),
            off_is_power_off: config.operation.driver == DriverKind::Machine,
            commands: BTreeMap::new(),
            next_command: 0,
            expected: None,
            sleep_for: None,
            events: VecDeque::new(),
            refusals: VecDeque::new(),
            effects: VecDeque::new(),
            unstored: Vec::new(),
            now,
            driver: String::new(),
            sources: Vec::new(),
            worked: Worked { working, since: now, before },
            has_meter: config.appliance.power_meter.is_some(),
            interfaces: Vec::new(),
            drain: None,
            doubt_at: None,
            read_at: now,
            energy_stored_at: now,
            store_at: None,
            stored_mark: saved.reg_id_mark,
            stopping: None,
            state,
        };
        agent.gateway.set_configured(wishes(config), now);
        agent.set_variables(now);
        // The state now is the first thing known after a start; a crash before the next change must not lose it.
        agent.store_late(now);
        Ok(agent)
    }

    /// The configuration was read again; what cannot change while it runs is left as it is.
    pub fn handle_config(&mut self, config: &Config, now: BootTime) {
        self.now = now;
        self.rules = config.rules();
        self.appliance = config.appliance.clone();
        self.has_meter = config.appliance.power_meter.is_some();
        self.gateway.set_configured(wishes(config), now);
        // Below which charge a battery is low may be another now.
        self.device.set_supply(self.supply, self.battery_low(), now);
        if !self.has_meter {
            self.set_power(meter::expected(&self.appliance, self.state.state()), now);
        }
        self.effects.push_back(Effect::Read);
        self.after(now);
    }

    /// The wall clock or its zone changed.
    pub fn handle_wall(&mut self, wall: Wall, now: BootTime) {
        self.now = now;
        self.schedule.handle_wall(wall, now);
        self.after(now);
    }

    /// The network interfaces as they are now.
    pub fn handle_interfaces(&mut self, interfaces: &[Interface], now: BootTime) {
        self.now = now;
        self.interfaces = interfaces.to_vec();
        self.device.handle_interfaces(interfaces, now);
        self.gateway.handle_interfaces(interfaces, now);
        self.effects.push_back(Effect::LookAtLinks);
        self.after(now);
    }

    /// A datagram.
    pub fn handle_datagram(&mut self, datagram: &Datagram, now: BootTime) {
        self.now = now;
        self.device.handle_datagram(datagram, now);
        self.gateway.handle_datagram(datagram, now);
        self.after(now);
    }

    /// The answer to a request of ours.
    pub fn handle_answer(&mut self, answer: HttpAnswer, now: BootTime) {
        self.now = now;
        match answer.id.owner {
            Owner::Device => self.device.handle_answer(answer, now),
            Owner::ControlPoint => self.gateway.handle_answer(answer, now),
        }
        self.after(now);
    }

    /// A request; its answer is an [`Effect::Answer`], at once or later.
    pub fn handle_request(&mut self, request: &IncomingRequest, number: RequestNumber, now: BootTime) {
        self.now = now;
        let answer = match self.device.handle_request(request, now) {
            Incoming::Answered(response) => Some(response),
            Incoming::Page => Some(crate::device::page(page::html(&self.status()))),
            Incoming::NotMine => {
                let answer = self.gateway.handle_request(request, now);
                Some(answer.unwrap_or_else(upnp::device::not_found))
            }
            Incoming::Asked(asked, call) => self.handle_call(asked, call, number, now),
        };
        if let Some(response) = answer {
            self.effects.push_back(Effect::Answer(number, response));
        }
        self.after(now);
    }

    /// A wish of the command line; answered by [`Effect::Reply`].
    ///
    /// # Errors
    /// No room.
    pub fn handle_wish(&mut self, wish: Wish, ticket: Ticket, now: BootTime) -> Result<(), RequestError> {
        self.now = now;
        let result = self.gateway.request(wish, ticket, now);
        self.after(now);
        result
    }

    /// The command line withdraws a registration at a gateway; answered by [`Effect::Reply`].
    ///
    /// # Errors
    /// Unknown number, or one of the configuration.
    pub fn handle_wish_withdrawn(&mut self, number: u32, ticket: Ticket, now: BootTime) -> Result<(), RequestError> {
        self.now = now;
        let result = self.gateway.withdraw(number, ticket, now);
        self.after(now);
        result
    }

    /// A fact about the machine or the operation.
    pub fn handle_fact(&mut self, fact: Fact, now: BootTime) {
        self.now = now;
        let before = (self.state.is_asleep(), self.state.is_going_down());
        self.state.handle_fact(fact);
        let after = (self.state.is_asleep(), self.state.is_going_down());
        if before.0 && !after.0 {
            self.wakes(now);
        }
        if before.1 && !after.1 {
            self.stays_up(now);
        }
        while let Some(change) = self.state.poll_change() {
            self.take_change(&change, now);
        }
        if (!before.0 && after.0) || (!before.1 && after.1) {
            self.goes_away(after.0 && !before.0, now);
        }
        let may_have_returned = before != (false, false) || fact.source == Source::Logind;
        // Until logind has called its own sleep off it refuses the lock.
        if may_have_returned && after == (false, false) && !self.state.logind_says_asleep() {
            self.effects.push_back(Effect::TakeDelayLock);
        }
        self.after(now);
    }

    /// How the machine can be woken, read anew.
    pub fn handle_wake(&mut self, wake: Wake) {
        self.wake = wake;
    }

    /// What it works through, for people: what it drives, and the state of its sources.
    pub fn handle_sources(&mut self, driver: String, sources: Vec<SourceStatus>) {
        self.driver = driver;
        self.sources = sources;
    }

    /// Links changed (netlink). They do when a machine wakes: if it should be asleep by logind's word, logind is asked at once.
    /// They also do before a sleep (network managers take them down), so the change alone says nothing.
    pub fn handle_links_changed(&mut self) {
        if self.state.is_asleep() && !self.state.kernel_says_asleep() && !self.is_leaving() {
            self.effects.push_back(Effect::AskWhetherAsleep);
        }
    }

    /// Meter and power supplies were read; no power where there is no meter.
    pub fn handle_reading(&mut self, power: Option<Watts>, supply: Supply, now: BootTime) {
        self.now = now;
        if let Some(power) = power {
            self.set_power(power, now);
        }
        self.set_supply(supply, now);
        self.after(now);
    }

    /// The service manager ends the agent. `machine_goes_down`: it ends everything else too.
    pub fn handle_stop(&mut self, machine_goes_down: bool, now: BootTime) {
        if machine_goes_down && !self.state.is_going_down() {
            self.handle_fact(Fact::new(now, Source::ServiceManager, Observation::ShutdownBegins), now);
        }
        self.now = now;
        self.stopping = Some(Drain { until: now + LAST_EVENT_WITHIN, expired: false });
        self.gateway.stop(now);
        self.effects.push_back(Effect::Store);
    }

    /// Whether all goodbyes are said.
    pub fn is_done(&self) -> bool {
        // A byebye is said more than once, some hundred milliseconds apart.
        let silent = self.device.is_stopped() && self.device.poll_timeout().is_none();
        self.stopping.is_some() && silent && self.gateway.idle() && self.effects.is_empty()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: BootTime) {
        self.now = now;
        self.device.handle_timeout(now);
        self.gateway.handle_timeout(now);
        self.schedule.handle_timeout(now);
        for drain in [&mut self.drain, &mut self.stopping].into_iter().flatten() {
            drain.expired |= drain.until <= now;
        }
        if self.doubt_at.is_some_and(|at| at <= now) {
            self.doubt_at = Some(now + SLEEP_DOUBTED_EVERY);
            self.doubt_sleep(now);
        }
        if let Some(expected) = self.expected.take_if(|e| e.until <= now) {
            self.handle_no_announcement(expected, now);
        }
        if self.read_at <= now {
            self.read_at = now + METER_EVERY;
            self.effects.push_back(Effect::Read);
        }
        if self.store_at.is_some_and(|at| at <= now) || self.energy_stored_at + ENERGY_STORED_EVERY <= now {
            self.effects.push_back(Effect::Store);
            self.energy_stored_at = now;
        }
        self.after(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        let drains = [&self.drain, &self.stopping].into_iter().flatten().filter(|d| !d.expired).map(|d| d.until).min();
        let own = [
            drains,
            self.doubt_at,
            self.expected.as_ref().map(|e| e.until),
            self.store_at,
            Some(self.read_at),
            Some(self.energy_stored_at + ENERGY_STORED_EVERY),
        ];
        let parts = [self.device.poll_timeout(), self.gateway.poll_timeout(), self.schedule.poll_timeout()];
        own.into_iter().chain(parts).fold(None, earliest)
    }

    /// The next order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        loop {
            // What tells that the machine goes goes first: the kernel does not wait for a write to disk.
            if self.is_leaving()
                && let Some(effect) = self.device.poll_effect()
            {
                return Some(Effect::Net(effect));
            }
            if let Some(effect) = self.effects.pop_front() {
                if matches!(effect, Effect::Store) {
                    self.store_at = None;
                }
                return Some(effect);
            }
            let net = self.device.poll_effect().or_else(|| self.gateway.poll_effect());
            if let Some(effect) = net {
                return Some(Effect::Net(effect));
            }
            let pending = self.device.events_pending();
            let delivered = |drain: &Drain| drain.expired || !pending;
            if self.drain.as_ref().is_some_and(delivered) {
                if self.state.is_going_down() && !self.device.is_stopped() {
                    self.device.stop(self.now);
                    continue;
                }
                if pending {
                    tracing::warn!("the last event is not delivered everywhere, time is up");
                }
                self.drain = None;
                return Some(Effect::ReleaseDelayLock);
            }
            if self.stopping.as_ref().is_some_and(delivered) && !self.device.is_stopped() {
                self.device.stop(self.now);
                continue;
            }
            return None;
        }
    }

    /// What came of an [`Effect::Store`], or of trying it again: what relied on it is answered, or taken back where the disk
    /// is full or refuses.
    pub fn handle_stored(&mut self, result: Result<(), &str>, now: BootTime) {
        self.now = now;
        if result.is_ok() {
            self.stored_mark = self.schedule.mark();
        }
        let mut answers = Vec::new();
        for unstored in core::mem::take(&mut self.unstored) {
            answers.push(self.settle(unstored, result, now));
        }
        // Before what was ordered behind the write, in the order of the calls.
        for (number, response) in answers.into_iter().rev() {
            self.effects.push_front(Effect::Answer(number, response));
        }
        self.after(now);
    }

    /// What must survive a restart.
    pub fn saved(&mut self) -> Saved {
        let (wishes, gateways) = self.gateway.stored();
        let held = self.held_for(self.now);
        let since = self.schedule.wall_at(self.now);
        let since =
            jiff::SignedDuration::try_from(held).ok().and_then(|held| since.checked_sub(held).ok()).unwrap_or(since);
        // Whole seconds, so that an unchanged state writes the same bytes and then nothing.
        let since = Timestamp::from_second(since.as_second()).unwrap_or(since);
        Saved {
            reg_id_mark: self.schedule.mark(),
            registrations: self.schedule.registrations().cloned().collect(),
            wishes,
            gateways,
            last_state: Some(LastState { state: self.state.state(), since }),
            watt_ms: self.meter.watt_ms_at(self.now),
            ..Saved::default()
        }
    }

    /// Whether the machine is asleep or about to be.
    pub fn is_asleep(&self) -> bool {
        self.state.is_asleep()
    }

    /// Whether the last event before a sleep or the end is on its way.
    pub fn is_leaving(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether the machine is going down.
    pub fn is_going_down(&self) -> bool {
        self.state.is_going_down()
    }

    /// BOOTID.UPNP.ORG in force.
    pub fn boot_id(&self) -> u32 {
        self.device.boot_id()
    }

    /// The interface whose link wakes the machine, where the configuration names none.
    pub fn wake_interface(&self) -> Option<u32> {
        self.gateway.interface().or_else(|| self.interfaces.first().map(|i| i.id.0))
    }

    /// For how long it has been working, or not.
    pub(crate) fn held_for(&self, now: BootTime) -> Duration {
        now.since(self.worked.since).saturating_add(self.worked.before)
    }

    /// Keeps a refusal, tells it to all, and logs it.
    pub(crate) fn refused(&mut self, action: &'static str, by: &str, refusal: &Refusal, now: BootTime) {
        tracing::info!(action, by, kind = %refusal.kind, reason = refusal.reason, "refused");
        self.refusals.push_back(RefusalRecord {
            at: rfc3339(self.schedule.wall_at(now)),
            action: action.to_owned(),
            by: by.to_owned(),
            code: refusal.code().0,
            kind: refusal.kind,
            reason: refusal.reason.clone(),
        });
        while self.refusals.len() > HISTORY_MAX {
            self.refusals.pop_front();
        }
        self.device.set_last_refusal(Some(LastRefusal { action: action.to_owned(), refusal: refusal.clone() }), now);
    }

    /// Something changed that may be lost in a crash, but not for long.
    pub(crate) fn store_late(&mut self, now: BootTime) {
        self.store_at.get_or_insert(now + STORE_LATE);
    }

    /// RegIDs beyond the stored mark were given out: the mark must be on disk before they are told.
    pub(crate) fn mark_moved(&self) -> bool {
        self.schedule.mark() != self.stored_mark
    }

    pub(crate) fn battery_low(&self) -> bool {
        let low = |percent: u8| percent < self.rules.battery_percent_min;
        self.supply.on_battery && self.supply.percent.is_some_and(low)
    }

    /// After each input: what the parts have for one another.
    fn after(&mut self, now: BootTime) {
        while let Some(schedule::Effect::GoToStandby { reg_id }) = self.schedule.poll_effect() {
            self.begin_standby_period(reg_id, now);
        }
        while let Some((ticket, answer)) = self.gateway.poll_answer() {
            // What the person is told must still be so after a crash.
            self.effects.push_back(Effect::Store);
            self.effects.push_back(Effect::Reply(ticket, answer));
        }
        if self.gateway.changed() {
            self.store_late(now);
        }
    }

    fn take_change(&mut self, change: &Change, now: BootTime) {
        let Change { from, to, cause, .. } = change;
        tracing::info!(%from, %to, %cause, "power state");
        self.device.set_power_state(*to, now);
        self.events.push_back(EventRecord {
            at: rfc3339(self.schedule.wall_at(change.at)),
            from: *from,
            to: *to,
            cause: cause.to_string(),
        });
        while self.events.len() > HISTORY_MAX {
            self.events.pop_front();
        }
        let working = *to == energy_model::PowerState::On;
        if working != self.worked.working {
            self.worked = Worked { working, since: change.at, before: Duration::ZERO };
        }
        if !self.has_meter {
            self.set_power(meter::expected(&self.appliance, *to), now);
        } else if *to == energy_model::PowerState::Standby {
            // No meter is read while it sleeps.
            self.meter.set(meter::expected(&self.appliance, *to), now);
        }
        self.store_late(now);
    }

    /// The machine is about to sleep or to go down: the last event goes out, then the lock is released.
    fn goes_away(&mut self, to_sleep: bool, now: BootTime) {
        self.drain = Some(Drain { until: now + LAST_EVENT_WITHIN, expired: false });
        self.note_announcement();
        if to_sleep {
            self.doubt_at = Some(now + SLEEP_DOUBTED_EVERY);
            self.schedule.handle_slept(now);
            if let Some(ahead) = self.alarm_ahead(now).filter(|_| self.wake.alarm) {
                self.effects.push_back(Effect::SetAlarm(ahead));
            }
        }
        self.effects.push_back(Effect::Store);
    }

    /// When the wake alarm is to ring, if the machine falls asleep now: at the end of the standby period that is on, when a
    /// LowPowerDevice:1 caller wants, or soon after the next own WakeUpTime if the gateway failed; the first of them.
    pub(crate) fn alarm_ahead(&mut self, now: BootTime) -> Option<Duration> {
        let at = self.schedule.wall_at(now);
        let wall = Wall { at, zone: self.schedule.zone().clone() };
        let fallback = jiff::SignedDuration::try_from(GATEWAY_WAKES_WITHIN).unwrap_or_default();
        let wish = |(wish, _)| match wish {
            Wish::WakeUpTime(time) => wall.next(time, at).checked_add(fallback).ok(),
            Wish::NoStandbyPeriod(_) => None,
        };
        let first = self.gateway.wishes().filter_map(wish).chain(self.schedule.wake_at(now)).min();
        let ahead = first.and_then(|first| Duration::try_from(first.duration_since(at)).ok());
        ahead.into_iter().chain(self.sleep_for.take()).min()
    }

    /// This process runs though the machine should be asleep. logind is asked, if it told of the sleep. Else the kernel's word is
    /// taken back: a suspend that failed before anything was frozen has no end where the kernel has no kprobes, and one that
    /// is still writing out file systems says so again when it freezes.
    fn doubt_sleep(&mut self, now: BootTime) {
        if self.state.logind_says_asleep() {
            self.effects.push_back(Effect::AskWhetherAsleep);
        } else {
            self.handle_fact(Fact::new(now, Source::Agent, Observation::SleepDoubted), now);
        }
    }

    fn wakes(&mut self, now: BootTime) {
        if !self.state.is_going_down() {
            self.drain = None;
        }
        self.doubt_at = None;
        // BOOTID first, so that the event that follows carries it.
        self.device.resumed(now);
        self.gateway.resumed(now);
        if self.wake.alarm {
            self.effects.push_back(Effect::ClearAlarm);
        }
        self.effects.extend([Effect::Look, Effect::LookAtLinks, Effect::Read]);
    }

    fn stays_up(&mut self, now: BootTime) {
        self.drain = None;
        if self.device.is_stopped() && self.stopping.is_none() {
            self.device.restart(&self.interfaces, now);
            self.set_variables(now);
        }
    }

    /// Puts all variables at their values.
    fn set_variables(&mut self, now: BootTime) {
        let last = self
            .refusals
            .back()
            .map(|r| LastRefusal { action: r.action.clone(), refusal: Refusal::new(r.kind, r.reason.clone()) });
        self.device.set_power_state(self.state.state(), now);
        self.device.set_last_refusal(last, now);
        self.device.set_power(self.meter.power(), now);
        self.device.set_supply(self.supply, self.battery_low(), now);
    }

    fn set_power(&mut self, power: Watts, now: BootTime) {
        self.meter.set(power, now);
        self.device.set_power(power, now);
    }

    /// Whoever looked at the power supplies: what differs is told to all.
    pub(crate) fn set_supply(&mut self, supply: Supply, now: BootTime) {
        if supply != self.supply {
            self.supply = supply;
            self.device.set_supply(supply, self.battery_low(), now);
        }
    }
}

/// The wishes of a configuration.
fn wishes(config: &Config) -> impl Iterator<Item = Wish> {
    let s = &config.schedule;
    let times = s.wake_up_time.iter().map(|t| Wish::WakeUpTime(*t));
    times.chain(s.no_standby_period.iter().map(|w| Wish::NoStandbyPeriod(*w)))
}
