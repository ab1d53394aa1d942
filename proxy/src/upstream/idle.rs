//! Idle connections to servers, kept by each worker for the next request to the same server.

use std::{
    cell::{Cell, RefCell},
    collections::{BinaryHeap, VecDeque},
    io,
    num::NonZeroU32,
    rc::Rc,
    time::Duration,
};

use self::room::Room;
use super::{Reuse, ServerStream, trunks::Trunks};
use tokio::{io::Interest, net::TcpStream, sync::MutexGuard};

use crate::{
    config::{Backend, BackendId, Config, PoolOptions, Server},
    http2::{LONELY, ServerLane, Trunk},
    stream::Stream,
    tls::PeerName,
    wheel::TICK,
    worker::turns,
};

/// Per worker and server: of those that anybody may use, unless more have been [missed](Room), and of clients' own.
pub(crate) const KEPT_PER_SERVER: usize = 64;

/// Per worker, where [`Config::maxconn`] is as much.
pub(crate) const KEPT: usize = 1024;

/// What a worker keeps in front of so many connections of clients: more of its own would be of no use.
pub(crate) fn kept(maxconn: u32) -> usize {
    usize::try_from(maxconn).unwrap_or(KEPT).clamp(KEPT_PER_SERVER, KEPT)
}

/// The idle connections of one worker, as one generation of the configuration sees them.
#[derive(Debug)]
pub(crate) struct IdleConnections {
    backends: Box<[OfBackend]>,
    /// Of all servers and generations.
    count: Rc<Cell<usize>>,
    /// The most of that, where clients have left nothing to spare.
    kept: usize,
    /// What the limit on open files is reckoned with, which is less than `kept` where there are few servers.
    counted: usize,
    /// See [`Self::make_room`].
    spare: Rc<Cell<usize>>,
    /// Of which servers the oldest connection is closed next, the first last: found by one look at all of them.
    plan: RefCell<Vec<(BackendId, usize)>>,
}

/// The most that is planned at once; it is planned anew each turn of the wheel.
const PLANNED: usize = 64;

#[derive(Debug)]
struct OfBackend {
    bounds: Bounds,
    /// By server: the most of those that anybody may use, whatever was missed.
    most: Box<[usize]>,
    /// By server: the most that are clients' own.
    most_own: Box<[usize]>,
    /// By server; the generations that have it at the same place share it.
    servers: Box<[Rc<OfServer>]>,
}

#[derive(Debug, Default)]
struct OfServer {
    /// Those that requests share.
    trunks: Trunks,
    /// The youngest last.
    connections: RefCell<VecDeque<Idle>>,
    /// For these.
    room: Room,
    /// Those that are clients' own, the youngest last.
    own: RefCell<VecDeque<Owned>>,
    /// How many there were of these.
    numbers: Cell<u64>,
    /// How often the server has moved to another address.
    moves: Cell<u32>,
    /// The configuration in force does not have the server, or has it elsewhere: nothing is kept.
    retired: Cell<bool>,
}

/// [`PoolOptions`] in ticks.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    idle: u64,
    age: u64,
    requests: Option<NonZeroU32>,
}

/// A connection to a server, with its history.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: ServerStream,
    /// The tick in which it was opened.
    opened: u64,
    /// Requests that it has served.
    served: u32,
    /// It was authenticated for one client, whose it is from then on.
    private: bool,
    /// Of its server when it was chosen: see [`IdleConnections::moves`].
    moves: u32,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: u64,
    /// The turn in which it was put here.
    turn: u64,
}

/// One that waits for the next request of the client whose it is.
#[derive(Debug)]
struct Owned {
    number: u64,
    link: Link,
    /// The tick in which it is closed.
    until: u64,
    /// The turn in which it was put here.
    turn: u64,
}

/// What a client has of a connection of its own that is idle. The connection is kept with all others, under the same bounds,
/// and may be closed at any time; it is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct OwnPlace {
    server: Rc<OfServer>,
    count: Rc<Cell<usize>>,
    number: u64,
}

impl OwnPlace {
    /// Is it still open?
    pub(crate) fn is_taken(&self) -> bool {
        self.server.own.borrow().iter().any(|own| own.number == self.number)
    }

    fn vacate(&self) -> Option<Owned> {
        let mut own = self.server.own.borrow_mut();
        let at = own.iter().position(|own| own.number == self.number)?;
        self.count.set(self.count.get() - 1);
        own.remove(at)
    }
}

impl Drop for OwnPlace {
    fn drop(&mut self) {
        self.vacate();
    }
}

impl Link {
    pub(crate) fn new(stream: ServerStream, now: u64, moves: u32) -> Self {
        let opened = stream.lane().map_or(now, |lane| lane.trunk().opened());
        Self { stream, opened, served: 0, private: false, moves }
    }

    /// Has it served a request before (so that its server may have closed it meanwhile)?
    pub(crate) fn is_used(&self) -> bool {
        self.stream.lane().map_or(self.served > 0, ServerLane::is_used)
    }

    /// Its request is over.
    pub(crate) fn serve(&mut self) {
        self.served = self.served.saturating_add(1);
        if let Some(lane) = self.stream.lane() {
            lane.rest();
        }
    }

    pub(crate) fn is_private(&self) -> bool {
        self.private
    }

    pub(crate) fn make_private(&mut self) {
        self.private = true;
        if let Some(lane) = self.stream.lane() {
            lane.make_private();
        }
    }

    /// Nothing has come since its last response, which was read in this [turn](turns)? What an answer read from here would
    /// belong to somebody else's request, so where the runtime has asked the kernel nothing since, or not just now, the socket is asked. One
    /// system call then, or of TLS, below whose bytes there may be more.
    fn is_quiet(&self, turn: u64) -> bool {
        if let Some(lane) = self.stream.lane() {
            return lane.claim();
        }
        let Some(socket) = self.stream.plain() else {
            return !is_seen_readable(&self.stream) && self.stream.is_quiet();
        };
        match nothing_to_read(socket) {
            Some(is_quiet) => is_quiet,
            None => turns::was_asked_since(turn) || self.stream.is_quiet(),
        }
    }
}

impl Bounds {
    fn new(options: &PoolOptions) -> Self {
        Self { idle: ticks(options.idle), age: ticks(options.max_age), requests: options.max_requests }
    }

    /// May it serve another request?
    fn allow(&self, link: &Link, now: u64) -> bool {
        now.saturating_sub(link.opened) < self.age
            && self.allow_requests(link.stream.lane().map_or(link.served, |lane| lane.trunk().served()))
    }

    fn allow_requests(&self, served: u32) -> bool {
        self.requests.is_none_or(|requests| served < requests.get())
    }

    /// The same of one that requests share.
    fn allow_trunk(&self, trunk: &Trunk, now: u64) -> bool {
        now.saturating_sub(trunk.opened()) < self.age && self.allow_requests(trunk.served())
    }

    /// May one that is idle since then?
    fn allow_idle(&self, link: &Link, since: u64, now: u64) -> bool {
        now.saturating_sub(since) < self.idle && self.allow(link, now)
    }

    fn allow_own(&self, own: &Owned, now: u64) -> bool {
        now < own.until && (own.link.private || self.allow(&own.link, now))
    }
}

fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX)
}

impl IdleConnections {
    /// None yet.
    pub(crate) fn new(config: &Config) -> Self {
        Self::with(config, Rc::default(), Rc::default(), |_, _| Rc::default())
    }

    /// Those of the next generation. `place` says where the server at an index of `config` is in this one, if it is the
    /// same one at the same address: its connections stay. All others are closed.
    pub(crate) fn next(
        &self,
        config: &Config,
        place: impl Fn(BackendId, usize) -> Option<(BackendId, usize)>,
    ) -> Self {
        let all = || self.backends.iter().flat_map(|backend| &backend.servers);
        all().for_each(|server| server.retired.set(true));
        let (count, spare) = (Rc::clone(&self.count), Rc::clone(&self.spare));
        let next = Self::with(config, count, spare, |id, index| match place(id, index) {
            Some((id, index)) => Rc::clone(&self.backends[id.0].servers[index]),
            None => Rc::default(),
        });
        next.backends
            .iter()
            .flat_map(|backend| &backend.servers)
            .for_each(|server| server.retired.set(false));
        all().filter(|server| server.retired.get()).for_each(|server| self.close(server));
        next
    }

    fn with(
        config: &Config,
        count: Rc<Cell<usize>>,
        spare: Rc<Cell<usize>>,
        server: impl Fn(BackendId, usize) -> Rc<OfServer>,
    ) -> Self {
        let backend = |(index, backend): (usize, &Backend)| OfBackend {
            bounds: Bounds::new(&backend.options.pool),
            most: backend.servers.iter().map(|server| most(server, config.threads.get())).collect(),
            most_own: backend.servers.iter().map(most_own).collect(),
            servers: (0..backend.servers.len()).map(|at| server(BackendId(index), at)).collect(),
        };
        let servers = config.backends.iter().flat_map(|backend| &backend.servers);
        let kept = kept(config.maxconn);
        Self {
            backends: config.backends.iter().enumerate().map(backend).collect(),
            count,
            kept,
            counted: servers.map(|server| most_open(server, config.threads.get()).0).sum::<usize>().min(kept),
            spare,
            plan: RefCell::default(),
        }
    }

    /// Takes the youngest quiet connection to a server that `reuse` allows, and whose server was told `name`. Others of no more
    /// use met on the way are closed, and `stale` is told of each.
    pub(crate) fn take(
        &self,
        backend: BackendId,
        server: usize,
        (reuse, name): (Reuse, Option<&PeerName>),
        now: u64,
        stale: impl Fn(),
    ) -> Option<Link> {
        let OfBackend { bounds, servers, .. } = &self.backends[backend.0];
        let OfServer { connections, room, .. } = &*servers[server];
        let mut connections = connections.borrow_mut();
        loop {
            let is_wanted = |idle: &Idle| match reuse {
                Reuse::Forbidden | Reuse::Fresh => false,
                Reuse::Allowed => idle.link.stream.is_named(name),
                // Used again before: it has served two.
                Reuse::Proven => idle.link.served > 1 && idle.link.stream.is_named(name),
            };
            let Some(idle) = remove_youngest(&mut connections, is_wanted) else {
                if connections.is_empty() {
                    room.miss();
                }
                return None;
            };
            self.count.set(self.count.get() - 1);
            if bounds.allow_idle(&idle.link, idle.since, now) && idle.link.is_quiet(idle.turn) {
                return Some(idle.link);
            }
            stale();
        }
    }

    /// A place on a connection that requests share, whose server was told `name`.
    pub(crate) fn lane(
        &self,
        backend: BackendId,
        server: usize,
        name: Option<&PeerName>,
        now: u64,
    ) -> Option<Link> {
        let OfBackend { bounds, servers, .. } = &self.backends[backend.0];
        let of_server = &servers[server];
        let lane = of_server.trunks.lane(name, |trunk| bounds.allow_trunk(trunk, now))?;
        Some(Link::new(ServerStream::Http2(lane), now, of_server.moves.get()))
    }

    /// Is a connection that is made next one that requests share, as far as is known?
    pub(crate) fn may_share(&self, backend: BackendId, server: usize) -> bool {
        self.backends[backend.0].servers[server].trunks.may_be()
    }

    /// Only one of these is made at a time: to be held until it was shared.
    pub(crate) async fn gate(&self, backend: BackendId, server: usize) -> MutexGuard<'_, ()> {
        self.backends[backend.0].servers[server].trunks.gate().await
    }

    /// From now on others may have places on it, if it is one of HTTP/2; `moves` is that of its server when it was begun.
    pub(crate) fn share(&self, backend: BackendId, server: usize, moves: u32, lane: Option<&ServerLane>) {
        let of_server = &self.backends[backend.0].servers[server];
        if moves == of_server.moves.get() && !of_server.retired.get() {
            of_server.trunks.add(lane.map(ServerLane::trunk));
        }
    }

    /// To be noted before a connection is made: it grows when the server moves.
    pub(crate) fn moves(&self, backend: BackendId, server: usize) -> u32 {
        self.backends[backend.0].servers[server].moves.get()
    }

    /// Was it made to where its server still is?
    pub(crate) fn is_current(&self, backend: BackendId, server: usize, link: &Link) -> bool {
        let server = &self.backends[backend.0].servers[server];
        link.moves == server.moves.get() && !server.retired.get()
    }

    /// Is a server of this generation one of `other`, at the same address?
    pub(crate) fn is_same_place(
        &self,
        (backend, server): (BackendId, usize),
        other: &Self,
        (other_backend, other_server): (BackendId, usize),
    ) -> bool {
        let (one, two) = (&self.backends[backend.0], &other.backends[other_backend.0]);
        Rc::ptr_eq(&one.servers[server], &two.servers[other_server])
    }

    /// The server has moved: its idle connections are closed, and those in use are not kept.
    pub(crate) fn clear(&self, backend: BackendId, server: usize) {
        let of_server = &self.backends[backend.0].servers[server];
        of_server.moves.set(of_server.moves.get().wrapping_add(1));
        self.close(of_server);
    }

    fn close(&self, server: &OfServer) {
        let (connections, own) = (server.connections.take(), server.own.take());
        server.trunks.close();
        self.count.set(self.count.get() - connections.len() - own.len());
    }

    /// Keeps a connection, at the price of the server's oldest one if there are too many. One that is too old or has
    /// served enough is closed.
    pub(crate) fn put(&self, backend: BackendId, server: usize, now: u64, link: Link) {
        let OfBackend { bounds, most, servers, .. } = &self.backends[backend.0];
        if !bounds.allow(&link, now) || !self.is_current(backend, server, &link) {
            return;
        }
        let OfServer { connections, room, trunks, .. } = &*servers[server];
        if let Some(lane) = link.stream.lane() {
            trunks.adopt(lane.trunk());
        }
        let mut connections = connections.borrow_mut();
        let (len, spare) = (connections.len(), self.spare.get());
        let is_full = self.count.get() >= self.kept.max(spare);
        if len >= room.most() {
            connections.pop_front();
            room.close_one();
        } else if len >= most[server].min(room::MOST.max(spare)) || (is_full && len > 0) {
            connections.pop_front();
        } else if is_full {
            return;
        } else {
            self.count.set(self.count.get() + 1);
        }
        connections.push_back(Idle { link, since: now, turn: turns::so_far() });
    }

    /// Keeps a connection that is a client's own, at the price of the server's oldest such one if there are too many. One that was
    /// authenticated serves any number of requests, however old, and waits for `patience`: closed earlier, it would take the
    /// client's authentication with it. The others are bound as those of nobody.
    pub(crate) fn put_own(
        &self,
        backend: BackendId,
        server: usize,
        now: u64,
        patience: Duration,
        link: Link,
    ) -> Option<OwnPlace> {
        let OfBackend { bounds, most_own, servers, .. } = &self.backends[backend.0];
        if !(link.private || bounds.allow(&link, now)) || !self.is_current(backend, server, &link) {
            return None;
        }
        let until = now.saturating_add(if link.private { ticks(patience) } else { bounds.idle });
        let (server, most) = (&servers[server], most_own[server]);
        let mut own = server.own.borrow_mut();
        if own.len() >= most || (self.count.get() >= self.kept && !own.is_empty()) {
            own.pop_front();
        } else if self.count.get() >= self.kept {
            return None;
        } else {
            self.count.set(self.count.get() + 1);
        }
        let number = server.numbers.get();
        server.numbers.set(number + 1);
        own.push_back(Owned { number, link, until, turn: turns::so_far() });
        Some(OwnPlace { server: Rc::clone(server), count: Rc::clone(&self.count), number })
    }

    /// Takes a client's own connection, if it may serve another request whose server is told `name`.
    pub(crate) fn take_own(
        &self,
        backend: BackendId,
        place: &OwnPlace,
        name: Option<&PeerName>,
        now: u64,
    ) -> Option<Link> {
        let own = place.vacate()?;
        let is_usable =
            self.backends[backend.0].bounds.allow_own(&own, now) && own.link.stream.is_named(name);
        (is_usable && own.link.is_quiet(own.turn)).then_some(own.link)
    }

    /// To be called before a connection to a server is made. `spare` are the places that clients have left: each is reckoned with a
    /// descriptor for a connection to a server, and may be lent to an idle one until there is the client. So an idle one is closed here where
    /// there are more than may be lent.
    pub(crate) fn make_room(&self, spare: usize) {
        self.spare.set(spare);
        if self.count.get() > self.counted.max(spare) {
            self.close_oldest();
        }
    }

    /// The oldest of the server that had most of those that anybody may use when all were last looked at.
    fn close_oldest(&self) -> bool {
        let mut plan = self.plan.borrow_mut();
        loop {
            if plan.is_empty() {
                *plan = self.plan();
            }
            let Some((backend, server)) = plan.pop() else { return false };
            let server = &self.backends[backend.0].servers[server];
            // What was there when it was planned may have been used since.
            if server.connections.borrow_mut().pop_front().is_some() {
                self.count.set(self.count.get() - 1);
                return true;
            }
        }
    }

    /// Of whom the next ones are closed if nothing else happens: each time of the server that has most then.
    fn plan(&self) -> Vec<(BackendId, usize)> {
        let servers = self.backends.iter().enumerate().flat_map(|(backend, of_backend)| {
            let lengths = of_backend.servers.iter().map(|server| server.connections.borrow().len());
            lengths.enumerate().map(move |(server, length)| (length, backend, server))
        });
        let mut fullest: BinaryHeap<_> = servers.filter(|(length, ..)| *length > 0).collect();
        let mut plan = Vec::new();
        while plan.len() < PLANNED
            && let Some((length, backend, server)) = fullest.pop()
        {
            plan.push((BackendId(backend), server));
            fullest.extend((length > 1).then(|| (length - 1, backend, server)));
        }
        plan.reverse();
        plan
    }

    /// Closes what is too old, what the server has closed, and what there is no room for with `spare` (see [`Self::make_room`]).
    pub(crate) fn sweep(&self, now: u64, spare: usize) {
        self.spare.set(spare);
        for OfBackend { bounds, servers, .. } in &self.backends {
            for of_server in servers {
                of_server.trunks.sweep(now, bounds.idle);
                let mut connections = of_server.connections.borrow_mut();
                let before = connections.len();
                connections.retain(|idle| {
                    bounds.allow_idle(&idle.link, idle.since, now) && !is_seen_readable(&idle.link.stream)
                });
                let closed = before - connections.len();
                self.count.set(self.count.get() - closed);
                of_server.room.next_turn(closed);
                of_server.own.borrow_mut().retain(|own| {
                    let keep = bounds.allow_own(own, now) && !is_seen_readable(&own.link.stream);
                    if !keep {
                        self.count.set(self.count.get() - 1);
                    }
                    keep
                });
            }
        }
        self.plan.borrow_mut().clear();
        self.trim();
    }

    /// Clients that need no connection have come as well.
    fn trim(&self) {
        while self.count.get() > self.counted.max(self.spare.get()) && self.close_oldest() {}
    }
}

/// What one worker may have open of a server whose requests are over: idle connections of anybody and of clients, and those of
/// HTTP/2 that wait for the next request. However many servers there are, at most [`kept`] of the first two.
pub(crate) fn most_open(server: &Server, workers: usize) -> (usize, usize) {
    (most(server, workers).min(room::MOST) + most_own(server), if server.speaks_http2() { LONELY } else { 0 })
}

/// Idle they hold no slot of their server, which still has to bear them: those of all workers together, but for a few.
fn most(server: &Server, workers: usize) -> usize {
    let maxconn = server.maxconn.and_then(|maxconn| usize::try_from(maxconn).ok());
    maxconn.map_or(usize::MAX, |maxconn| (maxconn / workers).max(maxconn.clamp(1, KEPT_PER_SERVER)))
}

/// The same.
fn most_own(server: &Server) -> usize {
    let maxconn = server.maxconn.and_then(|maxconn| usize::try_from(maxconn).ok());
    maxconn.map_or(KEPT_PER_SERVER, |maxconn| maxconn.clamp(1, KEPT_PER_SERVER))
}

/// The youngest that `is_wanted`, of those that were here before this turn if there is one: the socket of the others has to be asked.
fn remove_youngest(connections: &mut VecDeque<Idle>, is_wanted: impl Fn(&Idle) -> bool) -> Option<Idle> {
    let now = turns::so_far();
    let of_now = connections.partition_point(|idle| idle.turn != now);
    match connections.range(..of_now).rposition(&is_wanted) {
        // The one that takes its place is of now, and so are all behind it.
        Some(at) if at + 1 == of_now => connections.swap_remove_back(at),
        Some(at) => connections.remove(at),
        None => connections.iter().rposition(is_wanted).and_then(|at| connections.remove(at)),
    }
}

/// Does the socket say that nothing is there? It is asked if the runtime has seen bytes or an end, which may be those of the last response: what the kernel has moved
/// does not make the runtime forget them. `None` if it has seen nothing.
fn nothing_to_read(socket: &TcpStream) -> Option<bool> {
    let mut is_asked = false;
    let looked = socket.try_io(Interest::READABLE, || {
        is_asked = true;
        if socket.is_quiet() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    is_asked.then_some(looked.is_err())
}

/// Has the runtime seen bytes or an end? Costs a system call only if it thinks so; may be late by one turn of its loop.
fn is_seen_readable(stream: &ServerStream) -> bool {
    // Whatever it reads, bytes or the end, the connection is of no more use.
    !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

mod room;
#[cfg(test)]
mod tests;
