//! The record in which the kernel probe tells the agent of a change of power state.
//!
//! [`Record`] is what `psm-ebpf` writes into the ring buffer and the agent reads: 40 bytes, native byte order, the layout
//! asserted below for both sides. The probe fills it in place; the agent takes it apart with [`Record::from_bytes`], which
//! believes nothing: the object that is loaded is a file and may be of another version.
#![no_std]
#![forbid(unsafe_code)]

use core::mem::{align_of, offset_of, size_of};

/// One event of the kernel's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, nanoseconds on CLOCK_BOOTTIME.
    pub boot_ns: u64,
    /// What, as in [`Kind`].
    pub kind: u16,
    /// 1: it begins; 0: it ends, or has no duration.
    pub begins: u16,
    /// Of suspend events the target state (PM_SUSPEND_TO_IDLE 1, STANDBY 2, MEM 3; others for hibernation), of reboot(2) the
    /// command as in [`RebootCommand`], of its failure the negative errno, else 0.
    pub value: u32,
    /// Process (thread group) in whose context it happened, as the initial PID namespace counts.
    pub pid: u32,
    /// Its name as in /proc/PID/comm: at most 15 bytes and a zero.
    pub comm: [u8; COMM_BYTES],
    /// Records lost before this one, because the ring buffer was full; since loading, and over again after 2^32.
    pub lost: u32,
}

/// Bytes of a process' name (TASK_COMM_LEN).
pub const COMM_BYTES: usize = 16;
/// Bytes of a [`Record`].
pub const RECORD_BYTES: usize = size_of::<Record>();

const _: () = {
    assert!(size_of::<Record>() == 40);
    assert!(align_of::<Record>() == 8 || align_of::<u64>() < 8);
    assert!(offset_of!(Record, boot_ns) == 0);
    assert!(offset_of!(Record, kind) == 8);
    assert!(offset_of!(Record, begins) == 10);
    assert!(offset_of!(Record, value) == 12);
    assert!(offset_of!(Record, pid) == 16);
    assert!(offset_of!(Record, comm) == 20);
    assert!(offset_of!(Record, lost) == 36);
};

/// What happened. The numbers are part of the layout: one is never used again for something else.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The kernel enters or has prepared a suspend (`suspend_enter`): begins before file systems are synced, ends once all
    /// processes are frozen.
    SuspendEnter = 1,
    /// The machine itself sleeps (`machine_suspend`); several times within one suspend to idle.
    MachineSuspend = 2,
    /// Processes are being frozen (`freeze_processes`).
    FreezeProcesses = 3,
    /// Processes are being thawed (`thaw_processes`): the sleep is over, or did not come about.
    ThawProcesses = 4,
    /// reboot(2) was called by root with a command that ends the system.
    Reboot = 5,
    /// That call came back with an error.
    RebootFailed = 6,
    /// The kernel powers the machine off (`kernel_power_off`), whoever asked.
    PowerOff = 7,
    /// The kernel restarts the machine (`kernel_restart`).
    Restart = 8,
    /// The kernel halts the machine (`kernel_halt`).
    Halt = 9,
    /// The kernel starts another one (`kernel_kexec`).
    Kexec = 10,
    /// The kernel begins to hibernate (`hibernate`).
    Hibernate = 11,
    /// Its order to sleep is over: `pm_suspend` or `hibernate` returns, also where nothing came of it.
    SleepOver = 12,
}

impl Kind {
    /// The kind of a number.
    pub const fn of(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::SuspendEnter,
            2 => Self::MachineSuspend,
            3 => Self::FreezeProcesses,
            4 => Self::ThawProcesses,
            5 => Self::Reboot,
            6 => Self::RebootFailed,
            7 => Self::PowerOff,
            8 => Self::Restart,
            9 => Self::Halt,
            10 => Self::Kexec,
            11 => Self::Hibernate,
            12 => Self::SleepOver,
            _ => return None,
        })
    }
}

/// Commands of reboot(2) that end the running system (linux/reboot.h). CAD_ON (0x89abcdef) and CAD_OFF (0) only say what
/// ctrl-alt-del does, and SW_SUSPEND (0xd000fce2) hibernates, which the kernel tells by itself.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebootCommand {
    /// LINUX_REBOOT_CMD_RESTART
    Restart = 0x0123_4567,
    /// LINUX_REBOOT_CMD_HALT
    Halt = 0xcdef_0123,
    /// LINUX_REBOOT_CMD_POWER_OFF
    PowerOff = 0x4321_fedc,
    /// LINUX_REBOOT_CMD_RESTART2: with a word for the firmware.
    RestartWith = 0xa1b2_c3d4,
    /// LINUX_REBOOT_CMD_KEXEC
    Kexec = 0x4558_4543,
}

impl RebootCommand {
    /// The command of a number; none for one that does not end the system.
    pub const fn of(number: u32) -> Option<Self> {
        Some(match number {
            0x0123_4567 => Self::Restart,
            0xcdef_0123 => Self::Halt,
            0x4321_fedc => Self::PowerOff,
            0xa1b2_c3d4 => Self::RestartWith,
            0x4558_4543 => Self::Kexec,
            _ => return None,
        })
    }
}

/// Why bytes are no [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// Not [`RECORD_BYTES`] long: so many.
    Length(usize),
    /// No such [`Kind`].
    Kind(u16),
    /// `begins` is neither 0 nor 1.
    Begins(u16),
}

impl core::fmt::Display for RecordError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Length(n) => write!(f, "{n} bytes instead of {RECORD_BYTES}"),
            Self::Kind(n) => write!(f, "unknown kind {n}"),
            Self::Begins(n) => write!(f, "neither begin nor end: {n}"),
        }
    }
}

impl core::error::Error for RecordError {}

impl Record {
    /// Takes a record apart, field by field, as the ring buffer gave it.
    ///
    /// # Errors
    /// [`RecordError`]: the object that was loaded is of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let bytes: &[u8; RECORD_BYTES] = bytes.try_into().map_err(|_| RecordError::Length(bytes.len()))?;
        let record = Self {
            boot_ns: u64::from_ne_bytes(field(bytes, offset_of!(Self, boot_ns))),
            kind: u16::from_ne_bytes(field(bytes, offset_of!(Self, kind))),
            begins: u16::from_ne_bytes(field(bytes, offset_of!(Self, begins))),
            value: u32::from_ne_bytes(field(bytes, offset_of!(Self, value))),
            pid: u32::from_ne_bytes(field(bytes, offset_of!(Self, pid))),
            comm: field(bytes, offset_of!(Self, comm)),
            lost: u32::from_ne_bytes(field(bytes, offset_of!(Self, lost))),
        };
        if Kind::of(record.kind).is_none() {
            return Err(RecordError::Kind(record.kind));
        }
        if record.begins > 1 {
            return Err(RecordError::Begins(record.begins));
        }
        Ok(record)
    }

    /// What happened; none only for a record that was not made by [`Self::from_bytes`].
    pub const fn kind(&self) -> Option<Kind> {
        Kind::of(self.kind)
    }

    /// The process' name, up to the first zero.
    pub fn comm(&self) -> &[u8] {
        self.comm.split(|b| *b == 0).next().unwrap_or_default()
    }
}

/// `N` bytes from `at`; zeros where the record is shorter, which the offsets of its own fields never are.
fn field<const N: usize>(bytes: &[u8; RECORD_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(from) = bytes.get(at..at + N) {
        out.copy_from_slice(from);
    }
    out
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// As the probe's memory would be, written by hand.
    fn bytes(kind: u16, begins: u16) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(7_000_000_123_u64.to_ne_bytes());
        out.extend(kind.to_ne_bytes());
        out.extend(begins.to_ne_bytes());
        out.extend(3_u32.to_ne_bytes());
        out.extend(812_u32.to_ne_bytes());
        out.extend(*b"systemd-sleep\0\0\0");
        out.extend(2_u32.to_ne_bytes());
        out
    }

    #[test]
    fn a_record_is_read_as_the_probe_wrote_it() {
        let record = Record::from_bytes(&bytes(1, 1)).unwrap();
        assert_eq!(record.kind(), Some(Kind::SuspendEnter));
        assert_eq!(
            (record.boot_ns, record.begins, record.value, record.pid, record.lost),
            (7_000_000_123, 1, 3, 812, 2)
        );
        assert_eq!(record.comm(), b"systemd-sleep");
    }

    #[test]
    fn what_another_version_of_the_probe_writes_is_an_error() {
        assert_eq!(Record::from_bytes(&bytes(13, 1)), Err(RecordError::Kind(13)));
        assert_eq!(Record::from_bytes(&bytes(0, 1)), Err(RecordError::Kind(0)));
        assert_eq!(Record::from_bytes(&bytes(1, 2)), Err(RecordError::Begins(2)));
        assert_eq!(Record::from_bytes(&bytes(1, 1)[..39]), Err(RecordError::Length(39)));
        assert_eq!(Record::from_bytes(&[]), Err(RecordError::Length(0)));
    }

    #[test]
    fn numbers_of_kinds_and_commands_lead_back_to_them() {
        let kinds: Vec<_> = (0..=u16::MAX).filter_map(|n| Kind::of(n).map(|k| (n, k as u16))).collect();
        assert_eq!(kinds.len(), 12);
        assert!(kinds.iter().all(|(n, k)| n == k));
        for command in [0x0123_4567, 0xcdef_0123, 0x4321_fedc, 0xa1b2_c3d4, 0x4558_4543] {
            assert_eq!(RebootCommand::of(command).map(|c| c as u32), Some(command));
        }
        assert_eq!([0x89ab_cdef, 0].map(RebootCommand::of), [None, None], "ctrl-alt-del on and off end nothing");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(record) = Record::from_bytes(&bytes) {
                prop_assert_eq!(bytes.len(), RECORD_BYTES);
                prop_assert!(record.comm().len() <= COMM_BYTES && record.kind().is_some());
            }
        }
    }
}
