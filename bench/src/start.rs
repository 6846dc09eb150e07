//! From the start of a process to its first ssdp:alive on the wire.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use testkit::lab::{Host, Lab};

use crate::events::median;

/// Starts per program.
const STARTS: usize = 9;

/// Median in milliseconds; `start` starts the program on `host`.
pub(crate) fn to_first_alive(lab: &Lab, host: &Host, program: &str, arguments: &[&str]) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let mark = lab.watcher().mark();
        let zero = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock")?;
        let _process = host.start("start", host.command(lab.program(program)).args(arguments))?;
        let frame = lab.watcher().wait_for("ssdp:alive", mark, Duration::from_secs(10), |f| {
            &*f.sender == host.name() && f.says("ssdp:alive")
        })?;
        times.push(frame.at.saturating_sub(zero).as_secs_f64() * 1e3);
    }
    Ok(median(times))
}
