//! The daemon: binds, runs the one loop, says goodbye (IO).
//!
//! In: what the network, the bus, the links, the clocks, the signals and the control socket tell. Each goes to the agent, and
//! what the agent then orders is carried out. What takes time (bus calls, commands) runs beside the loop and comes back as
//! one more input.

mod reload;
mod start;
mod work;

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use daemon_kit::boot_counter;
use daemon_kit::clock::{self, BootTimer, WallClockChanges};
use daemon_kit::control::ControlServer;
use daemon_kit::exit::Exit;
use daemon_kit::logging::Logging;
use daemon_kit::memory::Trim;
use daemon_kit::signals::{Signal, Signals};
use daemon_kit::systemd::Systemd;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use upnp::time::{BootTime, earliest};
use upnp_net::{Net, NetEvent, Responder};

use self::work::{Done, Work};
use crate::agent::{Agent, Effect, RequestNumber};
use crate::bus::{Bus, BusEvent, BusSignal};
use crate::config::Config;
use crate::control::{self, Tickets};
use crate::kernel;
use crate::limits::{BUS_RETRY_LONGEST, STORE_AGAIN};
use crate::link::Links;
use crate::logind;
use crate::operation::{Driver, Seen};
use crate::probe::{Probe, Told};
use crate::rtc::Rtc;
use crate::schedule::Wall;
use crate::sources::{self, Lock, ProbeState};
use crate::state::{Fact, Observation, Operation, Source};
use crate::store::Store;
use crate::supply;

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

impl App {
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
            Some(Some(seen)) => self.seen(seen, now, now),
            Some(None) => self.look(),
            None => {}
        }
    }

    fn seen(&mut self, seen: Operation, at: BootTime, now: BootTime) {
        let fact = Fact::new(at, Source::Operation, Observation::Operation(seen));
        self.agent.handle_fact(fact, now);
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
                Effect::Switch(id, on) => self.switch(id, on),
                Effect::Suspend(id) => self.suspend(id),
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
}
