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
        /// The rest of a chunk's data goes another way, and then its end is to be written.
        is_open: bool,
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

/// CRLF behind a chunk that was open, 16 digits and CRLF.
const SIZE_LINE: usize = 20;

/// Pieces that [`Frame::pieces`] makes.
const PIECES: usize = 6;

impl Encoder {
    /// For a peer that is told `framing`.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(_) | Framing::UntilClose => Self::Plain,
            Framing::Chunked => Self::Chunked { in_trailers: false, is_open: false },
        }
    }

    /// Frames one step.
    pub fn frame(&mut self, step: &Step) -> Frame {
        self.frame_with(step, None)
    }

    /// The same, where the chunk that the step's payload begins, or its last one, has `more` bytes that somebody else writes behind it:
    /// the next frame ends that chunk. A step of no payload and no more is no chunk.
    pub(crate) fn frame_with(&mut self, step: &Step, more: Option<u64>) -> Frame {
        let mut frame = Frame { size: [0; SIZE_LINE], size_start: SIZE_LINE, after_payload: b"", end: b"" };
        let Self::Chunked { in_trailers, is_open } = self else { return frame };
        let size = (step.payload as u64).saturating_add(more.unwrap_or(0));
        if size > 0 {
            frame.put_size(size, *is_open);
        }
        let last_chunk = !*in_trailers && (step.done || step.trailers > 0);
        let stays_open = if size > 0 { more.is_some() } else { *is_open && !last_chunk };
        let ends_chunk = (size > 0 || *is_open) && !stays_open;
        frame.after_payload = match (ends_chunk, last_chunk) {
            (false, false) => b"",
            (true, false) => b"\r\n",
            (false, true) => b"0\r\n",
            (true, true) => b"\r\n0\r\n",
        };
        *is_open = stays_open;
        *in_trailers |= last_chunk;
        if step.done {
            frame.end = b"\r\n";
        }
        frame
    }
}

impl Frame {
    /// Behind the end of a chunk that `was_open`.
    fn put_size(&mut self, mut size: u64, was_open: bool) {
        self.size[SIZE_LINE - 2..].copy_from_slice(b"\r\n");
        let mut start = SIZE_LINE - 2;
        while size > 0 {
            start -= 1;
            self.size[start] = hex::LOWER[(size % 16) as usize];
            size /= 16;
        }
        if was_open {
            start -= 2;
            self.size[start..start + 2].copy_from_slice(b"\r\n");
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
