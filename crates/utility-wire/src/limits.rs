//! Every bound of this crate, each with its reason.

/// An encoded message. The sealed channel takes 64 KiB for reports; the rest is far below.
pub const MESSAGE_BYTES_MAX: usize = 60 * 1024;
/// An appliance's identifier: a UUID has 36 bytes, the longest foreign device name seen 70.
pub const APPLIANCE_ID_BYTES_MAX: usize = 128;
/// A name for people. The longest friendly name seen has 60 bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// A reason for people: a sentence or two.
pub const REASON_BYTES_MAX: usize = 400;
/// A zone or group: `SE3`, `north/substation-4/feeder-7/t3`.
pub const ZONE_BYTES_MAX: usize = 64;

/// Appliances in one report: the largest home measured has 160.
pub const APPLIANCES_MAX: usize = 256;
/// Meters with consumption in one report: each appliance and the home itself.
pub const METERS_MAX: usize = APPLIANCES_MAX + 1;
/// Intervals of one meter in one report: a week of quarters, the longest time a gateway keeps before it merges.
pub const INTERVALS_MAX: usize = 7 * 96;
/// Gaps in one report.
pub const GAPS_MAX: usize = 64;
/// Decisions in one report; more follow with the next. A home makes a handful an hour.
pub const DECISIONS_MAX: usize = 32;
/// An action, a cause or an outcome in a decision: the longest is a plan's start with its moment.
pub const WORD_BYTES_MAX: usize = 64;
/// A decision's reason: a sentence. So many of them leave a report its room for a large home.
pub const DECISION_REASON_BYTES_MAX: usize = 160;
/// Consumption intervals are between a minute and a day long, seconds.
pub const INTERVAL_S_MAX: u32 = 86_400;

/// Outcomes told by one poll; more follow with the next.
pub const OUTCOMES_MAX: usize = 64;
/// Controls in one command; more follow with the next.
pub const CONTROLS_MAX: usize = 32;
/// Limits of one target that have not ended. Nobody can follow more.
pub const LIMITS_MAX: usize = 64;
/// A poll is answered within this, seconds: below the minute after which routers and proxies cut a silent connection.
pub const WAIT_S_MAX: u16 = 55;
/// Longest delay of a randomised start, seconds: the half hour of the regulation for charge points (Great Britain), twice.
pub const RANDOMISE_S_MAX: u16 = 3600;

/// Slots in a price series: four days of quarters with an hour to spare, or as many hours.
pub const SLOTS_MAX: usize = 4 * 96 + 4;
/// A price slot is between a minute and a day long, seconds.
pub const SLOT_S_MIN: u32 = 60;
/// See [`SLOT_S_MIN`].
pub const SLOT_S_MAX: u32 = 86_400;
/// A price's distance from zero, thousandths of the currency: a million per unit is no price but an error.
pub const PRICE_MILLI_MAX: i64 = 1_000_000_000;
/// Series of a zone that are not over: today's and tomorrow's, each corrected some times.
pub const SERIES_MAX: usize = 64;
