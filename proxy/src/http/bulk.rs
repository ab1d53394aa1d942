//! Large content of known length between two plain sockets: moved by the kernel, through a pipe, without being copied.

use std::{cell::Cell, rc::Rc};

use tokio::net::TcpStream;

use crate::{
    metrics::{Counter, Flow},
    stream::{Stream, is_transient},
    tcp::splice::{Pipe, PipePool},
};

/// Less than this that is still to come is copied: a pipe would cost more system calls than it saves.
pub(super) const BULK: u64 = 64 * 1024;

/// Bytes that are moved before the worker's other connections have their turn.
const TURN: u64 = 2 * 1024 * 1024;

/// Why not all of it was moved.
pub(super) enum BulkError<E> {
    /// A wait for one of the sides failed.
    Wait(E),
    /// The source broke, or ended where more was due.
    Source,
    /// The sink broke.
    Sink,
}

/// Content on its way from one socket to another.
pub(super) struct Bulk<'e> {
    from: &'e TcpStream,
    to: &'e TcpStream,
    pipes: &'e Rc<PipePool>,
    /// Grow with what the sink took.
    moved: Flow<'e>,
    spliced: &'e Counter,
}

impl<'e> Bulk<'e> {
    /// `None` if a stream's bytes are not its socket's.
    pub(super) fn new(
        from: &'e impl Stream,
        to: &'e impl Stream,
        pipes: &'e Rc<PipePool>,
        moved: Flow<'e>,
        spliced: &'e Counter,
    ) -> Option<Self> {
        Some(Self { from: from.plain()?, to: to.plain()?, pipes, moved, spliced })
    }

    /// Moves `left` bytes and counts them down. Returns early, without an error, if there is no pipe to be had: the rest
    /// is copied then. `readable` and `writable` wait for the source and the sink.
    pub(super) async fn run<E>(
        &self,
        left: &Cell<u64>,
        readable: impl AsyncFn() -> Result<(), E>,
        writable: impl AsyncFn() -> Result<(), E>,
    ) -> Result<(), BulkError<E>> {
        while left.get() > 0 {
            readable().await.map_err(BulkError::Wait)?;
            let Ok(mut pipe) = self.pipes.take() else { return Ok(()) };
            let mut turn = 0;
            while left.get() > 0 && turn < TURN {
                match pipe.fill_at_most(self.from, usize::try_from(left.get()).unwrap_or(usize::MAX)) {
                    Ok(0) => return Err(BulkError::Source),
                    Ok(n) => {
                        left.set(left.get() - n as u64);
                        turn += n as u64;
                    }
                    // The pipe is empty here, so it is the source that has nothing.
                    Err(error) if is_transient(&error) => break,
                    Err(_) => return Err(BulkError::Source),
                }
                self.empty(&mut pipe, &writable).await?;
            }
            drop(pipe);
            if turn >= TURN {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn empty<E>(
        &self,
        pipe: &mut Pipe,
        writable: impl AsyncFn() -> Result<(), E>,
    ) -> Result<(), BulkError<E>> {
        while !pipe.is_empty() {
            match pipe.drain(self.to) {
                Ok(n) => {
                    self.moved.add(n as u64);
                    self.spliced.add(n as u64);
                }
                Err(error) if is_transient(&error) => writable().await.map_err(BulkError::Wait)?,
                Err(_) => return Err(BulkError::Sink),
            }
        }
        Ok(())
    }
}
