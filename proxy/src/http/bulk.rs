//! Large content between two plain sockets, of known length or in chunks: moved by the kernel, through a pipe, without being copied.

mod chunks;

use std::{cell::Cell, rc::Rc};

use tokio::net::TcpStream;

pub(super) use self::chunks::{Chunks, LONGEST};
use crate::{
    buffer::BufferPool,
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
    /// For bytes that no pipe is left for.
    buffers: &'e Rc<BufferPool>,
    /// Grow with what the sink took.
    moved: Flow<'e>,
    spliced: &'e Counter,
}

impl<'e> Bulk<'e> {
    /// `None` if a stream's bytes are not its socket's.
    pub(super) fn new(
        from: &'e impl Stream,
        to: &'e impl Stream,
        (pipes, buffers): (&'e Rc<PipePool>, &'e Rc<BufferPool>),
        moved: Flow<'e>,
        spliced: &'e Counter,
    ) -> Option<Self> {
        Some(Self { from: from.plain()?, to: to.plain()?, pipes, buffers, moved, spliced })
    }

    /// Those of the source behind its first `known` bytes, which end with the data of one.
    pub(super) fn chunks_behind(&self, known: u64) -> Chunks<'e> {
        Chunks::behind(self.from, known)
    }

    /// Takes what is here of `left` bytes, and counts it down, for a [`Self::run`] that sends it behind what is sent until then. `None` if that is
    /// nothing, or no pipe is left.
    pub(super) fn begin(&self, left: &Cell<u64>) -> Option<Pipe> {
        let mut pipe = self.pipes.take().ok()?;
        let most = usize::try_from(left.get()).unwrap_or(usize::MAX);
        // Ends and errors are met again by whoever goes on.
        let n = pipe.fill_at_most(self.from, most).ok().filter(|n| *n > 0)?;
        left.set(left.get() - n as u64);
        Some(pipe)
    }

    /// Moves what has `begun` and `left` bytes, and counts them down; with `chunks` they end with the data of one, and those that are found behind it are
    /// moved as well. `readable` and `writable` wait for the source and the sink.
    pub(super) async fn run<E>(
        &self,
        begun: &mut Option<Pipe>,
        left: &Cell<u64>,
        chunks: Option<&Chunks<'_>>,
        readable: impl AsyncFn() -> Result<(), E>,
        writable: impl AsyncFn() -> Result<(), E>,
    ) -> Result<(), BulkError<E>> {
        if let Some(pipe) = begun {
            self.empty(pipe, &writable).await?;
            *begun = None;
            // What has come meanwhile.
            if let Some(chunks) = chunks {
                chunks.extend(left);
            }
        }
        while left.get() > 0 {
            readable().await.map_err(BulkError::Wait)?;
            let Ok(mut pipe) = self.pipes.take() else {
                self.copy(left, &writable).await?;
                continue;
            };
            let mut turn = 0;
            while turn < TURN {
                if let Some(chunks) = chunks {
                    chunks.extend(left);
                }
                if left.get() == 0 {
                    break;
                }
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

    /// A buffer full, if it is here.
    async fn copy<E>(
        &self,
        left: &Cell<u64>,
        writable: impl AsyncFn() -> Result<(), E>,
    ) -> Result<(), BulkError<E>> {
        let mut buffer = self.buffers.take();
        let room = buffer.unfilled();
        let most = usize::try_from(left.get()).unwrap_or(usize::MAX).min(room.len());
        match Stream::try_read(self.from, &mut room[..most]) {
            Ok(0) => return Err(BulkError::Source),
            Ok(n) => {
                buffer.advance(n);
                left.set(left.get() - n as u64);
            }
            Err(error) if is_transient(&error) => return Ok(()),
            Err(_) => return Err(BulkError::Source),
        }
        while !buffer.is_empty() {
            match buffer.write_to(self.to) {
                Ok(n) => self.moved.add(n as u64),
                Err(error) if is_transient(&error) => writable().await.map_err(BulkError::Wait)?,
                Err(_) => return Err(BulkError::Sink),
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::tcp::splice::LENT;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (stream, listener.accept().await.unwrap().0)
    }

    /// The rest of a chunk, others behind it, and one of another kind.
    #[tokio::test]
    async fn chunks_that_no_pipe_is_left_for_are_copied_without_a_look_at_those_behind_them() {
        const REST: usize = 300_000;
        let rest: Vec<u8> = (0..=250).cycle().take(REST).collect();
        let chunk = [b"\r\n4000\r\n", &[b'x'; 0x4000][..]].concat();
        let sent = [&rest[..], &chunk.repeat(8), b"\r\n4000;a\r\n"].concat();
        for taken in [0, LENT] {
            let ((mut source, from), (to, mut sink)) = (pair().await, pair().await);
            let (pipes, buffers) = (Rc::default(), Rc::default());
            let _taken: Vec<_> = (0..taken).map(|_| PipePool::take(&pipes).unwrap()).collect();
            let (frontend, own, spliced) = (Counter::default(), Cell::new(0), Counter::default());
            let moved = Flow { frontend: &frontend, server: None, own: &own };
            let bulk = Bulk::new(&from, &to, (&pipes, &buffers), moved, &spliced).unwrap();
            let (left, chunks) = (Cell::new(REST as u64), bulk.chunks_behind(REST as u64));
            let run = async {
                let (readable, writable) = (async || from.readable().await, async || to.writable().await);
                assert!(bulk.run(&mut None, &left, Some(&chunks), readable, writable).await.is_ok());
            };
            let (written, ()) = tokio::join!(source.write_all(&sent), run);
            written.unwrap();
            // How many there are is up to when they come.
            let moved = usize::try_from(own.get()).unwrap();
            assert!(if taken == 0 { moved <= sent.len() - 10 } else { moved == REST }, "{moved}");
            assert_eq!((moved - REST) % chunk.len(), 0);
            assert_eq!(spliced.value(), if taken == 0 { own.get() } else { 0 });
            let mut got = vec![0; moved];
            sink.read_exact(&mut got).await.unwrap();
            assert!(got == sent[..moved]);
            drop(chunks);
            let mut behind = [0; 2];
            assert_eq!((from.peek(&mut behind).await.unwrap(), &behind), (2, b"\r\n"));
        }
    }

    #[tokio::test]
    async fn what_no_pipe_is_left_for_is_copied_and_nothing_behind_it() {
        const LENGTH: usize = 1 << 20;
        let content: Vec<u8> = (0..=250).cycle().take(LENGTH).collect();
        for taken in [0, LENT] {
            let ((mut source, from), (to, mut sink)) = (pair().await, pair().await);
            let (pipes, buffers) = (Rc::default(), Rc::default());
            let _taken: Vec<_> = (0..taken).map(|_| PipePool::take(&pipes).unwrap()).collect();
            let (frontend, own, spliced) = (Counter::default(), Cell::new(0), Counter::default());
            let moved = Flow { frontend: &frontend, server: None, own: &own };
            let bulk = Bulk::new(&from, &to, (&pipes, &buffers), moved, &spliced).unwrap();
            let sent = async {
                source.write_all(&content).await.unwrap();
                source.write_all(b"behind").await.unwrap();
            };
            let mut got = vec![0; LENGTH];
            let left = Cell::new(LENGTH as u64);
            let run = async {
                let (readable, writable) = (async || from.readable().await, async || to.writable().await);
                let mut begun = bulk.begin(&left);
                assert!(bulk.run(&mut begun, &left, None, readable, writable).await.is_ok());
            };
            let (.., read) = tokio::join!(sent, run, sink.read_exact(&mut got));
            read.unwrap();
            assert!(got == content);
            assert_eq!((left.get(), own.get()), (0, LENGTH as u64));
            assert_eq!(spliced.value() > 0, taken == 0);
            let mut behind = [0; 6];
            from.readable().await.unwrap();
            assert_eq!((from.try_read(&mut behind).unwrap(), &behind), (6, b"behind"));
        }
    }
}
