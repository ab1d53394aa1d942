//! Responses: what a server's head means, and the head that the client gets.

use super::{
    Field, Fields, Malformed, Progress, Span, StartLine, Version, is_field_content, name::Name,
    request::Method,
};
use crate::http::{
    body::{Framing, Lengths},
    headers::{self, Options, Sink},
};

/// A server's response head, syntactically right.
#[derive(Debug)]
pub struct Head<'b> {
    bytes: &'b [u8],
    line: StatusLine,
    fields: &'b mut Fields,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
struct StatusLine {
    version: Version,
    status: u16,
    reason: Span,
}

/// What a response's head means; nothing of it is borrowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Response {
    /// Bytes of the head.
    pub length: usize,
    /// 100..=999
    pub status: u16,
    /// How the content is framed.
    pub framing: Framing,
    /// The length that an answer to HEAD, or 304, announces.
    pub announced: Option<u64>,
    /// May the connection to the server be used again?
    pub persistent: bool,
    /// It authenticates the connection and not the request (NTLM, Negotiate): nobody else may use it.
    pub private: bool,
}

/// What the client is told of this hop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hop {
    /// How the content is framed towards the client.
    pub framing: Framing,
    /// The connection ends after this response.
    pub close: bool,
}

impl StartLine for StatusLine {
    const EMPTY_LINES: usize = 0;
    const TOO_LONG: Malformed = Malformed::LineTooLong;

    fn parse(line: &[u8], start: usize) -> Result<Self, Malformed> {
        let (version, rest) = line.split_at_checked(b"HTTP/1.1 ".len()).ok_or(Malformed::StartLine)?;
        let version = match version {
            b"HTTP/1.1 " => Version::Http11,
            b"HTTP/1.0 " => Version::Http10,
            _ => return Err(Malformed::StartLine),
        };
        let (digits, reason) = rest.split_at_checked(3).ok_or(Malformed::StartLine)?;
        // RFC 9112 §4 wants a space even before an empty reason; many servers leave it out, which is harmless.
        let fine = matches!(digits[0], b'1'..=b'9')
            && digits.iter().all(u8::is_ascii_digit)
            && matches!(reason.first(), None | Some(b' '))
            && is_field_content(reason);
        if !fine {
            return Err(Malformed::StartLine);
        }
        let status = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
        let reason_start = start + line.len() - reason.len().saturating_sub(1);
        Ok(Self { version, status, reason: Span::new(reason_start, start + line.len()) })
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
        let parsed = super::parse::<StatusLine>(bytes, progress, fields)?;
        Ok(parsed.map(|(line, length)| Self { bytes, line, fields, length }))
    }

    /// Its status.
    pub fn status(&self) -> u16 {
        self.line.status
    }

    /// The reason phrase, as sent.
    pub fn reason(&self) -> &'b [u8] {
        self.line.reason.of(self.bytes)
    }

    /// The field lines, in their order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'b>> + Clone {
        self.fields.iter(self.bytes)
    }

    /// What it means as an answer to a request with `method`; `upgrade` says if that asked for a WebSocket.
    ///
    /// # Errors
    /// Whatever two readers could understand differently, and a 101 that was not asked for.
    pub fn check(&self, method: Method, upgrade: bool) -> Result<Response, Malformed> {
        let status = self.status();
        let mut lengths = Lengths::default();
        let mut options = Options::default();
        let mut upgraded = false;
        let mut private = false;
        for field in self.fields() {
            match field.id {
                Name::ContentLength => lengths.content_length(field.value)?,
                Name::TransferEncoding => lengths.transfer_encoding(field.value)?,
                Name::Connection => options.add(field.value)?,
                Name::Upgrade => upgraded |= headers::has_token(field.value, b"websocket"),
                Name::WwwAuthenticate | Name::ProxyAuthenticate => {
                    private |= headers::authenticates_connection(field.value);
                }
                _ => {}
            }
        }
        if status == 101 && !(upgrade && upgraded && options.upgrade) {
            return Err(Malformed::SwitchingProtocols);
        }
        let framing = lengths.of_response(self.line.version)?;
        // RFC 9112 §6.3: whatever the fields say.
        let framing = match status {
            100..=199 | 204 | 304 => Framing::None,
            _ if method == Method::Head => Framing::None,
            _ => framing,
        };
        let persistent = match self.line.version {
            Version::Http11 | Version::Http2 => !options.close,
            Version::Http10 => options.keep_alive && !options.close,
        };
        Ok(Response {
            length: self.length,
            status,
            framing,
            announced: lengths.announced(),
            persistent: persistent && framing != Framing::UntilClose,
            private,
        })
    }

    /// Writes the head that the client gets, in lines. `response` is what [`Self::check`] made of this head.
    pub fn encode(&self, response: &Response, hop: &Hop, out: &mut impl Sink) {
        self.put(response, hop, &mut Lines(out));
    }

    /// The same in whatever form.
    pub(crate) fn put(&self, response: &Response, hop: &Hop, form: &mut impl Form) {
        let named = Options::named(self.fields());
        put(self.reason(), self.fields(), |field| named.has(field), response, hop, form);
    }

    /// The bytes it came from, its field lines, its status, and where its reason phrase is.
    pub(crate) fn into_parts(self) -> (&'b [u8], &'b mut Fields, u16, Span) {
        (self.bytes, self.fields, self.line.status, self.line.reason)
    }
}

/// Puts a response's head down for a client; without the fields that are `named` by Connection.
pub(crate) fn put<'b>(
    reason: &[u8],
    fields: impl Iterator<Item = Field<'b>>,
    named: impl Fn(&Field<'_>) -> bool,
    response: &Response,
    hop: &Hop,
    form: &mut impl Form,
) {
    form.begin(response.status, reason);
    for field in fields {
        if field.id == Name::ContentLength || field.id.is_hop_by_hop() || named(&field) {
            continue;
        }
        form.field(&field);
    }
    form.end(response, hop);
}

/// As what a head is written.
pub(crate) trait Form {
    /// Its start.
    fn begin(&mut self, status: u16, reason: &[u8]);

    /// A field that is the server's.
    fn field(&mut self, field: &Field<'_>);

    /// What this hop has to say, and the end.
    fn end(&mut self, response: &Response, hop: &Hop);
}

/// Lines of HTTP/1.1.
pub(crate) struct Lines<'o, O>(pub(crate) &'o mut O);

impl<O: Sink> Form for Lines<'_, O> {
    fn begin(&mut self, status: u16, reason: &[u8]) {
        self.0.put(b"HTTP/1.1 ");
        headers::put_number(status.into(), self.0);
        self.0.put(b" ");
        self.0.put(reason);
        self.0.put(b"\r\n");
    }

    fn field(&mut self, field: &Field<'_>) {
        headers::put_field(field, self.0);
    }

    fn end(&mut self, response: &Response, hop: &Hop) {
        match (response.status, response.told_length(hop.framing)) {
            (101, _) => self.0.put(b"Connection: upgrade\r\nUpgrade: websocket\r\n"),
            (100..=199 | 204, _) => {}
            (_, Some(length)) => headers::put_content_length(length, self.0),
            (_, None) => headers::put_framing(hop.framing, self.0),
        }
        if hop.close && response.status >= 200 {
            self.0.put(b"Connection: close\r\n");
        }
        self.0.put(b"\r\n");
    }
}

impl Response {
    /// What Content-Length says to the client, where content is framed so towards it.
    pub(crate) fn told_length(&self, framing: Framing) -> Option<u64> {
        match (self.status, framing) {
            // RFC 9110 §8.6: never with these.
            (100..=199 | 204, _) => None,
            (_, Framing::None) => self.announced,
            (_, Framing::Length(length)) => Some(length),
            (_, Framing::Chunked | Framing::UntilClose) => None,
        }
    }
}
