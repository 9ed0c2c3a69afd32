//! The server from outside: real sockets on loopback, a client that speaks frames.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "these modules are one program of tests")]

mod abuse;
mod access;
mod calls;
mod channels;
mod client;
mod dev_backend;
mod lifecycle;
mod log;
mod misbehaviour;
mod privacy;
mod sessions;
mod sign_in;
mod silence;
mod stall;
mod stillness;
mod stun;
mod words;
