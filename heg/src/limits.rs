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
/// Entries that are too old are taken out at most this often: retention is in days, and each time some pages are written.
pub const PRUNE_OLD_EVERY: Duration = Duration::from_secs(86_400);
/// The oldest of too many entries go at most this often.
pub const PRUNE_MANY_EVERY: Duration = Duration::from_secs(3600);
/// Between two entries so far apart the clock has leapt, or the gateway was off for long, ms.
pub const JOURNAL_LEAP_MS: i64 = 30 * 86_400_000;
/// After such a leap entries are not dropped for their age for so long, ms: time to set a wrong clock right.
pub const JOURNAL_LEAP_FRESH_MS: i64 = 7 * 86_400_000;
/// So many of the last entries are looked through for a leap: more than a week's of a large home.
pub const JOURNAL_LEAP_ENTRIES: u32 = 4096;
/// First delay before a failed write is tried again, doubled up to [`STORE_RETRY_MAX`].
pub const STORE_RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest delay between two attempts to write: a disk with room again is used within minutes.
pub const STORE_RETRY_MAX: Duration = Duration::from_secs(300);
/// Pages in the database's log when it is copied into the database: some days of a home of twenty appliances, 4 MB of the disk, and the
/// index of the log, which is in memory, of one block (32 KiB; it holds 4062 pages).
pub const LOG_PAGES: u32 = 1000;
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
/// New connections a second to the sealed endpoint from all that are not known to be the utility: made-up sources escape the meter of one.
pub const SEALED_STRANGERS_RATE: u32 = 5;
/// The same at once.
pub const SEALED_STRANGERS_BURST: u32 = 50;
/// Addresses kept from which the utility has called: one, and a few while it moves.
pub const UTILITY_ADDRESSES_MAX: usize = 16;
/// ICMP errors a second taken from the WAN side that belong to no connection.
pub const ICMP_RATE: u32 = 100;
/// Lines a minute that the kernel logs of dropped packets, for each reason: enough to see what happens, too few to fill a disk.
pub const FIREWALL_LOG_PER_MINUTE: u32 = 10;
/// One run of `nft` may take so long: a thousand appliances take a tenth of a second on a fast machine, a loaded card ten times that.
pub const NFT_WITHIN: Duration = Duration::from_secs(10);
/// How often the baseline tries to put its rules in place at boot: three times that are a third of a unit's time to start.
pub const BASELINE_TRIES: u32 = 3;
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
/// Bytes of the note of what forwarding was on: two short lines.
pub const FORWARDING_NOTE_BYTES_MAX: u64 = 256;
/// Bytes of one file of sshd's configuration that are read; it comes with 3 KiB, nearly all of them comments.
pub const SSHD_CONFIG_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of the kernel's list of TCP sockets that are read; 150 each, so some seven thousand sockets.
pub const TCP_TABLE_BYTES_MAX: u64 = 1024 * 1024;
/// Requests to the firewall that wait for `nft`.
pub const FIREWALL_ASKERS_MAX: usize = 8;
/// Shutdown waits this long for UNSUBSCRIBE and byebye to leave.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// The longest spread that can be configured, seconds: an hour without the utility is what every home must bear.
pub const SPREAD_S_MAX: u32 = 3600;
/// Connections to the gateway's own endpoint served at once: one utility calls, seldom. Each takes about 12 KiB.
pub const CALLERS_MAX: usize = 8;
/// Of those, from addresses from which the utility has never called: a utility that moved has to get through too.
pub const STRANGERS_MAX: usize = 6;
/// And from one address, or one /64 of IPv6: a call, and the one before that is not closed yet.
pub const CALLERS_PER_SOURCE_MAX: usize = 2;
/// Connections taken in a turn of the loop: a flood of them does not keep it from its other work.
pub const ACCEPTS_PER_TURN: usize = 64;
/// From taking a connection, or from its last answer, to the next whole head; and from the head to the whole body. A utility has both ready.
pub const CALL_REQUEST_WITHIN: Duration = Duration::from_secs(3);
/// A connection to it from its first byte to its end: a call is two small exchanges.
pub const CALL_WITHIN: Duration = Duration::from_secs(30);
/// Read buffer of such a connection: the head of a request has to fit. hyper takes no less than 8 KiB.
pub const CALL_BUFFER_BYTES: usize = 8 * 1024;
/// Signatures checked for callers in a second in the long run: 0.3 ms each here, some 10 ms on the slowest board.
pub const CALLS_PER_S: u64 = 5;
/// And at once.
pub const CALLS_BURST: u64 = 20;
/// A poll's answer may come so long after the wait that it asked for.
pub const POLL_ANSWER_SLACK: Duration = Duration::from_secs(20);
/// Keys or numbers that could not be stored are tried again after this; nothing is sent meanwhile.
pub const KEEP_RETRY: Duration = Duration::from_secs(30);
/// First bound of the random wait after the utility did not answer, doubled each time; the configured spread where that is longer.
pub const UTILITY_RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest bound of that wait: after any outage every home is back within ten minutes, and a million homes are 1700 a second.
pub const UTILITY_RETRY_MAX: Duration = Duration::from_secs(600);
/// The longest the utility may put a poll or report off: whatever it says, it is asked again within the hour.
pub const UTILITY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Silence after which the utility counts as lost: two heartbeats of a minute, as EEBUS LPC has it.
pub const UTILITY_LOST_AFTER: Duration = Duration::from_secs(120);
/// Polls begin at least this far apart, whatever the utility says.
pub const POLL_APART_MIN: Duration = Duration::from_secs(1);
/// Time between two reports before the utility has said what it likes.
pub const REPORT_EVERY: Duration = Duration::from_secs(300);
/// A change of state is told within this; what changes together goes together.
pub const URGENT_WITHIN: Duration = Duration::from_secs(3);
/// Reports that gathered in an outage go out at least this far apart.
pub const CATCH_UP_EVERY: Duration = Duration::from_secs(5);
/// A report to a utility that has not acknowledged one since the start: strangers' messages end at 16 KiB, seal and padding included.
pub const REPORT_STRANGER_BYTES_MAX: usize = 15 * 1024;
/// A report, so that it fits the 64 KiB of a known sender's message.
pub const REPORT_BYTES_MAX: usize = 48 * 1024;
/// Reports kept while the utility is away, bytes: a week of a home with fifty appliances, and a third of what the goal for memory leaves.
pub const REPORT_QUEUE_BYTES_MAX: usize = 256 * 1024;
/// Reports older than this are given up, seconds: a week, as the utility's own intervals allow.
pub const REPORT_AGE_MAX_S: u64 = 7 * 86_400;
/// Intervals of one meter in one report: a day.
pub const REPORT_INTERVALS_MAX: usize = 96;
/// Length of a consumption interval, seconds: the market's quarter of an hour.
pub const METER_INTERVAL_S: u32 = 900;
/// Of an interval so much may be unseen before it is told as a gap: a tenth.
pub const METER_UNKNOWN_MAX: Duration = Duration::from_secs(90);
/// An interval's end noticed later than this was slept through.
pub const METER_LATE_MAX: Duration = Duration::from_secs(60);
/// Controls not ended at once; more come again with a later poll.
pub const EVENTS_OPEN_MAX: usize = 64;
/// Numbers of controls remembered after their end was told, should an old message come late.
pub const EVENTS_KEPT_MAX: usize = 64;
/// Price series kept, the newest: today's and tomorrow's, each corrected some times. 3 KiB each at most.
pub const PRICE_SERIES_KEPT_MAX: usize = 16;
/// What may wait with a write that is made for something else: how far work is.
pub const WRITE_LAZILY_WITHIN: Duration = Duration::from_secs(600);
/// The same for what is kept of the utility and changes with each of its answers, which come every minute. A write for each ten minutes of
/// that would be more than everything else a home writes; what an hour of it is worth after a power cut is in docs/decisions/0088.
pub const WRITE_UTILITY_LAZILY_WITHIN: Duration = Duration::from_secs(3600);

/// Slots of a plan: a week in quarter hours, with room for slots cut in two.
pub const PLAN_SLOTS_MAX: usize = 800;
/// Longest slot of a plan, seconds: a day of 25 hours as one slot. Longer ones say nothing about when.
pub const PLAN_SLOT_S_MAX: i64 = 25 * 3600;
/// Left to a whole home, less than this is noted, watts: what section 14a EnWG leaves a single controllable device. Less is easily meant for
/// one device and set for the home.
pub const HOME_WATTS_LOW: u32 = 4200;
/// Power of one load in a plan, watts: twice the largest connection a home gets (three phases of 63 A).
pub const PLAN_WATTS_MAX: u32 = 90_000;
/// Price in a plan, millionths of the currency per kWh, either sign: 1000 units per kWh. With the two above a product fits 64 bits.
pub const PLAN_PRICE_MAX: i64 = 1_000_000_000;
/// Cost of one start, millionths of the currency, as the price of a kWh.
pub const PLAN_START_COST_MAX: i64 = PLAN_PRICE_MAX;
/// Phases of a cycle: a washing programme in minutes-long steps has some thirty.
pub const PLAN_PHASES_MAX: usize = 64;
/// Seconds of one phase, of a minimum time: a week, as long as a plan.
pub const PLAN_DURATION_S_MAX: u32 = 7 * 24 * 3600;
/// Windows of one load: one per hour of a week is already odd.
pub const PLAN_WINDOWS_MAX: usize = 168;
/// Energy one load may ask for, Wh: ten of the largest car batteries.
pub const PLAN_ENERGY_WH_MAX: u32 = 1_000_000;
/// Instants in a plan, seconds since 1970, either sign: the year 6000. Sums of a few of them stay far from overflow.
pub const PLAN_INSTANT_MAX: i64 = 1 << 37;
/// Steps in which the energy of one load is counted: fine enough for a slot of a quarter hour, small enough for a search of thousands.
pub const PLAN_STEPS_PER_ENERGY: i64 = 64;
/// Prices that one is told to cut slots from: a week in five-minute steps.
pub const PLAN_PRICE_SPANS_MAX: usize = 2016;
/// Limits and spans of base load considered at once, as many as quarter hours of a week.
pub const PLAN_SPANS_MAX: usize = 672;
/// A hole between two prices up to so many seconds is closed: tariffs exist whose spans end a second early.
pub const PLAN_HOLE_CLOSED_S: i64 = 5;
/// Rules made while running: each costs a line in every look at an appliance, and nobody keeps track of more.
pub const RULES_MAX: usize = 256;
/// Daily windows of one load, of each sort: with a week's spans they stay within [`PLAN_WINDOWS_MAX`].
pub const LOAD_WINDOWS_MAX: usize = 16;
/// A person's order on or off ends within this, seconds: an order forgotten is found again within a week.
pub const ORDER_S_MAX: i64 = 7 * 86_400;
/// The end of a rule is at most so far ahead, seconds: a slip of the pen in the year is noticed.
pub const RULE_AHEAD_S_MAX: i64 = 366 * 86_400;
/// Prices of so long ago are kept, s: a charge of two days is still paid for.
pub const PRICES_KEPT_S: i64 = 2 * 86_400;
/// A plan reaches at least so far, s, also where prices end sooner: deadlines of tomorrow morning are in it.
pub const PLAN_AHEAD_MIN_S: i64 = 24 * 3600;
/// A plan reaches at most so far, s: prices are known for a day and a half.
pub const PLAN_AHEAD_MAX_S: i64 = 48 * 3600;
/// Longest slot of the home's plan, s: the market's quarter of an hour.
pub const PLAN_SLOT_S: u32 = 900;
/// A plan is made anew at least so often, s, at the edge of a slot: time has gone on, and work is done sooner or later than was reckoned.
pub const PLAN_ROLL_S: i64 = PLAN_SLOT_S as i64;
/// What the plan is told of prices begins at a multiple of this, s, and is looked at as often: a table has no end.
pub const PRICES_ROLL_S: i64 = 3600;
/// What the plan has switched is not switched back by the next one within this, s, unless a limit holds: some cents are not worth a charge
/// begun for seconds.
pub const PLAN_SWITCH_APART_S: u32 = 300;
/// An appliance that was not heard since the gateway's start is not ordered within this, s: whoever is there answers the first searches by then.
pub const START_FINDS_WITHIN_S: i64 = 60;
/// Work is planned to be done so long before its time is over, s, where that leaves enough of it: an order is tried again for twenty seconds, and
/// an appliance may take a minute to obey. Where work begins and ends with the quarter hours it is that of a quarter hour.
pub const PLAN_RESERVE_S: i64 = 120;
/// Plans are made at least so far apart, s: several changes at once make one plan.
pub const PLAN_APART_S: i64 = 5;
/// A plan of few loads is searched so often for each pair of them: all the ways they fit together are soon seen.
pub const PLAN_REBUILDS_PER_PAIR: u32 = 50;
/// Steps of improving a plan in one turn of the loop; each takes well under a millisecond, and others wait for the turn's end.
pub const PLAN_STEPS_PER_TURN: u32 = 16;
/// An appliance that refused is asked again after this, s, doubled each time.
pub const PLAN_RETRY_FIRST_S: i64 = 300;
/// An appliance that goes on refusing is asked again after this, s.
pub const PLAN_RETRY_MAX_S: i64 = 3600;
/// A change of state so long after a command's end is still its, s: an appliance may need that to say so.
pub const COMMANDED_WITHIN_S: i64 = 60;
/// A change of state so long after an order of the plan's that nobody confirmed is still its, s: until it would be asked again at the latest.
pub const LATE_OBEYED_S: i64 = PLAN_RETRY_MAX_S;
/// Work that has run for so many quarters of its length, or has taken so much of its energy, is done when the appliance goes off: machines weigh
/// what is in them, and a battery was not as empty as somebody thought.
pub const WORK_DONE_QUARTERS: u8 = 3;
/// A charge that goes off again so soon after it was let go on, s, has all it can take.
pub const FULL_WITHIN_S: i64 = 600;
/// What was measured of an appliance counts for so long after it went off, s: else it would be let on again for the power it says, and so on.
pub const MEASURED_KEPT_S: i64 = 3600;
/// Under a limit a plan is made anew for a power that was measured to be other than planned by more than this part of it.
pub const MEASURED_APART: u32 = 20;
/// A clock before this (2026-01-01) is one that nobody has set, s since 1970: no kept time is measured by it.
pub const CLOCK_KNOWN_FROM: i64 = 1_767_225_600;
/// What is kept for later than so long ahead was kept by a clock that was wrong, s: no daily work begins later.
pub const WORK_AHEAD_MAX_S: i64 = 2 * 86_400;
/// At the start the last decisions are looked for in so many of the journal's last entries: some days of a home, read in moments.
pub const DECIDED_LOOKED_THROUGH: u32 = 5000;
/// And so many of them are read at most: eight for each of as many appliances as a home plans.
pub const DECIDED_MAX: u32 = 1000;
/// That somebody's say over an appliance has ended is told for so long, s: whoever comes home in the evening asks about the morning.
pub const ENDED_TOLD_S: i64 = 86_400;
/// An appliance that its WakeUpTime woke is not sent back to sleep within this, s: it was woken for something.
pub const WOKEN_KEPT_S: i64 = 900;
/// Limits remembered after their end, while load comes back.
pub const ENDED_LIMITS_MAX: usize = 8;
/// A limit that is exceeded for so long without a break is told the utility as not kept, s: what runs for its minimum time, and an appliance
/// that is asked again after it refused, is off by then.
pub const LIMIT_REACTION_S: i64 = 600;
/// Decisions remembered of one appliance; the journal has them all.
pub const DECISIONS_PER_APPLIANCE: usize = 8;
/// Time unseen for longer than this is not counted in the savings, s: the machine slept.
pub const ACCOUNT_GAP_MAX_S: i64 = 2 * 3600;
/// Savings are written so far apart, s: an SD card's page an hour, and a power cut loses an hour of sums.
pub const SAVINGS_WRITE_EVERY_S: i64 = 3600;
/// Days whose sums are kept: a year and a month, to compare with the year before.
pub const SAVING_DAYS_KEPT: usize = 396;
/// Months whose sums by appliance are kept.
pub const SAVING_MONTHS_KEPT: usize = 14;

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
