//! The dealings with the utility in virtual time: facts in, orders out, a disk that may be full, a network that may be gone.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

mod controls;
mod decisions;
mod house;
mod limits;
mod polls;
mod reports;
