//! The daemon: binds, runs the one loop, says goodbye (IO).
//!
//! In: what the network, the bus, the links, the clocks, the signals and the control socket tell. Each goes to the agent, and
//! what the agent then orders is carried out. What takes time (bus calls, commands) runs beside the loop and comes back as
//! one more input.

use core::time::Duration;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use anyhow::Context as _;
use daemon_kit::clock::{self, BootTimer, WallClockChanges};
use daemon_kit::control::ControlServer;
use daemon_kit::exit::Exit;
use daemon_kit::logging::Logging;
use daemon_kit::memory::Trim;
use daemon_kit::signals::{Signal, Signals};
use daemon_kit::systemd::Systemd;
use daemon_kit::{boot_counter, identity, state_dir};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use upnp::time::{BootTime, earliest};
use upnp_net::{InterfaceFilter, Net, NetConfig, NetEvent, Responder};

use crate::agent::{Agent, Effect, RequestNumber};
use crate::bus::{Bus, BusError, BusEvent, BusSignal};
use crate::commands::{Circumstances, CommandId};
use crate::config::{Config, ProbeMode};
use crate::control::{self, Tickets};
use crate::device::Identity;
use crate::kernel;
use crate::limits::{
    BUS_RETRY_FIRST, BUS_RETRY_LONGEST, FACTS_WITHIN, FIRST_LOOK_WITHIN, GOODBYE_WITHIN, PROBE_LOADED_WITHIN,
    STORE_AGAIN,
};
use crate::link::Links;
use crate::logind::{self, DelayLock};
use crate::operation::{self, Driver, OperationError, Seen};
use crate::privileges;
use crate::probe::{Probe, Told};
use crate::rtc::Rtc;
use crate::safety::{Known, Order};
use crate::schedule::Wall;
use crate::sources::{self, Lock, ProbeState};
use crate::state::{Fact, Observation, Operation, Source};
use crate::store::Store;
use crate::supply;
use crate::wake_service::{self, Abilities};

/// Mode of the control socket: its owner and group. Whoever may write to it may make the gateway wake this machine.
const SOCKET_MODE: u32 = 0o660;

/// Work beside the loop.
type Work = Pin<Box<dyn Future<Output = Done>>>;

/// What came of it.
enum Done {
    Gathered(CommandId, Circumstances),
    Switched(CommandId, Result<Operation, String>),
    Suspended(CommandId, Result<(), String>),
    Looked(Result<Seen, OperationError>),
    Asleep(Result<bool, BusError>),
    Locked(Result<DelayLock, BusError>),
    Wakes(Result<Abilities, String>),
    Stopping(bool),
}

/// What wakes the loop.
enum Event {
    Probe(Told),
    Net(NetEvent),
    Bus(BusEvent),
    Links,
    Work(Done),
    Control(daemon_kit::control::ControlRequest),
    Signal(Signal),
    Wall,
    Timer,
}

/// The daemon.
struct App {
    trim: Trim,
    config: Config,
    config_path: Option<PathBuf>,
    logging: Logging,
    agent: Agent,
    net: Net,
    probe: Option<Probe>,
    probe_state: ProbeState,
    bus: Bus,
    driver: Driver,
    links: Option<Links>,
    /// The service that asks the network cards is at it.
    asking_cards: bool,
    rtc: Option<Rtc>,
    store: Store,
    state_dir: PathBuf,
    boot_id: u32,
    control: ControlServer,
    signals: Signals,
    systemd: Systemd,
    timer: BootTimer,
    wall: WallClockChanges,
    work: FuturesUnordered<Work>,
    responders: BTreeMap<RequestNumber, Responder>,
    next_request: u64,
    tickets: Tickets,
    lock: Lock,
    lock_again_at: Option<BootTime>,
    look_at: Option<BootTime>,
    last_look: Result<Seen, String>,
    stop_by: Option<BootTime>,
    /// Why the configuration was not taken when it was last read again.
    config_error: Option<String>,
    /// Why the state is not on disk, and when to try again.
    unsaved: Option<(String, BootTime)>,
    /// Something that `status` shows may have changed.
    stale: bool,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// What keeps it from starting: the state directory, the HTTP port, the control socket.
pub fn run(config: Config, config_path: Option<PathBuf>, logging: Logging) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(Exit::OsErr)?;
    runtime.block_on(async {
        let mut app = App::start(config, config_path, logging).await?;
        app.run().await;
        Ok(Exit::Ok)
    })
}

fn now() -> BootTime {
    BootTime::from_duration(clock::boottime())
}

fn wall() -> Wall {
    Wall { at: clock::wall(), zone: clock::zone() }
}

/// The first line of a file of the kernel's.
fn kernel_says(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

impl App {
    async fn start(config: Config, config_path: Option<PathBuf>, logging: Logging) -> anyhow::Result<Self> {
        let signals = Signals::new().context(Exit::OsErr)?;
        let state_dir = config.state_dir();
        state_dir::ensure(&state_dir)?;
        let uuid = identity::load_or_create(&state_dir)?;
        let (store, saved) = Store::open(&state_dir, clock::wall())?;
        // Early: it is loaded while the bus and the network are asked.
        let (mut probe, mut probe_state) = start_probe(&config.probe)?;
        let driver = Driver::new(&config.operation);
        let mut bus = Bus::new(logind::watches().into_iter().chain(driver.watch()).collect());
        let (bus_is_up, operation) = first_look(&mut bus, &driver).await;
        let net = Net::bind(NetConfig {
            http_port: config.network.http_port,
            interfaces: InterfaceFilter {
                include: config.network.interfaces.clone(),
                exclude: config.network.exclude_interfaces.clone(),
                loopback: config.network.loopback,
                private_only: false,
            },
            ipv6: config.network.ipv6,
            multicast_ttl: config.network.multicast_ttl,
            ..NetConfig::default()
        })
        .await
        .context(Exit::Unavailable)?;
        let control = ControlServer::bind(&config.socket(), SOCKET_MODE).await.context(Exit::Unavailable)?;
        for interface in net.interfaces() {
            for address in &interface.addresses {
                tracing::info!(interface = interface.name, address = %address.address, port = net.http_port(), "bound");
            }
        }
        // Before this start counts as one.
        if let Some(probe) = probe.as_mut().filter(|_| config.probe.mode == ProbeMode::Required) {
            probe_state = await_probe(probe).await?;
        }
        let identity = Identity {
            uuid,
            boot_id: boot_counter::next(&state_dir)?,
            http_port: net.http_port(),
            host_name: kernel_says("/proc/sys/kernel/hostname").unwrap_or_else(|| "appliance".to_owned()),
            system: format!("Linux/{}", kernel_says("/proc/sys/kernel/osrelease").unwrap_or_else(|| "0".to_owned())),
            seed: getrandom::u64().map_err(|e| anyhow::anyhow!("no randomness: {e}")).context(Exit::OsErr)?,
        };
        let seen = operation.as_ref().map_or(Operation::Unknown, |seen| seen.operation);
        let agent = Agent::new(&config, &identity, saved, seen, wall(), now())?;
        let links = Links::new(config.wake.arm);
        if let Err(error) = &links {
            tracing::warn!(%error, "links are not watched");
        }
        if let Err(error) = privileges::keep(privileges::MAIN) {
            tracing::warn!(%error, "capabilities are kept");
        }
        let mut app = Self {
            agent,
            net,
            probe,
            probe_state,
            bus,
            links: links.ok(),
            asking_cards: false,
            rtc: Rtc::find(&config.wake.rtc, Path::new(crate::rtc::SYSFS)),
            store,
            state_dir,
            boot_id: identity.boot_id,
            control,
            signals,
            systemd: Systemd::from_env(),
            timer: BootTimer::new().context(Exit::OsErr)?,
            wall: WallClockChanges::new().context(Exit::OsErr)?,
            work: FuturesUnordered::new(),
            responders: BTreeMap::new(),
            next_request: 0,
            tickets: Tickets::default(),
            lock: Lock::None("not asked for yet".to_owned()),
            lock_again_at: None,
            look_at: driver.look_again(operation.as_ref().is_ok_and(|seen| !seen.is_hollow)).map(|after| now() + after),
            last_look: operation.map_err(|e| e.to_string()),
            stop_by: None,
            config_error: None,
            unsaved: None,
            stale: true,
            driver,
            trim: Trim::new(clock::boottime()),
            config,
            config_path,
            logging,
        };
        if bus_is_up {
            app.take_lock();
        }
        app.tell_wake();
        app.read();
        app.tell_sources();
        let status = app.agent.status();
        tracing::info!(
            udn = status.udn,
            operation = app.driver.describe(),
            state = %status.power_state,
            "started"
        );
        app.systemd.ready(&app.agent.status_line());
        Ok(app)
    }

    async fn run(&mut self) {
        while !self.tick().await {}
        tracing::info!("stopped");
    }

    /// Waits for one event, gives it to the agent, carries out what follows. True when all is over.
    async fn tick(&mut self) -> bool {
        let event = self.next().await;
        let now = now();
        self.stale |= !matches!(event, Event::Net(NetEvent::Datagram(_) | NetEvent::Request(..)) | Event::Timer);
        match event {
            Event::Probe(told) => self.handle_probe(told, now),
            Event::Net(event) => self.handle_net(event, now),
            Event::Bus(event) => self.handle_bus(event, now),
            Event::Links => {
                self.tell_wake();
                self.agent.handle_links_changed();
            }
            Event::Work(done) => self.handle_done(done, now),
            Event::Control(request) => control::handle(request, &mut self.agent, &mut self.tickets, now),
            Event::Signal(Signal::Reload) => self.reload(now),
            Event::Signal(Signal::Terminate | Signal::Interrupt) => self.begin_stop(now),
            Event::Wall => self.agent.handle_wall(wall(), now),
            Event::Timer => {
                self.handle_timer(now);
                // Here and not after every event: nothing of it on the way of the last event before sleep.
                self.trim.turn(now.since_boot());
                // A due time that does not move on must not keep sockets from being read.
                tokio::task::yield_now().await;
            }
        }
        self.carry_out();
        self.ask_cards();
        if !self.agent.is_leaving()
            && let Some(probe) = &self.probe
        {
            probe.calm();
        }
        if self.stale {
            self.stale = false;
            self.tell_sources();
            self.systemd.status(&self.agent.status_line());
        }
        self.agent.is_done() || self.stop_by.is_some_and(|by| by <= now)
    }

    async fn next(&mut self) -> Event {
        let due =
            earliest(self.agent.poll_timeout(), earliest(self.look_at, earliest(self.lock_again_at, self.stop_by)));
        let due = earliest(due, self.unsaved.as_ref().map(|(_, at)| *at));
        let due = earliest(due, self.systemd.watchdog_due().map(BootTime::from_duration));
        let links = async {
            match &mut self.links {
                Some(links) => links.next().await,
                None => std::future::pending().await,
            }
        };
        let probe = async {
            match &mut self.probe {
                Some(probe) => probe.next().await,
                None => std::future::pending().await,
            }
        };
        // In this order when several are there: what must be told before the machine sleeps comes first.
        tokio::select! {
            biased;
            told = probe => Event::Probe(told),
            event = self.bus.next() => Event::Bus(event),
            Some(done) = self.work.next() => Event::Work(done),
            signal = self.signals.next() => Event::Signal(signal),
            () = self.timer.until(due.map(BootTime::since_boot)) => Event::Timer,
            () = self.wall.next() => Event::Wall,
            () = links => Event::Links,
            request = self.control.next() => Event::Control(request),
            event = self.net.next() => Event::Net(event),
        }
    }

    fn handle_probe(&mut self, told: Told, now: BootTime) {
        match told {
            Told::Event(record) => {
                tracing::debug!(?record, "kernel");
                if let Some(fact) = kernel::fact(&record) {
                    self.agent.handle_fact(fact, now);
                }
            }
            Told::Reads(attached) => {
                tracing::info!(%attached, reboot = ?attached.reboot, kprobes = ?attached.kprobes, "probe");
                self.probe_state = ProbeState::Reads(attached);
            }
            Told::Failed(error) => {
                tracing::warn!(%error, "no probe: a sleep that bypasses logind is not seen");
                self.probe_state = ProbeState::Failed(error.to_string());
            }
        }
    }

    fn handle_net(&mut self, event: NetEvent, now: BootTime) {
        match event {
            NetEvent::Interfaces(interfaces) => self.agent.handle_interfaces(&interfaces, now),
            NetEvent::Datagram(datagram) => self.agent.handle_datagram(&datagram, now),
            NetEvent::Answer(answer) => self.agent.handle_answer(answer, now),
            NetEvent::Request(request, responder) => {
                let number = RequestNumber(self.next_request);
                self.next_request += 1;
                self.responders.insert(number, responder);
                self.agent.handle_request(&request, number, now);
            }
        }
    }

    fn handle_bus(&mut self, event: BusEvent, now: BootTime) {
        match event {
            BusEvent::Up => {
                self.take_lock();
                self.look();
                if self.agent.is_asleep() {
                    self.ask_whether_asleep();
                }
            }
            BusEvent::Down => {
                self.lock = Lock::None("no system bus".to_owned());
                self.lock_again_at = None;
            }
            BusEvent::Appeared(logind::SERVICE) => self.take_lock(),
            BusEvent::Appeared(_) => self.look(),
            BusEvent::Vanished(logind::SERVICE) => {
                tracing::warn!("logind is gone: nothing holds a sleep up for the last event");
                self.lock = Lock::None("logind is not running".to_owned());
                self.lock_again_at = Some(now + BUS_RETRY_LONGEST);
            }
            BusEvent::Vanished(_) => {}
            BusEvent::Signal(signal) => self.handle_signal(&signal, now),
        }
    }

    fn handle_signal(&mut self, signal: &BusSignal, now: BootTime) {
        if let Some(what) = logind::observation(signal) {
            self.agent.handle_fact(Fact::new(now, Source::Logind, what), now);
        }
        match self.driver.observation(signal) {
            Some(Some(seen)) => self.seen(seen, now),
            Some(None) => self.look(),
            None => {}
        }
    }

    fn seen(&mut self, seen: Operation, now: BootTime) {
        let fact = Fact::new(now, Source::Operation, Observation::Operation(seen));
        self.agent.handle_fact(fact, now);
    }

    fn handle_done(&mut self, done: Done, now: BootTime) {
        match done {
            Done::Gathered(id, circumstances) => self.agent.handle_circumstances(id, circumstances, now),
            Done::Switched(id, result) => self.agent.handle_switched(id, result, now),
            Done::Suspended(id, result) => self.agent.handle_suspended(id, result, now),
            Done::Looked(Ok(seen)) => {
                self.look_at = self.driver.look_again(!seen.is_hollow).map(|after| now + after);
                self.last_look = Ok(seen);
                self.seen(seen.operation, now);
            }
            Done::Looked(Err(error)) => {
                self.look_at = self.driver.look_again(false).map(|after| now + after);
                // What was seen last stays: a bus that hiccups stops no pump.
                if error.is_absent() {
                    self.seen(Operation::Unknown, now);
                }
                let why = error.to_string();
                if self.last_look.as_ref().err() != Some(&why) {
                    tracing::warn!(why, "operation not seen");
                }
                self.last_look = Err(why);
            }
            Done::Asleep(Ok(false)) => {
                self.agent.handle_fact(Fact::new(now, Source::Logind, Observation::SleepEnds), now);
            }
            Done::Asleep(Ok(true)) => {}
            Done::Asleep(Err(error)) => tracing::debug!(%error, "logind not asked whether the machine sleeps"),
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

    fn handle_timer(&mut self, now: BootTime) {
        self.systemd.watchdog(now.since_boot());
        if self.look_at.is_some_and(|at| at <= now) {
            self.look();
        }
        if self.lock_again_at.take_if(|at| *at <= now).is_some() {
            self.take_lock();
        }
        if self.unsaved.as_ref().is_some_and(|(_, at)| *at <= now) {
            self.save();
        }
        if self.agent.poll_timeout().is_some_and(|at| at <= now) {
            self.agent.handle_timeout(now);
        }
    }

    /// Does all that the agent orders.
    fn carry_out(&mut self) {
        while let Some(effect) = self.agent.poll_effect() {
            match effect {
                Effect::Net(effect) => self.net.apply(effect),
                Effect::Answer(number, response) => {
                    if let Some(responder) = self.responders.remove(&number) {
                        responder.send(response);
                    }
                }
                Effect::Reply(ticket, answer) => self.tickets.answer(ticket, &answer),
                Effect::Store => self.save(),
                Effect::Gather(id, order) => self.gather(id, order),
                Effect::Switch(id, on) => {
                    let work = self.driver.switch(on, self.bus.caller());
                    self.work.push(Box::pin(async move { Done::Switched(id, work.await.map_err(|e| e.to_string())) }));
                }
                Effect::Suspend(id) => {
                    let bus = self.bus.caller();
                    self.work.push(Box::pin(async move {
                        let suspended = async { logind::suspend(&bus?).await };
                        Done::Suspended(id, suspended.await.map_err(|e| e.to_string()))
                    }));
                }
                Effect::Look => self.look(),
                Effect::LookAtLinks => {
                    if let Some(links) = &mut self.links {
                        links.look_again();
                    }
                    self.tell_wake();
                }
                Effect::Read => self.read(),
                Effect::AskWhetherAsleep => self.ask_whether_asleep(),
                Effect::SetAlarm(ahead) => self.alarm(Some(ahead)),
                Effect::ClearAlarm => self.alarm(None),
                Effect::TakeDelayLock => self.take_lock(),
                Effect::ReleaseDelayLock => {
                    tracing::debug!("delay lock released");
                    self.lock = Lock::None("released, the machine goes to sleep or down".to_owned());
                }
            }
        }
        let boot_id = self.agent.boot_id();
        if boot_id != self.boot_id {
            self.boot_id = boot_id;
            if let Err(error) = boot_counter::record(&self.state_dir, boot_id) {
                tracing::warn!(%error, "BOOTID not recorded");
            }
        }
    }

    fn save(&mut self) {
        let saved = self.agent.saved();
        let was_unsaved = self.unsaved.is_some();
        let error = self.store.write(&saved).err().map(|error| error.to_string());
        self.agent.handle_stored(error.as_deref().map_or(Ok(()), Err), now());
        self.unsaved = error.map(|error| {
            if !was_unsaved {
                tracing::warn!(error, "state not written; trying again");
            }
            (error, now() + STORE_AGAIN)
        });
        if was_unsaved && self.unsaved.is_none() {
            tracing::info!("state written again");
        }
        self.stale |= was_unsaved != self.unsaved.is_some();
    }

    fn look(&mut self) {
        self.look_at = None;
        let work = self.driver.look(self.bus.caller());
        self.work.push(Box::pin(async move { Done::Looked(work.await) }));
    }

    /// Has the network cards asked where this process may not, but not on the way to sleep.
    fn ask_cards(&mut self) {
        if self.asking_cards || self.agent.is_asleep() || self.agent.is_leaving() {
            return;
        }
        let Ok(bus) = self.bus.caller() else { return };
        if self.links.as_mut().is_some_and(Links::take_unasked) {
            self.asking_cards = true;
            self.work.push(Box::pin(async move { Done::Wakes(wake_service::ask(bus).await) }));
        }
    }

    fn ask_whether_asleep(&mut self) {
        let bus = self.bus.caller();
        self.work.push(Box::pin(async move {
            let asked = async { logind::preparing_for_sleep(&bus?).await };
            Done::Asleep(asked.await)
        }));
    }

    fn take_lock(&mut self) {
        if matches!(self.lock, Lock::Held(_) | Lock::Asked) {
            return;
        }
        let Ok(bus) = self.bus.caller() else { return };
        self.lock = Lock::Asked;
        self.lock_again_at = None;
        self.work.push(Box::pin(async move { Done::Locked(logind::inhibit(&bus).await) }));
    }

    /// Gathers what an order is judged by; what does not answer in time counts as not known.
    fn gather(&mut self, id: CommandId, order: Order) {
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

    fn read(&mut self) {
        let meter = self.config.appliance.power_meter.as_deref();
        let power = meter.and_then(|path| {
            supply::read_meter(path)
                .inspect_err(|error| tracing::debug!(%error, path = %path.display(), "power meter not read"))
                .ok()
        });
        self.agent.handle_reading(power, supply::read(Path::new(supply::SYSFS)), now());
    }

    fn alarm(&mut self, ahead: Option<Duration>) {
        let Some(rtc) = &mut self.rtc else { return };
        let result = match ahead {
            Some(ahead) => rtc.arm(ahead),
            None => rtc.clear().map(|()| true),
        };
        match result {
            Ok(false) => tracing::info!(rtc = rtc.name(), "wake alarm of another rings sooner, left as it is"),
            Ok(true) => tracing::info!(rtc = rtc.name(), ahead_s = ahead.map(|a| a.as_secs()), "wake alarm"),
            Err(error) => tracing::warn!(rtc = rtc.name(), %error, "wake alarm not set"),
        }
    }

    fn tell_wake(&mut self) {
        let wake =
            sources::wake(&self.config.wake, self.links.as_ref(), self.agent.wake_interface(), self.rtc.is_some());
        self.agent.handle_wake(wake);
    }

    fn tell_sources(&mut self) {
        let list = sources::list(&sources::Parts {
            probe: &self.probe_state,
            lost: self.probe.as_ref().map_or(0, Probe::lost),
            bus: &self.bus,
            lock: &self.lock,
            last_look: &self.last_look,
            driver: &self.driver,
            interfaces: self.net.interfaces(),
            links: self.links.as_ref(),
            arm: self.config.wake.arm,
            rtc: self.rtc.as_ref(),
            config_error: self.config_error.as_deref(),
            unsaved: self.unsaved.as_ref().map(|(why, _)| why.as_str()),
        });
        let is_hollow = self.last_look.as_ref().is_ok_and(|seen| seen.is_hollow);
        self.agent.handle_sources(self.driver.describe_seen(is_hollow), list);
    }

    fn reload(&mut self, now: BootTime) {
        self.systemd.reloading();
        match Config::load(self.config_path.as_deref()) {
            Ok(new) => {
                // The socket may have been named on the command line.
                let new = Config { control: self.config.control.clone(), ..new };
                for key in self.config.needs_restart(&new) {
                    tracing::warn!(key, "changed; takes effect after a restart");
                }
                self.logging.set(&new.log.level);
                if let Some(links) = &mut self.links {
                    links.set_arm(new.wake.arm);
                }
                // The same clock is kept, with what is known of its alarm.
                if new.wake.rtc != self.config.wake.rtc {
                    self.rtc = Rtc::find(&new.wake.rtc, Path::new(crate::rtc::SYSFS));
                }
                self.agent.handle_config(&new, now);
                self.agent.handle_wall(wall(), now);
                self.config = Config { operation: self.config.operation.clone(), ..new };
                self.tell_wake();
                self.config_error = None;
                tracing::info!("configuration read again");
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(error, "new configuration not taken, the old one is kept");
                self.config_error = Some(error);
            }
        }
        self.tell_sources();
        self.systemd.ready(&self.agent.status_line());
    }

    /// SIGTERM. Whether the machine goes down is known from logind, or else asked of systemd.
    fn begin_stop(&mut self, now: BootTime) {
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

/// The probe's thread, if the configuration wants it.
fn start_probe(config: &crate::config::Probe) -> anyhow::Result<(Option<Probe>, ProbeState)> {
    if config.mode == ProbeMode::Off {
        return Ok((None, ProbeState::Off));
    }
    let probe = Probe::start(&config.object).context(Exit::OsErr)?;
    Ok((Some(probe), ProbeState::Loading))
}

/// Waits until the probe reads, which the configuration requires.
async fn await_probe(probe: &mut Probe) -> anyhow::Result<ProbeState> {
    let required = "probe.mode is \"required\"";
    match tokio::time::timeout(PROBE_LOADED_WITHIN, probe.next()).await {
        Ok(Told::Reads(attached)) => Ok(ProbeState::Reads(attached)),
        Ok(Told::Failed(error)) => Err(error).context(required).context(Exit::Unavailable),
        Ok(Told::Event(_)) | Err(_) => {
            Err(anyhow::anyhow!("not loaded in time").context(required).context(Exit::Unavailable))
        }
    }
}

fn not_asked<T>() -> Known<T> {
    Err("logind or systemd did not answer in time".to_owned())
}

/// Connects to the bus and looks at the operation, so that the first thing the device tells is so. Bounded; what is not
/// known by then comes later as a change.
async fn first_look(bus: &mut Bus, driver: &Driver) -> (bool, Result<Seen, OperationError>) {
    let mut up = false;
    let looked = tokio::time::timeout(FIRST_LOOK_WITHIN, async {
        up = matches!(bus.next().await, BusEvent::Up);
        driver.look(bus.caller()).await
    });
    let looked = looked.await.unwrap_or(Err(OperationError::Timeout));
    if let Err(error) = &looked {
        tracing::warn!(%error, "operation not seen");
    }
    (up, looked)
}
