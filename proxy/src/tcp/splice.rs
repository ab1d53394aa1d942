//! Moves bytes from socket to socket inside the kernel, through a pipe.
//!
//! A pipe is borrowed from the worker's pool when bytes are there to be moved and given back when it is empty: a
//! connection at rest has none.

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use tokio::{io::Interest, net::TcpStream};

/// Bytes that a pipe takes, if the system allows (`fs.pipe-max-size`); else it stays at the kernel's 64 KiB.
const CAPACITY: i32 = 1024 * 1024;

/// Unused pipes that a worker keeps.
pub(crate) const KEPT: usize = 64;

/// Pipes that a worker lends at a time. A client that does not read keeps one, with two descriptors and up to
/// [`CAPACITY`] of kernel memory that no socket buffer's limit counts.
pub(crate) const LENT: usize = 256;

/// The unused pipes of one worker; all of them empty.
#[derive(Debug, Default)]
pub(crate) struct PipePool {
    unused: RefCell<Vec<Ends>>,
    lent: Cell<usize>,
}

/// A borrowed pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    ends: Option<Ends>,
    filled: usize,
    pool: Rc<PipePool>,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

impl PipePool {
    /// Borrows an empty pipe. An error is no reason to end anything: the bytes can be copied.
    pub(crate) fn take(self: &Rc<Self>) -> io::Result<Pipe> {
        if self.lent.get() >= LENT {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let unused = self.unused.borrow_mut().pop();
        let ends = match unused {
            Some(ends) => ends,
            None => Ends::new()?,
        };
        self.lent.set(self.lent.get() + 1);
        Ok(Pipe { ends: Some(ends), filled: 0, pool: Rc::clone(self) })
    }
}

impl Ends {
    fn new() -> io::Result<Self> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        // Refused beyond a user's share of pipe memory; a smaller pipe works as well, only with more calls.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        Ok(Self { read, write })
    }
}

impl Pipe {
    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Bytes that it holds.
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// Moves what is there from `source` into the pipe. `Ok(0)` is the end of the stream.
    pub(crate) fn fill(&mut self, source: &TcpStream) -> io::Result<usize> {
        self.fill_at_most(source, CAPACITY as usize)
    }

    /// The same for at most `max` bytes, which is not 0.
    pub(crate) fn fill_at_most(&mut self, source: &TcpStream, max: usize) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let max = max.min(CAPACITY as usize);
        let n = source.try_io(Interest::READABLE, || transfer(source, &ends.write, max))?;
        self.filled += n;
        Ok(n)
    }

    /// Moves what fits from the pipe to `sink`.
    pub(crate) fn drain(&mut self, sink: &TcpStream) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let n = sink.try_io(Interest::WRITABLE, || transfer(&ends.read, sink, self.filled))?;
        self.filled -= n;
        Ok(n)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.pool.lent.set(self.pool.lent.get().saturating_sub(1));
        // One that still holds bytes belongs to a connection that broke; the next must not get them.
        if let Some(ends) = self.ends.take().filter(|_| self.filled == 0) {
            let mut unused = self.pool.unused.borrow_mut();
            if unused.len() < KEPT {
                unused.push(ends);
            }
        }
    }
}

fn transfer(from: impl AsFd, to: impl AsFd, n: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    Ok(splice(from, None, to, None, n, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_do_not_read_hold_a_bounded_number_of_pipes() {
        let pool = Rc::new(PipePool::default());
        let pipes: Vec<_> = std::iter::from_fn(|| pool.take().ok()).take(1000).collect();
        assert_eq!(pipes.len(), 256);
        drop(pipes);
        assert!(pool.take().is_ok());
    }
}
