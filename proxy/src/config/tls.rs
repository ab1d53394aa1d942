//! TLS to clients.

use crate::tls::Certificate;

/// How a listener speaks TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The files, as the configuration has them.
    pub files: TlsFiles,
    /// What is in them.
    pub certificate: Certificate,
    /// Not later than [`Self::max_version`].
    pub min_version: TlsVersion,
    /// The latest.
    pub max_version: TlsVersion,
}

/// Where certificate and key are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The certificate and its chain, and without [`Self::key`] the key.
    pub certificate: String,
    /// The key, where it has a file of its own.
    pub key: Option<String>,
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
