//! Builds [`Status`] from what the workers have counted; nobody is asked, nobody waits.

use std::time::Instant;

use super::{BackendStatus, FrontendStatus, ServerStatus, Status};
use crate::{
    config::BackendId,
    health::routing::share,
    listener::binding::Bindings,
    metrics::{BIND_ERRORS, Counter, Event, FrontendCounters, ServerCounters},
    node::Node,
};

pub(crate) fn collect(node: &Node, bindings: &Bindings) -> Status {
    let frontends = (0..node.config.frontends.len()).map(|index| frontend(node, bindings, index)).collect();
    let backends = (0..node.config.backends.len()).map(|index| backend(node, BackendId(index))).collect();
    Status {
        frontends,
        backends,
        connections: node.connections.taken().into(),
        maxconn: node.connections.max().into(),
        tables: node.tables.status(),
    }
}

/// Since the start, over all workers.
pub(crate) fn requests_and_server_errors(node: &Node, frontend: usize) -> (u64, u64) {
    let sum = |counter: fn(&FrontendCounters) -> &Counter| sum(node, frontend, counter);
    (sum(|counters| &counters.requests), sum(|counters| &counters.responses[5]))
}

fn frontend(node: &Node, bindings: &Bindings, index: usize) -> FrontendStatus {
    let (config, shared) = (&node.config.frontends[index], &node.frontends[index]);
    let (requests_total, server_errors) = requests_and_server_errors(node, index);
    let now = Instant::now();
    let event = |&event: &Event| {
        let count = node.counters.iter().map(|worker| worker.frontends[index].event(event).value()).sum();
        (event.name(), count)
    };
    let rates = shared.rates();
    FrontendStatus {
        name: config.name.clone(),
        mode: config.mode,
        binds: bindings.of_frontend(index),
        connections: shared.connections.taken().into(),
        maxconn: shared.connections.max().into(),
        connections_total: sum(node, index, |counters| &counters.connections),
        requests_total,
        requests_per_second: rates.requests_per_second(now, requests_total),
        responses: std::array::from_fn(|class| {
            node.counters.iter().map(|worker| worker.frontends[index].responses[class].value()).sum()
        }),
        server_errors_per_minute: rates.server_errors_per_minute(now, server_errors),
        bytes_in: sum(node, index, |counters| &counters.bytes_in),
        bytes_out: sum(node, index, |counters| &counters.bytes_out),
        counters: Event::ALL
            .iter()
            .map(event)
            .chain([(BIND_ERRORS, bindings.errors_of_frontend(index))])
            .collect(),
    }
}

fn backend(node: &Node, id: BackendId) -> BackendStatus {
    let (backend, state) = (node.backend(id), &node.backends[id.0]);
    let now = Instant::now();
    let queued: Vec<_> = {
        let line = state.shared.line();
        state.servers.iter().map(|server| line.len_at(server.number) as u64).collect()
    };
    let sum = |server: usize, counter: fn(&ServerCounters) -> &Counter| {
        node.counters.iter().map(|worker| counter(&worker.servers[id.0][server]).value()).sum()
    };
    let known = backend.servers.iter().zip(node.health(id)).enumerate();
    let servers = known.map(|(server, (config, health))| ServerStatus {
        name: config.name.clone(),
        address: config.address.clone(),
        resolved: health.address,
        state: health.state(),
        since: health.since,
        in_flight: state.servers[server].in_flight().into(),
        queued: queued[server],
        requests_total: sum(server, |counters| &counters.requests),
        connect_errors: sum(server, |counters| &counters.connect_errors),
        weight: health.weight(config),
        share: share(backend, &health, now).percent(),
        backup: config.backup,
        maxconn: health.maxconn(config),
        name_problem: health.name_problem,
        last_check: health.last_check,
    });
    BackendStatus { name: backend.name.clone(), servers: servers.collect() }
}

fn sum(node: &Node, frontend: usize, counter: fn(&FrontendCounters) -> &Counter) -> u64 {
    node.counters.iter().map(|worker| counter(&worker.frontends[frontend]).value()).sum()
}
