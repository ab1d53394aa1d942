//! Which server a client was sent to last.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
    /// What its servers are known by, in the same order.
    known: Box<[Arc<Known>]>,
}

/// What outlives a configuration: servers are numbered by their names for as long as the table lives, whatever their
/// order in one configuration or the next.
#[derive(Debug)]
struct Clients {
    table: Table<Server>,
    names: Mutex<Names>,
}

/// The servers of all configurations that were in force, and of those that may yet be.
#[derive(Debug, Default)]
struct Names {
    /// By its name.
    known: HashMap<Box<str>, Arc<Known>>,
    /// The highest number so far: none is given twice, so that no client is taken for one of another server.
    last: u32,
}

/// What a name stands for.
#[derive(Debug)]
struct Known {
    number: u32,
    /// A configuration that has it was in force, so clients may be on it. What was only prepared is forgotten.
    lasts: AtomicBool,
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
        let known = clients.known(servers);
        let numbers = known.iter().map(|known| known.number).collect();
        Self { capacity, keys: Keys::new(ipv6_prefix), clients, numbers, known }
    }

    /// A table that goes on has this capacity from now on, and these servers. What is too much goes at once.
    pub fn enforce(&self) {
        self.known.iter().for_each(|known| known.lasts.store(true, Ordering::Relaxed));
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
    /// What these names stand for. Those of configurations that never came into force are forgotten first.
    fn known<'n>(&self, servers: impl IntoIterator<Item = &'n str>) -> Box<[Arc<Known>]> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let Names { known, last } = &mut *names;
        known.retain(|_, one| one.lasts.load(Ordering::Relaxed) || Arc::strong_count(one) > 1);
        let one = |name: &str| {
            if let Some(one) = known.get(name) {
                return Arc::clone(one);
            }
            *last += 1;
            let one = Arc::new(Known { number: *last, lasts: AtomicBool::new(false) });
            known.insert(name.into(), Arc::clone(&one));
            one
        };
        servers.into_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn names_of_a_configuration_that_never_came_into_force_are_forgotten() {
        let capacity = Capacity { size: NonZeroU32::MIN, expire: Duration::from_secs(60) };
        let client = IpAddr::from([192, 0, 2, 1]);
        let first = Stick::new(capacity, 64, ["web1", "web2"], None);
        first.enforce();
        first.store(client, 1, Duration::ZERO);
        for round in 0..100 {
            let dropped = format!("dropped{round}");
            let refused = Stick::new(capacity, 64, ["web1", dropped.as_str()], Some(&first));
            let names = first.clients.names.lock().unwrap();
            let mut known: Vec<_> = names.known.keys().map(AsRef::as_ref).collect();
            known.sort_unstable();
            assert_eq!(known, [dropped.as_str(), "web1", "web2"]);
            drop((names, refused));
        }
        // A server that was in force is known by its clients also when it comes back later.
        let without = Stick::new(capacity, 64, ["web1", "web3"], Some(&first));
        without.enforce();
        drop(first);
        assert_eq!(without.server(client, Duration::ZERO), None);
        let again = Stick::new(capacity, 64, ["web3", "web2"], Some(&without));
        assert_eq!(again.server(client, Duration::ZERO), Some(1));
    }
}
