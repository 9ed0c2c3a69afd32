//! `cargo xtask fuzz`: random bytes for every decoder.
#![no_main]

#[path = "../decoders.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::check(bytes));
