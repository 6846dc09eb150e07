//! An appliance's machine: a lab host with a bus, a logind and power states.
//!
//! Asleep means: every process but the bus and logind is stopped (SIGSTOP) and the cable is pulled. Off means: every
//! process has ended. Either way the network card stays alive: a magic packet for it, seen on the wire by the lab's
//! watcher, wakes or boots the machine. The programs on it are the unmodified ones and can't tell.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use testkit::lab::host::RTC_ALARM;
use testkit::lab::{Host, Lab, Link, Mark, Process, Watcher, wait_until};

use crate::hardware::{FromLogind, Note, Order, ToLogind, Wish};
use crate::limits::{BOOT_S_MAX, FREEZE_S_MAX, MACHINE_IDLE_S_MAX, MAGIC_POLL, SHUTDOWN_S_MAX, WISH_S_MAX};

/// Every caller may do everything on the private bus; who may call the real logind is not what the lab is about.
const BUS_CONFIG: &str = r#"<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
"#;

const BUS_ADDRESS: &str = "unix:path=/run/dbus/system_bus_socket";
const BUS: &str = "dbus-daemon";
const LOGIND: &str = "lab-logind";

/// A program that runs while the machine does, as a service would.
#[derive(Debug, Clone)]
pub struct Program {
    /// What tests call it.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment beyond the lab's.
    pub environment: Vec<(String, String)>,
    /// Names of the directories below `/run` and `/var/lib` made for it, as `RuntimeDirectory=` and `StateDirectory=` do.
    pub directories: Vec<String>,
}

/// What a machine is made of.
#[derive(Debug, Clone, Default)]
pub struct MachineConfig {
    /// Units its systemd knows, as [`crate::logind::UnitConfig`] reads them.
    pub units: Vec<String>,
    /// Programs started at every boot.
    pub programs: Vec<Program>,
    /// The SecureOn password its network card asks for, or none.
    pub wake_password: Option<Vec<u8>>,
}

/// Whether the machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// No process.
    Off,
    /// As usual.
    Running,
    /// Processes stopped, cable pulled.
    Asleep,
}

/// Something that happened on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// logind said so.
    Logind(Note),
    /// Every process of the machine is stopped; nothing can leave it after this.
    Frozen,
    /// Its processes go on.
    Thawed,
    /// A magic packet for it was seen, and taken or not.
    MagicPacket {
        /// False: the password was wrong, or the machine was running.
        taken: bool,
    },
    /// The clock chip's alarm went off while the machine slept.
    ClockAlarm,
    /// Every process has ended.
    PoweredOff,
    /// The programs have been started.
    Booted,
}

/// An [`Event`] with its wall clock time since 1970, to be compared with the watcher's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    /// When.
    pub at: Duration,
    /// What.
    pub what: Event,
}

/// A machine of the lab. Dropping it ends its processes.
#[derive(Debug)]
pub struct Machine {
    shared: Arc<Shared>,
    inputs: Sender<Input>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    host: Host,
    links: Vec<Link>,
    config: MachineConfig,
    logind_program: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    power: Power,
    processes: BTreeMap<String, Process>,
    to_logind: Option<UnixStream>,
    events: Vec<Timed>,
    wishes: u64,
    applied: u64,
    stop: bool,
    failure: Option<String>,
}

#[derive(Debug)]
enum Input {
    Logind(FromLogind),
    Magic { at: Duration, password: Option<Vec<u8>> },
    ClockAlarm,
    PowerButton,
    Stop,
}

impl Machine {
    /// Boots a machine on `host`, whose interfaces are `links`.
    ///
    /// # Errors
    /// When the bus, logind or a program does not come up.
    pub fn boot(lab: &Lab, host: Host, links: Vec<Link>, config: MachineConfig) -> Result<Machine> {
        let (inputs, received) = channel();
        let state = State {
            power: Power::Off,
            processes: BTreeMap::new(),
            to_logind: None,
            events: Vec::new(),
            wishes: 0,
            applied: 0,
            stop: false,
            failure: None,
        };
        let shared = Arc::new(Shared {
            host,
            links,
            config,
            logind_program: lab.program(LOGIND),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let early = shared.start(&inputs, &received)?;
        let (card, card_inputs, watcher) = (Arc::clone(&shared), inputs.clone(), Arc::clone(lab.watcher()));
        let (mark, name) = (watcher.mark(), shared.host.name().to_owned());
        let card = std::thread::Builder::new()
            .name(format!("{name} card"))
            .spawn(move || card.watch(&watcher, mark, &card_inputs))
            .context("starting the network card")?;
        let (kernel, again) = (Arc::clone(&shared), inputs.clone());
        let kernel = std::thread::Builder::new()
            .name(format!("{name} kernel"))
            .spawn(move || kernel.run(early, &received, &again))
            .context("starting the kernel")?;
        Ok(Machine { shared, inputs, threads: vec![card, kernel] })
    }

    /// The host under it.
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// Its interfaces, in the order of plugging.
    pub fn links(&self) -> &[Link] {
        &self.shared.links
    }

    /// Whether it runs now.
    pub fn power(&self) -> Power {
        self.shared.lock().power
    }

    /// Waits for a power state.
    ///
    /// # Errors
    /// When it is another after `deadline`, or the machine broke.
    pub fn wait_power(&self, power: Power, deadline: Duration) -> Result<()> {
        self.shared
            .wait(&format!("{} {power:?}", self.host().name()), deadline, |state| (state.power == power).then_some(()))
    }

    /// Everything that happened so far, in order.
    pub fn events(&self) -> Vec<Timed> {
        self.shared.lock().events.clone()
    }

    /// The first event after the first `skip` ones that `wanted` takes, waiting for it.
    ///
    /// # Errors
    /// When none has come after `deadline`, naming `what` was waited for.
    pub fn wait_event(
        &self,
        what: &str,
        skip: usize,
        deadline: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Timed> {
        let what = format!("{what} on {}", self.host().name());
        self.shared.wait(&what, deadline, |state| state.events.iter().skip(skip).find(|e| wanted(&e.what)).cloned())
    }

    /// Does what a user, another program or the hardware would, and waits until logind has taken it in.
    ///
    /// # Errors
    /// When the machine does not run, or logind does not answer.
    pub fn wish(&self, what: Wish) -> Result<()> {
        let number = {
            let mut state = self.shared.lock();
            state.wishes += 1;
            let wish = state.wishes;
            state.say(&ToLogind::Do { wish, what })?;
            wish
        };
        self.shared.wait("logind's answer to a wish", WISH_S_MAX, |state| (state.applied >= number).then_some(()))
    }

    /// Wakes or boots it by hand.
    pub fn press_power_button(&self) {
        // The kernel thread lives as long as `self`.
        let _sent = self.inputs.send(Input::PowerButton);
    }

    /// Ends a program with SIGKILL, as a crash would.
    ///
    /// # Errors
    /// When no such program runs.
    pub fn kill_program(&self, name: &str) -> Result<()> {
        let mut state = self.shared.lock();
        let mut process = state.processes.remove(name).with_context(|| format!("{name} does not run"))?;
        process.kill()
    }

    /// Asks a program to end with SIGTERM, as `systemctl stop` does, and waits for it.
    ///
    /// # Errors
    /// When no such program runs, or it does not end within `deadline`.
    pub fn stop_program(&self, name: &str, deadline: Duration) -> Result<std::process::ExitStatus> {
        let mut state = self.shared.lock();
        let mut process = state.processes.remove(name).with_context(|| format!("{name} does not run"))?;
        drop(state);
        process.signal(Signal::SIGTERM)?;
        process.wait(deadline)
    }

    /// Starts one of the machine's programs again.
    ///
    /// # Errors
    /// When the machine has no such program, or it can't be started.
    pub fn start_program(&self, name: &str) -> Result<()> {
        let programs = &self.shared.config.programs;
        let program =
            programs.iter().find(|p| p.name == name).with_context(|| format!("no program is called {name}"))?;
        let process = self.shared.start_program(program)?;
        self.shared.lock().processes.insert(name.to_owned(), process);
        Ok(())
    }

    /// True while the program runs, also if it is stopped because the machine sleeps.
    pub fn program_runs(&self, name: &str) -> bool {
        self.shared.lock().processes.get_mut(name).is_some_and(Process::is_running)
    }

    /// Process number of one of the machine's programs.
    pub fn program_pid(&self, name: &str) -> Option<u32> {
        self.shared.lock().processes.get(name).map(Process::pid)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        let _gone = self.inputs.send(Input::Stop);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}

impl State {
    fn say(&mut self, message: &ToLogind) -> Result<()> {
        let stream = self.to_logind.as_mut().context("the machine does not run")?;
        let mut line = serde_json::to_vec(message).context("writing a message")?;
        line.push(b'\n');
        stream.write_all(&line).context("telling logind")
    }

    fn happened(&mut self, at: Duration, what: Event) {
        self.events.push(Timed { at, what });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(&self, what: &str, deadline: Duration, mut look: impl FnMut(&mut State) -> Option<T>) -> Result<T> {
        let until = Instant::now() + deadline;
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Ok(found);
            }
            if let Some(failure) = &state.failure {
                bail!("{what}: the machine broke: {failure}");
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                bail!("{what}: not within {deadline:?}");
            };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// The network card: looks for magic packets, also while everything else sleeps.
    fn watch(&self, watcher: &Watcher, mark: Mark, inputs: &Sender<Input>) {
        let macs: Vec<_> = self.links.iter().map(Link::mac).collect();
        let mut next = mark;
        while !self.lock().stop {
            let (mark, frame) = watcher.poll_for(next, MAGIC_POLL, |frame| {
                frame.magic_packet().is_some_and(|magic| macs.contains(&magic.target))
            });
            next = mark;
            let Some(frame) = frame else { continue };
            let password = frame.magic_packet().and_then(|magic| magic.password);
            if inputs.send(Input::Magic { at: frame.at, password }).is_err() {
                return;
            }
        }
    }

    /// The kernel: one input at a time. `early` came during the boot.
    fn run(&self, mut early: VecDeque<FromLogind>, inputs: &Receiver<Input>, again: &Sender<Input>) {
        let mut asleep_since = Duration::ZERO;
        // A stop that comes during a boot is seen here.
        while !self.lock().stop {
            let alarm = self.alarm().map_or(MACHINE_IDLE_S_MAX, |at| at.saturating_sub(now()));
            let input = match early.pop_front() {
                Some(message) => Input::Logind(message),
                None => match inputs.recv_timeout(alarm.min(MACHINE_IDLE_S_MAX)) {
                    Ok(input) => input,
                    Err(RecvTimeoutError::Timeout) if self.alarm().is_some_and(|at| at <= now()) => Input::ClockAlarm,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            };
            let done = match input {
                Input::Logind(FromLogind::Order(Order::Suspend)) => {
                    asleep_since = now();
                    self.freeze()
                }
                Input::Logind(FromLogind::Order(Order::PowerOff)) => {
                    asleep_since = now();
                    self.power_off()
                }
                Input::Logind(FromLogind::Order(Order::Reboot)) => {
                    self.power_off().and_then(|()| self.start(again, inputs)).map(|messages| early = messages)
                }
                Input::Logind(message) => {
                    self.hear(message);
                    Ok(())
                }
                Input::Magic { at, password } => {
                    let right =
                        self.config.wake_password.as_ref().is_none_or(|wanted| password.as_ref() == Some(wanted));
                    let taken = right && at >= asleep_since && self.lock().power != Power::Running;
                    self.change(|state| state.happened(at, Event::MagicPacket { taken }));
                    if taken { self.wake(inputs, again, &mut early) } else { Ok(()) }
                }
                Input::ClockAlarm => {
                    self.change(|state| state.happened(now(), Event::ClockAlarm));
                    self.wake(inputs, again, &mut early)
                }
                Input::PowerButton => self.wake(inputs, again, &mut early),
                Input::Stop => break,
            };
            if let Err(error) = done {
                self.change(|state| state.failure = Some(format!("{error:#}")));
            }
        }
        self.end();
    }

    /// When the sleeping machine's clock chip will wake it, since 1970. The alarm file holds, as on a real machine, `+N`
    /// seconds from its writing, or seconds since 1970; empty or 0 is none.
    fn alarm(&self) -> Option<Duration> {
        if self.lock().power != Power::Asleep {
            return None;
        }
        let file = self.host.dir().join(RTC_ALARM);
        let text = fs::read_to_string(&file).ok()?;
        let (base, seconds) = match text.trim().strip_prefix('+') {
            Some(seconds) => {
                (fs::metadata(&file).ok()?.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?, seconds)
            }
            None => (Duration::ZERO, text.trim()),
        };
        seconds.parse().ok().filter(|seconds| *seconds > 0).map(|seconds| base + Duration::from_secs(seconds))
    }

    fn hear(&self, message: FromLogind) {
        self.change(|state| match message {
            FromLogind::Applied { wish } => state.applied = wish,
            FromLogind::Noted { at_ns, note } => state.happened(Duration::from_nanos(at_ns), Event::Logind(note)),
            FromLogind::Ready | FromLogind::Order(_) => {}
        });
    }

    /// What is not the machine's own software goes on: the bus and logind stand for firmware and kernel too.
    fn is_frozen_part(&self) -> impl Fn(u32) -> bool + use<> {
        let state = self.lock();
        let spared: Vec<u32> =
            [BUS, LOGIND].iter().filter_map(|name| state.processes.get(*name)).map(Process::pid).collect();
        move |pid| !spared.contains(&pid)
    }

    fn freeze(&self) -> Result<()> {
        let is_part = self.is_frozen_part();
        // Stopping is not instant, and a process may start another meanwhile.
        wait_until("every process stopped", FREEZE_S_MAX, || {
            self.host.signal_all(Signal::SIGSTOP, |found| is_part(found.pid));
            self.host.processes().iter().all(|found| !is_part(found.pid) || is_stopped(found.pid)).then_some(())
        })?;
        let frozen = now();
        self.links.iter().try_for_each(Link::pull)?;
        self.change(|state| {
            state.power = Power::Asleep;
            state.happened(frozen, Event::Frozen);
        });
        Ok(())
    }

    fn wake(&self, inputs: &Receiver<Input>, again: &Sender<Input>, early: &mut VecDeque<FromLogind>) -> Result<()> {
        let power = self.lock().power;
        match power {
            Power::Running => Ok(()),
            Power::Asleep => {
                self.links.iter().try_for_each(Link::plug)?;
                let is_part = self.is_frozen_part();
                self.host.signal_all(Signal::SIGCONT, |found| is_part(found.pid));
                fs::write(self.host.dir().join(RTC_ALARM), "").context("clearing the clock's alarm")?;
                self.change(|state| {
                    state.power = Power::Running;
                    state.happened(now(), Event::Thawed);
                    state.say(&ToLogind::Awake)
                })
            }
            Power::Off => {
                self.links.iter().try_for_each(Link::plug)?;
                *early = self.start(again, inputs)?;
                Ok(())
            }
        }
    }

    fn power_off(&self) -> Result<()> {
        let is_part = self.is_frozen_part();
        self.host.signal_all(Signal::SIGTERM, |found| is_part(found.pid));
        // As systemd does with what has not ended after a while.
        let _late = wait_until("every process ended", SHUTDOWN_S_MAX, || {
            self.host.processes().iter().all(|found| !is_part(found.pid)).then_some(())
        });
        self.links.iter().try_for_each(Link::pull)?;
        self.end();
        self.change(|state| {
            state.power = Power::Off;
            state.happened(now(), Event::PoweredOff);
        });
        Ok(())
    }

    fn end(&self) {
        self.host.signal_all(Signal::SIGKILL, |_| true);
        let processes = self.change(|state| {
            state.to_logind = None;
            std::mem::take(&mut state.processes)
        });
        drop(processes);
    }

    /// Bus, logind, programs. What logind said before `Ready` is returned.
    fn start(&self, inputs: &Sender<Input>, received: &Receiver<Input>) -> Result<VecDeque<FromLogind>> {
        let run = self.host.dir().join("run");
        clear(&run)?;
        self.links.iter().try_for_each(Link::plug)?;
        fs::create_dir(run.join("dbus")).context("creating /run/dbus")?;
        let config = self.host.dir().join("bus.conf");
        fs::write(&config, BUS_CONFIG).context("writing the bus configuration")?;
        let mut bus = self.host.command("dbus-daemon");
        bus.args(["--nofork", "--nopidfile", "--nosyslog"]).arg(format!("--config-file={}", config.display()));
        let bus = self.host.start(BUS, &mut bus)?;
        let socket = run.join("dbus/system_bus_socket");
        wait_until("the bus", BOOT_S_MAX, || UnixStream::connect(&socket).ok())?;

        let hardware = self.host.dir().join("hardware.sock");
        let _old = fs::remove_file(&hardware);
        let listener = UnixListener::bind(&hardware).context("binding the hardware's socket")?;
        listener.set_nonblocking(true).context("preparing the hardware's socket")?;
        let mut logind = self.host.command(&self.logind_program);
        logind.env("DBUS_SYSTEM_BUS_ADDRESS", BUS_ADDRESS).arg("--hardware").arg(&hardware);
        for unit in &self.config.units {
            logind.arg("--unit").arg(unit);
        }
        let logind = self.host.start(LOGIND, &mut logind)?;
        let (stream, _) = wait_until("logind", BOOT_S_MAX, || listener.accept().ok())?;
        stream.set_nonblocking(false).context("preparing logind's connection")?;
        let reading = stream.try_clone().context("sharing logind's connection")?;
        let lines = inputs.clone();
        // Ends with the connection.
        std::thread::spawn(move || {
            for line in BufReader::new(reading).lines().map_while(std::io::Result::ok) {
                let Ok(message) = serde_json::from_str(&line) else { continue };
                if lines.send(Input::Logind(message)).is_err() {
                    break;
                }
            }
        });
        let mut early = VecDeque::new();
        let until = Instant::now() + BOOT_S_MAX;
        loop {
            match received.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Input::Logind(FromLogind::Ready)) => break,
                Ok(Input::Logind(message)) => early.push_back(message),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => bail!("logind did not get ready"),
            }
        }
        self.change(|state| {
            state.processes.insert(BUS.to_owned(), bus);
            state.processes.insert(LOGIND.to_owned(), logind);
            state.to_logind = Some(stream);
        });
        for program in &self.config.programs {
            let process = self.start_program(program)?;
            self.change(|state| state.processes.insert(program.name.clone(), process));
        }
        self.change(|state| {
            state.power = Power::Running;
            state.happened(now(), Event::Booted);
        });
        Ok(early)
    }

    fn start_program(&self, program: &Program) -> Result<Process> {
        for name in &program.directories {
            self.host.make_service_directories(name)?;
        }
        let mut command = self.host.command(&program.file);
        command.args(&program.arguments).env("DBUS_SYSTEM_BUS_ADDRESS", BUS_ADDRESS);
        command.envs(program.environment.iter().map(|(name, value)| (name, value)));
        self.host.start(&program.name, &mut command)
    }
}

/// Wall clock since 1970, as the watcher stamps frames.
pub fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// `T` in proc(5). A process that has just ended counts as stopped, and so does one that waits inside the kernel (`D`): it
/// stops before it does anything else, and one that waits for its child to be on its own feet (vfork) can't before.
fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    matches!(state, None | Some('T' | 'D' | 'Z' | 'X'))
}

/// A boot finds `/run` empty.
fn clear(run: &std::path::Path) -> Result<()> {
    for entry in fs::read_dir(run).with_context(|| format!("reading {}", run.display()))?.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        }
        .with_context(|| format!("clearing {}", path.display()))?;
    }
    Ok(())
}
