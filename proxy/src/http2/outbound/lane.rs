//! One request at a time, as a connection of HTTP/1.1 has it. A lane outlives its streams: so in the long run a request allocates
//! nothing here.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll},
};

use tokio::net::TcpStream;

use super::Trunk;
use crate::stream::Stream;

/// See the module.
#[derive(Debug)]
pub struct Lane {
    trunk: Rc<Trunk>,
    stream: Cell<Option<usize>>,
    /// It may have a request.
    is_claimed: Cell<bool>,
    /// The connection took no further request.
    is_refused: Cell<bool>,
    /// Its connection had carried others when this request came.
    is_used: Cell<bool>,
    /// Its connection is its client's own.
    is_owner: Cell<bool>,
}

/// Whether a request may be what its server has ended the connection for, with an error (RFC 9113 §6.8).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Blame {
    None,
    /// It was one of those on the connection.
    Other,
    /// It is the first that the server has not looked at: all before it were borne.
    First,
}

impl Lane {
    /// Another one, for a request that comes at once.
    pub(crate) fn of(trunk: &Rc<Trunk>) -> Self {
        trunk.enter();
        trunk.busy.set(trunk.busy.get() + 1);
        Self {
            trunk: Rc::clone(trunk),
            stream: Cell::new(None),
            is_claimed: Cell::new(true),
            is_refused: Cell::new(false),
            is_used: Cell::new(trunk.served() > 0),
            is_owner: Cell::new(false),
        }
    }

    /// Had its connection carried others when its request came?
    pub(crate) fn is_used(&self) -> bool {
        self.is_used.get()
    }

    /// Its server has authenticated the connection for whoever has asked here: nobody else's request is sent on it any more.
    pub(crate) fn make_private(&self) {
        self.is_owner.set(true);
        self.trunk.is_private.set(true);
        self.trunk.retire();
    }

    /// Its connection.
    pub(crate) fn trunk(&self) -> &Rc<Trunk> {
        &self.trunk
    }

    /// Its request is over.
    pub(crate) fn rest(&self) {
        if let Some(key) = self.stream.take() {
            self.trunk.shared.with(key, |machine, key| machine.release(key, false));
        }
        if self.is_claimed.take() {
            self.trunk.busy.set(self.trunk.busy.get() - 1);
        }
    }

    /// Takes another one, if its connection has room for that.
    pub(crate) fn claim(&self) -> bool {
        let is_free = self.stream.get().is_none() && !self.is_claimed.get() && self.trunk.has_room();
        let is_free = is_free && (self.is_owner.get() || !self.trunk.is_private());
        if is_free {
            self.is_claimed.set(true);
            self.is_used.set(self.trunk.served() > 0);
            self.trunk.busy.set(self.trunk.busy.get() + 1);
        }
        is_free
    }

    /// Has the server not even looked at the request (RFC 9113 §8.7)?
    pub(crate) fn was_refused(&self) -> bool {
        let of_stream = self
            .stream
            .get()
            .is_some_and(|key| self.trunk.shared.machine.borrow_mut().stream(key).is_refused);
        of_stream || self.is_refused.get()
    }

    /// May its request be what its server has ended the connection for?
    pub(crate) fn blame(&self) -> Blame {
        match self.stream.get() {
            Some(key) if self.trunk.is_at_fault() => {
                match self.trunk.shared.machine.borrow_mut().stream(key).is_suspect {
                    true => Blame::First,
                    false => Blame::Other,
                }
            }
            _ => Blame::None,
        }
    }

    /// Its stream, which is opened if there is none.
    fn open(&self) -> io::Result<usize> {
        if let Some(key) = self.stream.get() {
            return Ok(key);
        }
        let opened = if self.trunk.is_open() {
            self.trunk.shared.machine.borrow_mut().open_request()
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        };
        match opened {
            Ok(key) => {
                self.trunk.served.set(self.trunk.served.get().saturating_add(1));
                self.stream.set(Some(key));
            }
            Err(_) => self.is_refused.set(true),
        }
        opened
    }
}

impl Stream for Lane {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream.get() {
            Some(key) if self.trunk.shared.is_readable(key, context) => Poll::Ready(Ok(())),
            Some(_) => Poll::Pending,
            None if self.is_refused.get() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream.get() {
            Some(key) => self.trunk.shared.poll_writable(key, context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = match self.stream.get() {
            Some(key) => self.trunk.shared.with(key, |machine, key| machine.read(key, bytes))?,
            None if self.is_refused.get() || !self.trunk.is_open() => return Ok(0),
            None => 0,
        };
        if read == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(read) }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write_vectored(&[IoSlice::new(bytes)])
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let key = self.open()?;
        self.trunk.shared.with(key, |machine, key| machine.write(key, pieces))
    }

    fn poll_shutdown(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A request says itself where it ends.
        Poll::Ready(Ok(()))
    }

    fn abort(&self) {
        // A request that is not over ends in a reset, whatever is said.
    }

    fn plain(&self) -> Option<&TcpStream> {
        None
    }

    fn socket(&self) -> Option<&TcpStream> {
        None
    }

    fn is_quiet(&self) -> bool {
        self.stream.get().is_none() && self.trunk.is_open()
    }

    async fn ended(&self) {
        if let Some(key) = self.stream.get() {
            self.trunk.shared.reset(key).await;
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.rest();
        self.trunk.leave();
    }
}
