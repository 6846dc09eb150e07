//! The part of `org.freedesktop.systemd1` that starts and stops units. A unit is a real process.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::watch;
use zbus::object_server::{ResponseDispatchNotifier, SignalEmitter};
use zbus::{Connection, OwnedObjectPath, interface};

use super::{Logind, path_label};
use crate::hardware::Note;

/// Its well-known name.
pub(super) const NAME: &str = "org.freedesktop.systemd1";
/// The manager's object.
pub(super) const PATH: &str = "/org/freedesktop/systemd1";

/// `TimeoutStopSec=`: after this a unit's process is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A unit the lab's systemd knows: `washing.service`, or `washing.service=PROGRAM ARGUMENT...` (default: a program that
/// runs until it is stopped).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitConfig {
    name: String,
    command: Vec<String>,
}

impl FromStr for UnitConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<UnitConfig, String> {
        let (name, command) = text.split_once('=').unwrap_or((text, "sleep infinity"));
        if ![".service", ".target"].iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty()))
        {
            return Err(format!("{name:?} is not the name of a service or target"));
        }
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if command.is_empty() {
            return Err(format!("{name} has no program"));
        }
        Ok(UnitConfig { name: name.to_owned(), command })
    }
}

/// The errors with names of systemd's own.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Error {
    #[zbus(error)]
    ZBus(zbus::Error),
    NoSuchUnit(String),
    AlreadySubscribed(String),
    NotSubscribed(String),
}

/// systemd's state.
pub(super) struct Systemd {
    units: BTreeMap<String, Arc<Unit>>,
    /// Unit files that don't exist but were asked for by `LoadUnit` have objects too.
    missing: Mutex<Vec<String>>,
    jobs: AtomicU32,
    subscribers: Mutex<Vec<String>>,
    logind: Arc<Logind>,
}

#[derive(Debug)]
struct Unit {
    config: UnitConfig,
    state: Mutex<UnitState>,
    /// The running process, or none; tells when it ends.
    process: watch::Sender<Option<u32>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnitState {
    Inactive,
    Activating,
    Active,
    Deactivating,
    Failed,
}

impl UnitState {
    fn word(self) -> &'static str {
        match self {
            UnitState::Inactive => "inactive",
            UnitState::Activating => "activating",
            UnitState::Active => "active",
            UnitState::Deactivating => "deactivating",
            UnitState::Failed => "failed",
        }
    }

    fn sub(self) -> &'static str {
        match self {
            UnitState::Inactive => "dead",
            UnitState::Activating => "start",
            UnitState::Active => "running",
            UnitState::Deactivating => "stop-sigterm",
            UnitState::Failed => "failed",
        }
    }
}

impl Systemd {
    pub(super) fn new(units: Vec<UnitConfig>, logind: Arc<Logind>) -> Arc<Systemd> {
        let unit = |config: UnitConfig| {
            let state = Mutex::new(UnitState::Inactive);
            (config.name.clone(), Arc::new(Unit { config, state, process: watch::Sender::new(None) }))
        };
        Arc::new(Systemd {
            units: units.into_iter().map(unit).collect(),
            missing: Mutex::default(),
            jobs: AtomicU32::new(0),
            subscribers: Mutex::default(),
            logind,
        })
    }

    pub(super) fn manager(self: &Arc<Self>) -> Manager {
        Manager(Arc::clone(self))
    }

    pub(super) async fn serve_units(&self, connection: &Connection) -> zbus::Result<()> {
        for unit in self.units.values() {
            connection.object_server().at(unit_path(&unit.config.name), UnitObject(Arc::clone(unit))).await?;
        }
        Ok(())
    }

    fn unit(&self, name: &str) -> Result<&Arc<Unit>, Error> {
        self.units.get(name).ok_or_else(|| Error::NoSuchUnit(format!("Unit {name} not found.")))
    }

    /// Sets a unit's state and tells it: to the lab always, on the bus if somebody has subscribed.
    async fn become_state(&self, unit: &Unit, state: UnitState) {
        *unit.state() = state;
        let pid = *unit.process.borrow();
        let name = unit.config.name.clone();
        self.logind.note(Note::Unit { name, active_state: state.word().to_owned(), pid });
        if let Err(error) = self.tell(unit).await {
            eprintln!("the state of {} could not be told: {error}", unit.config.name);
        }
    }

    async fn tell(&self, unit: &Unit) -> zbus::Result<()> {
        if lock(&self.subscribers).is_empty() {
            return Ok(());
        }
        let server = self.logind.connection()?.object_server();
        let interface = server.interface::<_, UnitObject>(unit_path(&unit.config.name)).await?;
        let (object, emitter) = (interface.get().await, interface.signal_emitter());
        object.active_state_changed(emitter).await?;
        object.sub_state_changed(emitter).await
    }

    async fn start(self: &Arc<Self>, unit: &Arc<Unit>) -> &'static str {
        if *unit.state() == UnitState::Active {
            return "done";
        }
        self.become_state(unit, UnitState::Activating).await;
        let Some((program, arguments)) = unit.config.command.split_first() else { return "failed" };
        match Command::new(program).args(arguments).stdin(Stdio::null()).spawn() {
            Ok(mut child) => {
                unit.process.send_replace(Some(child.id()));
                self.become_state(unit, UnitState::Active).await;
                let (this, unit) = (Arc::clone(self), Arc::clone(unit));
                tokio::spawn(async move {
                    let ended = tokio::task::spawn_blocking(move || child.wait()).await;
                    let clean = matches!(ended, Ok(Ok(status)) if status.success());
                    let asked = *unit.state() == UnitState::Deactivating;
                    unit.process.send_replace(None);
                    this.become_state(&unit, if clean || asked { UnitState::Inactive } else { UnitState::Failed })
                        .await;
                });
                "done"
            }
            Err(error) => {
                eprintln!("{}: {program}: {error}", unit.config.name);
                self.become_state(unit, UnitState::Failed).await;
                "failed"
            }
        }
    }

    async fn stop(&self, unit: &Unit) -> &'static str {
        let Some(pid) = *unit.process.borrow() else {
            return "done";
        };
        self.become_state(unit, UnitState::Deactivating).await;
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let _gone = kill(Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX)), signal);
            let mut process = unit.process.subscribe();
            if tokio::time::timeout(STOP_TIMEOUT, process.wait_for(Option::is_none)).await.is_ok() {
                return "done";
            }
        }
        "timeout"
    }

    /// Starts a job that goes on after the reply, as systemd's do, and ends with `JobRemoved`.
    fn job(self: &Arc<Self>, unit: &Arc<Unit>, is_start: bool) -> ResponseDispatchNotifier<OwnedObjectPath> {
        let id = self.jobs.fetch_add(1, Ordering::Relaxed) + 1;
        let path = object_path(&format!("{PATH}/job/{id}"));
        let (reply, sent) = ResponseDispatchNotifier::new(path.clone());
        let (this, unit) = (Arc::clone(self), Arc::clone(unit));
        tokio::spawn(async move {
            sent.await;
            let result = if is_start { this.start(&unit).await } else { this.stop(&unit).await };
            let told = async {
                let emitter = SignalEmitter::new(this.logind.connection()?, PATH)?;
                Manager::job_removed(&emitter, id, path, &unit.config.name, result).await
            };
            if let Err(error) = told.await {
                eprintln!("the end of job {id} could not be told: {error}");
            }
        });
        reply
    }
}

impl Unit {
    fn state(&self) -> MutexGuard<'_, UnitState> {
        lock(&self.state)
    }
}

/// `org.freedesktop.systemd1.Manager`.
pub(super) struct Manager(Arc<Systemd>);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    /// Only of units in memory: one that does not run is not.
    fn get_unit(&self, name: &str) -> Result<OwnedObjectPath, Error> {
        match self.0.units.get(name) {
            Some(unit) if *unit.state() != UnitState::Inactive => Ok(unit_path(name)),
            _ => Err(Error::NoSuchUnit(format!("Unit {name} not loaded."))),
        }
    }

    /// Of any name: one without a unit file is there as `not-found`.
    async fn load_unit(
        &self,
        #[zbus(connection)] connection: &Connection,
        name: &str,
    ) -> Result<OwnedObjectPath, Error> {
        let is_new = !self.0.units.contains_key(name) && !lock(&self.0.missing).iter().any(|n| n == name);
        if is_new {
            connection.object_server().at(unit_path(name), MissingUnit(name.to_owned())).await?;
            lock(&self.0.missing).push(name.to_owned());
        }
        Ok(unit_path(name))
    }

    fn start_unit(&self, name: &str, _mode: &str) -> Result<ResponseDispatchNotifier<OwnedObjectPath>, Error> {
        Ok(self.0.job(self.0.unit(name)?, true))
    }

    fn stop_unit(&self, name: &str, _mode: &str) -> Result<ResponseDispatchNotifier<OwnedObjectPath>, Error> {
        Ok(self.0.job(self.0.unit(name)?, false))
    }

    fn subscribe(&self, #[zbus(header)] header: zbus::message::Header<'_>) -> Result<(), Error> {
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        let mut subscribers = lock(&self.0.subscribers);
        if subscribers.contains(&sender) {
            return Err(Error::AlreadySubscribed("Client is already subscribed.".to_owned()));
        }
        subscribers.push(sender);
        Ok(())
    }

    fn unsubscribe(&self, #[zbus(header)] header: zbus::message::Header<'_>) -> Result<(), Error> {
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        let mut subscribers = lock(&self.0.subscribers);
        let Some(at) = subscribers.iter().position(|s| *s == sender) else {
            return Err(Error::NotSubscribed("Client is not subscribed.".to_owned()));
        };
        subscribers.remove(at);
        Ok(())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &str {
        "lab"
    }

    /// `stopping` from the order to power off or reboot on.
    #[zbus(property(emits_changed_signal = "false"))]
    fn system_state(&self) -> &str {
        if self.0.logind.is_going_down() { "stopping" } else { "running" }
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

/// `org.freedesktop.systemd1.Unit`.
struct UnitObject(Arc<Unit>);

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl UnitObject {
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> &str {
        &self.0.config.name
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn load_state(&self) -> &str {
        "loaded"
    }

    #[zbus(property)]
    fn active_state(&self) -> &str {
        self.0.state().word()
    }

    #[zbus(property)]
    fn sub_state(&self) -> &str {
        self.0.state().sub()
    }
}

/// The object of a unit without a unit file.
struct MissingUnit(String);

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl MissingUnit {
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> &str {
        &self.0
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn load_state(&self) -> &str {
        "not-found"
    }

    #[zbus(property)]
    fn active_state(&self) -> &str {
        "inactive"
    }

    #[zbus(property)]
    fn sub_state(&self) -> &str {
        "dead"
    }
}

fn unit_path(name: &str) -> OwnedObjectPath {
    object_path(&format!("{PATH}/unit/{}", path_label(name)))
}

/// The root object stands in for a path that can't be: labels are escaped, so there is none.
fn object_path(text: &str) -> OwnedObjectPath {
    OwnedObjectPath::try_from(text).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_given_by_its_name_and_perhaps_its_program() {
        let plain: UnitConfig = "washing.service".parse().unwrap();
        assert_eq!(plain.command, ["sleep", "infinity"]);
        let own: UnitConfig = "broken.service=/nonexistent -x".parse().unwrap();
        assert_eq!((own.name.as_str(), own.command.len()), ("broken.service", 2));
        assert!("washing".parse::<UnitConfig>().is_err());
        assert!(".service".parse::<UnitConfig>().is_err());
        assert!("washing.service=".parse::<UnitConfig>().is_err());
    }
}
