//! What a client sends: read ahead by at most one buffer, and none while there is nothing.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use crate::{
    buffer::Buffer,
    connection::Connection,
    stream::{Stream, is_transient},
    wheel::Deadline,
};

/// The reading side of a client's connection.
pub(super) struct Inbound<'c, S> {
    pub(super) connection: &'c Connection<S>,
    /// Bytes that were not looked at yet; no buffer while there are none.
    pub(super) inbox: Option<Buffer>,
    /// The client has ended its side.
    pub(super) ended: bool,
    /// For waits on the client's bytes.
    pub(super) deadline: Deadline,
}

/// What happened while nothing was asked of the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Departure {
    /// It has ended its side; it may still read.
    Ended,
    /// The connection broke.
    Broken,
}

impl<'c, S: Stream> Inbound<'c, S> {
    /// Are there bytes of it?
    pub(super) fn has_bytes(&self) -> bool {
        self.inbox.as_ref().is_some_and(|inbox| !inbox.is_empty())
    }

    /// Reads once; `None` if nothing is there after all, `Some(0)` for the end.
    pub(super) fn read(&mut self) -> io::Result<Option<usize>> {
        let inbox = self.inbox.get_or_insert_with(|| self.connection.worker().buffers().take());
        let result = inbox.read_from(self.connection.stream());
        self.release_if_empty();
        match result {
            Ok(n) => {
                self.ended |= n == 0;
                self.connection.received().add(n as u64);
                Ok(Some(n))
            }
            Err(error) if is_transient(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives the buffer back if there is nothing in it.
    pub(super) fn release_if_empty(&mut self) {
        if self.inbox.as_ref().is_some_and(Buffer::is_empty) {
            self.inbox = None;
        }
    }

    /// Watches the client while its request is complete and not answered: takes early bytes of its next requests as
    /// far as they fit a buffer, and notices when it goes away.
    pub(super) fn poll_departure(&mut self, context: &mut Context<'_>) -> Poll<Departure> {
        loop {
            if self.ended || self.inbox.as_ref().is_some_and(Buffer::is_full) {
                return Poll::Pending;
            }
            if ready!(self.connection.stream().poll_readable(context)).is_err() {
                return Poll::Ready(Departure::Broken);
            }
            match self.read() {
                Ok(Some(0)) => return Poll::Ready(Departure::Ended),
                Ok(_) => {}
                Err(_) => return Poll::Ready(Departure::Broken),
            }
        }
    }

    /// See [`Self::poll_departure`].
    pub(super) async fn departure(&mut self) -> Departure {
        poll_fn(|context| self.poll_departure(context)).await
    }
}
