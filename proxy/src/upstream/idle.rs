//! Idle connections to servers, kept by each worker for the next request to the same server.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
};

use tokio::net::TcpStream;

use crate::{
    config::{BackendId, Config},
    stream::Stream,
};

/// Per worker and server.
const KEPT_PER_SERVER: usize = 64;

/// Per worker.
const KEPT: usize = 1024;

/// Ticks (4 s): below the 5 s after which common servers close (Apache httpd, Node.js), so that it is seldom the
/// server who ends an idle connection, at the moment when a request is on its way.
const KEPT_TICKS: u64 = 40;

/// Ticks: younger than this a connection is taken for quiet unless the runtime has already seen otherwise; older ones
/// are asked, at the price of a system call.
const TRUSTED_TICKS: u64 = 1;

/// The idle connections of one worker.
#[derive(Debug)]
pub(crate) struct IdleConnections {
    /// By backend, then server; the youngest last.
    servers: Box<[Box<[OfServer]>]>,
    count: Cell<usize>,
}

type OfServer = RefCell<VecDeque<Idle>>;

#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    since: u64,
}

impl IdleConnections {
    pub(crate) fn new(config: &Config) -> Self {
        let servers =
            |backend: &crate::config::Backend| backend.servers.iter().map(|_| RefCell::default()).collect();
        Self { servers: config.backends.iter().map(servers).collect(), count: Cell::new(0) }
    }

    /// Takes the youngest quiet connection to a server. Others met on the way are closed, and `stale` is told of each.
    pub(crate) fn take(
        &self,
        backend: BackendId,
        server: usize,
        now: u64,
        stale: impl Fn(),
    ) -> Option<TcpStream> {
        let mut connections = self.servers[backend.0][server].borrow_mut();
        while let Some(idle) = connections.pop_back() {
            self.count.set(self.count.get() - 1);
            if is_quiet(&idle, now) {
                return Some(idle.stream);
            }
            stale();
        }
        None
    }

    /// Keeps a connection, at the price of the server's oldest one if there are too many.
    pub(crate) fn put(&self, backend: BackendId, server: usize, now: u64, stream: TcpStream) {
        let mut connections = self.servers[backend.0][server].borrow_mut();
        if connections.len() >= KEPT_PER_SERVER || (self.count.get() >= KEPT && !connections.is_empty()) {
            connections.pop_front();
        } else if self.count.get() >= KEPT {
            return;
        } else {
            self.count.set(self.count.get() + 1);
        }
        connections.push_back(Idle { stream, since: now });
    }

    /// Closes what is too old and what the server has closed.
    pub(crate) fn sweep(&self, now: u64) {
        for connections in self.servers.iter().flatten() {
            connections.borrow_mut().retain(|idle| {
                let keep = now.saturating_sub(idle.since) < KEPT_TICKS && !is_seen_readable(&idle.stream);
                if !keep {
                    self.count.set(self.count.get() - 1);
                }
                keep
            });
        }
    }
}

fn is_quiet(idle: &Idle, now: u64) -> bool {
    let age = now.saturating_sub(idle.since);
    age < KEPT_TICKS && !is_seen_readable(&idle.stream) && (age < TRUSTED_TICKS || idle.stream.is_quiet())
}

/// Has the runtime seen bytes or an end? Costs a system call only if it thinks so; may be late by one turn of its loop.
fn is_seen_readable(stream: &TcpStream) -> bool {
    // Whatever it reads, bytes or the end, the connection is of no more use.
    !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests;
