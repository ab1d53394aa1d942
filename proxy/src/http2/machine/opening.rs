//! The side that asks: streams that are ours to open, and what becomes of them.

use std::io;

use super::{ALL_STREAMS, Kind, Machine, Role, STREAM_WINDOW, STREAMS};
use crate::http2::{
    frame::ErrorCode,
    stream::{Remote, Sending, Stream},
};

/// The last number that a stream of ours may have (RFC 9113 §5.1.1).
const LAST: u32 = u32::MAX >> 1;

/// What a PING of ours carries whose answer says that the server is still there.
const ARE_YOU_THERE: &[u8; 8] = b"lb-there";

impl Machine {
    /// May further streams be opened, as far as their number goes?
    pub(in crate::http2) fn takes_streams(&self) -> bool {
        !self.is_broken && !self.is_ending() && self.last < LAST - 1
    }

    /// Was its server asked if it is there, and has not said a word since?
    pub(in crate::http2) fn is_doubtful(&self) -> bool {
        self.doubt == Some(self.heard)
    }

    /// Has its server said that it leaves because something is wrong?
    pub(in crate::http2) fn is_at_fault(&self) -> bool {
        self.is_at_fault
    }

    /// Requests that may be open at a time. Those that are over and lack only the end of their streams give way to them.
    pub(in crate::http2) fn room(&self) -> usize {
        self.settings.streams.min(STREAMS)
    }

    /// Opens a stream, whose request is to be written.
    ///
    /// # Errors
    /// The connection takes no further one.
    pub fn open_request(&mut self) -> io::Result<usize> {
        debug_assert!(self.role == Role::Client);
        if !self.takes_streams() || self.is_doubtful() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // More than one is too many where the server allows fewer than before.
        while self.streams.len() >= self.settings.streams.min(ALL_STREAMS) {
            if !self.reset_detached() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        self.last += if self.last == 0 { 1 } else { 2 };
        let content = self.queues.pop().unwrap_or_default();
        let windows = (self.settings.initial_window, STREAM_WINDOW);
        let key = self.streams.insert(Stream::of_request(self.last, content, windows, self.heard));
        self.ids.push((self.last, key));
        Ok(key)
    }

    /// Ends the oldest of the streams whose requests are over: its end should have come long ago. False if there is none.
    fn reset_detached(&mut self) -> bool {
        let mut keys = self.ids.iter().map(|(_, key)| *key);
        let oldest = keys.find(|key| self.streams[*key].is_detached);
        if let Some(key) = oldest {
            self.reset(key, ErrorCode::Cancel);
        }
        oldest.is_some()
    }

    /// The server has sent all that it sends on a stream.
    pub(super) fn end_remote(&mut self, key: usize) {
        let stream = &mut self.streams[key];
        stream.remote = Remote::Ended;
        if let Some(reader) = stream.reader.take() {
            reader.wake();
        }
        if stream.is_detached {
            self.remove(key);
        }
    }

    /// Whoever has asked has no more to do with a stream.
    pub(super) fn release_request(&mut self, key: usize) {
        let stream = &mut self.streams[key];
        let is_asked = stream.sending == Sending::Over;
        match stream.remote {
            Remote::Reset => {}
            Remote::Ended if is_asked || stream.is_deaf => {}
            // The content of its answer is whole, and only the end of the stream is to come.
            Remote::Open
                if is_asked && stream.due == Some(0) && !stream.awaits_head && !stream.is_readable() =>
            {
                stream.is_detached = true;
                return;
            }
            Remote::Open | Remote::Ended => {
                let is_silent = stream.remote == Remote::Open && stream.opened_at == self.heard;
                if stream.sending != Sending::Head {
                    let id = stream.id;
                    stream.is_reset_by_us = true;
                    self.put(Kind::ResetStream, 0, id, &ErrorCode::Cancel.bytes());
                }
                if is_silent && self.doubt != Some(self.heard) {
                    // Not a word since it was asked: perhaps nobody is there any more.
                    self.doubt = Some(self.heard);
                    self.put(Kind::Ping, 0, 0, ARE_YOU_THERE);
                }
            }
        }
        let held = self.streams[key].forget();
        self.give_credit(held);
        self.remove(key);
    }

    /// The server does nothing for streams beyond this one (RFC 9113 §6.8): they may be asked again. If `is_fault`, it is the first of
    /// them that it has choked on, if any of them: it reads requests in their order.
    pub(super) fn refuse_beyond(&mut self, last: u32, is_fault: bool) {
        let beyond = self.ids.partition_point(|(id, _)| *id <= last);
        let keys: Vec<usize> = self.ids[beyond..].iter().map(|(_, key)| *key).collect();
        if let Some(first) = keys.first().filter(|_| is_fault) {
            self.streams[*first].is_suspect = true;
        }
        for key in keys {
            self.streams[key].is_refused = true;
            self.give_up(key);
        }
    }
}
