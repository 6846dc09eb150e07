//! heg-kmc: the key management centre, daemon and commands.

use anyhow::Context as _;
use clap::Parser as _;
use daemon_kit::exit::{self, Exit};
use daemon_kit::logging;
use kmc::args::Args;
use kmc::config::Config;
use kmc::{app, command};

fn main() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version come this way too; nothing is left to be done when the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    let json = args.json;
    exit::run(|| run(args).inspect_err(|error| command::failed(error, json)))
}

fn run(args: Args) -> anyhow::Result<Exit> {
    let config = Config::load(args.config.as_deref())?;
    match args.command {
        _ if args.check => Ok(Exit::Ok),
        Some(command) => command::run(command, &config, args.socket, args.json),
        None => {
            logging::init(&config.log.level).context(Exit::Usage)?;
            app::run(&config)
        }
    }
}
