//! What is known of every server, and who is told: the workers (usable servers) and the composition root ([`Health`]).

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{Notify, watch};

use super::{
    Checker,
    outcome::Outcome,
    probe::probe,
    routing::{routing, share, usable},
    server::ServerHealth,
    slowstart,
};
use crate::{
    config::{Backend, BackendId, Check, Config},
    node::{Node, Routing},
    status::{BackendHealth, CheckCode, CheckReport, Health, ServerState},
    worker::WorkerHandle,
};

/// The board.
#[derive(Debug)]
pub(crate) struct Board {
    node: Arc<Node>,
    health: watch::Sender<Health>,
    /// By backend: a server of it came back.
    came_back: Box<[Notify]>,
    workers: OnceLock<Arc<[WorkerHandle]>>,
    /// Changes with every lookup of a name.
    lookups: watch::Sender<()>,
}

/// One server, for the tasks that learn something about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of {
    pub(crate) backend: BackendId,
    pub(crate) server: usize,
}

impl Board {
    /// The board at the start: nothing checked yet.
    pub(crate) fn new(config: Config) -> (Arc<Node>, Arc<Self>) {
        let came_back = config.backends.iter().map(|_| Notify::new()).collect();
        let node = Node::new(config, Routing::default());
        node.routing.store(routing(&node.config, &node.servers(), Instant::now()));
        let health = watch::Sender::new(Health::default());
        let board = Self {
            node: Arc::clone(&node),
            health,
            came_back,
            workers: OnceLock::new(),
            lookups: watch::Sender::new(()),
        };
        board.publish(&node.servers());
        (node, Arc::new(board))
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// A name was looked up, with whatever outcome.
    pub(super) fn looked_up(&self) {
        self.lookups.send_replace(());
    }

    pub(super) fn lookups(&self) -> watch::Receiver<()> {
        self.lookups.subscribe()
    }

    /// Where [`Health`] is published; others change their own fields of it.
    pub(crate) fn health(&self) -> &watch::Sender<Health> {
        &self.health
    }

    /// Those that have connections to cut when a server goes down. Called once.
    pub(crate) fn set_workers(&self, workers: Arc<[WorkerHandle]>) {
        let _ = self.workers.set(workers);
    }

    /// Checks one server for ever, the first time after `delay`.
    pub(crate) async fn check(self: Arc<Self>, of: Of, seed: u64, delay: Duration) {
        let config = self.node.backend(of.backend);
        let Some(check) = config.check.as_ref() else { return };
        let watch = &self.node.backends[of.backend.0].watches[of.server];
        let clock = Instant::now();
        let mut checker = Checker::new(check.pace, check.rise, check.fall, seed, delay);
        loop {
            let due = checker.poll_timeout().unwrap_or_else(|| clock.elapsed());
            tokio::select! {
                () = tokio::time::sleep_until((clock + due).into()) => {}
                last = watch.reached() => {
                    self.observed(of, &mut checker, clock.elapsed(), &last);
                    continue;
                }
            }
            let started = clock.elapsed();
            if !checker.handle_timeout(started) {
                continue;
            }
            let server = &config.servers[of.server];
            let mut outcome = match self.address(of.backend, of.server).await {
                Ok(address) => probe(check, check.address(address, server.check_at)).await,
                Err(why) => Outcome::new(CheckCode::L4Connection, why),
            };
            // Only a server that is up can ask to be left out of the balance.
            if check.disable_on_404
                && outcome.status == Some(404)
                && outcome.code == CheckCode::L7Status
                && checker.is_up()
            {
                outcome.code = CheckCode::L7OkConditional;
            }
            let ended = clock.elapsed();
            checker.handle_result(ended, outcome.code.passed());
            self.checked(of, check, &checker, outcome, ended - started);
        }
    }

    /// A check has ended.
    fn checked(&self, of: Of, check: &Check, checker: &Checker, outcome: Outcome, duration: Duration) {
        let in_a_row = checker.in_a_row();
        let report =
            CheckReport { code: outcome.code, what: outcome.what, duration, in_a_row, at: SystemTime::now() };
        if !report.passed() && checker.is_up() {
            let config = self.node.backend(of.backend);
            let failures = format!("{in_a_row} of {}", check.fall);
            tracing::info!(
                backend = %config.name,
                server = %config.servers[of.server].name,
                reason = %report,
                %failures,
                "check failed"
            );
        }
        self.change(of, |known| {
            known.update(checker);
            known.set_stopping(report.code == CheckCode::L7OkConditional);
            known.last_check = Some(report);
        });
    }

    /// Too many errors of real traffic.
    fn observed(&self, of: Of, checker: &mut Checker, now: Duration, last: &str) {
        let config = self.node.backend(of.backend);
        let Some(observe) = &config.observe else { return };
        let verdict = checker.handle_errors(now, observe.on_error);
        let what = format!("{} errors in a row, the last: {last}", observe.error_limit);
        tracing::info!(
            backend = %config.name,
            server = %config.servers[of.server].name,
            reason = %what,
            "errors of traffic"
        );
        if verdict.is_some() {
            self.change(of, |known| {
                known.update(checker);
                known.last_check = Some(CheckReport {
                    code: CheckCode::Observed,
                    what,
                    duration: Duration::ZERO,
                    in_a_row: 1,
                    at: SystemTime::now(),
                });
            });
        }
    }

    /// Changes what is known of a server, and tells everybody what follows.
    pub(crate) fn change(&self, of: Of, change: impl FnOnce(&mut ServerHealth)) {
        let config = self.node.backend(of.backend);
        let mut servers = self.node.servers();
        let known = &mut servers[of.backend.0][of.server];
        let before = (known.state(), known.weight(&config.servers[of.server]), known.is_ready());
        change(known);
        let after = (known.state(), known.weight(&config.servers[of.server]), known.is_ready());
        if before == after {
            return;
        }
        if before.0 != after.0 {
            known.since = SystemTime::now();
            known.came_back = (is_down(before.0) && !is_down(after.0)).then(Instant::now);
            let reason = known.reason(config.check.as_ref().map_or(1, |check| check.fall));
            log_transition(config, of.server, before.0, after.0, reason.as_deref().unwrap_or_default());
        }
        self.route(of.backend, &servers[of.backend.0]);
        self.publish(&servers);
        drop(servers);
        self.node.serve_queue(of.backend);
        self.came_back[of.backend.0].notify_one();
        if config.cut_when_down && is_down(after.0) && !is_down(before.0) {
            self.cut(of);
        }
    }

    /// Tells the workers which servers of a backend are usable.
    pub(super) fn route(&self, backend: BackendId, servers: &[ServerHealth]) {
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
                let is_full = {
                    let servers = self.node.servers();
                    self.route(backend, &servers[backend.0]);
                    let now = Instant::now();
                    servers[backend.0].iter().all(|server| share(config, server, now).is_full())
                };
                // A server's `maxconn` grows with its share.
                self.node.serve_queue(backend);
                if is_full {
                    break;
                }
            }
        }
    }

    /// Ends what goes through a server, without waiting for the workers.
    fn cut(&self, of: Of) {
        let Some(workers) = self.workers.get().map(Arc::clone) else { return };
        tokio::spawn(async move {
            for worker in workers.iter() {
                worker.run(move |worker| worker.registry().cut(of.backend, of.server)).await;
            }
        });
    }

    pub(super) fn publish(&self, servers: &[Vec<ServerHealth>]) {
        let config = &self.node.config;
        let backends: Vec<_> = config
            .backends
            .iter()
            .enumerate()
            .map(|(index, backend)| backend_health(config, index, backend, &servers[index]))
            .collect();
        let first_round_done = servers.iter().flatten().all(ServerHealth::is_known);
        self.health.send_if_modified(|health| {
            let changed = health.backends != backends || health.first_round_done != first_round_done;
            health.backends = backends;
            health.first_round_done = first_round_done;
            changed
        });
    }
}

fn is_down(state: ServerState) -> bool {
    matches!(state, ServerState::Down | ServerState::AgentDown)
}

/// For readiness: by active checks alone.
fn backend_health(
    config: &Config,
    index: usize,
    backend: &Backend,
    servers: &[ServerHealth],
) -> BackendHealth {
    let is_reached = config
        .frontends
        .iter()
        .any(|frontend| frontend.backends().any(|backend| backend == BackendId(index)));
    let usable = servers.iter().filter(|server| server.is_ready()).count();
    let last_down = backend
        .servers
        .iter()
        .zip(servers)
        .filter(|(_, health)| health.state() == ServerState::Down)
        .max_by_key(|(_, health)| health.since);
    let reason = last_down.map(|(server, health)| {
        let what = health.last_check.as_ref().map_or_else(|| "down".to_owned(), CheckReport::to_string);
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
    match to {
        ServerState::Down | ServerState::AgentDown => {
            tracing::warn!(%backend, %server, ?from, ?to, reason, "server is down");
        }
        ServerState::Up | ServerState::Unchecked | ServerState::NoCheck => {
            tracing::info!(%backend, %server, ?from, ?to, reason, "server is up");
        }
        ServerState::NoBalance | ServerState::Drain | ServerState::Maintenance => {
            tracing::info!(%backend, %server, ?from, ?to, reason, "server takes no new clients");
        }
    }
}
