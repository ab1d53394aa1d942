//! Which certificate a client is shown.

use std::{cell::Cell, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::Certificates;

thread_local! {
    /// The last ClientHello that this thread has seen. rustls hands it to a resolver and to nobody else, and resolvers are
    /// those of a listener and not of a connection.
    static SEEN: Cell<Option<Seen>> = const { Cell::new(None) };
}

/// What there was to see in a ClientHello.
pub(super) struct Seen {
    /// In lower case.
    pub(super) name: Option<Box<str>>,
    /// There is no certificate for it.
    pub(super) is_refused: bool,
}

/// Of a ClientHello that was looked at since the last call, if one was.
pub(super) fn seen() -> Option<Seen> {
    SEEN.take()
}

/// Those of one listener.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) certificates: Arc<Certificates>,
    /// Who asks for no name that is there is refused.
    pub(super) is_strict: bool,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name: Option<Box<str>> = hello.server_name().map(|name| name.to_ascii_lowercase().into());
        let set = self.certificates.load();
        let chosen = set.choose(name.as_deref(), hello.signature_schemes(), self.is_strict).cloned();
        SEEN.set(Some(Seen { name, is_refused: chosen.is_none() }));
        chosen
    }
}
