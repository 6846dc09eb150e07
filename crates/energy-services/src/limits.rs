//! Every bound of this crate, each with its reason.

use core::time::Duration;

/// A text argument. The longest of ours is a refusal's reason with its action and code.
pub const TEXT_BYTES_MAX: usize = 1024;
/// A refusal's reason: UDA 1.1, 3.2.5 asks for descriptions shorter than 256 characters.
pub const REASON_BYTES_MAX: usize = 255;
/// Least time between two events of `Power`: a plan changes by minutes, and 160 appliances must not fill the network.
pub const POWER_EVENT_INTERVAL: Duration = Duration::from_secs(5);
