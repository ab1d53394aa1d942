//! The content of a response, to its client.

use std::{cell::Cell, io::IoSlice};

use super::{Download, Failed, ReadError, coding::Coding, head::Parsed};
use crate::{
    buffer::Buffer,
    http::{
        body::{Decoder, Encoder, Framing, Step},
        bulk::{BULK, Bulk, BulkError},
        outcome::Termination,
        write::{self, WriteError},
    },
    invalid::InvalidKind,
    metrics::Event,
    stream::Stream,
};

/// Payload up to this is copied behind its head: cheaper than a vectored write of several pieces.
const COPIED: usize = 2048;

/// Where decoded content goes.
pub(super) struct Sink {
    encoder: Encoder,
    /// The head, until it is written.
    out: Buffer,
    pub(super) coding: Option<Coding>,
}

impl<S: Stream> Download<'_, S> {
    /// What reads the content of this response.
    pub(super) fn decoder(&self, Parsed { response, hop, coder }: &Parsed) -> Decoder {
        // Trailers may be about content that is not coded.
        let trailers = self.request.trailers && hop.framing == Framing::Chunked && coder.is_none();
        Decoder::new(response.framing, trailers)
    }

    /// The next step of the content, which begins with `bytes`. What is wrong with it is kept.
    pub(super) fn decode(&self, decoder: &mut Decoder, bytes: &mut [u8]) -> Result<Step, Termination> {
        decoder.decode(bytes).map_err(|error| {
            let (bytes, at) = decoder.fault(bytes);
            let (kind, reason) = (InvalidKind::ResponseContent, error.to_string());
            self.connection.keep_invalid(kind, Some(self.upstream), bytes, at, reason);
            Termination::BadResponseData
        })
    }

    /// The content, to its end; what the server sent beyond it. `out` is the head for the client, `buffer` what came behind
    /// the server's, of which `first` is known already.
    pub(super) async fn relay(
        &self,
        Parsed { hop, coder, .. }: Parsed,
        (mut decoder, first): (Decoder, Step),
        out: Buffer,
        buffer: Buffer,
    ) -> Result<Option<Buffer>, Failed> {
        let mut first = Some(first);
        let mut sink = Sink { encoder: Encoder::new(hop.framing), out, coding: coder.map(Coding::new) };
        write::with_others(self.connection.stream(), sink.out.len() + buffer.len()).await;
        let mut inbox = Some(buffer);
        loop {
            let step = match &mut inbox {
                Some(buffer) => {
                    let mut step = match first.take() {
                        Some(step) => step,
                        None => self.decode(&mut decoder, buffer.filled_mut())?,
                    };
                    // Rules looked at the head, and would be got round.
                    let (frontend, backend) = (self.connection.frontend_id(), self.upstream.backend_id());
                    let rules = &self.connection.worker().node().rules;
                    step.drop_trailers(buffer.filled_mut(), |name| {
                        rules.rule_response_field(frontend, backend, name)
                    });
                    step
                }
                None => Step::default(),
            };
            self.pass(&mut sink, &step, inbox.as_ref()).await?;
            if let Some(buffer) = &mut inbox {
                buffer.consume(step.consumed);
                if buffer.is_empty() {
                    inbox = None;
                }
            }
            if inbox.is_none() && sink.coding.is_none() {
                self.splice(&mut decoder).await?;
            }
            if decoder.is_done() {
                return Ok(inbox);
            }
            match self.read_on(&mut sink, &mut inbox).await? {
                Ok(n) if n > 0 => {}
                Ok(_) => {
                    decoder.end().map_err(|_| Termination::ServerAbortInData)?;
                    let last = Step { done: true, ..Step::default() };
                    self.pass(&mut sink, &last, None).await?;
                    return Ok(None);
                }
                Err(ReadError::Broken) => return Err(Termination::ServerAbortInData.into()),
                Err(ReadError::Elapsed) => return Err(Termination::ServerTimeoutInData.into()),
            }
        }
    }

    /// A step of the content, with what it is about in `inbox`.
    async fn pass(&self, sink: &mut Sink, step: &Step, inbox: Option<&Buffer>) -> Result<(), Failed> {
        match sink.coding {
            Some(_) => self.code(sink, step, inbox).await,
            None => self.write_step(sink, step, inbox).await,
        }
    }

    async fn read_on(
        &self,
        sink: &mut Sink,
        inbox: &mut Option<Buffer>,
    ) -> Result<Result<usize, ReadError>, Failed> {
        if sink.coding.is_some() {
            if let Some(read) = self.read_at_once(inbox) {
                return Ok(read);
            }
            self.flush(sink).await?;
        }
        Ok(self.read(inbox).await)
    }

    /// Head and content in one write.
    pub(super) async fn write_step(
        &self,
        Sink { encoder, out, .. }: &mut Sink,
        step: &Step,
        inbox: Option<&Buffer>,
    ) -> Result<(), Failed> {
        let frame = encoder.frame(step);
        let bytes = inbox.map_or(&[][..], Buffer::filled);
        if step.payload + step.trailers <= COPIED {
            for piece in &frame.pieces(b"", bytes, step) {
                out.push(piece);
            }
            self.write(&mut [IoSlice::new(out.filled())], Termination::ClientAbortInData).await?;
        } else {
            let mut pieces = frame.pieces(out.filled(), bytes, step);
            self.write(&mut pieces, Termination::ClientAbortInData).await?;
        }
        out.clear();
        Ok(())
    }

    /// Moves the rest of content with a known length inside the kernel, if it is worth it and can be done.
    async fn splice(&self, decoder: &mut Decoder) -> Result<(), Failed> {
        let Decoder::Length(left @ BULK..) = decoder else { return Ok(()) };
        let left = Cell::from_mut(left);
        let (upstream, client) = (self.upstream.stream(), self.connection.stream());
        let moved = self.upstream.sent(self.connection.sent());
        let spliced = self.connection.counters().event(Event::Spliced);
        let bulk = Bulk::new(upstream, client, self.connection.worker().pipes(), moved, spliced);
        let Some(bulk) = bulk.filter(|_| self.connection.splices_response(self.upstream.backend())) else {
            return Ok(());
        };
        let readable = async || {
            self.readable().await.map_err(|error| match error {
                ReadError::Elapsed => Termination::ServerTimeoutInData,
                ReadError::Broken => Termination::ServerAbortInData,
            })
        };
        let writable = async || {
            let timeout = self.connection.frontend().timeout.client;
            write::writable(client, self.deadline, timeout).await.map_err(|error| match error {
                WriteError::Broken => Termination::ClientAbortInData,
                WriteError::Elapsed => Termination::ClientTimeoutInData,
            })
        };
        bulk.run(left, readable, writable).await.map_err(|error| match error {
            BulkError::Wait(termination) => termination,
            BulkError::Source => Termination::ServerAbortInData,
            BulkError::Sink => Termination::ClientAbortInData,
        })?;
        if left.get() == 0 {
            *decoder = Decoder::Done;
        }
        Ok(())
    }
}
