//! Mains and battery (IO), from /sys/class/power_supply (the kernel's Documentation/ABI/testing/sysfs-class-power).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use energy_model::Watts;

use crate::limits::{POWER_SUPPLIES_MAX, SYSFS_VALUE_BYTES_MAX};
use crate::safety::Supply;

/// Where the kernel shows its power supplies.
pub const SYSFS: &str = "/sys/class/power_supply";

/// Reads how the machine is fed. A machine without a battery is on mains; so is one that cannot be read.
pub fn read(sysfs: &Path) -> Supply {
    let Ok(entries) = std::fs::read_dir(sysfs) else { return Supply::default() };
    let (mut mains, mut percent) = (false, None::<u8>);
    let mut battery = false;
    for entry in entries.flatten().take(POWER_SUPPLIES_MAX) {
        let value = |name: &str| value(&entry.path().join(name)).ok();
        // A mouse's battery says nothing about the machine.
        if value("scope").as_deref() == Some("Device") {
            continue;
        }
        match value("type").as_deref() {
            Some("Battery") => {
                battery = true;
                if let Some(charge) = value("capacity").and_then(|v| v.parse().ok()) {
                    percent = Some(percent.map_or(charge, |p| p.min(charge)));
                }
            }
            Some(_) => mains |= value("online").is_some_and(|v| v != "0"),
            None => {}
        }
    }
    Supply { on_battery: battery && !mains, percent }
}

/// Reads a power meter: a file with microwatts (hwmon `powerN_input`), to the nearest watt.
///
/// # Errors
/// No such file, or no number in it.
pub fn read_meter(path: &Path) -> io::Result<Watts> {
    let microwatts = read_number(path)?;
    Ok(Watts::new(u32::try_from((microwatts + 500_000) / 1_000_000).unwrap_or(u32::MAX)))
}

/// Reads a file of sysfs that holds a number.
///
/// # Errors
/// No such file, or no number in it.
pub(crate) fn read_number(path: &Path) -> io::Result<u64> {
    value(path)?.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a number"))
}

fn value(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SYSFS_VALUE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn supply(dir: &Path, name: &str, values: &[(&str, &str)]) {
        fs::create_dir(dir.join(name)).unwrap();
        for (key, value) in values {
            fs::write(dir.join(name).join(key), format!("{value}\n")).unwrap();
        }
    }

    #[test]
    fn mains_that_is_online_beats_any_battery() {
        let dir = tempfile::tempdir().unwrap();
        supply(dir.path(), "BAT0", &[("type", "Battery"), ("capacity", "40")]);
        supply(dir.path(), "BAT1", &[("type", "Battery"), ("capacity", "12")]);
        supply(dir.path(), "hid", &[("type", "Battery"), ("capacity", "1"), ("scope", "Device")]);
        assert_eq!(read(dir.path()), Supply { on_battery: true, percent: Some(12) });
        supply(dir.path(), "AC", &[("type", "Mains"), ("online", "1")]);
        assert!(!read(dir.path()).on_battery);
    }

    #[test]
    fn a_machine_without_supplies_is_on_mains() {
        assert_eq!(read(Path::new("/nonexistent")), Supply::default());
    }

    #[test]
    fn a_meter_is_read_in_microwatts() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("power1_input"), "12499999\n").unwrap();
        assert_eq!(read_meter(&dir.path().join("power1_input")).unwrap(), Watts::new(12));
        fs::write(dir.path().join("power1_input"), "much\n").unwrap();
        assert!(read_meter(&dir.path().join("power1_input")).is_err());
    }
}
