//! What is known of every server, and who is told: the workers (usable servers) and the composition root ([`Health`]).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{Notify, watch};

use super::{
    Checker, Verdict,
    probe::{Outcome, probe},
    routing::{routing, share, usable},
    slowstart,
};
use crate::{
    config::{Backend, BackendId, Check, Config},
    node::Node,
    status::{BackendHealth, CheckReport, Health, ServerState},
};

/// The board.
#[derive(Debug)]
pub(crate) struct Board {
    node: Arc<Node>,
    health: watch::Sender<Health>,
    /// By backend, then server.
    servers: Mutex<Vec<Vec<ServerHealth>>>,
    /// By backend: a server of it came back.
    came_back: Box<[Notify]>,
}

/// What is known of a server.
#[derive(Clone, Debug)]
pub(crate) struct ServerHealth {
    pub(crate) state: ServerState,
    pub(crate) since: SystemTime,
    pub(crate) last_check: Option<CheckReport>,
    /// When it came up, if it was down before: its slow start begins there.
    pub(crate) came_back: Option<Instant>,
}

impl ServerHealth {
    pub(crate) fn new(state: ServerState, since: SystemTime) -> Self {
        Self { state, since, last_check: None, came_back: None }
    }
}

impl Board {
    /// The board at the start: nothing checked yet.
    pub(crate) fn new(config: Config) -> (Arc<Node>, Arc<Self>) {
        let now = SystemTime::now();
        let servers: Vec<Vec<_>> = config
            .backends
            .iter()
            .map(|backend| {
                let state =
                    if backend.check.is_some() { ServerState::Unchecked } else { ServerState::NoCheck };
                vec![ServerHealth::new(state, now); backend.servers.len()]
            })
            .collect();
        let routing = routing(&config, &servers, Instant::now());
        let came_back = config.backends.iter().map(|_| Notify::new()).collect();
        let node = Node::new(config, routing);
        let health = watch::Sender::new(Health::default());
        let board = Self { node: Arc::clone(&node), health, servers: Mutex::new(servers), came_back };
        board.publish(&board.servers());
        (node, Arc::new(board))
    }

    /// Where [`Health`] is published; others change their own fields of it.
    pub(crate) fn health(&self) -> &watch::Sender<Health> {
        &self.health
    }

    pub(crate) fn servers(&self) -> MutexGuard<'_, Vec<Vec<ServerHealth>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks one server for ever.
    pub(crate) async fn check(self: Arc<Self>, backend: BackendId, server: usize, seed: u64) {
        let config = self.node.backend(backend);
        let Some(check) = config.check.as_ref() else { return };
        let address = config.servers[server].address;
        let clock = Instant::now();
        let mut checker = Checker::new(check.interval, check.rise, check.fall, seed, Duration::ZERO);
        loop {
            if let Some(due) = checker.poll_timeout() {
                tokio::time::sleep_until((clock + due).into()).await;
            }
            let started = clock.elapsed();
            if !checker.handle_timeout(started) {
                continue;
            }
            let outcome = probe(check, address).await;
            let ended = clock.elapsed();
            let verdict = checker.handle_result(ended, outcome.passed);
            self.record(backend, server, check, &checker, outcome, ended - started, verdict);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one result is that many facts")]
    fn record(
        &self,
        backend: BackendId,
        server: usize,
        check: &Check,
        checker: &Checker,
        outcome: Outcome,
        duration: Duration,
        verdict: Option<Verdict>,
    ) {
        let config = self.node.backend(backend);
        let mut servers = self.servers();
        let known = &mut servers[backend.0][server];
        let at = SystemTime::now();
        let Outcome { passed, what } = outcome;
        known.last_check =
            Some(CheckReport { passed, what: what.clone(), duration, in_a_row: checker.in_a_row(), at });
        let Some(verdict) = verdict else {
            if !passed && checker.is_up() {
                let failures = format!("{} of {}", checker.in_a_row(), check.fall);
                tracing::info!(backend = %config.name, server = %config.servers[server].name, reason = %what, %failures, "check failed");
            }
            return;
        };
        let from = known.state;
        known.state = if verdict == Verdict::Up { ServerState::Up } else { ServerState::Down };
        known.since = at;
        let to = known.state;
        known.came_back = (from == ServerState::Down).then(Instant::now);
        log_transition(config, server, from, to, &what);
        self.route(backend, &servers[backend.0]);
        self.publish(&servers);
        drop(servers);
        self.node.serve_queue(backend);
        self.came_back[backend.0].notify_one();
    }

    /// Tells the workers which servers of a backend are usable.
    fn route(&self, backend: BackendId, servers: &[ServerHealth]) {
        let usable = usable(self.node.backend(backend), servers, Instant::now());
        self.node.routing.update(|routing| routing.backends[backend.0] = Arc::new(usable));
    }

    /// Raises the shares of servers that came back, step by step, for ever.
    pub(crate) async fn slow_starts(self: Arc<Self>, backend: BackendId) {
        let config = self.node.backend(backend);
        if config.slowstart.is_zero() {
            return;
        }
        loop {
            self.came_back[backend.0].notified().await;
            loop {
                tokio::time::sleep(slowstart::step(config.slowstart)).await;
                let servers = self.servers();
                self.route(backend, &servers[backend.0]);
                let now = Instant::now();
                if servers[backend.0].iter().all(|server| share(config, server, now).is_full()) {
                    break;
                }
                drop(servers);
                // A server's `maxconn` grows with its share.
                self.node.serve_queue(backend);
            }
            self.node.serve_queue(backend);
        }
    }

    fn publish(&self, servers: &[Vec<ServerHealth>]) {
        let config = &self.node.config;
        let backends: Vec<_> = config
            .backends
            .iter()
            .enumerate()
            .map(|(index, backend)| backend_health(config, index, backend, &servers[index]))
            .collect();
        let first_round_done = servers.iter().flatten().all(|server| server.state != ServerState::Unchecked);
        self.health.send_if_modified(|health| {
            let changed = health.backends != backends || health.first_round_done != first_round_done;
            health.backends = backends;
            health.first_round_done = first_round_done;
            changed
        });
    }
}

fn backend_health(
    config: &Config,
    index: usize,
    backend: &Backend,
    servers: &[ServerHealth],
) -> BackendHealth {
    let is_reached =
        config.frontends.iter().any(|frontend| frontend.default_backend == Some(BackendId(index)));
    let usable = servers
        .iter()
        .filter(|server| matches!(server.state, ServerState::Up | ServerState::NoCheck))
        .count();
    let last_down = backend
        .servers
        .iter()
        .zip(servers)
        .filter(|(_, health)| health.state == ServerState::Down)
        .max_by_key(|(_, health)| health.since);
    let reason = last_down.map(|(server, health)| {
        let what = health.last_check.as_ref().map_or("down", |check| check.what.as_str());
        format!("{}: {what}", server.name)
    });
    BackendHealth {
        name: backend.name.clone(),
        counts: backend.readiness && is_reached,
        usable,
        total: servers.len(),
        reason,
    }
}

fn log_transition(backend: &Backend, server: usize, from: ServerState, to: ServerState, reason: &str) {
    let (backend, server) = (&backend.name, &backend.servers[server].name);
    if to == ServerState::Down {
        tracing::warn!(%backend, %server, ?from, ?to, reason, "server is down");
    } else {
        tracing::info!(%backend, %server, ?from, ?to, reason, "server is up");
    }
}
