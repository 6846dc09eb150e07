//! A home through a year, for the benchmark and for the simulation's test.

pub mod draw;
pub mod year;
