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

/// After a first failure; doubled with each.
pub const RETRY_FIRST: Duration = Duration::from_secs(2);
/// At most so long between two tries: a KMC that is back is found within this.
pub const RETRY_LAST: Duration = Duration::from_secs(15 * 60);
/// The clock is set anew: a crystal drifts some seconds a day.
pub const CLOCK_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Between a peer's message under a key that is not known and asking for its statement: strangers can send such messages. Doubled each time
/// the statement turns out to be the known one.
pub const PEER_AGAIN: Duration = Duration::from_secs(2);
/// At most so long: below the overlap in which what was under way with the old key is still taken.
pub const PEER_AGAIN_LAST: Duration = Duration::from_secs(120);
/// How long what was sealed to the key before can still be opened, beside the skew (seconds): two long polls.
pub const OVERLAP_S: u64 = 120;
/// A membership's record: a full revocation list of 37 KiB, and less than 8 KiB of statements and keys.
pub const RECORD_BYTES_MAX: usize = 48 * 1024;
