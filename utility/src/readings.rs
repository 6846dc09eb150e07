//! The power system block's readings as text: CSV with the columns `at`, `group` and one for each quantity, `load_w` or `frequency_mhz`.
#![forbid(unsafe_code)]

use jiff::Timestamp;
use utility_wire::UnixTime;

use crate::limits::{FEED_BYTES_MAX, READINGS_MAX};
use crate::rules::{Quantity, Reading};

/// A text that is no table of readings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ReadingsError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads readings, in the order of their times. An empty cell is no reading; `#` begins a comment.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn read(text: &str) -> Result<Vec<Reading>, ReadingsError> {
    let wrong = |line: usize, message: &str| ReadingsError { line, message: message.to_owned() };
    if text.len() > FEED_BYTES_MAX {
        return Err(wrong(1, &format!("there are more than {FEED_BYTES_MAX} bytes")));
    }
    let mut lines = (1..).zip(text.lines()).filter(|(_, l)| !l.trim().is_empty() && !l.trim_start().starts_with('#'));
    let Some((head_line, head)) = lines.next() else { return Ok(Vec::new()) };
    let names: Vec<&str> = head.split(',').map(str::trim).collect();
    let place = |name: &str| names.iter().position(|n| *n == name);
    let (Some(at), Some(group)) = (place("at"), place("group")) else {
        return Err(wrong(head_line, "the head has to name the columns at and group"));
    };
    let quantities: Vec<(usize, Quantity)> = [("load_w", Quantity::Load), ("frequency_mhz", Quantity::Frequency)]
        .into_iter()
        .filter_map(|(name, quantity)| Some((place(name)?, quantity)))
        .collect();
    if quantities.is_empty() {
        return Err(wrong(head_line, "the head has to name a column load_w or frequency_mhz"));
    }
    let mut readings = Vec::new();
    for (line, text) in lines {
        let cells: Vec<&str> = text.split(',').map(str::trim).collect();
        if cells.len() != names.len() {
            return Err(wrong(line, &format!("there are {} columns, the head has {}", cells.len(), names.len())));
        }
        let time: Timestamp =
            cells[at].parse().map_err(|_| wrong(line, "expected a time as 2026-11-22T17:15:00+01:00 or ...Z"))?;
        let time = u64::try_from(time.as_second()).map_err(|_| wrong(line, "a time before 1970"))?;
        let group = cells[group].parse().map_err(|e| wrong(line, &format!("group: {e}")))?;
        for &(place, quantity) in quantities.iter().filter(|(place, _)| !cells[*place].is_empty()) {
            let value = cells[place].parse().map_err(|_| wrong(line, "expected a whole number of W or mHz"))?;
            if readings.len() >= READINGS_MAX {
                return Err(wrong(line, &format!("there are more than {READINGS_MAX} readings")));
            }
            readings.push(Reading {
                at: UnixTime::new(time),
                group: utility_wire::ZoneId::clone(&group),
                quantity,
                value,
            });
        }
    }
    readings.sort_by_key(|r| r.at);
    Ok(readings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_of_several_quantities_come_in_the_order_of_their_times() {
        let text = "# from the control room\nat,group,load_w,frequency_mhz\n2027-01-15T08:01:00Z,north,951000,\n2027-01-15T09:00:00+01:00,north,-5,49990\n";
        let read: Vec<_> = read(text).unwrap().into_iter().map(|r| (r.at.seconds(), r.quantity, r.value)).collect();
        let at = 1_800_000_000;
        assert_eq!(
            read,
            [(at, Quantity::Load, -5), (at, Quantity::Frequency, 49_990), (at + 60, Quantity::Load, 951_000)]
        );
    }

    #[test]
    fn what_is_no_table_of_readings_is_refused_with_its_line() {
        assert_eq!(read("").unwrap(), []);
        for (text, want) in [
            ("group,load_w\n", "line 1: the head has to name the columns at and group"),
            ("at,group\n", "line 1: the head has to name a column load_w or frequency_mhz"),
            ("at,group,load_w\nnow,north,1\n", "line 2: expected a time"),
            ("at,group,load_w\n2027-01-15T08:00:00Z,no rth,1\n", "line 2: group: expected 1 to 64"),
            ("at,group,load_w\n\n2027-01-15T08:00:00Z,north,1.5\n", "line 3: expected a whole number"),
            ("at,group,load_w\n2027-01-15T08:00:00Z,north\n", "line 2: there are 2 columns, the head has 3"),
        ] {
            assert!(read(text).unwrap_err().to_string().starts_with(want), "{text:?}: {}", read(text).unwrap_err());
        }
    }
}
