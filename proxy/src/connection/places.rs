//! What the streams of a connection count for: each may have a connection to a server, as each connection of HTTP/1.1 may. So the
//! first is in its connection's own place, and each beyond it takes one more of the process's `maxconn`, of its frontend's and of
//! its source's `per_source.connections`. The last quarter of a `maxconn` is for connections: a few clients can't keep others out.

use std::sync::Arc;

use super::permit::Permit;
use crate::{limit::Limit, node::FrontendShared, table::Held};

/// Places that one connection has taken beside its own.
#[derive(Debug, Default)]
pub(crate) struct Places {
    limits: Option<(Arc<Limit>, Arc<FrontendShared>)>,
    taken: usize,
    /// Those of them that count for its source.
    held: Vec<Held>,
}

/// What becomes of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Seat {
    Taken,
    /// Taken, but its source has too many.
    TooMany,
    /// There is none now.
    Wait,
}

impl Places {
    /// Takes one for another stream of `permit`'s connection, of which there are `streams` already.
    pub(super) fn take(&mut self, streams: usize, permit: &Permit) -> Seat {
        if self.taken >= streams {
            return Seat::Taken;
        }
        let (process, frontend) = match &self.limits {
            Some(limits) if self.taken > 0 => limits,
            _ => self.limits.insert(permit.limits()),
        };
        if !process.try_take_spare() {
            return Seat::Wait;
        }
        if !frontend.try_take_stream() {
            process.release();
            return Seat::Wait;
        }
        self.taken += 1;
        match permit.hold_again() {
            Some(Some(held)) => self.held.push(held),
            Some(None) => return Seat::TooMany,
            None => {}
        }
        Seat::Taken
    }

    /// There are no more than `streams`.
    pub(crate) fn give_back(&mut self, streams: usize) {
        let beside = streams.saturating_sub(1);
        while self.taken > beside {
            self.taken -= 1;
            if let Some((process, frontend)) = &self.limits {
                frontend.release_stream();
                process.release();
            }
        }
        self.held.truncate(beside);
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.give_back(0);
    }
}
