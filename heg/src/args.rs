//! The daemon's command line. By hand: a parser library would cost more resident memory than the registry of a whole home.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::firewall::command::Verb;
use crate::simulate::command::DAYS_MAX;

/// What `--help` prints.
pub const HELP: &str = "\
Finds the appliances of a home, knows their state, wakes and commands them.
Configuration: heg-gateway.toml(5); control: hegctl(1).

Usage: heg-gateway [OPTIONS]
       heg-gateway simulate --prices <FILE>... --days <N> [--config <FILE>]
       heg-gateway [OPTIONS] firewall baseline|take-back|remove
       heg-gateway self-test

Commands:
  firewall baseline    Put the firewall's rules in place before the network is up
  firewall take-back   Take back a change of the firewall that nobody has confirmed
  firewall remove      Take the firewall's table away
  self-test            See whether this build works on this machine

Options:
      --config <FILE>  Configuration file [default: /etc/heg/heg-gateway.toml, if it is there]
      --check          Check the configuration and exit
      --prices <FILE>  For simulate: a price file; several follow each other
      --days <N>       For simulate: how many days
  -h, --help           Print help
  -V, --version        Print version
";

/// What the daemon is started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Args {
    /// To run, or only to look at its configuration.
    Run {
        /// The file named, if one is.
        config: Option<PathBuf>,
        /// Only look at it.
        check: bool,
    },
    /// To see what the planner would make of given prices.
    Simulate {
        /// The configuration named, if one is.
        config: Option<PathBuf>,
        /// Price files, in order.
        prices: Vec<PathBuf>,
        /// Days.
        days: u32,
    },
    /// To put the firewall's rules in place, or to take them away, without the daemon.
    Firewall {
        /// The file named, if one is.
        config: Option<PathBuf>,
        /// What to do.
        verb: Verb,
    },
    /// To see whether it works here.
    SelfTest,
    /// To print [`HELP`].
    Help,
    /// To print its version.
    Version,
}

/// A wrong command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// Something that is no option of ours.
    #[error("unexpected argument {0:?}; see heg-gateway --help")]
    Unexpected(OsString),
    /// `--prices` or `--days` without what it needs, or where it says nothing.
    #[error("simulate takes --prices FILE and --days 1 to {DAYS_MAX}; see heg-gateway --help")]
    Simulate,
    /// `--config` without its file, or twice.
    #[error("--config takes one file; see heg-gateway --help")]
    Config,
    /// `firewall` without or with another word.
    #[error("expected firewall baseline, take-back or remove; see heg-gateway --help")]
    Firewall,
}

impl Args {
    /// Reads the arguments, the program's own name already left out.
    ///
    /// # Errors
    /// Anything that is not in [`HELP`].
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let (mut config, mut check, mut verb) = (None, false, None);
        let mut arguments = arguments.into_iter().peekable();
        if arguments.next_if(|first| first == "simulate").is_some() {
            return Self::simulate(arguments);
        }
        if arguments.next_if(|first| first == "self-test").is_some() {
            return match arguments.next() {
                None => Ok(Self::SelfTest),
                Some(help) if help == "-h" || help == "--help" => Ok(Self::Help),
                Some(more) => Err(ArgsError::Unexpected(more)),
            };
        }
        while let Some(argument) = arguments.next() {
            let file = match argument.to_str() {
                Some("-h" | "--help") => return Ok(Self::Help),
                Some("-V" | "--version") => return Ok(Self::Version),
                Some("--check") => {
                    check = true;
                    continue;
                }
                Some("firewall") if verb.is_none() => {
                    verb = match arguments.next().as_ref().and_then(|word| word.to_str()) {
                        Some("baseline") => Some(Verb::Baseline),
                        Some("take-back") => Some(Verb::TakeBack),
                        Some("remove") => Some(Verb::Remove),
                        _ => return Err(ArgsError::Firewall),
                    };
                    continue;
                }
                Some("--config") => arguments.next(),
                Some(text) => match text.strip_prefix("--config=") {
                    Some(file) => Some(file.into()),
                    None => return Err(ArgsError::Unexpected(argument)),
                },
                None => return Err(ArgsError::Unexpected(argument)),
            };
            match file {
                Some(file) if config.is_none() && !file.is_empty() => config = Some(file.into()),
                _ => return Err(ArgsError::Config),
            }
        }
        Ok(match verb {
            Some(verb) if !check => Self::Firewall { config, verb },
            Some(_) => return Err(ArgsError::Firewall),
            None => Self::Run { config, check },
        })
    }

    fn simulate(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, ArgsError> {
        let (mut config, mut prices, mut days) = (None, Vec::new(), None);
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("-h" | "--help") => return Ok(Self::Help),
                Some("--config") if config.is_none() => {
                    config = Some(arguments.next().ok_or(ArgsError::Config)?.into());
                }
                Some("--prices") => prices.push(arguments.next().ok_or(ArgsError::Simulate)?.into()),
                Some("--days") => {
                    let number = arguments.next().and_then(|n| n.to_str()?.parse().ok());
                    days = Some(number.filter(|n| (1..=DAYS_MAX).contains(n)).ok_or(ArgsError::Simulate)?);
                }
                _ => return Err(ArgsError::Unexpected(argument)),
            }
        }
        match days {
            Some(days) if !prices.is_empty() => Ok(Self::Simulate { config, prices, days }),
            _ => Err(ArgsError::Simulate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, ArgsError> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_are_read_in_any_order_and_form() {
        let run = |config: Option<&str>, check| Ok(Args::Run { config: config.map(PathBuf::from), check });
        assert_eq!(parse(""), run(None, false));
        assert_eq!(parse("--check --config a.toml"), run(Some("a.toml"), true));
        assert_eq!(parse("--config=a=b.toml"), run(Some("a=b.toml"), false));
        assert_eq!(parse("--config x --help"), Ok(Args::Help));
        assert_eq!(parse("-V"), Ok(Args::Version));
        assert_eq!(parse("self-test"), Ok(Args::SelfTest));
        assert_eq!(parse("self-test --help"), Ok(Args::Help));
        let firewall = |verb| Ok(Args::Firewall { config: Some("a.toml".into()), verb });
        assert_eq!(parse("firewall baseline --config a.toml"), firewall(Verb::Baseline));
        assert_eq!(parse("--config=a.toml firewall remove"), firewall(Verb::Remove));
        assert_eq!(parse("--config=a.toml firewall take-back"), firewall(Verb::TakeBack));
    }

    #[test]
    fn anything_else_is_refused_and_named() {
        assert_eq!(parse("--chekc"), Err(ArgsError::Unexpected("--chekc".into())));
        assert_eq!(parse("a.toml"), Err(ArgsError::Unexpected("a.toml".into())));
        assert_eq!(parse("self-test --check"), Err(ArgsError::Unexpected("--check".into())));
        let (config, prices) = (Some("h.toml".into()), vec!["a.csv".into(), "b.csv".into()]);
        let simulate = Args::Simulate { config, prices, days: 7 };
        assert_eq!(parse("simulate --prices a.csv --config h.toml --prices b.csv --days 7"), Ok(simulate));
        for wrong in ["simulate", "simulate --days 3", "simulate --prices a --days 0", "simulate --prices a --days"] {
            assert_eq!(parse(wrong), Err(ArgsError::Simulate), "{wrong}");
        }
        for wrong in ["firewall", "firewall off", "firewall baseline --check"] {
            assert_eq!(parse(wrong), Err(ArgsError::Firewall), "{wrong}");
        }
        for wrong in ["--config", "--config=", "--config a --config b"] {
            assert_eq!(parse(wrong), Err(ArgsError::Config), "{wrong}");
        }
    }
}
