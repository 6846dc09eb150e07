//! The configuration file: what may be set, its defaults, and what does not go together.
//!
//! An empty or missing file is a working configuration. Every key is named, with its default, in
//! packaging/examples/heg-gateway.toml and heg-gateway.toml(5).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_kit::config::{self, ConfigError};
use daemon_kit::{logging, state_dir};
use energy_model::MacAddress;
use serde::Deserialize;
use upnp::ids::Udn;
use upnp::url::HttpUrl;

use crate::commands::Patience;
use crate::firewall::settings::Settings as Firewall;
use crate::gateway::{Override, Settings};
use crate::limits::{NAMED_MAX, PATIENCE_S_MAX, SPREAD_S_MAX};
use crate::rules::form::RuleForm;
use crate::rules::load::LoadForm;
use crate::store::Retention;
use crate::utility::{self, Allowed};
use crate::wake::SecureOn;

pub mod planning;
mod tariff;

pub use tariff::{FeedUrl, FeedUrlError, Place, Tariff};

/// Where the configuration is when no other file is named.
pub const DEFAULT_PATH: &str = "/etc/heg/heg-gateway.toml";
/// Where `hegctl` looks for the control socket when no other is named.
pub const DEFAULT_SOCKET: &str = "/run/heg/control.sock";
const DEFAULT_STATE_DIR: &str = "/var/lib/heg";
const DEFAULT_SOCKET_DIR: &str = "/run/heg";
const SOCKET_NAME: &str = "control.sock";

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Where identity and database are kept; the service manager's `STATE_DIRECTORY` wins.
    pub state_dir: Option<PathBuf>,
    /// `[log]`
    pub log: Log,
    /// `[device]`
    pub device: Device,
    /// `[network]`
    pub network: Network,
    /// `[discovery]`
    pub discovery: Discovery,
    /// `[commands]`
    pub commands: Commands,
    /// `[store]`
    pub store: Store,
    /// `[utility]`
    pub utility: Utility,
    /// `[tariff]`
    pub tariff: Tariff,
    /// `[control]`
    pub control: Control,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[plan]`
    pub plan: planning::Plan,
    /// `[firewall]`
    pub firewall: Firewall,
    /// `[[appliance]]`
    pub appliance: Vec<Appliance>,
    /// `[[load]]`
    pub load: Vec<LoadForm>,
    /// `[[rule]]`
    pub rule: Vec<RuleForm>,
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Log {
    /// A level, and other levels for targets.
    pub level: logging::Filter,
}

/// `[device]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Device {
    /// Name for people; the host name when none is set.
    pub friendly_name: Option<String>,
}

/// `[network]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Network {
    /// Interfaces to speak on; empty: all that can do multicast.
    pub interfaces: Vec<String>,
    /// Interfaces to keep off.
    pub exclude_interfaces: Vec<String>,
    /// Also speak on the loopback interface.
    pub loopback: bool,
    /// Speak IPv6 too.
    pub ipv6: bool,
    /// TCP port; 0: any free one.
    pub http_port: u16,
    /// Routers that an SSDP message may pass, 1 to 255.
    pub multicast_ttl: u8,
    /// How long an announcement holds, s.
    pub max_age_s: u32,
    /// Names under which the gateway may be asked beside its addresses.
    pub host_names: Vec<String>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            interfaces: vec![],
            exclude_interfaces: vec![],
            loopback: false,
            ipv6: true,
            http_port: 0,
            multicast_ttl: 2,
            max_age_s: 5400,
            host_names: vec![],
        }
    }
}

/// `[discovery]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Discovery {
    /// Time between searches, s.
    pub search_every_s: u32,
    /// A searched device answers within so many seconds, 1 to 5.
    pub answer_within_s: u8,
    /// An appliance that says nothing for so long is asked for its state, s.
    pub poll_every_s: u32,
    /// Description URLs of appliances that multicast does not reach.
    #[serde(deserialize_with = "urls")]
    pub static_devices: Vec<HttpUrl>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { search_every_s: 600, answer_within_s: 2, poll_every_s: 300, static_devices: vec![] }
    }
}

/// `[commands]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Commands {
    /// A command not confirmed within this has failed, s.
    pub within_s: u32,
    /// An appliance not awake within this after the first magic packet could not be woken, s.
    pub wake_within_s: u32,
}

impl Default for Commands {
    fn default() -> Self {
        Self { within_s: 20, wake_within_s: 90 }
    }
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Store {
    /// Changes gather for so long before they are written, s.
    pub write_every_s: u32,
    /// Journal entries older than this are dropped, days.
    pub journal_days: u32,
    /// Journal entries kept at most.
    pub journal_entries: u32,
}

impl Default for Store {
    fn default() -> Self {
        Self { write_every_s: 5, journal_days: 90, journal_entries: 20_000 }
    }
}

/// `[utility]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Utility {
    /// Ask the utility for news; without that it has to call.
    pub poll: bool,
    /// The first contact after a start or an outage is put off by a random time up to this, s.
    pub spread_s: u32,
    /// Which appliances the utility may control.
    pub consent: Allowed,
    /// Where the utility may call: address and port to listen on.
    pub listen: Option<SocketAddr>,
    /// Under which name or address and port the utility reaches that.
    pub reachable: Option<String>,
}

impl Default for Utility {
    fn default() -> Self {
        Self { poll: true, spread_s: 60, consent: Allowed::None, listen: None, reachable: None }
    }
}

/// `[control]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Control {
    /// Socket of `hegctl`.
    pub socket: Option<PathBuf>,
}

/// `[metrics]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Metrics {
    /// Answer `GET /metrics` on the LAN too.
    pub lan: bool,
}

/// `[[appliance]]`: what a person knows better than the appliance.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Appliance {
    /// Which.
    #[serde(deserialize_with = "udn")]
    pub udn: Udn,
    /// Shown instead of its friendly name.
    pub name: Option<String>,
    /// Woken at this address.
    pub mac: Option<MacAddress>,
    /// SecureOn password.
    pub secure_on: Option<SecureOn>,
    /// File with the SecureOn password; a relative name is looked for among the service's credentials.
    pub secure_on_file: Option<PathBuf>,
    /// Whether the utility may control it; goes before `[utility] consent`.
    pub utility_control: Option<bool>,
}

fn udn<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Udn, D::Error> {
    let text = String::deserialize(d)?;
    Udn::parse(&text).map_err(|e| serde::de::Error::custom(format!("{text:?}: {e}")))
}

fn urls<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<HttpUrl>, D::Error> {
    let texts = Vec::<String>::deserialize(d)?;
    texts.iter().map(|t| HttpUrl::parse(t).map_err(|e| serde::de::Error::custom(format!("{t:?}: {e}")))).collect()
}

impl Config {
    /// Reads `named`, else the default file, and checks it. SecureOn passwords in files are read too.
    ///
    /// # Errors
    /// An unreadable file, an unknown key or wrong value with file, line and key, or keys that do not go together.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        let mut config: Self = config::load(named, path)?;
        config.check(path)?;
        config.read_secrets(path)?;
        Ok(config)
    }

    /// Finds values out of range, and keys that are right by themselves and wrong together.
    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |key: &str, message: &str| Err(ConfigError::conflict(path, key, message));
        let n = &self.network;
        if n.multicast_ttl == 0 {
            return wrong("network.multicast-ttl", "expected 1 to 255");
        }
        if !(1800..=86_400).contains(&n.max_age_s) {
            return wrong("network.max-age-s", "expected 1800 to 86400");
        }
        if let Some(both) = n.interfaces.iter().find(|i| n.exclude_interfaces.contains(i)) {
            return wrong("network.exclude-interfaces", &format!("{both} is in `interfaces` too"));
        }
        let d = &self.discovery;
        if !(30..=86_400).contains(&d.search_every_s) {
            return wrong("discovery.search-every-s", "expected 30 to 86400");
        }
        if !(1..=5).contains(&d.answer_within_s) {
            return wrong("discovery.answer-within-s", "expected 1 to 5");
        }
        if !(10..=86_400).contains(&d.poll_every_s) {
            return wrong("discovery.poll-every-s", "expected 10 to 86400");
        }
        if d.static_devices.len() > NAMED_MAX {
            return wrong("discovery.static-devices", &format!("expected at most {NAMED_MAX}"));
        }
        let c = &self.commands;
        if c.within_s == 0 || c.wake_within_s == 0 {
            return wrong("commands", "expected at least 1 s each");
        }
        if u64::from(c.within_s) + u64::from(c.wake_within_s) > PATIENCE_S_MAX {
            return wrong("commands", &format!("within-s and wake-within-s may take {PATIENCE_S_MAX} s together"));
        }
        let s = &self.store;
        if !(1..=3600).contains(&s.write_every_s) {
            return wrong("store.write-every-s", "expected 1 to 3600");
        }
        let u = &self.utility;
        if u.spread_s > SPREAD_S_MAX {
            return wrong("utility.spread-s", &format!("expected at most {SPREAD_S_MAX}"));
        }
        if u.reachable.as_ref().is_some_and(|host| secure_http::canonical_host(host).is_none()) {
            return wrong("utility.reachable", "expected a name or address, with :port or without");
        }
        if u.reachable.is_some() && u.listen.is_none() {
            return wrong("utility.reachable", "nothing listens there: set utility.listen too");
        }
        if !(1..=3650).contains(&s.journal_days) {
            return wrong("store.journal-days", "expected 1 to 3650");
        }
        if !(100..=1_000_000).contains(&s.journal_entries) {
            return wrong("store.journal-entries", "expected 100 to 1000000");
        }
        if let Err((key, message)) = self.firewall.check() {
            return wrong(&format!("firewall.{key}"), &message);
        }
        if self.appliance.len() > NAMED_MAX {
            return wrong("appliance", &format!("expected at most {NAMED_MAX}"));
        }
        for (i, a) in self.appliance.iter().enumerate() {
            if a.secure_on.is_some() && a.secure_on_file.is_some() {
                return wrong("appliance.secure-on-file", &format!("{} has `secure-on` too", a.udn));
            }
            if self.appliance[..i].iter().any(|b| b.udn == a.udn) {
                return wrong("appliance.udn", &format!("{} is there twice", a.udn));
            }
        }
        planning::check(&self.plan, &self.load, &self.rule).or_else(|(key, why)| wrong(&key, &why))
    }

    fn read_secrets(&mut self, path: &Path) -> Result<(), ConfigError> {
        for appliance in &mut self.appliance {
            let Some(file) = &appliance.secure_on_file else { continue };
            let file = match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(dir) if file.is_relative() => Path::new(&dir).join(file),
                _ => file.clone(),
            };
            let wrong = |why: String| ConfigError::conflict(path, "appliance.secure-on-file", why);
            let text = state_dir::read_bounded(&file, 64)
                .map_err(|e| wrong(e.to_string()))?
                .ok_or_else(|| wrong(format!("{} is not there", file.display())))?;
            let text = String::from_utf8_lossy(&text);
            appliance.secure_on = Some(text.trim().parse().map_err(|e| wrong(format!("{}: {e}", file.display())))?);
        }
        Ok(())
    }

    /// Where state is kept.
    pub fn state_dir(&self) -> PathBuf {
        state_dir::state(self.state_dir.as_deref(), Path::new(DEFAULT_STATE_DIR))
    }

    /// The control socket: as configured, else in the service manager's runtime directory.
    pub fn socket(&self) -> PathBuf {
        let dir = || state_dir::runtime(None, Path::new(DEFAULT_SOCKET_DIR)).join(SOCKET_NAME);
        self.control.socket.clone().unwrap_or_else(dir)
    }

    /// The home's clock, by which windows, periods and days are meant: that of the tariff where it names one; `system` is the machine's.
    pub fn zone(&self, system: jiff::tz::TimeZone) -> jiff::tz::TimeZone {
        self.tariff.zone.clone().unwrap_or(system)
    }

    /// How long the journal is kept.
    pub fn retention(&self) -> Retention {
        let age = Duration::from_secs(u64::from(self.store.journal_days) * 24 * 3600);
        Retention { age, entries: self.store.journal_entries }
    }

    /// What the pure part is told.
    pub fn settings(&self, zone: jiff::tz::TimeZone) -> Settings {
        let overrides: BTreeMap<_, _> = self
            .appliance
            .iter()
            .map(|a| (a.udn.clone(), Override { name: a.name.clone(), mac: a.mac, secure_on: a.secure_on }))
            .collect();
        Settings {
            poll_every: Duration::from_secs(self.discovery.poll_every_s.into()),
            patience: Patience {
                command: Duration::from_secs(self.commands.within_s.into()),
                wake: Duration::from_secs(self.commands.wake_within_s.into()),
            },
            overrides,
            zone,
        }
    }

    /// What the dealings with the utility are told.
    pub fn utility_settings(&self) -> utility::Settings {
        let said = |a: &Appliance| Some((a.udn.clone(), a.utility_control?));
        utility::Settings {
            poll: self.utility.poll,
            spread: Duration::from_secs(self.utility.spread_s.into()),
            consent: utility::Configured {
                allowed: self.utility.consent.clone(),
                appliances: self.appliance.iter().filter_map(said).collect(),
            },
        }
    }

    /// Sections that a reload does not take over because they are bound at the start, where they differ.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let discovery =
            |c: &Self| (c.discovery.search_every_s, c.discovery.answer_within_s, c.discovery.static_devices.clone());
        let listens = |c: &Self| (c.utility.listen, c.utility.reachable.clone());
        [
            ("state-dir", self.state_dir != new.state_dir),
            ("[device]", self.device != new.device),
            ("[network]", self.network != new.network),
            ("[discovery]", discovery(self) != discovery(new)),
            ("[utility] listen, reachable", listens(self) != listens(new)),
            ("[control]", self.control != new.control),
        ]
        .into_iter()
        .filter_map(|(section, differs)| differs.then_some(section))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heg.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path)).map_err(|e| e.to_string().replace(&*path.to_string_lossy(), "FILE"))
    }

    #[test]
    fn an_empty_file_is_a_working_configuration() {
        let config = load("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.settings(jiff::tz::TimeZone::UTC).poll_every, Duration::from_secs(300));
    }

    #[test]
    fn wrong_values_are_named_with_line_and_key() {
        for (text, want) in [
            ("[discovery]\npoll-every-s = 'x'", "FILE:2:16: discovery.poll-every-s"),
            ("[netwrok]\n", "FILE:1:2: netwrok: unknown key, did you mean `network`?"),
            ("[[appliance]]\nudn = 'tv'", "uuid:NAME"),
            ("[[appliance]]\nname = 'tv'", "missing field `udn`"),
            ("[[appliance]]\nudn = 'uuid:a'\nmac = 'ff:ff:ff:ff:ff:ff'", "multicast"),
            ("[[appliance]]\nudn = 'uuid:a'\nsecure-on = '1'", "SecureOn password"),
            ("[[appliance]]\nudn = 'uuid:a'\n[[appliance]]\nudn = 'uuid:a'", "uuid:a is there twice"),
            ("[[appliance]]\nudn = 'uuid:a'\nsecure-on-file = '/nonexistent/x'", "/nonexistent/x is not there"),
            ("[discovery]\nstatic-devices = ['http://tv.example/']", "the host must be an IP address"),
            ("[commands]\nwake-within-s = 100", "commands: within-s and wake-within-s may take 115 s together"),
            ("[firewall]\nmode = 'open'", "FILE:2:8: firewall.mode"),
            ("[firewall]\nutility-addresses = ['10.0.0.1/8']", "expected an address or a network"),
            ("[firewall]\nwan-tcp = [0]", "firewall.wan-tcp: expected ports from 1 to 65535"),
            ("[network]\nmulticast-ttl = 0", "network.multicast-ttl: expected 1 to 255"),
            ("[plan]\nby-hand-s = 5", "plan.by-hand-s: expected 60 to 604800"),
            ("[[load]]\nudn = 'uuid:a'\nkind = 'Deferrable'", "load: uuid:a: a load of kind Deferrable needs `phases`"),
            ("[[load]]\nudn = 'uuid:a'\n[[load]]\nudn = 'uuid:a'", "load.udn: uuid:a is there twice"),
            ("[[rule]]\nkind = 'plan'", "rule: the 1. one: a rule of kind plan needs `plan`"),
            ("[[rule]]\nkind = 'on'\nappliance = 'uuid:a'", "rule.kind: on is said once, with hegctl"),
            ("[utility]\nconsent = 'some'", "expected \"none\", \"all\" or a list of UDNs"),
            ("[utility]\nconsent = ['tv']", "uuid:NAME"),
            ("[utility]\nspread-s = 9999", "utility.spread-s: expected at most 3600"),
            ("[utility]\nreachable = 'a b'", "utility.reachable: expected a name or address"),
            ("[utility]\nreachable = 'home.example:8441'", "nothing listens there"),
            ("[utility]\nlisten = '8441'", "FILE:2:10: utility.listen"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(want), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_secureon_password_may_come_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("tv");
        std::fs::write(&secret, "01:02:03:04:05:06\n").unwrap();
        let text = format!("[[appliance]]\nudn = 'uuid:a'\nsecure-on-file = '{}'", secret.display());
        assert_eq!(load(&text).unwrap().appliance[0].secure_on, Some("01:02:03:04:05:06".parse().unwrap()));
    }

    #[test]
    fn a_reload_names_what_needs_a_restart() {
        let new = load("[network]\nhttp-port = 1\n[discovery]\npoll-every-s = 60\n").unwrap();
        assert_eq!(Config::default().needs_restart(&new), ["[network]"]);
    }
}
