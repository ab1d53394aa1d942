//! Who the client is when proxies stand in front of this one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Network, Text};
use crate::{Endpoint, http::message::Message, sample::first_address};

/// Where the address of a client is taken from.
#[derive(Clone, Debug)]
pub enum SourceFrom {
    /// This field, if a trusted proxy has written it.
    List {
        /// The proxies in front of this one.
        trusted: Vec<Network>,
        /// And whoever comes over a Unix-domain socket.
        unix: bool,
        /// X-Forwarded-For, or another with a list of addresses.
        header: String,
    },
    /// This text. One that is no address changes nothing.
    Text(Text),
}

/// In no network but that of all addresses, and one source for limits (RFC 1122 §3.2.1.3).
const UNKNOWN: Endpoint = Endpoint::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));

/// The client of a request that came from `peer`, who is trusted over a Unix-domain socket if `unix`: each proxy has appended who it had it from, so the list is read from
/// its end, past every address that is trusted. What stands before the first one that is not, anybody could have written.
/// An entry there that is no address is a client that nobody knows: the proxy is not to be taken for it.
pub(super) fn client(
    request: &Message<'_>,
    peer: Endpoint,
    (trusted, unix): (&[Network], bool),
    header: &str,
) -> Endpoint {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer;
    if !peer.ip().map_or(unix, is_trusted) {
        return client;
    }
    let lines = request.all(header.as_bytes());
    // Lines in reverse, and the entries of each in reverse. Heads are bounded, and so is this.
    for at in (0..lines.clone().count()).rev() {
        let Some(line) = lines.clone().nth(at) else { break };
        for entry in line.rsplit(|&byte| byte == b',') {
            let Some(address) = address(entry.trim_ascii()) else { return UNKNOWN };
            client = Endpoint::Ip(SocketAddr::new(address, 0));
            if !is_trusted(address) {
                return client;
            }
        }
    }
    client
}

/// The client with the address that `text` begins with, and with the port that it had; as it was where the text is none.
pub(super) fn read(text: &[u8], client: Endpoint) -> Endpoint {
    let port = client.port().unwrap_or(0);
    first_address(text).map_or(client, |address| Endpoint::Ip(SocketAddr::new(address.to_canonical(), port)))
}

/// An address, maybe with brackets or a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bare).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_leaves_the_client_as_it_was() {
        let client: Endpoint = "192.0.2.7:1234".parse().unwrap();
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1:1234"),
            ("::ffff:192.0.2.1", "192.0.2.1:1234"),
            ("2001:db8::1", "[2001:db8::1]:1234"),
            ("", "192.0.2.7:1234"),
            ("unknown", "192.0.2.7:1234"),
            ("192.0.2.1:80", "192.0.2.1:1234"),
            ("192.0.2.1.80", "192.0.2.7:1234"),
        ] {
            assert_eq!(read(text.as_bytes(), client), expected.parse().unwrap(), "{text}");
        }
        assert_eq!(read(b"192.0.2.1", Endpoint::Unix), "192.0.2.1:0".parse().unwrap());
    }

    #[test]
    fn addresses_are_read_with_and_without_port() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:80", Some("2001:db8::1")),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(address(text.as_bytes()), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }
}
