//! One snapshot of all that a person may want to know: `psm-agent status`, the presentation page, the service manager's line.

use std::fmt::Write as _;

use energy_model::{PowerState, RefusalKind, WakeMethod};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use upnp::time::BootTime;

use crate::agent::Agent;
use crate::gateway_link::{GatewayStatus, Origin};
use crate::schedule::{Registration, Subject};
use crate::state::Operation;

/// A source of facts, or something the agent works through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SourceStatus {
    /// `logind`, `operation`, `network`, `wake-on-lan`, `wake-alarm`.
    pub name: String,
    /// It works.
    pub live: bool,
    /// What it is, or why it does not work.
    pub detail: String,
}

/// A change of the power state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EventRecord {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// The state left.
    pub from: PowerState,
    /// The state entered.
    pub to: PowerState,
    /// Who asked, and who saw it.
    pub cause: String,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RefusalRecord {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// The action.
    pub action: String,
    /// Who asked.
    pub by: String,
    /// UPnPError code.
    pub code: u16,
    /// Why, for programs.
    pub kind: RefusalKind,
    /// Why, for people.
    pub reason: String,
}

/// A registration of a control point here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RegistrationStatus {
    /// Its number.
    pub reg_id: u32,
    /// The action, with its window.
    pub subject: String,
    /// Whose it is.
    pub caller: String,
    /// The address the caller gave.
    pub address: String,
}

/// A wish of this appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WishStatus {
    /// What.
    pub wish: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// The snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Name for people.
    pub name: String,
    /// UDN.
    pub udn: String,
    /// Version of the program.
    pub version: String,
    /// Power state.
    pub power_state: PowerState,
    /// For how long it has been working (ON), or not (OFF, Standby), seconds.
    pub held_s: u64,
    /// What the driver sees: `on`, `off`, `unknown`.
    pub operation: String,
    /// What it drives.
    pub driver: String,
    /// How the network wakes it; none before the drivers were asked.
    pub wake_method: Option<WakeMethod>,
    /// The address a magic packet names.
    pub mac_address: Option<String>,
    /// Power now, W.
    pub power_w: u32,
    /// Energy so far, Wh.
    pub energy_wh: u32,
    /// Subscriptions to events.
    pub subscribers: usize,
    /// Sources in use, and those that are not, with the reason.
    pub sources: Vec<SourceStatus>,
    /// Gateways known.
    pub gateways: Vec<GatewayStatus>,
    /// Wishes of this appliance.
    pub wishes: Vec<WishStatus>,
    /// Registrations of control points.
    pub registrations: Vec<RegistrationStatus>,
    /// Last changes, oldest first.
    pub events: Vec<EventRecord>,
    /// Last refusals, oldest first.
    pub refusals: Vec<RefusalRecord>,
}

/// A time as RFC 3339 in UTC, to the second.
pub fn rfc3339(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

impl Agent {
    /// The snapshot as of the last input.
    pub fn status(&self) -> Status {
        self.status_at(self.now)
    }

    /// The snapshot at `now`.
    pub fn status_at(&self, now: BootTime) -> Status {
        Status {
            name: self.device.friendly_name().to_owned(),
            udn: self.device.udn().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            power_state: self.state.state(),
            held_s: self.held_for(now).as_secs(),
            operation: match self.state.operation() {
                Operation::On => "on",
                Operation::Off => "off",
                Operation::Unknown => "unknown",
            }
            .to_owned(),
            driver: self.driver.clone(),
            wake_method: self.wake.method,
            mac_address: self.wake.mac.map(|m| m.to_string()),
            power_w: self.meter.power().count(),
            energy_wh: self.meter.energy(now).count(),
            subscribers: self.device.subscribers(),
            sources: self.sources.clone(),
            gateways: self.gateway.gateways().collect(),
            wishes: self.gateway.wishes().map(|(wish, origin)| WishStatus { wish: wish.to_string(), origin }).collect(),
            registrations: self.schedule.registrations().map(registration).collect(),
            events: self.events.iter().cloned().collect(),
            refusals: self.refusals.iter().cloned().collect(),
        }
    }

    /// The service manager's status line.
    pub fn status_line(&self) -> String {
        let mut line = format!("{}; operation: {}", self.state.state(), self.driver);
        let here: Vec<_> = self.gateway.gateways().filter(|g| g.location.is_some()).map(|g| g.name).collect();
        let away = self.gateway.gateways().find(|g| g.location.is_none());
        // Writing to a String cannot fail.
        let _ = match (&here[..], away) {
            ([], None) => write!(line, "; searching for a gateway, a host of this network that runs heg-gateway"),
            ([], Some(away)) => write!(line, "; gateway {} is not on the network, searching", away.name),
            (names, _) => write!(line, "; gateway found: {}, try `hegctl appliances` there", names.join(", ")),
        };
        let live: Vec<_> = self.sources.iter().filter(|s| s.live).map(|s| s.name.as_str()).collect();
        let _ = write!(line, "; sources: {}", if live.is_empty() { "none".to_owned() } else { live.join(", ") });
        for source in self.sources.iter().filter(|s| !s.live) {
            let _ = write!(line, "; no {}: {}", source.name, source.detail);
        }
        line
    }
}

fn registration(r: &Registration) -> RegistrationStatus {
    RegistrationStatus {
        reg_id: r.reg_id.number(),
        subject: match r.subject {
            Subject::GetPowerState => "GetPowerState".to_owned(),
            Subject::WakeUpMethod => "WakeUpMethod".to_owned(),
            Subject::OperationOn => "OperationOn".to_owned(),
            Subject::OperationOff => "OperationOff".to_owned(),
            Subject::GoToStandby => "GoToStandby".to_owned(),
            Subject::StandbyPeriod(window) => format!("StandbyPeriod {window}"),
        },
        caller: r.caller.as_str().to_owned(),
        address: r.address.as_str().to_owned(),
    }
}

impl Status {
    /// For people, on a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |label: &str, text: &str| {
            let _ = writeln!(out, "{label:<14}{text}");
        };
        line("Appliance", &format!("{} ({})", self.name, self.udn));
        line("State", &format!("{} for {}", self.power_state, span(self.held_s)));
        line("Operation", &format!("{} ({})", self.operation, self.driver));
        let method = self.wake_method.map_or("not known yet".to_owned(), |m| m.to_string());
        let mac = self.mac_address.as_deref().unwrap_or("no address");
        line("Wake", &format!("{method}, {mac}"));
        line("Power", &format!("{} W, {} Wh so far", self.power_w, self.energy_wh));
        line("Subscribers", &self.subscribers.to_string());
        for (i, s) in self.sources.iter().enumerate() {
            let sign = if s.live { "" } else { "not in use: " };
            line(if i == 0 { "Sources" } else { "" }, &format!("{}: {sign}{}", s.name, s.detail));
        }
        if self.gateways.is_empty() {
            line("Gateways", "none found yet");
        }
        for (i, g) in self.gateways.iter().enumerate() {
            let place = g.location.as_deref().unwrap_or("not on the network");
            line(if i == 0 { "Gateways" } else { "" }, &format!("{} ({}) {place}", g.name, g.udn));
            for r in &g.registrations {
                line("", &format!("  registration {}: {}", r.reg_id, r.wish));
            }
            for (wish, why) in &g.refused {
                line("", &format!("  refused {wish}: {why}"));
            }
            if let Some(error) = &g.error {
                line("", &format!("  last failure: {error}"));
            }
        }
        for (i, w) in self.wishes.iter().enumerate() {
            let origin = match w.origin {
                Origin::Configuration => "configuration",
                Origin::CommandLine => "command line",
            };
            line(if i == 0 { "Wishes" } else { "" }, &format!("{} ({origin})", w.wish));
        }
        for (i, r) in self.registrations.iter().enumerate() {
            let text = format!("{}: {} by {} at {}", r.reg_id, r.subject, r.caller, r.address);
            line(if i == 0 { "Registered" } else { "" }, &text);
        }
        for (i, e) in self.events.iter().enumerate() {
            line(if i == 0 { "Events" } else { "" }, &format!("{} {} -> {} ({})", e.at, e.from, e.to, e.cause));
        }
        for (i, r) in self.refusals.iter().enumerate() {
            let text = format!("{} {} by {}: {} ({} {})", r.at, r.action, r.by, r.reason, r.code, r.kind);
            line(if i == 0 { "Refusals" } else { "" }, &text);
        }
        out
    }
}

/// A time span for people.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_in_the_unit_a_person_would_choose() {
        assert_eq!([5, 119, 120, 7200, 200_000].map(span), ["5 s", "119 s", "2 min", "2 h", "2 days"]);
    }

    #[test]
    fn times_are_in_utc_to_the_second() {
        let at: Timestamp = "2026-11-22T12:00:00.987Z".parse().unwrap();
        assert_eq!(rfc3339(at), "2026-11-22T12:00:00Z");
    }
}
