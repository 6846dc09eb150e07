//! heg-gateway: the home energy gateway daemon.

use std::io::{self, Write as _};

use anyhow::Context as _;
use daemon_kit::exit::{self, Exit};
use daemon_kit::{host_names, logging};
use heg::args::{Args, HELP};
use heg::config::Config;
use heg::{app, self_test, simulate};

fn main() -> Exit {
    host_names::without_loaded_libraries();
    exit::run(|| {
        let (named, check) = match Args::parse(std::env::args_os().skip(1)).context(Exit::Usage)? {
            Args::Run { config, check } => (config, check),
            Args::Simulate { config, prices, days } => {
                return simulate::command::run(&Config::load(config.as_deref())?, &prices, days);
            }
            Args::Firewall { config, verb } => {
                logging::init(&Default::default()).context(Exit::Usage)?;
                return heg::firewall::command::run(verb, config.as_deref());
            }
            Args::SelfTest => return self_test::run(),
            Args::Help => return print(HELP),
            Args::Version => return print(concat!("heg-gateway ", env!("CARGO_PKG_VERSION"), "\n")),
        };
        let config = Config::load(named.as_deref())?;
        if check {
            return print(&config.notes().iter().map(|note| format!("note: {note}\n")).collect::<String>());
        }
        let logging = logging::init(&config.log.level).context(Exit::Usage)?;
        app::run(config, named, logging)
    })
}

fn print(text: &str) -> anyhow::Result<Exit> {
    io::stdout().write_all(text.as_bytes()).map(|()| Exit::Ok).context(Exit::IoErr)
}
