//! heg-utility: the utility's server.

use anyhow::Context as _;
use clap::Parser as _;
use daemon_kit::exit::{self, Exit};
use daemon_kit::logging;
use utility::args::{Args, Command};
use utility::config::Config;
use utility::{app, self_test};

fn main() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version come this way too; nothing is left to be done when the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
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
