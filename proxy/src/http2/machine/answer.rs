//! A stream as whoever serves it sees it: a request in HTTP/1.1 to be read, a response to be written.

use std::{
    io::{self, IoSlice},
    rc::Rc,
};

use super::{BACKLOG, Kind, Machine, Remote, Role, Sending, Tunnel};
use crate::http2::{
    coded,
    frame::{self, END_HEADERS, END_STREAM, ErrorCode, HEADER, Header, LONGEST},
    hpack,
    outbound::read_request,
    response::{self, Content, Next},
};

/// The frame that a write has begun last: more of the same kind may be added, and it may be the last of its stream.
#[derive(Clone, Copy, Debug)]
struct Begun {
    /// Where in what waits to be sent.
    at: usize,
    is_data: bool,
}

/// Room for content, in bytes, for which what waits to be sent is moved.
const WORTH_A_FRAME: usize = 1024;

// So there is always room for a byte of content as long as more may be written.
const _: () = assert!(BACKLOG + HEADER < crate::http2::BUFFER_SIZE);

impl Machine {
    /// A stream that has nobody yet: it is the caller's from now on.
    pub fn take_opened(&mut self) -> Option<usize> {
        let key = self.opened.pop_front()?;
        self.streams[key].is_taken = true;
        Some(key)
    }

    /// The tick in which the first of those came that have nobody.
    pub(in crate::http2) fn first_came_at(&self) -> Option<u64> {
        self.opened.front().map(|key| self.streams[*key].came_at)
    }

    /// Streams that somebody has.
    pub(in crate::http2) fn taken(&self) -> usize {
        self.streams.len() - self.opened.len()
    }

    pub(in crate::http2) fn stream(&mut self, key: usize) -> &mut super::Stream {
        &mut self.streams[key]
    }

    /// Reads what fits of a request; 0 is nothing yet.
    ///
    /// # Errors
    /// The stream is no more.
    pub fn read(&mut self, key: usize, bytes: &mut [u8]) -> io::Result<usize> {
        let stream = &mut self.streams[key];
        if stream.remote == Remote::Reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let before = stream.credit;
        let n = stream.read(bytes);
        let read = stream.credit - before;
        self.give_stream_credit(key);
        self.give_credit(read);
        Ok(n)
    }

    /// Is a write worth a try? Else whoever wants to write is woken when it is.
    pub(in crate::http2) fn is_writable(&self, key: usize) -> bool {
        let stream = &self.streams[key];
        let has_window = self.window_of(key) > 0;
        stream.remote == Remote::Reset
            || stream.is_deaf
            || (self.backlog() < BACKLOG && (has_window || !matches!(stream.sending, Sending::Content(_))))
    }

    /// Its writer is woken when there is room again. One whose own window is closed is woken when that is opened.
    pub(in crate::http2) fn wait_to_write(&mut self, key: usize) {
        let stream = &mut self.streams[key];
        let has_window = stream.send_window > 0 || !matches!(stream.sending, Sending::Content(_));
        if has_window && !stream.is_waiting {
            stream.is_waiting = true;
            self.waiting.push_back(key);
        }
    }

    /// Writes what fits of a response, from pieces of which one begins with a whole head.
    ///
    /// # Errors
    /// The stream is no more; `WouldBlock`: nothing fits.
    pub fn write(&mut self, key: usize, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let stream = &self.streams[key];
        if stream.remote == Remote::Reset || stream.is_deaf {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // What opens a stream can't wait: a later one would close it (RFC 9113 §5.1.1).
        let opens = self.role == Role::Client && stream.sending == Sending::Head;
        if self.backlog() >= BACKLOG && !opens {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (mut written, mut begun) = (0, None);
        'pieces: for piece in pieces {
            let mut bytes: &[u8] = piece;
            while !bytes.is_empty() {
                let taken = self.write_some(key, bytes, &mut begun)?;
                if taken == 0 {
                    break 'pieces;
                }
                written += taken;
                bytes = &bytes[taken..];
            }
        }
        if written == 0 && pieces.iter().any(|piece| !piece.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.streams[key].wrote_in = self.round;
        if matches!(self.streams[key].sending, Sending::Content(content) if content.is_over()) {
            self.put_end(key, begun);
        }
        Ok(written)
    }

    /// 0: nothing more fits.
    fn write_some(&mut self, key: usize, bytes: &[u8], begun: &mut Option<Begun>) -> io::Result<usize> {
        let window = self.window_of(key);
        let stream = &mut self.streams[key];
        let Sending::Content(content) = &mut stream.sending else {
            // Behind the end nothing is expected.
            if stream.sending == Sending::Over {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            return self.write_head(key, bytes, begun);
        };
        match content.next(bytes) {
            Next::Payload(most) => {
                let most = most.min(u64::try_from(window).unwrap_or(0));
                let n = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
                let n = self.put_data(key, &bytes[..n], begun);
                Ok(n)
            }
            Next::Framing(n) => Ok(n),
            Next::Trailers(n) => {
                response::read_trailers(&bytes[..n], &mut stream.trailers);
                Ok(n)
            }
        }
    }

    fn write_head(&mut self, key: usize, bytes: &[u8], begun: &mut Option<Begun>) -> io::Result<usize> {
        let pools = Rc::clone(&self.pools);
        let section = &mut pools.sections.borrow_mut().encoded;
        section.clear();
        if std::mem::take(&mut self.owes_table_size) {
            hpack::put_table_size(section);
        }
        let stream = &mut self.streams[key];
        let asks = stream.tunnel == Some(Tunnel::Asked);
        let head = match (self.role, coded::read(bytes)) {
            (Role::Server, Some((head, coded))) => {
                section.extend_from_slice(coded);
                Some(head)
            }
            (Role::Server, None) if asks => response::read_of_tunnel(bytes, section),
            (Role::Server, None) => response::read(bytes, stream.is_head, section),
            (Role::Client, _) => {
                stream.is_head = bytes.starts_with(b"HEAD ");
                read_request(bytes, self.is_secure, section)
            }
        };
        let head = head.ok_or(io::ErrorKind::InvalidData)?;
        let mut unwanted = 0;
        if !head.is_interim {
            stream.sending = Sending::Content(head.content);
            if asks {
                unwanted = stream.settle_tunnel(head.is_switch);
            }
        }
        self.give_credit(unwanted);
        *begun = Some(Begun { at: self.put_section(key, section), is_data: false });
        Ok(head.length)
    }

    /// A field section in as many frames as it needs. Where the first is.
    fn put_section(&mut self, key: usize, section: &[u8]) -> usize {
        let (id, at) = (self.streams[key].id, self.backlog());
        let mut kind = Kind::Headers;
        let mut rest = section;
        loop {
            let (fragment, behind) = rest.split_at(rest.len().min(LONGEST));
            rest = behind;
            self.put(kind, if rest.is_empty() { END_HEADERS } else { 0 }, id, fragment);
            if rest.is_empty() {
                return at;
            }
            kind = Kind::Continuation;
        }
    }

    /// As much as fits of `bytes`, in the DATA frame that is there, or in another.
    fn put_data(&mut self, key: usize, bytes: &[u8], begun: &mut Option<Begun>) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let out = self.out.get_or_insert_with(|| self.pools.frames.take());
        let stream = &mut self.streams[key];
        let room = out.room_for(HEADER + WORTH_A_FRAME).len();
        let (at, length) = match *begun {
            Some(Begun { at, is_data: true }) => (at, out.len() - at - HEADER),
            _ => {
                if room <= HEADER {
                    return 0;
                }
                let at = out.len();
                frame::put(Kind::Data, 0, stream.id, b"", out);
                self.budget.sent_data();
                *begun = Some(Begun { at, is_data: true });
                (at, 0)
            }
        };
        let n = out.unfilled().len().min(bytes.len()).min(LONGEST - length);
        out.push(&bytes[..n]);
        let header = Header { length: length + n, kind: Kind::Data, flags: 0, stream: stream.id };
        out.filled_mut()[at..at + HEADER].copy_from_slice(&header.bytes());
        stream.send_window -= n as i64;
        stream.unread += n as i64;
        self.send_window -= n as i64;
        if let Sending::Content(content) = &mut stream.sending {
            content.took(n as u64);
        }
        n
    }

    /// Our message is whole: trailers if there are any, or the mark on its last frame.
    fn put_end(&mut self, key: usize, begun: Option<Begun>) {
        let stream = &mut self.streams[key];
        stream.sending = Sending::Over;
        let (id, mut trailers) = (stream.id, std::mem::take(&mut stream.trailers));
        // They may be the first section since the peer has said so.
        if !trailers.is_empty() && std::mem::take(&mut self.owes_table_size) {
            let mut section = Vec::new();
            hpack::put_table_size(&mut section);
            section.append(&mut trailers);
            trailers = section;
        }
        let at = match begun {
            _ if !trailers.is_empty() => self.put_section(key, &trailers),
            Some(begun) => begun.at,
            None => {
                let at = self.backlog();
                self.put(Kind::Data, 0, id, b"");
                at
            }
        };
        if let Some(flags) = self.out.as_mut().and_then(|out| out.filled_mut().get_mut(at + 4)) {
            *flags |= END_STREAM;
        }
    }

    /// Our side says no more.
    pub fn finish(&mut self, key: usize) {
        let stream = &self.streams[key];
        if stream.sending == Sending::Content(Content::UntilEnd) && stream.remote != Remote::Reset {
            self.put_end(key, None);
        }
    }

    /// Whoever has served a stream has no more to do with it; `is_aborted` says if its end is to look like none.
    pub fn release(&mut self, key: usize, is_aborted: bool) {
        if self.role == Role::Client {
            return self.release_request(key);
        }
        let stream = &self.streams[key];
        let code = match (stream.remote, stream.sending) {
            (Remote::Reset, _) => None,
            (Remote::Ended, Sending::Over) => None,
            (Remote::Open, Sending::Over) => Some(ErrorCode::NoError),
            (_, Sending::Head) if !is_aborted => Some(ErrorCode::Cancel),
            // RFC 8441 §5
            (_, Sending::Content(_)) if stream.tunnel == Some(Tunnel::Open) => Some(ErrorCode::Cancel),
            (_, Sending::Head | Sending::Content(_)) => Some(ErrorCode::Internal),
        };
        if let Some(code) = code {
            let id = stream.id;
            self.put(Kind::ResetStream, 0, id, &code.bytes());
            self.streams[key].is_reset_by_us = true;
        }
        let held = self.streams[key].forget();
        self.give_credit(held);
        self.remove(key);
    }
}
