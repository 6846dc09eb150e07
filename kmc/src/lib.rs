//! The key management centre (KMC): states whose keys are whose, signs policies and revocation lists, enrols gateways and utilities by
//! one-time tokens, and keeps what was said as evidence. docs/secure-channel.md is the specification.
//!
//! [`centre`] is the centre without sockets and clocks; [`exchange`] is pure. [`store`], [`keyring`] and [`key_file`]
//! each own one outside thing; [`server`] speaks HTTP; [`app`] is the loop between.

pub mod api;
pub mod app;
pub mod args;
pub mod centre;
pub mod command;
pub mod config;
pub mod control;
pub mod exchange;
pub mod key_file;
pub mod keyring;
pub mod limits;
pub mod metrics;
pub mod policy_file;
pub mod server;
pub mod store;
