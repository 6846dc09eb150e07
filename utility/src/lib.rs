//! The utility's server: knows its homes, publishes prices, makes limits and controls, and writes down who did what.
//!
//! Price files are read by the crate `tariff`. The deciding modules ([`sites`], [`events`], [`rules`], [`readings`], [`quota`]) are pure.
//! [`store`] keeps everything, on SQLite or PostgreSQL; [`service`] is what homes may ask, without HTTP; [`sealed`] brings their messages to
//! it, under the keys of [`membership`]; [`console`] is what operators may ask, over HTTP; [`app`] binds
//! them.

pub mod api;
pub mod app;
pub mod args;
pub mod client;
pub mod config;
pub mod console;
pub mod events;
pub mod feed;
pub mod limits;
pub mod membership;
pub mod metrics;
pub mod quota;
pub mod readings;
pub mod rules;
pub mod sealed;
pub mod self_test;
pub mod service;
pub mod sites;
pub mod store;
