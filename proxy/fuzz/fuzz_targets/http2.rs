//! A connection of HTTP/2: the same however its bytes come, and requests that are one head and content in one framing.
#![no_main]
#![allow(dead_code, unused_imports, reason = "shared with the tests")]

#[path = "../../tests/http2/frames.rs"]
mod frames;
#[path = "../../tests/fuzz/http2.rs"]
mod http2;
#[path = "../../tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../../tests/fuzz/oracle.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| http2::http2(bytes));
