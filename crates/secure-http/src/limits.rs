//! Every bound of this crate, each with its reason.

/// A message before its sender is known to be who it says: hashing more to check a signature or a cookie would let a flood cost
/// more than it costs the sender.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// A message on a connection whose sender has sent a valid one, or with a valid cookie: a day's report of a large home.
pub const REPORT_BYTES_MAX: usize = 64 * 1024;
/// A signed object (statement, policy, list) on its own; the longest is a full revocation list.
pub const SIGNED_BYTES_MAX: usize = 40 * 1024;

/// What a utility signs for all its homes at once: a zone's prices or a group's limits, as long as a message may be.
pub const BROADCAST_BYTES_MAX: usize = 64 * 1024;

/// Plaintext is filled up to a multiple of this, so that its length does not tell which event it holds.
pub const PADDING_BYTES: usize = 64;
/// Random bytes before the body, so that the commitment to it tells nothing.
pub const SALT_BYTES: usize = 16;

/// Numbers reserved with one write of the sender's counter; a restart skips at most this many of 2^64.
pub const SEQUENCE_BLOCK: u64 = 1024;
/// Sequence numbers behind the highest that are told apart; one further behind counts as a replay. A sender has few messages on
/// the way at once.
pub const WINDOW_BITS: u32 = 128;

/// Own requests whose answers are awaited at once: a long poll, a report, a key request, a time request, and some left over.
pub const AWAITED_MAX: usize = 16;
/// How long an answer is awaited: the long poll's 55 s and the way there and back (seconds).
pub const AWAITED_S: u64 = 90;

/// Time from a request for the time to its answer beyond which the answer is too vague to set a clock by (seconds).
pub const TIME_ANSWER_S: u64 = 30;
/// Time between two writes of the clock's floor (seconds). Each writes the whole file of a membership, up to 48 KiB, on an SD card; a floor that
/// is a day old only makes the first question after a start look old, which its answer mends.
pub const FLOOR_STORE_S: u64 = 86_400;

/// Length of a cookie epoch (seconds); a cookie is good for its epoch and the next.
pub const COOKIE_EPOCH_S: u64 = 600;
/// Bytes of a cookie key and of a tag: a forger has one try per request.
pub const COOKIE_BYTES: usize = 16;
/// A `HEG-Cookie` or `HEG-Cookie-Challenge` header's value: an epoch of at most 20 digits, a dot, 22 characters, a mark.
pub const COOKIE_HEADER_BYTES_MAX: usize = 64;

/// Lifetime of a root statement: a gateway's life (seconds, 30 years of 365.25 days).
pub const ROOT_STATEMENT_S_MAX: u64 = 946_728_000;
/// Lifetime of an issuing statement: the root key is taken out of its safe once a year (seconds, 366 days).
pub const ISSUING_STATEMENT_S_MAX: u64 = 366 * 86_400;
/// Lifetime of any other statement: what a revocation that does not arrive costs at most (seconds, 30 days).
pub const STATEMENT_S_MAX: u64 = 30 * 86_400;

/// Message lifetime that no policy may exceed (seconds).
pub const MESSAGE_LIFETIME_S_MAX: u64 = 300;
/// Difference of clocks that no policy may forgive more than (seconds).
pub const SKEW_S_MAX: u64 = 300;
/// Signing key lifetime that no policy may exceed (seconds, 400 days).
pub const SIG_KEY_LIFETIME_S_MAX: u64 = 400 * 86_400;
/// Sealing key lifetime that no policy may exceed: what was sealed to a key is as secret as that key stays (seconds, 31 days).
pub const KEM_KEY_LIFETIME_S_MAX: u64 = 31 * 86_400;
/// Interval of asking for policy and list that no policy may exceed (seconds, one day).
pub const REFRESH_S_MAX: u64 = 86_400;
/// Lifetime of a policy (seconds, 400 days).
pub const POLICY_S_MAX: u64 = 400 * 86_400;
/// Key size that no policy may go below (bits).
pub const KEY_BITS_MIN: u64 = 256;
/// Algorithms a policy may list of one sort; there are three of each in the registries that matter.
pub const ALGORITHMS_MAX: usize = 8;

/// Serials in a revocation list: statements live 30 days, so the list holds what was revoked in those.
pub const REVOKED_MAX: usize = 4096;
/// Steps on the way from a known statement to the one in force: two years of signing keys of 90 days.
pub const PATH_MAX: usize = 9;
/// Statements in one key answer: a party's own and those above it.
pub const STATEMENTS_MAX: usize = 4;

/// Texts of an order for people: premises, reason (bytes): an address of several lines.
pub const ORDER_TEXT_BYTES_MAX: usize = 256;
/// Name of the operator who gave an order (bytes): as long as a mail address usually is at most.
pub const OPERATOR_BYTES_MAX: usize = 64;
/// The policy in an order (bytes): every key with its comment has under 4 KiB, and the order has to fit a message.
pub const ORDER_POLICY_BYTES_MAX: usize = 8 * 1024;
/// What is answered to an order (bytes): the longest token has 318, a reason a line or two.
pub const ORDERED_BYTES_MAX: usize = 1024;

/// Bytes of the KMC's address in a token: a DNS name's 253, and a port.
pub const HOST_BYTES_MAX: usize = 259;
/// The longest text of an enrolment token.
pub const TOKEN_TEXT_BYTES_MAX: usize = HOST_BYTES_MAX + 59;
