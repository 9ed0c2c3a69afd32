//! Webhooks against a real backend over HTTP.

#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub)]

mod endpoint;
#[path = "../server/log.rs"]
mod log;

mod crash;
mod delivery;
mod failures;
mod load;
mod privacy;
mod receiver;
