//! How many connections to a server are worth keeping idle.

use std::cell::Cell;

use super::{KEPT, KEPT_PER_SERVER};

/// The most for one server, unless clients have left places to [spare](super::IdleConnections::make_room): others have room as well.
pub(super) const MOST: usize = KEPT / 2;

/// The most that a worker keeps for a server: [`KEPT_PER_SERVER`], and one more for each that was closed for lack of room and then
/// had to be made anew in the same turn. Each that was idle for nothing takes one back. So requests that come in bursts, as those of one
/// connection of HTTP/2 do, find the connections of the burst before.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Beyond [`KEPT_PER_SERVER`].
    more: Cell<usize>,
    /// Closed for lack of room in this turn, and not missed yet.
    closed: Cell<usize>,
}

impl Room {
    pub(super) fn most(&self) -> usize {
        KEPT_PER_SERVER + self.more.get()
    }

    /// One is closed because there are [`Room::most`].
    pub(super) fn close_one(&self) {
        self.closed.set(self.closed.get() + 1);
    }

    /// A request found none at all; one that may not use those that are there has no use for more of them.
    pub(super) fn miss(&self) {
        if let Some(closed) = self.closed.get().checked_sub(1) {
            self.closed.set(closed);
            self.more.set(self.more.get() + 1);
        }
    }

    /// A turn is over, in which `unused` were closed that nobody wanted.
    pub(super) fn next_turn(&self, unused: usize) {
        self.closed.set(0);
        self.more.set(self.more.get().saturating_sub(unused));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_kept_the_next_time_and_what_nobody_wants_is_not() {
        let room = Room::default();
        assert_eq!(room.most(), KEPT_PER_SERVER);
        room.miss();
        assert_eq!(room.most(), KEPT_PER_SERVER, "nothing was closed: more room would not have helped");
        for _ in 0..10 {
            room.close_one();
        }
        for _ in 0..12 {
            room.miss();
        }
        assert_eq!(room.most(), KEPT_PER_SERVER + 10);
        room.close_one();
        room.next_turn(4);
        room.miss();
        assert_eq!(room.most(), KEPT_PER_SERVER + 6, "what was closed long ago is not missed");
        room.next_turn(100);
        assert_eq!(room.most(), KEPT_PER_SERVER);
    }
}
