//! Field sections: of requests, and of the trailers behind them (RFC 9113 §6.2, §6.10, §8.1).

use std::rc::Rc;

use super::{
    ALL_STREAMS, Failure, Kind, Machine, PRICE_OF_FRAME, PRICE_OF_RESET, Role, STREAM_WINDOW, unpad,
};
use crate::{
    buffer::Buffer,
    http::{MAX_INTERIM, body::chunked::MAX_TRAILERS, head::MAX_HEAD},
    http2::{
        frame::{END_HEADERS, END_STREAM, ErrorCode, Header, PRIORITY},
        hpack::Fault,
        outbound::response::Written,
        pools::Sections,
        request::{self, check_trailer, put_line},
        stream::{Remote, Stream},
    },
};

/// Bytes of a section before it is decoded.
const LONGEST_BLOCK: usize = 2 * MAX_HEAD;

/// Frames of one section.
const FRAMES: u32 = 64;

/// The same of a server: what is too long costs it the stream, so it has to be decoded.
const LONGEST_BLOCK_OF_SERVER: usize = 8 * MAX_HEAD;

/// Bytes of a section as RFC 9113 §10.5.1 counts them, beyond which a client means no good, and nothing is kept of what a server
/// sends. What is longer than a head may be is answered.
const LONGEST_LIST: usize = 8 * MAX_HEAD;

/// What each field costs beside its bytes.
const OVERHEAD: usize = 32;

/// A section that is not whole yet.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    is_all: bool,
    bytes: Buffer,
    frames: u32,
}

/// Whose fields come.
enum Target {
    /// A request.
    New,
    /// What a server answers.
    Response(usize),
    /// What stands behind the content of either.
    Trailers(usize),
    /// Nobody's any more: decoded for the sake of the table.
    Ignored,
    /// Likewise, and their client is told so: there are too many.
    Refused,
    /// Likewise: the stream has ended.
    Late,
}

impl Machine {
    pub(super) fn headers(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        let mut fragment = unpad(header, payload)?;
        if header.stream.is_multiple_of(2) {
            return Err(Failure::new(ErrorCode::Protocol, "HEADERS on a stream that is not a client's"));
        }
        if header.has(PRIORITY) {
            let too_short = Failure::new(ErrorCode::FrameSize, "HEADERS that are too short");
            let (priority, rest) = fragment.split_at_checked(5).ok_or(too_short)?;
            fragment = rest;
            if let Some(dependency) = priority.first_chunk() {
                self.depends(header.stream, *dependency)?;
            }
        }
        let is_all = header.has(END_STREAM);
        if header.has(END_HEADERS) {
            return self.section(header.stream, is_all, fragment);
        }
        let mut bytes = self.pools.buffers.take();
        bytes.push(fragment);
        self.block = Some(Block { stream: header.stream, is_all, bytes, frames: 1 });
        Ok(())
    }

    pub(super) fn continuation(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        let Some(mut block) = self.block.take() else {
            return Err(Failure::new(ErrorCode::Protocol, "CONTINUATION of nothing"));
        };
        block.frames += 1;
        let most = if self.role == Role::Client { LONGEST_BLOCK_OF_SERVER } else { LONGEST_BLOCK };
        if block.bytes.len() + payload.len() > most || block.frames > FRAMES {
            return Err(Failure::new(ErrorCode::EnhanceYourCalm, "a field section without end"));
        }
        block.bytes.push(payload);
        if header.has(END_HEADERS) {
            self.section(block.stream, block.is_all, block.bytes.filled())?;
        } else {
            self.block = Some(block);
        }
        self.spend(PRICE_OF_FRAME, "CONTINUATION")
    }

    /// A whole section.
    fn section(&mut self, id: u32, is_all: bool, section: &[u8]) -> Result<(), Failure> {
        let target = self.target(id)?;
        let mut head = None;
        let mut fault = Ok(());
        let mut size = 0;
        let pools = Rc::clone(&self.pools);
        let Sections { room, requests, responses, .. } = &mut *pools.sections.borrow_mut();
        match target {
            Target::New => requests.begin(self.websocket),
            Target::Response(_) => responses.begin(),
            Target::Trailers(_) | Target::Ignored | Target::Refused | Target::Late => {}
        }
        let is_of_server = self.role == Role::Client;
        match target {
            Target::New | Target::Response(_) => head = Some(pools.heads.take()),
            // Behind a Content-Length HTTP/1.1 has no place for them.
            Target::Trailers(key) if self.streams[key].due.is_none() => {
                head.insert(pools.heads.take()).push(b"0\r\n");
            }
            Target::Trailers(_) | Target::Ignored | Target::Refused | Target::Late => {}
        }
        let decoded = self.decoder.decode_in(room, section, |name, value| {
            size += name.len() + value.len() + OVERHEAD;
            if size > LONGEST_LIST {
                return is_of_server;
            }
            match (&target, &mut head) {
                (Target::New, Some(head)) => requests.field(name, value, head),
                (Target::Response(_), Some(head)) => responses.field(name, value, head),
                (Target::Trailers(_), tail) if fault.is_ok() => {
                    fault = check_trailer(name, value);
                    if let Some(tail) = tail.as_mut().filter(|_| fault.is_ok()) {
                        // In HTTP/1.1, which they become, more is an error: what nobody will read is not kept meanwhile.
                        if tail.len() + name.len() + value.len() > MAX_TRAILERS {
                            fault = Err("trailers that are too long");
                        } else {
                            put_line(name, value, tail);
                        }
                    }
                }
                _ => {}
            }
            true
        });
        match decoded {
            Ok(()) => {}
            Err(Fault::Enough) => {
                return Err(Failure::new(
                    ErrorCode::EnhanceYourCalm,
                    "a field section that is far too large",
                ));
            }
            Err(_) => {
                return Err(Failure::new(ErrorCode::Compression, "a field section that can't be decoded"));
            }
        }
        if size > LONGEST_LIST && matches!(target, Target::Response(_) | Target::Trailers(_)) {
            return self.stream_error(
                id,
                ErrorCode::EnhanceYourCalm,
                "a field section that is far too large",
            );
        }
        match (target, head) {
            (Target::New, Some(mut head)) => {
                let written = requests.finish(is_all, &mut head);
                self.open_stream(id, is_all, written, head)
            }
            (Target::Response(key), Some(mut head)) => {
                let stream = &self.streams[key];
                let written = match responses.finish(is_all, stream.is_head, &mut head) {
                    // Nothing holds a server up that sends them: those that nobody has read are together no longer than one may be.
                    Ok(Written::Interim)
                        if stream.interim == MAX_INTERIM || stream.unread_head() + head.len() > MAX_HEAD =>
                    {
                        Err("too many interim responses")
                    }
                    written => written,
                };
                self.respond(key, is_all, written, head)
            }
            (Target::Trailers(key), tail) => {
                let stream = &mut self.streams[key];
                let fault = match fault {
                    Err(fault) => Some(fault),
                    // RFC 9113 §8.5
                    Ok(()) if stream.tunnel.is_some() => Some("fields in a tunnel"),
                    Ok(()) if !is_all => Some("fields in the middle of content"),
                    Ok(()) if stream.due.is_some_and(|due| due > 0) => Some("content is not Content-Length"),
                    Ok(()) => None,
                };
                if let Some(why) = fault {
                    return self.stream_error(id, ErrorCode::Protocol, why);
                }
                if let Some(mut tail) = tail {
                    tail.push(b"\r\n");
                    stream.trail(tail);
                }
                self.end_remote(key);
                Ok(())
            }
            (Target::Refused, _) => {
                self.remember(id, true);
                self.put(Kind::ResetStream, 0, id, &ErrorCode::RefusedStream.bytes());
                self.spend(PRICE_OF_RESET, "more streams than are allowed")
            }
            (Target::Late, _) => {
                self.stream_error(id, ErrorCode::StreamClosed, "HEADERS behind the end of a stream")
            }
            _ => self.spend(PRICE_OF_FRAME, "HEADERS of closed streams"),
        }
    }

    fn target(&mut self, id: u32) -> Result<Target, Failure> {
        if let Some(key) = self.find(id) {
            return match self.streams[key].remote {
                Remote::Open if self.streams[key].awaits_head => Ok(Target::Response(key)),
                Remote::Open => Ok(Target::Trailers(key)),
                Remote::Ended => Ok(Target::Late),
                Remote::Reset if self.streams[key].is_reset_by_us => Ok(Target::Ignored),
                Remote::Reset => Ok(Target::Late),
            };
        }
        if self.role == Role::Client {
            return if id <= self.last {
                Ok(Target::Ignored)
            } else {
                Err(Failure::new(ErrorCode::Protocol, "HEADERS of a stream that nobody has opened"))
            };
        }
        if id <= self.last {
            return if self.was_reset_by_us(id) {
                Ok(Target::Ignored)
            } else if self.closed.contains(&(id, false)) {
                Err(Failure::new(ErrorCode::StreamClosed, "HEADERS on a closed stream"))
            } else {
                Err(Failure::new(ErrorCode::Protocol, "a stream with a number that is too small"))
            };
        }
        if self.is_final() {
            self.beyond = self.beyond.max(id);
            return Ok(Target::Ignored);
        }
        self.last = id;
        // Counted only where it may matter: it is done for each request.
        let open = || self.streams.iter().filter(|(_, stream)| stream.remote != Remote::Reset).count();
        if self.streams.len() >= ALL_STREAMS || (self.streams.len() >= self.most && open() >= self.most) {
            return Ok(Target::Refused);
        }
        Ok(Target::New)
    }

    fn respond(
        &mut self,
        key: usize,
        is_all: bool,
        written: Result<Written, &'static str>,
        head: Buffer,
    ) -> Result<(), Failure> {
        let written = match written {
            Ok(written) => written,
            Err(why) => {
                let id = self.streams[key].id;
                return self.stream_error(id, ErrorCode::Protocol, why);
            }
        };
        let stream = &mut self.streams[key];
        match written {
            Written::Interim => stream.respond(head, None),
            Written::Final(framing) => stream.respond(head, Some(framing)),
        }
        if is_all {
            self.end_remote(key);
        } else if let Some(reader) = stream.reader.take() {
            reader.wake();
        }
        Ok(())
    }

    fn open_stream(
        &mut self,
        id: u32,
        is_all: bool,
        written: Result<request::Written, &'static str>,
        head: Buffer,
    ) -> Result<(), Failure> {
        let written = match written {
            Ok(written) => written,
            Err(why) => {
                self.remember(id, true);
                return self.stream_error(id, ErrorCode::Protocol, why);
            }
        };
        let content = self.queues.pop().unwrap_or_default();
        let windows = (self.settings.initial_window, STREAM_WINDOW);
        let mut stream = Stream::new(id, Some(head), content, written.framing, windows);
        stream.is_head = written.is_head;
        if is_all {
            stream.remote = Remote::Ended;
        }
        stream.came_at = self.now;
        let key = self.streams.insert(stream);
        self.ids.push((id, key));
        self.opened.push_back(key);
        Ok(())
    }
}
