//! Every bound of the utility's server, each with its reason.

use std::time::Duration;

/// A feed of the power system: one reading has some 60 bytes, so this is ten thousand groups.
pub const FEED_BYTES_MAX: usize = 1024 * 1024;
/// Readings of one feed.
pub const READINGS_MAX: usize = 20_000;
/// A rules file.
pub const RULES_BYTES_MAX: u64 = 256 * 1024;
/// Rules. Each is looked at for every reading of its group.
pub const RULES_MAX: usize = 256;
/// Time words in a rule (`for 30 min`), seconds: a day.
pub const RULE_SPAN_S_MAX: u32 = 86_400;

/// A limit's length, seconds: a week. Whoever wants longer gives none, and cancels it.
pub const LIMIT_S_MAX: u32 = 7 * 86_400;
/// A limit may be made so far ahead, seconds: a month.
pub const LIMIT_AHEAD_S_MAX: u64 = 31 * 86_400;
/// A control must be carried out within a day, seconds: later the reason for it is gone.
pub const CONTROL_S_MAX: u32 = 86_400;
/// A control whose home said nothing so long after it expired counts as expired, seconds: two polls.
pub const CONTROL_GRACE_S: u64 = 120;
/// Controls of one home that are under way.
pub const CONTROLS_PER_SITE_MAX: usize = 64;

/// A report may speak of the future by so much, seconds: clocks of homes without a network for long.
pub const REPORT_AHEAD_S_MAX: u64 = 3600;
/// No word from a home for so many report periods: it is late.
pub const LATE_AFTER_PERIODS: u64 = 2;
/// No word from a home for so many report periods: contact is lost.
pub const LOST_AFTER_PERIODS: u64 = 12;

/// Rows in one answer of the operator API.
pub const PAGE_MAX: u32 = 1000;
/// Text of a name, kept.
pub const NAME_BYTES_MAX: usize = utility_wire::limits::NAME_BYTES_MAX;
/// Operators. Each is a person or a program.
pub const OPERATORS_MAX: usize = 256;
/// Body of a request to the operator API, beside a price file.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Connections served at once; further ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 10_000;
/// From accepting a connection, or its last answer, until the next request's head is there.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Until a request's body is there.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest wait of a `watch` request, seconds.
pub const WATCH_WAIT_S_MAX: u64 = 55;
/// Sources of failed log-ins remembered; the oldest goes first.
pub const SOURCES_MAX: usize = 4096;
/// Log-ins a source may fail in a row before it has to wait.
pub const FAILED_LOGINS_BURST: u32 = 10;
/// After that, failed log-ins per second and source.
pub const FAILED_LOGINS_PER_S: f64 = 0.2;

/// Jobs waiting for the database. More wait in their connections: 429 with Retry-After.
pub const STORE_QUEUE_MAX: usize = 1024;
/// Jobs that share one transaction: one write to the disk for all of them.
pub const STORE_GROUP_MAX: usize = 128;
/// Rows put in by one statement.
pub const STORE_ROWS_AT_ONCE: usize = 32;
/// Hints that a listener may be behind before it looks at everything again.
pub const HINTS_MAX: usize = 1024;
/// First delay before a lost PostgreSQL is tried again, doubled each time.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(500);
/// Longest such delay.
pub const RECONNECT_MAX: Duration = Duration::from_secs(30);
/// Whoever waits looks by itself so often, should a hint be lost.
pub const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Times of last contact gather for so long before they are written together.
pub const CONTACTS_EVERY: Duration = Duration::from_secs(10);
/// Old rows are looked for so often.
pub const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// Old rows forgotten in one transaction: well under a second.
pub const PRUNE_ROWS: u32 = 5000;
/// More old rows follow after this.
pub const PRUNE_NEXT: Duration = Duration::from_secs(1);
/// Answers of the broadcast cache kept: every zone and group of a large grid.
pub const CACHE_OBJECTS_MAX: usize = 20_000;
/// How long a proxy may keep a broadcast object's head, seconds.
pub const CACHE_AGE_S: u32 = 30;
/// Shutdown waits so long for answers under way.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// An outside feed must answer within this.
pub const FEED_TIMEOUT: Duration = Duration::from_secs(10);

/// What a client takes as one answer.
pub const CLIENT_BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a client waits for an answer, beside the wait it asked for.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
