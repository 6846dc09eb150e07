//! Work beside the loop: what takes time (bus calls, commands) is begun here and comes back as one more input (IO).

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use upnp::time::BootTime;

use super::{App, now};
use crate::bus::BusError;
use crate::commands::{Circumstances, CommandId};
use crate::limits::{BUS_RETRY_FIRST, BUS_RETRY_LONGEST, FACTS_WITHIN, GOODBYE_WITHIN};
use crate::link::Links;
use crate::logind::{self, DelayLock};
use crate::operation::{self, OperationError, Seen};
use crate::safety::{Known, Order};
use crate::sources::Lock;
use crate::state::{Fact, Observation, Operation, Source};
use crate::supply;
use crate::wake_service::{self, Abilities};

/// Work beside the loop.
pub(super) type Work = Pin<Box<dyn Future<Output = Done>>>;

/// What came of it.
pub(super) enum Done {
    Gathered(CommandId, Circumstances),
    Switched(CommandId, Result<Operation, String>),
    Suspended(CommandId, Result<(), String>),
    /// And when it was begun: what became known since is newer than what it saw.
    Looked(BootTime, Result<Seen, OperationError>),
    /// The same.
    Asleep(BootTime, Result<bool, BusError>),
    Locked(Result<DelayLock, BusError>),
    Wakes(Result<Abilities, String>),
    Stopping(bool),
}

impl App {
    /// Takes what has come of it.
    pub(super) fn handle_done(&mut self, done: Done, now: BootTime) {
        match done {
            Done::Gathered(id, circumstances) => self.agent.handle_circumstances(id, circumstances, now),
            Done::Switched(id, result) => self.agent.handle_switched(id, result, now),
            Done::Suspended(id, result) => self.agent.handle_suspended(id, result, now),
            Done::Looked(begun, Ok(seen)) => {
                self.look_at = self.driver.look_again(!seen.is_hollow).map(|after| now + after);
                self.last_look = Ok(seen);
                self.seen(seen.operation, begun, now);
            }
            Done::Looked(begun, Err(error)) => {
                self.look_at = self.driver.look_again(false).map(|after| now + after);
                // What was seen last stays: a bus that hiccups stops no pump.
                if error.is_absent() {
                    self.seen(Operation::Unknown, begun, now);
                }
                let why = error.to_string();
                if self.last_look.as_ref().err() != Some(&why) {
                    tracing::warn!(why, "operation not seen");
                }
                self.last_look = Err(why);
            }
            Done::Asleep(begun, Ok(false)) => {
                self.agent.handle_fact(Fact::new(begun, Source::Logind, Observation::SleepEnds), now);
            }
            Done::Asleep(_, Ok(true)) => {}
            Done::Asleep(_, Err(error)) => tracing::debug!(%error, "logind not asked whether the machine sleeps"),
            // It came too late: the last event is out, and logind shall not wait for nothing.
            Done::Locked(Ok(_))
                if (self.agent.is_asleep() || self.agent.is_going_down()) && !self.agent.is_leaving() =>
            {
                self.lock = Lock::None("released, the machine goes to sleep or down".to_owned());
            }
            Done::Locked(Ok(lock)) => {
                tracing::debug!("delay lock taken");
                self.lock = Lock::Held(lock);
            }
            Done::Locked(Err(error)) if logind::is_busy(&error) => {
                tracing::debug!(%error, "no delay lock yet");
                self.lock = Lock::None(error.to_string());
                self.lock_again_at = Some(now + BUS_RETRY_FIRST);
            }
            Done::Locked(Err(error)) => {
                tracing::warn!(%error, "no delay lock: the gateway may not hear of a sleep in time");
                self.lock = Lock::None(error.to_string());
                self.lock_again_at = Some(now + BUS_RETRY_LONGEST);
            }
            Done::Wakes(learned) => {
                self.asking_cards = false;
                if let Some(links) = &mut self.links {
                    links.handle_abilities(learned);
                }
                self.tell_wake();
                self.agent.handle_links_changed();
            }
            Done::Stopping(machine_goes_down) => {
                self.agent.handle_stop(machine_goes_down, now);
                self.stop_by = Some(now + GOODBYE_WITHIN);
            }
        }
    }

    /// Gathers what an order is judged by; what does not answer in time counts as not known.
    pub(super) fn gather(&mut self, id: CommandId, order: Order) {
        let bus = self.bus.caller();
        let units = self.config.safety.busy_units.clone();
        let machine = order == Order::Standby || self.driver.off_is_power_off();
        self.work.push(Box::pin(async move {
            let supply = supply::read(Path::new(supply::SYSFS));
            let mut circumstances = Circumstances {
                inhibitors: not_asked(),
                sessions: not_asked(),
                busy: if units.is_empty() { Ok(vec![]) } else { not_asked() },
                possible: not_asked(),
                supply,
            };
            let limit = tokio::time::sleep(FACTS_WITHIN);
            let asking = async {
                let failed = |e: BusError| e.to_string();
                match bus {
                    Ok(bus) => {
                        if machine {
                            let can = if order == Order::Standby { "CanSuspend" } else { "CanPowerOff" };
                            circumstances.possible = logind::possible(&bus, can).await.map_err(failed);
                            circumstances.inhibitors = logind::inhibitors(&bus).await.map_err(failed);
                            circumstances.sessions = logind::active_sessions(&bus).await.map_err(failed);
                        }
                        if !units.is_empty() && order != Order::On {
                            circumstances.busy = operation::running_units(&bus, &units).await.map_err(failed);
                        }
                    }
                    Err(error) => {
                        let why = error.to_string();
                        circumstances.possible = Err(why.clone());
                        circumstances.inhibitors = Err(why.clone());
                        circumstances.sessions = Err(why.clone());
                        if !units.is_empty() {
                            circumstances.busy = Err(why);
                        }
                    }
                }
            };
            tokio::select! {
                biased;
                () = asking => {}
                () = limit => tracing::warn!("logind or systemd did not answer in time"),
            }
            Done::Gathered(id, circumstances)
        }));
    }

    /// Starts or stops the operation.
    pub(super) fn switch(&mut self, id: CommandId, on: bool) {
        let work = self.driver.switch(on, self.bus.caller());
        self.work.push(Box::pin(async move { Done::Switched(id, work.await.map_err(|e| e.to_string())) }));
    }

    /// Has logind put the machine to sleep.
    pub(super) fn suspend(&mut self, id: CommandId) {
        let bus = self.bus.caller();
        self.work.push(Box::pin(async move {
            let suspended = async { logind::suspend(&bus?).await };
            Done::Suspended(id, suspended.await.map_err(|e| e.to_string()))
        }));
    }

    /// Looks at the operation.
    pub(super) fn look(&mut self) {
        self.look_at = None;
        let (begun, work) = (now(), self.driver.look(self.bus.caller()));
        self.work.push(Box::pin(async move { Done::Looked(begun, work.await) }));
    }

    /// Has the network cards asked where this process may not, but not on the way to sleep.
    pub(super) fn ask_cards(&mut self) {
        if self.asking_cards || self.agent.is_asleep() || self.agent.is_leaving() {
            return;
        }
        let Ok(bus) = self.bus.caller() else { return };
        if self.links.as_mut().is_some_and(Links::take_unasked) {
            self.asking_cards = true;
            self.work.push(Box::pin(async move { Done::Wakes(wake_service::ask(bus).await) }));
        }
    }

    /// Asks logind, where its word or the kernel's may have been missed.
    pub(super) fn ask_whether_asleep(&mut self) {
        let (begun, bus) = (now(), self.bus.caller());
        self.work.push(Box::pin(async move {
            let asked = async { logind::preparing_for_sleep(&bus?).await };
            Done::Asleep(begun, asked.await)
        }));
    }

    /// Asks logind to wait for us before it has the machine sleep or go down.
    pub(super) fn take_lock(&mut self) {
        if matches!(self.lock, Lock::Held(_) | Lock::Asked) {
            return;
        }
        let Ok(bus) = self.bus.caller() else { return };
        self.lock = Lock::Asked;
        self.lock_again_at = None;
        self.work.push(Box::pin(async move { Done::Locked(logind::inhibit(&bus).await) }));
    }

    /// SIGTERM. Whether the machine goes down is known from logind, or else asked of systemd.
    pub(super) fn begin_stop(&mut self, now: BootTime) {
        if self.stop_by.is_some() {
            return;
        }
        self.systemd.stopping();
        self.stop_by = Some(now + GOODBYE_WITHIN + FACTS_WITHIN);
        let bus = self.bus.caller();
        let known = self.agent.is_going_down();
        self.work.push(Box::pin(async move {
            let asked = async { operation::system_is_stopping(&bus?).await };
            let asked = async { tokio::time::timeout(FACTS_WITHIN, asked).await };
            Done::Stopping(known || matches!(asked.await, Ok(Ok(true))))
        }));
    }
}

fn not_asked<T>() -> Known<T> {
    Err("logind or systemd did not answer in time".to_owned())
}
