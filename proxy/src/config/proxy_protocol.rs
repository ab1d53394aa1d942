//! Who tells whom in PROXY headers whose connection it is.

use std::net::IpAddr;

use crate::rules::Network;

/// Whose connections to a listener begin with a PROXY header (HAProxy `accept-proxy`, `expect-proxy layer4`). From them
/// it is a must; anybody else is a client, whatever it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AcceptProxy {
    /// Everybody's: who reaches the listener can say that it is anybody.
    Everybody,
    /// Those of these networks. Nobody's over a Unix-domain socket.
    From(Vec<Network>),
}

impl AcceptProxy {
    /// Does a connection of `source` begin with a header?
    pub fn expects(&self, source: Option<IpAddr>) -> bool {
        match self {
            Self::Everybody => true,
            Self::From(networks) => {
                source.is_some_and(|source| networks.iter().any(|network| network.contains(source)))
            }
        }
    }
}

/// How a server is told whose connection it is (HAProxy `send-proxy`, `send-proxy-v2`, `proxy-v2-options`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SendProxy {
    /// In which form.
    pub version: ProxyVersion,
    /// What else; only in version 2.
    pub extensions: Vec<ProxyExtension>,
}

/// Forms of the header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What a header of version 2 says besides addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyExtension {
    /// A checksum of the header.
    Crc32c,
    /// The name that the client asked for in its handshake with us (SNI); nothing without TLS.
    Authority,
    /// The protocol that was agreed on there; nothing where none was.
    Alpn,
    /// If the client speaks TLS with us, its version, and whether it has shown a certificate.
    Ssl,
    /// The common name of that certificate. [`Self::Ssl`] is said with it.
    CertCn,
    /// The cipher. [`Self::Ssl`] is said with it.
    SslCipher,
    /// The unique id of the request. The connection is used for this request alone.
    UniqueId,
}

impl SendProxy {
    /// Does the header name the request, so that another one can't travel on its connection?
    pub(crate) fn names_request(&self) -> bool {
        self.extensions.contains(&ProxyExtension::UniqueId)
    }
}
