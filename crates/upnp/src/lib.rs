//! UPnP Device Architecture 1.1 without IO: SSDP, description, SCPD, SOAP and GENA as state machines over values.
//!
//! Nothing here opens a socket, reads a clock or asks for randomness. A machine is fed facts (`handle_*`, always with the
//! current [`time::BootTime`]), and gives back orders ([`Effect`], from `poll_effect`) and the time it wants to be woken
//! (`poll_timeout`). A driver (the `upnp-net` crate) or a test carries the orders out.
#![forbid(unsafe_code)]

pub mod control_point;
pub mod description;
pub mod device;
pub mod error;
pub mod gena;
pub mod http;
pub mod ids;
pub mod limits;
pub mod net;
mod request;
pub mod scpd;
pub mod service;
pub mod soap;
pub mod ssdp;
pub mod time;
pub mod url;
pub mod xml;

pub use net::Effect;
