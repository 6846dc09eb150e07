//! Every bound of the gateway, each with its reason. Nothing from outside grows without one of these.

use std::time::Duration;

use daemon_kit::limits::CONTROL_ANSWER_TIMEOUT;

/// Appliances kept in the registry. Six times the largest home measured (160); at about 1 KB each this stays under 1 MB.
pub const APPLIANCES_MAX: usize = 1024;
/// Registrations one appliance may hold. One wake-up and one quiet window per hour of the day is already odd.
pub const REGISTRATIONS_PER_APPLIANCE_MAX: usize = 32;
/// Registrations in all: two for each appliance of a full registry.
pub const REGISTRATIONS_MAX: usize = 2048;
/// Commands under way at once; each belongs to another appliance, so a whole home can be ordered about at once.
pub const COMMANDS_MAX: usize = 256;
/// Callers that may wait for the same command; people and scripts of one home are fewer.
pub const WAITERS_PER_COMMAND_MAX: usize = 16;
/// Table II calls waiting for the disk or for the neighbour table.
pub const ASKS_MAX: usize = 64;
/// Text of a name, maker or model kept, bytes. The longest friendly name seen is 60.
pub const NAME_BYTES_MAX: usize = 128;
/// Text of a reason or refusal kept, bytes: a sentence or two.
pub const REASON_BYTES_MAX: usize = 400;

/// Polls without an answer before contact counts as lost: one may meet a busy appliance, two a lost Wi-Fi minute.
pub const CONTACT_MISSES_MAX: u8 = 3;
/// First delay after an unanswered question, doubled each time.
pub const ASK_RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest delay after an unanswered question: an appliance that is well again is known within a minute.
pub const ASK_RETRY_MAX: Duration = Duration::from_secs(60);

/// First delay before a failed command is sent again, doubled each time.
pub const COMMAND_RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest delay between two sendings of a command: somebody waits for it.
pub const COMMAND_RETRY_MAX: Duration = Duration::from_secs(16);
/// How long a command waits for the appliance's own event after its reply, before it asks for the state.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// First distance between two magic packets, doubled each time.
pub const WAKE_REPEAT_FIRST: Duration = Duration::from_secs(1);
/// Longest distance between two magic packets: a sleeping switch port may need several seconds to forward again.
pub const WAKE_REPEAT_MAX: Duration = Duration::from_secs(10);
/// While waking, every so many packets the network is searched, should the appliance's own alive be lost.
pub const WAKE_SEARCH_EVERY: u32 = 3;
/// A wake-up that came due while the gateway was down or the clock was wrong is still carried out within this time.
pub const WAKE_LATE_MAX: Duration = Duration::from_secs(15 * 60);
/// A due time further ahead than this was computed under another clock (the longest day has 25 hours).
pub const DUE_AHEAD_MAX: Duration = Duration::from_secs(26 * 3600);

/// Journal entries waiting for the disk; older ones go first when it stays full.
pub const JOURNAL_PENDING_MAX: usize = 2000;
/// Journal entries in one answer of the control API: well under 1 MB with the longest reasons.
pub const JOURNAL_ANSWER_MAX: u32 = 1000;
/// Journal entries on the presentation page and in `status`.
pub const RECENT_ENTRIES: usize = 20;
/// Old entries are looked for at most this often: retention is in days.
pub const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// First delay before a failed write is tried again, doubled up to [`STORE_RETRY_MAX`].
pub const STORE_RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest delay between two attempts to write: a disk with room again is used within minutes.
pub const STORE_RETRY_MAX: Duration = Duration::from_secs(300);
/// Databases set aside as damaged that are kept; the oldest goes when another is added.
pub const SET_ASIDE_MAX: usize = 3;

/// A price file is looked at so often: a look is one call of the kernel.
pub const PRICE_FILE_EVERY: Duration = Duration::from_secs(30);
/// A price file is left alone until it has not changed for so long: who writes it in place is done by then.
pub const PRICE_FILE_SETTLES: Duration = Duration::from_secs(1);
/// A price feed is asked so often: tomorrow's prices are here a quarter of an hour after they are out.
pub const FEED_EVERY: Duration = Duration::from_secs(15 * 60);
/// A price feed's answer has to be whole within this.
pub const FEED_TIMEOUT: Duration = Duration::from_secs(20);
/// First bound of the random wait after a price feed failed, doubled each time: a proxy on this machine that restarts is back by then.
pub const FEED_RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest bound of that wait: today's prices are there, and tomorrow's are out for ten hours before they are needed.
pub const FEED_RETRY_MAX: Duration = Duration::from_secs(3600);
/// Prices as kept on disk: as many series as are kept at all, each of 388 prices of 12 characters.
pub const PRICES_KEPT_BYTES_MAX: u64 = 128 * 1024;

/// Requests on the control socket that wait for a command's outcome.
pub const CONTROL_WAITING_MAX: usize = 64;
/// `watch` streams at once, as many as the control socket keeps open.
pub const WATCHERS_MAX: usize = 16;
/// Waking and the command after it may take so long together, seconds: the control socket must still be able to answer.
pub const PATIENCE_S_MAX: u64 = CONTROL_ANSWER_TIMEOUT.as_secs() - 5;
/// Static devices, and appliances named in the configuration; each costs memory for good.
pub const NAMED_MAX: usize = 256;
/// A datagram of a netlink dump; the kernel uses at most 32 KiB.
pub const NETLINK_BYTES_MAX: usize = 32 * 1024;
/// Datagrams of one netlink dump; the kernel packs some hundred neighbours into each, and a home has few.
pub const NETLINK_DATAGRAMS_MAX: usize = 256;
/// Shutdown waits this long for UNSUBSCRIBE and byebye to leave.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// Cuts `text` to at most `bytes_max` bytes at a character boundary and takes control characters out.
pub fn bounded(text: &str, bytes_max: usize) -> Box<str> {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text[..end].trim();
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    } else {
        text.into()
    }
}

/// Without an answer of the utility for so long it is lost (LPC: 2 minutes, two heartbeats).
pub const HEARTBEAT_TTL: Duration = Duration::from_secs(120);
/// A utility that is heard again states its limits within this, or states none (LPC-921: 120 s).
pub const STATEMENT_WITHIN: Duration = Duration::from_secs(120);
