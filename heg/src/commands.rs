//! Commands under way: one per appliance, idempotent, repeated until confirmed, refused or out of time.
//!
//! PURE. A command goes through steps: wake (if the appliance sleeps and the command needs it awake), send, wait before
//! sending again, confirm. What counts as success is the appliance's own word: its PowerState event, or its answer to GetPowerState
//! where the event was lost. A fault is an answer, not an accident: it is never sent again.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use energy_model::{DailyWindow, PowerState, RegId, WakeMethod};
use upnp::ids::Udn;
use upnp::time::BootTime;

use crate::journal::{Cause, Ending};
use crate::limits::{
    COMMAND_RETRY_FIRST, COMMAND_RETRY_MAX, COMMANDS_MAX, CONFIRM_WITHIN, WAITERS_PER_COMMAND_MAX, WAKE_REPEAT_FIRST,
    WAKE_REPEAT_MAX, WAKE_SEARCH_EVERY,
};
use crate::registry::{Appliance, state_word};

/// What an appliance is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Be awake and in operation: wake it if need be, then OperationOn.
    On,
    /// OperationOff.
    Off,
    /// GoToStandby.
    Standby,
    /// Be awake, in whatever operation.
    Wake,
    /// StandbyPeriod.
    Period(DailyWindow),
    /// Withdraw a standby period it keeps.
    Withdraw(RegId),
}

impl Verb {
    /// The journal's word: the UPnP action with its values, or `wake`.
    pub fn action(&self) -> String {
        match self {
            Self::On => "OperationOn".into(),
            Self::Off => "OperationOff".into(),
            Self::Standby => "GoToStandby".into(),
            Self::Wake => "wake".into(),
            Self::Period(w) => format!("StandbyPeriod {} {}", w.start(), w.end()),
            Self::Withdraw(reg) => format!("Withdraw {reg}"),
        }
    }

    fn target(&self) -> Option<PowerState> {
        match self {
            Self::On => Some(PowerState::On),
            Self::Off => Some(PowerState::Off),
            Self::Standby => Some(PowerState::Standby),
            Self::Wake | Self::Period(_) | Self::Withdraw(_) => None,
        }
    }

    /// Two orders that a later one of the other kind does not replace.
    fn is_about_operation(&self) -> bool {
        !matches!(self, Self::Period(_) | Self::Withdraw(_))
    }
}

/// Names a command while it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(pub u64);

/// Why a call to an appliance brought no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// A UPnPError; it is the appliance's answer.
    Fault {
        /// `errorCode`.
        code: u16,
        /// `errorDescription`.
        reason: String,
    },
    /// No answer, or none that says the action was looked at: worth another try.
    NoAnswer(String),
    /// An answer that makes no sense, or no such service: another try would bring the same.
    Unusable(String),
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// In one word.
    pub ending: Ending,
    /// Why, for people.
    pub reason: String,
    /// The UPnPError code of a refusal or fault.
    pub code: Option<u16>,
    /// The RegID the appliance returned, for [`Verb::Period`].
    pub reg: Option<RegId>,
}

impl Outcome {
    /// An ending with its reason.
    pub fn new(ending: Ending, reason: impl Into<String>) -> Self {
        Self { ending, reason: reason.into(), code: None, reg: None }
    }

    /// Whether what was asked for is so now.
    pub fn is_success(&self) -> bool {
        matches!(self.ending, Ending::Done | Ending::Already)
    }
}

/// Times a command may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the first sending to the confirmation.
    pub command: Duration,
    /// From the first magic packet to the first sign of life.
    pub wake: Duration,
}

/// What a command wants done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Send the verb's action.
    Call(CommandId),
    /// Ask for the state, to confirm.
    Check(CommandId),
    /// Send a magic packet (and ask for the state, in case it is awake already).
    Packet(CommandId),
    /// Search the network as well.
    Search,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Wake { next: BootTime, packets: u32 },
    Send { at: BootTime },
    InFlight,
    Confirm { until: BootTime },
    Checking,
}

/// A command under way.
#[derive(Clone, Debug)]
pub struct Command<W> {
    /// Its name.
    pub id: CommandId,
    /// Whom it is for.
    pub udn: Udn,
    /// What is wanted.
    pub verb: Verb,
    /// For whom.
    pub cause: Cause,
    /// Those who wanted the same while it was under way: what each asked for, and for whom.
    pub joined: Vec<(Verb, Cause)>,
    /// Who waits for the outcome.
    pub waiters: Vec<W>,
    step: Step,
    /// When the present step must have succeeded.
    deadline: BootTime,
    /// When all of it must have.
    last: BootTime,
    sent: u32,
    obeyed: bool,
    reg: Option<RegId>,
    trouble: String,
}

/// A command that ended.
#[derive(Clone, Debug)]
pub struct Closed<W> {
    /// The command.
    pub command: Command<W>,
    /// How it ended.
    pub outcome: Outcome,
}

/// All commands under way. `W` names somebody who waits for an outcome.
#[derive(Debug)]
pub struct Commands<W> {
    all: BTreeMap<CommandId, Command<W>>,
    next_id: u64,
    patience: Patience,
    closed: Vec<Closed<W>>,
}

impl<W> Commands<W> {
    /// None under way.
    pub fn new(patience: Patience) -> Self {
        Self { all: BTreeMap::new(), next_id: 1, patience, closed: Vec::new() }
    }

    /// Takes other limits, for commands given from now on.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// A new order. Somebody who wants what is under way already waits along; another order about the same appliance's operation
    /// replaces the earlier one. What needs no sending ends at once; take it from [`Self::poll_closed`].
    pub fn start(
        &mut self,
        target: &Appliance,
        verb: Verb,
        cause: Cause,
        waiter: Option<W>,
        now: BootTime,
    ) -> CommandId {
        let udn = target.udn();
        // To be on is to be awake, so who wants it awake waits along with who wants it on.
        let serves = |c: &Command<W>| c.verb == verb || (verb == Verb::Wake && c.verb == Verb::On);
        if let Some(same) = self.all.values_mut().find(|c| c.udn == *udn && serves(c))
            && same.waiters.len() < WAITERS_PER_COMMAND_MAX
            && same.joined.len() < WAITERS_PER_COMMAND_MAX
        {
            same.waiters.extend(waiter);
            if same.cause != cause && !same.joined.contains(&(verb, cause)) {
                same.joined.push((verb, cause));
            }
            return same.id;
        }
        if verb.is_about_operation() {
            self.supersede(udn, &verb);
        }
        let id = CommandId(self.next_id);
        self.next_id += 1;
        let (step, deadline) = self.first_step(target, verb, now);
        let command = Command {
            id,
            udn: udn.clone(),
            verb,
            cause,
            joined: Vec::new(),
            waiters: waiter.into_iter().collect(),
            step,
            deadline,
            last: now + self.patience.wake + self.patience.command,
            sent: 0,
            obeyed: false,
            reg: None,
            trouble: String::new(),
        };
        if self.all.len() >= COMMANDS_MAX {
            let outcome = Outcome::new(Ending::Failed, "too many commands are under way");
            self.closed.push(Closed { command, outcome });
        } else if let Some(outcome) = settled_without_sending(target, verb) {
            self.closed.push(Closed { command, outcome });
        } else {
            self.all.insert(id, command);
        }
        id
    }

    fn first_step(&self, target: &Appliance, verb: Verb, now: BootTime) -> (Step, BootTime) {
        let wakes = match verb {
            Verb::Wake => true,
            Verb::On => !target.is_reachable() && unwakeable(target).is_none(),
            _ => false,
        };
        if wakes {
            (Step::Wake { next: now, packets: 0 }, now + self.patience.wake)
        } else {
            (Step::Send { at: now }, now + self.patience.command)
        }
    }

    fn supersede(&mut self, udn: &Udn, by: &Verb) {
        let old: Vec<_> =
            self.all.values().filter(|c| c.udn == *udn && c.verb.is_about_operation()).map(|c| c.id).collect();
        for id in old {
            self.close(id, Outcome::new(Ending::Superseded, format!("{} was ordered after it", by.action())));
        }
    }

    /// The command of that name, while it is under way.
    pub fn get(&self, id: CommandId) -> Option<&Command<W>> {
        self.all.get(&id)
    }

    /// Those under way.
    pub fn iter(&self) -> impl Iterator<Item = &Command<W>> {
        self.all.values()
    }

    /// Ends a command from outside (the gateway may not send it).
    pub fn close(&mut self, id: CommandId, outcome: Outcome) {
        if let Some(command) = self.all.remove(&id) {
            self.closed.push(Closed { command, outcome });
        }
    }

    /// The next command that ended.
    pub fn poll_closed(&mut self) -> Option<Closed<W>> {
        if self.closed.is_empty() { None } else { Some(self.closed.remove(0)) }
    }

    /// What the commands want done now; what is returned counts as done.
    pub fn needs(&mut self, now: BootTime) -> Vec<Need> {
        let mut needs = Vec::new();
        let mut late = Vec::new();
        for command in self.all.values_mut() {
            if now >= command.deadline {
                late.push(command.id);
                continue;
            }
            match command.step {
                Step::Wake { next, packets } if next <= now => {
                    let packets = packets + 1;
                    let delay = (WAKE_REPEAT_FIRST * (1 << (packets - 1).min(8))).min(WAKE_REPEAT_MAX);
                    command.step = Step::Wake { next: now + delay, packets };
                    needs.push(Need::Packet(command.id));
                    if packets % WAKE_SEARCH_EVERY == 0 {
                        needs.push(Need::Search);
                    }
                }
                Step::Send { at } if at <= now => {
                    command.sent += 1;
                    command.step = Step::InFlight;
                    needs.push(Need::Call(command.id));
                }
                Step::Confirm { until } if until <= now => {
                    command.step = Step::Checking;
                    needs.push(Need::Check(command.id));
                }
                _ => {}
            }
        }
        for id in late {
            self.give_up(id);
        }
        needs
    }

    fn give_up(&mut self, id: CommandId) {
        let Some(command) = self.all.get(&id) else { return };
        let trouble = if command.trouble.is_empty() { String::new() } else { format!(": {}", command.trouble) };
        let outcome = match command.step {
            Step::Wake { packets, .. } => {
                Outcome::new(Ending::TimedOut, format!("not awake after {packets} magic packets{trouble}"))
            }
            _ if command.obeyed => {
                Outcome::new(Ending::TimedOut, format!("it took the command but did not confirm it{trouble}"))
            }
            _ => Outcome::new(Ending::Unreachable, format!("no answer to {} attempts{trouble}", command.sent)),
        };
        self.close(id, outcome);
    }

    /// When something is due next.
    pub fn poll_timeout(&self) -> Option<BootTime> {
        self.all
            .values()
            .map(|c| match c.step {
                Step::Wake { next: at, .. } | Step::Send { at } | Step::Confirm { until: at } => at.min(c.deadline),
                Step::InFlight | Step::Checking => c.deadline,
            })
            .min()
    }

    /// The answer to a [`Need::Call`]. `state` is the appliance's state as known now.
    pub fn call_answered(
        &mut self,
        id: CommandId,
        result: Result<Option<RegId>, CallFailure>,
        target: &Appliance,
        now: BootTime,
    ) {
        let patience = self.patience;
        let Some(command) = self.all.get_mut(&id).filter(|c| c.step == Step::InFlight) else { return };
        match result {
            Ok(reg) => {
                // Other actions return a number too, which names the caller and is no registration to show.
                command.reg = reg.filter(|_| matches!(command.verb, Verb::Period(_)));
                command.obeyed = true;
                command.trouble.clear();
                match command.verb.target() {
                    None => self.done(id),
                    Some(state) if target.state() == Some(state) => self.done(id),
                    Some(_) => command.step = Step::Confirm { until: now + CONFIRM_WITHIN },
                }
            }
            Err(CallFailure::Fault { code, reason }) => {
                let (ending, reason) = match code {
                    800..=899 => (Ending::Refused, reason),
                    _ => (Ending::Failed, format!("UPnPError {code}: {reason}")),
                };
                self.close(id, Outcome { ending, reason, code: Some(code), reg: None });
            }
            Err(CallFailure::Unusable(why)) => self.close(id, Outcome::new(Ending::Failed, why)),
            Err(CallFailure::NoAnswer(why)) => {
                command.trouble = why;
                if command.verb == Verb::On && unwakeable(target).is_none() {
                    // It fell asleep between the order and the call, or it sleeps and did not say so.
                    command.step = Step::Wake { next: now, packets: 0 };
                    command.deadline = command.last.min(now + patience.wake);
                } else {
                    command.step = Step::Send { at: now + retry_delay(command.sent) };
                }
            }
        }
    }

    /// The answer to a [`Need::Check`]; the state itself came in by [`Self::state_seen`] before. If the state is still not
    /// the one wanted the action is sent again: it is idempotent.
    pub fn check_answered(&mut self, id: CommandId, trouble: Option<String>, now: BootTime) {
        let Some(command) = self.all.get_mut(&id).filter(|c| c.step == Step::Checking) else { return };
        command.trouble = trouble.unwrap_or_else(|| "it is in another state".into());
        command.step = Step::Send { at: now + retry_delay(command.sent) };
    }

    /// An appliance told or answered its state. `told`: by an event of its own, not by an answer.
    pub fn state_seen(&mut self, udn: &Udn, state: PowerState, told: bool, now: BootTime) {
        let patience = self.patience;
        let mut done = Vec::new();
        for command in self.all.values_mut().filter(|c| c.udn == *udn) {
            let confirms = command.verb.target() == Some(state);
            match command.step {
                // An event Standby is the last word before sleep; an answer Standby is a sign of life, but not yet awake.
                Step::Wake { .. } if state == PowerState::Standby && (told || command.verb == Verb::Wake) => {}
                Step::Wake { .. } if command.verb == Verb::Wake => done.push(command.id),
                Step::Wake { .. } => {
                    command.step = Step::Send { at: now };
                    command.deadline = command.last.min(now + patience.command);
                }
                Step::Confirm { .. } | Step::Checking if confirms => done.push(command.id),
                // The reply may be lost with the connection when it goes to sleep.
                Step::InFlight | Step::Send { .. } if confirms && told && command.sent > 0 => done.push(command.id),
                _ => {}
            }
        }
        for id in done {
            self.done(id);
        }
    }

    fn done(&mut self, id: CommandId) {
        let Some(command) = self.all.get(&id) else { return };
        let outcome = Outcome { reg: command.reg, ..Outcome::new(Ending::Done, "") };
        self.close(id, outcome);
    }
}

/// Why an appliance cannot be woken over the network; `None` if it can be tried.
pub fn unwakeable(target: &Appliance) -> Option<&'static str> {
    let profile = target.profile();
    if profile.wake_method == Some(WakeMethod::None) {
        Some("it says that it cannot be woken over the network")
    } else if profile.mac.is_none() {
        Some("its MAC address is not known")
    } else {
        None
    }
}

fn settled_without_sending(target: &Appliance, verb: Verb) -> Option<Outcome> {
    let state = target.state();
    let awake = target.is_reachable() && matches!(state, Some(PowerState::On | PowerState::Off));
    match verb {
        Verb::Wake if awake => Some(Outcome::new(Ending::Already, format!("it is awake ({})", state_word(state)))),
        Verb::Wake => unwakeable(target).map(|why| Outcome::new(Ending::Failed, why)),
        Verb::On if target.is_asleep() => unwakeable(target).map(|why| {
            Outcome::new(Ending::Unreachable, format!("it is in {} and cannot be woken: {why}", state_word(state)))
        }),
        Verb::Standby | Verb::Off if target.is_asleep() && state == verb.target() => {
            Some(Outcome::new(Ending::Already, format!("it is in {} and asleep", state_word(state))))
        }
        Verb::Off | Verb::Standby | Verb::Period(_) | Verb::Withdraw(_) if target.is_asleep() => {
            Some(Outcome::new(Ending::Unreachable, format!("it is asleep ({}); wake it first", state_word(state))))
        }
        _ => None,
    }
}

fn retry_delay(sent: u32) -> Duration {
    (COMMAND_RETRY_FIRST * (1 << sent.saturating_sub(1).min(8))).min(COMMAND_RETRY_MAX)
}
