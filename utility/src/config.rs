//! The configuration file: what may be set, its defaults, and what does not go together.
//!
//! An empty or missing file is a working configuration. Every key is named, with its default, in
//! packaging/examples/heg-utility.toml and heg-utility.toml(5).

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_kit::config::{self, ConfigError};
use daemon_kit::{logging, state_dir};
use jiff::tz::TimeZone;
use serde::Deserialize;
use utility_wire::{CurrencyCode, Per, ZoneId};

use crate::client::HttpUrl;
use crate::limits::RULES_BYTES_MAX;
use crate::rules::Rules;
use crate::service::Periods;
use crate::tariff::unit;

/// Where the configuration is when no other file is named.
pub const DEFAULT_PATH: &str = "/etc/heg/heg-utility.toml";
/// Where the server listens, and `utilityctl` looks for it.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8580";
/// Where homes are served.
pub const DEFAULT_HOMES: &str = "0.0.0.0:8460";
/// File with the key under which the membership stands in the database, in the state directory.
pub const DEFAULT_KEY_FILE: &str = "membership-key";
/// Where state is kept.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/heg-utility";
/// File with the first operator's token, in the state directory.
pub const ADMIN_TOKEN: &str = "admin-token";
/// Bytes of a file that holds a connection string.
const SECRET_BYTES_MAX: u64 = 4096;

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Where the database is kept; the service manager's `STATE_DIRECTORY` wins.
    pub state_dir: Option<PathBuf>,
    /// `[log]`
    pub log: Log,
    /// `[console]`
    pub console: Console,
    /// `[store]`
    pub store: StoreKeys,
    /// `[homes]`
    pub homes: Homes,
    /// `[kmc]`
    pub kmc: KmcKeys,
    /// `[power-system]`
    pub power_system: PowerSystem,
    /// `[rules]`
    pub rules: RulesKeys,
    /// `[[price-zone]]`
    pub price_zone: Vec<PriceZone>,
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Log {
    /// A level, and other levels for targets.
    pub level: logging::Filter,
}

/// `[console]`: the operator API.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Console {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Requests a token may make, per second in the long run.
    pub requests_per_s: f64,
    /// Requests a token may make at once.
    pub burst: u32,
}

impl Default for Console {
    fn default() -> Self {
        let listen = DEFAULT_LISTEN.parse().into_iter().collect();
        Self { listen, requests_per_s: 20.0, burst: 100 }
    }
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct StoreKeys {
    /// PostgreSQL's connection string; none: SQLite in the state directory.
    pub postgres: Option<String>,
    /// The same from a file; a relative name is looked for among the service's credentials.
    pub postgres_file: Option<PathBuf>,
    /// Connections to PostgreSQL.
    pub connections: usize,
    /// Consumption older than this is forgotten, days.
    pub consumption_days: u32,
}

impl Default for StoreKeys {
    fn default() -> Self {
        Self { postgres: None, postgres_file: None, connections: 8, consumption_days: 400 }
    }
}

/// `[homes]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Homes {
    /// Addresses to serve homes on; none: they are not served.
    pub listen: Vec<SocketAddr>,
    /// Where homes find it, as a name or address and a port: told to the KMC.
    pub reachable: Option<String>,
    /// Requests of one address, per minute.
    pub requests_per_minute: u32,
    /// Proxies and balancers before it, which name the asker's address in X-Forwarded-For.
    pub proxies: Vec<IpAddr>,
    /// Call homes that say where they are reached.
    pub call: bool,
    /// Time between two reports of a home, s.
    pub report_every_s: u32,
    /// Time between two polls, s; 0: long poll.
    pub poll_every_s: u32,
}

impl Default for Homes {
    fn default() -> Self {
        let listen = DEFAULT_HOMES.parse().into_iter().collect();
        Self {
            listen,
            reachable: None,
            requests_per_minute: 1200,
            proxies: Vec::new(),
            call: true,
            report_every_s: 300,
            poll_every_s: 0,
        }
    }
}

/// `[kmc]`: the utility's membership.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct KmcKeys {
    /// File with the key under which the membership stands in the database.
    pub key_file: PathBuf,
}

impl Default for KmcKeys {
    fn default() -> Self {
        Self { key_file: DEFAULT_KEY_FILE.into() }
    }
}

/// `[power-system]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PowerSystem {
    /// File with readings.
    pub file: Option<PathBuf>,
    /// Or where to get them.
    pub url: Option<HttpUrl>,
    /// How often to look, s.
    pub every_s: u32,
}

impl Default for PowerSystem {
    fn default() -> Self {
        Self { file: None, url: None, every_s: 10 }
    }
}

/// `[rules]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RulesKeys {
    /// File with behavioural rules.
    pub file: Option<PathBuf>,
}

/// `[[price-zone]]`: what price files of a zone need not say.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PriceZone {
    /// Its name.
    pub name: String,
    /// Its clock: an IANA name, or a POSIX rule.
    pub time_zone: String,
    /// Currency, and the energy a price is for, of files that do not say.
    pub currency: Option<String>,
    /// `MWh` or `kWh`.
    pub per: Option<String>,
}

/// A price zone as configured.
#[derive(Clone, Debug)]
pub struct ZoneFacts {
    /// Its clock.
    pub time_zone: TimeZone,
    /// Money and energy.
    pub money: Option<(CurrencyCode, Per)>,
}

/// No such time zone on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time zone known here (is tzdata installed?)")]
pub struct ZoneError(String);

/// A clock by its IANA name (`Europe/Stockholm`) or as POSIX rule (`CET-1CEST,M3.5.0,M10.5.0/3`).
///
/// # Errors
/// Neither.
pub fn time_zone(name: &str) -> Result<TimeZone, ZoneError> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).or_else(|_| TimeZone::posix(name)).map_err(|_| ZoneError(name.to_owned()))
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

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |key: &str, message: String| Err(ConfigError::conflict(path, key, message));
        if self.console.listen.is_empty() {
            return wrong("console.listen", "expected at least one address".into());
        }
        if !(0.1..=10_000.0).contains(&self.console.requests_per_s) {
            return wrong("console.requests-per-s", "expected 0.1 to 10000".into());
        }
        if !(1..=100_000).contains(&self.console.burst) {
            return wrong("console.burst", "expected 1 to 100000".into());
        }
        if self.store.postgres.is_some() && self.store.postgres_file.is_some() {
            return wrong("store.postgres-file", "postgres is given too".into());
        }
        if !(2..=100).contains(&self.store.connections) {
            return wrong("store.connections", "expected 2 to 100".into());
        }
        if !(1..=36_500).contains(&self.store.consumption_days) {
            return wrong("store.consumption-days", "expected 1 to 36500".into());
        }
        if let Some(host) = &self.homes.reachable
            && secure_http::canonical_host(host).is_none()
        {
            return wrong("homes.reachable", "expected a name or address, with :port or without".into());
        }
        if !(1..=1_000_000).contains(&self.homes.requests_per_minute) {
            return wrong("homes.requests-per-minute", "expected 1 to 1000000".into());
        }
        if !(10..=86_400).contains(&self.homes.report_every_s) {
            return wrong("homes.report-every-s", "expected 10 to 86400".into());
        }
        if self.homes.poll_every_s > 86_400 {
            return wrong("homes.poll-every-s", "expected 0 to 86400".into());
        }
        if self.power_system.file.is_some() && self.power_system.url.is_some() {
            return wrong("power-system.url", "file is given too".into());
        }
        if !(1..=3600).contains(&self.power_system.every_s) {
            return wrong("power-system.every-s", "expected 1 to 3600".into());
        }
        for zone in &self.price_zone {
            if let Err(message) = zone.read() {
                return wrong("price-zone", format!("{}: {message}", zone.name));
            }
        }
        if let Err(message) = self.rules() {
            return wrong("rules.file", message);
        }
        Ok(())
    }

    /// The rules, none where there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or the first thing that is wrong in it with its line.
    pub fn rules(&self) -> Result<Rules, String> {
        let Some(file) = &self.rules.file else { return Ok(Rules::default()) };
        let bytes = state_dir::read_bounded(file, RULES_BYTES_MAX).map_err(|e| e.to_string())?;
        let bytes = bytes.ok_or_else(|| format!("{} is not there", file.display()))?;
        let text = String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", file.display()))?;
        Rules::parse(&text).map_err(|e| format!("{}: {e}", file.display()))
    }

    /// What is configured of a price zone.
    pub fn zone(&self, zone: &ZoneId) -> Option<ZoneFacts> {
        self.price_zone.iter().find(|z| z.name == zone.as_str()).and_then(|z| z.read().ok())
    }

    /// Where state is kept.
    pub fn state_dir(&self) -> PathBuf {
        state_dir::state(self.state_dir.as_deref(), Path::new(DEFAULT_STATE_DIR))
    }

    /// PostgreSQL's connection string, if that is the database.
    ///
    /// # Errors
    /// The file that holds it cannot be read.
    pub fn postgres(&self) -> Result<Option<String>, state_dir::StateError> {
        let Some(file) = &self.store.postgres_file else { return Ok(self.store.postgres.clone()) };
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).unwrap_or_default();
        let path = credentials.join(file);
        let bytes = state_dir::read_bounded(&path, SECRET_BYTES_MAX)?;
        let damaged =
            |message: &str| state_dir::StateError::Damaged { path: path.clone(), message: message.to_owned() };
        let text = String::from_utf8(bytes.ok_or_else(|| damaged("it is not there"))?);
        Ok(Some(text.map_err(|_| damaged("it is no text"))?.trim().to_owned()))
    }

    /// File with the key of the membership: a credential of the service if there is one of that name, else in the state directory.
    pub fn key_file(&self) -> PathBuf {
        let file = &self.kmc.key_file;
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join(file));
        credential.filter(|path| path.exists()).unwrap_or_else(|| self.state_dir().join(file))
    }

    /// How homes are asked to behave.
    pub fn periods(&self) -> Periods {
        Periods { report_s: self.homes.report_every_s, poll_s: self.homes.poll_every_s }
    }

    /// How long consumption is kept.
    pub fn keep(&self) -> Duration {
        Duration::from_secs(u64::from(self.store.consumption_days) * 86_400)
    }

    /// Sections that a reload does not take over, where they differ.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        [
            ("state-dir", self.state_dir != new.state_dir),
            ("[console]", self.console != new.console),
            ("[store]", self.store != new.store),
            ("[kmc]", self.kmc != new.kmc),
            (
                "homes.listen, homes.reachable, homes.requests-per-minute, homes.proxies or homes.call",
                self.homes.server() != new.homes.server(),
            ),
            ("[power-system]", self.power_system != new.power_system),
        ]
        .into_iter()
        .filter_map(|(section, differs)| differs.then_some(section))
        .collect()
    }
}

impl Homes {
    fn server(&self) -> (&[SocketAddr], Option<&str>, u32, &[IpAddr], bool) {
        (&self.listen, self.reachable.as_deref(), self.requests_per_minute, &self.proxies, self.call)
    }
}

impl PriceZone {
    fn read(&self) -> Result<ZoneFacts, String> {
        self.name.parse::<ZoneId>().map_err(|e| e.to_string())?;
        let money = match (&self.currency, &self.per) {
            (None, None) => None,
            (Some(currency), Some(per)) => {
                let currency = currency.parse().map_err(|e| format!("currency: {e}"))?;
                Some((currency, unit(per).ok_or("per: expected MWh or kWh")?))
            }
            _ => return Err("currency and per go together".to_owned()),
        };
        Ok(ZoneFacts { time_zone: time_zone(&self.time_zone).map_err(|e| e.to_string())?, money })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("utility.toml");
        std::fs::write(&path, text.replace("DIR", &dir.path().to_string_lossy())).unwrap();
        std::fs::write(dir.path().join("rules.toml"), "[[rule]]\nname = 1\n").unwrap();
        Config::load(Some(&path)).map_err(|e| e.to_string().replace(&*dir.path().to_string_lossy(), "DIR"))
    }

    #[test]
    fn an_empty_file_is_a_working_configuration() {
        let config = load("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.console.listen, ["127.0.0.1:8580".parse().unwrap()]);
        assert_eq!((config.postgres().unwrap(), config.rules().unwrap().len()), (None, 0));
    }

    #[test]
    fn wrong_values_are_named_with_line_and_key() {
        for (text, want) in [
            ("[console]\nlisten = ['here']", "DIR/utility.toml:2:11: console.listen"),
            ("[consol]\n", "consol: unknown key, did you mean `console`?"),
            ("[console]\nlisten = []", "console.listen: expected at least one address"),
            ("[console]\nrequests-per-s = nan", "console.requests-per-s: expected 0.1 to 10000"),
            ("[store]\nconnections = 1", "store.connections: expected 2 to 100"),
            ("[store]\npostgres = 'a'\npostgres-file = 'b'", "store.postgres-file: postgres is given too"),
            ("[homes]\nreachable = 'a b'", "homes.reachable: expected a name or address"),
            ("[homes]\nproxies = ['here']", "homes.proxies"),
            ("[homes]\nrequests-per-minute = 0", "homes.requests-per-minute: expected 1 to 1000000"),
            ("[power-system]\nfile = 'a'\nurl = 'http://b/'", "power-system.url: file is given too"),
            ("[power-system]\nurl = 'https://b/'", "expected a URL as http://"),
            (
                "[[price-zone]]\nname = 'SE3'\ntime-zone = 'Mars'",
                "price-zone: SE3: \"Mars\" is no time zone known here",
            ),
            ("[[price-zone]]\nname = 'SE3'\ntime-zone = 'UTC'\nper = 'kWh'", "currency and per go together"),
            ("[rules]\nfile = 'DIR/none.toml'", "rules.file: DIR/none.toml is not there"),
            ("[rules]\nfile = 'DIR/rules.toml'", "rules.file: DIR/rules.toml: line 2: invalid type"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(want), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_price_zone_has_its_clock_and_money() {
        let text =
            "[[price-zone]]\nname = 'SE3'\ntime-zone = 'CET-1CEST,M3.5.0,M10.5.0/3'\ncurrency = 'SEK'\nper = 'MWh'";
        let config = load(text).unwrap();
        let facts = config.zone(&"SE3".parse().unwrap()).unwrap();
        assert_eq!(facts.money, Some(("SEK".parse().unwrap(), Per::MegawattHour)));
        assert_eq!(facts.time_zone.to_offset("2026-07-01T00:00:00Z".parse().unwrap()).seconds(), 7200);
        assert!(config.zone(&"SE4".parse().unwrap()).is_none());
    }

    #[test]
    fn a_reload_names_what_needs_a_restart() {
        let new = load("[console]\nburst = 1\n[homes]\nreport-every-s = 60\n").unwrap();
        assert_eq!(Config::default().needs_restart(&new), ["[console]"]);
    }
}
