//! Persistence of a search: the server that its client had, and which one it got.

use std::net::IpAddr;

use super::Preference;
use crate::{config::BackendId, metrics::Event, node::Node, table::Stick};

/// What is remembered of a search's client, by cookie or by table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Persistence {
    backend: BackendId,
    /// The server that it had.
    had: Option<usize>,
    client: Option<IpAddr>,
    /// What the table says.
    stored: Option<usize>,
    is_counted: bool,
}

impl Persistence {
    /// Completes `preference` by what the backend's table knows. A cookie goes before a table, as in HAProxy.
    pub(super) fn new(node: &Node, backend: BackendId, preference: &mut Preference) -> Self {
        let stick = node.tables.stick(backend.0);
        let client = preference.client.filter(|_| stick.is_some());
        let find = |(stick, client): (&Stick, IpAddr)| stick.server(client, node.now());
        let stored = stick.zip(client).and_then(find);
        preference.server = preference.server.or(stored);
        let had = preference.server.filter(|_| !preference.by_rule);
        Self { backend, had, client, stored, is_counted: false }
    }

    /// The client's own connection decides for `server`: where that is another one than the client had, it has not lost it,
    /// and what is remembered stays.
    pub(super) fn yield_to(&mut self, server: usize) {
        if self.had.is_some_and(|had| had != server) {
            (self.had, self.client) = (None, None);
        }
    }

    /// The client got this server; says what to count, once.
    pub(super) fn settle(&mut self, node: &Node, server: usize) -> Option<Event> {
        if let (Some(client), Some(stick)) = (self.client, node.tables.stick(self.backend.0))
            && self.stored != Some(server)
        {
            stick.store(client, server, node.now());
            self.stored = Some(server);
        }
        let had = self.had.filter(|_| !self.is_counted)?;
        self.is_counted = true;
        Some(if had == server { Event::Persisted } else { Event::PersistenceLost })
    }
}
