//! Webhooks against a real backend over HTTP.

#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub)]

mod endpoint;

mod crash;
mod delivery;
mod failures;
mod load;
mod privacy;
mod receiver;
