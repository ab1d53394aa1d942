//! TLS: certificates, handshakes, and the records behind them.

mod acceptor;
mod certificate;
mod certificates;
mod client_certificate;
mod clients;
mod handshake;
mod provider;
mod record;
mod resolver;
mod serve;
mod session;
mod stream;
mod tickets;
mod x509;

pub use self::{
    certificate::{Certificate, CertificateError},
    certificates::{Certificates, Set, Shown},
    client_certificate::ClientCertificate,
    clients::{Authorities, AuthorityError, Clients, Revoked, authorities, revoked},
    session::{CIPHERS, CIPHERSUITES, Session},
    x509::{X509, X509Error},
};

pub(crate) use self::{
    acceptor::Acceptor, provider::provider, record::LONGEST as LONGEST_RECORD, serve::shake_hands,
    stream::TlsStream,
};
