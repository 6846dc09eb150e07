//! The simulated house: real agents and the real gateway core, no sockets, virtual time.
//!
//! Random operations are checked against a small model of what must be so ([`house`]). A failure prints its seed; run it
//! again with `SIM_SEED=… cargo test -p house-tests --test sim` (less 1000 for a house with a bad network).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, where a panic is a failed test")]

mod appliance;
mod gateway;
mod house;
mod operations;
mod scenarios;
mod year;
