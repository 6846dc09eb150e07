//! Memory of a process, from /proc/PID/smaps_rollup.

use std::path::Path;

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

/// What its resident pages are, kB: of its own program, of libraries that all programs share, and what it has written.
pub(crate) struct Pages {
    /// Code and constants of the program's file.
    pub(crate) program: u64,
    /// The same of shared libraries.
    pub(crate) libraries: u64,
    /// Heap, stacks, and what was written of the files' data.
    pub(crate) written: u64,
}

/// Of process `pid`.
pub(crate) fn pages_of(pid: u32) -> Result<Pages> {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).context("reading the program's path")?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).context("reading smaps")?;
    let mut pages = Pages { program: 0, libraries: 0, written: 0 };
    let mut file = String::new();
    for line in text.lines() {
        let number = |name: &str| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok();
        if let Some(kb) = number("Rss:") {
            match file.as_str() {
                name if Path::new(name) == program => pages.program += kb,
                name if name.starts_with('/') => pages.libraries += kb,
                _ => pages.written += kb,
            }
        } else if let Some(kb) = number("Anonymous:").filter(|_| file.starts_with('/')) {
            // Written, so no longer the file's.
            let of = if Path::new(&file) == program { &mut pages.program } else { &mut pages.libraries };
            *of -= kb;
            pages.written += kb;
        } else if line.split(' ').next().is_some_and(|range| range.contains('-') && !range.ends_with(':')) {
            file = line.splitn(6, ' ').nth(5).unwrap_or_default().trim().to_owned();
        }
    }
    Ok(pages)
}
