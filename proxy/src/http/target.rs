//! Request targets and authorities (RFC 9112 §3.2, RFC 3986).

use super::{
    head::{Malformed, request::Method},
    headers::Sink,
};

/// A request target by its form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target<'b> {
    /// `/path?query`
    Origin(&'b [u8]),
    /// `http://authority/path?query`
    Absolute {
        /// `host[:port]`
        authority: &'b [u8],
        /// What follows it, maybe nothing.
        path: &'b [u8],
        /// Of its scheme.
        default_port: u16,
        /// OPTIONS of a whole server: without path and query (RFC 9112 §3.2.4).
        whole_server: bool,
    },
    /// `*`
    Asterisk,
    /// `host:port`, of CONNECT.
    Authority,
}

impl<'b> Target<'b> {
    /// `target` has been found to be [`is_uri`].
    pub(crate) fn parse(target: &'b [u8], method: Method) -> Result<Self, Malformed> {
        if method == Method::Connect {
            let port = authority_parts(target).and_then(|(_, port)| port);
            return port.map(|_| Self::Authority).ok_or(Malformed::Target);
        }
        if target.first() == Some(&b'/') {
            return Ok(Self::Origin(target));
        }
        if target == b"*" {
            return if method == Method::Options { Ok(Self::Asterisk) } else { Err(Malformed::Target) };
        }
        let (scheme, authority, path) = split_absolute(target).ok_or(Malformed::Target)?;
        let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
        if !is_authority(authority) || !(is(b"http") || is(b"https")) {
            return Err(Malformed::Target);
        }
        let default_port = if is(b"https") { 443 } else { 80 };
        let whole_server = method == Method::Options && path.is_empty();
        Ok(Self::Absolute { authority, path, default_port, whole_server })
    }

    /// Writes what an origin server gets.
    pub(crate) fn encode_origin_form(&self, out: &mut impl Sink) {
        match *self {
            Self::Origin(path) => out.put(path),
            Self::Asterisk | Self::Absolute { whole_server: true, .. } | Self::Authority => out.put(b"*"),
            Self::Absolute { path, .. } => {
                if path.first() != Some(&b'/') {
                    out.put(b"/");
                }
                out.put(path);
            }
        }
    }
}

/// Scheme, authority, and path with query (maybe nothing) of a target in absolute-form (RFC 9112 §3.2.2).
pub(crate) fn split_absolute(target: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    if target.first() == Some(&b'/') {
        return None;
    }
    let at = memchr::memmem::find(target, b"://")?;
    let rest = &target[at + 3..];
    let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    Some((&target[..at], &rest[..end], &rest[end..]))
}

/// May the bytes be in a request target at all? No control byte, white space, `#`, nor anything beyond ASCII.
pub(crate) fn is_uri(target: &[u8]) -> bool {
    !target.is_empty()
        && target.iter().fold(true, |uri, &byte| uri & (byte > b' ' && byte < 0x7f && byte != b'#'))
}

/// May it be the value of Host? A host that is not empty, maybe with a port.
pub fn is_host(value: &str) -> bool {
    is_authority(value.as_bytes())
}

/// RFC 3986 §3.2: a host that is not empty, maybe with a port, without user information.
pub(crate) fn is_authority(authority: &[u8]) -> bool {
    authority_parts(authority).is_some()
}

/// Do both name the same host and port? The scheme's own port may be left out.
pub(crate) fn is_same_authority(a: &[u8], b: &[u8], default_port: u16) -> bool {
    match (authority_parts(a), authority_parts(b)) {
        (Some((host, port)), Some((other_host, other_port))) => {
            host.eq_ignore_ascii_case(other_host)
                && port.unwrap_or(default_port) == other_port.unwrap_or(default_port)
        }
        _ => false,
    }
}

/// The host and the port (`None` also for an empty one); `None` if it is no authority.
fn authority_parts(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let end = match authority {
        [b'[', rest @ ..] => {
            let close = rest.iter().position(|&byte| byte == b']')?;
            let address = std::str::from_utf8(&rest[..close]).ok()?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            close + 2
        }
        _ => {
            let end = authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len());
            let host = &authority[..end];
            if host.is_empty() || !is_registered_name(host) {
                return None;
            }
            end
        }
    };
    let (host, port) = authority.split_at(end);
    let port = match port {
        [] | [b':'] => None,
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            let port = digits.iter().fold(0, |port, digit| port * 10 + u32::from(digit - b'0'));
            Some(u16::try_from(port).ok()?)
        }
        _ => return None,
    };
    Some((host, port))
}

/// What of RFC 3986 §3.2.2 `reg-name` can be a name or an IPv4 address: labels of letters, digits, `-` and `_`, maybe with
/// a dot at the end. With `%` or empty labels a name would have a second spelling, for rules to miss.
fn is_registered_name(host: &[u8]) -> bool {
    let is_fine = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let labels = host.strip_suffix(b".").unwrap_or(host);
    labels.split(|&byte| byte == b'.').all(|label| !label.is_empty() && label.iter().all(is_fine))
}
