//! Development only: simulated network in virtual time, namespace lab, PostgreSQL clusters.

pub mod lab;
pub mod network;
pub mod postgres;
