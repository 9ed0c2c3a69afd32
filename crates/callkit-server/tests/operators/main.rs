//! What an operator relies on: certificates, health, drain, `check-config`, the log.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "these modules are one program of tests")]

#[path = "../server/client.rs"]
#[allow(dead_code, reason = "shared with the other tests of the server")]
mod client;
#[path = "../server/words.rs"]
#[allow(dead_code, reason = "shared with the other tests of the server")]
mod words;

mod drain;
mod failure;
mod orders;
mod program;
mod proxies;
mod tls;
