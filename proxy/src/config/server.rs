//! Who answers.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{Alpn, Elsewhere, OwnCheck, ProxyVersion, SendProxy, ServerTls, Source, UnixAddress};
use crate::{Endpoint, tls::PeerName};

/// One server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Unique in its backend.
    pub name: String,
    /// Where it is.
    pub address: ServerAddress,
    /// Where the configuration says so.
    pub place: Place,
    /// Where connections to it come from, if not as the backend says.
    pub source: Option<Source>,
    /// Without TLS it is spoken to in HTTP/2, which it is known to speak (RFC 9113 §3.3).
    pub http2: bool,
    /// How TLS is spoken to it; `None`: it is not.
    pub tls: Option<Arc<ServerTls>>,
    /// The same in its checks.
    pub check_tls: Option<Arc<ServerTls>>,
    /// The name that it is told in checks, if not that of [`ServerTls::sni`].
    pub check_sni: Option<PeerName>,
    /// How it is told whose connection it gets; `None`: it is not.
    pub send_proxy: Option<SendProxy>,
    /// Checks begin with a header in which they say that they are our own; `None`: with none.
    pub check_proxy: Option<ProxyVersion>,
    /// Where it is checked, if the backend's check does not say.
    pub check_at: Elsewhere,
    /// How it is checked, if not as the others.
    pub own_check: OwnCheck,
    /// Share, 0..=256; 0 gets only requests of clients that had it before.
    pub weight: u16,
    /// Used for new requests only when no other is usable.
    pub backup: bool,
    /// It begins in maintenance, as if that were ordered, until somebody orders otherwise (HAProxy `disabled`).
    pub disabled: bool,
    /// Requests in flight (http) or connections (tcp); the excess waits in line.
    pub maxconn: Option<u32>,
    /// What is allowed of `maxconn` while its backend has little to do (HAProxy `minconn`); it grows in proportion up to
    /// [`super::BackendOptions::fullconn`]. At most `maxconn`.
    pub minconn: Option<u32>,
    /// What its clients' cookie says; unique in its backend. `None`: no client is kept here.
    pub cookie: Option<String>,
}

/// Where something stands in a configuration, as messages call it (`lb.toml:12:9`); empty where nobody knows. No part of what
/// it means: `Debug`, by which configurations are compared, does not show it.
#[derive(Clone, Default)]
pub struct Place(pub Box<str>);

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a server is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerAddress {
    /// Here.
    Fixed(Address),
    /// Where this name says, which may change at run time.
    Named {
        /// A name that DNS or the hosts file knows.
        host: Box<str>,
        /// 1..=65535
        port: u16,
    },
}

/// What a connection is made to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// TCP.
    Ip(SocketAddr),
    /// A Unix-domain socket.
    Unix(UnixAddress),
}

impl Address {
    /// The address of its machine, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket().map(|address| address.ip())
    }

    /// Address and port, if it has them.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<&Address> for Endpoint {
    fn from(address: &Address) -> Self {
        address.socket().map_or(Self::Unix, Self::Ip)
    }
}

/// `192.0.2.21:80`, `unix:/run/app.sock`
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(address) => address.fmt(f),
        }
    }
}

impl Server {
    /// Is a connection to `other` one to this server? What is known of one is then known of the other.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.address == other.address
    }

    /// May it be spoken to in HTTP/2?
    pub fn speaks_http2(&self) -> bool {
        let agrees = |tls: &Arc<ServerTls>| tls.alpn.iter().any(|name| **name == *Alpn::H2.name());
        self.http2 || self.tls.as_ref().is_some_and(agrees)
    }

    /// One with weight 1 and no limits.
    pub fn new(name: impl Into<String>, address: impl Into<ServerAddress>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            place: Place::default(),
            source: None,
            http2: false,
            tls: None,
            check_tls: None,
            check_sni: None,
            send_proxy: None,
            check_proxy: None,
            check_at: Elsewhere::default(),
            own_check: OwnCheck::default(),
            weight: 1,
            backup: false,
            disabled: false,
            maxconn: None,
            minconn: None,
            cookie: None,
        }
    }
}

impl ServerAddress {
    /// The address, if it needs no lookup.
    pub fn fixed(&self) -> Option<&Address> {
        match self {
            Self::Fixed(address) => Some(address),
            Self::Named { .. } => None,
        }
    }

    /// The name, if it is given by one.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Fixed(_) => None,
            Self::Named { host, .. } => Some(host),
        }
    }
}

impl From<SocketAddr> for ServerAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Fixed(address.into())
    }
}

impl From<UnixAddress> for ServerAddress {
    fn from(address: UnixAddress) -> Self {
        Self::Fixed(Address::Unix(address))
    }
}

/// As a configuration has it.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(address) => address.fmt(f),
            Self::Named { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
