//! What the live tests, the demo and the benchmarks share.

pub mod processes;
