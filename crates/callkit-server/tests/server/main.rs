//! The server from outside: real sockets on loopback, a client that speaks frames.
#![allow(missing_docs, unreachable_pub, reason = "these modules are one program")]

mod calls;
mod channels;
mod client;
mod dev_backend;
mod lifecycle;
mod misbehaviour;
mod privacy;
mod sessions;
mod sign_in;
mod stun;
