//! What travels inside the sealed messages between a home's gateway and its utility, and the broadcast objects beside them.
//!
//! Values and their bytes, no IO and no clock. Every message is a CBOR array `[version, body]` (RFC 8949), deterministic: fixed order,
//! shortest heads, definite lengths, nothing behind the end. A decoder takes exactly what the encoder writes, so that one value has one
//! encoding. A message of a newer version is refused by its number before its body is looked at.
//!
//! | sealed kind | body |
//! |---|---|
//! | report | [`Report`] |
//! | poll | [`Poll`] |
//! | command | [`Command`] |
//! | ack | [`ReportAnswer`], inside the sealed channel's own acknowledgement |
//!
//! [`PriceIndex`], [`PriceSeries`] and [`LimitSet`] are broadcast objects: the same bytes for everybody, served by any HTTP cache.
#![forbid(unsafe_code)]

#[macro_use]
mod codec;

mod command;
pub mod endpoints;
mod ids;
mod limit;
pub mod limits;
mod list;
mod price;
mod report;
mod spread;

pub use codec::{Message, WireError};
pub use command::{Action, Command, Control, Outcome, OutcomeKind, Poll, Refusal, RefusalCode, Versions};
pub use ids::{ApplianceId, CurrencyCode, EventId, IdError, IntervalLength, UnixTime, ZoneId};
pub use limit::{Limit, LimitSet};
pub use list::{List, ListError, Text, TextError};
pub use price::{Per, PriceEntry, PriceError, PriceIndex, PriceSeries};
pub use report::{ApplianceReport, BatchState, Consumption, DecisionReport, Gap, GapReason, Report, ReportAnswer};
pub use spread::{draw_s, phase_s};
