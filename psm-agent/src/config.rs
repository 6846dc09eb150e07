//! The configuration file: what may be set, its defaults, and what does not go together.
//!
//! An empty or missing file is a working configuration. Every key is named, with its default, in
//! packaging/examples/psm-agent.toml and psm-agent.toml(5).

use core::time::Duration;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use daemon_kit::config::{self, ConfigError};
use daemon_kit::logging;
use energy_model::{DailyWindow, Flexibility, Importance, TimeOfDay, WakeMethod, Watts};
use serde::Deserialize;
use upnp::url::HttpUrl;

use crate::limits::{BUSY_UNITS_MAX, MINIMUM_TIME_S_MAX, WINDOWS_MAX, WISHES_MAX};
use crate::probe;
use crate::safety::Rules;

/// Where the configuration is when no other file is named.
pub const DEFAULT_PATH: &str = "/etc/psm/psm-agent.toml";
const DEFAULT_STATE_DIR: &str = "/var/lib/psm-agent";
const DEFAULT_SOCKET_DIR: &str = "/run/psm-agent";
const SOCKET_NAME: &str = "control.sock";

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Where identity, registrations and the last state are kept; the service manager's `STATE_DIRECTORY` wins.
    pub state_dir: Option<PathBuf>,
    /// `[log]`
    pub log: Log,
    /// `[device]`
    pub device: Device,
    /// `[appliance]`
    pub appliance: Appliance,
    /// `[network]`
    pub network: Network,
    /// `[operation]`
    pub operation: Operation,
    /// `[probe]`
    pub probe: Probe,
    /// `[wake]`
    pub wake: Wake,
    /// `[safety]`
    pub safety: Safety,
    /// `[schedule]`
    pub schedule: Schedule,
    /// `[control]`
    pub control: Control,
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Log {
    /// A level, and other levels for targets.
    pub level: logging::Filter,
}

/// `[device]`: how the appliance introduces itself.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Device {
    /// Name for people; the host name when none is set.
    pub friendly_name: Option<String>,
    /// Who made it.
    pub manufacturer: String,
    /// The maker's page.
    pub manufacturer_url: String,
    /// What it is called.
    pub model_name: String,
    /// What it is.
    pub model_description: String,
    /// Its number.
    pub model_number: String,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            friendly_name: None,
            manufacturer: "Home Energy Gateway project".to_owned(),
            manufacturer_url: String::new(),
            model_name: "Managed appliance".to_owned(),
            model_description: "Linux appliance with power state monitoring".to_owned(),
            model_number: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// `[appliance]`: what the gateway's plan needs to know.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Appliance {
    /// How much its work matters.
    pub importance: Importance,
    /// What a plan may do with its work.
    pub flexibility: Flexibility,
    /// Power while it works, W; 0 where nobody knows.
    pub rated_power_w: u32,
    /// Power while the machine is up and the operation is off, W.
    pub idle_power_w: u32,
    /// Power while it sleeps, W.
    pub standby_power_w: u32,
    /// File that holds the power now in microwatts (hwmon `powerN_input`).
    pub power_meter: Option<PathBuf>,
}

impl Default for Appliance {
    fn default() -> Self {
        Self {
            importance: Importance::Normal,
            flexibility: Flexibility::StandbyAble,
            rated_power_w: 0,
            idle_power_w: 0,
            standby_power_w: 0,
            power_meter: None,
        }
    }
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
    /// Names under which the appliance may be asked beside its addresses.
    pub host_names: Vec<String>,
    /// Description URLs of gateways that multicast does not reach.
    #[serde(deserialize_with = "urls")]
    pub gateways: Vec<HttpUrl>,
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
            gateways: vec![],
        }
    }
}

/// What "the operation" is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriverKind {
    /// A systemd unit or target.
    #[default]
    Unit,
    /// Commands.
    Command,
    /// A GPIO line.
    Gpio,
    /// The machine itself: ON while it is up.
    Machine,
}

/// `[operation]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Operation {
    /// How the operation is switched.
    pub driver: DriverKind,
    /// driver `unit`: its name.
    pub unit: String,
    /// driver `command`: program and arguments that switch it on.
    pub on_command: Vec<String>,
    /// driver `command`: program and arguments that switch it off.
    pub off_command: Vec<String>,
    /// driver `command`: exit code 0 says on, 1 or 3 off.
    pub status_command: Vec<String>,
    /// driver `gpio`: the chip.
    pub gpio_chip: PathBuf,
    /// driver `gpio`: the line's offset on the chip.
    pub gpio_line: Option<u32>,
    /// driver `gpio`: low is on.
    pub gpio_active_low: bool,
    /// drivers `command` and `gpio`: the operation is looked at so often, s.
    pub look_every_s: u32,
}

impl Default for Operation {
    fn default() -> Self {
        Self {
            driver: DriverKind::Unit,
            unit: "appliance.target".to_owned(),
            on_command: vec![],
            off_command: vec![],
            status_command: vec![],
            gpio_chip: "/dev/gpiochip0".into(),
            gpio_line: None,
            gpio_active_low: false,
            look_every_s: 10,
        }
    }
}

/// What is done about the probe in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeMode {
    /// Load it; go on without where that fails.
    #[default]
    Auto,
    /// Load it; do not start without.
    Required,
    /// Do not load it.
    Off,
}

/// `[probe]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Probe {
    /// Whether it is loaded.
    pub mode: ProbeMode,
    /// The object.
    pub object: PathBuf,
}

impl Default for Probe {
    fn default() -> Self {
        Self { mode: ProbeMode::Auto, object: probe::OBJECT.into() }
    }
}

/// How the machine is woken, as configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum WakeChoice {
    /// Ask the network driver.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// Wake-on-LAN.
    #[serde(rename = "WOL")]
    Wol,
    /// Wake on wireless LAN.
    #[serde(rename = "WoWLAN")]
    WoWlan,
    /// Not over the network.
    #[serde(rename = "None")]
    None,
}

impl WakeChoice {
    /// The method, where it is fixed.
    pub const fn fixed(self) -> Option<WakeMethod> {
        match self {
            Self::Auto => None,
            Self::Wol => Some(WakeMethod::Wol),
            Self::WoWlan => Some(WakeMethod::WoWlan),
            Self::None => Some(WakeMethod::None),
        }
    }
}

/// `[wake]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Wake {
    /// What control points are told.
    pub method: WakeChoice,
    /// Arm waking by magic packet where the network driver offers it.
    pub arm: bool,
    /// The interface that is woken; none: the one toward the gateway.
    pub interface: Option<String>,
    /// Wake alarm: `auto`, `none`, or the clock's name as in /sys/class/rtc.
    pub rtc: String,
}

impl Default for Wake {
    fn default() -> Self {
        Self { method: WakeChoice::Auto, arm: true, interface: None, rtc: "auto".to_owned() }
    }
}

/// `[safety]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Safety {
    /// Once on, it stays on for so long, s.
    pub minimum_on_time_s: u32,
    /// Once off or asleep, it stays so for so long, s.
    pub minimum_off_time_s: u32,
    /// Refuse while a block inhibitor is held.
    pub block_inhibitors: bool,
    /// Refuse while a user's session is active and not idle.
    pub active_sessions: bool,
    /// Refuse on battery below so many percent; 0: never.
    pub battery_percent_min: u8,
    /// Refuse while one of these units is running.
    pub busy_units: Vec<String>,
    /// Refuse standby where neither the network nor an alarm could wake the machine.
    pub require_wake: bool,
}

impl Default for Safety {
    fn default() -> Self {
        Self {
            minimum_on_time_s: 0,
            minimum_off_time_s: 0,
            block_inhibitors: true,
            active_sessions: true,
            battery_percent_min: 20,
            busy_units: vec![],
            require_wake: false,
        }
    }
}

/// `[schedule]`: what this appliance asks of the gateway.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Schedule {
    /// Wake me every day at these times.
    pub wake_up_time: Vec<TimeOfDay>,
    /// Do not send me to standby in these windows; kept to here as well.
    #[serde(deserialize_with = "windows")]
    pub no_standby_period: Vec<DailyWindow>,
}

/// `[control]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Control {
    /// Socket of `psm-agent status` and `psm-agent request`.
    pub socket: Option<PathBuf>,
}

fn windows<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<DailyWindow>, D::Error> {
    let texts = Vec::<String>::deserialize(d)?;
    texts.iter().map(|t| t.parse().map_err(|e| serde::de::Error::custom(format!("{t:?}: {e}")))).collect()
}

fn urls<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<HttpUrl>, D::Error> {
    let texts = Vec::<String>::deserialize(d)?;
    texts.iter().map(|t| HttpUrl::parse(t).map_err(|e| serde::de::Error::custom(format!("{t:?}: {e}")))).collect()
}

impl Config {
    /// Reads `named`, else the default file, and checks it.
    ///
    /// # Errors
    /// An unreadable file, an unknown key or wrong value with file, line and key, or keys that do not go together.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        let config: Self = config::load(named, path)?;
        config.check(path)?;
        Ok(config)
    }

    /// Finds keys that are right by themselves and wrong together.
    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |key: &str, message: &str| Err(ConfigError::conflict(path, key, message));
        let o = &self.operation;
        match o.driver {
            DriverKind::Unit if !is_unit_name(&o.unit) => {
                return wrong("operation.unit", "expected a unit's name with its type, as in `pump.service`");
            }
            DriverKind::Command => {
                for (key, command) in [
                    ("operation.on-command", &o.on_command),
                    ("operation.off-command", &o.off_command),
                    ("operation.status-command", &o.status_command),
                ] {
                    if command.is_empty() {
                        return wrong(key, "driver `command` needs it");
                    }
                    if !command[0].starts_with('/') {
                        return wrong(key, "the program must be named by its absolute path");
                    }
                }
            }
            DriverKind::Gpio if o.gpio_line.is_none() => {
                return wrong("operation.gpio-line", "driver `gpio` needs it");
            }
            _ => {}
        }
        if o.look_every_s == 0 {
            return wrong("operation.look-every-s", "expected at least 1");
        }
        let s = &self.safety;
        if s.minimum_on_time_s > MINIMUM_TIME_S_MAX {
            return wrong("safety.minimum-on-time-s", "expected at most 86400");
        }
        if s.minimum_off_time_s > MINIMUM_TIME_S_MAX {
            return wrong("safety.minimum-off-time-s", "expected at most 86400");
        }
        if s.battery_percent_min > 100 {
            return wrong("safety.battery-percent-min", "expected 0 to 100");
        }
        if s.busy_units.len() > BUSY_UNITS_MAX {
            return wrong("safety.busy-units", &format!("expected at most {BUSY_UNITS_MAX} units"));
        }
        if let Some(unit) = s.busy_units.iter().find(|u| !is_unit_name(u)) {
            let message = format!("{unit:?}: expected a unit's name with its type, as in `backup.service`");
            return wrong("safety.busy-units", &message);
        }
        let w = &self.schedule;
        if w.no_standby_period.len() > WINDOWS_MAX {
            return wrong("schedule.no-standby-period", &format!("expected at most {WINDOWS_MAX} windows"));
        }
        if w.no_standby_period.len() + w.wake_up_time.len() > WISHES_MAX {
            return wrong("schedule", &format!("expected at most {WISHES_MAX} times and windows together"));
        }
        if w.no_standby_period.iter().collect::<BTreeSet<_>>().len() < w.no_standby_period.len() {
            return wrong("schedule.no-standby-period", "a window is there twice");
        }
        if w.wake_up_time.iter().collect::<BTreeSet<_>>().len() < w.wake_up_time.len() {
            return wrong("schedule.wake-up-time", "a time is there twice");
        }
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
        let rtc = &self.wake.rtc;
        let is_rtc = rtc.strip_prefix("rtc").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        if !(is_rtc || rtc == "auto" || rtc == "none") {
            return wrong("wake.rtc", "expected `auto`, `none` or a clock's name, as in `rtc0`");
        }
        Ok(())
    }

    /// The state directory in force.
    pub fn state_dir(&self) -> PathBuf {
        daemon_kit::state_dir::state(self.state_dir.as_deref(), Path::new(DEFAULT_STATE_DIR))
    }

    /// The control socket in force.
    pub fn socket(&self) -> PathBuf {
        let default = || daemon_kit::state_dir::runtime(None, Path::new(DEFAULT_SOCKET_DIR)).join(SOCKET_NAME);
        self.control.socket.clone().unwrap_or_else(default)
    }

    /// The sections that `new` changes and that are only read at a start; the control socket's is not compared.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let sections = [
            ("state-dir", self.state_dir != new.state_dir),
            ("device", self.device != new.device),
            ("network", self.network != new.network),
            ("operation", self.operation != new.operation),
            ("probe", self.probe != new.probe),
        ];
        sections.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }

    /// The rules orders are judged by.
    pub fn rules(&self) -> Rules {
        Rules {
            minimum_on: Duration::from_secs(self.safety.minimum_on_time_s.into()),
            minimum_off: Duration::from_secs(self.safety.minimum_off_time_s.into()),
            heed_inhibitors: self.safety.block_inhibitors,
            heed_sessions: self.safety.active_sessions,
            battery_percent_min: self.safety.battery_percent_min,
            require_wake: self.safety.require_wake,
            no_standby: self.schedule.no_standby_period.clone(),
        }
    }

    /// Rated power.
    pub fn rated_power(&self) -> Watts {
        Watts::new(self.appliance.rated_power_w)
    }
}

/// systemd.unit(5): ASCII letters, digits and `:-_.\@`, a dot and a type, at most 255 bytes.
fn is_unit_name(name: &str) -> bool {
    const TYPES: [&str; 6] = ["service", "target", "socket", "mount", "timer", "slice"];
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    name.len() <= 255
        && name.bytes().all(allowed)
        && name.rsplit_once('.').is_some_and(|(stem, kind)| !stem.is_empty() && TYPES.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path)).map_err(|e| e.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(load("").unwrap(), Config::default());
        assert_eq!(Config::default().operation.unit, "appliance.target");
    }

    #[test]
    fn a_wrong_key_or_value_is_named_with_its_place() {
        for (text, message) in [
            ("[safety]\nbusy-unit = []", "a.toml:2:1: safety.busy-unit: unknown key, did you mean `busy-units`?"),
            ("\n[schedule]\nwake-up-time = [\"6:30\"]", "a.toml:3:16: schedule.wake-up-time: expected a time of day"),
            ("[operation]\ndriver = \"relay\"", "a.toml:2:10: operation.driver: unknown variant `relay`"),
            ("[operation]\nunit = 3", "a.toml:2:8: operation.unit: invalid type: integer `3`, expected a string"),
            (
                "[network]\ngateways = [\"ftp://x\"]",
                "a.toml:2:12: network.gateways: \"ftp://x\": only http:// is spoken",
            ),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn keys_that_do_not_go_together_are_named() {
        for (text, message) in [
            (
                "operation.unit = \"appliance\"",
                "operation.unit: expected a unit's name with its type, as in `pump.service`",
            ),
            ("operation.driver = \"command\"", "operation.on-command: driver `command` needs it"),
            (
                "operation = { driver = \"command\", on-command = [\"relay\"] }",
                "operation.on-command: the program must be named by its absolute path",
            ),
            ("operation.driver = \"gpio\"", "operation.gpio-line: driver `gpio` needs it"),
            ("safety.battery-percent-min = 101", "safety.battery-percent-min: expected 0 to 100"),
            (
                "safety.busy-units = [\"a b.service\"]",
                "safety.busy-units: \"a b.service\": expected a unit's name with its type, as in `backup.service`",
            ),
            ("network.max-age-s = 60", "network.max-age-s: expected 1800 to 86400"),
            ("wake.rtc = \"/dev/rtc\"", "wake.rtc: expected `auto`, `none` or a clock's name, as in `rtc0`"),
            (
                "network = { interfaces = [\"eth0\"], exclude-interfaces = [\"eth0\"] }",
                "network.exclude-interfaces: eth0 is in `interfaces` too",
            ),
            (
                "schedule.no-standby-period = [\"22:00:00-06:00:00\", \"22:00:00-06:00:00\"]",
                "schedule.no-standby-period: a window is there twice",
            ),
        ] {
            assert_eq!(load(text).unwrap_err(), format!("a.toml: {message}"));
        }
    }

    #[test]
    fn a_missing_named_file_is_an_error_and_a_missing_default_file_is_not() {
        assert!(Config::load(Some(Path::new("/nonexistent/psm.toml"))).is_err());
    }
}
