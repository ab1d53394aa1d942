//! A worker's accept loops: one per listening address.
//!
//! A loop waits until a connection is there, then takes a permit (process and frontend limit), then accepts: at a
//! limit the excess stays in the kernel's queue, neither refused nor served, and no loop holds a permit that it does
//! not use.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use socket2::{SockFilter, Socket};
use tokio::{io::unix::AsyncFd, sync::oneshot};

use crate::{
    Endpoint,
    config::Mode,
    connection::{self, Connection, Permit},
    http,
    listener::{Listening, readiness::watch, refuse::refuse},
    metrics::Event,
    stream, tcp,
    worker::Worker,
};

/// After an error that the next accept would meet as well (out of descriptors or memory).
const PAUSE: Duration = Duration::from_millis(100);

/// Classic BPF over a TCP header: drops a SYN without ACK and lets everything else pass, so that a handshake that is
/// under way ends well.
const SYN_FILTER: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),          // A = the flags (byte 13)
    SockFilter::new(0x54, 0, 0, 0x12),        // A &= SYN | ACK
    SockFilter::new(0x15, 0, 1, 0x02),        // A == SYN?
    SockFilter::new(0x06, 0, 0, 0),           // drop
    SockFilter::new(0x06, 0, 0, 0xffff_ffff), // pass
];

/// The running accept loops of one worker; one ends when its sender is dropped.
#[derive(Debug, Default)]
pub(crate) struct AcceptLoops {
    running: RefCell<Vec<(Rc<Listener>, oneshot::Sender<()>)>>,
}

impl AcceptLoops {
    /// Ends all loops. What the kernel has queued by then is still accepted, as far as limits allow; the queue of an
    /// inherited socket is left to who has it next.
    pub(crate) fn stop(&self) {
        for (listener, running) in self.running.take() {
            if !listener.is_inherited {
                listener.accept_queued();
            }
            drop(running);
        }
    }

    /// Accepts what the kernel has queued, as far as limits allow, without waiting for its turn.
    pub(crate) fn accept_queued(&self) {
        for (listener, _) in self.running.borrow().iter() {
            listener.accept_queued();
        }
    }

    /// From now on the kernel drops whoever wants to connect, without a word: they try again a second later, and find
    /// another node. What it has accepted is served. An inherited socket lives on after this process, and would stay
    /// deaf; nobody comes over the network to one of the Unix domain.
    pub(crate) fn drop_newcomers(&self) {
        for (listener, _) in self.running.borrow().iter() {
            if listener.is_inherited || listener.local == Endpoint::Unix {
                listener.accept_queued();
                continue;
            }
            if let Err(error) = listener.socket.get_ref().attach_filter(&SYN_FILTER) {
                tracing::warn!(%error, local = %listener.local, "can't drop newcomers; they may be reset");
            }
            listener.accept_queued();
        }
    }

    /// Ends all loops and closes their sockets.
    pub(crate) fn clear(&self) {
        self.running.take();
    }
}

/// Starts accepting connections of a frontend from `listening` on this worker.
pub(crate) fn spawn(worker: &Rc<Worker>, frontend: usize, listening: Listening) -> io::Result<()> {
    let Listening { socket, is_inherited } = listening;
    let listener = Rc::new(Listener {
        local: Endpoint::of_socket(&socket.local_addr()?).ok_or(io::ErrorKind::Unsupported)?,
        socket: watch(socket)?,
        is_inherited,
        worker: Rc::clone(worker),
        frontend,
    });
    let (running, stopped) = oneshot::channel();
    worker.accept_loops().running.borrow_mut().push((Rc::clone(&listener), running));
    tokio::task::spawn_local(async move {
        tokio::select! {
            biased;
            _ = stopped => {}
            never = listener.accept_all() => match never {},
        }
    });
    Ok(())
}

#[derive(Debug)]
struct Listener {
    socket: AsyncFd<Socket>,
    is_inherited: bool,
    local: Endpoint,
    worker: Rc<Worker>,
    frontend: usize,
}

enum Never {}

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

    /// What is in the kernel's queue when we stop would be reset by the close of the socket.
    fn accept_queued(&self) {
        while let Some(permit) = Permit::try_take(&self.worker, self.frontend) {
            match accept(self.socket.get_ref()) {
                Ok((socket, peer)) => self.serve(socket, peer, permit),
                Err(_) => break,
            }
        }
    }

    fn serve(&self, socket: Socket, peer: Endpoint, mut permit: Permit) {
        let admitted = permit.admit(peer.ip());
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
        let connection = Connection::new(stream, peer, local, permit);
        let counters = connection.counters();
        counters.connections.increment();
        counters.peak.raise(self.worker.node().frontends[self.frontend].connections.taken().into());
        if let Err(refusal) = admitted {
            return refuse(connection, refusal);
        }
        match connection.frontend().mode {
            Mode::Tcp => tokio::task::spawn_local(connection::run(connection, tcp::serve)),
            Mode::Http => tokio::task::spawn_local(connection::run(connection, http::serve)),
        };
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

fn accept(socket: &Socket) -> io::Result<(Socket, Endpoint)> {
    let (socket, peer) = socket.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)?;
    Ok((socket, Endpoint::of_socket(&peer).ok_or(io::ErrorKind::Unsupported)?))
}
