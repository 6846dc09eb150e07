//! Capabilities (IO): given up thread by thread once they are not needed any more.
//!
//! As root a process has them all; a service has what its unit leaves it. Each thread has its own set. The main thread gives up
//! at its start what only loading the probe takes, and the thread that loads it ends then. Commands of the
//! operation driver are programs of their own: as root they get what the unit's bounding set holds.
//!
//! The right to read and write what belongs to others is not kept, also by root: files of the agent's must be its own user's.

use caps::{CapSet, Capability, CapsHashSet};

/// Of the main thread: Wake-on-LAN is armed (CAP_NET_ADMIN), the priority comes back down and that of children is set
/// (CAP_SYS_NICE), and a port below 1024 is bound again when addresses change (CAP_NET_BIND_SERVICE).
pub const MAIN: &[Capability] =
    &[Capability::CAP_NET_ADMIN, Capability::CAP_SYS_NICE, Capability::CAP_NET_BIND_SERVICE];

/// Of the thread that reads the probe's records: it lifts the main loop's priority.
pub const READER: &[Capability] = &[Capability::CAP_SYS_NICE];

/// Leaves the calling thread, of what it has, only `needed`.
///
/// # Errors
/// The kernel refuses, as some sandboxes do.
pub fn keep(needed: &[Capability]) -> Result<(), caps::errors::CapsError> {
    let have = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = have.into_iter().filter(|c| needed.contains(c)).collect();
    // In this order: what is inherited or in effect may not exceed what is permitted.
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_what_it_needs_of_what_it_has_and_other_threads_keep_theirs() {
        let before = caps::read(None, CapSet::Permitted).unwrap();
        let after = std::thread::spawn(|| {
            keep(MAIN).unwrap();
            [CapSet::Permitted, CapSet::Effective, CapSet::Inheritable].map(|set| caps::read(None, set).unwrap())
        });
        let [permitted, effective, inheritable] = after.join().unwrap();
        let wanted: CapsHashSet = before.iter().copied().filter(|c| MAIN.contains(c)).collect();
        assert_eq!((permitted, effective, inheritable), (wanted.clone(), wanted, CapsHashSet::new()));
        assert_eq!(caps::read(None, CapSet::Permitted).unwrap(), before);
    }
}
