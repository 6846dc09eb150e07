//! Completion scripts for bash, zsh and fish, as they are installed: `packaging/completions/SHELL/FILE`.
//!
//! `hegctl` and `utilityctl` print their own. The daemons carry no generator: `heg-kmc`'s comes from its parser, those of the others from
//! what is declared here, which a test holds against their `--help`.

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use anyhow::{Context, Result, ensure};
use clap::{Arg, ArgAction, Command, CommandFactory, ValueHint};
use clap_complete::Shell;

/// The programs.
pub const PROGRAMS: [&str; 6] = ["heg-gateway", "hegctl", "psm-agent", "heg-utility", "utilityctl", "heg-kmc"];
/// The shells.
pub const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Where a script is kept, from the top of the tree; its file name is the one it is installed under.
pub fn path(program: &str, shell: Shell) -> PathBuf {
    let file = match shell {
        Shell::Zsh => format!("_{program}"),
        Shell::Fish => format!("{program}.fish"),
        _ => program.to_owned(),
    };
    Path::new("packaging/completions").join(shell.to_string()).join(file)
}

/// A program's script; `built` is where the built programs are.
///
/// # Errors
/// A program that is not there or does not print its script.
pub fn script(program: &str, shell: Shell, built: &Path) -> Result<String> {
    let mut command = match program {
        "hegctl" | "utilityctl" => {
            let mut process = Process::new(built.join(program));
            let out = process.args(["completion", &shell.to_string()]).output().with_context(|| program.to_owned())?;
            ensure!(out.status.success(), "{program} completion: {}", String::from_utf8_lossy(&out.stderr));
            return String::from_utf8(out.stdout).with_context(|| program.to_owned());
        }
        "heg-kmc" => kmc::args::Args::command(),
        "heg-gateway" => heg_gateway(),
        "heg-utility" => daemon("heg-utility").subcommand(self_test()),
        "psm-agent" => psm_agent(),
        _ => anyhow::bail!("no program {program}"),
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, program, &mut script);
    let script = String::from_utf8(script).with_context(|| program.to_owned())?;
    // The generator's functions for bash are named in two ways where the program's own name has a dash, and find nothing.
    Ok(script.replace(&program.replace('-', "__subcmd__"), &program.replace('-', "__")))
}

fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FILE").value_hint(ValueHint::FilePath).help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// What all daemons take.
fn daemon(name: &'static str) -> Command {
    Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .arg(file("config", "Configuration file"))
        .arg(flag("check", "Check the configuration and exit"))
}

fn self_test() -> Command {
    Command::new("self-test").about("See whether this build works on this machine")
}

fn heg_gateway() -> Command {
    let baseline = Command::new("baseline").about("Put the firewall's rules in place before the network is up");
    let take_back = Command::new("take-back").about("Take back a change of the firewall that nobody has confirmed");
    let remove = Command::new("remove").about("Take the firewall's table away");
    daemon("heg-gateway")
        .subcommand(self_test())
        .subcommand(
            Command::new("simulate")
                .about("Show what the planner would make of given prices")
                .arg(file("prices", "A price file; several follow each other").action(ArgAction::Append))
                .arg(Arg::new("days").long("days").value_name("N").help("How many days"))
                .arg(file("config", "Configuration file")),
        )
        .subcommand(
            Command::new("firewall")
                .about("Put the firewall's rules in place or take them away, without the daemon")
                .disable_help_subcommand(true)
                .subcommand(baseline)
                .subcommand(take_back)
                .subcommand(remove),
        )
}

fn psm_agent() -> Command {
    let json = || flag("json", "As JSON");
    let of_running = |command: Command| {
        command.arg(file("config", "Configuration file, which may name the socket")).arg(json()).arg(socket())
    };
    let time = |name: &'static str| Arg::new(name).value_name(name).required(true);
    daemon("psm-agent")
        .arg(socket())
        .subcommand(of_running(
            Command::new("status").about("Show state, sources in use, gateways, last events and refusals"),
        ))
        .subcommand(of_running(
            Command::new("request")
                .about("Ask something of the gateway, every day until it is withdrawn")
                .disable_help_subcommand(true)
                .subcommand(Command::new("wake-up-time").about("Be woken at that time").arg(time("TIME")))
                .subcommand(
                    Command::new("no-standby-period")
                        .about("Not be sent to standby between two times")
                        .args([time("START"), time("STOP")]),
                )
                .subcommand(Command::new("withdraw").about("Withdraw a request").arg(time("REGID"))),
        ))
        .subcommand(
            Command::new("wake-on-lan")
                .about("Ask the network cards whether they wake this machine and arm them")
                .arg(file("config", "Configuration file")),
        )
}

fn socket() -> Arg {
    Arg::new("socket").long("socket").value_name("PATH").value_hint(ValueHint::FilePath).help("Control socket")
}
