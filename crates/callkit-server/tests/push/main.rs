//! Pushes from outside: local services that speak what Apple, Google and the browsers' push services speak, and check what they check.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "these modules are one program of tests")]

#[path = "../server/log.rs"]
mod log;
mod service;

mod apns;
mod fcm;
mod keys;
mod logs;
mod web_push;
