//! Redirections: where to, and with which status.

use memchr::{memchr, memmem};

use super::{Scheme, Text};
use crate::{
    http::{
        headers::{self, Sink},
        message::Message,
        reason,
    },
    sample::Facts,
};

/// A redirection.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// Where to.
    pub to: Destination,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The request's query is left out, with [`Destination::Prefix`] and [`Destination::Scheme`].
    pub drop_query: bool,
    /// The path gets a `/` at its end if it has none, with [`Destination::Prefix`].
    pub append_slash: bool,
    /// Field lines, in this order. Names are [editable](crate::http::message::is_editable), and none is Location.
    pub headers: Vec<(String, Text)>,
}

/// Where a redirection leads.
#[derive(Clone, Debug)]
pub enum Destination {
    /// There.
    Location(Text),
    /// To the same path and query behind this.
    Prefix(Text),
    /// To the same host, path and query with this scheme; its port is left out unless one is named.
    Scheme {
        /// The scheme.
        scheme: Scheme,
        /// Another port than the scheme's own.
        port: Option<u16>,
    },
}

impl Redirect {
    /// One that is nothing but this.
    pub fn new(to: Destination, status: u16) -> Self {
        Self { to, status, drop_query: false, append_slash: false, headers: Vec::new() }
    }

    /// Writes the location for a request that came to `local`.
    pub(crate) fn put_location(&self, request: &Message<'_>, facts: &Facts<'_>, out: &mut Vec<u8>) {
        match &self.to {
            Destination::Location(location) => location.render(facts, out),
            Destination::Prefix(prefix) => {
                prefix.render(facts, out);
                // With a prefix of nothing or `/`, `//host/` would be a location on another host (RFC 3986 §4.2).
                if out == b"/" {
                    out.clear();
                }
                let target = self.target(request);
                let is_path = memmem::find(out, b"://").is_none();
                let target = if is_path { after_slashes(target) } else { target };
                let (path, query) = target.split_at(memchr(b'?', target).unwrap_or(target.len()));
                out.extend_from_slice(path);
                if self.append_slash && out.last() != Some(&b'/') {
                    out.push(b'/');
                }
                out.extend_from_slice(query);
            }
            Destination::Scheme { scheme, port } => {
                out.extend_from_slice(scheme.name().as_bytes());
                out.extend_from_slice(b"://");
                match request.host() {
                    Some(host) => out.extend_from_slice(without_port(host)),
                    None => headers::put_authority(facts.local.with_port(80), out),
                }
                if let Some(port) = port {
                    out.push(b':');
                    headers::put_number((*port).into(), out);
                }
                out.extend_from_slice(self.target(request));
            }
        }
    }

    /// Writes the response with the location that was put; the connection ends after it if `close`.
    pub(crate) fn put(&self, location: &[u8], close: bool, facts: &Facts<'_>, out: &mut impl Sink) {
        put_begin(self.status, location, out);
        for (name, value) in &self.headers {
            out.put(name.as_bytes());
            out.put(b": ");
            value.render(facts, out);
            out.put(b"\r\n");
        }
        put_end(close, out);
    }

    fn target<'m>(&self, request: &'m Message<'_>) -> &'m [u8] {
        match if self.drop_query { request.path() } else { request.target() } {
            b"*" => b"/",
            target => target,
        }
    }
}

/// With one `/` at the beginning at most.
fn after_slashes(target: &[u8]) -> &[u8] {
    let slashes = target.iter().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
    &target[slashes.saturating_sub(1)..]
}

/// A value of Host without its port; the brackets of an address stay.
fn without_port(host: &[u8]) -> &[u8] {
    let from = host.iter().position(|&byte| byte == b']').unwrap_or(0);
    match host[from..].iter().position(|&byte| byte == b':') {
        Some(colon) => &host[..from + colon],
        None => host,
    }
}

/// Writes a response without other headers; the connection ends after it if `close`.
pub(crate) fn put_redirect(status: u16, location: &[u8], close: bool, out: &mut impl Sink) {
    put_begin(status, location, out);
    put_end(close, out);
}

fn put_begin(status: u16, location: &[u8], out: &mut impl Sink) {
    out.put(b"HTTP/1.1 ");
    headers::put_number(status.into(), out);
    out.put(b" ");
    out.put(reason::phrase(status).as_bytes());
    out.put(b"\r\nContent-Length: 0\r\nLocation: ");
    out.put(location);
    out.put(b"\r\n");
    if status == 302 || status == 303 || status == 307 {
        // As HAProxy does: what is temporary is not to be kept.
        out.put(b"Cache-Control: no-cache\r\n");
    }
}

fn put_end(close: bool, out: &mut impl Sink) {
    if close {
        out.put(b"Connection: close\r\n");
    }
    out.put(b"\r\n");
}
