//! Content that is coded on its way to the client.

use super::{Download, Failed, ReadError, content::Sink};
use crate::{
    buffer::Buffer,
    http::{
        body::Step,
        compression::{Coder, Flush},
    },
    stream::{Stream, is_transient},
};

/// Bytes that are coded before the worker's other connections have their turn: less than a millisecond's work at level 1.
const TURN: usize = 64 * 1024;

/// What codes content, and what is coded and not written yet.
pub(super) struct Coding {
    coder: Coder,
    coded: Option<Buffer>,
    /// Bytes since the others had their turn.
    turn: usize,
}

impl Coding {
    pub(super) fn new(coder: Coder) -> Self {
        Self { coder, coded: None, turn: 0 }
    }
}

impl<S: Stream> Download<'_, S> {
    /// Codes a step's payload and writes what fills a buffer.
    pub(super) async fn code(
        &self,
        sink: &mut Sink<'_>,
        step: &Step,
        inbox: Option<&Buffer>,
    ) -> Result<(), Failed> {
        let payload = inbox.map_or(&[][..], |buffer| &buffer.filled()[..step.payload]);
        self.code_all(sink, payload, if step.done { Flush::End } else { Flush::No }).await?;
        if let Some(coding) = &mut sink.coding {
            coding.turn += payload.len();
            if coding.turn >= TURN {
                coding.turn = 0;
                if self.connection.worker().compressors().is_spent() {
                    // Without a compressor: what follows is stored until there is time again.
                    self.flush(sink).await?;
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// The server pauses: the client gets what there is, and the compressor is given back.
    pub(super) async fn flush(&self, sink: &mut Sink<'_>) -> Result<(), Failed> {
        self.code_all(sink, b"", Flush::All).await
    }

    async fn code_all(&self, sink: &mut Sink<'_>, mut payload: &[u8], flush: Flush) -> Result<(), Failed> {
        let frontend = &self.connection.counters().compression;
        let backend = &self.upstream.backend_counters().compression;
        while let Some(coding) = &mut sink.coding {
            let mut coded = coding.coded.take().unwrap_or_else(|| self.take_buffer());
            let done = coding.coder.code(payload, flush, coded.unfilled());
            coded.advance(done.put);
            payload = &payload[done.taken..];
            for counters in [frontend, backend] {
                counters.bytes_in.add(done.taken as u64);
                counters.bytes_out.add(done.put as u64);
                counters.bytes_bypassed.add(done.stored as u64);
            }
            if done.is_all && flush == Flush::No {
                coding.coded = (!coded.is_empty()).then_some(coded);
                return Ok(());
            }
            let is_end = done.is_all && flush == Flush::End;
            let step = Step { payload: coded.len(), done: is_end, ..Step::default() };
            self.write_step(sink, &step, Some(&coded), None).await?;
            if done.is_all {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads what is here already; `None` if that is nothing.
    pub(super) fn read_at_once(&self, inbox: &mut Option<Buffer>) -> Option<Result<usize, ReadError>> {
        let buffer = inbox.get_or_insert_with(|| self.take_buffer());
        let result = buffer.read_from(self.upstream.stream());
        if buffer.is_empty() {
            *inbox = None;
        }
        match result {
            Ok(n) => Some(Ok(n)),
            Err(error) if is_transient(&error) => None,
            Err(_) => Some(Err(ReadError::Broken)),
        }
    }
}
