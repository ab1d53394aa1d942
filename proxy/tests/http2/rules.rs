//! What RFC 9113 says that a server has to do with what it must not be sent: each row a script, and what comes of it.

mod messages;

use super::frames::*;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// What a client does.
pub(crate) enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Waits for the whole answer on this stream.
    Answered(u32),
}

use Step::{Answered, Send};

/// What comes of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Want {
    /// GOAWAY with this code, and the end of the connection.
    Connection(u32),
    /// RST_STREAM, and the connection goes on.
    Stream(u32, u32),
    /// Nothing: the connection goes on.
    Nothing,
    /// An answer with this status, which is made here.
    Status(u16),
}

use Want::{Connection, Nothing, Stream};

pub(crate) struct Row {
    pub(crate) rule: &'static str,
    pub(crate) what: &'static str,
    pub(crate) steps: Vec<Step>,
    pub(crate) want: Want,
    /// It begins with its own first bytes, and not with the preface and SETTINGS.
    pub(crate) is_raw: bool,
}

fn row(rule: &'static str, what: &'static str, send: Vec<u8>, want: Want) -> Row {
    Row { rule, what, steps: vec![Send(send)], want, is_raw: false }
}

fn steps(rule: &'static str, what: &'static str, steps: Vec<Step>, want: Want) -> Row {
    Row { rule, what, steps, want, is_raw: false }
}

fn raw(rule: &'static str, what: &'static str, send: Vec<u8>, want: Want) -> Row {
    Row { is_raw: true, ..row(rule, what, send, want) }
}

fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, block)
}

/// A request of these fields, each a literal.
fn request(fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    headers(1, END_STREAM, &block)
}

/// One that is fine but for what is added.
fn with(added: &[(&str, &str)]) -> Vec<u8> {
    let fine = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    request(&[&fine[..], added].concat())
}

fn answered(stream: u32) -> Step {
    Send(headers(stream, END_STREAM, GET_ANSWERED))
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = connection();
    rows.extend(streams());
    rows.extend(frames());
    rows.extend(windows());
    rows.extend(messages::messages());
    rows
}

/// §3, §4.
fn connection() -> Vec<Row> {
    vec![
        raw("3.4", "no preface", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2), Connection(PROTOCOL_ERROR)),
        raw(
            "3.4",
            "a preface that is cut short by frames",
            [&PREFACE[..20], &frame(SETTINGS, 0, 0, b"")].concat(),
            Connection(PROTOCOL_ERROR),
        ),
        raw("3.4", "no SETTINGS behind the preface", [PREFACE, &get(1)].concat(), Connection(PROTOCOL_ERROR)),
        raw(
            "3.4",
            "an answer to SETTINGS instead",
            [PREFACE, &frame(SETTINGS, ACK, 0, b"")].concat(),
            Connection(PROTOCOL_ERROR),
        ),
        row("4.1", "a frame of an unknown kind", frame(0xfe, 0xff, 5, b"whatever"), Nothing),
        row("4.1", "flags that mean nothing", frame(PING, 0xfe, 0, b"12345678"), Nothing),
        row("4.1", "the reserved bit", frame(PING, 0, 1 << 31, b"12345678"), Nothing),
        row("4.2", "a frame that is too long", frame(DATA, 0, 1, &[0; 16_385]), Connection(FRAME_SIZE_ERROR)),
        row(
            "4.2",
            "a long one of an unknown kind",
            frame(0xfe, 0, 0, &[0; 16_385]),
            Connection(FRAME_SIZE_ERROR),
        ),
        row(
            "4.3",
            "fields that can't be decoded",
            headers(1, END_STREAM, b"\x82\x86\x84\xbf"),
            Connection(COMPRESSION_ERROR),
        ),
        row(
            "4.3",
            "trailers that can't be decoded",
            [post(1), headers(1, END_STREAM, b"\x40")].concat(),
            Connection(COMPRESSION_ERROR),
        ),
        row(
            "7541 4.2",
            "a table that is larger than it may be",
            headers(1, END_STREAM, &[b"\x3f\xe2\x1f", GET].concat()),
            Connection(COMPRESSION_ERROR),
        ),
        row(
            "4.3",
            "fields of a malformed request count for the table",
            [
                headers(1, END_STREAM, b"\x82\x86\x84\x40\x01X\x01y\x01\x01a"),
                headers(3, END_STREAM, b"\x82\x86\x84\x01\x01a\xbe"),
            ]
            .concat(),
            Stream(1, PROTOCOL_ERROR),
        ),
    ]
}

/// §5.
fn streams() -> Vec<Row> {
    let rst = |stream| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    vec![
        row("5.1", "DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x"), Connection(PROTOCOL_ERROR)),
        row("5.1", "RST_STREAM on an idle stream", rst(1), Connection(PROTOCOL_ERROR)),
        row(
            "5.1",
            "WINDOW_UPDATE on an idle stream",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            Connection(PROTOCOL_ERROR),
        ),
        row(
            "5.1",
            "CONTINUATION on an idle stream",
            frame(CONTINUATION, END_HEADERS, 1, GET),
            Connection(PROTOCOL_ERROR),
        ),
        row("5.1", "PRIORITY on an idle stream", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]), Nothing),
        row(
            "5.1",
            "DATA behind the end",
            [get(1), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Stream(1, STREAM_CLOSED),
        ),
        row(
            "5.1",
            "HEADERS behind the end",
            [get(1), headers(1, END_STREAM, GET)].concat(),
            Stream(1, STREAM_CLOSED),
        ),
        row(
            "5.1",
            "WINDOW_UPDATE behind the end",
            [get(1), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])].concat(),
            Nothing,
        ),
        row(
            "5.1",
            "PRIORITY behind the end",
            [get(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7])].concat(),
            Nothing,
        ),
        row(
            "5.1",
            "DATA behind RST_STREAM",
            [post(1), rst(1), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Stream(1, STREAM_CLOSED),
        ),
        steps(
            "5.1",
            "HEADERS on a closed stream",
            vec![answered(1), Answered(1), Send(get(1))],
            Connection(STREAM_CLOSED),
        ),
        steps(
            "5.1",
            "DATA on a closed stream",
            vec![answered(1), Answered(1), Send(frame(DATA, 0, 1, b"x"))],
            Stream(1, STREAM_CLOSED),
        ),
        steps(
            "5.1",
            "WINDOW_UPDATE, RST_STREAM and PRIORITY on a closed stream",
            vec![
                answered(1),
                Answered(1),
                Send(
                    [
                        frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
                        rst(1),
                        frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]),
                    ]
                    .concat(),
                ),
            ],
            Nothing,
        ),
        row(
            "5.1",
            "DATA that was on its way when we ended the stream",
            [headers(1, 0, b"\x83\x86\x84\x00\x01X\x01y"), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Stream(1, PROTOCOL_ERROR),
        ),
        row("5.1.1", "a stream of an even number", get(2), Connection(PROTOCOL_ERROR)),
        row("5.1.1", "a stream of a smaller number", [get(5), get(3)].concat(), Connection(PROTOCOL_ERROR)),
        row(
            "5.1.2",
            "more streams than are allowed",
            (0..=100).flat_map(|n| get(2 * n + 1)).collect(),
            Stream(201, REFUSED_STREAM),
        ),
        row(
            "5.3.1",
            "a stream that depends on itself",
            [get(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 7])].concat(),
            Stream(1, PROTOCOL_ERROR),
        ),
        row(
            "5.3.1",
            "HEADERS that depend on themselves",
            frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, &[&[0, 0, 0, 1, 7], GET].concat()),
            Connection(PROTOCOL_ERROR),
        ),
        row("5.5", "unknown settings", frame(SETTINGS, 0, 0, &setting(0xfff, 1)), Nothing),
        row(
            "5.5",
            "an unknown frame in the middle of fields",
            [frame(HEADERS, END_STREAM, 1, GET), frame(0xfe, 0, 1, b"")].concat(),
            Connection(PROTOCOL_ERROR),
        ),
    ]
}

/// §6.1-6.10 but for windows.
fn frames() -> Vec<Row> {
    let first = |stream| frame(HEADERS, END_STREAM, stream, &GET[..3]);
    let second = |stream| frame(CONTINUATION, END_HEADERS, stream, &GET[3..]);
    vec![
        row("6.1", "DATA on stream 0", frame(DATA, 0, 0, b"x"), Connection(PROTOCOL_ERROR)),
        row(
            "6.1",
            "padding that is as long as its frame",
            [post(1), frame(DATA, PADDED | END_STREAM, 1, b"\x05abcd")].concat(),
            Connection(PROTOCOL_ERROR),
        ),
        row(
            "6.1",
            "padding without a length",
            [post(1), frame(DATA, PADDED | END_STREAM, 1, b"")].concat(),
            Connection(FRAME_SIZE_ERROR),
        ),
        row(
            "6.1",
            "nothing but padding",
            [post(1), frame(DATA, PADDED | END_STREAM, 1, b"\x04abcd")].concat(),
            Nothing,
        ),
        row("6.2", "HEADERS on stream 0", get(0), Connection(PROTOCOL_ERROR)),
        row(
            "6.2",
            "padding that is longer than its frame",
            frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[&[20][..], GET].concat()),
            Connection(PROTOCOL_ERROR),
        ),
        row(
            "6.2",
            "padding and a priority",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM | PADDED | WITH_PRIORITY,
                1,
                &[&[2, 0, 0, 0, 0, 9][..], GET, &[0, 0]].concat(),
            ),
            Nothing,
        ),
        row(
            "6.2",
            "a priority that is cut off",
            frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, &[0, 0, 0]),
            Connection(FRAME_SIZE_ERROR),
        ),
        row(
            "6.2",
            "another frame in the middle of fields",
            [first(1), frame(PING, 0, 0, b"12345678")].concat(),
            Connection(PROTOCOL_ERROR),
        ),
        row(
            "6.2",
            "another stream in the middle of fields",
            [first(1), get(3)].concat(),
            Connection(PROTOCOL_ERROR),
        ),
        row(
            "6.3",
            "PRIORITY on stream 0",
            frame(PRIORITY, 0, 0, &[0, 0, 0, 3, 7]),
            Connection(PROTOCOL_ERROR),
        ),
        row(
            "6.3",
            "PRIORITY of four bytes",
            [get(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 3])].concat(),
            Stream(1, FRAME_SIZE_ERROR),
        ),
        row("6.4", "RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0; 4]), Connection(PROTOCOL_ERROR)),
        row(
            "6.4",
            "RST_STREAM of three bytes",
            [get(1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            Connection(FRAME_SIZE_ERROR),
        ),
        row(
            "6.5",
            "an answer to SETTINGS with content",
            frame(SETTINGS, ACK, 0, &setting(4, 1)),
            Connection(FRAME_SIZE_ERROR),
        ),
        row("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1, b""), Connection(PROTOCOL_ERROR)),
        row("6.5", "SETTINGS of seven bytes", frame(SETTINGS, 0, 0, &[0; 7]), Connection(FRAME_SIZE_ERROR)),
        row("6.5.2", "ENABLE_PUSH of 2", frame(SETTINGS, 0, 0, &setting(2, 2)), Connection(PROTOCOL_ERROR)),
        row(
            "6.5.2",
            "INITIAL_WINDOW_SIZE that is too large",
            frame(SETTINGS, 0, 0, &setting(4, 1 << 31)),
            Connection(FLOW_CONTROL_ERROR),
        ),
        row(
            "6.5.2",
            "MAX_FRAME_SIZE that is too small",
            frame(SETTINGS, 0, 0, &setting(5, 16_383)),
            Connection(PROTOCOL_ERROR),
        ),
        row(
            "6.5.2",
            "MAX_FRAME_SIZE that is too large",
            frame(SETTINGS, 0, 0, &setting(5, 1 << 24)),
            Connection(PROTOCOL_ERROR),
        ),
        row(
            "6.5.2",
            "the largest of all",
            frame(
                SETTINGS,
                0,
                0,
                &[
                    setting(1, u32::MAX),
                    setting(2, 1),
                    setting(3, 0),
                    setting(4, (1 << 31) - 1),
                    setting(5, (1 << 24) - 1),
                    setting(6, 0),
                ]
                .concat(),
            ),
            Nothing,
        ),
        row(
            "6.6",
            "PUSH_PROMISE",
            [post(1), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], GET].concat())].concat(),
            Connection(PROTOCOL_ERROR),
        ),
        row("6.7", "PING on a stream", frame(PING, 0, 1, b"12345678"), Connection(PROTOCOL_ERROR)),
        row("6.7", "PING of seven bytes", frame(PING, 0, 0, b"1234567"), Connection(FRAME_SIZE_ERROR)),
        row("6.7", "an answer to no PING", frame(PING, ACK, 0, b"12345678"), Nothing),
        row("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Connection(PROTOCOL_ERROR)),
        row("6.8", "GOAWAY of seven bytes", frame(GOAWAY, 0, 0, &[0; 7]), Connection(FRAME_SIZE_ERROR)),
        row(
            "6.8",
            "GOAWAY with a request in flight",
            [get(1), frame(GOAWAY, 0, 0, &[0; 8])].concat(),
            Nothing,
        ),
        row(
            "6.10",
            "CONTINUATION of nothing",
            [get(1), frame(CONTINUATION, END_HEADERS, 1, GET)].concat(),
            Connection(PROTOCOL_ERROR),
        ),
        row("6.10", "CONTINUATION on stream 0", [first(1), second(0)].concat(), Connection(PROTOCOL_ERROR)),
        row(
            "6.10",
            "CONTINUATION of another stream",
            [first(1), second(3)].concat(),
            Connection(PROTOCOL_ERROR),
        ),
        row(
            "6.10",
            "CONTINUATION behind END_HEADERS",
            [first(1), second(1), second(1)].concat(),
            Connection(PROTOCOL_ERROR),
        ),
        row("6.10", "fields in two frames", [first(1), second(1)].concat(), Nothing),
        row(
            "10.5.1",
            "CONTINUATION without end",
            [vec![first(1)], vec![frame(CONTINUATION, 0, 1, b""); 64]].concat().concat(),
            Connection(ENHANCE_YOUR_CALM),
        ),
        row(
            "10.5.1",
            "fields that are far too long",
            [vec![first(1)], vec![frame(CONTINUATION, 0, 1, &[0x82; 16_384]); 4]].concat().concat(),
            Connection(ENHANCE_YOUR_CALM),
        ),
        row(
            "10.5.1",
            "a section that is small only as it is coded",
            frame(
                HEADERS,
                END_STREAM | END_HEADERS,
                1,
                &[GET, b"\x40\x01x\x7f\x80\x1e", &[b'v'; 3967], &[0xbe; 100]].concat(),
            ),
            Connection(ENHANCE_YOUR_CALM),
        ),
    ]
}

/// §6.9.
fn windows() -> Vec<Row> {
    let update = |stream, increment: u32| frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
    let content = |stream, frames: usize| {
        let data = frame(DATA, 0, stream, &[b'x'; 16_384]);
        [post(stream), data.repeat(frames)].concat()
    };
    vec![
        row("6.9", "WINDOW_UPDATE of nothing", update(0, 0), Connection(PROTOCOL_ERROR)),
        row(
            "6.9",
            "WINDOW_UPDATE of nothing on a stream",
            [get(1), update(1, 0)].concat(),
            Stream(1, PROTOCOL_ERROR),
        ),
        row(
            "6.9",
            "WINDOW_UPDATE of three bytes",
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            Connection(FRAME_SIZE_ERROR),
        ),
        row("6.9.1", "a window that is too large", update(0, (1 << 31) - 1), Connection(FLOW_CONTROL_ERROR)),
        row(
            "6.9.1",
            "a window of a stream that is too large",
            [get(1), update(1, (1 << 31) - 1)].concat(),
            Stream(1, FLOW_CONTROL_ERROR),
        ),
        row(
            "6.9.2",
            "a window that settings make too large",
            [get(1), update(1, (1 << 31) - 65_536), frame(SETTINGS, 0, 0, &setting(4, 65_536))].concat(),
            Connection(FLOW_CONTROL_ERROR),
        ),
        row(
            "6.9.2",
            "a window that settings make less than nothing",
            [get(1), frame(SETTINGS, 0, 0, &setting(4, 0))].concat(),
            Nothing,
        ),
        row(
            "6.9.1",
            "more content than the window of a stream",
            content(1, 10),
            Stream(1, FLOW_CONTROL_ERROR),
        ),
    ]
}
