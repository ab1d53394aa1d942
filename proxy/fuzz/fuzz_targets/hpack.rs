//! Compressed field sections: decoded without a fault of ours, the same after what was written anew.
#![no_main]
#![allow(dead_code, unused_imports, reason = "shared with the tests")]

#[path = "../../tests/fuzz/hpack.rs"]
mod hpack;
#[path = "../../tests/fuzz/mutate.rs"]
mod mutate;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hpack::hpack(bytes));
