//! Development only: simulated network in virtual time, namespace lab.

pub mod lab;
pub mod network;
