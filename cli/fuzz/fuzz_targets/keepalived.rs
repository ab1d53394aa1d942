//! A file of Keepalived's is converted into one that our own reader takes, or refused with one sentence.
#![no_main]

#[path = "../../tests/fuzz/keepalived.rs"]
mod keepalived;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    keepalived::check(bytes);
});
