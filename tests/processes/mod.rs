//! A server and phones as processes of their own, for the demo and the benchmarks.
//!
//! The program that uses this module starts itself again as a phone: see [`phone::run_if_asked`], or as one that a push wakes:
//! [`handset::run_if_asked`]. They obey lines on their standard
//! input and print what happens as lines of JSON with the wall time in µs.

pub mod handset;
pub mod host;
pub mod netlab;
pub mod phone;
pub mod relay;
pub mod sound;
pub mod sweep;
