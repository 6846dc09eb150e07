//! Every bound of this crate, each with its reason.

use core::time::Duration;

/// From looking the name up until the connection stands.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From the request until the whole answer is there: a KMC under load answers within seconds or says so.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// An answer's body: the longest is a full revocation list of 37 KiB.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Read buffer of a connection: an answer's head has to fit.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// Port of a host that names none.
pub const PORT: u16 = 80;
