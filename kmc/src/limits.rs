//! Every bound of the key management centre, each with its reason. Nothing from outside grows without one of these.

use std::time::Duration;

/// Connections served at once on the public side; further ones wait in the kernel's queue. Each takes about 20 KiB.
pub const CONNECTIONS_MAX: usize = 512;
/// Of those, from one address: homes behind one address of their provider share it, and a flood does not get all places.
pub const CONNECTIONS_PER_PEER_MAX: usize = 64;
/// Connections served at once on the local side: a probe and a scraper.
pub const LOCAL_CONNECTIONS_MAX: usize = 8;
/// Requests read and not yet taken by the loop; a full queue makes connections wait.
pub const QUEUE_MAX: usize = 64;
/// From accepting a connection, or its last answer, until the next request's head is there.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For the body after the head: 16 KiB over the slowest mobile network.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Until the loop answers. It writes to the disk once per request; a queue full of those takes seconds on the slowest.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Read and write buffer of a connection: a request's head has to fit.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// Header fields of a request: ours send six.
pub const HEADERS_MAX: usize = 32;
/// For the answers under way when the daemon ends.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// When the centre is under load: then it asks for cookies before it checks signatures. Honest senders are refused next to never.
pub const LOAD: secure_http::LoadLimits =
    secure_http::LoadLimits { queue: 16, refusals_per_s: 32, hold_s: 5, neighbourhood_per_s: 8, peers_max: 4096 };
/// What one under load is told to wait (seconds).
pub const LOAD_RETRY_S: u64 = 2;

/// Enrolment attempts with one token in an hour: a person tries again two or three times.
pub const ATTEMPTS_PER_HOUR: u32 = 5;
/// How long a new statement waits for its challenge to come back (seconds).
pub const PENDING_S: u64 = 600;
/// Lifetime of a token unless said otherwise, and at most (days): the time from ordering a gateway to installing it, and a year.
pub const TOKEN_DAYS: u32 = 30;
/// See [`TOKEN_DAYS`].
pub const TOKEN_DAYS_MAX: u32 = 366;
/// Tokens that may be open at once: the largest roll-out planned for a month.
pub const TOKENS_OPEN_MAX: u32 = 100_000;
/// Text of premises, reasons and the like (bytes): an address of several lines.
pub const TEXT_BYTES_MAX: usize = 256;
/// Entries of the audit log, tokens or statements in one answer.
pub const ANSWER_ROWS_MAX: u32 = 1000;
/// A policy file: every key with its comment has under 4 KiB.
pub const POLICY_FILE_BYTES_MAX: usize = 64 * 1024;

/// Lifetime of the root key's statement (days): see `ROOT_STATEMENT_S_MAX` of secure-http.
pub const ROOT_DAYS: u64 = 20 * 365;
/// Lifetime of an issuing key unless said otherwise, and at most (days).
pub const ISSUING_DAYS: u64 = 365;
/// See [`ISSUING_DAYS`].
pub const ISSUING_DAYS_MAX: u64 = 366;
/// Days before the end of the issuing key from which on status and log say so: time to fetch the root key from its safe.
pub const ISSUING_WARN_DAYS: u64 = 60;
/// Lifetime of a policy unless said otherwise (days). The daemon renews it when half of that is over.
pub const POLICY_DAYS: u64 = 90;
/// A statement is dated back by this (seconds), so that a clock that is a little behind takes it at once.
pub const BACKDATE_S: u64 = 60;

/// Time between two looks at what has run out (seconds).
pub const HOUSEKEEPING_S: u64 = 60;
/// Rows that one look removes, so that no request waits long for it.
pub const PRUNE_ROWS: u32 = 1000;

/// Work for a passphrase, as power of two: 32 MiB of memory and about 0.1 s (RFC 7914 with r = 8, p = 1).
pub const SCRYPT_LOG_N: u8 = 15;
/// What a key file may ask for at most, so that a changed one can't take all memory: 1 GiB.
pub const SCRYPT_LOG_N_MAX: u8 = 20;
/// A key file; the longest holds four keys.
pub const KEY_FILE_BYTES_MAX: u64 = 4096;
/// A passphrase (bytes).
pub const PASSPHRASE_BYTES_MAX: u64 = 1024;
