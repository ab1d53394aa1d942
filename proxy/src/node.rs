//! One generation of the configuration, and what all workers share of it: the configuration itself, what was made from
//! it, which servers are usable; and what outlives it (`shared`).
//!
//! Nothing here is locked or counted by reference per request. A request adds to one position and one in-flight
//! count; the usable set is an `Arc` swapped whole, which a worker clones once per swap ([`Published`]).

mod lineage;
mod published;
mod shared;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

pub(crate) use self::{
    lineage::Lineage,
    published::Published,
    shared::{BackendShared, FrontendShared, ServerShared},
};
use crate::{
    auth::Verifier,
    config::{Backend, BackendId, Config, Forwarded, Frontend, Server, ServerTls},
    health::{server::ServerHealth, why},
    http::CookiePolicy,
    limit::Limit,
    log::Loggers,
    metrics::Counters,
    rules::{Programs, number_rate_limits},
    sample::{Host, Maps},
    table::Tables,
    tls::Connector,
    trace::Traces,
    transitions::Transitions,
    upstream::{
        Preference,
        balance::{Pick, Usable},
        queue::{Answer, Wish},
    },
};

/// A generation.
#[derive(Debug)]
pub(crate) struct Node {
    /// Counts the configurations of this process.
    pub(crate) generation: u64,
    pub(crate) config: Arc<Config>,
    /// Client connections of the process.
    pub(crate) connections: Arc<Limit>,
    /// Beside them, those of frontends that are apart.
    pub(crate) connections_apart: Arc<Limit>,
    pub(crate) frontends: Box<[Arc<FrontendShared>]>,
    pub(crate) backends: Box<[BackendState]>,
    /// Where each server is in the configuration, by its number.
    places: HashMap<u32, (BackendId, usize)>,
    /// By worker.
    pub(crate) counters: Box<[Arc<Counters>]>,
    /// What is remembered of clients.
    pub(crate) tables: Tables,
    /// Of the process.
    started: Instant,
    pub(crate) routing: Published<Routing>,
    /// Read from their files.
    pub(crate) maps: Maps,
    pub(crate) rules: Programs,
    pub(crate) verifier: Arc<Verifier>,
    /// What templates say of this machine.
    pub(crate) host: Host,
    /// Where logs go.
    pub(crate) loggers: Loggers,
    /// Servers of some backend are told which host a client has asked for.
    pub(crate) keeps_host: bool,
    /// There are statistics that show how long exchanges take.
    pub(crate) is_timed: bool,
    /// Who traces exchanges.
    pub(crate) traces: Arc<Traces>,
    /// Who is told of states.
    pub(crate) transitions: Arc<Transitions>,
}

/// The usable servers of every backend, by its index.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Routing {
    pub(crate) backends: Box<[Arc<Usable>]>,
}

/// A backend of a generation.
#[derive(Debug)]
pub(crate) struct BackendState {
    pub(crate) shared: Arc<BackendShared>,
    pub(crate) servers: Box<[Arc<ServerShared>]>,
    /// How its clients stay with their servers by cookie.
    pub(crate) cookie: Option<CookiePolicy>,
    /// Some server of it is told whose connections it gets.
    pub(crate) introduces: bool,
    /// Some server of it may speak HTTP/2: the trailers of requests are passed on.
    pub(crate) takes_trailers: bool,
    /// What servers with TLS need, by server.
    pub(crate) connectors: Box<[Option<Arc<Connector>>]>,
    /// The same for their checks.
    pub(crate) check_connectors: Box<[Option<Arc<Connector>>]>,
    /// Some server of it is told whom a request asks for.
    pub(crate) tells_host: bool,
}

/// Whose servers a request in line wants: the generation that it began under, and its backend there.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    node: Arc<Node>,
    backend: BackendId,
}

/// A slot of a server on its way to who waits for it; dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Grant {
    asker: Asker,
    server: Option<usize>,
}

impl Node {
    /// The generation of `config` after those of `before`. Nothing of them changes until it is [`Self::enforce`]d.
    pub(crate) fn new(generation: u64, mut config: Config, maps: Maps, before: Lineage<'_>) -> Arc<Self> {
        number_rate_limits(&mut config);
        let config = Arc::new(config);
        let last = before.last();
        let frontend = |one: &Frontend| match before.frontend(&one.name) {
            Some((node, index)) => Arc::clone(&node.frontends[index]),
            None => Arc::new(FrontendShared::new(one.maxconn)),
        };
        let frontends = config.frontends.iter().map(frontend).collect();
        let backends: Box<[_]> = config.backends.iter().map(|one| BackendState::new(one, before)).collect();
        let counters = |worker| Arc::new(counters(&config, worker, before));
        let hostname = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
        let host = Host { node: config.node.clone(), hostname: hostname.unwrap_or_default() };
        let loggers = Loggers::new(&config, &host.hostname, |to| before.sink(to));
        Arc::new(Self {
            generation,
            connections: last
                .map_or_else(|| Arc::new(Limit::new(config.maxconn)), |last| Arc::clone(&last.connections)),
            connections_apart: last.map_or_else(Arc::default, |last| Arc::clone(&last.connections_apart)),
            frontends,
            places: places(&backends),
            backends,
            counters: (0..config.threads.get()).map(counters).collect(),
            tables: Tables::new(&config, last.map(|last| &last.tables)),
            started: last.map_or_else(Instant::now, |last| last.started),
            routing: Published::new(Routing::default()),
            maps,
            rules: Programs::new(&config),
            verifier: Verifier::new(&config, last.map(|last| &last.verifier)),
            host,
            loggers,
            traces: last.map_or_else(Arc::default, |last| Arc::clone(&last.traces)),
            transitions: last.map_or_else(Arc::default, |last| Arc::clone(&last.transitions)),
            keeps_host: config
                .backends
                .iter()
                .filter_map(|one| one.forwarded.own())
                .any(Forwarded::tells_host),
            is_timed: config.frontends.iter().any(|one| one.statistics.is_some()),
            config,
        })
    }

    /// What the connections of a frontend count for beside its own limit.
    pub(crate) fn limit_beside(&self, frontend: usize) -> &Arc<Limit> {
        if self.config.frontends[frontend].is_apart { &self.connections_apart } else { &self.connections }
    }

    /// From now on its limits are those of everybody who shares them.
    pub(crate) fn enforce(&self) {
        self.connections.set_max(self.config.maxconn);
        for (config, shared) in self.config.frontends.iter().zip(&self.frontends) {
            shared.connections.set_max(config.maxconn);
        }
        for (index, (config, state)) in self.config.backends.iter().zip(&self.backends).enumerate() {
            let fullconn = config.options.fullconn;
            state.shared.set_fullconn(fullconn.unwrap_or_else(|| self.config.fullconn(BackendId(index))));
            for (config, shared) in config.servers.iter().zip(&state.servers) {
                shared.set_limits(config, &shared.health());
            }
        }
        self.tables.enforce();
        self.loggers.begin();
    }

    /// The clock of the tables: the time since the start, the same for all workers and generations.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn backend(&self, backend: BackendId) -> &Backend {
        &self.config.backends[backend.0]
    }

    /// Is there anybody who wants to know of the exchanges of this frontend?
    pub(crate) fn keeps_records(&self, frontend: usize) -> bool {
        self.is_timed || self.loggers.has_traffic(frontend) || self.traces.is_on()
    }

    /// The backend of this name.
    pub(crate) fn backend_named(&self, name: &str) -> Option<BackendId> {
        self.config.backends.iter().position(|backend| backend.name == name).map(BackendId)
    }

    /// The backend that goes by what is shared under this name.
    pub(crate) fn sharing(&self, backend: &Arc<BackendShared>) -> Option<BackendId> {
        self.backends.iter().position(|state| Arc::ptr_eq(&state.shared, backend)).map(BackendId)
    }

    /// Where this configuration has the server with this number, if it has it.
    pub(crate) fn place(&self, server: u32) -> Option<(BackendId, usize)> {
        self.places.get(&server).copied()
    }

    /// The one server that a request wants, if it may have it.
    pub(crate) fn wanted(
        &self,
        backend: BackendId,
        usable: &Usable,
        preference: Preference,
        avoid: &[usize],
    ) -> Option<usize> {
        let insists = || {
            let server = preference.server.filter(|_| self.backend(backend).persist);
            server.filter(|server| !avoid.contains(server))
        };
        insists().or_else(|| usable.wanted(preference, avoid))
    }

    /// What is known of a backend's servers, in words; `now` says how old that is then.
    pub(crate) fn why(&self, backend: BackendId, now: Option<SystemTime>) -> String {
        why::servers(self.backend(backend), &self.health(backend), now)
    }

    /// What is known of a backend's servers, by index.
    pub(crate) fn health(&self, backend: BackendId) -> Vec<ServerHealth> {
        self.backends[backend.0].servers.iter().map(|server| server.health().clone()).collect()
    }

    /// Chooses a server and takes a slot of it.
    pub(crate) fn pick(
        &self,
        backend: BackendId,
        usable: &Usable,
        preference: Preference,
        avoid: &[usize],
    ) -> Pick {
        let state = &self.backends[backend.0];
        let take = |server: usize| {
            let limit = state.limit(server);
            state.servers[server].try_take(limit.map(|limit| usable.maxconn(server, limit)))
        };
        if let Some(server) = self.wanted(backend, usable, preference, avoid) {
            return if take(server) { Pick::Server(server) } else { Pick::Full(Wish::Only(server)) };
        }
        usable.pick(&state.shared.turns, avoid, |server| state.servers[server].in_flight(), take)
    }

    /// Gives a slot back, to the oldest in line if there is a line.
    pub(crate) fn release(&self, backend: BackendId, server: usize) {
        let state = &self.backends[backend.0];
        state.servers[server].free();
        if state.shared.is_waiting() {
            state.shared.serve_line();
        }
    }
}

impl BackendState {
    fn new(backend: &Backend, before: Lineage<'_>) -> Self {
        let shared = match before.backend(&backend.name) {
            Some((node, id)) => Arc::clone(&node.backends[id.0].shared),
            None => Arc::new(BackendShared::new(&backend.name)),
        };
        let server = |server: &Server| match before.server(&backend.name, &server.name) {
            Some((node, id, index)) => Arc::clone(&node.backends[id.0].servers[index]),
            None => Arc::new(ServerShared::new(server, backend)),
        };
        let with = connectors(backend, before, |one| one.tls.as_ref(), |state| &state.connectors);
        Self {
            shared,
            tells_host: with.iter().flatten().any(|one| one.is_named_by_host()),
            connectors: with,
            check_connectors: connectors(
                backend,
                before,
                |one| one.check_tls.as_ref(),
                |state| &state.check_connectors,
            ),
            servers: backend.servers.iter().map(server).collect(),
            cookie: backend.cookie.as_ref().map(|cookie| CookiePolicy::new(cookie, &backend.servers)),
            introduces: backend.servers.iter().any(|server| server.send_proxy.is_some()),
            takes_trailers: backend.servers.iter().any(Server::speaks_http2),
        }
    }

    /// What a server is allowed at this moment: of one with a `minconn`, its share of `maxconn` is that of the
    /// backend's connections of `fullconn`, as in HAProxy's `srv_dynamic_maxconn`.
    fn limit(&self, server: usize) -> Option<u32> {
        let (max, min) = self.servers[server].limits()?;
        let Some(min) = min else { return Some(max) };
        let share = u64::from(max) * self.load() / u64::from(self.shared.fullconn().max(1));
        Some(u32::try_from(share).unwrap_or(max).clamp(min.min(max), max))
    }

    /// Requests (http) or connections (tcp) at its servers and in line.
    pub(crate) fn load(&self) -> u64 {
        let in_flight = self.servers.iter().map(|server| u64::from(server.in_flight())).sum::<u64>();
        in_flight + self.shared.waiting() as u64
    }
}

impl Asker {
    pub(crate) fn new(node: &Arc<Node>, backend: BackendId) -> Self {
        Self { node: Arc::clone(node), backend }
    }

    /// What there is for one with this wish.
    fn answer(&self, wish: Wish) -> Answer<Grant> {
        let (node, backend) = (&self.node, self.backend);
        let routing = node.routing.load();
        let usable = &routing.backends[backend.0];
        let preference = match wish {
            Wish::Any => Preference::default(),
            Wish::Only(server) if usable.keeps(server) || node.backend(backend).persist => {
                Preference { server: Some(server), ..Preference::default() }
            }
            Wish::Only(_) => return Answer::Leave,
        };
        match node.pick(backend, usable, preference, &[]) {
            Pick::Server(server) => Answer::Grant(Grant { asker: self.clone(), server: Some(server) }),
            Pick::Full(..) => Answer::Wait,
            Pick::None => Answer::Leave,
        }
    }
}

impl Grant {
    /// Takes the slot out: from now on the caller frees it.
    pub(crate) fn take(mut self) -> Option<usize> {
        self.server.take()
    }

    /// Frees the slot and nothing else.
    fn put_back(mut self) {
        if let Some(server) = self.server.take() {
            self.asker.node.backends[self.asker.backend.0].servers[server].free();
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.asker.node.release(self.asker.backend, server);
        }
    }
}

/// For the servers with TLS. Sessions of one that an earlier generation has as well go on.
fn connectors(
    backend: &Backend,
    before: Lineage<'_>,
    tls: fn(&Server) -> Option<&Arc<ServerTls>>,
    of: fn(&BackendState) -> &[Option<Arc<Connector>>],
) -> Box<[Option<Arc<Connector>>]> {
    let one = |server: &Server| {
        let (tls, host) = (tls(server)?, server.address.host());
        let known = before.server(&backend.name, &server.name);
        let known = known.and_then(|(node, id, at)| of(&node.backends[id.0])[at].as_ref());
        Some(Arc::new(Connector::new(tls, host, known.map(|known| &**known))))
    };
    backend.servers.iter().map(one).collect()
}

/// Those of a worker.
fn counters(config: &Config, worker: usize, before: Lineage<'_>) -> Counters {
    Counters::new(
        config,
        |name| {
            let (node, index) = before.frontend(name)?;
            Some(Arc::clone(&node.counters[worker].frontends[index]))
        },
        // Of the last one alone: what a server that was gone has counted is the backend's.
        |name| {
            let last = before.last()?;
            let id = last.backend_named(name)?;
            Some((last.backend(id), &last.counters[worker].backends[id.0]))
        },
        before
            .last()
            .map(|last| &last.counters[worker])
            .map(|last| (Arc::clone(&last.delays), Arc::clone(&last.dropped)))
            .unwrap_or_default(),
    )
}

fn places(backends: &[BackendState]) -> HashMap<u32, (BackendId, usize)> {
    let servers = backends.iter().enumerate().flat_map(|(id, backend)| {
        backend.servers.iter().enumerate().map(move |(index, server)| (server.number, (BackendId(id), index)))
    });
    servers.collect()
}
