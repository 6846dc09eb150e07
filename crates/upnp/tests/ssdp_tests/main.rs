//! SSDP on a wire of values, in virtual time.

mod control_point;
mod device;
mod intruders;
mod message;
// Marked as test code so that the helpers may unwrap as the tests do.
#[cfg(test)]
mod wire;
