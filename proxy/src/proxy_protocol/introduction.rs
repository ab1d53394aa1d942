//! What a server is told of the client whose bytes follow.

use std::net::{IpAddr, SocketAddr};

use super::{
    crc32c::crc32c,
    v2::{ALPN, AUTHORITY, CRC32C, FIXED, LOCAL, PROXY, SIGNATURE, TCP4, TCP6, TLV, UNIQUE_ID, UNSPEC},
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
}

impl Introduction {
    /// With what was agreed on with the client, if it speaks TLS with us, and no id.
    pub(crate) fn new(source: Endpoint, destination: Endpoint, session: Option<&Session>) -> Self {
        let authority = session.and_then(|session| session.server_name.clone());
        let alpn = session.and_then(|session| session.alpn);
        Self { source, destination, unique_id: Vec::new(), authority, alpn }
    }
}

/// Bytes of the longest unique id that is passed on, as in HAProxy.
const LONGEST_ID: usize = 128;

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
    // Addresses have 36 bytes, a name of DNS 253, an id 128.
    let length = u16::try_from(header.len() - FIXED).unwrap_or(u16::MAX);
    header[FIXED - 2..FIXED].copy_from_slice(&length.to_be_bytes());
    if let Some(at) = sum_at {
        let sum = crc32c([&header]).to_be_bytes();
        header[at..at + sum.len()].copy_from_slice(&sum);
    }
    header
}

fn extend(header: &mut Vec<u8>, kind: u8, value: &[u8]) {
    header.reserve(TLV + value.len());
    header.push(kind);
    header.extend(u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
    header.extend(value);
}
