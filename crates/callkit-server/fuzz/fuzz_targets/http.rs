//! `cargo xtask fuzz http`: requests, bodies of pages and frames of a signed-in device for a server.
#![no_main]

#[path = "../http.rs"]
#[allow(dead_code, reason = "the seeds are for the ordinary tests")]
mod http;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| http::check(bytes));
