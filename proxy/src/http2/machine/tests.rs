//! What who writes can count on, and what is remembered of streams that are over.

use std::{
    io::IoSlice,
    rc::Rc,
    sync::{Arc, Mutex},
    task::{Wake, Waker},
};

use super::{Failure, Machine, REMEMBERED, STREAMS};
use crate::{
    buffer::{Buffer, BufferPool},
    http2::{
        BUFFER_SIZE,
        frame::{self, ACK, END_HEADERS, END_STREAM, ErrorCode, Kind, PREFACE},
    },
    splitmix,
};

/// `:method GET, :scheme http, :path /, :authority a`.
const GET: &[u8] = b"\x82\x86\x84\x01\x01a";

/// The same without `:path`.
const MALFORMED: &[u8] = b"\x82\x86\x01\x01a";

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";

/// A machine, and a client with windows as large as can be.
struct Peer {
    machine: Machine,
    inbox: Buffer,
}

impl Peer {
    fn new() -> Self {
        let machine = Machine::new(&Rc::default(), STREAMS, true, 0);
        let mut peer = Self { machine, inbox: Rc::new(BufferPool::default()).take() };
        peer.inbox.push(PREFACE);
        peer.tell(Kind::Settings, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]).unwrap();
        peer.tell(Kind::WindowUpdate, 0, 0, &[0x70, 0, 0, 0]).unwrap();
        peer
    }

    fn tell(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Failure> {
        frame::put(kind, flags, stream, payload, &mut self.inbox);
        self.machine.receive(&mut self.inbox, 0)
    }

    /// A request, whose answer has begun.
    fn get(&mut self, stream: u32) -> usize {
        self.tell(Kind::Headers, END_STREAM | END_HEADERS, stream, GET).unwrap();
        let key = self.machine.take_opened().unwrap();
        self.machine.write(key, &[IoSlice::new(HEAD)]).unwrap();
        key
    }

    /// The client reads so many bytes.
    fn read(&mut self, bytes: usize) {
        if let Some(out) = self.machine.out() {
            out.consume(bytes.min(out.len()));
        }
        self.machine.sent();
    }
}

#[test]
fn who_may_write_can_and_nothing_grows_however_little_a_client_reads() {
    for seed in 0..64 {
        let (mut peer, mut state) = (Peer::new(), seed);
        let key = peer.get(1);
        let mut number = |below: u64| usize::try_from(splitmix::next(&mut state) % below).unwrap();
        for _ in 0..4000 {
            let content = vec![7; number(300) + 1];
            let may = peer.machine.is_writable(key);
            let written = peer.machine.write(key, &[IoSlice::new(&content)]).unwrap_or(0);
            assert_eq!(written > 0, may, "seed {seed}");
            if number(4) == 0 {
                peer.machine.put(Kind::Ping, ACK, 0, &[0; 8]);
            }
            peer.read(number(280));
            if let Some(out) = peer.machine.out() {
                assert_eq!(out.size(), BUFFER_SIZE, "seed {seed}");
            }
        }
    }
}

/// Notes that it was woken.
struct Writer(usize, Arc<Mutex<Vec<usize>>>);

impl Wake for Writer {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

#[test]
fn streams_take_turns_and_one_without_a_window_is_not_woken() {
    let mut peer = Peer::new();
    let keys: Vec<usize> = (0..20).map(|n| peer.get(2 * n + 1)).collect();
    let shut = keys[19];
    peer.machine.streams[shut].send_window = 0;
    let (mut written, mut woken_shut) = (vec![0; keys.len()], 0);
    let woken = Arc::new(Mutex::new(keys.clone()));
    for _ in 0..400 {
        for key in std::mem::take(&mut *woken.lock().unwrap()) {
            woken_shut += usize::from(key == shut);
            while let Ok(n) = peer.machine.write(key, &[IoSlice::new(&[7; 8000])]) {
                written[key] += n;
            }
            let waker = Waker::from(Arc::new(Writer(key, Arc::clone(&woken))));
            if peer.machine.streams[key].writer.replace(waker).is_none() {
                peer.machine.wait_to_write(key);
            }
        }
        peer.read(usize::MAX);
        while peer.machine.wake_writers() {}
    }
    let most = written.iter().max().unwrap();
    assert!(written.iter().enumerate().all(|(key, n)| key == shut || 2 * n > *most), "{written:?}");
    assert_eq!((written[shut], woken_shut), (0, 1));
}

#[test]
fn what_is_remembered_of_streams_is_bounded() {
    let mut peer = Peer::new();
    for stream in (1..=1001).step_by(2) {
        let key = peer.get(stream);
        peer.machine.release(key, true);
        if stream % 9 == 0 {
            // What it costs is another matter.
            peer.machine.remember(stream, true);
        }
        peer.read(usize::MAX);
    }
    assert_eq!(peer.machine.closed.len(), REMEMBERED);
    for n in 0..50 {
        peer.tell(Kind::Headers, END_STREAM | END_HEADERS, 1003 + 2 * n, MALFORMED).unwrap();
    }
    assert_eq!(peer.machine.closed.len(), REMEMBERED);
}

/// RFC 9113 §6.8: a client may have sent them before it knew.
#[test]
fn late_frames_of_streams_beyond_our_farewell_cost_no_stream_its_connection() {
    let mut peer = Peer::new();
    let key = peer.get(1);
    peer.machine.end(ErrorCode::NoError);
    peer.tell(Kind::Headers, END_HEADERS, 3, GET).unwrap();
    for _ in 0..100 {
        peer.tell(Kind::Data, 0, 3, &[7; 4000]).unwrap();
    }
    peer.tell(Kind::WindowUpdate, 0, 3, &[0, 0, 0, 1]).unwrap();
    peer.tell(Kind::ResetStream, 0, 3, &[0; 4]).unwrap();
    assert!(peer.machine.is_writable(key));
    assert!(peer.tell(Kind::Data, 0, 5, b"x").is_err(), "nobody has opened it");
}

#[test]
fn late_frames_of_streams_that_were_too_many_cost_the_others_nothing() {
    let mut peer = Peer::new();
    let last = 2 * u32::try_from(STREAMS).unwrap() + 1;
    for stream in (1..last).step_by(2) {
        peer.get(stream);
        peer.read(usize::MAX);
    }
    peer.tell(Kind::Headers, END_HEADERS, last, GET).unwrap();
    assert!(peer.machine.take_opened().is_none());
    for _ in 0..200 {
        peer.tell(Kind::Data, 0, last, b"x").unwrap();
    }
    peer.tell(Kind::Headers, END_STREAM | END_HEADERS, last, b"\x00\x01x\x01y").unwrap();
    assert_eq!(peer.machine.open(), STREAMS);
}
