//! HAProxy's `option httplog` and `option tcplog`, byte for byte.
//!
//! ```text
//! 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1"
//! 10.0.1.2:33313 [06/Feb/2009:12:12:51.443] fnt bck/srv1 0/0/5007 212 -- 0/0/0/0/3 0/0
//! ```

use std::time::SystemTime;

use super::{Line, Times};
use crate::{
    Endpoint,
    config::Capture,
    http::headers::{put_address, put_number},
    log::{
        capture::{Slot, put_braces},
        clock::Clock,
        escape,
    },
};

pub(in crate::log) fn http(line: &Line<'_>, capture: &Capture, clock: &Clock, out: &mut Vec<u8>) {
    let record = line.record;
    begin(line, clock, out);
    let Times { request, queue, connect, response, .. } = record.times();
    for time in [request, queue, connect, response] {
        put_time(time, out);
        out.push(b'/');
    }
    put_total(line, out);
    out.push(b' ');
    put_time(record.status.map(u64::from), out);
    out.push(b' ');
    put_sent(line, out);
    out.push(b' ');
    for slot in [Slot::RequestCookie, Slot::ResponseCookie] {
        match record.cookie(slot) {
            Some(cookie) => escape::word(cookie, out),
            None => out.push(b'-'),
        }
        out.push(b' ');
    }
    put_letters(&line.code(), out);
    put_letters(&record.cookie, out);
    put_load(line, b'/', out);
    for (count, slot) in captured(line, capture) {
        out.push(b' ');
        put_braces(record, count, slot, out);
    }
    out.extend_from_slice(b" \"");
    escape::quoted(record.line().unwrap_or(b"<BADREQ>"), out);
    out.push(b'"');
}

/// How many headers of the request and of the response were captured, if any are wanted and there was a request.
fn captured(line: &Line<'_>, capture: &Capture) -> impl Iterator<Item = (usize, fn(usize) -> Slot)> {
    let request: (usize, fn(usize) -> Slot) = (capture.request_headers.len(), Slot::RequestHeader);
    let response: (usize, fn(usize) -> Slot) = (capture.response_headers.len(), Slot::ResponseHeader);
    let has_request = line.record.line().is_some();
    [request, response].into_iter().filter(move |(count, _)| has_request && *count > 0)
}

/// `option httplog clf`: the Common Log Format, with HAProxy's fields behind it.
pub(in crate::log) fn clf(line: &Line<'_>, capture: &Capture, clock: &Clock, out: &mut Vec<u8>) {
    let record = line.record;
    put_host(record.client, out);
    out.extend_from_slice(b" - - [");
    clock.put_clf(record.date, out);
    out.extend_from_slice(b"] ");
    put_quoted(record.line().unwrap_or(b"<BADREQ>"), out);
    out.push(b' ');
    put_time(record.status.map(u64::from), out);
    out.push(b' ');
    put_sent(line, out);
    out.extend_from_slice(b" \"\" \"\" ");
    put_number(record.client.port().unwrap_or(1).into(), out);
    out.push(b' ');
    clock.put_millisecond(record.date, out);
    out.extend_from_slice(b" \"");
    escape::quoted(line.frontend.name.as_bytes(), out);
    out.extend_from_slice(if line.is_tls { b"~\"" } else { b"\"" });
    for name in [line.backend_name(), line.server_name().unwrap_or("<NOSRV>")] {
        out.push(b' ');
        put_quoted(name.as_bytes(), out);
    }
    let Times { request, queue, connect, response } = record.times();
    for time in [request, queue, connect, response] {
        out.push(b' ');
        put_time(time, out);
    }
    out.push(b' ');
    put_total(line, out);
    out.push(b' ');
    put_letters(&line.code(), out);
    put_letters(&record.cookie, out);
    put_load(line, b' ', out);
    for slot in [Slot::RequestCookie, Slot::ResponseCookie] {
        out.push(b' ');
        put_quoted(record.cookie(slot).unwrap_or_default(), out);
    }
    // Also before what is not there: HAProxy's lines end with this blank.
    out.push(b' ');
    for (count, slot) in captured(line, capture) {
        for index in 0..count {
            out.push(b'"');
            escape::header(record.kept(slot(index)).unwrap_or_default(), out);
            out.push(b'"');
            if index + 1 < count || matches!(slot(index), Slot::RequestHeader(_)) {
                out.push(b' ');
            }
        }
    }
}

fn put_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape::quoted(text, out);
    out.push(b'"');
}

fn put_host(client: Endpoint, out: &mut Vec<u8>) {
    match client.ip() {
        Some(address) => put_address(address, out),
        None => out.extend_from_slice(b"unix"),
    }
}

pub(in crate::log) fn tcp(line: &Line<'_>, clock: &Clock, out: &mut Vec<u8>) {
    begin(line, clock, out);
    let Times { queue, connect, .. } = line.record.times();
    for time in [queue, connect] {
        put_time(time, out);
        out.push(b'/');
    }
    put_total(line, out);
    out.push(b' ');
    put_sent(line, out);
    out.push(b' ');
    put_letters(&line.code(), out);
    put_load(line, b'/', out);
}

/// `10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 `
fn begin(line: &Line<'_>, clock: &Clock, out: &mut Vec<u8>) {
    put_client(line.record.client, line.record.date, clock, out);
    let server = line.server_name().unwrap_or("<NOSRV>");
    let secure = if line.is_tls { "~ " } else { " " };
    for part in [&*line.frontend.name, secure, line.backend_name(), "/", server, " "] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// `10.0.1.2:33317 [06/Feb/2009:12:14:14.655] `
fn put_client(client: Endpoint, date: SystemTime, clock: &Clock, out: &mut Vec<u8>) {
    put_host(client, out);
    out.push(b':');
    // Of a Unix socket it is the number of the listener there.
    put_number(client.port().unwrap_or(1).into(), out);
    out.extend_from_slice(b" [");
    clock.put_milliseconds(date, out);
    out.extend_from_slice(b"] ");
}

/// `10.0.1.2:33317 [06/Feb/2009:12:14:14.655] https-in/1: SSL handshake failure (why)`
pub(in crate::log) fn refused(
    client: Endpoint,
    (frontend, listener): (&str, usize),
    (words, why): (&str, Option<&str>),
    clock: &Clock,
    out: &mut Vec<u8>,
) {
    put_client(client, SystemTime::now(), clock, out);
    out.extend_from_slice(frontend.as_bytes());
    out.push(b'/');
    put_number(listener as u64, out);
    out.extend_from_slice(b": ");
    out.extend_from_slice(words.as_bytes());
    if let Some(why) = why {
        out.extend_from_slice(b" (");
        escape::quoted(why.as_bytes(), out);
        out.push(b')');
    }
}

/// ` 1/1/0/0/+1 0/0`, or with something else between them.
fn put_load(line: &Line<'_>, between: u8, out: &mut Vec<u8>) {
    let (load, record) = (&line.load, line.record);
    out.push(b' ');
    for number in [load.process.into(), load.frontend.into(), load.backend, load.server.into()] {
        put_number(number, out);
        out.push(between);
    }
    if record.is_redispatched {
        out.push(b'+');
    }
    put_number(record.retries.into(), out);
    out.push(b' ');
    let (server, backend) = record.in_line;
    put_number(server.into(), out);
    out.push(between);
    put_number(backend.into(), out);
}

fn put_total(line: &Line<'_>, out: &mut Vec<u8>) {
    put_plus(line, out);
    put_number(line.milliseconds(), out);
}

fn put_sent(line: &Line<'_>, out: &mut Vec<u8>) {
    put_plus(line, out);
    put_number(line.counted(line.sent), out);
}

fn put_plus(line: &Line<'_>, out: &mut Vec<u8>) {
    if line.is_early {
        out.push(b'+');
    }
}

/// Milliseconds; -1 for what was never reached.
fn put_time(milliseconds: Option<u64>, out: &mut Vec<u8>) {
    match milliseconds {
        Some(milliseconds) => put_number(milliseconds, out),
        None => out.extend_from_slice(b"-1"),
    }
}

fn put_letters(letters: &[char], out: &mut Vec<u8>) {
    out.extend(letters.iter().filter_map(|&letter| u8::try_from(letter).ok()));
}
