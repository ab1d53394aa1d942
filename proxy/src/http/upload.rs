//! The client's side of an exchange: the rest of the request's content, then a watch over the client.

use std::{cell::Cell, future::pending};

use super::{
    body::{Decoder, Encoder},
    bulk::{BULK, Bulk, BulkError},
    inbound::{Departure, Inbound},
    outcome::Termination,
    pace::Pace,
    write::{self, WriteError},
};
use crate::{
    connection::Connection, invalid::InvalidKind, metrics::Event, stream::Stream, tcp::splice::Pipe,
    upstream::Upstream, wheel::Deadline,
};

/// What is sent of a request while its response is awaited.
pub(super) struct Upload<'e, 'c, S> {
    pub(super) inbound: &'e mut Inbound<'c, S>,
    pub(super) upstream: &'e Upstream,
    pub(super) decoder: &'e mut Decoder,
    pub(super) encoder: &'e mut Encoder,
    /// Bytes of the inbox that are decoded, and are being sent.
    pub(super) in_hand: &'e Cell<usize>,
    /// Set when the server has all of it.
    pub(super) is_done: &'e Cell<bool>,
    /// The one under which the response is awaited: a server is not late while it is still being asked.
    pub(super) response_deadline: &'e Deadline,
    /// The client's.
    pub(super) pace: &'e Pace,
}

impl<S: Stream> Upload<'_, '_, S> {
    /// Never ends well: the response decides when the exchange is over. Returns only when the client makes it
    /// impossible.
    pub(super) async fn run(&mut self) -> Termination {
        if !self.is_done.get()
            && let Err(termination) = self.send().await
        {
            return termination;
        }
        let aborts = self.upstream.backend().options.aborts_awaiting;
        if aborts && self.inbound.ended {
            return Termination::ClientEndInResponse;
        }
        match self.inbound.departure().await {
            Departure::Broken => Termination::ClientAbortInResponse,
            Departure::Ended if aborts => Termination::ClientEndInResponse,
            // It said all it had to say and waits for the response.
            Departure::Ended => pending().await,
        }
    }

    async fn send(&mut self) -> Result<(), Termination> {
        loop {
            let mut begun = None;
            if let Some(inbox) = &mut self.inbound.inbox {
                let mut step = self.decoder.decode(inbox.filled_mut()).map_err(|error| {
                    let (bytes, at) = self.decoder.fault(inbox.filled());
                    let (kind, reason) = (InvalidKind::RequestContent, error.to_string());
                    self.inbound.connection.keep_invalid(kind, Some(self.upstream), bytes, at, reason);
                    Termination::BadRequest
                })?;
                let rules = &self.inbound.connection.worker().node().rules;
                step.drop_trailers(inbox.filled_mut(), |name| rules.bars_trailer(name));
                self.in_hand.set(step.consumed);
                let is_used_up = step.consumed == inbox.len();
                if is_used_up
                    && let Decoder::Length(left @ BULK..) = self.decoder
                    && let Some(bulk) = bulk(self.inbound.connection, self.upstream)
                {
                    begun = bulk.begin(Cell::from_mut(left));
                }
                let frame = self.encoder.frame(&step);
                let mut pieces = &mut frame.pieces(b"", inbox.filled(), &step)[..];
                let timeout = self.upstream.backend().timeout.server;
                let deadline = &self.inbound.deadline;
                if begun.is_some() {
                    write::ahead(self.upstream.stream(), &mut pieces);
                }
                match write::all_vectored(self.upstream.stream(), pieces, deadline, timeout).await {
                    Ok(()) => {}
                    Err(WriteError::Elapsed) => return Err(Termination::ServerTimeoutInData),
                    // It may have answered before it ended: what it said comes with the response, which may take long.
                    Err(WriteError::Broken) => {
                        drop(begun);
                        return pending().await;
                    }
                }
                self.response_deadline.touch();
                self.upstream.counters().bytes_in.add(step.consumed as u64);
                inbox.consume(self.in_hand.take());
                self.inbound.release_if_empty();
                if step.done {
                    self.is_done.set(true);
                    return Ok(());
                }
            }
            if self.inbound.inbox.is_none() && self.splice(&mut begun).await? {
                return Ok(());
            }
            self.read().await?;
        }
    }

    /// Sends what has `begun`, and moves the rest of content with a known length inside the kernel, if it is worth it and can be done; was that all?
    async fn splice(&mut self, begun: &mut Option<Pipe>) -> Result<bool, Termination> {
        let Decoder::Length(left) = self.decoder else { return Ok(false) };
        if begun.is_none() && *left < BULK {
            return Ok(false);
        }
        let left = Cell::from_mut(left);
        let (connection, deadline) = (self.inbound.connection, &self.inbound.deadline);
        let server = self.upstream.stream();
        let Some(bulk) = bulk(connection, self.upstream) else {
            debug_assert!(begun.is_none(), "what may be moved may be until the end");
            return Ok(false);
        };
        let before = Cell::new(left.get() + begun.as_ref().map_or(0, Pipe::len) as u64);
        let readable = async || {
            self.pace.received(before.get() - left.get());
            before.set(left.get());
            self.pace.readable(connection, deadline).await
        };
        let writable =
            async || match write::writable(server, deadline, self.upstream.backend().timeout.server).await {
                Ok(()) => Ok(()),
                Err(WriteError::Elapsed) => Err(Termination::ServerTimeoutInData),
                Err(WriteError::Broken) => pending().await,
            };
        match bulk.run(begun, left, None, readable, writable).await {
            Ok(()) => {}
            Err(BulkError::Wait(termination)) => return Err(termination),
            Err(BulkError::Source) => return Err(Termination::ClientAbortInData),
            // As above.
            Err(BulkError::Sink) => {
                *begun = None;
                return pending().await;
            }
        }
        self.response_deadline.touch();
        *self.decoder = Decoder::Done;
        self.is_done.set(true);
        Ok(true)
    }

    async fn read(&mut self) -> Result<(), Termination> {
        let connection = self.inbound.connection;
        loop {
            self.pace.readable(connection, &self.inbound.deadline).await?;
            match self.inbound.read() {
                Ok(None) => {}
                Ok(Some(n)) if n > 0 => {
                    self.pace.received(n as u64);
                    return Ok(());
                }
                Ok(Some(_)) | Err(_) => return Err(Termination::ClientAbortInData),
            }
        }
    }
}

/// What moves content to the server. None where bytes have to be looked at or changed, or the file says that they are to be copied.
fn bulk<'e, S: Stream>(connection: &'e Connection<S>, upstream: &'e Upstream) -> Option<Bulk<'e>> {
    let moved = upstream.received(connection.received());
    let spliced = connection.counters().event(Event::Spliced);
    let (pipes, buffers) = (connection.worker().pipes(), connection.worker().buffers());
    let bulk = Bulk::new(connection.stream(), upstream.stream(), (pipes, buffers), moved, spliced);
    bulk.filter(|_| connection.splices_request(upstream.backend()))
}
