//! `cargo xtask fuzz cc_param`: texts and payloads for the reader of a push's parameter.
#![no_main]

#[path = "../cc_param.rs"]
mod cc_param;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cc_param::check(bytes));
