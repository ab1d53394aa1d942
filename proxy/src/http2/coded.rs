//! A response's head that is written as a field section at once, for a stream: a head of HTTP/1.1 would be taken apart again a
//! moment later.
//!
//! It goes the way of such a head, in front of the content: to who passes it on it is bytes like others. Before the section stands
//! what it means, and first a byte with which no head of HTTP/1.1 begins. Answers of our own are in HTTP/1.1.

use super::{
    hpack,
    response::{Chunks, Content, Head},
};
use crate::{
    buffer::Buffer,
    http::{
        body::Framing,
        head::{
            Field,
            response::{Form, Hop, Response},
        },
        headers::Sink,
    },
};

/// The first byte.
const MARK: u8 = 0;

/// Kinds of content.
const LENGTH: u8 = 0;
const CHUNKED: u8 = 1;
const UNTIL_END: u8 = 2;

/// What stands before the section: the mark, whether it is an interim head, the kind of content, its length, the section's.
const PROLOGUE: usize = 1 + 1 + 1 + 8 + 4;

/// See the module.
pub(crate) struct Coded<'o> {
    out: &'o mut Buffer,
}

impl<'o> Coded<'o> {
    /// One that is written to `out`, which is empty.
    pub(crate) fn new(out: &'o mut Buffer) -> Self {
        out.put(&[MARK; PROLOGUE]);
        Self { out }
    }
}

impl Form for Coded<'_> {
    fn begin(&mut self, status: u16, _: &[u8]) {
        hpack::put_status(status, self.out);
    }

    fn field(&mut self, field: &Field<'_>) {
        hpack::put_field(field.name, field.value, self.out);
    }

    fn end(&mut self, response: &Response, hop: &Hop) {
        if let Some(length) = response.told_length(hop.framing) {
            hpack::put_content_length(length, self.out);
        }
        let (kind, length) = match hop.framing {
            _ if matches!(response.status, 100..=199 | 204 | 304) => (LENGTH, 0),
            Framing::None => (LENGTH, 0),
            Framing::Length(length) => (LENGTH, length),
            Framing::Chunked => (CHUNKED, 0),
            Framing::UntilClose => (UNTIL_END, 0),
        };
        let all = self.out.filled_mut();
        let section = u32::try_from(all.len() - PROLOGUE).unwrap_or(u32::MAX);
        all[1..3].copy_from_slice(&[(response.status < 200).into(), kind]);
        all[3..11].copy_from_slice(&length.to_be_bytes());
        all[11..PROLOGUE].copy_from_slice(&section.to_be_bytes());
    }
}

/// The head at the start of `bytes` and its section, if it is such a one; they are our own.
pub(super) fn read(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let (&[mark, is_interim, kind, ..], rest) = bytes.split_first_chunk::<3>()?;
    if mark != MARK {
        return None;
    }
    let (length, rest) = rest.split_first_chunk()?;
    let (section, rest) = rest.split_first_chunk()?;
    let section = rest.get(..u32::from_be_bytes(*section) as usize)?;
    let content = match kind {
        LENGTH => Content::Length(u64::from_be_bytes(*length)),
        CHUNKED => Content::Chunked(Chunks::Size(0)),
        _ => Content::UntilEnd,
    };
    let length = PROLOGUE + section.len();
    Some((Head { length, is_interim: is_interim == 1, is_switch: false, content }, section))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        buffer::BufferPool,
        http::head::{Fields, Progress, request::Method, response},
        http2::response as text,
    };

    /// What a server says, to be passed on in both forms: the heads and the sections.
    fn both(server: &str, method: Method, framing: Option<Framing>) -> [(Head, Vec<u8>); 2] {
        let mut fields = Fields::default();
        let head = response::Head::parse(server.as_bytes(), &mut Progress::default(), &mut fields);
        let head = head.unwrap().unwrap();
        let meant = head.check(method, false).unwrap();
        let hop = Hop { framing: framing.unwrap_or(meant.framing), close: true };
        let mut lines = Vec::new();
        head.encode(&meant, &hop, &mut lines);
        let mut section = Vec::new();
        let mut read_lines = text::read(&lines, method == Method::Head, &mut section).unwrap();
        assert_eq!(read_lines.length, lines.len());
        let mut out = Rc::new(BufferPool::default()).take();
        head.put(&meant, &hop, &mut Coded::new(&mut out));
        out.put(b"content");
        let (coded, fields) = read(out.filled()).unwrap();
        assert_eq!(&out.filled()[coded.length..], b"content");
        // Of bytes that are different, as they should be.
        read_lines.length = coded.length;
        [(read_lines, section), (coded, fields.to_vec())]
    }

    #[test]
    fn head_is_the_same_as_one_in_lines_that_was_taken_apart() {
        let table = [
            ("200 OK\r\nContent-Length: 5\r\nServer: a\r\nX-Other: b c\r\n", Method::Get, None),
            ("200 OK\r\ncontent-length: 0\r\n", Method::Get, None),
            ("200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"1\"\r\n", Method::Get, None),
            (
                "200 OK\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 1\r\n",
                Method::Get,
                None,
            ),
            ("200 OK\r\nDate: x\r\n", Method::Get, Some(Framing::Chunked)),
            ("200 OK\r\nDate: x\r\n", Method::Get, Some(Framing::UntilClose)),
            ("200 OK\r\nContent-Length: 1234567890\r\n", Method::Head, None),
            ("200 OK\r\n", Method::Head, None),
            ("204 No Content\r\nAllow: GET\r\n", Method::Get, None),
            ("304 Not Modified\r\nContent-Length: 9\r\nETag: \"1\"\r\n", Method::Get, None),
            ("100 Continue\r\n", Method::Get, None),
            ("103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n", Method::Get, None),
            ("404 Gone\r\nContent-Length: 3\r\n", Method::Get, None),
            ("599 X\r\nX-Empty:\r\nX-Spaces:   a  \r\nContent-Length: 2\r\n", Method::Get, None),
        ];
        for (server, method, framing) in table {
            let [lines, coded] = both(&format!("HTTP/1.1 {server}\r\n"), method, framing);
            assert_eq!(lines, coded, "{server}");
        }
    }

    #[test]
    fn head_in_lines_is_none_of_these() {
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n\r\n"), None);
        assert_eq!(read(b""), None);
    }
}
