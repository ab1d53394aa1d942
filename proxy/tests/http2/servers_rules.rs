//! What a server may not do, row by row, against the codec alone.

use std::{io::IoSlice, rc::Rc};

use lb_proxy::{buffer::BufferPool, http2::machine::Machine};

use super::{
    conformance::outcome,
    frames::*,
    rules::{
        COMPRESSION_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR,
        Want::{self, Connection, Nothing, Stream},
    },
};

/// A head with `:status 200`.
fn ok(flags: u8) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, 1, b"\x88")
}

/// What comes of these bytes of a server that was asked once.
fn run(bytes: &[u8], size: usize) -> Want {
    let mut machine = Machine::to_server(&Rc::default(), false, 0);
    let key = machine.open_request().unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(machine.write(key, &[IoSlice::new(request)]).unwrap(), request.len());
    let begun = machine.out().take().unwrap();
    let frames = read_all(&begun.filled()[PREFACE.len()..]);
    assert!(begun.filled().starts_with(PREFACE));
    let asked = frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x82\x86\x84\x01\x01a");
    assert_eq!(frames.last().unwrap(), &Frame::read(&asked).unwrap().0);
    let mut inbox = BufferPool::take(&Rc::new(BufferPool::default()));
    for portion in bytes.chunks(size) {
        inbox.push(portion);
        if let Err(failure) = machine.receive(&mut inbox, 0) {
            machine.fail(failure);
            break;
        }
    }
    let sent = machine.out().take();
    outcome(&sent.map(|sent| read_all(sent.filled())).unwrap_or_default())
}

#[test]
fn server_that_breaks_a_rule_loses_its_stream_or_its_connection() {
    let begin = frame(SETTINGS, 0, 0, b"");
    let behind = |bytes: &[u8]| [&begin, bytes].concat();
    let rows = [
        ("3.4", "no SETTINGS first", ok(END_STREAM), Connection(PROTOCOL_ERROR)),
        ("3.4", "HTTP/1", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Connection(PROTOCOL_ERROR)),
        (
            "4.2",
            "a frame that is too long",
            behind(&frame(DATA, 0, 1, &[0; 16_385])),
            Connection(FRAME_SIZE_ERROR),
        ),
        (
            "4.3",
            "no field section",
            behind(&frame(HEADERS, END_HEADERS, 1, b"\x80")),
            Connection(COMPRESSION_ERROR),
        ),
        ("5.1", "a response", behind(&ok(END_STREAM)), Nothing),
        (
            "5.1",
            "HEADERS on a stream that was not opened",
            behind(&frame(HEADERS, END_HEADERS, 3, b"\x88")),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "5.1",
            "HEADERS on a stream of the server",
            behind(&frame(HEADERS, END_HEADERS, 2, b"\x88")),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "5.1",
            "DATA on a stream that was not opened",
            behind(&frame(DATA, 0, 3, b"x")),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "5.1",
            "DATA behind the end",
            behind(&[ok(END_STREAM), frame(DATA, 0, 1, b"x")].concat()),
            Stream(1, 5),
        ),
        (
            "6.2",
            "a frame in a field section",
            behind(&[frame(HEADERS, 0, 1, b"\x88"), frame(PING, 0, 0, &[0; 8])].concat()),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.5.2",
            "a server that wants to be pushed to",
            frame(SETTINGS, 0, 0, &setting(2, 1)),
            Connection(PROTOCOL_ERROR),
        ),
        ("6.5.2", "a server that does not", frame(SETTINGS, 0, 0, &setting(2, 0)), Nothing),
        (
            "6.5.2",
            "a window that is too large",
            frame(SETTINGS, 0, 0, &setting(4, 1 << 31)),
            Connection(FLOW_CONTROL_ERROR),
        ),
        (
            "6.6",
            "PUSH_PROMISE",
            behind(&frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02\x82")),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "6.9",
            "a window that grows too large",
            behind(&frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
            Connection(FLOW_CONTROL_ERROR),
        ),
        (
            "6.9",
            "more than our window",
            behind(&[ok(0), frame(DATA, 0, 1, &[0; 16_384]).repeat(4)].concat()),
            Stream(1, FLOW_CONTROL_ERROR),
        ),
        ("8.1", "DATA before the response", behind(&frame(DATA, 0, 1, b"x")), Stream(1, PROTOCOL_ERROR)),
        ("8.1", "trailers that end nothing", behind(&[ok(0), ok(0)].concat()), Stream(1, PROTOCOL_ERROR)),
        (
            "8.1",
            "trailers with :status",
            behind(&[ok(0), ok(END_STREAM)].concat()),
            Stream(1, PROTOCOL_ERROR),
        ),
        (
            "8.1",
            "an interim response at the end",
            behind(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &field(":status", "103"))),
            Stream(1, PROTOCOL_ERROR),
        ),
        (
            "8.1",
            "interim responses without end",
            behind(&frame(HEADERS, END_HEADERS, 1, &field(":status", "103")).repeat(17)),
            Stream(1, PROTOCOL_ERROR),
        ),
        (
            "8.1",
            "interim responses that nobody reads, and that are long",
            behind(
                &frame(
                    HEADERS,
                    END_HEADERS,
                    1,
                    &[field(":status", "103"), field("link", &"x".repeat(120)).repeat(100)].concat(),
                )
                .repeat(3),
            ),
            Stream(1, PROTOCOL_ERROR),
        ),
        (
            "8.3.2",
            ":status twice",
            behind(&frame(HEADERS, END_HEADERS, 1, b"\x88\x88")),
            Stream(1, PROTOCOL_ERROR),
        ),
        (
            "8.3.2",
            ":status behind a field",
            behind(&frame(HEADERS, END_HEADERS, 1, &[field("a", "b"), field(":status", "200")].concat())),
            Stream(1, PROTOCOL_ERROR),
        ),
        (
            "8.3.2",
            ":status with two digits",
            behind(&frame(HEADERS, END_HEADERS, 1, &field(":status", "20"))),
            Stream(1, PROTOCOL_ERROR),
        ),
        ("8.3.2", ":path", behind(&frame(HEADERS, END_HEADERS, 1, b"\x88\x84")), Stream(1, PROTOCOL_ERROR)),
        (
            "8.1.1",
            "two lengths",
            behind(&frame(
                HEADERS,
                END_HEADERS,
                1,
                &[b"\x88".to_vec(), field("content-length", "1"), field("content-length", "2")].concat(),
            )),
            Stream(1, PROTOCOL_ERROR),
        ),
        (
            "8.1.1",
            "a length without content",
            behind(&frame(
                HEADERS,
                END_STREAM | END_HEADERS,
                1,
                &[b"\x88".to_vec(), field("content-length", "1")].concat(),
            )),
            Stream(1, PROTOCOL_ERROR),
        ),
    ];
    let mut wrong = Vec::new();
    for (rule, what, bytes, want) in rows {
        for size in [1, 3, 100, 128 * 1024] {
            let found = run(&bytes, size);
            if found != want {
                wrong.push((rule, what, size, found, want));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
