//! The tables of the node: which there are, what they hold, and who cleans them.

use std::time::Duration;

use super::{Sources, Stick, Table, Value};
use crate::{
    config::{self, Config},
    status::TableStatus,
};

/// All tables that the configuration asks for, shared by all workers.
#[derive(Debug)]
pub(crate) struct Tables {
    /// By the index of the backend.
    sticks: Box<[Option<Named<Stick>>]>,
    /// By the index of the frontend.
    sources: Box<[Option<Named<Sources>>]>,
}

#[derive(Debug)]
struct Named<T> {
    name: String,
    table: T,
}

impl Tables {
    /// The tables of `config`. Those of `previous`, the tables of the configuration before, go on under the name of
    /// their backend or frontend.
    pub(crate) fn new(config: &Config, previous: Option<&Self>) -> Self {
        let stick = |backend: &config::Backend| {
            let stick = backend.stick?;
            let servers = backend.servers.iter().map(|server| server.name.as_str());
            let before = previous.and_then(|previous| find(&previous.sticks, &backend.name));
            let table = Stick::new(stick.capacity, stick.ipv6_prefix, servers, before);
            Some(Named { name: backend.name.clone(), table })
        };
        let sources = |frontend: &config::Frontend| {
            let before = previous.and_then(|previous| find(&previous.sources, &frontend.name));
            let table = Sources::new(frontend.per_source?, before);
            Some(Named { name: frontend.name.clone(), table })
        };
        Self {
            sticks: config.backends.iter().map(stick).collect(),
            sources: config.frontends.iter().map(sources).collect(),
        }
    }

    /// Whose clients stay with their server.
    pub(crate) fn stick(&self, backend: usize) -> Option<&Stick> {
        self.sticks[backend].as_ref().map(|named| &named.table)
    }

    /// Whose sources are limited.
    pub(crate) fn sources(&self, frontend: usize) -> Option<&Sources> {
        self.sources[frontend].as_ref().map(|named| &named.table)
    }

    /// Removes what has expired.
    pub(crate) fn sweep(&self, now: Duration) {
        for named in self.sticks.iter().flatten() {
            named.table.table().sweep(now);
        }
        for named in self.sources.iter().flatten() {
            named.table.table().sweep(now);
        }
    }

    /// What an operator sees.
    pub(crate) fn status(&self) -> Vec<TableStatus> {
        let sources = self.sources.iter().flatten().map(|named| {
            let size = named.table.limits().size.get();
            status(format!("frontend {}, per_source", named.name), size, named.table.table())
        });
        let sticks = self.sticks.iter().flatten().map(|named| {
            let size = named.table.capacity().size.get();
            status(format!("backend {}, stick", named.name), size, named.table.table())
        });
        sources.chain(sticks).collect()
    }
}

fn find<'t, T>(tables: &'t [Option<Named<T>>], name: &str) -> Option<&'t T> {
    tables.iter().flatten().find(|named| named.name == name).map(|named| &named.table)
}

fn status<V: Value>(name: String, size: u32, table: &Table<V>) -> TableStatus {
    TableStatus { name, entries: table.len() as u64, size: size.into(), evictions_total: table.evictions() }
}
