//! Content on its way into its coding: gzip (RFC 1952) or deflate (RFC 1950), both DEFLATE (RFC 1951) in a wrapping.
//!
//! A flush ends with an empty block, at a whole byte. So what follows may come from another compressor, or from none at
//! all: where there is none to be had bytes are stored as they are.

use std::rc::Rc;

use zlib_rs::{DeflateFlush, Status, adler32::adler32, crc32::crc32};

use super::pool::{Borrowed, Compressors};
use crate::config::Algorithm;

/// Less room than this is not worth a call: the longest wrapping, or a stored block with something in it.
const ROOM: usize = 32;

/// Bytes in front of a stored block, which is not the last one.
const STORED: usize = 5;

/// The last block, empty.
const LAST: [u8; 2] = [0x03, 0x00];

/// Where content is coded.
#[derive(Debug)]
pub(crate) struct Coder {
    pool: Rc<Compressors>,
    level: u8,
    check: Check,
    compressor: Option<Borrowed>,
    stage: Stage,
}

/// What the end of the coding says of the content.
#[derive(Debug)]
enum Check {
    Gzip { crc: u32, length: u32 },
    Deflate { adler: u32 },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Start,
    Blocks,
    /// The last block is out.
    End,
    Over,
}

/// How much has to come out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flush {
    /// What the compressor thinks is time for.
    No,
    /// All that was given to it.
    All,
    /// All, and the end.
    End,
}

/// What [`Coder::code`] did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Coded {
    /// Bytes of the input that were taken.
    pub(crate) taken: usize,
    /// Bytes of the output.
    pub(crate) put: usize,
    /// Of those taken, bytes that are stored as they are because there is no compressor.
    pub(crate) stored: usize,
    /// All of the input was taken, and all came out that had to.
    pub(crate) is_all: bool,
}

impl Coder {
    pub(crate) fn new(pool: &Rc<Compressors>, algorithm: Algorithm, level: u8) -> Self {
        let check = match algorithm {
            Algorithm::Gzip => Check::Gzip { crc: 0, length: 0 },
            Algorithm::Deflate => Check::Deflate { adler: 1 },
        };
        Self { pool: Rc::clone(pool), level, check, compressor: None, stage: Stage::Start }
    }

    /// Codes as much of `input` as fits `out`. Until it says that this was all, call it again with the rest of `input` and
    /// the same `flush`; nothing follows [`Flush::End`].
    pub(crate) fn code(&mut self, input: &[u8], flush: Flush, out: &mut [u8]) -> Coded {
        let mut coded = Coded::default();
        if out.len() < ROOM {
            return coded;
        }
        let is_idle = self.compressor.is_none() && input.is_empty();
        if is_idle && flush != Flush::End {
            coded.is_all = true;
            return coded;
        }
        if self.stage == Stage::Start {
            coded.put += self.check.put_start(out);
            self.stage = Stage::Blocks;
        }
        if self.stage == Stage::Blocks {
            if self.compressor.is_none() && !input.is_empty() {
                self.compressor = self.pool.take(self.level);
            }
            let is_out = match self.compressor.as_mut().and_then(Borrowed::deflate) {
                Some(deflate) => self.pool.spend(|| compress(deflate, input, flush, out, &mut coded)),
                None => store(input, flush, out, &mut coded),
            };
            self.check.add(&input[..coded.taken]);
            if !is_out {
                return coded;
            }
            match flush {
                Flush::No => {}
                Flush::All => self.compressor = None,
                Flush::End => {
                    self.compressor = None;
                    self.stage = Stage::End;
                }
            }
        }
        if self.stage == Stage::End {
            let Some(put) = self.check.put_end(&mut out[coded.put..]) else { return coded };
            coded.put += put;
            self.stage = Stage::Over;
        }
        coded.is_all = true;
        coded
    }
}

/// True if all was taken and came out that had to.
fn compress(
    deflate: &mut zlib_rs::Deflate,
    input: &[u8],
    flush: Flush,
    out: &mut [u8],
    coded: &mut Coded,
) -> bool {
    let mode = match flush {
        Flush::No => DeflateFlush::NoFlush,
        Flush::All => DeflateFlush::SyncFlush,
        Flush::End => DeflateFlush::Finish,
    };
    let room = &mut out[coded.put..];
    let length = room.len();
    let before = (deflate.total_in(), deflate.total_out());
    let result = deflate.compress(input, room, mode);
    let past = |before: u64, now: u64| usize::try_from(now - before).unwrap_or(0);
    coded.taken = past(before.0, deflate.total_in());
    let put = past(before.1, deflate.total_out());
    coded.put += put;
    match flush {
        Flush::No => coded.taken == input.len(),
        // More of a flush may be inside as long as there is no room left.
        Flush::All => coded.taken == input.len() && put < length,
        Flush::End => matches!(result, Ok(Status::StreamEnd)),
    }
}

/// RFC 1951 §3.2.4; true as for [`compress`].
fn store(input: &[u8], flush: Flush, out: &mut [u8], coded: &mut Coded) -> bool {
    let room = out.len() - coded.put;
    if !input.is_empty() && room > STORED {
        let length = u16::try_from(input.len().min(room - STORED)).unwrap_or(u16::MAX);
        let (low, high) = (length.to_le_bytes(), (!length).to_le_bytes());
        let (head, block) = out[coded.put..].split_at_mut(STORED);
        head.copy_from_slice(&[0, low[0], low[1], high[0], high[1]]);
        let length = usize::from(length);
        block[..length].copy_from_slice(&input[..length]);
        coded.taken = length;
        coded.stored = length;
        coded.put += STORED + length;
    }
    if coded.taken < input.len() {
        return false;
    }
    if flush == Flush::End {
        let Some(room) = out.get_mut(coded.put..coded.put + LAST.len()) else { return false };
        room.copy_from_slice(&LAST);
        coded.put += LAST.len();
    }
    true
}

impl Check {
    /// Without name and time; of no particular system.
    fn put_start(&self, out: &mut [u8]) -> usize {
        let start: &[u8] = match self {
            Self::Gzip { .. } => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff],
            Self::Deflate { .. } => &[0x78, 0x01],
        };
        out[..start.len()].copy_from_slice(start);
        start.len()
    }

    fn add(&mut self, content: &[u8]) {
        match self {
            Self::Gzip { crc, length } => {
                *crc = crc32(*crc, content);
                // RFC 1952 §2.3.1: modulo 2^32.
                *length = length.wrapping_add(u32::try_from(content.len()).unwrap_or(0));
            }
            Self::Deflate { adler } => *adler = adler32(*adler, content),
        }
    }

    /// `None` if there is no room.
    fn put_end(&self, out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Gzip { crc, length } => {
                out.get_mut(..4)?.copy_from_slice(&crc.to_le_bytes());
                out.get_mut(4..8)?.copy_from_slice(&length.to_le_bytes());
                Some(8)
            }
            Self::Deflate { adler } => {
                out.get_mut(..4)?.copy_from_slice(&adler.to_be_bytes());
                Some(4)
            }
        }
    }
}

#[cfg(test)]
mod tests;
