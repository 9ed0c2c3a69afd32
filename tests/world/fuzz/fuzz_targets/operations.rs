//! `cargo xtask fuzz operations`: lists of operations and faults in a small world, with the rules of a call checked after each.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assert_eq!(world::operations(bytes), None));
