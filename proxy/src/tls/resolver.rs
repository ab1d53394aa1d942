//! Which certificate a client is shown.

use std::{cell::Cell, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::Certificate;

thread_local! {
    /// The name in the last ClientHello that this thread has seen. rustls hands it to a resolver and to nobody else, and
    /// resolvers are those of a listener and not of a connection.
    static SEEN: Cell<Option<Option<Box<str>>>> = const { Cell::new(None) };
}

/// The name in a ClientHello that was looked at since the last call, if one was.
pub(super) fn seen() -> Option<Option<Box<str>>> {
    SEEN.take()
}

/// Those of one listener.
#[derive(Debug)]
pub(super) struct Resolver {
    certificate: Arc<CertifiedKey>,
}

impl Resolver {
    pub(super) fn new(certificate: &Certificate) -> Self {
        Self { certificate: Arc::clone(certificate.key()) }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        SEEN.set(Some(hello.server_name().map(|name| name.to_ascii_lowercase().into())));
        Some(Arc::clone(&self.certificate))
    }
}
