//! The gateway in virtual time: facts in, orders out, nothing else.

#![expect(clippy::unwrap_used, reason = "helpers of tests, where a panic is a failed test")]

mod appliances;
mod commands;
mod home;
mod registrations;
mod waking;
