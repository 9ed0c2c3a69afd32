//! Phones that sleep: who is woken, what a cc_param is good for, and what is told later.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "these modules are one program of tests")]

#[path = "../server/client.rs"]
#[allow(dead_code, reason = "shared with the other tests of the server")]
mod client;
#[path = "../server/log.rs"]
mod log;
#[path = "../webhooks/endpoint.rs"]
#[allow(dead_code, reason = "shared with the tests of webhooks")]
mod endpoint;
#[path = "../server/words.rs"]
#[allow(dead_code, reason = "shared with the other tests of the server")]
mod words;

#[path = "../push/service.rs"]
#[allow(dead_code, reason = "shared with the tests of pushes")]
mod service;

mod account;
mod backend;

mod backup;
mod bound;
mod callee;
mod history;
mod missed;
mod privacy;
mod pushes;
mod released;
mod rings;
mod wall;
