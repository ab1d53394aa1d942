//! What is kept of the counters once a second, so that [`super::Status`] can tell rates, peaks and averages.

use std::time::{Duration, Instant};

use super::collect::{connections, requests_and_server_errors};
use crate::{
    metrics::BackendCounters,
    node::Node,
    rates::{Answers, Sums},
    refusals::{Refusals, Why},
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
    tell_held_back(node, node.now());
}

/// Says how many more were refused, and why, of those that are said once a second only.
pub(crate) fn tell_held_back(node: &Node, now: Duration) {
    let tell = |refusals: &Refusals, frontend: Option<&str>, backend: Option<&str>| {
        for (why, reason, more) in refusals.held_back(now) {
            let reason = &*reason;
            match why {
                Why::Unanswered => tracing::warn!(frontend, backend, reason, more, "more got no answer"),
                // What it is said of for the first time is no warning either.
                Why::Source => tracing::info!(frontend, backend, reason, more, "more were refused"),
                _ => tracing::warn!(frontend, backend, reason, more, "more were refused"),
            }
        }
    };
    for (index, frontend) in node.frontends.iter().enumerate() {
        tell(&frontend.refusals, Some(&node.config.frontends[index].name), None);
    }
    for backend in &node.backends {
        tell(&backend.shared.refusals, None, Some(&backend.shared.name));
    }
}
