//! Chunked content: the same however it is split, and what is written anew is what a second reader reads.
#![no_main]
#![allow(dead_code, unused_imports, reason = "shared with the tests")]

#[path = "../../tests/fuzz/chunked.rs"]
mod chunked;
#[path = "../../tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../../tests/fuzz/oracle.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chunked::chunked(bytes));
