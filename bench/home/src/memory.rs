//! Memory of this process.

use anyhow::{Context, Result};

/// What is resident now, kB.
pub(crate) fn resident_kb() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").context("reading smaps_rollup")?;
    let field = text.lines().find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    field.context("no Rss")
}
