//! The next generation of the configuration comes into force: what is known of its servers.
//!
//! A server that stays goes on as it is: up, down, in its slow start, as its agent wants it. One that is new, or that
//! is at another address now, is not known. One that is gone stays as it is for who still uses it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{
    agent::AgentState,
    board::{Board, Known, is_down, log_transition, note_outages},
    orders::ServerOrders,
    routing::routing,
    server::ServerHealth,
};
use crate::{
    config::{Address, Backend, BackendId, Server, ServerAddress},
    node::{BackendShared, Node, ServerShared},
    resolve::choose,
};

/// What begins and what ends with a generation.
#[derive(Debug, Default)]
pub(crate) struct Adopted {
    /// Servers to be checked from their beginning.
    pub(crate) begun: Vec<Arc<ServerShared>>,
    /// Servers that are not to be checked any more, or not where they were.
    pub(crate) ended: Vec<Arc<ServerShared>>,
    /// Backends that were not there before.
    pub(crate) begun_backends: Vec<Arc<BackendShared>>,
    /// Backends that are gone.
    pub(crate) ended_backends: Vec<Arc<BackendShared>>,
}

impl Board {
    /// `next` is in force from now on. Lines are served, and tasks begun and ended, by the caller.
    pub(crate) fn adopt(&self, next: &Arc<Node>) -> Adopted {
        let mut known = self.known();
        let last = std::mem::replace(&mut known.node, Arc::clone(next));
        known.before.retain(|node| node.strong_count() > 0);
        known.before.insert(0, Arc::downgrade(&last));
        let mut adopted = Adopted::default();
        for (index, (config, state)) in next.config.backends.iter().zip(&next.backends).enumerate() {
            if last.sharing(&state.shared).is_none() {
                adopted.begun_backends.push(Arc::clone(&state.shared));
            }
            for (at, server) in state.servers.iter().enumerate() {
                let old = last.place(server.number).map(|(id, index)| &last.backend(id).servers[index]);
                if take_over(next, server, config, (&config.servers[at], old)) {
                    continue;
                }
                if old.is_some() {
                    adopted.ended.push(Arc::clone(server));
                }
                adopted.begun.push(Arc::clone(server));
                let address = address(&known, next, BackendId(index), at);
                let mut health = server.health();
                let history = health.history;
                let orders = match old {
                    Some(old) => {
                        health.orders.follow(old, &config.servers[at]);
                        std::mem::take(&mut health.orders)
                    }
                    None => ServerOrders::of(&config.servers[at]),
                };
                *health = ServerHealth::new(config.check.is_some(), SystemTime::now(), address);
                // That is counted by name.
                health.history = history;
                health.orders = orders;
                let is_down = is_down(health.state());
                health.history.outage.change(is_down, SystemTime::now());
            }
        }
        for state in &last.backends {
            if next.sharing(&state.shared).is_none() {
                adopted.ended_backends.push(Arc::clone(&state.shared));
            }
            let gone = state.servers.iter().filter(|server| next.place(server.number).is_none());
            for server in gone {
                server.health().is_retired = true;
                adopted.ended.push(Arc::clone(server));
            }
        }
        let hosts = next.config.backends.iter().flat_map(|backend| &backend.servers);
        let hosts: Vec<_> = hosts.filter_map(|server| server.address.host()).collect();
        known.answers.retain(|host, _| hosts.contains(&&**host));
        next.enforce();
        let now = Instant::now();
        for node in known.generations() {
            node.routing.store(routing(&node, now));
        }
        note_outages(next);
        self.publish(&mut known);
        drop(known);
        self.reloads.send_replace(());
        adopted
    }
}

/// What is known of a server stays known, if it was there and is where it was. False if it is another one now.
fn take_over(
    next: &Node,
    server: &ServerShared,
    backend: &Backend,
    (config, old): (&Server, Option<&Server>),
) -> bool {
    let Some(old) = old.filter(|old| old.is_same_place(config)) else { return false };
    let mut health = server.health();
    let before = health.state();
    health.orders.follow(old, config);
    health.set_checked(backend.check.is_some());
    if backend.agent.is_none() {
        health.agent = AgentState::default();
        health.agent_said = None;
    }
    if before != health.state() {
        health.since = SystemTime::now();
        let is_down = is_down(health.state());
        health.history.outage.change(is_down, SystemTime::now());
        log_transition(next, server, (before, health.state()), "another configuration is in force");
    }
    true
}

/// Where a server is, as far as that is known without a lookup.
fn address(known: &Known, node: &Node, backend: BackendId, index: usize) -> Option<Address> {
    let (host, port) = match &node.backend(backend).servers[index].address {
        ServerAddress::Fixed(address) => return Some(address.clone()),
        ServerAddress::Named { host, port } => (host, *port),
    };
    let servers = node.backends[backend.0].servers.iter().enumerate();
    let others = servers.filter(|&(other, _)| other != index);
    let taken: Vec<_> =
        others.filter_map(|(_, other)| other.health().address.as_ref().and_then(Address::ip)).collect();
    choose(None, &taken, known.answers.get(host)?).map(|ip| Address::Ip(SocketAddr::new(ip, port)))
}
