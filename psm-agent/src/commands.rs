//! What a call asks of the agent, and how an order goes its way (PURE): gather the facts, judge, obey or refuse, answer.
//!
//! Table I's rules: an order that is already fulfilled succeeds at once; one that is not safe is refused with a reason, which is
//! evented and kept; GoToStandby and a power-off are answered before they are carried out, because afterwards nobody could.
#![forbid(unsafe_code)]

use core::time::Duration;

use bytes::Bytes;
use energy_model::{CallerAddress, CallerId, DailyWindow, PowerState, RefusalKind, RegId, WakeMethod};
use energy_services::appliance_info::{self, GetApplianceInfoReply, GetLastRefusalReply, GetPowerUsageReply};
use energy_services::low_power_device::{self, GetPowerManagementInfoReply, GoToSleepReply, SleepPeriod, SleepState};
use energy_services::power_management::{
    self, GetPowerStateReply, OperationOnReply, StandbyPeriodReply, WakeUpMethodReply, WithdrawReply,
};
use energy_services::{Action as _, Refusal, Reply as _};
use http::Response;
use upnp::device::ActionCall;
use upnp::error::{ErrorCode, UpnpError};
use upnp::time::BootTime;

use crate::agent::{Agent, Effect, RequestNumber};
use crate::device::Asked;
use crate::limits::{ANNOUNCEMENT_WITHIN, COMMANDS_MAX};
use crate::safety::{ActiveSession, Facts, Inhibitor, Known, Order, Supply, judge};
use crate::schedule::{Registration, Subject, WithdrawError};
use crate::state::{self, Fact, Observation, Operation, Source};

/// Names an order under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(pub u64);

/// What is gathered from outside before an order is judged.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// Locks held (logind).
    pub inhibitors: Known<Vec<Inhibitor>>,
    /// Sessions in use (logind).
    pub sessions: Known<Vec<ActiveSession>>,
    /// `busy-units` that are running (systemd).
    pub busy: Known<Vec<String>>,
    /// CanSuspend or CanPowerOff (logind).
    pub possible: Known<String>,
    /// Mains or battery.
    pub supply: Supply,
}

/// An order under way.
#[derive(Debug)]
pub struct Command {
    order: Order,
    asked: state::Asked,
    reply: Option<Reply>,
    /// It is being carried out: another of the same kind has nothing left to do.
    committed: bool,
    /// Since then the machine went: logind's reply may come after its signal, even after the sleep.
    announced: bool,
}

/// Who waits for an order's answer.
#[derive(Debug)]
enum Reply {
    /// A Table I call.
    TableI { number: RequestNumber, call: ActionCall, caller: CallerId, address: CallerAddress, subject: Subject },
    /// GoToSleep of LowPowerDevice:1.
    GoToSleep { number: RequestNumber, call: ActionCall, period: SleepPeriod },
}

impl Command {
    /// How long its caller wants the machine to sleep.
    fn sleep_for(&self) -> Option<Duration> {
        match &self.reply {
            Some(Reply::GoToSleep { period: SleepPeriod::Seconds(seconds), .. }) => {
                Some(Duration::from_secs((*seconds).into()))
            }
            _ => None,
        }
    }
}

/// Something logind accepted and has yet to announce.
#[derive(Debug)]
pub struct Expected {
    pub(crate) until: BootTime,
    order: Order,
    asked: state::Asked,
}

/// An answer that waits for the disk, with what is taken back where the disk fails.
#[derive(Debug)]
pub struct Unstored {
    number: RequestNumber,
    call: ActionCall,
    arguments: Arguments,
    entry: Entry,
    /// The suspend that follows the answer.
    suspend: Option<CommandId>,
}

/// What a call changed.
#[derive(Clone, Debug)]
enum Entry {
    Made(Registration),
    Withdrawn(Registration),
}

type Arguments = Vec<(&'static str, String)>;

impl Agent {
    /// Carries out a call, or begins to; the answer, where there is one already.
    pub(crate) fn handle_call(
        &mut self,
        asked: Asked,
        call: ActionCall,
        number: RequestNumber,
        now: BootTime,
    ) -> Option<Response<Bytes>> {
        use power_management::Call;
        let result = match asked {
            Asked::ApplianceInfo(ask) => Ok(self.appliance_info(&ask, now)),
            Asked::LowPowerDevice(ask) => return self.low_power_device(&ask, call, number, now),
            Asked::PowerManagement(ask) => match ask {
                Call::OperationOn(a) => {
                    return self.begin_call(Order::On, (a.uuid, a.address), Subject::OperationOn, call, number, now);
                }
                Call::OperationOff(a) => {
                    return self.begin_call(Order::Off, (a.uuid, a.address), Subject::OperationOff, call, number, now);
                }
                Call::GoToStandby(a) => {
                    return self.begin_call(
                        Order::Standby,
                        (a.uuid, a.address),
                        Subject::GoToStandby,
                        call,
                        number,
                        now,
                    );
                }
                Call::GetPowerState(a) => {
                    let power_state = self.state.state();
                    let reply = |reg_id| GetPowerStateReply { power_state, reg_id }.into_arguments();
                    let who = (a.uuid, a.address);
                    return self.register(who, Subject::GetPowerState, call, number, None, reply, now);
                }
                Call::WakeUpMethod(a) => {
                    let wake_method = self.wake.method.unwrap_or(WakeMethod::None);
                    let reply = |reg_id| WakeUpMethodReply { wake_method, reg_id }.into_arguments();
                    let who = (a.uuid, a.address);
                    return self.register(who, Subject::WakeUpMethod, call, number, None, reply, now);
                }
                Call::StandbyPeriod(a) => match DailyWindow::new(a.start_time, a.stop_time) {
                    Ok(window) => {
                        let reply = |reg_id| StandbyPeriodReply { reg_id }.into_arguments();
                        let who = (a.uuid, a.address);
                        return self.register(who, Subject::StandbyPeriod(window), call, number, None, reply, now);
                    }
                    Err(e) => Err(UpnpError::with(ErrorCode::ARGUMENT_VALUE_INVALID, format!("StopTime: {e}"))),
                },
                Call::Withdraw(a) => match self.schedule.withdraw(&a.uuid, a.reg_id.number(), now) {
                    Ok(gone) => {
                        tracing::info!(reg_id = %gone.reg_id, caller = gone.caller.as_str(), "withdrawn");
                        let (arguments, entry) = (WithdrawReply {}.into_arguments(), Entry::Withdrawn(gone));
                        self.unstored.push(Unstored { number, call, arguments, entry, suspend: None });
                        self.effects.push_back(Effect::Store);
                        return None;
                    }
                    Err(error) => {
                        let kind = match error {
                            WithdrawError::Unknown(_) => RefusalKind::UnknownRegId,
                            WithdrawError::Foreign(_) => RefusalKind::ForeignRegId,
                        };
                        Err(Refusal::new(kind, error.to_string()).into())
                    }
                },
            },
        };
        Some(call.respond(result))
    }

    /// Registers and answers with the number; where it must be on disk before it is told, the answer waits for that.
    #[expect(clippy::too_many_arguments, reason = "a call, who makes it, and what is answered")]
    fn register(
        &mut self,
        (caller, address): (CallerId, CallerAddress),
        subject: Subject,
        call: ActionCall,
        number: RequestNumber,
        suspend: Option<CommandId>,
        reply: impl FnOnce(RegId) -> Arguments,
        now: BootTime,
    ) -> Option<Response<Bytes>> {
        let (registration, new) = match self.schedule.register(&caller, &address, subject, now) {
            Ok(registered) => registered,
            Err(e) => {
                let full = Refusal::new(RefusalKind::TooManyRegistrations, e.to_string());
                return Some(call.respond(Err(full.into())));
            }
        };
        let reg_id = registration.reg_id;
        let arguments = reply(reg_id);
        let period = matches!(subject, Subject::StandbyPeriod(_));
        let made = |u: &Unstored| matches!(&u.entry, Entry::Made(r) if r.reg_id == reg_id);
        if (new && (period || self.mark_moved())) || self.unstored.iter().any(made) {
            let entry = Entry::Made(registration);
            self.unstored.push(Unstored { number, call, arguments, entry, suspend });
            self.effects.push_back(Effect::Store);
            return None;
        }
        if new {
            self.store_late(now);
        }
        Some(call.respond(Ok(arguments)))
    }

    /// The disk has what an answer relies on, or refused it: then all is as it was before the call, which fails.
    pub(crate) fn settle(
        &mut self,
        unstored: Unstored,
        result: Result<(), &str>,
        now: BootTime,
    ) -> (RequestNumber, Response<Bytes>) {
        let Unstored { number, call, arguments, entry, suspend } = unstored;
        let Err(why) = result else {
            if let Entry::Made(r) = &entry {
                tracing::info!(reg_id = %r.reg_id, caller = r.caller.as_str(), subject = ?r.subject, "registered");
            }
            return (number, call.respond(Ok(arguments)));
        };
        let (action, caller, reason) = match entry {
            Entry::Made(r) => {
                self.schedule.take_back(r.reg_id, now);
                // A period that is on has begun at once.
                let begun = state::Asked::Schedule(r.reg_id.number());
                self.commands.retain(|_, command| command.asked != begun);
                let what = match r.subject {
                    Subject::OperationOn | Subject::OperationOff => "carried out, but not registered",
                    _ => "not registered",
                };
                (r.subject.action(), r.caller, format!("{what}: the state cannot be written: {why}"))
            }
            Entry::Withdrawn(r) => {
                let reason = format!("not withdrawn: the state cannot be written: {why}");
                let caller = r.caller.clone();
                self.schedule.put_back(r, now);
                (power_management::Withdraw::NAME, caller, reason)
            }
        };
        if let Some(id) = suspend {
            // What is answered as failed is not carried out.
            self.commands.remove(&id);
            self.does_not_sleep(now);
            self.effects.retain(|e| !matches!(e, Effect::Suspend(other) if *other == id));
        }
        let refusal = Refusal::new(RefusalKind::OperationFailed, reason.clone());
        self.refused(action, &state::Asked::Command(caller.as_str().to_owned()).to_string(), &refusal, now);
        (number, call.respond(Err(UpnpError::with(ErrorCode::ACTION_FAILED, reason))))
    }

    fn begin_call(
        &mut self,
        order: Order,
        (caller, address): (CallerId, CallerAddress),
        subject: Subject,
        call: ActionCall,
        number: RequestNumber,
        now: BootTime,
    ) -> Option<Response<Bytes>> {
        let asked = state::Asked::Command(caller.as_str().to_owned());
        self.begin(order, asked, Some(Reply::TableI { number, call, caller, address, subject }), now);
        None
    }

    /// Whether logind was asked for it, or is about to be, and has not announced it yet.
    fn is_under_way(&self, order: Order) -> bool {
        self.expected.as_ref().is_some_and(|e| e.order == order)
            || self.commands.values().any(|c| c.committed && c.order == order)
    }

    /// Whether nothing is left to be done.
    fn is_fulfilled(&self, order: Order) -> bool {
        match order {
            Order::On => self.state.state() == PowerState::On && self.state.operation() == Operation::On,
            Order::Off => self.state.state() == PowerState::Off,
            Order::Standby => self.state.state() == PowerState::Standby || self.is_under_way(order),
        }
    }

    /// A machine that is about to go takes no orders.
    fn transition(&self) -> Option<Refusal> {
        let leaving = self.state.is_asleep() || self.state.is_going_down() || self.expected.is_some();
        let what = if self.state.is_going_down() { "going down" } else { "going to sleep" };
        leaving.then(|| Refusal::new(RefusalKind::Transition, format!("it is {what} just now")))
    }

    /// A StandbyPeriod is on.
    pub(crate) fn begin_standby_period(&mut self, reg_id: RegId, now: BootTime) {
        self.begin(Order::Standby, state::Asked::Schedule(reg_id.number()), None, now);
    }

    /// Begins an order: answers what needs no facts, asks for facts otherwise.
    fn begin(&mut self, order: Order, asked: state::Asked, reply: Option<Reply>, now: BootTime) {
        tracing::debug!(%order, %asked, "order");
        let command = Command { order, asked, reply, committed: false, announced: false };
        if self.is_fulfilled(order) {
            return self.succeed(command, now);
        }
        if let Some(refusal) = self.transition() {
            return self.refuse(command, &refusal, now);
        }
        if let Some(other) = self.commands.values().find(|c| c.order != order) {
            let reason = format!("{} is under way", other.order);
            return self.refuse(command, &Refusal::new(RefusalKind::Transition, reason), now);
        }
        if self.commands.len() >= COMMANDS_MAX {
            self.tell_schedule(&command.asked, now);
            return self.answer(command, Err(UpnpError::new(ErrorCode::DEVICE_BUSY)), None, now);
        }
        let id = CommandId(self.next_command);
        self.next_command += 1;
        self.commands.insert(id, command);
        self.effects.push_back(Effect::Gather(id, order));
    }

    /// The facts for an order are there.
    pub fn handle_circumstances(&mut self, id: CommandId, circumstances: Circumstances, now: BootTime) {
        self.now = now;
        let Some(command) = self.commands.remove(&id) else { return };
        self.set_supply(circumstances.supply, now);
        // It may have gone, or be about to, since the facts were asked for: an order then would come to the next waking.
        if self.is_fulfilled(command.order) {
            return self.succeed(command, now);
        }
        if let Some(refusal) = self.transition() {
            return self.refuse(command, &refusal, now);
        }
        let facts = Facts {
            state: self.state.state(),
            held_for: self.held_for(now),
            off_is_power_off: self.off_is_power_off,
            local_time: self.schedule.time_of_day(now),
            inhibitors: circumstances.inhibitors,
            sessions: circumstances.sessions,
            busy: circumstances.busy,
            supply: circumstances.supply,
            possible: circumstances.possible,
            network_wakes: self.wake.method.is_some_and(|m| m != WakeMethod::None),
            alarm_wakes: self.wake.alarm && (self.schedule.wake_at(now).is_some() || command.sleep_for().is_some()),
        };
        if let Err(refusal) = judge(command.order, &self.rules, &facts) {
            return self.refuse(command, &refusal, now);
        }
        self.state.handle_order(command.order.leads_to(), command.asked.clone(), now);
        if command.order == Order::Standby {
            let Command { order, asked, .. } = &command;
            let (order, asked) = (*order, asked.clone());
            let rest = Command { order, asked, reply: None, committed: true, announced: false };
            self.answer(command, Ok(()), Some(id), now);
            self.commands.insert(id, rest);
            self.effects.push_back(Effect::Suspend(id));
        } else {
            self.effects.push_back(Effect::Switch(id, command.order == Order::On));
            self.commands.insert(id, command);
        }
    }

    /// The driver switched the operation, or failed.
    pub fn handle_switched(&mut self, id: CommandId, result: Result<Operation, String>, now: BootTime) {
        self.now = now;
        let Some(command) = self.commands.remove(&id) else { return };
        match result {
            Ok(seen) => {
                let fact = Fact::new(now, Source::Operation, Observation::Operation(seen));
                self.handle_fact(fact, now);
                if command.order == Order::Off && self.off_is_power_off {
                    self.expect(command.order, command.asked.clone(), now);
                }
                self.succeed(command, now);
            }
            Err(reason) => self.refuse(command, &Refusal::new(RefusalKind::OperationFailed, reason), now),
        }
    }

    /// logind accepted a suspend, or refused it. The caller was answered before.
    pub fn handle_suspended(&mut self, id: CommandId, result: Result<(), String>, now: BootTime) {
        self.now = now;
        let Some(Command { order, asked, announced, .. }) = self.commands.remove(&id) else { return };
        match result {
            Ok(()) if announced => {}
            Ok(()) => self.expect(order, asked, now),
            Err(reason) => self.failed(order, &asked, reason, now),
        }
    }

    /// The machine is about to go, so what was ordered came about.
    pub(crate) fn note_announcement(&mut self) {
        self.expected = None;
        for command in self.commands.values_mut() {
            command.announced |= command.committed;
        }
    }

    /// logind accepted, so its announcement should follow; unless it came first.
    fn expect(&mut self, order: Order, asked: state::Asked, now: BootTime) {
        let gone = self.state.is_asleep() || self.state.is_going_down();
        self.expected = (!gone).then_some(Expected { until: now + ANNOUNCEMENT_WITHIN, order, asked });
    }

    /// logind accepted, and nothing came of it.
    pub(crate) fn handle_no_announcement(&mut self, expected: Expected, now: BootTime) {
        let within = ANNOUNCEMENT_WITHIN.as_secs();
        let reason = format!("logind accepted, and nothing happened within {within} s");
        self.failed(expected.order, &expected.asked, reason, now);
    }

    /// An order that was answered already came to nothing.
    fn failed(&mut self, order: Order, asked: &state::Asked, reason: String, now: BootTime) {
        let refusal = Refusal::new(RefusalKind::OperationFailed, reason);
        self.refused(order.action(), &asked.to_string(), &refusal, now);
        if order == Order::Standby {
            self.does_not_sleep(now);
        }
    }

    /// A suspend came to nothing: what was wanted of it is not wanted of the next, and a period that had joined it tries again.
    fn does_not_sleep(&mut self, now: BootTime) {
        self.sleep_for = None;
        self.schedule.handle_not_slept(now);
    }

    fn refuse(&mut self, command: Command, refusal: &Refusal, now: BootTime) {
        let by = command.asked.to_string();
        let repeated = self
            .refusals
            .back()
            .is_some_and(|last| last.by == by && last.kind == refusal.kind && last.action == command.order.action());
        // A StandbyPeriod asks again every few minutes; the same refusal is told once.
        if !(repeated && matches!(command.asked, state::Asked::Schedule(_))) {
            self.refused(command.order.action(), &by, refusal, now);
        }
        self.tell_schedule(&command.asked, now);
        self.answer(command, Err(refusal.clone().into()), None, now);
    }

    fn succeed(&mut self, command: Command, now: BootTime) {
        self.answer(command, Ok(()), None, now);
    }

    /// Answers whoever waits for the order. `suspend`: the suspend that follows.
    fn answer(&mut self, command: Command, result: Result<(), UpnpError>, suspend: Option<CommandId>, now: BootTime) {
        let sleep_for = command.sleep_for();
        match command.reply {
            None => {}
            Some(Reply::TableI { number, call, caller, address, subject }) => {
                let response = match result {
                    Ok(()) => {
                        // The replies of the three orders are alike.
                        let reply = |reg_id| OperationOnReply { reg_id }.into_arguments();
                        self.register((caller, address), subject, call, number, suspend, reply, now)
                    }
                    Err(error) => Some(call.respond(Err(error))),
                };
                self.effects.extend(response.map(|response| Effect::Answer(number, response)));
            }
            Some(Reply::GoToSleep { number, call, period }) => {
                // One that is asleep already has its alarm set.
                if result.is_ok() && !self.state.is_asleep() {
                    self.sleep_for = sleep_for;
                }
                let power_state = self.sleep_state();
                let result = result.map(|()| GoToSleepReply { sleep_period: period, power_state }.into_arguments());
                self.effects.push_back(Effect::Answer(number, call.respond(result)));
            }
        }
    }

    fn tell_schedule(&mut self, asked: &state::Asked, now: BootTime) {
        if let state::Asked::Schedule(number) = asked
            && let Ok(reg_id) = RegId::new(*number)
        {
            self.schedule.handle_refused(reg_id, now);
        }
    }

    fn appliance_info(&self, call: &appliance_info::Call, now: BootTime) -> Arguments {
        use appliance_info::Call;
        match call {
            Call::GetApplianceInfo(_) => {
                let seconds = |d: Duration| u32::try_from(d.as_secs()).unwrap_or(u32::MAX);
                GetApplianceInfoReply {
                    rated_power: energy_model::Watts::new(self.appliance.rated_power_w),
                    importance: self.appliance.importance,
                    flexibility: self.appliance.flexibility,
                    mac_address: self.wake.mac,
                    minimum_on_time_s: seconds(self.rules.minimum_on),
                    minimum_off_time_s: seconds(self.rules.minimum_off),
                    wake_method: self.wake.method.unwrap_or(WakeMethod::None),
                }
                .into_arguments()
            }
            Call::GetPowerUsage(_) => {
                GetPowerUsageReply { power: self.meter.power(), energy: self.meter.energy(now) }.into_arguments()
            }
            Call::GetLastRefusal(_) => match self.refusals.back() {
                Some(last) => GetLastRefusalReply {
                    refusal_code: last.code.into(),
                    refusal_reason: last.reason.clone(),
                    refused_action: last.action.clone(),
                    refused_at: last.at.clone(),
                },
                None => GetLastRefusalReply {
                    refusal_code: 0,
                    refusal_reason: String::new(),
                    refused_action: String::new(),
                    refused_at: String::new(),
                },
            }
            .into_arguments(),
        }
    }

    fn low_power_device(
        &mut self,
        ask: &low_power_device::Call,
        call: ActionCall,
        number: RequestNumber,
        now: BootTime,
    ) -> Option<Response<Bytes>> {
        use low_power_device::Call;
        let arguments = match ask {
            Call::GetPowerManagementInfo(_) => GetPowerManagementInfoReply {
                wakeup_method: self.wake.method.unwrap_or(WakeMethod::None).to_string(),
                power_supply_status: self.supply_status(),
            }
            .into_arguments(),
            // It answers, so it is awake.
            Call::Wakeup(_) => low_power_device::WakeupReply {}.into_arguments(),
            Call::GoToSleep(a) if a.recommended_power_state == SleepState::Active => {
                GoToSleepReply { sleep_period: SleepPeriod::Seconds(0), power_state: SleepState::Active }
                    .into_arguments()
            }
            Call::GoToSleep(a) => {
                let period = if self.wake.alarm { a.recommended_sleep_period } else { SleepPeriod::Infinite };
                let asked = state::Asked::Command(call.peer.ip().to_string());
                self.begin(Order::Standby, asked, Some(Reply::GoToSleep { number, call, period }), now);
                return None;
            }
        };
        Some(call.respond(Ok(arguments)))
    }

    /// How deeply it sleeps, once it does.
    fn sleep_state(&self) -> SleepState {
        match self.wake.method {
            Some(WakeMethod::Wol | WakeMethod::WoWlan) => SleepState::DeepSleepOnline,
            Some(WakeMethod::None) | None => SleepState::DeepSleepOffline,
        }
    }

    fn supply_status(&self) -> String {
        let source = if self.supply.on_battery { "battery" } else { "mains" };
        match self.supply.percent {
            Some(percent) => format!("{source}, {percent} %"),
            None => source.to_owned(),
        }
    }
}
