//! Power state monitoring agent of a Linux appliance.
//!
//! It tells the home energy gateway of every change of the appliance's power state before the machine sleeps, and obeys
//! its commands, or refuses them with a reason. Reading order: [`state`] with [`kernel`], [`safety`] and [`schedule`] decide (PURE);
//! [`probe`], [`logind`], [`operation`], [`link`], [`rtc`] and [`supply`] each own one outside thing; [`device`] is the UPnP face,
//! [`gateway_link`] the control point toward the gateway; [`app`] is the one loop that joins them.

pub mod agent;
pub mod app;
pub mod args;
pub mod bus;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod device;
pub mod gateway_link;
pub mod kernel;
pub mod limits;
pub mod link;
pub mod logind;
pub mod meter;
pub mod operation;
pub mod page;
pub mod privileges;
pub mod probe;
pub mod realtime;
pub mod rtc;
pub mod safety;
pub mod schedule;
pub mod sources;
pub mod state;
pub mod status;
pub mod store;
pub mod supply;
pub mod wake;
pub mod wake_service;
