//! Benchmarks and the figures of docs/benchmarks.md.
