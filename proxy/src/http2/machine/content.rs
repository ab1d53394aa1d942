//! Content that comes (RFC 9113 §6.1).

use super::{Failure, Kind, Machine, PRICE_OF_FRAME, PRICE_OF_STREAM_ERROR};
use crate::{
    buffer::Buffer,
    http2::{
        frame::{END_STREAM, ErrorCode, HEADER, Header, PADDED},
        stream::{Remote, Tunnel},
    },
};

impl Machine {
    /// Takes what is here of a frame that is not whole, and leaves the rest as a frame of its own: so a client that sends long
    /// frames over a slow line is not silent meanwhile. Only where nothing can be wrong with it.
    pub(super) fn begin_data(&mut self, header: Header, inbox: &mut Buffer) -> Result<(), Failure> {
        let n = inbox.len() - HEADER;
        if header.kind != Kind::Data || header.has(PADDED) || n == 0 || self.block.is_some() {
            return Ok(());
        }
        let length = header.length as i64;
        let is_fine = self.find(header.stream).is_some_and(|key| {
            let stream = &self.streams[key];
            let due = stream.due.is_none_or(|due| {
                let left = due.checked_sub(header.length as u64);
                left.is_some_and(|left| left == 0 || !header.has(END_STREAM))
            });
            let is_open = stream.remote == Remote::Open && !stream.awaits_head;
            due && is_open && stream.receive_window >= length && self.receive_window >= length
        });
        if !is_fine {
            return Ok(());
        }
        self.data(Header { length: n, flags: 0, ..header }, &inbox.filled()[HEADER..])?;
        let rest = Header { length: header.length - n, ..header };
        inbox.filled_mut()[n..].copy_from_slice(&rest.bytes());
        inbox.consume(n);
        Ok(())
    }

    pub(super) fn data(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        let content = unpad(header, payload)?;
        self.receive_window -= payload.len() as i64;
        if self.receive_window < 0 {
            return Err(Failure::new(
                ErrorCode::FlowControl,
                "more DATA than the connection's window allows",
            ));
        }
        let Some(key) = self.find(header.stream) else {
            if self.is_idle(header.stream) || header.stream == 0 {
                return Err(Failure::new(ErrorCode::Protocol, "DATA on a stream that is not open"));
            }
            self.give_credit(payload.len());
            if header.stream > self.last || self.was_reset_by_us(header.stream) {
                return self.spend(PRICE_OF_FRAME, "DATA on closed streams");
            }
            return self.stream_error(header.stream, ErrorCode::StreamClosed, "DATA on a closed stream");
        };
        let stream = &mut self.streams[key];
        match stream.remote {
            Remote::Open if stream.awaits_head => {
                self.give_credit(payload.len());
                return self.stream_error(header.stream, ErrorCode::Protocol, "DATA before a response");
            }
            Remote::Open => {}
            Remote::Ended => {
                self.give_credit(payload.len());
                return self.stream_error(header.stream, ErrorCode::StreamClosed, "DATA behind the end");
            }
            Remote::Reset if stream.is_reset_by_us => {
                self.give_credit(payload.len());
                return self.spend(PRICE_OF_FRAME, "DATA on closed streams");
            }
            Remote::Reset => {
                self.give_credit(payload.len());
                self.put(Kind::ResetStream, 0, header.stream, &ErrorCode::StreamClosed.bytes());
                return self.spend(PRICE_OF_STREAM_ERROR, "streams with errors");
            }
        }
        stream.receive_window -= payload.len() as i64;
        if stream.receive_window < 0 {
            self.give_credit(payload.len());
            return self.stream_error(
                header.stream,
                ErrorCode::FlowControl,
                "more DATA than the window allows",
            );
        }
        let is_all = header.has(END_STREAM);
        if let Some(due) = &mut stream.due {
            let left = due.checked_sub(content.len() as u64);
            let Some(left) = left.filter(|left| !is_all || *left == 0) else {
                self.give_credit(payload.len());
                return self.stream_error(header.stream, ErrorCode::Protocol, "DATA is not Content-Length");
            };
            *due = left;
        }
        let is_unwanted = stream.tunnel == Some(Tunnel::Refused);
        if !is_unwanted {
            stream.push(content, &self.pools.buffers);
        }
        stream.credit += payload.len() - content.len();
        if is_all {
            self.end_remote(key);
        } else if let Some(reader) = stream.reader.take() {
            reader.wake();
        }
        self.give_credit(if is_unwanted { payload.len() } else { payload.len() - content.len() });
        if content.is_empty() && !is_all {
            return self.spend(PRICE_OF_FRAME, "DATA without content");
        }
        Ok(())
    }
}

/// A payload without padding (RFC 9113 §4.2, §6.1).
pub(in crate::http2) fn unpad(header: Header, payload: &[u8]) -> Result<&[u8], Failure> {
    if !header.has(PADDED) {
        return Ok(payload);
    }
    let too_short = Failure::new(ErrorCode::FrameSize, "padding without its length");
    let (padding, rest) = payload.split_first().ok_or(too_short)?;
    let too_long = Failure::new(ErrorCode::Protocol, "padding that is longer than its frame");
    let length = rest.len().checked_sub(usize::from(*padding)).ok_or(too_long)?;
    Ok(&rest[..length])
}
