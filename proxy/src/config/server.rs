//! Who answers.

use std::{fmt, net::SocketAddr};

use super::Elsewhere;

/// One server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Unique in its backend.
    pub name: String,
    /// Where it is.
    pub address: ServerAddress,
    /// Where it is checked, if the backend's check does not say.
    pub check_at: Elsewhere,
    /// Share, 0..=256; 0 gets only requests of clients that had it before.
    pub weight: u16,
    /// Used for new requests only when no other is usable.
    pub backup: bool,
    /// Requests in flight (http) or connections (tcp); the excess waits in line.
    pub maxconn: Option<u32>,
    /// What is allowed of `maxconn` while its backend has little to do (HAProxy `minconn`); it grows in proportion up to
    /// [`super::BackendOptions::fullconn`]. At most `maxconn`.
    pub minconn: Option<u32>,
    /// What its clients' cookie says; unique in its backend. `None`: no client is kept here.
    pub cookie: Option<String>,
}

/// Where a server is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerAddress {
    /// Here.
    Fixed(SocketAddr),
    /// Where this name says, which may change at run time.
    Named {
        /// A name that DNS or the hosts file knows.
        host: Box<str>,
        /// 1..=65535
        port: u16,
    },
}

impl Server {
    /// One with weight 1 and no limits.
    pub fn new(name: impl Into<String>, address: impl Into<ServerAddress>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            check_at: Elsewhere::default(),
            weight: 1,
            backup: false,
            maxconn: None,
            minconn: None,
            cookie: None,
        }
    }
}

impl ServerAddress {
    /// The address, if it needs no lookup.
    pub fn fixed(&self) -> Option<SocketAddr> {
        match self {
            Self::Fixed(address) => Some(*address),
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
        Self::Fixed(address)
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
