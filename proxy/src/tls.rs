//! TLS: certificates, handshakes, and the records behind them.

mod acceptor;
mod certificate;
mod certificates;
mod chain;
mod client_certificate;
mod clients;
mod connector;
mod curves;
mod handshake;
mod kernel;
mod ocsp;
mod peer_name;
mod pem;
mod provider;
mod record;
mod refusal;
mod resolver;
mod secured;
mod self_signed;
mod serve;
mod servers;
mod session;
mod stream;
mod tickets;
mod x509;

pub use self::{
    certificate::{Certificate, CertificateError},
    certificates::{Certificates, Set, Shown},
    chain::{ChainEnd, ChainFault},
    client_certificate::ClientCertificate,
    clients::{Authorities, AuthorityError, Clients, Der, Revoked, authorities, revoked},
    curves::{CURVE_OF_TLS13, CURVES},
    ocsp::{Ocsp, OcspError},
    peer_name::PeerName,
    secured::SecuredStream,
    self_signed::SelfSigned,
    servers::{ServerContent, ServerFiles, Trusted},
    session::{CIPHERS, CIPHERSUITES, Session},
    x509::{X509, X509Error},
};

pub(crate) use self::{
    acceptor::Acceptor, connector::Connector, handshake::HandshakeError, peer_name::PeerNames,
    provider::provider, record::LONGEST as LONGEST_RECORD, serve::shake_hands, stream::TlsStream,
};
