//! Moves bytes both ways between a client and a server until both have ended.
//!
//! Each direction starts with reads and writes through a borrowed buffer: the cheapest for the questions and answers
//! of a database or a mail server. A read that fills its buffer is the sign of bulk: from then on bytes are spliced,
//! until a burst is small again.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::net::TcpStream;

use crate::{
    buffer::{BUFFER_SIZE, BufferPool},
    connection::Connection,
    error::Side,
    metrics::{Counter, Event, Flow},
    stream::{Stream, is_transient},
    tcp::splice::{Pipe, PipePool},
    upstream::Upstream,
    wheel::Deadline,
};

/// Bytes that a direction moves before it lets the worker's other connections have their turn.
const TURN: usize = 2 * 1024 * 1024;

/// How a relay ended.
#[derive(Debug)]
pub(super) enum End {
    /// Both sides have said all they had to say.
    Complete,
    /// A side broke.
    Broken(Side, io::Error),
    /// A side was silent for longer than its timeout.
    Inactive(Side),
}

/// One of the two streams, with the moment until which something has to move on it.
struct Peer<'a, S> {
    stream: &'a S,
    side: Side,
    deadline: &'a Deadline,
    /// Bytes for it are waiting: it does not read.
    is_blocking: Cell<bool>,
}

type Failure = (Side, io::Error);

pub(super) async fn relay<S: Stream>(
    connection: &Connection<S>,
    upstream: &Upstream,
    upstream_deadline: &Deadline,
) -> End {
    let worker = connection.worker();
    let client_deadline = worker.wheel().deadline();
    let (of_client, of_server) = (&connection.frontend().timeout, &upstream.backend().timeout);
    client_deadline.arm(of_server.tunnel.unwrap_or(of_client.client));
    upstream_deadline.arm(of_server.tunnel.unwrap_or(of_server.server));
    let client = Peer::new(connection.stream(), Side::Downstream, &client_deadline);
    let server = Peer::new(upstream.stream(), Side::Upstream, upstream_deadline);
    let (buffers, spliced) = (worker.buffers(), connection.counters().event(Event::Spliced));
    let pipes = |allowed: bool| allowed.then_some((worker.pipes(), spliced));
    let to_server = pipes(connection.splices_request(upstream.backend()));
    let to_client = pipes(connection.splices_response(upstream.backend()));
    let (received, sent) = (upstream.received(connection.received()), upstream.sent(connection.sent()));
    let is_one_over = Cell::new(false);
    let mut request = pin!(forward(&client, &server, buffers, to_server, received, &is_one_over));
    let mut response = pin!(forward(&server, &client, buffers, to_client, sent, &is_one_over));
    let (mut request_done, mut response_done) = (false, false);
    let mut is_half_closed = false;
    poll_fn(|context| {
        if !request_done {
            match request.as_mut().poll(context) {
                Poll::Ready(Ok(())) => request_done = true,
                Poll::Ready(Err((side, error))) => return Poll::Ready(End::Broken(side, error)),
                Poll::Pending => {}
            }
        }
        if !response_done {
            match response.as_mut().poll(context) {
                Poll::Ready(Ok(())) => response_done = true,
                Poll::Ready(Err((side, error))) => return Poll::Ready(End::Broken(side, error)),
                Poll::Pending => {}
            }
        }
        if request_done && response_done {
            return Poll::Ready(End::Complete);
        }
        if (request_done || response_done) && !is_half_closed {
            is_half_closed = true;
            if let Some(timeout) = of_client.client_fin {
                client.deadline.arm(timeout);
            }
            if let Some(timeout) = of_server.server_fin {
                server.deadline.arm(timeout);
            }
        }
        if client.is_inactive(&server, context) {
            return Poll::Ready(End::Inactive(Side::Downstream));
        }
        if server.is_inactive(&client, context) {
            return Poll::Ready(End::Inactive(Side::Upstream));
        }
        Poll::Pending
    })
    .await
}

impl<'a, S: Stream> Peer<'a, S> {
    fn new(stream: &'a S, side: Side, deadline: &'a Deadline) -> Self {
        Self { stream, side, deadline, is_blocking: Cell::new(false) }
    }

    fn moved(&self) {
        self.deadline.touch();
    }

    async fn writable(&self) -> Result<(), Failure> {
        self.is_blocking.set(true);
        let result = self.stream.writable().await;
        self.is_blocking.set(false);
        result.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Failure {
        (self.side, error)
    }

    /// Has it been silent for too long, and is that its own fault? Not if it is we who don't read from it because
    /// `other` does not take what it sent.
    fn is_inactive<O: Stream>(&self, other: &Peer<'_, O>, context: &mut Context<'_>) -> bool {
        while self.deadline.poll_expired(context).is_ready() {
            if !other.is_blocking.get() || self.is_blocking.get() {
                return true;
            }
            self.deadline.touch();
        }
        false
    }
}

/// One direction: everything from `source` to `sink`, then the end. `pipes` are `None` where nothing may be spliced; beside
/// them is the counter of what was. `is_other_over` is of both directions: who finds it set is the last, and the end that it
/// would send comes with the close that follows.
async fn forward<A: Stream, B: Stream>(
    source: &Peer<'_, A>,
    sink: &Peer<'_, B>,
    buffers: &Rc<BufferPool>,
    pipes: Option<(&Rc<PipePool>, &Counter)>,
    bytes: Flow<'_>,
    is_other_over: &Cell<bool>,
) -> Result<(), Failure> {
    let plain = source.stream.plain().zip(sink.stream.plain()).zip(pipes);
    let mut bulk = false;
    loop {
        source.stream.readable().await.map_err(|error| source.failed(error))?;
        let turn = match plain.filter(|_| bulk) {
            Some(((from, to), (pipes, spliced))) => match pipes.take() {
                Ok(pipe) => splice_turn(source, from, sink, to, pipe, bytes, spliced).await?,
                // Out of descriptors: it goes on more slowly.
                Err(_) => copy_turn(source, sink, buffers, bytes).await?,
            },
            None => copy_turn(source, sink, buffers, bytes).await?,
        };
        match turn {
            Turn::End => break,
            Turn::Drained(moved) => bulk = moved >= BUFFER_SIZE,
            Turn::More => tokio::task::yield_now().await,
        }
    }
    // All that the source has said is on its way by now. A sink that is gone takes no end, and whatever else it may have cut
    // short shows in the direction that it is the source of. TLS and HTTP/2 have an end of their own to send.
    if !is_other_over.replace(true) || sink.stream.plain().is_none() {
        let _ = sink.stream.shutdown().await;
    }
    Ok(())
}

/// How a direction's turn ended.
enum Turn {
    /// The source has nothing more for now; this many bytes were moved.
    Drained(usize),
    /// There may be more at once.
    More,
    /// The source has ended.
    End,
}

async fn copy_turn<A: Stream, B: Stream>(
    source: &Peer<'_, A>,
    sink: &Peer<'_, B>,
    buffers: &Rc<BufferPool>,
    bytes: Flow<'_>,
) -> Result<Turn, Failure> {
    let mut buffer = buffers.take();
    let moved = match buffer.read_from(source.stream) {
        Ok(0) => return Ok(Turn::End),
        Ok(n) => n,
        Err(error) if is_transient(&error) => 0,
        Err(error) => return Err(source.failed(error)),
    };
    source.moved();
    bytes.add(moved as u64);
    while !buffer.is_empty() {
        match buffer.write_to(sink.stream) {
            Ok(_) => sink.moved(),
            Err(error) if is_transient(&error) => sink.writable().await?,
            Err(error) => return Err(sink.failed(error)),
        }
    }
    Ok(Turn::Drained(moved))
}

async fn splice_turn<A: Stream, B: Stream>(
    source: &Peer<'_, A>,
    from: &TcpStream,
    sink: &Peer<'_, B>,
    to: &TcpStream,
    mut pipe: Pipe,
    bytes: Flow<'_>,
    spliced: &Counter,
) -> Result<Turn, Failure> {
    let mut moved = 0;
    while moved < TURN {
        match pipe.fill(from) {
            Ok(0) => return Ok(Turn::End),
            Ok(n) => {
                moved += n;
                source.moved();
                bytes.add(n as u64);
                spliced.add(n as u64);
            }
            // The pipe is empty here, so it is the source that has nothing.
            Err(error) if is_transient(&error) => return Ok(Turn::Drained(moved)),
            Err(error) => return Err(source.failed(error)),
        }
        while !pipe.is_empty() {
            match pipe.drain(to) {
                Ok(_) => sink.moved(),
                Err(error) if is_transient(&error) => sink.writable().await?,
                Err(error) => return Err(sink.failed(error)),
            }
        }
    }
    Ok(Turn::More)
}
