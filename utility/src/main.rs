//! heg-utility: the utility's server.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use daemon_kit::exit::{self, Exit};
use daemon_kit::logging;
use utility::config::Config;
use utility::{app, self_test};

/// Knows the homes of a utility, publishes prices, and makes limits and controls.
///
/// Configuration: heg-utility.toml(5); control: utilityctl(1).
#[derive(Debug, Parser)]
#[command(name = "heg-utility", version)]
struct Args {
    /// Configuration file [default: /etc/heg/heg-utility.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See whether this build works on this machine
    SelfTest,
}

fn main() -> Exit {
    let args = Args::parse();
    exit::run(|| {
        if let Some(Command::SelfTest) = args.command {
            return self_test::run();
        }
        let config = Config::load(args.config.as_deref())?;
        if args.check {
            return Ok(Exit::Ok);
        }
        let logging = logging::init(&config.log.level).context(Exit::Usage)?;
        app::run(config, args.config, logging)
    })
}
