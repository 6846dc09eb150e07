//! What is observed of the machine and its operation, by whom and when (PURE).
#![forbid(unsafe_code)]

use core::fmt;

use serde::Serialize;
use upnp::time::BootTime;

use crate::kernel::Deed;

/// Who told of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The probe in the kernel.
    Kernel,
    /// systemd-logind's signals.
    Logind,
    /// The operation driver.
    Operation,
    /// The service manager, when it stops the agent.
    ServiceManager,
    /// The agent itself, by running when it should not.
    Agent,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Logind => "logind",
            Self::Operation => "operation",
            Self::ServiceManager => "service manager",
            Self::Agent => "the agent itself",
        })
    }
}

/// Whether the appliance's work runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// It runs.
    On,
    /// It does not.
    Off,
    /// The driver cannot tell. The machine is up, so the appliance counts as ON.
    #[default]
    Unknown,
}

/// What was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The machine is about to sleep, or sleeps.
    SleepBegins,
    /// The machine is awake again, or did not fall asleep after all.
    SleepEnds,
    /// The kernel's word that it sleeps is taken back: this process runs, and has for too long.
    SleepDoubted,
    /// The machine is about to power off, halt or restart.
    ShutdownBegins,
    /// It stays up after all.
    ShutdownCancelled,
    /// The driver looked at the operation.
    Operation(Operation),
}

/// An observation with its time and source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// When it was so, on CLOCK_BOOTTIME.
    pub at: BootTime,
    /// Who told.
    pub source: Source,
    /// What.
    pub what: Observation,
    /// What a process asked of the kernel, where the kernel told it.
    pub deed: Option<Deed>,
}

impl Fact {
    /// A fact from a source that does not know whose doing it is.
    pub fn new(at: BootTime, source: Source, what: Observation) -> Self {
        Self { at, source, what, deed: None }
    }
}
