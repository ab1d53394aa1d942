//! Field lines on their way through: which of them end here (RFC 9110 §7.6.1), and how the others are written.

use std::{
    io::{Cursor, Write},
    net::{IpAddr, SocketAddr},
};

use super::{
    body::Framing,
    head::{Field, MAX_FIELDS, Malformed, name::Name},
};
use crate::Endpoint;

/// Where a head is written to: takes everything.
pub trait Sink {
    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for crate::buffer::Buffer {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.push(bytes);
    }
}

/// The connection options of a message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Options {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    count: usize,
}

impl Options {
    /// Adds those of one `Connection` line.
    pub(crate) fn add(&mut self, value: &[u8]) -> Result<(), Malformed> {
        for option in list(value) {
            self.count += 1;
            // Each is compared with each field: both have the same limit.
            if self.count > MAX_FIELDS {
                return Err(Malformed::TooManyOptions);
            }
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
        Ok(())
    }

    /// The fields that `Connection` names, for removal. The lines are looked at here, once: a client decides how long
    /// they are, and how many fields there are to ask about.
    pub(crate) fn named<'b>(fields: impl Iterator<Item = Field<'b>>) -> Named<'b> {
        let lines = fields.filter(|field| field.id == Name::Connection);
        let options = lines.flat_map(|field| list(field.value)).filter(|option| {
            let is_known = Name::of(option).is_hop_by_hop() || option.eq_ignore_ascii_case(b"close");
            !is_known && !is_protected(option)
        });
        Named { options: options.collect() }
    }

    /// The same, copied; `None` if there are none, as nearly always.
    pub(crate) fn named_list<'b>(fields: impl Iterator<Item = Field<'b>>) -> Option<Vec<Vec<u8>>> {
        let Named { options } = Self::named(fields);
        (!options.is_empty()).then(|| options.into_iter().map(<[u8]>::to_vec).collect())
    }
}

/// How the names of fields begin by which proxies and what ends TLS tell those behind them who is asking, and over what.
const IDENTITIES: &[&str] = &[
    "cf-",
    "client-",
    "fastly-",
    "front-end-https",
    "remote-",
    "ssl-",
    "true-client-",
    "x-amzn-",
    "x-auth",
    "x-azure-",
    "x-client",
    "x-cluster-",
    "x-envoy-",
    "x-goog-",
    "x-host",
    "x-https",
    "x-ms-",
    "x-original-",
    "x-proto",
    "x-real-",
    "x-remote-",
    "x-request-id",
    "x-rewrite-",
    "x-scheme",
    "x-ssl",
    "x-tls",
    "x-user",
];

/// May `Connection` not name this field to have it removed? A client could strip what a proxy in front has set that way,
/// and would seem to be the proxy itself, or somebody without restrictions. RFC 9110 §7.6.1 has all others removed.
pub(crate) fn is_protected(name: &[u8]) -> bool {
    let begins = |known: &&str| {
        name.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known.as_bytes()))
    };
    Name::of(name).is_protected() || IDENTITIES.iter().any(begins)
}

/// See [`Options::named`].
pub(crate) struct Named<'b> {
    /// Those that may be removed, at most [`MAX_FIELDS`]; none, and then nothing is allocated, as nearly always.
    options: Vec<&'b [u8]>,
}

impl Named<'_> {
    /// Is `field` to be removed?
    pub(crate) fn has(&self, field: &Field<'_>) -> bool {
        self.options.iter().any(|option| option.eq_ignore_ascii_case(field.name))
    }
}

/// The members of a list (RFC 9110 §5.6.1), without empty ones.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Is `token` a member of the list, without regard to case?
pub(crate) fn has_token(value: &[u8], token: &[u8]) -> bool {
    list(value).any(|member| member.eq_ignore_ascii_case(token))
}

/// Challenges, or credentials: does a scheme of them authenticate the connection and not the request?
pub(crate) fn authenticates_connection(value: &[u8]) -> bool {
    list(value).any(|member| {
        let scheme = member.split(|&byte| byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    })
}

pub(crate) fn put_field(field: &Field<'_>, out: &mut impl Sink) {
    if let Some(line) = field.canonical {
        return out.put(line);
    }
    out.put(field.name);
    out.put(b": ");
    out.put(field.value);
    out.put(b"\r\n");
}

pub(crate) fn put_framing(framing: Framing, out: &mut impl Sink) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(length) => put_content_length(length, out),
        Framing::Chunked => out.put(b"Transfer-Encoding: chunked\r\n"),
    }
}

pub(crate) fn put_content_length(length: u64, out: &mut impl Sink) {
    out.put(b"Content-Length: ");
    put_number(length, out);
    out.put(b"\r\n");
}

/// In decimal.
pub(crate) fn put_number(mut number: u64, out: &mut impl Sink) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put(&digits[start..]);
}

/// As X-Forwarded-For has it: without brackets, an IPv4 address as such even if the socket is an IPv6 one.
pub(crate) fn put_address(address: IpAddr, out: &mut impl Sink) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.put(b".");
                }
                put_number(octet.into(), out);
            }
        }
        IpAddr::V6(address) => put_display(address, out),
    }
}

/// As Host has it; port 80 is left out. A Unix-domain socket is on this machine.
pub(crate) fn put_authority(endpoint: Endpoint, out: &mut impl Sink) {
    let Endpoint::Ip(address) = endpoint else { return out.put(b"localhost") };
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    match (address.ip(), address.port()) {
        (IpAddr::V4(ip), 80) => put_address(ip.into(), out),
        (IpAddr::V6(ip), 80) => {
            out.put(b"[");
            put_display(ip, out);
            out.put(b"]");
        }
        _ => put_display(address, out),
    }
}

fn put_display(value: impl std::fmt::Display, out: &mut impl Sink) {
    // The longest is `[v6]:65535`; without scope, since IpAddr has none and a listener's own address is not scoped.
    let mut text = Cursor::new([0; 64]);
    let fits = write!(text, "{value}").is_ok();
    debug_assert!(fits);
    let length = usize::try_from(text.position()).unwrap_or(0);
    out.put(&text.get_ref()[..length]);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::http::head::{Fields, Progress, request::Head};

    #[test]
    fn lines_of_connection_are_read_once_however_many_fields_there_are() {
        let field = "X-A: 1\r\n".repeat(90);
        let bytes = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{field}Connection: x-b{}\r\nConnection: x-a\r\n\r\n",
            ",".repeat(8000)
        );
        let mut fields = Fields::default();
        let head = Head::parse(bytes.as_bytes(), &mut Progress::default(), &mut fields).unwrap().unwrap();
        let looked_at = Cell::new(0);
        let named = Options::named(head.fields().inspect(|_| looked_at.set(looked_at.get() + 1)));
        assert_eq!(head.fields().filter(|field| named.has(field)).count(), 90);
        assert!(
            looked_at.get() <= 2 * head.fields().count(),
            "fields were looked at {} times",
            looked_at.get()
        );
    }
}
