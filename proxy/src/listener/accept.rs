//! A worker's accept loops: one per listening address.
//!
//! A loop waits until a connection is there, then takes a permit (process and frontend limit), then accepts: at a
//! limit the excess stays in the kernel's queue, neither refused nor served, and no loop holds a permit that it does
//! not use.

use std::{cell::RefCell, io, os::fd::OwnedFd, rc::Rc, sync::Arc, time::Duration};

use socket2::Socket;
use tokio::{
    io::unix::AsyncFd,
    net::TcpStream,
    sync::{oneshot, watch},
};

use crate::{
    Endpoint,
    config::{AcceptProxy, Mode, TcpKeepalive},
    connection::{self, Connection, Permit},
    listener::{
        BACKLOG, newcomers,
        pause::Paused,
        refuse::{refuse, refuse_tls},
    },
    metrics::Event,
    proxy_protocol,
    rules::Network,
    stream::{self, Stream},
    tcp,
    tls::{Acceptor, TlsStream, shake_hands},
    worker::Worker,
};

/// After an error that the next accept would meet as well (out of descriptors or memory).
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// How long a listener that goes still accepts, at least: for the last packet of a handshake that is under way.
pub(super) const SETTLE: Duration = Duration::from_millis(10);

/// Connections that a listener that goes accepts before others have their turn.
const TURN: usize = 64;

/// What a kernel's queue holds at most.
const QUEUE: usize = BACKLOG.unsigned_abs() as usize + 1;

/// A listening socket that a worker's runtime watches.
pub(crate) type Watched = AsyncFd<Socket>;

/// A listener, and what is spoken there. One that stays while its protocol changes is another one to its connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ListenerId {
    /// Never used twice in a process.
    pub(crate) number: u64,
    pub(crate) mode: Mode,
    pub(crate) is_tls: bool,
}

/// Whose connections come in by a listener.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) listener: ListenerId,
    /// Index of the frontend.
    pub(crate) frontend: usize,
    /// Among the listeners of its frontend, from 1: HAProxy's name for one that has none.
    pub(crate) place: usize,
    /// Of the connections that are accepted there.
    pub(crate) keepalive: Option<TcpKeepalive>,
    /// Whose connections begin with a PROXY header.
    pub(crate) accept_proxy: Option<Arc<AcceptProxy>>,
    /// Somebody else may have it open as well.
    pub(crate) is_inherited: bool,
    /// How TLS is spoken there, if it is.
    pub(crate) tls: Option<Arc<Acceptor>>,
    /// Dropped by the last who has it when its sockets are closed.
    pub(crate) open: watch::Receiver<()>,
}

/// The accept loops of one worker.
#[derive(Debug, Default)]
pub(crate) struct AcceptLoops {
    running: RefCell<Vec<Running>>,
    /// Those that go: they accept what is still on its way.
    ending: RefCell<Vec<Rc<Listener>>>,
    paused: RefCell<Vec<Paused>>,
    /// Numbers of those that are to be paused, also before they are here.
    to_pause: RefCell<Arc<[u64]>>,
}

/// A running loop; it ends when this is dropped.
#[derive(Debug)]
struct Running {
    listener: Rc<Listener>,
    assignment: Assignment,
    _running: oneshot::Sender<()>,
}

impl AcceptLoops {
    /// Starts accepting connections from `socket`, unless it is to be paused.
    pub(crate) fn start(&self, worker: &Rc<Worker>, assignment: &Assignment, socket: Watched) {
        let socket = Rc::new(socket);
        if self.to_pause.borrow().contains(&assignment.listener.number) {
            match Paused::new(Rc::clone(&socket), assignment.clone()) {
                Ok(paused) => return self.paused.borrow_mut().push(paused),
                Err(error) => tracing::error!(%error, "a listener can't be paused"),
            }
        }
        self.run(worker, assignment, socket);
    }

    /// From now on the listeners with these numbers refuse whoever comes, and all others accept.
    ///
    /// # Errors
    /// One can't; the others do.
    pub(crate) fn set_paused(&self, worker: &Rc<Worker>, numbers: Arc<[u64]>) -> io::Result<()> {
        let mut outcome = Ok(());
        for running in self.running.take() {
            let listener = &running.listener;
            if !numbers.contains(&listener.id.number) {
                self.running.borrow_mut().push(running);
                continue;
            }
            listener.accept_queued();
            match Paused::new(Rc::clone(&listener.socket), running.assignment.clone()) {
                Ok(paused) => self.paused.borrow_mut().push(paused),
                Err(error) => {
                    self.running.borrow_mut().push(running);
                    outcome = Err(error);
                }
            }
        }
        for paused in self.paused.take() {
            if numbers.contains(&paused.assignment.listener.number) {
                self.paused.borrow_mut().push(paused);
                continue;
            }
            match paused.resume() {
                Ok(socket) => self.run(worker, &paused.assignment, socket),
                Err(error) => {
                    self.paused.borrow_mut().push(paused);
                    outcome = Err(error);
                }
            }
        }
        self.to_pause.replace(numbers);
        outcome
    }

    /// The frontend at this listener, if it is not one that goes.
    pub(crate) fn frontend_of(&self, listener: ListenerId) -> Option<usize> {
        let (running, paused) = (self.running.borrow(), self.paused.borrow());
        let running = running.iter().map(|one| &one.assignment);
        let mut all = running.chain(paused.iter().map(|one| &one.assignment));
        all.find(|one| one.listener == listener).map(|one| one.frontend)
    }

    /// Goes over to the next generation of the configuration: listeners in `stay` accept for that, `new` ones begin to,
    /// all others end once nothing is left in their queues. Those in `paused` refuse whoever comes.
    pub(crate) fn reassign(
        &self,
        worker: &Rc<Worker>,
        stay: &[Assignment],
        new: Vec<(Assignment, Watched)>,
        paused: Arc<[u64]>,
    ) {
        self.to_pause.replace(Arc::clone(&paused));
        let staying = |number| stay.iter().find(|assignment| assignment.listener.number == number);
        for mut paused in self.paused.take() {
            if let Some(assignment) = staying(paused.assignment.listener.number) {
                paused.set_keepalive(assignment.keepalive.as_ref());
                paused.assignment = assignment.clone();
                self.paused.borrow_mut().push(paused);
            }
        }
        for running in self.running.take() {
            let number = running.listener.id.number;
            match staying(number) {
                Some(assignment) => {
                    running.listener.set_keepalive(assignment.keepalive.as_ref());
                    self.run(worker, assignment, Rc::clone(&running.listener.socket));
                }
                None => self.retire(running),
            }
        }
        for (assignment, socket) in new {
            self.start(worker, &assignment, socket);
        }
        if let Err(error) = self.set_paused(worker, paused) {
            tracing::error!(%error, "a listener can't be paused or resumed");
        }
    }

    fn run(&self, worker: &Rc<Worker>, assignment: &Assignment, socket: Rc<Watched>) {
        let local = socket.get_ref().local_addr().ok();
        let config = &worker.node().config.frontends[assignment.frontend];
        let page =
            config.statistics.as_ref().filter(|_| config.is_apart && assignment.accept_proxy.is_none());
        let listener = Rc::new(Listener {
            only: page.map(|page| page.allow.clone()).unwrap_or_default(),
            id: assignment.listener,
            local: local.and_then(|address| Endpoint::of_socket(&address)).unwrap_or(Endpoint::Unix),
            socket,
            worker: Rc::clone(worker),
            _open: assignment.open.clone(),
            frontend: assignment.frontend,
            place: assignment.place,
            accept_proxy: assignment.accept_proxy.clone(),
            is_inherited: assignment.is_inherited,
            tls: assignment.tls.clone(),
        });
        let (running, stopped) = oneshot::channel();
        self.running.borrow_mut().push(Running {
            listener: Rc::clone(&listener),
            assignment: assignment.clone(),
            _running: running,
        });
        tokio::task::spawn_local(async move {
            tokio::select! {
                biased;
                _ = stopped => {}
                never = listener.accept_all() => match never {},
            }
        });
    }

    /// Accepts what is on its way, for the generation that it began under, then closes the socket. Whoever comes later
    /// is refused. Without a filter somebody may come just before the close, and is reset. The queue of an inherited
    /// socket is left to who has it next.
    fn retire(&self, running: Running) {
        let listener = Rc::clone(&running.listener);
        drop(running);
        if listener.is_inherited {
            return;
        }
        listener.drop_newcomers();
        self.ending.borrow_mut().push(Rc::clone(&listener));
        tokio::task::spawn_local(async move {
            tokio::time::sleep(SETTLE).await;
            listener.empty().await;
            let loops = listener.worker.accept_loops();
            loops.ending.borrow_mut().retain(|ending| !Rc::ptr_eq(ending, &listener));
        });
    }

    /// Ends all loops. What the kernel has queued by then is still accepted, as far as limits allow; the queue of an
    /// inherited socket is left to who has it next.
    pub(crate) fn stop(&self) {
        for running in self.running.take() {
            if !running.listener.is_inherited {
                running.listener.accept_queued();
            }
        }
        for listener in self.ending.take() {
            listener.accept_queued();
        }
    }

    /// Accepts what the kernel has queued, as far as limits allow, without waiting for its turn.
    pub(crate) fn accept_queued(&self) {
        for running in self.running.borrow().iter() {
            running.listener.accept_queued();
        }
        for listener in self.ending.borrow().iter() {
            listener.accept_queued();
        }
    }

    /// From now on the kernel drops whoever wants to connect, without a word: they try again a second later, and find
    /// another node. What it has accepted is served. An inherited socket lives on after this process, and would stay
    /// deaf; nobody comes over the network to one of the Unix domain.
    pub(crate) fn drop_newcomers(&self) {
        for running in self.running.borrow().iter() {
            running.listener.drop_newcomers();
            running.listener.accept_queued();
        }
    }

    /// Whoever wants to connect comes in again.
    pub(crate) fn admit_newcomers(&self) {
        for running in self.running.borrow().iter() {
            // There may be none.
            let _ = running.listener.socket.get_ref().detach_filter();
        }
    }

    /// Drops newcomers at the listeners with these numbers.
    pub(crate) fn drop_newcomers_at(&self, numbers: &[u64]) {
        for running in self.running.borrow().iter() {
            if numbers.contains(&running.listener.id.number) {
                running.listener.drop_newcomers();
                running.listener.accept_queued();
            }
        }
    }

    /// Another handle on each listening socket, by the number of its listener. Those that go are not among them.
    pub(crate) fn share(&self) -> io::Result<Vec<(u64, OwnedFd)>> {
        let (running, paused) = (self.running.borrow(), self.paused.borrow());
        let running = running.iter().map(|one| (one.listener.id.number, one.listener.socket.get_ref()));
        let all = running.chain(paused.iter().map(|one| (one.assignment.listener.number, one.socket())));
        all.map(|(number, socket)| Ok((number, socket.try_clone()?.into()))).collect()
    }

    /// Ends all loops and closes their sockets.
    pub(crate) fn clear(&self) {
        self.running.take();
        self.paused.take();
        self.ending.take();
    }
}

#[derive(Debug)]
struct Listener {
    id: ListenerId,
    socket: Rc<Watched>,
    /// After the socket: dropped later.
    _open: watch::Receiver<()>,
    local: Endpoint,
    worker: Rc<Worker>,
    frontend: usize,
    place: usize,
    accept_proxy: Option<Arc<AcceptProxy>>,
    is_inherited: bool,
    tls: Option<Arc<Acceptor>>,
    /// Whoever is in none of them is turned away; all come in if there is none.
    only: Vec<Network>,
}

enum Never {}

/// What came of the first in the kernel's queue.
enum Next {
    Accepted,
    /// A limit leaves it there.
    Limited,
    Nobody,
}

impl Listener {
    async fn accept_all(&self) -> Never {
        loop {
            let mut ready = match self.socket.readable().await {
                Ok(ready) => ready,
                Err(error) => {
                    self.failed(&error).await;
                    continue;
                }
            };
            let Some(permit) = Permit::try_take(&self.worker, self.frontend) else {
                drop(ready);
                Permit::freed(&self.worker, self.frontend).await;
                continue;
            };
            match ready.try_io(|socket| accept(socket.get_ref())) {
                Ok(Ok((socket, peer))) => self.serve(socket, peer, permit),
                Ok(Err(error)) => {
                    drop(permit);
                    self.failed(&error).await;
                }
                // It has been accepted by `accept_queued`, or was there only in the last edge.
                Err(_) => {}
            }
        }
    }

    /// What is in the kernel's queue when we stop would be reset by the close of the socket. A limit leaves some there;
    /// whoever comes meanwhile has no claim to it.
    fn accept_queued(&self) {
        for _ in 0..QUEUE {
            let Next::Accepted = self.accept_next() else { return };
        }
    }

    /// Accepts what is in the queue; at a limit those in it wait as they would have. Not for ever where newcomers can't
    /// be kept out: who is there now is among the first that it holds.
    async fn empty(&self) {
        let mut accepted = 0;
        while accepted < QUEUE {
            match self.accept_next() {
                Next::Accepted => {
                    accepted += 1;
                    if accepted % TURN == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Next::Limited => Permit::freed(&self.worker, self.frontend).await,
                Next::Nobody => return,
            }
        }
    }

    fn accept_next(&self) -> Next {
        let Some(permit) = Permit::try_take(&self.worker, self.frontend) else { return Next::Limited };
        let Ok((socket, peer)) = accept(self.socket.get_ref()) else { return Next::Nobody };
        self.serve(socket, peer, permit);
        Next::Accepted
    }

    fn drop_newcomers(&self) {
        if self.is_inherited || self.local == Endpoint::Unix {
            return;
        }
        // It is the same for all workers.
        if let Err(error) = newcomers::drop_at(self.socket.get_ref())
            && self.worker.index() == 0
        {
            let frontend = &self.worker.node().config.frontends[self.frontend].name;
            tracing::warn!(frontend, %error, local = %self.local, "can't drop newcomers; they may be reset");
        }
    }

    fn set_keepalive(&self, keepalive: Option<&TcpKeepalive>) {
        if self.local != Endpoint::Unix {
            set_keepalive(self.socket.get_ref(), keepalive);
        }
    }

    fn turns_away(&self, peer: &Endpoint) -> bool {
        let is_in = |address| self.only.iter().any(|network| network.contains(address));
        !self.only.is_empty() && !peer.ip().is_some_and(is_in)
    }

    fn serve(&self, socket: Socket, peer: Endpoint, permit: Permit) {
        if self.turns_away(&peer) {
            self.worker.counters().frontends[self.frontend].event(Event::Denied).increment();
            return;
        }
        let local = if self.local.ip().is_some_and(|address| address.is_unspecified()) {
            socket.local_addr().ok().and_then(|address| Endpoint::of_socket(&address)).unwrap_or(self.local)
        } else {
            self.local
        };
        let stream = match stream::from_socket(socket) {
            Ok(stream) => stream,
            Err(error) => {
                self.count_error(&error);
                return;
            }
        };
        match &self.tls {
            None => {
                let place = self.place;
                let begin = move |connection| begin(connection, place);
                self.prepare(Connection::new(stream, peer, local, permit, self.id), begin);
            }
            Some(tls) => match TlsStream::new(stream, tls, self.worker.record_buffers()) {
                Ok(stream) => {
                    let place = self.place;
                    let begin = move |connection| begin_tls(connection, place);
                    self.prepare(Connection::new(stream, peer, local, permit, self.id), begin);
                }
                Err(error) => self.count_error(&io::Error::other(error)),
            },
        }
    }

    /// Counts a connection, and finds out whose it is.
    fn prepare<S: Stream>(&self, connection: Connection<S>, begin: impl FnOnce(Connection<S>) + 'static) {
        let counters = connection.counters();
        counters.connections.increment();
        counters.peak.raise(self.worker.node().frontends[self.frontend].connections.taken().into());
        match &self.accept_proxy {
            Some(accept) if accept.expects(connection.peer().ip()) => {
                let place = self.place;
                let receive =
                    async move |connection: &Connection<S>| proxy_protocol::receive(connection, place).await;
                tokio::task::spawn_local(connection::prepare(
                    connection,
                    receive,
                    |mut connection, header| {
                        connection.set_origin(header);
                        begin(connection);
                    },
                ));
            }
            Some(_) | None => begin(connection),
        }
    }

    async fn failed(&self, error: &io::Error) {
        // The client was gone before we came: the next one may be fine.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
            return;
        }
        self.count_error(error);
        tokio::time::sleep(PAUSE).await;
    }

    fn count_error(&self, error: &io::Error) {
        let counter = self.worker.counters().frontends[self.frontend].event(Event::AcceptError);
        // The first of each power of two is logged: often enough to be seen, seldom enough not to add to the trouble.
        if counter.value().is_power_of_two() || counter.value() == 0 {
            tracing::warn!(listener = %self.local, %error, so_far = counter.value(), "can't accept a connection");
        }
        counter.increment();
    }
}

/// The session of a connection whose client is known; its listener is at this place in its frontend.
fn begin(mut connection: Connection<TcpStream>, place: usize) {
    if let Err(refusal) = connection.admit() {
        return refuse(connection, refusal, place);
    }
    match connection.frontend().mode {
        Mode::Tcp => tokio::task::spawn_local(connection::run(connection, tcp::serve)),
        Mode::Http if connection.frontend().begins_http2(place) => {
            let rooms = Rc::clone(connection.worker().rooms());
            tokio::task::spawn_local(connection::run_http_or_2(Rc::new(connection), rooms, place))
        }
        Mode::Http => {
            let rooms = Rc::clone(connection.worker().rooms());
            tokio::task::spawn_local(connection::run_http(Rc::new(connection), rooms))
        }
    };
}

/// The same over TLS; its listener is at this place in its frontend.
fn begin_tls(mut connection: Connection<TlsStream>, place: usize) {
    if let Err(refusal) = connection.admit() {
        return refuse_tls(&connection, refusal);
    }
    match connection.frontend().mode {
        Mode::Tcp => {
            let serve = async move |connection: &Connection<TlsStream>| {
                if shake_hands(connection, place).await {
                    tcp::serve(connection).await;
                }
            };
            tokio::task::spawn_local(connection::run(connection, serve))
        }
        Mode::Http => {
            let rooms = Rc::clone(connection.worker().tls_rooms());
            tokio::task::spawn_local(connection::run_https(Rc::new(connection), rooms, place))
        }
    };
}

pub(super) fn set_keepalive(socket: &Socket, keepalive: Option<&TcpKeepalive>) {
    let set = keepalive.map_or_else(|| socket.set_keepalive(false), |keepalive| keepalive.set(socket));
    if let Err(error) = set {
        tracing::warn!(%error, local = ?socket.local_addr(), "can't change TCP keep-alive");
    }
}

pub(super) fn accept(socket: &Socket) -> io::Result<(Socket, Endpoint)> {
    let (socket, peer) = socket.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)?;
    Ok((socket, Endpoint::of_socket(&peer).ok_or(io::ErrorKind::Unsupported)?))
}
