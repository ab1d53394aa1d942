//! The content of a response, to its client.

use std::{cell::Cell, io::IoSlice};

use super::{Download, Failed, ReadError, coding::Coding, head::Parsed};
use crate::{
    buffer::Buffer,
    http::{
        body::{Decoder, Encoder, Framing, Step},
        bulk::{BULK, Bulk, BulkError, Chunks, LONGEST},
        outcome::Termination,
        write::{self, WriteError},
    },
    invalid::InvalidKind,
    metrics::Event,
    stream::Stream,
    tcp::splice::Pipe,
};

/// Payload up to this is copied behind its head: cheaper than a vectored write of several pieces.
const COPIED: usize = 2048;

/// Bytes that frame a step at most.
const FRAMING: usize = 32;

/// Payload that is copied where chunks were too small to be moved, before larger ones are looked for.
const AGAIN: u32 = 256 * 1024;

/// Where decoded content goes.
pub(super) struct Sink<'o> {
    encoder: Encoder,
    /// The head, until it is written.
    out: &'o mut Buffer,
    pub(super) coding: Option<Coding>,
    /// Payload that is copied before chunks are looked for that the kernel may move; `None` where it may not: not both sides have them.
    copied_first: Option<u32>,
    /// What is written next is followed by what is in a pipe already.
    is_followed: bool,
}

impl Sink<'_> {
    /// Copies a step of `bytes` behind the head.
    fn put(&mut self, step: &Step, bytes: &[u8], more: Option<u64>) {
        let frame = self.encoder.frame_with(step, more);
        for piece in &frame.pieces(b"", bytes, step) {
            self.out.push(piece);
        }
    }
}

/// The rest of a chunk and those behind it that a socket holds. In a box, as is what moves them: most responses have none.
struct Found<'e> {
    bulk: Bulk<'e>,
    chunks: Chunks<'e>,
    /// Bytes, so far.
    known: Cell<u64>,
    /// What comes before them.
    inbox: Buffer,
}

/// A step is over: its buffer is given back if there is nothing behind it.
fn use_up(inbox: &mut Option<Buffer>, step: &Step) {
    if let Some(buffer) = inbox {
        buffer.consume(step.consumed);
        inbox.take_if(|buffer| buffer.is_empty());
    }
}

/// Of content.
impl From<ReadError> for Termination {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Elapsed => Self::ServerTimeoutInData,
            ReadError::Broken => Self::ServerAbortInData,
        }
    }
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

    /// The content, to its end. `out` is the head for the client, `inbox` what came behind the server's, of which `content` has the
    /// first step already; what the server sent beyond the content is left in it. All by reference: what is moved into an async
    /// function is in its future twice.
    pub(super) async fn relay(
        &self,
        Parsed { hop, coder, .. }: &mut Parsed,
        (decoder, first): &mut (Decoder, Step),
        out: &mut Buffer,
        inbox: &mut Option<Buffer>,
    ) -> Result<(), Failed> {
        let coding = coder.take().map(Coding::new);
        let copied_first = (hop.framing == Framing::Chunked && coding.is_none()).then_some(0);
        let mut sink =
            Sink { encoder: Encoder::new(hop.framing), out, coding, copied_first, is_followed: false };
        let mut is_first = !self.put_small(&mut sink, first, inbox);
        let length = sink.out.len() + inbox.as_ref().map_or(0, Buffer::len);
        write::with_others(self.connection.stream(), length).await;
        if !is_first {
            self.write_out(&mut sink).await?;
            if decoder.is_done() {
                return Ok(());
            }
        }
        loop {
            let step = match &mut *inbox {
                Some(buffer) => {
                    let mut step = match std::mem::take(&mut is_first) {
                        true => *first,
                        false => self.decode(decoder, buffer.filled_mut())?,
                    };
                    self.drop_trailers(&mut step, buffer);
                    step
                }
                None => Step::default(),
            };
            if let Some(found) = self.chunks_behind(&mut sink, decoder, &step, inbox) {
                Box::pin(self.move_chunks(&mut sink, decoder, &step, found)).await?;
            } else if self.is_bulk_behind(&sink, decoder, &step, inbox.as_ref())
                && let Some(bulk) = self.bulk().map(Box::new)
            {
                Box::pin(self.splice(&mut sink, decoder, &step, inbox, bulk)).await?;
                return Ok(());
            } else {
                self.pass(&mut sink, &step, inbox.as_ref()).await?;
            }
            use_up(inbox, &step);
            if decoder.is_done() {
                return Ok(());
            }
            match self.read_on(&mut sink, inbox).await? {
                Ok(n) if n > 0 => {}
                Ok(_) => {
                    decoder.end().map_err(|_| Termination::ServerAbortInData)?;
                    let last = Step { done: true, ..Step::default() };
                    self.pass(&mut sink, &last, None).await?;
                    return Ok(());
                }
                Err(error) => return Err(Termination::from(error).into()),
            }
        }
    }

    /// Puts a first step behind its head if that has room for it, so that nothing but a head's buffer is held while others have their turn:
    /// up to a thousand do so at a time. Not what is coded.
    fn put_small(&self, sink: &mut Sink<'_>, step: &mut Step, inbox: &mut Option<Buffer>) -> bool {
        let length = step.payload + step.trailers;
        let fits = length <= COPIED && sink.out.unfilled().len() >= FRAMING + length;
        let Some(buffer) = inbox.as_mut().filter(|_| fits && sink.coding.is_none()) else { return false };
        self.drop_trailers(step, buffer);
        sink.put(step, buffer.filled(), None);
        use_up(inbox, step);
        true
    }

    /// Rules looked at the head, and would be got round.
    fn drop_trailers(&self, step: &mut Step, buffer: &mut Buffer) {
        let (frontend, backend) = (self.connection.frontend_id(), self.upstream.backend_id());
        let rules = &self.connection.worker().node().rules;
        step.drop_trailers(buffer.filled_mut(), |name| rules.rule_response_field(frontend, backend, name));
    }

    /// A step of the content, with what it is about in `inbox`.
    async fn pass(&self, sink: &mut Sink<'_>, step: &Step, inbox: Option<&Buffer>) -> Result<(), Failed> {
        match sink.coding {
            Some(_) => self.code(sink, step, inbox).await,
            None => self.write_step(sink, step, inbox, None).await,
        }
    }

    async fn read_on(
        &self,
        sink: &mut Sink<'_>,
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
        sink: &mut Sink<'_>,
        step: &Step,
        inbox: Option<&Buffer>,
        more: Option<u64>,
    ) -> Result<(), Failed> {
        let bytes = inbox.map_or(&[][..], Buffer::filled);
        if step.payload + step.trailers <= COPIED {
            sink.put(step, bytes, more);
            return self.write_out(sink).await;
        }
        let frame = sink.encoder.frame_with(step, more);
        let mut pieces = frame.pieces(sink.out.filled(), bytes, step);
        self.write(&mut pieces, sink.is_followed, Termination::ClientAbortInData).await?;
        sink.out.clear();
        Ok(())
    }

    async fn write_out(&self, sink: &mut Sink<'_>) -> Result<(), Failed> {
        let pieces = &mut [IoSlice::new(sink.out.filled())];
        self.write(pieces, sink.is_followed, Termination::ClientAbortInData).await?;
        sink.out.clear();
        Ok(())
    }

    /// Is there so much behind `step`, of a known length and as it is, that the kernel had better move it?
    fn is_bulk_behind(
        &self,
        sink: &Sink<'_>,
        decoder: &Decoder,
        step: &Step,
        inbox: Option<&Buffer>,
    ) -> bool {
        let is_used_up = inbox.is_none_or(|inbox| inbox.len() == step.consumed);
        matches!(decoder, Decoder::Length(BULK..)) && is_used_up && sink.coding.is_none()
    }

    /// Writes the step, and lets the kernel move all that follows it.
    async fn splice(
        &self,
        sink: &mut Sink<'_>,
        decoder: &mut Decoder,
        step: &Step,
        inbox: &mut Option<Buffer>,
        bulk: Box<Bulk<'_>>,
    ) -> Result<(), Failed> {
        let Decoder::Length(left) = decoder else { return Ok(()) };
        let left = Cell::from_mut(left);
        let mut begun = bulk.begin(left);
        sink.is_followed = begun.is_some();
        self.write_step(sink, step, inbox.as_ref(), None).await?;
        use_up(inbox, step);
        self.run_bulk(*bulk, &mut begun, left, None).await?;
        *decoder = Decoder::Done;
        Ok(())
    }

    /// What the kernel may move to the client behind `step`, which has used up all that a read has filled `inbox` with.
    fn chunks_behind<'b>(
        &'b self,
        sink: &mut Sink<'_>,
        decoder: &Decoder,
        step: &Step,
        inbox: &mut Option<Buffer>,
    ) -> Option<Box<Found<'b>>> {
        // One that is longer comes to the client in pieces: its size is for readers of 32 bits, and with what is here it could begin anew at 0.
        let left = decoder.left_of_chunk().filter(|left| *left <= LONGEST && step.payload > 0)?;
        let copied_first = sink.copied_first.as_mut()?;
        inbox.as_ref().filter(|inbox| inbox.was_filled() && step.consumed == inbox.len())?;
        *copied_first = copied_first.saturating_sub(u32::try_from(step.payload).unwrap_or(u32::MAX));
        if *copied_first > 0 && left < BULK {
            return None;
        }
        let (bulk, known) = (self.bulk()?, Cell::new(left));
        let chunks = bulk.chunks_behind(left);
        let may_go_on = chunks.extend(&known);
        if known.get() < BULK {
            *copied_first = if may_go_on { 0 } else { AGAIN };
            return None;
        }
        Some(Box::new(Found { bulk, chunks, known, inbox: inbox.take()? }))
    }

    /// Writes the step, and lets the kernel move what was found.
    async fn move_chunks(
        &self,
        sink: &mut Sink<'_>,
        decoder: &mut Decoder,
        step: &Step,
        found: Box<Found<'_>>,
    ) -> Result<(), Failed> {
        let Found { bulk, chunks, known, inbox } = *found;
        let mut begun = bulk.begin(&known);
        sink.is_followed = begun.is_some();
        self.write_step(sink, step, Some(&inbox), decoder.left_of_chunk()).await?;
        sink.is_followed = false;
        drop(inbox);
        self.run_bulk(bulk, &mut begun, &known, Some(chunks)).await?;
        decoder.skip_chunk();
        Ok(())
    }

    /// None where bytes have to be looked at or changed, or the file says that they are to be copied.
    fn bulk(&self) -> Option<Bulk<'_>> {
        let (upstream, client) = (self.upstream.stream(), self.connection.stream());
        let (worker, moved) = (self.connection.worker(), self.upstream.sent(self.connection.sent()));
        let spliced = self.connection.counters().event(Event::Spliced);
        let bulk = Bulk::new(upstream, client, (worker.pipes(), worker.buffers()), moved, spliced);
        bulk.filter(|_| self.connection.splices_response(self.upstream.backend()))
    }

    async fn run_bulk(
        &self,
        bulk: Bulk<'_>,
        begun: &mut Option<Pipe>,
        left: &Cell<u64>,
        chunks: Option<Chunks<'_>>,
    ) -> Result<(), Failed> {
        let readable = async || self.readable().await.map_err(Termination::from);
        let writable = async || {
            let timeout = self.connection.frontend().timeout.client;
            write::writable(self.connection.stream(), self.deadline, timeout).await.map_err(|error| {
                match error {
                    WriteError::Broken => Termination::ClientAbortInData,
                    WriteError::Elapsed => Termination::ClientTimeoutInData,
                }
            })
        };
        let moved = bulk.run(begun, left, chunks.as_ref(), readable, writable).await;
        moved.map_err(|error| {
            Failed::from(match error {
                BulkError::Wait(termination) => termination,
                BulkError::Source => Termination::ServerAbortInData,
                BulkError::Sink => Termination::ClientAbortInData,
            })
        })
    }
}
