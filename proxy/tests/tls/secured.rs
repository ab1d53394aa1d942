//! A server that speaks TLS, on threads of its own: rustls over blocking sockets. And the authority of its certificate.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use lb_proxy::{
    config::ServerTls,
    tls::{ServerContent, ServerFiles, Trusted, authorities},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{
    HandshakeKind, NamedGroup, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};

use crate::certificates::pem;

pub(crate) type Peer = StreamOwned<ServerConnection, TcpStream>;

/// An authority.
pub(crate) struct Issuer(CertifiedIssuer<'static, KeyPair>);

impl Issuer {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Our authority");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// What it signs, for these names.
    pub(crate) fn issues(&self, names: &[&str]) -> Own {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.signs(&CertificateParams::new(names).unwrap())
    }

    pub(crate) fn signs(&self, params: &CertificateParams) -> Own {
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.signed_by(&key, &self.0).unwrap().der().clone()];
        Own { chain, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.as_ref().der().clone()
    }

    /// Who trusts it and nobody else.
    pub(crate) fn trusted(&self) -> ServerTls {
        trusting(&pem("CERTIFICATE", self.0.as_ref().der()))
    }
}

/// Who trusts these authorities and nobody else.
pub(crate) fn trusting(pem: &str) -> ServerTls {
    holding(ServerContent { trusted: Some(authority(pem)), certificate: None })
}

/// These authorities and nobody else.
pub(crate) fn authority(pem: &str) -> Arc<Trusted> {
    Arc::new(Trusted::new(authorities(pem.as_bytes()).unwrap(), &[]).unwrap())
}

/// Who has this in its files.
pub(crate) fn holding(content: ServerContent) -> ServerTls {
    ServerTls { content: Arc::new(ServerFiles::new(content)), ..ServerTls::default() }
}

/// A certificate with its key.
pub(crate) struct Own {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Own {
    pub(crate) fn pem(&self) -> String {
        pem("CERTIFICATE", &self.chain[0]) + &pem("PRIVATE KEY", self.key.secret_der())
    }

    /// What a server with it says, in these versions.
    pub(crate) fn config(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_no_client_auth();
        let mut config = builder.with_single_cert(self.chain.clone(), self.key.clone_key()).unwrap();
        config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
        config
    }
}

/// What a server has seen of a connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) name: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) kind: HandshakeKind,
    /// In which keys were made, where the handshake was a full one.
    pub(crate) group: Option<NamedGroup>,
    /// It was shown a certificate.
    pub(crate) is_shown: bool,
}

/// A listening server.
pub(crate) struct Secured {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Secured {
    /// Runs `script` on each connection whose handshake is over. It ends with the process.
    pub(crate) fn start(config: ServerConfig, script: impl Fn(&mut Peer) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, config) = (listener.local_addr().unwrap(), Arc::new(config));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let (script, config, noted) = (script.clone(), Arc::clone(&config), Arc::clone(&noted));
                thread::spawn(move || {
                    socket.set_nodelay(true).unwrap();
                    let mut connection = ServerConnection::new(config).unwrap();
                    while connection.is_handshaking() {
                        if connection.complete_io(&mut socket).is_err() {
                            return;
                        }
                    }
                    noted.lock().unwrap().push(Seen {
                        name: connection.server_name().map(str::to_owned),
                        protocol: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into()),
                        kind: connection.handshake_kind().unwrap(),
                        group: connection.negotiated_key_exchange_group().map(|group| group.name()),
                        is_shown: connection.peer_certificates().is_some(),
                    });
                    script(&mut StreamOwned::new(connection, socket));
                });
            }
        });
        Self { address, seen }
    }

    /// One that answers requests with `answer`, as long as its client wants.
    pub(crate) fn answering(config: ServerConfig, answer: &'static str) -> Self {
        Self::start(config, move |peer| {
            while read_request(peer).is_some() {
                if peer.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        })
    }

    /// Of its connections, in their order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn kinds(&self) -> Vec<HandshakeKind> {
        self.seen().into_iter().map(|seen| seen.kind).collect()
    }
}

/// A head; `None` at the end.
pub(crate) fn read_request(peer: &mut Peer) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if peer.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap())
}
