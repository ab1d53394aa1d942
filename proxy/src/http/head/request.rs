//! Requests: what a client's head means, and the head that a server gets.
//!
//! ```text
//! bytes ── Head::parse ──> Head (borrowed) ── Head::check ──> Request (plain) ──> session
//!                             └──────────── Head::encode ──> head for the server
//! ```

use std::net::IpAddr;

use super::{Field, Fields, Malformed, Progress, Span, StartLine, Version, is_token, name::Name};
use crate::{
    Endpoint,
    http::{
        body::{Framing, Lengths},
        headers::{self, Options, Sink},
        target::{self, Target},
    },
};

/// The methods that a proxy has to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// CONNECT
    Connect,
    /// Any other.
    Other,
}

impl Method {
    /// # Errors
    /// One that is known, in another case: to some servers it is the same one, and to rules it would be another.
    fn of(bytes: &[u8]) -> Result<Self, Malformed> {
        let method = Self::known(bytes);
        let is_lax = || {
            let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH"];
            bytes != b"PATCH" && known.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(bytes))
        };
        if method == Self::Other && is_lax() { Err(Malformed::MethodCase) } else { Ok(method) }
    }

    /// The method of these bytes.
    pub(crate) fn known(bytes: &[u8]) -> Self {
        match bytes {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// RFC 9110 §9.2.2
    pub fn is_idempotent(self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace => true,
            Self::Post | Self::Connect | Self::Other => false,
        }
    }
}

/// A client's request head, syntactically right.
#[derive(Debug)]
pub struct Head<'b> {
    bytes: &'b [u8],
    line: RequestLine,
    fields: &'b mut Fields,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
struct RequestLine {
    method: Span,
    target: Span,
    version: Version,
}

/// What a request's head means; nothing of it is borrowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Request {
    /// Bytes of the head.
    pub length: usize,
    /// The method.
    pub method: Method,
    /// The client's version.
    pub version: Version,
    /// How the content is framed: [`Framing::None`], [`Framing::Length`] or [`Framing::Chunked`].
    pub framing: Framing,
    /// May the connection be used for another request? Never with HTTP/1.0 (RFC 9112 §9.3: a proxy must not).
    pub persistent: bool,
    /// The client waits for 100 (Continue) before it sends the content.
    pub expects_continue: bool,
    /// It asks for a WebSocket.
    pub upgrade: bool,
    /// It takes trailers.
    pub trailers: bool,
    /// It authenticates the connection and not only itself (NTLM, Negotiate): that to the server is nobody else's from
    /// then on.
    pub private: bool,
}

impl Request {
    /// Does content follow the head?
    pub fn has_content(&self) -> bool {
        !matches!(self.framing, Framing::None | Framing::Length(0))
    }

    /// Is its head the last that its client sends, as far as that may send what it likes (RFC 9112 §9.6)?
    pub fn is_last(&self) -> bool {
        !self.persistent && !self.has_content()
    }
}

/// What a server is told of the client's side.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// For an X-Forwarded-For line.
    pub forwarded_for: Option<IpAddr>,
    /// The address that the client connected to: stands in for a Host that HTTP/1.0 need not send.
    pub local: Endpoint,
    /// The connection to the server ends after this request.
    pub close: bool,
}

impl StartLine for RequestLine {
    // RFC 9112 §2.2: at least one should be ignored.
    const EMPTY_LINES: usize = 2;
    const TOO_LONG: Malformed = Malformed::RequestLineTooLong;

    fn parse(line: &[u8], start: usize) -> Result<Self, Malformed> {
        // RFC 9112 §3: exactly one SP between the parts; anything looser is refused.
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed::StartLine);
        };
        if !is_token(method) {
            return Err(Malformed::StartLine);
        }
        let version = match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(Malformed::Version);
            }
            _ => return Err(Malformed::StartLine),
        };
        if !target::is_uri(target) {
            return Err(Malformed::Target);
        }
        let target_start = start + method.len() + 1;
        Ok(Self {
            method: Span::new(start, start + method.len()),
            target: Span::new(target_start, target_start + target.len()),
            version,
        })
    }
}

impl<'b> Head<'b> {
    /// Parses the head at the start of `bytes`; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The first fault, in the order of the bytes.
    pub fn parse(
        bytes: &'b [u8],
        progress: &mut Progress,
        fields: &'b mut Fields,
    ) -> Result<Option<Self>, Malformed> {
        let parsed = super::parse::<RequestLine>(bytes, progress, fields)?;
        Ok(parsed.map(|(line, length)| Self { bytes, line, fields, length }))
    }

    /// It came over this version, whatever its line says.
    pub(crate) fn over(&mut self, version: Version) {
        self.line.version = version;
    }

    /// The method, as sent.
    pub fn method(&self) -> &'b [u8] {
        self.line.method.of(self.bytes)
    }

    /// The target, as sent.
    pub fn target(&self) -> &'b [u8] {
        self.line.target.of(self.bytes)
    }

    /// The client's version.
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The field lines, in their order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'b>> + Clone {
        self.fields.iter(self.bytes)
    }

    /// What it means.
    ///
    /// # Errors
    /// Whatever two readers could understand differently, and what is not supported.
    pub fn check(&self) -> Result<Request, Malformed> {
        let method = Method::of(self.method())?;
        let version = self.version();
        let target = Target::parse(self.target(), method)?;
        let mut lengths = Lengths::default();
        let mut options = Options::default();
        let mut host = None;
        let mut expects_continue = false;
        let mut upgrade = false;
        let mut key = false;
        let mut trailers = false;
        let mut private = false;
        for field in self.fields() {
            match field.id {
                Name::Host if host.is_some() => return Err(Malformed::SeveralHosts),
                Name::Host => host = Some(field.value),
                Name::ContentLength => lengths.content_length(field.value)?,
                Name::TransferEncoding => lengths.transfer_encoding(field.value)?,
                Name::Connection => options.add(field.value)?,
                // RFC 9110 §10.1.1: ignored in HTTP/1.0.
                Name::Expect if version >= Version::Http11 => {
                    if !field.value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(Malformed::Expectation);
                    }
                    expects_continue = true;
                }
                Name::Upgrade => upgrade |= headers::has_token(field.value, b"websocket"),
                Name::SecWebSocketKey => key = true,
                Name::Authorization | Name::ProxyAuthorization => {
                    private |= headers::authenticates_connection(field.value);
                }
                Name::Te => trailers |= headers::has_token(field.value, b"trailers"),
                _ => {}
            }
        }
        self.check_host(&target, host)?;
        if target == Target::Authority {
            return Err(Malformed::Connect);
        }
        let framing = lengths.of_request(version)?;
        let content = !matches!(framing, Framing::None | Framing::Length(0));
        if content
            && version == Version::Http10
            && matches!(method, Method::Get | Method::Head | Method::Delete)
        {
            return Err(Malformed::UnexpectedContent);
        }
        // RFC 9110 §7.8: ignored in HTTP/1.0. Content and a tunnel don't go together: without Upgrade it is an
        // ordinary request.
        let upgrade =
            upgrade && options.upgrade && version >= Version::Http11 && method == Method::Get && !content;
        if upgrade && !key {
            return Err(Malformed::WebSocketKey);
        }
        Ok(Request {
            length: self.length,
            method,
            version,
            framing,
            persistent: version >= Version::Http11 && !options.close,
            expects_continue: expects_continue && content,
            upgrade,
            trailers: trailers && version >= Version::Http11,
            private,
        })
    }

    fn check_host(&self, target: &Target<'_>, host: Option<&[u8]>) -> Result<(), Malformed> {
        let Some(host) = host else {
            // RFC 9112 §3.2: required since HTTP/1.1, whatever the target.
            return if self.version() >= Version::Http11 { Err(Malformed::NoHost) } else { Ok(()) };
        };
        if !target::is_authority(host) {
            return Err(Malformed::Host);
        }
        match *target {
            Target::Absolute { authority, default_port, .. }
                if !target::is_same_authority(authority, host, default_port) =>
            {
                Err(Malformed::HostMismatch)
            }
            _ => Ok(()),
        }
    }

    /// Writes the head that a server gets. `request` is what [`Self::check`] made of this head.
    pub fn encode(&self, request: &Request, hop: &Hop, out: &mut impl Sink) {
        let target = Target::parse(self.target(), request.method).unwrap_or(Target::Asterisk);
        let named = Options::named(self.fields());
        put(self.method(), &target, self.fields(), |field| named.has(field), request, hop, out);
    }

    /// The bytes it came from, its field lines, and where its method and target are.
    pub(crate) fn into_parts(self) -> (&'b [u8], &'b mut Fields, Span, Span) {
        (self.bytes, self.fields, self.line.method, self.line.target)
    }
}

/// Writes a request's head for a server; without the fields that are `named` by Connection.
pub(crate) fn put<'b>(
    method: &[u8],
    target: &Target<'_>,
    fields: impl Iterator<Item = Field<'b>> + Clone,
    named: impl Fn(&Field<'_>) -> bool,
    request: &Request,
    hop: &Hop,
    out: &mut impl Sink,
) {
    out.put(method);
    out.put(b" ");
    target.encode_origin_form(out);
    out.put(b" HTTP/1.1\r\n");
    let authority = match *target {
        Target::Absolute { authority, .. } => Some(authority),
        Target::Origin(_) | Target::Asterisk | Target::Authority => None,
    };
    if !fields.clone().any(|field| field.id == Name::Host) {
        out.put(b"Host: ");
        match authority {
            Some(authority) => out.put(authority),
            None => headers::put_authority(hop.local, out),
        }
        out.put(b"\r\n");
    }
    for field in fields {
        match field.id {
            // RFC 9112 §3.2.2: the target's authority replaces what Host says.
            Name::Host => {
                let value = authority.unwrap_or(field.value);
                let canonical = field.canonical.filter(|_| authority.is_none());
                headers::put_field(&Field { id: field.id, name: field.name, value, canonical }, out);
            }
            Name::ContentLength => {}
            Name::Expect if !request.expects_continue => {}
            id if id.is_hop_by_hop() || named(&field) => {}
            _ => headers::put_field(&field, out),
        }
    }
    headers::put_framing(request.framing, out);
    match (request.upgrade, request.trailers, hop.close) {
        (true, ..) => out.put(b"Connection: upgrade\r\nUpgrade: websocket\r\n"),
        (_, true, true) => out.put(b"Connection: te, close\r\nTE: trailers\r\n"),
        (_, true, false) => out.put(b"Connection: te\r\nTE: trailers\r\n"),
        (_, false, true) => out.put(b"Connection: close\r\n"),
        (_, false, false) => {}
    }
    if let Some(address) = hop.forwarded_for {
        out.put(b"X-Forwarded-For: ");
        headers::put_address(address, out);
        out.put(b"\r\n");
    }
    out.put(b"\r\n");
}
