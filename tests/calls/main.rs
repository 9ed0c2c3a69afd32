//! The documented API, row by row, against the real server over loopback with real codecs and transport.
//!
//! The name of a test begins with its row (`a6_…`, `e1_…`); it fails when the row is broken. The files follow the five words.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod house;

mod cable;
#[allow(unreachable_pub)] // it is the file of an example
#[path = "../../crates/callkit/examples/chat/carrier.rs"]
mod carrier;
mod post;

mod invite;
mod ring;
mod accept;
mod media;
mod end;

mod devices;
mod races;
mod warm;
mod chat;
mod tokens;
mod handles;

mod bad_input;
mod outage;
mod network;
mod refusals;
mod listeners;

mod app_faults;
mod sound_devices;
mod sound_levels;
mod sound_muted;
mod sound_tones;
mod p4;
mod p4_background;
mod p4_call;
mod p4_media;
mod p4_reasons;
mod p4_start;
mod p4_account;
