//! The control API's values: what `hegctl` and other programs on this machine read and send, as JSON over the control
//! socket. Described for people in heg-gateway(8). New fields may be added; those here keep their names and meaning.
//!
//! Moments are RFC 3339 in UTC, times of day `HH:MM:SS` local.

use energy_model::{PowerState, TimeOfDay};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::commands::Outcome;
use crate::gateway::Gateway;
use crate::journal::Entry;
use crate::registrations::{Registrant, Registration, Wish};
use crate::registry::{Appliance, KnownBy, state_word};

pub mod access;
pub mod firewall;
pub mod planning;
pub mod prices;
pub mod routes;
pub mod utility;

/// Answer of `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusView {
    /// Version of the daemon.
    pub version: String,
    /// The gateway's UDN.
    pub udn: String,
    /// Its name.
    pub name: String,
    /// The line `systemctl status` shows.
    pub status: String,
    /// Interfaces in use with their addresses, `eth0 192.0.2.1`.
    pub interfaces: Vec<String>,
    /// TCP port of description, control and events.
    pub http_port: u16,
    /// Since the start, seconds; sleep of this machine included.
    pub uptime_s: u64,
    /// IANA name or offset of the zone times of day are in.
    pub time_zone: String,
    /// Appliances in each state.
    pub on: usize,
    /// Appliances OFF.
    pub off: usize,
    /// Appliances in Standby.
    pub standby: usize,
    /// Appliances Unknown.
    pub unknown: usize,
    /// Registrations in all.
    pub registrations: usize,
    /// Control points subscribed to the gateway's own device.
    pub subscribers: usize,
    /// Commands under way.
    pub commands: Vec<CommandView>,
    /// What is not well, each a sentence; empty when all is.
    pub troubles: Vec<String>,
    /// What of the configuration is to be thought over, each a sentence.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Last journal entries, oldest first.
    pub recent: Vec<EntryView>,
}

/// A command under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CommandView {
    /// Its appliance.
    pub udn: String,
    /// The appliance's name.
    pub name: String,
    /// The action.
    pub action: String,
    /// For whom.
    pub cause: String,
}

/// An appliance.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ApplianceView {
    /// Its UDN.
    pub udn: String,
    /// Its name.
    pub name: String,
    /// `ON`, `OFF`, `Standby` or `Unknown`.
    pub state: String,
    /// Since when.
    pub since: String,
    /// The last state that was not Unknown.
    pub last_known: Option<PowerState>,
    /// Whether it can be talked to now; a sleeper cannot.
    pub reachable: bool,
    /// Whether its events come to the gateway now.
    pub subscribed: bool,
    /// When it was last heard.
    pub last_seen: Option<String>,
    /// `discovery`, or `own-request` where it called before it was found.
    pub known_by: String,
    /// Manufacturer.
    pub maker: String,
    /// Model name.
    pub model: String,
    /// Last address.
    pub address: Option<String>,
    /// Network card, for waking.
    pub mac: Option<String>,
    /// How it can be woken: `WOL`, `WoWLAN`, `None`.
    pub wake_method: Option<String>,
    /// Rated power, W.
    pub rated_power_w: Option<u32>,
    /// Power drawn now, W.
    pub power_w: Option<u32>,
    /// Importance class.
    pub importance: Option<String>,
    /// Flexibility class.
    pub flexibility: Option<String>,
    /// Minimum on time, s.
    pub minimum_on_s: Option<u32>,
    /// Minimum off time, s.
    pub minimum_off_s: Option<u32>,
    /// Last refusal, `CODE ACTION reason`; empty for none.
    pub last_refusal: String,
    /// Registrations about it.
    pub registrations: Vec<RegistrationView>,
}

/// A registration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RegistrationView {
    /// Its number.
    pub reg_id: u32,
    /// Who keeps and numbers it: `gateway` or `appliance`.
    pub kept_by: String,
    /// The appliance it is about.
    pub udn: String,
    /// Who made it: `appliance` or `person:UID`.
    pub by: String,
    /// `WakeUpTime`, `NoStandbyPeriod` or `StandbyPeriod`.
    pub action: String,
    /// The time, or the window's start.
    pub start: TimeOfDay,
    /// The window's end.
    pub stop: Option<TimeOfDay>,
    /// When it was made.
    pub made: String,
    /// When a wake-up is next due.
    pub due: Option<String>,
}

/// A journal entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EntryView {
    /// When.
    pub time: String,
    /// The appliance's UDN; none for the gateway's own matters.
    pub udn: Option<String>,
    /// The appliance's name, or its UDN where it is no longer known.
    pub name: Option<String>,
    /// What.
    pub action: String,
    /// For whom: `person:UID`, `appliance`, `registration:REGID`, `utility:ID`, `gateway`.
    pub cause: String,
    /// How it ended, in one word.
    pub outcome: String,
    /// Why; may be empty.
    pub reason: String,
}

/// Answer to a command, once it has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutcomeView {
    /// `done`, `already`, `refused`, `declined`, `unreachable`, `timed-out`, `failed` or `superseded`.
    pub outcome: String,
    /// Why; empty where there is nothing to say.
    pub reason: String,
    /// The UPnPError code of a refusal or fault.
    pub code: Option<u16>,
    /// The RegID, of a registration.
    pub reg_id: Option<u32>,
    /// Who keeps that registration: `gateway` or `appliance`.
    pub kept_by: Option<String>,
}

/// Body of `POST /v1/appliances/ID/schedule`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ScheduleBody {
    /// The appliance sleeps every day from one time to the other (StandbyPeriod, kept by the appliance).
    Standby {
        /// From.
        start: TimeOfDay,
        /// To.
        stop: TimeOfDay,
    },
    /// The gateway wakes it every day at that time.
    Wake {
        /// When.
        at: TimeOfDay,
    },
    /// The gateway never sends it to standby between the two.
    NoStandby {
        /// From.
        start: TimeOfDay,
        /// To.
        stop: TimeOfDay,
    },
}

/// A line of `GET /v1/watch`. It begins with every appliance as it is, then `Ready`, then changes as they come.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum WatchLine {
    /// An appliance as it is now.
    Appliance {
        /// The appliance.
        appliance: Box<ApplianceView>,
    },
    /// An appliance was taken out of the registry.
    Forgotten {
        /// Its UDN.
        udn: String,
    },
    /// All appliances have been told; what follows is news.
    Ready,
    /// Something was decided: a switching, a start, work that is left undone; or what came of it.
    Decision {
        /// The decision.
        decision: planning::DecisionView,
    },
    /// Another plan is followed than before.
    Plan {
        /// The plan.
        plan: Box<planning::PlanView>,
    },
    /// A new journal entry.
    Journal {
        /// The entry.
        entry: EntryView,
    },
}

impl ApplianceView {
    /// How an appliance looks now.
    pub fn new(gateway: &Gateway, appliance: &Appliance) -> Self {
        let p = appliance.profile();
        let facts = p.facts.as_ref();
        Self {
            udn: p.udn.to_string(),
            name: gateway.name_of(appliance).to_owned(),
            state: state_word(p.state).to_owned(),
            since: moment(p.since),
            last_known: p.last_known,
            reachable: appliance.is_reachable(),
            subscribed: appliance.is_subscribed(),
            last_seen: p.last_seen.map(moment),
            known_by: match p.known_by {
                KnownBy::Discovery => "discovery",
                KnownBy::OwnRequest => "own-request",
            }
            .to_owned(),
            maker: p.maker.to_string(),
            model: p.model.to_string(),
            address: p.address.map(|a| a.to_string()),
            mac: p.mac.map(|m| m.to_string()),
            wake_method: p.wake_method.map(|m| m.to_string()),
            rated_power_w: facts.map(|f| f.rated_power.count()),
            power_w: p.power.map(|w| w.count()),
            importance: facts.map(|f| f.importance.to_string()),
            flexibility: facts.map(|f| f.flexibility.to_string()),
            minimum_on_s: facts.map(|f| f.minimum_on_s),
            minimum_off_s: facts.map(|f| f.minimum_off_s),
            last_refusal: p.last_refusal.to_string(),
            registrations: gateway.registrations().of(appliance.udn()).map(RegistrationView::new).collect(),
        }
    }
}

impl RegistrationView {
    /// How a registration looks.
    pub fn new(r: &Registration) -> Self {
        let (action, start, stop) = match r.wish {
            Wish::WakeUp(at) => ("WakeUpTime", at, None),
            Wish::NoStandby(w) => ("NoStandbyPeriod", w.start(), Some(w.end())),
            Wish::Standby(w) => ("StandbyPeriod", w.start(), Some(w.end())),
        };
        Self {
            reg_id: r.reg.number(),
            kept_by: if matches!(r.wish, Wish::Standby(_)) { "appliance" } else { "gateway" }.to_owned(),
            udn: r.udn.to_string(),
            by: match r.by {
                Registrant::Appliance => "appliance".to_owned(),
                Registrant::Person(uid) => format!("person:{uid}"),
            },
            action: action.to_owned(),
            start,
            stop,
            made: moment(r.made),
            due: r.due.map(moment),
        }
    }
}

impl EntryView {
    /// How a journal entry looks.
    pub fn new(gateway: &Gateway, entry: &Entry) -> Self {
        let name = entry.udn.as_ref().map(|udn| match gateway.registry().get(udn) {
            Some(appliance) => gateway.name_of(appliance).to_owned(),
            None => udn.bare().to_owned(),
        });
        Self {
            time: moment(entry.at),
            udn: entry.udn.as_ref().map(ToString::to_string),
            name,
            action: entry.action.to_string(),
            cause: entry.cause.to_string(),
            outcome: entry.ending.to_string(),
            reason: entry.reason.to_string(),
        }
    }
}

impl From<Outcome> for OutcomeView {
    fn from(o: Outcome) -> Self {
        let kept_by = o.reg.map(|_| "appliance".to_owned());
        let (outcome, reg_id) = (o.ending.to_string(), o.reg.map(|r| r.number()));
        Self { outcome, reason: o.reason, code: o.code, reg_id, kept_by }
    }
}

/// RFC 3339, UTC, milliseconds.
pub fn moment(at: Timestamp) -> String {
    format!("{at:.3}")
}
