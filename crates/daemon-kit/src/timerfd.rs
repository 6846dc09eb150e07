//! A kernel timer as a future. The one place in this crate with unsafe code: tokio asks us to vouch for the descriptor.
#![expect(unsafe_code, reason = "AsyncFd's constructors are unsafe: they trust that the descriptor stays open")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `TimerFd` offers only `AsFd`, tokio asks for `AsRawFd`.
#[derive(Debug)]
struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A timerfd in the current tokio runtime (timerfd_create(2)).
#[derive(Debug)]
pub(crate) struct Timer(AsyncFd<Descriptor>);

impl Timer {
    pub(crate) fn new(clock: ClockId) -> io::Result<Self> {
        let timer = TimerFd::new(clock, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        // SAFETY: the descriptor is owned by the value handed over, `as_raw_fd` gives always that one, and nothing here
        // closes or replaces it before the `AsyncFd` that owns it is dropped.
        let registered = unsafe { AsyncFd::register_with_interest(Descriptor(timer), Interest::READABLE) };
        Ok(Self(registered?))
    }

    pub(crate) fn set(&self, expiration: Expiration, flags: TimerSetTimeFlags) -> Result<(), Errno> {
        self.0.get_ref().0.set(expiration, flags)
    }

    /// Waits until the timer has expired or was cancelled by a set clock, and takes note of it. Cancel safe.
    pub(crate) async fn expired(&self) -> io::Result<()> {
        self.0.async_io(Interest::READABLE, |timer| timer.0.wait().map_err(io::Error::from)).await
    }
}
