//! The utility's server: knows its homes, publishes prices, makes limits and controls, and writes down who did what.
//!
//! The deciding modules ([`sites`], [`tariff`], [`events`], [`rules`], [`quota`]) are pure. [`store`] keeps everything, on SQLite or
//! PostgreSQL; [`service`] is what homes may ask, without HTTP.

pub mod events;
pub mod limits;
pub mod metrics;
pub mod quota;
pub mod rules;
pub mod service;
pub mod sites;
pub mod store;
pub mod tariff;
