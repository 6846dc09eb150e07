//! Every bound of this crate, each with its reason.

/// A price file. A year of quarters as CSV has 2 MB; a publication has at most four days.
pub const PRICE_FILE_BYTES_MAX: usize = 256 * 1024;
/// Rows of a price file before anything else is looked at.
pub const PRICE_ROWS_MAX: usize = utility_wire::limits::SLOTS_MAX;
/// Periods of a time-of-use table: four a day for weekdays and weekend, in four seasons.
pub const PERIODS_MAX: usize = 32;
/// Holidays of a time-of-use table: five years of those that move.
pub const HOLIDAYS_MAX: usize = 128;
/// Prices are worked out for so long at once, seconds: a week and a day that clocks change. Nobody plans further.
pub const SPAN_S_MAX: u64 = 8 * 86_400;
/// Series of one source: today's and tomorrow's, each corrected some times. 3 KiB each at most.
pub const SERIES_PER_SOURCE_MAX: usize = 16;
/// Prices averaged by a bill: from a minute to a day, seconds, as slots are.
pub const BILLING_SLOT_S_MAX: u32 = utility_wire::limits::SLOT_S_MAX;
