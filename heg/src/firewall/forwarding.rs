//! Forwarding, switched off where a router has no rules and on again with them. IO.
//!
//! A router without rules would let the Internet through to the home. What was on is noted below `/run` first, so that whoever
//! puts the rules in place later, baseline or daemon, knows that it was us who switched it off. A reboot forgets it.

use std::io;
use std::path::PathBuf;

use daemon_kit::state_dir;

use crate::limits::FORWARDING_NOTE_BYTES_MAX;

/// Where the kernel is told to forward, IPv4 and IPv6.
const SWITCHES: [&str; 2] = ["proc/sys/net/ipv4/ip_forward", "proc/sys/net/ipv6/conf/all/forwarding"];
/// What was on: a line for each switch, its path and value. The unit's RuntimeDirectory.
const NOTE: &str = "run/heg-firewall/forwarding";

/// The switches and the note below a root directory.
#[derive(Clone, Debug)]
pub struct Forwarding {
    root: PathBuf,
}

impl Default for Forwarding {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

impl Forwarding {
    /// Whether the kernel forwards, in either family.
    pub fn is_on(&self) -> bool {
        SWITCHES.iter().any(|switch| self.value(switch).is_some())
    }

    /// Whether it is off because of us.
    pub fn is_held(&self) -> bool {
        !self.noted().is_empty()
    }

    /// Switches it off and notes what was on. True if something was.
    ///
    /// # Errors
    /// It could not be switched off, or not be noted; it is switched off as far as that goes.
    pub fn hold(&self) -> io::Result<bool> {
        let on: Vec<_> = SWITCHES.iter().filter_map(|switch| Some((*switch, self.value(switch)?))).collect();
        if on.is_empty() {
            return Ok(false);
        }
        let mut held = self.noted();
        held.retain(|(switch, _)| on.iter().all(|(other, _)| other != switch));
        let note: String = held.iter().chain(&on).map(|(switch, value)| format!("{switch} {value}\n")).collect();
        let noted = self.note(&note);
        for (switch, _) in on {
            std::fs::write(self.root.join(switch), "0")?;
        }
        noted.map(|()| true)
    }

    /// Switches on again what [`Self::hold`] switched off. True if there was something.
    ///
    /// # Errors
    /// It could not be; the note stays.
    pub fn release(&self) -> io::Result<bool> {
        let held = self.noted();
        for (switch, value) in &held {
            // Who has switched it on meanwhile knows better which of them.
            if self.value(switch).is_none() {
                std::fs::write(self.root.join(switch), value.to_string())?;
            }
        }
        match std::fs::remove_file(self.root.join(NOTE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(!held.is_empty()),
        }
    }

    /// The value of a switch that is on.
    fn value(&self, switch: &str) -> Option<u8> {
        let text = std::fs::read_to_string(self.root.join(switch)).ok()?;
        text.trim().parse().ok().filter(|value| *value != 0)
    }

    fn note(&self, text: &str) -> io::Result<()> {
        let path = self.root.join(NOTE);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        state_dir::write_atomically(&path, text.as_bytes()).map_err(io::Error::other)
    }

    fn noted(&self) -> Vec<(&'static str, u8)> {
        let bytes = state_dir::read_bounded(&self.root.join(NOTE), FORWARDING_NOTE_BYTES_MAX);
        let text = String::from_utf8(bytes.ok().flatten().unwrap_or_default()).unwrap_or_default();
        let entry = |line: &str| {
            let (switch, value) = line.split_once(' ')?;
            let switch = SWITCHES.into_iter().find(|known| *known == switch)?;
            // 2 is IPv6's "forward and still listen to routers".
            Some((switch, value.parse().ok().filter(|value| (1..=2).contains(value))?))
        };
        text.lines().filter_map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_on_comes_on_again_and_what_was_off_stays_off() {
        let dir = tempfile::tempdir().unwrap();
        let (v4, v6) = (dir.path().join(SWITCHES[0]), dir.path().join(SWITCHES[1]));
        for path in [&v4, &v6] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        let set = |a: &str, b: &str| {
            std::fs::write(&v4, a).unwrap();
            std::fs::write(&v6, b).unwrap();
        };
        let values = || [&v4, &v6].map(|p| std::fs::read_to_string(p).unwrap().trim().to_owned());
        let forwarding = Forwarding { root: dir.path().to_owned() };

        set("0\n", "0\n");
        assert!(!forwarding.hold().unwrap() && !forwarding.release().unwrap() && !forwarding.is_on());
        set("1\n", "0\n");
        assert!(forwarding.hold().unwrap() && !forwarding.is_on() && forwarding.is_held());
        assert!(!forwarding.hold().unwrap(), "a second failure forgets nothing");
        // Another program switches IPv6 on while there are no rules.
        std::fs::write(&v6, "2\n").unwrap();
        assert!(forwarding.hold().unwrap() && !forwarding.is_on());
        assert!(forwarding.release().unwrap() && !forwarding.is_held());
        assert_eq!(values(), ["1", "2"]);
        set("0\n", "0\n");
        assert!(!forwarding.release().unwrap(), "switched off by a person after that");
        assert_eq!(values(), ["0", "0"]);
        std::fs::write(dir.path().join(NOTE), "etc/passwd 1\nproc/sys/net/ipv4/ip_forward 7\nnonsense\n").unwrap();
        forwarding.release().unwrap();
        assert_eq!(values(), ["0", "0"]);
    }
}
