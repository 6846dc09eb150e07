//! The protocol as its users see it: parties that know each other through a KMC, and what goes wrong between them.

mod authority;
mod common;
mod messages;
mod seeds;

// The random source that is shared with the unit tests finds the hash by this path.
use secure_http::crypto;
