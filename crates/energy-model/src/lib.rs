//! The words of home energy management: power states, times of day, registrations, power, importance.
//!
//! Values only: no IO and no clock. Every type is made by parsing (`FromStr`, `TryFrom`), so one that exists is valid;
//! `Display` writes what `FromStr` reads, and that same text is what UPnP arguments, configuration files and JSON carry.
#![forbid(unsafe_code)]

#[macro_use]
mod words;

pub mod appliance;
pub mod caller;
pub mod daytime;
pub mod limits;
pub mod mac;
pub mod power;
pub mod refusal;
pub mod registration;
pub mod state;

pub use appliance::{Flexibility, Importance};
pub use caller::{CallerAddress, CallerId};
pub use daytime::{DailyWindow, TimeOfDay};
pub use mac::MacAddress;
pub use power::{WattHours, Watts};
pub use refusal::RefusalKind;
pub use registration::{RegId, RegIdCounter};
pub use state::{PowerState, WakeMethod};
pub use words::WordError;
