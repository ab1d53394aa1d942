//! A worker's lines on their way to one sink: collected, handed over in batches, and never waited for.

use std::{
    mem,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use super::sink::{Batch, Link, Sink};

/// Buffers that one worker has under way to one sink.
pub(super) const BUFFERS: usize = 8;

/// A batch of so many bytes is handed over at once; smaller ones at the next tick of the wheel.
const HAND_OVER: usize = 16 * 1024;

/// More is not collected while all buffers are under way.
const FULL: usize = 128 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Outbox {
    link: Link,
    bytes: Vec<u8>,
    lines: u64,
    /// Buffers that were made; as many as are needed, up to [`BUFFERS`].
    made: usize,
    home: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
}

impl Outbox {
    pub(super) fn new(sink: &Sink) -> Self {
        let (home, empty) = sync_channel(BUFFERS);
        Self { link: sink.link().clone(), bytes: Vec::new(), lines: 0, made: 0, home, empty }
    }

    pub(super) fn is_of(&self, sink: &Sink) -> bool {
        self.link.is_same(sink.link())
    }

    /// There is nothing in it, and nothing will come.
    pub(super) fn is_over(&self) -> bool {
        self.lines == 0 && self.link.is_ended()
    }

    /// `write` appends one line with its end.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.len() >= FULL {
            return self.link.lose(1);
        }
        write(&mut self.bytes);
        self.lines += 1;
        if self.bytes.len() >= HAND_OVER {
            self.flush();
        }
    }

    /// Hands over what there is, if there is a buffer to go on with.
    pub(super) fn flush(&mut self) {
        if self.lines == 0 {
            return;
        }
        let next = match self.empty.try_recv() {
            Ok(next) => next,
            Err(_) if self.made < BUFFERS => {
                self.made += 1;
                Vec::new()
            }
            Err(_) => return,
        };
        self.hand_over(next);
    }

    fn hand_over(&mut self, next: Vec<u8>) {
        let bytes = mem::replace(&mut self.bytes, next);
        let batch = Batch { bytes, lines: mem::take(&mut self.lines), home: Some(self.home.clone()) };
        // The queue has room for all buffers, so this is lost only without a thread.
        self.link.send(batch);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        if self.lines > 0 {
            self.hand_over(Vec::new());
        }
    }
}
