//! What a server with TLS needs for each of its handshakes, made once per configuration and per content of its files.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ClientConfig,
    client::{ClientSessionMemoryCache, ClientSessionStore, Resumption},
};

use super::{
    PeerName, ServerContent,
    acceptor::{cryptography, speaking},
    servers::Judge,
};
use crate::config::{ServerTls, Sni};

/// Names of a server under which sessions are kept, each with at most eight tickets; the oldest goes first.
const SESSIONS: usize = 64 * 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Connector {
    tls: Arc<ServerTls>,
    /// Of the server's address.
    host: Option<Box<str>>,
    /// The name that is told to the server where no request says another; `None` if there is none.
    name: Option<PeerName>,
    /// Made anew when the files have other contents. Whoever has one goes on with it, and what it has judged.
    made: Mutex<Made>,
}

/// What handshakes go by.
#[derive(Clone, Debug)]
struct Made {
    /// What the files had.
    content: Arc<ServerContent>,
    config: Arc<ClientConfig>,
    /// For checks: what a server shows is looked at each time.
    check: Arc<ClientConfig>,
}

impl Connector {
    /// For a server at `host`, if it has a name. What `before` has is kept if it is of the same settings: its sessions go on.
    pub(crate) fn new(tls: &Arc<ServerTls>, host: Option<&str>, before: Option<&Self>) -> Self {
        let name = match &tls.sni {
            Sni::Name(name) => Some(name.clone()),
            Sni::OfServer | Sni::OfHost => host.and_then(PeerName::new),
            Sni::Nothing => None,
        };
        let known = before.filter(|before| *before.tls == **tls && before.host.as_deref() == host);
        let made = match known {
            Some(known) => known.made.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            None => Made::new(tls, host, tls.content.load()),
        };
        Self { tls: Arc::clone(tls), host: host.map(Into::into), name, made: Mutex::new(made) }
    }

    /// As the files are now.
    fn made(&self) -> Made {
        let content = self.tls.content.load();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&made.content, &content) {
            if *made.content == *content {
                made.content = content;
            } else {
                // Sessions are those of before: nobody would look at their certificates again.
                *made = Made::new(&self.tls, self.host.as_deref(), content);
            }
        }
        made.clone()
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.made().config
    }

    /// For a check.
    pub(crate) fn for_check(&self) -> Arc<ClientConfig> {
        self.made().check
    }

    /// Does each request say what the server is told?
    pub(crate) fn is_named_by_host(&self) -> bool {
        matches!(self.tls.sni, Sni::OfHost)
    }

    /// The name where it is not the request that says it. A server that is told none is called by its address.
    pub(crate) fn name(&self, address: Option<IpAddr>) -> PeerName {
        self.name.clone().unwrap_or_else(|| PeerName::of_address(address))
    }
}

impl Made {
    fn new(tls: &ServerTls, host: Option<&str>, content: Arc<ServerContent>) -> Self {
        let judge = |is_check: bool| Judge {
            passes_addresses: is_check && matches!(tls.sni, Sni::OfHost),
            verify: tls.verify,
            trusted: content.trusted.clone(),
            name: tls.verify_name.clone().or_else(|| match tls.sni {
                // Whatever its clients ask for, or nothing is told: the server is meant.
                Sni::Nothing => host.and_then(PeerName::new),
                Sni::OfServer | Sni::OfHost | Sni::Name(_) => None,
            }),
        };
        let cryptography = cryptography(&tls.ciphers, &tls.ciphersuites, &tls.curves);
        let builder = ClientConfig::builder_with_provider(cryptography);
        let builder = speaking(builder, tls.min_version, tls.max_version)
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge(false)));
        let mut config = match &content.certificate {
            Some(certificate) => builder.with_client_cert_resolver(Arc::new(
                rustls::sign::SingleCertAndKey::from(Arc::clone(certificate.key())),
            )),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = tls.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.enable_secret_extraction = true;
        config.resumption = Resumption::disabled();
        let mut check = config.clone();
        check.dangerous().set_certificate_verifier(Arc::new(judge(true)));
        let sessions: Arc<dyn ClientSessionStore> = Arc::new(ClientSessionMemoryCache::new(SESSIONS));
        config.resumption = Resumption::store(sessions);
        Self { content, config: Arc::new(config), check: Arc::new(check) }
    }
}
