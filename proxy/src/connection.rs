//! A client's connection on a worker, and the worker's list of them.
//!
//! Every connection is one task. The control side reaches it through the [`Registry`]: it leaves an order in the
//! connection's entry and wakes the task. A session never looks at orders: [`run`] does, between two polls of it.

mod permit;
mod places;
mod task;

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::poll_fn,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::SystemTime,
};

use slab::Slab;
use tokio::sync::oneshot;

pub(crate) use self::{
    permit::Permit,
    places::{Places, Seat},
    task::{prepare, run, run_http, run_http_or_2, run_https, turn_away_http_or_2},
};
use crate::{
    Endpoint,
    config::{Backend, BackendCompression, BackendId, Compression, ConnectionMode, Frontend, Hsts},
    listener::ListenerId,
    log::Record,
    metrics::{Event, Flow, FrontendCounters},
    proxy_protocol::{Extensions, Header, Origin},
    refusals::{Noted, Why},
    sample::{self, Facts, Variables},
    table::Refusal,
    tls,
    upstream::Upstream,
    worker::Worker,
};

/// A client's connection: its stream, where it came in, and what its session needs from the worker.
///
/// A session gets `&Connection` and returns when it is done; the connection is closed after that. It says
/// [`Self::set_busy`] when an exchange begins and [`Self::set_idle`] when it waits for the next one: an idle
/// connection is closed when the node drains, a busy one is asked to end ([`Self::is_draining`]) after its exchange.
#[derive(Debug)]
pub struct Connection<S> {
    // Closed before the entry and the permit are gone: whoever sees them free sees the socket closed.
    stream: S,
    peer: Endpoint,
    /// Where the client wanted to go, if that is not our end.
    destination: Option<Box<Endpoint>>,
    /// What a header has said besides whose it is.
    extensions: Option<Rc<Extensions>>,
    /// Bytes of the client so far, and to it.
    received: Cell<u64>,
    sent: Cell<u64>,
    /// What was agreed on with the client, over TLS.
    tls: OnceCell<Rc<tls::Session>>,
    /// What its log will say of the exchange in flight.
    record: RefCell<Option<Box<Record>>>,
    entry: Registered,
    permit: Permit,
}

/// Who ends a connection that has not ended by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Killed {
    /// Its server went down.
    ServerDown,
    /// Its address leaves this node, or the process ends.
    Operator,
    /// A fault of ours.
    Panic,
}

/// The connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: RefCell<Slab<Rc<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    local: Endpoint,
    /// Where it was accepted.
    listener: ListenerId,
    /// Since which tick of the wheel an exchange is in flight; `None` while idle.
    busy_since: Cell<Option<u64>>,
    /// The number of the server of the exchange in flight, where that matters ([`crate::config::Backend::cut_when_down`]).
    server: Cell<Option<u32>>,
    /// It has had an exchange. A new connection's first request may be on its way.
    served: Cell<bool>,
    /// A stream of a connection, which has an entry of its own.
    is_stream: bool,
    /// A connection that has streams: told when the node drains, whatever is in flight.
    has_streams: Cell<bool>,
    order: RefCell<Order>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug, Default)]
enum Order {
    #[default]
    None,
    /// End if idle.
    Close,
    /// End at once with a reset: its server is down.
    Cut,
    /// End at once with a reset: its address leaves this node.
    Reset(Rc<ResetRound>),
}

#[derive(Debug)]
struct Registered {
    registry: Rc<Registry>,
    key: usize,
    entry: Rc<Entry>,
}

/// One call of [`Registry::reset`]: alive as long as one of its connections is.
#[derive(Debug)]
struct ResetRound {
    count: Arc<AtomicUsize>,
    done: Option<oneshot::Sender<()>>,
}

impl<S> Connection<S> {
    pub(crate) fn new(
        stream: S,
        peer: Endpoint,
        local: Endpoint,
        permit: Permit,
        listener: ListenerId,
    ) -> Self {
        let entry = Registered::new(permit.worker.registry(), local, listener, false);
        let (received, sent) = (Cell::new(0), Cell::new(0));
        let (tls, record) = (OnceCell::new(), RefCell::default());
        let (destination, extensions) = (None, None);
        Self { stream, peer, destination, extensions, received, sent, tls, record, entry, permit }
    }

    /// A stream of `connection`, as a connection of its own: the same client, the same listener, and no more of either.
    pub(crate) fn of_stream<C>(connection: &Connection<C>, stream: S) -> Self {
        let Connection { peer, destination, extensions, tls, entry, permit, .. } = connection;
        let Entry { local, listener, .. } = *entry.entry;
        let worker = Rc::clone(&permit.worker);
        let entry = Registered::new(worker.registry(), local, listener, true);
        let permit = Permit::of_stream(worker, permit.frontend);
        Self {
            stream,
            peer: *peer,
            destination: destination.clone(),
            extensions: extensions.clone(),
            received: Cell::new(0),
            sent: Cell::new(0),
            tls: tls.clone(),
            record: RefCell::default(),
            entry,
            permit,
        }
    }

    /// It has streams from now on.
    pub(crate) fn set_multiplexed(&self) {
        self.entry.entry.has_streams.set(true);
    }

    /// The client's bytes.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The client.
    pub fn peer(&self) -> Endpoint {
        self.peer
    }

    /// The address that the client asked for: our end, or that of the proxy in front that says so.
    pub fn local(&self) -> Endpoint {
        self.destination.as_deref().copied().unwrap_or(self.entry.entry.local)
    }

    /// A header has said whose it is.
    pub(crate) fn set_origin(&mut self, header: Header) {
        if let Origin::Client { source, destination } = header.origin {
            self.peer = source.into();
            self.destination = Some(Box::new(destination.into()));
        }
        self.extensions = header.extensions.map(Rc::from);
    }

    /// Counts it as one of its client's, if the frontend limits those. Without an address it is nobody's.
    pub(crate) fn admit(&mut self) -> Result<(), Refusal> {
        self.permit.admit(self.peer.ip())
    }

    /// Takes a place for another stream, beside the `streams` that it has.
    pub(crate) fn take_place(&self, places: &mut Places, streams: usize) -> Seat {
        places.take(streams, &self.permit)
    }

    /// What was agreed on with the client; `None` without TLS.
    pub(crate) fn tls(&self) -> Option<&tls::Session> {
        self.tls.get().map(Rc::as_ref)
    }

    /// What is told to a client that came over TLS about coming again.
    pub(crate) fn hsts(&self) -> Option<&Hsts> {
        self.frontend().hsts.as_ref().filter(|_| self.tls().is_some())
    }

    /// The handshake is over. Once.
    pub(crate) fn set_tls(&self, session: tls::Session) {
        let _ = self.tls.set(Rc::new(session));
    }

    /// The worker that serves it.
    pub fn worker(&self) -> &Rc<Worker> {
        &self.permit.worker
    }

    /// Its frontend.
    pub fn frontend(&self) -> &Frontend {
        &self.permit.worker.node().config.frontends[self.permit.frontend]
    }

    /// Does a connection to a server of this backend end after each request?
    pub(crate) fn closes_server(&self, backend: Option<BackendId>) -> bool {
        let keeps = |backend| {
            let options = &self.permit.worker.node().backend(backend).options;
            options.connection == ConnectionMode::KeepAlive
        };
        self.frontend().options.connection == ConnectionMode::ServerClose || !backend.is_none_or(keeps)
    }

    /// Notes that a request of it came to no backend.
    pub(crate) fn refuse(&self, why: Why) -> Noted {
        let node = self.permit.worker.node();
        let reason = match why {
            Why::Passwords => "too many passwords are to be checked",
            _ => "no rule has chosen a backend, and the frontend has no default_backend",
        };
        node.frontends[self.permit.frontend].refusals.note(why, node.now(), || reason.to_owned())
    }

    /// How responses of `backend` are compressed, if they are.
    pub(crate) fn compression(&self, backend: Option<BackendId>) -> Option<&Compression> {
        match backend.map(|backend| &self.permit.worker.node().backend(backend).compression) {
            Some(BackendCompression::Own(compression)) => Some(compression),
            Some(BackendCompression::Off) => None,
            Some(BackendCompression::AsFrontend) | None => self.frontend().compression.as_ref(),
        }
    }

    /// May the kernel move what it sends to a server of `backend`?
    pub(crate) fn splices_request(&self, backend: &Backend) -> bool {
        self.frontend().options.splice.allows_requests() && backend.options.splice.allows_requests()
    }

    /// May the kernel move what a server of `backend` sends to it?
    pub(crate) fn splices_response(&self, backend: &Backend) -> bool {
        self.frontend().options.splice.allows_responses() && backend.options.splice.allows_responses()
    }

    /// The index of its frontend.
    pub fn frontend_id(&self) -> usize {
        self.permit.frontend
    }

    /// What this worker counts of its frontend.
    pub fn counters(&self) -> &FrontendCounters {
        &self.permit.worker.counters().frontends[self.permit.frontend]
    }

    /// Bytes of the client.
    pub(crate) fn received(&self) -> Flow<'_> {
        Flow { frontend: &self.counters().bytes_in, server: None, own: &self.received }
    }

    /// Bytes of a client whose streams count what is in them.
    pub(crate) fn note_received(&self, bytes: u64) {
        self.received.set(self.received.get().wrapping_add(bytes));
    }

    /// Bytes to the client.
    pub(crate) fn sent(&self) -> Flow<'_> {
        Flow { frontend: &self.counters().bytes_out, server: None, own: &self.sent }
    }

    /// The client is answered with this status.
    pub(crate) fn answered(&self, status: u16) {
        self.counters().response(status);
        self.log(|record| record.status = Some(status));
    }

    pub(crate) fn record(&self) -> &RefCell<Option<Box<Record>>> {
        &self.record
    }

    /// Counts an event of its frontend.
    pub fn count(&self, event: Event) {
        self.counters().event(event).increment();
    }

    /// The exchange in flight is at this server: it ends when the server goes down, if its backend wants so.
    pub(crate) fn set_server(&self, upstream: &Upstream) {
        if upstream.backend().cut_when_down {
            self.entry.entry.server.set(Some(upstream.number()));
        }
    }

    /// It is over.
    pub(crate) fn clear_server(&self) {
        self.entry.entry.server.set(None);
    }

    /// An exchange begins. Nothing if one is in flight.
    pub fn set_busy(&self) {
        let busy_since = &self.entry.entry.busy_since;
        if busy_since.get().is_none() {
            busy_since.set(Some(self.permit.worker.wheel().ticks()));
        }
    }

    /// Waits for the next exchange. While the node drains this ends the connection, unless it waits for its first.
    pub fn set_idle(&self) {
        let entry = &self.entry.entry;
        if entry.busy_since.take().is_some() {
            entry.served.set(true);
        }
        if entry.served.get() && self.is_draining() && !self.permit.worker.is_retired() {
            entry.give(Order::Close);
        }
    }

    /// Its last exchange is over. A drain does not wait for what is left of it, and may cut that short.
    pub(crate) fn set_over(&self) {
        let entry = &self.entry.entry;
        entry.busy_since.set(None);
        entry.served.set(true);
    }

    /// What templates and conditions know of it; the rest is added by whoever knows more.
    pub(crate) fn facts<'a>(&'a self, variables: &'a Variables, scratch: &'a sample::Scratch) -> Facts<'a> {
        Facts {
            client: self.peer(),
            peer: self.peer(),
            local: self.local(),
            frontend: &self.frontend().name,
            backend: None,
            server: None,
            client_hello: None,
            request: None,
            response: None,
            session: variables,
            variables,
            maps: &self.worker().node().maps,
            host: &self.worker().node().host,
            now: SystemTime::now(),
            tls: self.tls(),
            proxy_header: self.extensions.as_deref(),
            log: None,
            scratch,
        }
    }

    /// Should it end after the exchange in flight (`Connection: close`)?
    pub fn is_draining(&self) -> bool {
        self.permit.worker.is_draining() || (self.permit.worker.is_outdated() && self.heir().is_none())
    }

    /// Another generation of the configuration is in force, and its next request shall be served under that.
    pub(crate) fn is_to_renew(&self) -> bool {
        self.permit.worker.is_outdated() && self.heir().is_some()
    }

    /// Waits for something while nothing is in flight; `None` if it is to be renewed meanwhile.
    pub(crate) fn unless_outdated<T>(
        &self,
        mut wait: impl Future<Output = T> + Unpin,
    ) -> impl Future<Output = Option<T>> + Unpin {
        poll_fn(move |context| match Pin::new(&mut wait).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.is_to_renew() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
    }

    /// Goes on under the generation in force, if that has its listener. Between two exchanges only.
    pub(crate) fn renew(&mut self) {
        if let Some((worker, frontend)) = self.heir() {
            self.permit.renew(worker, frontend, self.peer.ip());
        }
    }

    /// The worker and the frontend that its listener belongs to under the generation in force. None if there is no such
    /// listener, or another protocol is spoken there.
    fn heir(&self) -> Option<(Rc<Worker>, usize)> {
        let worker = self.permit.worker.current();
        let frontend = worker.accept_loops().frontend_of(self.entry.entry.listener)?;
        Some((worker, frontend))
    }
}

/// Its session ended without saying how.
impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        if self.record.get_mut().is_none() {
            return;
        }
        let killed = match *self.entry.entry.order.borrow() {
            _ if std::thread::panicking() => Killed::Panic,
            Order::Cut => Killed::ServerDown,
            Order::Reset(_) | Order::None | Order::Close => Killed::Operator,
        };
        self.end_log_killed(killed);
    }
}

impl Registry {
    /// Orders every connection on one of `addresses` to end with a reset. `count` grows with each one that has; the
    /// receiver resolves when all have.
    pub(crate) fn reset(&self, addresses: &[IpAddr], count: &Arc<AtomicUsize>) -> oneshot::Receiver<()> {
        let (done, all_done) = oneshot::channel();
        let round = Rc::new(ResetRound { count: Arc::clone(count), done: Some(done) });
        for (_, entry) in self.entries.borrow().iter() {
            let ordered = matches!(*entry.order.borrow(), Order::Reset(_));
            let local = entry.local.ip().map(|address| address.to_canonical());
            if !ordered && local.is_some_and(|address| addresses.contains(&address)) {
                entry.give(Order::Reset(Rc::clone(&round)));
            }
        }
        all_done
    }

    /// Orders every connection to end with a reset whose exchange is at the server with this number.
    pub(crate) fn cut(&self, server: u32) {
        for (_, entry) in self.entries.borrow().iter() {
            let ordered = matches!(*entry.order.borrow(), Order::Reset(_));
            if !ordered && entry.server.get() == Some(server) {
                entry.give(Order::Cut);
            }
        }
    }

    /// Orders idle connections to end.
    pub(crate) fn close_idle(&self) {
        for (_, entry) in self.entries.borrow().iter().filter(|(_, entry)| !entry.is_stream) {
            let unordered = matches!(*entry.order.borrow(), Order::None);
            if unordered && entry.busy_since.get().is_none() {
                entry.give(Order::Close);
            }
        }
    }

    /// Orders those idle connections of such listeners to end that have had an exchange: nothing of theirs is on its way.
    pub(crate) fn close_served(&self, of: impl Fn(ListenerId) -> bool) {
        for (_, entry) in self.entries.borrow().iter().filter(|(_, entry)| !entry.is_stream) {
            let unordered = matches!(*entry.order.borrow(), Order::None);
            if unordered && entry.served.get() && entry.busy_since.get().is_none() && of(entry.listener) {
                entry.give(Order::Close);
            }
        }
    }

    /// Orders those idle connections on `addresses` to end that have had an exchange; returns how many are open there.
    pub(crate) fn leave(&self, addresses: &[IpAddr]) -> usize {
        let entries = self.entries.borrow();
        let there = entries.iter().filter(|(_, entry)| {
            let is_there =
                entry.local.ip().is_some_and(|address| addresses.contains(&address.to_canonical()));
            is_there && !entry.is_stream
        });
        let mut open = 0;
        for (_, entry) in there {
            open += 1;
            let unordered = matches!(*entry.order.borrow(), Order::None);
            if unordered && entry.served.get() && entry.busy_since.get().is_none() {
                entry.give(Order::Close);
            }
        }
        open
    }

    /// Lets idle connections see that another generation of the configuration is in force.
    pub(crate) fn wake_idle(&self) {
        for (_, entry) in self.entries.borrow().iter() {
            if (entry.busy_since.get().is_none() || entry.has_streams.get())
                && let Some(waker) = entry.waker.take()
            {
                waker.wake();
            }
        }
    }

    /// Lets those that have streams see that the node drains.
    pub(crate) fn wake_multiplexed(&self) {
        for (_, entry) in self.entries.borrow().iter().filter(|(_, entry)| entry.has_streams.get()) {
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
    }

    /// Connections that are open, with or without an exchange in flight.
    pub(crate) fn open(&self) -> usize {
        self.entries.borrow().iter().filter(|(_, entry)| !entry.is_stream).count()
    }

    /// Exchanges in flight that began by the end of `tick`.
    pub(crate) fn busy_since(&self, tick: u64) -> usize {
        let entries = self.entries.borrow();
        let is_busy = |entry: &Entry| entry.busy_since.get().is_some_and(|since| since <= tick);
        // Of one with streams these are the exchanges.
        entries.iter().filter(|(_, entry)| !entry.has_streams.get() && is_busy(entry)).count()
    }
}

impl Entry {
    fn give(&self, order: Order) {
        *self.order.borrow_mut() = order;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Ready if ordered to close and idle.
    fn poll_close(&self, context: &mut Context<'_>) -> Poll<()> {
        if matches!(*self.order.borrow(), Order::Close) {
            if self.busy_since.get().is_none() {
                return Poll::Ready(());
            }
            // It became busy in the meantime; `set_idle` will give the order again.
            *self.order.borrow_mut() = Order::None;
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Registered {
    fn new(registry: &Rc<Registry>, local: Endpoint, listener: ListenerId, is_stream: bool) -> Self {
        let entry = Rc::new(Entry {
            local,
            listener,
            busy_since: Cell::new(None),
            server: Cell::new(None),
            served: Cell::new(false),
            is_stream,
            has_streams: Cell::new(false),
            order: RefCell::default(),
            waker: RefCell::default(),
        });
        let key = registry.entries.borrow_mut().insert(Rc::clone(&entry));
        Self { registry: Rc::clone(registry), key, entry }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.entries.borrow_mut().remove(self.key);
        if let (Order::Reset(round), false) = (self.entry.order.take(), self.entry.is_stream) {
            round.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for ResetRound {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            // Who asked may have given up.
            let _ = done.send(());
        }
    }
}
