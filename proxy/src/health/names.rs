//! What lookups of names change on the board.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use tracing::field::{DisplayValue, display};

use super::{
    board::{Board, is_down, note_transition},
    events::{self, Before},
};
use crate::{
    config::{Address, BackendId, Place, ServerAddress},
    loops::{is_here, leads_back},
    node::{Node, ServerShared},
    resolve::{ResolveError, choose},
    status::NameProblem,
};

impl Board {
    /// `host` has these addresses; returns the numbers of its servers that have moved. New connections go to the new
    /// address when this returns.
    pub(crate) fn resolved(&self, host: &str, answer: &[IpAddr]) -> Vec<u32> {
        let mut known = self.known();
        known.answers.insert(host.into(), answer.to_vec());
        let node = Arc::clone(&known.node);
        let (mut moved, mut changed, mut transitions) = (Vec::new(), Vec::new(), Vec::new());
        for (id, index, port) in servers_of(&node, host) {
            let state = &node.backends[id.0];
            let (backend, server) = (&state.shared.name, &state.servers[index]);
            let others = state.servers.iter().enumerate().filter(|&(other, _)| other != index);
            let taken: Vec<_> = others
                .filter_map(|(_, other)| other.health().address.as_ref().and_then(Address::ip))
                .collect();
            let mut health = server.health();
            let address = choose(health.address.as_ref().and_then(Address::ip), &taken, answer)
                .map(|address| Address::Ip(SocketAddr::new(address, port)));
            let name = &server.name;
            if health.name_problem.take().is_some() {
                tracing::info!(%backend, server = %name, host, "name resolves again");
            }
            if address != health.address {
                let config = node.backend(id);
                let before = Before { state: health.state(), weight: health.weight(&config.servers[index]) };
                let (from, to) = (health.address.as_ref().map(display), address.as_ref().map(display));
                tracing::info!(%backend, server = %name, host, from, to, "server has another address");
                let sections = (&*node.config.frontends, &*node.config.backends);
                let back = address.as_ref().and_then(|address| leads_back(sections, id, address, is_here));
                if let (Some(frontend), Some(to)) = (back, to) {
                    let at = said(&config.servers[index].place);
                    tracing::warn!(at, %backend, server = %name, host, to, frontend = %frontend.name, "name of a server leads back to a listener of ours: requests go round");
                }
                health.address = address;
                if note_transition(&node, server, config, before.state, &mut health) {
                    transitions.push((id, index, before, health.clone()));
                }
                moved.push(server.number);
                if changed.last() != Some(&id) {
                    changed.push(id);
                }
            }
        }
        for (id, index, before, health) in &transitions {
            events::log_transition(&node, *id, *index, *before, health);
        }
        for id in &changed {
            self.route(&known, &node.backends[id.0].shared);
        }
        self.publish(&mut known);
        drop(known);
        self.looked_up();
        for id in changed {
            node.backends[id.0].shared.serve_line();
            node.backends[id.0].shared.came_back.notify_one();
        }
        for (id, index, before, health) in transitions {
            if node.backend(id).cut_when_down && is_down(health.state()) && !is_down(before.state) {
                self.cut(node.backends[id.0].servers[index].number);
            }
        }
        moved
    }

    /// `host` could not be looked up: its servers keep their addresses.
    pub(crate) fn unresolved(&self, host: &str, error: &ResolveError) {
        let why = error.to_string();
        let known = self.known();
        for (id, index, _) in servers_of(&known.node, host) {
            let server = &known.node.backends[id.0].servers[index];
            let mut health = server.health();
            let since = health.name_problem.as_ref().map_or_else(SystemTime::now, |problem| problem.since);
            if health.name_problem.as_ref().is_none_or(|problem| problem.why != why) {
                let kept = health.address.as_ref().map(display);
                let config = &known.node.backend(id).servers[index];
                let at = said(&config.place);
                tracing::warn!(at, backend = %server.backend, server = %server.name, host, reason = %why, kept, "name does not resolve");
            }
            health.name_problem = Some(NameProblem { why: why.clone(), since });
        }
        drop(known);
        self.looked_up();
    }

    /// Where a server is now; waits for the first lookup of its name.
    ///
    /// # Errors
    /// Why its name has no address.
    pub(crate) async fn address(&self, server: &ServerShared) -> Result<Address, String> {
        let mut lookups = self.lookups();
        loop {
            let (address, problem) = {
                let health = server.health();
                (health.address.clone(), health.name_problem.clone())
            };
            if let Some(address) = address {
                return Ok(address);
            }
            if let (Some(problem), Some(place)) = (problem, self.place(server)) {
                let host = place.server().address.host();
                return Err(format!("{} does not resolve: {}", host.unwrap_or_default(), problem.why));
            }
            if lookups.changed().await.is_err() {
                return Err("the process ends".to_owned());
            }
        }
    }
}

/// A place, as a field of a log.
fn said(place: &Place) -> Option<DisplayValue<&Place>> {
    Some(place).filter(|place| !place.0.is_empty()).map(display)
}

/// Those given by this name: backend, index, port.
fn servers_of<'n>(node: &'n Node, host: &'n str) -> impl Iterator<Item = (BackendId, usize, u16)> + 'n {
    node.config.backends.iter().enumerate().flat_map(move |(id, backend)| {
        backend.servers.iter().enumerate().filter_map(move |(index, server)| match &server.address {
            ServerAddress::Named { host: of, port } if **of == *host => Some((BackendId(id), index, *port)),
            ServerAddress::Named { .. } | ServerAddress::Fixed(_) => None,
        })
    })
}
