//! Every bound of this crate, each with its reason.

use core::time::Duration;

/// A configuration file. The shipped examples, every key with its comment, have under 16 KiB.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// A file that holds one number or one identifier.
pub const SMALL_FILE_BYTES_MAX: u64 = 256;
/// Edits between an unknown key and the known one that is suggested for it; more is no longer a slip of the finger.
pub const SUGGESTION_EDITS_MAX: usize = 3;

/// Connections to the control socket served at once; further ones wait in the kernel's queue. It is for a few people
/// and scripts on this machine.
pub const CONTROL_CONNECTIONS_MAX: usize = 32;
/// Streams (`watch`) open at once, so that they never take all connections.
pub const CONTROL_STREAMS_MAX: usize = 16;
/// Requests read and not yet taken by the daemon's loop; a full queue makes the connection wait.
pub const CONTROL_QUEUE_MAX: usize = 16;
/// Body of a control request; the largest sent by our tools has under 1 KiB.
pub const CONTROL_BODY_BYTES_MAX: usize = 64 * 1024;
/// From accepting a connection, or its last answer, until the next request's head is there; an idle one is closed.
pub const CONTROL_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// For the body after the head.
pub const CONTROL_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Until the daemon answers; longer than the longest wait of a command for its confirmation.
pub const CONTROL_ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Lines a stream's reader may be behind (beside the socket's own buffer) before it is cut off.
pub const CONTROL_STREAM_LINES_MAX: usize = 256;
/// Write buffer of a control connection.
pub const CONTROL_BUFFER_BYTES: usize = 16 * 1024;
/// What a client takes as one answer: a registry of some thousand appliances as JSON has about 4 MiB.
pub const CLIENT_BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a client takes as one line of a stream.
pub const CLIENT_LINE_BYTES_MAX: usize = 1024 * 1024;
/// How long a client tries to reach the socket: the kernel's queue of a healthy daemon is never full for long.
pub const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client waits for what the daemon only has to look up.
pub const CLIENT_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client waits for an answer; more than [`CONTROL_ANSWER_TIMEOUT`], so that the daemon's own error arrives.
pub const CLIENT_ANSWER_TIMEOUT: Duration = Duration::from_secs(130);

/// What of a log line goes to the journal when the whole does not fit a datagram (about 200 KiB by default).
pub const JOURNAL_MESSAGE_BYTES_MAX: usize = 16 * 1024;
