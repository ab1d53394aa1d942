//! TLS to clients.

use std::{fmt, sync::Arc};

use crate::tls::{Certificates, Clients};

/// How a listener speaks TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The files, as the configuration has them.
    pub files: Vec<TlsFiles>,
    /// What is in them. At least one.
    pub certificates: Arc<Certificates>,
    /// Who asks for no name that is there is refused.
    pub strict_sni: bool,
    /// Whose certificates clients are asked for, if they are.
    pub clients: Option<TlsClients>,
    /// Protocols that are offered to a client that asks (RFC 7301), the preferred one first. Only in mode http.
    pub alpn: Vec<Alpn>,
    /// Not later than [`Self::max_version`].
    pub min_version: TlsVersion,
    /// The latest.
    pub max_version: TlsVersion,
    /// Those of TLS 1.2, the preferred one first, by OpenSSL's name ([`crate::tls::CIPHERS`]). Empty: all, and the client
    /// chooses.
    pub ciphers: Vec<&'static str>,
    /// The same for TLS 1.3 ([`crate::tls::CIPHERSUITES`]).
    pub ciphersuites: Vec<&'static str>,
}

/// What clients are to show.
#[derive(Clone, Debug)]
pub struct TlsClients {
    /// Who shows none is refused.
    pub is_required: bool,
    /// Where the authorities are. At least one.
    pub ca_files: Vec<String>,
    /// Where the lists of what they have revoked are.
    pub crl_files: Vec<String>,
    /// What is in these files.
    pub clients: Arc<Clients>,
}

/// Where certificates and keys are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The certificate and its chain, and without [`Self::key`] the key; or a folder with such files.
    pub certificate: String,
    /// The key, where it has a file of its own.
    pub key: Option<String>,
    /// Names for which it is shown instead of its own.
    pub names: Option<Vec<String>>,
}

/// What the keys of tickets follow from. Not shown by `Debug`.
#[derive(Clone, Eq, PartialEq)]
pub struct TicketSecret([u8; 32]);

impl TicketSecret {
    /// Of 32 bytes that nobody can guess.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TicketSecret")
    }
}

/// A protocol that may be agreed on in a handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alpn {
    /// RFC 9113
    H2,
    /// RFC 9112
    Http11,
    /// RFC 1945
    Http10,
}

impl Alpn {
    /// All of them, the preferred one first.
    pub const ALL: [Self; 3] = [Self::H2, Self::Http11, Self::Http10];

    /// As handshakes have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Http11 => "http/1.1",
            Self::Http10 => "http/1.0",
        }
    }
}

/// A version of TLS, in their order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum TlsVersion {
    /// RFC 5246
    Tls12,
    /// RFC 8446
    Tls13,
}

impl TlsVersion {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    /// As files have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}
