//! The bytes on the wire: golden files for every kind of message, newer peers, limits, and bytes that are no message.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail where it stands, and this one reads the golden files"
)]

mod golden;
mod limits;
mod newer_peer;
mod noise;
mod round_trip;
mod samples;

/// The body of the fuzz target: what it checks runs here, too, over bytes from a seed.
#[path = "../../fuzz/decoders.rs"]
mod decoders;
