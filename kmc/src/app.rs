//! The daemon: binds everything and runs the one loop. Each turn takes one event and answers it; the database is written in between, so
//! that an answer goes out only when what it says is on the disk.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use daemon_kit::clock::{self, BootTimer};
use daemon_kit::control::{ControlRequest, ControlServer};
use daemon_kit::exit::Exit;
use daemon_kit::memory::Trim;
use daemon_kit::signals::{Signal, Signals};
use daemon_kit::state_dir;
use daemon_kit::systemd::Systemd;

use crate::centre::{Centre, Now};
use crate::config::Config;
use crate::control::{self, Place};
use crate::exchange::Refused;
use crate::key_file::Passphrase;
use crate::keyring::Keyring;
use crate::limits::{CONNECTIONS_MAX, DRAIN_WITHIN, LOCAL_CONNECTIONS_MAX};
use crate::metrics;
use crate::server::{Asked, Server};
use crate::store::{Store, StoreError};

/// Permission bits of the control socket: owner and group.
const SOCKET_MODE: u32 = 0o660;
/// For the last answers to be written to their sockets.
const WRITE_WITHIN: Duration = Duration::from_millis(100);

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting; once it runs nothing does.
pub fn run(config: &Config) -> anyhow::Result<Exit> {
    keep_memory_private()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(Exit::OsErr)?;
    runtime.block_on(async {
        let mut app = App::start(config).await?;
        while app.tick().await {}
        app.drain().await;
        Ok(Exit::Ok)
    })
}

/// No core dump and no other process of this user shows the keys (PR_SET_DUMPABLE).
///
/// # Errors
/// The kernel's refusal.
pub fn keep_memory_private() -> anyhow::Result<()> {
    nix::sys::prctl::set_dumpable(false).context("memory can't be kept from other processes").context(Exit::OsErr)
}

/// The clocks, now.
pub fn now() -> Now {
    Now { boot: clock::boottime(), wall: clock::wall() }
}

/// The keys in the configured directory, with the service's passphrase if there is one.
///
/// # Errors
/// A passphrase that is named and can't be read.
pub fn keyring(config: &Config, dir: &Path) -> anyhow::Result<Keyring> {
    let passphrase = Passphrase::of_service(config.keys.passphrase_file.as_deref()).context(Exit::NoInput)?;
    Ok(Keyring::new(dir, passphrase))
}

struct App {
    centre: Centre,
    public: Server,
    local: Server,
    control: ControlServer,
    signals: Signals,
    systemd: Systemd,
    timer: BootTimer,
    trim: Trim,
    place: Place,
}

enum Event {
    Public(Asked),
    Local(Asked),
    Control(ControlRequest),
    Signal(Signal),
    Due,
}

impl App {
    async fn start(config: &Config) -> anyhow::Result<Self> {
        let dir = config.state_dir();
        state_dir::ensure(&dir)?;
        let store = Store::open(&dir).map_err(|error| {
            let exit = if matches!(error, StoreError::TooNew { .. }) { Exit::DataErr } else { Exit::Unavailable };
            anyhow::Error::new(error).context(exit)
        })?;
        let now = now();
        let mut centre = Centre::open(store, keyring(config, &dir)?, config.settings(), now).context(Exit::DataErr)?;
        let control = ControlServer::bind(&config.socket(), SOCKET_MODE).await.context(Exit::Unavailable)?;
        let public = bind(config.http.listen, CONNECTIONS_MAX).await?;
        let local = bind(config.http.listen_local, LOCAL_CONNECTIONS_MAX).await?;
        let host = config.http.host.clone().unwrap_or_else(|| public.address().to_string());
        centre.set_host(host.clone());
        let place = Place { host, address: public.address(), local_address: local.address() };
        tracing::info!(kmc = %centre.id(), address = %place.address, local = %place.local_address, host = place.host, state = %dir.display(), "started");
        let mut systemd = Systemd::from_env();
        systemd.ready(&status_line(&centre, &place));
        Ok(Self {
            centre,
            public,
            local,
            control,
            signals: Signals::new().context(Exit::OsErr)?,
            systemd,
            timer: BootTimer::new().context(Exit::OsErr)?,
            trim: Trim::new(now.boot),
            place,
        })
    }

    /// One turn; `false` when it is time to end.
    async fn tick(&mut self) -> bool {
        let event = self.next_event().await;
        let now = now();
        self.centre.handle_timeout(now);
        let going_on = self.handle(event, now);
        self.systemd.status(&status_line(&self.centre, &self.place));
        self.systemd.watchdog(now.boot);
        self.trim.turn(now.boot);
        going_on
    }

    fn handle(&mut self, event: Event, now: Now) -> bool {
        match event {
            Event::Public(asked) => {
                let waiting = self.public.waiting();
                let response = self.centre.handle(&asked.request, waiting, now);
                asked.answer(response);
            }
            Event::Local(asked) => {
                let answer = metrics::answer(&asked.request, &mut self.centre, now);
                asked.answer(answer.unwrap_or_else(|| Refused::NoPath.into()));
            }
            Event::Control(request) => control::answer(request, &mut self.centre, &self.place, now),
            Event::Signal(Signal::Reload) => tracing::info!("nothing is taken over without a restart"),
            Event::Signal(Signal::Terminate | Signal::Interrupt) => return false,
            Event::Due => {}
        }
        true
    }

    async fn next_event(&mut self) -> Event {
        let due = [Some(self.centre.poll_timeout()), self.systemd.watchdog_due(), self.trim.due()];
        let due = due.into_iter().flatten().min();
        tokio::select! {
            signal = self.signals.next() => Event::Signal(signal),
            request = self.control.next() => Event::Control(request),
            asked = self.local.next() => Event::Local(asked),
            asked = self.public.next() => Event::Public(asked),
            () = self.timer.until(due) => Event::Due,
        }
    }

    /// Answers what has been read already, within a bound.
    async fn drain(mut self) {
        self.systemd.stopping();
        let until = clock::boottime() + DRAIN_WITHIN;
        while self.public.waiting() > 0 && clock::boottime() < until {
            let asked = self.public.next().await;
            self.handle(Event::Public(asked), now());
        }
        // The connections' tasks write what they were given last.
        while clock::boottime() < until {
            match tokio::time::timeout(WRITE_WITHIN, self.public.next()).await {
                Ok(asked) => asked.answer(Refused::Fault.into()),
                Err(_) => break,
            }
        }
        tracing::info!("stopped");
    }
}

async fn bind(address: SocketAddr, connections_max: usize) -> anyhow::Result<Server> {
    let bound = Server::bind(address, connections_max).await;
    bound.with_context(|| format!("cannot listen at {address}")).context(Exit::Unavailable)
}

fn status_line(centre: &Centre, place: &Place) -> String {
    match centre.troubles() {
        [] => format!(
            "answering at {} as {}; policy {}; `heg-kmc token new` lets a gateway or utility in",
            place.address,
            place.host,
            centre.policy().map_or(0, secure_http::Policy::version)
        ),
        troubles => format!("TROUBLE: {}", troubles.join("; ")),
    }
}
