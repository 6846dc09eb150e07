//! heg-gateway: the home energy gateway daemon.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use clap::error::ErrorKind;
use daemon_kit::exit::{self, Exit};
use daemon_kit::logging;
use heg::{app, config::Config};

/// Finds the appliances of a home, knows their state, wakes and commands them. Configuration: heg-gateway.toml(5); control:
/// hegctl(1).
#[derive(Parser)]
#[command(name = "heg-gateway", version)]
struct Args {
    /// Configuration file [default: /etc/heg/heg-gateway.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
}

fn main() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version come this way too; nothing is left to be done when the terminal is gone.
            let _ = error.print();
            let good = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if good { Exit::Ok } else { Exit::Usage };
        }
    };
    exit::run(|| {
        let config = Config::load(args.config.as_deref())?;
        if args.check {
            return Ok(Exit::Ok);
        }
        let logging = logging::init(&config.log.level).context(Exit::Usage)?;
        app::run(config, args.config, logging)
    })
}
