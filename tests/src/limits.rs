//! Bounds of the lab's machines, each with its reason.

use std::time::Duration;

/// From power button to programs started; the lab shares its processors with builds.
pub const BOOT_S_MAX: Duration = Duration::from_secs(20);

/// Until logind has taken a wish in.
pub const WISH_S_MAX: Duration = Duration::from_secs(10);

/// Until every process of a machine is stopped; signals are fast, looking at /proc is what takes time.
pub const FREEZE_S_MAX: Duration = Duration::from_secs(5);

/// What services get between SIGTERM and SIGKILL at power-off. systemd's 90 s, shortened to what a test can wait for.
pub const SHUTDOWN_S_MAX: Duration = Duration::from_secs(5);

/// How long the network card's look for magic packets lasts, and so how long a machine's end may take.
pub const MAGIC_POLL: Duration = Duration::from_millis(100);

/// How often a machine with nothing to do looks at its clock's alarm again.
pub const MACHINE_IDLE_S_MAX: Duration = Duration::from_secs(1);

/// A wire without a frame for so long has told all that an event brings about: repeats of SSDP messages are at most a second
/// apart.
pub const QUIET: Duration = Duration::from_millis(1200);

/// Until the wire is quiet; ARP and ICMPv6 repeat themselves for a few seconds after a link has come up.
pub const QUIET_S_MAX: Duration = Duration::from_secs(30);
