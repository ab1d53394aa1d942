//! A client that trusts anybody, on a thread of its own: rustls over a blocking socket.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
    client::{
        WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    version::{TLS12, TLS13},
};

pub(crate) type Peer = StreamOwned<ClientConnection, TcpStream>;

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Whoever it is, but what is signed is checked.
#[derive(Debug)]
struct Anybody(CryptoProvider);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What a client of this version says.
pub(crate) fn client(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    Arc::new(trusting(version).with_no_client_auth())
}

/// The same, with a certificate of its own.
pub(crate) fn client_with(
    version: &'static SupportedProtocolVersion,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Arc<ClientConfig> {
    Arc::new(trusting(version).with_client_auth_cert(chain, key).unwrap())
}

fn trusting(version: &'static SupportedProtocolVersion) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = aws_lc_rs::default_provider();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider.clone()));
    let verifier = Arc::new(Anybody(provider));
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    builder.dangerous().with_custom_certificate_verifier(verifier)
}

/// Connects and asks for `name`; the handshake happens with the first byte.
pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>, name: &'static str) -> Peer {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(crate::rig::LONG)).unwrap();
    over(socket, config, name)
}

/// The same over a connection.
pub(crate) fn over(socket: TcpStream, config: &Arc<ClientConfig>, name: &'static str) -> Peer {
    let connection = ClientConnection::new(Arc::clone(config), name.try_into().unwrap()).unwrap();
    StreamOwned::new(connection, socket)
}

/// Runs `what` where it may block.
pub(crate) async fn apart<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(what).await.unwrap()
}

/// Sends a request and returns the head of the answer with `content` bytes behind it.
pub(crate) fn ask(peer: &mut Peer, request: &str, content: usize) -> String {
    peer.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let end = answer.len() + content;
    answer.resize(end, 0);
    peer.read_exact(&mut answer[end - content..]).unwrap();
    String::from_utf8(answer).unwrap()
}
