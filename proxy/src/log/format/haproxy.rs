//! HAProxy's `option httplog` and `option tcplog`, byte for byte.
//!
//! ```text
//! 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1"
//! 10.0.1.2:33313 [06/Feb/2009:12:12:51.443] fnt bck/srv1 0/0/5007 212 -- 0/0/0/0/3 0/0
//! ```

use super::{Line, Times};
use crate::{
    Endpoint,
    http::headers::{put_address, put_number},
    log::{clock::Clock, escape},
};

pub(super) fn http(line: &Line<'_>, clock: &Clock, out: &mut Vec<u8>) {
    let record = line.record;
    begin(line, clock, out);
    let Times { request, queue, connect, response, .. } = record.times();
    for time in [request, queue, connect, response] {
        put_time(time, out);
        out.push(b'/');
    }
    put_total(line, out);
    out.push(b' ');
    match record.status {
        Some(status) => put_number(status.into(), out),
        None => out.extend_from_slice(b"-1"),
    }
    out.push(b' ');
    put_sent(line, out);
    out.extend_from_slice(b" - - ");
    put_letters(&line.code(), out);
    put_letters(&record.cookie, out);
    put_load(line, out);
    out.extend_from_slice(b" \"");
    escape::quoted(record.line().unwrap_or(b"<BADREQ>"), out);
    out.push(b'"');
}

pub(super) fn tcp(line: &Line<'_>, clock: &Clock, out: &mut Vec<u8>) {
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
    put_load(line, out);
}

/// `10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 `
fn begin(line: &Line<'_>, clock: &Clock, out: &mut Vec<u8>) {
    let record = line.record;
    match record.client {
        Endpoint::Ip(client) => {
            put_address(client.ip(), out);
            out.push(b':');
            put_number(client.port().into(), out);
        }
        // There it is the number of the listener that stands for the port.
        Endpoint::Unix => out.extend_from_slice(b"unix:1"),
    }
    out.extend_from_slice(b" [");
    clock.put_milliseconds(record.date, out);
    out.extend_from_slice(b"] ");
    let server = line.server_name().unwrap_or("<NOSRV>");
    for (name, end) in [(&*line.frontend.name, b' '), (line.backend_name(), b'/'), (server, b' ')] {
        out.extend_from_slice(name.as_bytes());
        out.push(end);
    }
}

/// ` 1/1/0/0/+1 0/0`
fn put_load(line: &Line<'_>, out: &mut Vec<u8>) {
    let (load, record) = (&line.load, line.record);
    out.push(b' ');
    for number in [load.process.into(), load.frontend.into(), load.backend, load.server.into()] {
        put_number(number, out);
        out.push(b'/');
    }
    if record.is_redispatched {
        out.push(b'+');
    }
    put_number(record.retries.into(), out);
    out.push(b' ');
    let (server, backend) = record.in_line;
    put_number(server.into(), out);
    out.push(b'/');
    put_number(backend.into(), out);
}

fn put_total(line: &Line<'_>, out: &mut Vec<u8>) {
    put_plus(line, out);
    put_number(line.milliseconds(), out);
}

fn put_sent(line: &Line<'_>, out: &mut Vec<u8>) {
    put_plus(line, out);
    put_number(line.sent, out);
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
