//! Flow control (RFC 9113 §5.2, §6.9): how much either side may send.

use super::{BACKLOG, Failure, Kind, Machine, PRICE_OF_FRAME, Role, STREAM_WINDOW, WINDOW};
use crate::http2::{
    frame::{ErrorCode, Header},
    settings::LARGEST_WINDOW,
    stream::Remote,
};

/// Writers that are woken at a time: a few of them fill what there is room for.
const WRITERS: usize = 8;

/// A window that was shut and is opened by less than this, in bytes, gets the client a frame with next to nothing in it, for a frame of
/// its own (CVE-2019-9511): it costs a point.
const CRUMB: i64 = 128;

/// The most of a server's window that is kept for others, in bytes.
const LARGEST_RESERVE: i64 = 64 * 1024;

impl Machine {
    pub(super) fn window_update(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        let Ok(increment) = <[u8; 4]>::try_from(payload) else {
            return Err(Failure::new(ErrorCode::FrameSize, "WINDOW_UPDATE of a wrong length"));
        };
        let increment = i64::from(u32::from_be_bytes(increment) & (u32::MAX >> 1));
        let mut was_shut = false;
        let (code, why) = match increment {
            0 => (ErrorCode::Protocol, "WINDOW_UPDATE of nothing"),
            _ => (ErrorCode::FlowControl, "a window that is too large"),
        };
        if header.stream == 0 {
            if increment == 0 || self.send_window + increment > LARGEST_WINDOW {
                return Err(Failure::new(code, why));
            }
            was_shut = self.send_window <= 0;
            self.send_window += increment;
            self.widest = self.widest.max(self.send_window);
        } else if self.is_idle(header.stream) {
            return Err(Failure::new(ErrorCode::Protocol, "WINDOW_UPDATE of a stream that is not open"));
        } else if let Some(key) = self.find(header.stream) {
            let stream = &mut self.streams[key];
            if stream.remote != Remote::Reset {
                if increment == 0 || stream.send_window + increment > LARGEST_WINDOW {
                    return self.stream_error(header.stream, code, why);
                }
                was_shut = stream.send_window <= 0;
                stream.send_window += increment;
                stream.unread = (stream.unread - increment).max(0);
                if let Some(writer) = stream.writer.take() {
                    writer.wake();
                }
            }
        }
        if (was_shut && increment < CRUMB) || self.budget.is_update_idle() {
            return self.spend(PRICE_OF_FRAME, "WINDOW_UPDATE");
        }
        Ok(())
    }

    /// Bytes of content that a stream may send now. To a server an eighth of the connection's window is kept for streams of which
    /// nothing is unread there, or little: what one does not read of an upload does not hold all others up. Servers open their
    /// windows again when a quarter is left, at the latest (nginx).
    pub(super) fn window_of(&self, key: usize) -> i64 {
        let stream = &self.streams[key];
        let reserve = self.reserve();
        let own_part = self.send_window.min(reserve / 2 - stream.unread);
        stream.send_window.min(own_part.max(self.send_window - reserve))
    }

    fn reserve(&self) -> i64 {
        match self.role {
            Role::Server => 0,
            Role::Client => (self.widest / 8).min(LARGEST_RESERVE),
        }
    }

    /// May another stream have content, as much of it as one is let have of what is kept?
    pub(in crate::http2) fn has_window(&self) -> bool {
        self.send_window > 0 && self.send_window >= self.reserve() / 2
    }

    /// A client has changed with what streams begin (RFC 9113 §6.9.2). Of how many streams it opens a window that was shut, by next to nothing.
    pub(super) fn shift_windows(&mut self, by: i64) -> Result<u32, Failure> {
        let mut crumbs = 0;
        for (_, stream) in &mut self.streams {
            crumbs += u32::from(stream.send_window <= 0 && (1..CRUMB).contains(&by));
            stream.send_window += by;
            if stream.send_window > LARGEST_WINDOW {
                return Err(Failure::new(ErrorCode::FlowControl, "a window that is too large"));
            }
            if by > 0
                && let Some(writer) = stream.writer.take()
            {
                writer.wake();
            }
        }
        Ok(crumbs)
    }

    /// So many bytes of content are out of the way.
    pub(super) fn give_credit(&mut self, bytes: usize) {
        self.credit += bytes;
        let credit = self.credit as i64;
        if credit >= WINDOW / 4 {
            self.credit = 0;
            self.receive_window += credit;
            self.put_window_update(0, credit);
        }
    }

    /// The same of one stream, whose client may go on.
    pub(super) fn give_stream_credit(&mut self, key: usize) {
        let stream = &mut self.streams[key];
        let credit = stream.credit as i64;
        if stream.remote == Remote::Open && credit >= STREAM_WINDOW / 2 {
            stream.credit = 0;
            stream.receive_window += credit;
            let id = stream.id;
            self.put_window_update(id, credit);
        }
    }

    fn put_window_update(&mut self, stream: u32, increment: i64) {
        let increment = u32::try_from(increment).unwrap_or(0);
        self.put(Kind::WindowUpdate, 0, stream, &increment.to_be_bytes());
    }

    /// Wakes some of the writers that may write: those first that have written least lately, so that one stream does not take
    /// all the room time and again. True if there are others: they are to have their turn behind these.
    pub fn wake_writers(&mut self) -> bool {
        if self.waiting.is_empty() || self.backlog() >= BACKLOG {
            return false;
        }
        self.round += 1;
        let Self { waiting, streams, .. } = self;
        let wrote_in = |key: &usize| streams.get(*key).map_or(0, |stream| stream.wrote_in);
        waiting.make_contiguous().sort_unstable_by_key(|key| (wrote_in(key), *key));
        let (mut woken, mut are_others) = (0, false);
        for _ in 0..self.waiting.len() {
            let Some(key) = self.waiting.pop_front().filter(|key| self.streams.contains(*key)) else {
                continue;
            };
            let is_writable = self.is_writable(key);
            if !is_writable || woken == WRITERS {
                are_others |= is_writable;
                self.waiting.push_back(key);
                continue;
            }
            woken += 1;
            let stream = &mut self.streams[key];
            stream.is_waiting = false;
            if let Some(writer) = stream.writer.take() {
                writer.wake();
            }
        }
        are_others
    }
}
