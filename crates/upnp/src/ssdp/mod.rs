//! SSDP (UDA 1.1, section 1): the device side announces and answers searches, the control point side searches and keeps
//! track of who is there. Both are state machines without IO; see the crate's documentation.

pub mod advertiser;
mod endpoint;
mod known;
pub mod message;
mod rate;
pub mod tracker;

pub use advertiser::{Advertiser, AdvertiserConfig, Announced};
pub use message::{SsdpMessage, SsdpParseError, Target, parse};
pub use tracker::{GoneWhy, Sighting, Tracker, TrackerConfig, TrackerEvent};
