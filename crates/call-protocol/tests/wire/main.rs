//! The bytes on the wire: golden files for every kind of message, newer peers, limits, and bytes that are no message.

mod golden;
mod limits;
mod newer_peer;
mod noise;
mod round_trip;
mod samples;

/// The body of the fuzz target: what it checks runs here, too, over bytes from a seed.
#[path = "../../fuzz/decoders.rs"]
mod decoders;
