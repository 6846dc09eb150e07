//! The real daemon on loopback, and gateways that talk to it.

mod daemon;
mod enrolment;
mod lifetime;
mod membership;
mod messages;
mod orders;
