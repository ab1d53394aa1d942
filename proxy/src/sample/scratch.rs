//! What computing text needs of a worker: room that is allocated once, and random numbers.

use std::{
    cell::Cell,
    fmt,
    hash::{BuildHasher, RandomState},
};

use crate::splitmix;

/// Room of a worker. Two computations within each other are right as well, only slower.
pub struct Scratch {
    room: Cell<Vec<u8>>,
    spare: Cell<Vec<u8>>,
    random: Cell<u64>,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scratch").finish_non_exhaustive()
    }
}

/// Room beyond this is given back after use.
const KEPT: usize = 64 * 1024;

impl Default for Scratch {
    fn default() -> Self {
        // Seeded by the system once per worker, so that two nodes and two starts differ.
        let seed = RandomState::new().hash_one(std::process::id());
        Self { room: Cell::default(), spare: Cell::default(), random: Cell::new(seed) }
    }
}

impl Scratch {
    /// Two empty vectors; give them back.
    pub(super) fn take(&self) -> [Vec<u8>; 2] {
        [self.room.take(), self.spare.take()]
    }

    pub(super) fn give_back(&self, [room, spare]: [Vec<u8>; 2]) {
        for (mut vector, home) in [(room, &self.room), (spare, &self.spare)] {
            if vector.capacity() <= KEPT {
                vector.clear();
                home.set(vector);
            }
        }
    }

    /// A number, evenly spread, and no secret.
    pub(super) fn random(&self) -> u64 {
        let mut state = self.random.get();
        let number = splitmix::next(&mut state);
        self.random.set(state);
        number
    }
}
