//! The system on the hosts of the lab: unmodified programs, real sockets, real frames.
//!
//! Each test has a lab of its own. `cargo test -p house-tests --test e2e -- --test-threads=1`: the labs don't disturb
//! each other, but deadlines are for a machine that runs one.

mod commands;
mod discovery;
mod firewall;
mod homes;
mod hostile;
mod machine;
mod paper;
mod probe;
mod schedule;
mod sleep;
mod utility;
