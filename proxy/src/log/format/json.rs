//! One JSON object for each line.

use super::{Line, Times};
use crate::{
    config::{Capture, CapturedHeader},
    http::headers::{put_address, put_number},
    log::{capture::Slot, clock::Clock, escape},
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
    let mut object = Object { out, has_some: false, texts, reserved: captured.min(texts / 2) };
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
            object.captured(&header.name, record.kept(slot(index)));
        }
        object.end();
    }
    if capture.cookie.is_some() {
        object.captured("request_cookie", record.kept(Slot::RequestCookie));
        object.captured("response_cookie", record.kept(Slot::ResponseCookie));
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

/// An object that is being written, and those in it.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    /// The innermost has a member.
    has_some: bool,
    /// Bytes that texts may still have.
    texts: usize,
    /// How many of these are for what was captured.
    reserved: usize,
}

impl Object<'_> {
    fn begin(&mut self) {
        self.out.push(b'{');
        self.has_some = false;
    }

    fn end(&mut self) {
        self.out.push(b'}');
        self.has_some = true;
    }

    fn key(&mut self, name: &str) {
        if self.has_some {
            self.out.push(b',');
        }
        self.has_some = true;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, text: &[u8]) {
        self.key(name);
        self.out.push(b'"');
        let before = self.out.len();
        escape::json(text, self.texts.saturating_sub(self.reserved), self.out);
        self.texts -= self.out.len() - before;
        self.out.push(b'"');
    }

    /// What `write` writes needs no escapes.
    fn text_with(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(name);
        self.out.push(b'"');
        write(self.out);
        self.out.push(b'"');
    }

    /// With the room that is reserved for it.
    fn captured(&mut self, name: &str, text: Option<&[u8]>) {
        self.reserved = self.reserved.saturating_sub(text.map_or(0, escaped));
        self.optional(name, text);
    }

    fn optional(&mut self, name: &str, text: Option<&[u8]>) {
        match text {
            Some(text) => self.text(name, text),
            None => self.word(name, b"null"),
        }
    }

    fn number(&mut self, name: &str, number: u64) {
        self.key(name);
        put_number(number, self.out);
    }

    fn optional_number(&mut self, name: &str, number: Option<u64>) {
        match number {
            Some(number) => self.number(name, number),
            None => self.word(name, b"null"),
        }
    }

    fn flag(&mut self, name: &str, is_set: bool) {
        self.word(name, if is_set { b"true" } else { b"false" });
    }

    fn word(&mut self, name: &str, word: &[u8]) {
        self.key(name);
        self.out.extend_from_slice(word);
    }
}
