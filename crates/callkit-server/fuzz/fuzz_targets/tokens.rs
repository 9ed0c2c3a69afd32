//! `cargo xtask fuzz tokens`: tokens and parameters, forged and broken, for their checks.
#![no_main]

#[path = "../tokens.rs"]
#[allow(dead_code, reason = "the seeds are for the ordinary tests")]
mod tokens;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tokens::check(bytes));
