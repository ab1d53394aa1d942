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
        let is = |known: &str| is_name(name, known.as_bytes());
        // Length and first letter leave one or two to compare with.
        let first = name.first().map_or(0, u8::to_ascii_lowercase);
        match (name.len(), first) {
            (2, b't') if is("te") => Self::Te,
            (3, b'a' | b'v') if is("age") || is("via") => Self::ContentDescription,
            (4, b'd' | b'v') if is("date") || is("vary") => Self::ContentDescription,
            (4, b'h') if is("host") => Self::Host,
            (6, b'c') if is("cookie") => Self::Cookie,
            (6, b'e') if is("expect") => Self::Expect,
            (6, b'p') if is("pragma") => Self::ContentDescription,
            (7, b'e' | b'w') if is("expires") || is("warning") => Self::ContentDescription,
            (7, b't') if is("trailer") => Self::Trailer,
            (7, b'u') if is("upgrade") => Self::Upgrade,
            (8, b'l') if is("location") => Self::ContentDescription,
            (9, b'f') if is("forwarded") => Self::Forwarded,
            (10, b'c') if is("connection") => Self::Connection,
            (10, b'k') if is("keep-alive") => Self::KeepAlive,
            (10, b's') if is("set-cookie") => Self::SetCookie,
            (11, b'r') if is("retry-after") => Self::ContentDescription,
            (12, b'c' | b'm') if is("content-type") || is("max-forwards") => Self::ContentDescription,
            (13, b'a') if is("authorization") => Self::Authorization,
            (13, b'c') if is("cache-control") || is("content-range") => Self::ContentDescription,
            (14, b'c') if is("content-length") => Self::ContentLength,
            (14, b'h') if is("http2-settings") => Self::Http2Settings,
            (16, b'c') if is("content-encoding") => Self::ContentDescription,
            (16, b'p') if is("proxy-connection") => Self::ProxyConnection,
            (16, b'w') if is("www-authenticate") => Self::WwwAuthenticate,
            (17, b's') if is("sec-websocket-key") => Self::SecWebSocketKey,
            (17, b't') if is("transfer-encoding") => Self::TransferEncoding,
            (18, b'p') if is("proxy-authenticate") => Self::ProxyAuthenticate,
            (19, b'p') if is("proxy-authorization") => Self::ProxyAuthorization,
            (12.., b'x') if is_name(&name[..12], b"x-forwarded-") => Self::XForwarded,
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

/// Is `name`, in letters of either case, `known`, which has small letters, digits and hyphens alone? Eight bytes at a time; the
/// last eight overlap those before them.
#[inline]
pub(crate) fn is_name(name: &[u8], known: &[u8]) -> bool {
    const WORD: usize = size_of::<u64>();
    /// The bit of letters, of which the next lower one is that of their case.
    const LETTERS: u64 = u64::from_ne_bytes([0x40; WORD]);
    let differ = |name: &[u8; WORD], known: &[u8; WORD]| {
        let (name, known) = (u64::from_ne_bytes(*name), u64::from_ne_bytes(*known));
        (name ^ known) & !((known & LETTERS) >> 1)
    };
    if name.len() != known.len() {
        return false;
    }
    match (name.last_chunk(), known.last_chunk()) {
        (Some(last), Some(known_last)) => {
            let (words, _) = name.as_chunks();
            let (known_words, _) = known.as_chunks();
            let words = words.iter().zip(known_words).fold(0, |all, (word, known)| all | differ(word, known));
            words | differ(last, known_last) == 0
        }
        _ => name.eq_ignore_ascii_case(known),
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, is_name};

    #[test]
    fn names_are_compared_in_letters_of_either_case_and_bit_by_bit_else() {
        let all = b"x-sec-2-abcdefghijklmnopqrstuvwxyz-0123456789";
        for length in 0..all.len() {
            let known = &all[..length];
            assert!(is_name(known, known) && is_name(&known.to_ascii_uppercase(), known));
            assert!(!is_name(&all[..length + 1], known));
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut name = known.to_vec();
                    name[at] = byte;
                    assert_eq!(is_name(&name, known), byte.eq_ignore_ascii_case(&known[at]), "{name:?}");
                }
            }
        }
    }

    #[test]
    fn every_name_is_known_in_letters_of_either_case_and_no_other_is() {
        let known = [
            (Name::Authorization, "authorization"),
            (Name::Connection, "connection"),
            (Name::ContentLength, "content-length"),
            (Name::Cookie, "cookie"),
            (Name::Expect, "expect"),
            (Name::Forwarded, "forwarded"),
            (Name::Host, "host"),
            (Name::Http2Settings, "http2-settings"),
            (Name::KeepAlive, "keep-alive"),
            (Name::ProxyAuthenticate, "proxy-authenticate"),
            (Name::ProxyAuthorization, "proxy-authorization"),
            (Name::ProxyConnection, "proxy-connection"),
            (Name::SecWebSocketKey, "sec-websocket-key"),
            (Name::SetCookie, "set-cookie"),
            (Name::Te, "te"),
            (Name::Trailer, "trailer"),
            (Name::TransferEncoding, "transfer-encoding"),
            (Name::Upgrade, "upgrade"),
            (Name::WwwAuthenticate, "www-authenticate"),
            (Name::XForwarded, "x-forwarded-for"),
            (Name::XForwarded, "x-forwarded-"),
        ];
        let descriptions = "age cache-control content-encoding content-range content-type date expires location max-forwards \
                            pragma retry-after vary via warning";
        let descriptions = descriptions.split_whitespace().map(|name| (Name::ContentDescription, name));
        for (id, name) in known.into_iter().chain(descriptions) {
            for written in [name.to_owned(), name.to_uppercase()] {
                assert_eq!(Name::of(written.as_bytes()), id, "{written}");
            }
            assert_ne!(Name::of(&name.as_bytes()[1..]), id, "{name} without its first letter");
            if id != Name::XForwarded {
                assert_eq!(
                    Name::of(format!("{name}x").as_bytes()),
                    Name::Other,
                    "{name} and one letter more"
                );
            }
            let changed = name.replacen(&name[name.len() - 1..], "!", 1);
            assert_eq!(Name::of(changed.as_bytes()), Name::Other, "{changed}");
        }
        assert_eq!(Name::of(b""), Name::Other);
    }
}
