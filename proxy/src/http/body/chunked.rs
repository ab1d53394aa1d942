//! The chunked transfer coding (RFC 9112 §7.1), strictly: CRLF and nothing else ends a line, a size has 1 to 16 digits
//! and nothing around it, extensions are skipped up to a limit, trailers are checked and kept or dropped.

use memchr::memchr;

use super::Step;
use crate::http::head::{Malformed, is_field_content, trailer_name};

/// Digits of a chunk's size, with leading zeros.
const MAX_DIGITS: u8 = 16;

/// Bytes of extensions of one chunk.
const MAX_EXTENSION: u16 = 256;

/// Bytes of extensions of one message.
const MAX_EXTENSIONS: u32 = 16 * 1024;

/// Bytes of a trailer section, so that each of its lines fits a buffer.
pub(crate) const MAX_TRAILERS: usize = 8 * 1024;

/// Not in the chunked coding, or beyond a limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChunkError {
    /// No size, something else than hexadecimal digits, or more than 16 of them.
    #[error("invalid chunk size")]
    Size,
    /// Its bytes, or more than 256 of one chunk, or more than 16 kB of one message.
    #[error("invalid or excessive chunk extension")]
    Extension,
    /// Data or a line that CRLF does not end.
    #[error("chunk without CRLF")]
    LineEnd,
    /// A trailer line is no field line, or the section is longer than 8 kB.
    #[error("invalid or excessive trailers")]
    Trailer,
}

impl From<Malformed> for ChunkError {
    fn from(_: Malformed) -> Self {
        Self::Trailer
    }
}

/// Takes the chunks off; bytes may come in any portions.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    keep_trailers: bool,
    extensions: u32,
    trailers: usize,
    /// What was decoded of the bytes in which the fault is.
    reached: Step,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size { digits: u8, size: u64 },
    Extension { length: u16, size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer,
    Done,
}

impl Decoder {
    /// At the start of the content.
    pub fn new(keep_trailers: bool) -> Self {
        Self { state: START, keep_trailers, extensions: 0, trailers: 0, reached: Step::default() }
    }

    /// Decodes what is there; payload moves to the front of `bytes`, allowed trailer lines behind it. A trailer line
    /// is only consumed whole.
    ///
    /// # Errors
    /// See [`ChunkError`]; nothing may be decoded after one.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Step, ChunkError> {
        let mut step = Step::default();
        self.advance(bytes, &mut step).inspect_err(|_| self.reached = step)?;
        step.done = matches!(self.state, State::Done);
        Ok(step)
    }

    /// Bytes of the chunk in hand that are still to come before its end, where nothing else is.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.state {
            State::Data { left } => Some(left),
            State::DataCr => Some(0),
            _ => None,
        }
    }

    /// They went another way.
    pub(crate) fn skip(&mut self) {
        debug_assert!(self.left().is_some());
        self.state = State::DataCr;
    }

    /// What was decoded before the fault, which is in the next byte, or line of trailers.
    pub(super) fn reached(&self) -> Step {
        self.reached
    }

    fn advance(&mut self, bytes: &mut [u8], step: &mut Step) -> Result<(), ChunkError> {
        while let Some(&byte) = bytes.get(step.consumed) {
            match self.state {
                State::Data { left } => {
                    let there = bytes.len() - step.consumed;
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(there);
                    bytes.copy_within(step.consumed..step.consumed + n, step.payload);
                    step.payload += n;
                    step.consumed += n;
                    let left = left - n as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                    continue;
                }
                State::Trailer => {
                    if !self.trailer(bytes, step)? {
                        break;
                    }
                    continue;
                }
                State::Done => break,
                State::Size { digits, size } => self.state = size_byte(byte, digits, size)?,
                State::Extension { length, size } => self.state = self.extension_byte(byte, length, size)?,
                State::SizeLf { size } => {
                    expect(byte, b'\n')?;
                    self.state = if size == 0 { State::Trailer } else { State::Data { left: size } };
                }
                State::DataCr => {
                    expect(byte, b'\r')?;
                    self.state = State::DataLf;
                }
                State::DataLf => {
                    expect(byte, b'\n')?;
                    self.state = START;
                }
            }
            step.consumed += 1;
        }
        Ok(())
    }

    fn extension_byte(&mut self, byte: u8, length: u16, size: u64) -> Result<State, ChunkError> {
        if byte == b'\r' {
            return Ok(State::SizeLf { size });
        }
        self.extensions += 1;
        if !is_field_content(&[byte]) || length == MAX_EXTENSION || self.extensions > MAX_EXTENSIONS {
            return Err(ChunkError::Extension);
        }
        Ok(State::Extension { length: length + 1, size })
    }

    /// Takes one trailer line; false if it is not whole yet.
    fn trailer(&mut self, bytes: &mut [u8], step: &mut Step) -> Result<bool, ChunkError> {
        let rest = &bytes[step.consumed..];
        let Some(lf) = memchr(b'\n', rest) else {
            return if self.trailers + rest.len() > MAX_TRAILERS {
                Err(ChunkError::Trailer)
            } else {
                Ok(false)
            };
        };
        let length = lf + 1;
        self.trailers += length;
        if self.trailers > MAX_TRAILERS {
            return Err(ChunkError::Trailer);
        }
        if lf == 0 || rest[lf - 1] != b'\r' {
            return Err(ChunkError::LineEnd);
        }
        let line = &rest[..lf - 1];
        if line.is_empty() {
            self.state = State::Done;
        } else if trailer_name(line)?.is_allowed_in_trailer() && self.keep_trailers {
            let to = step.payload + step.trailers;
            bytes.copy_within(step.consumed..step.consumed + length, to);
            step.trailers += length;
        }
        step.consumed += length;
        Ok(true)
    }
}

const START: State = State::Size { digits: 0, size: 0 };

fn size_byte(byte: u8, digits: u8, size: u64) -> Result<State, ChunkError> {
    match byte {
        b'\r' if digits > 0 => Ok(State::SizeLf { size }),
        b';' if digits > 0 => Ok(State::Extension { length: 0, size }),
        _ if digits == MAX_DIGITS => Err(ChunkError::Size),
        _ => {
            let digit = char::from(byte).to_digit(16).ok_or(ChunkError::Size)?;
            // 16 digits fit 64 bits.
            Ok(State::Size { digits: digits + 1, size: size << 4 | u64::from(digit) })
        }
    }
}

fn expect(byte: u8, expected: u8) -> Result<(), ChunkError> {
    if byte == expected { Ok(()) } else { Err(ChunkError::LineEnd) }
}
