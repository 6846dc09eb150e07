//! The UPnP services of appliances and gateway, each declared once.
//!
//! A module per service, written by the `service!` macro (`declare.rs`) from one declaration: the `DECLARATION`
//! that SCPD, argument checks and event lists come from, a request and a reply struct per action, the enumeration `Call`
//! a device matches on, and the enumeration `Event` of what is evented.
//! ```
//! use energy_model::RegId;
//! use energy_services::energy_gateway::{Call, NoStandbyPeriodReply, WakeUpTime, WakeUpTimeReply, WithdrawReply};
//! use energy_services::{Action, Reply};
//!
//! // The control point's side.
//! let request = WakeUpTime { uuid: "uuid:7".parse()?, address: "192.0.2.1".parse()?, time: "06:30:00".parse()? };
//! let sent = request.arguments();
//!
//! // The device's side. A match that forgets an action does not compile.
//! let reg_id = RegId::new(1)?;
//! let returned = match Call::decode(WakeUpTime::NAME, &sent)? {
//!     Call::WakeUpTime(request) => {
//!         assert_eq!((request.uuid.as_str(), request.time.hour()), ("7", 6));
//!         WakeUpTimeReply { reg_id }.into_arguments()
//!     }
//!     Call::NoStandbyPeriod(_) => NoStandbyPeriodReply { reg_id }.into_arguments(),
//!     Call::Withdraw(_) => WithdrawReply {}.into_arguments(),
//! };
//! assert_eq!(returned, [("RegID", "1".to_owned())]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

#[macro_use]
mod declare;

pub mod appliance_info;
pub mod energy_gateway;
pub mod errors;
pub mod limits;
pub mod low_power_device;
pub mod power_management;
pub mod wire;

pub use declare::{Action, Reply};
pub use errors::{DecodeError, Refusal};
pub use wire::{Wire, WireError};

/// Device type of an appliance.
pub const MANAGED_APPLIANCE: &str = "urn:heg-energy-org:device:ManagedAppliance:1";
/// Device type of the gateway.
pub const HOME_ENERGY_GATEWAY: &str = "urn:heg-energy-org:device:HomeEnergyGateway:1";

/// [`MANAGED_APPLIANCE`] as a type.
pub fn managed_appliance() -> upnp::ids::TypeUrn {
    upnp::ids::TypeUrn::parse(MANAGED_APPLIANCE).expect("declared in the form of a device type")
}

/// [`HOME_ENERGY_GATEWAY`] as a type.
pub fn home_energy_gateway() -> upnp::ids::TypeUrn {
    upnp::ids::TypeUrn::parse(HOME_ENERGY_GATEWAY).expect("declared in the form of a device type")
}
