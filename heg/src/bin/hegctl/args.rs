//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use energy_model::{RegId, TimeOfDay};
use heg::limits::JOURNAL_ANSWER_MAX;

use crate::firewall::Verb;
use crate::rules::RuleCommand;
use crate::since::Since;

/// Shows and commands the home energy gateway on this machine.
///
/// ID is an appliance's name, its UDN, or the beginning of its UDN. Times are local: HH:MM or HH:MM:SS.
#[derive(Debug, Parser)]
#[command(name = "hegctl", version)]
pub(crate) struct Args {
    /// Control socket [default: $HEG_SOCKET, else /run/heg/control.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the gateway: states, interfaces, commands under way, troubles, last events
    Status,
    /// List the appliances
    Appliances {
        /// Print their names only, one a line
        #[arg(long)]
        names: bool,
    },
    /// Show everything known of an appliance
    Show {
        /// Name, UDN or its beginning
        id: String,
    },
    /// Wake an appliance if it sleeps and switch its operation on
    On {
        /// Name, UDN or its beginning
        id: String,
    },
    /// Switch an appliance's operation off
    Off {
        /// Name, UDN or its beginning
        id: String,
    },
    /// Send an appliance to standby
    Standby {
        /// Name, UDN or its beginning
        id: String,
    },
    /// Wake an appliance
    Wake {
        /// Name, UDN or its beginning
        id: String,
    },
    /// Show what is scheduled for an appliance every day, or schedule more
    Schedule {
        /// Name, UDN or its beginning
        id: String,
        #[command(subcommand)]
        plan: Option<Plan>,
    },
    /// Withdraw a registration
    Withdraw {
        /// Its RegID, as shown by `schedule` and `show`
        reg_id: RegId,
        /// Whose, where several use that number
        #[arg(long, value_name = "ID")]
        appliance: Option<String>,
    },
    /// Forget an appliance that is gone for good
    Forget {
        /// Name, UDN or its beginning
        id: String,
    },
    /// Show what was done, seen and refused, and why
    Journal {
        /// From then on: 90s, 30m, 2h, 7d, a date, or a date with a time
        #[arg(long, value_name = "WHEN")]
        since: Option<Since>,
        /// The latest so many entries
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(JOURNAL_ANSWER_MAX)))]
        limit: u32,
        /// Of one appliance only
        #[arg(long, value_name = "ID")]
        appliance: Option<String>,
    },
    /// Show what energy costs today and tomorrow, where that is from, and what is missing or stale
    Prices,
    /// List, make and remove rules: what may be planned, when it runs, at what price, what goes first
    Rule {
        #[command(subcommand)]
        rule: RuleCommand,
    },
    /// Show the plan: which appliance is on when, and why
    Plan,
    /// Show why an appliance is as it is: who decides, by which input, and the last decisions about it
    Why {
        /// Name, UDN or its beginning
        id: String,
    },
    /// Show what planned appliances cost, by day and by month, and what it would have been at once
    Savings,
    /// Show or change the gateway's firewall
    Firewall {
        #[command(subcommand)]
        verb: Option<Verb>,
    },
    /// Show changes as they happen, until interrupted
    Watch,
    /// Enrol this gateway at the utility's key management centre
    Enrol {
        /// The text of the QR code: HEG1:...
        token: String,
        /// Enrol anew though it is enrolled
        #[arg(long)]
        replace: bool,
    },
    /// Show the dealings with the utility: address, keys, policy, limits, prices, what is out of date
    Utility,
    /// Say whether the utility may control an appliance, or all
    Consent {
        /// Name, UDN or its beginning (none: all appliances), then yes or no
        #[arg(value_names = ["ID", "yes|no"], num_args = 1..=2, required = true)]
        words: Vec<String>,
    },
    /// Print a shell's completion script
    Completion {
        /// bash, elvish, fish, powershell or zsh
        shell: Shell,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Plan {
    /// It sleeps every day from START to STOP (kept by the appliance)
    Standby {
        /// From
        start: Time,
        /// To; before START means on the next day
        stop: Time,
    },
    /// The gateway wakes it every day
    Wake {
        /// When
        at: Time,
    },
    /// The gateway never sends it to standby between START and STOP
    NoStandby {
        /// From
        start: Time,
        /// To; before START means on the next day
        stop: Time,
    },
}

/// `HH:MM` or `HH:MM:SS`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Time(pub(crate) TimeOfDay);

impl FromStr for Time {
    type Err = energy_model::daytime::TimeError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.len() == 5 { format!("{s}:00").parse() } else { s.parse() }.map(Self)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn wrong_usage_is_refused_and_named() {
        for (line, want) in [
            ("hegctl", "Usage"),
            ("hegctl on", "<ID>"),
            ("hegctl fly tv", "unrecognized subcommand 'fly'"),
            ("hegctl firewall open", "unrecognized subcommand 'open'"),
            ("hegctl withdraw 0", "expected a registration number"),
            ("hegctl schedule tv wake 25:00", "a time of day runs from 00:00:00 to 23:59:59"),
            ("hegctl schedule tv standby 22:00", "<STOP>"),
            ("hegctl journal --limit 0", "0 is not in 1..=1000"),
            ("hegctl journal --since soon", "expected 90s, 30m, 2h, 7d, a date"),
            ("hegctl completion tcsh", "bash"),
            ("hegctl enrol", "<TOKEN>"),
            ("hegctl consent", "ID"),
            ("hegctl consent tv yes now", "unexpected"),
        ] {
            let error = Args::try_parse_from(line.split(' ')).unwrap_err().to_string();
            assert!(error.contains(want), "{line}: {error}");
        }
    }

    #[test]
    fn times_may_leave_the_seconds_out_and_options_may_stand_anywhere() {
        let args = Args::try_parse_from("hegctl schedule tv no-standby 22:00 06:30:15 --json".split(' ')).unwrap();
        assert!(args.json);
        let Command::Schedule { plan: Some(Plan::NoStandby { start, stop }), .. } = args.command else { panic!() };
        assert_eq!((start.0.to_string(), stop.0.to_string()), ("22:00:00".into(), "06:30:15".into()));
    }
}
