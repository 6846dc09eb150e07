//! A logind for the lab, with the part of systemd that runs units: the same names, paths, signals, errors and order of
//! events as the real ones, over a machine that is not real ([`crate::hardware`]).
//!
//! Source: org.freedesktop.login1(5) and org.freedesktop.systemd1(5) of systemd 252 to 257. What follows the real one:
//! a delay lock ends when the last copy of its file descriptor is closed; `PrepareForSleep(true)` comes before the wait
//! for delay locks, which ends after `InhibitDelayMaxUSec`; a second operation meanwhile is refused; root passes block
//! locks unless it asks to be checked; `JobRemoved` follows the reply of `StartUnit`.
//! What is left out: polkit, seats, hibernation, scheduled shutdown.

pub mod inhibitors;
mod manager;
mod session;
mod systemd;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, watch};
use zbus::Connection;

use crate::hardware::{FromLogind, Note, Order, Session, ToLogind, Wish};
use inhibitors::{Inhibitors, Lock};
pub use systemd::UnitConfig;

/// The limit on delay locks until a test sets another; systemd's own default.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// What is going on with the machine's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    Sleep,
    PowerOff,
    Reboot,
}

impl Going {
    /// The kind of lock that holds it up.
    fn kind(self) -> &'static str {
        if self == Going::Sleep { "sleep" } else { "shutdown" }
    }

    fn order(self) -> Order {
        match self {
            Going::Sleep => Order::Suspend,
            Going::PowerOff => Order::PowerOff,
            Going::Reboot => Order::Reboot,
        }
    }
}

/// The service's state, shared by its objects on the bus.
#[derive(Debug)]
struct Logind {
    connection: OnceLock<Connection>,
    machine: mpsc::UnboundedSender<FromLogind>,
    awake: Notify,
    locks: watch::Sender<Inhibitors>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    going: Option<Going>,
    delay_max: Duration,
    on_external_power: bool,
    ordered_down: bool,
    sessions: BTreeMap<String, Session>,
    /// Locks held by nobody on the bus, by the test's key.
    held: BTreeMap<String, u64>,
}

/// Runs until the machine hangs up: connects to the machine at `hardware` and to the bus of
/// `DBUS_SYSTEM_BUS_ADDRESS`, and serves login1 and systemd1 with `units`.
///
/// # Errors
/// When the machine or the bus can't be reached, or another program owns the names.
pub async fn serve(hardware: &Path, units: Vec<UnitConfig>) -> Result<()> {
    let stream =
        UnixStream::connect(hardware).await.with_context(|| format!("connecting to {}", hardware.display()))?;
    let (from_machine, mut to_machine) = stream.into_split();
    let (machine, mut outgoing) = mpsc::unbounded_channel::<FromLogind>();
    tokio::spawn(async move {
        while let Some(message) = outgoing.recv().await {
            let Ok(mut line) = serde_json::to_vec(&message) else { continue };
            line.push(b'\n');
            if to_machine.write_all(&line).await.is_err() {
                break;
            }
        }
    });

    let logind = Arc::new(Logind {
        connection: OnceLock::new(),
        machine,
        awake: Notify::new(),
        locks: watch::Sender::new(Inhibitors::default()),
        state: Mutex::new(State {
            going: None,
            delay_max: DELAY_MAX,
            on_external_power: true,
            ordered_down: false,
            sessions: BTreeMap::new(),
            held: BTreeMap::new(),
        }),
    });
    let systemd = systemd::Systemd::new(units, Arc::clone(&logind));
    let connection = zbus::connection::Builder::system()
        .serve_at(manager::PATH, manager::Manager(Arc::clone(&logind)))
        .serve_at(systemd::PATH, systemd.manager())
        .build()
        .await
        .context("connecting to the bus")?;
    systemd.serve_units(&connection).await.context("showing the units")?;
    if logind.connection.set(connection.clone()).is_err() {
        bail!("served twice");
    }
    connection.request_name(manager::NAME).await.with_context(|| format!("owning {}", manager::NAME))?;
    connection.request_name(systemd::NAME).await.with_context(|| format!("owning {}", systemd::NAME))?;
    logind.tell(FromLogind::Ready);

    let mut lines = BufReader::new(from_machine).lines();
    while let Some(line) = lines.next_line().await.context("reading from the machine")? {
        match serde_json::from_str(&line).with_context(|| format!("reading {line:?}"))? {
            ToLogind::Awake => logind.awake.notify_one(),
            ToLogind::Do { wish, what } => {
                logind.grant(what).await.context("carrying a wish out")?;
                logind.tell(FromLogind::Applied { wish });
            }
        }
    }
    Ok(())
}

impl Logind {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment, so a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, message: FromLogind) {
        // Without a machine the service is about to end.
        let _gone = self.machine.send(message);
    }

    fn note(&self, note: Note) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.tell(FromLogind::Noted { at_ns, note });
    }

    fn connection(&self) -> zbus::Result<&Connection> {
        self.connection.get().ok_or(zbus::Error::InterfaceNotFound)
    }

    /// systemd's view: the delay is over and the machine is going down.
    fn is_going_down(&self) -> bool {
        self.state().ordered_down
    }

    /// Starts an operation: tells everybody, then goes on by itself.
    async fn begin(self: &Arc<Self>, going: Going) -> Result<(), manager::Error> {
        {
            let mut state = self.state();
            if state.going.is_some() {
                return Err(manager::Error::OperationInProgress(
                    "There's already a shutdown or sleep operation in progress".to_owned(),
                ));
            }
            state.going = Some(going);
        }
        self.prepare(going, true).await?;
        let this = Arc::clone(self);
        tokio::spawn(async move { this.carry_out(going).await });
        Ok(())
    }

    async fn carry_out(self: Arc<Self>, going: Going) {
        let limit = self.state().delay_max;
        let mut locks = self.locks.subscribe();
        let free = locks.wait_for(|locks| !locks.holds(inhibitors::Mode::Delay, going.kind()));
        if tokio::time::timeout(limit, free).await.is_err() {
            self.note(Note::DelayExpired);
        }
        self.state().ordered_down = going != Going::Sleep;
        self.tell(FromLogind::Order(going.order()));
        if going == Going::Sleep {
            self.awake.notified().await;
            self.state().going = None;
            if let Err(error) = self.prepare(going, false).await {
                eprintln!("PrepareForSleep(false) could not be sent: {error}");
            }
        }
    }

    async fn prepare(&self, going: Going, start: bool) -> zbus::Result<()> {
        if going == Going::Sleep {
            self.note(Note::PrepareForSleep { start });
        } else {
            self.note(Note::PrepareForShutdown { start });
        }
        manager::prepare(self.connection()?, going, start).await
    }

    async fn take(&self, lock: Lock) -> zbus::Result<u64> {
        self.note(Note::LockTaken { what: lock.what(), who: lock.who.clone(), mode: lock.mode.word().to_owned() });
        let mut number = 0;
        self.locks.send_modify(|locks| number = locks.take(lock));
        manager::locks_changed(self.connection()?).await?;
        Ok(number)
    }

    async fn release(&self, number: u64) -> zbus::Result<()> {
        let mut released = None;
        self.locks.send_modify(|locks| released = locks.release(number));
        if let Some(lock) = released {
            self.note(Note::LockReleased { what: lock.what(), who: lock.who, mode: lock.mode.word().to_owned() });
        }
        manager::locks_changed(self.connection()?).await
    }

    async fn grant(self: &Arc<Self>, wish: Wish) -> Result<()> {
        match wish {
            Wish::Session(session) => session::put(self, session).await?,
            Wish::EndSession { id } => session::end(self, &id).await?,
            Wish::Hold { key, what, who, why, mode } => {
                let lock = Lock::parse(&what, &who, &why, &mode, 0, std::process::id())?;
                let number = self.take(lock).await?;
                self.state().held.insert(key, number);
            }
            Wish::LetGo { key } => {
                let number = self.state().held.remove(&key).with_context(|| format!("no lock is called {key}"))?;
                self.release(number).await?;
            }
            Wish::OnExternalPower { value } => {
                self.state().on_external_power = value;
                manager::external_power_changed(self.connection()?).await?;
            }
            Wish::DelayMax { ms } => self.state().delay_max = Duration::from_millis(ms),
            Wish::Suspend => self.begin(Going::Sleep).await?,
            Wish::PowerOff => self.begin(Going::PowerOff).await?,
            Wish::Reboot => self.begin(Going::Reboot).await?,
        }
        Ok(())
    }
}

/// systemd's spelling of a name as one element of an object path: everything but letters and digits becomes `_` and two
/// hexadecimal digits, also a leading digit.
fn path_label(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    let mut label = String::new();
    for (at, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            label.push(char::from(byte));
        } else {
            label.push_str(&format!("_{byte:02x}"));
        }
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_systemd_does() {
        assert_eq!(path_label("appliance.target"), "appliance_2etarget");
        assert_eq!(path_label("1"), "_31");
        assert_eq!(path_label("c2"), "c2");
        assert_eq!(path_label(""), "_");
    }
}
