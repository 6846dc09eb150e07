//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as Group, Parser, Subcommand};
use clap_complete::Shell;
use energy_model::PowerState;
use utility::client::HttpUrl;

/// Shows and commands a utility's server.
///
/// TARGET is a group, as north/feeder-7, or a site's UUID. A site's UUID is its gateway's, as hegctl status shows it there, with or without uuid:. Times are RFC 3339, as 2026-11-22T17:15:00+01:00; spans are 90s, 30m, 2h or 1d.
#[derive(Debug, Parser)]
#[command(name = "utilityctl", version)]
pub(crate) struct Args {
    /// Server [default: $HEG_UTILITY_URL, else http://127.0.0.1:8580]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<HttpUrl>,
    /// File with the operator's token [default: $HEG_UTILITY_TOKEN_FILE, else /var/lib/heg-utility/admin-token]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Set up this utility and its key management centre on this machine, and say what comes next; as root
    Init {
        /// Name or address under which homes reach this machine [default: its address on its way out]
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
    },
    /// Show the server: sites, rules, what is not well
    Status,
    /// List sites
    Sites {
        /// In this group or below
        #[arg(long)]
        group: Option<String>,
        /// Behind this UUID
        #[arg(long, value_name = "UUID")]
        after: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Take up, change or show one site
    #[command(subcommand)]
    Site(SiteCommand),
    /// Enrol this utility at its KMC
    Enrol {
        /// What heg-kmc token new --role utility printed; - is the standard input
        token: String,
        /// UUID of the utility [default: a new one]
        #[arg(long, value_name = "UUID")]
        id: Option<String>,
    },
    /// Show and renew keys, and revoke a home's
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Show or set the security policy that all follow
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Hand over what shows who said what
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// Publish or show prices
    #[command(subcommand)]
    Price(PriceCommand),
    /// Limit what homes draw
    #[command(subcommand)]
    Limit(LimitCommand),
    /// Control an appliance whose people allow it
    #[command(subcommand)]
    Control(ControlCommand),
    /// Show, check and try behavioural rules
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Show changes as they happen, until interrupted
    Watch,
    /// Show who changed what
    Audit {
        /// Only behind this number
        #[arg(long, value_name = "NUMBER")]
        since: Option<u64>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Make, list and remove operators
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Print a shell's completion script
    Completion {
        /// bash, elvish, fish, powershell or zsh
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SiteCommand {
    /// Take up a site, and print the token its gateway enrols with
    Add {
        #[command(flatten)]
        facts: SiteFacts,
        /// Make no token
        #[arg(long)]
        no_token: bool,
        /// Print the token without its QR code
        #[arg(long)]
        no_qr: bool,
    },
    /// Print a new token for a gateway that enrols again, and let its new keys in
    Token {
        /// The gateway's UUID
        #[arg(value_parser = bare)]
        uuid: String,
        /// How long it is good, days
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=366))]
        days: Option<u32>,
        /// Print it without its QR code
        #[arg(long)]
        no_qr: bool,
    },
    /// Change a site's name, zone and group
    Change(SiteFacts),
    /// Show a site and its appliances
    Show {
        /// Its gateway's UUID
        #[arg(value_parser = bare)]
        uuid: String,
    },
    /// Show what a site or one of its appliances used
    Consumption {
        /// Its gateway's UUID
        #[arg(value_parser = bare)]
        uuid: String,
        /// Of one appliance
        #[arg(long, value_name = "ID")]
        appliance: Option<String>,
        /// From then on [default: a day ago]
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Until then [default: now]
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
    },
}

#[derive(Debug, Group)]
pub(crate) struct SiteFacts {
    /// Its gateway's UUID
    #[arg(value_parser = bare)]
    pub(crate) uuid: String,
    /// Price zone
    #[arg(long)]
    pub(crate) zone: String,
    /// Place in the grid, as north/feeder-7/t3
    #[arg(long)]
    pub(crate) group: String,
    /// Name for people
    #[arg(long, default_value = "")]
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Show this utility's keys, or a home's
    Show {
        /// A gateway's UUID
        #[arg(value_parser = bare)]
        uuid: Option<String>,
    },
    /// Make new keys for this utility now
    RollOver,
    /// Have a home's keys revoked
    Revoke {
        /// Its gateway's UUID
        #[arg(value_parser = bare)]
        uuid: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the policy that is followed
    Show,
    /// Have the KMC sign the policy of a file
    Set {
        /// What heg-kmc policy set takes, TOML; - is the standard input
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Write a home's signed messages, and the statements that show whose they are, as JSON
    Export {
        /// Its gateway's UUID
        #[arg(value_parser = bare)]
        site: String,
        /// Only those taken from then on
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PriceCommand {
    /// Publish the prices of a file
    Publish {
        /// CSV or JSON; - is the standard input
        file: PathBuf,
        /// Price zone
        #[arg(long)]
        zone: String,
        /// The zone's clock, as Europe/Stockholm [default: as configured at the server]
        #[arg(long, value_name = "NAME")]
        time_zone: Option<String>,
        /// Currency, for a file that does not say
        #[arg(long, requires = "per")]
        currency: Option<String>,
        /// MWh or kWh, for a file that does not say
        #[arg(long, requires = "currency")]
        per: Option<String>,
        /// The file need not cover whole days
        #[arg(long)]
        part_of_day: bool,
        /// Only look whether it would be taken
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the prices of a zone that are not over
    Show {
        /// Price zone
        zone: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LimitCommand {
    /// List limits, the latest first
    List {
        /// Of one target only
        #[arg(long, value_parser = bare)]
        target: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Limit a group or a site
    Make {
        /// A group, or a site's UUID
        #[arg(value_parser = bare)]
        target: String,
        /// The most a home may draw, W
        watts: u32,
        /// How long; without it until it is cancelled
        #[arg(long, value_name = "SPAN")]
        duration: Option<Span>,
        /// When it begins [default: now]
        #[arg(long, value_name = "TIME")]
        start: Option<String>,
        /// Among limits in force the greatest goes
        #[arg(long, value_name = "0..255", default_value_t = 0)]
        priority: u8,
        /// Each home begins later by its own share of this
        #[arg(long, value_name = "SPAN")]
        randomise: Option<Span>,
        /// The limit it takes the place of
        #[arg(long, value_name = "NUMBER")]
        supersedes: Option<u64>,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Call a limit off
    Cancel {
        /// Its number
        id: u64,
    },
    /// Show what homes answered
    Responses {
        /// Its number
        id: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ControlCommand {
    /// List controls, the latest first
    List {
        /// Of one site only
        #[arg(long, value_name = "UUID", value_parser = bare)]
        site: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Switch an appliance on
    On(Order),
    /// Switch an appliance off
    Off(Order),
    /// Send an appliance to standby
    Standby(Order),
    /// Call a control off
    Cancel {
        /// Its number
        id: u64,
    },
}

#[derive(Debug, Group)]
pub(crate) struct Order {
    /// Its home
    #[arg(value_parser = bare)]
    pub(crate) site: String,
    /// Which appliance of it
    pub(crate) appliance: String,
    /// It must be begun within this
    #[arg(long, value_name = "SPAN", default_value = "10m")]
    pub(crate) within: Span,
    /// Why
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    /// Print its number and do not wait for what comes of it
    #[arg(long)]
    pub(crate) no_wait: bool,
}

impl ControlCommand {
    /// What an order asks for.
    pub(crate) fn order(&self) -> Option<(&Order, PowerState)> {
        match self {
            Self::On(order) => Some((order, PowerState::On)),
            Self::Off(order) => Some((order, PowerState::Off)),
            Self::Standby(order) => Some((order, PowerState::Standby)),
            Self::List { .. } | Self::Cancel { .. } => None,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// List the rules in use, and what they last did
    List,
    /// Look whether a rules file is sound, without a server
    Check {
        /// Rules, TOML
        file: PathBuf,
    },
    /// Show what rules would do with readings, without a server
    DryRun {
        /// Rules, TOML
        file: PathBuf,
        /// Readings, CSV: at, group, load_w
        readings: PathBuf,
        /// Also steps that do nothing
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// List operators
    List,
    /// Make an operator and print the token, which is shown only now
    Add {
        /// Name
        name: String,
        /// viewer, operator or admin
        #[arg(long)]
        role: String,
    },
    /// Take an operator's access away
    Remove {
        /// Name
        name: String,
    },
}

/// A UUID with or without the `uuid:` before it, as a home's `hegctl status` shows it; other names as they are.
fn bare(text: &str) -> Result<String, core::convert::Infallible> {
    Ok(text.strip_prefix("uuid:").unwrap_or(text).to_owned())
}

/// `90s`, `30m`, `2h`, `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a span as 90s, 30m, 2h or 1d")]
pub(crate) struct SpanError;

impl FromStr for Span {
    type Err = SpanError;
    fn from_str(s: &str) -> Result<Self, SpanError> {
        let (unit, factor) = match s.chars().next_back() {
            Some(c @ 's') => (c, 1),
            Some(c @ 'm') => (c, 60),
            Some(c @ 'h') => (c, 3600),
            Some(c @ 'd') => (c, 86_400),
            _ => return Err(SpanError),
        };
        let count: u32 = s.strip_suffix(unit).and_then(|n| n.parse().ok()).ok_or(SpanError)?;
        count.checked_mul(factor).map(Self).ok_or(SpanError)
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
            ("utilityctl", "Usage"),
            ("utilityctl fly", "unrecognized subcommand 'fly'"),
            ("utilityctl site add 7", "--zone"),
            ("utilityctl site token 7 --days 400", "400 is not in 1..=366"),
            ("utilityctl keys revoke 7", "--reason"),
            ("utilityctl price publish x.csv", "--zone"),
            ("utilityctl price publish x.csv --zone SE3 --per kWh", "--currency"),
            ("utilityctl limit make north", "<WATTS>"),
            ("utilityctl limit make north 4200 --duration 30", "expected a span as 90s, 30m, 2h or 1d"),
            ("utilityctl limit make north -1", "unexpected argument '-1'"),
            ("utilityctl --server https://x/ status", "expected a URL as http://"),
            ("utilityctl audit --limit 0", "0 is not in 1..=1000"),
        ] {
            let error = Args::try_parse_from(line.split(' ')).unwrap_err().to_string();
            assert!(error.contains(want), "{line}: {error}");
        }
    }

    #[test]
    fn a_home_is_named_as_its_hegctl_status_shows_it() {
        for line in ["site add uuid:7 --zone SE3 --group n", "site add 7 --zone SE3 --group n"] {
            let Command::Site(SiteCommand::Add { facts, .. }) =
                Args::try_parse_from(format!("utilityctl {line}").split(' ')).unwrap().command
            else {
                panic!("{line}")
            };
            assert_eq!(facts.uuid, "7");
        }
        let Command::Limit(LimitCommand::Make { target, .. }) =
            Args::try_parse_from(["utilityctl", "limit", "make", "north", "1"]).unwrap().command
        else {
            panic!("another command")
        };
        assert_eq!(target, "north");
    }

    #[test]
    fn a_span_is_a_count_and_a_unit() {
        assert_eq!(["90s", "30m", "2h", "1d"].map(|s| s.parse::<Span>().unwrap().0), [90, 1800, 7200, 86_400]);
        for bad in ["", "m", "-1m", "1w", "99999999d", "1.5h", "é"] {
            assert_eq!(bad.parse::<Span>(), Err(SpanError), "{bad}");
        }
    }
}
