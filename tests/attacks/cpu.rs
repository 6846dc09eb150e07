//! What an attempt costs: processor time of this thread, and of a daemon.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Processor time of this thread so far.
pub(crate) fn of_thread() -> Duration {
    time(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time of a process so far, all its threads.
pub(crate) fn of_process(pid: u32) -> Duration {
    let pid = Pid::from_raw(pid.try_into().expect("a process number"));
    time(clock_getcpuclockid(pid).expect("a running process"))
}

fn time(clock: ClockId) -> Duration {
    let time: TimeSpec = clock_gettime(clock).expect("a clock of this system");
    time.into()
}

/// What it takes this thread to do `work` once, in microseconds: the mean of `times`.
pub(crate) fn micros(times: u32, mut work: impl FnMut()) -> f64 {
    let began = of_thread();
    (0..times).for_each(|_| work());
    (of_thread() - began).as_secs_f64() * 1e6 / f64::from(times)
}
