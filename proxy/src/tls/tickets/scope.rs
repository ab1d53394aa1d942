//! Tickets that are good at one frontend alone, and under the authorities that have judged the client.
//!
//! A client asks nobody for a certificate again when it goes on with a session. If a ticket of one frontend were taken by another,
//! whoever can divert a connection could bring a client of the one to the servers of the other, with nothing for it to notice.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::server::ProducesTickets;

use crate::tls::Clients;

const LENGTH: usize = 16;

/// Seals with what others seal with as well, and puts into each ticket where it was given.
#[derive(Debug)]
pub(in crate::tls) struct Scoped {
    sealer: Arc<dyn ProducesTickets>,
    frontend: Box<str>,
    clients: Option<Arc<Clients>>,
}

impl Scoped {
    /// For the frontend of this name, and what its clients are asked for there.
    pub(in crate::tls) fn new(
        sealer: Arc<dyn ProducesTickets>,
        frontend: &str,
        clients: Option<Arc<Clients>>,
    ) -> Self {
        Self { sealer, frontend: frontend.into(), clients }
    }

    /// As it is now: with other authorities, or another list of what is revoked, every client is judged anew.
    fn scope(&self) -> [u8; LENGTH] {
        let mut all = Context::new(&SHA256);
        all.update(self.frontend.as_bytes());
        if let Some(clients) = &self.clients {
            all.update(&[0]);
            all.update(&clients.fingerprint());
        }
        let mut scope = [0; LENGTH];
        scope.copy_from_slice(&all.finish().as_ref()[..LENGTH]);
        scope
    }
}

impl ProducesTickets for Scoped {
    fn enabled(&self) -> bool {
        self.sealer.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.sealer.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.sealer.encrypt(&[&self.scope(), plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let opened = self.sealer.decrypt(cipher)?;
        let (scope, state) = opened.split_first_chunk()?;
        (*scope == self.scope()).then(|| state.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::TicketSecret, tls::tickets::SharedTickets};

    #[test]
    fn ticket_is_good_where_it_was_given_and_at_no_other_frontend() {
        let sealer = |secret| Arc::new(SharedTickets::new(&TicketSecret::new([secret; 32])));
        let shop = Scoped::new(sealer(1), "shop", None);
        let ticket = shop.encrypt(b"state").unwrap();
        // The other node's too, since names are those of the file.
        assert_eq!(Scoped::new(sealer(1), "shop", None).decrypt(&ticket).unwrap(), b"state");
        assert_eq!(Scoped::new(sealer(1), "blog", None).decrypt(&ticket), None);
        // Nor is one without a scope taken.
        assert_eq!(shop.decrypt(&sealer(1).encrypt(b"state").unwrap()), None);
        assert_eq!(shop.decrypt(&sealer(1).encrypt(&[b'x'; 40]).unwrap()), None);
    }
}
