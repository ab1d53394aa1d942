//! From a request to a connection with a server: choose, wait in line, connect or reuse, try again.
//!
//! ```text
//! Search::connect ──> pick a usable server, take a slot ──> idle connection, or connect ──> Upstream
//!        ▲                  └ all full: wait in line (timeout.queue)      │
//!        └────── retries: another server at once, or the same one ◀──────┘ refused, timed out
//! ```
//!
//! ```no_run
//! # use lb_proxy::{Connection, Stream, config::BackendId, error::Error, upstream::{Preference, Reuse}};
//! # async fn forward<S: Stream>(connection: &Connection<S>, backend: BackendId) -> Result<(), Error> {
//! let deadline = connection.worker().wheel().deadline();
//! let mut search = connection.worker().search(connection.frontend_id(), backend, Preference::default());
//! let upstream = search.connect(Reuse::Allowed, &deadline).await?;
//! // ... deadline.arm(backend.timeout.server); write and read upstream.stream() under deadline.guard(..) ...
//! upstream.keep(); // the response is complete and the connection may be reused; just dropping closes it
//! # Ok(()) }
//! ```
//! An [`Upstream`] holds a slot of its server (`maxconn`) until it is kept or dropped.

pub(crate) mod balance;
mod connect;
mod dial;
pub(crate) mod idle;
pub(crate) mod key;
mod persist;
pub(crate) mod queue;
mod stream;
mod trunks;

pub use connect::{Reuse, Search};
pub(crate) use dial::{dial, is_exhausted};
pub use stream::ServerStream;

use std::{net::IpAddr, rc::Rc, time::Duration};

use self::idle::{Link, OwnPlace};
use crate::{
    Endpoint,
    config::{Address, Backend, BackendId, Server},
    health::passive::Seen,
    http::CookiePolicy,
    http2::{Blame, ServerLane},
    metrics::{BackendCounters, Flow, ServerCounters},
    node::ServerShared,
    worker::Worker,
};

/// What a request wants of the choice of its server; nothing by default. Computed with its head at hand, so that
/// nothing of the head is needed later.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Preference {
    /// The server that its client has had before, by its index: taken if it is up, whatever its weight. If it is full,
    /// the request waits for it and takes no other. One that has failed this request
    /// is not preferred, nor is one that is down unless the backend has `persist`.
    pub server: Option<usize>,
    /// A rule has chosen `server`, whichever its client had.
    pub by_rule: bool,
    /// Who asks, for a backend that remembers the servers of its clients. What it remembers counts if there is no
    /// `server`; the server that is chosen will be remembered.
    pub client: Option<IpAddr>,
    /// Where [`crate::config::Balance::Hash`] sends it, unless `server` does.
    pub hash: Option<u64>,
}

/// A connection to a server, and the slot of that server that goes with it.
#[derive(Debug)]
pub struct Upstream {
    // Closed before the slot is free: the next one never meets a server with more than `maxconn` connections.
    link: Link,
    lease: Lease,
}

/// A connection to a server that waits for the next request of the one client whose it is, if it was not closed meanwhile.
#[derive(Debug)]
pub(crate) struct Own {
    backend: BackendId,
    server: usize,
    is_authenticated: bool,
    /// The client that its server was told of.
    introduced: Option<Endpoint>,
    place: OwnPlace,
}

impl Own {
    pub(crate) fn backend(&self) -> BackendId {
        self.backend
    }

    /// The same connection under another generation, if that has its server at the same place.
    pub(crate) fn moved(self, from: &Worker, to: &Worker) -> Option<Self> {
        let server = &from.node().backends[self.backend.0].servers[self.server];
        let (backend, index) = to.node().place(server.number)?;
        let (old, new) = (from.idle_upstreams(), to.idle_upstreams());
        let is_same = old.is_same_place((self.backend, self.server), new, (backend, index));
        is_same.then_some(Self { backend, server: index, ..self })
    }

    /// The server that knows the client by this connection, if it does.
    pub(crate) fn authenticated_at(&self) -> Option<usize> {
        (self.is_authenticated && self.place.is_taken()).then_some(self.server)
    }
}

/// One slot of a server; dropping it frees the slot and wakes the oldest in line.
#[derive(Debug)]
struct Lease {
    worker: Rc<Worker>,
    backend: BackendId,
    server: usize,
}

impl Upstream {
    /// The connection.
    pub fn stream(&self) -> &ServerStream {
        &self.link.stream
    }

    /// Was it idle before (so that its server may have closed it meanwhile)?
    pub fn is_reused(&self) -> bool {
        self.link.is_used()
    }

    /// The number of the server.
    pub(crate) fn number(&self) -> u32 {
        self.lease.shared().number
    }

    /// After an end without an answer: was it one of the connection, and not of a stream alone?
    pub(crate) fn may_be_stale(&self) -> bool {
        self.stream().lane().is_none_or(|lane| lane.trunk().is_over())
    }

    /// May the request be what its server has ended the connection for?
    pub(crate) fn blame(&self) -> Blame {
        self.stream().lane().map_or(Blame::None, ServerLane::blame)
    }

    /// Has the server not even looked at the request, so that it may be sent again whatever it is (RFC 9113 §8.7)?
    pub(crate) fn was_refused(&self) -> bool {
        self.stream().lane().is_some_and(ServerLane::was_refused)
    }

    /// Tells those who watch the server's traffic.
    pub(crate) fn note(&self, seen: Seen) {
        self.lease.note(seen);
    }

    /// The backend.
    pub fn backend(&self) -> &Backend {
        self.lease.worker.node().backend(self.lease.backend)
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.backend().servers[self.lease.server]
    }

    /// How its backend's clients stay with their servers by cookie.
    pub(crate) fn cookie(&self) -> Option<&CookiePolicy> {
        self.lease.worker.node().backends[self.lease.backend.0].cookie.as_ref()
    }

    /// What this worker counts of the server.
    pub fn counters(&self) -> &ServerCounters {
        self.lease.counters()
    }

    /// What this worker counts of the backend.
    pub(crate) fn backend_counters(&self) -> &BackendCounters {
        &self.lease.worker.counters().backends[self.lease.backend.0]
    }

    /// Bytes from a client, counted at the server, too.
    pub(crate) fn received<'c>(&'c self, from_client: Flow<'c>) -> Flow<'c> {
        Flow { server: Some(&self.counters().bytes_in), ..from_client }
    }

    /// Bytes to a client, counted at the server, too.
    pub(crate) fn sent<'c>(&'c self, to_client: Flow<'c>) -> Flow<'c> {
        Flow { server: Some(&self.counters().bytes_out), ..to_client }
    }

    /// The index of its backend.
    pub(crate) fn backend_id(&self) -> BackendId {
        self.lease.backend
    }

    /// Its index in the backend.
    pub(crate) fn server_index(&self) -> usize {
        self.lease.server
    }

    /// Frees the slot and keeps the connection for another request. Only if the response was read to its end, the
    /// request was sent to its end, and nothing forbids reuse.
    pub fn keep(self) {
        let Self { mut link, lease } = self;
        link.serve();
        let worker = &lease.worker;
        worker.idle_upstreams().put(lease.backend, lease.server, worker.wheel().ticks(), link);
    }

    /// Frees the slot and keeps the connection for a further request of this client and of nobody else; under the conditions
    /// of [`Self::keep`]. `authenticated`: from now on the server takes the connection for the client's, and it waits for
    /// `patience`. `introduced` is who its server was told that it is of. `None` if it may serve no further request.
    pub(crate) fn keep_own(
        self,
        authenticated: bool,
        introduced: Option<Endpoint>,
        patience: Duration,
    ) -> Option<Own> {
        let Self { mut link, lease } = self;
        link.serve();
        if authenticated {
            link.make_private();
        }
        let now = lease.worker.wheel().ticks();
        let (backend, server) = (lease.backend, lease.server);
        let place = lease.worker.idle_upstreams().put_own(backend, server, now, patience, link)?;
        Some(Own { backend, server, is_authenticated: authenticated, introduced, place })
    }

    /// Was it authenticated for its client?
    pub(crate) fn is_private(&self) -> bool {
        self.link.is_private()
    }
}

impl Lease {
    fn note(&self, seen: Seen) {
        let node = self.worker.node();
        if let Some(observe) = &node.backend(self.backend).observe {
            self.shared().watch.note(observe, seen);
        }
    }

    fn shared(&self) -> &ServerShared {
        &self.worker.node().backends[self.backend.0].servers[self.server]
    }

    fn address(&self) -> Option<Address> {
        self.worker.with_usable(self.backend, |usable| usable.address(self.server))
    }

    fn counters(&self) -> &ServerCounters {
        &self.worker.counters().backends[self.backend.0].servers[self.server]
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.worker.node().release(self.backend, self.server);
    }
}
