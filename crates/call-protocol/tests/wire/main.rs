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

/// The bodies of the fuzz targets: what they check runs here, too, over bytes from a seed.
#[path = "../../fuzz/cc_param.rs"]
mod cc_param;
#[path = "../../fuzz/decoders.rs"]
mod decoders;

#[path = "../../fuzz/broken.rs"]
mod broken;
