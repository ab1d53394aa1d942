//! Field names that mean something to a proxy. Looked up once per line, without regard to case.

/// A field that framing, routing or hop-by-hop rules look at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Name {
    /// None of the others.
    Other,
    /// `Authorization`
    Authorization,
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// What describes the content or says how it is to be handled: never taken from a trailer.
    ContentDescription,
    /// `Cookie`
    Cookie,
    /// `Expect`
    Expect,
    /// `Forwarded`
    Forwarded,
    /// `Host`
    Host,
    /// `HTTP2-Settings`
    Http2Settings,
    /// `Keep-Alive`
    KeepAlive,
    /// `Proxy-Authenticate`
    ProxyAuthenticate,
    /// `Proxy-Authorization`
    ProxyAuthorization,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `Sec-WebSocket-Key`
    SecWebSocketKey,
    /// `Set-Cookie`
    SetCookie,
    /// `TE`
    Te,
    /// `Trailer`
    Trailer,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
    /// `WWW-Authenticate`
    WwwAuthenticate,
    /// `X-Forwarded-...`
    XForwarded,
}

impl Name {
    /// Which field `name` is.
    pub fn of(name: &[u8]) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            2 if is("te") => Self::Te,
            3 if is("age") || is("via") => Self::ContentDescription,
            4 if is("host") => Self::Host,
            4 if is("date") || is("vary") => Self::ContentDescription,
            6 if is("cookie") => Self::Cookie,
            6 if is("expect") => Self::Expect,
            6 if is("pragma") => Self::ContentDescription,
            7 if is("trailer") => Self::Trailer,
            7 if is("upgrade") => Self::Upgrade,
            7 if is("expires") || is("warning") => Self::ContentDescription,
            8 if is("location") => Self::ContentDescription,
            9 if is("forwarded") => Self::Forwarded,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::KeepAlive,
            10 if is("set-cookie") => Self::SetCookie,
            11 if is("retry-after") => Self::ContentDescription,
            12 if is("content-type") || is("max-forwards") => Self::ContentDescription,
            13 if is("authorization") => Self::Authorization,
            13 if is("cache-control") || is("content-range") => Self::ContentDescription,
            14 if is("content-length") => Self::ContentLength,
            14 if is("http2-settings") => Self::Http2Settings,
            16 if is("proxy-connection") => Self::ProxyConnection,
            16 if is("www-authenticate") => Self::WwwAuthenticate,
            16 if is("content-encoding") => Self::ContentDescription,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            17 if is("sec-websocket-key") => Self::SecWebSocketKey,
            18 if is("proxy-authenticate") => Self::ProxyAuthenticate,
            19 if is("proxy-authorization") => Self::ProxyAuthorization,
            12.. if name[..12].eq_ignore_ascii_case(b"x-forwarded-") => Self::XForwarded,
            _ => Self::Other,
        }
    }

    /// RFC 9110 §7.6.1: is it about one connection alone, so that it ends here?
    pub fn is_hop_by_hop(self) -> bool {
        match self {
            Self::Connection
            | Self::Http2Settings
            | Self::KeepAlive
            | Self::ProxyConnection
            | Self::Te
            | Self::Trailer
            | Self::TransferEncoding
            | Self::Upgrade => true,
            Self::Other
            | Self::Authorization
            | Self::ContentLength
            | Self::ContentDescription
            | Self::Cookie
            | Self::Expect
            | Self::Forwarded
            | Self::Host
            | Self::ProxyAuthenticate
            | Self::ProxyAuthorization
            | Self::SecWebSocketKey
            | Self::SetCookie
            | Self::WwwAuthenticate
            | Self::XForwarded => false,
        }
    }

    /// May `Connection` name it to have it removed? Not if a server relies on it to know who is asking, for what, or
    /// how long the content is: a client could strip it that way.
    pub fn is_protected(self) -> bool {
        matches!(
            self,
            Self::Authorization
                | Self::ContentLength
                | Self::ContentDescription
                | Self::Cookie
                | Self::Expect
                | Self::Forwarded
                | Self::Host
                | Self::ProxyAuthorization
                | Self::SecWebSocketKey
                | Self::SetCookie
                | Self::TransferEncoding
                | Self::XForwarded
        )
    }

    /// RFC 9110 §6.5.1: may it be in a trailer section that is passed on?
    pub fn is_allowed_in_trailer(self) -> bool {
        matches!(self, Self::Other)
    }
}
