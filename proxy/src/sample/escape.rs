//! Makes the value of a placeholder harmless where it is put.

use super::{encode::percent, place::Text};
use crate::{hex, http::headers::Sink};

/// Where a template is rendered to: text of the file as it is, values made harmless.
pub(super) struct Escaped<'o, S> {
    out: &'o mut S,
    text: Text,
    /// What was written so far is nothing, one slash, or something else.
    begun: Begun,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Begun {
    No,
    Slash,
    Yes,
}

impl<'o, S: Sink> Escaped<'o, S> {
    pub(super) fn new(out: &'o mut S, text: Text) -> Self {
        Self { out, text, begun: Begun::No }
    }

    /// Text of the file, which was checked when it was read.
    pub(super) fn literal(&mut self, mut bytes: &[u8]) {
        if self.text == Text::Location && self.begun == Begun::Slash {
            // A value stood before: it was that slash, or it was empty behind it.
            let slashes = bytes.iter().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
            bytes = &bytes[slashes..];
        }
        self.out.put(bytes);
        self.begun = match (self.begun, bytes) {
            (begun, []) => begun,
            (Begun::No, [b'/']) => Begun::Slash,
            _ => Begun::Yes,
        };
    }

    /// The value of a placeholder.
    pub(super) fn value(&mut self, mut bytes: &[u8]) {
        if matches!(self.text, Text::Plain | Text::Key | Text::Content) {
            return self.out.put(bytes);
        }
        if self.text == Text::Location {
            // `//host` and `/\host` are another host for a browser.
            while self.begun != Begun::Yes {
                bytes = match (self.begun, bytes) {
                    (_, []) => return,
                    (Begun::No, [b'/', rest @ ..]) => {
                        self.out.put(b"/");
                        self.begun = Begun::Slash;
                        rest
                    }
                    (Begun::Slash, [b'/' | b'\\', rest @ ..]) => rest,
                    _ => {
                        self.begun = Begun::Yes;
                        bytes
                    }
                };
            }
        }
        while !bytes.is_empty() {
            let fine = bytes.iter().position(|&byte| !is_fine(self.text, byte)).unwrap_or(bytes.len());
            let (run, rest) = bytes.split_at(fine);
            self.out.put(run);
            bytes = rest;
            if let [byte, rest @ ..] = bytes {
                match self.text {
                    Text::Field => self.out.put(b" "),
                    Text::Log => self.out.put(&numbered(*byte)),
                    _ => percent(*byte, self.out),
                }
                bytes = rest;
            }
        }
    }
}

/// `#0A`
pub(crate) fn numbered(byte: u8) -> [u8; 3] {
    let [high, low] = hex::upper(byte);
    [b'#', high, low]
}

/// May the byte of a value stand there as it is?
fn is_fine(text: Text, byte: u8) -> bool {
    let in_uri = byte > b' ' && byte < 0x7f && !br#""<>\^`{|}"#.contains(&byte);
    match text {
        Text::Plain | Text::Key | Text::Content => true,
        Text::Log => (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'#',
        // RFC 9110 §5.5
        Text::Field => (byte >= b' ' && byte != 0x7f) || byte == b'\t',
        // RFC 3986: a `%` is left, since most values are encoded already.
        Text::Location => in_uri,
        Text::Path => in_uri && byte != b'?' && byte != b'#',
        Text::Query => in_uri && byte != b'#',
    }
}

/// The first character of the file's own text that may not stand there.
pub(super) fn unfit(text: Text, literal: &str) -> Option<(usize, char)> {
    literal.char_indices().find(|(_, character)| match text {
        Text::Plain | Text::Key | Text::Content => false,
        Text::Field | Text::Log => character.is_control() && *character != '\t',
        Text::Location => !character.is_ascii_graphic(),
        Text::Path => !character.is_ascii_graphic() || matches!(character, '?' | '#'),
        Text::Query => !character.is_ascii_graphic() || *character == '#',
    })
}
