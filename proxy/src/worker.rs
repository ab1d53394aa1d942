//! A worker: one thread, one runtime, its own accept loops, connections, buffers, timers and idle upstreams.
//!
//! What it has for as long as its thread runs is its [`Core`]. A [`Worker`] is that with one generation of the
//! configuration: a connection holds the one that it began under.
//!
//! Workers share nothing but [`Node`]'s limits. The control side reaches a worker by sending it a closure
//! ([`WorkerHandle::run`]); there is no other way in.

mod core;
mod handle;
mod swap;
pub(crate) mod turns;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use tokio::net::TcpStream;

use self::core::Core;
pub(crate) use self::{core::Scratch, handle::WorkerHandle, swap::Swap};
use crate::{
    auth::Known,
    buffer::BufferPool,
    config::{Backend, BackendId},
    connection::Registry,
    http::{Compressors, RetryBudget, Rooms},
    http2::{Lane, Pools},
    invalid::InvalidMessages,
    listener::AcceptLoops,
    log::WorkerLog,
    metrics::Counters,
    node::{Node, Routing},
    tcp::splice::PipePool,
    tls::{PeerName, TlsStream},
    upstream::{Preference, Search, balance::Usable, idle::IdleConnections},
    wheel::Wheel,
};

/// A worker under one generation of the configuration.
#[derive(Debug)]
pub struct Worker {
    core: Rc<Core>,
    node: Arc<Node>,
    counters: Arc<Counters>,
    routing: RefCell<(u64, Arc<Routing>)>,
    idle_upstreams: IdleConnections,
    known: Rc<RefCell<Known>>,
    /// By backend.
    retry_budgets: Box<[Rc<RetryBudget>]>,
    /// Another generation is in force.
    is_outdated: Cell<bool>,
}

impl Worker {
    fn new(core: &Rc<Core>, node: Arc<Node>) -> Rc<Self> {
        let budget = |backend: &Backend| Rc::new(RetryBudget::new(backend.options.retry.budget));
        let idle_upstreams = IdleConnections::new(&node.config);
        let retry_budgets = node.config.backends.iter().map(budget).collect();
        Self::with(core, node, idle_upstreams, Rc::default(), retry_budgets)
    }

    fn with(
        core: &Rc<Core>,
        node: Arc<Node>,
        idle_upstreams: IdleConnections,
        known: Rc<RefCell<Known>>,
        retry_budgets: Box<[Rc<RetryBudget>]>,
    ) -> Rc<Self> {
        core.compressors.limit(node.config.compression_cpu);
        Rc::new(Self {
            core: Rc::clone(core),
            counters: Arc::clone(&node.counters[core.index]),
            routing: RefCell::new((node.routing.version(), node.routing.load())),
            idle_upstreams,
            known,
            retry_budgets,
            is_outdated: Cell::new(false),
            node,
        })
    }

    /// Its number, from 0.
    pub fn index(&self) -> usize {
        self.core.index
    }

    /// Its timers.
    pub fn wheel(&self) -> &Rc<Wheel> {
        &self.core.wheel
    }

    /// Its buffers.
    pub fn buffers(&self) -> &Rc<BufferPool> {
        &self.core.buffers
    }

    /// Its buffers for heads, which are smaller.
    pub(crate) fn heads(&self) -> &Rc<BufferPool> {
        &self.core.heads
    }

    /// Its counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Starts looking for a server on behalf of a request of `frontend` (the index that its events are counted under).
    pub fn search(self: &Rc<Self>, frontend: usize, backend: BackendId, preference: Preference) -> Search {
        Search::new(Rc::clone(self), frontend, backend, preference)
    }

    /// Should connections end after the exchange in flight?
    pub fn is_draining(&self) -> bool {
        self.draining_since().is_some()
    }

    pub(crate) fn set_draining(&self) {
        if !self.is_draining() {
            self.core.draining_since.set(Some(self.core.wheel.ticks()));
            self.core.registry.wake_multiplexed();
        }
    }

    pub(crate) fn end_draining(&self) {
        self.core.draining_since.set(None);
    }

    /// It drains, and idle connections may have one more exchange: they can come back here, to another process.
    pub(crate) fn retire(&self) {
        self.set_draining();
        self.core.is_retired.set(true);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.core.is_retired.get()
    }

    pub(crate) fn draining_since(&self) -> Option<u64> {
        self.core.draining_since.get()
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Never held while anything waits.
    pub(crate) fn scratch(&self) -> &RefCell<Scratch> {
        &self.core.scratch
    }

    /// Credentials that are known.
    pub(crate) fn known(&self) -> &RefCell<Known> {
        &self.known
    }

    pub(crate) fn pipes(&self) -> &Rc<PipePool> {
        &self.core.pipes
    }

    pub(crate) fn compressors(&self) -> &Rc<Compressors> {
        &self.core.compressors
    }

    pub(crate) fn rooms(&self) -> &Rc<Rooms<TcpStream>> {
        &self.core.rooms
    }

    pub(crate) fn lane_rooms(&self) -> &Rc<Rooms<Lane>> {
        &self.core.lane_rooms
    }

    pub(crate) fn http2_pools(&self) -> &Rc<Pools> {
        &self.core.http2_pools
    }

    pub(crate) fn tls_rooms(&self) -> &Rc<Rooms<TlsStream>> {
        &self.core.tls_rooms
    }

    /// The name that the value of a Host field has.
    pub(crate) fn peer_name(&self, host: &[u8]) -> Option<Rc<PeerName>> {
        self.core.peer_names.borrow_mut().of_host(host)
    }

    /// Each as long as a record of TLS.
    pub(crate) fn record_buffers(&self) -> &Rc<BufferPool> {
        &self.core.record_buffers
    }

    pub(crate) fn idle_upstreams(&self) -> &IdleConnections {
        &self.idle_upstreams
    }

    /// Its part of the places of the process's `maxconn` that no client has.
    pub(crate) fn spare(&self) -> usize {
        let connections = &self.node.connections;
        let spare = connections.max().saturating_sub(connections.taken());
        usize::try_from(spare).unwrap_or(usize::MAX) / self.node.config.threads.get()
    }

    pub(crate) fn retry_budget(&self, backend: BackendId) -> &RetryBudget {
        &self.retry_budgets[backend.0]
    }

    pub(crate) fn registry(&self) -> &Rc<Registry> {
        &self.core.registry
    }

    pub(crate) fn log(&self) -> &WorkerLog {
        &self.core.log
    }

    /// Messages that were refused.
    pub(crate) fn invalid(&self) -> &InvalidMessages {
        &self.core.invalid
    }

    pub(crate) fn told(&self) -> &Cell<usize> {
        &self.core.told
    }

    pub(crate) fn accept_loops(&self) -> &AcceptLoops {
        &self.core.accept_loops
    }

    /// Looks at the usable servers of a backend; clones the shared set only when it was swapped.
    pub(crate) fn with_usable<T>(&self, backend: BackendId, look: impl FnOnce(&Usable) -> T) -> T {
        let version = self.node.routing.version();
        if self.routing.borrow().0 != version {
            *self.routing.borrow_mut() = (version, self.node.routing.load());
        }
        look(&self.routing.borrow().1.backends[backend.0])
    }

    /// May a rule send a request to this server at this moment? As for a client that had it before.
    pub(crate) fn may_send_to(&self, backend: BackendId, server: usize) -> bool {
        self.node.backend(backend).persist || self.with_usable(backend, |usable| usable.keeps(server))
    }
}
