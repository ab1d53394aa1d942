//! What a listener with TLS needs for each of its handshakes, made once per configuration.

use std::sync::{Arc, LazyLock};

use rustls::{
    ConfigBuilder, ConfigSide, ServerConfig, SupportedCipherSuite, WantsVerifier, WantsVersions,
    crypto::{CryptoProvider, aws_lc_rs::Ticketer},
    server::{NoServerSessionStorage, ProducesTickets},
    version,
};

use super::{
    Clients,
    clients::Verifier,
    curves, provider,
    resolver::Resolver,
    session::cipher_name,
    tickets::{Scoped, SharedTickets},
};
use crate::config::{Frontend, TicketSecret, Tls, TlsVersion};

/// Seals what clients keep of their sessions, under keys that change every six hours and that nobody else has. They are those
/// of the process: a reload keeps them. Without a source of randomness there are none.
static TICKETS: LazyLock<Option<Arc<dyn ProducesTickets>>> = LazyLock::new(|| Ticketer::new().ok());

/// See the module.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) config: Arc<ServerConfig>,
    /// Who judges what clients show, if they are asked.
    pub(super) clients: Option<Arc<Clients>>,
}

impl Acceptor {
    /// Of the listener at this place among those of its frontend, if it speaks TLS.
    pub(crate) fn of(frontend: &Frontend, place: usize, secret: Option<&TicketSecret>) -> Option<Arc<Self>> {
        let tls = frontend.tls.get(&place)?;
        Some(Arc::new(Self::new(tls, frontend, secret)))
    }

    fn new(tls: &Tls, frontend: &Frontend, secret: Option<&TicketSecret>) -> Self {
        let clients = tls.clients.as_ref().map(|asked| Arc::clone(&asked.clients));
        let cryptography = cryptography(&tls.ciphers, &tls.ciphersuites, &tls.curves);
        let builder = ServerConfig::builder_with_provider(cryptography);
        let config = speaking(builder, tls.min_version, tls.max_version);
        let config = match &clients {
            Some(clients) => config.with_client_cert_verifier(Arc::new(Verifier::new(clients))),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::new(Resolver {
            certificates: Arc::clone(&tls.certificates),
            is_strict: tls.strict_sni,
        }));
        config.ignore_client_order = !tls.prefers_client;
        config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.name().as_bytes().to_vec()).collect();
        config.enable_secret_extraction = true;
        // Of TLS 1.2: who has no tickets shakes hands anew, since memory of sessions would be each listener's.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let tickets = match secret {
            _ if !tls.tickets => None,
            Some(secret) => Some(Arc::new(SharedTickets::new(secret)) as Arc<dyn ProducesTickets>),
            None => TICKETS.clone(),
        };
        match tickets {
            Some(tickets) => {
                config.ticketer = Arc::new(Scoped::new(tickets, &frontend.name, clients.clone()))
            }
            None => config.send_tls13_tickets = 0,
        }
        Self { config: Arc::new(config), clients }
    }
}

/// Either side, with the versions that are spoken, in their order.
pub(super) fn speaking<S: ConfigSide>(
    builder: ConfigBuilder<S, WantsVersions>,
    min: TlsVersion,
    max: TlsVersion,
) -> ConfigBuilder<S, WantsVerifier> {
    let versions: Vec<_> = [(TlsVersion::Tls12, &version::TLS12), (TlsVersion::Tls13, &version::TLS13)]
        .into_iter()
        .filter(|(version, _)| (min..=max).contains(version))
        .map(|(_, version)| version)
        .collect();
    builder.with_protocol_versions(&versions).expect(
        "whoever makes a configuration has checked that the smallest version is not beyond the largest",
    )
}

/// The cryptography, with the ciphers of TLS 1.2 and 1.3 and the groups that are wanted and in their order.
pub(super) fn cryptography(ciphers: &[&str], ciphersuites: &[&str], curves: &[&str]) -> Arc<CryptoProvider> {
    if ciphers.is_empty() && ciphersuites.is_empty() && curves.is_empty() {
        return Arc::clone(provider());
    }
    let suites = &provider().cipher_suites;
    let wanted = |names: &[&str], is_tls13: bool| {
        let all = suites.iter().filter(|suite| suite.tls13().is_some() == is_tls13);
        let mut found: Vec<_> = all.copied().collect();
        if !names.is_empty() {
            let place = |suite: &SupportedCipherSuite| {
                names.iter().position(|name| *name == cipher_name(suite.suite()))
            };
            found.retain(|suite| place(suite).is_some());
            found.sort_by_key(place);
        }
        found
    };
    let cipher_suites = [wanted(ciphersuites, true), wanted(ciphers, false)].concat();
    let kx_groups = curves::groups(curves);
    Arc::new(CryptoProvider { cipher_suites, kx_groups, ..CryptoProvider::clone(provider()) })
}
