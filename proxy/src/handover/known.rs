//! What is known under names: counters, the health of servers, the servers of clients.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use super::counts::{self, Counts, Of, set};
use crate::{
    config::{Address, Backend, BackendId, ServerAddress},
    health::{board::Board, server::ServerHealth},
    listener::{binding::Bindings, pause::Pauses},
    log::KnownLog,
    node::Node,
};

/// What a process knows, for the next one.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Known {
    frontends: BTreeMap<String, Counts>,
    backends: BTreeMap<String, KnownBackend>,
    /// The last good answer for each name.
    answers: BTreeMap<String, Vec<IpAddr>>,
    /// Frontends that are paused.
    #[serde(default)]
    pauses: Pauses,
    /// How many configurations there were.
    #[serde(default)]
    generation: u64,
    /// Places that could not be bound.
    #[serde(default)]
    unbound: Vec<String>,
    /// Of logs, by where they go.
    #[serde(default)]
    logs: BTreeMap<String, KnownLog>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct KnownBackend {
    counts: Counts,
    /// Of what had no server, or one that is gone.
    others: Counts,
    servers: BTreeMap<String, KnownServer>,
    /// Clients and the servers that they were sent to.
    clients: Vec<(IpAddr, String)>,
}

#[derive(Debug, Deserialize, Serialize)]
struct KnownServer {
    counts: Counts,
    /// As the configuration has it. At another address it is another server.
    place: String,
    /// Where its name has led to.
    address: Option<SocketAddr>,
    health: ServerHealth,
}

impl Known {
    /// What `board` knows.
    pub(crate) fn of(board: &Board, bindings: &Bindings) -> Self {
        let node = board.node();
        let frontend = |(index, frontend): (usize, &crate::config::Frontend)| {
            (frontend.name.clone(), counts::of_frontend(&node, index))
        };
        let frontends = node.config.frontends.iter().enumerate().map(frontend).collect();
        let backend = |(index, backend): (usize, &Backend)| {
            (backend.name.clone(), KnownBackend::of(&node, BackendId(index), backend))
        };
        let backends = node.config.backends.iter().enumerate().map(backend).collect();
        let unbound = bindings.failures().into_iter().map(|(place, _)| place).collect();
        let pauses = bindings.pauses().clone();
        let (answers, generation) = (board.answers(), node.generation);
        let logs = node.loggers.known();
        Self { frontends, backends, answers, pauses, generation, unbound, logs }
    }

    /// What the first generation of a process begins with. Before a worker has begun.
    pub(crate) fn restore(&self, node: &Node) {
        node.loggers.restore(&self.logs);
        let Some(counters) = node.counters.first() else { return };
        for (config, counters) in node.config.frontends.iter().zip(&counters.frontends) {
            if let Some(known) = self.frontends.get(&config.name) {
                set(known, &counters.named());
            }
        }
        for (index, config) in node.config.backends.iter().enumerate() {
            let Some(known) = self.backends.get(&config.name) else { continue };
            let counters = &counters.backends[index];
            set(&known.counts, &counters.named());
            set(&known.others, &counters.unserved.named());
            for (at, server) in config.servers.iter().enumerate() {
                let Some(known) = known.servers.get(&server.name) else { continue };
                set(&known.counts, &counters.servers[at].named());
                let mut health = node.backends[index].servers[at].health();
                if known.place == server.address.to_string() {
                    *health = known.health(config, &server.address);
                } else {
                    health.orders = known.health.orders.clone();
                }
            }
            if let Some(stick) = node.tables.stick(index) {
                let of = |name: &str| config.servers.iter().position(|server| server.name == name);
                let clients = known.clients.iter();
                stick.restore(clients.filter_map(|(client, name)| Some((*client, of(name)?))));
            }
        }
    }

    /// What was counted.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Of, Counts)> {
        let frontends =
            self.frontends.iter().map(|(name, counts)| (Of::Frontend(name.clone()), counts.clone()));
        let backends = self.backends.iter().flat_map(|(backend, known)| {
            let servers = known.servers.iter().map(|(name, server)| {
                (Of::Server { backend: backend.clone(), name: name.clone() }, server.counts.clone())
            });
            let own = (Of::Backend(backend.clone()), known.counts.clone());
            servers.chain([own, (Of::Others(backend.clone()), known.others.clone())])
        });
        frontends.chain(backends)
    }

    pub(crate) fn pauses(&self) -> Pauses {
        self.pauses.clone()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Had this place no listener before either?
    pub(crate) fn was_unbound(&self, place: &str) -> bool {
        self.unbound.iter().any(|unbound| unbound == place)
    }

    pub(crate) fn answers(&self) -> impl Iterator<Item = (Box<str>, Vec<IpAddr>)> {
        self.answers.iter().map(|(name, addresses)| (name.as_str().into(), addresses.clone()))
    }
}

impl KnownBackend {
    fn of(node: &Node, id: BackendId, config: &Backend) -> Self {
        let server = |(index, server): (usize, &crate::config::Server)| {
            let health = node.backends[id.0].servers[index].health().clone();
            let known = KnownServer {
                counts: counts::of_server(node, id, index),
                place: server.address.to_string(),
                address: health.address.as_ref().and_then(Address::socket),
                health,
            };
            (server.name.clone(), known)
        };
        let clients = node.tables.stick(id.0).map(|stick| stick.clients(node.now()));
        let name = |server: usize| config.servers.get(server).map(|server| server.name.clone());
        let clients = clients.into_iter().flatten();
        Self {
            counts: counts::of_backend(node, id),
            others: counts::of_others(node, id),
            servers: config.servers.iter().enumerate().map(server).collect(),
            clients: clients.filter_map(|(client, server)| Some((client, name(server)?))).collect(),
        }
    }
}

impl KnownServer {
    fn health(&self, config: &Backend, address: &ServerAddress) -> ServerHealth {
        let mut health = self.health.clone();
        health.address = match address {
            ServerAddress::Fixed(address) => Some(address.clone()),
            ServerAddress::Named { .. } => self.address.map(Address::Ip),
        };
        health.set_checked(config.check.is_some());
        if config.agent.is_none() {
            health.agent = Default::default();
            health.agent_said = None;
        }
        health
    }
}
