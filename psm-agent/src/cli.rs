//! What the command line asks for: the daemon itself, or a question to a running one.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use daemon_kit::control::client::{self, Answer, ClientError};
use daemon_kit::control::{ErrorBody, wants_json};
use daemon_kit::exit::{self, Exit};
use daemon_kit::logging;

use crate::app;
use crate::args::{Args, Task};
use crate::config::Config;
use crate::gateway_link::{RequestAnswer, Wish};
use crate::status::Status;
use crate::wake_service;

/// Runs the program.
pub fn main() -> Exit {
    exit::run(|| {
        run().inspect_err(|error| {
            if wants_json(std::env::args_os().skip(1)) {
                // Nothing is left to be done when stdout is gone.
                let _ = print(&serde_json::to_string(&ErrorBody::of(error)).unwrap_or_default());
            }
        })
    })
}

fn run() -> anyhow::Result<Exit> {
    let args = Args::parse(std::env::args_os().skip(1)).context(Exit::Usage)?;
    if let Task::Print(text) = args.task {
        print(text)?;
        return Ok(Exit::Ok);
    }
    let mut config = Config::load(args.config.as_deref())?;
    if args.socket.is_some() {
        config.control.socket = args.socket;
    }
    match args.task {
        Task::Print(_) | Task::Check => Ok(Exit::Ok),
        Task::WakeOnLan => {
            logging::init(&config.log.level).context(Exit::Usage)?;
            if let Some(text) = wake_service::run(config.wake.arm).context(Exit::OsErr)? {
                print(&text)?;
            }
            Ok(Exit::Ok)
        }
        Task::Run => {
            daemon_kit::memory::keep_heaps_short();
            let logging = logging::init(&config.log.level).context(Exit::Usage)?;
            app::run(config, args.config, logging)
        }
        task => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(Exit::OsErr)?;
            runtime.block_on(ask(&task, args.json, &config.socket()))
        }
    }
}

async fn ask(task: &Task, json: bool, socket: &Path) -> anyhow::Result<Exit> {
    let (withdrawn, answer) = match task {
        Task::Request(wish) => (false, post(socket, *wish).await?),
        Task::Withdraw(reg_id) => (true, checked(client::delete(socket, &format!("/requests/{reg_id}")).await)?),
        _ => {
            let answer = checked(client::get(socket, "/status").await)?;
            print(&if json { answer.text() } else { checked(answer.json::<Status>())?.text() })?;
            return Ok(Exit::Ok);
        }
    };
    let parsed: RequestAnswer = checked(answer.json())?;
    print(&if json { answer.text() } else { words(&parsed, withdrawn) })?;
    Ok(match parsed.gateways.as_slice() {
        // It is kept and will be asked for; a script may want to wait.
        [] => Exit::TempFail,
        all if all.iter().any(|g| g.error.is_some()) => Exit::Failure,
        _ => Exit::Ok,
    })
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
