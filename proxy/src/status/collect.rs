//! Builds [`Status`] from what the workers have counted; nobody is asked, nobody waits.

use std::time::Instant;

use super::{BackendStatus, FrontendStatus, ServerStatus, Status};
use crate::{
    health::{routing::share, server::ServerHealth},
    listener::binding::Bindings,
    metrics::{BIND_ERRORS, Counter, Event, FrontendCounters, ServerCounters},
    node::Node,
    rates::Rates,
    worker::WorkerHandle,
};

pub(crate) fn collect(node: &Node, bindings: &Bindings, rates: &[Rates], workers: &[WorkerHandle]) -> Status {
    let frontends = (0..node.config.frontends.len())
        .map(|index| frontend(node, bindings, &rates[index], workers, index))
        .collect();
    let servers = node.servers();
    let backends =
        (0..node.config.backends.len()).map(|index| backend(node, &servers[index], workers, index)).collect();
    Status {
        frontends,
        backends,
        connections: node.connections.taken().into(),
        maxconn: node.connections.max().into(),
        tables: node.tables.status(),
    }
}

/// Since the start, over all workers.
pub(crate) fn requests_and_server_errors(workers: &[WorkerHandle], frontend: usize) -> (u64, u64) {
    let sum = |counter: fn(&FrontendCounters) -> &Counter| sum(workers, frontend, counter);
    (sum(|counters| &counters.requests), sum(|counters| &counters.responses[5]))
}

fn frontend(
    node: &Node,
    bindings: &Bindings,
    rates: &Rates,
    workers: &[WorkerHandle],
    index: usize,
) -> FrontendStatus {
    let config = &node.config.frontends[index];
    let (requests_total, server_errors) = requests_and_server_errors(workers, index);
    let now = Instant::now();
    let event = |&event: &Event| {
        let count = workers.iter().map(|worker| worker.counters.frontends[index].event(event).value()).sum();
        (event.name(), count)
    };
    FrontendStatus {
        name: config.name.clone(),
        mode: config.mode,
        binds: bindings.of_frontend(index),
        connections: node.frontends[index].taken().into(),
        maxconn: node.frontends[index].max().into(),
        connections_total: sum(workers, index, |counters| &counters.connections),
        requests_total,
        requests_per_second: rates.requests_per_second(now, requests_total),
        responses: std::array::from_fn(|class| {
            workers.iter().map(|worker| worker.counters.frontends[index].responses[class].value()).sum()
        }),
        server_errors_per_minute: rates.server_errors_per_minute(now, server_errors),
        bytes_in: sum(workers, index, |counters| &counters.bytes_in),
        bytes_out: sum(workers, index, |counters| &counters.bytes_out),
        counters: Event::ALL
            .iter()
            .map(event)
            .chain([(BIND_ERRORS, bindings.errors_of_frontend(index))])
            .collect(),
    }
}

fn backend(node: &Node, servers: &[ServerHealth], workers: &[WorkerHandle], index: usize) -> BackendStatus {
    let backend = &node.config.backends[index];
    let state = &node.backends[index];
    let now = Instant::now();
    let queue = state.queue();
    let sum = |server: usize, counter: fn(&ServerCounters) -> &Counter| {
        workers.iter().map(|worker| counter(&worker.counters.servers[index][server]).value()).sum()
    };
    let servers =
        backend.servers.iter().zip(servers).enumerate().map(|(server, (config, health))| ServerStatus {
            name: config.name.clone(),
            address: config.address.clone(),
            resolved: health.address,
            name_problem: health.name_problem.clone(),
            state: health.state(),
            since: health.since,
            in_flight: state.in_flight(server).into(),
            queued: queue.len_at(server) as u64,
            requests_total: sum(server, |counters| &counters.requests),
            connect_errors: sum(server, |counters| &counters.connect_errors),
            weight: health.weight(config),
            share: share(backend, health, now).percent(),
            backup: config.backup,
            maxconn: config.maxconn,
            last_check: health.last_check.clone(),
        });
    BackendStatus { name: backend.name.clone(), servers: servers.collect() }
}

fn sum(workers: &[WorkerHandle], frontend: usize, counter: fn(&FrontendCounters) -> &Counter) -> u64 {
    workers.iter().map(|worker| counter(&worker.counters.frontends[frontend]).value()).sum()
}
