//! The server's command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Knows the homes of a utility, publishes prices, and makes limits and controls.
///
/// Configuration: heg-utility.toml(5); control: utilityctl(1).
#[derive(Debug, Parser)]
#[command(name = "heg-utility", version)]
pub struct Args {
    /// Configuration file [default: /etc/heg/heg-utility.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    pub check: bool,
    /// Something else than the server.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Something else than the server.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See whether this build works on this machine
    SelfTest,
}
