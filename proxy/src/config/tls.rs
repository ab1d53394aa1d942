//! TLS to clients and to servers.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use crate::tls::{Certificates, Clients, PeerName, ServerFiles};

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
    /// Those of TLS 1.2, the preferred one first, by OpenSSL's name ([`crate::tls::CIPHERS`]). Empty: all.
    pub ciphers: Vec<&'static str>,
    /// The same for TLS 1.3 ([`crate::tls::CIPHERSUITES`]).
    pub ciphersuites: Vec<&'static str>,
    /// Groups in which keys are made ([`crate::tls::CURVES`]): the client's favourite of them. Empty: all.
    pub curves: Vec<&'static str>,
    /// The client's order of ciphers counts, and not ours.
    pub prefers_client: bool,
    /// Clients are given tickets, with which their sessions go on.
    pub tickets: bool,
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

/// How TLS is spoken to a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTls {
    /// What of its certificate is looked at.
    pub verify: ServerVerify,
    /// Where the authorities are; empty for those of this machine.
    pub ca_files: Vec<String>,
    /// Where the lists of what they have revoked are.
    pub crl_files: Vec<String>,
    /// The name that it is told.
    pub sni: Sni,
    /// The name that its certificate has to have, if not that one (HAProxy `verifyhost`).
    pub verify_name: Option<PeerName>,
    /// Protocols that it is offered (RFC 7301), the preferred one first.
    pub alpn: Vec<Box<str>>,
    /// Where the certificate is that it is shown if it asks.
    pub file: Option<TlsFiles>,
    /// What is in all these files.
    pub content: Arc<ServerFiles>,
    /// Not later than [`Self::max_version`].
    pub min_version: TlsVersion,
    /// The latest.
    pub max_version: TlsVersion,
    /// As [`Tls::ciphers`].
    pub ciphers: Vec<&'static str>,
    /// As [`Tls::ciphersuites`].
    pub ciphersuites: Vec<&'static str>,
    /// The same of this server, the preferred one first.
    pub curves: Vec<&'static str>,
}

impl Default for ServerTls {
    fn default() -> Self {
        Self {
            verify: ServerVerify::All,
            ca_files: Vec::new(),
            crl_files: Vec::new(),
            sni: Sni::OfServer,
            verify_name: None,
            alpn: Vec::new(),
            file: None,
            content: Arc::default(),
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            ciphers: Vec::new(),
            ciphersuites: Vec::new(),
            curves: Vec::new(),
        }
    }
}

/// What of a server's certificate is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServerVerify {
    /// It leads to an authority, is in force, and has the server's name.
    All,
    /// Only that it leads to an authority and is in force (HAProxy without `sni` and `verifyhost`).
    Chain,
    /// Nothing: whoever is on the way can be the server (HAProxy `verify none`).
    Nothing,
}

/// Which name a server is told (RFC 6066 §3). It is also the one that its certificate has to have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sni {
    /// That of its address; none if that is no name.
    OfServer,
    /// What the request has as Host; for a check, and where there is no name in it, none.
    OfHost,
    /// This one.
    Name(PeerName),
    /// None.
    Nothing,
}

/// What the keys of tickets follow from. Not shown by `Debug`, and gone from the memory with its last owner.
#[derive(Clone, Eq, PartialEq)]
pub struct TicketSecret(Zeroizing<[u8; 32]>);

impl TicketSecret {
    /// Of 32 bytes that nobody can guess.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
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
