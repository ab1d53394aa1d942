//! A file of HAProxy's is converted into one that our own reader takes, or refused with one sentence.
#![no_main]

#[path = "../../tests/fuzz/haproxy.rs"]
mod haproxy;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    haproxy::check(bytes);
});
