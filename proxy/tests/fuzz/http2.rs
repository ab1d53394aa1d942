//! A connection of HTTP/2: the same however its bytes come, whole frames in return, and requests that are one head and content in
//! one framing, whatever the frames said.

use std::{io::IoSlice, rc::Rc};

use lb_proxy::{
    buffer::{Buffer, BufferPool},
    http2::machine::Machine,
};

use crate::{
    frames::{DATA, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, read_all},
    oracle::{self, Framed},
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Y: z\r\n\r\nhello";

/// What came of the bytes.
#[derive(Debug, Eq, PartialEq)]
struct Outcome {
    sent: Vec<u8>,
    failure: Option<String>,
    /// What whoever serves a stream reads of it.
    requests: Vec<Vec<u8>>,
}

fn take_sent(machine: &mut Machine, sent: &mut Vec<u8>) {
    while let Some(out) = machine.out().take() {
        sent.extend_from_slice(out.filled());
        machine.sent();
    }
}

fn run(bytes: &[u8], size: usize) -> Outcome {
    let mut machine = Machine::new(&Rc::default(), 100, true, 0);
    let mut inbox: Buffer = BufferPool::take(&Rc::new(BufferPool::default()));
    let (mut sent, mut open, mut failure) = (Vec::new(), Vec::new(), None);
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    for portion in [&*begin].into_iter().chain(bytes.chunks(size)) {
        inbox.push(portion);
        if let Err(found) = machine.receive(&mut inbox, 0) {
            machine.fail(found);
            failure = Some(found.to_string());
        }
        take_sent(&mut machine, &mut sent);
        open.extend(std::iter::from_fn(|| machine.take_opened()));
        if failure.is_some() {
            break;
        }
    }
    let mut requests = Vec::new();
    for stream in open.iter().copied() {
        let (mut request, mut room) = (Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = machine.read(stream, &mut room) {
            request.extend_from_slice(&room[..n]);
        }
        // A stream that was given up has nothing to read.
        requests.extend(Some(request).filter(|request| !request.is_empty()));
        take_sent(&mut machine, &mut sent);
        let _ = machine.write(stream, &[IoSlice::new(ANSWER)]);
        machine.release(stream, false);
        take_sent(&mut machine, &mut sent);
    }
    Outcome { sent, failure, requests }
}

/// A head and nothing that could be taken for another one.
fn check_request(request: &[u8]) {
    let (lines, length) = oracle::head(request).unwrap().expect("a whole head");
    let (_, framed) = oracle::fields(&lines[1..]).unwrap();
    let content = &request[length..];
    match framed {
        Framed::Nothing => assert_eq!(content, b""),
        Framed::Length(all) => assert!(content.len() <= all),
        // The last chunk may be cut off, where a window is full or the client has not said all.
        Framed::Chunked => {
            let end = oracle::chunks(content).unwrap();
            assert!(end.is_none_or(|(_, used)| used == content.len()), "bytes behind the last chunk");
        }
    }
}

pub(crate) fn http2(bytes: &[u8]) {
    let whole = run(bytes, bytes.len().max(1));
    for size in [1, 2, 3, 7, 100] {
        assert_eq!(run(bytes, size), whole, "in portions of {size}");
    }
    whole.requests.iter().for_each(|request| check_request(request));
    let mut ended = Vec::new();
    for frame in read_all(&whole.sent) {
        assert!(frame.payload.len() <= 16_384);
        if frame.kind == HEADERS || frame.kind == DATA {
            assert!(!ended.contains(&frame.stream), "behind the end of stream {}", frame.stream);
        }
        let is_end = matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0;
        if is_end || frame.kind == RST_STREAM {
            ended.push(frame.stream);
        }
    }
}

#[test]
fn connections_of_http2_are_the_same_however_they_come() {
    crate::mutate::search("http2", http2);
}
