//! The head of a request: the same however it is split, and what is written anew is framed as it was decided.
#![no_main]
#![allow(dead_code, unused_imports, reason = "shared with the tests")]

#[path = "../../tests/fuzz/heads.rs"]
mod heads;
#[path = "../../tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../../tests/fuzz/oracle.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| heads::request(bytes));
