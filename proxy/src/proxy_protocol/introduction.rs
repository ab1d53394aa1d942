//! What a server is told of the client whose bytes follow.

use std::net::{IpAddr, SocketAddr};

use super::{
    crc32c::crc32c,
    extensions::LONGEST_ID,
    v2::{
        ALPN, AUTHORITY, CLIENT_CERT_CONN, CLIENT_CERT_SESS, CLIENT_SSL, CRC32C, FIXED, LOCAL, PROXY,
        SIGNATURE, SSL, SSL_CIPHER, SSL_CN, SSL_VERSION, TCP4, TCP6, TLV, UNIQUE_ID, UNSPEC,
    },
};
use crate::{
    Endpoint,
    config::{Alpn, ProxyExtension, ProxyVersion, SendProxy},
    tls::Session,
};

/// A client, as a server gets to know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Introduction {
    /// Where it comes from.
    pub source: Endpoint,
    /// Where it wanted to go.
    pub destination: Endpoint,
    /// What its request is called by; nobody is told of an empty one.
    pub unique_id: Vec<u8>,
    /// The name that it asked for in the handshake with us.
    pub authority: Option<Box<str>>,
    /// What was agreed on to be spoken there.
    pub alpn: Option<Alpn>,
    /// What else was agreed on there; `None` without TLS.
    pub tls: Option<Secured>,
}

/// How a client speaks TLS with us.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Secured {
    /// As [`Session::version`].
    pub version: &'static str,
    /// As [`Session::cipher`].
    pub cipher: &'static str,
    /// The handshake goes on from an earlier one.
    pub is_resumed: bool,
    /// It has shown a certificate that is good: its common name, which may be missing.
    pub certificate: Option<Option<Box<str>>>,
}

impl Introduction {
    /// With what was agreed on with the client, if it speaks TLS with us, and no id.
    pub(crate) fn new(source: Endpoint, destination: Endpoint, session: Option<&Session>) -> Self {
        let authority = session.and_then(|session| session.server_name.clone());
        let alpn = session.and_then(|session| session.alpn);
        let tls = session.map(|session| Secured {
            version: session.version,
            cipher: session.cipher,
            is_resumed: session.is_resumed,
            certificate: session.client.as_ref().map(|client| client.name.clone()),
        });
        Self { source, destination, unique_id: Vec::new(), authority, alpn, tls }
    }
}

/// Bytes of the longest common name that is passed on; X.509 allows 64 characters (RFC 5280 appendix A.1).
const LONGEST_NAME: usize = 256;

/// The header by which `client` is introduced.
#[must_use]
pub fn encode(how: &SendProxy, client: &Introduction) -> Vec<u8> {
    match how.version {
        ProxyVersion::V1 => line(ends(client.source, client.destination)),
        ProxyVersion::V2 => {
            let ends = ends(client.source, client.destination);
            binary(PROXY, ends, &how.extensions, Some(client))
        }
    }
}

/// The header of a connection of our own, between these ends: version 2 says LOCAL, and version 1, which has no word for it,
/// says whose it is.
#[must_use]
pub(crate) fn encode_own(version: ProxyVersion, source: Endpoint, destination: Endpoint) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => line(ends(source, destination)),
        ProxyVersion::V2 => binary(LOCAL, None, &[], None),
    }
}

/// Both ends in one family; `None` if one is no address.
fn ends(source: Endpoint, destination: Endpoint) -> Option<(SocketAddr, SocketAddr)> {
    let (Endpoint::Ip(source), Endpoint::Ip(destination)) = (source, destination) else { return None };
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (source, destination) = (canonical(source), canonical(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return Some((source, destination));
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    Some((mapped(source), mapped(destination)))
}

fn line(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((source, destination)) = ends else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

fn binary(
    command: u8,
    ends: Option<(SocketAddr, SocketAddr)>,
    extensions: &[ProxyExtension],
    client: Option<&Introduction>,
) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let family = ends.map_or(UNSPEC, |(source, _)| if source.is_ipv4() { TCP4 } else { TCP6 });
    header.extend([command, family, 0, 0]);
    if let Some((source, destination)) = ends {
        for end in [source, destination] {
            match end.ip() {
                IpAddr::V4(ip) => header.extend(ip.octets()),
                IpAddr::V6(ip) => header.extend(ip.octets()),
            }
        }
        header.extend(source.port().to_be_bytes());
        header.extend(destination.port().to_be_bytes());
    }
    // In the order of HAProxy.
    let sum_at = extensions.contains(&ProxyExtension::Crc32c).then(|| {
        extend(&mut header, CRC32C, &[0; 4]);
        header.len() - 4
    });
    let (alpn, authority) = client.map_or((None, None), |client| {
        (client.alpn.map(|alpn| alpn.name().as_bytes()), client.authority.as_deref().map(str::as_bytes))
    });
    let id = client.map(|client| &client.unique_id[..client.unique_id.len().min(LONGEST_ID)]);
    for (kind, value) in [
        (ALPN, alpn.filter(|_| extensions.contains(&ProxyExtension::Alpn))),
        (AUTHORITY, authority.filter(|_| extensions.contains(&ProxyExtension::Authority))),
        (UNIQUE_ID, id.filter(|id| !id.is_empty() && extensions.contains(&ProxyExtension::UniqueId))),
    ] {
        if let Some(value) = value {
            extend(&mut header, kind, value);
        }
    }
    let says_tls = [ProxyExtension::Ssl, ProxyExtension::CertCn, ProxyExtension::SslCipher];
    if let Some(client) = client.filter(|_| says_tls.iter().any(|one| extensions.contains(one))) {
        extend(&mut header, SSL, &secured(extensions, client.tls.as_ref()));
    }
    // Addresses have 36 bytes, a name of DNS 253, an id 128, a common name 256.
    let length = u16::try_from(header.len() - FIXED).unwrap_or(u16::MAX);
    header[FIXED - 2..FIXED].copy_from_slice(&length.to_be_bytes());
    if let Some(at) = sum_at {
        let sum = crc32c([&header]).to_be_bytes();
        header[at..at + sum.len()].copy_from_slice(&sum);
    }
    header
}

/// How the client speaks TLS (section 2.2.6), also if it does not.
fn secured(extensions: &[ProxyExtension], tls: Option<&Secured>) -> Vec<u8> {
    let certificate = tls.and_then(|tls| tls.certificate.as_ref().map(|name| (tls, name)));
    let shown = certificate
        .map_or(0, |(tls, _)| CLIENT_CERT_SESS | if tls.is_resumed { 0 } else { CLIENT_CERT_CONN });
    let mut value = vec![if tls.is_some() { CLIENT_SSL | shown } else { 0 }];
    // Zero is the word for a certificate that is good. HAProxy says it of who has shown none, too.
    value.extend(u32::from(certificate.is_none()).to_be_bytes());
    let name = certificate.and_then(|(_, name)| name.as_deref());
    let is_wanted = |extension| extensions.contains(&extension);
    for (kind, text) in [
        (SSL_VERSION, tls.map(|tls| tls.version)),
        (SSL_CN, name.filter(|_| is_wanted(ProxyExtension::CertCn))),
        (SSL_CIPHER, tls.map(|tls| tls.cipher).filter(|_| is_wanted(ProxyExtension::SslCipher))),
    ] {
        if let Some(text) = text {
            extend(&mut value, kind, &text.as_bytes()[..text.len().min(LONGEST_NAME)]);
        }
    }
    value
}

fn extend(header: &mut Vec<u8>, kind: u8, value: &[u8]) {
    header.reserve(TLV + value.len());
    header.push(kind);
    header.extend(u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
    header.extend(value);
}
