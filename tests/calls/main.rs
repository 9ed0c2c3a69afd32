//! The documented API, row by row, against the real server over loopback with real codecs and transport.
//!
//! The name of a test begins with its row (`a6_…`, `e1_…`); it fails when the row is broken. The files follow the five words.

mod house;

mod accept;
mod end;
mod invite;
mod media;
mod ring;

mod bad_input;
mod outage;
