//! The attacks of the paper's Table III, each made twice: on a home and a utility that say the same bodies in plain HTTP, where it has to
//! succeed, and on the real key management centre, utility and gateway's membership with sealed messages, where it must not. Everything
//! goes over loopback, through a wire that an attacker sits on.
//!
//! `make attacks` prints the table; docs/threat-model.md has it and says what it shows and what it does not.

mod cpu;
mod daemons;
mod effort;
mod events;
mod flood;
mod gateway;
mod identity;
mod middle;
mod old_messages;
mod plain;
mod sniffing;
mod standing;
mod table;
mod wire;
mod world;
