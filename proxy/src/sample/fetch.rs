//! Placeholders: what stands between braces before the first function.

use std::net::IpAddr;

use super::{
    Facts, VariableId,
    function::Function,
    log::LogFact,
    place::{Place, Stage, Text},
    template::Repeated,
    text::ShortText,
    time,
};
use crate::{
    http::{headers::put_address, query, values::Values},
    proxy_protocol::Extensions,
};

/// What the header of a proxy in front says besides addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeaderFact {
    Authority,
    UniqueId,
    Alpn,
    Tls,
    TlsVersion,
    TlsCipher,
    ClientVerified,
    ClientName,
}

impl HeaderFact {
    fn value(self, header: &Extensions) -> Option<Value<'_>> {
        let flag = |flag: bool| Some(Value::Short(ShortText::display(u8::from(flag))));
        let tls = header.tls.as_ref();
        let text = match self {
            Self::Authority => header.authority.as_deref(),
            Self::UniqueId => header.unique_id.as_deref(),
            Self::Alpn => header.alpn.as_deref(),
            Self::Tls => return flag(tls?.is_spoken),
            Self::TlsVersion => tls?.version.as_deref(),
            Self::TlsCipher => tls?.cipher.as_deref(),
            Self::ClientVerified => return flag(tls?.is_verified),
            Self::ClientName => tls?.name.as_deref(),
        };
        text.map(Value::Borrowed)
    }
}

/// One fact, of which [`Facts`] gives the value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Fetch {
    ClientIp,
    ClientPort,
    PeerIp,
    LocalIp,
    LocalPort,
    TlsServerName,
    TlsVersion,
    TlsCipher,
    TlsResumed,
    TlsClientUsed,
    TlsClientSubject,
    TlsClientName,
    TlsClientIssuer,
    TlsClientSerial,
    TlsClientSha1,
    TlsClientSha256,
    ProxyHeader(HeaderFact),
    FrontendName,
    BackendName,
    ServerName,
    NodeName,
    Hostname,
    Pid,
    TimeIso,
    TimeHttp,
    TimeUnix,
    TimeUnixMs,
    Uuid,
    Random,
    ClientHelloSni,
    ClientHelloAlpn,
    ClientHelloVersion,
    RequestMethod,
    RequestPath,
    RequestQuery,
    RequestTarget,
    RequestHost,
    RequestAuthority,
    RequestVersion,
    RequestScheme,
    /// Host and path, which [`super::Expression`] puts together.
    RequestBase,
    /// How many lines of that name there are.
    RequestHeaderLines(Box<[u8]>),
    /// How many values these have.
    RequestHeaderCount(Box<[u8]>),
    /// One of these.
    RequestHeaderValue(Box<[u8]>),
    RequestHeader(Box<[u8]>),
    RequestParameter(Box<[u8]>),
    RequestCookie(Box<[u8]>),
    ResponseStatus,
    ResponseHeader(Box<[u8]>),
    Variable(VariableId),
    Log(LogFact),
}

/// Where a placeholder begins to exist; it does so everywhere after.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Since {
    /// Everywhere.
    Connection,
    /// In rules and logs of tcp frontends.
    ClientHello,
    /// From the head of a request on.
    Request,
    /// In rules on requests.
    Head,
    /// From the choice of the backend on: rules of a backend, and everything about a response.
    Backend,
    /// Where a response is worked on, and in logs.
    Server,
    /// Where a response is worked on, and in the logs of http frontends.
    Response,
    /// In logs alone.
    Log,
}

/// A row of the documented table.
#[derive(Clone, Copy, Debug)]
pub struct Placeholder {
    /// `request.header.NAME`
    pub name: &'static str,
    /// What kind of text it is.
    pub kind: &'static str,
    /// Where it exists.
    pub since: Since,
    /// HAProxy's name for it; `-` if it has none.
    pub haproxy: &'static str,
}

const fn row(name: &'static str, kind: &'static str, since: Since, haproxy: &'static str) -> Placeholder {
    Placeholder { name, kind, since, haproxy }
}

/// All placeholders, in the order of docs/templates.md.
pub const PLACEHOLDERS: &[Placeholder] = &[
    row("client.ip", "address", Since::Connection, "src"),
    row("client.port", "number", Since::Connection, "src_port"),
    row("peer.ip", "address", Since::Connection, "fc_src"),
    row("local.ip", "address", Since::Connection, "dst"),
    row("local.port", "number", Since::Connection, "dst_port"),
    row("tls.sni", "text", Since::Connection, "ssl_fc_sni"),
    row("tls.version", "text", Since::Connection, "ssl_fc_protocol"),
    row("tls.cipher", "text", Since::Connection, "ssl_fc_cipher"),
    row("tls.resumed", "number", Since::Connection, "ssl_fc_is_resumed"),
    row("tls.client.used", "number", Since::Connection, "ssl_c_used"),
    row("tls.client.subject", "text", Since::Connection, "ssl_c_s_dn"),
    row("tls.client.name", "text", Since::Connection, "ssl_c_s_dn(cn)"),
    row("tls.client.issuer", "text", Since::Connection, "ssl_c_i_dn"),
    row("tls.client.serial", "text", Since::Connection, "ssl_c_serial,hex"),
    row("tls.client.sha1", "text", Since::Connection, "ssl_c_sha1,hex"),
    row("tls.client.sha256", "text", Since::Connection, "ssl_c_der,sha2(256),hex"),
    row("proxy_header.authority", "text", Since::Connection, "fc_pp_authority"),
    row("proxy_header.unique_id", "text", Since::Connection, "fc_pp_unique_id"),
    row("proxy_header.alpn", "text", Since::Connection, "fc_pp_tlv(0x01)"),
    row("proxy_header.tls", "number", Since::Connection, "-"),
    row("proxy_header.tls.version", "text", Since::Connection, "-"),
    row("proxy_header.tls.cipher", "text", Since::Connection, "-"),
    row("proxy_header.tls.client.verified", "number", Since::Connection, "-"),
    row("proxy_header.tls.client.name", "text", Since::Connection, "-"),
    row("frontend.name", "text", Since::Connection, "fe_name"),
    row("node.name", "text", Since::Connection, "-"),
    row("hostname", "text", Since::Connection, "hostname"),
    row("pid", "number", Since::Connection, "pid"),
    row("time.iso", "text", Since::Connection, "date(0,ms),ms_utime"),
    row("time.http", "text", Since::Connection, "date,http_date"),
    row("time.unix", "number", Since::Connection, "date"),
    row("time.unix_ms", "number", Since::Connection, "date(0,ms)"),
    row("uuid", "text", Since::Connection, "uuid"),
    row("random", "number", Since::Connection, "rand"),
    row("client_hello.sni", "text", Since::ClientHello, "req.ssl_sni"),
    row("client_hello.alpn", "text", Since::ClientHello, "req.ssl_alpn"),
    row("client_hello.version", "text", Since::ClientHello, "-"),
    row("request.id", "text", Since::Request, "unique-id"),
    row("request.user", "text", Since::Request, "http_auth_user"),
    row("request.method", "text", Since::Request, "method"),
    row("request.path", "text", Since::Request, "path"),
    row("request.query", "text", Since::Request, "query"),
    row("request.target", "text", Since::Request, "pathq"),
    row("request.host", "text", Since::Request, "req.hdr(host),host_only,lower"),
    row("request.authority", "text", Since::Request, "req.hdr(host)"),
    row("request.version", "text", Since::Request, "req.ver"),
    row("request.scheme", "text", Since::Request, "ssl_fc,iif(https,http)"),
    row("request.base", "text", Since::Request, "base"),
    row("request.header_count.NAME", "number", Since::Head, "req.hdr_cnt(NAME)"),
    row("request.header_lines.NAME", "number", Since::Head, "req.fhdr_cnt(NAME)"),
    row("request.header_value.NAME", "text", Since::Head, "req.hdr(NAME)"),
    row("request.header.NAME", "text", Since::Request, "req.fhdr(NAME)"),
    row("request.query.NAME", "text", Since::Request, "url_param(NAME)"),
    row("request.cookie.NAME", "text", Since::Request, "req.cook(NAME)"),
    row("backend.name", "text", Since::Backend, "be_name"),
    row("server.name", "text", Since::Server, "srv_name"),
    row("response.status", "number", Since::Response, "status"),
    row("response.header.NAME", "text", Since::Response, "res.fhdr(NAME)"),
    row("var.NAME", "text", Since::Connection, "var(txn.NAME)"),
    row("log.request", "text", Since::Log, "%r"),
    row("log.frontend", "text", Since::Log, "%ft"),
    row("log.date", "text", Since::Log, "%tr"),
    row("log.date.clf", "text", Since::Log, "%trl"),
    row("log.date.gmt", "text", Since::Log, "%trg"),
    row("log.date.iso", "text", Since::Log, "-"),
    row("log.date.unix_ms", "number", Since::Log, "%Ts%ms"),
    row("log.time.request", "number", Since::Log, "%TR"),
    row("log.time.queue", "number", Since::Log, "%Tw"),
    row("log.time.connect", "number", Since::Log, "%Tc"),
    row("log.time.response", "number", Since::Log, "%Tr"),
    row("log.time.data", "number", Since::Log, "%Td"),
    row("log.time.total", "number", Since::Log, "%Ta"),
    row("log.status", "number", Since::Log, "%ST"),
    row("log.bytes.sent", "number", Since::Log, "%B"),
    row("log.bytes.received", "number", Since::Log, "%U"),
    row("log.termination", "text", Since::Log, "%tsc"),
    row("log.reason", "text", Since::Log, "-"),
    row("log.cookie.request", "text", Since::Log, "%CC"),
    row("log.cookie.response", "text", Since::Log, "%CS"),
    row("log.headers.request", "text", Since::Log, "%hr"),
    row("log.headers.response", "text", Since::Log, "%hs"),
    row("log.connections.process", "number", Since::Log, "%ac"),
    row("log.connections.frontend", "number", Since::Log, "%fc"),
    row("log.connections.backend", "number", Since::Log, "%bc"),
    row("log.connections.server", "number", Since::Log, "%sc"),
    row("log.retries", "text", Since::Log, "%rc"),
    row("log.queue.server", "number", Since::Log, "%sq"),
    row("log.queue.backend", "number", Since::Log, "%bq"),
    row("log.server.ip", "address", Since::Log, "%si"),
    row("log.server.port", "number", Since::Log, "%sp"),
    row("log.server.status", "number", Since::Log, "-"),
];

impl Since {
    pub(super) fn exists(self, place: &Place<'_>) -> bool {
        match self {
            Self::Connection => true,
            Self::ClientHello => place.stage == Stage::Connection,
            Self::Request => place.stage >= Stage::Request,
            Self::Head => place.stage == Stage::Request && place.text != Text::Log,
            Self::Backend => place.backend || place.stage == Stage::Response,
            Self::Server => place.stage == Stage::Response || place.text == Text::Log,
            Self::Response => place.stage == Stage::Response,
            Self::Log => place.text == Text::Log,
        }
    }
}

impl Placeholder {
    /// The row that `name` is, with what stands for `NAME` in it.
    pub(super) fn find(name: &str) -> Option<(&'static Self, &str)> {
        PLACEHOLDERS.iter().find_map(|row| {
            let argument = match row.name.strip_suffix("NAME") {
                Some(prefix) => name.strip_prefix(prefix).filter(|argument| !argument.is_empty())?,
                None => (row.name == name).then_some("")?,
            };
            Some((row, argument))
        })
    }
}

impl Fetch {
    /// `row` and `argument` are what [`Placeholder::find`] found; variables are not among them.
    pub(super) fn new(row: &Placeholder, argument: &str) -> Option<Self> {
        let argument = || Box::from(argument.as_bytes());
        Some(match row.name {
            "client.ip" => Self::ClientIp,
            "client.port" => Self::ClientPort,
            "peer.ip" => Self::PeerIp,
            "local.ip" => Self::LocalIp,
            "local.port" => Self::LocalPort,
            "tls.sni" => Self::TlsServerName,
            "tls.version" => Self::TlsVersion,
            "tls.cipher" => Self::TlsCipher,
            "tls.resumed" => Self::TlsResumed,
            "tls.client.used" => Self::TlsClientUsed,
            "tls.client.subject" => Self::TlsClientSubject,
            "tls.client.name" => Self::TlsClientName,
            "tls.client.issuer" => Self::TlsClientIssuer,
            "tls.client.serial" => Self::TlsClientSerial,
            "tls.client.sha1" => Self::TlsClientSha1,
            "tls.client.sha256" => Self::TlsClientSha256,
            "proxy_header.authority" => Self::ProxyHeader(HeaderFact::Authority),
            "proxy_header.unique_id" => Self::ProxyHeader(HeaderFact::UniqueId),
            "proxy_header.alpn" => Self::ProxyHeader(HeaderFact::Alpn),
            "proxy_header.tls" => Self::ProxyHeader(HeaderFact::Tls),
            "proxy_header.tls.version" => Self::ProxyHeader(HeaderFact::TlsVersion),
            "proxy_header.tls.cipher" => Self::ProxyHeader(HeaderFact::TlsCipher),
            "proxy_header.tls.client.verified" => Self::ProxyHeader(HeaderFact::ClientVerified),
            "proxy_header.tls.client.name" => Self::ProxyHeader(HeaderFact::ClientName),
            "frontend.name" => Self::FrontendName,
            "backend.name" => Self::BackendName,
            "server.name" => Self::ServerName,
            "node.name" => Self::NodeName,
            "hostname" => Self::Hostname,
            "pid" => Self::Pid,
            "time.iso" => Self::TimeIso,
            "time.http" => Self::TimeHttp,
            "time.unix" => Self::TimeUnix,
            "time.unix_ms" => Self::TimeUnixMs,
            "uuid" => Self::Uuid,
            "random" => Self::Random,
            "client_hello.sni" => Self::ClientHelloSni,
            "client_hello.alpn" => Self::ClientHelloAlpn,
            "client_hello.version" => Self::ClientHelloVersion,
            "request.id" => Self::Variable(VariableId::REQUEST_ID),
            "request.user" => Self::Variable(VariableId::REQUEST_USER),
            "request.method" => Self::RequestMethod,
            "request.path" => Self::RequestPath,
            "request.query" => Self::RequestQuery,
            "request.target" => Self::RequestTarget,
            "request.host" => Self::RequestHost,
            "request.authority" => Self::RequestAuthority,
            "request.version" => Self::RequestVersion,
            "request.scheme" => Self::RequestScheme,
            "request.base" => Self::RequestBase,
            "request.header_count.NAME" => Self::RequestHeaderCount(argument()),
            "request.header_value.NAME" => Self::RequestHeaderValue(argument()),
            "request.header_lines.NAME" => Self::RequestHeaderLines(argument()),
            "request.header.NAME" => Self::RequestHeader(argument()),
            "request.query.NAME" => Self::RequestParameter(argument()),
            "request.cookie.NAME" => Self::RequestCookie(argument()),
            "response.status" => Self::ResponseStatus,
            "response.header.NAME" => Self::ResponseHeader(argument()),
            name => Self::Log(LogFact::named(name)?),
        })
    }

    /// What undoes that it can be spelled in many ways.
    pub(super) fn spelling(&self) -> Option<Function> {
        match self {
            Self::RequestParameter(_) => Some(Function::Decode),
            // Not every server undoes as much; at worst two of its values count as one here.
            Self::RequestCookie(_) => Some(Function::DecodeCookie),
            _ => None,
        }
    }

    /// Is it how the client begins TLS?
    pub(super) fn is_of_client_hello(&self) -> bool {
        matches!(self, Self::ClientHelloSni | Self::ClientHelloAlpn | Self::ClientHelloVersion)
    }

    /// What several may be there of.
    pub(super) fn repeated(&self) -> Option<Repeated> {
        match self {
            Self::RequestHeader(name) => Some(Repeated::Field(name.clone())),
            Self::RequestParameter(name) => Some(Repeated::Parameter(name.clone())),
            Self::RequestCookie(name) => Some(Repeated::Cookie(name.clone())),
            _ => None,
        }
    }

    /// Shows `look` one after the other, until that returns true, what a request has several of. False where there is none
    /// of it, and where it is nothing of the kind.
    pub(super) fn each(&self, facts: &Facts<'_>, look: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let Some(request) = facts.request else { return false };
        match self {
            Self::RequestParameter(name) => {
                let mut values = query::values(request.query(), name).peekable();
                let is_one = values.peek().is_some();
                values.any(look);
                is_one
            }
            Self::RequestCookie(name) => request.each_cookie(name, look),
            Self::RequestHeaderValue(name) => {
                let (mut is_one, mut is_over) = (false, false);
                request.lines(name, &mut |line| {
                    is_one = true;
                    is_over = is_over || Values::of(line).any(|place| look(&line[place]));
                });
                is_one
            }
            _ => false,
        }
    }

    /// Its value, if there is one: a header may be absent.
    pub(super) fn value<'a>(&self, facts: &Facts<'a>) -> Option<Value<'a>> {
        let number = |number: u64| Some(Value::Short(ShortText::display(number)));
        let borrowed = |bytes: &'a [u8]| Some(Value::Borrowed(bytes));
        match self {
            Self::ClientIp => facts.client.ip().map(Value::address),
            Self::ClientPort => number(facts.client.port()?.into()),
            Self::PeerIp => facts.peer.ip().map(Value::address),
            Self::LocalIp => facts.local.ip().map(Value::address),
            Self::LocalPort => number(facts.local.port()?.into()),
            Self::TlsServerName => borrowed(facts.tls?.server_name.as_ref()?.as_bytes()),
            Self::TlsVersion => borrowed(facts.tls?.version.as_bytes()),
            Self::TlsCipher => borrowed(facts.tls?.cipher.as_bytes()),
            Self::TlsResumed => number(facts.tls?.is_resumed.into()),
            Self::TlsClientUsed => number(facts.tls?.client.is_some().into()),
            Self::TlsClientSubject => borrowed(facts.tls?.client.as_ref()?.subject.as_bytes()),
            Self::TlsClientName => borrowed(facts.tls?.client.as_ref()?.name.as_ref()?.as_bytes()),
            Self::TlsClientIssuer => borrowed(facts.tls?.client.as_ref()?.issuer.as_bytes()),
            Self::TlsClientSerial => borrowed(facts.tls?.client.as_ref()?.serial.as_bytes()),
            Self::TlsClientSha1 => borrowed(facts.tls?.client.as_ref()?.sha1.as_bytes()),
            Self::TlsClientSha256 => borrowed(facts.tls?.client.as_ref()?.sha256.as_bytes()),
            Self::ProxyHeader(fact) => fact.value(facts.proxy_header?),
            Self::FrontendName => borrowed(facts.frontend.as_bytes()),
            Self::BackendName => borrowed(facts.backend?.as_bytes()),
            Self::ServerName => borrowed(facts.server?.as_bytes()),
            Self::NodeName => borrowed(facts.host.node.as_bytes()),
            Self::Hostname => borrowed(facts.host.hostname.as_bytes()),
            Self::Pid => number(std::process::id().into()),
            Self::TimeIso => Some(Value::Short(time::iso(facts.now))),
            Self::TimeHttp => Some(Value::Short(time::http(facts.now))),
            Self::TimeUnix => number(time::since_epoch(facts.now).as_secs()),
            Self::TimeUnixMs => {
                number(u64::try_from(time::since_epoch(facts.now).as_millis()).unwrap_or(u64::MAX))
            }
            Self::Uuid => Some(Value::Short(uuid(facts.scratch.random(), facts.scratch.random()))),
            Self::Random => number(facts.scratch.random() >> 32),
            Self::ClientHelloSni => {
                Some(&*facts.client_hello?.sni).filter(|sni| !sni.is_empty()).and_then(borrowed)
            }
            Self::ClientHelloAlpn => {
                Some(&*facts.client_hello?.alpn).filter(|alpn| !alpn.is_empty()).and_then(borrowed)
            }
            Self::ClientHelloVersion => borrowed(facts.client_hello?.version_name()?.as_bytes()),
            Self::RequestMethod => borrowed(facts.request?.method()),
            Self::RequestPath => borrowed(facts.request?.path()),
            Self::RequestQuery => {
                Some(facts.request?.query()).filter(|query| !query.is_empty()).and_then(borrowed)
            }
            Self::RequestTarget => borrowed(facts.request?.target()),
            Self::RequestHost => facts.request?.authority().map(host).and_then(borrowed),
            Self::RequestAuthority => facts.request?.authority().and_then(borrowed),
            Self::RequestVersion => borrowed(facts.request?.version().as_bytes()),
            Self::RequestScheme => borrowed(facts.scheme().name().as_bytes()),
            Self::RequestBase => None,
            Self::RequestHeaderLines(name) => {
                let mut lines = 0;
                facts.request?.lines(name, &mut |_| lines += 1);
                number(lines)
            }
            Self::RequestHeaderCount(name) => {
                let mut values = 0;
                facts.request?.lines(name, &mut |line| values += Values::of(line).count() as u64);
                number(values)
            }
            Self::RequestHeaderValue(name) => {
                let line = facts.request?.field(name)?;
                Values::of(line).last().and_then(|place| borrowed(&line[place]))
            }
            Self::RequestHeader(name) => facts.request?.field(name).and_then(borrowed),
            Self::RequestParameter(name) => facts.request?.parameter(name).and_then(borrowed),
            Self::RequestCookie(name) => facts.request?.cookie(name).and_then(borrowed),
            Self::ResponseStatus => match facts.response {
                Some(response) => number(response.status().into()),
                None => facts.log?.value(LogFact::Status),
            },
            Self::Log(fact) => facts.log?.value(*fact),
            Self::ResponseHeader(name) => facts.response?.field(name).and_then(borrowed),
            Self::Variable(id) => match id.scope() {
                super::Scope::Session => facts.session.value(*id).and_then(borrowed),
                super::Scope::Request | super::Scope::Response => {
                    facts.variables.value(*id).and_then(borrowed)
                }
            },
        }
    }
}

/// The value of a placeholder.
pub(crate) enum Value<'a> {
    Borrowed(&'a [u8]),
    Short(ShortText),
}

impl std::ops::Deref for Value<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Short(text) => text,
        }
    }
}

impl Value<'static> {
    pub(crate) fn address(address: IpAddr) -> Self {
        let mut text = ShortText::new();
        put_address(address, &mut text);
        Self::Short(text)
    }
}

/// The host of an authority: without port and without a dot at its end. Case is left to the parser of placeholders,
/// which adds the function `lower`.
fn host(authority: &[u8]) -> &[u8] {
    let end = match authority {
        [b'[', ..] => memchr::memchr(b']', authority).map_or(authority.len(), |at| at + 1),
        _ => memchr::memchr(b':', authority).unwrap_or(authority.len()),
    };
    let host = &authority[..end];
    host.strip_suffix(b".").unwrap_or(host)
}

/// RFC 9562 §5.4: random but for version and variant.
fn uuid(high: u64, low: u64) -> ShortText {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | (0b10 << 62);
    ShortText::display(format_args!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    ))
}
