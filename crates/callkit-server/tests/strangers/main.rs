//! What somebody without a token can make the server do, and that nobody else feels it. `docs/security.md` names a test for each.
//!
//! Strangers come from 127.0.0.2, which the server does not trust here; its users and the one who reads the metrics from 127.0.0.1.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "these modules are one program of tests")]

#[path = "../server/client.rs"]
#[allow(dead_code, reason = "shared with the other tests of the server")]
mod client;
#[path = "../server/stillness.rs"]
mod stillness;
#[path = "../server/words.rs"]
#[allow(dead_code, reason = "shared with the other tests of the server")]
mod words;

mod document;
mod floods;
mod h2_attacks;
mod leftovers;
mod reflection;
mod slow;
mod stranger;
mod tokens;
