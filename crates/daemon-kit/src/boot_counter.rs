//! A number that grows at every start: BOOTID.UPNP.ORG (UDA 1.1, 1.2.2), 31 bits, not negative.

use std::path::Path;

use crate::clock;
use crate::limits::SMALL_FILE_BYTES_MAX;
use crate::state_dir::{StateError, read_bounded, write_atomically};

/// File in the state directory.
pub const FILE: &str = "boot-counter";

/// Largest value; after it comes 1.
pub const MAX: u32 = 0x7fff_ffff;

/// The number of this start: one more than the last used. The first is 1. A damaged file is healed by the seconds since
/// 1970, which are more than any number counted up so far; the loss is logged.
pub fn next(dir: &Path) -> Result<u32, StateError> {
    let path = dir.join(FILE);
    let bytes = read_bounded(&path, SMALL_FILE_BYTES_MAX).or_else(|error| match error {
        StateError::TooLarge { .. } => Ok(Some(Vec::new())),
        error => Err(error),
    })?;
    let last = match bytes {
        None => 0,
        Some(bytes) => std::str::from_utf8(&bytes).ok().and_then(|s| s.trim_end().parse().ok()).unwrap_or_else(|| {
            let seconds = clock::wall().as_second().clamp(0, i64::from(MAX)) as u32;
            tracing::warn!(path = %path.display(), seconds, "boot counter damaged, goes on from the clock");
            seconds
        }),
    };
    let number = if last >= MAX { 1 } else { last + 1 };
    record(dir, number)?;
    Ok(number)
}

/// Keeps a number used since, so that the next start's is greater: a device also raises it while it runs, when its
/// address changes and after sleep.
pub fn record(dir: &Path, number: u32) -> Result<(), StateError> {
    write_atomically(&dir.join(FILE), format!("{number}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_start_has_a_greater_number_also_after_it_rose_while_running() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!((next(dir.path()).unwrap(), next(dir.path()).unwrap()), (1, 2));
        record(dir.path(), 40).unwrap();
        assert_eq!(next(dir.path()).unwrap(), 41);
        record(dir.path(), MAX).unwrap();
        assert_eq!(next(dir.path()).unwrap(), 1);
    }

    #[test]
    fn a_damaged_counter_goes_on_above_all_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        for damaged in [String::new(), "x".to_owned(), "1".repeat(300)] {
            fs::write(dir.path().join(FILE), damaged).unwrap();
            assert!(next(dir.path()).unwrap() > 1_000_000_000);
        }
    }
}
