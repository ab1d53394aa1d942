//! One request to a server and its answer, for checks: they live on the control side, where nothing is shared and nothing waits
//! behind a slow reader.

use std::{io::Write, rc::Rc};

use super::response::{self, Written};
use crate::{
    buffer::BufferPool,
    http2::{
        frame::{
            self, ACK, END_HEADERS, END_STREAM, ErrorCode, HEADER, Header, Kind, LONGEST, PREFACE, PRIORITY,
        },
        hpack,
        machine::unpad,
        outbound::read_request,
        request::Framing,
        settings,
    },
};

/// The stream that is asked on.
const STREAM: u32 = 1;

/// Bytes of a field section that is not whole.
const LONGEST_BLOCK: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Asking {
    /// Frames to be sent.
    out: Vec<u8>,
    /// Frames that have not come as a whole.
    inbox: Vec<u8>,
    decoder: hpack::Decoder,
    block: Vec<u8>,
    ends_with_block: bool,
    has_begun: bool,
    is_head: bool,
    /// How content comes, behind the head.
    framing: Option<Framing>,
    is_over: bool,
}

impl Asking {
    /// `request` is one of HTTP/1.1, with its content.
    pub(crate) fn new(request: &[u8], is_secure: bool) -> Self {
        let (mut out, mut section) = (PREFACE.to_vec(), Vec::new());
        // Windows as large as they can be: what is too much is not read.
        let window = u32::MAX >> 1;
        frame::put(Kind::Settings, 0, 0, &settings::of_client(window, 32 * 1024), &mut out);
        frame::put(Kind::WindowUpdate, 0, 0, &(window - 65_535).to_be_bytes(), &mut out);
        let length = read_request(request, is_secure, &mut section).map_or(0, |head| head.length);
        let content = &request[length..];
        let flags = if content.is_empty() { END_STREAM } else { 0 };
        let mut kind = Kind::Headers;
        let mut parts = section.chunks(LONGEST).peekable();
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
            let first = if kind == Kind::Headers { flags } else { 0 };
            frame::put(kind, first | end, STREAM, part, &mut out);
            kind = Kind::Continuation;
        }
        let mut parts = content.chunks(LONGEST).peekable();
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() { END_STREAM } else { 0 };
            frame::put(Kind::Data, end, STREAM, part, &mut out);
        }
        Self {
            out,
            inbox: Vec::new(),
            decoder: hpack::Decoder::default(),
            block: Vec::new(),
            ends_with_block: false,
            has_begun: false,
            is_head: request.starts_with(b"HEAD "),
            framing: None,
            is_over: false,
        }
    }

    /// What is to be sent now.
    pub(crate) fn out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Has all of the answer come?
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Bytes of the server, that tell some more of its `answer` in HTTP/1.1.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(crate) fn receive(&mut self, bytes: &[u8], answer: &mut Vec<u8>) -> Result<(), String> {
        self.inbox.extend_from_slice(bytes);
        if !self.has_begun && self.inbox.starts_with(b"HTTP/1.") {
            return Err("HTTP/1 is spoken, not HTTP/2".to_owned());
        }
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        while let Some(header) = Header::read(rest) {
            if header.length > LONGEST || !(self.has_begun || header.kind == Kind::Settings) {
                return Err("no HTTP/2".to_owned());
            }
            let Some(payload) = rest.get(HEADER..HEADER + header.length) else { break };
            self.frame(header, payload, answer)?;
            rest = &rest[HEADER + header.length..];
        }
        self.inbox = rest.to_vec();
        Ok(())
    }

    fn frame(&mut self, header: Header, payload: &[u8], answer: &mut Vec<u8>) -> Result<(), String> {
        self.has_begun = true;
        let is_ours = header.stream == STREAM;
        match header.kind {
            Kind::Settings if !header.has(ACK) => frame::put(Kind::Settings, ACK, 0, b"", &mut self.out),
            Kind::Ping if !header.has(ACK) => frame::put(Kind::Ping, ACK, 0, payload, &mut self.out),
            Kind::GoAway if payload.get(..4).is_none_or(|last| last < &STREAM.to_be_bytes()[..]) => {
                return Err(format!("it has sent GOAWAY ({})", code(payload.get(4..8))));
            }
            Kind::ResetStream if is_ours && !self.is_over => {
                return Err(format!("it has reset the stream ({})", code(payload.get(..4))));
            }
            Kind::Headers if is_ours => {
                let payload = unpad(header, payload).map_err(|failure| failure.to_string())?;
                let skipped = if header.has(PRIORITY) { 5 } else { 0 };
                self.block = payload.get(skipped..).unwrap_or_default().to_vec();
                self.ends_with_block = header.has(END_STREAM);
                self.section(header, answer)?;
            }
            Kind::Continuation if is_ours => {
                self.block.extend_from_slice(payload);
                self.section(header, answer)?;
            }
            Kind::Data if is_ours => {
                let content = unpad(header, payload).map_err(|failure| failure.to_string())?;
                let is_chunked = self.framing == Some(Framing::Chunked);
                if is_chunked && !content.is_empty() {
                    let _ = write!(answer, "{:x}\r\n", content.len());
                }
                answer.extend_from_slice(content);
                if is_chunked && !content.is_empty() {
                    answer.extend_from_slice(b"\r\n");
                }
                self.end_if(header.has(END_STREAM), answer);
            }
            _ => {}
        }
        Ok(())
    }

    /// Some of a field section has come.
    fn section(&mut self, header: Header, answer: &mut Vec<u8>) -> Result<(), String> {
        if self.block.len() > LONGEST_BLOCK {
            return Err("a head that is too large".to_owned());
        }
        if !header.has(END_HEADERS) {
            return Ok(());
        }
        let mut head = Rc::new(BufferPool::default()).take();
        let mut writer = response::Writer::default();
        let decoded = self.decoder.decode(&self.block, |name, value| writer.field(name, value, &mut head));
        decoded.map_err(|_| "a field section that can't be decoded")?;
        if self.framing.is_none() {
            let written = writer.finish(self.ends_with_block, self.is_head, &mut head)?;
            answer.extend_from_slice(head.filled());
            if let Written::Final(framing) = written {
                self.framing = Some(framing);
            }
        }
        self.end_if(self.ends_with_block, answer);
        Ok(())
    }

    fn end_if(&mut self, is_all: bool, answer: &mut Vec<u8>) {
        if is_all && !self.is_over {
            self.is_over = true;
            if self.framing == Some(Framing::Chunked) {
                answer.extend_from_slice(b"0\r\n\r\n");
            }
        }
    }
}

fn code(bytes: Option<&[u8]>) -> String {
    let number = bytes.and_then(|bytes| bytes.first_chunk().copied()).map_or(0, u32::from_be_bytes);
    ErrorCode::ALL
        .into_iter()
        .find(|code| *code as u32 == number)
        .map_or_else(|| number.to_string(), |code| code.to_string())
}
