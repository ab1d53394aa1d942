//! A JSON object, written member by member into a line, with a bound for its texts: what is longer is cut off there, and
//! the object stays whole.

use super::escape;
use crate::http::headers::put_number;

/// An object that is being written, and those in it.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    /// The innermost has a member.
    has_some: bool,
    /// Bytes that texts may still have.
    texts: usize,
    /// How many of these are for what comes later.
    reserved: usize,
}

impl<'o> Object<'o> {
    /// Its texts have `texts` bytes at most; `reserved` of these are for what comes later.
    pub(super) fn new(out: &'o mut Vec<u8>, texts: usize, reserved: usize) -> Self {
        Self { out, has_some: false, texts, reserved }
    }

    pub(super) fn begin(&mut self) {
        self.out.push(b'{');
        self.has_some = false;
    }

    pub(super) fn end(&mut self) {
        self.out.push(b'}');
        self.has_some = true;
    }

    pub(super) fn key(&mut self, name: &str) {
        if self.has_some {
            self.out.push(b',');
        }
        self.has_some = true;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(super) fn text(&mut self, name: &str, text: &[u8]) {
        self.key(name);
        self.out.push(b'"');
        let before = self.out.len();
        escape::json(text, self.texts.saturating_sub(self.reserved), self.out);
        self.texts -= self.out.len() - before;
        self.out.push(b'"');
    }

    /// A word of ours that needs no escapes and is never cut off.
    pub(super) fn word_text(&mut self, name: &str, word: &str) {
        self.text_with(name, |out| out.extend_from_slice(word.as_bytes()));
    }

    /// What `write` writes needs no escapes.
    pub(super) fn text_with(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(name);
        self.out.push(b'"');
        write(self.out);
        self.out.push(b'"');
    }

    /// So much less is reserved: what it was reserved for comes now.
    pub(super) fn release(&mut self, bytes: usize) {
        self.reserved = self.reserved.saturating_sub(bytes);
    }

    /// Bytes that texts may still have.
    pub(super) fn room(&self) -> usize {
        self.texts
    }

    pub(super) fn optional(&mut self, name: &str, text: Option<&[u8]>) {
        match text {
            Some(text) => self.text(name, text),
            None => self.word(name, b"null"),
        }
    }

    pub(super) fn number(&mut self, name: &str, number: u64) {
        self.key(name);
        put_number(number, self.out);
    }

    pub(super) fn optional_number(&mut self, name: &str, number: Option<u64>) {
        match number {
            Some(number) => self.number(name, number),
            None => self.word(name, b"null"),
        }
    }

    pub(super) fn flag(&mut self, name: &str, is_set: bool) {
        self.word(name, if is_set { b"true" } else { b"false" });
    }

    pub(super) fn word(&mut self, name: &str, word: &[u8]) {
        self.key(name);
        self.out.extend_from_slice(word);
    }
}
