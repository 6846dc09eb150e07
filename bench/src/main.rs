//! The figures of docs/benchmarks.md. `house-bench all` runs everything on hosts of the lab, ours and foreign stacks side by side, and
//! prints the tables in Markdown; the other commands are the programs it starts there.

mod devices;
mod events;
mod memory;
mod peers;
mod probe;
mod report;
mod soap;
mod start;
mod traffic;
mod utility;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use testkit::lab::sandbox::{self, Sandbox};

/// The whole run takes about six minutes.
const WHOLE_RUN_MAX: Duration = Duration::from_secs(30 * 60);

#[derive(Parser)]
#[command(about)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run all benchmarks (or those named: soap events start traffic memory) and print the tables
    All {
        /// Only these
        only: Vec<String>,
    },
    /// Run the benchmark of the kernel probe (as root) and print its tables
    Probe,
    /// Run the benchmark of utility, key management and the gateway's line to them, and print its tables
    Utility,
    /// Be a light switch (SwitchPower:1) on our stack
    Light {
        /// TCP port
        #[arg(long)]
        port: u16,
    },
    /// Be that many appliances in one process
    Appliances {
        /// How many
        #[arg(long)]
        count: u16,
    },
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    match args.what {
        What::Light { port } => devices::light(port).map(|()| ExitCode::SUCCESS),
        What::Appliances { count } => devices::appliances(count).map(|()| ExitCode::SUCCESS),
        What::All { only } if sandbox::is_inside() => report::print(&only).map(|()| ExitCode::SUCCESS),
        What::Probe if sandbox::is_inside() => probe::print().map(|()| ExitCode::SUCCESS),
        What::Utility if sandbox::is_inside() => utility::print().map(|()| ExitCode::SUCCESS),
        What::All { .. } | What::Probe | What::Utility => {
            let sandbox = Sandbox::find().context("the benchmarks need namespaces")?;
            let mut command = sandbox.this_program(WHOLE_RUN_MAX)?;
            let status = command.args(std::env::args_os().skip(1)).status().context("entering the sandbox")?;
            Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
