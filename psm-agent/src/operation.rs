//! The appliance's work (IO): switches it on and off, and looks whether it runs.
//!
//! | driver | on, off | observed by |
//! |---|---|---|
//! | unit | systemd starts, stops the unit | its `ActiveState`, told by systemd at each change; its `LoadState`; what a target holds |
//! | command | a program of the configuration | another program, every `look-every-s` |
//! | gpio | the line's level | the line's level, every `look-every-s` |
//! | machine | -, logind powers off | that this program runs |
//!
//! All that is used of `org.freedesktop.systemd1`, at `/org/freedesktop/systemd1`:
//! - `org.freedesktop.systemd1.Manager`: methods `Subscribe()`, `LoadUnit(s)`, `StartUnit(ss)`, `StopUnit(ss)`; property
//!   `SystemState`, by `org.freedesktop.DBus.Properties.Get`.
//! - a unit's object, at the path `LoadUnit` gives (systemd's own escaping of the name):
//!   `org.freedesktop.DBus.Properties.Get("org.freedesktop.systemd1.Unit", "ActiveState")`, as well of `LoadState`, and of a
//!   target's `Wants`, `Requires`, `BindsTo`; the signal `org.freedesktop.DBus.Properties.PropertiesChanged` with `ActiveState` in it.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::rc::Rc;

use gpiocdev::line::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use zbus::{OwnedObjectPath, OwnedVariant};

use crate::bus::{BusError, BusSignal, Caller, Watch};
use crate::config;
use crate::limits::{
    COMMAND_STDERR_BYTES_MAX, OPERATION_WITHIN, STATUS_COMMAND_WITHIN, UNIT_LOOK_FIRST, UNIT_LOOK_LONGEST,
    UNIT_SETTLES_WITHIN,
};
use crate::logind::{self, PROPERTIES};
use crate::state::Operation;

/// Well-known name of systemd.
pub const SYSTEMD: &str = "org.freedesktop.systemd1";
pub(crate) const PATH: &str = "/org/freedesktop/systemd1";
pub(crate) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const ALREADY_SUBSCRIBED: &str = "org.freedesktop.systemd1.AlreadySubscribed";

/// Why the operation was not switched or seen.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// The bus or the service on it.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The unit did not get there, or its file is none that systemd can read.
    #[error("{unit} is {state}")]
    Unit {
        /// The unit.
        unit: String,
        /// Its ActiveState, or LoadState.
        state: String,
    },
    /// No unit has the name.
    #[error("unit {0} does not exist; see [operation] in psm-agent.toml(5)")]
    Absent(String),
    /// A program failed.
    #[error("{program}: {what}")]
    Command {
        /// The program.
        program: String,
        /// Exit code and error output, or why it could not run.
        what: String,
    },
    /// The GPIO chip or line.
    #[error("{chip} line {line}: {what}")]
    Gpio {
        /// The chip.
        chip: String,
        /// The line's offset.
        line: u32,
        /// The kernel's words.
        what: String,
    },
    /// It took longer than [`OPERATION_WITHIN`].
    #[error("no result within {} s", OPERATION_WITHIN.as_secs())]
    Timeout,
}

impl OperationError {
    /// Nothing is there to be switched: what was seen of it before is no more.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent(_))
    }
}

/// What an order came to.
pub type Outcome = Result<Operation, OperationError>;
/// An order under way. It stands on its own: the loop goes on meanwhile.
pub type Working = Pin<Box<dyn Future<Output = Outcome>>>;
/// A look under way.
pub type Looking = Pin<Box<dyn Future<Output = Result<Seen, OperationError>>>>;

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether it runs.
    pub operation: Operation,
    /// The unit is a target that no unit comes with: switching it switches nothing.
    pub is_hollow: bool,
}

impl From<Operation> for Seen {
    fn from(operation: Operation) -> Self {
        Self { operation, is_hollow: false }
    }
}

/// The operation driver.
#[derive(Debug)]
pub struct Driver {
    kind: Kind,
    look_every: Duration,
}

#[derive(Debug)]
enum Kind {
    Unit { name: String, path: String },
    Command { on: Rc<[String]>, off: Rc<[String]>, status: Rc<[String]> },
    Gpio(Rc<RefCell<Line>>),
    Machine,
}

impl Driver {
    /// The driver of a configuration.
    pub fn new(config: &config::Operation) -> Self {
        let kind = match config.driver {
            config::DriverKind::Unit => Kind::Unit { name: config.unit.clone(), path: unit_path(&config.unit) },
            config::DriverKind::Command => Kind::Command {
                on: config.on_command.as_slice().into(),
                off: config.off_command.as_slice().into(),
                status: config.status_command.as_slice().into(),
            },
            config::DriverKind::Gpio => Kind::Gpio(Rc::new(RefCell::new(Line {
                chip: config.gpio_chip.clone(),
                offset: config.gpio_line.unwrap_or(0),
                active_low: config.gpio_active_low,
                request: None,
            }))),
            config::DriverKind::Machine => Kind::Machine,
        };
        Self { kind, look_every: Duration::from_secs(config.look_every_s.into()) }
    }

    /// The signal to watch, where the driver has one.
    pub fn watch(&self) -> Option<Watch> {
        let Kind::Unit { path, .. } = &self.kind else { return None };
        Some(Watch { service: SYSTEMD, path: path.clone(), interface: PROPERTIES, member: "PropertiesChanged" })
    }

    /// What it drives, for people.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Unit { name, .. } => format!("unit {name}"),
            Kind::Command { on, .. } => format!("command {}", on.first().map_or("", String::as_str)),
            Kind::Gpio(line) => {
                let line = line.borrow();
                format!("gpio {} line {}", line.chip.display(), line.offset)
            }
            Kind::Machine => "this machine, off powers it off".to_owned(),
        }
    }

    /// Whether OFF means that the machine is powered off.
    pub fn off_is_power_off(&self) -> bool {
        matches!(self.kind, Kind::Machine)
    }

    /// What it drives, and where the last look found it hollow, what to do about that.
    pub fn describe_seen(&self, is_hollow: bool) -> String {
        let what = self.describe();
        if !is_hollow {
            return what;
        }
        format!("{what}, which holds nothing yet: give it a unit, or set driver = \"machine\", see psm-agent.toml(5)")
    }

    /// How long until the next look: at an operation that tells nothing by itself, or one that was not `seen` at the last, or hollow.
    pub fn look_again(&self, seen: bool) -> Option<Duration> {
        match self.kind {
            Kind::Command { .. } | Kind::Gpio(_) => Some(self.look_every),
            // A unit file that is written tells nobody.
            Kind::Unit { .. } => (!seen).then_some(self.look_every),
            Kind::Machine => None,
        }
    }

    /// What a signal of systemd says about the operation. `Some(None)`: it changed, look again.
    pub fn observation(&self, signal: &BusSignal) -> Option<Option<Operation>> {
        let Kind::Unit { path, .. } = &self.kind else { return None };
        let header = signal.message.header();
        if signal.service != SYSTEMD
            || header.path()?.as_str() != path
            || header.member()?.as_str() != "PropertiesChanged"
        {
            return None;
        }
        let body = signal.message.body();
        type Changed = (String, HashMap<String, OwnedVariant>, Vec<String>);
        let (interface, changed, invalidated): Changed = body.deserialize().ok()?;
        if interface != UNIT {
            return None;
        }
        if let Some(state) = changed.get("ActiveState").and_then(|v| v.downcast_ref::<String>().ok()) {
            return Some(Some(of_active_state(&state)));
        }
        invalidated.iter().any(|name| name == "ActiveState").then_some(None)
    }

    /// Looks whether the operation runs.
    pub fn look(&self, bus: Result<Caller, BusError>) -> Looking {
        match &self.kind {
            Kind::Unit { name, .. } => {
                let name = name.clone();
                Box::pin(async move {
                    let bus = bus?;
                    subscribe(&bus).await?;
                    let path = load_unit(&bus, &name).await?;
                    let operation = look_at_unit(&bus, &name, &path).await?;
                    Ok(Seen { operation, is_hollow: is_hollow(&bus, &name, &path).await })
                })
            }
            Kind::Command { status, .. } => {
                let status = status.clone();
                Box::pin(async move { look_by_command(status).await.map(Seen::from) })
            }
            Kind::Gpio(line) => {
                let result = line.borrow_mut().look().map(Seen::from);
                Box::pin(core::future::ready(result))
            }
            Kind::Machine => Box::pin(core::future::ready(Ok(Operation::On.into()))),
        }
    }

    /// Switches the operation on or off, and gives what it then is.
    pub fn switch(&self, on: bool, bus: Result<Caller, BusError>) -> Working {
        let work: Working = match &self.kind {
            Kind::Unit { name, .. } => {
                let name = name.clone();
                Box::pin(async move { switch_unit(&bus?, &name, on).await })
            }
            Kind::Command { on: on_command, off, status } => {
                let (command, status) = (if on { on_command } else { off }.clone(), status.clone());
                Box::pin(async move {
                    let ended = run(&command, OPERATION_WITHIN).await?;
                    if ended.code != 0 {
                        return Err(ended.error());
                    }
                    let seen = look_by_command(status).await?;
                    let wanted = if on { Operation::On } else { Operation::Off };
                    let what = "it succeeded, and the status command says that nothing changed";
                    let failed = || OperationError::Command { program: command[0].clone(), what: what.to_owned() };
                    (seen == wanted).then_some(seen).ok_or_else(failed)
                })
            }
            Kind::Gpio(line) => {
                let result = line.borrow_mut().switch(on);
                Box::pin(core::future::ready(result))
            }
            Kind::Machine if on => Box::pin(core::future::ready(Ok(Operation::On))),
            Kind::Machine => Box::pin(async move {
                logind::power_off(&bus?).await?;
                Ok(Operation::On)
            }),
        };
        Box::pin(
            async move { tokio::time::timeout(OPERATION_WITHIN, work).await.unwrap_or(Err(OperationError::Timeout)) },
        )
    }
}

/// ON or OFF by a unit's ActiveState (org.freedesktop.systemd1(5)). On its way it counts as where it comes from.
fn of_active_state(state: &str) -> Operation {
    match state {
        "active" | "reloading" | "refreshing" | "deactivating" => Operation::On,
        "inactive" | "failed" | "maintenance" | "activating" => Operation::Off,
        _ => Operation::Unknown,
    }
}

/// systemd's object path of a unit: every byte but ASCII letters and digits is `_` and two hex digits.
fn unit_path(name: &str) -> String {
    let mut path = format!("{PATH}/unit/");
    for (i, b) in name.bytes().enumerate() {
        if b.is_ascii_alphabetic() || (b.is_ascii_digit() && i > 0) {
            path.push(char::from(b));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(path, "_{b:02x}");
        }
    }
    path
}

/// Without it systemd sends no PropertiesChanged; the second time in a connection it refuses, and nothing is amiss.
async fn subscribe(bus: &Caller) -> Result<(), BusError> {
    match bus.call(SYSTEMD, PATH, MANAGER, "Subscribe", &()).await {
        Err(BusError::Refused { name, .. }) if name == ALREADY_SUBSCRIBED => Ok(()),
        subscribed => subscribed.map(drop),
    }
}

pub(crate) async fn load_unit(bus: &Caller, name: &str) -> Result<String, BusError> {
    let reply = bus.call(SYSTEMD, PATH, MANAGER, "LoadUnit", &name).await?;
    let path: OwnedObjectPath = reply.body().deserialize()?;
    Ok(path.to_string())
}

pub(crate) async fn active_state(bus: &Caller, path: &str) -> Result<String, BusError> {
    unit_property(bus, path, "ActiveState").await
}

async fn unit_property(bus: &Caller, path: &str, name: &str) -> Result<String, BusError> {
    Ok(String::try_from(unit_value(bus, path, name).await?)?)
}

async fn unit_value(bus: &Caller, path: &str, name: &str) -> Result<OwnedVariant, BusError> {
    let reply = bus.call(SYSTEMD, path, PROPERTIES, "Get", &(UNIT, name)).await?;
    reply.body().deserialize().map_err(BusError::from)
}

/// Whether a unit is a target that brings nothing up. A remark for people only: where systemd does not say it, there is none.
async fn is_hollow(bus: &Caller, name: &str, path: &str) -> bool {
    if !name.ends_with(".target") {
        return false;
    }
    for dependencies in ["Wants", "Requires", "BindsTo"] {
        let units =
            unit_value(bus, path, dependencies).await.ok().and_then(|value| Vec::<String>::try_from(value).ok());
        if units.is_none_or(|units| !units.is_empty()) {
            return false;
        }
    }
    true
}

/// Whether a unit runs. To systemd one without a file has an object too, and is inactive: that says nothing of the appliance.
async fn look_at_unit(bus: &Caller, name: &str, path: &str) -> Outcome {
    let seen = of_active_state(&active_state(bus, path).await?);
    if seen == Operation::Off {
        readable(name, unit_property(bus, path, "LoadState").await?)?;
    }
    Ok(seen)
}

/// Whether a unit that does not run is one that could, by its LoadState (org.freedesktop.systemd1(5)). A masked one is off by
/// somebody's will.
fn readable(name: &str, load_state: String) -> Result<(), OperationError> {
    match load_state.as_str() {
        "not-found" => Err(OperationError::Absent(name.to_owned())),
        "error" | "bad-setting" => Err(OperationError::Unit { unit: name.to_owned(), state: load_state }),
        _ => Ok(()),
    }
}

/// Which of `units` are running or about to.
///
/// # Errors
/// systemd is absent.
pub async fn running_units(bus: &Caller, units: &[String]) -> Result<Vec<String>, BusError> {
    let mut running = Vec::new();
    for name in units {
        let path = load_unit(bus, name).await?;
        let state = active_state(bus, &path).await?;
        if !matches!(state.as_str(), "inactive" | "failed" | "deactivating") {
            running.push(name.clone());
        }
    }
    Ok(running)
}

/// Whether systemd is taking the whole machine down.
///
/// # Errors
/// systemd is absent.
pub async fn system_is_stopping(bus: &Caller) -> Result<bool, BusError> {
    let reply = bus.call(SYSTEMD, PATH, PROPERTIES, "Get", &(MANAGER, "SystemState")).await?;
    let value: OwnedVariant = reply.body().deserialize()?;
    Ok(String::try_from(value)? == "stopping")
}

async fn switch_unit(bus: &Caller, name: &str, on: bool) -> Outcome {
    let path = load_unit(bus, name).await?;
    look_at_unit(bus, name, &path).await?;
    let method = if on { "StartUnit" } else { "StopUnit" };
    bus.call(SYSTEMD, PATH, MANAGER, method, &(name, "replace")).await?;
    let wanted = if on { Operation::On } else { Operation::Off };
    let mut pause = UNIT_LOOK_FIRST;
    let mut waited = Duration::ZERO;
    loop {
        let state = active_state(bus, &path).await?;
        match state.as_str() {
            // systemd took the job; the unit says by its signals when it is there.
            "activating" | "deactivating" if waited >= UNIT_SETTLES_WITHIN => return Ok(of_active_state(&state)),
            "activating" | "deactivating" => {}
            _ if of_active_state(&state) == wanted => return Ok(wanted),
            "failed" => return Err(OperationError::Unit { unit: name.to_owned(), state }),
            _ if waited >= UNIT_SETTLES_WITHIN => return Err(OperationError::Unit { unit: name.to_owned(), state }),
            _ => {}
        }
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(UNIT_LOOK_LONGEST);
    }
}

async fn look_by_command(status: Rc<[String]>) -> Outcome {
    let ended = run(&status, STATUS_COMMAND_WITHIN).await?;
    match ended.code {
        0 => Ok(Operation::On),
        1 | 3 => Ok(Operation::Off),
        _ => Err(ended.error()),
    }
}

/// How a program ended by itself.
struct Ended {
    program: String,
    code: i32,
    said: String,
}

impl Ended {
    fn error(self) -> OperationError {
        let last = self.said.trim().lines().next_back().unwrap_or_default();
        let colon = if last.is_empty() { "" } else { ": " };
        OperationError::Command { program: self.program, what: format!("exit code {}{colon}{last}", self.code) }
    }
}

/// Runs a program to its end; one that overstays is killed.
async fn run(command: &[String], within: Duration) -> Result<Ended, OperationError> {
    let program = command.first().cloned().unwrap_or_default();
    let failed = |what: String| OperationError::Command { program: program.clone(), what };
    let mut child = Command::new(&program)
        .args(command.get(1..).unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    let stderr = child.stderr.take();
    let work = async {
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            // A pipe that breaks costs only the words: the exit code counts. What is over the bound is read and dropped,
            // so that the program does not hang on a full pipe.
            let mut stderr = stderr.take(COMMAND_STDERR_BYTES_MAX);
            let _ = stderr.read_to_end(&mut said).await;
            let _ = tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await;
        }
        (child.wait().await, said)
    };
    let (status, said) = tokio::time::timeout(within, work)
        .await
        .map_err(|_| failed(format!("no result within {} s", within.as_secs())))?;
    let code =
        status.map_err(|e| failed(e.to_string()))?.code().ok_or_else(|| failed("ended by a signal".to_owned()))?;
    Ok(Ended { code, said: String::from_utf8_lossy(&said).into_owned(), program })
}

/// A GPIO line, held from the first use on so that nobody else changes it.
#[derive(Debug)]
struct Line {
    chip: PathBuf,
    offset: u32,
    active_low: bool,
    request: Option<Request>,
}

#[derive(Debug)]
struct Request {
    request: gpiocdev::Request,
    output: bool,
}

impl Line {
    fn failed(chip: &Path, line: u32, error: &gpiocdev::Error) -> OperationError {
        OperationError::Gpio { chip: chip.display().to_string(), line, what: error.to_string() }
    }

    fn builder(&self) -> gpiocdev::request::Builder {
        let mut builder = gpiocdev::Request::builder();
        builder.on_chip(&self.chip).with_consumer("psm-agent").with_line(self.offset);
        if self.active_low {
            builder.as_active_low();
        }
        builder
    }

    /// Reads the level. The line's direction is left as it is, so that a start of the agent switches nothing.
    fn look(&mut self) -> Outcome {
        let failed = |error| Self::failed(&self.chip, self.offset, &error);
        let request = match &self.request {
            Some(held) => held,
            None => {
                let request = self.builder().as_is().request().map_err(failed)?;
                self.request.insert(Request { request, output: false })
            }
        };
        match request.request.lone_value().map_err(failed)? {
            Value::Active => Ok(Operation::On),
            Value::Inactive => Ok(Operation::Off),
        }
    }

    fn switch(&mut self, on: bool) -> Outcome {
        let failed = |error| Self::failed(&self.chip, self.offset, &error);
        let value = if on { Value::Active } else { Value::Inactive };
        match &mut self.request {
            Some(held) if held.output => held.request.set_lone_value(value).map_err(failed)?,
            _ => {
                // A line is requested anew as output; the kernel lets it go and takes it again with the level wanted.
                self.request = None;
                let request = self.builder().as_output(value).request().map_err(failed)?;
                self.request = Some(Request { request, output: true });
            }
        }
        self.look()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_path_is_escaped_as_systemd_does_it() {
        assert_eq!(unit_path("appliance.target"), "/org/freedesktop/systemd1/unit/appliance_2etarget");
        assert_eq!(unit_path("a-b@1.service"), "/org/freedesktop/systemd1/unit/a_2db_401_2eservice");
        assert_eq!(unit_path("3d.service"), "/org/freedesktop/systemd1/unit/_33d_2eservice");
    }

    fn driver(dir: &Path) -> Driver {
        let flag = dir.join("on").display().to_string();
        let sh = |script: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
        Driver::new(&config::Operation {
            driver: config::DriverKind::Command,
            on_command: sh(&format!("touch {flag}")),
            off_command: sh(&format!("rm {flag}")),
            status_command: sh(&format!("test -e {flag}")),
            ..config::Operation::default()
        })
    }

    fn no_bus() -> Result<Caller, BusError> {
        Err(BusError::Absent("none here".into()))
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn a_command_driver_switches_and_then_looks() {
        let dir = tempfile::tempdir().unwrap();
        block_on(async {
            let driver = driver(dir.path());
            assert_eq!(driver.look(no_bus()).await.unwrap().operation, Operation::Off);
            assert_eq!(driver.switch(true, no_bus()).await.unwrap(), Operation::On);
            assert_eq!(driver.look(no_bus()).await.unwrap().operation, Operation::On);
            assert_eq!(driver.switch(false, no_bus()).await.unwrap(), Operation::Off);
        });
    }

    #[test]
    fn a_failing_command_gives_its_exit_code_and_last_words() {
        let failing = ["/bin/sh", "-c", "echo relay stuck >&2; exit 7"].map(str::to_owned);
        block_on(async {
            let error = run(&failing, Duration::from_secs(5)).await.unwrap().error();
            assert_eq!(error.to_string(), "/bin/sh: exit code 7: relay stuck");
            let missing = ["/nonexistent/relay".to_owned()];
            let error = run(&missing, Duration::from_secs(5)).await.err().unwrap().to_string();
            assert!(error.starts_with("/nonexistent/relay: No such file"), "{error}");
            let slow = ["/bin/sleep", "60"].map(str::to_owned);
            let error = run(&slow, Duration::from_millis(50)).await.err().unwrap().to_string();
            assert_eq!(error, "/bin/sleep: no result within 0 s");
        });
    }

    #[test]
    fn a_unit_without_a_bus_says_why_it_cannot_be_switched() {
        let driver = Driver::new(&config::Operation::default());
        let error = block_on(driver.switch(true, no_bus())).unwrap_err();
        assert_eq!(error.to_string(), "no system bus: none here");
    }

    #[test]
    fn a_unit_without_a_readable_file_is_not_off_but_not_there() {
        let of = |load_state: &str| readable("pump.service", load_state.to_owned()).map_err(|e| e.to_string());
        assert_eq!(
            of("not-found"),
            Err("unit pump.service does not exist; see [operation] in psm-agent.toml(5)".to_owned())
        );
        assert_eq!(of("bad-setting"), Err("pump.service is bad-setting".to_owned()));
        assert_eq!((of("loaded"), of("masked")), (Ok(()), Ok(())));
    }

    #[test]
    fn a_unit_is_looked_at_again_only_while_it_is_not_seen() {
        let every = |driver| {
            let driver = Driver::new(&config::Operation { driver, look_every_s: 7, ..config::Operation::default() });
            [true, false].map(|seen| driver.look_again(seen).map(|after| after.as_secs()))
        };
        assert_eq!(every(config::DriverKind::Unit), [None, Some(7)]);
        assert_eq!(every(config::DriverKind::Gpio), [Some(7), Some(7)]);
        assert_eq!(every(config::DriverKind::Machine), [None, None]);
    }

    #[test]
    fn a_machine_that_is_the_appliance_itself_is_on_and_says_what_off_does() {
        let machine = config::Operation { driver: config::DriverKind::Machine, ..config::Operation::default() };
        let driver = Driver::new(&machine);
        assert_eq!(block_on(driver.look(no_bus())).unwrap(), Operation::On.into());
        assert!(driver.off_is_power_off());
        assert_eq!(driver.describe_seen(false), "this machine, off powers it off");
    }

    #[test]
    fn a_target_that_holds_nothing_says_what_to_do() {
        let said = Driver::new(&config::Operation::default()).describe_seen(true);
        assert!(said.starts_with("unit appliance.target, which holds nothing yet: "), "{said}");
        assert!(said.contains("driver = \"machine\""), "{said}");
    }

    #[test]
    fn a_gpio_chip_that_is_not_there_is_named() {
        let driver = Driver::new(&config::Operation {
            driver: config::DriverKind::Gpio,
            gpio_chip: "/nonexistent/gpiochip".into(),
            gpio_line: Some(4),
            ..config::Operation::default()
        });
        let error = block_on(driver.look(no_bus())).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/gpiochip line 4: "), "{error}");
    }

    #[test]
    fn a_unit_on_its_way_counts_as_where_it_comes_from() {
        for (state, seen) in [
            ("active", Operation::On),
            ("reloading", Operation::On),
            ("deactivating", Operation::On),
            ("inactive", Operation::Off),
            ("failed", Operation::Off),
            ("activating", Operation::Off),
            ("a-word-of-tomorrow", Operation::Unknown),
        ] {
            assert_eq!(of_active_state(state), seen, "{state}");
        }
    }
}
