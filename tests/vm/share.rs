//! How often the last event is out in time on the ways that wait for nobody. There the agent runs a race with the kernel, so that
//! one loss is no failure; which share was won is said at the end of `make vm`.

use std::cell::Cell;

use anyhow::{Result, ensure};

use crate::home::report;

/// How often each case is repeated.
pub(crate) const TIMES: usize = 3;

/// Events that may be lost. Measured: one of 160 suspends, one of 40 power-offs.
const LOST_MAX: usize = 1;

/// Counts one way's events.
#[derive(Debug)]
pub(crate) struct Share {
    order: &'static str,
    told: Cell<usize>,
    of: Cell<usize>,
}

impl Share {
    /// Of the way that begins with `order`.
    pub(crate) fn of(order: &'static str) -> Share {
        Share { order, told: Cell::new(0), of: Cell::new(0) }
    }

    /// One more try, told in time or not.
    ///
    /// # Errors
    /// From the last of [`TIMES`] on, when too many were lost.
    pub(crate) fn count(&self, in_time: bool) -> Result<()> {
        self.told.set(self.told.get() + usize::from(in_time));
        self.of.set(self.of.get() + 1);
        if self.of.get() < TIMES {
            return Ok(());
        }
        let line = format!("{}: told in time {} of {}", self.order, self.told.get(), self.of.get());
        report(&line)?;
        ensure!(self.told.get() + LOST_MAX >= self.of.get(), "{line}");
        Ok(())
    }
}
