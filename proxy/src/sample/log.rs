//! What only a line in a log can say: `log...`, and templates whose parts are computed at several moments.
//!
//! ```text
//! head of the request ── rules ── head of the response ── its rules ── end of the exchange
//!         │                │               │                  │              │
//!         └── keep ────────┴───── keep ────┴──── keep ────────┘              └──> render_line
//! ```
//! When a line is written, the request and the response are gone. So what a template says of them is computed while they
//! are there, and kept.

mod words;

pub use self::words::{LOG_WORDS, LogWord};

use super::{
    Facts, Template,
    escape::{Escaped, numbered},
    expression::Expression,
    fetch::{Fetch, Value},
    function::Function,
    place::Text,
    template::Piece,
};
use crate::{hidden::is_hidden, http::headers::Sink};

/// When a part of a line is computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Moment {
    /// The head of the request is here, as the client sent it; in mode tcp: its first bytes are, if somebody asks for them.
    Request,
    /// Rules have run; again after those on the response.
    Rules,
    /// The head of the response is here, as the server sent it.
    Response,
    /// The line is written.
    End,
}

/// One fact about how it went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LogFact {
    Request,
    Frontend,
    Date,
    DateClf,
    DateGmt,
    DateIso,
    DateUnixMs,
    TimeRequest,
    TimeQueue,
    TimeConnect,
    TimeResponse,
    TimeData,
    TimeTotal,
    Status,
    ServerStatus,
    BytesSent,
    BytesReceived,
    Termination,
    CookieRequest,
    CookieResponse,
    HeadersRequest,
    HeadersResponse,
    Reason,
    ConnectionsProcess,
    ConnectionsFrontend,
    ConnectionsBackend,
    ConnectionsServer,
    Retries,
    QueueServer,
    QueueBackend,
    ServerIp,
    ServerPort,
}

/// Who knows how it went.
pub(crate) trait LogFacts {
    /// The value, if there is one.
    fn value(&self, fact: LogFact) -> Option<Value<'_>>;
}

impl LogFact {
    /// By its name in a template.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "log.request" => Self::Request,
            "log.frontend" => Self::Frontend,
            "log.date" => Self::Date,
            "log.date.clf" => Self::DateClf,
            "log.date.gmt" => Self::DateGmt,
            "log.date.iso" => Self::DateIso,
            "log.date.unix_ms" => Self::DateUnixMs,
            "log.time.request" => Self::TimeRequest,
            "log.time.queue" => Self::TimeQueue,
            "log.time.connect" => Self::TimeConnect,
            "log.time.response" => Self::TimeResponse,
            "log.time.data" => Self::TimeData,
            "log.time.total" => Self::TimeTotal,
            "log.status" => Self::Status,
            "log.server.status" => Self::ServerStatus,
            "log.bytes.sent" => Self::BytesSent,
            "log.bytes.received" => Self::BytesReceived,
            "log.termination" => Self::Termination,
            "log.reason" => Self::Reason,
            "log.cookie.request" => Self::CookieRequest,
            "log.cookie.response" => Self::CookieResponse,
            "log.headers.request" => Self::HeadersRequest,
            "log.headers.response" => Self::HeadersResponse,
            "log.connections.process" => Self::ConnectionsProcess,
            "log.connections.frontend" => Self::ConnectionsFrontend,
            "log.connections.backend" => Self::ConnectionsBackend,
            "log.connections.server" => Self::ConnectionsServer,
            "log.retries" => Self::Retries,
            "log.queue.server" => Self::QueueServer,
            "log.queue.backend" => Self::QueueBackend,
            "log.server.ip" => Self::ServerIp,
            "log.server.port" => Self::ServerPort,
            _ => return None,
        })
    }
}

impl Fetch {
    /// When it can be computed for a line.
    fn moment(&self) -> Moment {
        match self {
            Self::ClientHelloSni
            | Self::ClientHelloAlpn
            | Self::ClientHelloVersion
            | Self::RequestMethod
            | Self::RequestPath
            | Self::RequestQuery
            | Self::RequestTarget
            | Self::RequestHost
            | Self::RequestAuthority
            | Self::RequestVersion
            | Self::RequestBase
            | Self::RequestHeaderLines(_)
            | Self::RequestHeaderCount(_)
            | Self::RequestHeaderValue(_)
            | Self::RequestHeader(_)
            | Self::RequestParameter(_)
            | Self::RequestCookie(_) => Moment::Request,
            Self::Variable(_) => Moment::Rules,
            Self::ResponseHeader(_) => Moment::Response,
            Self::ClientIp
            | Self::ClientPort
            | Self::PeerIp
            | Self::LocalIp
            | Self::LocalPort
            | Self::TlsServerName
            | Self::TlsVersion
            | Self::TlsCipher
            | Self::TlsResumed
            | Self::TlsClientUsed
            | Self::TlsClientSubject
            | Self::TlsClientName
            | Self::TlsClientIssuer
            | Self::TlsClientSerial
            | Self::TlsClientSha1
            | Self::TlsClientSha256
            | Self::ProxyHeader(_)
            | Self::RequestScheme
            | Self::FrontendName
            | Self::BackendName
            | Self::ServerName
            | Self::NodeName
            | Self::Hostname
            | Self::Pid
            | Self::TimeIso
            | Self::TimeHttp
            | Self::TimeUnix
            | Self::TimeUnixMs
            | Self::Uuid
            | Self::Random
            | Self::ResponseStatus
            | Self::Log(_) => Moment::End,
        }
    }

    /// It has its escapes already.
    fn is_encoded(&self) -> bool {
        matches!(self, Self::Log(LogFact::HeadersRequest | LogFact::HeadersResponse))
    }
}

impl Template {
    fn expressions(&self) -> impl Iterator<Item = (usize, &Expression)> {
        self.pieces.iter().enumerate().filter_map(|(index, piece)| match piece {
            Piece::Expression(expression) => Some((index, expression)),
            Piece::Literal(_) => None,
        })
    }

    /// Has it something to keep at that moment?
    pub(crate) fn keeps_at(&self, moment: Moment) -> bool {
        self.expressions().any(|(_, expression)| expression.fetch.moment() == moment)
    }

    /// Does it say this?
    pub(crate) fn says(&self, facts: &[LogFact]) -> bool {
        self.expressions()
            .any(|(_, expression)| matches!(expression.fetch, Fetch::Log(fact) if facts.contains(&fact)))
    }

    /// Calls `keep` with the number and the value of each part that is computed at that moment.
    pub(crate) fn keep(&self, moment: Moment, facts: &Facts<'_>, mut keep: impl FnMut(usize, Option<&[u8]>)) {
        let due = self.expressions().filter(|(_, expression)| expression.fetch.moment() == moment);
        for (index, expression) in due {
            expression.with(facts, |value| keep(index, value));
        }
    }

    /// Writes a line; `kept` gives what was kept of a part. A value that is empty or not there is `-`, unless a function at
    /// its end says what it is then.
    pub(crate) fn render_line<'k>(
        &self,
        facts: &Facts<'_>,
        kept: impl Fn(usize) -> Option<&'k [u8]>,
        out: &mut Vec<u8>,
    ) {
        for (index, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(text) => out.put(text),
                Piece::Expression(part) => match kept(index) {
                    Some(value) => put(part, Some(value), out),
                    // Its moment is now, or has never come: then its functions have the word.
                    None => part.with(facts, |value| put(part, value, out)),
                },
            }
        }
    }
}

fn put(part: &Expression, value: Option<&[u8]>, out: &mut Vec<u8>) {
    let (value, last) = (value.unwrap_or_default(), part.functions.last());
    // What stands in for nothing has no say in how something is written.
    let shape = part.functions.iter().rev().find(|function| !matches!(function, Function::Default(_)));
    // What `json` makes is for between quotes, and has no byte that could end them.
    let is_json = matches!(shape, Some(Function::JsonOfLog));
    if value.is_empty() && !is_json && !matches!(last, Some(Function::Default(_))) {
        out.put(b"-");
    } else if is_json || (shape.is_none() && part.fetch.is_encoded()) {
        out.put(value);
    } else if matches!(shape, Some(Function::Raw)) {
        put_raw(value, out);
    } else {
        Escaped::new(out, Text::Log).value(value, None);
    }
}

/// As it is, but for what ends a line or what a terminal obeys.
fn put_raw(value: &[u8], out: &mut Vec<u8>) {
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).as_bytes();
            if is_hidden(character) {
                bytes.iter().for_each(|&byte| out.put(&numbered(byte)));
            } else {
                out.put(bytes);
            }
        }
        for &byte in chunk.invalid() {
            // The second half of control characters in ISO 8859-1.
            if byte < 0xa0 { out.put(&numbered(byte)) } else { out.push(byte) }
        }
    }
}
