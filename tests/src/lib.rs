//! Whole-system tests, the namespace lab and the demo.

pub mod man;
