//! Development only: virtual clock, simulated network, namespace lab, fixtures.

pub mod lab;
