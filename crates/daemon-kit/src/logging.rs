//! Logs: to the journal with their fields where stderr is the journal, else as compact lines on stderr.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

use crate::journal_layer::JournalLayer;

/// Environment variable that overrides the configured filter.
pub const ENV: &str = "LOG_LEVEL";

/// What is logged: a level, and other levels for targets, as `info,upnp::traffic=trace`. Levels: off, error, warn, info,
/// debug, trace. A target is a module path or `upnp::traffic`, and stands for all below it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Filter {
    text: String,
    targets: Targets,
}

/// A part of a filter that was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log filter: `{part}` is neither a level (off, error, warn, info, debug, trace) nor target=level")]
pub struct FilterError {
    /// The part between commas.
    pub part: String,
}

impl FromStr for Filter {
    type Err = FilterError;
    fn from_str(s: &str) -> Result<Self, FilterError> {
        let mut targets = Targets::new().with_default(LevelFilter::INFO);
        for part in s.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || FilterError { part: part.to_owned() };
            targets = match part.split_once('=') {
                Some((target, level)) if !target.trim().is_empty() => {
                    targets.with_target(target.trim(), level_of(level.trim()).ok_or_else(wrong)?)
                }
                Some(_) => return Err(wrong()),
                None => targets.with_default(level_of(part).ok_or_else(wrong)?),
            };
        }
        Ok(Self { text: s.to_owned(), targets })
    }
}

/// Only the words: tracing also takes the numbers 0 to 5, which say nothing to a reader.
fn level_of(word: &str) -> Option<LevelFilter> {
    if word.bytes().all(|b| b.is_ascii_alphabetic()) { word.parse().ok() } else { None }
}

impl Default for Filter {
    fn default() -> Self {
        Self { text: "info".to_owned(), targets: Targets::new().with_default(LevelFilter::INFO) }
    }
}

impl TryFrom<String> for Filter {
    type Error = FilterError;
    fn try_from(s: String) -> Result<Self, FilterError> {
        s.parse()
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.text
    }
}

/// Why logging was not set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// `LOG_LEVEL` holds no filter.
    #[error("environment variable {ENV}")]
    Env(#[source] FilterError),
    /// Logging is set up already.
    #[error("logging is set up already")]
    Twice,
}

/// Changes the filter while the daemon runs (SIGHUP).
#[derive(Clone, Debug)]
pub struct Logging {
    filter: reload::Handle<Targets, Registry>,
    fixed_by_env: bool,
}

impl Logging {
    /// Takes a new configured filter. `LOG_LEVEL` still overrides it.
    pub fn set(&self, filter: &Filter) {
        if !self.fixed_by_env {
            // Fails only when the subscriber is gone, at the very end of the process.
            let _ = self.filter.reload(filter.targets.clone());
        }
    }
}

/// Sets up logging for the whole process; `LOG_LEVEL` overrides the configured filter.
pub fn init(configured: &Filter) -> Result<Logging, LoggingError> {
    let from_env = match std::env::var(ENV) {
        Ok(text) if !text.trim().is_empty() => Some(text.parse::<Filter>().map_err(LoggingError::Env)?),
        _ => None,
    };
    let fixed_by_env = from_env.is_some();
    let targets = from_env.as_ref().unwrap_or(configured).targets.clone();
    let (filter, handle) = reload::Layer::new(targets);
    let journald = if stderr_is_journal() { JournalLayer::new().ok() } else { None };
    let output = match journald {
        Some(journald) => journald.boxed(),
        None => {
            let ansi = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let lines = fmt::layer().compact().with_writer(io::stderr).with_ansi(ansi);
            // The journal stamps the lines it reads from stderr itself.
            if stderr_is_journal() { lines.without_time().boxed() } else { lines.boxed() }
        }
    };
    let subscriber = tracing_subscriber::registry().with(filter).with(output);
    subscriber.try_init().map_err(|_| LoggingError::Twice)?;
    Ok(Logging { filter: handle, fixed_by_env })
}

/// Whether stderr goes to the journal: `JOURNAL_STREAM` names its device and inode (systemd.exec(5)). A child whose
/// stderr was redirected has the variable and is not fooled by it.
pub fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = format!("/proc/self/fd/{}", io::stderr().as_fd().as_raw_fd());
    fs::metadata(stderr).is_ok_and(|meta| stream == format!("{}:{}", meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use tracing::Level;

    use super::*;

    #[test]
    fn a_filter_has_a_level_and_levels_of_targets() {
        let filter: Filter = "warn, upnp::traffic=trace,heg=debug".parse().unwrap();
        assert!(filter.targets.would_enable("upnp::traffic", &Level::TRACE));
        assert!(filter.targets.would_enable("heg::registry", &Level::DEBUG));
        assert!(!filter.targets.would_enable("psm_agent", &Level::INFO));
        assert!("".parse::<Filter>().unwrap().targets.would_enable("x", &Level::INFO));
    }

    #[test]
    fn a_slip_in_a_filter_is_named_and_never_switches_all_off() {
        for (text, part) in [("inof", "inof"), ("info,upnp=loud", "upnp=loud"), ("=debug", "=debug"), ("3", "3")] {
            assert_eq!(text.parse::<Filter>().unwrap_err().part, part);
        }
    }

    /// Set for a test that is run as the child of another.
    const CHILD: &str = "DAEMON_KIT_TEST_CHILD";

    /// Does something only in a process of its own, since the environment is the interface. See the tests below.
    #[test]
    fn child_logs() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        let logging = init(&"error".parse().unwrap()).unwrap();
        tracing::warn!(home = 7, "first");
        logging.set(&"debug".parse().unwrap());
        tracing::debug!(home = 7, "second");
        assert!(matches!(init(&Filter::default()), Err(LoggingError::Twice)));
    }

    fn child(env: &[(&str, &str)]) -> Output {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "logging::tests::child_logs", "--nocapture"])
            .env_remove(ENV)
            .env(CHILD, "1")
            .envs(env.iter().copied())
            .output()
            .unwrap()
    }

    /// Does something only in a process of its own.
    #[test]
    fn child_looks_at_its_stderr() {
        if std::env::var_os(CHILD).is_some() {
            println!("journal: {}", stderr_is_journal());
        }
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode_of_stderr() {
        let stderr = tempfile::tempfile().unwrap();
        let meta = stderr.metadata().unwrap();
        for (inode, journal) in [(meta.ino(), true), (meta.ino() + 1, false)] {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "logging::tests::child_looks_at_its_stderr", "--nocapture"])
                .env(CHILD, "1")
                .env("JOURNAL_STREAM", format!("{}:{inode}", meta.dev()))
                .stderr(stderr.try_clone().unwrap())
                .output()
                .unwrap();
            let stdout = String::from_utf8(child.stdout).unwrap();
            assert!(stdout.contains(&format!("journal: {journal}")), "{stdout}");
        }
    }

    #[test]
    fn stderr_gets_lines_by_the_filter_which_can_be_changed() {
        let stderr = String::from_utf8(child(&[("JOURNAL_STREAM", "1:2")]).stderr).unwrap();
        assert!(!stderr.contains("first") && stderr.contains("second home=7"), "{stderr}");
    }

    #[test]
    fn the_environment_overrides_the_configured_filter_for_good() {
        let stderr = String::from_utf8(child(&[(ENV, "warn")]).stderr).unwrap();
        assert!(stderr.contains("first home=7") && !stderr.contains("second"), "{stderr}");
    }
}
