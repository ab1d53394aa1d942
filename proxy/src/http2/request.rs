//! A request's field section as a head of HTTP/1.1, which is what everything behind looks at (RFC 9113 §8.2, §8.3).
//!
//! Strict in: a name or a value that could end a line, mean a second one or change a framing is malformed, and so is whatever is
//! about a connection. How content is framed is not the client's to say: the head says what its DATA frames will be.

use crate::{
    buffer::Buffer,
    http::{
        body::Lengths,
        head::{MAX_HEAD, Version, is_field_content, is_token, name::Name},
        headers::{put_content_length, put_field},
        target, websocket,
    },
};

/// Bytes of a head beyond which nothing is written any more: the parser finds it too large.
const ENOUGH: usize = MAX_HEAD + 1;

/// Puts heads together, one after the other.
#[derive(Debug, Default)]
pub(super) struct Writer {
    method: Vec<u8>,
    path: Vec<u8>,
    authority: Vec<u8>,
    host: Vec<u8>,
    cookie: Vec<u8>,
    seen: Seen,
    lengths: Lengths,
    has_length: bool,
    takes_protocol: bool,
    /// It asks for a WebSocket.
    is_tunnel: bool,
    /// The request line is written, and with it Host if `:authority` says it.
    has_line: bool,
    fault: Option<&'static str>,
}

/// Which pseudo-header fields came.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Seen {
    method: bool,
    scheme: bool,
    path: bool,
    authority: bool,
    protocol: bool,
}

/// How a request's content comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// So many bytes, as the client has said.
    Length(u64),
    /// Until the end of the stream.
    Chunked,
    /// Likewise, and no content: bytes of a WebSocket, once the server has agreed to that (RFC 8441 §5).
    Tunnel,
}

impl Framing {
    /// Bytes of content to come, where that is said.
    pub(super) fn due(self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(length),
            Self::None => Some(0),
            Self::Chunked | Self::Tunnel => None,
        }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Written {
    pub(super) framing: Framing,
    /// Its answer has no content.
    pub(super) is_head: bool,
}

impl Writer {
    /// Another request begins. `websocket` says if it may ask for one: to who was not told so `:protocol` means nothing (RFC 8441 §3).
    pub(super) fn begin(&mut self, websocket: bool) {
        self.takes_protocol = websocket;
        for text in [&mut self.method, &mut self.path, &mut self.authority, &mut self.host, &mut self.cookie]
        {
            text.clear();
        }
        self.seen = Seen::default();
        self.lengths = Lengths::default();
        (self.is_tunnel, self.has_length, self.has_line, self.fault) = (false, false, false, None);
    }

    /// The next field. After a fault nothing is written, but the section has to be decoded to its end.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8], out: &mut Buffer) {
        if self.fault.is_none()
            && let Err(fault) = self.try_field(name, value, out)
        {
            self.fault = Some(fault);
        }
    }

    fn try_field(&mut self, name: &[u8], value: &[u8], out: &mut Buffer) -> Result<(), &'static str> {
        check_value(value)?;
        if let Some(pseudo) = name.strip_prefix(b":") {
            return self.pseudo(pseudo, value);
        }
        check_name(name)?;
        self.put_line(out)?;
        match Name::of(name) {
            Name::Connection
            | Name::Http2Settings
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::TransferEncoding
            | Name::Upgrade => return Err("a field that is about a connection"),
            // Ours is the key that the server answers to; where the client has one it means nothing (RFC 8441 §5).
            Name::SecWebSocketKey if self.is_tunnel => {}
            Name::Te if !value.eq_ignore_ascii_case(b"trailers") => {
                return Err("TE with something else than trailers");
            }
            Name::ContentLength => {
                if self.has_length {
                    return Err("several Content-Length");
                }
                self.has_length = true;
                self.lengths.content_length(value).map_err(|_| "Content-Length that is no number")?;
            }
            Name::Host => {
                if self.seen.authority {
                    if !self.authority.eq_ignore_ascii_case(value) {
                        return Err("Host and :authority differ");
                    }
                } else if self.host.is_empty() {
                    self.host.extend_from_slice(value);
                    put_line(b"host", value, out);
                } else {
                    return Err("several Host");
                }
            }
            Name::Cookie => {
                if self.cookie.len() + value.len() > ENOUGH {
                    put_line(name, value, out);
                } else {
                    if !self.cookie.is_empty() {
                        self.cookie.extend_from_slice(b"; ");
                    }
                    self.cookie.extend_from_slice(value);
                }
            }
            _ => put_line(name, value, out),
        }
        Ok(())
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if self.has_line {
            return Err("a pseudo-header field behind others");
        }
        let Self { seen, .. } = self;
        let (is_seen, room) = match name {
            b"method" => (&mut seen.method, &mut self.method),
            b"path" => (&mut seen.path, &mut self.path),
            b"authority" => (&mut seen.authority, &mut self.authority),
            // RFC 8441 §4
            b"protocol" if self.takes_protocol => {
                if std::mem::replace(&mut seen.protocol, true) {
                    return Err("a pseudo-header field twice");
                }
                self.is_tunnel = value.eq_ignore_ascii_case(b"websocket");
                return Ok(());
            }
            b"scheme" => {
                if !value.eq_ignore_ascii_case(b"http") && !value.eq_ignore_ascii_case(b"https") {
                    return Err("a :scheme that is not served");
                }
                if std::mem::replace(&mut seen.scheme, true) {
                    return Err("a pseudo-header field twice");
                }
                return Ok(());
            }
            _ => return Err("a pseudo-header field that is none of a request"),
        };
        if std::mem::replace(is_seen, true) {
            return Err("a pseudo-header field twice");
        }
        room.extend_from_slice(value);
        Ok(())
    }

    /// The request line and Host.
    fn put_line(&mut self, out: &mut Buffer) -> Result<(), &'static str> {
        if std::mem::replace(&mut self.has_line, true) {
            return Ok(());
        }
        if !self.seen.method || !is_token(&self.method) {
            return Err("no :method, or one that is none");
        }
        let is_connect = self.method == b"CONNECT";
        if self.seen.protocol && !is_connect {
            return Err(":protocol without CONNECT");
        }
        let is_whole = self.seen.scheme && self.seen.path;
        // What no other protocol than WebSocket gets is an answer to CONNECT: that is not served.
        let (method, target) = if is_connect && self.seen.protocol {
            if !is_whole || !self.seen.authority {
                return Err("CONNECT with :protocol, and without :scheme, :path or :authority");
            }
            if self.is_tunnel { (&b"GET"[..], &self.path) } else { (&self.method[..], &self.authority) }
        } else if is_connect {
            // RFC 9113 §8.5
            if self.seen.scheme || self.seen.path || !self.seen.authority {
                return Err("CONNECT with :scheme or :path, or without :authority");
            }
            (&self.method[..], &self.authority)
        } else {
            if !is_whole {
                return Err("no :scheme or no :path");
            }
            (&self.method[..], &self.path)
        };
        let is_fine = match target.first() {
            Some(b'/') => true,
            Some(b'*') => target.len() == 1 && self.method == b"OPTIONS",
            Some(_) => method == b"CONNECT",
            None => false,
        };
        if !is_fine || !target::is_uri(target) {
            return Err("a :path that is none");
        }
        if self.seen.authority && self.authority.is_empty() {
            return Err("an empty :authority");
        }
        out.push(method);
        out.push(b" ");
        out.push(target);
        if method == b"CONNECT" && self.seen.protocol && !has_port(target) {
            out.push(b":443");
        }
        out.push(b" HTTP/1.1\r\n");
        if self.seen.authority {
            put_line(b"host", &self.authority, out);
        }
        Ok(())
    }

    /// The end of the section; `is_all` says if the stream ends with it.
    pub(super) fn finish(&mut self, is_all: bool, out: &mut Buffer) -> Result<Written, &'static str> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        self.put_line(out)?;
        if !self.cookie.is_empty() {
            put_line(b"cookie", &self.cookie, out);
        }
        let announced = match self.lengths.of_request(Version::Http11) {
            Ok(crate::http::body::Framing::Length(length)) => Some(length),
            Ok(_) => None,
            Err(_) => return Err("Content-Length that is no length"),
        };
        if self.is_tunnel {
            if self.has_length {
                return Err("Content-Length of a tunnel");
            }
            websocket::put_upgrade(out);
            return Ok(Written { framing: Framing::Tunnel, is_head: false });
        }
        let framing = match (is_all, announced) {
            (true, None | Some(0)) => Framing::None,
            (true, Some(_)) => return Err("Content-Length without content"),
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::Chunked,
        };
        match announced {
            Some(length) => put_content_length(length, out),
            None if framing == Framing::Chunked => out.push(b"Transfer-Encoding: chunked\r\n"),
            None => {}
        }
        out.push(b"\r\n");
        Ok(Written { framing, is_head: self.method == b"HEAD" })
    }
}

/// Does an authority have a port, as that of CONNECT in HTTP/1.1 has?
fn has_port(authority: &[u8]) -> bool {
    authority.iter().rev().find(|byte| !byte.is_ascii_digit()) == Some(&b':')
}

/// Is this field allowed behind content (RFC 9113 §8.1)?
pub(super) fn check_trailer(name: &[u8], value: &[u8]) -> Result<(), &'static str> {
    if name.first() == Some(&b':') {
        return Err("a pseudo-header field in trailers");
    }
    check_name(name)?;
    check_value(value)
}

/// RFC 9113 §8.2.1
pub(super) fn check_name(name: &[u8]) -> Result<(), &'static str> {
    if !is_token(name) || name.iter().any(u8::is_ascii_uppercase) {
        return Err("a name with letters that it may not have");
    }
    Ok(())
}

/// RFC 9113 §8.2.1; other control characters as well, as in HTTP/1.
pub(super) fn check_value(value: &[u8]) -> Result<(), &'static str> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if !is_field_content(value) || is_space(value.first()) || is_space(value.last()) {
        return Err("a value with white space around it or control characters");
    }
    Ok(())
}

pub(super) fn put_line(name: &[u8], value: &[u8], out: &mut Buffer) {
    if out.len() < ENOUGH {
        put_field(&crate::http::head::Field { id: Name::Other, name, value, canonical: None }, out);
    }
}
