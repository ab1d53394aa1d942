//! What a listener with TLS needs for each of its handshakes, made once per configuration.

use std::sync::Arc;

use rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::{provider, resolver::Resolver};
use crate::config::{Mode, Tls, TlsVersion};

/// Protocols that are offered to a client that asks (RFC 7301).
const ALPN_HTTP: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// See the module.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) config: Arc<ServerConfig>,
    /// Of the listener among those of its frontend, from 1: HAProxy's name for one that has none.
    pub(crate) number: usize,
}

impl Acceptor {
    pub(crate) fn new(tls: &Tls, mode: Mode, number: usize) -> Self {
        let versions: Vec<&SupportedProtocolVersion> =
            [(TlsVersion::Tls12, &version::TLS12), (TlsVersion::Tls13, &version::TLS13)]
                .into_iter()
                .filter(|(version, _)| (tls.min_version..=tls.max_version).contains(version))
                .map(|(_, version)| version)
                .collect();
        let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&versions)
            .expect("whoever makes a configuration has checked that the smallest version is not beyond the largest")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver::new(&tls.certificate)));
        if mode == Mode::Http {
            config.alpn_protocols = ALPN_HTTP.iter().map(|name| name.to_vec()).collect();
        }
        config.enable_secret_extraction = true;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Self { config: Arc::new(config), number }
    }
}
