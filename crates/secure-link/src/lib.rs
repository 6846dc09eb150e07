//! The way of a gateway or a utility to its KMC: enrolment, keys, roll-over, policy, revocations, time and orders, over HTTP/1.1.
//!
//! It carries and checks; it stores nothing. What has to be on disk before a call (the mark of the number it is given) and after it
//! (statement, policy, list) is the caller's, as are clocks and random bytes. docs/secure-channel.md is the specification.
#![forbid(unsafe_code)]

mod http;
mod kmc;
pub mod limits;

pub use http::{Answer, HttpClient, HttpError};
pub use kmc::{At, Enrolled, FetchedKey, Kmc, LinkError, Member};
