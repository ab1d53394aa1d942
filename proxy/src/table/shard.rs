//! One shard of a table: an index, and a list in the order of the last use.

use std::{collections::HashMap, time::Duration};

use slab::Slab;

use super::{Key, Value};

/// No entry.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Shard<V> {
    index: HashMap<Key, u32>,
    entries: Slab<Entry<V>>,
    oldest: u32,
    youngest: u32,
    /// Entries in the list: those that are not in use.
    listed: usize,
    size: usize,
    expire: Duration,
    /// The latest time that was heard of: callers may be told the time in one order and come here in another.
    now: Duration,
    evictions: u64,
}

#[derive(Debug)]
struct Entry<V> {
    key: Key,
    value: V,
    used: Duration,
    /// In the list, else in use.
    is_listed: bool,
    older: u32,
    younger: u32,
}

impl<V: Value> Shard<V> {
    /// `size` is at least 1.
    pub(super) fn new(size: usize, expire: Duration) -> Self {
        Self {
            index: HashMap::new(),
            entries: Slab::new(),
            oldest: NONE,
            youngest: NONE,
            listed: 0,
            size: size.min(NONE as usize),
            expire,
            now: Duration::ZERO,
            evictions: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }

    pub(super) fn find<R>(&mut self, key: Key, now: Duration, look: impl FnOnce(&mut V) -> R) -> Option<R> {
        self.now = self.now.max(now);
        let at = self.position(key)?;
        let result = look(&mut self.entries[at as usize].value);
        self.used(at);
        Some(result)
    }

    pub(super) fn change<R>(&mut self, key: Key, now: Duration, change: impl FnOnce(&mut V) -> R) -> R {
        self.now = self.now.max(now);
        let at = self.position(key).unwrap_or_else(|| self.insert(key));
        let result = change(&mut self.entries[at as usize].value);
        self.used(at);
        self.make_room();
        result
    }

    /// Removes at most `at_most` expired entries; true if there may be more.
    pub(super) fn sweep(&mut self, now: Duration, at_most: usize) -> bool {
        self.now = self.now.max(now);
        for _ in 0..at_most {
            if self.oldest == NONE || !self.is_expired(self.oldest) {
                if self.entries.is_empty() {
                    // A flood that is over leaves nothing behind.
                    self.entries.shrink_to_fit();
                    self.index.shrink_to_fit();
                }
                return false;
            }
            self.remove(self.oldest);
        }
        true
    }

    pub(super) fn visit(&self, now: Duration, show: &mut impl FnMut(Key, &V, Duration)) {
        for (_, entry) in &self.entries {
            let age = now.max(self.now).saturating_sub(entry.used);
            if !entry.is_listed || age < self.expire {
                show(entry.key, &entry.value, age);
            }
        }
    }

    pub(super) fn resize(&mut self, size: usize, expire: Duration) {
        self.size = size.min(NONE as usize);
        self.expire = expire;
        self.make_room();
    }

    /// Where the entry of `key` is, if it has not expired.
    fn position(&mut self, key: Key) -> Option<u32> {
        let at = *self.index.get(&key)?;
        if self.is_expired(at) {
            self.remove(at);
            return None;
        }
        Some(at)
    }

    fn is_expired(&self, at: u32) -> bool {
        let entry = &self.entries[at as usize];
        entry.is_listed && self.now - entry.used >= self.expire
    }

    /// A new entry, in no list.
    fn insert(&mut self, key: Key) -> u32 {
        let entry =
            Entry { key, value: V::default(), used: self.now, is_listed: false, older: NONE, younger: NONE };
        let at = u32::try_from(self.entries.insert(entry)).unwrap_or(NONE);
        debug_assert_ne!(at, NONE, "memory is at an end long before");
        self.index.insert(key, at);
        at
    }

    /// The entry was used just now: to the young end of the list, or out of it if it is in use.
    fn used(&mut self, at: u32) {
        self.unlink(at);
        let entry = &mut self.entries[at as usize];
        entry.used = self.now;
        if !entry.value.is_in_use() {
            self.link_youngest(at);
        }
    }

    fn make_room(&mut self) {
        while self.listed > self.size {
            self.remove(self.oldest);
            self.evictions += 1;
        }
        debug_assert_eq!(self.index.len(), self.entries.len());
    }

    fn remove(&mut self, at: u32) {
        self.unlink(at);
        let entry = self.entries.remove(at as usize);
        self.index.remove(&entry.key);
    }

    fn link_youngest(&mut self, at: u32) {
        let older = self.youngest;
        let entry = &mut self.entries[at as usize];
        debug_assert!(!entry.is_listed);
        entry.is_listed = true;
        entry.older = older;
        entry.younger = NONE;
        match older {
            NONE => self.oldest = at,
            older => self.entries[older as usize].younger = at,
        }
        self.youngest = at;
        self.listed += 1;
    }

    fn unlink(&mut self, at: u32) {
        let entry = &mut self.entries[at as usize];
        if !std::mem::take(&mut entry.is_listed) {
            return;
        }
        let (older, younger) = (entry.older, entry.younger);
        match older {
            NONE => self.oldest = younger,
            older => self.entries[older as usize].younger = younger,
        }
        match younger {
            NONE => self.youngest = older,
            younger => self.entries[younger as usize].older = older,
        }
        self.listed -= 1;
    }
}
