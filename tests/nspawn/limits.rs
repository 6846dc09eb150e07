//! Bounds of the containers' tests, each with its reason.

use std::time::Duration;

/// From the start of a container to a booted system: 1 to 2 s measured, on a machine that builds at the same time more.
pub(crate) const BOOT_S_MAX: Duration = Duration::from_secs(60);

/// A script in a container. The longest is apt's installation of all packages: 5 to 20 s.
pub(crate) const SCRIPT_S_MAX: Duration = Duration::from_secs(120);

/// For anything a service does at once, on a machine busy with a build.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The watchdog's time in the tests; the units' own would cost a minute each.
pub(crate) const WATCHDOG_S: u64 = 4;

/// Until a stopped service is noticed, ended and back: its watchdog's time, its time to end, and a start.
pub(crate) const WATCHDOG_S_MAX: Duration = Duration::from_secs(60);

/// Until prices and limits are at the home: its first contact is put off by up to a minute (`utility.spread-s`), unless it has just
/// enrolled, and then it asks again when told so.
pub(crate) const PRICES_S_MAX: Duration = Duration::from_secs(90);

/// From the order to power off to the end: systemd waits for every service.
pub(crate) const SHUTDOWN_S_MAX: Duration = Duration::from_secs(40);

/// One test, all waits included.
pub(crate) const TEST_S_MAX: Duration = Duration::from_secs(400);
