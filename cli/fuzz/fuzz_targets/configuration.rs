//! A configuration is refused with a report, or taken; then what it means can be written and read back.
#![no_main]

#[path = "../../tests/fuzz/file.rs"]
mod file;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        file::check(text);
    }
});
