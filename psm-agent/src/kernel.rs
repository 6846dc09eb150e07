//! What the kernel's records mean (PURE).
//!
//! In: [`Record`]s of the probe. Out: [`Fact`]s with the [`Deed`] behind them. The order of a suspend, as the kernel traces it:
//!
//! | record | meaning here |
//! |---|---|
//! | `suspend_enter` begins | sleep begins; file systems are synced, processes still run |
//! | `freeze_processes` begins | sleep begins, if it had not; from now on this process may stop at any moment |
//! | `suspend_enter` ends, `machine_suspend` | nothing new; the second repeats within one suspend to idle |
//! | `thaw_processes` begins or ends | the sleep is over, or was called off while it began |
//! | `pm_suspend` or `hibernate` returns | the same, also where it failed before anything was frozen |
//!
//! The last line and the beginning of a hibernation need kprobes. Hibernation tells of itself by the one on `hibernate` and by `machine_suspend`, and ends with the same thaw; a hybrid sleep
//! is a hibernation that suspends instead of powering off. `machine_suspend` ends without a thaw in a suspend to idle that goes
//! on, so its end is never a waking.
#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;

use psm_event::{COMM_BYTES, Kind, RebootCommand, Record};
use serde::{Serialize, Serializer};
use upnp::time::BootTime;

use crate::state::{Fact, Observation, Source};

/// The process that writes to /sys/power/state for logind.
const LOGINDS_OWN: &[u8] = b"systemd-sleep";
/// PID 1 hands over to a program of this name (cut at 15 bytes), which makes the last call.
const SHUTDOWN: &[u8] = b"systemd-shutdow";

/// What was asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Suspend to idle (`freeze`).
    SuspendToIdle,
    /// The shallow standby of some firmware (`standby`).
    Standby,
    /// Suspend to memory (`mem`).
    SuspendToMemory,
    /// Hibernation (`disk`), hybrid sleep included.
    Hibernate,
    /// Power off.
    PowerOff,
    /// Restart.
    Restart,
    /// Halt, power on.
    Halt,
    /// Another kernel takes over.
    Kexec,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SuspendToIdle => "suspend to idle",
            Self::Standby => "standby",
            Self::SuspendToMemory => "suspend to memory",
            Self::Hibernate => "hibernation",
            Self::PowerOff => "power off",
            Self::Restart => "restart",
            Self::Halt => "halt",
            Self::Kexec => "kexec",
        })
    }
}

/// What a process asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deed {
    /// What; none for a thaw.
    pub action: Option<Action>,
    /// The process, as the initial PID namespace counts.
    pub pid: u32,
    comm: [u8; COMM_BYTES],
}

impl Deed {
    /// Whether it was logind's doing: its own program suspends, and PID 1's hands the machine down.
    pub fn is_by_logind(&self) -> bool {
        [LOGINDS_OWN, SHUTDOWN].contains(&self.name())
    }

    fn name(&self) -> &[u8] {
        self.comm.split(|b| *b == 0).next().unwrap_or_default()
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = |f: &mut fmt::Formatter<'_>| match self.action {
            Some(action) => write!(f, "{action}"),
            None => f.write_str("waking"),
        };
        if self.is_by_logind() {
            return action(f).and_then(|()| f.write_str(" through logind"));
        }
        f.write_str("direct, ")?;
        action(f)?;
        // A name is whatever a program calls itself: nothing of it steers a terminal.
        write!(f, " by {} (pid {})", self.name().escape_ascii(), self.pid)
    }
}

impl Serialize for Deed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The fact a record tells; none where it tells nothing new.
pub fn fact(record: &Record) -> Option<Fact> {
    let begins = record.begins == 1;
    let (what, action) = match record.kind()? {
        Kind::SuspendEnter | Kind::FreezeProcesses | Kind::MachineSuspend if !begins => return None,
        // Only these two name the state that is entered.
        Kind::SuspendEnter | Kind::MachineSuspend => (Observation::SleepBegins, sleep(record.value)),
        Kind::FreezeProcesses => (Observation::SleepBegins, None),
        Kind::Hibernate => (Observation::SleepBegins, Some(Action::Hibernate)),
        Kind::ThawProcesses | Kind::SleepOver => (Observation::SleepEnds, None),
        Kind::Reboot => (Observation::ShutdownBegins, reboot(record.value)),
        Kind::RebootFailed => (Observation::ShutdownCancelled, None),
        Kind::PowerOff => (Observation::ShutdownBegins, Some(Action::PowerOff)),
        Kind::Restart => (Observation::ShutdownBegins, Some(Action::Restart)),
        Kind::Halt => (Observation::ShutdownBegins, Some(Action::Halt)),
        Kind::Kexec => (Observation::ShutdownBegins, Some(Action::Kexec)),
    };
    Some(Fact {
        at: BootTime::from_duration(Duration::from_nanos(record.boot_ns)),
        source: Source::Kernel,
        what,
        deed: Some(Deed { action, pid: record.pid, comm: record.comm }),
    })
}

/// suspend_state_t of linux/suspend.h; hibernation gives its own events (PM_EVENT_FREEZE and others) instead.
fn sleep(state: u32) -> Option<Action> {
    Some(match state {
        1 => Action::SuspendToIdle,
        2 => Action::Standby,
        3 => Action::SuspendToMemory,
        _ => Action::Hibernate,
    })
}

fn reboot(command: u32) -> Option<Action> {
    Some(match RebootCommand::of(command)? {
        RebootCommand::PowerOff => Action::PowerOff,
        RebootCommand::Restart | RebootCommand::RestartWith => Action::Restart,
        RebootCommand::Halt => Action::Halt,
        RebootCommand::Kexec => Action::Kexec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: Kind, begins: u16, value: u32, name: &str) -> Record {
        let mut comm = [0; COMM_BYTES];
        comm[..name.len()].copy_from_slice(name.as_bytes());
        Record { boot_ns: 5_000_000, kind: kind as u16, begins, value, pid: 812, comm, lost: 0 }
    }

    fn told(kind: Kind, begins: u16, value: u32, name: &str) -> Option<(Observation, String)> {
        fact(&record(kind, begins, value, name)).map(|f| (f.what, f.deed.map(|d| d.to_string()).unwrap_or_default()))
    }

    #[test]
    fn a_suspend_is_told_with_who_did_it_and_how_deep() {
        use Observation::*;
        for (state, words) in [(1, "suspend to idle"), (2, "standby"), (3, "suspend to memory"), (0x402, "hibernation")]
        {
            let text = format!("direct, {words} by rtcwake (pid 812)");
            assert_eq!(told(Kind::SuspendEnter, 1, state, "rtcwake"), Some((SleepBegins, text)));
        }
        let by_logind = "suspend to memory through logind".to_owned();
        assert_eq!(told(Kind::SuspendEnter, 1, 3, "systemd-sleep"), Some((SleepBegins, by_logind)));
        assert_eq!(fact(&record(Kind::SuspendEnter, 1, 3, "sh")).unwrap().at.since_boot(), Duration::from_millis(5));
    }

    #[test]
    fn only_a_thaw_is_a_waking() {
        for kind in [Kind::SuspendEnter, Kind::FreezeProcesses, Kind::MachineSuspend] {
            assert_eq!(told(kind, 0, 3, "sh"), None, "{kind:?} ends while the machine sleeps");
            assert_eq!(told(kind, 1, 3, "sh").map(|t| t.0), Some(Observation::SleepBegins), "{kind:?}");
        }
        for (kind, begins) in [(Kind::ThawProcesses, 1), (Kind::ThawProcesses, 0), (Kind::SleepOver, 0)] {
            assert_eq!(told(kind, begins, 0, "sh").map(|t| t.0), Some(Observation::SleepEnds));
        }
    }

    #[test]
    fn power_off_restart_halt_and_kexec_are_told_apart() {
        for (command, kind, words) in [
            (0x4321_fedc, Kind::PowerOff, "power off"),
            (0x0123_4567, Kind::Restart, "restart"),
            (0xa1b2_c3d4, Kind::Restart, "restart"),
            (0xcdef_0123, Kind::Halt, "halt"),
            (0x4558_4543, Kind::Kexec, "kexec"),
        ] {
            let text = format!("direct, {words} by poweroff (pid 812)");
            assert_eq!(told(Kind::Reboot, 1, command, "poweroff"), Some((Observation::ShutdownBegins, text.clone())));
            assert_eq!(told(kind, 1, 0, "poweroff"), Some((Observation::ShutdownBegins, text)));
        }
        let by_systemd = told(Kind::Reboot, 1, 0x4321_fedc, "systemd-shutdow");
        assert_eq!(by_systemd.map(|t| t.1), Some("power off through logind".to_owned()));
        assert_eq!(told(Kind::RebootFailed, 0, 1, "sh").map(|t| t.0), Some(Observation::ShutdownCancelled));
    }

    #[test]
    fn a_hybrid_sleep_is_one_hibernation_with_one_end() {
        use Observation::*;
        // PM_EVENT_HIBERNATE, as create_image traces it; then the image is kept in memory that is suspended.
        let records = [
            (Kind::Hibernate, 1, 0),
            (Kind::MachineSuspend, 1, 4),
            (Kind::MachineSuspend, 0, 4),
            (Kind::MachineSuspend, 1, 3),
            (Kind::MachineSuspend, 0, 3),
            (Kind::ThawProcesses, 1, 0),
            (Kind::ThawProcesses, 0, 0),
            (Kind::SleepOver, 0, 0),
        ];
        let told: Vec<_> =
            records.iter().filter_map(|(kind, begins, value)| told(*kind, *begins, *value, "systemd-sleep")).collect();
        assert_eq!(told[0], (SleepBegins, "hibernation through logind".to_owned()));
        let what: Vec<_> = told.iter().map(|t| t.0).collect();
        assert_eq!(what, [SleepBegins, SleepBegins, SleepBegins, SleepEnds, SleepEnds, SleepEnds]);
    }

    #[test]
    fn a_programs_name_steers_no_terminal() {
        let (_, text) = told(Kind::SuspendEnter, 1, 3, "a\x1b[2Jb").unwrap();
        assert_eq!(text, "direct, suspend to memory by a\\x1b[2Jb (pid 812)");
    }
}
