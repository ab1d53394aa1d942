//! One connection: frames in, streams and frames out (RFC 9113 §5, §6). No I/O, no clock: whoever has these calls it. It is
//! either side of a connection; the drawing has that of a server.
//!
//! ```text
//! bytes ── receive ──> frame ──> fields ── request::Writer ──> Stream ── read ──> a lane
//! bytes <── out <─────────────── frames <── write ───────────────────────────── a lane
//! ```

mod answer;
mod content;
mod control;
mod fields;
mod opening;
#[cfg(test)]
mod tests;
mod windows;

pub(super) use self::content::unpad;

use std::{collections::VecDeque, rc::Rc};

use slab::Slab;

use super::{
    budget::Budget,
    frame::{self, ACK, ErrorCode, Failure, HEADER, Header, Kind, LONGEST, PREFACE},
    hpack,
    pools::Pools,
    settings::{self, Settings},
    stream::{Remote, Sending, Stream, Tunnel},
};
use crate::{buffer::Buffer, http::head::MAX_HEAD};

/// Streams that a client may have open at a time.
pub(super) const STREAMS: usize = 100;

/// Streams that somebody has given up, and that are not wound up yet, and open ones.
const ALL_STREAMS: usize = 2 * STREAMS;

/// Bytes of content that one stream may send ahead of who reads it.
pub(super) const STREAM_WINDOW: i64 = 65_535;

/// And all streams of a connection: so much of a client's content is held at most.
pub(super) const WINDOW: i64 = 256 * 1024;

/// The same of a server: its streams have clients of their own, and a slow one is not to hold the others up.
pub(super) const WINDOW_OF_SERVER: i64 = STREAMS as i64 * STREAM_WINDOW;

/// Frames that wait to be sent, in bytes: as long as there are more, nothing is read of the client and of servers.
pub(super) const BACKLOG: usize = 20 * 1024;

/// Streams that were closed last, of which late frames are no fault: all that can be closed at a time.
const REMEMBERED: usize = ALL_STREAMS;

/// What a PING of ours carries.
const FAREWELL: &[u8; 8] = b"farewell";

/// What the price of each is in points of the [`Budget`].
const PRICE_OF_RESET: u32 = 4;
const PRICE_OF_SETTINGS: u32 = 4;
const PRICE_OF_STREAM_ERROR: u32 = 10;
const PRICE_OF_FRAME: u32 = 1;

/// Which side of a connection a machine is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Clients ask it.
    Server,
    /// It asks a server.
    Client,
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    role: Role,
    is_secure: bool,
    pools: Rc<Pools>,
    out: Option<Buffer>,
    decoder: hpack::Decoder,
    /// Streams that a client may have open at a time.
    most: usize,
    /// What has been said once can't be taken back (RFC 8441 §3).
    websocket: bool,
    streams: Slab<Stream>,
    /// By number, which only grows.
    ids: Vec<(u32, usize)>,
    /// The last that was opened.
    last: u32,
    /// The last that a client has opened beyond that, when our farewell was on its way: nothing is served there.
    beyond: u32,
    /// Bytes of the preface that were seen; servers have none.
    preface: usize,
    has_settings: bool,
    block: Option<fields::Block>,
    settings: Settings,
    owes_table_size: bool,
    send_window: i64,
    /// The largest that this was.
    widest: i64,
    receive_window: i64,
    /// Bytes that were read and that the client was not told of.
    credit: usize,
    budget: Budget,
    now: u64,
    /// Empty, for content of streams to come: at most as many as there were streams at a time.
    queues: Vec<VecDeque<Buffer>>,
    /// Streams that have no lane yet.
    opened: VecDeque<usize>,
    /// Streams that have something to send.
    waiting: VecDeque<usize>,
    /// How often some of them were woken.
    round: u64,
    /// With who has ended them before their time: we?
    closed: VecDeque<(u32, bool)>,
    leave: Leave,
    is_peer_leaving: bool,
    /// And has said that something is wrong.
    is_at_fault: bool,
    is_broken: bool,
    /// Frames that came.
    heard: u64,
    /// How many had come when the peer was asked if it is there.
    doubt: Option<u64>,
    /// Streams that were ended for what their client did, and that nobody has counted yet.
    stream_errors: u64,
}

/// How far our side's farewell is (RFC 9113 §6.8).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leave {
    No,
    /// The client was told to open no more streams, and may have opened some meanwhile.
    Announced,
    /// It knows.
    Heard,
    /// No stream beyond this is served.
    Final(u32),
}

impl Machine {
    /// Of a client's connection that begins in this tick and may have so many streams open at a time: 1 to 100. `websocket` says if it
    /// may open a WebSocket as one of them (RFC 8441).
    #[must_use]
    pub fn new(pools: &Rc<Pools>, streams: usize, websocket: bool, now: u64) -> Self {
        let mut machine = Self::of(Role::Server, pools, now);
        machine.most = streams.clamp(1, STREAMS);
        machine.websocket = websocket;
        machine.put_settings();
        machine.put(Kind::WindowUpdate, 0, 0, &fit(WINDOW - 65_535).to_be_bytes());
        machine
    }

    /// Of a connection to a server, which is secured by TLS or not; otherwise as [`Self::new`].
    #[must_use]
    pub fn to_server(pools: &Rc<Pools>, is_secure: bool, now: u64) -> Self {
        let mut machine = Self::of(Role::Client, pools, now);
        machine.is_secure = is_secure;
        machine.preface = PREFACE.len();
        machine.receive_window = WINDOW_OF_SERVER;
        machine.frames_out().push(PREFACE);
        machine.put(Kind::Settings, 0, 0, &settings::of_client(fit(STREAM_WINDOW), fit(MAX_HEAD as i64)));
        machine.put(Kind::WindowUpdate, 0, 0, &fit(WINDOW_OF_SERVER - 65_535).to_be_bytes());
        machine
    }

    fn of(role: Role, pools: &Rc<Pools>, now: u64) -> Self {
        Self {
            role,
            is_secure: false,
            pools: Rc::clone(pools),
            out: None,
            decoder: hpack::Decoder::default(),
            most: STREAMS,
            websocket: false,
            streams: Slab::new(),
            ids: Vec::new(),
            last: 0,
            beyond: 0,
            preface: 0,
            has_settings: false,
            block: None,
            settings: Settings::default(),
            owes_table_size: false,
            send_window: 65_535,
            widest: 65_535,
            receive_window: WINDOW,
            credit: 0,
            budget: Budget::new(now),
            now,
            queues: Vec::new(),
            opened: VecDeque::new(),
            waiting: VecDeque::new(),
            round: 0,
            closed: VecDeque::new(),
            leave: Leave::No,
            is_peer_leaving: false,
            is_at_fault: false,
            is_broken: false,
            heard: 0,
            doubt: None,
            stream_errors: 0,
        }
    }

    /// Takes the whole frames at the start of `inbox` off it.
    ///
    /// # Errors
    /// The connection is over; the client is to be told by [`Self::fail`].
    pub fn receive(&mut self, inbox: &mut Buffer, now: u64) -> Result<(), Failure> {
        self.now = now;
        let left = &PREFACE[self.preface..];
        if !left.is_empty() {
            let n = left.len().min(inbox.len());
            if inbox.filled()[..n] != left[..n] {
                return Err(Failure::new(ErrorCode::Protocol, "no preface of HTTP/2"));
            }
            self.preface += n;
            inbox.consume(n);
        }
        while let Some(header) = Header::read(inbox.filled()) {
            if !self.has_settings && inbox.filled().starts_with(b"HTTP/1.") {
                return Err(Failure::new(ErrorCode::Protocol, "HTTP/1 is spoken, not HTTP/2"));
            }
            if header.length > LONGEST {
                return Err(Failure::new(ErrorCode::FrameSize, "a frame is too long"));
            }
            if !self.has_settings && (header.kind != Kind::Settings || header.has(ACK)) {
                return Err(Failure::new(ErrorCode::Protocol, "the first frame is not SETTINGS"));
            }
            if inbox.len() < HEADER + header.length {
                return self.begin_data(header, inbox);
            }
            self.frame(header, &inbox.filled()[HEADER..][..header.length])?;
            inbox.consume(HEADER + header.length);
        }
        debug_assert!(self.streams.len() == self.ids.len());
        Ok(())
    }

    /// Streams that were ended for what their client did, since this was asked last.
    pub fn take_stream_errors(&mut self) -> u64 {
        std::mem::take(&mut self.stream_errors)
    }

    /// Is there a stream that nobody has yet?
    pub(super) fn has_opened(&self) -> bool {
        !self.opened.is_empty()
    }

    /// Does it wait for the rest of something that has begun?
    #[must_use]
    pub fn is_in_fields(&self) -> bool {
        self.block.is_some()
    }

    /// Has the client sent the preface and its settings?
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.has_settings
    }

    /// Has the client ever opened a stream?
    #[must_use]
    pub fn has_served(&self) -> bool {
        self.last > 0
    }

    /// Streams that are not wound up.
    #[must_use]
    pub fn open(&self) -> usize {
        self.streams.len()
    }

    /// Frames that wait to be sent.
    pub fn out(&mut self) -> &mut Option<Buffer> {
        &mut self.out
    }

    /// Some of them were sent.
    pub fn sent(&mut self) {
        self.out.take_if(|out| out.is_empty());
    }

    /// Bytes of them.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.out.as_ref().map_or(0, Buffer::len)
    }

    /// Tells the client to open no more streams; they are served until it has heard so.
    pub fn announce_end(&mut self) {
        if self.leave == Leave::No {
            self.leave = Leave::Announced;
            self.put(Kind::GoAway, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
            self.put(Kind::Ping, 0, 0, FAREWELL);
        }
    }

    /// Tells it that streams beyond those that are here are not served.
    pub fn end(&mut self, code: ErrorCode) {
        if !self.is_final() {
            self.leave = Leave::Final(self.last);
            self.put_go_away(code, "");
        }
    }

    /// Has [`Self::announce_end`] been heard?
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.leave == Leave::Heard
    }

    /// Was it told that it ends?
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leave != Leave::No
    }

    /// No stream will be opened any more.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.is_final() || self.is_peer_leaving
    }

    /// Is all said and done?
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_ending() && self.open() == 0
    }

    /// Does it know which stream is the last that is served?
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.leave, Leave::Final(_))
    }

    /// Is all that the client still sends to be thrown away?
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// The connection is over: tells the client why, and ends all streams.
    pub fn fail(&mut self, failure: Failure) {
        self.leave = Leave::Final(self.last);
        self.put_go_away(failure.code, failure.why);
        self.break_off();
    }

    /// The connection is no more.
    pub fn break_off(&mut self) {
        self.is_broken = true;
        for (_, stream) in &mut self.streams {
            // A whole answer stays one, whatever becomes of its server.
            if self.role == Role::Client && stream.remote == Remote::Ended {
                stream.is_deaf = true;
            } else {
                stream.remote = Remote::Reset;
                stream.forget();
            }
            stream.wake();
        }
    }

    fn put_go_away(&mut self, code: ErrorCode, why: &str) {
        // A server opens none.
        let last = if self.role == Role::Server { self.last } else { 0 };
        let payload = [&last.to_be_bytes(), &code.bytes(), why.as_bytes()].concat();
        self.put(Kind::GoAway, 0, 0, &payload);
    }

    fn put(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        frame::put(kind, flags, stream, payload, self.frames_out());
    }

    fn frames_out(&mut self) -> &mut Buffer {
        self.out.get_or_insert_with(|| self.pools.frames.take())
    }

    fn frame(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        self.heard += 1;
        if let Some(block) = &self.block
            && (header.kind != Kind::Continuation || header.stream != block.stream)
        {
            return Err(Failure::new(ErrorCode::Protocol, "a frame in the middle of a field section"));
        }
        match header.kind {
            Kind::Data => self.data(header, payload),
            Kind::Headers => self.headers(header, payload),
            Kind::Continuation => self.continuation(header, payload),
            Kind::Priority => self.priority(header, payload),
            Kind::ResetStream => self.reset_stream(header, payload),
            Kind::Settings => self.settings(header, payload),
            Kind::PushPromise => Err(Failure::new(ErrorCode::Protocol, "PUSH_PROMISE")),
            Kind::Ping => self.ping(header, payload),
            Kind::GoAway => self.go_away(header, payload),
            Kind::WindowUpdate => self.window_update(header, payload),
            Kind::Other(_) => self.spend(PRICE_OF_FRAME, "unknown frames"),
        }
    }

    fn spend(&mut self, points: u32, what: &'static str) -> Result<(), Failure> {
        // A server is one of ours: whatever it does costs it nothing, and what it sends is bounded by what is read of it.
        if self.role == Role::Server && self.budget.spend(points, self.now) {
            return Err(Failure::new(ErrorCode::EnhanceYourCalm, what));
        }
        Ok(())
    }

    fn find(&self, id: u32) -> Option<usize> {
        let place = self.ids.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.ids[place].1)
    }

    /// Ends a stream, whose client is told why.
    fn reset(&mut self, key: usize, code: ErrorCode) {
        let id = self.streams[key].id;
        self.put(Kind::ResetStream, 0, id, &code.bytes());
        self.streams[key].is_reset_by_us = true;
        self.give_up(key);
    }

    /// Nothing of a stream is sent or received any more.
    fn give_up(&mut self, key: usize) {
        let stream = &mut self.streams[key];
        stream.remote = Remote::Reset;
        let held = stream.forget();
        stream.wake();
        let is_alone = !stream.is_taken || stream.is_detached;
        self.give_credit(held);
        if is_alone {
            self.opened.retain(|opened| *opened != key);
            self.remove(key);
        }
    }

    fn remove(&mut self, key: usize) {
        // Looked at where it is: it is large, and each move of it a copy.
        let stream = &mut self.streams[key];
        let (id, is_reset_by_us, queue) = (stream.id, stream.is_reset_by_us, stream.take_content());
        self.streams.remove(key);
        if let Ok(place) = self.ids.binary_search_by_key(&id, |(id, _)| *id) {
            self.ids.remove(place);
        }
        self.remember(id, is_reset_by_us);
        if queue.capacity() > 0 {
            self.queues.push(queue);
        }
    }

    fn remember(&mut self, id: u32, is_reset_by_us: bool) {
        if self.closed.len() >= REMEMBERED {
            self.closed.pop_front();
        }
        self.closed.push_back((id, is_reset_by_us));
    }

    /// Has nobody opened this stream yet?
    fn is_idle(&self, id: u32) -> bool {
        id > self.last.max(self.beyond)
    }

    /// Did we end this stream, whose client may not have known when it sent what comes?
    fn was_reset_by_us(&self, id: u32) -> bool {
        self.closed.contains(&(id, true))
    }

    /// A fault that is about one stream alone; it may be closed already.
    fn stream_error(&mut self, id: u32, code: ErrorCode, why: &'static str) -> Result<(), Failure> {
        tracing::debug!(stream = id, %code, why, "stream of HTTP/2 refused");
        match self.find(id) {
            Some(key) if self.streams[key].remote == Remote::Reset => {}
            Some(key) => self.reset(key, code),
            None => self.put(Kind::ResetStream, 0, id, &code.bytes()),
        }
        self.stream_errors += 1;
        self.spend(PRICE_OF_STREAM_ERROR, "streams with errors")
    }
}

fn fit(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
