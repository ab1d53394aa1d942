//! Tables of what is remembered of clients: of a bounded size, shared by all workers, keyed by an address or any bytes.
//!
//! ```text
//! Key (128 bits) ──> one of up to 16 shards, each behind a lock of its own
//!                      ├── index: key -> entry (keyed hash: nobody can choose keys that collide)
//!                      └── entries in the order of their last use: the oldest expires first, and goes first when full
//! ```
//! A table holds at most `size` entries that are not in use: one more takes the place of the shard's oldest. An entry in
//! use (a source that has connections open) never goes; what is in use is bounded by whoever uses it.
//!
//! Pure: the caller says what time it is, counted from any start that all callers share. A lock is held for one look
//! into one shard, never while anything waits.

mod key;
mod rate;
mod shard;
mod source;
mod stick;
mod tables;

pub use self::{
    key::{Key, Keys},
    rate::{Rate, RateLimiter, Window},
    source::{Held, Refusal, Source, SourceLimits, Sources},
    stick::{Server, Stick},
};
pub(crate) use self::{rate::Counting, tables::Tables};

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use self::shard::Shard;
use crate::limit::Padded;

/// Shards of a large table.
const MAX_SHARDS: u32 = 16;

/// Below this many entries a shard is not worth it: the keys would be spread too unevenly over shards.
const MIN_PER_SHARD: u32 = 1024;

/// Entries that are removed at most while a lock is held by [`Table::sweep`].
const SWEPT_AT_ONCE: usize = 256;

/// What a table remembers of a key. Its default is what is known of a key that was never seen.
pub trait Value: Default {
    /// It must not go yet, however old it is and however full the table.
    fn is_in_use(&self) -> bool {
        false
    }
}

/// How many entries a table holds, and for how long after their last use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capacity {
    /// Entries that are not in use.
    pub size: NonZeroU32,
    /// After the last use.
    pub expire: Duration,
}

/// A table.
#[derive(Debug)]
pub struct Table<V> {
    hasher: RandomState,
    shards: Box<[Padded<Mutex<Shard<V>>>]>,
}

impl<V: Value> Table<V> {
    /// An empty table. Memory is taken as entries come: about 100 bytes for each.
    pub fn new(capacity: Capacity) -> Self {
        let shards = (capacity.size.get() / MIN_PER_SHARD).clamp(1, MAX_SHARDS);
        let shard =
            |index| Padded::new(Mutex::new(Shard::new(share(capacity.size, shards, index), capacity.expire)));
        Self { hasher: RandomState::new(), shards: (0..shards).map(shard).collect() }
    }

    /// Looks at what is remembered of `key`, which counts as a use; `None` if that is nothing.
    pub fn find<R>(&self, key: Key, now: Duration, look: impl FnOnce(&mut V) -> R) -> Option<R> {
        self.shard(key).find(key, now, look)
    }

    /// Changes what is remembered of `key`, from the default if that is nothing.
    pub fn change<R>(&self, key: Key, now: Duration, change: impl FnOnce(&mut V) -> R) -> R {
        self.shard(key).change(key, now, change)
    }

    /// Entries. Some may have expired since the last [`Self::sweep`].
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that had to go before their time, since the table was made.
    pub fn evictions(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).evictions()).sum()
    }

    /// Removes what has expired. Holds a lock for a few hundred entries at a time.
    pub fn sweep(&self, now: Duration) {
        for shard in &self.shards {
            while lock(shard).sweep(now, SWEPT_AT_ONCE) {}
        }
    }

    /// Changes what the table was made with. What is too much goes at once, oldest first. The shards stay.
    pub fn resize(&self, capacity: Capacity) {
        let shards = u32::try_from(self.shards.len()).unwrap_or(1);
        for (index, shard) in (0..).zip(&self.shards) {
            lock(shard).resize(share(capacity.size, shards, index), capacity.expire);
        }
    }

    /// Shows what has not expired, with its age, in any order. Locks one shard at a time.
    pub fn visit(&self, now: Duration, mut show: impl FnMut(Key, &V, Duration)) {
        for shard in &self.shards {
            lock(shard).visit(now, &mut show);
        }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard<V>> {
        // The index of the shard has a key of its own: its hash says nothing of the one inside.
        let at = match self.shards.len() {
            1 => 0,
            shards => usize::try_from(self.hasher.hash_one(key) % shards as u64).unwrap_or(0),
        };
        lock(&self.shards[at])
    }
}

/// The part of `size` that the shard with this index gets; at least 1.
fn share(size: NonZeroU32, shards: u32, index: u32) -> usize {
    let share = size.get() / shards + u32::from(index < size.get() % shards);
    usize::try_from(share.max(1)).unwrap_or(usize::MAX)
}

fn lock<V>(shard: &Mutex<Shard<V>>) -> MutexGuard<'_, Shard<V>> {
    // Links and index are never half changed when a caller's closure runs, so they are whole after its panic.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
