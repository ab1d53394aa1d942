//! How often something happens: a count over a sliding window, and a limit on it.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use super::{Capacity, Key, Keys, Table, Value};

/// So many in so much time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In any such time, from 1 s on.
    pub per: Duration,
}

/// Counts over a sliding window, as HAProxy's rates do: the period that runs, and as much of the one before it as the
/// window still covers, taken as spread evenly. So up to twice the limit may come within one window, if the first half
/// came all at the end of its period; over several windows the limit holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Window {
    /// When the period that runs began.
    began: Duration,
    current: u32,
    previous: u32,
}

impl Window {
    /// How many there were in the last `per`, rounded up.
    pub fn count(&mut self, now: Duration, per: Duration) -> u32 {
        self.turn(now, per);
        let left = per.saturating_sub(now.saturating_sub(self.began));
        let share = (u128::from(self.previous) * left.as_nanos()).div_ceil(per.as_nanos().max(1));
        self.current.saturating_add(u32::try_from(share).unwrap_or(u32::MAX))
    }

    /// Counts one more if that stays within `rate`.
    ///
    /// # Errors
    /// It does not: how long the caller has to wait until it would.
    pub fn take(&mut self, now: Duration, rate: Rate) -> Result<(), Duration> {
        if self.count(now, rate.per) < rate.count.get() {
            self.current += 1;
            return Ok(());
        }
        let end = (self.began + rate.per).saturating_sub(now);
        // In the period that runs the share of the one before has to shrink to what `current` leaves; if `current` alone
        // is the limit, it has to become the one before and shrink there.
        let allowed = u128::from(rate.count.get() - 1);
        let current = u128::from(self.current);
        Err(if current <= allowed {
            end.saturating_sub(shrunk(rate.per, allowed - current, self.previous))
        } else {
            end + (rate.per - shrunk(rate.per, allowed, self.current))
        })
    }

    /// Counts one more in any case, as HAProxy does.
    ///
    /// # Errors
    /// That is more than `rate`: how long until another one would not be, if none came meanwhile.
    pub fn add(&mut self, now: Duration, rate: Rate) -> Result<(), Duration> {
        let taken = self.take(now, rate);
        if taken.is_err() {
            self.current = self.current.saturating_add(1);
        }
        taken
    }

    fn turn(&mut self, now: Duration, per: Duration) {
        let elapsed = now.saturating_sub(self.began);
        if elapsed < per {
            return;
        }
        if elapsed < per * 2 {
            self.previous = self.current;
            self.began += per;
        } else {
            self.previous = 0;
            self.began = now;
        }
        self.current = 0;
    }
}

/// How much of a period is left when `previous` events of it count as `target` at most.
fn shrunk(per: Duration, target: u128, previous: u32) -> Duration {
    if u128::from(previous) <= target {
        return per;
    }
    let nanos = per.as_nanos() * target / u128::from(previous);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Value for Window {}

/// What a limit counts when it is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Counting {
    /// One more, unless that is too much.
    Served,
    /// One more.
    All,
    /// Nothing: this one has been counted.
    Done,
}

/// A limit on how often each source, or each value of anything else, may come.
#[derive(Debug)]
pub struct RateLimiter {
    rate: Rate,
    size: NonZeroU32,
    keys: Keys,
    table: Arc<Table<Window>>,
}

impl RateLimiter {
    /// Remembers up to `size` keys, each for two windows after its last request. Of an IPv6 address the first
    /// `ipv6_prefix` bits count, 1..=128. `previous` is what there was before, which goes on to count.
    pub fn new(rate: Rate, size: NonZeroU32, ipv6_prefix: u8, previous: Option<&Self>) -> Self {
        let (keys, table) = match previous {
            Some(previous) => (previous.keys.with_ipv6_prefix(ipv6_prefix), Arc::clone(&previous.table)),
            None => (Keys::new(ipv6_prefix), Arc::new(Table::new(capacity(rate, size)))),
        };
        Self { rate, size, keys, table }
    }

    /// A table that goes on has this size from now on.
    pub fn enforce(&self) {
        self.table.resize(capacity(self.rate, self.size));
    }

    /// May `source` once more? What is refused does not count: who asks too often gets its share, not nothing.
    ///
    /// # Errors
    /// Not yet: how long until it may, in whole seconds from 1 on, for Retry-After (RFC 9110 §10.2.3).
    pub fn check_source(&self, source: IpAddr, now: Duration) -> Result<(), Duration> {
        self.check(self.address(source), now, Counting::Served)
    }

    /// May whoever sends `value` (of a field, say) once more?
    ///
    /// # Errors
    /// As for [`Self::check_source`].
    pub fn check_value(&self, value: &[u8], now: Duration) -> Result<(), Duration> {
        self.check(self.key(value), now, Counting::Served)
    }

    /// What `source` is remembered by.
    pub(crate) fn address(&self, source: IpAddr) -> Key {
        self.keys.address(source)
    }

    /// What `value` is remembered by.
    pub(crate) fn key(&self, value: &[u8]) -> Key {
        self.keys.bytes(value)
    }

    /// May whoever is remembered by `key` once more?
    pub(crate) fn check(&self, key: Key, now: Duration, counting: Counting) -> Result<(), Duration> {
        let (rate, count) = (self.rate, self.rate.count.get());
        let ask = |window: &mut Window| match counting {
            Counting::Served => window.take(now, rate),
            Counting::All => window.add(now, rate),
            Counting::Done if window.count(now, rate.per) > count => Err(rate.per),
            Counting::Done => Ok(()),
        };
        self.table.change(key, now, ask).map_err(whole_seconds)
    }

    /// The time over which it counts, for Retry-After.
    pub(crate) fn period(&self) -> Duration {
        whole_seconds(self.rate.per)
    }

    /// How many keys it may remember.
    pub fn size(&self) -> NonZeroU32 {
        self.size
    }

    /// Its table, for those who look after tables.
    pub fn table(&self) -> &Table<Window> {
        &self.table
    }
}

/// From 1 on.
fn whole_seconds(wait: Duration) -> Duration {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Duration::from_secs(seconds.max(1))
}

fn capacity(rate: Rate, size: NonZeroU32) -> Capacity {
    Capacity { size, expire: rate.per * 2 }
}
