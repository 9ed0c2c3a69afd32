//! The hub by itself, in virtual time: real lines of devices, bytes between them, and a store that is a few maps.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "these modules are one program of tests")]

mod calls;
mod missed;
mod sessions;
mod world;
