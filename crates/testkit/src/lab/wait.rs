//! Waiting for a condition with a deadline; the lab never sleeps for a fixed time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::limits::POLL_EVERY;

/// Looks at `condition` until it gives a value.
///
/// # Errors
/// After `deadline`, naming `what` was waited for.
pub fn wait_until<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if began.elapsed() >= deadline {
            bail!("{what}: not within {deadline:?}");
        }
        std::thread::sleep(POLL_EVERY);
    }
}
