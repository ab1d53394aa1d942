//! Payload on its way out: as it is, or in chunks of ours.

use std::io::IoSlice;

use super::{Framing, Step};
use crate::hex;

/// Frames content for the peer.
#[derive(Debug)]
pub enum Encoder {
    /// Payload as it is.
    Plain,
    /// RFC 9112 §7.1
    Chunked {
        /// The last chunk is written, its trailer section is not.
        in_trailers: bool,
    },
}

/// What goes around one step's payload and trailers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame {
    size: [u8; SIZE_LINE],
    size_start: usize,
    after_payload: &'static [u8],
    end: &'static [u8],
}

/// 16 digits and CRLF.
const SIZE_LINE: usize = 18;

/// Pieces that [`Frame::pieces`] makes.
const PIECES: usize = 6;

impl Encoder {
    /// For a peer that is told `framing`.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(_) | Framing::UntilClose => Self::Plain,
            Framing::Chunked => Self::Chunked { in_trailers: false },
        }
    }

    /// Frames one step.
    pub fn frame(&mut self, step: &Step) -> Frame {
        let mut frame = Frame { size: [0; SIZE_LINE], size_start: SIZE_LINE, after_payload: b"", end: b"" };
        let Self::Chunked { in_trailers } = self else { return frame };
        if step.payload > 0 {
            frame.put_size(step.payload);
        }
        let last_chunk = !*in_trailers && (step.done || step.trailers > 0);
        frame.after_payload = match (step.payload > 0, last_chunk) {
            (false, false) => b"",
            (true, false) => b"\r\n",
            (false, true) => b"0\r\n",
            (true, true) => b"\r\n0\r\n",
        };
        *in_trailers |= last_chunk;
        if step.done {
            frame.end = b"\r\n";
        }
        frame
    }
}

impl Frame {
    fn put_size(&mut self, mut size: usize) {
        self.size[SIZE_LINE - 2..].copy_from_slice(b"\r\n");
        let mut start = SIZE_LINE - 2;
        while size > 0 {
            start -= 1;
            self.size[start] = hex::LOWER[size % 16];
            size /= 16;
        }
        self.size_start = start;
    }

    /// Everything in order: `head`, then the step's part of `bytes`, framed.
    pub fn pieces<'b>(&'b self, head: &'b [u8], bytes: &'b [u8], step: &Step) -> [IoSlice<'b>; PIECES] {
        let (payload, rest) = bytes.split_at(step.payload);
        [
            IoSlice::new(head),
            IoSlice::new(&self.size[self.size_start..]),
            IoSlice::new(payload),
            IoSlice::new(self.after_payload),
            IoSlice::new(&rest[..step.trailers]),
            IoSlice::new(self.end),
        ]
    }
}
