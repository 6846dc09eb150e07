//! systemd-logind (IO): sleep, shutdown, and what speaks against them.
//!
//! All that is used of `org.freedesktop.login1`, at `/org/freedesktop/login1`:
//! - `org.freedesktop.login1.Manager`: methods `Inhibit(ssss)`, `Suspend(b)`, `PowerOff(b)`, `CanSuspend()`, `CanPowerOff()`,
//!   `ListInhibitors()`, `ListSessions()`; signals `PrepareForSleep(b)`, `PrepareForShutdown(b)`; property
//!   `PreparingForSleep`, by `org.freedesktop.DBus.Properties.Get`.
//! - each session's object, by `org.freedesktop.DBus.Properties.GetAll("org.freedesktop.login1.Session")`: `Active`,
//!   `IdleHint`, `Class`.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use zbus::{OwnedObjectPath, OwnedVariant};

use crate::bus::{BusError, BusSignal, Caller, Watch};
use crate::limits::{INHIBITORS_MAX, SESSIONS_MAX, SUSPEND_TRIES_MAX, SUSPEND_TRY_EVERY};
use crate::safety::{ActiveSession, Inhibitor};
use crate::state::Observation;

/// Well-known name.
pub const SERVICE: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
/// Error: another sleep or shutdown is under way.
const IN_PROGRESS: &str = "org.freedesktop.login1.OperationInProgress";
const SESSION: &str = "org.freedesktop.login1.Session";
pub(crate) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The delay lock: while it is held, logind waits with sleep and shutdown, within limits.
#[derive(Debug)]
pub struct DelayLock {
    _fd: OwnedFd,
}

/// The signals to watch.
pub fn watches() -> [Watch; 2] {
    ["PrepareForSleep", "PrepareForShutdown"].map(|member| Watch {
        service: SERVICE,
        path: PATH.to_owned(),
        interface: MANAGER,
        member,
    })
}

/// What a signal of logind says; none when it is not one of ours.
pub fn observation(signal: &BusSignal) -> Option<Observation> {
    let header = signal.message.header();
    if signal.service != SERVICE || header.interface()?.as_str() != MANAGER {
        return None;
    }
    let begins: bool = signal.message.body().deserialize().ok()?;
    Some(match (header.member()?.as_str(), begins) {
        ("PrepareForSleep", true) => Observation::SleepBegins,
        ("PrepareForSleep", false) => Observation::SleepEnds,
        ("PrepareForShutdown", true) => Observation::ShutdownBegins,
        ("PrepareForShutdown", false) => Observation::ShutdownCancelled,
        _ => return None,
    })
}

/// Whether logind refused because it is still about another sleep or shutdown.
pub fn is_busy(error: &BusError) -> bool {
    matches!(error, BusError::Refused { name, .. } if name == IN_PROGRESS)
}

/// Takes the delay lock.
///
/// # Errors
/// logind is absent or refuses.
pub async fn inhibit(bus: &Caller) -> Result<DelayLock, BusError> {
    let body = ("sleep:shutdown", "psm-agent", "the home energy gateway is told first", "delay");
    let reply = bus.call(SERVICE, PATH, MANAGER, "Inhibit", &body).await?;
    let fd: zbus::OwnedFd = reply.body().deserialize()?;
    Ok(DelayLock { _fd: fd.into() })
}

/// Asks for the machine to sleep. It returns when logind has accepted; the sleep is told by `PrepareForSleep`. While logind
/// still ends the last sleep, which the kernel has told of already, it is asked again for a while.
///
/// # Errors
/// logind is absent or refuses.
pub async fn suspend(bus: &Caller) -> Result<(), BusError> {
    let mut tries_left = SUSPEND_TRIES_MAX;
    loop {
        tries_left -= 1;
        match bus.call(SERVICE, PATH, MANAGER, "Suspend", &false).await {
            Err(error) if tries_left > 0 && is_busy(&error) => {
                tokio::time::sleep(SUSPEND_TRY_EVERY).await;
            }
            done => return done.map(drop),
        }
    }
}

/// Asks for the machine to be powered off.
///
/// # Errors
/// logind is absent or refuses.
pub async fn power_off(bus: &Caller) -> Result<(), BusError> {
    bus.call(SERVICE, PATH, MANAGER, "PowerOff", &false).await.map(drop)
}

/// `CanSuspend` or `CanPowerOff`: `yes`, `no`, `na`, `challenge` and newer words.
///
/// # Errors
/// logind is absent.
pub async fn possible(bus: &Caller, method: &'static str) -> Result<String, BusError> {
    Ok(bus.call(SERVICE, PATH, MANAGER, method, &()).await?.body().deserialize()?)
}

/// Whether logind is on the way to sleep, or asleep.
///
/// # Errors
/// logind is absent.
pub async fn preparing_for_sleep(bus: &Caller) -> Result<bool, BusError> {
    let reply = bus.call(SERVICE, PATH, PROPERTIES, "Get", &(MANAGER, "PreparingForSleep")).await?;
    let value: OwnedVariant = reply.body().deserialize()?;
    Ok(bool::try_from(value)?)
}

/// The locks held, the first [`INHIBITORS_MAX`].
///
/// # Errors
/// logind is absent.
pub async fn inhibitors(bus: &Caller) -> Result<Vec<Inhibitor>, BusError> {
    let reply = bus.call(SERVICE, PATH, MANAGER, "ListInhibitors", &()).await?;
    let locks: Vec<(String, String, String, String, u32, u32)> = reply.body().deserialize()?;
    let lock = |(what, who, why, mode, _, _)| Inhibitor { what, who, why, mode };
    Ok(locks.into_iter().take(INHIBITORS_MAX).map(lock).collect())
}

/// The sessions of people that are active and not idle.
///
/// # Errors
/// logind is absent. A session that ends meanwhile is no error.
pub async fn active_sessions(bus: &Caller) -> Result<Vec<ActiveSession>, BusError> {
    let reply = bus.call(SERVICE, PATH, MANAGER, "ListSessions", &()).await?;
    let sessions: Vec<(String, u32, String, String, OwnedObjectPath)> = reply.body().deserialize()?;
    let mut active = Vec::new();
    for (id, _, user, _, path) in sessions.into_iter().take(SESSIONS_MAX) {
        let reply = match bus.call(SERVICE, path.as_str(), PROPERTIES, "GetAll", &SESSION).await {
            Ok(reply) => reply,
            Err(BusError::Refused { .. }) => continue,
            Err(error) => return Err(error),
        };
        let properties: HashMap<String, OwnedVariant> = reply.body().deserialize()?;
        let yes = |name: &str| properties.get(name).and_then(|v| v.downcast_ref::<bool>().ok()).unwrap_or(false);
        let class = properties.get("Class").and_then(|v| v.downcast_ref::<String>().ok()).unwrap_or_default();
        if yes("Active") && !yes("IdleHint") && class.starts_with("user") {
            active.push(ActiveSession { id, user });
        }
    }
    Ok(active)
}
