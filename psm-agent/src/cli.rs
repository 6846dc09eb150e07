//! The command line: the daemon itself, and the two commands that ask a running one.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use daemon_kit::control::client::{self, Answer, ClientError};
use daemon_kit::exit::{self, Exit};
use daemon_kit::logging;
use energy_model::{DailyWindow, RegId, TimeOfDay};

use crate::app;
use crate::config::Config;
use crate::gateway_link::{RequestAnswer, Wish};
use crate::status::Status;

/// Tells the home energy gateway of every change of this appliance's power state, and obeys its commands.
///
/// Without a command it runs as a daemon. Configuration: psm-agent.toml(5).
#[derive(Debug, Parser)]
#[command(name = "psm-agent", version)]
pub struct Args {
    /// Configuration file [default: /etc/psm/psm-agent.toml, if it is there]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Control socket of the running daemon [default: as configured]
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show state, sources in use, gateways, last events and refusals
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask something of the gateway, every day until it is withdrawn
    Request {
        /// As JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        what: Request,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Request {
    /// Be woken at that time
    WakeUpTime {
        /// Local time, HH:MM:SS
        time: TimeOfDay,
    },
    /// Not be sent to standby between two times; the window may cross midnight
    NoStandbyPeriod {
        /// Local time, HH:MM:SS
        start: TimeOfDay,
        /// Local time, HH:MM:SS
        stop: TimeOfDay,
    },
    /// Withdraw a request by the number the gateway gave it
    Withdraw {
        /// The registration's number, as `status` shows it
        reg_id: RegId,
    },
}

/// Runs the program.
pub fn main() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version come this way too; nothing is left to be done when the terminal is gone.
            let _ = error.print();
            let good = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if good { Exit::Ok } else { Exit::Usage };
        }
    };
    exit::run(|| run(args))
}

fn run(args: Args) -> anyhow::Result<Exit> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(socket) = args.socket {
        config.control.socket = Some(socket);
    }
    match args.command {
        None if args.check => Ok(Exit::Ok),
        None => {
            let logging = logging::init(&config.log.level).context(Exit::Usage)?;
            app::run(config, args.config, logging)
        }
        Some(command) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(Exit::OsErr)?;
            runtime.block_on(ask(&command, &config.socket()))
        }
    }
}

async fn ask(command: &Command, socket: &Path) -> anyhow::Result<Exit> {
    match command {
        Command::Status { json } => {
            let answer = checked(client::get(socket, "/status").await)?;
            if *json {
                print(&answer.text())?;
            } else {
                print(&checked(answer.json::<Status>())?.text())?;
            }
            Ok(Exit::Ok)
        }
        Command::Request { json, what } => {
            let (withdrawn, answer) = match what {
                Request::WakeUpTime { time } => (false, post(socket, Wish::WakeUpTime(*time)).await?),
                Request::NoStandbyPeriod { start, stop } => {
                    let window = DailyWindow::new(*start, *stop).context(Exit::Usage)?;
                    (false, post(socket, Wish::NoStandbyPeriod(window)).await?)
                }
                Request::Withdraw { reg_id } => {
                    (true, checked(client::delete(socket, &format!("/requests/{reg_id}")).await)?)
                }
            };
            let parsed: RequestAnswer = checked(answer.json())?;
            print(&if *json { answer.text() } else { words(&parsed, withdrawn) })?;
            Ok(match parsed.gateways.as_slice() {
                // It is kept and will be asked for; a script may want to wait.
                [] => Exit::TempFail,
                all if all.iter().any(|g| g.error.is_some()) => Exit::Failure,
                _ => Exit::Ok,
            })
        }
    }
}

async fn post(socket: &Path, wish: Wish) -> anyhow::Result<Answer> {
    checked(client::post(socket, "/requests", &wish).await)
}

/// The client's error with its exit code.
fn checked<T>(result: Result<T, ClientError>) -> anyhow::Result<T> {
    result.map_err(|error| {
        let exit = error.exit();
        anyhow::Error::from(error).context(exit)
    })
}

fn words(answer: &RequestAnswer, withdrawn: bool) -> String {
    if answer.gateways.is_empty() {
        let what = if withdrawn { "is told when one is found" } else { "is asked when one is found" };
        return format!("{}: no gateway is on the network; it {what}\n", answer.wish);
    }
    let mut out = String::new();
    for g in &answer.gateways {
        let said = match (&g.error, g.reg_id, withdrawn) {
            (Some(error), ..) => error.clone(),
            (None, _, true) => "withdrawn".to_owned(),
            (None, Some(reg_id), false) => format!("registered as {reg_id}"),
            (None, None, false) => "not registered".to_owned(),
        };
        out.push_str(&format!("{} at {}: {said}\n", answer.wish, g.gateway));
    }
    out
}

/// Prints to the terminal or the pipe; a reader that left is no error of ours.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{newline}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context(Exit::IoErr),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
