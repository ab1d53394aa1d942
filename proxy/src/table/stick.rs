//! Which server a client was sent to last.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Capacity, Key, Table, Value};

/// Remembers the server of each key. It outlives a configuration: servers are numbered by their names for as long as
/// the table lives, whatever their order in one configuration or the next.
#[derive(Debug)]
pub struct StickTable {
    table: Table<Server>,
    names: Mutex<Vec<String>>,
}

/// The servers of one configuration, as one table numbers them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Names {
    numbers: Box<[u32]>,
}

/// The number of a server, plus 1.
#[derive(Debug, Default)]
struct Server(u32);

impl Value for Server {}

impl StickTable {
    /// An empty table.
    pub fn new(capacity: Capacity) -> Self {
        Self { table: Table::new(capacity), names: Mutex::default() }
    }

    /// The servers of a configuration, in its order. Names that the table knows keep their entries.
    pub fn names<'n>(&self, servers: impl IntoIterator<Item = &'n str>) -> Names {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let number = |name: &str| {
            let at = known.iter().position(|known| known == name).unwrap_or_else(|| {
                known.push(name.to_owned());
                known.len() - 1
            });
            u32::try_from(at + 1).unwrap_or(0)
        };
        Names { numbers: servers.into_iter().map(number).collect() }
    }

    /// The server of `key`, by its index in the configuration that `names` is of; counts as a use.
    pub fn server(&self, key: Key, names: &Names, now: Duration) -> Option<usize> {
        let number = self.table.find(key, now, |server| server.0)?;
        names.numbers.iter().position(|&known| known == number)
    }

    /// `key` was sent to the server with this index.
    pub fn store(&self, key: Key, names: &Names, server: usize, now: Duration) {
        let Some(&number) = names.numbers.get(server) else { return };
        self.table.change(key, now, |server| server.0 = number);
    }

    /// Its table, for those who look after tables.
    pub fn resize(&self, capacity: Capacity) {
        self.table.resize(capacity);
    }

    /// Removes what has expired.
    pub fn sweep(&self, now: Duration) {
        self.table.sweep(now);
    }

    /// Clients that are remembered.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// None is.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Entries that had to go before their time.
    pub fn evictions(&self) -> u64 {
        self.table.evictions()
    }
}
