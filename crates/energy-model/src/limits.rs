//! Every bound of this crate, each with its reason.

/// A caller's identifier. A UUID has 36 bytes; the longest foreign device name seen has 70.
pub const CALLER_ID_BYTES_MAX: usize = 128;
/// A caller's address: a host name has at most 253 bytes, an IPv6 literal with its zone fewer.
pub const CALLER_ADDRESS_BYTES_MAX: usize = 253;
/// Registrations handed out between two writes of the counter's mark: each write costs a flash page, and a restart
/// skips at most this many of four thousand million numbers.
pub const REG_ID_BLOCK: u32 = 256;
