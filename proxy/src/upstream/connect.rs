//! One request's search for a server: choice, queue, connection, retries and redispatch.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::net::{TcpSocket, TcpStream};

use super::{Lease, Preference, Upstream, balance::Pick, persist::Persistence};
use crate::{
    config::{Backend, BackendId},
    error::{Error, Kind, Side},
    metrics::Event,
    node::{Grant, Node},
    upstream::queue::{Place, Wish},
    wheel::Deadline,
    worker::Worker,
};

/// The longest pause before the same server is tried again; `timeout.connect` if that is shorter.
const PAUSE: Duration = Duration::from_secs(1);

/// May a request travel on a connection that served another one?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reuse {
    /// If one is idle.
    Allowed,
    /// No: a new connection.
    Forbidden,
}

/// One request's search for a server. Further calls of [`Self::connect`] go on where the last one ended: attempts are
/// counted over all of them, and servers that failed come last.
#[derive(Debug)]
pub struct Search {
    worker: Rc<Worker>,
    frontend: usize,
    backend: BackendId,
    preference: Preference,
    persistence: Persistence,
    /// Servers that failed this request, oldest first.
    failed: Vec<usize>,
    attempts: u32,
    retries: u32,
    redispatches: u32,
}

impl Search {
    pub(crate) fn new(
        worker: Rc<Worker>,
        frontend: usize,
        backend: BackendId,
        mut preference: Preference,
    ) -> Self {
        let persistence = Persistence::new(worker.node(), backend, &mut preference);
        Self {
            worker,
            frontend,
            backend,
            preference,
            persistence,
            failed: Vec::new(),
            attempts: 0,
            retries: 0,
            redispatches: 0,
        }
    }

    /// Further attempts after the first.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Retries that went to another server than the attempt before.
    pub fn redispatches(&self) -> u32 {
        self.redispatches
    }

    /// Finds a connection to a server. Waits in line for at most `timeout.queue` if all are full; makes up to
    /// 1 + `retries` attempts of `timeout.connect` each. With `redispatch` a retry goes to another usable server at
    /// once; where there is none, or without it, the same one is tried after a pause of min(1 s, `timeout.connect`).
    ///
    /// `deadline` is used for these times and disarmed afterwards.
    ///
    /// # Errors
    /// [`Kind::NoServer`], [`Kind::QueueTimeout`], [`Kind::ConnectFailed`], [`Kind::ConnectTimeout`]: nothing reached
    /// a server. Counted here.
    pub async fn connect(&mut self, reuse: Reuse, deadline: &Deadline) -> Result<Upstream, Error> {
        let mut lease = self.lease(deadline).await?;
        loop {
            if reuse == Reuse::Allowed
                && let Some(stream) = self.take_idle(&lease)
            {
                self.settle(&lease);
                self.count(Event::Reuse);
                return Ok(Upstream { stream, lease, reused: true });
            }
            self.attempts += 1;
            let error = match self.attempt(&lease, deadline).await {
                Ok(stream) => {
                    self.settle(&lease);
                    return Ok(Upstream { stream, lease, reused: false });
                }
                Err(error) => error,
            };
            lease.counters().connect_errors.increment();
            let server = lease.server;
            tracing::debug!(
                backend = %self.config().name,
                server = %self.config().servers[server].name,
                attempt = self.attempts,
                error = error.source.as_ref().map(tracing::field::display),
                "{error}"
            );
            if self.attempts > self.config().retries {
                self.count(Event::ConnectFailed);
                return Err(error);
            }
            self.retries += 1;
            self.count(Event::Retry);
            self.failed.retain(|&failed| failed != server);
            self.failed.push(server);
            if self.config().redispatch && self.another_is_usable(server) {
                drop(lease);
                lease = self.lease(deadline).await?;
            } else {
                let pause = self.config().timeout.connect.min(PAUSE);
                tokio::time::sleep(pause).await;
                if self.config().redispatch && self.another_is_usable(server) {
                    drop(lease);
                    lease = self.lease(deadline).await?;
                }
            }
            if lease.server != server {
                self.redispatches += 1;
                self.count(Event::Redispatch);
            }
        }
    }

    /// The request has its server.
    fn settle(&mut self, lease: &Lease) {
        lease.counters().requests.increment();
        if let Some(event) = self.persistence.settle(self.worker.node(), lease.server) {
            self.count(event);
        }
    }

    fn config(&self) -> &Backend {
        self.worker.node().backend(self.backend)
    }

    fn count(&self, event: Event) {
        self.worker.counters().frontends[self.frontend].event(event).increment();
    }

    fn another_is_usable(&self, server: usize) -> bool {
        self.worker.with_usable(self.backend, |usable| usable.has_other_than(&[server]))
    }

    fn take_idle(&self, lease: &Lease) -> Option<TcpStream> {
        let now = self.worker.wheel().ticks();
        self.worker.idle_upstreams().take(self.backend, lease.server, now, || self.count(Event::Stale))
    }

    /// Chooses a server and takes a slot of it, after waiting in line if need be.
    async fn lease(&mut self, deadline: &Deadline) -> Result<Lease, Error> {
        loop {
            let (wish, turn) = match self.pick() {
                Pick::Server(server) => return Ok(self.leased(server)),
                Pick::Full(wish, turn) => (wish, turn),
                Pick::None => {
                    self.count(Event::NoServer);
                    return Err(Error::new(Side::Upstream, Kind::NoServer));
                }
            };
            if let Some(server) = self.wait_in_line(wish, turn, deadline).await? {
                return Ok(self.leased(server));
            }
            // What it waited for is not usable any more: there may be another.
        }
    }

    fn pick(&mut self) -> Pick {
        let (node, backend) = (self.worker.node(), self.backend);
        self.worker.with_usable(backend, |usable| {
            if usable.is_empty() && node.wanted(backend, usable, self.preference, &[]).is_none() {
                return Pick::None;
            }
            if !self.failed.is_empty() && !usable.has_other_than(&self.failed) {
                // All have failed: only the last one is avoided, if that leaves any.
                self.failed.drain(..self.failed.len() - 1);
                if !usable.has_other_than(&self.failed) {
                    self.failed.clear();
                }
            }
            // Who comes while there is a line goes to its end, even if a slot is free at this moment.
            if node.backends[backend.0].is_waiting() {
                let wanted = node.wanted(backend, usable, self.preference, &self.failed);
                return wanted
                    .map_or(Pick::Full(Wish::Any, 0), |server| Pick::Full(Wish::Only(server), server));
            }
            node.pick(backend, usable, self.preference, &self.failed)
        })
    }

    /// `None` if what it waits for is not usable any more.
    async fn wait_in_line(
        &self,
        wish: Wish,
        turn: usize,
        deadline: &Deadline,
    ) -> Result<Option<usize>, Error> {
        self.count(Event::Queued);
        let node = self.worker.node();
        let (place, granted) = node.backends[self.backend.0].queue().push(wish, turn);
        let in_line = InLine { node, backend: self.backend, place };
        // A slot that was freed before we were in line is found here.
        node.serve_queue(self.backend);
        let granted = deadline.limit(self.config().timeout.queue, granted).await;
        drop(in_line);
        match granted {
            Ok(grant) => Ok(grant.ok().and_then(Grant::take)),
            Err(_) => {
                self.count(Event::QueueTimeout);
                Err(Error::new(Side::Upstream, Kind::QueueTimeout))
            }
        }
    }

    fn leased(&self, server: usize) -> Lease {
        Lease { worker: Rc::clone(&self.worker), backend: self.backend, server }
    }

    async fn attempt(&self, lease: &Lease, deadline: &Deadline) -> Result<TcpStream, Error> {
        match deadline.limit(self.config().timeout.connect, connect(lease.address())).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Error::with_source(Side::Upstream, Kind::ConnectFailed, error)),
            Err(_) => Err(Error::new(Side::Upstream, Kind::ConnectTimeout)),
        }
    }
}

/// A place in line; left when dropped, also by a client that goes away.
struct InLine<'a> {
    node: &'a Node,
    backend: BackendId,
    place: Place,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let state = &self.node.backends[self.backend.0];
        let mut queue = state.queue();
        queue.remove(self.place);
        state.recount(&queue);
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Heads and last pieces leave at once instead of waiting for an acknowledgement.
    socket.set_nodelay(true)?;
    socket.connect(address).await
}
