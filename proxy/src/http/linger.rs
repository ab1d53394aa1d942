//! The end of a client's connection, in stages (RFC 9112 §9.6): our side ends behind the response, and what the client
//! still sends is read and thrown away until it ends its own.
//!
//! A close at once makes the kernel answer the next byte that comes with a reset, and a reset takes from the client
//! what it has not read of the response yet.

use std::{
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use super::{body::Decoder, outcome::Termination, session::Session};
use crate::stream::Stream;

/// Read and thrown away at most: what fast lines hold while the response is on its way to a client that uploads.
const BYTES: usize = 16 * 1024 * 1024;

/// A client that sends nothing for so long has read the response, or never will.
const SILENCE: Duration = Duration::from_secs(2);

/// All in all, for one that trickles.
const TIME: Duration = Duration::from_secs(10);

/// All in all, while the node waits for its connections to end.
const DRAINING: Duration = Duration::from_millis(200);

/// What a client has got is taken for read if it was no more: it was a matter of one round trip.
const LITTLE: u64 = 16 * 1024;

/// How what a client still sends has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rest {
    /// With the end of its content.
    Whole,
    /// In bytes that are no content.
    Invalid,
    /// With its connection.
    Left,
    /// It sends nothing any more.
    Silent,
    /// Nobody wants to read more of it.
    Enough,
}

impl Rest {
    /// What is to be said of an exchange whose response was over before its request was.
    pub(super) fn termination(self) -> Option<Termination> {
        match self {
            Self::Whole | Self::Enough => None,
            Self::Invalid => Some(Termination::BadRequestData),
            Self::Left => Some(Termination::ClientAbortInData),
            Self::Silent => Some(Termination::ClientTimeoutInData),
        }
    }
}

impl<S: Stream> Session<'_, S> {
    /// Ends the connection. It holds its place among the frontend's connections, a buffer only while it reads, and up no
    /// drain.
    pub(super) async fn linger(&mut self) {
        if self.is_done() {
            return;
        }
        self.inbound.inbox = None;
        self.discard(None).await;
    }

    /// Has the client said that it sends nothing more (RFC 9112 §9.6: it MUST NOT), and kept to it so far? Then there is nothing to
    /// read and throw away, and a close is all that is left; if it got much, it may be a while until it has read that. An end in TLS
    /// has a word of its own.
    fn is_done(&self) -> bool {
        let (connection, inbound) = (self.connection, &self.inbound);
        let is_kept = self.is_last && !inbound.has_bytes() && !inbound.ended;
        if !is_kept || connection.stream().plain().is_none() || connection.sent().value() > LITTLE {
            return false;
        }
        connection.stream().poll_readable(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Likewise; with `content`, to its end only.
    pub(super) async fn discard(&mut self, mut content: Option<&mut Decoder>) -> Rest {
        let connection = self.connection;
        self.release();
        connection.set_over();
        self.deadline.arm(if connection.is_draining() { DRAINING } else { TIME });
        if !matches!(self.deadline.guard(pin!(connection.stream().shutdown())).await, Ok(Ok(()))) {
            return Rest::Left;
        }
        let mut left = BYTES;
        loop {
            match (&mut content, &mut self.inbound.inbox) {
                (Some(content), Some(inbox)) => match content.decode(inbox.filled_mut()) {
                    Ok(step) if step.done => return Rest::Whole,
                    Ok(step) => inbox.consume(step.consumed),
                    Err(_) => return Rest::Invalid,
                },
                _ => self.inbound.inbox = None,
            }
            self.inbound.release_if_empty();
            if self.inbound.ended {
                return Rest::Left;
            }
            self.inbound.deadline.arm(SILENCE.min(connection.frontend().timeout.client));
            let readable = self.inbound.deadline.guard(connection.stream().readable());
            match self.deadline.guard(readable).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(_))) => return Rest::Left,
                Ok(Err(_)) => return Rest::Silent,
                Err(_) => return Rest::Enough,
            }
            match self.inbound.read() {
                Ok(Some(n)) if n < left => left -= n,
                Ok(None) => {}
                Ok(Some(_)) => return Rest::Enough,
                Err(_) => return Rest::Left,
            }
        }
    }
}
