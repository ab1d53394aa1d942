//! How many streams of all connections are in flight: each may have a connection to a server, as each connection of HTTP/1.1
//! may. So the first stream of a connection is in its own place, and each beyond it takes one more of the process's `maxconn`.

use std::{mem, sync::Arc};

use crate::{connection::Connection, limit::Limit};

/// Places that one connection has taken beside its own.
#[derive(Debug, Default)]
pub(super) struct Places {
    limit: Arc<Limit>,
    taken: usize,
}

impl Places {
    /// Is there one for each of `streams`?
    pub(super) fn take<S>(&mut self, streams: usize, connection: &Connection<S>) -> bool {
        if self.taken == 0 {
            let node = connection.worker().node();
            self.limit = Arc::clone(node.limit_beside(connection.frontend_id()));
        }
        while self.taken + 1 < streams {
            if !self.limit.try_take() {
                return false;
            }
            self.taken += 1;
        }
        true
    }

    /// There are no more than `streams`.
    pub(super) fn give_back(&mut self, streams: usize) {
        while self.taken >= streams.max(1) {
            self.limit.release();
            self.taken -= 1;
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for _ in 0..mem::take(&mut self.taken) {
            self.limit.release();
        }
    }
}
