//! One JSON object for each line.

use super::{Line, Times};
use crate::{
    config::{Capture, CapturedHeader},
    http::headers::put_address,
    log::{capture::Slot, clock::Clock, object::Object},
};

/// Bytes of a line that are not a text of a client's or a server's, at most.
const FRAME: usize = 700;

/// Writes the message, without header and end. `room` is what every target takes of it; long texts are cut off, so that it stays a whole object.
pub(in crate::log) fn write(
    line: &Line<'_>,
    capture: &Capture,
    room: usize,
    clock: &Clock,
    out: &mut Vec<u8>,
) {
    let (record, is_http) = (line.record, line.is_http());
    let texts = room.saturating_sub(FRAME + frame_of(capture));
    // What a client asks for may be as long as it likes. It leaves room for what was captured.
    let captured: usize = record.captured().map(escaped).sum();
    let mut object = Object::new(out, texts, captured.min(texts / 2));
    object.begin();
    object.text_with("time", |out| clock.put_iso(record.date, out));
    object.text("frontend", line.frontend.name.as_bytes());
    object.optional("backend", line.backend.map(|backend| backend.name.as_bytes()));
    object.optional("server", line.server_name().map(str::as_bytes));
    object.text_with("client", |out| match record.client.ip() {
        Some(address) => put_address(address, out),
        None => out.extend_from_slice(b"unix"),
    });
    object.optional_number("client_port", record.client.port().map(u64::from));
    if is_http {
        object.optional("method", record.method());
        match record.version() {
            Some(version) => object.text_with("version", |out| out.extend_from_slice(version)),
            None => object.word("version", b"null"),
        }
        object.optional("target", record.target());
        object.optional_number("status", record.status.map(u64::from));
    }
    object.number("bytes_sent", line.sent);
    object.number("bytes_received", line.received);
    object.text_with("termination", |out| {
        let code = line.code();
        let letters = code.iter().chain(record.cookie.iter().filter(|_| is_http));
        out.extend(letters.filter_map(|&letter| u8::try_from(letter).ok()));
    });
    if let Some(reason) = &record.reason {
        object.text("reason", reason.as_bytes());
    }
    let Times { request, queue, connect, response } = record.times();
    object.key("ms");
    object.begin();
    if is_http {
        object.optional_number("request", request);
    }
    object.optional_number("queue", queue);
    object.optional_number("connect", connect);
    if is_http {
        object.optional_number("response", response);
    }
    object.number("total", line.milliseconds());
    object.end();
    object.number("retries", record.retries.into());
    object.flag("redispatched", record.is_redispatched);
    object.key("connections");
    object.begin();
    let load = &line.load;
    for (name, number) in [
        ("process", load.process.into()),
        ("frontend", load.frontend.into()),
        ("backend", load.backend),
        ("server", load.server.into()),
    ] {
        object.number(name, number);
    }
    object.end();
    object.key("queue");
    object.begin();
    object.number("server", record.in_line.0.into());
    object.number("backend", record.in_line.1.into());
    object.end();
    for (name, headers, slot) in headers(capture) {
        object.key(name);
        object.begin();
        for (index, header) in headers.iter().enumerate() {
            captured_text(&mut object, &header.name, record.kept(slot(index)));
        }
        object.end();
    }
    if capture.cookie.is_some() {
        captured_text(&mut object, "request_cookie", record.kept(Slot::RequestCookie));
        captured_text(&mut object, "response_cookie", record.kept(Slot::ResponseCookie));
    }
    if line.is_early {
        object.flag("early", true);
    }
    object.end();
}

type Captured<'c> = (&'static str, &'c [CapturedHeader], fn(usize) -> Slot);

/// Those that are wanted.
fn headers(capture: &Capture) -> impl Iterator<Item = Captured<'_>> {
    let request: Captured<'_> = ("request_headers", &capture.request_headers, Slot::RequestHeader);
    let response: Captured<'_> = ("response_headers", &capture.response_headers, Slot::ResponseHeader);
    [request, response].into_iter().filter(|(_, headers, _)| !headers.is_empty())
}

/// Bytes around what was captured.
fn frame_of(capture: &Capture) -> usize {
    let of_header = |header: &CapturedHeader| header.name.len() + "\"\":null,".len();
    let of_headers = |headers: &[CapturedHeader]| headers.iter().map(of_header).sum::<usize>();
    headers(capture).map(|(name, headers, _)| name.len() + 8 + of_headers(headers)).sum()
}

/// Bytes that a text may take: of most, each character becomes two at most.
fn escaped(text: &[u8]) -> usize {
    2 * text.len()
}

/// With the room that is reserved for it.
fn captured_text(object: &mut Object<'_>, name: &str, text: Option<&[u8]>) {
    object.release(text.map_or(0, escaped));
    object.optional(name, text);
}
