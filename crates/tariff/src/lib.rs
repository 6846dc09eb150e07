//! What energy costs and when, without clock, socket or file: price files ([`price_file`]), time-of-use tables ([`time_of_use`]), and
//! the prices of several sources as one ([`Prices`]).
//!
//! Instants are UTC ([`utility_wire::UnixTime`]) and every span is half open; a zone's clock is asked only where a day, a month or a time of day
//! is meant. Every price is a whole number of [`Price`], also a negative one; where there is none there is a gap, never a zero.
#![forbid(unsafe_code)]

pub mod limits;
mod price;
pub mod price_file;
mod prices;
mod time;
pub mod time_of_use;

pub use price::{NotAPrice, Price, unit};
pub use prices::{Gap, Missing, Priced, Prices, Slot, Source, Stale, Terms};
pub use time::{instant, unix};
pub use time_of_use::Table;
