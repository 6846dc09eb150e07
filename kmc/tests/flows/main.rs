//! The real daemon on loopback, and gateways that talk to it.

mod daemon;
mod enrolment;
mod lifetime;
mod messages;
mod orders;
