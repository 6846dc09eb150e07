//! The daemon's start: state, probe, bus, network and control socket, in the order in which one needs the other (IO).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use daemon_kit::clock::{self, BootTimer, WallClockChanges};
use daemon_kit::control::ControlServer;
use daemon_kit::exit::Exit;
use daemon_kit::logging::Logging;
use daemon_kit::memory::Trim;
use daemon_kit::signals::Signals;
use daemon_kit::systemd::Systemd;
use daemon_kit::{boot_counter, identity, state_dir};
use futures_util::stream::FuturesUnordered;
use upnp_net::{InterfaceFilter, Net, NetConfig};

use super::{App, now, wall};
use crate::agent::Agent;
use crate::bus::{Bus, BusEvent};
use crate::config::{self, Config, ProbeMode};
use crate::control::Tickets;
use crate::device::Identity;
use crate::limits::{FIRST_LOOK_WITHIN, PROBE_LOADED_WITHIN};
use crate::link::Links;
use crate::logind;
use crate::operation::{Driver, OperationError, Seen};
use crate::privileges;
use crate::probe::{Probe, Told};
use crate::rtc::Rtc;
use crate::sources::{Lock, ProbeState};
use crate::state::Operation;
use crate::store::Store;

/// Mode of the control socket: its owner and group. Whoever may write to it may make the gateway wake this machine.
const SOCKET_MODE: u32 = 0o660;

impl App {
    /// Binds everything and says that it is ready.
    ///
    /// # Errors
    /// What keeps the daemon from starting.
    pub(super) async fn start(config: Config, config_path: Option<PathBuf>, logging: Logging) -> anyhow::Result<Self> {
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
}

/// The first line of a file of the kernel's.
fn kernel_says(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// The probe's thread, if the configuration wants it.
fn start_probe(config: &config::Probe) -> anyhow::Result<(Option<Probe>, ProbeState)> {
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
