//! The clock chip's wake alarm (IO): brings the machine back at the end of a StandbyPeriod.
//!
//! Through `/sys/class/rtc/rtcN/wakealarm` (the kernel's Documentation/ABI/testing/sysfs-class-rtc). The alarm is written as
//! seconds from now (`+N`), so that it does not matter whether the chip keeps UTC or local time.
//!
//! The chip has one alarm, and others may use it too (rtcwake): one that rings sooner is left, and only our own is cleared.

use core::time::Duration;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::supply;

/// Where the kernel shows its clocks.
pub const SYSFS: &str = "/sys/class/rtc";

/// A clock with a wake alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtc {
    name: String,
    alarm: PathBuf,
    /// Its time now, seconds, on the scale of its alarm.
    time: PathBuf,
    /// The alarm that is set is ours.
    is_ours: bool,
}

impl Rtc {
    /// The clock chosen (`auto`, `none` or its name), if there is one with an alarm.
    pub fn find(choice: &str, sysfs: &Path) -> Option<Self> {
        let with_alarm = |name: String| {
            let alarm = sysfs.join(&name).join("wakealarm");
            let time = sysfs.join(&name).join("since_epoch");
            alarm.exists().then_some(Self { name, alarm, time, is_ours: false })
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

    /// Sets the alarm to `ahead` from now, in whole seconds; at least one. False if another's rings before and is left.
    ///
    /// # Errors
    /// The kernel refuses: no right, or the chip's alarm does not reach so far.
    pub fn arm(&mut self, ahead: Duration) -> io::Result<bool> {
        if !self.is_ours && self.rings_in().is_some_and(|rings| rings <= ahead) {
            return Ok(false);
        }
        // An alarm that is set must be cleared before it is set anew (EBUSY).
        fs::write(&self.alarm, "0\n")?;
        fs::write(&self.alarm, format!("+{}\n", ahead.as_secs().max(1)))?;
        self.is_ours = true;
        Ok(true)
    }

    /// Clears the alarm if we set it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn clear(&mut self) -> io::Result<()> {
        if core::mem::take(&mut self.is_ours) {
            fs::write(&self.alarm, "0\n")?;
        }
        Ok(())
    }

    /// When the alarm that is set rings.
    fn rings_in(&self) -> Option<Duration> {
        let seconds = |path: &Path| supply::read_number(path).ok();
        seconds(&self.alarm)?.checked_sub(seconds(&self.time)?).map(Duration::from_secs)
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
        let mut rtc = Rtc::find("auto", dir.path()).unwrap();
        assert_eq!(rtc.name(), "rtc1");
        assert!(rtc.arm(Duration::from_secs(3600)).unwrap());
        assert_eq!(fs::read_to_string(dir.path().join("rtc1/wakealarm")).unwrap(), "+3600\n");
        assert_eq!(Rtc::find("none", dir.path()), None);
        assert_eq!(Rtc::find("rtc0", dir.path()), None, "it has no alarm");
        assert_eq!(Rtc::find("auto", Path::new("/nonexistent")), None);
    }

    #[test]
    fn anothers_alarm_is_left_where_it_rings_sooner_and_only_our_own_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join("rtc0").join(name);
        fs::create_dir(dir.path().join("rtc0")).unwrap();
        fs::write(file("since_epoch"), "1000\n").unwrap();
        fs::write(file("wakealarm"), "1060\n").unwrap();
        let mut rtc = Rtc::find("rtc0", dir.path()).unwrap();
        assert!(!rtc.arm(Duration::from_secs(3600)).unwrap());
        rtc.clear().unwrap();
        assert_eq!(fs::read_to_string(file("wakealarm")).unwrap(), "1060\n");
        assert!(rtc.arm(Duration::from_secs(30)).unwrap(), "ours is sooner");
        assert_eq!(fs::read_to_string(file("wakealarm")).unwrap(), "+30\n");
        rtc.clear().unwrap();
        assert_eq!(fs::read_to_string(file("wakealarm")).unwrap(), "0\n");
    }
}
