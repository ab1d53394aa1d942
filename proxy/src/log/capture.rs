//! Headers and cookies that a frontend keeps for its log: as they came, before any rule.

use super::{TrafficLogger, escape, record::Record};
use crate::{
    config::{CapturedCookie, CapturedHeader},
    http::{
        head::{Field, request, response},
        message::cookies,
    },
};

/// What a record keeps a text for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Slot {
    /// A captured header, by its place in the configuration.
    RequestHeader(usize),
    /// Likewise.
    ResponseHeader(usize),
    /// All of them in braces, for a template.
    RequestHeaders,
    /// Likewise.
    ResponseHeaders,
    /// `NAME=value`
    RequestCookie,
    /// Likewise.
    ResponseCookie,
    /// A part of a template, by its number.
    Part(usize),
}

/// Keeps what is wanted of a request.
pub(super) fn request(traffic: &TrafficLogger, head: &request::Head<'_>, record: &mut Record) {
    let capture = &traffic.config.capture;
    headers(&capture.request_headers, &head.fields(), Slot::RequestHeader, record);
    if traffic.joins_headers {
        record.join(Slot::RequestHeaders, capture.request_headers.len(), Slot::RequestHeader);
        // Until there is a response, and where there is none.
        if !capture.response_headers.is_empty() {
            record.join(Slot::ResponseHeaders, capture.response_headers.len(), Slot::ResponseHeader);
        }
    }
    let Some(wanted) = &capture.cookie else { return };
    let lines = head.fields().filter(|field| field.name.eq_ignore_ascii_case(b"cookie"));
    cookie(wanted, lines.flat_map(|field| cookies(field.value)), Slot::RequestCookie, record);
}

/// Keeps what is wanted of a response.
pub(super) fn response(traffic: &TrafficLogger, head: &response::Head<'_>, record: &mut Record) {
    let capture = &traffic.config.capture;
    headers(&capture.response_headers, &head.fields(), Slot::ResponseHeader, record);
    if traffic.joins_headers {
        record.join(Slot::ResponseHeaders, capture.response_headers.len(), Slot::ResponseHeader);
    }
    let Some(wanted) = &capture.cookie else { return };
    let lines = head.fields().filter(|field| field.name.eq_ignore_ascii_case(b"set-cookie"));
    // The first pair is the cookie, the others are its attributes.
    cookie(wanted, lines.filter_map(|field| cookies(field.value).next()), Slot::ResponseCookie, record);
}

/// Of several lines of a name the last one counts, as in HAProxy.
fn headers<'f>(
    wanted: &[CapturedHeader],
    fields: &(impl Iterator<Item = Field<'f>> + Clone),
    slot: fn(usize) -> Slot,
    record: &mut Record,
) {
    for (index, header) in wanted.iter().enumerate() {
        let lines = fields.clone().filter(|field| field.name.eq_ignore_ascii_case(header.name.as_bytes()));
        let value = lines.last().map(|field| field.value);
        record.keep(slot(index), value.map(|value| [value, b"", b""]), header.length.into());
    }
}

/// Of several cookies the first one counts.
fn cookie<'f>(
    wanted: &CapturedCookie,
    mut cookies: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    slot: Slot,
    record: &mut Record,
) {
    let name = wanted.name.as_bytes();
    let found = cookies.find(|(key, _)| if wanted.is_prefix { key.starts_with(name) } else { *key == name });
    record.keep(slot, found.map(|(key, value)| [key, b"=", value]), wanted.length.into());
}

impl Record {
    /// Keeps `{a|b}` of the headers in the first `count` of these slots.
    fn join(&mut self, to: Slot, count: usize, slot: fn(usize) -> Slot) {
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        put_braces(self, count, slot, &mut joined);
        self.keep(to, Some([&joined, b"", b""]), usize::MAX);
        self.joined = joined;
    }
}

/// `{a|b}`
pub(super) fn put_braces(record: &Record, count: usize, slot: fn(usize) -> Slot, out: &mut Vec<u8>) {
    out.push(b'{');
    for index in 0..count {
        if index > 0 {
            out.push(b'|');
        }
        escape::header(record.kept(slot(index)).unwrap_or_default(), out);
    }
    out.push(b'}');
}
