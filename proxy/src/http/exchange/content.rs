//! Content that is here before a server is looked for.

use super::Exchange;
use crate::{
    buffer::{BUFFER_SIZE, Buffer},
    http::{body::BodyError, outcome::Termination, write},
    invalid::InvalidKind,
    stream::Stream,
};

/// Room that framing needs around content that is copied behind a head.
const FRAMING: usize = 64;

/// RFC 9110 §15.2.1: the client need not wait for the server's.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl<S: Stream> Exchange<'_, '_, S> {
    /// Waits for the rest of the content, as far as one buffer takes it, for at most `timeout.http_request`. The server is
    /// not asked to tell the client to go on.
    pub(super) async fn wait_for_body(&mut self) -> Result<(), Termination> {
        let connection = self.session.connection;
        if self.request.expects_continue && !self.decoder.is_done() && !self.session.inbound.has_bytes() {
            let timeout = connection.frontend().timeout.client;
            let told = write::all(connection.stream(), CONTINUE, self.session.deadline, timeout).await;
            told.map_err(|_| Termination::ClientAbortInContent)?;
            connection.sent().add(CONTINUE.len() as u64);
            self.continued = true;
        }
        self.request.expects_continue = false;
        let inbound = &mut self.session.inbound;
        inbound.deadline.arm(connection.frontend().timeout.http_request);
        while !self.decoder.is_done() && self.has_room() {
            let inbound = &mut self.session.inbound;
            match inbound.deadline.guard(connection.stream().readable()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Termination::ClientAbortInContent),
                Err(_) => return Err(Termination::ClientTimeoutInHead),
            }
            match inbound.read() {
                Ok(None) => continue,
                Ok(Some(n)) if n > 0 => {}
                Ok(Some(_)) | Err(_) => return Err(Termination::ClientAbortInContent),
            }
            let before = self.session.inbound.inbox.as_ref().map_or(0, Buffer::len);
            self.take_content().map_err(|_| Termination::BadRequest)?;
            if self
                .session
                .inbound
                .inbox
                .as_ref()
                .is_some_and(|inbox| inbox.len() == before && inbox.is_full())
            {
                break;
            }
        }
        self.session.inbound.deadline.disarm();
        Ok(())
    }

    /// Does more content fit behind the head?
    fn has_room(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.len() + FRAMING < BUFFER_SIZE)
    }

    /// Moves content that is already here behind the head, so that one write sends both.
    pub(super) fn take_content(&mut self) -> Result<(), BodyError> {
        let Some(head) = &mut self.head else { return Ok(()) };
        let inbound = &mut self.session.inbound;
        while let Some(inbox) = &mut inbound.inbox {
            let room = BUFFER_SIZE.saturating_sub(head.len() + FRAMING).min(inbox.len());
            if self.decoder.is_done() || room == 0 {
                break;
            }
            let mut step = self.decoder.decode(&mut inbox.filled_mut()[..room]).inspect_err(|error| {
                let (bytes, at) = self.decoder.fault(inbox.filled());
                let (kind, reason) = (InvalidKind::RequestContent, error.to_string());
                inbound.connection.keep_invalid(kind, None, bytes, at, reason);
            })?;
            let rules = &inbound.connection.worker().node().rules;
            step.drop_trailers(inbox.filled_mut(), |name| rules.bars_trailer(name));
            let frame = self.encoder.frame(&step);
            for piece in frame.pieces(b"", inbox.filled(), &step) {
                head.push(&piece);
            }
            inbox.consume(step.consumed);
            self.received += step.consumed as u64;
            inbound.release_if_empty();
            if step.consumed == 0 {
                break;
            }
        }
        Ok(())
    }
}
