//! Content: how its end is known, decided once per message (RFC 9112 §6.3), and the way from one framing to another.
//!
//! ```text
//! buffer ── Decoder::decode (in place) ──> payload, trailers ── Encoder::frame ──> pieces for one vectored write
//! ```

use super::head::{Malformed, Version};

pub mod chunked;
mod encode;

pub use encode::{Encoder, Frame};

/// How the end of a message's content is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the server closes the connection. Responses only: a request can't be ended by closing.
    UntilClose,
}

/// What the fields of a head say about the length of the content.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lengths {
    content_length: Option<u64>,
    repeated: bool,
    coding: Option<Coding>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Coding {
    Chunked,
    /// Well-formed and ends in chunked, but with codings that are not supported before it.
    OthersThenChunked,
}

impl Lengths {
    /// Adds a `Content-Length` line.
    pub(crate) fn content_length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        for member in value.split(|&byte| byte == b',') {
            let length = decimal(member.trim_ascii())?;
            match self.content_length {
                Some(before) if before != length => return Err(Malformed::ContentLength),
                Some(_) => self.repeated = true,
                None => self.content_length = Some(length),
            }
        }
        Ok(())
    }

    /// Adds a `Transfer-Encoding` line.
    pub(crate) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Malformed> {
        // One line, and no empty member: whoever needs more than that wants to be understood in two ways.
        if self.coding.is_some() {
            return Err(Malformed::TransferEncoding);
        }
        let mut codings = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).rev();
        let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
        if !codings.next().is_some_and(is_chunked) {
            return Err(Malformed::TransferEncoding);
        }
        self.coding = Some(Coding::Chunked);
        for coding in codings {
            if !super::head::is_token(coding) || is_chunked(coding) {
                return Err(Malformed::TransferEncoding);
            }
            self.coding = Some(Coding::OthersThenChunked);
        }
        Ok(())
    }

    /// The framing of a request's content.
    pub(crate) fn of_request(&self, version: Version) -> Result<Framing, Malformed> {
        if self.repeated {
            return Err(Malformed::ContentLength);
        }
        self.of_message(version, Framing::None)
    }

    /// The framing of a response's content, if its status and the method of its request allow one. Equal repeated
    /// lengths are taken for one.
    pub(crate) fn of_response(&self, version: Version) -> Result<Framing, Malformed> {
        self.of_message(version, Framing::UntilClose)
    }

    /// The length alone, as an answer to HEAD announces it.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.content_length.filter(|_| self.coding.is_none())
    }

    fn of_message(&self, version: Version, neither: Framing) -> Result<Framing, Malformed> {
        match (self.coding, self.content_length) {
            (Some(_), _) if version == Version::Http10 => Err(Malformed::TransferEncodingInHttp10),
            (Some(_), Some(_)) => Err(Malformed::BothFramings),
            (Some(Coding::OthersThenChunked), None) => Err(Malformed::TransferCoding),
            (Some(Coding::Chunked), None) => Ok(Framing::Chunked),
            (None, Some(length)) => Ok(Framing::Length(length)),
            (None, None) => Ok(neither),
        }
    }
}

/// `1*DIGIT` without leading zeros: a reader that takes them for octal would see another length.
fn decimal(digits: &[u8]) -> Result<u64, Malformed> {
    let fine = match digits {
        [] => false,
        [b'0', _, ..] => false,
        _ => digits.iter().all(u8::is_ascii_digit),
    };
    if !fine {
        return Err(Malformed::ContentLength);
    }
    digits
        .iter()
        .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .ok_or(Malformed::ContentLength)
}

/// Why content can't be read on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// The connection ended before the content did.
    #[error("content ends too early")]
    Truncated,
    /// It is not in the chunked coding.
    #[error(transparent)]
    Chunk(#[from] chunked::ChunkError),
}

/// Finds the content in the bytes of a connection.
#[derive(Debug)]
pub enum Decoder {
    /// So many bytes are left.
    Length(u64),
    /// Chunks.
    Chunked(chunked::Decoder),
    /// All bytes to the end of the connection.
    UntilClose,
    /// Nothing is left.
    Done,
}

/// What [`Decoder::decode`] made of some bytes. They now begin with the payload, then the trailer lines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Step {
    /// Bytes of payload.
    pub payload: usize,
    /// Bytes of trailer lines behind the payload, each with its CRLF.
    pub trailers: usize,
    /// Bytes that are used up, from the start.
    pub consumed: usize,
    /// That was the end of the content.
    pub done: bool,
}

impl Step {
    /// Takes the trailer lines out whose names `is_barred` says; `bytes` are those that were decoded.
    pub(crate) fn drop_trailers(&mut self, bytes: &mut [u8], is_barred: impl Fn(&[u8]) -> bool) {
        let lines = &mut bytes[self.payload..][..self.trailers];
        let (mut from, mut kept) = (0, 0);
        while let Some(end) = memchr::memchr(b'\n', &lines[from..]) {
            let line = from..from + end + 1;
            let name = lines[line.clone()].split(|&byte| byte == b':').next().unwrap_or_default();
            from = line.end;
            if !is_barred(name) {
                let length = line.len();
                lines.copy_within(line, kept);
                kept += length;
            }
        }
        self.trailers = kept;
    }
}

impl Decoder {
    /// For content framed so; `trailers` says if they are kept.
    pub fn new(framing: Framing, trailers: bool) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(chunked::Decoder::new(trailers)),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Was that all?
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// See [`chunked::Decoder::left`]; none if it does not come in chunks.
    pub(crate) fn left_of_chunk(&self) -> Option<u64> {
        if let Self::Chunked(decoder) = self { decoder.left() } else { None }
    }

    /// See [`chunked::Decoder::skip`].
    pub(crate) fn skip_chunk(&mut self) {
        if let Self::Chunked(decoder) = self {
            decoder.skip();
        }
    }

    /// Takes what is content from the start of `bytes`, moving it to the front.
    ///
    /// # Errors
    /// The content is not in its framing; the connection can't be used any more.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Step, BodyError> {
        let step = match self {
            Self::Length(left) => {
                let payload = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= payload as u64;
                Step { payload, consumed: payload, trailers: 0, done: *left == 0 }
            }
            Self::Chunked(decoder) => decoder.decode(bytes)?,
            Self::UntilClose => {
                Step { payload: bytes.len(), consumed: bytes.len(), trailers: 0, done: false }
            }
            Self::Done => Step { done: true, ..Step::default() },
        };
        if step.done {
            *self = Self::Done;
        }
        Ok(step)
    }

    /// After a fault in `bytes`: those of them that were not overwritten, and which of these is wrong.
    pub(crate) fn fault<'b>(&self, bytes: &'b [u8]) -> (&'b [u8], usize) {
        let Self::Chunked(decoder) = self else { return (bytes, 0) };
        let Step { payload, trailers, consumed, .. } = decoder.reached();
        let moved = payload + trailers;
        (bytes.get(moved..).unwrap_or_default(), consumed.saturating_sub(moved))
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// Content was due.
    pub fn end(&mut self) -> Result<(), BodyError> {
        match self {
            Self::UntilClose | Self::Done => {
                *self = Self::Done;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(BodyError::Truncated),
        }
    }
}
