//! The way of a gateway or a utility to its KMC: enrolment, keys, roll-over, policy, revocations, time and orders, over HTTP/1.1.
//!
//! [`Kmc`] has the flows, [`Membership`] all that a party keeps of them and when which is due. They carry and check, and store nothing. What has to be on disk before a call (the mark of the number it is given) and after it
//! (statement, policy, list) is the caller's, as are clocks and random bytes. docs/secure-channel.md is the specification.
#![forbid(unsafe_code)]

mod http;
mod job;
mod kmc;
pub mod limits;
mod membership;
mod record;

pub use http::{Answer, HttpClient, HttpError};
pub use job::{Done, Job};
pub use kmc::{At, Enrolled, FetchedKey, Kmc, LinkError, Member};
pub use membership::{Membership, MessageError, News, Peer, Trouble};
pub use record::RecordError;
