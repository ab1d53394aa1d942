//! Makes the value of a placeholder harmless where it is put.

use super::{encode::percent, place::Text};
use crate::{hex, http::headers::Sink};

/// Where a template is rendered to: text of the file as it is, values made harmless.
pub(super) struct Escaped<'o, S> {
    out: &'o mut S,
    text: Text,
    /// What was written so far is nothing, one slash, or something else.
    begun: Begun,
    part: Part,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Begun {
    No,
    Slash,
    Yes,
}

/// Where in a Location the next byte stands.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Part {
    /// Maybe in its scheme.
    Start,
    /// In the authority; `host` says if what stands there could be a whole one.
    Authority { host: bool },
    /// Behind both.
    Rest,
}

impl<'o, S: Sink> Escaped<'o, S> {
    pub(super) fn new(out: &'o mut S, text: Text) -> Self {
        Self { out, text, begun: Begun::No, part: Part::Start }
    }

    /// Text of the file, which was checked when it was read.
    pub(super) fn literal(&mut self, mut bytes: &[u8]) {
        if self.text == Text::Location && self.begun == Begun::Slash {
            // A value stood before: it was that slash, or it was empty behind it.
            let slashes = bytes.iter().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
            bytes = &bytes[slashes..];
        }
        self.out.put(bytes);
        if self.text == Text::Location {
            self.part = self.part.behind(bytes);
        }
        self.begun = match (self.begun, bytes) {
            (begun, []) => begun,
            (Begun::No, [b'/']) => Begun::Slash,
            _ => Begun::Yes,
        };
    }

    /// The value of a placeholder; `next` is the text of the file that follows it, maybe behind other values.
    pub(super) fn value(&mut self, mut bytes: &[u8], next: Option<&[u8]>) {
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
                        (self.begun, self.part) = (Begun::Slash, Part::Rest);
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
        let in_authority = self.text == Text::Location && self.goes_on_with_authority(bytes, next);
        while !bytes.is_empty() {
            let is_wrong = |&byte: &u8| !is_fine(self.text, byte) || in_authority && b"/?#@".contains(&byte);
            let fine = bytes.iter().position(is_wrong).unwrap_or(bytes.len());
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

impl<S: Sink> Escaped<'_, S> {
    /// Is the value `bytes` a part of the authority that stands before it? Where the text of the file does not go on with it
    /// behind the value, and there is a host already, it is the path that begins: no value makes another host of that.
    fn goes_on_with_authority(&mut self, bytes: &[u8], next: Option<&[u8]>) -> bool {
        let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
        let Part::Authority { host } = self.part else {
            // What begins with a value leads where that says.
            self.part = self.part.behind(bytes);
            return false;
        };
        let is_over = next.and_then(<[u8]>::first).is_none_or(|&next| begins_behind_authority(next));
        if host && is_over && first != b':' {
            if !begins_behind_authority(first) {
                self.out.put(b"/");
            }
            self.part = Part::Rest;
            return false;
        }
        self.part = Part::Authority { host: ends_host(last) };
        true
    }
}

impl Part {
    /// That which follows when `bytes` stand there.
    fn behind(self, bytes: &[u8]) -> Self {
        let (in_authority, authority) = match self {
            Self::Rest => return self,
            Self::Authority { .. } => (true, bytes),
            Self::Start => match bytes.iter().position(|&byte| begins_behind_authority(byte)) {
                Some(at) if bytes[at..].starts_with(b"//") && matches!(bytes[..at], [] | [.., b':']) => {
                    (true, &bytes[at + 2..])
                }
                _ => (false, bytes),
            },
        };
        match (authority.last(), in_authority) {
            _ if authority.iter().any(|&byte| begins_behind_authority(byte)) => Self::Rest,
            (Some(&last), true) => Self::Authority { host: ends_host(last) },
            (None, true) if self == Self::Start => Self::Authority { host: false },
            (None | Some(_), _) => self,
        }
    }
}

/// RFC 3986 §3.2
fn begins_behind_authority(byte: u8) -> bool {
    matches!(byte, b'/' | b'?' | b'#')
}

/// Can a host end with it?
fn ends_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b']'
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
