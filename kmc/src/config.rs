//! The configuration file: what may be set, its defaults, and what does not go together. An empty or missing file works.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use daemon_kit::config::{self, ConfigError};
use daemon_kit::{logging, state_dir};
use serde::Deserialize;

use crate::centre::{Power, Settings};

/// Where the configuration is when no other file is named.
pub const DEFAULT_PATH: &str = "/etc/heg/heg-kmc.toml";
/// Of the installed service.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/heg-kmc";
const DEFAULT_SOCKET_DIR: &str = "/run/heg-kmc";
const SOCKET_NAME: &str = "control.sock";
const DAY_S: u64 = 86_400;

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Where keys and database are kept; the service manager's `STATE_DIRECTORY` wins.
    pub state_dir: Option<PathBuf>,
    /// `[log]`
    pub log: Log,
    /// `[http]`
    pub http: Http,
    /// `[keys]`
    pub keys: Keys,
    /// `[statements]`
    pub statements: Statements,
    /// `[utilities]`
    pub utilities: Utilities,
    /// `[evidence]`
    pub evidence: Evidence,
    /// `[flood]`
    pub flood: Flood,
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

/// `[http]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Http {
    /// Where homes and utilities ask.
    pub listen: SocketAddr,
    /// Where `/healthz` and `/metrics` are.
    pub listen_local: SocketAddr,
    /// Host, with port if it is another than 80, under which homes reach this centre; it stands in tokens. Without it the address
    /// listened at.
    pub host: Option<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8440)),
            listen_local: SocketAddr::from(([127, 0, 0, 1], 8441)),
            host: None,
        }
    }
}

/// `[keys]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Keys {
    /// File with the passphrase of the key files; without it the credential `heg-kmc.passphrase`, if there is one.
    pub passphrase_file: Option<PathBuf>,
}

/// `[statements]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Statements {
    /// Lifetime of a party's statement, days.
    pub days: u32,
    /// How long messages of rolled-over keys are taken, s.
    pub overlap_s: u32,
}

impl Default for Statements {
    fn default() -> Self {
        Self { days: 30, overlap_s: 300 }
    }
}

/// `[utilities]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Utilities {
    /// What they may order.
    pub may: BTreeSet<Power>,
}

impl Default for Utilities {
    fn default() -> Self {
        Self { may: BTreeSet::from([Power::Token, Power::Revoke, Power::Policy]) }
    }
}

/// `[evidence]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Evidence {
    /// How long it is kept, days.
    pub days: u32,
    /// Messages kept at most.
    pub entries: u32,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { days: 1095, entries: 1_000_000 }
    }
}

/// When cookies are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cookies {
    /// While there is a flood.
    #[default]
    UnderLoad,
    /// From everybody.
    Always,
}

/// `[flood]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Flood {
    /// Requests of one peer a minute.
    pub requests_per_minute: u32,
    /// When cookies are wanted.
    pub cookies: Cookies,
}

impl Default for Flood {
    fn default() -> Self {
        Self { requests_per_minute: 600, cookies: Cookies::UnderLoad }
    }
}

/// `[control]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Control {
    /// Socket of the commands.
    pub socket: Option<PathBuf>,
}

impl Config {
    /// Reads `named`, else the default file, and checks it.
    ///
    /// # Errors
    /// An unreadable file, an unknown key or wrong value with file, line and key, or values out of range.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        let config: Self = config::load(named, path)?;
        config.check(path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |key: &str, message: &str| Err(ConfigError::conflict(path, key, message));
        if !(1..=30).contains(&self.statements.days) {
            return wrong("statements.days", "expected 1 to 30");
        }
        if !(1..=86_400).contains(&self.statements.overlap_s) {
            return wrong("statements.overlap-s", "expected 1 to 86400");
        }
        if !(1..=36_500).contains(&self.evidence.days) {
            return wrong("evidence.days", "expected 1 to 36500");
        }
        if !(1000..=1_000_000_000).contains(&self.evidence.entries) {
            return wrong("evidence.entries", "expected 1000 to 1000000000");
        }
        if !(1..=1_000_000).contains(&self.flood.requests_per_minute) {
            return wrong("flood.requests-per-minute", "expected 1 to 1000000");
        }
        if self.http.listen == self.http.listen_local && self.http.listen.port() != 0 {
            return wrong("http.listen-local", "the same address as `listen`");
        }
        let host = self.http.host.as_deref().unwrap_or("localhost");
        let secret = secure_http::TokenSecret::from_bytes([0; 16]);
        match secure_http::EnrolmentToken::new(host, secret, secure_http::Fingerprint([0; 16])) {
            Ok(_) => Ok(()),
            Err(error) => wrong("http.host", &error.to_string()),
        }
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

    /// What the centre is told. The host is the one configured, or empty until the port is known.
    pub fn settings(&self) -> Settings {
        Settings {
            host: self.http.host.clone().unwrap_or_default(),
            statement_s: u64::from(self.statements.days) * DAY_S,
            overlap_s: self.statements.overlap_s.into(),
            evidence_s: u64::from(self.evidence.days) * DAY_S,
            evidence_rows: self.evidence.entries.into(),
            per_minute: self.flood.requests_per_minute,
            always_cookies: self.flood.cookies == Cookies::Always,
            utilities_may: self.utilities.may.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kmc.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path)).map_err(|e| e.to_string().replace(&*path.to_string_lossy(), "FILE"))
    }

    #[test]
    fn an_empty_file_is_a_working_configuration() {
        assert_eq!(load("").unwrap(), Config::default());
        assert_eq!(Config::default().settings().statement_s, secure_http::limits::STATEMENT_S_MAX);
    }

    #[test]
    fn wrong_values_are_named_with_their_key() {
        for (text, want) in [
            ("[http]\nlisten = 'x'", "FILE:2:10: http.listen"),
            ("[htpp]\n", "did you mean `http`?"),
            ("[statements]\ndays = 31", "statements.days: expected 1 to 30"),
            ("[http]\nhost = 'kmc example'", "http.host: the host in the token"),
            ("[flood]\ncookies = 'never'", "flood.cookies"),
            ("[utilities]\nmay = ['everything']", "utilities.may"),
            ("[http]\nlisten = '127.0.0.1:8441'", "the same address"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(want), "{text:?}: {error}");
        }
    }
}
