//! A response as it is written in HTTP/1.1, taken apart: what its head says as a field section, where its content is.
//!
//! Whatever writes it is this program (replies, rules), in one form: a head is in one piece, a chunk has no extensions. A head that is a
//! server's comes as a field section (`coded`), but the answer to who asks for a WebSocket; what follows it comes as in HTTP/1.1.

use std::sync::LazyLock;

use memchr::{memchr, memmem};

use super::hpack;
use crate::http::{
    head::{name::Name, scan::find},
    headers::Sink,
    websocket,
};

/// Where heads end. Made once: making it takes as long as looking for it.
static END: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\r\n\r\n"));

/// A head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Head {
    /// Its bytes in the form in which it came.
    pub(super) length: usize,
    /// Another one follows.
    pub(super) is_interim: bool,
    /// It opens a tunnel.
    pub(super) is_switch: bool,
    pub(super) content: Content,
}

/// Where the rest of the content is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Content {
    /// So many bytes.
    Length(u64),
    Chunked(Chunks),
    /// Until our side ends.
    UntilEnd,
}

/// Where we are in chunks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Chunks {
    /// In a line with a size, of which this is what was read.
    Size(u64),
    Data(u64),
    /// Behind data, with so many bytes of the line's end to come.
    End(u8),
    /// Lines of trailers; the empty one ends all.
    Trailers,
}

/// The head at the start of `bytes`, whose fields are appended to `section`; `None`, and a part of them there, if it is not whole. `is_head` says if it
/// answers HEAD.
pub(super) fn read(bytes: &[u8], is_head: bool, section: &mut impl Sink) -> Option<Head> {
    read_as(bytes, is_head, |status| status, section)
}

/// The same of the answer to who asks for a WebSocket: 200 is a tunnel, and nothing else is (RFC 8441 §5).
pub(super) fn read_of_tunnel(bytes: &[u8], section: &mut impl Sink) -> Option<Head> {
    let told = |status| match status {
        101 => 200,
        200..=299 => 502,
        status => status,
    };
    read_as(bytes, false, told, section)
}

/// `told` is the status that the client is told.
fn read_as(
    bytes: &[u8],
    is_head: bool,
    told: impl FnOnce(u16) -> u16,
    section: &mut impl Sink,
) -> Option<Head> {
    let status = bytes.get(9..12)?.iter().fold(0, |status, digit| status * 10 + u16::from(digit & 15));
    let is_switch = status == 101;
    hpack::put_status(told(status), section);
    let mut rest = &bytes[memchr(b'\n', bytes)? + 1..];
    let mut content = Content::UntilEnd;
    while !rest.starts_with(b"\r\n") {
        let (name, value) = take_line(&mut rest)?;
        match Name::of(name) {
            Name::TransferEncoding => content = Content::Chunked(Chunks::Size(0)),
            Name::ContentLength => {
                content = Content::Length(length_of(value));
                hpack::put_field(name, value, section);
            }
            // It answers a key that was not the client's.
            _ if is_switch && name.eq_ignore_ascii_case(websocket::ACCEPT) => {}
            // RFC 9113 §8.2.2
            id if id.is_hop_by_hop() => {}
            _ => hpack::put_field(name, value, section),
        }
    }
    if is_head || matches!(status, 100 | 102..=199 | 204 | 304) {
        content = Content::Length(0);
    }
    let length = bytes.len() - rest.len() + 2;
    Some(Head { length, is_interim: status < 200 && !is_switch, is_switch, content })
}

/// The fields of trailer lines, appended to `section`.
pub(super) fn read_trailers(fields: &[u8], section: &mut impl Sink) {
    for (name, value) in lines(fields) {
        hpack::put_field(name, value, section);
    }
}

/// Bytes of the head at the start of `bytes`, if it is whole.
pub(super) fn length_of_head(bytes: &[u8]) -> Option<usize> {
    END.find(bytes).map(|end| end + 4)
}

/// The fields of whole lines.
pub(super) fn lines(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || take_line(&mut bytes))
}

/// The field of the line at the start of `bytes`, which is taken off them; `None` if it is not whole. They are our own: each line has
/// a colon.
#[inline]
fn take_line<'b>(bytes: &mut &'b [u8]) -> Option<(&'b [u8], &'b [u8])> {
    let (name, rest) = bytes.split_at(find(b':', bytes)?);
    debug_assert!(!name.contains(&b'\n'), "a line without a colon: {}", name.escape_ascii());
    let (value, rest) = rest.split_at(find(b'\n', rest)? + 1);
    *bytes = rest;
    Some((name, value[1..].trim_ascii()))
}

/// What a Content-Length of ours says.
pub(super) fn length_of(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// What the next bytes of a response are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Content, at most so many bytes.
    Payload(u64),
    /// So many bytes of framing.
    Framing(usize),
    /// So many bytes of trailers.
    Trailers(usize),
}

impl Content {
    /// Nothing follows.
    pub(super) fn is_over(self) -> bool {
        self == Self::Length(0)
    }

    /// What `bytes`, which are not empty, begin with. Framing and trailers are taken as read.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Next {
        let chunks = match self {
            Self::Length(left) => return Next::Payload(*left),
            Self::UntilEnd => return Next::Payload(u64::MAX),
            Self::Chunked(chunks) => chunks,
        };
        match chunks {
            Chunks::Data(left) => Next::Payload(*left),
            Chunks::Size(size) => {
                let line = memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
                for digit in &bytes[..line] {
                    let value = crate::hex::value(*digit);
                    *size = value.map_or(*size, |value| *size << 4 | u64::from(value));
                }
                if bytes[line - 1] == b'\n' {
                    *chunks = if *size == 0 { Chunks::Trailers } else { Chunks::Data(*size) };
                }
                Next::Framing(line)
            }
            Chunks::End(left) => {
                let taken = bytes.len().min(usize::from(*left));
                *left -= u8::try_from(taken).unwrap_or(*left);
                if *left == 0 {
                    *chunks = Chunks::Size(0);
                }
                Next::Framing(taken)
            }
            Chunks::Trailers => {
                let line = memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
                if &bytes[..line] == b"\r\n" {
                    *self = Self::Length(0);
                    return Next::Framing(line);
                }
                Next::Trailers(line)
            }
        }
    }

    /// So much of the payload is taken.
    pub(super) fn took(&mut self, n: u64) {
        match self {
            Self::Length(left) => *left -= n,
            Self::Chunked(chunks) => {
                if let Chunks::Data(left) = chunks {
                    *left -= n;
                    if *left == 0 {
                        *chunks = Chunks::End(2);
                    }
                }
            }
            Self::UntilEnd => {}
        }
    }
}
