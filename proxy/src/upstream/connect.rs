//! One request's search for a server: choice, queue, connection, retries and redispatch.

mod attempt;
mod refused;

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Lease, Own, Preference, Upstream, balance::Pick, idle::Link, persist::Persistence};
use crate::{
    Endpoint,
    config::{Backend, BackendId, ReuseMode},
    error::{Error, Kind, Side},
    health::passive::Seen,
    log::{Phase, Record, ServedBy},
    metrics::{BackendCounters, Event},
    node::{Asker, BackendShared},
    proxy_protocol::introduction::Introduction,
    tls::{Connector, PeerName},
    trace::Chosen,
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
    /// Only on one that was used again before.
    Proven,
    /// No: a new connection, or a place on one that requests share.
    Forbidden,
    /// No: a new connection that nobody shares. What has ended one may end the next as well, with all that is on it.
    Fresh,
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
    /// The client's own connection, until it is used or of no more use.
    own: Option<Own>,
    /// Who asks, for servers that want to be told.
    introduction: Option<Box<Introduction>>,
    /// Whom it asks for, for servers with TLS that are told that.
    host: Option<Rc<PeerName>>,
    /// It authenticates its connection.
    is_private: bool,
    /// Of the call in progress.
    reuse: Reuse,
    retries: u32,
    redispatches: u32,
    /// The last attempt of all: its server, and why it failed.
    failure: Option<(usize, String)>,
    /// Why the client has a server, if it has one.
    had_by: Chosen,
    /// For the record of the exchange, if there is one.
    course: Option<Cell<Course>>,
}

/// What a log tells of a search.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    /// It stands in line.
    is_in_line: bool,
    /// When it left the line, or got its last server.
    dequeued: Option<Instant>,
    /// The server of that attempt.
    server: Option<usize>,
    /// Its turns in the lines that it stood in: of those who want one server alone, of the others.
    turns: (u32, u32),
}

impl Course {
    fn enqueued(&mut self, wish: Wish) {
        self.is_in_line = true;
        self.server = if let Wish::Only(server) = wish { Some(server) } else { None };
    }

    /// It has left the line, for whatever reason.
    fn had_turn(&mut self, wish: Wish, turn: u64) {
        let turn = u32::try_from(turn).unwrap_or(u32::MAX);
        let sum = if let Wish::Any = wish { &mut self.turns.1 } else { &mut self.turns.0 };
        *sum = sum.saturating_add(turn);
    }
}

impl Search {
    pub(crate) fn new(
        worker: Rc<Worker>,
        frontend: usize,
        backend: BackendId,
        mut preference: Preference,
    ) -> Self {
        let had_by = match preference {
            Preference { by_rule: true, .. } => Chosen::Rule,
            Preference { server: Some(_), .. } => Chosen::Cookie,
            Preference { server: None, .. } => Chosen::Stick,
        };
        let persistence = Persistence::new(worker.node(), backend, &mut preference);
        let had_by = if preference.server.is_some() { had_by } else { Chosen::Balance };
        let course = worker.node().keeps_records(frontend).then(Cell::default);
        Self {
            worker,
            frontend,
            backend,
            preference,
            persistence,
            failed: Vec::new(),
            own: None,
            introduction: None,
            host: None,
            is_private: false,
            reuse: Reuse::Forbidden,
            retries: 0,
            redispatches: 0,
            failure: None,
            had_by,
            course,
        }
    }

    /// What a log wants to know of it.
    pub(crate) fn tell(&self, record: &mut Record) {
        record.retries = self.retries;
        record.is_redispatched = self.redispatches > 0;
        let Some(course) = self.course.as_ref().map(Cell::get) else { return };
        record.in_line = course.turns;
        if course.is_in_line {
            record.phase = Phase::Queue;
        }
        if let Some(at) = if course.is_in_line { Some(Instant::now()) } else { course.dequeued } {
            record.dequeued(at);
        }
        if let Some(server) = course.server {
            record.served_by = ServedBy::Server(server);
            record.chosen = if self.is_persisted(server) { self.had_by } else { Chosen::Balance };
        }
    }

    /// Did it stand in line when it was given up?
    pub(crate) fn is_in_line(&self) -> bool {
        self.course.as_ref().is_some_and(|course| course.get().is_in_line)
    }

    fn note(&self, note: impl FnOnce(&mut Course)) {
        if let Some(cell) = &self.course {
            let mut course = cell.get();
            note(&mut course);
            cell.set(course);
        }
    }

    /// Whose request it is, for servers that are told ([`crate::config::Server::send_proxy`]).
    pub(crate) fn introduce(&mut self, client: Introduction) {
        self.introduction = Some(Box::new(client));
    }

    /// Whom the request asks for, for servers that are told ([`crate::config::Sni::OfHost`]).
    pub(crate) fn ask_for(&mut self, host: Option<Rc<PeerName>>) {
        self.host = host;
    }

    /// The client that a server was told of, if it is one that is told.
    pub(crate) fn introduced_to(&self, server: usize) -> Option<Endpoint> {
        self.config().servers[server].send_proxy.as_ref()?;
        Some(self.introduction.as_ref()?.source)
    }

    /// The request authenticates its connection (NTLM, Negotiate): it gets none that others share.
    pub(crate) fn keep_apart(&mut self) {
        self.is_private = true;
    }

    /// Offers a connection that belongs to the client: taken if the choice falls on its server. One on which the server was
    /// told of somebody else is closed: behind another proxy one connection has requests of many.
    pub(crate) fn offer(&mut self, own: Own) {
        if own.introduced != self.introduced_to(own.server) {
            return;
        }
        if let Some(server) = own.authenticated_at().filter(|_| !self.preference.by_rule) {
            self.preference.server = Some(server);
            self.had_by = Chosen::Own;
            self.persistence.yield_to(server);
        }
        self.own = Some(own);
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
    /// once, but that of a client which has its server only at the last; where there is none, or without `redispatch`,
    /// the same one is tried after a pause of min(1 s, `timeout.connect`).
    ///
    /// `deadline` is used for these times and disarmed afterwards.
    ///
    /// # Errors
    /// [`Kind::NoServer`], [`Kind::QueueTimeout`], [`Kind::ConnectFailed`], [`Kind::ConnectTimeout`],
    /// [`Kind::NoResources`]: nothing reached a server. Counted here.
    pub async fn connect(&mut self, reuse: Reuse, deadline: &Deadline) -> Result<Upstream, Error> {
        self.reuse = reuse;
        let mut lease = self.lease(deadline).await?;
        loop {
            if let Some(link) = self.take_idle(&lease).or_else(|| self.take_lane(lease.server)) {
                self.settle(&lease);
                self.count(Event::Reuse);
                return Ok(Upstream { link, lease });
            }
            self.worker.idle_upstreams().make_room(self.worker.spare());
            let moves = self.worker.idle_upstreams().moves(self.backend, lease.server);
            let error = match self.attempt(&lease, deadline).await {
                Ok(stream) => {
                    lease.note(Seen::Connected);
                    self.settle(&lease);
                    let link = Link::new(stream, self.worker.wheel().ticks(), moves);
                    return Ok(Upstream { link, lease });
                }
                Err(error) => error,
            };
            // A machine that has nothing left to connect with has seen nothing of the server.
            if error.kind != Kind::NoResources {
                lease.note(Seen::NotConnected);
            }
            lease.counters().connect_errors.increment();
            let server = lease.server;
            tracing::debug!(
                backend = %self.config().name,
                server = %self.config().servers[server].name,
                attempt = self.retries + 1,
                error = error.source.as_ref().map(tracing::field::display),
                "{error}"
            );
            if !self.config().options.retry.connect_failure || !self.may_retry() {
                self.count(Event::ConnectFailed);
                lease.counters().connect_failures.increment();
                self.failure = Some((server, self.cause(&error)));
                return Err(error);
            }
            self.retried(server);
            if self.may_leave(server) {
                drop(lease);
                lease = self.lease(deadline).await?;
            } else {
                let pause = self.config().timeout.connect.min(PAUSE);
                tokio::time::sleep(pause).await;
                // Meanwhile another one may have come up; a client that has a server waits for it to the last.
                if !self.is_persisted(server) && self.may_leave(server) {
                    drop(lease);
                    lease = self.lease(deadline).await?;
                } else if self.config().redispatch && !self.is_persisted(server) {
                    // It was free to leave: in HAProxy's logs it is assigned anew.
                    self.note(|course| course.dequeued = Some(Instant::now()));
                }
            }
            if lease.server == server {
                lease.counters().retries.increment();
            } else {
                self.redispatched(server);
            }
        }
    }

    /// May the next attempt be made on another server? As in HAProxy, a client that has this server leaves it at the
    /// last attempt only.
    fn may_leave(&self, server: usize) -> bool {
        self.config().redispatch
            && (!self.is_persisted(server) || !self.has_retries())
            && self.another_is_usable(server)
    }

    fn is_persisted(&self, server: usize) -> bool {
        self.preference.server == Some(server)
    }

    /// The request has its server.
    fn settle(&mut self, lease: &Lease) {
        let counters = lease.counters();
        counters.requests.increment();
        counters.last.set(self.worker.wheel().ticks() + 1);
        if let Some(event) = self.persistence.settle(self.worker.node(), lease.server) {
            self.count(event);
        }
    }

    /// Is a further attempt allowed? The first one is, as far as `retries` goes: where a server is gone, it is the load
    /// that another one has to take anyway. Those after it are in the budget.
    fn may_retry(&self) -> bool {
        if !self.has_retries() {
            return false;
        }
        let allowed = self.retries == 0 || self.worker.retry_budget(self.backend).take();
        if !allowed {
            self.count(Event::RetryRefused);
        }
        allowed
    }

    /// Are there attempts left?
    pub(crate) fn has_retries(&self) -> bool {
        self.retries < self.config().retries
    }

    /// A server was connected to and failed the request; it shall be sent again. With `redispatch` to another one if
    /// there is one, else to the same.
    pub(crate) fn send_again(&mut self, failed: usize) {
        self.retried(failed);
        let leaves = self.config().redispatch;
        if !leaves {
            self.failed.clear();
            self.preference.server = Some(failed);
        }
        // As in HAProxy it is one of the server that has failed, wherever it goes next.
        self.counters().of(Some(failed)).retries.increment();
        if leaves && self.another_is_usable(failed) {
            self.redispatched(failed);
        }
    }

    /// An attempt on `server` is followed by one on another.
    fn redispatched(&mut self, server: usize) {
        self.redispatches += 1;
        self.count(Event::Redispatch);
        self.counters().of(Some(server)).redispatches.increment();
    }

    fn retried(&mut self, server: usize) {
        self.retries += 1;
        self.count(Event::Retry);
        self.failed.retain(|&failed| failed != server);
        self.failed.push(server);
    }

    /// The backend whose servers are looked at.
    pub(crate) fn backend(&self) -> &Backend {
        self.config()
    }

    fn config(&self) -> &Backend {
        self.worker.node().backend(self.backend)
    }

    /// What this worker counts of the backend.
    pub(crate) fn counters(&self) -> &BackendCounters {
        &self.worker.counters().backends[self.backend.0]
    }

    fn count(&self, event: Event) {
        self.worker.counters().frontends[self.frontend].event(event).increment();
    }

    fn another_is_usable(&self, server: usize) -> bool {
        self.worker.with_usable(self.backend, |usable| usable.has_other_than(&[server]))
    }

    fn take_idle(&mut self, lease: &Lease) -> Option<Link> {
        let (idle, now) = (self.worker.idle_upstreams(), self.worker.wheel().ticks());
        // Of no more use if the choice fell on another server.
        if let Some(own) = self.own.take().filter(|own| own.server == lease.server) {
            let name = self.name_at(lease.server).map(Rc::as_ref);
            match idle.take_own(self.backend, &own.place, name, now) {
                Some(link) => return Some(link),
                None => self.count(Event::Stale),
            }
        }
        let server = &self.config().servers[lease.server];
        // One on which the server was told of a client is kept for that one alone.
        if matches!(self.reuse, Reuse::Forbidden | Reuse::Fresh)
            || server.send_proxy.is_some()
            || (self.is_private && server.speaks_http2())
        {
            return None;
        }
        let wanted = (self.reuse, self.name_at(lease.server).map(Rc::as_ref));
        idle.take(self.backend, lease.server, wanted, now, || self.count(Event::Stale))
    }

    /// A place on a connection of HTTP/2, if the server shares them and has one that is not full.
    fn take_lane(&self, server: usize) -> Option<Link> {
        if !self.shares(server) {
            return None;
        }
        let name = self.name_at(server).map(Rc::as_ref);
        let now = self.worker.wheel().ticks();
        self.worker.idle_upstreams().lane(self.backend, server, name, now)
    }

    /// May the request be in flight on one connection to this server with those of other clients?
    fn shares(&self, server: usize) -> bool {
        let (config, backend) = (&self.config().servers[server], self.config());
        let is_for_all = config.send_proxy.is_none() && backend.options.pool.reuse != ReuseMode::Never;
        config.speaks_http2() && is_for_all && !self.is_private && self.reuse != Reuse::Fresh
    }

    /// Chooses a server and takes a slot of it, after waiting in line if need be.
    async fn lease(&mut self, deadline: &Deadline) -> Result<Lease, Error> {
        loop {
            let wish = match self.pick() {
                Pick::Server(server) => {
                    if !self.is_persisted(server) {
                        self.counters().of(Some(server)).balanced.increment();
                    }
                    return Ok(self.leased(server));
                }
                Pick::Full(wish) => wish,
                Pick::None => {
                    self.count(Event::NoServer);
                    self.counters().unserved.connect_failures.increment();
                    self.is_here_too();
                    return Err(Error::new(Side::Upstream, Kind::NoServer));
                }
            };
            if let Some(server) = self.wait_in_line(wish, deadline).await? {
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
            if node.backends[backend.0].shared.is_waiting() {
                let wanted = node.wanted(backend, usable, self.preference, &self.failed);
                return Pick::Full(wanted.map_or(Wish::Any, Wish::Only));
            }
            node.pick(backend, usable, self.preference, &self.failed)
        })
    }

    /// `None` if what it waits for is not usable any more.
    async fn wait_in_line(&self, wish: Wish, deadline: &Deadline) -> Result<Option<usize>, Error> {
        self.count(Event::Queued);
        let node = self.worker.node();
        let state = &node.backends[self.backend.0];
        let asker = || Asker::new(node, self.backend);
        let alone = if let Wish::Only(server) = wish { Some(state.servers[server].number) } else { None };
        let (place, granted) = {
            let mut line = state.shared.line();
            self.note(|course| course.enqueued(wish));
            line.push(node.generation, wish, alone, asker)
        };
        let mut in_line = InLine { search: self, backend: &state.shared, wish, place, turn: None };
        self.is_here_too();
        // A slot that was freed before we were in line is found here.
        state.shared.serve_line();
        let granted = deadline.limit(self.config().timeout.queue, granted).await;
        in_line.turn = granted.as_ref().ok().and_then(|grant| Some(grant.as_ref().ok()?.turn));
        drop(in_line);
        self.note(|course| {
            course.is_in_line = false;
            course.dequeued = Some(Instant::now());
        });
        match granted {
            Ok(granted) => Ok(granted.ok().and_then(|granted| granted.what.take())),
            Err(_) => {
                self.count(Event::QueueTimeout);
                let wanted = if let Wish::Only(server) = wish { Some(server) } else { None };
                self.counters().of(wanted).connect_failures.increment();
                Err(Error::new(Side::Upstream, Kind::QueueTimeout))
            }
        }
    }

    /// It is at the backend and neither at a server nor counted in its line.
    fn is_here_too(&self) {
        let load = self.worker.node().backends[self.backend.0].load();
        self.counters().peak.raise(load + 1);
    }

    fn leased(&self, server: usize) -> Lease {
        let (state, counters) = (&self.worker.node().backends[self.backend.0], self.counters());
        if counters.of(Some(server)).peak.raise(state.servers[server].in_flight().into()) {
            counters.peak.raise(state.load());
        }
        self.note(|course| {
            course.dequeued = Some(Instant::now());
            course.server = Some(server);
        });
        Lease { worker: Rc::clone(&self.worker), backend: self.backend, server }
    }

    fn connector(&self, server: usize) -> Option<&Arc<Connector>> {
        self.worker.node().backends[self.backend.0].connectors[server].as_ref()
    }

    /// The name that a server is told, where that is up to the request.
    fn name_at(&self, server: usize) -> Option<&Rc<PeerName>> {
        self.host.as_ref().filter(|_| self.connector(server).is_some_and(|one| one.is_named_by_host()))
    }
}

/// A place in line; left when dropped, also by a client that goes away.
struct InLine<'a> {
    search: &'a Search,
    backend: &'a BackendShared,
    wish: Wish,
    place: Place,
    /// When it was served.
    turn: Option<u64>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut line = self.backend.line();
        let turn = line.remove(self.place);
        self.backend.recount(&line);
        self.search.note(|course| course.had_turn(self.wish, self.turn.unwrap_or(turn)));
    }
}
