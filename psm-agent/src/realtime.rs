//! Real-time priority for the moment it is needed (IO).
//!
//! The thread that waits for the probe runs at it all the time and does next to nothing. The main loop is lifted to it by that
//! thread, with the kernel's event, and comes down once the last event is out: at all other times it serves whoever asks, and a
//! flood of requests must not take the processor from the appliance's work.
#![expect(unsafe_code, reason = "sched_setscheduler is a C function")]

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::libc;

/// SCHED_FIFO, 1 to 99. Below the kernel's interrupt threads (50), which carry the packets; above all that is not real time.
const PRIORITY: libc::c_int = 20;
/// One step above the thread that wakes it: at the same step the kernel would look for another processor for it, and find the one
/// that is suspending the machine, which it gives up to nobody before it freezes everything.
const LIFTED: libc::c_int = PRIORITY + 1;

/// The main loop's priority. Shared by the thread that raises it and the loop that lowers it.
#[derive(Debug)]
pub struct MainLoop {
    thread: libc::pid_t,
    /// Held over the call too, so that what is noted is what was done last.
    raised: Mutex<bool>,
}

impl MainLoop {
    /// The main thread of this process, at its usual priority.
    pub fn of_this_process() -> Self {
        Self { thread: nix::unistd::getpid().as_raw(), raised: Mutex::new(false) }
    }

    /// Lifts it, where that is allowed; where not, it goes on as it is.
    pub fn raise(&self) {
        let mut raised = self.raised();
        *raised = *raised || set(self.thread, libc::SCHED_FIFO, LIFTED).is_ok();
    }

    /// Puts it back.
    pub fn lower(&self) {
        let mut raised = self.raised();
        if *raised {
            match set(self.thread, libc::SCHED_OTHER, 0) {
                Ok(()) => *raised = false,
                Err(error) => tracing::debug!(%error, "main loop stays at real-time priority for now"),
            }
        }
    }

    fn raised(&self) -> MutexGuard<'_, bool> {
        // Nothing is left half done in it.
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the calling thread at real-time priority. What it starts begins at the usual one.
///
/// # Errors
/// Not allowed: neither CAP_SYS_NICE nor a limit (RLIMIT_RTPRIO) that reaches so far.
pub fn enter() -> io::Result<()> {
    set(0, libc::SCHED_FIFO, PRIORITY)
}

fn set(thread: libc::pid_t, policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    // With every policy: once set, only a privileged process may take it back.
    let policy = policy | libc::SCHED_RESET_ON_FORK;
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: `parameters` lives for the call; a thread that is gone is an error of the call's.
    match unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
