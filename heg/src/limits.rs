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
/// Entries of one list of the firewall's settings: a home has few interfaces, and ports beyond this are a range, which nobody needs.
pub const FIREWALL_LIST_MAX: usize = 64;
/// Networks of the home in the rules; each interface has one or two, and a provider may renumber.
pub const FIREWALL_PREFIXES_MAX: usize = 256;
/// Sources of open SSH connections that are let in from the WAN side.
pub const FIREWALL_SSH_SOURCES_MAX: usize = 32;
/// Sources that one meter tells apart; a home has fewer hosts, and a flood from more is met by the bound on strangers together.
pub const METER_SOURCES_MAX: u32 = 4096;
/// A meter forgets a source that was silent for so long, s.
pub const METER_FORGETS_AFTER_S: u32 = 60;
/// SSDP datagrams a second from one source. A control point sends a handful, a host with 160 devices some thousand at once.
pub const SSDP_PER_SOURCE_RATE: u32 = 200;
/// SSDP datagrams from one source at once.
pub const SSDP_PER_SOURCE_BURST: u32 = 1000;
/// SSDP datagrams a second from all sources that are no known appliance, together: made-up sources escape the meter of one.
pub const SSDP_STRANGERS_RATE: u32 = 1000;
/// The same at once.
pub const SSDP_STRANGERS_BURST: u32 = 2000;
/// New connections a second to our HTTP port from one source; control points keep theirs open.
pub const CONNECTIONS_PER_SOURCE_RATE: u32 = 100;
/// New connections from one source at once.
pub const CONNECTIONS_PER_SOURCE_BURST: u32 = 500;
/// Connections one source may have open: as many as the HTTP server takes from one peer, and those being closed.
pub const CONNECTIONS_PER_SOURCE_MAX: u32 = 256;
/// SUBSCRIBEs a second from one source: a control point sends one for each service, and renews them every half hour.
pub const SUBSCRIBE_PER_SOURCE_RATE: u32 = 20;
/// SUBSCRIBEs from one source at once: as many as one peer may hold subscriptions, and their renewals.
pub const SUBSCRIBE_PER_SOURCE_BURST: u32 = 300;
/// New connections a minute to the sealed endpoint from one source of the Internet: a utility sends a few messages an hour.
pub const SEALED_PER_SOURCE_PER_MINUTE: u32 = 30;
/// The same at once.
pub const SEALED_PER_SOURCE_BURST: u32 = 10;
/// ICMP errors a second taken from the WAN side that belong to no connection.
pub const ICMP_RATE: u32 = 100;
/// Lines a minute that the kernel logs of dropped packets, for each reason: enough to see what happens, too few to fill a disk.
pub const FIREWALL_LOG_PER_MINUTE: u32 = 10;
/// One run of `nft` may take so long: a thousand appliances take a tenth of a second on a fast machine, a loaded card ten times that.
pub const NFT_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of `nft`'s output that are read: a listing of our counters is 2 KiB.
pub const NFT_OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Changes of interfaces, addresses and routes come in bursts; the rules follow once they were quiet for so long.
pub const FIREWALL_SETTLE: Duration = Duration::from_millis(200);
/// The rules follow at the latest so long after the first change of a burst.
pub const FIREWALL_SETTLE_MAX: Duration = Duration::from_secs(2);
/// Counters are read, and the table looked for, so often: another program may have flushed it away.
pub const FIREWALL_LOOK_EVERY: Duration = Duration::from_secs(60);
/// Rules that could not be put in place are tried again after this, doubled up to [`FIREWALL_LOOK_EVERY`].
pub const FIREWALL_RETRY_FIRST: Duration = Duration::from_secs(5);
/// The firewall's state file; with full lists it is under 16 KiB.
pub const FIREWALL_STATE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of the kernel's list of TCP sockets that are read; 150 each, so some seven thousand sockets.
pub const TCP_TABLE_BYTES_MAX: u64 = 1024 * 1024;
/// Requests to the firewall that wait for `nft`.
pub const FIREWALL_ASKERS_MAX: usize = 8;
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
