//! Builds [`Status`] from what the workers have counted; nobody is asked, nobody waits.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    BackendStatus, Compressed, FrontendStatus, Histogram, Refused, ServerStatus, Status, StepTimes, Traffic,
    Unanswered, Why,
};
use crate::{
    config::{Address, Backend, BackendId},
    health::{routing::share, server::ServerHealth},
    limit::Limit,
    listener::binding::Bindings,
    metrics::{BIND_ERRORS, BackendCounters, Counter, Event, FrontendCounters, ServerCounters},
    node::{BackendState, Node},
    rates::{Answers, Recent, Sums},
    upstream::balance::Usable,
    wheel::TICK,
};

/// Of the first generation, which is in force, and those before it that are still in use.
pub(crate) fn collect(generations: &[Arc<Node>], bindings: &Bindings) -> Status {
    let node = &*generations[0];
    let routing = node.routing.load();
    let frontends = (0..node.config.frontends.len()).map(|index| frontend(node, bindings, index)).collect();
    let backends = (0..node.config.backends.len())
        .map(|index| Of { node, id: BackendId(index), usable: &routing.backends[index] }.backend())
        .collect();
    Status {
        frontends,
        backends,
        connections: node.connections.taken().into(),
        maxconn: node.connections.max().into(),
        full_since: full_since(node, &node.connections),
        tables: node.tables.status(),
        generation: node.generation,
        old_generations: generations.len() as u64 - 1,
        logs: node.loggers.status(),
        delays: node.counters.iter().map(|worker| Histogram::sum([&*worker.delays].into_iter())).collect(),
    }
}

/// Since the start, over all workers.
pub(super) fn requests_and_server_errors(node: &Node, frontend: usize) -> (u64, u64) {
    let sum = |counter: fn(&FrontendCounters) -> &Counter| sum(node, frontend, counter);
    (sum(|counters| &counters.requests), sum(|counters| &counters.responses[5]))
}

/// Since the start, over all workers.
pub(super) fn connections(node: &Node, frontend: usize) -> u64 {
    sum(node, frontend, |counters| &counters.connections)
}

fn frontend(node: &Node, bindings: &Bindings, index: usize) -> FrontendStatus {
    let (config, shared) = (&node.config.frontends[index], &node.frontends[index]);
    let (requests_total, server_errors) = requests_and_server_errors(node, index);
    let now = Instant::now();
    let event = |&event: &Event| {
        let count = node.counters.iter().map(|worker| worker.frontends[index].event(event).value()).sum();
        (event.name(), count)
    };
    let peaks = node.counters.iter().map(|worker| worker.frontends[index].peak.value());
    let rates = shared.rates();
    FrontendStatus {
        name: config.name.clone(),
        mode: config.mode,
        binds: bindings.of_frontend(index),
        paused: bindings.pauses().get(&config.name).cloned(),
        connections: shared.connections.taken().into(),
        connections_peak: peaks.max().unwrap_or(0),
        maxconn: shared.connections.max().into(),
        full_since: full_since(node, &shared.connections),
        connections_total: connections(node, index),
        connection_rate: rates.connections.per_second(),
        requests_total,
        request_rate: rates.requests.per_second(),
        request_errors: sum(node, index, |counters| &counters.request_errors),
        requests_per_second: rates.requests_per_second(now, requests_total),
        responses: std::array::from_fn(|class| {
            node.counters.iter().map(|worker| worker.frontends[index].responses[class].value()).sum()
        }),
        server_errors_per_minute: rates.server_errors_per_minute(now, server_errors),
        bytes_in: sum(node, index, |counters| &counters.bytes_in),
        bytes_out: sum(node, index, |counters| &counters.bytes_out),
        compressed: Compressed::sum(node.counters.iter().map(|worker| &worker.frontends[index].compression)),
        refused: shared.refusals.report(node.now()),
        counters: Event::ALL
            .iter()
            .map(event)
            .chain([(BIND_ERRORS, bindings.errors_of_frontend(index))])
            .collect(),
    }
}

/// A backend.
#[derive(Clone, Copy)]
struct Of<'a> {
    node: &'a Node,
    id: BackendId,
    usable: &'a Usable,
}

impl<'a> Of<'a> {
    fn backend(self) -> BackendStatus {
        let known = self.node.health(self.id).into_iter().enumerate();
        let servers: Vec<_> = known.map(|(index, health)| self.server(index, health)).collect();
        let reported = self.state().shared.refusals.report(self.node.now());
        let (unanswered, refused): (Vec<_>, _) =
            reported.into_iter().partition(|row| row.why == Why::Unanswered);
        let queued = self.state().shared.line().len() as u64;
        BackendStatus {
            name: self.config().name.clone(),
            mode: self.config().mode,
            fullconn: self.state().shared.fullconn(),
            queued,
            traffic: self.traffic(&servers),
            compressed: Compressed::sum(self.counters().map(|counters| &counters.compression)),
            refused,
            unanswered: unanswered.into_iter().next().and_then(|row| self.unanswered(row)),
            outage: self.state().shared.history().outage,
            totals: self.node.is_timed.then(|| {
                Histogram::sum(self.counters().flat_map(BackendCounters::all).map(|one| &one.steps.totals))
            }),
            servers,
        }
    }

    /// If most of the last answers were such.
    fn unanswered(self, Refused { since, reason, .. }: Refused) -> Option<Unanswered> {
        let answers = Answers::sum(self.counters());
        let latest = self.state().shared.history().answers.latest(Instant::now(), answers);
        let (count, of) = (latest.made_up.min(latest.all), latest.all);
        // One alone may be a slow page.
        (count > 1 && 2 * count > of).then_some(Unanswered { count, of, since, reason })
    }

    fn server(self, index: usize, health: ServerHealth) -> ServerStatus {
        let (config, shared) = (&self.config().servers[index], &self.state().servers[index]);
        ServerStatus {
            name: config.name.clone(),
            address: config.address.clone(),
            resolved: health.address.as_ref().and_then(Address::socket),
            state: health.state(),
            since: health.since,
            traffic: self.traffic_of(index),
            history: health.history,
            level: health.level,
            is_checked: self.config().check.is_some(),
            is_observed: self.config().observe.is_some(),
            is_in_use: self.usable.takes_new(index),
            in_flight: shared.in_flight().into(),
            requests_total: self.sum(index, |counters| &counters.requests),
            connect_errors: self.sum(index, |counters| &counters.connect_errors),
            weight: health.weight(config),
            share: share(self.config(), &health, Instant::now()).percent(),
            backup: config.backup,
            maxconn: health.maxconn(config),
            name_problem: health.name_problem,
            last_check: health.last_check,
            agent: health.agent_said,
            orders: health.orders,
        }
    }

    /// Of one server.
    fn traffic_of(self, server: usize) -> Traffic {
        let (shared, shared_of_all) = (&self.state().servers[server], &self.state().shared);
        let (queued, queued_peak) = shared_of_all.line().waiting_for(Some(shared.number));
        let mut traffic = Traffic {
            current: shared.in_flight().into(),
            queued: queued as u64,
            queued_peak: queued_peak as u64,
            rate: shared.rates().sessions.per_second(),
            ..Traffic::default()
        };
        let (mut sums, mut longest) = (Sums::default(), [0; 4]);
        for counters in self.counters().map(|counters| &counters.servers[server]) {
            sums.add(&counters.steps);
            raise(&mut longest, &counters.steps.longest);
            traffic.add(counters);
            traffic.add_responses(&counters.responses);
            traffic.sessions_total += counters.sessions();
            traffic.peak = traffic.peak.max(counters.peak.value());
            traffic.idle = traffic.idle.into_iter().chain(self.idle(counters)).min();
        }
        traffic.steps = self.steps(&shared.rates().steps, sums, longest);
        traffic
    }

    /// Of all.
    fn traffic(self, servers: &[ServerStatus]) -> Traffic {
        let shared = &self.state().shared;
        let (queued, queued_peak) = shared.line().waiting_for(None);
        let history = shared.history();
        let mut traffic = Traffic {
            current: self.state().load(),
            peak: history.peak,
            queued: queued as u64,
            queued_peak: queued_peak as u64,
            rate: history.rate.per_second(),
            idle: servers.iter().filter_map(|server| server.traffic.idle).min(),
            ..Traffic::default()
        };
        let (mut sums, mut longest) = (Sums::default(), [0; 4]);
        for counters in self.counters() {
            raise(&mut longest, &counters.longest);
            for one in counters.all() {
                traffic.add(one);
                sums.add(&one.steps);
            }
            traffic.add_responses(&counters.responses);
            traffic.sessions_total += counters.requests.value();
            traffic.peak = traffic.peak.max(counters.peak.value());
        }
        traffic.steps = self.steps(&history.steps, sums, longest);
        traffic
    }

    fn steps(self, recent: &Recent, sums: Sums, longest: [u64; 4]) -> Option<StepTimes> {
        self.node.is_timed.then(|| {
            let (count, sum) = sums.totals();
            StepTimes { average: recent.average(sums), longest: longest.into(), count, sum }
        })
    }

    /// How long ago a worker gave the server something.
    fn idle(self, counters: &ServerCounters) -> Option<Duration> {
        let tick = counters.last.value().checked_sub(1)?;
        Some(self.node.now().saturating_sub(TICK * u32::try_from(tick).unwrap_or(u32::MAX)))
    }

    fn sum(self, server: usize, counter: fn(&ServerCounters) -> &Counter) -> u64 {
        self.counters().map(|counters| counter(&counters.servers[server]).value()).sum()
    }

    /// By worker.
    fn counters(self) -> impl Iterator<Item = &'a BackendCounters> {
        self.node.counters.iter().map(move |worker| &worker.backends[self.id.0])
    }

    fn config(self) -> &'a Backend {
        self.node.backend(self.id)
    }

    fn state(self) -> &'a BackendState {
        &self.node.backends[self.id.0]
    }
}

fn full_since(node: &Node, limit: &Limit) -> Option<SystemTime> {
    limit.short_for(node.now()).map(|time| SystemTime::now() - time)
}

fn sum(node: &Node, frontend: usize, counter: fn(&FrontendCounters) -> &Counter) -> u64 {
    node.counters.iter().map(|worker| counter(&worker.frontends[frontend]).value()).sum()
}

/// Makes each at least what a worker has seen.
fn raise(longest: &mut [u64; 4], seen: &[Counter; 4]) {
    for (longest, seen) in longest.iter_mut().zip(seen) {
        *longest = seen.value().max(*longest);
    }
}
