//! Memory of a process, from /proc/PID/smaps_rollup.

use anyhow::{Context, Result};

/// Kilobytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident, shared pages included.
    pub(crate) rss: u64,
    /// Resident, shared pages divided among their users.
    pub(crate) pss: u64,
    /// Written to and nobody else's.
    pub(crate) private_dirty: u64,
}

/// What process `pid` has now.
pub(crate) fn of(pid: u32) -> Result<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("reading smaps_rollup")?;
    let field = |name: &str| -> Result<u64> {
        text.lines()
            .find_map(|l| l.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok())
            .with_context(|| format!("no {name}"))
    };
    Ok(Memory { rss: field("Rss:")?, pss: field("Pss:")?, private_dirty: field("Private_Dirty:")? })
}
