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
/// Name of an operator: it goes to the KMC with what they order.
pub const OPERATOR_BYTES_MAX: usize = secure_http::limits::OPERATOR_BYTES_MAX;
/// A policy file: it goes to the KMC in one message.
pub const POLICY_BYTES_MAX: usize = secure_http::limits::ORDER_POLICY_BYTES_MAX;
/// Operators. Each is a person or a program.
pub const OPERATORS_MAX: usize = 256;
/// Body of a request to the operator API, beside a price file.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Connections served at once; further ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 10_000;
/// What is read ahead of a connection, and so the longest head: ours have under 1 KiB. Bodies go through it piece by piece.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// Header fields of a request: ours send six, proxies add some.
pub const HEADERS_MAX: usize = 32;
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

/// Connections of homes served at once; further ones wait in the kernel's queue. Each home has one for its long poll; 20 KiB each.
pub const HOME_CONNECTIONS_MAX: usize = 50_000;
/// Of those, from one address: homes behind one address of their provider share it, and a flood does not get all places.
pub const HOME_CONNECTIONS_PER_PEER_MAX: usize = 512;
/// When the sealed endpoints are under load: then they ask for cookies before they check signatures. 64 signatures waiting are 20 ms on
/// one core; honest homes are refused next to never.
pub const HOMES_LOAD: secure_http::LoadLimits =
    secure_http::LoadLimits { queue: 64, refusals_per_s: 64, hold_s: 5, neighbourhood_per_s: 8, peers_max: 65_536 };
/// Messages that wait for their signature to be checked: a fifth of a second on one core. More are told to come later.
pub const WORK_WAITING_MAX: usize = 512;
/// What one under load is told to wait.
pub const LOAD_RETRY: Duration = Duration::from_secs(2);
/// What homes are told to wait while there is no database or no membership.
pub const UNAVAILABLE_RETRY: Duration = Duration::from_secs(30);
/// Homes whose keys are kept in memory, 2 KiB each; the table fills again from the database.
pub const SENDERS_MAX: usize = 65_536;
/// Messages of one home in the long run, per second, and at once: a poll that is answered at once and begun again has less.
pub const SITE_PER_S: f64 = 2.0;
/// See [`SITE_PER_S`].
pub const SITE_BURST: u32 = 60;
/// Statements of a home that are looked at: those that hold at the same time.
pub const STATEMENTS_PER_SITE_MAX: u32 = 8;
/// How long messages under a home's old signing key are taken, beside the skew (seconds): two long polls.
pub const OVERLAP_S: u64 = 120;
/// The KMC is asked for a home's keys again after this, doubled each time that it knew no better.
pub const ASK_AGAIN_FIRST: Duration = Duration::from_secs(3);
/// At most so long: a home whose keys were let in late is heard within this.
pub const ASK_AGAIN_LAST: Duration = Duration::from_secs(600);
/// A statement that is half over is asked for again so often: there are days left.
pub const RESTATE_AGAIN: Duration = Duration::from_secs(3600);
/// A home whose sealing key is at its end is asked for so often: it opens what is sealed to the old one for two long polls and the skew.
pub const SEALING_KEY_AGAIN: Duration = Duration::from_secs(60);
/// Questions to the KMC for keys of homes, per second: below the ten that a KMC answers one address.
pub const ASK_PER_S: f64 = 8.0;
/// The same, at once.
pub const ASK_BURST: u32 = 40;
/// Messages that wait for the answer to such a question. More are told to come later.
pub const ASK_WAITING_MAX: usize = 256;
/// The membership's row is one replica's for so long (seconds): the longest flow has four exchanges of 40 s.
pub const HELD_FOR_S: u64 = 180;
/// A row held for so much longer than anybody may (seconds) was taken by a clock that is wrong: it is free. Clocks of replicas differ by less.
pub const HELD_SKEW_S: u64 = 60;
/// Homes that say that there is a newer policy are believed so far as to ask the KMC, this often.
pub const CLAIM_EVERY: Duration = Duration::from_secs(30);
/// Looks at a row that is another's, before it counts as busy: 10 s.
pub const HELD_LOOKS_MAX: u32 = 40;
/// Between two such looks.
pub const HELD_LOOK_EVERY: Duration = Duration::from_millis(250);
/// The membership is looked at so often: what is due at the KMC, and what another replica wrote, should its hint be lost.
pub const MEMBER_LOOK_EVERY: Duration = Duration::from_secs(5);
/// Homes called at once: each costs a connection, two signatures and two openings.
pub const CALLS_AT_ONCE_MAX: usize = 16;
/// Between two calls of a home, by whichever replica (seconds): several controls in a row are told together.
pub const CALL_GAP_S: u64 = 2;
/// Until a home's answer is there.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// A home that did not answer is called again after this, doubled each time.
pub const CALL_AGAIN_FIRST: Duration = Duration::from_secs(5);
/// At most so long.
pub const CALL_AGAIN_LAST: Duration = Duration::from_secs(15 * 60);
/// Homes to call are looked for so often, should a hint be lost.
pub const CALLS_LOOK_EVERY: Duration = Duration::from_secs(60);
/// And at most so often, however many hints there are.
pub const CALLS_READ_EVERY: Duration = Duration::from_secs(1);
/// A home that polled within this is not called: two long polls (seconds).
pub const POLLING_S: u64 = 120;
/// How long a home's token is good unless said otherwise (days): the time from ordering a gateway to installing it.
pub const TOKEN_DAYS: u32 = 30;
/// Until a question to the KMC is given up for the message that waits for it.
pub const ASK_WITHIN: Duration = Duration::from_secs(10);
/// Messages in one page of exported evidence: at most 8 MB.
pub const EVIDENCE_PAGE_MAX: u32 = 64;

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
/// The same of an object under its version, which changes only its signature, when the utility's key is another (seconds).
pub const CACHE_VERSION_AGE_S: u32 = 3600;
/// Path of a broadcast object: sort, a zone or group of at most 128 bytes, version.
pub const OBJECT_PATH_BYTES_MAX: usize = 200;
/// Shutdown waits so long for answers under way.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// An outside feed must answer within this.
pub const FEED_TIMEOUT: Duration = Duration::from_secs(10);

/// Decisions shown with a site: what happened in the last hours.
pub const SITE_DECISIONS_SHOWN: u32 = 20;
/// What a client takes as one answer.
pub const CLIENT_BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a client waits for an answer, beside the wait it asked for.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
