//! One stream: what its peer has sent and nobody has read yet, and how far our side of it is.

use std::{collections::VecDeque, task::Waker};

use super::{request::Framing, response::Content};
use crate::buffer::{Buffer, BufferPool};

/// Bytes of a line with a chunk's size, and the end of a chunk before it.
const SIZE_LINE: usize = 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// Its message as HTTP/1.1 has it, as far as it was not read: the head, and behind content its trailers.
    head: Option<Buffer>,
    /// Content that was not read.
    content: VecDeque<Buffer>,
    /// Bytes of that.
    held: usize,
    framing: Framing,
    /// The last chunk and trailers behind it.
    tail: Option<Buffer>,
    /// Bytes of content to come, where the client has said how many there are.
    pub(super) due: Option<u64>,
    /// Bytes that are left of the chunk that is being read.
    chunk: usize,
    line: Line,
    is_end_read: bool,
    pub(super) remote: Remote,
    /// What its client takes.
    pub(super) send_window: i64,
    /// Bytes that were sent, and of which its peer has not said that they are out of the way.
    pub(super) unread: i64,
    /// What we take.
    pub(super) receive_window: i64,
    /// Bytes that were read and that its client was not told of.
    pub(super) credit: usize,
    pub(super) sending: Sending,
    pub(super) is_head: bool,
    /// Trailers of our side, as a field section.
    pub(super) trailers: Vec<u8>,
    /// Who reads it, and who writes.
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// The writer is to be woken when there is room.
    pub(super) is_waiting: bool,
    /// The round of waking in which it wrote last.
    pub(super) wrote_in: u64,
    /// We have ended it before its time.
    pub(super) is_reset_by_us: bool,
    /// It has a lane.
    pub(super) is_taken: bool,
    /// The tick in which a client's came.
    pub(super) came_at: u64,
    /// A stream of ours: the head of its response is to come.
    pub(super) awaits_head: bool,
    /// Heads before that.
    pub(super) interim: u32,
    /// Where it asks for a WebSocket: how far that is.
    pub(super) tunnel: Option<Tunnel>,
    /// Its peer reads no further.
    pub(super) is_deaf: bool,
    /// Its peer has not looked at it: it may be asked again.
    pub(super) is_refused: bool,
    /// And it is the first of those, of a peer that leaves because something is wrong.
    pub(super) is_suspect: bool,
    /// Nobody waits for its end.
    pub(super) is_detached: bool,
    /// Frames of the connection that had come when it was opened.
    pub(super) opened_at: u64,
}

/// The peer's side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Remote {
    Open,
    /// All of its message is here.
    Ended,
    /// The stream is no more: by the peer or by us.
    Reset,
}

/// Our side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sending {
    /// The head of a message is next.
    Head,
    Content(Content),
    /// All of it is sent.
    Over,
}

/// A WebSocket (RFC 8441). What the client sends early waits until there is one, and is nothing where there is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tunnel {
    Asked,
    Open,
    Refused,
}

/// Framing that is to be read.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    bytes: [u8; SIZE_LINE],
    start: usize,
    end: usize,
}

impl Line {
    fn set(&mut self, bytes: &[u8]) {
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        (self.start, self.end) = (0, bytes.len());
    }

    /// `1f40` and CRLF.
    fn set_size(&mut self, size: usize) {
        let digits = (usize::BITS - size.leading_zeros()).div_ceil(4) as usize;
        for (place, digit) in self.bytes[..digits].iter_mut().rev().enumerate() {
            *digit = crate::hex::LOWER[size >> (4 * place) & 15];
        }
        self.bytes[digits..digits + 2].copy_from_slice(b"\r\n");
        (self.start, self.end) = (0, digits + 2);
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn read(&mut self, bytes: &mut [u8]) -> usize {
        let n = bytes.len().min(self.end - self.start);
        bytes[..n].copy_from_slice(&self.bytes[self.start..self.start + n]);
        self.start += n;
        n
    }
}

impl Stream {
    /// `content` is empty, and was perhaps another stream's.
    pub(super) fn new(
        id: u32,
        head: Option<Buffer>,
        content: VecDeque<Buffer>,
        framing: Framing,
        windows: (i64, i64),
    ) -> Self {
        let due = framing.due();
        let (send_window, receive_window) = windows;
        Self {
            id,
            head,
            content,
            held: 0,
            framing,
            tail: None,
            due,
            chunk: 0,
            line: Line::default(),
            is_end_read: framing != Framing::Chunked,
            remote: if framing == Framing::None { Remote::Ended } else { Remote::Open },
            send_window,
            unread: 0,
            receive_window,
            credit: 0,
            sending: Sending::Head,
            is_head: false,
            trailers: Vec::new(),
            reader: None,
            writer: None,
            is_waiting: false,
            wrote_in: 0,
            is_reset_by_us: false,
            is_taken: false,
            came_at: 0,
            awaits_head: false,
            interim: 0,
            tunnel: (framing == Framing::Tunnel).then_some(Tunnel::Asked),
            is_deaf: false,
            is_refused: false,
            is_suspect: false,
            is_detached: false,
            opened_at: 0,
        }
    }

    /// One of ours, of which nothing is said yet; `opened_at` is [`Self::opened_at`].
    pub(super) fn of_request(
        id: u32,
        content: VecDeque<Buffer>,
        windows: (i64, i64),
        opened_at: u64,
    ) -> Self {
        Self {
            due: None,
            remote: Remote::Open,
            awaits_head: true,
            is_taken: true,
            opened_at,
            ..Self::new(id, None, content, Framing::None, windows)
        }
    }

    /// Bytes of heads that nobody has read.
    pub(super) fn unread_head(&self) -> usize {
        self.head.as_ref().map_or(0, Buffer::len)
    }

    /// A head of its response, and how content comes if it is not an interim one.
    pub(super) fn respond(&mut self, head: Buffer, framing: Option<Framing>) {
        match &mut self.head {
            Some(before) => before.push(head.filled()),
            None => self.head = Some(head),
        }
        let Some(framing) = framing else {
            self.interim += 1;
            return;
        };
        self.awaits_head = false;
        self.framing = framing;
        self.due = framing.due();
        self.is_end_read = framing != Framing::Chunked;
    }

    /// Trailers that have come, behind the line of the last chunk.
    pub(super) fn trail(&mut self, tail: Buffer) {
        self.tail = Some(tail);
    }

    /// It is no more: what held its content may hold another's.
    pub(super) fn take_content(&mut self) -> VecDeque<Buffer> {
        self.content.clear();
        std::mem::take(&mut self.content)
    }

    /// Is there anything to read, be it the end of a tunnel?
    pub(super) fn is_readable(&self) -> bool {
        if let (None, Some(tunnel)) = (&self.head, self.tunnel) {
            return tunnel == Tunnel::Open && (self.held > 0 || self.is_at_end());
        }
        self.head.is_some()
            || self.held > 0
            || !self.line.is_empty()
            || (self.remote == Remote::Ended && !self.is_end_read)
    }

    /// Is it a tunnel whose client has said all, and all is read?
    pub(super) fn is_at_end(&self) -> bool {
        self.tunnel == Some(Tunnel::Open) && self.remote == Remote::Ended && self.held == 0
    }

    /// Both sides have said all, and all is read.
    pub(super) fn is_over(&self) -> bool {
        let has_said_all = self.remote == Remote::Ended || self.tunnel == Some(Tunnel::Refused);
        self.sending == Sending::Over && has_said_all && !self.is_readable()
    }

    /// The answer to who asks for a WebSocket. Bytes that nobody will read.
    pub(super) fn settle_tunnel(&mut self, is_open: bool) -> usize {
        if is_open {
            self.tunnel = Some(Tunnel::Open);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return 0;
        }
        self.tunnel = Some(Tunnel::Refused);
        self.forget()
    }

    /// More content.
    pub(super) fn push(&mut self, mut payload: &[u8], buffers: &std::rc::Rc<BufferPool>) {
        self.held += payload.len();
        while !payload.is_empty() {
            if self.content.back_mut().is_none_or(|last| last.unfilled().is_empty()) {
                self.content.push_back(buffers.take());
            }
            let Some(last) = self.content.back_mut() else { return };
            payload = &payload[last.append(payload)..];
        }
    }

    /// Reads what fits: the head, then content in the framing that the head has said.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let room = &mut bytes[done..];
            if let Some(head) = &mut self.head {
                let n = room.len().min(head.len());
                room[..n].copy_from_slice(&head.filled()[..n]);
                head.consume(n);
                if head.is_empty() {
                    self.head = None;
                }
                done += n;
            } else if !self.line.is_empty() {
                done += self.line.read(room);
            } else if self.tunnel.is_some_and(|tunnel| tunnel != Tunnel::Open) {
                break;
            } else if self.held > 0 && (self.framing != Framing::Chunked || self.chunk > 0) {
                done += self.read_content(room);
            } else if self.held > 0 {
                self.chunk = self.held;
                self.line.set_size(self.held);
            } else if self.remote == Remote::Ended && !self.is_end_read {
                self.is_end_read = true;
                match self.tail.take() {
                    Some(tail) => self.head = Some(tail),
                    None => self.line.set(b"0\r\n\r\n"),
                }
            } else {
                break;
            }
        }
        done
    }

    fn read_content(&mut self, room: &mut [u8]) -> usize {
        let Some(first) = self.content.front_mut() else { return 0 };
        let is_chunked = self.framing == Framing::Chunked;
        let most = if is_chunked { self.chunk } else { self.held };
        let n = room.len().min(first.len()).min(most);
        room[..n].copy_from_slice(&first.filled()[..n]);
        first.consume(n);
        if first.is_empty() {
            self.content.pop_front();
        }
        self.held -= n;
        self.credit += n;
        if is_chunked {
            self.chunk -= n;
            if self.chunk == 0 {
                self.line.set(b"\r\n");
            }
        }
        n
    }

    /// Nobody reads on. Bytes of content that were held.
    pub(super) fn forget(&mut self) -> usize {
        (self.head, self.tail) = (None, None);
        self.content.clear();
        (self.line, self.chunk, self.is_end_read) = (Line::default(), 0, true);
        std::mem::take(&mut self.held)
    }

    /// Whoever waits for it looks again.
    pub(super) fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}
