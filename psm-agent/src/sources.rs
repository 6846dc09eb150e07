//! What the agent works through, put into words for `status`, and how the machine can be woken.

use energy_model::WakeMethod;
use upnp::net::Interface;

use crate::agent::Wake;
use crate::bus::Bus;
use crate::config;
use crate::link::{Link, Links};
use crate::logind::{self, DelayLock};
use crate::operation::{self, Driver, Seen};
use crate::probe::Attached;
use crate::rtc::Rtc;
use crate::status::SourceStatus;
use crate::wake::Ability;

/// logind's delay lock.
#[derive(Debug)]
pub enum Lock {
    /// Not held, and why.
    None(String),
    /// Asked for.
    Asked,
    /// Held.
    Held(DelayLock),
}

/// The probe in the kernel.
#[derive(Debug)]
pub enum ProbeState {
    /// Switched off by the configuration.
    Off,
    /// Being loaded.
    Loading,
    /// It reads.
    Reads(Attached),
    /// There is none, and why.
    Failed(String),
}

/// What there is.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The probe in the kernel.
    pub probe: &'a ProbeState,
    /// Events of its that were lost.
    pub lost: u32,
    /// The system bus.
    pub bus: &'a Bus,
    /// The delay lock.
    pub lock: &'a Lock,
    /// Whether the operation was seen when it was last looked at.
    pub last_look: &'a Result<Seen, String>,
    /// The operation driver.
    pub driver: &'a Driver,
    /// Interfaces in use.
    pub interfaces: &'a [Interface],
    /// Links watched.
    pub links: Option<&'a Links>,
    /// Links are armed.
    pub arm: bool,
    /// The clock with a wake alarm.
    pub rtc: Option<&'a Rtc>,
    /// Why the configuration was not taken when it was last read again, if so.
    pub config_error: Option<&'a str>,
    /// Why the state is not on disk, if so.
    pub unsaved: Option<&'a str>,
}

/// The sources, one by one.
pub fn list(parts: &Parts<'_>) -> Vec<SourceStatus> {
    let source = |name: &str, state: Result<String, String>| {
        let live = state.is_ok();
        SourceStatus { name: name.to_owned(), live, detail: state.unwrap_or_else(|why| why) }
    };
    let logind = match (parts.bus.caller(), parts.lock) {
        (Err(error), _) => Err(error.to_string()),
        (Ok(_), Lock::Held(_)) => Ok("delay lock held".to_owned()),
        (Ok(_), Lock::Asked) => Ok("delay lock asked for".to_owned()),
        (Ok(_), Lock::None(why)) if parts.bus.runs(logind::SERVICE) => Ok(format!("no delay lock: {why}")),
        (Ok(_), Lock::None(why)) => Err(why.clone()),
    };
    let operation = match (parts.last_look, parts.driver.watch()) {
        (Err(why), _) => Err(why.clone()),
        (Ok(_), Some(_)) if parts.bus.runs(operation::SYSTEMD) => {
            Ok(format!("{}, by systemd", parts.driver.describe()))
        }
        (Ok(_), Some(_)) => Err("systemd is not on the system bus".to_owned()),
        (Ok(_), None) => Ok(parts.driver.describe()),
    };
    let network = if parts.interfaces.is_empty() {
        Err("no usable interface".to_owned())
    } else {
        Ok(parts.interfaces.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", "))
    };
    let alarm = parts.rtc.map(|rtc| rtc.name().to_owned()).ok_or_else(|| "no clock with a wake alarm".to_owned());
    let mut sources = match parts.probe {
        ProbeState::Off => vec![source("probe", Err("switched off".to_owned()))],
        ProbeState::Loading => vec![source("probe", Err("being loaded".to_owned()))],
        ProbeState::Failed(why) => vec![source("probe", Err(why.clone()))],
        ProbeState::Reads(attached) => {
            let lost = if parts.lost > 0 { format!("; {} events lost", parts.lost) } else { String::new() };
            vec![
                source("probe", Ok(format!("{attached}{lost}"))),
                source("probe-reboot", attached.reboot.clone().map(|()| "reboot(2)".to_owned())),
                source("probe-kprobes", attached.kprobes.clone().map(|names| names.join(", "))),
            ]
        }
    };
    sources.extend([
        source("logind", logind),
        source("operation", operation),
        source("network", network),
        source("wake-on-lan", wake_on_lan(parts.links, parts.arm)),
        source("wake-alarm", alarm),
    ]);
    if let Some(error) = parts.config_error {
        sources.push(source("new configuration", Err(error.to_owned())));
    }
    if let Some(error) = parts.unsaved {
        sources.push(source("storage", Err(error.to_owned())));
    }
    sources
}

fn wake_on_lan(links: Option<&Links>, arm: bool) -> Result<String, String> {
    let links = links.ok_or_else(|| "links are not watched".to_owned())?;
    if let Some(why) = links.why_not() {
        return Err(why.to_owned());
    }
    let named = |ability| {
        let names: Vec<_> = links.all().filter(|l| l.wake == ability).map(|l| l.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    match (named(Ability::Armed), named(Ability::Disarmed)) {
        (Some(names), _) => Ok(format!("armed on {names}")),
        (None, Some(names)) if arm => Err(format!("could not be armed on {names}")),
        (None, Some(names)) => Err(format!("not armed on {names}")),
        (None, None) => Err("no link can".to_owned()),
    }
}

/// How the machine can be woken: the configured link, else the one toward the gateway, else the first with a carrier.
pub fn wake(config: &config::Wake, links: Option<&Links>, toward_gateway: Option<u32>, alarm: bool) -> Wake {
    let all: Vec<&Link> = links.into_iter().flat_map(Links::all).collect();
    let link = match &config.interface {
        Some(name) => all.iter().find(|l| l.name == *name),
        None => all
            .iter()
            .find(|l| Some(l.index) == toward_gateway)
            .or_else(|| all.iter().find(|l| l.carrier && l.mac.is_some())),
    };
    let method = config.method.fixed().unwrap_or_else(|| link.map_or(WakeMethod::None, |l| l.wake_method()));
    Wake { method: Some(method), mac: link.and_then(|l| l.mac), interface: link.map(|l| l.name.clone()), alarm }
}
