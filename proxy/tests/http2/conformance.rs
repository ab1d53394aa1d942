//! The rules of RFC 9113 row by row: against the codec alone, however its bytes are split, and against a running proxy with and
//! without TLS.

use std::{io::IoSlice, rc::Rc};

use lb_proxy::{
    buffer::{Buffer, BufferPool},
    http2::machine::Machine,
};

use super::{
    client::{self, Client},
    frames::*,
    peer, rig,
    rules::{Row, Step, Want, rows},
};

/// What came of a row: the code of GOAWAY or RST_STREAM.
pub(crate) fn outcome(frames: &[Frame]) -> Want {
    let gone = frames.iter().find(|frame| frame.kind == GOAWAY);
    let reset = frames.iter().find(|frame| frame.kind == RST_STREAM);
    match (gone, reset) {
        (Some(gone), _) => Want::Connection(gone.code()),
        (None, Some(reset)) => Want::Stream(reset.stream, reset.code()),
        (None, None) => Want::Nothing,
    }
}

/// The codec, and whoever would serve its streams.
struct Alone {
    machine: Machine,
    inbox: Buffer,
    open: Vec<usize>,
    sent: Vec<u8>,
    has_failed: bool,
}

impl Alone {
    fn new() -> Self {
        let machine = Machine::new(&Rc::default(), 100, true, 0);
        let inbox = BufferPool::take(&Rc::new(BufferPool::default()));
        Self { machine, inbox, open: Vec::new(), sent: Vec::new(), has_failed: false }
    }

    fn receive(&mut self, bytes: &[u8], size: usize) {
        for portion in bytes.chunks(size) {
            if self.has_failed {
                return;
            }
            self.inbox.push(portion);
            if let Err(failure) = self.machine.receive(&mut self.inbox, 0) {
                self.machine.fail(failure);
                self.has_failed = true;
            }
            while let Some(stream) = self.machine.take_opened() {
                self.open.push(stream);
            }
            if let Some(out) = self.machine.out().take() {
                self.sent.extend_from_slice(out.filled());
            }
        }
    }

    /// Answers the streams that are to be answered.
    fn answer(&mut self) {
        for stream in std::mem::take(&mut self.open) {
            let mut head = [0; 1024];
            let n = self.machine.read(stream, &mut head).unwrap();
            if String::from_utf8_lossy(&head[..n]).contains(" /index.html ") {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                assert_eq!(self.machine.write(stream, &[IoSlice::new(answer)]).unwrap(), answer.len());
                self.machine.release(stream, false);
            } else {
                self.open.push(stream);
            }
        }
    }
}

fn run_alone(row: &Row, size: usize) -> Want {
    let mut alone = Alone::new();
    if !row.is_raw {
        alone.receive(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat(), size);
    }
    for step in &row.steps {
        match step {
            Step::Send(bytes) => alone.receive(bytes, size),
            Step::Answered(_) => alone.answer(),
        }
    }
    outcome(&read_all(&alone.sent))
}

#[test]
fn every_rule_holds_for_the_codec_however_bytes_are_split() {
    let mut wrong = Vec::new();
    for row in rows() {
        let want = match row.want {
            // By whoever serves it.
            Want::Status(_) => Want::Nothing,
            want => want,
        };
        for size in [1, 2, 3, 7, 100, 16 * 1024] {
            let found = run_alone(&row, size);
            if found != want {
                wrong.push((row.rule, row.what, size, found, want));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn run(row: &Row, mut client: Client) -> Want {
    if !row.is_raw {
        client.begin();
    }
    for step in &row.steps {
        match step {
            Step::Send(bytes) => client.send(bytes),
            Step::Answered(stream) => assert_eq!(client.answer(*stream).status(), "200"),
        }
    }
    if let Want::Status(_) = row.want {
        return Want::Status(client.answer(1).status().parse().unwrap());
    }
    let (frames, is_there) = client.so_far();
    let outcome = outcome(&frames);
    assert_eq!(is_there, !matches!(outcome, Want::Connection(_)), "{} {}: {frames:?}", row.rule, row.what);
    outcome
}

fn begins_well(row: &Row) -> bool {
    matches!(&row.steps[..], [Step::Send(bytes)] if bytes.starts_with(PREFACE))
}

fn check(rows: impl IntoIterator<Item = Row>, connect: impl Fn() -> Client) {
    let mut wrong = Vec::new();
    for row in rows {
        let found = run(&row, connect());
        if found != row.want {
            wrong.push((row.rule, row.what, found, row.want));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn every_rule_holds_for_a_proxy() {
    let (server, _told) = client::telling().await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        // Without TLS, whoever begins otherwise speaks HTTP/1.1.
        let rows = rows().into_iter().filter(|row| !row.is_raw || begins_well(row));
        check(rows, || Client::silent(address));
    })
    .await;
}

#[tokio::test]
async fn every_rule_holds_over_tls() {
    let (server, _told) = client::telling().await;
    let proxy = client::start(client::config_over_tls(&[server.address]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        check(rows(), || Client::silent_over_tls(address));
    })
    .await;
}
