//! Memory given back to the kernel while a daemon runs.
//!
//! Finding a whole home at once, for example, takes buffers and connections for a moment that the C library would keep for ever, because what is
//! kept of each appliance lies between them. And the code of the start (configuration, migration, tables of names) is a good part of the
//! program: given back, what is needed of it comes again from the page cache.
#![expect(unsafe_code, reason = "mallopt, malloc_trim and madvise are C functions")]

use std::ffi::c_void;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc;

/// Memory is given back at most this often; it takes under a millisecond.
const EVERY: Duration = Duration::from_secs(30);
/// The first time: when the home has been found and subscribed to.
const FIRST: Duration = Duration::from_secs(6);

/// The same where it is given back before the thread goes to sleep: what comes back with it is so little that it pays sooner.
const EVERY_PARKED: Duration = Duration::from_secs(5);

/// Memory is to be given back when the thread has nothing left to do.
static WHEN_PARKED: AtomicBool = AtomicBool::new(false);

/// Free memory left at the end of a heap.
const HEAP_END_BYTES_MAX: libc::c_int = 64 * 1024;

/// Gives memory back from time to time.
#[derive(Debug)]
pub struct Trim {
    next: Duration,
    /// Something has happened since memory was last given back.
    stirred: bool,
    every: Duration,
    parks: bool,
}

impl Trim {
    /// For a daemon that has just started: first after its start has settled. `now` is time since boot (CLOCK_BOOTTIME).
    pub fn new(now: Duration) -> Self {
        Self { next: now + FIRST, stirred: true, every: EVERY, parks: false }
    }

    /// The same, for a daemon whose runtime calls [`when_parked`] before its thread goes to sleep: memory is given back then, so that no
    /// code but that of sleeping itself comes back with it.
    pub fn when_parked(now: Duration) -> Self {
        Self { parks: true, every: EVERY_PARKED, ..Self::new(now) }
    }

    /// When [`Self::turn`] wants to be called though nothing happens: once after the last time that something did.
    pub fn due(&self) -> Option<Duration> {
        self.stirred.then_some(self.next)
    }

    /// Called once a turn: while nothing happens nothing is freed, and nobody is woken for it.
    pub fn turn(&mut self, now: Duration) {
        if now < self.next {
            self.stirred = true;
            return;
        }
        (self.next, self.stirred) = (now + self.every, false);
        if self.parks {
            WHEN_PARKED.store(true, Ordering::Relaxed);
        } else {
            give_back();
        }
    }
}

/// Has free memory at the end of a heap given back at once, in every thread; to be called at the start. malloc_trim(3) does it
/// for the first thread's only, and the limit at which the C library does it by itself grows with what was once taken.
pub fn keep_heaps_short() {
    // SAFETY: mallopt(3) may be called at any time; it takes two numbers.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, HEAP_END_BYTES_MAX) };
}

/// Gives memory back if [`Trim`] has said so: for the runtime to call before its thread goes to sleep.
pub fn when_parked() {
    if WHEN_PARKED.swap(false, Ordering::Relaxed) {
        give_back();
    }
}

/// Gives back what is free now, after something that took much: of every thread's heap, and code.
pub fn give_back() {
    // SAFETY: malloc_trim(3) may be called at any time; it locks the heap itself and touches only what is free.
    unsafe { libc::malloc_trim(0) };
    give_back_code();
}

/// Drops the pages of the code, the program's and the libraries', from its memory.
fn give_back_code() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    for (start, end) in maps.lines().filter_map(code_range) {
        // SAFETY: the range is a private mapping of a file that is executable and not writable, so that no page of it differs
        // from the file; a page dropped is read from the file again when it is needed, also while this very function runs.
        unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
    }
}

/// The addresses of a line of /proc/PID/maps, if it maps code from a file (proc_pid_maps(5)).
fn code_range(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    if permissions != "r-xp" || !fields.nth(3)?.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_that_cannot_have_been_written_to_is_given_back() {
        let line =
            |permissions| format!("55d0c0001000-55d0c0003000 {permissions} 00001000 fe:00 1234   /usr/bin/heg-gateway");
        assert_eq!(code_range(&line("r-xp")), Some((0x55d0_c000_1000, 0x55d0_c000_3000)));
        for other in ["rwxp", "r--p", "rw-p", "r-xs"] {
            assert_eq!(code_range(&line(other)), None, "{other}");
        }
        assert_eq!(code_range("7f00-7f01 r-xp 0 0:0 0 [vdso]"), None);
        assert_eq!(code_range("7f00-7f01 r-xp 0 0:0 0"), None, "made at run time");
        assert_eq!(code_range(""), None);
    }

    #[test]
    fn a_program_goes_on_after_its_code_was_given_back() {
        give_back_code();
        let mut trim = Trim::new(Duration::ZERO);
        trim.turn(EVERY);
        assert_eq!((trim.next, trim.due()), (EVERY * 2, None));
        trim.turn(EVERY + FIRST);
        assert_eq!(trim.due(), Some(EVERY * 2), "something happened: once more");
        let mut parked = Trim::when_parked(Duration::ZERO);
        parked.turn(FIRST);
        assert_eq!(parked.next, FIRST + EVERY_PARKED);
        assert!(WHEN_PARKED.load(Ordering::Relaxed));
        when_parked();
        assert!(!WHEN_PARKED.load(Ordering::Relaxed));
    }
}
