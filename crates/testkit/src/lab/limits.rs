//! Bounds of the lab, each with its reason.

use std::time::Duration;

/// Frames kept by the watcher; the oldest go first. A home of four hosts sends a few thousand in a test of a minute.
pub const FRAMES_MAX: usize = 100_000;

/// Bytes kept by the watcher, for the same reason; a test with bulk traffic must not eat the machine's memory.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Largest frame read: veth hands over unsegmented TCP up to 64 KiB plus headers.
pub const FRAME_LEN_MAX: usize = 66_000;

/// Receive buffer asked of the kernel for the watcher, so that a burst is not lost while another process runs.
pub const WATCHER_SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Lines of each process' output in a failure report.
pub const LOG_TAIL_LINES_MAX: usize = 60;

/// How often a condition is looked at again.
pub const POLL_EVERY: Duration = Duration::from_millis(10);

/// A lab that lasts longer is stuck: its sandbox is ended.
pub const TEST_S_MAX: Duration = Duration::from_secs(150);
