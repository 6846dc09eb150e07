//! Calls reboot(2) to power off, where that cannot end the machine: without CAP_SYS_BOOT, or in a PID namespace of its own, where
//! it ends that. Exits with 0 if the call was refused.

use anyhow::{Result, bail, ensure};
use caps::{CapSet, Capability};
use nix::sys::reboot::{RebootMode, reboot};

fn main() -> Result<()> {
    // Process 1 of a namespace ends it, and is always that of a namespace of its own here: the machine's is its init.
    let is_first = std::process::id() == 1;
    let may = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_BOOT)?;
    ensure!(is_first || !may, "this would power the machine off");
    match reboot(RebootMode::RB_POWER_OFF) {
        Err(nix::errno::Errno::EPERM) => Ok(()),
        other => bail!("not refused: {other:?}"),
    }
}
