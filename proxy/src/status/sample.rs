//! What is kept of the counters once a second, so that [`super::Status`] can tell rates, peaks and averages.

use std::time::Instant;

use super::collect::{connections, requests_and_server_errors};
use crate::{
    metrics::BackendCounters,
    node::Node,
    rates::{Answers, Sums},
};

/// Takes a sample of everything.
pub(crate) fn sample(node: &Node, now: Instant) {
    if node.connections.look(node.now()) {
        let max = node.connections.max();
        tracing::warn!(maxconn = max, "the process is full: clients wait in the kernel's queue");
    }
    for (index, frontend) in node.frontends.iter().enumerate() {
        if frontend.connections.look(node.now()) {
            let (name, max) = (&node.config.frontends[index].name, frontend.connections.max());
            tracing::warn!(frontend = %name, maxconn = max, "the frontend is full: clients wait in the kernel's queue");
        }
        let (requests, server_errors) = requests_and_server_errors(node, index);
        let mut rates = frontend.rates();
        rates.sample(now, requests, server_errors);
        rates.requests.sample(now, requests);
        rates.connections.sample(now, connections(node, index));
    }
    for (index, backend) in node.backends.iter().enumerate() {
        let counters = || node.counters.iter().map(|worker| &worker.backends[index]);
        let mut history = backend.shared.history();
        history.peak = history.peak.max(backend.load());
        history.rate.sample(now, counters().map(|counters| counters.requests.value()).sum());
        let mut sums = Sums::default();
        counters().flat_map(BackendCounters::all).for_each(|one| sums.add(&one.steps));
        history.steps.sample(sums);
        history.answers.sample(now, Answers::sum(counters()));
        for (server, shared) in backend.servers.iter().enumerate() {
            let sessions = counters().map(|counters| counters.servers[server].sessions()).sum();
            let mut sums = Sums::default();
            counters().for_each(|counters| sums.add(&counters.servers[server].steps));
            let mut rates = shared.rates();
            rates.sessions.sample(now, sessions);
            rates.steps.sample(sums);
        }
    }
}
