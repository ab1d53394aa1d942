//! The first message of a TLS client: the same however it comes and is cut into records.
#![no_main]
#![allow(dead_code, unused_imports, reason = "shared with the tests")]

#[path = "../../tests/fuzz/client_hello.rs"]
mod client_hello;
#[path = "../../tests/fuzz/mutate.rs"]
mod mutate;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| client_hello::client_hello(bytes));
