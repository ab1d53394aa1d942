//! Which server a client was sent to last.

use std::{
    cmp::Reverse,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{Capacity, Key, Keys, Table, Value};

/// The clients of a backend and the server of each.
#[derive(Debug)]
pub struct Stick {
    capacity: Capacity,
    keys: Keys,
    clients: Arc<Clients>,
    /// The number of each server, in the order of the configuration.
    numbers: Box<[u32]>,
}

/// What outlives a configuration: servers are numbered by their names for as long as the table lives, whatever their
/// order in one configuration or the next.
#[derive(Debug)]
struct Clients {
    table: Table<Server>,
    /// Number n is the name at n - 1.
    names: Mutex<Vec<String>>,
}

/// The number of a server.
#[derive(Debug, Default)]
pub struct Server(u32);

impl Value for Server {}

impl Stick {
    /// For these servers; `previous` is what the backend had before, whose clients stay with their servers as far as
    /// those are still there. Of an IPv6 address the first `ipv6_prefix` bits count, 1..=128.
    pub fn new<'n>(
        capacity: Capacity,
        ipv6_prefix: u8,
        servers: impl IntoIterator<Item = &'n str>,
        previous: Option<&Self>,
    ) -> Self {
        let clients = match previous {
            Some(previous) => Arc::clone(&previous.clients),
            None => Arc::new(Clients { table: Table::new(capacity), names: Mutex::default() }),
        };
        let numbers = clients.numbers(servers);
        Self { capacity, keys: Keys::new(ipv6_prefix), clients, numbers }
    }

    /// A table that goes on has this capacity from now on. What is too much goes at once.
    pub fn enforce(&self) {
        self.clients.table.resize(self.capacity);
    }

    /// The server that `client` was sent to last, by its index; counts as a use.
    pub fn server(&self, client: IpAddr, now: Duration) -> Option<usize> {
        let number = self.clients.table.find(self.key(client), now, |server| server.0)?;
        self.numbers.iter().position(|&known| known == number)
    }

    /// `client` was sent to the server with this index.
    pub fn store(&self, client: IpAddr, server: usize, now: Duration) {
        let Some(&number) = self.numbers.get(server) else { return };
        self.clients.table.change(self.key(client), now, |server| server.0 = number);
    }

    /// The clients whose server is still there, and its index; the one that was seen last comes last.
    pub fn clients(&self, now: Duration) -> Vec<(IpAddr, usize)> {
        let mut clients = Vec::new();
        self.clients.table.visit(now, |key, server, age| {
            if let Some(index) = self.numbers.iter().position(|&known| known == server.0) {
                clients.push((age, key.to_address(), index));
            }
        });
        clients.sort_by_key(|&(age, ..)| Reverse(age));
        clients.into_iter().map(|(_, client, index)| (client, index)).collect()
    }

    /// Takes over what [`Self::clients`] of another process has said, as if all had been seen just now.
    pub fn restore(&self, clients: impl Iterator<Item = (IpAddr, usize)>) {
        for (client, server) in clients {
            self.store(client, server, Duration::ZERO);
        }
    }

    /// What it was made with.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Its table, for those who look after tables.
    pub fn table(&self) -> &Table<Server> {
        &self.clients.table
    }

    fn key(&self, client: IpAddr) -> Key {
        self.keys.address(client)
    }
}

impl Clients {
    fn numbers<'n>(&self, servers: impl IntoIterator<Item = &'n str>) -> Box<[u32]> {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let number = |name: &str| {
            let at = known.iter().position(|known| known == name).unwrap_or_else(|| {
                known.push(name.to_owned());
                known.len() - 1
            });
            u32::try_from(at + 1).unwrap_or(0)
        };
        servers.into_iter().map(number).collect()
    }
}
