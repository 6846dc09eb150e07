//! SIGTERM, SIGINT and SIGHUP as events of the daemon's loop.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What somebody asks the daemon to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: drain and end.
    Terminate,
    /// SIGINT: the same, from a terminal.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// Catches the signals from its making on.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    reload: Stream,
}

impl Signals {
    /// Takes over the three signals; from now on they no longer end the process. In a tokio runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next; the same one several times before the call is one. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            Some(()) = self.terminate.recv() => Signal::Terminate,
            Some(()) = self.interrupt.recv() => Signal::Interrupt,
            Some(()) = self.reload.recv() => Signal::Reload,
            // Only when the runtime is going down.
            else => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal as Number, raise};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn each_signal_comes_as_its_event() {
        let mut signals = Signals::new().unwrap();
        for (number, event) in [
            (Number::SIGHUP, Signal::Reload),
            (Number::SIGTERM, Signal::Terminate),
            (Number::SIGHUP, Signal::Reload),
            (Number::SIGINT, Signal::Interrupt),
        ] {
            raise(number).unwrap();
            assert_eq!(signals.next().await, event);
        }
    }
}
