//! The home energy gateway: finds the appliances of a home, knows their state, wakes and commands them, keeps their
//! registrations, and writes down what it did and why.
//!
//! The deciding modules ([`gateway`], [`registry`], [`commands`], [`registrations`], [`utility`], [`prices`], [`rules`], [`plan`],
//! [`planner`], [`journal`]) are pure: facts in, orders out, both clocks passed in; [`home`] joins them with device and control point. The others each own one outside thing; [`app`] binds
//! them in one loop.

pub mod api;
pub mod app;
pub mod args;
pub mod commands;
pub mod config;
pub mod control_point;
pub mod device;
pub mod envelope;
pub mod firewall;
pub mod gateway;
pub mod home;
pub mod journal;
pub mod limits;
pub mod metrics;
pub mod neighbours;
pub mod now;
pub mod page;
pub mod plan;
pub mod planner;
pub mod price_feed;
pub mod prices;
pub mod registrations;
pub mod registry;
pub mod rules;
pub mod self_test;
pub mod simulate;
pub mod store;
pub mod utility;
pub mod utility_client;
pub mod wake;
