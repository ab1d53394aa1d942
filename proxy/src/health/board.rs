//! What is known of every server, and who is told: the workers (usable servers) and the composition root ([`Health`]).

use std::{
    collections::{BTreeMap, HashMap},
    iter,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{
    Checker,
    events::{self, Before},
    outcome::Outcome,
    passive::Seen,
    probe::{Below, probe},
    routing::{routing, share, usable},
    server::ServerHealth,
    slowstart,
    tasks::Running,
};
use crate::{
    StateChange,
    config::{Address, Backend, BackendId, Check, Config, Elsewhere, Server, Source},
    handover,
    node::{BackendShared, Lineage, Node, ServerShared},
    sample::Maps,
    status::{BackendHealth, CheckCode, CheckReport, Health, ServerState},
    worker::WorkerHandle,
};

/// The board.
#[derive(Debug)]
pub(crate) struct Board {
    /// Locked by whoever changes what is known, so that everybody is told in the same order.
    known: Mutex<Known>,
    health: watch::Sender<Health>,
    pub(super) running: Mutex<Running>,
    workers: OnceLock<Arc<[WorkerHandle]>>,
    /// Changes with every lookup of a name.
    lookups: watch::Sender<()>,
    /// Changes with every generation.
    pub(super) reloads: watch::Sender<()>,
    /// Nothing is checked any more, and another process may speak for this one.
    pub(super) has_ended: AtomicBool,
}

/// The generations of the configuration that somebody still uses, and what outlives them.
#[derive(Debug)]
pub(super) struct Known {
    /// In force.
    pub(super) node: Arc<Node>,
    /// Those before it, the newest first.
    pub(super) before: Vec<Weak<Node>>,
    /// The last good answer for each name.
    pub(super) answers: HashMap<Box<str>, Vec<IpAddr>>,
    /// Once it is over, it is not awaited again.
    pub(super) first_round_done: bool,
}

/// Where a server is in the configuration in force.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) node: Arc<Node>,
    pub(crate) backend: BackendId,
    pub(crate) index: usize,
}

impl Place {
    pub(crate) fn backend(&self) -> &Backend {
        self.node.backend(self.backend)
    }

    pub(crate) fn source(&self) -> &Source {
        self.backend().source(self.index)
    }

    pub(crate) fn server(&self) -> &Server {
        &self.backend().servers[self.index]
    }
}

impl Place {
    /// Does the backend's check go to where its servers are?
    fn is_checked_there(&self) -> bool {
        self.backend().check.as_ref().is_none_or(|check| check.at == Elsewhere::default())
    }

    /// What stands below the talk of its checks.
    fn below(&self) -> Below {
        let server = self.server();
        Below {
            proxy: server.check_proxy,
            tls: self.node.backends[self.backend.0].check_connectors[self.index].clone(),
            sni: server.check_sni.clone(),
            http2: server.http2 && server.check_at == Elsewhere::default() && self.is_checked_there(),
        }
    }
}

impl Known {
    /// The one in force first.
    pub(super) fn generations(&self) -> impl Iterator<Item = Arc<Node>> {
        iter::once(Arc::clone(&self.node)).chain(self.before.iter().filter_map(Weak::upgrade))
    }
}

impl Board {
    /// The board at the start: nothing checked yet but what a process before this one has checked.
    pub(crate) fn new(config: Config, maps: Maps, known: &handover::Known) -> Arc<Self> {
        let node = Node::new(known.generation() + 1, config, maps, Lineage::default());
        known.restore(&node);
        node.enforce();
        node.routing.store(routing(&node, Instant::now()));
        note_outages(&node);
        let answers = known.answers().collect();
        let known = Known { node, before: Vec::new(), answers, first_round_done: false };
        let board = Self {
            known: Mutex::new(known),
            health: watch::Sender::new(Health::default()),
            running: Mutex::default(),
            workers: OnceLock::new(),
            lookups: watch::Sender::new(()),
            reloads: watch::Sender::new(()),
            has_ended: AtomicBool::new(false),
        };
        board.publish(&mut board.known());
        Arc::new(board)
    }

    /// What is in force.
    pub(crate) fn node(&self) -> Arc<Node> {
        Arc::clone(&self.known().node)
    }

    /// `None` if the configuration does not have this server any more.
    pub(crate) fn place(&self, server: &ServerShared) -> Option<Place> {
        let node = self.node();
        let (backend, index) = node.place(server.number)?;
        Some(Place { node, backend, index })
    }

    /// Every generation that somebody still uses, the one in force first.
    pub(crate) fn generations(&self) -> Vec<Arc<Node>> {
        self.known().generations().collect()
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last good answer for each name.
    pub(crate) fn answers(&self) -> BTreeMap<String, Vec<IpAddr>> {
        let known = self.known();
        known.answers.iter().map(|(name, addresses)| (name.to_string(), addresses.clone())).collect()
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

    /// Those that have connections to cut when a server goes down, and to close when it moves. Called once.
    pub(crate) fn set_workers(&self, workers: Arc<[WorkerHandle]>) {
        let _ = self.workers.set(workers);
    }

    pub(crate) fn workers(&self) -> Arc<[WorkerHandle]> {
        self.workers.get().map_or_else(|| Arc::new([]), Arc::clone)
    }

    /// Checks one server for as long as the configuration has it, the first time after `delay`.
    pub(crate) async fn check(self: Arc<Self>, server: Arc<ServerShared>, seed: u64, delay: Duration) {
        let mut reloads = self.reloads.subscribe();
        let clock = Instant::now();
        let (mut checker, mut said): (Option<Checker>, _) = (None, None);
        loop {
            reloads.mark_unchanged();
            // Not held while it waits: that would keep a generation alive.
            let Some(place) = self.place(&server) else { return };
            let own = &place.server().own_check;
            let check = place.backend().check.as_ref().map(|check| check.of(own));
            let (elsewhere, below) = (place.server().check_at, place.below());
            let source = place.source().clone();
            drop(place);
            let Some(check) = check else {
                checker = None;
                if reloads.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let (pace, rise, fall) = (check.pace, check.rise, check.fall);
            let checker = checker.get_or_insert_with(|| {
                let health = server.health();
                match health.level {
                    Some(level) => Checker::resuming(pace, level, health.is_up_by_checks(), seed, delay),
                    None if health.is_known() => {
                        Checker::presuming_up(pace, rise, fall, seed, clock.elapsed())
                    }
                    None => Checker::new(pace, rise, fall, seed, delay),
                }
            });
            checker.adapt(pace, rise, fall, clock.elapsed());
            let due = checker.poll_timeout().unwrap_or_else(|| clock.elapsed());
            tokio::select! {
                () = tokio::time::sleep_until((clock + due).into()) => {}
                () = server.rounds.wanted() => {
                    checker.hurry(clock.elapsed());
                    continue;
                }
                last = server.watch.reached() => {
                    said = self.observed(&server, checker, clock.elapsed(), last).or(said);
                    continue;
                }
                _ = reloads.changed() => continue,
            }
            let started = clock.elapsed();
            if !checker.handle_timeout(started) {
                continue;
            }
            let number = server.rounds.begin();
            let address = self.address(&server).await;
            let mut outcome = match &address {
                Ok(address) => probe(&check, &check.address(address, elsewhere), &source, &below).await,
                Err(why) => Outcome::new(CheckCode::L4Connection, why).saying(why),
            };
            // A server that is down can't ask to be left out of the balance.
            if check.disable_on_404 && outcome.status == Some(404) && !checker.is_down() {
                outcome = Outcome { code: CheckCode::L7OkConditional, info: String::new(), ..outcome };
            }
            let (ended, before) = (clock.elapsed(), checker.level());
            let is_counted = outcome.code != CheckCode::Socket || !checker.handle_nothing(ended);
            if is_counted {
                checker.handle_result(ended, outcome.code.passed());
            }
            let report = CheckReport {
                code: outcome.code,
                what: outcome.what,
                status: outcome.status,
                info: outcome.info,
                duration: ended - started,
                in_a_row: if is_counted { checker.in_a_row() } else { 0 },
                at: SystemTime::now(),
            };
            if said.replace(report.code) != Some(report.code) || before != checker.level() {
                if !is_counted {
                    tracing::warn!(
                        backend = %server.backend,
                        server = %server.name,
                        reason = %report.what,
                        "a check could not be made here, and counts for nothing"
                    );
                }
                self.log_check(&server, checker, &report);
            }
            self.checked(&server, &check, checker, address.as_ref().ok(), report);
            server.rounds.end(number);
        }
    }

    /// A check has ended that was made while the server was at `address`.
    fn checked(
        &self,
        server: &ServerShared,
        check: &Check,
        checker: &Checker,
        address: Option<&Address>,
        report: CheckReport,
    ) {
        let has_failed = !report.passed() && report.in_a_row > 0;
        if has_failed && checker.is_up() {
            let failures = format!("{} of {}", report.in_a_row, check.fall);
            tracing::info!(
                backend = %server.backend,
                server = %server.name,
                reason = report.to_string(),
                failures,
                "check failed"
            );
        }
        self.change(server, |known| {
            // It has moved meanwhile: this says nothing of where it is now.
            if known.address.as_ref() != address {
                return;
            }
            let had_any = known.level.is_none_or(|level| level.now > 0);
            let is_counted = has_failed && had_any && known.state() != ServerState::Maintenance;
            known.history.failed_checks += u64::from(is_counted);
            known.update(checker);
            if report.passed() || has_failed {
                known.set_stopping(report.code == CheckCode::L7OkConditional);
            }
            known.last_check = Some(report);
        });
    }

    /// Too many errors of real traffic; what they count for, if they do, as if a check had found it.
    fn observed(
        &self,
        server: &ServerShared,
        checker: &mut Checker,
        now: Duration,
        last: Seen,
    ) -> Option<CheckCode> {
        let place = self.place(server)?;
        let observe = place.backend().observe.as_ref()?;
        let before = checker.level();
        checker.handle_errors(now, observe.on_error);
        let limit = observe.error_limit;
        let what = format!("{limit} errors in a row, the last: {last}");
        tracing::info!(
            backend = %server.backend,
            server = %server.name,
            reason = %what,
            "errors of traffic"
        );
        let report = (before != checker.level()).then(|| CheckReport {
            code: CheckCode::Observed,
            what,
            status: None,
            info: format!("Detected {limit} consecutive errors, last one was: {}", last.haproxys()),
            duration: Duration::ZERO,
            in_a_row: 1,
            at: SystemTime::now(),
        });
        if let Some(report) = &report {
            self.log_check(server, checker, report);
        }
        let code = report.as_ref().map(|report| report.code);
        self.change(server, |known| {
            known.history.observed_errors += 1;
            if report.is_some() {
                known.history.failed_checks += 1;
                known.update(checker);
                known.last_check = report;
            }
        });
        code
    }

    /// Changes what is known of a server, and tells everybody what follows. Nothing if the configuration does not have
    /// it any more.
    pub(crate) fn change(&self, server: &ServerShared, change: impl FnOnce(&mut ServerHealth)) {
        let mut known = self.known();
        let node = Arc::clone(&known.node);
        let Some((id, index)) = node.place(server.number) else { return };
        let (config, backend) = (node.backend(id), &node.backends[id.0]);
        let own = &config.servers[index];
        let facts = |health: &ServerHealth| {
            (health.state(), health.weight(own), health.maxconn(own), health.is_ready())
        };
        let told = |health: &ServerHealth| (down_reason(health), health.is_known());
        let mut health = server.health();
        let (before, told_before) = (facts(&health), told(&health));
        change(&mut health);
        let after = facts(&health);
        if before == after {
            let is_news = told_before != told(&health);
            drop(health);
            if is_news {
                self.publish(&mut known);
            }
            return;
        }
        let before = Before { state: before.0, weight: before.1 };
        let changed =
            note_transition(&node, server, config, before.state, &mut health).then(|| health.clone());
        server.set_limits(own, &health);
        drop(health);
        // Who has ended says nothing of what the process in charge says as well.
        if let Some(health) = changed.filter(|_| !self.has_ended.load(Ordering::Relaxed)) {
            events::log_transition(&node, id, index, before, &health);
        }
        self.route(&known, &backend.shared);
        self.publish(&mut known);
        drop(known);
        backend.shared.serve_line();
        backend.shared.came_back.notify_one();
        if config.cut_when_down && is_out(after.0) && !is_out(before.state) {
            self.cut(server.number);
        }
    }

    /// Tells the workers which servers of a backend are usable, in every generation that has it.
    pub(super) fn route(&self, known: &Known, backend: &Arc<BackendShared>) {
        for (age, node) in known.generations().enumerate() {
            let Some(id) = node.sharing(backend) else { continue };
            let usable = usable(node.backend(id), &node.health(id), Instant::now());
            if age == 0 {
                note_outage(&node, id, usable.is_empty());
            }
            node.routing.update(|routing| routing.backends[id.0] = Arc::new(usable));
        }
    }

    /// Raises the shares of servers that came back, step by step, for as long as the configuration has the backend.
    pub(crate) async fn slow_starts(self: Arc<Self>, backend: Arc<BackendShared>) {
        loop {
            backend.came_back.notified().await;
            loop {
                let Some(slowstart) = self.slowstart(&backend) else { return };
                if slowstart.is_zero() {
                    break;
                }
                tokio::time::sleep(slowstart::step(slowstart)).await;
                let known = self.known();
                self.route(&known, &backend);
                let is_full = is_full(&known.node, &backend, Instant::now());
                drop(known);
                // A server's `maxconn` grows with its share.
                backend.serve_line();
                if is_full {
                    break;
                }
            }
        }
    }

    /// `None` if the configuration does not have the backend.
    fn slowstart(&self, backend: &Arc<BackendShared>) -> Option<Duration> {
        let node = self.node();
        Some(node.backend(node.sharing(backend)?).slowstart)
    }

    /// Ends what goes through a server, without waiting for the workers.
    pub(super) fn cut(&self, server: u32) {
        let workers = self.workers();
        tokio::spawn(async move {
            for worker in workers.iter() {
                worker.run(move |worker| worker.registry().cut(server)).await;
            }
        });
    }

    pub(super) fn publish(&self, known: &mut Known) {
        let node = &known.node;
        let ids = (0..node.backends.len()).map(BackendId);
        let healths: Vec<_> = ids.map(|id| (id, node.health(id))).collect();
        let backends: Vec<_> =
            healths.iter().map(|(id, servers)| backend_health(&node.config, *id, servers)).collect();
        let first_round_done = known.first_round_done
            || healths.iter().flat_map(|(_, servers)| servers).all(ServerHealth::is_known);
        known.first_round_done = first_round_done;
        self.health.send_if_modified(|health| {
            let changed = health.backends != backends || health.first_round_done != first_round_done;
            health.backends = backends;
            health.first_round_done = first_round_done;
            changed
        });
    }
}

/// Do all servers of a backend have their whole share?
fn is_full(node: &Node, backend: &Arc<BackendShared>, now: Instant) -> bool {
    let Some(id) = node.sharing(backend) else { return true };
    node.health(id).iter().all(|server| share(node.backend(id), server, now).is_full())
}

/// Notes that a server has another state than `before`, if it has. Its name may have had no address since the start: then
/// it was never up, and nothing has ended when it gets one.
pub(super) fn note_transition(
    node: &Node,
    server: &ServerShared,
    backend: &Backend,
    before: ServerState,
    health: &mut ServerHealth,
) -> bool {
    let after = health.state();
    if before == after {
        return false;
    }
    let now = SystemTime::now();
    let was_down = health.history.outage.is_down;
    health.history.outage.change(is_down(after), now);
    health.since = now;
    let was_out = was_down || before == ServerState::Maintenance;
    health.came_back = (was_out && !is_out(after)).then(Instant::now);
    let own = backend.servers.iter().find(|known| *known.name == *server.name);
    let reason = health.reason(own.map_or(1, |own| backend.fall_of(own)));
    log_transition(node, server, (before, after), reason.as_deref().unwrap_or_default());
    true
}

/// What the workers of `node` are told of its backends, seen from outside.
pub(super) fn note_outages(node: &Node) {
    let routing = node.routing.load();
    for (index, usable) in routing.backends.iter().enumerate() {
        // One that has no servers never had any.
        let is_empty = usable.is_empty() && !node.config.backends[index].servers.is_empty();
        note_outage(node, BackendId(index), is_empty);
    }
}

/// A backend has a server for new clients, or none: somebody has to know of that, whatever the file logs.
fn note_outage(node: &Node, id: BackendId, is_empty: bool) {
    let (backend, now) = (&node.backend(id).name, SystemTime::now());
    if !node.backends[id.0].shared.history().outage.change(is_empty, now) {
        return;
    }
    let change =
        |from, to, reason| StateChange { at: now, backend: backend.clone(), server: None, from, to, reason };
    if is_empty {
        let reason = node.why(id, Some(now));
        tracing::error!(%backend, reason, "no usable server is left");
        node.transitions.tell(|| change("up", "down", reason));
    } else {
        tracing::info!(%backend, "has a usable server again");
        node.transitions.tell(|| change("down", "up", "has a usable server again".to_owned()));
    }
}

/// Nothing is to go on through it.
fn is_out(state: ServerState) -> bool {
    is_down(state) || state == ServerState::Maintenance
}

pub(super) fn is_down(state: ServerState) -> bool {
    matches!(state, ServerState::Down | ServerState::AgentDown)
}

/// Why a server is down, if it is.
fn down_reason(health: &ServerHealth) -> Option<String> {
    let why = || health.last_check.as_ref().map_or_else(|| "down".to_owned(), CheckReport::to_string);
    (health.state() == ServerState::Down).then(why)
}

/// For readiness: by active checks alone.
fn backend_health(config: &Config, id: BackendId, servers: &[ServerHealth]) -> BackendHealth {
    let backend = &config.backends[id.0];
    let is_reached = config.frontends.iter().any(|frontend| frontend.backends().any(|backend| backend == id));
    let usable = servers.iter().filter(|server| server.is_ready()).count();
    let last_down = backend
        .servers
        .iter()
        .zip(servers)
        .filter(|(_, health)| health.state() == ServerState::Down)
        .max_by_key(|(_, health)| health.since);
    let reason = last_down.and_then(|(server, health)| Some((server, down_reason(health)?)));
    let reason = reason.map(|(server, what)| format!("{}: {what}", server.name));
    BackendHealth {
        name: backend.name.clone(),
        counts: backend.readiness && is_reached && !servers.is_empty(),
        usable,
        pending: usable == 0 && !servers.iter().all(ServerHealth::is_known),
        total: servers.len(),
        reason,
    }
}

/// Of one state and the next.
pub(super) fn log_transition(
    node: &Node,
    server: &ServerShared,
    (from, is): (ServerState, ServerState),
    reason: &str,
) {
    let (backend, server) = (&server.backend, &server.name);
    let (from, to) = (from.word(), is.word());
    node.transitions.tell(|| StateChange {
        at: SystemTime::now(),
        backend: backend.clone(),
        server: Some(server.clone()),
        from,
        to,
        reason: reason.to_owned(),
    });
    match is {
        ServerState::Down | ServerState::AgentDown => {
            tracing::warn!(%backend, %server, %from, %to, reason, "server is down");
        }
        ServerState::Up | ServerState::Unchecked | ServerState::NoCheck => {
            tracing::info!(%backend, %server, %from, %to, reason, "server is up");
        }
        ServerState::NoBalance | ServerState::Drain | ServerState::Maintenance => {
            tracing::info!(%backend, %server, %from, %to, reason, "server takes no new clients");
        }
    }
}

#[cfg(test)]
mod tests;
