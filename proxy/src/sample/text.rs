//! A short text on the stack: numbers, addresses, dates.

use std::{
    fmt,
    io::{Cursor, Write},
    ops::Deref,
};

use crate::http::headers::Sink;

/// Longer than every number, address, date and uuid.
const LONGEST: usize = 48;

/// Up to 48 bytes.
#[derive(Clone, Copy)]
pub(crate) struct ShortText {
    bytes: [u8; LONGEST],
    length: usize,
}

impl ShortText {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; LONGEST], length: 0 }
    }

    pub(crate) fn display(value: impl fmt::Display) -> Self {
        let mut text = Cursor::new([0; LONGEST]);
        let fits = write!(text, "{value}").is_ok();
        debug_assert!(fits, "{value} is longer than {LONGEST} bytes");
        let length = usize::try_from(text.position()).unwrap_or(0);
        Self { bytes: text.into_inner(), length }
    }
}

impl Sink for ShortText {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        debug_assert!(end <= LONGEST);
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
            self.length = end;
        }
    }
}

impl Deref for ShortText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
