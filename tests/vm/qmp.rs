//! The emulator's control socket (QEMU Machine Protocol): commands, and events with the host's time stamps.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::lab::wait_until;

use crate::limits::{QMP_EVENTS_MAX, QMP_S_MAX};

/// Something that happened to the machine.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Wall clock of the host since 1970, to be compared with the watcher's.
    pub(crate) at: Duration,
    /// `SUSPEND`, `WAKEUP`, `SHUTDOWN`, `RESET`, ...
    pub(crate) name: String,
}

/// The open socket.
#[derive(Debug)]
pub(crate) struct Qmp {
    /// With the number of the last command.
    commands: Mutex<(UnixStream, u64)>,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    replies: Vec<Value>,
    gone: bool,
}

impl Qmp {
    /// Connects as soon as the emulator listens.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn connect(socket: &Path) -> Result<Qmp> {
        let stream = wait_until("the emulator's control socket", QMP_S_MAX, || UnixStream::connect(socket).ok())?;
        let reading = stream.try_clone().context("sharing the control socket")?;
        let shared = Arc::new(Shared::default());
        let heard = Arc::clone(&shared);
        let reader = std::thread::Builder::new()
            .name("qmp".into())
            .spawn(move || heard.read(reading))
            .context("starting the reader of the control socket")?;
        let qmp = Qmp { commands: Mutex::new((stream, 0)), shared, reader: Some(reader) };
        qmp.command("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command; what it returns.
    ///
    /// # Errors
    /// What the emulator says of it.
    pub(crate) fn command(&self, name: &str, arguments: &Value) -> Result<Value> {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.1 += 1;
        let id = commands.1;
        let line = json!({ "execute": name, "arguments": arguments, "id": id });
        writeln!(commands.0, "{line}").with_context(|| format!("sending {name}"))?;
        let reply = self.wait(name, QMP_S_MAX, |state| {
            let at = state.replies.iter().position(|reply| reply.get("id") == Some(&json!(id)))?;
            Some(state.replies.swap_remove(at))
        })?;
        drop(commands);
        match reply.get("return") {
            Some(value) => Ok(value.clone()),
            None => bail!("{name}: {reply}"),
        }
    }

    /// A command of the human monitor, which has what the protocol lacks; it is silent when all is well.
    ///
    /// # Errors
    /// When it says anything.
    pub(crate) fn monitor(&self, line: &str) -> Result<()> {
        match self.command("human-monitor-command", &json!({ "command-line": line }))?.as_str() {
            Some("") => Ok(()),
            said => bail!("{line}: {said:?}"),
        }
    }

    /// `running`, `suspended`, `shutdown`, ...
    ///
    /// # Errors
    /// When the emulator does not answer.
    pub(crate) fn status(&self) -> Result<String> {
        let status = self.command("query-status", &json!({}))?;
        Ok(status.get("status").and_then(Value::as_str).context("a status without a status")?.to_owned())
    }

    /// The present end of the events.
    pub(crate) fn mark(&self) -> usize {
        self.shared.lock().events.len()
    }

    /// The first event called `name` after the first `skip` ones, waiting for it.
    ///
    /// # Errors
    /// When it has not come after `deadline`, with those that have.
    pub(crate) fn wait_event(&self, name: &str, skip: usize, deadline: Duration) -> Result<Event> {
        let found = self.wait(name, deadline, |state| state.events.iter().skip(skip).find(|e| e.name == name).cloned());
        found.with_context(|| format!("the emulator said {:?}", self.since(skip)))
    }

    /// The events after the first `skip` ones.
    pub(crate) fn since(&self, skip: usize) -> Vec<Event> {
        self.shared.lock().events.iter().skip(skip).cloned().collect()
    }

    fn wait<T>(&self, what: &str, deadline: Duration, mut look: impl FnMut(&mut State) -> Option<T>) -> Result<T> {
        let until = Instant::now() + deadline;
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Ok(found);
            }
            if state.gone {
                bail!("{what}: the emulator has ended");
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                bail!("{what}: not within {deadline:?}");
            };
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let _gone = commands.0.shutdown(std::net::Shutdown::Both);
        drop(commands);
        if let Some(reader) = self.reader.take() {
            let _ended = reader.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends with the connection.
    fn read(&self, stream: UnixStream) {
        for line in BufReader::new(stream).lines().map_while(std::io::Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            let mut state = self.lock();
            if let Some(event) = Event::read(&message) {
                if state.events.len() < QMP_EVENTS_MAX {
                    state.events.push(event);
                }
            } else if message.get("QMP").is_none() {
                state.replies.push(message);
            }
            drop(state);
            self.changed.notify_all();
        }
        self.lock().gone = true;
        self.changed.notify_all();
    }
}

impl Event {
    fn read(message: &Value) -> Option<Event> {
        let name = message.get("event")?.as_str()?.to_owned();
        let number = |key: &str| message.get("timestamp")?.get(key)?.as_u64();
        let at = Duration::from_secs(number("seconds")?) + Duration::from_micros(number("microseconds")?);
        Some(Event { at, name })
    }
}
