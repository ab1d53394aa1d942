//! The client's side of an exchange: the rest of the request's content, then a watch over the client.

use std::{cell::Cell, future::pending};

use super::{
    body::{Decoder, Encoder},
    inbound::{Departure, Inbound},
    outcome::Termination,
    write::{self, WriteError},
};
use crate::{stream::Stream, upstream::Upstream, wheel::Deadline};

/// What is sent of a request while its response is awaited.
pub(super) struct Upload<'e, 'c, S> {
    pub(super) inbound: &'e mut Inbound<'c, S>,
    pub(super) upstream: &'e Upstream,
    pub(super) decoder: &'e mut Decoder,
    pub(super) encoder: &'e mut Encoder,
    /// Set when the server has all of it.
    pub(super) is_done: &'e Cell<bool>,
    /// The one under which the response is awaited: a server is not late while it is still being asked.
    pub(super) response_deadline: &'e Deadline,
}

impl<S: Stream> Upload<'_, '_, S> {
    /// Never ends well: the response decides when the exchange is over. Returns only when the client makes it
    /// impossible.
    pub(super) async fn run(mut self) -> Termination {
        if !self.is_done.get()
            && let Err(termination) = self.send().await
        {
            return termination;
        }
        match self.inbound.departure().await {
            Departure::Broken => Termination::ClientAbortInResponse,
            // It said all it had to say and waits for the response.
            Departure::Ended => pending().await,
        }
    }

    async fn send(&mut self) -> Result<(), Termination> {
        loop {
            if let Some(inbox) = &mut self.inbound.inbox {
                let step = self.decoder.decode(inbox.filled_mut()).map_err(|_| Termination::BadRequest)?;
                let frame = self.encoder.frame(&step);
                let mut pieces = frame.pieces(b"", inbox.filled(), &step);
                let timeout = self.upstream.backend().timeout.server;
                let deadline = &self.inbound.deadline;
                match write::all_vectored(self.upstream.stream(), &mut pieces, deadline, timeout).await {
                    Ok(()) => {}
                    Err(WriteError::Elapsed) => return Err(Termination::ServerTimeoutInData),
                    // It may have answered before it ended: what it said comes with the response.
                    Err(WriteError::Broken) => return pending().await,
                }
                self.response_deadline.touch();
                inbox.consume(step.consumed);
                self.inbound.release_if_empty();
                if step.done {
                    self.is_done.set(true);
                    return Ok(());
                }
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Termination> {
        let connection = self.inbound.connection;
        loop {
            self.inbound.deadline.arm(connection.frontend().timeout.client);
            match self.inbound.deadline.guard(connection.stream().readable()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Termination::ClientAbortInData),
                Err(_) => return Err(Termination::ClientTimeoutInData),
            }
            match self.inbound.read() {
                Ok(None) => {}
                Ok(Some(n)) if n > 0 => return Ok(()),
                Ok(Some(_)) | Err(_) => return Err(Termination::ClientAbortInData),
            }
        }
    }
}
