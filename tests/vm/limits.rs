//! Bounds of the virtual machine's tests, each with its reason.

use std::time::Duration;

/// From the emulator's start to a booted system: 10 s on an idle machine, 61 to 126 s measured on a very busy one.
pub(crate) const BOOT_S_MAX: Duration = Duration::from_secs(240);

/// From the emulator's start to a shell that answers, when a snapshot is loaded: 1 to 7 s measured.
pub(crate) const LOAD_S_MAX: Duration = Duration::from_secs(60);

/// For anything the guest does at once, on an emulated processor of a machine busy with a build.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// From the order to sleep to the sleep: 0.1 to 5.1 s measured.
pub(crate) const SLEEP_S_MAX: Duration = Duration::from_secs(40);

/// From the order to power off to the end: systemd waits for every service; 0.9 to 10.5 s measured.
pub(crate) const SHUTDOWN_S_MAX: Duration = Duration::from_secs(60);

/// Hung machines in one test; seen once in about 400 suspends. More of them are worth a failure.
pub(crate) const STUCK_MAX: usize = 1;

/// A reply of the emulator's control socket; writing a snapshot takes half a second.
pub(crate) const QMP_S_MAX: Duration = Duration::from_secs(30);

/// A machine that does not answer the first packet of a connection for so long does not run. The kernel itself answers, so that
/// a busy one is not mistaken for it.
pub(crate) const SILENCE: Duration = Duration::from_millis(1500);

/// A machine that has sent nothing for so long is done with what it was at, its announcements too.
pub(crate) const QUIET: Duration = Duration::from_secs(1);

/// One test with its repetitions, all waits included.
pub(crate) const TEST_S_MAX: Duration = Duration::from_secs(300);

/// The first test also boots the image and makes the snapshots.
pub(crate) const PREPARE_S_MAX: Duration = Duration::from_secs(300);

/// Until the gateway has asked a silent machine often enough to say that it does not know.
pub(crate) const SILENT_S_MAX: Duration = Duration::from_secs(90);

/// A test of the figures: 80 suspends of about four seconds each.
pub(crate) const FIGURES_S_MAX: Duration = Duration::from_secs(1200);

/// Events of the emulator kept; a test causes a few dozen.
pub(crate) const QMP_EVENTS_MAX: usize = 10_000;

/// How often the network card looks whether its machine is gone.
pub(crate) const CARD_POLL: Duration = Duration::from_millis(100);
