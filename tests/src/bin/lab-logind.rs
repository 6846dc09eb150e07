//! The lab's logind: serves org.freedesktop.login1 and org.freedesktop.systemd1 on the bus of
//! `DBUS_SYSTEM_BUS_ADDRESS` for the machine at the other end of a Unix socket.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use house_tests::logind::{UnitConfig, serve};

/// logind and systemd of a lab host.
#[derive(Debug, Parser)]
struct Arguments {
    /// Socket of the machine, which carries power changes out.
    #[arg(long)]
    hardware: PathBuf,
    /// A unit that can be started: NAME or NAME=PROGRAM ARGUMENT...
    #[arg(long = "unit")]
    units: Vec<UnitConfig>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(serve(&arguments.hardware, arguments.units))
}
