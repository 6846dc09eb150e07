//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand, ValueEnum};
use secure_http::PartyId;

use crate::limits::{ISSUING_DAYS, ISSUING_DAYS_MAX, TOKEN_DAYS, TOKEN_DAYS_MAX};

/// Key management centre of homes and utilities: without a command, the daemon.
///
/// `init` and `root` work on the state directory while no daemon runs; the other commands talk to the daemon. Manual: heg-kmc(8),
/// heg-kmc.toml(5).
#[derive(Debug, Parser)]
#[command(name = "heg-kmc", version)]
pub struct Args {
    /// Configuration file [default: /etc/heg/heg-kmc.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    pub check: bool,
    /// Control socket of the daemon [default: the configuration's]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new centre: its keys, statements and first policy
    Init {
        /// Its UUID; a random one if none is given
        #[arg(long, value_name = "UUID")]
        id: Option<PartyId>,
        /// Lifetime of the first issuing key
        #[arg(long, value_name = "N", default_value_t = ISSUING_DAYS, value_parser = clap::value_parser!(u64).range(1..=ISSUING_DAYS_MAX))]
        days: u64,
    },
    /// Take the root key away, bring it back, use it
    Root {
        /// What to do.
        #[command(subcommand)]
        command: RootCommand,
    },
    /// One-time tokens that enrol a gateway or a utility
    Token {
        /// What to do.
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// What was stated
    Statements {
        /// What to do.
        #[command(subcommand)]
        command: StatementsCommand,
    },
    /// Revoke a statement: its keys are worth nothing from now on
    Revoke {
        /// Its serial, or the UUID of a party: the statement in force
        which: String,
        /// Why, for list and audit log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// The policy that everybody follows
    Policy {
        /// What to do.
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Show the audit log and check that nobody edited it
    Audit {
        /// From then on, in RFC 3339 (2026-11-22T07:30:00Z)
        #[arg(long, value_name = "TIME")]
        since: Option<jiff::Timestamp>,
    },
    /// Show the daemon: addresses, keys, numbers, troubles
    Status,
}

/// With the root key.
#[derive(Debug, Subcommand)]
pub enum RootCommand {
    /// Copy the root key into a file under a passphrase
    Export {
        /// The new file
        file: PathBuf,
        /// File with the passphrase, - for standard input
        #[arg(long, value_name = "FILE")]
        passphrase_file: PathBuf,
        /// Remove it here once the copy has been read back
        #[arg(long)]
        remove: bool,
    },
    /// Put an exported root key back
    Import {
        /// The exported file
        file: PathBuf,
        /// File with its passphrase, - for standard input
        #[arg(long, value_name = "FILE")]
        passphrase_file: PathBuf,
    },
    /// Make a new issuing key and state it with the root key
    SignIssuing {
        /// Use the root key in this exported file, without putting it back
        #[arg(long, value_name = "FILE", requires = "passphrase_file")]
        root: Option<PathBuf>,
        /// File with its passphrase, - for standard input
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Lifetime of the issuing key
        #[arg(long, value_name = "N", default_value_t = ISSUING_DAYS, value_parser = clap::value_parser!(u64).range(1..=ISSUING_DAYS_MAX))]
        days: u64,
    },
    /// Have peers take the new keys of a party that lost its old ones
    ///
    /// Who knows a party goes over to other keys only with the word of the old key, or of the root key. After a gateway or utility has
    /// enrolled anew this gives the root key's word for its statement in force.
    Recover {
        /// The party's UUID
        party: PartyId,
        /// Use the root key in this exported file, without putting it back
        #[arg(long, value_name = "FILE", requires = "passphrase_file")]
        root: Option<PathBuf>,
        /// File with its passphrase, - for standard input
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
}

/// What a token enrols.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TokenRole {
    /// A home's gateway
    Heg,
    /// A utility
    Utility,
}

/// With tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, as text and as QR code
    New {
        /// What it enrols
        #[arg(long, value_name = "ROLE")]
        role: TokenRole,
        /// Only for this party; takes the place of its statement in force, which is then revoked
        #[arg(long, value_name = "UUID", value_parser = gateway)]
        uuid: Option<PartyId>,
        /// The utility that the gateway is to belong to [default: the only one]
        #[arg(long, value_name = "UUID")]
        utility: Option<PartyId>,
        /// Where, for people
        #[arg(long, value_name = "TEXT", default_value = "")]
        premises: String,
        /// Days that it can be used
        #[arg(long, value_name = "DAYS", default_value_t = TOKEN_DAYS, value_parser = clap::value_parser!(u32).range(1..=i64::from(TOKEN_DAYS_MAX)))]
        valid: u32,
        /// Print the text only
        #[arg(long)]
        no_qr: bool,
    },
    /// List the newest tokens
    List,
    /// Make an open token worthless
    Revoke {
        /// Its name, as `list` shows it
        id: String,
    },
}

/// With statements.
#[derive(Debug, Subcommand)]
pub enum StatementsCommand {
    /// List the newest statements
    List {
        /// Only of subjects whose UUID begins so
        #[arg(default_value = "")]
        subject: String,
    },
    /// Show one
    Show {
        /// Its serial, or the UUID of a party: the statement in force
        which: String,
    },
}

/// A UUID with or without the `uuid:` before it, as a home's `hegctl status` shows it.
fn gateway(text: &str) -> Result<PartyId, <PartyId as FromStr>::Err> {
    text.strip_prefix("uuid:").unwrap_or(text).parse()
}

/// With the policy.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Show the policy in force
    Show,
    /// Sign the rules in a TOML file as the next version
    Set {
        /// The file, see heg-kmc.toml(5)
        file: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_gateway_is_named_as_its_hegctl_status_shows_it() {
        let line = "heg-kmc token new --role heg --uuid uuid:2fac1234-31f8-41b4-a222-08002b34c003";
        let Some(Command::Token { command: TokenCommand::New { uuid, .. } }) =
            Args::try_parse_from(line.split(' ')).unwrap().command
        else {
            panic!("another command")
        };
        assert_eq!(uuid.unwrap().as_str(), "2fac1234-31f8-41b4-a222-08002b34c003");
    }

    #[test]
    fn wrong_usage_is_refused_and_named() {
        for (line, want) in [
            ("heg-kmc token new", "--role"),
            ("heg-kmc token new --role tv", "heg, utility"),
            ("heg-kmc token new --role heg --valid 0", "0 is not in 1..=366"),
            ("heg-kmc init --id x", "expected a UUID"),
            ("heg-kmc token new --role heg --uuid uuid:x", "expected a UUID"),
            ("heg-kmc root sign-issuing --root f", "--passphrase-file"),
            ("heg-kmc audit --since soon", "soon"),
        ] {
            let error = Args::try_parse_from(line.split(' ')).unwrap_err().to_string();
            assert!(error.contains(want), "{line}: {error}");
        }
    }
}
