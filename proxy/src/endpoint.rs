//! One end of a client's connection.

use std::{
    fmt,
    net::{AddrParseError, IpAddr, SocketAddr},
    str::FromStr,
};

use socket2::SockAddr;

/// An address and a port, or a Unix-domain socket. Who comes over one has no address: nothing is known of a client but
/// that the file system let it connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// TCP over IPv4 or IPv6.
    Ip(SocketAddr),
    /// A Unix-domain socket.
    Unix,
}

impl Endpoint {
    /// The address, if it has one.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }

    /// The port, if it has one.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Ip(address) => Some(address.port()),
            Self::Unix => None,
        }
    }

    /// The same address with another port.
    pub(crate) fn with_port(self, port: u16) -> Self {
        match self {
            Self::Ip(address) => Self::Ip(SocketAddr::new(address.ip(), port)),
            Self::Unix => Self::Unix,
        }
    }

    /// `None` for a family that this crate does not speak.
    pub(crate) fn of_socket(address: &SockAddr) -> Option<Self> {
        match address.as_socket() {
            Some(address) => Some(Self::Ip(address)),
            None => address.is_unix().then_some(Self::Unix),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// As it is displayed.
impl FromStr for Endpoint {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        if text == "unix" { Ok(Self::Unix) } else { text.parse().map(Self::Ip) }
    }
}

/// `192.0.2.7:50000`, `unix`
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}
