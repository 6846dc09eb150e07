//! The clock chip's wake alarm (IO): brings the machine back at the end of a StandbyPeriod.
//!
//! Through `/sys/class/rtc/rtcN/wakealarm` (the kernel's Documentation/ABI/testing/sysfs-class-rtc). The alarm is written as
//! seconds from now (`+N`), so that it does not matter whether the chip keeps UTC or local time.

use core::time::Duration;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the kernel shows its clocks.
pub const SYSFS: &str = "/sys/class/rtc";

/// A clock with a wake alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtc {
    name: String,
    alarm: PathBuf,
}

impl Rtc {
    /// The clock chosen (`auto`, `none` or its name), if there is one with an alarm.
    pub fn find(choice: &str, sysfs: &Path) -> Option<Self> {
        let with_alarm = |name: String| {
            let alarm = sysfs.join(&name).join("wakealarm");
            alarm.exists().then_some(Self { name, alarm })
        };
        match choice {
            "none" => None,
            "auto" => {
                let entries = fs::read_dir(sysfs).ok()?;
                let mut names: Vec<_> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
                names.sort();
                names.into_iter().find_map(with_alarm)
            }
            name => with_alarm(name.to_owned()),
        }
    }

    /// The kernel's name of the clock, as `rtc0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets the alarm to `ahead` from now, in whole seconds; at least one.
    ///
    /// # Errors
    /// The kernel refuses: no right, or the chip's alarm does not reach so far.
    pub fn arm(&self, ahead: Duration) -> io::Result<()> {
        // An alarm that is set must be cleared before it is set anew (EBUSY).
        self.clear()?;
        fs::write(&self.alarm, format!("+{}\n", ahead.as_secs().max(1)))
    }

    /// Clears the alarm; none set is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn clear(&self) -> io::Result<()> {
        fs::write(&self.alarm, "0\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_clock_with_an_alarm_is_taken_and_armed_from_now() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("rtc0")).unwrap();
        fs::create_dir(dir.path().join("rtc1")).unwrap();
        fs::write(dir.path().join("rtc1/wakealarm"), "").unwrap();
        let rtc = Rtc::find("auto", dir.path()).unwrap();
        assert_eq!(rtc.name(), "rtc1");
        rtc.arm(Duration::from_secs(3600)).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("rtc1/wakealarm")).unwrap(), "+3600\n");
        assert_eq!(Rtc::find("none", dir.path()), None);
        assert_eq!(Rtc::find("rtc0", dir.path()), None, "it has no alarm");
        assert_eq!(Rtc::find("auto", Path::new("/nonexistent")), None);
    }
}
