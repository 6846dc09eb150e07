//! Development only: virtual clock, simulated network, namespace lab, fixtures.

pub mod clock;
pub mod lab;
pub mod network;
