//! What a worker needs to write lines: its clock, its outboxes, and records that are used again.

use std::{cell::RefCell, time::SystemTime};

use super::{Logger, clock::Clock, outbox::Outbox, record::Record};
use crate::config::Severity;

/// Records that are not in use, and kept.
const KEPT: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct WorkerLog {
    clock: Clock,
    outboxes: RefCell<Vec<Outbox>>,
    /// The message that is being written.
    message: RefCell<Vec<u8>>,
    #[expect(clippy::vec_box, reason = "a connection takes the box, not what is in it")]
    unused: RefCell<Vec<Box<Record>>>,
}

impl WorkerLog {
    /// Hands over what has come together since the last call.
    pub(crate) fn flush(&self) {
        let mut outboxes = self.outboxes.borrow_mut();
        outboxes.iter_mut().for_each(Outbox::flush);
        // What no configuration names any more.
        outboxes.retain(|outbox| !outbox.is_over());
    }

    /// One that was used before, or a new one.
    pub(super) fn take(&self) -> Box<Record> {
        self.unused.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, mut record: Box<Record>) {
        record.trace = None;
        let mut unused = self.unused.borrow_mut();
        if unused.len() < KEPT {
            unused.push(record);
        }
    }

    /// Sends the message that `write` makes.
    pub(super) fn send(&self, logger: &Logger, level: Severity, write: impl FnOnce(&Clock, &mut Vec<u8>)) {
        let mut message = self.message.borrow_mut();
        message.clear();
        write(&self.clock, &mut message);
        let (now, mut outboxes) = (SystemTime::now(), self.outboxes.borrow_mut());
        logger.write(level, |target, level| {
            let known = outboxes.iter().position(|outbox| outbox.is_of(&target.sink));
            let at = known.unwrap_or_else(|| {
                outboxes.push(Outbox::new(&target.sink));
                outboxes.len() - 1
            });
            outboxes[at].push(|line| target.put(level, &message, &self.clock, now, line));
        });
    }
}
