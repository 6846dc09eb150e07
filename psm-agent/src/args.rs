//! The command line. By hand: a parser library would keep more memory resident than everything the agent remembers.

use std::ffi::OsString;
use std::path::PathBuf;

use energy_model::{DailyWindow, RegId, TimeOfDay};

use crate::gateway_link::Wish;

/// What `--help` prints.
pub const HELP: &str = "\
Tells the home energy gateway of every change of this appliance's power state, and obeys its commands.
Without a command it runs as a daemon. Configuration: psm-agent.toml(5).

Usage: psm-agent [OPTIONS] [COMMAND]

Commands:
  status       Show state, sources in use, gateways, last events and refusals
  request      Ask something of the gateway, every day until it is withdrawn
  wake-on-lan  Ask the network cards whether they wake this machine and arm them, as psm-agent-wake.service does

Options:
      --config <FILE>  Configuration file [default: /etc/psm/psm-agent.toml, if it is there]
      --socket <PATH>  Control socket [default: as configured]
      --check          Check the configuration and exit
  -h, --help           Print help
  -V, --version        Print version
";

/// What `status --help` prints.
pub const STATUS_HELP: &str = "\
Shows state, sources in use, gateways, last events and refusals of the running daemon.

Usage: psm-agent status [OPTIONS]

Options:
      --json           As JSON
      --config <FILE>  Configuration file, which may name the socket
      --socket <PATH>  Control socket of the running daemon [default: as configured]
  -h, --help           Print help
";

/// What `request --help` prints.
pub const REQUEST_HELP: &str = "\
Asks something of the gateway, every day until it is withdrawn. Times are local, HH:MM or HH:MM:SS.

Usage: psm-agent request [OPTIONS] wake-up-time <TIME>
       psm-agent request [OPTIONS] no-standby-period <START> <STOP>
       psm-agent request [OPTIONS] withdraw <REGID>

  wake-up-time       Be woken at that time
  no-standby-period  Not be sent to standby between two times; the window may cross midnight
  withdraw           Withdraw a request by the number the gateway gave it, as `status` shows it

Options:
      --json           As JSON
      --config <FILE>  Configuration file, which may name the socket
      --socket <PATH>  Control socket of the running daemon [default: as configured]
  -h, --help           Print help
";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Run as a daemon.
    Run,
    /// Look at the configuration.
    Check,
    /// Print this text.
    Print(&'static str),
    /// Show the status.
    Status,
    /// Ask the network cards, and arm them.
    WakeOnLan,
    /// Ask for a wish.
    Request(Wish),
    /// Withdraw one.
    Withdraw(RegId),
}

/// The command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// What is to be done.
    pub task: Task,
    /// The configuration file named, if one is.
    pub config: Option<PathBuf>,
    /// The control socket named, if one is.
    pub socket: Option<PathBuf>,
    /// JSON instead of text.
    pub json: bool,
}

/// A wrong command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// Something that is no option or command of ours.
    #[error("unexpected argument {0:?}; see psm-agent --help")]
    Unexpected(OsString),
    /// An option without its value, or twice.
    #[error("{0} takes one value; see psm-agent --help")]
    Option(&'static str),
    /// `request` without what is asked, or with too little of it.
    #[error("{0}; see psm-agent request --help")]
    Request(&'static str),
    /// A value that its place does not take.
    #[error("{value:?}: {why}")]
    Value {
        /// The value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Args {
    /// Reads the arguments, the program's own name already left out.
    ///
    /// # Errors
    /// Anything that is not in the helps.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let (mut config, mut socket) = (None, None);
        let (mut json, mut check, mut help) = (false, false, false);
        let mut words: Vec<String> = Vec::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(text) = argument.to_str() else { return Err(ArgsError::Unexpected(argument)) };
            let (name, attached) = match text.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(OsString::from(value))),
                _ => (text, None),
            };
            match (name, &attached) {
                ("--config", _) => value("--config", &mut config, attached.or_else(|| arguments.next()))?,
                ("--socket", _) => value("--socket", &mut socket, attached.or_else(|| arguments.next()))?,
                ("-h" | "--help", None) => help = true,
                ("-V" | "--version", None) => {
                    let task = Task::Print(concat!("psm-agent ", env!("CARGO_PKG_VERSION"), "\n"));
                    return Ok(Self { task, config, socket, json });
                }
                ("--check", None) => check = true,
                ("--json", None) => json = true,
                (word, None) if !word.starts_with('-') && words.len() < 4 => words.push(word.to_owned()),
                _ => return Err(ArgsError::Unexpected(argument)),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let unexpected = |word: &str| Err(ArgsError::Unexpected(word.into()));
        let task = match (words.as_slice(), help) {
            ([] | ["wake-on-lan"], true) => Task::Print(HELP),
            (["status", ..], true) => Task::Print(STATUS_HELP),
            (["request", ..], true) => Task::Print(REQUEST_HELP),
            ([], false) if json => return unexpected("--json"),
            ([], false) if check => Task::Check,
            ([], false) => Task::Run,
            (_, false) if check => return unexpected("--check"),
            (["status"], false) => Task::Status,
            (["wake-on-lan"], false) => Task::WakeOnLan,
            (["request", request @ ..], false) => request_of(request)?,
            ([first, ..], true) | ([first], false) => return unexpected(first),
            ([_, second, ..], false) => return unexpected(second),
        };
        Ok(Self { task, config, socket, json })
    }
}

/// Takes an option's value.
fn value(name: &'static str, to: &mut Option<PathBuf>, given: Option<OsString>) -> Result<(), ArgsError> {
    match given.filter(|v| !v.is_empty() && to.is_none()) {
        Some(given) => {
            *to = Some(given.into());
            Ok(())
        }
        None => Err(ArgsError::Option(name)),
    }
}

fn request_of(words: &[&str]) -> Result<Task, ArgsError> {
    fn read<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, ArgsError> {
        text.parse().map_err(|e: T::Err| ArgsError::Value { value: text.to_owned(), why: e.to_string() })
    }
    /// People may leave the seconds out; on the wire they may not.
    fn time(text: &str) -> Result<TimeOfDay, ArgsError> {
        if text.len() == "HH:MM".len() { read(&format!("{text}:00")) } else { read(text) }
    }
    match *words {
        ["wake-up-time", at] => Ok(Task::Request(Wish::WakeUpTime(time(at)?))),
        ["wake-up-time"] => Err(ArgsError::Request("wake-up-time takes a time")),
        ["no-standby-period", start, stop] => {
            let window = DailyWindow::new(time(start)?, time(stop)?);
            let why = |e: energy_model::daytime::TimeError| ArgsError::Value {
                value: format!("{start} {stop}"),
                why: e.to_string(),
            };
            Ok(Task::Request(Wish::NoStandbyPeriod(window.map_err(why)?)))
        }
        ["no-standby-period", ..] => Err(ArgsError::Request("no-standby-period takes two times")),
        ["withdraw", reg_id] => Ok(Task::Withdraw(read(reg_id)?)),
        ["withdraw"] => Err(ArgsError::Request("withdraw takes a RegID")),
        [] => Err(ArgsError::Request("request what?")),
        ["wake-up-time" | "withdraw", _, extra, ..] => Err(ArgsError::Unexpected(extra.into())),
        [what, ..] => Err(ArgsError::Unexpected(what.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(OsString::from)).map_err(|e| e.to_string())
    }

    fn task(line: &str) -> Task {
        parse(line).unwrap().task
    }

    #[test]
    fn options_may_stand_before_and_after_the_command() {
        let args = parse("--config a.toml request --json wake-up-time 06:30:00 --socket=/s").unwrap();
        let wish = Wish::WakeUpTime("06:30:00".parse().unwrap());
        let (config, socket) = (Some("a.toml".into()), Some("/s".into()));
        assert_eq!(args, Args { task: Task::Request(wish), config, socket, json: true });
    }

    #[test]
    fn every_command_is_read() {
        assert_eq!(task(""), Task::Run);
        assert_eq!(task("--check"), Task::Check);
        assert_eq!(task("status"), Task::Status);
        assert_eq!(task("wake-on-lan"), Task::WakeOnLan);
        assert_eq!(task("wake-on-lan --help"), Task::Print(HELP));
        assert_eq!(task("request withdraw 7"), Task::Withdraw(7.try_into().unwrap()));
        let window = "22:00:00-06:00:00".parse().unwrap();
        assert_eq!(task("request no-standby-period 22:00:00 06:00:00"), Task::Request(Wish::NoStandbyPeriod(window)));
        assert_eq!(task("request no-standby-period 22:00 06:00"), Task::Request(Wish::NoStandbyPeriod(window)));
        assert_eq!(task("--help"), Task::Print(HELP));
        assert_eq!(task("request -h"), Task::Print(REQUEST_HELP));
        assert!(matches!(task("-V"), Task::Print(text) if text.starts_with("psm-agent ")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, message) in [
            ("--verbose", "unexpected argument \"--verbose\"; see psm-agent --help"),
            ("stats", "unexpected argument \"stats\"; see psm-agent --help"),
            ("status now", "unexpected argument \"now\"; see psm-agent --help"),
            ("status --check", "unexpected argument \"--check\"; see psm-agent --help"),
            ("--json", "unexpected argument \"--json\"; see psm-agent --help"),
            ("--config", "--config takes one value; see psm-agent --help"),
            ("--config=a --config=b", "--config takes one value; see psm-agent --help"),
            ("request", "request what?; see psm-agent request --help"),
            ("request wake-up-time", "wake-up-time takes a time; see psm-agent request --help"),
            ("request wake-up-time 6:30", "\"6:30\": expected a time of day as HH:MM:SS"),
            ("request no-standby-period 06:00:00", "no-standby-period takes two times; see psm-agent request --help"),
            (
                "request no-standby-period 06:00:00 06:00:00",
                "\"06:00:00 06:00:00\": a daily window needs an end other than its start",
            ),
            ("request withdraw 0", "\"0\": expected a registration number from 1 to 4294967295"),
            ("request withdraw 1 2", "unexpected argument \"2\"; see psm-agent --help"),
            ("request nap", "unexpected argument \"nap\"; see psm-agent --help"),
        ] {
            assert_eq!(parse(line).unwrap_err(), message, "{line}");
        }
    }
}
