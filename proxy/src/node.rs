//! What all workers share: the configuration, the limits of the node, and which servers are usable.
//!
//! Nothing here is locked or counted by reference per request. A request adds to one position and one in-flight
//! count; the usable set is an `Arc` swapped whole, which a worker clones once per swap ([`Published`]).

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use crate::{
    config::{Backend, BackendId, Config, Server},
    health::{
        passive::Watch,
        server::ServerHealth,
        why::{self, Seldom},
    },
    http::CookiePolicy,
    limit::{Limit, Padded},
    rules::Programs,
    sample::{Host, Maps},
    table::Tables,
    upstream::{
        Preference,
        balance::{Pick, Turns, Usable},
        queue::{Answer, Queue, Wish},
    },
};

/// The shared state of the data plane.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    /// Client connections of the process.
    pub(crate) connections: Limit,
    /// Client connections by frontend.
    pub(crate) frontends: Box<[Limit]>,
    pub(crate) backends: Box<[BackendState]>,
    /// In the log, of requests that no backend is chosen for.
    pub(crate) refusals: Seldom,
    /// What is remembered of clients.
    pub(crate) tables: Tables,
    started: Instant,
    pub(crate) routing: Published<Routing>,
    /// Read from their files.
    pub(crate) maps: Published<Maps>,
    /// By backend, then server. Control's; a worker only looks, and seldom.
    servers: Mutex<Vec<Vec<ServerHealth>>>,
    pub(crate) rules: Programs,
    /// What templates say of this machine.
    pub(crate) host: Host,
}

/// The usable servers of every backend, by its index.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Routing {
    pub(crate) backends: Box<[Arc<Usable>]>,
}

/// What the workers share of a backend.
#[derive(Debug)]
pub(crate) struct BackendState {
    turns: Turns,
    in_flight: Box<[Padded<AtomicU32>]>,
    /// Its refusals in the log.
    pub(crate) refusals: Seldom,
    /// What traffic has seen of each server.
    pub(crate) watches: Box<[Watch]>,
    /// Length of the queue, readable without its lock.
    waiting: Padded<AtomicUsize>,
    queue: Mutex<Queue<Grant>>,
    /// See [`crate::config::BackendOptions::fullconn`].
    fullconn: u32,
    /// How its clients stay with their servers by cookie.
    pub(crate) cookie: Option<CookiePolicy>,
}

/// A slot of a server on its way to who waits for it; dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Grant {
    node: Arc<Node>,
    backend: BackendId,
    server: Option<usize>,
}

impl Node {
    pub(crate) fn new(config: Config, routing: Routing) -> Arc<Self> {
        let connections = Limit::new(config.maxconn);
        let frontends = config.frontends.iter().map(|frontend| Limit::new(frontend.maxconn)).collect();
        let backends =
            (0..config.backends.len()).map(|id| BackendState::new(&config, BackendId(id))).collect();
        let now = SystemTime::now();
        let known = |backend: &Backend| {
            let known =
                |server: &Server| ServerHealth::new(backend.check.is_some(), now, server.address.fixed());
            backend.servers.iter().map(known).collect::<Vec<_>>()
        };
        let servers = Mutex::new(config.backends.iter().map(known).collect());
        let tables = Tables::new(&config, None);
        let (started, routing) = (Instant::now(), Published::new(routing));
        let maps = Published::new(Maps::default());
        let rules = Programs::new(&config);
        let hostname = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
        let host = Host { node: config.node.clone(), hostname: hostname.unwrap_or_default() };
        Arc::new(Self {
            config,
            connections,
            frontends,
            backends,
            refusals: Seldom::default(),
            tables,
            started,
            routing,
            maps,
            servers,
            rules,
            host,
        })
    }

    /// The clock of the tables: the time since the start, the same for all workers.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn backend(&self, backend: BackendId) -> &Backend {
        &self.config.backends[backend.0]
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

    /// What is known of a backend's servers, in words.
    pub(crate) fn why(&self, backend: BackendId) -> String {
        why::servers(self.backend(backend), &self.servers()[backend.0], SystemTime::now())
    }

    /// What is known of the servers, locked; by backend, then server.
    pub(crate) fn servers(&self) -> MutexGuard<'_, Vec<Vec<ServerHealth>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chooses a server and takes a slot of it.
    pub(crate) fn pick(
        &self,
        backend: BackendId,
        usable: &Usable,
        preference: Preference,
        avoid: &[usize],
    ) -> Pick {
        let (config, state) = (self.backend(backend), &self.backends[backend.0]);
        let take = |server: usize| {
            let limit = state.limit(&config.servers[server]);
            state.try_take(server, limit.map(|limit| usable.maxconn(server, limit)))
        };
        if let Some(server) = self.wanted(backend, usable, preference, avoid) {
            return if take(server) { Pick::Server(server) } else { Pick::Full(Wish::Only(server), server) };
        }
        usable.pick(&state.turns, avoid, |server| state.in_flight(server), take)
    }

    /// Gives a slot back, to the oldest in line if there is a line.
    pub(crate) fn release(self: &Arc<Self>, backend: BackendId, server: usize) {
        let state = &self.backends[backend.0];
        state.free(server);
        if state.is_waiting() {
            self.serve_queue(backend);
        }
    }

    /// Hands out free slots to those in line; sends those away who wait for a server that is not usable any more.
    pub(crate) fn serve_queue(self: &Arc<Self>, backend: BackendId) {
        let state = &self.backends[backend.0];
        let routing = self.routing.load();
        let usable = &routing.backends[backend.0];
        let mut queue = state.queue();
        // Those who have just come count for what servers are allowed.
        state.recount(&queue);
        loop {
            let refused = queue.serve(|wish| {
                let preference = match wish {
                    Wish::Any => Preference::default(),
                    Wish::Only(server) if usable.keeps(server) || self.backend(backend).persist => {
                        Preference { server: Some(server), ..Preference::default() }
                    }
                    Wish::Only(_) => return Answer::Leave,
                };
                match self.pick(backend, usable, preference, &[]) {
                    Pick::Server(server) => {
                        Answer::Grant(Grant { node: Arc::clone(self), backend, server: Some(server) })
                    }
                    Pick::Full(..) => Answer::Wait,
                    Pick::None => Answer::Leave,
                }
            });
            if refused.is_empty() {
                break;
            }
            // Taken apart and not dropped: that would serve the queue again, whose lock we hold.
            for server in refused.into_iter().filter_map(Grant::take) {
                state.free(server);
            }
        }
        state.waiting.store(queue.len(), Ordering::SeqCst);
    }
}

impl BackendState {
    fn new(config: &Config, id: BackendId) -> Self {
        let backend = &config.backends[id.0];
        Self {
            turns: Turns::default(),
            in_flight: backend.servers.iter().map(|_| Padded::default()).collect(),
            refusals: Seldom::default(),
            watches: backend.servers.iter().map(|_| Watch::default()).collect(),
            waiting: Padded::default(),
            queue: Mutex::default(),
            fullconn: backend.options.fullconn.unwrap_or_else(|| config.fullconn(id)),
            cookie: backend.cookie.as_ref().map(|cookie| CookiePolicy::new(cookie, &backend.servers)),
        }
    }

    /// What a server is allowed at this moment: of one with a `minconn`, its share of `maxconn` is that of the
    /// backend's connections of `fullconn`, as in HAProxy's `srv_dynamic_maxconn`.
    fn limit(&self, server: &Server) -> Option<u32> {
        let (Some(max), Some(min)) = (server.maxconn, server.minconn) else { return server.maxconn };
        let waiting = self.waiting.load(Ordering::Relaxed) as u64;
        let connections =
            (0..self.in_flight.len()).map(|server| u64::from(self.in_flight(server))).sum::<u64>() + waiting;
        let share = u64::from(max) * connections / u64::from(self.fullconn.max(1));
        Some(u32::try_from(share).unwrap_or(max).clamp(min.min(max), max))
    }

    /// Requests (http) or connections (tcp) at a server.
    pub(crate) fn in_flight(&self, server: usize) -> u32 {
        self.in_flight[server].load(Ordering::Relaxed)
    }

    /// Is there a line?
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// The line, locked. Whoever changes it calls [`Node::serve_queue`] (or [`Self::recount`]) afterwards.
    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue<Grant>> {
        // A panic elsewhere can't leave a queue half changed: its methods don't panic between two changes.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the length of `queue`, which is this backend's.
    pub(crate) fn recount(&self, queue: &Queue<Grant>) {
        self.waiting.store(queue.len(), Ordering::SeqCst);
    }

    fn try_take(&self, server: usize, max: Option<u32>) -> bool {
        let count = &self.in_flight[server];
        let Some(max) = max else {
            count.fetch_add(1, Ordering::SeqCst);
            return true;
        };
        let more = |taken| (taken < max).then_some(taken + 1);
        count.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more).is_ok()
    }

    fn free(&self, server: usize) {
        let before = self.in_flight[server].fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0);
    }
}

impl Grant {
    /// Takes the slot out: from now on the caller frees it.
    pub(crate) fn take(mut self) -> Option<usize> {
        self.server.take()
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.node.release(self.backend, server);
        }
    }
}

/// A value that one side swaps whole and the others copy once per swap.
#[derive(Debug)]
pub(crate) struct Published<T> {
    version: AtomicU64,
    value: Mutex<Arc<T>>,
}

impl<T> Published<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { version: AtomicU64::new(1), value: Mutex::new(Arc::new(value)) }
    }

    pub(crate) fn load(&self) -> Arc<T> {
        Arc::clone(&self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn store(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Swaps it for a changed copy.
    pub(crate) fn update(&self, change: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        let mut shared = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let mut value = T::clone(&shared);
        change(&mut value);
        *shared = Arc::new(value);
        drop(shared);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Grows with every swap. Read it before [`Self::load`], so that a swap in between is seen next time.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}
