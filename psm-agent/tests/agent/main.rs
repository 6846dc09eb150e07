//! The agent without IO, step by step: what goes out, in which order, for each thing that comes in.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

mod fixture;
mod orders;
mod registrations;
mod sleep;
